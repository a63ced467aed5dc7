"""`asrkit convert checkpoint`: original checkpoints in, safe and small ones out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from asrkit.cli import _options as opt
from asrkit.cli._console import Console, in_bytes
from asrkit.errors import ExitCode
from asrkit.options import TOLERANCES, ConvertOptions, ModelOptions

_MODEL, _CONVERT = ModelOptions(), ConvertOptions()
_RESULT, _ORIGINAL = "Result", "Original files"
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


def _in_bytes(text: str) -> int:
    """5GB, 500MB or 1000 as a number of bytes."""
    found = re.fullmatch(r"(\d+)\s*([KMG]?)B?", text.strip().upper())
    if found is None:
        raise typer.BadParameter(f"{text!r} is no size such as 5GB or 500MB")
    return int(found[1]) * _UNITS[found[2]]


def checkpoint(
    ctx: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="Hub id, directory, embedded model, or an original file of fairseq, torchaudio "
            "or s3prl.",
        ),
    ],
    output: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder to make; it must not exist.")
    ],
    dtype: Annotated[
        str | None,
        typer.Option(
            metavar="float32|float16|bfloat16",
            envvar="ASRKIT_CONVERT_DTYPE",  # not the numbers that other commands compute in
            help="Numbers on disk; as they are unless given.",
            rich_help_panel=_RESULT,
        ),
    ] = _CONVERT.dtype,
    quantize: Annotated[
        str | None,
        typer.Option(
            metavar="int8",
            help="Weights of transformer layers as 8-bit numbers, which run so on the CPU. The "
            "text changes a little, see --check.",
            rich_help_panel=_RESULT,
        ),
    ] = _CONVERT.quantize,
    shard_size: Annotated[
        int | None,
        typer.Option(
            metavar="SIZE",
            parser=_in_bytes,
            help="Largest file of weights, as 5GB or 500MB; one file unless given.",
            rich_help_panel=_RESULT,
        ),
    ] = _CONVERT.shard_size,
    merge_weight_norm: Annotated[
        bool,
        typer.Option(
            "--merge-weight-norm",
            metavar="",
            help="Store the positional convolution's weight itself as the direction of its weight "
            "norm, and its norms beside it: any loader reads it as before, others find the plain "
            "weight.",
            rich_help_panel=_RESULT,
        ),
    ] = _CONVERT.merge_weight_norm,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            metavar="",
            help="Run source and result on the same audio, and exit with 1 if they differ.",
            rich_help_panel=_RESULT,
        ),
    ] = _CONVERT.check,
    audio: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Recording to check with; noise unless given.",
            rich_help_panel=_RESULT,
        ),
    ] = _CONVERT.audio,
    tolerance: Annotated[
        float | None,
        typer.Option(
            metavar="NUMBER",
            help="Largest difference of outputs that passes; unless given, "
            f"{', '.join(f'{limit:g} for {name}' for name, limit in TOLERANCES.items())}.",
            rich_help_panel=_RESULT,
        ),
    ] = _CONVERT.tolerance,
    dictionary: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Tokens, one a line (dict.ltr.txt); looked for beside the file unless given.",
            rich_help_panel=_ORIGINAL,
        ),
    ] = _CONVERT.dictionary,
    sentencepiece: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="SentencePiece model; looked for beside the file unless given.",
            rich_help_panel=_ORIGINAL,
        ),
    ] = _CONVERT.sentencepiece,
    base: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="Model that a head of s3prl was trained on.",
            rich_help_panel=_ORIGINAL,
        ),
    ] = _CONVERT.base,
    config: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="JSON object of what the file does not say, in config.json's keys: id2label, "
            "num_attention_heads ...",
            rich_help_panel=_ORIGINAL,
        ),
    ] = _CONVERT.config,
    revision: opt.Revision = _MODEL.revision,
    language: opt.Language = _MODEL.language,
    cache_dir: opt.CacheDir = _MODEL.cache_dir,
    offline: opt.Offline = _MODEL.offline,
) -> ExitCode:
    """Rewrite a checkpoint as safetensors that asrkit and transformers load.

    No code of the source runs: files are read as tensors and settings, and nothing else.

    The folder appears when it is complete. Of a multilingual model it holds every language that is
    on this disk; from the Hub, --language fetches one more than the weights hold.

    Examples:
      asrkit convert checkpoint facebook/wav2vec2-base-960h small --dtype float16 --check
      asrkit convert checkpoint facebook/hubert-large-ls960-ft tiny --quantize int8 --dtype float16
      asrkit convert checkpoint wav2vec_small_960h.pt out --dictionary dict.ltr.txt
      asrkit convert checkpoint states-200000.ckpt out --base facebook/hubert-base-ls960
    """
    from asrkit.tasks.convert_checkpoint import convert_checkpoint

    console: Console = ctx.obj
    model = ModelOptions(source, revision, cache_dir=cache_dir, offline=offline, language=language)
    options = ConvertOptions(
        dtype,
        quantize,
        shard_size,
        merge_weight_norm,
        check,
        audio,
        tolerance,
        dictionary,
        sentencepiece,
        base,
        config,
    )
    done = convert_checkpoint(output, model, options)
    console.say(
        f"{done.output}: {done.architecture}, {done.num_parameters / 1e6:.2f} M numbers in "
        f"{done.dtype}, {in_bytes(done.num_bytes)}"
    )
    if done.difference is None:
        return ExitCode.OK
    console.say(
        f"largest difference of outputs: {done.difference:.3g} (they reach {done.scale:.3g}, "
        f"{done.tolerance:g} passes)"
    )
    return ExitCode.OK if done.is_equal else ExitCode.CHECK_FAILED
