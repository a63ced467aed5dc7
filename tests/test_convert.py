"""Checkpoints converted: the same numbers come out, and hostile files go nowhere."""

from __future__ import annotations

import argparse
import io
import json
import pickle
import re
import stat
import struct
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import asrkit
from asrkit import safe_pickle
from asrkit.cli.app import app
from asrkit.models import saving
from asrkit.models.runtime import probe
from asrkit.models.speech_to_text import Speech2TextForConditionalGeneration
from asrkit.options import ModelOptions
from asrkit.tasks.convert_checkpoint import convert_checkpoint
from tests import originals
from tests.test_checkpoint import (
    ATTACKS,
    LEGACY,
    NOISE,
    TOUCH,
    ZIP,
    State,
    as_legacy,
    as_zip,
    rebuilt,
    rezip,
    safetensors_bytes,
    tensor_entry,
)
from tests.tiny import tiny_model

AUDIO = next((Path(__file__).parents[1] / "examples" / "audio").glob("*.*"))


def model_input(model: object) -> np.ndarray:
    """Half a second of samples, or features."""
    is_text = isinstance(model, Speech2TextForConditionalGeneration)
    shape = (50, 80) if is_text else (8000,)
    return np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)


@pytest.mark.parametrize("name", originals.BUILDERS)
def test_original_gives_the_numbers_of_the_model_in_it(tmp_path, name):
    original = originals.build(name, tmp_path)
    values = model_input(original.model)

    convert_checkpoint(tmp_path / "out", ModelOptions(str(original.path)), original.options)
    found = probe(asrkit.load_model(str(tmp_path / "out")), values)

    expected = probe(original.model, values)
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_every_original_is_found_by_its_content_alone(tmp_path):
    original = originals.build("torchaudio_ctc", tmp_path)
    renamed = original.path.rename(tmp_path / "anything.bin")

    result = run(renamed, tmp_path / "out", *told(original))

    assert result.exit_code == 0, result.stderr
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["architectures"] == ["Wav2Vec2ForCTC"]
    assert config["num_attention_heads"] == 2  # --config said so


def test_blank_of_fairseq_and_torchaudio_becomes_the_pad_token(tmp_path):
    tokens = {}
    for name in ("wav2vec2_args", "wav2vec2_cfg", "torchaudio_ctc"):
        folder = tmp_path / name
        folder.mkdir()
        original = originals.build(name, folder)
        convert_checkpoint(folder / "out", ModelOptions(str(original.path)), original.options)
        vocabulary = json.loads((folder / "out" / "vocab.json").read_text())
        tokens[name] = sorted(vocabulary, key=vocabulary.__getitem__)

    assert tokens["wav2vec2_args"][:6] == ["<pad>", "<s>", "</s>", "<unk>", "|", "E"]
    assert tokens["wav2vec2_cfg"] == tokens["wav2vec2_args"]
    assert tokens["torchaudio_ctc"][:3] == ["<pad>", "|", "E"]


def test_result_transcribes(tmp_path):
    original = originals.build("hubert_ctc", tmp_path)
    convert_checkpoint(tmp_path / "out", ModelOptions(str(original.path)), original.options)

    (transcript,) = asrkit.transcribe([str(AUDIO)], str(tmp_path / "out"))

    assert set(transcript.text) <= {*originals.LETTERS, " ", *"<unk></s>"}


def test_real_omegaconf_objects_read_as_plain_dicts():
    path = Path(__file__).parent / "golden" / "omegaconf_2.0.6.pt"

    found = safe_pickle.plain(safe_pickle.load(path, keep_objects=True))

    assert found["cfg"]["model"] == {
        "mode": "layer_norm", "layers": 12, "dims": [1, 2], "opt": None, "f": 0.5, "b": True,
        "w": {"model": {"encoder_layers": 3}},
    }  # fmt: skip
    assert found["args"] == {"a": 1, "b": {"c": [1]}}
    assert found["task_state"]["target_dictionary"]["symbols"] == ["<s>", "<pad>", "a"]


# --- the Hub's layout ------------------------------------------------------------------------


def run(*arguments: object):
    return CliRunner().invoke(app, ["convert", "checkpoint", *map(str, arguments)])


def told(original: originals.Original) -> list[str]:
    """The options of an original as arguments."""
    given = {k: v for k, v in vars(original.options).items() if v not in (None, False)}
    return [part for name, value in given.items() for part in (f"--{name}", str(value))]


