"""Times that hold in every format: whole milliseconds, in order, longer than zero.

Voices of a transcript are apart in themselves: what speaks at the same time is two of them.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from asrkit.formats.fields import speaker_of
from asrkit.segmentation import milliseconds
from asrkit.types import (
    Character,
    Segment,
    Transcript,
    Word,
)


def voices(transcript: Transcript) -> list[Transcript]:
    """What is said, by voices, whose segments do not overlap by a whole millisecond.

    A speaker is one voice, and more where the speaker's own segments overlap. A voice is in the
    order of the transcript, voices are in the order of their first segments. Silence is one voice.
    """
    found: list[list[Segment]] = []
    busy: dict[str, list[tuple[int, int]]] = {}  # by speaker, (end, voice), a heap
    free: dict[str, list[int]] = {}  # voices by speaker, a heap
    for segment in transcript.segments:
        if not segment.text.strip():
            continue
        start, end = round(segment.start * 1000), round(segment.end * 1000)
        speaker = speaker_of(segment)
        own_busy, own_free = busy.setdefault(speaker, []), free.setdefault(speaker, [])
        while own_busy and own_busy[0][0] <= start:
            heapq.heappush(own_free, heapq.heappop(own_busy)[1])
        index = heapq.heappop(own_free) if own_free else len(found)
        if index == len(found):
            found.append([])
        found[index].append(segment)
        heapq.heappush(own_busy, (end, index))
    return [replace(transcript, segments=tuple(segments)) for segments in found or [[]]]


def timed_segments(transcript: Transcript) -> list[tuple[int, int, Segment]]:
    """(start, end, segment) of all segments that say something, in milliseconds.

    In the order of starts, longer than zero, those of a voice apart, whoever made the transcript,
    and not past the end of its audio unless its own times are.
    """
    return _in_order(
        [item for voice in voices(transcript) for item in _placed(voice.segments, voice)]
    )


def timed_words(transcript: Transcript) -> list[tuple[int, int, Word]]:
    """(start, end, word) of all words, in milliseconds, as `timed_segments` gives segments.

    A segment without words counts as one word.
    """
    return _in_order(
        [
            item
            for voice in voices(transcript)
            for item in _placed([word for s in voice.segments for word in words_of(s)], voice)
        ]
    )


def timed_characters(transcript: Transcript) -> list[tuple[int, int, Character]]:
    """(start, end, character) of all characters, in milliseconds, likewise."""
    return _in_order(
        [
            item
            for voice in voices(transcript)
            for item in _placed(
                [c for s in voice.segments for word in s.words for c in word.characters], voice
            )
        ]
    )


def words_of(segment: Segment) -> list[Word]:
    """The words of a segment that say something; the segment as one where it has none."""
    if segment.words:
        return [word for word in segment.words if word.text.strip()]
    score = 1.0 if segment.score is None else segment.score
    return [Word(" ".join(segment.text.split()), segment.start, segment.end, score)]


_SpanT = TypeVar("_SpanT", Segment, Word, Character)


def _placed(items: Sequence[_SpanT], transcript: Transcript) -> list[tuple[int, int, _SpanT]]:
    times = milliseconds(
        [(item.start, item.end) for item in items],
        duration=max([transcript.offset + transcript.duration, *(item.end for item in items)]),
    )
    return [(start, end, item) for (start, end), item in zip(times, items, strict=True)]


def _in_order(items: list[tuple[int, int, _SpanT]]) -> list[tuple[int, int, _SpanT]]:
    return sorted(items, key=lambda item: item[0])
