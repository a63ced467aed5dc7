"""PyTorch files (`pytorch_model.bin`) read as plain data: containers, strings, numbers, tensors.

A PyTorch file is a pickle, and a pickle is a program. Here it runs in an interpreter that knows the
few calls tensors are made of and refuses every other name before looking it up: nothing is
imported, nothing else is called. `torch.load(weights_only=True)` is not used: before torch 2.6 a
file could make it run code (CVE-2025-32434), and any library can widen its list of allowed names
for the whole process.

Training programs save their settings beside the weights, as objects of their own classes. Who asks
for them gets `Inert` ones: the name of the class and the attributes, of which `plain` makes dicts.

Two layouts exist. Zip (torch 1.6 and newer): `<root>/data.pkl`, and one stored entry
`<root>/data/<key>` per storage. Legacy: five pickles in a row (magic, version, system, value,
storage keys), then per key the number of elements and the elements.
"""

from __future__ import annotations

import io
import math
import mmap
import pickle
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, TYPE_CHECKING, Any, ClassVar

from asrkit.errors import CheckpointError, UnsafeCheckpointError

if TYPE_CHECKING:
    import torch

_ZIP_MAGIC = b"PK\x03\x04"
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_VERSION = 1001

_STORAGE_DTYPES = {
    "torch.DoubleStorage": "float64",
    "torch.FloatStorage": "float32",
    "torch.HalfStorage": "float16",
    "torch.BFloat16Storage": "bfloat16",
    "torch.LongStorage": "int64",
    "torch.IntStorage": "int32",
    "torch.ShortStorage": "int16",
    "torch.CharStorage": "int8",
    "torch.ByteStorage": "uint8",
    "torch.BoolStorage": "bool",
}


# Whose objects `load` gives as `Inert` data when asked to: the settings that argparse and omegaconf
# keep, what fairseq keeps beside them, and the names that these mention.
_INERT_PACKAGES = frozenset({"fairseq", "omegaconf", "pathlib", "typing"})
_INERT_NAMES = frozenset(
    [
        *("argparse.Namespace", "_codecs.encode", "numpy.dtype"),
        *(f"numpy.{core}.multiarray.scalar" for core in ("core", "_core")),
        *(f"{module}.getitem" for module in ("operator", "_operator")),
        *(
            f"{module}.{name}"
            for module in ("builtins", "__builtin__")
            for name in "bool bytes dict float int list long object set str tuple unicode".split()
        ),
    ]
)


def load(path: Path, *, keep_objects: bool = False) -> Any:
    """Read a PyTorch file without running code from it.

    Args:
        path: a file that `torch.save` wrote, in either layout.
        keep_objects: give objects of argparse, omegaconf and fairseq as `Inert` data, not an error.

    Returns:
        What was saved: dicts, lists, tuples, strings, numbers, and tensors on the CPU. Parameters
        come back as tensors; attributes of dicts (`_metadata`) are dropped.

    Raises:
        UnsafeCheckpointError: the file asks for anything but tensors and plain containers.
        CheckpointError: it is damaged, or not a PyTorch file.
    """
    try:
        with path.open("rb") as file:
            is_zip = file.read(len(_ZIP_MAGIC)) == _ZIP_MAGIC
        read = _load_zip if is_zip else _load_legacy
        return read(path, partial(_Unpickler, path=path, keep_objects=keep_objects))
    except CheckpointError:
        raise
    except Exception as error:  # damage surfaces as any exception of pickle, zipfile or torch
        raise CheckpointError(
            f"{path}: not a readable PyTorch file: {type(error).__name__}: {error}"
        ) from error


def is_inside(name: object) -> bool:
    """Whether `name` is a relative path that stays below its folder on every platform."""
    if not isinstance(name, str) or not name or "\\" in name or "\0" in name:
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and not PureWindowsPath(name).drive


class Inert:
    """An object, or a class, that was never imported.

    Attributes:
        name: of the class, with its module.
        args: what the class was called with.
        attributes: what the file gives it.
    """

    __slots__ = ("args", "attributes", "name")

    def __init__(self, name: str, args: tuple[Any, ...] = ()) -> None:
        self.name = name
        self.args = args
        self.attributes: dict[str, Any] = {}

    def __call__(self, *args: Any) -> Inert:
        """An object of this class."""
        return Inert(self.name, args)


def plain(value: Any) -> Any:
    """Dicts and lists in place of namespaces and configurations, all the way down.

    Of omegaconf's nodes the content is kept, of other objects the attributes; of those without any
    (members of an enumeration) the one argument that made them.

    Raises:
        CheckpointError: the value contains itself.
    """
    return _plain(value, {})


_UNFINISHED = object()