def outputs(folder: Path) -> np.ndarray:
    model = asrkit.load_model(str(folder))
    return probe(model, model_input(model))


def test_pytorch_weights_become_safetensors_and_other_files_come_along(tmp_path):
    source = tiny_model(folder=tmp_path / "source")
    tensors = load_file(source / "model.safetensors")
    names = {"parametrizations.weight.original0": "weight_g"}
    names |= {"parametrizations.weight.original1": "weight_v"}
    old = {}
    for key, value in tensors.items():
        new = next((key.replace(a, b) for a, b in names.items() if a in key), key)
        old[new] = value
    torch.save(old, source / "pytorch_model.bin")
    (source / "model.safetensors").unlink()
    (source / "language_model").mkdir()
    (source / "language_model" / "attrs.json").write_text("{}")
    (source / "notes.txt").write_text("private")

    result = run(source, tmp_path / "out")

    assert result.exit_code == 0, result.stderr
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[key], value) for key, value in tensors.items())
    files = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")}
    assert files == {
        "config.json", "model.safetensors", "preprocessor_config.json", "tokenizer_config.json",
        "vocab.json", "language_model/attrs.json",
    }  # fmt: skip
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) & 0o500 == 0o500


@pytest.mark.parametrize(("dtype", "size"), [("float16", 2), ("bfloat16", 2), ("float32", 4)])
def test_dtype_is_that_of_every_number_on_disk(tmp_path, dtype, size):
    source = tiny_model(folder=tmp_path / "source")

    result = run(source, tmp_path / "out", "--dtype", dtype, "--check")

    assert result.exit_code == 0, result.stderr
    tensors = load_file(tmp_path / "out" / "model.safetensors").values()
    assert {value.element_size() for value in tensors} == {size}
    assert json.loads((tmp_path / "out" / "config.json").read_text())["torch_dtype"] == dtype
    assert "largest difference of outputs" in result.stderr


def test_shards_are_no_larger_than_asked_for_and_load(tmp_path):
    source = tiny_model(folder=tmp_path / "source")

    assert run(source, tmp_path / "out", "--shard-size", "20kB").exit_code == 0

    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    shards = sorted((tmp_path / "out").glob("model-*.safetensors"))
    assert {path.name for path in shards} == set(index["weight_map"].values())
    assert len(shards) > 2
    assert all(sum(v.nbytes for v in load_file(path).values()) <= 20_000 for path in shards)
    np.testing.assert_array_equal(outputs(tmp_path / "out"), outputs(source))


def test_merged_weight_norm_holds_the_weight_itself_and_gives_the_same(tmp_path):
    source = tiny_model(folder=tmp_path / "source")
    model = asrkit.load_model(str(source))

    result = run(source, tmp_path / "out", "--merge-weight-norm", "--check", "--tolerance", "1e-5")

    assert result.exit_code == 0, result.stderr
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    name = "wav2vec2.encoder.pos_conv_embed.conv.parametrizations.weight.original"
    weight = model.wav2vec2.encoder.pos_conv_embed.conv.weight
    torch.testing.assert_close(tensors[f"{name}1"], weight.detach(), atol=1e-6, rtol=0)
    assert not torch.equal(tensors[f"{name}1"], load_file(source / "model.safetensors")[f"{name}1"])


def test_check_beyond_its_tolerance_exits_with_1_and_keeps_the_result(tmp_path):
    source = tiny_model(folder=tmp_path / "source")

    result = run(
        source, tmp_path / "out", "--dtype", "bfloat16", "--check", "--tolerance", "1e-9",
        "--audio", AUDIO,
    )  # fmt: skip

    assert result.exit_code == 1
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_number_beyond_float16_is_refused_by_name(tmp_path):
    source = tiny_model(folder=tmp_path / "source")
    tensors = load_file(source / "model.safetensors")
    tensors["lm_head.bias"][0] = 1e6
    save_file(tensors, source / "model.safetensors")

    result = run(source, tmp_path / "out", "--dtype", "float16")

    assert result.exit_code == 4
    assert "lm_head.bias has numbers beyond float16" in result.stderr
    assert "the largest 1e+06" in result.stderr


