"""The data that flows between the rooms. Standard library only at run time.

Frames are half open and integer, and belong to `TokenSpan` and `TextSpan`; seconds are floats,
rounded once, and belong to `Word`, `Segment` and `Transcript`. `ctc.Emissions` alone converts one
into the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from asrkit.errors import InputError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SCHEMA_VERSION = 1
DECODERS = ("auto", "greedy", "beam")
TIMESTAMPS = ("none", "segment", "word", "char")
LEVELS = ("segment", "word", "char")
UNKNOWN = ("star", "interpolate", "drop", "error")
STARS = ("none", "edges", "segment")


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


@dataclass(frozen=True)
class AudioInput:
    """One thing to read: a whole file, standard input, or a part of a file.

    Attributes:
        path: the file as the user named it, or "-" for standard input.
        offset: where the part begins, in seconds.
        duration: how long the part is, in seconds; None reads to the end.
        id: the name of this input in results; the path when nothing else was given.
        text: the reference text a manifest gave, if any.
        name: path below the argument that named it, from which output files take theirs.
    """

    path: str
    offset: float = 0.0
    duration: float | None = None
    id: str = ""
    text: str | None = None
    name: str = ""

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
    """

    text: str
    start: float
    end: float
    score: float | None = None
    words: tuple[Word, ...] = ()
    lines: tuple[str, ...] = ()
    ok: bool = True


@dataclass(frozen=True)
class Alternative:
    """One of several texts of an input.

    Attributes:
        text: the text.
        logit_score: natural log-probability by the acoustic model.
        lm_score: what it is ranked by: the acoustic score with language model and hotwords.
    """

    text: str
    logit_score: float
    lm_score: float


@dataclass(frozen=True)
class ModelInfo:
    """Which weights made a result: enough to make it again."""

    id: str
    revision: str | None = None
    dtype: str = "float32"


