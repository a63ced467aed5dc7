"""What the demo keyword classifier is to hear: its words, the voices, and noise.

Twelve commands, `_silence_` (noise, hum, crackle, nothing) and `_unknown_` (any other speech). What
other words there are decides how good `_unknown_` becomes: half of them are the demo domain's, the
others were chosen because they sound nearly like a command. Words that sound exactly like one
("know", "write") are left out, as no classifier can tell them apart.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence

import numpy as np
from demo_corpus import vocabulary
from demo_speech import (
    HELD_OUT_ESPEAK,
    HELD_OUT_FLITE,
    MORE_VARIANTS,
    SAMPLE_RATE,
    VARIANTS,
    Clip,
    DigitRecordings,
    Line,
    Manner,
    Samples,
    Voice,
    sample_voice,
    speak,
)

COMMANDS = (
    *("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "start", "help"),
)
SILENCE, UNKNOWN = "_silence_", "_unknown_"
LABELS = (*COMMANDS, SILENCE, UNKNOWN)

HOMOPHONES = frozenset({"know", "write"})
NEAR_MISSES = {
    "yes": "yet yell yesterday chess guess dress less mess press yours",
    "no": "snow note nose nope known nor new none gnome low mow nobody not nine",
    "up": "cup pup us upper upon hop app other oven but",
    "down": "town dawn done dome den dine doubt brown noun gown drown",
    "left": "lift loft laughed less leg theft let lapped cleft lest",
    "right": "ride rice light white bright rate root rise night fright riot rat",
    "on": "own an in gone con john honk ant don one and",
    "off": "of cough often awful if scoff loft offer doll soft",
    "stop": "top step stock stamp shop stoop spot strop chop stopped",
    "go": "ago grow goat gold ghost gun low cargo girl dough goal",
    "start": "star art stark cart stairs smart dart started starch tart",
    "help": "hell held health yelp kelp helm felt hold hop helped",
}
"""Words that sound nearly like a command; some sound like two."""

COMMAND_SHARE = 0.45
_PHRASE_SHARE = 0.2
_HELD_OUT_WORDS = 10  # one in so many


def near_misses() -> tuple[str, ...]:
    """List every near miss once."""
    return tuple(sorted({word for words in NEAR_MISSES.values() for word in words.split()}))


def other_words(*, held_out: bool) -> tuple[str, ...]:
    """List the domain's words that are no command: those that training hears, or the others."""
    words = {word.lower() for word in vocabulary()}
    words -= HOMOPHONES.union(COMMANDS, near_misses())
    return tuple(
        word
        for word in sorted(words)
        if (zlib.crc32(word.encode("ascii")) % _HELD_OUT_WORDS == 0) == held_out
    )


def sample_manner(rng: random.Random) -> Manner:
    """Draw a manner of speaking; words that stand alone vary more than sentences."""
    return Manner(
        rate=rng.uniform(0.65, 1.05), pitch=rng.randint(25, 75), stretch=rng.uniform(0.86, 1.16)
    )


def sample_text(rng: random.Random) -> str:
    """Draw a command, another word, or two or three other words."""
    if rng.random() < COMMAND_SHARE:
        return rng.choice(COMMANDS)
    if rng.random() < _PHRASE_SHARE:
        return " ".join(rng.choices(other_words(held_out=False), k=rng.randint(2, 3)))
    return rng.choice(near_misses() if rng.random() < 0.5 else other_words(held_out=False))


def sample_line(rng: random.Random) -> Line:
    """Draw what one voice of training says."""
    variants = VARIANTS if rng.random() < 0.6 else MORE_VARIANTS
    voice = sample_voice(rng, variants=variants, espeak_share=0.7)
    return Line(sample_text(rng), voice, sample_manner(rng))


# ------------------------------------------------------------------------------------------ noise


