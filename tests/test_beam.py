"""The beam search, its native core against its Python twin, and the files it reads."""

from __future__ import annotations

import functools
import itertools
import math
import random
import tempfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asrkit.ctc.alphabet import Alphabet
from asrkit.ctc.beam import BeamDecoder
from asrkit.ctc.estimate import build_directory
from asrkit.ctc.lm import LanguageModel, native_module
from asrkit.errors import InputError, UsageError

LABELS = ("", " ", "a", "b", "c")
OPEN = {"beam_width": 10_000, "beam_prune_logp": -math.inf, "token_min_logp": -math.inf}
ARPA = """\\data\\
ngram 1=5
ngram 2=3

\\1-grams:
-99\t<s>\t-0.3
-0.8\t</s>
-1.0\t<unk>
-0.5\tab\t-0.2
-0.7\tc\t-0.1

\\2-grams:
-0.2\t<s> ab
-0.3\tab c
-0.1\tc </s>

\\end\\
"""


@pytest.fixture(params=["python", "native"])
def native(request):
    if request.param == "native" and native_module() is None:
        pytest.skip("the native core was not built")
    return request.param == "native"


@pytest.fixture
def arpa(tmp_path):
    path = tmp_path / "small.arpa"
    path.write_text(ARPA, encoding="utf-8")
    return path


def make_decoder(native, **options):
    return BeamDecoder(Alphabet(LABELS), native=native, **options)


def emissions(seed, frames, labels=5, sharpness=2.0):
    return np.random.default_rng(seed).normal(scale=sharpness, size=(frames, labels))


def softmax(logits):
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exp / exp.sum(axis=1, keepdims=True)


def one_hot(text, sharpness=30.0):
    """Emissions of one frame for each character; a dash is the blank."""
    columns = [LABELS.index("" if character == "-" else character) for character in text]
    return np.eye(len(LABELS))[columns] * sharpness


def collapse(path):
    labels = [label for label, _ in itertools.groupby(path)]
    return "".join(LABELS[label] for label in labels)


# --- the search against all paths -------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("frames", [1, 2, 5])
def test_an_open_search_adds_up_all_paths_of_every_text(native, seed, frames):
    logits = emissions(seed, frames)
    probabilities = softmax(logits)
    expected = {}
    for path in itertools.product(range(len(LABELS)), repeat=frames):
        text = " ".join(collapse(path).split())
        weight = math.prod(probabilities[range(frames), path])
        expected[text] = expected.get(text, 0.0) + weight

    found = make_decoder(native).decode(logits, n_best=10_000, **OPEN)

    assert {h.text: pytest.approx(math.exp(h.logit_score)) for h in found} == expected
    assert [h.lm_score for h in found] == sorted((h.lm_score for h in found), reverse=True)


@pytest.mark.parametrize("seed", range(4))
def test_an_open_search_with_a_model_ranks_as_the_sum_over_paths_and_words(native, seed, arpa):
    logits = emissions(seed, 4)
    probabilities = softmax(logits)
    lm = LanguageModel.from_file(arpa, engine="python")
    expected = {}
    for path in itertools.product(range(len(LABELS)), repeat=4):
        spoken = collapse(path)
        if spoken.endswith(" "):
            continue  # such texts are scored as ending in an unknown word
        text = " ".join(spoken.split())
        weight = math.prod(probabilities[range(4), path])
        expected[text] = expected.get(text, 0.0) + weight
    decoder = make_decoder(native, lm=lm, alpha=0.7, beta=0.4, unk_score_offset=-2.0)

    found = decoder.decode(logits, n_best=10_000, **OPEN)

    by_text = {h.text: h for h in found}
    for text, weight in expected.items():
        if not text or by_text[text].logit_score > math.log(weight) + 1e-9:
            continue  # merged with its spelling before a space
        log10, state = 0.0, lm.ngrams.start_state(boundary=True)
        for word in text.split():
            score, state = lm.ngrams.score(state, word)
            log10 += score + (-2.0 if word not in lm.unigrams else 0.0)
        log10 += lm.ngrams.score(state, "</s>")[0]
        value = 0.7 * log10 * math.log(10) + 0.4 * len(text.split())
        assert by_text[text].lm_score == pytest.approx(math.log(weight) + value)


