"""`asrkit doctor`: what works on this machine, what does not, and what mends it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperOption

from asrkit.cli import _options as opt
from asrkit.cli._command import (
    AsrkitCommand,
    find_config,
    found_settings,
    leaves,
    options_of,
    read_settings,
    where_from,
)
from asrkit.cli._console import Console, print_json
from asrkit.config import PROJECT, Config, user_file
from asrkit.errors import ExitCode, UsageError
from asrkit.options import ModelOptions
from asrkit.suggest import did_you_mean

if TYPE_CHECKING:
    from asrkit.tasks.doctor import Finding

_MODEL = ModelOptions()
_COLORS = {"missing": "cyan", "warning": "yellow", "broken": "red"}


class DoctorCommand(AsrkitCommand):
    """The command that runs though the files of settings are broken, and says so."""

    needs_config = False


@dataclass(frozen=True)
class Value:
    """An option of a command, and where its value comes from.

    Attributes:
        command: its words.
        option: its name.
        value: what it is set to.
        source: flag, environment, project, user or default.
        where: the variable, or file and line.
    """

    command: str
    option: str
    value: Any
    source: str
    where: str | None


def doctor(
    ctx: typer.Context,
    device: opt.Device = _MODEL.device,
    cache_dir: opt.CacheDir = _MODEL.cache_dir,
    offline: opt.Offline = _MODEL.offline,
    as_json: opt.AsJson = False,
) -> ExitCode:
    """Look at the installation: settings, devices, codecs, extras, cache, Hub.

    What does not work comes with the command that mends it.
    Exits with 1 if something is broken; extras that are not installed are no fault.

    Examples:
      asrkit doctor
      asrkit doctor --offline --json
    """
    from asrkit.outputs import write_stdout
    from asrkit.tasks.doctor import BROKEN, OK, examine

    console: Console = ctx.obj
    options = ModelOptions(device=device, cache_dir=cache_dir, offline=offline)
    values: list[Value] = []
    findings = [*_settings(ctx, values), *examine(options)]
    broken = [finding for finding in findings if finding.status == BROKEN]
    if as_json:
        print_json(
            {
                "schema": 1,
                "healthy": not broken,
                "findings": [asdict(finding) for finding in findings],
                "settings": [asdict(value) for value in values],
            }
        )
    else:
        has_color = console.has_color(sys.stdout)
        for finding in findings:
            write_stdout(_row(finding, has_color))
        for line in _table(values, show_all=console.is_verbose):
            write_stdout(line)
        worth = [finding for finding in findings if finding.status != OK]
        console.say(f"{len(broken)} broken, {len(worth) - len(broken)} to know of")
    return ExitCode.CHECK_FAILED if broken else ExitCode.OK


def _row(finding: Finding, has_color: bool) -> str:
    status = finding.status.ljust(7)
    if has_color and finding.status in _COLORS:
        status = typer.style(status, fg=_COLORS[finding.status], bold=True)
    name = f"{finding.section} {finding.name}"
    fix = f"\n{'':34}{finding.fix}" if finding.fix else ""
    return f"{status}  {name:<23}  {finding.value}{fix}\n"


def _table(values: list[Value], *, show_all: bool) -> Iterator[str]:
    """One row for what all commands share; defaults only where wanted."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    sharing: dict[str, int] = {}
    for value in values:
        sharing[value.option] = sharing.get(value.option, 0) + 1
        if show_all or value.source != "default":
            row = (value.option, str(value.value), value.where or value.source)
            rows.setdefault(row, []).append(value.command)
    for (option, shown, where), commands in sorted(rows.items()):
        whose = "" if len(commands) == sharing[option] else f"{', '.join(commands)}: "
        yield f"{'' if where == 'default' else 'set':<7}  {whose}{option} = {shown}  ({where})\n"
    if values and not show_all:
        yield f"{'':9}{len(sharing)} options, the others at their defaults; -v lists them\n"


def _settings(ctx: typer.Context, values: list[Value]) -> Iterator[Finding]:
    """Fill in the value of every option of every command, and say what is wrong with them."""
    from asrkit.tasks.doctor import BROKEN, WARNING, Finding

    root = ctx.find_root().command
    tree = dict(leaves(root))
    known = {str(o.envvar) for command in tree.values() for o in options_of(command).values()}
    for name in sorted(os.environ):
        if name.startswith("ASRKIT_") and name not in known:
            fix = did_you_mean(name, known) or f"unset {name}"
            yield Finding("settings", name, "no option reads it", WARNING, fix)
    try:
        config = Config() if ctx.obj.no_config else find_config()
        files = ", ".join(str(file.path) for file in config.files)
        yield Finding("settings", "files", files or f"no {PROJECT}, no {user_file()}")
        for note in config.notes:
            yield Finding("settings", "files", note, WARNING)
        for words, command in tree.items():
            fresh = _context(root, words)
            read_settings(fresh, config)
            for name, option in options_of(command).items():
                is_flag = command is ctx.command and _source(ctx, option) == "COMMANDLINE"
                try:
                    found = _given(ctx, option) if is_flag else _found(fresh, option)
                except typer.TyperException as error:
                    place = where_from(fresh, option) or " ".join(words)
                    problem = f"{place}: {error.format_message()}"
                    yield Finding("settings", name, problem, BROKEN, f"asrkit {words[0]} --help")
                else:
                    values.append(Value(" ".join(words), name, *found))
    except UsageError as error:
        yield Finding("settings", "error", error.message, BROKEN, error.hint)


def _context(root: Any, words: tuple[str, ...]) -> typer.Context:
    """As if a command were called without any option."""
    ctx = typer.Context(root, info_name="asrkit", obj=Console())
    command = root
    for word in words:
        command = command.commands[word]
        ctx = typer.Context(command, info_name=word, parent=ctx)
    return ctx


def _source(ctx: typer.Context, option: TyperOption) -> str:
    source = ctx.get_parameter_source(str(option.name))
    return source.name if source else "DEFAULT"


def _given(ctx: typer.Context, option: TyperOption) -> tuple[Any, str, None]:
    """The value of a flag of this very call."""
    name = str(option.name)
    return ctx.params.get(name, getattr(ctx.obj, name, None)), "flag", None


def _found(ctx: typer.Context, option: TyperOption) -> tuple[Any, str, str | None]:
    """What an option is set to where the command line says nothing, by whom, and where."""
    value, source = option.consume_value(ctx, {})
    ctx.set_parameter_source(str(option.name), source)
    kind = {"ENVIRONMENT": "environment", "DEFAULT": "default"}.get(source.name)
    if kind is None:
        kind = "project" if found_settings(ctx)[option.name].file.is_project else "user"
    return option.type_cast_value(ctx, value), kind, where_from(ctx, option)
