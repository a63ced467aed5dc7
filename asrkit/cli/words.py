"""Words that only this machine knows, for completion: names of models, codes of languages.

A shell asks at a press of Tab, so this imports next to nothing, reads the Hub's cache by its layout
(`models--user--name/snapshots/commit/`), and says nothing where anything is wrong.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from asrkit.models import FAMILIES

QUESTION = "__complete"
"""The first argument of a question; a kind of words and the line to complete follow."""

_ASSETS = os.path.join(os.path.dirname(os.path.dirname(__file__)), "assets")
_NAME = re.compile(r"[\w.-]+(?:/[\w.-]+)?", re.ASCII)  # all else could mean something to a shell
_LANGUAGE_TOKEN = re.compile(r"<lang:(.+)>")
_MAX_JSON_BYTES = 50_000_000


def answer(kind: str, line: Sequence[str]) -> list[str]:
    """The words of a kind, in alphabetical order.

    Args:
        kind: "models"; or "languages", with "=" and the model of lines that name none.
        line: the words of the command line, from the name of the program.
    """
    kind, _, default = kind.partition("=")
    folders = _folders(_value(line, "--cache-dir") or _standard_cache())
    if kind == "models":
        return sorted(
            name
            for name, folder in folders.items()
            if _read_json(folder, "config.json").get("model_type") in FAMILIES
        )
    model = _value(line, "--model", "-m") or os.environ.get("ASRKIT_MODEL")
    for source in [model] if model else [*line[2:], default]:
        folder = folders.get(source.partition("@")[0], source)
        if source and (languages := _languages(folder)):
            return languages
    return []


def _value(line: Sequence[str], *options: str) -> str | None:
    """What a command line gives to an option."""
    for word, following in zip(line, (*line, "")[1:], strict=True):
        name, equals, value = word.partition("=")
        if name in options:
            return value if equals else following
    return None


def _standard_cache() -> str:
    """Where huggingface_hub keeps files, by the variables that it reads."""
    known = os.environ.get
    home = known("HF_HOME") or os.path.join(known("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    standard = known("HF_HUB_CACHE") or known("HUGGINGFACE_HUB_CACHE") or os.path.join(home, "hub")
    return known("ASRKIT_CACHE_DIR") or standard


def _folders(cache: str) -> dict[str, str]:
    """Folders of the models at hand by name: embedded ones, and those in the cache."""
    found = dict(_snapshots(os.path.expanduser(cache)))
    found |= {entry.name: entry.path for entry in _entries(_ASSETS)}
    return {name: folder for name, folder in found.items() if _NAME.fullmatch(name)}


def _snapshots(cache: str) -> Iterator[tuple[str, str]]:
    """(Hub id, folder) of every model in the cache, in the snapshot that was fetched last."""
    for entry in _entries(cache):
        if entry.name.startswith("models--"):
            found = _entries(os.path.join(entry.path, "snapshots"))
            if found:
                newest = max(found, key=lambda snapshot: snapshot.stat().st_mtime)
                yield entry.name.removeprefix("models--").replace("--", "/"), newest.path


def _entries(folder: str) -> list[os.DirEntry[str]]:
    with suppress(OSError), os.scandir(folder) as entries:
        return [entry for entry in entries if entry.is_dir()]
    return []


def _languages(folder: str) -> list[str]:
    """What --language or --target-lang takes; `asrkit.text.languages_of`, without its imports."""
    vocabulary = _read_json(folder, "vocab.json")
    if all(isinstance(value, dict) for value in vocabulary.values()):
        languages = sorted(vocabulary)
    else:
        tokens = map(_LANGUAGE_TOKEN.fullmatch, vocabulary)
        languages = sorted(token[1] for token in tokens if token)
    return [code for code in languages if _NAME.fullmatch(code)]


def _read_json(folder: str, name: str) -> dict[str, Any]:
    path = os.path.join(folder, name)
    with suppress(OSError, ValueError, RecursionError):
        if os.path.getsize(path) <= _MAX_JSON_BYTES:
            with open(path, encoding="utf-8") as file:
                content = json.load(file)
            if isinstance(content, dict):
                return content
    return {}
