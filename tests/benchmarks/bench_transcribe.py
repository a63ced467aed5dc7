"""Audio seconds per second of asrkit, transformers' pipeline, ONNX Runtime and CTranslate2.

    python tests/benchmarks/bench_transcribe.py [--models base large hubert] [--threads 2]
        [--repeats 5 1 1] [--clips 200] [--minutes 30] [--seconds-of-work 0] [-o FILE]

Three loads: one clip of 20 s, clips of 2 to 20 s, one long file; models of three published sizes
with random weights (their texts are compared all the same). Every contender is a process that has
loaded its model; they take turns, and the table has the medians. The floor is the time that the
model's multiply-adds take at the rate of a large matrix product, measured between the turns.

Needs transformers, onnx, onnxscript, onnxruntime, ctranslate2; what cannot be imported, or cannot
load the model, is left out of the table and named below it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import soundfile
import torch
import transformers
from contenders import CONTENDERS, SAMPLE_RATE
from torch.nn.functional import linear

import asrkit

SPEECH = Path(__file__).parents[2] / "examples" / "audio" / "two-minutes.ogg"
TOKENS = "<pad> <s> </s> <unk> | E T A O N I H S R D L U M W C F G Y P B V K ' X J Q Z".split()
_LARGE = dict(
    hidden_size=1024,
    num_hidden_layers=24,
    num_attention_heads=16,
    intermediate_size=4096,
    feat_extract_norm="layer",
    conv_bias=True,
    do_stable_layer_norm=True,
)
MODELS = {
    "base": ("wav2vec2-base", transformers.Wav2Vec2Config, {}),
    "large": ("wav2vec2-large-lv60", transformers.Wav2Vec2Config, _LARGE),
    "hubert": ("hubert-large", transformers.HubertConfig, _LARGE),
}


# ------------------------------------------------------------------------------------- material


def write_model(folder: Path, key: str) -> Any:
    """A random checkpoint of a published size, and what the other runtimes want of it."""
    _, config_class, options = MODELS[key]
    torch.manual_seed(0)
    config = config_class(vocab_size=len(TOKENS), **options)
    by_type = {"wav2vec2": transformers.Wav2Vec2ForCTC, "hubert": transformers.HubertForCTC}
    model = by_type[config.model_type](config).eval()
    with torch.no_grad():
        model.lm_head.weight.normal_(0, 0.3)  # frames differ, as those of a trained model do
    model.save_pretrained(folder)
    vocabulary = folder / "vocab.json"
    vocabulary.write_text(json.dumps({token: index for index, token in enumerate(TOKENS)}))
    tokenizer = transformers.Wav2Vec2CTCTokenizer(str(vocabulary))
    frontend = transformers.Wav2Vec2FeatureExtractor(
        return_attention_mask=config.feat_extract_norm == "layer"
    )
    transformers.Wav2Vec2Processor(frontend, tokenizer).save_pretrained(folder)
    return model


def write_others(folder: Path, model: Any) -> dict[str, str]:
    """What ONNX Runtime, CTranslate2 and our int8 load; gives the reasons for what is missing."""
    missing = {}
    for write in (_write_onnx, _write_ctranslate2, _write_int8):
        try:
            write(folder, model)
        except Exception as error:  # whatever a foreign exporter raises
            reason = str(error).strip().splitlines() or [""]
            missing[write.__name__.removeprefix("_write_")] = f"{type(error).__name__}: {reason[0]}"
    return missing


def _write_onnx(folder: Path, model: Any) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.model(values).logits
            return logits

    path = folder / "model.onnx"
    torch.onnx.export(
        Logits(),
        (torch.zeros(1, SAMPLE_RATE),),
        str(path),
        input_names=["values"],
        output_names=["logits"],
        dynamic_axes={"values": {1: "samples"}, "logits": {1: "frames"}},
        dynamo=False,
    )
    quantize_dynamic(
        path,
        folder / "model-int8.onnx",
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul"],
    )


def _write_ctranslate2(folder: Path, model: Any) -> None:
    from ctranslate2.converters import TransformersConverter

    if model.config.model_type != "wav2vec2" or model.config.feat_extract_norm != "layer":
        raise ValueError("its converter knows Wav2Vec2 with layer norm only")
    TransformersConverter(str(folder)).convert(str(folder / "ctranslate2"), force=True)


def _write_int8(folder: Path, model: Any) -> None:
    command = ["-m", "asrkit", "convert", "checkpoint", folder, folder / "int8"]
    subprocess.run([sys.executable, *map(str, command), "-q", "--quantize", "int8"], check=True)


def write_audio(folder: Path, *, clips: int, minutes: float) -> dict[str, list[str]]:
    """The three loads, cut from speech; lengths are spread as those of utterances are."""
    speech, rate = soundfile.read(SPEECH, dtype="float32")
    assert rate == SAMPLE_RATE, rate
    choose = random.Random(0)
    folder.mkdir()

    def write(name: str, seconds: float) -> str:
        start = choose.randrange(len(speech))
        samples = np.take(speech, range(start, start + round(seconds * rate)), mode="wrap")
        soundfile.write(folder / name, samples, rate)
        return str(folder / name)

    lengths = [min(20.0, max(2.0, choose.lognormvariate(2.0, 0.6))) for _ in range(clips)]
    return {
        "one clip of 20 s": [write("clip.wav", 20.0)],
        f"{clips} clips of 2 to 20 s": [write(f"{i}.wav", s) for i, s in enumerate(lengths)],
        f"one file of {minutes:g} minutes": [write("long.wav", 60 * minutes)],
    }


# ---------------------------------------------------------------------------------------- floor


def multiply_adds(config: Any, num_samples: int) -> int:
    """Of one forward pass over so many samples, products of the attention included."""
    total, channels, frames = 0, 1, num_samples
    for width, kernel, stride in zip(
        config.conv_dim, config.conv_kernel, config.conv_stride, strict=True
    ):
        frames = (frames - kernel) // stride + 1
        total += frames * width * channels * kernel
        channels = width
    width = config.hidden_size
    groups, taps = config.num_conv_pos_embedding_groups, config.num_conv_pos_embeddings
    total += frames * width * (channels + taps * width // groups + config.vocab_size)
    layer = 4 * width * width + 2 * width * config.intermediate_size + 2 * frames * width
    return total + config.num_hidden_layers * frames * layer


def gemm_rate(dtype: str, seconds: float = 1.0) -> float:
    """Multiply-adds per second of a large product of the shape of a feed-forward layer."""
    kind = getattr(torch, dtype)
    x, weight = torch.randn(4096, 1024).to(kind), torch.randn(4096, 1024).to(kind)
    with torch.inference_mode():
        linear(x, weight)
        count, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < seconds:
            linear(x, weight)
            count += 1
    return count * 4096 * 4096 * 1024 / elapsed


# ---------------------------------------------------------------------------------------- turns


@dataclass
class Row:
    """What was measured of one contender with one batch size on one load."""

    seconds: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    peak: int = 0
    texts: list[str] = field(default_factory=list)


class Process:
    """A contender that has loaded its model."""

    def __init__(self, name: str, folder: Path, threads: int) -> None:
        script = Path(__file__).with_name("contenders.py")
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "0"}
        self.process = subprocess.Popen(
            [sys.executable, str(script), name, str(folder), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        self._answer()

    def ask(self, paths: list[str], batch_size: int, *, is_long: bool) -> dict[str, Any]:
        request = {"paths": paths, "batch_size": batch_size, "is_long": is_long}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the process has ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def measure(
    folder: Path, loads: dict[str, list[str]], arguments: argparse.Namespace
) -> tuple[dict[str, dict[str, Row]], dict[str, list[float]]]:
    """Rows by load and contender, and the rates of products in between, by dtype."""
    processes: dict[str, Process] = {}
    for name in CONTENDERS:
        with suppress(RuntimeError):
            processes[name] = Process(name, folder, arguments.threads)
    rates: dict[str, list[float]] = {"float32": [], "bfloat16": []}
    tables: dict[str, dict[str, Row]] = {}
    clips = sorted(next(paths for paths in loads.values() if len(paths) > 1)[:24])
    try:
        turns = [(name, size) for name in processes for size in _sizes(name, processes, clips)]
        for (load, paths), repeats in zip(loads.items(), arguments.repeats, strict=True):
            is_long = load.startswith("one file")
            table: dict[tuple[str, int], Row] = {turn: Row() for turn in turns}
            for _ in range(repeats):
                for (name, size), row in table.items():
                    if len(paths) == 1 and not is_long and size > 1:
                        continue  # a batch of one
                    answer = processes[name].ask(paths, size, is_long=is_long)
                    row.seconds.append(answer["seconds"])
                    row.first.append(answer["first"])
                    row.peak = max(row.peak, answer["peak"])
                    row.texts = answer["texts"]
                for dtype, values in rates.items():
                    values.append(gemm_rate(dtype))
            tables[load] = {
                name + (f", batch {size}" if size else ""): row
                for (name, size), row in table.items()
                if row.seconds
            }
            print(f"measured: {load}", file=sys.stderr, flush=True)
    finally:
        for process in processes.values():
            process.close()
    return tables, rates


def _sizes(name: str, processes: dict[str, Process], clips: list[str]) -> list[int]:
    """The first batch size, and the quickest if that is another."""
    sizes = CONTENDERS[name].batch_sizes
    process = processes[name]
    process.ask(clips[:2], sizes[0], is_long=False)  # a warm-up
    if len(sizes) == 1:
        return list(sizes)
    seconds = {size: process.ask(clips, size, is_long=False)["seconds"] for size in sizes}
    return list(dict.fromkeys((sizes[0], min(sizes, key=seconds.__getitem__))))


# --------------------------------------------------------------------------------------- tables


def print_table(
    load: str, rows: dict[str, Row], floors: dict[str, float], num_seconds: float
) -> None:
    """A Markdown table of one load: speed, ratios, share of the floor, memory, text."""
    base = min(
        statistics.median(row.seconds)
        for name, row in rows.items()
        if "transformers float32" in name
    )
    texts = next(row.texts for name, row in rows.items() if "transformers float32" in name)
    print(f"\n**{load}** ({num_seconds:.0f} s of audio)\n")
    print(
        "| | seconds | x real time | x transformers float32 | of the floor | first text | peak GB"
        " | characters that differ |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, row in rows.items():
        seconds = statistics.median(row.seconds)
        dtype = next(c.dtype for key, c in CONTENDERS.items() if name.startswith(key))
        share = f"{100 * floors[dtype] / seconds:.0f} %" if dtype in floors else ""
        differ = 100 * jiwer.cer(texts, row.texts)
        print(
            f"| {name} | {seconds:.2f} | {num_seconds / seconds:.1f} | {base / seconds:.2f}"
            f" | {share} | {statistics.median(row.first):.2f} s | {row.peak / 1e9:.2f}"
            f" | {differ:.2f} % |"
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, nargs=3, default=[5, 1, 1], metavar="N")
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=30.0)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    packages = ("torch", "transformers", "onnxruntime", "ctranslate2")
    versions = [f"{name} {metadata.version(name)}" for name in packages]
    versions.insert(0, f"asrkit {asrkit.__version__}")
    machine = f"{platform.machine()} with {torch.backends.cpu.get_cpu_capability()}"
    print(f"{machine}, {arguments.threads} threads; {', '.join(versions)}")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        loads = write_audio(work / "audio", clips=arguments.clips, minutes=arguments.minutes)
        for key in arguments.models:
            folder = work / key
            model = write_model(folder, key)
            missing = write_others(folder, model)
            config = model.config
            del model
            tables, rates = measure(folder, loads, arguments)
            rate = {dtype: statistics.median(values) for dtype, values in rates.items()}
            print(f"\n## {MODELS[key][0]}\n")
            print(
                "Matrix products: "
                + ", ".join(f"{2 * value / 1e9:.0f} GFLOP/s in {d}" for d, value in rate.items())
            )
            for load, rows in tables.items():
                sizes = [soundfile.info(path).frames for path in loads[load]]
                if load.startswith("one file"):  # in chunks; their overlap is work as well
                    sizes = [30 * SAMPLE_RATE] * round(sum(sizes) / (20 * SAMPLE_RATE))
                work_done = sum(multiply_adds(config, size) for size in sizes)
                floors = {dtype: work_done / value for dtype, value in rate.items()}
                seconds = sum(soundfile.info(path).duration for path in loads[load])
                print_table(load, rows, floors, seconds)
            for contender, reason in missing.items():
                print(f"\n{contender}: {reason}")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
