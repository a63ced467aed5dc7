"""Wav2Vec2 and HuBERT against transformers, on the same random checkpoints."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytestmark = pytest.mark.parity
transformers = pytest.importorskip("transformers")

import torch  # noqa: E402

import asrkit  # noqa: E402
from asrkit.ctc import BestPath, collapse  # noqa: E402
from asrkit.text import CTCVocabulary  # noqa: E402
from tests.parity import reference  # noqa: E402

TOLERANCE = 1e-4
SMALL = [("wav2vec2", seed) for seed in range(48)] + [("hubert", seed) for seed in range(24)]
FULL = {
    "wav2vec2-base-960h": ("wav2vec2", {}),
    "wav2vec2-large-960h-lv60-self": (
        "wav2vec2",
        dict(
            hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096,
            feat_extract_norm="layer", conv_bias=True, do_stable_layer_norm=True,
        ),
    ),
    "hubert-large-ls960-ft": (
        "hubert",
        dict(
            hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096,
            feat_extract_norm="layer", conv_bias=True, do_stable_layer_norm=True,
        ),
    ),
}  # fmt: skip


def speechlike(num_samples: int, seed: int) -> torch.Tensor:
    """(1, T) noise in bursts, normalised: loud, soft and silent stretches."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(num_samples, generator=generator)
    envelope = torch.rand(num_samples // 800 + 1, generator=generator).repeat_interleave(800)
    values = noise * envelope[:num_samples] ** 2
    return ((values - values.mean()) / values.std())[None]


def difference(a: torch.Tensor, b: torch.Tensor) -> float:
    assert a.shape == b.shape
    return float((a - b).abs().max())


@torch.inference_mode()
def compare_outputs(model, expected_model, values: torch.Tensor) -> dict[str, float]:
    expected = expected_model(values, output_hidden_states=True)
    found = model(values, output_hidden_states=True)
    # The reference lists the last state of a stable model before its final norm.
    last = expected.hidden_states[-1]
    if expected_model.config.do_stable_layer_norm:
        last = expected_model.base_model.encoder.layer_norm(last)
    states = (*expected.hidden_states[:-1], last)
    return {
        "logits": difference(found.logits, expected.logits),
        "hidden": max(difference(a, b) for a, b in zip(found.hidden_states, states, strict=True)),
        "|logits|": float(expected.logits.abs().max()),
    }


def same_decoding(folder, logits: torch.Tensor) -> bool:
    """Whether text, character and word offsets of logits (F, V) are the reference tokenizer's."""
    tokenizer = transformers.Wav2Vec2CTCTokenizer.from_pretrained(folder)
    expected = tokenizer.decode(
        logits.argmax(-1), output_char_offsets=True, output_word_offsets=True
    )
    vocabulary = CTCVocabulary.from_files(
        json.loads((folder / "vocab.json").read_text()),
        tokenizer_config={},
        special_tokens_map={},
        added_tokens={},
    )
    path = BestPath.of(torch.log_softmax(logits, -1).numpy())
    path = BestPath(vocabulary.canonical(logits.shape[1])[path.tokens], path.log_probs)
    found = vocabulary.hypothesis(collapse(path, blank=vocabulary.blank))
    return (
        found.text == expected.text
        and [(c.text, c.start, c.end) for c in found.characters]
        == [(c["char"], c["start_offset"], c["end_offset"]) for c in expected.char_offsets]
        and [(w.text, w.start, w.end) for w in found.words]
        == [(w["word"], w["start_offset"], w["end_offset"]) for w in expected.word_offsets]
    )


def check_against_reference(name, expected_model, folder, values, record) -> None:
    model = asrkit.load_model(str(folder))
    result = compare_outputs(model, expected_model, values)
    with torch.inference_mode():
        result["same text"] = same_decoding(folder, expected_model(values).logits[0])
    record(name, result)

    assert result["logits"] <= TOLERANCE
    assert result["hidden"] <= TOLERANCE
    assert result["same text"]


@pytest.mark.parametrize(("family", "seed"), SMALL)
def test_small_checkpoint_gives_the_reference_numbers_and_text(family, seed, tmp_path, record):
    expected_model = reference.random_model(reference.small_config(family, seed), seed=seed)
    folder = reference.write_checkpoint(expected_model, tmp_path)

    check_against_reference(
        "small " + family, expected_model, folder, speechlike(16_000, seed), record
    )


@pytest.mark.parametrize("name", FULL)
def test_published_size_gives_the_reference_numbers_and_text(name, tmp_path, record):
    family, options = FULL[name]
    config = reference.FAMILIES[family][0](mask_time_prob=0.0, **options)
    expected_model = reference.random_model(config, seed=0)
    folder = reference.write_checkpoint(expected_model, tmp_path)

    check_against_reference(name, expected_model, folder, speechlike(80_000, seed=1), record)


@pytest.mark.parametrize(("family", "seed"), SMALL[::6])
def test_loss_is_the_reference_loss(family, seed, tmp_path):
    expected_model = reference.random_model(reference.small_config(family, seed), seed=seed)
    model = asrkit.load_model(str(reference.write_checkpoint(expected_model, tmp_path)))
    values = torch.cat([speechlike(24_000, seed), speechlike(24_000, seed + 1)])
    labels = torch.tensor([[5, 6, 6, 7], [8, 9, -100, -100]])

    with torch.inference_mode():
        expected = expected_model(values, labels=labels).loss
        found = model(values, labels=labels).loss

    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("family", "seed"), SMALL[::3])
