"""Memory for batches, used again as soon as nobody refers to what was in it."""

from __future__ import annotations

import math
import platform
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

# returns an uninitialised, C-contiguous, writable array of a shape and a dtype, nobody else's
Memory: TypeAlias = "Callable[[tuple[int, ...], np.dtype[Any]], NDArray[Any]]"

KEPT_BUFFERS = 4
KEPT_BYTES = 512 * 2**20

_probe = [np.empty(1)]
FREE = sys.getrefcount(_probe[0])  # what an array counts to which a list alone refers
COUNTS_TELL = platform.python_implementation() == "CPython" and getattr(sys, "_is_gil_enabled", lambda: True)()


class BufferRing:
    """A few buffers for batches of samples of one shape and dtype.

    A buffer is free when the ring holds the only reference to it. Whatever is made from a batch (slices,
    transposes, memoryviews, tensors that share its memory) refers to the buffer, so nothing that anybody holds
    is ever overwritten. Where reference counts do not tell this (PyPy, Python without a global interpreter
    lock), every batch gets memory of its own.

    Parameters
    ----------
    sample_shape : tuple of int
        Shape of a sample.
    dtype : numpy.dtype
        Type of its elements.
    kept_buffers, kept_bytes : int
        How many buffers, and how much memory in all, may wait here to be used again.
    """

    def __init__(
        self,
        sample_shape: tuple[int, ...],
        dtype: np.dtype[Any],
        kept_buffers: int = KEPT_BUFFERS,
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        self.sample_shape = sample_shape
        self.sample_bytes = math.prod(sample_shape) * dtype.itemsize
        self.dtype = dtype
        self._recycles = COUNTS_TELL and not dtype.hasobject and self.sample_bytes > 0
        self._kept_buffers = kept_buffers
        self._kept_bytes = kept_bytes
        self._buffers: list[NDArray[np.uint8]] = []
        self._lock = threading.Lock()

    def empty(self, samples: int) -> NDArray[Any]:
        """Return an uninitialised, C-contiguous, writable array for `samples` samples, nobody else's."""
        shape = (samples, *self.sample_shape)
        size = samples * self.sample_bytes
        if not self._recycles or not 0 < 2 * size <= self._kept_bytes:
            return np.empty(shape, self.dtype)
        with self._lock:
            batch: NDArray[Any] = np.ndarray(shape, self.dtype, self._buffers[self._free(size)])
        return batch

    def _free(self, size: int) -> int:
        """Return the number of a free buffer of at least `size` bytes, a new one if there is none."""
        kept = self._buffers
        for i in range(len(kept)):
            if sys.getrefcount(kept[i]) == FREE and kept[i].nbytes >= size:
                return i
        kept.append(np.empty(size, np.uint8))
        while len(kept) > self._kept_buffers or sum(buffer.nbytes for buffer in kept) > self._kept_bytes:
            del kept[0]
        return len(kept) - 1
