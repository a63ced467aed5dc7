"""A part of a batch for one of several jobs: `--shard 2/7` is the second of seven."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeVar

from asrkit.audio import open_audio
from asrkit.errors import AsrkitError, UsageError
from asrkit.inputs import FailedInput, size_of
from asrkit.types import AudioInput

MAX_OPENED = 5_000  # files whose headers are read to know their length
_RATE_HZ = 16_000  # any will do to ask for a length

ItemT = TypeVar("ItemT")


@dataclass(frozen=True)
class Shard:
    """One of several parts of a batch, each a run of inputs in their order.

    Attributes:
        index: from 1.
        count: of all parts.
    """

    index: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Understand "I/N".

        Raises:
            UsageError: not two numbers, or I is not one of 1 to N.
        """
        numbers = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
        if numbers is None:
            raise UsageError(f"shard {text!r} is not I/N", hint="--shard 1/4 is the first of four")
        index, count = int(numbers[1]), int(numbers[2])
        if not 1 <= index <= count:
            raise UsageError(f"shard {text}: expected 1 to {count} of {count}")
        return cls(index, count)

    def of(self, items: Sequence[ItemT], costs: Sequence[float]) -> list[ItemT]:
        """The items of this part: those whose middle lies in its part of the sum of costs.

        All parts in a row are all items in order; none is further from an equal part of the sum
        than the largest cost.
        """
        total = sum(costs)
        if total <= 0:
            costs, total = [1.0] * len(items), float(len(items))
        middles = (end - cost / 2 for end, cost in zip(accumulate(costs), costs, strict=True))
        return [
            item
            for item, middle in zip(items, middles, strict=True)
            if min(int(middle / total * self.count), self.count - 1) == self.index - 1
        ]


def costs(inputs: Sequence[AudioInput | FailedInput]) -> list[float]:
    """What each input costs: seconds, or bytes where they are not all known; 0 of failures.

    Seconds come from the manifest or from headers, of so many files as can be opened in moments.
    """
    seconds = durations(inputs)
    known = [second for second in seconds if second is not None]
    return known if len(known) == len(seconds) else [size_of(item) for item in inputs]


def durations(inputs: Sequence[AudioInput | FailedInput]) -> list[float | None]:
    """Seconds of each input, 0 of what cannot be read; None where nothing says so cheaply."""
    to_open = sum(isinstance(item, AudioInput) and item.duration is None for item in inputs)
    return [_seconds(item, is_opened=to_open <= MAX_OPENED) for item in inputs]


def _seconds(item: AudioInput | FailedInput, *, is_opened: bool) -> float | None:
    if isinstance(item, FailedInput):
        return 0.0
    if item.duration is not None or item.path == "-" or not is_opened:
        return item.duration
    try:
        with open_audio(item, sample_rate=_RATE_HZ) as reader:
            return reader.duration
    except AsrkitError:
        return 0.0
