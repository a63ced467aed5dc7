"""The hypotheses of a model for a corpus, kept line by line so that a stopped run can go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from asrkit.corpus import Corpus, System
from asrkit.errors import InputError, ManifestError
from asrkit.formats.utterances import Utterance
from asrkit.inputs import FailedInput
from asrkit.options import ModelOptions, TranscribeOptions
from asrkit.resume import Journal, file_state
from asrkit.tasks.loading import identity
from asrkit.tasks.recognizer import Recognizer
from asrkit.tasks.transcribe import transcribe_stream
from asrkit.types import AudioInput, Transcript

Heard = tuple[Transcript, float]
"""A transcript, and the seconds that it took."""


def open_transcripts(
    items: Sequence[AudioInput | FailedInput],
    path: Path | None,
    model: ModelOptions,
    options: TranscribeOptions,
) -> Journal:
    """The inputs of a manifest with reference texts, and which of them are transcribed.

    Args:
        items: of the manifest.
        path: where transcripts are kept, and taken from: lines of JSON that can be read as
            hypotheses; None keeps none.
        model: what transcribes them.
        options: how.

    Raises:
        CheckpointError: the model cannot be found.
        OutputError: the file of transcripts cannot be read.
    """
    files = [file_state(file) for file in options.decoding.files]
    return Journal(
        [with_reference(item) for item in items],
        path,
        None if path is None else [identity(model), options, files],
    )


def hear_stream(
    inputs: Iterable[AudioInput | FailedInput],
    recognizer: Recognizer,
    options: TranscribeOptions,
    *,
    on_progress: Callable[[float], None] | None = None,
) -> Iterator[Heard | FailedInput]:
    """Transcribe inputs as `transcribe_stream` does, and say how long each of them took.

    The clock starts when the model asks for the first audio, so that loading is not counted.
    """
    last = 0.0

    def started() -> Iterator[AudioInput | FailedInput]:
        nonlocal last
        last = time.perf_counter()
        yield from inputs

    for result in transcribe_stream(started(), recognizer, options, on_progress=on_progress):
        if isinstance(result, FailedInput):
            yield result
        else:
            now = time.perf_counter()
            seconds, last = round(now - last, 6), now
            yield result, seconds


def transcribed_corpus(
    journal: Journal,
    name: str,
    results: Iterable[Heard | FailedInput],
    *,
    missing: str = "error",
    on_result: Callable[[FailedInput | None], None] = lambda failed: None,
) -> Corpus:
    """The corpus of a manifest and what a model hears in it.

    Args:
        journal: of the manifest.
        name: of the manifest.
        results: of `hear_stream` for `journal.pending()`.
        missing: "empty" counts audio that cannot be read as nothing heard; else it is left out.
        on_result: called after each input, with its failure if it failed.

    Raises:
        InputError: nothing could be transcribed.
        OutputError: the file of transcripts cannot be written.
    """
    pairs: list[tuple[AudioInput, Heard | None]] = []
    with closing(journal):
        for item, result in zip(journal.inputs, _with_kept(journal, results), strict=True):
            heard = None if isinstance(result, FailedInput) else result
            on_result(result if isinstance(result, FailedInput) else None)
            if isinstance(item, AudioInput) and (heard is not None or missing == "empty"):
                pairs.append((item, heard))
    made = [heard for _, heard in pairs if heard is not None]
    if not made:
        raise InputError(f"{name}: nothing could be transcribed")
    first, _ = made[0]
    system = System(
        name=first.model.id if first.model else name,
        texts=["" if heard is None else heard[0].text for _, heard in pairs],
        num_missing=sum(heard is None for _, heard in pairs),
        audio_seconds=sum(transcript.duration for transcript, _ in made),
        seconds=sum(seconds for _, seconds in made),
        model=first.model,
        options=first.options,
    )
    utterances = [
        Utterance(
            item.id or item.path,
            item.text,
            labels=item.labels,
            audio=item.path,
            offset=item.offset,
            duration=item.duration,
        )
        for item, _ in pairs
    ]
    lost = len(journal.inputs) - len(pairs)
    notes = (f"{lost} of {len(journal.inputs)} inputs failed and are left out",) if lost else ()
    return Corpus(name, utterances, (system,), notes)


def with_reference(item: AudioInput | FailedInput) -> AudioInput | FailedInput:
    """An input of a manifest; a failed one where it has no text to compare with."""
    if isinstance(item, AudioInput) and item.text is None:
        error = ManifestError(
            f"{item.path}: has no reference text", hint="--ref-column names the column that has it"
        )
        return FailedInput(item.path, error, item.id)
    return item


def _with_kept(
    journal: Journal, results: Iterable[Heard | FailedInput]
) -> Iterator[Heard | FailedInput]:
    """The results, which the journal is told, and what it knows in the places of the others."""
    for index, result in enumerate(results):
        if index in journal:
            row = journal.row(index)
            yield Transcript.from_dict(row), float(row["seconds"])
            continue
        if not isinstance(result, FailedInput):
            transcript, seconds = result
            journal.add(index, **transcript.to_dict(), seconds=seconds)
        yield result
