"""`asrkit transcribe`: audio in, text and subtitles out."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from asrkit.cli import _options as opt
from asrkit.cli._console import Console
from asrkit.options import (
    DecodingOptions,
    EngineOptions,
    GenerationOptions,
    ModelOptions,
    SegmentOptions,
    TranscribeOptions,
)

_MODEL = ModelOptions()
_ENGINE = EngineOptions()
_OPTIONS = TranscribeOptions()
_DECODE = DecodingOptions()
_GENERATE = GenerationOptions()
_SEGMENTS = SegmentOptions()
_DECODING, _SUBTITLES = "Decoding", "Subtitles"

DEMO_NOTE = (
    "note: no --model given; the embedded demo model knows a few hundred English words of "
    "synthetic speech. For real speech: --model facebook/wav2vec2-base-960h"
)


def transcribe(
    ctx: typer.Context,
    inputs: opt.Inputs = None,
    recursive: opt.Recursive = False,
    files_from: opt.FilesFrom = None,
    audio_column: opt.AudioColumn = "audio_filepath",
    text_column: opt.TextColumn = "text",
    id_column: opt.IdColumn = "id",
    channel: opt.Channel = _OPTIONS.channel,
    model: opt.Model = None,
    revision: opt.Revision = _MODEL.revision,
    language: opt.Language = _MODEL.language,
    device: opt.Device = _MODEL.device,
    dtype: opt.Dtype = _MODEL.dtype,
    cache_dir: opt.CacheDir = _MODEL.cache_dir,
    offline: opt.Offline = _MODEL.offline,
    timestamps: Annotated[
        str | None,
        typer.Option(
            metavar="none|segment|word|char",
            help="The finest times in json and jsonl.",
            show_default="word, where the model knows them",
            rich_help_panel=_DECODING,
        ),
    ] = _OPTIONS.timestamps,
    chunk_length: opt.ChunkLength = _OPTIONS.chunk_length,
    stride: opt.Stride = _OPTIONS.stride,
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
    n_best: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Texts in json and jsonl, with their scores.",
            rich_help_panel=_DECODING,
        ),
    ] = _DECODE.n_best,
    emissions: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Save log-probabilities (.npy) with their frame rate and labels (.json).",
            rich_help_panel=_DECODING,
        ),
    ] = None,
    align_model: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="CTC model that finds when the words of an encoder-decoder were said.",
            rich_help_panel=opt.GENERATION,
        ),
    ] = _OPTIONS.align_model,
    length_penalty: opt.LengthPenalty = _GENERATE.length_penalty,
    max_new_tokens: opt.MaxNewTokens = _GENERATE.max_new_tokens,
    no_repeat_ngram: opt.NoRepeatNgram = _GENERATE.no_repeat_ngram_size,
    formats: opt.Formats = None,
    output: opt.Output = "-",
    max_line_width: opt.MaxLineWidth = _SEGMENTS.max_line_width,
    max_line_count: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Lines of a subtitle.", rich_help_panel=_SUBTITLES),
    ] = _SEGMENTS.max_line_count,
    max_words_per_line: opt.MaxWordsPerLine = _SEGMENTS.max_words_per_line,
    max_pause: Annotated[
        float,
        typer.Option(
            min=0.0,
            metavar="SECONDS",
            help="A longer silence ends a subtitle.",
            rich_help_panel=_SUBTITLES,
        ),
    ] = _SEGMENTS.max_pause,
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
    """Transcribe audio to text or subtitles.

    One input prints its text; several print path<TAB>text lines, in order.
    With -o and -f the results go to files. All else goes to standard error.

    Examples:
      asrkit transcribe talk.mp3
      asrkit transcribe talk.mp3 -o talk.srt
      asrkit transcribe recordings/ -r -f txt,srt,json -o transcripts/
      curl -s https://example.org/talk.ogg | asrkit transcribe -
    """
    from asrkit.formats import render
    from asrkit.outputs import EMISSION_SUFFIXES, Target, check_files, files_of

    console: Console = ctx.obj
    options = TranscribeOptions(
        timestamps=timestamps,
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
            n_best=n_best,
        ),
        generation=GenerationOptions(
            length_penalty=length_penalty,
            max_new_tokens=max_new_tokens,
            no_repeat_ngram_size=no_repeat_ngram,
        ),
        align_model=align_model,
        segments=SegmentOptions(max_pause, max_line_width, max_line_count, max_words_per_line),
    )
    where = EngineOptions(engine, address, workers, gpus_per_worker)
    source = ModelOptions(
        model or _MODEL.model, revision, device, dtype, cache_dir, offline, language
    )
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
    target.check(items, has_times=timestamps != "none")
    emission_files = None
    if emissions is not None:
        check_files(items, emissions, EMISSION_SUFFIXES)
        emission_files = partial(files_of, directory=emissions, suffixes=EMISSION_SUFFIXES)
    journal = opt.open_journal(
        items,
        target,
        source,
        options,
        resume=resume,
        skip_existing=skip_existing,
        shard=shard,
        dry_run=dry_run,
        second=align_model,
        files=options.decoding.files,
        also=emission_files,
    )
    written = target.open(journal, partial(render, options=options.segments))
    if console.is_settled(journal, target, written, source, options, dry_run=dry_run):
        return console.exit_code()

    from asrkit.tasks.engines import Job
    from asrkit.tasks.generator import load_speech_model
    from asrkit.tasks.transcribe import save_emissions, transcribe_stream

    keep = None if emissions is None else partial(save_emissions, directory=emissions)
    stream = partial(transcribe_stream, options=options, on_emissions=keep)
    job = Job(load_speech_model, source, stream, {"aligner": align_model}, threads)
    results = console.run(job, journal.pending(), where, note=DEMO_NOTE if model is None else None)
    console.write_results(journal, written, results)
    return console.exit_code()
