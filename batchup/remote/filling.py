"""Arrays that are filled one behind the other with bytes that come piece by piece."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class Filling:
    """Some arrays, and how far they have been filled.

    Parameters
    ----------
    rooms : sequence of ndarray of uint8
        The arrays.

    Attributes
    ----------
    size, done : int
        How many bytes they take together, and how many have come.
    full : int
        How many arrays are full.
    """

    def __init__(self, rooms: Sequence[NDArray[np.uint8]]) -> None:
        self._rooms = [room.data for room in rooms]
        self._sizes = [len(room) for room in rooms]
        self.size = sum(self._sizes)
        self.done = self.full = 0
        self._begin = 0
        self.add(0)

    def empty(self) -> memoryview:
        """Return what is empty of the array that is being filled; it is not to be called when all are full."""
        return self._rooms[self.full][self._begin :]

    def add(self, count: int) -> None:
        """Take note that so many bytes have come there."""
        self.done += count
        self._begin += count
        while self.full < len(self._sizes) and self._begin == self._sizes[self.full]:
            self.full += 1
            self._begin = 0

    def put(self, data: bytes) -> None:
        """Put bytes there, into more than one array if need be."""
        rest = memoryview(data)
        while rest:
            empty = self.empty()
            part = rest[: len(empty)]
            empty[: len(part)] = part
            self.add(len(part))
            rest = rest[len(part) :]
