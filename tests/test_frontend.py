"""What happens to samples before the model."""

from __future__ import annotations

import cmath
import math

import numpy as np
import pytest

from asrkit.errors import AudioError, CheckpointError
from asrkit.frontend import FilterbankFrontend, WaveformFrontend, frontend_from_dict

RAW = FilterbankFrontend(normalize_means=False, normalize_vars=False)
LOG_FLOOR = -15.942385  # of 2^-23


def noise(num_samples: int) -> np.ndarray:
    """(T,) in [-1, 1]."""
    return np.random.default_rng(num_samples).uniform(-1, 1, num_samples).astype(np.float32)


def test_normalised_samples_have_zero_mean_and_unit_variance():
    samples = np.array([1.0, 2.0, 3.0, 4.0], dtype=np.float32)

    found = WaveformFrontend()(samples)

    assert found.dtype == np.float32
    assert found == pytest.approx(np.array([-1.5, -0.5, 0.5, 1.5]) / 1.25**0.5, abs=1e-6)


def test_silence_stays_silence():
    assert WaveformFrontend()(np.zeros(100, np.float32)).tolist() == [0.0] * 100


def test_samples_pass_unchanged_where_the_model_wants_them_raw():
    samples = np.array([0.5, -0.5], dtype=np.float32)

    assert WaveformFrontend.from_dict({"do_normalize": False})(samples) is samples


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ({"feature_size": 80}, "feature_size"),
        ({"sampling_rate": "16k"}, "sampling_rate"),
        ({"sampling_rate": 0}, "sampling_rate"),
        ({"do_normalize": 1}, "do_normalize"),
    ],
)
def test_value_that_cannot_be_honoured_is_refused_by_name(data, name):
    with pytest.raises(CheckpointError, match=name):
        WaveformFrontend.from_dict(data)


@pytest.mark.parametrize(
    ("num_samples", "num_frames"), [(400, 1), (559, 1), (560, 2), (16_000, 98), (160_000, 998)]
)
def test_frame_begins_every_160_samples_and_holds_400(num_samples, num_frames):
    assert FilterbankFrontend()(noise(num_samples)).shape == (num_frames, 80)


def test_frames_of_other_rates_and_bins():
    # 25 ms and 10 ms of 8000 Hz are 200 and 80 samples: 1 + (8000 - 200) // 80.
    assert FilterbankFrontend(8_000, 23)(noise(8_000)).shape == (98, 23)


@pytest.mark.parametrize("hertz", [250, 1_000, 4_000, 7_000])
def test_tone_is_loudest_in_the_bin_around_it(hertz):
    tone = np.sin(2 * np.pi * hertz * np.arange(4_000) / 16_000).astype(np.float32)
    lowest, highest, mel = (1127 * math.log(1 + f / 700) for f in (20, 8_000, hertz))
    # Bin m is the triangle around lowest + (m + 1) (highest - lowest) / 81.
    centre = 81 * (mel - lowest) / (highest - lowest) - 1

    features = RAW(tone)

    assert set(features.argmax(axis=1)) <= {math.floor(centre), math.ceil(centre)}


