"""N-gram language models for the beam search: their files, and what a word costs.

Reads what pyctcdecode 0.5.0 and Wav2Vec2ProcessorWithLM of transformers write: a directory
`language_model/` of attrs.json, unigrams.txt and one ARPA or KenLM binary file; or such a file by
itself. ARPA text needs no extra; a KenLM binary needs the extra `lm`.
"""

from __future__ import annotations

import importlib
import json
import math
import shutil
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from asrkit.ctc.arpa import ArpaModel
from asrkit.errors import CheckpointError, MissingExtraError, UsageError
from asrkit.json_files import read_object
from asrkit.options import LM_SUFFIXES

DIRECTORY = "language_model"
ENGINES = ("auto", "native", "kenlm", "python")

_ATTRS = "attrs.json"
_UNIGRAMS = "unigrams.txt"
_KEYS = ("alpha", "beta", "unk_score_offset", "score_boundary")
BINARY_MAGIC = b"mmap lm http://kheafield.com/code"


class NgramModel(Protocol):
    """Probabilities of words in contexts. A state is a context; it is hashable."""

    @property
    def order(self) -> int:
        """Words in the longest n-gram."""

    def __contains__(self, word: str) -> bool:
        """Whether the word has a probability of its own."""

    def start_state(self, *, boundary: bool) -> Any:
        """The context of a first word: the beginning of a sentence, or nothing."""

    def score(self, state: Any, word: str) -> tuple[float, Any]:
        """The log10 probability of a word in a context, and the context of the next word."""


class KenlmModel:
    """An n-gram model in KenLM's hands.

    Attributes:
        path: the file.
        order: words in the longest n-gram.
    """

    def __init__(self, path: Path) -> None:
        """Load a model.

        Args:
            path: a KenLM binary, or ARPA text that has been read without an error: KenLM itself
                may end the process on text it cannot parse.

        Raises:
            MissingExtraError: no KenLM.
            CheckpointError: KenLM refuses the file.
        """
        try:
            import kenlm
        except ImportError as error:
            raise MissingExtraError(f"{path}: a KenLM language model", extra="lm") from error
        config = kenlm.Config()
        config.show_progress = False
        config.arpa_complain = kenlm.ARPALoadComplain.NONE
        try:
            self._model = kenlm.Model(str(path), config)
        except (OSError, RuntimeError, ValueError) as error:
            raise CheckpointError(f"{path}: KenLM cannot read it: {error}") from error
        self._new_state = kenlm.State
        self.path = path
        self.order: int = self._model.order

    def __contains__(self, word: str) -> bool:
        return word in self._model

    def start_state(self, *, boundary: bool) -> Any:
        """The context of a first word: the beginning of a sentence, or nothing."""
        state = self._new_state()
        if boundary:
            self._model.BeginSentenceWrite(state)
        else:
            self._model.NullContextWrite(state)
        return state

    def score(self, state: Any, word: str) -> tuple[float, Any]:
        """The log10 probability of a word in a context, and the context of the next word."""
        end_state = self._new_state()
        return self._model.BaseScore(state, word, end_state), end_state


@dataclass(frozen=True)
class LanguageModel:
    """An n-gram model with the words it is trusted on and the weights it was tuned with.

    Attributes:
        ngrams: gives the probabilities.
        unigrams: words that cost no `unk_score_offset`, all known to `ngrams`; empty trusts every
            word that `ngrams` knows; None knows no parts of words either.
        alpha: weight of the log-probability.
        beta: score of every word, against the cost of long texts.
        unk_score_offset: log10 score added to a word that is not known, and the natural-log score
            of a part of a word that starts no known word.
        score_boundary: whether texts begin and end as sentences.
    """

    ngrams: NgramModel
    unigrams: frozenset[str] | None = None
    alpha: float = 0.5
    beta: float = 1.5
    unk_score_offset: float = -10.0
    score_boundary: bool = True

    @classmethod
    def from_file(
        cls, path: str | Path, *, unigrams: Collection[str] | None = None, engine: str = "auto"
    ) -> LanguageModel:
        """Read an ARPA or KenLM binary file.

        Args:
            path: the file.
            unigrams: words to trust. None takes those of an ARPA file that have a back-off (a
                last word, which nothing follows, has none), and no words from a binary, which does
                not say them.
            engine: auto, native (ARPA only), kenlm or python (ARPA only).

        Raises:
            UsageError: an unknown engine.
            MissingExtraError: a binary file or the engine kenlm, and no KenLM.
            CheckpointError: not a language model.

        Source: build_ctcdecoder of pyctcdecode 0.5.0.
        """
        path = Path(path)
        ngrams, words = _load_ngrams(path, engine)
        if unigrams is None:
            unigrams = words
        return cls(ngrams, None if unigrams is None else _known(unigrams, ngrams))

    @classmethod
    def from_directory(cls, directory: str | Path, *, engine: str = "auto") -> LanguageModel:
        """Read a `language_model` directory.

        Args:
            directory: holds attrs.json, unigrams.txt, one *.arpa, *.bin or *.binary, and nothing
                else that is not hidden.
            engine: as for `from_file`.

        Raises:
            CheckpointError: other files, or other keys or values in attrs.json.
            MissingExtraError: the file needs KenLM, which is not installed.
        """
        directory = Path(directory)
        try:
            names = sorted(item.name for item in directory.iterdir())
        except OSError as error:
            raise CheckpointError(f"{directory}: cannot be read: {error.strerror}") from error
        names = [name for name in names if not name.startswith((".", "__"))]
        models = [name for name in names if name.endswith(LM_SUFFIXES)]
        if len(models) != 1 or set(names) != {_ATTRS, _UNIGRAMS, *models}:
            raise CheckpointError(
                f"{directory}: found {', '.join(names) or 'nothing'}; expected {_ATTRS}, "
                f"{_UNIGRAMS} and one {' or '.join('*' + suffix for suffix in LM_SUFFIXES)}"
            )
        attrs = _read_attrs(directory / _ATTRS)
        try:
            unigrams = (directory / _UNIGRAMS).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise CheckpointError(
                f"{directory / _UNIGRAMS}: not readable UTF-8: {error}"
            ) from error
        model = cls.from_file(directory / models[0], unigrams=unigrams, engine=engine)
        return replace(model, **attrs)


