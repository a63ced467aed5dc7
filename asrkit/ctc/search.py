"""The beam search itself, in plain Python: the reference for the compiled core.

The search is that of pyctcdecode 0.5.0, its quirks included. What pyctcdecode leaves to the order
of a Python set is defined here: the labels of a frame are taken by index. Of texts with equal
scores the one that the search made first comes first.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asrkit.ctc.alphabet import BLANK, BOUNDARY, SPACE, Alphabet
from asrkit.ctc.arpa import END
from asrkit.ctc.lm import LanguageModel
from asrkit.ctc.spans import Frames
from asrkit.errors import UsageError

LN_10 = 1.0 / math.log10(math.e)  # the reference's digits
LONG_WORD = 6  # characters; longer parts of words cost more when no word starts with them
_NO_FRAMES: Frames = (-1, -1)


@dataclass(frozen=True)
class SearchOptions:
    """One search: all that the twin and the native core need to know besides the words.

    Attributes:
        beam_width: texts kept after each frame.
        beam_prune_logp: a text this much below the best is dropped.
        token_min_logp: a label below this log-probability is skipped, unless it is the best of
            its frame.
        hotwords: single words, without repeats.
        hotword_weight: score of each one in a text.
        alpha: weight of the language model.
        beta: score of every word under a language model.
        unk_score_offset: as in `LanguageModel`.
        score_boundary: whether texts begin and end as sentences.
        prune_history: of texts that share their last words, keep the best only.
        lexicon_only: drop what is not a word of the lexicon, or the start of one.
    """

    beam_width: int = 100
    beam_prune_logp: float = -10.0
    token_min_logp: float = -5.0
    hotwords: tuple[str, ...] = ()
    hotword_weight: float = 10.0
    alpha: float = LanguageModel.alpha
    beta: float = LanguageModel.beta
    unk_score_offset: float = LanguageModel.unk_score_offset
    score_boundary: bool = LanguageModel.score_boundary
    prune_history: bool = False
    lexicon_only: bool = False

    def __post_init__(self) -> None:
        if self.beam_width < 1:
            raise UsageError(f"beam width {self.beam_width} is below 1")
        for name, value in vars(self).items():
            can_be_open = name in ("beam_prune_logp", "token_min_logp") and value == -math.inf
            if isinstance(value, float) and not (math.isfinite(value) or can_be_open):
                raise UsageError(f"{name} is {value}, expected a finite number")
        if self.beam_prune_logp > 0:
            raise UsageError(f"beam_prune_logp {self.beam_prune_logp:g} is above 0")


class Candidates(NamedTuple):
    """The labels that the search tries, frame after frame.

    Attributes:
        offsets: (F + 1,) where the labels of each frame begin.
        labels: (N,) indices, ascending within a frame.
        log_probs: (N,) their log-probabilities.
    """

    offsets: NDArray[np.int64]
    labels: NDArray[np.int32]
    log_probs: NDArray[np.float64]


class Found(NamedTuple):
    """A text that the search ends with, its words' frames and its scores."""

    words: list[str]
    frames: list[Frames]
    logit_score: float
    lm_score: float


class Lexicon:
    """A set of words, and all that they start with.

    Attributes:
        words: the words.
        starts: every start of a word, whole words included.
    """

    def __init__(self, words: Collection[str]) -> None:
        """Index the words; takes a while for many."""
        self.words = frozenset(words)
        self.starts = frozenset(word[:end] for word in words for end in range(1, len(word) + 1))


class _Beam(NamedTuple):
    """A text on its way through the frames.

    Attributes:
        text: the words that the language model has scored.
        next_word: a word that it has not scored yet.
        part: the word that is being spelled.
        last: label of the last frame; None at the beginning and the end.
        frames: those of the words of `text` and `next_word`.
        part_frames: those of `part`.
        logit_score: sum over the paths.
    """

    text: str
    next_word: str
    part: str
    last: str | None
    frames: tuple[Frames, ...]
    part_frames: Frames
    logit_score: float

    def closed(self) -> tuple[Frames, ...]:
        """The frames of all words once the word being spelled is one of them."""
        return (*self.frames, self.part_frames) if self.part else self.frames


