"""Classifications to text: labels of whole inputs, of windows, and turns."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator

from asrkit.errors import InputError
from asrkit.formats.fields import file_name, one_line, one_word
from asrkit.formats.registry import Registry
from asrkit.types import Classification

LABEL_FORMATS = Registry()
"""Of classifications. Writers take a `Classification`."""

_COLUMNS = ("audio", "start", "end", "label", "score")


@LABEL_FORMATS.writer("txt", is_joinable=True)
def write_txt(result: Classification) -> str:
    """`label<TAB>score` lines, after `start<TAB>end<TAB>` where stretches were labelled."""
    lines = []
    for start, end, label, score in _rows(result):
        times = "" if start is None else f"{start:.3f}\t{end:.3f}\t"
        lines.append(f"{times}{one_line(label)}\t{score:.4f}\n")
    return "".join(lines)


@LABEL_FORMATS.writer("tsv", is_joinable=True, header="\t".join(_COLUMNS) + "\n")
def write_tsv(result: Classification) -> str:
    """Tab-separated rows under the header `audio start end label score`, one per label."""
    return "".join("\t".join(row) + "\n" for row in _table(result))


@LABEL_FORMATS.writer("csv", is_joinable=True, header=",".join(_COLUMNS) + "\n")
def write_csv(result: Classification) -> str:
    """The rows of tsv with commas, quoted as RFC 4180 says."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(_table(result))
    return file.getvalue()


@LABEL_FORMATS.writer("json")
def write_json(result: Classification) -> str:
    """Everything: `Classification.to_dict` as indented JSON."""
    return json.dumps(result.to_dict(), ensure_ascii=False, allow_nan=False, indent=2) + "\n"


@LABEL_FORMATS.writer("jsonl", is_joinable=True)
def write_jsonl(result: Classification) -> str:
    """Everything: `Classification.to_dict` as JSON on one line."""
    return json.dumps(result.to_dict(), ensure_ascii=False, allow_nan=False) + "\n"


@LABEL_FORMATS.writer("rttm", needs_times=True, is_joinable=True)
def write_rttm(result: Classification) -> str:
    """NIST rich transcription: a SPEAKER line for each turn, with its label as the speaker.

    Raises:
        InputError: the whole input was labelled, so there are no turns.
    """
    if result.labels:
        raise InputError(
            f"{result.source}: rttm needs times, and this result has none", hint="use --window"
        )
    name = file_name(result)
    return "".join(
        f"SPEAKER {name} 1 {turn.start:.3f} {turn.end - turn.start:.3f} <NA> <NA> "
        f"{one_word(turn.label)} <NA> <NA>\n"
        for turn in result.turns
    )


def _rows(result: Classification) -> Iterator[tuple[float | None, float | None, str, float]]:
    """(start, end, label, score): of windows where there are some, else turns, else the whole."""
    for window in result.windows:
        for label in window.labels:
            yield window.start, window.end, label.name, label.score
    if not result.windows:
        for turn in result.turns:
            yield turn.start, turn.end, turn.label, turn.score
    for label in result.labels:
        yield None, None, label.name, label.score


def _table(result: Classification) -> Iterator[tuple[str, ...]]:
    end_of_input = result.offset + result.duration
    for start, end, label, score in _rows(result):
        times = (result.offset, end_of_input) if start is None or end is None else (start, end)
        yield (
            one_line(result.id or result.source),
            *(f"{time:.3f}" for time in times),
            one_line(label),
            f"{score:.4f}",
        )
