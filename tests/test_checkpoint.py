"""Models found, downloaded and read; and everything that must not be read refused."""

from __future__ import annotations

import io
import json
import logging
import os
import pickle
import random
import runpy
import socket
import struct
import subprocess
import sys
import textwrap
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub import file_download
from safetensors.torch import save as to_safetensors
from safetensors.torch import save_file

from asrkit import checkpoint, safe_pickle
from asrkit.checkpoint import Checkpoint, embedded_models, resolve
from asrkit.errors import (
    CheckpointError,
    ExitCode,
    OfflineError,
    UnsafeCheckpointError,
    UsageError,
)
from tests import hub_server
from tests.hub_server import HubServer, Repository

CONFIG = {"model_type": "wav2vec2", "hidden_size": 2}
TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.tensor([1, 2])}
MODEL = "someone/tiny-model"
NOISE = random.Random(0).randbytes(4096)


def equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    return found.keys() == expected.keys() and all(
        torch.equal(found[name], value) and found[name].dtype == value.dtype
        for name, value in expected.items()
    )


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder


# --- sources ---------------------------------------------------------------------------------


def test_directory_is_found_and_has_no_revision(directory):
    found = resolve(str(directory))

    assert found == Checkpoint(str(directory), directory, None)
    assert found.config == CONFIG


def test_embedded_name_wins_over_directory(tmp_path, monkeypatch):
    assets = tmp_path / "assets"
    (assets / "demo").mkdir(parents=True)
    (assets / "demo" / "config.json").write_text("{}")
    (assets / "not-a-model").mkdir()
    (tmp_path / "demo").mkdir()
    monkeypatch.setattr(checkpoint, "_ASSETS", assets)
    monkeypatch.chdir(tmp_path)

    assert embedded_models() == {"demo": assets / "demo"}
    assert resolve("demo").directory == assets / "demo"
    assert resolve("./demo").directory == Path("demo")


@pytest.mark.parametrize("source", ["nothing", "./a/b", "/no/such", "a/b/c", "", "~/x", "x" * 5000])
def test_what_is_neither_names_the_three_things_looked_for(source):
    with pytest.raises(CheckpointError, match=r"no embedded model, no directory, and not a Hub id"):
        resolve(source, offline=True)


def test_file_is_not_a_model(tmp_path):
    path = tmp_path / "model.safetensors"
    path.touch()

    with pytest.raises(CheckpointError, match="a file, expected a model"):
        resolve(str(path))


@pytest.mark.parametrize(
    ("source", "revision"), [("a/b@v1", "v2"), ("a/b@", None), ("DIRECTORY", "main")]
)
def test_revision_that_cannot_be_meant_is_a_usage_error(source, revision, directory):
    with pytest.raises(UsageError):
        resolve(source.replace("DIRECTORY", str(directory)), revision=revision)


@pytest.mark.parametrize("source", ["a/b--c", "a/b..c", "a/b."])
def test_id_that_the_hub_forbids_is_refused(source):
    with pytest.raises(CheckpointError, match="not a Hub id"):
        resolve(source)


# --- JSON ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        pytest.param(
            b'{"n": ' + b"9" * 5000 + b"}",
            "not JSON",
            marks=pytest.mark.skipif(
                not hasattr(sys, "get_int_max_str_digits"), reason="Python 3.10.7 limits numbers"
            ),
        ),
        (b'{"a": "\xff"}', "not UTF-8: .* at byte 7"),
        (b"[1]", "a JSON list, expected an object"),
        (b"null", "a JSON NoneType, expected an object"),
    ],
)
def test_config_that_is_no_object_is_refused_by_name(directory, content, message):
    (directory / "config.json").write_bytes(content)

    with pytest.raises(CheckpointError, match=rf"config\.json: {message}"):
        resolve(str(directory)).config  # noqa: B018


def test_huge_json_is_refused_unread(directory):
    with (directory / "vocab.json").open("wb") as file:
        file.truncate(50_000_001)  # a hole: takes no space

    with pytest.raises(CheckpointError, match="50000001 bytes"):
        resolve(str(directory)).read_json("vocab.json")


def test_missing_file_is_an_error_only_when_required(directory):
    found = resolve(str(directory))

    assert found.read_json("vocab.json", required=False) == {}
    assert found.path("vocab.json") is None
    with pytest.raises(CheckpointError, match=r"no vocab\.json in .*, which holds config\.json"):
        found.read_json("vocab.json")


