"""What the training recipes share: cheap training of small Wav2Vec2 models on CPU cores.

A fixed Gabor bank as the first convolution, bfloat16 weights under float32 master weights, a corpus
synthesised by several processes, and an environment in which the C library keeps its memory.
"""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from demo_speech import SAMPLE_RATE, SpeechStore
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

log = logging.getLogger("demo")

# glibc: never return memory to the system, so that tensors of a step reuse the last step's pages.
WORKER_ENVIRONMENT = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "20000000000",
    "MALLOC_TOP_PAD_": "268435456",
    "OMP_NUM_THREADS": "1",
}


def restart_as_worker() -> None:
    """Start this program again in the environment that training needs, if it is not in it."""
    if not WORKER_ENVIRONMENT.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | WORKER_ENVIRONMENT)


# ---------------------------------------------------------------------------------------- corpus


def _fill_shard(store: SpeechStore, shard: int, total: int) -> None:
    started, first = time.monotonic(), 0
    whole = len(range(shard, total, store.num_shards))
    for count in store.fill(shard, total):
        first = first or count
        if count % 2000 == 0:
            left = (time.monotonic() - started) / (count - first + 1) * (whole - count)
            log.info("shard %d: %d of %d, %.0f minutes left", shard, count, whole, left / 60)


def synthesise(store: SpeechStore, total: int) -> None:
    """Fill a store up to `total` utterances, a process for each shard.

    Raises:
        SystemExit: one of them failed.
    """
    workers = [
        multiprocessing.Process(target=_fill_shard, args=(store, shard, total))
        for shard in range(store.num_shards)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        raise SystemExit("synthesis failed")


# ----------------------------------------------------------------------------------------- model


def gabor_bank(num_filters: int, width: int) -> Tensor:
    """Make pairs of Gabor filters, in and out of phase, spaced evenly in mel.

    The scale makes ordinary speech come out around 0.1, so that the layer norm's epsilon acts as a
    gate some 30 dB below it.

    Returns:
        (num_filters, 1, width).
    """
    lowest, highest = (1127 * math.log1p(edge / 700) for edge in (60, 7600))
    mel = np.linspace(lowest, highest, num_filters // 2 + 2)
    hertz = 700 * np.expm1(mel / 1127)
    time_s = (np.arange(width) - (width - 1) / 2) / SAMPLE_RATE
    filters = []
    for low, centre, high in zip(hertz[:-2], hertz[1:-1], hertz[2:], strict=True):
        spread_s = min(1.2 / (np.pi * (high - low)), width / SAMPLE_RATE / 5)
        window = np.exp(-0.5 * (time_s / spread_s) ** 2)
        for phase in (0, np.pi / 2):
            wave = window * np.cos(2 * np.pi * centre * time_s + phase)
            filters.append((wave - wave.mean()) / np.abs(window).sum())
    # Speech falls by some 6 dB an octave; high bands get that back.
    bank = np.array(filters) * np.repeat(np.sqrt(hertz[1:-1] / 1000 + 0.3), 2)[:, None]
    return torch.from_numpy(0.5 * bank).float()[:, None]


def fix_first_layer(base: nn.Module) -> None:
    """Make the first convolution of a base model a Gabor bank that training leaves alone."""
    first = base.get_submodule("feature_extractor.conv_layers.0")
    weight = first.get_parameter("conv.weight")
    weight.data = gabor_bank(weight.shape[0], weight.shape[2])
    first.get_parameter("conv.bias").data.zero_()
    first.requires_grad_(False)


class MasterWeights:
    """AdamW on float32 copies of a module's weights; the module, or a part, goes to bfloat16.

    All gradients lie in one vector `flat`, followed by as many running sums as asked for, so that
    processes exchange everything at once.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        rounded: nn.Module | None = None,
        num_sums: int = 0,
        weight_decay: float = 0.02,
    ) -> None:
        trained = [p for p in module.parameters() if p.requires_grad]
        self.masters = [nn.Parameter(p.detach().clone()) for p in trained]
        (rounded or module).bfloat16()
        self.weights = [p for p in module.parameters() if p.requires_grad]
        decayed = [p for p in self.masters if p.ndim > 1]
        kept = [p for p in self.masters if p.ndim <= 1]
        groups = [
            {"params": decayed, "weight_decay": weight_decay},
            {"params": kept, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98), fused=True)
        sizes = [p.numel() for p in self.masters]
        self.flat = torch.zeros(sum(sizes) + num_sums)
        self._gradients = self.flat[: sum(sizes)]
        for master, part in zip(self.masters, torch.split(self._gradients, sizes), strict=True):
            master.grad = part.view_as(master)

    def collect(self) -> None:
        """Move the gradients of a backward pass into `flat`."""
        for master, weight in zip(self.masters, self.weights, strict=True):
            if weight.grad is not None and master.grad is not None:
                master.grad.copy_(weight.grad)
                weight.grad = None

    def step(self, rate: float, *, divisor: float = 1.0) -> None:
        """Divide the collected gradients, clip their norm to 1, and take a step."""
        norm = float(self._gradients.div_(divisor).norm())
        self._gradients.mul_(min(1.0, 1.0 / (norm + 1e-6)))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        if math.isfinite(norm):
            self.optimizer.step()
        self.publish()

    def publish(self) -> None:
        """Round the masters into the module's weights."""
        with torch.no_grad():
            for weight, master in zip(self.weights, self.masters, strict=True):
                weight.copy_(master)

    def exact(self, module: nn.Module) -> dict[str, Tensor]:
        """The tensors of (a part of) the module in float32, the trained ones from the masters."""
        exact = dict(zip(map(id, self.weights), self.masters, strict=True))
        return {
            name: exact[id(weight)].data if id(weight) in exact else weight.data.float()
            for name, weight in module.named_parameters()
        }

    def state(self) -> dict[str, Any]:
        """What `load` needs to go on."""
        return {"masters": [p.data for p in self.masters], "optimizer": self.optimizer.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        for master, value in zip(self.masters, state["masters"], strict=True):
            master.data.copy_(value)
        self.optimizer.load_state_dict(state["optimizer"])
        self.publish()


def cosine_rate(
    progress: float, step: int, *, peak: float, warmup: int, flat_until: float
) -> float:
    """Learning rate after a share `progress` of a run: warm-up, flat, a cosine down to 2 %."""
    warm = min(1.0, (step + 1) / warmup)
    decay = min(1.0, max(0.0, progress - flat_until) / (1 - flat_until))
    return peak * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * decay)))


