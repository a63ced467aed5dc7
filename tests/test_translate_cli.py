"""`asrkit translate`, and `asrkit transcribe` with an encoder-decoder, as a script sees them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

import asrkit
from asrkit.cli.app import app
from asrkit.errors import UsageError
from tests.tiny import tiny_model
from tests.tiny_writer import tiny_german_writer, tiny_writer

RATE = 16_000


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """A folder of models: one language, several, Speech2Text2, and a CTC model."""
    folder = tmp_path_factory.mktemp("models")
    tiny_writer(folder / "one", seed=1)
    tiny_writer(folder / "many", languages=("pt", "fr"), seed=1)
    tiny_german_writer(folder / "german", seed=4)
    tiny_model(folder=folder / "ctc", feat_extract_norm="layer")
    return folder


@pytest.fixture(autouse=True)
def sounds(tmp_path, monkeypatch) -> Path:
    """The current folder, with sounds of several lengths, silence, and what is no sound."""
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).normal(0, 0.1, 4 * RATE)
    soundfile.write("a.wav", noise[: 2 * RATE], RATE)
    soundfile.write("b.flac", noise[RATE : 2 * RATE], 8_000)
    gap = np.zeros(RATE)
    soundfile.write("long.wav", np.concatenate([noise, gap, noise, gap, noise[:RATE]]), RATE)
    soundfile.write("silence.wav", np.zeros(RATE), RATE)
    soundfile.write("short.wav", noise[:300], RATE)
    Path("text.wav").write_text("These are words, not sound.\n" * 50)
    return tmp_path


def run(command: str, *arguments: object, stdin: bytes | None = None):
    return CliRunner().invoke(app, [command, *map(str, arguments)], input=stdin)


def rows(result) -> list[dict]:
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.parametrize("name", ["one", "german"])
@pytest.mark.parametrize("command", ["translate", "transcribe"])
def test_one_file_prints_its_text_and_nothing_else(command, name, models):
    result = run(command, "a.wav", "-m", models / name)

    assert result.exit_code == 0
    assert result.stdout.count("\n") == 1
    assert len(result.stdout) > 1
    assert "1 file · 2.0 s of audio" in result.stderr


def test_many_files_print_path_and_text_in_the_order_given(models):
    result = run("translate", "b.flac", "a.wav", "silence.wav", "-m", models / "one")

    table = [line.split("\t") for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert [row[0] for row in table] == ["b.flac", "a.wav", "silence.wav"]
    assert table[0][1] == run("translate", "b.flac", "-m", models / "one").stdout.strip()
    assert table[2][1] == ""


@pytest.mark.parametrize("name", ["one", "german"])
def test_batches_do_not_change_the_texts(name, models):
    single, batched = (
        run("translate", "a.wav", "b.flac", "long.wav", "--chunk-length", "5",
            "--batch-size", size, "-f", "jsonl", "-m", models / name)
        for size in (1, 8)
    )  # fmt: skip

    assert [row["segments"] for row in rows(batched)] == [row["segments"] for row in rows(single)]


def test_long_audio_is_cut_in_its_pauses(models):
    result = run(
        "translate", "long.wav", "--chunk-length", "5", "-f", "jsonl", "-m", models / "one"
    )

    spans = [(s["start"], s["end"]) for s in rows(result)[0]["segments"]]
    assert spans == [
        (pytest.approx(start, abs=0.02), pytest.approx(end, abs=0.02))
        for start, end in [(0, 4), (5, 9), (10, 11)]
    ]


def test_language_is_written(models):
    texts = {
        code: run("translate", "a.wav", "--target-lang", code, "-m", models / "many").stdout
        for code in ("pt", "fr")
    }

    assert texts["pt"] != texts["fr"]
    assert "<lang" not in "".join(texts.values())


@pytest.mark.parametrize(
    ("name", "arguments", "message", "hint"),
    [
        ("many", ["--target-lang", "xx"], "does not write 'xx'", "it writes fr, pt"),
        ("many", [], "none is chosen", "asrkit translate --target-lang with one of fr, pt"),
        ("one", ["--target-lang", "fr"], "'fr' cannot be chosen", "leave out"),
        ("ctc", [], "is no encoder-decoder", "asrkit transcribe --model"),
        ("one", ["--n-best", "4"], "4 texts are asked for and 3 kept", "beam"),
        ("one", ["--chunk-length", "0"], "a chunk of 0 s", "hint"),
        ("one", ["--source-model", "one"], "is an encoder-decoder", "a CTC model"),
        ("one", ["--beam-width", "0"], "--beam-width", "--help"),
        ("one", ["-f", "docx"], "unknown format 'docx'", ""),
        ("one", ["--batch-size", "0"], "--batch-size", "--help"),
    ],
)
def test_translation_that_cannot_be_is_exit_code_2(name, arguments, message, hint, models):
    arguments = [str(models / "one") if item == "one" else item for item in arguments]
    result = run("translate", "a.wav", *arguments, "-m", models / name)

    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert hint in result.stderr


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("one", ["--lm", "some.arpa"], "--lm can only be had of a CTC model"),
        ("one", ["--hotwords", "a,b"], "--hotwords can only be had"),
        ("one", ["--lexicon", "words.txt"], "--lexicon can only be had"),
        ("one", ["--decoder", "beam"], "--decoder can only be had"),
        ("one", ["--stride", "1"], "--stride can only be had"),
        ("one", ["--emissions", "kept"], "no emissions"),
        ("one", ["--timestamps", "word"], "--align-model"),
        ("many", [], "asrkit translate --target-lang"),
        ("ctc", ["--no-repeat-ngram", "2"], "--no-repeat-ngram can only be had of an encoder"),
        ("ctc", ["--align-model", "ctc"], "by itself"),
    ],
)
def test_transcription_with_options_of_other_models_is_exit_code_2(
    name, arguments, message, models
):
    arguments = [str(models / item) if item == "ctc" else item for item in arguments]
    result = run("transcribe", "a.wav", *arguments, "-m", models / name)

    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert not Path("kept").exists()


def test_translation_only_options_are_unknown_to_transcribe(models):
    result = run("transcribe", "a.wav", "--target-lang", "fr", "-m", models / "many")

    assert result.exit_code == 2
    assert "--target-lang" in result.stderr


def test_aligning_with_an_encoder_decoder_names_what_can(models):
    Path("a.txt").write_text("the cat")

    result = run("align", "a.wav", "a.txt", "-m", models / "one")

    assert result.exit_code == 2
    assert "is an encoder-decoder" in result.stderr
    assert "a CTC model" in result.stderr


@pytest.mark.parametrize("name", ["missing.wav", "text.wav", "short.wav"])
def test_bad_input_is_one_error_and_the_others_go_on(name, models):
    result = run("translate", "a.wav", name, "b.flac", "-m", models / "one")

    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert result.exit_code == 3
    assert [row.split("\t")[0] for row in result.stdout.splitlines()] == ["a.wav", "b.flac"]
    assert len(errors) == 1
    assert errors[0].startswith(f"error: {name}")


def test_nothing_that_can_be_read_is_exit_code_4(models):
    result = run("translate", "short.wav", "-m", models / "one")

    assert (result.exit_code, result.stdout) == (4, "")
    assert "expected at least 25 ms" in result.stderr


@pytest.mark.parametrize("command", ["translate", "transcribe"])
def test_n_best_texts_come_with_their_scores(command, models):
    result = run(command, "a.wav", "--n-best", "3", "-f", "jsonl", "-m", models / "one")

    (row,) = rows(result)
    scores = [item["score"] for item in row["alternatives"]]
    assert [set(item) for item in row["alternatives"]] == [{"text", "score"}] * 3
    assert row["alternatives"][0]["text"] == row["text"]
    assert scores == sorted(scores, reverse=True)


def test_options_of_the_search_are_in_the_result(models):
    result = run(
        "translate", "a.wav", "--beam-size", "2", "--length-penalty", "0.5", "--max-new-tokens",
        "4", "--no-repeat-ngram-size", "2", "-f", "jsonl", "-m", models / "one",
    )  # fmt: skip

    used = rows(result)[0]["options"]["generation"]
    assert used["num_beams"] == 2
    assert used["length_penalty"] == 0.5
    assert used["max_new_tokens"] == 4
    assert used["no_repeat_ngram_size"] == 2


def test_word_times_come_from_a_ctc_model(models):
    result = run(
        "transcribe", "a.wav", "--timestamps", "word", "--align-model", models / "ctc",
        "-f", "jsonl", "-m", models / "one",
    )  # fmt: skip

    (row,) = rows(result)
    words = [word for segment in row["segments"] for word in segment["words"]]
    assert " ".join(word["text"] for word in words) == row["text"]
    assert all(0 <= word["start"] < word["end"] <= 2.0 for word in words)


def test_source_text_stands_before_the_translation(models):
    both = run(
        "translate", "a.wav", "--source-text", "--source-model", models / "ctc",
        "-m", models / "one",
    )  # fmt: skip

    alone = run("translate", "a.wav", "-m", models / "one")
    heard = run("transcribe", "a.wav", "-m", models / "ctc")
    assert both.stdout == heard.stdout.rstrip("\n") + "\t" + alone.stdout


@pytest.mark.parametrize("form", ["txt", "srt", "vtt", "json", "tsv", "csv", "words", "ctm", "lrc"])
def test_every_format_holds_the_translation(form, models):
    result = run("translate", "a.wav", "-f", form, "-m", models / "one")

    first = run("translate", "a.wav", "-m", models / "one").stdout.split()[0]
    assert result.exit_code == 0
    assert first in result.stdout


def test_files_go_to_a_folder(models):
    result = run("translate", "a.wav", "b.flac", "-f", "txt,srt", "-o", "out", "-m", models / "one")

    files = sorted(path.name for path in Path("out").iterdir())
    assert (result.exit_code, result.stdout) == (0, "")
    assert files == ["a.srt", "a.txt", "b.srt", "b.txt"]


def test_dry_run_needs_no_model():
    result = run("translate", "a.wav", "-o", "out/", "--dry-run", "-m", "some/model")

    assert (result.exit_code, result.stdout) == (0, f"a.wav -> {Path('out/a.txt')}\n")
    assert "TranslateOptions" in result.stderr
    assert not Path("out").exists()


def test_standard_input_is_read(models):
    result = run("translate", "-", "-m", models / "one", stdin=Path("a.wav").read_bytes())

    assert result.stdout == run("translate", "a.wav", "-m", models / "one").stdout


def test_verbose_names_the_model(models):
    result = run("translate", "a.wav", "-v", "-m", models / "one", "--device", "cpu")

    assert "Speech2TextForConditionalGeneration, 0.0 M parameters, float32 on cpu" in result.stderr


@pytest.mark.parametrize("file", ["sentencepiece.bpe.model", "vocab.json"])
@pytest.mark.parametrize("damage", ["missing", "empty", "garbage"])
def test_broken_vocabulary_is_exit_code_4_and_names_its_file(file, damage, tmp_path):
    path = tiny_writer(tmp_path / "model") / file
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(b"" if damage == "empty" else b"\x08\xffgarbage" * 9)

    result = run("translate", "a.wav", "-m", "./model")

    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.startswith("error: ")
    assert file in result.stderr


def test_without_a_model_the_embedded_one_translates_and_a_note_names_a_real_one():
    clip = Path(__file__).parent.parent / "examples/translate/date.opus"

    result = run("translate", clip, "--target-lang", "de", "--source-text")

    said, written = result.stdout.rstrip("\n").split("\t")
    assert said == "MY BIRTHDAY IS ON THE TWENTY THIRD OF MAY"
    assert written == "Mein Geburtstag ist am 23. Mai."
    assert "--model facebook/s2t-medium-mustc-multilingual-st" in result.stderr
    assert "--source-model facebook/wav2vec2-base-960h" in result.stderr


def test_python_calls_give_what_the_commands_print(models):
    samples, _ = soundfile.read("a.wav", dtype="float32")

    from_path, from_array = asrkit.translate(
        ["a.wav", asrkit.Audio(samples, RATE)], str(models / "many"), target_language="fr"
    )
    (transcript,) = asrkit.transcribe("a.wav", str(models / "one"))

    printed = run("translate", "a.wav", "--target-lang", "fr", "-m", models / "many").stdout
    assert from_path.text == from_array.text == printed.rstrip("\n")
    assert f"{transcript.text}\n" == run("translate", "a.wav", "-m", models / "one").stdout
    assert from_path.options["target_language"] == "fr"


def test_python_call_takes_a_loaded_model_and_a_source_model(models):
    generator = asrkit.Generator.load(asrkit.ModelOptions(str(models / "one")))

    (result,) = asrkit.translate("a.wav", generator, source_model=str(models / "ctc"))

    assert result.source_text == asrkit.transcribe("a.wav", str(models / "ctc"))[0].text


def test_python_call_refuses_what_it_does_not_know(models):
    with pytest.raises(UsageError, match="target_lang"):
        asrkit.translate("a.wav", str(models / "many"), target_lang="fr")
