"""What loading a model for any task has in common."""

from __future__ import annotations

from typing import Any

from asrkit.checkpoint import Checkpoint, resolve
from asrkit.errors import CheckpointError
from asrkit.frontend import WaveformFrontend
from asrkit.options import ModelOptions
from asrkit.resume import file_state
from asrkit.types import ModelInfo


def find_checkpoint(options: ModelOptions) -> Checkpoint:
    """The files of the model that the options name.

    Raises:
        CheckpointError, UsageError: as `checkpoint.resolve`.
    """
    return resolve(
        options.model,
        revision=options.revision,
        language=options.language,
        cache_dir=options.cache_dir,
        offline=options.offline,
    )


def identity(options: ModelOptions) -> list[Any]:
    """What changes when the weights do: a commit, or the states of a directory's files."""
    checkpoint = find_checkpoint(options)
    files = None if checkpoint.revision else file_state(checkpoint.directory)
    return [options, checkpoint.revision, files]


def architecture(checkpoint: Checkpoint) -> str:
    """The class that config.json says the weights belong to; "none" where it does not."""
    names = checkpoint.config.get("architectures")
    return str(names[0]) if isinstance(names, list) and names else "none"


def waveform_frontend(checkpoint: Checkpoint) -> WaveformFrontend:
    """What prepares samples for the model.

    Raises:
        CheckpointError: preprocessor_config.json is damaged or asks for something else.
    """
    try:
        return WaveformFrontend.from_dict(
            checkpoint.read_json("preprocessor_config.json", required=False)
        )
    except CheckpointError as error:
        error.hint = error.hint or "this takes Wav2Vec2 and HuBERT models, which hear waveforms"
        raise error.about(checkpoint.id) from error


def describe(model: Any, info: ModelInfo) -> str:
    """One line for people: which model, how large, where."""
    parameters = list(model.parameters())
    millions = sum(item.numel() for item in parameters) / 1e6
    is_int8 = any(str(item.dtype) == "torch.int8" for item in parameters)
    revision = f"@{info.revision[:12]}" if info.revision else ""
    return (
        f"{info.id}{revision}: {type(model).__name__}, {millions:.1f} M parameters, "
        f"{'int8 and ' if is_int8 else ''}{info.dtype} on {parameters[0].device}"
    )
