"""The texts of whole commands beside those of the reference, from the same files and samples."""

from __future__ import annotations

import numpy as np
import pytest

import asrkit
from tests.tiny_writer import tiny_writer

transformers = pytest.importorskip("transformers")
if not transformers.__version__.startswith("5."):
    pytest.skip("Speech2Text is compared with transformers 5", allow_module_level=True)

pytestmark = pytest.mark.parity
RATE = 16_000


@pytest.mark.parametrize("seed", range(12))
def test_speech2text_writes_what_the_reference_writes(seed, tmp_path):
    folder = str(tiny_writer(tmp_path, languages=("pt", "fr"), seed=seed))
    rng = np.random.default_rng(seed)
    samples = rng.normal(0, 0.1, rng.integers(8_000, 48_000)).astype(np.float32)
    processor = transformers.Speech2TextProcessor.from_pretrained(folder)
    model = transformers.Speech2TextForConditionalGeneration.from_pretrained(folder).eval()
    inputs = processor(samples, sampling_rate=RATE, return_tensors="pt")

    for code in ("pt", "fr"):
        language = processor.tokenizer.convert_tokens_to_ids(f"<lang:{code}>")
        ids = model.generate(**inputs, forced_bos_token_id=language)
        (expected,) = processor.batch_decode(ids, skip_special_tokens=True)

        (found,) = asrkit.translate(asrkit.Audio(samples, RATE), folder, target_language=code)

        assert found.text == " ".join(expected.split())
