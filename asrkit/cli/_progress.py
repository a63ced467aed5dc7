"""How far a run is: a bar for people, lines of JSON for programs. Both on stderr."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass

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


class Bar:
    """A bar that stays at the bottom of the terminal."""

    def __init__(self, *, has_color: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.fields[files]}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[speed]}"),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=Console(stderr=True, force_terminal=True, no_color=not has_color),
            transient=True,
        )
        self._task = self._progress.add_task("", total=None, files="", speed="")

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def show(self, state: State, *, is_last: bool = False) -> None:
        """The run is so far."""
        self._progress.update(
            self._task,
            total=state.seconds_total,
            completed=state.seconds_done,
            files=f"{state.done} done",
            speed=f"{state.rtfx:.1f} x real time",
        )

    def line(self, text: str) -> None:
        """Print a line of something else."""
        from rich.text import Text

        self._progress.console.print(Text.from_ansi(text), highlight=False, soft_wrap=True)


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
        now = time.monotonic()
        if is_last or now >= self._next:
            self._next = now + _EVENT_SECONDS
            self.line(json.dumps({"event": "progress"} | asdict(state)))

    def line(self, text: str) -> None:
        """Print a line of something else."""
        print(text, file=sys.stderr, flush=True)
