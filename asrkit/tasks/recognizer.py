"""A CTC model with all that stands between samples and text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asrkit.checkpoint import Checkpoint
from asrkit.errors import CheckpointError, UsageError
from asrkit.frontend import WaveformFrontend
from asrkit.models.heads import ForCTC
from asrkit.models.runtime import build_model, ctc_log_probs, dtype_name, is_encoder_decoder
from asrkit.options import ModelOptions
from asrkit.tasks.loading import describe, find_checkpoint, waveform_frontend
from asrkit.text import CTCVocabulary
from asrkit.types import ModelInfo


@dataclass(frozen=True)
class Recognizer:
    """A model, its front end and its vocabulary.

    Attributes:
        model: in eval mode, on its device.
        frontend: prepares samples.
        vocabulary: spells tokens.
        info: names the weights in results.
        directory: the model's files, among them its language model if it has one.
    """

    model: ForCTC
    frontend: WaveformFrontend
    vocabulary: CTCVocabulary
    info: ModelInfo
    directory: Path

    @classmethod
    def load(cls, options: ModelOptions) -> Recognizer:
        """Load a checkpoint with a CTC head, its front end and its vocabulary.

        Raises:
            CheckpointError: not found, unreadable, not supported, or without a vocabulary.
            UsageError: it is an encoder-decoder.
        """
        checkpoint = find_checkpoint(options)
        if is_encoder_decoder(checkpoint):
            raise UsageError(
                f"{checkpoint.id} is an encoder-decoder: it writes text, and cannot say when a "
                "letter was heard",
                hint="a CTC model can, such as facebook/wav2vec2-base-960h",
            )
        return cls.from_checkpoint(checkpoint, options)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, options: ModelOptions) -> Recognizer:
        """As `load`, from a CTC model that was found."""
        model = build_model(
            checkpoint,
            head="ctc",
            device=options.device,
            dtype=options.dtype,
            language=options.language,
        )
        assert isinstance(model, ForCTC)  # for the type checker; head="ctc" gives no other
        try:
            vocabulary = CTCVocabulary.from_files(
                checkpoint.read_json("vocab.json"),
                tokenizer_config=checkpoint.read_json("tokenizer_config.json", required=False),
                special_tokens_map=checkpoint.read_json("special_tokens_map.json", required=False),
                added_tokens=checkpoint.read_json("added_tokens.json", required=False),
                language=options.language,
            )
        except CheckpointError as error:
            raise error.about(checkpoint.id) from error
        frontend = waveform_frontend(checkpoint)
        if vocabulary.blank >= model.config.vocab_size:
            raise CheckpointError(
                f"{checkpoint.id}: the blank has index {vocabulary.blank}, but the model has only "
                f"{model.config.vocab_size} outputs"
            )
        info = ModelInfo(checkpoint.id, checkpoint.revision, dtype_name(model), options.language)
        return cls(model, frontend, vocabulary, info, checkpoint.directory)

    def describe(self) -> str:
        """One line for people: which model, how large, where."""
        return describe(self.model, self.info)

    def log_probs(self, waveforms: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Score one batch: (T,) samples of the front end each to (F, V) log-probabilities each."""
        return ctc_log_probs(self.model, waveforms)


def load_second(name: str | None, options: ModelOptions) -> Recognizer | None:
    """A CTC model to stand beside another, from the same cache and on the same device."""
    if name is None:
        return None
    return Recognizer.load(replace(options, model=name, revision=None))
