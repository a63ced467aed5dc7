"""Texts of encoder-decoder models, token by token: greedy and beam search.

The search is transformers' `generate()` (5.x), token for token and score for score: sums of
log-probabilities, twice as many candidates as beams, a finished text divided by a power of its
length. Greedy search is the beam of one that stops at the first end.

Shapes: B batch, W beams, C candidates, V vocabulary, L tokens.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from asrkit.errors import CheckpointError, UsageError
from asrkit.options import GenerationOptions

_log = logging.getLogger("asrkit")

# What files may set that would change the texts and is not implemented, with the value that
# changes nothing.
_NOT_IMPLEMENTED: Mapping[str, object] = {
    "bad_words_ids": None, "begin_suppress_tokens": None, "constraints": None,
    "diversity_penalty": 0, "exponential_decay_length_penalty": None, "force_words_ids": None,
    "forced_decoder_ids": None, "guidance_scale": None, "max_time": None, "num_beam_groups": 1,
    "penalty_alpha": None, "remove_invalid_values": False, "renormalize_logits": False,
    "repetition_penalty": 1, "sequence_bias": None, "stop_strings": None, "suppress_tokens": None,
}  # fmt: skip
# What a config.json of the reference holds when nobody has set it.
_UNSET: Mapping[str, object] = {
    "num_beams": 1, "max_length": 20, "min_length": 0, "early_stopping": False,
    "length_penalty": 1, "no_repeat_ngram_size": 0, "num_return_sequences": 1,
}  # fmt: skip
_LONGEST = 100_000  # tokens of one text
_WIDEST = 1_000  # beams
_STEEPEST = 50.0  # exponent of the length: beyond it, powers of lengths are no numbers any more
_HEIGHTS = range(64, 15, -1)  # of the columns of a vocabulary, in which its best tokens are sought
_NEVER = -1e9  # the log-probability of what cannot be; finite, as in the reference


@dataclass(frozen=True)
class GenerationSettings:
    """How texts are written; the fields are the keys of generation_config.json.

    Attributes:
        num_beams: texts kept after each token; 1 is greedy.
        max_length: tokens of a text at most, its start token included.
        max_new_tokens: the same without the start token; if set, it counts.
        min_length: tokens of a text at least, start and end included.
        early_stopping: an item is done when there are `num_beams` finished texts (True), or
            when no open one looks better than the worst of them, at its present length (False) or
            at the length that is best for it ("never").
        length_penalty: exponent of the length that a text's log-probability is divided by.
        no_repeat_ngram_size: no run of so many tokens comes twice; 0 allows it.
        num_return_sequences: texts to return.
        forced_bos_token_id: the first token after the start, at no cost.
        forced_eos_token_id: the last token of a text of `max_length`, at no cost.
        decoder_start_token_id: what every text starts with.
        eos_token_id: the tokens that end a text.
        pad_token_id: what fills up shorter texts of a batch.
    """

    num_beams: int = 5
    max_length: int = 257
    max_new_tokens: int | None = None
    min_length: int = 0
    early_stopping: bool | str = False
    length_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    num_return_sequences: int = 1
    forced_bos_token_id: int | None = None
    forced_eos_token_id: int | None = None
    decoder_start_token_id: int = 2
    eos_token_id: tuple[int, ...] = (2,)
    pad_token_id: int = 1

    def __post_init__(self) -> None:
        self._check_whole("num_beams", 1, _WIDEST)
        self._check_whole("max_length", 2, _LONGEST)
        self._check_whole("min_length", 0, _LONGEST)
        self._check_whole("no_repeat_ngram_size", 0, _LONGEST)
        self._check_whole("num_return_sequences", 1, _WIDEST)
        self._check_whole("decoder_start_token_id", 0, None)
        self._check_whole("pad_token_id", 0, None)
        if self.max_new_tokens is not None:
            self._check_whole("max_new_tokens", 1, _LONGEST - 1)
        for name in ("forced_bos_token_id", "forced_eos_token_id"):
            if getattr(self, name) is not None:
                self._check_whole(name, 0, None)
        if type(self.early_stopping) is not bool and self.early_stopping != "never":
            raise self._refused("early_stopping", 'true, false or "never"')
        penalty = self.length_penalty
        if type(penalty) not in (int, float) or not -_STEEPEST <= penalty <= _STEEPEST:
            raise self._refused("length_penalty", f"a number from -{_STEEPEST:g} to {_STEEPEST:g}")
        if not isinstance(self.eos_token_id, tuple) or not all(
            type(token) is int and token >= 0 for token in self.eos_token_id
        ):
            raise self._refused("eos_token_id", "token ids, whole numbers from 0")
        if self.num_return_sequences > self.num_beams:
            raise UsageError(
                f"{self.num_return_sequences} texts are asked for and {self.num_beams} kept",
                hint="make the beam as wide as the number of texts",
            )

    def _check_whole(self, name: str, lowest: int, highest: int | None) -> None:
        value = getattr(self, name)
        if type(value) is not int or value < lowest or value > (highest or value):
            upwards = "" if highest is None else f" to {highest}"
            raise self._refused(name, f"a whole number from {lowest}{upwards}")

    def _refused(self, name: str, expected: str) -> UsageError:
        return UsageError(f"{name} is {getattr(self, name)!r}, expected {expected}")

    @classmethod
    def from_files(
        cls, generation_config: Mapping[str, Any] | None, config: Mapping[str, Any]
    ) -> GenerationSettings:
        """What a checkpoint says.

        Args:
            generation_config: parsed generation_config.json; None or empty if there is none.
            config: parsed config.json; asked only then, and its "decoder" for what it leaves open.

        Raises:
            CheckpointError: a value is impossible or not implemented.
        """
        if generation_config:
            source, values = "generation_config.json", _given(generation_config, {})
        else:
            decoder = config.get("decoder")
            inner = _given(decoder, _UNSET) if isinstance(decoder, Mapping) else {}
            source, values = "config.json", inner | _given(config, _UNSET)
        for key, neutral in _NOT_IMPLEMENTED.items():
            if values.get(key, neutral) not in (neutral, []):
                raise CheckpointError(f"{source}: {key} is {values[key]!r}, which is unsupported")
        if values.get("do_sample"):
            # The reference would draw tokens at random; the same audio gives the same text here.
            _log.info("%s: do_sample is ignored, the most probable text is searched for", source)
        known = {item.name for item in fields(cls)}
        chosen = {key: value for key, value in values.items() if key in known}
        chosen["num_return_sequences"] = 1  # asked for by options only
        if "min_new_tokens" in values:
            chosen["min_length"] = _incremented(values["min_new_tokens"])
        if generation_config and "decoder_start_token_id" not in values:
            chosen["decoder_start_token_id"] = values.get(
                "bos_token_id", cls.decoder_start_token_id
            )
        if "eos_token_id" in chosen:
            ends = chosen["eos_token_id"]
            chosen["eos_token_id"] = tuple(ends) if isinstance(ends, (list, tuple)) else (ends,)
        try:
            return cls(**chosen)
        except UsageError as error:
            raise CheckpointError(f"{source}: {error.message}") from error

    def with_options(
        self, options: GenerationOptions, *, forced_bos_token_id: int | None = None
    ) -> GenerationSettings:
        """These settings, except for what the user chose.

        Args:
            options: what is None there stays as it is.
            forced_bos_token_id: token of the language to write; None keeps the checkpoint's.

        Raises:
            UsageError: more texts are asked for than there are beams.
        """
        chosen = {
            "num_beams": options.beam_width,
            "length_penalty": options.length_penalty,
            "max_new_tokens": options.max_new_tokens,
            "no_repeat_ngram_size": options.no_repeat_ngram_size,
            "num_return_sequences": options.n_best,
            "forced_bos_token_id": forced_bos_token_id,
        }
        given: dict[str, Any] = {key: value for key, value in chosen.items() if value is not None}
        return replace(self, **given)

    @property
    def longest(self) -> int:
        """Tokens of a text at most, its start token included."""
        return self.max_length if self.max_new_tokens is None else self.max_new_tokens + 1

    def check_vocabulary(self, vocab_size: int) -> None:
        """Check that every token id exists.

        Raises:
            CheckpointError: one is not below `vocab_size`.
        """
        for name in (
            "decoder_start_token_id eos_token_id forced_bos_token_id forced_eos_token_id"
        ).split():
            value = getattr(self, name)
            ids = value if isinstance(value, tuple) else (value,)
            if any(token is not None and token >= vocab_size for token in ids):
                raise CheckpointError(f"{name} is {value}, expected below {vocab_size} tokens")


def _given(values: Mapping[str, Any], unset: Mapping[str, object]) -> dict[str, Any]:
    """The entries that say something."""
    return {
        key: value
        for key, value in values.items()
        if value is not None and (key not in unset or value != unset[key])
    }


def _incremented(value: Any) -> Any:
    return value + 1 if type(value) is int else value  # what is no number is refused later


CacheT = TypeVar("CacheT", bound="Cache")


class Cache(Protocol):
    """What a model keeps of texts that are being written."""

    def reorder(self, parents: Tensor) -> None:
        """Let each beam go on from another one of its item: parents (B, W)."""

    def select_items(self, items: Tensor) -> None:
        """Keep these items (B,) of the batch."""


class Model(Protocol[CacheT]):
    """A model that writes texts about encoded utterances."""

    def start(self, states: Tensor, lengths: Tensor | None) -> CacheT:
        """Begin texts about states (B, F, D), of which `lengths` (B,) frames are valid."""
        ...

    def step(self, tokens: Tensor, cache: CacheT) -> Tensor:
        """Append tokens (B, W) to the texts; gives log-probabilities (B, W, V) of the next."""
        ...


@dataclass(frozen=True)
class Generated:
    """One text.

    Attributes:
        tokens: from the start token on; the end token is the last unless the text was cut off.
        score: sum of log-probabilities divided by number of new tokens ** length penalty.
    """

    tokens: tuple[int, ...]
    score: float


@dataclass
class _Item:
    """The finished texts of one item, best first."""

    width: int
    texts: list[Generated] = field(default_factory=list)
    is_done: bool = False

    def add(self, text: Generated) -> None:
        self.texts.append(text)
        self.texts.sort(key=lambda text: text.score, reverse=True)
        del self.texts[self.width :]

    @property
    def is_full(self) -> bool:
        return len(self.texts) == self.width


@torch.inference_mode()
def generate(
    model: Model[CacheT], states: Tensor, lengths: Tensor | None, settings: GenerationSettings
) -> list[list[Generated]]:
    """Write texts about a batch of encoded utterances.

    Args:
        model: the decoder and its output layer.
        states: (B, F, D) of the encoder.
        lengths: (B,) valid frames; None means all.
        settings: how.

    Returns:
        For each item its best texts, best first: `num_return_sequences`, or fewer if there are
        not so many possible ones.

    Raises:
        CheckpointError: a token id of the settings is not in the vocabulary.
    """
    width = settings.num_beams
    device = states.device
    items = [_Item(width) for _ in range(len(states))]
    open_items = list(items)
    cache = model.start(states, lengths)
    history = torch.full(
        (len(states), width, 1), settings.decoder_start_token_id, device=device
    )  # (B, W, L)
    # At first all beams hold the same text: only the first of them counts.
    totals = torch.zeros(len(states), width, device=device)
    totals[:, 1:] = _NEVER
    ends = torch.tensor(settings.eos_token_id, dtype=torch.long, device=device)
    while not all(item.is_done for item in open_items):
        num_new = history.shape[-1]  # tokens after the start, the next one included
        log_probs = model.step(history[..., -1], cache)
        vocab_size = log_probs.shape[-1]
        if num_new == 1:
            settings.check_vocabulary(vocab_size)
        # So many that enough remain when each beam's best tokens are the ends.
        num_candidates = min(max(2, 1 + len(ends)) * width, width * vocab_size)
        with _one_thread():
            log_probs = _allowed(log_probs, history, settings)
            totals, choices = _best_tokens(log_probs, totals, num_candidates)  # (B, C)
        parents, tokens = choices // vocab_size, choices % vocab_size
        is_cut = num_new + 1 == settings.longest
        is_end = torch.isin(tokens, ends) | is_cut
        if is_end[:, :width].any():  # candidates of lower rank are only there to go on
            scores = totals / num_new**settings.length_penalty
            for row, rank in is_end[:, :width].nonzero().tolist():
                if not open_items[row].is_done:
                    past = history[row, parents[row, rank]].tolist()
                    text = Generated((*past, int(tokens[row, rank])), float(scores[row, rank]))
                    open_items[row].add(text)
        if is_cut:
            break
        totals, order = (totals + is_end * _NEVER).topk(width)  # (B, W)
        parents, tokens = parents.gather(1, order), tokens.gather(1, order)
        history = torch.cat([_rows(history, parents), tokens[..., None]], dim=-1)
        cache.reorder(parents)
        for row, item in enumerate(open_items):
            if item.is_full and not item.is_done:
                item.is_done = not _can_improve(item, totals[row, 0], num_new, settings)
        remaining = [row for row, item in enumerate(open_items) if not item.is_done]
        if 0 < 2 * len(remaining) <= len(open_items):
            index = torch.tensor(remaining, device=device)
            totals, history = totals[index], history[index]
            cache.select_items(index)
            open_items = [open_items[row] for row in remaining]
    return [_best(item, settings) for item in items]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Without torch's other threads, which go on looking for work when theirs is done.

    There is little to share here, and the next step of the model wants their processors.
    """
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)


