"""Where results go: names of output files, clashes found beforehand, whole files or none."""

from __future__ import annotations

import errno
import io
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from asrkit.errors import OutputError, UsageError
from asrkit.formats import FORMATS, Registry, error_row
from asrkit.inputs import FailedInput
from asrkit.types import AudioInput, Embedding

if TYPE_CHECKING:
    from asrkit.resume import Journal

EMISSION_SUFFIXES = {"npy": ".npy", "json": ".json"}
_TEMPORARY = re.compile(r"\.(.+)\.\w{8}~", re.DOTALL)  # as tempfile makes them below
# Temporaries of this process, and the names that they take if it has to end at once.
_unfinished: dict[str, Path | None] = {}


@dataclass(frozen=True)
class Target:
    """Where results go and in which formats.

    Attributes:
        formats: names of formats, at least one; exactly one unless `directory` is given.
        directory: one file for each input and format goes here.
        file: all results go into this file; standard output when this and `directory` are None.
        is_single: there is one input, so that the output is its text alone.
        registry: the formats of this kind of result.
        has_header: the one place begins with the header of its format; later parts do not.
    """

    formats: tuple[str, ...]
    directory: Path | None = None
    file: Path | None = None
    is_single: bool = True
    registry: Registry = FORMATS
    has_header: bool = True

    @classmethod
    def parse(
        cls,
        output: str,
        formats: str | None,
        *,
        is_single: bool,
        default: str = "txt",
        registry: Registry = FORMATS,
        shard: str | None = None,
    ) -> Target:
        """Understand -o and -f together.

        Args:
            output: "-", a file whose suffix is a format's, or a directory.
            formats: comma-separated names; None takes the suffix of `output`, else the default.
            is_single: there is one input.
            default: name of the format that nothing else names.
            registry: the formats of this kind of result.
            shard: "I/N" where these are the results of one part; the first has the header.

        Raises:
            UsageError: they contradict each other.
        """
        path = Path(output)
        by_suffix = {item.suffix.lower(): name for name, item in registry.items()}
        suffix = path.suffix.lower()
        is_directory = output.endswith(("/", os.sep)) or path.is_dir() or not path.suffix
        if output == "-" or (not is_directory and suffix in by_suffix):
            names = registry.parse(formats or by_suffix.get(suffix, default))
            if len(names) > 1:
                raise UsageError(
                    f"{len(names)} formats cannot go to one place ({_place(output)})",
                    hint="-o DIR/ writes one file an input and format",
                )
            if not is_single and not registry[names[0]].is_joinable:
                raise UsageError(
                    f"{names[0]} of several inputs cannot go to one place ({_place(output)})",
                    hint="-o DIR/ writes one file an input; jsonl holds many",
                )
            file = None if output == "-" else path
            has_header = shard is None or shard.startswith("1/")
            return cls(names, None, file, is_single, registry, has_header)
        if not is_directory:
            raise UsageError(
                f"-o {output}: {path.suffix!r} is not a format's suffix ({', '.join(by_suffix)})",
                hint=f"-o {output}/ makes it a directory",
            )
        names = registry.parse(formats or default)
        return cls(names, directory=path, is_single=is_single, registry=registry)

    def check(self, inputs: Sequence[AudioInput | FailedInput], *, has_times: bool) -> None:
        """Refuse what cannot work, before any work is done.

        Raises:
            UsageError: two inputs would write the same file, an output would replace an input, or a
                format needs times and there will be none.
        """
        if not has_times:
            for name in self.formats:
                if self.registry[name].needs_times:
                    raise UsageError(
                        f"{name} needs times, and none were asked for",
                        hint="leave out --timestamps none",
                    )
        if self.directory is not None:
            check_files(inputs, self.directory, self._suffixes)
        elif self.file is not None and _is_read(self.file, inputs):
            raise UsageError(f"{self.file} is an input and would be overwritten")

    def files(self, item: AudioInput | FailedInput) -> dict[str, Path]:
        """The output file of an input in each format, by format; {} where there is none."""
        return {} if self.directory is None else files_of(item, self.directory, self._suffixes)

    @property
    def _suffixes(self) -> dict[str, str]:
        return {name: self.registry[name].suffix for name in self.formats}

    @contextmanager
    def open(
        self, journal: Journal, render: Callable[[Any, str], str]
    ) -> Iterator[Callable[[int, Any], None]]:
        """Get ready to write.

        Args:
            journal: of all inputs; takes note of what is written, and knows what was.
            render: gives the text of a result in the format of a name, header excluded.

        Yields:
            A function that writes the result (or failure) of the input with this index, at once
            and whole. Of an input that was done before it writes what is known.

        Raises:
            OutputError: something cannot be written.
        """
        self._remove_leftovers(journal)
        with ExitStack() as stack:
            stack.callback(journal.close)
            put = self._open_joined(stack)

            def write(index: int, result: Any) -> None:
                if self.directory is None:
                    if index in journal:
                        put(journal.row(index)["output"])
                        return
                    text = self._joined(result, render)
                    put(text)
                    if _is_done(result):
                        journal.add(index, output=text, ok=_is_ok(result))
                elif index not in journal and _is_done(result):
                    for name, path in self.files(journal.inputs[index]).items():
                        text = self.registry[name].header + render(result, name)
                        write_whole(path, encode(text))
                    journal.add(index, ok=_is_ok(result))

            yield write

    @contextmanager
    def open_vectors(self, journal: Journal) -> Iterator[Callable[[int, Any], None]]:
        """As `open`, for embeddings; a file of many is complete when the context ends."""
        if self.directory is None and self.registry[self.formats[0]].is_text:
            with self.open(journal, self._line_of_vector) as write_line:
                yield (
                    lambda index, result: (
                        write_line(index, result) if index in journal or _is_done(result) else None
                    )
                )
            return
        self._remove_leftovers(journal)
        with ExitStack() as stack:
            stack.callback(journal.close)
            add: Callable[[Embedding], None] | None = None

            def write(index: int, result: Any) -> None:
                nonlocal add
                if index in journal or not _is_done(result):
                    return
                if self.directory is not None:
                    for name, path in self.files(journal.inputs[index]).items():
                        with open_whole(path) as file, self.registry[name].write(file) as add_one:
                            add_one(result)
                    journal.add(index)
                    return
                if add is None:  # not before there is something to write
                    stream = (
                        sys.stdout.buffer
                        if self.file is None
                        else stack.enter_context(open_whole(self.file))
                    )
                    add = stack.enter_context(self.registry[self.formats[0]].write(stream))
                    assert add is not None  # for the type checker
                add(result)

            yield write

    def write_text(self, text: str) -> None:
        """Write a result that is one text, whole.

        Raises:
            OutputError: it cannot be written.
        """
        if self.file is None:
            write_stdout(text)
        else:
            write_whole(self.file, encode(text))

    def _remove_leftovers(self, journal: Journal) -> None:
        """What a run that was killed left beside the files of this one."""
        if journal.is_kept:
            names = (
                [self.file]
                if self.file
                else (path for item in journal.inputs for path in self.files(item).values())
            )
            remove_leftovers(names)

    def _open_joined(self, stack: ExitStack) -> Callable[[str], None]:
        """What adds to the one place that all results share; made with the first that it adds."""
        add: Callable[[str], object] | None = None

        def put(text: str) -> None:
            nonlocal add
            if not text:
                return
            if add is None:
                add = write_stdout
                if self.file is not None:
                    file = stack.enter_context(open_whole(self.file, is_growing=True))
                    add = partial(_append, file)
                if self.has_header:
                    add(self.registry[self.formats[0]].header)
            add(text)

        return put

    def _line_of_vector(self, embedding: Embedding, name: str) -> str:
        with io.BytesIO() as file:
            with self.registry[name].write(file) as add:
                add(embedding)
            return file.getvalue().decode("utf-8", "surrogateescape")

    def _joined(self, result: Any, render: Callable[[Any, str], str]) -> str:
        """What one result adds to the place that all results share."""
        (name,) = self.formats
        if isinstance(result, FailedInput):
            return error_row(result.source, result.error, id=result.id) if name == "jsonl" else ""
        text = render(result, name)
        if name == "txt" and not self.is_single:
            prefix = f"{result.id or result.source}\t"
            return "".join(prefix + line for line in text.splitlines(keepends=True))
        return text


