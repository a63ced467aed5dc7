"""Labels of inputs, windows and frames: by hand with a model that says what it is told."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

import asrkit
from asrkit.cli.app import app
from asrkit.errors import CheckpointError, UsageError
from asrkit.formats import LABEL_FORMATS
from asrkit.frontend import WaveformFrontend
from asrkit.models.wav2vec2 import (
    Wav2Vec2ForAudioFrameClassification,
    Wav2Vec2ForSequenceClassification,
)
from asrkit.options import ClassifyOptions, ModelOptions
from asrkit.tasks.classify import Classifier
from asrkit.types import Audio, Classification, Label, ModelInfo, Turn, Window
from tests.tiny import tiny_config, tiny_head, tiny_model

RATE, FRAME = 16_000, 320


class Told(Classifier):
    """Its logits are (10 s, 0, -10 s) for the mean sample s, or those of every frame's first."""

    def logits(self, waveforms):
        if self.is_framewise:
            return [np.outer(w[::FRAME], [10, 0, -10]).astype(np.float32) for w in waveforms]
        return [np.array([10 * w.mean(), 0, -10 * w.mean()], np.float32) for w in waveforms]


def told(*, is_framewise: bool = False, activation: str = "softmax") -> Told:
    return Told(
        model=SimpleNamespace(config=tiny_config(), parameters=tiny_model().parameters),
        frontend=WaveformFrontend(do_normalize=False),
        labels=("high", "zero", "low"),
        is_framewise=is_framewise,
        activation="sigmoid" if is_framewise else activation,
        info=ModelInfo("told"),
    )


def steps(*values: float, seconds: float = 1.0) -> Audio:
    samples = np.repeat(np.array(values, np.float32), round(seconds * RATE))
    return Audio(samples, RATE, "steps.wav")


def test_softmax_of_one_input_by_hand():
    (result,) = asrkit.classify(steps(0.1), told())

    total = math.e + 1 + 1 / math.e
    expected = [("high", math.e / total), ("zero", 1 / total), ("low", 1 / math.e / total)]
    assert [(label.name, label.score) for label in result.labels] == [
        (name, round(score, 4)) for name, score in expected
    ]
    assert result.duration == 1.0
    assert result.turns == result.windows == ()


def test_sigmoid_of_a_multi_label_model_by_hand():
    (result,) = asrkit.classify(steps(0.1), told(activation="sigmoid"))

    scores = {label.name: label.score for label in result.labels}
    assert scores == {"high": 0.7311, "zero": 0.5, "low": 0.2689}


def test_regression_gives_the_outputs_themselves():
    (result,) = asrkit.classify(steps(0.2), told(activation="none"))

    assert [label.score for label in result.labels] == [2.0, 0.0, -2.0]


def test_sigmoid_of_huge_logits_overflows_nowhere():
    scores = told(activation="sigmoid").scores(np.array([1e4, -1e4, 0.0]))

    assert scores.tolist() == [1.0, 0.0, 0.5]


def test_top_k_and_threshold_leave_labels_out():
    (two,) = asrkit.classify(steps(0.1), told(), top_k=2)
    (high,) = asrkit.classify(steps(0.1), told(), threshold=0.6)

    assert [label.name for label in two.labels] == ["high", "zero"]
    assert [label.name for label in high.labels] == ["high"]


def test_equal_scores_stay_in_the_order_of_the_model():
    (result,) = asrkit.classify(steps(0.0), told())

    assert [label.name for label in result.labels] == ["high", "zero", "low"]


def test_audio_longer_than_a_chunk_is_the_mean_of_its_chunks_by_length():
    audio = steps(0.3, 0.3, 0.0)  # chunks of 2 s and 1 s: logits 3 and 0, so (2 * 3 + 0) / 3

    (result,) = asrkit.classify(audio, told(activation="none"), chunk_length=2.0, stride=0.0)

    assert result.labels[0] == Label("high", 2.0)


def test_windows_are_labelled_one_by_one_and_the_last_ends_with_the_audio():
    (result,) = asrkit.classify(steps(0.3, 0.3, -0.3, 0.3, seconds=0.6), told(), window=1, top_k=1)

    assert [(w.start, w.end) for w in result.windows] == [(0.0, 1.0), (1.0, 2.0), (2.0, 2.4)]
    assert [w.labels[0].name for w in result.windows] == ["high", "low", "high"]
    assert [(t.start, t.end, t.label) for t in result.turns] == [
        (0.0, 1.0, "high"), (1.0, 2.0, "low"), (2.0, 2.4, "high"),
    ]  # fmt: skip
    assert result.labels == ()


