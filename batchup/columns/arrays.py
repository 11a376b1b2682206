"""Columns over NumPy arrays and memory maps."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._indices import Indices
from batchup.columns.files import OpenFile, extent, is_mapped, region_of
from batchup.columns.readahead import Readahead


class ArrayColumn:
    """The rows of a C-contiguous array (also a memory map, or a read-only one)."""

    takes_out = cheap = views = True
    window = 0

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array.view(np.ndarray)
        self.dtype = array.dtype
        self.sample_shape: tuple[int, ...] = array.shape[1:]
        self.resident = not is_mapped(array)
        self._readahead: Readahead | None = None
        self._looked = self.resident

    def __len__(self) -> int:
        return len(self._array)

    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> NDArray[Any]:
        if isinstance(indices, slice):
            rows = self._array[indices]
            if out is None:
                return np.array(rows)
            out[...] = rows
            return out
        if out is None:
            out = np.empty((len(indices), *self.sample_shape), self.dtype)
        if self._readahead is not None and self._readahead.cold and self.takes_out:
            starts = indices * self._extent + self._offset
            self._readahead.fetch(((start, self._extent) for start in starts.tolist()), out.reshape(-1).view(np.uint8))
            return out
        # mode='raise' would buffer the output, which makes it 2-3 times slower; the indices are checked
        self._array.take(indices, 0, out, "clip")
        return out

    def fresh(self, indices: Indices) -> NDArray[Any]:
        """Return the samples at `indices` in fresh memory, by fancy indexing."""
        if self._readahead is not None and self._readahead.cold and self.takes_out:
            return self.gather(indices)
        rows: NDArray[Any] = self._array[indices]
        return rows.copy() if isinstance(indices, slice) else rows

    def view(self, indices: slice) -> NDArray[Any]:
        rows = self._array[indices]
        rows.flags.writeable = False
        return rows

    def expect(self, indices: Indices) -> bool:
        if not self._looked:
            self._looked = True
            self._find_file()
        if self._readahead is None:
            return False
        if isinstance(indices, slice):
            starts, count = np.array([indices.start], np.int64), indices.stop - indices.start
        else:
            starts, count = indices, 1
        size = (count - 1) * self._array.strides[0] + self._extent
        return self._readahead.expect(starts * self._array.strides[0] + self._offset, size)

    def _find_file(self) -> None:
        """See in which file the rows lie, unless they are spread over it."""
        array = self._array
        region = region_of(array) if len(array) else None
        if region is None:
            return
        self._extent = extent(array.shape[1:], array.strides[1:], array.itemsize)
        if 0 < self._extent <= max(array.strides[0], 2 * array[0].nbytes):
            self._offset = region.offset
            with suppress(OSError):
                self._readahead = Readahead(OpenFile(region.path))


class StridedColumn(ArrayColumn):
    """The rows of an array whose memory is not in C order: `take` would copy all of it first."""

    takes_out = False

    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> NDArray[Any]:
        return self.fresh(indices)


def array_column(array: NDArray[Any]) -> ArrayColumn:
    """Return the column that reads this array fastest."""
    return ArrayColumn(array) if array.flags.c_contiguous else StridedColumn(array)
