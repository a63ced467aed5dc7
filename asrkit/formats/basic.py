"""Plain text, JSON and tables."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from asrkit.errors import InputError
from asrkit.formats.fields import one_line, speaker_of
from asrkit.formats.reading import finite, seconds, spoken, transcript_of
from asrkit.formats.registry import FORMATS
from asrkit.formats.times import timed_characters, timed_segments, timed_words
from asrkit.formats.whisper import transcript_of_whisper
from asrkit.inputs import read_rows
from asrkit.options import SegmentOptions
from asrkit.types import (
    SCHEMA_VERSION,
    Segment,
    Transcript,
    Word,
)

_MAX_DEPTH = 64  # of lists and objects in JSON


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


@FORMATS.writer("txt", is_joinable=True)
def write_txt(transcript: Transcript, options: SegmentOptions) -> str:
    """The text on one line. Silence is an empty line, so that many files stay one line each.

    What was said, where there is such a text, stands before its translation and a tab.
    """
    texts = [transcript.text]
    if transcript.source_text is not None:
        texts.insert(0, " ".join(transcript.source_text.split()))
    return "\t".join(" ".join(text.splitlines()) for text in texts) + "\n"


@FORMATS.writer("json")
def write_json(transcript: Transcript, options: SegmentOptions) -> str:
    """Everything: `Transcript.to_dict` as indented JSON."""
    return json.dumps(transcript.to_dict(), ensure_ascii=False, allow_nan=False, indent=2) + "\n"


@FORMATS.writer("jsonl", is_joinable=True)
def write_jsonl(transcript: Transcript, options: SegmentOptions) -> str:
    """Everything: `Transcript.to_dict` as JSON on one line."""
    return _json_line(transcript.to_dict())


@FORMATS.writer("tsv", needs_times=True)
def write_tsv(transcript: Transcript, options: SegmentOptions) -> str:
    """Tab-separated rows under the header `start end text`, one per segment.

    Times are seconds with three decimals, as in every other output of asrkit; Whisper's files of
    this kind hold whole milliseconds. White space in the text, tabs included, becomes one space.
    A translation has what was said in a column `source`, where that was asked for; speakers, where
    they are known, stand in a column `speaker`.
    """
    return "".join("\t".join(row) + "\n" for row in _table(transcript))


@FORMATS.writer("csv", needs_times=True)
def write_csv(transcript: Transcript, options: SegmentOptions) -> str:
    """The rows of tsv with commas, quoted as RFC 4180 says."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(_table(transcript))
    return file.getvalue()


def _table(transcript: Transcript) -> Iterator[list[str]]:
    has_source = transcript.source_text is not None
    timed = timed_segments(transcript)
    has_speakers = any(speaker_of(segment) for _, _, segment in timed)
    extra = [*(["source"] if has_source else []), *(["speaker"] if has_speakers else [])]
    yield ["start", "end", "text", *extra]
    for start_ms, end_ms, segment in timed:
        cells = {"source": segment.source_text, "speaker": speaker_of(segment)}
        texts = [segment.text, *(cells[name] or "" for name in extra)]
        yield [f"{start_ms / 1000:.3f}", f"{end_ms / 1000:.3f}", *map(one_line, texts)]


@FORMATS.writer("words", suffix=".words.tsv", needs_times=True)
def write_words(transcript: Transcript, options: SegmentOptions) -> str:
    """Tab-separated rows under the header `start end score word note`, one per word.

    Rows are characters where the transcript has them and segments where it has no words; the
    header says which. The note is `unaligned` where a word's time is not from its own letters,
    `low` where it fell short of a check, else empty.
    """
    if any(word.characters for segment in transcript.segments for word in segment.words):
        kind, rows = "char", _rows(timed_characters(transcript))
    elif any(segment.words for segment in transcript.segments):
        kind, rows = "word", _rows(timed_words(transcript))
    else:
        kind, rows = "segment", _rows(timed_segments(transcript))
    return f"start\tend\tscore\t{kind}\tnote\n" + "".join(rows)


def _rows(timed: Sequence[tuple[int, int, Any]]) -> Iterator[str]:
    for start_ms, end_ms, item in timed:
        score = "" if item.score is None else f"{item.score:.4f}"
        note = "" if getattr(item, "ok", True) else "low"
        note = note if getattr(item, "aligned", True) else "unaligned"
        times = f"{start_ms / 1000:.3f}\t{end_ms / 1000:.3f}"
        yield f"{times}\t{score}\t{one_line(item.text)}\t{note}\n"


def _json_line(data: Mapping[str, object]) -> str:
    return json.dumps(data, ensure_ascii=False, allow_nan=False) + "\n"


# --------------------------------------------------------------------------------------- readers


@FORMATS.reader("txt", ".lab", holds="text")
def read_txt(text: str) -> list[Transcript]:
    """Every line is a segment, without times: from 0 to 0."""
    lines = filter(None, map(one_line, text.splitlines()))
    return [transcript_of(Segment(line, 0.0, 0.0) for line in lines)]


