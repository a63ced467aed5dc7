"""The workflow files: what can be known of them without running them at their host."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
FILES = [
    *sorted((ROOT / ".github" / "workflows").glob("*.yml")),
    ROOT / "examples" / "github-wer.yml",
]
STEPS = [
    pytest.param(step, id=f"{path.stem}-{name}-{number}")
    for path in FILES
    for name, job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].items()
    for number, step in enumerate(job["steps"])
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_workflow_says_when_it_runs_where_and_with_what_rights(path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))

    assert workflow[True]  # YAML 1.1 reads the key `on` so
    assert workflow["permissions"] == {"contents": "read"}
    names = set(workflow["jobs"])
    for job in workflow["jobs"].values():
        matrix = job.get("strategy", {}).get("matrix", {})
        found = re.fullmatch(r"\$\{\{ matrix\.(\w+) \}\}", job["runs-on"])
        systems = matrix[found[1]] if found else [job["runs-on"]]
        assert all(re.fullmatch(r"(ubuntu|macos|windows)-\d[\w.-]+", name) for name in systems)
        assert set(job.get("needs", [])) <= names


@pytest.mark.parametrize("step", STEPS)
def test_step_runs_sound_shell_or_an_action_of_a_version(step):
    assert ("uses" in step) != ("run" in step)
    if "uses" in step:
        assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+(\.\d+)*", step["uses"])
    else:
        subprocess.run(["bash", "-n", "-c", step["run"]], check=True)
        for name in re.findall(r"(?<!\S)\.ci/\w+", step["run"]):
            assert (ROOT / name).stat().st_mode & 0o100
