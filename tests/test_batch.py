"""Reading ahead, batches, order, and that nothing is left running."""

from __future__ import annotations

import _thread
import random
import signal
import threading
import time
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import asrkit.batch
from asrkit.batch import BatchLimits, behind, form_batches, map_in_batches, prefetched

LIMITS = BatchLimits(count=4, padded=100)
AHEAD = asrkit.batch._BATCHES_AHEAD
LENGTHS = st.lists(st.integers(0, 130), max_size=60)


def mapped(lengths, limits=LIMITS, *, run=lambda values: values, prepare=lambda item: -item):
    return map_in_batches(
        run, lengths, prepare=prepare, length=lambda length: length, limits=limits
    )


def batches(lengths, limits=LIMITS):
    return list(form_batches(enumerate(lengths), length=lambda length: length, limits=limits))


@pytest.fixture
def threads():
    """Those that run now and did not before the test."""
    before = set(threading.enumerate())

    def started():
        return {thread.name for thread in set(threading.enumerate()) - before}

    yield started
    assert started() == set()


@given(LENGTHS, st.integers(1, 5), st.integers(1, 200))
@settings(max_examples=60, deadline=None)
def test_results_are_those_of_a_plain_loop(lengths, size, padded):
    expected = [(length, -length if length else None) for length in lengths]

    assert list(mapped(lengths, BatchLimits(size, padded))) == expected


@given(LENGTHS, st.integers(1, 5), st.integers(1, 200))
@settings(max_examples=200, deadline=None)
def test_batches_keep_their_limits_and_never_leave_the_oldest_behind(lengths, size, padded):
    waiting = [number for number, length in enumerate(lengths) if length]
    seen = []
    for batch in batches(lengths, BatchLimits(size, padded)):
        seen += [number for number, _ in batch]
        pieces = [(number, length) for number, length in batch if length]
        if not pieces:
            continue
        area = max(length for _, length in pieces) * len(pieces)
        assert len(pieces) <= size
        assert area <= padded or len(pieces) == 1
        assert area <= 1.25 * sum(length for _, length in pieces)
        assert waiting[0] == pieces[0][0]
        waiting = [number for number in waiting if number not in dict(pieces)]

    assert sorted(seen) == list(range(len(lengths)))


def test_batches_are_of_neighbours_in_length_by_hand():
    # The fourth batch is chosen among all the rest. A fourth of 31 makes 124, 52 and 50 make 104.
    assert batches([100, 100, 100, 30, 50, 31, 29, 0, 52, 48, 51])[3:] == [
        [(7, 0), (3, 30), (5, 31), (6, 29)],
        [(4, 50), (9, 48)],
        [(8, 52)],
        [(10, 51)],
    ]


def test_the_first_batches_hold_an_eighth_a_quarter_and_half_of_a_full_one():
    formed = batches([10] * 40, BatchLimits(16, 80))

    assert [len(batch) for batch in formed] == [1, 2, 4, 8, 8, 8, 8, 1]


def test_lengths_of_a_corpus_waste_little_and_fill_batches():
    generator = random.Random(0)
    lengths = [round(16_000 * generator.lognormvariate(2.1, 0.5)) for _ in range(400)]
    limits = BatchLimits(32, 60 * 16_000)
    formed = [[length for _, length in batch] for batch in batches(lengths, limits)]

    area = sum(max(batch) * len(batch) for batch in formed)
    unsorted = [lengths[start : start + 6] for start in range(0, 400, 6)]

    assert sum(max(batch) * len(batch) for batch in unsorted) > 1.5 * sum(lengths)
    assert area < 1.12 * sum(lengths)
    assert len(formed) < 1.6 * sum(lengths) / limits.padded


@given(LENGTHS)
@settings(max_examples=60, deadline=None)
def test_reading_stops_a_few_batches_ahead_of_the_oldest_item(lengths):
    taken = 0

    def items():
        nonlocal taken
        for taken, length in enumerate(lengths, start=1):  # noqa: B007  # read below
            yield length

    oldest = 0
    done = set()
    for batch in form_batches(enumerate(items()), length=lambda length: length, limits=LIMITS):
        between = lengths[oldest : taken - 1]
        assert sum(between) < AHEAD * LIMITS.padded or len(between) == 0
        assert len(between) <= 2 * AHEAD * LIMITS.count
        done.update(number for number, _ in batch)
        while oldest in done:
            oldest += 1


def test_the_first_batch_waits_for_no_more_than_it_holds():
    numbers = count(1)

    next(form_batches(enumerate(10 for _ in numbers), length=lambda length: length, limits=LIMITS))

    assert next(numbers) <= 4  # of 10 each an eighth of 100; the last one read, and this one


