"""Adapters of Wav2Vec2 models: small modules added to an encoder that is there already.

MMS (Pratap et al. 2023, arXiv:2305.13516) keeps one attention adapter a layer and one CTC head for
each of its languages, in a file of their own beside the weights that all share.

Shapes: B batch, F frames, D width.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from asrkit.checkpoint import Checkpoint
from asrkit.errors import UsageError
from asrkit.models import kernels
from asrkit.models.filling import check_tensors
from asrkit.models.layers import shorten

if TYPE_CHECKING:
    from asrkit.models.wav2vec2 import Wav2Vec2Config


class AttentionAdapter(nn.Module):
    """A small bottleneck after a layer: the part of MMS models that belongs to one language."""

    def __init__(self, width: int, bottleneck: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear_1 = kernels.Linear(width, bottleneck)
        self.linear_2 = kernels.Linear(bottleneck, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, D) to (B, F, D)."""
        out: Tensor = self.linear_2(F.relu(self.linear_1(self.norm(x))))
        return out


class AdapterLayer(nn.Module):
    """A strided convolution with a gated linear unit that shortens the frame sequence."""

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__()
        width = config.encoder_width
        self.conv = nn.Conv1d(
            width,
            2 * width,
            config.adapter_kernel_size,
            stride=config.adapter_stride,
            padding=1,
        )


class Adapter(nn.Module):
    """Projection and strided convolutions after the encoder (`add_adapter`)."""

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__()
        self.proj = self.proj_layer_norm = None
        if config.encoder_width != config.hidden_size:
            self.proj = kernels.Linear(config.hidden_size, config.encoder_width)
            self.proj_layer_norm = nn.LayerNorm(config.encoder_width)
        self.layers: Iterable[AdapterLayer] = nn.ModuleList(  # type: ignore[assignment]  # of these
            AdapterLayer(config) for _ in range(config.num_adapter_layers)
        )

    def forward(self, x: Tensor, lengths: Tensor, *, with_padding: bool) -> tuple[Tensor, Tensor]:
        """Shorten x (B, F, D) and its `lengths` (B,), see `shorten`; gives both."""
        if self.proj is not None and self.proj_layer_norm is not None:
            x = self.proj_layer_norm(self.proj(x))
        for layer in self.layers:
            x, lengths = shorten(layer.conv, x, lengths, with_padding=with_padding)
        return x, lengths


# ----------------------------------------------------------------------------------- languages


def load_adapter(
    checkpoint: Checkpoint, language: str, config: Wav2Vec2Config
) -> dict[str, Tensor]:
    """Read the weights of one language.

    Raises:
        UsageError: the model has no adapters, or none of this language.
        CheckpointError: the file is missing or damaged.
    """
    if config.adapter_attn_dim is None:
        raise UsageError(
            f"{checkpoint.id}: language {language!r} is asked for, and there are no adapters",
            hint="only multilingual models (MMS) take a language",
        )
    return checkpoint.load_adapter(language)


def with_vocabulary_of(adapter: Mapping[str, Tensor], config: Wav2Vec2Config) -> Wav2Vec2Config:
    """The config of a model with the adapter's head, which has outputs of its own."""
    head = adapter.get("lm_head.weight")
    return config if head is None or head.dim() != 2 else replace(config, vocab_size=len(head))


def check_adapter(adapter: Mapping[str, Tensor], module: nn.Module, *, source: str) -> None:
    """Hold that an adapter has every tensor that belongs to a language, and no other.

    Raises:
        CheckpointError: a tensor is missing, of the wrong shape, or has no place.
    """
    own = {
        name: tensor
        for name, tensor in module.state_dict().items()
        if ".adapter_layer." in name or name.startswith("lm_head.")
    }
    check_tensors(adapter, own, source=source)
