"""The labels of a CTC decoder with a language model: one text per logit column.

The files and the normalisation are those of pyctcdecode 0.5.0 and Wav2Vec2ProcessorWithLM: the
blank is the empty label, the word delimiter is a space, and in a BPE alphabet a label that starts
a word starts with "▁".
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from asrkit.errors import CheckpointError, listed
from asrkit.json_files import read_object

BLANK = ""
SPACE = " "
BOUNDARY = "▁"  # of a word, in a BPE alphabet

FILE_NAME = "alphabet.json"
_UNKNOWN = "⁇"
_UNKNOWN_BPE = "▁⁇▁"
_KEYS = ("labels", "is_bpe")
_SPECIAL = re.compile(r"^[<\[].+[>\]]$")
_BLANK_PATTERN = re.compile(r"^[<\[]pad[>\]]$", re.IGNORECASE)
_UNKNOWN_PATTERN = re.compile(r"^[<\[]unk[>\]]$", re.IGNORECASE)


@dataclass(frozen=True)
class Alphabet:
    """Normalised labels.

    Attributes:
        labels: the text of each logit column; "" is the blank, " " ends a word.
        is_bpe: whether words start at "▁" instead of ending at a space.

    Raises:
        CheckpointError: no blank among the labels.
    """

    labels: tuple[str, ...]
    is_bpe: bool = False

    def __post_init__(self) -> None:
        if BLANK not in self.labels:
            raise CheckpointError(
                f"no empty label among {len(self.labels)}; CTC needs one for its blank"
            )

    @classmethod
    def build(cls, labels: Sequence[str], *, is_bpe: bool | None = None) -> Alphabet:
        """Normalise the tokens of a vocabulary, in the order of the logit columns.

        Args:
            labels: `|` becomes a space and `<pad>`, `[PAD]` or `_` the blank; a blank that is
                nowhere is appended. In a BPE vocabulary `##` continues a word.
            is_bpe: None decides by the labels: BPE has `##` or `▁` at the start of some.

        Raises:
            CheckpointError: a label appears twice, or a BPE label holds a space.

        Source: Alphabet.build_alphabet of pyctcdecode 0.5.0.
        """
        labels = list(labels)
        repeated = sorted({label for label in labels if labels.count(label) > 1})
        if repeated:
            raise CheckpointError(
                f"labels: {listed(map(repr, repeated))} more than once, expected once"
            )
        if is_bpe is None:
            is_bpe = any(label.startswith(("##", BOUNDARY)) for label in labels)
        if is_bpe and any(SPACE in label for label in labels):
            raise CheckpointError(
                "labels: a space in a label of a BPE vocabulary, expected ▁ or ##"
            )
        if is_bpe and any(label.startswith("##") for label in labels):
            labels = [_boundary_style(label) for label in labels]
        if not is_bpe and "|" in labels and SPACE not in labels:
            labels[labels.index("|")] = SPACE
        labels = [BLANK if _BLANK_PATTERN.match(label) else label for label in labels]
        if not is_bpe and "_" in labels and BLANK not in labels:
            labels[labels.index("_")] = BLANK
        if BLANK not in labels:
            labels.append(BLANK)
        unknown = _UNKNOWN_BPE if is_bpe else _UNKNOWN
        labels = [unknown if _UNKNOWN_PATTERN.match(label) else label for label in labels]
        return cls(tuple(labels), is_bpe)

    @classmethod
    def from_tokens(
        cls,
        tokens: Sequence[str | None],
        *,
        blank: int,
        word_delimiter: str | None = "|",
        unknown: str = "<unk>",
        width: int | None = None,
        is_phonemic: bool = False,
    ) -> Alphabet:
        """The labels of a Wav2Vec2 vocabulary, whatever it calls its blank and its delimiter.

        Args:
            tokens: the text of each logit column; None reads as the unknown token.
            blank: index of the blank.
            word_delimiter: token that becomes a space.
            unknown: token that becomes "⁇".
            width: logit columns, if there may be more than tokens; the others are unknown.
            is_phonemic: whether every token is a word of its own.
        """
        if width is not None:
            tokens = [*tokens[:width], *[None] * (width - len(tokens))]
        special = {word_delimiter: SPACE, unknown: _UNKNOWN, None: _UNKNOWN}
        labels = [special.get(token, token) or _UNKNOWN for token in tokens]
        if is_phonemic:
            labels = [_UNKNOWN_BPE if label == _UNKNOWN else BOUNDARY + label for label in labels]
        labels[blank] = BLANK
        return cls(tuple(labels), is_bpe=is_phonemic)

    @classmethod
    def load(cls, path: Path) -> Alphabet:
        """Read alphabet.json, whose labels are normalised already.

        Raises:
            CheckpointError: unreadable, or not {"labels": [...], "is_bpe": ...} exactly.
        """
        content = read_object(path, keys=_KEYS)
        labels, is_bpe = content["labels"], content["is_bpe"]
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise CheckpointError(f"{path}: labels is not a list of strings")
        if any(_has_surrogate(label) for label in labels):
            raise CheckpointError(f"{path}: a label holds half a character (a lone surrogate)")
        if not isinstance(is_bpe, bool):
            raise CheckpointError(f"{path}: is_bpe is {is_bpe!r}, expected true or false")
        try:
            return cls(tuple(labels), is_bpe)
        except CheckpointError as error:
            raise error.about(str(path)) from error

    def save(self, path: Path) -> None:
        """Write alphabet.json."""
        content = {"labels": list(self.labels), "is_bpe": self.is_bpe}
        path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")

    def check_covers(self, other: Alphabet) -> None:
        """Hold that every token of the model's vocabulary is a label.

        Args:
            other: the labels of the vocabulary, from `from_tokens`.

        Raises:
            CheckpointError: naming tokens that are no labels.

        Source: Wav2Vec2ProcessorWithLM.get_missing_alphabet_tokens of transformers.
        """
        missing = sorted(set(other.labels) - set(self.labels))
        if missing:
            raise CheckpointError(
                f"{FILE_NAME}: {listed(map(repr, missing))} of the vocabulary not among its "
                f"{len(self.labels)} labels",
                hint="the language model was built for another vocabulary",
            )


def _boundary_style(token: str) -> str:
    """A token of a `##` vocabulary, where `##` continues a word, in the style of `▁`."""
    if token.startswith("##"):
        return token[2:]
    if _SPECIAL.match(token) or token in (BLANK, BOUNDARY, _UNKNOWN_BPE):
        return token
    return BOUNDARY + token


def _has_surrogate(label: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in label)