OUTSIDE = ["../x", "a/../../x", "/etc/passwd", "C:\\x", "C:x", "..\\x", "", "x\0"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_file_name_never_leaves_the_directory(directory, name):
    """I6."""
    with pytest.raises(CheckpointError, match="leaves the directory"):
        resolve(str(directory)).path(name)


# --- weights ---------------------------------------------------------------------------------


def write_shards(directory: Path, name: str, save: Callable[..., Any]) -> None:
    stem, _, suffix = name.partition(".")
    names = [f"{stem}-{i}.{suffix}" for i in (1, 2)]
    for shard, (key, value) in zip(names, TENSORS.items(), strict=True):
        save({key: value}, directory / shard)
    index = {"weight_map": dict(zip(TENSORS, names, strict=True))}
    (directory / f"{name}.index.json").write_text(json.dumps(index))


def save_legacy(tensors: object, path: Path) -> None:
    torch.save(tensors, path, _use_new_zipfile_serialization=False)


WRITERS: dict[str, Callable[[Path], object]] = {
    "safetensors": lambda d: save_file(TENSORS, d / "model.safetensors"),
    "sharded safetensors": lambda d: write_shards(d, "model.safetensors", save_file),
    "bin": lambda d: torch.save(TENSORS, d / "pytorch_model.bin"),
    "legacy bin": lambda d: save_legacy(TENSORS, d / "pytorch_model.bin"),
    "sharded bin": lambda d: write_shards(d, "pytorch_model.bin", torch.save),
}


@pytest.mark.parametrize("layout", WRITERS)
def test_every_layout_gives_the_tensors_back(directory, layout):
    WRITERS[layout](directory)

    assert equal(resolve(str(directory)).load_tensors(), TENSORS)


def test_safetensors_are_preferred(directory):
    WRITERS["safetensors"](directory)
    (directory / "pytorch_model.bin").write_bytes(b"damaged")

    assert equal(resolve(str(directory)).load_tensors(), TENSORS)


def test_no_weights_says_what_was_looked_for(directory):
    with pytest.raises(CheckpointError, match=r"no model\.safetensors or .*pytorch_model\.bin"):
        resolve(str(directory)).load_tensors()


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_git_lfs_pointer_is_recognised(directory, name):
    (directory / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")

    with pytest.raises(CheckpointError, match="Git LFS pointer") as caught:
        resolve(str(directory)).load_tensors()
    assert "git lfs pull" in str(caught.value.hint)


@pytest.mark.parametrize("shard", [*OUTSIDE, "model-1.bin", 1, None])
def test_index_that_names_another_place_is_refused(directory, shard):
    index = {"weight_map": {"a.weight": shard}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))

    with pytest.raises(CheckpointError, match=r"expected a \.safetensors file beside it"):
        resolve(str(directory)).load_tensors()


@pytest.mark.parametrize("weight_map", [None, {}, [], "model-1.safetensors"])
def test_index_without_entries_is_refused(directory, weight_map):
    index = {"weight_map": weight_map}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))

    with pytest.raises(CheckpointError, match="without entries"):
        resolve(str(directory)).load_tensors()


def test_missing_shard_is_named(directory):
    WRITERS["sharded safetensors"](directory)
    (directory / "model-2.safetensors").unlink()

    with pytest.raises(CheckpointError, match=r"no model-2\.safetensors"):
        resolve(str(directory)).load_tensors()


def test_tensor_absent_from_its_shard_is_named(directory):
    WRITERS["sharded safetensors"](directory)
    save_file({"other": torch.zeros(1)}, directory / "model-2.safetensors")

    with pytest.raises(CheckpointError, match=r"model-2\.safetensors: lacks a\.bias"):
        resolve(str(directory)).load_tensors()


def safetensors_bytes(header: object, body: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def tensor_entry(start: int, end: int, shape: tuple[int, ...] = (2,)) -> dict[str, object]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 7,
        b"\xff" * 64,
        NOISE,
        struct.pack("<Q", 2**62) + b"{}",
        safetensors_bytes([]),
        safetensors_bytes({"a": tensor_entry(0, 8)}),  # no body
        safetensors_bytes({"a": tensor_entry(0, 8)}, b"\0" * 7),  # truncated body
        safetensors_bytes({"a": tensor_entry(0, 800)}, b"\0" * 8),
        safetensors_bytes({"a": tensor_entry(-8, 0)}, b"\0" * 8),
        safetensors_bytes({"a": tensor_entry(0, 8), "b": tensor_entry(4, 12)}, b"\0" * 12),
        safetensors_bytes({"a": tensor_entry(0, 8, (3,))}, b"\0" * 8),
        safetensors_bytes({"a": tensor_entry(0, 8, (2**62, 2**62))}, b"\0" * 8),
        safetensors_bytes({"a": tensor_entry(0, 8) | {"dtype": "F99"}}, b"\0" * 8),
        to_safetensors(TENSORS)[:-1],
        to_safetensors(TENSORS)[:20],
    ],
)
def test_damaged_safetensors_are_refused_by_name(directory, content):
    (directory / "model.safetensors").write_bytes(content)

    with pytest.raises(CheckpointError, match=r"model\.safetensors: not a readable"):
        resolve(str(directory)).load_tensors()


