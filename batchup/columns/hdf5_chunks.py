"""The chunks of an HDF5 dataset: where they lie in the file, and how they are read past HDF5 and its lock."""

from __future__ import annotations

import math
import os
from array import array
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchup.columns.chunked import Chunks
from batchup.columns.files import OpenFile
from batchup.columns.hdf5_filters import Filters
from batchup.columns.readahead import Place, Readahead
from batchup.errors import FileFormatError

SPARSE = 64  # chunks for each one that is in the file, which a table may have ...
FEW = 2**20  # ... or so many in all


class Stored(NamedTuple):
    """One chunk in a file: its first byte, -1 if it was never written; how many; which filters it did not go through.

    Attributes
    ----------
    start, size, skipped : int
        As above.
    """

    start: int
    size: int
    skipped: int


class ChunkTable:
    """Where the chunks of a dataset lie: those with the same rows make up a band.

    Attributes
    ----------
    rows : int
        Rows in a band.
    shape : tuple of int
        Of a chunk.
    starts, sizes, skipped : ndarray of int64, shape (bands, chunks in a band)
        The first byte of each chunk, -1 if it was never written; how many bytes it takes; its mask of filters that
        were not applied.
    """

    def __init__(self, dataset: Any, found: NDArray[np.int64]) -> None:
        self.shape: tuple[int, ...] = dataset.chunks
        self.rows = self.shape[0]
        grid = [-(-extent // side) for extent, side in zip(dataset.shape, self.shape, strict=True)]
        self._grid = tuple(grid[1:])
        table = np.tile(np.array([-1, 0, 0], np.int64), (math.prod(grid), 1))
        offsets, stored = found[:, :-3], found[:, -3:]
        inside = (offsets < dataset.shape).all(1)  # those that were cut off may still be there
        table[np.ravel_multi_index(tuple((offsets[inside] // self.shape).T), grid)] = stored[inside]
        self.starts, self.sizes, self.skipped = table.reshape(grid[0], math.prod(self._grid), 3).transpose(2, 0, 1)

    @classmethod
    def of(cls, dataset: Any) -> ChunkTable | None:
        """Return the table of a dataset of h5py; None if it is not in chunks, or they cannot be listed.

        HDF5 may be too old, or a small file say that it has any number of chunks, next to none of which are there.
        """
        if dataset.chunks is None or not hasattr(dataset.id, "chunk_iter"):
            return None
        numbers = array("q")  # of millions of chunks, it may be

        def note(chunk: Any) -> None:
            numbers.extend((*chunk.chunk_offset, chunk.byte_offset, chunk.size, chunk.filter_mask))

        dataset.id.chunk_iter(note)
        found = np.array(numbers, np.int64).reshape(-1, len(dataset.shape) + 3)
        chunks = math.prod(-(-extent // side) for extent, side in zip(dataset.shape, dataset.chunks, strict=True))
        return cls(dataset, found) if chunks <= max(SPARSE * len(found), FEW) else None

    def plain(self, filters: Filters, chunk_bytes: int) -> bool:
        """Return whether the file holds all rows as they are, each in one piece."""
        unfiltered = not any(filters.applied(int(mask)) for mask in set(self.skipped.flat))
        return (
            unfiltered and math.prod(self._grid) == 1 and bool(((self.starts >= 0) & (self.sizes == chunk_bytes)).all())
        )

    def offset(self, band: int, part: int) -> tuple[int, ...]:
        """Return the place of the first element of a chunk in the dataset."""
        place = [band, *np.unravel_index(part, self._grid)] if self._grid else [band]
        return tuple((np.array(place, np.int64) * self.shape).tolist())

    def band(self, number: int) -> Iterator[tuple[tuple[slice, ...], Stored]]:
        """Yield the chunks of a band: what of a row each holds, and where it lies."""
        columns = zip(
            self.starts[number].tolist(), self.sizes[number].tolist(), self.skipped[number].tolist(), strict=True
        )
        for place, stored in zip(np.ndindex(*self._grid), columns, strict=True):
            sides = zip(place, self.shape[1:], strict=True)
            yield tuple(slice(at * side, (at + 1) * side) for at, side in sides), Stored(*stored)


class ChunkLayout:
    """Where the rows lie of a dataset in chunks of whole rows, neither compressed nor otherwise changed."""

    gapless = False

    def __init__(self, starts: NDArray[np.int64], rows: int, row_bytes: int, length: int) -> None:
        self._starts = starts
        self._rows = rows
        self.row_bytes = row_bytes
        self.length = length
        self.end = int(starts.max()) + rows * row_bytes

    def starts(self, indices: Any) -> Any:
        """Return the first byte of each row."""
        chunk, within = np.divmod(indices, self._rows)
        return self._starts[chunk] + within * self.row_bytes

    def pieces(self, start: int, stop: int) -> Iterator[Place]:
        """Yield the places of the rows from `start` to `stop`."""
        while start < stop:
            chunk, within = divmod(start, self._rows)
            end = min(stop, start - within + self._rows)
            yield int(self._starts[chunk]) + within * self.row_bytes, (end - start) * self.row_bytes
            start = end


class RawChunks:
    """Chunks that are read from the file itself; those with filters that only HDF5 can undo, by h5py.

    Parameters
    ----------
    dataset : Chunks
        The same chunks as h5py reads them.
    fill : object
        What elements are that were never written.
    table : ChunkTable
        Where they lie.
    filters : Filters
        What was done to them.
    file : OpenFile
        Where they lie in.
    name : str
        What to call the dataset in errors.
    """

    constant = True

    def __init__(
        self, dataset: Chunks, fill: Any, table: ChunkTable, filters: Filters, file: OpenFile, name: str
    ) -> None:
        self._dataset = dataset
        self._fill = fill
        self._table = table
        self._filters = filters
        self._file = file
        self._name = name
        self._end = os.fstat(file.fileno()).st_size
        self._readahead = Readahead(file)
        self.rows = table.rows
        self.dtype = dataset.dtype
        self.shape = dataset.shape
        self._chunk_bytes = math.prod(table.shape) * self.dtype.itemsize

    def between(self, start: int, stop: int) -> NDArray[Any]:
        """Return the rows from `start` to `stop`."""
        first, behind = start // self.rows, -(-stop // self.rows)
        if start >= stop:
            return np.empty((0, *self.shape[1:]), self.dtype)
        rows = np.concatenate(list(self.read(list(range(first, behind)))), dtype=self.dtype)  # its byte order, too
        return rows[start - first * self.rows : stop - first * self.rows]

    def read(self, numbers: list[int]) -> Iterator[NDArray[Any]]:
        """Yield the rows of bands of chunks.

        Raises
        ------
        FileFormatError
            If they are damaged.
        """
        self._ask_for(numbers)
        return map(self._band, numbers)

    def _ask_for(self, numbers: list[int]) -> None:
        """Have the chunks fetched that are not in memory."""
        starts, sizes = self._table.starts[numbers].reshape(-1), self._table.sizes[numbers]
        if sizes.size:
            self._readahead.expect(starts[starts >= 0], int(sizes.max()))

    def _band(self, number: int) -> NDArray[Any]:
        parts = list(self._table.band(number))
        if not all(stored.start < 0 or self._filters.can_undo(stored.skipped) for _, stored in parts):
            return next(self._dataset.read([number]))
        shape = (min(self.rows, self.shape[0] - number * self.rows), *self.shape[1:])
        if len(parts) == 1:
            return cut_to(self._part(number, parts[0][1]), shape)
        whole = np.empty(shape, self.dtype)
        for place, stored in parts:
            index = (slice(None), *place)
            target = whole[index]
            target[...] = cut_to(self._part(number, stored), target.shape)
        return whole

    def _part(self, number: int, stored: Stored) -> NDArray[Any]:
        """Return one chunk."""
        if stored.start < 0:
            return np.broadcast_to(np.asarray(self._fill, self.dtype), self._table.shape)
        try:
            plain = self._filters.undo(self._bytes(stored), stored.skipped, self._chunk_bytes)
        except FileFormatError as error:
            raise type(error)(
                f"chunk {number} of {self._name} ({stored.size:,} bytes from byte {stored.start:,} on) is damaged: "
                f"{error}; take the file from where it came from, or make it anew"
            ) from None
        return plain.view(self.dtype).reshape(self._table.shape)

    def _bytes(self, stored: Stored) -> bytes:
        if stored.start + stored.size > self._end:
            raise FileFormatError(f"the file ends at byte {self._end:,}")
        found = os.pread(self._file.fileno(), stored.size, stored.start)
        while len(found) < stored.size and (more := self._rest(stored, len(found))):
            found += more
        if len(found) < stored.size:
            raise FileFormatError("the file has become shorter since it was opened")
        return found

    def _rest(self, stored: Stored, read: int) -> bytes:
        return os.pread(self._file.fileno(), stored.size - read, stored.start + read)


def cut_to(chunk: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return what lies of a chunk within the dataset, which is the beginning of each side."""
    return chunk[tuple(slice(side) for side in shape)]
