"""Greedy CTC decoding, vocabularies and the clock, on numbers small enough to check by hand."""

from __future__ import annotations

import math
from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrkit.ctc import BestPath, FrameClock, collapse
from asrkit.errors import CheckpointError
from asrkit.text import CTCVocabulary
from asrkit.types import TextSpan, TokenSpan

TABLE = {"<pad>": 0, "<unk>": 1, "|": 2, "H": 3, "E": 4, "L": 5, "O": 6}


def path_of(tokens, log_probs=None) -> BestPath:
    tokens = np.array(tokens, dtype=np.int32)
    scores = np.zeros(len(tokens)) if log_probs is None else np.array(log_probs)
    return BestPath(tokens, scores.astype(np.float32))


def vocabulary_of(table=None, added=None, special=None, **config) -> CTCVocabulary:
    return CTCVocabulary.from_files(
        TABLE if table is None else table,
        tokenizer_config=config,
        special_tokens_map=special or {},
        added_tokens=added or {},
    )


def decode(text: str, **config):
    """Decode a path written with one character a frame, `_` for the blank, `?` for unknown."""
    ids = {"_": 0, "?": 1} | {token: index for token, index in TABLE.items() if len(token) == 1}
    vocabulary = vocabulary_of(**config)
    return vocabulary.hypothesis(collapse(path_of([ids[c] for c in text]), blank=vocabulary.blank))


def test_blank_between_equal_tokens_keeps_both():
    spans = collapse(path_of([1, 0, 1]), blank=0)

    assert [(s.token, s.start, s.end) for s in spans] == [(1, 0, 1), (1, 2, 3)]


def test_repeats_are_one_span():
    spans = collapse(path_of([0, 3, 3, 3, 0, 0]), blank=0)

    assert spans == [TokenSpan(3, 1, 4, 1.0)]


@pytest.mark.parametrize("tokens", [[], [0], [0, 0, 0]])
def test_nothing_but_blanks_is_no_span(tokens):
    assert collapse(path_of(tokens), blank=0) == []


def test_score_is_the_geometric_mean_of_its_frames():
    (span,) = collapse(path_of([1, 1], [math.log(0.9), math.log(0.4)]), blank=0)

    assert span.score == pytest.approx(0.6)  # the square root of 0.36


@given(st.lists(st.integers(0, 3)))
def test_collapse_removes_repeats_and_blanks(tokens):
    spans = collapse(path_of(tokens), blank=0)

    assert [span.token for span in spans] == [t for t, _ in groupby(tokens) if t != 0]
    assert all(tokens[f] == s.token for s in spans for f in range(s.start, s.end))


def test_best_path_takes_the_largest_and_the_first_of_equals():
    path = BestPath.of(np.log(np.array([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2]], dtype=np.float32)))

    assert path.tokens.tolist() == [1, 0]
    assert np.exp(path.log_probs) == pytest.approx([0.5, 0.4])


def test_paths_join_before_the_collapse():
    joined = BestPath.concatenate([path_of([0, 3]), path_of([3, 0])])

    assert [(s.start, s.end) for s in collapse(joined, blank=0)] == [(1, 3)]


def test_published_example_of_offsets():
    # Source: transformers, tests of Wav2Vec2CTCTokenizer (offsets of a made-up path).
    hypothesis = decode("HEEEEE||LLL_LO?")

    assert hypothesis.text == "HE LLO<unk>"
    assert [c.text for c in hypothesis.characters] == ["H", "E", " ", "L", "L", "O", "<unk>"]
    assert [c.start for c in hypothesis.characters] == [0, 1, 6, 8, 12, 13, 14]
    assert [c.end for c in hypothesis.characters] == [1, 6, 8, 11, 13, 14, 15]
    assert [(w.text, w.start, w.end) for w in hypothesis.words] == [
        ("HE", 0, 6),
        ("LLO<unk>", 8, 15),
    ]


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        ("", "", []),
        ("___", "", []),
        ("||", "", []),
        ("|H|", "H", ["H"]),
        ("H|_|E", "H  E", ["H", "E"]),  # the reference keeps both delimiters
        ("HH_H", "HH", ["HH"]),
    ],
)
def test_text_and_words(path, text, words):
    hypothesis = decode(path)

    assert hypothesis.text == text
    assert [word.text for word in hypothesis.words] == words


def test_lower_case_reaches_characters_and_words():
    hypothesis = decode("HE|LO", do_lower_case=True)

    assert hypothesis.text == "he lo"
    assert [word.text for word in hypothesis.words] == ["he", "lo"]


