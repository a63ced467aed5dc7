"""Settings in files: where the files are, what they say, and what a project's may not say.

    asrkit.toml             of a project: the nearest upward from the working directory
    pyproject.toml          its [tool.asrkit], where no asrkit.toml stands beside it
    asrkit/config.toml      of a user, in $XDG_CONFIG_HOME (~/.config), on Windows in %APPDATA%

A key is the name of an option. At the top it is for every command that has the option, in a table
for the command of that name: `model = "..."`, `[transcribe] beam-width = 50`, `[models.info]`.
Paths are relative to the file.

A project may be a stranger's folder, so its file can neither run code nor write outside its folder,
and it must belong to the user, to root, or to whom the working directory belongs to.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asrkit.errors import UsageError
from asrkit.suggest import did_you_mean

PROJECT, PYPROJECT = "asrkit.toml", "pyproject.toml"
# Options that name what is written; in a project's file it must lie in the project.
WRITTEN = frozenset({"cache-dir", "emissions", "log-file", "output", "plot", "resume"})
_RUNS_CODE = re.compile(r"\.py\s*:")  # --normalizer FILE.py:function
_MAX_BYTES = 1_000_000

Table = tuple[str, ...]  # the words that call a command, () for the top of a file
Options = Mapping[Table, Collection[str]]  # names of the options of every command


@dataclass(frozen=True)
class Setting:
    """One key of a file.

    Attributes:
        key: name of the option.
        value: as TOML has it.
        file: where it stands.
        table: in which table, () for the top.
    """

    key: str
    value: Any
    file: ConfigFile
    table: Table

    @property
    def where(self) -> str:
        """File and line, for people."""
        line = self.file.line(self.table, self.key)
        return f"{self.file.path}, line {line}" if line else str(self.file.path)

    @property
    def writes_in_project(self) -> bool:
        """Whether a file that may be a stranger's says where something is written."""
        return self.file.is_project and self.key in WRITTEN

    def path(self, name: str) -> str:
        """A path that the value names, which is relative to the file.

        Raises:
            UsageError: a project's file would write outside its folder.
        """
        if name == "-":
            return name
        folder = self.file.path.parent
        path = os.path.join(folder, os.path.expanduser(name))  # keeps a slash at the end
        is_inside = Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
        if self.writes_in_project and not is_inside:
            raise UsageError(
                f"{self.where}: {self.key} = {name!r} is outside {folder}, and a project's file "
                "may write nowhere else",
                hint=f"--{self.key}, or {user_file()}, may",
            )
        return path


@dataclass(frozen=True)
class ConfigFile:
    """A file of settings.

    Attributes:
        path: of the file.
        values: what it says.
        text: the file itself.
        is_project: it was found beside what is worked on, and need not be the user's own.
    """

    path: Path
    values: Mapping[str, Any]
    text: str
    is_project: bool

    def settings(self) -> Iterator[Setting]:
        """Every key, with the table that it stands in."""
        yield from self._settings(self.values, ())

    def _settings(self, table: Mapping[str, Any], place: Table) -> Iterator[Setting]:
        for name, value in table.items():
            key = name.replace("_", "-")
            if isinstance(value, dict):
                yield from self._settings(value, (*place, key))
            else:
                yield Setting(key, value, self, place)

    def line(self, table: Table, key: str) -> int | None:
        """The line of a key; None where it is written in a way of its own (inline tables)."""
        place = ("tool", "asrkit") if self.path.name == PYPROJECT else ()
        current: Table = ()
        for number, line in enumerate(self.text.splitlines(), 1):
            if head := re.match(r"\s*\[([^\[\]]+)\]", line):
                current = tuple(_bare(part) for part in head[1].split("."))
            elif current == (*place, *table) and _bare(line.partition("=")[0]) == key:
                return number
        return None


def _bare(name: str) -> str:
    return name.strip().strip("\"'").replace("_", "-")


