"""Chunks of arrays that lie elsewhere, which their own libraries read by slices: h5py, PyTables, zarr."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from batchup.errors import InvalidTypeError

# tells what an array is pickled as: a function, and its arguments
Reduce: TypeAlias = Callable[[Any], tuple[Callable[..., Any], tuple[Any, ...]]]


class SlicedChunks:
    """The chunks of an array that is read by slices.

    Parameters
    ----------
    array : object
        With `dtype` and `shape`; between square brackets it takes a slice.
    rows : int
        Rows in a chunk.
    constant : bool
        Whether nobody can write to it.
    reduce : callable, optional
        How to open it anew in a process that was forked off; None if that is not needed.
    together : int
        Bytes of chunks, one behind the other, that are read by one slice.
    lock : context manager, optional
        What is held while it is read, if its library is not for several threads.
    """

    def __init__(
        self,
        array: Any,
        rows: int,
        constant: bool,
        reduce: Reduce | None = None,
        together: int = 0,
        lock: AbstractContextManager[Any] | None = None,
    ) -> None:
        self._array = array
        self._process = os.getpid()
        self._reduce = reduce
        self._reduced: Any = None
        with suppress(InvalidTypeError):  # which is raised where it matters
            self._reduced = None if reduce is None else reduce(array)
        self._lock = nullcontext() if lock is None else lock
        self.dtype: np.dtype[Any] = np.dtype(array.dtype)
        self.rows = rows
        self.constant = constant
        row_bytes = int(np.prod(array.shape[1:], dtype=np.int64)) * self.dtype.itemsize
        self._together = max(1, together // max(1, rows * row_bytes))

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows, as it is now, and shape of one."""
        return tuple(int(side) for side in self._opened().shape)

    def between(self, start: int, stop: int) -> NDArray[Any]:
        """Return the rows from `start` to `stop`."""
        with self._lock:
            return np.asarray(self._opened()[start:stop], self.dtype)

    def read(self, numbers: list[int]) -> Iterator[NDArray[Any]]:
        """Yield the rows of chunks."""
        for first, count in runs(numbers, self._together):
            rows = self.between(first * self.rows, (first + count) * self.rows)
            for start in range(0, count * self.rows, self.rows):
                chunk = rows[start : start + self.rows]
                yield chunk if count == 1 else chunk.copy()  # who keeps one is not to keep all

    def _opened(self) -> Any:
        if self._reduce is not None and self._process != os.getpid():
            function, arguments = self._reduced or self._reduce(self._array)
            self._array, self._process = function(*arguments), os.getpid()
        return self._array


def runs(numbers: list[int], most: int) -> Iterator[tuple[int, int]]:
    """Yield where each run of numbers begins that follow one another, and how long it is: `most` at the most.

    >>> list(runs([3, 4, 5, 7], 2))
    [(3, 2), (5, 1), (7, 1)]
    """
    first = count = 0
    for number in numbers:
        if count and (number != first + count or count == most):
            yield first, count
            count = 0
        first, count = (first if count else number), count + 1
    if count:
        yield first, count
