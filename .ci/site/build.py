"""The site: README and its siblings, the command line, the Python names.

    python .ci/site/build.py OUT     # needs the extra `docs`; begin with OUT/index.html

Commands come from the tree that man pages and completions come from, Python names from their
docstrings. A link that leads nowhere, and any other warning, is an error.
"""

from __future__ import annotations

import importlib
import inspect
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from asrkit.cli.app import EPILOG, EXIT_CODES
from asrkit.cli.docs.tree import Command, Place, command_tree

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
GUIDES = ("examples/README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "CHANGELOG.md")
CARDS = tuple(
    sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("asrkit/assets/*/README.md"))
)
# Title of a page -> the names on it, by where a user imports them from
API = {
    "Functions": {"asrkit": "transcribe align translate classify embed evaluate"},
    "Results": {
        "asrkit": "Transcript",
        "asrkit.types": "Segment Word Character Alternative ModelInfo Classification Label Window "
        "Turn Embedding",
        "asrkit.report.model": "Report Score SystemReport Comparison Check Row",
    },
    "Options": {
        "asrkit": "ModelOptions TranscribeOptions DecodingOptions GenerationOptions "
        "TranslateOptions EvaluateOptions",
        "asrkit.options": "ChunkOptions SegmentOptions AlignOptions ClassifyOptions EmbedOptions",
    },
    "Audio and models": {
        "asrkit": "Audio read_audio load_model Recognizer Generator",
        "asrkit.models.heads": "HeadOutput XVectorOutput",
    },
    "CTC": {
        "asrkit.ctc": "Emissions FrameClock BestPath collapse forced_align BeamDecoder Alphabet "
        "LanguageModel",
        "asrkit.types": "TokenSpan TextSpan Hypothesis",
    },
    "Formats": {"asrkit.formats": "render read_segments Format Registry"},
    "Errors": {
        "asrkit": "AsrkitError",
        "asrkit.errors": "UsageError InputError AudioError ManifestError OutputError "
        "CheckpointError UnsafeCheckpointError MissingExtraError OfflineError ExitCode",
    },
}


def pages() -> dict[str, str]:
    """The Markdown of every page by its path, the home page and what pages link to included."""
    tree = command_tree()
    commands = {f"cli/{'-'.join(item.path)}.md": command_page(item) for item in tree.walk()}
    commands["cli/asrkit.md"] += "\n" + common()
    names = {f"api/{title.lower().replace(' ', '-')}.md": api_page(title) for title in API}
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in (*GUIDES, *CARDS)}
    home = (ROOT / "README.md").read_text(encoding="utf-8")
    for caption, group in {
        "Guides": GUIDES, "Commands": commands, "Python": names, "Embedded models": CARDS,
    }.items():  # fmt: skip
        home += (
            f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n" + "\n".join(group) + "\n```\n"
        )
    return {"index.md": home} | texts | commands | names


def command_page(command: Command) -> str:
    """All that --help says of a command."""
    words = [command.name, "COMMAND ..." if command.commands else "[OPTIONS]"]
    for place in command.operands:
        word = place.metavar + (" ..." if place.is_repeated else "")
        words.append(word if place.is_required else f"[{word}]")
    parts = [
        f"# {command.name}",
        *map(_text, (command.summary, *command.description)),
        _block("sh", [" ".join(words)]),
        *(["## Examples", _block("sh", command.examples)] if command.examples else []),
    ]
    if command.commands:
        links = (
            f"- [{below.name}]({'-'.join(below.path)}.md): {_text(below.summary)}"
            for below in command.commands
        )
        parts += ["## Commands", "\n".join(links)]
    parts += [_block(f"{{program}} {command.name}", [])]
    for heading, places in {"Arguments": command.operands, **command.panels}.items():
        parts += [f"## {heading}", *map(_option, places)] if places else []
    return "\n\n".join(parts) + "\n"


def common() -> str:
    """What holds for every command: where options may stand, and exit codes."""
    settings = _text(EPILOG.partition(" Exit codes:")[0])
    rows = (f"| {code:d} | {text} |" for code, text in EXIT_CODES.items())
    return "\n".join(
        [
            "## Settings",
            "",
            settings,
            "",
            "## Exit codes",
            "",
            "| code | meaning |",
            "|---|---|",
            *rows,
            "",
        ]
    )


def api_page(title: str) -> str:
    """The docstrings of some names."""
    directives = (
        f".. {_directive(getattr(importlib.import_module(module), name))}:: {module}.{name}"
        for module, names in API[title].items()
        for name in names.split()
    )
    return f"# {title}\n\n{_block('{eval-rst}', directives)}\n"


def _directive(value: object) -> str:
    if not inspect.isclass(value):
        return "autofunction"
    return "autoexception" if issubclass(value, BaseException) else "autoclass"


def _option(place: Place) -> str:
    metavar = f" {place.metavar}" if place.metavar else ""
    names = ", ".join(f"{name}{metavar}" for name in place.names) or place.metavar
    words = [place.help, *place.notes]
    if place.variable and not place.is_named_by_rule:
        words.append(f"Variable: {place.variable}.")
    return _block(f"{{option}} {names}", [_text(" ".join(words))])


def _block(kind: str, lines: Iterable[str]) -> str:
    return "\n".join([f"```{kind}", *lines, "```"])


def _text(text: str) -> str:
    """Literal text in Markdown."""
    return re.sub(r"([\\`*_{}\[\]<>|#$~])", r"\\\1", text)


def _linked_files(page: str, text: str) -> Iterator[Path]:
    """Files of the checkout that a page links to and that are no pages themselves."""
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        path = (ROOT / page).parent.joinpath(link).resolve()
        if path.is_file() and path.suffix != ".md":
            yield path.relative_to(ROOT)


def main() -> int:
    """Lay out the pages, and let Sphinx make HTML of them."""
    from sphinx.cmd.build import main as sphinx

    (out,) = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        for name, text in pages().items():
            page = Path(folder, name)
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(text, encoding="utf-8")
            for path in () if name.startswith(("cli/", "api/")) else _linked_files(name, text):
                Path(folder, path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / path, Path(folder, path))
        doctrees = str(Path(folder, "doctrees"))
        return sphinx(["-q", "-W", "--keep-going", "-c", str(HERE), "-d", doctrees, folder, out])


if __name__ == "__main__":
    sys.exit(main())
