"""Languages of MMS checkpoints and phoneme vocabularies against transformers."""

from __future__ import annotations

import json
import random

import pytest

pytestmark = pytest.mark.parity
transformers = pytest.importorskip("transformers")

import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from asrkit.ctc import BestPath, collapse  # noqa: E402
from asrkit.options import ModelOptions  # noqa: E402
from asrkit.tasks.recognizer import Recognizer  # noqa: E402
from asrkit.text import CTCVocabulary  # noqa: E402
from tests.parity import reference  # noqa: E402
from tests.parity.test_ctc_models import difference, speechlike  # noqa: E402

LANGUAGES = ("eng", "fra", "urd-script_arabic")
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "|")


def write_multilingual(folder, *, seed: int, suffix: str) -> None:
    """A checkpoint as of MMS: shared weights, English in them, and a file for each language."""
    choose = random.Random(seed)
    tables = {}
    for language in LANGUAGES:
        letters = choose.sample([chr(code) for code in range(0x61, 0x250)], choose.randint(20, 40))
        tables[language] = {token: index for index, token in enumerate((*SPECIAL, *letters))}
    config = reference.small_config("wav2vec2", seed)
    config.update(
        {
            "do_stable_layer_norm": True,
            "adapter_attn_dim": choose.choice((4, 16)),
            "add_adapter": False,
            "output_hidden_size": config.hidden_size,
            "vocab_size": len(tables["eng"]),
        }
    )
    model = reference.random_model(config, seed=seed)
    model.save_pretrained(folder)
    for language, table in tables.items():
        shapes = {name: value.shape for name, value in model._get_adapters().items()}
        shapes["lm_head.weight"] = (len(table), config.hidden_size)
        shapes["lm_head.bias"] = (len(table),)
        adapter = {name: torch.randn(shape) / shape[-1] ** 0.5 for name, shape in shapes.items()}
        path = folder / f"adapter.{language}.{suffix}"
        save_file(adapter, path) if suffix == "safetensors" else torch.save(adapter, path)
    (folder / "vocab.json").write_text(json.dumps(tables))
    transformers.Wav2Vec2CTCTokenizer(
        str(folder / "vocab.json"), target_lang="eng"
    ).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
@pytest.mark.parametrize("seed", range(10))
def test_language_gives_the_reference_logits_and_text(seed, suffix, tmp_path, record):
    write_multilingual(tmp_path, seed=seed, suffix=suffix)
    values = speechlike(16_000, seed)
    expected_model = transformers.Wav2Vec2ForCTC.from_pretrained(tmp_path).eval()
    tokenizer = transformers.Wav2Vec2CTCTokenizer.from_pretrained(tmp_path)

    for language in (None, *LANGUAGES):
        if language is not None:
            expected_model.load_adapter(language)
            tokenizer.set_target_lang(language)
        recognizer = Recognizer.load(ModelOptions(str(tmp_path), language=language, device="cpu"))
        with torch.inference_mode():
            expected = expected_model(values).logits
            found = recognizer.model(values).logits

        vocabulary = recognizer.vocabulary
        path = BestPath.of(torch.log_softmax(expected[0], -1).numpy())
        text = vocabulary.hypothesis(collapse(path, blank=vocabulary.blank)).text
        result = {
            "logits": difference(found, expected),
            "|logits|": float(expected.abs().max()),
            "same text": text == tokenizer.decode(expected[0].argmax(-1)),
        }
        record("MMS languages", result)
        assert result["logits"] <= 1e-4
        assert result["same text"]


@pytest.mark.parametrize("delimiter", [None, "|"])
@pytest.mark.parametrize("seed", range(20))
def test_phonemes_are_the_reference_text_and_offsets(seed, delimiter, tmp_path, record):
    phonemes = "ə n t s k iː l a ɔ eɪ tʃ dʒ oʊ aɪ ʃ ŋ ɾ ʁ".split()
    table = {token: index for index, token in enumerate((*SPECIAL, *phonemes))}
    (tmp_path / "vocab.json").write_text(json.dumps(table))
    transformers.Wav2Vec2PhonemeCTCTokenizer(
        str(tmp_path / "vocab.json"), word_delimiter_token=delimiter, do_phonemize=False
    ).save_pretrained(tmp_path)
    tokenizer = transformers.Wav2Vec2PhonemeCTCTokenizer.from_pretrained(tmp_path)
    vocabulary = CTCVocabulary.from_files(
        json.loads((tmp_path / "vocab.json").read_text()),
        tokenizer_config=json.loads((tmp_path / "tokenizer_config.json").read_text()),
        special_tokens_map={},
        added_tokens={},
    )
    torch.manual_seed(seed)
    # Runs of a token, blanks between some, so that repeats merge and stay apart.
    ids = torch.randint(len(table), (60,)).repeat_interleave(torch.randint(1, 4, (60,)))
    log_probs = torch.log_softmax(10 * torch.nn.functional.one_hot(ids, len(table)).float(), -1)

    expected = tokenizer.decode(ids, output_char_offsets=True)
    path = BestPath.of(log_probs.numpy())
    found = vocabulary.hypothesis(collapse(path, blank=vocabulary.blank))

    offsets = [(c["char"], c["start_offset"], c["end_offset"]) for c in expected.char_offsets]
    same = (
        found.text == expected.text
        and [(c.text, c.start, c.end) for c in found.characters] == offsets
    )
    record("phonemes", {"same text": same})
    assert same
