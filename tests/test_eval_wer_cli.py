"""`asrkit eval-wer` as a script sees it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
import soundfile
from typer.testing import CliRunner

from asrkit.cli.app import app
from asrkit.tasks.recognizer import Recognizer
from asrkit.types import AudioInput
from tests.test_transcribe import RATE, spell, spelling_recognizer


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    """The current folder, with references and hypotheses."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    Path("ref.txt").write_text("u1 the cat sat\nu2 a dog\n")
    Path("hyp.txt").write_text("u1 the cat sad\nu2 a dog\n")
    Path("better.txt").write_text("u1 the cat sat\nu2 a dog\n")
    return tmp_path


def run(*arguments: str, stdin: str | None = None):
    return CliRunner().invoke(app, ["eval-wer", *arguments], input=stdin)


def test_prints_a_table():
    result = run("ref.txt", "hyp.txt")

    assert result.exit_code == 0
    assert result.stderr == ""
    assert [line.rstrip() for line in result.stdout.splitlines()] == [
        "system            WER %  95 % interval  CER %  SER %  sub  del  ins  words",
        "──────────────────────────────────────────────────────────────────────────",
        "hyp.txt           20.00  0.00 to 33.33   6.25  50.00    1    0    0      5",
        "",
        "2 utterances of ref.txt, so few that intervals are rough; normalizer none",
    ]


def test_a_manifest_alone_holds_no_hypotheses():
    Path("audio.tsv").write_text("audio_filepath\ttext\na.wav\thello\n")

    result = run("audio.tsv")

    assert result.exit_code == 4
    assert "no column 'pred_text', found audio_filepath, text" in result.stderr
    assert "--model" in result.stderr


def test_a_limit_that_is_kept_exits_with_0():
    assert run("ref.txt", "hyp.txt", "--fail-above", "0.2").exit_code == 0


def test_a_limit_that_is_passed_exits_with_1_and_says_why_in_one_line():
    result = run("ref.txt", "hyp.txt", "-q", "--fail-above", "0.1")

    assert result.exit_code == 1
    assert result.stderr == "failed: WER 20.00 % is above 10.00 %\n"


def test_a_regression_exits_with_1():
    assert run("ref.txt", "better.txt", "-o", "old.json").exit_code == 0

    result = run("ref.txt", "hyp.txt", "--baseline", "old.json", "--fail-regression", "0.5")

    assert result.exit_code == 1
    assert "WER 20.00 % is 20.00 points above 0.00 % of old.json, allowed are 0.5" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["ref.txt", "none.txt"], 4, "error: none.txt: cannot be read: No such file or directory"),
        (["ref.txt"], 2, "error: ref.txt: references without hypotheses"),
        (["-", "-"], 2, "error: standard input cannot be read twice"),
        (["ref.txt", "hyp.txt", "-f", "jsom"], 2, "hint: did you mean json?"),
        (["ref.txt", "hyp.txt", "-f", "json,csv"], 2, "error: 2 reports cannot go to one place"),
        (["ref.txt", "hyp.txt", "-o", "x.pdf"], 2, "error: -o x.pdf: '.pdf' does not say"),
        (["ref.txt", "hyp.txt", "-o", "ref.txt"], 2, "error: ref.txt is an input"),
        (["ref.txt", "hyp.txt", "--fail-regression", "1"], 2, "error: a regression needs a"),
        (["ref.txt", "hyp.txt", "--fail-above", "12"], 2, "12"),
        (["ref.txt", "hyp.txt", "--resume", "x"], 2, "error: --resume keeps transcripts"),
        (["ref.txt", "hyp.txt", "--engine", "ray"], 2, "error: --engine ray works with a model"),
        (["ref.txt", "hyp.txt", "--color", "red"], 2, "error: Invalid value for '--color'"),
        (["ref.txt", "hyp.txt", "--by", "speaker"], 4, "error: ref.txt: no column 'speaker'"),
        (["ref.txt", "hyp.txt", "-n", "french"], 2, "error: normalizer 'french'"),
        (["empty.tsv", "hyp.txt"], 4, "error: empty.tsv: holds no utterances"),
        (["silent.txt", "silent.txt"], 4, "error: silent.txt: no reference has a word"),
        (["latin.txt", "hyp.txt"], 4, "error: latin.txt: not UTF-8"),
        (["few.txt", "hyp.txt"], 4, "error: few.txt has no reference for u2"),
    ],
)  # fmt: skip
def test_errors_have_their_codes(arguments, code, message):
    Path("empty.tsv").write_text("id\ttext\n")
    Path("silent.txt").write_text("\n\n")
    Path("latin.txt").write_bytes(b"caf\xe9\n")
    Path("few.txt").write_text("u1\tthe cat sat\n")

    result = run(*arguments)

    assert result.exit_code == code
    assert message in result.stderr
    assert result.stdout == ""


