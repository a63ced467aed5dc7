"""Runs that were stopped go on, and what is done stays done."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from asrkit.cli import _console
from asrkit.cli.app import app
from asrkit.errors import AsrkitError, OutputError
from asrkit.inputs import FailedInput
from asrkit.outputs import Target
from asrkit.resume import Journal
from asrkit.types import AudioInput
from tests.tiny import tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return str(tiny_model(folder=tmp_path_factory.mktemp("model"), feat_extract_norm="layer"))


@pytest.fixture
def clips(tmp_path, monkeypatch) -> list[str]:
    """Ten short noises of different lengths, in the current folder."""
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0)
    names = [f"{index}.wav" for index in range(10)]
    for name in names:
        samples = noise.normal(0, 0.1, noise.integers(4_000, 16_000))
        soundfile.write(name, samples, 16_000)
    return names


def run(*arguments: str, command: str = "transcribe"):
    return CliRunner().invoke(app, [command, *arguments])


def inputs_of(names: list[str]) -> list[AudioInput]:
    return [AudioInput(name, id=name, name=name) for name in names]


def finish(journal: Journal, *indices: int) -> None:
    """Do inputs as a run does: all are asked for, and some come to their end."""
    list(journal.pending())
    for index in indices:
        journal.add(index, output=f"text of {index}\n")
    journal.close()


def content(folder: str | Path) -> dict[str, bytes]:
    """All files below a folder but the state."""
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    return {str(p.relative_to(folder)): p.read_bytes() for p in files if "state" not in p.name}


# The journal


def test_what_was_added_is_done_in_the_next_run(clips):
    finish(Journal(inputs_of(clips), Path("state")), 0, 2)

    journal = Journal(inputs_of(clips), Path("state"))

    assert [index for index in range(10) if index in journal] == [0, 2]
    assert journal.row(2)["output"] == "text of 2\n"


def test_other_settings_names_or_bytes_are_not_done(clips):
    finish(Journal(inputs_of(clips), Path("state"), {"model": "a"}), *range(10))
    Path("7.wav").rename("again.wav")
    Path("5.wav").write_bytes(Path("5.wav").read_bytes()[:-1] + b"!")
    os.utime("6.wav")  # the same bytes at another time

    other = Journal(inputs_of(clips), Path("state"), {"model": "b"}, is_dry=True)
    same = Journal(inputs_of([*clips[:7], "again.wav"]), Path("state"), {"model": "a"})

    assert len(other) == 0
    assert [index for index in range(8) if index in same] == [0, 1, 2, 3, 4, 6]


def test_an_output_that_is_gone_or_other_is_not_done(clips):
    def outputs(item):
        return [Path(f"{item.path}.txt"), Path(f"{item.path}.srt")]

    for path in (path for item in inputs_of(clips[:4]) for path in outputs(item)):
        path.write_text("made")
    finish(Journal(inputs_of(clips[:4]), Path("state"), outputs=outputs), 0, 1, 2, 3)
    Path(f"{clips[1]}.srt").unlink()
    Path(f"{clips[2]}.txt").write_text("")
    os.utime(f"{clips[3]}.txt")

    journal = Journal(inputs_of(clips[:4]), Path("state"), outputs=outputs)

    assert [index for index in range(4) if index in journal] == [0, 3]


def test_a_file_that_changes_while_it_is_heard_is_not_done(clips):
    journal = Journal(inputs_of(clips), Path("state"))
    list(journal.pending())
    with open("3.wav", "ab") as file:
        file.write(b"more")
    Path("4.wav").unlink()
    for index in (2, 3, 4):
        journal.add(index)
    journal.close()

    assert [i for i in range(10) if i in Journal(inputs_of(clips), Path("state"))] == [2]


def test_a_state_cut_anywhere_loses_its_last_line_and_no_other(clips):
    """I15."""
    finish(Journal(inputs_of(clips), Path("state")), 0, 1)
    whole = Path("state").read_bytes()
    first = whole.index(b"\n") + 1

    for cut in range(first, len(whole) - 1):
        Path("state").write_bytes(whole[:cut])
        journal = Journal(inputs_of(clips), Path("state"))
        assert (0 in journal, 1 in journal) == (True, False)
        finish(journal, 1, 2)
        again = Journal(inputs_of(clips), Path("state"), is_dry=True)
        assert [index for index in range(10) if index in again] == [0, 1, 2]


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b"[]",
        b'{"key": ["a"], "files": []}',
        b'{"key": KEY, "files": "x"}',
        b'{"key": KEY, "files": [{}]}',
        b'{"key": KEY, "files": [[]]}',
        b'{"key": KEY, "files": [["1", 2, 3]]}',
        b'{"key": KEY, "files": []}',
    ],
)
def test_a_line_of_something_else_counts_as_nothing(line, clips):
    finish(Journal(inputs_of(clips), Path("state")), 0)
    row = json.loads(Path("state").read_bytes())
    Path("state").write_bytes(line.replace(b"KEY", json.dumps(row["key"]).encode()) + b"\n")

    assert len(Journal(inputs_of(clips), Path("state"))) == 0


def test_what_is_done_is_not_heard_again(clips):
    finish(Journal(inputs_of(clips), Path("state")), *[0, 2, 3, 4, 5])  # 1 failed

    pending = Journal(inputs_of(clips), Path("state")).pending()

    heard = [index for index, item in enumerate(pending) if isinstance(item, AudioInput)]
    assert heard == [1, 6, 7, 8, 9]


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
def test_a_pipe_is_never_done(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    items = inputs_of([str(tmp_path / "pipe.wav")])

    finish(Journal(items, tmp_path / "state"), 0)

    assert len(Journal(items, tmp_path / "state")) == 0


def test_parts_of_a_batch_know_what_the_others_did(clips):
    target = Target.parse("out/", None, is_single=False)
    for part, index in (("-1-of-2", 0), ("-2-of-2", 5)):
        Path("out").mkdir(exist_ok=True)
        Path("out", f"{index}.txt").write_text("text")
        finish(Journal.beside(target, inputs_of(clips), None, part=part), index)

    journal = Journal.beside(target, inputs_of(clips), None)

    assert [index for index in range(10) if index in journal] == [0, 5]


def test_one_run_at_a_time_holds_a_state_file(clips):
    first = Journal(inputs_of(clips), Path("state"))

    with pytest.raises(OutputError, match="state: another run is using it"):
        Journal(inputs_of(clips), Path("state"))
    Journal(inputs_of(clips), Path("state"), is_dry=True)
    finish(first, 0)
    first.close()

    assert 0 in Journal(inputs_of(clips), Path("state"))


def test_looking_makes_no_file(clips):
    Journal(inputs_of(clips), Path("out/state"), is_dry=True)

    assert not Path("out").exists()


def test_failures_keep_their_place(clips):
    failed = FailedInput("x", AsrkitError("no such file"))

    assert next(Journal([failed, *inputs_of(clips)]).pending()) == failed
    assert list(Journal([failed]).pending()) == [failed]


# The commands


@pytest.mark.parametrize(("output", "formats"), [("out/", "txt,json"), ("out/all.jsonl", None)])
def test_a_run_that_goes_on_gives_the_bytes_of_one_without_a_stop(output, formats, clips, model):
    """I16."""
    """Killed after any number of inputs, with half a line of state and half a file of output."""
    arguments = [*clips[:6], "-m", model, "--batch-size", "1", "--timestamps", "char"]
    arguments += ["-f", formats] if formats else []
    assert run(*arguments, "-o", output.replace("out", "whole")).exit_code == 0
    assert run(*arguments, "-o", output, "--resume").exit_code == 0
    state = next(path for path in Path("out").iterdir() if "state" in path.name)
    lines = state.read_bytes().splitlines(keepends=True)
    assert content("out") == content("whole")
    assert len(lines) == 6

    for done in (0, 4):
        state.write_bytes(b"".join(lines[:done]) + lines[done][:30])
        for path in Path("out").iterdir():
            if "state" not in path.name and path.name not in [
                f"{index}.{suffix}" for index in range(done) for suffix in ("txt", "json")
            ]:
                path.unlink()
        name = f"{done}.json" if output == "out/" else "all.jsonl"
        Path("out", f".{name}.abcd_123~").write_text("ha")

        result = run(*arguments, "-o", output, "--resume")

        assert result.exit_code == 0
        assert f"{6 - done} files" in result.stderr
        assert f"{done} done before" in result.stderr or not done
        assert content("out") == content("whole")


def test_nothing_left_to_do_needs_no_model(clips, model, monkeypatch):
    arguments = (*clips[:2], "missing.wav", "-m", model, "--resume", "-o")
    for output in ("out/", "all.jsonl"):
        run(*arguments, output)
    before = content("out"), Path("all.jsonl").read_bytes()
    monkeypatch.setattr(_console.Console, "load", lambda *a, **k: pytest.fail("a model is loaded"))

    for output in ("out/", "all.jsonl"):
        result = run(*arguments, output)
        assert (result.exit_code, "2 done before" in result.stderr) == (3, True)

    assert (content("out"), Path("all.jsonl").read_bytes()) == before


def test_skip_existing_asks_who_made_the_files(clips, model, tmp_path_factory):
    def num_done(*more: str) -> str:
        result = run(*clips[:3], "-o", "out/", "--skip-existing", *more)
        assert result.exit_code == 0
        return result.stderr.split(" file")[0].splitlines()[-1]

    Path("out").mkdir()
    Path("out/0.txt").write_text("of another program\n")
    other = str(tiny_model(folder=tmp_path_factory.mktemp("m"), seed=1, feat_extract_norm="layer"))

    assert num_done("-m", model) == "3"  # nothing says how they were made
    assert num_done("-m", model) == "0"
    assert num_done("-m", model, "--batch-size", "3", "--device", "cpu") == "0"
    assert num_done("-m", model, "-f", "txt,srt") == "3"
    assert num_done("-m", model, "--max-pause", "1") == "3"
    assert num_done("-m", other) == "3"
    assert num_done("-m", model) == "3"  # for the files are now of the other
    os.utime(Path(model, "model.safetensors"))
    assert num_done("-m", model) == "3"
    Path("out/1.txt").unlink()
    assert num_done("-m", model) == "1"


def test_dry_run_names_what_is_left(clips, model):
    run(*clips[:2], "-m", model, "-o", "out/", "--skip-existing")

    result = run(*clips[:3], "-m", model, "-o", "out/", "--skip-existing", "--dry-run")

    assert result.stdout == f"2.wav -> {Path('out/2.txt')}\n"


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("transcribe", ["0.wav", "--resume"], "standard output"),
        ("transcribe", ["-", "--resume", "-o", "out/"], "standard input"),
        ("transcribe", ["0.wav", "--skip-existing", "-o", "a.txt"], "one file an input"),
        ("transcribe", ["0.wav", "--shard", "3/2"], "expected 1 to 2"),
        ("transcribe", ["0.wav", "--shard", "half"], "is not I/N"),
        ("embed", ["0.wav", "1.wav", "--resume", "-o", "a.npz"], "written at the end"),
        ("embed", ["--compare", "0.wav", "1.wav", "--resume"], "a comparison"),
        ("align", ["0.wav", "--reference", "x", "--resume"], "--reference"),
    ],
)
def test_what_cannot_go_on_is_a_usage_error(command, arguments, message, clips):
    result = run(*arguments, command=command)

    assert (result.exit_code, message in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("command", "more"),
    [("align", []), ("classify", ["--top-k", "2"]), ("embed", []), ("translate", [])],
)
def test_every_batch_command_goes_on(command, more, clips, tmp_path):
    """With the embedded models: a run of some inputs, then one of more of them."""
    rows = [json.dumps({"audio_filepath": name, "text": "one two"}) for name in clips[:3]]
    for count in (2, 3):
        Path("list.jsonl").write_text("\n".join(rows[:count]))
        arguments = ["list.jsonl", *more, "-f", "jsonl"]
        went_on = run(*arguments, "-o", "all.jsonl", "--resume", command=command)

    at_once = run(*arguments, "-o", "whole.jsonl", command=command)

    assert (went_on.exit_code, at_once.exit_code) == (0, 0)
    assert "1 file" in went_on.stderr
    assert "2 done before" in went_on.stderr
    assert Path("all.jsonl").read_bytes() == Path("whole.jsonl").read_bytes()


def test_an_alignment_below_the_score_is_remembered(clips):
    rows = [json.dumps({"audio_filepath": name, "text": "one two"}) for name in clips[:2]]
    Path("list.jsonl").write_text("\n".join(rows))
    arguments = ["list.jsonl", "-o", "out/", "--skip-existing", "--min-score", "1"]

    results = [run(*arguments, command="align") for _ in range(2)]

    assert [result.exit_code for result in results] == [1, 1]
    assert "2 done before" in results[1].stderr


# What can go wrong


def test_a_vanished_input_costs_itself_alone(clips, model):
    Path("list.csv").write_text("audio_filepath\n" + "\n".join(clips[:4]) + "\n")
    Path("1.wav").rename("kept")
    arguments = ("list.csv", "-m", model, "-o", "out/", "--resume")

    first = run(*arguments)
    Path("2.wav").unlink()  # after it was done
    Path("kept").rename("1.wav")
    second = run(*arguments)

    assert (first.exit_code, "error: 1.wav: no such file" in first.stderr) == (3, True)
    assert (second.exit_code, "error: 2.wav: no such file" in second.stderr) == (3, True)
    assert sorted(content("out")) == ["0.txt", "1.txt", "2.txt", "3.txt"]


@contextmanager
def full_disk(num_bytes: int):
    """No file can grow beyond so many bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.skipif(os.name == "nt", reason="limits of POSIX")
