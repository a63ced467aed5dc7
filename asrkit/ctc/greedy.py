"""The best token of every frame, collapsed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asrkit.types import TokenSpan


@dataclass(frozen=True)
class BestPath:
    """The best token of every frame: all that greedy decoding keeps of the emissions.

    Attributes:
        tokens: (F,) index of the best token.
        log_probs: (F,) its log-probability.
    """

    tokens: NDArray[np.int32]
    log_probs: NDArray[np.float32]

    @classmethod
    def of(cls, log_probs: NDArray[np.float32]) -> BestPath:
        """The best path of emissions (F, V); of equal scores the first token wins."""
        tokens = log_probs.argmax(axis=1).astype(np.int32)
        return cls(tokens, np.take_along_axis(log_probs, tokens[:, None], axis=1)[:, 0])

    @classmethod
    def concatenate(cls, parts: Sequence[BestPath]) -> BestPath:
        """Join the paths of consecutive stretches, before the collapse."""
        return cls(
            np.concatenate([part.tokens for part in parts]),
            np.concatenate([part.log_probs for part in parts]),
        )


def collapse(path: BestPath, *, blank: int) -> list[TokenSpan]:
    """Turn a frame-wise CTC path into token spans.

    Args:
        path: the best token of each frame.
        blank: index of the blank; it separates repeats and yields no span.

    Returns:
        Spans in time order, half open, in frames; the score of each is the geometric mean of its
        frames' probabilities. Empty if all frames are blank.

    Source: Graves et al. 2006, section 3.1 (the map B).
    """
    tokens = path.tokens
    if not len(tokens):
        return []
    starts = np.flatnonzero(np.r_[True, tokens[1:] != tokens[:-1]])
    ends = np.r_[starts[1:], len(tokens)]
    scores = np.exp(np.add.reduceat(path.log_probs.astype(np.float64), starts) / (ends - starts))
    return [
        TokenSpan(int(tokens[start]), int(start), int(end), min(float(score), 1.0))
        for start, end, score in zip(starts, ends, scores, strict=True)
        if tokens[start] != blank
    ]
