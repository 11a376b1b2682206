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
from multiprocessing.reduction import send_handle
from time import monotonic
from typing import TYPE_CHECKING, Any

from batchup.errors import WorkerError, WorkerTimeoutError
from batchup.work_pool.packing import carried_over
from batchup.work_pool.tasks import Task
from batchup.work_pool.worker import SHOW_STACK

if TYPE_CHECKING:
    from batchup.work_pool.crew import Crew

TRIES = 10  # times that a worker may end before it has done anything
UP = 120.0  # seconds that a worker may take to come up
STACK = 1.0  # seconds that it may take to show its stack


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
        """End the connection, and so the worker, if it has not ended yet. With the crew's lock held."""
        if self.pid is None:
            return
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
            except Exception as error:  # noqa: BLE001  whoever waits must hear of it, whatever it is
                crew.give_up(WorkerError(f"a worker cannot be looked after any more: {error!r}"))

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
        while wait([self._stack], STACK if not shown else 0.05):
            shown += os.read(self._stack, 65536)
        return shown.decode(errors="replace") or "(it does not say where)"

    def _bury(self) -> None:
        """Take note of a worker's end: what it was at is to be done again, unless that was what killed it."""
        crew = self._crew
        with crew.lock:  # others send by it, and must not by whatever has its descriptor next
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
                self._failures = 0 if blamed else self._failures
                if blamed and tasks[0].deaths > crew.max_restarts:
                    task = tasks.popleft()
                    error = WorkerError(f"the task killed its worker {_times(task.deaths)}: {end}")
                    error.batch = batch
                    task.fail(error)
                    task.give_back()
            crew.waiting.extendleft(reversed(tasks))
        if self._failures > TRIES:
            raise WorkerError(f"worker processes end before they have done anything: {end or 'they do not come up'}")


def _times(count: int) -> str:
    return "once" if count == 1 else "twice" if count == 2 else f"{count} times"
