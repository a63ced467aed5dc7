"""Audio to vectors: what a model's layers make of it, or the voice that speaks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asrkit.audio import Chunk
from asrkit.errors import AudioError, UsageError
from asrkit.frontend import WaveformFrontend
from asrkit.inputs import FailedInput
from asrkit.models.runtime import build_model, dtype_name, hidden_states, xvectors
from asrkit.options import DEMO_SPEAKER, EmbedOptions, ModelOptions
from asrkit.tasks.calls import all_results, divide_options, named_inputs
from asrkit.tasks.chunking import Chunking
from asrkit.tasks.loading import architecture, describe, find_checkpoint, waveform_frontend
from asrkit.types import Audio, AudioInput, Embedding, ModelInfo

_MANY = 4  # layers of mean-last-4


@dataclass(frozen=True)
class Embedder:
    """A model that gives vectors, and its front end.

    Attributes:
        model: in eval mode, on its device.
        frontend: prepares samples.
        has_xvectors: it was trained to give one vector a voice.
        info: names the weights in results.
    """

    model: Any
    frontend: WaveformFrontend
    has_xvectors: bool
    info: ModelInfo

    @classmethod
    def load(cls, options: ModelOptions) -> Embedder:
        """Load any Wav2Vec2 or HuBERT checkpoint; a head that gives no vectors is left out.

        Raises:
            CheckpointError: not found, unreadable or not supported.
        """
        checkpoint = find_checkpoint(options)
        frontend = waveform_frontend(checkpoint)
        has_xvectors = architecture(checkpoint).endswith("ForXVector")
        head = "xvector" if has_xvectors else "base"
        model = build_model(checkpoint, head=head, device=options.device, dtype=options.dtype)
        info = ModelInfo(checkpoint.id, checkpoint.revision, dtype_name(model))
        return cls(model, frontend, has_xvectors, info)

    def describe(self) -> str:
        """One line for people: which model, how large, where."""
        return describe(self.model, self.info)

    def layers(self, name: str) -> list[int]:
        """Indices of the hidden states that a name (see `EmbedOptions.layer`) stands for.

        Raises:
            UsageError: the model has fewer layers.
        """
        last = self.model.config.num_hidden_layers
        if name == "all":
            return list(range(last + 1))
        if name == "mean-last-4":
            return list(range(max(last + 1 - _MANY, 0), last + 1))
        if name != "last" and int(name) > last:
            raise UsageError(f"layer {name} of {self.info.id}, which has layers 0 to {last}")
        return [last if name == "last" else int(name)]


def embed(inputs: Any, model: str | Embedder | None = None, **options: Any) -> list[Embedding]:
    """Turn audio into vectors.

    Args:
        inputs: a path, an `Audio`, or a sequence of them.
        model: Hub id, directory, embedded model, or a loaded `Embedder`; None takes the embedded
            speaker model.
        **options: fields of `EmbedOptions`, and of `ModelOptions` when `model` is a name.

    Returns:
        One result an input, in order.

    Raises:
        AsrkitError: the model cannot be loaded or an input cannot be read.
    """
    checked, of_model = divide_options("embed", EmbedOptions, options)
    if not isinstance(model, Embedder):
        model = Embedder.load(ModelOptions(model=model or DEMO_SPEAKER, **of_model))
    return all_results(embed_stream(named_inputs(inputs), model, checked))


def embed_stream(
    inputs: Iterable[AudioInput | Audio | FailedInput],
    embedder: Embedder,
    options: EmbedOptions,
    *,
    on_progress: Callable[[float], None] | None = None,
) -> Iterator[Embedding | FailedInput]:
    """Turn inputs into vectors one after another.

    Pooled over time, an input needs memory for one vector, however long it is. The x-vector of an
    input longer than a chunk is the mean of those of its chunks, weighted by their length.

    Args:
        inputs: what to read; a failed one passes through in its place.
        embedder: the model.
        options: which vectors.
        on_progress: called with the seconds of audio of every batch that is done.

    Yields:
        One result an input, in order, as soon as it is complete.

    Raises:
        UsageError: the model has no such layer.
    """
    is_voice = embedder.has_xvectors and options.layer is None and options.pool is None
    source: Any = _Voices(embedder) if is_voice else _Layers(embedder, options)
    chunking = Chunking.seconds(
        embedder.model,
        embedder.frontend,
        options,
        length=options.chunk_length,
        left=options.context,
        right=0.0 if is_voice else options.context,
    )
    run = partial(source.run, chunking)
    for result in chunking.map_inputs(run, inputs, on_progress=on_progress):
        if result is None:
            continue
        if isinstance(result, FailedInput):
            yield result
            continue
        item, parts, num_samples = result
        vector = source.join(parts)
        if vector is None:
            least = embedder.model.min_samples / chunking.sample_rate
            duration = num_samples / chunking.sample_rate
            error = AudioError(
                f"{item.source}: {duration:.2f} s of audio, and a voice needs {least:.2f} s",
                hint="--layer last --pool mean gives vectors of shorter audio too",
            )
            yield FailedInput(item.source, error, item.id)
            continue
        if options.normalize:
            lengths = np.linalg.norm(vector, axis=-1, keepdims=True)
            vector = vector / np.where(lengths > 0, lengths, 1.0)
        frames_per_second = chunking.clock(item, num_samples).frames_per_second
        yield Embedding(
            source=item.source,
            duration=round(num_samples / chunking.sample_rate, 3),
            vector=vector.astype(np.float32),
            id=item.id,
            offset=item.offset,
            seconds_per_frame=1 / frames_per_second if options.pool == "none" else None,
            model=embedder.info,
            options=options.in_results(),
        )


class _Voices:
    """The vectors of a speaker model."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def run(
        self, chunking: Chunking, chunks: Sequence[Chunk], values: Sequence[NDArray[np.float32]]
    ) -> list[tuple[int, NDArray[np.float32]] | None]:
        """Each chunk's new samples and vector; None of one that is too short for a vector."""
        least = self._embedder.model.min_samples
        vectors = iter(xvectors(self._embedder.model, [v for v in values if len(v) >= least]))
        return [
            (chunk.num_new, next(vectors)) if len(chunk.samples) >= least else None
            for chunk in chunks
        ]

    def join(
        self, parts: Sequence[tuple[int, NDArray[np.float32]] | None]
    ) -> NDArray[np.float64] | None:
        """The mean over an input, or None if all of it is too short."""
        known = [part for part in parts if part is not None]
        if not known:
            return None
        weights, vectors = zip(*known, strict=True)
        return np.average(vectors, axis=0, weights=weights)


