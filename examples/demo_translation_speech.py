"""Who speaks the embedded translation model's sentences, in training and when it is measured."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from demo_speech import (
    HELD_OUT_ESPEAK,
    HELD_OUT_FLITE,
    SAMPLE_RATE,
    VARIANTS,
    Line,
    Samples,
    Voice,
    sample_manner,
    sample_voice,
    speak,
)
from demo_translation_corpus import held_out_triples, training_triples
from demo_translation_words import Triple

TRANSLATION_VARIANTS = (
    *VARIANTS,
    *("Alicia", "Andrea", "Diogo", "Gene2", "Henrique", "Marco", "Mario", "anika", "antonio"),
    *("boris", "caleb", "edward", "edward2", "grandma", "grandpa", "gustave", "iven", "iven2"),
    *("iven3", "iven4", "m8", "marcelo", "michel", "miguel", "norbert", "pablo", "pedro"),
    *("quincy", "rob", "sandro", "shelby", "travis", "victor", "zac"),
)
"""Variants of espeak-ng that training hears; not aunty and AnxiousAndy, which copy f4 and Andy."""

_ESPEAK_SHARE = 0.75


def training_triple(rng: random.Random) -> Triple:
    """Draw a sentence to train on."""
    return next(training_triples(rng))


def draw_voice(rng: random.Random) -> Voice:
    """Draw a voice that training hears."""
    return sample_voice(rng, variants=TRANSLATION_VARIANTS, espeak_share=_ESPEAK_SHARE)


def draw_line(rng: random.Random) -> Line:
    """Draw a sentence to train on, its voice and its manner."""
    return Line(training_triple(rng).en, draw_voice(rng), sample_manner(rng))


@dataclass(frozen=True)
class Clip:
    """Speech to measure on: what is said, by whom, and (T,) samples at 16 kHz."""

    triple: Triple
    voice: Voice
    samples: Samples


def evaluation_sets(count: int = 250, seed: int = 7) -> dict[str, list[Clip]]:
    """Speak held-out sentences, each once, by voices that training heard and by held-out ones."""
    rng = random.Random(seed)
    triples = iter(held_out_triples(3 * count, rng))

    def spoken(voices: Sequence[Voice] | None) -> list[Clip]:
        clips = []
        for number, triple in enumerate(itertools.islice(triples, count)):
            voice = voices[number % len(voices)] if voices else draw_voice(rng)
            clips.append(Clip(triple, voice, speak(triple.en, voice, sample_manner(rng))))
        return clips

    unknown = spoken(HELD_OUT_ESPEAK)
    return {
        "unknown espeak voices": unknown,
        "the same, between seconds of silence": [
            replace(clip, samples=np.pad(clip.samples, SAMPLE_RATE)) for clip in unknown
        ],
        "known voices": spoken(None),
        "unknown flite voice": spoken(HELD_OUT_FLITE),
    }
