"""Audio seconds per second of asrkit, transformers' pipeline, ONNX Runtime and CTranslate2.

    python tests/benchmarks/bench_transcribe.py [--models base large hubert] [--threads 2]
        [--repeats 5] [--clips 200] [--minutes 30] [--folder DIR] [-o FILE] [--budget MINUTES]

Three loads: one clip of 20 s, which is repeated; clips of 2 to 20 s; one long file. Models of three
published sizes with random weights (their texts are compared all the same). Every contender is a
process that has loaded its model; they take turns, and the table has the medians. Where several
inputs at once may be quicker, a few clips tell first, and only the quickest size goes on to the
large loads, beside one at a time. The floor is the time that the model's multiply-adds take at the
rate of the fastest large matrix product at hand, the best that was measured after any turn.

FILE keeps every row as soon as it is measured, as a line of JSON, and what it has is not measured
again: a run can be stopped, go on, and print the tables once more. (Of the code it knows no more
than the version: after a change, take another file.) DIR keeps the checkpoints and the audio. With
MINUTES, no turn begins that would not end in time.

Needs transformers, onnx, onnxscript, onnxruntime, ctranslate2; what cannot load the model is left
out of the table and named below it.
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
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import soundfile
import torch
import transformers
from contenders import CHUNK, CONTENDERS, CONTEXT, SAMPLE_RATE
from torch.nn.functional import linear

import asrkit
from asrkit.models import kernels

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


def prepare(folder: Path, key: str) -> tuple[Any, dict[str, str]]:
    """All that the contenders load; gives the config, and why something of it is missing."""
    reasons = folder / "missing.json"
    if not reasons.is_file():
        model = write_model(folder, key)
        missing = {}
        for write in (_write_onnx, _write_ctranslate2, _write_int8):
            try:
                write(folder, model)
            except Exception as error:  # whatever a foreign exporter raises
                name = write.__name__.removeprefix("_write_")
                missing[name] = (
                    f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
                )
        reasons.write_text(json.dumps(missing))
    config = transformers.AutoConfig.from_pretrained(folder)
    return config, json.loads(reasons.read_text())


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


@dataclass(frozen=True)
class Load:
    """What a turn is about.

    Attributes:
        name: with what makes it another one.
        paths: its files.
        is_long: one file, in chunks.
        is_choice: tells which batch size is the quickest; nothing else takes part.
    """

    name: str
    paths: list[str]
    is_long: bool = False
    is_choice: bool = False

    @property
    def seconds(self) -> float:
        """Of audio."""
        return sum(soundfile.info(path).duration for path in self.paths)

    def pieces(self) -> list[int]:
        """Samples of all that goes through a model; the overlap of chunks is work as well."""
        sizes = [soundfile.info(path).frames for path in self.paths]
        if self.is_long:
            sizes = [round(CHUNK * SAMPLE_RATE)] * round(self.seconds / (CHUNK - 2 * CONTEXT))
        return sizes


def write_audio(folder: Path, *, clips: int, minutes: float) -> list[Load]:
    """The loads, cut from speech; lengths are spread as those of utterances are."""
    speech, rate = soundfile.read(SPEECH, dtype="float32")
    assert rate == SAMPLE_RATE, rate

    def write(name: str, lengths: Sequence[float]) -> list[str]:
        choose = random.Random(name)
        paths = [folder / name / f"{index}.wav" for index in range(len(lengths))]
        for path, seconds in zip(paths, lengths, strict=True):
            start = choose.randrange(len(speech))
            samples = np.take(speech, range(start, start + round(seconds * rate)), mode="wrap")
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, samples, rate)
        return [str(path) for path in paths]

    choose = random.Random(0)
    lengths = [min(20.0, max(2.0, choose.lognormvariate(2.0, 0.6))) for _ in range(clips)]
    few = [5.0, 6.0, 6.0, 7.0, 7.0, 8.0, 8.0, 9.0]
    return [
        Load("one clip of 20 s", write("clip", [20.0])),
        Load(f"{len(few)} clips of 5 to 9 s", write("few", few), is_choice=True),
        Load(f"{clips} clips of 2 to 20 s", write("clips", lengths)),
        Load(f"one file of {minutes:g} minutes", write("long", [60 * minutes]), is_long=True),
    ]


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


def gemm_rates(seconds: float = 0.3) -> dict[str, float]:
    """Multiply-adds per second of large products, by dtype: of the quickest that there is."""
    rates = {}
    for dtype in (torch.float32, torch.bfloat16):
        for rows, outputs, inputs in ((4096, 4096, 1024), (1024, 1024, 1024)):
            x, weight = torch.randn(rows, inputs).to(dtype), torch.randn(outputs, inputs).to(dtype)
            for product in (linear, kernels.linear):
                times = _repeat(partial(product, x, weight, None), seconds)
                rate = rows * outputs * inputs / statistics.median(times)
                name = str(dtype).removeprefix("torch.")
                rates[name] = max(rates.get(name, 0.0), rate)
    return rates


@torch.inference_mode()
def _repeat(function: partial[Any], seconds: float) -> list[float]:
    """Times of as many calls as fit."""
    function()
    times: list[float] = []
    while sum(times) < seconds:
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return times


# ---------------------------------------------------------------------------------------- turns


@dataclass
class Row:
    """What was measured of one contender with one batch size on one load.

    Attributes:
        model: key of `MODELS`.
        load: its name.
        contender: its name.
        batch: inputs at once; 0 where it chooses for itself.
        setup: machine and versions.
        seconds: of each repeat.
        first: seconds to the first text of each repeat.
        peak: bytes of memory.
        texts: of the inputs.
        rates: of matrix products, right after.
    """

    model: str
    load: str
    contender: str
    batch: int
    setup: str
    seconds: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    peak: int = 0
    texts: list[str] = field(default_factory=list)
    rates: dict[str, float] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, str, int, str]:
        """What says that it is the same."""
        return self.model, self.load, self.contender, self.batch, self.setup

    @property
    def time(self) -> float:
        """The median."""
        return statistics.median(self.seconds)

    @property
    def name(self) -> str:
        """In a table."""
        return self.contender + (f", batch {self.batch}" if self.batch else "")


class Rows:
    """Those that were measured, and a file that keeps them."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path is not None and path.exists() else []
        self.known = {row.key: row for row in (Row(**json.loads(line)) for line in lines)}

    def add(self, row: Row) -> None:
        """Keep one that is complete."""
        self.known[row.key] = row
        print(f"{row.model}, {row.load}: {row.name} {row.time:.2f} s", file=sys.stderr, flush=True)
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(json.dumps(asdict(row)) + "\n")

    def of(self, model: str, load: Load, setup: str) -> list[Row]:
        """Those of a table, in the order of the contenders."""
        found = [
            row
            for row in self.known.values()
            if (row.model, row.load, row.setup) == (model, load.name, setup)
        ]
        order = list(CONTENDERS)
        return sorted(found, key=lambda row: (order.index(row.contender), row.batch))


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

    def ask(self, load: Load, batch: int) -> dict[str, Any]:
        request = {"paths": load.paths, "batch_size": batch, "is_long": load.is_long}
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


