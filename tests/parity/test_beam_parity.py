"""The beam search against pyctcdecode 0.5.0 with KenLM: every text, frame and score of every list.

pyctcdecode 0.5.0 asks for numpy < 2 but runs with numpy 2 when installed so:

    pip install kenlm pygtrie && pip install --no-deps pyctcdecode==0.5.0

Under numpy 2 its sums stay float64, as under numpy 1, because it clips to a float64; emissions that
are probabilities would be summed in their own type, so they are float64 here.

It takes the labels of a frame in the order of a Python set, where asrkit takes them by index. Every
case runs against both: pyctcdecode as it is, and with that one set sorted. The second must never
differ; where the first does, the set's order is what differs. It decides the order of equal scores
("ties": emissions rounded so that there are many), and in a BPE alphabet with labels that end in
"▁" which text the word break after such a label goes to.
"""

from __future__ import annotations

import logging
import random
import shutil
from dataclasses import dataclass, replace

import numpy as np
import pytest

from asrkit.ctc.alphabet import Alphabet
from asrkit.ctc.beam import BeamDecoder
from asrkit.ctc.estimate import build_directory
from asrkit.ctc.lm import LanguageModel, native_module
from asrkit.errors import CheckpointError

pytest.importorskip("kenlm")
reference = pytest.importorskip("pyctcdecode.decoder")
reference_lm = pytest.importorskip("pyctcdecode.language_model")
reference_alphabet = pytest.importorskip("pyctcdecode.alphabet")

pytestmark = pytest.mark.parity

REGULAR = ("", " ", *"abcdefgh", "'", "<s>", "⁇")
BPE = ("", "▁⁇▁", "▁a", "▁b", "▁ca", "▁", "a", "b", "c", "ca", "ab", "d", "▁d", "▁de", "e", "▁f")
BPE_WITHOUT_BREAKS = tuple(label for label in BPE if not label.endswith("▁"))
CASES = 60  # of each kind
SHARPNESS = (9.0, 5.0, 2.5, 1.0, 0.2)  # peaky to nearly flat
KINDS = [
    (name, *settings)
    for name, *settings in (
        ("plain", REGULAR, None, False),
        ("hotwords", REGULAR, None, True),
        ("lm", REGULAR, "listed", False),
        ("lm, no unigrams", REGULAR, "none", False),
        ("lm, empty unigrams", REGULAR, "empty", False),
        ("lm, hotwords", REGULAR, "listed", True),
        ("ties", REGULAR, None, False),
        ("ties, lm", REGULAR, "listed", False),
        ("bpe", BPE, None, False),
        ("bpe without breaks", BPE_WITHOUT_BREAKS, None, False),
        ("bpe without breaks, lm", BPE_WITHOUT_BREAKS, "listed", False),
        ("bpe, hotwords", BPE, None, True),
        ("bpe, lm", BPE, "listed", False),
        ("bpe, lm, hotwords", BPE, "listed", True),
    )
]
TOLERANCE = 1e-4


@dataclass
class Tally:
    cases: int = 0
    beams: int = 0
    frames: int = 0
    order_only: int = 0
    order_only_best: int = 0
    worst: float = 0.0


@pytest.fixture(scope="module")
def tallies(request):
    table: dict[str, Tally] = {}
    yield table
    line = "{:34} {:>5} {:>7} {:>7} {:>10} {:>10} {:>8}".format
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print()
        print(line("beam search", "cases", "frames", "texts", "identical", "set order", "|score|"))
        for name, t in table.items():
            order = f"{t.order_only} ({t.order_only_best})"
            same = t.cases - t.order_only
            print(line(name, t.cases, t.frames, t.beams, same, order, f"{t.worst:.1e}"))
        print("set order: lists that differ from an unsorted set's (of them in the best text)")


