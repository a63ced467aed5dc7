"""Texts and times back from files, whoever wrote them."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrkit.errors import InputError
from asrkit.formats import FORMATS, read_segments, render
from asrkit.formats.reading import segments_of
from asrkit.formats.speech import words_of_file
from asrkit.options import SegmentOptions
from asrkit.types import Segment, Transcript
from tests.test_formats import transcripts


def cues(text, suffix):
    return [(s.start, s.end, s.lines) for s in segments_of(text, suffix)]


def test_lines_of_plain_text_are_segments():
    assert [s.text for s in segments_of("\ufeff".strip("\ufeff") + "one  two\r\n\n three\n")] == [
        "one two",
        "three",
    ]


def test_srt_cues_lose_markup_and_keep_lines():
    text = (
        "1\r\n00:00:01,000 --> 00:00:02,500 X1:1\r\n<i>Hi</i> <font color='red'>there</font>\r\n"
        "{\\an8}you\r\n\r\n2\r\n0:0:3.5 --> 00:00:04,000\r\n1 < 2 {sic}\r\n"
    )

    assert cues(text, ".srt") == [
        (1.0, 2.5, ("Hi there", "you")),
        (3.5, 4.0, ("1 < 2 {sic}",)),
    ]


def test_srt_text_may_hold_numbers_and_blank_lines():
    text = (
        "1\n00:00:01,000 --> 00:00:02,000\n1984\n\nis a book\n\n"
        "2\n00:00:03,000 --> 00:00:04,000\n42\n"
    )

    assert cues(text, ".srt") == [(1.0, 2.0, ("1984", "is a book")), (3.0, 4.0, ("42",))]


def test_cues_out_of_order_are_put_in_order():
    text = "1\n00:00:03,000 --> 00:00:04,000\nb\n\n2\n00:00:01,000 --> 00:00:02,000\na\n"

    assert [s.text for s in segments_of(text, ".srt")] == ["a", "b"]


def test_vtt_notes_styles_and_names_are_passed_over():
    text = (
        "WEBVTT - a title\n\nSTYLE\n::cue { color: red }\n\nNOTE not said\n\n"
        "intro\n00:01.000 --> 00:02.000 align:start\n<v Ann>a &amp; b</v>\n<00:01.5><c>c</c>\n\n"
        "01:00:03.000 --> 01:00:04.000\nd\n"
    )

    assert cues(text, ".vtt") == [(1.0, 2.0, ("a & b", "c")), (3603.0, 3604.0, ("d",))]


def test_ass_dialogue_without_comments_drawings_and_commands():
    text = (
        "[Script Info]\nTitle: x\n[Events]\n"
        "Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
        "Dialogue: 0,0:00:03.00,0:00:04.50,Default,,0,0,0,,{\\k20}later, {\\i1}yes\n"
        "Comment: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,not said\n"
        "Dialogue: 0,0:00:00.00,0:00:09.00,Default,,0,0,0,,{\\p1}m 0 0 l 1 1{\\p0}\n"
        "Dialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,one\\Ntwo\\hthree\n"
    )

    assert cues(text, ".ass") == [
        (1.0, 2.0, ("one", "two three")),
        (3.0, 4.5, ("later, yes",)),
    ]


def test_json_of_asrkit_gives_its_segments():
    transcript = Transcript("a.wav", 2.0, "hi you", (Segment("hi", 0, 1), Segment("you", 1, 2)))
    text = render(transcript, "json", options=SegmentOptions())
    untimed = render(Transcript("a.wav", 2.0, "hi you"), "json", options=SegmentOptions())

    assert [s.text for s in segments_of(text, ".json")] == ["hi", "you"]
    assert [s.text for s in segments_of(untimed, ".json")] == ["hi you"]


@pytest.mark.parametrize("name", ["srt", "vtt", "ass", "json"])
@given(transcript=transcripts())
def test_what_is_written_reads_back(name, transcript):
    text = render(transcript, name, options=SegmentOptions())

    segments = segments_of(text, f".{name}")

    written = transcript.segments
    assert [s.text for s in segments] == [s.text for s in written]
    for ours, theirs in zip(segments, written, strict=True):
        # Cues closer than a hundredth, or a millisecond, are parted by the writer.
        assert ours.start == pytest.approx(theirs.start, abs=0.011 + 0.001 * len(written))


@pytest.mark.parametrize("suffix", [".srt", ".vtt", ".ass"])
@given(transcript=transcripts())
def test_another_reader_reads_the_same(suffix, transcript):
    pysubs2 = pytest.importorskip("pysubs2")
    text = render(transcript, suffix[1:], options=SegmentOptions())

    ours = segments_of(text, suffix)

    theirs = pysubs2.SSAFile.from_string(text, format_=suffix[1:]) if transcript.segments else []
    assert [(round(1000 * s.start), round(1000 * s.end)) for s in ours] == [
        (cue.start, cue.end) for cue in theirs
    ]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("héllo".encode(), "héllo"),
        (b"\xef\xbb\xbfhi", "hi"),
        ("héllo".encode("utf-16"), "héllo"),
        ("héllo".encode("utf-16-be"), None),
        ("héllo".encode("latin-1"), None),
        (b"a\0b", None),
    ],
)
def test_text_is_utf_8_or_marked_utf_16(data, text, tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(data)

    if text is None:
        with pytest.raises(InputError, match=r"a\.txt: (not UTF-8|holds NUL)"):
            read_segments(path)
    else:
        assert read_segments(path)[0].text == text


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", " \n", "holds no text"),
        ("a.srt", "hello\n", "no subtitles found"),
        ("a.vtt", "WEBVTT\n\nhello\n", "no subtitles found"),
        ("a.ass", "hello\n", "no subtitles found"),
        ("a.json", "{", "not JSON"),
        ("a.json", "[" * 100_000, "not JSON"),
        ("a.json", "{}", "not a transcript"),
        ("a.json", '{"schema": 2}', "not an asrkit transcript"),
        ("a.srt", "", "holds no text"),
    ],
)
def test_what_is_no_text_of_its_kind_is_an_error(name, text, message, tmp_path):
    (tmp_path / name).write_text(text)

    with pytest.raises(InputError, match=message):
        read_segments(tmp_path / name)


def test_missing_file_is_an_error(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_segments(tmp_path / "none.txt")
    with pytest.raises(InputError, match="cannot be read"):
        read_segments(tmp_path)


@pytest.mark.parametrize("suffix", list(FORMATS.suffixes))
@given(text=st.text())
def test_any_text_is_read_or_refused(suffix, text):
    try:
        segments = segments_of(text, suffix)
    except InputError:
        return
    assert all(segment.text.strip() for segment in segments)


@pytest.mark.parametrize("suffix", [".srt", ".vtt", ".ass", ".txt", ".lrc", ".textgrid"])
@pytest.mark.parametrize(
    "unit",
    [
        *("<", "{", "{\\", "-->", "0:", "1:00:00,000 --> ", "9" * 50, "\n1\n"),
        *("{\\k1}a", "<00:00:01.000>a", "[0:1]", "[0:1]a\n", '"'),
    ],
)
def test_hostile_text_takes_no_longer_than_its_length(suffix, unit):
    head = "[Events]\nDialogue: 0,0:00:01.00,0:00:02.00,,,,,,," if suffix == ".ass" else ""
    text = head + "1\n00:00:01,000 --> 00:00:02,000\n" + unit * (400_000 // len(unit))
    started = time.process_time()

    with suppress(InputError):
        segments_of(text, suffix)
    assert time.process_time() - started < 5


PRAAT = '''File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 2.5
tiers? <exists>
size = 3
item []:
    item [1]:
        class = "TextTier"
        name = "points"
        xmin = 0
        xmax = 2.5
        points: size = 1
        points [1]:
            number = 1.0
            mark = "7"
    item [2]:
        class = "IntervalTier"
        name = "phones"
        xmin = 0
        xmax = 2.5
        intervals: size = 1
        intervals [1]:
            xmin = 0
            xmax = 2.5
            text = "AH 1"
    item [3]:
        class = "IntervalTier"
        name = "Words"
        xmin = 0
        xmax = 2.5
        intervals: size = 3
        intervals [1]:
            xmin = 0
            xmax = 1.25
            text = "say ""12"""
        intervals [2]:
            xmin = 1.25
            xmax = 2
            text = ""
        intervals [3]:
            xmin = 2
            xmax = 2.5
            text = "two
lines"
'''


def test_words_of_a_textgrid(tmp_path):
    path = tmp_path / "a.TextGrid"
    path.write_text(PRAAT)

    assert [(w.text, w.start, w.end) for w in words_of_file(path)] == [
        ('say "12"', 0.0, 1.25),
        ("two\nlines", 2.0, 2.5),
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.TextGrid", "hello"),
        ("a.TextGrid", PRAAT[:300]),
        ("a.TextGrid", PRAAT.replace("size = 3", "size = 9")),
        ("a.ctm", "a 1 0.5"),
        ("a.ctm", "a 1 x 0.5 word"),
        ("a.ctm", "a 1 nan 0.5 word"),
        ("a.ctm", ""),
        ("a.txt", "hello"),
    ],
)
def test_broken_reference_is_an_error(name, text, tmp_path):
    (tmp_path / name).write_text(text)

    with pytest.raises(InputError, match=name):
        words_of_file(tmp_path / name)
