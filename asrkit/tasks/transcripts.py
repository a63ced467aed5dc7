"""The hypotheses of a model for a corpus, kept line by line so that a stopped run can go on."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from asrkit import __version__
from asrkit.corpus import Corpus, System
from asrkit.errors import InputError, ManifestError, OutputError
from asrkit.formats.utterances import Utterance
from asrkit.inputs import FailedInput
from asrkit.options import TranscribeOptions
from asrkit.outputs import encode
from asrkit.tasks.recognizer import Recognizer
from asrkit.tasks.transcribe import transcribe_stream
from asrkit.types import AudioInput, Transcript

Heard = tuple[Transcript, float]
"""A transcript, and the seconds that it took."""


class TranscriptLog:
    """Transcripts in a JSON Lines file, each under a key of its audio and of all settings.

    A line is what `asrkit transcribe -f jsonl` writes, with `key` and `seconds`, and can be read as
    hypotheses. A last line that was cut off is done again.

    Args:
        path: the file, made if need be; None keeps nothing.
        settings: what changes a transcript: model, options.

    Raises:
        OutputError: the file cannot be opened.
    """

    def __init__(self, path: Path | None, settings: Mapping[str, Any]) -> None:
        self._path = path
        self._settings = dict(settings) | {"asrkit": __version__}
        self._known: dict[str, Heard] = {}
        self._is_cut_off = False
        if path is None:
            return
        try:
            with open(path, "a+b") as file:
                file.seek(0)
                for line in file:
                    self._read(line)
                    self._is_cut_off = not line.endswith(b"\n")
        except OSError as error:
            raise OutputError(f"{path}: cannot be used: {error.strerror or error}") from error

    def _read(self, line: bytes) -> None:
        try:
            row = json.loads(line)
            self._known[row["key"]] = Transcript.from_dict(row), float(row["seconds"])
        except (KeyError, TypeError, ValueError, RecursionError, InputError):
            return  # cut off, or of something else

    def get(self, item: AudioInput) -> Heard | None:
        """What an earlier run with the same settings heard in the same audio."""
        return self._known.get(self._key(item))

    def add(self, item: AudioInput, transcript: Transcript, seconds: float) -> None:
        """Keep a transcript, at once.

        Raises:
            OutputError: the file cannot be written.
        """
        if self._path is None:
            return
        row = transcript.to_dict() | {"key": self._key(item), "seconds": round(seconds, 6)}
        line = json.dumps(row, ensure_ascii=False) + "\n"
        try:
            with open(self._path, "ab") as file:
                file.write(encode("\n" + line if self._is_cut_off else line))
        except OSError as error:
            reason = error.strerror or error
            raise OutputError(f"{self._path}: cannot be written: {reason}") from error
        self._is_cut_off = False

    def _key(self, item: AudioInput) -> str:
        identity = [self._settings, item.path, item.offset, item.duration, _state(item.path)]
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:24]


def _state(path: str | Path | None) -> list[Any]:
    """What changes when a file does, or a file of a folder."""
    if path is None:
        return []
    try:
        if os.path.isdir(path):
            return [[name, *_state(Path(path, name))] for name in sorted(os.listdir(path))]
        status = os.stat(path)
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]


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
        resume: where transcripts are kept, and taken from.
        on_progress: called with the seconds of audio of every batch that is done.
        on_result: called after each input, with its failure if it failed.

    Raises:
        InputError: nothing could be transcribed.
        OutputError: the file of transcripts cannot be written.
    """
    settings = {
        "model": asdict(recognizer.info),
        "options": options.in_results(),
        "files": [_state(recognizer.directory), _state(options.decoding.lm)],
    }
    items = [with_reference(item) for item in items]
    log = TranscriptLog(resume, settings)
    pairs: list[tuple[AudioInput, Heard | None]] = []
    results = _hear(items, recognizer, options, log, on_progress)
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
    items: Sequence[AudioInput | FailedInput],
    recognizer: Recognizer,
    options: TranscribeOptions,
    log: TranscriptLog,
    on_progress: Callable[[float], None] | None,
) -> Iterator[Heard | FailedInput]:
    """One result an item, in order; what the log knows does not go through the model.

    The clock starts when the model asks for the first audio, so that loading is not counted.
    """
    known = [log.get(item) if isinstance(item, AudioInput) else None for item in items]
    last = 0.0

    def fresh() -> Iterator[AudioInput | FailedInput]:
        nonlocal last
        last = time.perf_counter()
        yield from (item for item, heard in zip(items, known, strict=True) if heard is None)

    stream = transcribe_stream(fresh(), recognizer, options, on_progress=on_progress)
    for item, heard in zip(items, known, strict=True):
        if heard is not None:
            yield heard
            continue
        result = next(stream)
        now = time.perf_counter()
        seconds, last = now - last, now
        if isinstance(result, Transcript) and isinstance(item, AudioInput):
            log.add(item, result, seconds)
            yield result, seconds
        elif isinstance(result, FailedInput):
            yield result