def test_clean_up_joins_punctuation():
    table = {"<pad>": 0, "|": 1, "A": 2, "?": 3}
    spans = [TokenSpan(token, f, f + 1, 1.0) for f, token in enumerate([2, 1, 3])]

    texts = [
        vocabulary_of(table, clean_up_tokenization_spaces=flag).hypothesis(spans).text
        for flag in (False, True)
    ]

    assert texts == ["A ?", "A?"]


def test_word_score_weighs_characters_by_their_frames():
    vocabulary = vocabulary_of()
    spans = [TokenSpan(3, 0, 1, 0.5), TokenSpan(4, 1, 4, 1.0)]

    (word,) = vocabulary.hypothesis(spans).words

    assert word.score == pytest.approx(0.5 ** (1 / 4))


def test_columns_without_a_token_are_one_unknown_token():
    canonical = vocabulary_of().canonical(9)

    assert canonical.tolist() == [0, 1, 2, 3, 4, 5, 6, 1, 1]


def test_added_tokens_name_columns_but_never_replace_the_vocabulary():
    vocabulary = vocabulary_of(added={"<s>": 7, "</s>": 3})

    assert vocabulary.token(7) == "<s>"
    assert vocabulary.token(3) == "H"


@pytest.mark.parametrize(
    ("config", "special"),
    [
        ({"pad_token": "[PAD]"}, {}),
        ({"pad_token": {"content": "[PAD]", "lstrip": False}}, {}),
        ({}, {"pad_token": "[PAD]"}),
        ({}, {"pad_token": {"content": "[PAD]"}}),
    ],
)
def test_blank_is_the_pad_token_however_it_is_written(config, special):
    table = {"A": 0, "|": 1, "[PAD]": 2}

    assert vocabulary_of(table, special=special, **config).blank == 2


def test_language_of_a_nested_vocabulary_is_chosen():
    nested = {"eng": {"<pad>": 0, "A": 1}, "fra": {"<pad>": 0, "É": 1}}

    assert vocabulary_of(nested, target_lang="fra").token(1) == "É"


@pytest.mark.parametrize(
    ("table", "config", "message"),
    [
        ({}, {}, "expected an object of tokens"),
        ({"A": 0}, {}, "pad token '<pad>'"),
        ({"<pad>": "0"}, {}, "index of '<pad>' is '0'"),
        ({"<pad>": -1}, {}, "index of '<pad>' is -1"),
        ({"<pad>": 10**9}, {}, "expected an integer"),
        ({"<pad>": 0}, {"target_lang": "fra"}, "the vocabulary is of one language"),
        ({"eng": {"<pad>": 0}}, {"target_lang": "fra"}, "'fra' is not among its 1 languages"),
        ({"<pad>": 0}, {"tokenizer_class": "BertTokenizer"}, "BertTokenizer"),
        ({"<pad>": 0}, {"pad_token": 5}, "pad_token is 5"),
    ],
)
def test_unusable_vocabulary_is_refused(table, config, message):
    with pytest.raises(CheckpointError, match=message):
        vocabulary_of(table, **config)


def test_a_frame_of_the_published_models_is_20_ms():
    """I3."""
    clock = FrameClock(samples_per_frame=320, sample_rate=16_000, offset=1.5)

    assert [clock.seconds(frame) for frame in (0, 1, 50)] == [1.5, 1.52, 2.5]
    assert [clock.frame(seconds) for seconds in (1.5, 2.5)] == [0, 50]


def test_no_time_is_later_than_the_end():
    clock = FrameClock(samples_per_frame=320, sample_rate=16_000, end=0.05)

    assert clock.seconds(3) == 0.05


def test_words_carry_their_own_characters():
    clock = FrameClock(samples_per_frame=320, sample_rate=16_000)
    characters = [
        TextSpan("A", 0, 1, 1.0),
        TextSpan(" ", 1, 2, 1.0),
        TextSpan("B", 3, 4, 1.0),
        TextSpan("C", 4, 6, 0.5),
    ]
    words = [TextSpan("A", 0, 1, 1.0), TextSpan("BC", 3, 6, 0.63)]

    first, second = clock.words(words, characters)

    assert [c.text for c in first.characters] == ["A"]
    assert [(c.text, c.start, c.end) for c in second.characters] == [
        ("B", 0.06, 0.08),
        ("C", 0.08, 0.12),
    ]
    assert (second.start, second.end) == (0.06, 0.12)
