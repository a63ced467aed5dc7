"""Where results go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from asrkit.errors import OutputError, UsageError
from asrkit.outputs import Target, encode, open_whole, write_whole
from asrkit.types import AudioInput


def audio(path: str, name: str = "") -> AudioInput:
    return AudioInput(path, name=name or Path(path).name)


@pytest.mark.parametrize(
    ("output", "formats", "is_single", "expected"),
    [
        ("-", None, True, (("txt",), None, None)),
        ("-", "srt", True, (("srt",), None, None)),
        ("-", "jsonl", False, (("jsonl",), None, None)),
        ("a.srt", None, True, (("srt",), None, "a.srt")),
        ("a.txt", "json", True, (("json",), None, "a.txt")),
        ("all.jsonl", None, False, (("jsonl",), None, "all.jsonl")),
        ("out", None, False, (("txt",), "out", None)),
        ("out/", "txt,srt", True, (("txt", "srt"), "out", None)),
        ("out.d/", "srt", True, (("srt",), "out.d", None)),
    ],
)
def test_output_and_formats_are_understood_together(output, formats, is_single, expected):
    target = Target.parse(output, formats, is_single=is_single)

    found = tuple(None if p is None else str(p) for p in (target.directory, target.file))
    assert (target.formats, *found) == expected


@pytest.mark.parametrize(
    ("output", "formats", "is_single", "message"),
    [
        ("-", "txt,srt", True, "2 formats"),
        ("-", "srt", False, "srt of several inputs"),
        ("a.srt", None, False, "srt of several inputs"),
        ("a.doc", None, True, r"'\.doc' is not a format's suffix"),
        ("-", "docx", True, "unknown format 'docx'"),
    ],
)
def test_contradictions_are_refused(output, formats, is_single, message):
    with pytest.raises(UsageError, match=message):
        Target.parse(output, formats, is_single=is_single)


def test_existing_folder_with_a_dot_is_a_folder(tmp_path):
    (tmp_path / "out.d").mkdir()

    target = Target.parse(str(tmp_path / "out.d"), None, is_single=True)

    assert target.directory == tmp_path / "out.d"


def test_every_input_and_format_has_its_file_below_the_folder():
    target = Target(("txt", "srt"), directory=Path("out"))

    files = target.files(audio("in/a.b.wav", "sub/a.b.wav"))

    assert files == {"txt": Path("out/sub/a.b.txt"), "srt": Path("out/sub/a.b.srt")}


def test_two_inputs_for_one_file_are_refused_before_any_work():
    target = Target(("txt",), directory=Path("out"))

    with pytest.raises(UsageError, match=r"x/a\.wav and y/a\.mp3 would both write out"):
        target.check([audio("x/a.wav"), audio("y/a.mp3")], has_times=True)


def test_output_never_replaces_an_input(tmp_path):
    target = Target(("txt",), directory=tmp_path)

    with pytest.raises(UsageError, match="is an input"):
        target.check([audio(str(tmp_path / "a.txt"), "a.txt")], has_times=True)
    with pytest.raises(UsageError, match="is an input"):
        Target(("txt",), file=tmp_path / "a.wav").check(
            [audio(str(tmp_path / "a.wav"))], has_times=True
        )


def test_format_with_times_needs_times():
    with pytest.raises(UsageError, match="srt needs times"):
        Target(("srt",)).check([audio("a.wav")], has_times=False)


def test_file_appears_whole_or_not_at_all(tmp_path):
    """I8."""
    path = tmp_path / "deep" / "a.txt"

    with pytest.raises(RuntimeError), open_whole(path) as file:  # noqa: PT012
        file.write(b"half")
        raise RuntimeError

    assert list(path.parent.iterdir()) == []


def test_interrupt_keeps_what_was_written(tmp_path):
    path = tmp_path / "a.jsonl"

    with pytest.raises(KeyboardInterrupt), open_whole(path, is_growing=True) as file:  # noqa: PT012
        file.write(b"row\n")
        raise KeyboardInterrupt

    assert [p.name for p in tmp_path.iterdir()] == ["a.jsonl"]
    assert path.read_text() == "row\n"


def test_interrupt_while_one_result_is_written_leaves_no_half_of_it(tmp_path):
    with pytest.raises(KeyboardInterrupt), open_whole(tmp_path / "a.txt") as file:  # noqa: PT012
        file.write(b"half")
        raise KeyboardInterrupt

    assert list(tmp_path.iterdir()) == []


def test_written_file_has_ordinary_permissions(tmp_path):
    (tmp_path / "plain").write_text("")
    write_whole(tmp_path / "a.txt", b"text")

    modes = [(tmp_path / name).stat().st_mode for name in ("plain", "a.txt")]
    assert modes[0] == modes[1]


def test_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(OutputError, match="file"):
        write_whole(tmp_path / "file" / "a.txt", b"text")


def test_file_names_that_are_not_unicode_survive(tmp_path):
    name = os.fsdecode(b"caf\xe9")

    write_whole(tmp_path / "a.txt", encode(f"{name}\ttext\n"))

    assert (tmp_path / "a.txt").read_bytes() == b"caf\xe9\ttext\n"