def test_adapters_of_languages_come_along_as_safetensors(tmp_path):
    source = tiny_model(folder=tmp_path / "source", adapter_attn_dim=4, **originals.STABLE)
    vocabulary = json.loads((source / "vocab.json").read_text())
    (source / "vocab.json").write_text(json.dumps({"eng": vocabulary, "fra": vocabulary}))
    tensors = load_file(source / "model.safetensors")
    own = {k: v + 1 for k, v in tensors.items() if "adapter_layer" in k or "lm_head" in k}
    torch.save(own, source / "adapter.fra.bin")

    assert run(source, tmp_path / "out", "--dtype", "float16").exit_code == 0

    found = load_file(tmp_path / "out" / "adapter.fra.safetensors")
    assert {value.dtype for value in found.values()} == {torch.float16}
    assert asrkit.load_model(str(tmp_path / "out"), language="fra").lm_head.bias[0] > 0.9


def test_labels_of_a_head_are_what_the_config_file_names(tmp_path):
    original = originals.build("s3prl_classification", tmp_path)
    (tmp_path / "labels.json").write_text(json.dumps({"id2label": {"0": "a", "1": "b", "2": "c"}}))

    result = run(original.path, tmp_path / "out", *told(original), "--config", "labels.json")
    assert result.exit_code == 4  # not in the current directory
    result = run(
        original.path, tmp_path / "out", *told(original), "--config", tmp_path / "labels.json"
    )

    assert result.exit_code == 0, result.stderr
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["label2id"] == {"a": 0, "b": 1, "c": 2}
    assert config["architectures"] == ["Wav2Vec2ForSequenceClassification"]


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize("existing", ["file", "folder"])
def test_nothing_that_exists_is_overwritten(tmp_path, existing):
    source = tiny_model(folder=tmp_path / "source")
    out = tmp_path / "out"
    if existing == "folder":
        out.mkdir()
    kept = out / "kept" if existing == "folder" else out
    kept.write_text("mine")

    result = run(source, out)

    assert result.exit_code == 4
    assert "nothing is overwritten" in result.stderr
    assert kept.read_text() == "mine"


def test_empty_folder_is_filled(tmp_path):
    (tmp_path / "out").mkdir()

    assert run(tiny_model(folder=tmp_path / "source"), tmp_path / "out").exit_code == 0

    assert (tmp_path / "out" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt(), 130), (OSError(28, "No space left"), 4)]
)
def test_stopped_conversion_leaves_nothing(tmp_path, monkeypatch, error, code):
    source = tiny_model(folder=tmp_path / "source")

    def stop(tensors, folder, **_):
        (folder / "model.safetensors").write_bytes(b"half")
        raise error

    monkeypatch.setattr(saving, "save", stop)
    result = run(source, tmp_path / "out")

    assert result.exit_code == code
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer_type": "conformer"}, "layer_type is 'conformer', implemented is 'transformer'"),
        ({"activation_fn": "tan"}, "hidden_act is 'tan'"),
        ({"encoder_layers": 3}, "tensors are missing: .*layers.2"),
        ({"encoder_layers": "3"}, "num_hidden_layers is '3', expected int"),
        ({"conv_feature_layers": "__import__('os').system('touch canary')"}, "expected lists of"),
        ({"conv_feature_layers": "[(1, 1, 1)] * 10 ** 9"}, "expected lists of"),
        ({"conv_feature_layers": "[(1, 1, 1)] * 999 * 999 * 999"}, "expected lists of"),
        ({"conv_feature_layers": "(" * 900}, "expected lists of"),
        ({"conv_feature_layers": "[(1, 1)]"}, "expected lists of"),
        ({"conv_feature_layers": 5}, "expected lists of"),
    ],
)
def test_setting_that_is_not_implemented_or_not_meant_is_named(
    tmp_path, monkeypatch, change, message
):
    monkeypatch.chdir(tmp_path)
    original = originals.build("hubert_pretrained", tmp_path)
    content = torch.load(original.path, weights_only=True)
    content["cfg"]["model"] |= change
    torch.save(content, original.path)

    result = run(original.path, "out")

    assert result.exit_code == 4
    assert re.search(message, result.stderr), result.stderr
    assert not Path("out").exists()
    assert not Path("canary").exists()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (None, "expected one dict*.txt in"),
        (["a 1", "b 1"], "names 2 tokens, but the head scores 32"),
        (["a 1"] * 28, "names 'a' twice"),
        (b"\xff\xfe", "cannot be read as a dictionary"),
    ],
)
def test_dictionary_that_does_not_fit_is_refused(tmp_path, lines, message):
    original = originals.build("wav2vec2_args", tmp_path)
    path = tmp_path / "dict.ltr.txt"
    if lines is None:
        path.unlink()
    else:
        path.write_bytes(lines if isinstance(lines, bytes) else "\n".join(lines).encode())

    result = run(original.path, tmp_path / "out")

    assert result.exit_code == 4
    assert message in result.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"weights": 1}, "not a checkpoint of fairseq, torchaudio, s3prl; it holds weights"),
        ([1], "it holds list"),
        ({"Downstream": {"x": torch.zeros(1)}}, "--base SOURCE"),
        ({"model": {}, "cfg": {"model": {"w2v_path": "x.pt"}}}, "without the settings of its"),
        ({1: 2, "encoder.transformer.layers.0.x": 3}, "1 is a int, expected a tensor"),
        (
            {
                "args": {"conv_kernel_sizes": "five"},
                "model": {
                    "encoder.subsample.conv_layers.0.weight": torch.zeros(1),
                    "decoder.embed_tokens.weight": torch.zeros(5, 2),
                },
            },
            "not laid out as fairseq does: ValueError: ",
        ),
        ({"model": {}, "args": 3}, "its settings are a int"),
        ({"model": {"x.y": torch.zeros(1)}, "args": {"arch": "wav2vec2"}}, "x.y has no place"),
    ],
)
def test_file_of_nothing_known_says_what_it_holds(tmp_path, content, message):
    torch.save(content, tmp_path / "x.pt")

    result = run(tmp_path / "x.pt", tmp_path / "out")

    assert result.exit_code == 4
    assert message in result.stderr


