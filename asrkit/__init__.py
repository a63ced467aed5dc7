"""Speech recognition with Wav2Vec2 and HuBERT checkpoints, in plain PyTorch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asrkit.models.runtime import load_model as load_model
    from asrkit.tasks.transcribe import transcribe as transcribe

__version__ = "0.1.0"

# Public name -> where it lives. Loaded on first use, so that `import asrkit` costs nothing.
_HOMES = {"load_model": "asrkit.models.runtime", "transcribe": "asrkit.tasks.transcribe"}

__all__ = ["__version__", "load_model", "transcribe"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'asrkit' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
