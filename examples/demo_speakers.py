"""Who the demo speaker model is to tell apart: synthetic people, and trials between some of them.

A person is a voice with a pitch and a size of its own, whatever the text and the rate. espeak-ng's
own voices make too few of them, so most of the people in training speak in a variant written here
at random: a file of formants, pitch, tone and breath, as espeak-ng's variants are.
"""

from __future__ import annotations

import functools
import itertools
import os
import random
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from demo_corpus import held_out_sentences, is_held_out, sample_sentence
from demo_speech import (
    MORE_VARIANTS,
    SAMPLE_RATE,
    VARIANTS,
    DigitRecordings,
    Line,
    Manner,
    Samples,
    Voice,
    speak,
)

HELD_OUT_MEN = ("m5", "Andy", "gustave", "rob", "victor", "boris", "sandro", "Nguyen", "Hugo", "m8")
HELD_OUT_WOMEN = ("f4", "Alicia", "aunty", "anika", "steph", "grandma", "Annie", "linda")
_LIKE_HELD_OUT = ("steph2",)
ACCENTS = ("en-us", "en-gb", "en-gb-x-rp", "en-us-nyc", "en-gb-x-gbclan", "en-gb-x-gbcwmd")
_HELD_OUT_ACCENTS = ("en-us", "en-gb", "en-gb-scotland")

NUM_WRITTEN = 230  # espeak-ng lists at most 350 languages and variants together
_PITCHES = (25, 42, 58, 75)
_STRETCHES = (0.88, 0.95, 1.03, 1.11)


# ----------------------------------------------------------------------------------------- people


@dataclass(frozen=True)
class Person:
    """Somebody synthetic: all but the text and the rate of what is said."""

    voice: Voice
    pitch: int
    stretch: float

    def line(self, text: str, rng: random.Random) -> Line:
        """Say a text at some rate."""
        return Line(text, self.voice, Manner(rng.uniform(0.75, 1.05), self.pitch, self.stretch))


def write_variants(folder: Path, seed: int = 1) -> None:
    """Make a data folder for espeak-ng with variants of our own, and use it in this process.

    All else is linked from espeak-ng's own data, of its languages only the Germanic ones.

    Raises:
        RuntimeError: espeak-ng's data are not where it says.
    """
    said = subprocess.run(["espeak-ng", "--version"], capture_output=True, check=True, text=True)
    match = re.search(r"Data at: (.+)", said.stdout)
    if match is None:
        raise RuntimeError(f"espeak-ng does not say where its data are: {said.stdout!r}")
    source = Path(match[1].strip())
    data = folder / "espeak-ng-data"
    variants = data / "voices" / "!v"
    variants.mkdir(parents=True, exist_ok=True)
    (data / "lang").mkdir(exist_ok=True)
    links = {data / path.name: path for path in source.iterdir()}
    links |= {variants / path.name: path for path in (source / "voices" / "!v").iterdir()}
    links[data / "lang" / "gmw"] = source / "lang" / "gmw"
    for link, path in links.items():
        if not link.exists():
            link.symlink_to(path)
    for number in range(NUM_WRITTEN):
        name = f"written{number}"
        (variants / name).write_text(_variant(name, random.Random(f"{seed}/{name}")))
    os.environ["ESPEAK_DATA_PATH"] = str(folder.resolve())