def test_a_mark_waits_for_no_run_but_those_before_it(threads):
    runs = []

    def run(values):
        runs.append(values)
        return values

    stream = mapped([60, 0, 60, 0], BatchLimits(1, 60), run=run)

    assert [next(stream), next(stream)] == [(60, -60), (0, None)]
    assert runs == [[-60]]
    assert list(stream) == [(60, -60), (0, None)]


def test_results_come_while_later_items_are_still_to_be_read(threads):
    gate = threading.Event()

    def items():
        yield from [60, 0]
        yield from [60] * 3
        assert gate.wait(10)
        yield 1

    stream = mapped(items(), BatchLimits(1, 60))

    assert [next(stream), next(stream)] == [(60, -60), (0, None)]
    gate.set()
    assert len(list(stream)) == 4


def test_the_next_batch_is_read_while_the_model_runs(threads):
    is_read = threading.Event()

    def prepare(item):
        if item == 2:
            is_read.set()
        return item

    def run(values):
        assert is_read.wait(10)  # a loop that reads after it runs would never get there
        return values

    assert [item for item, _ in mapped([1, 2, 3], BatchLimits(1, 1), run=run, prepare=prepare)]


@pytest.mark.parametrize("culprit", ["items", "prepare", "run"])
def test_an_error_comes_out_once_after_what_was_complete(culprit, threads):
    def fail(name, value):
        if name == culprit and value == 7:
            raise ValueError(name)
        return value

    stream = mapped(
        (fail("items", item) for item in [1, 2, 7, 3]),
        BatchLimits(1, 1),
        prepare=lambda item: fail("prepare", item),
        run=lambda values: [fail("run", value) for value in values],
    )

    assert [next(stream), next(stream)] == [(1, 1), (2, 2)]
    with pytest.raises(ValueError, match=culprit):
        next(stream)
    assert list(stream) == []


def test_closing_early_stops_the_threads_and_the_reading(threads):
    closed = threading.Event()

    def items():
        try:
            yield from count(1)
        finally:
            closed.set()

    stream = behind(abs, (result for _, result in mapped(items(), BatchLimits(1, 1))))
    next(stream)
    running = threads()
    stream.close()

    assert {name.split("_")[0] for name in running} == {"asrkit-reader", "asrkit-decoder"}
    assert threads() == set()
    assert closed.is_set()


@pytest.fixture
def heeds_interrupts():
    """Also where the tests run in the background, with SIGINT ignored."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.mark.parametrize("place", ["reading", "running", "decoding"])
@pytest.mark.usefixtures("heeds_interrupts")
def test_an_interrupt_ends_everything_at_once(place, threads):
    started = time.monotonic()
    is_busy = threading.Event()

    def work(where, value):
        if where == place and value == -3:
            is_busy.set()
            _thread.interrupt_main()
        return value

    def endless():
        for item in count(1):
            time.sleep(0.001)
            yield -work("reading", -item)

    stream = behind(
        lambda pair: work("decoding", pair[1]),
        mapped(endless(), BatchLimits(1, 1), run=lambda v: [work("running", x) for x in v]),
    )
    with pytest.raises(KeyboardInterrupt):
        list(stream)

    assert is_busy.is_set()
    assert time.monotonic() < started + 5


def test_what_is_drawn_in_a_thread_comes_in_order_and_no_further_than_the_limit(threads):
    taken = 0

    def items():
        nonlocal taken
        for item in range(1, 6):
            taken = item
            yield item

    stream = prefetched(items(), 2)
    assert taken == 0

    assert next(stream) == 1
    time.sleep(0.05)
    assert taken <= 3
    assert list(stream) == [2, 3, 4, 5]


def test_work_behind_keeps_the_order_whatever_takes_long(threads):
    def slow(item):
        time.sleep(0.02 if item == 0 else 0)
        return item

    assert list(behind(slow, range(6), num_threads=3)) == list(range(6))


def test_an_error_behind_comes_out_in_its_place(threads):
    stream = behind(lambda item: 6 // item, [3, 2, 0, 1])

    assert [next(stream), next(stream)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(stream)


def test_few_results_wait_for_work_behind(threads):
    gate = threading.Event()
    made = 0

    def items():
        nonlocal made
        for made in range(1, 100):
            if made == 3:
                gate.set()
            yield made

    def work(item):
        assert gate.wait(10)
        return item

    stream = behind(work, items())
    assert next(stream) == 1
    assert made == 3
    assert list(stream) == list(range(2, 100))


def test_what_is_done_behind_comes_out_before_a_long_item_is_made():
    made = []

    def items():
        yield 1
        for step in range(200):  # of a long second item
            made.append(step)
            time.sleep(0.01)
            yield None
        yield 2

    stream = behind(abs, items())

    assert next(stream) == 1
    assert len(made) < 200
    assert list(stream) == [2]
