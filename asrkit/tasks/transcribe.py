"""Audio to transcripts: read, cut into chunks, run the model, decode, divide into segments."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asrkit.batch import map_in_batches
from asrkit.ctc import Emissions, FrameClock
from asrkit.errors import UsageError
from asrkit.inputs import FailedInput
from asrkit.options import ModelOptions, TranscribeOptions
from asrkit.outputs import encode, write_whole
from asrkit.segmentation import split_segments
from asrkit.tasks.chunking import Chunking, Piece
from asrkit.tasks.decoding import Decoding, make_decoding
from asrkit.tasks.recognizer import Recognizer
from asrkit.types import (
    Alternative,
    Audio,
    AudioInput,
    Hypothesis,
    ModelInfo,
    Segment,
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
    on_emissions: Callable[[AudioInput | Audio, Emissions], None] | None = None,
) -> Iterator[Transcript | FailedInput]:
    """Transcribe inputs one after another, in bounded memory whatever their length and number.

    Args:
        inputs: what to read; a failed one passes through in its place.
        recognizer: the model.
        options: how to decode.
        on_progress: called with the seconds of audio of every batch that is done.
        on_emissions: called with the log-probabilities of every input before it is decoded.

    Yields:
        One result an input, in order, as soon as it is complete.

    Raises:
        UsageError, CheckpointError, MissingExtraError: the decoder cannot be set up.
    """
    chunking = Chunking.of(recognizer, options)
    decoding = make_decoding(recognizer, options.decoding)

    def emissions(pieces: Sequence[Piece]) -> list[tuple[Any, NDArray[np.float32] | None]]:
        return [
            (decoding.reduce(scores), None if on_emissions is None else scores.copy())
            for scores in chunking.score(recognizer, pieces, on_progress)
        ]

    parts: list[tuple[Any, NDArray[np.float32] | None]] = []
    num_samples = 0
    for piece, part in map_in_batches(
        emissions,
        (piece for item in inputs for piece in chunking.pieces(item)),
        length=lambda piece: piece.num_samples,
        batch_size=options.batch_size,
    ):
        if part is not None and piece.chunk is not None:
            parts.append(part)
            num_samples += piece.chunk.num_new
            continue
        if isinstance(piece.item, FailedInput):
            yield piece.item
        else:
            clock = chunking.clock(piece.item, num_samples)
            if on_emissions is not None:
                log_probs = np.concatenate([scores for _, scores in parts if scores is not None])
                on_emissions(piece.item, Emissions(log_probs, clock))
            hypotheses = decoding.decode([kept for kept, _ in parts])
            yield _transcript(piece.item, hypotheses, clock, recognizer.info, options, decoding)
        parts, num_samples = [], 0


def save_emissions(
    recognizer: Recognizer,
    files: Mapping[Any, Mapping[str, Path]],
    item: AudioInput | Audio,
    emissions: Emissions,
) -> None:
    """Write the log-probabilities of an input as .npy, and what they mean as .json.

    Args:
        recognizer: what made them.
        files: for each input the path of its "npy" and "json".
        item: the input.
        emissions: its log-probabilities (F, V), float32.

    Raises:
        OutputError: a file cannot be written.
    """
    num_columns = emissions.log_probs.shape[1]
    clock = emissions.clock
    meaning = {
        "audio": item.source,
        "id": item.id or item.source,
        "offset": clock.offset,
        "duration": round(clock.end - clock.offset, 3),
        "frames_per_second": clock.sample_rate / clock.samples_per_frame,
        "samples_per_frame": clock.samples_per_frame,
        "sample_rate": clock.sample_rate,
        "blank": recognizer.vocabulary.blank,
        "labels": [recognizer.vocabulary.token(index) for index in range(num_columns)],
        "model": asdict(recognizer.info),
    }
    array = io.BytesIO()
    np.save(array, emissions.log_probs)
    write_whole(files[item]["npy"], array.getvalue())
    write_whole(files[item]["json"], encode(json.dumps(meaning, ensure_ascii=False) + "\n"))


def _transcript(
    item: AudioInput | Audio,
    hypotheses: Sequence[Hypothesis],
    clock: FrameClock,
    info: ModelInfo,
    options: TranscribeOptions,
    decoding: Decoding,
) -> Transcript:
    """Put the best text of a whole input on the clock and divide it into segments."""
    best = hypotheses[0]
    duration = clock.end - clock.offset
    segments: tuple[Segment, ...] = ()
    if options.timestamps != "none":
        characters = best.characters if options.timestamps == "char" else ()
        words = clock.words(best.words, characters)
        segments = split_segments(words, options.segments, duration=duration, offset=item.offset)
    if options.timestamps == "segment":
        segments = tuple(replace(segment, words=()) for segment in segments)
    alternatives = [
        Alternative(other.text, round(other.logit_score, 4), round(other.lm_score, 4))
        for other in hypotheses
        if other.logit_score is not None and other.lm_score is not None
    ]
    return Transcript(
        source=item.source,
        duration=round(duration, 3),
        text=" ".join(best.text.split()),
        segments=segments,
        id=item.id,
        offset=item.offset,
        alternatives=tuple(alternatives) if options.decoding.n_best > 1 else (),
        model=info,
        options=_in_results(options, decoding),
    )


def _in_results(options: TranscribeOptions, decoding: Decoding) -> dict[str, Any]:
    """The options in a transcript: those that changed what is in it."""
    chosen = asdict(options)
    chosen["decoding"] = {"decoder": decoding.name}
    if decoding.name == "beam":
        chosen["decoding"] |= {k: v for k, v in asdict(options.decoding).items() if k != "decoder"}
    return chosen
