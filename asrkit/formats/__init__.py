"""Transcripts to text and back: one function per format, found by name.

A new format is one function under `@FORMATS.writer` or `@reader` in the file of its kind; the
command line, `convert` and the error messages take its name from `FORMATS` and `READERS`.
"""

from asrkit.formats import basic, speech, subtitles
from asrkit.formats.basic import error_row
from asrkit.formats.reading import READERS, read_segments
from asrkit.formats.registry import FORMATS, Format, Registry, render

__all__ = [
    "FORMATS",
    "READERS",
    "Format",
    "Registry",
    "basic",
    "error_row",
    "read_segments",
    "render",
    "speech",
    "subtitles",
]
