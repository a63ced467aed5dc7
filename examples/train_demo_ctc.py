"""Train the embedded demo speech recogniser from nothing, on two CPU cores.

One command synthesises the speech, trains, measures and exports:

    python examples/train_demo_ctc.py --digits digits.tar --out asrkit/assets/demo-en

It needs espeak-ng and flite on the path; `digits.tar` holds the recordings of the Free Spoken Digit
Dataset as `{digit}_{speaker}_{take}.wav` (without it the model never hears a person). A stopped run
goes on from its work directory when the same command is given again.

What makes it fit into an hour (measured on two cores; each line is worth a factor):
- the first convolution is a fixed bank of Gabor filters, so nothing is propagated back at 1600
  frames a second, and the strided layers after it are plain matrix products;
- two single-threaded processes that add up their gradients, instead of two threads in one;
- batches of a few fixed shapes, and a C library told to keep its memory, so that no page is
  mapped twice;
- bfloat16 weights and activations under float32 master weights; CTC losses in float32;
- a curriculum from single words to sentences, and a phoneme CTC on a middle layer that is thrown
  away at the end.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import domain_lm
import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from demo_checkpoint import CONFIG, encode, export, make_examples, measure, write_card
from demo_corpus import vocabulary
from demo_speech import (
    HELD_OUT_SPEAKER,
    SAMPLE_RATE,
    VARIANTS,
    Augmenter,
    DigitRecordings,
    Samples,
    SpeechStore,
    Utterance,
    evaluation_sets,
    pronounce,
)
from demo_training import (
    WORKER_ENVIRONMENT,
    MasterWeights,
    cosine_rate,
    fix_first_layer,
    synthesise,
)
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from asrkit.frontend import WaveformFrontend
from asrkit.models.wav2vec2 import Wav2Vec2ForCTC

log = logging.getLogger("demo")

FRONTEND = WaveformFrontend()
PHONEME_LAYER = 2
PHONEME_WEIGHT = 0.3
PEAK_RATE = 1.5e-3
WARMUP_STEPS = 300
POLISH_RATE = 3e-4
CURRICULUM_UNTIL = 0.10
FLAT_UNTIL = 0.33
POLISH_FROM = 0.93
BATCH_SECONDS = 28.0
DIGIT_SHARE = 0.13
POLISH_DIGIT_SHARE = 0.35
JOINED_SHARE = 0.07
SAVE_EVERY_S = 180.0
LOG_EVERY_STEPS = 100


# ------------------------------------------------------------------------------------------ data


@dataclass(frozen=True)
class Batch:
    """Waveforms of one length, normalised, all samples valid.

    Attributes:
        values: (B, T).
        texts: B sentences.
    """

    values: Tensor
    texts: list[str]


class BatchMaker:
    """Draws augmented batches of a few fixed shapes, without end.

    Which kind of batch comes next, and how long it is, is the same for every process, so that none
    waits for another; what is in it differs.
    """

    _GRID = SAMPLE_RATE // 2

    def __init__(
        self,
        store: SpeechStore,
        recordings: DigitRecordings | None,
        *,
        seed: int,
        rank: int,
        num_ranks: int,
    ) -> None:
        """Sort the rank's part of the corpus into lengths."""
        self.plan = random.Random(f"plan/{seed}")
        self.rng = random.Random(f"content/{seed}/{rank}")
        self.augmenter = Augmenter(seed * 100 + rank)
        self.recordings = recordings
        self.samples = store.samples()
        utterances = store.utterances()
        self.buckets: dict[int, list[Utterance]] = {}
        for utterance in utterances[rank::num_ranks]:
            # Every utterance has at least 40 ms of room; what is left varies its edges and tempo.
            size = math.ceil((utterance.length + 640) / self._GRID)
            self.buckets.setdefault(size, []).append(utterance)
        # The weights steer the shared plan: from the whole corpus, equal for every rank.
        self.seconds = dict.fromkeys(sorted(self.buckets), 0.0)
        for utterance in utterances:
            size = math.ceil((utterance.length + 640) / self._GRID)
            if size in self.seconds:
                self.seconds[size] += utterance.seconds
        self.queues: dict[int, list[Utterance]] = {size: [] for size in self.buckets}
        log.info(
            "%d utterances, %.1f hours", len(utterances), sum(u.seconds for u in utterances) / 3600
        )

    def _load(self, utterance: Utterance) -> Samples:
        # Some of the 60 ms of silence at both ends go, as in recordings that are cut tightly.
        start = utterance.start + self.rng.randint(0, 800)
        stop = utterance.start + utterance.length - self.rng.randint(0, 800)
        stored = self.samples[utterance.shard][start:stop]
        return np.asarray(stored, np.float32)

    def _draw(self, size: int) -> Utterance:
        queue = self.queues[size]
        if not queue:
            queue.extend(self.buckets[size])
            self.rng.shuffle(queue)
        return queue.pop()

    def draw(self, longest: float, *, augment: bool, digit_share: float = DIGIT_SHARE) -> Batch:
        """Draw a batch of about `BATCH_SECONDS`.

        Args:
            longest: of the utterances, in seconds.
            augment: change tempo, tone and room, add noise, and now and then join utterances.
            digit_share: how many batches are recorded digits.
        """
        kind = self.plan.random()
        if self.recordings is not None and kind < digit_share:
            size = self.plan.choice((1, 2, 3, 5, 9) if longest > 3 else (2, 3))
            make = self._digits
        elif augment and kind < digit_share + JOINED_SHARE:
            size = self.plan.choice((16, 24))
            make = self._joined
        else:
            sizes = [size for size in self.seconds if size * 0.5 <= max(longest, 1.0)]
            (size,) = self.plan.choices(sizes, [self.seconds[s] for s in sizes])
            make = self._single
        target = size * self._GRID
        num_items = max(1, round(BATCH_SECONDS * SAMPLE_RATE / target))
        texts, rows = zip(*(make(size, augment) for _ in range(num_items)), strict=True)
        values = np.zeros((num_items, target), np.float32)
        for row, samples in zip(values, rows, strict=True):
            start = self._place(target - len(samples))
            row[start : start + len(samples)] = samples
            if augment:
                self.augmenter.add_noise(row)
            row[:] = FRONTEND(row)
        return Batch(torch.from_numpy(values), list(texts))

    def _place(self, room: int) -> int:
        # Recordings cut tightly are the hard ones: the first letter must come out of frame 0.
        where = self.rng.random()
        if where < 0.3:
            return 0
        return room if where < 0.55 else self.rng.randint(0, room)

    def _shape(self, samples: Samples, longest: int, augment: bool) -> Samples:
        if augment:
            samples = self.augmenter.reshape(samples, longest, spread=0.07)
        return samples[:longest]

    def _single(self, size: int, augment: bool) -> tuple[str, Samples]:
        utterance = self._draw(size)
        return utterance.text, self._shape(self._load(utterance), size * self._GRID, augment)

    def _joined(self, size: int, augment: bool) -> tuple[str, Samples]:
        texts: list[str] = []
        parts: list[Samples] = []
        room = size * self._GRID
        while True:
            utterance = self._draw(self.rng.choice(list(self.buckets)))
            gap = round(self.rng.uniform(0.2, 1.5) * SAMPLE_RATE)
            samples = self._shape(self._load(utterance), 2 * utterance.length, augment)
            if len(samples) > room:
                if texts:
                    return " ".join(texts), np.concatenate(parts)
                continue
            texts.append(utterance.text)
            silence = np.zeros(min(gap, room - len(samples)), np.float32)
            parts += [samples * self.rng.uniform(0.6, 1.0), silence]
            room -= len(samples) + len(silence)

    def _digits(self, size: int, augment: bool) -> tuple[str, Samples]:
        if self.recordings is None:
            raise ValueError("there are no digit recordings to draw from")
        longest = size * self._GRID
        while True:  # until the takes fit
            speaker = self.rng.choice(self.recordings.training_speakers)
            digits = self.rng.choices(range(10), k=max(1, size - 2 + self.rng.randint(-1, 1)))
            text, samples = self.recordings.string(speaker, digits, self.rng)
            if len(samples) <= longest:
                break
        if augment:  # more than sentences: four speakers have to stand for everybody
            samples = self.augmenter.reshape(samples, longest, spread=0.2, tone_db=3.0)[:longest]
        return text, samples


