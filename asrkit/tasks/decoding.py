"""Which decoder an input gets, and all that it needs from the model's folder and the options."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from asrkit.ctc import BestPath, collapse
from asrkit.ctc import lm as language_models
from asrkit.ctc.alphabet import FILE_NAME, Alphabet
from asrkit.ctc.beam import BeamDecoder
from asrkit.ctc.lm import LanguageModel
from asrkit.ctc.search import SearchOptions
from asrkit.errors import CheckpointError, MissingExtraError, UsageError
from asrkit.options import DecodingOptions
from asrkit.tasks.recognizer import Recognizer
from asrkit.text import CTCVocabulary
from asrkit.types import Hypothesis

_log = logging.getLogger("asrkit")


class Decoding(Protocol):
    """From the log-probabilities of chunks to texts."""

    name: str

    def reduce(self, log_probs: NDArray[np.float32]) -> Any:
        """What is kept of one chunk (F, V), context trimmed."""

    def decode(self, parts: Sequence[Any]) -> list[Hypothesis]:
        """The texts of consecutive chunks, the best first."""


class GreedyDecoding:
    """The best token of every frame. Keeps 8 bytes a frame."""

    name = "greedy"

    def __init__(self, vocabulary: CTCVocabulary, num_columns: int) -> None:
        self._vocabulary = vocabulary
        self._canonical = vocabulary.canonical(num_columns)

    def reduce(self, log_probs: NDArray[np.float32]) -> BestPath:
        """The best path of one chunk (F, V)."""
        path = BestPath.of(log_probs)
        return BestPath(self._canonical[path.tokens], path.log_probs)

    def decode(self, parts: Sequence[BestPath]) -> list[Hypothesis]:
        """One text."""
        spans = collapse(BestPath.concatenate(parts), blank=self._vocabulary.blank)
        return [self._vocabulary.hypothesis(spans)]


class BeamDecoding:
    """Beam search. Keeps the log-probabilities: 4 bytes a frame and token."""

    name = "beam"

    def __init__(self, decoder: BeamDecoder, options: DecodingOptions) -> None:
        self._decoder = decoder
        self._options: dict[str, Any] = {
            "beam_width": options.beam_width or SearchOptions.beam_width,
            "hotwords": [_as_spelled(word, decoder.alphabet) for word in options.hotwords],
            "hotword_weight": options.hotword_weight,
            "alpha": options.lm_alpha,
            "beta": options.lm_beta,
            "n_best": options.n_best,
        }

    def reduce(self, log_probs: NDArray[np.float32]) -> NDArray[np.float32]:
        """The chunk (F, V) itself, as a copy that keeps no padded batch alive."""
        copy: NDArray[np.float32] = log_probs.copy()
        return copy

    def decode(self, parts: Sequence[NDArray[np.float32]]) -> list[Hypothesis]:
        """At most `n_best` texts."""
        return self._decoder.decode(np.concatenate(parts), **self._options)


def make_decoding(recognizer: Recognizer, options: DecodingOptions) -> Decoding:
    """Choose and set up the decoder.

    Raises:
        UsageError: a lexicon that cannot be read, or one without a usable word.
        CheckpointError: a language model that cannot be read or belongs to another vocabulary.
        MissingExtraError: a language model that was asked for needs KenLM.
    """
    num_columns = recognizer.model.config.vocab_size
    own_lm = recognizer.directory / language_models.DIRECTORY
    has_own_lm = own_lm.is_dir() and (recognizer.directory / FILE_NAME).is_file()
    wants_lm = options.use_lm and (options.lm is not None or has_own_lm)
    if options.decoder == "greedy" or not (wants_lm or options.needs_beam):
        return GreedyDecoding(recognizer.vocabulary, num_columns)
    alphabet = alphabet_of(recognizer)
    words = None
    if options.lexicon is not None:
        words = read_words(options.lexicon, alphabet)
    lm = None
    if wants_lm and options.lm is not None:
        unigrams = None
        if options.lm_unigrams is not None:
            unigrams = read_words(options.lm_unigrams, alphabet)
        lm = _load_lm(Path(options.lm), unigrams)
    elif wants_lm and words is None:
        lm, words = _load_own(own_lm)
    if lm is not None and words is not None:
        raise UsageError(
            "--lexicon and a language model, which has a word list of its own",
            hint="--lm-unigrams says which words of a language model to trust; --no-lm drops it",
        )
    decoder = BeamDecoder(alphabet, lm=lm, unigrams=words, lexicon_only=options.lexicon_only)
    return BeamDecoding(decoder, options)


def alphabet_of(recognizer: Recognizer) -> Alphabet:
    """The labels of a model: those of its alphabet.json, or else of its vocabulary.

    Raises:
        CheckpointError: alphabet.json is damaged, or belongs to another vocabulary.
    """
    num_columns = recognizer.model.config.vocab_size
    vocabulary = recognizer.vocabulary
    of_model = Alphabet.from_tokens(
        [vocabulary.token(index) for index in range(num_columns)],
        blank=vocabulary.blank,
        word_delimiter=vocabulary.word_delimiter,
        unknown=vocabulary.unknown,
        is_phonemic=vocabulary.is_phonemic,
    )
    path = recognizer.directory / FILE_NAME
    if not path.is_file():
        return of_model
    alphabet = Alphabet.load(path)
    alphabet.check_covers(of_model)
    if len(alphabet.labels) != num_columns:
        raise CheckpointError(
            f"{path}: {len(alphabet.labels)} labels, expected {num_columns}, one for each output "
            "of the model"
        )
    return alphabet


def _load_own(directory: Path) -> tuple[LanguageModel | None, frozenset[str] | None]:
    """The model's own language model; its word list alone where KenLM is needed and missing."""
    try:
        return LanguageModel.from_directory(directory), None
    except MissingExtraError as error:
        _log.warning("%s; its word list is used instead (%s)", error.message, error.hint)
        text = (directory / "unigrams.txt").read_text(encoding="utf-8")
        return None, frozenset(text.split())


