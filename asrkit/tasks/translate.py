"""Speech of one language to text of another, and what was said beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from asrkit.ctc import Emissions
from asrkit.inputs import FailedInput
from asrkit.options import (
    DEMO_TRANSLATOR,
    DecodingOptions,
    ModelOptions,
    TranslateOptions,
)
from asrkit.tasks.calls import all_results, divide_options, named_inputs
from asrkit.tasks.decoding import make_decoding
from asrkit.tasks.generation import Listener, write_stream
from asrkit.tasks.generator import Generator
from asrkit.tasks.recognizer import Recognizer, load_second
from asrkit.types import Audio, AudioInput, Segment, Transcript


def translate(
    inputs: Any, model: str | Generator | None = None, **options: Any
) -> list[Transcript]:
    """Translate speech.

    Args:
        inputs: a path, an `Audio`, or a sequence of them.
        model: Hub id, directory, embedded model, or a loaded `Generator`; None takes the embedded
            demo model.
        **options: fields of `TranslateOptions`, and of `ModelOptions` when `model` is a name.

    Returns:
        One transcript an input, in order: `text` is the translation.

    Raises:
        AsrkitError: the model cannot be loaded or does not write the language, or an input cannot
            be read.
    """
    checked, of_model = divide_options("translate", TranslateOptions, options)
    source = ModelOptions(**of_model)
    if not isinstance(model, Generator):
        model = Generator.load(replace(source, model=model or DEMO_TRANSLATOR))
    stream = translate_stream(
        named_inputs(inputs), model, checked, hearer=load_second(checked.source_model, source)
    )
    return all_results(stream)


def translate_stream(
    inputs: Iterable[AudioInput | Audio | FailedInput],
    generator: Generator,
    options: TranslateOptions,
    *,
    hearer: Recognizer | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> Iterator[Transcript | FailedInput]:
    """Translate inputs one after another, in bounded memory whatever their length and number.

    Args:
        inputs: what to read; a failed one passes through in its place.
        generator: the model.
        options: how to translate.
        hearer: adds what was said.
        on_progress: called with the seconds of audio of every batch that is done.

    Returns:
        One result an input, in order, as soon as it is complete.

    Raises:
        UsageError: the model does not write the language.
    """
    return write_stream(
        inputs,
        generator,
        options.transcribing(),
        language=options.target_language,
        listener=None if hearer is None else _source_writer(hearer),
        on_progress=on_progress,
    )


def _source_writer(recognizer: Recognizer) -> Listener:
    """Adds what was said, in the language in which it was said."""
    decoding = make_decoding(recognizer, DecodingOptions())

    def add(segment: Segment, emissions: Emissions) -> tuple[Segment, Sequence[str]]:
        best = decoding.decode([decoding.reduce(emissions.log_probs)])[0]
        return replace(segment, source_text=" ".join(best.text.split())), ()

    return Listener("source_model", recognizer, add)
