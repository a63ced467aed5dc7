"""`python -m asrkit`, and the entry point of the installed command."""

from __future__ import annotations

from asrkit.cli.app import app


def main() -> None:
    """Run the command line and exit with its code."""
    app()


if __name__ == "__main__":
    main()
