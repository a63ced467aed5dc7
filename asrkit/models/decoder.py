"""The text decoder of Speech2Text and Speech2Text2, whole texts at once or token by token.

Wang et al. 2020, "fairseq S2T" (arXiv:2010.05171); Wang et al. 2021, "Large-Scale Self- and
Semi-Supervised Learning for Speech Translation" (arXiv:2104.06678). The two families differ in
where the norms stand. The numbers follow transformers' implementation.

What is special here: one code path. Several rows of an item are queries against the item's own
keys, and a mask says which keys a row sees:
- a text that is known is L rows, each of which sees itself and what stands before it;
- a beam is a row that sees the tokens of its own past. Beams that part share the keys of what they
  have in common, so nothing moves when a beam is dropped or doubled: only the mask is reordered.

Shapes: B batch, R rows of an item, F frames, D width, H heads, S slots, L tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asrkit.errors import CheckpointError
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

# Steps that a buffer has room for before it must be looked through, besides its own length.
_ROOM = 16
# Numbers in a matrix from which on laying it out beats what the call costs more.
_WORTH_PACKING = 2**17


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


Product = Callable[[Tensor], Tensor]


def product(weight: Tensor, bias: Tensor | None, *, relu: bool = False, packed: bool) -> Product:
    """A linear layer as a function of rows (..., D).

    Few rows times a large matrix is what writing token by token consists of. oneDNN does it two to
    three times as fast as a plain product where it may lay out the matrix first.

    Args:
        weight: (O, D).
        bias: (O,) or None.
        relu: whether an activation follows.
        packed: lay out the matrix; there are no gradients then, and later changes of it are missed.
    """
    if packed and weight.numel() >= _WORTH_PACKING and _can_pack(weight):
        matrix = torch.ops.mkldnn._reorder_linear_weight(weight.detach())
        run = torch.ops.mkldnn._linear_pointwise.default
        activation = "relu" if relu else "none"
        return lambda x: run(x, matrix, bias, activation, [], "")
    if relu:
        return lambda x: F.linear(x, weight, bias).relu_()
    return lambda x: F.linear(x, weight, bias)


def linear(*layers: nn.Linear | Int8Linear, relu: bool = False, packed: bool) -> Product:
    """Linear layers that read the same, as one `product` with their outputs side by side.

    Weights of 8 bits become floats: with few rows there is nothing to gain from them.
    """
    floats = [layer.dequantized() if isinstance(layer, Int8Linear) else layer for layer in layers]
    weights: list[Tensor] = [layer.weight for layer in floats]
    biases: list[Tensor] = [layer.bias for layer in floats]
    if len(floats) == 1:
        return product(weights[0], biases[0], relu=relu, packed=packed)
    return product(torch.cat(weights), torch.cat(biases), relu=relu, packed=packed)


def _can_pack(weight: Tensor) -> bool:
    is_plain = weight.device.type == "cpu" and weight.dtype == torch.float32
    return is_plain and hasattr(torch.ops.mkldnn, "_linear_pointwise")  # not in every build


def norm_of(module: nn.LayerNorm) -> Product:
    """A layer norm as a function; calling the module takes longer than norming a few rows."""
    shape, weight, bias, eps = list(module.normalized_shape), module.weight, module.bias, module.eps
    return lambda x: torch.layer_norm(x, shape, weight, bias, eps)


@dataclass(frozen=True)
class LayerProducts:
    """The matrix products and norms of a layer, in the order in which a token meets them."""

    queries_keys_values: Product
    self_out: Product
    self_norm: Product
    query: Product
    encoder_out: Product
    encoder_norm: Product
    expand: Product  # the activation included
    contract: Product
    final_norm: Product


@dataclass(frozen=True)
class Products:
    """The matrix products of a decoder, and of the output layer if it has one."""

    layers: list[LayerProducts]
    head: Product | None


class DecoderCache:
    """What a batch of utterances keeps while its texts are written.

    Every step fills R slots of an item, one a row, and `visible` says which slots a row sees. A
    slot that no row sees any more is thrown away when the buffers are full, so that their size
    follows the tokens that are alive, not rows times tokens.

    Attributes:
        products: the decoder's weights.
        frames: keys and values (B, H, F, D/H) of the encoder's states, a layer each.
        frame_mask: (B, 1, 1, F), True where a frame is valid; None if all are.
        slots: keys and values (2, B, H, capacity, D/H) of the tokens so far, a layer each.
        visible: (B, 1, R, S), True where a row sees a slot in use; None if every row sees all.
        num_tokens: tokens of each row so far.
    """

    def __init__(
        self,
        products: Products,
        frames: list[tuple[Tensor, Tensor]],
        frame_mask: Tensor | None,
    ) -> None:
        self.products = products
        self.frames = frames
        self.frame_mask = frame_mask
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


class DecoderLayer(nn.Module):
    """Attention to the text so far, attention to the utterance, and a feed-forward part."""

    def __init__(self, config: DecoderConfig, *, norm_first: bool) -> None:
        super().__init__()
        width = config.d_model
        self.norm_first = norm_first
        self.num_heads = config.decoder_attention_heads
        # Modules for the names of their weights; `products` says what is done with them.
        self.self_attn = Attention(width, self.num_heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.encoder_attn = Attention(width, self.num_heads)
        self.encoder_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, config.decoder_ffn_dim)
        self.fc2 = nn.Linear(config.decoder_ffn_dim, width)
        self.final_layer_norm = nn.LayerNorm(width)
        self.activation = config.activation_function

    def products(self, *, packed: bool) -> LayerProducts:
        """The layer's weights, ready for use."""
        own, other = self.self_attn, self.encoder_attn
        expand = linear(self.fc1, relu=self.activation == "relu", packed=packed)
        if self.activation != "relu":
            activate, expanded = ACTIVATIONS[self.activation], expand
            expand = lambda x: activate(expanded(x))  # noqa: E731
        return LayerProducts(
            linear(own.q_proj, own.k_proj, own.v_proj, packed=packed),
            linear(own.out_proj, packed=packed),
            norm_of(self.self_attn_layer_norm),
            linear(other.q_proj, packed=packed),
            linear(other.out_proj, packed=packed),
            norm_of(self.encoder_attn_layer_norm),
            expand,
            linear(self.fc2, packed=packed),
            norm_of(self.final_layer_norm),
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
            cache: holds keys, values and products.
            index: this layer's place in it.
            masks: of the cache.

        Returns:
            (B, R, D).
        """
        products = cache.products.layers[index]
        num_items, num_rows, width = x.shape
        shape = (num_items, num_rows, -1, self.num_heads, width // self.num_heads)

        def look_back(x: Tensor) -> Tensor:
            parts = products.queries_keys_values(x).view(shape).permute(2, 0, 3, 1, 4)
            slots = cache.append(index, parts[1:])  # (2, B, H, S, D/H)
            return products.self_out(merge(parts[0], slots[0], slots[1], masks[0]))

        def listen(x: Tensor) -> Tensor:
            query = products.query(x).view(shape)[:, :, 0].transpose(1, 2)
            return products.encoder_out(merge(query, *cache.frames[index], masks[1]))

        def merge(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
            attended = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
            return attended.transpose(1, 2).reshape(num_items, num_rows, width)

        for part, norm in (
            (look_back, products.self_norm),
            (listen, products.encoder_norm),
            (lambda x: products.contract(products.expand(x)), products.final_norm),
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
        self._packed: tuple[object, Products] | None = None

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
        cache = self._listen(states, lengths, self._products(None, packed=False))
        size = tokens.shape[1]
        cache.open_slots(torch.ones(size, size, dtype=torch.bool, device=tokens.device).tril())
        # PARITY: padding is not hidden from attention, but stands nowhere: tokens after it count
        # as if it were not there.
        return self._run(tokens, (tokens != self.pad_token_id).cumsum(-1), cache)

    def start(
        self, states: Tensor, lengths: Tensor | None = None, *, head: Tensor | None = None
    ) -> DecoderCache:
        """Listen to a batch of utterances.

        Args:
            states: (B, F, D) of the encoder.
            lengths: (B,) valid frames; None means all.
            head: (V, D) of the output layer, to get logits from `step`.

        Returns:
            What `step` reads and fills.
        """
        weights = [*self.parameters(), *([] if head is None else [head])]
        key = [(weight.data_ptr(), weight.is_inference() or weight._version) for weight in weights]
        if self._packed is None or self._packed[0] != key:
            self._packed = key, self._products(head, packed=True)
        return self._listen(states, lengths, self._packed[1])

    def step(self, tokens: Tensor, cache: DecoderCache) -> Tensor:
        """Read one more token of each text.

        Args:
            tokens: (B, R), the last token of R texts about each utterance; R is always the same.
            cache: from `start`.

        Returns:
            (B, R, D) about the token that follows; (B, R, V) logits if there is a head.
        """
        cache.open_slots(torch.eye(tokens.shape[1], dtype=torch.bool, device=tokens.device))
        # PARITY: here padding counts. The reference counts as `forward` does when it reads a text
        # at once, and all tokens when it writes one.
        x = self._run(tokens, tokens.new_full((1, 1), cache.num_tokens), cache)
        return x if cache.products.head is None else cache.products.head(x)

    def _listen(self, states: Tensor, lengths: Tensor | None, products: Products) -> DecoderCache:
        mask = valid_mask(lengths, states.shape[1])
        frames = [layer.listen(states) for layer in self.layers]
        return DecoderCache(products, frames, None if mask is None else mask[:, None, None])

    def _products(self, head: Tensor | None, *, packed: bool) -> Products:
        return Products(
            [layer.products(packed=packed) for layer in self.layers],
            None if head is None else product(head, None, packed=packed),
        )

    def _run(self, tokens: Tensor, positions: Tensor, cache: DecoderCache) -> Tensor:
        """Tokens (B, R) at positions (B, R) or (1, 1), counted from 1, through the layers."""
        x: Tensor = self.embed_tokens(tokens) * self.scale
        sines = sinusoidal_positions(positions + self.pad_token_id, x.shape[-1])
        x = x + (sines * (tokens != self.pad_token_id)[..., None]).to(x.dtype)
        masks = cache.masks(x.dtype)
        for index, layer in enumerate(self.layers):
            x = layer(x, cache, index, masks)
        if self.layer_norm is not None:
            x = self.layer_norm(x)
        return x

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_packed": None}  # functions, and soon made again
