"""Peak memory and time of `asrkit transcribe` on manifests of 1,000 to 100,000 lines.

    python tests/benchmarks/bench_manifest.py [--real LINES]

Every line names a clip of a fifth of a second. Dry runs plan the output files; runs of at most so
many LINES write them, with a tiny random model. Each run is a process of its own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# In a process of its own: the peak of a child counts from what its parent held.
SETUP = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from pathlib import Path
import numpy, soundfile
from tests.tiny import tiny_model
folder = Path(sys.argv[1])
tiny_model(folder=folder / "model")
soundfile.write(folder / "clip.wav", numpy.random.default_rng(0).normal(0, 0.1, 3200), 16_000)
"""


def run(command: list[str]) -> tuple[float, float]:
    """Seconds and peak MB of a process."""
    start = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    scale = 1e6 if sys.platform == "darwin" else 1e3  # bytes there, kilobytes elsewhere
    return time.monotonic() - start, usage.ru_maxrss / scale


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--real", type=int, default=10_000, help="lines of the longest real run")
    options = parser.parse_args()
    print(f"{'lines':>8} {'run':>5} {'time s':>8} {'peak MB':>8} {'bytes a line':>13}")
    least: dict[str, tuple[int, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "model"
        subprocess.run([sys.executable, "-c", SETUP, name], check=True)
        for lines in (1_000, 10_000, 100_000):
            manifest = folder / f"{lines}.csv"
            with manifest.open("w") as file:
                file.write("audio_filepath,id,text,speaker\n")
                for line in range(lines):
                    if line < options.real and not (folder / f"{line:06}.wav").exists():
                        os.link(folder / "clip.wav", folder / f"{line:06}.wav")
                    file.write(f"{line:06}.wav,utterance-{line:06},a few words,{line % 7}\n")
            for kind in ("dry", "real")[: 2 if lines <= options.real else 1]:
                command = ["-m", "asrkit", "transcribe", str(manifest), "-q", "-m", str(model)]
                command += ["-o", str(folder / f"out-{lines}")]
                command += ["--dry-run"] if kind == "dry" else []
                seconds, peak = run([sys.executable, *command])
                first, low = least.setdefault(kind, (lines, peak))
                grown = f"{1e6 * (peak - low) / (lines - first):13.0f}" if lines > first else ""
                print(f"{lines:8} {kind:>5} {seconds:8.1f} {peak:8.0f} {grown:>13}", flush=True)


if __name__ == "__main__":
    main()
