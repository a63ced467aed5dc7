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
from dataclasses import dataclass
from pathlib import Path

from demo_corpus import is_held_out, sample_sentence
from demo_speech import (
    MORE_VARIANTS,
    VARIANTS,
    Line,
    Manner,
    Voice,
)

HELD_OUT_MEN = ("m5", "Andy", "gustave", "rob", "victor", "boris", "sandro", "Nguyen", "Hugo", "m8")
HELD_OUT_WOMEN = ("f4", "Alicia", "aunty", "anika", "steph", "grandma", "Annie", "linda")
_LIKE_HELD_OUT = ("steph2",)
ACCENTS = ("en-us", "en-gb", "en-gb-x-rp", "en-us-nyc", "en-gb-x-gbclan", "en-gb-x-gbcwmd")
_HELD_OUT_ACCENTS = ("en-us", "en-gb", "en-gb-scotland")

NUM_WRITTEN = 1000
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

    Everything but the variants is linked from espeak-ng's own data.
    """
    said = subprocess.run(["espeak-ng", "--version"], capture_output=True, check=True, text=True)
    match = re.search(r"Data at: (.+)", said.stdout)
    if match is None:
        raise RuntimeError(f"espeak-ng does not say where its data are: {said.stdout!r}")
    source = Path(match[1].strip())
    variants = folder / "espeak-ng-data" / "voices" / "!v"
    variants.mkdir(parents=True, exist_ok=True)
    links = {folder / "espeak-ng-data" / path.name: path for path in source.iterdir()}
    links |= {variants / path.name: path for path in (source / "voices" / "!v").iterdir()}
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
    for variant in named:
        for pitch, stretch in rng.sample(list(itertools.product(_PITCHES, _STRETCHES)), 5):
            name = f"{rng.choice(ACCENTS)}+{variant}".removesuffix("+")
            people.append(Person(Voice("espeak", name), pitch, stretch))
    for number in range(NUM_WRITTEN):
        voice = Voice("espeak", f"{rng.choice(ACCENTS)}+written{number}")
        people.append(Person(voice, rng.randint(35, 65), rng.uniform(0.92, 1.08)))
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
