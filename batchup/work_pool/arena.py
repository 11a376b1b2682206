"""Shared memory in which batches come back: slots are handed out, and taken back when nobody refers to them."""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchup.data_source.buffers import COUNTS_TELL, FREE
from batchup.work_pool.shared import most_room, shared_file, take_room

PAGE = 4096
HELD = 4096  # slots that consumers may hold at once; more batches than that are copied
LOOKED_AT = 32  # held slots that are looked at each time one is wanted


class Slot(NamedTuple):
    """A piece of the arena."""

    start: int
    size: int


class Span(NamedTuple):
    """Where in the arena some bytes lie."""

    start: int
    size: int


class Arena:
    """A file of shared memory, cut into slots; it grows as it is needed, up to its budget. Not for many threads.

    A slot that was handed out is free again when no array, view or buffer refers to it any more, which its
    reference count tells. Where counts do not tell (PyPy, Python without a global interpreter lock), and where the
    budget is used up, what is handed out is a copy.

    Parameters
    ----------
    budget : int
        Bytes that it may grow to.
    head : int
        Bytes at its beginning that are in no slot.
    """

    def __init__(self, budget: int, head: int) -> None:
        self._head = _pages(head)
        self.budget = min(_pages(budget), _pages(most_room() // 2)) + self._head
        self.descriptor = shared_file(self.budget, "a pool's memory for batches", allocate=False)
        take_room(self.descriptor, 0, self._head)
        self._map = mmap.mmap(self.descriptor, self.budget)
        self._end = self._head  # what lies below was allocated
        self._free: list[Slot] = []  # in the order of where they lie
        self._held: deque[tuple[Slot, NDArray[np.uint8]]] = deque()  # nobody else refers to the array of a free one

    def head(self) -> NDArray[np.int64]:
        """Return the head."""
        return np.frombuffer(self._map, np.int64, self._head // 8)

    def allocate(self, size: int) -> Slot | None:
        """Return a slot of at least so many bytes, None if the budget does not allow for one."""
        size = _pages(size)
        self._look(LOOKED_AT)
        slot = self._fitting(size)
        if slot is None:
            self._look(len(self._held))
            slot = self._fitting(size) or self._grown(size)
        return slot

    def free(self, slot: Slot) -> None:
        """Take back a slot that nobody uses."""
        at = next((i for i, other in enumerate(self._free) if other.start > slot.start), len(self._free))
        self._free.insert(at, slot)
        for i in (at, at - 1):  # join it with its neighbours
            if 0 <= i < len(self._free) - 1 and self._free[i].start + self._free[i].size == self._free[i + 1].start:
                self._free[i : i + 2] = [Slot(self._free[i].start, self._free[i].size + self._free[i + 1].size)]

    def hand_out(self, slot: Slot, spans: Sequence[Span]) -> list[Any]:
        """Return what lies in a slot, without a copy if another such slot could be had after this one."""
        base = np.frombuffer(self._map, np.uint8, slot.size, slot.start)
        parts = [base[span.start - slot.start :][: span.size] for span in spans]
        self._look(LOOKED_AT)
        if COUNTS_TELL and len(self._held) < HELD and self._has_room(slot.size):
            self._held.append((slot, base))
            return parts
        copies = [part.copy() for part in parts]
        self.free(slot)
        return copies

    def _has_room(self, size: int) -> bool:
        if self._end + size <= self.budget or any(slot.size >= size for slot in self._free):
            return True
        self._look(len(self._held))
        return any(slot.size >= size for slot in self._free)

    def _fitting(self, size: int) -> Slot | None:
        """Return the first free piece that is large enough: low ones are used again soonest, and stay in the cache."""
        for i, slot in enumerate(self._free):
            if slot.size >= size:
                rest = Slot(slot.start + size, slot.size - size)
                self._free[i : i + 1] = [rest] if rest.size else []
                return Slot(slot.start, size)
        return None

    def _grown(self, size: int) -> Slot | None:
        last = self._free[-1] if self._free and sum(self._free[-1]) == self._end else Slot(self._end, 0)
        if last.start + size > self.budget:
            return None
        try:
            take_room(self.descriptor, self._end, last.start + size - self._end)
        except OSError:
            self.budget = self._end  # somebody else took the room
            return None
        if last.size:
            del self._free[-1]
        self._end = last.start + size
        return Slot(last.start, size)

    def _look(self, count: int) -> None:
        """Look at so many of the slots that were handed out, and take back those that nobody refers to."""
        for _ in range(min(count, len(self._held))):
            if sys.getrefcount(self._held[0][1]) == FREE:
                slot, _ = self._held.popleft()
                self.free(slot)
            else:
                self._held.rotate(-1)

    def close(self) -> None:
        """Let go of the file; what was handed out stays."""
        os.close(self.descriptor)
        self._held.clear()
        with contextlib.suppress(BufferError):
            self._map.close()
        del self._map


def _pages(size: int) -> int:
    return -(-max(size, 1) // PAGE) * PAGE