# --- PyTorch files ---------------------------------------------------------------------------

LAYOUTS = pytest.mark.parametrize("save", [torch.save, save_legacy], ids=["zip", "legacy"])


@LAYOUTS
def test_pytorch_file_reads_as_torch_reads_it(tmp_path, save):
    base = torch.arange(24.0).reshape(4, 6)
    tensors = OrderedDict(
        view=base[1:, ::2].t(),
        base=base,
        parameter=torch.nn.Parameter(torch.tensor([1.5, -2.0])),
        scalar=torch.tensor(7),
        empty=torch.empty(0, 3),
        **{
            str(dtype): torch.tensor([0, 1, 2, 1]).to(dtype)
            for dtype in (
                *(torch.float64, torch.float16, torch.bfloat16, torch.bool),
                *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8),
            )
        },
    )
    tensors._metadata = {"": {"version": 1}}  # type: ignore[attr-defined]  # as Module.state_dict
    save(tensors, tmp_path / "x.bin")

    found = safe_pickle.load(tmp_path / "x.bin")

    assert equal(found, torch.load(tmp_path / "x.bin", weights_only=True))
    assert found["view"].data_ptr() == found["base"].data_ptr() + 6 * 4  # storage is shared


@LAYOUTS
def test_module_state_and_plain_containers_come_back(tmp_path, save):
    value = {"model": torch.nn.Linear(2, 2).state_dict(), "step": 3, "names": ["a", ("b", None)]}
    save(value, tmp_path / "x.pt")

    found = safe_pickle.load(tmp_path / "x.pt")

    assert equal(found.pop("model"), value.pop("model"))
    assert found == value


@LAYOUTS
@pytest.mark.parametrize(
    "content", [{"model": dict(TENSORS)}, {"a": 1}, {1: torch.zeros(1)}, [1], {}, None]
)
def test_anything_but_named_tensors_is_refused(directory, save, content):
    save(content, directory / "pytorch_model.bin")

    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin"):
        resolve(str(directory)).load_tensors()


class Call:
    """Pickles as a call of anything."""

    def __init__(self, function: Callable[..., object], *args: object) -> None:
        self.call = (function, args)

    def __reduce__(self) -> Any:
        return self.call


class State:
    """Pickles as an object of a class, with state."""

    def __init__(self, cls: Callable[..., object], state: object) -> None:
        self.parts = (cls, (), state)

    def __reduce__(self) -> Any:
        return self.parts


CANARY = "canary"  # every attack tries to create this file in the current directory


TOUCH = Call(os.system, f"touch {CANARY}")
TOUCH_BYTES = f"touch {CANARY}".encode()
OBJECTS: dict[str, object] = {
    "os.system": TOUCH,
    "eval": Call(eval, f"__import__('os').system('touch {CANARY}')"),
    "exec": Call(exec, f"open({CANARY!r}, 'w')"),
    "open": Call(open, CANARY, "w"),
    "getattr": Call(getattr, "x", "upper"),
    "runpy": Call(runpy.run_path, CANARY),
    "key": {TOUCH: 1},
    "argument": Call(OrderedDict, [TOUCH]),
    "state": State(OrderedDict, TOUCH),
    "torch.load of bytes": Call(torch.storage._load_from_bytes, b"x"),
    "torch.hub": Call(torch.hub.load, "a/b", "c"),
    "module": torch.nn.Dropout(),
    "array": np.zeros(2),
}
# Written by hand: what no pickler writes.
ATTACKS = {
    **{
        f"{name}, protocol {protocol}": pickle.dumps(value, protocol)
        for name, value in OBJECTS.items()
        for protocol in (0, 2, 4)
    },
    "beside tensors": pickle.dumps({**TENSORS, "evil": TOUCH}, 2),
    "argument of a tensor": pickle.dumps(Call(torch._utils._rebuild_tensor_v2, TOUCH, 0, ()), 2),
    "INST": b"(S'" + TOUCH_BYTES + b"'\nios\nsystem\n.",
    "OBJ": b"(cos\nsystem\nS'" + TOUCH_BYTES + b"'\no.",
    "NEWOBJ": b"\x80\x02cos\nsystem\nX\x01\x00\x00\x00a\x85\x81.",
    "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x01a\x85R.",
    "dotted name": b"\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.__init__\x93.",
    "name that is not used": b"cos\nsystem\n0}.",
    "extension": b"\x80\x02\x82\x01.",
    "state of a function": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}b.",
    "state of a class": b"\x80\x02ccollections\nOrderedDict\nN}U\x01aK\x01s\x86b.",
    "persistent module": b"\x80\x02(X\x06\x00\x00\x00moduleNNNNtQ.",
}


