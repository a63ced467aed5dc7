"""Command-line arguments to inputs: files, directories, globs, lists and manifests.

Nothing here looks inside a sound file. Whatever is wrong with one argument, one line of a list or
one row of a manifest becomes a `FailedInput` in its place, and all others go on.
"""

from __future__ import annotations

import csv
import glob
import itertools
import json
import math
import os
import stat
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePath
from typing import IO, Any

from asrkit.errors import AsrkitError, InputError, ManifestError, UsageError
from asrkit.types import AudioInput

AUDIO_SUFFIXES = frozenset(
    ".3g2 .3gp .aac .ac3 .aif .aifc .aiff .amr .ape .asf .au .avi .caf .dsf .dts .eac3 .flac .flv"
    " .gsm .m2ts .m4a .m4b .m4v .mka .mkv .mov .mp1 .mp2 .mp3 .mp4 .mpc .mpeg .mpg .mts .mxf .nist"
    " .oga .ogg .ogv .opus .ra .rf64 .rm .snd .sph .spx .tta .ts .voc .vob .w64 .wav .wave .weba"
    " .webm .wma .wmv .wv".split()
)
MANIFEST_SUFFIXES = frozenset([".jsonl", ".csv", ".tsv"])
STDIN_NAME = "stdin"
_BYTES_PER_SECOND = 32_000  # 16 bits at 16 kHz

_LIST_HINTS = {
    ".json": "a manifest with one JSON object per line is read when its name ends in .jsonl",
    ".txt": "--files-from reads one path per line",
    ".lst": "--files-from reads one path per line",
}


@dataclass(frozen=True)
class FailedInput:
    """What cannot be read, in the place of what it would have been.

    Attributes:
        source: the argument, or file:line of a list or manifest.
        error: why.
        id: the name of the input in results; the source when nothing else is given.
    """

    source: str
    error: AsrkitError
    id: str = ""


@dataclass(frozen=True)
class _Wanted:
    """What the inputs are: audio, and names of a manifest's fields; or texts, by their suffixes."""

    audio: str = "audio_filepath"
    text: str = "text"
    id: str = "id"
    offset: str = "offset"
    duration: str = "duration"
    texts: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """For messages."""
        return "transcript" if self.texts else "audio"

    def has(self, path: str) -> bool:
        """Whether a file is one of those by its suffix."""
        return path.lower().endswith(self.texts) if self.texts else _suffix(path) in AUDIO_SUFFIXES


def size_of(item: AudioInput | FailedInput) -> float:
    """Bytes of a file; of a part of one as many as plain audio has; 0 where there is none."""
    if isinstance(item, FailedInput):
        return 0.0
    if item.duration is not None:
        return item.duration * _BYTES_PER_SECOND
    try:
        return float(os.path.getsize(item.path))
    except (OSError, ValueError):
        return 0.0


def iter_inputs(
    arguments: Sequence[str],
    *,
    recursive: bool = False,
    files_from: str | None = None,
    audio_column: str = "audio_filepath",
    text_column: str = "text",
    id_column: str = "id",
) -> Iterator[AudioInput | FailedInput]:
    """Expand arguments in their order, then a list; nothing is dropped for being there twice.

    Args:
        arguments: files, manifests (.jsonl .csv .tsv), "-", and with `recursive` directories; what
            names no file and holds * ? or [ is a pattern, in which ** spans directories.
        recursive: take the audio files below a directory, sorted, hidden ones excepted.
        files_from: a file, or "-", with one path per line, or NUL-separated; no patterns in it.
        audio_column: field of a manifest that holds the path, relative to the manifest's folder.
        text_column: field that holds the reference text.
        id_column: field that names the input in results.

    Raises:
        UsageError: there is nothing to expand, or standard input is needed twice.
    """
    if not arguments and files_from is None:
        raise UsageError("no input given", hint="name a file, or - for standard input")
    if files_from == "-" and "-" in arguments:
        raise UsageError("standard input cannot be both audio and --files-from")
    if files_from == "-" and (sys.stdin is None or sys.stdin.isatty()):
        raise UsageError(
            "standard input is a terminal, expected paths",
            hint="find . -name '*.wav' -print0 | asrkit transcribe --files-from -",
        )
    wanted = _Wanted(audio_column, text_column, id_column)
    return _expand_all(arguments, files_from, recursive, wanted)


