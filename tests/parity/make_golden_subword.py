"""Write tests/golden/subword.json: small vocabularies and what the reference makes of texts.

    python -m tests.parity.make_golden_subword

Needs transformers 4.40.2 (extra parity440), the last release that has both tokenizers unchanged.
"""

from __future__ import annotations

import base64
import json
import tempfile
from pathlib import Path
from typing import Any

import transformers

from tests.parity import texts
from tests.sentencepieces import LANGUAGES, write_files

TARGET = Path(__file__).parent.parent / "golden" / "subword.json"
SEEDS = range(40)


def cases(tokenizer: Any) -> dict[str, Any]:
    indices = [texts.random_ids(seed, len(tokenizer)) for seed in SEEDS]
    return {
        "encode": [
            [text, tokenizer(text).input_ids] for text in map(texts.random_text, SEEDS) if text
        ],
        "decode": [
            [ids, tokenizer.decode(ids, skip_special_tokens=True), tokenizer.decode(ids)]
            for ids in indices
        ],
    }


def speech_to_text(folder: Path) -> dict[str, Any]:
    # Without normalisation the model is small; the tables of Unicode are SentencePiece's affair.
    table = write_files(folder, languages=tuple(LANGUAGES), normalization="identity")
    model = folder / "sentencepiece.bpe.model"
    options = dict(do_lower_case=True, do_upper_case=True, clean_up_tokenization_spaces=False)
    tokenizer = transformers.Speech2TextTokenizer(
        str(folder / "vocab.json"), str(model), lang_codes="mustc", tgt_lang="nl", **options
    )
    tokenizer.lang_code_to_id |= {code: table[f"<lang:{code}>"] for code in LANGUAGES}
    tokenizer.tgt_lang = "nl"
    return {
        "model": base64.b64encode(model.read_bytes()).decode("ascii"),
        "vocabulary": table,
        "config": options | {"lang_codes": "mustc", "tgt_lang": "nl"},
        **cases(tokenizer),
    }


def speech_to_text_2(folder: Path) -> dict[str, Any]:
    table, merges = texts.random_merges(0)
    (folder / "vocab.json").write_text(json.dumps(table), encoding="utf-8")
    (folder / "merges.txt").write_text(merges, encoding="utf-8")
    tokenizer = transformers.Speech2Text2Tokenizer(
        str(folder / "vocab.json"), merges_file=str(folder / "merges.txt")
    )
    return {"vocabulary": table, "merges": merges, **cases(tokenizer)}


def main() -> None:
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        content = {
            "speech_to_text": speech_to_text(Path(first)),
            "speech_to_text_2": speech_to_text_2(Path(second)),
        }
    TARGET.write_text(json.dumps(content, ensure_ascii=True), encoding="ascii")


if __name__ == "__main__":
    main()
