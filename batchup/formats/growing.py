"""Arrays in chunks that grow: rows wait until they fill a chunk, so that each is written once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


class Growing:
    """An array in a file that is written in whole chunks, made when it is known how large they can be.

    Parameters
    ----------
    make : callable
        ``make(rows)`` makes the array, without rows as yet, and with so many of them in a chunk. It has `resize` and
        `shape`, and takes rows by slices.
    rows : int
        How many rows are to be in a chunk, unless there are fewer.
    """

    def __init__(self, make: Callable[[int], Any], rows: int) -> None:
        self._make = make
        self._chunk = rows
        self._array: Any = None
        self._waiting: list[Any] = []
        self._count = self._written = 0

    def put(self, values: Any) -> None:
        """Write what makes chunks, and let the rest wait."""
        self._waiting.append(values)
        self._count += len(values)
        if self._count >= self._chunk:
            self._write(self._count - self._count % self._chunk)

    def finish(self) -> Any:
        """Write what waits, and return the array."""
        if self._array is None:
            self._chunk = min(self._chunk, max(1, self._count))
        self._write(self._count)
        return self._array

    def _write(self, count: int) -> None:
        if self._array is None:
            self._array = self._make(self._chunk)
        if not count:
            return
        values = self._waiting[0] if len(self._waiting) == 1 else np.concatenate(self._waiting)
        self._array.resize((self._written + count, *self._array.shape[1:]))
        # chunk by chunk: if one cannot be written, others that zarr was told of would still be when it is removed
        for start in range(0, count, self._chunk):
            part = values[start : min(start + self._chunk, count)]
            if part.size:
                self._array[self._written + start : self._written + start + len(part)] = part
        self._waiting, self._count, self._written = [values[count:].copy()], self._count - count, self._written + count
