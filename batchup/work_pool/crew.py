"""The workers of a pool of processes, seen from the main program: who gets which task, and what they all share."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

from batchup.errors import WorkerError
from batchup.work_pool.abstract import closed_error
from batchup.work_pool.arena import Arena, Slot
from batchup.work_pool.foreman import Foreman
from batchup.work_pool.nursery import Nursery
from batchup.work_pool.packing import Packed
from batchup.work_pool.tasks import Task
from batchup.work_pool.tickets import check_process

AT_ONCE = 2  # tasks that a worker has: one in work, and one so that it need not wait for the next
SMALL = 32 * 1024  # bytes of a task that may be sent to a worker that is busy
SLACK = 4096  # bytes that a slot has to spare, since arrays in it are aligned
FAREWELL = 1.0  # seconds that the threads may take to notice that the workers have ended


class Crew:
    """All workers of a pool, the tasks that wait for them, and the memory that they share.

    Parameters
    ----------
    count : int
        Number of workers.
    start_method : str
        Where they come from.
    max_restarts : int
        How often a task may kill its worker and be done again.
    timeout : float or None
        Seconds that a task may take.
    memory : int
        Bytes of memory that results may take.
    """

    def __init__(self, count: int, start_method: str, max_restarts: int, timeout: float | None, memory: int) -> None:
        self.lock = threading.RLock()
        self.up = threading.Condition(self.lock)
        self.closed = False
        self.max_restarts = max_restarts
        self.timeout = timeout
        self.arena = Arena(memory, head=16 * count)
        self.returned = self.arena.returned
        self.waiting: deque[Task] = deque()
        self.sources: dict[int, tuple[bytes, int | None]] = {}
        self.dropped: deque[int] = deque()
        self._program = os.getpid()
        self._sources_told = 0
        self._all_up = False
        self._next = 0
        self._broken: WorkerError | None = None
        self._start_method = start_method
        self._nursery = Nursery(start_method, self.arena.descriptor, self._end_known)
        self._foremen = [Foreman(self, number) for number in range(count)]
        _ALL.add(self)
        for foreman in self._foremen:
            foreman.thread.start()

    def submit(self, task: Task) -> Task:
        """Have a task done."""
        check_process(self._program)
        with self.lock:
            if self._broken is not None:
                raise self._broken
            if self.closed:
                raise closed_error("WorkerProcessPool")
            self.waiting.append(task)
            self.deal()
        return task

    def tell(self, pickled: bytes, file: int | None) -> int:
        """Make a source known; return its number."""
        check_process(self._program)
        with self.lock:
            self._sources_told += 1
            self.sources[self._sources_told] = pickled, file
            return self._sources_told

    def deal(self) -> None:
        """Give tasks to workers, in turn, as far as they have time for them. With the lock held."""
        self._all_up = self._all_up or all(foreman.pid is not None for foreman in self._foremen)
        while self.dropped:
            self._forget(self.dropped.popleft())
        while self._all_up and self.waiting and not self.closed:
            if self.waiting[0].cancelled:
                self.waiting.popleft().fail(closed_error("iterator"))
                continue
            foreman = self._free_foreman(sum(map(len, self.waiting[0].message)))
            if foreman is None:
                return
            task = self.waiting.popleft()
            if task.expected and not task.slots and (slot := self.arena.allocate(task.expected + SLACK)) is not None:
                task.slots.append(slot)
            foreman.send(task)

    def handed_out(self, slot: Slot, packed: Packed) -> list[Any]:
        """Return the arrays of a result."""
        with self.lock:
            if self.closed:
                raise closed_error("WorkerProcessPool")
            return self.arena.hand_out(slot, packed.arrays)  # type: ignore[arg-type]

    def pids(self) -> tuple[int, ...]:
        """Return the process ids of the workers, once all are up."""
        with self.lock:
            self.up.wait_for(lambda: self.closed or self._broken or all(foreman.pid for foreman in self._foremen))
            return tuple(foreman.pid for foreman in self._foremen if foreman.pid is not None)

    def nursery(self) -> Nursery:
        """Return the process from which workers come; a new one if it has ended."""
        with self.lock:
            if self._nursery.gone and not self.closed:
                if self._start_method == "fork":
                    raise WorkerError(
                        "the process that starts workers has ended, and threads are alive that forbid a fork"
                    )
                self._nursery.close()
                self._nursery = Nursery(self._start_method, self.arena.descriptor, self._end_known)
            return self._nursery

    def end_of(self, pid: int) -> str:
        """Return how a worker ended."""
        return self._nursery.end_of(pid)

    def progress(self, number: int) -> tuple[int, int]:
        """Return how many tasks a worker has begun, and which batch of the last one."""
        begun, batch = self.arena.head()[2 * number : 2 * number + 2].tolist()
        return begun, batch

    def reset_progress(self, number: int) -> None:
        """Begin to count what a new worker begins."""
        self.arena.head()[2 * number : 2 * number + 2] = 0

    def give_up(self, error: WorkerError) -> None:
        """Fail all that waits: there will be no workers."""
        with self.lock:
            self._broken = error
            self._fail_all(lambda: error)
            self.up.notify_all()
        self.close()

    def close(self, quietly: bool = False) -> None:
        """End the workers, at once; those who wait get an error, or, if the program ends, nothing any more."""
        if os.getpid() != self._program:
            return
        with self.lock:
            if self.closed:
                return
            self.closed = True
            if not quietly:
                self._fail_all(lambda: closed_error("WorkerProcessPool"))
            self.up.notify_all()
        self._nursery.close()
        with self.lock:
            for foreman in self._foremen:
                foreman.hang_up()  # the worker may come from a nursery that was killed
        for foreman in self._foremen:
            if foreman.thread is not threading.current_thread():
                foreman.thread.join(FAREWELL)
            foreman.close()
        with self.lock:
            for _, file in self.sources.values():
                if file is not None:
                    os.close(file)
            self.sources.clear()
            self.arena.close()

    def _end_known(self, pid: int) -> None:
        """Take note that a worker has ended, even if a child of its own keeps its end of the connection open."""
        with self.lock:
            for foreman in self._foremen:
                if foreman.pid == pid:
                    foreman.hang_up()

    def _fail_all(self, error: Callable[[], Exception]) -> None:
        for tasks in (self.waiting, *(foreman.tasks for foreman in self._foremen)):
            for task in tasks:
                task.fail(error())
        self.waiting.clear()

    def _free_foreman(self, size: int) -> Foreman | None:
        """Return the next one in turn whose worker is idle; else one whose worker can be given one more."""
        count = len(self._foremen)
        in_turn = [self._foremen[(self._next + i) % count] for i in range(count)]
        for most in range(AT_ONCE if size <= SMALL else 1):
            for foreman in in_turn:
                if foreman.pid is not None and len(foreman.tasks) <= most:
                    self._next = (foreman.number + 1) % count
                    return foreman
        return None

    def _forget(self, source: int) -> None:
        _, file = self.sources.pop(source, (b"", None))
        if file is not None:
            os.close(file)
        for foreman in self._foremen:
            foreman.forget(source)


_ALL: weakref.WeakSet[Crew] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    """End all workers with the program."""
    for crew in list(_ALL):
        crew.close(quietly=True)
