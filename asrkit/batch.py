"""A stream of pieces through a model: read ahead, in batches of similar length, results in order.

Three things happen at once: a thread reads and prepares the next batch, the thread of the caller
runs the model, and threads behind it finish what the model has made. No more than a few batches are
in memory, and no thread outlives the stream it works for.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

ItemT = TypeVar("ItemT")
ValueT = TypeVar("ValueT")
ResultT = TypeVar("ResultT")

# So many batches of pieces are read before the next is chosen among them. More would pad less and
# hold more audio in memory.
_BATCHES_AHEAD = 4
# The first batch holds so much of a full one, and each that follows twice as much as the last.
_FIRST_SHARE = 8
_BATCHES_READY = 1  # prepared while the model runs
_MAX_PADDING = 0.25  # of the audio in a batch: more costs more than a batch of its own
_SECONDS_TO_STOP = 2.0  # for a thread that reads; one that waits for a silent pipe never stops


@dataclass(frozen=True)
class BatchLimits:
    """When a batch is full.

    Attributes:
        count: items in a batch at most.
        padded: the longest item times the number of items at most; a longer item goes alone.
    """

    count: int
    padded: int


@dataclass(frozen=True)
class _Waiting(Generic[ItemT]):
    """An item that was read: the how many-th it is, its length, and that of all before it."""

    number: int
    length: int
    before: int
    item: ItemT


def map_in_batches(
    run: Callable[[Sequence[ValueT]], Sequence[ResultT]],
    items: Iterable[ItemT],
    *,
    prepare: Callable[[ItemT], ValueT],
    length: Callable[[ItemT], int],
    limits: BatchLimits,
) -> Iterator[tuple[ItemT, ResultT | None]]:
    """Apply `run` to batches of items that are near in length.

    Args:
        run: gives one result for each value of a batch, in their order.
        items: read lazily in a thread of its own, a few batches ahead.
        prepare: makes what `run` takes of an item; called in that thread too.
        length: what an item costs; items of length 0 are markers that pass by without a run.
        limits: of a batch.

    Yields:
        Every item with its result, in the order of `items` and as soon as all before it are
        complete; None for a marker.
    """

    def with_values(batch: list[tuple[int, ItemT]]) -> list[tuple[int, ItemT, list[ValueT]]]:
        return [(number, item, [prepare(item)] if length(item) else []) for number, item in batch]

    batches = map(with_values, form_batches(enumerate(items), length=length, limits=limits))
    done: dict[int, tuple[ItemT, ResultT | None]] = {}
    num_yielded = 0

    def complete() -> Iterator[tuple[ItemT, ResultT | None]]:
        nonlocal num_yielded
        while num_yielded in done:
            yield done.pop(num_yielded)
            num_yielded += 1

    with closing(prefetched(batches, _BATCHES_READY)) as ready:
        for batch in ready:
            done.update((number, (item, None)) for number, item, prepared in batch if not prepared)
            yield from complete()  # what ends with a mark waits for no other run
            values = [value for _, _, prepared in batch for value in prepared]
            results = iter(run(values) if values else ())
            done.update(
                (number, (item, next(results))) for number, item, prepared in batch if prepared
            )
            del batch, values  # their audio is not to stay while the next batch runs
            yield from complete()


def form_batches(
    stream: Iterator[tuple[int, ItemT]],
    *,
    length: Callable[[ItemT], int],
    limits: BatchLimits,
) -> Iterator[list[tuple[int, ItemT]]]:
    """Put items that are near in length together.

    Each batch holds the item that has waited longest, so that results can come in order, and those
    nearest to it in length, as long as little is padded. The first batches are small, and chosen
    among few items: whoever waits for the first result waits neither for others that would share
    its batch nor for many to be read, and the model has work at once.

    Args:
        stream: numbered items, read lazily, as many as make a few batches.
        length: of an item; one of length 0 costs nothing and goes with the next batch.
        limits: of a batch.

    Yields:
        Items with their numbers.
    """
    waiting: list[_Waiting[ItemT]] = []
    total = 0
    num_batches = 0
    is_last = False
    while True:
        num_batches += 1
        ahead = min(num_batches, _BATCHES_AHEAD)
        share = max(1, _FIRST_SHARE >> num_batches - 1)
        now = BatchLimits(limits.count, limits.padded // share)
        while not is_last and _has_room(waiting, total, ahead, now):
            entry = next(stream, None)
            if entry is None:
                is_last = True
                break
            number, item = entry
            waiting.append(_Waiting(number, length(item), total, item))
            total += waiting[-1].length
        if not waiting:
            return
        batch = [entry for entry in waiting if not entry.length]
        batch += _nearest([entry for entry in waiting if entry.length], now)
        numbers = {entry.number for entry in batch}
        waiting = [entry for entry in waiting if entry.number not in numbers]
        yield [(entry.number, entry.item) for entry in batch]


def _has_room(
    waiting: Sequence[_Waiting[Any]], total: int, ahead: int, limits: BatchLimits
) -> bool:
    """Whether what was read since the oldest item that waits is less than so many batches."""
    if not waiting:
        return True
    oldest, newest = waiting[0], waiting[-1]
    is_few = newest.number - oldest.number < 2 * ahead * limits.count  # an item and a marker each
    return is_few and total - oldest.before < ahead * limits.padded


def _nearest(waiting: Sequence[_Waiting[ItemT]], limits: BatchLimits) -> list[_Waiting[ItemT]]:
    """The first item and those nearest to it in length, as many as the limits allow."""
    batch = list(waiting[:1])
    for entry in sorted(waiting[1:], key=lambda entry: abs(entry.length - waiting[0].length)):
        lengths = [entry.length, *(other.length for other in batch)]
        padded = max(lengths) * len(lengths)
        has_place = len(lengths) <= limits.count and padded <= limits.padded
        if has_place and padded <= sum(lengths) * (1 + _MAX_PADDING):
            batch.append(entry)
    return batch


def prefetched(items: Iterable[ItemT], limit: int) -> Generator[ItemT, None, None]:
    """Draw items in a thread of its own, at most `limit` ahead of whoever takes them.

    The thread begins with the first item that is asked for and ends with the generator. An
    exception comes out in its place, after the items before it.
    """
    stream = iter(items)
    ready: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
    room = threading.Semaphore(limit)
    is_stopped = threading.Event()

    def draw() -> None:
        try:
            while room.acquire() and not is_stopped.is_set():
                ready.put((next(stream), None))
        except BaseException as error:  # StopIteration among them: it marks the end
            ready.put((None, error))

    thread = threading.Thread(target=draw, name="asrkit-reader", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            room.release()
            yield item
            del item
    finally:
        is_stopped.set()
        room.release()
        thread.join(_SECONDS_TO_STOP)


def behind(
    function: Callable[[ItemT], ResultT], items: Iterable[ItemT | None], *, num_threads: int = 1
) -> Iterator[ResultT]:
    """Apply a function in threads of its own while the next items are made.

    A None among the items lets go what is done, where the next item may be long in the making.

    Yields:
        The results in the order of the items; at most two a thread are waited for at any time.
    """
    waiting: deque[Future[ResultT]] = deque()
    pool = ThreadPoolExecutor(num_threads, "asrkit-decoder")
    try:
        for item in items:
            if item is not None:
                waiting.append(pool.submit(function, item))
            while waiting and (waiting[0].done() or len(waiting) > 2 * num_threads):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
