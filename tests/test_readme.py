"""What the README shows is what happens."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


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


def test_both_commands_to_paste_are_one_line():
    (block,) = re.findall(r"```sh\n(python3\.11.*?)```", README, flags=re.DOTALL)

    assert len(block.splitlines()) == 2