@dataclass(frozen=True)
class Config:
    """All files that count.

    Attributes:
        files: that of the user, then that of the project, which wins.
        notes: what people should know: files that were found and not read.
    """

    files: tuple[ConfigFile, ...] = ()
    notes: tuple[str, ...] = ()

    def check(self, options: Options, own: Options) -> None:
        """Refuse what no command takes.

        Args:
            options: of every command.
            own: those of them that keys at the top do not set.

        Raises:
            UsageError: an unknown key or table, or a value that would run code; names the nearest.
        """
        tables = {words[:depth] for words in options for depth in range(len(words) + 1)}
        for file in self.files:
            for setting in file.settings():
                _check(setting, tables, options, own)

    def of(
        self, command: Table, options: Collection[str], own: Collection[str]
    ) -> dict[str, Setting]:
        """The settings of a command: of a project before a user's, of a table before the top.

        Args:
            command: the words that call it.
            options: the names of its options.
            own: those of them that keys at the top do not set.
        """
        found: dict[str, Setting] = {}
        for file in self.files:
            for setting in sorted(file.settings(), key=lambda setting: len(setting.table)):
                is_here = setting.table == command[: len(setting.table)]
                if is_here and setting.key in options and (setting.table or setting.key not in own):
                    found[setting.key] = setting
        return found


def _check(setting: Setting, tables: Collection[Table], options: Options, own: Options) -> None:
    place, key = setting.table, setting.key
    if place not in tables:
        known = [".".join(words) for words in tables if words]
        raise UsageError(
            f"{setting.where}: [{'.'.join(place)}] is the table of no command",
            hint=did_you_mean(".".join(place), known) or f"there are {', '.join(sorted(known))}",
        )
    commands = [words for words in options if words[: len(place)] == place]
    taken = {
        name for words in commands for name in options[words] if place or name not in own[words]
    }
    if key not in taken:
        others = sorted(".".join(words) for words in options if key in options[words])
        hint = f"it is an option of [{'], ['.join(others)}]" if others else did_you_mean(key, taken)
        raise UsageError(
            f"{setting.where}: unknown key {'.'.join((*place, key))!r}",
            hint=hint or f"asrkit {' '.join(place) or 'COMMAND'} --help lists the options",
        )
    if setting.file.is_project and _RUNS_CODE.search(str(setting.value)):
        raise UsageError(
            f"{setting.where}: {key} = {setting.value!r} runs code, which a project's file may not",
            hint=f"--{key} may, if you trust it",
        )


def user_file() -> Path:
    """Where the user's own settings are; the file need not exist."""
    if os.name == "nt":
        base = os.environ.get("APPDATA") or os.path.expanduser("~/AppData/Roaming")
    else:
        base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return Path(base, "asrkit", "config.toml")


def read_config(folder: Path) -> Config:
    """The settings that count in a folder.

    Raises:
        UsageError: a file is not readable, or not TOML.
    """
    files, notes = [], []
    if os.path.isfile(path := user_file()):
        files.append(_read(path, is_project=False))
    for parent in (folder, *folder.parents):
        path = parent / PROJECT
        if not os.path.isfile(path):
            path = parent / PYPROJECT
            if not os.path.isfile(path) or b"asrkit" not in _bytes(path):
                continue
        if not _is_trusted(path, folder):
            notes.append(f"{path} is not read: it belongs to somebody else")
            continue
        file = _read(path, is_project=True)
        if path.name == PROJECT or file.values:
            files.append(file)
            break
    return Config(tuple(files), tuple(notes))


def _is_trusted(path: Path, folder: Path) -> bool:
    if not hasattr(os, "getuid"):
        return True
    return path.stat().st_uid in (os.getuid(), 0, folder.stat().st_uid)


def _bytes(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be read: {error.strerror}", hint="--no-config goes without"
        ) from error
    if len(content) > _MAX_BYTES:
        raise UsageError(f"{path}: larger than {_MAX_BYTES} bytes", hint="--no-config goes without")
    return content


def _read(path: Path, *, is_project: bool) -> ConfigFile:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        text = _bytes(path).decode("utf-8-sig")
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{path}: not valid TOML: {error}", hint="--no-config goes without"
        ) from error
    if path.name == PYPROJECT:
        tool = values.get("tool", {})
        values = tool.get("asrkit", {}) if isinstance(tool, dict) else {}
        if not isinstance(values, dict):
            raise UsageError(f"{path}: tool.asrkit is not a table")
    return ConfigFile(path, values, text, is_project)
