"""What the embedded translation model is, how it is measured, and the folder it is shipped as.

The configuration and the vocabulary, the exported checkpoint with its card, and the example clips.
`train_demo_translation.py` makes the weights.
"""

from __future__ import annotations

import csv
import logging
import random
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sentencepiece
import soundfile
from demo_checkpoint import write_checkpoint, write_table
from demo_speech import SAMPLE_RATE, Manner, Voice, speak
from demo_translation_corpus import LANGUAGES, held_out_triples
from demo_translation_speech import Clip
from demo_translation_words import Triple
from torch import Tensor

import asrkit
from asrkit import Audio, Generator
from asrkit.models.speech_to_text import Speech2TextConfig
from asrkit.options import ModelOptions

log = logging.getLogger("demo")

CONFIG = Speech2TextConfig(
    vocab_size=560,
    d_model=128,
    encoder_layers=5,
    encoder_attention_heads=4,
    encoder_ffn_dim=384,
    decoder_layers=2,
    decoder_attention_heads=4,
    decoder_ffn_dim=192,
    conv_channels=192,
)


# ------------------------------------------------------------------------------------ vocabulary


def make_pieces(path: Path, triples: Iterable[Triple]) -> None:
    """Learn the pieces that both languages are written with; digits stay apart."""
    texts = [getattr(triple, language) for triple in triples for language in LANGUAGES]
    with path.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=file,
            vocab_size=CONFIG.vocab_size,
            model_type="bpe",
            character_coverage=1.0,
            normalization_rule_name="identity",  # others bring tables of 240 kB
            split_digits=True,
            bos_id=0,
            pad_id=1,
            eos_id=2,
            unk_id=3,
            control_symbols=[_language_token(language) for language in LANGUAGES],
            minloglevel=2,
        )


def _language_token(language: str) -> str:
    return f"<lang:{language}>"


class Pieces:
    """The SentencePiece model of both languages; its numbers are those of vocab.json."""

    def __init__(self, path: Path) -> None:
        """Read what `make_pieces` wrote."""
        self._model = sentencepiece.SentencePieceProcessor(model_file=str(path))

    def encode(self, text: str, language: str) -> list[int]:
        """What the decoder is to write: the language, the pieces, the end."""
        first = self._model.piece_to_id(_language_token(language))
        return [first, *self._model.encode(text), self._model.eos_id()]

    def table(self) -> dict[str, int]:
        """Every piece with its number."""
        return {self._model.id_to_piece(i): i for i in range(self._model.get_piece_size())}


# ------------------------------------------------------------------------------------- measuring


@dataclass(frozen=True)
class Score:
    """How many clips of a set come out right to the letter, in percent, by language."""

    name: str
    num_clips: int
    share_right: dict[str, float]


def translate(generator: Generator, clips: Sequence[Clip], language: str) -> list[str]:
    """Translate clips, as users do."""
    audio = [Audio(clip.samples, SAMPLE_RATE) for clip in clips]
    found = asrkit.translate(audio, generator, target_language=language, batch_size=16)
    return [transcript.text for transcript in found]


def measure(generator: Generator, name: str, clips: Sequence[Clip]) -> Score:
    """Translate every clip of a set into both languages and count what is right to the letter."""
    share_right = {}
    for language in LANGUAGES:
        written = translate(generator, clips, language)
        wanted = [getattr(clip.triple, language) for clip in clips]
        num_right = sum(a == b for a, b in zip(written, wanted, strict=True))
        share_right[language] = 100 * num_right / len(clips)
    score = Score(name, len(clips), share_right)
    log.info("%-36s %4d clips  right %s", name, len(clips), share_right)
    return score


# ------------------------------------------------------------------------------------- exporting

_SPECIAL_TOKENS = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
}
_LANGUAGE_TOKENS = [_language_token(language) for language in LANGUAGES]
TOKENIZER = {
    "tokenizer_class": "Speech2TextTokenizer",
    **_SPECIAL_TOKENS,
    "clean_up_tokenization_spaces": False,  # French has a space before a question mark
    "do_lower_case": False,
    "do_upper_case": False,
    "lang_codes": "mustc",
    "tgt_lang": LANGUAGES[0],
}
PREPROCESSOR = {
    "feature_extractor_type": "Speech2TextFeatureExtractor",
    "do_ceptral_normalize": True,
    "feature_size": 80,
    "normalize_means": True,
    "normalize_vars": True,
    "num_mel_bins": 80,
    "padding_side": "right",
    "padding_value": 0.0,
    "return_attention_mask": True,
    "sampling_rate": SAMPLE_RATE,
}
TRAINING_KEYS = {
    "architectures": ["Speech2TextForConditionalGeneration"],
    "model_type": "speech_to_text",
    "is_encoder_decoder": True,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "max_source_positions": 6000,
    "max_target_positions": 1024,
    **dict.fromkeys(
        (
            *("activation_dropout", "attention_dropout", "dropout"),
            *("decoder_layerdrop", "encoder_layerdrop"),
        ),
        0.0,
    ),
    "torch_dtype": "float16",
}
GENERATION = {
    "bos_token_id": 0,
    "pad_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
    "max_length": 80,
    "num_beams": 4,
}


