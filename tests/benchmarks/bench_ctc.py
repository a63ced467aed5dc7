"""Speed of the CTC beam search: seconds of audio per second, for pyctcdecode and asrkit.

    python tests/benchmarks/bench_ctc.py [--seconds 8] [--repeats 3]

Synthetic emissions of text over a list of 20,000 words, 50 frames per second, in three degrees of
sharpness, with and without a trigram model that `asrkit.ctc.estimate` makes; beam width 100. All
run on the same emissions, one after the other, `repeats` times; the table holds medians. One thread
is measured in processor time, so that a busy machine changes little, two threads by the clock.
Emissions are several clips, so that threads have something to share. The ratio is that of `native`,
one thread, to pyctcdecode.
"""

from __future__ import annotations

import argparse
import logging
import math
import random
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

from asrkit.ctc.alphabet import Alphabet
from asrkit.ctc.beam import BeamDecoder
from asrkit.ctc.estimate import build_directory
from asrkit.ctc.lm import LanguageModel

FRAMES_PER_SECOND = 50
LETTERS = "etaonihsrdlumwcfgypbvk'xjqz"
ALPHABET = Alphabet(("", "<s>", "</s>", "⁇", " ", *LETTERS))
# Added to the score of the right label over unit normal noise.
SHARPNESS = {"peaky": 12.0, "medium": 5.0, "flat": 2.0}
COLUMNS = ("pyctcdecode", "python", "native+kenlm", "native", "2 threads")
NUM_WORDS = 20_000
NUM_CLIPS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=8.0, help="of audio for each cell")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("pyctcdecode").setLevel(logging.ERROR)

    rng = random.Random(0)
    words = _make_words(rng)
    with tempfile.TemporaryDirectory() as directory:
        build_directory(_sentences(rng, words, 20_000), directory, order=3)
        arpa = Path(directory, "lm.arpa")
        line = "{:7} {:10} {:>12}" + " {:>12}" * len(COLUMNS) + " {:>7}"
        print(line.format("level", "model", "labels/frame", *COLUMNS, "ratio"))
        for level, sharpness in SHARPNESS.items():
            clips = _make_clips(rng, words, sharpness, options.seconds)
            for has_lm in (False, True):
                runs = _runs(arpa if has_lm else None)
                _row(line, level, has_lm, clips, runs, options)


def _row(line, level, has_lm, clips, runs, options):
    audio = sum(len(clip) for clip in clips) / FRAMES_PER_SECOND
    times = {name: [] for name in runs}
    texts = {}
    for _ in range(options.repeats):
        for name, run in runs.items():
            clock = time.perf_counter if name == "2 threads" else time.process_time
            run(clips[:1])  # caches of the processor and of Python
            start = clock()
            texts[name] = run(clips)
            times[name].append(clock() - start)
    assert len({tuple(text) for text in texts.values()}) == 1, f"texts differ: {level}"
    speeds = {name: audio / statistics.median(seconds) for name, seconds in times.items()}
    ratio = speeds.get("native", math.nan) / speeds.get("pyctcdecode", math.nan)
    log_probs = np.concatenate([_log_softmax(clip) for clip in clips])
    labels = (log_probs >= -5).sum() / len(log_probs)
    cells = [f"{speeds[name]:.1f}" if name in speeds else "-" for name in COLUMNS]
    name = "20k words" if has_lm else "none"
    print(line.format(level, name, f"{labels:.1f}", *cells, f"{ratio:.0f} x"), flush=True)


def _runs(arpa):
    """What is compared: functions from clips to texts."""
    runs = {}
    try:
        from pyctcdecode.alphabet import Alphabet as ReferenceAlphabet
        from pyctcdecode.decoder import BeamSearchDecoderCTC
        from pyctcdecode.language_model import LanguageModel as ReferenceModel
    except ImportError:
        pass
    else:
        lm = None
        if arpa is not None:
            import kenlm

            unigrams = LanguageModel.from_file(arpa).unigrams
            lm = ReferenceModel(kenlm.Model(str(arpa)), unigrams)
        reference = BeamSearchDecoderCTC(ReferenceAlphabet(list(ALPHABET.labels), False), lm)
        runs["pyctcdecode"] = lambda clips: [reference.decode_beams(c)[0][0] for c in clips]

    lm = None if arpa is None else LanguageModel.from_file(arpa)
    twin = BeamDecoder(ALPHABET, lm=lm, native=False)
    runs["python"] = lambda clips: _texts(twin, clips, 1)
    try:
        native = BeamDecoder(ALPHABET, lm=lm, native=True)
    except ValueError:
        return runs
    if arpa is not None:
        kenlm_model = LanguageModel.from_file(arpa, engine="kenlm")
        with_kenlm = BeamDecoder(ALPHABET, lm=kenlm_model, native=True)
        runs["native+kenlm"] = lambda clips: _texts(with_kenlm, clips, 1)
    runs["native"] = lambda clips: _texts(native, clips, 1)
    runs["2 threads"] = lambda clips: _texts(native, clips, 2)
    return runs


def _texts(decoder, clips, num_threads):
    return [found[0].text for found in decoder.decode_batch(clips, num_threads=num_threads)]


def _make_words(rng):
    words = set()
    while len(words) < NUM_WORDS:
        words.add("".join(rng.choices(LETTERS, range(len(LETTERS), 0, -1), k=rng.randint(1, 10))))
    return sorted(words)


def _sentences(rng, words, num):
    words = rng.sample(words, len(words))
    weights = [1 / (rank + 10) for rank in range(len(words))]
    for _ in range(num):
        yield " ".join(rng.choices(words, weights, k=rng.randint(3, 12)))
    for start in range(0, len(words), 10):
        yield " ".join(words[start : start + 10])


def _make_clips(rng, words, sharpness, seconds):
    noise = np.random.default_rng(rng.getrandbits(32))
    num_frames = int(seconds * FRAMES_PER_SECOND / NUM_CLIPS)
    clips = []
    for _ in range(NUM_CLIPS):
        path = []
        while len(path) < num_frames:
            for letter in rng.choice(words) + " ":
                path += [ALPHABET.labels.index(letter)] * rng.choice([1, 1, 2])
                path += [0] * rng.choice([0, 1, 2, 3])
        logits = noise.normal(size=(num_frames, len(ALPHABET.labels)))
        logits[np.arange(num_frames), path[:num_frames]] += sharpness
        clips.append(logits.astype(np.float32))
    return clips


def _log_softmax(logits):
    logits = logits - logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


if __name__ == "__main__":
    main()
