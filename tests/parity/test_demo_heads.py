"""The embedded classifier and speaker model, loaded by the reference: the same numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import asrkit
from asrkit.checkpoint import embedded_models
from asrkit.options import DEMO_KEYWORDS, DEMO_SPEAKER, ModelOptions
from asrkit.tasks.classify import Classifier
from asrkit.tasks.embed import Embedder

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.parity

EXAMPLES = Path(__file__).parents[2] / "examples"


def clips(folder: str) -> list[np.ndarray]:
    return [asrkit.read_audio(path).samples for path in sorted((EXAMPLES / folder).iterdir())]


def of_reference(name: str, kind: str, samples: list[np.ndarray]):
    """What the reference gives for a padded batch; refuses weights that are missing or left."""
    folder = embedded_models()[name]
    model, loading = getattr(transformers, kind).from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    assert not any(loading.values())
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    with torch.inference_mode():
        return model.eval()(
            **extractor(samples, sampling_rate=16000, padding=True, return_tensors="pt")
        )


@pytest.mark.parametrize("together", [False, True])
def test_demo_keywords_gives_the_reference_logits(together):
    classifier = Classifier.load(ModelOptions(model=DEMO_KEYWORDS))

    for samples in [clips("keywords")] if together else [[clip] for clip in clips("keywords")]:
        expected = of_reference(DEMO_KEYWORDS, "AutoModelForAudioClassification", samples).logits
        found = classifier.logits([classifier.frontend(clip) for clip in samples])
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("together", [False, True])
def test_demo_speaker_gives_the_reference_embeddings(together):
    embedder = Embedder.load(ModelOptions(model=DEMO_SPEAKER))

    for samples in [clips("speakers")] if together else [[clip] for clip in clips("speakers")]:
        expected = of_reference(DEMO_SPEAKER, "AutoModelForAudioXVector", samples).embeddings
        audio = [asrkit.Audio(clip, 16000) for clip in samples]
        found = asrkit.embed(audio, embedder, batch_size=len(audio))
        np.testing.assert_allclose([item.vector for item in found], expected, atol=1e-4)
