"""Alphabets, language model files and ARPA text."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asrkit.ctc.alphabet import Alphabet
from asrkit.ctc.arpa import ArpaModel
from asrkit.ctc.beam import BeamDecoder
from asrkit.ctc.lm import LanguageModel, native_module, write_directory
from asrkit.errors import AsrkitError, CheckpointError, MissingExtraError, UsageError

ARPA = """# any comment
\\data\\
ngram 1=5
ngram 2=3
ngram 3=1

\\1-grams:
-99\t<s>\t-0.3
-0.8\t</s>
-1.0\t<unk>
-0.5\tab\t-0.2
-0.7\tc\t0

\\2-grams:
-0.2\t<s> ab\t-0.125
-0.25\tab c\t-0.5
-0.1\tc </s>

\\3-grams:
-0.0625\t<s> ab c

\\end\\
"""


@pytest.fixture(params=["python", "native"])
def engine(request):
    if request.param == "native" and native_module() is None:
        pytest.skip("the native core was not built")
    return request.param


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def model_directory(tmp_path):
    """A model's directory as Wav2Vec2ProcessorWithLM writes it."""
    Alphabet(("", " ", "a", "b", "c")).save(tmp_path / "alphabet.json")
    arpa = write(tmp_path / "small.arpa", ARPA)
    write_directory(tmp_path / "language_model", arpa, unigrams=["c", "ab"], alpha=0.7)
    return tmp_path


# --- alphabets ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["<pad>", "<s>", "<unk>", "|", "E"], ("", "<s>", "⁇", " ", "E")),
        (["[PAD]", "[UNK]", "|", "a"], ("", "⁇", " ", "a")),
        (["_", "a", " ", "|"], ("", "a", " ", "|")),
        (["a", " "], ("a", " ", "")),
        (["_", "", "a"], ("_", "", "a")),
        (["[PAD]", "a", "##b", "<unk>", "<s>"], ("", "▁a", "b", "▁⁇▁", "<s>")),
        (["<pad>", "▁a", "b", "<unk>"], ("", "▁a", "b", "▁⁇▁")),
        (["▁a", "b", "|"], ("▁a", "b", "|", "")),
    ],
)
def test_labels_are_normalised_as_pyctcdecode_does(labels, expected):
    alphabet = Alphabet.build(labels)

    assert alphabet.labels == expected
    assert alphabet.is_bpe == any("▁" in label for label in expected)


@pytest.mark.parametrize("labels", [["a", "b", "a"], ["▁a", " b"]])
def test_labels_that_cannot_be_are_refused(labels):
    with pytest.raises(CheckpointError, match="labels"):
        Alphabet.build(labels)


def test_a_wav2vec2_vocabulary_becomes_labels():
    alphabet = Alphabet.from_tokens(["[P]", "a", "/", None, "[U]"], blank=0, word_delimiter="/",
                                    unknown="[U]", width=6)  # fmt: skip

    assert alphabet == Alphabet(("", "a", " ", "⁇", "⁇", "⁇"))


def test_a_vocabulary_beside_another_alphabet_is_refused():
    with pytest.raises(CheckpointError, match="'b', 'c'"):
        Alphabet(("", " ", "a")).check_covers(Alphabet(("", "a", "b", "c")))


@pytest.mark.parametrize(
    "content",
    [
        "{", "[]", "{}", '{"labels": [""]}', '{"labels": [""], "is_bpe": false, "x": 1}',
        '{"labels": ["", 1], "is_bpe": false}', '{"labels": [""], "is_bpe": 0}',
        '{"labels": ["a"], "is_bpe": false}', '{"labels": ["", "\\ud800"], "is_bpe": false}',
        "[" * 100_000, "\x00",
    ],
)  # fmt: skip
def test_a_broken_alphabet_file_is_refused(tmp_path, content):
    path = write(tmp_path / "alphabet.json", content)

    with pytest.raises(CheckpointError, match=r"alphabet\.json"):
        Alphabet.load(path)


# --- directories -------------------------------------------------------------------------------


def test_a_directory_is_read_with_its_weights(model_directory, engine):
    decoder = BeamDecoder.from_directory(model_directory, engine=engine)

    lm = decoder.lm
    assert decoder.alphabet.labels == ("", " ", "a", "b", "c")
    assert (lm.alpha, lm.beta, lm.unk_score_offset, lm.score_boundary) == (0.7, 1.5, -10.0, True)
    assert lm.unigrams == {"ab", "c"}
    assert decoder.decode(np.eye(5)[[2, 3, 1, 4]] * 9)[0].text == "ab c"


def test_a_directory_without_a_language_model_is_read_too(tmp_path):
    Alphabet(("", " ", "a")).save(tmp_path / "alphabet.json")

    assert BeamDecoder.from_directory(tmp_path).lm is None


def test_words_that_the_model_does_not_know_are_not_trusted(model_directory, engine):
    write(model_directory / "language_model" / "unigrams.txt", "ab\nzebra\n<unk>\n")

    lm = LanguageModel.from_directory(model_directory / "language_model", engine=engine)

    assert lm.unigrams == {"ab"}


@pytest.mark.parametrize("name", ["attrs.json", "unigrams.txt", "small.arpa"])
def test_a_missing_file_is_named_with_what_is_there(model_directory, name):
    (model_directory / "language_model" / name).unlink()

    with pytest.raises(CheckpointError, match=r"found .*expected attrs\.json, unigrams\.txt"):
        BeamDecoder.from_directory(model_directory)


