"""What the functions of the Python API share: keywords to options, inputs, failures raised."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from asrkit.errors import UsageError
from asrkit.inputs import FailedInput
from asrkit.options import ModelOptions
from asrkit.suggest import nearest
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
    check_names(command, given, kind, ModelOptions)
    of_model = {name: given[name] for name in given.keys() & names_of(ModelOptions)}
    return kind(**{name: given[name] for name in given.keys() - of_model}), of_model


def check_names(command: str, given: Iterable[str], *kinds: Any) -> None:
    """Hold that keywords are options.

    Args:
        command: whose options they are to be.
        given: the keywords.
        *kinds: the dataclasses whose fields are its options.

    Raises:
        UsageError: the command has no such option; the hint says which may be meant.
    """
    known = {item.name: item.default_factory for kind in kinds for item in fields(kind)}
    unknown = sorted(set(given) - known.keys())
    if not unknown:
        return
    ways = {name: [name] for name in known}
    for name, inner in known.items():
        if is_dataclass(inner):
            own = f"{name}={inner.__module__}.{inner.__name__}"
            for field in names_of(inner) - known.keys():
                ways.setdefault(field, []).append(f"{own}({field}=...)")
    meant = nearest(unknown[0], ways)
    hint = f"did you mean {' or '.join(ways[meant[0]])}?" if meant else None
    raise UsageError(f"{command} has no option {', '.join(unknown)}", hint=hint)


def names_of(kind: Any) -> set[str]:
    """The fields of a dataclass."""
    return {item.name for item in fields(kind)}


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
