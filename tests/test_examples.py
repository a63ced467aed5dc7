"""The examples for users do what they say, with the embedded models."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pysubs2
import pytest
import yaml

import asrkit

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.sh"))


def run(*command: str | Path, folder: Path, **variables: str) -> str:
    """What a command prints; it must succeed."""
    paths = [str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = os.environ | {"PATH": os.pathsep.join(paths), "PYTHONPATH": str(ROOT)} | variables
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_table_names_every_example_and_a_test_runs_it():
    table = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    tests = "".join(
        (ROOT / "tests" / name).read_text(encoding="utf-8")
        for name in ("test_examples.py", "test_ray.py")
    )

    names = {path.name for path in (*SCRIPTS, *EXAMPLES.glob("*.yml"))} | {"python_api.py"}

    assert set(re.findall(r"^\| \[.+\]\((.+)\) \|", table, re.MULTILINE)) == names
    assert {name for name in names if f' / "{name}"' not in tests} == set()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_script_says_how_to_use_it_and_runs_by_itself(script):
    result = subprocess.run([script], capture_output=True, text=True)

    assert result.returncode == 1
    assert f"{script.name} " in result.stderr.partition("usage: ")[2]


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_video_gets_subtitles_beside_it_and_inside_a_copy(tmp_path):
    sound = EXAMPLES / "audio" / "espeak-gb.flac"
    ffmpeg = "ffmpeg -loglevel error -f lavfi -i color=gray:s=64x36:r=10 -i".split()
    run(*ffmpeg, sound, "-shortest", "-c:v", "mpeg4", "my talk.mp4", folder=tmp_path)

    run(EXAMPLES / "subtitle_video.sh", "my talk.mp4", folder=tmp_path)

    (event,) = pysubs2.load(str(tmp_path / "my talk.srt"))
    assert event.plaintext == "SET THE TEMPERATURE TO TWENTY DEGREES"
    show = "ffprobe -loglevel error -show_entries stream=codec_type -of csv=p=0".split()
    streams = run(*show, "my talk.subtitled.mp4", folder=tmp_path).split()
    assert sorted(streams) == ["audio", "subtitle", "video"]


@pytest.mark.slow
def test_voices_are_told_apart_by_a_threshold_from_known_pairs(tmp_path):
    voices = EXAMPLES / "speakers"
    asked = f"{voices}/a-2.opus {voices}/a-1.opus\n{voices}/a-1.opus {voices}/b-2.opus\n"
    known = (EXAMPLES / "trials.txt").read_text().replace("speakers/", f"{voices}/")
    (tmp_path / "pairs.txt").write_text(known + asked)

    printed = run(EXAMPLES / "speaker_verification.sh", "pairs.txt", folder=tmp_path)

    threshold, *answers = [line.split("\t") for line in printed.splitlines()]
    assert threshold[0] == "threshold"
    assert 0.81 < float(threshold[1]) < 0.84  # between 0.807 and 0.844, see the model's card
    assert [line[0] for line in answers] == ["same", "different"]


def test_cells_of_the_python_api_run_in_order(capsys):
    names = runpy.run_path(str(EXAMPLES / "python_api.py"))

    printed = capsys.readouterr().out
    assert "THERE IS A OLD GIRL IN THE AIRPORT" in printed
    assert [
        word.text for word in names["aligned"].segments[0].words
    ] == "It costs 20 dollars.".split()
    assert names["report"].wer == pytest.approx(1 / 10)
    cosines = names["vectors"] @ names["vectors"].T
    assert cosines[0, 1] > cosines[0, 2:].max()


STEPS = yaml.safe_load((EXAMPLES / "github-wer.yml").read_text())["jobs"]["wer"]["steps"]


@pytest.fixture
def checkout(tmp_path):
    """What the workflow finds: clips with their texts, and an accepted run without an error."""
    clips = EXAMPLES / "audio"
    rows = [
        "espeak-gb.flac\tset the temperature to twenty degrees",
        "espeak-us.wav\tthere is an old girl",
    ]
    table = "".join(f"{clips}/{row}\n" for row in rows)
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "recordings.tsv").write_text("audio_filepath\ttext\n" + table)
    report = asrkit.evaluate(["a b"], ["a b"], normalizer="basic")
    (tmp_path / "test" / "baseline.json").write_text(json.dumps(report.to_dict()))
    return tmp_path


@pytest.mark.slow
def test_workflow_scores_a_pull_request_and_fails_above_the_limit(checkout):
    """Each `run:` of "github-wer.yml" but the installation, as a runner executes it."""
    results = {}
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    variables = {"PATH": paths, "PYTHONPATH": str(ROOT), "MODEL": "demo-en"}
    for step in STEPS:
        if "run" in step and step["name"] != "Install":
            results[step["name"]] = subprocess.run(
                ["bash", "-e", "-o", "pipefail", "-c", step["run"]],
                cwd=checkout,
                env=os.environ | variables | {"GITHUB_STEP_SUMMARY": str(checkout / "summary.md")},
                capture_output=True,
                text=True,
            )

    codes = {name: result.returncode for name, result in results.items()}
    assert codes == {"Transcribe": 0, "Evaluate": 1, "Annotate": 0}
    assert results["Annotate"].stdout.count("::error ") == 2  # the limit, and the baseline
    assert "| WER" in (checkout / "summary.md").read_text()
    assert {path.suffix for path in (checkout / "reports").iterdir()} == {".html", ".json", ".txt"}


@pytest.mark.slow
def test_parts_of_a_job_array_in_a_row_are_the_whole(tmp_path):
    script, inputs = EXAMPLES / "job_array.sh", EXAMPLES / "transcripts.tsv"
    for task in ("1", "2", "2"):  # the last goes on where nothing is left
        variables = {"SLURM_ARRAY_TASK_ID": task, "SLURM_ARRAY_TASK_COUNT": "2"}
        run(script, inputs, "parts", "--timestamps", "none", folder=tmp_path, **variables)

    whole = run(
        "asrkit", "transcribe", inputs, "--timestamps", "none", "-f", "jsonl", folder=tmp_path
    )

    parts = [tmp_path / "parts" / name for name in ("part-0001.jsonl", "part-0002.jsonl")]
    assert all(path.stat().st_size for path in parts)
    assert "".join(path.read_text() for path in parts) == whole


@pytest.mark.slow
def test_language_model_of_a_domain_lowers_its_errors(tmp_path):
    said = re.findall(r"\t(.+)", (EXAMPLES / "transcripts.tsv").read_text())[1:]
    (tmp_path / "sentences.txt").write_text("\n".join(said) + "\n")

    printed = run(
        EXAMPLES / "language_model.sh", "sentences.txt", "demo-en", "adapted",
        EXAMPLES / "transcripts.tsv", EXAMPLES / "transcripts.tsv", folder=tmp_path,
    )  # fmt: skip

    before, after = (
        float(rate) for rate in re.findall(r"^(?:before|after)\S* +([\d.]+)", printed, re.M)
    )
    assert before > 2 > after
    assert (tmp_path / "adapted" / "language_model" / "attrs.json").is_file()
