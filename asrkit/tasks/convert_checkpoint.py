"""Checkpoints rewritten: as safetensors in the layout of the Hub, whatever they were."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asrkit.audio import read_audio
from asrkit.checkpoint import CONFIG, Checkpoint, languages
from asrkit.errors import UsageError
from asrkit.frontend import frontend_from_dict
from asrkit.json_files import read_object
from asrkit.models import quantized, saving
from asrkit.models.originals import read_original
from asrkit.models.originals.layout import Companions, UnsavedCheckpoint
from asrkit.models.runtime import build_model, probe
from asrkit.options import TOLERANCES, ConvertOptions, ModelOptions
from asrkit.outputs import open_folder
from asrkit.tasks.loading import architecture, find_checkpoint

_NOISE_SECONDS = 2
_MAX_SECONDS = 30  # of a recording, from its start


@dataclass(frozen=True)
class Conversion:
    """What came of it.

    Attributes:
        source: what was converted.
        output: the folder.
        architecture: the class that config.json names.
        dtype: of the largest tensor; int8 of a quantized model.
        num_parameters: numbers in all tensors.
        num_bytes: of all files.
        difference: largest difference between what source and result say; None if not checked.
        scale: largest magnitude of what the source says.
        tolerance: the largest difference that passes.
    """

    source: str
    output: Path
    architecture: str
    dtype: str
    num_parameters: int
    num_bytes: int
    difference: float | None = None
    scale: float = 0.0
    tolerance: float = 0.0

    @property
    def is_equal(self) -> bool:
        """Whether the check passed, or none was asked for. NaN never passes."""
        return self.difference is None or self.difference <= self.tolerance


def convert_checkpoint(
    output: Path, model: ModelOptions, options: ConvertOptions | None = None
) -> Conversion:
    """Rewrite a checkpoint as a folder that asrkit and transformers load.

    Args:
        output: a folder that does not exist, or is empty; it appears when it is complete.
        model: its `model` is the source: Hub id, directory, embedded model, or a file that fairseq,
            torchaudio or s3prl wrote; its `language` names an adapter to fetch from the Hub.
        options: how.

    Raises:
        UnsafeCheckpointError: loading the source would run code.
        CheckpointError: it cannot be read, or is of a model that asrkit does not have.
        OutputError: `output` is not empty, or cannot be written.
    """
    options = options or ConvertOptions()
    with open_folder(output) as folder:
        source = _load(model, options)
        built = build_model(source)  # refuses what has no place, before anything is written
        values = _values(source, options) if options.check else None
        expected = None if values is None else probe(built, values)
        del built

        tensors = saving.spelled(source.tensors)
        config = {k: v for k, v in source.config.items() if k != "dtype"}
        if options.merge_weight_norm:
            tensors = saving.merge_weight_norm(tensors)
        if options.quantize is not None and not quantized.is_quantized(config):
            tensors = quantized.quantize(tensors, source=source.id)
            config["quantization_config"] = quantized.QUANTIZATION
        tensors = saving.cast(tensors, options.dtype)
        config["torch_dtype"] = dtype = saving.stored_dtype(tensors)
        if quantized.is_quantized(config):
            dtype = "int8"
        for name, content in {**source.contents, CONFIG: config}.items():
            saving.write_json(content, folder / name)
        for name, path in source.files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(path, folder / name)
        saving.save(tensors, folder, shard_size=options.shard_size)
        _save_adapters(source, folder, options.dtype)

        result = Checkpoint(str(output), folder)
        found = None if values is None else probe(build_model(result), values)
        num_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    passes = TOLERANCES[dtype] if options.tolerance is None else options.tolerance
    return Conversion(
        source.id,
        output,
        architecture(source),
        dtype,
        sum(int(value.numel()) for value in tensors.values()),
        num_bytes,
        None if expected is None or found is None else float(np.abs(expected - found).max()),
        0.0 if expected is None else float(np.abs(expected).max()),
        passes,
    )


def _load(model: ModelOptions, options: ConvertOptions) -> UnsavedCheckpoint:
    """The source in the Hub's layout, in memory."""
    path = Path(model.model)
    if path.is_file():
        return read_original(path, _companions(path, model, options))
    if name := next((n for n in _OF_ORIGINALS if getattr(options, n) is not None), None):
        raise UsageError(f"--{name} belongs to an original file, and {model.model} is none")
    found = find_checkpoint(model)
    return UnsavedCheckpoint(
        found.id,
        found.directory,
        found.revision,
        {CONFIG: found.config},
        found.load_tensors(),
        {name: found.directory / name for name in found.side_files() if name != CONFIG},
    )


_OF_ORIGINALS = ("dictionary", "sentencepiece", "base", "config")


def _companions(path: Path, model: ModelOptions, options: ConvertOptions) -> Companions:
    base = options.base and find_checkpoint(replace(model, model=options.base))
    return Companions(
        path.parent,
        Path(options.dictionary) if options.dictionary else None,
        Path(options.sentencepiece) if options.sentencepiece else None,
        base or None,
        read_object(Path(options.config)) if options.config else {},
    )


def _values(source: UnsavedCheckpoint, options: ConvertOptions) -> NDArray[np.float32]:
    """What the models are compared on: a recording, or noise, as they take it."""
    frontend = frontend_from_dict(source.read_json("preprocessor_config.json", required=False))
    if options.audio is None:
        noise = np.random.default_rng(0).normal(0, 0.1, _NOISE_SECONDS * frontend.sample_rate)
        return frontend(noise.astype(np.float32))
    samples = read_audio(options.audio, sample_rate=frontend.sample_rate).samples
    return frontend(samples[: _MAX_SECONDS * frontend.sample_rate])


def _save_adapters(source: UnsavedCheckpoint, folder: Path, dtype: str | None) -> None:
    """Write the weights that belong to single languages, one file each."""
    for language in languages(source):
        if source.adapter_file(language) is not None:
            adapter = saving.cast(source.load_adapter(language), dtype)
            saving.save_file(adapter, folder / f"adapter.{language}.safetensors")
