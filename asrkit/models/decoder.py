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
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asrkit.errors import CheckpointError
from asrkit.models.layers import (
    ACTIVATIONS,
    Attention,
    require,
    require_range,
    sinusoidal_positions,
    valid_mask,
)

# No model that is meant is larger; config.json may come from anyone.
MAX_SIZE = 1 << 24
MAX_LAYERS = 1000
# Steps that a buffer has room for before it must be looked through, besides its own length.
_ROOM = 16


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


class DecoderCache:
    """What a batch of utterances keeps while its texts are written.

    Every step fills R slots of an item, one a row, and `visible` says which slots a row sees. A
    slot that no row sees any more is thrown away when the buffers are full, so that their size
    follows the tokens that are alive, not rows times tokens.

    Attributes:
        frames: keys and values (2, B, H, F, D/H) of the encoder's states, a layer each.
        frame_mask: (B, 1, 1, F), True where a frame is valid; None if all are.
        slots: keys and values (2, B, H, capacity, D/H) of the tokens so far, a layer each.
        visible: (B, 1, R, S), True where a row sees a slot in use; None if every row sees all.
        num_tokens: tokens of each row so far.
    """

    def __init__(self, frames: list[Tensor], frame_mask: Tensor | None) -> None:
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
        self.frames = [tensor[:, items] for tensor in self.frames]
        self.slots = [tensor[:, items] for tensor in self.slots]
        self.frame_mask = None if self.frame_mask is None else self.frame_mask[items]
        self.visible = None if self.visible is None else self.visible[items]

    def open_slots(self, new_visible: Tensor | None) -> None:
        """Make room for one token a row, and let the rows see them.

        Args:
            new_visible: (R, R), which row sees which new slot; None if there is one row.
        """
        self.num_tokens += 1
        if new_visible is None:
            num_new = 1
        else:
            num_new = len(new_visible)
            num_items = self.frames[0].shape[1]
            new_visible = new_visible.expand(num_items, 1, -1, -1)
        if self.slots and self._num_used + num_new > self.slots[0].shape[3]:
            self._collect_garbage(num_new)
        self._num_used += num_new
        if new_visible is not None:
            past = [] if self.visible is None else [self.visible]
            self.visible = torch.cat([*past, new_visible], dim=-1)

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

    def _collect_garbage(self, num_new: int) -> None:
        """Throw away slots that no row sees, and make room for many steps."""
        index = None
        if self.visible is not None:
            is_alive = self.visible[:, 0].any(1)  # (B, S)
            self._num_used = int(is_alive.sum(-1).max())
            order = is_alive.sort(dim=-1, descending=True, stable=True).indices
            index = order[:, : self._num_used]  # (B, S)
            rows = index[:, None, None].expand(-1, -1, self.visible.shape[2], -1)
            self.visible = self.visible.gather(-1, rows)
        capacity = 2 * self._num_used + _ROOM * num_new
        self.slots = [self._moved(tensor, index, capacity) for tensor in self.slots]

    def _moved(self, tensor: Tensor, index: Tensor | None, capacity: int) -> Tensor:
        kinds, num_items, num_heads, _, width = tensor.shape
        moved = tensor.new_zeros(kinds, num_items, num_heads, capacity, width)
        kept = moved[:, :, :, : self._num_used]
        if index is None:
            kept.copy_(tensor[:, :, :, : self._num_used])
        else:
            rows = index[None, :, None, :, None].expand(kinds, -1, num_heads, -1, width)
            kept.copy_(tensor.gather(3, rows))
        return moved


class DecoderAttention(Attention):
    """Attention whose keys and values are kept."""

    def keys_values(self, states: Tensor) -> Tensor:
        """Project states (B, F, D) to keys and values (2, B, H, F, D/H)."""
        return torch.stack([self._split(self.k_proj(states)), self._split(self.v_proj(states))])

    def attend(self, x: Tensor, keys_values: Tensor, mask: Tensor | None) -> Tensor:
        """Let rows (B, R, D) look at keys and values (2, B, H, S, D/H) where the mask is True."""
        keys, values = keys_values
        attended = F.scaled_dot_product_attention(
            self._split(self.q_proj(x)), keys, values, attn_mask=mask
        )
        merged: Tensor = self.out_proj(attended.transpose(1, 2).flatten(2))
        return merged

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.num_heads, -1).transpose(1, 2)  # (B, H, R, D/H)


