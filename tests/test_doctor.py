"""`asrkit doctor`: what it looks at, and what it says of what is wrong."""

from __future__ import annotations

import json
import re
import sys
from importlib import metadata, util
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from asrkit.cli._command import leaves, options_of
from asrkit.cli.app import app
from asrkit.errors import MissingExtraError
from asrkit.tasks import doctor
from asrkit.tasks.doctor import EXTRAS, examine

ROOT = typer.main.get_command(app)


@pytest.fixture(autouse=True)
def _nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("typer.testing._get_command", lambda app: ROOT)  # built once


def run(*arguments: str):
    return CliRunner().invoke(app, ["doctor", "--cache-dir", "cache", *arguments])


def report(*arguments: str) -> dict:
    return json.loads(run("--json", "--offline", *arguments).stdout)


def without(monkeypatch, package: str) -> None:
    """As if a package were not installed."""
    find = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name: None if name == package else find(name))


def finding(found: dict, section: str, name: str) -> dict:
    (one,) = [f for f in found["findings"] if (f["section"], f["name"]) == (section, name)]
    return one


def test_healthy_installation_is_exit_code_0_and_json_of_a_fixed_form():
    result = run("--json", "--offline")
    found = json.loads(result.stdout)

    assert result.exit_code == 0
    assert found.keys() == {"schema", "healthy", "findings", "settings"}
    assert (found["schema"], found["healthy"]) == (1, True)
    assert {tuple(f) for f in found["findings"]} == {("section", "name", "value", "status", "fix")}
    assert {f["status"] for f in found["findings"]} <= {"ok", "missing", "warning"}
    assert {tuple(value) for value in found["settings"]} == {
        ("command", "option", "value", "source", "where")
    }
    sections = dict.fromkeys(f["section"] for f in found["findings"])
    assert list(sections) == (
        ["settings", "program", "packages", "device", "audio", "extras", "cores", "cache", "hub"]
    )


def test_every_option_of_every_command_is_among_the_settings():
    listed = [(value["command"], value["option"]) for value in report()["settings"]]

    assert listed == [
        (" ".join(words), name) for words, c in leaves(ROOT) for name in options_of(c)
    ]


def test_settings_say_where_they_come_from(monkeypatch, tmp_path):
    user = tmp_path / "user" / "asrkit" / "config.toml"
    user.parent.mkdir(parents=True)
    user.write_text("threads = 2\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("APPDATA", str(tmp_path / "user"))
    project = tmp_path / "asrkit.toml"
    project.write_text("[transcribe]\nbeam-width = 50\n")
    monkeypatch.setenv("ASRKIT_DEVICE", "cpu")

    rows = {(v["command"], v["option"]): v for v in report()["settings"]}

    def of(command: str, option: str) -> list[object]:
        return [rows[command, option][key] for key in ("value", "source", "where")]

    assert of("transcribe", "beam-width") == [50, "project", f"{project}, line 2"]
    assert of("translate", "beam-width") == [None, "default", None]
    assert of("embed", "threads") == [2, "user", f"{user}, line 1"]
    assert of("align", "device") == ["cpu", "environment", "ASRKIT_DEVICE"]
    assert of("doctor", "offline") == [True, "flag", None]
    assert of("classify", "offline") == [False, "default", None]

    text = run("--offline").stdout
    assert f"set      transcribe: beam-width = 50  ({project}, line 2)" in text
    assert "set      device = cpu  (ASRKIT_DEVICE)" in text
    assert "batch-size" not in text
    assert "batch-size = 32  (default)" in run("--offline", "-v").stdout


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x =\n", "not valid TOML"),
        ("[embed]\nmodle = 'x'\n", "line 2: unknown key 'embed.modle'"),
        ("[embed]\nbatch-size = 0\n", "line 2: Invalid value for '--batch-size'"),
    ],
)
def test_broken_file_of_settings_is_a_finding_and_not_the_end(text, problem, tmp_path):
    (tmp_path / "asrkit.toml").write_text(text)

    result = run("--offline")

    assert result.exit_code == 1
    assert any(
        line.startswith("broken   settings ") and problem in line
        for line in result.stdout.splitlines()
    )
    assert "ok       program asrkit" in result.stdout


def test_variable_that_no_option_reads_is_a_warning_with_the_nearest(monkeypatch):
    monkeypatch.setenv("ASRKIT_MODLE", "x")

    found = finding(report(), "settings", "ASRKIT_MODLE")

    assert (found["status"], found["fix"]) == ("warning", "did you mean ASRKIT_MODEL?")


