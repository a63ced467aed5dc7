"""Trials and error rates, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from asrkit.errors import UsageError
from asrkit.verification import (
    Trial,
    cosine,
    equal_error_rate,
    min_detection_cost,
    read_trials,
)


def test_cosine_by_hand():
    assert cosine(np.array([3.0, 4.0]), np.array([4.0, 3.0])) == pytest.approx(24 / 25)
    assert cosine(np.array([1.0, 0.0]), np.array([-2.0, 0.0])) == -1
    assert cosine(np.array([0.0, 0.0]), np.array([1.0, 0.0])) == 0


def test_scores_that_separate_have_no_errors():
    scores, is_target = [0.9, 0.8, 0.2, 0.1], [True, True, False, False]

    assert equal_error_rate(scores, is_target) == 0
    assert min_detection_cost(scores, is_target) == 0


def test_one_swap_in_four_is_an_error_rate_of_a_half():
    # thresholds from low: misses 0 0 1/2 1/2 1, false alarms 1 1/2 1/2 0 0
    assert equal_error_rate([0.1, 0.2, 0.3, 0.4], [False, True, False, True]) == 0.5


def test_the_rate_lies_between_thresholds_where_no_threshold_has_it():
    # (misses, false alarms) go (0, 1), (0, 2/3), (0, 1/3), (1/2, 1/3), (1, 1/3), (1, 0): they
    # cross between (0, 1/3) and (1/2, 1/3), at 1/3.
    scores, is_target = [1, 2, 3, 4, 5], [False, False, True, True, False]

    assert equal_error_rate(scores, is_target) == pytest.approx(1 / 3)


def test_reversed_scores_are_always_wrong():
    assert equal_error_rate([0.1, 0.9], [True, False]) == 1


def test_equal_scores_are_rejected_together():
    assert equal_error_rate([0.5] * 4, [True, True, False, False]) == 0.5


def test_detection_cost_by_hand():
    # Thresholds give (misses, false alarms) (0, 1), (0, 1/2), (1/2, 1/2), (1/2, 0), (1, 0).
    scores, is_target = [1, 2, 3, 4], [False, True, False, True]

    # p = 0.5: 0.5 * miss + 0.5 * alarm is 0.25 at (0, 1/2) and (1/2, 0); over 0.5
    assert min_detection_cost(scores, is_target, p_target=0.5) == 0.5
    # p = 0.01: 0.005 at (1/2, 0); over 0.01
    assert min_detection_cost(scores, is_target, p_target=0.01) == pytest.approx(0.5)
    # a miss costs 99 times as much: (0, 1/2) is cheapest
    assert min_detection_cost(scores, is_target, p_target=0.5, cost_miss=99) == pytest.approx(0.5)


def test_useless_scores_cost_as_much_as_not_listening():
    assert min_detection_cost([0.1, 0.9], [True, False]) == 1


def test_rates_equal_a_search_over_every_threshold():
    random = np.random.default_rng(0)
    for _ in range(50):
        scores = random.normal(0, 1, 30).round(1)
        is_target = random.random(30) < 0.4
        scores[is_target] += 1
        thresholds = [-np.inf, *sorted(set(scores.tolist()))]
        rates = [
            (np.mean(scores[is_target] <= t), np.mean(scores[~is_target] > t)) for t in thresholds
        ]

        rate = equal_error_rate(scores.tolist(), is_target.tolist())
        cost = min_detection_cost(scores.tolist(), is_target.tolist(), p_target=0.05)

        most, least = min(map(max, rates)), max(map(min, rates))
        assert least - 1e-12 <= rate <= most + 1e-12
        assert cost == pytest.approx(min(0.05 * m + 0.95 * a for m, a in rates) / 0.05)


@pytest.mark.parametrize("is_target", [[True, True], [False, False]])
def test_trials_of_one_kind_have_no_rate(is_target):
    with pytest.raises(ValueError, match="expected some of both"):
        equal_error_rate([0.1, 0.2], is_target)


def test_lists_of_kaldi_and_voxceleb_are_read(tmp_path):
    path = tmp_path / "trials"
    path.write_text("\ufeffa b target\na c nontarget\n\n1 a b\n0 a c\na b 1\nx y\n", "utf-8")

    assert read_trials(path) == [
        Trial("a", "b", True), Trial("a", "c", False), Trial("a", "b", True),
        Trial("a", "c", False), Trial("a", "b", True), Trial("x", "y"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a b\na b maybe\n", "line 2: 'a b maybe' is not a trial"),
        (b"lonely\n", "line 1"),
        (b"\n", "holds no trials"),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_a_broken_list_is_refused_by_its_line(tmp_path, content, message):
    path = tmp_path / "trials"
    path.write_bytes(content)

    with pytest.raises(UsageError, match=message):
        read_trials(path)


def test_a_missing_list_is_refused():
    with pytest.raises(UsageError, match=r"no\.txt: cannot be read"):
        read_trials(Path("no.txt"))
