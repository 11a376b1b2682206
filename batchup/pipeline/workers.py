"""Where the functions of a pipeline are called: threads, processes, an executor; results in the order of the items."""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice
from queue import Empty, SimpleQueue
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from batchup._numbers import whole_number
from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.pipeline.stage import noted
from batchup.pipeline.steps import Places, Step, passed_through
from batchup.work_pool import AbstractWorkerPool, WorkerProcessPool, WorkerThreadPool
from batchup.work_pool.packing import carried_over, portable
from batchup.work_pool.pickling import Pickler, sendable
from batchup.work_pool.tickets import ATTENTIVE, Ticket

if TYPE_CHECKING:
    from batchup.pipeline.stage import Run

GOAL = 20e-3  # seconds of work that are handed to a worker at once
MOST = 1024  # items in a task
NEWS = 0.2  # how much the latest task counts in what an item takes
PER_WORKER = 2  # tasks begun ahead, beside those that are done


@dataclass(frozen=True)
class Where:
    """Which workers call functions.

    Attributes
    ----------
    threads, processes : int
        How many; one of them is 0.
    executor : AbstractWorkerPool, concurrent.futures.Executor or None
        The workers of the user's, which outlive a pass.
    ordered : bool
        Whether results come in the order of the items.
    buffer_size : int or None
        How many items may be begun ahead of need, at most.
    """

    threads: int = 0
    processes: int = 0
    executor: Any = None
    ordered: bool = True
    buffer_size: int | None = None

    @property
    def anywhere(self) -> bool:
        """Whether there are workers at all."""
        return bool(self.threads or self.processes or self.executor is not None)

    @property
    def workers(self) -> int:
        """How many there are."""
        own = getattr(self.executor, "processes", None) or getattr(self.executor, "_max_workers", None)
        return self.threads or self.processes or int(own or 1)

    def pool(self) -> Any:
        """Return the workers."""
        if self.executor is not None:
            return self.executor
        return WorkerThreadPool(self.threads) if self.threads else WorkerProcessPool(self.processes)

    def leave(self, pool: Any) -> None:
        """End the workers, unless they are the user's."""
        if self.executor is None:
            pool.close()

    def __str__(self) -> str:
        kind = "threads" if self.threads else "processes"
        name = type(self.executor).__name__ if self.executor is not None else f"{self.workers} {kind}"
        return name if self.ordered else f"{name}, in any order"


def checked_where(
    *,
    num_threads: int | None = None,
    num_processes: int | None = None,
    executor: Any = None,
    ordered: bool = True,
    buffer_size: int | None = None,
) -> Where | None:
    """Return which workers a verb asks for; None: those of the stage before.

    Raises
    ------
    TypeError, ValueError
        If it asks for several kinds, or for none in a way that needs some.
    """
    given = {"num_threads": num_threads, "num_processes": num_processes, "executor": executor}
    asked = [name for name, value in given.items() if value is not None]
    if len(asked) > 1:
        raise InvalidValueError(f"a function is called in one place: give {' or '.join(asked)}, not both")
    if not asked:
        if not ordered or buffer_size is not None:
            raise InvalidValueError(
                "ordered= and buffer_size= are about workers: give num_threads, num_processes or executor, too"
            )
        return None
    if buffer_size is not None:
        buffer_size = whole_number(buffer_size, "buffer_size", 1)
    if executor is not None and not isinstance(executor, AbstractWorkerPool) and not hasattr(executor, "submit"):
        raise InvalidTypeError(
            f"executor must be a worker pool or an executor of concurrent.futures, got {type(executor).__name__}"
        )
    return Where(
        whole_number(num_threads, "num_threads") if num_threads is not None else 0,
        whole_number(num_processes, "num_processes") if num_processes is not None else 0,
        executor,
        bool(ordered),
        buffer_size,
    )


class Done(NamedTuple):
    """What a worker has made of some items, up to the first that failed.

    Attributes
    ----------
    results : list of list
        What became of each item.
    seconds : float
        How long it took.
    error : exception, or what `portable` makes of one, or None
        What went wrong with the next one.
    """

    results: list[list[Any]]
    seconds: float
    error: Any

    def check(self) -> None:
        """Raise what went wrong, if anything did."""
        if self.error is not None:
            raise carried_over(*self.error) if isinstance(self.error, tuple) else self.error


class Job:
    """Some steps as they are sent to workers: pickled once, and unpickled once by each."""

    def __init__(self, steps: tuple[Step, ...], sent: bool = False) -> None:
        self.steps = steps
        self._sent = sent
        self._pickled: bytes | None = None

    def __call__(self, items: Sequence[Any], places: Sequence[int]) -> Done:
        """Do the steps with some items."""
        begin = perf_counter()
        results: list[list[Any]] = []
        failed: Any = None
        for place, item in zip(places, items, strict=True):
            counting = Places(place)
            try:
                results.append(list(passed_through(counting.counted((item,)), self.steps, counting)))
            except BaseException as error:  # noqa: BLE001  it is raised when its turn comes
                failed = portable(error) if self._sent else error
                break
        return Done(results, perf_counter() - begin, failed)

    def __reduce__(self) -> Any:
        if self._pickled is None:
            self._pickled = sendable(self.steps, Pickler, "the function")
        return _job, (self._pickled,)


