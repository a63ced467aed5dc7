"""Speech2Text2 against transformers 4.40, the last release that has it, on random checkpoints."""

from __future__ import annotations

import random

import pytest

pytestmark = pytest.mark.parity
transformers = pytest.importorskip("transformers")
if not hasattr(transformers, "Speech2Text2Config"):
    pytest.skip("Speech2Text2 left transformers after 4.40", allow_module_level=True)

import torch  # noqa: E402

from tests.parity import encoder_decoders as pair  # noqa: E402


def random_model(encoder, decoder, seed: int):
    """The reference's model of two configs, every weight random."""
    config = transformers.SpeechEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.pad_token_id = decoder.pad_token_id
    config.decoder_start_token_id = decoder.decoder_start_token_id
    return pair.randomise(transformers.SpeechEncoderDecoderModel(config=config), seed)


def small_model(seed: int):
    """A random small reference model; the seeds together cover every switch."""
    choose = random.Random(f"speech_to_text_2 {seed}")
    decoder = transformers.Speech2Text2Config(**pair.decoder_options(choose))
    heads = decoder.decoder_attention_heads
    is_as_wide = choose.random() < 0.3 and decoder.d_model % 4 == 0
    options = dict(
        hidden_size=decoder.d_model if is_as_wide else choose.choice((24, 32)),
        num_hidden_layers=choose.randint(1, 3),
        num_attention_heads=min(heads, 2),
        intermediate_size=choose.choice((24, 40)),
        conv_dim=(12, 16, 20),
        conv_kernel=(10, 8, 4),
        conv_stride=(5, 4, 4),
        conv_bias=choose.random() < 0.5,
        num_conv_pos_embeddings=choose.choice((15, 16)),
        num_conv_pos_embedding_groups=4,
        feat_extract_norm=choose.choice(("group", "layer")),
        do_stable_layer_norm=choose.random() < 0.5,
        mask_time_prob=0.0,
    )
    if choose.random() < 0.3:
        encoder = transformers.HubertConfig(**options, feat_proj_layer_norm=choose.random() < 0.5)
    else:
        if choose.random() < 0.5:
            options["add_adapter"] = True
            options["num_adapter_layers"] = choose.randint(1, 3)
            options["adapter_stride"] = choose.choice((1, 2))
            # The reference projects only what is as wide as the encoder's layers.
            options["output_hidden_size"] = choose.choice((options["hidden_size"], decoder.d_model))
        encoder = transformers.Wav2Vec2Config(**options)
    return random_model(encoder, decoder, seed)


def waveforms(seed: int, *lengths: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(length, generator=generator) for length in lengths]


@pytest.mark.parametrize("seed", range(64))
def test_small_checkpoint_gives_the_reference_states_logits_and_loss(seed, tmp_path, record):
    expected_model = small_model(seed)
    kind = expected_model.config.encoder.model_type
    items = waveforms(seed, 6_000, 5_999, 3_217, 900)
    labels = pair.texts(expected_model.config.decoder, seed, len(items))

    pair.check(
        f"small speech_to_text_2, {kind}", expected_model, tmp_path, items, labels, record,
        mask=seed % 2 == 0,
    )  # fmt: skip


def test_published_size_gives_the_reference_states_logits_and_loss(tmp_path, record):
    encoder = transformers.Wav2Vec2Config(
        hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096,
        feat_extract_norm="layer", conv_bias=True, do_stable_layer_norm=True, mask_time_prob=0.0,
    )  # fmt: skip
    decoder = transformers.Speech2Text2Config(
        vocab_size=10_224, decoder_layers=7, tie_word_embeddings=False
    )
    expected_model = random_model(encoder, decoder, 0)
    items = waveforms(1, 48_000, 30_001)
    labels = pair.texts(decoder, 1, len(items), num_tokens=30)

    pair.check(
        "s2t-wav2vec2-large-en-de", expected_model, tmp_path, items, labels, record, mask=True
    )
