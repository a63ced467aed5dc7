"""Audio to transcripts: read, cut into chunks, run the model, decode, divide into segments."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asrkit.audio import Chunk
from asrkit.batch import behind
from asrkit.ctc import Emissions, FrameClock
from asrkit.ctc.search import SearchOptions
from asrkit.errors import InputError, UsageError
from asrkit.inputs import FailedInput
from asrkit.models.runtime import num_free_threads
from asrkit.options import AlignOptions, ModelOptions, TranscribeOptions
from asrkit.outputs import EMISSION_SUFFIXES, encode, files_of, write_whole
from asrkit.segmentation import split_segments
from asrkit.tasks.align import align_emissions
from asrkit.tasks.calls import all_results, divide_options, named_inputs
from asrkit.tasks.chunking import Chunking
from asrkit.tasks.decoding import Decoding, make_decoding
from asrkit.tasks.generation import Listener, write_stream
from asrkit.tasks.generator import Generator, load_speech_model
from asrkit.tasks.recognizer import Recognizer, load_second
from asrkit.types import (
    Alternative,
    Audio,
    AudioInput,
    Hypothesis,
    ModelInfo,
    Segment,
    Transcript,
)

# Flags that are not called as their options.
_FLAGS = {"use_lm": "no-lm", "no_repeat_ngram_size": "no-repeat-ngram"}


def transcribe(
    inputs: Any, model: str | Recognizer | Generator | None = None, **options: Any
) -> list[Transcript]:
    """Transcribe audio.

    Args:
        inputs: a path, an `Audio`, or a sequence of them.
        model: Hub id, directory, embedded model, or a loaded `Recognizer` or `Generator`; None
            takes the embedded demo model.
        **options: fields of `TranscribeOptions`, and of `ModelOptions` when `model` is a name.

    Returns:
        One transcript an input, in order.

    Raises:
        AsrkitError: the model cannot be loaded or an input cannot be read.
    """
    checked, of_model = divide_options("transcribe", TranscribeOptions, options)
    source = ModelOptions(**of_model)
    if not isinstance(model, (Recognizer, Generator)):
        model = load_speech_model(replace(source, model=model or source.model))
    stream = transcribe_stream(
        named_inputs(inputs), model, checked, aligner=load_second(checked.align_model, source)
    )
    return all_results(stream)


def transcribe_stream(
    inputs: Iterable[AudioInput | Audio | FailedInput],
    model: Recognizer | Generator,
    options: TranscribeOptions,
    *,
    aligner: Recognizer | None = None,
    on_progress: Callable[[float], None] | None = None,
    on_emissions: Callable[[Recognizer, AudioInput | Audio, Emissions], None] | None = None,
) -> Iterator[Transcript | FailedInput]:
    """Transcribe inputs one after another, in bounded memory whatever their length and number.

    Args:
        inputs: what to read; a failed one passes through in its place.
        model: a CTC model or an encoder-decoder.
        options: how to decode.
        aligner: finds the times of words that an encoder-decoder writes.
        on_progress: called with the seconds of audio of every batch that is done.
        on_emissions: called with the log-probabilities of every input before it is decoded, and
            with the CTC model that made them.

    Returns:
        One result an input, in order, as soon as it is complete.

    Raises:
        UsageError: an option belongs to the other kind of model, or the decoder cannot be set up.
        CheckpointError, MissingExtraError: the decoder cannot be set up.
    """
    if isinstance(model, Generator):
        if on_emissions is not None:
            raise UsageError(f"{model.info.id} is an encoder-decoder: it has no emissions to save")
        options = _of_generator(model, options, has_aligner=aligner is not None)
        listener = None if aligner is None else _word_finder(aligner, options)
        return write_stream(inputs, model, options, listener=listener, on_progress=on_progress)
    if aligner is not None:
        raise UsageError(f"{model.info.id} is a CTC model: it finds the times of words by itself")
    if odd := _changed(options.generation):
        raise UsageError(
            f"{model.info.id} is a CTC model, and {', '.join(odd)} can only be had of an "
            "encoder-decoder",
            hint="facebook/s2t-small-librispeech-asr is one",
        )
    options = replace(options, timestamps=options.timestamps or "word")
    return _recognize(inputs, model, options, on_progress, on_emissions)


def _of_generator(
    generator: Generator, options: TranscribeOptions, *, has_aligner: bool
) -> TranscribeOptions:
    """The options as they are for an encoder-decoder.

    Raises:
        UsageError: one of them belongs to CTC models.
    """
    name = generator.info.id
    decoding = options.decoding
    beam_width = options.generation.beam_width or decoding.beam_width
    n_best = max(options.generation.n_best, decoding.n_best)
    odd = _changed(replace(decoding, beam_width=None, n_best=1))
    odd += [] if options.stride is None else ["--stride"]
    if odd:
        raise UsageError(
            f"{name} is an encoder-decoder, and {', '.join(odd)} can only be had of a CTC model",
            hint="facebook/wav2vec2-base-960h is one",
        )
    timestamps = options.timestamps or ("word" if has_aligner else "segment")
    if timestamps in ("word", "char") and not has_aligner:
        raise UsageError(
            f"{name} is an encoder-decoder: it knows no times of words",
            hint="--align-model with a CTC model, such as facebook/wav2vec2-base-960h, finds them",
        )
    return replace(
        options,
        timestamps=timestamps,
        generation=replace(options.generation, beam_width=beam_width, n_best=n_best),
    )


def _changed(options: Any) -> list[str]:
    """Names of the options that are not as they are by default, as the shell spells them."""
    default = type(options)()
    names = [
        item.name
        for item in fields(options)
        if getattr(options, item.name) != getattr(default, item.name)
    ]
    return ["--" + _FLAGS.get(name, name.replace("_", "-")) for name in names]


def _word_finder(recognizer: Recognizer, options: TranscribeOptions) -> Listener:
    """Adds the times of words to what was written, by forced alignment."""
    aligning = AlignOptions(level="char" if options.timestamps == "char" else "word")

    def find(segment: Segment, emissions: Emissions) -> tuple[Segment, Sequence[str]]:
        warnings: Sequence[str]
        try:
            alignment = align_emissions(emissions, [segment], recognizer.vocabulary, aligning)
        except InputError as error:
            warnings = [f"words have no times: {error.message}"]
        else:
            (segment,) = alignment.transcript.segments
            warnings = alignment.transcript.warnings
        return segment, [f"{segment.start:.2f} s: {warning}" for warning in warnings]

    return Listener("align_model", recognizer, find)


def _recognize(
    inputs: Iterable[AudioInput | Audio | FailedInput],
    recognizer: Recognizer,
    options: TranscribeOptions,
    on_progress: Callable[[float], None] | None,
    on_emissions: Callable[[Recognizer, AudioInput | Audio, Emissions], None] | None,
) -> Iterator[Transcript | FailedInput]:
    """As `transcribe_stream`, with a CTC model."""
    chunking = Chunking.of(recognizer, options)
    decoding = make_decoding(recognizer, options.decoding)

    def run(
        chunks: Sequence[Chunk], values: Sequence[NDArray[np.float32]]
    ) -> list[tuple[Any, NDArray[np.float32] | None]]:
        return [
            (decoding.reduce(scores), None if on_emissions is None else scores.copy())
            for scores in chunking.score(recognizer, chunks, values)
        ]

    def decode(
        result: tuple[AudioInput | Audio, list[Any], int] | FailedInput,
    ) -> Transcript | FailedInput:
        if isinstance(result, FailedInput):
            return result
        item, parts, num_samples = result
        clock = chunking.clock(item, num_samples)
        if on_emissions is not None:
            log_probs = np.concatenate([scores for _, scores in parts if scores is not None])
            on_emissions(recognizer, item, Emissions(log_probs, clock))
        hypotheses = decoding.decode([kept for kept, _ in parts])
        return _transcript(item, hypotheses, clock, recognizer.info, options, decoding)

    scored = chunking.map_inputs(run, inputs, on_progress=on_progress)
    if decoding.name == "greedy":  # takes no time, and its results need not wait for a batch
        return (decode(result) for result in scored if result is not None)
    num_threads = num_free_threads(recognizer.model)
    return behind(decode, scored, num_threads=num_threads)  # type: ignore[arg-type]  # mypy: object


def save_emissions(
    recognizer: Recognizer,
    item: AudioInput,
    emissions: Emissions,
    *,
    directory: Path,
) -> None:
    """Write the log-probabilities of an input as .npy, and what they mean as .json.

    Args:
        recognizer: what made them.
        item: the input.
        emissions: its log-probabilities (F, V), float32.
        directory: where the files go, named as those of the results are.

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
        "frames_per_second": clock.frames_per_second,
        "samples_per_frame": clock.samples_per_frame,
        "sample_rate": clock.sample_rate,
        "blank": recognizer.vocabulary.blank,
        "labels": [recognizer.vocabulary.token(index) for index in range(num_columns)],
        "model": asdict(recognizer.info),
    }
    array = io.BytesIO()
    np.save(array, emissions.log_probs)
    files = files_of(item, directory, EMISSION_SUFFIXES)
    write_whole(files["npy"], array.getvalue())
    write_whole(files["json"], encode(json.dumps(meaning, ensure_ascii=False) + "\n"))


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
    chosen = options.in_results()
    del chosen["generation"], chosen["align_model"]
    chosen["stride"] = options.context
    chosen["decoding"] = {"decoder": decoding.name}
    if decoding.name == "beam":
        of_beam = replace(
            options.decoding,
            decoder=decoding.name,
            beam_width=options.decoding.beam_width or SearchOptions.beam_width,
        )
        chosen["decoding"] = asdict(of_beam)
    return chosen
