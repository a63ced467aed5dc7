"""Write tests/golden/*.safetensors: small models and what the reference makes of them.

    python -m tests.parity.make_golden

Each file holds a config (in the metadata), all weights, one input, and every stage's output, so
that the default tests compare with the reference without having it installed. Those in heads/ hold
lengths and labels too, and what the reference gives with them.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.parity import reference

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
    save(
        FOLDER / "heads" / f"{name}.safetensors",
        weights | tensors | {key: output[key] for key in fields},
        config.to_diff_dict() | {"model_type": family, "architectures": [architecture]},
    )


def save(path: Path, tensors: dict[str, torch.Tensor], config: dict[str, object]) -> None:
    path.parent.mkdir(exist_ok=True)
    contiguous = {key: value.contiguous() for key, value in tensors.items()}
    save_file(contiguous, path, metadata={"config": json.dumps(config)})
    print(path.name, path.stat().st_size)


def main() -> None:
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
        save(FOLDER / f"{name}.safetensors", tensors, settings)
    for name in HEADS:
        write_head(name)


if __name__ == "__main__":
    main()
