"""What asrkit finds on this machine: what works, what is missing, and what mends it."""

from __future__ import annotations

import importlib
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from threading import Thread

from asrkit import __version__
from asrkit.errors import AsrkitError, how_to_install
from asrkit.options import ModelOptions

# Statuses: works, optional and not there, works badly, broken
OK, MISSING, WARNING, BROKEN = "ok", "missing", "warning", "broken"

_NEEDED = (
    "numpy torch soundfile soxr safetensors huggingface_hub sentencepiece jiwer rapidfuzz rich"
).split()
EXTRAS = {
    "english": ("whisper_normalizer", "the normalizer that English results are published with"),
    "lm": ("kenlm", "KenLM's binary language models"),
    "parquet": ("pyarrow", "vectors as tables"),
    "plot": ("resvg_py", "pictures as PNG"),
    "ray": ("ray", "batches on the machines of a cluster"),
    "video": ("av", "video, and audio that libsndfile cannot read"),
}
_CORES = {
    "ctc._native": "beam search with a language model",
    "ctc._align_native": "alignment",
    "models._native": "writing with Speech2Text",
}
_CODECS = {"wav": ("WAV", None), "flac": ("FLAC", None), "mp3": ("MP3", None)} | {
    "vorbis": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
}
# Of the CPU, that make a model fast
_FEATURES = "avx2 avx512f avx512_bf16 avx512_vnni amx_bf16 amx_int8 asimd bf16 i8mm".split()
_HUB_SECONDS = 4.0
_LOW_SPACE = 2 * 10**9


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        section: what it belongs to.
        name: what it is.
        value: what was found.
        status: ok, missing (optional), warning, or broken.
        fix: the command that mends it.
    """

    section: str
    name: str
    value: str
    status: str = OK
    fix: str | None = None


def examine(options: ModelOptions) -> Iterator[Finding]:
    """Look at everything, one after the other; nothing that is broken stops the rest.

    Args:
        options: device, cache and whether to go without the network.
    """
    probes: dict[str, Callable[[ModelOptions], Iterator[Finding]]] = {
        "program": _program,
        "packages": _packages,
        "device": _devices,
        "audio": _audio,
        "extras": _extras,
        "cores": _cores,
        "cache": _cache,
        "hub": _hub,
    }
    for section, probe in probes.items():
        try:
            yield from probe(options)
        except AsrkitError as error:
            yield Finding(section, "error", error.message, BROKEN, error.hint)
        except Exception as error:  # a damaged installation fails in any way
            found = f"{type(error).__name__}: {error}".partition("\n")[0]
            yield Finding(section, "error", found, BROKEN, "install asrkit again")


def _program(options: ModelOptions) -> Iterator[Finding]:
    yield Finding("program", "asrkit", f"{__version__} in {Path(__file__).parents[1]}")
    yield Finding("program", "python", f"{platform.python_version()} in {sys.prefix}")
    yield Finding("program", "system", platform.platform())


def _packages(options: ModelOptions) -> Iterator[Finding]:
    for name in _NEEDED:
        if (version := _version(name)) is not None:
            yield Finding("packages", name, version)
        else:
            fix = f"pip install {name}"
            yield Finding("packages", name, "needed, and not installed", BROKEN, fix)


def _version(package: str) -> str | None:
    """Of a package, without loading it; None where it is not installed."""
    if util.find_spec(package) is None:
        return None
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "of an unknown version"


def _devices(options: ModelOptions) -> Iterator[Finding]:
    name, features = _cpu()
    yield Finding("device", "cpu", f"{os.cpu_count()} cores, {name}, {' '.join(features)}")
    if bfloat16 := [feature for feature in features if "bf16" in feature]:
        yield Finding("device", "bfloat16", f"in hardware: {', '.join(bfloat16)}")
    else:
        yield Finding("device", "bfloat16", "not in hardware; --dtype float32 is faster on the CPU")
    from asrkit.models.devices import describe_torch

    for name, value in describe_torch(options.device):
        yield Finding("device", name, value)


def _cpu() -> tuple[str, list[str]]:
    """Its name, and what it can do that makes a model fast."""
    name = platform.processor() or platform.machine()
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        return name, []
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    known = flags[1].split() if flags else []
    return model[1] if model else name, [feature for feature in _FEATURES if feature in known]


def _audio(options: ModelOptions) -> Iterator[Finding]:
    import soundfile

    yield Finding("audio", "libsndfile", soundfile.__libsndfile_version__)
    formats = soundfile.available_formats()
    for name, (container, codec) in _CODECS.items():
        is_there = container in formats and (
            codec is None or codec in soundfile.available_subtypes(container)
        )
        if is_there:
            yield Finding("audio", name, "read")
        else:
            fix = "pip install --upgrade soundfile"
            yield Finding("audio", name, "not read by this libsndfile", WARNING, fix)


def _extras(options: ModelOptions) -> Iterator[Finding]:
    for extra, (package, use) in EXTRAS.items():
        if (version := _version(package)) is not None:
            yield Finding("extras", extra, f"{package} {version}: {use}")
        else:
            fix = how_to_install(extra)
            yield Finding("extras", extra, f"not installed: {use}", MISSING, fix)


def _cores(options: ModelOptions) -> Iterator[Finding]:
    for name, use in _CORES.items():
        try:
            importlib.import_module(f"asrkit.{name}")
        except ImportError:
            fix = "install a C++ compiler, then asrkit again"
            yield Finding("cores", name, f"not built: {use} runs in Python, slower", MISSING, fix)
        else:
            yield Finding("cores", name, f"built: {use}")


def _cache(options: ModelOptions) -> Iterator[Finding]:
    from huggingface_hub import constants

    from asrkit.checkpoint import cached_models, embedded_models

    folder = Path(options.cache_dir or constants.HF_HUB_CACHE).expanduser()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    fix = "export ASRKIT_CACHE_DIR=DIR, or HF_HOME=DIR, names another folder"
    if there.is_dir() and os.access(there, os.W_OK):
        yield Finding("cache", "folder", f"{folder}, {'writable' if there == folder else 'new'}")
    else:
        yield Finding("cache", "folder", f"{folder}, cannot be written", BROKEN, fix)
    blobs = [path for path in folder.glob("models--*/blobs/*") if path.is_file()]
    size = sum(path.stat().st_size for path in blobs) / 1e9
    yield Finding("cache", "models", f"{len(cached_models(folder))} in {size:.2f} GB")
    yield Finding("cache", "embedded", ", ".join(embedded_models()))
    free = shutil.disk_usage(there).free
    is_low = free < _LOW_SPACE
    value = f"{free / 1e9:.1f} GB free"
    yield Finding("cache", "disk", value, WARNING if is_low else OK, fix if is_low else None)


def _hub(options: ModelOptions) -> Iterator[Finding]:
    from huggingface_hub import constants, get_token

    endpoint = re.sub(r"//[^/@]*@", "//", constants.ENDPOINT)  # without a password
    has_token = get_token() is not None
    yield Finding("hub", "token", "there" if has_token else "none; hf auth login makes one")
    if options.offline or constants.HF_HUB_OFFLINE:
        yield Finding("hub", "endpoint", f"{endpoint}, not asked: offline")
        return
    problem = _unreachable(constants.ENDPOINT)
    if problem is None:
        yield Finding("hub", "endpoint", f"{endpoint}, reached")
        return
    fix = "check the connection, HF_ENDPOINT and HTTPS_PROXY; --offline goes without"
    yield Finding("hub", "endpoint", f"{endpoint}, not reached: {problem}", WARNING, fix)


def _unreachable(endpoint: str) -> str | None:
    """Why no answer comes; None if one does. A name server that is silent is not waited for."""
    from huggingface_hub.utils import get_session  # type: ignore[attr-defined]  # not in __all__

    found: list[str | None] = [f"no answer in {_HUB_SECONDS:g} s"]

    def ask() -> None:
        try:
            status = get_session().head(endpoint, timeout=_HUB_SECONDS).status_code
            found.append(f"it answers {status}" if status >= 500 else None)
        except Exception as error:  # of whichever HTTP library it uses
            found.append(f"{type(error).__name__}: {error}".partition("\n")[0])

    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_HUB_SECONDS)
    return found[-1]
