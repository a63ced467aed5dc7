"""Time and peak memory of `asrkit transcribe` on 3 minutes and on 3 hours of the same speech.

    python tests/benchmarks/bench_long_file.py [CLIP] [--model SOURCE]

The clip is repeated; each run is a process of its own, whose peak resident size the system reports.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import soundfile

CLIP = Path(__file__).parents[2] / "examples/audio/two-minutes.mp3"


def tile(clip: Path, seconds: float, path: Path) -> None:
    """Write `clip` again and again until there are so many seconds."""
    samples, rate = soundfile.read(clip, dtype="float32", always_2d=True)
    left = round(seconds * rate)
    with soundfile.SoundFile(path, "w", rate, samples.shape[1]) as file:
        while left > 0:
            file.write(samples[:left])
            left -= len(samples)


def run(path: Path, model: list[str]) -> tuple[float, float, int]:
    """Seconds, peak MB and words of one run."""
    command = [sys.executable, "-m", "asrkit", "transcribe", str(path), "-q", *model]
    start = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        text = process.stdout.read()  # type: ignore[union-attr]
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    scale = 1e6 if sys.platform == "darwin" else 1e3  # bytes there, kilobytes elsewhere
    return time.monotonic() - start, usage.ru_maxrss / scale, len(text.split())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", nargs="?", type=Path, default=CLIP)
    parser.add_argument("--model", help="instead of the embedded one")
    arguments = parser.parse_args()
    model = ["-m", arguments.model] if arguments.model else []
    print(f"{'audio':>8} {'words':>7} {'time s':>8} {'x real time':>12} {'peak MB':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for name, seconds in (("3 min", 180), ("3 h", 10_800)):
            path = Path(folder) / "long.wav"
            tile(arguments.clip, seconds, path)
            elapsed, peak, words = run(path, model)
            speed = seconds / elapsed
            print(f"{name:>8} {words:7} {elapsed:8.1f} {speed:12.0f} {peak:8.0f}", flush=True)


if __name__ == "__main__":
    main()
