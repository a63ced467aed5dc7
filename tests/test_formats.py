"""Transcripts to text, in every format."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrkit.errors import AudioError, InputError, UsageError
from asrkit.formats import FORMATS, Format, Registry, error_row, render
from asrkit.formats.times import voices
from asrkit.options import SegmentOptions
from asrkit.segmentation import split_segments
from asrkit.types import (
    ModelInfo,
    Segment,
    Transcript,
    Word,
)

OPTIONS = SegmentOptions()
SILENCE = Transcript("quiet.wav", 2.0, "")
TWO_CUES = Transcript(
    "talk.wav",
    5.0,
    "hello world good bye",
    segments=(Segment("hello world", 0.25, 1.5, 0.5), Segment("good bye", 3.0, 4.125, 1.0)),
    model=ModelInfo("demo-en"),
    options={"timestamps": "segment"},
)


def one_cue(text: str, *, start: float = 0.0, end: float = 1.0) -> Transcript:
    return Transcript("a.wav", end, text, segments=(Segment(text, start, end),))


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    """Segments of any float times in order and inside the audio, however short or close."""
    lengths = st.sampled_from([1e-6, 0.0004, 0.0005, 0.001]) | st.floats(1e-6, 5)
    gaps = st.sampled_from([0.0, 1e-6, 0.0004]) | st.floats(0, 5)
    tokens = st.lists(st.text("abcé&", min_size=1, max_size=12), min_size=1, max_size=20)
    segments = []
    time = draw(gaps)
    for _ in range(draw(st.integers(0, 12))):
        end = time + draw(lengths)
        segments.append(Segment(" ".join(draw(tokens)), time, end))
        time = end + draw(gaps)
    text = " ".join(segment.text for segment in segments)
    return Transcript("a.wav", time + 0.02, text, segments=tuple(segments))


# --- golden output


def test_txt_is_the_text_on_one_line():
    assert render(TWO_CUES, "txt", options=OPTIONS) == "hello world good bye\n"


def test_txt_of_text_with_line_breaks_is_still_one_line():
    transcript = Transcript("a.wav", 1.0, "one\ntwo\r\nthree")

    assert render(transcript, "txt", options=OPTIONS) == "one two three\n"


def test_srt_has_numbered_cues_with_a_blank_line_between():
    assert render(TWO_CUES, "srt", options=OPTIONS) == (
        "1\n"
        "00:00:00,250 --> 00:00:01,500\n"
        "hello world\n"
        "\n"
        "2\n"
        "00:00:03,000 --> 00:00:04,125\n"
        "good bye\n"
    )


def test_vtt_has_a_header_and_cues_without_numbers():
    assert render(TWO_CUES, "vtt", options=OPTIONS) == (
        "WEBVTT\n"
        "\n"
        "00:00:00.250 --> 00:00:01.500\n"
        "hello world\n"
        "\n"
        "00:00:03.000 --> 00:00:04.125\n"
        "good bye\n"
    )


def test_tsv_has_one_row_of_seconds_for_each_segment():
    assert render(TWO_CUES, "tsv", options=OPTIONS) == (
        "start\tend\ttext\n0.250\t1.500\thello world\n3.000\t4.125\tgood bye\n"
    )


def test_json_is_indented_and_keeps_letters_as_they_are():
    text = render(Transcript("à.wav", 1.0, "déjà vu"), "json", options=OPTIONS)

    assert text == (
        "{\n"
        '  "schema": 1,\n'
        '  "audio": "à.wav",\n'
        '  "id": "à.wav",\n'
        '  "offset": 0.0,\n'
        '  "duration": 1.0,\n'
        '  "text": "déjà vu",\n'
        '  "segments": [],\n'
        '  "model": null,\n'
        '  "options": {}\n'
        "}\n"
    )


def test_jsonl_is_the_same_on_one_line():
    text = render(TWO_CUES, "jsonl", options=OPTIONS)

    assert text.index("\n") == len(text) - 1
    assert json.loads(text) == json.loads(render(TWO_CUES, "json", options=OPTIONS))


def test_json_reads_back_as_the_same_transcript():
    words = (Word("hi", 0.1, 0.2, 0.9),)
    transcript = Transcript("a.wav", 1.0, "hi", (Segment("hi", 0.1, 0.2, 0.9, words),), id="a")

    text = render(transcript, "json", options=OPTIONS)

    assert Transcript.from_dict(json.loads(text)) == transcript


@pytest.mark.parametrize(
    ("name", "expected"),
    [("txt", "\n"), ("srt", ""), ("vtt", "WEBVTT\n"), ("tsv", "start\tend\ttext\n")],
)
def test_silence_is_the_format_without_cues(name, expected):
    assert render(SILENCE, name, options=OPTIONS) == expected


# --- text inside cues


@pytest.mark.parametrize("name", ["srt", "vtt"])
def test_subtitles_are_wrapped_to_the_options(name):
    options = SegmentOptions(max_line_width=12)

    text = render(one_cue("hello wide world"), name, options=options)

    assert text.endswith("\nhello\nwide world\n")


@pytest.mark.parametrize("name", ["srt", "vtt"])
def test_a_blank_line_in_the_text_does_not_end_the_cue(name):
    assert render(one_cue("one\n\ntwo"), name, options=OPTIONS).endswith("\none two\n")


def test_an_arrow_in_srt_text_does_not_read_as_times():
    assert render(one_cue("a ---> b"), "srt", options=OPTIONS).endswith("\na -→ b\n")


def test_vtt_escapes_markup_after_wrapping():
    options = SegmentOptions(max_line_width=7)

    text = render(one_cue("a&b <i> --> c"), "vtt", options=options)

    # the first line shows the 7 characters a&b <i>
    assert text.endswith("\na&amp;b &lt;i&gt;\n--&gt; c\n")


def test_vtt_leaves_quotes_as_they_are():
    assert render(one_cue('it\'s "so"'), "vtt", options=OPTIONS).endswith('\nit\'s "so"\n')


def test_tabs_and_line_breaks_in_tsv_text_become_spaces():
    rows = render(one_cue("one\ttwo\nthree"), "tsv", options=OPTIONS).splitlines()

    assert rows[1:] == ["0.000\t1.000\tone two three"]


@pytest.mark.parametrize("name", ["srt", "vtt", "tsv"])
def test_segments_of_blank_text_are_left_out(name):
    blank = Transcript("a.wav", 1.0, "", segments=(Segment(" ", 0.0, 1.0),))

    assert render(blank, name, options=OPTIONS) == render(SILENCE, name, options=OPTIONS)


# --- times


def test_hours_grow_beyond_two_digits():
    transcript = one_cue("late", start=359_999.0, end=360_000.5)

    assert "99:59:59,000 --> 100:00:00,500\n" in render(transcript, "srt", options=OPTIONS)


def test_a_cue_shorter_than_half_a_millisecond_is_not_empty():
    transcript = Transcript("a.wav", 1.0, "x", segments=(Segment("x", 0.5, 0.5001),))

    assert "00:00:00,500 --> 00:00:00,501\n" in render(transcript, "srt", options=OPTIONS)


def test_segments_that_overlap_by_less_than_a_millisecond_are_parted():
    segments = (Segment("one", 0.0, 1.0003), Segment("two", 1.0001, 3.0))
    transcript = Transcript("a.wav", 3.0, "one two", segments=segments)

    rows = render(transcript, "tsv", options=OPTIONS).splitlines()

    assert rows[1:] == ["0.000\t1.000\tone", "1.000\t3.000\ttwo"]


def test_people_may_speak_at_the_same_time():
    segments = (Segment("one", 0.0, 2.0), Segment("two", 1.0, 3.0), Segment("three", 2.0, 2.5))
    transcript = Transcript("a.wav", 3.0, "one two three", segments=segments)

    rows = render(transcript, "tsv", options=OPTIONS).splitlines()

    assert rows[1:] == ["0.000\t2.000\tone", "1.000\t3.000\ttwo", "2.000\t2.500\tthree"]
    assert [[s.text for s in voice.segments] for voice in voices(transcript)] == [
        ["one", "three"],
        ["two"],
    ]


def test_segments_keep_their_times_where_the_duration_is_not_known():
    transcript = Transcript("a.srt", 0.0, "one", segments=(Segment("one", 1.0, 2.0),))

    assert "1.000\t2.000\tone" in render(transcript, "tsv", options=OPTIONS)


def test_segments_of_a_part_of_a_file_keep_the_times_of_the_file():
    transcript = Transcript("a.wav", 2.0, "one", (Segment("one", 61.0, 62.0),), offset=60.0)

    assert "61.000\t62.000\tone" in render(transcript, "tsv", options=OPTIONS)


def test_a_cue_does_not_pass_the_end_of_a_part_of_a_file():
    transcript = Transcript("a.wav", 1.9996, "one", (Segment("one", 61.0, 61.9996),), offset=60.0)

    assert "61.000\t61.999\tone" in render(transcript, "tsv", options=OPTIONS)


@pytest.mark.parametrize("name", ["srt", "vtt"])
@given(transcript=transcripts())
def test_another_reader_finds_every_cue_apart_in_order_and_longer_than_zero(name, transcript):
    pysubs2 = pytest.importorskip("pysubs2")

    text = render(transcript, name, options=OPTIONS)

    cues = list(pysubs2.SSAFile.from_string(text, format_=name)) if transcript.segments else []
    assert len(cues) == len(transcript.segments)
    for cue, segment in zip(cues, transcript.segments, strict=True):
        assert 0 <= cue.start < cue.end <= transcript.duration * 1000
        assert cue.text.replace("\\N", " ").replace("&amp;", "&") == segment.text
    for before, after in pairwise(cues):
        assert before.end <= after.start


@given(transcript=transcripts())
def test_a_start_moves_only_as_far_as_cues_before_it_need_a_millisecond(transcript):
    rows = render(transcript, "tsv", options=OPTIONS).splitlines()[1:]

    for row, segment in zip(rows, transcript.segments, strict=True):
        assert abs(float(row.split("\t")[0]) - segment.start) <= 0.0006 + 0.001 * len(rows)


@given(transcript=transcripts())
def test_all_formats_agree_on_the_times_that_segmentation_made(transcript):
    words = [Word(s.text.split()[0], s.start, s.end, 1.0) for s in transcript.segments]
    segments = split_segments(words, OPTIONS, duration=transcript.duration)
    transcript = Transcript("a.wav", transcript.duration, "words", segments=segments)

    if segments:
        rows = render(transcript, "tsv", options=OPTIONS).splitlines()[1:]
        data = json.loads(render(transcript, "json", options=OPTIONS))
        from_tsv = [tuple(map(float, row.split("\t")[:2])) for row in rows]
        assert from_tsv == [(s["start"], s["end"]) for s in data["segments"]]


# --- the registry


def test_formats_are_listed_by_name():
    assert list(FORMATS) == (
        "txt json jsonl tsv csv words textgrid-short textgrid ctm rttm aud srt vtt ass lrc".split()
    )
    assert FORMATS["srt"].suffix == ".srt"
    assert [name for name, known in FORMATS.items() if not known.needs_times] == [
        "txt",
        "json",
        "jsonl",
    ]
    joinable = [name for name, known in FORMATS.items() if known.is_joinable]
    assert joinable == ["txt", "jsonl", "ctm", "rttm"]


def test_a_format_name_is_registered_once():
    with pytest.raises(ValueError, match="'srt' is registered already"):
        FORMATS.writer("srt")


def test_adding_a_format_is_one_registered_function():
    formats = Registry()

    @formats.writer("shout", suffix=".TXT", is_joinable=True)
    def write_shout(transcript: Transcript, options: SegmentOptions) -> str:
        return transcript.text.upper()

    assert formats["shout"] == Format("shout", ".TXT", write_shout, is_joinable=True)
    assert formats.parse(" Shout,shout") == ("shout",)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("txt", ("txt",)),
        ("srt,txt", ("srt", "txt")),
        (" SRT , txt ", ("srt", "txt")),
        ("txt,srt,txt", ("txt", "srt")),
    ],
)
def test_a_list_of_formats_is_read_in_order_each_once(names, expected):
    assert FORMATS.parse(names) == expected


def test_an_unknown_format_is_refused_with_the_known_ones_and_a_guess():
    with pytest.raises(UsageError, match="'str', known are txt, json, jsonl, tsv, ") as caught:
        FORMATS.parse("txt,str")

    assert caught.value.hint == "did you mean srt?"


def test_a_format_that_looks_like_none_gets_no_guess():
    with pytest.raises(UsageError) as caught:
        render(SILENCE, "docx", options=OPTIONS)

    assert caught.value.hint is None


@pytest.mark.parametrize("names", ["", " ", ",", "txt,", "txt,,srt"])
def test_an_empty_format_name_is_refused(names):
    with pytest.raises(UsageError, match="unknown format ''"):
        FORMATS.parse(names)


@pytest.mark.parametrize("name", ["srt", "vtt", "tsv"])
def test_a_format_of_times_refuses_text_without_times(name):
    transcript = Transcript("a.wav", 1.0, "hello")

    with pytest.raises(InputError, match=rf"a.wav: {name} needs times"):
        render(transcript, name, options=OPTIONS)


# --- failures


def test_an_error_row_names_the_input_and_the_error():
    row = error_row("bad.wav", AudioError("bad.wav: 0 samples", hint="record it again"), id="7")

    assert row == (
        '{"schema": 1, "audio": "bad.wav", "id": "7", '
        '"error": {"type": "AudioError", "message": "bad.wav: 0 samples"}}\n'
    )


def test_an_error_message_of_many_lines_stays_one_row():
    row = error_row("bad.wav", ValueError("one\ntwo"))

    assert row.count("\n") == 1
    assert json.loads(row)["error"]["message"] == "one\ntwo"