def as_zip(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/version", "3\n")
    return out.getvalue()


def as_legacy(data: bytes) -> bytes:
    head = (safe_pickle._LEGACY_MAGIC, 1001, {"little_endian": True})
    return b"".join(pickle.dumps(part, 2) for part in head) + data + pickle.dumps([], 2)


@pytest.mark.parametrize("wrap", [as_zip, as_legacy, bytes], ids=["zip", "legacy", "bare"])
@pytest.mark.parametrize("name", ATTACKS)
def test_pickle_that_would_run_code_is_refused_before_it_runs(directory, monkeypatch, wrap, name):
    """I6."""
    monkeypatch.chdir(directory)
    (directory / "pytorch_model.bin").write_bytes(wrap(ATTACKS[name]))

    with pytest.raises(UnsafeCheckpointError) as caught:
        resolve(str(directory)).load_tensors()

    assert caught.value.exit_code is ExitCode.NOTHING_DONE
    assert "convert it to safetensors" in str(caught.value.hint)
    assert not Path(CANARY).exists()


def test_globals_that_other_code_declares_safe_stay_refused(directory, monkeypatch):
    monkeypatch.chdir(directory)
    torch.save({"evil": Call(os.system, f"touch {CANARY}")}, directory / "pytorch_model.bin")

    torch.serialization.add_safe_globals([os.system])
    try:
        with pytest.raises(UnsafeCheckpointError, match=r"would use '(posix|nt)\.system'"):
            resolve(str(directory)).load_tensors()
    finally:
        torch.serialization.clear_safe_globals()

    assert not Path(CANARY).exists()


def rezip(
    data: bytes, change: Callable[[str, bytes], tuple[str, bytes] | None], **how: Any
) -> bytes:
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(data)) as source,
        zipfile.ZipFile(out, "w", **how) as target,
    ):
        for entry in source.namelist():
            if (changed := change(entry, source.read(entry))) is not None:
                target.writestr(*changed)
    return out.getvalue()


def saved(value: object, save: Callable[..., object] = torch.save) -> bytes:
    out = io.BytesIO()
    save(value, out)
    return out.getvalue()


def keep(name: str, data: bytes) -> tuple[str, bytes]:
    return name, data


def only_storages(suffix: bytes = b"", cut: int | None = None) -> Callable[[str, bytes], Any]:
    """Change the content of storages and nothing else."""
    return lambda n, d: (n, d[:cut] + suffix if "/data/" in n else d)


ZIP = saved(TENSORS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (rezip(ZIP, keep, compression=zipfile.ZIP_DEFLATED), "is compressed"),
        (rezip(ZIP, lambda n, d: (f"../{n}", d)), "outside the archive"),
        (rezip(ZIP, lambda n, d: (f"/{n}", d)), "outside the archive"),
        (rezip(ZIP, lambda n, d: (f"a/../../{n}", d)), "outside the archive"),
        (rezip(ZIP, lambda n, d: None if "data.pkl" in n else (n, d)), "with 0 data.pkl"),
        (rezip(ZIP, lambda n, d: None if "/data/" in n else (n, d)), "KeyError"),
        (rezip(ZIP, only_storages(b"\0")), "25 bytes, expected 24"),
        (rezip(ZIP, only_storages(cut=-4)), "20 bytes, expected 24"),
        (rezip(ZIP, lambda n, d: (n, b"big" if "byteorder" in n else d)), "byte order 'big'"),
        (ZIP[:-1], "not a readable PyTorch file"),
        (ZIP[: len(ZIP) // 2], "not a readable PyTorch file"),
        (ZIP[:10], "not a readable PyTorch file"),
        (ZIP.replace(struct.pack("<f", 5.0), struct.pack("<f", 6.0)), "CRC"),
    ],
)
def test_damaged_zip_is_refused(directory, content, message):
    (directory / "pytorch_model.bin").write_bytes(content)

    with pytest.raises(CheckpointError, match=message):
        resolve(str(directory)).load_tensors()


def test_zip_whose_entries_overlap_is_refused(directory):
    entries = {"archive/data.pkl": pickle.dumps({}, 2), "archive/data/0": b"\0" * 1000}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
        big = archive.getinfo("archive/data/0")
        archive.filelist += [big] * 100  # the directory lists the same bytes again and again
    (directory / "pytorch_model.bin").write_bytes(out.getvalue())

    with pytest.raises(CheckpointError, match=r"entries of 101\d+ bytes in a file of"):
        resolve(str(directory)).load_tensors()


LEGACY = saved(TENSORS, save_legacy)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80",
        LEGACY[:-1],
        LEGACY[:200],
        pickle.dumps(1, 2),
        pickle.dumps([1, 2], 2),
        b"\x80\x02" + b"(" * 100_000,  # marks without end
        b"\x80\x04\x95" + b"\xff" * 7 + b"\x7f",  # a frame of 2**63 bytes
        b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b".",  # a bytearray of a terabyte
        b"\x80\x02Nr\xff\xff\xff\xff.",  # the largest memo index
        NOISE,
    ],
)
def test_damaged_legacy_file_is_refused(directory, content):
    (directory / "pytorch_model.bin").write_bytes(content)

    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin"):
        resolve(str(directory)).load_tensors()


