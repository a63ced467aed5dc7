"""The operations that a model spends its time in, each in the form that runs fastest.

What they compute is torch's; a test holds each equal to the plain formulation. A batch is a matrix
of rows here: the frames of its items one after another, and nothing between. No product is spent
on padding, no mask is needed, and an item gets the numbers that it gets alone.

Shapes: B batch, N rows (the frames of all items), F frames of one item or of the longest,
C channels, D width, H heads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ValueT = TypeVar("ValueT")

# Scores that plain attention holds at once, which stay in the cache, and the most that it takes of
# one head; the fused one needs no memory for them.
_SCORES_AT_ONCE = 2**21
_LARGEST_SCORES = 2**23


@dataclass(frozen=True)
class Items:
    """Where the items of a batch stand among its rows.

    Attributes:
        num_frames: F, of the padded batch.
        sizes: rows of each item.
        lengths: of these the valid ones. What follows is padding that listens and is not heard;
            mostly there is none.
    """

    num_frames: int
    sizes: list[int]
    lengths: list[int]

    @classmethod
    def of(cls, lengths: Tensor, num_frames: int, *, with_padding: bool = False) -> Items:
        """Items of a padded batch, `lengths` (B,) valid frames each."""
        valid = lengths.tolist()
        return cls(num_frames, [num_frames] * len(valid) if with_padding else valid, valid)

    def pack(self, padded: Tensor) -> Tensor:
        """The rows (N, D) of a padded batch (B, F, D), zero where they are padding."""
        parts = zip(padded, self.lengths, self.sizes, strict=True)
        return torch.cat([_with_length(item[:length], size) for item, length, size in parts])

    def pad(self, rows: Tensor) -> Tensor:
        """Rows (N, D) as a padded batch (B, F, D), zero where there are none."""
        return torch.stack([_with_length(item, self.num_frames) for item in self.split(rows)])

    def split(self, rows: Tensor) -> tuple[Tensor, ...]:
        """The rows (F, D) of each item."""
        return torch.split(rows, self.sizes)

    def activate(self, function: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
        """Apply an activation to rows (N, D), which it overwrites if there are no gradients.

        One item after the other: torch goes by vectors, and what is left at the end of a thread's
        share by numbers, with other last digits. Where that is must not depend on neighbours.
        """
        if torch.is_grad_enabled():
            return function(rows)
        for item in self.split(rows):
            item.copy_(function(item))
        return rows


def _with_length(item: Tensor, size: int) -> Tensor:
    return item if len(item) == size else F.pad(item, (0, 0, 0, size - len(item)))


class Derived(Generic[ValueT]):
    """A value made from weights, kept until one of them changes."""

    def __init__(self) -> None:
        self._kept: tuple[object, ValueT] | None = None

    def get(self, weights: Iterable[Tensor], make: Callable[[], ValueT]) -> ValueT:
        """What `make` makes of the weights; not kept where gradients flow through it."""
        if torch.is_grad_enabled():
            return make()
        key = [(item.data_ptr(), item.is_inference() or item._version) for item in weights]
        if self._kept is None or self._kept[0] != key:
            self._kept = key, make()
        return self._kept[1]

    def __reduce__(self) -> tuple[Any, ...]:
        return Derived, ()  # a copy makes its own, and nothing of it is saved


# ------------------------------------------------------------------------------------- products


def takes_onednn(weight: Tensor) -> bool:
    """Whether oneDNN's products are at hand for a weight, and faster than torch's own choice."""
    is_plain = weight.device.type == "cpu" and weight.dtype == torch.float32
    return is_plain and hasattr(torch.ops.mkldnn, "_linear_pointwise")  # not in every build


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A linear layer (..., D) to (..., O).

    torch leaves float32 to the BLAS it was built with; where that is MKL on AMD, oneDNN is faster
    by a tenth. Other dtypes go to oneDNN anyway.

    A row gets the same bits whatever rows there are besides it. oneDNN holds that but for a single
    row, which it sums in another order; so there is never only one.
    """
    if x.shape[:-1].numel() == 1:
        return linear(x.reshape(1, -1).repeat(2, 1), weight, bias)[:1].view(*x.shape[:-1], -1)
    if takes_onednn(weight) and not torch.is_grad_enabled():
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return product
    return F.linear(x, weight, bias)


class Linear(nn.Linear):
    """`linear` as a module."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., O)."""
        return linear(x, self.weight, self.bias)


