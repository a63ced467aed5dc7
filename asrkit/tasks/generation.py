"""Audio to texts that an encoder-decoder writes: cut in pauses, write each piece, join.

The model hears a piece at a time and says no times, so a segment is what was heard in a piece. A
CTC model beside it can add to each what it hears in the same piece.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from heapq import nlargest
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asrkit.batch import map_in_batches
from asrkit.ctc import Emissions, FrameClock
from asrkit.errors import AudioError, UsageError
from asrkit.inputs import FailedInput
from asrkit.options import TranscribeOptions
from asrkit.pauses import Stretch, cut_at_pauses
from asrkit.segmentation import milliseconds, split_segments
from asrkit.seq2seq import GenerationSettings
from asrkit.tasks.chunking import Piece, batch_limits, read_pieces
from asrkit.tasks.generator import Generator
from asrkit.tasks.recognizer import Recognizer
from asrkit.types import Alternative, Audio, AudioInput, Segment, Transcript

_SHORTEST = 0.025  # seconds: one window of the front end
_IN_RESULTS = (  # what transcripts say of the search
    "num_beams max_length max_new_tokens min_length early_stopping length_penalty"
    " no_repeat_ngram_size forced_bos_token_id"
).split()


@dataclass(frozen=True)
class Listener:
    """A CTC model that hears the same pieces, and what a segment gains by it.

    Attributes:
        option: the name of the option that asked for it.
        recognizer: the model.
        complete: makes more of a segment with the emissions of its piece; also gives sentences on
            what makes the segment doubtful.
    """

    option: str
    recognizer: Recognizer
    complete: Callable[[Segment, Emissions], tuple[Segment, Sequence[str]]]


@dataclass(frozen=True)
class _Written:
    """What came of one piece."""

    texts: Sequence[Alternative]
    segments: tuple[Segment, ...]
    source_text: str | None
    warnings: Sequence[str]


def write_stream(
    inputs: Iterable[AudioInput | Audio | FailedInput],
    generator: Generator,
    options: TranscribeOptions,
    *,
    language: str | None = None,
    listener: Listener | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> Iterator[Transcript | FailedInput]:
    """Write the texts of inputs one after another, in bounded memory.

    Args:
        inputs: what to read; a failed one passes through in its place.
        generator: the model.
        options: how to cut and to write.
        language: code of the language to write; None is what the model's files say.
        listener: adds to every segment.
        on_progress: called with the seconds of audio of every batch that is done.

    Yields:
        One result an input, in order, as soon as it is complete.

    Raises:
        UsageError: the model does not write the language, or the listener hears another sample
            rate.
    """
    settings = generator.settings(options.generation, language)
    writer = _Writer(generator, options, settings, listener, on_progress)
    language = language or generator.vocabulary.target_language
    in_results = _in_results(options, settings, language, listener)
    rate = writer.sample_rate
    cut = partial(cut_at_pauses, length=writer.length, sample_rate=rate)
    written: list[_Written] = []
    num_samples = 0
    for piece, result in map_in_batches(
        writer,
        (
            piece
            for item in inputs
            for piece in read_pieces(item, cut, sample_rate=rate, channel=options.channel)
        ),
        length=writer.cost,
        prepare=writer.prepare,
        limits=batch_limits(generator.model, options, rate),
    ):
        if piece.chunk is not None:
            num_samples += piece.num_samples
            if result is not None:
                written.append(result)
            elif on_progress is not None:
                on_progress(piece.num_samples / rate)
            continue
        item = piece.item
        if isinstance(item, FailedInput):
            yield item
        elif num_samples < _SHORTEST * rate:
            error = AudioError(
                f"{item.source}: {1000 * num_samples / rate:.1f} ms of audio, expected at least "
                f"{1000 * _SHORTEST:.0f} ms, one window of the model"
            )
            yield FailedInput(item.source, error, item.id)
        else:
            texts = _best_texts([piece.texts for piece in written], options.generation.n_best)
            has_source = listener is not None and listener.option == "source_model"
            yield Transcript(
                source=item.source,
                duration=round(num_samples / rate, 3),
                text=texts[0].text,
                segments=tuple(segment for piece in written for segment in piece.segments),
                id=item.id,
                offset=item.offset,
                alternatives=tuple(texts) if written and options.generation.n_best > 1 else (),
                model=generator.info,
                options=in_results,
                warnings=tuple(sentence for piece in written for sentence in piece.warnings),
                source_text=_joined(piece.source_text or "" for piece in written)
                if has_source
                else None,
            )
        written, num_samples = [], 0


class _Writer:
    """Runs one batch of pieces."""

    def __init__(
        self,
        generator: Generator,
        options: TranscribeOptions,
        settings: GenerationSettings,
        listener: Listener | None,
        on_progress: Callable[[float], None] | None,
    ) -> None:
        self.sample_rate = generator.frontend.sample_rate
        self.length = round(options.chunk_length * self.sample_rate)
        self._generator = generator
        self._options = options
        self._settings = settings
        self._listener = listener
        self._on_progress = on_progress
        if self.length < _SHORTEST * self.sample_rate:
            raise UsageError(
                f"pieces of {options.chunk_length:g} s are shorter than one window of the model",
                hint="make the chunk length some seconds",
            )
        if listener is not None:
            other = listener.recognizer.frontend.sample_rate
            if other != self.sample_rate:
                raise UsageError(
                    f"{listener.recognizer.info.id} hears {other} samples a second, and "
                    f"{generator.info.id} {self.sample_rate}"
                )

    def cost(self, piece: Piece) -> int:
        """Samples of a piece; 0 for one with nothing to hear, which the model never sees."""
        is_silent = isinstance(piece.chunk, Stretch) and piece.chunk.is_silent
        is_heard = not is_silent and piece.num_samples >= _SHORTEST * self.sample_rate
        return piece.num_samples if is_heard else 0

    def prepare(self, piece: Piece) -> tuple[Piece, NDArray[np.float32]]:
        """A piece and what the model hears of it."""
        assert piece.chunk is not None  # for the type checker; marks cost nothing
        return piece, self._generator.frontend(piece.chunk.samples)

    def __call__(self, batch: Sequence[tuple[Piece, NDArray[np.float32]]]) -> list[_Written]:
        """Write the texts of a batch."""
        pieces, values = zip(*batch, strict=True)
        texts = self._generator.write(values, self._settings)
        heard: Iterable[NDArray[np.float32] | None] = repeat(None)
        if self._listener is not None:
            other = self._listener.recognizer
            heard = other.log_probs([other.frontend(piece.chunk.samples) for piece in pieces])
        written = [self._written(*each) for each in zip(pieces, texts, heard, strict=False)]
        if self._on_progress is not None:
            self._on_progress(sum(piece.num_samples for piece in pieces) / self.sample_rate)
        return written

    def _written(
        self, piece: Piece, texts: Sequence[Alternative], log_probs: NDArray[np.float32] | None
    ) -> _Written:
        """A text on the times of its piece."""
        chunk = piece.chunk
        assert isinstance(chunk, Stretch)  # for the type checker; marks never come here
        assert not isinstance(piece.item, FailedInput)
        rate = self.sample_rate
        start = piece.item.offset + chunk.start / rate
        duration = len(chunk.samples) / rate
        first, end = (start + sample / rate for sample in chunk.sound)
        ((start_ms, end_ms),) = milliseconds([(first, end)], duration=duration, offset=start)
        segment = Segment(texts[0].text, start_ms / 1000, end_ms / 1000)
        warnings: Sequence[str] = ()
        if self._listener is not None and log_probs is not None:
            frame = self._listener.recognizer.model.config.samples_per_frame
            clock = FrameClock(frame, rate, offset=start, end=start + duration)
            segment, warnings = self._listener.complete(segment, Emissions(log_probs, clock))
        segments: tuple[Segment, ...] = (segment,) if segment.text else ()
        if segment.words:
            segments = split_segments(
                segment.words, self._options.segments, duration=duration, offset=start
            )
        if self._options.timestamps == "none":
            segments = ()
        elif self._options.timestamps == "segment":
            segments = tuple(replace(segment, words=()) for segment in segments)
        return _Written(texts, segments, segment.source_text, warnings)


def _best_texts(parts: Sequence[Sequence[Alternative]], n_best: int) -> list[Alternative]:
    """The best texts of a whole: of each piece one of its texts, the scores summed."""
    best = [("", 0.0)]
    for texts in parts:
        joined = (
            (f"{before} {text.text}", score + (text.score or 0.0))
            for before, score in best
            for text in texts
        )
        best = nlargest(n_best, joined, key=lambda pair: pair[1])
    return [Alternative(_joined([text]), score=round(score, 4)) for text, score in best]


def _joined(texts: Iterable[str]) -> str:
    return " ".join(" ".join(texts).split())


def _in_results(
    options: TranscribeOptions,
    settings: GenerationSettings,
    language: str | None,
    listener: Listener | None,
) -> dict[str, Any]:
    """The options in a transcript: those that changed what is in it."""
    chosen: dict[str, Any] = {
        name: getattr(options, name) for name in ("timestamps", "chunk_length", "channel")
    }
    if language is not None:
        chosen["target_language"] = language
    if listener is not None:
        chosen[listener.option] = listener.recognizer.info.id
    chosen["generation"] = {name: getattr(settings, name) for name in _IN_RESULTS}
    return chosen | {"segments": asdict(options.segments)}
