"""Looks after one worker process: starts it, talks to it, makes good its death."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import threading
from collections import deque
from multiprocessing.connection import Connection, Pipe, wait
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from batchup.errors import WorkerError, WorkerTimeoutError
from batchup.work_pool.descriptors import send_descriptor
from batchup.work_pool.packing import carried_over
from batchup.work_pool.tasks import Task
from batchup.work_pool.worker import SHOW_STACK

if TYPE_CHECKING:
    from batchup.work_pool.crew import Crew

TRIES = 10  # times that a worker may end before it has come up
UP = 120.0  # seconds that a worker may take to come up
STACK = 1.0  # seconds that it may take to show its stack
PATIENCE = 1.0  # seconds that a message may take to go out before its worker is given up


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
        self._learning = 0  # sources that it was told of, and has not unpacked yet
        self._connection: Connection | None = None
        self._sending = threading.Lock()  # messages go out whole, and to the worker that they are meant for
        self._stack, self._stack_in = os.pipe()
        self.thread = threading.Thread(target=self._oversee, name=f"batchup worker {number}", daemon=True)

    def send(self, task: Task) -> None:
        """Give the worker a task that is on its list; by the crew's dealer alone."""
        with self._sending:
            if not any(mine is task for mine in self.tasks):
                return  # the worker has died meanwhile, and the task waits for another one
            with contextlib.suppress(OSError):  # a death is noticed where messages are received
                if task.source is not None and task.source not in self._known:
                    self._introduce(task.source)
                slot = task.slots[-1] if task.slots else None
                self._post((task.message[0], slot, *task.message[1:]))

    def forget(self, source: int) -> None:
        """Tell the worker that a source is not needed any more."""
        with self._sending, contextlib.suppress(OSError):
            if source in self._known:
                self._known.discard(source)
                self._post(("drop", source))

    def hang_up(self) -> None:
        """End the connection, and so the worker, if it has not ended yet."""
        if self._sending.acquire(timeout=PATIENCE):
            try:
                with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self._line().fileno())) as line:
                    line.shutdown(socket.SHUT_RDWR)
            finally:
                self._sending.release()

    def close(self) -> None:
        """Let go of the worker."""
        for descriptor in (self._stack, self._stack_in):
            os.close(descriptor)

    def _introduce(self, source: int) -> None:
        pickled, file = self._crew.sources[source]
        self._post(("source", source, pickled, file is not None))
        if file is not None:
            send_descriptor(self._line(), file)
        self._known.add(source)
        self._learning += 1

    def _post(self, message: Any) -> None:
        self._line().send_bytes(pickle.dumps(message, 5))

    def _line(self) -> Connection:
        if self._connection is None:
            raise OSError("there is no worker")
        return self._connection

    def _oversee(self) -> None:
        crew = self._crew
        while not crew.closed:
            try:
                try:
                    self._bring_up()
                    while True:
                        self._take_in(self._received())
                except (EOFError, OSError):
                    self._bury()
                if self._failures > 1:
                    sleep(min(0.01 * 2**self._failures, 0.25))
            except BaseException as error:  # noqa: BLE001  whoever waits must hear of it, whatever it is
                crew.give_up(error if isinstance(error, WorkerError) else WorkerError(f"workers are lost: {error!r}"))

    def _bring_up(self) -> None:
        """Start a worker, and wait until it is there."""
        with self._sending:
            self._connection, theirs = Pipe()
            self._known.clear()
        self._done = self._learning = 0
        self._crew.reset_progress(self.number)
        with contextlib.closing(theirs):
            self._crew.nursery().start(theirs.fileno(), self._stack_in, self.number)
        if not self._connection.poll(UP):
            raise WorkerError(f"a worker process did not come up within {UP:g} s")
        _, pid = pickle.loads(self._connection.recv_bytes())
        self._failures = 0
        with self._crew.lock:
            self.pid = pid
            self._crew.up.notify_all()
        self._crew.ring()

    def _received(self) -> Any:
        while (timeout := self._crew.timeout) is not None:
            timeout += UP if self._learning else 0  # modules are loaded then
            late = timeout - (monotonic() - self.since) if self.tasks else timeout
            if self._line().poll(max(0.0, late)):
                break
            if self.tasks and monotonic() - self.since >= timeout:
                self._end_stuck(timeout)
        return pickle.loads(self._line().recv_bytes())

    def _take_in(self, message: Any) -> None:
        crew, (kind, *content) = self._crew, message
        if kind == "need":
            self._grant(content[0])
            return
        if kind == "ready":
            self._learning -= 1
            self.since = monotonic()
            return
        with crew.lock:
            task = self.tasks.popleft()
            self.since = monotonic()
            self._failures = 0
            self._done += 1
            if kind == "done" and content[0].in_slot:
                arrays = crew.arena.hand_out(task.slots.pop(), content[0].arrays)
                content[0] = content[0]._replace(arrays=arrays)
            while task.slots:
                crew.arena.free(task.slots.pop())
        crew.ring()
        if kind == "done":
            crew.settle(task, tuple(content))
        else:
            crew.settle(task, error=carried_over(*content))

    def _grant(self, size: int) -> None:
        """Tell the worker where it may write its result, which did not fit where it was to go."""
        with self._crew.lock:
            task = self.tasks[0]
            slot = None if task.cancelled else self._crew.arena.allocate(size)
            if slot is not None:
                task.slots.append(slot)
        with self._sending:
            self._post(("slot", slot))

    def _end_stuck(self, timeout: float) -> None:
        """Fail the task that takes too long, and end the worker, which cannot be brought back to reason."""
        crew = self._crew
        stack = self._shown_stack()
        with crew.lock:
            stuck = self.tasks.popleft()
            crew.waiting.extendleft(reversed(self.tasks))
            self.tasks.clear()
        assert self.pid is not None
        with contextlib.suppress(OSError):
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(EOFError, OSError):
            while True:  # until it is gone, and writes to no memory any more
                self._line().recv_bytes()
        error = WorkerTimeoutError(f"a task took longer than timeout={timeout:g} s; its worker was at\n{stack}")
        crew.settle(stuck, error=error)
        self._release(stuck)
        self._failures = -1  # this end was our doing
        raise EOFError

    def _release(self, task: Task) -> None:
        with self._crew.lock:
            while task.slots and not self._crew.closed:
                self._crew.arena.free(task.slots.pop())

    def _shown_stack(self) -> str:
        assert self.pid is not None
        with contextlib.suppress(OSError):
            os.kill(self.pid, SHOW_STACK)
        shown = b""
        while wait([self._stack], STACK if not shown else 0.05):
            shown += os.read(self._stack, 65536)
        return shown.decode(errors="replace") or "(it does not say where)"

    def _bury(self) -> None:
        """Take note of a worker's end: what it was at is to be done again, unless that was what killed it."""
        crew = self._crew
        with self._sending:  # others send by it, and must not by whatever has its descriptor next
            if self._connection is not None:
                self._connection.close()
                self._connection = None
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
                begun, batch, unpacking = crew.progress(self.number)
                blamed = begun > self._done or unpacking > 0  # that was for the first task
                tasks[0].deaths += blamed
                if blamed and tasks[0].deaths > crew.max_restarts:
                    task = tasks.popleft()
                    error = WorkerError(f"the task killed its worker {_times(task.deaths)}: {end}")
                    error.batch = batch
                    crew.settle(task, error=error)
                    self._release(task)
            crew.waiting.extendleft(reversed(tasks))
        crew.ring()
        if self._failures > TRIES:
            raise WorkerError("worker processes end before they have come up; their own messages tell why")


def _times(count: int) -> str:
    return "once" if count == 1 else "twice" if count == 2 else f"{count} times"
