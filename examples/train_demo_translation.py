"""Train the embedded demo translator, English speech to French and German, on two CPU cores.

One command synthesises the speech, trains, measures and exports:

    python examples/train_demo_translation.py --out asrkit/assets/demo-translate

It needs espeak-ng and flite on the path. A stopped run goes on from its work directory when the
same command is given again.

What makes it fit into an hour:
- every utterance is encoded once and decoded twice, into French and into German;
- two CTC losses that are thrown away at the end teach the encoder what it hears long before the
  decoder knows where to look: phonemes in the middle, English words at the top;
- log-mel frames are computed once, and tempo, voice and noise are changed on them, which costs a
  tenth of changing waveforms;
- as in train_demo_ctc.py: two single-threaded processes, bfloat16 weights under float32 master
  weights, batches of a few fixed shapes, and a C library that keeps its memory.
"""

from __future__ import annotations

import argparse
import logging
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
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
from demo_speech import SAMPLE_RATE, SpeechStore, Utterance
from demo_training import cosine_rate, synthesise
from demo_translation_checkpoint import (
    CONFIG,
    Pieces,
    export,
    make_examples,
    make_pieces,
    measure,
    write_card,
)
from demo_translation_corpus import LANGUAGES, vocabulary
from demo_translation_speech import (
    TRANSLATION_VARIANTS,
    draw_line,
    evaluation_sets,
    training_triple,
)
from demo_translation_words import Triple
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from asrkit.frontend import FilterbankFrontend
from asrkit.models.speech_to_text import Speech2TextForConditionalGeneration

log = logging.getLogger("demo")

PHONEME_LAYER = 3
PHONEME_WEIGHT = 0.3
WORD_WEIGHT = 0.3
LABEL_SMOOTHING = 0.1
PEAK_RATE = 2e-3
WARMUP_STEPS = 300
FLAT_UNTIL = 0.35
CURRICULUM_UNTIL = 0.08
BATCH_FRAMES = 4000
SILENCE_FRAMES = (0, 0, 0, 60, 120, 200)

Frames = npt.NDArray[np.float32]


# ------------------------------------------------------------------------------------------ data


