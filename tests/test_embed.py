"""Vectors of audio: pooling by hand, chunks, files, comparisons."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

import asrkit
from asrkit.cli.app import app
from asrkit.errors import AudioError, UsageError
from asrkit.frontend import WaveformFrontend
from asrkit.models.wav2vec2 import Wav2Vec2ForXVector
from asrkit.options import EmbedOptions, ModelOptions
from asrkit.tasks import embed as task
from asrkit.tasks.embed import Embedder
from asrkit.types import Audio, ModelInfo
from tests.tiny import tiny_config, tiny_head, tiny_model

RATE, FRAME, LAYERS = 16_000, 320, 5


@pytest.fixture
def counting(monkeypatch) -> Embedder:
    """Frame f of layer n says (s, n) for the first sample s of the frame."""

    def hidden_states(model, waveforms, *, layers):
        return [
            np.stack([np.stack([w[::FRAME], np.full(len(w[::FRAME]), n)], 1) for n in layers])
            for w in waveforms
        ]

    monkeypatch.setattr(task, "hidden_states", hidden_states)
    model = SimpleNamespace(
        config=tiny_config(num_hidden_layers=LAYERS), parameters=tiny_model().parameters
    )
    return Embedder(model, WaveformFrontend(do_normalize=False), False, ModelInfo("counting"))


def steps(*values: float, seconds: float = 1.0) -> Audio:
    samples = np.repeat(np.array(values, np.float32), round(seconds * RATE))
    return Audio(samples, RATE, "steps.wav")


@pytest.mark.parametrize(
    ("pool", "expected"),
    [("mean", 2.0), ("max", 4.0), ("first", 1.0), ("std", np.std([1, 1, 2, 4]))],
)
def test_pooling_by_hand(counting, pool, expected):
    (result,) = asrkit.embed(steps(1, 1, 2, 4), counting, pool=pool)

    assert result.vector.dtype == np.float32
    assert result.vector[0] == pytest.approx(expected)
    assert result.vector[1] == (0 if pool == "std" else LAYERS)


@pytest.mark.parametrize("pool", ["mean", "max", "first", "std", "none"])
def test_chunks_and_the_whole_give_the_same_vector(counting, pool):
    audio = steps(0.1, 0.9, -0.4, 0.3, 0.2, seconds=0.7)

    (whole,) = asrkit.embed(audio, counting, pool=pool)
    (cut,) = asrkit.embed(audio, counting, pool=pool, chunk_length=1.0, stride=0.2)

    np.testing.assert_allclose(cut.vector, whole.vector, atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [("0", 0), ("3", 3), ("last", 5), ("mean-last-4", 3.5), ("all", [0, 1, 2, 3, 4, 5])],
)
def test_layers_by_name(counting, layer, expected):
    (result,) = asrkit.embed(steps(1), counting, layer=layer)

    np.testing.assert_allclose(result.vector[..., 1], expected)


def test_frames_are_kept_where_nothing_pools_them(counting):
    (last,) = asrkit.embed(steps(1, 2), counting, pool="none")
    (every,) = asrkit.embed(steps(1, 2), counting, pool="none", layer="all")

    assert last.vector.shape == (100, 2)
    assert every.vector.shape == (6, 100, 2)
    assert last.seconds_per_frame == 0.02


def test_normalised_vectors_have_length_1_and_silence_stays_zero(counting):
    (result,) = asrkit.embed(steps(3), counting, layer="4", normalize=True)
    (silent,) = asrkit.embed(steps(0), counting, layer="0", normalize=True)

    np.testing.assert_allclose(result.vector, [0.6, 0.8], atol=1e-6)
    np.testing.assert_array_equal(silent.vector, [0, 0])


def test_a_layer_that_the_model_does_not_have_is_refused(counting):
    with pytest.raises(UsageError, match="layer 6 of counting, which has layers 0 to 5"):
        asrkit.embed(steps(1), counting, layer="6")


@pytest.mark.parametrize("options", [{"layer": "-1"}, {"layer": "first"}, {"pool": "sum"}])
def test_names_that_nothing_answers_to_are_refused(options):
    with pytest.raises(UsageError):
        EmbedOptions(**options)


# --- real checkpoints


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("models")
    return {
        "voices": str(tiny_head(Wav2Vec2ForXVector, root / "voices")),
        "ctc": str(tiny_model(folder=root / "ctc")),
    }


def noise(seconds: float, seed: int = 0) -> Audio:
    random = np.random.default_rng(seed)
    return Audio(random.normal(0, 0.1, round(seconds * RATE)).astype(np.float32), RATE)


def test_any_model_gives_its_hidden_states(folders):
    model = Embedder.load(ModelOptions(folders["ctc"], device="cpu"))

    (result,) = asrkit.embed(noise(1), model)

    assert result.vector.shape == (24,)
    assert not model.has_xvectors


def test_a_speaker_model_gives_x_vectors_unless_layers_are_asked_for(folders):
    model = Embedder.load(ModelOptions(folders["voices"], device="cpu"))

    (voice,) = asrkit.embed(noise(1), model)
    (layer,) = asrkit.embed(noise(1), model, layer="last")

    assert voice.vector.shape == (12,)
    assert layer.vector.shape == (24,)


@pytest.mark.parametrize("kind", ["voices", "ctc"])
def test_a_batch_gives_each_input_what_it_gets_alone(folders, kind):
    model = Embedder.load(ModelOptions(folders[kind], device="cpu"))
    audios = [noise(0.4, 1), noise(1.3, 2), noise(0.9, 3)]

    together = asrkit.embed(audios, model)

    for audio, result in zip(audios, together, strict=True):
        (alone,) = asrkit.embed(audio, model)
        np.testing.assert_allclose(result.vector, alone.vector, atol=1e-4)


def test_the_voice_of_long_audio_is_the_mean_of_its_chunks(folders):
    model = Embedder.load(ModelOptions(folders["voices"], device="cpu"))
    audio = noise(2.5)
    parts = [Audio(audio.samples[a * RATE // 2 : b * RATE // 2], RATE) for a, b in ((0, 4), (3, 5))]

    (whole,) = asrkit.embed(audio, model, chunk_length=2.0, stride=0.5)
    first, last = asrkit.embed(parts, model)

    # the last half second is new, and is heard with half a second before it
    expected = (2.0 * first.vector + 0.5 * last.vector) / 2.5
    np.testing.assert_allclose(whole.vector, expected, atol=1e-5)


def test_audio_too_short_for_a_voice_is_an_error_that_says_how_short(folders):
    with pytest.raises(AudioError, match=r"0\.05 s of audio, and a voice needs 0\.1\d s"):
        asrkit.embed(noise(0.05), folders["voices"], device="cpu")


# --- as a script sees it


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, seed in (("a", 1), ("b", 2), ("c", 3)):
        soundfile.write(f"{name}.wav", noise(0.8, seed).samples, RATE)
    Path("broken.wav").write_bytes(b"RIFF")
    return tmp_path


def run(*arguments: str):
    return CliRunner().invoke(app, ["embed", *arguments, "--device", "cpu"])


def test_each_input_is_a_line_of_json(here, folders):
    result = run("a.wav", "b.wav", "-m", folders["voices"])

    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert [row["id"] for row in rows] == ["a.wav", "b.wav"]
    assert [len(row["vector"]) for row in rows] == [row["dim"] for row in rows] == [12, 12]


def test_npz_holds_ids_and_vectors_without_what_failed(here, folders):
    result = run("a.wav", "broken.wav", "b.wav", "-m", folders["voices"], "-o", "all.npz")

    assert result.exit_code == 3
    with np.load("all.npz", allow_pickle=False) as content:
        assert content["ids"].tolist() == ["a.wav", "b.wav"]
        assert content["vectors"].shape == (2, 12)


def test_npz_of_frames_holds_one_array_an_input(here, folders):
    run("a.wav", "b.wav", "-m", folders["ctc"], "--pool", "none", "-o", "all.npz")

    with np.load("all.npz", allow_pickle=False) as content:
        assert sorted(content.files) == ["frames_0", "frames_1", "ids"]
        assert content["frames_1"].shape == (39, 24)


def test_npy_holds_one_input(here, folders):
    one = run("a.wav", "-m", folders["voices"], "-o", "a.npy")
    many = run("a.wav", "b.wav", "-m", folders["voices"], "-o", "a.npy")
    each = run("a.wav", "b.wav", "-m", folders["voices"], "-f", "npy", "-o", "out/")

    assert (one.exit_code, many.exit_code, each.exit_code) == (0, 2, 0)
    assert np.load("a.npy").shape == np.load("out/b.npy").shape == (12,)


def test_parquet_holds_a_row_an_input(here, folders):
    parquet = pytest.importorskip("pyarrow.parquet")

    result = run("a.wav", "b.wav", "-m", folders["voices"], "-o", "all.parquet")

    table = parquet.read_table("all.parquet").to_pydict()
    assert result.exit_code == 0
    assert table["id"] == ["a.wav", "b.wav"]
    assert [len(vector) for vector in table["vector"]] == [12, 12]


def test_a_recording_is_like_itself(here, folders):
    result = run("--compare", "a.wav", "a.wav", "-m", folders["voices"])

    assert result.exit_code == 0
    assert result.stdout == "a.wav\ta.wav\t1.000000\n"


def test_trials_print_their_scores_and_the_error_rates(here, folders):
    Path("lists").mkdir()
    Path("lists/trials").write_text("../a.wav ../a.wav target\n../a.wav ../b.wav nontarget\n")

    result = run("--pairs", "lists/trials", "-m", folders["voices"])

    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert [row[3] for row in rows] == ["target", "nontarget"]
    assert "EER 0.00 % · minDCF 0.000" in result.stderr


def test_names_of_trials_may_be_stems_of_inputs(here, folders):
    Path("trials").write_text("a b\nb c\na missing\n")

    result = run("--pairs", "trials", "a.wav", "b.wav", "c.wav", "-m", folders["voices"])

    assert result.exit_code == 3
    assert [line.split("\t")[:2] for line in result.stdout.splitlines()] == [["a", "b"], ["b", "c"]]
    assert "missing: named in the trials" in result.stderr


def test_the_likest_recordings_come_first(here, folders):
    result = run(
        "a.wav", "b.wav", "c.wav", "--similar", "b.wav", "--top", "2", "-m", folders["voices"]
    )

    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert rows[0] == ["b.wav", "1.000000"]
    assert len(rows) == 2
    assert float(rows[1][1]) < 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.wav", "-f", "mp3"], "unknown format 'mp3'"),
        (["--compare", "a.wav", "b.wav", "--pool", "none"], "one vector an input"),
        (["--compare", "a.wav", "b.wav", "c.wav"], "takes two recordings"),
        (["a.wav", "--similar", "b.wav", "--pairs", "trials"], "different comparisons"),
        (["--pairs", "none.txt"], "none.txt: cannot be read"),
        ([], "no input given"),
    ],
)
def test_contradictions_are_usage_errors(here, folders, arguments, message):
    result = run(*arguments, "-m", folders["voices"])

    assert result.exit_code == 2
    assert message in result.stderr
