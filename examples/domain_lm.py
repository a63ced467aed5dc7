"""A language model for a domain, and what it is worth: word error rates with and without it.

    python examples/domain_lm.py                        # measure the demo model with its own
    python examples/domain_lm.py --text domain.txt      # write the text, for another
    asrkit convert lm domain.txt demo-en with-lm --prune 0,2
    python examples/domain_lm.py --model with-lm

The text is drawn from the templates of `demo_corpus`; no sentence of it is among the held-out ones
that are spoken and recognised afterwards (espeak-ng and flite must be installed for that).
"""

from __future__ import annotations

import argparse
import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from demo_checkpoint import TOKENS, edit_distance
from demo_corpus import is_held_out, sample_digits, sample_salad, sample_sentence
from demo_speech import SAMPLE_RATE, Clip, DigitRecordings, evaluation_sets

from asrkit import Audio, Recognizer
from asrkit.ctc.alphabet import FILE_NAME, Alphabet
from asrkit.ctc.estimate import build_directory
from asrkit.inputs import FailedInput
from asrkit.options import DecodingOptions, ModelOptions, TranscribeOptions
from asrkit.tasks.transcribe import transcribe_stream

log = logging.getLogger("demo")

NUM_SENTENCES = 60_000
ORDER = 3
PRUNE = (0, 2)  # pairs and triples that come twice or less: a tenth of the size, the same errors


def training_sentences(count: int, seed: int = 11) -> list[str]:
    """Draw sentences of the domain, digit strings and a few loose words; none is held out."""
    rng = random.Random(seed)
    draw = (sample_sentence, sample_sentence, sample_sentence, sample_digits, sample_salad)
    texts = (rng.choice(draw)(rng) for _ in iter(int, 1))
    return list(islice((text for text in texts if not is_held_out(text)), count))


def build(folder: Path) -> None:
    """Estimate the model into `folder`/language_model, with the alphabet beside it."""
    made = build_directory(
        training_sentences(NUM_SENTENCES),
        folder / "language_model",
        order=ORDER,
        prune=PRUNE,
    )
    Alphabet.build(TOKENS).save(folder / FILE_NAME)
    sizes = ", ".join(f"{size:,}" for size in made.num_ngrams)
    size = sum(path.stat().st_size for path in (folder / "language_model").iterdir())
    log.info("%s: %s n-grams of orders 1 to %d, %.2f MB", folder, sizes, ORDER, size / 1e6)


def word_error_rate(
    recognizer: Recognizer, clips: Sequence[Clip], options: DecodingOptions
) -> float:
    """Errors per word, in percent."""
    sounds = [Audio(clip.samples, SAMPLE_RATE) for clip in clips]
    errors = words = 0
    results = transcribe_stream(sounds, recognizer, TranscribeOptions(decoding=options))
    for clip, result in zip(clips, results, strict=True):
        if isinstance(result, FailedInput):
            raise result.error
        errors += edit_distance(clip.text.split(), result.text.split())
        words += len(clip.text.split())
    return 100 * errors / words


def hotwords_of(clips: Sequence[Clip], count: int = 15) -> tuple[str, ...]:
    """The longest words of a set: what a user would list of a text that is expected."""
    words = {word for clip in clips for word in clip.text.split()}
    return tuple(sorted(words, key=lambda word: (-len(word), word))[:count])


def compare(recognizer: Recognizer, sets: Mapping[str, Sequence[Clip]], lm: Path) -> str:
    """Measure every set with every decoder.

    Args:
        recognizer: the model.
        sets: clips by name.
        lm: a `language_model` folder.

    Returns:
        Word error rates in percent, as a Markdown table.
    """
    beam = DecodingOptions(decoder="beam", use_lm=False)
    rows = [
        "| WER % | clips | greedy | beam | word list | LM | LM, hotwords |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, clips in sets.items():
        ways = (
            DecodingOptions(decoder="greedy"),
            beam,
            replace(beam, lexicon=str(lm / "unigrams.txt")),
            DecodingOptions(lm=str(lm)),
            DecodingOptions(lm=str(lm), hotwords=hotwords_of(clips), hotword_weight=2.0),
        )
        rates = [f"{word_error_rate(recognizer, clips, way):.1f}" for way in ways]
        rows.append(f"| {' | '.join([name, str(len(clips)), *rates])} |")
        log.info("%s", rows[-1])
    return "\n".join(rows)


def main() -> None:
    """Write the text, or measure and print one table."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    add = parser.add_argument
    add("--text", type=Path, metavar="FILE", help="write the text of the domain, and stop")
    add("--model", default="demo-en", help="model to measure (default: %(default)s)")
    add("--digits", type=Path, metavar="TAR", help="real digits: more sets")
    add("--clips", type=int, default=100, help="at most so many of a set (default: %(default)s)")
    options = parser.parse_args()
    if options.text is not None:
        options.text.write_text("\n".join(training_sentences(NUM_SENTENCES)) + "\n")
        return
    recognizer = Recognizer.load(ModelOptions(model=options.model))
    lm = recognizer.directory / "language_model"
    if not lm.is_dir():
        raise SystemExit(f"{options.model} brings no language model: asrkit convert lm makes one")
    recordings = None if options.digits is None else DigitRecordings(options.digits)
    sets = {
        name: clips[:: max(1, len(clips) // options.clips)]
        for name, clips in evaluation_sets(recordings).items()
    }
    compare(recognizer, sets, lm)


if __name__ == "__main__":
    main()
