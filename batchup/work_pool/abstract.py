"""The contract of a worker pool."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from batchup._numbers import whole_number
from batchup._repr import Represented
from batchup.data_source.passes import Pass
from batchup.data_source.walk import WalkedDataSource
from batchup.errors import StateError
from batchup.work_pool.pace import Pace
from batchup.work_pool.tickets import Ticket
from batchup.work_pool.work_stream import WorkStream

if TYPE_CHECKING:
    from batchup.work_pool.parallel import ParallelDataSource

Self = TypeVar("Self", bound="AbstractWorkerPool")


class Reader(ABC):
    """A pool's hold on one data source: it has the chunks of passes read.

    Attributes
    ----------
    goal : float
        Seconds of work that are worth handing to a worker at once.
    """

    goal: float

    @abstractmethod
    def begin(self, chunk: Any, walk: Pass, expected_bytes: int) -> Ticket:
        """Have a chunk read; the result is ``(batches, figures, bytes)``.

        Parameters
        ----------
        chunk
            What to read.
        walk : Pass
            The pass that it belongs to.
        expected_bytes : int
            How large the batches of the chunk probably are in all; 0 if that is not known.
        """

    @abstractmethod
    def column_lengths(self) -> tuple[int, ...]:
        """Return the number of samples in each column, as the workers see them."""

    def worth(self, there: Pace, here: Pace) -> bool:
        """Return whether batches are worth handing to a worker, by what they take there, and here."""
        return True

    def look_ahead(self, batches: int, bytes_to_copy: int | None) -> int:
        """Return how many batches to begin ahead, of so many that may be; 0 if workers are of no use.

        Parameters
        ----------
        batches : int
            How many the user allows.
        bytes_to_copy : int or None
            How large a batch is, if making it is a mere copy of memory.
        """
        return batches


class AbstractWorkerPool(Represented, ABC):
    """Workers that do tasks, and make the batches of data sources, ahead of need.

    A pool starts once, and may then serve any number of iterators at a time. It is a context manager; `close` ends
    its workers, as does dropping it, or the end of the program, however that comes.

    Parameters
    ----------
    processes : int or None, default 1
        The number of workers; None is the number of cores that this process may use.
    """

    def __init__(self, processes: int | None = 1) -> None:
        self.processes = cores() if processes is None else whole_number(processes, "processes", 1)

    @abstractmethod
    def close(self) -> None:
        """End the workers. What they have not done yet is given up; who waits for it gets an error."""

    @property
    @abstractmethod
    def closed(self) -> bool:
        """Whether the pool was closed."""

    @abstractmethod
    def _call(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> Ticket:
        """Have a function called."""

    @abstractmethod
    def _reader(self, source: WalkedDataSource) -> Reader:
        """Make a source known to the workers."""

    def work_stream(
        self, task_generator: Iterable[tuple[Callable[..., Any], tuple[Any, ...]]], task_buffer_size: int = 20
    ) -> WorkStream:
        """Have tasks done, some ahead of need, and return their results in the order of the tasks.

        Parameters
        ----------
        task_generator : iterable of tuple (fn, args)
            The tasks: ``fn(*args)`` is called by a worker. It is asked for tasks by whoever asks for results.
        task_buffer_size : int, default 20
            How many tasks may be done ahead of need; as many are begun at once.

        Returns
        -------
        WorkStream
            Its ``retrieve()`` returns the next result, None at the end; ``retrieve_iter()`` iterates.

        Raises
        ------
        TypeError, ValueError
            If an argument is of another kind, or the pool was closed.

        Examples
        --------
        >>> from batchup.work_pool import WorkerThreadPool
        >>> with WorkerThreadPool(2) as pool:
        ...     stream = pool.work_stream((pow, (2, n)) for n in range(5))
        ...     print(stream.retrieve(), list(stream.retrieve_iter()))
        1 [2, 4, 8, 16]
        """
        self._check_open()
        return WorkStream(self._call, task_generator, task_buffer_size)

    def parallel_data_source(self, ds: Any, batch_buffer_size: int | str = 20) -> ParallelDataSource:
        """Return a source that hands out the batches of `ds`, which the workers make ahead of need.

        The batches, and their order, are those of `ds`; so are its states, shards, tails and policies for errors.

        Parameters
        ----------
        ds : RandomAccessDataSource, or a composite, choice, mix or map of such sources
            The source. Processes get a copy of it as it is now: arrays in memory are copied to shared memory once,
            for all workers; arrays in mapped files are (on Linux) mapped by each.
        batch_buffer_size : int or str, default 20
            How many batches may be made ahead of need, or, as text, how many bytes of them (``'512MiB'``).

        Returns
        -------
        ParallelDataSource

        Raises
        ------
        TypeError
            If `ds` is no data source, or not random access, or holds something that cannot be sent to processes
            (which is named).
        ValueError
            If the pool was closed.
        MemoryError
            If there is no room for the copy.

        Examples
        --------
        >>> import numpy as np
        >>> from batchup import ArrayDataSource
        >>> from batchup.work_pool import WorkerThreadPool
        >>> ds = ArrayDataSource([np.arange(5)])
        >>> with WorkerThreadPool(2) as pool:
        ...     for (batch,) in pool.parallel_data_source(ds).batch_iterator(2, shuffle=7):
        ...         print(batch)
        [1 2]
        [3 4]
        [0]
        """
        from batchup.work_pool.parallel import ParallelDataSource

        self._check_open()
        return ParallelDataSource(ds, self, batch_buffer_size)

    def _check_open(self) -> None:
        if self.closed:
            raise closed_error(self)

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def closed_error(pool: object) -> StateError:
    """Return the error for work given to a pool that was closed."""
    name = pool if isinstance(pool, str) else type(pool).__name__
    return StateError(f"the {name} was closed; make a new one")


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
