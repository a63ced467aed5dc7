"""Train the embedded speaker model from nothing, on one or two CPU cores.

One command synthesises the speech, trains, measures and exports:

    python examples/train_demo_speaker.py --out asrkit/assets/demo-speaker

It needs espeak-ng and flite on the path. A stopped run goes on from its work directory when the
same command is given again. `--digits digits.tar` (recordings of the Free Spoken Digit Dataset)
only adds trials to measure on: the model is trained on synthetic speech alone.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import math
import random
import textwrap
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import torch
import torch.nn.functional as F
from demo_checkpoint import describe, write_checkpoint
from demo_corpus import held_out_sentences
from demo_speakers import (
    HELD_OUT_MEN,
    HELD_OUT_WOMEN,
    NUM_WRITTEN,
    TrialSet,
    evaluation_trials,
    held_out_people,
    sample_line,
    write_variants,
)
from demo_speech import (
    SAMPLE_RATE,
    Augmenter,
    DigitRecordings,
    Samples,
    SpeechStore,
    Utterance,
    speak,
)
from demo_training import Schedule, fix_first_layer, restart_as_worker, synthesise, train_alone
from torch import Tensor, nn

import asrkit
from asrkit import Audio
from asrkit.frontend import WaveformFrontend
from asrkit.models.heads import XVectorOutput
from asrkit.models.wav2vec2 import EncoderOutput, Wav2Vec2Config, Wav2Vec2ForXVector
from asrkit.options import DEMO_KEYWORDS, ModelOptions
from asrkit.tasks.embed import Embedder
from asrkit.verification import cosine, equal_error_rate, min_detection_cost

log = logging.getLogger("demo")

Vector = npt.NDArray[np.float32]

FRONTEND = WaveformFrontend()
CONFIG = Wav2Vec2Config(
    vocab_size=1,
    hidden_size=128,
    num_hidden_layers=1,
    num_attention_heads=4,
    intermediate_size=384,
    feat_extract_norm="layer",
    do_stable_layer_norm=True,
    conv_bias=True,
    conv_dim=(64, 64, 96, 128, 128, 128),
    conv_kernel=(128, 4, 4, 2, 5, 5),
    conv_stride=(10, 4, 4, 2, 1, 1),
    num_conv_pos_embeddings=16,
    num_conv_pos_embedding_groups=4,
    tdnn_dim=(160, 160, 320),
    tdnn_kernel=(5, 3, 1),
    tdnn_dilation=(1, 1, 1),  # with others the reference's statistics run into the padding
    xvector_output_dim=96,
)
PEAK_RATE = 1e-3
MARGIN = 0.2
FULL_MARGIN_FROM = 0.4
ALL_ALTERED_FROM = 0.4
BATCH_SIZE = 32
NORM_BATCHES = 16
BATCH_NORM_EPS = 1e-5
PAIR_SCALE = 15.0
SPEAKER_WEIGHT = 0.2
CLIP_SECONDS = (1.0, 1.4, 1.8)


# ------------------------------------------------------------------------------------------ data


class BatchMaker:
    """Draws augmented clips of one length a batch, without end; what makes the person stays."""

    def __init__(self, store: SpeechStore, seed: int) -> None:
        """Sort the corpus by person."""
        self.rng = random.Random(seed)
        self.augmenter = Augmenter(seed)
        by_speaker: dict[str, list[Utterance]] = {}
        for utterance in store.utterances():
            by_speaker.setdefault(utterance.speaker, []).append(utterance)
        self.speakers = [by_speaker[name] for name in sorted(by_speaker)]
        self.samples = store.samples()

    def draw(self, progress: float) -> tuple[Tensor, Tensor]:
        """Make normalised values (B, T), all samples valid, and speakers (B,), each one twice.

        Clips are clean at first, and all altered when `ALL_ALTERED_FROM` of the run is over.
        """
        share = min(1.0, progress / ALL_ALTERED_FROM)
        size = round(self.rng.choice(CLIP_SECONDS) * SAMPLE_RATE)
        values = np.zeros((BATCH_SIZE, size), np.float32)
        chosen = self.rng.sample(range(len(self.speakers)), BATCH_SIZE // 2)
        labels = [speaker for speaker in chosen for _ in range(2)]
        for row, label in zip(values, labels, strict=True):
            samples = self._load(self.speakers[label], size)
            if self.rng.random() < share:  # but not in tempo: that would make another person
                samples = self.augmenter.reshape(samples, size, spread=0.0, tone_db=2.0)[:size]
            row[: len(samples)] = samples
            self.augmenter.add_noise(row, share=0.7 * share, levels_db=(8.0, 40.0))
            row[:] = FRONTEND(row)
        return torch.from_numpy(values), torch.tensor(labels)

    def _load(self, utterances: Sequence[Utterance], size: int) -> Samples:
        """Cut a piece out of what one person says, one utterance after the other."""
        parts: list[Samples] = []
        while sum(map(len, parts)) < size:
            chosen = self.rng.choice(utterances)
            stored = self.samples[chosen.shard][chosen.start : chosen.start + chosen.length]
            parts.append(np.asarray(stored, np.float32) / 32768)
        joined = np.concatenate(parts)
        start = self.rng.randint(0, len(joined) - size)
        return joined[start : start + size]


class NormedLinear(nn.Linear):
    """A linear layer after a batch norm."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) to (B, X), by the statistics of the batch."""
        return super().forward(F.batch_norm(x, None, None, training=True, eps=BATCH_NORM_EPS))


