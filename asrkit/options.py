"""The options of every command: frozen, checked when made, the one home of every default.

Standard library only at run time. The command line and the Python functions take their defaults
from these fields and never restate them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from asrkit.errors import UsageError
from asrkit.suggest import did_you_mean

ENGINES = ("local", "ray")
DECODERS = ("auto", "greedy", "beam")
TIMESTAMPS = ("none", "segment", "word", "char")
LEVELS = ("segment", "word", "char")
UNKNOWN = ("star", "interpolate", "drop", "error")
STARS = ("none", "edges", "segment")
LAYERS = ("last", "mean-last-4", "all")
POOLS = ("mean", "max", "std", "first", "none")

# The largest difference of outputs that passes where most weights are stored in this dtype
TOLERANCES = {"float32": 1e-4, "float16": 0.05, "bfloat16": 0.5, "int8": 1.0}
DTYPES = ("float32", "float16", "bfloat16")
QUANTIZATIONS = ("int8",)

# The embedded models that commands take where none is named
DEMO_RECOGNIZER, DEMO_TRANSLATOR = "demo-en", "demo-translate"
DEMO_KEYWORDS, DEMO_SPEAKER = "demo-keywords", "demo-speaker"
MISSING = ("error", "empty", "skip")
IDS = ("auto", "none", "first", "last", "tab")
MAX_NGRAM_ORDER = 5  # of what is estimated
LM_SUFFIXES = (".arpa", ".bin", ".binary")


@dataclass(frozen=True)
class ModelOptions:
    """Which model, and where it runs.

    Attributes:
        model: Hub id (`user/name` or `user/name@revision`), directory, or embedded model.
        revision: branch, tag or commit of a Hub id.
        device: auto, cpu, cuda, cuda:N or mps.
        dtype: float32, float16, bfloat16, or auto: bfloat16 where the device multiplies it.
        cache_dir: where Hub files are kept; None uses the standard cache.
        offline: never open a connection.
        language: of a multilingual model; None takes the one its weights hold.
    """

    model: str = DEMO_RECOGNIZER
    revision: str | None = None
    device: str = "auto"
    dtype: str = "float32"
    cache_dir: str | None = None
    offline: bool = False
    language: str | None = None


@dataclass(frozen=True)
class EngineOptions:
    """Where the inputs of a batch are worked on.

    Attributes:
        engine: local (this process) or ray (the workers of a Ray cluster).
        address: of a cluster: host:port, or auto; None starts one on this machine.
        workers: processes that load the model each; None is one for each share of a GPU, or one a
            machine.
        gpus_per_worker: GPUs, or the share of one, of each worker; None is 1 where the cluster has
            some and the model may use them.
    """

    engine: str = "local"
    address: str | None = None
    workers: int | None = None
    gpus_per_worker: float | None = None

    def __post_init__(self) -> None:
        _check_choice(self, "engine", ENGINES)
        _check_counts(self, "workers")
        share = self.gpus_per_worker
        if share is not None and not (0 <= share <= 1 or share.is_integer()):
            raise UsageError(f"{share:g} GPUs a worker, expected a share of one or a whole number")
        if self.engine == "local":
            names = ("address", "workers", "gpus_per_worker")
            for name in (name for name in names if getattr(self, name) is not None):
                raise UsageError(
                    f"{name} {getattr(self, name)} without a cluster", hint="--engine ray"
                )


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

    def __post_init__(self) -> None:
        _check_counts(self, "max_line_width", "max_line_count", "max_words_per_line")
        if not self.max_pause >= 0:  # also refuses NaN
            raise UsageError(f"max pause {self.max_pause}, expected at least 0 seconds")


@dataclass(frozen=True)
class DecodingOptions:
    """How emissions become text.

    Attributes:
        decoder: greedy, beam, or auto: beam where the model brings a language model or an option
            needs it.
        beam_width: texts kept after each frame; None keeps 100.
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
    beam_width: int | None = None
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
        _check_choice(self, "decoder", DECODERS)
        _check_counts(self, "beam_width", "n_best")
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
    def files(self) -> tuple[str, ...]:
        """Those that decide what is written, besides the files of the model."""
        return tuple(name for name in (self.lm, self.lm_unigrams, self.lexicon) if name)

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
class GenerationOptions:
    """How an encoder-decoder writes its text. None is what the model's own files say.

    Attributes:
        beam_width: texts kept after each token; 1 is greedy.
        length_penalty: exponent of the length that a finished text's score is divided by; above 0
            favours longer texts.
        max_new_tokens: tokens of one text at most.
        no_repeat_ngram_size: no run of so many tokens comes twice in a text; 0 allows it.
        n_best: texts to return.
    """

    beam_width: int | None = None
    length_penalty: float | None = None
    max_new_tokens: int | None = None
    no_repeat_ngram_size: int | None = None
    n_best: int = 1

    def __post_init__(self) -> None:
        _check_counts(self, "beam_width", "max_new_tokens", "n_best")
        if self.no_repeat_ngram_size is not None and self.no_repeat_ngram_size < 0:
            raise UsageError(f"no_repeat_ngram_size {self.no_repeat_ngram_size} is below 0")


