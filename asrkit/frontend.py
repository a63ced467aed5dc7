"""What happens to samples before the model sees them, as preprocessor_config.json says.

Wav2Vec2 and HuBERT take the waveform itself, Speech2Text the log-mel filterbank of Kaldi.

Shapes: T samples, F frames, N samples of a window, K coefficients of its transform, M mel bins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from asrkit.errors import AudioError, CheckpointError

_VARIANCE_FLOOR = 1e-7  # as the reference feature extractor; keeps silence finite

_WINDOW_MS = 25
_SHIFT_MS = 10
_LOWEST_HZ = 20.0
_PREEMPHASIS = 0.97
_INT16_SCALE = 2.0**15  # Kaldi reads 16-bit integers
_ENERGY_FLOOR = np.finfo(np.float32).eps
_SMALLEST_DEVIATION = 1e-5  # log energies that vary less are constant: float32 knows no better
_BLOCK_FRAMES = 128  # what the loop works on stays in the processor's cache
_GROUP_BINS = 16

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class WaveformFrontend:
    """Raw waveforms, normalised or not.

    Attributes:
        sample_rate: samples per second that the model was trained on.
        do_normalize: give each stretch of audio zero mean and unit variance.
    """

    sample_rate: int = 16_000
    do_normalize: bool = True

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> WaveformFrontend:
        """Read a parsed preprocessor_config.json.

        Raises:
            CheckpointError: a value that cannot be honoured.
        """
        if data.get("feature_size", 1) != 1:
            raise CheckpointError(
                f"preprocessor_config.json: feature_size is {data['feature_size']!r}, "
                "expected 1 (raw waveforms)"
            )
        return cls(_sample_rate(data), _flag(data, "do_normalize"))

    def __call__(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Prepare one stretch of audio (T,), before any padding.

        Source: Wav2Vec2FeatureExtractor of transformers: (x - mean) / sqrt(var + 1e-7).
        """
        if not self.do_normalize:
            return samples
        deviation = np.sqrt(samples.var() + np.float32(_VARIANCE_FLOOR))
        normalized: NDArray[np.float32] = (samples - samples.mean()) / deviation
        return normalized