def test_another_file_is_refused_and_a_hidden_one_is_not(model_directory):
    directory = model_directory / "language_model"
    write(directory / ".hidden", "")
    LanguageModel.from_directory(directory)
    write(directory / "notes.txt", "")

    with pytest.raises(CheckpointError, match=r"notes\.txt"):
        LanguageModel.from_directory(directory)


@pytest.mark.parametrize(
    "change",
    [{"gamma": 1}, {"alpha": "0.5"}, {"alpha": True}, {"score_boundary": 1}, {"beta": math.nan}],
)
def test_attrs_with_other_keys_or_values_are_refused(model_directory, change):
    path = model_directory / "language_model" / "attrs.json"
    write(path, json.dumps(json.loads(path.read_text()) | change))

    with pytest.raises(CheckpointError, match=r"attrs\.json.*expected"):
        BeamDecoder.from_directory(model_directory)


def test_a_kenlm_binary_without_kenlm_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "kenlm", None)
    path = tmp_path / "lm.bin"
    path.write_bytes(b"mmap lm http://kheafield.com/code format version 5\n\x00")

    with pytest.raises(MissingExtraError, match="'lm'"):
        LanguageModel.from_file(path)


def test_an_unknown_engine_is_refused(tmp_path):
    with pytest.raises(UsageError, match="auto, native, kenlm, python"):
        LanguageModel.from_file(tmp_path / "lm.arpa", engine="srilm")


# --- ARPA --------------------------------------------------------------------------------------


def test_unigrams_of_a_bare_file_are_those_with_a_back_off(tmp_path, engine):
    lm = LanguageModel.from_file(write(tmp_path / "x.arpa", ARPA), engine=engine)

    assert lm.unigrams == {"<s>", "ab", "c"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ab", "c", "</s>"], [-0.2, -0.0625, -0.5 - 0.1]),
        (["c"], [-0.3 - 0.7]),
        (["ab", "ab"], [-0.2, -0.125 - 0.2 - 0.5]),
        (["zebra", "c"], [-0.3 - 1.0, -0.7]),
        ([""], [-0.3 - 1.0]),
    ],
)
def test_probabilities_back_off(tmp_path, engine, words, expected):
    model = LanguageModel.from_file(write(tmp_path / "x.arpa", ARPA), engine=engine).ngrams
    state = model.start_state(boundary=True)

    found = []
    for word in words:
        log10, state = model.score(state, word)
        found.append(log10)

    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("\\data\\", "data"), ("ngram 2=3", "ngram 3=3"), ("ngram 1=5", "ngram 1=-5"),
        ("ngram 1=5", "ngram 1=99999999999"), ("ngram 1=5", "ngram 1=4"), ("-0.5\t", "0.5\t"),
        ("-0.5\t", "x\t"), ("-0.5\t", "nan\t"), ("-0.5\t", "-0.5 "), ("\tab\t-0.2", "\tab\tinf"),
        ("\tab\t-0.2", "\tab b\t-0.2"), ("-0.7\tc\t0", "-0.7\tab\t0"), ("ab c\t", "ab zebra\t"),
        ("\\2-grams:", "\\3-grams:"), ("\\end\\", ""), ("\\end\\", "\\end\\\nmore"),
        ("<s> ab c", "<s> ab c\t-0.5"), ("-99\t<s>\t-0.3", "-99\tx\t-0.3"),
        ("ab c\t-0.5", "c\t-0.5"),
        ("-0.1\tc </s>", "-0.1\tab c"), ("\\data\\\nngram 1=5", "\\data\\\n\nngram 1=5"),
    ],
)  # fmt: skip
def test_broken_arpa_text_is_refused(tmp_path, engine, old, new):
    assert old in ARPA
    path = write(tmp_path / "x.arpa", ARPA.replace(old, new))

    with pytest.raises(CheckpointError, match=r"x\.arpa"):
        LanguageModel.from_file(path, engine=engine)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xff\xfe\x00", b"\x1f\x8b\x08", b"\x00" * 99])
def test_what_is_no_text_at_all_is_refused(tmp_path, engine, content):
    path = tmp_path / "x.arpa"
    path.write_bytes(content)

    with pytest.raises(CheckpointError, match=r"x\.arpa"):
        LanguageModel.from_file(path, engine=engine)


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_fuzzed_arpa_text_reads_alike_or_is_refused_alike(data, tmp_path_factory):
    text = bytearray(ARPA, "utf-8")
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        size = data.draw(st.integers(0, 12))
        text[at : at + size] = data.draw(
            st.one_of(st.binary(max_size=6), st.sampled_from([b"\t", b"\n", b" ", b"-1", b"ab"]))
        )
    path = tmp_path_factory.mktemp("fuzz") / "x.arpa"
    path.write_bytes(bytes(text))

    python = _scores(path, "python")

    if native_module() is not None:
        assert _scores(path, "native") == python


def _scores(path, engine):
    try:
        model = LanguageModel.from_file(path, engine=engine)
    except AsrkitError:
        return "refused"
    state = model.ngrams.start_state(boundary=True)
    scores = [sorted(model.unigrams)]
    for word in ("ab", "c", "ab", "zebra", "ab", "c", "</s>"):
        log10, state = model.ngrams.score(state, word)
        scores.append((log10, word in model.ngrams))
    return scores


# --- the reader --------------------------------------------------------------------------------


def test_the_python_reader_keeps_the_path(tmp_path):
    path = write(tmp_path / "x.arpa", ARPA)

    assert ArpaModel(path).path == path