def iter_texts(
    arguments: Sequence[str], suffixes: Iterable[str], *, recursive: bool = False
) -> Iterator[AudioInput | FailedInput]:
    """Expand arguments that name texts, as `iter_inputs` does; tables are themselves inputs.

    Args:
        arguments: files, "-", patterns, and with `recursive` directories.
        suffixes: in lower case, of the files to take below a directory.
        recursive: take the files below a directory.
    """
    return _expand_all(arguments, None, recursive, _Wanted(texts=tuple(suffixes)))


def _expand_all(
    arguments: Sequence[str], files_from: str | None, recursive: bool, wanted: _Wanted
) -> Iterator[AudioInput | FailedInput]:
    for argument in arguments:
        if argument == "-":
            yield AudioInput("-", id="-", name=STDIN_NAME)
        elif _is_pattern(argument) and not os.path.lexists(argument):
            yield from _expand_pattern(argument, recursive, wanted)
        else:
            yield from _expand_path(argument, recursive, wanted)
    if files_from is not None:
        yield from _expand_list(files_from, recursive, wanted)


def _expand_path(
    path: str, recursive: bool, wanted: _Wanted, root: str | None = None
) -> Iterator[AudioInput | FailedInput]:
    """A file, manifest or directory; `root` is the folder that output names begin below."""
    path = _not_stdin(path)
    suffix = os.path.splitext(path)[1].lower()
    try:
        is_directory = stat.S_ISDIR(os.stat(path).st_mode)
    except (OSError, ValueError) as error:
        yield FailedInput(path, _unusable(path, error))
        return
    if is_directory:
        yield from _expand_directory(path, recursive, wanted, root)
    elif suffix in MANIFEST_SUFFIXES and not wanted.texts:
        yield from _read_manifest(path, suffix, wanted)
    elif suffix in _LIST_HINTS and not wanted.texts:
        yield FailedInput(
            path, InputError(f"{_shown(path)}: is not audio", hint=_LIST_HINTS[suffix])
        )
    else:
        yield AudioInput(path, id=path, name=_name_below(path, root))


def _expand_directory(
    directory: str, recursive: bool, wanted: _Wanted, root: str | None
) -> Iterator[AudioInput | FailedInput]:
    if not recursive:
        error = InputError(
            f"{_shown(directory)}: is a directory",
            hint=f"-r takes all {wanted.kind} files below it",
        )
        yield FailedInput(directory, error)
        return

    problems: list[OSError] = []
    paths: list[str] = []
    for folder, folders, files in os.walk(directory, onerror=problems.append):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths += (
            os.path.join(folder, name)
            for name in files
            if not name.startswith(".") and wanted.has(name)
        )
    for problem in problems:
        source = os.fsdecode(problem.filename) if problem.filename else directory
        yield FailedInput(source, _unusable(source, problem))
    if not paths and not problems:
        error = InputError(
            f"{_shown(directory)}: holds no {wanted.kind} files",
            hint="they are known by their suffix; name others one by one, or by a pattern",
        )
        yield FailedInput(directory, error)
    for path in sorted(paths, key=lambda path: PurePath(path).parts):
        yield AudioInput(path, id=path, name=_name_below(path, directory if root is None else root))


