"""Random checkpoints of the reference implementation, in every configuration it allows."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch
import transformers

TOKENS = "<pad> <s> </s> <unk> | E T A O N I H S R D L U M W C F G Y P B V K ' X J Q Z".split()
FAMILIES = {
    "wav2vec2": (
        transformers.Wav2Vec2Config,
        transformers.Wav2Vec2ForCTC,
        transformers.Wav2Vec2Model,
    ),
    "hubert": (transformers.HubertConfig, transformers.HubertForCTC, transformers.HubertModel),
}
# Stacks of (channels, kernel, stride) as tuples a layer; the first is the published one, narrowed.
CONV_STACKS = (
    ((16,) * 7, (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)),
    ((12, 16, 20), (10, 8, 4), (5, 4, 4)),
    ((8, 16, 24, 24), (16, 4, 5, 5), (10, 4, 1, 1)),
    ((16, 16), (7, 2), (3, 4)),  # a kernel shorter than its stride
    ((10, 12, 14, 16), (11, 5, 3, 3), (2, 3, 5, 2)),
)
ACTIVATIONS = ("gelu", "relu", "silu", "gelu_new", "tanh", "quick_gelu", "mish", "leaky_relu")


def small_config(family: str, seed: int) -> Any:
    """A random small configuration; the seeds together cover every switch."""
    choose = random.Random(f"{family} {seed}")
    dims, kernels, strides = choose.choice(CONV_STACKS)
    options: dict[str, Any] = {
        "vocab_size": choose.choice((32, 32, 37)),
        "hidden_size": choose.choice((32, 48)),
        "num_hidden_layers": choose.randint(1, 3),
        "num_attention_heads": choose.choice((2, 4)),
        "intermediate_size": choose.choice((40, 64)),
        "hidden_act": choose.choice(ACTIVATIONS),
        "layer_norm_eps": choose.choice((1e-5, 1e-3)),
        "feat_extract_norm": choose.choice(("group", "layer")),
        "feat_extract_activation": choose.choice(ACTIVATIONS),
        "conv_dim": dims,
        "conv_kernel": kernels,
        "conv_stride": strides,
        "conv_bias": choose.random() < 0.5,
        "num_conv_pos_embeddings": choose.choice((15, 16, 128)),
        "num_conv_pos_embedding_groups": choose.choice((2, 4, 16)),
        "do_stable_layer_norm": choose.random() < 0.5,
        "ctc_loss_reduction": choose.choice(("sum", "mean")),
        "mask_time_prob": 0.0,
    }
    if family == "hubert":
        options["feat_proj_layer_norm"] = choose.random() < 0.7
        options["conv_pos_batch_norm"] = choose.random() < 0.3
        options["adapter_attn_dim"] = choose.choice((None, None, 8))
    else:
        options["adapter_attn_dim"] = choose.choice((None, None, 8))
        if choose.random() < 0.4:
            options["add_adapter"] = True
            options["num_adapter_layers"] = choose.randint(1, 3)
            options["adapter_stride"] = choose.choice((1, 2))
            options["output_hidden_size"] = choose.choice((options["hidden_size"], 24))
    return FAMILIES[family][0](**options)


def random_model(
    config: Any, *, seed: int, head: bool = True, architecture: str | None = None
) -> Any:
    """The reference model with every weight random, and logits of order 1 to 10.

    Args:
        config: of the model.
        seed: of all weights.
        head: False for the base model, True for the CTC model.
        architecture: the class of another head.
    """
    torch.manual_seed(seed)
    model_class = FAMILIES[config.model_type][1 if head else 2]
    model = (getattr(transformers, architecture) if architecture else model_class)(config).eval()
    base = f"{model.base_model_prefix}."
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 2.0)
            elif value.is_floating_point() and not name.endswith("weight"):
                value.add_(0.1 * torch.randn_like(value))  # biases, means, the weight norm's parts
            elif architecture and not name.startswith(base):
                value.normal_(0, 2 / value.shape[-1] ** 0.5)
        if head and not architecture:
            model.lm_head.weight.normal_(0, 3 / model.lm_head.in_features**0.5)
    return model


def norm_last_state(model: Any) -> Any:
    """The model, whose last hidden state is taken after the final layer norm.

    Transformers up to 5.8 and s3prl take it there, and so does asrkit; 5.23 takes a stable model's
    before that norm, which changes `use_weighted_layer_sum`.
    """

    def normed(base: Any, _: Any, output: Any) -> Any:
        if output.hidden_states is not None:
            last = base.encoder.layer_norm(output.hidden_states[-1])
            output.hidden_states = (*output.hidden_states[:-1], last)
        return output

    if model.config.do_stable_layer_norm:
        model.base_model.register_forward_hook(normed)
    return model


def write_checkpoint(model: Any, folder: Path, *, do_normalize: bool = True) -> Path:
    """Save a model with a vocabulary and a preprocessor, as the reference writes them."""
    model.save_pretrained(folder)
    names = TOKENS + [chr(ord("a") + index) for index in range(model.config.vocab_size - 32)]
    table = {token: index for index, token in enumerate(names)}
    (folder / "vocab.json").write_text(json.dumps(table))
    transformers.Wav2Vec2CTCTokenizer(str(folder / "vocab.json")).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(
        do_normalize=do_normalize,
        return_attention_mask=model.config.feat_extract_norm == "layer",
    ).save_pretrained(folder)
    return folder