def _is_done(result: object) -> bool:
    return not isinstance(result, FailedInput)


def _is_ok(result: object) -> bool:
    """Whether a result passed its checks, where its kind has some."""
    return bool(getattr(result, "is_ok", True))


def files_of(
    item: AudioInput | FailedInput, directory: Path, suffixes: Mapping[str, str]
) -> dict[str, Path]:
    """The files of an input below a directory, by kind; {} of a failed one.

    Args:
        item: `name` gives the path below the directory, so that trees are kept.
        directory: where the files go.
        suffixes: of each kind, with the dot.
    """
    if isinstance(item, FailedInput):
        return {}
    path = directory / item.name
    stem, _ = os.path.splitext(path.name)  # Python 3.14 changed that of pathlib
    return {kind: path.with_name(stem + suffix) for kind, suffix in suffixes.items()}


def check_files(
    inputs: Sequence[AudioInput | FailedInput], directory: Path, suffixes: Mapping[str, str]
) -> None:
    """Refuse files of inputs that would be in each other's way, see `files_of`.

    Raises:
        UsageError: two inputs would write the same file, or an output would replace an input.
    """
    # Hashes, since there may be very many paths; one that is known is looked at closely.
    read = {hash(_place_of(path)) for path in _read_paths(inputs)}
    written: set[int] = set()
    for item in inputs:
        for path in files_of(item, directory, suffixes).values():
            place = _place_of(path)
            if hash(place) in written:
                owner = next(
                    other
                    for other in inputs
                    if place in map(_place_of, files_of(other, directory, suffixes).values())
                )
                if owner is not item:
                    raise UsageError(
                        f"{owner.source} and {item.source} would both write {path}",
                        hint="give them to separate runs with separate directories",
                    )
            if hash(place) in read and _is_read(path, inputs):
                raise UsageError(
                    f"{path} is an input and would be overwritten",
                    hint="choose another directory",
                )
            written.add(hash(place))


