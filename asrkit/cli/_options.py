"""The options of the subcommands, as Annotated aliases, and how inputs and word lists are read.

The defaults stand in the dataclasses of asrkit.options; a command takes them from there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from asrkit.errors import CheckpointError, UsageError
from asrkit.options import ModelOptions
from asrkit.types import AudioInput

if TYPE_CHECKING:
    from asrkit.inputs import FailedInput
    from asrkit.outputs import Target
    from asrkit.resume import Journal

MemberT = TypeVar("MemberT")

_INPUT, _MODEL, _DECODING = "Input", "Model", "Decoding"
_OUTPUT, _RUN = "Output", "Running"
GENERATION, _SUBTITLES = "Generation", "Subtitles"


Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INPUT...",
        help="Audio or video files, directories (with -r), quoted globs, manifests (.jsonl .csv "
        ".tsv), or - for standard input.",
        show_default=False,
    ),
]
Recursive = Annotated[
    bool,
    typer.Option(
        "--recursive", "-r", metavar="", help="Search directories.", rich_help_panel=_INPUT
    ),
]
FilesFrom = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Read input names from FILE (- for standard input), one a line or NUL-separated.",
        rich_help_panel=_INPUT,
    ),
]
AudioColumn = Annotated[
    str,
    typer.Option(metavar="NAME", help="Manifest column of paths.", rich_help_panel=_INPUT),
]
TextColumn = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="Manifest column of reference texts.", rich_help_panel=_INPUT
    ),
]
IdColumn = Annotated[
    str,
    typer.Option(metavar="NAME", help="Manifest column of ids.", rich_help_panel=_INPUT),
]
Channel = Annotated[
    str,
    typer.Option(
        metavar="mix|N",
        help="Channel to hear: all mixed, or one by its number from 0.",
        rich_help_panel=_INPUT,
    ),
]


def model_option(default: str) -> Any:
    """`--model` of a command that takes an embedded model where none is given."""
    return typer.Option(
        "--model",
        "-m",
        metavar="SOURCE",
        help="Hub id (user/name or user/name@revision), directory, or embedded model.",
        show_default=default,
        rich_help_panel=_MODEL,
    )


Model = Annotated[str | None, model_option(ModelOptions.model)]
Revision = Annotated[
    str | None,
    typer.Option(
        metavar="REV",
        help="Branch, tag or commit of a Hub id.",
        rich_help_panel=_MODEL,
    ),
]
Language = Annotated[
    str | None,
    typer.Option(
        metavar="CODE",
        help="Language of a multilingual model, as fra; its own unless given.",
        rich_help_panel=_MODEL,
    ),
]
Device = Annotated[
    str,
    typer.Option(
        metavar="auto|cpu|cuda[:N]|mps",
        help="Where the model runs.",
        rich_help_panel=_MODEL,
    ),
]
Dtype = Annotated[
    str,
    typer.Option(
        metavar="float32|float16|bfloat16|auto",
        help="Numbers that the model computes in; auto: bfloat16 where the device is fast at it.",
        rich_help_panel=_MODEL,
    ),
]
CacheDir = Annotated[
    str | None,
    typer.Option(
        metavar="DIR",
        help="Where Hub files are kept; the standard Hugging Face cache unless given.",
        rich_help_panel=_MODEL,
    ),
]
Offline = Annotated[
    bool,
    typer.Option(
        "--offline",
        metavar="",
        help="Never open a connection; exit with 5 if the model is not in the cache.",
        rich_help_panel=_MODEL,
    ),
]
ChunkLength = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        help="Longest stretch that the model hears at once.",
        rich_help_panel=_MODEL,
    ),
]
Stride = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="Context on each side of a chunk of longer audio.",
        show_default="a sixth of a chunk",
        rich_help_panel=_MODEL,
    ),
]
Decoder = Annotated[
    str,
    typer.Option(
        metavar="auto|greedy|beam",
        help="auto is beam where the model has a language model or an option needs it.",
        rich_help_panel=_DECODING,
    ),
]
BeamWidth = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Texts kept after each frame, or token of an encoder-decoder.",
        show_default="100, or the encoder-decoder's own",
        rich_help_panel=_DECODING,
    ),
]
Lm = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="Language model: .arpa or KenLM .bin file, or language_model folder.",
        show_default="the model's own",
        rich_help_panel=_DECODING,
    ),
]
LmUnigrams = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Words to trust in --lm, one a line.",
        rich_help_panel=_DECODING,
    ),
]
NoLm = Annotated[
    bool,
    typer.Option(
        "--no-lm",
        metavar="",
        help="Do not use the language model that the model brings.",
        rich_help_panel=_DECODING,
    ),
]
LmAlpha = Annotated[
    float | None,
    typer.Option(
        metavar="X",
        help="Weight of the language model.",
        show_default="its own",
        rich_help_panel=_DECODING,
    ),
]
LmBeta = Annotated[
    float | None,
    typer.Option(
        metavar="X",
        help="Added to the score for every word.",
        show_default="its own",
        rich_help_panel=_DECODING,
    ),
]
Lexicon = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Words to prefer without a language model, one a line.",
        rich_help_panel=_DECODING,
    ),
]
LexiconOnly = Annotated[
    bool,
    typer.Option(
        "--lexicon-only",
        metavar="",
        help="Write listed words only.",
        rich_help_panel=_DECODING,
    ),
]
Hotwords = Annotated[
    str | None,
    typer.Option(
        metavar='FILE|"A,B"',
        help="Words to prefer, from a file (one a line) or a comma list.",
        rich_help_panel=_DECODING,
    ),
]
HotwordWeight = Annotated[
    float,
    typer.Option(
        metavar="X", help="Added to the score for each hotword.", rich_help_panel=_DECODING
    ),
]
LengthPenalty = Annotated[
    float | None,
    typer.Option(
        metavar="X",
        help="Power of the length that a text's score is divided by; more makes texts longer.",
        show_default="the model's own",
        rich_help_panel=GENERATION,
    ),
]
MaxNewTokens = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Most tokens in the text of one piece.",
        show_default="the model's own",
        rich_help_panel=GENERATION,
    ),
]
NoRepeatNgram = Annotated[
    int | None,
    typer.Option(
        "--no-repeat-ngram",
        min=0,
        metavar="N",
        help="Never write the same N tokens twice in a piece; 0 allows it.",
        show_default="the model's own",
        rich_help_panel=GENERATION,
    ),
]
MaxLineWidth = Annotated[
    int,
    typer.Option(
        min=1, metavar="N", help="Characters in a line of a subtitle.", rich_help_panel=_SUBTITLES
    ),
]
MaxWordsPerLine = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Words in a line of a subtitle; no limit unless given.",
        rich_help_panel=_SUBTITLES,
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="CPU threads of the model; all cores unless given. One more reads, and one decodes.",
        rich_help_panel=_RUN,
    ),
]
BatchSize = Annotated[
    int,
    typer.Option(
        min=1,
        metavar="N",
        help="Chunks of audio that go through the model together at most.",
        rich_help_panel=_RUN,
    ),
]
BatchSeconds = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="Seconds of audio, padding included, that go through the model together at most.",
        show_default="30 on a CPU, else 240",
        rich_help_panel=_RUN,
    ),
]


def format_option(names: str, default: str) -> Any:
    """`--format` of a command, with the names that it knows."""
    return typer.Option(
        "--format",
        "-f",
        metavar="NAME[,NAME...]",
        autocompletion=lambda: names.split(", "),
        help=f"{names}; several at once with -o DIR.",
        show_default=default,
        rich_help_panel=_OUTPUT,
    )


_TRANSCRIPTS = (
    "txt, json, jsonl, tsv, csv, words, srt, vtt, ass, lrc, textgrid, textgrid-short, ctm, rttm, "
    "aud"
)
Formats = Annotated[str | None, format_option(_TRANSCRIPTS, "the suffix of -o, or txt")]
AlignedFormats = Annotated[
    str | None,
    format_option(_TRANSCRIPTS, "the suffix of -o, or that of subtitles given, or words"),
]
Output = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE|DIR|-",
        help="A file, a directory (one file an input and format), or standard output.",
        rich_help_panel=_OUTPUT,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", metavar="", help="Print JSON.")]
Engine = Annotated[
    str,
    typer.Option(
        metavar="local|ray",
        help="Who works: this process, or workers of a Ray cluster that see the same files.",
        rich_help_panel=_RUN,
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="HOST|auto",
        help="Of the cluster of --engine ray: host:port, or auto for that of this machine.",
        show_default="RAY_ADDRESS, or a cluster on this machine while it runs",
        rich_help_panel=_RUN,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Processes of --engine ray that load the model; --threads is of each.",
        show_default="as many as its GPUs have room for, or one a machine",
        rich_help_panel=_RUN,
    ),
]
GpusPerWorker = Annotated[
    float | None,
    typer.Option(
        metavar="X",
        help="GPUs of each worker; 0.5 puts two workers on each GPU.",
        show_default="1 where the cluster has some",
        rich_help_panel=_RUN,
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        metavar="",
        help="Go on where a run with the same model and options stopped. What is done stands in "
        "DIR/.asrkit-state.jsonl, or FILE.state. The results are those of one run; on a GPU the "
        "last digits of scores may differ.",
        rich_help_panel=_RUN,
    ),
]
SkipExisting = Annotated[
    bool,
    typer.Option(
        "--skip-existing",
        metavar="",
        help="Skip inputs whose files in -o DIR all exist, if DIR/.asrkit-state.jsonl says that "
        "they were made of the same audio with the same model and options; others are made anew, "
        "those edited by hand too.",
        rich_help_panel=_RUN,
    ),
]
ShardOption = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Do the I-th of N parts, of equal duration; the parts in a row are the whole. In a "
        "job array: --shard $SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT",
        rich_help_panel=_RUN,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", metavar="", help="Say what would be done, and stop.", rich_help_panel=_RUN
    ),
]


def read_inputs(
    inputs: list[str] | None,
    *,
    recursive: bool,
    files_from: str | None,
    audio_column: str,
    id_column: str,
    text_column: str = "text",
    shard: str | None = None,
) -> tuple[list[AudioInput | FailedInput], bool]:
    """The inputs that the arguments name, or a shard of them; and whether they name one file."""
    from asrkit.inputs import FailedInput, iter_inputs

    found = iter_inputs(
        inputs or [],
        recursive=recursive,
        files_from=files_from,
        audio_column=audio_column,
        text_column=text_column,
        id_column=id_column,
    )
    # Nobody asks for texts and labels, and of a large manifest they are most of it.
    items = [
        item
        if isinstance(item, FailedInput)
        else AudioInput(item.path, item.offset, item.duration, item.id, name=item.name)
        for item in found
    ]
    is_single = len(items) == 1 and (
        isinstance(items[0], FailedInput) or items[0].path in (inputs or [])
    )
    return take_shard(items, items, shard), is_single


def take_shard(
    members: Sequence[MemberT], items: Sequence[AudioInput | FailedInput], shard: str | None
) -> list[MemberT]:
    """Of what belongs to each input, the part that --shard names.

    Raises:
        UsageError: it is not I/N.
    """
    if shard is None:
        return list(members)
    from asrkit.shards import Shard, costs

    return Shard.parse(shard).of(members, costs(items))


def open_journal(
    items: Sequence[AudioInput | FailedInput],
    target: Target,
    model: ModelOptions,
    *settings: object,
    resume: bool,
    skip_existing: bool,
    shard: str | None,
    dry_run: bool,
    second: str | None = None,
    files: Sequence[str] = (),
    also: Callable[[AudioInput | FailedInput], Mapping[str, Path]] | None = None,
) -> Journal:
    """What is done of the inputs: nothing, unless --resume or --skip-existing asks for it.

    Args:
        items: all inputs.
        target: where results go.
        model: what makes them.
        *settings: the options that it makes them with.
        resume: to go on, as if there had been no stop.
        skip_existing: the same, for one file an input.
        shard: the part of a batch that the inputs are.
        dry_run: fetch no model, write nothing; nothing is done with one not on this disk.
        second: the model beside it, if there is one.
        files: other files that it needs.
        also: more outputs of each input.

    Raises:
        UsageError: results go where no run can go on with them.
        CheckpointError: a model cannot be found.
        OutputError: the state file cannot be used.
    """
    from asrkit.resume import Journal, file_state

    if not (resume or skip_existing):
        return Journal(items)
    if skip_existing and target.directory is None:
        raise UsageError(
            "--skip-existing is for one file an input",
            hint="-o DIR/; --resume goes on with one file",
        )
    from asrkit.tasks.loading import identity

    model = replace(model, offline=model.offline or dry_run)
    models = [model, *([replace(model, model=second, revision=None)] if second else [])]
    try:
        weights = [identity(model) for model in models]
    except CheckpointError:
        if dry_run:
            return Journal(items)
        raise
    return Journal.beside(
        target,
        items,
        [weights, settings, [file_state(file) for file in files]],
        part="" if shard is None else "-" + shard.replace("/", "-of-"),
        also=also,
        is_dry=dry_run,
    )


def word_list(words: str | None) -> tuple[str, ...]:
    """The words of an option: a file with one a line, or a comma list.

    Raises:
        UsageError: the file is not readable as UTF-8.
    """
    if words is None:
        return ()
    path = Path(words)
    if not path.is_file():
        return tuple(word for word in (part.strip() for part in words.split(",")) if word)
    try:
        return tuple(path.read_text(encoding="utf-8-sig").split())
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as a list of words: {error}") from error