@dataclass(frozen=True, kw_only=True)
class ChunkOptions:
    """How audio of any length goes through a model.

    Attributes:
        chunk_length: longest stretch the model sees at once, in seconds.
        stride: context on each side of a chunk that is computed and thrown away, in seconds; None
            is a sixth of a chunk.
        batch_size: chunks that go through the model together at most.
        batch_seconds: seconds of audio, padding included, that go through the model together at
            most; a longer chunk goes alone. None is what suits the device. Neither changes results.
        channel: "mix", or the number of one channel counted from 0.
    """

    chunk_length: float = 30.0
    stride: float | None = None
    batch_size: int = 32
    batch_seconds: float | None = None
    channel: str = "mix"

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UsageError(f"batch size {self.batch_size} is below 1")
        if self.batch_seconds is not None and not 0 < self.batch_seconds < math.inf:
            raise UsageError(f"a batch of {self.batch_seconds:g} s, expected some seconds")
        if self.channel != "mix" and not self.channel.isdecimal():
            raise UsageError(f"channel {self.channel!r} is neither mix nor a number from 0")
        if not math.inf > self.chunk_length > 2 * self.context >= 0:
            raise UsageError(
                f"a chunk of {self.chunk_length:g} s has nothing left between strides of "
                f"{self.context:g} s on both sides",
                hint="make the chunk length more than twice the stride",
            )

    def in_results(self) -> dict[str, Any]:
        """The options as results name them: those that change what is in them."""
        return {k: v for k, v in asdict(self).items() if k not in ("batch_size", "batch_seconds")}

    @property
    def context(self) -> float:
        """Seconds on each side of a chunk that are computed and thrown away."""
        return self.chunk_length / 6 if self.stride is None else self.stride


@dataclass(frozen=True)
class TranscribeOptions(ChunkOptions):
    """How audio becomes text.

    Besides how audio goes through the model, see `ChunkOptions`.

    Attributes:
        timestamps: the finest times in the result: none, segment, word or char. None is word, and
            segment where an encoder-decoder, which knows no times, has no `align_model`.
        decoding: how the emissions of a CTC model become text.
        generation: how an encoder-decoder writes; its beam width and n-best may stand in `decoding`
            as well.
        align_model: CTC model that finds when the words of an encoder-decoder were said.
        segments: how words become segments.
    """

    timestamps: str | None = None
    decoding: DecodingOptions = field(default_factory=DecodingOptions)
    generation: GenerationOptions = field(default_factory=GenerationOptions)
    align_model: str | None = None
    segments: SegmentOptions = field(default_factory=SegmentOptions)

    def __post_init__(self) -> None:
        _check_choice(self, "timestamps", TIMESTAMPS)
        if self.align_model is not None and self.timestamps == "none":
            raise UsageError("a model that finds times is given, and none are asked for")
        super().__post_init__()


