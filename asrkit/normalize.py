"""Text normalisers by name: what is made equal before words are compared.

Each has a name and a version, which stand in every report, since they change the score.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
import runpy
import unicodedata
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asrkit.errors import InputError, MissingExtraError, UsageError
from asrkit.formats.reading import read_text

# Punctuation (category P) with a sound of its own, which stays.
_SPOKEN = frozenset("%&@#")
_NUMBER = re.compile(r"(?<=\d)[.,](?=\d)")
_APOSTROPHES = str.maketrans("\u2018\u2019\u02bc\uff07\u0060\u00b4", "''''''")


@dataclass(frozen=True)
class Normalizer:
    """A function of a text, with what names it.

    Attributes:
        name: as the user gave it.
        version: changes when its results may.
        apply: text to text.
    """

    name: str
    version: str
    apply: Callable[[str], str]


@dataclass(frozen=True)
class Chain:
    """Normalisers one after the other; none at all leaves a text as it is."""

    steps: tuple[Normalizer, ...] = ()

    def __call__(self, text: str) -> str:
        """Normalise a text."""
        for step in self.steps:
            text = step.apply(text)
        return text

    def __str__(self) -> str:
        """Names and versions, in order."""
        return ", ".join(f"{step.name} ({step.version})" for step in self.steps) or "none"


def load_normalizer(names: Sequence[str]) -> Chain:
    """Make a chain of normalisers.

    Args:
        names: each is `none`, `basic`, `english`, FILE.tsv (lines `from<TAB>to` of whole words), or
            FILE.py:function, which runs that file.

    Raises:
        UsageError: a name is none of these, or a file cannot be used.
        MissingExtraError: `english` without the extra of that name.
    """
    return Chain(tuple(_load(name.strip()) for name in names if name.strip() != "none"))


def _load(name: str) -> Normalizer:
    if name == "basic":
        return Normalizer("basic", "1", basic)
    if name == "english":
        return _english()
    path, colon, function = name.rpartition(":")
    if colon and path.endswith(".py"):
        return _from_python(path, function)
    if name.endswith(".tsv"):
        return _from_table(name)
    raise UsageError(
        f"normalizer {name!r} is not none, basic, english, FILE.tsv or FILE.py:function"
    )


def basic(text: str) -> str:
    """Lower case (case folding), NFKC, no punctuation, single spaces.

    Punctuation parts words, with these exceptions: apostrophes within a word stay, a point or comma
    between digits stays, and so do % & @ #, which are spoken.
    """
    text = unicodedata.normalize("NFKC", text)
    text = unicodedata.normalize("NFKC", text.casefold()).translate(_APOSTROPHES)
    kept = {match.start() for match in _NUMBER.finditer(text)}
    characters = [
        character
        if index in kept
        or not unicodedata.category(character).startswith("P")
        or character in _SPOKEN
        or (character == "'" and _is_within_word(text, index))
        else " "
        for index, character in enumerate(text)
    ]
    return " ".join("".join(characters).split())


def _is_within_word(text: str, index: int) -> bool:
    neighbours = text[max(0, index - 1) : index] + text[index + 1 : index + 2]
    return len(neighbours) == 2 and all(
        unicodedata.category(character)[0] in "LMN" for character in neighbours
    )


def _english() -> Normalizer:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it has escapes that Python warns of, once
            from whisper_normalizer.english import EnglishTextNormalizer
    except ImportError as error:
        raise MissingExtraError("the normalizer english", extra="english") from error
    version = importlib.metadata.version("whisper-normalizer")
    return Normalizer("english", f"whisper-normalizer {version}", EnglishTextNormalizer())


def _from_table(path: str) -> Normalizer:
    """Words for words, the longest run first; data only."""
    try:
        text = read_text(path)
    except InputError as error:
        raise UsageError(error.message, hint=error.hint) from error
    table: dict[tuple[str, ...], str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        old, tab, new = line.partition("\t")
        if not tab or not old.strip() or "\t" in new:
            raise UsageError(
                f"{path}:{number}: expected `from<TAB>to`, found {line!r}",
                hint="a line that begins with # is a comment; nothing after the tab deletes",
            )
        table[tuple(old.split())] = new.strip()

    def apply(text: str) -> str:
        return " ".join(_replaced(text.split(), table, longest))

    longest = max(map(len, table), default=0)
    return Normalizer(path, _digest(path), apply)


def _replaced(
    words: Sequence[str], table: Mapping[tuple[str, ...], str], longest: int
) -> list[str]:
    result = []
    index = 0
    while index < len(words):
        for length in range(min(longest, len(words) - index), 0, -1):
            new = table.get(tuple(words[index : index + length]))
            if new is not None:
                result += [new] if new else []
                index += length
                break
        else:
            result.append(words[index])
            index += 1
    return result


def _from_python(path: str, name: str) -> Normalizer:
    """The user's own function. Its file runs, because the command line names it as a program."""
    try:
        function = runpy.run_path(path).get(name)
    except Exception as error:
        raise UsageError(
            f"{path}: cannot be run: {type(error).__name__}: {error}",
            hint=f"python {path} shows where",
        ) from error
    if not callable(function):
        raise UsageError(f"{path}: has no function {name!r}")

    def apply(text: str) -> str:
        try:
            result = function(text)
        except Exception as error:
            raise UsageError(
                f"{path}:{name} failed on {text!r}: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(result, str):
            raise UsageError(f"{path}:{name} gave {type(result).__name__} for {text!r}, not text")
        return result

    return Normalizer(f"{path}:{name}", _digest(path), apply)


def _digest(path: str) -> str:
    return "sha256 " + hashlib.sha256(Path(path).read_bytes()).hexdigest()[:12]
