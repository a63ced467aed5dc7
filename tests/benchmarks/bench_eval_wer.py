"""Time and memory of `eval-wer` beside jiwer alone, each in a process of its own on one core.

    python -m tests.benchmarks.bench_eval_wer [--pairs 100000 1000000] [--runs eval-wer jiwer ...]

Pairs have 15 words each, of which one in ten is wrong. `jiwer` is `jiwer.process_words` and
`jiwer.process_characters` of all pairs at once, without reading files, intervals or confusions.
Memory is the peak of the process.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORDS = 15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, nargs="+", default=[100_000])
    parser.add_argument("--runs", nargs="+", default=list(RUNS))
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        run_child(*options.child)
        return
    print(f"{'pairs':>9} {'run':<24} {'CPU s':>7} {'peak MB':>8}")
    for pairs in options.pairs:
        with tempfile.TemporaryDirectory() as folder:
            write_corpus(Path(folder), pairs)
            for name in options.runs:
                command = [sys.executable, "-m", "tests.benchmarks.bench_eval_wer"]
                done = subprocess.run(
                    [*command, "--child", name, folder], capture_output=True, text=True, check=True
                )
                seconds, megabytes = done.stdout.split()[-2:]
                print(f"{pairs:>9} {name:<24} {seconds:>7} {megabytes:>8}", flush=True)


def write_corpus(folder: Path, pairs: int) -> None:
    """References and two systems, with ids."""
    rng = random.Random(0)
    letters = "etaoinshrdlu"
    words = ["".join(rng.choices(letters, k=rng.randint(1, 9))) for _ in range(20_000)]
    files = [open(folder / name, "w") for name in ("ref.txt", "hyp.txt", "other.txt")]  # noqa: SIM115
    for number in range(pairs):
        said = rng.choices(words, k=WORDS)
        texts = [said, heard(said, words, rng), heard(said, words, rng)]
        for file, text in zip(files, texts, strict=True):
            file.write(f"utt{number:07} {' '.join(text)}\n")
    for file in files:
        file.close()


def heard(said: list[str], words: list[str], rng: random.Random) -> list[str]:
    """3 % deleted, 5 % substituted, 2 % inserted."""
    text = []
    for word in said:
        chance = rng.random()
        if chance >= 0.03:
            text.append(rng.choice(words) if chance < 0.08 else word)
        if chance > 0.98:
            text.append(rng.choice(words))
    return text


def run_child(name: str, folder: str) -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    started = time.process_time()
    RUNS[name](Path(folder))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{time.process_time() - started:.1f} {peak}")


def eval_wer(*options: str, systems: int = 1):
    """The whole command, from files to its report."""

    def run(folder: Path) -> None:
        from asrkit.cli.app import app

        hypotheses = [str(folder / name) for name in ("hyp.txt", "other.txt")[:systems]]
        arguments = ["eval-wer", str(folder / "ref.txt"), *hypotheses, *options]
        app(arguments, standalone_mode=False)

    return run


def jiwer_alone(folder: Path) -> None:
    import jiwer

    said, heard = (
        [line.partition(" ")[2] for line in (folder / name).read_text().splitlines()]
        for name in ("ref.txt", "hyp.txt")
    )
    jiwer.process_words(said, heard)
    jiwer.process_characters(said, heard)


RUNS = {
    "jiwer": jiwer_alone,
    "eval-wer": eval_wer(),
    "eval-wer --bootstrap 0": eval_wer("--bootstrap", "0"),
    "eval-wer -n basic": eval_wer("-n", "basic"),
    "eval-wer, two systems": eval_wer(systems=2),
    "eval-wer -f json": eval_wer("-f", "json"),
}


if __name__ == "__main__":
    main()
