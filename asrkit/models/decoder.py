"""The text decoder of Speech2Text and Speech2Text2, whole texts at once or token by token.

Wang et al. 2020, "fairseq S2T" (arXiv:2010.05171); Wang et al. 2021, "Large-Scale Self- and
Semi-Supervised Learning for Speech Translation" (arXiv:2104.06678). The two families differ in
where the norms stand. The numbers follow transformers' implementation.

What is special here: one code path. Several rows of an item are queries against the item's own
keys, and a mask says which keys a row sees:
- a text that is known is L rows, each of which sees itself and what stands before it;
- a beam is a row that sees the tokens of its own past. Beams that part share the keys of what they
  have in common, so nothing moves when a beam is dropped or doubled: only the mask is reordered.

Writing token by token is many small operations, which on a CPU cost less than calling them. There
native/ does a whole step at once, where it was built and knows the activation: in float32 always,
item by item, so that a text does not depend on its neighbours.

Shapes: B batch, R rows of an item, F frames, D width, H heads, S slots, L tokens.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from asrkit.errors import CheckpointError
from asrkit.models.kernels import Derived, linear
from asrkit.models.layers import (
    ACTIVATIONS,
    MAX_LAYERS,
    MAX_SIZE,
    Attention,
    require,
    require_range,
    sinusoidal_positions,
    valid_mask,
)
from asrkit.models.quantized import Int8Linear

# In a compiled step; more would wait for each other longer than they work.
_MOST_THREADS = 8
# Steps that a buffer has room for before it must be looked through, besides its own length.
_ROOM = 16


def _load_native() -> Any:
    """The steps in C++; None where asrkit was built without a compiler."""
    try:
        return importlib.import_module("asrkit.models._native")
    except ImportError:
        return None


_native = _load_native()


@dataclass(frozen=True)
class DecoderConfig:
    """What config.json says about the decoder; the fields are its keys."""

    vocab_size: int = 10_000
    d_model: int = 256
    decoder_layers: int = 6
    decoder_attention_heads: int = 4
    decoder_ffn_dim: int = 2048
    activation_function: str = "relu"
    scale_embedding: bool = True
    tie_word_embeddings: bool = True
    pad_token_id: int = 1
    decoder_start_token_id: int = 2

    def __post_init__(self) -> None:
        require("activation_function", self.activation_function, ACTIVATIONS)
        require_range(self, "vocab_size d_model decoder_ffn_dim", 1, MAX_SIZE)
        require_range(self, "decoder_layers", 1, MAX_LAYERS)
        require_range(self, "pad_token_id decoder_start_token_id", 0, self.vocab_size - 1)
        self.require_heads("decoder_attention_heads")

    def require_heads(self, name: str) -> None:
        """Refuse a number of heads, the field `name`, that does not divide the width."""
        require_range(self, name, 1, self.d_model)
        if self.d_model % getattr(self, name):
            raise CheckpointError(
                f"config.json: d_model {self.d_model} is not a multiple of "
                f"{name} {getattr(self, name)}"
            )


Affine = tuple[Tensor, Tensor]  # a weight and a bias


@dataclass(frozen=True)
class LayerWeights:
    """What a layer does to a token, in that order; weights are (O, D)."""

    queries_keys_values: Affine
    self_out: Affine
    self_norm: Affine
    query: Affine
    encoder_out: Affine
    encoder_norm: Affine
    expand: Affine
    contract: Affine
    final_norm: Affine


def weights_of(*layers: nn.Linear | Int8Linear | nn.LayerNorm) -> Affine:
    """Of layers that read the same, their outputs side by side.

    8 bits become floats: with few rows there is nothing to gain from them.
    """
    floats = [layer.dequantized() if isinstance(layer, Int8Linear) else layer for layer in layers]
    weights: list[Tensor] = [layer.weight for layer in floats]
    biases: list[Tensor] = [layer.bias for layer in floats]
    return (weights[0], biases[0]) if len(layers) == 1 else (torch.cat(weights), torch.cat(biases))


class DecoderCache:
    """What a batch of utterances keeps while its texts are written.

    Every step fills R slots of an item, one a row, and `visible` says which slots a row sees. A
    slot that no row sees any more is thrown away when the buffers are full, so that their size
    follows the tokens that are alive, not rows times tokens.

    Attributes:
        weights: of the layers.
        frames: keys and values (B, H, F, D/H) of the encoder's states, a layer each.
        frame_mask: (B, 1, 1, F), True where a frame is valid; None if all are.
        head: (V, D) of the output layer, if there is one.
        slots: keys and values (2, B, H, capacity, D/H) of the tokens so far, a layer each.
        visible: (B, 1, R, S), True where a row sees a slot in use; None if every row sees all.
        num_tokens: tokens of each row so far.
    """

    def __init__(
        self,
        weights: list[LayerWeights],
        frames: list[tuple[Tensor, Tensor]],
        frame_mask: Tensor | None,
        head: Tensor | None = None,
    ) -> None:
        self.weights = weights
        self.frames = frames
        self.frame_mask = frame_mask
        self.head = head
        self.slots: list[Tensor] = []
        self.visible: Tensor | None = None
        self.num_tokens = 0
        self._num_used = 0

    def reorder(self, parents: Tensor) -> None:
        """Let each row go on from a row of its item, parents (B, R)."""
        if self.visible is not None:
            index = parents[:, None, :, None].expand(-1, -1, -1, self._num_used)
            self.visible = self.visible.gather(2, index)

    def select_items(self, items: Tensor) -> None:
        """Keep these items (B,) of the batch; the others are finished."""
        self.frames = [(keys[items], values[items]) for keys, values in self.frames]
        self.slots = [slots[:, items] for slots in self.slots]
        self.frame_mask = None if self.frame_mask is None else self.frame_mask[items]
        self.visible = None if self.visible is None else self.visible[items]

    def open_slots(self, new_visible: Tensor) -> None:
        """Make room for one token a row, and let the rows see them.

        Args:
            new_visible: (R, R), which row sees which new slot.
        """
        num_new = len(new_visible)
        self.num_tokens += 1
        if self.slots and self._num_used + num_new > self.slots[0].shape[3]:
            self._collect_garbage(num_new)
        self._num_used += num_new
        if num_new > 1:
            new_visible = new_visible.expand(len(self.frames[0][0]), 1, -1, -1)
            past = () if self.visible is None else (self.visible,)
            self.visible = torch.cat((*past, new_visible), dim=-1)

    def append(self, layer: int, new: Tensor) -> Tensor:
        """Fill the slots just opened with keys and values (2, B, H, R, D/H).

        Returns:
            (2, B, H, S, D/H), all slots of this layer that are in use.
        """
        if len(self.slots) == layer:  # the first token
            self.slots.append(new)
            return new
        filled = self.slots[layer][:, :, :, : self._num_used]
        filled[:, :, :, -new.shape[3] :] = new
        return filled

    def masks(self, dtype: torch.dtype) -> tuple[Tensor | None, Tensor | None]:
        """What is added to the scores of slots (B, 1, R, S) and of frames (B, 1, 1, F)."""
        slots, frames = (
            None
            if mask is None
            else torch.zeros_like(mask, dtype=dtype).masked_fill_(~mask, -math.inf)
            for mask in (self.visible, self.frame_mask)
        )
        return slots, frames

    def _collect_garbage(self, num_new: int) -> None:
        """Throw away slots that no row sees, and make room for many steps."""
        kept = None
        if self.visible is not None:
            is_alive = self.visible[:, 0].any(1)  # (B, S)
            self._num_used = int(is_alive.sum(-1).max())
            alive_first = is_alive.sort(dim=-1, descending=True, stable=True).indices
            kept = alive_first[:, : self._num_used]
            rows = kept[:, None, None].expand(-1, -1, self.visible.shape[2], -1)
            self.visible = self.visible.gather(-1, rows)
        capacity = 2 * self._num_used + _ROOM * num_new
        for layer, slots in enumerate(self.slots):
            kinds, num_items, num_heads, _, width = slots.shape
            moved = slots.new_empty(kinds, num_items, num_heads, capacity, width)
            if kept is not None:
                index = kept[None, :, None, :, None].expand(kinds, -1, num_heads, -1, width)
                slots = slots.gather(3, index)
            moved[:, :, :, : self._num_used] = slots[:, :, :, : self._num_used]
            self.slots[layer] = moved


class CompiledTexts:
    """What `DecoderCache` is to the modules, for the steps in C++."""

    def __init__(self, texts: Any) -> None:
        self.texts = texts
        self.num_tokens = 0

    def reorder(self, parents: Tensor) -> None:
        """Let each row go on from a row of its item, parents (B, R)."""
        self.texts.reorder(parents.numpy())

    def select_items(self, items: Tensor) -> None:
        """Keep these items (B,) of the batch, in ascending order."""
        self.texts.select_items(items.tolist())


AnyCache = DecoderCache | CompiledTexts


class DecoderLayer(nn.Module):
    """Attention to the text so far, attention to the utterance, and a feed-forward part."""

    def __init__(self, config: DecoderConfig, *, norm_first: bool) -> None:
        super().__init__()
        width = config.d_model
        self.norm_first = norm_first
        self.num_heads = config.decoder_attention_heads
        # Modules for the names of their weights; `forward` says what is done with them.
        self.self_attn = Attention(width, self.num_heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.encoder_attn = Attention(width, self.num_heads)
        self.encoder_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, config.decoder_ffn_dim)
        self.fc2 = nn.Linear(config.decoder_ffn_dim, width)
        self.final_layer_norm = nn.LayerNorm(width)
        self.activation = ACTIVATIONS[config.activation_function]

    def weights(self) -> LayerWeights:
        """The layer's weights."""
        own, other = self.self_attn, self.encoder_attn
        return LayerWeights(
            weights_of(own.q_proj, own.k_proj, own.v_proj),
            weights_of(own.out_proj),
            weights_of(self.self_attn_layer_norm),
            weights_of(other.q_proj),
            weights_of(other.out_proj),
            weights_of(self.encoder_attn_layer_norm),
            weights_of(self.fc1),
            weights_of(self.fc2),
            weights_of(self.final_layer_norm),
        )

    def listen(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, H, F, D/H) of an utterance, states (B, F, D)."""
        shape = (*states.shape[:2], self.num_heads, -1)
        keys, values = (
            part(states).view(shape).transpose(1, 2).contiguous()
            for part in (self.encoder_attn.k_proj, self.encoder_attn.v_proj)
        )
        return keys, values

    def forward(
        self, x: Tensor, cache: DecoderCache, index: int, masks: tuple[Tensor | None, Tensor | None]
    ) -> Tensor:
        """Put one more token of each row through the layer.

        Args:
            x: (B, R, D).
            cache: holds keys, values and weights.
            index: this layer's place in it.
            masks: of the cache.

        Returns:
            (B, R, D).
        """
        weights = cache.weights[index]
        num_items, num_rows, width = x.shape
        shape = (num_items, num_rows, -1, self.num_heads, width // self.num_heads)

        def look_back(x: Tensor) -> Tensor:
            parts = linear(x, *weights.queries_keys_values).view(shape).permute(2, 0, 3, 1, 4)
            slots = cache.append(index, parts[1:])  # (2, B, H, S, D/H)
            return linear(merge(parts[0], slots[0], slots[1], masks[0]), *weights.self_out)

        def listen(x: Tensor) -> Tensor:
            query = linear(x, *weights.query).view(shape)[:, :, 0].transpose(1, 2)
            return linear(merge(query, *cache.frames[index], masks[1]), *weights.encoder_out)

        def think(x: Tensor) -> Tensor:
            return linear(self.activation(linear(x, *weights.expand)), *weights.contract)

        def merge(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
            attended = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
            return attended.transpose(1, 2).reshape(num_items, num_rows, width)

        for part, norm in (
            (look_back, self.self_attn_layer_norm),
            (listen, self.encoder_attn_layer_norm),
            (think, self.final_layer_norm),
        ):
            x = x + part(norm(x)) if self.norm_first else norm(x + part(x))
        return x


class TextDecoder(nn.Module):
    """Tokens so far and an encoded utterance to the hidden states of the next tokens."""

    def __init__(self, config: DecoderConfig, *, norm_first: bool) -> None:
        """Build it.

        Args:
            config: sizes, by the names of config.json.
            norm_first: norms before attention and feed-forward and after the last layer
                (Speech2Text), or after each residual sum only (Speech2Text2).
        """
        super().__init__()
        self.pad_token_id = config.pad_token_id
        self.scale = math.sqrt(config.d_model) if config.scale_embedding else 1.0
        self.embed_tokens = nn.Embedding(config.vocab_size, config.d_model)
        self.layers: Iterable[DecoderLayer] = nn.ModuleList(  # type: ignore[assignment]  # of these
            DecoderLayer(config, norm_first=norm_first) for _ in range(config.decoder_layers)
        )
        self.layer_norm = nn.LayerNorm(config.d_model) if norm_first else None
        self._weights = Derived[list[LayerWeights]]()
        self._compiled = Derived[Any]()
        self._can_be_compiled = config.activation_function == "relu"

    def forward(self, tokens: Tensor, states: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Read known texts; each position sees the tokens up to its own.

        Args:
            tokens: (B, L), the decoder's start token first, padded with `pad_token_id`.
            states: (B, F, D) of the encoder.
            lengths: (B,) valid frames; None means all.

        Returns:
            (B, L, D), whose row i is about token i + 1.
        """
        # A known text is one step of L rows, of which each sees the rows before it.
        cache = self._listen(states, lengths)
        size = tokens.shape[1]
        cache.open_slots(torch.ones(size, size, dtype=torch.bool, device=tokens.device).tril())
        # PARITY: padding is not hidden from attention, but stands nowhere: tokens after it count
        # as if it were not there.
        positions = (tokens != self.pad_token_id).cumsum(-1)
        return self._run(self._embed(tokens, positions, size), cache)

    def start(
        self, states: Tensor, lengths: Tensor | None = None, *, head: Tensor | None = None
    ) -> AnyCache:
        """Listen to a batch of utterances.

        Args:
            states: (B, F, D) of the encoder.
            lengths: (B,) valid frames; None means all.
            head: (V, D) of the output layer, to get log-probabilities from `step`.

        Returns:
            What `step` reads and fills.
        """
        is_on_cpu = states.device.type == "cpu" and not torch.is_grad_enabled()
        if _native is None or not self._can_be_compiled or not is_on_cpu:
            return self._listen(states, lengths, head)
        weights = [*self.parameters(), *([] if head is None else [head])]
        compiled = self._compiled.get(weights, lambda: self._compile(head))
        frames = [tuple(map(_as_array, layer.listen(states))) for layer in self.layers]
        valid = [states.shape[1]] * len(states) if lengths is None else lengths.tolist()
        num_threads = min(torch.get_num_threads(), _MOST_THREADS)
        return CompiledTexts(compiled.start(frames, valid, num_threads=num_threads))

    def step(self, tokens: Tensor, cache: AnyCache) -> Tensor:
        """Read one more token of each text.

        Args:
            tokens: (B, R), the last token of R texts about each utterance; R is always the same.
            cache: from `start`.

        Returns:
            (B, R, D) about the token that follows; with a head (B, R, V) its log-probabilities in
            float32.
        """
        if isinstance(cache, DecoderCache):
            cache.open_slots(torch.eye(tokens.shape[1], dtype=torch.bool, device=tokens.device))
        else:
            cache.num_tokens += 1
        # PARITY: here padding counts. The reference counts as `forward` does when it reads a text
        # at once, and all tokens when it writes one.
        position = cache.num_tokens
        x = self._embed(tokens, tokens.new_full((1, 1), position), position)
        if isinstance(cache, CompiledTexts):
            return torch.from_numpy(cache.texts.step(_as_array(x)))
        x = self._run(x, cache)
        if cache.head is None:
            return x
        return linear(x, cache.head, None).log_softmax(-1, dtype=torch.float32)

    def _listen(
        self, states: Tensor, lengths: Tensor | None, head: Tensor | None = None
    ) -> DecoderCache:
        mask = valid_mask(lengths, states.shape[1])
        weights = self._weights.get(
            self.parameters(), lambda: [layer.weights() for layer in self.layers]
        )
        frames = [layer.listen(states) for layer in self.layers]
        return DecoderCache(weights, frames, None if mask is None else mask[:, None, None], head)

    def _compile(self, head: Tensor | None) -> Any:
        """The decoder in C++."""
        layers = [
            [tuple(map(_as_array, affine)) for affine in vars(layer.weights()).values()]
            for layer in self.layers
        ]
        norm = self.layer_norm
        first = next(iter(self.layers))
        return _native.Decoder(
            layers=layers,
            last_norm=None if norm is None else tuple(map(_as_array, weights_of(norm))),
            head=None if head is None else _as_array(head),
            width=self.embed_tokens.embedding_dim,
            num_heads=first.num_heads,
            norm_first=norm is not None,
            eps=first.final_layer_norm.eps,
            instruction_set=_native.instruction_sets()[0],
        )

    def _embed(self, tokens: Tensor, positions: Tensor, most: int) -> Tensor:
        """Tokens (B, R) at positions (B, R) or (1, 1), from 1 to `most`, as (B, R, D)."""
        x: Tensor = self.embed_tokens(tokens) * self.scale
        first = self.pad_token_id
        table = _sines(1 << (first + most).bit_length(), x.shape[-1], x.device)
        return x + (table[positions + first] * (tokens != first)[..., None]).to(x.dtype)

    def _run(self, x: Tensor, cache: DecoderCache) -> Tensor:
        """Embedded tokens (B, R, D) through the layers."""
        masks = cache.masks(x.dtype)
        for index, layer in enumerate(self.layers):
            x = layer(x, cache, index, masks)
        return x if self.layer_norm is None else self.layer_norm(x)


@cache
def _sines(size: int, width: int, device: torch.device) -> Tensor:
    """Positions (size, width), kept: a sine wakes all threads of torch, and they are busy."""
    return sinusoidal_positions(torch.arange(size, device=device), width)


def _as_array(x: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = x.detach().float().numpy()
    return array
