"""`asrkit convert lm`: what lies in the folder, what it decodes, and what is refused."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import asrkit
from asrkit.cli.app import app
from asrkit.ctc.lm import BINARY_MAGIC, LanguageModel
from asrkit.models.wav2vec2 import Wav2Vec2ForSequenceClassification
from asrkit.options import DecodingOptions
from asrkit.scoring import Counts
from asrkit.tasks.tune import Trial, Tuning
from tests.test_lm import ARPA
from tests.tiny import tiny_head, tiny_model

CLIPS = Path(__file__).parents[1] / "examples"
TEXT = """Set the alarm for twenty-five, please!
Don’t set the lights in room 42.

THERE IS A GIRL
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model(folder=tmp_path_factory.mktemp("model"))


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("text").write_text(TEXT, encoding="utf-8")
    upper = ARPA.replace("ab", "AB").replace("c\t", "C\t").replace("c </s>", "C </s>")
    Path("x.arpa").write_text(upper.replace("AB c", "AB C"), encoding="utf-8")


def run(source, model, *options):
    return CliRunner().invoke(app, ["convert", "lm", str(source), str(model), "out", *options])


def unigrams():
    return Path("out/language_model/unigrams.txt").read_text(encoding="utf-8").split()


def files(folder):
    return {p.relative_to(folder).as_posix() for p in Path(folder).rglob("*") if p.is_file()}


def test_text_is_spelled_as_the_model_writes_it(model):
    result = run("text", model)

    assert result.exit_code == 0, result.stderr
    said = "THERE IS A GIRL SET THE ALARM FOR TWENTY FIVE PLEASE DON'T LIGHTS IN ROOM"
    assert set(unigrams()) == set(said.split())
    assert "1 of 16 words, 5.6% of the text, cannot be written by the model, such as 42." in (
        result.stderr
    )
    arpa = Path("out/language_model/lm.arpa").read_text(encoding="utf-8")
    assert "\tROOM 42." in arpa  # it keeps its place between other words


def test_text_as_it_is_keeps_case_and_trusts_what_can_be_written(model):
    result = run("text", model, "--as-is")

    assert result.exit_code == 0, result.stderr
    assert unigrams() == ["A", "GIRL", "IS", "THERE"]
    assert "twenty-five," in Path("out/language_model/lm.arpa").read_text(encoding="utf-8")


def test_folder_is_a_copy_of_the_model_with_a_language_model(model):
    run("text", model, "--lm-alpha", "0.7")

    own = {"alphabet.json", *(f"language_model/{n}" for n in ("attrs.json", "lm.arpa"))}
    assert files("out") == files(model) | own | {"language_model/unigrams.txt"}
    for name in files(model) - {"preprocessor_config.json"}:
        assert Path("out", name).read_bytes() == (model / name).read_bytes()
    processor = json.loads(Path("out/preprocessor_config.json").read_text())
    assert processor["processor_class"] == "Wav2Vec2ProcessorWithLM"
    attrs = json.loads(Path("out/language_model/attrs.json").read_text())
    assert (attrs["alpha"], attrs["beta"]) == (0.7, 1.5)


def test_folder_is_used_without_another_word():
    Path("text").write_text("set the temperature to twenty degrees\n" * 3)
    clip = str(CLIPS / "audio" / "espeak-gb.flac")

    result = run("text", "demo-en")
    (found,) = asrkit.transcribe([clip], "out")
    (beside,) = asrkit.transcribe([clip], decoding=DecodingOptions(lm="out"))

    assert result.exit_code == 0, result.stderr
    assert "too small or too regular" in result.stderr
    assert found.text == beside.text == "SET THE TEMPERATURE TO TWENTY DEGREES"
    assert found.options["decoding"]["decoder"] == "beam"
    assert len(unigrams()) == 6  # and none of those that demo-en brings


def test_order_and_pruning_reach_the_model(model):
    run("text", model, "--order", "2", "--prune", "0 1")

    lines = Path("out/language_model/lm.arpa").read_text(encoding="utf-8").splitlines()
    assert lines[:3] == ["\\data\\", "ngram 1=19", "ngram 2=1"]  # SET THE alone comes twice


@pytest.mark.parametrize("name", ["x.arpa", "y", "x.arpa.gz"])
def test_arpa_is_packed_as_it_is(model, name):
    data = Path("x.arpa").read_bytes()
    Path(name).write_bytes(gzip.compress(data) if name.endswith("gz") else data[14:])

    result = run(name, model)

    assert result.exit_code == 0, result.stderr
    packed = Path("out/language_model/lm.arpa").read_bytes()
    assert packed == (data if name.endswith("gz") else data[14:])
    assert unigrams() == ["AB", "C"]
    assert LanguageModel.from_directory("out/language_model").unigrams == {"AB", "C"}


def test_words_to_trust_can_be_given(model):
    Path("words").write_text("ab\nzebra\n")

    run("x.arpa", model, "--unigrams", "words")

    assert unigrams() == ["AB"]