class DecoderLayer(nn.Module):
    """Attention to the text so far, attention to the utterance, and a feed-forward part."""

    def __init__(self, config: DecoderConfig, *, norm_first: bool) -> None:
        super().__init__()
        width = config.d_model
        self.norm_first = norm_first
        self.self_attn = DecoderAttention(width, config.decoder_attention_heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.encoder_attn = DecoderAttention(width, config.decoder_attention_heads)
        self.encoder_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, config.decoder_ffn_dim)
        self.fc2 = nn.Linear(config.decoder_ffn_dim, width)
        self.final_layer_norm = nn.LayerNorm(width)
        self.activation = ACTIVATIONS[config.activation_function]

    def forward(self, x: Tensor, cache: DecoderCache, index: int) -> Tensor:
        """One new token of each row, x (B, R, D); `index` is this layer's in the cache."""

        def look_back(x: Tensor) -> Tensor:
            slots = cache.append(index, self.self_attn.keys_values(x))
            return self.self_attn.attend(x, slots, cache.visible)

        def listen(x: Tensor) -> Tensor:
            return self.encoder_attn.attend(x, cache.frames[index], cache.frame_mask)

        def feed_forward(x: Tensor) -> Tensor:
            out: Tensor = self.fc2(self.activation(self.fc1(x)))
            return out

        for part, norm in (
            (look_back, self.self_attn_layer_norm),
            (listen, self.encoder_attn_layer_norm),
            (feed_forward, self.final_layer_norm),
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
        self.layers = nn.ModuleList(
            DecoderLayer(config, norm_first=norm_first) for _ in range(config.decoder_layers)
        )
        self.layer_norm = nn.LayerNorm(config.d_model) if norm_first else None

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
        cache = self.start(states, lengths)
        size = tokens.shape[1]
        cache.open_slots(torch.ones(size, size, dtype=torch.bool, device=tokens.device).tril())
        # PARITY: padding is not hidden from attention, but stands nowhere: tokens after it count
        # as if it were not there.
        positions = (tokens != self.pad_token_id).cumsum(-1)
        return self._run(tokens, positions, cache)

    def start(self, states: Tensor, lengths: Tensor | None = None) -> DecoderCache:
        """Listen to a batch of utterances.

        Args:
            states: (B, F, D) of the encoder.
            lengths: (B,) valid frames; None means all.

        Returns:
            What `step` reads and fills.
        """
        mask = valid_mask(lengths, states.shape[1])
        frames = []
        for layer in self.layers:
            assert isinstance(layer, DecoderLayer)
            frames.append(layer.encoder_attn.keys_values(states))
        return DecoderCache(frames, None if mask is None else mask[:, None, None])

    def step(self, tokens: Tensor, cache: DecoderCache) -> Tensor:
        """Read one more token of each text.

        Args:
            tokens: (B, R), the last token of R texts about each utterance; R is always the same.
            cache: from `start`.

        Returns:
            (B, R, D), about the token that follows.
        """
        num_rows = tokens.shape[1]
        own = None
        if num_rows > 1:
            own = torch.eye(num_rows, dtype=torch.bool, device=tokens.device)
        cache.open_slots(own)
        return self._run(tokens, torch.full_like(tokens, cache.num_tokens), cache)

    def _run(self, tokens: Tensor, positions: Tensor, cache: DecoderCache) -> Tensor:
        """Tokens (B, R) at positions (B, R), counted from 1, through the layers."""
        x: Tensor = self.embed_tokens(tokens) * self.scale
        sines = sinusoidal_positions(positions + self.pad_token_id, x.shape[-1])
        x = x + (sines * (tokens != self.pad_token_id)[..., None]).to(x.dtype)
        for index, layer in enumerate(self.layers):
            x = layer(x, cache, index)
        if self.layer_norm is not None:
            x = self.layer_norm(x)
        return x