@dataclass(frozen=True)
class Transcript:
    """What was said in one input.

    Attributes:
        source: the input as the user named it.
        duration: seconds of audio read.
        text: the whole text on one line; empty for silence.
        segments: in time order, never overlapping, within [offset, offset + duration]; empty for
            silence or when times were not asked for.
        id: name of the input in results; `source` unless a manifest gave another.
        offset: where the part that was read begins in its source, in seconds. Times of segments
            are times in the source.
        alternatives: the best texts, best first, when more than one was asked for.
        model: which model made it, if one did.
        options: the decoding options that made it, by name.
        warnings: what makes the result doubtful, as sentences.
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
            "segments": [_prune(segment) for segment in self.segments],
            **({"alternatives": list(map(asdict, self.alternatives))} if self.alternatives else {}),
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
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"not a complete asrkit transcript: {error}") from error


def _prune(span: Segment | Word | Character) -> dict[str, Any]:
    """A span as a dict without its empty parts and without what is as it should be."""
    items = {f.name: getattr(span, f.name) for f in fields(span)}
    return {
        name: [part if isinstance(part, str) else _prune(part) for part in value]
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
    )


def _word(data: Mapping[str, Any]) -> Word:
    characters = tuple(Character(**_span(item)) for item in data.get("characters", ()))
    return Word(
        **_span(data),
        characters=characters,
        aligned=data.get("aligned") is not False,
        ok=data.get("ok") is not False,
    )


def _span(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "text": str(data["text"]),
        "start": float(data["start"]),
        "end": float(data["end"]),
        "score": float(data["score"]),
    }


@dataclass(frozen=True)
class ModelOptions:
    """Which model, and where it runs.

    Attributes:
        model: Hub id (`user/name` or `user/name@revision`), directory, or embedded model.
        revision: branch, tag or commit of a Hub id.
        device: auto, cpu, cuda, cuda:N or mps.
        dtype: float32, float16 or bfloat16.
        cache_dir: where Hub files are kept; None uses the standard cache.
        offline: never open a connection.
    """

    model: str = "demo-en"
    revision: str | None = None
    device: str = "auto"
    dtype: str = "float32"
    cache_dir: str | None = None
    offline: bool = False


@dataclass(frozen=True)
class SegmentOptions:
    """How words become subtitles.

    Attributes:
        max_pause: a silence longer than this many seconds ends a segment.
        max_line_width: characters in one line.
        max_line_count: lines in one segment.
        max_words_per_line: words in one line; None sets no limit.
    """

    max_pause: float = 0.5
    max_line_width: int = 42
    max_line_count: int = 2
    max_words_per_line: int | None = None


@dataclass(frozen=True)
class DecodingOptions:
    """How emissions become text.

    Attributes:
        decoder: greedy, beam, or auto: beam where the model brings a language model or an option
            needs it.
        beam_width: texts kept after each frame.
        lm: ARPA or KenLM binary file, or a `language_model` folder; None takes the model's own.
        lm_unigrams: file of the words to trust in `lm`, one a line.
        use_lm: False drops the model's own language model.
        lm_alpha: weight of the language model; None takes its own.
        lm_beta: score of every word; None takes the language model's own.
        lexicon: file of words to prefer, one a line, without a language model.
        lexicon_only: write no other words than those of the lexicon or the language model.
        hotwords: words to prefer.
        hotword_weight: score of each hotword in a text.
        n_best: texts to return.
    """

    decoder: str = "auto"
    beam_width: int = 100
    lm: str | None = None
    lm_unigrams: str | None = None
    use_lm: bool = True
    lm_alpha: float | None = None
    lm_beta: float | None = None
    lexicon: str | None = None
    lexicon_only: bool = False
    hotwords: tuple[str, ...] = ()
    hotword_weight: float = 10.0
    n_best: int = 1

    def __post_init__(self) -> None:
        if self.decoder not in DECODERS:
            raise UsageError(f"decoder {self.decoder!r} is not one of {', '.join(DECODERS)}")
        if self.beam_width < 1 or self.n_best < 1:
            raise UsageError(
                f"beam width {self.beam_width} and n-best {self.n_best}, expected at least 1"
            )
        if self.decoder == "greedy" and (self.needs_beam or self.lm is not None):
            raise UsageError(
                "greedy decoding has no language model, lexicon, hotwords or n-best",
                hint="--decoder beam",
            )
        if self.lm is not None and not self.use_lm:
            raise UsageError("a language model is given, and none is to be used")
        if self.lm_unigrams is not None and self.lm is None:
            raise UsageError("lm_unigrams without a language model", hint="--lm names one")

    @property
    def needs_beam(self) -> bool:
        """Whether an option asks for what greedy decoding cannot do."""
        return (
            self.decoder == "beam"
            or self.lexicon is not None
            or self.lexicon_only
            or bool(self.hotwords)
            or self.n_best > 1
        )


@dataclass(frozen=True)
class TranscribeOptions:
    """How audio becomes text.

    Attributes:
        timestamps: the finest times in the result: none, segment, word or char.
        chunk_length: longest stretch the model sees at once, in seconds.
        stride: context on each side of a chunk that is computed and thrown away, in seconds.
        batch_size: chunks that go through the model together.
        channel: "mix", or the number of one channel counted from 0.
        decoding: how emissions become text.
        segments: how words become segments.
    """

    timestamps: str = "word"
    chunk_length: float = 30.0
    stride: float = 5.0
    batch_size: int = 8
    channel: str = "mix"
    decoding: DecodingOptions = field(default_factory=DecodingOptions)
    segments: SegmentOptions = field(default_factory=SegmentOptions)

    def __post_init__(self) -> None:
        if self.timestamps not in TIMESTAMPS:
            raise UsageError(
                f"timestamps {self.timestamps!r} is not one of {', '.join(TIMESTAMPS)}"
            )
        if self.batch_size < 1:
            raise UsageError(f"batch size {self.batch_size} is below 1")
        if self.channel != "mix" and not self.channel.isdecimal():
            raise UsageError(f"channel {self.channel!r} is neither mix nor a number from 0")
        if not self.chunk_length > 2 * self.stride >= 0:
            raise UsageError(
                f"a chunk of {self.chunk_length:g} s has nothing left between strides of "
                f"{self.stride:g} s on both sides",
                hint="make the chunk length more than twice the stride",
            )


@dataclass(frozen=True)
class AlignOptions:
    """How a known text is put on audio.

    Attributes:
        level: the finest times in the result: segment, word or char.
        unknown: what becomes of letters, digits and symbols that the model has no token for: star
            (a wildcard takes their sound), interpolate (words of nothing else lie between their
            neighbours), drop (those words are left out), error.
        star: where speech without text may be: none, edges (before and after the text), segment
            (between its lines too).
        min_score: words and segments with a lower score are marked; None marks none.
        tail: how long a word sounds after the spike of its last letter, in seconds, unless the
            next word begins earlier. Models emit a letter when they know it, not when it ends.
        chunk_length: longest stretch the model sees at once, in seconds.
        stride: context on each side of a chunk that is computed and thrown away, in seconds.
        batch_size: chunks that go through the model together.
        channel: "mix", or the number of one channel counted from 0.
    """

    level: str = "word"
    unknown: str = "star"
    star: str = "none"
    min_score: float | None = None
    tail: float = 0.1
    chunk_length: float = TranscribeOptions.chunk_length
    stride: float = TranscribeOptions.stride
    batch_size: int = TranscribeOptions.batch_size
    channel: str = TranscribeOptions.channel

    def __post_init__(self) -> None:
        for name, known in (("level", LEVELS), ("unknown", UNKNOWN), ("star", STARS)):
            if getattr(self, name) not in known:
                raise UsageError(f"{name} {getattr(self, name)!r} is not one of {', '.join(known)}")
        if self.min_score is not None and not 0 <= self.min_score <= 1:
            raise UsageError(f"a lowest score of {self.min_score} is not between 0 and 1")
        if not 0 <= self.tail <= 1:
            raise UsageError(f"a tail of {self.tail} s is not between 0 and 1")
        self.transcribing()

    def transcribing(self) -> TranscribeOptions:
        """The options that say how audio goes through the model, checked.

        Raises:
            UsageError: they cannot work.
        """
        return TranscribeOptions(
            chunk_length=self.chunk_length,
            stride=self.stride,
            batch_size=self.batch_size,
            channel=self.channel,
        )