def _best_tokens(log_probs: Tensor, totals: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The tokens that make the likeliest texts.

    The best are among the columns that hold the best, so most tokens are looked at but once.

    Args:
        log_probs: (B, W, V) of the next token.
        totals: (B, W) of the texts so far.
        count: C.

    Returns:
        (B, C) log-probabilities of texts, falling, and (B, C) places in W x V.
    """
    num_items, num_texts, vocab_size = log_probs.shape
    height = next((size for size in _HEIGHTS if vocab_size % size == 0), 1)
    num_columns = vocab_size // height
    columns = log_probs.view(num_items, num_texts, height, num_columns)
    highest = (columns.amax(2) + totals[..., None]).flatten(1)  # (B, W * columns)
    chosen = highest.topk(min(count, highest.shape[1])).indices  # (B, C')
    rows, column = chosen // num_columns, chosen % num_columns
    items = torch.arange(num_items, device=totals.device)[:, None]
    values = columns[items, rows, :, column] + totals.gather(1, rows)[..., None]  # (B, C', height)
    values, order = values.flatten(1).topk(count)
    place = order // height
    token = order % height * num_columns + column.gather(1, place)
    return values, rows.gather(1, place) * vocab_size + token


def _allowed(log_probs: Tensor, history: Tensor, settings: GenerationSettings) -> Tensor:
    """Log-probabilities (B, W, V) of the next token, made -inf where the settings forbid it."""
    length = history.shape[-1]
    forced = settings.forced_bos_token_id if length == 1 else None
    if settings.forced_eos_token_id is not None and length + 1 == settings.longest:
        forced = settings.forced_eos_token_id
    if forced is not None:
        only = torch.full_like(log_probs, -math.inf)
        only[..., forced] = 0
        return only
    size = settings.no_repeat_ngram_size
    if 0 < size <= length:
        runs = history.unfold(-1, size, 1)  # (B, W, N, size)
        begins_alike = (runs[..., :-1] == history[..., None, length + 1 - size :]).all(-1)
        highest = torch.where(begins_alike, -math.inf, math.inf)
        log_probs.scatter_reduce_(-1, runs[..., -1], highest, "amin")
    if length < settings.min_length:
        log_probs[..., list(settings.eos_token_id)] = -math.inf
    return log_probs


def _can_improve(
    item: _Item, best_open: Tensor, num_new: int, settings: GenerationSettings
) -> bool:
    """Whether an open text, the best one's sum being `best_open`, may yet displace a finished."""
    if settings.early_stopping is True or settings.num_beams == 1:
        return False
    at_the_end = settings.early_stopping == "never" and settings.length_penalty > 0
    length = settings.longest - 1 if at_the_end else num_new
    return bool(best_open / length**settings.length_penalty > item.texts[-1].score)


def _rows(x: Tensor, rows: Tensor) -> Tensor:
    """Rows (B, W) of x (B, W, L)."""
    return x.gather(1, rows[..., None].expand(-1, -1, x.shape[-1]))


def _best(item: _Item, settings: GenerationSettings) -> list[Generated]:
    """What is returned of an item: no text that had to take a forbidden token, if it can be."""
    power = settings.length_penalty
    possible = [
        text for text in item.texts if text.score * (len(text.tokens) - 1) ** power > _NEVER / 2
    ]
    return (possible or item.texts)[: settings.num_return_sequences]
