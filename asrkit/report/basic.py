"""Reports for programs and for continuous integration: JSON, CSV, JUnit, GitHub, Markdown."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from asrkit.report.model import Check, Report, Score, SystemReport, interval, p_value, percent
from asrkit.report.registry import REPORTS
from asrkit.scoring import COLUMNS, Counts

_MOST_LINES = 10  # of confusions and of groups, where a report is to be short


@REPORTS.writer("json", suffix=".json")
def write_json(report: Report, folder: Path) -> Iterator[str]:
    """Everything: `Report.to_dict`, one line an utterance."""
    head = json.dumps(report.summary(), ensure_ascii=False, allow_nan=False, indent=2)
    yield head.removesuffix("\n}") + ',\n  "utterances": ['
    separator = "\n    "
    for item in report.utterances():
        yield separator + json.dumps(item, ensure_ascii=False, allow_nan=False)
        separator = ",\n    "
    yield "\n  ]\n}\n"


@REPORTS.writer("csv", suffix=".csv")
def write_csv(report: Report, folder: Path) -> Iterator[str]:
    """A row for each utterance and system, quoted as RFC 4180 says."""
    columns = list(report.options["by"])
    numbers = ["words", *COLUMNS, "wer", "characters", "character_errors", "cer"]
    yield _csv_row(["system", "id", *columns, *numbers, "reference", "hypothesis"])
    for item in report.systems:
        for index, utterance in enumerate(report.corpus.utterances):
            words = Counts(*item.word_counts[index].tolist())
            characters = Counts(*item.character_counts[index].tolist())
            yield _csv_row(
                [
                    item.name,
                    utterance.id,
                    *(utterance.labels.get(column, "") for column in columns),
                    words.num_reference,
                    *item.word_counts[index].tolist(),
                    _number(words.rate),
                    characters.num_reference,
                    characters.errors,
                    _number(characters.rate),
                    utterance.text,
                    item.system.texts[index],
                ]
            )


def _csv_row(cells: Sequence[object]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerow(cells)
    return file.getvalue()


def _number(rate: float | None) -> str:
    return "" if rate is None else f"{rate:.6f}"


@REPORTS.writer("junit", suffix=".xml")
def write_junit(report: Report, folder: Path) -> Iterator[str]:
    """A test case for each check; one that passes where none was asked for."""
    failed = sum(not check.is_passed for check in report.checks)
    cases = [(f"{check.name} of {check.system}", check) for check in report.checks]
    total = max(1, len(cases))
    yield '<?xml version="1.0" encoding="UTF-8"?>\n'
    yield f'<testsuites tests="{total}" failures="{failed}">\n'
    yield f'  <testsuite name="asrkit eval-wer" tests="{total}" failures="{failed}">\n'
    yield "    <properties>\n"
    for item in report.systems:
        for name, value in (("wer", item.score.words.rate), ("cer", item.score.characters.rate)):
            title = _xml(f"{item.name} {name}")
            yield f'      <property name={title} value="{_number(value)}"/>\n'
    yield f'      <property name="normalizer" value={_xml(str(report.normalizer))}/>\n'
    yield "    </properties>\n"
    if not cases:
        yield '    <testcase classname="asrkit.eval-wer" name="scored"/>\n'
    for name, check in cases:
        start = f'    <testcase classname="asrkit.eval-wer" name={_xml(name)}'
        if check.is_passed:
            yield f"{start}/>\n"
        else:
            failure = f"<failure message={_xml(check.message)}/>"
            yield f"{start}>\n      {failure}\n    </testcase>\n"
    yield "  </testsuite>\n</testsuites>\n"


def _xml(text: str) -> str:
    """Quoted, and without the characters that XML forbids."""
    return quoteattr("".join(c if c.isprintable() else "\ufffd" for c in text))


@REPORTS.writer("github", suffix=".github.txt")
def write_github(report: Report, folder: Path) -> Iterator[str]:
    """Workflow commands: an error for each failed check, a notice for each system.

    The command line also appends the Markdown report to the file that $GITHUB_STEP_SUMMARY names.
    """
    for check in report.checks:
        kind = "notice" if check.is_passed else "error"
        yield f"::{kind} title=asrkit eval-wer::{_command(check.message)}\n"
    for item in report.systems:
        yield f"::notice title=asrkit eval-wer::{_command(_sentence(item))}\n"


def _sentence(item: SystemReport) -> str:
    score = item.score
    return (
        f"{item.name}: WER {percent(score.words.rate)} ({interval(score.wer_interval)}), CER "
        f"{percent(score.characters.rate)}, {score.num_utterances} utterances"
    )


def _command(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


@REPORTS.writer("markdown", suffix=".md")
def write_markdown(report: Report, folder: Path) -> Iterator[str]:
    """Tables for a pull request or a step summary."""
    yield "## Word error rate\n\n"
    for check in report.checks:
        yield f"- {_verdict(check)}: {_cell(check.message)}\n"
    if report.checks:
        yield "\n"
    yield from _score_table("system", {item.name: item.score for item in report.systems}, report)
    yield f"\nReference {_cell(report.corpus.name)}, {report.score.num_utterances} utterances. "
    yield f"Normalizer: {_cell(str(report.normalizer))}.\n"
    for item in report.systems:
        if item.raw is not None:
            yield f"Before it, {_cell(item.name)} has a WER of {percent(item.raw.words.rate)}.\n"
    for note in report.corpus.notes:
        yield f"Note: {_cell(note)}.\n"
    for comparison in report.comparisons:
        yield f"\n{_cell(comparison.second)} against {_cell(comparison.first)}: "
        if comparison.bootstrap:
            bootstrap = comparison.bootstrap
            yield f"{100 * bootstrap.difference:+.2f} points ({interval(bootstrap.interval)}), "
            yield f"bootstrap {p_value(bootstrap.p)}"
        if comparison.matched_pairs:
            yield f", matched pairs {p_value(comparison.matched_pairs.p)}"
        yield ".\n"
    first = report.systems[0]
    for column, scores in first.groups.items():
        worst = sorted(scores.items(), key=lambda pair: -(pair[1].words.rate or 0.0))
        yield "\n"
        yield from _score_table(column, dict(worst[:_MOST_LINES]), report)
        if len(worst) > _MOST_LINES:
            yield f"\nThe {_MOST_LINES} worst of {len(worst)}.\n"
    confusions = first.confusions.substitutions.most_common(_MOST_LINES)
    if confusions:
        yield "\n| said | heard | times |\n|---|---|---:|\n"
        for (said, heard), count in confusions:
            yield f"| {_cell(said)} | {_cell(heard)} | {count} |\n"


def _verdict(check: Check) -> str:
    return "passed" if check.is_passed else "**failed**"


def _score_table(title: str, scores: dict[str, Score], report: Report) -> Iterator[str]:
    level = f"{report.options['confidence']:g} % interval"
    yield f"| {_cell(title)} | WER | {level} | CER | Sub | Del | Ins | Words | Wrong sentences |\n"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|---:|\n"
    for name, score in scores.items():
        words = score.words
        yield (
            f"| {_cell(name)} | {percent(words.rate)} | {interval(score.wer_interval)} | "
            f"{percent(score.characters.rate)} | {words.substitutions} | {words.deletions} | "
            f"{words.insertions} | {words.num_reference} | {percent(score.ser)} |\n"
        )


def _cell(text: str) -> str:
    """Text that stays text in a Markdown table."""
    shown = escape(" ".join(text.split())).replace("\\", "\\\\")
    return "".join("\\" + c if c in "|*_`[]" else c for c in shown)
