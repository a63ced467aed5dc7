"""Texts as fields of a line: names and labels without what separates fields."""

from __future__ import annotations

import os

from asrkit.types import Classification, Segment, Transcript


def file_name(result: Transcript | Classification) -> str:
    """The id of an input, or its name without folder and suffix, as one word."""
    name = result.id
    if not name or name == result.source:
        name = os.path.splitext(os.path.basename(result.source))[0]
    return one_word(name)


def speaker_of(segment: Segment) -> str:
    """Who speaks, on one line; empty where nobody is named."""
    return one_line(segment.speaker or "")


def one_word(text: str) -> str:
    """Without white space, which separates fields; never empty."""
    return "_".join(text.split()) or "-"


def one_line(text: str) -> str:
    """With single spaces for all white space, tabs and line ends included."""
    return " ".join(text.split())