class Learner(Wav2Vec2ForXVector):
    """The model as it is trained: on pairs of clips, with a float32 head and a batch norm in it.

    The pairs teach from the first step on, while a thousand speakers are too many to begin with.
    The statistics of two voices over time differ by a few percent, which bfloat16 would round away
    and an embedding without the norm hardly sees.
    """

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__(config)
        plain = self.feature_extractor
        self.feature_extractor = NormedLinear(plain.in_features, plain.out_features)

    def encode(
        self, values: Tensor, lengths: Tensor | None, *, output_hidden_states: bool
    ) -> tuple[Tensor, EncoderOutput]:
        """As the head's, in float32."""
        features, encoded = super().encode(
            values, lengths, output_hidden_states=output_hidden_states
        )
        return features.float(), encoded

    def forward(self, values: Tensor, *, labels: Tensor) -> XVectorOutput:  # type: ignore[override]
        """Embed values (B, T); the loss for speakers (B,), each of them twice, side by side."""
        output = super().forward(values, labels=labels)
        unit = F.normalize(output.embeddings, dim=1)
        cosines = (PAIR_SCALE * unit @ unit.T).fill_diagonal_(-math.inf)
        pair_loss = F.cross_entropy(cosines, torch.arange(len(labels)) ^ 1)
        return replace(output, loss=pair_loss + SPEAKER_WEIGHT * output.loss)


def build_learner(num_speakers: int, *, start: str, seed: int) -> Learner:
    """Make the untrained model for so many speakers; its first convolution and norm are final.

    Up to the head it begins as the model `start`, of which it has the first layers.
    """
    torch.manual_seed(seed)
    labels = {number: f"speaker {number}" for number in range(num_speakers)}
    model = Learner(replace(CONFIG, id2label=labels))
    learnt = asrkit.load_model(start, head="base").state_dict()
    model.base.load_state_dict({name: learnt[name] for name in model.base.state_dict()})
    fix_first_layer(model.base)
    model.objective.weight.data.mul_(0.1)  # only directions count: shorter ones turn faster
    # The loss sees the embeddings themselves, whose cosine is what counts in the end.
    model.classifier.weight.data.copy_(torch.eye(CONFIG.xvector_output_dim))
    model.classifier.bias.data.zero_()
    model.classifier.requires_grad_(False)
    return model


@torch.inference_mode()
def fold_norm(weights: dict[str, Tensor], batches: BatchMaker) -> dict[str, Tensor]:
    """Make the batch norm a part of the layer after it, by the statistics of some batches."""
    num_speakers = weights["objective.weight"].shape[1]
    model = Wav2Vec2ForXVector(replace(CONFIG, id2label=dict.fromkeys(range(num_speakers), "")))
    model.load_state_dict(weights)
    pooled: list[Tensor] = []
    model.feature_extractor.register_forward_pre_hook(lambda _, inputs: pooled.extend(inputs[0]))
    for _ in range(NORM_BATCHES):
        model(batches.draw(1.0)[0])
    variance, mean = torch.var_mean(torch.stack(pooled), dim=0, correction=0)
    weight = weights["feature_extractor.weight"] * torch.rsqrt(variance + BATCH_NORM_EPS)
    return weights | {
        "feature_extractor.weight": weight,
        "feature_extractor.bias": weights["feature_extractor.bias"] - weight @ mean,
    }


# ------------------------------------------------------------------------------------- measuring


@dataclass(frozen=True)
class Score:
    """How a set of trials came out: equal error rate in percent, and detection costs."""

    name: str
    num_targets: int
    num_others: int
    threshold: float
    equal_error_rate: float
    min_dcf_05: float
    min_dcf_01: float


def embed(embedder: Embedder, samples: Samples) -> Vector:
    """Make the vector of one clip."""
    (result,) = asrkit.embed(Audio(samples, SAMPLE_RATE), embedder)
    return result.vector


