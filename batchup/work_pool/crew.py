"""The workers of a pool of processes, seen from the main program: who gets which task, and what they all share."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from time import monotonic
from typing import Any

from batchup.errors import WorkerError
from batchup.work_pool.abstract import closed_error
from batchup.work_pool.arena import Arena
from batchup.work_pool.foreman import Foreman
from batchup.work_pool.nursery import Nursery
from batchup.work_pool.tasks import Task
from batchup.work_pool.tickets import check_process
from batchup.work_pool.worker import PROGRESS

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
        self.arena = Arena(memory, head=PROGRESS * count)
        self._progress = self.arena.head()[: PROGRESS // 8 * count].reshape(count, PROGRESS // 8)
        self.waiting: deque[Task] = deque()
        self._unsettled: set[Task] = set()  # wherever they are
        self.sources: dict[int, tuple[bytes, int | None]] = {}
        self.dropped: deque[int] = deque()
        self._program = os.getpid()
        self._sources_told = 0
        self._all_up = False
        self._next = 0
        self._broken: WorkerError | None = None
        self._start_method = start_method
        self._bell: SimpleQueue[bool] = SimpleQueue()
        self._foremen: list[Foreman] = []
        self._dealer = threading.Thread(target=self._deal, name="batchup dealer", daemon=True)
        self._nursery = Nursery(start_method, self.arena.descriptor, self._end_known)
        _ALL.add(self)
        try:
            self._foremen += [Foreman(self, number) for number in range(count)]
            for foreman in self._foremen:
                foreman.thread.start()
            self._dealer.start()
        except BaseException:
            self.close()
            raise

    def submit(self, task: Task) -> Task:
        """Have a task done.

        It is left for the dealer: signals may interrupt the main thread anywhere, and must not do so in the middle
        of a message to a worker.
        """
        check_process(self._program)
        self.check_open()
        self._unsettled.add(task)
        self.waiting.append(task)
        self.ring()
        if self.closed:
            task.fail(closed_error("WorkerProcessPool"))
        return task

    def check_open(self) -> None:
        """Raise if there is nobody who would do a task."""
        if self._broken is not None:
            raise self._broken
        if self.closed:
            raise closed_error("WorkerProcessPool")

    def settle(self, task: Task, result: Any = None, error: BaseException | None = None) -> None:
        """Hand over the result of a task, or what went wrong."""
        self._unsettled.discard(task)
        if error is None:
            task.succeed(result)
        else:
            task.fail(error)

    def ring(self) -> None:
        """Have the dealer look whether there is something to deal."""
        self._bell.put(True)

    def tell(self, pickled: bytes, file: int | None) -> int:
        """Make a source known; return its number."""
        with self.lock:
            if self.closed and file is not None:
                os.close(file)
            self.check_open()
            self._sources_told += 1
            self.sources[self._sources_told] = pickled, file
            return self._sources_told

    def drop(self, source: int) -> None:
        """Take note that nobody needs a source any more; may be called at any moment, by a finalizer."""
        self.dropped.append(source)
        self.ring()

    def tidy(self) -> None:
        """Let go of the sources that nobody has any more."""
        check_process(self._program)
        while self.dropped:
            with contextlib.suppress(IndexError):
                self._forget(self.dropped.popleft())

    def _deal(self) -> None:
        """Whenever the bell rings, give tasks to workers, in turn, as far as they have time for them."""
        try:
            while self._bell.get():
                self.tidy()
                while (dealt := self._next_dealt()) is not None:
                    foreman, task = dealt
                    foreman.send(task)
        except BaseException as error:  # noqa: BLE001  whoever waits must hear of it, whatever it is
            self.give_up(WorkerError(f"tasks cannot be dealt any more: {error!r}"))

    def _next_dealt(self) -> tuple[Foreman, Task] | None:
        """Put the next task on the list of the worker that is to do it."""
        with self.lock:
            self._all_up = self._all_up or all(foreman.pid is not None for foreman in self._foremen)
            while self._all_up and self.waiting and not self.closed:
                task = self.waiting.popleft()
                if task.cancelled or (task.source is not None and task.source not in self.sources):
                    self.settle(task, error=closed_error("iterator"))
                    continue
                foreman = self._free_foreman(sum(map(len, task.message)))
                if foreman is None:
                    self.waiting.appendleft(task)
                    return None
                if task.expected and not task.slots:
                    slot = self.arena.allocate(task.expected + SLACK)
                    task.slots += [] if slot is None else [slot]
                if not foreman.tasks:
                    foreman.since = monotonic()
                foreman.tasks.append(task)
                return foreman, task
            return None

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
                    raise WorkerError("the process that workers are forked from has ended")
                self._nursery.close()
                self._nursery = Nursery(self._start_method, self.arena.descriptor, self._end_known)
            return self._nursery

    def end_of(self, pid: int) -> str:
        """Return how a worker ended."""
        return self._nursery.end_of(pid)

    def progress(self, number: int) -> list[int]:
        """Return how many tasks a worker has begun, which batch of the last one, and whether it unpacks a source."""
        begun: list[int] = self._progress[number, :3].tolist()
        return begun

    def reset_progress(self, number: int) -> None:
        """Begin to count what a new worker begins."""
        self._progress[number] = 0

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
        self._bell.put(False)
        for foreman in self._foremen:
            foreman.hang_up()  # the worker may come from a nursery that was killed
        for foreman in self._foremen:
            if foreman.thread.is_alive() and foreman.thread is not threading.current_thread():
                foreman.thread.join(FAREWELL)
            foreman.close()
        if self._dealer.is_alive() and self._dealer is not threading.current_thread():
            self._dealer.join(FAREWELL)
        with self.lock:
            for _, file in self.sources.values():
                if file is not None:
                    os.close(file)
            self.sources.clear()
            del self._progress
            self.arena.close()

    def _end_known(self, pid: int) -> None:
        """Take note that a worker has ended, even if a child of its own keeps its end of the connection open."""
        for foreman in self._foremen:
            if foreman.pid == pid:
                foreman.hang_up()

    def _fail_all(self, error: Callable[[], Exception]) -> None:
        for task in list(self._unsettled):
            self.settle(task, error=error())
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
        with self.lock:
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
