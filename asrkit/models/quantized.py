"""Linear layers with weights of 8 bits: which they are, how they are stored, how they run.

A weight is whole numbers from -127 to 127 and a scale for each of its outputs. Rows of activations
become such numbers as they come, each row from its own least and largest, so that a frame gets what
it gets alone. Their product is one of whole numbers, exact; the scales follow it.

What is stored is laid out as compressed-tensors does (8-bit weights and activations, a scale a
channel and a token), which transformers reads as well.

Source: Dettmers et al. 2022, "LLM.int8()" (arXiv:2208.07339), section 2.1, vector-wise.

Shapes: R rows of a batch, D inputs, O outputs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from asrkit.errors import CheckpointError
from asrkit.models.kernels import Derived, Linear

# The layers of transformers, by far most of a model. What else there is stays as it is:
# convolutions, norms, heads, the adapters of languages, and embeddings.
LAYERS = r".*\blayers\.\d+\.(\w+\.)?(\w+_proj|\w+_dense|fc1|fc2)$"
_IS_LAYER = re.compile(LAYERS)
_SCALE = "weight_scale"

# What config.json says of such weights, under the key `quantization_config`.
QUANTIZATION: Mapping[str, Any] = {
    "quant_method": "compressed-tensors",
    "format": "int-quantized",
    "quantization_status": "compressed",
    "config_groups": {
        "group_0": {
            "targets": [f"re:{LAYERS}"],
            "weights": {
                "num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel",
                "dynamic": False,
            },
            "input_activations": {
                "num_bits": 8, "type": "int", "symmetric": False, "strategy": "token",
                "dynamic": True,
            },
        }
    },
}  # fmt: skip

# Rows that go through a product at once: what comes between stays in the cache.
_BLOCK = 512
# The scale of nothing but zeros; its inverse is a number too.
_SMALLEST = 1e-30
# What the middle of a row may be off by, of itself: a scale is no smaller.
_PRECISION = 1e-6


def is_quantized(config: Mapping[str, Any]) -> bool:
    """Whether a parsed config.json speaks of weights as this file has them.

    Raises:
        CheckpointError: they are of another kind.
    """
    found = config.get("quantization_config")
    if found is None:
        return False
    if found != QUANTIZATION:
        method = found.get("quant_method") if isinstance(found, dict) else found
        raise CheckpointError(
            f"config.json: quantization_config (quant_method {method!r}) is not the one that is "
            "implemented, which 8-bit models made by asrkit have",
            hint="asrkit convert checkpoint SOURCE OUT --quantize int8, of the weights in floats",
        )
    return True


def is_scale(name: str) -> bool:
    """Whether a tensor of this name holds the scales of a weight."""
    return name.endswith(f".{_SCALE}")


def to_int8(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Whole numbers, and what to multiply them with to get a weight back, within half of it.

    Args:
        weight: (O, D).

    Returns:
        (O, D) int8 from -127 to 127, and (O, 1) float32.
    """
    weight = weight.float()
    scale = (weight.abs().amax(-1, keepdim=True) / 127).clamp(min=_SMALLEST)
    return (weight / scale).round().to(torch.int8), scale


def quantize(tensors: Mapping[str, Tensor], *, source: str) -> dict[str, Tensor]:
    """Named tensors, the weights of transformer layers as 8 bits and scales.

    Args:
        tensors: by the names of a checkpoint, or of a module.
        source: where they came from, for messages.

    Raises:
        CheckpointError: a weight has a number that is not finite.
    """
    result = dict(tensors)
    for name, value in tensors.items():
        layer, _, kind = name.rpartition(".")
        if kind == "weight" and _IS_LAYER.match(layer):
            result[name], result[f"{layer}.{_SCALE}"] = to_int8(value)
    _check_scales(result, source)
    return result


class Int8Linear(nn.Module):
    """A linear layer with weights of 8 bits. It has no gradients."""

    def __init__(self, weight: Tensor, weight_scale: Tensor, bias: Tensor) -> None:
        """Build it.

        Args:
            weight: (O, D) int8.
            weight_scale: (O, 1).
            bias: (O,), in the dtype of the rest of the model.
        """
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.weight_scale = nn.Parameter(weight_scale, requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)
        self._sums: Derived[Tensor] = Derived()

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., O)."""
        rows = x.reshape(-1, x.shape[-1])
        out = x.new_empty(len(rows), len(self.weight))
        sums = self._sums.get([self.weight], lambda: self.weight.sum(-1).float())  # (O,)
        for block, target in zip(torch.split(rows, _BLOCK), torch.split(out, _BLOCK), strict=True):
            low = block.amin(-1, keepdim=True).float()  # (R, 1)
            high = block.amax(-1, keepdim=True).float()
            middle = (low + high) / 2
            scale = ((high - low) / 254 + _PRECISION * middle.abs()).clamp_(min=_SMALLEST)
            codes = (block.float() - middle).mul_(1 / scale).round_().to(torch.int8)
            product = torch._int_mm(codes, self.weight.t()).float()
            product.mul_(scale).addcmul_(middle, sums)
            target.copy_(product.mul_(self.weight_scale.t()).add_(self.bias))
        return out.view(*x.shape[:-1], -1)

    def dequantized(self) -> Linear:
        """The layer with its weight as floats."""
        with torch.device("meta"):
            linear = Linear(self.weight.shape[1], len(self.weight))
        linear.weight = nn.Parameter((self.weight * self.weight_scale).to(self.bias.dtype))
        linear.bias = self.bias
        return linear


def prepare(module: nn.Module) -> None:
    """Give a module, still on the meta device, a place for every tensor that `quantize` makes."""
    for name, layer in list(module.named_modules()):
        if isinstance(layer, nn.Linear) and _IS_LAYER.match(name):
            scale = torch.empty(len(layer.weight), 1, device="meta")
            _exchange(module, name, Int8Linear(layer.weight.to(torch.int8), scale, layer.bias))


def settle(module: nn.Module, *, device: torch.device, source: str) -> None:
    """Make a module with its tensors in place ready to run on a device.

    Where there are no exact products of 8 bits, or none that are faster, weights become floats.

    Raises:
        CheckpointError: a scale is not a positive number.
    """
    _check_scales(module.state_dict(), source)
    if device.type == "cpu" and _has_exact_products():
        return
    for name, layer in list(module.named_modules()):
        if isinstance(layer, Int8Linear):
            _exchange(module, name, layer.dequantized())


@cache
def _has_exact_products() -> bool:
    """Whether this processor multiplies matrices of 8 bits without losing any, and fast.

    x86 without VNNI adds pairs of products in 16 bits, in which the largest do not fit; on other
    processors torch may have nothing better than a loop.
    """
    largest = torch.full((64, 64), 127, dtype=torch.int8)
    is_x86 = torch.backends.cpu.get_cpu_capability().startswith("AVX")
    return is_x86 and bool((torch._int_mm(largest, largest) == 64 * 127 * 127).all())


def _check_scales(tensors: Mapping[str, Tensor], source: str) -> None:
    for name in filter(is_scale, tensors):
        wrong = tensors[name][~((tensors[name] > 0) & tensors[name].isfinite())]
        if wrong.numel():
            raise CheckpointError(
                f"{source}: {name} is {float(wrong[0])} somewhere, expected positive numbers"
            )


def _exchange(module: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, attribute = name.rpartition(".")
    setattr(module.get_submodule(parent), attribute, layer)
