"""Any sound that a user can name, as mono float32 blocks at the rate a model wants.

Sound is decoded, mixed and resampled block by block: memory does not grow with the file, nor with
what its header claims. Everything that is wrong with a file is an `AudioError` that names it;
exceptions of soxr and the operating system end here, those of the decoders in `decoders`.
"""

from __future__ import annotations

import math
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO

import numpy as np
import soxr

from asrkit.decoders import (
    SPOOL_BYTES,
    ArrayDecoder,
    Decoder,
    Samples,
    Source,
    as_seconds,
    open_decoder,
    unreadable,
)
from asrkit.errors import AudioError, UsageError
from asrkit.types import Audio, AudioInput

_SAMPLE_RATES_HZ = (1_000, 768_000)  # below: a header lies, and resampling would multiply memory


@dataclass(frozen=True)
class Chunk:
    """A window of sound with context on both sides, all in samples.

    Attributes:
        samples: (T,) float32, context included.
        left: leading samples that are context; 0 in the first window.
        right: trailing samples that are context; 0 in the last window.
        start: where `samples` begins in the stream.
    """

    samples: Samples
    left: int
    right: int
    start: int

    @property
    def num_new(self) -> int:
        """Samples that are not context: those of all windows cover the stream once."""
        return len(self.samples) - self.left - self.right


class AudioReader:
    """Sound that is being read; made by `open_audio`.

    Attributes:
        source: the path as the user named it.
        sample_rate: of the blocks, in Hz.
        source_sample_rate: of the file, in Hz.
        num_channels: of the file.
        duration: seconds that `blocks` will give, None if the file does not state its length.
    """

    def __init__(
        self,
        decoder: Decoder,
        source: str,
        *,
        offset: float,
        duration: float | None,
        sample_rate: int,
        channel: int | None,
    ) -> None:
        rate = decoder.sample_rate
        self.source = source
        self.sample_rate = sample_rate
        self.source_sample_rate = rate
        self.num_channels = decoder.num_channels
        self._name = _shown(source)
        self._decoder = decoder
        self._channel = channel
        self._start = round(offset * rate)
        self._end = None if duration is None else self._start + max(1, round(duration * rate))
        self.duration = self._known_duration()

    def blocks(self) -> Iterator[Samples]:
        """Decode, mix and resample; once only.

        Yields:
            (T,) float32 at `sample_rate`, T never 0; levels beyond [-1, 1] are passed on unclipped.

        Raises:
            AudioError: the sound ends early, cannot be decoded, is not finite or holds no sample.
        """
        if self.source_sample_rate == self.sample_rate:
            yield from self._mono_blocks()
            return

        resampler = soxr.ResampleStream(
            self.source_sample_rate, self.sample_rate, 1, dtype="float32", quality="HQ"
        )
        nearest = np.zeros(0, np.float32)
        is_empty = True
        for block in self._mono_blocks():
            nearest = block[-1:]
            resampled = resampler.resample_chunk(block)
            if len(resampled):
                is_empty = False
                yield resampled
        resampled = resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        if len(resampled):
            yield resampled
        elif is_empty:
            yield nearest  # a sample or two at a high rate round to no sample at a low one

    def _known_duration(self) -> float | None:
        total = self._decoder.num_frames
        if total is None:
            return None
        end = total if self._end is None else min(total, self._end)
        return max(0, end - self._start) / self.source_sample_rate

    def _mono_blocks(self) -> Iterator[Samples]:
        position = self._start
        for block in self._decoder.blocks(self._start):
            part = block if self._end is None else block[: self._end - position]
            if len(part):
                yield self._mono(part, position)
            position += len(block)
            if self._end is not None and position >= self._end:
                break
        if position > self._start:
            return
        found = f"offset {as_seconds(self._start / self.source_sample_rate)} is past the end"
        raise AudioError(
            f"{self._name}: {found if self._start else 'holds no samples'}",
            hint="check the offset" if self._start else "the recording may not have been saved",
        )

    def _mono(self, block: Samples, position: int) -> Samples:
        """(T, C) -> (T,), all of it finite."""
        if self._channel is not None:
            mono = np.ascontiguousarray(block[:, self._channel])
        elif block.shape[1] == 1:
            mono = block[:, 0]
        else:
            with np.errstate(all="ignore"):  # NaN and infinity are reported below
                mono = block.mean(axis=1)
        is_finite = np.isfinite(mono)
        if is_finite.all():
            return mono
        first = int(np.argmin(is_finite))
        kind = "NaN" if np.isnan(mono[first]) else "infinite"
        at = as_seconds((position + first) / self.source_sample_rate)
        raise AudioError(
            f"{self._name}: a sample is {kind} at {at}, expected numbers between -1 and 1",
            hint="the program that wrote the file divided by zero or overflowed; export it again",
        )


