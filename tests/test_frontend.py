"""What happens to samples before the model."""

from __future__ import annotations

import numpy as np
import pytest

from asrkit.errors import CheckpointError
from asrkit.frontend import WaveformFrontend


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
