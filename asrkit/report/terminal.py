"""The terminal report: tables, and alignments in colour."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from asrkit.report.model import (
    Comparison,
    Report,
    Row,
    Score,
    SystemReport,
    interval,
    p_value,
    percent,
)
from asrkit.report.registry import REPORTS
from asrkit.scoring import side_by_side

_WIDTH = 100  # where there is no terminal
_NAME_WIDTH = 16
_FEW = 30  # utterances
_MOST_CHANGES = 20
_STYLES = {"substitute": ("red", "blue"), "delete": ("red", ""), "insert": ("", "blue")}
_LETTERS = {"equal": "", "substitute": "S", "delete": "D", "insert": "I"}


@REPORTS.writer("text", suffix=".txt")
def write_text(report: Report, folder: Path) -> Iterator[str]:
    """Tables without colours."""
    yield render_text(report, has_color=False, width=None)


def render_text(
    report: Report,
    *,
    has_color: bool,
    width: int | None,
    confusions: int = 0,
    align: bool = False,
    errors_only: bool = False,
) -> str:
    """The report for a terminal.

    Args:
        report: what was found.
        has_color: with escape sequences.
        width: of the terminal; None is not a terminal.
        confusions: how many of the most frequent errors to list.
        align: show every utterance, aligned.
        errors_only: of these, only those with errors.
    """
    file = io.StringIO()
    console = Console(
        file=file,
        width=max(40, width or _WIDTH),
        force_terminal=has_color,
        color_system="standard" if has_color else None,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    if align:
        for index in range(len(report.corpus.utterances)):
            if not errors_only or report.num_errors[index]:
                _print_alignment(console, report, report.row(index))
    console.print(_systems(report))
    for item in report.systems:
        for column, scores in item.groups.items():
            console.print()
            title = f"{column}, {item.name}" if len(report.systems) > 1 else column
            console.print(_groups(title, scores, report))
    for comparison in report.comparisons:
        console.print()
        console.print(_comparison(comparison))
    if confusions:
        for item in report.systems:
            console.print()
            console.print(_confusions(item, confusions, len(report.systems) > 1))
    if report.changes:
        console.print()
        console.print(_changes(report, confusions or _MOST_CHANGES))
    console.print()
    console.print(Text(_footer(report), style="dim"), soft_wrap=True)
    lines = file.getvalue().split("\n")
    return "\n".join(line.rstrip() for line in lines)


def _footer(report: Report) -> str:
    number = report.score.num_utterances
    is_rough = number < _FEW and report.score.wer_interval is not None
    rough = ", so few that intervals are rough" if is_rough else ""
    return (
        f"{number} utterance{'s' if number != 1 else ''} of {report.corpus.name}{rough}; "
        f"normalizer {report.normalizer}"
    )


def _table(*titles: str) -> Table:
    """With a rule under the head; all columns but the first hold numbers."""
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
        header_style="bold",
        show_edge=False,
    )
    for index, title in enumerate(titles):
        is_name = index == 0
        table.add_column(
            title,
            justify="left" if is_name else "right",
            overflow="fold",
            no_wrap=not is_name,
            min_width=_NAME_WIDTH if is_name else None,
        )
    return table


def _systems(report: Report) -> Table:
    """One row a system."""
    has_raw = bool(report.normalizer.steps)
    has_speed = any(item.rtfx for item in report.systems)
    titles = ["system", *_titles(report)]
    titles += ["raw WER", "raw CER"] if has_raw else []
    table = _table(*titles, *(["RTFx"] if has_speed else []))
    for item in report.systems:
        cells = _cells(item.score)
        if item.raw is not None:
            cells += [_percent(item.raw.words.rate), _percent(item.raw.characters.rate)]
        if has_speed:
            cells.append(f"{item.rtfx:.1f}" if item.rtfx else "-")
        table.add_row(Text(item.name), *cells)
    return table


def _groups(title: str, scores: Mapping[str, Score], report: Report) -> Table:
    """One row a group."""
    table = _table(title, *_titles(report))
    for name, score in scores.items():
        table.add_row(Text(name or "-"), *_cells(score))
    return table


def _titles(report: Report) -> list[str]:
    level = f"{report.options['confidence']:g} % interval"
    return ["WER %", level, "CER %", "SER %", "sub", "del", "ins", "words"]


def _cells(score: Score) -> list[str]:
    words = score.words
    numbers = (words.substitutions, words.deletions, words.insertions, words.num_reference)
    return [
        _percent(words.rate),
        interval(score.wer_interval),
        _percent(score.characters.rate),
        _percent(score.ser),
        *map(str, numbers),
    ]


def _percent(rate: float | None) -> str:
    return percent(rate).removesuffix(" %")


def _comparison(item: Comparison) -> Text:
    text = Text(f"{item.second} against {item.first}: ")
    if item.bootstrap is None:
        return text.append("too few utterances to say")
    bootstrap = item.bootstrap
    text.append(f"{100 * bootstrap.difference:+.2f} points", style="bold")
    text.append(f" ({interval(bootstrap.interval)}), paired bootstrap {p_value(bootstrap.p)}")
    if item.matched_pairs:
        pairs = item.matched_pairs
        text.append(f", matched pairs ({pairs.num_segments} segments) {p_value(pairs.p)}")
    return text


def _confusions(item: SystemReport, most: int, has_name: bool) -> Table:
    """The most frequent errors, the three kinds beside each other."""
    found = item.confusions
    pairs = [
        (f"{said} → {heard}", count)
        for (said, heard), count in found.substitutions.most_common(most)
    ]
    kinds = (pairs, found.deletions.most_common(most), found.insertions.most_common(most))
    table = _table(f"said → heard, {item.name}" if has_name else "said → heard")
    for title in ("times", "deleted", "times", "inserted", "times"):
        table.add_column(title, justify="right" if title == "times" else "left")
    for row in zip_longest(*kinds, fillvalue=("", "")):
        table.add_row(*(Text(str(cell)) for pair in row for cell in pair))
    return table


def _changes(report: Report, most: int) -> Table:
    """What the normalisers did, the most frequent first."""
    table = _table("before")
    table.add_column("after")
    table.add_column("times", justify="right")
    for (old, new), count in list(report.changes.items())[:most]:
        table.add_row(Text(old or "-"), Text(new or "-"), str(count))
    return table


def _print_alignment(console: Console, report: Report, row: Row) -> None:
    """An utterance, the words of both sides under each other."""
    console.print(Text(row.id, style="bold"), soft_wrap=True)
    for number, system in enumerate(report.systems):
        counts = row.counts[number]
        name = f"{system.name}: " if len(report.systems) > 1 else ""
        console.print(
            Text(
                f"{name}WER {percent(counts.rate)}, {counts.substitutions} sub, "
                f"{counts.deletions} del, {counts.insertions} ins",
                style="dim",
            ),
            soft_wrap=True,
        )
        steps = side_by_side(row.reference, row.hypotheses[number], row.alignments[number])
        for lines in _wrapped(list(steps), console.width):
            for line in lines:
                console.print(line, soft_wrap=True)
    console.print()


def _wrapped(steps: Sequence[tuple[str, str, str]], width: int) -> Iterator[list[Text]]:
    """Three lines at a time that fit the width: said, heard, and what went wrong."""
    lines = _empty_lines()
    used = 0
    for kind, said, heard in steps:
        cells = max(cell_len(said), cell_len(heard), 1)
        if used and 5 + used + cells > width:
            yield _finished(lines)
            lines, used = _empty_lines(), 0
        styles = _STYLES.get(kind, ("", ""))
        for line, word, style in zip(lines, (said, heard), styles, strict=False):
            line.append(word or "*" * cells, style=style if word else "dim")
            line.append(" " * (cells - cell_len(word) + 1 if word else 1))
        lines[2].append(_LETTERS[kind].ljust(cells + 1), style="bold")
        used += cells + 1
    yield _finished(lines)


def _empty_lines() -> list[Text]:
    return [Text("REF  "), Text("HYP  "), Text("     ")]


def _finished(lines: list[Text]) -> list[Text]:
    """Without the last line where nothing is wrong."""
    return lines if lines[2].plain.strip() else lines[:2]
