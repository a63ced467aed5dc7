"""A picture of an alignment as SVG: waveform, scores with the path, words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asrkit.ctc.emissions import Emissions
from asrkit.plot.files import as_data_url, escaped
from asrkit.types import TokenSpan, Transcript, Word

_FRAME = 6  # pixels of one frame, horizontally
_ROW = 13  # of one token, vertically
_WAVE, _WORDS, _AXIS = 72, 34, 22
_LEFT, _TOP, _LEAST_WIDTH = 46, 46, 700
_TILE = 2048  # frames of one image; browsers refuse wide ones
_FLOOR = -8.0  # nats; what is less likely is white
_FONT = "font-family='DejaVu Sans,Arial,sans-serif'"


def draw_alignment(
    transcript: Transcript,
    emissions: Emissions,
    spans: Sequence[TokenSpan],
    *,
    labels: Sequence[str],
    blank: int,
    envelope: NDArray[np.float32],
) -> str:
    """Draw an alignment as SVG.

    From top to bottom: how loud each frame is; how likely each token of the text is in each frame,
    darker is likelier, with the path framed; the words, greener with a higher score, grey where a
    word was not aligned by its own letters; the time in seconds.

    Args:
        transcript: with words.
        emissions: (F, V) scores of what the spans point into.
        spans: the path.
        labels: (V,) what each column stands for.
        blank: index of the blank.
        envelope: (F,) the loudest sample of each frame.

    Returns:
        An SVG document without references to anything outside of it.
    """
    used = sorted({span.token for span in spans}, key=lambda token: (labels[token], token))
    rows = [*used, blank]
    num_frames = len(emissions.log_probs)
    width = max(_LEAST_WIDTH, _LEFT + num_frames * _FRAME + 10)
    map_top = _TOP + _WAVE + 6
    words_top = map_top + len(rows) * _ROW + 6
    height = words_top + _WORDS + _AXIS
    names = ["blank" if token == blank else labels[token] for token in rows]
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' "
        f"viewBox='0 0 {width} {height}' {_FONT}>",
        f"<rect width='{width}' height='{height}' fill='#fff'/>",
        *_title(transcript),
        *_waveform(envelope),
        *_heat_map(emissions.log_probs[:, rows], map_top),
        *_labels(["gap" if name == " " else name for name in names], map_top),
        *_path(spans, {token: index for index, token in enumerate(rows)}, map_top),
        *_word_boxes(transcript, emissions, words_top, map_top),
        *_axis(emissions, num_frames, words_top + _WORDS),
        "</svg>",
    ]
    return "\n".join(parts)


def _x(frame: float) -> float:
    return round(_LEFT + frame * _FRAME, 1)


def _title(transcript: Transcript) -> Iterator[str]:
    model = f"· {transcript.model.id}" if transcript.model else ""
    yield (
        f"<text x='{_LEFT}' y='18' font-size='14' font-weight='bold'>"
        f"{escaped(Path(transcript.source).name)}<tspan dx='6' font-weight='normal' fill='#555'>"
        f"{escaped(model)}</tspan></text>"
    )
    if transcript.warnings:
        shown = " · ".join(transcript.warnings)
        yield f"<text x='{_LEFT}' y='36' font-size='12' fill='#b00020'>⚠ {escaped(shown)}</text>"


def _waveform(envelope: NDArray[np.float32]) -> Iterator[str]:
    if not len(envelope):
        return
    middle = _TOP + _WAVE / 2
    heights = envelope / max(float(envelope.max()), 1e-6) * (_WAVE / 2 - 2)
    bars = "".join(
        f"M{_x(frame + 0.5)} {middle - height:.1f}V{middle + height:.1f}"
        for frame, height in enumerate(np.maximum(heights, 0.5).tolist())
    )
    yield f"<path d='{bars}' stroke='#44607a' stroke-width='{_FRAME - 1}' fill='none'/>"


def _heat_map(log_probs: NDArray[np.float32], top: int) -> Iterator[str]:
    shade = 255 - np.clip(log_probs / _FLOOR, 0, 1) * 255  # 255 is certain
    pixels = shade.astype(np.uint8).T  # (rows, F)
    for start in range(0, pixels.shape[1], _TILE):
        tile = pixels[:, start : start + _TILE]
        data = as_data_url(tile)
        yield (
            f"<image x='{_x(start)}' y='{top}' width='{tile.shape[1] * _FRAME}' "
            f"height='{len(tile) * _ROW}' preserveAspectRatio='none' "
            f"style='image-rendering:pixelated' href='{data}'/>"
        )


def _labels(names: Sequence[str], top: int) -> Iterator[str]:
    for index, name in enumerate(names):
        y = top + index * _ROW + _ROW - 3
        yield (
            f"<text x='{_LEFT - 6}' y='{y}' font-size='11' text-anchor='end' fill='#333'>"
            f"{escaped(name)}</text>"
        )


def _path(spans: Sequence[TokenSpan], row_of: dict[int, int], top: int) -> Iterator[str]:
    boxes = "".join(
        f"M{_x(span.start)} {top + row_of[span.token] * _ROW}h{(span.end - span.start) * _FRAME}"
        f"v{_ROW}H{_x(span.start)}z"
        for span in spans
    )
    yield f"<path d='{boxes}' fill='none' stroke='#e8590c' stroke-width='1.5'/>"


def _word_boxes(
    transcript: Transcript, emissions: Emissions, top: int, map_top: int
) -> Iterator[str]:
    clock = emissions.clock
    for word in _words(transcript):
        start, end = clock.frame(word.start), clock.frame(word.end)
        x, width = _x(start), max(2.0, round((end - start) * _FRAME, 1))
        hint = f"{word.text} · {word.start:.2f} to {word.end:.2f} s · score {word.score:.2f}"
        edge = "#b00020" if not word.ok else "#889"
        yield (
            f"<g><title>{escaped(hint)}</title>"
            f"<path d='M{x} {map_top}V{top}M{x + width} {map_top}V{top}' stroke='#bbb' "
            "stroke-dasharray='2 3'/>"
            f"<rect x='{x}' y='{top}' width='{width}' height='{_WORDS - 12}' rx='3' "
            f"fill='{_color(word)}' stroke='{edge}'/>"
            f"<text x='{x + width / 2:.1f}' y='{top + 15}' font-size='11' text-anchor='middle'>"
            f"{escaped(word.text)}</text></g>"
        )


def _words(transcript: Transcript) -> Iterator[Word]:
    for segment in transcript.segments:
        yield from segment.words or (
            Word(segment.text, segment.start, segment.end, segment.score or 0.0),
        )


def _color(word: Word) -> str:
    """From red to green with the score; grey where it has none."""
    return f"hsl({120 * word.score:.0f},70%,82%)" if word.aligned else "#ddd"


def _axis(emissions: Emissions, num_frames: int, top: int) -> Iterator[str]:
    clock = emissions.clock
    first = int(np.ceil(clock.offset))
    for second in range(first, int(clock.seconds(num_frames)) + 1):
        x = _x(clock.frame(second))
        yield (
            f"<path d='M{x} {top - 8}v6' stroke='#333'/>"
            f"<text x='{x}' y='{top + 10}' font-size='10' text-anchor='middle' fill='#333'>"
            f"{second} s</text>"
        )
