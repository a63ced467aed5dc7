"""Weights on their way to disk: their numbers, their weight norm, their files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asrkit.errors import CheckpointError
from asrkit.models.quantized import is_scale
from asrkit.models.runtime import DTYPES
from asrkit.models.wav2vec2 import WEIGHT_NORM, spell_weight_norm

_WEIGHTS = "model.safetensors"


def cast(tensors: Mapping[str, Tensor], dtype: str | None) -> dict[str, Tensor]:
    """Tensors with their floating-point numbers in `dtype`; None keeps them as they are.

    The scales of 8-bit weights stay in float32.

    Raises:
        CheckpointError: a number becomes infinite.
    """
    if dtype is None:
        return dict(tensors)
    target = DTYPES[dtype]
    result = {}
    for name, value in tensors.items():
        is_cast = value.is_floating_point() and not is_scale(name)
        result[name] = value.to(target) if is_cast else value
        if not result[name].isfinite().all():
            raise CheckpointError(
                f"{name} has numbers beyond {dtype}, the largest {float(value.abs().max()):g}",
                hint="bfloat16 has the range of float32",
            )
    return result


def stored_dtype(tensors: Mapping[str, Tensor]) -> str:
    """The dtype of the largest floating-point tensor, as config.json names it."""
    floats = [value for value in tensors.values() if value.is_floating_point()]
    largest = max(floats, key=Tensor.numel, default=torch.empty(0))
    return str(largest.dtype).removeprefix("torch.")


def merge_weight_norm(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors in which the direction of a weight norm is the weight itself.

    The positional convolution is stored as g and v, its weight being g * v / |v|. transformers has
    no place for the weight alone, and makes up a random one without a word. So both are kept: v
    becomes the weight, g its norms, and whoever wants a plain convolution takes v.
    """
    merged = dict(tensors)
    for name in tensors:
        if name.endswith(f"{WEIGHT_NORM}.original1"):
            norm = name.removesuffix("1") + "0"
            weight = torch._weight_norm(tensors[name].float(), tensors[norm].float(), 2)
            merged[name] = weight
            merged[norm] = weight.norm(dim=(0, 1), keepdim=True)
    return merged


def spelled(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under the names that torch gives them since 2.0."""
    return {spell_weight_norm(name): value for name, value in tensors.items()}


def save(tensors: Mapping[str, Tensor], folder: Path, *, shard_size: int | None = None) -> None:
    """Write weights as safetensors.

    Args:
        tensors: by name.
        folder: where the files go.
        shard_size: bytes of one file at most, but one tensor at least; None writes one file.
    """
    if shard_size is None:
        save_file(tensors, folder / _WEIGHTS)
        return
    from huggingface_hub import split_torch_state_dict_into_shards

    split = split_torch_state_dict_into_shards(
        unshared(tensors), filename_pattern="model{suffix}.safetensors", max_shard_size=shard_size
    )
    for file, names in split.filename_to_tensors.items():
        save_file({name: tensors[name] for name in names}, folder / file)
    if split.is_sharded:
        index: dict[str, Any] = {
            "metadata": split.metadata,
            "weight_map": dict(sorted(split.tensor_to_filename.items())),
        }
        text = json.dumps(index, indent=2) + "\n"
        (folder / f"{_WEIGHTS}.index.json").write_text(text, encoding="utf-8")


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Write a file of settings as the Hub's are."""
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def save_file(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write one safetensors file, which transformers reads too."""
    from safetensors.torch import save_file as write

    write(unshared(tensors), path, metadata={"format": "pt"})


def unshared(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors with memory of their own, which the format demands."""
    seen: set[int] = set()
    result = {}
    for name, value in tensors.items():
        value = value.detach().contiguous()
        pointer = value.untyped_storage().data_ptr()
        result[name] = value.clone() if pointer in seen else value
        seen.add(pointer)
    return result
