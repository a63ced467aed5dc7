"""`python -m asrkit`, and the entry point of the installed command."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType

from asrkit.cli.words import QUESTION, answer

_RETRY_SECONDS = 0.02


def main() -> None:
    """Run the command line and exit with its code, or answer a shell that completes one."""
    if sys.argv[1:2] == [QUESTION] and len(sys.argv) > 2:
        sys.stdout.write("".join(f"{word}\n" for word in answer(sys.argv[2], sys.argv[3:])))
        return
    from asrkit.cli.app import app

    signal.signal(signal.SIGINT, _interrupt)
    app()


def _interrupt(signum: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, though never in a callback from libsndfile, which would lose it."""
    while frame is not None:
        if frame.f_globals.get("__name__") == "soundfile" and frame.f_code.co_name.startswith(
            "vio"
        ):
            threading.Timer(_RETRY_SECONDS, signal.raise_signal, (signum,)).start()
            return
        frame = frame.f_back
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
