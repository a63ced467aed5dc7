"""Subtitles: SubRip, WebVTT, Advanced SubStation karaoke, and lyrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from asrkit.formats.registry import FORMATS
from asrkit.formats.times import timed_segments
from asrkit.options import SegmentOptions
from asrkit.segmentation import wrap_lines
from asrkit.types import Segment, Transcript

_ASS_HEADER = """\
[Script Info]
ScriptType: v4.00+
WrapStyle: 0
ScaledBorderAndShadow: yes
PlayResX: 1280
PlayResY: 720

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, \
Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, \
Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,48,&H0000FFFF,&H00FFFFFF,&H00000000,&H80000000,0,0,0,0,100,100,0,0,1,2,1,2,\
40,40,40,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


@FORMATS.writer("srt", needs_times=True)
def write_srt(transcript: Transcript, options: SegmentOptions) -> str:
    """SubRip: numbered cues with times in milliseconds. Silence is an empty file.

    SubRip has no escapes: an arrow in the text, which players take for a line of times, becomes
    the one character `→`.
    """
    cues = _cues(transcript, options, point=",", protect=lambda line: line.replace("-->", "→"))
    return "\n".join(f"{number}\n{cue}" for number, cue in enumerate(cues, start=1))


@FORMATS.writer("vtt", needs_times=True)
def write_vtt(transcript: Transcript, options: SegmentOptions) -> str:
    """WebVTT: cues with times in milliseconds. Silence is the header alone."""
    cues = _cues(transcript, options, point=".", protect=lambda line: escape(line, quote=False))
    return "\n".join(["WEBVTT\n", *cues])


@FORMATS.writer("ass", needs_times=True)
def write_ass(transcript: Transcript, options: SegmentOptions) -> str:
    """Advanced SubStation: each word lights up when it is said, where there are words.

    The format has no escapes: braces, which hold commands, become ｛ and ｝, and a backslash is
    followed by a word joiner.
    """
    events = []
    for start_ms, end_ms, segment in timed_segments(transcript):
        start_cs, end_cs = start_ms // 10, max(-(-end_ms // 10), start_ms // 10 + 1)
        text = _karaoke(segment, start_cs, end_cs) or "\\N".join(
            _plain_ass(line) for line in _lines(segment, options)
        )
        events.append(
            f"Dialogue: 0,{_short_clock(start_cs)},{_short_clock(end_cs)},Default,,0,0,0,,{text}\n"
        )
    return _ASS_HEADER + "".join(events)


@FORMATS.writer("lrc", needs_times=True)
def write_lrc(transcript: Transcript, options: SegmentOptions) -> str:
    """Lyrics: `[minutes:seconds]` before each segment, the same before its translation."""
    lines = []
    for start_ms, _, segment in timed_segments(transcript):
        minutes, rest = divmod(start_ms // 10, 6000)
        time = f"[{minutes:02}:{rest // 100:02}.{rest % 100:02}]"
        for text in filter(None, (segment.source_text, segment.text)):
            lines.append(f"{time}{' '.join(text.split())}\n")
    return "".join(lines)


def _lines(segment: Segment, options: SegmentOptions) -> Sequence[str]:
    """The lines of the source where it had some, else those that look best.

    What was said stands above its translation.
    """
    own = [" ".join(line.split()) for line in segment.lines]
    said = wrap_lines(segment.source_text or "", options)
    return [*said, *([line for line in own if line] or wrap_lines(segment.text, options))]


def _karaoke(segment: Segment, start_cs: int, end_cs: int) -> str:
    """Words, each after the hundredths of a second until the next one lights up."""
    starts = [min(max(round(word.start * 100), start_cs), end_cs) for word in segment.words]
    ends = [*starts[1:], end_cs]
    parts = [
        f"{{\\k{max(0, end - start)}}}{_plain_ass(word.text)}"
        for word, start, end in zip(segment.words, [start_cs, *starts[1:]], ends, strict=False)
    ]
    return " ".join(parts)


def _plain_ass(text: str) -> str:
    text = " ".join(text.split()).replace("{", "｛").replace("}", "｝")
    return text.replace("\\", "\\\u2060")


def _short_clock(time_cs: int) -> str:
    """H:MM:SS and hundredths."""
    seconds, hundredths = divmod(time_cs, 100)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}.{hundredths:02}"


def _cues(
    transcript: Transcript, options: SegmentOptions, *, point: str, protect: Callable[[str], str]
) -> list[str]:
    """A line of times and the wrapped, escaped text of each segment.

    Args:
        transcript: what was said.
        options: the size of a subtitle.
        point: between seconds and milliseconds.
        protect: makes one line of text safe.
    """
    return [
        f"{_clock(start_ms, point)} --> {_clock(end_ms, point)}\n"
        + "".join(f"{protect(line)}\n" for line in _lines(segment, options))
        for start_ms, end_ms, segment in timed_segments(transcript)
    ]


def _clock(time_ms: int, point: str) -> str:
    """HH:MM:SS and milliseconds; the hours grow beyond two digits where they must."""
    seconds, thousandths = divmod(time_ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{thousandths:03}"
