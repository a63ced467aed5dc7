"""Speech2Text against transformers, on the same random checkpoints."""

from __future__ import annotations

import random

import pytest

pytestmark = pytest.mark.parity
transformers = pytest.importorskip("transformers")

import torch  # noqa: E402

import asrkit  # noqa: E402
from tests.parity import encoder_decoders as pair  # noqa: E402

if not transformers.__version__.startswith("5."):
    pytest.skip("Speech2Text is compared with transformers 5", allow_module_level=True)


def small_model(seed: int):
    """A random small reference model; the seeds together cover every switch."""
    choose = random.Random(f"speech_to_text {seed}")
    options = pair.decoder_options(choose)
    num_convs = choose.randint(1, 3)
    config = transformers.Speech2TextConfig(
        **options,
        encoder_layers=choose.randint(1, 3),
        encoder_attention_heads=choose.choice([h for h in (1, 2, 4) if not options["d_model"] % h]),
        encoder_ffn_dim=choose.choice((24, 40)),
        num_conv_layers=num_convs,
        conv_kernel_sizes=[choose.choice((1, 3, 5, 7)) for _ in range(num_convs)],
        conv_channels=choose.choice((12, 32)),
        input_feat_per_channel=choose.choice((80, 24)),
        input_channels=choose.choice((1, 1, 2)),
        max_source_positions=choose.choice((6000, 40)),  # the table grows
        bos_token_id=0,
        eos_token_id=2,
    )
    return pair.randomise(transformers.Speech2TextForConditionalGeneration(config), seed)


def features(config, seed: int, *lengths: int) -> list[torch.Tensor]:
    """(F, C) normalised noise of so many frames each."""
    generator = torch.Generator().manual_seed(seed)
    width = config.input_feat_per_channel * config.input_channels
    return [torch.randn(length, width, generator=generator) for length in lengths]


@pytest.mark.parametrize("seed", range(60))
def test_small_checkpoint_gives_the_reference_states_logits_and_loss(seed, tmp_path, record):
    expected_model = small_model(seed)
    items = features(expected_model.config, seed, 161, 160, 83, 8)
    labels = pair.texts(expected_model.config, seed, len(items))

    pair.check(
        "small speech_to_text", expected_model, tmp_path, items, labels, record, mask=seed % 2 == 0
    )


FULL = {
    "s2t-small-librispeech-asr": {},
    "s2t-medium-mustc-multilingual-st": dict(
        d_model=512, encoder_attention_heads=8, decoder_attention_heads=8
    ),
}


@pytest.mark.parametrize("name", FULL)
def test_published_size_gives_the_reference_states_logits_and_loss(name, tmp_path, record):
    config = transformers.Speech2TextConfig(**FULL[name])
    expected_model = pair.randomise(transformers.Speech2TextForConditionalGeneration(config), 0)
    items = features(config, 1, 900, 517)
    labels = pair.texts(config, 1, len(items), num_tokens=40)

    pair.check(name, expected_model, tmp_path, items, labels, record, mask=True)


@pytest.mark.parametrize("seed", range(4))
def test_base_checkpoint_gives_the_reference_states(seed, tmp_path):
    expected_model = small_model(seed).model
    expected_model.save_pretrained(tmp_path)
    model = asrkit.load_model(str(tmp_path))
    (item,) = features(expected_model.config, seed, 70)
    tokens = torch.tensor([[2, 7, 8, 1, 9]])

    with torch.inference_mode():
        expected = expected_model(item[None], decoder_input_ids=tokens)
        found = model(item[None], decoder_input_ids=tokens)

    pairs = (
        (found.last_hidden_state, expected.encoder_last_hidden_state),
        (found.decoder_state, expected.last_hidden_state),
    )
    assert max(pair.difference(*both) for both in pairs) <= pair.TOLERANCE
