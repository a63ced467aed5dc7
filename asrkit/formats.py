"""Transcripts to text: one writer function per format, found by name.

A new format is one function under `@writer`; the command line, `convert` and the error messages
take its name from `FORMATS`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from html import escape
from types import MappingProxyType

from asrkit.errors import InputError, UsageError
from asrkit.segmentation import milliseconds, wrap_lines
from asrkit.types import SCHEMA_VERSION, Segment, SegmentOptions, Transcript

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


def error_row(source: str, error: Exception, *, id: str = "") -> str:
    """The line that stands in JSON Lines output for an input that failed.

    Args:
        source: the input as the user named it.
        error: why it failed; its class name and message are written.
        id: name of the input in results; `source` unless given.

    Returns:
        One line with its line end.
    """
    reason = {"type": type(error).__name__, "message": str(error)}
    return _json_line(
        {"schema": SCHEMA_VERSION, "audio": source, "id": id or source, "error": reason}
    )


@writer("txt", is_joinable=True)
def write_txt(transcript: Transcript, options: SegmentOptions) -> str:
    """The text on one line. Silence is an empty line, so that many files stay one line each."""
    return " ".join(transcript.text.splitlines()) + "\n"


@writer("srt", needs_times=True)
def write_srt(transcript: Transcript, options: SegmentOptions) -> str:
    """SubRip: numbered cues with times in milliseconds. Silence is an empty file.

    SubRip has no escapes: an arrow in the text, which players take for a line of times, becomes
    the one character `→`.
    """
    cues = _cues(transcript, options, point=",", protect=lambda line: line.replace("-->", "→"))
    return "\n".join(f"{number}\n{cue}" for number, cue in enumerate(cues, start=1))


@writer("vtt", needs_times=True)
def write_vtt(transcript: Transcript, options: SegmentOptions) -> str:
    """WebVTT: cues with times in milliseconds. Silence is the header alone."""
    cues = _cues(transcript, options, point=".", protect=lambda line: escape(line, quote=False))
    return "\n".join(["WEBVTT\n", *cues])


@writer("json")
def write_json(transcript: Transcript, options: SegmentOptions) -> str:
    """Everything: `Transcript.to_dict` as indented JSON."""
    return json.dumps(transcript.to_dict(), ensure_ascii=False, allow_nan=False, indent=2) + "\n"


@writer("jsonl", is_joinable=True)
def write_jsonl(transcript: Transcript, options: SegmentOptions) -> str:
    """Everything: `Transcript.to_dict` as JSON on one line."""
    return _json_line(transcript.to_dict())


@writer("tsv", needs_times=True)
def write_tsv(transcript: Transcript, options: SegmentOptions) -> str:
    """Tab-separated rows under the header `start end text`, one per segment.

    Times are seconds with three decimals, as in every other output of asrkit; Whisper's files of
    this kind hold whole milliseconds. White space in the text, tabs included, becomes one space.
    """
    rows = [
        f"{start_ms / 1000:.3f}\t{end_ms / 1000:.3f}\t{' '.join(segment.text.split())}\n"
        for start_ms, end_ms, segment in _timed(transcript)
    ]
    return "".join(["start\tend\ttext\n", *rows])


def _find(name: str) -> Format:
    if name in FORMATS:
        return FORMATS[name]
    close = get_close_matches(name, FORMATS, n=1)
    raise UsageError(
        f"unknown format {name!r}, known are {', '.join(FORMATS)}",
        hint=f"did you mean {close[0]}?" if close else None,
    )


def _json_line(data: Mapping[str, object]) -> str:
    return json.dumps(data, ensure_ascii=False, allow_nan=False) + "\n"


def _timed(transcript: Transcript) -> list[tuple[int, int, Segment]]:
    """(start, end, segment) of all segments that say something, in milliseconds.

    Longer than zero and apart, whoever made the transcript, and not past the end of its audio
    unless its own times are.
    """
    segments = [segment for segment in transcript.segments if segment.text.strip()]
    times = milliseconds(
        [(segment.start, segment.end) for segment in segments],
        duration=max([transcript.offset + transcript.duration, *(s.end for s in segments)]),
    )
    return [(*span, segment) for span, segment in zip(times, segments, strict=True)]


def _cues(
    transcript: Transcript, options: SegmentOptions, *, point: str, protect: Callable[[str], str]
) -> list[str]:
    """A line of times and the wrapped, escaped text of each segment.

    Args:
        transcript: what was said.
        options: the size of a subtitle.
        point: between seconds and milliseconds.
        protect: makes one line of text safe.
    """
    return [
        f"{_clock(start_ms, point)} --> {_clock(end_ms, point)}\n"
        + "".join(f"{protect(line)}\n" for line in wrap_lines(segment.text, options))
        for start_ms, end_ms, segment in _timed(transcript)
    ]


def _clock(time_ms: int, point: str) -> str:
    """HH:MM:SS and milliseconds; the hours grow beyond two digits where they must."""
    seconds, thousandths = divmod(time_ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{thousandths:03}"
