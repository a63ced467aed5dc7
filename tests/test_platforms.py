"""What is different on Windows and macOS, as far as it can be acted out elsewhere."""

from __future__ import annotations

import errno
import io
import ntpath
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path, PureWindowsPath
from types import SimpleNamespace

import pytest

from asrkit import __main__, inputs, outputs
from asrkit.errors import UsageError
from asrkit.formats import FORMATS
from asrkit.formats.utterances import Utterance
from asrkit.inputs import FailedInput
from asrkit.outputs import check_files, open_whole, write_stdout
from asrkit.report import html
from asrkit.tasks.convert_transcript import recordings_in
from asrkit.types import AudioInput


@pytest.mark.parametrize("is_growing", [True, False])
def test_a_file_is_closed_when_it_takes_its_name(tmp_path, monkeypatch, is_growing):
    """Windows renames no file that is open."""
    publish, was_closed = outputs._publish, []

    def checked(*arguments):
        was_closed.append(file.closed)
        publish(*arguments)

    monkeypatch.setattr(outputs, "_publish", checked)
    with suppress(KeyboardInterrupt), open_whole(tmp_path / "a", is_growing=True) as file:
        file.write(b"one")
        raise KeyboardInterrupt
    with open_whole(tmp_path / "b", is_growing=is_growing) as file:
        file.write(b"two")

    assert was_closed == [True, True]
    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())] == [b"one", b"two"]


@pytest.mark.parametrize(("system", "expected"), [("nt", BrokenPipeError), ("posix", OSError)])
def test_a_reader_that_has_enough_is_known_by_the_error_of_the_system(
    monkeypatch, system, expected
):
    class Closed(io.BytesIO):
        def write(self, data):
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(outputs, "os", SimpleNamespace(name=system))
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=Closed()))

    with pytest.raises(OSError, match=r"^$|Invalid argument") as caught:
        write_stdout("text")

    assert type(caught.value) is expected


@pytest.mark.parametrize(("system", "is_clash"), [("darwin", True), ("linux", False)])
def test_names_that_differ_in_case_are_one_file_on_macos(monkeypatch, tmp_path, system, is_clash):
    monkeypatch.setattr(outputs, "sys", SimpleNamespace(platform=system))
    items = [AudioInput("x/Talk.wav", name="Talk.wav"), AudioInput("y/talk.wav", name="talk.wav")]

    if is_clash:
        with pytest.raises(UsageError, match=r"x/Talk.wav and y/talk.wav would both write"):
            check_files(items, tmp_path, {"txt": ".txt"})
    else:
        check_files(items, tmp_path, {"txt": ".txt"})


@pytest.mark.parametrize(
    ("path", "root", "name"),
    [
        ("C:evil.wav", "", "evil.wav"),  # of the current folder of a drive: not absolute
        ("\\evil.wav", "", "evil.wav"),  # of the current drive: not absolute for Python 3.13
        ("\\\\host\\share\\evil.wav", "", "evil.wav"),
        ("..\\evil.wav", "", "evil.wav"),
        ("a\\..\\..\\evil.wav", "", "evil.wav"),
        ("calls\\one.wav", "", "calls/one.wav"),
        ("C:\\calls\\may\\one.wav", "C:\\calls", "may/one.wav"),
    ],
)
def test_no_name_leaves_the_folder_of_outputs_on_windows(monkeypatch, path, root, name):
    monkeypatch.setattr(inputs, "os", SimpleNamespace(path=ntpath, sep="\\"))
    monkeypatch.setattr(inputs, "PurePath", PureWindowsPath)

    assert inputs._name_below(path, root) == name


def test_recordings_give_files_no_separator_of_any_system(tmp_path):
    table = tmp_path / "two.ctm"
    table.write_text("..\\up 1 0.0 0.5 one\nC:/up 1 0.0 0.5 two\n")

    found = list(recordings_in([AudioInput(str(table), name="two.ctm")], FORMATS["ctm"]))

    assert not any(isinstance(item, FailedInput) for item in found)
    assert [item.item.name for item in found] == ["__up.ctm", "C__up.ctm"]


def test_a_page_names_audio_on_another_drive_in_full(monkeypatch, tmp_path):
    def no_way(path, start):
        raise ValueError("path is on mount 'D:', start on mount 'C:'")

    monkeypatch.setattr(os.path, "relpath", no_way)

    link = html._player(Utterance("a", "text", audio=str(tmp_path / "a b.wav")), Path("pages"))

    assert f"href='{tmp_path.as_uri()}/a%20b.wav'" in link


@pytest.mark.parametrize("encoding", ["cp437", "cp1252", "ascii"])
def test_help_is_shown_on_a_console_without_utf_8(encoding):
    result = subprocess.run(
        [sys.executable, "-m", "asrkit", "transcribe", "--help"],
        env=os.environ | {"PYTHONIOENCODING": f"{encoding}:strict", "COLUMNS": "60"},
        capture_output=True,
    )

    assert (result.returncode, result.stderr) == (0, b"")
    assert b"--batch-size" in result.stdout


def test_words_for_a_shell_end_in_line_feeds_alone(monkeypatch):
    """A carriage return of Windows would become a part of the word in bash."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, newline="\r\n"))
    monkeypatch.setattr(sys, "argv", ["asrkit", "__complete", "models", "asrkit", "transcribe"])

    __main__.main()

    assert b"demo-en\n" in written.getvalue()
    assert b"\r" not in written.getvalue()
