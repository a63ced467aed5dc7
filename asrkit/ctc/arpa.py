"""N-gram language models in ARPA text, without KenLM.

The grammar is the one KenLM accepts, and so are the numbers: probabilities are float32 and are
added in KenLM's order, so that both give the same bits.
"""

from __future__ import annotations

import ctypes
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from asrkit.errors import CheckpointError

BEGIN = "<s>"
END = "</s>"
UNKNOWN = "<unk>"

MAX_ORDER = 6  # as many as KenLM's package is built with
_MISSING_UNKNOWN = -100.0  # log10, what KenLM gives <unk> in a model without it
_NOTHING = (0.0, 0.0)
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|-inf")
_BLANKS = " \t\r\n\v\f"

Words = tuple[str, ...]


class ArpaModel:
    """An n-gram model as a table from words to log10 probability and back-off.

    Attributes:
        path: the file.
        order: words in the longest n-gram.
        unigrams: words with a back-off, in the order of the file; every word if none has one.

    Source: KenLM's GenericModel::FullScore for the order of the additions.
    """

    def __init__(self, path: Path) -> None:
        """Read a model.

        Raises:
            CheckpointError: not ARPA; the message names the line, what it holds and what was
                expected.
        """
        self.path = path
        self._table: dict[Words, tuple[float, float]] = {}
        self.unigrams: list[str] = []
        try:
            with path.open(encoding="utf-8", newline="\n") as file:
                self.order = self._read(_Lines(path, file))
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise CheckpointError(
                f"{path}: not UTF-8 text: {error.reason}, expected an ARPA file",
                hint="a KenLM binary ends in .bin or .binary",
            ) from error
        for word in (BEGIN, END):
            if (word,) not in self._table:
                raise CheckpointError(f"{path}: no unigram {word}, expected one")
        # PARITY: pyctcdecode refuses a model without back-offs, that is of order 1.
        self.unigrams = self.unigrams or [ngram[0] for ngram in self._table if len(ngram) == 1]
        self._table.setdefault((UNKNOWN,), (_MISSING_UNKNOWN, 0.0))

    def __contains__(self, word: str) -> bool:
        return word != UNKNOWN and (word,) in self._table

    def start_state(self, *, boundary: bool) -> Words:
        """The context of a first word: the beginning of a sentence, or nothing."""
        return (BEGIN,)[: self.order - 1] if boundary else ()

    def score(self, state: Words, word: str) -> tuple[float, Words]:
        """The log10 probability of a word in a context, and the context of the next word."""
        table = self._table
        word = word if word in self else UNKNOWN
        ngram = (*state, word)
        first = 0
        while ngram[first:] not in table:
            first += 1
        probability = table[ngram[first:]][0]
        for start in range(first - 1, -1, -1):
            backoff = table.get(ngram[start:-1], _NOTHING)[1]
            probability = _single(probability + backoff)
        return probability, ngram[-(self.order - 1) :] if self.order > 1 else ()

    def _read(self, lines: _Lines) -> int:
        counts = self._read_counts(lines)
        for order, count in enumerate(counts, start=1):
            lines.expect(f"\\{order}-grams:")
            for _ in range(count):
                self._read_ngram(lines, order, is_last=order == len(counts))
        lines.expect("\\end\\")
        for line in lines:
            if line.strip(_BLANKS):
                raise lines.error(line, "nothing after \\end\\")
        return len(counts)

    def _read_counts(self, lines: _Lines) -> list[int]:
        line = next(lines)
        while not line.strip(_BLANKS) or line.startswith("#"):
            line = next(lines)
        if line != "\\data\\":
            raise lines.error(line, "\\data\\")
        counts: list[int] = []
        while (line := next(lines)).strip():
            name, _, count = line.partition("=")
            if name != f"ngram {len(counts) + 1}" or not _is_count(count.strip(" \t")):
                raise lines.error(line, f"ngram {len(counts) + 1}=<count>")
            counts.append(int(count))
        if not 1 <= len(counts) <= MAX_ORDER:
            raise lines.error(f"{len(counts)} orders", f"1 to {MAX_ORDER}")
        return counts

    def _read_ngram(self, lines: _Lines, order: int, *, is_last: bool) -> None:
        line = next(lines)
        probability, _, rest = line.partition("\t")
        words, _, backoff = rest.partition("\t")
        ngram = tuple(UNKNOWN if word == "<UNK>" else word for word in _split(words))
        value = lines.number(probability, line)
        if value > 0:
            raise lines.error(line, "a log10 probability of at most 0")
        if len(ngram) != order:
            raise lines.error(line, f"probability, tab, {order} word(s), tab, back-off")
        if ngram in self._table:
            raise lines.error(line, "an n-gram that no line above has")
        if order > 1 and any((word,) not in self._table for word in ngram):
            raise lines.error(line, "only words that are unigrams")
        weight = lines.number(backoff, line) if backoff else 0.0
        if not math.isfinite(weight) or (is_last and weight != 0):
            raise lines.error(line, "no back-off" if is_last else "a finite back-off")
        if order == 1 and backoff:
            self.unigrams.append(ngram[0])
        self._table[ngram] = (value, weight)


class _Lines:
    """The lines of a file, counted for messages."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self._path = path
        self._file = file
        self._number = 0

    def __next__(self) -> str:
        line = self._file.readline()
        if not line:
            raise CheckpointError(
                f"{self._path}: ends after line {self._number}, expected \\end\\",
                hint="the file is cut short",
            )
        self._number += 1
        return line.rstrip("\r\n")

    def __iter__(self) -> Iterator[str]:
        for line in self._file:
            self._number += 1
            yield line

    def expect(self, header: str) -> None:
        """Skip blank lines up to a header."""
        line = next(self)
        while not line.strip(_BLANKS):
            line = next(self)
        if line != header:
            raise self.error(line, header)

    def number(self, text: str, line: str) -> float:
        """A float32 of the file."""
        if not _NUMBER.fullmatch(text):
            raise self.error(line, "a number, a tab and an n-gram")
        return _single(float(text))

    def error(self, found: str, expected: str) -> CheckpointError:
        shown = found if len(found) <= 60 else found[:60] + "..."
        return CheckpointError(
            f"{self._path}: line {self._number}: {shown!r}, expected {expected}",
            hint="not a valid ARPA language model",
        )


def _split(words: str) -> list[str]:
    return words.replace("\r", " ").split(" ") if words else []


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 12


def _single(value: float) -> float:
    """Round to float32."""
    return ctypes.c_float(value).value
