"""The filterbank against transformers and kaldi-native-fbank, on recordings.

ASRKIT_TEST_SPEECH names a directory with recordings of your own to compare on as well.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.parity
transformers = pytest.importorskip("transformers")
knf = pytest.importorskip("kaldi_native_fbank")

import asrkit  # noqa: E402
from asrkit.frontend import FilterbankFrontend  # noqa: E402

ROOT = Path(__file__).parents[2]
FOLDERS = [ROOT / "examples" / "audio", *map(Path, filter(None, [os.getenv("ASRKIT_TEST_SPEECH")]))]
CLIPS = sorted(
    path
    for folder in FOLDERS
    for path in folder.iterdir()
    if path.suffix in {".wav", ".flac", ".mp3", ".ogg"}
)
SETTINGS = [(16_000, 80), (16_000, 24), (8_000, 40), (11_025, 23), (44_100, 128)]


def read(path: Path, sample_rate: int = 16_000) -> np.ndarray:
    return asrkit.read_audio(path, sample_rate=sample_rate).samples


def kaldi(samples: np.ndarray, sample_rate: int, num_bins: int) -> np.ndarray:
    """Log-mel energies (F, M)."""
    options = knf.FbankOptions()
    options.frame_opts.dither = 0
    options.frame_opts.samp_freq = sample_rate
    options.mel_opts.num_bins = num_bins
    computer = knf.OnlineFbank(options)
    computer.accept_waveform(sample_rate, samples * 2**15)
    computer.input_finished()
    return np.stack([computer.get_frame(i) for i in range(computer.num_frames_ready)])


@pytest.mark.parametrize("path", CLIPS, ids=lambda path: path.name)
def test_features_are_those_of_transformers(path):
    samples = read(path)
    extractor = transformers.Speech2TextFeatureExtractor()
    (expected,) = extractor(samples, sampling_rate=16_000, return_tensors="np")["input_features"]

    found = FilterbankFrontend.from_dict(extractor.to_dict())(samples)

    assert found.dtype == expected.dtype
    # Through torchaudio, where that is installed, it computes in float32, otherwise in float64.
    assert found == pytest.approx(expected, abs=1e-3 if hasattr(extractor, "mel_filters") else 5e-2)


@pytest.mark.parametrize(("means", "variances"), [(True, False), (False, True), (False, False)])
def test_normalisation_is_that_of_transformers(means, variances):
    samples = read(CLIPS[0])
    extractor = transformers.Speech2TextFeatureExtractor(
        feature_size=24, num_mel_bins=24, normalize_means=means, normalize_vars=variances
    )
    (expected,) = extractor(samples, sampling_rate=16_000, return_tensors="np")["input_features"]

    found = FilterbankFrontend.from_dict(extractor.to_dict())(samples)

    assert found == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(("sample_rate", "num_bins"), SETTINGS)
@pytest.mark.parametrize("path", CLIPS, ids=lambda path: path.name)
def test_energies_are_those_of_kaldi(path, sample_rate, num_bins):
    samples = read(path, sample_rate)
    expected = kaldi(samples, sample_rate, num_bins)
    # Kaldi computes in float32, whose rounding is all there is in bins 60 dB below the loudest.
    is_heard = expected > expected.max(axis=1, keepdims=True) - 6 * np.log(10)

    found = FilterbankFrontend(sample_rate, num_bins, False, False)(samples)

    assert found.shape == expected.shape
    assert found[is_heard] == pytest.approx(expected[is_heard], abs=1e-3)
