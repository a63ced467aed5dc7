"""Formats of speech tools: TextGrid, CTM, RTTM, Audacity labels, karaoke, lyrics, tables."""

from __future__ import annotations

import csv
import re
from itertools import pairwise

import pytest
from hypothesis import given

from asrkit.formats import render
from asrkit.formats.speech import words_of_file
from asrkit.options import SegmentOptions
from asrkit.types import (
    Character,
    Segment,
    Transcript,
    Word,
)
from tests.test_formats import one_cue, transcripts

OPTIONS = SegmentOptions()
SILENCE = Transcript("quiet.wav", 2.0, "")
LETTERS = (Character("h", 0.5, 0.6, 0.9), Character("i", 0.7, 0.8, 0.5))
TALK = Transcript(
    "/data/my talk.wav",
    5.0,
    'hi "you" bye',
    segments=(
        Segment(
            'hi "you"',
            0.5,
            1.5,
            0.75,
            (Word("hi", 0.5, 0.8, 0.7), Word('"you"', 1.0, 1.5, 0.8, aligned=False)),
        ),
        Segment("bye", 3.0, 4.125, 1.0, (Word("bye", 3.0, 4.125, 1.0, ok=False),)),
    ),
)
CHARACTERS = Transcript(
    "a.wav", 1.0, "hi", (Segment("hi", 0.5, 0.8, 0.7, (Word("hi", 0.5, 0.8, 0.7, LETTERS),)),)
)


def test_textgrid_is_praat_s_long_form_without_holes():
    assert render(TALK, "textgrid", options=OPTIONS) == (
        'File type = "ooTextFile"\nObject class = "TextGrid"\n\n'
        "xmin = 0 \nxmax = 5 \ntiers? <exists> \nsize = 2 \nitem []: \n"
        '    item [1]:\n        class = "IntervalTier" \n        name = "segments" \n'
        "        xmin = 0 \n        xmax = 5 \n        intervals: size = 5 \n"
        "        intervals [1]:\n            xmin = 0 \n            xmax = 0.5 \n"
        '            text = "" \n'
        "        intervals [2]:\n            xmin = 0.5 \n            xmax = 1.5 \n"
        '            text = "hi ""you""" \n'
        "        intervals [3]:\n            xmin = 1.5 \n            xmax = 3 \n"
        '            text = "" \n'
        "        intervals [4]:\n            xmin = 3 \n            xmax = 4.125 \n"
        '            text = "bye" \n'
        "        intervals [5]:\n            xmin = 4.125 \n            xmax = 5 \n"
        '            text = "" \n'
        '    item [2]:\n        class = "IntervalTier" \n        name = "words" \n'
        "        xmin = 0 \n        xmax = 5 \n        intervals: size = 7 \n"
        "        intervals [1]:\n            xmin = 0 \n            xmax = 0.5 \n"
        '            text = "" \n'
        "        intervals [2]:\n            xmin = 0.5 \n            xmax = 0.8 \n"
        '            text = "hi" \n'
        "        intervals [3]:\n            xmin = 0.8 \n            xmax = 1 \n"
        '            text = "" \n'
        "        intervals [4]:\n            xmin = 1 \n            xmax = 1.5 \n"
        '            text = """you""" \n'
        "        intervals [5]:\n            xmin = 1.5 \n            xmax = 3 \n"
        '            text = "" \n'
        "        intervals [6]:\n            xmin = 3 \n            xmax = 4.125 \n"
        '            text = "bye" \n'
        "        intervals [7]:\n            xmin = 4.125 \n            xmax = 5 \n"
        '            text = "" \n'
    )


def test_short_textgrid_has_the_same_numbers_one_a_line():
    assert render(CHARACTERS, "textgrid-short", options=OPTIONS).splitlines() == [
        'File type = "ooTextFile"', 'Object class = "TextGrid"', "", "0", "1", "<exists>", "3",
        '"IntervalTier"', '"segments"', "0", "1", "3",
        "0", "0.5", '""', "0.5", "0.8", '"hi"', "0.8", "1", '""',
        '"IntervalTier"', '"words"', "0", "1", "3",
        "0", "0.5", '""', "0.5", "0.8", '"hi"', "0.8", "1", '""',
        '"IntervalTier"', '"characters"', "0", "1", "5",
        "0", "0.5", '""', "0.5", "0.6", '"h"', "0.6", "0.7", '""', "0.7", "0.8", '"i"',
        "0.8", "1", '""',
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["textgrid", "textgrid-short"])
@given(transcript=transcripts())
def test_textgrid_tiers_have_no_holes_and_read_back(name, transcript, tmp_path_factory):
    text = render(transcript, name, options=OPTIONS)

    if name == "textgrid-short":
        lines = text.splitlines()[12:]
        times = [(float(a), float(b)) for a, b in zip(lines[0::3], lines[1::3], strict=False)]
        assert all(start < end for start, end in times)
        assert all(before[1] == after[0] for before, after in pairwise(times))
        assert times[0][0] == 0
        assert times[-1][1] == pytest.approx(transcript.duration, abs=0.02)
    path = tmp_path_factory.mktemp("grid") / "a.TextGrid"
    path.write_text(text, encoding="utf-8")
    if transcript.segments:
        assert [word.text for word in words_of_file(path)] == [s.text for s in transcript.segments]


def test_part_of_a_file_begins_where_it_begins():
    part = Transcript("a.wav", 2.0, "hi", (Segment("hi", 61.0, 61.5),), offset=60.0)

    assert "xmin = 60 \nxmax = 62 \n" in render(part, "textgrid", options=OPTIONS)


