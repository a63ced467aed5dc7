"""Whether a text was said at all: what its path costs, and what the same letters backwards would.

Every frame of a path costs how much worse the model finds the path's token there than its own best
one, in nats. Two numbers judge a stretch of it:

- The cost for each letter that is written or heard, whichever are more. It also counts speech that
  the text leaves out, and letters that were never said.
- That cost as a share of what the same tokens cost in reverse order on the same frames: a text
  that is surely wrong, of equal length and letters. This measures what a mistake costs for *this*
  model on *this* sound, so a model that hears badly is not taken for a text that is wrong.

tests/benchmarks/bench_plausibility.py shows both for right and wrong texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from asrkit.ctc import BestPath, collapse
from asrkit.ctc.align import forced_align
from asrkit.errors import InputError
from asrkit.types import TokenSpan

# A text is doubted if it costs more than this for a letter, in nats, and more than this share of
# what it costs backwards. A short stretch is not judged.
MAX_COST_PER_LETTER = 1.0
_MAX_SHARE = 0.3
_FEWEST_LETTERS = 4
# One frame costs at most this, so that a single one cannot decide.
_MAX_COST = 10.0
_WINDOW = 200  # tokens that are turned around together; bounds the time for a long text


class Judge:
    """Judges stretches of a path.

    Args:
        scores: (F, V + 2) log-probabilities with the columns star and gap, in this order.
        spans: the path, in time order.
        blank: index of the blank.
        delimiter: index of the word delimiter, None if the model has none.
    """

    def __init__(
        self,
        scores: NDArray[np.float32],
        spans: Sequence[TokenSpan],
        *,
        blank: int,
        delimiter: int | None,
    ) -> None:
        num_frames, width = scores.shape
        star, gap = width - 2, width - 1
        self._scores = scores
        self._best = scores.max(axis=1).astype(np.float64)
        self._blank = blank
        self._spans = [span for span in spans if span.token != star]
        self._starts = np.array([span.start for span in self._spans], dtype=np.int64)
        # Frames in a star count for nothing.
        self._is_free = np.zeros(num_frames, dtype=bool)
        written = np.zeros(num_frames, dtype=np.int64)
        for span in spans:
            if span.token == star:
                self._is_free[span.start : span.end] = True
            elif span.token != gap:
                written[span.start] = 1
        heard = np.zeros(num_frames, dtype=np.int64)
        for span in collapse(BestPath.of(scores[:, :star]), blank=blank):
            if span.token != delimiter:
                heard[span.start] = 1
        heard[self._is_free] = 0
        costs = self._costs(scores, self._best, spans)
        costs[self._is_free] = 0
        # Sums up to each frame, (F + 1,).
        self._cost, self._written, self._heard = (
            np.append(0, np.cumsum(values)) for values in (costs, written, heard)
        )

    def num_letters(self, start: int, end: int) -> int:
        """Letters written or heard between two frames, whichever are more."""
        written = self._written[end] - self._written[start]
        return int(max(written, self._heard[end] - self._heard[start]))

    def cost_per_letter(self, start: int, end: int) -> float:
        """Nats for each letter."""
        cost = float(self._cost[end] - self._cost[start])
        return cost / max(1, self.num_letters(start, end))

    def share(self, start: int, end: int) -> float:
        """The cost as a share of what the tokens between two frames cost in reverse order."""
        first, last = np.searchsorted(self._starts, [start, end])
        cuts = [*range(first, last, _WINDOW), last]
        frames = [start, *(self._spans[cut].start for cut in cuts[1:-1]), end]
        backwards = sum(
            self._reversed_cost(cuts[index : index + 2], *frame)
            for index, frame in enumerate(pairwise(frames))
            if cuts[index : index + 2] != [last]
        )
        cost = float(self._cost[end] - self._cost[start])
        return cost / backwards if backwards > 0 else float(cost > 0)

    def doubts(self, start: int, end: int) -> bool:
        """Whether what is written between two frames does not seem to be said there."""
        return (
            self.num_letters(start, end) >= _FEWEST_LETTERS
            and self.cost_per_letter(start, end) > MAX_COST_PER_LETTER
            and self.share(start, end) > _MAX_SHARE
        )

    def _reversed_cost(self, tokens: Sequence[int], start: int, end: int) -> float:
        kept = np.flatnonzero(~self._is_free[start:end]) + start
        scores = self._scores[kept]
        ids = [span.token for span in self._spans[tokens[0] : tokens[-1]]]
        try:
            spans = forced_align(scores, ids[::-1], self._blank)
        except InputError:  # impossible backwards
            return _MAX_COST * len(ids)
        return float(self._costs(scores, self._best[kept], spans).sum())

    def _costs(
        self, scores: NDArray[np.float32], best: NDArray[np.float64], spans: Sequence[TokenSpan]
    ) -> NDArray[np.float64]:
        """(F,) what each frame of a path costs."""
        path = np.full(len(scores), self._blank)
        for span in spans:
            path[span.start : span.end] = span.token
        chosen = np.take_along_axis(scores, path[:, None], axis=1)[:, 0]
        costs: NDArray[np.float64] = best - chosen
        return costs.clip(0.0, _MAX_COST)
