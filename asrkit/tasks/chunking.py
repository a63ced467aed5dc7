"""Inputs to the pieces that go through a model: overlapping chunks, and what of them counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from asrkit.audio import Chunk, chunk_audio, open_audio
from asrkit.batch import BatchLimits, map_in_batches
from asrkit.ctc import FrameClock
from asrkit.errors import InputError, MissingExtraError
from asrkit.frontend import WaveformFrontend
from asrkit.inputs import FailedInput
from asrkit.models.runtime import default_batch_seconds
from asrkit.options import ChunkOptions
from asrkit.tasks.recognizer import Recognizer
from asrkit.types import Audio, AudioInput

ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class Piece:
    """A chunk of one input, or (without a chunk) the mark that the input has come to its end."""

    item: AudioInput | Audio | FailedInput
    chunk: Chunk | None = None

    @property
    def num_samples(self) -> int:
        """With context; 0 for the mark."""
        return 0 if self.chunk is None else len(self.chunk.samples)


def read_pieces(
    item: AudioInput | Audio | FailedInput,
    cut: Callable[[Iterable[NDArray[np.float32]]], Iterable[Chunk]],
    *,
    sample_rate: int,
    channel: str,
) -> Iterator[Piece]:
    """Read an input and cut it.

    Args:
        item: what to read; a failed one gives its mark alone.
        cut: makes chunks of blocks of samples (T,).
        sample_rate: of the chunks, in Hz.
        channel: "mix", or the number of one channel counted from 0.

    Yields:
        Its chunks, and the mark of its end or of its failure.
    """
    if isinstance(item, FailedInput):
        yield Piece(item)
        return
    try:
        with open_audio(item, sample_rate=sample_rate, channel=channel) as reader:
            for chunk in cut(reader.blocks()):
                yield Piece(item, chunk)
    except (InputError, MissingExtraError) as error:
        yield Piece(FailedInput(item.source, error, item.id))
    else:
        yield Piece(item)


def batch_limits(model: Any, options: ChunkOptions, sample_rate: int) -> BatchLimits:
    """When a batch of pieces is full, in samples, for the device of a model."""
    seconds = options.batch_seconds
    if seconds is None:
        seconds = default_batch_seconds(model)
    return BatchLimits(options.batch_size, round(seconds * sample_rate))


@dataclass(frozen=True)
class Chunking:
    """How inputs become pieces, and pieces batches.

    Attributes:
        frontend: prepares the samples of a piece.
        samples_per_frame: of the model.
        length: of a chunk with its context, in samples, a multiple of a frame.
        left: context before what counts, likewise.
        right: context after what counts, likewise.
        channel: "mix", or the number of one channel counted from 0.
        limits: of a batch, in samples.
    """

    frontend: WaveformFrontend
    samples_per_frame: int
    length: int
    left: int
    right: int
    channel: str
    limits: BatchLimits

    @classmethod
    def of(cls, recognizer: Recognizer, options: ChunkOptions) -> Chunking:
        """As the options say, for the front end and frames of a model."""
        return cls.seconds(
            recognizer.model,
            recognizer.frontend,
            options,
            length=options.chunk_length,
            left=options.context,
            right=options.context,
        )

    @classmethod
    def seconds(
        cls,
        model: Any,
        frontend: WaveformFrontend,
        options: ChunkOptions,
        *,
        length: float,
        left: float = 0.0,
        right: float = 0.0,
    ) -> Chunking:
        """Chunks and their context in seconds, rounded to frames; a chunk has at least one."""
        frame = model.config.samples_per_frame

        def samples(time: float) -> int:
            return int(round(time * frontend.sample_rate / frame) * frame)

        return cls(
            frontend,
            frame,
            max(samples(length), samples(left) + samples(right) + frame),
            samples(left),
            samples(right),
            options.channel,
            batch_limits(model, options, frontend.sample_rate),
        )

    @property
    def sample_rate(self) -> int:
        """Of the pieces, in Hz."""
        return self.frontend.sample_rate

    def pieces(self, item: AudioInput | Audio | FailedInput) -> Iterator[Piece]:
        """The chunks of an input and the mark of its end, or of its failure."""
        return read_pieces(item, self._cut, sample_rate=self.sample_rate, channel=self.channel)

    def _cut(self, blocks: Iterable[NDArray[np.float32]]) -> Iterator[Chunk]:
        return chunk_audio(blocks, length=self.length, left=self.left, right=self.right)

    def map_inputs(
        self,
        run: Callable[[Sequence[Chunk], Sequence[NDArray[np.float32]]], Sequence[ResultT]],
        inputs: Iterable[AudioInput | Audio | FailedInput],
        *,
        on_progress: Callable[[float], None] | None = None,
    ) -> Iterator[tuple[AudioInput | Audio, list[ResultT], int] | FailedInput | None]:
        """Apply `run` to batches of chunks of all inputs, and gather what belongs together.

        Args:
            run: gives one result for each chunk of a batch; it is also given their samples as the
                front end prepares them.
            inputs: what to read; a failed one passes through in its place.
            on_progress: called with the seconds of audio of every batch that is done.

        Yields:
            In the order of the inputs: the input, the results of its chunks in time order, and
            how many samples it has; or why it failed. None after each chunk of one that goes on.
        """

        def prepare(piece: Piece) -> tuple[Chunk, NDArray[np.float32]]:
            assert piece.chunk is not None  # for the type checker; marks are never prepared
            return piece.chunk, self.frontend(piece.chunk.samples)

        def run_batch(
            batch: Sequence[tuple[Chunk, NDArray[np.float32]]],
        ) -> list[tuple[ResultT, int]]:
            chunks, values = zip(*batch, strict=True)
            results = run(chunks, values)
            if on_progress is not None:
                on_progress(sum(chunk.num_new for chunk in chunks) / self.sample_rate)
            return [(part, c.num_new) for part, c in zip(results, chunks, strict=True)]

        parts: list[ResultT] = []
        num_samples = 0
        for piece, result in map_in_batches(
            run_batch,
            (piece for item in inputs for piece in self.pieces(item)),
            prepare=prepare,
            length=lambda piece: piece.num_samples,
            limits=self.limits,
        ):
            if result is not None:
                parts.append(result[0])
                num_samples += result[1]
                yield None
                continue
            if isinstance(piece.item, FailedInput):
                yield piece.item
            else:
                yield piece.item, parts, num_samples
            parts, num_samples = [], 0

    def score(
        self,
        recognizer: Recognizer,
        chunks: Sequence[Chunk],
        values: Sequence[NDArray[np.float32]],
    ) -> list[NDArray[np.float32]]:
        """Run one batch: the (F, V) log-probabilities of each chunk, its context trimmed."""
        log_probs = recognizer.log_probs(values)
        return [self.trim(*pair) for pair in zip(log_probs, chunks, strict=True)]

    def clock(self, item: AudioInput | Audio, num_samples: int) -> FrameClock:
        """The clock of an input of which so many samples were read."""
        return FrameClock(
            self.samples_per_frame,
            self.sample_rate,
            offset=item.offset,
            end=item.offset + num_samples / self.sample_rate,
        )

    def trim(self, log_probs: NDArray[np.float32], chunk: Chunk) -> NDArray[np.float32]:
        """The frames (F, V) of a chunk that are not context.

        PARITY: as the reference pipeline rounds; the last frame of a chunk may be missing where
        the convolutions do not reach, and the next chunk then begins exactly one step later.
        """
        num_frames = round(len(chunk.samples) / self.samples_per_frame)
        left, right = (
            round(side / len(chunk.samples) * num_frames) for side in (chunk.left, chunk.right)
        )
        return log_probs[left : num_frames - right]


def loudness(samples: NDArray[np.float32], samples_per_frame: int) -> NDArray[np.float32]:
    """The loudest sample (F,) of each frame of samples (T,), for a picture."""
    padded = np.pad(np.abs(samples), (0, -len(samples) % samples_per_frame))
    loudest: NDArray[np.float32] = padded.reshape(-1, samples_per_frame).max(axis=1)
    return loudest
