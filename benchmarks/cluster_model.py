"""A Ray pool on paper: its driver, its workers and the driver's link, event by event, and the same in closed form."""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

AT_ONCE = 2  # tasks that a worker has
LOOKED_AT = 64  # tasks, of those that wait, that are looked at whenever a task is done
GOAL = 50e-3  # seconds of work that go together as one task
UNEVEN = 0.2  # how much longer or shorter than the mean a task may be


@dataclass(frozen=True)
class Costs:
    """What was measured, in seconds and bytes a second.

    Attributes
    ----------
    task, batch, byte : float
        The driver's processor time for a task among few workers, for a batch, and for a byte of results.
    between : float
        What lies between two tasks of a worker that has been given both.
    latency : float
        The way of a tiny task there and back.
    store : float
        Bytes a second that the object store takes.
    seats : tuple of int
        Numbers of workers for which the two that follow are known.
    books, waits : tuple of float
        What the books of so many workers take for each task, and how much more for each task that waits.
    """

    task: float
    batch: float
    byte: float
    between: float
    latency: float
    store: float
    seats: tuple[int, ...]
    books: tuple[float, ...]
    waits: tuple[float, ...]

    def per_task(self, workers: int, waiting: int = 0) -> float:
        """Return the driver's time for a task, while so many wait."""
        books = self._at(self.books, workers) - min(self.books)
        return self.task + books + self._at(self.waits, workers) * min(waiting, LOOKED_AT)

    def _at(self, known: tuple[float, ...], workers: int) -> float:
        """Return a cost for any number of workers: straight lines between those measured, and on beyond the last."""
        if workers <= self.seats[-1]:
            return float(np.interp(workers, self.seats, known))
        return known[-1] * workers / self.seats[-1]


@dataclass(frozen=True)
class Loss:
    """Nodes that are lost: one every so many seconds, noticed and replaced so many seconds later."""

    every: float
    noticed: float
    replaced: float


