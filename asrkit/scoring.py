"""Word and character errors: alignments, their counts, and what is confused with what.

Words are aligned by jiwer. Characters are only counted, by the library under jiwer and with the
same result, because a Python object for every run of equal characters would take 25 times as long.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import jiwer
import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

Alignment: TypeAlias = Sequence[jiwer.AlignmentChunk]

# Columns of the counts of an utterance, in the order of the fields of `Counts`.
COLUMNS = ("hits", "substitutions", "deletions", "insertions")


@dataclass(frozen=True)
class Counts:
    """What became of the words, or the characters, of a reference."""

    hits: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @classmethod
    def of(cls, counts: NDArray[np.integer]) -> Counts:
        """The sum over utterances of (N, 4) counts in the order of `COLUMNS`."""
        return cls(*(int(total) for total in counts.sum(axis=0)))

    @property
    def num_reference(self) -> int:
        """Words of the reference."""
        return self.hits + self.substitutions + self.deletions

    @property
    def num_hypothesis(self) -> int:
        """Words of the hypothesis."""
        return self.hits + self.substitutions + self.insertions

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float | None:
        """Errors over words of the reference; None where it has none and the hypothesis some."""
        if not self.num_reference:
            return None if self.errors else 0.0
        return self.errors / self.num_reference

    @property
    def mer(self) -> float:
        """Match error rate: errors over aligned pairs, from 0 to 1."""
        pairs = self.hits + self.errors
        return self.errors / pairs if pairs else 0.0

    @property
    def wil(self) -> float:
        """Word information lost, from 0 to 1."""
        if not self.num_reference and not self.num_hypothesis:
            return 0.0
        if not self.num_reference or not self.num_hypothesis:
            return 1.0
        return 1 - self.hits / self.num_reference * self.hits / self.num_hypothesis


@dataclass
class Confusions:
    """How often what was said became something else, over many utterances."""

    substitutions: Counter[tuple[str, str]] = field(default_factory=Counter)
    deletions: Counter[str] = field(default_factory=Counter)
    insertions: Counter[str] = field(default_factory=Counter)

    def add(
        self, reference: Sequence[str], hypothesis: Sequence[str], alignment: Alignment
    ) -> None:
        """Count the errors of one utterance."""
        for chunk in alignment:
            if chunk.type == "equal":
                continue
            said = reference[chunk.ref_start_idx : chunk.ref_end_idx]
            heard = hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx]
            if chunk.type == "substitute":
                self.substitutions.update(zip(said, heard, strict=True))
            elif chunk.type == "delete":
                self.deletions.update(said)
            else:
                self.insertions.update(heard)


def split_words(text: str) -> list[str]:
    """The words of a text: composed characters (NFC), divided by white space."""
    return unicodedata.normalize("NFC", text).split()


def align_words(
    references: Sequence[list[str]], hypotheses: Sequence[list[str]]
) -> list[Alignment]:
    """Align the words of each pair with as few errors as can be."""
    output = jiwer.process_words(
        list(references),  # type: ignore[arg-type]  # split already, as the transforms would
        list(hypotheses),  # type: ignore[arg-type]
        reference_transform=_keep,  # type: ignore[arg-type]
        hypothesis_transform=_keep,  # type: ignore[arg-type]
    )
    return list(output.alignments)


def count_words(alignment: Alignment) -> tuple[int, int, int, int]:
    """The counts of an alignment, in the order of `COLUMNS`."""
    hits = substitutions = deletions = insertions = 0
    for chunk in alignment:
        length = chunk.ref_end_idx - chunk.ref_start_idx
        if chunk.type == "equal":
            hits += length
        elif chunk.type == "substitute":
            substitutions += length
        elif chunk.type == "delete":
            deletions += length
        else:
            insertions += chunk.hyp_end_idx - chunk.hyp_start_idx
    return hits, substitutions, deletions, insertions


def count_characters(
    reference: str, hypothesis: str, confusions: Confusions | None = None
) -> tuple[int, int, int, int]:
    """The counts of characters, spaces included, in the order of `COLUMNS`.

    Args:
        reference: words with one space between them.
        hypothesis: likewise.
        confusions: gets the single errors, if given.
    """
    pairs: list[tuple[str, str]] = []
    missed: list[str] = []
    added: list[str] = []
    for edit in Levenshtein.editops(reference, hypothesis):
        if edit.tag == "replace":
            pairs.append((reference[edit.src_pos], hypothesis[edit.dest_pos]))
        elif edit.tag == "delete":
            missed.append(reference[edit.src_pos])
        else:
            added.append(hypothesis[edit.dest_pos])
    if confusions is not None:
        confusions.substitutions.update(pairs)
        confusions.deletions.update(missed)
        confusions.insertions.update(added)
    hits = len(reference) - len(pairs) - len(missed)
    return hits, len(pairs), len(missed), len(added)


def side_by_side(
    reference: Sequence[str], hypothesis: Sequence[str], alignment: Alignment
) -> Iterator[tuple[str, str, str]]:
    """An alignment word by word: (kind, said, heard), with "" where one side has no word.

    Kinds are equal, substitute, delete and insert.
    """
    for chunk in alignment:
        said = reference[chunk.ref_start_idx : chunk.ref_end_idx]
        heard = hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx]
        if chunk.type in ("equal", "substitute"):
            yield from ((chunk.type, old, new) for old, new in zip(said, heard, strict=True))
        elif chunk.type == "delete":
            yield from (("delete", word, "") for word in said)
        else:
            yield from (("insert", "", word) for word in heard)


def changes(before: Iterable[str], after: Iterable[str]) -> Iterator[tuple[str, str]]:
    """What a normaliser did to words: the runs that differ, as they were and as they are."""
    old, new = list(before), list(after)
    for block in Levenshtein.opcodes(old, new):
        if block.tag != "equal":
            said = " ".join(old[block.src_start : block.src_end])
            yield said, " ".join(new[block.dest_start : block.dest_end])


def _keep(words: list[list[str]]) -> list[list[str]]:
    return words
