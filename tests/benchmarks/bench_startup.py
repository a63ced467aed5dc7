"""Start-up: `asrkit --help` and `asrkit transcribe --help` against a bare Typer app.

    python tests/benchmarks/bench_startup.py

Runs alternate; the table shows the median and the smallest of each.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BARE = """
import typer
app = typer.Typer()
@app.callback()
def main(): "A bare app."
@app.command()
def transcribe(name: str = "a", count: int = 1): "A bare command."
app()
"""
REPEATS = 15


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.py"
        bare.write_text(BARE)
        commands = {
            "bare --help": [str(bare), "--help"],
            "asrkit --help": ["-m", "asrkit", "--help"],
            "bare transcribe --help": [str(bare), "transcribe", "--help"],
            "asrkit transcribe --help": ["-m", "asrkit", "transcribe", "--help"],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(REPEATS):
            for name, command in commands.items():
                start = time.perf_counter()
                subprocess.run([sys.executable, *command], stdout=subprocess.DEVNULL, check=True)
                times[name].append(1000 * (time.perf_counter() - start))
    print(f"{'command':26} {'median ms':>10} {'min ms':>8}")
    for name, values in times.items():
        print(f"{name:26} {statistics.median(values):10.0f} {min(values):8.0f}")


if __name__ == "__main__":
    main()