def export(weights: dict[str, Tensor], pieces_path: Path, folder: Path) -> Generator:
    """Write the checkpoint folder, but for the card, and load it again as users do."""
    table = Pieces(pieces_path).table()
    languages = {"additional_special_tokens": _LANGUAGE_TOKENS}
    documents = {
        "generation_config.json": GENERATION | {"forced_bos_token_id": table[_LANGUAGE_TOKENS[0]]},
        "preprocessor_config.json": PREPROCESSOR,
        "vocab.json": table,
        "tokenizer_config.json": TOKENIZER | languages,
        "special_tokens_map.json": _SPECIAL_TOKENS | languages,
    }
    config = dict(sorted((asdict(CONFIG) | TRAINING_KEYS).items()))
    write_checkpoint(weights, folder, config, documents)
    shutil.copyfile(pieces_path, folder / "sentencepiece.bpe.model")
    return Generator.load(ModelOptions(model=str(folder)))


CARD = """\
---
language:
- en
- fr
- de
license: apache-2.0
library_name: asrkit
pipeline_tag: translation
---
# demo-translate

A very small Speech2Text model that comes with asrkit, so that `asrkit translate` has something to
run without a download. It hears English and writes French or German, `<lang:fr>` or `<lang:de>` as
the first token says:

    asrkit translate clip.flac --target-lang de

It knows {num_words} English words, about the time, dates, numbers and what one says to a house:
"it is half past seven" is "Il est sept heures et demie." and "Es ist halb acht."

**It is no translator for people.** It learned from synthetic voices and a grammar, and whatever it
hears becomes a sentence of that grammar. From a microphone expect nothing.

## Results

Percent of clips whose translation is right to the letter, punctuation included, with the files of
this folder in float32, decoded as `generation_config.json` says. No sentence was in the training
data, neither its English nor its translations; no unknown voice was either.

| set | clips | French | German |
|---|---:|---:|---:|
{rows}

The sentences are drawn from the grammar and held out by a checksum of their English, one in forty.
The known voices are six English accents of espeak-ng in {num_variants} variants, and rms, slt and kal16 of
flite. Unknown are the variants f4, m5 and Andy and the Scottish accent of espeak-ng, and awb of
flite, which is made from a real Scottish speaker.

In the second row each clip has a second of digital silence on either side. Training heard no more,
and features are normalised over the clip, so longer silence costs accuracy.

## How it was made

`python examples/train_demo_translation.py` makes everything again on two CPU cores:

- {num_utterances} utterances ({hours:.0f} hours) of {num_sentences} sentences, three in four spoken
  by espeak-ng and the others by flite, at 16 kHz. Tempo, formants, silence around the sentence and
  noise are changed lightly while training.
- {num_parameters:,} parameters: two convolutions, {config.encoder_layers} encoder and
  {config.decoder_layers} decoder layers {config.d_model} wide, tied embeddings of
  {config.vocab_size} pieces for both languages, in float16.
- {minutes:.0f} minutes, {steps:,} steps, {seen:.0f} hours of audio passed through, each utterance
  decoded into both languages. AdamW with a rate of {rate} that falls to 2 % of it; CTC losses on
  English phonemes at encoder layer {layer} and on English words at the last, whose heads are not
  part of this folder.

## Licence

Apache 2.0, as asrkit. All speech is output of espeak-ng (the program is under GPL v3) and flite
(BSD-like; its voices rms and slt come from the CMU ARCTIC recordings); neither program is part of
this folder. No recording of a person was used.
"""


def write_card(folder: Path, scores: Sequence[Score], facts: dict[str, Any]) -> None:
    """Write the model card with the measured numbers."""
    rows = "\n".join(
        f"| {s.name} | {s.num_clips} | {s.share_right['fr']:.1f} | {s.share_right['de']:.1f} |"
        for s in scores
    )
    (folder / "README.md").write_text(
        CARD.format(rows=rows, config=CONFIG, **facts), encoding="utf-8"
    )


# --------------------------------------------------------------------------------- example clips

CALM = Manner(rate=0.85)
EXAMPLES = (
    ("time.opus", "IT IS HALF PAST", Voice("espeak", "en-us+f4")),
    ("date.opus", "MY BIRTHDAY IS", Voice("espeak", "en-gb+Andy")),
    ("command.opus", "TURN ON THE COMPUTER", Voice("espeak", "en-gb-x-rp")),
    ("alarm.opus", "WAKE ME UP AT", Voice("flite", "slt")),
)
"""Clips to make: the file, how the sentence begins, and who speaks."""


def make_examples(generator: Generator, folder: Path, seed: int = 11) -> None:
    """Write short clips of held-out sentences, and a table of what they are in each language.

    Of the sentences that begin as asked for, the first that the model gets right is taken. The
    table also has the clips of demo-en whose sentences belong to this domain.
    """
    folder.mkdir(parents=True, exist_ok=True)
    triples = {triple.en: triple for triple in held_out_triples(800, random.Random(seed))}
    rows = []
    for name, beginning, voice in EXAMPLES:
        clips = (
            Clip(triple, voice, speak(triple.en, voice, CALM))
            for triple in triples.values()
            if triple.en.startswith(beginning)
        )
        clip = next(clip for clip in clips if _is_right(generator, clip))
        soundfile.write(folder / name, clip.samples, SAMPLE_RATE, format="OGG", subtype="OPUS")
        rows.append((f"{folder.name}/{name}", clip.triple))
    with (folder.parent / "transcripts.tsv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            if row["text"] in triples:
                rows.append((row["audio_filepath"], triples[row["text"]]))
    header = ("audio_filepath", "en", *LANGUAGES)
    table = [(name, triple.en, triple.fr, triple.de) for name, triple in rows]
    write_table(folder.parent / "translations.tsv", header, table)


def _is_right(generator: Generator, clip: Clip) -> bool:
    return all(
        translate(generator, [clip], language) == [getattr(clip.triple, language)]
        for language in LANGUAGES
    )
