"""What a model's time goes into: transformers' implementation and asrkit's, part by part.

    python tests/benchmarks/bench_profile.py [--model base] [--dtype bfloat16] [--seconds 20]
        [--threads 2] [--repeats 5] [--folder DIR]

One pass over so many SECONDS of noise. Every operation is counted for the part of the model that
calls it, and in it as product (of matrices, convolutions among them, and of attention) or as
anything else. The rate is the part's multiply-adds over the time of its products, beside that of
the fastest product at hand. DIR is the one of bench_transcribe.py. Needs transformers.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
import transformers
from bench_transcribe import MODELS, gemm_rates, multiply_adds, write_model
from contenders import SAMPLE_RATE
from torch.profiler import ProfilerActivity, profile, record_function

import asrkit

# Parts by what the names of their modules end in, in both implementations.
PARTS = {
    "feature_extractor": "feature encoder",
    "feature_projection": "projection",
    "pos_conv_embed": "positional convolution",
    "attention": "attention",
    "feed_forward": "feed-forward",
}
REST = "the rest"
PRODUCTS = (
    "mm addmm bmm baddbmm linear _linear_pointwise mkldnn_convolution _slow_conv2d_forward _int_mm"
    " _scaled_dot_product_flash_attention_for_cpu"
).split()


def mark_parts(model: torch.nn.Module) -> None:
    """Have every part say when it begins and ends."""
    for name, module in model.named_modules():
        part = PARTS.get(name.rpartition(".")[2])
        if part is None:
            continue
        running: list[Any] = []

        def begin(*_: Any, part: str = part, running: list[Any] = running) -> None:
            running.append(record_function(f"part: {part}"))
            running[-1].__enter__()

        def end(*_: Any, running: list[Any] = running) -> None:
            running.pop().__exit__(None, None, None)

        module.register_forward_pre_hook(begin)
        module.register_forward_hook(end)


def measure(model: torch.nn.Module, values: torch.Tensor) -> dict[tuple[str, bool], float]:
    """Seconds of one pass by part, and whether they are of products."""
    with torch.inference_mode(), profile(activities=[ProfilerActivity.CPU]) as profiler:
        model(values)
    spent: dict[tuple[str, bool], float] = defaultdict(float)
    for event in profiler.events():
        part, above = REST, event
        while above is not None and part == REST:
            part = above.name.removeprefix("part: ") if above.name.startswith("part: ") else REST
            above = above.cpu_parent
        is_product = event.name.rpartition("::")[2] in PRODUCTS
        spent[part, is_product] += event.self_cpu_time_total / 1e6
    return spent


def multiply_adds_of(config: Any, num_samples: int) -> dict[str, int]:
    """The multiply-adds of one pass, by part."""
    work = {"feature encoder": 0}
    channels, frames = 1, num_samples
    for width, kernel, stride in zip(
        config.conv_dim, config.conv_kernel, config.conv_stride, strict=True
    ):
        frames = (frames - kernel) // stride + 1
        work["feature encoder"] += frames * width * channels * kernel
        channels = width
    width, layers = config.hidden_size, config.num_hidden_layers
    groups, taps = config.num_conv_pos_embedding_groups, config.num_conv_pos_embeddings
    work["projection"] = frames * width * channels
    work["positional convolution"] = frames * width * taps * width // groups
    work["attention"] = layers * frames * (4 * width * width + 2 * frames * width)
    work["feed-forward"] = layers * frames * 2 * width * config.intermediate_size
    work[REST] = frames * width * config.vocab_size
    return work


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", choices=MODELS, default="base")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = (options.folder or Path(name)) / options.model
        if not (folder / "config.json").is_file():
            write_model(folder, options.model)
        dtype = getattr(torch, options.dtype)
        models = {
            "transformers": transformers.AutoModelForCTC.from_pretrained(folder, dtype=dtype),
            "asrkit": asrkit.load_model(str(folder), dtype=options.dtype),
        }
        config = models["transformers"].config
    num_samples = round(options.seconds * SAMPLE_RATE)
    values = torch.randn(1, num_samples)
    work = multiply_adds_of(config, num_samples)
    assert sum(work.values()) == multiply_adds(config, num_samples)
    spent: dict[str, list[dict[tuple[str, bool], float]]] = {name: [] for name in models}
    for name, model in models.items():
        mark_parts(model.eval())
        measure(model, values.to(dtype if name == "transformers" else torch.float32))
    for _ in range(options.repeats):
        for name, model in models.items():
            input_ = values.to(dtype if name == "transformers" else torch.float32)
            spent[name].append(measure(model, input_))
    rate = 2 * gemm_rates()[options.dtype] / 1e9
    print(f"{MODELS[options.model][0]}, {options.dtype}, {options.seconds:g} s of audio; ", end="")
    print(f"products at {rate:.0f} GFLOP/s at best\n")
    print("| | | ms | share | products ms | GFLOP/s in them | all else ms |")
    print("|---|---|---|---|---|---|---|")
    for name, passes in spent.items():

        def median(part: str, is_product: bool, passes: Any = passes) -> float:
            return 1e3 * statistics.median(times[part, is_product] for times in passes)

        table = {part: (median(part, True), median(part, False)) for part in work}
        total = sum(map(sum, table.values()))
        for part, (products, others) in table.items():
            done = 2 * work[part] / products / 1e6 if products else 0.0
            both = products + others
            cells = f"{both:.0f} | {100 * both / total:.0f} % | {products:.0f} | {done:.0f}"
            print(f"| {name} | {part} | {cells} | {others:.0f} |")
        products, others = map(sum, zip(*table.values(), strict=True))
        done = 2 * sum(work.values()) / products / 1e6
        print(
            f"| {name} | all | {total:.0f} | 100 % | {products:.0f} | {done:.0f} | {others:.0f} |"
        )


if __name__ == "__main__":
    main()
