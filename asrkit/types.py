"""The data that flows between the rooms. Standard library only at run time.

Frames are half open and integer, and belong to `TokenSpan` and `TextSpan`; seconds are floats,
rounded once, and belong to `Word`, `Segment` and `Transcript`. `ctc.Emissions` alone converts one
into the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from asrkit.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SCHEMA_VERSION = 1
_NO_LABELS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Audio:
    """Mono sound.

    Attributes:
        samples: (T,) float32 in [-1, 1].
        sample_rate: samples per second.
        source: where it came from, for messages and results.
        offset: where it begins in its source, in seconds.
        id: the name of this input in results; the source when nothing else is given.
    """

    samples: NDArray[np.float32]
    sample_rate: int
    source: str = "array"
    offset: float = 0.0
    id: str = ""

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.samples) / self.sample_rate


@dataclass(frozen=True, slots=True)  # there may be a hundred thousand
class AudioInput:
    """One thing to read: a whole file, standard input, or a part of a file.

    Attributes:
        path: the file as the user named it, or "-" for standard input.
        offset: where the part begins, in seconds.
        duration: how long the part is, in seconds; None reads to the end.
        id: the name of this input in results; the path when nothing else was given.
        text: the reference text a manifest gave, if any.
        name: path below the argument that named it, from which output files take theirs.
        labels: the other fields of its row in a manifest, as text.
    """

    path: str
    offset: float = 0.0
    duration: float | None = None
    id: str = ""
    text: str | None = None
    name: str = ""
    labels: Mapping[str, str] = field(default_factory=lambda: _NO_LABELS, compare=False)

    @property
    def source(self) -> str:
        """What messages and results call it."""
        return self.path


@dataclass(frozen=True, slots=True)
class TokenSpan:
    """One token of a CTC path, in frames.

    Attributes:
        token: index into the vocabulary.
        start: first frame.
        end: one past the last frame.
        score: probability in [0, 1]: the geometric mean over its frames.
    """

    token: int
    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True)
class TextSpan:
    """A piece of decoded text (a character or a word), in frames; score as in `TokenSpan`."""

    text: str
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Hypothesis:
    """What a decoder says was said.

    Attributes:
        text: the decoded text, exactly as the reference tokenizer spells it.
        characters: every character token, spaces included, in time order.
        words: runs of characters between word delimiters, in time order.
        logit_score: natural logarithm of the probability that the model's outputs alone give the
            text, over the paths that a beam search kept; None where none ran.
        lm_score: the score that a beam search ranked the text by: `logit_score` with language
            model, lexicon and hotwords added.
    """

    text: str
    characters: tuple[TextSpan, ...]
    words: tuple[TextSpan, ...]
    logit_score: float | None = None
    lm_score: float | None = None


@dataclass(frozen=True, slots=True)
class Character:
    """One character in seconds."""

    text: str
    start: float
    end: float
    score: float


@dataclass(frozen=True, slots=True)
class Word:
    """One word in seconds.

    Attributes:
        text: the word.
        start: where it begins, in seconds from the beginning of the file.
        end: where it ends.
        score: confidence in [0, 1].
        characters: its characters, empty when they were not asked for.
        aligned: False where a given text was put on the audio and this word's time does not come
            from its own letters, because the model has none for some of it.
        ok: False where a lowest score was asked for and this one is lower.
    """

    text: str
    start: float
    end: float
    score: float
    characters: tuple[Character, ...] = ()
    aligned: bool = True
    ok: bool = True


@dataclass(frozen=True)
class Segment:
    """A stretch of speech, shown as one subtitle.

    Attributes:
        text: what was said, on one line.
        start: where it begins, in seconds.
        end: where it ends; always after `start`.
        score: mean confidence of its words, None where the source states none.
        words: its words in time order; empty when they were not asked for.
        lines: the text as its source broke it into lines; empty where asrkit is to break it.
        ok: False where a lowest score was asked for and this one is lower.
        source_text: what was said, where `text` is its translation; None where not asked for.
        speaker: who said it, where a file that was read names speakers.
    """

    text: str
    start: float
    end: float
    score: float | None = None
    words: tuple[Word, ...] = ()
    lines: tuple[str, ...] = ()
    ok: bool = True
    source_text: str | None = None
    speaker: str | None = None


@dataclass(frozen=True)
class Alternative:
    """One of several texts of an input, with the scores that its model gives, None for others.

    Attributes:
        text: the text.
        logit_score: natural log-probability by a CTC model.
        lm_score: what texts of a CTC model are ranked by: `logit_score` with language model and
            hotwords.
        score: what texts of an encoder-decoder are ranked by: the natural log-probability over a
            power of the length, summed over the pieces of the input.
    """

    text: str
    logit_score: float | None = None
    lm_score: float | None = None
    score: float | None = None


@dataclass(frozen=True)
class ModelInfo:
    """Which weights made a result: enough to make it again."""

    id: str
    revision: str | None = None
    dtype: str = "float32"
    language: str | None = None


@dataclass(frozen=True)
class Transcript:
    """What was said in one input.

    Attributes:
        source: the input as the user named it.
        duration: seconds of audio read.
        text: the whole text on one line; empty for silence.
        segments: in time order, within [offset, offset + duration], and apart, unless a file that
            was read has them overlap; empty for silence or when times were not asked for.
        id: name of the input in results; `source` unless a manifest gave another.
        offset: where the part that was read begins in its source, in seconds. Times of segments
            are times in the source.
        alternatives: the best texts, best first, when more than one was asked for.
        model: which model made it, if one did.
        options: the decoding options that made it, by name.
        warnings: what makes the result doubtful, as sentences.
        source_text: what was said, where `text` is its translation; None where not asked for.
    """

    source: str
    duration: float
    text: str
    segments: tuple[Segment, ...] = ()
    id: str = ""
    offset: float = 0.0
    alternatives: tuple[Alternative, ...] = ()
    model: ModelInfo | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    source_text: str | None = None

    @property
    def is_ok(self) -> bool:
        """Whether every segment and word passed its checks."""
        return all(s.ok and all(word.ok for word in s.words) for s in self.segments)

    def to_dict(self) -> dict[str, Any]:
        """The JSON output: plain dicts, lists, strings and numbers."""
        return {
            "schema": SCHEMA_VERSION,
            "audio": self.source,
            "id": self.id or self.source,
            "offset": self.offset,
            "duration": self.duration,
            "text": self.text,
            **({"source_text": self.source_text} if self.source_text is not None else {}),
            "segments": [_prune(segment) for segment in self.segments],
            **({"alternatives": list(map(_prune, self.alternatives))} if self.alternatives else {}),
            "model": asdict(self.model) if self.model else None,
            "options": dict(self.options),
            **({"warnings": list(self.warnings)} if self.warnings else {}),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Transcript:
        """Read what `to_dict` wrote.

        Raises:
            InputError: another schema, or a field is missing or of the wrong type.
        """
        if not isinstance(data, Mapping) or data.get("schema") != SCHEMA_VERSION:
            found = data.get("schema") if isinstance(data, Mapping) else type(data).__name__
            raise InputError(
                f"not an asrkit transcript: schema is {found!r}, expected {SCHEMA_VERSION}"
            )
        try:
            model = data["model"]
            return cls(
                source=str(data["audio"]),
                duration=float(data["duration"]),
                text=str(data["text"]),
                segments=tuple(_segment(item) for item in data["segments"]),
                id=str(data["id"]),
                offset=float(data["offset"]),
                alternatives=tuple(Alternative(**item) for item in data.get("alternatives", ())),
                model=ModelInfo(**model) if model is not None else None,
                options=dict(data["options"]),
                warnings=tuple(map(str, data.get("warnings", ()))),
                source_text=_optional_text(data.get("source_text")),
            )
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise InputError(f"not a complete asrkit transcript: {error}") from error


def _prune(part: Segment | Word | Character | Alternative) -> dict[str, Any]:
    """A part as a dict without what is empty in it and without what is as it should be."""
    items = {f.name: getattr(part, f.name) for f in fields(part)}
    return {
        name: [item if isinstance(item, str) else _prune(item) for item in value]
        if isinstance(value, tuple)
        else value
        for name, value in items.items()
        if value is not None and value != () and value is not True
    }


def _segment(data: Mapping[str, Any]) -> Segment:
    words = tuple(_word(item) for item in data.get("words", ()))
    score = data.get("score")
    return Segment(
        str(data["text"]),
        float(data["start"]),
        float(data["end"]),
        None if score is None else float(score),
        words,
        tuple(map(str, data.get("lines", ()))),
        data.get("ok") is not False,
        _optional_text(data.get("source_text")),
        _optional_text(data.get("speaker")),
    )


def _word(data: Mapping[str, Any]) -> Word:
    characters = tuple(Character(**_span(item)) for item in data.get("characters", ()))
    return Word(
        **_span(data),
        characters=characters,
        aligned=data.get("aligned") is not False,
        ok=data.get("ok") is not False,
    )


def _optional_text(value: Any) -> str | None:
    return None if value is None else str(value)


def _span(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "text": str(data["text"]),
        "start": float(data["start"]),
        "end": float(data["end"]),
        "score": float(data["score"]),
    }


@dataclass(frozen=True, slots=True)
class Label:
    """A class of a classifier with its score, a probability in [0, 1]."""

    name: str
    score: float


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of an input that was classified by itself, in seconds of the file."""

    start: float
    end: float
    labels: tuple[Label, ...]


