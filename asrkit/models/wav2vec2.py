"""Wav2Vec2: a convolutional feature encoder and a transformer over raw waveforms.

Baevski et al. 2020, "wav2vec 2.0" (arXiv:2006.11477); XLS-R, MMS and the fine-tuned CTC models
share it. The numbers follow transformers' implementation and checkpoints of it.

What is special here:
- models take waveforms *with lengths*; a padded batch gives each item what it gets alone, models
  with group norm included (their statistics run over valid frames only);
- the feature encoder runs channels-last: the whole batch is one matrix of rows, and a strided
  convolution is a few matrix products over reshaped views of it, with no copy of the input;
- module attributes are named as the checkpoint's keys, config fields as config.json's.

Shapes: B batch, T samples, F frames, N frames of all items, D width, C channels, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from asrkit.errors import CheckpointError
from asrkit.models import heads, kernels, pretraining
from asrkit.models.adapters import Adapter, AttentionAdapter
from asrkit.models.kernels import Items
from asrkit.models.layers import (
    ACTIVATIONS,
    MAX_LAYERS,
    Attention,
    EncoderOutput,
    conv_length,
    read_config,
    require,
    require_range,
)

PROBLEM_TYPES = ("single_label_classification", "multi_label_classification", "regression")


@dataclass(frozen=True)
class Wav2Vec2Config:
    """What config.json says about the forward pass; the fields are its keys."""

    vocab_size: int = 32
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-5
    feat_extract_norm: str = "group"
    feat_extract_activation: str = "gelu"
    conv_dim: tuple[int, ...] = (512,) * 7
    conv_kernel: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    conv_stride: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    conv_bias: bool = False
    num_conv_pos_embeddings: int = 128
    num_conv_pos_embedding_groups: int = 16
    do_stable_layer_norm: bool = False
    pad_token_id: int = 0
    ctc_loss_reduction: str = "sum"
    ctc_zero_infinity: bool = False
    add_adapter: bool = False
    adapter_kernel_size: int = 3
    adapter_stride: int = 2
    num_adapter_layers: int = 3
    output_hidden_size: int | None = None
    adapter_attn_dim: int | None = None
    # Only HuBERT checkpoints are known to set these two.
    feat_proj_layer_norm: bool = True
    conv_pos_batch_norm: bool = False
    # Classification and speaker heads.
    use_weighted_layer_sum: bool = False
    id2label: dict[int, str] = field(default_factory=lambda: _labels(2))
    problem_type: str = PROBLEM_TYPES[0]
    classifier_proj_size: int = 256
    tdnn_dim: tuple[int, ...] = (512, 512, 512, 512, 1500)
    tdnn_kernel: tuple[int, ...] = (5, 3, 3, 1, 1)
    tdnn_dilation: tuple[int, ...] = (1, 2, 3, 1, 1)
    xvector_output_dim: int = 512
    # Pre-training.
    num_codevectors_per_group: int = 320
    num_codevector_groups: int = 2
    codevector_dim: int = 256
    proj_codevector_dim: int = 256
    contrastive_logits_temperature: float = 0.1
    diversity_loss_weight: float = 0.1
    apply_spec_augment: bool = True
    mask_time_prob: float = 0.05
    mask_feature_prob: float = 0.0

    def __post_init__(self) -> None:
        require("feat_extract_norm", self.feat_extract_norm, ("group", "layer"))
        require("feat_extract_activation", self.feat_extract_activation, ACTIVATIONS)
        require("hidden_act", self.hidden_act, ACTIVATIONS)
        require("ctc_loss_reduction", self.ctc_loss_reduction, ("sum", "mean", "none"))
        require_range(self, "num_hidden_layers num_adapter_layers", 0, MAX_LAYERS)
        require("problem_type", self.problem_type, PROBLEM_TYPES)
        sizes = {len(self.conv_dim), len(self.conv_kernel), len(self.conv_stride)}
        if len(sizes) != 1:
            raise CheckpointError(
                "config.json: conv_dim, conv_kernel and conv_stride have lengths "
                f"{len(self.conv_dim)}, {len(self.conv_kernel)} and {len(self.conv_stride)}, "
                "expected equal lengths"
            )
        for name in (
            "vocab_size hidden_size num_attention_heads intermediate_size num_conv_pos_embeddings"
            " num_conv_pos_embedding_groups adapter_kernel_size adapter_stride classifier_proj_size"
            " xvector_output_dim num_codevectors_per_group num_codevector_groups codevector_dim"
            " proj_codevector_dim"
        ).split():
            if getattr(self, name) < 1:
                raise CheckpointError(
                    f"config.json: {name} is {getattr(self, name)}, expected at least 1"
                )
        for name in ("num_attention_heads", "num_conv_pos_embedding_groups"):
            if self.hidden_size % getattr(self, name):
                raise CheckpointError(
                    f"config.json: hidden_size {self.hidden_size} is not a multiple of "
                    f"{name} {getattr(self, name)}"
                )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Wav2Vec2Config:
        """Read a parsed config.json.

        Raises:
            CheckpointError: a value is of the wrong type or not implemented.
        """
        if data.get("id2label") is None and type(data.get("num_labels")) is int:
            data = {**data, "id2label": _labels(data["num_labels"])}
        return read_config(cls, data)

    @property
    def num_labels(self) -> int:
        """How many classes a head scores."""
        return len(self.id2label)

    @property
    def has_mask_embedding(self) -> bool:
        """Whether pre-training puts a learned vector in place of masked frames."""
        return self.mask_time_prob > 0 or self.mask_feature_prob > 0

    @property
    def encoder_width(self) -> int:
        """Width of the last hidden state, adapter included."""
        if self.add_adapter and self.output_hidden_size is not None:
            return self.output_hidden_size
        return self.hidden_size

    @property
    def samples_per_frame(self) -> int:
        """Samples from the start of one output frame to the start of the next."""
        stride = math.prod(self.conv_stride)
        return stride * self.adapter_stride**self.num_adapter_layers if self.add_adapter else stride

    @property
    def receptive_field(self) -> int:
        """Samples that the first frame needs; shorter input is padded to it with zeros."""
        field = 1
        for kernel, stride in zip(
            reversed(self.conv_kernel), reversed(self.conv_stride), strict=True
        ):
            field = (field - 1) * stride + kernel
        return field

    def frame_lengths(self, lengths: Any) -> Any:
        """Frames that so many samples give (before the adapter); an int or a tensor of ints."""
        for kernel, stride in zip(self.conv_kernel, self.conv_stride, strict=True):
            lengths = conv_length(lengths, kernel, stride)
        return lengths


def _labels(count: int) -> dict[int, str]:
    return {index: f"LABEL_{index}" for index in range(count)}


# ---------------------------------------------------------------------------------- front half


Product = tuple[Tensor, Tensor | None]  # a matrix and a bias
# Frames that go through the feature encoder at once: what stands between its layers is then small
# enough for the cache, and for memory that need not come from the system every time. A GPU, which
# has to be told each product, would spend its time on being told.
_FRAMES_AT_ONCE = 100
_FRAMES_AT_ONCE_ON_GPU = 2000


class ConvLayer(nn.Module):
    """One strided convolution, norm and activation of the feature encoder."""

    def __init__(self, config: Wav2Vec2Config, index: int) -> None:
        super().__init__()
        channels = (1, *config.conv_dim)
        self.conv = nn.Conv1d(
            channels[index],
            channels[index + 1],
            config.conv_kernel[index],
            stride=config.conv_stride[index],
            bias=config.conv_bias,
        )
        self.layer_norm: nn.LayerNorm | nn.GroupNorm | None = None
        if config.feat_extract_norm == "layer":
            self.layer_norm = nn.LayerNorm(channels[index + 1])
        elif index == 0:
            self.layer_norm = nn.GroupNorm(channels[1], channels[1])
        self.activation = ACTIVATIONS[config.feat_extract_activation]

    def product(self, rows: Tensor | None = None) -> Product:
        """The convolution, and a group norm after it, as one matrix and a bias.

        Args:
            rows: (R, C_in), what is valid of an item that the first layer is to convolve: the
                statistics of a group norm are of them, and their precision is kept.
        """
        if isinstance(self.layer_norm, nn.GroupNorm) and rows is not None:
            return kernels.fold_group_norm(rows, self.conv, self.layer_norm)
        matrix, bias = kernels.as_matrix(self.conv.weight), self.conv.bias
        if rows is None:
            return matrix, bias
        return matrix.to(rows.dtype), None if bias is None else bias.to(rows.dtype)

    def forward(self, rows: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
        """Convolve rows (R, C_in) of one item with its `product`; gives (R', C_out)."""
        (kernel,), (stride,) = self.conv.kernel_size, self.conv.stride
        rows = kernels.linear(kernels.windows(rows, kernel, stride), matrix, bias)
        rows = rows.to(self.conv.weight.dtype)
        if isinstance(self.layer_norm, nn.LayerNorm):
            rows = self.layer_norm(rows)
        activated: Tensor = self.activation(rows)
        return activated


class FeatureEncoder(nn.Module):
    """Waveform to frames of `conv_dim[-1]` channels."""

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__()
        self.config = config
        self.total_stride = math.prod(config.conv_stride)
        self.conv_layers: Sequence[ConvLayer] = nn.ModuleList(  # type: ignore[assignment]  # of these
            ConvLayer(config, index) for index in range(len(config.conv_dim))
        )
        self._products = kernels.Derived[list[Product]]()

    def forward(self, values: Tensor, lengths: Tensor, *, with_padding: bool = False) -> Tensor:
        """Encode waveforms.

        Args:
            values: (B, T).
            lengths: (B,) valid samples.
            with_padding: make frames of what follows them too, not zeros.

        Returns:
            (B, F, C).
        """
        products = self._products.get(
            self.parameters(), lambda: [layer.product() for layer in self.conv_layers[1:]]
        )
        frames = Items.of(
            self.config.frame_lengths(lengths),
            self.config.frame_lengths(values.shape[1]),
            with_padding=with_padding,
        )
        rows = [
            self._encode(row if with_padding else row[:length], length, products)
            for row, length in zip(values, lengths.tolist(), strict=True)
        ]
        return frames.pad(torch.cat(rows))

    def _encode(self, samples: Tensor, length: int, products: Sequence[Product]) -> Tensor:
        """One item, (T,) to (F, C), piece by piece; `products` are those after the first layer's.

        No frame sees beyond `receptive_field` samples, except by the group norm of the first layer.
        """
        signal = samples[:, None]
        products = [self.conv_layers[0].product(signal[:length]), *products]
        num_frames = self.config.frame_lengths(len(samples))
        at_once = _FRAMES_AT_ONCE if samples.device.type == "cpu" else _FRAMES_AT_ONCE_ON_GPU
        pieces = []
        for start in range(0, num_frames, at_once):
            last = min(start + at_once, num_frames) - 1
            end = last * self.total_stride + self.config.receptive_field
            rows = signal[start * self.total_stride : end]
            for layer, product in zip(self.conv_layers, products, strict=True):
                rows = layer(rows, *product)
            pieces.append(rows)
        return torch.cat(pieces)


class FeatureProjection(nn.Module):
    """Features of the convolutions to the transformer's width."""

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__()
        width = config.conv_dim[-1]
        self.layer_norm = (
            nn.LayerNorm(width, config.layer_norm_eps) if config.feat_proj_layer_norm else None
        )
        self.projection = kernels.Linear(width, config.hidden_size)

    def normalised(self, features: Tensor) -> Tensor:
        """(B, F, C), as the projection and pre-training's quantizer read them."""
        return features if self.layer_norm is None else self.layer_norm(features)

    def forward(self, features: Tensor) -> Tensor:
        """(B, F, C) to (B, F, D)."""
        projected: Tensor = self.projection(self.normalised(features))
        return projected


# ------------------------------------------------------------------------------------- encoder


class WeightNorm(nn.Module):
    """A convolution's weight as the magnitude of each tap of its kernel, and its direction.

    That of torch.nn.utils.parametrizations, but for the meta device: there torch's own asks its
    compiler for a norm that no one needs, and importing that takes longer than torch itself.
    """

    def forward(self, magnitude: Tensor, direction: Tensor) -> Tensor:
        """The weight, of the shape of `direction`."""
        return torch._weight_norm(direction, magnitude, 2)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Magnitude and direction of a weight."""
        if weight.is_meta:
            return weight.new_empty(1, 1, weight.shape[2]), weight
        return torch.norm_except_dim(weight, 2, 2), weight


class PositionalConvEmbedding(nn.Module):
    """A wide grouped convolution that tells a frame where it stands among its neighbours."""

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__()
        kernel = config.num_conv_pos_embeddings
        conv = nn.Conv1d(
            config.hidden_size,
            config.hidden_size,
            kernel,
            padding=kernel // 2,
            groups=config.num_conv_pos_embedding_groups,
        )
        self.batch_norm = None
        if config.conv_pos_batch_norm:
            self.batch_norm = nn.BatchNorm1d(config.hidden_size)
            self.conv = conv
        else:
            register_parametrization(conv, "weight", WeightNorm(), unsafe=True)
            self.conv = conv
        self.activation = ACTIVATIONS[config.feat_extract_activation]
        self._image_weight = kernels.Derived[Tensor]()

    def forward(self, x: Tensor, items: Items) -> Tensor:
        """Embed the rows x (N, D) of all items, zero where they are padding."""
        if self.batch_norm is not None:  # which moves the padding away from zero
            x = items.pack(items.pad(self.batch_norm(x)))
        weight = self._image_weight.get(self.conv.parameters(), self._make_image_weight)
        embedded = (
            kernels.convolve_frames(item, weight, self.conv.bias, groups=self.conv.groups)
            for item in items.split(x)
        )
        return torch.cat([self.activation(item) for item in embedded])

    def _make_image_weight(self) -> Tensor:
        """(D, D / groups, 1, kernel), channels last, the weight norm applied."""
        weight: Tensor = self.conv.weight
        return weight[:, :, None].contiguous(memory_format=torch.channels_last)


def spell_weight_norm(key: str) -> str:
    """The key of a positional convolution's weight in the newer of its two spellings."""
    for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
        key = key.replace(f"pos_conv_embed.conv.{old}", f"{WEIGHT_NORM}.{new}")
    return key


class FeedForward(nn.Module):
    """Two linear layers with an activation between."""

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__()
        self.intermediate_dense = kernels.Linear(config.hidden_size, config.intermediate_size)
        self.output_dense = kernels.Linear(config.intermediate_size, config.hidden_size)
        self.activation = ACTIVATIONS[config.hidden_act]

    def forward(self, x: Tensor, items: Items) -> Tensor:
        """(N, D) to (N, D)."""
        out: Tensor = self.output_dense(items.activate(self.activation, self.intermediate_dense(x)))
        return out


class EncoderLayer(nn.Module):
    """One transformer layer: norms after the residual sums, or (stable) before them."""

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__()
        width = config.hidden_size
        self.is_stable = config.do_stable_layer_norm
        self.attention = Attention(width, config.num_attention_heads)
        self.layer_norm = nn.LayerNorm(width, config.layer_norm_eps)
        self.feed_forward = FeedForward(config)
        self.final_layer_norm = nn.LayerNorm(width, config.layer_norm_eps)
        self.adapter_layer = None
        # PARITY: the reference builds attention adapters in stable layers only, whatever the key.
        if self.is_stable and config.adapter_attn_dim is not None:
            self.adapter_layer = AttentionAdapter(width, config.adapter_attn_dim)

    def forward(self, x: Tensor, items: Items) -> Tensor:
        """Transform the rows x (N, D) of all items; gives (N, D)."""
        if not self.is_stable:
            x = self.layer_norm(x + self.attention(x, items))
            x = self.final_layer_norm(x + self.feed_forward(x, items))
            return x
        x = x + self.attention(self.layer_norm(x), items)
        x = x + self.feed_forward(self.final_layer_norm(x), items)
        if self.adapter_layer is not None:
            x = x + self.adapter_layer(x)
        return x


class Encoder(nn.Module):
    """Positional embedding and transformer layers."""

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__()
        self.is_stable = config.do_stable_layer_norm
        self.pos_conv_embed = PositionalConvEmbedding(config)
        self.layer_norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.num_hidden_layers))

    def forward(self, x: Tensor, items: Items, *, output_hidden_states: bool) -> list[Tensor]:
        """Encode a padded batch x (B, F, D); gives the last state (B, F, D), or all of them."""
        x = items.pack(x)  # (N, D)
        x = x + self.pos_conv_embed(x, items)
        if not self.is_stable:
            x = self.layer_norm(x)
        states = []
        for layer in self.layers:
            if output_hidden_states:
                states.append(items.pad(x))
            x = layer(x, items)
        if self.is_stable:
            # PARITY: as transformers up to 5.8 and s3prl; 5.23 lists the last state before this
            # norm. The model's output is the same.
            x = self.layer_norm(x)
        return [*states, items.pad(x)]


