"""What the demo speech recogniser is, how it is measured, and the folder it is shipped as.

The configuration and the characters, greedy decoding and error rates, the exported checkpoint with
its card, and the example clips. `train_demo_ctc.py` makes the weights.
"""

from __future__ import annotations

import csv
import json
import logging
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from demo_corpus import held_out_sentences
from demo_speech import SAMPLE_RATE, Clip, Manner, Samples, Voice, speak
from safetensors.torch import save_file
from torch import Tensor

import asrkit
from asrkit import Audio, Recognizer
from asrkit.models.wav2vec2 import Wav2Vec2Config
from asrkit.options import DecodingOptions, ModelOptions

log = logging.getLogger("demo")

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


def encode(text: str) -> list[int]:
    """Turn a sentence into token ids, with `|` between words."""
    return [TOKENS.index(letter) for letter in text.replace(" ", "|")]


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


def transcribe(recognizer: Recognizer, samples: Samples) -> str:
    """Recognise one clip with greedy decoding."""
    greedy = DecodingOptions(decoder="greedy")
    (result,) = asrkit.transcribe(Audio(samples, SAMPLE_RATE), recognizer, decoding=greedy)
    return result.text


def measure(recognizer: Recognizer, name: str, clips: Sequence[Clip]) -> Score:
    """Recognise every clip of a set, one at a time, and count the errors."""
    wrong_words = wrong_letters = num_words = num_letters = num_right = 0
    for clip in clips:
        heard = transcribe(recognizer, clip.samples)
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
CTC_KEYS = {
    "bos_token_id": 1,
    "eos_token_id": 2,
    "ctc_loss_reduction": "mean",
    "ctc_zero_infinity": True,
}
TRAINING_KEYS = {
    "model_type": "wav2vec2",
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


def export(weights: dict[str, Tensor], folder: Path) -> Recognizer:
    """Write the checkpoint folder, but for the card, and load it again as users do."""
    special = {key: value for key, value in TOKENIZER.items() if key in _SPECIAL_TOKENS}
    documents = {
        "vocab.json": {token: number for number, token in enumerate(TOKENS)},
        "tokenizer_config.json": TOKENIZER,
        "special_tokens_map.json": special,
    }
    write_checkpoint(weights, folder, describe(CONFIG, "Wav2Vec2ForCTC", **CTC_KEYS), documents)
    return Recognizer.load(ModelOptions(model=str(folder)))


def describe(config: Wav2Vec2Config, architecture: str, **keys: Any) -> dict[str, Any]:
    """Make the content of a config.json: what differs from the defaults, and more `keys`."""
    usual = asdict(type(config)())
    content = {name: value for name, value in asdict(config).items() if value != usual[name]}
    content |= TRAINING_KEYS | {"architectures": [architecture]}
    content["num_feat_extract_layers"] = len(config.conv_dim)
    return dict(sorted((content | keys).items()))


def write_checkpoint(
    weights: dict[str, Tensor],
    folder: Path,
    config: dict[str, Any],
    documents: dict[str, dict[str, Any]] | None = None,
) -> None:
    """Write a checkpoint folder: float16 weights, config.json, and JSON documents by name."""
    folder.mkdir(parents=True, exist_ok=True)
    rounded = {name: tensor.half().contiguous() for name, tensor in weights.items()}
    save_file(rounded, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)  # safetensors lets only the owner read it
    standard = {"config.json": config, "preprocessor_config.json": PREPROCESSOR}
    for name, document in (standard | (documents or {})).items():
        (folder / name).write_text(json.dumps(document, indent=2) + "\n")


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
something to run without a download. It spells what it hears in capital letters. It knows
{num_words} words about a talking house: lamps, alarms, dates, numbers, trains, food, weather, and
who carried which basket. `language_model/unigrams.txt` lists them.

**It is not a speech recogniser for people.** It learned from synthetic voices, and from real ones
only single digits. From a microphone expect nothing of sentences, and digits only when spoken
clearly, with some silence around them.

## Results

Greedy decoding, no dictionary or language model, one clip at a time, the weights of this folder in
float32. No sentence was in the training data; no unknown voice or speaker was either.

| set | clips | words | WER % | CER % | clips all right % |
|---|---:|---:|---:|---:|---:|
{rows}

"Free sentences" were written by hand and follow no template. The known voices are six English
accents of espeak-ng in {num_variants} variants, and rms, slt and kal16 of flite. Unknown are the
variants f4, m5 and Andy and the Scottish accent of espeak-ng, awb of flite (made from a real
Scottish speaker), and the digit speaker {speaker}.

The frames at both ends of a clip see less, so leave 0.2 s of silence around what is cut tightly.
Most errors are spelling errors, which a word list or a language model mends. The folder brings a
trigram model over the domain, and `asrkit transcribe` uses it; its text holds none of the sentences
above. `python examples/domain_lm.py --digits digits.tar` measures what it is worth:

{lm_table}

The model's text follows the same templates as the held-out sentences, so the free sentences are the
fair row.

## How it was made

`python examples/train_demo_ctc.py --digits digits.tar` makes everything again on two CPU cores:

- {num_utterances} utterances ({hours:.0f} hours), half spoken by espeak-ng and half by flite:
  sentences from templates, random words, strings of digits, at 16 kHz. Tempo, tone, telephone
  band, echo and noise are changed lightly while training.
- Strings of recorded digits of four speakers of the Free Spoken Digit Dataset, in
  {digit_share:.0%} of the batches, more at the end.
- {num_parameters:,} parameters: six convolutions (the first a fixed bank of Gabor filters, the
  last two of stride 1), four transformer layers 160 wide, one frame every 20 ms, in float16.
- {minutes:.0f} minutes, {steps:,} steps, {seen:.0f} hours of audio passed through. AdamW with a
  rate of {rate} that falls to 2 % of it; a second CTC loss on phonemes at layer {layer}, whose
  head is not part of this folder.

## Licences

The weights are under CC BY-SA 4.0, because recordings of the Free Spoken Digit Dataset
(<https://github.com/Jakobovski/free-spoken-digit-dataset>, CC BY-SA 4.0) went into them. All other
speech is output of espeak-ng (the program is under GPL v3) and flite (BSD-like; its voices rms,
slt and awb come from the CMU ARCTIC recordings). Neither program is part of this folder.
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
    ExampleSpec("studio-44khz.wav", Voice("espeak", "en-gb-x-rp"), rate=44_100),
    ExampleSpec("stereo.wav", Voice("espeak", "en-us+m3"), num_channels=2),
)
LONG_VOICES = (
    *(Voice("espeak", name) for name in ("en-us", "en-gb", "en-us+f2", "en-gb+m3")),
    *(Voice("flite", name) for name in ("rms", "slt")),
)
CALM = Manner(rate=0.85)


def _recognised(
    recognizer: Recognizer, voices: Sequence[Voice], texts: Iterator[str]
) -> Iterator[Clip]:
    """Speak held-out sentences, one voice after the other, and keep what the model gets right."""
    number = 0
    for text in texts:
        samples = speak(text, voices[number % len(voices)], CALM)
        if transcribe(recognizer, samples) == text:
            number += 1
            yield Clip(text, samples)


def make_examples(recognizer: Recognizer, folder: Path, seed: int = 11) -> None:
    """Write short clips in several formats and one of two minutes, with what is said in them.

    The sentences are held out; of those, ones that the model gets right by itself are taken.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    texts = iter(held_out_sentences(300, rng))
    transcripts = []
    for spec in EXAMPLES:
        clip = next(_recognised(recognizer, [spec.voice], texts))
        samples = soxr.resample(clip.samples, SAMPLE_RATE, spec.rate, quality="HQ")
        if spec.num_channels == 2:
            samples = np.stack([samples, 0.7 * samples], axis=1)
        soundfile.write(folder / spec.name, samples, spec.rate)
        transcripts.append((spec.name, clip.text))
    parts, spans, now = [], [], 0
    for clip in _recognised(recognizer, LONG_VOICES, texts):
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
    # Beside the folder, so that folder/* is audio and nothing else.
    rows = [(f"{folder.name}/{name}", text) for name, text in transcripts]
    write_table(folder.parent / "transcripts.tsv", ("audio_filepath", "text"), rows)
    rounded = [(f"{start:.3f}", f"{end:.3f}", text) for start, end, text in spans]
    write_table(folder.parent / "two-minutes.tsv", ("start", "end", "text"), rounded)
    for name, text in transcripts:
        samples, rate = soundfile.read(folder / name, dtype="float32", always_2d=True)
        heard = transcribe(recognizer, soxr.resample(samples.mean(axis=1), rate, SAMPLE_RATE))
        wrong = edit_distance(text.split(), heard.split())
        log.info("%-20s %3d words, %d wrong", name, len(text.split()), wrong)


def write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write tab-separated values under a header."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerows([header, *rows])
