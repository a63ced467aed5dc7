"""Normalisers by name."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrkit.errors import MissingExtraError, UsageError
from asrkit.normalize import basic, load_normalizer


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello,  World!", "hello world"),
        ("Don't STOP", "don't stop"),
        ("Don’t stop", "don't stop"),
        ("'quoted' words", "quoted words"),
        ("well-known", "well known"),
        ("3.5 and 1,000", "3.5 and 1,000"),
        ("End of 3. Next", "end of 3 next"),
        ("50% & more", "50% & more"),
        ("ﬁne ＡＢＣ", "fine abc"),
        ("STRASSE Straße", "strasse strasse"),
        ("¿Qué? «Oui»", "qué oui"),
        ("مرحبا، عالم", "مرحبا عالم"),
        ("...", ""),
        ("", ""),
    ],
)
def test_basic(text, expected):
    assert basic(text) == expected


@given(st.text(max_size=30))
def test_basic_twice_is_basic_once(text):
    once = basic(text)

    assert basic(once) == once


@given(st.text(max_size=30))
def test_basic_leaves_composed_text_with_single_spaces(text):
    result = basic(text)

    assert result == unicodedata.normalize("NFKC", result) == " ".join(result.split())


def test_none_changes_nothing_and_is_no_step():
    chain = load_normalizer(["none"])

    assert chain("As  it, WAS") == "As  it, WAS"
    assert (chain.steps, str(chain)) == ((), "none")


def test_english_is_the_one_of_whisper():
    pytest.importorskip("whisper_normalizer")
    chain = load_normalizer(["english"])

    assert chain("Mr. Smith won't pay twenty dollars for the colour") == (
        "mister smith will not pay $20 for the color"
    )
    assert str(chain).startswith("english (whisper-normalizer ")


def test_english_without_its_extra_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "whisper_normalizer.english", None)

    with pytest.raises(MissingExtraError, match="the extra 'english'"):
        load_normalizer(["english"])


@pytest.fixture
def table(tmp_path) -> Path:
    path = tmp_path / "words.tsv"
    path.write_text("# comment\n\ngonna\tgoing to\nnew york city\tnyc\nnew york\tny\nuh\t\n")
    return path


def test_a_table_replaces_whole_words_the_longest_run_first(table):
    chain = load_normalizer([str(table)])

    assert chain("uh I am gonna see new york and new york city gonnas") == (
        "I am going to see ny and nyc gonnas"
    )


def test_the_version_of_a_table_is_its_content(table):
    before = str(load_normalizer([str(table)]))

    table.write_text("gonna\twill\n")

    after = str(load_normalizer([str(table)]))
    assert before != after
    assert "sha256 " in before


def test_a_function_of_a_file_is_run(tmp_path):
    script = tmp_path / "mine.py"
    script.write_text("import re\ndef tidy(text):\n    return re.sub('x+', '', text)\n")

    chain = load_normalizer([f"{script}:tidy"])

    assert chain("axxb") == "ab"
    assert chain.steps[0].name == f"{script}:tidy"


def test_a_chain_works_in_order(table):
    chain = load_normalizer(["basic", str(table)])

    assert chain("Gonna, UH!") == "going to"
    assert [step.name for step in chain.steps] == ["basic", str(table)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no tab here\n", "words.tsv:1: expected `from<TAB>to`"),
        ("a\tb\tc\n", "words.tsv:1: expected"),
        ("\tb\n", "words.tsv:1: expected"),
    ],
)
def test_a_table_that_is_none_is_an_error(table, content, message):
    table.write_text(content)

    with pytest.raises(UsageError, match=message):
        load_normalizer([str(table)])


@pytest.mark.parametrize("name", ["whisper", "missing.tsv", "missing.py:f", "basic,english", ""])
def test_an_unknown_name_is_an_error(name):
    with pytest.raises(UsageError):
        load_normalizer([name])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def f(:\n", "cannot be run: SyntaxError"),
        ("raise ValueError('no')\n", "cannot be run: ValueError: no"),
        ("def g(text): return text\n", "has no function 'f'"),
        ("f = 3\n", "has no function 'f'"),
    ],
)
def test_a_file_that_does_not_run_is_an_error(tmp_path, source, message):
    (tmp_path / "mine.py").write_text(source)

    with pytest.raises(UsageError, match=message):
        load_normalizer([f"{tmp_path}/mine.py:f"])


@pytest.mark.parametrize(
    ("body", "message"),
    [("return len(text)", "gave int for 'a', not text"), ("return text[5]", "IndexError")],
)
def test_a_function_that_fails_on_a_text_is_an_error(tmp_path, body, message):
    (tmp_path / "mine.py").write_text(f"def f(text): {body}\n")
    chain = load_normalizer([f"{tmp_path}/mine.py:f"])

    with pytest.raises(UsageError, match=message):
        chain("a")
