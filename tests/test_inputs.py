"""Arguments, directories, patterns, lists and manifests to inputs."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from pathlib import Path

import pytest

from asrkit.errors import InputError, ManifestError, UsageError
from asrkit.inputs import FailedInput, iter_inputs
from asrkit.types import AudioInput


def expand_inputs(arguments, **options):
    return list(iter_inputs(arguments, **options))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def paths(items: list) -> list[str]:
    return [item.path for item in items]


def names(items: list) -> list[str]:
    return [item.name for item in items]


def failure(items: list) -> InputError:
    (item,) = items
    assert isinstance(item, FailedInput)
    assert "\n" not in item.error.message
    return item.error


def expand_manifest(path: str, content: str | bytes, **options: str) -> list:
    data = content if isinstance(content, bytes) else content.encode()
    Path(path).write_bytes(data)
    return expand_inputs([path], **options)


# Files


def test_files_keep_their_order_and_repetitions(folder):
    touch("b.wav", "deep/a.bin")

    items = expand_inputs(["b.wav", "deep/a.bin", "b.wav"])

    assert items == [
        AudioInput("b.wav", id="b.wav", name="b.wav"),
        AudioInput("deep/a.bin", id="deep/a.bin", name="a.bin"),
        AudioInput("b.wav", id="b.wav", name="b.wav"),
    ]


def test_a_dash_is_standard_input(folder):
    assert expand_inputs(["-"]) == [AudioInput("-", id="-", name="stdin")]


def test_a_file_called_dash_is_not_standard_input(folder):
    touch("-")
    Path("all.txt").write_text("-\n")
    Path("all.jsonl").write_text('{"audio_filepath": "-"}\n')

    assert paths(expand_inputs(["all.jsonl"], files_from="all.txt")) == ["./-", "./-"]


def test_one_missing_file_leaves_the_others(folder):
    touch("b.wav")

    missing, found = expand_inputs(["a.wav", "b.wav"])

    assert missing.source == "a.wav"
    assert missing.error.message == "a.wav: no such file"
    assert found.path == "b.wav"


def test_an_address_gives_the_command_that_fetches_it(folder):
    error = failure(expand_inputs(["https://example.org/a.wav"]))

    assert error.hint.endswith("curl -L https://example.org/a.wav | asrkit transcribe -")


def test_a_broken_link_says_so(folder):
    os.symlink("gone.wav", "a.wav")

    assert "link" in failure(expand_inputs(["a.wav"])).hint


@pytest.mark.parametrize("argument", ["a\0b", "x" * 5000, "a\nb.wav", ""])
def test_an_impossible_name_fails_on_one_line(folder, argument):
    failure(expand_inputs([argument]))


@pytest.mark.parametrize(("name", "hint"), [("a.json", ".jsonl"), ("a.txt", "--files-from")])
def test_a_list_of_another_kind_gives_a_hint(folder, name, hint):
    touch(name)

    error = failure(expand_inputs([name]))

    assert error.message == f"{name}: is not audio"
    assert hint in error.hint


def test_nothing_at_all_is_a_usage_error():
    with pytest.raises(UsageError, match="no input"):
        expand_inputs([])


# Directories


def test_a_directory_needs_the_option_for_it(folder):
    touch("calls/a.wav")

    error = failure(expand_inputs(["calls"]))

    assert error.message == "calls: is a directory"
    assert error.hint.startswith("-r ")


def test_a_directory_gives_its_audio_files_sorted_with_the_tree_below(folder):
    touch("calls/b.wav", "calls/a/z.MP3", "calls/a/y.mkv", "calls/a-b/x.flac")
    touch("calls/notes.txt", "calls/.hidden.wav", "calls/.git/c.wav", "calls/all.jsonl")

    items = expand_inputs(["calls"], recursive=True)

    assert names(items) == ["a/y.mkv", "a/z.MP3", "a-b/x.flac", "b.wav"]
    assert paths(items)[0] == "calls/a/y.mkv"


@pytest.mark.parametrize("argument", [".", "./", "../here", "calls/.."])
def test_names_never_leave_their_folder(tmp_path, monkeypatch, argument):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    touch("calls/a.wav")

    assert names(expand_inputs([argument], recursive=True)) == ["calls/a.wav"]


def test_a_loop_of_links_ends(folder):
    touch("calls/a.wav")
    os.symlink(".", "calls/again")

    assert names(expand_inputs(["calls"], recursive=True)) == ["a.wav"]


def test_a_directory_without_audio_is_a_failure(folder):
    touch("calls/notes.txt")

    assert "holds no audio files" in failure(expand_inputs(["calls"], recursive=True)).message


def test_a_folder_that_may_not_be_listed_leaves_the_others(folder, monkeypatch):
    touch("calls/a.wav", "calls/secret/b.wav")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)

    failed, found = expand_inputs(["calls"], recursive=True)

    assert failed.error.message == "calls/secret: permission denied"
    assert found.name == "a.wav"


# Patterns


def test_a_pattern_is_expanded_sorted_below_its_fixed_part(folder):
    touch("calls/may/b.wav", "calls/may/a.wav", "calls/june/a.wav", "calls/top.wav")

    items = expand_inputs(["calls/*/*.wav"])

    assert paths(items) == ["calls/june/a.wav", "calls/may/a.wav", "calls/may/b.wav"]
    assert names(items) == ["june/a.wav", "may/a.wav", "may/b.wav"]


def test_two_stars_span_directories(folder):
    touch("calls/x/y/b.wav", "calls/a.wav")

    assert names(expand_inputs(["calls/**/*.wav"])) == ["a.wav", "x/y/b.wav"]


def test_a_pattern_without_suffix_takes_known_suffixes(folder):
    touch("a.wav", "notes.txt", "sub/b.wav")

    assert paths(expand_inputs(["*"])) == ["a.wav"]
    assert paths(expand_inputs(["**"])) == ["a.wav", "sub/b.wav"]
    assert paths(expand_inputs(["*"], recursive=True)) == ["a.wav", "sub/b.wav"]


def test_a_pattern_with_a_suffix_takes_any(folder):
    touch("a.raw8", "b.raw8")

    assert paths(expand_inputs(["*.raw8"])) == ["a.raw8", "b.raw8"]


def test_a_file_with_brackets_in_its_name_is_a_file(folder):
    touch("take [1].wav", "take 1.wav")

    assert paths(expand_inputs(["take [1].wav"])) == ["take [1].wav"]


def test_a_pattern_that_matches_nothing_is_a_failure(folder):
    assert failure(expand_inputs(["*.wav"])).message == "*.wav: matches no audio file"


# Lists


class FakeStdin:
    def __init__(self, data: bytes, *, is_terminal: bool = False) -> None:
        self.buffer = io.BytesIO(data)
        self.isatty = lambda: is_terminal


@pytest.mark.parametrize(
    "content",
    [
        b"a b.wav\n\n  \nc*.wav\n",
        b"a b.wav\r\nc*.wav",
        b"\xef\xbb\xbfa b.wav\nc*.wav\n",
        b"a b.wav\0c*.wav\0",
    ],
)
@pytest.mark.parametrize("is_stdin", [False, True])
def test_a_list_has_one_path_a_line(folder, monkeypatch, content, is_stdin):
    touch("a b.wav", "c*.wav", "cd.wav")
    Path("list").write_bytes(content)
    monkeypatch.setattr(sys, "stdin", FakeStdin(content))

    items = expand_inputs([], files_from="-" if is_stdin else "list")

    assert paths(items) == ["a b.wav", "c*.wav"]


def test_a_path_with_a_line_break_comes_through_a_list_with_nul(folder):
    touch("a\nb.wav")
    Path("list").write_bytes(b"a\nb.wav\0")

    assert paths(expand_inputs([], files_from="list")) == ["a\nb.wav"]


def test_a_list_follows_the_arguments(folder):
    touch("a.wav", "b.wav", "calls/c.wav")
    Path("list").write_text("b.wav\nmissing.wav\ncalls\n")

    items = expand_inputs(["a.wav"], files_from="list", recursive=True)

    assert [getattr(item, "name", None) for item in items] == ["a.wav", "b.wav", None, "c.wav"]


def test_a_list_longer_than_one_read_keeps_its_paths_whole(folder):
    Path("list").write_text("".join(f"missing-{n:06}.wav\n" for n in range(10_000)))

    items = expand_inputs([], files_from="list")

    assert [item.source for item in items] == [f"missing-{n:06}.wav" for n in range(10_000)]


def test_paths_from_a_pipe_are_used_as_they_arrive(folder, monkeypatch):
    touch("a.wav", "b.wav")
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as stream, os.fdopen(writer, "wb", buffering=0) as feed:
        stdin = FakeStdin(b"")
        stdin.buffer = stream
        monkeypatch.setattr(sys, "stdin", stdin)
        items = iter_inputs([], files_from="-")

        feed.write(b"a.wav\n")
        first = next(items)
        feed.write(b"b.wav\n")
        second = next(items)

    assert (first.path, second.path) == ("a.wav", "b.wav")


def test_a_missing_or_empty_list_is_a_failure(folder):
    touch("empty")

    assert failure(expand_inputs([], files_from="none")).message == "none: no such file"
    assert failure(expand_inputs([], files_from="empty")).message == "empty: names no files"


def test_standard_input_is_not_taken_twice():
    with pytest.raises(UsageError, match="both"):
        expand_inputs(["-"], files_from="-")


def test_a_list_from_a_terminal_is_a_usage_error(monkeypatch):
    monkeypatch.setattr(sys, "stdin", FakeStdin(b"", is_terminal=True))

    with pytest.raises(UsageError, match="terminal"):
        expand_inputs([], files_from="-")


# Manifests


def test_a_jsonl_manifest_gives_parts_texts_and_names(folder):
    Path("data").mkdir()
    lines = (
        '{"audio_filepath": "sub/a.wav", "text": "one", "offset": 1.5, "duration": 2, "id": "x"}\n'
        "\n"
        '{"audio_filepath": "/b.wav", "other": [1]}\n'
    )

    items = expand_manifest("data/all.jsonl", lines)

    assert items == [
        AudioInput("data/sub/a.wav", 1.5, 2.0, "x", "one", "sub/a.wav"),
        AudioInput("/b.wav", 0.0, None, "/b.wav", None, "b.wav"),
    ]


@pytest.mark.parametrize(
    ("path", "separator"), [("all.csv", ","), ("all.tsv", "\t"), ("ALL.CSV", ",")]
)
def test_a_table_gives_the_same(folder, path, separator):
    rows = [["id", "audio_filepath", "offset", "duration", "text"], ["x", "a.wav", "1.5", "2", "o"]]
    rows.append(["", "b.wav", "", "", ""])

    items = expand_manifest(path, "\r\n".join(separator.join(row) for row in rows))

    assert items == [
        AudioInput("a.wav", 1.5, 2.0, "x", "o", "a.wav"),
        AudioInput("b.wav", 0.0, None, "b.wav", "", "b.wav"),
    ]


def test_csv_has_quotes_and_tsv_has_none(folder):
    (csv_item,) = expand_manifest("a.csv", 'audio_filepath,text\na.wav,"yes, ""she"" said"\n')
    (tsv_item,) = expand_manifest("a.tsv", 'audio_filepath\ttext\na.wav\t"yes\n')

    assert csv_item.text == 'yes, "she" said'
    assert tsv_item.text == '"yes'


def test_columns_can_have_other_names(folder):
    content = "path\tsentence\tclient\na.wav\thello\tc1\n"

    items = expand_manifest(
        "all.tsv", content, audio_column="path", text_column="sentence", id_column="client"
    )

    assert items == [AudioInput("a.wav", id="c1", text="hello", name="a.wav")]


def test_a_byte_order_mark_is_no_part_of_a_name(folder):
    json_items = expand_manifest("a.jsonl", b'\xef\xbb\xbf{"audio_filepath": "\xc3\xa4.wav"}')
    csv_items = expand_manifest("a.csv", b"\xef\xbb\xbfaudio_filepath\n\xc3\xa4.wav\n")

    assert paths(json_items) == paths(csv_items) == ["ä.wav"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON (Expecting property name enclosed in double quotes)"),
        ("[1]", "found a list, expected a JSON object"),
        ('"a.wav"', 'found "a.wav", expected a JSON object'),
        ("{}", "no field 'audio_filepath', found nothing"),
        ('{"path": "a"}', "no field 'audio_filepath', found path"),
        ('{"audio_filepath": 5}', "audio_filepath is 5, expected a path"),
        ('{"audio_filepath": ""}', 'audio_filepath is "", expected a path'),
        ('{"audio_filepath": "a\\u0000"}', "audio_filepath is "),
        ('{"audio_filepath": "a", "text": 5}', "text is 5, expected text"),
        ('{"audio_filepath": "a", "id": []}', "id is a list, expected a name"),
        ('{"audio_filepath": "a", "offset": -1}', "offset is -1, expected seconds from 0"),
        ('{"audio_filepath": "a", "offset": NaN}', "offset is nan, expected seconds from 0"),
        ('{"audio_filepath": "a", "offset": "1"}', 'offset is "1", expected a number of seconds'),
        ('{"audio_filepath": "a", "offset": true}', "offset is true, expected a number"),
        ('{"audio_filepath": "a", "duration": 0}', "duration is 0, expected seconds above 0"),
        ('{"audio_filepath": "a", "duration": Infinity}', "duration is inf, expected seconds"),
        ('{"audio_filepath": "a", "duration": 1' + "0" * 400 + "}", "duration is inf"),
        ('{"audio_filepath": "a\\ud800"}', "not UTF-8"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_bad_line_names_itself_and_leaves_the_others(folder, line, message):
    good = '{"audio_filepath": "a.wav"}'

    first, bad, last = expand_manifest("all.jsonl", f"{good}\n{line}\n{good}\n")

    assert bad.source == "all.jsonl:2"
    assert isinstance(bad.error, ManifestError)
    assert bad.error.message.startswith(f"all.jsonl:2: {message}")
    assert first == last == AudioInput("a.wav", id="a.wav", name="a.wav")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a,1,2", "found 3 columns, expected 2"),
        ("a", "found 1 columns, expected 2"),
        (",1", 'audio_filepath is "", expected a path'),
        ("a,x", 'offset is "x", expected a number of seconds'),
        ("a,-1", "offset is -1, expected seconds from 0"),
        ("a,nan", "offset is nan, expected seconds from 0"),
        ('"a"b,1', "not a table row"),
    ],
)
def test_a_bad_row_names_itself_and_leaves_the_others(folder, row, message):
    first, bad, last = expand_manifest("a.csv", f"audio_filepath,offset\nx,0\n{row}\ny,0\n")

    assert bad.error.message.startswith(f"a.csv:3: {message}")
    assert paths([first, last]) == ["x", "y"]


def test_a_row_after_a_cell_of_two_lines_has_its_own_number(folder):
    content = 'audio_filepath,text\na.wav,"one\ntwo"\nb.wav,1,2\n'

    assert expand_manifest("a.csv", content)[1].source == "a.csv:4"


def test_a_table_without_the_column_says_what_it_has(folder):
    error = failure(expand_manifest("a.csv", "path,text\na.wav,hello\n"))

    assert error.message == "a.csv:1: no column 'audio_filepath', found path, text"
    assert "--audio-column" in error.hint


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.tsv"])
def test_another_encoding_is_named(folder, name):
    utf16 = failure(expand_manifest(name, "audio_filepath\na.wav\n".encode("utf-16")))

    assert "iconv -f UTF-16" in utf16.hint


def test_a_line_in_latin_1_leaves_the_others(folder):
    lines = ['{"audio_filepath": "a.wav"}', '{"audio_filepath": "ä.wav"}'] * 2

    items = expand_manifest("a.jsonl", "\n".join(lines).encode("latin-1"))

    assert [isinstance(item, FailedInput) for item in items] == [False, True] * 2
    assert items[1].error.message == "a.jsonl:2: not UTF-8"


@pytest.mark.parametrize("content", ["", "\n\n", "audio_filepath\n"])
def test_an_empty_manifest_is_a_failure(folder, content):
    assert failure(expand_manifest("a.csv", content)).message == "a.csv: holds no inputs"


def test_a_path_that_climbs_gives_a_name_that_does_not(folder):
    (item,) = expand_manifest("all.jsonl", '{"audio_filepath": "../../up/a.wav"}')

    assert (item.path, item.name) == ("../../up/a.wav", "a.wav")


def test_a_hundred_thousand_lines_take_seconds_at_most(folder):
    lines = (
        json.dumps({"audio_filepath": f"{n}.wav", "text": "some words", "duration": 1.5})
        for n in range(100_000)
    )
    Path("all.jsonl").write_text("\n".join(lines))

    start = time.process_time()
    items = expand_inputs(["all.jsonl"])

    assert len(items) == 100_000
    assert time.process_time() - start < 20


def test_a_manifest_is_read_as_it_is_used(folder):
    Path("all.jsonl").write_text('{"audio_filepath": "a.wav"}\n' * 1000)

    items = iter_inputs(["all.jsonl", "missing.wav"])

    assert next(items).path == "a.wav"
