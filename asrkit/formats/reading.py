"""From files to transcripts: which reader a file needs, and what all readers share.

A reader stands beside the writer of its format, under `@FORMATS.reader`. Files come from anywhere:
every pattern of a reader takes time in proportion to the text.
"""

from __future__ import annotations

import codecs
import math
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from asrkit.errors import InputError
from asrkit.formats.registry import FORMATS, Format
from asrkit.formats.times import voices
from asrkit.options import SegmentOptions
from asrkit.segmentation import split_segments
from asrkit.types import Character, Segment, Transcript, Word

TEXT_SUFFIXES = (".txt", ".lab", ".srt", ".vtt", ".ass", ".ssa", ".json")
"""Of the files that `align` and `eval-wer` look for: each holds one text."""

MAX_BYTES = 1 << 30
LONGEST = 1e7  # seconds; no recording is longer, and milliseconds stay exact


def read_transcripts(path: str, known: Format) -> list[Transcript | InputError]:
    """Read what was said from a file.

    Args:
        path: the file, or "-" for standard input.
        known: its format, which must have a reader.

    Returns:
        A transcript for each recording, or what is wrong with it. Their `source` is the file
        unless it names the audio.

    Raises:
        InputError: it cannot be read, is not of this format, or holds nothing.
    """
    name = "standard input" if path == "-" else path
    try:
        found = _parsed(read_text(path, is_json=known.name == "json"), known)
        if not found:
            raise InputError("holds no transcript")
    except InputError as error:
        raise error.about(name) from error
    return [
        item.about(name)
        if isinstance(item, InputError)
        else replace(item, source=item.source or name)
        for item in found
    ]


def read_segments(path: str | Path) -> tuple[Segment, ...]:
    """Read what was said from a file, as its suffix says; every other file is plain text.

    Args:
        path: subtitles, JSON, plain text, whose lines are segments without times (from 0 to 0),
            or any other format that is read.

    Returns:
        Segments that say something; those with times in the order of their starts.

    Raises:
        InputError: the file cannot be read or is not what its suffix says, or says nothing.
    """
    known = FORMATS.of_file(path)
    text = read_text(path, is_json=known is FORMATS["json"])
    try:
        segments = segments_of(text, os.path.basename(path))
    except InputError as error:
        raise error.about(str(path)) from error
    if not segments:
        raise InputError(f"{path}: holds no text")
    return segments


def segments_of(text: str, name: str = ".txt") -> tuple[Segment, ...]:
    """The segments of a text that `read_segments` would read from a file of this name."""
    found: list[Segment] = []
    for item in transcripts_in(text, FORMATS.of_file(name) or FORMATS["txt"]):
        found += item.segments or [Segment(item.text, 0.0, 0.0)]
    segments = [segment for segment in found if segment.text.strip()]
    return tuple(sorted(segments, key=lambda segment: segment.start))


def transcripts_in(text: str, known: Format) -> list[Transcript]:
    """The transcripts of a text in a format; the first error ends it."""
    found = []
    for item in _parsed(text, known):
        if isinstance(item, InputError):
            raise item
        found.append(item)
    return found


def read_text(path: str | Path, *, is_json: bool = False) -> str:
    """Read a text file, or "-", in UTF-8, or in UTF-16 with a byte order mark.

    Args:
        path: of the file.
        is_json: bytes that are not UTF-8 become surrogates, which the reader joins or refuses;
            whisper.cpp cuts characters in two.

    Raises:
        InputError: it cannot be read, is too large, or is not text.
    """
    try:
        if path == "-":
            data = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with open(path, "rb") as file:
                data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read: {reason}") from error
    try:
        return decode_text(data, errors="surrogateescape" if is_json else "strict")
    except InputError as error:
        raise error.about("standard input" if path == "-" else str(path)) from error


def decode_text(data: bytes, *, errors: str = "strict") -> str:
    """Text from bytes, as `read_text` does; `errors` as in `bytes.decode`.

    Raises:
        InputError: it is not text.
    """
    if len(data) > MAX_BYTES:
        raise InputError(f"longer than {MAX_BYTES >> 20} MiB, which no text is")
    is_wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16", "strict") if is_wide else data.decode("utf-8-sig", errors)
    except UnicodeDecodeError as error:
        raise InputError(
            f"not UTF-8: byte {error.start} does not fit",
            hint="from Latin-1: iconv -f ISO-8859-1 -t UTF-8",
        ) from error
    if "\0" in text:
        raise InputError("holds NUL characters, expected text")
    return text


def _parsed(text: str, known: Format) -> list[Transcript | InputError]:
    assert known.read is not None  # for the type checker
    found = list(known.read(text))
    for item in found:
        if isinstance(item, Transcript):
            _check(item)
    return found


def _check(transcript: Transcript) -> None:
    """Refuse times that no recording has, whatever the format."""
    seconds(transcript.offset, "the offset")
    seconds(transcript.duration, "the duration")
    for number, segment in enumerate(transcript.segments, start=1):
        place = f"segment {number}"
        letters = [character for word in segment.words for character in word.characters]
        items: list[Segment | Word | Character] = [segment, *segment.words, *letters]
        for item in items:
            if not 0 <= item.start <= item.end <= LONGEST:
                raise InputError(
                    f"{place}: from {item.start} to {item.end} s, expected times in order, from 0 "
                    f"to {LONGEST:g}"
                )
            finite(0.0 if item.score is None else item.score, place)


# ------------------------------------------------------------------------- what readers share