class _Layers:
    """Hidden states, pooled over time or kept."""

    def __init__(self, embedder: Embedder, options: EmbedOptions) -> None:
        self._embedder = embedder
        self._name = options.layer or "last"
        self._indices = embedder.layers(self._name)
        self._pool = options.pool or "mean"

    def run(
        self, chunking: Chunking, chunks: Sequence[Chunk], values: Sequence[NDArray[np.float32]]
    ) -> list[_Frames]:
        """What is kept of each chunk, its context trimmed."""
        states = hidden_states(self._embedder.model, values, layers=self._indices)
        parts = []
        for item, chunk in zip(states, chunks, strict=True):
            frames = chunking.trim(item.swapaxes(0, 1), chunk)  # (F, layers, D)
            if self._name == "mean-last-4":
                frames = frames.mean(axis=1, keepdims=True)
            parts.append(_Frames.of(frames, self._pool))
        return parts

    def join(self, parts: Sequence[_Frames]) -> NDArray[np.float64]:
        """The vector of an input, or its frames."""
        pooled = _Frames.join(parts, self._pool)
        if self._pool == "none":
            pooled = pooled.swapaxes(0, 1)  # (layers, F, D)
        return pooled if self._name == "all" else pooled[0]


@dataclass(frozen=True)
class _Frames:
    """Frames (F, layers, D) of one chunk, or as much of them as a way of pooling needs.

    Attributes:
        num_frames: how many there are.
        values: (1 or F, layers, D): sum, maximum, first frame, or all frames.
        squares: (1, layers, D) sum of squares, for the deviation.
    """

    num_frames: int
    values: NDArray[np.float64]
    squares: NDArray[np.float64]

    @classmethod
    def of(cls, frames: NDArray[np.float32], pool: str) -> _Frames:
        """What is kept of the frames of one chunk."""
        exact: NDArray[Any] = frames.astype(np.float32 if pool == "none" else np.float64)
        if pool == "max":
            values = exact.max(axis=0, keepdims=True, initial=-np.inf)
        elif pool in ("mean", "std"):
            values = exact.sum(axis=0, keepdims=True)
        else:
            values = exact[:1] if pool == "first" else exact
        squares = (exact**2).sum(axis=0, keepdims=True) if pool == "std" else values[:0]
        return cls(len(frames), values, squares)

    @classmethod
    def join(cls, parts: Sequence[_Frames], pool: str) -> NDArray[np.float64]:
        """(layers, D) of a whole input; (F, layers, D) where frames are kept."""
        values = np.concatenate([part.values for part in parts])
        if pool == "none":
            return values
        if pool == "first":
            first: NDArray[np.float64] = values[0]
            return first
        if pool == "max":
            return np.asarray(values.max(axis=0))
        num_frames = sum(part.num_frames for part in parts)
        mean = values.sum(axis=0) / num_frames
        if pool == "mean":
            return np.asarray(mean)
        squares = np.concatenate([part.squares for part in parts]).sum(axis=0)
        return np.asarray(np.sqrt(np.maximum(squares / num_frames - mean**2, 0)))
