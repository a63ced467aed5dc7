"""Man pages in the man(7) macros that groff and mandoc agree on."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping

from asrkit import __version__
from asrkit.cli.app import EXIT_CODES
from asrkit.cli.docs.tree import Command, Place

_WIDTH = 78
_ESCAPES = str.maketrans(
    {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti", '"': r"\(dq"}
)
_VARIABLES = {
    "HF_HOME": "Folder of all that Hugging Face programs keep.",
    "HF_HUB_CACHE": "Folder of models from the Hub.",
    "HF_HUB_OFFLINE": "Set to 1, it means --offline.",
    "HF_ENDPOINT": "Address of a mirror of the Hub.",
    "HF_TOKEN": "Token for models that ask for one.",
}
_SETTINGS = {
    "asrkit.toml": "Settings of a project, found upward from the working directory; "
    "[tool.asrkit] in pyproject.toml will do too.",
    "~/.config/asrkit/config.toml": "Settings of a user; XDG_CONFIG_HOME puts it elsewhere.",
}
_CACHE = {
    "~/.cache/huggingface/hub": "Models from the Hub, shared with other programs; --cache-dir, "
    "HF_HUB_CACHE or HF_HOME put them elsewhere.",
}


def man_pages(root: Command, date: str) -> dict[str, str]:
    """All pages by the name of their file.

    Args:
        root: the whole tree.
        date: of the release, as 2026-11-21.
    """
    return {f"{_page(command)}.1": man_page(command, root, date) for command in root.walk()}


def man_page(command: Command, root: Command, date: str) -> str:
    """The page of one command."""
    sections = {
        "NAME": _wrapped(rf"{_text(_page(command))} \- {_text(_uncapitalised(command.summary))}"),
        "SYNOPSIS": [_synopsis(command)],
        "DESCRIPTION": _paragraphs((command.summary, *command.description)),
        "COMMANDS": _table((f"{_page(below)}(1)", below.summary) for below in command.commands),
        "ARGUMENTS": _places(command.operands),
        "OPTIONS": _options(command.panels),
        "EXIT STATUS": _table((f"{code:d}", f"{text}.") for code, text in EXIT_CODES.items()),
        "ENVIRONMENT": _environment(command),
        "FILES": _table((_SETTINGS | (_CACHE if _uses_cache(command) else {})).items()),
        "EXAMPLES": _examples(command, root),
        "SEE ALSO": [_see_also(command, root)],
    }
    title = _text(_page(command).upper())
    lines = [f'.TH {title} 1 {date} "asrkit {__version__}" "asrkit manual"', ".nh", ".ad l"]
    for heading, content in sections.items():
        if body := list(content):
            lines += [f".SH {heading}", *body]
    return "".join(f"{line}\n" for line in lines)


def _page(command: Command) -> str:
    return "-".join(command.path)


def _wrapped(source: str) -> Iterator[str]:
    """Running text in lines of decent length, none of which begins like a macro."""
    for line in textwrap.wrap(source, _WIDTH, break_long_words=False, break_on_hyphens=False):
        yield rf"\&{line}" if line[0] in ".'" else line


def _text(text: str) -> str:
    """Literal text."""
    return text.translate(_ESCAPES)


def _uncapitalised(sentence: str) -> str:
    return (sentence[0].lower() + sentence[1:]).removesuffix(".")


def _synopsis(command: Command) -> str:
    words = [r"[\fIOPTIONS\fR]"] if not command.commands else [r"\fICOMMAND\fR", "..."]
    for place in command.operands:
        word = rf"\fI{_text(place.metavar)}\fR" + (" ..." if place.is_repeated else "")
        words.append(word if place.is_required else f"[{word}]")
    return rf"\fB{_text(command.name)}\fR {' '.join(words)}"


def _paragraphs(paragraphs: Iterable[str]) -> Iterator[str]:
    for index, paragraph in enumerate(paragraphs):
        if index:
            yield ".PP"
        yield from _wrapped(_text(paragraph))


def _table(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    for name, text in rows:
        yield ".TP"
        yield rf"\fB{_text(name)}\fR"
        yield from _wrapped(_text(text[0].upper() + text[1:]))


def _options(panels: Mapping[str, Iterable[Place]]) -> Iterator[str]:
    for panel, places in panels.items():
        if panel != "Options":
            yield f".SS {_text(panel)}"
        yield from _places(places)


def _places(places: Iterable[Place]) -> Iterator[str]:
    for place in places:
        names = ", ".join(rf"\fB{_text(name)}\fR" for name in reversed(place.names))
        yield ".TP"
        yield rf"{names} \fI{_text(place.metavar)}\fR".strip() if place.metavar else names
        yield from _wrapped(_text(" ".join([place.help, *place.notes])))


def _environment(command: Command) -> Iterator[str]:
    """The variables of a command and all below it: those that follow the rule, and the others."""
    options = {
        place.variable: (place, below.name)
        for below in command.walk()
        for place in below.options
        if place.variable
    }
    plain = sorted(name for name, (place, _) in options.items() if place.is_named_by_rule)
    if plain:
        yield from _wrapped(
            "Options that are not on the command line are taken from variables of their name: "
            + ", ".join(rf"\fB{_text(name)}\fR" for name in plain)
            + "."
        )
    for name in sorted(options.keys() - set(plain)):
        place, of = options[name]
        yield from _table([(name, f"Sets {place.names[0]} of {of}.")])
    if _uses_cache(command):
        yield from _table(_VARIABLES.items())


def _uses_cache(command: Command) -> bool:
    commands = command.walk()
    return any("--cache-dir" in place.names for below in commands for place in below.options)


def _examples(command: Command, root: Command) -> Iterator[str]:
    """Of the program, the first of each command."""
    found = command.examples
    if command is root:
        found = tuple(line for below in root.walk() for line in below.examples[:1])
    if found:
        yield ".EX"
        yield from map(_text, found)
        yield ".EE"


def _see_also(command: Command, root: Command) -> str:
    """The pages above, below and beside one."""
    pages = [
        other
        for other in root.walk()
        if other is not command
        and (
            other.path == command.path[: len(other.path)]
            or command.path == other.path[: len(command.path)]
            or (len(command.path) > 2 and other.path[:-1] == command.path[:-1])
        )
    ]
    return ",\n".join(rf"\fB{_text(_page(page))}\fR(1)" for page in pages)