def finite(value: Any, place: str) -> float:
    """A number out of a file.

    Args:
        value: a number, or the text of one.
        place: where it stands, for the message.

    Raises:
        InputError: it is none, or not finite.
    """
    try:
        number = float(value)
    except (OverflowError, TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{place}: {str(value)[:40]!r} is not a number")
    return number


def seconds(value: Any, place: str) -> float:
    """A time out of a file, as `finite`; one that no recording has is refused too."""
    number = finite(value, place)
    if not 0 <= number <= LONGEST:
        raise InputError(f"{place}: {str(value)[:40]} s, expected a time from 0 to {LONGEST:g}")
    return number


def clock(groups: Sequence[str | None], place: str) -> float:
    """Seconds of hours, minutes, seconds and their decimals, as text; None counts as 0."""
    hours, minutes, whole, decimals = groups
    total = int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(whole or 0)
    return seconds(round(total + float(f"0.{decimals or 0}"), 3), place)


def transcript_of(
    segments: Iterable[Segment], *, id: str = "", offset: float = 0.0, duration: float | None = None
) -> Transcript:
    """A transcript with these segments, in the order of their starts; blank ones are left out.

    Args:
        segments: at most by accident in order.
        id: name of the recording, if the file says.
        offset: where the recording begins.
        duration: of the recording; None ends it with its last segment.
    """
    found = sorted((s for s in segments if s.text.strip()), key=lambda segment: segment.start)
    if duration is None:
        duration = max((segment.end for segment in found), default=0.0)
    sources = [s.source_text for s in found if s.source_text is not None]
    return Transcript(
        "",
        duration,
        " ".join(" ".join(segment.text.split()) for segment in found),
        tuple(found),
        id=id,
        offset=offset,
        source_text=" ".join(sources) if sources else None,
    )


def cue(lines: Iterable[str], start: float, end: float, **about: Any) -> Segment:
    """A segment that its source broke into lines; `about` is what else is known of it."""
    shown = tuple(" ".join(line.split()) for line in lines if line.strip())
    return Segment(" ".join(shown), start, max(start, end), lines=shown, **about)


def spoken(words: Sequence[Word], *, speaker: str | None = None) -> list[Segment]:
    """Segments of words that their file does not group, as `transcribe` would make them."""
    each = transcript_of(
        Segment(word.text, word.start, word.end, words=(word,), speaker=speaker) for word in words
    )
    return [
        replace(segment, speaker=speaker)
        for voice in voices(each)
        for segment in split_segments(
            [segment.words[0] for segment in voice.segments],
            SegmentOptions(),
            duration=each.duration,
        )
    ]


def stamped_words(pieces: Sequence[tuple[float, str]], end: float) -> tuple[Word, ...]:
    """Words of a text with times inside it.

    A word begins with the piece that it begins; words further on in a piece share its time by their
    letters, and are not `aligned`. A word ends when the next one begins.

    Args:
        pieces: (start, text), in order; white space at their edges parts words.
        end: where the last piece ends.
    """
    begun: list[tuple[float, list[str], bool]] = []  # start, parts, whether it begins a piece
    is_open = False  # the last word goes on in the next piece
    for (start, text), (following, _) in pairwise([*pieces, (end, "")]):
        matches = list(re.finditer(r"\S+", text))
        lead = matches[0].start() if matches else 0
        width = matches[-1].end() - lead if matches else 1
        for match in matches:
            if is_open and begun and match.start() == 0:
                begun[-1][1].append(match[0])
                continue
            share = (match.start() - lead) / width
            time = start + share * (max(following, start) - start)
            begun.append((round(time, 3), [match[0]], match.start() == lead))
        if text:
            is_open = not text[-1].isspace()
    if pieces and not pieces[-1][1].strip():
        end = pieces[-1][0]  # a last stamp says where the last word ends
    times = [*(time for time, _, _ in begun), end]
    return tuple(
        Word("".join(parts), time, max(time, following), 1.0, aligned=is_aligned)
        for (time, parts, is_aligned), following in zip(begun, times[1:], strict=True)
    )


def timed_between(
    words: Sequence[Mapping[str, Any]], start: float, end: float
) -> tuple[list[Word], int]:
    """Words of which some have no times: these share what lies between their neighbours.

    Args:
        words: each with `text`, `start`, `end` and `score`; None is not known.
        start: of their segment.
        end: of their segment.

    Returns:
        The words; those without times share by their letters, with a score of 0, and are not
        `aligned`. And how many they are.
    """
    made: list[Word] = []
    num_guessed = 0
    index = 0
    while index < len(words):
        item = words[index]
        if item["start"] is not None:
            score = 1.0 if item["score"] is None else item["score"]
            last = item["start"] if item["end"] is None else max(item["start"], item["end"])
            made.append(Word(item["text"], item["start"], last, score))
            index += 1
            continue
        stop = next((i for i in range(index, len(words)) if words[i]["start"] is not None), None)
        run = words[index:stop]
        left = made[-1].end if made else start
        right = max(left, end if stop is None else words[stop]["start"])
        total, done = sum(len(one["text"]) for one in run) or 1, 0
        for one in run:
            first = left + (right - left) * done / total
            done += len(one["text"])
            last = left + (right - left) * done / total
            made.append(Word(one["text"], round(first, 3), round(last, 3), 0.0, aligned=False))
        num_guessed += len(run)
        index += len(run)
    return made, num_guessed


def numbered(text: str, *, comment: str) -> Iterator[tuple[str, list[str]]]:
    """The lines of a file of fields: `line 3` and the fields, blank lines and comments left out."""
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split()
        if fields and not line.startswith(comment):
            yield f"line {number}", fields
