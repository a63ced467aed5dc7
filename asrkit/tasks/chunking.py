"""Inputs to the pieces that go through a model: overlapping chunks, and what of them counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from asrkit.audio import Chunk, chunk_audio, open_audio
from asrkit.batch import map_in_batches
from asrkit.ctc import FrameClock
from asrkit.errors import InputError, MissingExtraError
from asrkit.inputs import FailedInput
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

    @property
    def group(self) -> int:
        """Of its input."""
        return 0 if isinstance(self.item, Audio) else self.item.group


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
        group = 0 if isinstance(item, Audio) else item.group
        yield Piece(FailedInput(item.source, error, item.id, group))
    else:
        yield Piece(item)


@dataclass(frozen=True)
class Chunking:
    """How inputs become pieces.

    Attributes:
        sample_rate: of the pieces, in Hz.
        samples_per_frame: of the model.
        length: of a chunk with its context, in samples, a multiple of a frame.
        left: context before what counts, likewise.
        right: context after what counts, likewise.
        channel: "mix", or the number of one channel counted from 0.
    """

    sample_rate: int
    samples_per_frame: int
    length: int
    left: int
    right: int
    channel: str

    @classmethod
    def of(cls, recognizer: Recognizer, options: ChunkOptions) -> Chunking:
        """As the options say, for the front end and frames of a model."""
        return cls.seconds(
            recognizer.frontend.sample_rate,
            recognizer.model.config.samples_per_frame,
            length=options.chunk_length,
            left=options.context,
            right=options.context,
            channel=options.channel,
        )

    @classmethod
    def seconds(
        cls,
        sample_rate: int,
        samples_per_frame: int,
        *,
        length: float,
        left: float = 0.0,
        right: float = 0.0,
        channel: str = "mix",
    ) -> Chunking:
        """Chunks and their context in seconds, rounded to frames; a chunk has at least one."""

        def samples(time: float) -> int:
            return round(time * sample_rate / samples_per_frame) * samples_per_frame

        least = samples(left) + samples(right) + samples_per_frame
        return cls(
            sample_rate,
            samples_per_frame,
            max(samples(length), least),
            samples(left),
            samples(right),
            channel,
        )

    def pieces(self, item: AudioInput | Audio | FailedInput) -> Iterator[Piece]:
        """The chunks of an input and the mark of its end, or of its failure."""
        return read_pieces(item, self._cut, sample_rate=self.sample_rate, channel=self.channel)

    def _cut(self, blocks: Iterable[NDArray[np.float32]]) -> Iterator[Chunk]:
        return chunk_audio(blocks, length=self.length, left=self.left, right=self.right)

    def map_inputs(
        self,
        run: Callable[[Sequence[Chunk]], Sequence[ResultT]],
        inputs: Iterable[AudioInput | Audio | FailedInput],
        *,
        batch_size: int,
        on_progress: Callable[[float], None] | None = None,
    ) -> Iterator[tuple[AudioInput | Audio, list[ResultT], int] | FailedInput]:
        """Apply `run` to batches of chunks of all inputs, and gather what belongs together.

        Args:
            run: gives one result for each chunk of a batch.
            inputs: what to read; a failed one passes through in its place.
            batch_size: chunks in a run.
            on_progress: called with the seconds of audio of every batch that is done.

        Yields:
            In the order of the inputs: the input, the results of its chunks in time order, and
            how many samples it has; or why it failed.
        """

        def run_pieces(pieces: Sequence[Piece]) -> list[tuple[ResultT, int]]:
            chunks = [piece.chunk for piece in pieces if piece.chunk is not None]
            results = run(chunks)
            if on_progress is not None:
                on_progress(sum(chunk.num_new for chunk in chunks) / self.sample_rate)
            return [(part, c.num_new) for part, c in zip(results, chunks, strict=True)]

        parts: list[ResultT] = []
        num_samples = 0
        for piece, result in map_in_batches(
            run_pieces,
            (piece for item in inputs for piece in self.pieces(item)),
            length=lambda piece: piece.num_samples,
            batch_size=batch_size,
            group=lambda piece: piece.group,
        ):
            if result is not None:
                parts.append(result[0])
                num_samples += result[1]
                continue
            if isinstance(piece.item, FailedInput):
                yield piece.item
            else:
                yield piece.item, parts, num_samples
            parts, num_samples = [], 0

    def score(self, recognizer: Recognizer, chunks: Sequence[Chunk]) -> list[NDArray[np.float32]]:
        """Run one batch: the (F, V) log-probabilities of each chunk, its context trimmed."""
        log_probs = recognizer.log_probs([chunk.samples for chunk in chunks])
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