def search(
    candidates: Candidates,
    alphabet: Alphabet,
    lm: LanguageModel | None,
    lexicon: Lexicon | None,
    options: SearchOptions,
) -> list[Found]:
    """Find all texts that survive to the end, the best first.

    Args:
        candidates: what to try in each frame.
        alphabet: what the labels are.
        lm: the language model, if any.
        lexicon: the words to prefer, if any.
        options: of this search.

    Source: BeamSearchDecoderCTC._decode_logits of pyctcdecode 0.5.0, which follows Hannun et al.
    2014, First-Pass Large Vocabulary Continuous Speech Recognition using Bi-Directional RNNs.
    """
    scorer = _Scorer(lm, lexicon, options)
    offsets, labels, log_probs = (array.tolist() for array in candidates)
    beams = [_Beam("", "", "", None, (), _NO_FRAMES, 0.0)]
    expand = _BPEExpansion() if alphabet.is_bpe else _expand
    for frame in range(len(offsets) - 1):
        expanded = [
            expand(beam, alphabet.labels[labels[index]], frame, log_probs[index])
            for index in range(offsets[frame], offsets[frame + 1])
            for beam in beams
        ]
        ranked = scorer.rank(_merged(expanded))
        beams = [beam for _, beam in _best(ranked, options)]
        if options.prune_history:
            beams = _distinct(beams, max(1, scorer.order - 1))
        scorer.forget_all_but(beams)

    ended = [
        beam._replace(next_word=beam.part, part="", last=None, frames=beam.closed(),
                      part_frames=_NO_FRAMES)
        for beam in scorer.finished(beams)
    ]  # fmt: skip
    ranked = scorer.rank(_merged(ended), is_end=True)
    return [
        # PARITY: zip, as a label with a space inside makes more words than the search closed.
        Found(*_aligned(beam.text.split(), beam.frames), beam.logit_score, score)
        for score, beam in _best(ranked, options)
    ]


def _expand(beam: _Beam, label: str, frame: int, log_prob: float) -> _Beam:
    """A beam after one more frame with a label, where a space ends a word."""
    logit_score = beam.logit_score + log_prob
    if label in (BLANK, beam.last):
        return _stay(beam, label, frame, logit_score)
    if label == SPACE:
        return _Beam(beam.text, beam.part, "", label, beam.closed(), _NO_FRAMES, logit_score)
    return _append(beam, label, frame, logit_score)


class _BPEExpansion:
    """A beam after one more frame with a label, where a boundary in the label starts a word."""

    def __init__(self) -> None:
        # PARITY: after a label that ends in "▁" the next label starts a word; the reference keeps
        # this for the search and not for the beam, so that another beam may take the break.
        self._must_break = False

    def __call__(self, beam: _Beam, label: str, frame: int, log_prob: float) -> _Beam:
        logit_score = beam.logit_score + log_prob
        if label in (BLANK, beam.last):
            return _stay(beam, label, frame, logit_score)
        if not (self._must_break or label.startswith(BOUNDARY)):
            return _append(beam, label, frame, logit_score)
        self._must_break = label.endswith(BOUNDARY)
        part = label.removeprefix(BOUNDARY).removesuffix(BOUNDARY)
        frames = (frame, frame + 1)
        return _Beam(beam.text, beam.part, part, label, beam.closed(), frames, logit_score)


def _stay(beam: _Beam, label: str, frame: int, logit_score: float) -> _Beam:
    """A blank, which changes no text, or a repeat, which makes the part last longer."""
    part_frames = beam.part_frames if label == BLANK else (beam.part_frames[0], frame + 1)
    return beam._replace(last=label, part_frames=part_frames, logit_score=logit_score)


def _append(beam: _Beam, label: str, frame: int, logit_score: float) -> _Beam:
    start = beam.part_frames[0] if beam.part_frames[0] >= 0 else frame
    return beam._replace(
        part=beam.part + label, last=label, part_frames=(start, frame + 1), logit_score=logit_score
    )


def _merged(beams: list[_Beam]) -> list[_Beam]:
    """Add up beams that differ in their paths only; the later one's frames stay."""
    merged: dict[tuple[str, str, str | None], _Beam] = {}
    for beam in beams:
        key = (_joined(beam.text, beam.next_word), beam.part, beam.last)
        if key in merged:
            logit_score = _sum_logs(merged[key].logit_score, beam.logit_score)
            beam = beam._replace(logit_score=logit_score)
        merged[key] = beam
    return list(merged.values())


def _best(ranked: list[tuple[float, _Beam]], options: SearchOptions) -> list[tuple[float, _Beam]]:
    """The best beams, best first; of equal scores the earlier."""
    floor = max(score for score, _ in ranked) + options.beam_prune_logp
    kept = [item for item in ranked if item[0] >= floor]
    kept.sort(key=lambda item: item[0], reverse=True)  # stable
    return kept[: options.beam_width]


def _distinct(beams: list[_Beam], num_words: int) -> list[_Beam]:
    """The best of the beams that share their last words and all that may follow."""
    first: dict[tuple[tuple[str, ...], str, str | None], _Beam] = {}
    for beam in beams:
        first.setdefault((tuple(beam.text.split()[-num_words:]), beam.part, beam.last), beam)
    return list(first.values())


