"""Inputs to the pieces that go through a model: overlapping chunks, and what of them counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asrkit.audio import Chunk, chunk_audio, open_audio
from asrkit.ctc import FrameClock
from asrkit.errors import InputError, MissingExtraError
from asrkit.inputs import FailedInput
from asrkit.options import TranscribeOptions
from asrkit.tasks.recognizer import Recognizer
from asrkit.types import Audio, AudioInput


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


@dataclass(frozen=True)
class Chunking:
    """How inputs become pieces.

    Attributes:
        sample_rate: of the pieces, in Hz.
        samples_per_frame: of the model.
        length: of a chunk with its context, in samples, a multiple of a frame.
        stride: context on each side, likewise.
        channel: "mix", or the number of one channel counted from 0.
    """

    sample_rate: int
    samples_per_frame: int
    length: int
    stride: int
    channel: str

    @classmethod
    def of(cls, recognizer: Recognizer, options: TranscribeOptions) -> Chunking:
        """As the options say, for the front end and frames of a model."""
        sample_rate = recognizer.frontend.sample_rate
        frame = recognizer.model.config.samples_per_frame
        length, stride = (
            round(seconds * sample_rate / frame) * frame
            for seconds in (options.chunk_length, options.context)
        )
        return cls(sample_rate, frame, length, stride, options.channel)

    def pieces(self, item: AudioInput | Audio | FailedInput) -> Iterator[Piece]:
        """The chunks of an input and the mark of its end, or of its failure."""
        return read_pieces(item, self._cut, sample_rate=self.sample_rate, channel=self.channel)

    def _cut(self, blocks: Iterable[NDArray[np.float32]]) -> Iterator[Chunk]:
        return chunk_audio(blocks, length=self.length, left=self.stride, right=self.stride)

    def score(
        self,
        recognizer: Recognizer,
        pieces: Sequence[Piece],
        on_progress: Callable[[float], None] | None,
    ) -> list[NDArray[np.float32]]:
        """Run one batch: the (F, V) log-probabilities of each chunk, its context trimmed.

        `on_progress`, if given, is called with the seconds of audio that are new.
        """
        chunks = [piece.chunk for piece in pieces if piece.chunk is not None]
        log_probs = recognizer.log_probs([chunk.samples for chunk in chunks])
        if on_progress is not None:
            on_progress(sum(chunk.num_new for chunk in chunks) / self.sample_rate)
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
