"""The JSON files of a model: one object each, of a size that can be, or a clear error."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from asrkit.errors import CheckpointError

_MAX_BYTES = 50_000_000


def read_object(path: Path, *, keys: Collection[str] | None = None) -> dict[str, Any]:
    """Read a file that is one JSON object.

    Args:
        path: the file.
        keys: those that it must have, and no others; None takes any.

    Raises:
        CheckpointError: unreadable, larger than 50 MB, not UTF-8, not JSON, not an object, or with
            other keys.
    """
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise CheckpointError(f"{path}: {size} bytes, expected at most {_MAX_BYTES}")
        content = json.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: a JSON {type(content).__name__}, expected an object")
    if keys is not None and set(content) != set(keys):
        raise CheckpointError(f"{path}: found {sorted(content)}, expected the keys {sorted(keys)}")
    return content
