"""Bytes to sound: libsndfile, and FFmpeg for what it does not know, behind one protocol.

libsndfile (wav flac ogg opus mp3 aiff caf ...) is tried first, by content and never by suffix;
FFmpeg through PyAV, an optional extra, reads every other container. Both get an open file instead
of a path, so that neither can follow a path, an address or a playlist. Their exceptions end here.
"""

from __future__ import annotations

import codecs
import os
import re
import shutil
import struct
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from typing import IO, Any, Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray

from asrkit.errors import AsrkitError, AudioError, MissingExtraError
from asrkit.types import Audio

Samples = NDArray[np.float32]

SPOOL_BYTES = 1 << 25  # a copy of a stream beyond this goes to disk
_BLOCK_VALUES = 1 << 17  # decoded at a time, all channels together

# What libsndfile is trusted to recognise. It also knows formats without a real signature, such as
# samplers' and MATLAB's, for which other files are easily mistaken.
_SNDFILE_FORMATS = frozenset(
    "WAV WAVEX RF64 W64 AIFF AU CAF FLAC OGG MP3 NIST IRCAM VOC SVX".split()
)
# FFmpeg demuxers that read one file and nothing else: no playlists, image patterns or devices.
_CONTAINERS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,gsm,iff,loas,"
    "matroska,mlp,mov,mp3,mpc,mpc8,mpeg,mpegts,mxf,nistsphere,nut,ogg,oma,rm,shn,tak,truehd,tta,"
    "voc,w64,wav,wtv,wv"
)
# Containers whose header carries the length and whose index can be trusted for seeking.
_INDEXED_CONTAINERS = ("mov,", "matroska,")
# (offset, signature) of what FFmpeg reads and libsndfile does not.
_CONTAINER_SIGNATURES = (
    (0, (b"\x1aE\xdf\xa3", b"0&\xb2u", b"#!AMR", b"FLV\x01", b"caff", b"\x00\x00\x01\xba")),
    (0, (b".RMF", b"MAC ", b"wvpk", b"TTA1", b"\xff\xf1", b"\xff\xf9", b"\x0bw", b"DSD ", b"G@")),
    (4, (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")),
    (8, (b"AVI ",)),
)
_OTHER_SIGNATURES = {
    b"%PDF": "a PDF document",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "gzip data",
    b"\x7fELF": "a program",
}

_FIX = "copy the file again, or keep what is there: ffmpeg -i {name} fixed.wav"


class Source:
    """An open file that never raises into the C code that calls it back."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.error: OSError | None = None
        self.size = self.seek(0, os.SEEK_END)
        self.seek(0)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move, and tell where to; -1 if there is no such place."""
        try:
            self._file.seek(offset, whence)
            return self._file.tell()
        except (OSError, ValueError, OverflowError):
            return -1  # a damaged header pointed before the file or beyond 2^63

    def tell(self) -> int:
        """Where the next byte comes from."""
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes; none at the end, and none after an error that `check` raises."""
        try:
            return self._file.read(size)
        except (OSError, ValueError, OverflowError, MemoryError) as error:
            self.error = self.error or (error if isinstance(error, OSError) else OSError(error))
            return b""

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as bytes go."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def peek(self, size: int, *, at: int = 0) -> bytes:
        """Bytes from one place, while a decoder goes on at another."""
        position = self.tell()
        self.seek(at)
        data = self.read(size)
        self.seek(position)
        return data

    def check(self, name: str) -> None:
        """Raise what went wrong below while C code was told of an end of file."""
        if self.error is not None:
            raise unreadable(name, self.error) from self.error


class Decoder(Protocol):
    """What both libraries are brought to."""

    sample_rate: int
    num_channels: int
    num_frames: int | None  # what the header promises; None if it promises nothing

    def check_length(self, end: float | None) -> None:
        """Refuse a file that is already known to be cut off before `end`, in seconds."""

    def blocks(self, start: int) -> Iterator[Samples]:
        """(T, C) blocks from frame `start` on; once only."""


def open_decoder(source: Source, name: str, stack: ExitStack) -> Decoder:
    """Try libsndfile, then PyAV.

    Args:
        source: the bytes.
        name: what to call them in messages.
        stack: closes what is opened.

    Raises:
        AudioError: neither reads it.
        MissingExtraError: PyAV may read it, and is not installed.
    """
    try:
        sound = _SoundFileDecoder(source, name, stack)
        if sound.format in _SNDFILE_FORMATS:
            return sound
        reason = None
    except (soundfile.SoundFileError, OSError, ValueError, TypeError, RuntimeError) as error:
        source.check(name)
        reason = _sndfile_reason(error, source.peek(12))

    try:
        import av
    except ImportError as error:
        if _is_container(source.peek(12)):
            raise MissingExtraError(f"{name}: reading this container", extra="video") from error
        raise _not_audio(source, name, reason) from error
    try:
        return _ContainerDecoder(source, name, av, stack)
    except AsrkitError:
        raise
    except Exception as error:  # whatever a hostile file brings PyAV to raise
        source.check(name)
        raise _not_audio(source, name, reason) from error


class _SequentialSoundFile(soundfile.SoundFile):  # type: ignore[misc]  # untyped base class
    """A SoundFile that does not seek after every read.

    soundfile seeks to where it already is, for files that are read and written at once. That costs
    time, prints decoder warnings and changes the next samples of an MP3 file.
    """

    def seekable(self) -> bool:
        return False


class _SoundFileDecoder:
    """wav flac ogg opus mp3 aiff ... through libsndfile."""

    def __init__(self, source: Source, name: str, stack: ExitStack) -> None:
        self._source = source
        self._name = name
        self._stack = stack
        self._file = self._open()
        self._counts_frames = self._file.frames < 1 << 62  # else FLAC or MP3 of unknown length
        if self._file.format == "MP3":
            self._index_mp3()
        self.sample_rate = int(self._file.samplerate)
        self.num_channels = int(self._file.channels)
        self.num_frames = int(self._file.frames) if self._counts_frames else None

    @property
    def format(self) -> str:
        return str(self._file.format)

    def check_length(self, end: float | None) -> None:
        promised = self._promised_seconds()
        if promised is None or self.num_frames is None:
            return
        found = self.num_frames / self.sample_rate
        if end is None or end > found + 1 / self.sample_rate:
            raise _truncated(self._name, found, promised)

    def blocks(self, start: int) -> Iterator[Samples]:
        expected = self.num_frames
        if expected is not None and 0 < expected <= start:
            return
        position = self._skip(start)
        num_frames = max(1, _BLOCK_VALUES // self.num_channels)
        while True:
            block = self._read(num_frames, position)
            if not len(block):
                break
            position += len(block)
            skipped = len(block) - (position - start)  # what of the block lies before `start`
            if skipped < len(block):
                yield block[max(0, skipped) :]
        self._source.check(self._name)
        if expected is not None and position < expected:
            self._fail(position, None)

    def _open(self) -> Any:
        self._source.seek(0)
        return self._stack.enter_context(_SequentialSoundFile(self._source))

    def _skip(self, start: int) -> int:
        """Seek where that is possible; the frame that the next read begins with."""
        if not start or not soundfile.SoundFile.seekable(self._file):
            return 0
        if self.format == "MP3":
            start = max(0, start - self.sample_rate)  # a frame may need bits of many before it
        try:
            position = int(self._file.seek(start))
        except soundfile.SoundFileError:
            position = -1
        if position < 0:
            self._file = self._open()
        return max(0, position)

    def _read(self, num_frames: int, position: int) -> Samples:
        try:
            block: Samples = self._file.read(num_frames, dtype="float32", always_2d=True)
        except (soundfile.SoundFileError, OSError, ValueError, RuntimeError) as error:
            self._source.check(self._name)
            self._fail(position, error)
        return block

    def _fail(self, position: int, error: Exception | None) -> None:
        found = position / self.sample_rate
        if self.num_frames is not None and position < self.num_frames:
            raise _truncated(self._name, found, self.num_frames / self.sample_rate) from error
        raise _damaged(self._name, found) from error

    def _promised_seconds(self) -> float | None:
        """What the header of a WAV-like file promises beyond what the file holds.

        libsndfile corrects the length silently, but logs what stood there.
        """
        match = re.search(
            r"^ *(?:data|SSND|Data Size|riff|Riff size) *: (\d+) \(should be (\d+)\)$",
            self._file.extra_info,
            re.MULTILINE,
        )
        if match is None or not self.num_frames:
            return None
        declared, found = int(match[1]), int(match[2])
        # Programs that write to a pipe cannot go back to fill in the length: ffmpeg leaves 2^32 - 1
        # there, sox and arecord something near 2^31.
        is_unknown = any(low <= declared <= low + 0x20000 for low in (0x7FFF0000, 0xFFFF0000))
        is_sloppy = declared - found <= 80  # it counts the header in
        if is_unknown or is_sloppy or not found:
            return None
        return self.num_frames / self.sample_rate * declared / found

    def _index_mp3(self) -> None:
        """Give an MP3 without a usable Xing header one that does not limit its length.

        libsndfile stops at the length that it guesses from the first frame's bit rate, or that the
        Xing header of the first of several concatenated files states: three quarters of a file
        with a variable bit rate can be lost without a word.
        """
        head = self._source.peek(1 << 12)
        begin = 0
        if head[:3] == b"ID3" and len(head) > 10:
            size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
            begin = 10 + size
            head = self._source.peek(1 << 12, at=begin)
        frame = _mp3_index_frame(head, self._source.size - begin)
        if frame is None:
            return
        spool = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115 the stack closes
        self._stack.enter_context(spool)
        spool.write(frame)
        self._source.seek(begin)
        shutil.copyfileobj(self._source, spool)
        self._source = Source(spool)
        self._file = self._open()
        self._counts_frames = False


class ArrayDecoder:
    """Samples that are in memory already."""

    def __init__(self, audio: Audio, name: str) -> None:
        samples = np.asarray(audio.samples)
        if samples.ndim != 1 or samples.dtype.kind != "f":
            raise AudioError(
                f"{name}: samples are {samples.dtype} of shape {samples.shape}, "
                f"expected floats of shape (T,)",
                hint="divide 16-bit integers by 32768; average channels, or take one",
            )
        with np.errstate(over="ignore"):  # to infinity, which is reported where samples are checked
            self._samples: Samples = samples.astype(np.float32, copy=False)
        self.sample_rate = audio.sample_rate
        self.num_channels = 1
        self.num_frames: int | None = len(samples)

    def check_length(self, end: float | None) -> None:
        """It holds what it holds."""

    def blocks(self, start: int) -> Iterator[Samples]:
        """Views of the array."""
        for begin in range(start, len(self._samples), _BLOCK_VALUES):
            yield self._samples[begin : begin + _BLOCK_VALUES, np.newaxis]  # (T, 1)


class _ContainerDecoder:
    """Every other container and codec through PyAV.

    A frame's place is its presentation time, so that times match the picture: sound that begins
    late or pauses gets silence instead.
    """

    _TOLERANCE = 0.5  # seconds: encoder delay, last packet, rounding to milliseconds
    _SMALLEST_GAP = 0.1  # seconds: time stamps of some containers jitter
    _MOST_SILENCE = 3600.0  # seconds: what time stamps may add in all
    _PREROLL = 1.0  # seconds: a codec needs a few packets until its output is exact

    def __init__(self, source: Source, name: str, av: Any, stack: ExitStack) -> None:
        self._source = source
        self._name = name
        source.seek(0)
        self._container = stack.enter_context(
            av.open(
                source,
                metadata_errors="replace",
                container_options={"format_whitelist": _CONTAINERS, "protocol_whitelist": "none"},
            )
        )
        self._foreign = av.error.FFmpegError
        self._stream = self._container.streams.best("audio")
        if self._stream is None:
            raise AudioError(f"{name}: has no audio track", hint="it may be a silent video")
        if self._stream.codec_context is None:  # PyAV before 18 would end the process
            raise ValueError("a codec that FFmpeg does not know")
        self._packets = self._container.decode(self._stream)
        self._first = next(self._packets, None)
        frame = self._first
        self.sample_rate = frame.sample_rate if frame else self._stream.rate or 16_000
        self.num_channels = frame.layout.nb_channels if frame else self._stream.channels or 1
        start_time = self._container.start_time
        self._origin = 0.0 if start_time is None else start_time / 1e6
        self._is_indexed = self._container.format.name.startswith(_INDEXED_CONTAINERS)
        seconds = self._stated_seconds() if self._is_indexed else None
        self.num_frames = None if seconds is None else round(seconds * self.sample_rate)

    def check_length(self, end: float | None) -> None:
        """Nothing is known before the last packet."""

    def blocks(self, start: int) -> Iterator[Samples]:
        rate = self.sample_rate
        position = None if self._seek(start) else 0
        waiting: list[Samples] = []
        num_waiting = 0
        silence = round(self._MOST_SILENCE * rate)
        for frame in self._frames():
            block = _frame_samples(frame)
            place = position or 0
            if frame.pts is not None and frame.time_base is not None:
                place = round((float(frame.pts * frame.time_base) - self._origin) * rate)
            if position is None:
                position = place
            gap = place - position
            if self._SMALLEST_GAP * rate < gap <= silence:
                silence -= gap
                for size in _pieces(gap, max(1, _BLOCK_VALUES // self.num_channels)):
                    position += size
                    if position > start:
                        zeros = np.zeros((size, self.num_channels), np.float32)
                        waiting.append(zeros[max(0, size - (position - start)) :])
                        yield np.concatenate(waiting)
                        waiting, num_waiting = [], 0
            position += len(block)
            if position > start:
                waiting.append(block[max(0, len(block) - (position - start)) :])
                num_waiting += len(waiting[-1]) * self.num_channels
            if num_waiting >= _BLOCK_VALUES // 4:
                yield np.concatenate(waiting)
                waiting, num_waiting = [], 0
            self._position = position
        if waiting:
            yield np.concatenate(waiting)
        expected = self.num_frames
        found = position or 0
        if expected is not None and start < expected and found < expected - self._TOLERANCE * rate:
            raise _truncated(self._name, found / rate, expected / rate)

    def _frames(self) -> Iterator[Any]:
        """Decoded frames, foreign errors translated."""
        self._position = 0
        while True:
            try:
                frame, self._first = self._first, None
                if frame is None:
                    frame = next(self._packets, None)
            except Exception as error:
                self._source.check(self._name)
                found = self._position / self.sample_rate
                expected = (self.num_frames or 0) / self.sample_rate
                if found < expected - self._TOLERANCE:
                    raise _truncated(self._name, found, expected) from error
                raise _damaged(self._name, found) from error
            if frame is None:
                self._source.check(self._name)
                return
            rate, num_channels = frame.sample_rate, frame.layout.nb_channels
            if (rate, num_channels) != (self.sample_rate, self.num_channels):
                raise AudioError(
                    f"{self._name}: changes from {self.sample_rate} Hz, {self.num_channels} "
                    f"channels to {rate} Hz, {num_channels} channels "
                    f"after {as_seconds(self._position / self.sample_rate)}",
                    hint=f"make it uniform: ffmpeg -i {self._name} uniform.wav",
                )
            yield frame

    def _seek(self, start: int) -> bool:
        """Jump close before frame `start`; False if frames still come from the beginning."""
        seconds = start / self.sample_rate - self._PREROLL
        if seconds <= self._PREROLL or not self._is_indexed or self._first is None:
            return False
        if self._first.pts is None:
            return False
        try:
            target = int((seconds + self._origin) / self._stream.time_base)
            self._container.seek(target, stream=self._stream)
        except (self._foreign, OverflowError):
            return False
        self._packets = self._container.decode(self._stream)
        self._first = None
        return True

    def _stated_seconds(self) -> float | None:
        """Where the track ends by the container's header, in seconds from its beginning."""
        stream = self._stream
        if stream.duration is not None:
            begin = float((stream.start_time or 0) * stream.time_base) - self._origin
            return begin + float(stream.duration * stream.time_base)
        tag = re.fullmatch(r"(\d\d):(\d\d):(\d\d\.\d+)", stream.metadata.get("DURATION", ""))
        if tag:
            return int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3]) - self._origin
        if len(self._container.streams) == 1 and self._container.duration is not None:
            return float(self._container.duration) / 1e6
        return None


