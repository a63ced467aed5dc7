"""Models against stored outputs of the reference, and against themselves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from asrkit import load_model
from asrkit.errors import AsrkitError, CheckpointError, UsageError
from asrkit.models import runtime
from asrkit.models.layers import valid_mask
from asrkit.models.runtime import ctc_log_probs
from asrkit.models.wav2vec2 import Wav2Vec2Config
from tests.tiny import tiny_config, tiny_model

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.safetensors"))


def load_golden(path: Path, folder: Path):
    """The model of a golden file, loaded as a checkpoint, and the stored tensors."""
    with safe_open(path, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        (folder / "config.json").write_text(file.metadata()["config"])
    weights = {k[7:]: tensors.pop(k) for k in list(tensors) if k.startswith("weight:")}
    save_file(weights, folder / "model.safetensors")
    return load_model(str(folder), head="ctc"), tensors


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_every_stage_gives_the_numbers_of_the_reference(path, tmp_path):
    model, stored = load_golden(path, tmp_path)
    base = getattr(model, model.base_prefix)
    values = stored["values"]

    with torch.inference_mode():
        features = base.feature_extractor(values, torch.tensor([values.shape[1]]))
        output = model(values, output_hidden_states=True)
        found = {
            "features": features,
            "projected": base.feature_projection(features),
            "first_hidden": output.hidden_states[0],
            "middle_hidden": output.hidden_states[1],
            "last_hidden": base(values).last_hidden_state,
            "logits": output.logits,
        }

    for name, tensor in found.items():
        torch.testing.assert_close(tensor, stored[name], rtol=0, atol=1e-4, msg=name)


@pytest.mark.parametrize("family", ["wav2vec2", "hubert"])
def test_golden_files_of_a_family_are_small(family):
    sizes = [path.stat().st_size for path in GOLDEN if path.name.startswith(family)]

    assert len(sizes) == 2
    assert sum(sizes) <= 100_000


@pytest.mark.parametrize("norm", ["group", "layer"])
@pytest.mark.parametrize("is_stable", [False, True])
@pytest.mark.parametrize("add_adapter", [False, True])
def test_padded_batch_gives_each_item_the_logits_it_gets_alone(norm, is_stable, add_adapter):
    """I4."""
    model = tiny_model(
        feat_extract_norm=norm, do_stable_layer_norm=is_stable, add_adapter=add_adapter
    )
    lengths = torch.tensor([8_000, 5_123, 1_600, 400, 37])
    values = torch.randn(5, 8_000)  # what follows an item's length is noise, and is ignored

    with torch.inference_mode():
        batch = model(values, lengths)
        alone = [model(row[None, :n]) for row, n in zip(values, lengths, strict=True)]

    for row, frames, single in zip(batch.logits, batch.lengths, alone, strict=True):
        assert frames == single.lengths[0] == single.logits.shape[1]
        torch.testing.assert_close(row[:frames], single.logits[0], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("num_samples", "frames"),
    [(1, 1), (399, 1), (400, 1), (719, 1), (720, 2), (16_000, 49), (160_000, 499)],
)
def test_frame_counts_are_those_of_the_published_stack(num_samples, frames):
    config = Wav2Vec2Config()

    assert config.receptive_field == 400
    assert config.samples_per_frame == 320
    assert config.frame_lengths(max(num_samples, config.receptive_field)) == frames


def test_group_norm_model_ignores_what_stands_in_the_padding():
    model = tiny_model(feat_extract_norm="group")
    quiet, loud = torch.zeros(1, 6_000), torch.full((1, 6_000), 100.0)
    quiet[:, :3_000] = loud[:, :3_000] = torch.randn(3_000)

    with torch.inference_mode():
        results = [model(values, torch.tensor([3_000])).logits[0, :9] for values in (quiet, loud)]

    torch.testing.assert_close(*results, rtol=0, atol=0)


def test_valid_mask_is_none_when_all_is_valid():
    assert valid_mask(None, 3) is None
    assert valid_mask(torch.tensor([3, 3]), 3) is None
    assert valid_mask(torch.tensor([1, 3]), 3).tolist() == [[True, False, False], [True] * 3]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_stays_near_float32(dtype, tmp_path):
    folder = tiny_model(feat_extract_norm="layer", folder=tmp_path)
    values = torch.randn(1, 4_000)

    with torch.inference_mode():
        exact = load_model(str(folder))(values).logits
        rough = load_model(str(folder), dtype=dtype)(values).logits

    assert rough.dtype == getattr(torch, dtype)
    assert (exact - rough.float()).abs().max() < 0.15 * exact.abs().max()


@pytest.mark.parametrize(
    ("features", "expected", "reason"),
    [({"avx512_bf16"}, torch.bfloat16, "the CPU has avx512_bf16"), (set(), torch.float32, "no")],
)
def test_auto_dtype_is_what_the_cpu_is_fast_at_and_says_why(
    features, expected, reason, monkeypatch, caplog
):
    monkeypatch.setattr(runtime, "cpu_has", lambda feature: feature in features)

    with caplog.at_level("INFO", "asrkit"):
        found = runtime.select_dtype("auto", torch.device("cpu"))

    assert found == expected
    assert reason in caplog.text


def test_ctc_loss_of_one_label_is_the_sum_over_all_paths():
    model = tiny_model()
    values = torch.randn(1, 800)  # 2 frames

    with torch.inference_mode():
        output = model(values, labels=torch.tensor([[5]]))

    p = output.logits[0].softmax(-1)
    assert p.shape[0] == 2
    by_hand = p[0, 5] * p[1, 5] + p[0, 0] * p[1, 5] + p[0, 5] * p[1, 0]
    torch.testing.assert_close(output.loss, -by_hand.log(), rtol=1e-4, atol=1e-5)


def test_label_outside_the_vocabulary_is_an_error():
    with pytest.raises(ValueError, match="label 32 is not below the vocabulary size 32"):
        tiny_model()(torch.randn(1, 800), labels=torch.tensor([[32]]))


def test_model_can_be_trained():
    model = tiny_model(feat_extract_norm="group").train()

    loss = model(
        torch.randn(2, 4_000), torch.tensor([4_000, 2_000]), labels=torch.ones(2, 3).long()
    )
    loss.loss.backward()

    missing = [name for name, p in model.named_parameters() if p.grad is None]
    assert missing == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_act", "geglu"),
        ("feat_extract_norm", "batch"),
        ("hidden_size", "768"),
        ("conv_dim", [512, 0]),
        ("conv_stride", [5, 2]),
        ("num_attention_heads", 5),
        ("num_attention_heads", 0),
        ("do_stable_layer_norm", "yes"),
    ],
)
def test_config_value_that_is_not_implemented_is_refused_by_name(key, value):
    with pytest.raises(CheckpointError, match=key):
        Wav2Vec2Config.from_dict({key: value})


def test_training_keys_and_unknown_keys_are_ignored():
    config = Wav2Vec2Config.from_dict({"mask_time_prob": 0.05, "of_the_future": 1})

    assert config == Wav2Vec2Config()


def edit_config(folder: Path, **changes) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_unsupported_model_type_is_refused_by_name(tmp_path):
    folder = tiny_model(folder=tmp_path)
    edit_config(folder, model_type="wavlm")

    with pytest.raises(CheckpointError, match="model_type 'wavlm' is not supported"):
        load_model(str(folder))


def test_unsupported_architecture_is_refused_by_name(tmp_path):
    folder = tiny_model(folder=tmp_path)
    edit_config(folder, architectures=["Wav2Vec2ForTranslation"])

    with pytest.raises(CheckpointError, match="Wav2Vec2ForTranslation"):
        load_model(str(folder))


def test_hubert_with_an_adapter_is_refused(tmp_path):
    folder = tiny_model(folder=tmp_path)
    edit_config(folder, model_type="hubert", architectures=["HubertForCTC"], add_adapter=True)

    with pytest.raises(CheckpointError, match="add_adapter is True"):
        load_model(str(folder))


def test_base_checkpoint_has_no_ctc_head(tmp_path):
    folder = tiny_model(folder=tmp_path)
    weights = tiny_model().wav2vec2.state_dict()
    save_file({k: v.contiguous() for k, v in weights.items()}, folder / "model.safetensors")

    with pytest.raises(CheckpointError, match=r"no CTC head .*lm_head\.weight"):
        load_model(str(folder), head="ctc")
    assert load_model(str(folder), head="base").config == tiny_config()


def test_both_spellings_of_weight_norm_load_the_same_model(tmp_path):
    model = tiny_model()
    new = {k: v.contiguous() for k, v in model.state_dict().items()}
    old = {
        key.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): value
        for key, value in new.items()
    }
    folder = tiny_model(folder=tmp_path)
    values = torch.randn(1, 2_000)

    logits = []
    for weights in (new, old):
        save_file(weights, folder / "model.safetensors")
        with torch.inference_mode():
            logits.append(load_model(str(folder))(values).logits)

    assert old.keys() != new.keys()
    torch.testing.assert_close(*logits, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("option", "value"),
    [("device", "tpu"), ("device", "cuda:99"), ("dtype", "int3"), ("head", "x")],
)
def test_unknown_device_dtype_or_head_is_a_usage_error(option, value, tmp_path):
    folder = tiny_model(folder=tmp_path)

    with pytest.raises(UsageError, match=value):
        load_model(str(folder), **{option: value})


@pytest.mark.parametrize(
    "device",
    [
        pytest.param(
            "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
        ),
        pytest.param(
            "mps", marks=pytest.mark.skipif(not torch.backends.mps.is_available(), reason="no MPS")
        ),
    ],
)
def test_accelerator_gives_the_numbers_of_the_cpu(device, tmp_path):
    folder = tiny_model(folder=tmp_path)
    values, lengths = torch.randn(2, 4_000), torch.tensor([4_000, 2_500])

    with torch.inference_mode():
        exact = load_model(str(folder))(values, lengths).logits[:, :7]
        found = load_model(str(folder), device=device)(values.to(device), lengths.to(device))

    torch.testing.assert_close(found.logits[:, :7].cpu(), exact, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "options", [{}, {"feat_extract_norm": "layer", "do_stable_layer_norm": True}]
)
def test_a_model_never_waits_for_a_number_of_its_device(options):
    model = tiny_model(**options).to("meta")  # which has none to give, and takes none of another
    lengths = torch.tensor([4_000, 2_500])

    with torch.inference_mode():
        found = model(torch.empty(2, 4_000, device="meta"), lengths)

    expected = tiny_model(**options)(torch.zeros(2, 4_000), lengths).logits
    assert found.logits.shape == expected.shape


def test_an_error_that_speaks_of_memory_and_not_of_too_little_stays_itself():
    model = tiny_model()

    def fail(*_):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    model.register_forward_pre_hook(fail)

    with pytest.raises(RuntimeError, match="illegal memory access"):
        ctc_log_probs(model, [np.zeros(800, np.float32)])


def test_batch_that_does_not_fit_into_memory_says_what_to_do():
    model = tiny_model()
    model.register_forward_pre_hook(_run_out_of_memory)

    with pytest.raises(AsrkitError, match="not enough memory on cpu for 2 chunks") as caught:
        ctc_log_probs(model, [np.zeros(800, np.float32)] * 2)
    assert "--batch-seconds" in caught.value.hint


def _run_out_of_memory(*_):
    raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 byte")
