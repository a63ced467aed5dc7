"""A stream of pieces through a model in batches of similar length, results in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

# Pieces are read this many batches ahead and sorted by length, so that a batch pads little. More
# would pad less and hold more audio in memory.
_BATCHES_AHEAD = 4


def map_in_batches(
    run: Callable[[Sequence[ItemT]], Sequence[ResultT]],
    items: Iterable[ItemT],
    *,
    length: Callable[[ItemT], int],
    batch_size: int,
    group: Callable[[ItemT], int] = lambda item: 0,
) -> Iterator[tuple[ItemT, ResultT | None]]:
    """Apply `run` to batches of items that are near in length.

    Args:
        run: takes at most `batch_size` items and gives one result each, in their order.
        items: read lazily, a few batches ahead.
        length: what an item costs; items of length 0 are markers that pass by without a run.
        batch_size: items in a run.
        group: items in a row of the same group may share a run.

    Yields:
        Every item with its result, in the order of `items`; None for a marker.
    """
    for window in _windows(items, batch_size * _BATCHES_AHEAD, group):
        results: list[ResultT | None] = [None] * len(window)
        waiting = sorted(
            (index for index, item in enumerate(window) if length(item)),
            key=lambda index: length(window[index]),
            reverse=True,  # the largest first: what does not fit into memory fails early
        )
        for start in range(0, len(waiting), batch_size):
            batch = waiting[start : start + batch_size]
            outputs = run([window[index] for index in batch])
            for index, output in zip(batch, outputs, strict=True):
                results[index] = output
        yield from zip(window, results, strict=True)
        window.clear()  # its audio is not to stay while the next window is read


def _windows(
    items: Iterable[ItemT], size: int, group: Callable[[ItemT], int]
) -> Iterator[list[ItemT]]:
    """Items in a row, at most so many, of one group."""
    for _, members in groupby(items, key=group):
        while window := list(islice(members, size)):
            yield window
