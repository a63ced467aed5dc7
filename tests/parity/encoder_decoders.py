"""Random encoder-decoder checkpoints of the reference, and comparison with them."""

from __future__ import annotations

import random
from typing import Any

import torch

import asrkit

TOLERANCE = 1e-4
DECODER_ACTIVATIONS = ("relu", "gelu", "silu", "gelu_new", "tanh")


def decoder_options(choose: random.Random) -> dict[str, Any]:
    """Sizes and switches that both families have."""
    heads = choose.choice((1, 2, 4))
    return {
        "vocab_size": choose.choice((31, 50)),
        "d_model": heads * choose.choice((8, 9, 12)),  # an odd width has odd positions
        "decoder_layers": choose.randint(1, 3),
        "decoder_attention_heads": heads,
        "decoder_ffn_dim": choose.choice((20, 48)),
        "activation_function": choose.choice(DECODER_ACTIVATIONS),
        "scale_embedding": choose.random() < 0.5,
        "tie_word_embeddings": choose.random() < 0.5,
        "pad_token_id": choose.choice((1, 1, 1, 0, 5)),
        "decoder_start_token_id": choose.choice((2, 2, 0)),
    }


def randomise(model: Any, seed: int) -> Any:
    """Every weight random, logits of order 1 to 10."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "embed_positions" in name:
                continue
            if "norm" in name and name.endswith("weight"):
                value.normal_(1, 0.2)
            elif value.dim() > 1 and "pos_conv_embed" not in name:
                value.normal_(0, value[0].numel() ** -0.5)
            else:
                value.add_(0.1 * torch.randn_like(value))
        model.get_output_embeddings().weight.mul_(3)
    return model.eval()


def texts(model_config: Any, seed: int, num_items: int, num_tokens: int = 9) -> torch.Tensor:
    """Labels (B, L) of falling length, padded with -100."""
    generator = torch.Generator().manual_seed(seed)
    size = model_config.vocab_size
    labels = torch.randint(0, size, (num_items, num_tokens), generator=generator)
    for row in range(num_items):
        labels[row, num_tokens - 2 * row :] = -100
    return labels


def difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    assert found.shape == expected.shape
    return float((found - expected).abs().max())


@torch.inference_mode()
def compare(
    model: Any, expected_model: Any, items: list[torch.Tensor], labels: torch.Tensor, *, mask: bool
) -> dict[str, float]:
    """Run items one by one through the reference, and as one padded batch through ours.

    Args:
        model: ours.
        expected_model: the reference.
        items: (F, C) features or (T,) samples each.
        labels: (B, L).
        mask: whether the reference is given an attention mask of ones.
    """
    lengths = torch.tensor([len(item) for item in items])
    values = torch.nn.utils.rnn.pad_sequence(items, batch_first=True)
    inputs = model.shift_right(labels)
    found = model(values, lengths, labels=labels, output_hidden_states=True)
    states = model.encode(values, lengths)
    worst = {"logits": 0.0, "hidden": 0.0, "size": 0.0, "same": True}
    for row, item in enumerate(items):
        options = {"attention_mask": torch.ones(1, len(item), dtype=torch.long)} if mask else {}
        expected = expected_model(
            item[None], labels=labels[row : row + 1], output_hidden_states=True, **options
        )
        assert found.lengths[row] == expected.encoder_last_hidden_state.shape[1]
        pairs = [(states.last_hidden_state, expected.encoder_last_hidden_state)]
        pairs += zip(found.hidden_states, expected.encoder_hidden_states, strict=True)
        hidden = max(difference(ours[row, : theirs.shape[1]], theirs[0]) for ours, theirs in pairs)
        single = model(item[None], labels=labels[row : row + 1])
        loss = float((single.loss - expected.loss).abs())
        again = expected_model(item[None], decoder_input_ids=inputs[row : row + 1], **options)
        logits = difference(found.logits[row], again.logits[0])
        worst["hidden"] = max(worst["hidden"], hidden)
        worst["logits"] = max(worst["logits"], logits, loss)
        is_same = torch.equal(found.logits[row].argmax(-1), again.logits[0].argmax(-1))
        worst["same"] = worst["same"] and is_same
        worst["size"] = max(worst["size"], float(expected.logits.abs().max()))
    return worst


def check(name: str, expected_model: Any, folder, items, labels, record, *, mask: bool) -> None:
    """Write the reference's model, load it with ours, compare and record."""
    expected_model.save_pretrained(folder)
    result = compare(asrkit.load_model(str(folder)), expected_model, items, labels, mask=mask)
    record(name, result)

    assert result["logits"] <= TOLERANCE
    assert result["hidden"] <= TOLERANCE
    assert result["same"]
