"""Build an n-gram language model from text: modified Kneser-Ney, written as ARPA.

For the texts of a domain or a test, up to some millions of words: all counts are held in memory.
KenLM's lmplz gives the same kind of model for larger ones.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from asrkit.ctc import lm as language_models
from asrkit.ctc.arpa import BEGIN, END, UNKNOWN, Words
from asrkit.errors import InputError, UsageError

MAX_ORDER = 5
ARPA_NAME = "lm.arpa"

_NEVER = -99.0  # log10: <s> is a context and no outcome
_DEFAULT_DISCOUNTS = (0.5, 1.0, 1.5)  # where a text is too small to estimate them, as in lmplz


@dataclass(frozen=True)
class NgramEstimate:
    """An n-gram model in probabilities.

    Attributes:
        probabilities: of the last word of each n-gram after the others; one table for each order.
        backoffs: of each context, the factor on the probability of the shorter one.
    """

    probabilities: tuple[dict[Words, float], ...]
    backoffs: dict[Words, float]

    @property
    def words(self) -> list[str]:
        """The words of the text, sorted."""
        special = {BEGIN, END, UNKNOWN}
        return sorted(word for (word,) in self.probabilities[0] if word not in special)

    def probability(self, words: Words) -> float:
        """The probability of the last word after the others, of which the order is less."""
        table = self.probabilities[len(words) - 1]
        if words in table:
            return table[words]
        if len(words) == 1:
            return self.probabilities[0][(UNKNOWN,)]
        return self.backoffs.get(words[:-1], 1.0) * self.probability(words[1:])

    def write_arpa(self, path: str | Path) -> None:
        """Write ARPA text with seven digits.

        A model of order 1 is written with an empty table of bigrams, without which KenLM refuses
        it.
        """
        tables = self.probabilities
        tables = (*tables, {}) if len(tables) == 1 else tables
        with Path(path).open("w", encoding="utf-8", newline="\n") as file:
            file.write("\\data\\\n")
            file.writelines(f"ngram {n}={len(table)}\n" for n, table in enumerate(tables, start=1))
            for n, table in enumerate(tables, start=1):
                file.write(f"\n\\{n}-grams:\n")
                for words in sorted(table):
                    line = f"{_log10(table[words]):.7g}\t{' '.join(words)}"
                    if n < len(tables) and words[-1] not in (END, UNKNOWN):
                        line += f"\t{_log10(self.backoffs.get(words, 1.0)):.7g}"
                    file.write(line + "\n")
            file.write("\n\\end\\\n")


def estimate(sentences: Iterable[str], *, order: int = 3, minimum_count: int = 1) -> NgramEstimate:
    """Estimate an interpolated modified Kneser-Ney model.

    Args:
        sentences: one each, words between spaces.
        order: words in the longest n-gram, 1 to 5.
        minimum_count: n-grams of two words and more that are rarer are left out.

    Raises:
        UsageError: an order out of range or a count below 1.
        InputError: no words, or one of <s>, </s> and <unk> among them.

    Source: Chen and Goodman 1999, An Empirical Study of Smoothing Techniques, section 3; the
    boundaries and the unknown word as in Heafield et al. 2013 (lmplz).
    """
    if not 1 <= order <= MAX_ORDER:
        raise UsageError(f"order {order}, expected 1 to {MAX_ORDER}")
    if minimum_count < 1:
        raise UsageError(f"minimum count {minimum_count} is below 1")
    counts = _count(sentences, order)
    for rare in counts[1:]:
        for words in [words for words, count in rare.items() if count < minimum_count]:
            del rare[words]

    probabilities: list[dict[Words, float]] = []
    backoffs: dict[Words, float] = {}
    for n in range(1, order + 1):
        adjusted = counts[n - 1] if n == order else _continuations(counts[n - 1], counts[n])
        if n == 1:
            adjusted.pop((BEGIN,), None)
        discounts = _discounts(adjusted)
        totals: dict[Words, float] = defaultdict(float)
        kept: dict[Words, float] = defaultdict(float)
        for words, count in adjusted.items():
            totals[words[:-1]] += count
            kept[words[:-1]] += count - discounts[min(count, 3)]
        weights = {context: 1.0 - kept[context] / totals[context] for context in totals}
        lower = probabilities[-1] if probabilities else None
        uniform = 1.0 / (len(adjusted) + 1)  # with the unknown word
        table: dict[Words, float] = {}
        for words, count in adjusted.items():
            context = words[:-1]
            base = uniform if lower is None else lower[words[1:]]
            share = (count - discounts[min(count, 3)]) / totals[context]
            table[words] = share + weights[context] * base
        if lower is None:
            table[(UNKNOWN,)] = weights[()] * uniform
            table[(BEGIN,)] = 0.0
        else:
            backoffs |= weights
        probabilities.append(table)
    return NgramEstimate(tuple(probabilities), backoffs)


def build_directory(
    sentences: Iterable[str],
    directory: str | Path,
    *,
    order: int = 3,
    minimum_count: int = 1,
    alpha: float = language_models.LanguageModel.alpha,
    beta: float = language_models.LanguageModel.beta,
) -> NgramEstimate:
    """Estimate a model and write a `language_model` directory around it.

    Args:
        sentences: as for `estimate`, and so order and minimum_count.
        directory: made if it does not exist.
        order: words in the longest n-gram.
        minimum_count: of n-grams that are kept.
        alpha: weight of the model in a beam search.
        beta: score of every word in it.

    Raises:
        UsageError: as `estimate`.
        InputError: as `estimate`.
    """
    model = estimate(sentences, order=order, minimum_count=minimum_count)
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    model.write_arpa(directory / ARPA_NAME)
    language_models.write_directory(
        directory, directory / ARPA_NAME, unigrams=model.words, alpha=alpha, beta=beta
    )
    return model


def _count(sentences: Iterable[str], order: int) -> list[Counter[Words]]:
    """How often each n-gram occurs; a table for each order."""
    counts: list[Counter[Words]] = [Counter() for _ in range(order)]
    for sentence in sentences:
        words = sentence.split()
        special = {BEGIN, END, UNKNOWN, "<UNK>"}.intersection(words)
        if special:
            raise InputError(f"{sorted(special)[0]} in the text {sentence[:40]!r}, expected words")
        if not words:
            continue
        padded: Sequence[str] = (BEGIN, *words, END)
        for n, table in enumerate(counts, start=1):
            table.update(tuple(padded[i : i + n]) for i in range(len(padded) - n + 1))
    if not counts[0]:
        raise InputError("no words in the text of the language model")
    return counts


def _continuations(counts: Counter[Words], longer: Counter[Words]) -> Counter[Words]:
    """In how many contexts of one more word each n-gram occurs.

    What begins a sentence has no word before it and keeps its count. An n-gram of which all longer
    ones were left out still occurs in one context.
    """
    contexts = Counter(words[1:] for words in longer)
    return Counter(
        {
            words: count if words[0] == BEGIN else max(contexts[words], 1)
            for words, count in counts.items()
        }
    )


def _discounts(counts: Counter[Words]) -> tuple[float, float, float, float]:
    """What is taken from counts of 0, 1, 2, and 3 and more."""
    ones, twos, threes, fours = (
        sum(1 for count in counts.values() if count == n) for n in (1, 2, 3, 4)
    )
    discounts = _DEFAULT_DISCOUNTS
    if ones and twos and threes:
        y = ones / (ones + 2 * twos)
        estimated = (
            1 - 2 * y * twos / ones,
            2 - 3 * y * threes / twos,
            3 - 4 * y * fours / threes,
        )
        if all(0 < discount <= n for n, discount in enumerate(estimated, start=1)):
            discounts = estimated
    return (0.0, *discounts)


def _log10(probability: float) -> float:
    return math.log10(probability) if probability > 0 else _NEVER
