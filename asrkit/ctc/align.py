"""Where each token of a known text lies in CTC emissions: exact Viterbi in little memory.

The lattice of a text of L tokens has L + 1 rows: row k holds the blank before token k and token k
itself (the last row holds only the blank). A path starts in row 0 and ends in the last two.

Every frame costs a path how much worse its token is than the frame's best one, in nats: never
below zero. So a path's cost only grows, and two searches prove the answer:

1. A beam search keeps, in every frame, the band of rows that cost at most a fixed margin more than
   the cheapest row. It finds some path; the margin is widened until it does.
2. The cost of that path is a limit that the best path keeps in *every* frame. The second search
   keeps all rows within the limit, wherever the band of the first one ended. What it finds is the
   best path of the whole lattice; no row was left out that a path as cheap could pass.

The second search keeps only the costs of every K-th frame; the choices between two of those are
computed again when the path is traced back. Memory is O(sqrt(frames) x width of the band).

`_align_native` is the same in C++, and gives the same path bit for bit.
"""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asrkit.errors import InputError
from asrkit.types import TokenSpan


def _load_native() -> Any:
    """The search in C++; None where asrkit was built without a compiler."""
    try:
        return importlib.import_module("asrkit.ctc._align_native")
    except ImportError:
        return None


_native = _load_native()

_BEAM = 200.0  # nats; an ordinary recording needs a few tens
_WIDER = 16.0  # how much the beam grows when it found no path; after one such step it has no end

Costs = NDArray[np.float64]
Scores = NDArray[np.float32]
Rows = NDArray[np.int32]


def forced_align(log_probs: ArrayLike, tokens: ArrayLike, blank: int) -> list[TokenSpan]:
    """Find the frames of each token on the most probable CTC path that spells the tokens.

    Args:
        log_probs: (F, V) natural logarithms of probabilities; -inf is one of zero. Columns may be
            added for tokens of one's own, such as `with_wildcards` does.
        tokens: (L,) indices of columns in the order spoken, without blanks.
        blank: index of the blank.

    Returns:
        L spans in time order, half open, in frames; the score of each is the geometric mean of
        its frames' probabilities.

    Raises:
        InputError: the tokens need more frames than there are (L, and one for each repeat), or
            every path that spells them has probability zero.
        ValueError: a score is NaN or +inf, a frame has no score above -inf, the shapes do not
            fit, or an index is out of range.

    Source: Kürzinger et al. 2020, CTC-Segmentation, section 2 (the lattice); the search is ours.
    """
    scores = np.ascontiguousarray(log_probs, dtype=np.float32)
    ids = np.ascontiguousarray(tokens, dtype=np.int32)
    _check(scores, ids, blank)
    if not len(ids):
        return []
    search = numpy_search if _native is None else native_search
    return _spans(search(scores, ids, blank), scores, ids)


def with_wildcards(log_probs: Scores, *, blank: int, delimiter: int | None, cost: float) -> Scores:
    """Add two columns: a star that stands for any sound, and the gap between words.

    Args:
        log_probs: (F, V).
        blank: index of the blank.
        delimiter: index of the word delimiter, None if the model has none.
        cost: what a frame in the star costs against the best token, in nats. Above zero, so that
            a letter of the text wins against the star where it fits.

    Returns:
        (F, V + 2): column V the star; column V + 1 the gap, the better of blank and delimiter,
        because models leave delimiters out or repeat them in pauses.
    """
    star = log_probs.max(axis=1) - np.float32(cost)
    gap = log_probs[:, blank]
    if delimiter is not None:
        gap = np.maximum(gap, log_probs[:, delimiter])
    return np.concatenate([log_probs, star[:, None], gap[:, None]], axis=1)


