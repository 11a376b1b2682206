"""Columns over NumPy arrays and memory maps."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._indices import Indices


class ArrayColumn:
    """The rows of a C-contiguous array (also a memory map, or a read-only one)."""

    takes_out = cheap = True

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array.view(np.ndarray)
        self.dtype = array.dtype
        self.sample_shape: tuple[int, ...] = array.shape[1:]
        self.mapped = is_mapped(array)

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
        # mode='raise' would buffer the output, which makes it 2-3 times slower; the indices are checked
        self._array.take(indices, 0, out, "clip")
        return out

    def fresh(self, indices: Indices) -> NDArray[Any]:
        """Return the samples at `indices` in fresh memory, by fancy indexing."""
        rows: NDArray[Any] = self._array[indices]
        return rows.copy() if isinstance(indices, slice) else rows

    def view(self, indices: slice) -> NDArray[Any]:
        rows = self._array[indices]
        rows.flags.writeable = False
        return rows


class StridedColumn(ArrayColumn):
    """The rows of an array whose memory is not in C order: `take` would copy all of it first."""

    takes_out = False

    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> NDArray[Any]:
        return self.fresh(indices)


def is_mapped(array: Any) -> bool:
    """Return whether the memory of an array belongs to a mapped file."""
    while array is not None and not isinstance(array, (np.memmap, mmap.mmap)):
        array = array.obj if isinstance(array, memoryview) else getattr(array, "base", None)
    return array is not None


def array_column(array: NDArray[Any]) -> ArrayColumn:
    """Return the column that reads this array fastest."""
    return ArrayColumn(array) if array.flags.c_contiguous else StridedColumn(array)
