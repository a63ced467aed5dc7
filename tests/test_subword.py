"""The vocabularies of Speech2Text and Speech2Text2, by hand and on damaged files."""

from __future__ import annotations

import base64
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from asrkit.errors import CheckpointError, UsageError
from asrkit.text import Speech2Text2Vocabulary, Speech2TextVocabulary
from tests.sentencepieces import LANGUAGES, write_files

# The published example of the reference's own test, with one merge list more.
TOKENS = "<s> <pad> </s> <unk> here@@ a couple of@@ words for the he@@ re@@ vocab".split()
TABLE = {token: index for index, token in enumerate(TOKENS)}
MERGES = "h e 4\nr e</w> 3\nr e 2\nhe re 1\nhe re</w> 1\n"
GOLDEN = json.loads((Path(__file__).parent / "golden" / "subword.json").read_bytes())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("multilingual")
    write_files(folder, languages=tuple(LANGUAGES))
    return folder


def speech_to_text(folder, table, *, special=None, added=None, **config) -> Speech2TextVocabulary:
    return Speech2TextVocabulary.from_files(
        table,
        folder / "sentencepiece.bpe.model",
        tokenizer_config=config,
        special_tokens_map=special or {},
        added_tokens=added or {},
    )


def speech_to_text_2(table=None, *, merges=None, special=None, **config) -> Speech2Text2Vocabulary:
    return Speech2Text2Vocabulary.from_files(
        TABLE if table is None else table,
        merges=merges,
        tokenizer_config=config,
        special_tokens_map=special or {},
        added_tokens={},
    )


@pytest.fixture
def english(tmp_path):
    """A function that builds the vocabulary of one language with a configuration."""
    table = write_files(tmp_path)
    return lambda **options: speech_to_text(tmp_path, table, **options)


@pytest.fixture
def multilingual(folder):
    table = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    return lambda **options: speech_to_text(folder, table, lang_codes="mustc", **options)


def test_text_comes_back_as_it_was(english):
    vocabulary = english()

    assert vocabulary.decode(vocabulary.encode("the quick  dog jumps")) == "the quick dog jumps"


def test_indices_come_from_vocab_json_and_end_with_the_end(english):
    vocabulary = english()

    *pieces, end = vocabulary.encode("fox")

    assert end == 2
    assert pieces == [
        vocabulary.tokens.ids[piece] for piece in vocabulary.processor.encode("fox", out_type=str)
    ]
    assert pieces != vocabulary.processor.encode("fox", out_type=int)


def test_text_begins_with_its_language(multilingual):
    vocabulary = multilingual(tgt_lang="fr")

    assert [vocabulary.encode("mir", language)[0] for language in LANGUAGES] == [*range(4, 12)]
    assert vocabulary.encode("mir")[0] == 5


def test_first_language_is_taken_where_the_files_choose_none(multilingual):
    assert multilingual().target_language is None
    assert multilingual().encode("mir")[0] == 4


def test_languages_are_in_order_of_their_tokens(multilingual):
    assert dict(multilingual().languages) == dict(zip(LANGUAGES, range(4, 12), strict=True))


def test_language_that_the_model_does_not_write_is_an_error_with_the_choices(multilingual):
    with pytest.raises(UsageError, match="'xx' is not one of pt, fr, ru, nl, ro, it, es, de"):
        multilingual().encode("hello", "xx")


def test_language_is_refused_where_there_is_no_choice(english):
    assert english().languages == {}
    with pytest.raises(UsageError, match="'fr': the model writes one language only"):
        english().encode("hello", "fr")


def test_special_tokens_are_left_out_or_stand_between_what_they_divide(multilingual):
    vocabulary = multilingual()
    ids = [2, *vocabulary.encode("hello world", "de")]

    assert vocabulary.decode(ids) == "hello world"
    assert vocabulary.decode(ids, skip_special_tokens=False) == "</s> <lang:de> hello world</s>"


def test_index_without_token_is_written_as_unknown(english):
    assert english().decode([3, 5_000]) == "<unk>"


def test_no_index_is_no_text(english):
    assert english().decode([]) == ""
    assert english().decode([2, 1, 1]) == ""


def test_upper_case_is_for_decoded_text_and_not_for_special_tokens(english):
    vocabulary = english(do_upper_case=True)

    text = vocabulary.decode(vocabulary.encode("grüße"), skip_special_tokens=False)

    assert text == "GRÜSSE</s>"


def test_lower_case_is_for_text_before_it_is_cut(english):
    vocabulary = english(do_lower_case=True)

    assert vocabulary.encode("Hello WORLD") == english().encode("hello world")


@pytest.mark.parametrize(("clean_up", "text"), [(True, "hello, fox"), (False, "hello , fox")])
def test_clean_up_takes_spaces_before_punctuation(english, clean_up, text):
    vocabulary = english(clean_up_tokenization_spaces=clean_up)

    assert vocabulary.decode(vocabulary.encode("hello , fox")) == text


def test_special_tokens_may_be_named_otherwise_and_be_objects(tmp_path):
    table = write_files(tmp_path) | {"[END]": 200, "[NOISE]": 201}
    vocabulary = speech_to_text(
        tmp_path,
        table,
        special={"eos_token": {"content": "[END]", "lstrip": False}},
        additional_special_tokens=[{"content": "[NOISE]"}],
    )

    ids = vocabulary.encode("hello[NOISE]world")

    assert (ids[-1], 201 in ids) == (200, True)
    assert vocabulary.decode(ids) == "hello world"