def _expand_pattern(
    pattern: str, recursive: bool, wanted: _Wanted
) -> Iterator[AudioInput | FailedInput]:
    """Files that match; a pattern without a suffix takes those whose suffix is known."""
    suffix = os.path.splitext(pattern)[1]
    takes_all = bool(suffix) and not _is_pattern(suffix)
    paths = [
        path
        for path in sorted(
            glob.glob(pattern, recursive=True), key=lambda path: PurePath(path).parts
        )
        if takes_all
        or wanted.has(path)
        or (_suffix(path) in MANIFEST_SUFFIXES and not wanted.texts)
        or _is_folder(path)
    ]
    if "**" in pattern or not recursive:
        paths = [path for path in paths if not _is_folder(path)]
    if not paths:
        error = InputError(
            f"{_shown(pattern)}: matches no {wanted.kind} file",
            hint="* stays within a directory, ** spans directories",
        )
        yield FailedInput(pattern, error)
    root = _literal_root(pattern)
    for path in paths:
        yield from _expand_path(path, recursive, wanted, root)


def _expand_list(
    list_path: str, recursive: bool, wanted: _Wanted
) -> Iterator[AudioInput | FailedInput]:
    name = "standard input" if list_path == "-" else list_path
    try:
        with _open_list(list_path) as stream:
            num_paths = 0
            for path in _records(stream):
                num_paths += 1
                yield from _expand_path(path, recursive, wanted)
    except (OSError, ValueError) as error:
        yield FailedInput(name, _unusable(name, error))
        return
    if not num_paths:
        yield FailedInput(name, InputError(f"{_shown(name)}: names no files"))


@contextmanager
def _open_list(path: str) -> Iterator[IO[bytes]]:
    if path != "-":
        with open(path, "rb") as stream:
            yield stream
    else:
        yield sys.stdin.buffer


def _records(stream: IO[bytes]) -> Iterator[str]:
    """Paths as they arrive, so that a program may feed them one at a time."""
    read = getattr(stream, "read1", stream.read)
    data = read(1 << 16)
    separator = b"\0" if b"\0" in data else b"\n"
    data = data.removeprefix(b"\xef\xbb\xbf")
    rest = b""
    while data:
        *lines, rest = (rest + data).split(separator)
        yield from _paths(lines, separator)
        data = read(1 << 16)
    yield from _paths([rest], separator)


def _paths(lines: Iterable[bytes], separator: bytes) -> Iterator[str]:
    for line in lines:
        path = line.removesuffix(b"\r") if separator == b"\n" else line
        if path.strip():
            yield os.fsdecode(path)


def read_rows(
    stream: IO[str], path: str, *, is_jsonl: bool, is_tsv: bool | None = None
) -> Iterator[tuple[int, dict[str, Any] | ManifestError]]:
    """The rows of a table as they stand there, whatever its columns are.

    Args:
        stream: the table.
        path: names it in messages; "" where their reader adds the name.
        is_jsonl: it holds one JSON object a line.
        is_tsv: else, it is tab-separated and not comma-separated; None looks at `path`.

    Yields:
        The line number of each row with its fields, or with what is wrong with it.
    """
    if is_jsonl:
        return _read_jsonl(stream, path, _Wanted())
    return _read_table(stream, path, None, is_tsv=is_tsv)


def _read_manifest(path: str, suffix: str, columns: _Wanted) -> Iterator[AudioInput | FailedInput]:
    rows = _read_jsonl if suffix == ".jsonl" else _read_table
    num_rows = 0
    try:
        # Bytes that are not UTF-8 become surrogates: they fail their own line and no other.
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
            for line, row in rows(stream, path, columns):
                num_rows += 1
                try:
                    if isinstance(row, ManifestError):
                        raise row
                    yield _manifest_input(row, f"{_shown(path)}:{line}", path, columns)
                except ManifestError as error:
                    yield FailedInput(f"{path}:{line}", error)
    except OSError as error:
        yield FailedInput(path, _unusable(path, error))
        return
    if not num_rows:
        yield FailedInput(path, ManifestError(f"{_shown(path)}: holds no inputs"))


