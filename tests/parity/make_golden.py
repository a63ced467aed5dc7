"""Write tests/golden/*.safetensors: small models and what the reference makes of them.

    python -m tests.parity.make_golden

Transformers 5 writes all families but Speech2Text2, which only 4.40 has, and which is all that it
writes.

Each file holds a config (in the metadata), all weights, one input, and every stage's output, so
that the default tests compare with the reference without having it installed. Those in heads/ hold
lengths and labels too, and what the reference gives with them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file

from tests.parity import encoder_decoders, reference

FOLDER = Path(__file__).parent.parent / "golden"
SMALL = dict(
    hidden_size=12, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
    conv_dim=(6,) * 7, num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=4,
    vocab_size=32, mask_time_prob=0.0,
)  # fmt: skip
STABLE = dict(feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True)
CASES = {
    "wav2vec2-group": ("wav2vec2", SMALL),
    "wav2vec2-stable": (
        "wav2vec2",
        SMALL | STABLE | dict(add_adapter=True, output_hidden_size=10, adapter_attn_dim=4),
    ),
    "hubert-group": ("hubert", SMALL | dict(feat_proj_layer_norm=False)),
    "hubert-stable": ("hubert", SMALL | STABLE | dict(conv_pos_batch_norm=True)),
}

TINY = SMALL | STABLE | dict(
    hidden_size=8, num_hidden_layers=1, intermediate_size=8,
    conv_dim=(4, 4, 4), conv_kernel=(10, 4, 4), conv_stride=(5, 4, 4),
    use_weighted_layer_sum=True, num_labels=3, classifier_proj_size=4,
    tdnn_dim=(6, 6), tdnn_kernel=(3, 1), tdnn_dilation=(2, 1), xvector_output_dim=5,
)  # fmt: skip
# Architecture, options of the forward pass, fields of its output.
HEADS = {
    "wav2vec2-sequence": (
        "Wav2Vec2ForSequenceClassification",
        {"labels": torch.tensor([2, 0])},
        ("logits", "loss"),
    ),
    "hubert-sequence": (
        "HubertForSequenceClassification",
        {"labels": torch.tensor([2, 0])},
        ("logits", "loss"),
    ),
    "wav2vec2-frame": ("Wav2Vec2ForAudioFrameClassification", {}, ("logits",)),
    "wav2vec2-xvector": (
        "Wav2Vec2ForXVector",
        {"labels": torch.tensor([1, 2])},
        ("logits", "embeddings", "loss"),
    ),
    "wav2vec2-pretraining": (
        "Wav2Vec2ForPreTraining",
        {
            "mask_time_indices": torch.tensor([[False, True, True] * 3 + [False] * 2] * 2),
            "sampled_negative_indices": torch.arange(44).reshape(2, 11, 2) % 5,
        },
        ("projected_states", "codevector_perplexity", "contrastive_loss", "diversity_loss", "loss"),
    ),
}


def write_head(name: str) -> None:
    """One golden file of a head: two items, the second half padding."""
    architecture, options, fields = HEADS[name]
    family = name.partition("-")[0]
    config = reference.FAMILIES[family][0](**TINY)
    if architecture == "Wav2Vec2ForPreTraining":
        config.update(
            dict(
                num_codevectors_per_group=4, codevector_dim=6, proj_codevector_dim=5,
                mask_time_prob=0.1,
            )
        )  # fmt: skip
    model = reference.random_model(config, seed=7, architecture=architecture)
    weights = {f"weight:{key}": value for key, value in model.state_dict().items()}
    torch.manual_seed(8)
    lengths = torch.tensor([900, 650])
    mask = (torch.arange(900) < lengths[:, None]).long()
    values = torch.randn(2, 900) * mask
    with torch.no_grad():
        output = reference.norm_last_state(model)(values, attention_mask=mask, **options)
    tensors = {"values": values, "lengths": lengths}
    tensors |= {f"option:{key}": value for key, value in options.items()}
    write(
        FOLDER / "heads" / f"{name}.safetensors",
        weights | tensors | {key: output[key] for key in fields},
        config.to_diff_dict() | {"model_type": family, "architectures": [architecture]},
    )


# Encoder-decoders.
DECODER = dict(
    vocab_size=20, d_model=12, decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=16,
)  # fmt: skip
SPEECH_TO_TEXT = {
    "speech_to_text-tied": dict(
        input_feat_per_channel=16, conv_channels=8, encoder_layers=2, encoder_attention_heads=3,
        encoder_ffn_dim=16, decoder_layers=2,
    ),
    "speech_to_text-untied": dict(
        input_feat_per_channel=16, conv_channels=8, num_conv_layers=3, conv_kernel_sizes=(3, 5, 1),
        encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=16, scale_embedding=False,
        tie_word_embeddings=False, activation_function="gelu",
    ),
}  # fmt: skip
SPEECH_TO_TEXT_2 = {
    "speech_to_text_2-wav2vec2": (
        "wav2vec2",
        SMALL | STABLE | dict(num_hidden_layers=1, add_adapter=True, num_adapter_layers=1),
        dict(d_model=16, tie_word_embeddings=False),
    ),
    "speech_to_text_2-hubert": (
        "hubert",
        SMALL | dict(num_hidden_layers=1),
        dict(scale_embedding=False),
    ),
}


def write_frame_models() -> None:
    for name, (family, options) in CASES.items():
        config = reference.FAMILIES[family][0](**options)
        model = reference.random_model(config, seed=7)
        torch.manual_seed(8)
        values = torch.randn(1, 3_000)
        base = model.base_model
        with torch.no_grad():
            output = model(values, output_hidden_states=True)
            features = base.feature_extractor(values).transpose(1, 2)
            projected = base.feature_projection(features)
            last = base(values).last_hidden_state
        tensors = {f"weight:{key}": value for key, value in model.state_dict().items()}
        tensors |= {
            "values": values,
            "features": features,
            "projected": projected[0] if isinstance(projected, tuple) else projected,
            "first_hidden": output.hidden_states[0],
            "middle_hidden": output.hidden_states[1],
            "last_hidden": last,
            "logits": output.logits,
        }
        settings = config.to_diff_dict() | {"model_type": family}
        write(FOLDER / f"{name}.safetensors", tensors, settings)


def write_encoder_decoder(name: str, model: Any, values: torch.Tensor) -> None:
    model = encoder_decoders.randomise(model, 7)
    labels = torch.tensor([[5, 6, 7, 8, 9, -100]])
    with torch.no_grad():
        output = model(values, labels=labels, output_hidden_states=True)
        generated = model.generate(values, num_beams=3, max_length=12, early_stopping=True)
    # A tied head shares the memory of the embeddings, and is saved under their name only.
    weights = {value.data_ptr(): key for key, value in reversed(model.state_dict().items())}
    tensors = {f"weight:{key}": model.state_dict()[key] for key in weights.values()}
    tensors |= {
        "values": values,
        "labels": labels,
        "first_hidden": output.encoder_hidden_states[0],
        "middle_hidden": output.encoder_hidden_states[1],
        "encoded": output.encoder_last_hidden_state,
        "logits": output.logits,
        "loss": output.loss,
        "generated": generated,
    }
    write(FOLDER / "encoder_decoder" / f"{name}.safetensors", tensors, model.config.to_dict())


def write_speech_to_text() -> None:
    torch.manual_seed(8)
    values = torch.randn(1, 37, 16)
    for name, options in SPEECH_TO_TEXT.items():
        config = transformers.Speech2TextConfig(**DECODER | options)
        model = transformers.Speech2TextForConditionalGeneration(config)
        write_encoder_decoder(name, model, values)


def write_speech_to_text_2() -> None:
    torch.manual_seed(8)
    values = torch.randn(1, 1_600)
    for name, (family, options, decoder) in SPEECH_TO_TEXT_2.items():
        config = transformers.SpeechEncoderDecoderConfig.from_encoder_decoder_configs(
            reference.FAMILIES[family][0](**options),
            transformers.Speech2Text2Config(max_target_positions=20, **DECODER | decoder),
            pad_token_id=1,
            decoder_start_token_id=2,
            eos_token_id=2,
        )
        write_encoder_decoder(name, transformers.SpeechEncoderDecoderModel(config=config), values)


def write(path: Path, tensors: dict[str, torch.Tensor], config: dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    save_file(
        {key: value.clone().contiguous() for key, value in tensors.items()},
        path,
        metadata={"config": json.dumps(config)},
    )
    print(path.name, path.stat().st_size)


def main() -> None:
    if hasattr(transformers, "Speech2Text2Config"):
        write_speech_to_text_2()
    else:
        write_frame_models()
        for name in HEADS:
            write_head(name)
        write_speech_to_text()


if __name__ == "__main__":
    main()
