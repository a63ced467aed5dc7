"""How certain an error rate is, and whether two systems differ.

Sources: Bisani and Ney 2004 (bootstrap over utterances); Hesterberg 2015 (expanded percentiles);
Gillick and Cox 1989 and the NIST scoring toolkit (matched pairs sentence segment word error,
MAPSSWE).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from asrkit.scoring import Alignment

Interval = tuple[float, float]

_MOST_DRAWS = 4_000_000  # numbers drawn at once
_GOOD_WORDS = 2  # that both systems must get right, one after the other, to end a segment


def resample(units: NDArray[np.integer], replicates: int, seed: int) -> NDArray[np.float64]:
    """Sums over corpora of as many units, drawn with replacement.

    Equal units are drawn together: how often each kind comes is multinomial, which is the same
    distribution as drawing one by one and takes time for the kinds only.

    Args:
        units: (N, K) counts of each utterance or group.
        replicates: corpora to draw.
        seed: of the random numbers.

    Returns:
        (replicates, K) sums.
    """
    kinds, multiplicity = np.unique(units, axis=0, return_counts=True)
    random = np.random.default_rng(seed)
    at_once = max(1, _MOST_DRAWS // len(kinds))
    sums = [
        random.multinomial(len(units), multiplicity / len(units), size=size) @ kinds
        for size in np.diff([*range(0, replicates, at_once), replicates])
    ]
    return np.concatenate(sums).astype(np.float64)


def rate_interval(
    errors: NDArray[np.integer],
    words: NDArray[np.integer],
    *,
    level: float,
    replicates: int,
    seed: int,
) -> Interval | None:
    """The expanded percentile bootstrap interval of the error rate of a corpus.

    Args:
        errors: (N,) of each utterance, or of each group that is drawn as a whole.
        words: (N,) of each reference.
        level: of confidence, in percent.
        replicates: corpora to draw.
        seed: of the random numbers.

    Returns:
        Low and high; None where there are fewer than two units, no words, or no errors: drawing
        from nothing but zeros would claim certainty.
    """
    if len(words) < 2 or not replicates or not words.any() or not errors.any():
        return None
    sums = resample(np.stack([errors, words], axis=1), replicates, seed)
    sums = sums[sums[:, 1] > 0]
    return percentiles(sums[:, 0] / sums[:, 1], level, len(words))


def percentiles(samples: NDArray[np.float64], level: float, num_units: int) -> Interval:
    """The expanded percentile interval: somewhat more than the middle `level` percent.

    Resampling knows less of the spread than there is, and more so the fewer units there are. As
    Hesterberg 2015 has it, the tails are those of Student's t (by its expansion in 1 / num_units)
    and wider by sqrt(num_units / (num_units - 1)).
    """
    normal = NormalDist()
    z = normal.inv_cdf(0.5 + level / 200)
    t = z + (z**3 + z) / (4 * (num_units - 1))
    tail = 100 * normal.cdf(-t * math.sqrt(num_units / (num_units - 1)))
    low, high = np.percentile(samples, [tail, 100 - tail])
    return float(low), float(high)


@dataclass(frozen=True)
class PairedBootstrap:
    """The difference of two error rates on the same utterances.

    Attributes:
        difference: second minus first.
        interval: of the difference.
        p: two-sided probability of a difference as clear if the systems were equal.
    """

    difference: float
    interval: Interval
    p: float


def paired_bootstrap(
    first: NDArray[np.integer],
    second: NDArray[np.integer],
    words: NDArray[np.integer],
    *,
    level: float,
    replicates: int,
    seed: int,
) -> PairedBootstrap | None:
    """Compare the errors of two systems, drawing each utterance (or group) for both at once.

    Args:
        first: (N,) errors of one system.
        second: (N,) errors of the other.
        words: (N,) of the references.
        level: of confidence, in percent.
        replicates: corpora to draw.
        seed: of the random numbers.

    Returns:
        None where there are fewer than two units or no words.
    """
    if len(words) < 2 or not replicates or not words.any():
        return None
    extra = second.astype(np.int64) - first
    sums = resample(np.stack([extra, words], axis=1), replicates, seed)
    sums = sums[sums[:, 1] > 0]
    differences = sums[:, 0] / sums[:, 1]
    rarer = min(np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0))
    return PairedBootstrap(
        float(extra.sum() / words.sum()),
        percentiles(differences, level, len(words)),
        min(1.0, 2 * (rarer + 1) / (len(differences) + 1)),
    )


@dataclass(frozen=True)
class MatchedPairs:
    """The MAPSSWE test on the differences of errors in segments.

    Attributes:
        num_segments: stretches in which one system or both err.
        mean: errors of the first minus those of the second, in a segment.
        deviation: standard deviation of that.
        z: of the mean; None where it is beyond all numbers.
        p: two-sided.
    """

    num_segments: int
    mean: float
    deviation: float
    z: float | None
    p: float


def matched_pairs(segments: Sequence[tuple[int, int]]) -> MatchedPairs | None:
    """Test whether two systems make equally many errors.

    Args:
        segments: errors of the first and of the second system in each; see `error_segments`.

    Returns:
        None for fewer than two segments.
    """
    if len(segments) < 2:
        return None
    differences = np.array([first - second for first, second in segments], dtype=np.float64)
    mean, deviation = float(differences.mean()), float(differences.std(ddof=1))
    if deviation == 0:
        z, p = (0.0, 1.0) if mean == 0 else (None, 0.0)
    else:
        z = mean / (deviation / math.sqrt(len(segments)))
        p = math.erfc(abs(z) / math.sqrt(2))
    return MatchedPairs(len(segments), mean, deviation, z, p)


def error_segments(first: Alignment, second: Alignment) -> Iterator[tuple[int, int]]:
    """The errors of two systems in the stretches of an utterance that hold errors.

    Two words of the reference, one after the other, that both systems get right with nothing
    inserted between them, separate stretches; so do the ends of the utterance.
    """
    errors = sorted([*_errors(first, 0), *_errors(second, 1)])
    counts = [0, 0]
    end = -_GOOD_WORDS
    for start, stop, system in errors:
        if start - end >= _GOOD_WORDS and any(counts):
            yield counts[0], counts[1]
            counts = [0, 0]
        counts[system] += 1
        end = max(end, stop)
    if any(counts):
        yield counts[0], counts[1]


def _errors(alignment: Alignment, system: int) -> Iterator[tuple[int, int, int]]:
    """Each error as the words of the reference that it covers: start, end, whose it is."""
    for chunk in alignment:
        if chunk.type == "insert":
            place = chunk.ref_start_idx
            for _ in range(chunk.hyp_end_idx - chunk.hyp_start_idx):
                yield place, place, system
        elif chunk.type != "equal":
            for word in range(chunk.ref_start_idx, chunk.ref_end_idx):
                yield word, word + 1, system