def test_a_full_disk_ends_the_run_and_keeps_what_is_done(clips, model):
    with full_disk(3_000):
        result = run(*clips, "-m", model, "--timestamps", "none", "-o", "all.jsonl")

    assert result.exit_code == 4
    assert "error: all.jsonl: cannot be written: File too large" in result.stderr
    rows = [json.loads(line) for line in Path("all.jsonl").read_text().splitlines()]
    assert 0 < len(rows) < 10
    assert [row["audio"] for row in rows] == clips[: len(rows)]
    assert result.stderr.count("error:") == 1


@pytest.mark.skipif(os.name == "nt", reason="limits of POSIX")
def test_a_run_goes_on_after_the_disk_was_full(clips, model):
    arguments = (*clips, "-m", model)
    run(*arguments, "-o", "whole/")
    with full_disk(1_000):  # the state is the first to reach it
        stopped = run(*arguments, "-o", "out/", "--resume")
    num_done = len(content("out"))

    result = run(*arguments, "-o", "out/", "--resume")

    assert stopped.exit_code == 4
    assert stopped.stderr.count("error:") == 1
    assert 1 < num_done < 10
    assert result.exit_code == 0
    assert f"{num_done - 1} done before" in result.stderr  # all but the one that was not noted
    assert content("out") == content("whole")