def _read_jsonl(
    stream: IO[str], path: str, columns: _Wanted
) -> Iterator[tuple[int, dict[str, Any] | ManifestError]]:
    for line, text in enumerate(stream, start=1):
        if not text.strip():
            continue
        place = _place(path, line)
        error = _encoding_error(text, place)
        if error is not None:
            yield line, error
            if "\0" in text:
                return  # every further line of UTF-16 would say the same
            continue
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as problem:
            reason = problem.msg if isinstance(problem, json.JSONDecodeError) else str(problem)
            yield (
                line,
                ManifestError(
                    f"{place}: not JSON ({reason}), expected one object per line",
                    hint=f'such as {{"{columns.audio}": "a.wav", "{columns.text}": "hello"}}',
                ),
            )
            continue
        if isinstance(row, dict):
            yield line, row
        else:
            yield line, ManifestError(f"{place}: found {_kind(row)}, expected a JSON object")


def _read_table(
    stream: IO[str], path: str, columns: _Wanted | None, *, is_tsv: bool | None = None
) -> Iterator[tuple[int, dict[str, Any] | ManifestError]]:
    """CSV with quotes as RFC 4180 has them; TSV without, for transcripts hold single quotes.

    Without columns, any header will do and all cells stay text.
    """
    first = stream.readline()
    error = _encoding_error(first, _place(path, 1))
    if error is not None:
        yield 1, error
        return
    is_tsv = _suffix(path) == ".tsv" if is_tsv is None else is_tsv
    reader = csv.reader(
        itertools.chain([first], stream),
        delimiter="\t" if is_tsv else ",",
        quoting=csv.QUOTE_NONE if is_tsv else csv.QUOTE_MINIMAL,
        strict=True,
    )
    header: list[str] | None = None
    while True:
        line = reader.line_num + 1
        place = _place(path, line)
        try:
            row = next(reader, None)
        except csv.Error as problem:
            yield line, ManifestError(f"{place}: not a table row ({problem})")
            if header is None:
                return
            continue
        if row is None:
            return
        if not any(cell.strip() for cell in row):
            continue
        error = _encoding_error("".join(row), place)
        if header is None:
            if columns is not None and columns.audio not in row:
                yield (
                    line,
                    error
                    or ManifestError(
                        f"{place}: no column {columns.audio!r}, found {', '.join(row)}",
                        hint="--audio-column names the column that holds the paths",
                    ),
                )
                return
            header = row
        elif error is not None:
            yield line, error
        elif len(row) != len(header):
            yield (
                line,
                ManifestError(f"{place}: found {len(row)} columns, expected {len(header)}"),
            )
        else:
            cells: dict[str, Any] = dict(zip(header, row, strict=True))
            yield line, cells if columns is None else _numbers_parsed(cells, columns)


def _numbers_parsed(row: dict[str, Any], columns: _Wanted) -> dict[str, Any]:
    """A table's cells as JSON would hold them: numbers as numbers, nothing as None."""
    for column in (columns.offset, columns.duration):
        cell = row.get(column)
        if cell is None:
            continue
        try:
            row[column] = float(cell) if cell.strip() else None
        except ValueError:
            continue  # stays text, which is then reported
    if row.get(columns.id) == "":
        row[columns.id] = None
    return row


def _manifest_input(row: dict[str, Any], place: str, manifest: str, columns: _Wanted) -> AudioInput:
    path = row.get(columns.audio)
    if columns.audio not in row:
        found = ", ".join(map(str, row)) or "nothing"
        raise ManifestError(
            f"{place}: no field {columns.audio!r}, found {found}",
            hint="--audio-column names the field that holds the path",
        )
    if not isinstance(path, str) or not path.strip() or "\0" in path:
        raise ManifestError(f"{place}: {columns.audio} is {_kind(path)}, expected a path")
    text = row.get(columns.text)
    if text is not None and not isinstance(text, str):
        raise ManifestError(f"{place}: {columns.text} is {_kind(text)}, expected text")
    id_ = row.get(columns.id)
    if id_ is not None and (isinstance(id_, bool) or not isinstance(id_, (str, int)) or id_ == ""):
        raise ManifestError(f"{place}: {columns.id} is {_kind(id_)}, expected a name")
    error = _encoding_error(f"{path}{text}{id_}", place)  # JSON may escape half a character
    if error is not None:
        raise error
    offset = _number(row, columns.offset, place)
    duration = _number(row, columns.duration, place)
    used = {columns.audio, columns.text, columns.id, columns.offset, columns.duration}
    if duration == 0:
        raise ManifestError(f"{place}: {columns.duration} is 0, expected seconds above 0")
    # An absolute path stays as it is.
    full_path = _not_stdin(os.path.join(os.path.dirname(manifest), path))
    return AudioInput(
        full_path,
        offset=offset or 0.0,
        duration=duration,
        id=full_path if id_ is None else str(id_),
        text=text,
        name=_name_below(path, "" if not os.path.isabs(path) else None),
        labels=labels_of(row, used),
    )


