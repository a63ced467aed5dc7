"""Pictures without a plotting library: SVG and HTML that refer to nothing outside themselves."""

from asrkit.plot.alignment import draw_alignment
from asrkit.plot.attention import draw_attention
from asrkit.plot.files import SUFFIXES, as_html, as_png, check_suffix

__all__ = [
    "SUFFIXES",
    "as_html",
    "as_png",
    "check_suffix",
    "draw_alignment",
    "draw_attention",
]
