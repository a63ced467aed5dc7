"""`asrkit eval-wer`: what was said and what was heard in, the word error rate out."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asrkit.cli import _options as opt
from asrkit.cli._console import Console
from asrkit.errors import ExitCode, InputError, OutputError, UsageError
from asrkit.options import (
    DecodingOptions,
    EngineOptions,
    EvaluateOptions,
    ModelOptions,
    TableOptions,
    TranscribeOptions,
)
from asrkit.types import AudioInput

if TYPE_CHECKING:
    from asrkit.corpus import Corpus
    from asrkit.report import Report

_MODEL = ModelOptions()
_ENGINE = EngineOptions()
_TRANSCRIBE = TranscribeOptions()
_DECODE = DecodingOptions()
_OPTIONS = EvaluateOptions()
_TABLES = TableOptions()
_SCORING, _CERTAINTY, _CHECKS = "Scoring", "Certainty", "Checks"
_REPORTS = "text, json, csv, html, junit, github, markdown"
_OUTPUT, _TRANSCRIBING = "Output", "Transcribing (with --model)"


def eval_wer(
    ctx: typer.Context,
    reference: Annotated[
        str,
        typer.Argument(
            metavar="REF",
            help="References: lines of text (with ids before or after, or without), .tsv .csv "
            ".jsonl, .stm .ctm, .srt .vtt .json, a folder of texts, or - for standard input; with "
            "--model a manifest of audio.",
            show_default=False,
        ),
    ],
    hypotheses: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="HYP...",
            help="Hypotheses of one or more systems, in any of these forms; a table may hold "
            "them beside the references.",
            show_default=False,
        ),
    ] = None,
    ref_column: Annotated[
        str,
        typer.Option(metavar="NAME", help="Table column of references.", rich_help_panel="Input"),
    ] = _TABLES.ref_column,
    hyp_column: Annotated[
        str,
        typer.Option(metavar="NAME", help="Table column of hypotheses.", rich_help_panel="Input"),
    ] = _TABLES.hyp_column,
    id_column: opt.IdColumn = _TABLES.id_column,
    audio_column: opt.AudioColumn = _TABLES.audio_column,
    time_column: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Table column of the seconds a recognizer took, for its speed.",
            rich_help_panel="Input",
        ),
    ] = _TABLES.time_column,
    ids: Annotated[
        str,
        typer.Option(
            metavar="auto|none|first|last|tab",
            help="Where ids stand in lines of text: first (Kaldi), last in brackets (trn), before "
            "a tab. auto looks.",
            rich_help_panel="Input",
        ),
    ] = _TABLES.ids,
    missing: Annotated[
        str,
        typer.Option(
            metavar="error|empty|skip",
            help="For an id without a hypothesis: stop, count it as nothing heard, leave it out.",
            rich_help_panel="Input",
        ),
    ] = _OPTIONS.missing,
    normalizer: Annotated[
        list[str] | None,
        typer.Option(
            "--normalizer",
            "-n",
            metavar="NAME|FILE[,...]",
            autocompletion=lambda: ["none", "basic", "english"],
            help="none, basic (case, punctuation, NFKC), english (of Whisper, extra english), "
            "FILE.tsv (from<TAB>to), FILE.py:function (runs it).",
            show_default="none",
            rich_help_panel=_SCORING,
        ),
    ] = None,
    normalizer_report: Annotated[
        bool,
        typer.Option(
            "--normalizer-report",
            metavar="",
            help="List what the normalizers changed.",
            rich_help_panel=_SCORING,
        ),
    ] = _OPTIONS.normalizer_report,
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN[,...]",
            help="Rates by speaker, data set, or any other column.",
            show_default=False,
            rich_help_panel=_SCORING,
        ),
    ] = None,
    confusions: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="List the N most frequent errors in the text report too.",
            show_default=f"{_OPTIONS.confusions}, in the other reports",
            rich_help_panel=_SCORING,
        ),
    ] = None,
    align: Annotated[
        bool,
        typer.Option("--align", metavar="", help="Show alignments.", rich_help_panel=_SCORING),
    ] = False,
    errors_only: Annotated[
        bool,
        typer.Option(
            "--errors-only",
            metavar="",
            help="Show alignments of utterances with errors.",
            rich_help_panel=_SCORING,
        ),
    ] = False,
    confidence: Annotated[
        float,
        typer.Option(
            "--ci",
            metavar="PERCENT",
            help="Confidence level of the intervals.",
            rich_help_panel=_CERTAINTY,
        ),
    ] = _OPTIONS.confidence,
    bootstrap: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Samples drawn for the intervals; 0 leaves intervals out.",
            rich_help_panel=_CERTAINTY,
        ),
    ] = _OPTIONS.bootstrap,
    seed: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="Seed of the drawing.", rich_help_panel=_CERTAINTY),
    ] = _OPTIONS.seed,
    resample: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Draw the groups of a column as a whole, not single utterances.",
            rich_help_panel=_CERTAINTY,
        ),
    ] = _OPTIONS.resample,
    fail_above: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            metavar="RATE",
            help="Exit with 1 if the WER is higher, such as 0.12.",
            rich_help_panel=_CHECKS,
        ),
    ] = _OPTIONS.fail_above,
    fail_cer_above: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            metavar="RATE",
            help="Exit with 1 if the CER is higher.",
            rich_help_panel=_CHECKS,
        ),
    ] = _OPTIONS.fail_cer_above,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="JSON report of an earlier run.", rich_help_panel=_CHECKS
        ),
    ] = _OPTIONS.baseline,
    fail_regression: Annotated[
        float | None,
        typer.Option(
            metavar="POINTS",
            help="Exit with 1 if the WER is so many percentage points above the baseline.",
            rich_help_panel=_CHECKS,
        ),
    ] = _OPTIONS.fail_regression,
    formats: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            metavar="NAME[,NAME...]",
            autocompletion=lambda: _REPORTS.split(", "),
            help=f"{_REPORTS}; several at once with -o DIR.",
            show_default="the suffix of -o, or text",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    output: Annotated[
        list[str] | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE|DIR|-",
            help="A file, a directory (one file a format), or standard output; several times if "
            "need be.",
            show_default="-",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="SOURCE",
            envvar="ASRKIT_EVAL_WER_MODEL",  # one for all commands would make each run transcribe
            help="Transcribe the manifest first: Hub id, directory, or embedded model.",
            show_default=False,
            rich_help_panel=_TRANSCRIBING,
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            envvar="ASRKIT_EVAL_WER_RESUME",  # it comes with --model
            help="Keep transcripts in FILE, line by line, and take from it those that are there.",
            rich_help_panel=_TRANSCRIBING,
        ),
    ] = None,
    decoder: opt.Decoder = _DECODE.decoder,
    beam_width: opt.BeamWidth = _DECODE.beam_width,
    lm: opt.Lm = _DECODE.lm,
    lm_unigrams: opt.LmUnigrams = _DECODE.lm_unigrams,
    no_lm: opt.NoLm = not _DECODE.use_lm,
    lm_alpha: opt.LmAlpha = _DECODE.lm_alpha,
    lm_beta: opt.LmBeta = _DECODE.lm_beta,
    lexicon: opt.Lexicon = _DECODE.lexicon,
    lexicon_only: opt.LexiconOnly = _DECODE.lexicon_only,
    hotwords: opt.Hotwords = None,
    hotword_weight: opt.HotwordWeight = _DECODE.hotword_weight,
    revision: opt.Revision = _MODEL.revision,
    language: opt.Language = _MODEL.language,
    device: opt.Device = _MODEL.device,
    dtype: opt.Dtype = _MODEL.dtype,
    cache_dir: opt.CacheDir = _MODEL.cache_dir,
    offline: opt.Offline = _MODEL.offline,
    chunk_length: opt.ChunkLength = _TRANSCRIBE.chunk_length,
    stride: opt.Stride = _TRANSCRIBE.stride,
    channel: opt.Channel = _TRANSCRIBE.channel,
    batch_size: opt.BatchSize = _TRANSCRIBE.batch_size,
    batch_seconds: opt.BatchSeconds = _TRANSCRIBE.batch_seconds,
    threads: opt.Threads = None,
    engine: opt.Engine = _ENGINE.engine,
    address: opt.Address = _ENGINE.address,
    workers: opt.Workers = _ENGINE.workers,
    gpus_per_worker: opt.GpusPerWorker = _ENGINE.gpus_per_worker,
) -> int:
    """Compare transcripts with references: word and character error rates.

    Texts are paired by their ids, or line by line where neither side has ids.
    Several systems are compared with the first one, with tests of significance.

    Examples:
      asrkit eval-wer ref.txt hyp.txt --align --errors-only
      asrkit eval-wer ref.tsv old.jsonl new.jsonl --by speaker -o report.html
      asrkit eval-wer test.tsv --model facebook/wav2vec2-base-960h
      asrkit eval-wer ref.txt hyp.txt -n basic --fail-above 0.12 -f github
    """
    console: Console = ctx.obj
    files = [reference, *(hypotheses or [])]
    options = EvaluateOptions(
        normalizer=_split(normalizer),
        missing=missing,
        by=_split(by),
        resample=resample,
        confidence=confidence,
        bootstrap=bootstrap,
        seed=seed,
        confusions=_OPTIONS.confusions if confusions is None else confusions,
        normalizer_report=normalizer_report,
        baseline=baseline,
        fail_above=fail_above,
        fail_cer_above=fail_cer_above,
        fail_regression=fail_regression,
        texts=TableOptions(ref_column, hyp_column, id_column, audio_column, time_column, ids),
    )
    where = EngineOptions(engine, address, workers, gpus_per_worker)
    if where.engine != "local" and model is None:
        raise UsageError(f"--engine {where.engine} works with a model", hint="--model names one")
    from asrkit.report import plan_reports

    plan = plan_reports(output or ["-"], formats)
    _check_outputs(plan, files)
    if resume is not None and model is None:
        raise UsageError("--resume keeps transcripts of a model", hint="--model names one")

    from asrkit.tasks.evaluate import evaluate_corpus, read_baseline, read_corpus

    read_baseline(options)  # before any work
    try:
        if model is None:
            corpus = read_corpus(files, options)
        else:
            transcribing = TranscribeOptions(
                timestamps="none",
                chunk_length=chunk_length,
                stride=stride,
                batch_size=batch_size,
                batch_seconds=batch_seconds,
                channel=channel,
                decoding=DecodingOptions(
                    decoder=decoder,
                    beam_width=beam_width,
                    lm=lm,
                    lm_unigrams=lm_unigrams,
                    use_lm=not no_lm,
                    lm_alpha=lm_alpha,
                    lm_beta=lm_beta,
                    lexicon=lexicon,
                    lexicon_only=lexicon_only,
                    hotwords=opt.word_list(hotwords),
                    hotword_weight=hotword_weight,
                ),
            )
            source = ModelOptions(model, revision, device, dtype, cache_dir, offline, language)
            corpus = _transcribed(
                files, source, transcribing, options, where, resume, threads, console
            )
        report = evaluate_corpus(corpus, options)
    except InputError as error:
        console.num_done = 0  # without a report nothing is done
        console.failure(error)
        return console.exit_code()
    console.num_done = 1
    for note in corpus.notes:
        console.warning(note)

    def text(has_color: bool, width: int | None) -> str:
        from asrkit.report.terminal import render_text

        return render_text(
            report,
            has_color=has_color,
            width=width,
            confusions=confusions or 0,
            align=align or errors_only,
            errors_only=errors_only,
        )

    _write(report, plan, text, console)
    for name, path in plan:
        if path is not None:
            console.say(f"{name} report in {path}")
    for check in report.checks:
        if not check.is_passed:
            console.complain(f"failed: {check.message}")
    if console.num_failed:
        return console.exit_code()
    return ExitCode.OK if report.is_ok else ExitCode.CHECK_FAILED


def _split(values: list[str] | None) -> tuple[str, ...]:
    """Comma lists and repeated options alike."""
    return tuple(
        part.strip() for value in values or [] for part in value.split(",") if part.strip()
    )


def _check_outputs(plan: list[tuple[str, Path | None]], files: list[str]) -> None:
    """Refuse to write over what is read."""
    read = {os.path.abspath(name) for name in files}
    for _, path in plan:
        if path is not None and os.path.abspath(path) in read:
            raise UsageError(f"{path} is an input and would be overwritten")


def _transcribed(
    files: list[str],
    source: ModelOptions,
    transcribing: TranscribeOptions,
    options: EvaluateOptions,
    where: EngineOptions,
    resume: Path | None,
    threads: int | None,
    console: Console,
) -> Corpus:
    """The corpus of a manifest and what a model hears in it."""
    from asrkit.inputs import FailedInput, iter_inputs

    tables = options.texts
    items = list(
        iter_inputs(
            files,
            audio_column=tables.audio_column,
            text_column=tables.ref_column,
            id_column=tables.id_column,
        )
    )
    if all(isinstance(item, FailedInput) for item in items):  # no need to load a model
        for item in items:
            if isinstance(item, FailedInput):
                console.failure(item.error)
        raise InputError(f"{', '.join(files)}: nothing to transcribe")

    from asrkit.corpus import check_columns

    columns = [*options.by, *([options.resample] if options.resample else [])]
    check_columns(files[0], (item for item in items if isinstance(item, AudioInput)), columns)

    from asrkit.tasks.engines import Job
    from asrkit.tasks.recognizer import Recognizer
    from asrkit.tasks.transcripts import hear_stream, open_transcripts, transcribed_corpus

    journal = open_transcripts(items, resume, source, transcribing)
    left = [item for index, item in enumerate(journal.inputs) if index not in journal]
    results: Iterable[Any] = journal.pending()
    if any(isinstance(item, AudioInput) for item in left):
        stream = partial(hear_stream, options=transcribing)
        job = Job(Recognizer.load, source, stream, threads=threads)
        results = console.run(job, results, where)

    def count(failed: FailedInput | None) -> None:
        if failed is None:
            console.num_done += 1
        else:
            console.failure(failed.error)

    with console.progress(left):
        corpus = transcribed_corpus(
            journal,
            ", ".join(files),
            results,
            missing=options.missing,
            on_result=count,
        )
    console.summary()
    return corpus


def _write(
    report: Report,
    plan: list[tuple[str, Path | None]],
    render: Callable[[bool, int | None], str],
    console: Console,
) -> None:
    """Write every report to its place; that for GitHub also to the summary of its step."""
    from asrkit.outputs import encode, open_whole, write_stdout
    from asrkit.report import REPORTS

    for name, path in plan:
        if name == "text":
            is_terminal = path is None and sys.stdout.isatty()
            has_color = console.color == "always" or (
                path is None and console.has_color(sys.stdout)
            )
            width = shutil.get_terminal_size().columns if is_terminal else None
            pieces: Iterable[str] = [render(has_color, width)]
        else:
            pieces = REPORTS[name].write(report, path.parent if path else Path())
        if path is None:
            for piece in pieces:
                write_stdout(piece)
            continue
        with open_whole(path) as file:
            for piece in pieces:
                file.write(encode(piece))
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary and any(name == "github" for name, _ in plan):
        try:
            with open(summary, "a", encoding="utf-8") as file_of_step:
                file_of_step.writelines(REPORTS["markdown"].write(report, Path()))
        except OSError as error:
            raise OutputError(f"{summary}: cannot be written: {error.strerror}") from error