def test_several_reports_at_once_go_to_a_directory():
    result = run(
        "ref.txt", "hyp.txt", "-f", "text,json,csv,html,junit,github,markdown", "-o", "out"
    )

    assert result.exit_code == 0
    assert result.stdout == ""
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "eval-wer.csv", "eval-wer.github.txt", "eval-wer.html", "eval-wer.json", "eval-wer.md",
        "eval-wer.txt", "eval-wer.xml",
    ]  # fmt: skip
    data = json.loads(Path("out/eval-wer.json").read_text())
    assert data["systems"][0]["wer"] == 0.2
    assert len(data["utterances"]) == data["utterances_total"] == 2
    rows = list(csv.DictReader(io.StringIO(Path("out/eval-wer.csv").read_text())))
    assert [(row["id"], row["wer"]) for row in rows] == [("u1", "0.333333"), ("u2", "0.000000")]


def test_outputs_may_be_named_one_by_one():
    result = run("ref.txt", "hyp.txt", "-o", "a.json", "-o", "b.html", "-o", "-")

    assert result.stdout.startswith("system")
    assert Path("a.json").exists()
    assert Path("b.html").exists()
    assert result.stderr == "json report in a.json\nhtml report in b.html\n"


def test_github_gets_annotations_and_a_summary(monkeypatch):
    Path("summary.md").write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")

    result = run("ref.txt", "hyp.txt", "-f", "github", "--fail-above", "0.1")

    assert result.exit_code == 1
    assert result.stdout.splitlines()[0] == (
        "::error title=asrkit eval-wer::WER 20.00 %25 is above 10.00 %25"
    )
    summary = Path("summary.md").read_text()
    assert summary.startswith("before\n## Word error rate\n")
    assert "| hyp.txt | 20.00 % |" in summary


def test_junit_has_a_case_for_each_check():
    run("ref.txt", "hyp.txt", "--fail-above", "0.1", "--fail-cer-above", "0.5", "-o", "r.xml")

    root = ElementTree.parse("r.xml").getroot()
    assert (root.get("tests"), root.get("failures")) == ("2", "1")
    (failure,) = root.iter("failure")
    assert failure.get("message") == "WER 20.00 % is above 10.00 %"


def test_alignments_show_what_went_wrong():
    result = run("ref.txt", "hyp.txt", "--errors-only")

    assert result.stdout.splitlines()[:5] == [
        "u1",
        "WER 33.33 %, 1 sub, 0 del, 0 ins",
        "REF  the cat sat",
        "HYP  the cat sad",
        "             S",
    ]
    assert "u2" not in result.stdout
    assert "u2" in run("ref.txt", "hyp.txt", "--align").stdout


def test_alignments_keep_columns_by_what_is_seen():
    # Two cells for each of the Chinese characters, none for the combining accent.
    Path("wide.txt").write_text("日本 cafe\u0301 x\n")
    Path("heard.txt").write_text("a b c\n")

    lines = run("wide.txt", "heard.txt", "--align").stdout.splitlines()

    assert lines[2:5] == ["REF  日本 café x", "HYP  a    b    c", "     S    S    S"]


def test_long_alignments_are_wrapped():
    Path("long.txt").write_text("word " * 60 + "\n")

    lines = run("long.txt", "long.txt", "--align").stdout.splitlines()

    assert max(map(len, lines)) <= 100
    assert sum(line.startswith("REF") for line in lines) == 4


