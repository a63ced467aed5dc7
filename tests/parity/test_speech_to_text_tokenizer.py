"""The vocabulary of Speech2Text against the tokenizer of transformers."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.parity
transformers = pytest.importorskip("transformers")

from asrkit.text import Speech2TextVocabulary  # noqa: E402
from tests.parity import texts  # noqa: E402
from tests.sentencepieces import LANGUAGES, write_files  # noqa: E402

IS_RELEASE_4 = transformers.__version__.startswith("4.")
LANGUAGE_TOKENS = tuple(f"<lang:{code}>" for code in LANGUAGES)
SEEDS = range(150)


@pytest.fixture(scope="module", params=["one language", "mustc"])
def folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("s2t")
    write_files(folder, languages=tuple(LANGUAGES) if request.param == "mustc" else ())
    return folder


def both(folder, **options):
    """The reference and, of the files that it saves, ours."""
    table = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    is_multilingual = "<lang:fr>" in table
    tokenizer = transformers.Speech2TextTokenizer(
        str(folder / "vocab.json"),
        str(folder / "sentencepiece.bpe.model"),
        lang_codes="mustc" if is_multilingual else None,
        clean_up_tokenization_spaces=options.pop("clean_up", False),
        **options,
    )
    # It asks SentencePiece for the languages' indices, which agree in the published files only.
    for code in LANGUAGES if is_multilingual else ():
        tokenizer.lang_code_to_id[code] = table[f"<lang:{code}>"]
    if is_multilingual:
        tokenizer.set_tgt_lang_special_tokens(tokenizer.tgt_lang)
    saved = folder / "saved"
    tokenizer.save_pretrained(saved)
    named = saved / "special_tokens_map.json"
    vocabulary = Speech2TextVocabulary.from_files(
        json.loads((saved / "vocab.json").read_text(encoding="utf-8")),
        saved / "sentencepiece.bpe.model",
        tokenizer_config=json.loads((saved / "tokenizer_config.json").read_text(encoding="utf-8")),
        special_tokens_map=json.loads(named.read_text()) if named.exists() else {},
        added_tokens={},
    )
    return tokenizer, vocabulary


@pytest.mark.parametrize("is_lower_case", [False, True])
def test_texts_have_the_same_indices(folder, is_lower_case):
    if is_lower_case and not IS_RELEASE_4:
        pytest.skip("release 5 of transformers ignores do_lower_case")
    tokenizer, vocabulary = both(folder, do_lower_case=is_lower_case)
    specials = texts.SPECIALS + LANGUAGE_TOKENS * bool(vocabulary.languages)

    for seed in SEEDS:
        text = texts.random_text(seed, specials)
        language = LANGUAGES[seed % len(LANGUAGES)] if vocabulary.languages else None
        if language is not None:
            tokenizer.tgt_lang = language
        expected = tokenizer(text).input_ids

        assert vocabulary.encode(text, language) == expected, text


@pytest.mark.parametrize("is_upper_case", [False, True])
@pytest.mark.parametrize("clean_up", [False, True])
def test_indices_have_the_same_text(folder, is_upper_case, clean_up):
    tokenizer, vocabulary = both(folder, do_upper_case=is_upper_case, clean_up=clean_up)

    for seed in SEEDS:
        ids = texts.random_ids(seed, len(tokenizer))
        for skip in (True, False):
            expected = tokenizer.decode(ids, skip_special_tokens=skip)

            assert vocabulary.decode(ids, skip_special_tokens=skip) == expected, ids


def test_language_that_the_files_choose_is_the_same(folder):
    tokenizer, vocabulary = both(folder)
    if not vocabulary.languages:
        pytest.skip("a model of one language")

    assert vocabulary.encode("hello") == tokenizer("hello").input_ids
    tokenizer, vocabulary = both(folder, tgt_lang="ro")
    assert vocabulary.target_language == tokenizer.tgt_lang == "ro"
