"""Plain text, JSON and tables."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping

from asrkit.formats.fields import one_line
from asrkit.formats.registry import FORMATS
from asrkit.formats.times import timed_segments
from asrkit.options import SegmentOptions
from asrkit.types import (
    SCHEMA_VERSION,
    Character,
    Segment,
    Transcript,
    Word,
)


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
    A translation has what was said in a fourth column, `source`, where that was asked for.
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
    yield ["start", "end", "text", *(["source"] if has_source else [])]
    for start_ms, end_ms, segment in timed_segments(transcript):
        texts = [segment.text, *([segment.source_text or ""] if has_source else [])]
        times = [f"{start_ms / 1000:.3f}", f"{end_ms / 1000:.3f}"]
        yield [*times, *(" ".join(text.split()) for text in texts)]


@FORMATS.writer("words", suffix=".words.tsv", needs_times=True)
def write_words(transcript: Transcript, options: SegmentOptions) -> str:
    """Tab-separated rows under the header `start end score word note`, one per word.

    Rows are characters where the transcript has them and segments where it has no words; the
    header says which. The note is `unaligned` where a word's time is not from its own letters,
    `low` where it fell short of a check, else empty.
    """
    kind, rows = _finest(transcript)
    lines = [f"start\tend\tscore\t{kind}\tnote\n"]
    for item in rows:
        score = "" if item.score is None else f"{item.score:.4f}"
        text = one_line(item.text)
        lines.append(f"{item.start:.3f}\t{item.end:.3f}\t{score}\t{text}\t{_note(item)}\n")
    return "".join(lines)


def _finest(transcript: Transcript) -> tuple[str, list[Segment] | list[Word] | list[Character]]:
    words = [word for segment in transcript.segments for word in segment.words]
    characters = [character for word in words for character in word.characters]
    if characters:
        return "char", characters
    if words:
        return "word", words
    return "segment", list(transcript.segments)


def _note(item: Segment | Word | Character) -> str:
    if not getattr(item, "aligned", True):
        return "unaligned"
    return "" if getattr(item, "ok", True) else "low"


def _json_line(data: Mapping[str, object]) -> str:
    return json.dumps(data, ensure_ascii=False, allow_nan=False) + "\n"
