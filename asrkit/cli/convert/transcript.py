"""`asrkit convert transcript`: transcripts and subtitles from one format to another."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from asrkit.cli import _options as opt
from asrkit.cli._console import Console
from asrkit.options import SegmentOptions, TranscriptOptions

_OPTIONS, _SEGMENTS = TranscriptOptions(), SegmentOptions()
_INPUT, _TIMES, _SUBTITLES = "Input", "Times", "Subtitles"


def _factor(value: str | float) -> float:
    """1.04, 25/24 or 25/23.976 as a number."""
    above, slash, below = str(value).partition("/")
    try:
        return float(above) / float(below if slash else 1)
    except (ValueError, ZeroDivisionError):
        raise typer.BadParameter(f"{value!r} is no number or fraction such as 25/24") from None


def transcript(
    ctx: typer.Context,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="IN...",
            help="Transcripts: files, directories (with -r), quoted globs, or - for standard "
            "input. JSON of Whisper, whisper.cpp, WhisperX and transformers is read too.",
            show_default=False,
        ),
    ],
    from_format: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="NAME",
            help="Format of all inputs, a name of --format.",
            show_default="what their suffixes say",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    recursive: opt.Recursive = False,
    shift: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="Add to all times, after --scale. Times before 0 become 0; what ends before 0 is "
            "dropped.",
            rich_help_panel=_TIMES,
        ),
    ] = _OPTIONS.shift,
    scale: Annotated[
        float,
        typer.Option(
            metavar="FACTOR",
            parser=_factor,
            help="Multiply all times by a number or fraction, as 25/23.976.",
            rich_help_panel=_TIMES,
        ),
    ] = _OPTIONS.scale,
    formats: opt.Formats = None,
    output: opt.Output = "-",
    max_line_width: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Characters in a line. This and the following cut speech anew where words have "
            "times, and wrap lines where they have none; else segments and lines stay as they are.",
            show_default=f"{_SEGMENTS.max_line_width}, where lines are made",
            rich_help_panel=_SUBTITLES,
        ),
    ] = None,
    max_line_count: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Lines of a subtitle.",
            show_default=str(_SEGMENTS.max_line_count),
            rich_help_panel=_SUBTITLES,
        ),
    ] = None,
    max_words_per_line: opt.MaxWordsPerLine = None,
    max_pause: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            metavar="SECONDS",
            help="A longer silence ends a subtitle.",
            show_default=str(_SEGMENTS.max_pause),
            rich_help_panel=_SUBTITLES,
        ),
    ] = None,
    dry_run: opt.DryRun = False,
) -> int:
    """Convert transcripts and subtitles, and move or reshape them on the way.

    All formats but txt have times to give. A file may hold several recordings
    (jsonl, ctm, rttm, and tables with a column id): each is written to
    -o DIR/ as a file called by its id, or all to one place in a format that
    holds many.

    Examples:
      asrkit convert transcript talk.json -o talk.srt
      asrkit convert transcript talk.srt -f vtt --scale 25/23.976 --shift -1.5
      asrkit convert transcript whisperx/ -r -f textgrid,ctm -o out/
      asrkit convert transcript talk.json -f srt --max-line-width 32 --max-line-count 1
      curl -s https://example.org/talk.srt | asrkit convert transcript - --from srt -f txt
    """
    from asrkit.formats import FORMATS, render
    from asrkit.inputs import FailedInput, iter_texts
    from asrkit.outputs import Target
    from asrkit.resume import Journal
    from asrkit.tasks.convert_transcript import convert_stream, recordings_in

    console: Console = ctx.obj
    shape = {
        "max_pause": max_pause,
        "max_line_width": max_line_width,
        "max_line_count": max_line_count,
        "max_words_per_line": max_words_per_line,
    }
    given = {name: value for name, value in shape.items() if value is not None}
    segments = SegmentOptions(**given) if given else None  # type: ignore[arg-type]  # by name
    options = TranscriptOptions(shift, scale, segments)
    known = FORMATS.find(from_format.lower()) if from_format else None
    suffixes = known.suffixes if known else set(FORMATS.suffixes) - set(FORMATS["txt"].suffixes)
    recordings = list(recordings_in(iter_texts(inputs, suffixes, recursive=recursive), known))
    items = [item if isinstance(item, FailedInput) else item.item for item in recordings]
    target = Target.parse(output, formats, is_single=len(items) == 1)
    target.check(items, has_times=True)
    journal = Journal(items)
    written = target.open(journal, partial(render, options=segments or _SEGMENTS))
    if console.is_settled(journal, target, written, options, dry_run=dry_run):
        return console.exit_code()
    console.write_each(journal, written, convert_stream(recordings, options))
    return console.exit_code()
