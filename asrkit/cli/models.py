"""`asrkit models`: which models there are, what one is, and what it looks at."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from asrkit.cli import _options as opt
from asrkit.cli._command import AsrkitCommand, AsrkitGroup
from asrkit.cli._console import in_bytes, print_json
from asrkit.options import ModelOptions

_MODEL = ModelOptions()

Source = Annotated[
    str, typer.Argument(metavar="SOURCE", help="Hub id, directory, or embedded model.")
]
Sources = Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Hub ids.")]


def list_(cache_dir: opt.CacheDir = _MODEL.cache_dir, as_json: opt.AsJson = False) -> None:
    """List the models at hand: embedded ones, and those in the cache.

    Prints a row for each: what --model takes, where it is, its architecture, its size.

    Examples:
      asrkit models list
    """
    from asrkit.outputs import write_stdout
    from asrkit.tasks.catalog import list_models

    found = list_models(cache_dir)
    if as_json:
        print_json([asdict(item) for item in found])
        return
    rows = [("MODEL", "WHERE", "ARCHITECTURE", "SIZE")]
    rows += [(m.id, m.where, m.architecture, in_bytes(m.num_bytes)) for m in found]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for *cells, size in rows:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        write_stdout("  ".join((*padded, size)) + "\n")


def info(
    source: Source,
    revision: opt.Revision = _MODEL.revision,
    cache_dir: opt.CacheDir = _MODEL.cache_dir,
    offline: opt.Offline = _MODEL.offline,
    as_json: opt.AsJson = False,
) -> None:
    """Say what a model is: family, size, vocabulary, labels, languages, licence.

    Its files are fetched where they are not on this disk; nothing is loaded.

    Examples:
      asrkit models info demo-en
      asrkit models info facebook/mms-1b-all --json
    """
    from asrkit.outputs import write_stdout
    from asrkit.tasks.catalog import ModelDescription
    from asrkit.tasks.loading import find_checkpoint

    options = ModelOptions(source, revision, cache_dir=cache_dir, offline=offline)
    about = ModelDescription.of(find_checkpoint(options))
    if as_json:
        print_json(about.to_dict())
        return
    rows = {
        "model": about.id + (f" @ {about.revision}" if about.revision else ""),
        "directory": about.directory,
        "family": about.family,
        "architecture": about.architecture,
        "parameters": f"{about.num_parameters / 1e6:.2f} M",
        "weights": f"{in_bytes(about.num_bytes)}, {', '.join(about.dtype)}",
        "sample rate": f"{about.sample_rate} Hz",
        "vocabulary": f"{about.vocabulary_size} tokens" if about.vocabulary_size else "none",
        "labels": ", ".join(about.labels),
        "languages": ", ".join(about.languages),
        "language model": "yes" if about.has_language_model else "no",
        "licence": about.licence or "not stated",
    }
    for name, value in rows.items():
        if value:
            write_stdout(f"{name + ':':<16}{value}\n")


def download(
    sources: Sources,
    revision: opt.Revision = _MODEL.revision,
    cache_dir: opt.CacheDir = _MODEL.cache_dir,
    language: opt.Language = _MODEL.language,
    as_json: opt.AsJson = False,
) -> None:
    """Fetch models from the Hub into the cache, and print where they are.

    What is in the cache already is not fetched again. Commands then work with --offline.

    Examples:
      asrkit models download facebook/wav2vec2-base-960h
    """
    found = []
    for source in sources:
        options = ModelOptions(source, revision, cache_dir=cache_dir, language=language)
        found.append(_place(options, as_json=as_json))
    if as_json:
        print_json(found)


def path(
    source: Source,
    revision: opt.Revision = _MODEL.revision,
    cache_dir: opt.CacheDir = _MODEL.cache_dir,
    as_json: opt.AsJson = False,
) -> None:
    """Print the folder of a model that is on this disk.

    Opens no connection; exits with 5 if the model is not in the cache.

    Examples:
      ls "$(asrkit models path demo-en)"
    """
    options = ModelOptions(source, revision, cache_dir=cache_dir, offline=True)
    place = _place(options, as_json=as_json)
    if as_json:
        print_json(place)


def _place(options: ModelOptions, *, as_json: bool) -> dict[str, str | None]:
    """Where a model is; printed at once unless it becomes JSON."""
    from asrkit.outputs import write_stdout
    from asrkit.tasks.loading import find_checkpoint

    found = find_checkpoint(options)
    if not as_json:
        write_stdout(f"{found.directory}\n")
    return {"id": found.id, "revision": found.revision, "directory": str(found.directory)}


def attention(
    source: Source,
    audio: Annotated[str, typer.Argument(metavar="AUDIO", help="A recording.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The .html file to write.")
    ],
    revision: opt.Revision = _MODEL.revision,
    device: opt.Device = _MODEL.device,
    dtype: opt.Dtype = _MODEL.dtype,
    cache_dir: opt.CacheDir = _MODEL.cache_dir,
    offline: opt.Offline = _MODEL.offline,
) -> None:
    """Draw what every layer and head of a model attends to, as one HTML page.

    Of a CTC model the page shows the emissions too: how likely each token is when.

    Examples:
      asrkit models attention demo-en clip.wav -o map.html
    """
    from asrkit.outputs import encode, write_whole
    from asrkit.tasks.attention import attention_page

    options = ModelOptions(source, revision, device, dtype, cache_dir, offline)
    write_whole(output, encode(attention_page(audio, options)))


app = typer.Typer(
    cls=AsrkitGroup,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="List, describe and fetch models, and see what they look at.",
)
app.command("list", cls=AsrkitCommand)(list_)
for _command in (info, download, path, attention):
    app.command(cls=AsrkitCommand)(_command)
