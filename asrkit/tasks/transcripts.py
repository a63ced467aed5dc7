"""The hypotheses of a model for a corpus, kept line by line so that a stopped run can go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from asrkit.corpus import Corpus, System
from asrkit.errors import InputError, ManifestError
from asrkit.formats.utterances import Utterance
from asrkit.inputs import FailedInput
from asrkit.options import TranscribeOptions
from asrkit.resume import Journal, file_state
from asrkit.tasks.recognizer import Recognizer
from asrkit.tasks.transcribe import transcribe_stream
from asrkit.types import AudioInput, Transcript

Heard = tuple[Transcript, float]
"""A transcript, and the seconds that it took."""


def transcribe_corpus(
    items: Sequence[AudioInput | FailedInput],
    name: str,
    recognizer: Recognizer,
    options: TranscribeOptions,
    *,
    missing: str = "error",
    resume: Path | None = None,
    on_progress: Callable[[float], None] | None = None,
    on_result: Callable[[FailedInput | None], None] = lambda failed: None,
) -> Corpus:
    """Transcribe a manifest with reference texts.

    Args:
        items: of the manifest.
        name: of the manifest.
        recognizer: the model.
        options: how to transcribe.
        missing: "empty" counts audio that cannot be read as nothing heard; else it is left out.
        resume: where transcripts are kept, and taken from: lines of JSON that can be read as
            hypotheses.
        on_progress: called with the seconds of audio of every batch that is done.
        on_result: called after each input, with its failure if it failed.

    Raises:
        InputError: nothing could be transcribed.
        OutputError: the file of transcripts cannot be written.
    """
    items = [with_reference(item) for item in items]
    weights = recognizer.info.revision or file_state(recognizer.directory)
    files = [file_state(file) for file in options.decoding.files]
    pairs: list[tuple[AudioInput, Heard | None]] = []
    with closing(Journal(items, resume, [recognizer.info, weights, options, files])) as journal:
        results = _hear(journal, recognizer, options, on_progress)
        for item, result in zip(items, results, strict=True):
            heard = None if isinstance(result, FailedInput) else result
            on_result(result if isinstance(result, FailedInput) else None)
            if isinstance(item, AudioInput) and (heard is not None or missing == "empty"):
                pairs.append((item, heard))
    if not any(heard for _, heard in pairs):
        raise InputError(f"{name}: nothing could be transcribed")
    made = [heard for _, heard in pairs if heard is not None]
    system = System(
        name=recognizer.info.id,
        texts=["" if heard is None else heard[0].text for _, heard in pairs],
        num_missing=sum(heard is None for _, heard in pairs),
        audio_seconds=sum(transcript.duration for transcript, _ in made),
        seconds=sum(seconds for _, seconds in made),
        model=recognizer.info,
        options=made[0][0].options,
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
    lost = len(items) - len(pairs)
    notes = (f"{lost} of {len(items)} inputs failed and are left out",) if lost else ()
    return Corpus(name, utterances, (system,), notes)


def with_reference(item: AudioInput | FailedInput) -> AudioInput | FailedInput:
    """An input of a manifest; a failed one where it has no text to compare with."""
    if isinstance(item, AudioInput) and item.text is None:
        error = ManifestError(
            f"{item.path}: has no reference text", hint="--ref-column names the column that has it"
        )
        return FailedInput(item.path, error, item.id)
    return item


def _hear(
    journal: Journal,
    recognizer: Recognizer,
    options: TranscribeOptions,
    on_progress: Callable[[float], None] | None,
) -> Iterator[Heard | FailedInput]:
    """One result an input, in order; what the journal knows does not go through the model.

    The clock starts when the model asks for the first audio, so that loading is not counted.
    """
    last = 0.0

    def pending() -> Iterator[AudioInput | FailedInput]:
        nonlocal last
        last = time.perf_counter()
        yield from journal.pending()

    stream = transcribe_stream(pending(), recognizer, options, on_progress=on_progress)
    for index, result in enumerate(stream):
        if index in journal:
            row = journal.row(index)
            yield Transcript.from_dict(row), float(row["seconds"])
        elif isinstance(result, FailedInput):
            yield result
        else:
            now = time.perf_counter()
            seconds, last = round(now - last, 6), now
            journal.add(index, **result.to_dict(), seconds=seconds)
            yield result, seconds
