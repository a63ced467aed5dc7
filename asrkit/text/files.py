"""What the files of all tokenizers share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from asrkit.errors import CheckpointError

_CLEAN_UP = (
    (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"),
    (" n't", "n't"), (" 'm", "'m"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
)  # fmt: skip

LANGUAGE_TOKEN = re.compile(r"<lang:(.+)>")


def languages_of(vocabulary: Mapping[str, Any]) -> list[str]:
    """The languages that a parsed vocab.json offers, in alphabetical order; none if one only.

    A CTC model nests a table for each; an encoder-decoder has a token for each, `<lang:fr>`.
    """
    if all(isinstance(value, Mapping) for value in vocabulary.values()):
        return sorted(vocabulary)
    return sorted(match[1] for token in vocabulary if (match := LANGUAGE_TOKEN.fullmatch(token)))


def clean_up(text: str) -> str:
    """Remove the spaces before punctuation and English contractions.

    Source: PreTrainedTokenizerBase.clean_up_tokenization of transformers.
    """
    for before, after in _CLEAN_UP:
        text = text.replace(before, after)
    return text


def indices(table: Mapping[str, Any]) -> dict[str, int]:
    """A table of tokens and their indices.

    Raises:
        CheckpointError: an index is none.
    """
    for token, index in table.items():
        if type(index) is not int or not 0 <= index < 1_000_000:
            raise CheckpointError(
                f"vocab.json: the index of {token!r} is {index!r}, expected an integer from 0"
            )
    return dict(table)


def string_setting(
    tokenizer_config: Mapping[str, Any],
    special_tokens_map: Mapping[str, Any],
    name: str,
    default: str,
) -> str:
    """A setting that is text, from the file that has it; tokens may be objects with a content.

    Raises:
        CheckpointError: not a string.
    """
    value = tokenizer_config.get(name, special_tokens_map.get(name, default))
    value = value.get("content") if isinstance(value, Mapping) else value
    if not isinstance(value, str):
        raise CheckpointError(f"tokenizer: {name} is {value!r}, expected a string")
    return value


def class_of(tokenizer_config: Mapping[str, Any], *expected: str) -> str:
    """Which of the expected tokenizers the files are of; the first where they do not say.

    Raises:
        CheckpointError: of another one.
    """
    kind: str = tokenizer_config.get("tokenizer_class", expected[0])
    if kind not in expected:
        raise CheckpointError(
            f"tokenizer_config.json: tokenizer_class {kind!r} is not supported, "
            f"expected {' or '.join(map(repr, expected))}"
        )
    return kind
