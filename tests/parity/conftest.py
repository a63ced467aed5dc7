"""Collects the largest differences and prints them as one table at the end of a run."""

from __future__ import annotations

import pytest

_TABLE: dict[str, list[dict[str, float]]] = {}


@pytest.fixture
def record():
    """A function that adds the differences of one comparison to the table.

    Numbers are differences, of which the largest counts; truth values are counted.
    """
    return lambda name, result: _TABLE.setdefault(name, []).append(result)


def pytest_terminal_summary(terminalreporter):
    if not _TABLE:
        return
    terminalreporter.section("largest difference from the reference, float32")
    columns = list(dict.fromkeys(key for results in _TABLE.values() for key in results[0]))
    width = max(len(name) for name in _TABLE)
    line = f"{{:{width}}} {{:>5}}" + "".join(f" {{:>{max(7, len(key))}}}" for key in columns)
    terminalreporter.write_line(line.format("model", "cases", *columns))
    for name, results in _TABLE.items():
        figures = [_figure([result[key] for result in results if key in result]) for key in columns]
        terminalreporter.write_line(line.format(name, len(results), *figures))


def _figure(values: list[float]) -> str:
    if not values:
        return ""
    if isinstance(values[0], bool):
        return str(sum(values))
    return f"{max(values):.1e}"
