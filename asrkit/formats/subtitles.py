"""Subtitles: SubRip, WebVTT, Advanced SubStation karaoke, and lyrics."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from html import escape, unescape
from itertools import accumulate, pairwise

from asrkit.errors import InputError
from asrkit.formats.fields import one_line, speaker_of
from asrkit.formats.reading import clock, cue, finite, stamped_words, transcript_of
from asrkit.formats.registry import FORMATS
from asrkit.formats.times import timed_segments
from asrkit.options import SegmentOptions
from asrkit.segmentation import wrap_lines
from asrkit.types import Segment, Transcript, Word

# What players take for markup of SubRip, which has no escapes
_SRT_MARKUP = re.compile(r"<(?=/?(?:i|b|u|s|font|c|v)\b)|-->|\{(?=\\)", re.IGNORECASE)
_HARMLESS = {"<": "‹", "-->": "→", "{": "｛"}
_LRC_STAMP = re.compile(r"\[(?=\d+:\d)|<(?=\d+:\d)")

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
    r"""SubRip: numbered cues with times in milliseconds. Silence is an empty file.

    SubRip has no escapes: what players take for markup gets other brackets, `‹i>` and `｛\an8}`,
    and an arrow becomes the one character `→`.
    """

    def protect(line: str) -> str:
        return _SRT_MARKUP.sub(lambda match: _HARMLESS[match[0]], line)

    cues = _cues(transcript, options, point=",", protect=protect)
    return "\n".join(f"{number}\n{cue}" for number, cue in enumerate(cues, start=1))


@FORMATS.writer("vtt", needs_times=True)
def write_vtt(transcript: Transcript, options: SegmentOptions) -> str:
    """WebVTT: cues with times in milliseconds, and who speaks. Silence is the header alone."""

    def protect(line: str) -> str:
        return escape(line, quote=False)

    def voice(segment: Segment) -> str:
        name = speaker_of(segment)
        return f"<v {protect(name)}>" if name else ""

    cues = _cues(transcript, options, point=".", protect=protect, voice=voice)
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
        times = f"{_short_clock(start_cs)},{_short_clock(end_cs)}"
        name = speaker_of(segment).replace(",", "，")
        events.append(f"Dialogue: 0,{times},Default,{name},0,0,0,,{text}\n")
    return _ASS_HEADER + "".join(events)


@FORMATS.writer("lrc", needs_times=True)
def write_lrc(transcript: Transcript, options: SegmentOptions) -> str:
    """Lyrics: `[minutes:seconds]` before each segment, the same before its translation.

    A line without text, as players know it, ends a segment before the next begins. What looks like
    such a time in a text gets other brackets.
    """
    lines = []
    silent = 0  # where the last segment ends, in hundredths
    last = -1
    for start_ms, end_ms, segment in timed_segments(transcript):
        start = max(start_ms // 10, last + 1)
        if last >= 0 and last < silent < start:
            lines.append(f"{_stamp(silent)}\n")
        last, silent = start, max(end_ms // 10, start + 1)
        for text in filter(None, (segment.source_text, segment.text)):
            safe = _LRC_STAMP.sub(lambda match: "［‹"[match[0] == "<"], one_line(text))
            lines.append(f"{_stamp(start)}{safe}\n")
    return "".join([*lines, f"{_stamp(silent)}\n"] if lines else [])


def _stamp(time_cs: int) -> str:
    minutes, rest = divmod(time_cs, 6000)
    return f"[{minutes:02}:{rest // 100:02}.{rest % 100:02}]"


def _lines(segment: Segment, options: SegmentOptions) -> Sequence[str]:
    """The lines of the source where it had some, else those that look best.

    What was said stands above its translation.
    """
    own = [" ".join(line.split()) for line in segment.lines]
    said = wrap_lines(segment.source_text or "", options)
    return [*said, *([line for line in own if line] or wrap_lines(segment.text, options))]


def _karaoke(segment: Segment, start_cs: int, end_cs: int) -> str:
    """Words, each after the hundredths of a second until the next one lights up."""
    words = [word for word in segment.words if word.text.strip()]
    starts = [min(max(round(word.start * 100), start_cs), end_cs) for word in words]
    starts = [*accumulate(starts, max), end_cs]
    lead = f"{{\\k{starts[0] - start_cs}}}" if words and starts[0] > start_cs else ""
    parts = [
        f"{{\\k{end - start}}}{_plain_ass(word.text)}"
        for word, (start, end) in zip(words, pairwise(starts), strict=True)
    ]
    return lead + " ".join(parts)


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
    transcript: Transcript,
    options: SegmentOptions,
    *,
    point: str,
    protect: Callable[[str], str],
    voice: Callable[[Segment], str] = lambda segment: "",
) -> list[str]:
    """A line of times and the wrapped, escaped text of each segment.

    Args:
        transcript: what was said.
        options: the size of a subtitle.
        point: between seconds and milliseconds.
        protect: makes one line of text safe.
        voice: what stands before the text.
    """
    return [
        f"{_clock(start_ms, point)} --> {_clock(end_ms, point)}\n{voice(segment)}"
        + "".join(f"{protect(line)}\n" for line in _lines(segment, options))
        for start_ms, end_ms, segment in timed_segments(transcript)
    ]


def _clock(time_ms: int, point: str) -> str:
    """HH:MM:SS and milliseconds; the hours grow beyond two digits where they must."""
    seconds, thousandths = divmod(time_ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{thousandths:03}"


# --------------------------------------------------------------------------------------- readers

_TIME = r"(?:(\d{1,9}):)?(\d{1,9}):(\d{1,9})[.,](\d{1,9})"
_TIMES = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}")
_TAG = re.compile(r"<[^<>]*>")
_VOICE = re.compile(r"<v[.\w]*[ \t]([^<>]+)>")
_INNER_TIME = re.compile(rf"<{_TIME}>")
_SRT_TAG = re.compile(r"</?(?:i|b|u|s|font|c|v)\b[^<>]*>", re.IGNORECASE)
_COMMAND = re.compile(r"\{[^{}]*\}")
_SRT_COMMAND = re.compile(r"\{\\[^{}]*\}")
_DRAWING = re.compile(r"\\p[1-9]")
_KARAOKE = re.compile(r"\\[kK][fo]?(\d{1,9})")
_ASS_TIME = re.compile(r"\s*(\d{1,9}):(\d{1,9}):(\d{1,9})[.:](\d{1,9})\s*")
_ASS_COLUMNS = "Layer Start End Style Name MarginL MarginR MarginV Effect Text".split()
_LYRIC = re.compile(r"\[(\d{1,9}):(\d{1,9})(?:[.:](\d{1,9}))?\]")
_LYRIC_WORD = re.compile(r"<(\d{1,9}):(\d{1,9})(?:[.:](\d{1,9}))?>")
_LYRIC_TAG = re.compile(r"\s*\[(offset|length):([^\]]*)\]\s*", re.IGNORECASE)
_MAX_REPEATS = 100  # of a line of lyrics
_LAST_LYRIC = 5.0  # seconds of a last line whose end nothing tells


@FORMATS.reader("srt", holds="text segments")
def read_srt(text: str) -> list[Transcript]:
    """Cues of SubRip. A blank line inside a cue does not end it; the number of the next one does.

    Raises:
        InputError: there is text but no line of times, or one is broken.
    """
    lines = text.splitlines()
    cues = []
    marks = [*_time_lines(lines), (len(lines), 0.0, 0.0)]
    for (line, start, end), (following, _, _) in pairwise(marks):
        body = [item.strip() for item in lines[line + 1 : following]]
        if following < len(lines) and body and body[-1].isdecimal():
            body.pop()
        shown = [_SRT_COMMAND.sub("", _SRT_TAG.sub("", item)) for item in body]
        cues.append(cue(shown, start, end))
    return _not_nothing(cues, text, "hours:minutes:seconds,milliseconds --> ...")


@FORMATS.reader("vtt", holds="text segments speakers")
def read_vtt(text: str) -> list[Transcript]:
    """Cues of WebVTT, with words where there are times inside; notes and styles are passed over.

    A line that stays from the cue before it, as in files of YouTube, is said once.

    Raises:
        InputError: there is text after the header but no line of times, or one is broken.
    """
    lines = text.splitlines()
    cues: list[Segment] = []
    is_rolling = _INNER_TIME.search(text) is not None
    before: set[str] = set()
    marks = [*_time_lines(lines), (len(lines), 0.0, 0.0)]
    for (line, start, end), (following, _, _) in pairwise(marks):
        body: list[str] = []
        for item in lines[line + 1 : following]:
            if not item.strip() and (body or not item):
                break
            body += [item] if item.strip() else []
        if is_rolling:
            shown = [_TAG.sub("", item) for item in body]
            body = [
                item
                for item, plain in zip(body, shown, strict=True)
                if plain not in before or _INNER_TIME.search(item)
            ]
            before = set(shown)
        voices = {unescape(name).strip() for name in _VOICE.findall("\n".join(body))}
        cues.append(
            cue(
                [unescape(_TAG.sub("", item)) for item in body],
                start,
                end,
                words=_inner_words("\n".join(body), start, end),
                speaker=(voices.pop() or None) if len(voices) == 1 else None,
            )
        )
    rest = text.lstrip().removeprefix("WEBVTT")
    return _not_nothing(cues, rest, "minutes:seconds.milliseconds --> ...")


@FORMATS.reader("ass", ".ssa", holds="text segments words speakers")
def read_ass(text: str) -> list[Transcript]:
    """Dialogue of Advanced SubStation, without comments, drawings and commands but karaoke.

    Raises:
        InputError: there is text but no [Events].
    """
    columns = _ASS_COLUMNS
    cues = []
    in_events = has_events = False
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith("["):
            in_events = line.strip().lower() == "[events]"
            has_events = has_events or in_events
        kind, _, rest = line.partition(":")
        if not in_events or kind.strip() not in ("Format", "Dialogue"):
            continue
        if kind.strip() == "Format":
            columns = [name.strip() for name in rest.split(",")]
            continue
        cells = dict(zip(columns, rest.split(",", len(columns) - 1), strict=False))
        times = [_ASS_TIME.fullmatch(cells.get(name, "")) for name in ("Start", "End")]
        shown = cells.get("Text", "")
        if times[0] is None or times[1] is None:
            raise InputError(f"line {number}: dialogue without times, expected h:mm:ss.cc")
        if _DRAWING.search(shown):
            continue
        start, end = (clock(match.groups(), f"line {number}") for match in times if match)
        plain = shown.replace("\\h", " ").replace("\\n", "\\N")
        cues.append(
            cue(
                map(_said_ass, _COMMAND.sub("", plain).split("\\N")),
                start,
                end,
                words=_karaoke_words(plain, start, end),
                speaker=cells.get("Name", cells.get("Actor", "")).strip() or None,
            )
        )
    if has_events:
        return [transcript_of(cues)]
    return _not_nothing(cues, text, "Dialogue: lines under [Events]")


@FORMATS.reader("lrc", holds="text segments")
def read_lrc(text: str) -> list[Transcript]:
    """Lyrics, with words where there are times inside. A line lasts until the next begins.

    Of two lines of one time the second is the translation.

    Raises:
        InputError: there is text but no time.
    """
    tags = {"offset": "0", "length": ""}
    stamped: dict[float, list[str]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        tag = _LYRIC_TAG.fullmatch(line)
        if tag:
            tags[tag[1].lower()] = tag[2]
        rest = line.lstrip()
        times: list[float] = []
        while (match := _LYRIC.match(rest)) and len(times) < _MAX_REPEATS:
            times.append(clock((None, *match.groups()), f"line {number}"))
            rest = rest[match.end() :]
        for time in times:
            stamped.setdefault(time, []).append(rest)
    shift = finite(tags["offset"].strip() or 0, "offset") / 1000
    length = _LYRIC.match(f"[{tags['length'].strip()}]")
    final = clock((None, *length.groups()), "length") + shift if length else 0.0
    starts = sorted(stamped)
    if starts and final <= starts[-1]:
        final = starts[-1] + _LAST_LYRIC
    cues = [
        _lyric([line for line in stamped[start] if line.strip()], start, end, shift)
        for start, end in pairwise([*starts, final])
    ]
    return _not_nothing(cues, text, "[minutes:seconds] before lines")


def _lyric(lines: Sequence[str], start: float, end: float, shift: float) -> Segment:
    """What is sung from a time on; `shift` is subtracted from it."""
    start, end = (round(max(time - shift, 0.0), 3) for time in (start, end))
    *sources, said = lines or [""]
    pieces = [
        (round(max(time - shift, 0.0), 3), text)
        for time, text in _pieces(said, _LYRIC_WORD, start + shift)
    ]
    return Segment(
        one_line(_LYRIC_WORD.sub("", said)),
        start,
        end,
        words=stamped_words(pieces, end) if len(pieces) > 1 else (),
        source_text=one_line(_LYRIC_WORD.sub("", " ".join(sources))) if sources else None,
    )


def _pieces(text: str, stamp: re.Pattern[str], start: float) -> Iterator[tuple[float, str]]:
    """What stands between times inside a text, each with the time before it."""
    begin = 0
    for match in stamp.finditer(text):
        if begin or text[: match.start()].strip():
            yield start, text[begin : match.start()]
        groups = match.groups()
        start = clock(groups if len(groups) == 4 else (None, *groups), f"<{match[0]}>")
        begin = match.end()
    yield start, text[begin:]


def _inner_words(text: str, start: float, end: float) -> tuple[Word, ...]:
    """Words of a cue of WebVTT that has times inside."""
    pieces = list(_pieces(text, _INNER_TIME, start))
    if len(pieces) < 2:
        return ()
    return stamped_words([(time, unescape(_TAG.sub("", piece))) for time, piece in pieces], end)


def _karaoke_words(text: str, start: float, end: float) -> tuple[Word, ...]:
    """Words of a line of Advanced SubStation whose commands say how long each is lit."""
    pieces: list[tuple[float, str]] = []
    begin, time, until = 0, start, start
    for command in _COMMAND.finditer(text):
        pieces.append((time, text[begin : command.start()]))
        begin = command.end()
        for length in _KARAOKE.findall(command[0]):
            time, until = until, until + int(length) / 100
    if until == start:
        return ()
    pieces.append((time, text[begin:]))
    said = [(time, _said_ass(piece.replace("\\N", " "))) for time, piece in pieces if piece]
    return stamped_words(said, round(min(until, end), 3))


def _said_ass(text: str) -> str:
    """Text as `_plain_ass` had it; braces stay full-width."""
    return text.replace("\\\u2060", "\\")


def _time_lines(lines: Sequence[str]) -> Iterator[tuple[int, float, float]]:
    for index, line in enumerate(lines):
        times = _times(line, f"line {index + 1}")
        if times is not None:
            yield index, *times


def _times(line: str, place: str) -> tuple[float, float] | None:
    """Start and end of a line of times; None for a line of text.

    Raises:
        InputError: it begins like the one and goes on like the other.
    """
    if "-->" not in line:
        return None
    match = _TIMES.match(line)
    if match is not None:
        groups = match.groups()
        return clock(groups[:4], place), clock(groups[4:], place)
    if re.match(r"\s*-?\d+:\d", line):
        raise InputError(f"{place}: {line.strip()[:40]!r} is not start --> end")
    return None


def _not_nothing(cues: list[Segment], text: str, expected: str) -> list[Transcript]:
    if not cues and text.strip():
        raise InputError(f"no subtitles found, expected {expected}")
    return [transcript_of(cues)]
