"""Kinds of report by name: what writes one, and what the command line says of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType

from asrkit.errors import UsageError
from asrkit.report.model import Report

Writer = Callable[[Report, Path], Iterable[str]]


@dataclass(frozen=True)
class ReportFormat:
    """A way to write a report.

    Attributes:
        name: what the user types.
        suffix: of its files, with the dot.
        write: makes the pieces of its text; the path is the folder that it will lie in, which
            links to audio begin from.
    """

    name: str
    suffix: str
    write: Writer


_formats: dict[str, ReportFormat] = {}
REPORTS: Mapping[str, ReportFormat] = MappingProxyType(_formats)
"""Every kind of report by name, in the order of registration."""


def report_writer(name: str, *, suffix: str) -> Callable[[Writer], Writer]:
    """Register the decorated function as the writer of a kind of report."""

    def register(write: Writer) -> Writer:
        _formats[name] = ReportFormat(name, suffix, write)
        return write

    return register


def find_report(name: str) -> ReportFormat:
    """The kind with this name.

    Raises:
        UsageError: there is none.
    """
    if name in REPORTS:
        return REPORTS[name]
    close = get_close_matches(name, REPORTS, n=1)
    raise UsageError(
        f"unknown format {name!r}, known are {', '.join(REPORTS)}",
        hint=f"did you mean {close[0]}?" if close else None,
    )


def plan_reports(outputs: Sequence[str], formats: str | None) -> list[tuple[str, Path | None]]:
    """Understand -o and -f together.

    Args:
        outputs: each "-", a file, or a directory, which gets one file a format.
        formats: comma-separated names; None takes the suffix of each file, else text.

    Returns:
        Name of the format and its file for every report; None is standard output.

    Raises:
        UsageError: they contradict each other.
    """
    names = [find_report(name.strip().lower()).name for name in (formats or "").split(",") if name]
    by_suffix = {item.suffix: name for name, item in REPORTS.items()}
    plan: list[tuple[str, Path | None]] = []
    for output in outputs:
        path = Path(output)
        named = by_suffix.get(path.suffix.lower())
        if output == "-":
            plan += [(name, None) for name in names or ["text"]]
        elif output.endswith(("/", os.sep)) or path.is_dir() or not path.suffix:
            plan += [(name, path / f"eval-wer{REPORTS[name].suffix}") for name in names or ["text"]]
        elif len(names) == 1:
            plan.append((names[0], path))
        elif named is not None and (not names or named in names):
            plan.append((named, path))
        else:
            raise UsageError(
                f"-o {output}: {path.suffix!r} does not say which report ({', '.join(by_suffix)})",
                hint=f"-o {output}/ makes it a directory of all",
            )
    if sum(path is None for _, path in plan) > 1:
        raise UsageError(
            f"{len(plan)} reports cannot go to one place (standard output)",
            hint="-o DIR/ writes one file a format; -o may be given several times",
        )
    return plan
