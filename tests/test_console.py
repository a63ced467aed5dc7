"""How a run speaks: colours, the log, progress for programs, hints."""

from __future__ import annotations

import json
import os
import re
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer
from typer.testing import CliRunner

from asrkit.cli._console import Console
from asrkit.cli.app import app
from asrkit.suggest import did_you_mean
from asrkit.types import AudioInput
from tests.tiny import tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return str(tiny_model(folder=tmp_path_factory.mktemp("model")))


ROOT = typer.main.get_command(app)


@pytest.fixture(autouse=True)
def _sounds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("typer.testing._get_command", lambda app: ROOT)  # built once
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000)
    soundfile.write("a.wav", noise, 16_000)
    soundfile.write("b.wav", noise[:8_000], 16_000)
    Path("bad.wav").write_text("no sound")


def run(*arguments: str):
    return CliRunner().invoke(app, [*arguments])


@pytest.mark.parametrize(
    ("arguments", "environment", "has_color"),
    [
        ([], {}, False),
        (["--color", "always"], {}, True),
        (["--color", "always"], {"NO_COLOR": "1"}, True),
        (["--color", "never"], {"FORCE_COLOR": "1"}, False),
        ([], {"FORCE_COLOR": "1"}, True),
        ([], {"CLICOLOR_FORCE": "1"}, True),
        ([], {"CLICOLOR_FORCE": "0"}, False),
        ([], {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ([], {"ASRKIT_COLOR": "always"}, True),
    ],
)
def test_errors_and_help_have_colours_where_they_are_wanted(
    arguments, environment, has_color, monkeypatch
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert ("\x1b[" in run("transcribe", "no.wav", *arguments).stderr) is has_color
    assert ("\x1b[" in run("transcribe", *arguments, "--help").stdout) is (
        has_color and "ASRKIT_COLOR" not in environment  # help reads no settings
    )


def test_options_of_running_may_stand_before_the_command(monkeypatch):
    monkeypatch.setenv("ASRKIT_COLOR", "never")

    result = run("--color", "always", "-q", "transcribe", "no.wav")

    assert result.stderr.startswith("\x1b[")
    assert (
        "\x1b[" not in run("--color", "always", "transcribe", "no.wav", "--color", "never").stderr
    )
    assert "\x1b[" in run("--color", "always", "models", "--help").stdout


def test_progress_as_json_is_lines_that_parse_beside_messages(model):
    result = run("transcribe", "a.wav", "bad.wav", "b.wav", "-m", model, "--progress", "json", "-q")

    lines = result.stderr.splitlines()
    events = [json.loads(line) for line in lines if line.startswith("{")]
    assert next(line[:14] for line in lines if not line.startswith("{")) == "error: bad.wav"
    assert [list(event) for event in events[:1]] == [
        ["event", "done", "failed", "total", "seconds_done", "seconds_total", "eta", "rtfx"]
    ]
    first, last = events[0], events[-1]
    assert {event["event"] for event in events} == {"progress"}
    assert (first["done"], first["seconds_done"], first["eta"]) == (0, 0, None)
    assert (last["done"], last["failed"], last["total"]) == (2, 1, 3)
    assert (last["seconds_done"], last["seconds_total"], last["eta"]) == (1.5, 1.5, 0)
    assert last["rtfx"] > 0


def test_progress_bar_is_drawn_where_it_is_asked_for_and_nowhere_else(capsys):
    for style, is_drawn in {"bar": True, "auto": False, "none": False}.items():
        with Console(progress_style=style, is_quiet=True).progress(
            [AudioInput("a.wav")]
        ) as console:
            console.advance(0.5)
        assert ("x real time" in capsys.readouterr().err) is is_drawn


def test_log_gets_everything_with_times_whatever_stderr_shows(model):
    for _ in range(2):
        result = run("transcribe", "a.wav", "bad.wav", "-m", model, "-q", "--log-file", "log.txt")
    assert result.exit_code == 3

    lines = Path("log.txt").read_text().splitlines()
    assert len(lines) % 2 == 0
    times = [datetime.fromisoformat(line.partition(" ")[0]) for line in lines]
    assert times == sorted(times)
    texts = [line.partition(" ")[2] for line in lines[: len(lines) // 2]]
    assert texts[0].endswith(f"transcribe a.wav bad.wav -m {model} -q --log-file log.txt")
    assert any("Wav2Vec2ForCTC" in text for text in texts)  # a detail
    assert any(text.startswith("error: bad.wav") for text in texts)
    assert any(text.startswith("2 files") or text.startswith("1 file") for text in texts)
    assert texts[-1] == "exit code 3"
    assert "\x1b" not in "".join(texts)


def test_log_keeps_the_traceback_of_a_fault(monkeypatch):
    monkeypatch.setattr("asrkit.inputs.iter_inputs", lambda *a, **k: 1 / 0)

    result = run("transcribe", "a.wav", "--log-file", "log.txt")

    assert result.exit_code == 4
    assert "Traceback" not in result.stderr
    assert "ZeroDivisionError" in re.sub(r".*error: .*\n", "", Path("log.txt").read_text())


@pytest.mark.parametrize("path", ["no/folder/log.txt", "."])
def test_log_that_cannot_be_written_is_an_error_before_any_work(path):
    result = run("transcribe", "a.wav", "--log-file", path, "-m", "no/model")

    assert result.exit_code == 4
    assert result.stderr.startswith(f"error: {path}: cannot be written: ")


@pytest.mark.skipif(os.name == "nt", reason="a device of POSIX")
def test_full_disk_of_the_log_ends_no_run():
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")

    assert run("transcribe", "a.wav", "--dry-run", "--log-file", "/dev/full").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["transcribe", "a.wav", "--beem-width", "3"], "did you mean --beam-width?"),
        (["trancribe", "a.wav"], "Did you mean 'transcribe'?"),
        (["doktor"], "Did you mean 'doctor'?"),
        (["transcribe", "a.wav", "-m", "demo-eng"], "did you mean demo-en?"),
        (["transcribe", "a.wav", "-m", "user/mode", "--offline"], "did you mean user/model?"),
        (["transcribe", "a.wav", "-f", "jsn"], "did you mean json?"),
        (["transcribe", "a.wav", "--timestamps", "words"], "did you mean word?"),
        (["align", "a.wav", "--unknown", "Interpolated"], "did you mean interpolate?"),
        (["translate", "a.wav", "--target-lang", "frr"], "did you mean fr?"),
        (["embed", "a.wav", "--pool", "men"], "did you mean mean?"),
    ],
)
def test_misspelt_name_is_answered_with_the_right_one(arguments, hint, monkeypatch):
    Path("cache/models--user--model").mkdir(parents=True)
    monkeypatch.setenv("ASRKIT_CACHE_DIR", "cache")

    result = run(*arguments)

    assert result.exit_code in (2, 4, 5)
    assert hint in result.stderr


def test_nothing_is_suggested_where_nothing_is_like_it():
    assert did_you_mean("xyz", ["transcribe", "align"]) is None
    assert did_you_mean("ALIGN", ["transcribe", "align"]) == "did you mean align?"


def test_informational_commands_print_json():
    for arguments in (["list"], ["info", "demo-en"], ["path", "demo-en"], ["download", "demo-en"]):
        result = run("models", *arguments, "--json")

        assert result.exit_code == 0
        assert "demo-en" in json.dumps(json.loads(result.stdout))