def _check(scores: Scores, tokens: Rows, blank: int) -> None:
    if scores.ndim != 2 or tokens.ndim != 1:
        raise ValueError(
            f"log_probs has shape {scores.shape} and tokens {tokens.shape}, expected (F, V), (L,)"
        )
    num_frames, width = scores.shape
    if not 0 <= blank < width:
        raise ValueError(f"blank is {blank}, but log_probs has {width} columns")
    if len(tokens) and not 0 <= tokens.min() <= tokens.max() < width:
        raise ValueError(f"a token is out of range: log_probs has {width} columns")
    if (tokens == blank).any():
        raise ValueError(f"token {int((tokens == blank).argmax())} is the blank")
    if num_frames:
        best = scores.max(axis=1)  # NaN if one is NaN
        bad = ~np.isfinite(best)
        if bad.any():
            frame = int(bad.argmax())
            raise ValueError(f"log_probs: the best score of frame {frame} is {best[frame]}")
    num_repeats = int((tokens[1:] == tokens[:-1]).sum())
    if num_frames < len(tokens) + num_repeats:
        repeats = f" and one for each of {num_repeats} repeats" if num_repeats else ""
        raise InputError(
            f"the text needs {len(tokens) + num_repeats} frames ({len(tokens)} tokens{repeats}), "
            f"but the audio has only {num_frames}",
            hint="the text is longer than what can be said in this audio",
        )


def _spans(states: Rows, scores: Scores, tokens: Rows) -> list[TokenSpan]:
    """The runs of token states; each token has exactly one."""
    frames = np.flatnonzero(states & 1)
    rows = states[frames] >> 1
    firsts = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]])
    starts = frames[firsts]
    ends = frames[np.r_[firsts[1:], len(frames)] - 1] + 1
    log_probs = scores[frames, tokens[rows]].astype(np.float64)
    means = np.exp(np.add.reduceat(log_probs, firsts) / (ends - starts))
    return [
        TokenSpan(token, start, end, min(score, 1.0))
        for token, start, end, score in zip(
            tokens.tolist(), starts.tolist(), ends.tolist(), means.tolist(), strict=True
        )
    ]


def _no_path() -> InputError:
    return InputError(
        "every path that spells the text has probability zero",
        hint="a token of the text has a score of -inf where it is needed",
    )


# ------------------------------------------------------------------ the search, in readable form


@dataclass
class _Band:
    """Costs of the rows of one frame, and which of them count.

    Row k is item k + 1 of both arrays: they are inf just outside of [low, high).

    Attributes:
        blank: (L + 3,) cost of the best path that ends in the blank of a row.
        token: (L + 3,) cost of the best path that ends in its token.
        low: first row that counts.
        high: one past the last.
    """

    blank: Costs
    token: Costs
    low: int
    high: int


class _Lattice:
    """One text on one matrix of scores."""

    def __init__(self, scores: Scores, tokens: Rows, blank: int) -> None:
        self.scores = scores
        self.best = scores.max(axis=1)
        self.tokens = np.append(tokens, blank)  # the token of the last row is never entered
        self.blank = blank
        self.num_rows = len(tokens) + 1
        repeats = np.r_[False, tokens[1:] == tokens[:-1]]
        # Added where a path goes from token to token: repeats need a blank between them.
        self.skip = np.append(np.where(repeats, np.inf, 0.0), np.inf)
        # Frames that are needed after one in the token of a row, to spell the rest; and by the
        # number of frames that remain, the first row from which they suffice.
        need = np.append((1 + repeats)[::-1].cumsum()[::-1][1:], [0, 0])
        self.first_row = np.searchsorted(-need, -np.arange(len(scores)), side="left")

    def costs(self, frame: int) -> Costs:
        """(V,) how much worse than the best token each token is."""
        costs: Costs = np.float64(self.best[frame]) - self.scores[frame].astype(np.float64)
        return costs

    def empty(self) -> _Band:
        """A band without rows."""
        return _Band(np.full(self.num_rows + 2, np.inf), np.full(self.num_rows + 2, np.inf), 0, 0)

    def first(self) -> _Band:
        """The band of frame 0."""
        band = self.empty()
        costs = self.costs(0)
        band.high = 1
        band.blank[1], band.token[1] = costs[self.blank], costs[self.tokens[0]]
        return band

    def step(
        self, band: _Band, frame: int, *, limit: float = math.inf, beam: float = math.inf
    ) -> NDArray[np.uint8]:
        """Move the band to the next frame, in place.

        Args:
            band: of the frame before.
            frame: the new frame.
            limit: rows that cost more are dropped from both ends.
            beam: rows that cost more than this above the cheapest one too.

        Returns:
            (high - low,) where the best path to each row came from. Bits 0 and 1 for the token:
            0 itself, 1 the blank of its row, 2 the token before. Bit 2 for the blank: 0 itself,
            1 the token before.
        """
        low = max(band.low, int(self.first_row[len(self.scores) - 1 - frame]))
        high = min(band.high + 1, self.num_rows)
        if low >= high:  # no row is left from which the text can be finished
            band.low = band.high = low
            band.token[low] = band.blank[low] = np.inf
            return np.zeros(0, np.uint8)
        costs = self.costs(frame)
        blank, token = band.blank[low + 1 : high + 1], band.token[low + 1 : high + 1]
        before = band.token[low:high]

        is_from_before = before < blank
        new_blank = np.where(is_from_before, before, blank) + costs[self.blank]
        skipped = before + self.skip[low:high]
        stayed = np.where(blank < token, blank, token)
        choices: NDArray[np.int64] = np.where(skipped < stayed, 2, blank < token)
        choices = choices + 4 * is_from_before
        new_token = np.where(skipped < stayed, skipped, stayed) + costs[self.tokens[low:high]]
        if high == self.num_rows:
            new_token[-1] = np.inf
        blank[:], token[:] = new_blank, new_token

        cheapest = np.minimum(new_blank, new_token)
        kept = np.flatnonzero(cheapest <= min(limit, cheapest.min() + beam))
        first, end = (int(kept[0]), int(kept[-1]) + 1) if len(kept) else (0, 0)
        band.low, band.high = low + first, low + end
        for row_costs in (band.blank, band.token):
            row_costs[band.low] = np.inf
            row_costs[band.high + 1 : high + 1] = np.inf
        return choices[first:end].astype(np.uint8)

    def last_state(self, band: _Band) -> tuple[int, float]:
        """The state in which the best path ends, and what it costs."""
        token, blank = float(band.token[-3]), float(band.blank[-2])
        return (2 * self.num_rows - 2, blank) if blank < token else (2 * self.num_rows - 3, token)


