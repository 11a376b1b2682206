"""The workers of a pool of processes, seen from the main program: tasks are dealt, deaths are made good."""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import select
import signal
import socket
import threading
import weakref
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe
from multiprocessing.reduction import send_handle
from time import monotonic
from typing import Any

from batchup.errors import WorkerError, WorkerTimeoutError
from batchup.work_pool.abstract import closed_error
from batchup.work_pool.arena import Arena, Slot
from batchup.work_pool.nursery import Nursery
from batchup.work_pool.packing import Packed, carried_over, unpack
from batchup.work_pool.tickets import Ticket, check_process
from batchup.work_pool.worker import SHOW_STACK

AT_ONCE = 2  # tasks that a worker has: one in work, and one so that it need not wait for the next
SMALL = 32 * 1024  # bytes of a task that may be sent to a worker that is busy
TRIES = 10  # times that a worker may end before it has done anything
UP = 120.0  # seconds that a worker may take to come up
STACK = 1.0  # seconds that it may take to show its stack


class Task(Ticket):
    """Something that a worker process is to do.

    Parameters
    ----------
    crew : Crew
        Who does it.
    message : tuple
        What the worker is told: a kind, and bytes.
    source : int, optional
        Number of the source that it must know.
    expected : int
        How large the result probably is, in bytes; 0 if that is not known.
    """

    __slots__ = ("_crew", "deaths", "expected", "message", "slots", "source")

    def __init__(self, crew: Crew, message: tuple[Any, ...], source: int | None = None, expected: int = 0) -> None:
        super().__init__()
        self._crew = crew
        self.message = message
        self.source = source
        self.expected = expected
        self.deaths = 0
        self.slots: list[Slot] = []

    def result(self) -> Any:
        """Wait for the result; return ``(value, figures, bytes)``."""
        packed, figures = super().result()
        arrays = self._crew.handed_out(self.slots.pop(), packed) if self.slots else packed.arrays
        return unpack(packed, arrays), figures, packed.bytes

    def cancel(self) -> None:
        super().cancel()
        if self.wait(0):
            self.give_back()

    def give_back(self) -> None:
        """Return the slots to the arena, in its own time: this may be called from anywhere."""
        with contextlib.suppress(IndexError):  # others may do so at the same time
            while True:
                self._crew.returned.append(self.slots.pop())

    def __del__(self) -> None:
        self.give_back()


class Call(Task):
    """A function that a worker process is to call."""

    __slots__ = ()

    def result(self) -> Any:
        value, _, _ = super().result()
        return value


