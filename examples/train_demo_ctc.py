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
import logging
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import domain_lm
import numpy as np
import torch
from demo_checkpoint import CONFIG, encode, export, make_examples, measure, write_card
from demo_corpus import vocabulary
from demo_parallel import (
    Losses,
    ParallelTrainer,
    PhonemeLabels,
    ctc_sum,
    load_pronunciations,
    pad,
    train_in_processes,
    work_as_rank,
)
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
)
from demo_training import cosine_rate, fix_first_layer, synthesise
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


def open_store(options: argparse.Namespace) -> SpeechStore:
    """The corpus in the work directory."""
    return SpeechStore(options.work / "speech", seed=options.seed, num_shards=options.processes)


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


class Trainer(ParallelTrainer):
    """Letters and phonemes of sentences and digits."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Build the model and open the corpus."""
        self.phonemes = PhonemeLabels(pronunciations(options))
        super().__init__(options, Learner(self.phonemes.num_labels, options.seed), num_parts=2)
        self.batches = BatchMaker(
            open_store(options),
            DigitRecordings(options.digits) if options.digits else None,
            seed=options.seed + self.step,
            rank=self.rank,
            num_ranks=self.num_ranks,
        )

    def rate(self, progress: float) -> float:
        """As `learning_rate`."""
        return learning_rate(progress, self.step)

    def losses(self, progress: float) -> Losses:
        """Short utterances first, more digits at the end."""
        if progress < CURRICULUM_UNTIL:
            batch = self.batches.draw(1.2 + 6.0 * progress / CURRICULUM_UNTIL, augment=False)
        else:
            share = DIGIT_SHARE if progress < POLISH_FROM else POLISH_DIGIT_SHARE
            batch = self.batches.draw(math.inf, augment=True, digit_share=share)
        labels = pad([encode(text) for text in batch.texts])
        letters, phonemes = self.learner(batch.values, labels, self.phonemes(batch.texts))
        return Losses(
            letters + PHONEME_WEIGHT * phonemes,
            {"letters": letters, "phonemes": phonemes},
            num_targets=int((labels >= 0).sum()),
            seconds=batch.values.numel() / SAMPLE_RATE,
        )


def pronunciations(options: argparse.Namespace) -> dict[str, Sequence[str]]:
    """The phonemes of every word."""
    return load_pronunciations(options.work / "pronunciations.json", vocabulary())


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
        work_as_rank(options, Trainer)
        return
    if not (options.work / "checkpoint.pt").exists():
        synthesise(open_store(options), options.utterances)
    pronunciations(options)
    train_in_processes(options)
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
