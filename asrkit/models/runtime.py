"""From a checkpoint to a module, and from arrays to arrays through it."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from asrkit import seq2seq
from asrkit.checkpoint import Checkpoint, resolve
from asrkit.errors import AsrkitError, CheckpointError, UsageError
from asrkit.models import FAMILIES, quantized
from asrkit.models.adapters import check_adapter, load_adapter, with_vocabulary_of
from asrkit.models.filling import fill_module
from asrkit.models.kernels import cpu_has
from asrkit.models.layers import Attention
from asrkit.models.speech_to_text import EncoderDecoder

_log = logging.getLogger("asrkit")

Samples = NDArray[np.float32]
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

# Weights that published checkpoints hold and inference does not read: pre-training's quantizer
# and projections, SpecAugment's mask.
_UNUSED = ("*masked_spec_embed", "quantizer.*", "project_hid.*", "project_q.*", "objective.*")
_UNUSED_HUBERT = ("*label_embs_concat", "*final_proj.*")
_HEADS = ("lm_head.*", "projector.*", "classifier.*", "layer_weights", "tdnn.*")
_COUNTERS = ("*.num_batches_tracked",)


def load_model(
    source: str,
    *,
    head: str | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    revision: str | None = None,
    cache_dir: str | None = None,
    offline: bool = False,
    language: str | None = None,
) -> nn.Module:
    """Load a checkpoint as a module in eval mode, with `.config`; see also `EncoderDecoder`.

    Args:
        source: Hub id (`user/name` or `user/name@revision`), directory, or embedded model.
        head: "base", "ctc", "seq2seq", "sequence-classification", "frame-classification",
            "xvector" or "pretraining"; None takes what config.json's `architectures` names.
        device: cpu, cuda, cuda:N, mps, or auto for the best one at hand.
        dtype: float32, float16 or bfloat16, whatever the file holds, or auto, see `select_dtype`.
            Weights of 8 bits stay so on a CPU that multiplies them; this is what the rest is in.
        revision: branch, tag or commit of a Hub id.
        cache_dir: where Hub files are kept; None uses the standard cache.
        offline: never open a connection.
        language: of a multilingual model: its adapter takes the place of what the weights hold.

    Raises:
        CheckpointError: not found, unreadable, or not supported.
        OfflineError: offline and not in the cache.
        UsageError: an unknown device, dtype or language.
    """
    checkpoint = resolve(
        source, revision=revision, language=language, cache_dir=cache_dir, offline=offline
    )
    return build_model(checkpoint, head=head, device=device, dtype=dtype, language=language)


def build_model(
    checkpoint: Checkpoint,
    *,
    head: str | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    language: str | None = None,
) -> nn.Module:
    """As `load_model`, from a checkpoint that is already resolved."""
    target = select_device(device)
    numbers = select_dtype(dtype, target)
    config = checkpoint.config
    family, model_class = _implementation(checkpoint, head)
    generation = None
    try:
        is_quantized = quantized.is_quantized(config)
        settings = model_class.config_class.from_dict(config)
        if issubclass(model_class, EncoderDecoder):
            generation = seq2seq.GenerationSettings.from_files(
                checkpoint.read_json("generation_config.json", required=False), config
            )
    except CheckpointError as error:
        raise error.about(checkpoint.id) from error
    has_head = model_class is not family.HEADS.get("base")
    rename = partial(family.rename_keys, config=config, head=has_head)
    adapter: dict[str, Tensor] = {}
    if language is not None:
        adapter = rename(load_adapter(checkpoint, language, settings))
        settings = with_vocabulary_of(adapter, settings)
    try:
        with torch.device("meta"):
            module = model_class(settings).to(numbers)
    except RuntimeError as error:  # "Storage size calculation overflowed with sizes ..."
        raise CheckpointError(f"{checkpoint.id}: no model has these sizes: {error}") from error
    if is_quantized:
        quantized.prepare(module)
    tensors = rename(checkpoint.load_tensors())
    if language is not None:
        check_adapter(adapter, module, source=f"{checkpoint.id}: the adapter of {language!r}")
        tensors |= adapter
    if has_head:
        _require_head(module, tensors, checkpoint)
    fill_module(
        module,
        tensors,
        source=checkpoint.id,
        tolerate_missing=_COUNTERS,
        tolerate_unexpected=(*_UNUSED, *_UNUSED_HUBERT, *_COUNTERS, *(() if has_head else _HEADS)),
    )
    if is_quantized:
        quantized.settle(module, device=target, source=checkpoint.id)
    if generation is not None:
        module.generation = generation
    model: nn.Module = module.to(target).eval()
    return model


def _require_head(module: Any, tensors: Mapping[str, Tensor], checkpoint: Checkpoint) -> None:
    """Refuse weights without the head: one with random weights would give random results."""
    base = module.base_prefix
    missing = [
        name
        for name in module.state_dict()
        if not (base and name.startswith(f"{base}.")) and name not in tensors
    ]
    if not base:  # an encoder and a decoder with names of their own
        missing = [name for name in missing if name.startswith("lm_head.")]
    if not missing:
        return
    known = checkpoint.config.get("architectures") or ["nothing"]
    raise CheckpointError(
        f"{checkpoint.id}: there is no {module.title} head in the weights "
        f"({missing[0]} is missing)",
        hint=f"config.json names {known[0]}; choose a checkpoint that was trained with such a head",
    )


def is_encoder_decoder(checkpoint: Checkpoint) -> bool:
    """Whether a checkpoint writes text token by token; others score every frame.

    Raises:
        CheckpointError: the family is not supported.
    """
    return "seq2seq" in _family(checkpoint).HEADS


def _family(checkpoint: Checkpoint) -> ModuleType:
    kind = checkpoint.config.get("model_type")
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise CheckpointError(
            f"{checkpoint.id}: model_type {kind!r} is not supported",
            hint=f"supported are {', '.join(FAMILIES)}",
        )
    return importlib.import_module(FAMILIES[kind])


def _implementation(checkpoint: Checkpoint, head: str | None) -> tuple[ModuleType, Any]:
    """The family's module and the class of its head."""
    family = _family(checkpoint)
    if head is None:
        names = checkpoint.config.get("architectures")
        name = str(names[0]) if isinstance(names, list) and names else "nothing"
        by_name = {cls.__name__: cls for cls in family.HEADS.values()}
        if name not in by_name:
            raise CheckpointError(
                f"{checkpoint.id}: the architecture {name!r} is not supported",
                hint=f"supported are {', '.join(by_name)}; head= chooses one of them",
            )
        return family, by_name[name]
    if head not in family.HEADS:
        raise UsageError(f"head {head!r} is not one of {', '.join(family.HEADS)}")
    return family, family.HEADS[head]


