"""What a model looks at, as a page for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from asrkit.audio import read_audio
from asrkit.ctc import BestPath, Emissions, FrameClock, collapse
from asrkit.errors import AudioError
from asrkit.models.runtime import attention_maps, build_model
from asrkit.options import DecodingOptions, ModelOptions, TranscribeOptions
from asrkit.plot import draw_alignment, draw_attention
from asrkit.tasks.loading import architecture, find_checkpoint, waveform_frontend
from asrkit.tasks.recognizer import Recognizer
from asrkit.tasks.transcribe import transcribe
from asrkit.types import Audio

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
    is_ctc = architecture(checkpoint).endswith("ForCTC")
    recognizer = Recognizer.load(options) if is_ctc else None
    frontend = recognizer.frontend if recognizer else waveform_frontend(checkpoint)
    model: Any = (
        recognizer.model
        if recognizer
        else build_model(checkpoint, head="base", device=options.device, dtype=options.dtype)
    )
    audio = read_audio(path, sample_rate=frontend.sample_rate)
    if audio.duration > _MAX_SECONDS:
        raise AudioError(
            f"{path}: {audio.duration:.0f} s, and a map holds at most {_MAX_SECONDS:g} s",
            hint="cut a part out of it",
        )
    maps = attention_maps(model, frontend(audio.samples))
    config = model.config
    duration = maps.shape[-1] * config.samples_per_frame / frontend.sample_rate
    return draw_attention(
        maps,
        title=f"Attention of {checkpoint.id} on {Path(path).name}",
        duration=duration,
        below=_emissions(recognizer, audio) if recognizer else "",
    )


def _emissions(recognizer: Recognizer, audio: Audio) -> str:
    """Which token is likely when, with the text that is read from it."""
    (log_probs,) = recognizer.log_probs([audio.samples])
    frame = recognizer.model.config.samples_per_frame
    clock = FrameClock(frame, audio.sample_rate, end=audio.duration)
    (transcript,) = transcribe(audio, recognizer, decoding=DecodingOptions(decoder="greedy"))
    blank = recognizer.vocabulary.blank
    padded = np.pad(np.abs(audio.samples), (0, -len(audio.samples) % frame))
    return draw_alignment(
        transcript,
        Emissions(log_probs, clock),
        collapse(BestPath.of(log_probs), blank=blank),
        labels=[recognizer.vocabulary.token(index) for index in range(log_probs.shape[1])],
        blank=blank,
        envelope=padded.reshape(-1, frame).max(axis=1)[: len(log_probs)],
    )
