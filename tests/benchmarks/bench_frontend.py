"""The filterbank against transformers' extractor and kaldi-native-fbank.

    pip install transformers kaldi-native-fbank
    python tests/benchmarks/bench_frontend.py

transformers takes torchaudio where it is installed, and numpy otherwise; both are shown where both
can run. Each does the same work: filterbank and normalisation of every clip. Runs alternate; the
table shows medians, and how many times asrkit is as fast.
"""

from __future__ import annotations

import importlib
import logging
import statistics
import time
from collections.abc import Callable

import kaldi_native_fbank as knf
import numpy as np
from transformers.models.speech_to_text import feature_extraction_speech_to_text as reference

from asrkit.frontend import FilterbankFrontend

REPEATS = 15
CLIPS = {"one clip of 10 s": [10.0], "32 clips of 1 to 8 s": list(np.linspace(1, 8, 32)),
         "one clip of 10 min": [600.0]}  # fmt: skip


def kaldi(waveforms: list[np.ndarray]) -> list[np.ndarray]:
    options = knf.FbankOptions()
    options.frame_opts.dither = 0
    options.mel_opts.num_bins = 80
    results = []
    for samples in waveforms:
        computer = knf.OnlineFbank(options)
        computer.accept_waveform(16_000, samples * 2**15)
        computer.input_finished()
        frames = np.stack([computer.get_frame(i) for i in range(computer.num_frames_ready)])
        results.append((frames - frames.mean(axis=0)) / frames.std(axis=0))
    return results


def transformers_with(has_torchaudio: bool) -> Callable[[list[np.ndarray]], object]:
    reference.is_speech_available = lambda: has_torchaudio
    if has_torchaudio:
        reference.torch = importlib.import_module("torch")
        reference.ta_kaldi = importlib.import_module("torchaudio.compliance.kaldi")
    extractor = reference.Speech2TextFeatureExtractor()

    def extract(waveforms: list[np.ndarray]) -> object:
        reference.is_speech_available = lambda: has_torchaudio
        return extractor(waveforms, sampling_rate=16_000)

    return extract


def contestants() -> dict[str, Callable[[list[np.ndarray]], object]]:
    found = {
        "asrkit": FilterbankFrontend().batch,
        "transformers, numpy": transformers_with(has_torchaudio=False),
    }
    try:
        found["transformers, torchaudio"] = transformers_with(has_torchaudio=True)
    except (ImportError, OSError) as error:
        print(f"without torchaudio: {error}")
    return found | {"kaldi-native-fbank": kaldi}


def main() -> None:
    logging.disable(logging.WARNING)
    rng = np.random.default_rng(0)
    rivals = contestants()
    print(f"{'':22} {'':26} {'median ms':>10} {'asrkit is':>10}")
    for name, seconds in CLIPS.items():
        waveforms = [
            rng.normal(0, 0.1, int(duration * 16_000)).astype(np.float32) for duration in seconds
        ]
        times: dict[str, list[float]] = {rival: [] for rival in rivals}
        for _ in range(REPEATS):
            for rival, extract in rivals.items():
                start = time.perf_counter()
                extract(waveforms)
                times[rival].append(1000 * (time.perf_counter() - start))
        own = statistics.median(times["asrkit"])
        for rival, values in times.items():
            median = statistics.median(values)
            print(f"{name:22} {rival:26} {median:10.1f} {median / own:9.1f}x")


if __name__ == "__main__":
    main()