def select_device(name: str) -> torch.device:
    """The device of a name; "auto" takes CUDA, then MPS, then the CPU.

    Raises:
        UsageError: not a device, or not one of this machine's.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(
            f"device {name!r} is unknown", hint="auto, cpu, cuda, cuda:N or mps"
        ) from None
    is_there = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not is_there.get(device.type, False):
        raise UsageError(f"device {name!r} is not available on this machine", hint="--device cpu")
    return device


def select_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype of a name; "auto" takes bfloat16 where the device multiplies it, else float32.

    Raises:
        UsageError: not a dtype.
    """
    if name in DTYPES:
        return DTYPES[name]
    if name != "auto":
        raise UsageError(f"dtype {name!r} is not one of auto, {', '.join(DTYPES)}")
    reason = _bfloat16_units(device)
    _log.info("dtype auto: %s", f"bfloat16, {reason}" if reason else "float32 (no fast bfloat16)")
    return torch.bfloat16 if reason else torch.float32


def _bfloat16_units(device: torch.device) -> str | None:
    """What of a device multiplies bfloat16 faster than float32, if torch knows of it."""
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0):
        return "the GPU has tensor cores for it"
    units = ("amx_bf16", "avx512_bf16") if device.type == "cpu" else ()
    return next((f"the CPU has {unit}" for unit in units if cpu_has(unit)), None)


def dtype_name(model: nn.Module) -> str:
    """The dtype of a model's first weights, by its name."""
    return str(next(model.parameters()).dtype).removeprefix("torch.")