def test_overlapping_windows_make_turns_that_do_not_overlap():
    (result,) = asrkit.classify(steps(0.3, 0.3, -0.3, -0.3), told(), window=2, hop=1)

    assert [(w.start, w.end) for w in result.windows] == [(0, 2), (1, 3), (2, 4)]
    assert [(t.start, t.end, t.label) for t in result.turns] == [(0, 2, "high"), (2, 4, "low")]


def test_windows_below_the_threshold_belong_to_no_turn():
    (result,) = asrkit.classify(steps(0.3, 0.0, 0.3), told(), window=1, threshold=0.5)

    assert [len(window.labels) for window in result.windows] == [1, 0, 1]
    assert [(t.start, t.end) for t in result.turns] == [(0, 1), (2, 3)]


def test_frames_become_turns_of_each_label_where_it_is_active():
    audio = steps(0.3, -0.3, 0.3)

    (result,) = asrkit.classify(audio, told(is_framewise=True))

    found = [(t.label, t.start, t.end) for t in result.turns]
    assert found == [("high", 0.0, 1.0), ("low", 1.0, 2.0), ("high", 2.0, 3.0)]
    assert result.turns[0].score == round(1 / (1 + math.exp(-3)), 4)


def test_frames_are_the_same_in_chunks_and_whole():
    audio = steps(0.3, -0.3, 0.3, -0.3, 0.3, seconds=0.7)

    (whole,) = asrkit.classify(audio, told(is_framewise=True))
    (cut,) = asrkit.classify(audio, told(is_framewise=True), chunk_length=1.0, stride=0.2)

    assert cut.turns == whole.turns


def test_a_threshold_moves_where_a_label_becomes_active():
    audio = steps(0.3, 0.1)  # probabilities 0.95 and 0.73

    (result,) = asrkit.classify(audio, told(is_framewise=True), threshold=0.9)

    assert [(t.label, t.end) for t in result.turns] == [("high", 1.0)]


def test_windows_of_a_model_of_frames_are_refused():
    with pytest.raises(UsageError, match="labels every frame"):
        asrkit.classify(steps(0.1), told(is_framewise=True), window=1)


@pytest.mark.parametrize(
    "options",
    [{"top_k": 0}, {"threshold": 2}, {"hop": 1}, {"window": 1, "hop": 2}, {"window": 0}],
)
def test_options_that_cannot_work_are_refused(options):
    with pytest.raises(UsageError):
        ClassifyOptions(**options)


# --- real checkpoints


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("heads")
    return {
        "whole": tiny_head(Wav2Vec2ForSequenceClassification, root / "whole"),
        "frames": tiny_head(Wav2Vec2ForAudioFrameClassification, root / "frames"),
        "ctc": tiny_model(folder=root / "ctc"),
    }


def noise(seconds: float, seed: int = 0) -> Audio:
    random = np.random.default_rng(seed)
    return Audio(random.normal(0, 0.1, round(seconds * RATE)).astype(np.float32), RATE)


@pytest.mark.parametrize("kind", ["whole", "frames"])
def test_a_batch_labels_each_input_as_it_is_labelled_alone(folders, kind):
    audios = [noise(0.4, 1), noise(1.3, 2), noise(0.9, 3)]

    together = asrkit.classify(audios, str(folders[kind]), device="cpu")
    alone = [asrkit.classify(audio, str(folders[kind]), device="cpu")[0] for audio in audios]

    for one, other in zip(together, alone, strict=True):
        assert [(t.label, t.start) for t in one.turns] == [(t.label, t.start) for t in other.turns]
        for a, b in zip(one.labels, other.labels, strict=True):
            assert (a.name, a.score) == (b.name, pytest.approx(b.score, abs=2e-4))


def test_a_config_of_many_labels_takes_the_sigmoid(tmp_path):
    folder = tiny_head(
        Wav2Vec2ForSequenceClassification, tmp_path, problem_type="multi_label_classification"
    )

    assert Classifier.load(ModelOptions(str(folder), device="cpu")).activation == "sigmoid"


def test_a_checkpoint_that_does_not_classify_is_refused(folders):
    with pytest.raises(CheckpointError, match="not a classifier, its architecture is Wav2Vec2For"):
        Classifier.load(ModelOptions(str(folders["ctc"]), device="cpu"))