def _load_lm(path: Path, unigrams: frozenset[str] | None) -> LanguageModel:
    """A language model that was asked for: a file, a `language_model` folder, or its parent."""
    if not path.is_dir():
        return LanguageModel.from_file(path, unigrams=unigrams)
    inner = path / language_models.DIRECTORY
    return LanguageModel.from_directory(inner if inner.is_dir() else path)


def read_words(path: str, alphabet: Alphabet) -> frozenset[str]:
    """The words of a list, one a line, as the alphabet spells them.

    Raises:
        UsageError: not a readable list, or none of its words can be spelled.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as a list of words: {error}") from error
    return _spelled((word for line in lines for word in line.split()[:1]), alphabet, path)


def _spelled(words: Iterable[str], alphabet: Alphabet, source: str) -> frozenset[str]:
    letters = {label.strip("▁") for label in alphabet.labels}
    spelled = {_as_spelled(word, alphabet) for word in words}
    usable = {w for w in spelled if alphabet.is_bpe or all(letter in letters for letter in w)}
    if not usable:
        raise UsageError(f"{source}: none of {len(spelled)} words can be spelled by the model")
    if len(usable) < len(spelled):
        odd = sorted(spelled - usable)
        _log.warning(
            "%s: %d of %d words cannot be spelled by the model, such as %s",
            source, len(odd), len(spelled), odd[0],
        )  # fmt: skip
    return frozenset(usable)


def _as_spelled(word: str, alphabet: Alphabet) -> str:
    """The word in the only case that the alphabet has, if it has only one."""
    text = "".join(label for label in alphabet.labels if len(label) == 1)
    if text.upper() == text:
        return word.upper()
    return word.lower() if text.lower() == text else word
