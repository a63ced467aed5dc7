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
Node = tuple[int, int, int]  # a label in a word: its index, where it begins and where it ends
Placed = tuple[int, int, int, float]  # a node, its frames and their mean log-probability
PathFinder = Callable[[NDArray[np.float64], Sequence[Node], int, int], list[Placed]]

_NEVER = -math.inf
_BLOCK = 1 << 22  # scores that are taken at once, to bound memory


class Speller:
    """Finds the best CTC path of a word inside its frames.

    The beam search adds up all paths of a text and knows only where a word begins and ends. The
    tokens are placed by the most probable path among those that spell the word in these frames.
    """

    def __init__(self, alphabet: Alphabet, *, path_finder: PathFinder | None = None) -> None:
        """Index the labels by their text at the beginning of a word and inside one.

        Args:
            alphabet: the labels.
            path_finder: does what `find_path` does, faster.
        """
        self._find_path = path_finder or find_path
        self._num_labels = len(alphabet.labels)
        self._blank = alphabet.labels.index(BLANK)
        self._space = alphabet.labels.index(SPACE) if SPACE in alphabet.labels else None
        self._first: dict[str, list[int]] = {}
        self._later: dict[str, list[int]] = {}
        for index, label in enumerate(alphabet.labels):
            text = label
            if alphabet.is_bpe and label.startswith(BOUNDARY):
                text = label[1:].removesuffix(BOUNDARY)
            elif text:
                self._later.setdefault(text, []).append(index)
            if text:
                self._first.setdefault(text, []).append(index)
        self._longest = max(map(len, self._first), default=0)

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
        first, last, block = 0, 0, rows(0, 0)  # frames at hand
        for index, (word, (start, end)) in enumerate(zip(words, frames, strict=True)):
            begin = spans[-1].end if spans else start
            if end > last:
                first, last = begin, end
                for _, later in frames[index + 1 :]:
                    if (later - first) * self._num_labels > _BLOCK:
                        break
                    last = later
                block = rows(first, last)
            if spans and self._space is not None and begin < start:
                characters.append(self._place_space(begin, block[begin - first : start - first]))
            tokens = self._place(word, start, block[start - first : end - first])
            characters += [TextSpan(text, *place, _score(mean)) for text, place, mean in tokens]
            sizes = [token_end - token_start for _, (token_start, token_end), _ in tokens]
            total = sum(mean * size for size, (_, _, mean) in zip(sizes, tokens, strict=True))
            spans.append(TextSpan(word, start, end, _score(total / sum(sizes))))
        return tuple(characters), tuple(spans)

    def _place_space(self, offset: int, rows: NDArray[np.float64]) -> TextSpan:
        """The best run of the word delimiter between two words, blanks around it."""
        spoken = rows[:, self._space].tolist()
        silent = rows[:, self._blank].tolist()
        best, best_gain, first, gain = (0, 0), _NEVER, 0, 0.0
        for frame, (space, blank) in enumerate(zip(spoken, silent, strict=True)):
            if gain < 0:
                first, gain = frame, 0.0
            gain += space - blank
            if gain > best_gain:
                best, best_gain = (first, frame + 1), gain
        start, end = best
        mean = sum(spoken[start:end]) / (end - start)
        return TextSpan(SPACE, offset + start, offset + end, _score(mean))

    def _place(
        self, word: str, offset: int, rows: NDArray[np.float64]
    ) -> list[tuple[str, Frames, float]]:
        """The tokens of the best path of a word, with their frames and mean log-probability."""
        nodes = self._nodes(word)
        path = self._find_path(rows, nodes, len(word), self._blank)
        if not path:  # no path spells it: a forced break after "▁⁇▁" left tokens in odd places
            return [(word, (offset, offset + len(rows)), float(rows.max(axis=1).mean()))]
        return [
            (word[nodes[node][1] : nodes[node][2]], (offset + start, offset + end), mean)
            for node, start, end, mean in path
        ]

    def _nodes(self, word: str) -> list[Node]:
        """Every label that can stand somewhere in the word."""
        return [
            (label, begin, end)
            for begin in range(len(word))
            for end in range(begin + 1, min(begin + self._longest, len(word)) + 1)
            for label in (self._later if begin else self._first).get(word[begin:end], ())
        ]


def find_path(
    rows: NDArray[np.float64], nodes: Sequence[Node], length: int, blank: int
) -> list[Placed]:
    """The most probable path through a word that fills all rows.

    A path is in a node at the beginning of the word in the first row, and in one at its end in the
    last row. State n is node n itself, state N + n the blanks after it.

    Args:
        rows: (n, V) log-probabilities.
        nodes: the labels that can stand in the word, by where they begin.
        length: of the word.
        blank: index of the blank.

    Returns:
        The nodes of the path, each with its first row, one past its last row and the mean of its
        log-probabilities; nothing if there is no path.

    Source: Viterbi 1967 over the CTC topology of Graves et al. 2006, where the word may have
    several spellings as labels.
    """
    num_nodes = len(nodes)
    ends_at: dict[int, list[int]] = {}
    for node, (_, _, end) in enumerate(nodes):
        ends_at.setdefault(end, []).append(node)
    sources: list[list[int]] = []
    for node, (label, begin, _) in enumerate(nodes):
        before = ends_at.get(begin, [])
        direct = [previous for previous in before if nodes[previous][0] != label]
        sources.append([node, *direct, *(num_nodes + previous for previous in before)])
    sources += [[num_nodes + node, node] for node in range(num_nodes)]

    columns = [label for label, _, _ in nodes] + [blank] * num_nodes
    emitted = rows[:, columns].tolist()
    scores = [
        emitted[0][node] if node < num_nodes and nodes[node][1] == 0 else _NEVER
        for node in range(2 * num_nodes)
    ]
    came_from: list[list[int]] = []
    for row in emitted[1:]:
        best = [max(states, key=scores.__getitem__) for states in sources]
        scores = [scores[state] + score for state, score in zip(best, row, strict=True)]
        came_from.append(best)

    state = max(ends_at.get(length, ()), key=scores.__getitem__, default=0)
    if not nodes or scores[state] == _NEVER:
        return []
    path = [state]
    for best in reversed(came_from):
        path.append(best[path[-1]])
    path.reverse()
    placed = []
    for node, group in groupby(range(len(path)), key=path.__getitem__):
        run = list(group)
        if node < num_nodes:
            total = sum(emitted[frame][node] for frame in run)
            placed.append((node, run[0], run[-1] + 1, total / len(run)))
    return placed


def _score(mean: float) -> float:
    return min(math.exp(mean), 1.0)
