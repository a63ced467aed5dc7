"""Checkpoints as other programs lay them out, rewritten in the layout of the Hub.

One module an origin: `recognises(content)` says from what a file holds whether it is one of its
own, `convert(content, companions)` renames keys and settings. Only what the file says is used, and
shapes of its tensors; the rest comes from `Companions`, or is an error that says which is needed.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from asrkit import safe_pickle
from asrkit.checkpoint import CONFIG
from asrkit.errors import CheckpointError
from asrkit.models.originals.layout import Companions, UnsavedCheckpoint

ORIGINS = ("fairseq", "torchaudio", "s3prl")


def read_original(path: Path, companions: Companions) -> UnsavedCheckpoint:
    """Read the file of another program.

    Args:
        path: what `torch.save` wrote for fairseq, torchaudio or s3prl.
        companions: what stands beside it.

    Raises:
        UnsafeCheckpointError: it asks for more than tensors and settings.
        CheckpointError: damaged, of none of these programs, of a model that asrkit does not have,
            or a companion is missing.
    """
    if path.suffix == ".safetensors":
        raise CheckpointError(f"{path}: tensors without settings", hint="name the directory")
    content = safe_pickle.load(path, keep_objects=True)
    for name in ORIGINS:
        origin = importlib.import_module(f"{__name__}.{name}")
        if isinstance(content, dict) and origin.recognises(content):
            break
    else:
        held = ", ".join(list(content)[:5]) if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(
            f"{path}: not a checkpoint of {', '.join(ORIGINS)}; it holds {held or 'nothing'}",
            hint="of a checkpoint in the Hub's layout, name the directory",
        )
    try:
        contents, tensors, files = origin.convert(content, companions)
    except CheckpointError as error:
        raise error.about(str(path)) from error
    except Exception as error:  # a tensor or setting of another kind surfaces as any exception
        raise CheckpointError(
            f"{path}: not laid out as {name} does: {type(error).__name__}: {error}"
        ) from error
    config = contents[CONFIG] | companions.config
    names = config.get("id2label")
    if isinstance(names, dict) and all(str(index).isdecimal() for index in names):
        config["label2id"] = {str(label): int(index) for index, label in names.items()}
    contents[CONFIG] = config
    return UnsavedCheckpoint(str(path), path.parent, None, contents, tensors, files)
