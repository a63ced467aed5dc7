"""Which inputs of a batch are done: a file with one line an input, so that a stopped run can go on.

A line is a JSON object: a key of the input's name and of all settings, what identifies the content
of its file, and whatever else the run keeps. It is appended in one write, after the result is where
it belongs: wherever a run is killed, an input is done or will be done again. A line that was cut
off counts as nothing. After a power cut the lines that had not reached the disk are done again.
One run at a time holds the file.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, BinaryIO

from asrkit import __version__
from asrkit.errors import AsrkitError, OutputError, UsageError
from asrkit.inputs import FailedInput
from asrkit.outputs import Target, encode
from asrkit.types import AudioInput

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

# Options that change how a result is made, and not the result.
_WITHOUT_EFFECT = {"batch_seconds", "batch_size", "device", "cache_dir", "offline"}
_NAME = ".asrkit-state"
_BEYOND = 2**31 - 2  # the end of any file of lines
_DONE_BEFORE = AsrkitError("done before")
_Place = tuple[Path, int]  # a file of lines, and where one begins


class Journal:
    """The inputs of a run, and which of them are done: by an earlier run with the same settings.

    Args:
        inputs: all of them, in order.
        path: the file, which need not exist; None keeps nothing, and nothing is done.
        settings: whatever changes a result: dataclasses, or JSON.
        outputs: gives the files of an input; one of which a file is gone or other is not done.
        others: more files of lines, written by other parts of the same batch.
        is_dry: only look; otherwise the file is this run's until `close`.

    Raises:
        UsageError: standard input is among the inputs: it cannot be heard again.
        OutputError: a file cannot be used, or another run is using it.
    """

    def __init__(
        self,
        inputs: Sequence[AudioInput | FailedInput],
        path: Path | None = None,
        settings: object = None,
        *,
        outputs: Callable[[AudioInput | FailedInput], Iterable[Path]] = lambda item: (),
        others: Iterable[Path] = (),
        is_dry: bool = False,
    ) -> None:
        self.inputs = inputs
        self._path = path
        self._release: Callable[[], object] = lambda: None
        self._settings = ""
        self._outputs = outputs
        self._done: dict[int, _Place] = {}
        self._reading: dict[int, list[int]] = {}  # inputs on their way: their files as they were
        if path is None:
            return
        if any(isinstance(item, AudioInput) and item.path == "-" for item in inputs):
            raise UsageError("standard input cannot be read again where a run goes on")
        if not is_dry:
            self._release = weakref.finalize(self, os.close, _held(path))
        self._settings = _digest([__version__, settings])
        lines = {key: place for file in (*others, path) for key, place in _read_lines(file)}
        for index, item in enumerate(inputs):
            if isinstance(item, AudioInput) and (place := lines.get(self._key(item))):
                files = self._files_of(item)
                then = _read_line(place)["files"]
                if len(files) == len(then) and all(map(_is_unchanged, files, then)):
                    self._done[index] = place

    @classmethod
    def beside(
        cls,
        target: Target,
        inputs: Sequence[AudioInput | FailedInput],
        settings: object,
        *,
        part: str = "",
        also: Callable[[AudioInput | FailedInput], Mapping[str, Path]] | None = None,
        **options: Any,
    ) -> Journal:
        """That of results in files: in their directory, or next to the file of all.

        Args:
            target: where results go.
            inputs: all of them, in order.
            settings: whatever changes a result, besides its formats.
            part: names the part of a batch whose parts write to one directory.
            also: gives more outputs of an input.
            **options: as of the class.

        Raises:
            UsageError: results go to standard output, or to a file that is not written bit by bit.
            OutputError: a file cannot be used.
        """
        (name, *_) = target.formats
        others: list[Path] = []
        if target.directory is not None:
            path = target.directory / f"{_NAME}{part}.jsonl"
            others = sorted(target.directory.glob(f"{_NAME}*.jsonl"))
        elif target.file is None:
            raise UsageError(
                "results on standard output are not kept, so no run can go on with them",
                hint="-o names a directory, or a file",
            )
        elif not target.registry[name].is_text:
            raise UsageError(
                f"{target.file}: {name} of many inputs is written at the end, not bit by bit",
                hint="-o DIR/ writes one file an input; jsonl grows",
            )
        else:
            path = target.file.with_name(target.file.name + ".state")

        def outputs(item: AudioInput | FailedInput) -> Iterable[Path]:
            return [*target.files(item).values(), *(also(item).values() if also else ())]

        settings = [settings, target.formats, target.is_single, target.directory is None]
        return cls(inputs, path, settings, outputs=outputs, others=others, **options)

    def __contains__(self, index: int) -> bool:
        """Whether the input with this index is done."""
        return index in self._done

    def __len__(self) -> int:
        """How many inputs are done."""
        return len(self._done)

    @property
    def is_kept(self) -> bool:
        """Whether there is a file for it."""
        return self._path is not None

    def pending(self) -> Iterator[AudioInput | FailedInput]:
        """All inputs in order, for a stream of results; where one is done, a failure in its place.

        The file of an input is looked at when the input is asked for, before it is read.
        """
        for index, item in enumerate(self.inputs):
            if index in self._done:
                yield FailedInput(item.source, _DONE_BEFORE, item.id)
                continue
            if self._path is not None and (state := _state(item.source)):
                self._reading[index] = state
            yield item

    def row(self, index: int) -> dict[str, Any]:
        """What was kept of an input that is done."""
        return _read_line(self._done[index])

    def add(self, index: int, **kept: Any) -> None:
        """Note that an input is done, unless its file has changed since it was read.

        Args:
            index: of the input.
            **kept: what else the line is to hold, as JSON.

        Raises:
            OutputError: the line cannot be written.
        """
        state = self._reading.pop(index, None)
        if self._path is None or state is None or index in self._done:
            return
        item = self.inputs[index]
        assert isinstance(item, AudioInput)  # for the type checker; failures have no results
        files = [_state_and_hash(path) for path in self._files_of(item)]
        if None in files or (files[0] or [])[:2] != state:
            return
        row = {"audio": item.path} | kept | {"key": self._key(item), "files": files}
        line = encode(json.dumps(row, ensure_ascii=False) + "\n")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with open(self._path, "a+b") as file:
                file.write(b"\n" + line if _is_cut_off(file) else line)
        except OSError as error:
            raise OutputError(
                f"{self._path}: cannot be written: {error.strerror or error}"
            ) from error

    def close(self) -> None:
        """Let another run have the file."""
        self._release()

    def _files_of(self, item: AudioInput) -> list[str | Path]:
        return [item.path, *self._outputs(item)]

    def _key(self, item: AudioInput) -> str:
        name = [item.path, item.offset, item.duration, item.id, item.name, item.text]
        return _digest([self._settings, name])


def _held(path: Path) -> int:
    """A file that no other run holds, open until it is closed or the process ends."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
    try:
        if sys.platform == "win32":
            os.lseek(handle, _BEYOND, os.SEEK_SET)  # what is locked can be neither read nor written
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        os.close(handle)
        raise OutputError(
            f"{path}: another run is using it",
            hint="wait for its end, or name another -o; --shard divides a batch between runs",
        ) from error
    except OSError:
        pass  # a file system without locks
    return handle


