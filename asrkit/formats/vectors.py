"""Embeddings to files: jsonl, npy, npz or parquet, of one input or many."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, BinaryIO

from asrkit.errors import MissingExtraError
from asrkit.formats.registry import Registry
from asrkit.types import Embedding

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_ROWS_OF_GROUP = 1024  # of a parquet file, written together

VECTOR_FORMATS = Registry()
"""Of embeddings. Writers take an open binary file; the context they give takes embeddings one by
one, and when it ends the file is complete."""


@VECTOR_FORMATS.writer("jsonl", is_joinable=True)
@contextmanager
def write_jsonl(file: BinaryIO) -> Iterator[Callable[[Embedding], None]]:
    """`Embedding.to_dict` as JSON, one a line."""

    def add(embedding: Embedding) -> None:
        line = json.dumps(embedding.to_dict(), ensure_ascii=False, allow_nan=False)
        file.write(f"{line}\n".encode("utf-8", "surrogateescape"))
        file.flush()

    yield add


@VECTOR_FORMATS.writer("npy", is_text=False)
@contextmanager
def write_npy(file: BinaryIO) -> Iterator[Callable[[Embedding], None]]:
    """The array of one input."""
    import numpy as np

    yield lambda embedding: np.save(file, embedding.vector)


@VECTOR_FORMATS.writer("npz", is_joinable=True, is_text=False)
@contextmanager
def write_npz(file: BinaryIO) -> Iterator[Callable[[Embedding], None]]:
    """`ids` (N,) and `vectors` (N, D); with frames kept, `frames_0`, `frames_1` ... in order."""
    import numpy as np

    ids: list[str] = []
    vectors: list[NDArray[np.float32]] = []
    with zipfile.ZipFile(file, "w") as archive:

        def write(name: str, array: NDArray[Any]) -> None:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)

        def add(embedding: Embedding) -> None:
            if embedding.seconds_per_frame is None:
                vectors.append(embedding.vector)
            else:  # large: not kept until the end
                write(f"frames_{len(ids)}", embedding.vector)
            ids.append(embedding.name)

        yield add
        write("ids", np.array(ids, dtype=np.str_))
        if vectors:
            write("vectors", np.stack(vectors))


@VECTOR_FORMATS.writer("parquet", is_joinable=True, is_text=False)
@contextmanager
def write_parquet(file: BinaryIO) -> Iterator[Callable[[Embedding], None]]:
    """Columns `id audio offset duration vector`; vectors are lists of float32, nested as needed."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = ("id", "audio", "offset", "duration")
    kinds = (pa.string(), pa.string(), pa.float64(), pa.float64())
    rows: list[tuple[Any, ...]] = []
    writer: Any = None

    def flush(depth: int) -> None:
        nonlocal writer
        vector = pa.float32()
        for _ in range(depth):
            vector = pa.list_(vector)
        schema = pa.schema([*zip(names, kinds, strict=True), ("vector", vector)])
        columns = zip(zip(*rows, strict=True), schema.types, strict=True)
        table = pa.Table.from_arrays([pa.array(*column) for column in columns], schema=schema)
        if writer is None:
            writer = pq.ParquetWriter(file, schema)
        writer.write_table(table)
        rows.clear()

    depth = 1

    def add(embedding: Embedding) -> None:
        nonlocal depth
        depth = embedding.vector.ndim
        about = (embedding.name, embedding.source, embedding.offset, embedding.duration)
        rows.append((*about, embedding.vector.tolist()))
        if len(rows) == _ROWS_OF_GROUP:
            flush(depth)

    yield add
    if rows:
        flush(depth)
    if writer is not None:
        writer.close()


def check_installed(names: Collection[str]) -> None:
    """Refuse beforehand what could not be written.

    Raises:
        MissingExtraError: parquet is among the formats, and the extra `parquet` is not installed.
    """
    if "parquet" in names and find_spec("pyarrow") is None:
        raise MissingExtraError("writing parquet", extra="parquet")
