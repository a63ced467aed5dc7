"""The Python function, and what a report says."""

from __future__ import annotations

import json
import random
import tracemalloc

import jiwer
import numpy as np
import pytest

import asrkit
from asrkit.errors import AsrkitError, InputError, UsageError
from asrkit.formats.utterances import Utterance
from asrkit.options import TableOptions
from asrkit.scoring import Counts
from tests.test_scoring import corpus

SAID = ["the cat sat on the mat", "a quick brown fox", "nothing to see here", "I"]
HEARD = ["the cat sat on a mat today", "a quick crown fox", "nothing to see", "a"]
BETTER = ["the cat sat on the mat", "a quick brown fox jumps", "nothing to see here", "I"]


def test_a_report_counts_words_characters_and_sentences():
    report = asrkit.evaluate(SAID, HEARD)

    assert report.score.words == Counts(hits=11, substitutions=3, deletions=1, insertions=1)
    assert report.wer == 5 / 15
    assert report.score.ser == 1.0
    assert report.cer == pytest.approx(jiwer.cer(SAID, HEARD))
    assert report.is_ok


@pytest.mark.parametrize("seed", range(3))
def test_blocks_do_not_change_numbers(seed, monkeypatch):
    monkeypatch.setattr("asrkit.tasks.evaluate._BLOCK", 7)
    references, hypotheses = corpus(seed, 100, ["a", "b", "cc", "ddd"])

    report = asrkit.evaluate(references, hypotheses)

    assert report.wer == pytest.approx(jiwer.wer(references, hypotheses))
    assert report.cer == pytest.approx(jiwer.cer(references, hypotheses))


def test_each_utterance_has_its_counts():
    report = asrkit.evaluate(SAID, HEARD)

    rows = list(report.utterances())
    assert rows[0]["id"] == "line 1"
    assert rows[0]["hypotheses"][0]["words"] == {
        "hits": 5, "substitutions": 1, "deletions": 0, "insertions": 1,
    }  # fmt: skip
    assert [report.row(index).counts[0].errors for index in range(4)] == [2, 1, 1, 1]
    assert report.worst(2) == [0, 1]


def test_a_report_is_json_and_names_what_made_it():
    report = asrkit.evaluate({"a": "Hello!"}, {"a": "hello"}, normalizer="basic", seed=3)

    data = json.loads(json.dumps(report.to_dict(), allow_nan=False))

    assert (data["schema"], data["report"]) == (1, "eval-wer")
    assert data["normalizer"] == [{"name": "basic", "version": "1"}]
    assert data["options"]["seed"] == 3
    assert data["systems"][0]["wer"] == 0.0
    assert data["systems"][0]["raw"]["wer"] == 1.0
    assert data["utterances"][0]["reference"] == "Hello!"


def test_groups_add_up_to_the_whole():
    speakers = ["ann", "bob", "ann", "bob"]
    said = [
        Utterance(str(n), text, labels={"speaker": who})
        for n, (text, who) in enumerate(zip(SAID, speakers, strict=True))
    ]
    heard = [Utterance(str(n), text) for n, text in enumerate(HEARD)]

    report = asrkit.evaluate(said, heard, by="speaker", resample="speaker")

    groups = report.systems[0].groups["speaker"]
    assert list(groups) == ["ann", "bob"]
    assert groups["ann"].words == Counts(hits=8, substitutions=1, deletions=1, insertions=1)
    assert sum(score.words.errors for score in groups.values()) == report.score.words.errors
    # A single group cannot be drawn; two can.
    assert groups["ann"].wer_interval is None
    assert report.score.wer_interval is not None


def test_an_unknown_column_is_an_error_that_names_the_known_ones():
    said = [Utterance("1", "a", labels={"speaker": "ann"})]

    with pytest.raises(InputError, match="no column 'sex'") as caught:
        asrkit.evaluate(said, [Utterance("1", "a")], by="sex")
    assert caught.value.hint == "there are speaker"


def test_further_systems_are_compared_with_the_first():
    report = asrkit.evaluate(SAID * 20, HEARD * 20, BETTER * 20)

    (comparison,) = report.comparisons
    assert comparison.bootstrap is not None
    assert comparison.bootstrap.difference == pytest.approx((1 - 5) / 15)
    assert comparison.bootstrap.p < 0.01
    assert comparison.matched_pairs is not None
    assert comparison.matched_pairs.num_segments == 80
    assert comparison.matched_pairs.p < 0.01


def test_many_utterances_need_little_memory():
    rng = random.Random(0)
    said = [" ".join(rng.choices("abcdefgh", k=15)) for _ in range(2000)]
    heard = [" ".join(rng.choices("abcdefgh", k=15)) for _ in range(2000)]
    asrkit.evaluate(said[:10], heard[:10])

    tracemalloc.start()
    asrkit.evaluate(said, heard, bootstrap=0)
    few = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    asrkit.evaluate(said * 4, heard * 4, bootstrap=0)
    many = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    # Pairs and counts grow by some 600 bytes an utterance; an alignment alone is several kilobytes.
    assert (many - few) / 6000 < 1000


