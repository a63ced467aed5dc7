"""`asrkit classify`: audio in, labels out."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from asrkit.cli import _options as opt
from asrkit.cli._console import Console
from asrkit.errors import UsageError
from asrkit.options import DEMO_KEYWORDS, ClassifyOptions, EngineOptions, ModelOptions

if TYPE_CHECKING:
    from asrkit.tasks.classify import Classifier

_MODEL = ModelOptions()
_ENGINE = EngineOptions()
_OPTIONS = ClassifyOptions()
_LABELS = "Labels"

DEMO_NOTE = (
    f"note: no --model given; the embedded {DEMO_KEYWORDS} knows twelve spoken commands. Others: "
    "--model superb/wav2vec2-base-superb-ks, or any checkpoint with a classification head"
)


def classify(
    ctx: typer.Context,
    inputs: opt.Inputs = None,
    recursive: opt.Recursive = False,
    files_from: opt.FilesFrom = None,
    audio_column: opt.AudioColumn = "audio_filepath",
    id_column: opt.IdColumn = "id",
    channel: opt.Channel = _OPTIONS.channel,
    model: Annotated[str | None, opt.model_option(DEMO_KEYWORDS)] = None,
    revision: opt.Revision = _MODEL.revision,
    device: opt.Device = _MODEL.device,
    dtype: opt.Dtype = _MODEL.dtype,
    cache_dir: opt.CacheDir = _MODEL.cache_dir,
    offline: opt.Offline = _MODEL.offline,
    chunk_length: opt.ChunkLength = _OPTIONS.chunk_length,
    stride: opt.Stride = _OPTIONS.stride,
    top_k: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Labels of each input or window.", rich_help_panel=_LABELS
        ),
    ] = _OPTIONS.top_k,
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            help="Leave out labels with a lower score; for a model of frames, the probability from "
            "which a label is active.",
            show_default="none; 0.5 for frames",
            rich_help_panel=_LABELS,
        ),
    ] = _OPTIONS.threshold,
    window: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="Label every stretch of this length by itself, for tracks over long audio.",
            show_default="the whole input",
            rich_help_panel=_LABELS,
        ),
    ] = _OPTIONS.window,
    hop: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="From the start of one window to the next.",
            show_default="the window",
            rich_help_panel=_LABELS,
        ),
    ] = _OPTIONS.hop,
    formats: Annotated[
        str | None,
        opt.format_option("txt, json, jsonl, tsv, csv, rttm", "the suffix of -o, or txt"),
    ] = None,
    output: opt.Output = "-",
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
    """Label audio: which command, which emotion, who speaks when.

    One input prints label<TAB>score lines; several print path<TAB>label<TAB>score.
    Windows and models that label frames put start<TAB>end<TAB> before the label.

    Examples:
      asrkit classify clip.wav
      asrkit classify clips/ -r --top-k 1 -f csv -o labels.csv
      asrkit classify day.flac --window 1 --hop 0.5 -f rttm
      asrkit classify meeting.wav -m anton-l/wav2vec2-base-superb-sd -f rttm -o meeting.rttm
    """
    from asrkit.formats import LABEL_FORMATS
    from asrkit.outputs import Target

    console: Console = ctx.obj
    options = ClassifyOptions(
        top_k=top_k,
        threshold=threshold,
        window=window,
        hop=hop,
        chunk_length=chunk_length,
        stride=stride,
        batch_size=batch_size,
        batch_seconds=batch_seconds,
        channel=channel,
    )
    where = EngineOptions(engine, address, workers, gpus_per_worker)
    source = ModelOptions(model or DEMO_KEYWORDS, revision, device, dtype, cache_dir, offline)
    items, is_single = opt.read_inputs(
        inputs,
        recursive=recursive,
        files_from=files_from,
        audio_column=audio_column,
        id_column=id_column,
        shard=shard,
    )
    target = Target.parse(output, formats, is_single=is_single, registry=LABEL_FORMATS, shard=shard)
    target.check(items, has_times=True)
    journal = opt.open_journal(
        items,
        target,
        source,
        options,
        resume=resume,
        skip_existing=skip_existing,
        shard=shard,
        dry_run=dry_run,
    )
    written = target.open(journal, LABEL_FORMATS.render)
    if console.is_settled(journal, target, written, source, options, dry_run=dry_run):
        return console.exit_code()

    from asrkit.tasks.classify import classify_stream
    from asrkit.tasks.engines import Job

    load = partial(_load, needs_times="rttm" in target.formats and window is None)
    job = Job(load, source, partial(classify_stream, options=options), threads=threads)
    results = console.run(job, journal.pending(), where, note=DEMO_NOTE if model is None else None)
    console.write_results(journal, written, results)
    return console.exit_code()


def _load(source: ModelOptions, *, needs_times: bool) -> Classifier:
    from asrkit.tasks.classify import Classifier

    classifier = Classifier.load(source)
    if needs_times and not classifier.is_framewise:
        raise UsageError(
            f"rttm needs times, and {source.model} labels inputs as a whole",
            hint="--window SECONDS labels stretches",
        )
    return classifier
