"""What a model looks at, as a page for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from asrkit.audio import read_audio
from asrkit.ctc import BestPath, Emissions, FrameClock, collapse
from asrkit.errors import AudioError
from asrkit.models.runtime import attention_maps, build_model
from asrkit.options import DecodingOptions, ModelOptions, TranscribeOptions
from asrkit.plot import draw_alignment, draw_attention
from asrkit.tasks.chunking import loudness
from asrkit.tasks.loading import architecture, find_checkpoint, waveform_frontend
from asrkit.tasks.recognizer import Recognizer
from asrkit.tasks.transcribe import transcribe_stream
from asrkit.types import Audio, Transcript

_MAX_SECONDS = TranscribeOptions.chunk_length


def attention_page(path: str, options: ModelOptions) -> str:
    """Draw the attention of every layer and head, and of a CTC model its emissions.

    Args:
        path: a recording, no longer than a model hears at once.
        options: the model.

    Returns:
        An HTML page.

    Raises:
        AsrkitError: the model cannot be loaded, or the audio cannot be read or is too long.
    """
    checkpoint = find_checkpoint(options)
    recognizer = None
    if architecture(checkpoint).endswith("ForCTC"):
        recognizer = Recognizer.from_checkpoint(checkpoint, options)
        model: Any = recognizer.model
        frontend = recognizer.frontend
    else:
        frontend = waveform_frontend(checkpoint)
        model = build_model(checkpoint, head="base", device=options.device, dtype=options.dtype)
    audio = read_audio(path, sample_rate=frontend.sample_rate)
    if audio.duration > _MAX_SECONDS:
        raise AudioError(
            f"{path}: {audio.duration:.0f} s, and a map holds at most {_MAX_SECONDS:g} s",
            hint="cut a part out of it",
        )
    maps = attention_maps(model, frontend(audio.samples))
    clock = FrameClock(model.config.samples_per_frame, frontend.sample_rate)
    return draw_attention(
        maps,
        title=f"Attention of {checkpoint.id} on {Path(path).name}",
        duration=clock.seconds(maps.shape[-1]),
        below=_emissions(recognizer, audio) if recognizer else "",
    )


def _emissions(recognizer: Recognizer, audio: Audio) -> str:
    """Which token is likely when, with the text that is read from it."""
    kept: list[Emissions] = []
    results = transcribe_stream(
        [audio],
        recognizer,
        TranscribeOptions(decoding=DecodingOptions(decoder="greedy")),
        on_emissions=lambda _model, _item, emissions: kept.append(emissions),
    )
    (transcript,) = (result for result in results if isinstance(result, Transcript))
    (emissions,) = kept
    log_probs = emissions.log_probs
    blank = recognizer.vocabulary.blank
    return draw_alignment(
        transcript,
        emissions,
        collapse(BestPath.of(log_probs), blank=blank),
        labels=[recognizer.vocabulary.token(index) for index in range(log_probs.shape[1])],
        blank=blank,
        envelope=loudness(audio.samples, emissions.clock.samples_per_frame)[: len(log_probs)],
    )