def test_device_that_is_not_there_is_broken():
    result = run("--offline", "--device", "cuda:99")

    assert result.exit_code == 1
    assert "device 'cuda:99' is not available" in result.stdout


def test_extra_that_is_not_installed_comes_with_its_command(monkeypatch):
    without(monkeypatch, "av")
    monkeypatch.setattr(metadata, "requires", lambda name: ['av>=13; extra == "video"'])

    found = report()

    assert finding(found, "extras", "video")["status"] == "missing"
    assert finding(found, "extras", "video")["fix"] == "pip install 'av>=13'"
    assert found["healthy"]


@pytest.mark.parametrize(
    ("required", "command"),
    [
        (["jiwer>=4", 'a>=2; extra == "lm"', "b; extra == 'video'"], "pip install 'a>=2'"),
        (['a[x]<3,>=2 ; extra == "lm"'], "pip install 'a[x]<3,>=2'"),
        (['a; extra == "lm"', 'b; extra == "lm"', 'c; extra == "lm2"'], "pip install 'a' 'b'"),
        (["jiwer>=4"], "pip install '.[lm]' in the folder of its sources"),
        (None, "pip install '.[lm]' in the folder of its sources"),
    ],
)
def test_command_for_an_extra_names_the_packages_that_it_stands_for(required, command, monkeypatch):
    monkeypatch.setattr(metadata, "requires", lambda name: required)

    assert MissingExtraError("this", extra="lm").hint == command


def test_package_that_cannot_be_found_or_loaded_is_broken_and_the_rest_is_looked_at(monkeypatch):
    without(monkeypatch, "soxr")
    monkeypatch.setitem(sys.modules, "soundfile", None)

    found = report()

    assert not found["healthy"]
    assert finding(found, "packages", "soxr")["fix"] == "pip install soxr"
    assert finding(found, "audio", "error")["value"].startswith("ModuleNotFoundError")
    assert finding(found, "cache", "embedded")["status"] == "ok"


def test_core_that_was_not_built_is_missing_and_not_broken(monkeypatch):
    monkeypatch.setitem(sys.modules, "asrkit.ctc._native", None)

    found = report()

    assert finding(found, "cores", "ctc._native")["status"] == "missing"
    assert "C++ compiler" in finding(found, "cores", "ctc._native")["fix"]
    assert found["healthy"]


def test_cache_is_counted(tmp_path):
    blobs = tmp_path / "cache" / "models--user--name" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "one").write_bytes(bytes(20_000_000))

    assert finding(report(), "cache", "models")["value"] == "1 in 0.02 GB"


def test_cache_that_is_a_file_is_broken(tmp_path):
    (tmp_path / "cache").write_text("")

    found = finding(report(), "cache", "folder")

    assert (found["status"], "ASRKIT_CACHE_DIR" in found["fix"]) == ("broken", True)


def test_offline_opens_no_connection_and_a_password_is_not_shown(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "https://me:secret@hub.example")
    monkeypatch.setattr(doctor, "_unreachable", lambda endpoint: pytest.fail("asked"))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")

    text = json.dumps(report())

    assert "hub.example, not asked: offline" in text
    assert "secret" not in text


@pytest.mark.parametrize(
    ("endpoint", "status"), [("http://127.0.0.1:9", "warning"), ("no address", "warning")]
)
def test_hub_that_does_not_answer_is_a_warning(endpoint, status, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)

    result = run("--json")

    assert result.exit_code == 0
    assert finding(json.loads(result.stdout), "hub", "endpoint")["status"] == status


def test_silent_name_server_is_not_waited_for(monkeypatch):
    from threading import Event

    answer = Event()
    monkeypatch.setattr("huggingface_hub.utils.get_session", lambda: answer.wait())
    monkeypatch.setattr(doctor, "_HUB_SECONDS", 0.05)

    assert doctor._unreachable("http://hub.example") == "no answer in 0.05 s"
    answer.set()


def test_no_probe_ends_the_others(monkeypatch):
    def fail(options):
        raise RuntimeError("a\nb")
        yield

    for name in ("_program", "_packages", "_devices", "_audio", "_extras", "_cores", "_cache"):
        monkeypatch.setattr(doctor, name, fail)

    found = list(examine(doctor.ModelOptions(offline=True)))

    assert [f.value for f in found[:7]] == ["RuntimeError: a"] * 7
    assert found[-1].section == "hub"


def test_every_extra_of_a_user_is_looked_at():
    project = (Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    extras = project.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    named = set(re.findall(r"^(\w+) = ", extras, re.MULTILINE))

    assert named - {"test", "parity", "parity440", "docs", "dev"} == set(EXTRAS)