class Labels:
    """Targets of both CTC losses."""

    def __init__(self, pronunciations: dict[str, Sequence[str]]) -> None:
        """Number the phonemes from 1; 0 is the blank."""
        phonemes = sorted({p for spoken in pronunciations.values() for p in spoken})
        self.num_phonemes = len(phonemes) + 1
        numbers = {phoneme: number for number, phoneme in enumerate(phonemes, start=1)}
        self._phonemes = {
            word: [numbers[p] for p in spoken] for word, spoken in pronunciations.items()
        }

    def letters(self, texts: Sequence[str]) -> Tensor:
        """(B, L) token ids, padded with -100."""
        return _pad([encode(text) for text in texts])

    def phonemes(self, texts: Sequence[str]) -> Tensor:
        """(B, L) phoneme ids, padded with -100."""
        return _pad([[p for word in text.split() for p in self._phonemes[word]] for text in texts])


def _pad(rows: Sequence[Sequence[int]]) -> Tensor:
    padded = torch.full((len(rows), max(map(len, rows))), -100)
    for target, row in zip(padded, rows, strict=True):
        target[: len(row)] = torch.tensor(row)
    return padded


def open_store(options: argparse.Namespace) -> SpeechStore:
    """The corpus in the work directory."""
    return SpeechStore(options.work / "speech", seed=options.seed, num_shards=options.processes)


