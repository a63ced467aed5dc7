"""Counts of errors, against jiwer and the published examples of sclite."""

from __future__ import annotations

import random

import jiwer
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrkit.scoring import (
    Confusions,
    Counts,
    align_words,
    changes,
    count_characters,
    count_words,
    side_by_side,
    split_words,
)

TEXTS = st.lists(st.sampled_from(["a", "b", "I", "été", "שלום", "日本"]), max_size=8).map(" ".join)

# REF, HYP and "Scores: (#C #S #D #I)" from the documentation of sclite, reports pralign and prf.
SCLITE = [
    (
        "as competition in the mutual fund business grows increasingly intense more players in the "
        "industry appear willing to sacrifice integrity in the name of performance",
        "as competition in the mutual fund business grows increasingly intense more players in the "
        "industry appear willing to sacrifice integrity in the name of performance",
        (25, 0, 0, 0),
    ),
    (
        "for a two trillion dollar business built on public confidence this trend is disheartening "
        "at best and downright dangerous at worst",
        "freed to trying to lure business built on public confidence this trend is this tightening "
        "and best and downright dangerous at worst",
        (14, 7, 0, 1),
    ),
    (
        "so far this year the industry slide has been apparent in allegations of insider trading "
        "by fund managers unsavory fund sales practices at banks and the use of high risk "
        "derivative securities in normally conservative money market funds",
        "so far this year the industry slide has been apparent in allegations of insider trading "
        "by fund managers and save refund sales practices at banks and use of high risk "
        "derivative securities in early conservative money market funds",
        (34, 3, 1, 1),
    ),
    ("i've um as far as i'm concerned", "they pride about as far as i'm i", (4, 3, 0, 1)),
    (
        "i find that the young women have lost so much because they have become more aggressive "
        "and more dominating",
        "are fine but the young women have lost so much too because they have become more "
        "aggressive and more jobs needing",
        (15, 4, 0, 2),
    ),
    (
        "",
        "it and i think that comes about from called being a definite factory and the job market",
        (0, 0, 0, 17),
    ),
]


def counts_of(reference: str, hypothesis: str) -> Counts:
    (alignment,) = align_words([split_words(reference)], [split_words(hypothesis)])
    return Counts(*count_words(alignment))


def corpus(seed: int, num_pairs: int, words: list[str]) -> tuple[list[str], list[str]]:
    """References, and hypotheses that differ in all ways, some of either empty."""
    rng = random.Random(seed)
    references, hypotheses = [], []
    for _ in range(num_pairs):
        said = rng.choices(words, k=rng.randint(0, 20))
        heard = []
        for word in said:
            chance = rng.random()
            if chance < 0.7:
                heard.append(word)
            elif chance < 0.9:
                heard += rng.choices(words, k=rng.randint(1, 2))
        references.append(" ".join(said))
        hypotheses.append(" ".join(heard))
    return references, hypotheses


@pytest.mark.parametrize(("reference", "hypothesis", "expected"), SCLITE)
def test_counts_are_those_that_sclite_publishes(reference, hypothesis, expected):
    counts = counts_of(reference, hypothesis)

    found = (counts.hits, counts.substitutions, counts.deletions, counts.insertions)
    assert found == expected


def test_sum_is_the_one_that_sclite_publishes():
    # Its sentence report shows running sums behind every count: 13 errors in 84 words after three.
    rows = [
        count_words(align_words([reference.split()], [hypothesis.split()])[0])
        for reference, hypothesis, _ in SCLITE[:3]
    ]

    total = Counts.of(np.array(rows))

    assert (total.errors, total.num_reference, total.num_hypothesis) == (13, 84, 85)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("words", ["a b c d", "one two three four five six seven eight nine I a"])
