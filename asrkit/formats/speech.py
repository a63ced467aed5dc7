"""What phoneticians and speech tools read: TextGrid, CTM, RTTM, Audacity labels."""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from asrkit.errors import InputError
from asrkit.formats.fields import file_name, one_line, one_word, speaker_of
from asrkit.formats.reading import (
    cue,
    finite,
    numbered,
    read_text,
    seconds,
    spoken,
    transcript_of,
    transcripts_in,
)
from asrkit.formats.registry import FORMATS
from asrkit.formats.times import timed_characters, timed_segments, timed_words, voices
from asrkit.options import SegmentOptions
from asrkit.types import Character, Segment, Transcript, Word

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
    """Praat's TextGrid: tiers of segments, and of words and characters where there are some.

    Each speaker has own tiers, named `Ann - words` as the Montreal Forced Aligner does; speech of
    one speaker that overlaps itself takes another set of them.
    """
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

    The file is the id of the input, or its name without folder and suffix. A speaker whose name is
    one letter or digit is a channel, all others speak on channel 1.
    """
    name = file_name(transcript)
    rows = []
    for voice in voices(transcript):
        speaker = next(map(speaker_of, voice.segments), "")
        channel = speaker if len(speaker) == 1 and speaker.isalnum() else "1"
        rows += [(channel, *timed) for timed in timed_words(voice)]
    return "".join(
        f"{name} {channel} {start / 1000:.3f} {(end - start) / 1000:.3f} {one_word(word.text)} "
        f"{word.score:.4f}\n"
        for channel, start, end, word in sorted(rows, key=lambda row: row[:2])
    )


@FORMATS.writer("rttm", needs_times=True, is_joinable=True)
def write_rttm(transcript: Transcript, options: SegmentOptions) -> str:
    """NIST rich transcription: one SPEAKER line per segment; who is not known is `speech`."""
    name = file_name(transcript)
    return "".join(
        f"SPEAKER {name} 1 {start / 1000:.3f} {(end - start) / 1000:.3f} <NA> <NA> "
        f"{one_word(speaker_of(segment) or _ANYBODY)} <NA> <NA>\n"
        for start, end, segment in timed_segments(transcript)
    )


@FORMATS.writer("aud", suffix=".aud.txt", needs_times=True)
def write_aud(transcript: Transcript, options: SegmentOptions) -> str:
    """Audacity labels: `start<TAB>end<TAB>text`, words where there are some, else segments."""
    return "".join(
        f"{start / 1000:.6f}\t{end / 1000:.6f}\t{one_line(word.text)}\n"
        for start, end, word in timed_words(transcript)
    )


_ANYBODY = "speech"
_FILE_TYPE = 'File type = "ooTextFile"\nObject class = "TextGrid"'


def _tiers(transcript: Transcript) -> tuple[int, int, list[_Tier]]:
    """Where the grid begins and ends, and its tiers, each without holes."""
    timed = [*timed_segments(transcript), *timed_words(transcript), *timed_characters(transcript)]
    first = min([round(transcript.offset * 1000), *(start for start, _, _ in timed)])
    last = round((transcript.offset + transcript.duration) * 1000)
    last = max([last, first + 1, *(end for _, end, _ in timed)])
    tiers: list[_Tier] = []
    for voice in voices(transcript):
        speaker = next(map(speaker_of, voice.segments), "")
        prefix = f"{speaker} - " if speaker else ""
        segments = timed_segments(voice)
        kinds = {"segments": [(start, end, item.text) for start, end, item in segments]}
        if transcript.source_text is not None:
            kinds["source"] = [
                (start, end, item.source_text or "") for start, end, item in segments
            ]
        if any(segment.words for segment in voice.segments):
            kinds["words"] = [(start, end, item.text) for start, end, item in timed_words(voice)]
        if characters := timed_characters(voice):
            kinds["characters"] = [(start, end, item.text) for start, end, item in characters]
        for kind, intervals in kinds.items():
            tiers.append((prefix + kind, list(_filled(intervals, first, last))))
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


# --------------------------------------------------------------------------------------- readers

_GRID_TOKEN = re.compile(r'"(?:[^"]|"")*"|[^\s"]+')
_KINDS = {"segment": "segments", "utterance": "segments", "utterances": "segments"}
_KINDS |= {"word": "words", "phone": "phones", "phonemes": "phones"}
_KINDS |= {kind: kind for kind in ("segments", "source", "words", "characters", "phones")}
_Label = tuple[float, float, str]  # in seconds


@FORMATS.reader("textgrid-short", holds="text segments words speakers")
@FORMATS.reader("textgrid", holds="text segments words speakers")
def read_textgrid(text: str) -> list[Transcript]:
    """Tiers of intervals of a long or short TextGrid, as `write_textgrid` names them.

    Of several tiers with other names each is a speaker's. Words without a tier of segments make
    some; phones are left out.

    Raises:
        InputError: not a TextGrid.
    """
    first, last, tiers = _parse_grid(text)
    named = [(name, *_speaker_and_kind(name)) for name, _ in tiers]
    is_alone = sum(kind is None for _, _, kind in named) == 1
    sets: list[tuple[str | None, dict[str, list[_Label]]]] = []  # of tiers, each one voice's
    latest: dict[str | None, dict[str, list[_Label]]] = {}  # set of each speaker
    for (name, speaker, kind), (_, intervals) in zip(named, tiers, strict=True):
        if kind is None:
            speaker, kind = None if is_alone else name, "segments"
        if kind in latest.get(speaker, {kind: []}):
            latest[speaker] = {}
            sets.append((speaker, latest[speaker]))
        latest[speaker][kind] = intervals
    segments = [segment for speaker, own in sets for segment in _of_voice(speaker, own)]
    return [transcript_of(segments, offset=first, duration=round(last - first, 6))]


def _of_voice(speaker: str | None, tiers: Mapping[str, list[_Label]]) -> Iterator[Segment]:
    """Segments of the tiers of a voice."""
    letters = [Character(c, start, end, 1.0) for start, end, c in tiers.get("characters", ()) if c]
    words = [
        Word(label, start, end, 1.0, _letters_in(letters, start, end))
        for start, end, label in tiers.get("words", ())
        if label
    ]
    sources = {start: label for start, _, label in tiers.get("source", ())}
    spans = [span for span in tiers.get("segments", ()) if span[2]]
    if not spans:
        yield from spoken(words, speaker=speaker)
        return
    said: list[list[Word]] = [[] for _ in spans]
    starts = [start for start, _, _ in spans]
    for word in words:  # to the segment around its middle, else to the nearest
        middle = (word.start + word.end) / 2
        last = bisect_right(starts, middle)
        near = range(max(0, last - 1), min(last + 1, len(spans)))
        said[min(near, key=lambda i: max(starts[i] - middle, middle - spans[i][1]))].append(word)
    for (start, end, label), own in zip(spans, said, strict=True):
        segment = cue(label.splitlines(), start, end, words=tuple(own), speaker=speaker)
        lines = segment.lines if len(segment.lines) > 1 else ()
        yield replace(segment, source_text=sources.get(start), lines=lines)


def _letters_in(letters: Sequence[Character], start: float, end: float) -> tuple[Character, ...]:
    """Those of letters in time order whose middle lies in a word."""
    first, last = (
        bisect_left(letters, 2 * time, key=lambda letter: letter.start + letter.end)
        for time in (start, end)
    )
    return tuple(letters[first:last])


def _speaker_and_kind(name: str) -> tuple[str | None, str | None]:
    """Ann and words, of `Ann - words`; no kind where the name says none."""
    speaker, _, kind = name.strip().rpartition(" - ")
    return speaker or None, _KINDS.get(kind.lower())


def words_of_file(path: str | Path) -> list[Word]:
    """Words with their times, from a TextGrid, a CTM file, JSON or another format that holds them.

    Of a TextGrid the tiers of words are taken, else the second interval tier, else the first.

    Raises:
        InputError: the file cannot be read, or holds none.
    """
    text = read_text(path)
    known = FORMATS.of_file(path)
    try:
        if known is None or "words" not in known.holds:
            readable = [name for name, item in FORMATS.items() if "words" in item.holds]
            raise InputError(f"not of a format with words ({', '.join(readable)})")
        found = transcripts_in(text, known)
        words = [word for item in found for segment in item.segments for word in segment.words]
        if not words and known.read is read_textgrid:
            _, _, tiers = _parse_grid(text)
            for _, intervals in tiers[1:2] or tiers:
                words = [Word(label, start, end, 1.0) for start, end, label in intervals if label]
        if not words:
            raise InputError("holds no words with times")
    except InputError as error:
        raise error.about(str(path)) from error
    return words


@FORMATS.reader("ctm", holds="recordings text words scores")
def read_ctm(text: str) -> list[Transcript]:
    """Words of one or more recordings; channels but 1 are speakers. Segments are made of words.

    Raises:
        InputError: as `ctm_words`.
    """
    recordings: dict[str, dict[str, list[Word]]] = {}
    for recording, channel, word in ctm_words(text):
        if not 0 <= word.start <= word.end:
            raise InputError(f"{recording}: {word.text!r} is from {word.start} to {word.end} s")
        recordings.setdefault(recording, {}).setdefault(channel, []).append(word)
    return [
        transcript_of(
            (
                segment
                for channel, words in channels.items()
                for segment in spoken(words, speaker=None if channel == "1" else channel)
            ),
            id=recording,
        )
        for recording, channels in recordings.items()
    ] or [transcript_of([])]


def ctm_words(text: str) -> list[tuple[str, str, Word]]:
    """The words of a CTM file, each with its recording and channel.

    Raises:
        InputError: a line is not as CTM has it.
    """
    words = []
    for place, fields in numbered(text, comment=";;"):
        if len(fields) < 5:
            raise InputError(f"{place}: {len(fields)} fields, expected 5 or 6")
        start, duration = (finite(field, place) for field in fields[2:4])
        score = finite(fields[5], place) if len(fields) > 5 else 1.0
        words.append(
            (fields[0], fields[1], Word(fields[4], start, round(start + duration, 6), score))
        )
    return words


@FORMATS.reader("rttm", holds="recordings segments speakers")
def read_rttm(text: str) -> list[Transcript]:
    """Who speaks when, in one or more recordings: the text of each turn is the speaker's name.

    Raises:
        InputError: a line has too few fields, or a time is none.
    """
    recordings: dict[str, list[Segment]] = {}
    for place, fields in numbered(text, comment=";;"):
        if fields[0] != "SPEAKER":
            continue
        if len(fields) < 8:
            raise InputError(f"{place}: {len(fields)} fields, expected 9 or 10")
        start, duration = (seconds(field, place) for field in fields[3:5])
        speaker = None if fields[7] in (_ANYBODY, "<NA>") else fields[7]
        end = round(start + duration, 6)
        turn = Segment(speaker or _ANYBODY, start, end, speaker=speaker)
        recordings.setdefault(fields[1], []).append(turn)
    if not recordings and text.strip():
        raise InputError("no SPEAKER lines found")
    return [transcript_of(turns, id=name) for name, turns in recordings.items()] or [
        transcript_of([])
    ]


@FORMATS.reader("aud", holds="text segments")
def read_aud(text: str) -> list[Transcript]:
    """Audacity labels, each a segment; lines of their frequencies are passed over.

    Raises:
        InputError: a line is not `start<TAB>end<TAB>text`.
    """
    labels = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("\\"):
            continue
        fields = line.split("\t", 2)
        if len(fields) < 2:
            raise InputError(f"line {number}: expected start<TAB>end<TAB>text")
        start, end = (seconds(field, f"line {number}") for field in fields[:2])
        labels.append(Segment(one_line("".join(fields[2:])), start, max(start, end)))
    return [transcript_of(labels)]


def _parse_grid(text: str) -> tuple[float, float, list[tuple[str, list[_Label]]]]:
    """Bounds and interval tiers of a TextGrid.

    Long and short ones are the same strings and free-standing numbers.
    """
    values = (token for token in _GRID_TOKEN.findall(text) if _is_value(token))
    tiers: list[tuple[str, list[_Label]]] = []
    try:
        if [next(values, ""), next(values, "")] != ['"ooTextFile"', '"TextGrid"']:
            raise InputError("not a TextGrid")
        first, last = seconds(next(values), "bounds"), seconds(next(values), "bounds")
        if next(values) != "<exists>":
            return first, last, []
        for _ in range(int(float(next(values)))):
            kind, name = next(values), next(values)
            next(values), next(values)
            intervals = []
            for _ in range(int(float(next(values)))):
                start = seconds(next(values), name)
                end = seconds(next(values), name) if kind == '"IntervalTier"' else start
                label = next(values)[1:-1].replace('""', '"').strip()
                intervals.append((start, max(start, end), label))
            if kind == '"IntervalTier"':
                tiers.append((name[1:-1].replace('""', '"'), sorted(intervals)))
    except (StopIteration, ValueError, OverflowError) as error:
        raise InputError("a TextGrid that ends early or holds something else") from error
    return first, max(first, last), tiers


def _is_value(token: str) -> bool:
    if token.startswith('"') or token in ("<exists>", "<absent>"):
        return True
    try:
        return math.isfinite(float(token))
    except ValueError:
        return False
