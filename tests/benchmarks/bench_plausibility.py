"""Right and wrong texts: how often `align` doubts them, and how far apart they are.

    python tests/benchmarks/bench_plausibility.py FOLDER [--model demo-en]

FOLDER holds sounds with texts of the same name beside them. Every sound is aligned with every text:
its own must not be doubted, another clip's must be. Pairs of the same text are left out.
"""

from __future__ import annotations

import argparse

import numpy as np

from asrkit.audio import read_audio
from asrkit.ctc import Emissions, FrameClock
from asrkit.errors import InputError
from asrkit.inputs import iter_inputs
from asrkit.options import AlignOptions, ModelOptions
from asrkit.tasks.align import align_emissions
from asrkit.tasks.pairing import pair_texts
from asrkit.tasks.plausibility import Judge
from asrkit.tasks.recognizer import Recognizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--model", default="demo-en")
    parser.add_argument("--longest", type=float, default=60.0, help="seconds; longer are left out")
    options = parser.parse_args()
    recognizer = Recognizer.load(ModelOptions(options.model))
    clips = []
    for item in pair_texts(list(iter_inputs([options.folder], recursive=True)), None):
        if not hasattr(item, "segments"):
            continue
        audio = read_audio(item.audio, sample_rate=recognizer.frontend.sample_rate)
        if audio.duration <= options.longest:
            (scores,) = recognizer.log_probs([recognizer.frontend(audio.samples)])
            clips.append((item, scores))
    rows = {"own text": [], "another's text": []}
    for item, scores in clips:
        for other, _ in clips:
            if other is item:
                rows["own text"].append(judge(scores, item.segments, recognizer))
            elif text_of(other) != text_of(item):
                rows["another's text"].append(judge(scores, other.segments, recognizer))
    print(f"{len(clips)} clips, {options.model}")
    print(
        f"{'':>16} {'pairs':>6} {'flagged':>8} {'cannot fit':>11}   "
        "cost per letter and share: least, median, most"
    )
    for name, found in rows.items():
        measured = np.array([row[1:] for row in found if row is not None])
        if not len(measured):
            continue
        flagged = sum(row is None or row[0] for row in found)
        low, middle, high = (np.quantile(measured, q, axis=0) for q in (0, 0.5, 1))
        print(
            f"{name:>16} {len(found):>6} {flagged:>8} {sum(row is None for row in found):>11}   "
            f"{low[0]:.2f} .. {middle[0]:.2f} .. {high[0]:.2f} nats, "
            f"{low[1]:.2f} .. {middle[1]:.2f} .. {high[1]:.2f}"
        )


def text_of(item):
    return " ".join(segment.text for segment in item.segments).casefold()


def judge(scores, segments, recognizer):
    """Whether a warning says that they do not belong together, the cost and the share; or None."""
    clock = FrameClock(recognizer.model.config.samples_per_frame, recognizer.frontend.sample_rate)
    vocabulary = recognizer.vocabulary
    try:
        found = align_emissions(Emissions(scores, clock), segments, vocabulary, AlignOptions())
    except InputError:  # longer than the audio: an error, which is a flag too
        return None
    known = vocabulary.tokens[: scores.shape[1]]
    delimiter = known.index("|") if "|" in known else None
    judge = Judge(
        found.emissions.log_probs, found.spans, blank=vocabulary.blank, delimiter=delimiter
    )
    is_flagged = not all(segment.ok for segment in found.transcript.segments)
    return is_flagged, found.cost_per_letter, judge.share(0, len(scores))


if __name__ == "__main__":
    main()
