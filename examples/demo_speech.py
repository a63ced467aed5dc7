"""The voices of the embedded demo models: espeak-ng, flite and recorded digits.

`speak` turns a text into a waveform with one of two speech synthesisers that every distribution
packages. `SpeechStore` keeps a large synthetic corpus in a few flat files that several processes
fill, that are resumed after a stop, and read through memory maps. `DigitRecordings` reads the Free
Spoken Digit Dataset (CC BY-SA 4.0), the only real speech that the demo models hear. `Augmenter`
varies all of it, and `evaluation_sets` says what is measured.

Some voices and one speaker are held out: no demo model hears them before it is measured on them.
"""

from __future__ import annotations

import io
import random
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr
from demo_corpus import DIGITS, HAND_WRITTEN, held_out_sentences, training_texts

SAMPLE_RATE = 16_000
HELD_OUT_SPEAKER = "yweweler"

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Voice:
    """A synthetic speaker: `engine` is "espeak" or "flite", `name` as that program spells it."""

    engine: str
    name: str

    def __str__(self) -> str:
        """Return "engine:name"."""
        return f"{self.engine}:{self.name}"


@dataclass(frozen=True)
class Manner:
    """How a sentence is spoken.

    `rate` multiplies the usual speaking rate, `pitch` is espeak's 0..99, and `stretch` resamples
    the result: above 1 it is slower and deeper, as if from a larger speaker.
    """

    rate: float = 1.0
    pitch: int = 50
    stretch: float = 1.0


_ACCENTS = {
    "en-us": 4,
    "en-gb": 3,
    "en-gb-x-rp": 2,
    "en-us-nyc": 1,
    "en-gb-x-gbclan": 1,
    "en-gb-x-gbcwmd": 1,
}
VARIANTS = (
    *("", "m1", "m2", "m3", "m4", "m6", "m7", "f1", "f2", "f3", "f5", "Alex", "Annie", "Gene"),
    *("Jacky", "Lee", "Michael", "Mike", "Denis", "Hugo", "adam", "belinda", "benjamin", "david"),
    *("ed", "john", "linda", "max", "paul", "robert"),
)
MORE_VARIANTS = (
    *("Alicia", "Andrea", "Diogo", "Gene2", "Henrique", "Marco", "Mario", "Mr serious", "Nguyen"),
    *("antonio", "aunty", "boris", "caleb", "edward", "edward2", "grandma", "grandpa", "gustave"),
    *("iven", "iven2", "klatt", "klatt2", "klatt3", "m8", "marcelo", "michel", "miguel", "norbert"),
    *("pablo", "pedro", "quincy", "rob", "sandro", "shelby", "steph", "steph2", "travis"),
    *("victor", "zac", "anika"),
)
"""Further from how people sound: for models that need many voices more than clear words."""
_FLITE_VOICES = {"rms": 4, "slt": 4, "kal16": 2}
_FLITE_STRETCH = {"rms": 0.95, "slt": 1.05, "kal16": 1.15, "awb": 1.0}
"""What brings each voice to about the same number of words per minute."""
_ESPEAK_SHARE = 0.5

HELD_OUT_ESPEAK = (
    *(
        Voice("espeak", f"{accent}+{variant}")
        for accent in ("en-us", "en-gb")
        for variant in ("f4", "m5")
    ),
    *(Voice("espeak", f"{accent}+Andy") for accent in ("en-us", "en-gb")),
    Voice("espeak", "en-gb-scotland"),
    Voice("espeak", "en-gb-scotland+f2"),
)
HELD_OUT_FLITE = (Voice("flite", "awb"),)


def sample_voice(
    rng: random.Random,
    *,
    variants: Sequence[str] = VARIANTS,
    espeak_share: float = _ESPEAK_SHARE,
) -> Voice:
    """Draw one of the voices that training hears, of espeak among `variants`."""
    if rng.random() < espeak_share:
        (accent,) = rng.choices(list(_ACCENTS), list(_ACCENTS.values()))
        variant = rng.choice(variants)
        return Voice("espeak", f"{accent}+{variant}" if variant else accent)
    (name,) = rng.choices(list(_FLITE_VOICES), list(_FLITE_VOICES.values()))
    return Voice("flite", name)


def sample_manner(rng: random.Random) -> Manner:
    """Draw a manner of speaking within what people do."""
    return Manner(
        rate=rng.uniform(0.7, 1.0), pitch=rng.randint(30, 70), stretch=rng.uniform(0.9, 1.12)
    )