@pytest.mark.parametrize(
    ("table", "config", "message"),
    [
        ([], {}, "expected an object"),
        ({}, {}, "expected an object"),
        ({"</s>": "2", "<unk>": 3}, {}, "the index of '</s>' is '2'"),
        (TABLE | {"a\ud800": 20}, {}, "is not Unicode text"),
        ({"<unk>": 3}, {}, "eos_token '</s>' is not in it"),
        ({"</s>": 2}, {}, "unk_token '<unk>' is not in it"),
        (TABLE, {"eos_token": 2}, "eos_token is 2"),
        (TABLE, {"additional_special_tokens": 5}, "additional_special_tokens is 5"),
        (TABLE, {"additional_special_tokens": [5]}, r"additional_special_tokens is \[5\]"),
        (TABLE, {"extra_special_tokens": {"a": {}}}, "extra_special_tokens is"),
        (TABLE, {"tokenizer_class": "T5Tokenizer"}, "'T5Tokenizer' is not supported"),
        (TABLE, {"lang_codes": "mustc"}, "lang_codes is 'mustc'"),
        (TABLE | {"<lang:fr>": 20}, {"tgt_lang": "de"}, "tgt_lang is 'de', expected one of fr"),
        (TABLE | {"<lang:fr>": 20}, {"tgt_lang": ["fr"]}, "tgt_lang is "),
    ],
)
def test_tokenizer_files_that_make_no_sense_are_refused(folder, table, config, message):
    with pytest.raises(CheckpointError, match=message):
        speech_to_text(folder, table, **config)


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 253714\n"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(LFS, id="git-lfs"),
        pytest.param(b"hello world\n" * 50, id="text"),
        pytest.param(random.Random(0).randbytes(5_000), id="random"),
        pytest.param(None, id="truncated"),
    ],
)
def test_damaged_model_is_an_error_that_names_the_file(folder, tmp_path, content, capfd):
    if content is None:
        content = (folder / "sentencepiece.bpe.model").read_bytes()[:3_000]
    (tmp_path / "sentencepiece.bpe.model").write_bytes(content)

    with pytest.raises(CheckpointError, match=r"sentencepiece\.bpe\.model"):
        speech_to_text(tmp_path, TABLE)

    assert capfd.readouterr() == ("", "")


def test_model_that_is_missing_is_an_error_that_names_the_file(tmp_path):
    with pytest.raises(CheckpointError, match=r"sentencepiece\.bpe\.model: cannot be read"):
        speech_to_text(tmp_path, TABLE)


def test_ctc_users_do_not_load_sentencepiece():
    code = "import sys, asrkit.text; sys.exit('sentencepiece' in sys.modules)"

    subprocess.run([sys.executable, "-c", code], check=True)


def test_example_of_speech_to_text_2():
    assert speech_to_text_2().decode([4, 6, 8, 7, 10]) == "herecouple words ofthe"


def test_continuation_at_the_very_end_stays():
    assert speech_to_text_2().decode([5, 4]) == "a here@@"


def test_specials_of_speech_to_text_2_are_left_out_or_stand_like_words():
    vocabulary = speech_to_text_2()

    assert vocabulary.decode([2, 5, 6, 3, 99, 2]) == "a couple <unk>"
    assert vocabulary.decode([2, 5, 6, 2], skip_special_tokens=False) == "</s> a couple </s>"


@pytest.mark.parametrize(
    ("config", "text"),
    [({}, 'Sir, " ich!'), ({"clean_up_tokenization_spaces": False}, 'Sir , " ich !')],
)
def test_clean_up_is_on_where_the_files_do_not_say(config, text):
    table = TABLE | {"Sir": 20, ",": 21, '"': 22, "ich": 23, "!": 24}

    assert speech_to_text_2(table, **config).decode([20, 21, 22, 23, 24]) == text


def test_pairs_are_merged_by_rank():
    # h e r e -> he r e -> (the pair r, e at the end is the one with </w>) he re -> here.
    vocabulary = speech_to_text_2(TABLE | {"here": 30}, merges=MERGES)

    assert vocabulary.encode("here") == [30]
    assert vocabulary.encode("hereh") == [4, 3]
    assert vocabulary.encode("a  HE") == [5, 3, 3]


def test_lower_case_of_speech_to_text_2():
    vocabulary = speech_to_text_2(merges="t h\nth e</w>\n", do_lower_case=True)

    assert vocabulary.encode("THE the") == [10, 10]


def test_last_line_of_merges_counts_only_with_its_end():
    assert speech_to_text_2(merges="t h\nth e</w>").encode("the") == [3, 3]


def test_encoding_without_merges_is_an_error_that_says_so():
    with pytest.raises(UsageError, match=r"no merges\.txt"):
        speech_to_text_2().encode("a")


@pytest.fixture(params=["speech_to_text", "speech_to_text_2"])
def golden(request, tmp_path):
    """A vocabulary, and what the reference makes of its cases."""
    stored = GOLDEN[request.param]
    if request.param == "speech_to_text_2":
        return speech_to_text_2(stored["vocabulary"], merges=stored["merges"]), stored
    (tmp_path / "sentencepiece.bpe.model").write_bytes(base64.b64decode(stored["model"]))
    return speech_to_text(tmp_path, stored["vocabulary"], **stored["config"]), stored


def test_texts_have_the_indices_of_the_reference(golden):
    vocabulary, stored = golden

    for text, expected in stored["encode"]:
        assert vocabulary.encode(text) == expected, text


def test_indices_have_the_text_of_the_reference(golden):
    vocabulary, stored = golden

    for ids, text, with_specials in stored["decode"]:
        assert vocabulary.decode(ids) == text
        assert vocabulary.decode(ids, skip_special_tokens=False) == with_specials