def numpy_search(scores: Scores, tokens: Rows, blank: int) -> Rows:
    """Find the best path; see the head of this file.

    Args:
        scores: (F, V) log-probabilities without NaN, the best of each frame finite.
        tokens: (L,), at least one.
        blank: index of the blank.

    Returns:
        (F,) states: 2k for the blank of row k, 2k + 1 for its token.

    Raises:
        InputError: no path has a probability above zero.
    """
    lattice = _Lattice(scores, tokens, blank)
    limit = math.inf
    for beam in (_BEAM, _BEAM * _WIDER, math.inf):
        band = lattice.first()
        for frame in range(1, len(scores)):
            lattice.step(band, frame, beam=beam)
        limit = lattice.last_state(band)[1]
        if limit < math.inf:
            break
    else:
        raise _no_path()

    interval = max(64, 4 * math.isqrt(len(scores)))
    marks: list[_Band] = []
    band = lattice.first()
    for frame in range(len(scores)):
        if frame:
            lattice.step(band, frame, limit=limit)
        if frame % interval == 0:
            rows = slice(band.low, band.high + 2)
            marks.append(
                _Band(band.blank[rows].copy(), band.token[rows].copy(), band.low, band.high)
            )

    states = np.empty(len(scores), np.int32)
    states[-1] = lattice.last_state(band)[0]
    end = len(scores) - 1
    while marks:
        saved, start = marks.pop(), len(marks) * interval
        _trace_back(lattice, saved, states[start : end + 1], start, limit)
        end = start
    return states


def _trace_back(lattice: _Lattice, saved: _Band, states: Rows, start: int, limit: float) -> None:
    """Fill in the states from a saved frame to one whose state, the last item, is known."""
    band = lattice.empty()
    band.low, band.high = saved.low, saved.high
    band.blank[saved.low : saved.high + 2] = saved.blank
    band.token[saved.low : saved.high + 2] = saved.token
    came_from = []
    for frame in range(start + 1, start + len(states)):
        choices = lattice.step(band, frame, limit=limit)
        came_from.append((band.low, choices))
    state = int(states[-1])
    for index in range(len(states) - 1, 0, -1):
        low, choices = came_from[index - 1]
        choice = int(choices[(state >> 1) - low])
        state -= (choice & 3) if state & 1 else (choice >> 2)
        states[index - 1] = state


def native_search(scores: Scores, tokens: Rows, blank: int) -> Rows:
    """`numpy_search` in C++, which must have been built."""
    states = np.empty(len(scores), np.int32)
    if not _native.search(scores, tokens, states, blank, _BEAM, _WIDER):
        raise _no_path()
    return states