def by_the_book(samples: np.ndarray, rate: int, num_bins: int) -> list[list[float]]:
    """Log-mel energies by loops, straight from Kaldi's description."""
    window, shift, size = rate // 40, rate // 100, 1
    while size < window:
        size *= 2
    low, high = (1127 * math.log(1 + f / 700) for f in (20, rate / 2))
    width = (high - low) / (num_bins + 1)
    features = []
    for start in range(0, len(samples) - window + 1, shift):
        frame = [32768 * float(x) for x in samples[start : start + window]]
        mean = sum(frame) / window
        frame = [x - mean for x in frame]
        frame = [x - 0.97 * frame[max(n - 1, 0)] for n, x in enumerate(frame)]
        frame = [
            x * (0.5 - 0.5 * math.cos(2 * math.pi * n / (window - 1))) ** 0.85
            for n, x in enumerate(frame)
        ]
        energies = [0.0] * num_bins
        for k in range(size // 2):
            turn = cmath.exp(-2j * math.pi * k / size)
            power = abs(sum(x * turn**n for n, x in enumerate(frame))) ** 2
            mel = 1127 * math.log(1 + k * rate / size / 700)
            for m in range(num_bins):
                distance = abs(mel - (low + (m + 1) * width))
                energies[m] += power * max(0.0, 1 - distance / width)
        features.append([math.log(max(energy, 2**-23)) for energy in energies])
    return features


@pytest.mark.parametrize(("rate", "num_bins"), [(16_000, 40), (8_000, 23), (11_000, 30)])
def test_filterbank_equals_a_transform_by_the_book(rate, num_bins):
    samples = noise(rate // 40 + rate // 100) * np.linspace(0, 1, rate // 40 + rate // 100)

    found = FilterbankFrontend(rate, num_bins, False, False)(samples.astype(np.float32))

    assert found.dtype == np.float32
    assert found == pytest.approx(np.array(by_the_book(samples, rate, num_bins)), abs=2e-5)


def test_features_do_not_depend_on_the_frames_beside_them():
    samples = noise(16_000 * 5)

    late = RAW(samples[160 * 300 :])

    assert RAW(samples)[300:] == pytest.approx(late, abs=1e-6)


def test_normalised_bins_have_zero_mean_and_unit_variance():
    features = FilterbankFrontend()(noise(16_000))

    assert features.mean(axis=0) == pytest.approx(np.zeros(80), abs=1e-6)
    assert features.std(axis=0) == pytest.approx(np.ones(80), abs=1e-6)


def test_means_and_variances_are_normalised_each_for_itself():
    samples = noise(16_000)
    raw = RAW(samples)

    centred = FilterbankFrontend(normalize_vars=False)(samples)
    scaled = FilterbankFrontend(normalize_means=False)(samples)

    assert centred == pytest.approx(raw - raw.mean(axis=0), abs=1e-5)
    assert scaled == pytest.approx(raw / raw.std(axis=0), rel=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.3, -1.0])
@pytest.mark.parametrize("num_samples", [400, 16_000, 160_000])
def test_constant_samples_have_features_of_zero(value, num_samples):
    features = FilterbankFrontend()(np.full(num_samples, value, np.float32))

    assert not features.any()


def test_silence_without_normalisation_is_the_floor():
    assert RAW(np.zeros(800, np.float32)) == pytest.approx(np.full((3, 80), LOG_FLOOR), abs=1e-5)


def test_less_than_a_window_is_an_error_with_both_lengths():
    with pytest.raises(AudioError, match=r"399 samples .* at least 400") as caught:
        FilterbankFrontend()(noise(399))

    assert caught.value.hint


def test_batch_gives_what_each_waveform_gets_alone():
    waveforms = [noise(num_samples) for num_samples in (400, 16_000, 48_001)]

    features = FilterbankFrontend().batch(waveforms)

    for found, samples in zip(features, waveforms, strict=True):
        assert np.array_equal(found, FilterbankFrontend()(samples))


def test_samples_are_left_as_they_were():
    samples = noise(4_000)
    before = samples.copy()

    FilterbankFrontend()(samples)

    assert np.array_equal(samples, before)


def test_published_config_is_the_default():
    config = {
        "do_ceptral_normalize": True,
        "feature_extractor_type": "Speech2TextFeatureExtractor",
        "feature_size": 80,
        "normalize_means": True,
        "normalize_vars": True,
        "num_mel_bins": 80,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": True,
        "sampling_rate": 16000,
    }

    assert frontend_from_dict(config) == FilterbankFrontend()


def test_type_of_the_front_end_is_the_waveform_where_none_is_named():
    assert frontend_from_dict({"do_normalize": False}) == WaveformFrontend(do_normalize=False)


def test_no_normalisation_at_all_is_one_switch():
    assert FilterbankFrontend.from_dict({"do_ceptral_normalize": False}) == RAW


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"num_mel_bins": "80"}, "num_mel_bins is '80'"),
        ({"num_mel_bins": 0}, "num_mel_bins is 0"),
        ({"num_mel_bins": True}, "num_mel_bins is True"),
        ({"num_mel_bins": 200}, "num_mel_bins is 200, expected fewer"),
        ({"num_mel_bins": 128, "sampling_rate": 8_000}, "num_mel_bins is 128, expected fewer"),
        ({"feature_size": 40}, "feature_size is 40, expected 80"),
        ({"sampling_rate": 16_000.0}, "sampling_rate is 16000.0"),
        ({"dither": 1.0}, "dither is 1.0"),
        ({"dither": "none"}, "dither is 'none'"),
        ({"do_ceptral_normalize": 1}, "do_ceptral_normalize is 1"),
        ({"normalize_means": "yes"}, "normalize_means is 'yes'"),
        ({"normalize_vars": None}, "normalize_vars is None"),
        ({"feature_extractor_type": "WhisperFeatureExtractor"}, "'WhisperFeatureExtractor'"),
    ],
)
def test_filterbank_that_cannot_be_honoured_is_refused_by_name_and_value(data, message):
    data = {"feature_extractor_type": "Speech2TextFeatureExtractor", **data}

    with pytest.raises(CheckpointError, match=message):
        frontend_from_dict(data)
