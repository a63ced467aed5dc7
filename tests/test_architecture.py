"""The house holds: imports run down, and light commands stay light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import asrkit

ROOT = Path(asrkit.__file__).parent
# Rooms by floor, lowest first. A room imports from lower floors and from its own.
FLOORS = (
    {"config", "errors", "options", "suggest", "types"},
    {"audio", "corpus", "ctc", "decoders", "formats", "frontend", "inputs", "json_files"}
    | {"normalize", "outputs", "pauses", "plot", "report", "resume", "safe_pickle", "scoring"}
    | {"segmentation", "shards", "significance", "spelling", "text", "verification"},
    {"checkpoint", "models", "seq2seq"},
    {"batch", "tasks"},
    {"cli"},
    {"__main__"},
)
TORCH_ROOMS = {"checkpoint", "models", "safe_pickle", "seq2seq"}
HEAVY = {
    "torch",
    "numpy",
    "jiwer",
    "huggingface_hub",
    "pydantic",
    "soundfile",
    "soxr",
    "safetensors",
}


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def floor_of(room: str) -> int:
    (floor,) = [index for index, rooms in enumerate(FLOORS) if room in rooms]
    return floor


def imports(path: Path) -> list[str]:
    """Every module that a file imports anywhere, by full name."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module]
    return names


SOURCES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_only_down(path):
    """I1."""
    floor = floor_of(room_of(path))

    rooms = {name.split(".")[1] for name in imports(path) if name.startswith("asrkit.")}

    assert {room for room in rooms if floor_of(room) > floor} == set()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_model_rooms_import_torch(path):
    """I1."""
    has_torch = any(name.split(".")[0] == "torch" for name in imports(path))

    assert not has_torch or room_of(path) in TORCH_ROOMS


def test_only_the_clock_multiplies_or_divides_frames_and_rates():
    """I3."""
    rates = {"samples_per_frame", "sample_rate"}

    homes = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.BinOp)
        and rates <= {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}
    }

    assert homes == {"ctc/emissions.py"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["transcribe", "--help"],
        ["transcribe", "--nonsense"],
        ["align", "--help"],
        ["translate", "--help"],
        ["classify", "--help"],
        ["embed", "--help"],
        ["models", "info", "--help"],
        ["convert", "checkpoint", "--help"],
        ["convert", "transcript", "--help"],
        ["convert", "lm", "--help"],
        ["eval-wer", "--help"],
        ["doctor", "--help"],
        ["completion", "bash"],
        ["transcribe", "--batch-size", "none"],  # files of settings were read
    ],
)
def test_help_imports_nothing_heavy(arguments):
    """I2."""
    code = (
        "import sys; from asrkit.__main__ import main\n"
        f"sys.argv = ['asrkit', *{arguments!r}]\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print(sorted(set({sorted(HEAVY)!r}) & set(sys.modules)), file=sys.stderr)"
    )

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert result.stderr.splitlines()[-1] == "[]"


def test_transcribing_imports_neither_torchs_compiler_nor_the_hub():
    code = (
        "import sys; from asrkit import Audio, transcribe; import numpy\n"
        "transcribe(Audio(numpy.zeros(1600, numpy.float32), 16_000))\n"
        "heavy = {'torch._dynamo', 'sympy', 'huggingface_hub', 'rich', 'jiwer'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert result.stdout == "[]\n"


def test_public_names_load_on_first_use():
    code = "import asrkit, sys; assert 'torch' not in sys.modules; asrkit.load_model; asrkit.Audio"

    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_exists():
    assert [name for name in asrkit.__all__ if not hasattr(asrkit, name)] == []


def test_the_changelog_begins_with_this_version():
    changelog = (ROOT.parent / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = [line for line in changelog.splitlines() if line.startswith("## ")]

    assert headings[0].startswith("## [Unreleased]")
    assert headings[1].startswith(f"## [{asrkit.__version__}]")


def test_every_invariant_is_cited_by_a_test_and_every_citation_is_one():
    document = (ROOT.parent / "ARCHITECTURE.md").read_text(encoding="utf-8")
    texts = [path.read_text(encoding="utf-8") for path in Path(__file__).parent.rglob("test_*.py")]

    invariants = re.findall(r"^- \*\*I(\d+)\*\* ", document, flags=re.MULTILINE)
    cited = {number for text in texts for number in re.findall(r"\bI(\d+)\b", text)}

    assert invariants == [str(number) for number in range(1, len(invariants) + 1)]
    assert cited == set(invariants)


def test_extras_named_in_errors_exist():
    project = (ROOT.parent / "pyproject.toml").read_text(encoding="utf-8")
    extras = project.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    named = {
        node.value.value
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.keyword)
        and node.arg == "extra"
        and isinstance(node.value, ast.Constant)
    }

    assert named <= {line.partition(" =")[0] for line in extras.splitlines()}
