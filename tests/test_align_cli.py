"""`asrkit align` as a script sees it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from asrkit.cli.app import app
from asrkit.errors import how_to_install
from asrkit.tasks.recognizer import Recognizer
from tests.test_transcribe import RATE, spell, spelling_recognizer

SRT = "1\n00:00:05,000 --> 00:00:06,000\nHi,\nthere\n\n2\n00:00:07,000 --> 00:00:09,000\nyou\n"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    """The current folder, with sounds and their texts; the model reads tokens off the samples."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Recognizer, "load", lambda options: spelling_recognizer())
    monkeypatch.setattr(Recognizer, "describe", lambda recognizer: "a model")
    for folder in ("sounds", "texts", "sounds/deep", "texts/deep"):
        Path(folder).mkdir()
    for name, path, text in (
        ("a", "__HHI|_TH_EE_RE__|YOU__", "Hi, there\nyou\n"),
        ("deep/b", "__GO|ON__", "go on\n"),
    ):
        soundfile.write(f"sounds/{name}.wav", spell(path).samples, RATE, subtype="FLOAT")
        Path(f"texts/{name}.txt").write_text(text)
    Path("a.srt").write_text(SRT)
    return tmp_path


def run(*arguments: str, stdin: bytes | None = None):
    return CliRunner().invoke(app, ["align", *arguments, "-m", "some", "--tail", "0"], input=stdin)


def test_prints_a_row_for_every_word():
    result = run("sounds/a.wav", "texts/a.txt")

    assert result.exit_code == 0
    assert result.stdout == (
        "start\tend\tscore\tword\tnote\n"
        "0.040\t0.100\t0.7000\tHi,\t\n"
        "0.140\t0.300\t0.7000\tthere\t\n"
        "0.360\t0.420\t0.7000\tyou\t\n"
    )
    assert "1 file" in result.stderr


@pytest.mark.parametrize(
    ("level", "header", "rows"),
    [("segment", "segment", 2), ("word", "word", 3), ("char", "char", 10)],
)
def test_level_chooses_the_rows(level, header, rows):
    lines = run("sounds/a.wav", "texts/a.txt", "--level", level).stdout.splitlines()

    assert lines[0] == f"start\tend\tscore\t{header}\tnote"
    assert len(lines) == 1 + rows


def test_subtitles_come_back_with_new_times_and_the_same_lines():
    result = run("sounds/a.wav", "a.srt")

    assert result.stdout == (
        "1\n00:00:00,040 --> 00:00:00,300\nHi,\nthere\n\n2\n00:00:00,360 --> 00:00:00,420\nyou\n"
    )


def test_text_comes_from_standard_input():
    result = run("sounds/a.wav", "-", stdin=b"hi there you")

    assert result.stdout.splitlines()[1:] == [
        "0.040\t0.100\t0.7000\thi\t",
        "0.140\t0.300\t0.7000\tthere\t",
        "0.360\t0.420\t0.7000\tyou\t",
    ]


def test_audio_comes_from_standard_input():
    result = run("-", "texts/a.txt", stdin=Path("sounds/a.wav").read_bytes())

    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 4


def test_folders_are_paired_by_name():
    result = run("sounds", "texts", "-r", "-f", "words,ctm", "-o", "out")

    files = sorted(str(path.relative_to("out")) for path in Path("out").rglob("*.*"))
    assert result.exit_code == 0
    assert files == ["a.ctm", "a.words.tsv", "deep/b.ctm", "deep/b.words.tsv"]


def test_text_beside_the_audio_is_found():
    Path("sounds/a.txt").write_text("hi there you")

    assert len(run("sounds/a.wav").stdout.splitlines()) == 4