def test_totals_are_those_of_jiwer_on_random_corpora(seed, words):
    references, hypotheses = corpus(seed, 200, words.split())
    said, heard = [list(map(split_words, texts)) for texts in (references, hypotheses)]

    total = Counts.of(np.array([count_words(item) for item in align_words(said, heard)]))

    theirs = jiwer.process_words(references, hypotheses)
    assert total == Counts(theirs.hits, theirs.substitutions, theirs.deletions, theirs.insertions)
    assert total.rate == pytest.approx(theirs.wer, abs=1e-12)
    assert total.mer == pytest.approx(theirs.mer, abs=1e-12)
    assert total.wil == pytest.approx(theirs.wil, abs=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_characters_are_counted_as_jiwer_does(seed):
    references, hypotheses = corpus(seed, 200, ["abc", "ab", "I", "é", "日本", "שלום"])

    total = Counts.of(np.array(list(map(count_characters, references, hypotheses))))

    theirs = jiwer.process_characters(references, hypotheses)
    assert total == Counts(theirs.hits, theirs.substitutions, theirs.deletions, theirs.insertions)
    assert total.rate == pytest.approx(theirs.cer, abs=1e-12)


@given(reference=TEXTS, hypothesis=TEXTS)
def test_every_pair_has_the_counts_of_jiwer(reference, hypothesis):
    counts = counts_of(reference, hypothesis)

    theirs = jiwer.process_words(reference, hypothesis)
    assert counts == Counts(theirs.hits, theirs.substitutions, theirs.deletions, theirs.insertions)
    assert counts.wil == pytest.approx(theirs.wil)
    assert counts.mer == pytest.approx(theirs.mer)


@given(reference=TEXTS, hypothesis=TEXTS)
def test_an_alignment_holds_every_word_of_both_sides_in_order(reference, hypothesis):
    said, heard = split_words(reference), split_words(hypothesis)

    steps = list(side_by_side(said, heard, align_words([said], [heard])[0]))

    assert [word for _, word, _ in steps if word] == said
    assert [word for _, _, word in steps if word] == heard
    assert all((old == new) == (kind == "equal") for kind, old, new in steps)


def test_one_letter_words_count():
    # jiwer's own command line drops lines of one letter.
    assert counts_of("I", "a").rate == 1.0
    assert counts_of("I", "I").rate == 0.0


def test_an_empty_reference_counts_what_was_inserted():
    counts = counts_of("", "uh oh")

    assert (counts.insertions, counts.errors, counts.num_reference) == (2, 2, 0)
    assert counts.rate is None
    assert (counts.mer, counts.wil) == (1.0, 1.0)


def test_nothing_said_and_nothing_heard_is_right():
    counts = counts_of("", "")

    assert (counts.rate, counts.mer, counts.wil) == (0.0, 0.0, 0.0)


def test_an_empty_hypothesis_is_all_deletions():
    assert counts_of("a b c", "") == Counts(deletions=3)


def test_composed_and_decomposed_letters_are_the_same():
    assert counts_of("caf\u00e9", "cafe\u0301").errors == 0


def test_any_white_space_divides_words():
    assert split_words(" a\tb\u00a0c\u3000d\n") == ["a", "b", "c", "d"]


def test_confusions_are_counted_by_what_was_said_and_heard():
    said, heard = "the cat sat on the mat".split(), "a cat sat the mat today".split()
    confusions = Confusions()

    confusions.add(said, heard, align_words([said], [heard])[0])

    assert dict(confusions.substitutions) == {("the", "a"): 1}
    assert dict(confusions.deletions) == {"on": 1}
    assert dict(confusions.insertions) == {"today": 1}


def test_character_confusions_are_single_letters():
    confusions = Confusions()

    count_characters("cat", "cut up", confusions)

    assert dict(confusions.substitutions) == {("a", "u"): 1}
    assert dict(confusions.insertions) == {" ": 1, "u": 1, "p": 1}


def test_changes_are_the_runs_that_differ():
    before, after = "Mr. Smith pays twenty dollars".split(), "mister Smith pays $20".split()

    assert list(changes(before, after)) == [("Mr.", "mister"), ("twenty", "$20"), ("dollars", "")]
