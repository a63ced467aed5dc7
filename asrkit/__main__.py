"""`python -m asrkit`, and the entry point of the installed command."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType

from asrkit.cli.words import QUESTION, answer
from asrkit.errors import ExitCode

_RETRY_SECONDS = 0.02
_PATIENCE_SECONDS = 1.0


def main() -> None:
    """Run the command line and exit with its code, or answer a shell that completes one."""
    if sys.argv[1:2] == [QUESTION] and len(sys.argv) > 2:
        words = answer(sys.argv[2], sys.argv[3:])
        sys.stdout.buffer.write("".join(f"{word}\n" for word in words).encode())
        return
    from asrkit.cli.app import app

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    if os.name == "posix":
        alarms, ringing = os.pipe()
        os.set_blocking(ringing, False)
        signal.set_wakeup_fd(ringing, warn_on_full_buffer=False)
        threading.Thread(target=_end_in_time, args=(alarms,), daemon=True).start()
    try:
        app()
    except SystemExit as end:
        if end.code in (ExitCode.INTERRUPTED, ExitCode.TERMINATED):
            os._exit(end.code)  # at once, and not when the memory of a model is taken apart
        raise


def _end_in_time(alarms: int) -> None:
    """Wait for a signal to end, and end the process if it has not ended a little later.

    Python handles signals between two calls, and one call of a large model may take long.
    """
    while (number := os.read(alarms, 1)[0]) not in (signal.SIGINT, signal.SIGTERM):
        pass
    time.sleep(_PATIENCE_SECONDS)
    outputs = sys.modules.get("asrkit.outputs")
    if outputs is not None:
        outputs.settle()
    if os.isatty(2):
        os.write(2, b"\x1b[?25h\n")  # show the cursor that a progress bar hides
    os._exit(128 + number)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    """Raise an exception, though never in a callback from libsndfile, which would lose it."""
    while frame is not None:
        if frame.f_globals.get("__name__") == "soundfile" and frame.f_code.co_name.startswith(
            "vio"
        ):
            threading.Timer(_RETRY_SECONDS, signal.raise_signal, (signum,)).start()
            return
        frame = frame.f_back
    if signum == signal.SIGTERM:
        raise SystemExit(ExitCode.TERMINATED)
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
