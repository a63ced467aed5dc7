"""`asrkit align`: audio and its text in, the time of every word out."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asrkit.cli import _options as opt
from asrkit.cli._console import Console
from asrkit.cli.transcribe import DEMO_NOTE
from asrkit.errors import ExitCode, UsageError
from asrkit.options import AlignOptions, EngineOptions, ModelOptions, SegmentOptions

if TYPE_CHECKING:
    from asrkit.inputs import FailedInput
    from asrkit.tasks.align import Alignment, TextOf
    from asrkit.types import Transcript

_MODEL = ModelOptions()
_ENGINE = EngineOptions()
_OPTIONS = AlignOptions()
_ALIGNMENT, _CHECKS = "Alignment", "Checks"


def align(
    ctx: typer.Context,
    audio: Annotated[
        str,
        typer.Argument(
            metavar="AUDIO",
            help="Audio or video file, directory (with -r), quoted glob, manifest (.jsonl .csv "
            ".tsv), or - for standard input.",
            show_default=False,
        ),
    ],
    text: Annotated[
        str | None,
        typer.Argument(
            metavar="[TEXT]",
            help="What is said: .txt (each line a segment), .srt .vtt .ass (cues get new times), "
            ".json of transcribe, - for standard input, or a directory of files named like the "
            "audio. Unless given: the manifest's text, or the file beside the audio.",
            show_default=False,
        ),
    ] = None,
    recursive: opt.Recursive = False,
    audio_column: opt.AudioColumn = "audio_filepath",
    text_column: opt.TextColumn = "text",
    id_column: opt.IdColumn = "id",
    channel: opt.Channel = _OPTIONS.channel,
    level: Annotated[
        str,
        typer.Option(
            metavar="segment|word|char",
            help="The finest times in the result.",
            rich_help_panel=_ALIGNMENT,
        ),
    ] = _OPTIONS.level,
    unknown: Annotated[
        str,
        typer.Option(
            metavar="star|interpolate|drop|error",
            help="For digits and symbols that the model has no letters for: a wildcard finds their "
            "sound, they lie between their neighbours, they are left out, or it is an error.",
            rich_help_panel=_ALIGNMENT,
        ),
    ] = _OPTIONS.unknown,
    star: Annotated[
        str,
        typer.Option(
            metavar="none|edges|segment",
            help="Where speech without text may be: before and after it, or between lines too.",
            rich_help_panel=_ALIGNMENT,
        ),
    ] = _OPTIONS.star,
    tail: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=1.0,
            metavar="SECONDS",
            help="How long a word sounds after its last letter was recognised, unless the next "
            "word begins.",
            rich_help_panel=_ALIGNMENT,
        ),
    ] = _OPTIONS.tail,
    min_score: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            metavar="X",
            help="Mark words and segments with a lower score, and exit with 1 if there are some.",
            rich_help_panel=_CHECKS,
        ),
    ] = _OPTIONS.min_score,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="DIR|FILE",
            help="TextGrid, CTM or JSON with the true times: say how far the words are from them.",
            rich_help_panel=_CHECKS,
        ),
    ] = None,
    plot: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Draw waveform, scores, path and words of one input to .html, .svg or .png.",
            rich_help_panel=_CHECKS,
        ),
    ] = None,
    model: opt.Model = None,
    revision: opt.Revision = _MODEL.revision,
    language: opt.Language = _MODEL.language,
    device: opt.Device = _MODEL.device,
    dtype: opt.Dtype = _MODEL.dtype,
    cache_dir: opt.CacheDir = _MODEL.cache_dir,
    offline: opt.Offline = _MODEL.offline,
    chunk_length: opt.ChunkLength = _OPTIONS.chunk_length,
    stride: opt.Stride = _OPTIONS.stride,
    formats: opt.AlignedFormats = None,
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
    """Find when each word of a known text was said.

    Prints a row for each word: start, end, score, word and a note.
    Subtitles come back as subtitles with new times.
    A text that does not fit its audio is a warning.

    Examples:
      asrkit align talk.mp3 talk.txt
      asrkit align talk.mp3 talk.srt -o talk.new.srt
      asrkit align talk.mp3 talk.txt -f textgrid -o talk.TextGrid
      asrkit align calls/ texts/ -r -f textgrid,ctm -o out/ --min-score 0.2
    """
    from asrkit.formats import render
    from asrkit.inputs import FailedInput, iter_inputs
    from asrkit.outputs import Target

    console: Console = ctx.obj
    options = AlignOptions(
        level=level,
        unknown=unknown,
        star=star,
        min_score=min_score,
        tail=tail,
        chunk_length=chunk_length,
        stride=stride,
        batch_size=batch_size,
        batch_seconds=batch_seconds,
        channel=channel,
    )
    where = EngineOptions(engine, address, workers, gpus_per_worker)
    source = ModelOptions(
        model or _MODEL.model, revision, device, dtype, cache_dir, offline, language
    )
    if reference is not None and level == "segment":
        raise UsageError("--reference compares words, and --level segment has none")
    if reference is not None and (resume or skip_existing):
        raise UsageError("--reference compares all words, and of what is done they are not kept")

    from asrkit.tasks.pairing import (
        audio_of,
        check_outputs,
        default_format,
        pair_texts,
        with_audio,
    )

    pairs = pair_texts(
        list(
            iter_inputs(
                [audio],
                recursive=recursive,
                audio_column=audio_column,
                text_column=text_column,
                id_column=id_column,
            )
        ),
        text,
    )
    target = Target.parse(
        output, formats, is_single=len(pairs) == 1, default=default_format(pairs), shard=shard
    )
    pairs = opt.take_shard(pairs, [audio_of(pair) for pair in pairs], shard)
    items = [audio_of(pair) for pair in pairs]
    target.check(items, has_times=True)
    outputs = [path for item in items for path in target.files(item).values()]
    check_outputs(pairs, [*outputs, *([target.file] if target.file else [])])
    _check_plot(plot, pairs)
    journal = opt.open_journal(
        items,
        target,
        source,
        options,
        resume=resume,
        skip_existing=skip_existing,
        shard=shard,
        dry_run=dry_run,
        also=(lambda item: {"plot": Path(plot)}) if plot else None,
    )
    written = target.open(journal, partial(render, options=SegmentOptions()))
    is_all_ok = min_score is None or all(
        journal.row(index)["ok"] for index in range(len(items)) if index in journal
    )

    def exit_code() -> ExitCode:
        code = console.exit_code()
        is_failed = min_score is not None and not is_all_ok
        return ExitCode.CHECK_FAILED if is_failed and code is ExitCode.OK else code

    if console.is_settled(journal, target, written, source, options, dry_run=dry_run):
        return exit_code()

    from asrkit.tasks.reference import BoundaryErrors, find_reference

    references = {
        index: find_reference(item, reference)
        for index, item in enumerate(items)
        if reference is not None and not isinstance(item, FailedInput)
    }

    from asrkit.tasks.align import align_stream
    from asrkit.tasks.engines import Job
    from asrkit.tasks.recognizer import Recognizer

    draw = None if plot is None else partial(_draw, plot)
    stream = partial(align_stream, options=options, on_alignment=draw)
    results = console.run(
        Job(Recognizer.load, source, stream, threads=threads),
        with_audio(pairs, journal.pending()),
        where,
        note=DEMO_NOTE if model is None else None,
    )
    errors: list[BoundaryErrors] = []

    def checked() -> Iterator[Transcript | FailedInput]:
        nonlocal is_all_ok
        for index, result in enumerate(results):
            if not isinstance(result, FailedInput):
                if index in references:
                    errors.append(BoundaryErrors.of(result, references[index]))
                    console.detail(f"{result.source}: {errors[-1]}")
                is_all_ok = is_all_ok and result.is_ok
            yield result

    console.write_results(journal, written, checked())
    if errors:
        console.say(str(BoundaryErrors.concatenate(errors)))
    return exit_code()


def _check_plot(plot: str | None, pairs: list[TextOf | FailedInput]) -> None:
    """Refuse before any work what cannot be drawn."""
    if plot is None:
        return
    from asrkit.plot import check_suffix

    if len(pairs) != 1:
        raise UsageError(f"--plot draws one input, not {len(pairs)}")
    check_suffix(plot)


def _draw(plot: str, result: Alignment) -> None:
    """Write the picture of a result."""
    from asrkit.outputs import encode, write_whole
    from asrkit.plot import as_html, as_png, draw_alignment

    svg = draw_alignment(
        result.transcript,
        result.emissions,
        result.spans,
        labels=result.labels,
        blank=result.blank,
        envelope=result.envelope,
    )
    suffix = Path(plot).suffix.lower()
    if suffix == ".png":
        write_whole(Path(plot), as_png(svg))
    else:
        page = as_html(svg, result.transcript.source) if suffix == ".html" else svg
        write_whole(Path(plot), encode(page))
