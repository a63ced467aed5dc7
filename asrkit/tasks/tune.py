"""The weights of a language model that make the fewest errors on recordings with known texts."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from asrkit.ctc import Emissions
from asrkit.ctc.beam import BeamDecoder
from asrkit.ctc.estimate import Progress
from asrkit.errors import InputError
from asrkit.inputs import FailedInput
from asrkit.options import DecodingOptions, TranscribeOptions
from asrkit.scoring import Counts, align_words, count_words, split_words
from asrkit.tasks.recognizer import Recognizer
from asrkit.tasks.transcribe import transcribe_stream
from asrkit.tasks.transcripts import with_reference
from asrkit.types import Audio, AudioInput, Transcript

# What is tried first; then the neighbours of the best, twice, each time at half the distance.
_ALPHAS = (0.25, 0.5, 1.0, 1.5, 2.0)
_BETAS = (0.0, 1.5, 3.0, 4.5)
_STEPS = ((0.25, 0.75), (0.125, 0.375))
_MOST = len(_ALPHAS) * len(_BETAS) + 8 * len(_STEPS) + 1

_BATCH = 32  # clips that are decoded together


@dataclass(frozen=True)
class Trial:
    """What came of one pair of weights."""

    alpha: float
    beta: float
    counts: Counts


@dataclass(frozen=True)
class Tuning:
    """What came of all.

    Attributes:
        greedy: errors without the language model.
        trials: in the order that they were made, the given weights first.
    """

    greedy: Counts
    trials: tuple[Trial, ...]

    @property
    def best(self) -> Trial:
        """The fewest errors; of several such, the nearest to the first, then the smallest."""
        first = self.trials[0]

        def rank(trial: Trial) -> tuple[float, ...]:
            across, along = trial.alpha - first.alpha, (trial.beta - first.beta) / 3
            return trial.counts.errors, across**2 + along**2, trial.alpha, trial.beta

        return min(self.trials, key=rank)


def tune(
    items: Iterable[AudioInput | FailedInput],
    recognizer: Recognizer,
    decoder: BeamDecoder,
    *,
    alpha: float,
    beta: float,
    spelled: Callable[[str], str],
    num_threads: int | None = None,
    on_progress: Progress = lambda what, done: None,
    on_result: Callable[[FailedInput | None], None] = lambda failed: None,
    on_trial: Callable[[Trial], None] = lambda trial: None,
) -> Tuning:
    """Search the weights of a language model.

    The model runs once; its emissions lie on disk while they are decoded again and again.

    Args:
        items: of a manifest, with reference texts; those that fail are left out.
        recognizer: the model.
        decoder: with the language model.
        alpha: weight of the language model to begin with.
        beta: score of every word to begin with.
        spelled: a reference text as the model writes it.
        num_threads: that decode; None takes one for each processor.
        on_progress: called with what is being done and how much of it, from 0 to 1.
        on_result: called after each input, with its failure if it failed.
        on_trial: called after each pair of weights.

    Raises:
        InputError: no input with a word could be used.
    """
    with tempfile.TemporaryFile(buffering=0) as file:
        clips = _Clips(file, decoder, num_threads)
        heard: list[str] = []
        items = [with_reference(item) for item in items]
        options = TranscribeOptions(
            timestamps="none", decoding=DecodingOptions(decoder="greedy", use_lm=False)
        )
        results = transcribe_stream(items, recognizer, options, on_emissions=clips.keep)
        for number, (item, result) in enumerate(zip(items, results, strict=True)):
            on_progress("listening", number / len(items))
            if isinstance(item, AudioInput) and isinstance(result, Transcript):
                clips.references.append(split_words(spelled(item.text or "")))
                heard.append(result.text)
            on_result(result if isinstance(result, FailedInput) else None)
        if not any(clips.references):
            raise InputError("nothing to tune with: no input has both audio and a word of text")
        greedy = clips.score(heard)

        trials = [Trial(alpha, beta, clips.errors(alpha, beta))]
        on_trial(trials[0])
        for points in _rounds(lambda: Tuning(greedy, tuple(trials)).best):
            known = {(trial.alpha, trial.beta) for trial in trials}
            for point in points:
                if point[0] >= 0 and point not in known:
                    on_progress("tuning", len(trials) / _MOST)
                    trials.append(Trial(*point, clips.errors(*point)))
                    on_trial(trials[-1])
    return Tuning(greedy, tuple(trials))


def _rounds(best: Callable[[], Trial]) -> Iterator[list[tuple[float, float]]]:
    """The pairs of weights to try, each round around the best so far."""
    yield list(product(_ALPHAS, _BETAS))
    for across, along in _STEPS:
        centre = best()
        yield [
            (centre.alpha + i * across, centre.beta + j * along)
            for i, j in product((-1, 0, 1), (-1, 0, 1))
        ]


class _Clips:
    """The emissions of all clips in a file, and what is said in them.

    Attributes:
        references: words of each.
    """

    def __init__(self, file: BinaryIO, decoder: BeamDecoder, num_threads: int | None) -> None:
        self.references: list[list[str]] = []
        self._file = file
        self._decoder = decoder
        self._num_threads = num_threads
        self._shapes: list[tuple[int, ...]] = []

    def keep(self, recognizer: Recognizer, item: AudioInput | Audio, emissions: Emissions) -> None:
        """Add the emissions of a clip."""
        np.ascontiguousarray(emissions.log_probs, np.float32).tofile(self._file)
        self._shapes.append(emissions.log_probs.shape)

    def errors(self, alpha: float, beta: float) -> Counts:
        """Decode all clips with these weights."""
        texts: list[str] = []
        self._file.seek(0)
        for start in range(0, len(self._shapes), _BATCH):
            batch = [self._read(shape) for shape in self._shapes[start : start + _BATCH]]
            found = self._decoder.decode_batch(
                batch, num_threads=self._num_threads, alpha=alpha, beta=beta
            )
            texts += [best.text for best, *_ in found]
        return self.score(texts)

    def score(self, texts: Sequence[str]) -> Counts:
        """Compare texts with the references."""
        alignments = align_words(self.references, [split_words(text) for text in texts])
        return Counts.of(np.array([count_words(alignment) for alignment in alignments]))

    def _read(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        return np.fromfile(self._file, np.float32, int(np.prod(shape))).reshape(shape)
