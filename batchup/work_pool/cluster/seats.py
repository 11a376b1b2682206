"""The places for workers on a cluster: which one is there, what it knows, what it is at."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from time import monotonic
from typing import Any

from batchup.work_pool.cluster.tasks import Task
from batchup.work_pool.cluster.worker import Worker

SIDE = "side"  # the thread of a worker that answers while another one is at a task


@cache
def _actor() -> Any:
    """Return the worker as Ray's: a lost one is replaced here, and what it was at is done again from here."""
    import ray

    return ray.remote(max_restarts=0, max_task_retries=0, concurrency_groups={SIDE: 1})(Worker)


class Seat:
    """A place for a worker: when it is lost, another one takes it, on whatever node there is room.

    Attributes
    ----------
    number, turn : int
        Which seat, and which worker on it.
    about : dict or None
        What the worker says of itself, once it is up.
    tasks : deque of Task
        What it was given: the first is in work.
    since : float
        When it began with that.
    asked : int
        Questions that it has not answered yet.
    learning : int
        Sources that it was sent, and has not unpacked yet.
    failures : int
        Workers in a row that did not come up.
    """

    def __init__(self, number: int, cpus: int, tell: Callable[..., None]) -> None:
        self.number = number
        self.turn = 0
        self.about: dict[str, Any] | None = None
        self.tasks: deque[Task] = deque()
        self.since = 0.0
        self.asked = self.learning = 0
        self.failures = 0
        self._known: set[int] = set()  # sources that it was sent
        self._cpus = cpus
        self._tell = tell
        self._actor: Any = None

    @property
    def node(self) -> str:
        """Id of the node that the worker is on."""
        return "" if self.about is None else str(self.about["node"])

    def fill(self) -> None:
        """Have a worker started."""
        self.turn += 1
        self._actor = _actor().options(num_cpus=self._cpus, scheduling_strategy="SPREAD").remote(sys.path)
        self._watch("up", self._actor.about.options(concurrency_group=SIDE).remote())

    def begin(self, task: Task, room: int, shipped: Any) -> None:
        """Give the worker a task, and the source that belongs to it, if that is new there."""
        if not self.tasks:
            self.since = monotonic()
        self.tasks.append(task)
        if task.source is not None and task.source not in self._known:
            self._known.add(task.source)
            self.learning += 1
            self._watch("learned", self._actor.learn.remote(task.source, shipped))
        self._watch("done", self._actor.do.remote(task.kind, room, *task.arguments()), task)

    def ask(self, question: str, arguments: tuple[Any, ...], inquiry: Any = None) -> None:
        """Have a method of the worker answer a question."""
        self.asked += 1
        answer = getattr(self._actor, question).options(concurrency_group=SIDE).remote(*arguments)
        self._watch("asked", answer, arguments, inquiry)

    def forget(self, source: int) -> None:
        """Tell the worker that a source is not needed any more."""
        if source in self._known:
            self._known.discard(source)
            self._actor.forget.remote(source)

    def stack(self, seconds: float) -> str:
        """Return where the worker is, if it says so within some seconds."""
        import ray

        with suppress(ray.exceptions.RayError):
            return str(ray.get(self._actor.stack.options(concurrency_group=SIDE).remote(), timeout=seconds))
        return "(it does not say where)"

    def clear(self) -> deque[Task]:
        """End the worker; return what it had to do."""
        import ray

        if self._actor is not None:
            self._actor._ray_weak_ref = True  # whoever frees it need not tell Ray, which may be going down then
            if ray.is_initialized():
                with suppress(Exception):  # whatever Ray says of one that has gone
                    ray.kill(self._actor)
        self._actor = self.about = None
        self.turn += 1
        self.asked = self.learning = 0
        self._known.clear()
        tasks, self.tasks = self.tasks, deque()
        return tasks

    def _watch(self, what: str, reference: Any, *about: Any) -> None:
        """Have it told what comes of a call."""
        turn = self.turn
        reference.future().add_done_callback(lambda future: self._tell("answer", what, self, turn, future, *about))
