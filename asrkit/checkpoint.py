"""From the name of a model to its files, and from its files to config and tensors.

A source is an embedded model, a directory, or a Hub id, looked for in this order. From the Hub only
the files that are used are downloaded, into the cache that all Hugging Face programs share
(`HF_HOME`); `HF_ENDPOINT`, `HF_TOKEN` and `HF_HUB_OFFLINE` mean what they mean elsewhere. Weights
are safetensors; `pytorch_model.bin` is read through `safe_pickle`, which runs no code from it.
"""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asrkit import safe_pickle
from asrkit.errors import CheckpointError, OfflineError, UsageError, listed
from asrkit.json_files import read_object
from asrkit.suggest import did_you_mean
from asrkit.text import languages_of, nearest_languages

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("asrkit")

_ASSETS = Path(__file__).parent / "assets"
CONFIG = "config.json"
_PREPROCESSOR = "preprocessor_config.json"
_VOCABULARY = "vocab.json"

# What is downloaded besides weights: names or patterns, each where the repository has it.
_SIDE_FILES = (
    CONFIG,
    _PREPROCESSOR,
    _VOCABULARY,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "sentencepiece.bpe.model",
    "merges.txt",
    "generation_config.json",
    "alphabet.json",
    "language_model/*",
)
# In order of preference: only the first that exists is used.
_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_INDEX_SUFFIX = ".index.json"

