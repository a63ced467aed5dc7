"""Start-up: the help against a bare Typer app, and a clip of one second against `import torch`.

    python tests/benchmarks/bench_startup.py

Runs alternate; the table shows the median and the smallest of each. The last line is what
`asrkit transcribe` with the embedded model takes beside its model, relative to `import torch`.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import soundfile

BARE = """
import typer
app = typer.Typer()
@app.callback()
def main(): "A bare app."
@app.command()
def transcribe(name: str = "a", count: int = 1): "A bare command."
app()
"""
MODEL = """
import sys, time
from asrkit import ModelOptions, Recognizer, read_audio
recognizer = Recognizer.load(ModelOptions())
samples = recognizer.frontend(read_audio(sys.argv[1]).samples)
start = time.perf_counter()
recognizer.log_probs([samples])
print(time.perf_counter() - start)
"""
CLIP = Path(__file__).parents[2] / "examples/audio/telephone-8khz.wav"
REPEATS = 15


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.py"
        bare.write_text(BARE)
        clip = Path(folder) / "clip.wav"
        samples, rate = soundfile.read(CLIP, frames=8_000)
        soundfile.write(clip, samples, rate)
        commands = {
            "bare --help": [str(bare), "--help"],
            "asrkit --help": ["-m", "asrkit", "--help"],
            "bare transcribe --help": [str(bare), "transcribe", "--help"],
            "asrkit transcribe --help": ["-m", "asrkit", "transcribe", "--help"],
            "import torch": ["-c", "import torch"],
            "asrkit transcribe": ["-m", "asrkit", "transcribe", str(clip), "-q"],
        }
        times: dict[str, list[float]] = {name: [] for name in [*commands, "its model"]}
        for _ in range(REPEATS):
            for name, command in commands.items():
                start = time.perf_counter()
                subprocess.run([sys.executable, *command], stdout=subprocess.DEVNULL, check=True)
                times[name].append(1000 * (time.perf_counter() - start))
            model = [sys.executable, "-c", MODEL, str(clip)]
            run = subprocess.run(model, capture_output=True, text=True, check=True)
            times["its model"].append(1000 * float(run.stdout))
    print(f"{'command':26} {'median ms':>10} {'min ms':>8}")
    for name, values in times.items():
        print(f"{name:26} {statistics.median(values):10.0f} {min(values):8.0f}")
    whole, torch, model = (
        min(times[n]) for n in ("asrkit transcribe", "import torch", "its model")
    )
    print(f"asrkit transcribe without its model / import torch: {(whole - model) / torch:.2f}")


if __name__ == "__main__":
    main()
