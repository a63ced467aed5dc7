"""Texts and times back from files: what was said, line by line or cue by cue.

Files come from anywhere: every pattern here takes time in proportion to the text.
"""

from __future__ import annotations

import codecs
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import unescape
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType

from asrkit.errors import InputError
from asrkit.types import Segment, Transcript, Word

Reader = Callable[[str], "list[Segment]"]
_readers: dict[str, Reader] = {}
READERS: Mapping[str, Reader] = MappingProxyType(_readers)
"""What reads the text of a file, by suffix. Every other file is read as plain text."""

_TIME = r"(?:(\d{1,9}):)?(\d{1,9}):(\d{1,9})[.,](\d{1,9})"
_TIMES = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}")
_TAG = re.compile(r"<[^<>]*>")
_SRT_TAG = re.compile(r"</?(?:i|b|u|s|font|c|v)\b[^<>]*>", re.IGNORECASE)
_COMMAND = re.compile(r"\{[^{}]*\}")
_SRT_COMMAND = re.compile(r"\{\\[^{}]*\}")
_DRAWING = re.compile(r"\\p[1-9]")
_ASS_TIME = re.compile(r"\s*(\d{1,9}):(\d{1,9}):(\d{1,9})[.:](\d{1,9})\s*")
_GRID_TOKEN = re.compile(r'"(?:[^"]|"")*"|[^\s"]+')


def reader(*suffixes: str) -> Callable[[Reader], Reader]:
    """Register the decorated function as what reads files with these suffixes."""

    def register(read: Reader) -> Reader:
        for suffix in suffixes:
            _readers[suffix] = read
        return read

    return register


def read_segments(path: str | Path) -> tuple[Segment, ...]:
    """Read what was said from a file, as its suffix says.

    Args:
        path: subtitles, JSON of asrkit, or plain text, whose lines are segments without times
            (from 0 to 0).

    Returns:
        Segments that say something; those with times in the order of their starts.

    Raises:
        InputError: the file cannot be read or is not what its suffix says, or says nothing.
    """
    text = read_text(path)
    try:
        segments = segments_of(text, os.path.splitext(path)[1])
    except InputError as error:
        raise error.about(str(path)) from error
    if not segments:
        raise InputError(f"{path}: holds no text")
    return segments


def segments_of(text: str, suffix: str = ".txt") -> tuple[Segment, ...]:
    """The segments of a text that `read_segments` would read from a file with this suffix."""
    found = READERS.get(suffix.lower(), read_txt)(text)
    segments = [segment for segment in found if segment.text.strip()]
    return tuple(sorted(segments, key=lambda segment: segment.start))


def read_text(path: str | Path) -> str:
    """Read a text file in UTF-8, or in UTF-16 with a byte order mark.

    Raises:
        InputError: it cannot be read, or is not text.
    """
    try:
        return decode_text(Path(path).read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except InputError as error:
        raise error.about(str(path)) from error


def decode_text(data: bytes) -> str:
    """Text from bytes, as `read_text` does.

    Raises:
        InputError: it is not text.
    """
    is_wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if is_wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"not UTF-8: byte {error.start} does not fit",
            hint="from Latin-1: iconv -f ISO-8859-1 -t UTF-8",
        ) from error
    if "\0" in text:
        raise InputError("holds NUL characters, expected text")
    return text


@reader(".txt", ".lab")
def read_txt(text: str) -> list[Segment]:
    """Every line is a segment."""
    return [Segment(" ".join(line.split()), 0.0, 0.0) for line in text.splitlines()]


@reader(".srt")
def read_srt(text: str) -> list[Segment]:
    """Cues of SubRip. A blank line inside a cue does not end it; the number of the next one does.

    Raises:
        InputError: there is text but no line of times.
    """
    lines = text.splitlines()
    cues = []
    marks = [*_time_lines(lines), (len(lines), 0.0, 0.0)]
    for (line, start, end), (following, _, _) in pairwise(marks):
        body = [item.strip() for item in lines[line + 1 : following]]
        if following < len(lines) and body and body[-1].isdecimal():
            body.pop()
        shown = [_SRT_COMMAND.sub("", _SRT_TAG.sub("", item)) for item in body]
        cues.append(_cue(shown, start, end))
    return _not_nothing(cues, text, "hours:minutes:seconds,milliseconds --> ...")


@reader(".vtt")
def read_vtt(text: str) -> list[Segment]:
    """Cues of WebVTT; notes, styles and names are passed over.

    Raises:
        InputError: there is text after the header but no line of times.
    """
    lines = text.splitlines()
    cues = []
    for line, start, end in _time_lines(lines):
        body = []
        for item in lines[line + 1 :]:
            if not item.strip() or _times(item):
                break
            body.append(unescape(_TAG.sub("", item)))
        cues.append(_cue(body, start, end))
    rest = text.lstrip().removeprefix("WEBVTT")
    return _not_nothing(cues, rest, "minutes:seconds.milliseconds --> ...")