# -------------------------------------------------------------------------------------- models


class Wav2Vec2Model(nn.Module):
    """The base model: waveforms to hidden states."""

    config_class: ClassVar[type[Wav2Vec2Config]] = Wav2Vec2Config
    base_prefix: ClassVar[str] = ""

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__()
        self.config = config
        self.feature_extractor = FeatureEncoder(config)
        self.feature_projection = FeatureProjection(config)
        self.encoder = Encoder(config)
        self.adapter = Adapter(config) if config.add_adapter else None

    def forward(
        self,
        values: Tensor,
        lengths: Tensor | None = None,
        *,
        output_hidden_states: bool = False,
        with_padding: bool = False,
    ) -> EncoderOutput:
        """Encode waveforms.

        Args:
            values: (B, T) normalised samples; whatever follows an item's length is ignored.
            lengths: (B,) valid samples; None means all. Items shorter than the receptive field
                count as padded to it with zeros.
            output_hidden_states: keep every layer's output.
            with_padding: give the frames of the padding what the reference gives them. No valid
                frame depends on them.

        Returns:
            Hidden states; frames beyond an item's length are zero or, with padding, hold numbers
            that only the reference gives a meaning.
        """
        features, lengths = self.features(values, lengths, with_padding=with_padding)
        projected = self.feature_projection(features)
        return self.encode(
            projected,
            lengths,
            output_hidden_states=output_hidden_states,
            with_padding=with_padding,
        )

    def features(
        self, values: Tensor, lengths: Tensor | None, *, with_padding: bool
    ) -> tuple[Tensor, Tensor]:
        """Features (B, F, C) of the convolutions, and how many are valid (B,), on the CPU."""
        config = self.config
        num_samples = values.shape[1]
        if lengths is None:
            lengths = torch.full((len(values),), num_samples)
        lengths = lengths.cpu()  # to know them, nothing need wait for what a device is doing
        if int(lengths.min()) < num_samples:
            positions = torch.arange(num_samples, device=values.device)
            values = values.masked_fill(positions >= lengths.to(values.device)[:, None], 0)
        values = F.pad(values, (0, max(0, config.receptive_field - values.shape[1])))
        lengths = lengths.clamp(min=config.receptive_field)
        # The first layer hears samples as they are; what follows has the dtype of the weights.
        values = values.to(torch.promote_types(self.dtype, torch.float32))
        features = self.feature_extractor(values, lengths, with_padding=with_padding)
        return features, config.frame_lengths(lengths)

    def encode(
        self,
        projected: Tensor,
        lengths: Tensor,
        *,
        output_hidden_states: bool,
        with_padding: bool,
    ) -> EncoderOutput:
        """The back half: what the transformer makes of (B, F, D), `lengths` (B,) frames valid."""
        items = Items.of(lengths, projected.shape[1], with_padding=with_padding)
        lengths = lengths.to(projected.device)
        states = self.encoder(projected, items, output_hidden_states=output_hidden_states)
        last = states[-1]
        if self.adapter is not None:
            last, lengths = self.adapter(last, lengths, with_padding=with_padding)
        return EncoderOutput(last, lengths, tuple(states) if output_hidden_states else None)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights."""
        return self.feature_projection.projection.weight.dtype


class _OnWav2Vec2:
    """What the heads below stand on."""

    config_class = Wav2Vec2Config
    base_class = Wav2Vec2Model
    base_prefix = "wav2vec2"


class Wav2Vec2ForCTC(_OnWav2Vec2, heads.ForCTC):
    """Characters, frame by frame."""


class Wav2Vec2ForSequenceClassification(_OnWav2Vec2, heads.ForSequenceClassification):
    """One set of classes for a whole waveform."""


class Wav2Vec2ForAudioFrameClassification(_OnWav2Vec2, heads.ForAudioFrameClassification):
    """Classes, frame by frame."""


class Wav2Vec2ForXVector(_OnWav2Vec2, heads.ForXVector):
    """A speaker's voice as one vector."""