@dataclass
class Benchmark:
    """A run: what is to be measured, and how much time there is.

    Attributes:
        folder: holds the checkpoints.
        loads: what is transcribed; the first is one clip, of which all times are estimated.
        rows: what is known already.
        setup: machine and versions.
        threads: of each contender.
        repeats: of the first load.
        deadline: on the monotonic clock.
        failed: contenders that could not load a model, by model.
    """

    folder: Path
    loads: list[Load]
    rows: Rows
    setup: str
    threads: int
    repeats: int
    deadline: float
    failed: dict[str, list[str]] = field(default_factory=dict)

    def turns(self, model: str, load: Load) -> Iterator[Row]:
        """The rows of a table that are to be measured still."""
        for name, contender in CONTENDERS.items():
            first, *others = contender.batch_sizes
            sizes = [first]
            if load.is_choice:
                sizes = [first, *others] if others else []
            elif others and len(load.pieces()) > 1:
                sizes = sorted({first, self._quickest(model, name) or first})
            for size in sizes:
                row = Row(model, load.name, name, size, self.setup)
                if row.key not in self.rows.known and name not in self.failed.get(model, ()):
                    yield row

    def _quickest(self, model: str, contender: str) -> int | None:
        (load,) = (load for load in self.loads if load.is_choice)
        tried = [row for row in self.rows.of(model, load, self.setup) if row.contender == contender]
        return min(tried, key=lambda row: row.time).batch if tried else None

    def seconds_of(self, row: Row, load: Load) -> float:
        """An estimate of a turn, from the one clip; nothing where that is not known."""
        clip = self.loads[0]
        known = [
            other.time
            for other in self.rows.of(row.model, clip, self.setup)
            if other.contender == row.contender
        ]
        return min(known, default=0.0) * sum(load.pieces()) / sum(clip.pieces())

    def run(self, models: Sequence[str]) -> None:
        """Measure what is missing, one load of all models after another."""
        for number, load in enumerate(self.loads):
            if number:
                left = sum(
                    self.seconds_of(row, other)
                    for other in self.loads[number:]
                    for model in models
                    for row in self.turns(model, other)
                )
                print(f"about {left / 60:.0f} minutes to go", file=sys.stderr, flush=True)
            for model in models:
                self._measure(model, load)

    def _measure(self, model: str, load: Load) -> None:
        turns = list(self.turns(model, load))
        repeats = self.repeats if load is self.loads[0] else 1
        last = {row.contender: row for row in turns}
        processes: dict[str, Process] = {}
        try:
            for repeat in range(1, repeats + 1):
                for row in turns:
                    if self._take_turn(row, load, processes) and repeat == repeats:
                        row.rates = gemm_rates()
                        self.rows.add(row)
                    is_over = repeat == repeats and row is last[row.contender]
                    if is_over and row.contender in processes:
                        processes.pop(row.contender).close()
        finally:
            for process in processes.values():
                process.close()

    def _take_turn(self, row: Row, load: Load, processes: dict[str, Process]) -> bool:
        """Whether it came to an end; it does not begin where there is no time."""
        failed = self.failed.setdefault(row.model, [])
        is_late = time.monotonic() + self.seconds_of(row, load) > self.deadline
        if row.contender in failed or is_late:
            return False
        try:
            if row.contender not in processes:
                process = Process(row.contender, self.folder / row.model, self.threads)
                processes[row.contender] = process
                process.ask(Load("a warm-up", self.loads[1].paths[:1]), 1)
            answer = processes[row.contender].ask(load, row.batch)
        except (RuntimeError, OSError):
            failed.append(row.contender)
            return False
        row.seconds.append(answer["seconds"])
        row.first.append(answer["first"])
        row.peak = max(row.peak, answer["peak"])
        row.texts = answer["texts"]
        return True


