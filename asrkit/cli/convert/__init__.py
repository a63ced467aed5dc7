"""`asrkit convert`: one form into another. A subcommand is one file here and one line below."""

from __future__ import annotations

import typer

from asrkit.cli._command import AsrkitCommand, AsrkitGroup
from asrkit.cli.convert.checkpoint import checkpoint
from asrkit.cli.convert.lm import lm
from asrkit.cli.convert.transcript import transcript

app = typer.Typer(
    cls=AsrkitGroup,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Convert checkpoints, transcripts and language models.",
)
for _command in (checkpoint, lm, transcript):
    app.command(cls=AsrkitCommand)(_command)
