"""A language model for a domain, and what it is worth: word error rates with and without it.

    python examples/domain_lm.py                    # measure the demo model with its own
    python examples/domain_lm.py --build FOLDER     # first estimate one into FOLDER/language_model

The text is drawn from the templates of `demo_corpus`; no sentence of it is among the held-out ones
that are spoken and recognised afterwards (espeak-ng and flite must be installed for that).
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from demo_checkpoint import TOKENS, edit_distance
from demo_corpus import is_held_out, sample_digits, sample_salad, sample_sentence
from demo_speech import SAMPLE_RATE, Clip, DigitRecordings, evaluation_sets

from asrkit import Audio, Recognizer
from asrkit.ctc.alphabet import FILE_NAME, Alphabet
from asrkit.ctc.estimate import build_directory
from asrkit.inputs import FailedInput
from asrkit.tasks.transcribe import transcribe_stream
from asrkit.types import DecodingOptions, ModelOptions, TranscribeOptions

NUM_SENTENCES = 60_000
ORDER = 3
MINIMUM_COUNT = 3  # rarer pairs and triples are left out: a tenth of the size, the same errors


def training_sentences(count: int, seed: int = 11) -> list[str]:
    """Draw sentences of the domain, digit strings and a few loose words; none is held out."""
    rng = random.Random(seed)
    draw = (sample_sentence, sample_sentence, sample_sentence, sample_digits, sample_salad)
    texts = (rng.choice(draw)(rng) for _ in iter(int, 1))
    return list(islice((text for text in texts if not is_held_out(text)), count))


def build(folder: Path) -> Path:
    """Estimate the model and write it beside the alphabet, as recognisers read it."""
    model = build_directory(
        training_sentences(NUM_SENTENCES),
        folder / "language_model",
        order=ORDER,
        minimum_count=MINIMUM_COUNT,
    )
    Alphabet.build(TOKENS).save(folder / FILE_NAME)
    sizes = ", ".join(f"{len(table):,}" for table in model.probabilities)
    size = sum(path.stat().st_size for path in (folder / "language_model").iterdir())
    print(f"{folder}: {sizes} n-grams of orders 1 to {ORDER}, {size / 1e6:.2f} MB")
    return folder / "language_model"


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


def main() -> None:
    """Build if asked to, measure, print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--build", type=Path, metavar="FOLDER", help="estimate into this folder")
    parser.add_argument("--model", default="demo-en", help="model to measure")
    parser.add_argument("--digits", type=Path, metavar="TAR", help="real digits: two more sets")
    parser.add_argument("--clips", type=int, default=100, help="at most so many of each set")
    options = parser.parse_args()
    lm = None if options.build is None else str(build(options.build))
    recognizer = Recognizer.load(ModelOptions(model=options.model))
    own = recognizer.directory / "language_model"
    lm = lm or (str(own) if own.is_dir() else None)

    with tempfile.TemporaryDirectory() as folder:
        recordings = None if options.digits is None else DigitRecordings(options.digits)
        sets = {
            name: clips[:: max(1, len(clips) // options.clips)]
            for name, clips in evaluation_sets(recordings).items()
        }
        lexicon = Path(folder) / "words.txt"
        unigrams = Path(lm or ".") / "unigrams.txt"
        if unigrams.is_file():
            lexicon.write_text(unigrams.read_text())
        header = ("greedy", "beam", "lexicon", "LM", "LM + hotwords")
        print(f"{'word error rate, %':42} {'clips':>5}" + "".join(f"{h:>15}" for h in header))
        for name, clips in sets.items():
            ways = [
                DecodingOptions(decoder="greedy"),
                DecodingOptions(decoder="beam", use_lm=False),
            ]
            if lm is not None:
                ways += [
                    DecodingOptions(use_lm=False, lexicon=str(lexicon)),
                    DecodingOptions(lm=lm),
                    DecodingOptions(lm=lm, hotwords=hotwords_of(clips), hotword_weight=2.0),
                ]
            rates = [word_error_rate(recognizer, clips, way) for way in ways]
            print(
                f"{name:42} {len(clips):5}" + "".join(f"{rate:15.1f}" for rate in rates), flush=True
            )


if __name__ == "__main__":
    main()
