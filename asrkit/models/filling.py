"""Named tensors into a module, strictly: every place gets its tensor, every tensor its place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from asrkit.errors import CheckpointError, listed


def fill_module(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    *,
    source: str,
    tolerate_missing: Iterable[str] = (),
    tolerate_unexpected: Iterable[str] = (),
) -> None:
    """Give every parameter and persistent buffer of a module its value, strictly.

    Values take the dtype and device of what they replace (a module on the meta device goes to the
    CPU), and share memory with `tensors` where nothing needs converting. Parameters that the module
    ties need a value under each of their names, and come apart.

    Args:
        module: what to fill, in place.
        tensors: values by the module's own names.
        source: where the tensors came from, for messages.
        tolerate_missing: patterns (`*.num_batches_tracked`) of names that may have no value; they
            keep what the module holds, zeros if it is on the meta device.
        tolerate_unexpected: patterns of names that are ignored if the module has no such name.

    Raises:
        CheckpointError: a name is missing or unexpected, or a shape or kind of number differs.
        RuntimeError: a buffer that is not persistent is on the meta device: no file can fill it.
    """
    expected = module.state_dict()
    check_tensors(
        tensors,
        expected,
        source=source,
        tolerate_missing=tolerate_missing,
        tolerate_unexpected=tolerate_unexpected,
    )
    values = {}
    for name, old in expected.items():
        device = torch.device("cpu") if old.is_meta else old.device
        if name in tensors:
            values[name] = tensors[name].to(dtype=old.dtype, device=device).contiguous()
        else:
            values[name] = torch.zeros_like(old, device=device) if old.is_meta else old
    module.load_state_dict(values, strict=True, assign=True)
    empty = [name for name, buffer in module.named_buffers() if buffer.is_meta]
    if empty:
        raise RuntimeError(f"buffers that no checkpoint can fill: {listed(empty)}")


def check_tensors(
    tensors: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    *,
    source: str,
    tolerate_missing: Iterable[str] = (),
    tolerate_unexpected: Iterable[str] = (),
) -> None:
    """Hold that tensors have the names, shapes and kinds of numbers that are expected.

    Args:
        tensors: what was found.
        expected: what the model has, by the same names.
        source: where the tensors came from, for messages.
        tolerate_missing: as in `fill_module`.
        tolerate_unexpected: as in `fill_module`.

    Raises:
        CheckpointError: a name is missing or unexpected, or a shape or kind of number differs.
    """
    missing = _unmatched(expected.keys() - tensors.keys(), tolerate_missing)
    if missing:
        raise CheckpointError(
            f"{source}: {len(missing)} of {len(expected)} tensors are missing: {listed(missing)}"
        )
    unexpected = _unmatched(tensors.keys() - expected.keys(), tolerate_unexpected)
    if unexpected:
        raise CheckpointError(
            f"{source}: {len(unexpected)} of {len(tensors)} tensors have no place in the model: "
            f"{listed(unexpected)}"
        )
    if different := [
        f"{name} is {_described(tensors[name])}, expected {_described(value)}"
        for name, value in sorted(expected.items())
        if name in tensors and not _fits(tensors[name], value)
    ]:
        raise CheckpointError(
            f"{source}: {len(different)} of {len(expected)} tensors do not fit: "
            f"{listed(different, '; ')}"
        )


def _fits(found: Tensor, expected: Tensor) -> bool:
    both_float = found.is_floating_point() and expected.is_floating_point()
    same_kind = both_float or found.dtype == expected.dtype
    return found.shape == expected.shape and same_kind


def _described(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def _unmatched(names: Iterable[str], patterns: Iterable[str]) -> list[str]:
    patterns = tuple(patterns)
    return sorted(n for n in names if not any(fnmatchcase(n, pattern) for pattern in patterns))
