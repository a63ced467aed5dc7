"""Greedy and beam search over tables whose best texts are known, and their settings."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open

from asrkit.errors import CheckpointError, UsageError
from asrkit.models.decoder import TextDecoder
from asrkit.options import GenerationOptions
from asrkit.seq2seq import GenerationSettings, generate

GOLDEN = Path(__file__).parent / "golden" / "generate"
END, A, B, C = range(4)


class Table:
    """A model over four tokens that looks the next one's log-probabilities up by the text so far.

    The "states" (B, 1, 1) of an item hold the number of its table.
    """

    def __init__(self, *tables) -> None:
        self.tables = tables

    def start(self, states, lengths):
        return SimpleNamespace(
            items=states[:, 0, 0].long().tolist(),
            texts=None,
            reorder=lambda parents: self._reorder(parents.tolist()),
            select_items=lambda items: self._select(items.tolist()),
        )

    def step(self, tokens, cache):
        self.cache = cache
        rows = tokens.tolist()
        past = cache.texts or [[()] * len(row) for row in rows]
        cache.texts = [
            [(*text, token) for text, token in zip(texts, row, strict=True)]
            for texts, row in zip(past, rows, strict=True)
        ]
        return torch.tensor(
            [
                [self.tables[item](text[1:]) for text in texts]
                for item, texts in zip(cache.items, cache.texts, strict=True)
            ]
        )

    def _reorder(self, parents):
        texts = self.cache.texts
        self.cache.texts = [[texts[i][p] for p in row] for i, row in enumerate(parents)]

    def _select(self, items):
        self.cache.items = [self.cache.items[item] for item in items]
        self.cache.texts = [self.cache.texts[item] for item in items]


def random_table(seed):
    """Log-probabilities that depend on the whole text so far."""

    def lookup(text):
        generator = torch.Generator().manual_seed(hash((seed, text)) % 2**31)
        return (2 * torch.randn(4, generator=generator)).log_softmax(-1).tolist()

    return lookup


def fixed_table(rows):
    """Probabilities after each text; after any other text, the end is near certain."""
    return lambda text: [math.log(p) for p in rows.get(text, (0.997, 0.001, 0.001, 0.001))]


def settings(**options):
    return GenerationSettings(
        **({"decoder_start_token_id": 3, "eos_token_id": (END,), "max_length": 5} | options)
    )


def run(*tables, **options):
    """(tokens, score) of the texts of each item, without the start token."""
    states = torch.arange(len(tables))[:, None, None].float()
    found = generate(Table(*tables), states, None, settings(**options))
    return [
        [(text.tokens[1:], pytest.approx(text.score, rel=1e-4)) for text in item] for item in found
    ]


def all_texts(table, *, longest):
    """Every text with its sum of log-probabilities, by enumeration."""
    for length in range(1, longest + 1):
        for text in itertools.product(range(4), repeat=length):
            if END in text[:-1] or (text[-1] != END and length < longest):
                continue
            yield text, sum(table(text[:i])[token] for i, token in enumerate(text))


@pytest.mark.parametrize("penalty", [0.0, 0.5, 1.0, 2.0, -1.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_wide_beam_ranks_texts_as_enumeration_does(seed, penalty):
    table = random_table(seed)
    ranked = sorted(
        ((total / len(text) ** penalty, text) for text, total in all_texts(table, longest=4)),
        reverse=True,
    )

    (found,) = run(table, num_beams=200, num_return_sequences=20, length_penalty=penalty)

    assert [(text, score) for score, text in ranked[:20]] == found


@pytest.mark.parametrize("beams", [1, 2, 3])
def test_an_item_of_a_batch_gets_what_it_gets_alone(beams):
    tables = [random_table(seed) for seed in range(9)]

    together = run(*tables, num_beams=beams, num_return_sequences=beams, max_length=9)

    assert len({len(texts[0][0]) for texts in together}) > 1  # they do not end together
    for table, texts in zip(tables, together, strict=True):
        assert run(table, num_beams=beams, num_return_sequences=beams, max_length=9) == [texts]


# A is likely and leads to nothing: A, C is 0.6 * 0.4; B, end is 0.3 * 0.9.
TRAP = fixed_table(
    {(): (0.05, 0.6, 0.3, 0.05), (A,): (0.3, 0.2, 0.1, 0.4), (B,): (0.9, 0.04, 0.03, 0.03)}
)


def test_greedy_search_takes_the_best_token_each_time():
    assert run(TRAP, num_beams=1) == [[((A, C, END), math.log(0.6 * 0.4 * 0.997) / 3)]]


def test_a_beam_finds_what_greedy_search_misses():
    ((best, *_),) = run(TRAP, num_beams=3, length_penalty=0.0)

    assert best == ((B, END), math.log(0.3 * 0.9))


@pytest.mark.parametrize(("penalty", "text"), [(0.0, (END,)), (1.0, (A, A, END))])
def test_a_length_penalty_favours_longer_texts(penalty, text):
    # -ln 0.5 = 0.69 for one token, -ln 0.4 = 0.92 for three.
    table = fixed_table({(): (0.5, 0.4, 0.05, 0.05), (A,): (1e-4, 0.9997, 1e-4, 1e-4)})

    ((best, *_),) = run(table, num_beams=4, length_penalty=penalty)

    assert best[0] == text


def test_a_forced_first_token_costs_nothing():
    table = fixed_table({(): (0.9, 0.08, 0.01, 0.01), (B,): (0.5, 0.3, 0.1, 0.1)})

    ((best,),) = run(table, num_beams=2, forced_bos_token_id=B, length_penalty=0.0)

    assert best == ((B, END), math.log(0.5))


def test_a_forced_last_token_ends_a_text_that_is_cut_off():
    table = fixed_table({(): (0.01, 0.97, 0.01, 0.01), (A,): (0.01, 0.97, 0.01, 0.01)})

    ((best,),) = run(table, num_beams=1, max_length=3, forced_eos_token_id=END)

    assert best == ((A, END), math.log(0.97) / 2)


def test_no_pair_of_tokens_comes_twice():
    always_a = {(A,) * count: (0.1, 0.7, 0.15, 0.05) for count in range(9)}
    table = fixed_table(
        always_a | {(A, A, B): (0.1, 0.7, 0.1, 0.1), (A, A, B, A): (0.15, 0.5, 0.3, 0.05)}
    )

    ((free,),) = run(table, num_beams=1, max_length=6)
    ((best,),) = run(table, num_beams=1, max_length=6, no_repeat_ngram_size=2)

    assert free[0] == (A, A, A, A, A)
    assert best[0] == (A, A, B, A, END)  # A A and A B are there already


def test_a_text_does_not_end_before_its_least_length():
    table = fixed_table({(): (0.9, 0.05, 0.03, 0.02), (A,): (0.9, 0.05, 0.03, 0.02)})

    ((best,),) = run(table, num_beams=1, min_length=3)

    assert best[0] == (A, A, END)


@pytest.mark.parametrize(("option", "length"), [("max_length", 3), ("max_new_tokens", 4)])
def test_a_text_is_cut_off_at_its_greatest_length(option, length):
    table = fixed_table({(A,) * count: (0.01, 0.97, 0.01, 0.01) for count in range(9)})

    ((best,),) = run(table, num_beams=1, **{option: length})

    assert len(best[0]) == (length - 1 if option == "max_length" else length)


@pytest.mark.parametrize(("early", "text"), [(True, (END,)), ("never", (A, A, A, END))])
def test_early_stopping_leaves_better_long_texts_unseen(early, text):
    # Two texts are finished after two tokens; the best one has four.
    rows = {(): (0.55, 0.44, 0.005, 0.005), (A,): (0.5, 0.498, 0.001, 0.001)}
    table = fixed_table(rows | {(A, A): (0.001, 0.997, 0.001, 0.001)})

    ((best, *_),) = run(table, num_beams=2, early_stopping=early)

    assert best[0] == text


def test_each_of_several_end_tokens_ends_a_text():
    table = fixed_table({(): (0.1, 0.2, 0.6, 0.1), (B,): (0.1, 0.1, 0.2, 0.6)})

    ((best,),) = run(table, num_beams=1, eos_token_id=(END, C))

    assert best[0] == (B, C)


def test_texts_that_would_need_a_forbidden_token_are_not_returned():
    (found,) = run(random_table(0), num_beams=4, num_return_sequences=4, forced_bos_token_id=END)

    assert found == [((END,), 0.0)]


def test_token_ids_beyond_the_vocabulary_are_refused():
    with pytest.raises(CheckpointError, match="forced_bos_token_id is 4, expected below 4"):
        run(random_table(0), forced_bos_token_id=4)


@pytest.mark.parametrize("name", ["speech_to_text", "speech_to_text_2"])
def test_texts_and_scores_are_those_stored_of_the_reference(name):
    with safe_open(GOLDEN / f"{name}.safetensors", "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        content = {key: json.loads(value) for key, value in file.metadata().items()}
    decoder = TextDecoder(
        SimpleNamespace(**content["config"]), norm_first=content["norm_first"]
    ).eval()
    prefix = "model.decoder."
    decoder.load_state_dict(
        {key.removeprefix(prefix): tensors[key] for key in tensors if key.startswith(prefix)}
    )
    model = SimpleNamespace(
        start=lambda states, lengths: decoder.start(
            states, lengths, head=tensors["lm_head.weight"]
        ),
        step=decoder.step,
    )
    for case in content["cases"]:
        options = case["options"] | {"eos_token_id": tuple(case["options"]["eos_token_id"])}

        found = generate(
            model, tensors["states"], tensors["lengths"], GenerationSettings(**options)
        )

        texts = [[list(text.tokens) for text in item] for item in found]
        assert texts == case["texts"], options
        scores = [[text.score for text in item] for item in found]
        if case["scores"] is not None:
            assert scores == [pytest.approx(row, rel=1e-4) for row in case["scores"]]


# ------------------------------------------------------------------------------------ settings


def test_generation_config_json_hides_the_config():
    found = GenerationSettings.from_files(
        {"num_beams": 3, "eos_token_id": [7, 8], "bos_token_id": 6}, {"max_length": 9}
    )

    assert (found.num_beams, found.eos_token_id, found.longest) == (3, (7, 8), 257)
    assert found.decoder_start_token_id == 6  # what the reference takes where no start is named


def test_the_decoder_of_a_config_answers_what_the_config_leaves_open():
    decoder = {"num_beams": 4, "max_length": 200, "early_stopping": True, "eos_token_id": 5}

    found = GenerationSettings.from_files(
        None, {"max_length": 30, "num_beams": 1, "decoder": decoder, "length_penalty": None}
    )

    assert (found.num_beams, found.max_length, found.early_stopping) == (4, 30, True)
    assert found.eos_token_id == (5,)


def test_options_beat_files_and_new_tokens_beat_length():
    options = GenerationOptions(beam_width=7, max_new_tokens=11, n_best=2)

    found = settings(max_length=200).with_options(options, forced_bos_token_id=3)

    assert (found.num_beams, found.longest, found.num_return_sequences) == (7, 12, 2)
    assert found.forced_bos_token_id == 3
    assert settings().with_options(GenerationOptions()) == settings()


def test_more_texts_than_beams_are_refused():
    with pytest.raises(UsageError, match="3 texts are asked for and 2 kept"):
        settings(num_beams=2).with_options(GenerationOptions(n_best=3))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_beams", 0), ("num_beams", "5"), ("num_beams", 10**9), ("num_beams", [1]),
        ("max_length", 1), ("max_length", 2.5), ("max_length", 10**12), ("max_new_tokens", 0),
        ("min_length", -1), ("min_new_tokens", "x"), ("no_repeat_ngram_size", [3]),
        ("early_stopping", "sometimes"), ("early_stopping", 2), ("early_stopping", [True]),
        ("length_penalty", float("nan")), ("length_penalty", 1e9), ("length_penalty", "1"),
        ("eos_token_id", -1), ("eos_token_id", "2"), ("eos_token_id", [2, None]),
        ("eos_token_id", {}), ("decoder_start_token_id", -4), ("forced_bos_token_id", 1.0),
        ("pad_token_id", {"a": 1}), ("bad_words_ids", [[1]]), ("suppress_tokens", [3]),
        ("begin_suppress_tokens", [3]), ("repetition_penalty", 1.2), ("num_beam_groups", 2),
    ],
)  # fmt: skip
@pytest.mark.parametrize("source", ["generation_config.json", "config.json"])
def test_impossible_values_of_files_are_refused_by_name(source, key, value):
    files = ({key: value}, {}) if source == "generation_config.json" else (None, {key: value})

    with pytest.raises(CheckpointError, match=f"^{source}: ({key}|min_length) is ") as caught:
        GenerationSettings.from_files(*files)

    assert caught.value.exit_code == 4


def test_values_that_change_nothing_are_taken():
    neutral = {"suppress_tokens": [], "repetition_penalty": 1.0, "bad_words_ids": None}

    assert GenerationSettings.from_files(neutral, {}) == GenerationSettings()
    assert GenerationSettings.from_files(None, neutral | {"decoder": 7}) == GenerationSettings()


def test_sampling_is_not_done_and_said(caplog):
    with caplog.at_level("INFO", logger="asrkit"):
        GenerationSettings.from_files({"do_sample": True}, {})

    assert "do_sample is ignored" in caplog.text
