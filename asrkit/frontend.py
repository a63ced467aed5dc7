"""What happens to samples before the model sees them, as preprocessor_config.json says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asrkit.errors import CheckpointError

_VARIANCE_FLOOR = 1e-7  # as the reference feature extractor; keeps silence finite


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
        sample_rate = data.get("sampling_rate", cls.sample_rate)
        do_normalize = data.get("do_normalize", cls.do_normalize)
        if type(sample_rate) is not int or not 1_000 <= sample_rate <= 768_000:
            raise CheckpointError(
                f"preprocessor_config.json: sampling_rate is {sample_rate!r}, "
                "expected samples per second, such as 16000"
            )
        if type(do_normalize) is not bool:
            raise CheckpointError(
                f"preprocessor_config.json: do_normalize is {do_normalize!r}, "
                "expected true or false"
            )
        return cls(sample_rate, do_normalize)

    def __call__(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Prepare one stretch of audio (T,), before any padding.

        Source: Wav2Vec2FeatureExtractor of transformers: (x - mean) / sqrt(var + 1e-7).
        """
        if not self.do_normalize:
            return samples
        deviation = np.sqrt(samples.var() + np.float32(_VARIANCE_FLOOR))
        normalized: NDArray[np.float32] = (samples - samples.mean()) / deviation
        return normalized
