"""References and hypotheses to a report: pair, normalise, count, test, check."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asrkit import __version__
from asrkit.corpus import Corpus, pair
from asrkit.errors import InputError, UsageError
from asrkit.formats.reading import read_text
from asrkit.formats.utterances import Texts, Utterance, read_texts
from asrkit.inputs import MANIFEST_SUFFIXES
from asrkit.normalize import Chain, load_normalizer
from asrkit.options import EvaluateOptions, TableOptions
from asrkit.report.model import KIND, Check, Comparison, Report, Score, SystemReport, percent
from asrkit.scoring import (
    COLUMNS,
    Alignment,
    Confusions,
    Counts,
    align_words,
    changes,
    count_characters,
    count_words,
    split_words,
)
from asrkit.significance import error_segments, matched_pairs, paired_bootstrap, rate_interval
from asrkit.tasks.calls import check_names, names_of
from asrkit.types import SCHEMA_VERSION

_BLOCK = 1000  # utterances whose alignments are in memory at once
_HITS, _INSERTIONS = COLUMNS.index("hits"), COLUMNS.index("insertions")

_NO_HYPOTHESES = (
    "name a file of hypotheses after it, --hyp-column where the table holds them, or --model to "
    "transcribe its audio first"
)


def evaluate(references: Any, *hypotheses: Any, **options: Any) -> Report:
    """Compare what was heard with what was said.

    Args:
        references: a `Path` to a file or folder of texts, a mapping of ids to texts, a sequence of
            texts, or a sequence of `Utterance`.
        *hypotheses: the same of each system; sequences of texts are paired in order.
        **options: fields of `EvaluateOptions` and of `TableOptions`.

    Returns:
        The report: `wer`, `cer`, `score`, `systems`, `comparisons`, `checks`; `to_dict()` is the
        JSON report.

    Raises:
        AsrkitError: a file cannot be read, texts cannot be paired, no reference has a word.
    """
    if not hypotheses:
        raise UsageError("evaluate needs at least one set of hypotheses")
    check_names("evaluate", options, EvaluateOptions, TableOptions)
    of_tables = {name: options.pop(name) for name in names_of(TableOptions) & options.keys()}
    tables = replace(options.pop("texts", TableOptions()), **of_tables)
    for name in ("normalizer", "by"):
        if isinstance(options.get(name), str):
            options[name] = tuple(options[name].split(","))
    checked = EvaluateOptions(texts=tables, **options)
    reference = _texts_of(references, "reference", tables, is_hypothesis=False)
    texts = [
        _texts_of(item, f"hypothesis {number}", tables, is_hypothesis=True)
        for number, item in enumerate(hypotheses, start=1)
    ]
    return evaluate_corpus(pair(reference, texts, checked.missing), checked)


def _texts_of(given: Any, name: str, tables: TableOptions, *, is_hypothesis: bool) -> Texts:
    if isinstance(given, Path):
        return read_texts(str(given), tables, is_hypothesis=is_hypothesis)
    if isinstance(given, str):
        raise UsageError(
            f"{name} is one string; expected texts, or a Path to a file of them",
            hint="a list of one text is [text]",
        )
    if isinstance(given, Mapping):
        return Texts(name, [Utterance(str(id_), text) for id_, text in given.items()])
    return Texts(
        name,
        [item if isinstance(item, Utterance) else Utterance("", item) for item in given],
    )


def read_corpus(files: Sequence[str], options: EvaluateOptions) -> Corpus:
    """Read references and hypotheses from files.

    Args:
        files: the references, then the hypotheses of each system; or one table with both.
        options: where texts stand in them, and what to do for those that are missing.

    Raises:
        UsageError: one file that holds no hypotheses, or standard input twice.
        InputError: a file cannot be read, or texts cannot be paired.
    """
    tables = options.texts
    if files.count("-") > 1:
        raise UsageError("standard input cannot be read twice")
    reference = read_texts(files[0], tables)
    if len(files) > 1:
        texts = [read_texts(name, tables, is_hypothesis=True) for name in files[1:]]
    elif os.path.splitext(files[0])[1].lower() in MANIFEST_SUFFIXES:
        own_column = replace(tables, ref_column=tables.hyp_column)
        try:
            texts = [read_texts(files[0], own_column, is_hypothesis=True)]
        except InputError as error:
            raise type(error)(error.message, hint=_NO_HYPOTHESES) from error
    else:
        raise UsageError(f"{files[0]}: references without hypotheses", hint=_NO_HYPOTHESES)
    return pair(reference, texts, options.missing)


def evaluate_corpus(corpus: Corpus, options: EvaluateOptions) -> Report:
    """Score paired texts.

    Raises:
        InputError: there are no utterances, or none has a word in its reference.
        UsageError: a normaliser or the baseline cannot be used.
    """
    chain = load_normalizer(options.normalizer)
    baseline = read_baseline(options)
    labels = {column: corpus.labels(column) for column in options.by}
    units = None if options.resample is None else _numbered(corpus.labels(options.resample))
    tallies, changed = _count(corpus, chain, options)
    if not tallies[0].words[:, :_INSERTIONS].any():
        after = f" after normalisation by {chain}" if chain.steps else ""
        raise InputError(f"{corpus.name}: no reference has a word{after}")
    scorer = _Scorer(options, units)
    systems = tuple(
        SystemReport(
            system=system,
            score=scorer.score(tally.words, tally.characters),
            raw=scorer.score(tally.raw_words, tally.raw_characters) if chain.steps else None,
            groups={column: scorer.by_group(values, tally) for column, values in labels.items()},
            confusions=tally.confusions,
            characters=tally.character_confusions,
            word_counts=tally.words,
            character_counts=tally.characters,
        )
        for system, tally in zip(corpus.systems, tallies, strict=True)
    )
    return Report(
        corpus=corpus,
        systems=systems,
        comparisons=tuple(scorer.comparisons(systems, tallies)),
        checks=tuple(_checks(systems, options, baseline)),
        normalizer=chain,
        options=asdict(options),
        changes=dict(changed.most_common()),
        version=__version__,
    )


@dataclass(frozen=True)
class _Side:
    """The words of a block of utterances, as they are written and as they are compared."""

    raw: list[list[str]]
    words: list[list[str]]

    @classmethod
    def of(cls, texts: Iterable[str | None], chain: Chain) -> _Side:
        written = [text or "" for text in texts]
        raw = [split_words(text) for text in written]
        return cls(raw, [split_words(chain(text)) for text in written] if chain.steps else raw)

    def changes(self) -> Iterator[tuple[str, str]]:
        """What the normalisers did."""
        for before, after in zip(self.raw, self.words, strict=True):
            yield from changes(before, after)


class _Tally:
    """Counts of one system; rows are utterances, in the order of the corpus."""

    def __init__(self, num_utterances: int) -> None:
        self.words, self.characters, self.raw_words, self.raw_characters = np.zeros(
            (4, num_utterances, len(COLUMNS)), np.int32
        )
        self.confusions = Confusions()
        self.character_confusions = Confusions()
        self.segments: list[tuple[int, int]] = []

    def add(self, start: int, reference: _Side, hypothesis: _Side) -> list[Alignment]:
        """Count a block that begins with this utterance, and give its alignments."""
        alignments = align_words(reference.words, hypothesis.words)
        pairs = zip(reference.words, hypothesis.words, alignments, strict=True)
        for row, (said, heard, alignment) in enumerate(pairs, start):
            self.words[row] = count_words(alignment)
            self.confusions.add(said, heard, alignment)
            self.characters[row] = count_characters(
                " ".join(said), " ".join(heard), self.character_confusions
            )
        if reference.raw is not reference.words:
            alignments_of_raw = align_words(reference.raw, hypothesis.raw)
            pairs = zip(reference.raw, hypothesis.raw, alignments_of_raw, strict=True)
            for row, (said, heard, alignment) in enumerate(pairs, start):
                self.raw_words[row] = count_words(alignment)
                self.raw_characters[row] = count_characters(" ".join(said), " ".join(heard))
        return alignments


def _count(
    corpus: Corpus, chain: Chain, options: EvaluateOptions
) -> tuple[list[_Tally], Counter[tuple[str, str]]]:
    """Count block by block, so that the alignments of a million utterances are never there.

    Returns:
        The counts of each system, and what the normalisers changed how often.
    """
    size = len(corpus.utterances)
    tallies = [_Tally(size) for _ in corpus.systems]
    changed: Counter[tuple[str, str]] = Counter()
    for start in range(0, size, _BLOCK):
        block = slice(start, start + _BLOCK)
        reference = _Side.of((item.text for item in corpus.utterances[block]), chain)
        sides = [_Side.of(system.texts[block], chain) for system in corpus.systems]
        alignments = [
            tally.add(start, reference, hypothesis)
            for tally, hypothesis in zip(tallies, sides, strict=True)
        ]
        for tally, others in zip(tallies[1:], alignments[1:], strict=True):
            for pair_of_alignments in zip(alignments[0], others, strict=True):
                tally.segments += error_segments(*pair_of_alignments)
        if options.normalizer_report:
            for side in (reference, *sides):
                changed.update(side.changes())
    return tallies, changed


@dataclass(frozen=True)
class _Scorer:
    """Rates with their intervals.

    Attributes:
        options: level, replicates and seed.
        units: (N,) number of the group that each utterance is drawn with; None draws utterances.
    """

    options: EvaluateOptions
    units: NDArray[np.int64] | None

    def score(
        self,
        words: NDArray[np.int32],
        characters: NDArray[np.int32],
        rows: NDArray[np.int64] | None = None,
    ) -> Score:
        """The score of all utterances, or of some rows."""
        if rows is not None:
            words, characters = words[rows], characters[rows]
        return Score(
            num_utterances=len(words),
            num_wrong=int(np.count_nonzero(words[:, 1:].any(axis=1))),
            words=Counts.of(words),
            characters=Counts.of(characters),
            wer_interval=self._interval(words, rows),
            cer_interval=self._interval(characters, rows),
        )

    def by_group(self, values: Sequence[str], tally: _Tally) -> dict[str, Score]:
        """Scores of the utterances with each value, in the order of values."""
        rows: dict[str, list[int]] = {}
        for index, value in enumerate(values):
            rows.setdefault(value, []).append(index)
        return {
            value: self.score(tally.words, tally.characters, np.array(rows[value]))
            for value in sorted(rows)
        }

    def comparisons(
        self, systems: Sequence[SystemReport], tallies: Sequence[_Tally]
    ) -> Iterator[Comparison]:
        """Each further system beside the first."""
        first = systems[0].word_counts
        for system, tally in zip(systems[1:], tallies[1:], strict=True):
            units = np.stack([_errors(first), _errors(system.word_counts), _words(first)], axis=1)
            left, right, words = self._drawn(units, None).T
            bootstrap = paired_bootstrap(left, right, words, **self._draws())
            pairs = matched_pairs(tally.segments)
            yield Comparison(systems[0].name, system.name, bootstrap, pairs)

    def _interval(
        self, counts: NDArray[np.int32], rows: NDArray[np.int64] | None
    ) -> tuple[float, float] | None:
        units = self._drawn(np.stack([_errors(counts), _words(counts)], axis=1), rows)
        return rate_interval(units[:, 0], units[:, 1], **self._draws())

    def _drawn(
        self, counts: NDArray[np.int64], rows: NDArray[np.int64] | None
    ) -> NDArray[np.int64]:
        """Counts of what is drawn: utterances, or sums over their groups."""
        if self.units is None:
            return counts
        _, units = np.unique(self.units if rows is None else self.units[rows], return_inverse=True)
        sums = np.zeros((int(units.max(initial=-1)) + 1, counts.shape[1]), np.int64)
        np.add.at(sums, units, counts)
        return sums

    def _draws(self) -> dict[str, Any]:
        options = self.options
        return {
            "level": options.confidence,
            "replicates": options.bootstrap,
            "seed": options.seed,
        }


def _errors(counts: NDArray[np.int32]) -> NDArray[np.int64]:
    return np.asarray(counts[:, _HITS + 1 :].sum(axis=1, dtype=np.int64))


def _words(counts: NDArray[np.int32]) -> NDArray[np.int64]:
    """Words of the references: hits, substitutions and deletions."""
    return np.asarray(counts[:, :_INSERTIONS].sum(axis=1, dtype=np.int64))


def _numbered(values: Sequence[str]) -> NDArray[np.int64]:
    _, numbers = np.unique(np.array(values), return_inverse=True)
    return numbers


# ---------------------------------------------------------------------------------------- checks


def _checks(
    systems: Sequence[SystemReport],
    options: EvaluateOptions,
    baseline: Mapping[str, float] | None,
) -> Iterator[Check]:
    for number, system in enumerate(systems):
        name = f"{system.name}: " if len(systems) > 1 else ""
        rates = (
            ("wer", system.score.words.rate, options.fail_above),
            ("cer", system.score.characters.rate, options.fail_cer_above),
        )
        for kind, rate, limit in rates:
            if limit is None or rate is None:
                continue
            verdict = "above" if rate > limit else "not above"
            message = f"{name}{kind.upper()} {percent(rate)} is {verdict} {percent(limit)}"
            yield Check(kind, system.name, limit, rate, message)
        if baseline is None or options.fail_regression is None:
            continue
        old = baseline.get(system.name)
        if old is None:
            old = list(baseline.values())[min(number, len(baseline) - 1)]
        points = round(100 * ((system.score.words.rate or 0.0) - old), 6)
        message = (
            f"{name}WER {percent(system.score.words.rate)} is {abs(points):.2f} points "
            f"{'above' if points > 0 else 'below'} {percent(old)} of {options.baseline}, allowed "
            f"are {options.fail_regression:g}"
        )
        yield Check("regression", system.name, options.fail_regression, points, message)


def read_baseline(options: EvaluateOptions) -> dict[str, float] | None:
    """The WER of each system of an earlier JSON report; None where none is given.

    Raises:
        UsageError: it is not such a report, or its texts were normalised in another way.
    """
    chain = load_normalizer(options.normalizer)
    if options.baseline is None:
        return None
    path = options.baseline
    try:
        data = json.loads(read_text(path))
        if (data["schema"], data["report"]) != (SCHEMA_VERSION, KIND):
            raise ValueError(f"schema {data['schema']!r}, report {data['report']!r}")
        rates = {str(item["name"]): float(item["wer"]) for item in data["systems"]}
        steps = [(item["name"], item["version"]) for item in data["normalizer"]]
        if not rates:
            raise ValueError("it has no systems")
    except InputError as error:
        raise UsageError(error.message, hint=error.hint) from error
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise UsageError(
            f"{path}: not a JSON report of eval-wer: {error}",
            hint="asrkit eval-wer ... -f json -o old.json makes one",
        ) from error
    if steps != [(step.name, step.version) for step in chain.steps]:
        found = ", ".join(f"{name} ({version})" for name, version in steps) or "none"
        raise UsageError(
            f"{path}: its normalizer is {found}, this one is {chain}",
            hint="rates can be compared only after the same normalisation",
        )
    return rates
