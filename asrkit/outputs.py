"""Where results go: names of output files, clashes found beforehand, whole files or none."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from asrkit.errors import OutputError, UsageError
from asrkit.formats import FORMATS, error_row, parse_formats, render
from asrkit.inputs import FailedInput
from asrkit.options import SegmentOptions
from asrkit.types import AudioInput, Transcript

Result = Transcript | FailedInput


@dataclass(frozen=True)
class Target:
    """Where results go and in which formats.

    Attributes:
        formats: names of formats, at least one; exactly one unless `directory` is given.
        directory: one file for each input and format goes here.
        file: all results go into this file; standard output when this and `directory` are None.
        is_single: there is one input, so that the output is its text alone.
    """

    formats: tuple[str, ...]
    directory: Path | None = None
    file: Path | None = None
    is_single: bool = True

    @classmethod
    def parse(
        cls, output: str, formats: str | None, *, is_single: bool, default: str = "txt"
    ) -> Target:
        """Understand -o and -f together.

        Args:
            output: "-", a file whose suffix is a format's, or a directory.
            formats: comma-separated names; None takes the suffix of `output`, else the default.
            is_single: there is one input.
            default: name of the format that nothing else names.

        Raises:
            UsageError: they contradict each other.
        """
        path = Path(output)
        by_suffix = {item.suffix.lower(): name for name, item in FORMATS.items()}
        suffix = path.suffix.lower()
        is_directory = output.endswith(("/", os.sep)) or path.is_dir() or not path.suffix
        if output == "-" or (not is_directory and suffix in by_suffix):
            names = parse_formats(formats or by_suffix.get(suffix, default))
            if len(names) > 1:
                raise UsageError(
                    f"{len(names)} formats cannot go to one place ({_place(output)})",
                    hint="-o DIR/ writes one file an input and format",
                )
            if not is_single and not FORMATS[names[0]].is_joinable:
                raise UsageError(
                    f"{names[0]} of several inputs cannot go to one place ({_place(output)})",
                    hint="-o DIR/ writes one file an input; jsonl holds many",
                )
            return cls(names, file=None if output == "-" else path, is_single=is_single)
        if not is_directory:
            raise UsageError(
                f"-o {output}: {path.suffix!r} is not a format's suffix ({', '.join(by_suffix)})",
                hint=f"-o {output}/ makes it a directory",
            )
        return cls(parse_formats(formats or default), directory=path, is_single=is_single)

    def check(self, inputs: Sequence[AudioInput | FailedInput], *, has_times: bool) -> None:
        """Refuse what cannot work, before any work is done.

        Raises:
            UsageError: as `files`; or a format needs times and there will be none.
        """
        if not has_times:
            for name in self.formats:
                if FORMATS[name].needs_times:
                    raise UsageError(
                        f"{name} needs times, and none were asked for",
                        hint="leave out --timestamps none",
                    )
        self.files(inputs)

    def files(self, inputs: Sequence[AudioInput | FailedInput]) -> list[dict[str, Path]]:
        """The output file of each input and format, by format; {} where there is none.

        Raises:
            UsageError: two inputs would write the same file, or an output would replace an input.
        """
        if self.directory is None:
            if self.file is not None and os.path.abspath(self.file) in _read_paths(inputs):
                raise UsageError(f"{self.file} is an input and would be overwritten")
            return [{} for _ in inputs]
        suffixes = {name: FORMATS[name].suffix for name in self.formats}
        return plan_files(inputs, self.directory, suffixes)

    @contextmanager
    def open(
        self, inputs: Sequence[AudioInput | FailedInput], options: SegmentOptions
    ) -> Iterator[Callable[[int, Result], None]]:
        """Get ready to write.

        Args:
            inputs: all inputs, in order.
            options: how wide subtitles are.

        Yields:
            A function that writes the result of the input with this index, at once and whole.

        Raises:
            UsageError: as `files`.
            OutputError: something cannot be written.
        """
        plan = self.files(inputs)
        with ExitStack() as stack:
            stream: BinaryIO | None = None

            def write(index: int, result: Result) -> None:
                nonlocal stream
                if self.directory is None:
                    text = self._joined(result, options)
                    if not text:
                        return
                    if self.file is None:
                        write_stdout(text)
                        return
                    if stream is None:  # not before there is something to write
                        stream = stack.enter_context(open_whole(self.file, is_growing=True))
                    stream.write(encode(text))
                elif isinstance(result, Transcript):
                    for name, path in plan[index].items():
                        write_whole(path, encode(render(result, name, options=options)))

            yield write

    def _joined(self, result: Result, options: SegmentOptions) -> str:
        """What one result adds to the stream that all results share."""
        (name,) = self.formats
        if isinstance(result, FailedInput):
            return error_row(result.source, result.error, id=result.id) if name == "jsonl" else ""
        text = render(result, name, options=options)
        if name == "txt" and not self.is_single:
            return f"{result.id or result.source}\t{text}"
        return text


def plan_files(
    inputs: Sequence[AudioInput | FailedInput], directory: Path, suffixes: Mapping[str, str]
) -> list[dict[str, Path]]:
    """One file below a directory for each input and kind of output.

    Args:
        inputs: `name` gives the path below the directory, so that trees are kept.
        directory: where the files go.
        suffixes: of each kind, with the dot.

    Returns:
        For each input, kind to path; {} for a failed input.

    Raises:
        UsageError: two inputs would write the same file, or an output would replace an input.
    """
    read = _read_paths(inputs)
    plan: list[dict[str, Path]] = []
    owners: dict[Path, AudioInput] = {}
    for item in inputs:
        plan.append({})
        if isinstance(item, FailedInput):
            continue
        stem = directory / item.name
        for kind, suffix in suffixes.items():
            path = stem.with_name(stem.stem + suffix)
            if path in owners:
                raise UsageError(
                    f"{owners[path].path} and {item.path} would both write {path}",
                    hint="give them to separate runs with separate directories",
                )
            if os.path.abspath(path) in read:
                raise UsageError(
                    f"{path} is an input and would be overwritten",
                    hint="choose another directory",
                )
            owners[path] = item
            plan[-1][kind] = path
    return plan


def _read_paths(inputs: Sequence[AudioInput | FailedInput]) -> set[str]:
    return {
        os.path.abspath(item.path)
        for item in inputs
        if isinstance(item, AudioInput) and item.path != "-"
    }


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


def _publish(temporary: str, path: Path) -> None:
    """Give a finished temporary file its name, with the permissions of an ordinary new file."""
    mask = os.umask(0)
    os.umask(mask)
    os.chmod(temporary, 0o666 & ~mask)
    os.replace(temporary, path)
