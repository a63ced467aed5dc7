"""`asrkit convert`: one form into another. A subcommand is one file here and one line below."""

from __future__ import annotations

import typer

from asrkit.cli._command import AsrkitCommand, AsrkitGroup
from asrkit.cli.convert.checkpoint import checkpoint

app = typer.Typer(
    cls=AsrkitGroup,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Convert checkpoints.",
)
app.command(cls=AsrkitCommand)(checkpoint)