def test_the_normalizer_report_counts_what_changed():
    report = asrkit.evaluate(
        ["Hello, Bob", "Hello, you"], ["hello bob", "Hello you"],
        normalizer="basic", normalizer_report=True,
    )  # fmt: skip

    assert report.changes == {("Hello, Bob", "hello bob"): 1, ("Hello,", "hello"): 1} | {
        ("Hello", "hello"): 1
    }


@pytest.mark.parametrize(
    ("options", "is_ok"),
    [
        ({"fail_above": 0.33}, False),
        ({"fail_above": 0.34}, True),
        ({"fail_above": 5 / 15}, True),
        ({"fail_cer_above": 0.1}, False),
        ({"fail_cer_above": 0.9}, True),
    ],
)
def test_limits_are_checked(options, is_ok):
    report = asrkit.evaluate(SAID, HEARD, **options)

    assert report.is_ok is is_ok


def test_a_failed_check_says_why_in_one_line():
    (check,) = asrkit.evaluate(SAID, HEARD, fail_above=0.12).checks

    assert check.message == "WER 33.33 % is above 12.00 %"


@pytest.fixture
def baseline(tmp_path):
    path = tmp_path / "old.json"
    path.write_text(json.dumps(asrkit.evaluate(SAID, BETTER).to_dict()))
    return str(path)


@pytest.mark.parametrize(("points", "is_ok"), [(26.0, False), (27.0, True)])
def test_a_regression_is_measured_in_points(baseline, points, is_ok):
    report = asrkit.evaluate(SAID, HEARD, baseline=baseline, fail_regression=points)

    assert report.is_ok is is_ok
    assert report.checks[0].message.startswith("WER 33.33 % is 26.67 points above 6.67 % of ")


def test_an_improvement_is_no_regression(baseline):
    assert asrkit.evaluate(SAID, SAID, baseline=baseline, fail_regression=0).is_ok


def test_a_baseline_normalised_in_another_way_is_an_error(baseline):
    with pytest.raises(UsageError, match=r"its normalizer is none, this one is basic \(1\)"):
        asrkit.evaluate(SAID, HEARD, normalizer="basic", baseline=baseline, fail_regression=1.0)


@pytest.mark.parametrize(
    "content", ["", "{}", "[1]", '{"schema": 1, "report": "other"}', "[" * 9999]
)
def test_a_baseline_that_is_none_is_an_error(tmp_path, content):
    path = tmp_path / "old.json"
    path.write_text(content)

    with pytest.raises(UsageError, match=r"old\.json: not a JSON report of eval-wer"):
        asrkit.evaluate(SAID, HEARD, baseline=str(path), fail_regression=1.0)


@pytest.mark.parametrize(
    ("references", "hypotheses", "options", "message"),
    [
        ([""], ["oh"], {}, "no reference has a word"),
        (["..."], ["oh"], {"normalizer": "basic"}, "no reference has a word after normalisation"),
        ([], [], {}, "holds no utterances"),
        (["a"], ["a", "b"], {}, "reference has 1 lines, hypothesis 1 has 2"),
        ("a", "a", {}, "reference is one string"),
        (["a"], ["a"], {"fail_above": 12}, "a limit of 12 is not between 0 and 1"),
        (["a"], ["a"], {"fail_regression": 1}, "a regression needs a baseline"),
        (["a"], ["a"], {"missing": "no"}, "missing 'no' is not one of"),
        (["a"], ["a"], {"confidence": 100}, "a confidence of 100 % is not between"),
        (["a"], ["a"], {"wrong": 1}, "evaluate has no option wrong"),
        (["a"], ["a"], {"texts": TableOptions(), "ids": "middle"}, "ids 'middle' is not one of"),
        (["a"], ["a"], {"bootstrap": -1}, "must not be below 0"),
        (["a"], ["a"], {"ids": "middle"}, "ids 'middle' is not one of"),
    ],
)
def test_what_cannot_be_evaluated_says_why(references, hypotheses, options, message):
    with pytest.raises(AsrkitError, match=message):
        asrkit.evaluate(references, hypotheses, **options)


def test_paths_are_files(tmp_path):
    (tmp_path / "ref.txt").write_text("u1 a b\nu2 c\n")
    (tmp_path / "hyp.txt").write_text("u2 c\nu1 a x\n")

    report = asrkit.evaluate(tmp_path / "ref.txt", tmp_path / "hyp.txt")

    assert report.wer == pytest.approx(1 / 3)


def test_the_seed_decides_the_interval():
    one, same, other = (
        asrkit.evaluate(SAID, HEARD, seed=seed).score.wer_interval for seed in (1, 1, 2)
    )

    assert one == same
    assert one is not None
    assert other is not None
    assert np.allclose(one, other, atol=0.2)