@contextmanager
def open_audio(
    item: AudioInput | Audio, *, sample_rate: int, channel: str = "mix"
) -> Iterator[AudioReader]:
    """Open a file, a part of one, standard input ("-") or an array for reading block by block.

    Args:
        item: what to read. A duration beyond the end of the file reads to the end.
        sample_rate: of the blocks, in Hz.
        channel: "mix" averages all channels, "0", "1" ... takes one.

    Raises:
        AudioError: it is missing, unreadable, not audio, empty or shorter than its header says.
        MissingExtraError: only FFmpeg can read it, and PyAV is not installed.
        UsageError: `channel` is neither, or standard input is a terminal.
    """
    number = _parse_channel(channel)
    offset, duration = 0.0, None
    with ExitStack() as stack:
        if isinstance(item, Audio):
            path = item.source
            decoder: Decoder = ArrayDecoder(item, _shown(path))
        else:
            path, offset, duration = item.path, item.offset, item.duration
            _check_part(item, _shown(path))
            file = stack.enter_context(_open_bytes(path))
            decoder = open_decoder(Source(file), _shown(path), stack)
        _check_header(decoder, _shown(path), number)
        decoder.check_length(None if duration is None else offset + duration)
        yield AudioReader(
            decoder,
            path,
            offset=offset,
            duration=duration,
            sample_rate=sample_rate,
            channel=number,
        )


def read_audio(
    item: AudioInput | str | os.PathLike[str], *, sample_rate: int = 16_000, channel: str = "mix"
) -> Audio:
    """Read all of a file, a part of one, or standard input ("-") into memory.

    Args:
        item: a path, or what part of it to read.
        sample_rate: of the result, in Hz.
        channel: "mix" averages all channels, "0", "1" ... takes one.

    Raises:
        AudioError, MissingExtraError, UsageError: as `open_audio` and `AudioReader.blocks`.
    """
    if not isinstance(item, AudioInput):
        item = AudioInput(os.fspath(item))
    with open_audio(item, sample_rate=sample_rate, channel=channel) as reader:
        samples = np.concatenate(list(reader.blocks()))
    return Audio(samples, sample_rate, item.path, item.offset)


def chunk_audio(
    blocks: Iterable[Samples], *, length: int, left: int = 0, right: int = 0
) -> Iterator[Chunk]:
    """Cut a stream into overlapping windows; holds one window and one block at a time.

    Windows start every `length - left - right` samples. The first that reaches the end of the
    stream is the last, so that without their context the windows cover every sample once.

    Args:
        blocks: (T,) pieces of the stream, of any length.
        length: of a window, in samples, context included.
        left: context before what counts, in samples.
        right: context after what counts, in samples.

    Raises:
        UsageError: the context leaves nothing of the window, or a number is negative.

    Source: transformers 5.23, pipelines/automatic_speech_recognition.py, chunk_iter.
    """
    step = length - left - right
    if step <= 0 or left < 0 or right < 0:
        raise UsageError(
            f"a chunk of {length} samples with {left} + {right} samples of context leaves nothing",
            hint="make chunks longer, or the stride shorter",
        )
    stream = iter(blocks)
    held: list[Samples] = []
    num_held = 0
    start = 0
    is_last = False
    while not is_last:
        # One sample more than the window tells that the stream goes on behind it.
        while num_held <= length:
            block = next(stream, None)
            if block is None:
                is_last = True
                break
            held.append(block)
            num_held += len(block)
        if not num_held:
            return
        buffer = np.concatenate(held)
        yield Chunk(buffer[:length].copy(), left if start else 0, 0 if is_last else right, start)
        held = [buffer[step:]]
        num_held = len(held[0])
        start += step


