"""`asrkit translate`: speech of one language in, text of another out."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from asrkit.cli import _options as opt
from asrkit.cli._console import Console
from asrkit.cli.transcribe import DEMO_NOTE as SOURCE_DEMO_NOTE
from asrkit.options import (
    DEMO_TRANSLATOR,
    EngineOptions,
    GenerationOptions,
    ModelOptions,
    SegmentOptions,
    TranslateOptions,
)

_MODEL = ModelOptions()
_ENGINE = EngineOptions()
_OPTIONS = TranslateOptions()
_GENERATE = GenerationOptions()
_SEGMENTS = SegmentOptions()
_TRANSLATION = "Translation"

DEMO_NOTE = (
    "note: no --model given; the embedded demo model translates times, dates, numbers and simple "
    "commands in synthetic English to French or German. For real speech: --model "
    "facebook/s2t-medium-mustc-multilingual-st"
)


def translate(
    ctx: typer.Context,
    inputs: opt.Inputs = None,
    recursive: opt.Recursive = False,
    files_from: opt.FilesFrom = None,
    audio_column: opt.AudioColumn = "audio_filepath",
    text_column: opt.TextColumn = "text",
    id_column: opt.IdColumn = "id",
    channel: opt.Channel = _OPTIONS.channel,
    model: Annotated[str | None, opt.model_option(DEMO_TRANSLATOR)] = None,
    revision: opt.Revision = _MODEL.revision,
    device: opt.Device = _MODEL.device,
    dtype: opt.Dtype = _MODEL.dtype,
    cache_dir: opt.CacheDir = _MODEL.cache_dir,
    offline: opt.Offline = _MODEL.offline,
    target_lang: Annotated[
        str | None,
        typer.Option(
            metavar="CODE",
            help="Language to write, of a model that writes several; an unknown one lists them.",
            show_default="what the model's files say",
            rich_help_panel=_TRANSLATION,
        ),
    ] = _OPTIONS.target_language,
    source_text: Annotated[
        bool,
        typer.Option(
            "--source-text",
            metavar="",
            help="Add what was said, as a CTC model hears it.",
            rich_help_panel=_TRANSLATION,
        ),
    ] = False,
    source_model: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="The CTC model of --source-text, which it implies.",
            show_default=ModelOptions.model,
            rich_help_panel=_TRANSLATION,
        ),
    ] = _OPTIONS.source_model,
    chunk_length: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="Longer audio is cut in pauses into pieces no longer than this.",
            rich_help_panel=_TRANSLATION,
        ),
    ] = _OPTIONS.chunk_length,
    beam_width: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Texts kept after each token; 1 is greedy.",
            show_default="the model's own",
            rich_help_panel=opt.GENERATION,
        ),
    ] = _GENERATE.beam_width,
    length_penalty: opt.LengthPenalty = _GENERATE.length_penalty,
    max_new_tokens: opt.MaxNewTokens = _GENERATE.max_new_tokens,
    no_repeat_ngram: opt.NoRepeatNgram = _GENERATE.no_repeat_ngram_size,
    n_best: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Texts in json and jsonl, with their scores.",
            rich_help_panel=opt.GENERATION,
        ),
    ] = _GENERATE.n_best,
    formats: opt.Formats = None,
    output: opt.Output = "-",
    max_line_width: opt.MaxLineWidth = _SEGMENTS.max_line_width,
    max_words_per_line: opt.MaxWordsPerLine = _SEGMENTS.max_words_per_line,
    batch_size: opt.BatchSize = _OPTIONS.batch_size,
    batch_seconds: opt.BatchSeconds = _OPTIONS.batch_seconds,
    threads: opt.Threads = None,
    engine: opt.Engine = _ENGINE.engine,
    address: opt.Address = _ENGINE.address,
    workers: opt.Workers = _ENGINE.workers,
    gpus_per_worker: opt.GpusPerWorker = _ENGINE.gpus_per_worker,
    resume: opt.Resume = False,
    skip_existing: opt.SkipExisting = False,
    shard: opt.ShardOption = None,
    dry_run: opt.DryRun = False,
) -> int:
    """Translate speech to text of another language.

    One input prints its translation; several print path<TAB>text lines, in order.
    With --source-text what was said stands before it, or above it in subtitles.

    Examples:
      asrkit translate talk.mp3 --target-lang fr
      asrkit translate talk.mp3 -m facebook/s2t-wav2vec2-large-en-de -o talk.srt
      asrkit translate talks/ -r --source-text -f srt,json -o translations/
    """
    from asrkit.formats import render
    from asrkit.outputs import Target

    console: Console = ctx.obj
    if source_text and source_model is None:
        source_model = ModelOptions.model
    options = TranslateOptions(
        target_language=target_lang,
        source_model=source_model,
        chunk_length=chunk_length,
        batch_size=batch_size,
        batch_seconds=batch_seconds,
        channel=channel,
        generation=GenerationOptions(
            beam_width, length_penalty, max_new_tokens, no_repeat_ngram, n_best
        ),
    )
    where = EngineOptions(engine, address, workers, gpus_per_worker)
    source = ModelOptions(model or DEMO_TRANSLATOR, revision, device, dtype, cache_dir, offline)
    segments = SegmentOptions(max_line_width=max_line_width, max_words_per_line=max_words_per_line)
    items, is_single = opt.read_inputs(
        inputs,
        recursive=recursive,
        files_from=files_from,
        audio_column=audio_column,
        text_column=text_column,
        id_column=id_column,
        shard=shard,
    )
    target = Target.parse(output, formats, is_single=is_single, shard=shard)
    target.check(items, has_times=True)
    journal = opt.open_journal(
        items,
        target,
        source,
        options,
        segments,
        resume=resume,
        skip_existing=skip_existing,
        shard=shard,
        dry_run=dry_run,
        second=source_model,
    )
    written = target.open(journal, partial(render, options=segments))
    if console.is_settled(journal, target, written, source, options, dry_run=dry_run):
        return console.exit_code()

    from asrkit.tasks.engines import Job
    from asrkit.tasks.generator import Generator
    from asrkit.tasks.translate import translate_stream

    notes = [DEMO_NOTE] if model is None else []
    if source_model == ModelOptions.model:
        notes.append(SOURCE_DEMO_NOTE.replace("--model", "--source-model"))
    stream = partial(translate_stream, options=options)
    job = Job(Generator.load, source, stream, {"hearer": source_model}, threads)
    results = console.run(job, journal.pending(), where, note="\n".join(notes) if notes else None)
    console.write_results(journal, written, results)
    return console.exit_code()