@dataclass(frozen=True)
class TranslateOptions:
    """How speech becomes text of another language.

    Attributes:
        target_language: code of the language to write; None is what the model's files say.
        source_model: CTC model whose text of what was said is added; None adds none.
        chunk_length: longest stretch the model sees at once, in seconds.
        batch_size: stretches that go through the model together at most.
        batch_seconds: seconds of audio that do, see `ChunkOptions`.
        channel: "mix", or the number of one channel counted from 0.
        generation: how the model writes.
    """

    target_language: str | None = None
    source_model: str | None = None
    chunk_length: float = TranscribeOptions.chunk_length
    batch_size: int = TranscribeOptions.batch_size
    batch_seconds: float | None = TranscribeOptions.batch_seconds
    channel: str = TranscribeOptions.channel
    generation: GenerationOptions = field(default_factory=GenerationOptions)

    def __post_init__(self) -> None:
        self.transcribing()

    def transcribing(self) -> TranscribeOptions:
        """The options that say how audio goes through the model, checked.

        Raises:
            UsageError: they cannot work.
        """
        return TranscribeOptions(
            timestamps="segment",
            chunk_length=self.chunk_length,
            batch_size=self.batch_size,
            batch_seconds=self.batch_seconds,
            channel=self.channel,
            generation=self.generation,
        )


@dataclass(frozen=True)
class AlignOptions(ChunkOptions):
    """How a known text is put on audio.

    Besides how audio goes through the model, see `ChunkOptions`.

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
    """

    level: str = "word"
    unknown: str = "star"
    star: str = "none"
    min_score: float | None = None
    tail: float = 0.1

    def __post_init__(self) -> None:
        for name, known in (("level", LEVELS), ("unknown", UNKNOWN), ("star", STARS)):
            _check_choice(self, name, known)
        if self.min_score is not None and not 0 <= self.min_score <= 1:
            raise UsageError(f"a lowest score of {self.min_score} is not between 0 and 1")
        if not 0 <= self.tail <= 1:
            raise UsageError(f"a tail of {self.tail} s is not between 0 and 1")
        super().__post_init__()


def _check_choice(options: object, name: str, known: Iterable[str]) -> None:
    """Refuse a value that is not known, and name the nearest; None is the default."""
    value = getattr(options, name)
    if value is not None and value not in known:
        raise UsageError(
            f"{name} {value!r} is not one of {', '.join(known)}", hint=did_you_mean(value, known)
        )


def _check_counts(options: object, *names: str) -> None:
    """Refuse a count below 1; None is none."""
    for name in names:
        value = getattr(options, name)
        if value is not None and value < 1:
            raise UsageError(f"{name.replace('_', ' ')} {value}, expected at least 1")


@dataclass(frozen=True)
class ClassifyOptions(ChunkOptions):
    """How audio is sorted into the classes of a model.

    Besides how audio goes through the model, see `ChunkOptions`.

    Attributes:
        top_k: labels of each input or window at most; None keeps all.
        threshold: labels with a lower score are left out; for a model of frames, the probability
            from which a label counts as active (None: 0.5).
        window: classify every stretch of so many seconds by itself; None takes the input whole.
        hop: seconds from the start of one window to the next; None is the window's length.
    """

    top_k: int | None = 5
    threshold: float | None = None
    window: float | None = None
    hop: float | None = None

    def __post_init__(self) -> None:
        if self.top_k is not None and self.top_k < 1:
            raise UsageError(f"top-k {self.top_k}, expected at least 1")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise UsageError(f"a threshold of {self.threshold} is not between 0 and 1")
        if self.hop is not None and self.window is None:
            raise UsageError("a hop without a window", hint="--window SECONDS")
        if self.window is not None and not 0 < (self.hop or self.window) <= self.window:
            raise UsageError(
                f"a window of {self.window:g} s every {self.hop or self.window:g} s, expected a "
                "hop above 0 and no longer than the window"
            )
        super().__post_init__()