# --------------------------------------------------------------------------------------- tables


def print_table(load: Load, rows: Sequence[Row], config: Any, rates: dict[str, float]) -> None:
    """A Markdown table of one load: speed, ratios, share of the floor, memory, text."""
    base = [row for row in rows if row.contender == "transformers float32"]
    work = sum(multiply_adds(config, size) for size in load.pieces())
    print(f"\n**{load.name}** ({load.seconds:.0f} s of audio)\n")
    print(
        "| | seconds | x real time | x transformers float32 | of the floor | first text | peak GB"
        " | characters that differ |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        dtype = CONTENDERS[row.contender].dtype
        cells = [
            row.name,
            f"{row.time:.2f}",
            f"{load.seconds / row.time:.1f}",
            f"{min(other.time for other in base) / row.time:.2f}" if base else "",
            f"{100 * work / rates[dtype] / row.time:.0f} %" if dtype in rates else "",
            f"{statistics.median(row.first):.2f} s",
            f"{row.peak / 1e9:.2f}",
            f"{100 * jiwer.cer(base[0].texts, row.texts):.2f} %" if base else "",
        ]
        print(f"| {' | '.join(cells)} |")


def print_model(benchmark: Benchmark, key: str, config: Any, missing: dict[str, str]) -> None:
    """All tables of a model, as far as it was measured."""
    tables = [(load, benchmark.rows.of(key, load, benchmark.setup)) for load in benchmark.loads]
    measured = [row.rates for _, rows in tables for row in rows]
    if not measured:
        return
    rates = {name: max(rate[name] for rate in measured) for name in measured[0]}
    shown = (f"{2 * rate / 1e9:.0f} GFLOP/s in {name}" for name, rate in rates.items())
    print(f"\n## {MODELS[key][0]}\n\nMatrix products: {', '.join(shown)}")
    for load, rows in tables:
        if rows:
            print_table(load, rows, config, rates)
    failed = dict.fromkeys(benchmark.failed.get(key, ()), "does not run")
    for name, reason in (missing | failed).items():
        print(f"\n{name}: {reason}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE")
    parser.add_argument("--budget", type=float, default=float("inf"), metavar="MINUTES")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    packages = ("torch", "transformers", "onnxruntime", "ctranslate2")
    versions = [f"{name} {metadata.version(name)}" for name in packages]
    versions.insert(0, f"asrkit {asrkit.__version__}")
    machine = f"{platform.machine()} with {torch.backends.cpu.get_cpu_capability()}"
    setup = f"{machine}, {arguments.threads} threads; {', '.join(versions)}"
    deadline = time.monotonic() + 60 * arguments.budget
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.folder or Path(name)
        loads = write_audio(folder / "audio", clips=arguments.clips, minutes=arguments.minutes)
        prepared = {key: prepare(folder / key, key) for key in arguments.models}
        benchmark = Benchmark(
            folder,
            loads,
            Rows(arguments.output),
            setup,
            arguments.threads,
            arguments.repeats,
            deadline,
        )
        try:
            benchmark.run(arguments.models)
        finally:  # what there is, when it is stopped
            print(setup)
            for key, (config, missing) in prepared.items():
                print_model(benchmark, key, config, missing)


if __name__ == "__main__":
    main()
