"""Any text in the letters of a model."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrkit.errors import InputError
from asrkit.spelling import GAP, STAR, Speller, lay_out
from asrkit.text import CTCVocabulary
from tests.tiny import TOKENS

ENGLISH = CTCVocabulary(tuple(TOKENS), blank=0)
LOWER = CTCVocabulary(("<pad>", "|", *"abcdeé'-"), blank=0)


def shown(word, vocabulary=ENGLISH, **options):
    """The tokens of a word as text: * the star, _ the gap."""
    spelled = Speller(vocabulary, **options)(word)
    return "".join({STAR: "*", GAP: "_"}.get(t) or vocabulary.tokens[t] for t in spelled.tokens)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("hello", "HELLO"),
        ("HELLO", "HELLO"),
        ("don't", "DON'T"),
        ("don’t", "DON'T"),
        ("café", "CAFE"),
        ("cafe\u0301", "CAFE"),
        ("naïve", "NAIVE"),
        ("Straße", "STRASSE"),
        ("STRAẞE", "STRASSE"),
        ("ﬁne", "FINE"),
        ("ｗｉｄｅ", "WIDE"),
        ("Ærøskøbing", "AEROSKOBING"),
        ("Łódź", "LODZ"),
        ("İstanbul", "ISTANBUL"),
        ("“Yes!”", "YES"),
        ("well-known", "WELL_KNOWN"),
        ("and/or", "AND_OR"),
        ("U.S.A.", "U_S_A"),
        ("wait…what", "WAIT_WHAT"),
        ("--so", "SO"),
        ("so--", "SO"),
        ("—", ""),
        ("...", ""),
        ("♪", ""),
        ("42", "*"),
        ("$3.50", "*"),
        ("50%", "*"),
        ("&", "*"),
        ("MP3", "MP*"),
        ("3D", "*D"),
        ("B2B", "B*B"),
        ("Привет", "*"),
        ("你好", "*"),
        ("a\u200bb", "AB"),
    ],
)
def test_words_in_the_letters_of_an_english_model(word, expected):
    assert shown(word) == expected


def test_case_and_accents_are_those_of_the_vocabulary():
    assert shown("CABÉ", LOWER) == "cabé"
    assert shown("bàd", LOWER) == "bad"
    assert shown("a-b", LOWER) == "a-b"


def test_special_tokens_are_not_letters():
    assert shown("<s>") == "S"
    assert shown("|") == ""


@pytest.mark.parametrize(
    ("word", "is_spelled", "is_silent"),
    [("yes", True, False), ("42", False, False), ("MP3", False, False), ("—", False, True)],
)
def test_word_says_whether_it_is_spelled_by_its_own_letters(word, is_spelled, is_silent):
    spelled = Speller(ENGLISH)(word)

    assert (spelled.is_spelled, spelled.is_silent) == (is_spelled, is_silent)


def test_pieces_lead_back_to_the_characters():
    spelled = Speller(ENGLISH)("Maß-12b")

    assert [text for _, text in spelled.pieces] == ["M", "a", "ß", "ß", "", "12", "b"]
    assert [index for index, _ in spelled.pieces] == [0, 1, 2, 2, 4, 4, 6]


@pytest.mark.parametrize("unknown", ["interpolate", "drop"])
def test_unknown_characters_may_have_no_token(unknown):
    assert shown("MP3", unknown=unknown) == "MP"
    assert shown("42", unknown=unknown) == ""
    assert not Speller(ENGLISH, unknown=unknown)("MP3").is_spelled


def test_unknown_characters_may_be_an_error():
    with pytest.raises(InputError, match="no letter for '3' in 'MP3'"):
        Speller(ENGLISH, unknown="error")("MP3")


@given(st.text(min_size=1, max_size=12))
def test_any_text_is_spelled_by_letters_of_the_vocabulary(word):
    spelled = Speller(ENGLISH)(word)

    assert len(spelled.tokens) == len(spelled.pieces)
    assert all(t in (STAR, GAP) or len(TOKENS[t]) == 1 for t in spelled.tokens)
    composed = unicodedata.normalize("NFC", word)
    assert all(0 <= index <= len(composed) for index, _ in spelled.pieces)
    assert not spelled.tokens or GAP not in (spelled.tokens[0], spelled.tokens[-1])
    assert spelled.is_silent == (not spelled.tokens)


def spell_lines(*lines):
    speller = Speller(ENGLISH)
    return [[speller(word) for word in line.split()] for line in lines]


def layout(*lines, star="none"):
    tokens, owners = lay_out(spell_lines(*lines), star=star)
    return "".join({STAR: "*", GAP: "_"}.get(t) or TOKENS[t] for t in tokens), owners


def test_gaps_stand_between_words_and_lines():
    assert layout("to be", "or") == ("TO_BE_OR", [0, 0, -1, 1, 1, -1, 2, 2])


def test_silent_words_keep_their_number():
    assert layout("a — b") == ("A_B", [0, -1, 2])


def test_stars_next_to_each_other_are_one():
    assert layout("a 1 2 3 b") == ("A_*_B", [0, -1, 1, -1, 4])


def test_stars_at_the_edges_and_between_lines():
    assert layout("a", "b", star="edges")[0] == "*A_B*"
    assert layout("a", "b", star="segment")[0] == "*A*B*"
    assert layout("1 b", star="edges") == ("**_B*", [-1, 0, -1, 1, -1])
