"""Units of a file elsewhere, in memory: fetched ahead of need by some threads, each once, within a bound."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import Counter, OrderedDict
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from batchup.errors import ChecksumError
from batchup.hypersequence.spares import Spares
from batchup.hypersequence.units import Units
from batchup.remote import RemoteFile
from batchup.remote.problems import closed_error

BUDGET = 128 * 2**20  # bytes of units in memory; half of them may be fetched ahead ...
AHEAD = 32 * 2**20  # ... but no more than this, which the caches of processors may hold
RUN = 4 * 2**20  # bytes of neighbours that are asked for at once
THREADS = 8  # where answers take their time, many at once are faster; ...
FEW_THREADS = 2  # ... where they do not, more would only be in each other's way
WAITING = 0.8  # of the time, from which on threads wait for answers, rather than work
LATELY = 0.9  # of what was before counts after another run
IDLE = 1.0  # seconds after which a thread ends that has nothing to do
MOST_WANTED = 2**16  # units


class Read:
    """A unit of which something has been read.

    Attributes
    ----------
    data : ndarray of uint8
        Its bytes, read-only.
    left : int
        How many bytes are still to be read, until all have been.
    """

    __slots__ = ("data", "left")

    def __init__(self, data: NDArray[np.uint8]) -> None:
        self.data = data
        self.left = len(data)


class Shelf:
    """The units that are in memory, and those that are on their way there.

    Parameters
    ----------
    file : RemoteFile
        Where they are fetched from.
    units : Units
        Where they are, and what they should be.
    """

    def __init__(self, file: RemoteFile, units: Units) -> None:
        self._file = file
        self._units = units
        self._most = max(2, BUDGET // units.unit_bytes)
        self._ahead = max(1, min(AHEAD // units.unit_bytes, self._most // 2))
        self._keeps = units.count <= self._most
        self._begin()
        _shelves.add(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._came = threading.Condition(self._lock)  # something has happened to a unit
        self._to_do = threading.Condition(self._lock)  # a thread that has nothing to do is needed
        self._fresh: dict[int, NDArray[np.uint8]] = {}  # that nobody has read, the first that came first
        self._read: OrderedDict[int, Read] = OrderedDict()  # the one that goes first is first
        self._coming: set[int] = set()
        self._wanted: dict[int, None] = {}
        self._awaited: Counter[int] = Counter()
        self._problems: dict[int, Exception] = {}  # of those that are awaited
        self._threads: list[threading.Thread] = []  # that may be running
        self._active: set[threading.Thread] = set()  # of those, who will take the next units
        self._idle = 0
        self._spent = self._busy = 0.0  # seconds that threads needed lately, and worked
        self._spares = Spares(self._units.unit_bytes, self._ahead)
        self._closed = False

    def expect(self, numbers: Iterable[int], now: bool = False) -> bool:
        """Have units fetched that will soon be read, or `now`; return whether some are not there yet."""
        with self._lock:
            missing = [n for n in numbers if n not in self._fresh and n not in self._read]
            new = dict.fromkeys(n for n in missing if n not in self._coming)
            if new and not self._closed and len(self._wanted) < MOST_WANTED:
                self._wanted = {**new, **self._wanted} if now else {**self._wanted, **new}
                self._hire()
            return bool(missing)

    def get(self, number: int, size: int) -> NDArray[np.uint8]:
        """Return the bytes of a unit, fetched now if need be, so many of which will be read."""
        mine: list[int] = []
        try:
            while True:
                with self._lock:
                    data = self._found(number, size)
                    if data is not None:
                        return data
                    if number in self._coming:
                        self._await(number)
                        continue
                    mine.append(number)
                    self._take(number)
                self._fetch(mine)
        finally:
            self._release(mine)

    def close(self) -> None:
        """Let go of all units, and end the threads."""
        with self._lock:
            self._closed = True
            self._wanted, self._fresh = {}, {}
            self._read.clear()
            self._spares = Spares(0, 0)
            self._came.notify_all()
            self._to_do.notify_all()
            threads = [thread for thread in self._threads if thread is not threading.current_thread()]
        self._file.close()
        for thread in threads:
            thread.join()

    def forget(self) -> None:
        """Begin anew, in a process that was forked: the threads are not there."""
        closed = self._closed
        self._begin()
        self._closed = closed

    def _found(self, number: int, size: int) -> NDArray[np.uint8] | None:
        """Return a unit that is there; those of which all was read go first, then those that were read long ago."""
        if self._closed:
            raise closed_error(self._file.name)
        if number in self._fresh:
            self._read[number] = Read(self._fresh.pop(number))
            self._hire()
        unit = self._read.get(number)
        if unit is None:
            return None
        unit.left -= size
        if unit.left > 0 or self._keeps:
            self._read.move_to_end(number, last=unit.left > 0)
        else:
            self._spares.put(self._read.pop(number).data)  # to be used again while the processor's caches hold it
        return unit.data

    def _await(self, number: int) -> None:
        """Wait until something has happened to a unit that is on its way; raise if it cannot be fetched."""
        self._awaited[number] += 1
        try:
            self._came.wait()
        finally:
            self._awaited[number] -= 1
        if number in self._problems:
            raise self._problems.pop(number)

    def _take(self, number: int) -> None:
        """Take note that a unit is being fetched now, and make room for it: of those that were read, if there are."""
        self._coming.add(number)
        self._wanted.pop(number, None)
        while len(self._fresh) + len(self._read) + len(self._coming) > self._most:
            if self._read:
                self._spares.put(self._read.popitem(last=False)[1].data)
            elif self._fresh:
                self._spares.put(self._fresh.pop(next(iter(self._fresh))))
            else:
                return

    def _hire(self) -> None:
        """See to it that there are threads, if there is something to be fetched ahead."""
        if not self._wanted or not self._room() or self._closed:
            return
        if self._idle:
            self._to_do.notify()
        elif len(self._active) < self._crew():
            thread = threading.Thread(target=self._work, name="batchup fetches batches", daemon=True)
            self._threads = [*filter(threading.Thread.is_alive, self._threads), thread]
            self._active.add(thread)
            try:
                thread.start()
            except BaseException as error:
                self._threads.remove(thread)
                self._active.remove(thread)
                if not isinstance(error, RuntimeError):  # no more threads can be started; who reads fetches
                    raise

    def _crew(self) -> int:
        """Return how many threads there should be."""
        return THREADS if self._busy < (1 - WAITING) * self._spent else FEW_THREADS

    def _room(self) -> bool:
        """Return whether one more unit may be fetched ahead."""
        return len(self._fresh) + len(self._coming) < self._ahead

    def _work(self) -> None:
        """Be a thread."""
        try:
            while run := self._next_run():
                begin, worked = time.monotonic(), time.thread_time()
                try:
                    self._fetch(run)
                except Exception as error:  # noqa: BLE001  it is for who waits for a unit
                    self._failed(run, error)
                finally:
                    self._release(run)
                self._timed(time.monotonic() - begin, time.thread_time() - worked)
        finally:
            with self._lock:
                self._active.discard(threading.current_thread())

    def _timed(self, spent: float, busy: float) -> None:
        with self._lock:
            self._spent = LATELY * self._spent + spent
            self._busy = LATELY * self._busy + busy
            self._hire()

    def _failed(self, run: list[int], error: Exception) -> None:
        with self._lock:
            self._problems = {n: error for n, count in self._awaited.items() if count and n in run}
            self._came.notify_all()

    def _next_run(self) -> list[int]:
        """Wait for units that can be fetched ahead, and take neighbours; none if this thread is not needed any more."""
        until = time.monotonic() + IDLE
        with self._lock:
            while not self._closed and len(self._active) <= self._crew():
                if self._wanted and self._room():
                    return self._run_from(next(iter(self._wanted)))
                self._idle += 1
                try:
                    self._to_do.wait(until - time.monotonic())
                finally:
                    self._idle -= 1
                if time.monotonic() >= until:
                    break
            self._active.discard(threading.current_thread())
            self._hire()  # who may have been woken in vain
        return []

    def _run_from(self, number: int) -> list[int]:
        run: list[int] = []
        while number - 1 in self._wanted:
            number -= 1
        while number in self._wanted and self._room() and len(run) * self._units.unit_bytes < RUN:
            self._take(number)
            run.append(number)
            number += 1
        self._hire()
        return run

    def _fetch(self, left: list[int]) -> None:
        """Fetch units that have been taken: from the disk of this machine, else neighbours at once."""
        while left:
            room = self._empty(left[0])
            if self._file.recall(self._units.place(left[0])[0], room) and not self._units.fault(left[0], room):
                self._put(left, room)
            else:
                self._fetch_together(left, room)

    def _release(self, left: list[int]) -> None:
        """Let others fetch units that were taken and have not come."""
        if left:
            with self._lock:
                self._coming.difference_update(left)
                self._came.notify_all()
                self._hire()

    def _fetch_together(self, left: list[int], room: NDArray[np.uint8]) -> None:
        """Fetch neighbours by one request, and have each as soon as it is there."""
        rooms = [room, *map(self._empty, left[1:])]
        for number in self._file.fill(self._units.place(left[0])[0], rooms):
            self._check(left[0], rooms[number])
            self._put(left, rooms[number])

    def _check(self, number: int, data: NDArray[np.uint8]) -> None:
        """Check a unit that has come; fetch it once more if it is not what was written, then keep it."""
        start = self._units.place(number)[0]
        if self._units.fault(number, data):
            list(self._file.fill(start, [data]))
            fault = self._units.fault(number, data)
            if fault:
                raise ChecksumError(f"{self._file.name}: {fault}; it came so twice: have it written anew where it lies")
        self._file.keep(start, data)

    def _empty(self, number: int) -> NDArray[np.uint8]:
        size = self._units.place(number)[1]
        with self._lock:
            return self._spares.empty(size)

    def _put(self, left: list[int], data: NDArray[np.uint8]) -> None:
        """Put the first of some units that are on their way on the shelf."""
        data.flags.writeable = False
        with self._lock:
            if not self._closed:
                self._fresh[left[0]] = data
            self._coming.discard(left[0])
            del left[0]
            self._came.notify_all()


_shelves: weakref.WeakSet[Shelf] = weakref.WeakSet()


def _forked() -> None:
    for shelf in list(_shelves):
        shelf.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
