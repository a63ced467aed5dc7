"""The best path of a text: against all paths, against the textbook, against golden values."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from asrkit.ctc import align
from asrkit.ctc.align import forced_align, with_wildcards
from asrkit.errors import InputError
from asrkit.types import TokenSpan

SEARCHES = ["numpy", "native"]


@pytest.fixture(params=SEARCHES)
def search(request, monkeypatch):
    """Every test runs with both searches."""
    if request.param == "numpy":
        monkeypatch.setattr(align, "_native", None)
    elif align._native is None:
        pytest.skip("built without a compiler")
    return request.param


def random_scores(rng, num_frames, width, *, sharpness=3.0):
    logits = rng.normal(0, sharpness, (num_frames, width))
    return (logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)).astype(np.float32)


def collapse(path, blank):
    return [token for token, _ in itertools.groupby(path) if token != blank]


def textbook(scores, tokens, blank):
    """O(F x L) Viterbi over the states blank, token, blank, ...: the score and the best path.

    The path is None where another one has the same score.
    """
    states = [blank]
    for token in tokens:
        states += [token, blank]
    num_frames, num_states = len(scores), len(states)
    scores = scores.astype(np.float64)
    best = np.full((num_frames, num_states), -np.inf)
    count = np.zeros((num_frames, num_states), dtype=object)  # of best paths
    came = np.zeros((num_frames, num_states), dtype=int)
    for s in range(min(2, num_states)):
        best[0, s], count[0, s] = scores[0, states[s]], 1
    for f in range(1, num_frames):
        for s in range(num_states):
            sources = [s]
            if s >= 1:
                sources.append(s - 1)
            if s >= 2 and states[s] != blank and states[s] != states[s - 2]:
                sources.append(s - 2)
            top = max(best[f - 1, source] for source in sources)
            ties = [source for source in sources if best[f - 1, source] == top]
            came[f, s] = ties[0]
            count[f, s] = sum(count[f - 1, source] for source in ties)
            best[f, s] = top + scores[f, states[s]]
    ends = [s for s in (num_states - 1, num_states - 2) if s >= 0]
    top = max(best[-1, s] for s in ends)
    ties = [s for s in ends if best[-1, s] == top]
    state = ties[0]
    is_unique = sum(count[-1, s] for s in ties) == 1
    path = [state]
    for f in range(num_frames - 1, 0, -1):
        state = came[f, state]
        path.append(state)
    return top, [states[s] for s in reversed(path)] if is_unique else None


def path_of(spans, num_frames, blank):
    path = np.full(num_frames, blank)
    for span in spans:
        path[span.start : span.end] = span.token
    return path


def total(scores, path):
    return scores[np.arange(len(path)), path].astype(np.float64).sum()


def random_case(rng, *, max_frames, max_tokens, width):
    tokens = rng.integers(1, width, rng.integers(1, max_tokens + 1))
    needed = len(tokens) + int((tokens[1:] == tokens[:-1]).sum())
    num_frames = int(rng.integers(needed, max(needed, max_frames) + 1))
    scores = random_scores(rng, num_frames, width, sharpness=rng.choice([0.5, 3.0, 10.0]))
    return scores, tokens


def test_tokens_get_their_frames_and_scores(search):
    probabilities = np.full((5, 3), 0.05, dtype=np.float32)
    for frame, token in enumerate([0, 1, 1, 0, 2]):
        probabilities[frame, token] = 0.9

    spans = forced_align(np.log(probabilities), [1, 2], blank=0)

    assert [(s.token, s.start, s.end) for s in spans] == [(1, 1, 3), (2, 4, 5)]
    assert [s.score for s in spans] == pytest.approx([0.9, 0.9])


def test_score_is_the_geometric_mean_over_the_frames_of_a_token(search):
    scores = np.log(np.array([[0.1, 0.9], [0.6, 0.4]], dtype=np.float32))

    (span,) = forced_align(scores, [1], blank=0)

    assert span.score == pytest.approx(0.9)  # 0.9 then blank beats 0.9 then 0.4


@pytest.mark.parametrize("seed", range(300))
def test_best_path_is_the_best_of_all_paths(search, seed):
    """I12."""
    rng = np.random.default_rng(seed)
    scores, tokens = random_case(rng, max_frames=6, max_tokens=4, width=3)
    blank = 0
    paths = [
        path
        for path in itertools.product(range(3), repeat=len(scores))
        if collapse(path, blank) == list(tokens)
    ]
    totals = [total(scores, np.array(path)) for path in paths]

    spans = forced_align(scores, tokens, blank=blank)

    path = path_of(spans, len(scores), blank)
    assert collapse(path.tolist(), blank) == list(tokens)
    assert total(scores, path) == pytest.approx(max(totals), abs=1e-6)
    assert [s.token for s in spans] == list(tokens)


@pytest.mark.parametrize("seed", range(20))
def test_best_path_is_the_textbook_s(search, seed, monkeypatch):
    """I12."""
    rng = np.random.default_rng(1000 + seed)
    num_unique = 0
    for _ in range(60):
        # A narrow first beam, so that the second search has to go beyond the first one's band.
        monkeypatch.setattr(align, "_BEAM", float(rng.choice([0.01, 1.0, 200.0])))
        width = int(rng.integers(2, 6))
        scores, tokens = random_case(rng, max_frames=40, max_tokens=12, width=width)

        spans = forced_align(scores, tokens, blank=0)

        best, path = textbook(scores, tokens, 0)
        ours = path_of(spans, len(scores), 0)
        assert total(scores, ours) == pytest.approx(best, abs=1e-4)
        assert collapse(ours.tolist(), 0) == list(tokens)
        if path is not None:
            num_unique += 1
            assert ours.tolist() == path
    assert num_unique > 40


@pytest.mark.parametrize("seed", range(5))
def test_coarse_scores_with_many_ties_still_have_the_best_score(search, seed):
    rng = np.random.default_rng(seed)
    for _ in range(40):
        scores, tokens = random_case(rng, max_frames=25, max_tokens=8, width=3)
        scores = np.round(scores)

        spans = forced_align(scores, tokens, blank=0)

        assert total(scores, path_of(spans, len(scores), 0)) == textbook(scores, tokens, 0)[0]


@pytest.mark.parametrize("seed", range(5))
def test_path_over_many_checkpoints_is_the_textbook_s(search, seed):
    rng = np.random.default_rng(seed)
    tokens = rng.integers(1, 5, 60)
    scores = random_scores(rng, 700, 5)  # an interval is at least 64 frames

    spans = forced_align(scores, tokens, blank=0)

    assert path_of(spans, 700, 0).tolist() == textbook(scores, tokens, 0)[1]


def test_path_is_that_of_torchaudio(search):
    """Golden: torchaudio 2.11.0, `functional.forced_align` on the CPU, with these very inputs."""
    logits = np.random.default_rng(2026).normal(0, 2, (30, 6))
    scores = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)

    spans = forced_align(scores, [1, 2, 2, 5, 3, 3, 4, 1], blank=0)

    path = [1] * 10 + [2, 0, 0, 2, 5, 5, 5, 0, 0, 3, 0, 0, 3, 4, 4, 4, 4, 0, 1, 0]
    assert path_of(spans, 30, 0).tolist() == path
    assert total(scores, np.array(path)) == pytest.approx(-62.66617, abs=1e-4)


@pytest.mark.parametrize("beam", [0.01, 5.0, 200.0])
def test_both_searches_give_the_same_path(beam, monkeypatch):
    if align._native is None:
        pytest.skip("built without a compiler")
    monkeypatch.setattr(align, "_BEAM", beam)
    rng = np.random.default_rng(0)
    for _ in range(200):
        scores, tokens = random_case(rng, max_frames=300, max_tokens=40, width=4)
        if rng.random() < 0.5:
            scores = np.round(scores)  # ties
        ids = tokens.astype(np.int32)

        ours = align.native_search(scores, ids, 0)

        assert ours.tolist() == align.numpy_search(scores, ids, 0).tolist()


@pytest.mark.parametrize("blank", [0, 2, 4])
def test_blank_may_be_any_column(search, blank):
    rng = np.random.default_rng(3)
    scores = random_scores(rng, 30, 5)
    tokens = [token for token in (1, 0, 3, 3, 4, 2) if token != blank]

    spans = forced_align(scores, tokens, blank=blank)

    assert path_of(spans, 30, blank).tolist() == textbook(scores, tokens, blank)[1]


def test_text_that_just_fits_fills_every_frame(search):
    scores = random_scores(np.random.default_rng(0), 5, 3)

    spans = forced_align(scores, [1, 1, 2, 1], blank=0)

    assert [(s.start, s.end) for s in spans] == [(0, 1), (2, 3), (3, 4), (4, 5)]


def test_text_that_cannot_fit_is_an_error_with_both_numbers(search):
    scores = random_scores(np.random.default_rng(0), 4, 3)

    with pytest.raises(InputError, match=r"needs 5 frames \(4 tokens .* 1 repeats\).* only 4"):
        forced_align(scores, [1, 1, 2, 1], blank=0)
    with pytest.raises(InputError, match=r"needs 1 frames .* only 0"):
        forced_align(scores[:0], [1], blank=0)


def test_no_tokens_are_no_spans(search):
    assert forced_align(random_scores(np.random.default_rng(0), 4, 3), [], blank=0) == []
    assert forced_align(np.zeros((0, 3)), [], blank=0) == []


def test_one_frame(search):
    assert forced_align(np.log([[0.25, 0.75]]), [1], blank=0) == [
        TokenSpan(1, 0, 1, pytest.approx(0.75))
    ]


def test_zero_probabilities_are_gone_around(search):
    with np.errstate(divide="ignore"):
        scores = np.log(np.array([[1, 0], [0, 1], [0, 1], [1, 0]], dtype=np.float32))

    (span,) = forced_align(scores, [1], blank=0)

    assert (span.start, span.end, span.score) == (1, 3, 1.0)


def test_text_of_probability_zero_is_an_error(search):
    with np.errstate(divide="ignore"):
        scores = np.log(np.array([[1, 0], [1, 0]], dtype=np.float32))

    with pytest.raises(InputError, match="probability zero"):
        forced_align(scores, [1], blank=0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_no_probabilities_are_refused(search, bad):
    scores = random_scores(np.random.default_rng(0), 4, 3)
    scores[2, 1] = bad

    with pytest.raises(ValueError, match="frame 2"):
        forced_align(scores, [1], blank=0)


def test_frame_in_which_nothing_is_possible_is_refused(search):
    scores = random_scores(np.random.default_rng(0), 4, 3)
    scores[1] = -np.inf

    with pytest.raises(ValueError, match="frame 1 is -inf"):
        forced_align(scores, [1], blank=0)


@pytest.mark.parametrize(
    ("shape", "tokens", "blank"),
    [
        ((4,), [1], 0),
        ((4, 3), [[1]], 0),
        ((4, 3), [3], 0),
        ((4, 3), [-1], 0),
        ((4, 3), [1], 3),
        ((4, 3), [1, 0], 0),
    ],
)
def test_what_does_not_fit_together_is_refused(search, shape, tokens, blank):
    with pytest.raises(ValueError, match=r"blank|range|shape"):
        forced_align(np.zeros(shape, np.float32), tokens, blank=blank)


def test_star_takes_the_sound_that_no_token_explains(search):
    # Says 1 3 4 2 with blanks between; the text knows only 1 and 2.
    said = [0, 1, 1, 0, 3, 0, 4, 4, 0, 2, 0]
    scores = np.log(np.eye(5, dtype=np.float32)[said] * 0.95 + 0.01)
    wide = with_wildcards(scores, blank=0, delimiter=None, cost=0.1)

    spans = forced_align(wide, [1, 5, 2], blank=0)

    assert [(s.start, s.end) for s in spans] == [(1, 3), (4, 8), (9, 10)]


def test_gap_is_silence_or_a_delimiter(search):
    for said in ([1, 0, 0, 2], [1, 3, 0, 2], [1, 0, 3, 2], [1, 3, 3, 2]):
        scores = np.log(np.eye(4, dtype=np.float32)[said] * 0.96 + 0.01)
        wide = with_wildcards(scores, blank=0, delimiter=3, cost=0.1)

        spans = forced_align(wide, [1, 5, 2], blank=0)

        assert [(s.start, s.end) for s in (spans[0], spans[2])] == [(0, 1), (3, 4)]
        assert spans[1].score > 0.9


def test_long_text_needs_little_memory():
    """Bands, not the lattice: 60 000 frames x 20 000 tokens would be 2.4 G cells."""
    if align._native is None:
        pytest.skip("minutes without the native search")
    import tracemalloc

    rng = np.random.default_rng(0)
    tokens = rng.integers(1, 30, 20_000)
    said = np.zeros(60_000, int)
    said[1::3] = tokens
    scores = np.full((60_000, 30), -6.0, dtype=np.float32)
    scores[np.arange(60_000), said] = -0.1
    tracemalloc.start()

    spans = forced_align(scores, tokens, blank=0)

    assert [span.start for span in spans] == list(range(1, 60_000, 3))
    assert tracemalloc.get_traced_memory()[1] < 30e6  # the native part allocates beside it
    tracemalloc.stop()
