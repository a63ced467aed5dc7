"""Many texts with their ids: references and hypotheses in the formats of speech recognition.

lines       one utterance a line; with ids before it (Kaldi), behind it in brackets (trn), or
            before a tab, as `asrkit transcribe` prints them
tables      .jsonl .csv .tsv, manifests and the JSON Lines of `asrkit transcribe` among them
times       .stm (segments with speakers) and .ctm (words)
documents   .srt .vtt .ass .json: the whole text of one recording; a folder of such, and of
            .txt files, has one for each name
"""

from __future__ import annotations

import io
import itertools
import math
import os
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any

from asrkit.errors import InputError, ManifestError
from asrkit.formats.reading import TEXT_SUFFIXES, finite, read_text, segments_of
from asrkit.formats.speech import ctm_words
from asrkit.inputs import MANIFEST_SUFFIXES, labels_of, read_rows
from asrkit.options import TableOptions
from asrkit.types import Word

_DOCUMENTS = frozenset(TEXT_SUFFIXES) - {".txt", ".lab"}
_TRN = re.compile(r"(.*)\(([^()\s]+)\)\s*")
_IGNORED = "ignore_time_segment_in_scoring"


@dataclass(frozen=True, slots=True)
class Utterance:
    """One text, reference or hypothesis.

    Attributes:
        id: what it is paired by; "" where its place among others is all there is.
        text: what was said; None where a recognizer failed.
        line: where it stands in its file, from 1.
        labels: what to group by: speaker, data set, ...
        audio: the sound, if known.
        offset: where it begins in the sound, in seconds.
        duration: how long it is, in seconds, if known.
        seconds: how long a recognizer took for it, if known.
    """

    id: str
    text: str | None
    line: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    audio: str = ""
    offset: float = 0.0
    duration: float | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Texts:
    """What one file or folder holds.

    Attributes:
        name: the file.
        utterances: in the order of the file.
        is_document: it is one text as a whole.
        words: of a CTM file: (recording, channel) to words with times.
    """

    name: str
    utterances: Sequence[Utterance]
    is_document: bool = False
    words: Mapping[tuple[str, str], Sequence[Word]] = field(default_factory=dict)

    @property
    def has_ids(self) -> bool:
        """Whether utterances are known by more than their order."""
        return not self.is_document and any(item.id for item in self.utterances)


def read_texts(path: str, options: TableOptions, *, is_hypothesis: bool = False) -> Texts:
    """Read a file or folder, as its suffix or its content says.

    Args:
        path: the file, a folder of documents, or "-" for standard input.
        options: which columns of a table, and where ids stand in lines.
        is_hypothesis: of a table with a column for each, take that of hypotheses.

    Raises:
        InputError: it cannot be read or is not what its suffix says.
    """
    if path != "-" and os.path.isdir(path):
        return Texts(path, _read_folder(path))
    name = "standard input" if path == "-" else path
    try:
        return _read(read_text(path), name, options, is_hypothesis)
    except InputError as error:
        raise error.about(name) from error


def _read(text: str, name: str, options: TableOptions, is_hypothesis: bool) -> Texts:
    suffix = os.path.splitext(name)[1].lower()
    if suffix == ".stm":
        return Texts(name, _read_stm(text))
    if suffix == ".ctm":
        words: dict[tuple[str, str], list[Word]] = {}
        for recording, channel, word in ctm_words(text):
            words.setdefault((recording, channel), []).append(word)
        return Texts(name, _utterances_of_words(words), words=words)
    if suffix in _DOCUMENTS:
        return Texts(name, [Utterance("", _whole(text, suffix))], is_document=True)
    is_jsonl = suffix == ".jsonl" or (suffix not in MANIFEST_SUFFIXES and text.startswith("{"))
    is_table = suffix in MANIFEST_SUFFIXES and not _is_tsv_without_header(text, suffix, options)
    if is_jsonl or is_table:
        rows = read_rows(io.StringIO(text, newline=""), name, is_jsonl=is_jsonl)
        return Texts(name, list(_utterances_of_rows(rows, name, options, is_hypothesis)))
    return Texts(name, _read_lines(text, options.ids))


# ----------------------------------------------------------------------------------------- lines


def _read_lines(text: str, ids: str) -> list[Utterance]:
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    lines = [line.removesuffix("\r") for line in lines]
    split = _SPLITTERS[_place_of_ids(lines) if ids == "auto" else ids]
    return [
        split(line, number)
        for number, line in enumerate(lines, start=1)
        if line.strip() or split is _plain
    ]


