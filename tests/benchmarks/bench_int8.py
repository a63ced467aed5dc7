"""What 8-bit weights are worth: size, time to load, speed, and what becomes of the text.

    PYTHONPATH=. python tests/benchmarks/bench_int8.py [--clips 500] [--repeats 5] [--threads 2]

Text: the demo model on held-out sentences that espeak-ng and flite speak, made as for its card.
Speed: random weights of two published sizes, variants in turns, medians. With one thread the time
of the processor is taken, which other programs on a busy machine hardly change; with more the time
of the clock. Everything is made here, and thrown away at the end.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import asrkit
from asrkit.models.wav2vec2 import Wav2Vec2Config, Wav2Vec2ForCTC
from asrkit.options import ConvertOptions, ModelOptions
from asrkit.tasks.convert_checkpoint import convert_checkpoint
from tests.tiny import write_checkpoint

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
from demo_checkpoint import edit_distance, transcribe
from demo_speech import SAMPLE_RATE, evaluation_sets

# name -> how it is stored, and the dtype in which it runs
VARIANTS = {
    "float32": (ConvertOptions("float32"), "float32"),
    "float16 on disk": (ConvertOptions("float16"), "float32"),
    "bfloat16": (ConvertOptions("bfloat16"), "bfloat16"),
    "int8": (ConvertOptions("float16", "int8"), "float32"),
    "int8, rest bfloat16": (ConvertOptions("float16", "int8"), "bfloat16"),
}
SIZES = {
    "wav2vec2-base": {},
    "wav2vec2-large-lv60": {
        "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
        "intermediate_size": 4096, "feat_extract_norm": "layer", "do_stable_layer_norm": True,
        "conv_bias": True,
    },
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=500, help="of each set; 0 leaves texts out")
    parser.add_argument("--repeats", type=int, default=5, help="0 leaves speed out")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        if options.clips:
            compare_texts(Path(folder), options.clips)
        for name, settings in SIZES.items() if options.repeats else ():
            source = Path(folder) / name
            torch.manual_seed(0)
            model = Wav2Vec2ForCTC(Wav2Vec2Config(**settings))
            write_checkpoint(model, source, "Wav2Vec2ForCTC")
            del model
            compare_speed(name, stored(str(source), Path(folder) / f"{name}-as"), options)


def stored(source: str, folder: Path) -> dict[str, Path]:
    """The source as each variant stores it."""
    paths = {name: folder / name.partition(",")[0] for name in VARIANTS}
    for name, path in paths.items():
        if not path.exists():
            convert_checkpoint(path, ModelOptions(source), VARIANTS[name][0])
    return paths


def megabytes(path: Path) -> float:
    return (path / "model.safetensors").stat().st_size / 1e6


def compare_texts(folder: Path, num_clips: int) -> None:
    """Greedy texts of the demo model, a row a variant."""
    sets = {name: clips[:num_clips] for name, clips in evaluation_sets(None).items()}
    texts: dict[str, list[str]] = {}
    print(f"demo-en, greedy: WER % ({'; '.join(sets)}), words unlike float32's")
    print(f"{'':20} {'MB':>6} {'WER % of each set':>28} {'all':>6}   words that differ")
    for name, path in stored("demo-en", folder / "demo").items():
        recognizer = asrkit.Recognizer.load(ModelOptions(str(path), dtype=VARIANTS[name][1]))
        texts[name], rates, total = [], [], [0, 0]
        for clips in sets.values():
            heard = [transcribe(recognizer, clip.samples) for clip in clips]
            said = [clip.text for clip in clips]
            counts = differences(said, heard)
            rates.append(f"{100 * counts[0] / counts[1]:6.2f}")
            total = [a + b for a, b in zip(total, counts, strict=True)]
            texts[name] += heard
        changed, words = differences(texts["float32"], texts[name])
        print(
            f"{name:20} {megabytes(path):6.2f} {' '.join(rates)} {100 * total[0] / total[1]:6.2f}"
            f"   {changed} of {words} ({100 * changed / words:.2f} %)",
            flush=True,
        )


def differences(first: list[str], second: list[str]) -> tuple[int, int]:
    """Words to change to make the second texts of the first, and words of the first."""
    pairs = [(a.split(), b.split()) for a, b in zip(first, second, strict=True)]
    return sum(edit_distance(a, b) for a, b in pairs), sum(len(a) for a, _ in pairs)


def compare_speed(name: str, paths: dict[str, Path], options: argparse.Namespace) -> None:
    """Size, time to load and speed of one model, a row a variant."""
    clock = time.thread_time if options.threads == 1 else time.perf_counter
    samples = torch.randn(1, int(options.seconds * SAMPLE_RATE))
    models: dict[str, Any] = {}
    loading, running = ({variant: [] for variant in paths} for _ in range(2))
    with torch.inference_mode():
        for turn in range(options.repeats + 1):  # the first is for warming up
            for variant, path in paths.items():
                if turn < 3:
                    start = clock()
                    models[variant] = asrkit.load_model(str(path), dtype=VARIANTS[variant][1])
                    loading[variant].append(clock() - start)
                start = clock()
                models[variant](samples)
                if turn:
                    running[variant].append(clock() - start)
    print(f"\n{name}, {options.seconds:g} s, {options.threads} threads")
    print(f"{'':20} {'MB':>7} {'load s':>7} {'run s':>7} {'x real time':>11} {'x float32':>9}")
    slowest = statistics.median(running["float32"])
    for variant, path in paths.items():
        seconds = statistics.median(running[variant])
        print(
            f"{variant:20} {megabytes(path):7.1f} {statistics.median(loading[variant]):7.2f}"
            f" {seconds:7.3f} {options.seconds / seconds:11.1f} {slowest / seconds:9.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
