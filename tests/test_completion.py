"""Completion, as the shells themselves do it, and the words that only this machine knows."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from asrkit.checkpoint import Checkpoint, embedded_models, languages
from asrkit.cli.app import app
from asrkit.cli.docs.completion import SHELLS
from asrkit.cli.words import answer
from asrkit.errors import ExitCode
from asrkit.formats import FORMATS
from asrkit.tasks.catalog import list_models

pty = pytest.importorskip("pty")
ROOT = Path(__file__).parent.parent
SCRIPTS = ROOT / "completions"
TIMEOUT = 60.0
EMBEDDED = sorted(embedded_models())

START = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], f"source {SCRIPTS}/bash/asrkit"),
    "zsh": (
        ["zsh", "-f", "-i"],
        f"fpath=({SCRIPTS}/zsh $fpath); autoload -U compinit; compinit -uD",
    ),
    "fish": (["fish", "--no-config", "-i"], f"source {SCRIPTS}/fish/asrkit.fish"),
}
# Makes standard input the terminal that the shell controls; fish ends without one.
TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
    "os.execvp(sys.argv[1], sys.argv[1:])"
)
# What is typed before Tab, and what asrkit then gets.
TYPED = {
    "asrkit transc": ["transcribe"],
    "asrkit models att": ["models", "attention"],
    "asrkit --vers": ["--version"],
    "asrkit transcribe -r --offl": ["transcribe", "-r", "--offline"],
    "asrkit transcribe --device=cu": ["transcribe", "--device=cuda"],
    "asrkit eval-wer a b --miss": ["eval-wer", "a", "b", "--missing"],
    "asrkit transcribe -f txt,vt": ["transcribe", "-f", "txt,vtt"],
    "asrkit completion pow": ["completion", "powershell"],
    "asrkit transcribe -m demo-k": ["transcribe", "-m", "demo-keywords"],
    "asrkit models info some/": ["models", "info", "some/mms"],
    "asrkit transcribe -m some/mms --language f": "transcribe -m some/mms --language fra".split(),
    "asrkit translate talk.wav --target-lang f": "translate talk.wav --target-lang fr".split(),
    # files by kind: there is my notes.txt, and my.arpa, too
    "asrkit transcribe my": ["transcribe", 'my "loud" talk.WAV'],
    'asrkit transcribe "my': ["transcribe", 'my "loud" talk.WAV'],
    "asrkit transcribe my\\ ": ["transcribe", 'my "loud" talk.WAV'],
    "asrkit transcribe it": ["transcribe", "it's.mp3"],
    "asrkit transcribe \\$": ["transcribe", "$HOME `id`.flac"],
    "asrkit transcribe old\\ tapes/": ["transcribe", "old tapes/one.ogg"],
    "asrkit align talk.wav my": ["align", "talk.wav", "my notes.txt"],
    "asrkit transcribe --lm my": ["transcribe", "--lm", "my.arpa"],
    "asrkit transcribe --lm=my": ["transcribe", "--lm=my.arpa"],
    "asrkit transcribe -- it": ["transcribe", "--", "it's.mp3"],
}


def make_cache(folder: Path) -> Path:
    """A Hub cache with a multilingual model, and folders that must not be offered."""
    for name, family in (
        ("models--some--mms", "wav2vec2"),
        ("models--other--whisper", "whisper"),
        ("models--x--$(touch pwned)", "wav2vec2"),
        ("datasets--some--mms", "wav2vec2"),
    ):
        snapshot = folder / name / "snapshots" / ("0" * 40)
        snapshot.mkdir(parents=True)
        (snapshot / "config.json").write_text(json.dumps({"model_type": family}))
        tables = {"fra": {"a": 0}, "eng": {"a": 0}, "urd-script_arabic": {"a": 0}, "`id`": {"a": 0}}
        (snapshot / "vocab.json").write_text(json.dumps(tables))
    (folder / "models--some--half").mkdir()
    return folder


@pytest.fixture
def place(tmp_path) -> Path:
    """A working directory with files of many names, and a stand-in for asrkit that says its words.

    It passes what a script asks on to the real one.
    """
    place = tmp_path / "place"
    for name in (
        *('my "loud" talk.WAV', "my notes.txt", "my.arpa", "it's.mp3", "it.lst", "$HOME `id`.flac"),
        *("old tapes/one.ogg", "old tapes/one.txt"),
    ):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).touch()
    program = tmp_path / "bin" / "asrkit"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\n"
        f'[ "$1" = __complete ] && exec "{sys.executable}" -m asrkit "$@"\n'
        "printf '<<'; printf '%s\\036' \"$@\"; printf '>>\\n'\n"
    )
    program.chmod(0o755)
    return place


def type_into(shell: str, lines: list[str], place: Path) -> list[list[str]]:
    """What the words of each line are after Tab and Enter in an interactive shell."""
    command, setup = START[shell]
    environment = {
        "PATH": f"{place.parent / 'bin'}:{os.environ['PATH']}",
        "HOME": str(place),
        "TERM": "dumb",
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": str(ROOT),
        "HF_HUB_CACHE": str(make_cache(place.parent / "hub")),
    }
    keyboard, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", TAKE_TERMINAL, *command],
        cwd=place,
        env=environment,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    try:
        os.write(keyboard, f"{setup}; echo rea'dy'\r".encode())
        read_until(keyboard, b"ready\r\n")
        found = []
        for line in lines:
            os.write(keyboard, f"{line}\t\r".encode())
            words = re.findall(rb"<<(.*?)>>", read_until(keyboard, b">>\r\n"), re.DOTALL)[-1]
            found.append(words.decode().split("\x1e")[:-1])
        return found
    finally:
        process.kill()
        process.wait()
        os.close(keyboard)


def read_until(terminal: int, end: bytes) -> bytes:
    output, started = b"", time.monotonic()
    while end not in output:
        assert time.monotonic() - started < TIMEOUT, output.decode(errors="replace")
        if select.select([terminal], [], [], 1.0)[0]:
            output += os.read(terminal, 65_536)
    return output


@pytest.mark.parametrize("shell", START)
def test_tab_completes_what_was_typed(shell, place):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")

    found = type_into(shell, list(TYPED), place)

    # zsh takes a slash that it added away again
    found = [[word.rstrip("/") for word in words] for words in found]
    assert dict(zip(TYPED, found, strict=True)) == TYPED
    assert not (place / "pwned").exists()


def offered_by_bash(lines: list[str], place: Path) -> list[set[str]]:
    """All that bash offers at the end of each line."""
    calls = "".join(
        f"COMP_LINE='{line}' COMP_POINT={len(line)} COMP_WORDS=({re.sub(' $', ' _', line)})\n"
        "COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n"
        "_asrkit; printf '%s\\n' \"${COMPREPLY[@]}\" --end--\n"
        for line in lines
    )
    return offered(["bash", "-c", f"{START['bash'][1]}\n{calls}"], place)


def offered_by_fish(lines: list[str], place: Path) -> list[set[str]]:
    """All that fish offers at the end of each line, without its descriptions."""
    calls = "".join(f"complete -C '{line}'; echo --end--\n" for line in lines)
    return offered(["fish", "--no-config", "-c", f"{START['fish'][1]}\n{calls}"], place)


def offered(command: list[str], place: Path) -> list[set[str]]:
    environment = {"PATH": f"{place.parent / 'bin'}:{os.environ['PATH']}", "HOME": str(place)}
    environment |= {"PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}
    result = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)
    assert result.stderr == ""
    *parts, rest = result.stdout.split("--end--\n")
    assert rest == ""
    return [{line.partition("\t")[0] for line in part.splitlines() if line} for part in parts]


@pytest.mark.parametrize(
    ("shell", "offers"), [("bash", offered_by_bash), ("fish", offered_by_fish)]
)
def test_all_that_fits_is_offered_and_nothing_else(shell, offers, place):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    folders = {"old tapes" + "/" * (shell == "fish")}
    expected = {
        "asrkit transcribe -f ": set(FORMATS),
        "asrkit transcribe -f txt,": {f"txt,{name}" for name in FORMATS},
        "asrkit transcribe ": {'my "loud" talk.WAV', "it's.mp3", "$HOME `id`.flac"} | folders,
        "asrkit align it.mp3 ": {"my notes.txt"} | folders,
        "asrkit transcribe --lm ": {"my.arpa"} | folders,
        "asrkit transcribe --cache-dir ": folders,
        "asrkit transcribe --n-best ": set(),
        "asrkit align a b ": set(),
        "asrkit align a b --d": {"--debug", "--device", "--dry-run", "--dtype"},
        "asrkit translate --target-lang ": {"de", "fr"},
        "asrkit models ": {"attention", "download", "info", "list", "path"},
        "asrkit convert checkpoint demo-en out --dtype=f": {"--dtype=float16", "--dtype=float32"},
    }
    if shell == "bash":  # which knows what was typed of a list
        expected["asrkit transcribe -f txt,"] -= {"txt,txt"}

    found = dict(zip(expected, offers(list(expected), place), strict=True))

    assert found == expected


def test_models_are_the_embedded_and_the_cached_ones(tmp_path):
    make_cache(tmp_path)

    assert answer("models", ["asrkit", "--cache-dir", str(tmp_path)]) == [*EMBEDDED, "some/mms"]
    assert answer("models", ["asrkit", f"--cache-dir={tmp_path / 'none'}"]) == EMBEDDED


def test_models_list_lists_the_same(tmp_path):
    snapshot = make_cache(tmp_path) / "models--some--mms" / "snapshots" / ("0" * 40)
    (snapshot / "model.safetensors").touch()
    shutil.rmtree(tmp_path / "models--x--$(touch pwned)")

    listed = [model.id for model in list_models(str(tmp_path))]

    assert answer("models", ["asrkit", "--cache-dir", str(tmp_path)]) == sorted(listed)


@pytest.mark.parametrize(
    "line",
    [
        "asrkit transcribe --model some/mms --language",
        "asrkit transcribe --model=some/mms@main --language",
        "asrkit transcribe talk.wav -m some/mms --language=",
        "asrkit models download some/mms --language",
    ],
)
def test_languages_are_those_of_the_model_on_the_line(line, tmp_path, monkeypatch):
    monkeypatch.setenv("ASRKIT_CACHE_DIR", str(make_cache(tmp_path)))

    assert answer("languages=demo-en", line.split()) == ["eng", "fra", "urd-script_arabic"]


def test_languages_are_those_of_the_default_model_otherwise(monkeypatch):
    line = ["asrkit", "translate", "talk.wav", "--target-lang", ""]

    assert answer("languages=demo-translate", line) == ["de", "fr"]
    assert answer("languages=demo-en", line) == []
    monkeypatch.setenv("ASRKIT_MODEL", "demo-translate")
    assert answer("languages=demo-en", line) == ["de", "fr"]


@pytest.mark.parametrize("name", EMBEDDED)
def test_languages_are_what_asrkit_itself_reads(name):
    known = languages(Checkpoint(name, embedded_models()[name]))

    assert answer(f"languages={name}", ["asrkit"]) == known


def test_a_broken_cache_offers_nothing(tmp_path):
    snapshot = tmp_path / "models--some--model" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("[" * 100_000)
    (snapshot / "vocab.json").write_bytes(b"\xff")
    line = ["asrkit", "transcribe", "-m", "some/model", "--cache-dir", str(tmp_path)]

    assert answer("models", line) == EMBEDDED
    assert answer("languages=", line) == []


def test_a_vocabulary_that_nobody_named_is_not_read(tmp_path, monkeypatch):
    (tmp_path / "vocab.json").write_text('{"fra": {}}')
    monkeypatch.chdir(tmp_path)

    assert answer("languages=", ["asrkit", "models", "download", "--language", ""]) == []
    assert answer("languages=", ["asrkit", "models", "download", ".", "--language"]) == ["fra"]


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"XDG_CACHE_HOME": "/x"},
        {"HF_HOME": "/h", "XDG_CACHE_HOME": "/x"},
        {"HF_HUB_CACHE": "/c"},
    ],
    ids=lambda variables: "+".join(variables) or "none",
)
def test_the_cache_is_where_huggingface_hub_has_it(variables):
    code = (
        "from asrkit.cli.words import _standard_cache as ours; import os\n"
        "from huggingface_hub.constants import HF_HUB_CACHE as theirs\n"
        "print(os.path.expanduser(ours()) == theirs, ours(), theirs)"
    )
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}

    result = subprocess.run(
        [sys.executable, "-c", code], env=kept | variables, cwd=ROOT, capture_output=True, text=True
    )

    assert result.stdout.startswith("True "), result.stdout + result.stderr


def test_an_answer_imports_next_to_nothing():
    code = (
        "import sys; sys.argv = ['asrkit', '__complete', 'models', 'asrkit', 'transcribe', '-m']\n"
        "from asrkit.__main__ import main; main()\n"
        "heavy = {'typer', 'rich', 'torch', 'numpy', 'huggingface_hub', 'pathlib', 'dataclasses'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )

    result = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True
    )

    assert result.stdout.split("\n") == [*answer("models", []), "[]", ""]


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_prints_the_script_that_is_installed(shell):
    result = CliRunner().invoke(app, ["completion", shell])

    assert result.stdout == (SCRIPTS / shell / SHELLS[shell]).read_text(encoding="utf-8")


def test_an_unknown_shell_is_a_usage_error():
    result = CliRunner().invoke(app, ["completion", "csh"])

    assert result.exit_code == ExitCode.USAGE
    assert "'csh' is not one of bash, zsh, fish, powershell" in result.stderr
