"""Rows that have to be read in whole chunks: each chunk once for all rows that are wanted of it."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from batchup._indices import Indices
from batchup.columns.ragged import Ragged
from batchup.columns.records import LOOPED

KEPT = 64 * 2**20  # bytes of chunks that are kept when they have been read
WINDOW = 64 * 2**20  # bytes of samples for which chunks are read together


class Chunks(Protocol):
    """Where the chunks of a dataset are read; may be asked by several threads at once.

    Attributes
    ----------
    rows : int
        Rows in a chunk; the most of them, if chunks differ.
    constant : bool
        Whether nobody can write to them.
    dtype : numpy.dtype
        Type of the elements.
    """

    rows: int
    constant: bool
    dtype: np.dtype[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows, as it is now, and shape of one."""

    def between(self, start: int, stop: int) -> NDArray[Any]:
        """Return the rows from `start` to `stop`."""

    def read(self, numbers: list[int]) -> Iterator[NDArray[Any]]:
        """Yield the rows of chunks, in this order, all of them that there are; nobody writes into them."""


class ChunkedColumn:
    """The rows of a dataset in chunks. The chunks read last are kept, if nobody can write to them.

    Parameters
    ----------
    chunks : Chunks
        The dataset.
    bounds : ndarray of int, shape (chunks + 1,), optional
        The first row of each chunk, and behind them the number of rows, if chunks differ.
    """

    cheap = resident = views = False

    def __init__(self, chunks: Chunks, bounds: NDArray[np.intp] | None = None) -> None:
        self._chunks = chunks
        self._bounds = bounds
        self.dtype = chunks.dtype
        length, *shape = chunks.shape
        self.sample_shape = tuple(shape)
        self.takes_out = not self.dtype.hasobject
        self._kept = Kept(KEPT)
        self._keeps = chunks.constant and chunks.rows > 1
        self._row_bytes = int(np.prod(shape, dtype=np.int64)) * self.dtype.itemsize
        self.window = window_for(length, self.chunk_rows, self._row_bytes) if self._keeps and self.takes_out else 0

    @property
    def chunk_rows(self) -> int:
        """Rows in a chunk; on average, if chunks differ."""
        return self._chunks.rows if self._bounds is None else max(1, len(self) // max(1, len(self._bounds) - 1))

    @property
    def constant(self) -> bool:
        """Whether nobody can write to the dataset."""
        return self._chunks.constant

    def __len__(self) -> int:
        return self._chunks.shape[0]

    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> NDArray[Any]:
        if isinstance(indices, slice) and not self._keeps:
            rows = self._chunks.between(indices.start, indices.stop)
            return rows if out is None else _copied(rows, out)
        if isinstance(indices, slice):
            indices = np.arange(indices.start, indices.stop, dtype=np.intp)
        if out is None:
            out = np.empty((len(indices), *self.sample_shape), self.dtype)
        order = np.argsort(indices, kind="stable")
        owners = self._owners(indices[order])
        bounds = [*np.flatnonzero(np.diff(owners, prepend=-1)).tolist(), len(order)]
        needed = dict(zip(owners[bounds[:-1]].tolist(), pairwise(bounds), strict=True))
        for number, chunk in self._read(list(needed)):
            places = order[slice(*needed[number])]
            self._put(chunk, indices[places] - self._first_row(number), out, places)
        return out

    def view(self, indices: slice) -> NDArray[Any]:
        return self.gather(indices)

    def expect(self, indices: Indices) -> bool:
        return False

    def _owners(self, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the numbers of the chunks in which rows lie."""
        if self._bounds is None:
            return rows // self._chunks.rows
        return np.searchsorted(self._bounds, rows, "right") - 1  # behind chunks without rows

    def _first_row(self, number: int) -> int:
        return number * self._chunks.rows if self._bounds is None else int(self._bounds[number])

    def _read(self, numbers: list[int]) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield chunks with their numbers; those that are kept come first, before they have to go."""
        missing = []
        for number in numbers:
            chunk = self._kept.get(number)
            if chunk is None:
                missing.append(number)
            else:
                yield number, chunk
        for number, chunk in zip(missing, self._chunks.read(missing), strict=True):
            if self._keeps:
                self._kept.put(number, chunk)
            yield number, chunk

    def _put(self, chunk: NDArray[Any], rows: NDArray[np.intp], out: NDArray[Any], places: NDArray[np.intp]) -> None:
        if self._row_bytes < LOOPED:
            out[places] = chunk[rows]
            return
        for place, row in zip(places.tolist(), rows.tolist(), strict=True):
            out[place] = chunk[row]


def window_for(length: int, rows: int, row_bytes: int) -> int:
    """Return how many bytes of random rows to read at once: none, unless there are as many rows in them as chunks.

    >>> window_for(256_000, 163, 800), window_for(2**40, 163, 800)
    (67108864, 0)
    """
    chunks = -(-length // rows)
    return WINDOW if 0 < chunks * row_bytes <= WINDOW else 0


class Kept:
    """The chunks that were used last, up to a number of bytes, but one at least.

    Parameters
    ----------
    most : int
        How many bytes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._chunks: OrderedDict[int, Any] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, number: int) -> Any:
        """Return a chunk, None if it is not here."""
        with self._lock:
            if number not in self._chunks:
                return None
            self._chunks.move_to_end(number)
            return self._chunks[number]

    def put(self, number: int, rows: Any) -> None:
        """Keep a chunk, and let go of others that have not been used for longer."""
        with self._lock:
            if number in self._chunks:
                return
            self._chunks[number] = rows
            self._bytes += size_of(rows)
            while self._bytes > self._most and len(self._chunks) > 1:
                self._bytes -= size_of(self._chunks.popitem(last=False)[1])


def size_of(rows: Any) -> int:
    """Return how many bytes of memory an array holds on to, or `Ragged`, with those of texts that it refers to.

    >>> size_of(np.zeros((10, 4))[:1])
    320
    """
    whole = rows = rows.values if isinstance(rows, Ragged) else rows
    while isinstance(whole.base, np.ndarray):
        whole = whole.base
    referred = sum(map(sys.getsizeof, rows.reshape(-1).tolist())) if rows.dtype.hasobject else 0
    return int(whole.nbytes) + referred


def _copied(rows: NDArray[Any], out: NDArray[Any]) -> NDArray[Any]:
    out[...] = rows
    return out
