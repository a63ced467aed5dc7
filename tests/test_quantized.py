"""Weights of 8 bits: what is stored, what it computes, and what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import asrkit
from asrkit.cli.app import app
from asrkit.models import quantized
from asrkit.models.quantized import Int8Linear, to_int8
from asrkit.models.runtime import probe
from asrkit.options import DecodingOptions
from tests.tiny import tiny_model, tiny_speech_encoder_decoder, tiny_speech_to_text

EXAMPLES = Path(__file__).parents[1] / "examples" / "audio"
LAYER = "wav2vec2.encoder.layers.0.attention.k_proj"
BUILDERS = (tiny_model, tiny_speech_to_text, tiny_speech_encoder_decoder)
needs_products = pytest.mark.skipif(
    not quantized._has_exact_products(), reason="this processor has no exact 8-bit products"
)


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def convert(source: object, out: Path, *options: object):
    return run("convert", "checkpoint", source, out, "--quantize", "int8", *options)


def values_for(build: object) -> np.ndarray:
    """Half a second of samples, or features."""
    shape = (50, 80) if build is tiny_speech_to_text else (8000,)
    return np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)


# --- numbers ---------------------------------------------------------------------------------


def test_each_channel_has_its_own_step():
    weight = torch.tensor([[1.27, -0.5, 0.006], [0.0, 0.0, 0.0], [-254.0, 100.0, 1.2]])

    codes, scale = to_int8(weight)

    assert codes.dtype == torch.int8
    assert codes.tolist() == [[127, -50, 1], [0, 0, 0], [-127, 50, 1]]
    torch.testing.assert_close(scale[[0, 2]], torch.tensor([[0.01], [2.0]]))


@given(st.integers(0, 2**32 - 1), st.floats(1e-6, 1e6))
@settings(max_examples=50, deadline=None)
def test_no_weight_moves_by_more_than_half_a_step_of_its_channel(seed, size):
    weight = np.random.default_rng(seed).normal(0, size, (4, 7)).astype(np.float32)

    codes, scale = (part.numpy() for part in to_int8(torch.from_numpy(weight)))

    steps = np.abs(codes * scale.astype(np.float64) - weight) / scale
    assert steps.max() <= 0.5 + 1e-4  # numbers of 24 bits on a grid of 254 steps
    assert np.abs(codes).max(axis=1).tolist() == [127] * 4


def random_layer(num_inputs: int, num_outputs: int) -> Int8Linear:
    torch.manual_seed(0)
    codes = torch.randint(-127, 128, (num_outputs, num_inputs)).to(torch.int8)
    return Int8Linear(codes, torch.rand(num_outputs, 1), torch.randn(num_outputs))


@needs_products
@pytest.mark.parametrize("num_rows", [1, 3, 700])
def test_product_is_that_of_whole_numbers(num_rows):
    layer = random_layer(65, 34)
    x = np.random.default_rng(0).normal(0, 3, (num_rows, 65)).astype(np.float32)

    found = layer(torch.from_numpy(x)).numpy()

    weight, scale, bias = (p.numpy() for p in (layer.weight, layer.weight_scale, layer.bias))
    low, high = (x.min(axis=1, keepdims=True), x.max(axis=1, keepdims=True))
    middle, step = (low + high) / 2, (high - low) / 254
    codes = np.rint((x - middle) / step).astype(np.int64)
    whole = weight.T.astype(np.int64)
    expected = (codes @ whole * step + middle * whole.sum(axis=0)) * scale.T + bias
    assert np.abs(codes).max() == 127
    # A code that lies on a half may fall to either side: one step of one input.
    assert np.abs(found - expected).max() <= (step * 127 * scale.T).max()
    assert np.abs(found - expected).mean() < 1e-3 * np.abs(expected).mean()


@needs_products
def test_frame_gets_the_same_numbers_in_any_batch():
    layer = random_layer(64, 48)
    x = torch.randn(3, 300, 64) * torch.tensor([1.0, 50.0, 0.01])[:, None, None]

    together = layer(x)

    for item, found in zip(x, together, strict=True):
        assert torch.equal(layer(item[:7]), found[:7])


def test_rows_of_zeros_give_the_bias():
    layer = random_layer(8, 5)

    assert torch.equal(layer(torch.zeros(2, 8)), layer.bias.expand(2, 5))


@pytest.mark.parametrize("number", [3.0, -1e4, 1e-20])
def test_rows_of_one_number_and_its_neighbour_are_right(number):
    layer = random_layer(8, 5)
    x = torch.full((2, 8), number)
    x[1, 0] = torch.nextafter(x[1, 0], torch.tensor(torch.inf))

    torch.testing.assert_close(layer(x), layer.dequantized()(x), rtol=1e-4, atol=1e-4)


# --- files -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return tiny_model(folder=tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def int8(source, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("int8") / "out"
    assert convert(source, out).exit_code == 0
    return out


def test_layers_of_the_transformer_are_stored_in_8_bits_and_nothing_else(source, int8):
    old, new = (load_file(folder / "model.safetensors") for folder in (source, int8))

    changed = {name for name in old if new[name].dtype != old[name].dtype}
    names = "attention.k_proj attention.v_proj attention.q_proj attention.out_proj"
    names += " feed_forward.intermediate_dense feed_forward.output_dense"
    expected = {
        f"wav2vec2.encoder.layers.{i}.{name}.weight" for i in range(2) for name in names.split()
    }
    assert changed == expected
    assert new.keys() - old.keys() == {f"{name}_scale" for name in expected}
    assert {new[name].dtype for name in changed} == {torch.int8}
    assert all(torch.equal(new[name], old[name]) for name in old.keys() - changed)


def test_config_says_what_the_weights_are(int8):
    found = json.loads((int8 / "config.json").read_text())["quantization_config"]

    group = found["config_groups"]["group_0"]
    assert found["quant_method"] == "compressed-tensors"
    assert (group["weights"]["num_bits"], group["weights"]["strategy"]) == (8, "channel")
    assert group["input_activations"]["dynamic"] is True


@needs_products
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("build", BUILDERS)
def test_every_family_says_nearly_what_it_said(build, dtype, tmp_path):
    folder = build(folder=tmp_path / "source")
    assert convert(folder, tmp_path / "out").exit_code == 0

    model = asrkit.load_model(str(tmp_path / "out"), dtype=dtype)

    assert any(isinstance(module, Int8Linear) for module in model.modules())
    expected = probe(asrkit.load_model(str(folder), dtype=dtype), values_for(build))
    found = probe(model, values_for(build))
    error = np.sqrt(np.mean((found - expected) ** 2)) / expected.std()
    assert 0 < error < 0.05


@needs_products
@pytest.mark.parametrize("build", BUILDERS[1:])
def test_texts_written_token_by_token_have_the_scores_of_known_ones(build, tmp_path):
    assert convert(build(folder=tmp_path / "source"), tmp_path / "out").exit_code == 0
    model = asrkit.load_model(str(tmp_path / "out"))
    values = torch.from_numpy(values_for(build))[None]
    tokens = torch.tensor([[2, 5, 9, 3, 7]])

    with torch.inference_mode():
        known = model(values, decoder_input_ids=tokens).logits.log_softmax(-1)
        cache = model.start(model.encode(values).last_hidden_state)
        written = torch.cat([model.step(tokens[:, i : i + 1], cache) for i in range(5)], dim=1)

    torch.testing.assert_close(written, known, atol=1e-4, rtol=0)


def test_processor_without_exact_products_gets_floats(source, int8, monkeypatch):
    monkeypatch.setattr(quantized, "_has_exact_products", lambda: False)

    model = asrkit.load_model(str(int8))

    tensors = load_file(int8 / "model.safetensors")
    layer = model.get_submodule(LAYER)
    expected = tensors[f"{LAYER}.weight"] * tensors[f"{LAYER}.weight_scale"]
    in_floats = asrkit.load_model(str(source))
    assert type(layer) is type(in_floats.get_submodule(LAYER))
    assert torch.equal(layer.weight, expected)
    found = probe(model, values_for(tiny_model))
    expected = probe(in_floats, values_for(tiny_model))
    np.testing.assert_allclose(found, expected, atol=0.1)


def test_demo_model_writes_the_right_words(tmp_path):
    assert convert("demo-en", tmp_path / "out").exit_code == 0
    with (EXAMPLES.parent / "transcripts.tsv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t")]
    rows = [row for row in rows if "two-minutes" not in row["audio_filepath"]]

    found = asrkit.transcribe(
        [EXAMPLES.parent / row["audio_filepath"] for row in rows],
        str(tmp_path / "out"),
        decoding=DecodingOptions(decoder="greedy"),
    )

    assert [item.text for item in found] == [row["text"] for row in rows]
    assert len(found) > 5


def test_other_options_go_with_it(source, int8, tmp_path):
    options = ("--dtype", "float16", "--shard-size", "20kB", "--merge-weight-norm", "--check")

    result = convert(source, tmp_path / "out", *options, "--audio", EXAMPLES / "espeak-gb.flac")

    assert result.exit_code == 0, result.stderr
    assert "numbers in int8" in result.stderr
    assert "1 passes" in result.stderr
    tensors = {}
    for path in (tmp_path / "out").glob("*.safetensors"):
        tensors |= load_file(path)
    whole = load_file(int8 / "model.safetensors")
    assert torch.equal(tensors[f"{LAYER}.weight"], whole[f"{LAYER}.weight"])  # not of the float16
    assert tensors[f"{LAYER}.weight_scale"].dtype == torch.float32
    assert tensors[f"{LAYER}.bias"].dtype == torch.float16


def test_model_that_is_quantized_stays_as_it_is(int8, tmp_path):
    assert convert(int8, tmp_path / "again").exit_code == 0
    assert run("convert", "checkpoint", int8, tmp_path / "plain").exit_code == 0

    content = (int8 / "model.safetensors").read_bytes()
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == content
    assert (tmp_path / "plain" / "model.safetensors").read_bytes() == content


def test_info_names_what_most_numbers_are(int8):
    about = json.loads(run("models", "info", int8, "--json").stdout)

    assert about["dtype"] == ["int8", "float32"]


def test_help_says_what_it_does():
    assert "--quantize" in run("convert", "checkpoint", "--help").stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--quantize", "int4"], "quantize 'int4' is not one of int8"),
        (["--dtype", "int8"], "hint: --quantize int8"),
    ],
)
def test_what_there_is_not_is_a_usage_error(source, tmp_path, options, message):
    result = run("convert", "checkpoint", source, tmp_path / "out", *options)

    assert result.exit_code == 2
    assert message in result.stderr


# --- what is refused -------------------------------------------------------------------------


def changed(folder: Path, to: Path, name: str, change) -> Path:
    """The checkpoint with one tensor, or the config, as `change` makes it; None takes it out."""
    to.mkdir()
    config = json.loads((folder / "config.json").read_text())
    tensors = load_file(folder / "model.safetensors")
    content = tensors if name in tensors else config
    content[name] = change(content.get(name))
    (to / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    kept = {k: v.contiguous() for k, v in tensors.items() if v is not None}
    save_file(kept, to / "model.safetensors")
    return to


def with_first(number: float):
    """A change of a tensor's first number."""

    def change(value: torch.Tensor) -> torch.Tensor:
        value.view(-1)[0] = number
        return value

    return change


