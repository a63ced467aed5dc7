"""`asrkit completion`: the script that teaches a shell to complete asrkit's command lines."""

from __future__ import annotations

from typing import Annotated

import typer


def completion(
    shell: Annotated[
        str,
        typer.Argument(metavar="bash|zsh|fish|powershell", help="Whose script to print."),
    ],
) -> None:
    """Print the completion script of a shell.

    It completes commands, options, formats, names of models, languages and files by kind.
    Save it where the shell looks for such scripts, and start a new shell.

    Examples:
      asrkit completion bash > ~/.local/share/bash-completion/completions/asrkit
      asrkit completion zsh > ~/.zfunc/_asrkit  # with fpath+=~/.zfunc before compinit
      asrkit completion fish > ~/.config/fish/completions/asrkit.fish
      asrkit completion powershell >> $PROFILE
    """
    from asrkit.cli.docs.completion import script
    from asrkit.cli.docs.tree import command_tree
    from asrkit.outputs import write_stdout

    write_stdout(script(shell, command_tree()))