def test_frames_of_words_and_characters_are_those_of_the_path(native):
    (found,) = make_decoder(native).decode(one_hot("-aa-bb --  c-"))

    assert found.text == "ab c"
    assert [(w.text, w.start, w.end) for w in found.words] == [("ab", 1, 6), ("c", 11, 12)]
    characters = [(c.text, c.start, c.end) for c in found.characters]
    assert [item for item in characters if item[0] != " "] == [
        ("a", 1, 3), ("b", 4, 6), ("c", 11, 12)
    ]  # fmt: skip
    assert all(0.99 < w.score <= 1 for w in found.words + found.characters)


def test_score_of_a_word_is_the_geometric_mean_over_its_characters_frames(native):
    probabilities = np.array([[0.1, 0.1, 0.6, 0.1, 0.1], [0.1, 0.1, 0.1, 0.3, 0.4]])

    (found,) = make_decoder(native).decode(probabilities)

    assert found.text == "ac"
    assert [c.score for c in found.characters] == pytest.approx([0.6, 0.4])
    assert found.words[0].score == pytest.approx(math.sqrt(0.24))


def test_blank_between_equal_labels_keeps_both(native):
    (found,) = make_decoder(native).decode(one_hot("aa-a"))

    assert found.text == "aa"


def test_only_blanks_are_no_text(native):
    (found,) = make_decoder(native).decode(one_hot("---"))

    assert (found.text, found.words, found.characters) == ("", (), ())


def test_no_frames_are_no_text(native):
    (found,) = make_decoder(native).decode(np.zeros((0, len(LABELS))))

    assert (found.text, found.logit_score) == ("", 0.0)


def test_a_search_of_width_one_keeps_one_text(native):
    found = make_decoder(native).decode(emissions(1, 30), beam_width=1, n_best=5)

    assert len(found) == 1


def test_leading_and_trailing_spaces_are_no_text(native):
    (found,) = make_decoder(native).decode(one_hot(" a-b "))

    assert found.text == "ab"


def test_minus_infinity_is_a_probability_of_zero(native):
    logits = np.array([[0.0, -np.inf, 0.0, -np.inf, -np.inf]])

    found = make_decoder(native).decode(logits, n_best=10)

    assert {h.text: pytest.approx(math.exp(h.logit_score)) for h in found} == {"": 0.5, "a": 0.5}


def test_equal_scores_come_in_the_order_of_the_labels(native):
    logits = np.array([[-9.0, -9.0, 0.0, 0.0, 0.0]])

    found = make_decoder(native).decode(logits, n_best=3)

    assert [h.text for h in found] == ["a", "b", "c"]


def test_rows_that_sum_to_one_are_probabilities(native):
    logits = emissions(3, 6)
    decoder = make_decoder(native)

    from_logits = decoder.decode(logits)[0]
    from_probabilities = decoder.decode(softmax(logits))[0]

    assert from_probabilities.text == from_logits.text
    assert from_probabilities.logit_score == pytest.approx(from_logits.logit_score)


# --- what is refused ---------------------------------------------------------------------------


def test_nan_is_refused_with_its_frame(native):
    logits = emissions(0, 5)
    logits[3, 1] = np.nan

    with pytest.raises(InputError, match="NaN, first in frame 3"):
        make_decoder(native).decode(logits)


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_a_frame_that_is_no_distribution_is_refused(native, value):
    logits = emissions(0, 5)
    logits[2] = value

    with pytest.raises(InputError, match="first in frame 2"):
        make_decoder(native).decode(logits)


@pytest.mark.parametrize("shape", [(3,), (3, 4), (3, 6), (2, 3, 5)])
def test_emissions_of_another_shape_are_refused(native, shape):
    with pytest.raises(UsageError, match=r"expected \(frames, 5\)"):
        make_decoder(native).decode(np.zeros(shape))