def set_num_threads(count: int) -> None:
    """CPU threads of one matrix product."""
    torch.set_num_threads(count)


def num_free_threads(model: nn.Module) -> int:
    """CPU threads for work beside a model: one where it runs on the CPU, else all.

    On the CPU none is taken from its products for that: beam search with a language model takes a
    fiftieth of the time of the smallest model, and a thread of its own would idle.
    """
    is_on_cpu = next(model.parameters()).device.type == "cpu"
    return 1 if is_on_cpu else torch.get_num_threads()


def default_batch_seconds(model: nn.Module) -> float:
    """Seconds of padded audio in a batch that make the most of a model's device.

    On a CPU a second costs the same from about 5 s on, and more would only take memory.
    """
    return 30.0 if next(model.parameters()).device.type == "cpu" else 240.0


def ctc_log_probs(model: nn.Module, waveforms: Sequence[Samples]) -> list[NDArray[np.float32]]:
    """Run one padded batch through a CTC model.

    Args:
        model: from `load_model` with head "ctc".
        waveforms: (T,) prepared samples each.

    Returns:
        (F, V) natural log-probabilities each, in float32, without padding.
    """
    log_probs, lengths = _run(
        model,
        waveforms,
        lambda out: (torch.log_softmax(out.logits, dim=-1, dtype=torch.float32), out.lengths),
    )
    return _trimmed(log_probs, lengths)


def class_logits(model: nn.Module, waveforms: Sequence[Samples]) -> list[NDArray[np.float32]]:
    """Run one padded batch through a classifier.

    Args:
        model: from `load_model` with head "sequence-classification" or "frame-classification".
        waveforms: (T,) prepared samples each.

    Returns:
        (N,) logits each, or (F, N) from a classifier of frames, in float32.
    """
    logits, lengths = _run(model, waveforms, lambda out: (out.logits, out.lengths))
    return _trimmed(logits, lengths) if logits.ndim == 3 else list(logits)


def hidden_states(
    model: nn.Module, waveforms: Sequence[Samples], *, layers: Sequence[int] | None = None
) -> list[NDArray[np.float32]]:
    """Run one padded batch through a model, and keep what its layers give.

    Args:
        model: from `load_model`, with any head of a Wav2Vec2 or HuBERT model.
        waveforms: (T,) prepared samples each.
        layers: which to keep: 0 is the input of the first layer, n the output of the n-th, -1 that
            of the last after the final layer norm; None keeps all.

    Returns:
        (layers, F, D) each, in float32. F counts frames before a convolutional adapter.
    """

    def read(output: Any) -> tuple[Tensor]:
        kept = range(len(output.hidden_states)) if layers is None else layers
        states = [output.hidden_states[index] for index in kept]
        return (torch.stack(states, dim=2),)  # (B, F, layers, D)

    (states,) = _run(model, waveforms, read, output_hidden_states=True)
    config: Any = model.config
    lengths = [config.frame_lengths(max(len(row), config.receptive_field)) for row in waveforms]
    return [item.swapaxes(0, 1) for item in _trimmed(states, lengths)]


def xvectors(model: nn.Module, waveforms: Sequence[Samples]) -> list[NDArray[np.float32]]:
    """Run waveforms through a speaker model, one by one: padding would change the vectors.

    Args:
        model: from `load_model` with head "xvector".
        waveforms: (T,) prepared samples each, no shorter than `model.min_samples`.

    Returns:
        (D,) each, in float32, not normalised.

    Raises:
        ValueError: a waveform is too short.
    """
    return [_run(model, [row], lambda out: (out.embeddings,))[0][0] for row in waveforms]


def attention_maps(model: nn.Module, samples: Samples) -> NDArray[np.float32]:
    """What each frame of one waveform looks at.

    Args:
        model: from `load_model`, with any head of a Wav2Vec2 or HuBERT model.
        samples: (T,) prepared samples.

    Returns:
        (layers, H, F, F) attention weights in float32; each row sums to 1.
    """
    maps: list[Tensor] = []

    def keep(attention: Attention, inputs: tuple[Any, ...]) -> None:
        maps.append(attention.weights(inputs[0]).float().cpu())

    encoder: Any = getattr(model, "base", model).encoder
    hooks = [layer.attention.register_forward_pre_hook(keep) for layer in encoder.layers]
    try:
        _run(model, [samples], lambda _: ())
    finally:
        for hook in hooks:
            hook.remove()
    weights: NDArray[np.float32] = torch.stack(maps).numpy()
    return weights