@dataclass(frozen=True)
class Setup:
    """One pool and its work.

    Attributes
    ----------
    workers, per_node : int
        How many, and how many of them on a node.
    work : float
        Seconds that a batch takes a worker.
    size : int
        Bytes of a batch.
    link : float
        Bytes a second that reach the node of the driver from the others.
    remote : float
        The share of the workers that are not on that node.
    ahead : int
        Batches that are made ahead of need.
    memory : float
        Bytes of results that may be on their way at once.
    index : float
        What it takes the driver more to draw the indices of a batch, for one rank of several.
    loss : Loss or None
        Whether nodes are lost.
    chunk : int or None
        How many batches go as one task; None is what the pool aims at.
    """

    workers: int
    per_node: int
    work: float
    size: int
    link: float
    remote: float
    ahead: int
    memory: float
    index: float = 0.0
    loss: Loss | None = None
    chunk: int | None = None

    @property
    def together(self) -> int:
        """How many batches go as one task."""
        return self.chunk or max(1, min(self.ahead // (AT_ONCE * self.workers), int(GOAL / self.work)))

    def driver(self, costs: Costs) -> float:
        """Return the driver's time for a task beside the books: of its batches, and of their bytes."""
        return self.together * (costs.batch + self.index + costs.byte * self.size)

    def made(self, costs: Costs) -> float:
        """Return the worker's time for a task: the work, and putting the result into the store."""
        return costs.between + self.together * (self.work + self.size / costs.store)


class Rates(NamedTuple):
    """Batches a second, and the shares of time for which the driver, its link and the workers are busy."""

    batches: float
    driver: float
    link: float
    workers: float


def closed_form(setup: Setup, costs: Costs) -> dict[str, float]:
    """Return how many batches a second the workers, the driver and its link could do, each if the others were free."""
    workers = setup.workers * setup.together / setup.made(costs)
    here = (1 - setup.remote) * workers  # what they make need not cross the link
    return {
        "workers": workers,
        "driver": setup.together / (costs.per_task(setup.workers) + setup.driver(costs)),
        "link": setup.link / setup.size + here if setup.remote else math.inf,
    }


@dataclass(eq=False)
class _Seat:
    number: int
    remote: bool
    tasks: list[_Task] = field(default_factory=list)
    free_at: float = 0.0
    turn: int = 0
    up: bool = True


@dataclass(eq=False)
class _Task:
    urgent: bool = False
    arrived: bool = False


class Simulation:
    """The pool at work: events in the order of their times, from a seed.

    The driver is one queue, and so is its link. A task is dealt to a worker that has nothing, else to one that has one;
    its result crosses the link, is noted by the driver, and taken when its turn has come. Then the next is begun.
    """

    def __init__(self, setup: Setup, costs: Costs, seed: int = 0) -> None:
        self._setup = setup
        self._costs = costs
        self._rng = random.Random(seed)
        self._now = 0.0
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._numbers = 0
        self._driver_free = self._link_free = 0.0
        self._busy = [0.0, 0.0, 0.0]  # driver, link, workers
        self._task_bytes = setup.together * setup.size
        self._made = setup.made(costs)
        self._take_cost = setup.driver(costs)
        self._half = costs.per_task(setup.workers) / 2
        self._per_waiting = costs.per_task(setup.workers, 1) - costs.per_task(setup.workers)
        self._crossing = round(setup.workers * setup.remote)
        self._seats = [_Seat(i, i >= setup.workers - self._crossing) for i in range(setup.workers)]
        self._idle = deque(self._seats)
        self._half_busy: deque[_Seat] = deque()
        self._waiting: deque[_Task] = deque()
        self._order: deque[_Task] = deque()  # begun and not taken yet
        self._room = max(1, setup.ahead // setup.together)
        self._coming = 0.0
        self._in_seats = 0
        self._up = setup.workers
        self._taking = False
        self.taken = 0

    def run(self, warm: float, until: float, by_time: bool = False) -> Rates:
        """Run until so many tasks are taken (or seconds are over), and tell what was done since the warm-up."""
        for _ in range(self._room):
            self._begin()
        if self._setup.loss is not None:
            self._at(self._now + self._setup.loss.every, self._lose)
        self._go(warm, by_time)
        began, taken, busy = self._now, self.taken, list(self._busy)
        self._go(until, by_time)
        passed = self._now - began
        driver, link, workers = ((b - a) / passed for a, b in zip(busy, self._busy, strict=True))
        rate = (self.taken - taken) * self._setup.together / passed
        return Rates(rate, min(1.0, driver), min(1.0, link), min(1.0, workers / self._setup.workers))

    def _go(self, until: float, by_time: bool) -> None:
        while (self._now if by_time else self.taken) < until:
            self._now, _, event, arguments = heapq.heappop(self._events)
            event(*arguments)

    def _at(self, time: float, event: Callable[..., None], *arguments: Any) -> None:
        self._numbers += 1
        heapq.heappush(self._events, (time, self._numbers, event, arguments))

    def _drive(self, cost: float, event: Callable[..., None], *arguments: Any) -> None:
        """Have the driver do something when it has come to that."""
        self._driver_free = max(self._now, self._driver_free) + cost
        self._busy[0] += cost
        self._at(self._driver_free, event, *arguments)

    def _begin(self) -> None:
        task = _Task()
        self._order.append(task)
        self._drive(self._half, self._submitted, task)

    def _submitted(self, task: _Task) -> None:
        self._waiting.append(task)
        self._deal()

    def _deal(self) -> None:
        """Give tasks to workers as far as these have time and there is room for the results."""
        while self._waiting and (seat := self._free_seat()) is not None:
            task = self._waiting[0]
            if not self._has_room() and not task.urgent:
                self._offer(seat)
                return
            self._waiting.popleft()
            self._coming += self._task_bytes
            seat.tasks.append(task)
            self._in_seats += 1
            self._offer(seat)
            took = self._made * self._rng.uniform(1 - UNEVEN, 1 + UNEVEN)
            start = max(self._now + self._costs.latency / 2, seat.free_at)
            seat.free_at = start + took
            self._busy[2] += took
            self._at(seat.free_at, self._ended, seat, seat.turn, task)

    def _has_room(self) -> bool:
        return not self._coming or self._coming + self._task_bytes <= self._setup.memory

    def _looked_at(self) -> int:
        """Return for how many tasks a worker is looked for in vain, once the one that has ended has got another."""
        full = self._in_seats >= AT_ONCE * self._up
        return min(len(self._waiting), LOOKED_AT) if full and self._has_room() else 0

    def _free_seat(self) -> _Seat | None:
        for seats, count in ((self._idle, 0), (self._half_busy, 1)):
            while seats:
                seat = seats.popleft()
                if seat.up and len(seat.tasks) == count:
                    return seat
        return None

    def _offer(self, seat: _Seat) -> None:
        if len(seat.tasks) < AT_ONCE:
            (self._half_busy if seat.tasks else self._idle).append(seat)

    def _ended(self, seat: _Seat, turn: int, task: _Task) -> None:
        """Send the result on its way."""
        if turn != seat.turn:
            return
        there = self._now
        if seat.remote and self._setup.link < math.inf:
            cost = self._task_bytes / self._setup.link
            there = self._link_free = max(self._now, self._link_free) + cost
            self._busy[1] += cost
        self._at(there + self._costs.latency / 2, self._arrived, seat, turn, task)

    def _arrived(self, seat: _Seat, turn: int, task: _Task) -> None:
        if turn == seat.turn:
            cost = self._half + self._per_waiting * self._looked_at()
            self._drive(cost, self._noted, seat, turn, task)

    def _noted(self, seat: _Seat, turn: int, task: _Task) -> None:
        if turn != seat.turn:
            return
        seat.tasks.remove(task)
        self._in_seats -= 1
        task.arrived = True
        self._offer(seat)
        self._deal()
        self._take()

    def _take(self) -> None:
        """Let the consumer take the next result, if it is there."""
        if self._taking or not self._order:
            return
        if self._order[0].arrived:
            self._taking = True
            self._drive(self._take_cost, self._took, self._order.popleft())
        elif not self._order[0].urgent:
            self._order[0].urgent = True
            self._deal()

    def _took(self, task: _Task) -> None:
        self._taking = False
        self.taken += 1
        self._coming -= self._task_bytes
        self._begin()
        self._take()

    def _lose(self) -> None:
        """Lose the node of a worker chosen by chance; the driver hears of it later."""
        loss, setup = self._setup.loss, self._setup
        assert loss is not None
        first = self._rng.randrange(setup.workers // setup.per_node) * setup.per_node
        lost = [seat for seat in self._seats[first : first + setup.per_node] if seat.up]
        for seat in lost:
            seat.up = False
            seat.turn += 1
        self._at(self._now + loss.noticed, self._noticed, lost)
        self._at(self._now + loss.replaced, self._replaced, lost)
        self._at(self._now + loss.every, self._lose)

    def _noticed(self, lost: list[_Seat]) -> None:
        self._up -= len(lost)
        for seat in lost:
            self._in_seats -= len(seat.tasks)
            self._waiting.extendleft(reversed(seat.tasks))
            self._coming -= self._task_bytes * len(seat.tasks)
            seat.tasks.clear()
        self._deal()

    def _replaced(self, lost: list[_Seat]) -> None:
        self._up += len(lost)
        for seat in lost:
            seat.up, seat.free_at = True, self._now
            self._offer(seat)
        self._deal()


def simulated(setup: Setup, costs: Costs, seed: int = 0) -> Rates:
    """Return what a pool does in its steady state, without losses."""
    begun = max(1, setup.ahead // setup.together)
    in_work = max(500, int(min(begun, setup.memory // (setup.together * setup.size))))
    warm = begun + 2 * in_work
    return Simulation(setup, costs, seed).run(warm, warm + 3 * in_work)


def with_losses(setup: Setup, costs: Costs, loss: Loss | None, seconds: float, seed: int = 0) -> Rates:
    """Return what a pool does in so many seconds, in which nodes are lost."""
    return Simulation(replace(setup, loss=loss), costs, seed).run(seconds / 20, seconds, by_time=True)
