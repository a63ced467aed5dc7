"""Train the embedded keyword classifier from nothing, on one or two CPU cores.

One command synthesises the speech, trains, measures and exports:

    python examples/train_demo_keywords.py --out asrkit/assets/demo-keywords

It needs espeak-ng and flite on the path. A stopped run goes on from its work directory when the
same command is given again. `--digits digits.tar` (recordings of the Free Spoken Digit Dataset)
only adds a set to measure on: the model is trained on synthetic speech alone.
"""

from __future__ import annotations

import argparse
import logging
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from demo_checkpoint import describe, write_checkpoint, write_table
from demo_keywords import (
    COMMANDS,
    LABELS,
    SILENCE,
    UNKNOWN,
    evaluation_sets,
    label_of,
    make_silence,
    sample_line,
)
from demo_speech import (
    HELD_OUT_ESPEAK,
    MORE_VARIANTS,
    SAMPLE_RATE,
    VARIANTS,
    Augmenter,
    Clip,
    DigitRecordings,
    Manner,
    Samples,
    SpeechStore,
    Utterance,
    speak,
)
from demo_training import Schedule, fix_first_layer, restart_as_worker, synthesise, train_alone
from torch import Tensor

import asrkit
from asrkit import Audio
from asrkit.frontend import WaveformFrontend
from asrkit.models.wav2vec2 import Wav2Vec2Config, Wav2Vec2ForSequenceClassification
from asrkit.options import ModelOptions
from asrkit.tasks.classify import Classifier

log = logging.getLogger("demo")

FRONTEND = WaveformFrontend()
CONFIG = Wav2Vec2Config(
    vocab_size=1,
    hidden_size=128,
    num_hidden_layers=3,
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
    classifier_proj_size=64,
    id2label=dict(enumerate(LABELS)),
)
PEAK_RATE = 1.5e-3
BATCH_SIZE = 32
CLIP_SECONDS = (0.6, 0.8, 1.0, 1.0, 1.25, 1.5, 2.0)
UNKNOWN_SHARE = 0.32
SILENCE_SHARE = 0.07


# ------------------------------------------------------------------------------------------ data


class BatchMaker:
    """Draws augmented clips of one length a batch, without end."""

    def __init__(self, store: SpeechStore, seed: int) -> None:
        """Sort the corpus by label."""
        self.rng = random.Random(seed)
        self.augmenter = Augmenter(seed)
        self.words: dict[str, list[Utterance]] = {label: [] for label in (*COMMANDS, UNKNOWN)}
        for utterance in store.utterances():
            self.words[label_of(utterance.text)].append(utterance)
        self.samples = store.samples()

    def draw(self, _: float) -> tuple[Tensor, Tensor]:
        """Make normalised values (B, T), all samples valid, and classes (B,)."""
        size = round(self.rng.choice(CLIP_SECONDS) * SAMPLE_RATE)
        values = np.zeros((BATCH_SIZE, size), np.float32)
        labels = [self._draw_label() for _ in range(BATCH_SIZE)]
        for row, label in zip(values, labels, strict=True):
            if label == SILENCE:
                row[:] = make_silence(size, self.augmenter.rng)
            else:
                self._fill(row, label)
            row[:] = FRONTEND(row)
        return torch.from_numpy(values), torch.tensor([LABELS.index(label) for label in labels])

    def _draw_label(self) -> str:
        share = self.rng.random()
        if share < SILENCE_SHARE:
            return SILENCE
        return UNKNOWN if share < SILENCE_SHARE + UNKNOWN_SHARE else self.rng.choice(COMMANDS)

    def _fill(self, row: Samples, label: str) -> None:
        """Put a spoken word, or a piece of other speech, somewhere into a row."""
        while True:
            utterance = self.rng.choice(self.words[label])
            start = utterance.start + self.rng.randint(0, 700)
            stop = utterance.start + utterance.length - self.rng.randint(0, 700)
            samples = np.asarray(self.samples[utterance.shard][start:stop], np.float32) / 32768
            if " " in utterance.text:  # of a phrase any piece will do
                length = round(len(samples) * self.rng.uniform(0.3, 1.0))
                start = self.rng.randint(0, len(samples) - length)
                samples = samples[start : start + length][: len(row)]
            if len(samples) <= len(row):
                break
        samples = self.augmenter.reshape(samples, len(row), spread=0.12, tone_db=3.0)[: len(row)]
        start = self.rng.randint(0, len(row) - len(samples))
        row[start : start + len(samples)] = samples
        self.augmenter.add_noise(row, share=0.7, levels_db=(5.0, 40.0))


# ------------------------------------------------------------------------------------- measuring