def test_sentencepiece_model_that_is_not_there_is_named(tmp_path):
    original = originals.build("speech_to_text", tmp_path)

    result = run(original.path, tmp_path / "out", "--sentencepiece", "nowhere.model")

    assert result.exit_code == 4
    assert "nowhere.model: no such file" in result.stderr


def test_link_out_of_the_directory_is_not_followed(tmp_path):
    source = tiny_model(folder=tmp_path / "source")
    (tmp_path / "secret").write_text("secret")
    (source / "merges.txt").symlink_to(tmp_path / "secret")

    result = run(source, tmp_path / "out")

    assert result.exit_code == 4
    assert "merges.txt: a link that leaves the directory" in result.stderr
    assert not (tmp_path / "out").exists()


def test_links_of_the_hub_cache_are_followed(tmp_path):
    snapshot = tmp_path / "models--a--b" / "snapshots" / "0"
    tiny_model(folder=snapshot)
    blobs = tmp_path / "models--a--b" / "blobs"
    blobs.mkdir()
    for path in list(snapshot.iterdir()):
        path.rename(blobs / path.name)
        path.symlink_to(blobs / path.name)

    assert run(snapshot, tmp_path / "out").exit_code == 0

    assert not (tmp_path / "out" / "vocab.json").is_symlink()
    np.testing.assert_array_equal(outputs(tmp_path / "out"), outputs(snapshot))


@pytest.mark.parametrize(
    "options",
    [
        ["--shard-size", "big"],
        ["--shard-size", "0"],
        ["--dtype", "int8"],
        ["--tolerance", "1"],
        ["--check", "--tolerance", "-1"],
    ],
)
def test_option_that_cannot_be_meant_is_a_usage_error(tmp_path, options):
    result = run("demo-en", tmp_path / "out", *options)

    assert result.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_option_of_original_files_is_refused_with_a_directory(tmp_path):
    source = tiny_model(folder=tmp_path / "source")

    result = run(source, tmp_path / "out", "--dictionary", "dict.txt")

    assert result.exit_code == 2
    assert "--dictionary belongs to an original file" in result.stderr


# Settings that are more than settings: what fairseq's layout makes room for.
def _fairseq(settings: object) -> bytes:
    return pickle.dumps({"args": settings, "model": {}}, 2)


CYCLE: dict[str, object] = {}
CYCLE["cycle"] = CYCLE
LAUGHS: object = "ha"
for _ in range(60):
    LAUGHS = [LAUGHS] * 10  # 10 ** 60 when written out
