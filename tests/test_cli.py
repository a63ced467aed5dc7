"""The command line as a script sees it: exit codes, streams, files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from asrkit import __version__
from asrkit.cli.app import app
from asrkit.ctc.estimate import build_directory
from tests.tiny import tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return str(tiny_model(folder=tmp_path_factory.mktemp("model"), feat_extract_norm="layer"))


@pytest.fixture
def sounds(tmp_path, monkeypatch) -> Path:
    """The current folder, with two sounds, silence, and things that are no sound."""
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).normal(0, 0.1, 32_000)
    soundfile.write("a.wav", noise, 16_000)
    soundfile.write("b.flac", noise[:20_000], 8_000)
    soundfile.write("silence.wav", np.zeros(16_000), 16_000)
    soundfile.write("nan.wav", np.full(800, np.nan), 16_000, subtype="FLOAT")
    soundfile.write("zero.wav", np.zeros(0), 16_000)
    Path("empty.wav").write_bytes(b"")
    Path("text.wav").write_text("These are words, not sound.\n" * 50)
    Path("cut.wav").write_bytes(Path("a.wav").read_bytes()[:30_000])
    Path("folder").mkdir()
    return tmp_path


def run(*arguments: str, stdin: bytes | None = None):
    return CliRunner().invoke(app, ["transcribe", *arguments], input=stdin)


def test_version():
    result = CliRunner().invoke(app, ["--version"])

    assert (result.exit_code, result.stdout) == (0, f"asrkit {__version__}\n")


def test_no_arguments_show_the_help_and_no_error():
    result = CliRunner().invoke(app, [])

    assert result.exit_code == 2
    assert "transcribe" in result.output
    assert "error:" not in result.output


def test_misspelt_command_names_the_right_one():
    result = CliRunner().invoke(app, ["transcrib", "a.wav"])

    assert result.exit_code == 2
    assert "Did you mean 'transcribe'?" in result.stderr


def test_one_file_prints_its_text_and_nothing_else(model, sounds):
    result = run("a.wav", "-m", model)

    assert result.exit_code == 0
    assert result.stdout.count("\n") == 1
    assert len(result.stdout) > 1
    assert "1 file · 2.0 s of audio" in result.stderr


def test_many_files_print_path_and_text_in_the_order_given(model, sounds):
    result = run("b.flac", "a.wav", "silence.wav", "-m", model)

    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert [row[0] for row in rows] == ["b.flac", "a.wav", "silence.wav"]
    assert rows[0][1] == run("b.flac", "-m", model).stdout.strip()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.wav", "missing.wav: no such file"),
        ("empty.wav", "empty.wav: "),
        ("zero.wav", "zero.wav: holds no samples"),
        ("nan.wav", "nan.wav: a sample is NaN"),
        ("text.wav", "text.wav: "),
        ("cut.wav", "cut.wav: "),
        ("folder", "folder: is a directory"),
    ],
)
def test_bad_input_is_one_error_and_the_others_go_on(name, message, model, sounds):
    """I9."""
    result = run("a.wav", name, "b.flac", "-m", model)

    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert result.exit_code == 3
    assert [row.split("\t")[0] for row in result.stdout.splitlines()] == ["a.wav", "b.flac"]
    assert len(errors) == 1
    assert errors[0].startswith(f"error: {message}")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root reads everything")
def test_unreadable_file_is_an_error(model, sounds):
    Path("a.wav").chmod(0)

    assert run("a.wav", "-m", model).exit_code == 4


def test_one_missing_file_is_told_apart_from_many(model, sounds):
    result = run("missing.wav", "-f", "srt", "-m", model)

    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.startswith("error: missing.wav: no such file")


def test_nothing_that_can_be_read_is_exit_code_4(model, sounds):
    """I10."""
    result = run("empty.wav", "text.wav", "-m", model)

    assert (result.exit_code, result.stdout) == (4, "")


def test_silence_is_not_an_error(model, sounds):
    assert run("silence.wav", "-m", model).exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["a.wav", "--nonsense"],
        ["a.wav", "--timestamps", "phoneme"],
        ["a.wav", "--timestamps", "none", "-f", "srt"],
        ["a.wav", "-f", "docx"],
        ["a.wav", "-f", "txt,srt"],
        ["a.wav", "b.flac", "-f", "srt"],
        ["a.wav", "--chunk-length", "2", "--stride", "1"],
        ["a.wav", "--batch-size", "0"],
        ["a.wav", "--device", "tpu"],
        ["a.wav", "--dtype", "int3"],
        ["a.wav", "a.wav", "-o", "out/"],
        ["a.wav", "--channel", "left"],
    ],
)
def test_usage_error_is_exit_code_2_with_a_way_out(arguments, model, sounds):
    """I10."""
    result = run(*arguments, "-m", model)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr
    assert not (sounds / "out").exists()


@pytest.mark.parametrize(
    ("source", "code"), [("no-such-model", 4), ("./nowhere", 4), ("user/absent", 5)]
)
def test_model_that_cannot_be_had_names_itself(source, code, sounds):
    result = run("a.wav", "-m", source, "--offline", "--cache-dir", "cache")

    assert (result.exit_code, result.stdout) == (code, "")
    assert source in result.stderr
    assert "hint: " in result.stderr


class _Evil:
    def __reduce__(self):
        return (os.system, ("touch PWNED",))


def _set(name: str, **values):
    def change(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def _remove(name: str):
    return lambda folder: (folder / name).unlink()


def _cut_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def _poison(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"lm_head.weight": _Evil()}, folder / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_set("config.json", model_type="wavlm"), "model_type 'wavlm'"),
        (_set("config.json", hidden_act="geglu"), "hidden_act is 'geglu'"),
        (_set("config.json", hidden_size=48), "do not fit"),
        (_set("config.json", num_hidden_layers=3), "missing: wav2vec2.encoder.layers.2"),
        (_set("config.json", num_hidden_layers=1), "no place in the model"),
        (_set("preprocessor_config.json", feature_size=80), "feature_size is 80"),
        (_set("vocab.json", **{"<pad>": "zero"}), "index of '<pad>'"),
        (_remove("vocab.json"), "no vocab.json"),
        (_remove("config.json"), "no config.json"),
        (_remove("model.safetensors"), "no model.safetensors"),
        (_cut_weights, "model.safetensors: not a readable safetensors file"),
        (_poison, "pytorch_model.bin: not loaded: it would use"),
    ],
)
def test_bad_checkpoint_is_exit_code_4_and_names_what_is_wrong(damage, message, sounds):
    damage(tiny_model(folder=sounds / "model"))

    result = run("a.wav", "-m", "./model")

    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert not Path("PWNED").exists()


def test_language_model_makes_n_best_rows(model, sounds):
    build_directory(["ONE TWO", "TWO THREE"], "lm")

    result = run("a.wav", "-m", model, "--lm", "lm", "--n-best", "2", "-f", "jsonl")

    row = json.loads(result.stdout)
    assert [set(item) for item in row["alternatives"]] == [{"text", "logit_score", "lm_score"}] * 2
    assert row["alternatives"][0]["text"] == row["text"]
    assert row["options"]["decoding"]["lm"] == "lm"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--lm", "none.arpa"], 4, "none.arpa: cannot be read"),
        (["--lm", "text.wav"], 4, "text.wav: line 1"),
        (["--lm", "folder"], 4, "folder: found nothing; expected attrs.json"),
        (["--lexicon", "none.txt"], 2, "none.txt: cannot be read"),
        (["--lexicon-only"], 2, "without a lexicon"),
        (["--decoder", "greedy", "--n-best", "2"], 2, "greedy decoding has no"),
        (["--decoder", "fast"], 2, "'fast' is not one of auto, greedy, beam"),
        (["--beam-width", "0"], 2, "beam-width"),
        (["--lm-unigrams", "a.txt"], 2, "without a language model"),
    ],
)
def test_decoder_that_cannot_be_set_up_says_why(arguments, code, message, model, sounds):
    result = run("a.wav", "-m", model, *arguments)

    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr


def test_hotwords_come_from_a_file_or_a_list(model, sounds):
    Path("words.txt").write_text("zebra\nquartz\n")

    results = [
        run("a.wav", "-m", model, "-f", "jsonl", "--beam-width", "5", "--hotwords", value)
        for value in ("words.txt", "zebra, quartz")
    ]

    rows = [json.loads(result.stdout) for result in results]
    assert rows[0]["options"]["decoding"]["hotwords"] == ["zebra", "quartz"]
    assert rows[0] == rows[1]


def test_emissions_are_saved_with_what_they_mean(model, sounds):
    result = run("a.wav", "-m", model, "--emissions", "kept")

    log_probs = np.load("kept/a.npy")
    meaning = json.loads(Path("kept/a.json").read_text())
    assert result.exit_code == 0
    assert (log_probs.dtype, log_probs.shape) == (np.float32, (99, 32))
    assert np.exp(log_probs).sum(axis=1) == pytest.approx(1.0, abs=1e-4)
    assert (meaning["frames_per_second"], meaning["blank"]) == (50.0, 0)
    assert len(meaning["labels"]) == 32


def test_formats_go_to_a_folder_that_keeps_the_tree(model, sounds):
    Path("in/deep").mkdir(parents=True)
    Path("a.wav").rename("in/deep/a.wav")
    Path("b.flac").rename("in/b.flac")

    result = run("in", "-r", "-f", "txt,srt,vtt,json,tsv", "-o", "out", "-m", model)

    files = sorted(str(path.relative_to("out")) for path in Path("out").rglob("*.*"))
    assert (result.exit_code, result.stdout) == (0, "")
    assert files == sorted(
        f"{stem}.{suffix}" for stem in ("b", "deep/a") for suffix in "txt srt vtt json tsv".split()
    )


def test_suffix_of_the_output_chooses_the_format(model, sounds):
    result = run("a.wav", "-o", "a.json", "-m", model)

    assert (result.exit_code, result.stdout) == (0, "")
    assert json.loads(Path("a.json").read_text())["audio"] == "a.wav"


def test_failed_single_input_writes_no_file(model, sounds):
    result = run("text.wav", "-o", "text.txt", "-m", model)

    assert result.exit_code == 4
    assert not Path("text.txt").exists()


def test_jsonl_has_a_row_for_every_input_failed_ones_too(model, sounds):
    result = run("a.wav", "text.wav", "b.flac", "-f", "jsonl", "-m", model)

    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["audio"] for row in rows] == ["a.wav", "text.wav", "b.flac"]
    assert rows[1]["error"]["type"] == "AudioError"
    assert rows[0]["model"]["id"] == model
    assert rows[0]["options"]["decoding"] == {"decoder": "greedy"}


def test_manifest_names_its_rows(model, sounds):
    Path("list.jsonl").write_text(
        '{"audio_filepath": "a.wav", "id": "first", "offset": 0.5, "duration": 1.0}\n'
        '{"audio_filepath": "a.wav", "id": "second"}\n'
        '{"audio": "a.wav"}\n'
    )

    result = run("list.jsonl", "-m", model)

    assert [line.split("\t")[0] for line in result.stdout.splitlines()] == ["first", "second"]
    assert result.exit_code == 3
    assert "list.jsonl:3" in result.stderr


def test_standard_input_is_read(model, sounds):
    result = run("-", "-m", model, stdin=Path("a.wav").read_bytes())

    assert result.exit_code == 0
    assert result.stdout == run("a.wav", "-m", model).stdout


def test_list_of_files_comes_from_standard_input(model, sounds):
    result = run("--files-from", "-", "-m", model, stdin=b"a.wav\nb.flac\n")

    assert [line.split("\t")[0] for line in result.stdout.splitlines()] == ["a.wav", "b.flac"]


def test_quiet_says_nothing_but_errors(model, sounds):
    assert run("a.wav", "-q", "-m", model).stderr == ""
    assert run("a.wav", "text.wav", "-q", "-m", model).stderr.startswith("error: text.wav")


def test_verbose_names_the_model(model, sounds):
    assert (
        "Wav2Vec2ForCTC, 0.0 M parameters, float32 on cpu"
        in run("a.wav", "-v", "-m", model, "--device", "cpu").stderr
    )


def test_model_comes_from_the_environment(model, sounds, monkeypatch):
    monkeypatch.setenv("ASRKIT_MODEL", model)

    result = run("a.wav")

    assert result.exit_code == 0
    assert "no --model given" not in result.stderr


def test_dry_run_says_what_would_be_written_and_writes_nothing(sounds):
    result = run("a.wav", "b.flac", "-o", "out/", "-f", "txt,srt", "--dry-run", "-m", "a/b")

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"a.wav -> {Path('out/a.txt')}, {Path('out/a.srt')}",
        f"b.flac -> {Path('out/b.txt')}, {Path('out/b.srt')}",
    ]
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "spelling", [["--output_format", "json"], ["--output-format=json"], ["--format=json"]]
)
def test_names_of_options_in_other_tools_are_understood(spelling, model, sounds):
    result = run("a.wav", *spelling, "--max_line_width", "30", "-m", model)

    assert json.loads(result.stdout)["schema"] == 1


def test_debug_shows_where_an_error_came_from(model, sounds):
    result = run("a.wav", "--device", "tpu", "--debug", "-m", model)

    assert result.exception is not None
    assert type(result.exception).__name__ == "UsageError"


def test_fault_in_asrkit_is_one_line_without_a_traceback(model, sounds, monkeypatch):
    monkeypatch.setattr("asrkit.inputs.iter_inputs", lambda *a, **k: 1 / 0)

    result = run("a.wav", "-m", model)

    assert result.exit_code == 4
    assert "error: internal error: ZeroDivisionError" in result.stderr


def test_reader_that_closes_early_ends_the_run_quietly(model, sounds):
    command = [sys.executable, "-m", "asrkit", "transcribe", *["a.wav"] * 40, "-m", model]

    with subprocess.Popen(
        [*command, "--batch-size", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read().decode()

    assert "Traceback" not in errors
    assert "internal error" not in errors


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_interrupt_keeps_finished_files(model, sounds):
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000 * 600)
    soundfile.write("long.wav", noise, 16_000)
    command = [sys.executable, "-m", "asrkit", "transcribe", "a.wav", "long.wav"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    with subprocess.Popen(
        [*command, "b.flac", "-o", "out/", "--batch-size", "1", "-m", model],
        stderr=subprocess.PIPE,
        env=environment,
    ) as process:
        deadline = time.monotonic() + 60
        while not Path("out/a.txt").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        errors = process.stderr.read().decode()

    assert (process.returncode, "Traceback" in errors) == (130, False)
    assert [path.name for path in Path("out").iterdir()] == ["a.txt"]
