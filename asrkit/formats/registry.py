"""Formats by name: what writes a result, what reads it, and what the command line says of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from asrkit.errors import InputError, UsageError
from asrkit.options import SegmentOptions
from asrkit.suggest import did_you_mean
from asrkit.types import Transcript

WriterT = TypeVar("WriterT", bound=Callable[..., Any])
Reader = Callable[[str], Sequence[Transcript | InputError]]
"""The transcripts in the text of a file, one for each recording, or what is wrong with one."""


@dataclass(frozen=True)
class Format:
    """A way to write a result.

    Attributes:
        name: what the user types.
        suffix: of its files, with the dot.
        write: makes the text of one result, or does what else its registry says.
        needs_times: it writes segments, so a result made without times has none to give.
        is_joinable: the texts of many results, one after the other, are one valid text that says
            no less than the single ones.
        header: what stands once at the head of a file, before the texts.
        read: gives back the transcripts of a text; None where nothing reads the format.
        suffixes: of files to read, in lower case, with the dot.
        holds: what comes back of what was written: text, segments, words, speakers, scores; and
            recordings, where a file may hold several.
        is_text: it can be written bit by bit; else a file is whole when all is known.
    """

    name: str
    suffix: str
    write: Callable[..., Any]
    needs_times: bool = False
    is_joinable: bool = False
    header: str = ""
    read: Reader | None = None
    suffixes: tuple[str, ...] = ()
    holds: frozenset[str] = frozenset()
    is_text: bool = True


class Registry(Mapping[str, Format]):
    """The formats of one kind of result by name, in the order of registration."""

    def __init__(self) -> None:
        self._formats: dict[str, Format] = {}

    __hash__ = object.__hash__  # each is itself alone, so that it can be a default

    def __getitem__(self, name: str) -> Format:
        return self._formats[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._formats)

    def __len__(self) -> int:
        return len(self._formats)

    def writer(self, name: str, *, suffix: str = "", **about: Any) -> Callable[[WriterT], WriterT]:
        """Register the decorated function as the writer of a format.

        Args:
            name: what the user types, in lower case.
            suffix: of its files, with the dot; the name unless given.
            **about: other fields of `Format`.

        Raises:
            ValueError: the name is taken.
        """
        if name in self:
            raise ValueError(f"format {name!r} is registered already")

        def register(write: WriterT) -> WriterT:
            self._formats[name] = Format(name, suffix or f".{name}", write, **about)
            return write

        return register

    def reader(self, name: str, *suffixes: str, holds: str) -> Callable[[Reader], Reader]:
        """Register the decorated function as the reader of a format that has a writer.

        Args:
            name: of the format.
            *suffixes: of files that it reads besides those with the suffix that is written.
            holds: what comes back of a transcript that was written, as `Format.holds`.
        """

        def register(read: Reader) -> Reader:
            known = self._formats[name]
            self._formats[name] = replace(
                known,
                read=read,
                suffixes=(known.suffix.lower(), *suffixes),
                holds=frozenset(holds.split()),
            )
            return read

        return register

    @property
    def suffixes(self) -> dict[str, Format]:
        """The format that files with a suffix (lower case, with the dot) are read in."""
        return {suffix: item for item in self.values() if item.read for suffix in item.suffixes}

    def of_file(self, path: str | os.PathLike[str]) -> Format | None:
        """The format that a file is read in, by the longest suffix that is known."""
        name, known = os.path.basename(path).lower(), self.suffixes
        dots = (index for index, character in enumerate(name) if character == ".")
        return next((known[name[dot:]] for dot in dots if name[dot:] in known), None)

    def find(self, name: str) -> Format:
        """The format of a name.

        Raises:
            UsageError: unknown; names the nearest.
        """
        if name in self:
            return self[name]
        raise UsageError(
            f"unknown format {name!r}, known are {', '.join(self)}",
            hint=did_you_mean(name, self),
        )

    def parse(self, names: str) -> tuple[str, ...]:
        """Read a comma-separated list of format names, such as "txt,srt".

        Returns:
            Known names in the order given, each once.

        Raises:
            UsageError: a name is unknown or empty, or there is none.
        """
        given = [name.strip().lower() for name in names.split(",")]
        return tuple(dict.fromkeys(self.find(name).name for name in given))

    def render(self, result: object, name: str) -> str:
        """The text of a result in a format whose writers need nothing else.

        Raises:
            UsageError: the name is unknown.
            InputError: the format cannot hold this result.
        """
        text: str = self.find(name).write(result)
        return text


FORMATS = Registry()
"""Of transcripts. Writers take a `Transcript` and the `SegmentOptions` of subtitles."""


def render(transcript: Transcript, name: str, *, options: SegmentOptions) -> str:
    """Write a transcript in a format.

    Args:
        transcript: what was said.
        name: of the format.
        options: how wide subtitles are; segments stay as they are.

    Returns:
        The whole text of one file.

    Raises:
        UsageError: the name is unknown, or an option is out of range.
        InputError: the format needs times and the transcript has a text but none.
    """
    chosen = FORMATS.find(name)
    has_times = any(segment.end > 0 for segment in transcript.segments)
    if chosen.needs_times and transcript.text.strip() and not has_times:
        raise InputError(
            f"{transcript.source}: {name} needs times, and this transcript has none",
            hint="make it with times of segments or words; asrkit align finds them in the audio",
        )
    text: str = chosen.write(transcript, options)
    return text
