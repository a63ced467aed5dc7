"""`asrkit convert transcript`: moved, reshaped, and as a script sees it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from asrkit.cli.app import app
from asrkit.errors import UsageError
from asrkit.formats import render
from asrkit.options import SegmentOptions, TranscriptOptions
from asrkit.tasks.convert_transcript import convert
from asrkit.types import Segment, Transcript, Word
from tests.test_transcript_formats import WHISPERX, spoken

SRT = (
    "1\n00:00:01,000 --> 00:00:02,500\nHello there,\nyou\n\n"
    "2\n00:00:02,000 --> 00:00:04,000\nI overlap\n"
)
CTM = "r1 A 0.500 0.500 hi 0.9000\nr1 B 0.700 0.500 you 1.0000\nr2 1 0.000 1.000 bye 1.0000\n"


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("talk.srt").write_text(SRT)
    Path("wx.json").write_text(json.dumps(WHISPERX))
    Path("all.ctm").write_text(CTM)
    return tmp_path


def run(*arguments: str, stdin: str | bytes | None = None):
    return CliRunner().invoke(app, ["convert", "transcript", *arguments], input=stdin)


def words(*spans: tuple[str, float, float]) -> tuple[Word, ...]:
    return tuple(Word(*span, 1.0) for span in spans)


# ------------------------------------------------------------------------------------- in time


def test_times_are_scaled_and_then_shifted():
    said = Segment("hi", 24.0, 48.0, words=words(("hi", 24.0, 36.0)))
    transcript = Transcript("a.srt", 60.0, "hi", (said,))

    moved = convert(transcript, TranscriptOptions(shift=-1.0, scale=25 / 24))

    (segment,) = moved.segments
    assert (segment.start, segment.end) == (24.0, 49.0)
    assert (segment.words[0].start, segment.words[0].end) == (24.0, 36.5)
    assert moved.duration == 61.5


def test_what_lies_before_0_is_cut_or_dropped_with_a_warning():
    segments = (Segment("gone", 0.0, 1.0), Segment("cut", 1.5, 3.0), Segment("whole", 3.0, 4.0))
    transcript = Transcript("a.srt", 4.0, "gone cut whole", segments)

    moved = convert(transcript, TranscriptOptions(shift=-2.0))

    assert [(s.text, s.start, s.end) for s in moved.segments] == [
        ("cut", 0.0, 1.0),
        ("whole", 1.0, 2.0),
    ]
    assert moved.text == "cut whole"
    assert moved.warnings == ("1 of 3 segments end before 0 and are gone",)


@settings(max_examples=20)
@given(spoken(), st.floats(-2, 2), st.sampled_from([0.5, 25 / 24, 3.0]))
def test_moved_segments_are_in_order_and_inside(transcript, shift, scale):
    moved = convert(transcript, TranscriptOptions(shift, scale))

    starts = [segment.start for segment in moved.segments]
    assert starts == sorted(starts)
    for segment in moved.segments:
        assert 0 <= segment.start < segment.end <= moved.offset + moved.duration + 1e-9
        assert all(0 <= word.start <= word.end for word in segment.words)
    kept = transcript.segments[len(transcript.segments) - len(moved.segments) :]
    if shift >= 0:
        assert [segment.text for segment in kept] == [segment.text for segment in moved.segments]


@settings(max_examples=20)
@given(spoken())
def test_nothing_asked_for_changes_nothing(transcript):
    assert convert(transcript, TranscriptOptions()) == transcript


@pytest.mark.parametrize("wrong", [{"shift": float("nan")}, {"shift": 1e8}, {"scale": 0.0}])
def test_impossible_moves_are_refused(wrong):
    with pytest.raises(UsageError):
        TranscriptOptions(**wrong)


# ------------------------------------------------------------------------------------ in lines


def test_words_make_new_segments_and_lines_of_none_are_wrapped_anew():
    timed = Segment(
        "one two three", 0.0, 3.0, words=words(("one", 0, 1), ("two", 1, 2), ("three", 2, 3))
    )
    plain = Segment("four five six", 4.0, 5.0, lines=("four five", "six"))
    transcript = Transcript("a.json", 5.0, "one two three four five six", (timed, plain))
    options = SegmentOptions(max_line_width=7, max_line_count=1)

    shaped = convert(transcript, TranscriptOptions(segments=options))

    assert [(s.text, s.start, s.end) for s in shaped.segments] == [
        ("one two", 0.0, 2.0),
        ("three", 2.0, 3.0),
        ("four five six", 4.0, 5.0),
    ]
    assert render(shaped, "srt", options=options).endswith("four\nfive\nsix\n")


def test_words_of_two_speakers_are_not_mixed():
    one = Segment("a b", 0.0, 1.0, words=words(("a", 0.0, 0.4), ("b", 0.5, 1.0)), speaker="Ann")
    two = replace(one, text="c", words=words(("c", 0.2, 0.9)), start=0.2, end=0.9, speaker="Bob")
    transcript = Transcript("a.json", 1.0, "a b c", (one, two))

    shaped = convert(transcript, TranscriptOptions(segments=SegmentOptions()))

    assert [(s.text, s.speaker) for s in shaped.segments] == [("a b", "Ann"), ("c", "Bob")]


@settings(max_examples=20)
@given(spoken(), st.integers(1, 12))
def test_every_word_survives_shaping_in_its_place(transcript, width):
    options = TranscriptOptions(segments=SegmentOptions(max_line_width=width))

    shaped = convert(transcript, options)

    def all_words(transcript: Transcript) -> list[tuple[float, str]]:
        return sorted((w.start, w.text) for s in transcript.segments for w in s.words)

    assert all_words(shaped) == all_words(transcript)


# ---------------------------------------------------------------------------- the command line


def test_subtitles_keep_their_lines_and_overlaps(folder):
    result = run("talk.srt", "-f", "vtt", "--scale", "2", "--shift", "-0.5")

    assert result.exit_code == 0
    assert result.stdout == (
        "WEBVTT\n\n00:00:01.500 --> 00:00:04.500\nHello there,\nyou\n\n"
        "00:00:03.500 --> 00:00:07.500\nI overlap\n"
    )
    assert result.stderr == ""


def test_a_fraction_is_a_scale(folder):
    assert (
        "00:00:01.043 --> 00:00:02.607"
        in run("talk.srt", "-f", "vtt", "--scale", "25/23.976").stdout
    )
    for wrong in ("25/", "0", "1/0", "x", "nan"):
        assert run("talk.srt", "--scale", wrong).exit_code == 2


def test_guessed_times_are_a_warning(folder):
    result = run("wx.json", "-o", "wx.srt")

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "warning: wx.json: 3 words had no times and got guessed ones\n"
    assert Path("wx.srt").read_text() == "1\n00:00:01,000 --> 00:00:04,000\nAt 10 or 1130 maybe 7\n"


def test_shaping_flags_cut_speech_anew(folder):
    result = run("wx.json", "-f", "srt", "--max-words-per-line", "2", "--max-line-count", "1")

    assert result.stdout.count(" --> ") == 3
    assert "00:00:01,000 --> 00:00:01,700\nAt 10\n" in result.stdout


def test_recordings_of_one_file_become_files_called_by_their_ids(folder):
    result = run("all.ctm", "-f", "srt,textgrid", "-o", "out/")

    assert result.exit_code == 0
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "r1.TextGrid", "r1.srt", "r2.TextGrid", "r2.srt",
    ]  # fmt: skip
    assert "00:00:00,700 --> 00:00:01,200\nyou\n" in Path("out/r1.srt").read_text()


def test_recordings_go_to_one_place_where_the_format_holds_many(folder):
    assert run("all.ctm", "-f", "ctm").stdout == CTM
    assert run("all.ctm").stdout == "r1\thi you\nr2\tbye\n"
    refused = run("all.ctm", "-f", "srt")
    assert refused.exit_code == 2
    assert "srt of several inputs cannot go to one place" in refused.stderr


def test_ids_lead_nowhere_but_into_the_folder(folder):
    rows = [{"schema": 1, "audio": "a", "id": name, "offset": 0, "duration": 1, "text": "x",
             "segments": [{"text": "x", "start": 0, "end": 1}], "model": None, "options": {}}
            for name in ("../../up", "/etc/x", "..", "a b")]  # fmt: skip
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    assert run("rows.jsonl", "-f", "srt", "-o", "out/").exit_code == 0
    assert sorted(str(path) for path in folder.rglob("*.srt")) == sorted(
        str(folder / name)
        for name in ("talk.srt", "out/__.._up.srt", "out/_etc_x.srt", "out/_.srt", "out/a_b.srt")
    )


def test_a_bad_file_does_not_stop_the_others(folder):
    Path("bad.srt").write_text("1\n00:00:0x,000 --> 00:00:02,000\nhi\n")
    Path("rows.jsonl").write_text('{"error": {"message": "lost"}}\n{]\n')
    Path("plain.txt").write_text("hello\n")

    result = run(
        "bad.srt",
        "talk.srt",
        "plain.txt",
        "rows.jsonl",
        "none.vtt",
        "x.docx",
        "-o",
        "out/",
        "-f",
        "vtt",
    )

    assert result.exit_code == 3
    assert [path.name for path in Path("out").iterdir()] == ["talk.vtt"]
    for message in (
        "error: bad.srt: line 2: '00:00:0x,000 --> 00:00:02,000' is not start --> end",
        "error: plain.txt: vtt needs times",
        "error: rows.jsonl: line 1: an input that failed",
        "error: rows.jsonl: line 2: not JSON",
        "error: none.vtt: no such file",
        "error: x.docx: no such file",
    ):
        assert message in result.stderr
    assert run("bad.srt").exit_code == 4
    assert run("plain.txt").stdout == "hello\n"


def test_names_of_formats_and_standard_input(folder):
    Path("labels.txt").write_text("0.5\t1.5\thi\n")

    assert run("labels.txt", "--from", "aud", "-o", "out/", "-f", "tsv").exit_code == 0
    assert Path("out/labels.tsv").read_text().endswith("0.500\t1.500\thi\n")
    assert run("-", "--from", "SRT", stdin=SRT).stdout == "Hello there, you I overlap\n"
    for arguments, message in (
        (("-",), "--from NAME does"),
        (("a.dat",), "no such file"),
        (("talk.srt", "--from", "strt"), "did you mean srt"),
        (("out",), "is a directory"),
    ):
        result = run(*arguments, stdin=SRT)
        assert result.exit_code in (2, 4)
        assert message in result.stderr


def test_folders_and_patterns(folder):
    Path("in/deep").mkdir(parents=True)
    Path("in/deep/b.vtt").write_text("WEBVTT\n\n00:01.000 --> 00:02.000\nb\n")
    Path("in/a.words.tsv").write_text("start\tend\tscore\tword\tnote\n0\t1\t0.5\ta\t\n")
    Path("in/readme.txt").write_text("not this\n")

    assert run("in", "-r", "-f", "srt", "-o", "out").exit_code == 0
    assert sorted(str(path) for path in Path("out").rglob("*.*")) == ["out/a.srt", "out/deep/b.srt"]
    assert run("*.srt", "-f", "jsonl").stdout.count("\n") == 1
    assert "matches no transcript file" in run("*.vtt", "-f", "txt").stderr


def test_no_input_is_overwritten(folder):
    refused = run("talk.srt", "-f", "srt", "-o", ".")

    assert refused.exit_code == 2
    assert "talk.srt is an input and would be overwritten" in refused.stderr
    assert Path("talk.srt").read_text() == SRT


def test_a_dry_run_writes_nothing(folder):
    result = run("talk.srt", "all.ctm", "-f", "vtt", "-o", "out/", "--dry-run")

    assert result.stdout.splitlines() == [
        "talk.srt -> out/talk.vtt",
        "all.ctm -> out/r1.vtt",
        "all.ctm -> out/r2.vtt",
    ]
    assert not Path("out").exists()