@pytest.mark.parametrize(
    ("name", "data", "options", "code", "message"),
    [
        ("none", None, [], 4, "none: cannot be read: No such file"),
        (".", None, [], 4, ".: cannot be read: Is a directory"),
        ("empty", b"", [], 4, "no words"),
        ("blank", b"\n \n", [], 4, "no words"),
        ("latin", b"a\nb\xe9\n", [], 4, "latin: line 2 is not UTF-8"),
        ("binary", b"a\n\0\1", [], 4, "binary: line 2 holds a NUL byte"),
        ("long", b"a " * (1 << 20), [], 4, "long: line 1 is longer than 1,048,576 bytes"),
        ("markers", b"<s> a </s>\n", [], 4, "</s> in the text"),
        ("greek", "αβ γ\n".encode(), [], 4, "can write none of its 2 words, such as 'αβ'"),
        ("cut.gz", gzip.compress(b"a b\n" * 99, mtime=0)[:-9], [], 4, "cut.gz: damaged gzip"),
        ("lower.arpa", ARPA.encode(), [], 4, "can write none of its 2 words, such as 'ab'"),
        ("bad.arpa", ARPA.replace("-0.25", "0.25").encode(), [], 4, "bad.arpa: line 16: '0.25"),
        ("text.arpa", b"a b\n", [], 4, "text.arpa: line 1: 'a b'"),
        ("lm.bin", BINARY_MAGIC + b"?", [], 4, "lm.bin: "),
        ("x.arpa", None, ["--order", "2"], 2, "x.arpa is a language model"),
        ("text", None, ["--prune", "1,0"], 2, "pruning by 1,0"),
        ("text", None, ["--lm-beta", "nan"], 2, "lm_beta nan is not a number"),
        ("text", None, ["--prune", "few"], 2, "'few' is no list of counts"),
        ("text", None, ["--unigrams", "none"], 2, "none: cannot be read as a list of words"),
        ("text", None, ["--tune", "none.tsv"], 4, "none.tsv"),
    ],
)
def test_what_cannot_be_used_is_refused_and_leaves_nothing(
    model, name, data, options, code, message
):
    if data is not None:
        Path(name).write_bytes(data)
    before = sorted(Path().iterdir())

    result = run(name, model, *options)

    assert result.exit_code == code
    assert message in result.stderr
    assert "~/" not in result.stderr  # no name of the folder that was being made
    assert sorted(Path().iterdir()) == before


def test_other_models_are_refused_by_name(tmp_path):
    tiny_head(Wav2Vec2ForSequenceClassification, tmp_path / "classifier")

    for name in ("classifier", "demo-translate"):
        result = run("text", name)
        assert result.exit_code in (2, 4)
        assert result.stderr.startswith(f"error: {name}")
        assert not Path("out").exists()


def test_nothing_is_overwritten(model):
    Path("out").mkdir()
    Path("out/mine").write_text("mine")

    result = run("text", model)

    assert (result.exit_code, files("out")) == (4, {"mine"})
    assert "out: exists already" in result.stderr


def test_tuning_keeps_the_weights_with_the_fewest_errors(monkeypatch):
    monkeypatch.setattr("asrkit.tasks.tune._STEPS", ((0.25, 0.75),))
    Path("text").write_text("start the computer this afternoon\nit costs many dollars\n" * 2)
    rows = [("flite-rms.flac", "Start the computer this afternoon!"), ("none.wav", "A")]
    rows += [("flite-slt.mp3", "IT COSTS TWENTY DOLLARS"), ("espeak-us.wav", "")]
    lines = [f"{CLIPS / 'audio' / name}\t{text}" for name, text in rows]
    Path("dev.tsv").write_text("\n".join(["audio_filepath\ttext", *lines]) + "\n")

    result = run("text", "demo-en", "--tune", "dev.tsv")

    assert result.exit_code == 3, result.stderr  # one recording does not exist
    assert "none.wav" in result.stderr
    table = re.findall(r"alpha (.+)  beta (.+)  WER (.+) %", result.stderr)
    rates = {(float(alpha), float(beta)): float(rate) for alpha, beta, rate in table}
    attrs = json.loads(Path("out/language_model/attrs.json").read_text())
    assert next(iter(rates)) == (0.5, 1.5)
    assert rates[attrs["alpha"], attrs["beta"]] == min(rates.values()) < max(rates.values())
    assert f"{rates[0.5, 1.5]:.2f} % with alpha 0.5 and beta 1.5" in result.stderr

    for alpha, beta in ((attrs["alpha"], attrs["beta"]), (2.0, 4.5)):
        clips = [str(CLIPS / "audio" / name) for name, _ in (rows[0], rows[2], rows[3])]
        decoding = DecodingOptions(lm_alpha=alpha, lm_beta=beta)
        heard = asrkit.transcribe(clips, "out", decoding=decoding)
        said = [rows[0][1].upper().strip("!"), rows[2][1], ""]
        report = asrkit.evaluate(said, [transcript.text for transcript in heard])
        assert rates[alpha, beta] == pytest.approx(100 * report.wer, abs=0.005)


def test_ties_go_to_the_weights_that_were_given():
    def trial(alpha, beta, errors):
        return Trial(alpha, beta, Counts(hits=9, substitutions=errors))

    trials = (trial(0.5, 1.5, 4), trial(0.25, 0.0, 3), trial(1.0, 1.5, 3), trial(0.25, 1.5, 3))
    assert Tuning(Counts(), trials).best == trials[3]
    assert Tuning(Counts(), (trial(0.5, 1.5, 3), *trials)).best.alpha == 0.5
    mirrored = (trials[0], trial(0.75, 1.5, 3), trial(0.25, 1.5, 3))
    assert Tuning(Counts(), mirrored).best.alpha == 0.25
