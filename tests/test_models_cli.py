"""`asrkit models` as a script sees it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from asrkit.cli.app import app
from asrkit.models.wav2vec2 import Wav2Vec2ForSequenceClassification
from asrkit.plot import draw_attention
from tests.tiny import tiny_head, tiny_model


@pytest.fixture
def cache(tmp_path) -> Path:
    """A Hub cache with one model, one of a family that is not supported, and one half there."""
    for name, source in (("models--some--one", "whole"), ("models--some--other", "strange")):
        snapshot = tmp_path / name / "snapshots" / ("0" * 40)
        tiny_model(folder=snapshot)
        (tmp_path / name / "refs").mkdir()
        (tmp_path / name / "refs" / "main").write_text("0" * 40)
        if source == "strange":
            (snapshot / "config.json").write_text('{"model_type": "whisper"}')
    half = tmp_path / "models--some--half" / "snapshots" / ("1" * 40)
    half.mkdir(parents=True)
    (half / "README.md").write_text("nothing yet")
    return tmp_path


def run(*arguments: str):
    return CliRunner().invoke(app, ["models", *arguments])


def test_lists_embedded_and_cached_models(cache):
    result = run("list", "--cache-dir", str(cache))

    rows = [line.split() for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert rows[0] == ["MODEL", "WHERE", "ARCHITECTURE", "SIZE"]
    assert ["demo-en", "embedded", "Wav2Vec2ForCTC"] in [row[:3] for row in rows]
    assert [row[:2] for row in rows if row[1] == "cached"] == [["some/one", "cached"]]


def test_a_cache_that_does_not_exist_holds_nothing(tmp_path):
    result = run("list", "--json", "--cache-dir", str(tmp_path / "none"))

    assert result.exit_code == 0
    assert {item["where"] for item in json.loads(result.stdout)} == {"embedded"}


def test_info_says_what_the_demo_model_is():
    result = run("info", "demo-en", "--json")

    about = json.loads(result.stdout)
    assert result.exit_code == 0
    assert about["architecture"] == "Wav2Vec2ForCTC"
    assert about["num_parameters"] == 1_665_888  # as its card says
    assert about["dtype"] == ["float16"]
    assert about["sample_rate"] == 16_000
    assert about["vocabulary_size"] == 32
    assert about["has_language_model"] is True
    assert about["licence"] == "cc-by-sa-4.0"


def test_info_for_people_names_labels(tmp_path):
    result = run("info", str(tiny_head(Wav2Vec2ForSequenceClassification, tmp_path)))

    assert result.exit_code == 0
    assert "labels:         yes, no, go\n" in result.stdout
    assert "licence:        not stated\n" in result.stdout


def test_info_of_a_multilingual_model_lists_its_languages(tmp_path):
    tiny_model(folder=tmp_path)
    table = json.loads((tmp_path / "vocab.json").read_text())
    (tmp_path / "vocab.json").write_text(json.dumps({"eng": table, "fra": table}))

    about = json.loads(run("info", str(tmp_path), "--json").stdout)

    assert about["languages"] == ["eng", "fra"]
    assert about["vocabulary_size"] == 32


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", '{"model_type": "whisper"}', "model_type 'whisper' is not supported"),
        ("config.json", "nonsense", "not JSON"),
        ("model.safetensors", "nonsense", "not a readable safetensors file"),
    ],
)
def test_info_of_a_damaged_model_is_an_error(tmp_path, name, content, message):
    tiny_model(folder=tmp_path)
    (tmp_path / name).write_text(content)

    result = run("info", str(tmp_path))

    assert result.exit_code == 4
    assert message in result.stderr


def test_path_prints_the_folder_and_opens_no_connection(cache):
    embedded = run("path", "demo-en")
    cached = run("path", "some/one", "--cache-dir", str(cache))
    absent = run("path", "some/none", "--cache-dir", str(cache))

    assert Path(embedded.stdout.strip(), "config.json").is_file()
    assert Path(cached.stdout.strip(), "config.json").is_file()
    assert absent.exit_code == 5
    assert "asrkit models download some/none" in absent.stderr


def test_download_of_what_is_here_prints_where():
    result = run("download", "demo-en")

    assert result.exit_code == 0
    assert result.stdout == run("path", "demo-en").stdout


def test_attention_of_a_ctc_model_is_one_page_without_references(tmp_path):
    folder = tiny_model(folder=tmp_path / "ctc")
    samples = np.random.default_rng(0).normal(0, 0.1, 16_000)
    soundfile.write(tmp_path / "a.wav", samples, 16_000)

    result = run("attention", str(folder), str(tmp_path / "a.wav"), "-o", str(tmp_path / "a.html"))

    page = (tmp_path / "a.html").read_text()
    assert result.exit_code == 0
    assert "2 layers, 2 heads, 49 frames of 20 ms" in page
    assert "<svg" in page
    assert page.count("data:image/png") == 2 * 3 + 1  # each head and their mean; the emissions
    assert "src=" not in page.replace("map.src =", "")
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")


def test_attention_of_long_audio_is_refused(tmp_path):
    folder = tiny_model(folder=tmp_path / "ctc")
    soundfile.write(tmp_path / "a.wav", np.zeros(31 * 16_000), 16_000)

    result = run("attention", str(folder), str(tmp_path / "a.wav"), "-o", str(tmp_path / "a.html"))

    assert result.exit_code == 4
    assert "31 s, and a map holds at most 30 s" in result.stderr
    assert not (tmp_path / "a.html").exists()


def test_large_maps_are_averaged_down():
    maps = np.full((1, 1, 1000, 1000), 1 / 1000, np.float32)

    page = draw_attention(maps, title="<b>", duration=20.0)

    assert "1000 frames of 20 ms, 3 in one pixel" in page
    assert "&lt;b&gt;" in page
    assert len(page) < 20_000


def test_a_folder_of_another_program_is_not_a_model(tmp_path):
    shutil.copy(__file__, tmp_path / "file.py")

    result = run("info", str(tmp_path))

    assert result.exit_code == 4
    assert "config.json" in result.stderr
