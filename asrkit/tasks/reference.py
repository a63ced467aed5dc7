"""How far word boundaries are from those of a reference."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np
from numpy.typing import NDArray

from asrkit.errors import InputError, UsageError
from asrkit.formats.speech import words_of_file
from asrkit.tasks.pairing import file_beside
from asrkit.types import AudioInput, Transcript, Word


@dataclass(frozen=True)
class BoundaryErrors:
    """Distances of starts and ends of words from those of a reference.

    Attributes:
        starts_ms: (N,) ours minus the reference's, in milliseconds.
        ends_ms: (N,) likewise.
        num_reference: words of the reference.
    """

    starts_ms: NDArray[np.float64]
    ends_ms: NDArray[np.float64]
    num_reference: int

    @classmethod
    def of(cls, transcript: Transcript, reference: Sequence[Word]) -> BoundaryErrors:
        """Compare words that both have, matched by their letters and in order."""
        ours = [word for segment in transcript.segments for word in segment.words]
        matcher = SequenceMatcher(
            None, [_key(word) for word in ours], [_key(word) for word in reference], autojunk=False
        )
        pairs = [
            (ours[block.a + index], reference[block.b + index])
            for block in matcher.get_matching_blocks()
            for index in range(block.size)
        ]
        return cls(
            np.array([1000 * (word.start - other.start) for word, other in pairs]),
            np.array([1000 * (word.end - other.end) for word, other in pairs]),
            len(reference),
        )

    @classmethod
    def concatenate(cls, parts: Sequence[BoundaryErrors]) -> BoundaryErrors:
        """Those of many inputs as one."""
        return cls(
            np.concatenate([part.starts_ms for part in parts]),
            np.concatenate([part.ends_ms for part in parts]),
            sum(part.num_reference for part in parts),
        )

    def __str__(self) -> str:
        """One line for people."""
        if not len(self.starts_ms):
            return f"none of {self.num_reference} reference words found"
        both = np.abs(np.concatenate([self.starts_ms, self.ends_ms]))
        return (
            f"{len(self.starts_ms)} of {self.num_reference} reference words, boundaries off by "
            f"{both.mean():.0f} ms on average, {np.percentile(both, 90):.0f} ms or less for 90 % "
            f"(starts {np.abs(self.starts_ms).mean():.0f} ms, ends "
            f"{np.abs(self.ends_ms).mean():.0f} ms)"
        )


def find_reference(item: AudioInput, reference: str) -> list[Word]:
    """The true words of an input.

    Args:
        item: the input.
        reference: a file, or a directory that holds one of the same name.

    Raises:
        UsageError: there is none, or it cannot be read.
    """
    try:
        if not os.path.isdir(reference):
            return words_of_file(reference)
        return words_of_file(file_beside(item, reference, (".textgrid", ".ctm", ".json")))
    except InputError as error:
        raise UsageError(error.message, hint=error.hint) from error


def _key(word: Word) -> str:
    return "".join(c for c in word.text.casefold() if c.isalnum()) or word.text
