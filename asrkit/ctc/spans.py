"""Where the tokens of a decoded text lie, once the beam search has placed its words."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from asrkit.ctc.alphabet import BLANK, BOUNDARY, SPACE, Alphabet
from asrkit.types import TextSpan

Frames = tuple[int, int]
Rows = Callable[[int, int], NDArray[np.float64]]

_NEVER = -math.inf


class Speller:
    """Finds the best CTC path of a word inside its frames.

    The beam search adds up all paths of a text and knows only where a word begins and ends. The
    tokens are placed by the most probable path among those that spell the word in these frames.
    """

    def __init__(self, alphabet: Alphabet) -> None:
        """Index the labels by how a word that starts with them, or goes on with them, reads."""
        self._blank = alphabet.labels.index(BLANK)
        self._space = alphabet.labels.index(SPACE) if SPACE in alphabet.labels else None
        self._first: dict[str, list[tuple[int, str]]] = {}
        self._later: dict[str, list[tuple[int, str]]] = {}
        for index, label in enumerate(alphabet.labels):
            text = label
            if alphabet.is_bpe and label.startswith(BOUNDARY):
                text = label[1:].removesuffix(BOUNDARY)
            elif text:
                self._later.setdefault(text[0], []).append((index, text))
            if text:
                self._first.setdefault(text[0], []).append((index, text))

    def spell(
        self, words: Sequence[str], frames: Sequence[Frames], rows: Rows
    ) -> tuple[tuple[TextSpan, ...], tuple[TextSpan, ...]]:
        """Place the tokens of all words, and score both.

        Args:
            words: in time order.
            frames: first and one past the last frame of each word.
            rows: gives the (n, V) log-probabilities from one frame up to another.

        Returns:
            The tokens, with one space between words where the alphabet has it, and the words. A
            score is the geometric mean of the probabilities over the frames of a token; a word's
            frames are those of its tokens.
        """
        characters: list[TextSpan] = []
        spans: list[TextSpan] = []
        for word, (start, end) in zip(words, frames, strict=True):
            if spans and self._space is not None and spans[-1].end < start:
                characters.append(self._place_space(spans[-1].end, start, rows))
            tokens = self._place(word, start, rows(start, end))
            characters += [TextSpan(text, *place, _score(mean)) for text, place, mean in tokens]
            sizes = [last - first for _, (first, last), _ in tokens]
            total = sum(mean * size for size, (_, _, mean) in zip(sizes, tokens, strict=True))
            spans.append(TextSpan(word, start, end, _score(total / max(sum(sizes), 1))))
        return tuple(characters), tuple(spans)

    def _place_space(self, start: int, end: int, rows: Rows) -> TextSpan:
        """The best run of the word delimiter between two words, blanks around it."""
        between = rows(start, end)
        gains = between[:, self._space] - between[:, self._blank]
        best, best_gain, first, gain = (0, 0), _NEVER, 0, 0.0
        for frame, step in enumerate(gains.tolist()):
            if gain < 0:
                first, gain = frame, 0.0
            gain += step
            if gain > best_gain:
                best, best_gain = (first, frame + 1), gain
        mean = float(between[best[0] : best[1], self._space].mean())
        return TextSpan(SPACE, start + best[0], start + best[1], _score(mean))

    def _place(
        self, word: str, offset: int, rows: NDArray[np.float64]
    ) -> list[tuple[str, Frames, float]]:
        """The best path of a word: text, frames and mean log-probability of each token.

        Source: Viterbi 1967 over the CTC topology of Graves et al. 2006, where the word may have
        several spellings as labels: a node is one label at one place of the word.
        """
        nodes = self._nodes(word)
        best = _best_path(rows, nodes, len(word), self._blank)
        if best is None:  # tokens that no path spells this way, as forced breaks of "▁⁇▁" leave
            return [(word, (offset, offset + len(rows)), float(rows.max(axis=1).mean()))]
        placed = []
        for node, start, end in best:
            label, text, _ = nodes[node]
            mean = float(rows[start:end, label].mean())
            placed.append((text, (offset + start, offset + end), mean))
        return placed

    def _nodes(self, word: str) -> list[tuple[int, str, int]]:
        """Every label that can stand in the word: index, text and where it begins."""
        nodes = []
        for position, letter in enumerate(word):
            labels = self._later if position else self._first
            for label, text in labels.get(letter, ()):
                if word.startswith(text, position):
                    nodes.append((label, text, position))
        return nodes


def _best_path(
    rows: NDArray[np.float64], nodes: Sequence[tuple[int, str, int]], length: int, blank: int
) -> list[tuple[int, int, int]] | None:
    """The nodes of the most probable path that fills all rows, with first and one past last row.

    A path is in a first node in the first row and in a last node in the last one. State n is node
    n itself, state N + n the blanks after it.
    """
    num_nodes = len(nodes)
    ends_at: dict[int, list[int]] = {}
    for node, (_, text, position) in enumerate(nodes):
        ends_at.setdefault(position + len(text), []).append(node)
    sources: list[list[int]] = []
    for node, (label, _, position) in enumerate(nodes):
        before = ends_at.get(position, [])
        direct = [previous for previous in before if nodes[previous][0] != label]
        sources.append([node, *direct, *(num_nodes + previous for previous in before)])
    sources += [[num_nodes + node, node] for node in range(num_nodes)]

    columns = [label for label, _, _ in nodes] + [blank] * num_nodes
    emitted = rows[:, columns].tolist()
    starts = [position == 0 for _, _, position in nodes] + [False] * num_nodes
    scores = [s if start else _NEVER for s, start in zip(emitted[0], starts, strict=True)]
    came_from: list[list[int]] = []
    for row in emitted[1:]:
        best = [max(states, key=scores.__getitem__) for states in sources]
        scores = [scores[state] + s for state, s in zip(best, row, strict=True)]
        came_from.append(best)

    state = max(ends_at.get(length, []), key=scores.__getitem__, default=None)
    if state is None or scores[state] == _NEVER:
        return None
    path = [state]
    for best in reversed(came_from):
        path.append(best[path[-1]])
    path.reverse()
    placed = []
    for state, group in groupby(range(len(path)), key=path.__getitem__):
        run = list(group)
        if state < num_nodes:
            placed.append((state, run[0], run[-1] + 1))
    return placed


def _score(mean: float) -> float:
    return min(math.exp(mean), 1.0)