@pytest.mark.parametrize("size", range(0, len(LEGACY), 7))
def test_legacy_file_cut_anywhere_is_refused(tmp_path, size):
    path = tmp_path / "x.bin"
    path.write_bytes(LEGACY[:size])

    with pytest.raises(CheckpointError):
        safe_pickle.load(path)


DEEP = b")" + b"\x85" * 300_000  # a tuple in a tuple in a tuple ...


@pytest.mark.parametrize(
    "value",
    [
        b"}" + DEEP + b"Ns.",
        b"}(" + DEEP + b"Nu.",
        b"\x8f(" + DEEP + b"\x90.",
        b"(" + DEEP + b"\x91.",
        b"ccollections\nOrderedDict\n]" + DEEP + b"N\x86a\x85R.",
        b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\n" + DEEP + b"NK\x01tQ.",
    ],
)
def test_deep_value_is_never_hashed(tmp_path, value):
    (tmp_path / "x.bin").write_bytes(as_zip(b"\x80\x04" + value))

    with pytest.raises(CheckpointError, match=r"TypeError|KeyError"):
        safe_pickle.load(tmp_path / "x.bin")


def rebuilt(numel: object, offset: object, size: object, stride: object) -> bytes:
    """A value pickle with one tensor over storage 0."""

    class Pickler(pickle._Pickler):
        def persistent_id(self, value: object) -> object:
            return ("storage", torch.FloatStorage, "0", "cpu", numel) if value == "S" else None

    out = io.BytesIO()
    tensor = Call(torch._utils._rebuild_tensor_v2, "S", offset, size, stride, False, OrderedDict())
    Pickler(out, 2).dump({"a": tensor})
    return out.getvalue()


@pytest.mark.parametrize(
    ("numel", "offset", "size", "stride"),
    [
        (2, 0, (3,), (1,)),
        (2, 1, (2,), (1,)),
        (2, -1, (1,), (1,)),
        (2, 0, (2,), (-1,)),
        (2, 0, (2, 2), (2, 1)),
        (2, 0, (2**62, 2**62), (1, 1)),
        (2, 0, (2**62, 2**62), (0, 0)),
        (2, 3, (0,), (1,)),
        (2, 0, (2,), (1, 1)),
        (2, 2**62, (1,), (2**62,)),
        (2**40, 0, (2,), (1,)),
        (-2, 0, (0,), (1,)),
        (3, 0, (2,), (1,)),
        ("2", 0, (2,), (1,)),
        (2, "0", (2,), (1,)),
        (2, 0, ("2",), (1,)),
        (2, 0, None, (1,)),
    ],
)
def test_tensor_beyond_its_storage_is_refused(tmp_path, numel, offset, size, stride):
    value = rebuilt(numel, offset, size, stride)
    zipped = io.BytesIO(as_zip(value))
    with zipfile.ZipFile(zipped, "a") as archive:
        archive.writestr("archive/data/0", b"\0" * 8)
    legacy = as_legacy(value)[: -len(pickle.dumps([], 2))] + pickle.dumps(["0"], 2)
    legacy += struct.pack("<q", 2) + b"\0" * 8

    for content in (zipped.getvalue(), legacy):
        (tmp_path / "x.bin").write_bytes(content)
        with pytest.raises(CheckpointError):
            safe_pickle.load(tmp_path / "x.bin")


# --- the Hub ---------------------------------------------------------------------------------

FILES = {
    "config.json": json.dumps(CONFIG).encode(),
    "preprocessor_config.json": b"{}",
    "vocab.json": b'{"<pad>": 0}',
    "model.safetensors": to_safetensors(TENSORS),
    "pytorch_model.bin": b"never read",
    "tf_model.h5": b"never read",
    "README.md": b"never read",
}
USED = ["config.json", "model.safetensors", "preprocessor_config.json", "vocab.json"]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A Hub with one model; the client, which read its environment when imported, turned to it."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with hub_server.serve() as server:
        constants = {
            "ENDPOINT": server.endpoint,
            "HUGGINGFACE_CO_URL_TEMPLATE": server.endpoint
            + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_OFFLINE": False,
            "HF_HUB_CACHE": str(tmp_path / "cache"),
            "HF_TOKEN_PATH": str(tmp_path / "no-token"),
            "AGENT_HARNESSES_PATH": str(tmp_path / "agents.json"),
            "DOWNLOAD_CHUNK_SIZE": 4,
        }
        for name, value in constants.items():
            monkeypatch.setattr(huggingface_hub.constants, name, value, raising=False)
            if hasattr(file_download, name):  # older clients hold copies
                monkeypatch.setattr(file_download, name, value)
        server.repositories[MODEL] = Repository()
        server.repositories[MODEL].commit(dict(FILES))
        yield server