HOSTILE = {
    "call in a namespace": _fairseq(argparse.Namespace(arch=TOUCH)),
    "call as a state": _fairseq(State(argparse.Namespace, TOUCH)),
    "call of a namespace's method": b"\x80\x02cargparse\nNamespace.__init__.__globals__\n.",
    "call through a package": b"\x80\x02cfairseq.x\nsystem\n(cos\nsystem\nU\x01atR.",
    "attribute of an allowed module": b"\x80\x02cpathlib\nos.system\nU\x01a\x85R.",
    "settings that contain themselves": _fairseq(CYCLE),
    "settings of all sizes": _fairseq(LAUGHS),
}


WRAPS = {"zip": as_zip, "legacy": as_legacy, "bare": bytes}
CASES = [(name, wrap) for name in HOSTILE for wrap in WRAPS]
CASES += [(name, "legacy" if index % 2 else "zip") for index, name in enumerate(ATTACKS)]


@pytest.mark.parametrize(("name", "wrap"), CASES)
def test_hostile_original_is_refused_and_touches_nothing(tmp_path, monkeypatch, name, wrap):
    monkeypatch.chdir(tmp_path)
    Path("x.pt").write_bytes(WRAPS[wrap]((HOSTILE | ATTACKS)[name]))

    result = run("x.pt", "out")

    assert result.exit_code == 4, result.stderr
    assert "internal error" not in result.stderr
    assert [path.name for path in Path().iterdir()] == ["x.pt"]
    assert "fairseq" not in sys.modules


def tar(data: bytes) -> bytes:
    """The layout of torch before 0.1.10, with a name that leads out of it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        for name in ("pickle", "storages", "../../canary"):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            file.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def archive(change: object, **how: object) -> bytes:
    return rezip(ZIP, change, **how)


def with_storage(data: bytes) -> bytes:
    """The pickle and eight bytes for its tensors."""
    out = io.BytesIO(as_zip(data))
    with zipfile.ZipFile(out, "a") as file:
        file.writestr("archive/data/0", bytes(8))
    return out.getvalue()


DAMAGED = {
    "tar": tar(pickle.dumps(TOUCH, 2)),
    "zip bomb": archive(lambda n, d: (n, d + bytes(10**7)), compression=zipfile.ZIP_DEFLATED),
    "path traversal": archive(lambda n, d: (f"../../{n}", d)),
    "absolute path": archive(lambda n, d: (f"/tmp/{n}", d)),
    "drive": archive(lambda n, d: (f"C:/{n}", d)),
    "storage shorter than it says": archive(lambda n, d: (n, d[:4] if "/data/" in n else d)),
    "tensor beyond its storage": with_storage(rebuilt(2, 0, (3,), (1,))),
    "tensor of 2**124 numbers": with_storage(rebuilt(2, 0, (2**62, 2**62), (0, 0))),
    "storage of a terabyte": with_storage(rebuilt(2**38, 0, (2,), (1,))),
    "truncated zip": ZIP[:-30],
    "truncated pickle": LEGACY[:100],
    "not a pickle": NOISE,
    "empty": b"",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_original_is_refused_and_touches_nothing(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path("x.pt").write_bytes(DAMAGED[name])

    result = run("x.pt", "out")

    assert result.exit_code == 4, result.stderr
    assert "x.pt: " in result.stderr
    assert [path.name for path in Path().iterdir()] == ["x.pt"]


@pytest.mark.parametrize(
    "content",
    [
        safetensors_bytes({"a": tensor_entry(0, 8), "b": tensor_entry(4, 12)}, b"\0" * 12),
        safetensors_bytes({"a": tensor_entry(0, 800)}, b"\0" * 8),
        safetensors_bytes({"a": tensor_entry(-8, 0)}, b"\0" * 8),
        safetensors_bytes({"a": tensor_entry(0, 8, (2**62, 2**62))}, b"\0" * 8),
        struct.pack("<Q", 2**62) + b"{}",
    ],
    ids=["overlap", "out of range", "negative", "lying shape", "endless header"],
)
def test_damaged_safetensors_are_refused_and_touch_nothing(tmp_path, content):
    source = tiny_model(folder=tmp_path / "source")
    (source / "model.safetensors").write_bytes(content)

    result = run(source, tmp_path / "out")

    assert result.exit_code == 4
    assert "not a readable safetensors file" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