@FORMATS.reader("json", holds="text segments words speakers scores")
def read_json(text: str) -> list[Transcript]:
    """A transcript of asrkit, or one of Whisper, whisper.cpp, WhisperX or transformers.

    Raises:
        InputError: none of these.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON: {error}") from error
    return [_transcript(data)]


@FORMATS.reader("jsonl", holds="recordings text segments words speakers scores")
def read_jsonl(text: str) -> list[Transcript | InputError]:
    """What `read_json` reads, one a line; a line of an input that failed is a failure again."""
    found: list[Transcript | InputError] = []
    for line, row in read_rows(io.StringIO(text, newline=""), "", is_jsonl=True):
        try:
            if isinstance(row, InputError):
                raise row
            if "error" in row:
                raise InputError(f"line {line}: an input that failed: {str(row['error'])[:80]}")
            found.append(_transcript(row))
        except InputError as error:
            found.append(error.about(f"line {line}"))
    return found


@FORMATS.reader("tsv", holds="recordings text segments speakers")
def read_tsv(text: str) -> list[Transcript]:
    """Rows with columns start, end and text; speaker, source and audio or id where there are some.

    Whole numbers in all rows are milliseconds, as Whisper writes them.

    Raises:
        InputError: a column is missing, or a time is none.
    """
    return _read_table(text, is_tsv=True)


@FORMATS.reader("csv", holds="recordings text segments speakers")
def read_csv(text: str) -> list[Transcript]:
    """The rows of `read_tsv` with commas; Raises as well."""
    return _read_table(text, is_tsv=False)


@FORMATS.reader("words", holds="text words scores")
def read_word_rows(text: str) -> list[Transcript]:
    """The rows that asrkit writes: words, of which segments are made, or segments.

    Raises:
        InputError: not such rows; or rows are characters, which do not say where words begin.
    """
    segments: list[Segment] = []
    words: list[Word] = []
    for place, row in _cells(text, ("start", "end", "score"), is_tsv=True):
        start, end = seconds(row["start"], place), seconds(row["end"], place)
        span = start, max(start, end)
        score = finite(row["score"], place) if row["score"] else None
        note = row.get("note", "")
        if "segment" in row:
            segments.append(Segment(row["segment"], *span, score, ok=note != "low"))
        elif "word" in row:
            score = 1.0 if score is None else score
            word = Word(row["word"], *span, score, (), note != "unaligned", note != "low")
            words.append(word)
        else:
            raise InputError(f"line 1: no column 'word' or 'segment', found {', '.join(row)[:80]}")
    return [transcript_of([*segments, *spoken(words)])]


def _transcript(data: Any) -> Transcript:
    """A transcript of JSON, whoever wrote it.

    Raises:
        InputError: it is none, or holds what no other file can: half a character, NaN, depth.
    """
    if isinstance(data, list):
        data = {"segments": data}
    if isinstance(data, dict) and "schema" not in data:
        return transcript_of_whisper(data)
    _check_values(data)
    return Transcript.from_dict(data)


def _check_values(data: Any) -> None:
    level = [data]
    for _ in range(_MAX_DEPTH):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += (*value, *value.values())
            elif isinstance(value, list):
                below += value
            elif isinstance(value, str):
                if "\0" in value or (not value.isascii() and _is_broken(value)):
                    raise InputError(f"{value[:40]!r} is not text")
            elif isinstance(value, (int, float)):
                finite(value, "JSON")
        if not below:
            return
        level = below
    raise InputError(f"nested more than {_MAX_DEPTH} deep")


def _is_broken(text: str) -> bool:
    """Whether it holds halves of characters, which JSON can escape and no file can hold."""
    return any("\ud800" <= character <= "\udfff" for character in text)


def _cells(
    text: str, columns: tuple[str, ...], *, is_tsv: bool
) -> Iterator[tuple[str, dict[str, str]]]:
    """`line 3` and the cells of each row of a table that must have some columns."""
    rows = read_rows(io.StringIO(text, newline=""), "", is_jsonl=False, is_tsv=is_tsv)
    for line, row in rows:
        if isinstance(row, InputError):
            raise row
        missing = [name for name in columns if name not in row]
        if missing:
            raise InputError(f"line 1: no column {missing[0]!r}, found {', '.join(row)[:80]}")
        yield f"line {line}", row


def _read_table(text: str, *, is_tsv: bool) -> list[Transcript]:
    rows = list(_cells(text, ("start", "end", "text"), is_tsv=is_tsv))
    is_ms = all(row[name].strip().isdecimal() for _, row in rows for name in ("start", "end"))
    recordings: dict[str, list[Segment]] = {}
    for place, row in rows:
        start, end = (
            seconds(row[name], place)
            if not is_ms
            else seconds(finite(row[name], place) / 1000, place)
            for name in ("start", "end")
        )
        segment = Segment(
            one_line(row["text"]),
            start,
            max(start, end),
            source_text=row.get("source"),
            speaker=row.get("speaker") or None,
        )
        recordings.setdefault(row.get("id") or row.get("audio") or "", []).append(segment)
    if not recordings:
        return [transcript_of([])]
    return [transcript_of(segments, id=id_) for id_, segments in recordings.items()]
