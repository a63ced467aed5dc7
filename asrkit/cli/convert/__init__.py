"""`asrkit convert`: one form into another. A subcommand is one file here and one line below."""

from __future__ import annotations

import typer

from asrkit.cli.convert.checkpoint import checkpoint
from asrkit.cli.convert.lm import lm

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Convert checkpoints, transcripts and language models.",
)
app.command()(checkpoint)
app.command()(lm)
