"""The embedded speaker model on the example clips, and the people it was made of."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import asrkit
from asrkit.checkpoint import embedded_models
from asrkit.options import DEMO_SPEAKER, ModelOptions
from asrkit.tasks.embed import Embedder
from asrkit.verification import cosine, read_trials

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import demo_speakers as speakers
import torch
import train_demo_speaker as recipe

EXAMPLES = Path(speakers.__file__).parent


@pytest.fixture(scope="module")
def embedder():
    return Embedder.load(ModelOptions(model=DEMO_SPEAKER))


@pytest.fixture(scope="module")
def trials():
    return read_trials(EXAMPLES / "trials.txt")


@pytest.fixture(scope="module")
def vectors(embedder, trials):
    names = sorted({name for trial in trials for name in (trial.enroll, trial.test)})
    results = asrkit.embed([EXAMPLES / name for name in names], embedder)
    return {name: result.vector for name, result in zip(names, results, strict=True)}


def test_the_trials_name_every_speaker_clip(vectors):
    assert set(vectors) == {f"speakers/{path.name}" for path in (EXAMPLES / "speakers").iterdir()}


def test_one_voice_is_more_like_itself_than_like_any_other(vectors, trials):
    scores = {True: [], False: []}

    for trial in trials:
        scores[trial.is_target].append(cosine(vectors[trial.enroll], vectors[trial.test]))

    assert min(scores[True]) > max(scores[False])


def test_clips_of_a_batch_embed_as_they_do_alone(embedder):
    clips = [asrkit.read_audio(path) for path in sorted((EXAMPLES / "speakers").iterdir())]
    shorter = [
        asrkit.Audio(clip.samples[: 20_000 + 1000 * number], clip.sample_rate)
        for number, clip in enumerate(clips)
    ]

    together = asrkit.embed(shorter, embedder, batch_size=len(shorter))

    for clip, result in zip(shorter, together, strict=True):
        (alone,) = asrkit.embed(clip, embedder)
        np.testing.assert_allclose(alone.vector, result.vector, atol=1e-4)


def test_embedded_speaker_model_is_small():
    folder = embedded_models()[DEMO_SPEAKER]

    assert sum(path.stat().st_size for path in folder.rglob("*")) <= 2_000_000


def test_no_voice_of_the_trials_is_heard_in_training():
    heard = {person.voice.name.partition("+")[2] for person in speakers.training_people()}
    measured = {
        person.voice.name.partition("+")[2]
        for people in speakers.held_out_people().values()
        for person in people
    }

    assert len(measured) == 18
    assert not heard & measured


def test_people_differ_from_one_another():
    people = speakers.training_people()

    assert len(set(people)) == len(people)


def test_folding_the_batch_norm_changes_no_embedding():
    learner = recipe.build_learner(4, start="demo-keywords", seed=0)
    values, labels = torch.randn(4, 8000), torch.tensor([0, 0, 1, 1])

    class Batches:
        def draw(self, progress):
            return values, labels

    folded = recipe.fold_norm(learner.state_dict(), Batches())

    with torch.inference_mode():
        expected = learner(values, labels=labels).embeddings
        plain = recipe.Wav2Vec2ForXVector(learner.config)
        plain.load_state_dict(folded)
        torch.testing.assert_close(plain(values).embeddings, expected, atol=1e-3, rtol=1e-3)