def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_only_the_files_that_are_used_are_downloaded(hub):
    found = resolve(MODEL)

    assert sorted(hub.downloads()) == USED
    assert hub.downloads()[-1] == "model.safetensors"  # the marker of a whole snapshot
    assert found.id == MODEL
    assert found.revision == hub.repositories[MODEL].refs["main"]
    assert found.config == CONFIG
    assert equal(found.load_tensors(), TENSORS)


def test_second_time_asks_once_and_downloads_nothing(hub):
    first = resolve(MODEL)
    hub.requests.clear()

    assert resolve(MODEL) == first
    assert [r.path for r in hub.model_requests()] == [f"/api/models/{MODEL}"]


def test_pytorch_weights_are_downloaded_when_there_is_nothing_else(hub):
    files = {n: d for n, d in FILES.items() if n != "model.safetensors"}
    hub.repositories[MODEL].commit(files | {"pytorch_model.bin": saved(TENSORS)})

    assert equal(resolve(MODEL).load_tensors(), TENSORS)
    assert "pytorch_model.bin" in hub.downloads()


def test_shards_named_by_the_index_are_downloaded(hub):
    names = [f"model-{i}.safetensors" for i in (1, 2)]
    files = {
        "config.json": FILES["config.json"],
        "model.safetensors.index.json": json.dumps(
            {"weight_map": dict(zip(TENSORS, names, strict=True))}
        ).encode(),
        "model-3.safetensors": b"never read",
    }
    for name, (key, value) in zip(names, TENSORS.items(), strict=True):
        files[name] = to_safetensors({key: value})
    hub.repositories[MODEL].commit(files)

    assert equal(resolve(MODEL).load_tensors(), TENSORS)
    assert hub.downloads() == ["config.json", "model.safetensors.index.json", *names]


def test_index_from_the_hub_cannot_leave_the_snapshot(hub):
    index = {"weight_map": {"a": "../../../x.safetensors"}}
    hub.repositories[MODEL].commit(
        {"config.json": b"{}", "model.safetensors.index.json": json.dumps(index).encode()}
    )

    with pytest.raises(CheckpointError, match="beside it"):
        resolve(MODEL)


def publish_languages(hub: HubServer) -> None:
    adapters = {
        f"adapter.{name}.safetensors": to_safetensors({name: torch.ones(2)})
        for name in ("eng", "fra")
    }
    adapters |= {"adapter.fra.bin": b"never read", "adapter.*.bin": b"never read"}
    tables = {name: {"<pad>": 0} for name in ("eng", "fra", "frr", "*")}
    files = FILES | adapters | {"vocab.json": json.dumps(tables).encode()}
    hub.repositories[MODEL].commit(files)


def test_only_the_adapter_of_the_language_is_downloaded(hub):
    publish_languages(hub)

    found = resolve(MODEL, language="fra")

    assert equal(found.load_adapter("fra"), {"fra": torch.ones(2)})
    assert sorted(hub.downloads()) == ["adapter.fra.safetensors", *USED]


def test_adapter_of_another_language_joins_what_is_in_the_cache(hub):
    publish_languages(hub)
    commit = resolve(MODEL).revision
    hub.requests.clear()

    resolve(MODEL, language="eng")
    resolve(MODEL, language="fra", revision=commit)

    assert hub.downloads() == ["adapter.eng.safetensors", "adapter.fra.safetensors"]


def test_cached_adapter_works_offline_and_another_one_does_not(hub, monkeypatch):
    publish_languages(hub)
    online = resolve(MODEL, language="fra")
    no_network(monkeypatch)

    assert resolve(MODEL, language="fra", offline=True) == online
    assert resolve(MODEL, offline=True) == online
    with pytest.raises(
        OfflineError, match=r"adapter\.eng\.safetensors is not in the cache"
    ) as caught:
        resolve(MODEL, language="eng", offline=True)
    assert "asrkit models download" in caught.value.hint


def test_unknown_language_is_one_offline_too(hub, monkeypatch):
    publish_languages(hub)
    resolve(MODEL)
    no_network(monkeypatch)

    with pytest.raises(UsageError, match="'xyz' is not among its 4 languages"):
        resolve(MODEL, language="xyz", offline=True).load_adapter("xyz")


def test_language_that_the_repository_has_no_adapter_of_is_an_error(hub):
    publish_languages(hub)

    with pytest.raises(CheckpointError, match=r"no adapter\.frr\.safetensors or adapter\.frr\.bin"):
        resolve(MODEL, language="frr").load_adapter("frr")