def load_pronunciations(path: Path) -> dict[str, Sequence[str]]:
    """Read, or make and keep, the phonemes of every word."""
    if not path.exists():
        path.write_text(json.dumps({word: pronounce(word) for word in vocabulary()}))
    found: dict[str, Sequence[str]] = json.loads(path.read_text())
    return found


# ----------------------------------------------------------------------------------------- model


def build_model(seed: int) -> Wav2Vec2ForCTC:
    """Make the untrained model; its first convolution and norm are final."""
    torch.manual_seed(seed)
    model = Wav2Vec2ForCTC(CONFIG)
    fix_first_layer(model.get_submodule("wav2vec2"))
    return model


class Learner(nn.Module):
    """The model with the phoneme head that only training uses."""

    def __init__(self, num_phonemes: int, seed: int) -> None:
        super().__init__()
        self.model = build_model(seed)
        width = CONFIG.hidden_size
        self.phonemes = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, num_phonemes))

    def forward(self, values: Tensor, letters: Tensor, phonemes: Tensor) -> tuple[Tensor, Tensor]:
        """Give the summed CTC losses of letters and phonemes."""
        with sdpa_kernel(SDPBackend.MATH):  # flash attention in bfloat16 is slow backwards on CPUs
            out = self.model(values, output_hidden_states=True)
        logits = self.phonemes(out.hidden_states[PHONEME_LAYER])
        return ctc_sum(out.logits, letters), ctc_sum(logits, phonemes)


def ctc_sum(logits: Tensor, labels: Tensor) -> Tensor:
    """CTC loss, summed over the batch; an item with too few frames counts nothing."""
    log_probs = F.log_softmax(logits, dim=-1, dtype=torch.float32).transpose(0, 1)  # (F, B, V)
    frames = torch.full((len(labels),), len(log_probs))
    is_label = labels >= 0
    return F.ctc_loss(
        log_probs, labels[is_label], frames, is_label.sum(-1), reduction="sum", zero_infinity=True
    )


# -------------------------------------------------------------------------------------- training


