"""What every subcommand has besides its own: the options of running, and values from elsewhere.

The value of an option is the first of: the command line, the variable ASRKIT_<OPTION>, the file of
the project, that of the user (see asrkit.config), the default. All are checked by the same code. A
flag that is set elsewhere is undone by --no-<flag>.

An option that means something else than its namesakes declares a variable of its own. It is set by
that, or in the table of its command, and never by what is for all commands.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from asrkit.cli._console import Console
from asrkit.cli._progress import STYLES
from asrkit.config import WRITTEN, Config, Setting, Table, read_config
from asrkit.errors import UsageError

_PANEL = "Running"
_COLORS = ("auto", "always", "never")
_PATHS = {"FILE", "DIR", "PATH"}


class _Help:
    """Help in the colours that are wanted."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help."""
        from typer import rich_utils

        has_color = ctx.ensure_object(Console).has_color(sys.stdout)
        rich_utils.COLOR_SYSTEM = "auto" if has_color else None
        rich_utils.FORCE_TERMINAL = True if has_color else None
        if isinstance(sys.stdout, io.TextIOWrapper):  # not every console has an ellipsis
            sys.stdout.reconfigure(errors="replace")
        super().format_help(ctx, formatter)  # type: ignore[misc]  # of the class beside this one


class AsrkitGroup(_Help, TyperGroup):
    """A group of subcommands."""


class AsrkitCommand(_Help, TyperCommand):
    """A subcommand, which finds its `Console` in `ctx.obj`."""

    needs_config = True  # files of settings that cannot be read are an error

    def __init__(self, name: str | None, **settings: Any) -> None:
        super().__init__(name, **settings)
        self.own: set[str] = set()  # options that mean something else than their namesakes
        self.params += [_no_config(_read_files), *running_options()]  # files first
        for name, option in options_of(self).items():
            variable = f"ASRKIT_{name.upper().replace('-', '_')}"
            if option.envvar not in (None, variable):
                self.own.add(name)
                continue
            option.envvar = variable
            option.show_envvar = False  # the help says the rule once

    def make_parser(self, ctx: Any) -> Any:
        """Every flag has an opposite, which the help does not list."""
        parser = super().make_parser(ctx)
        for name, option in options_of(self).items():
            if option.is_flag and not name.startswith("no-") and not option.secondary_opts:
                parser.add_option(
                    option, [f"--no-{name}"], option.name, action="store_const", const=False
                )
        return parser

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        console = ctx.obj
        for name, option in options_of(self).items():
            if (where := where_from(ctx, option)) is None:
                continue
            value = ctx.params.get(option.name, getattr(console, str(option.name), None))
            console.settings.append((name, value, where))
            setting = found_settings(ctx).get(option.name)
            if setting and where == setting.where and setting.writes_in_project:
                console.notes.append(f"{name} = {value} ({where})")
        console.start()
        return super().invoke(ctx)


def options_of(command: Any) -> dict[str, TyperOption]:
    """The options of a command by the names that files and variables use."""
    options = (option for option in command.params if isinstance(option, TyperOption))
    return {max(option.opts, key=len).removeprefix("--"): option for option in options}


def leaves(group: Any, words: Table = ()) -> Iterator[tuple[Table, AsrkitCommand]]:
    """Every command below a group, with the words that call it."""
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from leaves(command, (*words, name))
        elif isinstance(command, AsrkitCommand):
            yield (*words, name), command


def running_options() -> list[TyperOption]:
    """The options that say how a run speaks, of every command and of `asrkit` itself."""

    def flag(name: str, *flags: str, help: str) -> TyperOption:
        return option(name, *flags, help=help, metavar="", is_flag=True, default=False)

    def option(name: str, *flags: str, **about: Any) -> TyperOption:
        return TyperOption(
            param_decls=[name, *flags],
            callback=_configure,
            expose_value=False,
            rich_help_panel=_PANEL,
            show_default=not about.get("is_flag") and about.get("default") is not None,
            **about,
        )

    return [
        flag("is_quiet", "--quiet", "-q", help="Errors only on stderr."),
        flag("is_verbose", "--verbose", "-v", help="More on stderr."),
        flag("is_debug", "--debug", help="Show tracebacks of errors."),
        option(
            "progress_style",
            "--progress",
            metavar="|".join(STYLES),
            default="auto",
            help="How far the run is, on stderr: auto is a bar on a terminal, json a line of JSON "
            "every half second.",
        ),
        option(
            "color",
            "--color",
            metavar="|".join(_COLORS),
            default="auto",
            is_eager=True,
            help="Colours; auto is on a terminal, unless NO_COLOR is set.",
        ),
        option(
            "log_file",
            "--log-file",
            metavar="FILE",
            help="Append everything that stderr and --verbose show, with times.",
        ),
    ]