WEIGHT, SCALE = f"{LAYER}.weight", f"{LAYER}.weight_scale"


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (SCALE, lambda _: None, f"1 of 64 tensors are missing: {SCALE}"),
        (SCALE, with_first(float("nan")), f"{SCALE} is nan somewhere, expected positive numbers"),
        (SCALE, with_first(float("inf")), f"{SCALE} is inf somewhere"),
        (SCALE, with_first(-1.0), f"{SCALE} is -1.0 somewhere"),
        (SCALE, with_first(0.0), f"{SCALE} is 0.0 somewhere"),
        (SCALE, lambda value: value[:, 0], "is float32 (24,), expected float32 (24, 1)"),
        (SCALE, lambda value: value.to(torch.int32), "is int32 (24, 1), expected float32 (24, 1)"),
        (WEIGHT, lambda value: value.to(torch.int64), "is int64 (24, 24), expected int8 (24, 24)"),
        (WEIGHT, lambda value: value.to(torch.uint8), "is uint8 (24, 24), expected int8 (24, 24)"),
        (WEIGHT, lambda value: value.float(), "is float32 (24, 24), expected int8 (24, 24)"),
        (WEIGHT, lambda value: value[:, :5], "is int8 (24, 5), expected int8 (24, 24)"),
        ("quantization_config", lambda _: None, "tensors have no place in the model"),
        ("quantization_config", lambda _: "int8", "(quant_method 'int8') is not the one"),
        ("quantization_config", lambda _: {"quant_method": "gptq"}, "(quant_method 'gptq')"),
        (
            "quantization_config",
            lambda value: value | {"format": "pack-quantized"},
            "(quant_method 'compressed-tensors') is not the one that is implemented",
        ),
    ],
)
def test_checkpoint_that_lies_is_refused(int8, tmp_path, name, change, message):
    folder = changed(int8, tmp_path / "bad", name, change)

    result = run("transcribe", EXAMPLES / "espeak-gb.flac", "-m", folder)

    assert result.exit_code == 4
    assert message in result.stderr


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weight_that_is_no_number_is_not_quantized(source, tmp_path, number):
    folder = changed(source, tmp_path / "bad", WEIGHT, with_first(number))

    result = convert(folder, tmp_path / "out")

    assert result.exit_code == 4
    assert f"{SCALE} is" in result.stderr
    assert not (tmp_path / "out").exists()
