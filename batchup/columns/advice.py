"""Whether the chunks of a dataset suit random access, and which would."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from batchup._numbers import whole_number
from batchup.columns.array_likes import as_column
from batchup.columns.chunked import KEPT, ChunkedColumn, window_for

DEAR = 4.0  # bytes read for each that is wanted, from which on something is said
SMALL = 16 * 1024  # bytes of a chunk, fewer than which save nothing more: each costs a call, and a place in the index


class ChunkAdvice(NamedTuple):
    """What is wrong with the chunks of a dataset, and what would be better; as text, it says so in a sentence or two.

    Attributes
    ----------
    ratio : float
        Bytes that are read and decoded for each byte that is wanted.
    chunks : tuple of int
        A chunk shape for random access.
    better : float
        The ratio that it has.
    """

    ratio: float
    chunks: tuple[int, ...]
    better: float

    def __str__(self) -> str:
        return (
            f"shuffled batches read and decode {self.ratio:.3g} bytes for each byte that they want; with "
            f"chunks={self.chunks} it would be {self.better:.3g}, and in an HDF5 dataset that is not compressed 1; or "
            "draw blocks of neighbours, with BlockShuffleSampler"
        )


def chunk_advice(data: Any, batch_size: int = 64) -> ChunkAdvice | None:
    """Return what would be better, if the chunks of a dataset make shuffled batches of it dear.

    A chunk is read and decoded whole, however few of its rows are wanted. If k random rows are read at once from N
    chunks of c rows each, then about ``t = N * (1 - (1 - 1 / N) ** k)`` chunks are touched, and ``t * c`` rows are
    decoded for k: a ratio of ``t * c / k`` bytes decoded for each byte wanted. It is c, the worst, if there are many
    more chunks than rows, and falls as chunks come to serve several rows. k is the batch size, or, if the data are
    opened read-only and there are not too many chunks, the number of rows in a window of 64 MiB.

    Parameters
    ----------
    data : object
        What may stand in an `ArrayDataSource`: a dataset of h5py, an array of zarr or PyTables.
    batch_size : int, default 64
        Samples in a batch.

    Returns
    -------
    ChunkAdvice or None
        None if all is well: chunks that are mapped into memory, that need not be read whole, that fit into memory
        once they are decoded, or whose ratio is less than 4.

    Examples
    --------
    >>> import h5py
    >>> with h5py.File("logs.h5", "w") as file:
    ...     logs = file.create_dataset("logs", (2**24, 200), "f4", chunks=(163, 200), compression="gzip")
    >>> with h5py.File("logs.h5", "r") as file:
    ...     advice = chunk_advice(file["logs"], batch_size=256)
    >>> advice.chunks, round(advice.ratio), round(advice.better)
    ((20, 200), 163, 20)
    """
    batch_size = whole_number(batch_size, "batch_size", 1)
    column = data if isinstance(data, ChunkedColumn) else as_column(data)
    if not isinstance(column, ChunkedColumn) or column.dtype.hasobject or not len(column):
        return None
    length, rows, shape = len(column), column.chunk_rows, column.sample_shape
    row_bytes = max(1, int(np.prod(shape, dtype=np.int64)) * column.dtype.itemsize)
    small = max(1, min(SMALL // row_bytes, rows))
    kept = column.constant and length * row_bytes <= KEPT
    ratio = _ratio(length, rows, row_bytes, batch_size, column.constant)
    if kept or ratio < DEAR:
        return None
    return ChunkAdvice(ratio, (small, *shape), _ratio(length, small, row_bytes, batch_size, column.constant))


def _ratio(length: int, rows: int, row_bytes: int, batch_size: int, constant: bool) -> float:
    """Return how many bytes are decoded for each one of random rows."""
    window = window_for(length, rows, row_bytes) if constant and rows > 1 else 0
    return decoded(length, rows, max(batch_size, window // row_bytes))


def decoded(length: int, rows: int, together: int) -> float:
    """Return how many rows are decoded for each that is wanted, if so many random ones are read at once.

    >>> round(decoded(256_000, 163, 256)), round(decoded(256_000, 163, 80_000), 1)
    (150, 3.2)
    """
    chunks = math.ceil(length / rows)
    untouched = math.exp(together * math.log1p(-1 / chunks)) if chunks > 1 else 0.0
    return chunks * (1 - untouched) * min(rows, length) / together