def learning_rate(progress: float, step: int) -> float:
    """Rate after a share `progress` of the run.

    Warm-up, flat, a cosine down to 2 %; a low ramp for the polish, with more digits, at the end.
    """
    if progress >= POLISH_FROM:
        return POLISH_RATE * (1 - progress) / (1 - POLISH_FROM)
    return cosine_rate(
        min(1.0, progress / POLISH_FROM),
        step,
        peak=PEAK_RATE,
        warmup=WARMUP_STEPS,
        flat_until=FLAT_UNTIL / POLISH_FROM,
    )


class Trainer:
    """One of the processes that train; all hold the same weights at every step."""

    def __init__(self, options: argparse.Namespace, rank: int) -> None:
        """Build the model, or read it from the work directory's checkpoint."""
        self.rank = rank
        self.num_ranks = options.processes
        self.limit_s = options.minutes * 60
        self.path = options.work / "checkpoint.pt"
        self.labels = Labels(load_pronunciations(options.work / "pronunciations.json"))
        self.learner = Learner(self.labels.num_phonemes, options.seed)
        # The sums: both losses and the number of letters.
        self.weights = MasterWeights(self.learner, num_sums=3)
        self.step = 0
        self.elapsed_s = 0.0
        self.hours_seen = 0.0
        if self.path.exists():
            self._resume()
        recordings = DigitRecordings(options.digits) if options.digits else None
        self.batches = BatchMaker(
            open_store(options),
            recordings,
            seed=options.seed + self.step,
            rank=rank,
            num_ranks=self.num_ranks,
        )

    def _resume(self) -> None:
        state = torch.load(self.path, weights_only=True)
        self.weights.load(state)
        self.step, self.elapsed_s = state["step"], state["elapsed_s"]
        self.hours_seen = state["hours_seen"]
        log.info("resumed at step %d after %.1f minutes", self.step, self.elapsed_s / 60)

    def save(self) -> None:
        """Write the checkpoint, never half of one."""
        state = {
            **self.weights.state(),
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "hours_seen": self.hours_seen,
            "model": self.weights.exact(self.learner.model),
        }
        torch.save(state, self.path.with_suffix(".new"))
        self.path.with_suffix(".new").replace(self.path)

    def run(self) -> None:
        """Train until the time is over."""
        saved = time.monotonic()
        started = saved - self.elapsed_s
        shown = (0.0, 0.0, 0.0)
        while self.elapsed_s < self.limit_s:
            progress = self.elapsed_s / self.limit_s
            letters, phonemes, count = self._one_step(progress)
            self.step += 1
            shown = (shown[0] + letters, shown[1] + phonemes, shown[2] + count)
            # Ranks must agree on the time, as it steers the learning rate: rank 0 tells it.
            clock = torch.tensor([time.monotonic() - started])
            if self.num_ranks > 1:
                dist.broadcast(clock, 0)
            self.elapsed_s = float(clock)
            if self.step % LOG_EVERY_STEPS == 0 and self.rank == 0:
                log.info(
                    "step %6d  %5.1f of %.0f min  rate %.1e  letters %.3f  phonemes %.3f  %.1f h",
                    *(self.step, self.elapsed_s / 60, self.limit_s / 60),
                    *(learning_rate(progress, self.step), shown[0] / shown[2]),
                    *(shown[1] / shown[2], self.hours_seen),
                )
                shown = (0.0, 0.0, 0.0)
            if self.rank == 0 and time.monotonic() - saved > SAVE_EVERY_S:
                self.save()
                saved = time.monotonic()
        if self.rank == 0:
            self.save()

    def _one_step(self, progress: float) -> tuple[float, float, float]:
        if progress < CURRICULUM_UNTIL:
            batch = self.batches.draw(1.2 + 6.0 * progress / CURRICULUM_UNTIL, augment=False)
        else:
            share = DIGIT_SHARE if progress < POLISH_FROM else POLISH_DIGIT_SHARE
            batch = self.batches.draw(math.inf, augment=True, digit_share=share)
        targets = self.labels.letters(batch.texts), self.labels.phonemes(batch.texts)
        letters, phonemes = self.learner(batch.values, *targets)
        (letters + PHONEME_WEIGHT * phonemes).backward()
        self.weights.collect()
        flat = self.weights.flat
        count = float((targets[0] >= 0).sum())
        flat[-3:] = torch.tensor([letters.item(), phonemes.item(), count])
        if self.num_ranks > 1:
            dist.all_reduce(flat)
        # Loss per letter: a share of all, as every process has some of them.
        self.weights.step(learning_rate(progress, self.step), divisor=float(flat[-1]))
        self.hours_seen += batch.values.numel() * self.num_ranks / SAMPLE_RATE / 3600
        letters_sum, phonemes_sum, count = flat[-3:].tolist()
        return letters_sum, phonemes_sum, count


