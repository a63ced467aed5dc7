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
import csv
import json
import logging
import math
import multiprocessing
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
import torch.distributed as dist
import torch.nn.functional as F
from demo_corpus import held_out_sentences, vocabulary
from demo_speech import (
    HELD_OUT_SPEAKER,
    SAMPLE_RATE,
    VARIANTS,
    Augmenter,
    Clip,
    DigitRecordings,
    Manner,
    Samples,
    SpeechStore,
    Utterance,
    Voice,
    evaluation_sets,
    pronounce,
    speak,
)
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from asrkit.models.wav2vec2 import Wav2Vec2Config, Wav2Vec2ForCTC

log = logging.getLogger("train_demo_ctc")

TOKENS = ("<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ")
"""The characters of wav2vec2-base-960h, in its order; <pad> is the blank."""

CONFIG = Wav2Vec2Config(
    vocab_size=len(TOKENS),
    hidden_size=160,
    num_hidden_layers=4,
    num_attention_heads=4,
    intermediate_size=480,
    feat_extract_norm="layer",
    do_stable_layer_norm=True,
    conv_bias=True,
    conv_dim=(96, 96, 128, 160, 160, 160),
    conv_kernel=(128, 4, 4, 2, 5, 5),
    conv_stride=(10, 4, 4, 2, 1, 1),
    num_conv_pos_embeddings=32,
    num_conv_pos_embedding_groups=4,
)

PHONEME_LAYER = 2
PHONEME_WEIGHT = 0.3
PEAK_RATE = 1.5e-3
WARMUP_STEPS = 300
FLAT_UNTIL = 0.35
CURRICULUM_UNTIL = 0.10
BATCH_SECONDS = 28.0
DIGIT_SHARE = 0.13
JOINED_SHARE = 0.07
SAVE_EVERY_S = 180.0

# glibc: never return memory to the system, so that tensors of a step reuse the last step's pages.
WORKER_ENVIRONMENT = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "20000000000",
    "MALLOC_TOP_PAD_": "268435456",
    "OMP_NUM_THREADS": "1",
}


def encode(text: str) -> list[int]:
    """Turn a sentence into token ids, with `|` between words."""
    return [TOKENS.index(letter) for letter in text.replace(" ", "|")]


def collapse(path: Sequence[int]) -> str:
    """Turn the best token of each frame into a sentence."""
    kept = [
        TOKENS[token]
        for token, before in zip(path, [0, *path[:-1]], strict=True)
        if token != before and token > 3
    ]
    return " ".join("".join(kept).replace("|", " ").split())


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


def normalise(samples: Samples) -> Samples:
    """Bring a waveform to zero mean and unit variance, as the feature extractor does."""
    scaled: Samples = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
    return scaled


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
        stop = utterance.start + utterance.length
        return self.samples[utterance.shard][utterance.start : stop].astype(np.float32) / 32768

    def _draw(self, size: int) -> Utterance:
        queue = self.queues[size]
        if not queue:
            queue.extend(self.buckets[size])
            self.rng.shuffle(queue)
        return queue.pop()

    def draw(self, longest: float, *, augment: bool) -> Batch:
        """Draw a batch of about `BATCH_SECONDS`.

        Args:
            longest: of the utterances, in seconds.
            augment: change tempo, tone and room, add noise, and now and then join utterances.
        """
        kind = self.plan.random()
        if self.recordings is not None and kind < DIGIT_SHARE:
            num_digits = self.plan.choice((1, 2, 4, 7) if longest > 3 else (1, 2))
            size = {1: 2, 2: 3, 4: 5, 7: 9}[num_digits]
            make = self._digits
        elif augment and kind < DIGIT_SHARE + JOINED_SHARE:
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
            start = self.rng.randint(0, target - len(samples))
            row[start : start + len(samples)] = samples
            if augment:
                self.augmenter.add_noise(row)
            row[:] = normalise(row)
        return Batch(torch.from_numpy(values), list(texts))

    def _shape(self, samples: Samples, longest: int, spread: float, augment: bool) -> Samples:
        if not augment:
            return samples[:longest]
        return self.augmenter.reshape(samples, longest, spread=spread)[:longest]

    def _single(self, size: int, augment: bool) -> tuple[str, Samples]:
        utterance = self._draw(size)
        return utterance.text, self._shape(self._load(utterance), size * self._GRID, 0.07, augment)

    def _joined(self, size: int, augment: bool) -> tuple[str, Samples]:
        texts, parts, room = [], [], size * self._GRID
        while True:
            utterance = self._draw(self.rng.choice(list(self.buckets)))
            gap = round(self.rng.uniform(0.2, 1.5) * SAMPLE_RATE)
            samples = self._shape(self._load(utterance), 2 * utterance.length, 0.07, augment)
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
        speaker = self.rng.choice(self.recordings.training_speakers)
        digits = self.rng.choices(range(10), k=max(1, size - 2 + self.rng.randint(-1, 1)))
        while True:
            text, samples = self.recordings.string(speaker, digits, self.rng)
            if len(samples) <= longest or len(digits) == 1:
                return text, self._shape(samples, longest, 0.15, augment)
            digits.pop()


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


