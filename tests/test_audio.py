"""Reading sound: formats, parts, damage, resampling, windows."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import sys
import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from asrkit.audio import chunk_audio, open_audio, read_audio
from asrkit.errors import AudioError, MissingExtraError, UsageError
from asrkit.types import Audio, AudioInput

RATE = 16_000


def sine(seconds: float, *, rate: int = RATE, hertz: float = 440.0) -> np.ndarray:
    times = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * hertz * times)).astype(np.float32)


def write_wav(path: Path, samples: Iterable[float] | np.ndarray, rate: int = RATE) -> str:
    soundfile.write(path, np.asarray(samples, np.float32), rate, format="WAV", subtype="FLOAT")
    return str(path)


def wav_bytes(
    *,
    data: bytes = b"\0\0" * 100,
    rate: int = RATE,
    channels: int = 1,
    data_size: int | None = None,
) -> bytes:
    """A 16-bit WAV file whose header says what it is told to say."""
    align = channels * 2
    fmt = struct.pack("<HHIIHH", 1, channels, rate, rate * align & 0xFFFFFFFF, align & 0xFFFF, 16)
    size = len(data) if data_size is None else data_size
    head = b"WAVEfmt " + struct.pack("<I", 16) + fmt + b"data" + struct.pack("<I", size)
    return b"RIFF" + struct.pack("<I", min(len(head) + size, 0xFFFFFFFF)) + head + data


def encode(samples: np.ndarray, form: str, subtype: str | None = None, rate: int = RATE) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=form, subtype=subtype)
    return buffer.getvalue()


def encode_container(
    path: Path, samples: np.ndarray, codec: str, *, rate: int = 48_000, options: dict | None = None
) -> str:
    """Write (T,) or (T, 2) samples through PyAV."""
    av = pytest.importorskip("av")
    layout = "mono" if samples.ndim == 1 else "stereo"
    planes = np.ascontiguousarray(np.atleast_2d(samples.T))
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.layout = layout
        frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=layout)
        frame.sample_rate, frame.pts = rate, 0
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return str(path)


def error_of(item: AudioInput | str, **options: str) -> AudioError:
    with pytest.raises(AudioError) as caught:
        read_audio(item, **options)
    assert "\n" not in caught.value.message
    return caught.value


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    size = min(len(a), len(b))
    return float(np.corrcoef(a[:size], b[:size])[0, 1])


# Formats


@pytest.mark.parametrize(
    ("form", "subtype", "tolerance"),
    [
        ("WAV", "PCM_U8", 0.01),
        ("WAV", "PCM_16", 1e-4),
        ("WAV", "PCM_24", 1e-6),
        ("WAV", "PCM_32", 1e-6),
        ("WAV", "FLOAT", 0),
        ("WAV", "DOUBLE", 0),
        ("WAV", "ULAW", 0.02),
        ("WAVEX", "PCM_24", 1e-6),
        ("RF64", "PCM_16", 1e-4),
        ("W64", "PCM_16", 1e-4),
        ("AIFF", "PCM_16", 1e-4),
        ("CAF", "ALAC_16", 1e-4),
        ("AU", "PCM_16", 1e-4),
        ("FLAC", "PCM_16", 1e-4),
    ],
)
def test_every_bit_depth_gives_the_same_sound(tmp_path, form, subtype, tolerance):
    samples = sine(0.5)
    path = tmp_path / "speech.bin"  # the content decides, not the suffix
    path.write_bytes(encode(samples, form, subtype))

    audio = read_audio(path)

    assert audio.samples.dtype == np.float32
    assert len(samples) <= len(audio.samples) < len(samples) + 400  # a codec's last block
    assert np.abs(audio.samples[: len(samples)] - samples).max() <= tolerance


@pytest.mark.parametrize(
    ("form", "subtype"), [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")]
)
def test_lossy_formats_keep_length_and_shape(tmp_path, form, subtype):
    samples = sine(2)
    path = tmp_path / "speech"
    path.write_bytes(encode(samples, form, subtype))

    audio = read_audio(path)

    assert len(audio.samples) == len(samples)
    assert correlation(audio.samples, samples) > 0.99


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        ("m4a", "aac"),
        ("mp4", "aac"),
        ("mov", "aac"),
        ("mkv", "aac"),
        ("webm", "libopus"),
        ("aac", "aac"),
        ("ts", "aac"),
        ("flv", "aac"),
        ("ac3", "ac3"),
        ("mkv", "pcm_s16le"),
    ],
)
def test_containers_are_read_through_ffmpeg(tmp_path, suffix, codec):
    samples = sine(2, rate=48_000)
    path = encode_container(tmp_path / f"film.{suffix}", samples, codec)

    audio = read_audio(path, sample_rate=48_000)

    assert audio.duration == pytest.approx(2, abs=0.05)
    shifts = (0, 256, 1024)  # encoder delay, which some containers do not state
    assert max(correlation(audio.samples[shift:], samples) for shift in shifts) > 0.99


def test_a_container_without_the_extra_names_the_extra(tmp_path, monkeypatch):
    path = encode_container(tmp_path / "film.mp4", sine(0.5, rate=48_000), "aac")
    monkeypatch.setitem(sys.modules, "av", None)

    with pytest.raises(MissingExtraError, match=r"film\.mp4.*'video'"):
        read_audio(path)


def test_text_without_the_extra_is_called_text(tmp_path, monkeypatch):
    path = tmp_path / "notes.wav"
    path.write_text("not a sound")
    monkeypatch.setitem(sys.modules, "av", None)

    assert "is not audio, found text" in error_of(str(path)).message


def test_a_video_without_sound_says_so(tmp_path):
    av = pytest.importorskip("av")
    path = tmp_path / "silent.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((24, 16), np.uint8), format="yuv420p")
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)

    assert "has no audio track" in error_of(str(path)).message


def test_sound_that_begins_after_the_picture_keeps_its_time(tmp_path):
    av = pytest.importorskip("av")
    path = tmp_path / "late.mkv"
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=10)
        video.width = video.height = 16
        video.pix_fmt = "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=RATE)
        sound.layout = "mono"
        picture = av.VideoFrame.from_ndarray(np.zeros((24, 16), np.uint8), format="yuv420p")
        frame = av.AudioFrame.from_ndarray(np.full((1, 1600), 8192, np.int16), "s16", "mono")
        frame.sample_rate, frame.pts = RATE, RATE // 2
        packets = [*video.encode(picture), *video.encode(None)]
        for packet in [*packets, *sound.encode(frame), *sound.encode(None)]:
            container.mux(packet)

    samples = read_audio(path).samples

    assert not samples[:8000].any()
    assert samples[8000:].tolist() == [0.25] * 1600


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n"),
        ("a.ffconcat", "ffconcat version 1.0\nfile '{}'\n"),
        ("a.sdp", "v=0\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n"),
    ],
)
def test_a_playlist_cannot_make_ffmpeg_open_another_file(tmp_path, name, content):
    other = encode_container(tmp_path / "other.ts", sine(0.5, rate=48_000), "aac")
    path = tmp_path / name
    path.write_text(content.format(other))

    assert "is not audio, found text" in error_of(str(path)).message


# Standard input, pipes, arrays


class FakeStdin:
    def __init__(self, data: bytes, *, is_terminal: bool = False) -> None:
        self.buffer = io.BytesIO(data)
        self.buffer.seekable = lambda: False
        self.isatty = lambda: is_terminal


def test_a_dash_reads_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", FakeStdin(encode(sine(0.25), "FLAC")))

    audio = read_audio("-")

    assert (audio.source, audio.duration) == ("-", 0.25)


def test_a_terminal_as_standard_input_is_a_usage_error(monkeypatch):
    monkeypatch.setattr(sys, "stdin", FakeStdin(b"", is_terminal=True))

    with pytest.raises(UsageError, match="terminal"):
        read_audio("-")


def test_nothing_on_standard_input_is_an_empty_file(monkeypatch):
    monkeypatch.setattr(sys, "stdin", FakeStdin(b""))

    assert error_of("-").message == "standard input: is empty (0 bytes)"


def test_a_wav_from_a_pipe_has_no_length_and_is_read_to_its_end(monkeypatch):
    data = wav_bytes(data_size=0xFFFFFFFF)  # as ffmpeg writes to a pipe
    monkeypatch.setattr(sys, "stdin", FakeStdin(data))

    assert len(read_audio("-").samples) == 100


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_is_read(tmp_path):
    import threading

    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(wav_bytes(),))

    writer.start()
    audio = read_audio(path)
    writer.join()

    assert len(audio.samples) == 100


def test_an_array_goes_through_the_same_reader():
    item = Audio(sine(1, rate=8000), 8000, "array")

    with open_audio(item, sample_rate=RATE) as reader:
        samples = np.concatenate(list(reader.blocks()))

    assert reader.duration == 1
    assert np.array_equal(samples, soxr.resample(item.samples, 8000, RATE))


def test_an_array_of_integers_is_refused():
    item = Audio(np.zeros(4, np.int16), RATE, "array")

    with (
        pytest.raises(AudioError, match=r"array: samples are int16 of shape \(4,\)"),
        open_audio(item, sample_rate=RATE),
    ):
        pass


# Rates, channels, parts


@pytest.mark.parametrize("rate", [8000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_resampling_in_blocks_equals_resampling_at_once(tmp_path, rate):
    samples = np.random.default_rng(0).normal(0, 0.1, rate * 4 + 7).astype(np.float32)
    path = write_wav(tmp_path / "noise.wav", samples, rate)

    audio = read_audio(path)

    assert np.array_equal(audio.samples, soxr.resample(samples, rate, RATE, quality="HQ"))


@pytest.mark.parametrize("rate", [RATE, 44_100, 96_000])
def test_one_sample_is_enough(tmp_path, rate):
    path = write_wav(tmp_path / "click.wav", [0.5], rate)

    assert read_audio(path).samples.tolist() == [0.5]


def test_channels_are_averaged_or_chosen(tmp_path):
    path = write_wav(tmp_path / "stereo.wav", [[0.5, 0.25], [-1, 0]])

    assert read_audio(path).samples.tolist() == [0.375, -0.5]
    assert read_audio(path, channel="0").samples.tolist() == [0.5, -1]
    assert read_audio(path, channel="1").samples.tolist() == [0.25, 0]


def test_a_channel_of_a_container_is_chosen(tmp_path):
    samples = np.stack([sine(1, rate=48_000), np.zeros(48_000, np.float32)], axis=1)
    path = encode_container(tmp_path / "call.mkv", samples, "pcm_s16le")

    assert np.abs(read_audio(path, channel="0").samples).max() == pytest.approx(0.5, abs=0.01)
    assert not read_audio(path, channel="1").samples.any()


def test_a_channel_that_is_not_there_says_how_many_are(tmp_path):
    path = write_wav(tmp_path / "stereo.wav", [[0, 0]])

    error = error_of(path, channel="2")

    assert error.message == f"{path}: has no channel 2, found 2 channels (0 to 1)"


@pytest.mark.parametrize("channel", ["left", "-1", "", "²"])
def test_a_channel_that_is_no_number_is_a_usage_error(tmp_path, channel):
    with pytest.raises(UsageError, match="mix or a number"):
        read_audio(write_wav(tmp_path / "a.wav", [0]), channel=channel)


@pytest.mark.parametrize("form", ["WAV", "FLAC"])
def test_a_part_is_the_same_samples(tmp_path, form):
    path = tmp_path / "counting"
    path.write_bytes(encode(np.arange(-100, 100) / 128, form, "PCM_16"))

    item = AudioInput(str(path), offset=100 / RATE, duration=3 / RATE)
    with open_audio(item, sample_rate=RATE) as reader:
        samples = np.concatenate(list(reader.blocks()))

    assert samples.tolist() == [0, 1 / 128, 2 / 128]
    assert reader.duration == 3 / RATE
    assert read_audio(item).offset == 100 / RATE


@pytest.mark.parametrize(
    ("form", "subtype"),
    [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("WAV", "GSM610")],
)
def test_a_part_of_a_lossy_file_lies_where_it_lies_in_the_whole(tmp_path, form, subtype):
    path = tmp_path / "speech"
    path.write_bytes(encode(sine(12) * np.linspace(0, 1, 12 * RATE), form, subtype))

    whole = read_audio(path).samples
    part = read_audio(AudioInput(str(path), offset=10, duration=0.5)).samples

    assert np.allclose(part, whole[10 * RATE : 10 * RATE + 8000], atol=1e-3)


@pytest.mark.parametrize("suffix", ["m4a", "mkv", "aac"])
def test_a_part_of_a_container_lies_where_it_lies_in_the_whole(tmp_path, suffix):
    samples = sine(6, rate=48_000) * np.linspace(0, 1, 6 * 48_000, dtype=np.float32)
    path = encode_container(tmp_path / f"film.{suffix}", samples, "aac")

    whole = read_audio(path, sample_rate=48_000).samples
    item = AudioInput(path, offset=4, duration=0.5)
    part = read_audio(item, sample_rate=48_000).samples

    # Matroska keeps times in milliseconds, 48 samples.
    candidates = (whole[192_000 + shift :][: len(part)] for shift in range(-48, 49))
    assert len(part) == 24_000
    assert min(np.abs(part - candidate).max() for candidate in candidates) < 1e-3


def test_a_part_that_reaches_past_the_end_stops_there(tmp_path):
    path = write_wav(tmp_path / "a.wav", np.zeros(RATE))

    assert read_audio(AudioInput(path, offset=0.75, duration=9)).duration == 0.25


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3"])
def test_an_offset_past_the_end_is_an_error(tmp_path, form):
    path = tmp_path / "short"
    path.write_bytes(encode(sine(1), form))

    assert "offset 2.00 s is past the end" in error_of(AudioInput(str(path), offset=2)).message


@pytest.mark.parametrize(
    "item",
    [
        AudioInput("a.wav", offset=-1),
        AudioInput("a.wav", offset=float("nan")),
        AudioInput("a.wav", duration=0),
        AudioInput("a.wav", duration=float("inf")),
    ],
)
def test_an_impossible_part_is_refused(item):
    assert "expected seconds" in error_of(item).message


# What is wrong with files


def test_a_missing_file_is_named(tmp_path):
    path = str(tmp_path / "missing.wav")

    assert error_of(path).message == f"{path}: no such file"


def test_a_directory_gives_the_option_that_reads_it(tmp_path):
    error = error_of(str(tmp_path))

    assert error.message == f"{tmp_path}: is a directory"
    assert error.hint.startswith("-r ")


def test_a_device_is_refused():
    if not os.path.exists("/dev/zero"):
        pytest.skip("no /dev/zero here")

    assert "is a device" in error_of("/dev/zero").message


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    path = write_wav(tmp_path / "secret.wav", [0])

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)

    assert error_of(path).message == f"{path}: permission denied"


def test_a_path_with_a_line_break_stays_on_one_line():
    assert error_of("a\nb.wav").message == r"'a\nb.wav': no such file"


def test_a_path_with_nul_is_no_path():
    assert "not a path" in error_of("a\0b.wav").message


def test_an_empty_file_is_called_empty(tmp_path):
    path = tmp_path / "empty.wav"
    path.touch()

    assert error_of(str(path)).message == f"{path}: is empty (0 bytes)"


@pytest.mark.parametrize("form", ["WAV", "AIFF", "W64"])
def test_a_header_without_samples_holds_no_samples(tmp_path, form):
    path = tmp_path / "silent.wav"
    path.write_bytes(encode(np.zeros(0), form))

    assert error_of(str(path)).message == f"{path}: holds no samples"


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"Dear Sir or Madam,\n" * 20, "text"),
        ("Grüße\n".encode() * 200, "text"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" * 20, "a PDF document"),
        (b"PK\x03\x04" + bytes(200), "a zip archive"),
        (np.random.default_rng(5).bytes(4000), "data of no known format"),
        (b"\0" * 5000, "data of no known format"),
        (b"x", "text"),
    ],
)
def test_what_is_not_audio_is_called_what_it_is(tmp_path, content, found):
    path = tmp_path / "speech.wav"
    path.write_bytes(content)

    assert error_of(str(path)).message == f"{path}: is not audio, found {found}"


@pytest.mark.parametrize(
    ("form", "subtype"),
    [
        ("WAV", "PCM_16"),
        ("WAV", "FLOAT"),
        ("WAV", "IMA_ADPCM"),
        ("WAVEX", "PCM_24"),
        ("RF64", "PCM_16"),
        ("W64", "PCM_16"),
        ("AIFF", "PCM_16"),
        ("AU", "PCM_16"),
    ],
)
def test_a_file_shorter_than_its_header_says_is_truncated(tmp_path, form, subtype):
    data = encode(sine(2), form, subtype)
    path = tmp_path / "cut.wav"
    path.write_bytes(data[: len(data) // 2 + 100])

    with (
        pytest.raises(AudioError, match=r"truncated: found (0\.9|1\.0)\d s, expected 2\.[01]\d s"),
        open_audio(AudioInput(str(path)), sample_rate=RATE),
    ):
        pytest.fail("the header is checked before anything is decoded")


@pytest.mark.parametrize("form", ["FLAC", "MP3"])
def test_a_stream_that_stops_before_its_header_says_is_truncated(tmp_path, form):
    noise = np.random.default_rng(0).normal(0, 0.1, 4 * RATE)
    data = encode(noise, form)
    path = tmp_path / "cut"
    path.write_bytes(data[: len(data) // 2])

    message = error_of(str(path)).message

    assert "is truncated: found " in message
    assert message.endswith("expected 4.00 s")


@pytest.mark.parametrize(("suffix", "options"), [("mkv", {}), ("mp4", {"movflags": "faststart"})])
def test_a_container_that_is_cut_is_truncated(tmp_path, suffix, options):
    path = Path(
        encode_container(tmp_path / f"a.{suffix}", sine(6, rate=48_000), "aac", options=options)
    )
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    message = error_of(str(path)).message

    assert "is truncated: found " in message
    assert "expected 6.0" in message


def test_a_part_before_the_cut_is_read(tmp_path):
    data = encode(sine(2), "WAV")
    path = tmp_path / "cut.wav"
    path.write_bytes(data[: len(data) // 2 + 100])

    assert read_audio(AudioInput(str(path), offset=0.25, duration=0.5)).duration == 0.5


def test_a_header_that_counts_itself_in_is_forgiven(tmp_path):
    path = tmp_path / "sloppy.wav"
    path.write_bytes(wav_bytes(data_size=244))

    assert len(read_audio(path).samples) == 100


@pytest.mark.parametrize(("value", "kind"), [(np.nan, "NaN"), (np.inf, "infinite")])
def test_samples_that_are_no_numbers_are_found_with_their_time(tmp_path, value, kind):
    samples = np.zeros((RATE, 2))
    samples[4000, 1] = value
    path = write_wav(tmp_path / "bad.wav", samples)

    assert f"a sample is {kind} at 0.25 s" in error_of(path).message
    assert not read_audio(path, channel="0").samples.any()


def test_two_opposite_infinities_are_found(tmp_path):
    path = write_wav(tmp_path / "bad.wav", [[np.inf, -np.inf]])

    assert "a sample is NaN at 0.00 s" in error_of(path).message


def test_a_double_too_large_for_a_float_is_infinite(tmp_path):
    path = tmp_path / "huge.wav"
    soundfile.write(path, np.array([1e300]), RATE, subtype="DOUBLE")

    assert "a sample is infinite" in error_of(str(path)).message


def test_silence_is_sound(tmp_path):
    assert not read_audio(write_wav(tmp_path / "silence.wav", np.zeros(10))).samples.any()


def test_levels_beyond_one_are_passed_on(tmp_path):
    path = write_wav(tmp_path / "loud.wav", [2.5, -3])

    assert read_audio(path).samples.tolist() == [2.5, -3]


# Hostile headers


@pytest.mark.parametrize(
    "header",
    [
        {"rate": 0},
        {"rate": 1},
        {"rate": 999},
        {"rate": 768_001},
        {"rate": 10**9},
        {"rate": 2**32 - 1},
        {"channels": 0},
        {"channels": 65_535},
        {"data_size": 0x60000000},
        {"data": b""},
    ],
)
def test_an_absurd_header_is_an_error_and_allocates_nothing(tmp_path, header):
    path = tmp_path / "hostile.wav"
    path.write_bytes(wav_bytes(**header))
    tracemalloc.start()

    error_of(str(path))

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize("num_frames", [2**36 - 1, 2**60])
def test_a_length_of_years_allocates_one_block(tmp_path, num_frames):
    if num_frames < 2**36:
        data = bytearray(encode(sine(1), "FLAC"))
        data[21] |= 0x0F  # STREAMINFO holds 36 bits of length
        data[22:26] = b"\xff" * 4
    else:
        data = bytearray(encode(sine(1), "RF64"))
        at = data.index(b"ds64") + 8
        data[at : at + 24] = struct.pack("<3Q", 2 * num_frames, 2 * num_frames, num_frames)
    path = tmp_path / "hostile"
    path.write_bytes(data)
    tracemalloc.start()

    message = error_of(str(path)).message

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "truncated" in message
    assert peak < 8 << 20


VALID = {
    form: encode(np.random.default_rng(1).normal(0, 0.1, 2000), form, subtype)
    for form, subtype in [("WAV", "PCM_16"), ("FLAC", None), ("OGG", "VORBIS"), ("AIFF", None)]
}


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    form=st.sampled_from(sorted(VALID)),
    edits=st.lists(st.tuples(st.integers(0, 199), st.integers(0, 255)), min_size=1, max_size=8),
    kept=st.sampled_from([1.0, 1.0, 0.6, 0.05]),
)
def test_a_damaged_file_is_read_or_refused(tmp_path_factory, form, edits, kept):
    data = bytearray(VALID[form])
    for at, value in edits:
        data[at] = value
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(data[: max(1, int(len(data) * kept))])

    with contextlib.suppress(AudioError):
        assert 0 < len(read_audio(path).samples) < 1 << 20


def test_a_codec_that_nobody_knows_is_an_error(tmp_path):
    pytest.importorskip("av")
    path = tmp_path / "a.wav"
    data = bytearray(VALID["WAV"])
    data[34:36] = b"\x10\x82"  # bits of a sample, which make no codec of FFmpeg
    path.write_bytes(data)

    assert "cannot be decoded" in error_of(AudioInput(str(path))).message


# Long files


def test_a_long_file_never_sits_in_memory(tmp_path):
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros((44_100 * 120, 2), np.int16), 44_100)  # 21 MB, 8 MB of result
    num_samples = 0
    tracemalloc.start()

    with open_audio(AudioInput(str(path)), sample_rate=RATE) as reader:
        for block in reader.blocks():
            num_samples += len(block)

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert num_samples == RATE * 120
    assert peak < 3 << 20


def variable_mp3(samples: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    with soundfile.SoundFile(
        buffer, "w", RATE, 1, format="MP3", bitrate_mode="VARIABLE", compression_level=0.5
    ) as file:
        file.write(samples)
    return buffer.getvalue()


def test_an_mp3_of_variable_rate_without_an_index_is_read_to_its_end(tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.2, 5 * RATE)
    data = variable_mp3(np.concatenate([noise, np.zeros(5 * RATE)]))
    first_frame = data.index(data[:2], data.index(b"Xing"))
    path = tmp_path / "cut.mp3"
    path.write_bytes(data[first_frame:])

    with open_audio(AudioInput(str(path)), sample_rate=RATE) as reader:
        num_samples = sum(len(block) for block in reader.blocks())

    assert num_samples / RATE == pytest.approx(10, abs=0.2)
    assert reader.duration is None


def test_joined_mp3_files_are_read_to_their_end(tmp_path):
    data = variable_mp3(np.random.default_rng(0).normal(0, 0.2, 5 * RATE))
    path = tmp_path / "joined.mp3"
    path.write_bytes(data + data)

    assert read_audio(path).duration == pytest.approx(10, abs=0.3)


def test_a_flac_of_unknown_length_is_read_to_its_end(tmp_path):
    data = bytearray(encode(sine(1), "FLAC"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    path = tmp_path / "piped.flac"
    path.write_bytes(data)

    with open_audio(AudioInput(str(path)), sample_rate=RATE) as reader:
        num_samples = sum(len(block) for block in reader.blocks())

    assert (num_samples, reader.duration) == (RATE, None)


def test_the_reader_knows_its_file(tmp_path):
    path = write_wav(tmp_path / "stereo.wav", np.zeros((4410, 2)), 44_100)

    with open_audio(AudioInput(path), sample_rate=RATE) as reader:
        facts = reader.sample_rate, reader.source_sample_rate, reader.num_channels, reader.duration

    assert facts == (RATE, 44_100, 2, 0.1)


# Windows


def windows(total: int, block: int, length: int, left: int, right: int) -> list[tuple]:
    samples = np.arange(total, dtype=np.float32)
    blocks = (samples[at : at + block] for at in range(0, total, block))
    chunks = list(chunk_audio(blocks, length=length, left=left, right=right))
    for chunk in chunks:
        end = chunk.start + len(chunk.samples)
        assert chunk.samples.tolist() == samples[chunk.start : end].tolist()
    return [(len(chunk.samples), chunk.left, chunk.right) for chunk in chunks]


@pytest.mark.parametrize("block", [1, 7, 36, 100, 1000])
@pytest.mark.parametrize(
    ("length", "left", "right", "expected"),
    [
        (100, 20, 10, [(100, 0, 0)]),
        (99, 20, 10, [(99, 0, 10), (31, 20, 0)]),
        (80, 20, 10, [(80, 0, 10), (50, 20, 0)]),
        (105, 5, 15, [(100, 0, 0)]),
        (90, 20, 0, [(90, 0, 0), (30, 20, 0)]),
        (36, 6, 6, [(36, 0, 6), (36, 6, 6), (36, 6, 6), (28, 6, 0)]),
        (50, 0, 0, [(50, 0, 0), (50, 0, 0)]),
    ],
)
def test_windows_of_a_hundred_samples(block, length, left, right, expected):
    assert windows(100, block, length, left, right) == expected


def test_no_samples_give_no_window():
    assert windows(0, 10, 36, 6, 6) == []


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    total=st.integers(1, 300),
    block=st.integers(1, 70),
    inner=st.integers(1, 40),
    left=st.integers(0, 20),
    right=st.integers(0, 20),
)
def test_windows_without_context_cover_every_sample_once(total, block, inner, left, right):
    samples = np.arange(total, dtype=np.float32)
    blocks = [samples[at : at + block] for at in range(0, total, block)]

    covered = [
        value
        for chunk in chunk_audio(blocks, length=inner + left + right, left=left, right=right)
        for value in chunk.samples[chunk.left : len(chunk.samples) - chunk.right].tolist()
    ]

    assert covered == samples.tolist()


@pytest.mark.parametrize(("length", "left", "right"), [(10, 5, 5), (10, 20, 0), (10, -1, 0)])
def test_windows_of_nothing_but_context_are_a_usage_error(length, left, right):
    with pytest.raises(UsageError, match="leaves nothing"):
        list(chunk_audio([], length=length, left=left, right=right))


def test_windows_hold_one_window_and_one_block():
    num_pulled = 0

    def blocks():
        nonlocal num_pulled
        for _ in range(100):
            num_pulled += 1
            yield np.zeros(10, np.float32)

    next(chunk_audio(blocks(), length=40, left=5, right=5))

    assert num_pulled == 5
