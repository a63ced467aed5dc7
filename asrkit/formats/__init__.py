"""Results to text, and transcripts back: one function per format, found by name.

A new format is one function under `@FORMATS.writer` or `@reader` in the file of its kind; the
command line, `convert` and the error messages take its name from `FORMATS` and `READERS`.
"""

from asrkit.formats import basic, speech, subtitles
from asrkit.formats.basic import error_row
from asrkit.formats.labels import LABEL_FORMATS
from asrkit.formats.reading import READERS, read_segments
from asrkit.formats.registry import FORMATS, Format, Registry, render
from asrkit.formats.vectors import VECTOR_FORMATS

__all__ = [
    "FORMATS",
    "LABEL_FORMATS",
    "READERS",
    "VECTOR_FORMATS",
    "Format",
    "Registry",
    "basic",
    "error_row",
    "read_segments",
    "render",
    "speech",
    "subtitles",
]