@lru_cache(maxsize=16)
def _job(pickled: bytes) -> Job:
    return Job(pickle.loads(pickled), sent=True)


def worked(
    items: Iterator[Any],
    steps: tuple[Step, ...],
    places: Iterator[int],
    where: Where,
    run: Run,
    count: int | None = None,
) -> Iterator[Any]:
    """Yield the items that steps make, which workers do ahead of need; `places` are those of the items.

    Items are handed over some at a time, so many that it takes about `GOAL`; at the end of a known `count` fewer, so
    that no worker waits for another one.
    """
    crew = _Crew(run.pool(where), Job(steps), where, items, places, count)
    try:
        tasks = crew.in_order() if where.ordered else crew.as_they_come()
        for results in tasks:
            for result in results:
                yield from result
    finally:
        crew.cancel()


class _Task:
    """Some items that a worker is at."""

    def __init__(self, items: list[Any], places: list[int], ticket: Any) -> None:
        self.items, self.places, self.ticket = items, places, ticket


class _Crew:
    """Hands items to workers, and takes their results."""

    def __init__(
        self,
        pool: Any,
        job: Job,
        where: Where,
        items: Iterator[Any],
        places: Iterator[int],
        count: int | None,
    ) -> None:
        self._submit: Callable[..., Any] = (
            (lambda *args: pool._call(job, args))
            if isinstance(pool, AbstractWorkerPool)
            else (lambda *args: pool.submit(job, *args))
        )
        self._items, self._places = items, places
        self._workers = where.workers
        self._most = where.buffer_size
        self._left = count  # items that are not handed over yet, if that is known
        self._size = 1
        self._pace: float | None = None  # seconds that an item takes, about
        self._tasks: deque[_Task] = deque()
        self._end: BaseException | None = None
        self._over = False

    def in_order(self) -> Iterator[list[list[Any]]]:
        """Yield the results of tasks in the order of the items."""
        while self._fill():
            yield from self._results(self._tasks.popleft())
        self._finish()

    def as_they_come(self) -> Iterator[list[list[Any]]]:
        """Yield the results of tasks as soon as they are there."""
        done: SimpleQueue[_Task] = SimpleQueue()
        pending: set[_Task] = set()
        while self._fill():
            for task in self._tasks:
                if task not in pending:
                    pending.add(task)
                    told(task.ticket, partial(done.put, task))
            try:
                task = done.get(timeout=ATTENTIVE)
            except Empty:
                for task in pending:
                    if isinstance(task.ticket, Ticket):
                        task.ticket.wait(0)  # which finds out whether it is stuck
                continue
            if task in pending:  # it may be told twice
                pending.discard(task)
                self._tasks.remove(task)
                yield from self._results(task)
        self._finish()

    def cancel(self) -> None:
        """Give up what is not done yet."""
        while self._tasks:
            self._tasks.pop().ticket.cancel()

    def _fill(self) -> bool:
        """Hand over items until enough are begun; return whether any are."""
        while not self._over and len(self._tasks) < self._workers * (1 + PER_WORKER):
            size = self._size
            if self._left is not None:
                size = max(1, min(size, self._left // (2 * self._workers)))
            if self._most is not None:
                size = min(size, self._most - sum(len(task.items) for task in self._tasks))
                if size < 1:
                    break
            taken: list[Any] = []
            try:
                taken.extend(islice(self._items, size))  # keeps those before one that fails
                self._over = len(taken) < size
            except Exception as error:  # noqa: BLE001  it is raised when its turn comes
                self._over, self._end = True, error
            if taken:
                places = list(islice(self._places, len(taken)))
                self._left = None if self._left is None else self._left - len(taken)
                self._tasks.append(_Task(taken, places, self._submit(taken, places)))
        return bool(self._tasks)

    def _results(self, task: _Task) -> Iterator[list[list[Any]]]:
        """Yield the results of a task, and raise what went wrong behind them."""
        try:
            done: Done = task.ticket.result()
        except Exception as error:  # a worker died or is stuck: a function's own errors come below
            noted(error, f"items {task.places[0]} to {task.places[-1]}, given to a worker together")
            raise
        self._adapt(len(done.results), done.seconds)
        yield done.results
        done.check()

    def _adapt(self, done: int, seconds: float) -> None:
        """Choose how many items to hand over at a time."""
        if not done:
            return
        pace = max(seconds / done, 1e-9)
        self._pace = pace if self._pace is None else (1 - NEWS) * self._pace + NEWS * min(pace, 4 * self._pace)
        self._size = int(max(1, min(GOAL / self._pace, 2 * self._size, MOST)))

    def _finish(self) -> None:
        if self._end is not None:
            raise self._end


def told(ticket: Any, tell: Callable[[], None]) -> None:
    """Have a function called when the result of a ticket, or of a future, is there."""
    if hasattr(ticket, "add_done_callback"):
        ticket.add_done_callback(lambda _: tell())
    else:
        ticket.when_done(tell)
