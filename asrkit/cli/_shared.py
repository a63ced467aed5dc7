"""What the subcommands share: options, the console, progress, results on stdout."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeVar

import typer

from asrkit.errors import AsrkitError, ExitCode, UsageError
from asrkit.options import ModelOptions
from asrkit.types import AudioInput

if TYPE_CHECKING:
    from rich.progress import Progress

    from asrkit.inputs import FailedInput
    from asrkit.outputs import Target

_INPUT, _MODEL, _DECODING = "Input", "Model", "Decoding"
_OUTPUT, _RUN = "Output", "Running"
GENERATION, _SUBTITLES = "Generation", "Subtitles"


class Describable(Protocol):
    """What a command loads."""

    def describe(self) -> str:
        """One line for people."""


ModelT = TypeVar("ModelT", bound=Describable)
_MAX_PROBED = 5_000  # files whose length is looked up for the progress bar

# ---------------------------------------------------------------------------- options, as aliases
# The defaults stand in the dataclasses of asrkit.options; a command takes them from there.

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
        envvar="ASRKIT_MODEL",
        help="Hub id (user/name or user/name@revision), directory, or embedded model.",
        show_default=default,
        rich_help_panel=_MODEL,
    )


Model = Annotated[str | None, model_option(ModelOptions.model)]
Revision = Annotated[
    str | None,
    typer.Option(
        metavar="REV",
        envvar="ASRKIT_REVISION",
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
        envvar="ASRKIT_DEVICE",
        help="Where the model runs.",
        rich_help_panel=_MODEL,
    ),
]
Dtype = Annotated[
    str,
    typer.Option(
        metavar="float32|float16|bfloat16",
        envvar="ASRKIT_DTYPE",
        help="Numbers that the model computes in.",
        rich_help_panel=_MODEL,
    ),
]
CacheDir = Annotated[
    str | None,
    typer.Option(
        metavar="DIR",
        envvar="ASRKIT_CACHE_DIR",
        help="Where Hub files are kept; the standard Hugging Face cache unless given.",
        rich_help_panel=_MODEL,
    ),
]
Offline = Annotated[
    bool,
    typer.Option(
        "--offline",
        metavar="",
        envvar="ASRKIT_OFFLINE",
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
Lm = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        envvar="ASRKIT_LM",
        help="Language model: .arpa or KenLM .bin file, or language_model folder.",
        show_default="the model's own",
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
        help="Score of every word.",
        show_default="its own",
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
        help="Tokens of the text of a piece at most.",
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
        envvar="ASRKIT_THREADS",
        help="CPU threads of the model; all cores unless given.",
        rich_help_panel=_RUN,
    ),
]
BatchSize = Annotated[
    int,
    typer.Option(
        min=1,
        metavar="N",
        envvar="ASRKIT_BATCH_SIZE",
        help="Chunks of audio that go through the model together.",
        rich_help_panel=_RUN,
    ),
]


def format_option(names: str, default: str) -> Any:
    """`--format` of a command, with the names that it knows."""
    return typer.Option(
        "--format",
        "-f",
        metavar="NAME[,NAME...]",
        envvar="ASRKIT_FORMAT",
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
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", metavar="", help="Say what would be done, and stop.", rich_help_panel=_RUN
    ),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", metavar="", help="Errors only on stderr.", rich_help_panel=_RUN),
]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", metavar="", help="More on stderr.", rich_help_panel=_RUN),
]
Debug = Annotated[
    bool,
    typer.Option("--debug", metavar="", help="Show tracebacks of errors.", rich_help_panel=_RUN),
]


def read_inputs(
    inputs: list[str] | None,
    *,
    recursive: bool,
    files_from: str | None,
    audio_column: str,
    id_column: str,
    text_column: str = "text",
) -> tuple[list[AudioInput | FailedInput], bool]:
    """The inputs that the arguments name, and whether they name one file and no more."""
    from asrkit.inputs import FailedInput, iter_inputs

    items = list(
        iter_inputs(
            inputs or [],
            recursive=recursive,
            files_from=files_from,
            audio_column=audio_column,
            text_column=text_column,
            id_column=id_column,
        )
    )
    is_single = len(items) == 1 and (
        isinstance(items[0], FailedInput) or items[0].path in (inputs or [])
    )
    return items, is_single


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


# ------------------------------------------------------------------------------- stdout, stderr


@dataclass
class Console:
    """Everything that is not a result: messages, progress and the summary, on stderr.

    Attributes:
        is_quiet: errors only.
        is_verbose: details too.
    """

    is_quiet: bool = False
    is_verbose: bool = False
    seconds_done: float = 0.0
    num_done: int = 0
    num_failed: int = 0
    _started: float = field(default_factory=time.monotonic)
    _progress: Progress | None = None

    def __post_init__(self) -> None:
        level = logging.ERROR if self.is_quiet else logging.INFO if self.is_verbose else None
        logging.basicConfig(format="%(levelname)s: %(message)s".lower(), stream=sys.stderr)
        logging.getLogger("asrkit").setLevel(level or logging.WARNING)

    def say(self, message: str) -> None:
        """A line for people; silent with --quiet."""
        if not self.is_quiet:
            self._line(message)

    def detail(self, message: str) -> None:
        """A line that only --verbose shows."""
        if self.is_verbose and not self.is_quiet:
            self._line(message)

    def warning(self, message: str) -> None:
        """Something that a result should be read with; silent with --quiet."""
        self.say(f"warning: {message}")

    def complain(self, message: str) -> None:
        """A line that is said even with --quiet."""
        self._line(message)

    def failure(self, error: AsrkitError) -> None:
        """One input failed; the others go on."""
        self.num_failed += 1
        self._line(f"error: {error.message}")
        if error.hint:
            self._line(f"hint: {error.hint}")

    def _line(self, message: str) -> None:
        if self._progress is not None:
            self._progress.console.print(message, markup=False, highlight=False, soft_wrap=True)
        else:
            typer.echo(message, err=True)

    def show_plan(self, inputs: Sequence[AudioInput | FailedInput], target: Target) -> None:
        """Print what would be read and written, one line an input."""
        from asrkit.inputs import FailedInput
        from asrkit.outputs import write_stdout

        for item, files in zip(inputs, target.files(inputs), strict=True):
            if isinstance(item, FailedInput):
                self.failure(item.error)
                continue
            self.num_done += 1
            written = ", ".join(map(str, files.values())) or str(target.file or "standard output")
            write_stdout(f"{item.path} -> {written}\n")

    def is_settled(
        self,
        inputs: Sequence[AudioInput | FailedInput],
        target: Target,
        *settings: object,
        dry_run: bool,
    ) -> bool:
        """Whether no model is needed: for a dry run, which is shown, or without a usable input."""
        from asrkit.inputs import FailedInput

        if dry_run:
            self.show_plan(inputs, target)
            self.say("\n".join(map(str, settings)))
            return True
        failed = [item for item in inputs if isinstance(item, FailedInput)]
        if len(failed) < len(inputs):
            return False
        for item in failed:
            self.failure(item.error)
        return True

    def load(
        self,
        load: Callable[[ModelOptions], ModelT],
        options: ModelOptions,
        *,
        threads: int | None,
        note: str | None = None,
    ) -> ModelT:
        """Load a model and say which it is.

        Args:
            load: of the class that the command needs.
            options: which model.
            threads: of the CPU; None takes all cores.
            note: what to say before.
        """
        from asrkit.models.runtime import set_num_threads

        if threads is not None:
            set_num_threads(threads)
        if note is not None:
            self.say(note)
        model = load(options)
        self.detail(model.describe())
        return model

    def write_results(
        self,
        inputs: Sequence[AudioInput | FailedInput],
        target: Target,
        render: Callable[[Any, str], str],
        results: Iterable[Any],
    ) -> None:
        """Write results as they come, one an input, and say what went wrong and how long it took.

        Args:
            inputs: all inputs, in order.
            target: where results go.
            render: gives the text of a result in the format of a name.
            results: calls `advance` while it works.
        """
        from asrkit.inputs import FailedInput

        with target.open(inputs, render) as write, self.progress(inputs):
            for index, result in enumerate(results):
                write(index, result)
                if isinstance(result, FailedInput):
                    self.failure(result.error)
                    continue
                self.num_done += 1
                for warning in getattr(result, "warnings", ()):
                    self.warning(f"{result.source}: {warning}")
        self.summary()

    @contextmanager
    def progress(self, inputs: Sequence[AudioInput | FailedInput]) -> Iterator[Console]:
        """Show how much of the audio is done; only on a terminal."""
        self._started = time.monotonic()
        if self.is_quiet or not sys.stderr.isatty():
            yield self
            return
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.fields[files]}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[speed]}"),
            TextColumn("ETA"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=RichConsole(stderr=True), transient=True) as progress:
            self._progress = progress
            progress.add_task("", total=_total_seconds(inputs), files="", speed="")
            try:
                yield self
            finally:
                self._progress = None

    def advance(self, seconds: float) -> None:
        """So much more audio is done."""
        self.seconds_done += seconds
        if self._progress is not None:
            speed = self.seconds_done / max(time.monotonic() - self._started, 1e-3)
            self._progress.update(
                self._progress.task_ids[0],
                advance=seconds,
                files=f"{self.num_done} done",
                speed=f"{speed:.1f} x real time",
            )

    def summary(self) -> None:
        """The line at the end: files, audio, time, speed, failures."""
        elapsed = time.monotonic() - self._started
        parts = [
            f"{self.num_done} file{'s' if self.num_done != 1 else ''}",
            f"{in_words(self.seconds_done)} of audio",
            f"{in_words(elapsed)}",
            f"{self.seconds_done / max(elapsed, 1e-9):.1f} x real time",
        ]
        if self.num_failed:
            parts.append(f"{self.num_failed} failed")
        self.say(" · ".join(parts))

    def exit_code(self) -> ExitCode:
        """What the numbers of done and failed inputs mean to the shell."""
        if not self.num_failed:
            return ExitCode.OK
        return ExitCode.SOME_FAILED if self.num_done else ExitCode.NOTHING_DONE


def _total_seconds(inputs: Sequence[AudioInput | FailedInput]) -> float | None:
    """Seconds of audio in all inputs by their headers; None if too many or one does not say."""
    from asrkit.audio import open_audio
    from asrkit.inputs import FailedInput

    total = 0.0
    for item in inputs:
        if isinstance(item, FailedInput):
            continue
        if item.path == "-" or len(inputs) > _MAX_PROBED:
            return None
        with suppress(AsrkitError), open_audio(item, sample_rate=16_000) as reader:
            if reader.duration is None:
                return None
            total += reader.duration
    return total


def in_words(seconds: float) -> str:
    """A duration for people: 4.2 s, 2 m 31 s, 3 h 04 m."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} m {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} m"


def in_bytes(count: int) -> str:
    """A size for people: 312 B, 3.3 MB, 1.26 GB."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} B"
