"""Build an n-gram language model from text of any size: modified Kneser-Ney, written as ARPA.

All that grows with the text lies on disk, as columns of numbers; in memory are the vocabulary and
blocks of rows. An n-gram is a row. The rows of an order are sorted by their words from the last to
the first, so those with one suffix (the n-gram without its first word) lie together: a row is known
by the row of its suffix in the order below and by its first word, which make one number, its key.
Sums over a suffix, and what the order below says of it, then come by reading on; only what belongs
to a context (the n-gram without its last word) must be looked up.
"""

from __future__ import annotations

import tempfile
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from asrkit.ctc import lm as language_models
from asrkit.ctc.arpa import BEGIN, END, UNKNOWN
from asrkit.ctc.columns import Column
from asrkit.errors import InputError
from asrkit.options import pruning_limits

ARPA_NAME = "lm.arpa"

_SPECIAL = (UNKNOWN, BEGIN, END)  # the first rows of order 1
_UNKNOWN, _BEGIN, _END = range(3)
MARKERS = frozenset({*_SPECIAL, "<UNK>"})
_NEVER = -99.0  # log10: <s> is a context and no outcome
_DEFAULT_DISCOUNTS = (0.0, 0.5, 1.0, 1.5)  # where a text is too small to estimate them, as in lmplz

_BLOCK = 1 << 19  # rows in memory at once
_LINES = 16  # rows in memory for each n-gram in text
_SHIFT, _MASK = np.uint64(32), np.uint64(0xFFFFFFFF)
_OF_CONTEXT = np.dtype([("total", np.float64), ("backoff", np.float64)])

Progress = Callable[[str, float], None]
Ints = NDArray[np.integer]


@dataclass(frozen=True)
class Estimate:
    """What a text gave.

    Attributes:
        num_sentences: lines with a word.
        num_ngrams: n-grams of each order in the model.
        words: those of the model, and how often each occurs.
        default_discounts: orders for which the text is too small, or too strange, to estimate
            discounts.
    """

    num_sentences: int
    num_ngrams: tuple[int, ...]
    words: dict[str, int]
    default_discounts: tuple[int, ...]


def write_arpa(
    sentences: Iterable[str],
    path: Path,
    *,
    order: int = 3,
    prune: Sequence[int] = (),
    block: int = _BLOCK,
    on_progress: Progress = lambda what, done: None,
) -> Estimate:
    """Estimate an interpolated modified Kneser-Ney model.

    Args:
        sentences: one each, words between spaces.
        path: file to write, with seven digits; what grows with the text lies beside it meanwhile.
        order: words in the longest n-gram, 1 to 5.
        prune: for each order, n-grams that occur as often or less are left out; the last number
            counts for the orders that follow. A word that is left out is an unknown one.
        block: rows in memory at once.
        on_progress: called with what is done and how much of it, from 0 to 1.

    Raises:
        UsageError: an order out of range, or limits that are negative or fall from one order to
            the next.
        InputError: no words, or one of <s>, </s> and <unk> among them.

    Source: Chen and Goodman 1999, An Empirical Study of Smoothing Techniques, section 3; the
    boundaries, the unknown word and pruning as in Heafield et al. 2013 (lmplz).
    """
    limits = pruning_limits(order, prune)
    with ExitStack() as stack:

        def column(dtype: DTypeLike) -> Column:
            file = stack.enter_context(tempfile.TemporaryFile(dir=path.parent, buffering=0))
            return Column(file, np.dtype(dtype), block)

        tokens = column(np.uint32)
        words, num_sentences = _read(sentences, tokens, order)
        tables = [_Table(column, limit) for limit in limits]
        frequencies = _count(tokens, len(words), tables, on_progress)
        num_rows = sum(table.counts.size for table in tables)
        num_done, defaults = 0, []
        for n, table in enumerate(tables, start=1):
            on_progress("estimating", num_done / num_rows)
            num_done += table.counts.size
            discounts, is_estimated = _discounts(table)
            defaults += [] if is_estimated else [n]
            if n == 1:
                _estimate_unigrams(table, discounts)
                continue
            below = tables[n - 2]
            _find_contexts(table, below)
            _sum_contexts(table, below, discounts)
            _estimate(table, below, discounts)
        num_ngrams = tuple(table.num_kept() for table in tables)
        _write(path, words, tables, num_ngrams, on_progress)
    kept = {
        word: int(number)
        for word, number in zip(words[_END + 1 :], frequencies[_END + 1 :], strict=True)
        if number > limits[0]
    }
    return Estimate(num_sentences, num_ngrams, kept, tuple(defaults))