@dataclass(frozen=True)
class Score:
    """How a set came out: pairs of label and answer, counted."""

    name: str
    pairs: Counter[tuple[str, str]]

    @property
    def num_clips(self) -> int:
        """How many clips there are."""
        return self.pairs.total()

    @property
    def accuracy(self) -> float:
        """Share of right answers in percent."""
        return (
            100
            * sum(n for (label, heard), n in self.pairs.items() if label == heard)
            / self.num_clips
        )

    def recall(self, label: str) -> float:
        """Share of right answers among a label's clips in percent."""
        total = sum(n for (true, _), n in self.pairs.items() if true == label)
        return 100 * self.pairs[label, label] / total

    def precision(self, label: str) -> float:
        """Share of right answers among those that are the label in percent."""
        total = sum(n for (_, heard), n in self.pairs.items() if heard == label)
        return 100 * self.pairs[label, label] / max(1, total)

    def mistaken_for(self, label: str, limit: int = 2) -> str:
        """What a label's clips are taken for most often, with counts."""
        wrong = Counter(
            {h: n for (true, h), n in self.pairs.items() if true == label and h != true}
        )
        return ", ".join(f"{heard} {n}" for heard, n in wrong.most_common(limit))


def classify(classifier: Classifier, samples: Samples) -> str:
    """Name the likeliest label of one clip."""
    (result,) = asrkit.classify(Audio(samples, SAMPLE_RATE), classifier)
    return result.labels[0].name


def measure(classifier: Classifier, name: str, clips: Sequence[Clip]) -> Score:
    """Classify every clip of a set, one at a time."""
    score = Score(name, Counter((clip.text, classify(classifier, clip.samples)) for clip in clips))
    log.info("%-45s %4d clips  %5.1f %% right", name, score.num_clips, score.accuracy)
    return score


# ------------------------------------------------------------------------------------- exporting

CARD = """\
---
language: en
license: apache-2.0
library_name: asrkit
pipeline_tag: audio-classification
---
# demo-keywords

A very small Wav2Vec2 classifier that comes with asrkit, so that `asrkit classify`, its examples and
tests have something to run without a download. In a clip of half a second to two seconds it hears
`_silence_`, speech that is `_unknown_`, or one of twelve commands:
{commands}.

**It is not made for people.** It learned from the voices of two speech synthesisers alone. Expect
little of a microphone.

## Results

One clip at a time, the weights of this folder in float32. No voice called unknown was heard in
training. In the balanced sets every one of the {num_labels} labels has as many clips.

| set | clips | right % |
|---|---:|---:|
{rows}

By label, in "{headline}":

| label | recall % | precision % | taken for |
|---|---:|---:|---|
{label_rows}

Words stand somewhere in 1 to 2 seconds of faint noise. Half of the `_unknown_` clips of the
balanced sets are words that sound nearly like a command ("snow", "top", "of"), the other half words
never heard in training. `_silence_` is noise, hum, crackle, or nothing at all. Words that sound
exactly like a command ("know", "write") are in no set: no classifier can tell them apart. Unknown
are the variants f4, m5 and Andy and the Scottish accent of espeak-ng, and awb of flite (made from a
real Scottish speaker).
{digits_note}
## How it was made

`python examples/train_demo_keywords.py` makes everything again on one or two CPU cores:

- {num_utterances} utterances ({hours:.1f} hours) of single words and short phrases, 70 % of them by
  espeak-ng (six accents, {num_variants} variants, pitch and size of the speaker at random), 30 % by
  flite (rms, slt, kal16). Tempo, tone, telephone band, echo and noise (5 to 40 dB below the speech)
  are changed while training; silence is made on the fly.
- {num_parameters:,} parameters: six convolutions (the first a fixed bank of Gabor filters, the last
  two of stride 1), three transformer layers 128 wide, one frame every 20 ms, the mean over time, in
  float16.
- {minutes:.0f} minutes in one process on a busy machine: {steps:,} steps of {batch} clips,
  {seen:.0f} hours of audio passed through. AdamW with a rate of {rate} that falls to 2 % of it.

## Licence

Apache-2.0, as asrkit. All speech is output of espeak-ng (the program is under GPL v3) and flite
(BSD-like; its voices rms, slt and awb come from the CMU ARCTIC recordings). Neither program is part
of this folder.
"""
_DIGITS_NOTE = """
The real digits are recordings of the Free Spoken Digit Dataset (CC BY-SA 4.0); none was trained
on, and `_unknown_` is the right answer to each.
"""