def measure(embedder: Embedder, name: str, trials: TrialSet) -> Score:
    """Score every pair of a set, each clip embedded alone."""
    vectors = [embed(embedder, clip) for clip in trials.clips]
    scores = [cosine(vectors[first], vectors[second]) for first, second, _ in trials.pairs]
    is_target = [is_same for _, _, is_same in trials.pairs]
    others = [score for score, is_same in zip(scores, is_target, strict=True) if not is_same]
    rate = equal_error_rate(scores, is_target)
    score = Score(
        name,
        sum(is_target),
        len(others),
        float(np.quantile(others, 1 - rate)),
        100 * rate,
        min_detection_cost(scores, is_target, p_target=0.05),
        min_detection_cost(scores, is_target, p_target=0.01),
    )
    log.info(
        "%-50s %4d + %4d trials  threshold %.2f  EER %5.1f  minDCF .05 %.2f  .01 %.2f",
        *astuple(score),
    )
    return score


# ------------------------------------------------------------------------------------- exporting

CARD = """\
---
language: en
license: apache-2.0
library_name: asrkit
tags: [speaker-verification]
---
# demo-speaker

A very small Wav2Vec2 x-vector model that comes with asrkit, so that `asrkit embed`, its examples
and tests have something to run without a download. It turns speech of a second or more into
{dimensions} numbers; the cosine of two such vectors says how alike the voices are.

**It is not made for people.** It learned from the voices of two speech synthesisers alone. Do not
decide anything about a person with it.

## Results

Each clip embedded alone, the weights of this folder in float32, no score normalisation. Nobody in
these trials was heard as a speaker in training, and nobody says the same sentence twice.

| trials | same + different | EER % | minDCF 0.05 | minDCF 0.01 |
|---|---:|---:|---:|---:|
{rows}

The unknown people are {num_people} synthetic ones: {num_men} men's and {num_women} women's variants
of espeak-ng that are not in the training data, each with two accents, pitches and sizes:
{variants}.
"One voice" are the pairs of those two alone. The model began as demo-keywords, which has learnt
words from all of these variants but m5, Andy and f4. Clips have one to six seconds, two at the
median; by telephone means 300 to 3400 Hz, with noise 15 dB below the speech. minDCF is for target
priors of 0.05 and 0.01 and costs of 1; 1 is what accepting nobody costs.
{digits_note}
At the threshold {threshold:.2f} both errors of the first row are equal. It belongs to these voices:
others need their own.

## How it was made

`python examples/train_demo_speaker.py` makes everything again on one or two CPU cores:

- {num_utterances} sentences ({hours:.1f} hours) by {num_speakers} synthetic people: accents and
  variants of espeak-ng, {num_written} of them written at random for this purpose, and three voices
  of flite, each with a pitch and a size of its own. A person's texts and rate change, and while
  training tone, telephone band, echo and noise (8 to 40 dB below the speech).
- {num_parameters:,} parameters in float16: six convolutions (the first a fixed bank of Gabor
  filters, the last two of stride 1), one transformer layer 128 wide, one frame every 20 ms, three
  time-delay layers (7 frames), mean and deviation over time. A batch norm before the last layer is
  folded into it, and the classifier is the identity. {num_objective:,} of the parameters are the
  loss's matrix of speakers.
- It began as demo-keywords, of which it has the convolutions and the first transformer layer:
  {minutes:.0f} minutes in one process on a busy machine, {steps:,} steps of {batch} clips,
  {seen:.0f} hours of audio passed through. A batch has two clips of each of {half_batch} people.
  The loss finds the partner of each clip by the cosine (scale {pair_scale:.0f}), with
  {speaker_weight} of an AM-softmax over all people (scale 30, margin up to {margin}). AdamW with a
  rate of {rate} that falls to 2 % of it.

## Licence

Apache-2.0, as asrkit. All speech is output of espeak-ng (the program is under GPL v3) and flite
(BSD-like; its voices rms and slt come from the CMU ARCTIC recordings). Neither program is part of
this folder.
"""
_DIGITS_NOTE = """
The real people are five speakers of the Free Spoken Digit Dataset (CC BY-SA 4.0), each recorded in
one place with one microphone, which helps to tell them apart; none was trained on.
"""


def write_card(folder: Path, scores: Sequence[Score], facts: dict[str, Any]) -> None:
    """Write the model card with the measured numbers."""
    rows = "\n".join(
        f"| {s.name} | {s.num_targets} + {s.num_others} | {s.equal_error_rate:.1f}"
        f" | {s.min_dcf_05:.2f} | {s.min_dcf_01:.2f} |"
        for s in scores
    )
    (folder / "README.md").write_text(
        CARD.format(
            rows=rows,
            num_people=sum(map(len, held_out_people().values())),
            num_men=len(HELD_OUT_MEN),
            num_women=len(HELD_OUT_WOMEN),
            variants=textwrap.fill(", ".join((*HELD_OUT_MEN, *HELD_OUT_WOMEN)), 100),
            dimensions=CONFIG.xvector_output_dim,
            num_written=NUM_WRITTEN,
            margin=MARGIN,
            pair_scale=PAIR_SCALE,
            speaker_weight=SPEAKER_WEIGHT,
            batch=BATCH_SIZE,
            half_batch=BATCH_SIZE // 2,
            rate=PEAK_RATE,
            threshold=scores[0].threshold,
            **facts,
        )
    )


