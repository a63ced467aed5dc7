"""CTC beam search with a language model, a lexicon and hotwords.

Results are those of pyctcdecode 0.5.0. `search.search` is the search in readable form and the
reference in tests; the compiled `_native` does the same faster, and is used where it was built.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asrkit.ctc import lm as language_models
from asrkit.ctc.alphabet import BLANK, FILE_NAME, SPACE, Alphabet
from asrkit.ctc.lm import LanguageModel
from asrkit.ctc.search import Candidates, Found, Lexicon, SearchOptions, search
from asrkit.ctc.spans import Speller
from asrkit.errors import InputError, UsageError
from asrkit.types import Hypothesis

if TYPE_CHECKING:
    from typing_extensions import Unpack

_FLOOR = math.log(1e-15)  # of a log-probability
_BLOCK = 1 << 22  # scores that are normalised at once, to bound memory


class DecodeOptions(TypedDict, total=False):
    """The options of `BeamDecoder.decode`, which says what they mean."""

    beam_width: int
    beam_prune_logp: float
    token_min_logp: float
    hotwords: Collection[str]
    hotword_weight: float
    alpha: float | None
    beta: float | None
    unk_score_offset: float | None
    lm_score_boundary: bool | None
    n_best: int
    prune_history: bool


class BeamDecoder:
    """Turns emissions into texts.

    An instance does not change: options given to one call hold for that call, and calls from
    several threads do not disturb each other.

    Attributes:
        alphabet: the label of each logit column.
        lm: the language model, if any.
        unigrams: the lexicon: the language model's words, or those given without one.
    """

    def __init__(
        self,
        labels: Sequence[str] | Alphabet,
        *,
        lm: LanguageModel | str | Path | None = None,
        unigrams: Collection[str] | None = None,
        is_bpe: bool | None = None,
        alpha: float | None = None,
        beta: float | None = None,
        unk_score_offset: float | None = None,
        lm_score_boundary: bool | None = None,
        lexicon_only: bool = False,
        native: bool | None = None,
    ) -> None:
        """Set up a decoder.

        Args:
            labels: tokens of the logit columns, which are normalised as `Alphabet.build` does, or
                an alphabet, which is taken as it is.
            lm: a language model, or the path of an ARPA or KenLM binary file.
            unigrams: a lexicon. With a path as `lm`, the words to trust in it; without a language
                model, a text is preferred whose words are listed: any other word, and the start of
                any other word, costs `unk_score_offset`. Hotwords count as listed.
            is_bpe: whether `▁` starts words; None decides by the labels.
            alpha: weight of the language model; None takes the model's own, and so below.
            beta: score of every word under a language model.
            unk_score_offset: cost of a word that is not known.
            lm_score_boundary: whether texts begin and end as sentences.
            lexicon_only: write listed words only.
            native: whether to run the compiled core; None runs it where it was built.

        Raises:
            CheckpointError: labels or language model that cannot be used.
            MissingExtraError: the language model needs KenLM, which is not installed.
            UsageError: options that contradict each other.
        """
        if not isinstance(labels, Alphabet):
            labels = Alphabet.build(labels, is_bpe=is_bpe)
        if isinstance(lm, (str, Path)):
            lm = LanguageModel.from_file(lm, unigrams=unigrams)
        elif lm is not None and unigrams is not None:
            lm = replace(lm, unigrams=frozenset(word for word in unigrams if word in lm.ngrams))
        self.alphabet = labels
        self.lm = lm
        self.unigrams: frozenset[str] | None
        if lm is not None:
            self.unigrams = lm.unigrams
        else:
            self.unigrams = None if unigrams is None else frozenset(unigrams) - {""}
        if lexicon_only and not self.unigrams:
            raise UsageError(
                "lexicon_only without a lexicon: no word could be written",
                hint="--lexicon names a list of words",
            )
        defaults = lm or LanguageModel
        self._options = SearchOptions(
            alpha=_given(alpha, defaults.alpha),
            beta=_given(beta, defaults.beta),
            unk_score_offset=_given(unk_score_offset, defaults.unk_score_offset),
            score_boundary=_given(lm_score_boundary, defaults.score_boundary),
            lexicon_only=lexicon_only,
        )
        self._core = self._build_core() if native or native is None else None
        if native and self._core is None:
            raise UsageError("the native core was not built, or cannot take a label with a space")
        path_finder = self._core.find_path if self._core is not None else None
        self._speller = Speller(labels, path_finder=path_finder)

    @classmethod
    def from_directory(
        cls, path: str | Path, *, engine: str = "auto", native: bool | None = None
    ) -> BeamDecoder:
        """Read the directory of a model with alphabet.json and perhaps language_model/.

        Args:
            path: as Wav2Vec2ProcessorWithLM and pyctcdecode write it.
            engine: what reads the language model, as for `LanguageModel.from_file`.
            native: as for the constructor.

        Raises:
            CheckpointError: a file is missing or is not what it should be.
            MissingExtraError: the language model needs KenLM, which is not installed.
        """
        directory = Path(path)
        alphabet = Alphabet.load(directory / FILE_NAME)
        lm = None
        if (directory / language_models.DIRECTORY).is_dir():
            lm = LanguageModel.from_directory(directory / language_models.DIRECTORY, engine=engine)
        return cls(alphabet, lm=lm, native=native)

    def decode(
        self,
        log_probs: ArrayLike,
        *,
        beam_width: int = SearchOptions.beam_width,
        beam_prune_logp: float = SearchOptions.beam_prune_logp,
        token_min_logp: float = SearchOptions.token_min_logp,
        hotwords: Collection[str] = (),
        hotword_weight: float = SearchOptions.hotword_weight,
        alpha: float | None = None,
        beta: float | None = None,
        unk_score_offset: float | None = None,
        lm_score_boundary: bool | None = None,
        n_best: int = 1,
        prune_history: bool = False,
    ) -> list[Hypothesis]:
        """Find the most probable texts.

        Args:
            log_probs: (F, V) logits, log-probabilities or probabilities. Rows that sum to 1 on
                average are probabilities; any other are put through a log-softmax.
            beam_width: texts kept after each frame.
            beam_prune_logp: a text this much below the best is dropped.
            token_min_logp: a label below this is skipped, unless it is the best of its frame.
            hotwords: words to prefer; of several words in one string each counts by itself.
            hotword_weight: score of each hotword in a text.
            alpha: weight of the language model in this call; None takes the decoder's, so below.
            beta: score of every word under a language model.
            unk_score_offset: cost of a word that is not known.
            lm_score_boundary: whether texts begin and end as sentences.
            n_best: texts to return; there may be fewer.
            prune_history: of texts that share their last words keep the best only: faster, and
                poorer in alternatives.

        Returns:
            Texts, the best first. Times are those of one path, see `Speller`.

        Raises:
            UsageError: an option out of range, or emissions of another shape.
            InputError: emissions with NaN or infinity, or a frame without any probability.
        """
        if n_best < 1:
            raise UsageError(f"n_best {n_best} is below 1")
        options = replace(
            self._options,
            beam_width=beam_width,
            beam_prune_logp=float(beam_prune_logp),
            token_min_logp=float(token_min_logp),
            hotwords=_single_words(hotwords),
            hotword_weight=float(hotword_weight),
            alpha=_given(alpha, self._options.alpha),
            beta=_given(beta, self._options.beta),
            unk_score_offset=_given(unk_score_offset, self._options.unk_score_offset),
            score_boundary=_given(lm_score_boundary, self._options.score_boundary),
            prune_history=prune_history,
        )
        scores = _checked(log_probs, len(self.alphabet.labels))
        normalise = _normaliser(scores)
        always = self.alphabet.labels.index(BLANK) if options.lexicon_only else None
        candidates = _candidates(scores, normalise, options.token_min_logp, always=always)
        if self._core is not None:
            lookup = None if self.lm is None else _Lookup(self.lm, options)
            found = [
                Found(*item) for item in self._core.search(*candidates, n_best, options, lookup)
            ]
        else:
            texts = search(candidates, self.alphabet, self.lm, self._lexicon, options)
            found = texts[:n_best]
        rows = partial(_rows, scores, normalise)
        return [self._hypothesis(item, rows) for item in found]

    def decode_batch(
        self,
        batch: Sequence[ArrayLike],
        *,
        num_threads: int | None = None,
        **options: Unpack[DecodeOptions],
    ) -> list[list[Hypothesis]]:
        """Decode several emissions, with threads that share the work.

        Args:
            batch: (F, V) each.
            num_threads: None takes one for each processor. Without the native core threads do not
                make it faster.
            **options: those of `decode`.

        Returns:
            What `decode` returns for each, in order.

        Raises:
            UsageError: as `decode`, or fewer than one thread.
            InputError: as `decode`.
        """
        num_threads = num_threads if num_threads is not None else os.cpu_count() or 1
        if num_threads < 1:
            raise UsageError(f"{num_threads} threads, expected at least 1")

        def decode(log_probs: ArrayLike) -> list[Hypothesis]:
            return self.decode(log_probs, **options)

        if num_threads == 1 or len(batch) < 2:
            return [decode(item) for item in batch]
        with ThreadPoolExecutor(min(num_threads, len(batch))) as pool:
            return list(pool.map(decode, batch))

    @cached_property
    def _lexicon(self) -> Lexicon | None:
        """The lexicon as the Python search needs it."""
        return None if self.unigrams is None else Lexicon(self.unigrams)

    def _build_core(self) -> Any:
        """The compiled search, or None if there is none for these labels."""
        native = language_models.native_module()
        if native is None or any(len(label.split()) != 1 for label in self._texts()):
            return None
        ngrams = self.lm.ngrams if self.lm is not None else None
        return native.Core(
            list(self.alphabet.labels),
            self.alphabet.is_bpe,
            None if self.unigrams is None else sorted(self.unigrams),
            ngrams if isinstance(ngrams, native.Ngram) else None,
            self.lm is not None,
        )

    def _texts(self) -> Iterator[str]:
        """The labels that are text."""
        special = (BLANK,) if self.alphabet.is_bpe else (BLANK, SPACE)
        return (label for label in self.alphabet.labels if label not in special)

    def _hypothesis(
        self, found: Found, rows: Callable[[int, int], NDArray[np.float64]]
    ) -> Hypothesis:
        characters, words = self._speller.spell(found.words, found.frames, rows)
        text = " ".join(found.words)
        return Hypothesis(text, characters, words, found.logit_score, found.lm_score)


class _Lookup:
    """The native core's way to a language model that lives in Python.

    It is asked for all words of a frame at once, for each pair of state and word only once.
    """

    def __init__(self, lm: LanguageModel, options: SearchOptions) -> None:
        self._ngrams = lm.ngrams
        start = lm.ngrams.start_state(boundary=options.score_boundary)
        self._states = [start]
        self._numbers = {start: 0}

    @property
    def order(self) -> int:
        """Words that the language model looks at."""
        return self._ngrams.order

    def __call__(
        self, states: Sequence[int], words: Sequence[str]
    ) -> list[tuple[float, bool, int]]:
        """The log10 probability of each word, whether it is known, and the state after it."""
        found = []
        for state, word in zip(states, words, strict=True):
            log10, end = self._ngrams.score(self._states[state], word)
            number = self._numbers.setdefault(end, len(self._states))
            if number == len(self._states):
                self._states.append(end)
            found.append((log10, word in self._ngrams, number))
        return found


def _checked(log_probs: ArrayLike, num_labels: int) -> NDArray[Any]:
    """Emissions as an array of floats that the search can use."""
    scores = np.asarray(log_probs)
    if scores.ndim != 2 or scores.shape[1] != num_labels:
        raise UsageError(
            f"emissions of shape {scores.shape}, expected (frames, {num_labels}): one column for "
            "each label"
        )
    if scores.dtype == np.float16:
        # PARITY: the reference normalises in float16.
        scores = scores.astype(np.float32)
    elif scores.dtype not in (np.float32, np.float64):
        scores = scores.astype(np.float64)
    if np.isnan(scores).any():
        raise InputError(f"emissions with NaN, first in frame {_first(np.isnan(scores))}")
    if np.isposinf(scores).any():
        raise InputError(f"emissions with infinity, first in frame {_first(np.isposinf(scores))}")
    if len(scores) and np.isneginf(best := scores.max(axis=1)).any():
        raise InputError(
            "emissions without any probability, first in frame "
            f"{_first(np.isneginf(best)[:, None])}"
        )
    return scores


def _first(mask: NDArray[np.bool_]) -> int:
    return int(np.argmax(mask.any(axis=1)))


def _normaliser(scores: NDArray[Any]) -> Callable[[NDArray[Any]], NDArray[np.float64]]:
    """What turns rows of these emissions into log-probabilities of at least `_FLOOR`."""
    # PARITY: the reference takes rows that sum to 1 on average for probabilities.
    if len(scores) and math.isclose(scores.sum(axis=1).mean(), 1):
        return _log
    return _log_softmax


def _log(rows: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(np.log(np.clip(rows, 1e-15, 1)), dtype=np.float64)


def _log_softmax(rows: NDArray[Any]) -> NDArray[np.float64]:
    rows = rows - rows.max(axis=1, keepdims=True)
    rows = rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))
    return np.clip(rows.astype(np.float64), _FLOOR, 0.0)


def _rows(
    scores: NDArray[Any],
    normalise: Callable[[NDArray[Any]], NDArray[np.float64]],
    start: int,
    end: int,
) -> NDArray[np.float64]:
    return normalise(scores[start:end])


def _candidates(
    scores: NDArray[Any],
    normalise: Callable[[NDArray[Any]], NDArray[np.float64]],
    token_min_logp: float,
    *,
    always: int | None,
) -> Candidates:
    """The labels above a threshold and the best of each frame, and one that is never left out."""
    num_frames, num_labels = scores.shape
    step = max(1, _BLOCK // num_labels)
    counts, labels, values = [np.zeros(1, np.int64)], [], []
    for start in range(0, num_frames, step):
        rows = normalise(scores[start : start + step])
        is_candidate = rows >= token_min_logp
        is_candidate[np.arange(len(rows)), rows.argmax(axis=1)] = True
        if always is not None:
            is_candidate[:, always] = True
        counts.append(is_candidate.sum(axis=1, dtype=np.int64))
        labels.append(np.nonzero(is_candidate)[1].astype(np.int32))
        values.append(rows[is_candidate])
    return Candidates(
        np.cumsum(np.concatenate(counts)),
        np.concatenate([np.zeros(0, np.int32), *labels]),
        np.concatenate([np.zeros(0, np.float64), *values]),
    )


def _single_words(hotwords: Collection[str]) -> tuple[str, ...]:
    if isinstance(hotwords, str):
        raise UsageError(f"hotwords is the string {hotwords!r}, expected a list of words")
    return tuple(dict.fromkeys(word for hotword in hotwords for word in hotword.split()))


def _given(value: Any, default: Any) -> Any:
    return default if value is None else type(default)(value)
