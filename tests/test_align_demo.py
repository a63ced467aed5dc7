"""The embedded model on the example clips: right texts are believed, wrong ones are not."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import asrkit
from asrkit.errors import InputError
from asrkit.tasks.recognizer import Recognizer
from asrkit.types import ModelOptions

CLIPS = Path(__file__).parent.parent / "examples" / "audio"
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


def warnings_of(name, text, recognizer):
    try:
        return asrkit.align(CLIPS / name, text, recognizer).warnings
    except InputError as error:  # cannot fit
        return (str(error),)


def test_own_text_is_never_doubted(recognizer, texts):
    assert {name: warnings_of(name, text, recognizer) for name, text in texts.items()} == {
        name: () for name in texts
    }


def test_another_clip_s_text_is_always_doubted(recognizer, texts):
    believed = [
        (name, other)
        for name in texts
        for other, text in texts.items()
        if text != texts[name] and not warnings_of(name, text, recognizer)
    ]

    assert believed == []


def test_every_word_comes_out_once_and_in_order(recognizer, texts):
    for name, text in texts.items():
        result = asrkit.align(CLIPS / name, text, recognizer)
        words = [word for segment in result.segments for word in segment.words]
        times = [time for word in words for time in (word.start, word.end)]

        assert [word.text for word in words] == text.split()
        assert times == sorted(times)
        assert times[-1] <= result.duration
