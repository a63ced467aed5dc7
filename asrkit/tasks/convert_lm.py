"""Language models put beside a CTC model: packed as they are, or estimated from text."""

from __future__ import annotations

import gzip
import shutil
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import IO, cast

from asrkit.checkpoint import Checkpoint, languages
from asrkit.ctc import lm as language_models
from asrkit.ctc.alphabet import FILE_NAME
from asrkit.ctc.beam import BeamDecoder
from asrkit.ctc.estimate import ARPA_NAME, MARKERS, Estimate, Progress, write_arpa
from asrkit.ctc.lm import LanguageModel
from asrkit.errors import CheckpointError, InputError, MissingExtraError, UsageError
from asrkit.inputs import FailedInput
from asrkit.models import saving
from asrkit.options import ConvertLmOptions
from asrkit.outputs import open_folder
from asrkit.spelling import GAP, Speller
from asrkit.tasks.decoding import alphabet_of, read_words
from asrkit.tasks.recognizer import Recognizer
from asrkit.tasks.tune import Trial, Tuning, tune
from asrkit.types import AudioInput

_PREPROCESSOR = "preprocessor_config.json"
_PROCESSOR = "Wav2Vec2ProcessorWithLM"  # the class of transformers that reads the folder
_BINARY_NAME = "lm.bin"
_GZIP_MAGIC = b"\x1f\x8b"
_HEAD = 4096  # bytes that tell what a file is
_CHUNK = 1 << 20
_MAX_LINE = 1 << 20  # bytes of a sentence
_CACHED_WORDS = 1 << 16


@dataclass(frozen=True)
class PackedModel:
    """What came of it.

    Attributes:
        output: the folder.
        num_bytes: of the file of its language model.
        num_unigrams: words that the language model is trusted on.
        alpha: weight of the language model.
        beta: score of every word.
        estimate: what the text gave; None where the language model was given.
        tuning: how the weights were found, if they were.
        warnings: what should be known of it.
    """

    output: Path
    num_bytes: int
    num_unigrams: int
    alpha: float
    beta: float
    estimate: Estimate | None
    tuning: Tuning | None
    warnings: tuple[str, ...]


def convert_lm(
    source: Path,
    output: Path,
    recognizer: Recognizer,
    options: ConvertLmOptions | None = None,
    *,
    tune_on: Sequence[AudioInput | FailedInput] = (),
    num_threads: int | None = None,
    on_progress: Progress = lambda what, done: None,
    on_result: Callable[[FailedInput | None], None] = lambda failed: None,
    on_trial: Callable[[Trial], None] = lambda trial: None,
) -> PackedModel:
    """Make a copy of a CTC model with a language model in it.

    Args:
        source: text with a sentence in each line, or an ARPA file, or a KenLM binary, each perhaps
            gzipped.
        output: a folder that does not exist, or is empty; it appears when it is complete.
        recognizer: the model.
        options: how.
        tune_on: recordings with reference texts to find the weights with; none keeps them.
        num_threads: that decode while tuning; None takes one for each processor.
        on_progress: called with what is being done and how much of it, from 0 to 1.
        on_result: called after each recording, with its failure if it failed.
        on_trial: called after each pair of weights that is tried.

    Raises:
        InputError: the source cannot be read or holds no words that the model can write.
        UsageError: options that do not belong to such a source.
        CheckpointError: the language model is damaged.
        MissingExtraError: a KenLM binary, and no KenLM.
        OutputError: `output` is not empty, or cannot be written.
    """
    options = options or ConvertLmOptions()
    spelling = Spelling(recognizer, is_kept=options.as_is)
    alphabet = alphabet_of(recognizer)
    given = None if options.unigrams is None else read_words(options.unigrams, alphabet)
    warnings: list[str] = []
    with open_folder(output) as folder:
        name = _packed_name(source)
        file = folder / language_models.DIRECTORY / (name or ARPA_NAME)
        file.parent.mkdir()
        estimate = None
        if name is None:
            sentences = _sentences(source, spelling, on_progress)
            estimate = write_arpa(
                sentences, file, order=options.order, prune=options.prune, on_progress=on_progress
            )
            words = set(estimate.words) & (estimate.words.keys() if given is None else given)
            warnings += _doubts(source, estimate)
        elif options.is_for_text:
            raise UsageError(
                f"{source} is a language model, and order, pruning and spelling belong to a text"
            )
        else:
            words = _unpack(source, file, given)
        unigrams = sorted(word for word in words if spelling.is_written(word))
        warnings += _unwritten(source, words.difference(unigrams), len(words), estimate)

        alpha = LanguageModel.alpha if options.lm_alpha is None else options.lm_alpha
        beta = LanguageModel.beta if options.lm_beta is None else options.lm_beta
        tuning = None
        if tune_on:
            lm = LanguageModel.from_file(file, unigrams=unigrams)
            tuning = tune(
                tune_on,
                recognizer,
                BeamDecoder(alphabet, lm=lm),
                alpha=alpha,
                beta=beta,
                spelled=spelling,
                num_threads=num_threads,
                on_progress=on_progress,
                on_result=on_result,
                on_trial=on_trial,
            )
            alpha, beta = tuning.best.alpha, tuning.best.beta
        language_models.write_directory(
            file.parent, file, unigrams=unigrams, alpha=alpha, beta=beta
        )
        alphabet.save(folder / FILE_NAME)
        _copy_model(recognizer, folder)
        num_bytes = file.stat().st_size
    return PackedModel(
        output, num_bytes, len(unigrams), alpha, beta, estimate, tuning, tuple(warnings)
    )