def test_ctm_has_a_line_for_every_word():
    assert render(TALK, "ctm", options=OPTIONS) == (
        "my_talk 1 0.500 0.300 hi 0.7000\n"
        'my_talk 1 1.000 0.500 "you" 0.8000\n'
        "my_talk 1 3.000 1.125 bye 1.0000\n"
    )


def test_rttm_has_a_line_for_every_segment():
    assert render(TALK, "rttm", options=OPTIONS) == (
        "SPEAKER my_talk 1 0.500 1.000 <NA> <NA> speech <NA> <NA>\n"
        "SPEAKER my_talk 1 3.000 1.125 <NA> <NA> speech <NA> <NA>\n"
    )


def test_id_of_a_manifest_names_the_file():
    transcript = Transcript("a.wav", 1.0, "x", (Segment("x", 0, 1),), id="clip 1.5")

    assert render(transcript, "ctm", options=OPTIONS).startswith("clip_1.5 1 0.000")


def test_audacity_labels_are_words():
    assert render(TALK, "aud", options=OPTIONS) == (
        '0.500000\t0.800000\thi\n1.000000\t1.500000\t"you"\n3.000000\t4.125000\tbye\n'
    )


def test_csv_quotes_what_needs_it():
    rows = list(csv.reader(render(TALK, "csv", options=OPTIONS).splitlines()))

    assert rows == [
        ["start", "end", "text"],
        ["0.500", "1.500", 'hi "you"'],
        ["3.000", "4.125", "bye"],
    ]


def test_words_have_rows_with_notes():
    assert render(TALK, "words", options=OPTIONS) == (
        "start\tend\tscore\tword\tnote\n"
        "0.500\t0.800\t0.7000\thi\t\n"
        '1.000\t1.500\t0.8000\t"you"\tunaligned\n'
        "3.000\t4.125\t1.0000\tbye\tlow\n"
    )


def test_words_are_characters_or_segments_where_these_are_the_finest():
    segments = Transcript("a.wav", 1.0, "hi", (Segment("hi", 0.5, 0.8),))

    assert render(CHARACTERS, "words", options=OPTIONS).splitlines()[:2] == [
        "start\tend\tscore\tchar\tnote",
        "0.500\t0.600\t0.9000\th\t",
    ]
    assert render(segments, "words", options=OPTIONS).splitlines() == [
        "start\tend\tscore\tsegment\tnote",
        "0.500\t0.800\t\thi\t",
    ]


def test_lyrics_have_the_start_of_each_segment_and_end_where_silence_begins():
    late = one_cue("late", start=3_600.5, end=3_601.0)

    assert render(TALK, "lrc", options=OPTIONS) == (
        '[00:00.50]hi "you"\n[00:01.50]\n[00:03.00]bye\n[00:04.12]\n'
    )
    assert render(late, "lrc", options=OPTIONS) == "[60:00.50]late\n[60:01.00]\n"


def test_karaoke_lights_words_when_they_are_said():
    events = render(TALK, "ass", options=OPTIONS).partition("[Events]\n")[2].splitlines()

    assert events[1:] == [
        'Dialogue: 0,0:00:00.50,0:00:01.50,Default,,0,0,0,,{\\k50}hi {\\k50}"you"',
        "Dialogue: 0,0:00:03.00,0:00:04.13,Default,,0,0,0,,{\\k113}bye",
    ]


def test_karaoke_of_segments_without_words_is_plain_and_wrapped():
    text = render(one_cue("one {two} \\N"), "ass", options=SegmentOptions(max_line_width=9))

    assert text.endswith(",,one ｛two｝\\N\\\u2060N\n") or text.endswith(
        ",,one\\N｛two｝ \\\u2060N\n"
    )


@given(transcript=transcripts())
def test_another_reader_finds_the_same_karaoke_cues(transcript):
    pysubs2 = pytest.importorskip("pysubs2")

    cues = pysubs2.SSAFile.from_string(render(transcript, "ass", options=OPTIONS), format_="ass")

    assert [c.text.replace("\\N", " ") for c in cues] == [s.text for s in transcript.segments]
    assert all(cue.start < cue.end for cue in cues)


def test_lines_of_the_source_are_kept_in_subtitles():
    segment = Segment("a b c", 0.0, 1.0, lines=("a", "b  c", ""))
    transcript = Transcript("a.wav", 1.0, "a b c", (segment,))

    assert render(transcript, "srt", options=OPTIONS).endswith("\na\nb c\n")
    assert render(transcript, "ass", options=OPTIONS).endswith(",,a\\Nb c\n")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("csv", "start,end,text\n"),
        ("words", "start\tend\tscore\tsegment\tnote\n"),
        ("ctm", ""),
        ("rttm", ""),
        ("aud", ""),
        ("lrc", ""),
    ],
)
def test_silence_is_the_format_without_rows(name, expected):
    assert render(SILENCE, name, options=OPTIONS) == expected


@pytest.mark.parametrize("name", ["textgrid", "textgrid-short"])
def test_silence_is_one_empty_interval(name):
    assert re.findall(r'(?:text = )?("") *$', render(SILENCE, name, options=OPTIONS), re.M) == [
        '""'
    ]


@pytest.mark.parametrize("name", ["ctm", "rttm", "aud", "words", "csv"])
@given(transcript=transcripts())
def test_line_formats_have_a_line_for_each_segment_of_no_words(name, transcript):
    rows = render(transcript, name, options=OPTIONS).splitlines()

    assert len(rows) == len(transcript.segments) + (name in ("words", "csv"))