def labels_of(row: Mapping[str, Any], used: Collection[str]) -> dict[str, str]:
    """The other fields of a row, as text: speaker, data set, whatever there is to group by."""
    return {
        name: str(value)
        for name, value in row.items()
        if name not in used and isinstance(value, (str, int, float))
    }


def _number(row: dict[str, Any], column: str, place: str) -> float | None:
    value = row.get(column)
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            seconds = float(value)
        except OverflowError:
            seconds = math.inf
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
        raise ManifestError(f"{place}: {column} is {seconds:g}, expected seconds from 0")
    raise ManifestError(f"{place}: {column} is {_kind(value)}, expected a number of seconds")


def _encoding_error(text: str, place: str) -> ManifestError | None:
    """Why decoded text cannot be what its writer meant."""
    if "\0" in text:
        return ManifestError(
            f"{place}: holds NUL characters, expected UTF-8 text",
            hint="from UTF-16: iconv -f UTF-16 -t UTF-8",
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        return ManifestError(
            f"{place}: not UTF-8", hint="from Latin-1: iconv -f ISO-8859-1 -t UTF-8"
        )
    return None


def _kind(value: object) -> str:
    """A JSON value for a message: its kind, and itself if it is short."""
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    shown = json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= 40 else shown[:37] + "..."


def _unusable(path: str, error: OSError | ValueError) -> InputError:
    name = _shown(path)
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        if "://" in path:
            hint = f"addresses are not opened: curl -L {path} | asrkit transcribe -"
        elif os.path.islink(path):
            hint = "it is a link to something that is not there"
        else:
            hint = "paths are relative to the current folder"
        return InputError(f"{name}: no such file", hint=hint)
    if isinstance(error, PermissionError):
        return InputError(f"{name}: permission denied", hint="see who may read it: ls -l")
    return InputError(f"{name}: cannot be read: {getattr(error, 'strerror', None) or error}")


def _name_below(path: str, root: str | None) -> str:
    """A relative path with forward slashes that never leaves the folder it is put in.

    On Windows names leave it that are not absolute: of the current folder of a drive, as C:name.
    """
    relative = os.path.basename(path) if root is None else path
    if root:
        relative = os.path.relpath(path, root)
    name = os.path.normpath(relative).replace(os.sep, "/")
    if PurePath(relative).anchor or name.split("/")[0] == "..":
        return os.path.basename(path)
    return name


def _literal_root(pattern: str) -> str:
    """The folders of a pattern before the first that holds a wildcard."""
    parts = PurePath(pattern).parts[:-1]
    literal = []
    for part in parts:
        if _is_pattern(part):
            break
        literal.append(part)
    return os.path.join(*literal) if literal else ""


def _is_pattern(text: str) -> bool:
    return any(character in text for character in "*?[")


def _not_stdin(path: str) -> str:
    """A file may be called "-"; only an argument means standard input by it."""
    return os.path.join(os.curdir, path) if path == "-" else path


def _is_folder(path: str) -> bool:
    return os.path.isdir(path)


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _place(path: str, line: int) -> str:
    """Where a row stands, for a message."""
    return f"{_shown(path)}:{line}" if path else f"line {line}"


def _shown(path: str) -> str:
    """A path on one line."""
    return path if path.isprintable() else repr(path)
