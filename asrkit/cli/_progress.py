"""How far a run is: a bar for people, lines of JSON for programs. Both on stderr."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self  # in typing from Python 3.11

STYLES = ("auto", "bar", "json", "none")
_EVENT_SECONDS = 0.5  # between two lines of JSON at least


@dataclass(frozen=True)
class State:
    """How far a run is. The fields are those of the JSON lines, and a public contract.

    Attributes:
        done: inputs that are finished.
        failed: inputs that failed.
        total: inputs.
        seconds_done: of audio.
        seconds_total: of audio, None where it is not known.
        eta: seconds until the end, None where it is not known.
        rtfx: seconds of audio in a second.
    """

    done: int
    failed: int
    total: int
    seconds_done: float
    seconds_total: float | None
    eta: float | None
    rtfx: float


class _OnTerminal:
    """A bar that stays at the bottom of the terminal."""

    def __init__(self, first: str, *after: str, has_color: bool, **fields: Any) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn(first),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            *map(TextColumn, after),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=Console(stderr=True, force_terminal=True, no_color=not has_color),
            transient=True,
        )
        self._task = self._progress.add_task("", total=None, **fields)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def line(self, text: str) -> None:
        """Print a line of something else."""
        from rich.text import Text

        self._progress.console.print(Text.from_ansi(text), highlight=False, soft_wrap=True)


class Bar(_OnTerminal):
    """How much of the audio is done."""

    def __init__(self, *, has_color: bool) -> None:
        super().__init__(
            "{task.fields[files]}", "{task.fields[speed]}", has_color=has_color, files="", speed=""
        )

    def show(self, state: State, *, is_last: bool = False) -> None:
        """The run is so far."""
        self._progress.update(
            self._task,
            total=state.seconds_total,
            completed=state.seconds_done,
            files=f"{state.done} done",
            speed=f"{state.rtfx:.1f} x real time",
        )


class StageBar(_OnTerminal):
    """What is being done, and how much of it."""

    def __init__(self, *, has_color: bool) -> None:
        super().__init__("{task.description}", has_color=has_color)

    def stage(self, name: str, done: float) -> None:
        """So much of this stage is done, from 0 to 1; another name begins another stage."""
        if name != self._progress.tasks[0].description:
            self._progress.reset(self._task, total=1.0, description=name)
        self._progress.update(self._task, completed=done)


class JsonLines:
    """A line of JSON when the run begins, at most every half second, and when it ends."""

    def __init__(self) -> None:
        self._next = 0.0

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(self, *exception: object) -> None:
        """Nothing is open."""

    def show(self, state: State, *, is_last: bool = False) -> None:
        """The run is so far."""
        self._event({"event": "progress"} | asdict(state), is_wanted=is_last)

    def stage(self, name: str, done: float) -> None:
        """So much of this stage is done, from 0 to 1."""
        self._event({"event": "stage", "name": name, "done": done}, is_wanted=done in (0.0, 1.0))

    def _event(self, event: dict[str, Any], *, is_wanted: bool) -> None:
        now = time.monotonic()
        if is_wanted or now >= self._next:
            self._next = now + _EVENT_SECONDS
            self.line(json.dumps(event))

    def line(self, text: str) -> None:
        """Print a line of something else."""
        print(text, file=sys.stderr, flush=True)
