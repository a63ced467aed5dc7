"""Write tests/golden/*.safetensors: small models and what the reference makes of them.

    python -m tests.parity.make_golden

Each file holds a config (in the metadata), all weights, one input, and every stage's output, so
that the default tests compare with the reference without having it installed.
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


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
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
        path = FOLDER / f"{name}.safetensors"
        save_file(
            {key: value.contiguous() for key, value in tensors.items()},
            path,
            metadata={"config": json.dumps(config.to_diff_dict() | {"model_type": family})},
        )
        print(path.name, path.stat().st_size)


if __name__ == "__main__":
    main()
