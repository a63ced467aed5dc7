"""Training in several processes: what the recipes that take an hour share.

Every process holds the same weights and draws its own batches; gradients are added up once a step.
Two single-threaded processes are faster than two threads in one. Also CTC losses, and the phonemes
of English words that these are taught.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from demo_speech import pronounce
from demo_training import WORKER_ENVIRONMENT, MasterWeights
from torch import Tensor, nn

log = logging.getLogger("demo")

SAVE_EVERY_S = 180.0
LOG_EVERY_STEPS = 100


@dataclass(frozen=True)
class Losses:
    """What came of one batch.

    Attributes:
        objective: what is to become small, summed over the targets.
        parts: the summed losses it is made of, by name, to be shown.
        num_targets: what gradients and parts are divided by.
        seconds: of audio in the batch.
    """

    objective: Tensor
    parts: Mapping[str, Tensor]
    num_targets: int
    seconds: float


class ParallelTrainer(ABC):
    """One of the processes that train; all hold the same weights at every step.

    A recipe says what a batch is (`losses`) and how fast to learn (`rate`).

    Attributes:
        learner: the module that is trained; what is exported is its part `model`.
        step: steps done.
    """

    def __init__(self, options: argparse.Namespace, learner: nn.Module, num_parts: int) -> None:
        """Take the weights of the work directory's checkpoint, if there is one.

        Args:
            options: `work` (a folder), `minutes`, `processes` and `rank`.
            learner: untrained.
            num_parts: how many parts `losses` names.
        """
        self.rank = options.rank
        self.num_ranks = options.processes
        self.limit_s = options.minutes * 60
        self.path = options.work / "checkpoint.pt"
        self.learner = learner
        self.weights = MasterWeights(learner, num_sums=num_parts + 1)
        self.step = 0
        self.elapsed_s = 0.0
        self.hours_seen = 0.0
        if self.path.exists():
            state = torch.load(self.path, weights_only=True)
            self.weights.load(state)
            self.step, self.elapsed_s = state["step"], state["elapsed_s"]
            self.hours_seen = state["hours_seen"]
            log.info("resumed at step %d after %.1f minutes", self.step, self.elapsed_s / 60)

    @abstractmethod
    def losses(self, progress: float) -> Losses:
        """Draw a batch for a share of the run that is over, and say how the learner does."""

    @abstractmethod
    def rate(self, progress: float) -> float:
        """The learning rate after a share of the run."""

    def save(self) -> None:
        """Write the checkpoint, never half of one."""
        state = {
            **self.weights.state(),
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "hours_seen": self.hours_seen,
            "model": self.weights.exact(self.learner.get_submodule("model")),
        }
        torch.save(state, self.path.with_suffix(".new"))
        self.path.with_suffix(".new").replace(self.path)

    def run(self) -> None:
        """Train until the time is over."""
        saved = time.monotonic()
        started = saved - self.elapsed_s
        shown: dict[str, float] = {}
        while self.elapsed_s < self.limit_s:
            progress = self.elapsed_s / self.limit_s
            for name, loss in self._one_step(progress).items():
                shown[name] = shown.get(name, 0.0) + loss / LOG_EVERY_STEPS
            self.step += 1
            # Ranks must agree on the time, as it steers the learning rate: rank 0 tells it.
            clock = torch.tensor([time.monotonic() - started])
            if self.num_ranks > 1:
                dist.broadcast(clock, 0)
            self.elapsed_s = float(clock)
            if self.step % LOG_EVERY_STEPS == 0:
                self._show(shown, progress)
                shown.clear()
            if self.rank == 0 and time.monotonic() - saved > SAVE_EVERY_S:
                self.save()
                saved = time.monotonic()
        if self.rank == 0:
            self.save()

    def _one_step(self, progress: float) -> dict[str, float]:
        losses = self.losses(progress)
        losses.objective.backward()
        self.weights.collect()
        # The sums lie behind the gradients: one exchange a step.
        sums = self.weights.flat[-len(losses.parts) - 1 :]
        sums.copy_(
            torch.tensor([*(part.item() for part in losses.parts.values()), losses.num_targets])
        )
        if self.num_ranks > 1:
            dist.all_reduce(self.weights.flat)
        *totals, num_targets = sums.tolist()
        self.weights.step(self.rate(progress), divisor=num_targets)
        self.hours_seen += losses.seconds * self.num_ranks / 3600
        return {name: total / num_targets for name, total in zip(losses.parts, totals, strict=True)}

    def _show(self, shown: Mapping[str, float], progress: float) -> None:
        if self.rank == 0:
            log.info(
                "step %6d  %5.1f of %.0f min  rate %.1e  %s  %.1f h",
                *(self.step, self.elapsed_s / 60, self.limit_s / 60, self.rate(progress)),
                *("  ".join(f"{name} {loss:.3f}" for name, loss in shown.items()), self.hours_seen),
            )


def work_as_rank(
    options: argparse.Namespace, make_trainer: Callable[[argparse.Namespace], ParallelTrainer]
) -> None:
    """Be one of the training processes."""
    torch.set_num_threads(1)
    if options.processes > 1:
        meeting = f"file://{(options.work / 'rendezvous').resolve()}"
        dist.init_process_group(
            "gloo", init_method=meeting, rank=options.rank, world_size=options.processes
        )
    make_trainer(options).run()
    if options.processes > 1:
        dist.destroy_process_group()


def train_in_processes(options: argparse.Namespace) -> None:
    """Start this program again as each of the training processes (`--rank`), and wait for them.

    Raises:
        SystemExit: one of them failed.
    """
    path = options.work / "checkpoint.pt"
    if path.exists() and torch.load(path, weights_only=True)["elapsed_s"] >= options.minutes * 60:
        return
    (options.work / "rendezvous").unlink(missing_ok=True)
    command = [sys.executable, *sys.argv, "--rank"]
    environment = os.environ | WORKER_ENVIRONMENT
    workers = [
        subprocess.Popen([*command, str(rank)], env=environment)
        for rank in range(options.processes)
    ]
    failed = [worker for worker in workers if worker.wait() != 0]
    if failed:
        raise SystemExit(f"{len(failed)} training processes failed")


# --------------------------------------------------------------------------------------- targets


def load_pronunciations(path: Path, words: Iterable[str]) -> dict[str, Sequence[str]]:
    """Read, or make and keep, the phonemes of every word."""
    if not path.exists():
        path.write_text(json.dumps({word: pronounce(word) for word in words}))
    found: dict[str, Sequence[str]] = json.loads(path.read_text())
    return found


class PhonemeLabels:
    """Phonemes as targets, numbered from 1; 0 is the blank."""

    def __init__(self, pronunciations: Mapping[str, Sequence[str]]) -> None:
        """Number the phonemes."""
        phonemes = sorted({p for spoken in pronunciations.values() for p in spoken})
        self.num_labels = len(phonemes) + 1
        numbers = {phoneme: number for number, phoneme in enumerate(phonemes, start=1)}
        self._numbers = {w: [numbers[p] for p in spoken] for w, spoken in pronunciations.items()}

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """(B, L) of sentences, padded with -100."""
        return pad([[p for word in text.split() for p in self._numbers[word]] for text in texts])


def pad(rows: Sequence[Sequence[int]]) -> Tensor:
    """Put rows of unequal length into one tensor (B, L), padded with -100."""
    padded = torch.full((len(rows), max(map(len, rows))), -100)
    for target, row in zip(padded, rows, strict=True):
        target[: len(row)] = torch.tensor(row)
    return padded


def ctc_sum(logits: Tensor, labels: Tensor, lengths: Tensor | None = None) -> Tensor:
    """CTC loss, summed over the batch; an item with too few frames counts nothing.

    Args:
        logits: (B, F, V); 0 is the blank.
        labels: (B, L), padded with -100.
        lengths: (B,) valid frames; None means all.
    """
    log_probs = F.log_softmax(logits, dim=-1, dtype=torch.float32).transpose(0, 1)  # (F, B, V)
    frames = torch.full((len(labels),), len(log_probs)) if lengths is None else lengths
    is_label = labels >= 0
    return F.ctc_loss(
        log_probs, labels[is_label], frames, is_label.sum(-1), reduction="sum", zero_infinity=True
    )
