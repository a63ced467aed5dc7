"""Where results go: names of output files, clashes found beforehand, whole files or none."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from asrkit.errors import OutputError, UsageError
from asrkit.formats import FORMATS, Registry, error_row
from asrkit.inputs import FailedInput
from asrkit.types import AudioInput, Embedding

EMISSION_SUFFIXES = {"npy": ".npy", "json": ".json"}


@dataclass(frozen=True)
class Target:
    """Where results go and in which formats.

    Attributes:
        formats: names of formats, at least one; exactly one unless `directory` is given.
        directory: one file for each input and format goes here.
        file: all results go into this file; standard output when this and `directory` are None.
        is_single: there is one input, so that the output is its text alone.
        registry: the formats of this kind of result.
    """

    formats: tuple[str, ...]
    directory: Path | None = None
    file: Path | None = None
    is_single: bool = True
    registry: Registry = FORMATS

    @classmethod
    def parse(
        cls,
        output: str,
        formats: str | None,
        *,
        is_single: bool,
        default: str = "txt",
        registry: Registry = FORMATS,
    ) -> Target:
        """Understand -o and -f together.

        Args:
            output: "-", a file whose suffix is a format's, or a directory.
            formats: comma-separated names; None takes the suffix of `output`, else the default.
            is_single: there is one input.
            default: name of the format that nothing else names.
            registry: the formats of this kind of result.

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
            return cls(names, file=file, is_single=is_single, registry=registry)
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
        self, inputs: Sequence[AudioInput | FailedInput], render: Callable[[Any, str], str]
    ) -> Iterator[Callable[[int, Any], None]]:
        """Get ready to write.

        Args:
            inputs: all inputs, in order.
            render: gives the text of a result in the format of a name, header excluded.

        Yields:
            A function that writes the result (or failure) of the input with this index, at once
            and whole.

        Raises:
            OutputError: something cannot be written.
        """
        with ExitStack() as stack:
            put: Callable[[str], object] | None = None

            def write(index: int, result: Any) -> None:
                nonlocal put
                if self.directory is not None:
                    for name, path in self.files(inputs[index]).items() if _is_done(result) else ():
                        text = self.registry[name].header + render(result, name)
                        write_whole(path, encode(text))
                    return
                text = self._joined(result, render)
                if not text:
                    return
                if put is None:  # not before there is something to write
                    put = self._open_joined(stack)
                    put(self.registry[self.formats[0]].header)
                put(text)

            yield write

    @contextmanager
    def open_vectors(
        self, inputs: Sequence[AudioInput | FailedInput]
    ) -> Iterator[Callable[[int, Embedding], None]]:
        """As `open`, for embeddings; a file of many is complete when the context ends."""
        with ExitStack() as stack:
            add: Callable[[Embedding], None] | None = None

            def write(index: int, embedding: Embedding) -> None:
                nonlocal add
                if self.directory is not None:
                    for name, path in self.files(inputs[index]).items():
                        with open_whole(path) as file, self.registry[name].write(file) as add_one:
                            add_one(embedding)
                    return
                if add is None:  # not before there is something to write
                    stream = (
                        sys.stdout.buffer
                        if self.file is None
                        else stack.enter_context(open_whole(self.file, is_growing=True))
                    )
                    add = stack.enter_context(self.registry[self.formats[0]].write(stream))
                    assert add is not None  # for the type checker
                add(embedding)

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

    def _open_joined(self, stack: ExitStack) -> Callable[[str], object]:
        """What writes to the one place that all results share."""
        if self.file is None:
            return write_stdout
        stream = stack.enter_context(open_whole(self.file, is_growing=True))
        return lambda text: stream.write(encode(text))

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
    stem = directory / item.name
    return {kind: stem.with_name(stem.stem + suffix) for kind, suffix in suffixes.items()}


def check_files(
    inputs: Sequence[AudioInput | FailedInput], directory: Path, suffixes: Mapping[str, str]
) -> None:
    """Refuse files of inputs that would be in each other's way, see `files_of`.

    Raises:
        UsageError: two inputs would write the same file, or an output would replace an input.
    """
    # Hashes, since there may be very many paths; one that is known is looked at closely.
    read = {hash(path) for path in _read_paths(inputs)}
    written: set[int] = set()
    for item in inputs:
        for path in files_of(item, directory, suffixes).values():
            if hash(path) in written:
                owner = next(
                    other
                    for other in inputs
                    if path in files_of(other, directory, suffixes).values()
                )
                if owner is not item:
                    raise UsageError(
                        f"{owner.source} and {item.source} would both write {path}",
                        hint="give them to separate runs with separate directories",
                    )
            if hash(os.path.abspath(path)) in read and _is_read(path, inputs):
                raise UsageError(
                    f"{path} is an input and would be overwritten",
                    hint="choose another directory",
                )
            written.add(hash(path))


def _is_read(path: Path, inputs: Iterable[AudioInput | FailedInput]) -> bool:
    return os.path.abspath(path) in _read_paths(inputs)


def _read_paths(inputs: Iterable[AudioInput | FailedInput]) -> Iterator[str]:
    """The absolute path of every file that is read."""
    return (
        os.path.abspath(item.path)
        for item in inputs
        if isinstance(item, AudioInput) and item.path != "-"
    )


def _place(output: str) -> str:
    return "standard output" if output == "-" else output


def encode(text: str) -> bytes:
    """Text as it is written: UTF-8 whatever the locale, and file names as they are."""
    return text.encode("utf-8", "surrogateescape")


def write_stdout(text: str) -> None:
    """Write a result, at once."""
    sys.stdout.buffer.write(encode(text))
    sys.stdout.buffer.flush()


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
        is_growing: what is written is worth keeping at any time: an interrupt (Ctrl-C) counts as
            an end.

    Raises:
        OutputError: the file or its folder cannot be written.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix="~")
        with os.fdopen(handle, "wb") as file:
            try:
                yield file
            except KeyboardInterrupt:
                if is_growing:
                    file.close()
                    _publish(temporary, path)
                raise
        _publish(temporary, path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                os.unlink(temporary)


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
        yield Path(temporary)
        if path.exists():
            path.rmdir()
        _publish(temporary, path, mode=0o777)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _publish(temporary: str, path: Path, *, mode: int = 0o666) -> None:
    """Give what is finished its name, with the permissions of an ordinary new file or folder."""
    mask = os.umask(0)
    os.umask(mask)
    os.chmod(temporary, mode & ~mask)
    os.replace(temporary, path)
