"""Checkpoints converted: the same numbers come out, and hostile files go nowhere."""

from __future__ import annotations

import numpy as np
import pytest

import asrkit
from asrkit.models.runtime import probe
from asrkit.models.speech_to_text import Speech2TextForConditionalGeneration
from asrkit.options import ModelOptions
from asrkit.tasks.convert_checkpoint import convert_checkpoint
from tests import originals


def model_input(model: object) -> np.ndarray:
    """Half a second of samples, or features."""
    is_text = isinstance(model, Speech2TextForConditionalGeneration)
    shape = (50, 80) if is_text else (8000,)
    return np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)


@pytest.mark.parametrize("name", originals.BUILDERS)
def test_original_gives_the_numbers_of_the_model_in_it(tmp_path, name):
    original = originals.build(name, tmp_path)
    values = model_input(original.model)

    convert_checkpoint(tmp_path / "out", ModelOptions(str(original.path)), original.options)
    found = probe(asrkit.load_model(str(tmp_path / "out")), values)

    expected = probe(original.model, values)
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-5)
