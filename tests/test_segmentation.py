"""Words to segments, text to lines, seconds to milliseconds."""

from __future__ import annotations

import math
from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrkit.errors import UsageError
from asrkit.options import SegmentOptions
from asrkit.segmentation import milliseconds, split_segments, wrap_lines
from asrkit.types import Character, Word

ONE_LINE = SegmentOptions(max_line_width=20, max_line_count=1)


def spoken(text: str, *, pauses: dict[int, float] | None = None) -> list[Word]:
    """Words of 0.2 s, 0.1 s apart; `pauses` gives another silence after the n-th word."""
    words = []
    start = 0.0
    for number, token in enumerate(text.split(), start=1):
        end = round(start + 0.2, 3)
        words.append(Word(token, start, end, score=1.0))
        start = round(end + (pauses or {}).get(number, 0.1), 3)
    return words


def texts(words: list[Word], options: SegmentOptions) -> list[str]:
    return [segment.text for segment in split_segments(words, options, duration=1000.0)]


@st.composite
def speech(draw: st.DrawFn) -> tuple[list[Word], dict[str, float]]:
    """Words in time order whose times may touch, overlap, be empty or leave the audio."""
    offset = draw(st.just(0.0) | st.floats(0, 1000))
    tokens = draw(st.lists(st.text("abc", min_size=1, max_size=12), max_size=40))
    words = []
    start = offset + draw(st.floats(-0.1, 1))
    for token in tokens:
        length = draw(st.sampled_from([0.0, 0.0001, 0.02]) | st.floats(0, 2))
        words.append(Word(token, start, start + length, draw(st.floats(0, 1))))
        start += draw(st.sampled_from([0.0, 0.0001]) | st.floats(0, 3))
    return words, {"duration": draw(st.floats(0.05, 100)), "offset": offset}


options_of_any_size = st.builds(
    SegmentOptions,
    max_pause=st.sampled_from([0.0, 0.5, 1e9, math.inf]),
    max_line_width=st.integers(1, 50),
    max_line_count=st.integers(1, 4),
    max_words_per_line=st.none() | st.integers(1, 5),
)


# --- where a segment ends


def test_no_words_give_no_segments():
    assert split_segments([], SegmentOptions(), duration=3.0) == ()


def test_words_that_fit_on_the_screen_stay_one_segment():
    words = [Word("hello", 0.1, 0.4, 0.9), Word("world", 0.5, 0.9, 0.7)]

    (segment,) = split_segments(words, SegmentOptions(), duration=1.0)

    assert (segment.text, segment.start, segment.end) == ("hello world", 0.1, 0.9)
    assert segment.score == pytest.approx(0.8)
    assert segment.words == tuple(words)


def test_a_pause_longer_than_the_limit_ends_a_segment():
    words = spoken("one two three", pauses={1: 0.501})

    assert texts(words, SegmentOptions(max_pause=0.5)) == ["one", "two three"]


def test_a_pause_of_exactly_the_limit_does_not_end_a_segment():
    words = [Word("one", 0.0, 0.6, 1.0), Word("two", 1.1, 1.2, 1.0)]  # 1.1 - 0.6 > 0.5 in floats

    assert texts(words, SegmentOptions(max_pause=0.5)) == ["one two"]


def test_a_long_stretch_is_cut_into_similar_lengths_and_leaves_no_lonely_word():
    # 24 characters, 20 fit: filling the first line would leave "eeee" alone
    assert texts(spoken("aaaa bbbb cccc dddd eeee"), ONE_LINE) == ["aaaa bbbb", "cccc dddd eeee"]


def test_a_long_stretch_is_cut_in_its_largest_pause():
    words = spoken("aaaa bbbb cccc dddd eeee", pauses={1: 0.15, 3: 0.3, 4: 0.15})

    assert texts(words, ONE_LINE) == ["aaaa bbbb cccc", "dddd eeee"]


def test_a_small_pause_does_not_buy_a_lonely_word():
    words = spoken("aaaa bbbb cccc dddd eeee", pauses={4: 0.15})

    assert texts(words, ONE_LINE) == ["aaaa bbbb", "cccc dddd eeee"]


def test_one_more_segment_is_made_where_pauses_ask_for_it():
    # 29 characters fit into two segments, but then neither cut is in a pause
    words = spoken("aaaa bbbb cccc dddd eeee ffff", pauses={2: 0.45, 4: 0.45})

    assert texts(words, ONE_LINE) == ["aaaa bbbb", "cccc dddd", "eeee ffff"]


def test_a_segment_fills_all_its_lines():
    options = SegmentOptions(max_line_width=9, max_line_count=2)

    assert texts(spoken("aaaa bbbb cccc dddd"), options) == ["aaaa bbbb cccc dddd"]