def load_pronunciations(path: Path) -> dict[str, Sequence[str]]:
    """Read, or make and keep, the phonemes of every word."""
    if not path.exists():
        path.write_text(json.dumps({word: pronounce(word) for word in vocabulary()}))
    found: dict[str, Sequence[str]] = json.loads(path.read_text())
    return found


# ----------------------------------------------------------------------------------------- model


def gabor_bank(num_filters: int, width: int) -> Tensor:
    """Make pairs of Gabor filters, in and out of phase, spaced evenly in mel.

    The scale makes ordinary speech come out around 0.1, so that the layer norm's epsilon acts as a
    gate some 30 dB below it.

    Returns:
        (num_filters, 1, width).
    """
    mel = np.linspace(*(1127 * np.log1p(np.array([60, 7600]) / 700)), num_filters // 2 + 2)
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


def build_model(seed: int) -> Wav2Vec2ForCTC:
    """Make the untrained model; its first convolution and norm are final."""
    torch.manual_seed(seed)
    model = Wav2Vec2ForCTC(CONFIG)
    first = model.wav2vec2.feature_extractor.conv_layers[0]
    first.conv.weight.data = gabor_bank(CONFIG.conv_dim[0], CONFIG.conv_kernel[0])
    first.conv.bias.data.zero_()
    first.requires_grad_(False)
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
    """Rate after a share `progress` of the run: warm-up, flat, then a cosine down to 2 %."""
    warm = min(1.0, (step + 1) / WARMUP_STEPS)
    decay = max(0.0, progress - FLAT_UNTIL) / (1 - FLAT_UNTIL)
    return PEAK_RATE * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, decay))))


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
        trained = [p for p in self.learner.parameters() if p.requires_grad]
        self.masters = [nn.Parameter(p.detach().clone()) for p in trained]
        self.learner.bfloat16()
        self.weights = [p for p in self.learner.parameters() if p.requires_grad]
        decayed = [p for p in self.masters if p.ndim > 1]
        kept = [p for p in self.masters if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": 0.02}, {"params": kept, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.98), fused=True)
        # All gradients and three running sums lie in one vector: one exchange a step.
        sizes = [p.numel() for p in self.masters]
        self.flat = torch.zeros(sum(sizes) + 3)
        for master, part in zip(self.masters, self.flat[:-3].split(sizes), strict=True):
            master.grad = part.view_as(master)
        self.step = 0
        self.elapsed_s = 0.0
        self.hours_seen = 0.0
        if self.path.exists():
            self._resume()
        recordings = DigitRecordings(options.digits) if options.digits else None
        self.batches = BatchMaker(
            SpeechStore(options.work / "speech", seed=options.seed, num_shards=options.processes),
            recordings,
            seed=options.seed + self.step,
            rank=rank,
            num_ranks=self.num_ranks,
        )

    def _resume(self) -> None:
        state = torch.load(self.path, weights_only=True)
        for master, value in zip(self.masters, state["masters"], strict=True):
            master.data.copy_(value)
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.elapsed_s = state["step"], state["elapsed_s"]
        self.hours_seen = state["hours_seen"]
        log.info("resumed at step %d after %.1f minutes", self.step, self.elapsed_s / 60)

    def save(self) -> None:
        """Write the checkpoint, never half of one."""
        state = {
            "masters": [master.data for master in self.masters],
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "hours_seen": self.hours_seen,
            "model": self.model_state(),
        }
        torch.save(state, self.path.with_suffix(".new"))
        self.path.with_suffix(".new").replace(self.path)

    def model_state(self) -> dict[str, Tensor]:
        """The model's tensors in float32, the trained ones from the master weights."""
        self._publish()
        exact = dict(zip(map(id, self.weights), self.masters, strict=True))
        return {
            name: exact[id(weight)].data if id(weight) in exact else weight.data.float()
            for name, weight in self.learner.model.named_parameters()
        }

    def _publish(self) -> None:
        with torch.no_grad():
            for weight, master in zip(self.weights, self.masters, strict=True):
                weight.copy_(master)

    def run(self) -> None:
        """Train until the time is over."""
        saved = time.monotonic()
        started = saved - self.elapsed_s
        shown = (0.0, 0.0, 0.0)
        self._publish()
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
            if self.step % 200 == 0 and self.rank == 0:
                log.info(
                    "step %6d  %5.1f of %.0f min  rate %.1e  letters %.3f  phonemes %.3f  %.1f h",
                    *(self.step, self.elapsed_s / 60, self.limit_s / 60),
                    *(self.optimizer.param_groups[0]["lr"], shown[0] / shown[2]),
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
            batch = self.batches.draw(math.inf, augment=True)
        targets = self.labels.letters(batch.texts), self.labels.phonemes(batch.texts)
        letters, phonemes = self.learner(batch.values, *targets)
        (letters + PHONEME_WEIGHT * phonemes).backward()
        for master, weight in zip(self.masters, self.weights, strict=True):
            if weight.grad is not None and master.grad is not None:
                master.grad.copy_(weight.grad)
                weight.grad = None
        count = float((targets[0] >= 0).sum())
        self.flat[-3:] = torch.tensor([float(letters), float(phonemes), count])
        if self.num_ranks > 1:
            dist.all_reduce(self.flat)
        count = float(self.flat[-1])
        gradients = self.flat[:-3].div_(count)
        norm = float(gradients.norm())
        gradients.mul_(min(1.0, 1.0 / (norm + 1e-6)))
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(progress, self.step)
        if math.isfinite(norm):
            self.optimizer.step()
        self._publish()
        self.hours_seen += batch.values.numel() * self.num_ranks / SAMPLE_RATE / 3600
        return float(self.flat[-3]), float(self.flat[-2]), count


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


def _fill_shard(options: argparse.Namespace, shard: int) -> None:
    store = SpeechStore(options.work / "speech", seed=options.seed, num_shards=options.processes)
    started, first = time.monotonic(), 0
    whole = len(range(shard, options.utterances, options.processes))
    for count in store.fill(shard, options.utterances):
        first = first or count
        if count % 2000 == 0:
            left = (time.monotonic() - started) / (count - first + 1) * (whole - count)
            log.info("shard %d: %d of %d, %.0f minutes left", shard, count, whole, left / 60)


def synthesise(options: argparse.Namespace) -> None:
    """Fill the corpus, a process for each shard.

    Raises:
        SystemExit: one of them failed.
    """
    workers = [
        multiprocessing.Process(target=_fill_shard, args=(options, shard))
        for shard in range(options.processes)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        raise SystemExit("synthesis failed")


# ------------------------------------------------------------------------------------- measuring


@dataclass(frozen=True)
class Score:
    """Greedy results on one set."""

    name: str
    num_clips: int
    num_words: int
    word_error_rate: float
    character_error_rate: float
    share_right: float


def edit_distance(first: Sequence[str], second: Sequence[str]) -> int:
    """Count the insertions, deletions and substitutions between two sequences."""
    row = list(range(len(second) + 1))
    for i, one in enumerate(first, start=1):
        before, row[0] = row[0], i
        for j, other in enumerate(second, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (one != other))
    return row[-1]


def transcribe(model: Wav2Vec2ForCTC, samples: Samples) -> str:
    """Recognise one clip with greedy decoding."""
    with torch.inference_mode():
        logits = model(torch.from_numpy(normalise(samples))[None]).logits
    return collapse(logits[0].argmax(-1).tolist())


def measure(model: Wav2Vec2ForCTC, name: str, clips: Sequence[Clip]) -> Score:
    """Recognise every clip of a set, one at a time, and count the errors."""
    wrong_words = wrong_letters = num_words = num_letters = num_right = 0
    for clip in clips:
        heard = transcribe(model, clip.samples)
        wrong_words += edit_distance(clip.text.split(), heard.split())
        wrong_letters += edit_distance(clip.text, heard)
        num_words += len(clip.text.split())
        num_letters += len(clip.text)
        num_right += heard == clip.text
    score = Score(
        name,
        len(clips),
        num_words,
        100 * wrong_words / num_words,
        100 * wrong_letters / num_letters,
        100 * num_right / len(clips),
    )
    log.info(
        "%-42s %4d clips %5d words  WER %5.1f  CER %5.1f  right %3.0f %%", *asdict(score).values()
    )
    return score


# ------------------------------------------------------------------------------------- exporting

TOKENIZER = {
    "tokenizer_class": "Wav2Vec2CTCTokenizer",
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "word_delimiter_token": "|",
    "do_lower_case": False,
    "return_attention_mask": True,
}
PREPROCESSOR = {
    "feature_extractor_type": "Wav2Vec2FeatureExtractor",
    "do_normalize": True,
    "feature_size": 1,
    "padding_side": "right",
    "padding_value": 0.0,
    "return_attention_mask": True,
    "sampling_rate": SAMPLE_RATE,
}
TRAINING_KEYS = {
    "architectures": ["Wav2Vec2ForCTC"],
    "model_type": "wav2vec2",
    "bos_token_id": 1,
    "eos_token_id": 2,
    "ctc_loss_reduction": "mean",
    "ctc_zero_infinity": True,
    "num_feat_extract_layers": len(CONFIG.conv_dim),
    "apply_spec_augment": False,
    "mask_time_prob": 0.0,
    "mask_feature_prob": 0.0,
    **dict.fromkeys(
        (
            *("activation_dropout", "attention_dropout", "feat_proj_dropout", "final_dropout"),
            *("hidden_dropout", "layerdrop"),
        ),
        0.0,
    ),
    "torch_dtype": "float16",
}


def export(weights: dict[str, Tensor], folder: Path) -> Wav2Vec2ForCTC:
    """Write the checkpoint folder, but for the card.

    Returns:
        The model with the weights as they were written, in float32.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rounded = {name: tensor.half().contiguous() for name, tensor in weights.items()}
    save_file(rounded, folder / "model.safetensors", metadata={"format": "pt"})
    config = {name: value for name, value in asdict(CONFIG).items() if value is not None}
    for name in ("conv_pos_batch_norm", "feat_proj_layer_norm"):  # keys of another family
        config.pop(name, None)
    special = {key: value for key, value in TOKENIZER.items() if key in _SPECIAL_TOKENS}
    documents: dict[str, Any] = {
        "config.json": dict(sorted((config | TRAINING_KEYS).items())),
        "vocab.json": {token: number for number, token in enumerate(TOKENS)},
        "tokenizer_config.json": TOKENIZER,
        "special_tokens_map.json": special,
        "preprocessor_config.json": PREPROCESSOR,
    }
    for name, document in documents.items():
        (folder / name).write_text(json.dumps(document, indent=2) + "\n")
    (folder / "words.txt").write_text("\n".join(vocabulary()) + "\n")
    model = Wav2Vec2ForCTC(CONFIG)
    model.load_state_dict({name: tensor.float() for name, tensor in rounded.items()})
    return model.eval()


_SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token")

CARD = """\
---
language: en
license: cc-by-sa-4.0
library_name: asrkit
pipeline_tag: automatic-speech-recognition
---
# demo-en

A very small Wav2Vec2 CTC model that comes with asrkit, so that commands, examples and tests have
something to run without a download. It spells what it hears in capital letters, from a vocabulary of
{num_words} words about a talking house: lamps, alarms, dates, numbers, trains, food, weather, and who
carried which basket. `words.txt` lists them.

It is not a speech recogniser for people. It knows synthetic voices, and real voices only from
single digits. From a microphone expect digits to work and sentences not to.

## Results

Greedy decoding, no dictionary or language model, one clip at a time, the weights of this folder in
float32. No sentence was in the training data; no unknown voice or speaker was either.

| set | clips | words | WER % | CER % | clips all right % |
|---|---:|---:|---:|---:|---:|
{rows}

"Free sentences" were written by hand and follow no template. The known voices are espeak-ng's
English accents in {num_variants} variants and flite's rms, slt and kal16; unknown are espeak-ng's
variants f4, m5 and Andy and its Scottish accent, flite's awb (a real Scottish speaker), and the digit
speaker {speaker}.

Most errors are spelling errors; a dictionary (`words.txt`) or a language model mends many of them.

## How it was made

`python examples/train_demo_ctc.py --digits digits.tar` makes everything again, on two CPU cores:

- {num_utterances} utterances ({hours:.0f} hours), half spoken by espeak-ng and half by flite: sentences from
  templates, random words, digit strings; 16 kHz; tempo, tone, telephone band, echo and noise are
  changed lightly while training.
- strings of recorded digits of the Free Spoken Digit Dataset, four speakers, in {digit_share:.0%} of the
  batches.
- {num_parameters:,} parameters: six convolutions (the first a fixed bank of Gabor filters, the last two
  of stride 1), four transformer layers 160 wide; one frame every 20 ms. float16.
- {minutes:.0f} minutes, {steps:,} steps, {seen:.0f} hours of audio passed through, AdamW, a rate of
  {rate} falling to 2 % of it; a second CTC loss on phonemes of layer {layer}, not part of this folder.

## Licences

The weights are under CC BY-SA 4.0, as the recordings of the Free Spoken Digit Dataset
(<https://github.com/Jakobovski/free-spoken-digit-dataset>, CC BY-SA 4.0) went into them. The other
speech is the output of espeak-ng (the program: GPL v3) and flite (BSD-like; its voices slt, rms and
awb come from the CMU ARCTIC recordings); neither program is part of this folder.
"""


def write_card(folder: Path, scores: Sequence[Score], facts: dict[str, Any]) -> None:
    """Write the model card with the measured numbers."""
    rows = "\n".join(
        f"| {s.name} | {s.num_clips} | {s.num_words} | {s.word_error_rate:.1f}"
        f" | {s.character_error_rate:.1f} | {s.share_right:.0f} |"
        for s in scores
    )
    (folder / "README.md").write_text(CARD.format(rows=rows, **facts))


# --------------------------------------------------------------------------------- example clips


@dataclass(frozen=True)
class ExampleSpec:
    """One clip to make: its file name says the format; `rate` in Hz."""

    name: str
    voice: Voice
    rate: int = SAMPLE_RATE
    num_channels: int = 1


EXAMPLES = (
    ExampleSpec("espeak-us.wav", Voice("espeak", "en-us")),
    ExampleSpec("espeak-gb.flac", Voice("espeak", "en-gb")),
    ExampleSpec("flite-rms.flac", Voice("flite", "rms")),
    ExampleSpec("flite-slt.mp3", Voice("flite", "slt")),
    ExampleSpec("telephone-8khz.wav", Voice("espeak", "en-us+f2"), rate=8_000),
    ExampleSpec("music-44khz.wav", Voice("espeak", "en-gb-x-rp"), rate=44_100),
    ExampleSpec("stereo.wav", Voice("espeak", "en-us+m3"), num_channels=2),
)
LONG_VOICES = (
    *(Voice("espeak", name) for name in ("en-us", "en-gb", "en-us+f2", "en-gb+m3")),
    *(Voice("flite", name) for name in ("rms", "slt")),
)
CALM = Manner(rate=0.85)


def _recognised(
    model: Wav2Vec2ForCTC, voices: Sequence[Voice], texts: Iterator[str]
) -> Iterator[Clip]:
    """Speak held-out sentences, one voice after the other, and keep what the model gets right."""
    number = 0
    for text in texts:
        samples = speak(text, voices[number % len(voices)], CALM)
        if transcribe(model, samples) == text:
            number += 1
            yield Clip(text, samples)


def make_examples(model: Wav2Vec2ForCTC, folder: Path, seed: int = 11) -> None:
    """Write short clips in several formats and one of two minutes, with what is said in them.

    The sentences are held out; of those, ones that the model gets right by itself are taken.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    texts = iter(held_out_sentences(300, rng))
    transcripts = []
    for spec in EXAMPLES:
        clip = next(_recognised(model, [spec.voice], texts))
        samples = soxr.resample(clip.samples, SAMPLE_RATE, spec.rate, quality="HQ")
        if spec.num_channels == 2:
            samples = np.stack([samples, 0.7 * samples], axis=1)
        soundfile.write(folder / spec.name, samples, spec.rate)
        transcripts.append((spec.name, clip.text))
    parts, spans, now = [], [], 0
    for clip in _recognised(model, LONG_VOICES, texts):
        pause = np.zeros(round(rng.uniform(0.6, 1.5) * SAMPLE_RATE), np.float32)
        parts += [pause, clip.samples]
        start = now + len(pause)
        now = start + len(clip.samples)
        spans.append((start / SAMPLE_RATE, now / SAMPLE_RATE, clip.text))
        if now > 120 * SAMPLE_RATE:
            break
    long_name = "two-minutes.ogg"
    soundfile.write(
        folder / long_name, np.concatenate(parts), SAMPLE_RATE, format="OGG", subtype="OPUS"
    )
    transcripts.append((long_name, " ".join(text for _, _, text in spans)))
    _write_table(folder / "transcripts.tsv", ("audio_filepath", "text"), transcripts)
    rounded = [(f"{start:.3f}", f"{end:.3f}", text) for start, end, text in spans]
    _write_table(folder / "two-minutes.tsv", ("start", "end", "text"), rounded)
    for name, text in transcripts:
        samples, rate = soundfile.read(folder / name, dtype="float32", always_2d=True)
        heard = transcribe(model, soxr.resample(samples.mean(axis=1), rate, SAMPLE_RATE))
        wrong = edit_distance(text.split(), heard.split())
        log.info("%-20s %3d words, %d wrong", name, len(text.split()), wrong)


def _write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerows([header, *rows])


# ------------------------------------------------------------------------------------------ main


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    add = parser.add_argument
    add("--digits", type=Path, help="tar archive of the Free Spoken Digit Dataset's recordings")
    add("--work", type=Path, default=Path("demo-work"), help="folder for speech and checkpoints")
    add("--out", type=Path, default=Path("demo-en"), help="folder for the exported model")
    add("--examples", type=Path, help="also write example clips into this folder")
    add("--utterances", type=int, default=70_000, help="synthetic sentences (default: %(default)s)")
    add("--minutes", type=float, default=60, help="training time (default: %(default)s)")
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
        synthesise(options)
    train(options)
    state = torch.load(options.work / "checkpoint.pt", weights_only=True)
    model = export(state["model"], options.out)
    recordings = DigitRecordings(options.digits) if options.digits else None
    scores = [measure(model, *item) for item in evaluation_sets(recordings).items()]
    store = SpeechStore(options.work / "speech", seed=options.seed, num_shards=options.processes)
    utterances = store.utterances()
    facts = {
        "num_words": len(vocabulary()),
        "num_variants": len(VARIANTS),
        "speaker": HELD_OUT_SPEAKER,
        "num_utterances": f"{len(utterances):,}",
        "hours": sum(utterance.seconds for utterance in utterances) / 3600,
        "digit_share": DIGIT_SHARE,
        "num_parameters": sum(weight.numel() for weight in model.parameters()),
        "minutes": state["elapsed_s"] / 60,
        "steps": state["step"],
        "seen": state["hours_seen"],
        "rate": PEAK_RATE,
        "layer": PHONEME_LAYER,
    }
    write_card(options.out, scores, facts)
    if options.examples:
        make_examples(model, options.examples)


if __name__ == "__main__":
    main()
