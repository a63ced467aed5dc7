"""References with the hypotheses of one or several systems: which text belongs to which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from asrkit.errors import InputError
from asrkit.formats.utterances import Texts, Utterance, words_in_segments
from asrkit.types import AudioInput, ModelInfo

_MOST_NAMED = 5


@dataclass(frozen=True)
class System:
    """What one recognizer heard.

    Attributes:
        name: of the file or the model.
        texts: (N,) its text for each utterance of the corpus.
        num_missing: texts that it does not have and that count as empty.
        audio_seconds: length of the audio that its time is known for.
        seconds: that time.
        model: which weights, if known.
        options: how they were used, if known.
    """

    name: str
    texts: Sequence[str]
    num_missing: int = 0
    audio_seconds: float = 0.0
    seconds: float = 0.0
    model: ModelInfo | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Corpus:
    """What is compared with what.

    Attributes:
        name: of the references.
        utterances: (N,) the references, each with a text and an id.
        systems: at least one.
        notes: what was left out, as sentences.
    """

    name: str
    utterances: Sequence[Utterance]
    systems: tuple[System, ...]
    notes: tuple[str, ...] = ()

    def labels(self, column: str) -> list[str]:
        """The value of a column for each utterance; "" where it has none.

        Raises:
            InputError: no utterance has this column.
        """
        check_columns(self.name, self.utterances, [column])
        return [item.labels.get(column, "") for item in self.utterances]


def check_columns(
    name: str, items: Iterable[Utterance | AudioInput], columns: Sequence[str]
) -> None:
    """Refuse to group by what no utterance has.

    Args:
        name: of the references.
        items: the references.
        columns: to group by.

    Raises:
        InputError: no utterance has one of these columns.
    """
    known: set[str] = set().union(*(item.labels for item in items)) if columns else set()
    for column in columns:
        if column not in known:
            raise InputError(
                f"{name}: no column {column!r} to group by",
                hint=f"there are {', '.join(sorted(known))}" if known else "it has no columns",
            )


def pair(reference: Texts, hypotheses: Sequence[Texts], missing: str = "error") -> Corpus:
    """Find the hypotheses of every reference: by id, or by line where neither side has ids.

    Args:
        reference: the true texts.
        hypotheses: of each system.
        missing: what to do for a reference without a hypothesis: error, empty (nothing was heard),
            skip (leave it out). A hypothesis without a reference is left out unless it is an error.

    Raises:
        InputError: empty files, ids that come twice, texts that cannot be paired.
    """
    if not reference.utterances:
        raise InputError(f"{reference.name}: holds no utterances")
    segments = reference.utterances
    hypotheses = [
        words_in_segments(segments, texts)
        if texts.words
        and not reference.words
        and all("recording" in item.labels for item in segments)
        else texts
        for texts in hypotheses
    ]
    names = _distinct([texts.name for texts in hypotheses])
    hypotheses = [replace(texts, name=name) for texts, name in zip(hypotheses, names, strict=True)]
    reference = replace(reference, utterances=[u for u in segments if u.text is not None])
    if any(texts.is_document for texts in (reference, *hypotheses)):
        reference = _as_document(reference)
        hypotheses = [_as_document(texts) for texts in hypotheses]
    if reference.has_ids:
        return _pair_by_id(reference, hypotheses, missing)
    return _pair_by_line(reference, hypotheses)


def _distinct(names: Sequence[str]) -> list[str]:
    """Names, those that come again with a number behind them."""
    return [
        name if name not in names[:index] else f"{name} ({names[: index + 1].count(name)})"
        for index, name in enumerate(names)
    ]


def _as_document(texts: Texts) -> Texts:
    """Lines without ids, or one with an id, as one text."""
    if texts.is_document or (texts.has_ids and len(texts.utterances) > 1):
        return texts
    whole = " ".join(item.text or "" for item in texts.utterances)
    return Texts(texts.name, [Utterance("", whole)], is_document=True)


def _pair_by_line(reference: Texts, hypotheses: Sequence[Texts]) -> Corpus:
    for texts in hypotheses:
        if texts.has_ids:
            raise InputError(
                f"{texts.name} has ids such as {texts.utterances[0].id!r}, and {reference.name} "
                "has none to pair them with",
                hint="--ids first|last|tab|none says where ids stand in lines",
            )
        if len(texts.utterances) != len(reference.utterances):
            raise InputError(
                f"{reference.name} has {len(reference.utterances)} lines, {texts.name} has "
                f"{len(texts.utterances)}",
                hint="texts without ids are paired line by line; an empty line is an empty text",
            )
    utterances = [
        replace(item, id=reference.name if reference.is_document else f"line {number}")
        for number, item in enumerate(reference.utterances, start=1)
    ]
    systems = tuple(_system(texts.name, utterances, texts.utterances) for texts in hypotheses)
    notes = () if reference.is_document else _notes_on_first_words(reference, hypotheses)
    return Corpus(reference.name, utterances, systems, notes)


def _notes_on_first_words(reference: Texts, hypotheses: Sequence[Texts]) -> tuple[str, ...]:
    """A warning where lines begin with what may be ids."""
    columns = [
        [(item.text or "").split(maxsplit=1)[:1] for item in texts.utterances]
        for texts in (reference, *hypotheses)
    ]
    first = columns[0]
    are_all_new = len({tuple(word) for word in first}) == len(first) > 2
    if are_all_new and all(column == first for column in columns):
        return (
            "every line begins with a word of its own that the hypothesis has too; if those are "
            "ids: --ids first",
        )
    return ()


def _pair_by_id(reference: Texts, hypotheses: Sequence[Texts], missing: str) -> Corpus:
    _refuse_doubles(reference)
    found: list[dict[str, Utterance]] = []
    for texts in hypotheses:
        if not texts.has_ids:
            raise InputError(
                f"{reference.name} has ids such as {reference.utterances[0].id!r}, and "
                f"{texts.name} has none to pair them with",
                hint="--ids first|last|tab|none says where ids stand in lines",
            )
        _refuse_doubles(texts)
        found.append({item.id: item for item in texts.utterances if item.text is not None})
    known = {item.id for item in reference.utterances}
    notes = []
    for texts, texts_by_id in zip(hypotheses, found, strict=True):
        if not known & texts_by_id.keys():
            raise InputError(
                f"{reference.name} and {texts.name} have no id in common: "
                f"{reference.utterances[0].id!r} there, {texts.utterances[0].id!r} here"
            )
        lost = [item.id for item in reference.utterances if item.id not in texts_by_id]
        extra = [id_ for id_ in texts_by_id if id_ not in known]
        if missing == "error" and (lost or extra):
            raise InputError(
                "; ".join(
                    [f"{texts.name} has no hypothesis for {_named(lost)}"] * bool(lost)
                    + [f"{reference.name} has no reference for {_named(extra)}"] * bool(extra)
                ),
                hint="--missing empty counts those as nothing heard, skip leaves them out",
            )
        if lost:
            what = "left out" if missing == "skip" else "counted as nothing heard"
            notes.append(f"no hypothesis in {texts.name}, {what}: {_named(lost)}")
        if extra:
            notes.append(f"no reference for texts of {texts.name}, left out: {_named(extra)}")
    utterances = [
        item
        for item in reference.utterances
        if missing != "skip" or all(item.id in texts_by_id for texts_by_id in found)
    ]
    systems = tuple(
        _system(texts.name, utterances, [texts_by_id.get(item.id) for item in utterances])
        for texts, texts_by_id in zip(hypotheses, found, strict=True)
    )
    return Corpus(reference.name, utterances, systems, tuple(notes))


def _system(
    name: str, references: Sequence[Utterance], hypotheses: Sequence[Utterance | None]
) -> System:
    audio_seconds = seconds = 0.0
    for reference, item in zip(references, hypotheses, strict=True):
        if item is None or item.seconds is None:
            continue
        duration = item.duration if item.duration is not None else reference.duration
        if duration is not None:
            audio_seconds += duration
            seconds += item.seconds
    texts = ["" if item is None else item.text or "" for item in hypotheses]
    num_missing = sum(item is None for item in hypotheses)
    return System(name, texts, num_missing, audio_seconds, seconds)


def _refuse_doubles(texts: Texts) -> None:
    unnamed = [item for item in texts.utterances if not item.id]
    if unnamed:
        raise InputError(f"{texts.name}:{unnamed[0].line}: no id, and others have one")
    counts = Counter(item.id for item in texts.utterances)
    if len(counts) == len(texts.utterances):
        return
    doubles = [id_ for id_, count in counts.items() if count > 1]
    lines = [item.line for item in texts.utterances if item.id == doubles[0] and item.line]
    where = f", in lines {' and '.join(map(str, lines[:3]))}" if lines else ""
    raise InputError(f"{texts.name}: several texts for {_named(doubles)}{where}")


def _named(ids: Iterable[str]) -> str:
    """The first few ids, and how many there are."""
    ids = list(ids)
    shown = ", ".join(ids[:_MOST_NAMED])
    return shown if len(ids) <= _MOST_NAMED else f"{shown} ... ({len(ids)} in all)"
