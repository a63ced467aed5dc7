"""Vocabularies of Speech2Text (SentencePiece) and Speech2Text2 (byte-pair merges, `@@ `).

Source: Speech2TextTokenizer of transformers 4.56.2, Speech2Text2Tokenizer of transformers 4.40.2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from asrkit.errors import CheckpointError, UsageError
from asrkit.suggest import did_you_mean
from asrkit.text.files import (
    LANGUAGE_TOKEN,
    class_of,
    clean_up,
    indices,
    string_setting,
)

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor

_SPECIAL_TOKENS = {
    "bos_token": "<s>",
    "pad_token": "<pad>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
}
_MORE_SPECIAL_TOKENS = ("additional_special_tokens", "extra_special_tokens")
_MAX_MODEL_BYTES = 50_000_000
_LFS_POINTER = b"version https://git-lfs"
_END_OF_WORD = "</w>"
_CONTINUED = "@@"


@dataclass(frozen=True)
class TokenTable:
    """What both vocabularies know of their tokens.

    Attributes:
        ids: index of each token.
        special: the tokens that are no text: `<s> <pad> </s> <unk>`, languages and more.
        end: the token that ends a text.
        unknown: the token for what has none.
    """

    ids: Mapping[str, int]
    special: tuple[str, ...]
    end: str
    unknown: str

    @classmethod
    def from_files(
        cls,
        vocabulary: Mapping[str, Any],
        *,
        tokenizer_config: Mapping[str, Any],
        special_tokens_map: Mapping[str, Any],
        added_tokens: Mapping[str, Any],
    ) -> TokenTable:
        """Read the parsed files of a tokenizer, as the vocabularies do."""
        if not isinstance(vocabulary, Mapping) or not vocabulary:
            raise CheckpointError("vocab.json: expected an object of tokens and indices")
        ids = indices(added_tokens) | indices(vocabulary)
        for token in ids:
            if not _is_unicode(token):
                raise CheckpointError(f"vocab.json: the token {token!r} is not Unicode text")
        setting = partial(string_setting, tokenizer_config, special_tokens_map)
        named = {name: setting(name, token) for name, token in _SPECIAL_TOKENS.items()}
        for name in ("eos_token", "unk_token"):
            if named[name] not in ids:
                raise CheckpointError(f"vocab.json: {name} {named[name]!r} is not in it")
        more = [
            token
            for name in _MORE_SPECIAL_TOKENS
            for token in _contents(name, tokenizer_config.get(name, special_tokens_map.get(name)))
        ]
        languages = [token for token in ids if LANGUAGE_TOKEN.fullmatch(token)]
        special = tuple(dict.fromkeys([*named.values(), *more, *languages]))
        return cls(ids, special, named["eos_token"], named["unk_token"])

    @cached_property
    def _texts(self) -> dict[int, str]:
        return {index: token for token, index in self.ids.items()}

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        longest_first = sorted(filter(None, self.special), key=len, reverse=True)
        return re.compile(f"({'|'.join(map(re.escape, longest_first))})")

    def id(self, token: str) -> int:
        """The index of a token; that of the unknown token for one without."""
        return self.ids.get(token, self.ids[self.unknown])

    def encode(
        self, text: str, cut: Callable[[str], Iterable[str]], *, is_lower_case: bool
    ) -> list[int]:
        """The indices of a text, cut into pieces between the special tokens that it names."""
        pieces = list[str]()
        for position, part in enumerate(self._pattern.split(text)):
            if position % 2:  # a special token
                pieces.append(part)
                continue
            # PARITY: character by character, so that a final Σ becomes σ, as in release 4 of
            # transformers; release 5 no longer lowers anything.
            pieces += cut("".join(map(str.lower, part)) if is_lower_case else part)
        return [self.id(piece) for piece in pieces]

    def texts(self, token_ids: Iterable[int], *, skip_special_tokens: bool) -> list[str]:
        """The tokens of indices; the unknown token for one that the vocabulary does not name."""
        skipped = {self.ids.get(token) for token in self.special} if skip_special_tokens else ()
        return [self._texts.get(index, self.unknown) for index in token_ids if index not in skipped]


@dataclass(frozen=True, eq=False)
class Speech2TextVocabulary:
    """Pieces of words, as SentencePiece cuts and joins them; vocab.json has their indices.

    Attributes:
        tokens: the tokens and their indices.
        processor: the SentencePiece model.
        languages: index of the token of each language, by its code and in order of index; none if
            the model writes one language.
        target_language: the language that the files choose; None if they choose none.
        is_lower_case: whether text is put in lower case before it is encoded.
        is_upper_case: whether decoded text is put in upper case.
        clean_up: whether spaces before punctuation are removed.
    """

    tokens: TokenTable
    processor: SentencePieceProcessor
    languages: Mapping[str, int] = field(default_factory=dict)
    target_language: str | None = None
    is_lower_case: bool = False
    is_upper_case: bool = False
    clean_up: bool = False

    @classmethod
    def from_files(
        cls,
        vocabulary: Mapping[str, Any],
        sentencepiece_model: Path,
        *,
        tokenizer_config: Mapping[str, Any],
        special_tokens_map: Mapping[str, Any],
        added_tokens: Mapping[str, Any],
    ) -> Speech2TextVocabulary:
        """Read the files of a Speech2TextTokenizer, all but the model parsed.

        Args:
            vocabulary: vocab.json: token to index.
            sentencepiece_model: path of sentencepiece.bpe.model.
            tokenizer_config: tokenizer_config.json, {} when absent.
            special_tokens_map: special_tokens_map.json, {} when absent.
            added_tokens: added_tokens.json, {} when absent.

        Raises:
            CheckpointError: not such files, or no token for the language they choose.
        """
        class_of(tokenizer_config, "Speech2TextTokenizer")
        tokens = TokenTable.from_files(
            vocabulary,
            tokenizer_config=tokenizer_config,
            special_tokens_map=special_tokens_map,
            added_tokens=added_tokens,
        )
        languages = {
            match[1]: index
            for token, index in sorted(tokens.ids.items(), key=lambda item: item[1])
            if (match := LANGUAGE_TOKEN.fullmatch(token))
        }
        codes, chosen = tokenizer_config.get("lang_codes"), tokenizer_config.get("tgt_lang")
        if codes is not None and not languages:
            raise CheckpointError(
                f"vocab.json: lang_codes is {codes!r} in tokenizer_config.json, but no token "
                "such as <lang:fr> is in it"
            )
        if languages and chosen not in (None, *languages):
            raise CheckpointError(
                f"tokenizer_config.json: tgt_lang is {chosen!r}, "
                f"expected one of {', '.join(languages)}"
            )
        return cls(
            tokens=tokens,
            processor=_load_sentencepiece(sentencepiece_model),
            languages=languages,
            target_language=chosen if languages else None,
            is_lower_case=tokenizer_config.get("do_lower_case") is True,
            is_upper_case=tokenizer_config.get("do_upper_case") is True,
            clean_up=tokenizer_config.get("clean_up_tokenization_spaces") is True,
        )

    def language_id(self, language: str) -> int:
        """The index of the token that begins a text in a language.

        Raises:
            UsageError: the model does not write it.
        """
        if not self.languages:
            raise UsageError(f"target language {language!r}: the model writes one language only")
        if language not in self.languages:
            raise UsageError(
                f"target language {language!r} is not one of {', '.join(self.languages)}",
                hint=did_you_mean(language, self.languages),
            )
        return self.languages[language]

    def encode(self, text: str, language: str | None = None) -> list[int]:
        """The indices of a text: its language if the model has several, its pieces, the end.

        Args:
            text: what to encode; special tokens in it stay what they are.
            language: one of `languages`; None takes the one that the files choose, or the first.

        Raises:
            UsageError: the model does not write the language.
        """
        if language is None and self.languages:
            language = self.target_language or next(iter(self.languages))
        cut = partial(self.processor.encode, out_type=str)
        pieces = self.tokens.encode(text, cut, is_lower_case=self.is_lower_case)
        prefix = [] if language is None else [self.language_id(language)]
        return [*prefix, *pieces, self.tokens.ids[self.tokens.end]]

    def decode(self, token_ids: Iterable[int], *, skip_special_tokens: bool = True) -> str:
        """The text of indices; special tokens are left out, or stand between what they divide."""
        text, pieces = "", list[str]()
        for token in self.tokens.texts(token_ids, skip_special_tokens=skip_special_tokens):
            if token in self.tokens.special:
                text += f"{self._join(pieces)}{token} "
                pieces = []
            else:
                pieces.append(token)
        text = (text + self._join(pieces)).strip()
        return clean_up(text) if self.clean_up else text

    def _join(self, pieces: list[str]) -> str:
        text: str = self.processor.decode(pieces) if pieces else ""
        return text.upper() if self.is_upper_case else text


@dataclass(frozen=True, eq=False)
class Speech2Text2Vocabulary:
    """Pieces of words, those that go on marked with `@@`.

    Attributes:
        tokens: the tokens and their indices.
        merges: rank of each pair of symbols that become one; None if the model only decodes.
        is_lower_case: whether text is put in lower case before it is encoded.
        clean_up: whether spaces before punctuation are removed.
        languages: none, as the model writes one language.
        target_language: None, for the same reason.
    """

    tokens: TokenTable
    merges: Mapping[tuple[str, ...], int] | None = None
    is_lower_case: bool = False
    clean_up: bool = True

    languages: ClassVar[Mapping[str, int]] = {}
    target_language: ClassVar[str | None] = None

    @classmethod
    def from_files(
        cls,
        vocabulary: Mapping[str, Any],
        *,
        merges: str | None,
        tokenizer_config: Mapping[str, Any],
        special_tokens_map: Mapping[str, Any],
        added_tokens: Mapping[str, Any],
    ) -> Speech2Text2Vocabulary:
        """Read the parsed files of a Speech2Text2Tokenizer.

        Args:
            vocabulary: vocab.json: token to index.
            merges: the text of merges.txt, None when absent.
            tokenizer_config: tokenizer_config.json, {} when absent.
            special_tokens_map: special_tokens_map.json, {} when absent.
            added_tokens: added_tokens.json, {} when absent.

        Raises:
            CheckpointError: not such files.
        """
        class_of(tokenizer_config, "Speech2Text2Tokenizer")
        ranks = None
        if merges is not None:
            # PARITY: the reference takes the last line for empty, whether it is or not.
            lines = merges.split("\n")[:-1]
            ranks = {tuple(line.split()[:2]): rank for rank, line in enumerate(lines)}
        return cls(
            tokens=TokenTable.from_files(
                vocabulary,
                tokenizer_config=tokenizer_config,
                special_tokens_map=special_tokens_map,
                added_tokens=added_tokens,
            ),
            merges=ranks,
            is_lower_case=tokenizer_config.get("do_lower_case") is True,
            clean_up=tokenizer_config.get("clean_up_tokenization_spaces") is not False,
        )

    def encode(self, text: str) -> list[int]:
        """The indices of a text, without any special token that is not in it.

        Raises:
            UsageError: the model has no merges.txt.
        """
        if self.merges is None:
            raise UsageError(
                "text cannot be cut into tokens: the model has no merges.txt",
                hint="such a model writes text, but cannot take any",
            )
        return self.tokens.encode(text, self._cut, is_lower_case=self.is_lower_case)

    def decode(self, token_ids: Iterable[int], *, skip_special_tokens: bool = True) -> str:
        """The text of indices; special tokens are left out, or stand in it like words."""
        tokens = self.tokens.texts(token_ids, skip_special_tokens=skip_special_tokens)
        text = " ".join(tokens).replace(f"{_CONTINUED} ", "")
        return clean_up(text) if self.clean_up else text

    def _cut(self, text: str) -> list[str]:
        return [piece for word in text.split() for piece in self._split(word)]

    def _split(self, word: str) -> list[str]:
        """Merge the characters of a word, always the pair of the lowest rank first.

        Source: Sennrich et al. 2016, Neural Machine Translation of Rare Words with Subword Units.
        """
        assert self.merges is not None  # for the type checker; encode says so
        symbols = [*word[:-1], word[-1] + _END_OF_WORD]
        while len(symbols) > 1:
            found = {pair: self.merges[pair] for pair in pairwise(symbols) if pair in self.merges}
            if not found:
                break
            best, merged = min(found, key=found.__getitem__), list[str]()
            for symbol in symbols:
                if merged and (merged[-1], symbol) == best:
                    merged[-1] += symbol
                else:
                    merged.append(symbol)
            symbols = merged
        symbols[-1] = symbols[-1].removesuffix(_END_OF_WORD)
        return [symbol + _CONTINUED for symbol in symbols[:-1]] + symbols[-1:]


def _contents(name: str, tokens: Any) -> list[str]:
    """The texts of a list or table of special tokens, each of which may be an object."""
    values = list(tokens.values()) if isinstance(tokens, Mapping) else tokens or []
    values = values if isinstance(values, list) else [None]
    texts: list[Any] = [
        token.get("content") if isinstance(token, Mapping) else token for token in values
    ]
    if not all(isinstance(text, str) for text in texts):
        raise CheckpointError(f"tokenizer: {name} is {tokens!r}, expected a list of strings")
    return texts


def _is_unicode(text: str) -> bool:
    """Whether a text can be written; JSON may hold halves of characters."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _load_sentencepiece(path: Path) -> SentencePieceProcessor:
    from sentencepiece import SentencePieceProcessor  # slow, and of no use to CTC models

    try:
        size = path.stat().st_size
        if size > _MAX_MODEL_BYTES:
            raise CheckpointError(f"{path}: {size} bytes, expected at most {_MAX_MODEL_BYTES}")
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    if content.startswith(_LFS_POINTER):
        raise CheckpointError(
            f"{path}: a Git LFS pointer, not the model", hint="git lfs pull fetches it"
        )
    processor = SentencePieceProcessor()
    try:
        processor.LoadFromSerializedProto(content)
    except RuntimeError as error:
        raise CheckpointError(f"{path}: not a SentencePiece model, or a damaged one") from error
    return processor
