"""The Ray engine on a cluster of several processes, some of which are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner, Result

from asrkit.cli.app import app
from asrkit.errors import CheckpointError, EngineError
from asrkit.inputs import FailedInput
from asrkit.options import EngineOptions, ModelOptions, TranscribeOptions
from asrkit.tasks import engines
from asrkit.tasks.engines import Job, run
from asrkit.tasks.recognizer import Recognizer
from asrkit.tasks.transcribe import transcribe_stream
from asrkit.types import AudioInput

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
ROOT = Path(__file__).parents[1]
SPEECH = ROOT / "examples" / "audio" / "espeak-us.wav"
NUM_CLIPS, NUM_WORKERS = 60, 3


def heard(inputs, model, *, on_progress, record: Path, fatal: str, times: int):
    """Transcribe; note each result in a file, and die at a result, for so many times."""
    stream = transcribe_stream(inputs, model, TranscribeOptions(), on_progress=on_progress)
    for result in stream:
        with record.open("a") as file:
            file.write(f"{os.getpid()} {result.source}\n")
        deaths = record.read_text().count(f" {fatal}\n")
        if result.source == fatal and deaths <= times:
            os.kill(os.getpid(), signal.SIGKILL)
        yield result


@pytest.fixture(scope="module", autouse=True)
def groups_of_four():
    """What a worker takes at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "_GROUP_INPUTS", 4)
        yield