@dataclass(frozen=True)
class EmbedOptions(ChunkOptions):
    """How audio becomes vectors.

    Besides how audio goes through the model, see `ChunkOptions`.

    Attributes:
        layer: whose hidden states: a number from 0 (the input of the first layer), last,
            mean-last-4 or all. None takes the model's own vectors where it was trained to give
            some (x-vectors), else last.
        pool: frames to one vector: mean, max, std, first, or none, which keeps them. None is mean.
        normalize: scale every vector to length 1.
    """

    layer: str | None = None
    pool: str | None = None
    normalize: bool = False

    def __post_init__(self) -> None:
        if self.layer is not None and self.layer not in LAYERS and not self.layer.isdecimal():
            raise UsageError(f"layer {self.layer!r} is neither a number nor {', '.join(LAYERS)}")
        _check_choice(self, "pool", POOLS)
        super().__post_init__()


@dataclass(frozen=True)
class ConvertOptions:
    """How a checkpoint is rewritten.

    Attributes:
        dtype: float32, float16 or bfloat16 of the numbers on disk; None keeps them.
        quantize: int8 for the weights of transformer layers; the rest is in `dtype`. None keeps
            them.
        shard_size: bytes of one weights file at most; None writes one file.
        merge_weight_norm: make the direction of a weight norm the weight itself.
        check: run source and result on the same audio and compare what they say.
        audio: what to compare on; None takes noise.
        tolerance: the largest difference that passes; None takes `TOLERANCES` of the dtype.
        dictionary: of an original file: names of tokens, one a line. None looks beside it.
        sentencepiece: of an original file: the SentencePiece model. None looks beside it.
        base: of a head alone: the model that it was trained on.
        config: JSON file whose keys replace those of config.json, of an original file.
    """

    dtype: str | None = None
    quantize: str | None = None
    shard_size: int | None = None
    merge_weight_norm: bool = False
    check: bool = False
    audio: str | None = None
    tolerance: float | None = None
    dictionary: str | None = None
    sentencepiece: str | None = None
    base: str | None = None
    config: str | None = None

    def __post_init__(self) -> None:
        if self.dtype == "int8":
            raise UsageError(
                f"dtype {self.dtype!r} is not one of {', '.join(DTYPES)}", hint="--quantize int8"
            )
        _check_choice(self, "dtype", DTYPES)
        _check_choice(self, "quantize", QUANTIZATIONS)
        if self.shard_size is not None and self.shard_size < 1:
            raise UsageError(f"a shard of {self.shard_size} bytes, expected at least 1")
        if self.tolerance is not None and not self.tolerance >= 0:
            raise UsageError(f"a tolerance of {self.tolerance} is below 0")
        if (self.audio is not None or self.tolerance is not None) and not self.check:
            raise UsageError("audio or a tolerance, and nothing to check", hint="--check")


@dataclass(frozen=True)
class TranscriptOptions:
    """How a transcript changes on the way from one format to another.

    Attributes:
        shift: seconds added to all times, after they were scaled; may be negative.
        scale: what all times are multiplied by.
        segments: how words become segments anew; None keeps the segments and lines that there are.
    """

    shift: float = 0.0
    scale: float = 1.0
    segments: SegmentOptions | None = None

    def __post_init__(self) -> None:
        if not -1e7 <= self.shift <= 1e7:
            raise UsageError(f"a shift of {self.shift:g} s is longer than any recording")
        if not 0.001 <= self.scale <= 1000:
            raise UsageError(f"a scale of {self.scale:g}, expected 0.001 to 1000")


@dataclass(frozen=True)
class ConvertLmOptions:
    """How a language model is made and packed.

    Attributes:
        order: words in the longest n-gram that is estimated from a text.
        prune: for each order, n-grams that occur as often or less are left out; the last number
            counts for the orders that follow.
        as_is: take the words of a text as they stand, not as the model spells them.
        unigrams: file of the words to trust, one a line; None takes those of the language model.
        lm_alpha: weight of the language model; None is 0.5.
        lm_beta: score of every word; None is 1.5.
    """

    order: int = 3
    prune: tuple[int, ...] = ()
    as_is: bool = False
    unigrams: str | None = None
    lm_alpha: float | None = None
    lm_beta: float | None = None

    def __post_init__(self) -> None:
        pruning_limits(self.order, self.prune)
        for name in ("lm_alpha", "lm_beta"):
            if not math.isfinite(getattr(self, name) or 0.0):
                raise UsageError(f"{name} {getattr(self, name)} is not a number")

    @property
    def is_for_text(self) -> bool:
        """Whether an option says how a text is counted."""
        return (self.order, self.prune, self.as_is) != (type(self).order, (), False)


