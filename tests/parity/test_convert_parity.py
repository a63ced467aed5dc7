"""Converted originals, loaded by transformers: nothing made up, equal numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytestmark = pytest.mark.parity
transformers = pytest.importorskip("transformers")

import torch  # noqa: E402

import asrkit  # noqa: E402
from asrkit.models import quantized  # noqa: E402
from asrkit.models.runtime import probe  # noqa: E402
from asrkit.options import ModelOptions  # noqa: E402
from asrkit.tasks.convert_checkpoint import convert_checkpoint  # noqa: E402
from tests import originals  # noqa: E402
from tests.test_convert import model_input  # noqa: E402

HAS_SPEECH_TO_TEXT_2 = hasattr(transformers, "Speech2Text2Config")
NAMES = [
    name
    for name in originals.BUILDERS
    if (name == "speech_to_text_2") == HAS_SPEECH_TO_TEXT_2  # each release has what it alone has
]


def reference_output(model, values: np.ndarray, num_tokens: int) -> np.ndarray:
    """What `probe` gives, of a model of the reference."""
    batch = torch.from_numpy(values)[None]
    inputs = {"input_features" if batch.ndim == 3 else "input_values": batch}
    if hasattr(model, "decoder") or hasattr(getattr(model, "model", None), "decoder"):
        inputs["decoder_input_ids"] = torch.arange(num_tokens)[None]
    with torch.inference_mode():
        output = model(**inputs)
    parts = [
        getattr(output, name, None)
        for name in ("logits", "embeddings", "projected_states", "last_hidden_state")
    ]
    return torch.cat([part.flatten() for part in parts if part is not None]).numpy()


@pytest.mark.parametrize("name", NAMES)
def test_reference_loads_the_result_and_gives_the_same_numbers(name, tmp_path, capsys):
    original = originals.build(name, tmp_path)
    values = model_input(original.model)
    convert_checkpoint(tmp_path / "out", ModelOptions(str(original.path)), original.options)
    config = json.loads((tmp_path / "out" / "config.json").read_text())

    model_class = getattr(transformers, config["architectures"][0])
    model, loading = model_class.from_pretrained(tmp_path / "out", output_loading_info=True)

    missing = [key for key in loading["missing_keys"] if "masked_spec_embed" not in key]
    assert [key for key in missing if not key.endswith("embed_positions.weights")] == []
    assert list(loading["unexpected_keys"]) == []
    expected = probe(original.model, values)
    found = reference_output(model.eval(), values, 8)
    difference = float(np.abs(found[: len(expected)] - expected).max())
    with capsys.disabled():
        print(f"\n{name:24} {difference:.1e} of {np.abs(expected).max():.1f}", end=" ")
    assert difference < 1e-4


@pytest.mark.parametrize("dtype", [None, "float16", "bfloat16"])
def test_reference_loads_shards_merged_weights_and_other_dtypes(dtype, tmp_path):
    name = "speech_to_text_2" if HAS_SPEECH_TO_TEXT_2 else "hubert_ctc"
    options = {"merge_weight_norm": True, "shard_size": 20_000, "dtype": dtype}
    original = originals.build(name, tmp_path, **options)
    out = tmp_path / "out"
    convert_checkpoint(out, ModelOptions(str(original.path)), original.options)
    config = json.loads((out / "config.json").read_text())

    model = getattr(transformers, config["architectures"][0]).from_pretrained(out)

    values = model_input(original.model)
    found = reference_output(model.float().eval(), values, 8)
    expected = probe(asrkit.load_model(str(out)), values)
    assert len(list(out.glob("model-*.safetensors"))) > 1
    assert float(np.abs(found[: len(expected)] - expected).max()) < 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_reference_reads_the_same_8_bit_weights(name, tmp_path, monkeypatch):
    compressed_tensors = pytest.importorskip("compressed_tensors")
    original = originals.build(name, tmp_path, quantize="int8")
    out = tmp_path / "out"
    convert_checkpoint(out, ModelOptions(str(original.path)), original.options)
    config = json.loads((out / "config.json").read_text())

    model = getattr(transformers, config["architectures"][0]).from_pretrained(out)

    # The steps of activations differ (over 127.5, not 127), so both compute with floats.
    model.apply(compressed_tensors.quantization.disable_quantization)
    monkeypatch.setattr(quantized, "_has_exact_products", lambda: False)
    values = model_input(original.model)
    expected = probe(asrkit.load_model(str(out)), values)
    found = reference_output(model.eval(), values, 8)
    assert float(np.abs(probe(original.model, values) - expected).max()) > 1e-4
    assert float(np.abs(found[: len(expected)] - expected).max()) < 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_reference_reads_the_vocabulary_and_the_front_end(name, tmp_path):
    original = originals.build(name, tmp_path)
    out = tmp_path / "out"
    convert_checkpoint(out, ModelOptions(str(original.path)), original.options)

    settings = json.loads((out / "preprocessor_config.json").read_text())
    extractor = getattr(transformers, settings["feature_extractor_type"]).from_pretrained(out)
    assert extractor.sampling_rate == 16_000
    if not (out / "tokenizer_config.json").exists():
        return
    kind = json.loads((out / "tokenizer_config.json").read_text())["tokenizer_class"]
    tokenizer = getattr(transformers, kind).from_pretrained(out)
    vocabulary = json.loads((out / "vocab.json").read_text())
    assert tokenizer.convert_tokens_to_ids(list(vocabulary)) == list(vocabulary.values())
    pad = 0 if kind == "Wav2Vec2CTCTokenizer" else 1
    assert tokenizer.pad_token_id == pad
