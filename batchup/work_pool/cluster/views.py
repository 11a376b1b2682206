"""What comes back from a cluster: arrays that lie in the object store, which their holder may write into."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchup.work_pool.chunks import Figures
from batchup.work_pool.packing import INLINE, Packed

SENT_ALONG = 100 * 1024  # bytes of results that Ray does not put into the store


class Reply(NamedTuple):
    """What a worker answers: a result and what it took, or, if it failed, an error and its traceback."""

    pickled: bytes
    arrays: Sequence[NDArray[np.uint8]] = ()
    figures: Figures = Figures()
    failure: tuple[bytes, str] | None = None

    @property
    def bytes(self) -> int:
        """Bytes of the arrays."""
        return sum(array.nbytes for array in self.arrays)


class Ledger:
    """Counts the bytes of the object store that results take: those that are to come, and those handed out.

    Ray keeps an object for as long as somebody has a view of it. What is beyond the budget is copied, so that a
    consumer who keeps every batch does not fill the store.

    Parameters
    ----------
    budget : int
        Bytes.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._coming = self._held = 0
        self._changes: deque[tuple[int, int]] = deque()  # noted anywhere, also by the garbage collector
        self._counting = threading.Lock()
        self._mapped: list[tuple[int, int]] = []  # parts of the store, which stay mapped while this is in use

    def admitted(self, reply: Reply) -> Packed:
        """Return a result over the memory in which its arrays lie, or over copies if too much lies there already."""
        copied = reply.bytes <= SENT_ALONG or self._counted()[1] + reply.bytes > self.budget
        arrays: list[Any] = [bytearray(array) if copied else self._writable(array) for array in reply.arrays]
        return Packed(reply.pickled, arrays, False, reply.bytes)

    def note(self, coming: int = 0, held: int = 0) -> None:
        """Count so many bytes more, or fewer."""
        self._changes.append((coming, held))

    def has_room(self, size: int) -> bool:
        """Return whether a result may come: in all, as many as the budget has left, and some however much is held."""
        coming, held = self._counted()
        return not coming or coming + size <= max(self.budget - held, self.budget // 4)

    def _counted(self) -> tuple[int, int]:
        """Return how many bytes are to come, and how many are held."""
        with self._counting:
            while self._changes:
                coming, held = self._changes.popleft()
                self._coming += coming
                self._held += held
            return self._coming, self._held

    def _writable(self, array: NDArray[np.uint8]) -> Any:
        """Return a writable array over the memory of one that came from the store; a copy of what lies elsewhere.

        The object belongs to this process alone: it is the result of one task, asked for once.
        """
        if array.nbytes <= INLINE or not self._may_write(array.__array_interface__["data"][0], array.nbytes):
            return bytearray(array)
        return np.asarray(_Holder(array, self))

    def _may_write(self, address: int, size: int) -> bool:
        """Return whether the memory at an address is mapped for writing, and shared."""
        if not self._is_mapped(address, size):
            self._mapped = _shared_maps()
        return self._is_mapped(address, size)

    def _is_mapped(self, address: int, size: int) -> bool:
        return any(start <= address and address + size <= end for start, end in self._mapped)


class _Holder:
    """Holds a read-only array of the store that nobody else has, and shows its memory as writable."""

    def __init__(self, array: NDArray[np.uint8], ledger: Ledger) -> None:
        self._array = array
        self._ledger = ledger
        ledger.note(held=array.nbytes)
        self.__array_interface__ = {**array.__array_interface__, "data": (array.__array_interface__["data"][0], False)}

    def __del__(self) -> None:
        self._ledger.note(held=-self._array.nbytes)


def _shared_maps() -> list[tuple[int, int]]:
    """Return start and end of what is mapped in this process for writing, and shared with others."""
    found = []
    with suppress(OSError, ValueError):
        for line in Path("/proc/self/maps").read_text(errors="replace").splitlines():
            addresses, modes, *_ = line.split(maxsplit=2)
            if modes == "rw-s":
                start, end = (int(address, 16) for address in addresses.split("-"))
                found.append((start, end))
    return found
