"""How far aligned words are from where they are: words of espeak-ng with known gaps.

    python tests/benchmarks/bench_boundaries.py [--model demo-en] [--clips 20] [--hour]

Each clip is ten words, spoken one by one, trimmed to what is louder than -35 dB of their peak, and
joined with gaps of 0.08 to 0.5 seconds: the truth is known to a millisecond. With --hour the clips
are tiled to one hour, aligned at once, and compared with the truth and the clips aligned alone.
"""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import soxr

from asrkit.options import AlignOptions, ModelOptions
from asrkit.tasks import align as task
from asrkit.tasks.recognizer import Recognizer
from asrkit.types import Audio, Segment

RATE = 16_000
WORDS = (
    "the house is near garden mother father water morning evening seven eight red green table "
    "window people working station village orange bicycle museum breakfast ready kitchen brother"
).split()
VOICES = ("en-us", "en-gb", "en-us+f3", "en-gb+m3")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="demo-en")
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--hour", action="store_true")
    options = parser.parse_args()
    recognizer = Recognizer.load(ModelOptions(options.model))
    rng = random.Random(0)
    clips = [make_clip(rng, VOICES[index % len(VOICES)]) for index in range(options.clips)]
    alone = [run(recognizer, samples, [text]) for samples, text, _ in clips]
    report("clips", np.concatenate(alone), np.concatenate([truth for _, _, truth in clips]))
    if options.hour:
        hour(recognizer, clips, alone)


def hour(recognizer, clips, alone):
    """Tile the clips to an hour and align it at once."""
    samples, texts, truth, expected, length = [], [], [], [], 0
    while length < 3600 * RATE:
        index = len(texts) % len(clips)
        shift = length / RATE
        samples.append(clips[index][0])
        texts.append(clips[index][1])
        truth.append(clips[index][2] + shift)
        expected.append(alone[index] + shift)
        length += len(clips[index][0])
    seconds = []
    original = task.forced_align

    def timed(*arguments):
        started = time.perf_counter()
        spans = original(*arguments)
        seconds.append(time.perf_counter() - started)
        return spans

    task.forced_align = timed
    audio = np.concatenate(samples)
    started = time.perf_counter()
    found = run(recognizer, audio, texts)
    total = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    report("hour", found, np.concatenate(truth))
    distance = np.abs(found - np.concatenate(expected)) * 1000
    print(
        f"hour: {length / RATE:.0f} s of audio, {len(found)} words; alignment {seconds[0]:.2f} s "
        f"of {total:.0f} s, peak of the process {peak:.0f} MB (sound {audio.nbytes / 2**20:.0f} MB)"
    )
    print(
        f"hour against the clips alone: {np.mean(distance <= 40):.2%} of boundaries within 2 "
        f"frames, mean {distance.mean():.1f} ms, most {distance.max():.0f} ms"
    )


def run(recognizer, samples, texts):
    """(N, 2) starts and ends of all words."""
    lines = tuple(Segment(text, 0.0, 0.0) for text in texts)
    (result,) = task.align_stream(
        [task.TextOf(Audio(samples, RATE), lines)], recognizer, AlignOptions()
    )
    if result.warnings:
        print("warning:", result.warnings)
    words = [word for segment in result.segments for word in segment.words]
    return np.array([(word.start, word.end) for word in words])


def report(name, found, truth):
    error = (found - truth) * 1000
    both = np.abs(error)
    print(
        f"{name}: {len(found)} words, boundaries off by {both.mean():.0f} ms on average, "
        f"90th percentile {np.percentile(both, 90):.0f} ms"
    )
    for index, side in enumerate(("starts", "ends")):
        print(
            f"  {side}: mean {both[:, index].mean():.0f} ms, 90th percentile "
            f"{np.percentile(both[:, index], 90):.0f} ms, bias {error[:, index].mean():+.0f} ms"
        )


def make_clip(rng, voice):
    """Samples, text and (N, 2) true times of ten words."""
    words = rng.sample(WORDS, 10)
    parts, truth, position = [], [], 0
    for word in words:
        gap = np.zeros(int(rng.uniform(0.08, 0.5) * RATE), np.float32)
        sound = trimmed(spoken(word, voice))
        position += len(gap)
        truth.append((position / RATE, (position + len(sound)) / RATE))
        position += len(sound)
        parts += [gap, sound]
    parts.append(np.zeros(RATE // 4, np.float32))
    samples = np.concatenate(parts)
    noise = np.random.default_rng(rng.getrandbits(32)).normal(0, 1e-3, len(samples))
    return (samples + noise).astype(np.float32), " ".join(words), np.array(truth)


def spoken(word, voice):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "word.wav")
        subprocess.run(["espeak-ng", "-v", voice, "-w", str(path), word], check=True)
        samples, rate = soundfile.read(path, dtype="float32")
    return soxr.resample(samples, rate, RATE) * 0.5


def trimmed(samples):
    loud = np.flatnonzero(np.abs(samples) > np.abs(samples).max() * 10 ** (-35 / 20))
    return samples[loud[0] : loud[-1] + 1]


if __name__ == "__main__":
    main()