def work_as_rank(options: argparse.Namespace) -> None:
    """Be one of the training processes."""
    torch.set_num_threads(1)
    if options.processes > 1:
        meeting = f"file://{(options.work / 'rendezvous').resolve()}"
        dist.init_process_group(
            "gloo", init_method=meeting, rank=options.rank, world_size=options.processes
        )
    Trainer(options, options.rank).run()
    if options.processes > 1:
        dist.destroy_process_group()


def train(options: argparse.Namespace) -> None:
    """Start the training processes and wait for them.

    Raises:
        SystemExit: one of them failed.
    """
    path = options.work / "checkpoint.pt"
    if path.exists() and torch.load(path, weights_only=True)["elapsed_s"] >= options.minutes * 60:
        return
    load_pronunciations(options.work / "pronunciations.json")
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


# ------------------------------------------------------------------------------------------ main


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    add = parser.add_argument
    add("--digits", type=Path, help="tar archive of the Free Spoken Digit Dataset's recordings")
    add("--work", type=Path, default=Path("demo-work"), help="folder for speech and checkpoints")
    add("--out", type=Path, default=Path("demo-en"), help="folder for the exported model")
    add("--examples", type=Path, help="also write example clips into this folder")
    add("--utterances", type=int, default=72_000, help="synthetic sentences (default: %(default)s)")
    add("--minutes", type=float, default=75, help="training time (default: %(default)s)")
    add("--processes", type=int, default=2, help="CPU cores to use (default: %(default)s)")
    add("--seed", type=int, default=1, help="of everything random (default: %(default)s)")
    add("--rank", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Synthesise, train, measure, export; skip what is already done."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    options = parse_options()
    options.work.mkdir(parents=True, exist_ok=True)
    if options.rank is not None:
        work_as_rank(options)
        return
    if not (options.work / "checkpoint.pt").exists():
        synthesise(open_store(options), options.utterances)
    train(options)
    state = torch.load(options.work / "checkpoint.pt", weights_only=True)
    recognizer = export(state["model"], options.out)
    domain_lm.build(options.out)
    recordings = DigitRecordings(options.digits) if options.digits else None
    sets = evaluation_sets(recordings)
    scores = [measure(recognizer, *item) for item in sets.items()]
    utterances = open_store(options).utterances()
    facts = {
        "num_words": len(vocabulary()),
        "num_variants": len(VARIANTS),
        "speaker": HELD_OUT_SPEAKER,
        "num_utterances": f"{len(utterances):,}",
        "hours": sum(utterance.seconds for utterance in utterances) / 3600,
        "digit_share": DIGIT_SHARE,
        "num_parameters": sum(weight.numel() for weight in recognizer.model.parameters()),
        "minutes": state["elapsed_s"] / 60,
        "steps": state["step"],
        "seen": state["hours_seen"],
        "rate": PEAK_RATE,
        "layer": PHONEME_LAYER,
        "lm_table": domain_lm.compare(recognizer, sets, options.out / "language_model"),
    }
    write_card(options.out, scores, facts)
    if options.examples:
        make_examples(recognizer, options.examples)


if __name__ == "__main__":
    main()
