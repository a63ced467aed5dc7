"""The embedded model on the example clips."""

from __future__ import annotations

import csv
import itertools
import shutil
from pathlib import Path

import jiwer
import pysubs2
import pytest

import asrkit
from asrkit.checkpoint import embedded_models
from asrkit.formats import render
from asrkit.options import DecodingOptions, SegmentOptions

EXAMPLES = Path(__file__).parent.parent / "examples"


def rows(name: str) -> list[dict[str, str]]:
    with (EXAMPLES / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.fixture(scope="module")
def recognizer():
    return asrkit.Recognizer.load(asrkit.ModelOptions())


@pytest.fixture(scope="module")
def two_minutes(recognizer):
    (transcript,) = asrkit.transcribe(EXAMPLES / "audio/two-minutes.ogg", recognizer)
    return transcript


def test_every_example_has_a_transcript():
    named = {row["audio_filepath"] for row in rows("transcripts.tsv")}

    assert named == {f"audio/{path.name}" for path in (EXAMPLES / "audio").iterdir()}


@pytest.mark.parametrize("row", rows("transcripts.tsv"), ids=lambda row: row["audio_filepath"])
def test_example_clip_gives_the_right_words(row, recognizer):
    (transcript,) = asrkit.transcribe(EXAMPLES / row["audio_filepath"], recognizer)

    assert transcript.text == row["text"]


@pytest.mark.parametrize("name", ["srt", "vtt"])
def test_cues_of_two_minutes_stand_where_the_sentences_are(name, two_minutes):
    text = render(two_minutes, name, options=SegmentOptions())

    cues = [
        (event.start / 1000, event.end / 1000, event.plaintext.replace("\n", " "))
        for event in pysubs2.SSAFile.from_string(text, format_=name)
    ]

    sentences = rows("two-minutes.tsv")
    assert " ".join(cue[2] for cue in cues) == " ".join(row["text"] for row in sentences)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(cues))
    for row in sentences:
        start, end = float(row["start"]), float(row["end"])
        inside = [cue for cue in cues if start - 0.1 < (cue[0] + cue[1]) / 2 < end + 0.1]
        assert " ".join(cue[2] for cue in inside) == row["text"]
        assert inside[0][0] == pytest.approx(start, abs=0.25)
        assert inside[-1][1] == pytest.approx(end, abs=0.35)


def test_greedy_decoding_of_the_short_clips_is_right_too(recognizer):
    short = [row for row in rows("transcripts.tsv") if "two-minutes" not in row["audio_filepath"]]

    found = asrkit.transcribe(
        [EXAMPLES / row["audio_filepath"] for row in short],
        recognizer,
        decoding=DecodingOptions(decoder="greedy"),
    )

    assert [item.text for item in found] == [row["text"] for row in short]


def test_embedded_model_is_small_and_complete():
    folder = embedded_models()["demo-en"]
    sizes = {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file()
    }

    assert sum(sizes.values()) <= 4_000_000
    assert sum(size for name, size in sizes.items() if "language_model" in name) <= 1_000_000
    assert {"README.md", "config.json", "model.safetensors", "vocab.json"} <= sizes.keys()


def test_example_clips_give_the_same_words_in_bfloat16(recognizer):
    paths = [EXAMPLES / row["audio_filepath"] for row in rows("transcripts.tsv")[:4]]
    rough = asrkit.Recognizer.load(asrkit.ModelOptions(dtype="bfloat16"))

    results = [asrkit.transcribe(paths, model) for model in (recognizer, rough)]

    assert [item.text for item in results[1]] == [item.text for item in results[0]]
    assert results[1][0].model.dtype == "bfloat16"


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("espeak-ng") and shutil.which("flite")), reason="no voices")
def test_held_out_clips_give_the_same_words_in_bfloat16_but_for_one_in_two_hundred(
    recognizer, monkeypatch
):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import demo_speech

    rough = asrkit.Recognizer.load(asrkit.ModelOptions(dtype="bfloat16"))
    clips = itertools.chain.from_iterable(demo_speech.evaluation_sets(None).values())
    inputs = [asrkit.Audio(clip.samples, 16_000, str(i)) for i, clip in enumerate(clips)]

    exact, heard = (
        [item.text for item in asrkit.transcribe(inputs, model)] for model in (recognizer, rough)
    )

    errors = jiwer.process_words(exact, heard)
    num_words = sum(len(text.split()) for text in exact)
    assert num_words > 2_000
    assert errors.wer <= 0.005