@pytest.mark.parametrize(
    "options",
    [
        {"beam_width": 0}, {"n_best": 0}, {"alpha": math.nan}, {"beam_prune_logp": 1.0},
        {"hotwords": "ab"}, {"hotword_weight": math.inf},
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused(native, options):
    with pytest.raises(UsageError):
        make_decoder(native).decode(emissions(0, 3), **options)


def test_lexicon_only_needs_a_lexicon():
    with pytest.raises(UsageError, match="without a lexicon"):
        BeamDecoder(LABELS, lexicon_only=True)


# --- lexicon, hotwords, model ------------------------------------------------------------------


def test_a_lexicon_prefers_its_words_without_a_language_model(native):
    logits = one_hot("abc", sharpness=4.0)
    logits[2, LABELS.index("b")] = 3.0

    plain = make_decoder(native).decode(logits)[0]
    listed = make_decoder(native, unigrams=["ab", "b"]).decode(logits)[0]

    assert (plain.text, listed.text) == ("abc", "ab")


def test_a_lexicon_still_lets_a_clear_other_word_through(native):
    (found,) = make_decoder(native, unigrams=["ab"]).decode(one_hot("cc-c"))

    assert found.text == "cc"


@pytest.mark.parametrize("seed", range(20))
def test_a_strict_lexicon_writes_its_words_only(native, seed):
    decoder = make_decoder(native, unigrams=["ab", "c", "bca"], lexicon_only=True)

    found = decoder.decode(emissions(seed, 12), n_best=50, hotwords=["cc"])

    assert found
    assert {word for h in found for word in h.text.split()} <= {"ab", "c", "bca", "cc"}


def test_a_strict_lexicon_leaves_out_a_word_that_does_not_end(native):
    decoder = make_decoder(native, unigrams=["ab", "bca"], lexicon_only=True)

    (found,) = decoder.decode(one_hot("ab bc", sharpness=60.0))

    assert found.text == "ab"


def test_hotwords_are_preferred(native):
    logits = one_hot("abc", sharpness=3.0)
    decoder = make_decoder(native)

    assert decoder.decode(logits)[0].text == "abc"
    assert decoder.decode(logits, hotwords=["ac"])[0].text == "ac"


def test_options_hold_for_one_call_only(native, arpa):
    decoder = make_decoder(native, lm=LanguageModel.from_file(arpa))
    logits = emissions(5, 12)
    before = decoder.decode(logits)

    decoder.decode(logits, alpha=5.0, beta=-3.0, unk_score_offset=0.0, lm_score_boundary=False,
                   hotwords=["cab"])  # fmt: skip

    assert decoder.decode(logits) == before


def test_a_batch_is_what_each_gives_alone(native, arpa):
    decoder = make_decoder(native, lm=LanguageModel.from_file(arpa))
    batch = [emissions(seed, 10 + seed) for seed in range(7)]

    found = decoder.decode_batch(batch, num_threads=3, n_best=4, beam_width=20)

    assert found == [decoder.decode(item, n_best=4, beam_width=20) for item in batch]


# --- the native core equals its twin -----------------------------------------------------------

BPE = ("", "▁⁇▁", "▁a", "▁b", "▁ca", "▁", "a", "b", "c", "ca", "ab", "d", "▁d")
ALPHABETS = (
    Alphabet(LABELS),
    Alphabet(("", " ", "a", "b", "c", "<s>", "'", "ä", "⁇")),
    Alphabet(("a", "", "b", "ab", " ", "ba")),  # texts with several spellings
    Alphabet(("", " ", "a", "b", "a", "", " ")),  # labels that repeat
    Alphabet(("", "a", "b", "c")),  # no spaces
    Alphabet(BPE, is_bpe=True),
)


class TinyModel:
    """Bigrams out of a hash; known to hold half of the words."""

    order = 2

    def __contains__(self, word):
        return len(word) % 2 == 1 and word != "<unk>"

    def start_state(self, *, boundary):
        return "<s>" if boundary else ""

    def score(self, state, word):
        return -random.Random(f"{state}|{word}").random() * 3, word


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_the_native_core_equals_its_twin(data):
    if native_module() is None:
        pytest.skip("the native core was not built")
    seed = data.draw(st.integers(0, 10**9))
    rng = random.Random(seed)
    alphabet = data.draw(st.sampled_from(ALPHABETS))
    logits = emissions(seed, data.draw(st.integers(0, 25)), len(alphabet.labels),
                       data.draw(st.sampled_from([0.3, 1.0, 3.0, 8.0])))  # fmt: skip
    words = ["".join(rng.choices("abcdä'", k=rng.randint(1, 5))) for _ in range(12)]
    kind = data.draw(st.sampled_from(["none", "lexicon", "strict", "tiny", "tiny strict", "arpa"]))
    options = {}
    if kind == "arpa":
        options["lm"] = estimated_model()
    elif "tiny" in kind:
        unigrams = data.draw(st.sampled_from([None, frozenset(), frozenset(words[:6])]))
        options["lm"] = LanguageModel(TinyModel(), unigrams)
    elif kind != "none":
        options["unigrams"] = words
    if "strict" in kind:
        options["lexicon_only"] = "lm" not in options or bool(options["lm"].unigrams)
    call = {
        "beam_width": data.draw(st.sampled_from([1, 4, 25, 100])),
        "beam_prune_logp": data.draw(st.sampled_from([-10.0, -2.0, -60.0])),
        "token_min_logp": data.draw(st.sampled_from([-5.0, -1.0, -30.0])),
        "hotwords": words[5:8] if data.draw(st.booleans()) else (),
        "hotword_weight": data.draw(st.sampled_from([10.0, 1.0, -4.0])),
        "alpha": data.draw(st.sampled_from([None, 0.0, 1.3, -0.5])),
        "beta": data.draw(st.sampled_from([None, 0.0, -1.5])),
        "unk_score_offset": data.draw(st.sampled_from([None, -3.0, 2.0])),
        "lm_score_boundary": data.draw(st.sampled_from([None, False])),
        "prune_history": data.draw(st.booleans()),
        "n_best": 1000,
    }
    twin = BeamDecoder(alphabet, native=False, **options)
    core = BeamDecoder(alphabet, native=True, **options)

    expected = twin.decode(logits, **call)
    found = core.decode(logits, **call)

    assert [h.text for h in found] == [h.text for h in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.logit_score == theirs.logit_score
        assert ours.lm_score == theirs.lm_score
        for a, b in zip(
            ours.words + ours.characters, theirs.words + theirs.characters, strict=True
        ):
            assert (a.text, a.start, a.end) == (b.text, b.start, b.end)
            assert a.score == pytest.approx(b.score)


@functools.cache
def estimated_model():
    rng = random.Random(3)
    words = ["".join(rng.choices("abcd", k=rng.randint(1, 4))) for _ in range(15)]
    lines = [" ".join(rng.choices(words, k=rng.randint(1, 6))) for _ in range(80)]
    with tempfile.TemporaryDirectory() as directory:
        build_directory(lines, directory, order=3)
        return LanguageModel.from_directory(directory)


# --- long emissions ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["plain", "model", "bpe"])
def test_ten_minutes_of_noise_stay_in_bounded_memory(kind):
    resource = pytest.importorskip("resource")
    if native_module() is None:
        pytest.skip("the native core was not built")
    alphabet = Alphabet(BPE, is_bpe=True) if kind == "bpe" else Alphabet(LABELS)
    decoder = BeamDecoder(alphabet, lm=estimated_model() if kind == "model" else None, native=True)
    logits = emissions(0, 30_000, len(alphabet.labels), 1.0).astype(np.float32)
    decoder.decode(logits[:3000])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    (found,) = decoder.decode(logits)

    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert len(found.words) > 100
    assert found.words[-1].end > 29_000
    assert grown < 150_000  # kB


def test_ten_clear_minutes_give_their_text(native):
    word = "a-b c-"
    logits = np.tile(one_hot(word, sharpness=12.0), (5000, 1))

    (found,) = make_decoder(native).decode(logits)

    assert found.text == " ".join(["ab", *["cab"] * 4999, "c"])
    assert found.words[-1].end == 29_999