def _place_of_ids(lines: Sequence[str]) -> str:
    """Where ids stand, if every line has one; else none.

    First words are ids where there are several lines and each begins with another word that holds a
    digit.
    """
    full = [line for line in lines if line.strip()]
    if not full:
        return "none"
    if all("\t" in line.strip("\n ") for line in full):
        return "tab"
    if all(_TRN.fullmatch(line) for line in full):
        return "last"
    first = {line.split(maxsplit=1)[0] for line in full}
    has_digits = all(any(c.isdigit() for c in word) for word in first)
    return "first" if len(full) == len(first) > 1 and has_digits else "none"


def _plain(line: str, number: int) -> Utterance:
    return Utterance("", line, number)


def _id_first(line: str, number: int) -> Utterance:
    id_, *text = line.split(maxsplit=1)
    return Utterance(id_, "".join(text), number)


def _id_last(line: str, number: int) -> Utterance:
    match = _TRN.fullmatch(line)
    if match is None:
        raise InputError(f"line {number}: found no (id) at the end of {line[-40:]!r}")
    return Utterance(match[2], match[1], number)


def _id_before_tab(line: str, number: int) -> Utterance:
    id_, tab, text = line.partition("\t")
    if not tab or not id_.strip():
        raise InputError(f"line {number}: expected `id<TAB>text`, found {line[:40]!r}")
    return Utterance(id_.strip(), text, number)


_SPLITTERS: Mapping[str, Callable[[str, int], Utterance]] = {
    "none": _plain,
    "first": _id_first,
    "last": _id_last,
    "tab": _id_before_tab,
}


# ---------------------------------------------------------------------------------------- tables


def _is_tsv_without_header(text: str, suffix: str, options: TableOptions) -> bool:
    cells = text.partition("\n")[0].rstrip("\r").split("\t")
    return (
        suffix == ".tsv"
        and len(cells) == 2
        and not {options.ref_column, options.hyp_column, options.audio_column} & set(cells)
    )


def _utterances_of_rows(
    rows: Iterable[tuple[int, dict[str, Any] | ManifestError]],
    name: str,
    options: TableOptions,
    is_hypothesis: bool,
) -> Iterator[Utterance]:
    """Rows; the column of hypotheses counts only where it is there."""
    wanted = (options.hyp_column, options.ref_column)[not is_hypothesis :]
    for line, row in rows:
        if isinstance(row, ManifestError):
            raise row
        column = next((column for column in wanted if column in row), None)
        if column is None and "error" not in row:
            raise InputError(
                f"{name}:{line}: no column {wanted[0]!r}, found {', '.join(map(str, row))}",
                hint="--ref-column and --hyp-column name the columns of texts",
            )
        said = row.get(column) if column is not None else None
        if said is not None and not isinstance(said, str):
            raise InputError(f"{name}:{line}: {column} is not text")
        yield _utterance_of_row(row, said, line, name, options)


def _utterance_of_row(
    row: Mapping[str, Any], said: str | None, line: int, name: str, options: TableOptions
) -> Utterance:
    path = row.get(options.audio_column)
    audio = row.get("audio")  # in JSON Lines of asrkit: the path from where it ran
    if isinstance(path, str) and path:
        audio = os.path.join(os.path.dirname(name), path)
    id_ = row.get(options.id_column)
    used = {options.audio_column, options.ref_column, options.hyp_column, options.id_column}
    return Utterance(
        id=str(id_) if id_ not in (None, "") else str(audio or ""),
        text=said,
        line=line,
        labels=labels_of(row, used | {"audio", "offset", "duration", "schema"}),
        audio=str(audio or ""),
        offset=_seconds(row.get("offset")) or 0.0,
        duration=_seconds(row.get("duration")),
        seconds=_seconds(row.get(options.time_column)),
    )


def _seconds(value: object) -> float | None:
    try:
        seconds = float(value)  # type: ignore[arg-type]  # what is no number raises
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


# ----------------------------------------------------------------------------------------- times