def _read_lines(path: Path) -> Iterator[tuple[str, _Place]]:
    """The key of each line that can be used, and its place."""
    if not path.exists():
        return
    start = 0
    try:
        with open(path, "rb") as file:
            for line in file:
                try:
                    row = _parse(line)
                    if isinstance(row["key"], str) and isinstance(row["files"], list):
                        yield row["key"], (path, start)
                except (KeyError, TypeError, ValueError, RecursionError):
                    pass  # cut off, or of something else
                start += len(line)
    except OSError as error:
        raise OutputError(f"{path}: cannot be read: {error.strerror or error}") from error


def _is_cut_off(file: BinaryIO) -> bool:
    """Whether the last line of a file has no end."""
    if not file.seek(0, os.SEEK_END):
        return False
    file.seek(-1, os.SEEK_END)
    return file.read() != b"\n"


def _read_line(place: _Place) -> dict[str, Any]:
    path, start = place
    try:
        with open(path, "rb") as file:
            file.seek(start)
            return _parse(file.readline())
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: has changed while it was in use") from error


def _parse(line: bytes) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(line.decode("utf-8", "surrogateescape"))
    return row


def _digest(value: object) -> str:
    """Twelve bytes of the hash of a value, as hexadecimal digits."""
    text = json.dumps(value, sort_keys=True, default=_as_json)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _as_json(value: Any) -> Any:
    if not is_dataclass(value):
        return str(value)  # a path
    names = [item.name for item in fields(value) if item.name not in _WITHOUT_EFFECT]
    return {name: getattr(value, name) for name in names}


def file_state(path: str | Path) -> list[Any]:
    """What changes when a file does, or any file of a folder."""
    files = [path]
    if os.path.isdir(path):
        files = [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names]
    return [[os.path.relpath(file, path), _state(file)] for file in sorted(files)]


def _state(path: str | Path) -> list[int] | None:
    """Size and time of a file; None for what is none, such as a pipe."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return [status.st_size, status.st_mtime_ns] if stat.S_ISREG(status.st_mode) else None


def _state_and_hash(path: str | Path) -> list[Any] | None:
    state = _state(path)
    if state is None:
        return None
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError:
        return None
    return [*state, digest.hexdigest()[:32]]


def _is_unchanged(path: str | Path, then: Any) -> bool:
    """Whether a file has the same size, and the same time or else the same bytes."""
    state = _state(path)
    if state is None or not isinstance(then, list) or state[:1] != then[:1]:
        return False
    return state == then[:2] or (_state_and_hash(path) or [])[2:] == then[2:]
