"""Memory of units that have been read, used again for those that come."""

from __future__ import annotations

import sys
from collections import deque

import numpy as np
from numpy.typing import NDArray

from batchup.data_source.buffers import COUNTS_TELL, FREE

LOOKED_AT = 4  # arrays that may be looked at until a new one is made


class Spares:
    """Arrays of bytes of one size, which are used again as soon as nobody else refers to them.

    Parameters
    ----------
    size : int
        Bytes of an array.
    most : int
        How many arrays may wait here.
    """

    def __init__(self, size: int, most: int) -> None:
        self._size = size
        self._arrays: deque[NDArray[np.uint8]] = deque(maxlen=most if COUNTS_TELL else 0)

    def put(self, array: NDArray[np.uint8]) -> None:
        """Take an array, which others may still be using."""
        if len(array) == self._size:
            self._arrays.append(array)

    def empty(self, size: int) -> NDArray[np.uint8]:
        """Return an uninitialised array, nobody else's: if there is one, that which has waited longest."""
        if size == self._size:
            for _ in range(min(LOOKED_AT, len(self._arrays))):
                if sys.getrefcount(self._arrays[0]) == FREE:
                    array = self._arrays.popleft()
                    array.flags.writeable = True
                    return array
                self._arrays.rotate(-1)
        return np.empty(size, np.uint8)
