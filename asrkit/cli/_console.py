"""What the subcommands say and write: messages, progress, the summary, results."""

from __future__ import annotations

import json
import logging
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TextIO, TypeVar

import typer

from asrkit import __version__
from asrkit.cli._progress import Bar, JsonLines, StageBar, State
from asrkit.errors import AsrkitError, ExitCode, InputError, OutputError
from asrkit.options import EngineOptions, ModelOptions

if TYPE_CHECKING:
    from asrkit.inputs import FailedInput
    from asrkit.outputs import Target
    from asrkit.resume import Journal
    from asrkit.tasks.engines import Item, Job
    from asrkit.types import AudioInput


class Describable(Protocol):
    """What a command loads."""

    def describe(self) -> str:
        """One line for people."""


ModelT = TypeVar("ModelT", bound=Describable)
_COLORS = {"error": "red", "warning": "yellow", "hint": "cyan", "note": "cyan"}


@dataclass
class Console:
    """Everything that is not a result: messages, progress and the summary, on stderr.

    Attributes:
        is_quiet: errors only.
        is_verbose: details too.
        is_debug: errors come with their traceback.
        color: auto, always or never.
        progress_style: one of `STYLES`.
        log_file: gets every line too, with its time.
        no_config: no file of settings is read.
        given: names of those above that the command line sets.
        settings: (name, value, where from) of options that neither it nor a default sets.
        notes: what to say when the command starts.
        config_files: files of settings that were read.
        arguments: the command line.
    """

    is_quiet: bool = False
    is_verbose: bool = False
    is_debug: bool = False
    color: str = "auto"
    progress_style: str = "auto"
    log_file: str | None = None
    no_config: bool = False
    given: set[str] = field(default_factory=set)
    settings: list[tuple[str, object, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    config_files: list[str] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)
    seconds_done: float = 0.0
    num_done: int = 0
    num_failed: int = 0
    num_skipped: int = 0
    _num_inputs: int = 0
    _total_seconds: float | None = None
    _started: float = field(default_factory=time.monotonic)
    _meter: Bar | StageBar | JsonLines | None = None
    _log: LogFile | None = None

    def start(self) -> None:
        """The options are known and work begins.

        Raises:
            OutputError: the log cannot be written.
        """
        level = logging.ERROR if self.is_quiet else logging.INFO if self.is_verbose else None
        logging.basicConfig(format="%(levelname)s: %(message)s".lower(), stream=sys.stderr)
        logging.getLogger("asrkit").setLevel(level or logging.WARNING)
        if self.log_file is not None:
            self._log = LogFile(self.log_file)
            self._log.write(f"asrkit {__version__}: {shlex.join(self.arguments)}")
        for note in self.notes:  # a stranger's file cannot silence them, --quiet can
            self._line(f"note: {note}", is_shown=not (self.is_quiet and "is_quiet" in self.given))
        if self.config_files:
            self.detail(f"settings from {', '.join(self.config_files)}")
        for name, value, where in self.settings:
            self.detail(f"{name} = {value} ({where})")

    def close(self, code: int) -> None:
        """The run is over."""
        self.log(f"exit code {code}")
        if self._log is not None:
            self._log.close()
            self._log = None

    def has_color(self, stream: TextIO) -> bool:
        """Whether colours are wanted on a stream."""
        if self.color != "auto":
            return self.color == "always"
        if os.environ.get("NO_COLOR"):
            return False
        forced = (os.environ.get(name, "") for name in ("FORCE_COLOR", "CLICOLOR_FORCE"))
        return any(value not in ("", "0") for value in forced) or (
            stream.isatty() and os.environ.get("TERM") != "dumb"
        )

    def say(self, message: str) -> None:
        """A line for people; silent with --quiet."""
        self._line(message, is_shown=not self.is_quiet)

    def detail(self, message: str) -> None:
        """A line that only --verbose shows."""
        self._line(message, is_shown=self.is_verbose and not self.is_quiet)

    def warning(self, message: str) -> None:
        """Something that a result should be read with; silent with --quiet."""
        self.say(f"warning: {message}")

    def complain(self, message: str) -> None:
        """A line that is said even with --quiet."""
        self._line(message)

    def failure(self, error: AsrkitError) -> None:
        """One input failed; the others go on."""
        self.num_failed += 1
        self.report(error.message, error.hint)

    def report(self, message: str, hint: str | None) -> None:
        """Say what went wrong and what to do."""
        self._line(f"error: {message}")
        if hint:
            self._line(f"hint: {hint}")

    def report_settings(self, message: str) -> None:
        """Say which settings an error about options may come from, if not from the command line."""
        named = [item for item in self.settings if item[0] in message or repr(item[1]) in message]
        shown = [f"{name} = {value} ({where})" for name, value, where in named or self.settings]
        if shown:
            self._line(f"note: not from the command line: {', '.join(shown)}")

    def log(self, text: str) -> None:
        """Text for the log file alone."""
        if self._log is not None:
            self._log.write(text)

    def _line(self, message: str, *, is_shown: bool = True) -> None:
        self.log(message)
        if not is_shown:
            return
        kind, colon, rest = message.partition(":")
        has_color = kind in _COLORS and self.has_color(sys.stderr)
        if has_color:
            message = typer.style(kind + colon, fg=_COLORS[kind], bold=True) + rest
        if self._meter is not None:
            self._meter.line(message)
        else:
            typer.echo(message, err=True, color=has_color)

    def show_plan(self, journal: Journal, target: Target) -> None:
        """Print what would be read and written, one line an input that is not done."""
        from asrkit.inputs import FailedInput
        from asrkit.outputs import write_stdout

        for index, item in enumerate(journal.inputs):
            if isinstance(item, FailedInput):
                self.failure(item.error)
                continue
            if index in journal:
                self.num_skipped += 1
                continue
            self.num_done += 1
            files = target.files(item).values()
            written = ", ".join(map(str, files)) or str(target.file or "standard output")
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

    def run(
        self,
        job: Job,
        inputs: Iterable[Item],
        engine: EngineOptions,
        *,
        note: str | None = None,
    ) -> Iterator[Any]:
        """The results of a job, for `write_results`.

        Args:
            job: what to do.
            inputs: what with.
            engine: where.
            note: what to say before.
        """
        from asrkit.tasks.engines import run

        if note is not None:
            self.say(note)
        return run(job, inputs, engine, on_progress=self.advance, on_start=self.detail)

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
        left = [item for index, item in enumerate(journal.inputs) if index not in journal]
        with self.progress(left):
            self.write_each(journal, target, results)
        self.summary()

    def write_each(
        self,
        journal: Journal,
        target: AbstractContextManager[Callable[[int, Any], None]],
        results: Iterable[Any],
    ) -> None:
        """As `write_results`, without progress and summary."""
        from asrkit.inputs import FailedInput

        with target as write:
            for index, result in enumerate(results):
                try:
                    write(index, result)
                except InputError as error:  # a format cannot hold it
                    self.failure(error)
                    continue
                if index in journal:
                    self.num_skipped += 1
                    continue
                if isinstance(result, FailedInput):
                    self.failure(result.error)
                    continue
                self.num_done += 1
                for warning in getattr(result, "warnings", ()):
                    self.warning(f"{result.source}: {warning}")

    @contextmanager
    def stages(self) -> Iterator[Callable[[str, float], None]]:
        """Show what is being done and how much of it, from 0 to 1; as `progress` does."""
        style = self._style()
        if style == "none":
            yield lambda name, done: None
            return
        color = self.has_color(sys.stderr)
        with JsonLines() if style == "json" else StageBar(has_color=color) as meter:
            self._meter = meter
            try:
                yield meter.stage
            finally:
                self._meter = None

    @contextmanager
    def progress(self, inputs: Sequence[AudioInput | FailedInput]) -> Iterator[Console]:
        """Show how much of the audio is done; unless asked for only on a terminal."""
        self._started = time.monotonic()
        style = self._style()
        if style == "none":
            yield self
            return
        self._num_inputs, self._total_seconds = len(inputs), _total_seconds(inputs)
        with JsonLines() if style == "json" else Bar(has_color=self.has_color(sys.stderr)) as meter:
            self._meter = meter
            meter.show(self._state())
            try:
                yield self
            finally:
                meter.show(self._state(), is_last=True)
                self._meter = None

    def _style(self) -> str:
        if self.progress_style == "auto":
            return "bar" if sys.stderr.isatty() and not self.is_quiet else "none"
        return self.progress_style

    def advance(self, seconds: float) -> None:
        """So much more audio is done."""
        self.seconds_done += seconds
        if isinstance(self._meter, (Bar, JsonLines)):
            self._meter.show(self._state())

    def _state(self) -> State:
        speed = self.seconds_done / max(time.monotonic() - self._started, 1e-3)
        total = self._total_seconds
        return State(
            done=self.num_done,
            failed=self.num_failed,
            total=self._num_inputs,
            seconds_done=round(self.seconds_done, 3),
            seconds_total=None if total is None else round(total, 3),
            eta=round(max(total - self.seconds_done, 0) / speed, 1) if total and speed else None,
            rtfx=round(speed, 2),
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


class LogFile:
    """A file that several runs may append to at once: each entry is written in one piece."""

    def __init__(self, path: str) -> None:
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        except OSError as error:
            raise OutputError(
                f"{path}: cannot be written: {error.strerror}", hint="--log-file names another file"
            ) from error

    def write(self, text: str) -> None:
        """Append text after the time. A full disk ends no run."""
        now = datetime.now().astimezone().isoformat(timespec="milliseconds")
        with suppress(OSError):
            os.write(self._file, f"{now} {text}\n".encode(errors="backslashreplace"))

    def close(self) -> None:
        """The last entry is written."""
        os.close(self._file)


def _total_seconds(inputs: Sequence[AudioInput | FailedInput]) -> float | None:
    """Seconds of audio in all inputs; None if too many or one does not say."""
    from asrkit.shards import durations

    seconds = [second for second in durations(inputs) if second is not None]
    return sum(seconds) if len(seconds) == len(inputs) else None


def print_json(value: object) -> None:
    """A result as JSON, on standard output."""
    from asrkit.outputs import write_stdout

    write_stdout(json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")


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
