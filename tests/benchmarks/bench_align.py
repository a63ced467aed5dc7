"""Time and memory of CTC forced alignment: asrkit, torchaudio and ctc-segmentation.

    python tests/benchmarks/bench_align.py [--minutes 1 10 60] [--limit-gb 4] [--limit-s 120]

Synthetic emissions, 50 frames per second and 12 letters per second, of a model that hears one
frame in ten wrong; the same for all. `wrong text` gives the letters of another hour, the worst case
for a search in bands. Every run is a process of its own; its memory is what the call adds to the
peak of the process. "-" is a package that is not installed; a run that needs more than the limits
says so. ctc-segmentation aligns utterances of 40 letters, as it is meant to be used, and in a
window, so it need not find the best path.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np

FRAMES_PER_MINUTE = 3000
WIDTH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 10, 60])
    parser.add_argument("--limit-gb", type=float, default=4.0)
    parser.add_argument("--limit-s", type=float, default=120.0)
    parser.add_argument("--runs", nargs="+", default=list(RUNS))
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        run_child(options.child[0], float(options.child[1]), options.child[2] == "wrong")
        return
    print(f"{'minutes':>8} {'text':>6} " + " ".join(f"{name:>22}" for name in options.runs))
    for minutes in options.minutes:
        for text in ("right", "wrong"):
            cells = [measure(name, minutes, text, options) for name in options.runs]
            line = " ".join(f"{cell:>22}" for cell in cells)
            print(f"{minutes:>8g} {text:>6} {line}", flush=True)


def measure(name, minutes, text, options):
    """One run in a process of its own."""
    command = [sys.executable, __file__, "--child", name, str(minutes), text]
    num_bytes = int(options.limit_gb * 2**30)
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=options.limit_s,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (num_bytes, num_bytes)),
        )
    except subprocess.TimeoutExpired:
        return f"over {options.limit_s:g} s"
    if done.returncode:
        if "ModuleNotFoundError" in done.stderr or "Could not load" in done.stderr:
            return "-"
        return f"over {options.limit_gb:g} GB" if is_memory(done) else "failed"
    found = json.loads(done.stdout.splitlines()[-1])
    return f"{found['seconds']:.2f} s {found['megabytes']:.0f} MB"


def is_memory(done):
    return done.returncode < 0 or "alloc" in done.stderr or "MemoryError" in done.stderr


def run_child(name, minutes, is_wrong):
    log_probs, tokens = emissions(int(minutes * FRAMES_PER_MINUTE), seed=0)
    if is_wrong:
        tokens = emissions(len(log_probs), seed=1)[1][: len(tokens)]
    run = RUNS[name](log_probs, tokens)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    run()
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"seconds": seconds, "megabytes": (after - before) / 1024}))


def emissions(num_frames, *, seed):
    """(F, V) log-probabilities of random letters, and the letters."""
    rng = np.random.default_rng(seed)
    tokens = []
    said = np.zeros(num_frames, int)
    frame = 0
    while frame < num_frames - 12:
        frame += int(rng.integers(0, 4))
        length = int(rng.integers(1, 3))
        tokens.append(int(rng.integers(4, WIDTH)))
        said[frame : frame + length] = tokens[-1]
        frame += length + 1
    scores = rng.normal(0, 1, (num_frames, WIDTH)).astype(np.float32)
    scores[:, 0] += 6
    scores[np.arange(num_frames), said] += 8
    misheard = np.flatnonzero(rng.random(num_frames) < 0.1)
    scores[misheard, rng.integers(0, WIDTH, len(misheard))] += 9
    scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return scores, np.array(tokens, np.int32)


def asrkit_native(log_probs, tokens):
    from asrkit.ctc import align

    if align._native is None:
        raise ModuleNotFoundError("built without a compiler")
    return lambda: align.forced_align(log_probs, tokens, 0)


def asrkit_numpy(log_probs, tokens):
    from asrkit.ctc import align

    align._native = None
    return lambda: align.forced_align(log_probs, tokens, 0)


def torchaudio(log_probs, tokens):
    import torch
    from torchaudio.functional import forced_align

    scores, targets = torch.from_numpy(log_probs)[None], torch.from_numpy(tokens)[None]
    return lambda: forced_align(scores, targets, blank=0)


def ctc_segmentation(log_probs, tokens):
    from ctc_segmentation import CtcSegmentationParameters, prepare_token_list
    from ctc_segmentation import ctc_segmentation as segment

    config = CtcSegmentationParameters(char_list=[str(index) for index in range(WIDTH)])
    config.index_duration = 0.02
    utterances = np.split(tokens.astype(np.int64), np.arange(40, len(tokens), 40))
    matrix, _ = prepare_token_list(config, utterances)
    return lambda: segment(config, log_probs, matrix)


RUNS = {
    "asrkit": asrkit_native,
    "asrkit in NumPy": asrkit_numpy,
    "torchaudio": torchaudio,
    "ctc-segmentation": ctc_segmentation,
}

if __name__ == "__main__":
    main()