def test_manifest_holds_the_texts():
    rows = [
        {"audio_filepath": "sounds/a.wav", "text": "hi there you"},
        {"audio_filepath": "sounds/deep/b.wav", "text": "go on"},
    ]
    Path("list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    result = run("list.jsonl", "-f", "jsonl")

    assert [json.loads(line)["text"] for line in result.stdout.splitlines()] == [
        "hi there you",
        "go on",
    ]


def test_input_without_a_text_fails_and_the_others_go_on():
    Path("texts/a.txt").unlink()

    result = run("sounds", "texts", "-r", "-o", "out/")

    assert result.exit_code == 3
    assert re.search(
        r"error: sounds/a\.wav: expected one file texts/a\.\*, found none", result.stderr
    )
    assert Path("out/deep/b.words.tsv").exists()


def test_two_texts_for_one_input_are_an_error():
    Path("texts/a.srt").write_text(SRT)

    result = run("sounds/a.wav", "texts")

    assert result.exit_code == 4
    assert "found a.srt, a.txt" in result.stderr


def test_wrong_text_is_a_warning():
    result = run("sounds/a.wav", "-", stdin=b"pack my box now")

    assert result.exit_code == 0
    assert "warning: sounds/a.wav: the text does not seem to belong to this audio" in result.stderr
    assert "warning" not in run("sounds/a.wav", "texts/a.txt").stderr


def test_lowest_score_marks_rows_and_exits_with_1():
    result = run("sounds/a.wav", "-", "--min-score", "0.5", stdin=b"hi there yxx")

    notes = [line.split("\t")[4] for line in result.stdout.splitlines()[1:]]
    assert result.exit_code == 1
    assert notes == ["", "", "low"]
    assert run("sounds/a.wav", "texts/a.txt", "--min-score", "0.5").exit_code == 0


def test_text_that_cannot_fit_is_exit_code_4_with_both_numbers():
    result = run("sounds/deep/b.wav", "-", stdin=b"much longer than nine frames")

    assert (result.exit_code, result.stdout) == (4, "")
    assert re.search(
        r"error: sounds/deep/b\.wav: the text needs \d+ frames .* only 9", result.stderr
    )


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["sounds", "texts/a.txt", "-r"],
        ["-", "-"],
        ["sounds/a.wav", "texts/a.txt", "--level", "phone"],
        ["sounds/a.wav", "texts/a.txt", "--unknown", "guess"],
        ["sounds/a.wav", "texts/a.txt", "--star", "all"],
        ["sounds/a.wav", "texts/a.txt", "--min-score", "2"],
        ["sounds/a.wav", "texts/a.txt", "--plot", "a.pdf"],
        ["sounds", "texts", "-r", "--plot", "a.html", "-o", "out/"],
        ["sounds", "texts", "-r"],
        ["sounds/a.wav", "a.srt", "-o", "a.srt"],
        ["sounds/a.wav", "texts/a.txt", "--reference", "nowhere.ctm"],
        ["sounds/a.wav", "texts/a.txt", "--reference", "texts"],
        ["sounds/a.wav", "texts/a.txt", "--reference", "a.ctm", "--level", "segment"],
    ],
)
def test_usage_error_is_exit_code_2_with_a_way_out(arguments, here):
    result = run(*arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")
    assert not (here / "out").exists()
    assert Path("a.srt").read_text() == SRT


def test_missing_text_file_is_exit_code_4():
    result = run("sounds/a.wav", "nowhere.txt")

    assert result.exit_code == 4
    assert result.stderr.startswith("error: nowhere.txt: cannot be read")


def test_reference_says_how_far_boundaries_are():
    Path("gold").mkdir()
    Path("gold/a.ctm").write_text(
        "a 1 0.05 0.05 hi 1.0\na 1 0.140 0.160 there\n;; comment\na 1 0.36 0.08 you\n"
    )

    result = run("sounds/a.wav", "texts/a.txt", "--reference", "gold")

    assert result.exit_code == 0
    assert "3 of 3 reference words, boundaries off by 5 ms on average" in result.stderr


@pytest.mark.parametrize("form", ["textgrid", "textgrid-short", "json", "ctm"])
def test_own_results_are_a_reference_too(form):
    suffix = {"json": "json", "ctm": "ctm"}.get(form, "TextGrid")
    run("sounds/a.wav", "texts/a.txt", "-f", form, "-o", f"gold.{suffix}")

    result = run("sounds/a.wav", "texts/a.txt", "--reference", f"gold.{suffix}")

    assert "3 of 3 reference words, boundaries off by 0 ms on average" in result.stderr


@pytest.mark.parametrize("suffix", ["html", "svg"])
def test_plot_is_written(suffix):
    result = run("sounds/a.wav", "texts/a.txt", "--plot", f"a.{suffix}")

    assert result.exit_code == 0
    assert "there</text>" in Path(f"a.{suffix}").read_text()


def test_plot_as_pixels_needs_an_extra_or_is_written():
    try:
        import resvg_py
    except ImportError:
        resvg_py = None

    result = run("sounds/a.wav", "texts/a.txt", "--plot", "a.png")

    if resvg_py is None:
        assert result.exit_code == 4
        assert f"hint: {how_to_install('plot')}" in result.stderr
    else:
        assert Path("a.png").read_bytes().startswith(b"\x89PNG")


def test_dry_run_writes_nothing():
    result = run("sounds", "texts", "-r", "-o", "out", "--dry-run")

    assert result.stdout.splitlines() == [
        f"{Path('sounds/a.wav')} -> {Path('out/a.words.tsv')}",
        f"{Path('sounds/deep/b.wav')} -> {Path('out/deep/b.words.tsv')}",
    ]
    assert not Path("out").exists()


def test_bad_audio_is_one_error():
    soundfile.write("sounds/nan.wav", np.full(800, np.nan), RATE, subtype="FLOAT")

    result = run("sounds/nan.wav", "texts/a.txt")

    assert result.exit_code == 4
    assert result.stderr.startswith("error: sounds/nan.wav: a sample is NaN")