def _plain(value: Any, memo: dict[int, Any]) -> Any:
    if not isinstance(value, dict | list | tuple | Inert):
        return value
    if id(value) in memo:  # each once: shared values could unfold to any size
        if memo[id(value)] is _UNFINISHED:
            raise CheckpointError("settings that contain themselves")
        return memo[id(value)]
    memo[id(value)] = _UNFINISHED
    result: Any
    if isinstance(value, dict):
        result = {str(key): _plain(item, memo) for key, item in value.items()}
    elif isinstance(value, list | tuple):
        result = [_plain(item, memo) for item in value]
    else:
        found = value.attributes
        inner = next((found[name] for name in ("_content", "_val") if name in found), found)
        result = _plain(inner or (value.args[0] if len(value.args) == 1 else inner), memo)
    memo[id(value)] = result
    return result


@dataclass(frozen=True)
class _Storage:
    """The memory behind tensors."""

    dtype: torch.dtype
    buffer: bytearray


_FindBuffer = Callable[[str, int, int], bytearray]
"""Gives the memory of a storage from its key, number of elements and bytes per element."""


# The pure-Python class: its memory use follows its input, and its opcodes can be replaced.
class _Unpickler(pickle._Unpickler):
    """Runs a pickle in which only tensors and plain containers exist."""

    dispatch: ClassVar = dict(pickle._Unpickler.dispatch)
    del dispatch[pickle.BYTEARRAY8[0]]  # allocates whatever size it states
    del dispatch[pickle.ADDITEMS[0]], dispatch[pickle.FROZENSET[0]]  # hash anything, see _key

    def __init__(
        self,
        file: IO[bytes] | mmap.mmap,
        find_buffer: _FindBuffer,
        *,
        path: Path,
        keep_objects: bool,
    ) -> None:
        super().__init__(file, encoding="utf-8")
        self._path = path
        self._find_buffer = find_buffer
        self._keep_objects = keep_objects

    def find_class(self, module: str, name: str) -> Any:
        import torch

        full_name = f"{module}.{name}"
        if full_name in _STORAGE_DTYPES:
            return getattr(torch, _STORAGE_DTYPES[full_name])
        if full_name in _CALLS:
            return _CALLS[full_name]
        if self._keep_objects:
            if full_name == "collections.defaultdict":
                return lambda *_: _dict()
            if full_name in _INERT_NAMES or module.partition(".")[0] in _INERT_PACKAGES:
                return Inert(full_name)
        raise self._refusal(f"would use {full_name[:200]!r}")

    def get_extension(self, code: int) -> Any:
        raise self._refusal(f"uses pickle extension {code}")

    def persistent_load(self, pid: Any) -> _Storage:
        import torch

        kind, dtype, key, _location, num_elements, *view = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype) or any(view):
            raise self._refusal(f"holds a {str(kind)[:200]!r} that is not a plain storage")
        return _Storage(dtype, self._find_buffer(_key(key), num_elements, dtype.itemsize))

    def load_setitem(self: Any) -> None:
        items = self.stack[-2:]
        del self.stack[-2:]
        self.stack[-1].update(_dict(zip(items[::2], items[1::2], strict=True)))

    dispatch[pickle.SETITEM[0]] = load_setitem

    def load_setitems(self: Any) -> None:
        items = self.pop_mark()
        self.stack[-1].update(_dict(zip(items[::2], items[1::2], strict=True)))

    dispatch[pickle.SETITEMS[0]] = load_setitems

    def load_newobj(self: Any) -> None:
        args = self.stack.pop()
        cls = self.stack.pop()
        if not isinstance(cls, Inert):
            raise self._refusal(f"makes a {type(cls).__name__} without calling it")
        self.append(cls(*args))

    dispatch[pickle.NEWOBJ[0]] = load_newobj

    def load_build(self: Any) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], Inert):
            if isinstance(state, dict):
                self.stack[-1].attributes.update(state)
        elif type(self.stack[-1]) is not OrderedDict:  # whose attributes no tensor needs
            raise self._refusal(f"sets attributes of a {type(self.stack[-1]).__name__}")

    dispatch[pickle.BUILD[0]] = load_build

    def _refusal(self, reason: str) -> UnsafeCheckpointError:
        return UnsafeCheckpointError(
            f"{self._path}: not loaded: it {reason}, and only tensors are allowed",
            hint="convert it to safetensors on a machine that trusts it",
        )


def _key(key: Any) -> Any:
    """A key of a dict, or of a storage. Hashing a deep tuple overruns the stack of the process."""
    if not isinstance(key, str | int):
        raise TypeError(f"a {type(key).__name__} as a key, expected a name or a number")
    return key


def _dict(items: Iterable[tuple[Any, Any]] = ()) -> OrderedDict[Any, Any]:
    return OrderedDict((_key(key), value) for key, value in items)