class FrameAugmenter:
    """Light, cheap changes to log-mel frames (F, 80): tempo, voice, silence, noise, masks."""

    _FLOOR = math.log(1.1920929e-7)  # what the front end gives for digital silence
    _WARPS = np.linspace(0.9, 1.1, 21)

    def __init__(self, frontend: FilterbankFrontend, seed: int) -> None:
        """Prepare noise and the matrices that shift formants."""
        self.rng = np.random.default_rng(seed)
        self._warps = [self._warp(factor, frontend.num_bins) for factor in self._WARPS]
        size = 20 * SAMPLE_RATE
        bands = np.maximum(np.arange(size // 2 + 1), 20.0)
        white = np.fft.rfft(self.rng.standard_normal(size))
        self._noises = []
        for power in (0.0, 0.5, 1.0):
            noise = np.fft.irfft(white / bands**power, size)
            frames = frontend((noise / np.abs(noise).max()).astype(np.float32))
            self._noises.append(frames - self._loudness(frames))

    @staticmethod
    def _warp(factor: float, num_bins: int) -> Frames:
        """A matrix (80, 80) that reads each bin from `factor` times its frequency."""
        lowest, highest = (1127 * math.log1p(edge / 700) for edge in (20, 8000))
        mels = np.linspace(lowest, highest, num_bins + 2)[1:-1]
        hertz = 700 * np.expm1(mels / 1127) * factor
        places = (1127 * np.log1p(hertz / 700) - mels[0]) / (mels[1] - mels[0])
        places = np.clip(places, 0, num_bins - 1)
        distance = np.abs(np.arange(num_bins)[:, None] - places)
        return np.maximum(0, 1 - distance).astype(np.float32)

    @staticmethod
    def _loudness(frames: Frames) -> float:
        return math.log(float(np.exp(frames).sum(axis=1).mean()))

    def __call__(self, frames: Frames, longest: int, silence: int) -> Frames:
        """Change one utterance.

        Args:
            frames: (F, 80), not normalised.
            longest: how long speech may become.
            silence: how many more frames there may be around it.
        """
        rng = self.rng
        loudness = self._loudness(frames)
        size = min(longest, round(len(frames) * 1.1 ** rng.uniform(-1, 1)))
        places = np.linspace(0, len(frames) - 1, size, dtype=np.float32)
        left = np.minimum(places.astype(np.int64), len(frames) - 2)
        share = (places - left)[:, None]
        frames = frames[left] * (1 - share) + frames[left + 1] * share
        frames = frames @ self._warps[rng.integers(len(self._warps))]
        room = longest + silence - size
        if silence or (room and rng.random() < 0.5):
            before = int(rng.integers(room + 1))
            after = int(rng.integers(room - before + 1))
            frames = np.pad(frames, ((before, after), (0, 0)), constant_values=self._FLOOR)
        if rng.random() < 0.6:
            noise = self._noises[rng.integers(len(self._noises))]
            start = rng.integers(len(noise) - len(frames))
            level = loudness - rng.uniform(15, 55) * math.log(10) / 10
            noise = noise[start : start + len(frames)] + np.float32(level)
            frames = np.logaddexp(frames, noise)
        return frames

    def mask(self, frames: Frames) -> None:
        """Blank a band of bins and a moment, in place, in normalised frames."""
        rng = self.rng
        start, width = rng.integers(80), rng.integers(10)
        frames[:, start : start + width] = 0
        start, width = rng.integers(len(frames)), rng.integers(8)
        frames[start : start + width] = 0


@dataclass(frozen=True)
class Batch:
    """Utterances of one shape with all that is asked about them.

    Attributes:
        values: (B, F, 80), normalised, zero beyond an item's length.
        lengths: (B,) valid frames.
        tokens: (2B, L) of the decoder, French before German: language, pieces, end; -100 pads.
        texts: B English sentences.
    """

    values: Tensor
    lengths: Tensor
    tokens: Tensor
    texts: list[str]


class BatchMaker:
    """Draws batches of a few fixed shapes, without end; every process those of the same shape."""

    _GRID = 40

    def __init__(self, options: argparse.Namespace, *, seed: int) -> None:
        """Compute the frames of the rank's part of the corpus and sort it into lengths."""
        self.plan = random.Random(f"plan/{seed}")
        self.rng = random.Random(f"content/{seed}/{options.rank}")
        self.pieces = Pieces(options.work / "pieces.model")
        frontend = FilterbankFrontend(normalize_means=False, normalize_vars=False)
        self.augmenter = FrameAugmenter(frontend, seed * 100 + options.rank)
        self.translations = translations(options.seed, options.utterances)
        store = open_store(options)
        utterances = store.utterances()
        samples = store.samples()
        self.frames: list[npt.NDArray[np.float16]] = []
        self.texts: list[str] = []
        self.buckets: dict[int, list[int]] = {}
        for utterance in utterances[options.rank :: options.processes]:
            stop = utterance.start + utterance.length
            heard = samples[utterance.shard][utterance.start : stop]
            frames = frontend(np.asarray(heard, np.float32) / 32768).astype(np.float16)
            self.buckets.setdefault(self._bucket(utterance), []).append(len(self.frames))
            self.frames.append(frames)
            self.texts.append(utterance.text)
        # The weights steer the shared plan: from the whole corpus, equal for every rank.
        self.seconds = dict.fromkeys(sorted(self.buckets), 0.0)
        for utterance in utterances:
            if (size := self._bucket(utterance)) in self.seconds:
                self.seconds[size] += utterance.seconds
        for size in [s for s, seconds in self.seconds.items() if seconds < 100]:
            del self.seconds[size]  # perhaps not in every rank's part
        self.queues: dict[int, list[int]] = {size: [] for size in self.buckets}
        log.info(
            "%d utterances, %.1f hours", len(utterances), sum(u.seconds for u in utterances) / 3600
        )

    def _bucket(self, utterance: Utterance) -> int:
        # Every utterance has at least 0.2 s of room, for another tempo or silence around it.
        return math.ceil((utterance.length / 160 + 20) / self._GRID) * self._GRID

    def _draw(self, size: int) -> int:
        queue = self.queues[size]
        if not queue:
            queue.extend(self.buckets[size])
            self.rng.shuffle(queue)
        return queue.pop()

    def draw(self, longest: float, *, augment: bool) -> Batch:
        """Draw a batch of about `BATCH_FRAMES`, of utterances up to `longest` frames."""
        sizes = [size for size in self.seconds if size <= max(longest, min(self.seconds))]
        (size,) = self.plan.choices(sizes, [self.seconds[s] for s in sizes])
        silence = self.plan.choice(SILENCE_FRAMES) if augment else 0
        count = max(1, round(BATCH_FRAMES / (size + silence)))
        chosen = [self._draw(size) for _ in range(count)]
        values = np.zeros((count, size + silence, 80), np.float32)
        lengths = []
        for row, number in zip(values, chosen, strict=True):
            frames = self.frames[number].astype(np.float32)
            # Some of the 60 ms of silence at both ends go, as in recordings that are cut tightly.
            frames = frames[self.rng.randint(0, 5) : len(frames) - self.rng.randint(0, 5)]
            if augment:
                frames = self.augmenter(frames, size, silence)
            frames = frames - frames.mean(axis=0)
            frames /= np.maximum(frames.std(axis=0), 1e-5)
            if augment:
                self.augmenter.mask(frames)
            row[: len(frames)] = frames
            lengths.append(len(frames))
        texts = [self.texts[number] for number in chosen]
        triples = [self.translations[text] for text in texts]
        tokens = [
            self.pieces.encode(getattr(triple, language), language)
            for language in LANGUAGES
            for triple in triples
        ]
        return Batch(
            torch.from_numpy(values).bfloat16(),
            torch.tensor(lengths),
            pad(tokens),
            texts,
        )


def translations(seed: int, total: int) -> dict[str, Triple]:
    """Every sentence of the corpus by its English."""
    triples = (training_triple(random.Random(f"{seed}/{number}")) for number in range(total))
    return {triple.en: triple for triple in triples}


def pronunciations(options: argparse.Namespace) -> dict[str, Sequence[str]]:
    """The phonemes of every English word."""
    return load_pronunciations(options.work / "pronunciations.json", vocabulary())


def open_store(options: argparse.Namespace) -> SpeechStore:
    """The corpus in the work directory."""
    return SpeechStore(
        options.work / "speech", draw_line, seed=options.seed, num_shards=options.processes
    )


# ----------------------------------------------------------------------------------------- model


def build_model(seed: int) -> Speech2TextForConditionalGeneration:
    """Make the untrained model."""
    torch.manual_seed(seed)
    model = Speech2TextForConditionalGeneration(CONFIG)
    # The embeddings are also the output layer: small enough for logits around 1.
    nn.init.normal_(model.output_weight, std=CONFIG.d_model**-0.5)
    return model


class Learner(nn.Module):
    """The model with the CTC heads that only training uses."""

    def __init__(self, num_phonemes: int, num_words: int, seed: int) -> None:
        super().__init__()
        self.model = build_model(seed)
        width = CONFIG.d_model
        self.phonemes = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, num_phonemes))
        self.words = nn.Linear(width, num_words)

    def forward(
        self, batch: Batch, phonemes: Tensor, words: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Give the summed losses of translations, phonemes and words."""
        with sdpa_kernel(SDPBackend.MATH):  # flash attention in bfloat16 is slow backwards on CPUs
            heard = self.model.encode(batch.values, batch.lengths, output_hidden_states=True)
            states = heard.last_hidden_state.repeat(len(LANGUAGES), 1, 1)
            inputs = self.model.shift_right(batch.tokens)
            lengths = heard.lengths.repeat(len(LANGUAGES))
            decoded = self.model.text_decoder(inputs, states, lengths)
        logits = F.linear(decoded, self.model.output_weight)[:, 1:]  # the language is given
        translation = F.cross_entropy(
            logits.flatten(0, 1).float(),
            batch.tokens[:, 1:].flatten(),
            reduction="sum",
            label_smoothing=LABEL_SMOOTHING,
        )
        lower, upper = heard.hidden_states[PHONEME_LAYER], heard.last_hidden_state
        return (
            translation,
            ctc_sum(self.phonemes(lower), phonemes, heard.lengths),
            ctc_sum(self.words(upper), words, heard.lengths),
        )


# -------------------------------------------------------------------------------------- training


class Trainer(ParallelTrainer):
    """Translations, phonemes and words of sentences."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Build the model and compute the frames of the corpus."""
        self.phonemes = PhonemeLabels(pronunciations(options))
        self.words = {word: number for number, word in enumerate(vocabulary(), start=1)}
        learner = Learner(self.phonemes.num_labels, len(self.words) + 1, options.seed)
        super().__init__(options, learner, num_parts=3)
        self.batches = BatchMaker(options, seed=options.seed + self.step)

    def rate(self, progress: float) -> float:
        """Warm-up, flat, a cosine down."""
        return cosine_rate(
            progress, self.step, peak=PEAK_RATE, warmup=WARMUP_STEPS, flat_until=FLAT_UNTIL
        )

    def losses(self, progress: float) -> Losses:
        """Short utterances first."""
        if progress < CURRICULUM_UNTIL:
            batch = self.batches.draw(160 + 320 * progress / CURRICULUM_UNTIL, augment=False)
        else:
            batch = self.batches.draw(math.inf, augment=True)
        words = pad([[self.words[word] for word in text.split()] for text in batch.texts])
        phonemes = self.phonemes(batch.texts)
        translation, phoneme_loss, word_loss = self.learner(batch, phonemes, words)
        return Losses(
            translation + PHONEME_WEIGHT * phoneme_loss + WORD_WEIGHT * word_loss,
            {"translation": translation, "phonemes": phoneme_loss, "words": word_loss},
            num_targets=int((batch.tokens >= 0).sum()),
            seconds=float(batch.lengths.sum()) / 100,
        )


# ------------------------------------------------------------------------------------------ main


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    add = parser.add_argument
    add("--work", type=Path, default=Path("translate-work"), help="folder for speech and weights")
    add("--out", type=Path, default=Path("demo-translate"), help="folder for the exported model")
    add("--examples", type=Path, help="also write example clips into this folder")
    add("--utterances", type=int, default=64_000, help="synthetic sentences (default: %(default)s)")
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
        make_pieces(
            options.work / "pieces.model",
            translations(options.seed, options.utterances).values(),
        )
    pronunciations(options)
    train_in_processes(options)
    finish(options)


def finish(options: argparse.Namespace) -> None:
    """Export what the work directory holds, measure it, and write its card and its examples."""
    state = torch.load(options.work / "checkpoint.pt", weights_only=True)
    generator = export(state["model"], options.work / "pieces.model", options.out)
    scores = [measure(generator, *item) for item in evaluation_sets().items()]
    utterances = open_store(options).utterances()
    facts = {
        "num_words": len(vocabulary()),
        "num_variants": len(TRANSLATION_VARIANTS),
        "num_utterances": f"{len(utterances):,}",
        "num_sentences": f"{len({utterance.text for utterance in utterances}):,}",
        "hours": sum(utterance.seconds for utterance in utterances) / 3600,
        "num_parameters": sum(weight.numel() for weight in generator.model.parameters()),
        "minutes": state["elapsed_s"] / 60,
        "steps": state["step"],
        "seen": state["hours_seen"],
        "rate": PEAK_RATE,
        "layer": PHONEME_LAYER,
    }
    write_card(options.out, scores, facts)
    if options.examples:
        make_examples(generator, options.examples)


if __name__ == "__main__":
    main()
