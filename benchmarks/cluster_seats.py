"""What it takes a pool's driver to keep the books of more workers than there are: stand-ins sit in the seats."""

from __future__ import annotations

import pathlib
import time
from collections import deque
from concurrent.futures import Future
from typing import Any, ClassVar
from unittest.mock import patch

from batchup.work_pool.cluster import dispatcher as dispatching
from batchup.work_pool.cluster.dispatcher import Dispatcher
from batchup.work_pool.cluster.seats import Seat
from batchup.work_pool.cluster.tasks import Task
from batchup.work_pool.cluster.views import Reply
from batchup.work_pool.cluster.worker import versions

PER_NODE = 16
LEAST = 3  # tasks, however long they take
WAITING = 64  # of the tasks that wait, those among which the dispatcher looks


class NoCluster:
    """Stands for a cluster."""

    local = True

    def connected(self) -> bool:
        """Return that all is well."""
        return True

    def store_bytes(self) -> int:
        return 10**9

    def has_node(self, node: str) -> bool:
        return True

    def described(self) -> str:
        return "none"

    def leave(self) -> None:
        pass


class StandIn(Seat):
    """A seat whose worker is up at once, and ends a task when it is told to."""

    begun: ClassVar[deque[tuple[StandIn, Task]]] = deque()

    def fill(self) -> None:
        self.turn += 1
        about = {"node": f"{self.number // PER_NODE}", "host": "here", "pid": 0, "versions": versions()}
        self._tell("answer", "up", self, self.turn, _done(about))

    def begin(self, task: Task, room: int, shipped: Any) -> None:
        self.tasks.append(task)
        self.begun.append((self, task))

    def clear(self) -> deque[Task]:
        return self.tasks


def bookkeeping(seats: int, waiting: int, seconds: float) -> float:
    """Measure what the dispatcher's thread takes to note that a task is done, and deal the next one.

    Parameters
    ----------
    seats : int
        Number of workers, which have two tasks each.
    waiting : int
        Number of tasks beyond those.
    seconds : float
        How long to measure.

    Returns
    -------
    float
        Seconds of the processor.
    """
    StandIn.begun.clear()
    with patch.object(dispatching, "Seat", StandIn):
        dispatcher = Dispatcher(NoCluster(), seats, 0, None, 10**9)  # type: ignore[arg-type]
    try:
        dispatcher.people()
        for _ in range(dispatching.AT_ONCE * seats + waiting):
            _submit(dispatcher)
        _until_begun(dispatching.AT_ONCE * seats)
        return _measured(dispatcher, seconds)
    finally:
        dispatcher.close()


def _measured(dispatcher: Dispatcher, seconds: float) -> float:
    _until_all_noted(dispatcher)
    done, end = 0, time.monotonic() + seconds
    begin = _processor_time(dispatcher)
    while time.monotonic() < end or done < LEAST:
        seat, task = StandIn.begun.popleft()
        left = len(StandIn.begun)
        dispatcher._tell("answer", "done", seat, seat.turn, _done(Reply(b"")), task)
        _submit(dispatcher)
        _until_begun(left + 1)
        done += 1
    _until_all_noted(dispatcher)
    return (_processor_time(dispatcher) - begin) / done


def _submit(dispatcher: Dispatcher) -> None:
    dispatcher.submit(Task("call", dispatcher.ledger, dispatcher.hurry))


def _until_begun(count: int) -> None:
    while len(StandIn.begun) < count:
        time.sleep(1e-4)


def _until_all_noted(dispatcher: Dispatcher) -> None:
    while dispatcher._events.qsize():
        time.sleep(1e-3)


def _processor_time(dispatcher: Dispatcher) -> float:
    """Return the seconds that the dispatcher's thread has had the processor (Linux alone tells)."""
    status = pathlib.Path(f"/proc/self/task/{dispatcher._thread.native_id}/schedstat")
    return int(status.read_text().split()[0]) / 1e9


def _done(result: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(result)
    return future
