"""The vocabulary of Speech2Text2 against the tokenizer of transformers 4.40.2.

Later releases no longer have it: this file has an environment of its own, the extra parity440.
"""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.parity
transformers = pytest.importorskip("transformers")
if "Speech2Text2Tokenizer" not in dir(transformers):
    pytest.skip("needs transformers 4.40.2, the extra parity440", allow_module_level=True)

from asrkit.text import Speech2Text2Vocabulary  # noqa: E402
from tests.parity import texts  # noqa: E402

SEEDS = range(300)


def both(folder, seed, **options):
    """The reference and, of the files that it saves, ours."""
    table, merges = texts.random_merges(seed)
    (folder / "vocab.json").write_text(json.dumps(table), encoding="utf-8")
    (folder / "merges.txt").write_text(merges, encoding="utf-8")
    tokenizer = transformers.Speech2Text2Tokenizer(
        str(folder / "vocab.json"), merges_file=str(folder / "merges.txt"), **options
    )
    tokenizer.save_pretrained(folder / "saved")
    names = ("vocab.json", "tokenizer_config.json", "special_tokens_map.json")
    vocabulary, config, special = (
        json.loads((folder / "saved" / name).read_text(encoding="utf-8")) for name in names
    )
    return tokenizer, Speech2Text2Vocabulary.from_files(
        vocabulary,
        merges=merges,
        tokenizer_config=config,
        special_tokens_map=special,
        added_tokens={},
    )


@pytest.mark.parametrize("is_lower_case", [False, True])
@pytest.mark.parametrize("vocabulary_seed", range(5))
def test_texts_have_the_same_indices(tmp_path, vocabulary_seed, is_lower_case):
    tokenizer, vocabulary = both(tmp_path, vocabulary_seed, do_lower_case=is_lower_case)

    for seed in SEEDS:
        text = texts.random_text(seed)

        assert vocabulary.encode(text) == tokenizer(text).input_ids, text


@pytest.mark.parametrize("options", [{}, {"clean_up_tokenization_spaces": False}])
def test_indices_have_the_same_text(tmp_path, options):
    tokenizer, vocabulary = both(tmp_path, 0, **options)

    for seed in SEEDS:
        ids = texts.random_ids(seed, len(tokenizer))
        for skip in (True, False):
            expected = tokenizer.decode(ids, skip_special_tokens=skip)

            assert vocabulary.decode(ids, skip_special_tokens=skip) == expected, ids
