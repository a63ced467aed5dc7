"""A known text onto its audio: when each word was said, and whether it was said at all.

The whole text is aligned with the whole audio in one search, however long both are.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asrkit.audio import Chunk
from asrkit.batch import behind
from asrkit.ctc import Emissions, FrameClock
from asrkit.ctc.align import forced_align, with_wildcards
from asrkit.errors import AsrkitError, InputError
from asrkit.formats import read_segments
from asrkit.inputs import FailedInput
from asrkit.models.runtime import num_free_threads
from asrkit.options import AlignOptions, ModelOptions
from asrkit.segmentation import place_words
from asrkit.spelling import GAP, STAR, SpelledWord, Speller, lay_out
from asrkit.tasks.calls import divide_options
from asrkit.tasks.chunking import Chunking, loudness
from asrkit.tasks.plausibility import Judge
from asrkit.tasks.recognizer import Recognizer
from asrkit.text import CTCVocabulary
from asrkit.types import (
    Audio,
    AudioInput,
    Character,
    Segment,
    TokenSpan,
    Transcript,
    Word,
)

# A frame of star costs this much, so that letters win where they fit and silence stays outside.
_STAR_COST = 0.1
_LONGEST_WORD = 3.0  # seconds


@dataclass(frozen=True)
class TextOf:
    """An input and the text that is said in it.

    Attributes:
        audio: what to read.
        segments: the text; times that it has are not used.
        path: the file that the text came from, "" if from none.
    """

    audio: AudioInput | Audio
    segments: tuple[Segment, ...]
    path: str = ""


@dataclass(frozen=True)
class Alignment:
    """A text on its audio, with what a picture of it needs.

    Attributes:
        transcript: the result.
        emissions: of the whole input, with the columns star and gap at the end.
        labels: (V + 2,) what each column of the emissions stands for.
        blank: index of the blank.
        spans: tokens of the path in time order; columns of the emissions.
        envelope: (F,) the loudest sample of each frame; empty if nobody asked for a picture.
        cost_per_letter: the measure that the checks use, in nats.
    """

    transcript: Transcript
    emissions: Emissions
    labels: tuple[str, ...]
    blank: int
    spans: tuple[TokenSpan, ...]
    envelope: NDArray[np.float32]
    cost_per_letter: float


def align(
    audio: Any, text: Any, model: str | Recognizer | None = None, **options: Any
) -> Transcript:
    """Find when each word of a known text was said.

    Args:
        audio: a path or an `Audio`.
        text: the text, whose lines become segments; or a `Path` to a file of it (plain text,
            subtitles, JSON of asrkit); or lines; or a `Transcript`.
        model: Hub id, directory, embedded model, or a loaded `Recognizer`; None takes the
            embedded demo model.
        **options: fields of `AlignOptions`, and of `ModelOptions` when `model` is a name.

    Returns:
        Every line as a segment and every word once, in order, with start, end and score. Its
        `warnings` say what makes it doubtful.

    Raises:
        AsrkitError: the model cannot be loaded, the audio cannot be read, or the text cannot fit.
    """
    checked, of_model = divide_options("align", AlignOptions, options)
    if not isinstance(model, Recognizer):
        model = Recognizer.load(ModelOptions(model or ModelOptions.model, **of_model))
    item = audio if isinstance(audio, Audio) else AudioInput(os.fspath(audio))
    (result,) = align_stream([TextOf(item, _segments_of(text))], model, checked)
    if isinstance(result, FailedInput):
        raise result.error
    return result


def align_stream(
    inputs: Iterable[TextOf | FailedInput],
    recognizer: Recognizer,
    options: AlignOptions,
    *,
    on_progress: Callable[[float], None] | None = None,
    on_alignment: Callable[[Alignment], None] | None = None,
) -> Iterator[Transcript | FailedInput]:
    """Align inputs one after another; few at a time are in memory, as scores and not as sound.

    Args:
        inputs: what to read and what is said there; a failed one passes through in its place.
        recognizer: the model.
        options: how to align.
        on_progress: called with the seconds of audio of every batch that is done.
        on_alignment: called with all that a picture of each result needs.

    Returns:
        One result an input, in order, as soon as it is complete.
    """
    chunking = Chunking.of(recognizer, options)
    texts: deque[TextOf | FailedInput] = deque()

    def audios() -> Iterator[AudioInput | Audio | FailedInput]:
        for item in inputs:
            texts.append(item)
            yield item.audio if isinstance(item, TextOf) else item

    def run(
        chunks: Sequence[Chunk], values: Sequence[NDArray[np.float32]]
    ) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        scores = chunking.score(recognizer, chunks, values)
        return list(zip(scores, map(envelope, chunks), strict=True))

    def envelope(chunk: Chunk) -> NDArray[np.float32]:
        if on_alignment is None:
            return np.zeros(0, np.float32)
        own = chunk.samples[chunk.left : len(chunk.samples) - chunk.right]
        return loudness(own, chunking.samples_per_frame)

    def finish(
        pair: tuple[TextOf | FailedInput, tuple[AudioInput | Audio, list[Any], int] | FailedInput],
    ) -> Transcript | FailedInput:
        text, result = pair
        if isinstance(result, FailedInput) or isinstance(text, FailedInput):
            assert isinstance(result, FailedInput)  # for the type checker: it is the same one
            return result
        item, parts, num_samples = result
        scores = np.concatenate([part for part, _ in parts])
        emissions = Emissions(scores, chunking.clock(item, num_samples))
        try:
            alignment = align_emissions(emissions, text.segments, recognizer.vocabulary, options)
        except AsrkitError as error:
            return FailedInput(item.source, error.about(item.source), item.id)
        transcript = replace(
            alignment.transcript,
            source=item.source,
            duration=round(num_samples / chunking.sample_rate, 3),
            id=item.id,
            offset=item.offset,
            model=recognizer.info,
        )
        if on_alignment is not None:
            heard = np.concatenate([part for _, part in parts])
            on_alignment(replace(alignment, transcript=transcript, envelope=heard))
        return transcript

    scored = chunking.map_inputs(run, audios(), on_progress=on_progress)
    pairs = ((texts.popleft(), result) if result else None for result in scored)
    return behind(finish, pairs, num_threads=num_free_threads(recognizer.model))


def align_emissions(
    emissions: Emissions,
    segments: Sequence[Segment],
    vocabulary: CTCVocabulary,
    options: AlignOptions,
) -> Alignment:
    """Align a text with the scores of a whole input.

    Args:
        emissions: (F, V) of the model, with the clock of the input.
        segments: the text; blank ones are dropped.
        vocabulary: of the model.
        options: how to align; those about chunks are not used.

    Returns:
        The alignment, its transcript without the name of a source.

    Raises:
        InputError: the text says nothing, is longer than the audio can hold, or holds an unknown
            character where that is to be an error.
    """
    log_probs = emissions.log_probs
    num_frames, width = log_probs.shape
    speller = Speller(vocabulary, unknown=options.unknown, num_outputs=width)
    script = _Script.of(segments, speller, drop=options.unknown == "drop")
    tokens, owners = lay_out(script.words, star=options.star)
    if not any(owner >= 0 for owner in owners):
        raise InputError(
            "the text holds no word that the model could hear",
            hint="is it in the script of the model's language?",
        )
    columns = {STAR: width, GAP: width + 1}
    known = vocabulary.tokens[:width]
    word_delimiter = vocabulary.word_delimiter
    has_delimiter = word_delimiter is not None and word_delimiter in known
    delimiter = known.index(word_delimiter) if has_delimiter else None
    scores = with_wildcards(log_probs, blank=vocabulary.blank, delimiter=delimiter, cost=_STAR_COST)
    spans = forced_align(scores, [columns.get(t, t) for t in tokens], vocabulary.blank)

    timed = _Timing(script, spans, owners, columns, num_frames).words()
    judge = Judge(scores, spans, blank=vocabulary.blank, delimiter=delimiter)
    result = _segments(script, timed, emissions.clock, num_frames, judge, options)
    is_wrong = judge.doubts(0, num_frames)
    transcript = Transcript(
        source="",
        duration=0.0,
        text=" ".join(segment.text for segment in result),
        segments=tuple(_at_level(segment, options.level) for segment in result),
        options={**options.in_results(), "decoder": "align", "stride": options.context},
        warnings=tuple(_warnings(result, is_wrong=is_wrong)),
    )
    labels = (*(vocabulary.token(index) for index in range(width)), "*", " ")
    return Alignment(
        transcript,
        Emissions(scores, emissions.clock),
        labels,
        vocabulary.blank,
        tuple(spans),
        np.zeros(0, np.float32),
        judge.cost_per_letter(0, num_frames),
    )


def _segments_of(text: Any) -> tuple[Segment, ...]:
    if isinstance(text, Transcript):
        return text.segments or (Segment(text.text, 0.0, 0.0),)
    if isinstance(text, Path):
        return read_segments(text)
    lines = text.splitlines() if isinstance(text, str) else list(text)
    return tuple(
        line if isinstance(line, Segment) else Segment(" ".join(line.split()), 0.0, 0.0)
        for line in lines
    )


# ------------------------------------------------------------------------------- words and times


@dataclass(frozen=True)
class _Script:
    """The text, spelled.

    Attributes:
        segments: those that say something.
        words: of each segment.
    """

    segments: tuple[Segment, ...]
    words: tuple[tuple[SpelledWord, ...], ...]

    @classmethod
    def of(cls, segments: Sequence[Segment], speller: Speller, *, drop: bool) -> _Script:
        kept = []
        for segment in segments:
            words = tuple(speller(word) for word in segment.text.split())
            if drop:
                words = tuple(word for word in words if word.tokens or word.is_silent)
            if words:
                kept.append((segment, words))
        return cls(tuple(item[0] for item in kept), tuple(item[1] for item in kept))


@dataclass(frozen=True)
class _TimedWord:
    """A word in frames, which may be fractions where words share a star."""

    word: SpelledWord
    start: float
    end: float
    score: float
    pieces: tuple[tuple[str, int, int, float], ...]


class _Timing:
    """Frames of every word of a script, also of those that have no tokens of their own."""

    def __init__(
        self,
        script: _Script,
        spans: Sequence[TokenSpan],
        owners: Sequence[int],
        columns: Mapping[int, int],
        num_frames: int,
    ) -> None:
        self._words = [word for words in script.words for word in words]
        self._star = columns[STAR]
        self._spans: dict[int, list[TokenSpan]] = {}
        for span, owner in zip(spans, owners, strict=True):
            if owner >= 0:
                self._spans.setdefault(owner, []).append(span)
        self._edges = (
            spans[0].end if owners[0] == -1 else 0,
            spans[-1].start if owners[-1] == -1 else num_frames,
        )

    def words(self) -> list[_TimedWord]:
        """All of them, in order."""
        timed: list[_TimedWord] = []
        for has_tokens, numbers in groupby(range(len(self._words)), self._spans.__contains__):
            run = list(numbers)
            if has_tokens:
                timed += (self._own(number) for number in run)
            else:
                self._fill(timed, run)
        return timed

    def _own(self, number: int) -> _TimedWord:
        word, spans = self._words[number], self._spans[number]
        pieces = []
        items = [
            (piece, span)
            for piece, span in zip(word.pieces, spans, strict=True)
            if piece[1]  # a gap inside the word spells nothing
        ]
        for (_, text), group in groupby(items, key=lambda item: item[0]):
            parts = [span for _, span in group]
            pieces.append((text, parts[0].start, parts[-1].end, self._score(parts)))
        return _TimedWord(word, spans[0].start, spans[-1].end, self._score(spans), tuple(pieces))

    def _score(self, spans: Sequence[TokenSpan]) -> float:
        """The geometric mean over the frames of letters, 0 if there is none."""
        own = [span for span in spans if span.token < self._star]
        if not own or min(span.score for span in own) <= 0:
            return 0.0
        frames = [span.end - span.start for span in own]
        return float(np.exp(np.average(np.log([span.score for span in own]), weights=frames)))

    def _fill(self, timed: list[_TimedWord], run: Sequence[int]) -> None:
        """Times for words without tokens of their own, between their neighbours.

        Those that follow a word of only a star share its time with it; punctuation gets no time;
        what remains divides the silence by length of text.
        """
        words = [self._words[number] for number in run]
        start: float = timed[-1].end if timed else self._edges[0]
        following = run[-1] + 1
        is_last = following not in self._spans
        end: float = self._edges[1] if is_last else self._spans[following][0].start
        if timed and timed[-1].word.tokens == (STAR,):
            first = timed.pop()
            words, start, end = [first.word, *words], first.start, first.end
        sizes = [0 if word.is_silent else len(word.text) for word in words]
        # All on the left if nothing is heard: punctuation belongs to the word before it.
        borders = start + np.cumsum([0, *sizes]) / max(sum(sizes), 1) * (max(end, start) - start)
        for word, low, high in zip(words, borders[:-1].tolist(), borders[1:].tolist(), strict=True):
            timed.append(_TimedWord(word, low, high, 0.0, ()))


def _segments(
    script: _Script,
    timed: Sequence[_TimedWord],
    clock: FrameClock,
    num_frames: int,
    judge: Judge,
    options: AlignOptions,
) -> list[Segment]:
    """Words in seconds, in the segments of the script."""
    words = place_words(
        [_word(item, clock) for item in _with_tails(timed, clock, options.tail, num_frames)],
        duration=max(0.0, min(clock.end, 1e9) - clock.offset),
        offset=clock.offset,
    )
    segments = []
    index = 0
    bounds = _bounds(script, timed, num_frames)
    for segment, spelled, (first, end) in zip(script.segments, script.words, bounds, strict=True):
        own = tuple(_marked(word, options) for word in words[index : index + len(spelled)])
        scores = [word.score for word in own if word.aligned]
        score = round(fmean(scores), 4) if scores else 0.0
        is_low = options.min_score is not None and score < options.min_score and bool(scores)
        segments.append(
            Segment(
                text=" ".join(word.text for word in own),
                start=own[0].start,
                end=own[-1].end,
                score=score,
                words=own,
                lines=segment.lines,
                ok=not is_low and not judge.doubts(first, end),
            )
        )
        index += len(spelled)
    return segments


def _with_tails(
    timed: Sequence[_TimedWord], clock: FrameClock, tail: float, num_frames: int
) -> Iterator[_TimedWord]:
    """Words of letters with the sound after their last spike, up to the next word."""
    tail_frames = tail * clock.frames_per_second
    starts = [item.start for item in timed[1:]]
    for item, following in zip(timed, [*starts, num_frames], strict=True):
        if item.pieces and item.word.tokens[-1] != STAR:
            yield replace(item, end=max(item.end, min(item.end + tail_frames, following)))
        else:
            yield item


def _word(item: _TimedWord, clock: FrameClock) -> Word:
    characters = tuple(
        Character(text, clock.seconds(start), clock.seconds(end), round(score, 4))
        for text, start, end, score in item.pieces
    )
    return Word(
        item.word.text,
        clock.seconds(item.start),
        clock.seconds(item.end),
        round(item.score, 4),
        characters,
        aligned=item.word.is_spelled,
    )


def _marked(word: Word, options: AlignOptions) -> Word:
    if options.min_score is None or not word.aligned or word.score >= options.min_score:
        return word
    return replace(word, ok=False)


def _at_level(segment: Segment, level: str) -> Segment:
    if level == "segment":
        return replace(segment, words=())
    if level == "word":
        return replace(segment, words=tuple(replace(w, characters=()) for w in segment.words))
    return segment


def _bounds(script: _Script, timed: Sequence[_TimedWord], num_frames: int) -> list[tuple[int, int]]:
    """The frames of each segment, up to the middle of the silence around it."""
    edges = [0]
    index = 0
    for words in script.words[:-1]:
        index += len(words)
        edges.append(max(edges[-1], round((timed[index - 1].end + timed[index].start) / 2)))
    return list(zip(edges, [*edges[1:], num_frames], strict=True))


def _warnings(segments: Sequence[Segment], *, is_wrong: bool) -> Iterator[str]:
    """What a user should know, as sentences."""
    doubtful = [segment for segment in segments if not segment.ok]
    num_doubtful = sum(len(segment.words) for segment in doubtful)
    num_words = sum(len(segment.words) for segment in segments)
    if is_wrong and (not doubtful or 2 * num_doubtful >= num_words):
        yield "the text does not seem to belong to this audio, or the model cannot hear it"
    elif doubtful:
        yield (
            f"{_number(doubtful, 'line')} of {len(segments)} not heard as written, the first at "
            f"{doubtful[0].start:.2f} s: {_quoted(doubtful[0].text)}"
        )
    words = [word for segment in segments for word in segment.words]
    long = [word for word in words if word.end - word.start > _LONGEST_WORD]
    if long:
        yield (
            f"{_number(long, 'word')} longer than {_LONGEST_WORD:g} s, the first at "
            f"{long[0].start:.2f} s: {_quoted(long[0].text)}"
        )
    lost = [word for word in words if not word.aligned and any(c.isalnum() for c in word.text)]
    if lost:
        yield (
            f"{_number(lost, 'word')} not aligned by their own letters, the first at "
            f"{lost[0].start:.2f} s: {_quoted(lost[0].text)}"
        )


def _number(items: Sequence[object], noun: str) -> str:
    return f"{len(items)} {noun}{'s' if len(items) != 1 else ''}"


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
