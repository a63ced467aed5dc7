"""The embedded model on the example clips: right texts are believed, wrong ones are not."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import asrkit
from asrkit.ctc import Emissions, FrameClock
from asrkit.errors import InputError
from asrkit.options import AlignOptions, ModelOptions
from asrkit.tasks.align import align_emissions
from asrkit.tasks.recognizer import Recognizer
from asrkit.types import Segment

CLIPS = Path(__file__).parent.parent / "examples"
MODEL = Path(asrkit.__file__).parent / "assets" / "demo-en"

pytestmark = pytest.mark.skipif(
    not (CLIPS / "transcripts.tsv").exists() or not (MODEL / "model.safetensors").exists(),
    reason="no embedded model or example clips here",
)


@pytest.fixture(scope="module")
def recognizer():
    return Recognizer.load(ModelOptions(str(MODEL)))


@pytest.fixture(scope="module")
def texts():
    with open(CLIPS / "transcripts.tsv", encoding="utf-8", newline="") as file:
        return {
            row["audio_filepath"]: row["text"]
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        }


@pytest.fixture(scope="module")
def emissions(recognizer, texts):
    clock = FrameClock(recognizer.model.config.samples_per_frame, recognizer.frontend.sample_rate)
    found = {}
    for name in texts:
        audio = asrkit.read_audio(CLIPS / name, sample_rate=clock.sample_rate)
        (log_probs,) = recognizer.log_probs([recognizer.frontend(audio.samples)])
        found[name] = Emissions(log_probs, clock)
    return found


def warnings_of(emissions, text, recognizer):
    try:
        lines = [Segment(text, 0, 0)]
        found = align_emissions(emissions, lines, recognizer.vocabulary, AlignOptions())
    except InputError as error:  # cannot fit
        return (str(error),)
    return found.transcript.warnings


def test_own_text_is_never_doubted_and_another_s_always(recognizer, emissions, texts):
    doubted = {
        (name, other)
        for name in texts
        for other, text in texts.items()
        if warnings_of(emissions[name], text, recognizer)
    }

    assert doubted == {(name, other) for name in texts for other in texts if name != other}


def test_every_word_comes_out_once_and_in_order(recognizer, texts):
    """I11."""
    for name, text in texts.items():
        result = asrkit.align(CLIPS / name, text, recognizer)
        words = [word for segment in result.segments for word in segment.words]
        times = [time for word in words for time in (word.start, word.end)]

        assert [word.text for word in words] == text.split()
        assert times == sorted(times)
        assert times[-1] <= result.duration