def _frame_samples(frame: Any) -> Samples:
    """An FFmpeg frame as (T, C) float32."""
    values = frame.to_ndarray()  # (C, T) if planar, else (1, T * C)
    values = values.T if frame.format.is_planar else values.reshape(-1, frame.layout.nb_channels)
    with np.errstate(over="ignore"):  # to infinity, which is reported where samples are checked
        scaled: Samples = values.astype(np.float32)  # (T, C)
    if values.dtype.kind == "f":
        return scaled
    if values.dtype.kind == "u":
        scaled -= 1 << (8 * values.dtype.itemsize - 1)
    scaled /= float(1 << (8 * values.dtype.itemsize - 1))
    return scaled


def _pieces(total: int, size: int) -> Iterator[int]:
    """Numbers up to `size` that add up to `total`."""
    while total > 0:
        yield min(total, size)
        total -= size


def _mp3_index_frame(head: bytes, num_bytes: int) -> bytes | None:
    """A frame to put before an MP3 that states no length, or too small a one; None if it is fine.

    Args:
        head: the first bytes, from the first frame on.
        num_bytes: of the whole stream.

    Source: the Xing header as the LAME tag specification describes it.
    """
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None  # not layer III
    if _is_mp3_indexed(head, num_bytes):
        return None
    is_mpeg1 = head[1] & 0x18 == 0x18
    is_mpeg25 = head[1] & 0x18 == 0
    rates = (44_100, 48_000, 32_000)
    rate_index = head[2] >> 2 & 3
    if rate_index == 3:
        return None
    rate = rates[rate_index] // (1 if is_mpeg1 else 4 if is_mpeg25 else 2)
    # Bit rate index 8 is 112 kbit/s in MPEG 1 and 64 in MPEG 2: room for the tag at every rate.
    size = 144 * 112_000 // rate if is_mpeg1 else 72 * 64_000 // rate
    is_mono = head[3] >> 6 == 3
    num_side_bytes = (17 if is_mono else 32) if is_mpeg1 else (9 if is_mono else 17)
    start = bytes([0xFF, head[1] | 1, 0x80 | rate_index << 2, head[3]])  # no checksum, no padding
    most_frames = min(num_bytes // 24 + 1, 0x7FFFFFFF)  # the smallest frame has 24 bytes
    tag = b"Xing" + struct.pack(">II", 1, most_frames)
    return (start + bytes(num_side_bytes) + tag).ljust(size, b"\0")


def _is_mp3_indexed(head: bytes, num_bytes: int) -> bool:
    """Whether a first frame states a length that covers what the file holds."""
    first = head[:200]
    if b"VBRI" in first:
        return True
    at = max(first.find(b"Xing"), first.find(b"Info"))
    if at < 0:
        return False
    flags = struct.unpack_from(">I", head, at + 4)[0] if len(head) >= at + 16 else 0
    if flags & 3 != 3:
        return bool(flags & 1)
    stated: int = struct.unpack_from(">I", head, at + 12)[0]
    return stated >= 0.9 * num_bytes or num_bytes - stated < 1 << 13


def _is_container(head: bytes) -> bool:
    """Whether a file begins like something that FFmpeg reads and libsndfile does not."""
    return any(head.startswith(texts, offset) for offset, texts in _CONTAINER_SIGNATURES)


def _sndfile_reason(error: Exception, head: bytes) -> str | None:
    """Why libsndfile refused what looks like its own format."""
    if not head.startswith(
        (b"RIFF", b"RF64", b"FORM", b"fLaC", b"OggS", b"caff", b"riff", b".snd")
    ):
        return None
    text = str(getattr(error, "error_string", "")).rstrip(".")
    if not text or "does not exist" in text or "not recognised" in text:
        return "its header is damaged"
    return text[0].lower() + text[1:]


def _not_audio(source: Source, name: str, reason: str | None) -> AudioError:
    if reason is not None:
        return AudioError(f"{name}: cannot be decoded: {reason}", hint="copy or export it again")
    head = source.peek(512)
    found = next((text for start, text in _OTHER_SIGNATURES.items() if head.startswith(start)), "")
    if not found and _is_container(head):
        return AudioError(f"{name}: cannot be decoded", hint="copy the file again, or play it once")
    if not found:
        is_text = not re.search(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]", head)
        found = "text" if is_text and _is_utf8(head) else "data of no known format"
    return AudioError(f"{name}: is not audio, found {found}", hint="expected a sound or video file")


def _is_utf8(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # it may end within a character
    except UnicodeDecodeError:
        return False
    return True


def _truncated(name: str, found: float, expected: float) -> AudioError:
    return AudioError(
        f"{name}: is truncated: found {as_seconds(found)}, expected {as_seconds(expected)}",
        hint=_FIX.format(name=name),
    )


def _damaged(name: str, position: float) -> AudioError:
    return AudioError(
        f"{name}: cannot be decoded after {as_seconds(position)}", hint=_FIX.format(name=name)
    )


def unreadable(name: str, error: OSError) -> AudioError:
    """What the operating system said about a file."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return AudioError(f"{name}: no such file", hint="paths are relative to the current folder")
    if isinstance(error, PermissionError):
        return AudioError(f"{name}: permission denied", hint="see who may read it: ls -l")
    return AudioError(f"{name}: cannot be read: {error.strerror or error}")


def as_seconds(value: float) -> str:
    """A time for a message."""
    return f"{value:.2f} s"