class Foreman:
    """Looks after one worker: starts it, takes what it sends, starts another one when it dies."""

    def __init__(self, crew: Crew, number: int) -> None:
        self.number = number
        self.pid: int | None = None
        self.tasks: deque[Task] = deque()
        self.since = 0.0
        self._crew = crew
        self._known: set[int] = set()
        self._failures = 0
        self._done = 0
        self._connection: Connection
        self._stack, self._stack_in = os.pipe()
        self.thread = threading.Thread(target=self._oversee, name=f"batchup worker {number}", daemon=True)

    def send(self, task: Task) -> None:
        """Give the worker a task. With the crew's lock held."""
        if not self.tasks:
            self.since = monotonic()
        self.tasks.append(task)
        with contextlib.suppress(OSError):  # a death is noticed where messages are received
            if task.source is not None and task.source not in self._known:
                self._introduce(task.source)
            slot = task.slots[-1] if task.slots else None
            self._connection.send_bytes(pickle.dumps((task.message[0], slot, *task.message[1:]), 5))

    def forget(self, source: int) -> None:
        """Tell the worker that a source is not needed any more. With the crew's lock held."""
        if source in self._known:
            self._known.discard(source)
            with contextlib.suppress(OSError):
                self._connection.send_bytes(pickle.dumps(("drop", source)))

    def hang_up(self) -> None:
        """End the connection to a worker that has ended. With the crew's lock held."""
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self._connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the worker."""
        for descriptor in (self._stack, self._stack_in):
            os.close(descriptor)

    def _introduce(self, source: int) -> None:
        pickled, file = self._crew.sources[source]
        self._connection.send_bytes(pickle.dumps(("source", source, pickled, file is not None), 5))
        if file is not None:
            send_handle(self._connection, file, None)
        self._known.add(source)

    def _oversee(self) -> None:
        crew = self._crew
        while not crew.closed:
            try:
                self._bring_up()
                while True:
                    self._take_in(self._received())
            except (EOFError, OSError):
                self._bury()
            except WorkerError as error:
                crew.give_up(error)

    def _bring_up(self) -> None:
        """Start a worker, and wait until it is there."""
        self._connection, theirs = Pipe()
        self._done = 0
        self._crew.reset_progress(self.number)
        with contextlib.closing(theirs):
            self._crew.nursery().start(theirs.fileno(), self._stack_in, self.number)
        if not self._connection.poll(UP):
            raise WorkerError(f"a worker process did not come up within {UP:g} s")
        _, pid = pickle.loads(self._connection.recv_bytes())
        with self._crew.lock:
            self._known.clear()
            self.pid = pid
            self._crew.deal()
            self._crew.up.notify_all()

    def _received(self) -> Any:
        timeout = self._crew.timeout
        while timeout is not None:
            late = timeout - (monotonic() - self.since) if self.tasks else timeout
            if self._connection.poll(max(0.0, late)):
                break
            if self.tasks and monotonic() - self.since >= timeout:
                self._end_stuck(timeout)
        return pickle.loads(self._connection.recv_bytes())

    def _take_in(self, message: Any) -> None:
        crew, (kind, *content) = self._crew, message
        with crew.lock:
            task = self.tasks[0]
            if kind == "need":
                slot = None if task.cancelled else crew.arena.allocate(content[0])
                if slot is not None:
                    task.slots.append(slot)
                self._connection.send_bytes(pickle.dumps(("slot", slot), 5))
                return
            self.tasks.popleft()
            self.since = monotonic()
            self._failures = 0
            self._done += 1
            in_arena = kind == "done" and bool(content[0].arrays) and not isinstance(content[0].arrays[0], bytearray)
            kept = task.slots.pop() if in_arena else None
            while task.slots:
                crew.arena.free(task.slots.pop())
            if kept is not None:
                task.slots.append(kept)
            crew.deal()
        if kind == "done":
            task.succeed(tuple(content))
        else:
            task.fail(carried_over(*content))
        if task.cancelled:
            task.give_back()

    def _end_stuck(self, timeout: float) -> None:
        """Fail the task that takes too long, and end the worker, which cannot be brought back to reason."""
        crew = self._crew
        stack = self._shown_stack()
        with crew.lock:
            stuck = self.tasks.popleft()
            crew.waiting.extendleft(reversed(self.tasks))
            self.tasks.clear()
        with contextlib.suppress(OSError):
            os.kill(self.pid or 0, signal.SIGKILL)
        with contextlib.suppress(EOFError, OSError):
            while True:  # until it is gone, and writes to no memory any more
                self._connection.recv_bytes()
        stuck.fail(WorkerTimeoutError(f"a task took longer than timeout={timeout:g} s; its worker was at\n{stack}"))
        stuck.give_back()
        raise EOFError

    def _shown_stack(self) -> str:
        with contextlib.suppress(OSError):
            os.kill(self.pid or 0, SHOW_STACK)
        shown = b""
        while select.select([self._stack], [], [], STACK if not shown else 0.05)[0]:
            shown += os.read(self._stack, 65536)
        return shown.decode(errors="replace") or "(it does not say where)"

    def _bury(self) -> None:
        """Take note of a worker's end: what it was at is to be done again, unless that was what killed it."""
        crew = self._crew
        self._connection.close()
        pid, end = self.pid, ""
        if pid is not None and not crew.closed:
            end = crew.end_of(pid)
        with crew.lock:
            self.pid = None
            self._failures += 1
            if crew.closed:
                return
            tasks, self.tasks = self.tasks, deque()
            if tasks:
                begun, batch = crew.progress(self.number)
                blamed = begun > self._done
                tasks[0].deaths += blamed
                self._failures = 0
                if blamed and tasks[0].deaths > crew.max_restarts:
                    task = tasks.popleft()
                    error = WorkerError(f"the task killed its worker {_times(task.deaths)}: {end}")
                    error.batch = batch
                    task.fail(error)
                    task.give_back()
            crew.waiting.extendleft(reversed(tasks))
        if self._failures > TRIES:
            raise WorkerError(f"worker processes end before they have done anything: {end or 'they do not come up'}")


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
            if self.closed:
                raise closed_error("WorkerProcessPool")
            if self._broken is not None:
                raise self._broken
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
            if task.expected and not task.slots and (slot := self.arena.allocate(task.expected)) is not None:
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
            if self._nursery.gone and not self.closed and self._start_method != "fork":
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
        for foreman in self._foremen:
            if foreman.thread is not threading.current_thread():
                foreman.thread.join(STACK)
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


def _times(count: int) -> str:
    return "once" if count == 1 else "twice" if count == 2 else f"{count} times"


_ALL: weakref.WeakSet[Crew] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    """End all workers with the program."""
    for crew in list(_ALL):
        crew.close(quietly=True)
