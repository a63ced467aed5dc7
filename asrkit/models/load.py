"""The one way from a checkpoint to a module."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import torch
from torch import nn

from asrkit.checkpoint import Checkpoint, fill_module, resolve
from asrkit.errors import CheckpointError, UsageError
from asrkit.models import FAMILIES

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

# Weights that published checkpoints hold and inference does not read: pre-training's quantizer
# and projections, SpecAugment's mask, batch norm's counter.
_UNUSED = (
    r"(.*\.)?masked_spec_embed",
    r"quantizer\..*",
    r"project_(hid|q)\..*",
    r"(.*\.)?label_embs_concat",
    r"(.*\.)?final_proj\..*",
    r"objective\..*",
    r".*\.num_batches_tracked",
)
_ANY_HEAD = (r"lm_head\..*", r"projector\..*", r"classifier\..*", r"layer_weights")


def load_model(
    source: str,
    *,
    head: str | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    revision: str | None = None,
    cache_dir: str | None = None,
    offline: bool = False,
) -> nn.Module:
    """Load a checkpoint as a module in eval mode, with `.config`.

    Args:
        source: Hub id (`user/name` or `user/name@revision`), directory, or embedded model.
        head: "base" or "ctc"; None takes what config.json's `architectures` names.
        device: cpu, cuda, cuda:N, mps, or auto for the best one at hand.
        dtype: float32, float16 or bfloat16, whatever the file holds.
        revision: branch, tag or commit of a Hub id.
        cache_dir: where Hub files are kept; None uses the standard cache.
        offline: never open a connection.

    Raises:
        CheckpointError: not found, unreadable, or not supported.
        OfflineError: offline and not in the cache.
        UsageError: an unknown device or dtype.
    """
    checkpoint = resolve(source, revision=revision, cache_dir=cache_dir, offline=offline)
    return build_model(checkpoint, head=head, device=device, dtype=dtype)


def build_model(
    checkpoint: Checkpoint, *, head: str | None = None, device: str = "cpu", dtype: str = "float32"
) -> nn.Module:
    """As `load_model`, from a checkpoint that is already resolved."""
    if dtype not in DTYPES:
        raise UsageError(f"dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    target = select_device(device)
    config = checkpoint.config
    family, model_class = _implementation(checkpoint, head)
    try:
        settings = model_class.config_class.from_dict(config)
    except CheckpointError as error:
        raise CheckpointError(f"{checkpoint.id}: {error.message}", hint=error.hint) from error
    with torch.device("meta"):
        module: nn.Module = model_class(settings)
    has_head = bool(model_class.base_prefix)
    tensors = family.rename_keys(checkpoint.load_tensors(), config["model_type"], head=has_head)
    if has_head and "lm_head.weight" not in tensors:
        raise CheckpointError(
            f"{checkpoint.id}: there is no CTC head in the weights (lm_head.weight is missing)",
            hint="this is a base model; choose a checkpoint that was fine-tuned for recognition",
        )
    tensors = {name: tensor.to(DTYPES[dtype]) for name, tensor in tensors.items()}
    fill_module(
        module,
        tensors,
        tolerate_missing=(),
        tolerate_unexpected=_UNUSED if has_head else (*_UNUSED, *_ANY_HEAD),
        source=checkpoint.id,
    )
    return module.to(target).eval()


def _implementation(checkpoint: Checkpoint, head: str | None) -> tuple[ModuleType, Any]:
    """The family's module and the class of its head."""
    kind = checkpoint.config.get("model_type")
    if kind not in FAMILIES:
        raise CheckpointError(
            f"{checkpoint.id}: model_type {kind!r} is not supported",
            hint=f"supported are {', '.join(FAMILIES)}",
        )
    family = importlib.import_module(FAMILIES[kind])
    if head is None:
        architectures = checkpoint.config.get("architectures") or ["nothing"]
        by_name = {cls.__name__: cls for cls in family.HEADS.values()}
        if architectures[0] not in by_name:
            raise CheckpointError(
                f"{checkpoint.id}: the architecture {architectures[0]!r} is not supported",
                hint=f"supported are {', '.join(by_name)}; head= chooses one of them",
            )
        return family, by_name[architectures[0]]
    if head not in family.HEADS:
        raise UsageError(f"head {head!r} is not one of {', '.join(family.HEADS)}")
    return family, family.HEADS[head]


def select_device(name: str) -> torch.device:
    """The device of a name; "auto" takes CUDA, then MPS, then the CPU.

    Raises:
        UsageError: not a device, or not one of this machine's.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(
            f"device {name!r} is unknown", hint="auto, cpu, cuda, cuda:N or mps"
        ) from None
    is_there = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not is_there.get(device.type, False):
        raise UsageError(f"device {name!r} is not available on this machine", hint="--device cpu")
    return device