def global_options() -> list[TyperOption]:
    """The same before the name of a command."""
    return [_no_config(_configure), *running_options()]


def _no_config(callback: Any) -> TyperOption:
    return TyperOption(
        param_decls=["no_config", "--no-config"],
        is_flag=True,
        is_eager=True,  # it decides where others get their values from
        default=False,
        metavar="",
        callback=callback,
        expose_value=False,
        rich_help_panel=_PANEL,
        help="Read no file of settings.",
    )


def _configure(ctx: Any, option: Any, value: Any) -> None:
    """Tell the console. What stands before the command counts as if it stood after it."""
    choices = {"color": _COLORS, "progress_style": STYLES}.get(option.name)
    if choices and value not in choices:
        raise typer.BadParameter(f"{value!r} is not one of {', '.join(choices)}.", ctx, option)
    console = ctx.ensure_object(Console)
    is_given = ctx.get_parameter_source(option.name).name == "COMMANDLINE"
    if is_given or option.name not in console.given:
        setattr(console, option.name, value)
    if is_given:
        console.given.add(option.name)


def _read_files(ctx: Any, option: Any, value: Any) -> None:
    """Files give the defaults of all options that are not yet read."""
    _configure(ctx, option, value)
    console = ctx.ensure_object(Console)
    if console.no_config or ctx.resilient_parsing:
        return
    try:
        config = find_config()
        read_settings(ctx, config)
    except UsageError:
        if ctx.command.needs_config:
            raise
        return
    console.notes += config.notes
    console.config_files = [str(file.path) for file in config.files]


def find_config() -> Config:
    """The settings that count in the working directory.

    Raises:
        UsageError: a file is not readable, or not TOML.
    """
    try:
        return read_config(Path.cwd())
    except FileNotFoundError:  # it was removed
        return Config()


def read_settings(ctx: Any, config: Config) -> None:
    """Make what files say the defaults of the command of a context.

    Raises:
        UsageError: a key or table that no command has, or a value of another type.
    """
    if not config.files:
        return
    words: Table = ()
    above = ctx
    while above.parent is not None:
        words, above = (above.info_name, *words), above.parent
    tree = dict(leaves(above.command))
    names = {name: options_of(command).keys() - {"no-config"} for name, command in tree.items()}
    own = {name: command.own for name, command in tree.items()}
    config.check(names, own)
    found = config.of(words, names[words], own[words])
    options = options_of(ctx.command)
    ctx.default_map = {
        options[name].name: _as_typed(setting, options[name]) for name, setting in found.items()
    }
    ctx.meta["asrkit.settings"] = {options[name].name: setting for name, setting in found.items()}


def where_from(ctx: Any, option: TyperOption) -> str | None:
    """The variable or line that sets an option; None where the command line or a default does."""
    source = ctx.get_parameter_source(option.name)
    if source is None or source.name not in ("ENVIRONMENT", "DEFAULT_MAP"):
        return None
    if source.name == "ENVIRONMENT":
        return str(option.envvar)
    return found_settings(ctx)[option.name].where


def found_settings(ctx: Any) -> dict[str | None, Setting]:
    """What files say of the command of a context, by the names of its parameters."""
    settings: dict[str | None, Setting] = ctx.meta.get("asrkit.settings", {})
    return settings


def _as_typed(setting: Setting, option: TyperOption) -> Any:
    """The value of a file as the command line would give it.

    Raises:
        UsageError: it is of another type.
    """
    value = setting.value
    metavar = option.metavar or ""
    is_plural = option.multiple or option.nargs != 1
    kinds: tuple[type, ...] = (str, int, float)
    expected = "a string"
    if option.is_flag:
        kinds, expected = (bool,), "true or false"
    elif option.type.name.startswith(("int", "float")):
        kinds, expected = (int, float), "a number"
    if is_plural or "," in metavar:
        expected += ", or a list of them"
    items = value if isinstance(value, list) and expected.endswith("them") else [value]
    if not all(
        isinstance(item, kinds) and isinstance(item, bool) is option.is_flag for item in items
    ):
        raise UsageError(f"{setting.where}: {setting.key} = {value!r}, expected {expected}")
    if option.is_flag:
        return value
    texts = [_resolved(setting, str(item), set(re.findall("[A-Z]+", metavar))) for item in items]
    return texts if is_plural else ",".join(texts)


def _resolved(setting: Setting, text: str, names: set[str]) -> str:
    """A path of a file as one from the working directory; other texts as they are."""
    if not names & {*_PATHS, "SOURCE"}:
        return text
    path = setting.path(text)
    if setting.key in WRITTEN or names <= _PATHS or os.path.exists(path):
        return path
    return text
