"""The text domain of the demo models: pure functions, no synthesiser needed."""

from __future__ import annotations

import itertools
import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import demo_corpus as corpus


@pytest.mark.parametrize(
    ("number", "spelt"),
    [
        (0, "ZERO"),
        (13, "THIRTEEN"),
        (40, "FORTY"),
        (99, "NINETY NINE"),
        (105, "ONE HUNDRED AND FIVE"),
        (2040, "TWO THOUSAND AND FORTY"),
        (3521, "THREE THOUSAND FIVE HUNDRED AND TWENTY ONE"),
    ],
)
def test_numbers_are_spelt_in_words(number, spelt):
    assert corpus.spell_number(number) == spelt


@pytest.mark.parametrize(
    ("number", "spelt"),
    [(1, "FIRST"), (9, "NINTH"), (12, "TWELFTH"), (20, "TWENTIETH"), (31, "THIRTY FIRST")],
)
def test_ordinals_are_spelt_in_words(number, spelt):
    assert corpus.spell_ordinal(number) == spelt


def test_numbers_outside_the_range_are_refused():
    with pytest.raises(ValueError, match="1000000"):
        corpus.spell_number(1_000_000)


def test_every_sampled_word_is_in_the_vocabulary():
    texts = itertools.islice(corpus.training_texts(random.Random(1)), 3000)

    words = {word for text in texts for word in text.split()}

    assert words <= set(corpus.vocabulary())


def test_every_slot_of_a_template_exists():
    templates = [*corpus.SENTENCES, *corpus.CONNECTED, *itertools.chain(*corpus.SLOTS.values())]

    filled = [corpus.expand(template, random.Random(2)) for template in templates]

    assert not any("{" in text for text in filled)


def test_held_out_sentences_are_never_trained_on():
    held_out = set(corpus.held_out_sentences(100, random.Random(3)))

    trained = set(itertools.islice(corpus.training_texts(random.Random(3)), 5000))

    assert not trained & held_out
    assert not trained & set(corpus.HAND_WRITTEN)


def test_whether_a_sentence_is_held_out_never_changes():
    assert all(corpus.is_held_out(text) for text in corpus.HAND_WRITTEN)
    assert not corpus.is_held_out("YES PLEASE")


def test_words_use_capital_letters_and_apostrophes_only():
    assert corpus.letters_of(corpus.vocabulary()) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ'")
