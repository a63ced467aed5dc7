"""Tiny random encoder-decoders with the files of published ones, for tests of whole commands."""

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
from tests.sentencepieces import write_files
from tests.tiny import tiny_config

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
_SIZES = {
    "d_model": 16, "decoder_layers": 2, "decoder_attention_heads": 2, "decoder_ffn_dim": 24,
}  # fmt: skip


def tiny_writer(folder: Path, *, languages: tuple[str, ...] = (), seed: int = 0) -> Path:
    """A Speech2Text checkpoint; gives its folder."""
    folder.mkdir(exist_ok=True, parents=True)
    vocabulary = write_files(folder, languages=languages)
    config = Speech2TextConfig(
        **_SIZES,
        vocab_size=len(vocabulary),
        encoder_layers=2,
        encoder_attention_heads=2,
        encoder_ffn_dim=24,
        conv_channels=16,
        tie_word_embeddings=False,  # tied random embeddings repeat one token
    )
    torch.manual_seed(seed)
    model = Speech2TextForConditionalGeneration(config)
    kinds = {"model_type": "speech_to_text", "architectures": [type(model).__name__]}
    tokenizer: dict[str, Any] = {"tokenizer_class": "Speech2TextTokenizer"}
    if languages:
        tokenizer["lang_codes"] = "mustc"
    _save(
        folder,
        model,
        {
            "config.json": asdict(config) | kinds,
            "generation_config.json": {
                "num_beams": 3,
                "max_length": 12,
                "decoder_start_token_id": 2,
                "eos_token_id": 2,
                "pad_token_id": 1,
            },
            "tokenizer_config.json": tokenizer,
            "preprocessor_config.json": {
                "feature_extractor_type": "Speech2TextFeatureExtractor",
                "num_mel_bins": 80,
            },
        },
    )
    return folder


def tiny_german_writer(folder: Path, *, seed: int = 0) -> Path:
    """A Speech2Text2 checkpoint: a Wav2Vec2 encoder and words in pieces; gives its folder."""
    words = [*SPECIAL, *"ein@@ e Mann sagte zu@@ m kl@@ uge@@ s Haus , . !".split()]
    encoder = asdict(tiny_config(feat_extract_norm="layer")) | {"model_type": "wav2vec2"}
    decoder = _SIZES | {"vocab_size": len(words), "model_type": "speech_to_text_2"}
    kinds = {
        "model_type": "speech-encoder-decoder",
        "architectures": ["SpeechEncoderDecoderModel"],
        "encoder": encoder,
        "decoder": decoder | {"num_beams": 2, "max_length": 9, "decoder_start_token_id": 2},
    }
    torch.manual_seed(seed)
    model = SpeechEncoderDecoderModel(SpeechEncoderDecoderConfig.from_dict(kinds))
    _save(
        folder,
        model,
        {
            "config.json": kinds,
            "vocab.json": {word: index for index, word in enumerate(words)},
            "tokenizer_config.json": {"tokenizer_class": "Speech2Text2Tokenizer"},
            "preprocessor_config.json": {"feature_extractor_type": "Wav2Vec2FeatureExtractor"},
        },
    )
    return folder


def _save(folder: Path, model: Any, files: dict[str, Any]) -> None:
    folder.mkdir(exist_ok=True, parents=True)
    with torch.no_grad():
        model.output_weight.normal_(0, 1)
        model.output_weight[:6] = 0  # special tokens and languages: or nothing else is written
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    save_file(
        {key: value.contiguous() for key, value in model.state_dict().items()},
        folder / "model.safetensors",
    )
