"""The command tree, and the one place that turns exceptions into messages and exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from asrkit import __version__
from asrkit.cli.align import align
from asrkit.cli.classify import classify
from asrkit.cli.convert import app as convert
from asrkit.cli.embed import embed
from asrkit.cli.eval_wer import eval_wer
from asrkit.cli.models import app as models
from asrkit.cli.transcribe import transcribe
from asrkit.cli.translate import translate
from asrkit.errors import AsrkitError, ExitCode

# Other tools' names of options, which many hands know.
_ALIASES = {
    "--output-format": "--format",
    "--output-dir": "--output",
    "--beam-size": "--beam-width",
    "--no-repeat-ngram-size": "--no-repeat-ngram",
    "--target-language": "--target-lang",
}

EPILOG = (
    "Exit codes: 0 all done, 1 a check that was asked for failed, 2 usage error, 3 some inputs "
    "failed, 4 nothing could be done, 5 not in the cache and offline, 130 interrupted, "
    "143 terminated."
)


class AsrkitGroup(TyperGroup):
    """A command group whose errors are two plain lines on stderr and an `ExitCode`."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command line. Tests and the installed command both come through here."""
        arguments = [_canonical_option(item) for item in (sys.argv[1:] if args is None else args)]
        try:
            code = super().main(
                arguments, prog_name, complete_var, False, windows_expand_args, **extra
            )
        except typer.TyperException as error:
            code = ExitCode.USAGE
            if message := error.format_message():  # empty when the help was shown instead
                command = getattr(getattr(error, "ctx", None), "command_path", "asrkit")
                report(message, f"{command} --help", code)
        except AsrkitError as error:
            if "--debug" in arguments:
                raise
            code = error.exit_code
            if code is ExitCode.SOME_FAILED:  # it ended the run, so it was all there was
                code = ExitCode.NOTHING_DONE
            report(error.message, error.hint, code)
        except (KeyboardInterrupt, typer.Abort):
            code = ExitCode.INTERRUPTED
        except BrokenPipeError:  # whoever read stdout has enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = ExitCode.OK
        except Exception as error:
            if "--debug" in arguments:
                raise
            code = report(
                f"internal error: {type(error).__name__}: {error}",
                "this is a fault in asrkit; --debug shows where, for a report",
                ExitCode.NOTHING_DONE,
            )
        if standalone_mode:
            sys.exit(int(code or ExitCode.OK))
        return code


def report(message: str, hint: str | None, code: ExitCode) -> ExitCode:
    """Say on stderr what went wrong and what to do; gives `code` back."""
    typer.echo(f"error: {message}", err=True)
    if hint:
        typer.echo(f"hint: {hint}", err=True)
    return code


def _canonical_option(argument: str) -> str:
    """`--max_line_width=30` as `--max-line-width=30`; anything but an option stays as it is."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    name = name.replace("_", "-")
    return _ALIASES.get(name, name) + equals + value


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"asrkit {__version__}")
        raise typer.Exit


app = typer.Typer(
    name="asrkit",
    cls=AsrkitGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
    epilog=EPILOG,
)


@app.callback()
def asrkit(
    version: Annotated[
        bool,
        typer.Option(
            "--version", metavar="", callback=_show_version, is_eager=True, help="Show the version."
        ),
    ] = False,
) -> None:
    """Speech recognition and translation with Wav2Vec2, HuBERT and Speech2Text checkpoints."""


app.command(epilog=EPILOG)(transcribe)
app.command(epilog=EPILOG)(translate)
app.command(epilog=EPILOG)(align)
app.command(epilog=EPILOG)(classify)
app.command(epilog=EPILOG)(embed)
app.add_typer(convert, name="convert", epilog=EPILOG)
app.add_typer(models, name="models", epilog=EPILOG)
app.command("eval-wer", epilog=EPILOG)(eval_wer)
