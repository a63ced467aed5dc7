"""Speech recognition with Wav2Vec2, HuBERT and Speech2Text checkpoints, in plain PyTorch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asrkit.audio import read_audio as read_audio
    from asrkit.errors import AsrkitError as AsrkitError
    from asrkit.models.runtime import load_model as load_model
    from asrkit.options import DecodingOptions as DecodingOptions
    from asrkit.options import EvaluateOptions as EvaluateOptions
    from asrkit.options import GenerationOptions as GenerationOptions
    from asrkit.options import ModelOptions as ModelOptions
    from asrkit.options import TranscribeOptions as TranscribeOptions
    from asrkit.options import TranslateOptions as TranslateOptions
    from asrkit.tasks.align import align as align
    from asrkit.tasks.classify import classify as classify
    from asrkit.tasks.embed import embed as embed
    from asrkit.tasks.evaluate import evaluate as evaluate
    from asrkit.tasks.generator import Generator as Generator
    from asrkit.tasks.recognizer import Recognizer as Recognizer
    from asrkit.tasks.transcribe import transcribe as transcribe
    from asrkit.tasks.translate import translate as translate
    from asrkit.types import Audio as Audio
    from asrkit.types import Transcript as Transcript

__version__ = "0.1.0"

# Public name -> where it lives. Loaded on first use, so that `import asrkit` costs nothing.
_HOMES = {
    "AsrkitError": "asrkit.errors",
    "Audio": "asrkit.types",
    "DecodingOptions": "asrkit.options",
    "GenerationOptions": "asrkit.options",
    "Generator": "asrkit.tasks.generator",
    "EvaluateOptions": "asrkit.options",
    "ModelOptions": "asrkit.options",
    "Recognizer": "asrkit.tasks.recognizer",
    "TranscribeOptions": "asrkit.options",
    "Transcript": "asrkit.types",
    "TranslateOptions": "asrkit.options",
    "align": "asrkit.tasks.align",
    "classify": "asrkit.tasks.classify",
    "embed": "asrkit.tasks.embed",
    "evaluate": "asrkit.tasks.evaluate",
    "load_model": "asrkit.models.runtime",
    "read_audio": "asrkit.audio",
    "transcribe": "asrkit.tasks.transcribe",
    "translate": "asrkit.tasks.translate",
}

__all__ = [
    "AsrkitError",
    "Audio",
    "DecodingOptions",
    "EvaluateOptions",
    "GenerationOptions",
    "Generator",
    "ModelOptions",
    "Recognizer",
    "TranscribeOptions",
    "Transcript",
    "TranslateOptions",
    "__version__",
    "align",
    "classify",
    "embed",
    "evaluate",
    "load_model",
    "read_audio",
    "transcribe",
    "translate",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'asrkit' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
