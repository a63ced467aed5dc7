"""What pictures are written as, and what they are made of."""

from __future__ import annotations

import base64
import struct
import zlib
from html import escape
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asrkit.errors import MissingExtraError, UsageError

SUFFIXES = (".html", ".svg", ".png")


def as_html(svg: str, title: str) -> str:
    """A page that shows a picture and scrolls it sideways."""
    return (
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>"
        f"<title>{escaped(title)}</title>"
        "<style>body{margin:0;background:#fff}div{overflow-x:auto}svg{display:block}</style>"
        f"</head><body><div>\n{svg}\n</div></body></html>\n"
    )


def check_suffix(name: str) -> None:
    """Refuse beforehand a file that cannot be drawn.

    Raises:
        UsageError: the suffix is none of `SUFFIXES`.
        MissingExtraError: it is .png, and the extra `plot` is not installed.
    """
    suffix = Path(name).suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"{name}: a picture's name must end in {', '.join(SUFFIXES)}")
    if suffix == ".png" and find_spec("resvg_py") is None:
        raise MissingExtraError("drawing to .png", extra="plot")


def as_png(svg: str) -> bytes:
    """A picture as pixels, drawn with the fonts of this machine; needs the extra `plot`."""
    import resvg_py

    return bytes(resvg_py.svg_to_bytes(svg_string=svg, background="white"))


def escaped(text: str) -> str:
    """Escaped, and without the characters that XML forbids."""
    return escape("".join(c if c.isprintable() else "\ufffd" for c in text))


def as_data_url(levels: NDArray[np.uint8]) -> str:
    """(H, W) levels from white to blue as an image inside a page."""
    return f"data:image/png;base64,{base64.b64encode(_png(levels)).decode('ascii')}"


def _png(pixels: NDArray[np.uint8]) -> bytes:
    """(H, W) levels from white to blue as a PNG file."""
    height, width = pixels.shape
    level = np.arange(256)
    palette = np.stack([255 - level * 0.88, 255 - level * 0.68, 255 - level * 0.33], axis=1)
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels], axis=1)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", palette.astype(np.uint8).tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
