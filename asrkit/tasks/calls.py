"""What the functions of the Python API share: keywords to options, inputs, failures raised."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import fields
from typing import Any, TypeVar

from asrkit.errors import UsageError
from asrkit.inputs import FailedInput
from asrkit.options import ModelOptions
from asrkit.types import Audio, AudioInput

OptionsT = TypeVar("OptionsT")
ResultT = TypeVar("ResultT")


def divide_options(
    command: str, kind: type[OptionsT], given: dict[str, Any]
) -> tuple[OptionsT, dict[str, Any]]:
    """The options of a command, checked, and those of its model by name.

    Raises:
        UsageError: the command has no such option, or a value cannot work.
    """
    known = {item.name for item in fields(kind)}  # type: ignore[arg-type]  # all are dataclasses
    of_model = {item.name for item in fields(ModelOptions)} - {"model"}
    if unknown := given.keys() - known - of_model:
        raise UsageError(f"{command} has no option {', '.join(sorted(unknown))}")
    options = kind(**{name: given[name] for name in given.keys() & known})
    return options, {name: given[name] for name in given.keys() & of_model}


def named_inputs(inputs: Any) -> list[AudioInput | Audio]:
    """A path, an `Audio`, or a sequence of them as inputs of a stream."""
    items = [inputs] if isinstance(inputs, (str, os.PathLike, Audio)) else list(inputs)
    return [item if isinstance(item, Audio) else AudioInput(os.fspath(item)) for item in items]


def all_results(stream: Iterable[ResultT | FailedInput]) -> list[ResultT]:
    """The results of a stream; the first failure is raised."""
    results = []
    for result in stream:
        if isinstance(result, FailedInput):
            raise result.error
        results.append(result)
    return results
