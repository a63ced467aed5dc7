"""The estimator of n-gram models: its numbers, whatever fits into memory."""

from __future__ import annotations

import math
import random
import tracemalloc
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from asrkit.ctc.arpa import ArpaModel
from asrkit.ctc.estimate import build_directory, write_arpa
from asrkit.ctc.lm import LanguageModel, native_module
from asrkit.errors import InputError, UsageError

GOLDEN = Path(__file__).parent / "golden" / "lmplz"
BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"


def make_text(num=200, seed=0):
    rng = random.Random(seed)
    words = ["".join(rng.choices("abcdefgh", k=rng.randint(1, 5))) for _ in range(40)]
    weights = [1 / (rank + 1) for rank in range(len(words))]
    return [" ".join(rng.choices(words, weights, k=rng.randint(1, 9))) for _ in range(num)], words


def by_definition(sentences, limits):
    """Probabilities and back-offs from tables of tuples, as the papers define them."""
    order = len(limits)
    raw = [Counter() for _ in limits]
    for sentence in sentences:
        words = (BEGIN, *sentence.split(), END)
        for n, table in enumerate(raw, start=1):
            table.update(words[i : i + n] for i in range(len(words) - n + 1))
    del raw[0][(BEGIN,)]
    probabilities, backoffs = {}, {}
    num_words = sum(count > limits[0] or key == (END,) for key, count in raw[0].items())
    for n, table in enumerate(raw, start=1):
        before = Counter(key[1:] for key in raw[n]) if n < order else {}
        adjusted = {key: before.get(key) or count for key, count in table.items()}
        ones, twos, threes, fours = (list(adjusted.values()).count(k) for k in (1, 2, 3, 4))
        discounts = [0.0, 0.5, 1.0, 1.5]
        if ones and twos and threes:
            y = ones / (ones + 2 * twos)
            exact = [0, 1 - 2 * y * twos / ones, 2 - 3 * y * threes / twos]
            exact.append(3 - 4 * y * fours / threes)
            discounts = exact if all(0 <= d <= k for k, d in enumerate(exact)) else discounts
        kept = {key for key, count in table.items() if count > limits[n - 1] or key == (END,)}
        totals, taken = defaultdict(float), defaultdict(float)
        for key, count in adjusted.items():
            totals[key[:-1]] += count
            taken[key[:-1]] += discounts[min(count, 3)] if key in kept else count
        for key in kept:
            base = probabilities[key[1:]] if n > 1 else 1 / (num_words + 1)
            share = (adjusted[key] - discounts[min(adjusted[key], 3)]) / totals[key[:-1]]
            probabilities[key] = share + taken[key[:-1]] / totals[key[:-1]] * base
        if n == 1:
            probabilities[(UNKNOWN,)] = taken[()] / totals[()] / (num_words + 1)
        else:
            backoffs |= {key: taken[key] / total for key, total in totals.items()}
    return probabilities, backoffs


def read(path):
    """N-gram to (log10 probability, log10 back-off)."""
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    return {
        tuple(row[1].split()): (float(row[0]), float(row[2]) if len(row) > 2 else 0.0)
        for row in rows
        if len(row) > 1
    }


@pytest.mark.parametrize("block", [7, 1 << 19])
@pytest.mark.parametrize("order", range(1, 6))
@pytest.mark.parametrize("prune", [(), (0, 1), (2, 3, 3, 5)])
def test_numbers_are_those_of_the_definition(tmp_path, order, prune, block):
    sentences, _ = make_text(60)
    limits = [*prune, *[prune[-1] if prune else 0] * order][:order]

    write_arpa(sentences, tmp_path / "x.arpa", order=order, prune=limits, block=block)

    probabilities, backoffs = by_definition(sentences, limits)
    found = read(tmp_path / "x.arpa")
    assert found.keys() - {(BEGIN,)} == probabilities.keys()
    for key, (log10, backoff) in found.items():
        if key != (BEGIN,):
            assert log10 == pytest.approx(math.log10(probabilities[key]), abs=1e-5)
        assert backoff == pytest.approx(math.log10(backoffs.get(key, 1.0)), abs=1e-5)