def generate(
    model: EncoderDecoder, inputs: Sequence[Samples], settings: seq2seq.GenerationSettings
) -> list[list[seq2seq.Generated]]:
    """Run one padded batch through an encoder-decoder, and search for its texts.

    Args:
        model: from `load_model` with head "seq2seq".
        inputs: (T,) prepared samples or (F, C) features each.
        settings: how to search; `model.generation` is what the checkpoint says.

    Returns:
        Texts of each input, best first.
    """
    values, lengths = _padded(inputs, next(model.parameters()).device)
    with torch.inference_mode(), _memory_errors(values):
        encoded = model.encode(values, lengths.to(values.device))
        return seq2seq.generate(model, encoded.last_hidden_state, encoded.lengths, settings)


def _run(
    model: nn.Module,
    waveforms: Sequence[Samples],
    read: Callable[[Any], tuple[Tensor, ...]],
    **options: Any,
) -> tuple[NDArray[Any], ...]:
    """Run one padded batch through a model; `read` says what of its output comes back."""
    values, lengths = _padded(waveforms, next(model.parameters()).device)
    with torch.inference_mode(), _memory_errors(values):
        return tuple(
            (part.float() if part.is_floating_point() else part).cpu().numpy()
            for part in read(model(values, lengths, **options))
        )


def probe(model: nn.Module, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """All that one input makes a model say, as one vector: for comparing two models.

    Args:
        model: from `load_model`, with any head.
        values: (T,) prepared samples or (F, C) features.

    Returns:
        (N,) float32: logits, embeddings, or the last hidden states; of an encoder-decoder the
        logits of the tokens after the first few of its vocabulary.
    """
    options: dict[str, Any] = {}
    device = next(model.parameters()).device
    if isinstance(model, EncoderDecoder):
        tokens = torch.arange(min(_PROBED_TOKENS, len(model.output_weight)), device=device)
        options["decoder_input_ids"] = tokens[None]
    batch, lengths = _padded([values], device)
    with torch.inference_mode(), _memory_errors(batch):
        output = model(batch, lengths.to(device), **options)
        parts = [getattr(output, name, None) for name in _PROBED]
        said = torch.cat([part.float().flatten() for part in parts if part is not None])
    numbers: NDArray[np.float32] = said.cpu().numpy()
    return numbers


_PROBED = ("logits", "embeddings", "projected_states", "last_hidden_state")
_PROBED_TOKENS = 8


def _padded(arrays: Sequence[Samples], device: torch.device) -> tuple[Tensor, Tensor]:
    """Arrays as one tensor, padded with zeros at the end of their first axis; lengths, on a CPU."""
    lengths = [len(array) for array in arrays]
    is_pinned = device.type == "cuda"  # then the model is set to work while the copy runs
    shape = (len(arrays), max(lengths), *arrays[0].shape[1:])
    values = torch.zeros(shape, pin_memory=is_pinned)
    for row, array in zip(values.numpy(), arrays, strict=True):
        row[: len(array)] = array
    return values.to(device, non_blocking=is_pinned), torch.tensor(lengths)


@contextmanager
def _memory_errors(values: Tensor) -> Iterator[None]:
    """Say what to do when memory ends while a model works on this batch."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # torch's for the CPU has no class of its own
        what = "out of memory" if isinstance(error, MemoryError) else str(error)
        if "out of memory" not in what and "allocate memory" not in what:
            raise  # also a GPU's "illegal memory access"
        raise AsrkitError(
            f"not enough memory on {values.device} for {len(values)} chunks of audio at once",
            hint="a smaller --batch-seconds or --chunk-length needs less",
        ) from error


def _trimmed(batch: NDArray[np.float32], lengths: Iterable[int]) -> list[NDArray[np.float32]]:
    """The items of a batch (B, F, ...) without their padding."""
    return [item[:length] for item, length in zip(batch, lengths, strict=True)]
