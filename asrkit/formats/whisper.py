"""JSON of other recognizers: Whisper and its kin, whisper.cpp, WhisperX, transformers.

openai-whisper, faster-whisper, stable-ts   segments[], or these alone, with start, end, text and,
                                            where asked for, words[] with word, start, end,
                                            probability
WhisperX                                    the same with score and speaker; words that its model
                                            has no letters for, such as numbers, have no times
whisper-timestamped                         the same with words[] of text, start, end, confidence
whisper.cpp -oj, -ojf                       transcription[] with offsets in milliseconds, and
                                            tokens[]: a word begins with the space before it, and
                                            a character may be cut between two
transformers                                chunks[] with timestamp [start, end] and text
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from asrkit.errors import InputError
from asrkit.formats.reading import finite, seconds, timed_between, transcript_of
from asrkit.types import Segment, Transcript

Json = Mapping[str, Any]
_SCORES = ("probability", "score", "confidence")


def transcript_of_whisper(data: Json) -> Transcript:
    """Read JSON that is not of asrkit.

    Raises:
        InputError: none of the known kinds, or a part of it is missing.
    """
    kinds = {"segments": _of_segment, "transcription": _of_offsets, "chunks": _of_chunk}
    name = next((name for name in kinds if isinstance(data.get(name), list)), None)
    if name is None:
        raise InputError(
            f"not a transcript: expected schema, {', '.join(kinds)}, found "
            f"{', '.join(data)[:80] or 'nothing'}"
        )
    segments: list[Segment] = []
    num_guessed = 0
    for number, item in enumerate(data[name]):
        place = f"{name}[{number}]"
        try:
            segment, words = kinds[name](item, place)
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            raise InputError(f"{place}: not complete: {error!r}") from error
        timed, guessed = timed_between(words, segment.start, segment.end)
        segments.append(replace(segment, words=tuple(timed)))
        num_guessed += guessed
    transcript = transcript_of(segments)
    duration = data.get("duration")
    if isinstance(duration, (int, float)) and duration > transcript.duration:
        transcript = replace(transcript, duration=seconds(duration, "duration"))
    if not num_guessed:
        return transcript
    return replace(transcript, warnings=(f"{num_guessed} words had no times and got guessed ones",))


def _of_segment(item: Json, place: str) -> tuple[Segment, list[Json]]:
    words: list[Json] = [
        {
            "text": _said(word.get("word", word.get("text")), place).strip(),
            "start": _optional(word.get("start"), place),
            "end": _optional(word.get("end"), place),
            "score": _score(next((word[n] for n in _SCORES if n in word), None), place),
        }
        for word in item.get("words") or ()
    ]
    segment = _segment(item["text"], item["start"], item["end"], place, item.get("speaker"))
    return segment, words


def _of_offsets(item: Json, place: str) -> tuple[Segment, list[Json]]:
    start, end = (finite(item["offsets"][name], place) / 1000 for name in ("from", "to"))
    words: list[list[Json]] = []  # tokens of each
    for token in item.get("tokens") or ():
        text = str(token["text"])
        if "offsets" not in token or not text.strip() or text.startswith("[_"):
            continue  # a mark such as [_BEG_] or [_TT_150]
        if not words or text[0].isspace():
            words.append([])
        words[-1].append(token)
    return _segment(item["text"], start, end, place, item.get("speaker")), [
        {
            "text": _said("".join(str(token["text"]) for token in tokens), place).strip(),
            "start": seconds(tokens[0]["offsets"]["from"] / 1000, place),
            "end": seconds(tokens[-1]["offsets"]["to"] / 1000, place),
            "score": _score(tokens[0].get("p"), place),
        }
        for tokens in words
    ]


def _of_chunk(item: Json, place: str) -> tuple[Segment, list[Json]]:
    start, end = item["timestamp"]
    return _segment(item["text"], start, start if end is None else end, place, None), []


def _segment(text: Any, start: Any, end: Any, place: str, speaker: Any) -> Segment:
    first, last = seconds(start, place), seconds(end, place)
    name = None if speaker is None else _said(speaker, place)
    return Segment(" ".join(_said(text, place).split()), first, max(first, last), speaker=name)


def _said(value: Any, place: str) -> str:
    """Text whose characters are whole; bytes of cut ones (surrogates) have come together again.

    Raises:
        InputError: it is no text.
    """
    try:
        if isinstance(value, str) and "\0" not in value:
            return value.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeError:
        pass
    raise InputError(f"{place}: {str(value)[:40]!r} is not text")


def _optional(value: Any, place: str) -> float | None:
    return None if value is None else seconds(value, place)


def _score(value: Any, place: str) -> float | None:
    return None if value is None else finite(value, place)
