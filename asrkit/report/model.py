"""What an evaluation found: one object, which is also the JSON report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asrkit.corpus import Corpus, System
from asrkit.normalize import Chain
from asrkit.scoring import COLUMNS, Alignment, Confusions, Counts, align_words, split_words
from asrkit.significance import Interval, MatchedPairs, PairedBootstrap
from asrkit.types import SCHEMA_VERSION

KIND = "eval-wer"


@dataclass(frozen=True)
class Score:
    """Error rates of some utterances.

    Attributes:
        num_utterances: how many.
        num_wrong: of these, those with an error.
        words: their counts; `words.rate` is the WER.
        characters: their counts, spaces included; `characters.rate` is the CER.
        wer_interval: low and high, if there are enough utterances.
        cer_interval: likewise.
    """

    num_utterances: int
    num_wrong: int
    words: Counts
    characters: Counts
    wer_interval: Interval | None = None
    cer_interval: Interval | None = None

    @property
    def ser(self) -> float:
        """Sentence error rate: utterances with an error over all."""
        return self.num_wrong / self.num_utterances if self.num_utterances else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return {
            "utterances": self.num_utterances,
            "wer": self.words.rate,
            "wer_interval": self.wer_interval,
            "cer": self.characters.rate,
            "cer_interval": self.cer_interval,
            "ser": self.ser,
            "mer": self.words.mer,
            "wil": self.words.wil,
            "words": _counts(self.words),
            "characters": _counts(self.characters),
        }


@dataclass(frozen=True)
class SystemReport:
    """What became of the hypotheses of one system.

    Attributes:
        system: its name, texts and speed.
        score: of all utterances.
        raw: the same before normalisation; None if there is none.
        groups: column -> value -> score.
        confusions: of words.
        characters: confusions of characters.
        word_counts: (N, 4) of each utterance, in the order of `scoring.COLUMNS`.
        character_counts: (N, 4) likewise.
    """

    system: System
    score: Score
    raw: Score | None
    groups: Mapping[str, Mapping[str, Score]]
    confusions: Confusions
    characters: Confusions
    word_counts: NDArray[np.int32]
    character_counts: NDArray[np.int32]

    @property
    def name(self) -> str:
        """Of the file or the model."""
        return self.system.name

    @property
    def rtfx(self) -> float | None:
        """Seconds of audio in one second of work, if known."""
        return self.system.audio_seconds / self.system.seconds if self.system.seconds else None


@dataclass(frozen=True)
class Comparison:
    """A system beside the first one, on the same utterances."""

    first: str
    second: str
    bootstrap: PairedBootstrap | None
    matched_pairs: MatchedPairs | None


@dataclass(frozen=True)
class Check:
    """A limit that was asked for.

    Attributes:
        name: wer, cer or regression.
        system: whose.
        limit: what it must not exceed.
        value: what it is.
        message: the fact as one line.
    """

    name: str
    system: str
    limit: float
    value: float
    message: str

    @property
    def is_passed(self) -> bool:
        """Whether the value is within the limit."""
        return self.value <= self.limit


@dataclass(frozen=True)
class Row:
    """One utterance in a report, aligned.

    Attributes:
        index: its place in the corpus.
        id: its id.
        reference: words that were compared.
        hypotheses: the same of each system.
        alignments: of each system.
        counts: of the words of each system.
    """

    index: int
    id: str
    reference: list[str]
    hypotheses: list[list[str]]
    alignments: list[Alignment]
    counts: list[Counts]


@dataclass(frozen=True)
class Report:
    """An evaluation.

    Attributes:
        corpus: what was compared.
        systems: at least one; the first is what the others are compared with.
        comparisons: of each further system with the first.
        checks: limits that were asked for.
        normalizer: what was done to texts before.
        options: what was asked for, by name.
        changes: what the normaliser changed and how often, if that was asked for.
        version: of asrkit.
    """

    corpus: Corpus
    systems: tuple[SystemReport, ...]
    comparisons: tuple[Comparison, ...]
    checks: tuple[Check, ...]
    normalizer: Chain
    options: Mapping[str, Any]
    changes: Mapping[tuple[str, str], int] = field(default_factory=dict)
    version: str = ""

    @property
    def score(self) -> Score:
        """Of the first system."""
        return self.systems[0].score

    @property
    def wer(self) -> float:
        """Word error rate of the first system."""
        return self.score.words.rate or 0.0

    @property
    def cer(self) -> float:
        """Character error rate of the first system."""
        return self.score.characters.rate or 0.0

    @property
    def is_ok(self) -> bool:
        """Whether all checks passed."""
        return all(check.is_passed for check in self.checks)

    @cached_property
    def num_errors(self) -> NDArray[np.int64]:
        """(N,) errors of all systems in each utterance."""
        errors = [item.word_counts[:, 1:].sum(axis=1, dtype=np.int64) for item in self.systems]
        return np.asarray(sum(errors))

    def worst(self, most: int | None = None) -> list[int]:
        """Places of the utterances with most errors, those first; at most so many."""
        return [int(index) for index in np.argsort(-self.num_errors, kind="stable")[:most]]

    def row(self, index: int) -> Row:
        """An utterance, aligned anew: alignments are not kept."""
        item = self.corpus.utterances[index]
        reference = split_words(self.normalizer(item.text or ""))
        hypotheses = [
            split_words(self.normalizer(report.system.texts[index])) for report in self.systems
        ]
        alignments = align_words([reference] * len(hypotheses), hypotheses)
        counts = [Counts(*map(int, report.word_counts[index])) for report in self.systems]
        return Row(index, item.id, reference, hypotheses, alignments, counts)

    def summary(self) -> dict[str, Any]:
        """The JSON report but for the utterances."""
        return {
            "schema": SCHEMA_VERSION,
            "report": KIND,
            "asrkit": self.version,
            "reference": self.corpus.name,
            "utterances_total": len(self.corpus.utterances),
            "options": dict(self.options),
            "normalizer": [
                {"name": step.name, "version": step.version} for step in self.normalizer.steps
            ],
            "notes": list(self.corpus.notes),
            "systems": [self._system(item) for item in self.systems],
            "comparisons": [asdict(item) for item in self.comparisons],
            "checks": [asdict(check) | {"passed": check.is_passed} for check in self.checks],
            **(
                {"changes": [[old, new, count] for (old, new), count in self.changes.items()]}
                if self.options.get("normalizer_report")
                else {}
            ),
        }

    def utterances(self) -> Iterator[dict[str, Any]]:
        """One dict an utterance, with the counts of every system."""
        for index, item in enumerate(self.corpus.utterances):
            yield {
                "id": item.id,
                **({"labels": dict(item.labels)} if item.labels else {}),
                **({"audio": item.audio} if item.audio else {}),
                "reference": item.text,
                "hypotheses": [
                    {
                        "text": report.system.texts[index],
                        "words": dict(
                            zip(COLUMNS, report.word_counts[index].tolist(), strict=True)
                        ),
                        "characters": dict(
                            zip(COLUMNS, report.character_counts[index].tolist(), strict=True)
                        ),
                    }
                    for report in self.systems
                ],
            }

    def to_dict(self) -> dict[str, Any]:
        """The JSON report: plain dicts, lists, strings and numbers.

        Rates are fractions, intervals [low, high] or null. Each of `systems` has its `wer`, `cer`,
        `ser`, `mer`, `wil`, intervals, counts of `words` and `characters`, the same before
        normalisation as `raw` and for each value of a column in `groups`; `confusions`,
        `deletions`, `insertions` with their numbers; `model`, `options`, `rtfx`. Beside them stand
        `comparisons`, `checks`, `normalizer` (names and versions), `options`, `notes`, and
        `utterances` with their texts and counts.
        """
        return self.summary() | {"utterances": list(self.utterances())}

    def _system(self, item: SystemReport) -> dict[str, Any]:
        system = item.system
        most = self.options.get("confusions")
        return {
            "name": item.name,
            "model": asdict(system.model) if system.model else None,
            "options": dict(system.options),
            "missing": system.num_missing,
            **item.score.to_dict(),
            "raw": item.raw.to_dict() if item.raw else None,
            "groups": {
                column: {value: score.to_dict() for value, score in scores.items()}
                for column, scores in item.groups.items()
            },
            "confusions": [
                [said, heard, count]
                for (said, heard), count in item.confusions.substitutions.most_common(most)
            ],
            "deletions": [list(pair) for pair in item.confusions.deletions.most_common(most)],
            "insertions": [list(pair) for pair in item.confusions.insertions.most_common(most)],
            "character_substitutions": [
                [said, heard, count]
                for (said, heard), count in item.characters.substitutions.most_common()
            ],
            "rtfx": item.rtfx,
            "audio_seconds": round(system.audio_seconds, 3),
            "seconds": round(system.seconds, 3),
        }


def _counts(counts: Counts) -> dict[str, int]:
    return asdict(counts) | {
        "reference": counts.num_reference,
        "hypothesis": counts.num_hypothesis,
        "errors": counts.errors,
    }


def percent(rate: float | None) -> str:
    """A rate for people: 12.34 %; a dash where there is none."""
    return "-" if rate is None else f"{100 * rate:.2f} %"


def interval(bounds: Sequence[float] | None) -> str:
    """Bounds of a rate for people."""
    return "-" if bounds is None else f"{100 * bounds[0]:.2f} to {100 * bounds[1]:.2f}"


def p_value(p: float) -> str:
    """A probability for people: p = 0.012, or p < 0.001."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