@contextmanager
def _open_bytes(path: str) -> Iterator[IO[bytes]]:
    """A path or "-" as a seekable binary file that holds at least one byte."""
    name = _shown(path)
    stdin = _standard_input() if path == "-" else None
    with ExitStack() as stack:
        try:
            if stdin is not None:
                file = stack.enter_context(_spooled(stdin))
            else:
                mode = os.stat(path).st_mode
                _check_kind(mode, name)
                file = stack.enter_context(open(path, "rb"))
                if not stat.S_ISREG(mode):
                    file = stack.enter_context(_spooled(file))
            is_empty = not file.read(1)
            file.seek(0)
        except OSError as error:
            raise unreadable(name, error) from error
        except ValueError as error:
            raise AudioError(f"{name}: not a path ({error})") from error
        if is_empty:
            hint = "nothing was written to the pipe" if path == "-" else None
            raise AudioError(f"{name}: is empty (0 bytes)", hint=hint)
        yield file


@contextmanager
def _spooled(stream: IO[bytes]) -> Iterator[IO[bytes]]:
    """A copy of a stream that cannot seek; on disk when it is large."""
    with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as copy:
        shutil.copyfileobj(stream, copy, 1 << 20)
        copy.seek(0)
        yield copy


def _standard_input() -> IO[bytes]:
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError(
            "standard input is a terminal, expected audio",
            hint="pipe a file into it: asrkit transcribe - < speech.wav",
        )
    return sys.stdin.buffer


def _check_kind(mode: int, name: str) -> None:
    if stat.S_ISDIR(mode):
        raise AudioError(f"{name}: is a directory", hint="-r takes all audio files below it")
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise AudioError(f"{name}: is a device, expected a file")


def _check_part(item: AudioInput, name: str) -> None:
    duration = item.duration
    if not (math.isfinite(item.offset) and 0 <= item.offset < 1e9):
        raise AudioError(f"{name}: offset is {item.offset}, expected seconds from 0")
    if duration is not None and not (math.isfinite(duration) and 0 < duration < 1e9):
        raise AudioError(f"{name}: duration is {duration}, expected seconds above 0")


def _parse_channel(channel: str) -> int | None:
    """A channel number, None for the mix."""
    if channel == "mix":
        return None
    if not (channel.isascii() and channel.isdigit()):
        raise UsageError(f"channel is {channel!r}, expected mix or a number from 0")
    return int(channel)


def _check_header(decoder: Decoder, name: str, channel: int | None) -> None:
    low, high = _SAMPLE_RATES_HZ
    rate, count = decoder.sample_rate, decoder.num_channels
    if not low <= rate <= high:
        raise AudioError(
            f"{name}: the header says {rate} Hz, expected {low} to {high} Hz",
            hint="the header is damaged, or this is not audio",
        )
    if channel is not None and channel >= count:
        found = "1 channel (0)" if count == 1 else f"{count} channels (0 to {count - 1})"
        raise AudioError(
            f"{name}: has no channel {channel}, found {found}", hint="mix averages all channels"
        )


def _shown(path: str) -> str:
    """A path on one line."""
    if path == "-":
        return "standard input"
    return path if path.isprintable() else repr(path)
