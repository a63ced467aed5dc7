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
    line = "{:32} {:>6} {:>10} {:>10} {:>10} {:>18}"
    names = ("model", "cases", "logits", "hidden", "|logits|", "same text, offsets")
    terminalreporter.write_line(line.format(*names))
    for name, results in _TABLE.items():
        worst = {key: max(result[key] for result in results) for key in results[0]}
        figures = [f"{worst[key]:.1e}" for key in ("logits", "hidden")]
        same = sum(bool(result["same"]) for result in results)
        terminalreporter.write_line(
            line.format(name, len(results), *figures, f"{worst['size']:.1f}", same)
        )
