"""`asrkit convert lm`: a text or an n-gram model in, a CTC model with a language model out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asrkit.cli import _options as opt
from asrkit.cli._console import Console, in_bytes
from asrkit.errors import ExitCode
from asrkit.options import ConvertLmOptions, ModelOptions, TableOptions

if TYPE_CHECKING:
    from asrkit.inputs import FailedInput
    from asrkit.scoring import Counts
    from asrkit.tasks.tune import Trial
    from asrkit.types import AudioInput

_MODEL, _LM, _TABLES = ModelOptions(), ConvertLmOptions(), TableOptions()
_OF_TEXT, _WEIGHTS = "From a text", "Weights"


def lm(
    ctx: typer.Context,
    source: Annotated[
        Path,
        typer.Argument(
            metavar="TEXT|ARPA",
            help="Text, a sentence a line; or an ARPA file or KenLM binary. Each may be gzipped.",
        ),
    ],
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="CTC model: Hub id, directory, or embedded model.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder to make; it must not exist.")
    ],
    order: Annotated[
        int,
        typer.Option(
            min=1, max=5, metavar="N", help="Words in the longest n-gram.", rich_help_panel=_OF_TEXT
        ),
    ] = _LM.order,
    prune: Annotated[
        str | None,
        typer.Option(
            metavar="N[,N...]",
            help="Leave out n-grams that occur so often or less, for each order from 1; the last "
            "counts for all that follow. 0,0,1 leaves out trigrams that occur once.",
            show_default="nothing",
            rich_help_panel=_OF_TEXT,
        ),
    ] = None,
    as_is: Annotated[
        bool,
        typer.Option(
            "--as-is",
            metavar="",
            help="Take words as they stand. Otherwise they are spelled as the model writes them: "
            "its case, its letters, without punctuation.",
            rich_help_panel=_OF_TEXT,
        ),
    ] = _LM.as_is,
    unigrams: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Words to trust, one a line; needed with a KenLM binary.",
            show_default="those of the language model",
        ),
    ] = _LM.unigrams,
    lm_alpha: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Weight of the language model.",
            show_default="0.5",
            rich_help_panel=_WEIGHTS,
        ),
    ] = _LM.lm_alpha,
    lm_beta: Annotated[
        float | None,
        typer.Option(
            metavar="X", help="Score of every word.", show_default="1.5", rich_help_panel=_WEIGHTS
        ),
    ] = _LM.lm_beta,
    tune: Annotated[
        str | None,
        typer.Option(
            metavar="MANIFEST",
            help="Search both weights on recordings with texts (.jsonl .csv .tsv): those with the "
            "fewest wrong words are kept.",
            rich_help_panel=_WEIGHTS,
        ),
    ] = None,
    audio_column: opt.AudioColumn = _TABLES.audio_column,
    text_column: opt.TextColumn = _TABLES.ref_column,
    revision: opt.Revision = _MODEL.revision,
    language: opt.Language = _MODEL.language,
    device: opt.Device = _MODEL.device,
    cache_dir: opt.CacheDir = _MODEL.cache_dir,
    offline: opt.Offline = _MODEL.offline,
    threads: opt.Threads = None,
) -> ExitCode:
    """Give a CTC model a language model, made of a text or given.

    OUT holds a copy of the model with the language model in it, for -m OUT and for
    transformers' Wav2Vec2ProcessorWithLM; --lm OUT adds it to the model itself.

    Text becomes n-grams by modified Kneser-Ney smoothing, with the numbers of KenLM's
    lmplz. It is counted on disk, beside OUT, and may be larger than memory.

    Examples:
      asrkit convert lm sentences.txt facebook/wav2vec2-base-960h with-lm
      asrkit convert lm news.txt.gz model out --order 5 --prune 0,0,1
      asrkit convert lm 4-gram.arpa.gz model out --tune dev.tsv
    """
    options = ConvertLmOptions(order, _counts(prune), as_is, unigrams, lm_alpha, lm_beta)
    console: Console = ctx.obj

    from asrkit.inputs import FailedInput, iter_inputs
    from asrkit.tasks.convert_lm import convert_lm
    from asrkit.tasks.recognizer import Recognizer

    items: list[AudioInput | FailedInput] = []
    if tune is not None:
        items = list(iter_inputs([tune], audio_column=audio_column, text_column=text_column))
        failures = [item.error for item in items if isinstance(item, FailedInput)]
        if failures and len(failures) == len(items):  # no need to load a model
            raise failures[0]
    of_model = ModelOptions(
        model, revision, device, cache_dir=cache_dir, offline=offline, language=language
    )
    recognizer = console.load(Recognizer.load, of_model, threads=threads)

    def count(failed: FailedInput | None) -> None:
        if failed is not None:
            console.failure(failed.error)

    def show(trial: Trial) -> None:
        console.say(f"alpha {trial.alpha:.3f}  beta {trial.beta:.3f}  WER {_rate(trial.counts)}")

    with console.stages() as on_progress:
        done = convert_lm(
            source,
            output,
            recognizer,
            options,
            tune_on=items,
            num_threads=threads,
            on_progress=on_progress,
            on_result=count,
            on_trial=show,
        )
    for warning in done.warnings:
        console.warning(warning)
    if done.tuning is not None:
        before, best = done.tuning.trials[0], done.tuning.best
        console.say(
            f"{tune}: WER {_rate(done.tuning.greedy)} greedy, {_rate(before.counts)} with alpha "
            f"{before.alpha:g} and beta {before.beta:g}, {_rate(best.counts)} with the best, which "
            "are kept"
        )
    made = ""
    if done.estimate is not None:
        sizes = ", ".join(f"{size:,}" for size in done.estimate.num_ngrams)
        made = f"{sizes} n-grams of {done.estimate.num_sentences:,} sentences, "
    console.say(
        f"{done.output}: {made}{in_bytes(done.num_bytes)}, {done.num_unigrams:,} words, alpha "
        f"{done.alpha:g}, beta {done.beta:g}"
    )
    return ExitCode.SOME_FAILED if console.num_failed else ExitCode.OK


def _counts(text: str | None) -> tuple[int, ...]:
    """0,0,1 or "0 0 1" as numbers."""
    parts = re.split(r"[,\s]+", text.strip()) if text else []
    if not all(part.isdecimal() for part in parts):
        raise typer.BadParameter(f"{text!r} is no list of counts such as 0,0,1")
    return tuple(map(int, parts))


def _rate(counts: Counts) -> str:
    return f"{100 * (counts.rate or 0.0):.2f} %"
