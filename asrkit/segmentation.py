"""Words to subtitles: where a segment ends, where a line breaks, which millisecond a cue gets.

Pauses cut speech into stretches. A stretch that fits into one subtitle stays whole; a longer one
is cut where the sum of two wishes is best: cut in pauses, and leave no subtitle nearly empty.
Breaking a segment into lines is the same problem with a simpler wish, so both use `_cut`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from statistics import fmean

from asrkit.options import SegmentOptions
from asrkit.types import Segment, Word

# A pause this long (seconds) is worth as much as the worst subtitle, an empty one, is bad.
_GOOD_PAUSE = 0.5


def split_segments(
    words: Sequence[Word], options: SegmentOptions, *, duration: float, offset: float = 0.0
) -> tuple[Segment, ...]:
    """Group words into segments that each fit on the screen as one subtitle.

    A pause longer than `max_pause` always ends a segment. What lies between two such pauses is
    one segment if it fits into `max_line_count` lines; otherwise it is cut, in its longer pauses
    and into parts of similar length. A word longer than a line is a segment of its own.

    Times are put on whole milliseconds, as `milliseconds` says; a word that this moves is
    replaced, and its characters are held inside it. Words already in order, apart and at whole
    milliseconds come back as the same objects.

    Args:
        words: in time order, in seconds of the source; one of blank text is dropped.
        options: the longest pause and the size of a subtitle.
        duration: seconds of audio.
        offset: where the audio begins in its source, in seconds.

    Returns:
        Segments in time order, never empty, never overlapping, each longer than zero and inside
        [offset, offset + duration], with its words and the mean of their scores.
    """
    words = place_words(
        [word for word in words if word.text.strip()], duration=duration, offset=offset
    )
    return tuple(
        _segment(stretch[start:end])
        for stretch in _stretches(words, options)
        for start, end in _cut_stretch(stretch, options)
    )


def place_words(words: Sequence[Word], *, duration: float, offset: float = 0.0) -> list[Word]:
    """Put words on whole milliseconds, as `milliseconds` says, their characters inside them."""
    spans = milliseconds(
        [(word.start, word.end) for word in words], duration=duration, offset=offset
    )
    return [
        _moved(word, start_ms / 1000, end_ms / 1000)
        for word, (start_ms, end_ms) in zip(words, spans, strict=True)
    ]


def wrap_lines(text: str, options: SegmentOptions) -> list[str]:
    """Break text into as few lines as possible, and those as equal in length as possible.

    Of two equally good ways the one with the shorter upper line is taken. Text that
    `split_segments` made never needs more than `max_line_count` lines; longer text gets more
    lines, not wider ones. Only a word longer than `max_line_width` makes a line that long.

    Args:
        text: any text; runs of white space count as one space.
        options: the width of a line in characters and its limit of words.

    Returns:
        Lines from top to bottom without line ends; empty if the text is blank.
    """
    tokens = text.split()
    lengths = [len(token) for token in tokens]
    before = [0, *accumulate(length + 1 for length in lengths)]
    line_cost = (before[-1] + 1) ** 2  # more than any balance can save

    return [
        " ".join(tokens[start:end])
        for start, end in _cut(
            len(tokens),
            reach=lambda start: _line_end(lengths, start, options),
            cost=lambda start, end: line_cost + (before[end] - before[start] - 1) ** 2,
        )
    ]


def milliseconds(
    spans: Sequence[tuple[float, float]], *, duration: float, offset: float = 0.0
) -> list[tuple[int, int]]:
    """Round spans to whole milliseconds so that they stay in order, apart and longer than zero.

    A start counts more than an end: where two spans overlap, the earlier one ends when the later
    one starts. A start moves only where it would leave [offset, offset + duration] or not lie
    after the start before it.

    Args:
        spans: (start, end) in seconds, in time order.
        duration: the length of what holds the spans, in seconds. Only one with fewer whole
            milliseconds than spans is exceeded.
        offset: where that begins, in seconds.

    Returns:
        (start, end) in milliseconds with start < end <= the next start.
    """
    first, last = round(offset * 1000), round((offset + duration) * 1000)
    first += first / 1000 < offset
    last -= last / 1000 > offset + duration

    starts: list[int] = []
    for start, _ in spans:
        starts.append(max(round(start * 1000), starts[-1] + 1 if starts else first))

    limit = max(last, first + len(spans))
    rounded = []
    for start_ms, (_, end) in zip(reversed(starts), reversed(spans), strict=True):
        end_ms = min(max(round(end * 1000), start_ms + 1), limit)
        limit = min(start_ms, end_ms - 1)
        rounded.append((limit, end_ms))
    return rounded[::-1]


def _moved(word: Word, start: float, end: float) -> Word:
    """The word with these times (seconds), its characters inside them."""
    if (word.start, word.end) == (start, end):
        return word
    characters = tuple(
        replace(
            character,
            start=round(min(max(character.start, start), end), 3),
            end=round(min(max(character.end, start), end), 3),
        )
        for character in word.characters
    )
    return replace(word, start=start, end=end, characters=characters)


def _pause(words: Sequence[Word], index: int) -> float:
    """Seconds of silence before a word that is not the first."""
    return round(words[index].start - words[index - 1].end, 3)


def _stretches(words: Sequence[Word], options: SegmentOptions) -> Iterator[Sequence[Word]]:
    """Runs of words without a pause longer than `max_pause`."""
    start = 0
    for index in range(1, len(words)):
        if _pause(words, index) > options.max_pause:
            yield words[start:index]
            start = index
    if words:
        yield words[start:]


def _cut_stretch(words: Sequence[Word], options: SegmentOptions) -> list[tuple[int, int]]:
    """Where to cut a stretch: its best (start, end) indices, half open.

    A part costs the square of its unused share, so that equal parts are best and a lonely word is
    worst; a cut earns its pause in units of `_GOOD_PAUSE`, at most 1.
    """
    lengths = [len(word.text) for word in words]
    if _segment_end(lengths, 0, options) == len(words):
        return [(0, len(words))]

    before = [0, *accumulate(length + 1 for length in lengths)]
    max_characters = options.max_line_width * options.max_line_count
    max_words = (options.max_words_per_line or len(words)) * options.max_line_count

    def cost(start: int, end: int) -> float:
        num_characters = before[end] - before[start] - 1
        unused = 1 - max(num_characters / max_characters, (end - start) / max_words)
        gain = min(_pause(words, start) / _GOOD_PAUSE, 1.0) if start else 0.0
        return unused**2 - gain

    return _cut(len(words), reach=lambda start: _segment_end(lengths, start, options), cost=cost)


def _segment(words: Sequence[Word]) -> Segment:
    return Segment(
        text=" ".join(" ".join(word.text for word in words).split()),
        start=words[0].start,
        end=words[-1].end,
        score=round(fmean(word.score for word in words), 4),
        words=tuple(words),
    )


def _line_end(lengths: Sequence[int], start: int, options: SegmentOptions) -> int:
    """One past the last word that fits on a line with word `start`, which always does."""
    last = min(len(lengths), start + (options.max_words_per_line or len(lengths)))
    width, end = lengths[start], start + 1
    while end < last and width + 1 + lengths[end] <= options.max_line_width:
        width += 1 + lengths[end]
        end += 1
    return end


def _segment_end(lengths: Sequence[int], start: int, options: SegmentOptions) -> int:
    """One past the last word that fits into a segment with word `start`, which always does."""
    end = start
    for _ in range(options.max_line_count):
        if end == len(lengths) or lengths[end] > options.max_line_width:
            break
        end = _line_end(lengths, end, options)
    return max(end, start + 1)


def _cut(
    count: int, *, reach: Callable[[int], int], cost: Callable[[int, int], float]
) -> list[tuple[int, int]]:
    """Cut `range(count)` into consecutive parts of least total cost, the first ones short on ties.

    Args:
        count: how many items.
        reach: the largest end a part that starts here may have; every smaller one is allowed too.
        cost: of the part from start to end.

    Returns:
        (start, end) of the parts in order, half open.

    Source: Knuth and Plass 1981, Breaking Paragraphs into Lines (the dynamic program).
    """
    best: list[tuple[float, int]] = [(0, count)] * (count + 1)  # (cost of the rest, next end)
    for start in reversed(range(count)):
        ends = range(start + 1, reach(start) + 1)
        best[start] = min((cost(start, end) + best[end][0], end) for end in ends)

    parts = []
    start = 0
    while start < count:
        end = best[start][1]
        parts.append((start, end))
        start = end
    return parts
