"""The command line: one thin file a subcommand. Only typer is imported at module scope."""
