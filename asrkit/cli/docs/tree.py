"""The command tree as plain data: commands, their options, and what may stand where.

What a place takes is said once, by its metavar: lower-case words between bars are its choices
(`auto|greedy|beam`), `[,` means a comma list, and `PLACES` says what the other words stand for.
Names of formats come from the option's `autocompletion`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asrkit.inputs import AUDIO_SUFFIXES, MANIFEST_SUFFIXES
from asrkit.options import LM_SUFFIXES

if TYPE_CHECKING:
    from typer._click import Command as ClickCommand
    from typer._click import Context, Parameter

# What a word of a metavar stands for: files of a kind, folders, or words that this machine knows.
PLACES = {
    "ARPA": ("@lms",),
    "AUDIO": ("@audio",),
    "CODE": ("@languages",),
    "DIR": ("@directories",),
    "FILE": ("@files",),
    "HYP": ("@files",),
    "IN": ("@texts", "@directories"),
    "INPUT": ("@audio",),
    "MANIFEST": ("@audio",),
    "MODEL": ("@models", "@directories"),
    "OUT": ("@directories",),
    "PATH": ("@lms",),  # of a language model
    "QUERY": ("@audio",),
    "REF": ("@files",),
    "SOURCE": ("@models", "@directories"),
    "TEXT": ("@texts",),
    "TRIALS": ("@files",),
}
# What nobody can know before it is typed.
FREE = set("COLUMN FACTOR HOST I N NAME NUMBER P PERCENT POINTS RATE REV SECONDS SIZE X".split())

_EXAMPLES = "Examples:\n"


@dataclass(frozen=True)
class Place:
    """An option, or an operand, which has no names.

    Attributes:
        names: of an option, the long one first, as `--model -m`.
        metavar: what stands for a value; empty for a flag.
        help: what it is for.
        panel: heading of its group in --help; "Options" where it has none.
        default: as --help shows it; empty if it says none.
        variable: of the environment, that sets it; empty if none does.
        limits: of a number, as `x>=1`.
        is_required: a command line without it is an error.
        is_repeated: it may stand several times.
        is_list: its value is a comma list.
        num_values: words after an option, 0 for a flag; 1 for an operand.
        takes: what completes it: words, and kinds of words (`@models`) or of files (`@audio`).
    """

    names: tuple[str, ...]
    metavar: str
    help: str
    panel: str
    default: str
    variable: str
    limits: str
    is_required: bool
    is_repeated: bool
    is_list: bool
    num_values: int
    takes: tuple[str, ...]

    @property
    def is_named_by_rule(self) -> bool:
        """Whether its variable has the name of the option, as ASRKIT_BATCH_SIZE of --batch-size."""
        option = self.names[0].removeprefix("--") if self.names else ""
        return self.variable == f"ASRKIT_{option.replace('-', '_').upper()}"

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for what --help says in brackets."""
        low, _, high = self.limits.removeprefix("x>=").partition("<=x<=")
        limits = f"From {low} to {high}." if high else f"At least {low}." if low else ""
        default = f"Default: {self.default}." if self.default else ""
        return tuple(filter(None, (limits, default, "Required." if self.is_required else "")))


@dataclass(frozen=True)
class Command:
    """A command.

    Attributes:
        path: its words, the program first.
        summary: one sentence.
        description: paragraphs.
        examples: command lines.
        options: in the order of --help, but --help itself last.
        operands: in their order.
        commands: its subcommands.
    """

    path: tuple[str, ...]
    summary: str
    description: tuple[str, ...]
    examples: tuple[str, ...]
    options: tuple[Place, ...]
    operands: tuple[Place, ...]
    commands: tuple[Command, ...]

    @property
    def name(self) -> str:
        """The words as one."""
        return " ".join(self.path)

    @property
    def panels(self) -> dict[str, list[Place]]:
        """The options by the headings of their groups, "Options" first, in the order of --help."""
        found: dict[str, list[Place]] = {"Options": []}
        for place in self.options:
            found.setdefault(place.panel, []).append(place)
        return found

    def walk(self) -> Iterator[Command]:
        """This command and all below it."""
        yield self
        for command in self.commands:
            yield from command.walk()


def command_tree() -> Command:
    """The whole command line of asrkit."""
    import typer

    from asrkit.cli.app import app

    return _command(typer.main.get_command(app), ("asrkit",), None)


def suffixes() -> dict[str, tuple[str, ...]]:
    """Suffixes of the files of each kind."""
    from asrkit.formats import FORMATS

    kinds = {
        "@audio": AUDIO_SUFFIXES | MANIFEST_SUFFIXES,
        "@texts": FORMATS.suffixes,
        "@lms": LM_SUFFIXES,
    }
    return {kind: tuple(sorted(found)) for kind, found in kinds.items()}


def _command(command: ClickCommand, path: tuple[str, ...], parent: Context | None) -> Command:
    context = command.make_context(path[-1], [], parent, resilient_parsing=True)
    text, _, examples = (command.help or "").partition(_EXAMPLES)
    summary, *description = (" ".join(part.split()) for part in text.strip().split("\n\n"))
    parameters = [item for item in command.get_params(context) if not getattr(item, "hidden", None)]
    model = next((_default(item) for item in parameters if "--model" in item.opts), "")
    places = [_place(item, context, model) for item in parameters]
    return Command(
        path=path,
        summary=summary,
        description=tuple(description),
        examples=tuple(line.strip() for line in examples.splitlines()),
        options=tuple(place for place in places if place.names),
        operands=tuple(place for place in places if not place.names),
        commands=tuple(
            _command(below, (*path, name), context)
            for name, below in getattr(command, "commands", {}).items()
            if not below.hidden
        ),
    )


def _place(item: Any, context: Context, model: str) -> Place:
    is_option = item.param_type_name == "option"
    metavar = "" if getattr(item, "is_flag", False) else item.metavar or ""
    if not is_option:
        metavar = metavar.strip("[]").removesuffix("...")
    names = sorted((*item.opts, *item.secondary_opts), key=len, reverse=True) if is_option else ()
    variables = [item.envvar] if isinstance(item.envvar, str) else item.envvar or []
    return Place(
        names=tuple(names),
        metavar=metavar,
        help=item.help or "",
        panel=getattr(item, "rich_help_panel", None) or "Options",
        default=_default(item),
        variable=", ".join(variables),
        limits=getattr(item.type, "_describe_range", str)(),
        is_required=item.required,
        is_repeated=item.nargs == -1 or getattr(item, "multiple", False),
        is_list="[," in metavar,
        num_values=abs(item.nargs) if metavar else 0,
        takes=_takes(item, metavar, context, model),
    )


def _default(item: Any) -> str:
    """What --help says of it."""
    if isinstance(item.show_default, str):
        return item.show_default
    is_said = item.show_default and item.default is not None and item.default is not False
    return str(item.default) if is_said else ""


def _takes(item: Parameter, metavar: str, context: Context, model: str) -> tuple[str, ...]:
    found = [choice.value for choice in item.shell_complete(context, "")]
    for word in re.split(r"[| ]", re.sub(r"\[.*?\]", "", metavar)):
        found += PLACES.get(word, (word,) if re.fullmatch(r"[a-z][\w-]*", word) else ())
    if "@files" in found:
        found = [kind for kind in found if kind != "@directories"]
    return tuple(
        f"{kind}={model}" if kind == "@languages" and model else kind
        for kind in dict.fromkeys(found)
    )
