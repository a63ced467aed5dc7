"""Are two recordings of one speaker? Trials, cosine scores, and how well they separate.

A trial compares an enrolment recording with a test recording. Its score is the cosine of their
vectors; a threshold on it makes two kinds of errors, misses of target trials and false alarms on
nontarget trials.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asrkit.errors import UsageError

P_TARGET = 0.01  # how frequent target trials are, where nobody says

_LABELS = {"target": True, "nontarget": False, "1": True, "0": False}


@dataclass(frozen=True, slots=True)
class Trial:
    """Two recordings by name, and whether they are of one speaker; None where nobody says."""

    enroll: str
    test: str
    is_target: bool | None = None


def read_trials(path: Path) -> list[Trial]:
    """Read a list of trials.

    A line is `enroll test`, `enroll test target|nontarget` as Kaldi writes it (1 and 0 do too), or
    `1|0 enroll test` as VoxCeleb does. Blank lines are skipped.

    Raises:
        UsageError: unreadable, not UTF-8, a line that is no trial, or none at all; names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    trials = []
    for number, line in enumerate(lines, start=1):
        match line.split():
            case []:
                pass
            case [enroll, test]:
                trials.append(Trial(enroll, test))
            case [enroll, test, label] if label in _LABELS:
                trials.append(Trial(enroll, test, _LABELS[label]))
            case ["0" | "1" as label, enroll, test]:
                trials.append(Trial(enroll, test, _LABELS[label]))
            case _:
                raise UsageError(
                    f"{path}, line {number}: {line.strip()[:80]!r} is not a trial",
                    hint="a line is: enroll test [target|nontarget]",
                )
    if not trials:
        raise UsageError(f"{path}: holds no trials")
    return trials


def cosine(first: NDArray[np.floating[Any]], second: NDArray[np.floating[Any]]) -> float:
    """Cosine of the angle between two vectors (D,); 0 if one has no direction."""
    a, b = (np.asarray(vector, np.float64) for vector in (first, second))
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / length if length else 0.0


def equal_error_rate(scores: Sequence[float], is_target: Sequence[bool]) -> float:
    """Rate at which misses and false alarms are equally frequent.

    Between two thresholds both rates are taken as straight lines, so that few trials give a rate
    too.

    Args:
        scores: (N,) of trials; higher means more alike.
        is_target: (N,) what each trial is.

    Returns:
        A rate from 0 to 1.

    Raises:
        ValueError: there is no target trial, or no nontarget trial.
    """
    misses, false_alarms = _error_rates(scores, is_target)
    above = int(np.argmax(misses >= false_alarms))  # the first threshold with no more false alarms
    before, after = (misses - false_alarms)[[above - 1, above]]
    weight = before / (before - after)
    return float(misses[above - 1] + weight * (misses[above] - misses[above - 1]))


def min_detection_cost(
    scores: Sequence[float],
    is_target: Sequence[bool],
    *,
    p_target: float = P_TARGET,
    cost_miss: float = 1.0,
    cost_false_alarm: float = 1.0,
) -> float:
    """Cost of the best threshold, as a share of the cost of deciding without listening.

    Args:
        scores: (N,) of trials; higher means more alike.
        is_target: (N,) what each trial is.
        p_target: how frequent target trials are where the system is used.
        cost_miss: of one miss.
        cost_false_alarm: of one false alarm.

    Returns:
        0 for a perfect system, at most 1.

    Raises:
        ValueError: there is no target trial, or no nontarget trial.

    Source: NIST 2008 Speaker Recognition Evaluation plan, section 3 (C_Det, normalised).
    """
    misses, false_alarms = _error_rates(scores, is_target)
    of_miss, of_false_alarm = cost_miss * p_target, cost_false_alarm * (1 - p_target)
    costs = of_miss * misses + of_false_alarm * false_alarms
    return float(costs.min() / min(of_miss, of_false_alarm))


def _error_rates(
    scores: Sequence[float], is_target: Sequence[bool]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Miss and false alarm rates of every threshold, from accepting all to accepting none."""
    values, targets = np.asarray(scores, np.float64), np.asarray(is_target, bool)
    num_targets, num_others = int(targets.sum()), int((~targets).sum())
    if not num_targets or not num_others:
        raise ValueError(
            f"{num_targets} target and {num_others} nontarget trials, expected some of both"
        )
    order = np.argsort(values, kind="stable")
    # Equal scores are rejected together: only the last of them is a threshold.
    is_last = np.append(np.diff(values[order]) > 0, True)
    rejected_targets = np.append(0, np.cumsum(targets[order])[is_last])
    rejected_others = np.append(0, np.cumsum(~targets[order])[is_last])
    return rejected_targets / num_targets, 1 - rejected_others / num_others