@dataclass(frozen=True, slots=True)
class Turn:
    """A stretch in which one label (a speaker, an event) holds, in seconds of the file."""

    start: float
    end: float
    label: str
    score: float


@dataclass(frozen=True)
class Classification:
    """What an input is, or what each stretch of it is.

    Attributes:
        source: the input as the user named it.
        duration: seconds of audio read.
        labels: of the whole input, the likeliest first; empty where stretches were labelled.
        windows: in time order, each with its labels, the likeliest first; empty unless asked for.
        turns: in time order. Of windows, runs with the same likeliest label, apart; of a model of
            frames, where each label is active, which may overlap.
        id: name of the input in results; `source` unless a manifest gave another.
        offset: where the part that was read begins in its source, in seconds.
        model: which model made it.
        options: the options that made it, by name.
    """

    source: str
    duration: float
    labels: tuple[Label, ...] = ()
    windows: tuple[Window, ...] = ()
    turns: tuple[Turn, ...] = ()
    id: str = ""
    offset: float = 0.0
    model: ModelInfo | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The JSON output: plain dicts, lists, strings and numbers."""
        return {
            "schema": SCHEMA_VERSION,
            "audio": self.source,
            "id": self.id or self.source,
            "offset": self.offset,
            "duration": self.duration,
            "labels": list(map(asdict, self.labels)),
            "windows": list(map(asdict, self.windows)),
            "turns": list(map(asdict, self.turns)),
            "model": asdict(self.model) if self.model else None,
            "options": dict(self.options),
        }


@dataclass(frozen=True)
class Embedding:
    """An input as numbers.

    Attributes:
        source: the input as the user named it.
        duration: seconds of audio read.
        vector: (D,) float32; (layers, D) where all layers were asked for; with frames kept,
            (F, D) or (layers, F, D).
        id: name of the input in results; `source` unless a manifest gave another.
        offset: where the part that was read begins in its source, in seconds.
        seconds_per_frame: from one frame to the next where frames are kept, else None.
        model: which model made it.
        options: the options that made it, by name.
    """

    source: str
    duration: float
    vector: NDArray[np.float32]
    id: str = ""
    offset: float = 0.0
    seconds_per_frame: float | None = None
    model: ModelInfo | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What tables of vectors call the input."""
        return self.id or self.source

    def to_dict(self) -> dict[str, Any]:
        """The JSON output; numbers with seven digits, which is what float32 holds."""
        return {
            "schema": SCHEMA_VERSION,
            "audio": self.source,
            "id": self.name,
            "offset": self.offset,
            "duration": self.duration,
            "dim": self.vector.shape[-1],
            **({"seconds_per_frame": self.seconds_per_frame} if self.seconds_per_frame else {}),
            "vector": _rounded(self.vector.tolist()),
            "model": asdict(self.model) if self.model else None,
            "options": dict(self.options),
        }


def _rounded(values: Any) -> Any:
    if isinstance(values, list):
        return [_rounded(value) for value in values]
    return float(f"{values:.7g}")