def _doubts(source: Path, estimate: Estimate) -> Iterator[str]:
    if orders := ", ".join(map(str, estimate.default_discounts)):
        yield (
            f"{source}: too small or too regular to tell how far its counts of order {orders} can "
            "be trusted; the discounts are 0.5, 1 and 1.5"
        )


def _unwritten(
    source: Path, odd: set[str], num_words: int, estimate: Estimate | None
) -> Iterator[str]:
    """What to say of words that the model cannot write.

    Raises:
        InputError: it can write none.
    """
    if len(odd) == num_words:
        example = f", such as {min(odd)!r}" if odd else ""
        raise InputError(
            f"{source}: the model can write none of its {num_words} words{example}",
            hint="letters and their case must be those of the model's vocabulary",
        )
    if not odd:
        return
    share, example = "", min(odd)
    if estimate is not None:
        counts = estimate.words
        example = max(sorted(odd), key=counts.__getitem__)
        share = f", {sum(counts[word] for word in odd) / sum(counts.values()):.1%} of the text,"
    yield (
        f"{source}: {len(odd):,} of {num_words:,} words{share} cannot be written by the model, "
        f"such as {example}: counted, and left out of unigrams.txt"
    )


# ------------------------------------------------------------------------------------ the source


class Spelling:
    """Text as a model writes it: its letters, its case, no punctuation that it does not know.

    Args:
        recognizer: the model.
        is_kept: leave texts as they are.
    """

    def __init__(self, recognizer: Recognizer, *, is_kept: bool = False) -> None:
        self._vocabulary = recognizer.vocabulary
        num_outputs = recognizer.model.config.vocab_size
        self._speller = Speller(self._vocabulary, unknown="interpolate", num_outputs=num_outputs)
        self._is_kept = is_kept or self._vocabulary.is_phonemic
        self._spelled = lru_cache(maxsize=_CACHED_WORDS)(self._spell)

    def __call__(self, text: str) -> str:
        """Spell a text; a word that the model has no letters for stays as it is."""
        if self._is_kept:
            return text
        return " ".join(filter(None, map(self._spelled, text.split())))

    def is_written(self, word: str) -> bool:
        """Whether the model can write the word just so."""
        if self._vocabulary.is_phonemic:
            return word in self._vocabulary.tokens
        return self._speller(word).is_spelled and self._spelled(word) == word

    def _spell(self, word: str) -> str:
        found = self._speller(word)
        if word in MARKERS or not (found.is_spelled or found.is_silent):
            return word
        letters = (" " if t == GAP else self._vocabulary.token(t) for t in found.tokens)
        return "".join(letters)


