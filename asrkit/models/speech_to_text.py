"""Speech2Text: filterbank features to text, through an encoder and an autoregressive decoder.

Wang et al. 2020, "fairseq S2T" (arXiv:2010.05171). The numbers follow transformers'
implementation and checkpoints of it.

What is special here:
- models take features *with lengths*; a padded batch gives each item what it gets alone, because
  what lies beyond an item's end is zero before every convolution;
- a tied head is no parameter: logits are products with the embeddings themselves, so there is one
  tensor to load, train and save;
- `EncoderDecoder` is what search and training see of a model; a family adds its encoder.

Shapes: B batch, F frames, C channels, D width, W beam width, V vocabulary, L tokens.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asrkit.errors import CheckpointError
from asrkit.models import kernels
from asrkit.models.decoder import AnyCache, DecoderConfig, TextDecoder
from asrkit.models.kernels import Items
from asrkit.models.layers import (
    ACTIVATIONS,
    MAX_LAYERS,
    MAX_SIZE,
    Attention,
    EncoderOutput,
    read_config,
    require_range,
    shorten,
    sinusoidal_positions,
)
from asrkit.seq2seq import GenerationSettings
from asrkit.seq2seq import generate as search


@dataclass(frozen=True)
class Speech2TextConfig(DecoderConfig):
    """What config.json says about the forward pass; the fields are its keys."""

    encoder_layers: int = 12
    encoder_attention_heads: int = 4
    encoder_ffn_dim: int = 2048
    num_conv_layers: int = 2
    conv_kernel_sizes: tuple[int, ...] = (5, 5)
    conv_channels: int = 1024
    input_feat_per_channel: int = 80
    input_channels: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_range(self, "encoder_layers", 1, MAX_LAYERS)
        require_range(
            self,
            "encoder_ffn_dim conv_channels input_feat_per_channel input_channels",
            1,
            MAX_SIZE,
        )
        self.require_heads("encoder_attention_heads")
        if len(self.conv_kernel_sizes) != self.num_conv_layers:
            raise CheckpointError(
                f"config.json: conv_kernel_sizes has {len(self.conv_kernel_sizes)} entries, "
                f"expected num_conv_layers = {self.num_conv_layers}"
            )
        if self.num_conv_layers > 1 and self.conv_channels % 2:
            raise CheckpointError(
                f"config.json: conv_channels is {self.conv_channels}, expected an even number"
            )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Speech2TextConfig:
        """Read a parsed config.json.

        Raises:
            CheckpointError: a value is of the wrong type or not implemented.
        """
        return read_config(cls, data)


@dataclass(frozen=True)
class Speech2TextOutput(EncoderOutput):
    """What the base model gives.

    Attributes:
        decoder_state: (B, L, D) the decoder's last, when decoder inputs were given.
    """

    decoder_state: Tensor | None = None


@dataclass(frozen=True)
class Seq2SeqOutput:
    """What an encoder-decoder gives.

    Attributes:
        logits: (B, L, V), before softmax.
        lengths: (B,) valid frames of the encoder.
        hidden_states: the encoder's, as in `EncoderOutput`.
        loss: cross-entropy in float32, when labels were given.
    """

    logits: Tensor
    lengths: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    loss: Tensor | None = None


# ------------------------------------------------------------------------------------- encoder


class Subsampler(nn.Module):
    """Strided convolutions with gated linear units; each halves the frames."""

    stride = 2

    def __init__(self, config: Speech2TextConfig) -> None:
        super().__init__()
        inner = config.num_conv_layers - 1
        inputs = [config.input_feat_per_channel * config.input_channels]
        inputs += [config.conv_channels // 2] * inner
        outputs = [config.conv_channels] * inner + [2 * config.d_model]
        self.conv_layers: Iterable[nn.Conv1d] = nn.ModuleList(  # type: ignore[assignment]  # of these
            nn.Conv1d(channels, out, kernel, stride=self.stride, padding=kernel // 2)
            for channels, out, kernel in zip(inputs, outputs, config.conv_kernel_sizes, strict=True)
        )

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Shorten x (B, F, C) and its `lengths` (B,); gives (B, F', D) and theirs."""
        for conv in self.conv_layers:
            # PARITY: the reference convolves what lies beyond the end, so that the last frames of
            # a padded item differ from those it gets alone; here they are the same. And of an even
            # kernel its mask hides the last frame, which counts here.
            x, lengths = shorten(conv, x, lengths)
        return x, lengths


class EncoderLayer(nn.Module):
    """Self-attention and a feed-forward net, each behind its norm."""

    def __init__(self, config: Speech2TextConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config.d_model, config.encoder_attention_heads)
        self.self_attn_layer_norm = nn.LayerNorm(config.d_model)
        self.fc1 = kernels.Linear(config.d_model, config.encoder_ffn_dim)
        self.fc2 = kernels.Linear(config.encoder_ffn_dim, config.d_model)
        self.final_layer_norm = nn.LayerNorm(config.d_model)
        self.activation = ACTIVATIONS[config.activation_function]

    def forward(self, x: Tensor, items: Items) -> Tensor:
        """Transform the rows x (N, D) of all items; gives (N, D)."""
        x = x + self.self_attn(self.self_attn_layer_norm(x), items)
        x = x + self.fc2(items.activate(self.activation, self.fc1(self.final_layer_norm(x))))
        return x