class Wav2Vec2ForPreTraining(_OnWav2Vec2, pretraining.ForPreTraining):
    """Quantized speech, told from distractors."""


def rename_keys(
    tensors: Mapping[str, Tensor], config: Mapping[str, Any], *, head: bool
) -> dict[str, Tensor]:
    """Spell a checkpoint's keys as the modules do.

    Args:
        tensors: as stored: with or without the family's prefix, either spelling of weight norm.
        config: the parsed config.json; its `model_type` is the prefix that the base model has
            inside a model with a head.
        head: whether they go into a model with a head.
    """
    prefix = f"{config['model_type']}."
    is_prefixed = any(key.startswith(prefix) for key in tensors)
    renamed = {}
    for key, tensor in tensors.items():
        name = spell_weight_norm(key)
        if head and not is_prefixed and name.startswith(_BASE):
            name = prefix + name
        elif not head and is_prefixed:
            if not name.startswith(prefix):
                continue  # a head's
            name = name.removeprefix(prefix)
        renamed[name] = tensor
    return renamed


WEIGHT_NORM = "pos_conv_embed.conv.parametrizations.weight"
# How the base model's keys begin; an x-vector head has a feature_extractor of its own.
_BASE = (
    "feature_extractor.conv_layers.", "feature_projection.", "encoder.", "adapter.",
    "masked_spec_embed",
)  # fmt: skip
HEADS = {
    "base": Wav2Vec2Model,
    "ctc": Wav2Vec2ForCTC,
    "sequence-classification": Wav2Vec2ForSequenceClassification,
    "frame-classification": Wav2Vec2ForAudioFrameClassification,
    "xvector": Wav2Vec2ForXVector,
    "pretraining": Wav2Vec2ForPreTraining,
}
