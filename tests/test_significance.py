"""Intervals that cover what they say, and tests with numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from asrkit.scoring import align_words
from asrkit.significance import (
    error_segments,
    matched_pairs,
    paired_bootstrap,
    percentiles,
    rate_interval,
    resample,
)

DRAWS = {"level": 95.0, "replicates": 1000, "seed": 0}


def segments(reference: str, first: str, second: str) -> list[tuple[int, int]]:
    said = reference.split()
    one, two = align_words([said, said], [first.split(), second.split()])
    return list(error_segments(one, two))


def synthetic(rng: np.random.Generator, *, utterances: int, mean: float, clusters: int):
    """Errors and words of a corpus whose true rate is `mean`: utterances differ in difficulty.

    With clusters, utterances of a cluster (a speaker) share theirs.
    """
    words = rng.integers(4, 30, size=utterances)
    owners = np.arange(utterances) % (clusters or utterances)
    difficulty = rng.beta(2, 2 / mean - 2, size=clusters or utterances)[owners]
    return rng.binomial(words, difficulty), words, owners


def coverage(
    *,
    utterances: int,
    mean: float,
    clusters: int = 0,
    by_cluster: bool = False,
    corpora: int = 500,
    replicates: int = 400,
) -> float:
    """The share of corpora whose 95 % interval holds the true rate."""
    rng = np.random.default_rng(11)
    hits = 0
    for corpus in range(corpora):
        errors, words, owners = synthetic(rng, utterances=utterances, mean=mean, clusters=clusters)
        if by_cluster:
            errors, words = np.bincount(owners, errors), np.bincount(owners, words)
        interval = rate_interval(
            errors.astype(int), words.astype(int), level=95, replicates=replicates, seed=corpus
        )
        assert interval is not None
        hits += interval[0] <= mean <= interval[1]
    return hits / corpora


def test_the_interval_covers_the_true_rate_as_often_as_it_says():
    assert 0.93 <= coverage(utterances=300, mean=0.1) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize(("utterances", "mean"), [(100, 0.1), (300, 0.1), (300, 0.3), (1000, 0.1)])
def test_intervals_of_any_corpus_cover_the_true_rate(utterances, mean):
    found = coverage(utterances=utterances, mean=mean, replicates=1000)

    assert 0.93 <= found <= 0.97


@pytest.mark.slow
def test_speakers_must_be_drawn_as_a_whole_where_they_differ():
    alone = coverage(utterances=1000, mean=0.1, clusters=50)
    together = coverage(utterances=1000, mean=0.1, clusters=50, by_cluster=True)

    assert alone < 0.7
    assert 0.93 <= together <= 0.97


def test_drawing_kinds_is_drawing_utterances():
    rng = np.random.default_rng(0)
    units = rng.integers(0, 4, size=(40, 2))

    ours = resample(units, 20_000, seed=1)

    # One by one, as the bootstrap is defined.
    plain = units[rng.integers(0, 40, size=(20_000, 40))].sum(axis=1)
    assert ours.mean(axis=0) == pytest.approx(plain.mean(axis=0), rel=0.005)
    assert np.cov(ours.T) == pytest.approx(np.cov(plain.T), rel=0.06, abs=1.5)


def test_the_interval_is_the_same_for_the_same_seed_and_in_any_order():
    rng = np.random.default_rng(0)
    errors, words = rng.integers(0, 3, size=200), rng.integers(3, 9, size=200)
    order = rng.permutation(200)

    one = rate_interval(errors, words, **DRAWS)

    assert one == rate_interval(errors[order], words[order], **DRAWS)
    assert one != rate_interval(errors, words, **(DRAWS | {"seed": 1}))


def test_memory_is_bounded_by_drawing_in_parts(monkeypatch):
    units = np.random.default_rng(0).integers(0, 50, size=(300, 2))
    whole = resample(units, 100, seed=3)

    monkeypatch.setattr("asrkit.significance._MOST_DRAWS", 1000)

    assert np.array_equal(resample(units, 100, seed=3), whole)


@pytest.mark.parametrize(("errors", "words"), [([1], [5]), ([2, 1], [0, 0]), ([], [])])
def test_there_is_no_interval_of_too_little(errors, words):
    units = np.array(errors, int), np.array(words, int)

    assert rate_interval(*units, **DRAWS) is None
    assert paired_bootstrap(units[0], units[0], units[1], **DRAWS) is None


def test_no_errors_are_no_interval():
    assert rate_interval(np.zeros(50, int), np.full(50, 9), **DRAWS) is None


def test_an_interval_of_many_units_holds_the_middle_percent():
    assert percentiles(np.arange(101.0), 90, 10**9) == pytest.approx((5.0, 95.0))


def test_an_interval_of_few_units_is_wider_as_that_of_student():
    low, high = percentiles(np.arange(0.0, 10_001.0), 95, 30)

    # Student's t with 29 degrees is 2.045 at 97.5 %; times sqrt(30 / 29) that is 2.080, beyond
    # which a normal distribution has 1.876 %.
    assert low == pytest.approx(187.6, abs=2)
    assert high == pytest.approx(10_000 - 187.6, abs=2)


def test_equal_systems_do_not_differ():
    errors, words = np.array([1, 0, 2, 1]), np.array([5, 5, 5, 5])

    result = paired_bootstrap(errors, errors, words, **DRAWS)

    assert result is not None
    assert (result.difference, result.interval, result.p) == (0.0, (0.0, 0.0), 1.0)


def test_a_system_that_is_better_everywhere_differs():
    words = np.full(50, 10)

    result = paired_bootstrap(np.full(50, 2), np.full(50, 1), words, **DRAWS)

    assert result is not None
    assert result.difference == pytest.approx(-0.1)
    assert result.p == pytest.approx(2 / 1001)


def test_false_alarms_come_as_often_as_the_level_says():
    # Two systems with the same true rate: p is at most 0.05 in one run of twenty.
    rng = np.random.default_rng(5)
    alarms = 0
    for corpus in range(400):
        words = rng.integers(4, 30, size=150)
        difficulty = rng.beta(2, 18, size=150)
        first, second = rng.binomial(words, difficulty), rng.binomial(words, difficulty)
        result = paired_bootstrap(first, second, words, level=95, replicates=200, seed=corpus)
        assert result is not None
        alarms += result.p <= 0.05

    assert 0.03 <= alarms / 400 <= 0.07


def test_matched_pairs_false_alarms_come_as_often_as_the_level_says():
    rng = np.random.default_rng(6)
    pairs = rng.poisson(0.8, size=(500, 120, 2))

    results = [matched_pairs([tuple(row) for row in corpus.tolist()]) for corpus in pairs]

    assert 0.03 <= np.mean([result.p <= 0.05 for result in results]) <= 0.07


# ----------------------------------------------------------------- MAPSSWE, by hand


def test_two_right_words_part_segments():
    # Words 1 and 5 are wrong in the first system, 2 and 3 right in both, 4 wrong in the second.
    assert segments("a b c d e f", "x b c d e y", "a b c x e f") == [(1, 0), (1, 1)]


def test_one_right_word_does_not():
    assert segments("a b c", "x b c", "a b y") == [(1, 1)]


def test_two_right_words_with_an_insertion_between_do_not():
    assert segments("a b c d", "x b c y", "a b u c d") == [(2, 1)]


def test_insertions_at_the_ends_belong_to_segments():
    assert segments("a b c d", "u a b c d", "a b c d v w") == [(1, 0), (0, 2)]


def test_no_errors_are_no_segments():
    assert segments("a b c", "a b c", "a b c") == []


def test_matched_pairs_by_hand():
    # Differences 1, 1, 0, 2: mean 1, deviation sqrt(2/3), z = 1 / (sqrt(2/3) / 2) = sqrt(6).
    result = matched_pairs([(1, 0), (2, 1), (1, 1), (3, 1)])

    assert result is not None
    assert (result.num_segments, result.mean) == (4, 1.0)
    assert result.deviation == pytest.approx(math.sqrt(2 / 3))
    assert result.z == pytest.approx(math.sqrt(6))
    assert result.p == pytest.approx(0.0143058784)  # 2 * (1 - normal distribution of sqrt(6))


def test_segments_that_all_differ_alike_are_beyond_numbers():
    result = matched_pairs([(1, 0), (1, 0)])

    assert result is not None
    assert (result.z, result.p) == (None, 0.0)
    same = matched_pairs([(1, 1), (2, 2)])
    assert same is not None
    assert (same.z, same.p) == (0.0, 1.0)


def test_one_segment_is_no_test():
    assert matched_pairs([(1, 0)]) is None


def test_order_of_systems_turns_the_sign():
    there = matched_pairs([(1, 0), (2, 1), (1, 1)])
    back = matched_pairs([(0, 1), (1, 2), (1, 1)])

    assert there is not None
    assert back is not None
    assert (there.z, there.p) == (-back.z, back.p)