def write_card(folder: Path, scores: Sequence[Score], facts: dict[str, Any]) -> None:
    """Write the model card with the measured numbers."""
    headline = scores[0]
    (folder / "README.md").write_text(
        CARD.format(
            rows="\n".join(f"| {s.name} | {s.num_clips} | {s.accuracy:.1f} |" for s in scores),
            label_rows="\n".join(
                f"| {label} | {headline.recall(label):.0f} | {headline.precision(label):.0f}"
                f" | {headline.mistaken_for(label)} |"
                for label in LABELS
            ),
            headline=headline.name,
            commands=", ".join(COMMANDS),
            num_labels=len(LABELS),
            num_variants=len({*VARIANTS, *MORE_VARIANTS}),
            batch=BATCH_SIZE,
            rate=PEAK_RATE,
            **facts,
        )
    )


EXAMPLES = {
    "yes.flac": "yes",
    "stop.flac": "stop",
    "left.flac": "left",
    "go.flac": "go",
    "unknown.flac": "snow",
}


def make_examples(classifier: Classifier, folder: Path, seed: int = 11) -> None:
    """Write a few short clips of held-out voices, and their labels beside the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    noise = np.random.default_rng(seed).standard_normal(2 * SAMPLE_RATE) * 5e-5
    rows = []
    for number, (name, text) in enumerate(EXAMPLES.items()):
        voice = HELD_OUT_ESPEAK[number % len(HELD_OUT_ESPEAK)]
        spoken = speak(text, voice, Manner(0.85, rng.randint(40, 60)))
        clip = np.pad(0.3 * spoken, rng.randint(2000, 3000)).astype(np.float32)
        soundfile.write(folder / name, clip + noise[: len(clip)], SAMPLE_RATE)
        rows.append((f"{folder.name}/{name}", label_of(text)))
    soundfile.write(folder / "silence.flac", noise[:SAMPLE_RATE], SAMPLE_RATE)
    rows.append((f"{folder.name}/silence.flac", SILENCE))
    write_table(folder.parent / f"{folder.name}.tsv", ("audio_filepath", "label"), rows)
    for name, label in rows:
        samples, _ = soundfile.read(folder.parent / name, dtype="float32")
        log.info("%-24s %-10s heard as %s", name, label, classify(classifier, samples))


# ------------------------------------------------------------------------------------------ main


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    add = parser.add_argument
    add("--digits", type=Path, help="tar archive of the Free Spoken Digit Dataset's recordings")
    add("--work", type=Path, default=Path("keywords-work"), help="for speech and checkpoints")
    add("--out", type=Path, default=Path("demo-keywords"), help="folder for the exported model")
    add("--examples", type=Path, help="also write example clips into this folder")
    add("--utterances", type=int, default=44_000, help="spoken words (default: %(default)s)")
    add("--minutes", type=float, default=36, help="training time (default: %(default)s)")
    add("--processes", type=int, default=2, help="that synthesise (default: %(default)s)")
    add("--seed", type=int, default=1, help="of everything random (default: %(default)s)")
    return parser.parse_args()


def main() -> None:
    """Synthesise, train, measure, export; skip what is already done."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    options = parse_options()
    restart_as_worker()
    options.work.mkdir(parents=True, exist_ok=True)
    store = SpeechStore(
        options.work / "speech", sample_line, seed=options.seed, num_shards=options.processes
    )
    synthesise(store, options.utterances)
    torch.manual_seed(options.seed)
    model = Wav2Vec2ForSequenceClassification(CONFIG)
    fix_first_layer(model.base)
    state = train_alone(
        model,
        BatchMaker(store, options.seed).draw,
        options.work / "checkpoint.pt",
        Schedule(options.minutes, PEAK_RATE),
    )
    document = describe(
        CONFIG,
        "Wav2Vec2ForSequenceClassification",
        label2id={label: number for number, label in enumerate(LABELS)},
    )
    write_checkpoint(state["model"], options.out, document)
    classifier = Classifier.load(ModelOptions(model=str(options.out)))
    recordings = DigitRecordings(options.digits) if options.digits else None
    scores = [measure(classifier, *item) for item in evaluation_sets(recordings).items()]
    utterances = store.utterances()
    facts = {
        "num_utterances": f"{len(utterances):,}",
        "hours": sum(utterance.seconds for utterance in utterances) / 3600,
        "num_parameters": sum(weight.numel() for weight in classifier.model.parameters()),
        "minutes": state["elapsed_s"] / 60,
        "steps": state["step"],
        "seen": state["hours_seen"],
        "digits_note": _DIGITS_NOTE if recordings else "",
    }
    write_card(options.out, scores, facts)
    if options.examples:
        make_examples(classifier, options.examples)


if __name__ == "__main__":
    main()
