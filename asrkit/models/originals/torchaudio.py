"""torchaudio: wav2vec 2.0 and HuBERT as state dicts, with or without the CTC layer `aux`.

No settings stand beside the weights; they follow from names and shapes. The number of heads does
not: it is that of the published models of this width, or what `--config` says. A fine-tuned HuBERT
reads as the wav2vec 2.0 that it computes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from asrkit.errors import CheckpointError
from asrkit.models.originals.layout import WAVEFORMS, Companions, Parts, ctc_files, find_tokens
from asrkit.models.wav2vec2 import WEIGHT_NORM, Wav2Vec2Config, spell_weight_norm

_HEADS_OF_WIDTH = {768: 12, 1024: 16, 1280: 16, 1920: 16}
_PRETRAINING = "wav2vec2."  # the prefix of the encoder in HuBERT's pre-training model
_TARGETS = ("logit_generator.", "mask_generator.", "feature_grad_mult")
_KEYS = {
    "encoder.feature_projection.": "feature_projection.",
    "encoder.transformer.": "encoder.",
    "feature_extractor.": "feature_extractor.",
    "aux.": "lm_head.",
}


def recognises(content: Mapping[str, Any]) -> bool:
    """Whether it is a torchaudio state dict."""
    return any("encoder.transformer.layers.0." in str(key) for key in content)


def convert(content: Mapping[str, Any], companions: Companions) -> Parts:
    """Give a torchaudio state dict the Hub's layout.

    Raises:
        CheckpointError: a tensor or kind of model that asrkit does not have.
    """
    is_pretraining = any(str(key).startswith(_PRETRAINING) for key in content)
    family = "hubert" if is_pretraining else "wav2vec2"
    has_head = "aux.weight" in content
    tensors: dict[str, Tensor] = {}
    for key, value in content.items():
        if not isinstance(value, Tensor):
            raise CheckpointError(f"{key} is a {type(value).__name__}, expected a tensor")
        if is_pretraining and key.startswith(_TARGETS):
            continue
        own = key.removeprefix(_PRETRAINING)
        old = next((old for old in _KEYS if own.startswith(old)), None)
        if old is None:
            raise CheckpointError(f"{key} has no place in the model")
        name = spell_weight_norm(_KEYS[old] + own.removeprefix(old))
        is_own = name.startswith("lm_head.") or not has_head
        tensors[name if is_own else f"{family}.{name}"] = value
    base = f"{family}." if has_head else ""
    config = _config(tensors, base, companions)
    files: dict[str, dict[str, Any]] = {}
    if has_head:
        tokens = find_tokens(len(content["aux.weight"]), companions)
        files = ctc_files(tokens)
        config["vocab_size"] = len(tokens)
    class_name = {"wav2vec2": "Wav2Vec2", "hubert": "Hubert"}[family]
    config |= {
        "model_type": family,
        "architectures": [f"{class_name}{'ForCTC' if has_head else 'Model'}"],
        "pad_token_id": 0,
    }
    is_layer = config["feat_extract_norm"] == "layer"
    preprocessor = WAVEFORMS | {"do_normalize": True, "return_attention_mask": is_layer}
    return files | {"config.json": config, "preprocessor_config.json": preprocessor}, tensors, {}


def _config(tensors: Mapping[str, Tensor], base: str, companions: Companions) -> dict[str, Any]:
    """The settings that names and shapes give away."""
    convs: list[Tensor] = []
    while (
        tensor := tensors.get(f"{base}feature_extractor.conv_layers.{len(convs)}.conv.weight")
    ) is not None:
        convs.append(tensor)
    layers = {m[1] for m in map(re.compile(rf"{base}encoder\.layers\.(\d+)\.").match, tensors) if m}
    position = tensors.get(f"{base}encoder.{WEIGHT_NORM}.original1")
    feed_forward = tensors.get(f"{base}encoder.layers.0.feed_forward.intermediate_dense.weight")
    if not convs or position is None or feed_forward is None or position.dim() != 3:
        raise CheckpointError("the convolutions or the first layer of the encoder are missing")
    if len(convs) != len(Wav2Vec2Config.conv_stride) and "conv_stride" not in companions.config:
        raise CheckpointError(
            f"{len(convs)} convolutions, whose strides the file does not say",
            hint='--config FILE with {"conv_stride": [...]} does',
        )
    width = len(position)
    heads = companions.config.get("num_attention_heads", _HEADS_OF_WIDTH.get(width))
    if heads is None:
        raise CheckpointError(
            f"an encoder {width} wide, of which no published model gives the number of heads",
            hint='--config FILE with {"num_attention_heads": N} does',
        )
    is_layer = f"{base}feature_extractor.conv_layers.1.layer_norm.weight" in tensors
    return {
        "hidden_size": width,
        "num_hidden_layers": len(layers),
        "num_attention_heads": heads,
        "intermediate_size": len(feed_forward),
        "conv_dim": [len(weight) for weight in convs],
        "conv_kernel": [weight.shape[-1] for weight in convs],
        "conv_stride": list(Wav2Vec2Config.conv_stride),
        "conv_bias": f"{base}feature_extractor.conv_layers.0.conv.bias" in tensors,
        "num_conv_pos_embeddings": position.shape[2],
        "num_conv_pos_embedding_groups": width // position.shape[1],
        # In every model that torchaudio publishes, norms of both kinds go together.
        "feat_extract_norm": "layer" if is_layer else "group",
        "do_stable_layer_norm": is_layer,
    }
