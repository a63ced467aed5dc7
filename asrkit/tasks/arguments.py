"""What the Python functions of all tasks do with their arguments."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from asrkit.errors import UsageError
from asrkit.options import ModelOptions
from asrkit.types import Audio, AudioInput


def inputs_of(inputs: Any) -> list[AudioInput | Audio]:
    """A path, an `Audio`, or a sequence of them, as inputs."""
    items = [inputs] if isinstance(inputs, (str, os.PathLike, Audio)) else list(inputs)
    return [item if isinstance(item, Audio) else AudioInput(os.fspath(item)) for item in items]


def split_options(
    function: str, options: Mapping[str, Any], own: type[Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Sort keyword arguments into those of `ModelOptions` and those of a task.

    Args:
        function: its name, for the message.
        options: the keyword arguments.
        own: the task's option dataclass.

    Raises:
        UsageError: an argument is neither's.
    """
    of_model = {item.name for item in fields(ModelOptions)} - {"model"}
    of_task = {item.name for item in fields(own)}
    if unknown := options.keys() - of_model - of_task:
        raise UsageError(f"{function} has no option {', '.join(sorted(unknown))}")
    return (
        {name: value for name, value in options.items() if name in of_model},
        {name: value for name, value in options.items() if name in of_task},
    )
