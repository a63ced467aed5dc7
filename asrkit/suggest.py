"""Which of the known names somebody meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word: str, known: Iterable[str], *, count: int = 1, likeness: float = 0.6) -> list[str]:
    """The known words that are most like one that is not, the best first; case does not count.

    Args:
        word: what was typed.
        known: what there is.
        count: how many at most.
        likeness: from 0 to 1, how like they must be.
    """
    names = {name.lower(): name for name in known}
    return [names[name] for name in get_close_matches(word.lower(), names, count, likeness)]


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A hint that names the known word most like one that is not; None if none is like it."""
    return next((f"did you mean {name}?" for name in nearest(word, known)), None)
