"""What the Ray engine costs against the local one: to start, and while it runs.

    python tests/benchmarks/bench_engines.py [MINUTES [MODEL]]

Workers have one CPU thread each. Start-up is a job of one clip.
The total is of MINUTES (20) of audio in clips of 10 s, in groups of eight, the start-up included.
Rounds alternate, and the table shows medians.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from asrkit.options import DEMO_RECOGNIZER, EngineOptions, ModelOptions, TranscribeOptions
from asrkit.tasks.engines import Job, run
from asrkit.tasks.generator import load_speech_model
from asrkit.tasks.transcribe import transcribe_stream
from asrkit.types import AudioInput

SPEECH = Path(__file__).parents[2] / "examples/audio/two-minutes.ogg"
CLIP_SECONDS, ROUNDS = 10, 3


def main() -> None:
    warnings.simplefilter("ignore")
    from ray.cluster_utils import Cluster

    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    model = sys.argv[2] if len(sys.argv) > 2 else DEMO_RECOGNIZER
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    engines = {
        "local, 1 thread": (EngineOptions(), 1),
        "local, 2 threads": (EngineOptions(), 2),
        "ray, 1 worker": (EngineOptions("ray", cluster.address, 1), 1),
        "ray, 2 workers": (EngineOptions("ray", cluster.address, 2), 1),
        "ray, own cluster": (EngineOptions("ray", None, 2), 1),
    }
    starts: dict[str, list[float]] = {name: [] for name in engines}
    totals: dict[str, list[float]] = {name: [] for name in engines}
    with tempfile.TemporaryDirectory() as folder:
        inputs = make_clips(Path(folder), round(minutes * 60 / CLIP_SECONDS))
        for _ in range(ROUNDS):
            for name, (options, threads) in engines.items():
                starts[name].append(seconds_of(inputs[:1], model, options, threads))
                totals[name].append(seconds_of(inputs, model, options, threads))
    cluster.shutdown()
    print(f"{'engine':18} {'start-up s':>10} {'total s':>8} {'x real time':>12}")
    for name in engines:
        start, total = statistics.median(starts[name]), statistics.median(totals[name])
        print(f"{name:18} {start:10.1f} {total:8.1f} {minutes * 60 / total:12.0f}")


def make_clips(folder: Path, count: int) -> list[AudioInput]:
    """Clips of speech, as files."""
    samples, rate = soundfile.read(SPEECH, dtype="float32")
    length = CLIP_SECONDS * rate
    starts = np.random.default_rng(0).integers(len(samples) - length, size=count)
    for index, start in enumerate(starts):
        soundfile.write(folder / f"{index}.wav", samples[start : start + length], rate)
    return [AudioInput(str(folder / f"{i}.wav")) for i in range(count)]


def seconds_of(inputs: list[AudioInput], model: str, options: EngineOptions, threads: int) -> float:
    """How long a job takes, the model's loading included."""
    stream = partial(transcribe_stream, options=TranscribeOptions())
    job = Job(load_speech_model, ModelOptions(model, device="cpu"), stream, threads=threads)
    start = time.perf_counter()
    results = run(job, inputs, options, on_progress=lambda _: None, on_start=lambda _: None)
    assert sum(1 for _ in results) == len(inputs)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
