"""Audio to transcripts: read, cut into chunks, run the model, decode, divide into segments."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from asrkit.batch import map_in_batches
from asrkit.ctc import BestPath, FrameClock, collapse
from asrkit.errors import UsageError
from asrkit.inputs import FailedInput
from asrkit.segmentation import split_segments
from asrkit.tasks.chunking import Chunking, Piece
from asrkit.tasks.recognizer import Recognizer
from asrkit.types import (
    Audio,
    AudioInput,
    ModelOptions,
    Segment,
    TranscribeOptions,
    Transcript,
)


def transcribe(
    inputs: Any, model: str | Recognizer | None = None, **options: Any
) -> list[Transcript]:
    """Transcribe audio.

    Args:
        inputs: a path, an `Audio`, or a sequence of them.
        model: Hub id, directory, embedded model, or a loaded `Recognizer`; None takes the
            embedded demo model.
        **options: fields of `TranscribeOptions`, and of `ModelOptions` when `model` is a name.

    Returns:
        One transcript an input, in order.

    Raises:
        AsrkitError: the model cannot be loaded or an input cannot be read.
    """
    items = [inputs] if isinstance(inputs, (str, Path, Audio)) else list(inputs)
    of_model = {item.name for item in fields(ModelOptions)} - {"model"}
    model_options: dict[str, Any] = {name: options.pop(name) for name in of_model & options.keys()}
    unknown = options.keys() - {item.name for item in fields(TranscribeOptions)}
    if unknown:
        raise UsageError(f"transcribe has no option {', '.join(sorted(unknown))}")
    if not isinstance(model, Recognizer):
        if model is not None:
            model_options["model"] = model
        model = Recognizer.load(ModelOptions(**model_options))
    transcripts = []
    named = [item if isinstance(item, Audio) else AudioInput(os.fspath(item)) for item in items]
    for result in transcribe_stream(named, model, TranscribeOptions(**options)):
        if isinstance(result, FailedInput):
            raise result.error
        transcripts.append(result)
    return transcripts


def transcribe_stream(
    inputs: Iterable[AudioInput | Audio | FailedInput],
    recognizer: Recognizer,
    options: TranscribeOptions,
    *,
    on_progress: Callable[[float], None] | None = None,
) -> Iterator[Transcript | FailedInput]:
    """Transcribe inputs one after another, in bounded memory whatever their length and number.

    Args:
        inputs: what to read; a failed one passes through in its place.
        recognizer: the model.
        options: how to decode.
        on_progress: called with the seconds of audio of every chunk that is done.

    Yields:
        One result an input, in order, as soon as it is complete.

    """
    chunking = Chunking.of(recognizer, options)
    canonical = recognizer.vocabulary.canonical(recognizer.model.config.vocab_size)
    sample_rate = recognizer.frontend.sample_rate

    def best_paths(pieces: Sequence[Piece]) -> list[BestPath]:
        chunks = [piece.chunk for piece in pieces if piece.chunk is not None]
        log_probs = recognizer.log_probs([chunk.samples for chunk in chunks])
        paths = [
            BestPath.of(chunking.trim(scores, chunk))
            for scores, chunk in zip(log_probs, chunks, strict=True)
        ]
        return [BestPath(canonical[path.tokens], path.log_probs) for path in paths]

    parts: list[BestPath] = []
    num_samples = 0
    for piece, path in map_in_batches(
        best_paths,
        (piece for item in inputs for piece in chunking.pieces(item)),
        length=lambda piece: piece.num_samples,
        batch_size=options.batch_size,
    ):
        if path is not None and piece.chunk is not None:
            parts.append(path)
            num_new = piece.num_samples - piece.chunk.left - piece.chunk.right
            num_samples += num_new
            if on_progress is not None:
                on_progress(num_new / sample_rate)
            continue
        if isinstance(piece.item, FailedInput):
            yield piece.item
        else:
            path = BestPath.concatenate(parts)
            yield _transcript(piece.item, num_samples / sample_rate, path, recognizer, options)
        parts, num_samples = [], 0


def _transcript(
    item: AudioInput | Audio,
    duration: float,
    path: BestPath,
    recognizer: Recognizer,
    options: TranscribeOptions,
) -> Transcript:
    """Spell the best path of a whole input and divide it into segments."""
    vocabulary = recognizer.vocabulary
    hypothesis = vocabulary.hypothesis(collapse(path, blank=vocabulary.blank))
    clock = FrameClock(
        recognizer.model.config.samples_per_frame,
        recognizer.frontend.sample_rate,
        offset=item.offset,
        end=item.offset + duration,
    )
    segments: tuple[Segment, ...] = ()
    if options.timestamps != "none":
        characters = hypothesis.characters if options.timestamps == "char" else ()
        words = clock.words(hypothesis.words, characters)
        segments = split_segments(words, options.segments, duration=duration, offset=item.offset)
    if options.timestamps == "segment":
        segments = tuple(replace(segment, words=()) for segment in segments)
    return Transcript(
        source=item.source,
        duration=round(duration, 3),
        text=" ".join(hypothesis.text.split()),
        segments=segments,
        id=item.id,
        offset=item.offset,
        model=recognizer.info,
        options={"decoder": "greedy", **asdict(options)},
    )