def test_branch_tag_and_commit_are_revisions(hub):
    old = hub.repositories[MODEL].refs["main"]
    new = hub.repositories[MODEL].commit(FILES | {"config.json": b'{"v": 2}'}, "main", "dev")
    hub.repositories[MODEL].refs["v1.0"] = old

    assert resolve(f"{MODEL}@v1.0").revision == old
    assert resolve(MODEL, revision="dev").revision == new
    assert resolve(f"{MODEL}@{old}", revision=old).revision == old
    assert resolve(MODEL).config == {"v": 2}


def test_branch_that_moved_is_downloaded_anew(hub):
    first = resolve(MODEL)
    hub.repositories[MODEL].commit(FILES | {"config.json": b'{"v": 2}'})

    second = resolve(MODEL)

    assert (first.config, second.config) == (CONFIG, {"v": 2})
    assert resolve(MODEL, offline=True) == second


@pytest.mark.parametrize("preprocessor", [True, False])
def test_commit_in_the_cache_needs_no_connection(hub, monkeypatch, preprocessor):
    files = {n: d for n, d in FILES.items() if preprocessor or n != "preprocessor_config.json"}
    commit = hub.repositories[MODEL].commit(files)
    first = resolve(MODEL)
    no_network(monkeypatch)

    assert resolve(f"{MODEL}@{commit}") == first


def test_commit_that_another_program_cached_in_part_is_completed(hub):
    commit = hub.repositories[MODEL].refs["main"]
    for name in ("config.json", "model.safetensors"):
        huggingface_hub.HfApi().hf_hub_download(MODEL, name, revision=commit)

    assert resolve(MODEL, revision=commit).path("vocab.json") is not None


def test_cut_download_is_resumed(hub):
    hub.cuts["model.safetensors"] = 10

    with suppress(CheckpointError):  # clients before 1.0 give up, and resume when asked again
        resolve(MODEL)

    assert equal(resolve(MODEL).load_tensors(), TENSORS)
    resumed = [r.range for r in hub.requests if r.path.endswith(".safetensors") and r.range]
    assert resumed == ["bytes=8-"]  # whole chunks are kept


def test_interrupted_download_leaves_the_branch_where_it_was(hub, monkeypatch):
    first = resolve(MODEL)
    commit = hub.repositories[MODEL].commit(
        {n: d for n, d in FILES.items() if n != "model.safetensors"} | {"pytorch_model.bin": b"x"}
    )
    download = huggingface_hub.HfApi.hf_hub_download

    def interrupted(api: Any, repository: str, name: str, **options: Any) -> str:
        if name == "pytorch_model.bin":
            raise KeyboardInterrupt
        return download(api, repository, name, **options)

    monkeypatch.setattr(huggingface_hub.HfApi, "hf_hub_download", interrupted)

    with pytest.raises(KeyboardInterrupt):
        resolve(MODEL)

    assert resolve(MODEL, offline=True) == first
    with pytest.raises(OfflineError):
        resolve(MODEL, revision=commit, offline=True)


def test_unknown_model_is_not_found_or_private(hub):
    with pytest.raises(
        CheckpointError, match=r"not found at http://127\.0\.0\.1.*, or private"
    ) as e:
        resolve("someone/else")
    assert "HF_TOKEN" in str(e.value.hint)


def test_token_opens_a_private_model(hub, monkeypatch):
    hub.repositories[MODEL].token = "hf_secret"
    with pytest.raises(CheckpointError, match="or private"):
        resolve(MODEL)

    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(CheckpointError, match="or private"):
        resolve(MODEL)

    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert resolve(MODEL).config == CONFIG


def test_gated_model_names_the_page_to_ask_at(hub):
    hub.repositories[MODEL].gated = True

    with pytest.raises(CheckpointError, match="gated") as caught:
        resolve(MODEL)
    assert f"{hub.endpoint}/{MODEL}" in str(caught.value.hint)


def test_unknown_revision_is_named(hub):
    with pytest.raises(CheckpointError, match="no branch, tag or commit 'v9'"):
        resolve(f"{MODEL}@v9")


@pytest.mark.parametrize("lacking", ["config.json", "weights"])
def test_repository_that_is_no_model_is_refused_before_downloading(hub, lacking):
    hub.repositories[MODEL].commit(
        {"README.md": b"", ("config.json" if lacking == "weights" else "model.safetensors"): b"{}"}
    )

    with pytest.raises(CheckpointError, match=f"has no .*{lacking}; it holds "):
        resolve(MODEL)
    assert hub.downloads() == []