class Encoder(nn.Module):
    """Features to states: subsampling, positions, transformer layers."""

    def __init__(self, config: Speech2TextConfig) -> None:
        super().__init__()
        self.scale = math.sqrt(config.d_model) if config.scale_embedding else 1.0
        self.pad_token_id = config.pad_token_id
        self.conv = Subsampler(config)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.layer_norm = nn.LayerNorm(config.d_model)

    def forward(
        self, x: Tensor, lengths: Tensor, *, output_hidden_states: bool
    ) -> tuple[list[Tensor], Tensor]:
        """Encode x (B, F, C) of `lengths` (B,); gives the last state or all, and their lengths."""
        x, lengths = self.conv(x, lengths)
        x = self.scale * x
        # PARITY: the reference reads its padding mask as tokens; if token 0 pads, then every valid
        # frame, a 0 of the mask, has no position.
        if self.pad_token_id != 0:
            positions = torch.arange(x.shape[1], device=x.device) + self.pad_token_id + 1
            x = x + sinusoidal_positions(positions, x.shape[-1]).to(x.dtype)
        items = Items.of(lengths, x.shape[1])
        x = items.pack(x)  # (N, D)
        states = []
        for layer in self.layers:
            if output_hidden_states:
                states.append(items.pad(x))
            x = layer(x, items)
        return [*states, items.pad(self.layer_norm(x))], lengths


# -------------------------------------------------------------------------------------- models


class EncoderDecoder(nn.Module, ABC):
    """A model that reads speech and writes tokens, one after the other.

    Attributes:
        config: says among other things which tokens start and pad a text.
        generation: how `generate` decodes; `load_model` reads it from the checkpoint.
    """

    base_prefix: ClassVar[str] = ""
    title: ClassVar[str] = "sequence-to-sequence"

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.generation = GenerationSettings(
            decoder_start_token_id=config.decoder_start_token_id, pad_token_id=config.pad_token_id
        )

    @abstractmethod
    def encode(
        self, values: Tensor, lengths: Tensor | None = None, *, output_hidden_states: bool = False
    ) -> EncoderOutput:
        """Encode a batch; the last hidden state has the width that the decoder attends to.

        Args:
            values: (B, F, C) features or (B, T) samples; what follows an item's length is ignored.
            lengths: (B,) valid frames or samples; None means all.
            output_hidden_states: keep every layer's output.
        """

    @property
    @abstractmethod
    def text_decoder(self) -> TextDecoder:
        """The decoder."""

    @property
    @abstractmethod
    def output_weight(self) -> Tensor:
        """(V, D) what decoder states are multiplied with."""

    def forward(
        self,
        values: Tensor,
        lengths: Tensor | None = None,
        *,
        decoder_input_ids: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool = False,
    ) -> Seq2SeqOutput:
        """Score each next token of texts that are known.

        Args:
            values: (B, F, C) features or (B, T) samples.
            lengths: (B,) valid frames or samples; None means all.
            decoder_input_ids: (B, L) tokens, beginning with the decoder's start; None shifts
                the labels by one.
            labels: (B, L) tokens without the start, padded with -100; asks for the loss.
            output_hidden_states: keep every layer's output of the encoder.

        Raises:
            ValueError: neither tokens nor labels, or a label is not in the vocabulary.
        """
        if labels is not None:
            labels = self._checked(labels)
        if decoder_input_ids is None:
            if labels is None:
                raise ValueError("decoder_input_ids or labels are needed; generate() needs neither")
            decoder_input_ids = self.shift_right(labels)
        encoded = self.encode(values, lengths, output_hidden_states=output_hidden_states)
        states = self.text_decoder(decoder_input_ids, encoded.last_hidden_state, encoded.lengths)
        logits = F.linear(states, self.output_weight)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten())
        return Seq2SeqOutput(logits, encoded.lengths, encoded.hidden_states, loss)

    def _checked(self, labels: Tensor) -> Tensor:
        size = len(self.output_weight)
        if int(labels.max()) >= size:
            raise ValueError(f"label {int(labels.max())} is not below the vocabulary size {size}")
        return labels.masked_fill(labels < 0, -100)  # what cross_entropy ignores

    def shift_right(self, labels: Tensor) -> Tensor:
        """The decoder's inputs for labels (B, L): the start token, then all labels but the last."""
        start = labels.new_full((len(labels), 1), self.config.decoder_start_token_id)
        shifted = torch.cat([start, labels[:, :-1]], dim=1)
        return shifted.masked_fill(shifted < 0, self.config.pad_token_id)

    def start(self, states: Tensor, lengths: Tensor | None = None) -> AnyCache:
        """Begin texts about encoder states (B, F, D) of `lengths` (B,) valid frames."""
        return self.text_decoder.start(states, lengths, head=self.output_weight)

    def step(self, tokens: Tensor, cache: AnyCache) -> Tensor:
        """Append tokens (B, W) to the texts; gives log-probabilities (B, W, V) of the next."""
        return self.text_decoder.step(tokens, cache)

    @torch.inference_mode()
    def generate(self, values: Tensor, lengths: Tensor | None = None, **options: Any) -> Tensor:
        """Decode a batch as the checkpoint says.

        Args:
            values: (B, F, C) features or (B, T) samples.
            lengths: (B,) valid frames or samples; None means all.
            options: fields of `GenerationSettings` to change, `num_beams=1`.

        Returns:
            (B, L) the best tokens of each item from the decoder's start on, padded with the pad id.
        """
        settings = dataclasses.replace(self.generation, **options)
        encoded = self.encode(values, lengths)
        found = search(self, encoded.last_hidden_state, encoded.lengths, settings)
        rows = [torch.tensor(best.tokens, device=values.device) for best, *_ in found]
        return nn.utils.rnn.pad_sequence(
            rows, batch_first=True, padding_value=settings.pad_token_id
        )


