"""Times that hold in every format: whole milliseconds, in order, apart, longer than zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from asrkit.segmentation import milliseconds
from asrkit.types import (
    Character,
    Segment,
    Transcript,
    Word,
)


def timed_segments(transcript: Transcript) -> list[tuple[int, int, Segment]]:
    """(start, end, segment) of all segments that say something, in milliseconds.

    Longer than zero and apart, whoever made the transcript, and not past the end of its audio
    unless its own times are.
    """
    return _placed([segment for segment in transcript.segments if segment.text.strip()], transcript)


def timed_words(transcript: Transcript) -> list[tuple[int, int, Word]]:
    """(start, end, word) of all words, in milliseconds, as `timed_segments` gives segments.

    A segment without words counts as one word.
    """
    words = [
        word
        for segment in transcript.segments
        if segment.text.strip()
        for word in (segment.words or (_as_word(segment),))
        if word.text.strip()
    ]
    return _placed(words, transcript)


def timed_characters(transcript: Transcript) -> list[tuple[int, int, Character]]:
    """(start, end, character) of all characters, in milliseconds, likewise."""
    return _placed(
        [
            character
            for segment in transcript.segments
            for word in segment.words
            for character in word.characters
        ],
        transcript,
    )


_SpanT = TypeVar("_SpanT", Segment, Word, Character)


def _placed(items: Sequence[_SpanT], transcript: Transcript) -> list[tuple[int, int, _SpanT]]:
    times = milliseconds(
        [(item.start, item.end) for item in items],
        duration=max([transcript.offset + transcript.duration, *(item.end for item in items)]),
    )
    return [(start, end, item) for (start, end), item in zip(times, items, strict=True)]


def _as_word(segment: Segment) -> Word:
    score = 1.0 if segment.score is None else segment.score
    return Word(" ".join(segment.text.split()), segment.start, segment.end, score)
