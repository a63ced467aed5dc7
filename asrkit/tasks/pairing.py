"""Which text belongs to which audio: one file each, files of the same name, or a manifest."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from asrkit.errors import InputError, UsageError
from asrkit.formats import TEXT_SUFFIXES, read_segments
from asrkit.formats.reading import read_text, segments_of
from asrkit.inputs import FailedInput
from asrkit.tasks.align import TextOf
from asrkit.types import AudioInput

# Formats that a text of this kind comes back in, if no other is asked for.
_SAME_FORMAT = {".srt": "srt", ".vtt": "vtt", ".ass": "ass", ".ssa": "ass"}


def pair_texts(
    items: Sequence[AudioInput | FailedInput], text: str | None
) -> list[TextOf | FailedInput]:
    """Find and read the text of every input.

    Args:
        items: what to align.
        text: a file, "-" for standard input, or a directory that holds a file of the same name
            (but for its suffix) for each input; None takes the text of a manifest, or the file of
            the same name beside the audio.

    Returns:
        One item each, in order; failed where there is no text or several.

    Raises:
        UsageError: one text for several inputs, or standard input for both.
    """
    is_one = text is not None and (text == "-" or not os.path.isdir(text))
    if is_one and len(items) > 1:
        raise UsageError(
            f"{text}: one text for {len(items)} inputs",
            hint="give a directory of texts, or a manifest with a text for each",
        )
    if text == "-" and any(isinstance(item, AudioInput) and item.path == "-" for item in items):
        raise UsageError("standard input cannot be both audio and text")
    return [
        item if isinstance(item, FailedInput) else _with_text(item, text, is_one=is_one)
        for item in items
    ]


def default_format(pairs: Sequence[TextOf | FailedInput]) -> str:
    """The format of the texts where all are subtitles of one, else `words`."""
    formats = {
        _SAME_FORMAT.get(os.path.splitext(item.path)[1].lower(), "words")
        for item in pairs
        if isinstance(item, TextOf)
    }
    return formats.pop() if len(formats) == 1 else "words"


def file_beside(item: AudioInput, folder: str | None, suffixes: Sequence[str]) -> Path:
    """The one file with the name of an input and one of these suffixes.

    Args:
        item: the input.
        folder: where to look; None looks beside the audio.
        suffixes: in lower case, with the dot.

    Raises:
        InputError: there is none, or there are several.
    """
    if folder is None:
        stem = Path(os.path.splitext(item.path)[0])
    else:
        stem = Path(folder, os.path.splitext(item.name or os.path.basename(item.path))[0])
    try:
        names = sorted(os.listdir(stem.parent))
    except OSError:
        names = []
    found = [
        stem.with_name(name)
        for name in names
        if os.path.splitext(name)[0] == stem.name and os.path.splitext(name)[1].lower() in suffixes
    ]
    if len(found) != 1:
        what = ", ".join(path.name for path in found) if found else f"none of {' '.join(suffixes)}"
        raise InputError(
            f"{item.path}: expected one file {stem}.*, found {what}",
            hint="names must agree but for the suffix" if not found else "leave one of them",
        )
    return found[0]


def _with_text(item: AudioInput, text: str | None, *, is_one: bool) -> TextOf | FailedInput:
    try:
        if text == "-":
            segments = segments_of(read_text(text))
            if not segments:
                raise InputError("standard input: holds no text")
            return TextOf(item, segments)
        if text is None and item.text is not None:
            return TextOf(item, segments_of(item.text))
        path = Path(text) if is_one and text else file_beside(item, text, TEXT_SUFFIXES)
        return TextOf(item, read_segments(path), str(path))
    except InputError as error:
        return FailedInput(item.source, error, item.id)


def check_outputs(pairs: Sequence[TextOf | FailedInput], outputs: Sequence[Path]) -> None:
    """Refuse to write over a text that is read.

    Raises:
        UsageError: an output is one of the texts.
    """
    read = {os.path.abspath(item.path) for item in pairs if isinstance(item, TextOf) and item.path}
    for path in outputs:
        if os.path.abspath(path) in read:
            raise UsageError(
                f"{path} is the text and would be overwritten", hint="choose another -o"
            )


def audio_of(item: TextOf | FailedInput) -> AudioInput | FailedInput:
    """The input alone, and its text."""
    if isinstance(item, TextOf) and isinstance(item.audio, AudioInput):
        return replace(item.audio, text="\n".join(segment.text for segment in item.segments))
    assert isinstance(item, FailedInput)  # for the type checker; texts of arrays come from Python
    return item


def with_audio(
    pairs: Iterable[TextOf | FailedInput], items: Iterable[AudioInput | FailedInput]
) -> Iterator[TextOf | FailedInput]:
    """The texts, each with the item that is in the place of its audio."""
    for pair, item in zip(pairs, items, strict=True):
        if isinstance(pair, TextOf) and isinstance(item, AudioInput):
            yield replace(pair, audio=item)
        elif isinstance(item, FailedInput):
            yield item
