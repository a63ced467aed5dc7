"""Audio to labels: of a whole input, of every window of it, or of who is active when."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asrkit.audio import Chunk
from asrkit.ctc import FrameClock
from asrkit.errors import CheckpointError, UsageError
from asrkit.frontend import WaveformFrontend
from asrkit.inputs import FailedInput
from asrkit.models.runtime import build_model, class_logits, dtype_name
from asrkit.options import DEMO_KEYWORDS, ClassifyOptions, ModelOptions
from asrkit.tasks.calls import all_results, divide_options, named_inputs
from asrkit.tasks.chunking import Chunking
from asrkit.tasks.loading import architecture, describe, find_checkpoint, waveform_frontend
from asrkit.types import (
    Audio,
    AudioInput,
    Classification,
    Label,
    ModelInfo,
    Turn,
    Window,
)

# End of an architecture's name -> head
_HEADS = {
    "ForSequenceClassification": "sequence-classification",
    "ForAudioFrameClassification": "frame-classification",
}
# problem_type -> from logits to scores; all others exclude each other
_ACTIVATIONS = {"multi_label_classification": "sigmoid", "regression": "none"}
_ACTIVE = 0.5  # probability from which a label of a frame counts, where no threshold is given
_DECIMALS = 4  # of a score


@dataclass(frozen=True)
class _Part:
    """What the model says of one chunk: (N,) or (F, N) logits, and where it lies, in samples."""

    start: int
    num_new: int
    logits: NDArray[np.float32]


@dataclass(frozen=True)
class Classifier:
    """A model with a classification head, its front end and the names of its classes.

    Attributes:
        model: in eval mode, on its device.
        frontend: prepares samples.
        labels: name of each class.
        is_framewise: it labels every frame, not the whole.
        activation: from logits to scores: softmax, sigmoid where classes do not exclude each other,
            none for regression.
        info: names the weights in results.
    """

    model: Any
    frontend: WaveformFrontend
    labels: tuple[str, ...]
    is_framewise: bool
    activation: str
    info: ModelInfo

    @classmethod
    def load(cls, options: ModelOptions) -> Classifier:
        """Load a checkpoint that was trained to classify.

        Raises:
            CheckpointError: not found, unreadable, not supported, or without a trained head.
        """
        checkpoint = find_checkpoint(options)
        head = next(
            (head for name, head in _HEADS.items() if architecture(checkpoint).endswith(name)), None
        )
        if head is None:
            raise CheckpointError(
                f"{checkpoint.id}: not a classifier, its architecture is "
                f"{architecture(checkpoint)}",
                hint="a model for this ends in ForSequenceClassification or "
                "ForAudioFrameClassification, such as superb/wav2vec2-base-superb-ks",
            )
        model: Any = build_model(checkpoint, head=head, device=options.device, dtype=options.dtype)
        is_framewise = head == "frame-classification"
        problem = "multi_label_classification" if is_framewise else model.config.problem_type
        return cls(
            model,
            waveform_frontend(checkpoint),
            tuple(model.config.id2label.values()),
            is_framewise,
            _ACTIVATIONS.get(problem, "softmax"),
            ModelInfo(checkpoint.id, checkpoint.revision, dtype_name(model)),
        )

    def describe(self) -> str:
        """One line for people: which model, how large, where."""
        return describe(self.model, self.info)

    def logits(self, waveforms: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Score one batch: (T,) samples of the front end to (N,) or, framewise, (F, N) logits."""
        return class_logits(self.model, waveforms)

    def scores(self, logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Logits (..., N) to scores: probabilities, unless the model was trained for regression.

        PARITY: the reference pipeline takes the softmax of every model, unless it is told
        otherwise; here the config's `problem_type` decides.
        """
        values = np.asarray(logits, np.float64)
        if self.activation == "none":
            return values
        if self.activation == "sigmoid":
            small = np.exp(-np.abs(values))
            return np.where(values < 0, small, 1.0) / (1.0 + small)
        powers = np.exp(values - values.max(axis=-1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def classify(
    inputs: Any, model: str | Classifier | None = None, **options: Any
) -> list[Classification]:
    """Label audio.

    Args:
        inputs: a path, an `Audio`, or a sequence of them.
        model: Hub id, directory, embedded model, or a loaded `Classifier`; None takes the
            embedded keyword model.
        **options: fields of `ClassifyOptions`, and of `ModelOptions` when `model` is a name.

    Returns:
        One result an input, in order.

    Raises:
        AsrkitError: the model cannot be loaded or an input cannot be read.
    """
    checked, of_model = divide_options("classify", ClassifyOptions, options)
    if not isinstance(model, Classifier):
        model = Classifier.load(ModelOptions(model=model or DEMO_KEYWORDS, **of_model))
    return all_results(classify_stream(named_inputs(inputs), model, checked))


def classify_stream(
    inputs: Iterable[AudioInput | Audio | FailedInput],
    classifier: Classifier,
    options: ClassifyOptions,
    *,
    on_progress: Callable[[float], None] | None = None,
) -> Iterator[Classification | FailedInput]:
    """Label inputs one after another, in bounded memory whatever their length and number.

    An input longer than a chunk is labelled by the mean of its chunks' logits, weighted by their
    length: the heads are affine after their mean over frames, so this is the mean over all frames.

    Args:
        inputs: what to read; a failed one passes through in its place.
        classifier: the model.
        options: how to label.
        on_progress: called with the seconds of audio of every batch that is done.

    Yields:
        One result an input, in order, as soon as it is complete.

    Raises:
        UsageError: windows of a model that labels frames.
    """
    if classifier.is_framewise and options.window is not None:
        raise UsageError(
            f"{classifier.info.id} labels every frame, so there are no windows to label",
            hint="leave out --window",
        )
    chunking = _chunking(classifier, options)

    def run(chunks: Sequence[Chunk], values: Sequence[NDArray[np.float32]]) -> list[_Part]:
        scores = classifier.logits(values)
        if classifier.is_framewise:
            scores = [chunking.trim(*pair) for pair in zip(scores, chunks, strict=True)]
        return [
            _Part(chunk.start, chunk.num_new, logits.copy())
            for chunk, logits in zip(chunks, scores, strict=True)
        ]

    for result in chunking.map_inputs(run, inputs, on_progress=on_progress):
        if result is None:
            continue
        if isinstance(result, FailedInput):
            yield result
            continue
        item, parts, num_samples = result
        labels: tuple[Label, ...] = ()
        windows: list[Window] = []
        turns: list[Turn] = []
        clock = chunking.clock(item, num_samples)
        if classifier.is_framewise:
            logits = np.concatenate([part.logits for part in parts])
            turns = _active_turns(classifier, logits, clock, options)
        elif options.window is not None:
            windows = [_window(classifier, part, chunking, clock, options) for part in parts]
            turns = _merged(windows)
        else:
            weights = [part.num_new for part in parts]
            mean = np.average([part.logits for part in parts], axis=0, weights=weights)
            labels = _best(classifier, mean, options)
        yield Classification(
            source=item.source,
            duration=round(num_samples / chunking.sample_rate, 3),
            labels=labels,
            windows=tuple(windows),
            turns=tuple(turns),
            id=item.id,
            offset=item.offset,
            model=classifier.info,
            options=options.in_results(),
        )


def _chunking(classifier: Classifier, options: ClassifyOptions) -> Chunking:
    length, left, right = options.chunk_length, 0.0, 0.0
    if classifier.is_framewise:
        left = right = options.context
    elif options.window is not None:
        # A window is a chunk of which all but the hop is context of the next one.
        length, right = options.window, options.window - (options.hop or options.window)
    return Chunking.seconds(
        classifier.model, classifier.frontend, options, length=length, left=left, right=right
    )


def _best(
    classifier: Classifier, logits: NDArray[np.floating[Any]], options: ClassifyOptions
) -> tuple[Label, ...]:
    """The classes of the highest (N,) logits; equals stay in the order of the model."""
    scores = classifier.scores(logits)
    order = np.argsort(-scores, kind="stable")[: options.top_k].tolist()
    return tuple(
        Label(classifier.labels[index], round(float(scores[index]), _DECIMALS))
        for index in order
        if options.threshold is None or scores[index] >= options.threshold
    )


def _window(
    classifier: Classifier,
    part: _Part,
    chunking: Chunking,
    clock: FrameClock,
    options: ClassifyOptions,
) -> Window:
    """The labels of one window; the last one ends with the audio."""
    start, end = (
        clock.seconds(sample / chunking.samples_per_frame)
        for sample in (part.start, part.start + chunking.length)
    )
    return Window(start, end, _best(classifier, part.logits, options))


def _merged(windows: Sequence[Window]) -> list[Turn]:
    """Windows in a row with the same likeliest label, each ending where the next begins."""
    turns: list[Turn] = []
    ends = [window.start for window in windows[1:]] + [window.end for window in windows[-1:]]
    named = [
        (w, end, w.labels[0].name if w.labels else None)
        for w, end in zip(windows, ends, strict=True)
    ]
    for name, run in groupby(named, key=lambda item: item[2]):
        members = list(run)
        if name is not None:
            score = fmean(window.labels[0].score for window, _, _ in members)
            start, end = members[0][0].start, members[-1][1]
            turns.append(Turn(start, end, name, round(score, _DECIMALS)))
    return turns


def _active_turns(
    classifier: Classifier,
    logits: NDArray[np.float32],
    clock: FrameClock,
    options: ClassifyOptions,
) -> list[Turn]:
    """Runs of frames in which a label is active, by start; the score is their mean."""
    probabilities = classifier.scores(logits)
    least = _ACTIVE if options.threshold is None else options.threshold
    turns = []
    for index, name in enumerate(classifier.labels):
        is_active = np.concatenate([[False], probabilities[:, index] > least, [False]])
        edges = np.flatnonzero(is_active[1:] != is_active[:-1]).reshape(-1, 2).tolist()
        for start, end in edges:
            score = round(float(probabilities[start:end, index].mean()), _DECIMALS)
            turns.append(Turn(clock.seconds(start), clock.seconds(end), name, score))
    return sorted(turns, key=lambda turn: (turn.start, turn.end))
