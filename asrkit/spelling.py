"""Any text in the letters of a CTC model, with the way back from tokens to words.

A character is looked up as it is, then in the other case, without its accents, and as the plain
form of itself (’ is ', ﬁ is fi, ß is ss). What is left is either silent (punctuation) or unknown:
digits, symbols that are read aloud, letters of another script.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from asrkit.errors import InputError
from asrkit.text import CTCVocabulary

STAR = -1  # any sound
GAP = -2  # silence or a word delimiter

_PLAIN = {
    **dict.fromkeys("’‘ʼ‛′`´ʹ＇ʻʾʿ", "'"),
    **dict.fromkeys("‐‑‒–—―−﹘﹣－", "-"),
    **dict.fromkeys("“”„‟«»″", '"'),
    "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "ł": "l", "þ": "th", "ħ": "h", "ı": "i",
    "ŋ": "ng",
}  # fmt: skip
_READ_ALOUD = frozenset("&%@#+=°§×÷№‰")
_BREAKS = frozenset("/.,:;…_·|\\")  # and dashes: what stands between two words written as one


@dataclass(frozen=True)
class SpelledWord:
    """A word and its tokens.

    Attributes:
        text: as it was given.
        tokens: indices of the vocabulary, `STAR` or `GAP`, in the order spoken.
        pieces: for each token the part of `text` (in composed form) that it spells; several
            tokens of one part follow each other and share it. Empty for a gap.
        is_spelled: the tokens are its own letters, and all of them.
        is_silent: it is punctuation, of which nothing is heard.
    """

    text: str
    tokens: tuple[int, ...]
    pieces: tuple[tuple[int, str], ...]
    is_spelled: bool
    is_silent: bool


class Speller:
    """Spells words with a vocabulary.

    Args:
        vocabulary: of the model.
        unknown: what becomes of characters that it lacks: star, interpolate, drop or error.
        num_outputs: tokens that the model scores; None for all of the vocabulary.
    """

    def __init__(
        self,
        vocabulary: CTCVocabulary,
        *,
        unknown: str = "star",
        num_outputs: int | None = None,
    ) -> None:
        special = {vocabulary.unknown, vocabulary.word_delimiter}
        self._indices = {
            token: index
            for index, token in reversed(list(enumerate(vocabulary.tokens[:num_outputs])))
            if token is not None
            and len(token) == 1
            and index != vocabulary.blank
            and token not in special
            and not token.isspace()
        }
        self._unknown = unknown
        self._spell_character = lru_cache(maxsize=4096)(self._look_up)

    def __call__(self, word: str) -> SpelledWord:
        """Spell one word.

        Raises:
            InputError: `unknown` is error, and the vocabulary lacks a character.
        """
        tokens: list[int] = []
        pieces: list[tuple[int, str]] = []
        num_unknown = num_letters = 0
        has_break = False
        for index, character in enumerate(unicodedata.normalize("NFC", word)):
            found = self._spell_character(character)
            if found is None:
                num_unknown += 1
                self._refuse(character, word)
                if self._unknown != "star":
                    continue
                if tokens and tokens[-1] == STAR:  # one star for the whole run
                    pieces[-1] = (pieces[-1][0], pieces[-1][1] + character)
                    continue
                found = (STAR,)
            elif not found:
                has_break = has_break or _is_break(character)
                continue
            else:
                num_letters += 1
            if has_break and tokens and not (found == (STAR,) and tokens[-1] == STAR):
                tokens.append(GAP)
                pieces.append((index, ""))
            has_break = False
            tokens += found
            pieces += [(index, character)] * len(found)
        return SpelledWord(
            word,
            tuple(tokens),
            tuple(pieces),
            is_spelled=num_letters > 0 and not num_unknown,
            is_silent=not num_letters and not num_unknown,
        )

    def _refuse(self, character: str, word: str) -> None:
        if self._unknown == "error":
            raise InputError(
                f"the model has no letter for {character!r} in {word!r}",
                hint="write it out in words, or let --unknown star find its place",
            )

    def _look_up(self, character: str) -> tuple[int, ...] | None:
        """Tokens of one character; () if it is silent, None if it is unknown."""
        for spelled in _forms(character):
            if all(letter in self._indices for letter in spelled):
                return tuple(self._indices[letter] for letter in spelled)
        category = unicodedata.category(character)
        is_heard = category[0] in "LN" or category == "Sc" or character in _READ_ALOUD
        return None if is_heard else ()


def lay_out(
    segments: Sequence[Sequence[SpelledWord]], *, star: str = "none"
) -> tuple[list[int], list[int]]:
    """Tokens of a whole text, with gaps between its words.

    Neighbouring words of nothing but a star share one: nothing could tell where one ends.

    Args:
        segments: words of each.
        star: where a star stands for speech without text: none, edges or segment.

    Returns:
        Tokens, and for each the number of its word in the whole text, -1 for what belongs to none.
    """
    tokens: list[int] = []
    owners: list[int] = []

    def add(items: Iterable[int], owner: int) -> None:
        for item in items:
            tokens.append(item)
            owners.append(owner)

    number = -1
    for index, words in enumerate(segments):
        if (star == "segment" and tokens) or (star != "none" and not index):
            add([STAR], -1)
        for word in words:
            number += 1
            if not word.tokens:
                continue
            if word.tokens == (STAR,) and owners and owners[-1] >= 0 and tokens[-1] == STAR:
                continue
            if tokens and not (owners[-1] == -1 and tokens[-1] == STAR):
                add([GAP], -1)
            add(word.tokens, number)
    if star != "none":
        add([STAR], -1)
    return tokens, owners


def _forms(character: str) -> Iterable[str]:
    """Ways to write a character, the nearest first; none is empty."""
    compatible = unicodedata.normalize("NFKC", character)
    plain = "".join(_PLAIN.get(c, _PLAIN.get(c.lower(), c)) for c in compatible)
    bare = "".join(c for c in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(c))
    for form in (character, compatible, plain, bare):
        if form and not form.isspace():
            yield from (form, form.lower(), form.upper(), form.casefold())
            yield form.casefold().upper()


def _is_break(character: str) -> bool:
    return character in _BREAKS or unicodedata.category(character) == "Pd"