_HUB_ID = re.compile(r"\w[\w.-]*/[\w.-]+", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_DISK_ERRORS = (errno.ENOSPC, errno.EROFS, getattr(errno, "EDQUOT", errno.ENOSPC))
_LFS_POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class Checkpoint:
    """A model whose files are on this disk.

    Attributes:
        id: embedded name, directory, or Hub id without its revision.
        directory: the folder that holds the files.
        revision: commit hash of a Hub snapshot; None for embedded models and directories.
    """

    id: str
    directory: Path
    revision: str | None = None

    def path(self, name: str) -> Path | None:
        """Where the file is, or None if the model has no such file.

        Args:
            name: relative to the directory, with forward slashes.

        Raises:
            CheckpointError: `name` leaves the directory.
        """
        if not safe_pickle.is_inside(name):
            raise CheckpointError(f"{self.id}: the file name {name!r} leaves the directory")
        path = self.directory / name
        return path if path.is_file() else None

    def read_json(self, name: str, *, required: bool = True) -> dict[str, Any]:
        """Read a JSON object.

        Args:
            name: file name, as for `path`.
            required: if False, a file that does not exist reads as an empty object.

        Raises:
            CheckpointError: missing though required, larger than 50 MB, not UTF-8, not JSON, or
                not an object.
        """
        path = self.path(name)
        if path is not None:
            return read_object(path)
        if required:
            raise self._missing(name)
        return {}

    @property
    def config(self) -> dict[str, Any]:
        """The content of config.json.

        Raises:
            CheckpointError: as for `read_json`.
        """
        return self.read_json(CONFIG)

    def load_tensors(self) -> dict[str, torch.Tensor]:
        """Read all weights.

        Returns:
            Tensors on the CPU in the dtype they were saved in, under the names they were saved
            with. Those from safetensors are mapped from the file and read when touched.

        Raises:
            UnsafeCheckpointError: a PyTorch file asks for more than tensors.
            CheckpointError: no weights, a shard or tensor is missing, or a file is damaged.
        """
        weights = self._weights()
        if not weights.endswith(_INDEX_SUFFIX):
            return self._load_file(weights)
        tensors = {}
        for shard, names in self._shards(weights).items():
            content = self._load_file(shard)
            if absent := [name for name in names if name not in content]:
                raise CheckpointError(
                    f"{self.directory / shard}: lacks {listed(absent)}, listed in {weights}"
                )
            tensors.update({name: content[name] for name in names})
        return tensors

    def load_adapter(self, language: str) -> dict[str, torch.Tensor]:
        """Read the weights that belong to one language of a multilingual model.

        Args:
            language: as vocab.json names it, see `languages`.

        Raises:
            UsageError: the model has no such language.
            UnsafeCheckpointError: a PyTorch file asks for more than tensors.
            CheckpointError: the file is missing or damaged.
        """
        known = languages(self)
        if not known:
            raise UsageError(
                f"{self.id}: language {language!r} of a model that names none in {_VOCABULARY}",
                hint="only multilingual models take a language",
            )
        if language not in known:
            raise UsageError(
                f"{self.id}: {language!r} is not among its {len(known)} languages",
                hint=f"{nearest_languages(language, known)}; "
                f"asrkit models info {self.id} lists all",
            )
        name = self.adapter_file(language)
        if name is None:
            raise self._missing(" or ".join(_adapter_names(language)))
        return self._load_file(name)

    def adapter_file(self, language: str) -> str | None:
        """Name of the file that holds a language's weights; None if there is none."""
        return next((n for n in _adapter_names(language) if self.path(n) is not None), None)

    def _weights(self) -> str:
        weights = _find_weights([name for name in _WEIGHTS if self.path(name) is not None])
        if weights is None:
            raise self._missing(" or ".join(_WEIGHTS))
        return weights

    def _shards(self, index: str) -> dict[str, list[str]]:
        """Names of tensors by the file that holds them."""
        where = self.directory / index
        weight_map = self.read_json(index).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise CheckpointError(
                f"{where}: weight_map is a {type(weight_map).__name__} without entries, "
                "expected file names by tensor"
            )
        suffix = Path(index.removesuffix(_INDEX_SUFFIX)).suffix
        shards: dict[str, list[str]] = {}
        for tensor, shard in weight_map.items():
            if not safe_pickle.is_inside(shard) or not shard.endswith(suffix):
                raise CheckpointError(
                    f"{where}: {tensor!r} is in {shard!r}, expected a {suffix} file beside it"
                )
            shards.setdefault(shard, []).append(tensor)
        return shards

    def weight_files(self) -> list[str]:
        """Names of every file that the weights consist of, existing or not; an index comes first.

        Raises:
            CheckpointError: no weights, or a damaged index.
        """
        weights = self._weights()
        return [weights, *(self._shards(weights) if weights.endswith(_INDEX_SUFFIX) else ())]

    def side_files(self) -> list[str]:
        """Names of the files besides the weights: config, preprocessor, vocabulary and so on.

        Raises:
            CheckpointError: one is a link to a place outside; the Hub's cache links to its blobs.
        """
        is_cached = self.directory.absolute().parent.name == "snapshots"
        root = self.directory.resolve().parents[1] if is_cached else self.directory.resolve()
        names = []
        for path in sorted(p for pattern in _SIDE_FILES for p in self.directory.glob(pattern)):
            if not path.resolve().is_relative_to(root):
                raise CheckpointError(f"{path}: a link that leaves the directory")
            if path.is_file():
                names.append(path.relative_to(self.directory).as_posix())
        return names

    def _load_file(self, name: str) -> dict[str, torch.Tensor]:
        path = self.path(name)
        if path is None:
            raise self._missing(name)
        try:
            with path.open("rb") as file:
                is_pointer = file.read(len(_LFS_POINTER)) == _LFS_POINTER
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
        if is_pointer:
            raise CheckpointError(
                f"{path}: a Git LFS pointer, not the weights", hint="git lfs pull fetches them"
            )
        try:
            return _load_safetensors(path) if path.suffix == ".safetensors" else _load_pickle(path)
        except CheckpointError as error:
            if self.revision is not None and error.hint is None:
                cached = self.directory.parent.parent
                error.hint = f"if the file is damaged, delete {cached} and run again"
            raise

    def _missing(self, name: str) -> CheckpointError:
        found = sorted(path.name for path in self.directory.iterdir() if path.is_file())
        return CheckpointError(
            f"{self.id}: no {name} in {self.directory}, which holds {listed(found) or 'no files'}"
        )


def embedded_models() -> dict[str, Path]:
    """The models that come with asrkit: folders by name, in alphabetical order."""
    return {path.parent.name: path.parent for path in sorted(_ASSETS.glob(f"*/{CONFIG}"))}


def cached_models(cache_dir: str | Path | None = None) -> list[str]:
    """The Hub ids that have a folder in the cache, complete or not; None is the standard cache."""
    from huggingface_hub import constants

    folders = Path(cache_dir or constants.HF_HUB_CACHE).expanduser().glob("models--*--*")
    return sorted(folder.name.removeprefix("models--").replace("--", "/") for folder in folders)


def languages(checkpoint: Checkpoint) -> list[str]:
    """The languages of a multilingual model, in alphabetical order; none for other models.

    Raises:
        CheckpointError: vocab.json is damaged.
    """
    return languages_of(checkpoint.read_json(_VOCABULARY, required=False))


def resolve(
    source: str,
    *,
    revision: str | None = None,
    language: str | None = None,
    cache_dir: str | Path | None = None,
    offline: bool = False,
) -> Checkpoint:
    """Find a model and bring its files to this disk.

    Args:
        source: an embedded model; else a directory (`./name` where an embedded model has the same
            name); else a Hub id, `user/name` or `user/name@revision`.
        revision: branch, tag or commit hash of a Hub id; None is the default branch.
        language: whose adapter is fetched too, if the model has it.
        cache_dir: where Hub files are kept; None uses the standard cache.
        offline: open no connection; also set by `HF_HUB_OFFLINE`.

    Returns:
        The files. If the Hub cannot be reached and the cache holds the revision, the cached copy,
        with a warning on the logger "asrkit".

    Raises:
        UsageError: a revision of something that has none, or two different ones.
        OfflineError: offline, and the cache does not hold all files.
        CheckpointError: not found, access refused, no connection, or no space left.
    """
    embedded = embedded_models()
    directory = embedded.get(source, Path(source))
    if source in embedded or os.path.isdir(source):
        if revision is not None:
            raise UsageError(
                f"{source}: revision {revision!r} of a directory",
                hint="only Hub ids have revisions",
            )
        return Checkpoint(source, directory)

    repository, at, own_revision = source.partition("@")
    if not _HUB_ID.fullmatch(repository):
        raise _not_found(source, [*embedded, *cached_models(cache_dir)])
    if at and revision not in (None, own_revision):
        raise UsageError(f"{source}: asked for revision {revision!r} as well")
    if at and not own_revision:
        raise UsageError(f"{source}: no revision after @")
    return _Repository(
        repository,
        own_revision or revision,
        language,
        Path(cache_dir).expanduser() if cache_dir is not None else None,
    ).resolve(offline=offline)


@dataclass(frozen=True)
class _Repository:
    """A revision of a Hub repository, and the cache to keep it in."""

    id: str
    revision: str | None
    language: str | None
    cache_dir: Path | None

    def resolve(self, *, offline: bool) -> Checkpoint:
        from huggingface_hub import constants
        from huggingface_hub.errors import HFValidationError

        try:
            cached = self._cached()
        except HFValidationError as error:
            raise CheckpointError(f"{self.id}: not a Hub id: {error}") from error
        if offline or constants.HF_HUB_OFFLINE:
            return self._complete(cached)
        usable = cached if cached is not None and not _absent(cached, self.language) else None
        if usable is not None and usable.revision == self.revision and self._is_whole(usable):
            return usable
        try:
            return self._download(usable)
        except CheckpointError:
            raise
        except Exception as error:  # requests, httpx, hf_xet and the disk: no common base class
            cause = _cause(error)
            refusal = self._refusal(cause)
            if refusal is not None:
                if usable is not None and refusal.hint is not None:
                    refusal.hint += "; --offline uses the cached copy"
                raise refusal from error
            if usable is None:
                raise CheckpointError(
                    f"{self}: no usable answer from {constants.ENDPOINT}: {_summary(cause)}",
                    hint="check the connection, HF_ENDPOINT and proxy settings, then run again",
                ) from error
            logger.warning(
                "%s: no usable answer from %s (%s); using the cached copy %s",
                self,
                constants.ENDPOINT,
                _summary(cause),
                usable.revision,
            )
            return usable

    def __str__(self) -> str:
        return self.id if self.revision is None else f"{self.id}@{self.revision}"

    def _cached(self) -> Checkpoint | None:
        """The snapshot that the cache holds for this revision, complete or not."""
        path = self._cached_file(CONFIG, self.revision)
        if not isinstance(path, str):
            return None
        directory = Path(path).parent
        return Checkpoint(self.id, directory, directory.name)

    def _cached_file(self, name: str, revision: str | None) -> object:
        """The path as a string, None if unknown, else a marker that the file does not exist."""
        from huggingface_hub import try_to_load_from_cache

        return try_to_load_from_cache(self.id, name, cache_dir=self.cache_dir, revision=revision)

    def _is_whole(self, cached: Checkpoint) -> bool:
        """Whether the snapshot was downloaded for speech, not only for its config and weights.

        Another program may have loaded the bare model into the cache. Whoever wanted the whole has
        asked for the preprocessor too, and found it or learnt that there is none.
        """
        return self._cached_file(_PREPROCESSOR, cached.revision) is not None

    def _complete(self, cached: Checkpoint | None) -> Checkpoint:
        from huggingface_hub import constants

        absent = CONFIG if cached is None else _absent(cached, self.language)
        if cached is None or absent:
            cache_dir = self.cache_dir or constants.HF_HUB_CACHE
            near = did_you_mean(self.id, set(cached_models(cache_dir)) - {self.id})
            raise OfflineError(
                f"{self}: offline, and {absent} is not in the cache {cache_dir}",
                hint=f"asrkit models download {self} fetches it; HF_HOME names another cache"
                + (f"; {near}" if near else ""),
            )
        return cached

    def _download(self, cached: Checkpoint | None) -> Checkpoint:
        from huggingface_hub import HfApi, constants
        from huggingface_hub.errors import EntryNotFoundError

        api = HfApi(library_name="asrkit")
        timeout = constants.HF_HUB_ETAG_TIMEOUT
        info = api.model_info(self.id, revision=self.revision, timeout=timeout)
        commit = info.sha
        if commit is None or not _COMMIT.fullmatch(commit):
            raise CheckpointError(f"{self}: the answer from {constants.ENDPOINT} names no commit")
        if cached is not None and cached.revision == commit and self._is_whole(cached):
            return cached

        available = {file.rfilename for file in info.siblings or ()}
        weights = _find_weights(available)
        if CONFIG not in available or weights is None:
            lacks = CONFIG if CONFIG not in available else "safetensors or PyTorch weights"
            raise CheckpointError(
                f"{self}: the repository has no {lacks}; it holds {listed(sorted(available))}"
            )
        fetch = partial(api.hf_hub_download, self.id, cache_dir=self.cache_dir)
        adapters = _adapter_names(self.language) if self.language is not None else ()
        adapter = next((name for name in adapters if name in available), None)
        for name in sorted(filter(safe_pickle.is_inside, available)):
            if name == adapter or any(fnmatchcase(name, pattern) for pattern in _SIDE_FILES):
                fetch(name, revision=commit)
        if _PREPROCESSOR not in available:
            with suppress(EntryNotFoundError):  # the cache notes the absence, see _is_whole
                fetch(_PREPROCESSOR, revision=commit)
        # Weights come last, and the branch moves after them: until then the previous snapshot
        # stays in use, whatever interrupts the download.
        fetch(weights, revision=commit)
        checkpoint = Checkpoint(self.id, Path(fetch(CONFIG, revision=commit)).parent, commit)
        for name in checkpoint.weight_files():
            fetch(name, revision=commit)
        if self.revision != commit:
            fetch(CONFIG, revision=self.revision)
        return checkpoint

    def _refusal(self, error: BaseException) -> CheckpointError | None:
        """What the Hub or the disk said no to; None for what may pass by itself."""
        from huggingface_hub import constants
        from huggingface_hub.errors import (
            EntryNotFoundError,
            GatedRepoError,
            HfHubHTTPError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )

        where = constants.ENDPOINT
        token = "hf auth login, or HF_TOKEN, gives a token"
        if isinstance(error, GatedRepoError):
            return CheckpointError(
                f"{self}: gated, and this account has no access",
                hint=f"ask for access at {where}/{self.id}; {token}",
            )
        if isinstance(error, RepositoryNotFoundError):
            return CheckpointError(
                f"{self}: not found at {where}, or private",
                hint=did_you_mean(self.id, cached_models(self.cache_dir))
                or f"check the spelling; a private model needs a token: {token}",
            )
        if isinstance(error, RevisionNotFoundError):
            return CheckpointError(
                f"{self.id}: no branch, tag or commit {self.revision!r} at {where}",
                hint=f"{where}/{self.id}/tree/main shows what there is",
            )
        status = getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(error, HfHubHTTPError) and status in (401, 403):
            return CheckpointError(
                f"{self}: {where} refused access: {_summary(error)}",
                hint=f"the token may have expired: {token}",
            )
        if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
            return CheckpointError(f"{self}: a file is missing at {where}: {_summary(error)}")
        if isinstance(error, OSError) and (error.filename or error.errno in _DISK_ERRORS):
            return CheckpointError(
                f"{self}: cannot write to {self.cache_dir or constants.HF_HUB_CACHE}: "
                f"{error.strerror}",
                hint="HF_HOME sets another place",
            )
        return None


def _cause(error: Exception) -> BaseException:
    """The error behind huggingface_hub's "neither on the Hub nor in the cache"."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    if isinstance(error, LocalEntryNotFoundError) and error.__cause__ is not None:
        return error.__cause__
    return error


def _summary(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _not_found(source: str, known: Collection[str]) -> CheckpointError:
    if os.path.isfile(source):
        return CheckpointError(
            f"{source}: a file, expected a model",
            hint=f"name the directory with {CONFIG} and the weights",
        )
    return CheckpointError(
        f"{source!r}: no embedded model, no directory, and not a Hub id (user/name)",
        hint=did_you_mean(source, known) or "asrkit models list shows what is at hand",
    )


def _find_weights(names: Collection[str]) -> str | None:
    return next((name for name in _WEIGHTS if name in names), None)


def _adapter_names(language: str) -> tuple[str, ...]:
    """The files that a language's weights may be in, the first that exists is used."""
    return f"adapter.{language}.safetensors", f"adapter.{language}.bin"


def _absent(checkpoint: Checkpoint, language: str | None) -> str | None:
    """What the weights of a cached snapshot lack; None if nothing."""
    try:
        names = checkpoint.weight_files()
    except CheckpointError:
        return "the weights file"
    if absent := next((name for name in names if checkpoint.path(name) is None), None):
        return absent
    if language is None or language not in languages(checkpoint):
        return None
    return None if checkpoint.adapter_file(language) else _adapter_names(language)[0]


def _load_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file: {error}") from error


def _load_pickle(path: Path) -> dict[str, torch.Tensor]:
    import torch

    content = safe_pickle.load(path)
    if not isinstance(content, dict) or not content:
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, expected named tensors")
    other = [name for name, value in content.items() if not isinstance(value, torch.Tensor)]
    if other or not all(isinstance(name, str) for name in content):
        raise CheckpointError(
            f"{path}: {listed([repr(name) for name in other or content])} is not a named tensor",
            hint="a training checkpoint: save only the dict of tensors inside it",
        )
    return content