def build_directory(
    sentences: Iterable[str],
    directory: str | Path,
    *,
    order: int = 3,
    prune: Sequence[int] = (),
    alpha: float = language_models.LanguageModel.alpha,
    beta: float = language_models.LanguageModel.beta,
) -> Estimate:
    """Estimate a model and write a `language_model` directory around it.

    Args:
        sentences: as for `write_arpa`, and so order and prune.
        directory: made if it does not exist.
        order: words in the longest n-gram.
        prune: limits of counts.
        alpha: weight of the model in a beam search.
        beta: score of every word in it.

    Raises:
        UsageError: as `write_arpa`.
        InputError: as `write_arpa`.
    """
    path = Path(directory, ARPA_NAME)
    path.parent.mkdir(parents=True, exist_ok=True)
    made = write_arpa(sentences, path, order=order, prune=prune)
    language_models.write_directory(path.parent, path, unigrams=made.words, alpha=alpha, beta=beta)
    return made


@dataclass
class _Table:
    """The n-grams of one order; a row of each column is one of them.

    Attributes:
        column: makes a column.
        limit: n-grams that occur as often or less are pruned.
        keys: row of the suffix << 32 | first word. Order 1 has none: its rows are the words.
        counts: how often it occurs if it is of the highest order or begins a sentence, else how
            many words were seen before it: the adjusted counts of Kneser and Ney.
        is_kept: not pruned.
        contexts: row of its context, in the order below.
        probabilities: of its last word after the others.
        as_context: of the n-grams that it is the context of, the sum of counts, and the factor on
            the probability of a shorter n-gram.
    """

    column: Callable[[DTypeLike], Column]
    limit: int
    keys: Column = field(init=False)
    counts: Column = field(init=False)
    is_kept: Column = field(init=False)
    contexts: Column = field(init=False)
    probabilities: Column = field(init=False)
    as_context: Column = field(init=False)

    def __post_init__(self) -> None:
        self.keys = self.column(np.uint64)
        self.counts = self.column(np.uint32)
        self.is_kept = self.column(np.bool_)
        self.contexts = self.column(np.uint32)
        self.probabilities = self.column(np.float64)
        self.as_context = self.column(_OF_CONTEXT)

    def append(self, counts: Ints, num_before: Ints) -> None:
        """Add rows: how often each occurs, and how many words were seen before it."""
        is_kept = counts > self.limit
        if not self.keys.size:  # words, which these three are never pruned from
            is_kept[: len(_SPECIAL)] = True
        self.counts.append(np.where(num_before, num_before, counts))
        self.is_kept.append(is_kept)

    def suffixes(self, start: int, stop: int) -> tuple[Ints, Ints]:
        """Of some rows, the rows of suffixes and the first words."""
        keys = self.keys.read(start, stop)
        return (keys >> _SHIFT).astype(np.int64), (keys & _MASK).astype(np.int64)

    def num_kept(self) -> int:
        """How many are not pruned."""
        return sum(int(self.is_kept.read(*rows).sum()) for rows in self.is_kept.ranges())


