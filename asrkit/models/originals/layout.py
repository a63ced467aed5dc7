"""What the origins share: companions of a file, vocabularies, and a checkpoint still in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from asrkit.checkpoint import Checkpoint
from asrkit.errors import CheckpointError

Parts = tuple[dict[str, dict[str, Any]], dict[str, Tensor], dict[str, Path]]
"""The JSON objects by file name, the weights, and the files to copy."""

WAVEFORMS = {
    "feature_extractor_type": "Wav2Vec2FeatureExtractor",
    "feature_size": 1,
    "sampling_rate": 16_000,
    "padding_value": 0.0,
    "padding_side": "right",
}


@dataclass(frozen=True)
class Companions:
    """What stands beside an original file.

    Attributes:
        folder: where dictionaries are looked for.
        dictionary: names of tokens, one a line.
        sentencepiece: the model that cuts words into these tokens.
        base: the encoder that a head was trained on.
        config: keys of config.json that replace those found.
    """

    folder: Path
    dictionary: Path | None = None
    sentencepiece: Path | None = None
    base: Checkpoint | None = None
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class UnsavedCheckpoint(Checkpoint):
    """A checkpoint in the Hub's layout whose content is in memory.

    Attributes:
        contents: JSON objects, by file name.
        tensors: the weights.
        files: files to be copied, by file name. What the directory holds besides is read only for
            the adapters of languages.
    """

    contents: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)

    def path(self, name: str) -> Path | None:
        """Where the file is that is copied, or holds an adapter; None if it is in memory."""
        return super().path(name) if name.startswith("adapter.") else self.files.get(name)

    def read_json(self, name: str, *, required: bool = True) -> dict[str, Any]:
        """The JSON object under this name, as in `Checkpoint`."""
        if name in self.contents:
            return dict(self.contents[name])
        return super().read_json(name, required=required)

    def load_tensors(self) -> dict[str, Tensor]:
        """The weights."""
        return dict(self.tensors)


# -------------------------------------------------------------------------------- vocabularies

FAIRSEQ_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
_NAMED = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}


def ctc_files(tokens: list[str]) -> dict[str, dict[str, Any]]:
    """The files of a CTC vocabulary, whose blank is token 0, by whatever name."""
    has_special = tokens[:2] == ["<s>", "<pad>"]  # fairseq's, where no frame is ever padding
    tokens = ["<pad>", *(["<s>", *tokens[2:]] if has_special else tokens[1:])]
    special = {role: token for role, token in _NAMED.items() if token in tokens}
    config = {"word_delimiter_token": "|", "replace_word_delimiter_char": " "}
    return {
        "vocab.json": _indexed(tokens),
        "tokenizer_config.json": special
        | config
        | {"tokenizer_class": "Wav2Vec2CTCTokenizer", "processor_class": "Wav2Vec2Processor"},
        "special_tokens_map.json": special,
    }


def text_files(tokens: list[str], tokenizer_class: str, **settings: Any) -> dict[str, Any]:
    """The files of a vocabulary of word pieces."""
    return {
        "vocab.json": _indexed(tokens),
        "tokenizer_config.json": _NAMED | {"tokenizer_class": tokenizer_class} | settings,
        "special_tokens_map.json": dict(_NAMED),
    }


def unnamed_labels(count: int) -> dict[str, str]:
    """The classes of a head whose file does not name them."""
    return {str(index): f"LABEL_{index}" for index in range(count)}


def _indexed(tokens: list[str]) -> dict[str, int]:
    indices = {token: index for index, token in enumerate(tokens)}
    if len(indices) < len(tokens):
        repeated = next(t for index, t in enumerate(tokens) if indices[t] != index)
        raise CheckpointError(f"the dictionary names {repeated!r} twice")
    return indices


def find_tokens(
    num_tokens: int, companions: Companions, *, stored: object = None, pattern: str = "dict*.txt"
) -> list[str]:
    """Names of the tokens that a head scores, in its order.

    Args:
        num_tokens: how many it scores.
        companions: may name the dictionary.
        stored: a list of names that came with the weights.
        pattern: of files beside the weights, one of which may be the dictionary.

    Raises:
        CheckpointError: no dictionary, or one of another length.
    """
    path = companions.dictionary
    if path is None and isinstance(stored, list) and all(isinstance(t, str) for t in stored):
        tokens, where = stored, "the dictionary in it"
    else:
        path = path or _only_file(companions.folder, pattern, "--dictionary")
        tokens, where = _read_dictionary(path), str(path)
    if len(tokens) + len(FAIRSEQ_SPECIAL) == num_tokens:
        tokens = [*FAIRSEQ_SPECIAL, *tokens]
    if len(tokens) != num_tokens:
        raise CheckpointError(
            f"{where} names {len(tokens)} tokens, but the head scores {num_tokens} "
            f"(expected {num_tokens}, or {num_tokens - len(FAIRSEQ_SPECIAL)} without "
            f"{' '.join(FAIRSEQ_SPECIAL)})"
        )
    return tokens


def find_sentencepiece(companions: Companions) -> Path:
    """The SentencePiece model.

    Raises:
        CheckpointError: there is none, or several.
    """
    path = companions.sentencepiece
    if path is None:
        return _only_file(companions.folder, "*.model", "--sentencepiece")
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file, expected a SentencePiece model")
    return path


def _only_file(folder: Path, pattern: str, option: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) == 1:
        return found[0]
    names = ", ".join(path.name for path in found) or "none"
    raise CheckpointError(
        f"expected one {pattern} in {folder or '.'}, found {names}", hint=f"{option} FILE names it"
    )


def _read_dictionary(path: Path) -> list[str]:
    """Tokens of a dictionary: a line each, with or without a count after it."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: cannot be read as a dictionary: {error}") from error
    tokens = []
    for line in (line.rstrip("\r") for line in lines if line.strip()):
        token, _, count = line.removesuffix(" #fairseq:overwrite").rpartition(" ")
        tokens.append(token if token and count.isdecimal() else line)
    return tokens
