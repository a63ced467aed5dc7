"""What the README shows is what happens."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import pytest
import torch

from asrkit.cli.docs.tree import command_tree

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = tuple(command_tree().walk())


def console_examples() -> list[tuple[str, str]]:
    """(command, output) pairs of the console blocks: `$ ` begins a command, `> ` goes on."""
    examples: list[tuple[str, str]] = []
    for block in re.findall(r"```console\n(.*?)```", README, flags=re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            first, *lines = part.splitlines(keepends=True)
            more = list(takewhile(lambda line: line.startswith("> "), lines))
            command = first + "".join(line.removeprefix("> ") for line in more)
            examples.append((command, "".join(lines[len(more) :])))
    return examples


@pytest.mark.parametrize(("command", "output"), console_examples(), ids=lambda text: text[:40])
def test_command_prints_what_the_readme_shows(command, output):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

    result = subprocess.run(
        command, shell=True, cwd=ROOT, env=os.environ | {"PATH": path}, capture_output=True
    )

    assert result.stdout.decode() == output, result.stderr.decode()


def test_there_are_three_real_uses():
    assert len(console_examples()) >= 3


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#]+)", README))))
def test_link_leads_somewhere(link):
    assert link.startswith("https://") or (ROOT / link).exists()


def test_table_of_commands_is_the_tree():
    expected = [
        f"| `{command.name}` | {command.summary.removesuffix('.')} |"
        for command in COMMANDS
        if not command.commands
    ]

    assert re.findall(r"^\| `asrkit .*$", README, flags=re.MULTILINE) == expected


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_options_of_command_lines_exist(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    lines = "".join(re.findall(r"```(?:sh|console)\n(.*?)```", text, flags=re.DOTALL))

    for line in lines.replace("\\\n", " ").splitlines():
        for call in re.findall(r"asrkit ((?:[a-z]\S* )+.*?)(?:[|;#]|$)", line):
            words = call.split()
            command = max(
                (item for item in COMMANDS if list(item.path[1:]) == words[: len(item.path) - 1]),
                key=lambda item: len(item.path),
            )
            known = {option for place in command.options for option in place.names}
            given = {word for word in words if re.fullmatch(r"--?[a-z][\w-]*", word)}
            assert given <= known, line


def test_python_block_runs(monkeypatch):
    """With the embedded models, clips and silence in place of what a user has."""
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    code = re.sub(r'"facebook/[\w-]+"', '"demo-en"', code)
    code = re.sub(r'"[ab]\.(?:wav|mp3)"', '"examples/audio/espeak-us.wav"', code)
    monkeypatch.chdir(ROOT)
    names = {"values": torch.zeros(2, 4_000), "lengths": torch.tensor([4_000, 3_000])}

    exec(code, names)

    assert names["report"].wer == pytest.approx(2 / 3)
    assert names["output"].logits.shape[0] == 2
    assert names["voice"].vector.ndim == 1


@pytest.mark.slow
def test_toml_block_is_a_file_of_settings(tmp_path):
    (text,) = re.findall(r"```toml\n(.*?)```", README, flags=re.DOTALL)
    (tmp_path / "asrkit.toml").write_text(text)

    result = subprocess.run(
        [sys.executable, "-m", "asrkit", "doctor", "--offline"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )

    assert all(key in result.stdout for key in ("facebook/wav2vec2-base-960h", "srt,json"))


def test_both_commands_to_paste_are_one_line():
    (block,) = re.findall(r"```sh\n(python3\.11.*?)```", README, flags=re.DOTALL)

    assert len(block.splitlines()) == 2
