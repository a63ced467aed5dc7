"""Frame-wise scores, and what a frame is in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asrkit.types import Character, TextSpan, Word

_DECIMALS = 3  # of a second in results, the precision of subtitles; frames are 20 ms


@dataclass(frozen=True)
class FrameClock:
    """Turns frames into seconds, and back. Nothing else does.

    Attributes:
        samples_per_frame: samples from one frame to the next; an integer for every model.
        sample_rate: samples per second.
        offset: seconds in the file at which frame 0 begins.
        end: seconds in the file at which the audio ends; no time is later.
    """

    samples_per_frame: int
    sample_rate: int
    offset: float = 0.0
    end: float = float("inf")

    @property
    def frames_per_second(self) -> float:
        """How many frames begin in a second."""
        return self.sample_rate / self.samples_per_frame

    def frame(self, seconds: float) -> float:
        """Where among the frames a time in the file is; the way back from `seconds`."""
        return (seconds - self.offset) * self.frames_per_second

    def seconds(self, frame: float) -> float:
        """When a frame begins, in seconds from the beginning of the file, rounded to 1 ms."""
        seconds = self.offset + frame * self.samples_per_frame / self.sample_rate
        return round(min(seconds, self.end), _DECIMALS)

    def words(
        self, words: Sequence[TextSpan], characters: Sequence[TextSpan] = ()
    ) -> tuple[Word, ...]:
        """Words in seconds, each with those of `characters` that lie inside it."""
        timed = []
        index = 0
        for word in words:
            while index < len(characters) and characters[index].start < word.start:
                index += 1  # a word delimiter
            first = index
            while index < len(characters) and characters[index].end <= word.end:
                index += 1
            spelled = tuple(
                Character(c.text, self.seconds(c.start), self.seconds(c.end), round(c.score, 4))
                for c in characters[first:index]
            )
            start, end = self.seconds(word.start), self.seconds(word.end)
            timed.append(Word(word.text, start, end, round(word.score, 4), spelled))
        return tuple(timed)


@dataclass(frozen=True)
class Emissions:
    """What a CTC model says of one input.

    Attributes:
        log_probs: (F, V) natural logarithms of probabilities.
        clock: when each frame is.
    """

    log_probs: NDArray[np.float32]
    clock: FrameClock
