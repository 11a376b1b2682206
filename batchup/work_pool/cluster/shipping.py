"""How a data source gets to the nodes of a cluster: its large arrays once, or, where all see the file, not at all."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchup.columns.files import array_in, region_of
from batchup.work_pool.pickling import Baggage, identity, memory_of, pickled_beside

Status = tuple[int, int, int]
Files = Sequence[tuple[str, Status]]


class Shipped(NamedTuple):
    """A source that lies in the object store: its pickle, and references to the arrays that belong to it."""

    pickled: bytes
    arrays: list[Any]


class Cargo(Baggage):
    """The arrays of a source that are to be put into the object store; but for those in files that all nodes see.

    Parameters
    ----------
    unseen : callable
        ``unseen(files)`` returns the paths of those that some node does not see as they are here.
    """

    def __init__(self, source: Any, unseen: Callable[[Files], set[str]]) -> None:
        self.arrays: list[NDArray[Any]] = []
        self._numbers: dict[Any, int] = {}
        self._files: dict[str, Status] = {}
        self._unseen: set[str] = set()
        self.pickled = pickled_beside(self, source)
        self._unseen = unseen([*self._files.items()]) if self._files else set()
        if self._unseen:
            self.arrays.clear()
            self._numbers.clear()
            self.pickled = pickled_beside(self, source)

    @property
    def files(self) -> tuple[str, ...]:
        """The files that are read where they lie."""
        return tuple(path for path in self._files if path not in self._unseen)

    @property
    def bytes(self) -> int:
        """Bytes of the arrays."""
        return sum(array.nbytes for array in self.arrays)

    def reduced(self, array: NDArray[Any]) -> Any:
        """Return how to pickle an array: as where it lies in a file, or as its number."""
        region = region_of(array)
        if region is not None and region.path not in self._unseen:
            if region.path not in self._files:
                self._files[region.path] = status_of(region.path)
            return array_in, (region, array.shape, array.strides, array.dtype)
        memory, strides = memory_of(array)
        return _from_store, (self._number(memory), array.shape, strides, array.dtype)

    def _number(self, array: NDArray[Any]) -> int:
        """Return the number of an array; the same memory twice is one."""
        key = identity(array)
        if key not in self._numbers:
            self._numbers[key] = len(self.arrays)
            self.arrays.append(array)
        return self._numbers[key]


_store: list[NDArray[np.uint8]] = []  # the arrays of the source that is being rebuilt in this process


def unpacked(shipped: Shipped) -> Any:
    """Return the source that was shipped; its arrays are those of this node's store, and cannot be written to."""
    import ray

    _store[:] = ray.get(shipped.arrays)
    try:
        return pickle.loads(shipped.pickled)
    finally:
        _store.clear()


def _from_store(number: int, shape: tuple[int, ...], strides: tuple[int, ...] | None, dtype: np.dtype[Any]) -> Any:
    memory = _store[number]
    array: NDArray[Any] = np.ndarray(shape, dtype, memory, 0, strides)
    array.flags.writeable = False
    return array


def status_of(path: str) -> Status:
    """Return by what it is seen on any machine that a file is the same: its size, time, and number."""
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns, status.st_ino


def is_same(path: str, status: Status) -> bool:
    """Return whether a file is there, and the same."""
    with suppress(OSError):
        return status_of(path) == tuple(status)
    return False