def _packed_name(source: Path) -> str | None:
    """What a language model is called in the folder; None for a text."""
    head = next(_chunks(source, _HEAD), b"")
    if head.startswith(language_models.BINARY_MAGIC):
        return _BINARY_NAME
    is_arpa = source.name.endswith((".arpa", ".arpa.gz")) or head.lstrip().startswith(b"\\data\\")
    return ARPA_NAME if is_arpa else None


def _unpack(source: Path, file: Path, given: frozenset[str] | None) -> set[str]:
    """Copy a language model, check it, and tell its words.

    Args:
        source: ARPA or KenLM binary, perhaps gzipped.
        file: the copy.
        given: words to trust; None takes those that the file lists.
    """
    with file.open("wb") as copy:
        copy.writelines(_chunks(source, _CHUNK))
    try:
        words = LanguageModel.from_file(file, unigrams=given).unigrams
    except (CheckpointError, MissingExtraError) as error:
        error.message = error.message.replace(str(file), str(source))
        raise
    if words is None:
        raise UsageError(
            f"{source}: a KenLM binary, which does not list its words",
            hint="--unigrams FILE does, one a line",
        )
    return set(words) - MARKERS


def _sentences(source: Path, spelling: Spelling, on_progress: Progress) -> Iterator[str]:
    """The lines of a text, spelled.

    Raises:
        InputError: not UTF-8 text in lines of a sensible length.
    """
    with _open(source) as (file, raw):
        size = source.stat().st_size
        for number in count(1):
            line = file.readline(_MAX_LINE)
            if not line:
                return
            if number % 10_000 == 0:
                on_progress("reading", raw.tell() / size)
            where = f"{source}: line {number}"
            if b"\0" in line:
                raise InputError(f"{where} holds a NUL byte, expected text")
            if len(line) == _MAX_LINE:
                raise InputError(f"{where} is longer than {_MAX_LINE:,} bytes, expected a sentence")
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise InputError(f"{where} is not UTF-8: {error.reason}") from error
            yield spelling(text)


def _chunks(source: Path, size: int) -> Iterator[bytes]:
    with _open(source) as (file, _):
        while chunk := file.read(size):
            yield chunk


@contextmanager
def _open(source: Path) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Open a file, gzipped or not: what it holds, and the file itself.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with source.open("rb") as raw:
            is_gzip = raw.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
            raw.seek(0)
            yield (cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if is_gzip else raw), raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{source}: damaged gzip: {error}") from error
    except OSError as error:
        raise InputError(f"{source}: cannot be read: {error.strerror or error}") from error


# ------------------------------------------------------------------------------------- the model


def _copy_model(recognizer: Recognizer, folder: Path) -> None:
    """Copy the files of a model as they are, without its own language model.

    preprocessor_config.json says which class of transformers reads the folder.
    """
    checkpoint = Checkpoint(recognizer.info.id, recognizer.directory, recognizer.info.revision)
    adapters = [checkpoint.adapter_file(language) for language in languages(checkpoint)]
    for name in (*checkpoint.weight_files(), *checkpoint.side_files(), *filter(None, adapters)):
        if name == FILE_NAME or name.startswith(f"{language_models.DIRECTORY}/"):
            continue
        shutil.copyfile(recognizer.directory / name, folder / name)
    if (folder / _PREPROCESSOR).is_file():
        content = checkpoint.read_json(_PREPROCESSOR) | {"processor_class": _PROCESSOR}
        saving.write_json(content, folder / _PREPROCESSOR)