def test_base_model_of_either_checkpoint_gives_the_reference_states(family, seed, tmp_path):
    config = reference.small_config(family, seed)
    bare = reference.random_model(config, seed=seed, head=False)
    folder = reference.write_checkpoint(bare, tmp_path / "bare")
    model = asrkit.load_model(str(folder))
    values = speechlike(16_000, seed)

    with torch.inference_mode():
        expected = bare(values).last_hidden_state
        found = model(values).last_hidden_state

    assert difference(found, expected) <= TOLERANCE


@pytest.mark.parametrize("seed", range(12))
def test_padded_batch_gives_the_reference_logits_of_each_item_alone(seed, tmp_path):
    expected_model = reference.random_model(reference.small_config("wav2vec2", seed), seed=seed)
    model = asrkit.load_model(str(reference.write_checkpoint(expected_model, tmp_path)))
    items = [speechlike(size, seed) for size in (16_000, 9_001, 4_321)]
    batch = torch.stack([torch.nn.functional.pad(i[0], (0, 16_000 - i.shape[1])) for i in items])

    with torch.inference_mode():
        found = model(batch, torch.tensor([16_000, 9_001, 4_321]))

    for row, frames, item in zip(found.logits, found.lengths, items, strict=True):
        with torch.inference_mode():
            expected = expected_model(item).logits[0]
        assert difference(row[:frames], expected) <= TOLERANCE


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("chunk_length", [2.0, 3.3])
def test_long_audio_in_chunks_gives_the_pipeline_text_and_word_times(seed, chunk_length, tmp_path):
    config = reference.small_config("wav2vec2", 100 + seed)
    config.update({"add_adapter": False, "conv_dim": (16,) * 7, "num_feat_extract_layers": 7})
    config.update({"conv_kernel": (10, 3, 3, 3, 3, 2, 2), "conv_stride": (5, 2, 2, 2, 2, 2, 2)})
    config.update({"vocab_size": 32})
    expected_model = reference.random_model(config, seed=seed)
    folder = reference.write_checkpoint(expected_model, tmp_path)
    samples = speechlike(16_000 * 11 + 77 * seed, seed)[0].numpy().astype(np.float32)
    pipeline = transformers.pipeline("automatic-speech-recognition", str(folder))

    expected = pipeline(
        samples.copy(), chunk_length_s=chunk_length, stride_length_s=0.5, return_timestamps="word"
    )
    (found,) = asrkit.transcribe(
        asrkit.Audio(samples, 16_000, "noise"), str(folder),
        chunk_length=chunk_length, stride=0.5,
    )  # fmt: skip

    words = [word for segment in found.segments for word in segment.words]
    assert found.text.split() == expected["text"].split()
    assert [(w.text, w.start) for w in words] == [
        (c["text"], round(c["timestamp"][0], 3)) for c in expected["chunks"]
    ]