def _along(column: Column, rows: Ints) -> NDArray[Any]:
    """Some rows of a column, which ascend and lie close."""
    first = int(rows[0])
    values: NDArray[Any] = column.read(first, int(rows[-1]) + 1)[rows - first]
    return values


# ------------------------------------------------------------------------------------- counting


def _read(sentences: Iterable[str], tokens: Column, order: int) -> tuple[list[str], int]:
    """Number the words of a text.

    Args:
        sentences: the text.
        tokens: gets <s>, words and </s> of each sentence, after so many <s> that every word has
            as many before it as an n-gram is long.
        order: words in the longest n-gram.

    Returns:
        The word of each number, and how many sentences there are.
    """
    numbers: defaultdict[str, int] = defaultdict(count().__next__)
    for word in _SPECIAL:
        numbers[word]
    buffer = array("I", [_BEGIN] * order)
    num_sentences = 0
    for sentence in sentences:
        words = sentence.split()
        if not words:
            continue
        if not MARKERS.isdisjoint(words):
            marker = min(MARKERS.intersection(words))
            raise InputError(
                f"{marker} in the text {sentence[:40]!r}, expected words",
                hint="sentences are marked by the model itself",
            )
        buffer.append(_BEGIN)
        buffer.extend([numbers[word] for word in words])
        buffer.append(_END)
        num_sentences += 1
        if len(buffer) > tokens.block:
            tokens.append(np.frombuffer(buffer, np.uintc))
            buffer = array("I")
    if not num_sentences:
        raise InputError("no words in the text of the language model")
    tokens.append(np.frombuffer(buffer, np.uintc))
    return list(numbers), num_sentences


def _count(
    tokens: Column,
    num_words: int,
    tables: Sequence[_Table],
    on_progress: Progress,
) -> Ints:
    """Count the n-grams of all orders.

    Rows of order 2 and above come in parts that are counted in memory, each from the shortest
    n-grams on: a longer one is a row of a shorter one with a word before it.

    Returns:
        (V,) how often each word occurs.
    """
    frequencies = np.zeros(num_words, np.int64)
    for rows in tokens.ranges():
        frequencies += np.bincount(tokens.read(*rows), minlength=num_words)
    frequencies[_BEGIN] = 0
    num_before = np.zeros(num_words, np.int64)  # words that were seen before each word
    for part in _parts(tokens, frequencies) if len(tables) > 1 else ():
        on_progress("counting n-grams", part.low / num_words)
        words = _histories(tokens, part, len(tables))
        ends = words[0].astype(np.uint64)  # row of the n-gram that ends at each place, n from 1 on
        first_row, counts = 0, frequencies[:0]
        for n, table in enumerate(tables[1:], start=2):
            is_inside = words[n - 2] != _BEGIN  # else nothing comes before it
            words = [word[is_inside] for word in words]
            keys, inverse, counts_here = np.unique(
                ends[is_inside] << _SHIFT | words[n - 1], return_inverse=True, return_counts=True
            )
            suffixes = (keys >> _SHIFT).astype(np.int64) - first_row
            if n == 2:
                num_before += np.bincount(suffixes, minlength=num_words)
            else:
                tables[n - 2].append(counts, np.bincount(suffixes, minlength=len(counts)))
            first_row, counts = table.keys.size, counts_here
            table.keys.append(keys)
            ends = (inverse + first_row).astype(np.uint64)
        tables[-1].append(counts, np.zeros_like(counts))
    tables[0].append(frequencies, num_before)
    return frequencies


class _Part(NamedTuple):
    """N-grams whose last word is from low to high, and the word before from first to last."""

    low: int
    high: int
    first: int
    last: int