def test_missing_shard_on_the_hub_is_an_error(hub):
    index = {"weight_map": {"a": "model-1.safetensors"}}
    hub.repositories[MODEL].commit(
        {"config.json": b"{}", "model.safetensors.index.json": json.dumps(index).encode()}
    )

    with pytest.raises(CheckpointError, match=r"a file is missing"):
        resolve(MODEL)


def test_offline_uses_the_cache_and_opens_no_connection(hub, monkeypatch):
    online = resolve(MODEL)
    no_network(monkeypatch)

    assert resolve(MODEL, offline=True) == online


def test_offline_without_a_copy_says_how_to_get_one(hub, monkeypatch):
    no_network(monkeypatch)

    with pytest.raises(OfflineError, match=r"config\.json is not in the cache") as caught:
        resolve(MODEL, offline=True)
    assert caught.value.exit_code is ExitCode.OFFLINE
    assert "asrkit models download" in str(caught.value.hint)
    assert hub.requests == []


def test_offline_with_half_a_copy_names_what_is_absent(hub):
    huggingface_hub.HfApi().hf_hub_download(MODEL, "config.json")

    with pytest.raises(OfflineError, match="the weights file is not in the cache"):
        resolve(MODEL, offline=True)


@pytest.mark.parametrize("status", [None, 500, 429], ids=["down", "500", "429"])
def test_hub_without_answer_falls_back_to_the_cache_with_a_warning(hub, caplog, status):
    online = resolve(MODEL)
    hub.failure = status
    if status is None:
        hub.stop()

    with caplog.at_level(logging.WARNING, "asrkit"):
        assert resolve(MODEL) == online

    assert [r.name for r in caplog.records if r.name == "asrkit"] == ["asrkit"]
    assert str(online.revision) in caplog.text


@pytest.mark.parametrize("status", [None, 500], ids=["down", "500"])
def test_hub_without_answer_and_empty_cache_names_the_endpoint(hub, status):
    hub.failure = status
    if status is None:
        hub.stop()

    with pytest.raises(CheckpointError, match=f"no usable answer from {hub.endpoint}") as caught:
        resolve(MODEL)
    assert not isinstance(caught.value, OfflineError)


def test_full_disk_is_reported_as_such(hub, monkeypatch):
    def full(*_: object, **__: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(huggingface_hub.HfApi, "hf_hub_download", full)

    with pytest.raises(CheckpointError, match=r"cannot write to .*: No space left on device"):
        resolve(MODEL)


def test_cache_that_cannot_be_written_is_reported_as_such(hub, tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(CheckpointError, match=r"cannot write to .*/file/cache: Not a directory"):
        resolve(MODEL, cache_dir=tmp_path / "file" / "cache")


def test_endpoint_that_is_no_hub_is_named(hub, monkeypatch):
    monkeypatch.setattr(hub_server.json, "dumps", lambda _: "<html>")

    with pytest.raises(CheckpointError, match=f"no usable answer from {hub.endpoint}"):
        resolve(MODEL)


def test_cache_dir_is_used(hub, tmp_path):
    found = resolve(MODEL, cache_dir=tmp_path / "elsewhere")

    assert found.directory.is_relative_to(tmp_path / "elsewhere")
    with pytest.raises(OfflineError):
        resolve(MODEL, offline=True)


def test_damaged_file_in_the_cache_says_what_to_delete(hub):
    found = resolve(MODEL)
    (found.directory / "model.safetensors").write_bytes(b"damaged")

    with pytest.raises(CheckpointError) as caught:
        found.load_tensors()
    assert str(found.directory.parent.parent) in str(caught.value.hint)


# --- as users set it -------------------------------------------------------------------------


def run_resolve(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    program = f"""
        from asrkit.checkpoint import resolve
        from asrkit.errors import AsrkitError
        try:
            print(resolve({MODEL!r}).directory)
        except AsrkitError as error:
            raise SystemExit(error.exit_code)
    """
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
            **{"HF_HUB_OFFLINE": "0", "NO_PROXY": "127.0.0.1"},
            **environment,
        },
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_environment_sets_endpoint_cache_and_offline(tmp_path):
    with hub_server.serve() as server:
        server.repositories[MODEL] = Repository()
        server.repositories[MODEL].commit(dict(FILES))
        environment = {"HF_ENDPOINT": server.endpoint, "HF_HOME": str(tmp_path / "home")}

        online = run_resolve(environment)
        asked = len(server.requests)
        offline = run_resolve({**environment, "HF_HUB_OFFLINE": "1"})
        elsewhere = run_resolve(
            {**environment, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "other")}
        )

    assert online.returncode == 0, online.stderr
    assert online.stdout.startswith(str(tmp_path / "home"))
    assert online.stderr == ""  # not a terminal: no progress bar
    assert offline.stdout == online.stdout
    assert elsewhere.returncode == ExitCode.OFFLINE
    assert len(server.requests) == asked
