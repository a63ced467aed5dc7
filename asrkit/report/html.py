"""The report as one HTML file that needs nothing else: no network, no fonts, no libraries."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib import resources
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

from asrkit.formats.utterances import Utterance
from asrkit.report.model import Report, Row, Score, SystemReport, interval, p_value, percent
from asrkit.report.registry import REPORTS
from asrkit.scoring import Alignment, Counts, side_by_side

_MOST_ROWS = 2000  # utterances in a page, those with most errors
_MOST_BARS = 30
_MATRIX = 14  # characters in the matrix
_LENGTHS = (1, 3, 6, 11, 16, 26, 51)  # words where a bar of the plot by length begins


@REPORTS.writer("html", suffix=".html")
def write_html(report: Report, folder: Path) -> Iterator[str]:
    """One page: summary, plots, confusions, and utterances to sort, filter and listen to."""
    script = _resource("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    yield (
        "<!DOCTYPE html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
        # No script but ours runs, and nothing but audio is loaded, whatever texts contain.
        "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; "
        f"style-src 'unsafe-inline'; script-src 'sha256-{digest}'; media-src 'self' file:; "
        'img-src data:">\n'
        "<link rel='icon' href='data:,'>\n"
        f"<title>WER {percent(report.score.words.rate)} · {_text(report.corpus.name)}</title>\n"
        f"<style>\n{_resource('page.css')}</style>\n</head>\n<body>\n"
    )
    yield from _header(report)
    yield "<main>\n"
    yield from _systems(report)
    yield from _comparisons(report)
    yield from _plots(report)
    for item in report.systems:
        yield from _confusions(item, report)
    yield from _changes(report)
    yield from _utterances(report, folder)
    yield f"</main>\n<script>{script}</script>\n</body>\n</html>\n"


def _resource(name: str) -> str:
    return resources.files("asrkit.report").joinpath(name).read_text(encoding="utf-8")


def _text(text: object) -> str:
    """Escaped, without control characters."""
    return escape("".join(c if c.isprintable() else " " for c in str(text)), quote=True)


# --------------------------------------------------------------------------------------- summary


def _header(report: Report) -> Iterator[str]:
    yield "<header>\n<h1>Word error rate</h1>\n<div class='rates'>"
    for item in report.systems:
        bounds = item.score.wer_interval
        level = f"{report.options['confidence']:g}"
        yield f"<div><bdi class='name'>{_text(item.name)}</bdi>"
        yield f"<span class='rate'>{percent(item.score.words.rate).removesuffix(' %')}"
        yield "<small> %</small></span>"
        if bounds:
            yield f"<span class='quiet small'>{interval(bounds)} with {level} % confidence</span>"
        yield "</div>"
    yield "</div>\n"
    if report.checks:
        yield "<ul class='checks'>"
        for check in report.checks:
            state = "passed" if check.is_passed else "failed"
            message = _text(check.message).replace(" %", "&nbsp;%")
            yield f"<li class='{state}'>{state.capitalize()}: {message}</li>"
        yield "</ul>\n"
    yield from _facts(report)
    normalizer = f"Normalizer: {_text(report.normalizer)}."
    raw = report.systems[0].raw
    if raw is not None:
        normalizer += (
            f" Without it the WER is {percent(raw.words.rate)} and the CER "
            f"{percent(raw.characters.rate)}."
        )
    yield f"<p class='quiet small'>Reference: <bdi>{_text(report.corpus.name)}</bdi>. {normalizer}"
    yield f" Made by asrkit {_text(report.version)}.</p>\n"
    for note in report.corpus.notes:
        yield f"<p class='small'>Note: {_text(note)}.</p>\n"
    yield "</header>\n"


def _facts(report: Report) -> Iterator[str]:
    """The numbers of a single system; several stand in a table."""
    (item, *others) = report.systems
    if others:
        return
    score, words = item.score, item.score.words
    facts = {
        "CER": percent(score.characters.rate),
        "Wrong sentences": percent(score.ser),
        "Substituted": words.substitutions,
        "Deleted": words.deletions,
        "Inserted": words.insertions,
        "Words": words.num_reference,
        "Utterances": score.num_utterances,
        "MER": percent(words.mer),
        "WIL": percent(words.wil),
    }
    if item.rtfx:
        facts["Speed (RTFx)"] = f"{item.rtfx:.1f}"
    yield "<dl class='facts'>"
    for name, value in facts.items():
        yield f"<div><dt>{name}</dt><dd>{value}</dd></div>"
    yield "</dl>\n"


def _systems(report: Report) -> Iterator[str]:
    if len(report.systems) < 2:
        return
    has_raw = bool(report.normalizer.steps)
    has_speed = any(item.rtfx for item in report.systems)
    names = ["WER", "interval", *(["raw WER"] if has_raw else []), "CER", "sentences", "sub", "del"]
    names += ["ins", "MER", "WIL", *(["RTFx"] if has_speed else [])]
    heads = "".join(f"<th class='n' scope='col'>{name}</th>" for name in names)
    yield (
        "<section>\n<h2>Systems</h2>\n<div class='scroll' tabindex='0' role='region' "
        "aria-label='Systems'><table class='wide'><thead><tr><th scope='col'>system</th>"
        f"{heads}</tr></thead><tbody>"
    )
    for item in report.systems:
        score, words = item.score, item.score.words
        cells = [percent(words.rate), interval(score.wer_interval)]
        cells += [percent(item.raw.words.rate)] if item.raw else []
        cells += [percent(score.characters.rate), percent(score.ser)]
        cells += [str(words.substitutions), str(words.deletions), str(words.insertions)]
        cells += [percent(words.mer), percent(words.wil)]
        cells += [f"{item.rtfx:.1f}" if item.rtfx else "-"] if has_speed else []
        row = "".join(f"<td class='n'>{cell}</td>" for cell in cells)
        yield f"<tr><th scope='row'><bdi>{_text(item.name)}</bdi></th>{row}</tr>"
    yield "</tbody></table></div>\n</section>\n"


def _comparisons(report: Report) -> Iterator[str]:
    for item in report.comparisons:
        yield f"<p><bdi>{_text(item.second)}</bdi> against <bdi>{_text(item.first)}</bdi>: "
        if item.bootstrap:
            yield f"<strong>{100 * item.bootstrap.difference:+.2f} points</strong> "
            yield f"({interval(item.bootstrap.interval)}), paired bootstrap "
            yield _text(p_value(item.bootstrap.p)).replace(" ", "&nbsp;")
        if item.matched_pairs:
            yield f"; matched pairs over {item.matched_pairs.num_segments} segments "
            yield _text(p_value(item.matched_pairs.p)).replace(" ", "&nbsp;")
        yield ".</p>\n"


# ----------------------------------------------------------------------------------------- plots


def _plots(report: Report) -> Iterator[str]:
    yield "<section>\n<h2>Where the errors are</h2>\n<div class='plots'>\n"
    names = [f", {item.name}" if len(report.systems) > 1 else "" for item in report.systems]
    by_length = [_by_length(item) for item in report.systems]
    for name, bars in zip(names, by_length, strict=True):
        yield from _bars(f"WER by words in the reference{name}", bars, _top(by_length))
    for column in report.options["by"]:
        by_group = [_by_group(item.groups[column]) for item in report.systems]
        for name, bars in zip(names, by_group, strict=True):
            title = f"WER by {column}{name}"
            if len(bars) > _MOST_BARS:
                title += f", the {_MOST_BARS} worst of {len(bars)}"
            yield from _bars(title, bars[:_MOST_BARS], _top(by_group))
    yield "</div>\n</section>\n"


Bar = tuple[str, Counts, "tuple[float, float] | None", int]


def _by_length(item: SystemReport) -> list[Bar]:
    lengths = item.word_counts[:, :3].sum(axis=1)
    bars: list[Bar] = []
    for low, high in zip(_LENGTHS, [*_LENGTHS[1:], None], strict=True):
        rows = lengths >= low if high is None else (lengths >= low) & (lengths < high)
        if rows.any():
            name = f"{low} or more" if high is None else f"{low} to {high - 1}"
            bars.append((name, Counts.of(item.word_counts[rows]), None, int(rows.sum())))
    return bars


def _by_group(scores: Mapping[str, Score]) -> list[Bar]:
    """The worst first."""
    worst = sorted(scores.items(), key=lambda pair: -(pair[1].words.rate or 0.0))
    return [(name, score.words, score.wer_interval, score.num_utterances) for name, score in worst]


def _top(plots: Sequence[Sequence[Bar]]) -> float:
    """The largest rate to be drawn, so that the plots of all systems have one scale."""
    tops = [
        max(counts.rate or 0.0, bounds[1] if bounds else 0.0)
        for bars in plots
        for _, counts, bounds, _ in bars
    ]
    return max([*tops, 1e-9])


def _bars(title: str, bars: Sequence[Bar], top: float) -> Iterator[str]:
    """Horizontal bars from zero, with the interval as a whisker."""
    scale = 100 / top
    yield f"<div><h3>{_text(title)}</h3>\n<ul class='bars'>"
    for name, counts, bounds, number in bars:
        whisker = ""
        if bounds is not None and bounds[1] > 0:
            left, width = bounds[0] * scale, (bounds[1] - bounds[0]) * scale
            whisker = f"<span class='range' style='--l:{left:.2f}%;--w:{width:.2f}%'></span>"
        plural = "s" if number != 1 else ""
        hint = f"{number} utterance{plural}, {counts.errors} errors in {counts.num_reference} words"
        yield (
            f"<li title='{hint}'><span><bdi>{_text(name or 'none')}</bdi></span>"
            f"<span class='track'><span class='fill' style='--w:"
            f"{(counts.rate or 0.0) * scale:.2f}%'></span>{whisker}</span>"
            f"<span class='value'>{percent(counts.rate)}</span></li>"
        )
    yield "</ul></div>\n"


# ------------------------------------------------------------------------------------ confusions


def _confusions(item: SystemReport, report: Report) -> Iterator[str]:
    most = report.options["confusions"] or None
    confusions = item.confusions
    if not item.score.words.errors:
        return
    of = f" of {item.name}" if len(report.systems) > 1 else ""
    yield f"<section>\n<h2>Most frequent errors{_text(of)}</h2>\n<div class='lists'>\n"
    pairs = [
        (f"<bdi>{_text(said)}</bdi> → <bdi>{_text(heard)}</bdi>", count)
        for (said, heard), count in confusions.substitutions.most_common(most)
    ]
    yield from _frequencies("Said → heard", pairs)
    for title, counter in (
        ("Deleted", confusions.deletions),
        ("Inserted", confusions.insertions),
    ):
        words = [(f"<bdi>{_text(word)}</bdi>", count) for word, count in counter.most_common(most)]
        yield from _frequencies(title, words)
    yield "</div>\n"
    yield from _matrix(item)
    yield "</section>\n"


def _frequencies(title: str, rows: Sequence[tuple[str, int]]) -> Iterator[str]:
    if not rows:
        return
    yield f"<div><table><thead><tr><th scope='col'>{title}</th><th class='n' scope='col'>times</th>"
    yield "</tr></thead><tbody>"
    for shown, count in rows:
        yield f"<tr><td>{shown}</td><td class='n'>{count}</td></tr>"
    yield "</tbody></table></div>\n"


def _matrix(item: SystemReport) -> Iterator[str]:
    """Which character became which, for those with most substitutions."""
    pairs = item.characters.substitutions
    if not pairs:
        return
    totals: dict[str, int] = {}
    for (said, heard), count in pairs.items():
        totals[said] = totals.get(said, 0) + count
        totals[heard] = totals.get(heard, 0) + count
    shown = sorted(sorted(totals, key=lambda c: -totals[c])[:_MATRIX])
    largest = max(pairs.values())
    heads = "".join(f"<th scope='col'>{_character(c)}</th>" for c in shown)
    yield (
        "<h3 style='margin-top:2rem'>Characters: rows were said, columns were heard</h3>\n"
        "<div class='scroll' tabindex='0' role='region' aria-label='Substituted characters'>"
        f"<table class='matrix'><thead><tr><td></td>{heads}</tr></thead><tbody>"
    )
    for said in shown:
        counts = [pairs.get((said, heard), 0) for heard in shown]
        cells = "".join(
            f"<td style='--share:{0.55 * count / largest:.3f}'>{count or ''}</td>"
            for count in counts
        )
        yield f"<tr><th scope='row'>{_character(said)}</th>{cells}</tr>"
    yield "</tbody></table></div>\n"


def _character(character: str) -> str:
    return "␣" if character == " " else f"<bdi>{_text(character)}</bdi>"


def _changes(report: Report) -> Iterator[str]:
    if not report.changes:
        return
    rows = [
        (f"<bdi>{_text(old or '∅')}</bdi> → <bdi>{_text(new or '∅')}</bdi>", count)
        for (old, new), count in list(report.changes.items())[
            : report.options["confusions"] or None
        ]
    ]
    yield "<section>\n<h2>What the normalizer changed</h2>\n<div class='lists'>\n"
    yield from _frequencies("Before → after", rows)
    yield "</div>\n</section>\n"


# ------------------------------------------------------------------------------------ utterances


def _utterances(report: Report, folder: Path) -> Iterator[str]:
    total = len(report.corpus.utterances)
    yield "<section>\n<h2 id='utterances'>Utterances</h2>\n"
    if total > _MOST_ROWS:
        yield f"<p>The {_MOST_ROWS} with most errors of {total}; csv and json have all.</p>\n"
    yield (
        "<p class='small quiet'><del>said</del> was not heard, <ins>heard</ins> was not said; both "
        "together are a substitution.</p>\n<div class='tools' hidden>"
        "<input type='search' id='search' placeholder='Filter by word or id' "
        "aria-label='Filter by word or id'>"
    )
    yield from _group_choice(report)
    yield "<label><input type='checkbox' id='wrong'> errors only</label>"
    yield "<span class='sort' role='group' aria-label='Sort by'>"
    keys = (("errors", "Errors", -1), ("wer", "WER", -1), ("words", "Words", -1), ("id", "Id", 1))
    for key, label, order in keys:
        is_first = key == "errors"
        yield (
            f"<button type='button' data-key='{key}' data-label='{label}' data-first='{order}' "
            f"data-order='{order}' aria-pressed='{str(is_first).lower()}'>"
            f"{label}{' ↓' if is_first else ''}</button>"
        )
    yield "</span><span class='small quiet' id='count' aria-live='polite'></span></div>\n"
    yield "<ol class='utterances'>\n"
    for place, index in enumerate(report.worst(_MOST_ROWS)):
        yield from _utterance(report, report.row(index), place, folder)
    yield (
        "</ol>\n</section>\n<div class='player' hidden><span></span>"
        "<audio controls preload='none' aria-label='Player'></audio></div>\n"
    )


def _group_choice(report: Report) -> Iterator[str]:
    values = [
        (column, value)
        for column in report.options["by"]
        for value in sorted(set(report.corpus.labels(column)))
    ]
    if not 2 <= len(values) <= 200:
        return
    yield "<select id='group' aria-label='Show only'><option value=''>all</option>"
    for column, value in values:
        key = _text(f"{column}={value}")
        yield f"<option value='{key}'>{_text(column)}: {_text(value or 'none')}</option>"
    yield "</select>"


def _utterance(report: Report, row: Row, place: int, folder: Path) -> Iterator[str]:
    item = report.corpus.utterances[row.index]
    errors = sum(counts.errors for counts in row.counts)
    words = len(row.reference)
    labels = {column: item.labels.get(column, "") for column in report.options["by"]}
    group = "&#10;".join(_text(f"{name}={value}") for name, value in labels.items())
    yield (
        f"<li data-place='{place}' data-errors='{errors}' data-words='{words}' "
        f"data-wer='{errors / max(words, 1):.6f}' data-id='{_text(row.id)}' data-group='{group}'>"
        f"<div><h3><bdi>{_text(row.id)}</bdi></h3><div class='meta'>"
    )
    is_one = len(report.systems) == 1
    yield f"{words} word{'s' if words != 1 else ''}{', ' + _rate(row.counts[0]) if is_one else ''}"
    for name, value in labels.items():
        yield f"<br>{_text(name)} <bdi>{_text(value or 'none')}</bdi>"
    yield "</div>" + _player(item, folder) + "</div>\n<div>"
    for number, system in enumerate(report.systems):
        title = f"<bdi>{_text(system.name)}</bdi>: {_rate(row.counts[number])}"
        title = "" if is_one else f"<span class='name'>{title}</span>"
        shown = _diff(row.reference, row.hypotheses[number], row.alignments[number])
        yield f"{title}<p dir='auto'>{shown}</p>"
    yield "</div></li>\n"


def _rate(counts: Counts) -> str:
    return f"{counts.errors} wrong, {percent(counts.rate)}" if counts.errors else "all right"


def _player(item: Utterance, folder: Path) -> str:
    """A link to the sound of an utterance, which the script turns into a player."""
    if not item.audio or item.audio == "-":
        return ""
    try:
        path = quote(os.path.relpath(item.audio, folder).replace(os.sep, "/"))
    except ValueError:  # another drive of Windows
        path = Path(item.audio).absolute().as_uri()
    if item.offset:
        end = f",{item.offset + item.duration:.3f}" if item.duration is not None else ""
        path += f"#t={item.offset:.3f}{end}"
    return f"<a class='play' href='{path}' data-title='{_text(item.id)}'>▶ Play</a>"


def _diff(reference: Sequence[str], hypothesis: Sequence[str], alignment: Alignment) -> str:
    """Words with what was lost and what was added marked; runs of right words stay plain text."""
    parts = []
    steps = side_by_side(reference, hypothesis, alignment)
    for kind, run in groupby(steps, key=lambda step: step[0]):
        words = list(run)
        if kind == "equal":
            parts.append(_text(" ".join(said for _, said, _ in words)))
        elif kind == "substitute":
            parts += [_lost(said) + _added(heard) for _, said, heard in words]
        elif kind == "delete":
            parts += [_lost(said) for _, said, _ in words]
        else:
            parts += [_added(heard) for _, _, heard in words]
    return " ".join(parts) or "<span class='quiet'>nothing said, nothing heard</span>"


def _lost(word: str) -> str:
    return f"<del dir='auto'>{_text(word)}</del>"


def _added(word: str) -> str:
    return f"<ins dir='auto'>{_text(word)}</ins>"
