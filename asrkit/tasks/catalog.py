"""What models there are, and what one is, without loading it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

from asrkit.checkpoint import Checkpoint, embedded_models, languages
from asrkit.ctc import lm as language_models
from asrkit.errors import CheckpointError
from asrkit.models import FAMILIES
from asrkit.tasks.loading import architecture

_CARD = "README.md"
_MAX_CARD_BYTES = 1_000_000
# What safetensors calls numbers that a model is made of
_KINDS = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "I8": "int8"}
_FRONT_MATTER = re.compile(r"\A---\s*\n(.*?)\n---", re.DOTALL)
# Of models whose preprocessor_config.json does not say
_SAMPLE_RATE = 16_000


@dataclass(frozen=True)
class ModelDescription:
    """What a model is.

    Attributes:
        id: embedded name, directory, or Hub id.
        revision: commit of a Hub snapshot.
        directory: where its files are.
        family: model_type of config.json.
        architecture: the class that the weights belong to, which says what the model can do.
        num_parameters: numbers in the weights.
        num_bytes: of the files of the weights.
        dtype: of the weights as stored, that of most numbers first.
        sample_rate: of the audio that it hears, in Hz.
        vocabulary_size: tokens that it can write, 0 if none.
        labels: classes that it tells apart, empty if it does not.
        languages: codes that `--language` or `--target-lang` takes, empty if there is no choice.
        has_language_model: it brings an n-gram language model.
        licence: as its card says, None if it does not.
    """

    id: str
    revision: str | None
    directory: str
    family: str
    architecture: str
    num_parameters: int
    num_bytes: int
    dtype: tuple[str, ...]
    sample_rate: int
    vocabulary_size: int
    labels: tuple[str, ...]
    languages: tuple[str, ...]
    has_language_model: bool
    licence: str | None

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> ModelDescription:
        """Describe a model whose files are on this disk.

        Raises:
            CheckpointError: its config or weights are missing or damaged, or its family is not
                supported.
        """
        config = checkpoint.config
        family = str(config.get("model_type"))
        if family not in FAMILIES:
            raise CheckpointError(
                f"{checkpoint.id}: model_type {family!r} is not supported",
                hint=f"supported are {', '.join(FAMILIES)}",
            )
        tensors = list(_tensors(checkpoint))
        kinds: Counter[str] = Counter()
        for _, kind, shape in tensors:
            kinds[kind] += prod(shape)
        names = architecture(checkpoint)
        preprocessor = checkpoint.read_json("preprocessor_config.json", required=False)
        labels = config.get("id2label")
        is_classifier = "Classification" in names and isinstance(labels, dict)
        paths = [checkpoint.directory / name for name in checkpoint.weight_files()]
        return cls(
            id=checkpoint.id,
            revision=checkpoint.revision,
            directory=str(checkpoint.directory),
            family=family,
            architecture=names,
            num_parameters=kinds.total(),
            num_bytes=sum(path.stat().st_size for path in paths),
            dtype=tuple(kind for kind, _ in kinds.most_common()),
            sample_rate=int(preprocessor.get("sampling_rate", _SAMPLE_RATE)),
            vocabulary_size=_vocabulary_size(checkpoint),
            labels=tuple(map(str, labels.values())) if is_classifier and labels else (),
            languages=tuple(languages(checkpoint)),
            has_language_model=(checkpoint.directory / language_models.DIRECTORY).is_dir(),
            licence=_licence(checkpoint),
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON output."""
        return asdict(self)


@dataclass(frozen=True)
class Listed:
    """A model at hand.

    Attributes:
        id: what --model takes.
        where: embedded or cached.
        family: model_type of config.json.
        architecture: the class that the weights belong to.
        num_bytes: of its files.
    """

    id: str
    where: str
    family: str
    architecture: str
    num_bytes: int


def list_models(cache_dir: str | None = None) -> list[Listed]:
    """The embedded models, and those in the Hub's cache that asrkit can load, by id.

    Args:
        cache_dir: where Hub files are kept; None uses the standard cache.
    """
    found = [
        _listed(Checkpoint(name, directory), "embedded")
        for name, directory in embedded_models().items()
    ]
    for id, directory in sorted(_cached(cache_dir)):
        with suppress(CheckpointError):  # another program's, or half downloaded
            found.append(_listed(Checkpoint(id, directory), "cached"))
    return [item for item in found if item.family in FAMILIES]


def _listed(checkpoint: Checkpoint, where: str) -> Listed:
    files = [path for path in checkpoint.directory.rglob("*") if path.is_file()]
    return Listed(
        checkpoint.id,
        where,
        str(checkpoint.config.get("model_type")),
        architecture(checkpoint),
        sum(path.stat().st_size for path in files),
    )


def _cached(cache_dir: str | None) -> Iterator[tuple[str, Path]]:
    """(id, directory) of the newest snapshot of every model in the cache."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        cache = scan_cache_dir(cache_dir)
    except CacheNotFound:
        return
    for repository in cache.repos:
        if repository.repo_type == "model" and repository.revisions:
            newest = max(repository.revisions, key=lambda revision: revision.last_modified)
            yield repository.repo_id, newest.snapshot_path


def _tensors(checkpoint: Checkpoint) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """(name, kind of number, shape) of every stored tensor; of safetensors by their headers."""
    from safetensors import SafetensorError, safe_open

    names = [name for name in checkpoint.weight_files() if name.endswith(".safetensors")]
    if not names:
        for name, tensor in checkpoint.load_tensors().items():
            yield name, str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)
    for name in names:
        path = checkpoint.directory / name
        try:
            with safe_open(path, framework="numpy") as file:
                for key in file.keys():  # noqa: SIM118 (not a dict)
                    stored = file.get_slice(key)
                    kind = stored.get_dtype()
                    yield key, _KINDS.get(kind, kind), tuple(stored.get_shape())
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path}: not a readable safetensors file: {error}") from error


def _vocabulary_size(checkpoint: Checkpoint) -> int:
    table = checkpoint.read_json("vocab.json", required=False)
    nested = [own for own in table.values() if isinstance(own, dict)]  # one table a language
    return len({token for own in nested for token in own}) if nested else len(table)


def _licence(checkpoint: Checkpoint) -> str | None:
    """What the head of the model's card says."""
    path = checkpoint.path(_CARD)
    if path is None or path.stat().st_size > _MAX_CARD_BYTES:
        return None
    head = _FRONT_MATTER.match(path.read_text(encoding="utf-8", errors="replace"))
    line = re.search(r"^license:\s*(\S.*?)\s*$", head[1], re.MULTILINE) if head else None
    return line[1] if line else None