def pruning_limits(order: int, prune: Sequence[int]) -> list[int]:
    """For each order of an n-gram model, the count up to which n-grams are left out.

    Raises:
        UsageError: an order out of range, too many limits, a negative one, or one below that of
            the order before.
    """
    if not 1 <= order <= MAX_NGRAM_ORDER:
        raise UsageError(f"order {order}, expected 1 to {MAX_NGRAM_ORDER}")
    limits = [*prune, *[prune[-1] if prune else 0] * (order - len(prune))]
    if len(prune) > order or sorted(limits) != limits or limits[0] < 0:
        raise UsageError(
            f"pruning by {','.join(map(str, prune))}, expected at most {order} counts that do not "
            "fall",
            hint="0,0,1 leaves out what is longer than two words and occurs once",
        )
    return limits


@dataclass(frozen=True)
class TableOptions:
    """Where references and hypotheses stand in their files.

    Attributes:
        ref_column: field of a table that holds the reference.
        hyp_column: field that holds the hypothesis; a table without it has it in `ref_column`.
        id_column: field that names the utterance; its audio does where there is none.
        audio_column: field that holds the path of the audio, relative to the table.
        time_column: field that holds the seconds which a recognizer took.
        ids: where ids stand in lines of text: none, first (Kaldi), last (in brackets, trn), tab
            (before a tab), or auto, which looks.
    """

    ref_column: str = "text"
    hyp_column: str = "pred_text"
    id_column: str = "id"
    audio_column: str = "audio_filepath"
    time_column: str = "seconds"
    ids: str = "auto"

    def __post_init__(self) -> None:
        _check_choice(self, "ids", IDS)


@dataclass(frozen=True)
class EvaluateOptions:
    """How hypotheses are compared with references.

    Attributes:
        normalizer: names of normalisers, applied in order to both sides.
        missing: for a reference without a hypothesis: error, empty (nothing was heard), skip.
        by: columns to group by.
        resample: column whose groups are drawn as a whole for intervals; None draws utterances.
        confidence: level of intervals, in percent.
        bootstrap: corpora to draw for intervals; 0 leaves them out.
        seed: of the drawing.
        confusions: how many of the most frequent confusions to report.
        normalizer_report: count what the normalisers changed.
        baseline: JSON report of an earlier run.
        fail_above: a higher word error rate is a failed check.
        fail_cer_above: a higher character error rate is one.
        fail_regression: so many percentage points above the baseline is one.
        texts: where the texts stand in their files.
    """

    normalizer: tuple[str, ...] = ()
    missing: str = "error"
    by: tuple[str, ...] = ()
    resample: str | None = None
    confidence: float = 95.0
    bootstrap: int = 1000
    seed: int = 0
    confusions: int = 20
    normalizer_report: bool = False
    baseline: str | None = None
    fail_above: float | None = None
    fail_cer_above: float | None = None
    fail_regression: float | None = None
    texts: TableOptions = field(default_factory=TableOptions)

    def __post_init__(self) -> None:
        _check_choice(self, "missing", MISSING)
        if not 0 < self.confidence < 100:
            raise UsageError(f"a confidence of {self.confidence:g} % is not between 0 and 100")
        if self.bootstrap < 0 or self.confusions < 0 or self.seed < 0:
            raise UsageError("bootstrap, seed and confusions must not be below 0")
        for limit in (self.fail_above, self.fail_cer_above):
            if limit is not None and not 0 <= limit <= 1:
                raise UsageError(
                    f"a limit of {limit:g} is not between 0 and 1", hint="0.12 is 12 percent"
                )
        if self.fail_regression is not None and self.baseline is None:
            raise UsageError("a regression needs a baseline", hint="--baseline old.json")
