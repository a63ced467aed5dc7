"""The vocabulary of a CTC model: which token an index stands for, and how tokens become text."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asrkit.errors import CheckpointError
from asrkit.suggest import nearest
from asrkit.text.files import class_of, clean_up, indices, languages_of, string_setting
from asrkit.types import Hypothesis, TextSpan, TokenSpan

_SPACE = " "
_CHARACTERS = "Wav2Vec2CTCTokenizer"
_PHONEMES = "Wav2Vec2PhonemeCTCTokenizer"
_MAX_NEAREST = 5


@dataclass(frozen=True)
class CTCVocabulary:
    """The characters or phonemes of a CTC model.

    Attributes:
        tokens: the text of each index; None where the files name no token.
        blank: index of the blank, which CTC puts between repeats.
        unknown: text of an index without a token.
        word_delimiter: token that ends a word; None where the model writes no words.
        delimiter_text: what the delimiter becomes in text.
        is_lower_case: whether text is written in lower case.
        clean_up: whether spaces before punctuation are removed.
        is_phonemic: whether tokens are phonemes: each stands apart in text, as a word of its own,
            and the word delimiter is left out.
    """

    tokens: tuple[str | None, ...]
    blank: int
    unknown: str = "<unk>"
    word_delimiter: str | None = "|"
    delimiter_text: str = _SPACE
    is_lower_case: bool = False
    clean_up: bool = False
    is_phonemic: bool = False

    @classmethod
    def from_files(
        cls,
        vocabulary: Mapping[str, Any],
        *,
        tokenizer_config: Mapping[str, Any],
        special_tokens_map: Mapping[str, Any],
        added_tokens: Mapping[str, Any],
        language: str | None = None,
    ) -> CTCVocabulary:
        """Read the parsed files of a Wav2Vec2CTCTokenizer or Wav2Vec2PhonemeCTCTokenizer.

        Args:
            vocabulary: vocab.json: token to index, or language to such a table.
            tokenizer_config: tokenizer_config.json, {} when absent.
            special_tokens_map: special_tokens_map.json, {} when absent.
            added_tokens: added_tokens.json, {} when absent.
            language: one of a multilingual vocabulary; None takes the tokenizer's own.

        Raises:
            CheckpointError: not such a table, no entry for the language, or no blank in it.
        """
        setting = partial(string_setting, tokenizer_config, special_tokens_map)
        is_phonemic = class_of(tokenizer_config, _CHARACTERS, _PHONEMES) == _PHONEMES
        has_delimiter = not is_phonemic or tokenizer_config.get("word_delimiter_token") is not None
        table = _table_of(vocabulary, language or tokenizer_config.get("target_lang"))
        index_to_token = {index: token for token, index in indices(added_tokens).items()}
        index_to_token |= {index: token for token, index in indices(table).items()}
        pad = setting("pad_token", "<pad>")
        if pad not in table:
            raise CheckpointError(
                f"vocab.json: the pad token {pad!r}, CTC's blank, is not in the vocabulary",
                hint="pad_token in tokenizer_config.json names it",
            )
        return cls(
            tokens=tuple(index_to_token.get(index) for index in range(max(index_to_token) + 1)),
            blank=table[pad],
            unknown=setting("unk_token", "<unk>"),
            word_delimiter=setting("word_delimiter_token", "|") if has_delimiter else None,
            delimiter_text=setting("replace_word_delimiter_char", _SPACE),
            is_lower_case=tokenizer_config.get("do_lower_case") is True,
            clean_up=tokenizer_config.get("clean_up_tokenization_spaces") is True,
            is_phonemic=is_phonemic,
        )

    def token(self, index: int) -> str:
        """The token of an index; the unknown token for one that the vocabulary does not name."""
        token = self.tokens[index] if index < len(self.tokens) else None
        return self.unknown if token is None else token

    def canonical(self, width: int) -> NDArray[np.int32]:
        """Map each of `width` logit columns to the first one with the same token.

        CTC merges repeats of a token, and the reference compares tokens as text: two columns that
        the vocabulary does not name are both the unknown token and merge.
        """
        first: dict[str, int] = {}
        ids = [first.setdefault(self.token(index), index) for index in range(width)]
        return np.array(ids, dtype=np.int32)

    def hypothesis(self, spans: Sequence[TokenSpan]) -> Hypothesis:
        """Spell collapsed spans (no blanks) as text, characters and words.

        Source: convert_tokens_to_string of Wav2Vec2CTCTokenizer and Wav2Vec2PhonemeCTCTokenizer in
        transformers.
        """
        characters = tuple(
            TextSpan(self._spell(self.token(span.token)), span.start, span.end, span.score)
            for span in spans
            if not self.is_phonemic or self.token(span.token) != self.word_delimiter
        )
        separator = _SPACE if self.is_phonemic else ""
        text = separator.join(character.text for character in characters).strip()
        if self.clean_up:
            text = clean_up(text)
        words = characters if self.is_phonemic else self._words(characters)
        return Hypothesis(text, characters, words)

    def _spell(self, token: str) -> str:
        if token == self.word_delimiter:
            return self.delimiter_text
        # PARITY: the reference lower-cases the text only; here characters and words agree with it.
        return token.lower() if self.is_lower_case else token

    def _words(self, characters: Sequence[TextSpan]) -> tuple[TextSpan, ...]:
        words: list[list[TextSpan]] = [[]]
        for character in characters:
            if character.text == self.delimiter_text:
                words.append([])
            else:
                words[-1].append(character)
        return tuple(_join(word) for word in words if word)


def _join(characters: Sequence[TextSpan]) -> TextSpan:
    """A word of its characters; its score is the geometric mean over their frames."""
    frames = np.array([character.end - character.start for character in characters])
    scores = np.array([character.score for character in characters])
    with np.errstate(divide="ignore"):
        score = float(np.exp(np.average(np.log(scores), weights=frames)))
    text = "".join(character.text for character in characters)
    return TextSpan(text, characters[0].start, characters[-1].end, score)


def _table_of(vocabulary: Mapping[str, Any], language: Any) -> dict[str, int]:
    """The token table, of one language where the file nests them."""
    if not isinstance(vocabulary, Mapping) or not vocabulary:
        raise CheckpointError("vocab.json: expected an object of tokens and indices")
    known = languages_of(vocabulary)
    if not known:
        if language is not None:
            raise CheckpointError(
                f"vocab.json: the language {language!r} is asked for, "
                "but the vocabulary is of one language"
            )
        return indices(vocabulary)
    if language not in known:
        raise CheckpointError(
            f"vocab.json: {language!r} is not among its {len(known)} languages",
            hint="--language, or target_lang in tokenizer_config.json, names one; "
            + nearest_languages(str(language or ""), known),
        )
    return indices(vocabulary[language])


def nearest_languages(language: str, known: Collection[str]) -> str:
    """Which of the known languages are spelled like one that is not, for a hint."""
    similar = [name for name in known if name.startswith(language)]
    others = [name for name in known if name not in similar]
    similar += nearest(language, others, count=_MAX_NEAREST, likeness=0.4)
    if not similar:
        return f"languages are {', '.join(list(known)[:_MAX_NEAREST])} ..."
    return f"the nearest are {', '.join(similar[:_MAX_NEAREST])}"