def test_a_head_that_was_never_trained_is_refused(folders, tmp_path):
    config = json.loads((folders["ctc"] / "config.json").read_text())
    config["architectures"] = ["Wav2Vec2ForSequenceClassification"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").symlink_to(folders["ctc"] / "model.safetensors")

    with pytest.raises(CheckpointError, match="head"):
        Classifier.load(ModelOptions(str(tmp_path), device="cpu"))


# --- formats


WHOLE = Classification("a b/c.wav", 2.0, labels=(Label("yes", 0.9), Label("no\tway", 0.1)))
TRACK = Classification(
    "c.wav",
    2.0,
    windows=(Window(0, 1, (Label("yes", 0.9),)), Window(1, 2, ())),
    turns=(Turn(0, 1, "yes", 0.9),),
)


@pytest.mark.parametrize(
    ("name", "result", "expected"),
    [
        ("txt", WHOLE, "yes\t0.9000\nno way\t0.1000\n"),
        ("txt", TRACK, "0.000\t1.000\tyes\t0.9000\n"),
        ("tsv", WHOLE, "a b/c.wav\t0.000\t2.000\tyes\t0.9000\n"
                       "a b/c.wav\t0.000\t2.000\tno way\t0.1000\n"),
        ("csv", TRACK, "c.wav,0.000,1.000,yes,0.9000\n"),
        ("rttm", TRACK, "SPEAKER c 1 0.000 1.000 <NA> <NA> yes <NA> <NA>\n"),
    ],
)  # fmt: skip
def test_formats_by_hand(name, result, expected):
    assert LABEL_FORMATS.render(result, name) == expected


def test_json_holds_everything():
    data = json.loads(LABEL_FORMATS.render(TRACK, "json"))

    assert data == json.loads(LABEL_FORMATS.render(TRACK, "jsonl"))
    assert data["schema"] == 1
    assert data["windows"][0] == {
        "start": 0, "end": 1, "labels": [{"name": "yes", "score": 0.9}],
    }  # fmt: skip
    assert data["turns"] == [{"start": 0, "end": 1, "label": "yes", "score": 0.9}]


# --- as a script sees it


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, seconds in (("a", 0.5), ("b", 1.2)):
        soundfile.write(f"{name}.wav", noise(seconds).samples, RATE)
    Path("broken.wav").write_bytes(b"RIFF")
    return tmp_path


def run(*arguments: str):
    return CliRunner().invoke(app, ["classify", *arguments, "--device", "cpu"])


def test_one_input_prints_its_labels_many_their_paths_too(here, folders):
    one = run("a.wav", "-m", str(folders["whole"]))
    many = run("a.wav", "b.wav", "-m", str(folders["whole"]), "--top-k", "1")

    assert one.exit_code == many.exit_code == 0
    assert [line.split("\t")[0] for line in one.stdout.splitlines()] != []
    assert len(one.stdout.splitlines()) == 3
    assert [line.split("\t")[0] for line in many.stdout.splitlines()] == ["a.wav", "b.wav"]


def test_a_bad_input_leaves_the_others_and_exits_with_3(here, folders):
    result = run("a.wav", "broken.wav", "b.wav", "-m", str(folders["whole"]), "-f", "jsonl")

    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 3
    assert [row["audio"] for row in rows] == ["a.wav", "broken.wav", "b.wav"]
    assert "error" in rows[1]
    assert "broken.wav" in result.stderr


def test_a_table_of_many_inputs_has_one_header(here, folders):
    result = run("a.wav", "b.wav", "-m", str(folders["whole"]), "--top-k", "1", "-o", "all.csv")

    rows = Path("all.csv").read_text().splitlines()
    assert result.exit_code == 0
    assert rows[0] == "audio,start,end,label,score"
    assert [row.split(",")[0] for row in rows[1:]] == ["a.wav", "b.wav"]


def test_a_folder_gets_a_file_for_each_input_and_format(here, folders):
    result = run("a.wav", "b.wav", "-m", str(folders["frames"]), "-f", "rttm,json", "-o", "out/")

    assert result.exit_code == 0
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "a.json", "a.rttm", "b.json", "b.rttm",
    ]  # fmt: skip


def test_rttm_of_whole_inputs_is_a_usage_error_before_any_work(here, folders):
    result = run("a.wav", "-m", str(folders["whole"]), "-f", "rttm")

    assert result.exit_code == 2
    assert "rttm needs times" in result.stderr
    assert "--window" in result.stderr


def test_a_model_without_a_classifier_exits_with_4(here, folders):
    result = run("a.wav", "-m", str(folders["ctc"]))

    assert result.exit_code == 4
    assert "not a classifier" in result.stderr


def test_a_format_of_transcripts_is_unknown_here(here, folders):
    result = run("a.wav", "-m", str(folders["whole"]), "-f", "srt")

    assert result.exit_code == 2
    assert "known are txt, tsv, csv, json, jsonl, rttm" in result.stderr
