"""Results to text, and transcripts back: one function per format, found by name.

A new format is one function under `@FORMATS.writer`, and one under `@FORMATS.reader` where it comes
back, in the file of its kind; the commands and the error messages take its name from `FORMATS`.
"""

from asrkit.formats import basic, speech, subtitles
from asrkit.formats.basic import error_row
from asrkit.formats.labels import LABEL_FORMATS
from asrkit.formats.reading import TEXT_SUFFIXES, read_segments, read_transcripts
from asrkit.formats.registry import FORMATS, Format, Registry, render
from asrkit.formats.vectors import VECTOR_FORMATS

__all__ = [
    "FORMATS",
    "LABEL_FORMATS",
    "TEXT_SUFFIXES",
    "VECTOR_FORMATS",
    "Format",
    "Registry",
    "basic",
    "error_row",
    "read_segments",
    "read_transcripts",
    "render",
    "speech",
    "subtitles",
]
