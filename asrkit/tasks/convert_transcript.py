"""Transcripts from one format to another: found, read, moved in time, cut into lines anew."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from asrkit.errors import InputError
from asrkit.formats import FORMATS, Format, read_transcripts
from asrkit.formats.fields import file_name
from asrkit.formats.times import voices
from asrkit.inputs import FailedInput
from asrkit.options import SegmentOptions, TranscriptOptions
from asrkit.segmentation import split_segments
from asrkit.types import AudioInput, Segment, Transcript, Word


@dataclass(frozen=True)
class Recording:
    """A transcript to convert.

    Attributes:
        item: what it and its output are called.
        format: of its file.
        transcript: itself, where its file may hold several and had to be read to know them.
    """

    item: AudioInput
    format: Format
    transcript: Transcript | None = None

    def read(self) -> Transcript:
        """The transcript.

        Raises:
            InputError: its file cannot be read, or is not of the format.
        """
        (found,) = [self.transcript] if self.transcript else self._read()
        if any(segment.end > 0 for segment in found.segments):
            return found
        return replace(found, segments=())  # lines without times

    def _read(self) -> list[Transcript]:
        found = read_transcripts(self.item.path, self.format)
        return [item for item in found if isinstance(item, Transcript)]


def recordings_in(
    items: Iterable[AudioInput | FailedInput], format: Format | None = None
) -> Iterator[Recording | FailedInput]:
    """The recordings of files, in order; those of one file with several are called by their ids.

    Args:
        items: the files.
        format: of all files; None takes what the suffix of each says.
    """
    for item in items:
        if isinstance(item, FailedInput):
            yield item
            continue
        known = format or FORMATS.of_file(item.path)
        try:
            if known is None:
                raise InputError(
                    f"{'standard input' if item.path == '-' else item.path}: no suffix that tells "
                    "the format",
                    hint=f"--from NAME does: {', '.join(FORMATS)}",
                )
            yield from _recordings(item, known)
        except InputError as error:
            yield FailedInput(item.source, error, item.id)


def convert_stream(
    recordings: Iterable[Recording | FailedInput], options: TranscriptOptions
) -> Iterator[Transcript | FailedInput]:
    """The converted transcript of each recording, in order, or why there is none."""
    for item in recordings:
        if isinstance(item, FailedInput):
            yield item
            continue
        try:
            yield convert(item.read(), options)
        except InputError as error:
            yield FailedInput(item.item.source, error, item.item.id)


def convert(transcript: Transcript, options: TranscriptOptions) -> Transcript:
    """Move a transcript in time, and cut it into lines anew, if either is asked for."""
    if (options.shift, options.scale) != (0.0, 1.0):
        transcript = _moved(transcript, options)
    if options.segments is not None:
        transcript = _shaped(transcript, options.segments)
    return transcript


def _recordings(item: AudioInput, known: Format) -> Iterator[Recording | FailedInput]:
    ends = [end for end in known.suffixes if item.name.lower().endswith(end)]
    name = item.name[: -len(ends[0])] if ends else os.path.splitext(item.name)[0]
    last = os.path.splitext(f"x{known.suffix}")[1]  # which names of outputs lose again
    if "recordings" not in known.holds:
        yield Recording(replace(item, name=f"{name}{last}"), known)
        return
    found = read_transcripts(item.path, known)
    for transcript in found:
        if isinstance(transcript, InputError):
            yield FailedInput(item.source, transcript, item.id)
            continue
        if len(found) > 1:
            own = re.sub(r"^\.+|[/\\:]", "_", file_name(transcript))
            name = os.path.join(os.path.dirname(item.name), own)
        named = replace(item, id=transcript.id or item.id, name=f"{name}{last}")
        yield Recording(named, known, transcript)


def _moved(transcript: Transcript, options: TranscriptOptions) -> Transcript:
    """Times scaled, then shifted; those before 0 become 0, segments before 0 are dropped."""

    def moved(time: float) -> float:
        return round(max(0.0, time * options.scale + options.shift), 3)

    def word_moved(word: Word) -> Word:
        characters = tuple(
            replace(character, start=moved(character.start), end=moved(character.end))
            for character in word.characters
        )
        return replace(word, start=moved(word.start), end=moved(word.end), characters=characters)

    segments = []
    for segment in transcript.segments:
        start, end = moved(segment.start), moved(segment.end)
        if end > 0:
            words = tuple(map(word_moved, segment.words))
            segments.append(
                replace(segment, start=start, end=max(end, round(start + 0.001, 3)), words=words)
            )
    offset = moved(transcript.offset) if transcript.offset else 0.0
    last = moved(transcript.offset + transcript.duration)
    last = max([offset, last, *(segment.end for segment in segments)])
    num_dropped = len(transcript.segments) - len(segments)
    if not num_dropped:
        text, warnings = transcript.text, transcript.warnings
    else:
        text = " ".join(segment.text for segment in segments)
        warning = f"{num_dropped} of {len(transcript.segments)} segments end before 0 and are gone"
        warnings = (*transcript.warnings, warning)
    return replace(
        transcript,
        offset=offset,
        duration=round(last - offset, 3),
        text=text,
        segments=tuple(segments),
        warnings=warnings,
    )


def _shaped(transcript: Transcript, options: SegmentOptions) -> Transcript:
    """Segments made anew where their words have times; others keep theirs and lose their lines."""
    segments = [
        segment for voice in voices(transcript) for segment in _shaped_voice(voice, options)
    ]
    segments.sort(key=lambda segment: segment.start)
    return replace(transcript, segments=tuple(segments))


def _shaped_voice(voice: Transcript, options: SegmentOptions) -> Iterator[Segment]:
    def has_words(segment: Segment) -> bool:
        return bool(segment.words) and segment.source_text is None

    for is_timed, group in groupby(voice.segments, has_words):
        segments: Sequence[Segment] = list(group)
        if not is_timed:
            yield from (replace(segment, lines=()) for segment in segments)
            continue
        words = [word for segment in segments for word in segment.words]
        end = max([voice.offset + voice.duration, *(word.end for word in words)])
        made = split_segments(words, options, duration=end)
        yield from (replace(segment, speaker=segments[0].speaker) for segment in made)