@reader(".ass", ".ssa")
def read_ass(text: str) -> list[Segment]:
    """Dialogue of Advanced SubStation, without comments, drawings and commands.

    Raises:
        InputError: there is text but no [Events].
    """
    columns = ["Layer", "Start", "End", "Style", "Name", "ML", "MR", "MV", "Effect", "Text"]
    cues = []
    in_events = has_events = False
    for line in text.splitlines():
        if line.lstrip().startswith("["):
            in_events = line.strip().lower() == "[events]"
            has_events = has_events or in_events
        kind, _, rest = line.partition(":")
        if not in_events or kind.strip() not in ("Format", "Dialogue"):
            continue
        if kind.strip() == "Format":
            columns = [name.strip() for name in rest.split(",")]
            continue
        cells = dict(zip(columns, rest.split(",", len(columns) - 1), strict=False))
        times = [_ASS_TIME.fullmatch(cells.get(name, "")) for name in ("Start", "End")]
        shown = cells.get("Text", "")
        if times[0] is None or times[1] is None or _DRAWING.search(shown):
            continue
        start, end = (_clock_seconds(match.groups()) for match in times if match is not None)
        shown = _COMMAND.sub("", shown).replace("\\h", " ").replace("\\n", "\\N")
        cues.append(_cue(shown.split("\\N"), start, end))
    return cues if has_events else _not_nothing(cues, text, "Dialogue: lines under [Events]")


@reader(".json")
def read_json(text: str) -> list[Segment]:
    """Segments of a transcript that asrkit wrote; its text where it has none.

    Raises:
        InputError: not such a transcript.
    """
    try:
        transcript = Transcript.from_dict(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON: {error}") from error
    return list(transcript.segments) or [Segment(transcript.text, 0.0, 0.0)]


def read_words(path: str | Path) -> list[Word]:
    """Words with their times, from a TextGrid, a CTM file or JSON of asrkit.

    Of a TextGrid the tier called words is taken, else the second interval tier, else the first.

    Raises:
        InputError: the file cannot be read, or is none of these.
    """
    text = read_text(path)
    suffix = os.path.splitext(path)[1].lower()
    try:
        if suffix == ".json":
            words = [word for segment in read_json(text) for word in segment.words]
        elif suffix == ".ctm":
            words = [word for _, _, word in ctm_words(text)]
        elif suffix == ".textgrid":
            words = _grid_words(text)
        else:
            raise InputError(f"{suffix!r} is not .TextGrid, .ctm or .json")
        if not words:
            raise InputError("holds no words with times")
    except InputError as error:
        raise error.about(str(path)) from error
    return words


def _time_lines(lines: Sequence[str]) -> Iterator[tuple[int, float, float]]:
    for index, line in enumerate(lines):
        times = _times(line)
        if times is not None:
            yield index, *times


def _times(line: str) -> tuple[float, float] | None:
    match = _TIMES.match(line) if "-->" in line else None
    if match is None:
        return None
    groups = match.groups()
    return _clock_seconds(groups[:4]), _clock_seconds(groups[4:])


def _clock_seconds(groups: Sequence[str | None]) -> float:
    hours, minutes, seconds, fraction = groups
    whole = int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)
    return round(whole + float(f"0.{fraction}"), 3)


def _cue(lines: Sequence[str], start: float, end: float) -> Segment:
    shown = tuple(" ".join(line.split()) for line in lines if line.strip())
    return Segment(" ".join(shown), start, max(start, end), lines=shown)


def _not_nothing(cues: list[Segment], text: str, expected: str) -> list[Segment]:
    if not cues and text.strip():
        raise InputError(f"no subtitles found, expected {expected}")
    return cues


def ctm_words(text: str) -> list[tuple[str, str, Word]]:
    """The words of a CTM file, each with its recording and channel.

    Raises:
        InputError: a line is not as CTM has it.
    """
    words = []
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split()
        if not fields or line.startswith(";;"):
            continue
        if len(fields) < 5:
            raise InputError(f"line {number}: {len(fields)} fields, expected 5 or 6")
        start, duration = (finite(field, number) for field in fields[2:4])
        score = finite(fields[5], number) if len(fields) > 5 else 1.0
        words.append((fields[0], fields[1], Word(fields[4], start, start + duration, score)))
    return words


def finite(field: str, line: int) -> float:
    """A number of a line.

    Raises:
        InputError: it is none, or not finite.
    """
    try:
        value = float(field)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"line {line}: {field!r} is not a number")
    return value


def _grid_words(text: str) -> list[Word]:
    """Words of a long or short TextGrid; both are the same strings and free-standing numbers."""
    tokens = [token for token in _GRID_TOKEN.findall(text) if _is_value(token)]
    values = iter(tokens)
    tiers: list[tuple[str, list[Word]]] = []
    try:
        if [next(values), next(values)] != ['"ooTextFile"', '"TextGrid"']:
            raise InputError("not a TextGrid")
        next(values), next(values)
        if next(values) != "<exists>":
            return []
        for _ in range(int(float(next(values)))):
            kind, name = next(values), next(values)
            next(values), next(values)
            words = []
            for _ in range(int(float(next(values)))):
                start = float(next(values))
                end = float(next(values)) if kind == '"IntervalTier"' else start
                label = next(values)[1:-1].replace('""', '"').strip()
                if label:
                    words.append(Word(label, start, end, 1.0))
            if kind == '"IntervalTier"':
                tiers.append((name.strip('"').lower(), words))
    except (StopIteration, ValueError) as error:
        raise InputError("a TextGrid that ends early or holds something else") from error
    named = [words for name, words in tiers if name in ("words", "word")]
    return (named or [words for _, words in tiers[1:2] or tiers] or [[]])[0]


def _is_value(token: str) -> bool:
    if token.startswith('"') or token in ("<exists>", "<absent>"):
        return True
    try:
        return math.isfinite(float(token))
    except ValueError:
        return False