@pytest.fixture(scope="module", params=["python", "native+kenlm", "native"])
def core(request):
    if request.param != "python" and native_module() is None:
        pytest.skip("the native core was not built")
    return request.param


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A language model for each alphabet: words, and a directory."""
    made = {}
    for labels in (REGULAR, BPE, BPE_WITHOUT_BREAKS):
        rng = random.Random(7)
        words = _words(rng, labels)
        weights = [1 / (rank + 1) for rank in range(len(words))]
        sentences = [
            " ".join(rng.choices(words, weights=weights, k=rng.randint(1, 8))) for _ in range(300)
        ]
        directory = tmp_path_factory.mktemp("model")
        build_directory(sentences, directory, order=3)
        made[labels] = words, directory
    return made


@pytest.mark.parametrize(("name", "labels", "lm", "has_hotwords"), KINDS)
def test_equals_pyctcdecode(name, labels, lm, has_hotwords, core, models, tallies, monkeypatch):
    logging.getLogger("pyctcdecode").setLevel(logging.ERROR)
    words, directory = models[labels]
    tally = tallies.setdefault(f"{name} ({core})", Tally())
    for number in range(CASES):
        rng = random.Random(f"{name} {number}")
        case = _case(rng, labels, words, has_hotwords=has_hotwords, has_lm=lm is not None)
        if "ties" in name:
            case["logits"] = np.round(case["logits"])
        ours = _ours(case, labels, lm, words, directory, core)
        theirs = _theirs(case, labels, lm, words, directory)
        with monkeypatch.context() as patch:
            patch.setattr(reference, "set", _SortedSet, raising=False)
            sorted_theirs = _theirs(case, labels, lm, words, directory)

        assert _differs(ours, sorted_theirs) is None, (number, _differs(ours, sorted_theirs))
        tally.cases += 1
        tally.frames += len(case["logits"])
        tally.beams += len(ours)
        tally.worst = max(tally.worst, _largest_difference(ours, sorted_theirs))
        if _differs(ours, theirs) is not None:
            tally.order_only += 1
            tally.order_only_best += _differs(ours[:1], theirs[:1]) is not None


@pytest.mark.parametrize("engine", ["python", "native"])
def test_arpa_models_give_the_numbers_of_kenlm(engine, tmp_path):
    if engine == "native" and native_module() is None:
        pytest.skip("the native core was not built")
    rng = random.Random(1)
    for order in range(1, 6):
        words = _words(rng, REGULAR)
        sentences = [" ".join(rng.choices(words, k=rng.randint(1, 8))) for _ in range(200)]
        build_directory(sentences, tmp_path, order=order, prune=(0, rng.randint(0, 1))[:order])
        ours = LanguageModel.from_directory(tmp_path, engine=engine).ngrams
        theirs = LanguageModel.from_directory(tmp_path, engine="kenlm").ngrams
        for _ in range(200):
            boundary = rng.random() < 0.5
            a, b = (model.start_state(boundary=boundary) for model in (ours, theirs))
            for word in rng.choices([*words, "zebra", "", "<unk>", "</s>"], k=6):
                our_score, a = ours.score(a, word)
                their_score, b = theirs.score(b, word)
                assert our_score == their_score
                assert (word in ours) == (word in theirs)


def test_pyctcdecode_reads_what_is_written(tmp_path, models):
    _, directory = models[REGULAR]
    Alphabet(REGULAR).save(tmp_path / "alphabet.json")
    shutil.copytree(directory, tmp_path / "language_model")
    logits = np.random.default_rng(0).normal(scale=2, size=(40, len(REGULAR)))

    theirs = reference.BeamSearchDecoderCTC.load_from_dir(str(tmp_path)).decode_beams(logits)
    ours = BeamDecoder.from_directory(tmp_path).decode(logits, n_best=100)

    assert [h.text for h in ours] == [text for text, *_ in theirs]
    assert [h.lm_score for h in ours] == pytest.approx([score for *_, score in theirs])


def test_labels_are_normalised_as_the_reference_does():
    rng = random.Random(0)
    pool = ["<pad>", "[PAD]", "", "_", "|", " ", "<unk>", "[UNK]", "<s>", "</s>", "a", "b", "##c",
            "##", "▁a", "▁", "▁⁇▁", "⁇", "<Pad>", "[unk]", "x y"]  # fmt: skip
    for _ in range(2000):
        labels = rng.sample(pool, k=rng.randint(1, 8))
        try:
            theirs = reference_alphabet.Alphabet.build_alphabet(labels)
        except ValueError:
            with pytest.raises(CheckpointError):
                Alphabet.build(labels)
        else:
            assert Alphabet.build(labels) == Alphabet(tuple(theirs.labels), theirs.is_bpe)


class _SortedSet(set):
    def __or__(self, other):
        return sorted(set.__or__(self, other))


def _words(rng, labels):
    if labels is not REGULAR:
        starts = [label[1:] for label in BPE if label.startswith("▁") and "⁇" not in label][:-1]
        rest = [label for label in BPE[1:] if "▁" not in label]
        pieces = [[rng.choice(starts), *rng.choices(rest, k=rng.randint(0, 3))] for _ in range(40)]
    else:
        pieces = [rng.choices("abcdefgh'", k=rng.randint(1, 8)) for _ in range(40)]
    return sorted({"".join(word) for word in pieces} - {""})


def _case(rng, labels, words, *, has_hotwords, has_lm):
    """Emissions of some text, with noise, and options."""
    noise = np.random.default_rng(rng.getrandbits(32))
    num_frames = rng.choice([1, 2, 3, 8, 20, 40])
    path = []
    while len(path) < num_frames:
        word = rng.choice(words) if rng.random() < 0.8 else "".join(rng.choices("abcde", k=3))
        for letter in [*word, " "]:
            index = labels.index(letter) if letter in labels else rng.randrange(len(labels))
            path += [index] * rng.choice([1, 1, 2]) + [0] * rng.choice([0, 0, 1, 3])
    logits = noise.normal(size=(num_frames, len(labels)))
    logits[np.arange(num_frames), path[:num_frames]] += rng.choice(SHARPNESS)
    logits *= rng.choice([1.0, 1.0, 2.0])
    logits = logits.astype(rng.choice([np.float32, np.float64]))
    if rng.random() < 0.2:
        logits[noise.random(logits.shape) < 0.1] = -np.inf
        logits[:, 0] = np.maximum(logits[:, 0], -5)
    if rng.random() < 0.15:
        logits = np.exp(logits.astype(np.float64))
        logits /= logits.sum(axis=1, keepdims=True)
    options = {
        "beam_width": rng.choice([1, 3, 20, 100]),
        "beam_prune_logp": rng.choice([-10.0, -10.0, -3.0, -50.0]),
        "token_min_logp": rng.choice([-5.0, -5.0, -2.0, -12.0]),
        "prune_history": rng.random() < 0.3,
    }
    if has_hotwords:
        hotwords = [*rng.choices(words, k=3), "".join(rng.choices("abcdef", k=4))]
        options["hotwords"] = [hotwords[0], f" {hotwords[1]} {hotwords[2]}", hotwords[3], ""]
        options["hotword_weight"] = rng.choice([10.0, 2.5, -3.0])
    weights = {}
    if has_lm:
        weights = {
            "alpha": rng.choice([0.5, 0.9, 0.0, 1.7]),
            "beta": rng.choice([1.5, 0.0, -1.0, 3.0]),
            "unk_score_offset": rng.choice([-10.0, -2.0, 0.0]),
            "score_boundary": rng.random() < 0.7,
        }
    return {"logits": logits, "options": options, "weights": weights}


def _unigrams(lm, words):
    return {"listed": [*words[::2], "unseen"], "none": None, "empty": [], None: None}[lm]


def _theirs(case, labels, lm, words, directory):
    model = None
    if lm is not None:
        import kenlm

        ngrams = kenlm.Model(str(directory / "lm.arpa"))
        model = reference_lm.LanguageModel(ngrams, _unigrams(lm, words), **case["weights"])
    alphabet = reference_alphabet.Alphabet(list(labels), labels is not REGULAR)
    decoder = reference.BeamSearchDecoderCTC(alphabet, model)
    try:
        found = decoder.decode_beams(case["logits"], **case["options"])
    finally:
        decoder.cleanup()
    return [
        (text, [(word, *place) for word, place in frames], float(logit), float(score))
        for text, _, frames, logit, score in found
    ]


def _ours(case, labels, lm, words, directory, core):
    model = None
    options = dict(case["options"])
    if lm is not None:
        engine = "native" if core == "native" else "kenlm"
        model = LanguageModel.from_file(directory / "lm.arpa", engine=engine)
        unigrams = _unigrams(lm, words)
        if unigrams is not None:
            unigrams = frozenset(word for word in unigrams if word in model.ngrams)
        model = replace(model, unigrams=unigrams)
        weights = dict(case["weights"])
        options["lm_score_boundary"] = weights.pop("score_boundary")
        options |= weights
    decoder = BeamDecoder(
        Alphabet(labels, labels is not REGULAR), lm=model, native=core != "python"
    )
    found = decoder.decode(case["logits"], n_best=1000, **options)
    return [
        (h.text, [(w.text, w.start, w.end) for w in h.words], h.logit_score, h.lm_score)
        for h in found
    ]


def _differs(ours, theirs):
    """The first difference of two lists, or None."""
    if len(ours) != len(theirs):
        return f"{len(ours)} texts, {len(theirs)} expected"
    for rank, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if a[:2] != b[:2] or abs(a[2] - b[2]) > TOLERANCE or abs(a[3] - b[3]) > TOLERANCE:
            return f"rank {rank}: {a}, expected {b}"
    return None


def _largest_difference(ours, theirs):
    pairs = [(abs(a[i] - b[i]) for i in (2, 3)) for a, b in zip(ours, theirs, strict=True)]
    return max((value for pair in pairs for value in pair), default=0.0)
