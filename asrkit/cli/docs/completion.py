"""Completion scripts: the command tree as tables of each shell, put into a template.

Commands, options and choices stand in the script. Only what this machine alone knows, names of
models and codes of languages, is asked of `asrkit __complete`, which `asrkit.cli.words` answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files

from asrkit.cli.docs.tree import Command, Place, suffixes
from asrkit.errors import UsageError

SHELLS = {
    "bash": "asrkit",
    "zsh": "_asrkit",
    "fish": "asrkit.fish",
    "powershell": "asrkit.ps1",
}
"""The file in which each shell looks for it."""


def script(shell: str, root: Command) -> str:
    """The completion script of a shell.

    Args:
        shell: one of `SHELLS`.
        root: the whole tree.

    Raises:
        UsageError: another shell.
    """
    if shell not in SHELLS:
        raise UsageError(f"shell {shell!r} is not one of {', '.join(SHELLS)}")
    tables = {"bash": _bash, "zsh": _zsh, "fish": _fish, "powershell": _powershell}[shell](root)
    template = files("asrkit.cli.docs") / "templates" / shell
    text = template.read_text(encoding="utf-8")
    return re.sub(r"^@([A-Z]+)@$", lambda found: tables[found[1]], text, flags=re.MULTILINE)


def _bash(root: Command) -> Mapping[str, str]:
    cases = []
    for command in root.walk():
        lines = [f"    {_quoted(command.name)})"]
        lines += [
            f"      {name}=({' '.join(words)})"
            for name, words in (
                ("commands", [below.path[-1] for below in command.commands]),
                ("options", [name for place in command.options for name in place.names]),
                ("operands", [_quoted(_takes(place)) for place in command.operands]),
            )
            if words
        ]
        if _repeats(command):
            lines += ["      repeats=1"]
        lines += ["      case $2 in"]
        for takes, names in _by_takes(command).items():
            lines += [f"        {' | '.join(names)}) takes=({takes}) ;;"]
        cases += [*lines, "        *) return 1 ;;", "      esac ;;"]
    return {
        "CASES": "\n".join([*cases, "    *) return 1 ;;"]),
        "SUFFIXES": "\n".join(
            f"          {kind}) pattern='{'|'.join(f'*{suffix}' for suffix in found)}' ;;"
            for kind, found in suffixes().items()
        ),
    }


def _takes(place: Place) -> str:
    """What completes a place, as the scripts read it: a comma before the words of a list."""
    return " ".join([",", *place.takes] if place.is_list and place.takes else place.takes)


def _by_takes(command: Command) -> dict[str, list[str]]:
    """Names of the options with a value, by what completes it."""
    found: dict[str, list[str]] = {}
    for place in command.options:
        if place.num_values:
            found.setdefault(_takes(place), []).extend(place.names)
    return found


def _repeats(command: Command) -> bool:
    """Whether the last operand may stand several times."""
    return any(place.is_repeated for place in command.operands)


def _zsh(root: Command) -> Mapping[str, str]:
    functions = []
    for command in root.walk():
        name = "_".join(["_asrkit_commands", *command.path[1:]])
        specs = [spec for place in command.options for spec in _zsh_option(place)]
        for number, place in enumerate(command.operands, 1):
            where = "*" if place.is_repeated else f"{number}{'' if place.is_required else ':'}"
            specs += [_quoted(f"{where}{_zsh_value(place)}")]
        if not command.commands:
            lines = ["_arguments -s -S", *specs]
            functions += [f"{name}() {{\n  " + " \\\n    ".join(lines) + "\n}"]
            continue
        lines = ["_arguments -s -S -C", *specs, "'1: :->command'", "'*:: :->arguments'"]
        below = [
            _quoted(f"{command.path[-1]}:{command.summary.rstrip('.')}")
            for command in command.commands
        ]
        functions += [
            f'{name}() {{\n  local curcontext="$curcontext" state=\n  local -a line\n  '
            + " \\\n    ".join(lines)
            + "\n  "
            + " \\\n    ".join([f"_asrkit_below {name}", *below])
            + "\n}"
        ]
    return {
        "FUNCTIONS": "\n\n".join(functions),
        "SUFFIXES": "\n".join(
            f"      {kind}) _files -g '*.(#i)({'|'.join(s[1:] for s in found)})' && found=0 ;;"
            for kind, found in suffixes().items()
        ),
    }


def _zsh_option(place: Place) -> Iterator[str]:
    about = f"[{_zsh_escaped(_brief(place.help))}]" + _zsh_value(place) * place.num_values
    others = "*" if place.is_repeated else f"({' '.join(place.names)})"
    for name in place.names:
        joint = {0: "", 1: "=" if name.startswith("--") else "+"}.get(place.num_values, "")
        yield _quoted(f"{others}{name}{joint}{about}")


def _zsh_value(place: Place) -> str:
    action = f"_asrkit_takes {_takes(place)}" if place.takes else ""
    return f":{_zsh_escaped(place.metavar)}: {action}"


def _zsh_escaped(text: str) -> str:
    return re.sub(r"([\\:\[\]])", r"\\\1", text)


def _fish(root: Command) -> Mapping[str, str]:
    cases, completions = [], []
    for command in root.walk():
        at = f"complete -c asrkit -n {_fish_quoted(f'__asrkit_at {_quoted(command.name)}')}"
        options = [name for place in command.options if place.num_values for name in place.names]
        if options:
            cases += [f"        case {_quoted(command.name)}"]
            cases += [f"            contains -- $argv[2] {' '.join(options)}"]
        for place in command.options:
            names = [
                f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
                for name in place.names
            ]
            value = ["-x", *_fish_takes(place)] if place.num_values else []
            about = f"-d {_fish_quoted(_brief(place.help))}"
            completions += [" ".join([at, *names, *value, about])]
        at = at[:-1]
        for below in command.commands:
            about = _fish_quoted(below.summary.rstrip("."))
            completions += [f"{at} 0' -a {below.path[-1]} -d {about}"]
        for index, place in enumerate(command.operands):
            which = f"{index}{'+' if place.is_repeated else ''}"
            if place.takes:
                completions += [" ".join([f"{at} {which}'", *_fish_takes(place)])]
    commands = [_quoted(command.name) for command in root.walk() if command is not root]
    return {
        "COMMANDS": f"            case {' '.join(commands)}",
        "CASES": "\n".join(cases),
        "COMPLETE": "\n".join(completions),
        "SUFFIXES": "\n".join(
            f"            case {kind}\n"
            f"                set pattern '/$|\\.(?:{'|'.join(s[1:] for s in found)})$'"
            for kind, found in suffixes().items()
        ),
    }


def _fish_takes(place: Place) -> list[str]:
    is_plain = not place.is_list and not any(take.startswith("@") for take in place.takes)
    words = _takes(place) if is_plain else f"(__asrkit_takes {_takes(place)})"
    return [f"-a '{words}'"] if place.takes else []


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _powershell(root: Command) -> Mapping[str, str]:
    cases = []
    for command in root.walk():
        options = []
        for place in command.options:
            takes = _doubled(_takes(place)) if place.num_values else "$null"
            options += [f"                {_doubled(name)} = {takes}" for name in place.names]
        cases += [
            f"        {_doubled(command.name)} = @{{",
            f"            Commands = {_array(below.path[-1] for below in command.commands)}",
            f"            Operands = {_array(map(_takes, command.operands))}",
            f"            Repeats = ${str(_repeats(command)).lower()}",
            "            Options = @{",
            *options,
            "            }",
            "        }",
        ]
    kinds = [f"        {_doubled(kind)} = {_array(found)}" for kind, found in suffixes().items()]
    return {"CASES": "\n".join(cases), "SUFFIXES": "\n".join(kinds)}


def _array(words: Iterable[str]) -> str:
    return f"@({', '.join(map(_doubled, words))})"


def _doubled(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", r"'\''") + "'"


def _brief(help: str) -> str:
    """The first sentence, or the part of it before a colon or semicolon."""
    return re.split(r"[.:;] ", help)[0].rstrip(".")
