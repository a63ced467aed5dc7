"""Where sound pauses: long audio cut into pieces that a model can hear at once.

Levels are those of 10 ms frames in dB below full scale. A frame is quiet if it is quiet for its
surroundings: 35 dB below the loud ones or near the faint ones, so that a pause is found in a studio
and over traffic. A piece is silent if nothing in it is louder than a quiet frame of the loudest
piece before it, or than -60 dB whatever came before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asrkit.audio import Chunk

_FRAMES_PER_SECOND = 100
_SILENCE_DB = -60.0
_FLOOR_DB = -90.0  # of 16-bit samples; what is below is as quiet
_BELOW_SPEECH_DB = 35.0
_ABOVE_FAINT = 0.25  # of the way from the faint frames to the loud ones
_FAINT, _LOUD = 5, 95  # percentiles
_PAUSE = 0.2  # seconds; what is shorter may be the closure of a stop in the middle of a word
_LONG_PAUSE = 1.0  # seconds; a longer one is no better place to cut
_LEAD = 0.25  # seconds of a pause that stay before the sound after it


@dataclass(frozen=True)
class Stretch(Chunk):
    """A chunk between two pauses; it has no context.

    Attributes:
        sound: (first, end) of what is not silence at its edges, in samples; empty if all is.
    """

    sound: tuple[int, int] = (0, 0)

    @property
    def is_silent(self) -> bool:
        """Whether there is nothing to hear."""
        return self.sound[0] == self.sound[1]


def cut_at_pauses(
    blocks: Iterable[NDArray[np.float32]], *, length: int, sample_rate: int
) -> Iterator[Stretch]:
    """Cut a stream into pieces, in pauses; holds one piece and one block at a time.

    A stream no longer than `length` is one piece. Of the pauses in reach of a longer one the best
    has the largest product of duration, up to a second, and distance from the beginning; it is cut
    in its middle, a long one near its end. Where nothing pauses, the quietest place is cut.

    Args:
        blocks: (T,) pieces of the stream, of any length.
        length: of a piece at most, in samples.
        sample_rate: samples per second.

    Yields:
        Pieces in order that cover every sample once.
    """
    frame = max(1, sample_rate // _FRAMES_PER_SECOND)
    stream = iter(blocks)
    held = np.zeros(0, np.float32)
    start = 0
    loudest = -np.inf
    is_last = False
    while not is_last:
        parts = [held]
        num_held = len(held)
        while num_held <= length:  # one sample more tells that the stream goes on
            block = next(stream, None)
            if block is None:
                is_last = True
                break
            parts.append(block)
            num_held += len(block)
        held = np.concatenate(parts)
        while len(held) > length or (is_last and len(held)):
            window = held[:length]
            end = len(window) if len(held) <= length else _best_cut(window, frame)
            levels = _levels(window[:end], frame)
            loudest = max(loudest, float(np.percentile(levels, _LOUD)))
            sound = _sound(levels, loudest, frame, end)
            yield Stretch(window[:end].copy(), 0, 0, start, sound)
            held = held[end:]
            start += end


def _best_cut(window: NDArray[np.float32], frame: int) -> int:
    """Where to cut a full window: samples from its beginning, at least one."""
    levels = _levels(window, frame)
    if levels.max() < _SILENCE_DB:
        return len(window)
    pauses = _runs(levels < _quiet_below(levels)) / _FRAMES_PER_SECOND
    # What is left of the pause before is no place to cut again.
    pauses = pauses[(pauses[:, 0] > 0) | (pauses[:, 1] > _LONG_PAUSE)]
    durations = pauses[:, 1] - pauses[:, 0]
    if (durations >= _PAUSE).any():
        pauses, durations = pauses[durations >= _PAUSE], durations[durations >= _PAUSE]
    if not len(pauses):
        return max(1, _quietest(levels) * frame)
    worth = np.minimum(durations, _LONG_PAUSE) * pauses.mean(axis=1)
    first, end = pauses[int(worth.argmax())]
    seconds = float(max((first + end) / 2, end - _LEAD))
    return min(max(1, round(seconds * _FRAMES_PER_SECOND) * frame), len(window))


def _quietest(levels: NDArray[np.float64]) -> int:
    """The frame in the later half with the least sound around it."""
    half = len(levels) // 2
    width = min(len(levels) - half, _FRAMES_PER_SECOND // 10)
    around = np.convolve(levels[half:], np.ones(width), mode="valid")
    return half + int(around.argmin()) + width // 2


def _sound(
    levels: NDArray[np.float64], loudest: float, frame: int, num_samples: int
) -> tuple[int, int]:
    """What is left of a piece without the quiet frames at its edges, in samples."""
    if levels.max() < max(_SILENCE_DB, loudest - _BELOW_SPEECH_DB):
        return 0, 0
    heard = np.flatnonzero(levels >= _quiet_below(levels))
    return int(heard[0]) * frame, min((int(heard[-1]) + 1) * frame, num_samples)


def _quiet_below(levels: NDArray[np.float64]) -> float:
    """The level in dB below which a frame is quiet; never above the loudest."""
    faint, loud = np.percentile(levels, (_FAINT, _LOUD))
    return float(max(loud - _BELOW_SPEECH_DB, faint + _ABOVE_FAINT * (loud - faint)))


def _levels(samples: NDArray[np.float32], frame: int) -> NDArray[np.float64]:
    """(F,) level of each frame in dB of full scale; the last frame may be short."""
    squares = np.square(samples, dtype=np.float64)
    starts = np.arange(0, len(samples), frame)
    sums = np.add.reduceat(squares, starts)
    power = sums / np.minimum(frame, len(samples) - starts)
    levels: NDArray[np.float64] = 10 * np.log10(np.maximum(power, 10 ** (_FLOOR_DB / 10)))
    return levels


def _runs(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(N, 2) first and one past the last index of each run of True."""
    edges = np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0, append=0))
    return edges.reshape(-1, 2).astype(np.int64)
