"""`asrkit embed`: audio in, vectors out, or how alike voices are."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asrkit.cli import _options as opt
from asrkit.cli._console import Console
from asrkit.errors import UsageError
from asrkit.options import DEMO_SPEAKER, EmbedOptions, EngineOptions, ModelOptions

if TYPE_CHECKING:
    from asrkit.inputs import FailedInput
    from asrkit.tasks.compare import Ranking, Trials
    from asrkit.types import AudioInput, Embedding

_MODEL = ModelOptions()
_ENGINE = EngineOptions()
_OPTIONS = EmbedOptions()
_VECTORS, _COMPARE = "Vectors", "Comparing"

DEMO_NOTE = (
    f"note: no --model given; the embedded {DEMO_SPEAKER} tells synthetic voices apart. For "
    "people: --model anton-l/wav2vec2-base-superb-sv"
)


def embed(
    ctx: typer.Context,
    inputs: opt.Inputs = None,
    recursive: opt.Recursive = False,
    files_from: opt.FilesFrom = None,
    audio_column: opt.AudioColumn = "audio_filepath",
    id_column: opt.IdColumn = "id",
    channel: opt.Channel = _OPTIONS.channel,
    model: Annotated[str | None, opt.model_option(DEMO_SPEAKER)] = None,
    revision: opt.Revision = _MODEL.revision,
    device: opt.Device = _MODEL.device,
    dtype: opt.Dtype = _MODEL.dtype,
    cache_dir: opt.CacheDir = _MODEL.cache_dir,
    offline: opt.Offline = _MODEL.offline,
    chunk_length: opt.ChunkLength = _OPTIONS.chunk_length,
    stride: opt.Stride = _OPTIONS.stride,
    layer: Annotated[
        str | None,
        typer.Option(
            metavar="N|last|mean-last-4|all",
            help="Whose hidden states; 0 is the input of the first layer.",
            show_default="x-vectors where the model has them, else last",
            rich_help_panel=_VECTORS,
        ),
    ] = _OPTIONS.layer,
    pool: Annotated[
        str | None,
        typer.Option(
            metavar="mean|max|std|first|none",
            help="Frames to one vector; none keeps them.",
            show_default="mean",
            rich_help_panel=_VECTORS,
        ),
    ] = _OPTIONS.pool,
    normalize: Annotated[
        bool,
        typer.Option(
            "--normalize",
            metavar="",
            help="Scale vectors to length 1.",
            rich_help_panel=_VECTORS,
        ),
    ] = _OPTIONS.normalize,
    pairs: Annotated[
        Path | None,
        typer.Option(
            metavar="TRIALS",
            help="Score the trials of a file, lines of two recordings: enroll test. Where target "
            "or nontarget follows, the equal error rate and detection cost are said too.",
            rich_help_panel=_COMPARE,
        ),
    ] = None,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="AUDIO AUDIO",
            help="Score two recordings; 1 is the same.",
            rich_help_panel=_COMPARE,
        ),
    ] = None,
    similar: Annotated[
        str | None,
        typer.Option(
            metavar="QUERY",
            help="Rank the inputs by how alike they are to this recording.",
            rich_help_panel=_COMPARE,
        ),
    ] = None,
    top: Annotated[
        int, typer.Option(min=1, metavar="N", help="Rows of --similar.", rich_help_panel=_COMPARE)
    ] = 10,
    formats: Annotated[
        str | None, opt.format_option("jsonl, npy, npz, parquet", "the suffix of -o, or jsonl")
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
    """Turn audio into vectors, or say whose voices are alike.

    Prints a line of JSON for each input: id, dim, vector.
    --pairs prints enroll<TAB>test<TAB>score, --similar path<TAB>score; scores are cosines.

    Examples:
      asrkit embed clip.wav
      asrkit embed clips/ -r -o vectors.npz -m facebook/wav2vec2-base --layer mean-last-4
      asrkit embed --compare monday.wav tuesday.wav
      asrkit embed --pairs trials.txt recordings/ -r
      asrkit embed recordings/ -r --similar who.wav --top 3
    """
    from asrkit.formats import VECTOR_FORMATS
    from asrkit.formats.vectors import check_installed
    from asrkit.outputs import Target

    console: Console = ctx.obj
    options = EmbedOptions(
        layer=layer,
        pool=pool,
        normalize=normalize,
        chunk_length=chunk_length,
        stride=stride,
        batch_size=batch_size,
        batch_seconds=batch_seconds,
        channel=channel,
    )
    where = EngineOptions(engine, address, workers, gpus_per_worker)
    source = ModelOptions(model or DEMO_SPEAKER, revision, device, dtype, cache_dir, offline)
    items: list[AudioInput | FailedInput] = []
    is_single = False
    if inputs or files_from or not (pairs or compare):
        items, is_single = opt.read_inputs(
            inputs,
            recursive=recursive,
            files_from=files_from,
            audio_column=audio_column,
            id_column=id_column,
            shard=shard,
        )
    comparison = _comparison(items, pairs=pairs, compare=compare, similar=similar, top=top)
    if comparison is None:
        target = Target.parse(
            output,
            formats,
            is_single=is_single,
            default="jsonl",
            registry=VECTOR_FORMATS,
            shard=shard,
        )
        check_installed(target.formats)
    else:
        if formats or layer == "all" or pool == "none":
            raise UsageError("a comparison takes one vector an input, and prints text")
        if resume or skip_existing or shard:
            raise UsageError("a comparison needs the vectors of all its inputs at once")
        items = comparison.inputs
        target = Target(("txt",), file=None if output == "-" else Path(output))
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
    results: list[Embedding | FailedInput] = []
    written = (
        target.open_vectors(journal)
        if comparison is None
        else nullcontext(lambda index, result: results.append(result))
    )
    if console.is_settled(journal, target, written, source, options, dry_run=dry_run):
        return console.exit_code()

    from asrkit.tasks.embed import Embedder, embed_stream
    from asrkit.tasks.engines import Job

    job = Job(Embedder.load, source, partial(embed_stream, options=options), threads=threads)
    stream = console.run(job, journal.pending(), where, note=DEMO_NOTE if model is None else None)
    console.write_results(journal, written, stream)
    if comparison is not None:
        text, summary = comparison.report(results)
        target.write_text(text)
        if summary:
            console.say(summary)
    return console.exit_code()


def _comparison(
    items: Sequence[AudioInput | FailedInput],
    *,
    pairs: Path | None,
    compare: tuple[str, str] | None,
    similar: str | None,
    top: int,
) -> Trials | Ranking | None:
    """What is to be compared, or None where vectors are wanted.

    Raises:
        UsageError: more than one comparison, or a list of trials that cannot be read.
    """
    from asrkit.tasks.compare import Ranking, Trials
    from asrkit.types import AudioInput
    from asrkit.verification import Trial, read_trials

    given = {"--pairs": pairs, "--compare": compare, "--similar": similar}
    chosen = [name for name, value in given.items() if value is not None]
    if len(chosen) > 1:
        raise UsageError(f"{' and '.join(chosen)} are different comparisons, one at a time")
    if pairs is not None:
        return Trials.of(read_trials(pairs), items, folder=pairs.parent)
    if compare is not None:
        if items:
            raise UsageError("--compare takes two recordings, and no other inputs")
        return Trials.of([Trial(*compare)], [], folder=Path())
    if similar is not None:
        return Ranking(AudioInput(similar), items, top)
    return None
