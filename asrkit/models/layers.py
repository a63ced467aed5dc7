"""What two model families share: config reading, activations, lengths, attention.

Shapes: B batch, T samples, F frames, D width, H heads, C channels, V vocabulary, L tokens.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asrkit.errors import CheckpointError
from asrkit.models import kernels
from asrkit.models.kernels import Items

_log = logging.getLogger("asrkit")

# They may overwrite what they are given where no gradients are asked for.
ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "gelu": kernels.gelu,
    "gelu_new": partial(kernels.gelu, approximate="tanh"),
    "gelu_pytorch_tanh": partial(kernels.gelu, approximate="tanh"),
    "gelu_fast": partial(kernels.gelu, approximate="tanh"),
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

# The same of encoder-decoders; older ones keep here what today stands in generation_config.json.
IGNORED_KEYS |= frozenset(
    "add_cross_attention apply_spec_augment bad_words_ids begin_suppress_tokens"
    " decoder_layerdrop decoder_start_token_id diversity_penalty do_sample dropout"
    " early_stopping encoder_layerdrop encoder_no_repeat_ngram_size"
    " exponential_decay_length_penalty forced_bos_token_id forced_eos_token_id id2label"
    " init_std is_decoder length_penalty mask_feature_prob mask_time_prob max_length"
    " max_source_positions max_target_positions min_length no_repeat_ngram_size"
    " num_beam_groups num_beams num_hidden_layers num_return_sequences output_scores prefix"
    " problem_type pruned_heads quantization_config remove_invalid_values repetition_penalty"
    " return_dict_in_generate sep_token_id suppress_tokens temperature tf_legacy_loss"
    " tie_encoder_decoder top_k top_p typical_p use_bfloat16".split()
)

# No number of a config that is meant is larger; config.json may come from anyone.
MAX_SIZE = 1 << 24
MAX_LAYERS = 1000  # more are a mistake, or meant to keep the machine busy

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
        if all(type(item) is int and 0 < item <= MAX_SIZE for item in value) and value:
            return tuple(value)
    elif wanted is float and type(value) in (int, float):
        return float(value)
    elif wanted is dict and isinstance(value, Mapping):
        with suppress(ValueError, TypeError):
            return {int(index): str(name) for index, name in value.items()}
    elif wanted is int and type(value) is int:
        if abs(value) <= MAX_SIZE:
            return value
    elif type(value) is wanted:
        return value
    kinds: dict[type, str] = {tuple: "a list of positive integers", dict: "names by number"}
    expected = kinds.get(wanted) or wanted.__name__
    limit = f" up to {MAX_SIZE}" if wanted in (int, tuple) else ""
    raise CheckpointError(f"config.json: {key} is {value!r}, expected {expected}{limit}")


def require(key: str, value: object, implemented: Collection[object]) -> None:
    """Refuse a config value that is not implemented.

    Raises:
        CheckpointError: `value` is not among `implemented`; names both.
    """
    if value not in implemented:
        choices = ", ".join(map(str, implemented))
        raise CheckpointError(f"config.json: {key} is {value!r}, implemented are {choices}")


def require_range(config: object, names: str, low: int, high: int) -> None:
    """Refuse numbers of a config that are too small or too large to build a model of.

    Args:
        config: the dataclass.
        names: its fields, separated by blanks.
        low: the smallest number allowed.
        high: the largest number allowed.

    Raises:
        CheckpointError: a field is outside; names it, its value and the range.
    """
    for name in names.split():
        if not low <= (value := getattr(config, name)) <= high:
            raise CheckpointError(f"config.json: {name} is {value}, expected {low} to {high}")


@dataclass(frozen=True)
class EncoderOutput:
    """What a base model gives.

    Attributes:
        last_hidden_state: (B, F, D).
        lengths: (B,) valid frames.
        hidden_states: when asked for, one (B, F, D) more than there are layers: the input of the
            first layer, then the output of each; the last one after the final layer norm.
    """

    last_hidden_state: Tensor
    lengths: Tensor
    hidden_states: tuple[Tensor, ...] | None = None


def conv_length(length: Any, kernel: int, stride: int, *, padding: int = 0) -> Any:
    """Output length of a convolution, for an int or a tensor of ints."""
    return (length + 2 * padding - kernel) // stride + 1  # floor, as conv1d


def shorten(
    conv: nn.Conv1d, x: Tensor, lengths: Tensor, *, with_padding: bool = False
) -> tuple[Tensor, Tensor]:
    """Put each item, by itself, through a strided convolution and a gated linear unit.

    Args:
        conv: gives twice as many channels as are left.
        x: (B, F, C).
        lengths: (B,) valid frames; beyond them an item sees zeros, as it does alone.
        with_padding: make frames of what follows them too, not zeros.

    Returns:
        (B, F', D) and the lengths of it.
    """
    (kernel,), (stride,) = conv.kernel_size, conv.stride
    size = partial(conv_length, kernel=kernel, stride=stride, padding=int(conv.padding[0]))
    items = Items.of(lengths, x.shape[1], with_padding=with_padding)
    rows = [F.glu(conv(item.T[None]), dim=1)[0].T for item in items.split(items.pack(x))]
    frames = Items.of(size(lengths), size(x.shape[1]), with_padding=with_padding)
    return frames.pad(torch.cat(rows)), size(lengths)


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


def sinusoidal_positions(positions: Tensor, width: int) -> Tensor:
    """Embed positions as sines, then cosines, of falling frequencies.

    Args:
        positions: (...) whole numbers, counted as the checkpoint's family counts them.
        width: D; an odd one ends in a column of zeros.

    Returns:
        (..., D) float32.

    Source: Vaswani et al. 2017, section 3.5, with the halves concatenated as in tensor2tensor.
    """
    half = width // 2
    exponents = torch.arange(half, device=positions.device) * -(math.log(10_000) / max(half - 1, 1))
    angles = positions[..., None].float() * torch.exp(exponents)
    return F.pad(torch.cat([angles.sin(), angles.cos()], dim=-1), (0, width % 2))


class Attention(nn.Module):
    """Multi-head self-attention with biases, among the frames of an item."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.k_proj = kernels.Linear(width, width)
        self.v_proj = kernels.Linear(width, width)
        self.q_proj = kernels.Linear(width, width)
        self.out_proj = kernels.Linear(width, width)

    def forward(self, x: Tensor, items: Items) -> Tensor:
        """Let the rows x (N, D) of each item attend to its valid ones; gives (N, D)."""
        q, k, v = (proj(x) for proj in (self.q_proj, self.k_proj, self.v_proj))
        attended: Tensor = self.out_proj(kernels.attend(q, k, v, items, self.num_heads))
        return attended

    def weights(self, x: Tensor) -> Tensor:
        """How much each frame of one item (F, D) takes of each: (H, F, F); `forward` keeps none."""
        q, k = (
            proj(x).view(len(x), self.num_heads, -1).transpose(0, 1)
            for proj in (self.q_proj, self.k_proj)
        )
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        weights: Tensor = scores.softmax(-1)
        return weights
