"""The embedded keyword classifier on the example clips, and the words it was made of."""

from __future__ import annotations

import csv
import random
import sys
from pathlib import Path

import numpy as np
import pytest

import asrkit
from asrkit.checkpoint import embedded_models
from asrkit.options import DEMO_KEYWORDS, ModelOptions
from asrkit.tasks.classify import Classifier

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import demo_keywords as keywords

EXAMPLES = Path(keywords.__file__).parent


def rows() -> list[dict[str, str]]:
    with (EXAMPLES / "keywords.tsv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.fixture(scope="module")
def classifier():
    return Classifier.load(ModelOptions(model=DEMO_KEYWORDS))


def test_every_keyword_clip_has_a_label():
    named = {row["audio_filepath"] for row in rows()}

    assert named == {f"keywords/{path.name}" for path in (EXAMPLES / "keywords").iterdir()}


def test_keyword_clips_get_the_right_labels(classifier):
    results = asrkit.classify([EXAMPLES / row["audio_filepath"] for row in rows()], classifier)

    assert [item.labels[0].name for item in results] == [row["label"] for row in rows()]


def test_silence_around_a_word_changes_nothing(classifier):
    yes = asrkit.read_audio(EXAMPLES / "keywords/yes.flac")
    padded = asrkit.Audio(np.pad(yes.samples, (8000, 8000)), yes.sample_rate)

    (result,) = asrkit.classify(padded, classifier)

    assert result.labels[0].name == "yes"


def test_clips_of_a_batch_score_as_they_do_alone(classifier):
    paths = [EXAMPLES / row["audio_filepath"] for row in rows()]
    samples = [classifier.frontend(asrkit.read_audio(path).samples) for path in paths]

    together = classifier.logits(samples)

    for item, logits in zip(samples, together, strict=True):
        np.testing.assert_allclose(classifier.logits([item])[0], logits, atol=1e-4)


def test_the_labels_are_the_commands_silence_and_unknown(classifier):
    assert classifier.labels == (*keywords.COMMANDS, "_silence_", "_unknown_")


def test_embedded_keyword_classifier_is_small():
    folder = embedded_models()[DEMO_KEYWORDS]

    assert sum(path.stat().st_size for path in folder.rglob("*")) <= 2_000_000


def test_training_text_holds_no_homophone_and_no_held_out_word():
    rng = random.Random(0)

    heard = {word for _ in range(5000) for word in keywords.sample_text(rng).split()}

    assert heard >= {*keywords.COMMANDS, "snow", "top"}
    assert not heard & {"know", "write", *keywords.other_words(held_out=True)}


def test_made_silence_has_the_size_asked_for_and_varies():
    rng = np.random.default_rng(0)

    made = [keywords.make_silence(8000, rng) for _ in range(60)]

    assert all(item.shape == (8000,) and np.isfinite(item).all() for item in made)
    assert len({round(float(item.std()), 6) for item in made}) > 30
