"""The embedded translation model on the example clips."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

import asrkit
from asrkit.checkpoint import embedded_models

EXAMPLES = Path(__file__).parent.parent / "examples"


def rows() -> list[dict[str, str]]:
    with (EXAMPLES / "translations.tsv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.fixture(scope="module")
def generator():
    return asrkit.Generator.load(asrkit.ModelOptions(model="demo-translate"))


@pytest.mark.parametrize("language", ["fr", "de"])
def test_example_clips_are_translated_to_the_letter(language, generator):
    clips = [EXAMPLES / row["audio_filepath"] for row in rows()]

    found = asrkit.translate(clips, generator, target_language=language)

    assert [transcript.text for transcript in found] == [row[language] for row in rows()]


def test_translations_cover_every_clip_made_for_them():
    named = {row["audio_filepath"] for row in rows()}

    assert named >= {f"translate/{path.name}" for path in (EXAMPLES / "translate").iterdir()}
    assert len(named) >= 8


def test_clips_made_for_translation_are_small():
    sizes = [path.stat().st_size for path in (EXAMPLES / "translate").iterdir()]

    assert max(sizes) < 30_000


def test_another_language_than_the_two_is_refused(generator):
    with pytest.raises(asrkit.AsrkitError, match="pt"):
        asrkit.translate(EXAMPLES / rows()[0]["audio_filepath"], generator, target_language="pt")


def test_embedded_model_is_small_and_complete():
    folder = embedded_models()["demo-translate"]
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}

    assert sum(sizes.values()) <= 3_000_000
    assert sizes.keys() == {
        *("README.md", "config.json", "generation_config.json", "model.safetensors"),
        *("preprocessor_config.json", "sentencepiece.bpe.model", "special_tokens_map.json"),
        *("tokenizer_config.json", "vocab.json"),
    }


def test_indices_of_both_files_of_the_vocabulary_are_the_same(generator):
    folder = embedded_models()["demo-translate"]
    table = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))

    processor = generator.vocabulary.processor

    assert {processor.id_to_piece(i): i for i in range(processor.get_piece_size())} == table
    assert generator.vocabulary.languages == {"fr": 4, "de": 5}