@dataclass(frozen=True)
class FilterbankFrontend:
    """Kaldi's log-mel filterbank, each bin normalised over the utterance.

    Attributes:
        sample_rate: samples per second that the model was trained on.
        num_bins: mel bins a frame.
        normalize_means: give each bin zero mean over the frames.
        normalize_vars: give each bin unit variance over the frames.
    """

    sample_rate: int = 16_000
    num_bins: int = 80
    normalize_means: bool = True
    normalize_vars: bool = True

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FilterbankFrontend:
        """Read a parsed preprocessor_config.json.

        Padding has no say: models take lengths, so what a batch is filled up with never counts.

        Raises:
            CheckpointError: a value that cannot be honoured.
        """
        sample_rate = _sample_rate(data)
        num_bins = data.get("num_mel_bins", cls.num_bins)
        if type(num_bins) is not int or not 1 <= num_bins <= 1024:
            raise _refusal("num_mel_bins", num_bins, "the number of mel bins, such as 80")
        if data.get("feature_size", num_bins) != num_bins:
            raise _refusal("feature_size", data["feature_size"], f"{num_bins}, as num_mel_bins")
        if data.get("dither", 0.0) != 0:
            raise _refusal("dither", data["dither"], "0.0: no noise is added to the samples")
        if not _mel_weights(sample_rate, num_bins).any(axis=0).all():
            fewer = f"fewer mel bins: some are too narrow at {sample_rate} Hz to hold a frequency"
            raise _refusal("num_mel_bins", num_bins, fewer)
        is_normalized = _flag(data, "do_ceptral_normalize")
        means = _flag(data, "normalize_means") and is_normalized
        variances = _flag(data, "normalize_vars") and is_normalized
        return cls(sample_rate, num_bins, means, variances)

    def __call__(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features (F, M) of one utterance (T,), before any padding.

        Raises:
            AudioError: shorter than one window.

        In float64, because bins that hold next to nothing beside loud ones, as in a telephone
        call, would drown in float32's rounding.

        Source: Kaldi's compute-fbank-feats with its defaults, no dither, no energy.
        """
        window = _window(self.sample_rate)  # (N,)
        if len(samples) < len(window):
            raise AudioError(
                f"{len(samples)} samples at {self.sample_rate} Hz are too short, expected at least "
                f"{len(window)}, one window of {_WINDOW_MS} ms",
                hint="leave it out, or pad it with silence",
            )
        transform_size = _transform_size(self.sample_rate)
        filters = _mel_filters(self.sample_rate, self.num_bins)
        shift = self.sample_rate * _SHIFT_MS // 1000
        frames = sliding_window_view(samples, len(window))[::shift]  # (F, N)
        energies = np.empty((len(frames), self.num_bins), np.float32)
        for start in range(0, len(frames), _BLOCK_FRAMES):
            rows = slice(start, start + _BLOCK_FRAMES)
            block = frames[rows].astype(np.float64)
            block -= block.mean(axis=1, keepdims=True)
            block[:, 1:] -= _PREEMPHASIS * block[:, :-1]
            block[:, 0] *= 1 - _PREEMPHASIS
            spectrum = np.fft.rfft(block * window, transform_size)
            power = np.square(spectrum.real) + np.square(spectrum.imag)  # (F, K)
            for bins, coefficients, weights in filters:
                energies[rows, bins] = power[:, coefficients] @ weights
        return self._normalize(np.log(np.maximum(energies, _ENERGY_FLOOR)))

    def batch(self, waveforms: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Features (F, M) of each waveform (T,); nothing is padded."""
        return [self(samples) for samples in waveforms]

    def _normalize(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Cepstral mean and variance normalisation over the frames of one utterance."""
        if self.normalize_means:
            features -= features.mean(axis=0, dtype=np.float64)
        if self.normalize_vars:
            deviation = features.std(axis=0, dtype=np.float64)
            # PARITY: the reference divides by zero where a bin is constant, as in silence, and
            # gives NaN; here such a bin is centred and stays zero.
            features /= np.where(deviation < _SMALLEST_DEVIATION, 1, deviation)
        return features


def frontend_from_dict(data: Mapping[str, Any]) -> WaveformFrontend | FilterbankFrontend:
    """The front end of a parsed preprocessor_config.json, by its feature_extractor_type.

    Raises:
        CheckpointError: of another type, or a value that cannot be honoured.
    """
    kind = data.get("feature_extractor_type", "Wav2Vec2FeatureExtractor")
    if kind == "Wav2Vec2FeatureExtractor":
        return WaveformFrontend.from_dict(data)
    if kind == "Speech2TextFeatureExtractor":
        return FilterbankFrontend.from_dict(data)
    raise _refusal(
        "feature_extractor_type",
        kind,
        "'Wav2Vec2FeatureExtractor' or 'Speech2TextFeatureExtractor'",
    )


def _transform_size(sample_rate: int) -> int:
    """The window's length, rounded up to a power of two."""
    return 1 << (len(_window(sample_rate)) - 1).bit_length()


@lru_cache
def _window(sample_rate: int) -> FloatArray:
    """Kaldi's povey window (N,), times the scale of 16-bit integers."""
    povey: FloatArray = np.hanning(sample_rate * _WINDOW_MS // 1000) ** 0.85
    return _INT16_SCALE * povey


@lru_cache
def _mel_filters(sample_rate: int, num_bins: int) -> list[tuple[slice, slice, FloatArray]]:
    """Kaldi's filters in groups of neighbours: their bins, their coefficients, the weights.

    Most of the whole matrix (K, M) is zero. Its groups are fewer operations, and so small that
    BLAS takes one thread for each: several would wait for each other longer than they work.
    """
    weights = _mel_weights(sample_rate, num_bins)
    filters = []
    for start in range(0, num_bins, _GROUP_BINS):
        bins = slice(start, start + _GROUP_BINS)
        used = np.flatnonzero(weights[:, bins].any(axis=1))
        coefficients = slice(used[0], used[-1] + 1)
        filters.append((bins, coefficients, weights[coefficients, bins]))
    return filters


def _mel_weights(sample_rate: int, num_bins: int) -> FloatArray:
    """Triangles on the mel scale (K, M).

    Source: mel-computations.cc of Kaldi.
    """
    size = _transform_size(sample_rate)
    edges = np.linspace(_mel(_LOWEST_HZ), _mel(sample_rate / 2), num_bins + 2)
    mels = _mel(np.arange(size // 2 + 1) * sample_rate / size)[:, None]  # (K, 1)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]  # (M,)
    rising = (mels - left) / (centre - left)
    falling = (right - mels) / (right - centre)
    weights: FloatArray = np.maximum(0, np.minimum(rising, falling))
    weights[-1] = 0  # Kaldi leaves out the highest frequency
    return weights


def _mel(frequency: Any) -> Any:
    return 1127 * np.log1p(frequency / 700)


def _sample_rate(data: Mapping[str, Any]) -> int:
    sample_rate = data.get("sampling_rate", 16_000)
    if type(sample_rate) is not int or not 1_000 <= sample_rate <= 768_000:
        raise _refusal("sampling_rate", sample_rate, "samples per second, such as 16000")
    return sample_rate


def _flag(data: Mapping[str, Any], name: str) -> bool:
    value = data.get(name, True)
    if type(value) is not bool:
        raise _refusal(name, value, "true or false")
    return value


def _refusal(name: str, value: object, expected: str) -> CheckpointError:
    return CheckpointError(f"preprocessor_config.json: {name} is {value!r}, expected {expected}")
