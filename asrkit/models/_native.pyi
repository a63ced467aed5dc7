"""What the compiled decoder offers; its sources are in native/."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float32]

def instruction_sets() -> list[str]:
    """Those that this processor has and there is code for, the fastest first."""

class Decoder:
    """The weights of a text decoder, laid out for products with few rows."""

    def __init__(
        self,
        *,
        layers: Sequence[Sequence[tuple[_Floats, _Floats | None]]],
        last_norm: tuple[_Floats, _Floats] | None,
        head: _Floats | None,
        width: int,
        num_heads: int,
        norm_first: bool,
        eps: float,
        instruction_set: str,
    ) -> None: ...
    def start(
        self, frames: Sequence[tuple[_Floats, _Floats]], lengths: Sequence[int], *, num_threads: int
    ) -> Texts:
        """Begin texts about keys and values (B, H, F, D/H) of a layer each."""

class Texts:
    """The texts of a batch, and threads that write them as long as it lives."""

    def step(self, x: _Floats) -> _Floats:
        """Append embedded tokens (B, R, D); gives (B, R, D), or log-probabilities (B, R, V)."""

    def reorder(self, parents: NDArray[np.int64]) -> None: ...
    def select_items(self, items: Sequence[int]) -> None: ...
