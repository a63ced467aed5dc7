"""The command tree, and the one place that turns exceptions into messages and exit codes."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperOption

from asrkit import __version__
from asrkit.cli._command import AsrkitCommand, AsrkitGroup, global_options, where_from
from asrkit.cli._console import Console
from asrkit.cli.align import align
from asrkit.cli.classify import classify
from asrkit.cli.completion import completion
from asrkit.cli.convert import app as convert
from asrkit.cli.doctor import DoctorCommand, doctor
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

EXIT_CODES = {
    ExitCode.OK: "all done",
    ExitCode.CHECK_FAILED: "a check that was asked for failed",
    ExitCode.USAGE: "usage error",
    ExitCode.SOME_FAILED: "some inputs failed",
    ExitCode.NOTHING_DONE: "nothing could be done",
    ExitCode.OFFLINE: "not in the cache and offline",
    ExitCode.INTERRUPTED: "interrupted",
    ExitCode.TERMINATED: "terminated",
}
EPILOG = (
    "Any option can stand in the environment (ASRKIT_BATCH_SIZE for --batch-size) or in "
    "asrkit.toml; --no-FLAG undoes a flag that does. "
    f"Exit codes: {', '.join(f'{code:d} {text}' for code, text in EXIT_CODES.items())}."
)


class AsrkitRoot(AsrkitGroup):
    """The whole tree; its errors are two plain lines on stderr and an `ExitCode`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.params += global_options()

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
        console = Console(arguments=arguments)
        try:
            code = super().main(
                arguments, prog_name, complete_var, False, windows_expand_args, obj=console, **extra
            )
        except typer.TyperException as error:
            code = ExitCode.USAGE
            _report_usage(console, error)
        except AsrkitError as error:
            if console.is_debug:
                raise
            code = error.exit_code
            if code is ExitCode.SOME_FAILED:  # it ended the run, so it was all there was
                code = ExitCode.NOTHING_DONE
            console.report(error.message, error.hint)
            if code is ExitCode.USAGE:
                console.report_settings(error.message)
        except (KeyboardInterrupt, typer.Abort):
            code = ExitCode.INTERRUPTED
        except BrokenPipeError:  # whoever read stdout has enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = ExitCode.OK
        except Exception as error:
            if console.is_debug:
                raise
            code = ExitCode.NOTHING_DONE
            console.log(traceback.format_exc())
            console.report(
                f"internal error: {type(error).__name__}: {error}",
                "this is a fault in asrkit; --debug shows where, for a report",
            )
        console.close(int(code or ExitCode.OK))
        if standalone_mode:
            sys.exit(int(code or ExitCode.OK))
        return code


def _report_usage(console: Console, error: typer.TyperException) -> None:
    """A command line that does not parse, or a value from elsewhere that does not."""
    message = error.format_message()
    if not message:  # the help was shown instead
        return
    ctx, option = getattr(error, "ctx", None), getattr(error, "param", None)
    hint = f"{ctx.command_path if ctx else 'asrkit'} --help"
    if ctx and isinstance(option, TyperOption) and (where := where_from(ctx, option)):
        message = f"{where}: {message}"
        hint = f"unset {where}" if where == option.envvar else "--no-config goes without files"
    if near := getattr(error, "possibilities", None):
        message, hint = error.message, f"did you mean {near[0]}?"
    console.report(message, hint)


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
    cls=AsrkitRoot,
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


for _command in (transcribe, translate, align, classify, embed):
    app.command(cls=AsrkitCommand, epilog=EPILOG)(_command)
app.add_typer(convert, name="convert", epilog=EPILOG)
app.add_typer(models, name="models", epilog=EPILOG)
app.command(cls=AsrkitCommand, epilog=EPILOG)(eval_wer)
app.command(cls=DoctorCommand, epilog=EPILOG)(doctor)
app.command(cls=AsrkitCommand, epilog=EPILOG)(completion)
for command in (*convert.registered_commands, *models.registered_commands):
    command.epilog = EPILOG
