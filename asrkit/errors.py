"""The exception tree and its exit codes.

AsrkitError
├── UsageError            2  options that contradict each other or name nothing
├── InputError            3  this one input cannot be used; the others can
│   ├── AudioError           not audio, empty, truncated, NaN, unreadable
│   └── ManifestError        a list of inputs that does not parse
├── OutputError           4  a result cannot be written
├── CheckpointError       4  the model cannot be loaded
│   └── UnsafeCheckpointError   loading it would run code
├── EngineError           4  the machines that work cannot be reached, or were lost
├── MissingExtraError     4  an optional dependency is needed and absent
└── OfflineError          5  not in the cache, and the network is not to be used

`InputError` carries the exit code of a run in which other inputs succeeded; a run in which every
input failed ends with `ExitCode.NOTHING_DONE`.
"""

from __future__ import annotations

import copyreg
import re
from collections.abc import Iterable
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self


class ExitCode(IntEnum):
    """What the process tells the shell. The numbers are a public contract."""

    OK = 0
    CHECK_FAILED = 1
    USAGE = 2
    SOME_FAILED = 3
    NOTHING_DONE = 4
    OFFLINE = 5
    INTERRUPTED = 130
    TERMINATED = 143


class AsrkitError(Exception):
    """Base of every error that asrkit raises on purpose.

    Args:
        message: the fact first: what, which file, what was found, what was expected.
        hint: the way out, as a sentence or a command to type.
    """

    exit_code = ExitCode.NOTHING_DONE

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        """For another process: as it is, though classes differ in what they are made of."""
        return copyreg.__newobj__, (type(self), *self.args), vars(self)  # type: ignore[attr-defined]  # undocumented, and what pickle calls by itself

    def about(self, subject: str) -> Self:
        """The same error with the file or model that it is about named first."""
        if self.message.startswith(subject):
            return self
        return type(self)(f"{subject}: {self.message}", hint=self.hint)


class UsageError(AsrkitError, ValueError):
    """Options that contradict each other, or a name that nothing answers to."""

    exit_code = ExitCode.USAGE


class InputError(AsrkitError):
    """One input that cannot be used; other inputs go on."""

    exit_code = ExitCode.SOME_FAILED


class AudioError(InputError):
    """Not audio, or audio that holds nothing to work on."""


class ManifestError(InputError):
    """A list of inputs that does not parse."""


class OutputError(AsrkitError):
    """A result that cannot be written."""


class CheckpointError(AsrkitError):
    """A model that cannot be found, read, or is not supported."""


class UnsafeCheckpointError(CheckpointError):
    """A checkpoint that would run code when loaded."""


class EngineError(AsrkitError):
    """The machines that work cannot be reached, do not fit, or were lost."""


class MissingExtraError(AsrkitError):
    """An optional dependency is needed and not installed.

    Args:
        what: what needs it, as the subject of a sentence.
        extra: the name of the extra that brings it.
    """

    def __init__(self, what: str, *, extra: str) -> None:
        super().__init__(
            f"{what} needs the extra {extra!r}, which is not installed",
            hint=how_to_install(extra),
        )
        self.extra = extra


class OfflineError(CheckpointError):
    """Not in the cache, and the network is not to be used."""

    exit_code = ExitCode.OFFLINE


def how_to_install(extra: str) -> str:
    """The command that installs what an extra brings.

    It names the packages themselves, as the metadata of this installation does: from whatever
    asrkit was installed, pip need not find that again.
    """
    from importlib import metadata  # takes a while, and is needed seldom

    try:
        required = metadata.requires("asrkit") or []
    except metadata.PackageNotFoundError:
        required = []
    of_extra = re.compile(rf"\bextra\s*==\s*['\"]{extra}['\"]")
    packages = [item.partition(";")[0].strip() for item in required if of_extra.search(item)]
    if not packages:  # a checkout that is not installed, or has changed since
        return f"pip install '.[{extra}]' in the folder of its sources"
    return f"pip install {' '.join(map(repr, packages))}"


def listed(names: Iterable[str], separator: str = ", ") -> str:
    """Names in a message: the first three, and how many more there are."""
    shown = list(names)
    if len(shown) > 3:
        shown[3:] = [f"and {len(shown) - 3} more"]
    return separator.join(shown)
