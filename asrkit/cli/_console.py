"""What the subcommands say and write: messages, progress, the summary, results."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import typer

from asrkit.errors import AsrkitError, ExitCode
from asrkit.options import ModelOptions

if TYPE_CHECKING:
    from rich.progress import Progress

    from asrkit.inputs import FailedInput
    from asrkit.outputs import Target
    from asrkit.resume import Journal
    from asrkit.types import AudioInput


class Describable(Protocol):
    """What a command loads."""

    def describe(self) -> str:
        """One line for people."""


ModelT = TypeVar("ModelT", bound=Describable)


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
    num_skipped: int = 0
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

    def show_plan(self, journal: Journal, target: Target) -> None:
        """Print what would be read and written, one line an input that is not done."""
        from asrkit.inputs import FailedInput
        from asrkit.outputs import write_stdout

        for index, files in enumerate(target.files(journal.inputs)):
            item = journal.inputs[index]
            if isinstance(item, FailedInput):
                self.failure(item.error)
                continue
            if index in journal:
                self.num_skipped += 1
                continue
            self.num_done += 1
            written = ", ".join(map(str, files.values())) or str(target.file or "standard output")
            write_stdout(f"{item.path} -> {written}\n")

    def is_settled(
        self,
        journal: Journal,
        target: Target,
        results: AbstractContextManager[Callable[[int, Any], None]],
        *settings: object,
        dry_run: bool,
    ) -> bool:
        """Whether no model is needed: for a dry run, which is shown, or with nothing left to do.

        Args:
            journal: of all inputs.
            target: where results go.
            results: the target, ready to be opened; it takes what is known of inputs that are done.
            *settings: what a dry run shows.
            dry_run: whether it is one.
        """
        from asrkit.inputs import FailedInput

        if dry_run:
            self.show_plan(journal, target)
            self.say("\n".join(map(str, settings)))
            return True
        failed = [item for item in journal.inputs if isinstance(item, FailedInput)]
        if len(failed) + len(journal) < len(journal.inputs):
            return False
        if len(journal):
            self.write_results(journal, results, journal.inputs)
            return True
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
        journal: Journal,
        target: AbstractContextManager[Callable[[int, Any], None]],
        results: Iterable[Any],
    ) -> None:
        """Write results as they come, one an input, and say what went wrong and how long it took.

        Args:
            journal: of all inputs.
            target: opened, to take the results.
            results: of `journal.pending()`; calls `advance` while it works.
        """
        from asrkit.inputs import FailedInput

        left = [item for index, item in enumerate(journal.inputs) if index not in journal]
        with target as write, self.progress(left):
            for index, result in enumerate(results):
                write(index, result)
                if index in journal:
                    self.num_skipped += 1
                    continue
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
        if self.num_skipped:
            parts.append(f"{self.num_skipped} done before")
        if self.num_failed:
            parts.append(f"{self.num_failed} failed")
        self.say(" · ".join(parts))

    def exit_code(self) -> ExitCode:
        """What the numbers of done and failed inputs mean to the shell."""
        if not self.num_failed:
            return ExitCode.OK
        is_any_done = self.num_done or self.num_skipped
        return ExitCode.SOME_FAILED if is_any_done else ExitCode.NOTHING_DONE


def _total_seconds(inputs: Sequence[AudioInput | FailedInput]) -> float | None:
    """Seconds of audio in all inputs; None if too many or one does not say."""
    from asrkit.shards import durations

    seconds = [second for second in durations(inputs) if second is not None]
    return sum(seconds) if len(seconds) == len(inputs) else None


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
