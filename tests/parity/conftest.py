"""Collects the largest differences and prints them as one table at the end of a run."""

from __future__ import annotations

import pytest

_TABLE: dict[str, list[dict[str, float]]] = {}


@pytest.fixture
def record():
    """A function that adds the differences of one comparison to the table."""
    return lambda name, result: _TABLE.setdefault(name, []).append(result)


def pytest_terminal_summary(terminalreporter):
    if not _TABLE:
        return
    terminalreporter.section("largest difference from the reference, float32")
    line = "{:32} {:>6} {:>10} {:>10} {:>10}"
    terminalreporter.write_line(line.format("model", "cases", "logits", "hidden", "|logits|"))
    for name, results in _TABLE.items():
        worst = {key: max(result[key] for result in results) for key in results[0]}
        terminalreporter.write_line(
            line.format(
                name, len(results), f"{worst['logits']:.1e}", f"{worst['hidden']:.1e}",
                f"{worst['size']:.1f}",
            )
        )  # fmt: skip