@pytest.fixture(scope="module")
def cluster():
    """The address of one with two machines, which are processes of this one."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    cluster.add_node(num_cpus=2, num_gpus=1)  # in name only: nothing is computed on it
    yield cluster.address
    cluster.shutdown()


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> list[AudioInput]:
    """Parts of speech of different lengths, two of which cannot be read."""
    folder = tmp_path_factory.mktemp("clips")
    samples, rate = soundfile.read(SPEECH, dtype="float32")
    random = np.random.default_rng(0)
    items = []
    for index in range(NUM_CLIPS):
        path = folder / f"{index:02}.wav"
        start = random.integers(len(samples) // 2)
        soundfile.write(path, samples[start : start + random.integers(rate // 2, 2 * rate)], rate)
        items.append(AudioInput(str(path), id=path.name))
    Path(items[17].path).write_bytes(b"no audio")
    Path(items[41].path).unlink()
    return items


def job(**options) -> Job:
    stream = partial(transcribe_stream, options=TranscribeOptions())
    return Job(Recognizer.load, ModelOptions(device="cpu", **options), stream, threads=1)


def results(job, inputs, options):
    """What comes, failures by what they say, and the processes that it comes from."""
    workers: list[str] = []
    found = run(job, inputs, options, on_progress=lambda _: None, on_start=workers.append)
    plain = [
        (item.source, str(item.error)) if isinstance(item, FailedInput) else item for item in found
    ]
    return plain, workers


@pytest.fixture(scope="module")
def expected(clips):
    """What the local engine says."""
    return results(job(), clips, EngineOptions())[0]


def ray_options(address: str, **options) -> EngineOptions:
    return EngineOptions("ray", address, **({"workers": NUM_WORKERS} | options))


def asrkit(*arguments: object, on: str | None = None) -> Result:
    """Run a command here, or on a cluster."""
    words = [str(argument) for argument in (*arguments, "--threads", 1, "--device", "cpu")]
    if on is not None:
        words += ["--engine", "ray", "--address", on, "--workers", str(NUM_WORKERS)]
    return CliRunner().invoke(app, words)


def write_manifest(folder: Path, clips: list[AudioInput], text: str) -> Path:
    path = folder / "clips.jsonl"
    rows = [{"audio_filepath": clip.path, "id": clip.id, "text": text} for clip in clips]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_three_workers_give_the_same_results_in_the_same_order(cluster, clips, expected):
    found, workers = results(job(), clips, ray_options(cluster))

    assert len(workers) == NUM_WORKERS
    assert found == expected
    assert [index for index, item in enumerate(found) if isinstance(item, tuple)] == [17, 41]


def test_nothing_is_lost_or_twice_where_a_worker_is_killed(cluster, clips, expected, tmp_path):
    fatal = clips[30].path  # the third of its group: two results are made, and lost with it
    stream = partial(heard, record=tmp_path / "record", fatal=fatal, times=1)

    found, _ = results(replace(job(), stream=stream), clips, ray_options(cluster))

    assert found == expected
    lines = (tmp_path / "record").read_text().splitlines()
    times = Counter(line.split()[1] for line in lines)
    pids = [line.split()[0] for line in lines if line.endswith(fatal)]
    assert times[fatal] == 2  # it was heard again,
    assert pids[0] != pids[1]  # by another process,
    assert sum(times.values()) - NUM_CLIPS <= 4 * 3  # and little else was


def test_inputs_that_kill_every_worker_end_the_run(cluster, clips, tmp_path):
    stream = partial(heard, record=tmp_path / "record", fatal=clips[9].path, times=100)

    with pytest.raises(EngineError, match="Ray: ") as caught:
        results(replace(job(), stream=stream), clips, ray_options(cluster))

    assert "--resume" in caught.value.hint
    assert (tmp_path / "record").read_text().count(clips[9].path) == 4  # once, and three more


def test_a_model_that_cannot_be_loaded_ends_the_run_at_once(cluster, clips):
    with pytest.raises(CheckpointError, match="no/where"):
        results(job(model="no/where", offline=True), clips, ray_options(cluster))


def test_workers_share_a_gpu(cluster, clips, expected):
    options = ray_options(cluster, workers=None, gpus_per_worker=0.5)

    found, workers = results(job(), clips, options)

    assert found == expected
    assert len(workers) == 2
    with pytest.raises(EngineError, match="room for 2"):
        results(job(), clips, replace(options, workers=3))


def test_align_gives_the_same_file(cluster, clips, tmp_path):
    manifest = write_manifest(tmp_path, clips, "the weather")

    here = asrkit("align", manifest, "-f", "jsonl", "-o", tmp_path / "here.jsonl")
    there = asrkit("align", manifest, "-f", "jsonl", "-o", tmp_path / "there.jsonl", on=cluster)

    assert (here.exit_code, there.exit_code) == (3, 3)  # two clips cannot be read
    assert there.stderr.count("error: ") == 2
    assert (tmp_path / "there.jsonl").read_bytes() == (tmp_path / "here.jsonl").read_bytes()
    assert len((tmp_path / "here.jsonl").read_text().splitlines()) == NUM_CLIPS


def test_eval_wer_gives_the_same_report(cluster, clips, tmp_path):
    manifest = write_manifest(tmp_path, clips, "the weather is nice today")
    command = ["eval-wer", manifest, "--model", "demo-en", "-f", "json"]

    here, there = asrkit(*command), asrkit(*command, on=cluster)

    assert (here.exit_code, there.exit_code) == (3, 3)
    one, two = json.loads(here.stdout), json.loads(there.stdout)
    speeds = [report["systems"][0].pop("rtfx") for report in (one, two)]
    for report in (one, two):
        del report["systems"][0]["seconds"]
    assert two == one
    assert min(speeds) > 1
    assert len(one["utterances"]) == NUM_CLIPS - 2


def test_the_example_transcribes_a_folder_and_goes_on(cluster, clips, tmp_path):
    script, bin_ = ROOT / "examples" / "ray_cluster.sh", tmp_path / "bin"
    bin_.mkdir()
    asrkit = bin_ / "asrkit"
    asrkit.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m asrkit "$@"\n')
    asrkit.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{bin_}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "RAY_ADDRESS": cluster,
    }

    def transcribe(folder: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                script,
                Path(clips[0].path).parent,
                tmp_path / folder,
                "--workers",
                "2",
                "--gpus-per-worker",
                "0",
            ],
            env=environment,
            capture_output=True,
            text=True,
        )

    first = transcribe("out")
    assert first.returncode == 3, first.stderr  # one file is no audio
    kept = {path: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.suffix}
    gone = [tmp_path / "out" / f"{name}.json" for name in ("03", "50")]
    for path in gone:
        path.unlink()
    again = transcribe("out")

    assert again.returncode == 3
    assert "58 files" in first.stderr
    assert " done before" in again.stderr
    assert all(path.read_bytes() == kept[path] for path in gone)


def test_a_cluster_that_is_not_there_is_an_error(clips):
    pytest.importorskip("ray")

    with pytest.raises(EngineError, match="no cluster at"):
        results(job(), clips, ray_options("127.0.0.1:9"))
