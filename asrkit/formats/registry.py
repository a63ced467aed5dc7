"""Formats by name: what writes a result, and what the command line says of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeVar

from asrkit.errors import InputError, UsageError
from asrkit.options import SegmentOptions
from asrkit.types import Transcript

WriterT = TypeVar("WriterT", bound=Callable[..., Any])


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
        is_text: it can be written bit by bit; else a file is whole when all is known.
    """

    name: str
    suffix: str
    write: Callable[..., Any]
    needs_times: bool = False
    is_joinable: bool = False
    header: str = ""
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

    def find(self, name: str) -> Format:
        """The format of a name.

        Raises:
            UsageError: unknown; names the nearest.
        """
        if name in self:
            return self[name]
        close = get_close_matches(name, self, n=1)
        raise UsageError(
            f"unknown format {name!r}, known are {', '.join(self)}",
            hint=f"did you mean {close[0]}?" if close else None,
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
        InputError: the format needs times and the transcript has words but no segments.
    """
    chosen = FORMATS.find(name)
    if chosen.needs_times and transcript.text.strip() and not transcript.segments:
        raise InputError(
            f"{transcript.source}: {name} needs times, and this transcript has none",
            hint="make it with times of segments or words",
        )
    text: str = chosen.write(transcript, options)
    return text