def make_silence(size: int, rng: np.random.Generator) -> Samples:
    """Make what a microphone hears when nobody speaks: noise, hum, crackle, gusts, or nothing.

    Returns:
        (size,), of no particular level.
    """
    kind = rng.random()
    if kind < 0.04:
        return np.zeros(size, np.float32)
    if kind < 0.08:  # the last bit of a converter
        return rng.integers(-1, 2, size).astype(np.float32) / 32768
    bands = np.maximum(np.fft.rfftfreq(size, 1 / SAMPLE_RATE), 30.0)
    spectrum = np.fft.rfft(rng.standard_normal(size)) * bands ** -rng.uniform(0.0, 1.3)
    knots = np.array([0, 200, 500, 1000, 2000, 4000, 8000])
    spectrum *= 10 ** (np.interp(bands, knots, rng.normal(0, 5, len(knots))) / 20)
    if rng.random() < 0.2:
        spectrum[bands > rng.uniform(2500, 5000)] *= 0.01
    noise = np.fft.irfft(spectrum, size)
    noise /= noise.std() + 1e-9
    time_s = np.arange(size) / SAMPLE_RATE
    if rng.random() < 0.35:  # mains hum, or a fan
        pitch = rng.choice([50.0, 60.0, rng.uniform(40, 240)])
        tones = range(1, rng.integers(2, 9))
        phases = rng.uniform(0, 2 * np.pi, len(tones))
        loud = rng.exponential(1.0, len(tones))
        for tone, phase, level in zip(tones, phases, loud, strict=True):
            noise += level * 2 * np.sin(2 * np.pi * pitch * tone * time_s + phase)
    if rng.random() < 0.2:
        clicks = rng.integers(0, size, rng.integers(1, 12))
        noise[clicks] += rng.normal(0, 12, len(clicks))
    if rng.random() < 0.3:
        knots = np.sort(rng.uniform(0, time_s[-1], 5))
        noise *= np.exp(np.interp(time_s, knots, rng.normal(0, 0.5, 5)))
    level = 10 ** rng.uniform(-4, -1)
    return np.asarray(noise * level, np.float32)


# -------------------------------------------------------------------------------------- measuring


def label_of(text: str) -> str:
    """The label of a spoken text."""
    return text if text in COMMANDS else UNKNOWN


def evaluation_sets(
    recordings: DigitRecordings | None, *, per_label: int = 40, seed: int = 7
) -> dict[str, list[Clip]]:
    """Make the clips that the classifier is measured on; the text of a clip is its label.

    Args:
        recordings: real digits, or None to leave out the set made of them.
        per_label: how many clips of each label the balanced sets have.
        seed: of everything random.
    """
    rng = random.Random(seed)
    noise_rng = np.random.default_rng(seed)
    unheard = other_words(held_out=True)

    def spoken(texts: Sequence[str], voices: Sequence[Voice] | None) -> list[Clip]:
        clips = []
        for number, text in enumerate(texts):
            voice = voices[number % len(voices)] if voices else sample_line(rng).voice
            clips.append(Clip(label_of(text), speak(text, voice, sample_manner(rng))))
        return clips

    def balanced(voices: Sequence[Voice] | None) -> list[Clip]:
        words = [command for command in COMMANDS for _ in range(per_label)]
        words += rng.sample(near_misses(), per_label // 2)
        words += rng.choices(unheard, k=per_label - per_label // 2)
        return spoken(words, voices)

    def placed(
        clips: Sequence[Clip], *, shortest: float = 1.0, noise_db: float = 45.0
    ) -> list[Clip]:
        """Put each somewhere into 1 to 2 times `shortest` seconds of noise."""
        found = []
        for clip in clips:
            length = len(clip.samples)
            size = max(length, round(rng.uniform(shortest, 2 * shortest) * SAMPLE_RATE))
            samples = noise_rng.standard_normal(size) * clip.samples.std() * 10 ** (-noise_db / 20)
            start = rng.randint(0, size - length)
            samples[start : start + length] += clip.samples
            found.append(Clip(clip.text, samples.astype(np.float32)))
        return found

    silent = [
        Clip(SILENCE, make_silence(round(rng.uniform(1, 2) * SAMPLE_RATE), noise_rng))
        for _ in range(per_label)
    ]
    words = balanced(HELD_OUT_ESPEAK)
    sets = {
        "unknown espeak voices": placed(words) + silent,
        "the same, noise 10 dB below": placed(words, noise_db=10.0) + silent,
        "the same, clips of 0.5 to 1 s": placed(words, shortest=0.5) + silent,
        "unknown flite voice": placed(balanced(HELD_OUT_FLITE)) + silent,
        "known voices": placed(balanced(None)) + silent,
        "unknown espeak voices, words never heard": placed(spoken(unheard * 3, HELD_OUT_ESPEAK)),
        "unknown espeak voices, near misses": placed(spoken(near_misses() * 2, HELD_OUT_ESPEAK)),
    }
    if recordings is not None:
        takes = [
            take
            for digits in recordings.takes.values()
            for digit in digits.values()
            for take in digit[:10]
        ]
        sets["real digits, five speakers"] = placed([Clip(UNKNOWN, take) for take in takes])
    return sets
