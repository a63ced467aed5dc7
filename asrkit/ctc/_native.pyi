"""What the compiled core offers; its sources are in native/."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from asrkit.ctc.search import SearchOptions
from asrkit.ctc.spans import Node, Placed

class ArpaError(ValueError):
    """Not ARPA text; the message names the line."""

class Ngram:
    """An n-gram model in ARPA text, as `arpa.ArpaModel`; words may be asked for from threads."""

    def __init__(self, path: str) -> None: ...
    def __contains__(self, word: str) -> bool: ...
    @property
    def order(self) -> int: ...
    @property
    def unigrams(self) -> list[str]: ...
    def start_state(self, *, boundary: bool) -> tuple[int, ...]: ...
    def score(self, state: Sequence[int], word: str) -> tuple[float, tuple[int, ...]]: ...

class Core:
    """What all searches have in common: labels, lexicon and n-gram model."""

    def __init__(
        self,
        labels: list[str],
        is_bpe: bool,
        unigrams: list[str] | None,
        ngram: Ngram | None,
        has_lm: bool,
    ) -> None: ...
    @staticmethod
    def find_path(
        rows: NDArray[np.float64], nodes: Sequence[Node], length: int, blank: int
    ) -> list[Placed]: ...
    def search(
        self,
        offsets: NDArray[np.int64],
        labels: NDArray[np.int32],
        log_probs: NDArray[np.float64],
        n_best: int,
        options: SearchOptions,
        lookup: Callable[[list[int], list[str]], list[tuple[float, bool, int]]] | None,
    ) -> list[tuple[list[str], list[tuple[int, int]], float, float]]: ...