def make_examples(embedder: Embedder, folder: Path, seed: int = 11) -> None:
    """Write clips of three held-out people, two each, and trials beside the folder.

    A line of `trials.txt` is a pair, as Kaldi has it: two paths that begin where the file is, and
    target or nontarget.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    by_sex = held_out_people()
    people = {"a": by_sex["men"][0], "b": by_sex["men"][4], "c": by_sex["women"][0]}
    texts = iter(held_out_sentences(6, rng))
    clips: dict[str, Samples] = {}
    for (name, person), number in itertools.product(people.items(), (1, 2)):
        line = person.line(next(texts), rng)
        clip = speak(line.text, line.voice, line.manner)[: round(2.5 * SAMPLE_RATE)]
        path = folder / f"{name}-{number}.opus"
        soundfile.write(path, clip, SAMPLE_RATE, format="OGG", subtype="OPUS")
        clips[path.name] = clip
    vectors = {name: embed(embedder, clip) for name, clip in clips.items()}
    lines = []
    for first, second in itertools.combinations(clips, 2):
        kind = "target" if first[0] == second[0] else "nontarget"
        lines.append(f"{folder.name}/{first} {folder.name}/{second} {kind}\n")
        log.info(
            "%s %s %-9s %.2f",
            *(first, second, kind, cosine(vectors[first], vectors[second])),
        )
    (folder.parent / "trials.txt").write_text("".join(lines))


# ------------------------------------------------------------------------------------------ main


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    add = parser.add_argument
    add("--digits", type=Path, help="tar archive of the Free Spoken Digit Dataset's recordings")
    add("--work", type=Path, default=Path("speaker-work"), help="for speech and checkpoints")
    add("--out", type=Path, default=Path("demo-speaker"), help="folder for the exported model")
    add("--start", default=DEMO_KEYWORDS, help="model to begin from (default: %(default)s)")
    add("--examples", type=Path, help="also write example clips into this folder")
    add("--utterances", type=int, default=14_000, help="spoken sentences (default: %(default)s)")
    add("--minutes", type=float, default=20, help="training time (default: %(default)s)")
    add("--processes", type=int, default=2, help="that synthesise (default: %(default)s)")
    add("--seed", type=int, default=1, help="of everything random (default: %(default)s)")
    return parser.parse_args()


def main() -> None:
    """Synthesise, train, measure, export; skip what is already done."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    options = parse_options()
    restart_as_worker()
    options.work.mkdir(parents=True, exist_ok=True)
    write_variants(options.work / "espeak", options.seed)
    store = SpeechStore(
        options.work / "speech", sample_line, seed=options.seed, num_shards=options.processes
    )
    synthesise(store, options.utterances)
    batches = BatchMaker(store, options.seed)
    model = build_learner(len(batches.speakers), start=options.start, seed=options.seed)

    def draw(progress: float) -> tuple[Tensor, Tensor]:
        model.objective.margin = MARGIN * min(1.0, progress / FULL_MARGIN_FROM)
        return batches.draw(progress)

    state = train_alone(
        model,
        draw,
        options.work / "checkpoint.pt",
        Schedule(options.minutes, PEAK_RATE),
        rounded=model.base,
    )
    document = describe(CONFIG, "Wav2Vec2ForXVector", num_labels=len(batches.speakers))
    write_checkpoint(fold_norm(state["model"], batches), options.out, document)
    embedder = Embedder.load(ModelOptions(model=str(options.out)))
    recordings = DigitRecordings(options.digits) if options.digits else None
    scores = [measure(embedder, *item) for item in evaluation_trials(recordings).items()]
    utterances = store.utterances()
    facts = {
        "num_speakers": len(batches.speakers),
        "num_utterances": f"{len(utterances):,}",
        "hours": sum(utterance.seconds for utterance in utterances) / 3600,
        "num_parameters": sum(weight.numel() for weight in embedder.model.parameters()),
        "num_objective": embedder.model.objective.weight.numel(),
        "minutes": state["elapsed_s"] / 60,
        "steps": state["step"],
        "seen": state["hours_seen"],
        "digits_note": _DIGITS_NOTE if recordings else "",
    }
    write_card(options.out, scores, facts)
    if options.examples:
        make_examples(embedder, options.examples)


if __name__ == "__main__":
    main()
