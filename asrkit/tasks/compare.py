"""Vectors against each other: trials of speakers, and the nearest of many."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from asrkit.errors import InputError
from asrkit.inputs import FailedInput
from asrkit.types import AudioInput, Embedding
from asrkit.verification import P_TARGET, Trial, cosine, equal_error_rate, min_detection_cost

_LABELS = {None: "", True: "\ttarget", False: "\tnontarget"}


@dataclass(frozen=True)
class Trials:
    """A list of trials and the recordings that it names.

    Attributes:
        trials: in the order of the list.
        recordings: every name once, in order of appearance.
    """

    trials: tuple[Trial, ...]
    recordings: dict[str, AudioInput | FailedInput]

    @classmethod
    def of(
        cls, trials: Sequence[Trial], inputs: Sequence[AudioInput | FailedInput], *, folder: Path
    ) -> Trials:
        """Find what the names in a list stand for.

        Args:
            trials: the list.
            inputs: what names may stand for, by id, path, path below the folder that was searched,
                or file name without suffix; without any, names are paths.
            folder: where paths are looked for that do not exist as they are.
        """
        by_name: dict[str, AudioInput | FailedInput] = {}
        for item in inputs:
            for name in _names(item):
                by_name.setdefault(name, item)
        found: dict[str, AudioInput | FailedInput] = {}
        for name in dict.fromkeys(name for trial in trials for name in (trial.enroll, trial.test)):
            if name in by_name:
                found[name] = by_name[name]
            elif inputs:
                error = InputError(
                    f"{name}: named in the trials, and no input has this id, path or file name"
                )
                found[name] = FailedInput(name, error)
            else:
                beside = str(folder / name)
                exists = os.path.exists(name) or not os.path.exists(beside)
                found[name] = AudioInput(name if exists else beside, id=name)
        return cls(tuple(trials), found)

    @property
    def inputs(self) -> list[AudioInput | FailedInput]:
        """What to embed."""
        return list(self.recordings.values())

    def scored(self, results: Sequence[Embedding | FailedInput]) -> list[tuple[Trial, float]]:
        """Each trial with the cosine of its recordings; those that could not be read are left out.

        Args:
            results: of `inputs`, in their order.
        """
        vectors = {
            name: result.vector
            for name, result in zip(self.recordings, results, strict=True)
            if isinstance(result, Embedding)
        }
        return [
            (trial, cosine(vectors[trial.enroll], vectors[trial.test]))
            for trial in self.trials
            if {trial.enroll, trial.test} <= vectors.keys()
        ]

    def report(self, results: Sequence[Embedding | FailedInput]) -> tuple[str, str | None]:
        """The scores as `enroll<TAB>test<TAB>score[<TAB>label]` lines, and their error rates.

        The rates, one line for people, are None unless there are trials of both labels.
        """
        scored = self.scored(results)
        text = "".join(
            f"{trial.enroll}\t{trial.test}\t{score:.6f}{_LABELS[trial.is_target]}\n"
            for trial, score in scored
        )
        scores = [score for _, score in scored]
        is_target = [bool(trial.is_target) for trial, _ in scored]
        if any(trial.is_target is None for trial, _ in scored) or len(set(is_target)) < 2:
            return text, None
        rate = equal_error_rate(scores, is_target)
        cost = min_detection_cost(scores, is_target)
        return text, (
            f"EER {100 * rate:.2f} % · minDCF {cost:.3f} (p_target {P_TARGET}) · "
            f"{len(scores)} trials, {sum(is_target)} target"
        )


@dataclass(frozen=True)
class Ranking:
    """Recordings by how alike they are to one.

    Attributes:
        query: what they are compared with.
        others: the recordings.
        top: how many to name.
    """

    query: AudioInput
    others: Sequence[AudioInput | FailedInput]
    top: int

    @property
    def inputs(self) -> list[AudioInput | FailedInput]:
        """What to embed."""
        return [self.query, *self.others]

    def report(self, results: Sequence[Embedding | FailedInput]) -> tuple[str, str | None]:
        """The likest recordings as `path<TAB>score` lines, the likest first; nothing to add."""
        query, *others = results
        if isinstance(query, FailedInput):
            return "", None
        scored = [
            (cosine(query.vector, other.vector), -index, other)
            for index, other in enumerate(others)
            if isinstance(other, Embedding)
        ]
        best = heapq.nlargest(self.top, scored, key=lambda item: item[:2])
        return "".join(f"{other.name}\t{score:.6f}\n" for score, _, other in best), None


def _names(item: AudioInput | FailedInput) -> Iterator[str]:
    yield from filter(None, (item.id, item.source))
    if isinstance(item, AudioInput):
        yield item.name
        yield Path(item.path).stem
