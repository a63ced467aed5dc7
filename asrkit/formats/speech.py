"""What phoneticians and speech tools read: TextGrid, CTM, RTTM, Audacity labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from asrkit.formats.fields import file_name, one_line, one_word
from asrkit.formats.registry import FORMATS
from asrkit.formats.times import timed_characters, timed_segments, timed_words
from asrkit.options import SegmentOptions
from asrkit.types import Transcript

# (start, end, text) in milliseconds
_Interval = tuple[int, int, str]
_Tier = tuple[str, list[_Interval]]


@FORMATS.writer("textgrid-short", suffix=".TextGrid", needs_times=True)
def write_textgrid_short(transcript: Transcript, options: SegmentOptions) -> str:
    """Praat's short TextGrid: the numbers and texts of the long one, one a line."""
    first, last, tiers = _tiers(transcript)
    lines = [_FILE_TYPE, "", _seconds(first), _seconds(last), "<exists>", str(len(tiers))]
    for name, intervals in tiers:
        lines += ['"IntervalTier"', _quoted(name), _seconds(first), _seconds(last)]
        lines.append(str(len(intervals)))
        for start_ms, end_ms, text in intervals:
            lines += [_seconds(start_ms), _seconds(end_ms), _quoted(text)]
    return "\n".join(lines) + "\n"


@FORMATS.writer("textgrid", suffix=".TextGrid", needs_times=True)
def write_textgrid(transcript: Transcript, options: SegmentOptions) -> str:
    """Praat's TextGrid: tiers of segments, and of words and characters where there are some."""
    first, last, tiers = _tiers(transcript)
    bounds = [f"xmin = {_seconds(first)} ", f"xmax = {_seconds(last)} "]
    lines = [_FILE_TYPE, "", *bounds, "tiers? <exists> ", f"size = {len(tiers)} ", "item []: "]
    for number, (name, intervals) in enumerate(tiers, start=1):
        lines += [
            f"    item [{number}]:",
            '        class = "IntervalTier" ',
            f"        name = {_quoted(name)} ",
            *(f"        {bound}" for bound in bounds),
            f"        intervals: size = {len(intervals)} ",
        ]
        for index, (start_ms, end_ms, text) in enumerate(intervals, start=1):
            lines += [
                f"        intervals [{index}]:",
                f"            xmin = {_seconds(start_ms)} ",
                f"            xmax = {_seconds(end_ms)} ",
                f"            text = {_quoted(text)} ",
            ]
    return "\n".join(lines) + "\n"


@FORMATS.writer("ctm", needs_times=True, is_joinable=True)
def write_ctm(transcript: Transcript, options: SegmentOptions) -> str:
    """NIST time marks: `file channel start duration word score`, one line per word.

    The file is the id of the input, or its name without folder and suffix.
    """
    name = file_name(transcript)
    return "".join(
        f"{name} 1 {start / 1000:.3f} {(end - start) / 1000:.3f} {one_word(word.text)} "
        f"{word.score:.4f}\n"
        for start, end, word in timed_words(transcript)
    )


@FORMATS.writer("rttm", needs_times=True, is_joinable=True)
def write_rttm(transcript: Transcript, options: SegmentOptions) -> str:
    """NIST rich transcription: one SPEAKER line per segment, all of the speaker `speech`."""
    name = file_name(transcript)
    return "".join(
        f"SPEAKER {name} 1 {start / 1000:.3f} {(end - start) / 1000:.3f} <NA> <NA> speech "
        "<NA> <NA>\n"
        for start, end, _ in timed_segments(transcript)
    )


@FORMATS.writer("aud", suffix=".aud.txt", needs_times=True)
def write_aud(transcript: Transcript, options: SegmentOptions) -> str:
    """Audacity labels: `start<TAB>end<TAB>text`, words where there are some, else segments."""
    return "".join(
        f"{start / 1000:.6f}\t{end / 1000:.6f}\t{one_line(word.text)}\n"
        for start, end, word in timed_words(transcript)
    )


_FILE_TYPE = 'File type = "ooTextFile"\nObject class = "TextGrid"'


def _tiers(transcript: Transcript) -> tuple[int, int, list[_Tier]]:
    """Where the grid begins and ends, and its tiers, each without holes."""
    timed = timed_segments(transcript)
    segments = [(start, end, item.text) for start, end, item in timed]
    words = [(start, end, item.text) for start, end, item in timed_words(transcript)]
    characters = [(start, end, item.text) for start, end, item in timed_characters(transcript)]
    first = min([round(transcript.offset * 1000), *(start for start, _, _ in segments)])
    last = round((transcript.offset + transcript.duration) * 1000)
    last = max([last, first + 1, *(end for _, end, _ in (*segments, *words, *characters))])
    tiers: list[_Tier] = [("segments", list(_filled(segments, first, last)))]
    if transcript.source_text is not None:
        said = [(start, end, item.source_text or "") for start, end, item in timed]
        tiers.append(("source", list(_filled(said, first, last))))
    if any(segment.words for segment in transcript.segments):
        tiers.append(("words", list(_filled(words, first, last))))
    if characters:
        tiers.append(("characters", list(_filled(characters, first, last))))
    return first, last, tiers


def _filled(intervals: Sequence[_Interval], first: int, last: int) -> Iterator[_Interval]:
    """The intervals with empty ones between them: a tier must not have holes."""
    edges: Iterable[_Interval] = [(first, first, ""), *intervals, (last, last, "")]
    for (_, before, _), (start, end, text) in pairwise(edges):
        if start > before:
            yield before, start, ""
        if end > start:
            yield start, end, one_line(text)


def _seconds(time_ms: int) -> str:
    return f"{time_ms / 1000:.3f}".rstrip("0").rstrip(".")


def _quoted(text: str) -> str:
    """In quotes, those inside it doubled."""
    return '"' + text.replace('"', '""') + '"'
