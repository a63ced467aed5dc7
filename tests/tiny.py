"""A tiny random checkpoint with the published vocabulary, for tests that need any model."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from asrkit.models.speech_encoder_decoder import (
    SpeechEncoderDecoderConfig,
    SpeechEncoderDecoderModel,
)
from asrkit.models.speech_to_text import Speech2TextConfig, Speech2TextForConditionalGeneration
from asrkit.models.wav2vec2 import Wav2Vec2Config, Wav2Vec2ForCTC

TOKENS = "<pad> <s> </s> <unk> | E T A O N I H S R D L U M W C F G Y P B V K ' X J Q Z".split()


def tiny_config(**options: Any) -> Wav2Vec2Config:
    """The published front half, narrow and shallow."""
    small = {
        "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 32, "conv_dim": (12,) * 7, "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 4,
    }  # fmt: skip
    return Wav2Vec2Config(**(small | options))


def tiny_model(*, folder: Path | None = None, seed: int = 0, **options: Any) -> Any:
    """The model; or its folder, after writing it there as a complete checkpoint."""
    torch.manual_seed(seed)
    config = tiny_config(**options)
    model = Wav2Vec2ForCTC(config).eval()
    with torch.no_grad():
        model.lm_head.weight.normal_(0, 0.8)
    if folder is None:
        return model
    write_checkpoint(
        model,
        folder,
        "Wav2Vec2ForCTC",
        vocab={token: index for index, token in enumerate(TOKENS)},
        tokenizer_config={"tokenizer_class": "Wav2Vec2CTCTokenizer"},
    )
    return folder


def tiny_head(kind: type[Any], folder: Path, *, seed: int = 0, **options: Any) -> Path:
    """A folder with a tiny random model that has a classification or speaker head."""
    torch.manual_seed(seed)
    small = {
        "id2label": {0: "yes", 1: "no", 2: "go"}, "classifier_proj_size": 8,
        "tdnn_dim": (16, 16), "tdnn_kernel": (3, 1), "tdnn_dilation": (2, 1),
        "xvector_output_dim": 12, "feat_extract_norm": "layer", "do_stable_layer_norm": True,
    }  # fmt: skip
    config = tiny_config(**(small | options))
    model = kind(config).eval()
    with torch.no_grad():
        for value in model.classifier.parameters():
            value.normal_(0, 1.5)
    write_checkpoint(model, folder, kind.__name__)
    return folder


def write_checkpoint(model: Any, folder: Path, architecture: str, **files: Any) -> None:
    """Write a model as a checkpoint that says what it is."""
    folder.mkdir(exist_ok=True, parents=True)
    contents = {
        "config": asdict(model.config)
        | {"model_type": "wav2vec2", "architectures": [architecture]},
        "preprocessor_config": {"sampling_rate": 16_000, "do_normalize": True},
        **files,
    }
    for name, content in contents.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    weights = {key: value.contiguous() for key, value in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors")


def tiny_speech_to_text(*, folder: Path | None = None, seed: int = 0, **options: Any) -> Any:
    """The model, narrow and shallow; or its folder, written as the reference writes it."""
    torch.manual_seed(seed)
    small = {
        "vocab_size": 20, "d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2,
        "encoder_ffn_dim": 24, "decoder_layers": 2, "decoder_attention_heads": 4,
        "decoder_ffn_dim": 20, "conv_channels": 12,
    }  # fmt: skip
    config = Speech2TextConfig(**(small | options))
    model = _spread(Speech2TextForConditionalGeneration(config))
    if folder is None:
        return model
    kinds = {
        "model_type": "speech_to_text",
        "architectures": ["Speech2TextForConditionalGeneration"],
    }
    return _write(folder, asdict(config) | kinds, model.state_dict())


def tiny_speech_encoder_decoder(
    *, folder: Path | None = None, seed: int = 0, encoder: Any = None, **options: Any
) -> Any:
    """The model with a tiny Wav2Vec2 before the decoder; or its folder."""
    torch.manual_seed(seed)
    small = {
        "vocab_size": 20, "d_model": 16, "decoder_layers": 2, "decoder_attention_heads": 4,
        "decoder_ffn_dim": 20,
    }  # fmt: skip
    content = {
        "encoder": asdict(tiny_config(**(encoder or {}))) | {"model_type": "wav2vec2"},
        "decoder": small | options | {"model_type": "speech_to_text_2"},
        "model_type": "speech-encoder-decoder",
        "architectures": ["SpeechEncoderDecoderModel"],
    }
    model = _spread(SpeechEncoderDecoderModel(SpeechEncoderDecoderConfig.from_dict(content)))
    if folder is None:
        return model
    names = {"decoder.": "decoder.model.decoder.", "lm_head.": "decoder.lm_head."}
    tensors = {}
    for key, value in model.state_dict().items():
        prefix = key.partition(".")[0] + "."
        tensors[names.get(prefix, prefix) + key.removeprefix(prefix)] = value
    return _write(folder, content, tensors)


def _spread(model: Any) -> Any:
    """The model with logits that differ, in eval mode."""
    with torch.no_grad():
        model.output_weight.normal_(0, 0.8)
    return model.eval()


def _write(folder: Path, config: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "model.safetensors")
    return folder