def _place_of(path: str | Path) -> str:
    """What the paths of one file have in common: on Windows and macOS, case makes no other file."""
    place = os.path.normcase(os.path.abspath(path))
    return place.casefold() if sys.platform == "darwin" else place


def _is_read(path: Path, inputs: Iterable[AudioInput | FailedInput]) -> bool:
    return _place_of(path) in map(_place_of, _read_paths(inputs))


def _read_paths(inputs: Iterable[AudioInput | FailedInput]) -> Iterator[str]:
    """The path of every file that is read."""
    return (item.path for item in inputs if isinstance(item, AudioInput) and item.path != "-")


def _place(output: str) -> str:
    return "standard output" if output == "-" else output


def encode(text: str) -> bytes:
    """Text as it is written: UTF-8 whatever the locale, and file names as they are."""
    return text.encode("utf-8", "surrogateescape")


def write_stdout(text: str) -> None:
    """Write a result, at once."""
    try:
        sys.stdout.buffer.write(encode(text))
        sys.stdout.buffer.flush()
    except OSError as error:
        if os.name == "nt" and error.errno == errno.EINVAL:  # so says Windows of a closed pipe
            raise BrokenPipeError from error
        raise


def _append(file: BinaryIO, text: str) -> None:
    """Write a text at the end of a file without a buffer, all of it or nothing."""
    size, data = file.tell(), encode(text)
    try:
        while data:
            data = data[file.write(data) :]
    except BaseException:
        file.truncate(size)
        raise


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that appears under its name only when it is complete.

    Raises:
        OutputError: the file or its folder cannot be written.
    """
    with open_whole(path) as file:
        file.write(data)


@contextmanager
def open_whole(path: Path, *, is_growing: bool = False) -> Iterator[BinaryIO]:
    """Open a file for writing that takes its name when the block ends without an error.

    Args:
        path: of the file; its folder is made.
        is_growing: what is written is worth keeping at any time: the file takes its name however
            the block ends. It has no buffer.

    Raises:
        OutputError: the file or its folder cannot be written.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix="~")
        _unfinished[temporary] = path if is_growing else None
        is_worth_keeping = is_growing
        try:
            with os.fdopen(handle, "wb", buffering=0 if is_growing else -1) as file:
                yield file
            is_worth_keeping = True
        finally:  # when the file is closed: Windows renames none that is open
            if is_worth_keeping:
                _publish(temporary, path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        _remove(temporary)


@contextmanager
def open_folder(path: Path) -> Iterator[Path]:
    """Make a folder that takes its name when the block ends without an error.

    Args:
        path: of the folder; it must not exist, or be empty.

    Yields:
        A folder beside it, for the files.

    Raises:
        OutputError: it exists and is not empty, or cannot be written.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise OutputError(
            f"{path}: exists already, and nothing is overwritten",
            hint=f"remove it, or name a folder that does not exist: {path.name}-2",
        )
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix="~")
        _unfinished[temporary] = None
        yield Path(temporary)
        if path.exists():
            path.rmdir()
        _publish(temporary, path, mode=0o777)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        _remove(temporary)


def settle() -> None:
    """Do what the ends of all open blocks would do, before the process ends without them."""
    for temporary, path in list(_unfinished.items()):
        if path is not None:
            with suppress(OSError):
                _publish(temporary, path)
        _remove(temporary)


def remove_leftovers(paths: Iterable[Path]) -> None:
    """Remove what a killed process left of files that it was writing."""
    names: dict[Path, set[str]] = {}
    for path in paths:
        names.setdefault(path.parent, set()).add(path.name)
    for folder, own in names.items():
        with suppress(OSError):
            for name in os.listdir(folder):
                leftover = _TEMPORARY.fullmatch(name)
                if leftover and leftover[1] in own:
                    os.unlink(folder / name)


def _remove(temporary: str | None) -> None:
    if temporary is not None:
        _unfinished.pop(temporary, None)
        with suppress(OSError):
            (shutil.rmtree if os.path.isdir(temporary) else os.unlink)(temporary)


def _publish(temporary: str, path: Path, *, mode: int = 0o666) -> None:
    """Give what is finished its name, with the permissions of an ordinary new file or folder."""
    mask = os.umask(0)
    os.umask(mask)
    os.chmod(temporary, mode & ~mask)
    os.replace(temporary, path)
