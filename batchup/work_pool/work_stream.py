"""A row of tasks done by a pool, whose results come in the order of the tasks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from batchup._numbers import whole_number
from batchup.errors import InvalidTypeError
from batchup.work_pool.tickets import Ticket


class WorkStream:
    """The results of tasks, in order; some tasks are done ahead of need. See `AbstractWorkerPool.work_stream`."""

    def __init__(
        self, submit: Callable[[Callable[..., Any], tuple[Any, ...]], Ticket], tasks: Iterable[Any], buffer_size: int
    ) -> None:
        if not hasattr(tasks, "__iter__"):
            raise InvalidTypeError(f"task_generator must give tasks (fn, args), got {type(tasks).__name__}")
        self._submit = submit
        self._size = whole_number(buffer_size, "task_buffer_size", 1)
        self._tasks = iter(tasks)
        self._tickets: deque[Ticket] = deque()
        self._end: Exception | None = None
        self._over = False
        self._fill(self._size)

    def retrieve(self) -> Any:
        """Return the next result, None at the end.

        Raises
        ------
        Exception
            What the task raised, or the generator of the tasks.
        """
        return next(self.retrieve_iter(), None)

    def retrieve_iter(self) -> Iterator[Any]:
        """Return an iterator over the results that are left; a result may be None."""
        while self._tickets or not self._over:
            self._fill(self._size)
            if not self._tickets:
                break
            self._fill(self._size + 1)
            self._tickets[0].wait()  # an interrupt loses nothing
            ticket = self._tickets.popleft()
            result = ticket.result()
            del ticket
            yield result
            del result  # what comes from a pool is memory to be used again
        if self._end is not None:
            end, self._end = self._end, None
            raise end

    def close(self) -> None:
        """Give up the tasks that are not done yet."""
        self._over = True
        while self._tickets:
            self._tickets.pop().cancel()

    def __del__(self) -> None:
        if hasattr(self, "_tickets"):
            self.close()

    def _fill(self, size: int) -> None:
        while not self._over and len(self._tickets) < size:
            try:
                task = next(self._tasks)
                self._tickets.append(self._submit(*_checked(task)))
            except StopIteration:
                self._over = True
            except Exception as error:  # noqa: BLE001  it is raised when its turn comes
                self._over, self._end = True, error


def _checked(task: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    if not isinstance(task, (tuple, list)) or len(task) != 2 or not callable(task[0]):
        raise InvalidTypeError(f"a task is a tuple (fn, args) of a callable and its arguments, got {task!r:.200}")
    if not isinstance(task[1], (tuple, list)):
        raise InvalidTypeError(f"the args of a task are a tuple, got {type(task[1]).__name__}")
    return task[0], tuple(task[1])
