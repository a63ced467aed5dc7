"""Arrays on disk, for tables that may be larger than memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray


class Column:
    """Numbers of one kind in a file, one a row.

    Attributes:
        block: rows to have in memory at once.
        size: rows.
    """

    def __init__(self, file: BinaryIO, dtype: np.dtype[Any], block: int) -> None:
        """Begin a column.

        Args:
            file: an empty one, without a buffer.
            dtype: of a row.
            block: rows to have in memory at once.
        """
        self.block = block
        self.size = 0
        self._file = file
        self._dtype = dtype

    def append(self, values: NDArray[Any]) -> None:
        """Add rows at the end."""
        data = np.ascontiguousarray(values, self._dtype).view(np.uint8).data
        self._file.seek(0, 2)
        while data:
            data = data[self._file.write(data) :]
        self.size += len(values)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Rows from start to stop; fewer at the end."""
        values = np.empty(max(0, min(stop, self.size) - start), self._dtype)
        data = values.view(np.uint8).data
        self._file.seek(start * self._dtype.itemsize)
        while data:
            data = data[self._file.readinto(data) :]  # type: ignore[attr-defined]  # a raw file
        return values

    def ranges(self) -> Iterator[tuple[int, int]]:
        """Where each block starts and stops."""
        starts = range(0, self.size, self.block)
        return ((start, min(start + self.block, self.size)) for start in starts)

    def take(self, rows: NDArray[np.integer]) -> NDArray[Any]:
        """Some rows, in any order."""
        order = np.argsort(rows)
        wanted = rows[order]
        values = np.empty(len(rows), self._dtype)
        first = 0
        for start, stop in self.ranges():
            last = int(np.searchsorted(wanted, stop))
            values[order[first:last]] = self.read(start, stop)[wanted[first:last] - start]
            first = last
        return values

    def find(self, values: NDArray[Any]) -> NDArray[np.integer]:
        """The rows of values that are there, where this column is sorted."""
        order = np.argsort(values)
        wanted = values[order]
        rows = np.empty(len(values), np.int64)
        first = 0
        for start, stop in self.ranges():
            block = self.read(start, stop)
            last = int(np.searchsorted(wanted, block[-1], side="right"))
            rows[order[first:last]] = start + np.searchsorted(block, wanted[first:last])
            first = last
        return rows
