"""Formats by name: what writes a transcript, and what the command line says of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType

from asrkit.errors import InputError, UsageError
from asrkit.options import SegmentOptions
from asrkit.types import Transcript

Writer = Callable[[Transcript, SegmentOptions], str]


@dataclass(frozen=True)
class Format:
    """A way to write a transcript.

    Attributes:
        name: what the user types.
        suffix: of its files, with the dot.
        write: makes the whole text of one file; the options say how wide subtitles are.
        needs_times: it writes segments, so a transcript made without times has none to give.
        is_joinable: the texts of many transcripts, one after the other, are one valid text that
            says no less than the single ones.
    """

    name: str
    suffix: str
    write: Writer
    needs_times: bool = False
    is_joinable: bool = False


_formats: dict[str, Format] = {}
FORMATS: Mapping[str, Format] = MappingProxyType(_formats)
"""Every format by name, in the order of registration."""


def writer(
    name: str, *, suffix: str | None = None, needs_times: bool = False, is_joinable: bool = False
) -> Callable[[Writer], Writer]:
    """Register the decorated function as the writer of a format.

    Args:
        name: what the user types, in lower case.
        suffix: of its files, with the dot; the name unless given.
        needs_times: see `Format`.
        is_joinable: see `Format`.

    Raises:
        ValueError: the name is taken.
    """
    if name in _formats:
        raise ValueError(f"format {name!r} is registered already")

    def register(write: Writer) -> Writer:
        _formats[name] = Format(name, suffix or f".{name}", write, needs_times, is_joinable)
        return write

    return register


def parse_formats(names: str) -> tuple[str, ...]:
    """Read a comma-separated list of format names, such as "txt,srt".

    Returns:
        Known names in the order given, each once.

    Raises:
        UsageError: a name is unknown or empty, or there is none.
    """
    given = [name.strip().lower() for name in names.split(",")]
    return tuple(dict.fromkeys(_find(name).name for name in given))


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
    chosen = _find(name)
    if chosen.needs_times and transcript.text.strip() and not transcript.segments:
        raise InputError(
            f"{transcript.source}: {name} needs times, and this transcript has none",
            hint="make it with times of segments or words",
        )
    return chosen.write(transcript, options)


def _find(name: str) -> Format:
    if name in FORMATS:
        return FORMATS[name]
    close = get_close_matches(name, FORMATS, n=1)
    raise UsageError(
        f"unknown format {name!r}, known are {', '.join(FORMATS)}",
        hint=f"did you mean {close[0]}?" if close else None,
    )