def speak(text: str, voice: Voice, manner: Manner | None = None) -> Samples:
    """Synthesise a sentence.

    Args:
        text: words in any case; read as words, never as abbreviations.
        voice: the synthetic speaker.
        manner: rate, pitch and size of the speaker.

    Returns:
        (T,) at 16 kHz, peak 0.7, with 60 ms of near silence at both ends.

    Raises:
        RuntimeError: the synthesiser is missing, failed or said nothing.
    """
    manner = manner or Manner()
    if voice.engine == "espeak":
        command = ["espeak-ng", "-v", voice.name, "-s", str(round(170 * manner.rate))]
        command += ["-p", str(manner.pitch), "--stdout", text.lower()]
    else:
        command = ["flite", "-voice", voice.name, "-t", text.lower(), "-o", "/dev/stdout"]
        command += ["--setf", f"duration_stretch={_FLITE_STRETCH[voice.name] / manner.rate:.3f}"]
    try:
        done = subprocess.run(command, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise RuntimeError(f"{command[0]} could not speak {text!r}: {error}") from error
    samples, rate = _read_streamed_wav(done.stdout)
    samples = soxr.resample(samples, rate * 1.0, SAMPLE_RATE * manner.stretch, quality="HQ")
    samples = _trim(samples)
    if not samples.size:
        raise RuntimeError(f"{command[0]} said nothing for {text!r} as {voice}")
    return np.asarray(samples * (0.7 / np.abs(samples).max()), np.float32)


def _read_streamed_wav(content: bytes) -> tuple[Samples, int]:
    # Written to a pipe, the header's length is a guess: only rate and the samples can be trusted.
    rate = int.from_bytes(content[24:28], "little")
    start = content.find(b"data") + 8
    stop = start + (len(content) - start) // 2 * 2
    return np.frombuffer(content[start:stop], "<i2").astype(np.float32), rate


def _trim(samples: Samples, margin: float = 0.06) -> Samples:
    loud = np.flatnonzero(np.abs(samples) > 0.02 * np.abs(samples).max(initial=0.0))
    if not loud.size:
        return samples[:0]
    edge = round(margin * SAMPLE_RATE)
    samples = samples[max(0, loud[0] - edge) : loud[-1] + edge]
    ramp = np.linspace(0, 1, edge // 4, dtype=np.float32)
    samples[: ramp.size] *= ramp[: samples.size]
    samples[-ramp.size :] *= ramp[::-1][-samples.size :]
    return samples


def pronounce(word: str) -> tuple[str, ...]:
    """Look up the phonemes of a word as flite says it, pauses left out."""
    command = ["flite", "-voice", "kal", "-t", word.lower(), "-ps", "-o", "none"]
    said = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    return tuple(phoneme for phoneme in said.split() if phoneme != "pau")


@dataclass(frozen=True)
class Line:
    """What one synthetic speaker is to say."""

    text: str
    voice: Voice
    manner: Manner

    @property
    def speaker(self) -> str:
        """Who speaks: the voice with its pitch and size; the same person at any rate."""
        return f"{self.voice}/{self.manner.pitch}/{self.manner.stretch:.3f}"


def sample_line(rng: random.Random) -> Line:
    """Draw a text of the demo's domain, a voice that training hears, and a manner."""
    return Line(next(training_texts(rng)), sample_voice(rng), sample_manner(rng))


@dataclass(frozen=True)
class Utterance:
    """One stored line: `start` and `length` count samples in the file of its shard."""

    text: str
    speaker: str
    shard: int
    start: int
    length: int

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.length / SAMPLE_RATE


class SpeechStore:
    """A synthetic corpus in a folder: per shard one file of int16 samples and one index.

    Utterance `i` of a seed is always the same text by the same speaker; shard `s` of `n` holds the
    utterances s, s + n, s + 2n, ... in this order, so a stopped process knows where to go on.
    """

    def __init__(
        self,
        folder: Path,
        draw: Callable[[random.Random], Line] = sample_line,
        *,
        seed: int = 1,
        num_shards: int = 2,
    ) -> None:
        """Open or create the folder.

        Args:
            folder: for nothing else.
            draw: makes a line to speak.
            seed: of what is drawn.
            num_shards: the number of processes that fill it.
        """
        self.folder = folder
        self.draw = draw
        self.seed = seed
        self.num_shards = num_shards
        folder.mkdir(parents=True, exist_ok=True)

    def _paths(self, shard: int) -> tuple[Path, Path]:
        return self.folder / f"shard-{shard}.i16", self.folder / f"shard-{shard}.tsv"

    def fill(self, shard: int, total: int) -> Iterator[int]:
        """Synthesise what one shard lacks of a corpus of `total` utterances.

        Yields:
            The number of utterances in the shard, after each one.
        """
        samples_path, index_path = self._paths(shard)
        lines = index_path.read_text().splitlines() if index_path.exists() else []
        written = sum(int(line.split("\t")[0]) for line in lines)
        samples_path.touch()
        with samples_path.open("r+b") as samples_file, index_path.open("a") as index_file:
            samples_file.truncate(written * 2)
            samples_file.seek(written * 2)
            for count, number in enumerate(
                range(shard + len(lines) * self.num_shards, total, self.num_shards), len(lines) + 1
            ):
                rng = random.Random(f"{self.seed}/{number}")
                line = self.draw(rng)
                samples = speak(line.text, line.voice, line.manner)
                samples_file.write((samples * 32767).astype("<i2").tobytes())
                samples_file.flush()
                index_file.write(f"{samples.size}\t{line.speaker}\t{line.text}\n")
                index_file.flush()
                yield count

    def utterances(self) -> list[Utterance]:
        """List what has been synthesised so far."""
        found = []
        for shard in range(self.num_shards):
            index_path = self._paths(shard)[1]
            if not index_path.exists():
                continue
            start = 0
            for line in index_path.read_text().splitlines():
                length, speaker, text = line.split("\t")
                found.append(Utterance(text, speaker, shard, start, int(length)))
                start += int(length)
        return found

    def samples(self) -> list[npt.NDArray[np.int16]]:
        """Map the samples of every shard into memory."""
        paths = [self._paths(shard)[0] for shard in range(self.num_shards)]
        return [np.memmap(path, "<i2", mode="r") for path in paths if path.exists()]


class DigitRecordings:
    """The recordings of the Free Spoken Digit Dataset, by speaker and digit, at 16 kHz."""

    def __init__(self, archive: Path) -> None:
        """Read every `{digit}_{speaker}_{take}.wav` of a tar archive."""
        self.takes: dict[str, dict[int, list[Samples]]] = {}
        with tarfile.open(archive) as tar:
            members = sorted((m for m in tar if m.name.endswith(".wav")), key=lambda m: m.name)
            for member in members:
                digit, speaker, _ = Path(member.name).stem.split("_")
                content = tar.extractfile(member)
                if content is None:
                    continue
                samples, rate = soundfile.read(io.BytesIO(content.read()), dtype="float32")
                samples = soxr.resample(samples, rate, SAMPLE_RATE, quality="HQ")
                samples = (samples * (0.7 / max(1e-4, np.abs(samples).max()))).astype(np.float32)
                by_digit = self.takes.setdefault(speaker, {d: [] for d in range(10)})
                by_digit[int(digit)].append(samples)

    @property
    def training_speakers(self) -> list[str]:
        """Name the speakers that training hears."""
        return sorted(set(self.takes) - {HELD_OUT_SPEAKER})

    def string(
        self, speaker: str, digits: Sequence[int], rng: random.Random
    ) -> tuple[str, Samples]:
        """Join random takes of one speaker into a string of digits.

        Returns:
            The text, and (T,) with gaps of 20 to 350 ms, the takes of unequal loudness.
        """
        parts = []
        for digit in digits:
            gap = np.zeros(round(rng.uniform(0.02, 0.35) * SAMPLE_RATE), np.float32)
            parts += [rng.choice(self.takes[speaker][digit]) * rng.uniform(0.7, 1.0), gap]
        return " ".join(DIGITS[digit] for digit in digits), np.concatenate(parts[:-1])


class Augmenter:
    """Light, cheap changes to a waveform: tempo, tone, telephone band, room and noise.

    Everything but the noise is one multiplication between two Fourier transforms; resampling is an
    inverse transform of another length.
    """

    _ROUND = 800  # lengths that are multiples of it have small prime factors: fast transforms

    def __init__(self, seed: int) -> None:
        """Prepare half a minute each of white, pink and brown noise."""
        self.rng = np.random.default_rng(seed)
        size = 30 * SAMPLE_RATE
        bands = np.maximum(np.arange(size // 2 + 1), 20.0)
        white = np.fft.rfft(self.rng.standard_normal(size))
        self._noises = []
        for power in (0.0, 0.5, 1.0):
            noise = np.fft.irfft(white / bands**power, size)
            self._noises.append((noise / noise.std()).astype(np.float32))

    def reshape(
        self, samples: Samples, longest: int, *, spread: float, tone_db: float = 1.2
    ) -> Samples:
        """Change tempo, tone and room of one utterance.

        Args:
            samples: (T,).
            longest: how many samples the result may have.
            spread: the tempo (and pitch) factor lies within 1 / (1 + spread) .. 1 + spread.
            tone_db: standard deviation of the gain at each of nine frequencies.

        Returns:
            (T',), T' <= max(longest, T).
        """
        rng = self.rng
        size = -len(samples) // self._ROUND * -self._ROUND
        factor = (1 + spread) ** rng.uniform(-1, 1)
        factor = min(factor, longest / len(samples))
        new_size = max(1, round(size * factor / self._ROUND)) * self._ROUND
        spectrum = np.fft.rfft(samples, size)
        hertz = np.linspace(0, SAMPLE_RATE / 2, len(spectrum), dtype=np.float32)
        knots = np.array([0, 150, 300, 600, 1000, 1700, 2600, 4000, 8000], np.float32)
        gains = np.exp(rng.normal(0, tone_db, len(knots)) * (np.log(10) / 20))
        if rng.random() < 0.2:  # as from a telephone
            edge = rng.uniform(3300, 4000)
            knots = np.append(knots[:-1][knots[:-1] < edge], [edge, edge + 150, 8000])
            gains = np.append(gains[: len(knots) - 3], [gains[-2], 1e-3, 1e-3])
        spectrum *= np.interp(hertz, knots, gains)
        if rng.random() < 0.07:
            tail = np.arange(rng.integers(800, 3200))
            room = rng.standard_normal(len(tail)) * np.exp(-4 * tail / len(tail)) * 0.05
            room[0] = 1
            spectrum *= np.fft.rfft(room, size)
        shaped = np.fft.irfft(spectrum, new_size)[: round(len(samples) * new_size / size)]
        return shaped.astype(np.float32)

    def add_noise(
        self, samples: Samples, *, share: float = 0.6, levels_db: tuple[float, float] = (18, 40)
    ) -> None:
        """Add noise in place to a share of all: so many dB below the speech."""
        rng = self.rng
        if rng.random() > share:
            return
        noise = self._noises[rng.integers(len(self._noises))]
        start = rng.integers(len(noise) - len(samples))
        level = samples.std() * 10 ** (-rng.uniform(*levels_db) / 20)
        samples += noise[start : start + len(samples)] * np.float32(level)


@dataclass(frozen=True)
class Clip:
    """Speech to measure on: what is said and (T,) samples at 16 kHz."""

    text: str
    samples: Samples


def evaluation_sets(recordings: DigitRecordings | None, seed: int = 7) -> dict[str, list[Clip]]:
    """Make the speech that the demo models are measured on; nothing of it is ever trained on.

    Args:
        recordings: real digits, or None to leave out the two sets made of them.
        seed: which sentences, voices and takes.
    """
    rng = random.Random(seed)
    sentences = held_out_sentences(440, rng)

    def spoken(texts: Sequence[str], voices: Sequence[Voice] | None) -> list[Clip]:
        clips = []
        for number, text in enumerate(texts):
            voice = voices[number % len(voices)] if voices else sample_voice(rng)
            clips.append(Clip(text, speak(text, voice, sample_manner(rng))))
        return clips

    sets = {
        "held-out sentences, known voices": spoken(sentences[:200], None),
        "free sentences, known voices": spoken([*HAND_WRITTEN, *HAND_WRITTEN], None),
        "held-out sentences, unknown espeak voices": spoken(sentences[200:320], HELD_OUT_ESPEAK),
        "held-out sentences, unknown flite voice": spoken(sentences[320:], HELD_OUT_FLITE),
    }
    if recordings is not None:
        strings = [rng.choices(range(10), k=rng.randint(3, 6)) for _ in range(100)]
        sets["real digit strings, unknown speaker"] = [
            Clip(*recordings.string(HELD_OUT_SPEAKER, digits, rng)) for digits in strings
        ]
        sets["real single digits, unknown speaker"] = [
            Clip(DIGITS[digit], samples)
            for digit, takes in recordings.takes[HELD_OUT_SPEAKER].items()
            for samples in takes
        ]
        sets["the same, between 0.2 s of silence"] = [
            Clip(clip.text, np.pad(clip.samples, SAMPLE_RATE // 5))
            for clip in sets["real single digits, unknown speaker"]
        ]
    return sets