def _rebuild_tensor(
    storage: _Storage, offset: int, size: Sequence[int], stride: Sequence[int], *_: object
) -> torch.Tensor:
    import torch

    # Not left to as_strided: in torch 2.4 a large offset wraps around its bounds check.
    reach = sum((n - 1) * step for n, step in zip(size, stride, strict=True)) + 1
    end = offset + reach if all(size) else offset
    available = len(storage.buffer) // storage.dtype.itemsize
    if min(offset, *size, *stride, 0) < 0 or end > available or math.prod(size) > sys.maxsize:
        raise ValueError(f"shape {size}, strides {stride} at {offset} of {available} elements")
    if not available:
        return torch.empty(0, dtype=storage.dtype).as_strided(size, stride)
    return torch.frombuffer(storage.buffer, dtype=storage.dtype).as_strided(size, stride, offset)


def _rebuild_parameter(data: torch.Tensor, *_: object) -> torch.Tensor:
    return data


_CALLS: dict[str, Callable[..., object]] = {
    "collections.OrderedDict": _dict,
    "torch.Size": tuple,
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
}


def _load_zip(path: Path, unpickler: Callable[..., _Unpickler]) -> Any:
    with zipfile.ZipFile(path) as archive:
        _check_entries(archive.infolist(), path)
        names = archive.namelist()
        roots = [name[: -len("data.pkl")] for name in names if name.endswith("/data.pkl")]
        if len(roots) != 1:
            raise CheckpointError(f"{path}: a zip file with {len(roots)} data.pkl, expected one")
        root = roots[0]
        if f"{root}byteorder" in names:
            _check_byte_order(archive.read(f"{root}byteorder").decode(), path)
        buffers: dict[str, bytearray] = {}

        def find_buffer(key: str, num_elements: int, item_size: int) -> bytearray:
            if key not in buffers:
                buffers[key] = bytearray(archive.read(f"{root}data/{key}"))
            _check_size(len(buffers[key]), num_elements * item_size, f"{path}: storage {key}")
            return buffers[key]

        return unpickler(io.BytesIO(archive.read(f"{root}data.pkl")), find_buffer).load()


def _check_entries(entries: list[zipfile.ZipInfo], path: Path) -> None:
    """Refuse what torch never writes: compression, overlap, names outside the archive."""
    for entry in entries:
        if not is_inside(entry.filename):
            raise CheckpointError(f"{path}: entry {entry.filename!r} lies outside the archive")
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise CheckpointError(f"{path}: entry {entry.filename!r} is compressed")
    declared = sum(entry.file_size for entry in entries)
    if declared > path.stat().st_size:
        raise CheckpointError(
            f"{path}: entries of {declared} bytes in a file of {path.stat().st_size}"
        )


def _load_legacy(path: Path, unpickler: Callable[..., _Unpickler]) -> Any:
    if path.stat().st_size == 0:
        raise CheckpointError(f"{path}: empty, expected a PyTorch file")
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream,
    ):
        buffers: dict[str, bytearray] = {}

        item_sizes: dict[str, int] = {}

        def find_buffer(key: str, num_elements: int, item_size: int) -> bytearray:
            num_bytes = num_elements * item_size
            if key not in buffers:
                declared = num_bytes + sum(map(len, buffers.values()))
                if declared > len(stream):
                    raise CheckpointError(
                        f"{path}: storages of {declared} bytes in a file of {len(stream)}"
                    )
                buffers[key], item_sizes[key] = bytearray(num_bytes), item_size
            _check_size(len(buffers[key]), num_bytes, f"{path}: storage {key}")
            return buffers[key]

        def next_pickle() -> Any:
            return unpickler(stream, find_buffer).load()

        if next_pickle() != _LEGACY_MAGIC or next_pickle() != _LEGACY_VERSION:
            raise CheckpointError(f"{path}: a pickle, but not one that torch.save wrote")
        _check_byte_order("little" if next_pickle()["little_endian"] else "big", path)
        value = next_pickle()
        for key in next_pickle():
            buffer = buffers.pop(_key(key))
            num_elements = int.from_bytes(stream.read(8), "little")
            _check_size(num_elements * item_sizes[key], len(buffer), f"{path}: storage {key}")
            content = stream.read(len(buffer))
            _check_size(len(content), len(buffer), f"{path}: storage {key}")
            buffer[:] = content
        if buffers:
            raise CheckpointError(f"{path}: {len(buffers)} storages have no content")
        return value


def _check_size(found: int, expected: int, what: str) -> None:
    if found != expected:
        raise CheckpointError(f"{what}: {found} bytes, expected {expected}")


def _check_byte_order(found: str, path: Path) -> None:
    if found != sys.byteorder:
        raise CheckpointError(f"{path}: byte order {found!r}, this machine has {sys.byteorder!r}")