@pytest.mark.parametrize(("order", "prune"), [(3, (0, 0, 1)), (2, ())])
def test_numbers_are_those_of_lmplz(tmp_path, order, prune):
    """The files of KenLM 0.3.0: `lmplz -o ORDER --prune ...` over text.txt."""
    text = (GOLDEN / "text.txt").read_text(encoding="utf-8").splitlines()

    made = write_arpa(text, tmp_path / "x.arpa", order=order, prune=prune)

    found, expected = read(tmp_path / "x.arpa"), read(GOLDEN / f"{order}.arpa")
    assert made.default_discounts == ()
    assert found.keys() == expected.keys()
    del found[(BEGIN,)]  # never asked for; -99 here, 0 there
    for key, numbers in found.items():
        assert numbers == pytest.approx(expected[key], abs=1e-5)


@pytest.mark.parametrize("prune", [(), (1, 2, 2)])
@pytest.mark.parametrize("order", range(1, 6))
def test_probabilities_of_every_context_sum_to_one(tmp_path, order, prune):
    sentences, words = make_text()
    made = write_arpa(sentences, tmp_path / "x.arpa", order=order, prune=prune[:order])
    model = ArpaModel(tmp_path / "x.arpa")
    rng = random.Random(order)

    for _ in range(30):
        state = model.start_state(boundary=rng.random() < 0.3)
        for word in rng.choices(["zebra", *words], k=rng.randint(0, order - 1)):
            _, state = model.score(state, word)
        total = sum(10 ** model.score(state, word)[0] for word in (*made.words, END, UNKNOWN))
        assert total == pytest.approx(1.0, abs=1e-5)


def test_bigrams_by_hand(tmp_path):
    made = write_arpa(["a b", "a c"], tmp_path / "x.arpa", order=2)

    # Too small to estimate discounts: 0.5 from 1, 1 from 2. Continuations: a b c 1, </s> 2.
    uniform = 1 / 5  # a b c </s> <unk>
    back = 1 - (3 * 0.5 + 1.0) / 5
    b = 0.5 / 5 + back * uniform
    found = {key: 10**log10 for key, (log10, _) in read(tmp_path / "x.arpa").items()}
    assert found[("b",)] == pytest.approx(b)
    assert found[("</s>",)] == pytest.approx(1.0 / 5 + back * uniform)
    assert found[("<unk>",)] == pytest.approx(back * uniform)
    assert found[("a", "b")] == pytest.approx(0.5 / 2 + 0.5 * b)
    assert made.default_discounts == (1, 2)
    assert (made.num_sentences, made.num_ngrams) == (2, (6, 5))
    assert made.words == {"a": 2, "b": 1, "c": 1}


@pytest.mark.parametrize("engine", ["python", "native"])
@pytest.mark.parametrize("order", [1, 3])
def test_what_is_written_reads_back(tmp_path, order, engine):
    if engine == "native" and native_module() is None:
        pytest.skip("the native core was not built")
    sentences, words = make_text()

    made = build_directory(sentences, tmp_path, order=order, alpha=0.6, beta=0.8)
    lm = LanguageModel.from_directory(tmp_path, engine=engine)

    assert (lm.alpha, lm.beta, lm.ngrams.order) == (0.6, 0.8, max(order, 2))
    assert lm.unigrams == set(made.words) == set(words)


def test_sentences_shorter_than_the_order_are_enough(tmp_path):
    made = write_arpa(["a"], tmp_path / "x.arpa", order=5)

    assert made.num_ngrams == (4, 2, 1, 0, 0)
    model = ArpaModel(tmp_path / "x.arpa")
    _, state = model.score(model.start_state(boundary=True), "a")
    assert 10 ** model.score(state, END)[0] == pytest.approx(
        0.5 + 0.5 * (0.5 + 0.5 * (0.25 + 1 / 6))
    )


def test_memory_does_not_grow_with_the_text(tmp_path):
    def peak(num):
        sentences, _ = make_text(num)
        tracemalloc.start()
        write_arpa(sentences, tmp_path / "x.arpa", order=3, block=1000)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(4500) < 1.5 * peak(1500)


@pytest.mark.parametrize("text", [[], [" "], ["a <s> b"], ["<unk>"], ["a", "b <UNK>"]])
def test_a_text_without_words_or_with_markers_is_refused(tmp_path, text):
    with pytest.raises(InputError):
        write_arpa(text, tmp_path / "x.arpa")


@pytest.mark.parametrize(
    "options",
    [{"order": 0}, {"order": 6}, {"prune": (1, 0)}, {"prune": (-1,)}, {"prune": (0,) * 4}],
)
def test_an_estimate_out_of_range_is_refused(tmp_path, options):
    with pytest.raises(UsageError):
        write_arpa(["a"], tmp_path / "x.arpa", **options)