class Speech2TextModel(nn.Module):
    """The base model: features to hidden states, and tokens to the decoder's."""

    config_class: ClassVar[type[Speech2TextConfig]] = Speech2TextConfig
    base_prefix: ClassVar[str] = ""

    def __init__(self, config: Speech2TextConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = TextDecoder(config, norm_first=True)

    def forward(
        self,
        values: Tensor,
        lengths: Tensor | None = None,
        *,
        decoder_input_ids: Tensor | None = None,
        output_hidden_states: bool = False,
    ) -> Speech2TextOutput:
        """Encode features, and decode tokens if there are any.

        Args:
            values: (B, F, C) features; what follows an item's length is ignored.
            lengths: (B,) valid frames, one at least; None means all.
            decoder_input_ids: (B, L) tokens, beginning with the decoder's start.
            output_hidden_states: keep every layer's output of the encoder.

        Returns:
            Hidden states; frames beyond an item's length hold numbers without meaning.
        """
        if lengths is None:
            lengths = torch.full((len(values),), values.shape[1], device=values.device)
        states, lengths = self.encoder(
            values.to(self.dtype), lengths, output_hidden_states=output_hidden_states
        )
        decoded = None
        if decoder_input_ids is not None:
            decoded = self.decoder(decoder_input_ids, states[-1], lengths)
        return Speech2TextOutput(
            states[-1], lengths, tuple(states) if output_hidden_states else None, decoded
        )

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights."""
        return self.encoder.layer_norm.weight.dtype


class Speech2TextForConditionalGeneration(EncoderDecoder):
    """The base model with a linear layer over the vocabulary."""

    config_class: ClassVar[type[Speech2TextConfig]] = Speech2TextConfig
    base_prefix: ClassVar[str] = "model"

    def __init__(self, config: Speech2TextConfig) -> None:
        super().__init__(config)
        self.model = Speech2TextModel(config)
        self.lm_head = None
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)

    def encode(
        self, values: Tensor, lengths: Tensor | None = None, *, output_hidden_states: bool = False
    ) -> EncoderOutput:
        """Encode features (B, F, C) of `lengths` (B,) valid frames."""
        output: EncoderOutput = self.model(
            values, lengths, output_hidden_states=output_hidden_states
        )
        return output

    @property
    def text_decoder(self) -> TextDecoder:
        """The decoder."""
        return self.model.decoder

    @property
    def output_weight(self) -> Tensor:
        """(V, D): the embeddings if they are tied."""
        head = self.model.decoder.embed_tokens if self.lm_head is None else self.lm_head
        return head.weight


def rename_keys(
    tensors: Mapping[str, Tensor], config: Mapping[str, Any], *, head: bool
) -> dict[str, Tensor]:
    """Spell a checkpoint's keys as the modules do.

    Args:
        tensors: as stored: with or without the prefix of the base model.
        config: the parsed config.json.
        head: whether they go into a model with a head.
    """
    is_prefixed = any(key.startswith("model.") for key in tensors)
    is_tied = config.get("tie_word_embeddings", Speech2TextConfig.tie_word_embeddings)
    renamed = {}
    for key, tensor in tensors.items():
        if key.endswith(".embed_positions.weights") or (is_tied and key == "lm_head.weight"):
            continue  # computed; and PARITY: tied is tied, whatever the file holds
        name = key
        if head and not is_prefixed and key != "lm_head.weight":
            name = "model." + key
        elif not head and is_prefixed:
            name = key.removeprefix("model.")
        renamed[name] = tensor
    return renamed


HEADS = {"base": Speech2TextModel, "seq2seq": Speech2TextForConditionalGeneration}