def _read_stm(text: str) -> list[Utterance]:
    """Segments; those to be ignored in scoring have no text."""
    utterances = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith(";;"):
            continue
        fields = line.split(maxsplit=5)
        if len(fields) < 5:
            raise InputError(f"line {number}: {len(fields)} fields, expected 6 of a segment")
        recording, channel, speaker = fields[:3]
        start, end = (finite(value, f"line {number}") for value in fields[3:5])
        said = fields[5] if len(fields) > 5 else ""
        labels = {"speaker": speaker, "recording": recording, "channel": channel}
        if said.startswith("<"):
            marks, bracket, rest = said[1:].partition(">")
            if bracket:
                labels["label"], said = marks, rest.strip()
        utterances.append(
            Utterance(
                "-".join((recording, channel, speaker, *fields[3:5])),
                None if said.lower() == _IGNORED else said,
                number,
                labels,
                offset=start,
                duration=max(0.0, end - start),
            )
        )
    return utterances


def _utterances_of_words(words: Mapping[tuple[str, str], Sequence[Word]]) -> list[Utterance]:
    """One utterance for each recording, or for each of its channels if it has several."""
    recordings = [recording for recording, _ in words]
    return [
        Utterance(
            recording if recordings.count(recording) == 1 else f"{recording}-{channel}",
            _joined(own),
            labels={"recording": recording, "channel": channel},
        )
        for (recording, channel), own in words.items()
    ]


def _joined(words: Sequence[Word]) -> str:
    return " ".join(word.text for word in sorted(words, key=attrgetter("start")))


def words_in_segments(segments: Sequence[Utterance], texts: Texts) -> Texts:
    """Words with times as the utterances of a reference with times.

    A word belongs to the segment that its middle lies in, else to the nearest of its recording and
    channel, so that it counts as an error there. Words in ignored segments are left out.

    Args:
        segments: of the reference, ignored ones among them.
        texts: the words.

    Raises:
        InputError: words of a recording or channel that the reference does not have.
    """
    by_channel: dict[tuple[str, str], list[Utterance]] = {}
    for item in segments:
        by_channel.setdefault((item.labels["recording"], item.labels["channel"]), []).append(item)
    unknown = sorted(set(texts.words) - set(by_channel))
    if unknown:
        raise InputError(
            f"{texts.name}: recording {unknown[0][0]!r} channel {unknown[0][1]!r} is not in the "
            "reference",
            hint="names and channels (A, 1) must be spelled alike",
        )
    found: dict[str, list[Word]] = {item.id: [] for item in segments}
    for key, words in texts.words.items():
        ordered = sorted(by_channel[key], key=attrgetter("offset"))
        starts = [item.offset for item in ordered]
        reach = list(itertools.accumulate(map(_end, ordered), max))
        for word in words:
            middle = (word.start + word.end) / 2
            last = first = bisect_right(starts, middle)
            while first and reach[first - 1] >= middle:  # a segment up to there still goes on
                first -= 1
            near = ordered[max(0, first - 1) : last + 1]
            found[min(near, key=lambda item: _distance(item, middle)).id].append(word)
    utterances = [
        replace(item, text=_joined(found[item.id])) for item in segments if item.text is not None
    ]
    return replace(texts, utterances=utterances)


def _end(segment: Utterance) -> float:
    return segment.offset + (segment.duration or 0.0)


def _distance(segment: Utterance, time: float) -> float:
    return max(segment.offset - time, time - _end(segment), 0.0)


# ------------------------------------------------------------------------------------- documents


def _whole(text: str, suffix: str) -> str:
    return " ".join(segment.text for segment in segments_of(text, suffix))


def _read_folder(folder: str) -> list[Utterance]:
    """One utterance for each text file below a folder, by its path without the suffix."""
    utterances: dict[str, Utterance] = {}
    for path in sorted(_files_below(folder)):
        stem, suffix = os.path.splitext(os.path.relpath(path, folder))
        if suffix.lower() not in TEXT_SUFFIXES:
            continue
        id_ = stem.replace(os.sep, "/")
        if id_ in utterances:
            raise InputError(f"{folder}: several texts are called {id_}", hint="leave one of them")
        try:
            utterances[id_] = Utterance(id_, _whole(read_text(path), suffix))
        except InputError as error:
            raise error.about(path) from error
    if not utterances:
        raise InputError(f"{folder}: holds no texts", hint=f"known are {', '.join(TEXT_SUFFIXES)}")
    return list(utterances.values())


def _files_below(folder: str) -> Iterator[str]:
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (os.path.join(parent, name) for name in files if not name.startswith("."))
