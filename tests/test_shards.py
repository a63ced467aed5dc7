"""A batch in parts for several jobs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from asrkit import shards
from asrkit.cli.app import app
from asrkit.errors import AsrkitError, UsageError
from asrkit.inputs import FailedInput
from asrkit.shards import Shard, costs
from asrkit.types import AudioInput
from tests.tiny import tiny_model

COSTS = st.lists(st.floats(0, 1e4), min_size=1, max_size=40)


@given(COSTS, st.integers(1, 9))
def test_parts_in_a_row_are_the_whole_and_near_in_cost(each, count):
    items = list(range(len(each)))

    parts = [Shard(index, count).of(items, each) for index in range(1, count + 1)]

    assert [item for part in parts for item in part] == items
    sums = [sum(each[item] for item in part) for part in parts]
    assert all(abs(cost - sum(each) / count) <= max(each) * (1 + 1e-9) for cost in sums)


def test_without_costs_parts_are_equal_in_number():
    parts = [Shard(index, 3).of("abcdef", [0.0] * 6) for index in (1, 2, 3)]

    assert parts == [["a", "b"], ["c", "d"], ["e", "f"]]


@pytest.mark.parametrize("text", ["0/3", "4/3", "1/0", "1", "a/b", "1/2/3", "-1/2", "1/1e3"])
def test_what_is_no_part_is_refused(text):
    with pytest.raises(UsageError, match="shard"):
        Shard.parse(text)


def test_costs_are_seconds_of_manifests_and_headers(tmp_path):
    path = str(tmp_path / "a.wav")
    soundfile.write(path, np.zeros(24_000), 16_000)
    (tmp_path / "text.wav").write_text("no sound")
    failed = FailedInput("x", AsrkitError("no such file"))
    items = [AudioInput(path), AudioInput(path, 1.0), AudioInput(path, duration=9.0), failed]

    assert costs([*items, AudioInput(str(tmp_path / "text.wav"))]) == [1.5, 0.5, 9.0, 0.0, 0.0]


def test_costs_are_bytes_where_seconds_are_not_known(tmp_path, monkeypatch):
    path = str(tmp_path / "a.wav")
    soundfile.write(path, np.zeros(478), 16_000)
    items = [AudioInput(path), AudioInput("-"), AudioInput(path, duration=0.5)]

    assert costs(items) == [1_000, 0, 16_000]
    monkeypatch.setattr(shards, "MAX_OPENED", 0)
    assert costs(items[:1]) == [1_000]


@pytest.mark.parametrize(("command", "suffix"), [("transcribe", "jsonl"), ("classify", "csv")])
def test_files_of_parts_concatenate_to_the_file_of_the_whole(
    command, suffix, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0)
    for name in "abcde":
        samples = noise.normal(0, 0.1, noise.integers(4_000, 16_000))
        soundfile.write(f"{name}.wav", samples, 16_000)
    arguments = [command, *(f"{name}.wav" for name in "abcde"), "missing.wav", "--batch-size", "1"]
    if command == "transcribe":
        arguments += ["-m", str(tiny_model(folder=tmp_path, feat_extract_norm="layer"))]

    def run(*more: str) -> None:
        assert CliRunner().invoke(app, [*arguments, *more]).exit_code in (0, 3, 4)

    run("-o", f"whole.{suffix}")
    whole = Path(f"whole.{suffix}").read_bytes()

    for count in (2, 6):
        parts = [Path(f"{index}-of-{count}.{suffix}") for index in range(1, count + 1)]
        for index, part in enumerate(parts, start=1):
            run("-o", str(part), "--shard", f"{index}/{count}")
        assert b"".join(part.read_bytes() for part in parts if part.exists()) == whole


def test_a_part_of_one_input_names_it_as_the_whole_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [json.dumps({"audio_filepath": name, "duration": 1.0}) for name in ("a", "b")]
    Path("list.jsonl").write_text("\n".join(rows))

    result = CliRunner().invoke(
        app, ["transcribe", "list.jsonl", "--shard", "2/2", "-o", "out/", "--dry-run"]
    )

    assert result.stdout == f"b -> {Path('out/b.txt')}\n"