def write_directory(
    directory: str | Path,
    model: str | Path,
    *,
    unigrams: Iterable[str],
    alpha: float = LanguageModel.alpha,
    beta: float = LanguageModel.beta,
    unk_score_offset: float = LanguageModel.unk_score_offset,
    score_boundary: bool = LanguageModel.score_boundary,
) -> None:
    """Write a `language_model` directory that pyctcdecode and transformers read too.

    Args:
        directory: made if it does not exist.
        model: an ARPA or KenLM binary file, copied unless it lies in the directory already.
        unigrams: the words to trust.
        alpha: as in `LanguageModel`, and so the rest.
        beta: score of every word.
        unk_score_offset: score of what is not known.
        score_boundary: whether texts begin and end as sentences.

    Raises:
        CheckpointError: the file has another ending than .arpa, .bin or .binary.
    """
    directory, model = Path(directory), Path(model)
    if not model.name.endswith(LM_SUFFIXES):
        raise CheckpointError(f"{model}: expected a name ending in {', '.join(LM_SUFFIXES)}")
    directory.mkdir(parents=True, exist_ok=True)
    attrs = dict(zip(_KEYS, (alpha, beta, unk_score_offset, score_boundary), strict=True))
    (directory / _ATTRS).write_text(json.dumps(attrs), encoding="utf-8")
    text = "".join(f"{word}\n" for word in sorted(set(unigrams)))
    (directory / _UNIGRAMS).write_text(text, encoding="utf-8")
    if model.resolve().parent != directory.resolve():
        shutil.copyfile(model, directory / model.name)


def native_module() -> Any:
    """The compiled core, or None where it was not built."""
    try:
        return importlib.import_module("asrkit.ctc._native")
    except ImportError:
        return None


def _load_ngrams(path: Path, engine: str) -> tuple[NgramModel, list[str] | None]:
    """The model of a file, and the words of an ARPA file that have a back-off."""
    if engine not in ENGINES:
        raise UsageError(f"language model engine {engine!r} is not one of {', '.join(ENGINES)}")
    try:
        with path.open("rb") as file:
            is_binary = file.read(len(BINARY_MAGIC)) == BINARY_MAGIC
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    if is_binary:
        if engine in ("native", "python"):
            raise UsageError(f"{path}: a KenLM binary, which the engine {engine} does not read")
        return KenlmModel(path), None
    native = native_module()
    if engine == "native" and native is None:
        raise UsageError("the native core of asrkit.ctc was not built")
    text: Any
    if engine == "python" or native is None:
        text = ArpaModel(path)
    else:
        try:
            text = native.Ngram(str(path))
        except ValueError as error:
            raise CheckpointError(str(error), hint="not a valid ARPA language model") from error
    return (KenlmModel(path) if engine == "kenlm" else text), list(text.unigrams)


def _known(unigrams: Collection[str], ngrams: NgramModel) -> frozenset[str]:
    return frozenset(word for word in set(unigrams) if word in ngrams)


def _read_attrs(path: Path) -> dict[str, Any]:
    attrs = read_object(path, keys=_KEYS)
    for key, value in attrs.items():
        expected = bool if key == "score_boundary" else (int, float)
        is_other = not isinstance(value, expected) or isinstance(value, bool) != (expected is bool)
        if is_other or not math.isfinite(value):
            kind = "true or false" if expected is bool else "a number"
            raise CheckpointError(f"{path}: {key} is {value!r}, expected {kind}")
    return {key: value if isinstance(value, bool) else float(value) for key, value in attrs.items()}
