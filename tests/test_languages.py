"""Multilingual checkpoints: one language's adapter, head and vocabulary, or none of them."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from asrkit import load_model
from asrkit.checkpoint import Checkpoint, languages
from asrkit.cli.app import app
from asrkit.ctc import BestPath, collapse
from asrkit.ctc.alphabet import Alphabet
from asrkit.ctc.beam import BeamDecoder
from asrkit.errors import AsrkitError, CheckpointError, ExitCode, UsageError
from asrkit.options import ModelOptions
from asrkit.tasks.recognizer import Recognizer
from asrkit.text import CTCVocabulary, nearest_languages
from tests.tiny import tiny_model

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "|")
LETTERS = {"eng": "abc", "fra": "abcéè", "frr": "å", "urd-script_arabic": "ابپ"}


def adapter_of(model, size: int) -> dict[str, torch.Tensor]:
    """Random weights of a language with so many tokens."""
    own = {n: v for n, v in model.state_dict().items() if ".adapter_layer." in n}
    own |= {"lm_head.weight": torch.empty(size, 24), "lm_head.bias": torch.empty(size)}
    return {name: torch.randn(value.shape) for name, value in own.items()}


@pytest.fixture
def folder(tmp_path) -> Path:
    """A multilingual checkpoint whose weights are English, with files of two languages more."""
    tables = {
        language: {token: index for index, token in enumerate((*SPECIAL, *letters))}
        for language, letters in LETTERS.items()
    }
    options = {"do_stable_layer_norm": True, "adapter_attn_dim": 4, "vocab_size": 8}
    path = tiny_model(folder=tmp_path / "mms", **options)
    (path / "vocab.json").write_text(json.dumps(tables))
    settings = {"tokenizer_class": "Wav2Vec2CTCTokenizer", "target_lang": "eng"}
    (path / "tokenizer_config.json").write_text(json.dumps(settings))
    model = tiny_model(**options)
    save_file(adapter_of(model, 10), path / "adapter.fra.safetensors")
    torch.save(adapter_of(model, 8), path / "adapter.urd-script_arabic.bin")
    return path


def edit_adapter(folder: Path, change) -> None:
    """Write the French adapter again after a change of its tensors."""
    options = {"do_stable_layer_norm": True, "adapter_attn_dim": 4, "vocab_size": 8}
    tensors = adapter_of(tiny_model(**options), 10)
    change(tensors)
    save_file(tensors, folder / "adapter.fra.safetensors")


def test_language_brings_its_adapter_its_head_and_its_vocabulary(folder):
    own = Recognizer.load(ModelOptions(str(folder), device="cpu"))
    french = Recognizer.load(ModelOptions(str(folder), language="fra", device="cpu"))

    assert own.vocabulary.tokens == (*SPECIAL, *"abc")
    assert french.vocabulary.tokens == (*SPECIAL, *"abcéè")
    assert (own.model.config.vocab_size, french.model.config.vocab_size) == (8, 10)
    assert french.info.language == "fra"
    before, after = own.model.state_dict(), french.model.state_dict()
    changed = {n for n in before if not torch.equal(before[n], after[n])}
    assert changed == {n for n in before if ".adapter_layer." in n or n.startswith("lm_head.")}


def test_adapter_may_be_a_pytorch_file(folder):
    model = load_model(str(folder), language="urd-script_arabic")

    stored = torch.load(folder / "adapter.urd-script_arabic.bin", weights_only=True)
    torch.testing.assert_close(model.lm_head.weight, stored["lm_head.weight"], rtol=0, atol=0)


def test_base_model_takes_a_language_too(folder):
    base, french = (load_model(str(folder), head="base", language=c) for c in (None, "fra"))

    norms = [m.encoder.layers[0].adapter_layer.norm.weight for m in (base, french)]
    assert not torch.equal(*norms)


def test_languages_are_listed_in_order(folder, tmp_path):
    assert languages(Checkpoint("mms", folder)) == ["eng", "fra", "frr", "urd-script_arabic"]
    assert languages(Checkpoint("tiny", tiny_model(folder=tmp_path / "tiny"))) == []


@pytest.mark.parametrize(
    ("language", "hint"),
    [
        ("frb", "the nearest are f"),
        ("urd", "the nearest are urd-script_arabic"),
        ("FRA", "the nearest are fra"),
        ("../x", "asrkit models info"),
        ("", "asrkit models info"),
        ("/../../adapter", "asrkit models info"),
    ],
)
def test_unknown_language_is_refused_with_the_nearest(folder, language, hint):
    with pytest.raises(UsageError, match="is not among its 4 languages") as caught:
        load_model(str(folder), language=language)
    assert hint in caught.value.hint


def test_language_that_leaves_the_folder_is_refused_even_if_the_vocabulary_names_it(folder):
    table = {token: index for index, token in enumerate(SPECIAL)}
    (folder / "vocab.json").write_text(json.dumps({"/../../secret": table}))

    with pytest.raises(CheckpointError, match="leaves the directory"):
        load_model(str(folder), language="/../../secret")


def test_language_without_a_file_is_an_error_that_names_the_file(folder):
    with pytest.raises(CheckpointError, match=r"no adapter\.frr\.safetensors or adapter\.frr\.bin"):
        load_model(str(folder), language="frr")


def test_language_of_a_model_without_adapters_is_refused(tmp_path):
    tiny_model(folder=tmp_path)

    with pytest.raises(UsageError, match="language 'fra' is asked for, and there are no adapters"):
        load_model(str(tmp_path), language="fra")


def test_language_of_a_model_with_one_vocabulary_is_refused(tmp_path):
    tiny_model(folder=tmp_path, do_stable_layer_norm=True, adapter_attn_dim=4)

    with pytest.raises(UsageError, match="language 'fra' of a model that names none"):
        load_model(str(tmp_path), language="fra")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("lm_head.bias"), r"1 of 14 tensors are missing: lm_head\.bias"),
        (lambda t: t.pop("lm_head.weight"), r"1 of 14 tensors are missing: lm_head\.weight"),
        (lambda t: t.update(more=torch.ones(1)), r"1 of \d+ tensors have no place .* more"),
        (
            lambda t: t.update({"wav2vec2.encoder.layer_norm.weight": torch.ones(24)}),
            "have no place in the model: wav2vec2.encoder.layer_norm.weight",
        ),
        (
            lambda t: t.update({"lm_head.weight": torch.ones(10, 23)}),
            r"lm_head\.weight is float32 \(10, 23\), expected float32 \(10, 24\)",
        ),
        (
            lambda t: t.update({"lm_head.weight": torch.ones(())}),
            r"lm_head\.weight is float32 \(\), expected",
        ),
        (lambda t: t.update({"lm_head.bias": torch.ones(9)}), r"lm_head\.bias is float32 \(9,\)"),
        (
            lambda t: t.update(
                {"wav2vec2.encoder.layers.1.adapter_layer.linear_1.weight": torch.ones(5, 24)}
            ),
            r"linear_1\.weight is float32 \(5, 24\), expected float32 \(4, 24\)",
        ),
    ],
)
def test_adapter_that_does_not_fit_is_refused_as_a_whole(folder, change, message):
    """I14."""
    edit_adapter(folder, change)

    with pytest.raises(CheckpointError, match=message) as caught:
        load_model(str(folder), language="fra")
    assert "the adapter of 'fra'" in caught.value.message


def test_damaged_adapter_is_an_error_that_names_it(folder):
    (folder / "adapter.fra.safetensors").write_bytes(struct.pack("<Q", 1 << 40))

    with pytest.raises(CheckpointError, match=r"adapter\.fra\.safetensors"):
        load_model(str(folder), language="fra")


def test_adapter_that_would_run_code_is_refused(folder):
    class Payload:
        def __reduce__(self):
            return (print, ("code ran",))

    torch.save({"lm_head.bias": Payload()}, folder / "adapter.frr.bin")

    with pytest.raises(AsrkitError, match="print"):
        load_model(str(folder), language="frr")


def test_nearest_languages_begin_alike_or_are_spelled_alike():
    known = ["ara", "eng", "fra", "frr", "urd-script_arabic", "urd-script_latin"]

    assert nearest_languages("urd", known).endswith("urd-script_arabic, urd-script_latin")
    assert nearest_languages("fre", known).endswith("frr, fra")
    assert (
        nearest_languages("xyz", known) == "languages are ara, eng, fra, frr, urd-script_arabic ..."
    )


@pytest.mark.parametrize("command", ["transcribe", "align"])
def test_commands_take_a_language(command, folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    soundfile.write("a.wav", np.random.default_rng(0).normal(0, 0.1, 16_000), 16_000)
    Path("a.txt").write_text("abécé")

    def run(language: str):
        arguments = [command, "a.wav", "-m", "mms", "--language", language, "-f", "json"]
        return CliRunner().invoke(app, arguments)

    french, unknown = run("fra"), run("xyz")

    assert french.exit_code == 0, french.output
    assert json.loads(french.stdout)["model"]["language"] == "fra"
    assert unknown.exit_code == ExitCode.USAGE
    assert "'xyz' is not among its 4 languages" in unknown.stderr


def test_head_of_a_language_may_be_in_its_adapter_alone(folder):
    weights = load_file(folder / "model.safetensors")
    shared = {name: value for name, value in weights.items() if not name.startswith("lm_head.")}
    save_file(shared, folder / "model.safetensors")

    with pytest.raises(CheckpointError, match="no CTC head"):
        load_model(str(folder))
    assert load_model(str(folder), language="fra").config.vocab_size == 10


# ------------------------------------------------------------------------------------- phonemes


def phonemes(delimiter: str | None = None) -> CTCVocabulary:
    table = {token: index for index, token in enumerate((*SPECIAL, "h", "ə", "l", "oʊ"))}
    return CTCVocabulary.from_files(
        table,
        tokenizer_config={
            "tokenizer_class": "Wav2Vec2PhonemeCTCTokenizer",
            "word_delimiter_token": delimiter,
        },
        special_tokens_map={},
        added_tokens={},
    )


def spell(vocabulary: CTCVocabulary, path: list[int]):
    spans = collapse(BestPath.of(torch.eye(9)[path].log().numpy()), blank=vocabulary.blank)
    return vocabulary.hypothesis(spans)


def test_phonemes_stand_apart_and_are_timed_one_by_one():
    found = spell(phonemes(), [5, 5, 0, 6, 7, 0, 7, 8])

    assert found.text == "h ə l l oʊ"
    assert [(c.text, c.start, c.end) for c in found.characters] == [
        ("h", 0, 2), ("ə", 3, 4), ("l", 4, 5), ("l", 6, 7), ("oʊ", 7, 8),
    ]  # fmt: skip
    assert found.words == found.characters


def test_word_delimiter_is_no_phoneme():
    assert spell(phonemes("|"), [5, 4, 6]).text == "h ə"
    assert spell(phonemes(None), [5, 4, 6]).text == "h | ə"


def test_beam_search_writes_phonemes_as_greedy_decoding_does():
    vocabulary = phonemes()
    alphabet = Alphabet.from_tokens(
        vocabulary.tokens,
        blank=vocabulary.blank,
        word_delimiter=vocabulary.word_delimiter,
        is_phonemic=True,
    )
    path = [5, 5, 0, 6, 7, 0, 7, 8]
    log_probs = torch.log_softmax(12 * torch.eye(9)[path], -1).numpy()

    (best,) = BeamDecoder(alphabet).decode(log_probs)

    expected = spell(vocabulary, path)
    assert best.text == expected.text
    assert [(w.text, w.start, w.end) for w in best.words] == [
        (w.text, w.start, w.end) for w in expected.words
    ]
