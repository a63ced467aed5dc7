"""Named tensors into a module: what fits, and what is refused."""

from __future__ import annotations

import re

import pytest
import torch

from asrkit.errors import CheckpointError
from asrkit.models.filling import fill_module


def linear(device: str = "meta", dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    return torch.nn.Linear(3, 2, device=device, dtype=dtype)


def values(**extra: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.ones(2), **extra}


def test_meta_module_is_filled_without_copying():
    module, tensors = linear(), values()

    fill_module(module, tensors, source="x")

    assert [parameter.tolist() for parameter in module.parameters()] == [
        [[0, 1, 2], [3, 4, 5]],
        [1, 1],
    ]
    assert module.weight.data_ptr() == tensors["weight"].data_ptr()
    assert isinstance(module.weight, torch.nn.Parameter)


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_values_take_the_dtype_of_the_module(device):
    module = linear(device, torch.float16)

    fill_module(module, values(), source="x")

    assert module.weight.dtype == torch.float16
    assert module.weight.device.type == "cpu"
    assert torch.equal(module.weight, values()["weight"].half())


def test_missing_tensors_are_counted_and_named():
    """I5."""
    with pytest.raises(CheckpointError, match=r"^x: 1 of 2 tensors are missing: bias$"):
        fill_module(linear(), {"weight": torch.zeros(2, 3)}, source="x")


def test_tolerated_missing_tensor_keeps_its_value_or_is_zero():
    weight = {"weight": torch.zeros(2, 3)}
    kept, zeroed = linear("cpu"), linear("meta")
    bias = kept.bias.detach().clone()

    fill_module(kept, weight, source="x", tolerate_missing=["b*"])
    fill_module(zeroed, weight, source="x", tolerate_missing=["b*"])

    assert torch.equal(kept.bias, bias)
    assert zeroed.bias.tolist() == [0, 0]


def test_unexpected_tensors_are_counted_and_named_unless_tolerated():
    """I5."""
    tensors = values(**{f"quantizer.{i}": torch.zeros(1) for i in range(5)})

    fill_module(linear(), tensors, source="x", tolerate_unexpected=["quantizer.*"])
    expected = r"x: 5 of 7 tensors have no place .*: quantizer\.0, .*\.2, and 2 more"
    with pytest.raises(CheckpointError, match=expected):
        fill_module(linear(), tensors, source="x")


@pytest.mark.parametrize(
    ("bias", "found"),
    [(torch.zeros(4), "float32 (4,)"), (torch.zeros(2, dtype=torch.int64), "int64 (2,)")],
)
def test_tensor_that_does_not_fit_is_shown_with_what_was_expected(bias, found):
    message = f"x: 1 of 2 tensors do not fit: bias is {found}, expected float32 (2,)"

    with pytest.raises(CheckpointError, match=re.escape(message)):
        fill_module(linear(), values(bias=bias), source="x")


def test_buffer_that_no_file_can_fill_is_a_bug_of_the_model():
    module = linear()
    module.register_buffer("positions", torch.zeros(1, device="meta"), persistent=False)

    with pytest.raises(RuntimeError, match="positions"):
        fill_module(module, values(), source="x")