class _Scorer:
    """Adds to beams what language model, lexicon and hotwords say of their texts."""

    def __init__(
        self, lm: LanguageModel | None, lexicon: Lexicon | None, options: SearchOptions
    ) -> None:
        self._lm = lm
        self._words = lexicon.words if lexicon is not None else frozenset[str]()
        self._starts = lexicon.starts if lexicon is not None else frozenset[str]()
        self._has_lexicon = lexicon is not None
        self._options = options
        self._hotwords = frozenset(options.hotwords)
        self._hotword_starts = _starts(options.hotwords)
        self._has_costs = lm is not None or lexicon is not None
        state = lm.ngrams.start_state(boundary=options.score_boundary) if lm is not None else None
        # Of each text: score with hotwords, score without them, and the language model's state.
        self._texts: dict[str, tuple[float, float, Any]] = {"": (0.0, 0.0, state)}
        self._parts: dict[str, float] = {}

    @property
    def order(self) -> int:
        """Words that the language model looks at."""
        return 1 if self._lm is None else self._lm.ngrams.order

    def rank(self, beams: list[_Beam], *, is_end: bool = False) -> list[tuple[float, _Beam]]:
        """Score beams, and move their next word to their text."""
        ranked = []
        for beam in beams:
            text = _joined(beam.text, beam.next_word)
            if is_end:
                value = self._score_text(beam, text, is_end=True)[0]
            else:
                if text not in self._texts:
                    self._texts[text] = self._score_text(beam, text)
                value = self._texts[text][0]
            part = self._score_part(beam.part)
            if self._has_costs:
                score = beam.logit_score + (value + part)
            else:  # the order of the reference's additions
                score = beam.logit_score + value + part
            ranked.append((score, beam._replace(text=text, next_word="")))
        return ranked

    def forget_all_but(self, beams: list[_Beam]) -> None:
        """Bound the memory by what the next frame can ask for."""
        if len(self._texts) > 20 * self._options.beam_width:
            self._texts = {beam.text: self._texts[beam.text] for beam in beams}
        if len(self._parts) > 200 * self._options.beam_width:
            self._parts.clear()

    def finished(self, beams: list[_Beam]) -> list[_Beam]:
        """The beams that may end here; with a strict lexicon, not inside a word.

        If all of them are inside a word, that word is left out.
        """
        if not self._options.lexicon_only:
            return beams
        finished = [beam for beam in beams if not beam.part or self._is_listed(beam.part)]
        return finished or [beam._replace(part="") for beam in beams]

    def _score_text(
        self, beam: _Beam, text: str, *, is_end: bool = False
    ) -> tuple[float, float, Any]:
        _, raw, state = self._texts[beam.text]
        if self._lm is not None:
            score, state = self._score_word(state, beam.next_word, is_end=is_end)
            raw += score
        elif self._has_lexicon and beam.next_word:
            raw += 0.0 if self._is_listed(beam.next_word) else self._cost(beam.next_word)
        num_hotwords = sum(word in self._hotwords for word in text.split()) if self._hotwords else 0
        return raw + self._options.hotword_weight * num_hotwords, raw, state

    def _score_word(self, state: Any, word: str, *, is_end: bool) -> tuple[float, Any]:
        """A word after a state: its score, and the state after it.

        Source: LanguageModel.score of pyctcdecode 0.5.0.
        """
        assert self._lm is not None  # for the type checker
        options, ngrams = self._options, self._lm.ngrams
        log10, end_state = ngrams.score(state, word)
        # PARITY: a text that ends in a space ends in the word "", which nothing knows.
        if (self._words and word not in self._words) or word not in ngrams:
            if options.lexicon_only and word and not self._is_listed(word):
                return -math.inf, end_state
            log10 += options.unk_score_offset
        if is_end and options.score_boundary:
            log10 += ngrams.score(end_state, END)[0]
        return options.alpha * log10 * LN_10 + options.beta, end_state

    def _score_part(self, part: str) -> float:
        """The score of a word that is being spelled, in natural logarithms."""
        if not part:
            return 0.0
        if part not in self._parts:
            self._parts[part] = self._part_score(part)
        return self._parts[part]

    def _part_score(self, part: str) -> float:
        shortest = self._hotword_starts.get(part)
        if shortest is not None:
            return self._options.hotword_weight * len(part) / shortest
        if not self._has_costs or part in self._starts:
            return 0.0
        return self._cost(part)

    def _cost(self, part: str) -> float:
        """What a word, or the start of one, costs that no list holds."""
        if self._options.lexicon_only:
            return -math.inf
        cost = self._options.unk_score_offset
        return cost * len(part) / LONG_WORD if len(part) > LONG_WORD else cost

    def _is_listed(self, word: str) -> bool:
        return word in self._hotwords or word in self._words


def _starts(words: Collection[str]) -> dict[str, int]:
    """Every start of a word, with the length of the shortest word that starts so."""
    starts: dict[str, int] = {}
    for word in sorted(words, key=len):
        for length in range(1, len(word) + 1):
            starts.setdefault(word[:length], len(word))
    return starts


def _joined(text: str, word: str) -> str:
    return f"{text} {word}" if text and word else text or word


def _aligned(words: list[str], frames: Sequence[Frames]) -> tuple[list[str], list[Frames]]:
    pairs = list(zip(words, frames, strict=False))
    return [word for word, _ in pairs], [place for _, place in pairs]


def _sum_logs(first: float, second: float) -> float:
    """The logarithm of a sum of two exponentials."""
    if first >= second:
        return first + math.log(1 + math.exp(second - first))
    return second + math.log(1 + math.exp(first - second))