def _variant(name: str, rng: random.Random) -> str:
    """Describe a random voice in the language of espeak-ng's variant files."""
    is_woman = rng.random() < 0.45
    pitch = rng.uniform(130, 220) if is_woman else rng.uniform(60, 120)
    size = rng.uniform(103, 125) if is_woman else rng.uniform(85, 106)
    lines = [
        "language variant",
        f"name {name}",
        f"gender {'female' if is_woman else 'male'}",
        f"pitch {pitch:.0f} {pitch * rng.uniform(1.2, 1.6):.0f}",
        f"flutter {rng.choice((0, 0, 2, 5, 10, 20))}",
        f"roughness {rng.choice((0, 0, 0, 1, 2, 3))}",
        f"intonation {rng.choice((1, 1, 2, 3, 4))}",
        f"voicing {rng.uniform(60, 140):.0f}",
        f"consonants {rng.uniform(60, 130):.0f} {rng.uniform(40, 130):.0f}",
    ]
    for number in range(9):
        frequency = size * rng.gauss(1, 0.05)
        loudness = max(0.0, rng.gauss(95, 25 if number else 10) * (1 if number < 6 else 0.6))
        lines.append(
            f"formant {number} {frequency:.0f} {min(loudness, 200):.0f} {rng.uniform(60, 150):.0f}"
        )
    if rng.random() < 0.5:
        knots = (100, 600, 1200, 2000, 3000)
        gains = [min(255.0, 255 * 10 ** (rng.gauss(-8, 7) / 20)) for _ in knots]
        lines.append("tone " + " ".join(f"{k} {g:.0f}" for k, g in zip(knots, gains, strict=True)))
    if rng.random() < 0.15:
        lines.append("breath " + " ".join(str(rng.randint(0, 12)) for _ in range(6)))
        lines.append("breathw 150 150 200 200 400 400")
    if rng.random() < 0.1:
        lines.append(f"echo {rng.randint(20, 130)} {rng.randint(5, 30)}")
    return "\n".join(lines) + "\n"


def training_people() -> list[Person]:
    """List everybody who is heard in training."""
    rng = random.Random("people")
    held_out = {*HELD_OUT_MEN, *HELD_OUT_WOMEN, *_LIKE_HELD_OUT}
    named = [variant for variant in (*VARIANTS, *MORE_VARIANTS) if variant not in held_out]
    people = []
    for variant in [*named, *(f"written{number}" for number in range(NUM_WRITTEN))]:
        for pitch, stretch in rng.sample(list(itertools.product(_PITCHES, _STRETCHES)), 4):
            name = f"{rng.choice(ACCENTS)}+{variant}".removesuffix("+")
            people.append(Person(Voice("espeak", name), pitch, stretch))
    for name in ("rms", "slt", "kal16"):
        people += [
            Person(Voice("flite", name), 50, stretch)
            for stretch in (0.8, 0.87, 0.94, 1.01, 1.08, 1.16, 1.25)
        ]
    return people


def sample_text(rng: random.Random) -> str:
    """Draw a sentence of four words or more that is not held out."""
    while True:
        text = sample_sentence(rng)
        if len(text.split()) >= 4 and not is_held_out(text):
            return text


@functools.cache
def _people_by_engine() -> dict[str, list[Person]]:
    people = training_people()
    return {
        engine: [person for person in people if person.voice.engine == engine]
        for engine in ("espeak", "flite")
    }


_FLITE_SHARE = 0.06


def sample_line(rng: random.Random) -> Line:
    """Draw a person and what they say; the few people of flite speak more often."""
    people = _people_by_engine()["flite" if rng.random() < _FLITE_SHARE else "espeak"]
    return rng.choice(people).line(sample_text(rng), rng)


# ----------------------------------------------------------------------------------------- trials


@dataclass(frozen=True)
class TrialSet:
    """Pairs of clips: who are the same person, who are not?

    Attributes:
        clips: (T,) each, at 16 kHz.
        pairs: two numbers of clips, and whether one person speaks in both.
    """

    clips: list[Samples]
    pairs: list[tuple[int, int, bool]]