def test_a_folder_that_cannot_be_written_is_one_error(clips, model):
    Path("file").write_text("")

    result = run(*clips, "-m", model, "-o", "file/out/", "--resume")

    assert (result.exit_code, result.stderr.count("error:")) == (4, 1)


def test_a_second_run_on_the_same_results_ends_at_once(clips, model):
    arguments = (*clips, "-m", model, "-o", "out/", "--resume")
    parts = [(*arguments, "--shard", f"{part}/2") for part in (1, 2)]
    code = """if True:
        import sys
        from pathlib import Path
        from asrkit.resume import Journal
        journals = [Journal([], Path(path)) for path in sys.argv[1:]]
        print("ready", flush=True)
        sys.stdin.read()
    """
    held = [f"out/.asrkit-state{part}.jsonl" for part in ("", "-1-of-2")]
    other = [sys.executable, "-c", code, *held]
    with subprocess.Popen(other, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        refused = run(*arguments), run(*parts[0])
        looked = run(*arguments, "--dry-run")
        done = run(*parts[1])
        process.kill()  # and what it held is free

    for result, state in zip(refused, held, strict=True):
        assert result.exit_code == 4
        assert f"error: {Path(state)}: another run is using it" in result.stderr
    assert (looked.exit_code, done.exit_code) == (0, 0)
    assert run(*arguments).exit_code == 0
    assert len(content("out")) == len(clips)


# Signals and kills, with real processes


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_within_two_seconds_even_a_call_that_does_not(number, tmp_path):
    code = f"""if True:
        import hashlib, os, threading
        from pathlib import Path
        import asrkit.cli.app
        from asrkit import __main__, outputs

        def signal():
            print("ready", flush=True)
            os.kill(os.getpid(), {number:d})

        def app():
            with outputs.open_whole(Path("all.jsonl"), is_growing=True) as growing:
                with outputs.open_whole(Path("one.txt")) as one:
                    growing.write(b"row\\n")
                    one.write(b"half")
                    threading.Timer(0.3, signal).start()
                    hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000_000)  # a minute and more

        asrkit.cli.app.app = app
        __main__.main()
    """
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        start = time.monotonic()
        errors = process.communicate()[1]
        seconds = time.monotonic() - start

    assert (process.returncode, errors) == (128 + number, b"")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"all.jsonl": "row\n"}
    assert seconds < 2


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_a_run_keeps_finished_files(number, clips):
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000 * 1_200)
    soundfile.write("long.wav", noise, 16_000)
    command = [sys.executable, "-m", "asrkit", "transcribe", "0.wav", "long.wav", "1.wav"]

    with subprocess.Popen(
        [*command, "-o", "out/", "--resume", "--batch-size", "1"], stderr=subprocess.PIPE
    ) as process:
        while not Path("out/0.txt").exists() and process.poll() is None:
            time.sleep(0.02)
        time.sleep(0.5)
        start = time.monotonic()
        process.send_signal(number)
        errors = process.communicate()[1].decode()
        seconds = time.monotonic() - start

    assert (process.returncode, "Traceback" in errors) == (128 + number, False)
    assert list(content("out")) == ["0.txt"]
    assert seconds < 2


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("output", ["out/", "out/all.jsonl"])
def test_twenty_kills_lose_and_double_nothing(output, tmp_path, monkeypatch):
    """I16. Kill -9 at random, twenty times; then the bytes are those of one run without a kill.

    What was done is not heard again, though it shared batches with what was not.
    """
    monkeypatch.chdir(tmp_path)
    chance = random.Random(0)
    speech = next(Path(__file__).parents[1].glob("examples/audio/two-minutes.*"))
    samples, rate = soundfile.read(speech)
    for index in range(60):
        start = chance.randrange(len(samples) - 2 * rate)
        length = round(chance.uniform(0.5, 2) * rate)
        soundfile.write(f"{index:02}.wav", samples[start : start + length], rate)
    names = [f"{index:02}.wav" for index in range(60)]
    code = """if True:
        from asrkit.__main__ import main
        from asrkit.tasks import chunking

        def noted(item, open_audio=chunking.open_audio, **options):
            with open("heard", "a") as file:
                file.write(item.path + "\\n")
            return open_audio(item, **options)

        chunking.open_audio = noted
        main()
    """
    command = [sys.executable, "-c", code, "transcribe", *names, "--timestamps", "char"]
    command += ["--batch-size", "3", *(["-f", "txt,srt,json"] if output == "out/" else [])]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    whole = [*command, "-q", "-o", output.replace("out", "whole")]
    subprocess.run(whole, check=True, env=environment)
    state = Path("out/.asrkit-state.jsonl" if output == "out/" else "out/all.jsonl.state")

    def lines() -> list[bytes]:
        return state.read_bytes().splitlines() if state.exists() else []

    def done() -> set[str]:
        return {json.loads(line)["audio"] for line in lines() if line.endswith(b"}")}

    num_done, num_heard, heard_again = [], [], []
    for kill in range(20):
        Path("heard").write_text("")
        done_before = done()
        with subprocess.Popen([*command, "-q", "-o", output, "--resume"], env=environment) as run:
            # One or two inputs more at a random moment, so that all twenty kills find work.
            before = len(lines())
            while len(lines()) < min(before + 1 + kill % 2, 58) and run.poll() is None:
                time.sleep(0.001)
            time.sleep(chance.uniform(0, 0.01))
            run.kill()
        num_done.append(len(lines()))
        heard = Path("heard").read_text().split()
        num_heard.append(len(heard))
        heard_again += [name for name in heard if name in done_before]
    Path("heard").write_text("")
    left = set(names) - done()
    after = subprocess.run(
        [*command, "-o", output, "--resume"], env=environment, capture_output=True, text=True
    )

    print(f"{output}: lines of state after each kill {num_done}; {after.stderr.splitlines()[-1]}")
    print(f"heard in each run {num_heard}, of which had been done {heard_again}")
    assert heard_again == []
    assert sorted(Path("heard").read_text().split()) == sorted(left)
    assert after.returncode == 0
    assert num_done == sorted(num_done)
    assert 0 < num_done[0] < num_done[-1] < 60
    keys = [json.loads(line)["key"] for line in lines() if line.endswith(b"}")]
    assert len(keys) == len(set(keys)) == 60
    assert content("out") == content("whole")
    if output != "out/":
        rows = [json.loads(line) for line in Path(output).read_text().splitlines()]
        assert [row["audio"] for row in rows] == names
