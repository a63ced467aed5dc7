"""Kinds of report by name, and where each is to go."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from asrkit.errors import UsageError
from asrkit.formats.registry import Registry

REPORTS = Registry()
"""Of evaluations. Writers take a `Report` and the folder that the file will lie in, which links to
audio begin from, and make the pieces of a text."""


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
    names = REPORTS.parse(formats) if formats else ()
    by_suffix = {item.suffix: name for name, item in REPORTS.items()}
    plan: list[tuple[str, Path | None]] = []
    for output in outputs:
        path = Path(output)
        named = by_suffix.get(path.suffix.lower())
        if output == "-":
            plan += [(name, None) for name in names or ("text",)]
        elif output.endswith(("/", os.sep)) or path.is_dir() or not path.suffix:
            plan += [
                (name, path / f"eval-wer{REPORTS[name].suffix}") for name in names or ("text",)
            ]
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