def held_out_people() -> dict[str, list[Person]]:
    """Those whom no model hears before it is measured, by sex: two people of each variant."""
    rng = random.Random("held out")

    def people(variants: Sequence[str]) -> list[Person]:
        found = []
        for variant in variants:
            accents = rng.sample(_HELD_OUT_ACCENTS, 2)
            pitches = rng.sample(_PITCHES, 2)
            stretches = rng.sample(_STRETCHES, 2)
            found += [
                Person(Voice("espeak", f"{accent}+{variant}"), pitch, stretch)
                for accent, pitch, stretch in zip(accents, pitches, stretches, strict=True)
            ]
        return found

    return {"men": people(HELD_OUT_MEN), "women": people(HELD_OUT_WOMEN)}


def _pairs(
    people: Sequence[object],
    count: int,
    rng: random.Random,
    *,
    groups: Sequence[object],
) -> list[tuple[int, int, bool]]:
    """Draw `count` pairs of one person's clips and `count` of two people's of one group."""
    both = list(itertools.combinations(range(len(people)), 2))
    same = [(a, b, True) for a, b in both if people[a] == people[b]]
    others = [(a, b, False) for a, b in both if people[a] != people[b] and groups[a] == groups[b]]
    return rng.sample(same, min(count, len(same))) + rng.sample(others, min(count, len(others)))


def evaluation_trials(
    recordings: DigitRecordings | None, *, per_person: int = 8, seed: int = 7
) -> dict[str, TrialSet]:
    """Make the trials that the speaker model is measured on; it has heard nobody of them.

    Nobody says the same sentence twice.

    Args:
        recordings: real digits, or None to leave out the set made of them.
        per_person: clips of each synthetic person.
        seed: of everything random.
    """
    rng = random.Random(seed)
    noise_rng = np.random.default_rng(seed)
    by_sex = held_out_people()
    speakers = [
        person for people in by_sex.values() for person in people for _ in range(per_person)
    ]
    sexes = [sex for sex, people in by_sex.items() for _ in range(len(people) * per_person)]
    voices = [person.voice.name.partition("+")[2] for person in speakers]
    texts = held_out_sentences(len(speakers), rng)
    lines = [person.line(text, rng) for person, text in zip(speakers, texts, strict=True)]
    clips = [speak(line.text, line.voice, line.manner) for line in lines]
    rough = [_telephoned(clip, noise_rng) for clip in clips]
    pairs = _pairs(speakers, 1000, rng, groups=sexes)
    sets = {
        "unknown people of one sex": TrialSet(clips, pairs),
        "the same, half of the clips by telephone in noise": TrialSet(
            [*clips, *rough],
            [(a, b + len(clips), is_target) for a, b, is_target in pairs],
        ),
        "unknown people of any sex": TrialSet(
            clips, _pairs(speakers, 1000, rng, groups=[None] * len(speakers))
        ),
        "one voice, other accent, pitch and size": TrialSet(
            clips, _pairs(speakers, 1000, rng, groups=voices)
        ),
    }
    if recordings is not None:
        people = [name for name in sorted(recordings.takes) for _ in range(40)]
        strings = [recordings.string(name, rng.sample(range(10), 5), rng)[1] for name in people]
        pairs = _pairs(people, 1000, rng, groups=[None] * len(people))
        sets["five real people saying digits"] = TrialSet(strings, pairs)
    new = [at for at, voice in enumerate(voices) if voice not in (*VARIANTS, *MORE_VARIANTS)]
    sets["the first row's, of voices that demo-keywords has not heard"] = TrialSet(
        [clips[at] for at in new],
        _pairs([speakers[at] for at in new], 1000, rng, groups=[sexes[at] for at in new]),
    )
    return sets


def _telephoned(samples: Samples, rng: np.random.Generator) -> Samples:
    """Cut a clip to 300 to 3400 Hz, with white noise 15 dB below it."""
    spectrum = np.fft.rfft(samples)
    hertz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    noise = np.fft.rfft(rng.standard_normal(len(samples)) * samples.std() * 10 ** (-15 / 20))
    spectrum = (spectrum + noise) * ((hertz > 300) & (hertz < 3400))
    return np.fft.irfft(spectrum, len(samples)).astype(np.float32)
