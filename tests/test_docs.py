"""The command tree as data, and the man pages: they say what --help says, and are up to date."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import typer
from rich.markup import render

from asrkit.cli.app import EPILOG, app
from asrkit.cli.docs.__main__ import generated
from asrkit.cli.docs.tree import FREE, PLACES, Command, command_tree
from asrkit.errors import ExitCode
from asrkit.formats import FORMATS, LABEL_FORMATS, VECTOR_FORMATS
from asrkit.report import REPORTS

ROOT = Path(__file__).parent.parent
TREE = command_tree()
COMMANDS = {command.name: command for command in TREE.walk()}
PAGES = sorted((ROOT / "man").glob("*.1"))


def names(command: Command) -> list[str]:
    return [name for place in command.options for name in place.names]


def plain(page: Path) -> str:
    """The text of a page, by a reading of roff that knows only the little that is used."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"\\f[BIR]|\\&", "", text)
    for escape, character in (
        (r"\-", "-"), (r"\(aq", "'"), (r"\(dq", '"'), (r"\(ga", "`"), (r"\(ti", "~"),
        (r"\(ha", "^"), (r"\e", "\\"),
    ):  # fmt: skip
        text = text.replace(escape, character)
    return " ".join(text.split())


def test_man_pages_and_completions_are_up_to_date():
    texts = generated()

    stored = {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
        for folder in ("man", "completions")
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
    }
    stale = sorted(
        name for name in texts.keys() | stored.keys() if texts.get(name) != stored.get(name)
    )
    assert stale == [], "python -m asrkit.cli.docs writes them anew"


def test_what_is_generated_does_not_depend_on_the_terminal(monkeypatch):
    before = generated()

    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("ASRKIT_MODEL", "demo-translate")

    assert generated() == before


@pytest.mark.parametrize("name", COMMANDS)
def test_every_metavar_says_what_completes_it(name):
    """A new word stands in PLACES or FREE of asrkit/cli/docs/tree.py."""
    command = COMMANDS[name]
    metavars = [place.metavar for place in (*command.options, *command.operands) if place.metavar]

    words = {word for metavar in metavars for word in re.findall(r"[A-Z]{2,}|\b[A-Z]\b", metavar)}

    assert words - {"A", "B"} <= PLACES.keys() | FREE  # of "A,B", which is an example


@pytest.mark.parametrize(
    ("name", "formats"),
    [
        ("asrkit transcribe", FORMATS),
        ("asrkit translate", FORMATS),
        ("asrkit align", FORMATS),
        ("asrkit classify", LABEL_FORMATS),
        ("asrkit embed", VECTOR_FORMATS),
        ("asrkit eval-wer", REPORTS),
    ],
)
def test_the_formats_of_a_command_are_those_of_its_registry(name, formats):
    (place,) = [place for place in COMMANDS[name].options if "--format" in place.names]

    assert set(place.takes) == set(formats)
    assert place.is_list


def test_every_help_ends_with_the_exit_codes():
    def epilogs(command):
        yield command.epilog
        for below in getattr(command, "commands", {}).values():
            yield from epilogs(below)

    assert set(epilogs(typer.main.get_command(app))) == {EPILOG}
    assert re.findall(r"\d+", EPILOG) == [str(int(code)) for code in ExitCode]


def records() -> dict[str, list[tuple[str, str]]]:
    """What typer says of every parameter, by command: names with metavar, and help with notes."""

    def visit(command, path, parent):
        context = command.make_context(path[-1], [], parent, resilient_parsing=True)
        found = [item.get_help_record(context) for item in command.get_params(context)]
        yield " ".join(path), [record for record in found if record is not None]
        for name, below in getattr(command, "commands", {}).items():
            yield from visit(below, (*path, name), context)

    return dict(visit(typer.main.get_command(app), ("asrkit",), None))


def test_the_tree_has_every_command_and_option():
    expected = {
        name: {part for flags, _ in found for part in re.findall(r"(?<!\S)--?[a-z][\w-]*", flags)}
        for name, found in records().items()
    }

    assert {name: set(names(command)) for name, command in COMMANDS.items()} == expected


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_says_all_that_help_says(name):
    page = plain(ROOT / "man" / f"{name.replace(' ', '-')}.1")
    command = COMMANDS[name]

    for _, text in records()[name]:
        help, _, notes = text.partition("  [")
        assert " ".join(help.split()) in page
        for note in notes.removesuffix("]").split("; "):
            kind, _, value = note.partition(": ")
            value = re.sub(r"\\|^\(|\)$", "", value)
            expected = {"env var": value, "default": f"Default: {value}"}
            assert expected.get(kind, "") in page
    for sentence in (command.summary, *command.description, *command.examples):
        assert " ".join(sentence.split()) in page
    assert all(
        f".SS {place.panel}" in page for place in command.options if place.panel != "Options"
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_help_texts_hold_no_markup_that_would_vanish(name):
    command = COMMANDS[name]
    texts = [place.help for place in (*command.options, *command.operands)]

    for text in (command.summary, *command.description, *texts):
        assert render(text).plain == text


def test_help_shows_examples_apart_from_the_text():
    """A help of one paragraph and examples loses their indent: say more, or give none."""
    assert [
        command.name for command in TREE.walk() if command.examples and not command.description
    ] == []


def test_examples_name_options_that_exist():
    known = {name for command in TREE.walk() for name in names(command)}

    for command in TREE.walk():
        for example in command.examples:
            words = re.findall(r"(?<=\s)--?[a-z][\w-]*", example.partition("asrkit ")[2])
            assert set(words) <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_man_renders_a_page_without_warnings(page):
    if not (shutil.which("man") and shutil.which("groff")):
        pytest.skip("man-db and groff are not installed")

    result = subprocess.run(
        ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", page],
        capture_output=True,
        text=True,
    )

    assert (result.returncode, result.stderr) == (0, "")


def test_mandoc_finds_no_fault():
    if shutil.which("mandoc") is None:
        pytest.skip("mandoc is not installed")

    result = subprocess.run(["mandoc", "-T", "lint", *PAGES], capture_output=True, text=True)

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