@pytest.mark.parametrize(
    ("arguments", "environment", "has_color"),
    [
        ([], {}, False),
        (["--color", "always"], {}, True),
        (["--color", "always"], {"NO_COLOR": "1"}, True),
        (["--color", "never"], {"FORCE_COLOR": "1"}, False),
    ],
)
def test_colours_are_only_where_they_are_wanted(arguments, environment, has_color, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    result = run("ref.txt", "hyp.txt", "--align", *arguments)

    assert ("\x1b[" in result.stdout) is has_color


def test_several_systems_are_compared():
    result = run("ref.txt", "hyp.txt", "better.txt")

    assert "better.txt against hyp.txt: -20.00 points" in result.stdout


def test_confusions_and_changes_are_listed():
    Path("hyp.txt").write_text("u1 The cat sad\nu2 a dog too\n")

    result = run("ref.txt", "hyp.txt", "-n", "basic", "--normalizer-report", "--confusions", "3")

    assert "sat → sad" in result.stdout
    assert "too" in result.stdout
    assert ["The", "the", "1"] in map(str.split, result.stdout.splitlines())
    assert "raw WER" in result.stdout


def test_one_table_may_hold_both():
    rows = [{"id": "a", "text": "x y", "pred_text": "x z", "duration": 3.0, "seconds": 0.5}]
    Path("m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    result = run("m.jsonl")

    assert result.exit_code == 0
    assert "50.00" in result.stdout
    assert "6.0" in result.stdout.splitlines()[2]  # RTFx

    assert "no column 'other'" in run("m.jsonl", "--hyp-column", "other").stderr


def test_hypotheses_come_from_standard_input():
    result = run("ref.txt", "-", stdin="u1\tthe cat\nu2\ta dog\n")

    assert result.exit_code == 0
    assert "standard input" in result.stdout


def test_missing_ids_are_a_warning_where_that_was_asked_for():
    Path("hyp.txt").write_text("u1\tthe cat sat\n")

    result = run("ref.txt", "hyp.txt", "--missing", "empty")

    assert result.exit_code == 0
    assert "warning: no hypothesis in hyp.txt, counted as nothing heard: u2" in result.stderr
    assert "40.00" in result.stdout


# ------------------------------------------------------------------------------- from a model


@pytest.fixture
def manifest(monkeypatch) -> list[str]:
    """Three clips that the model reads off the samples; returns what was loaded how often."""
    loaded: list[str] = []

    def load(options):
        loaded.append(options.model)
        return spelling_recognizer()

    monkeypatch.setattr(Recognizer, "load", load)
    monkeypatch.setattr(Recognizer, "describe", lambda recognizer: "a model")
    monkeypatch.setattr("asrkit.tasks.transcripts.identity", lambda options: options)
    for name, path in (("a", "_HI|TH_EE_RE_"), ("b", "_YOU_"), ("c", "_GO_")):
        soundfile.write(f"{name}.wav", spell(path).samples, RATE, subtype="FLOAT")
    Path("m.tsv").write_text(
        "audio_filepath\ttext\tspeaker\na.wav\tHI THERE\tann\nb.wav\tYOU TWO\tbob\nc.wav\tGO\tann\n"
    )
    return loaded


def test_a_manifest_is_transcribed_first(manifest):
    result = run("m.tsv", "--model", "some", "--by", "speaker", "-o", "-", "-o", "r.json")

    assert result.exit_code == 0
    assert manifest == ["some"]
    data = json.loads(Path("r.json").read_text())
    (system,) = data["systems"]
    assert (system["name"], system["model"]["id"]) == ("spelling", "spelling")
    assert system["wer"] == pytest.approx(1 / 5)
    assert system["groups"]["speaker"]["bob"]["wer"] == 0.5
    assert system["options"]["decoding"] == {"decoder": "greedy"}
    assert system["rtfx"] > 0
    assert system["audio_seconds"] == pytest.approx(22 * 0.02 + 3 * 0.005)
    assert "RTFx" in result.stdout


def test_the_decoder_takes_the_options_that_it_takes_elsewhere(manifest):
    soundfile.write("a.wav", spell("_THE|_HORZE_").samples, RATE, subtype="FLOAT")
    Path("one.tsv").write_text("audio_filepath\ttext\na.wav\tTHE HORSE\n")
    Path("words.txt").write_text("the\nhorse\n")

    plain = run("one.tsv", "--model", "some", "-f", "json")
    mended = run(
        *("one.tsv", "--model", "some", "-f", "json", "--beam-width", "10", "--lexicon-only"),
        *("--lexicon", "words.txt", "--hotwords", "horse", "--hotword-weight", "3"),
    )

    assert json.loads(plain.stdout)["systems"][0]["wer"] == 0.5
    (system,) = json.loads(mended.stdout)["systems"]
    assert system["wer"] == 0
    options = system["options"]["decoding"]
    assert (options["beam_width"], options["hotword_weight"]) == (10, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lm-unigrams", "words.txt"], "lm_unigrams without a language model"),
        (["--decoder", "greedy", "--lexicon", "words.txt"], "greedy decoding has no"),
    ],
)
def test_decoder_options_that_contradict_each_other_load_no_model(manifest, arguments, message):
    result = run("m.tsv", "--model", "some", *arguments)

    assert (result.exit_code, manifest) == (2, [])
    assert message in result.stderr


def test_the_language_of_a_model_can_be_chosen(monkeypatch, manifest):
    languages: list[str | None] = []

    def load(options):
        languages.append(options.language)
        return spelling_recognizer()

    monkeypatch.setattr(Recognizer, "load", load)
    run("m.tsv", "--model", "some", "--language", "fra")

    assert languages == ["fra"]


def test_a_stopped_run_goes_on(manifest, monkeypatch):
    heard: list[str] = []
    real = Recognizer.log_probs

    run("m.tsv", "--model", "some", "--resume", "state.jsonl", "-o", "one.json")
    lines = Path("state.jsonl").read_bytes().splitlines(keepends=True)
    assert len(lines) == 3
    # As if the machine had stopped in the middle of the third line.
    Path("state.jsonl").write_bytes(b"".join(lines[:2]) + lines[2][:40])

    from asrkit.tasks import transcripts

    stream = transcripts.transcribe_stream

    def counted(inputs, *arguments, **options):
        def seen():
            for item in inputs:
                if isinstance(item, AudioInput):
                    heard.append(item.path)
                yield item

        return stream(seen(), *arguments, **options)

    monkeypatch.setattr(transcripts, "transcribe_stream", counted)
    result = run("m.tsv", "--model", "some", "--resume", "state.jsonl", "-o", "two.json")

    assert result.exit_code == 0
    assert heard == ["c.wav"]
    one, two = (json.loads(Path(name).read_text()) for name in ("one.json", "two.json"))
    assert one["utterances"] == two["utterances"]
    assert one["systems"][0]["audio_seconds"] == two["systems"][0]["audio_seconds"]
    assert Recognizer.log_probs is real

    # Other settings, another file in the place of one: done again.
    heard.clear()
    run("m.tsv", "--model", "some", "--resume", "state.jsonl", "--decoder", "beam")
    assert heard == ["a.wav", "b.wav", "c.wav"]
    heard.clear()
    soundfile.write("b.wav", spell("_YOU|TWO_").samples, RATE, subtype="FLOAT")
    run("m.tsv", "--model", "some", "--resume", "state.jsonl")
    assert heard == ["b.wav"]


def test_where_all_is_kept_no_model_is_loaded(manifest):
    first = run("m.tsv", "--model", "some", "--resume", "state.jsonl", "-f", "json")

    again = run("m.tsv", "--model", "some", "--resume", "state.jsonl", "-f", "json")

    assert again.exit_code == 0
    assert manifest == ["some"]
    assert json.loads(again.stdout) == json.loads(first.stdout)


def test_kept_transcripts_are_hypotheses(manifest):
    run("m.tsv", "--model", "some", "--resume", "state.jsonl", "-o", "one.json")

    assert run("m.tsv", "state.jsonl", "-o", "two.json").exit_code == 0

    one, two = (json.loads(Path(name).read_text()) for name in ("one.json", "two.json"))
    assert one["systems"][0]["wer"] == two["systems"][0]["wer"]
    assert two["systems"][0]["rtfx"] == pytest.approx(one["systems"][0]["rtfx"], rel=0.01)


def test_audio_that_cannot_be_read_costs_its_own_row_and_the_code(manifest):
    Path("c.wav").write_text("no sound")

    result = run("m.tsv", "--model", "some", "-f", "json")

    assert result.exit_code == 3
    assert "error: c.wav" in result.stderr
    assert "warning: 1 of 3 inputs failed and are left out" in result.stderr
    assert [row["id"] for row in json.loads(result.stdout)["utterances"]] == ["a.wav", "b.wav"]

    result = run("m.tsv", "--model", "some", "-f", "json", "--missing", "empty")
    assert json.loads(result.stdout)["systems"][0]["words"]["deletions"] == 2


def test_a_row_without_a_text_is_named(manifest):
    Path("m.jsonl").write_text(
        '{"audio_filepath": "a.wav", "text": "HI THERE"}\n{"audio_filepath": "b.wav"}\n'
    )

    result = run("m.jsonl", "--model", "some")

    assert result.exit_code == 3
    assert "error: b.wav: has no reference text" in result.stderr


@pytest.mark.parametrize("name", ["none.tsv", "empty.tsv", "a.wav"])
def test_nothing_to_transcribe_is_4_without_a_report(manifest, name):
    Path("empty.tsv").write_text("audio_filepath\ttext\n")

    result = run(name, "--model", "some")

    assert result.exit_code == 4
    assert result.stdout == ""


def test_a_wrong_column_is_known_before_the_model_is_loaded(manifest):
    result = run("m.tsv", "--model", "some", "--by", "sex")

    assert (result.exit_code, manifest) == (4, [])
    assert "hint: there are speaker" in result.stderr


def test_an_empty_manifest_does_not_load_a_model(manifest):
    Path("empty.tsv").write_text("audio_filepath\ttext\n")

    run("empty.tsv", "--model", "some")

    assert manifest == []
