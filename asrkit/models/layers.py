"""What two model families share: config reading, activations, lengths, attention.

Shapes: B batch, T samples, F frames, D width, H heads, C channels, V vocabulary, L tokens.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asrkit.errors import CheckpointError

_log = logging.getLogger("asrkit")

ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": lambda x: F.gelu(x, approximate="tanh"),
    "gelu_pytorch_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "gelu_fast": lambda x: F.gelu(x, approximate="tanh"),
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "relu": F.relu,
    "relu6": F.relu6,
    "leaky_relu": F.leaky_relu,
    "silu": F.silu,
    "swish": F.silu,
    "mish": F.mish,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "linear": lambda x: x,
}

# Keys of config.json that say how a model was trained, saved or used for generation, never what
# its forward pass computes.
IGNORED_KEYS = frozenset(
    "_attn_implementation_autoset _name_or_path activation_dropout architectures"
    " attention_dropout bos_token_id chunk_size_feed_forward dtype eos_token_id"
    " feat_extract_dropout feat_proj_dropout feat_quantizer_dropout final_dropout finetuning_task"
    " freeze_feat_extract_train gradient_checkpointing hidden_dropout hidden_dropout_prob"
    " initializer_range is_encoder_decoder label2id layerdrop mask_channel_length"
    " mask_channel_min_space mask_channel_other mask_channel_prob mask_channel_selection"
    " mask_feature_length mask_feature_min_masks mask_time_length mask_time_min_masks"
    " mask_time_min_space mask_time_other mask_time_selection model_type no_mask_channel_overlap"
    " no_mask_time_overlap num_feat_extract_layers num_labels num_negatives output_attentions"
    " output_hidden_states quantizer_hidden_dropout return_dict task_specific_params"
    " tie_word_embeddings tokenizer_class torch_dtype torchscript transformers_version"
    " use_cache".split()
)

ConfigT = TypeVar("ConfigT")


def read_config(cls: type[ConfigT], data: Mapping[str, Any]) -> ConfigT:
    """Build a config dataclass from a parsed config.json.

    Keys that are absent or null take the dataclass's defaults, keys of `IGNORED_KEYS` are dropped,
    any other unknown key is logged and dropped.

    Raises:
        CheckpointError: a value has the wrong type.
    """
    known = vars(cls())
    values = {}
    for key, value in data.items():
        if key not in known:
            if key not in IGNORED_KEYS:
                _log.info("config.json: %s = %r is not known and ignored", key, value)
        elif value is not None:
            values[key] = _coerce(key, value, known[key])
    return cls(**values)


def _coerce(key: str, value: Any, default: Any) -> Any:
    """`value` in the type of `default`; that of an optional field (default None) is int."""
    wanted: type = int if default is None else type(default)
    if wanted is tuple and isinstance(value, (list, tuple)):
        if all(type(item) is int and item > 0 for item in value) and value:
            return tuple(value)
    elif wanted is float and type(value) in (int, float):
        return float(value)
    elif wanted is dict and isinstance(value, Mapping):
        with suppress(ValueError, TypeError):
            return {int(index): str(name) for index, name in value.items()}
    elif type(value) is wanted:
        return value
    kinds: dict[type, str] = {tuple: "a list of positive integers", dict: "names by number"}
    expected = kinds.get(wanted) or wanted.__name__
    raise CheckpointError(f"config.json: {key} is {value!r}, expected {expected}")


def require(key: str, value: object, implemented: Collection[object]) -> None:
    """Refuse a config value that is not implemented.

    Raises:
        CheckpointError: `value` is not among `implemented`; names both.
    """
    if value not in implemented:
        choices = ", ".join(map(str, implemented))
        raise CheckpointError(f"config.json: {key} is {value!r}, implemented are {choices}")


def conv_length(length: Any, kernel: int, stride: int, *, padding: int = 0) -> Any:
    """Output length of a convolution, for an int or a tensor of ints."""
    return (length + 2 * padding - kernel) // stride + 1  # floor, as conv1d


def valid_mask(lengths: Tensor | None, size: int) -> Tensor | None:
    """Mask of the valid positions of a padded batch.

    Args:
        lengths: (B,) valid positions; None means that all are valid.
        size: padded length.

    Returns:
        (B, size), True where valid; None if every position is valid.
    """
    if lengths is None:
        return None
    mask = torch.arange(size, device=lengths.device) < lengths[:, None]
    return None if bool(mask.all()) else mask


class Attention(nn.Module):
    """Multi-head self-attention with biases; padding is hidden from the keys."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Attend.

        Args:
            x: (B, F, D).
            mask: (B, F), True where valid, or None.

        Returns:
            (B, F, D).
        """
        q, k, v = (self._split(proj(x)) for proj in (self.q_proj, self.k_proj, self.v_proj))
        key_mask = None if mask is None else mask[:, None, None, :]
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=key_mask)
        merged: Tensor = self.out_proj(attended.transpose(1, 2).flatten(2))
        return merged

    def weights(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """How much each frame takes of each: (B, H, F, F), as in `forward`, which keeps none."""
        q, k = self._split(self.q_proj(x)), self._split(self.k_proj(x))
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None, None, :], float("-inf"))
        weights: Tensor = scores.softmax(-1)
        return weights

    def _split(self, x: Tensor) -> Tensor:
        """(B, F, D) to (B, H, F, D / H)."""
        return x.view(*x.shape[:-1], self.num_heads, -1).transpose(1, 2)