def windows(rows: Tensor, kernel: int, stride: int) -> Tensor:
    """The windows of a convolution as a matrix to multiply its weight with.

    A window of positions that follow one another in memory is a row of numbers itself, so nothing
    is copied here: (R, C) is seen as (R', kernel * C), rows that overlap.
    """
    rows = rows.contiguous()
    num_positions, channels = rows.shape
    size = ((num_positions - kernel) // stride + 1, kernel * channels)
    return rows.as_strided(size, (stride * channels, 1), rows.storage_offset())


def fold_group_norm(rows: Tensor, conv: nn.Conv1d, norm: nn.GroupNorm) -> tuple[Tensor, Tensor]:
    """A convolution and the group norm after it, one group a channel, as one matrix and a bias.

    The convolution is linear, so what it does to the mean m and the covariance C of its windows
    says what the norm will see, before there is any output: channel c, with weight w, has the mean
    w m and the variance w C w'. With s = gamma / sqrt(variance + eps), the two together are the
    weight s w and the bias beta - s w m; a bias of the convolution cancels out.

    Args:
        rows: (R, C_in), all positions that the statistics run over.
        conv: the convolution, without padding.
        norm: the norm of its output.

    Returns:
        (C_out, kernel * C_in) and (C_out,), in the dtype of `rows`.
    """
    exact = torch.float32 if rows.device.type == "mps" else torch.float64
    (kernel,), (stride,) = conv.kernel_size, conv.stride
    seen = windows(rows.to(exact), kernel, stride)  # (R', kernel * C_in)
    mean = seen.mean(0)
    centred = seen - mean
    covariance = centred.T @ centred / len(seen)
    weight = as_matrix(conv.weight.to(exact))
    variance = (weight @ covariance * weight).sum(1)
    scaled = weight * (norm.weight.to(exact) * torch.rsqrt(variance + norm.eps))[:, None]
    shift = norm.bias.to(exact) - scaled @ mean
    return scaled.to(rows.dtype), shift.to(rows.dtype)


def as_matrix(weight: Tensor) -> Tensor:
    """A convolution's weight (C_out, C_in, kernel) as (C_out, kernel * C_in), see `windows`."""
    return weight.transpose(1, 2).flatten(1)


def convolve_frames(x: Tensor, weight: Tensor, bias: Tensor | None, *, groups: int) -> Tensor:
    """A convolution over the frames of one item that gives as many frames as it takes.

    Args:
        x: (F, D); beyond its ends stand zeros.
        weight: (D, D / groups, 1, kernel), channels last.
        bias: (D,) or None.
        groups: of channels that do not see each other.

    Returns:
        (F, D).
    """
    kernel = weight.shape[-1]
    image = x.T[None, :, None]  # (1, D, 1, F), channels last
    out = F.conv2d(image, weight, bias, padding=(0, kernel // 2), groups=groups)
    return out[0, :, 0, : len(x)].T  # an even kernel gives one frame too many


# ------------------------------------------------------------------------------------ attention


def attend(q: Tensor, k: Tensor, v: Tensor, items: Items, num_heads: int) -> Tensor:
    """Scaled dot-product attention to the valid frames of one's own item.

    Args:
        q: (N, D).
        k: (N, D).
        v: (N, D).
        items: says which rows are an item's.
        num_heads: H.

    Returns:
        (N, D).
    """

    def apart(rows: Tensor) -> Tensor:  # (1, H, F, D / H)
        return rows.view(1, len(rows), num_heads, -1).transpose(1, 2)

    parts = zip(items.split(q), items.split(k), items.split(v), items.lengths, strict=True)
    heads = (_attend(apart(q), apart(k[:n]), apart(v[:n])) for q, k, v, n in parts)
    return torch.cat([item[0].transpose(0, 1).flatten(1) for item in heads])


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """(B, H, F, D / H) each, to the same."""
    size = q.shape[-2] * k.shape[-2]
    if _takes_plain_attention(q) and size <= _LARGEST_SCORES and not torch.is_grad_enabled():
        num_heads = max(1, _SCORES_AT_ONCE // size)
        flat = (torch.split(part.flatten(0, 1), num_heads) for part in (q, k, v))
        heads = [_plain_attention(*part) for part in zip(*flat, strict=True)]
        return torch.cat(heads).view(*q.shape)
    return F.scaled_dot_product_attention(q, k, v)


def _takes_plain_attention(q: Tensor) -> bool:
    """Whether torch's fused attention is slow here.

    It multiplies bfloat16 at full speed with AMX alone; elsewhere plain products take 0.6 of its
    time. Their scores are rounded once more, as q and k have been.
    """
    return q.device.type == "cpu" and q.dtype == torch.bfloat16 and not cpu_has("amx_tile")


def _plain_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """(H, F, D / H) each, to the same."""
    scores = torch.bmm(q * q.shape[-1] ** -0.5, k.transpose(1, 2))
    return torch.bmm(torch.softmax(scores, -1, out=scores), v)


@cache
def cpu_has(feature: str) -> bool:
    """Whether the CPU has a feature, "avx512_bf16" or "amx_tile", as far as torch can tell."""
    known: Callable[[], dict[str, object]] = getattr(torch.cpu, "get_capabilities", dict)
    return bool(known().get(feature))


# ---------------------------------------------------------------------------------- activations


def gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    """GELU; overwrites x where no gradients are asked for."""
    if torch.is_grad_enabled():
        return F.gelu(x, approximate=approximate)
    overwritten: Tensor = torch.ops.aten.gelu_(x, approximate=approximate)
    return overwritten