# ----------------------------------------------------------------------------------- one process

SAVE_EVERY_S = 120.0
LOG_EVERY_STEPS = 100


@dataclass(frozen=True)
class Schedule:
    """How long a run is, and its learning rate: warm-up, flat, cosine."""

    minutes: float
    peak: float
    warmup: int = 200
    flat_until: float = 0.3


def train_alone(
    model: nn.Module,
    draw: Callable[[float], tuple[Tensor, Tensor]],
    path: Path,
    schedule: Schedule,
    *,
    rounded: nn.Module | None = None,
) -> dict[str, Any]:
    """Train a model with a head in this process, or go on where a stopped run was saved.

    Args:
        model: gives `.loss` for values and labels.
        draw: makes a batch, values (B, T) and labels (B,), for a share of the run that is over.
        path: where the state is saved.
        schedule: how long, and how fast.
        rounded: the part that is bfloat16; None means all.

    Returns:
        What was saved last: "model" (tensors in float32), "step", "elapsed_s", "hours_seen".
    """
    torch.set_num_threads(1)
    weights = MasterWeights(model, rounded=rounded)
    state: dict[str, Any] = {"step": 0, "elapsed_s": 0.0, "hours_seen": 0.0}
    if path.exists():
        state = torch.load(path, weights_only=True)
        weights.load(state)
        log.info("resumed at step %d after %.1f minutes", state["step"], state["elapsed_s"] / 60)
    step, elapsed_s, hours_seen = state["step"], state["elapsed_s"], state["hours_seen"]

    def save() -> dict[str, Any]:
        progress = {"step": step, "elapsed_s": elapsed_s, "hours_seen": hours_seen}
        saved = {**weights.state(), **progress, "model": weights.exact(model)}
        torch.save(saved, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)
        return saved

    started = last_saved = time.monotonic()
    started -= elapsed_s
    total = 0.0
    while elapsed_s < schedule.minutes * 60:
        progress = elapsed_s / 60 / schedule.minutes
        values, labels = draw(progress)
        with sdpa_kernel(SDPBackend.MATH):  # flash attention in bfloat16 is slow backwards on CPUs
            loss = model(values, labels=labels).loss
        loss.backward()
        weights.collect()
        rate = cosine_rate(
            *(progress, step),
            peak=schedule.peak,
            warmup=schedule.warmup,
            flat_until=schedule.flat_until,
        )
        weights.step(rate)
        step += 1
        total += loss.item()
        hours_seen += values.numel() / SAMPLE_RATE / 3600
        elapsed_s = time.monotonic() - started
        if step % LOG_EVERY_STEPS == 0:
            log.info(
                "step %6d  %5.1f of %.0f min  rate %.1e  loss %.4f  %.1f h",
                *(step, elapsed_s / 60, schedule.minutes, rate, total / LOG_EVERY_STEPS),
                hours_seen,
            )
            total = 0.0
        if time.monotonic() - last_saved > SAVE_EVERY_S:
            save()
            last_saved = time.monotonic()
    return save() if state["step"] < step else state