def test_words_that_have_enough_room_in_all_but_not_on_their_lines_are_cut():
    options = SegmentOptions(max_line_width=10, max_line_count=2)

    # 19 characters of 20, but no line of 10 holds two of these words
    assert texts(spoken("aaaaaa bbbbb cccccc"), options) == ["aaaaaa", "bbbbb cccccc"]


def test_words_per_line_limit_the_words_of_a_segment():
    options = SegmentOptions(max_line_count=2, max_words_per_line=2)

    assert texts(spoken("a b c d e f"), options) == ["a b c", "d e f"]


def test_a_segment_full_of_short_words_counts_as_full():
    # four words fill a segment however short they are, so three halves cost little
    options = SegmentOptions(max_line_count=2, max_words_per_line=2)
    words = spoken("a b c d e f", pauses={2: 0.45, 4: 0.45})

    assert texts(words, options) == ["a b", "c d", "e f"]


def test_a_word_longer_than_a_line_stands_alone():
    options = SegmentOptions(max_line_width=5, max_line_count=2)

    assert texts(spoken("in incomprehensibilities we trust"), options) == [
        "in",
        "incomprehensibilities",
        "we trust",
    ]


def test_words_of_blank_text_are_dropped():
    words = [Word(" ", 0.0, 0.1, 0.5), Word("yes", 0.2, 0.3, 1.0), Word("", 0.4, 0.5, 0.5)]

    (segment,) = split_segments(words, SegmentOptions(), duration=1.0)

    assert (segment.text, segment.start, segment.score) == ("yes", 0.2, 1.0)


@pytest.mark.parametrize(
    "options",
    [
        {"max_line_width": 0},
        {"max_line_count": 0},
        {"max_words_per_line": 0},
        {"max_pause": -0.1},
        {"max_pause": math.nan},
    ],
)
def test_sizes_that_no_text_fits_into_are_refused(options):
    with pytest.raises(UsageError, match=r"max \w+.*, expected at least"):
        SegmentOptions(**options)


# --- times


def test_a_word_of_no_length_gets_a_millisecond():
    (segment,) = split_segments([Word("a", 0.5, 0.5, 1.0)], SegmentOptions(), duration=1.0)

    assert (segment.start, segment.end) == (0.5, 0.501)
    assert segment.words == (Word("a", 0.5, 0.501, 1.0),)


def test_a_word_of_no_length_at_the_end_of_the_audio_moves_before_it():
    (segment,) = split_segments([Word("a", 1.0, 1.0, 1.0)], SegmentOptions(), duration=1.0)

    assert (segment.start, segment.end) == (0.999, 1.0)


def test_a_word_is_cut_at_the_end_of_the_audio_rounded_down():
    (segment,) = split_segments([Word("a", 0.5, 1.2, 1.0)], SegmentOptions(), duration=0.9996)

    assert (segment.start, segment.end) == (0.5, 0.999)


def test_a_part_of_a_file_keeps_its_words_between_its_own_ends():
    words = [Word("a", 9.9, 10.2, 1.0), Word("b", 10.3, 12.1, 1.0)]

    (segment,) = split_segments(words, SegmentOptions(), duration=2.0, offset=10.0)

    assert (segment.start, segment.end) == (10.0, 12.0)


def test_a_word_that_is_moved_keeps_its_characters_inside():
    characters = (Character("h", 0.1, 0.2, 1.0), Character("i", 0.2, 0.4, 1.0))
    words = [Word("hi", 0.1, 0.4, 1.0, characters), Word("you", 0.3, 0.5, 1.0)]

    (segment,) = split_segments(words, SegmentOptions(), duration=1.0)

    first = segment.words[0]
    assert (first.start, first.end) == (0.1, 0.3)
    assert [(c.start, c.end) for c in first.characters] == [(0.1, 0.2), (0.2, 0.3)]


def test_words_already_in_order_come_back_unchanged():
    words = spoken("one two three")

    (segment,) = split_segments(words, SegmentOptions(), duration=1.0)

    assert all(kept is word for kept, word in zip(segment.words, words, strict=True))


def test_milliseconds_are_rounded_to_the_nearest():
    assert milliseconds([(0.0004, 0.0016), (0.0016, 1.2)], duration=2.0) == [(0, 2), (2, 1200)]


def test_overlapping_spans_part_where_the_later_one_starts():
    assert milliseconds([(0.0, 0.9), (0.3, 0.6)], duration=1.0) == [(0, 300), (300, 600)]


def test_spans_at_the_same_time_follow_each_other():
    assert milliseconds([(0.5, 0.5)] * 3, duration=1.0) == [(500, 501), (501, 502), (502, 503)]


