"""Cutting long audio in its pauses: made of bursts whose gaps are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrkit.pauses import cut_at_pauses

RATE = 8_000


def speech(*parts: float, level: float = 0.1, noise: float = 0.0) -> np.ndarray:
    """Sound for a positive number of seconds, a gap for a negative one."""
    rng = np.random.default_rng(0)
    samples = [
        rng.normal(0, level if seconds > 0 else 0.0, round(abs(seconds) * RATE))
        for seconds in parts
    ]
    signal = np.concatenate(samples)
    return (signal + rng.normal(0, noise, len(signal))).astype(np.float32)


def cut(samples: np.ndarray, seconds: float, *, block: int | None = None):
    blocks = [
        samples[i : i + (block or len(samples))]
        for i in range(0, len(samples), block or len(samples))
    ]
    return list(cut_at_pauses(blocks, length=round(seconds * RATE), sample_rate=RATE))


def borders(pieces) -> list[float]:
    """Where pieces begin, in seconds, without the first."""
    return [piece.start / RATE for piece in pieces[1:]]


bursts = st.lists(
    st.floats(0.02, 3).flatmap(lambda s: st.sampled_from([s, -s])), min_size=1, max_size=12
)


@given(bursts, st.floats(0.05, 4), st.integers(1, 9_000), st.floats(0, 0.01))
def test_pieces_cover_every_sample_once_and_none_is_too_long(parts, seconds, block, noise):
    samples = speech(*parts, noise=noise)

    pieces = cut(samples, seconds, block=block)

    assert np.array_equal(np.concatenate([piece.samples for piece in pieces]), samples)
    assert [p.start for p in pieces] == [0, *np.cumsum([len(p.samples) for p in pieces])[:-1]]
    assert max(len(piece.samples) for piece in pieces) <= round(seconds * RATE)
    assert all(0 <= p.sound[0] <= p.sound[1] <= len(p.samples) for p in pieces)


@given(
    st.lists(st.tuples(st.floats(0.3, 2.5), st.floats(0.25, 1.5)), min_size=2, max_size=12),
    st.sampled_from([0.0, 0.001, 0.01]),
)
def test_where_there_are_pauses_nothing_else_is_cut(pairs, noise):
    """Bursts and gaps are shorter together than a piece, so a gap is always in reach."""
    samples = speech(*(part for burst, gap in pairs for part in (burst, -gap)), noise=noise)
    edges = np.cumsum([part for pair in pairs for part in pair])
    gaps = list(zip(edges[::2], edges[1::2], strict=True))

    pieces = cut(samples, 5.0)

    for border in borders(pieces):
        assert any(start - 0.02 <= border <= end + 0.02 for start, end in gaps)


@given(st.integers(1, 40_000), st.integers(1, 9_000))
def test_blocks_do_not_matter(num_samples, block):
    samples = speech(1.0, -0.3, 2.0, -0.5, 1.2)[:num_samples]

    whole, parts = cut(samples, 1.5), cut(samples, 1.5, block=block)

    assert [(p.start, p.sound) for p in parts] == [(p.start, p.sound) for p in whole]


def test_sound_that_fits_is_one_piece():
    (piece,) = cut(speech(1.0, -2.0, 2.0), 5.0)

    assert len(piece.samples) == 5 * RATE


def test_of_two_pauses_alike_the_later_one_is_cut():
    pieces = cut(speech(1.0, -0.4, 1.0, -0.4, 4.0), 5.0)

    assert borders(pieces) == [pytest.approx(2.6, abs=0.02)]


def test_of_two_pauses_the_much_longer_one_is_cut():
    pieces = cut(speech(2.0, -0.4, 2.0, -0.2, 1.0), 5.0)

    assert borders(pieces) == [pytest.approx(2.2, abs=0.02)]


def test_closure_of_a_stop_is_not_cut_where_a_pause_is():
    pieces = cut(speech(1.0, -0.25, 3.4, -0.1, 2.0), 5.0)

    assert borders(pieces)[0] == pytest.approx(1.125, abs=0.02)


def test_long_pause_is_cut_shortly_before_the_sound_after_it():
    pieces = cut(speech(1.0, -3.0, 3.0), 5.0)

    assert borders(pieces) == [pytest.approx(3.75, abs=0.02)]


def test_without_a_pause_the_quietest_place_is_cut():
    samples = speech(8.0)
    samples[4 * RATE : round(4.1 * RATE)] *= 0.5

    assert borders(cut(samples, 5.0))[0] == pytest.approx(4.05, abs=0.03)


def test_silence_at_the_edges_is_not_sound():
    (piece,) = cut(speech(-0.5, 1.0, -0.2, 0.5, -0.8, noise=0.0005), 5.0)

    assert np.array(piece.sound) / RATE == pytest.approx([0.5, 2.2], abs=0.011)


@pytest.mark.parametrize(
    ("level", "is_silent"), [(0.0, True), (0.0005, True), (0.002, False), (0.1, False)]
)
def test_silent_is_what_stays_below_60_db(level, is_silent):
    (piece,) = cut(speech(2.0, level=level), 5.0)

    assert piece.is_silent == is_silent


def test_room_between_loud_speech_is_silent_and_alone_it_is_not():
    room = speech(5.0, level=0.002)
    loud = speech(4.9, level=0.3)

    alone, after = cut(room, 5.0), cut(np.concatenate([loud, room]), 5.0)

    assert [piece.is_silent for piece in alone] == [False]
    assert after[-1].is_silent
    assert not after[0].is_silent


def test_only_one_piece_is_held():
    num_read = 0

    def blocks():
        nonlocal num_read
        for _ in range(1_000):
            num_read += RATE
            yield speech(0.8, -0.2)

    next(cut_at_pauses(blocks(), length=5 * RATE, sample_rate=RATE))

    assert num_read <= 6 * RATE