def _parts(tokens: Column, frequencies: Ints) -> Iterator[_Part]:
    """All n-grams in the order of rows, in parts that occur about a block's times."""
    for low, high in _divide(frequencies[_END:], tokens.block):
        part = _Part(low + _END, high + _END, 0, len(frequencies))
        if frequencies[part.low] <= tokens.block:
            yield part
            continue
        before = np.zeros(len(frequencies), np.int64)
        for start, stop in tokens.ranges():
            block = tokens.read(max(start - 1, 0), stop)
            before += np.bincount(block[:-1][block[1:] == part.low], minlength=len(before))
        for first, last in _divide(before, tokens.block):
            yield part._replace(first=first, last=last)


def _divide(counts: Ints, size: int) -> Iterator[tuple[int, int]]:
    """Ranges that add up to about a size; what is larger by itself is a range by itself."""
    large = np.flatnonzero(counts > size)
    steps = np.flatnonzero(np.diff(np.cumsum(counts) // size)) + 1
    bounds = np.unique(np.concatenate([[0, len(counts)], large, large + 1, steps]))
    return pairwise(bounds.tolist())


def _histories(tokens: Column, part: _Part, length: int) -> list[NDArray[np.uint32]]:
    """Where n-grams of a part end: their last word, the word before it, and so on."""
    found: list[list[NDArray[np.uint32]]] = [[] for _ in range(length)]
    for start, stop in tokens.ranges():
        first = max(start, length)  # what comes before is filling
        block = tokens.read(first - length, stop)
        places = np.flatnonzero((block >= part.low) & (block < part.high))
        places = places[places >= length]
        before = block[places - 1]
        places = places[(before >= part.first) & (before < part.last)]
        for back, words in enumerate(found):
            words.append(block[places - back])
    return [np.concatenate(words) for words in found]


# ----------------------------------------------------------------------------------- estimating


def _discounts(table: _Table) -> tuple[NDArray[np.float64], bool]:
    """What is taken from counts of 0, 1, 2, and 3 and more; and whether the text says so."""
    numbers = np.zeros(6)
    for rows in table.counts.ranges():
        numbers += np.bincount(np.minimum(table.counts.read(*rows), 5), minlength=6)
    _, ones, twos, threes, fours, _ = numbers
    if ones and twos and threes:
        y = ones / (ones + 2 * twos)
        found = (
            0.0,
            1 - 2 * y * twos / ones,
            2 - 3 * y * threes / twos,
            3 - 4 * y * fours / threes,
        )
        if all(0 <= discount <= n for n, discount in enumerate(found)):
            return np.array(found), True
    return np.array(_DEFAULT_DISCOUNTS), False


def _taken(
    counts: Ints, is_kept: NDArray[np.bool_], discounts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What of each count goes to shorter n-grams: a discount, or all of it if it is pruned."""
    return np.where(is_kept, discounts[np.minimum(counts, 3)], counts)


def _estimate_unigrams(table: _Table, discounts: NDArray[np.float64]) -> None:
    """Fill the probabilities of words; below them is the same probability for all but <s>."""
    rows = (0, table.counts.size)
    counts, is_kept = table.counts.read(*rows), table.is_kept.read(*rows)
    taken = _taken(counts, is_kept, discounts)
    total = counts.sum(dtype=np.float64)
    probabilities = (counts - taken) / total + taken.sum() / total / (is_kept.sum() - 1)
    probabilities[_BEGIN] = 0.0
    table.probabilities.append(probabilities)


def _find_contexts(table: _Table, below: _Table) -> None:
    """Fill the contexts: that of an n-gram is that of its suffix with its first word before it."""
    for rows in table.keys.ranges():
        suffixes, first = table.suffixes(*rows)
        if not below.keys.size:
            table.contexts.append(first)
            continue
        middle = _along(below.contexts, suffixes).astype(np.uint64)
        table.contexts.append(below.keys.find(middle << _SHIFT | first.astype(np.uint64)))


def _sum_contexts(table: _Table, below: _Table, discounts: NDArray[np.float64]) -> None:
    """Fill what the order below is as contexts, so many at once."""
    for start, stop in below.counts.ranges():
        sums = np.zeros((2, stop - start))
        for rows in table.counts.ranges():
            contexts = table.contexts.read(*rows)
            is_here = (contexts >= start) & (contexts < stop)
            here = contexts[is_here] - start
            counts = table.counts.read(*rows)
            taken = _taken(counts, table.is_kept.read(*rows), discounts)
            for of_all, values in zip(sums, (counts, taken), strict=True):
                of_all += np.bincount(here, values[is_here], minlength=len(of_all))
        total, taken = sums
        found = np.empty(len(total), _OF_CONTEXT)
        found["total"] = total
        found["backoff"] = np.divide(taken, total, out=np.ones_like(total), where=total > 0)
        below.as_context.append(found)


def _estimate(table: _Table, below: _Table, discounts: NDArray[np.float64]) -> None:
    """Fill the probabilities: a share of the context's counts, and the rest by shorter n-grams."""
    for rows in table.keys.ranges():
        suffixes, _ = table.suffixes(*rows)
        counts = table.counts.read(*rows)
        taken = _taken(counts, table.is_kept.read(*rows), discounts)
        context = below.as_context.take(table.contexts.read(*rows))
        shorter = _along(below.probabilities, suffixes)
        share = (counts - taken) / context["total"]
        table.probabilities.append(share + context["backoff"] * shorter)


# -------------------------------------------------------------------------------------- writing


def _write(
    path: Path,
    words: Sequence[str],
    tables: Sequence[_Table],
    num_ngrams: Sequence[int],
    on_progress: Progress,
) -> None:
    """Write ARPA text.

    A model of order 1 gets an empty table of bigrams, without which KenLM refuses it.
    """
    written = 0
    names = np.array(words, dtype=object)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write("\\data\\\n")
        sizes = num_ngrams if len(num_ngrams) > 1 else (*num_ngrams, 0)
        file.writelines(f"ngram {n}={size}\n" for n, size in enumerate(sizes, start=1))
        for n, table in enumerate(tables, start=1):
            file.write(f"\n\\{n}-grams:\n")
            step = table.counts.block // _LINES + 1
            for start in range(0, table.counts.size, step):
                on_progress("writing", written / sum(num_ngrams))
                rows = (start, start + step)
                is_kept = table.is_kept.read(*rows)
                ids = _words(tables[:n], *rows)[is_kept]
                texts = map(" ".join, names[ids].tolist())
                values = _log10(table.probabilities.read(*rows)[is_kept]).tolist()
                if n == len(sizes):
                    file.writelines(map("{:.7g}\t{}\n".format, values, texts))
                    continue
                ends = _backoffs(table, rows)[is_kept]
                ends[(ids[:, -1] == _END) | (ids[:, -1] == _UNKNOWN)] = ""
                file.writelines(map("{:.7g}\t{}{}\n".format, values, texts, ends))
                written += len(ids)
        if len(tables) < len(sizes):
            file.write("\n\\2-grams:\n")
        file.write("\n\\end\\\n")


def _words(tables: Sequence[_Table], start: int, stop: int) -> Ints:
    """The words (R, n) of some rows of the last of the tables."""
    if len(tables) == 1:
        return np.arange(start, min(stop, tables[0].counts.size))[:, None]
    suffixes, first = tables[-1].suffixes(start, stop)
    low = int(suffixes[0])
    later = _words(tables[:-1], low, int(suffixes[-1]) + 1)[suffixes - low]
    return np.column_stack([first, later])


def _backoffs(table: _Table, rows: tuple[int, int]) -> NDArray[np.object_]:
    """What stands behind the words of n-grams that are not of the highest order."""
    factors = table.as_context.read(*rows)["backoff"]
    if not table.as_context.size:
        factors = np.ones(table.counts.read(*rows).size)
    return np.array([f"\t{value:.7g}" for value in _log10(factors).tolist()], dtype=object)


def _log10(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log10(values, out=np.full(len(values), _NEVER), where=values > 0)