def test_spans_after_the_end_are_moved_before_it():
    assert milliseconds([(5.0, 6.0), (7.0, 8.0)], duration=1.0) == [(998, 999), (999, 1000)]


def test_a_duration_too_short_for_all_spans_is_exceeded():
    assert milliseconds([(0.0, 0.0)] * 3, duration=0.001) == [(0, 1), (1, 2), (2, 3)]


# --- lines


def test_text_that_fits_is_one_line():
    assert wrap_lines("to be or not to be", SegmentOptions(max_line_width=18)) == [
        "to be or not to be"
    ]


def test_lines_are_balanced_not_filled():
    # filling would give "the quick brown fox" / "jumps"
    options = SegmentOptions(max_line_width=20)

    assert wrap_lines("the quick brown fox jumps", options) == ["the quick", "brown fox jumps"]


def test_of_two_equal_wraps_the_upper_line_is_the_shorter():
    assert wrap_lines("aa bb cc", SegmentOptions(max_line_width=5)) == ["aa", "bb cc"]


def test_lines_hold_no_more_words_than_allowed():
    options = SegmentOptions(max_words_per_line=2)

    assert wrap_lines("a b c", options) == ["a", "b c"]


def test_a_word_longer_than_a_line_is_not_broken():
    assert wrap_lines("a extraordinary b", SegmentOptions(max_line_width=5)) == [
        "a",
        "extraordinary",
        "b",
    ]


def test_text_too_long_for_one_segment_gets_more_lines():
    options = SegmentOptions(max_line_width=4, max_line_count=2)

    assert wrap_lines("aaaa bbbb cccc", options) == ["aaaa", "bbbb", "cccc"]


def test_blank_text_has_no_lines():
    assert wrap_lines(" \n\t", SegmentOptions()) == []


# --- invariants


@given(speech(), options_of_any_size)
def test_segments_are_apart_in_order_longer_than_zero_and_inside_the_audio(given_speech, options):
    """I7."""
    words, audio = given_speech

    segments = split_segments(words, options, **audio)

    for segment in segments:
        assert audio["offset"] <= segment.start < segment.end
        assert segment.end <= audio["offset"] + audio["duration"]
        assert round(segment.start * 1000) < round(segment.end * 1000)
        assert (segment.start, segment.end) == (segment.words[0].start, segment.words[-1].end)
    for before, after in pairwise(segments):
        assert before.end <= after.start


@given(speech(), options_of_any_size)
def test_every_word_is_kept_in_order_and_longer_than_zero(given_speech, options):
    words, audio = given_speech

    segments = split_segments(words, options, **audio)

    kept = [word for segment in segments for word in segment.words]
    assert [(w.text, w.score) for w in kept] == [(w.text, w.score) for w in words]
    assert all(word.start < word.end for word in kept)
    assert all(before.end <= after.start for before, after in pairwise(kept))


@given(speech(), options_of_any_size)
def test_every_segment_fits_on_the_screen_or_is_one_long_word(given_speech, options):
    words, audio = given_speech

    for segment in split_segments(words, options, **audio):
        lines = wrap_lines(segment.text, options)

        assert " ".join(lines) == segment.text == " ".join(word.text for word in segment.words)
        assert 1 <= len(lines) <= options.max_line_count
        for line in lines:
            assert len(line) <= options.max_line_width or len(segment.words) == 1
            assert len(line.split()) <= (options.max_words_per_line or math.inf)


@given(speech(), options_of_any_size)
def test_no_segment_holds_a_pause_longer_than_the_limit(given_speech, options):
    words, audio = given_speech

    for segment in split_segments(words, options, **audio):
        for before, after in pairwise(segment.words):
            assert round(after.start - before.end, 3) <= options.max_pause


@given(st.lists(st.text("ab", min_size=1, max_size=6), min_size=1, max_size=7), options_of_any_size)
def test_no_other_wrap_has_fewer_or_more_even_lines(tokens, options):
    def unevenness(lines: list[str]) -> tuple[int, int]:
        return len(lines), sum(len(line) ** 2 for line in lines)

    def fits(line: str) -> bool:
        num_words = line.count(" ") + 1
        is_narrow = len(line) <= options.max_line_width or num_words == 1
        return is_narrow and num_words <= (options.max_words_per_line or math.inf)

    every_wrap = (
        "".join(token + end for token, end in zip(tokens, [*ends, ""], strict=True)).split("\n")
        for ends in product(" \n", repeat=len(tokens) - 1)
    )

    lines = wrap_lines(" ".join(tokens), options)

    best = min(unevenness(wrap) for wrap in every_wrap if all(map(fits, wrap)))
    assert unevenness(lines) == best
