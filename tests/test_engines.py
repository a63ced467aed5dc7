"""A job is data, and gives the same results wherever it is done."""

from __future__ import annotations

import os
import pickle
import sys
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from asrkit import errors
from asrkit.errors import (
    AudioError,
    CheckpointError,
    EngineError,
    MissingExtraError,
    UsageError,
    how_to_install,
)
from asrkit.inputs import FailedInput
from asrkit.options import AlignOptions, EngineOptions, ModelOptions, TranscribeOptions
from asrkit.tasks import engines
from asrkit.tasks.align import TextOf, align_stream
from asrkit.tasks.engines import Job, run
from asrkit.tasks.recognizer import Recognizer
from asrkit.tasks.transcribe import transcribe_stream
from asrkit.tasks.transcripts import hear_stream
from asrkit.types import AudioInput, Segment

EXAMPLES = Path(__file__).parents[1] / "examples" / "audio"
JOB = Job(
    Recognizer.load,
    ModelOptions(device="cpu"),
    partial(transcribe_stream, options=TranscribeOptions()),
)


@pytest.fixture
def inputs() -> list[AudioInput | FailedInput]:
    """Five, of which one cannot be read and one could not be found."""
    names = ("espeak-us.wav", "flite-rms.flac", "stereo.wav", "nothing.wav")
    items = [AudioInput(str(EXAMPLES / name)) for name in names]
    return [*items, FailedInput("list:3", AudioError("not there"))]


def done(job, inputs, options=None):
    """The results, the seconds of progress, and what is said of the model."""
    seconds: list[float] = []
    said: list[str] = []
    results = run(
        job,
        inputs,
        options or EngineOptions(),
        on_progress=seconds.append,
        on_start=said.append,
    )
    return list(results), sum(seconds), said


def comparable(results):
    """Errors are equal if they say the same."""
    return [
        (r.source, type(r.error), r.error.message) if isinstance(r, FailedInput) else r
        for r in results
    ]


@pytest.fixture
def workers_here(monkeypatch):
    """Workers that live in this process, without Ray, and take groups of two in turn."""

    def messages(job, rows, options):
        settings = pickle.dumps((job, os.getcwd(), engines.__version__))
        pool = [engines._Worker(*pickle.loads(settings)) for _ in range(options.workers)]
        for index, row in enumerate(rows):
            for message in pool[index % len(pool)](row):
                yield pickle.loads(message["message"])

    monkeypatch.setattr(engines, "_cluster", lambda address: nullcontext())
    monkeypatch.setattr(engines, "_messages", messages)
    monkeypatch.setattr(engines, "_GROUP_INPUTS", 2)
    for name in ("ray", "ray.data"):
        monkeypatch.setitem(sys.modules, name, sys)


def test_workers_give_what_this_process_gives(inputs, workers_here):
    here, seconds_here, (model,) = done(JOB, inputs)
    there, seconds_there, said = done(JOB, inputs, EngineOptions("ray", workers=2))

    assert comparable(there) == comparable(here)
    assert [isinstance(result, FailedInput) for result in here] == [False] * 3 + [True] * 2
    assert seconds_there == pytest.approx(seconds_here)
    assert len(set(said)) == 1  # both workers are one process here
    assert said[0].endswith(model)


def test_workers_align_the_texts_that_come_with_the_audio(inputs, workers_here):
    text = (Segment("the weather is nice today", 0, 0, lines=("the weather", "is nice today")),)
    texts = [item if isinstance(item, FailedInput) else TextOf(item, text) for item in inputs]
    job = replace(JOB, stream=partial(align_stream, options=AlignOptions()))

    here, _, _ = done(job, texts)
    there, _, _ = done(job, texts, EngineOptions("ray", workers=2))

    assert comparable(there) == comparable(here)
    assert [isinstance(result, FailedInput) for result in here] == [False] * 3 + [True] * 2
    assert there[0].segments[0].lines == text[0].lines


def test_workers_say_how_long_they_took(inputs, workers_here):
    job = replace(JOB, stream=partial(hear_stream, options=TranscribeOptions()))

    here, _, _ = done(JOB, inputs[:3])
    there, _, _ = done(job, inputs[:3], EngineOptions("ray", workers=2))

    transcripts, seconds = zip(*there, strict=True)
    assert list(transcripts) == here
    assert min(seconds) > 0


def test_a_worker_takes_a_few_inputs_or_one_long_file_at_a_time(monkeypatch):
    monkeypatch.setattr(engines, "_GROUP_INPUTS", 3)
    short, long = AudioInput("a.wav", duration=10.0), AudioInput("a.wav", duration=300.0)

    groups = list(engines._groups([short, short, short, short, long, long, short]))

    numbers = [[index for index, _ in group] for group in groups]
    assert numbers == [[0, 1, 2], [3, 4], [5], [6]]


def test_an_error_that_ends_the_run_comes_from_a_worker_as_it_is(inputs, workers_here):
    job = replace(JOB, source=ModelOptions("no/where", offline=True, device="cpu"))

    with pytest.raises(CheckpointError) as here:
        done(job, inputs)
    with pytest.raises(CheckpointError) as there:
        done(job, inputs, EngineOptions("ray", workers=1))

    assert type(there.value) is type(here.value)
    assert (there.value.message, there.value.hint) == (here.value.message, here.value.hint)


@pytest.mark.parametrize("order", [[0, 2], [1, 0, 2], [0, 0, 1, 2], [0, 1]])
def test_results_that_are_lost_doubled_or_out_of_order_end_the_run(
    inputs, workers_here, monkeypatch, order
):
    messages = engines._messages

    def disturbed(job, rows, options):
        found = list(messages(job, rows, options))
        return (found[index] for index in order)

    monkeypatch.setattr(engines, "_messages", disturbed)

    with pytest.raises(EngineError, match="Ray: "):
        done(JOB, inputs[:3], EngineOptions("ray", workers=1))


def test_a_worker_refuses_another_version_and_a_folder_that_it_does_not_see(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    other = engines._Worker(JOB, os.getcwd(), "0.0.0")
    elsewhere = engines._Worker(JOB, str(tmp_path / "gone"), engines.__version__)

    assert "expected 0.0.0" in str(other._error)
    assert "gone cannot be entered" in str(elsewhere._error)


def test_ray_refuses_standard_input_and_names_its_extra(inputs, workers_here, monkeypatch):
    options = EngineOptions("ray", workers=1)
    with pytest.raises(UsageError, match="standard input"):
        done(JOB, [AudioInput("-")], options)
    monkeypatch.setitem(sys.modules, "ray.data", None)
    with pytest.raises(MissingExtraError) as caught:
        done(JOB, inputs, options)

    assert caught.value.hint == how_to_install("ray")


@pytest.mark.parametrize(
    "options",
    [
        {"engine": "spark"},
        {"workers": 2},
        {"address": "auto"},
        {"engine": "ray", "workers": 0},
        {"engine": "ray", "gpus_per_worker": 1.5},
        {"engine": "ray", "gpus_per_worker": -0.5},
    ],
)
def test_options_that_cannot_work_are_refused(options):
    with pytest.raises(UsageError):
        EngineOptions(**options)


@pytest.mark.parametrize(
    "error",
    [MissingExtraError("this", extra="video"), AudioError("a.wav: empty", hint="record again")]
    + [
        kind("fact", hint="way out")
        for kind in vars(errors).values()
        if isinstance(kind, type)
        and issubclass(kind, errors.AsrkitError)
        and kind is not MissingExtraError
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_are_the_same_in_another_process(error):
    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is type(error)
    assert (str(copy), vars(copy)) == (str(error), vars(error))
