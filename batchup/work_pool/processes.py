"""A pool of processes, for work that holds Python's lock, or that threads must not share."""

from __future__ import annotations

import os
import pickle
import weakref
from collections.abc import Callable
from typing import Any

from batchup._numbers import whole_number
from batchup.data_source.passes import Pass
from batchup.data_source.walk import WalkedDataSource
from batchup.errors import UnsupportedError
from batchup.work_pool.abstract import AbstractWorkerPool, Reader
from batchup.work_pool.crew import Crew
from batchup.work_pool.nursery import check_start_method
from batchup.work_pool.pace import as_bytes, checked_seconds
from batchup.work_pool.passes import Headers
from batchup.work_pool.pickling import Pickler, pickled_source, sendable
from batchup.work_pool.tasks import Call, Chunk
from batchup.work_pool.tickets import Ticket


class WorkerProcessPool(AbstractWorkerPool):
    """A pool of processes.

    Processes share nothing: what they work on is sent to them, once. Batches come back through shared memory, and
    are handed out as they lie there. A process that dies is replaced, and what it was at is done again; nothing is
    left of the pool when the program ends, however it ends.

    Functions, lambdas and classes of the main program are sent by value, which needs cloudpickle (``pip install
    "batchup[process]"``); the main program is not imported again by the workers, and needs no guard for that.

    Parameters
    ----------
    processes : int or None, default 1
        The number of processes; None is the number of cores that this process may use.
    start_method : {'forkserver', 'spawn', 'fork'}, default 'forkserver'
        Where they come from: forked from a fresh interpreter that has loaded batchup; fresh interpreters; or forked
        from a copy of this program as it is now, which must have no other threads then.
    max_restarts : int, default 3
        How often a task may kill the process that is at it, and be done again.
    timeout : float, optional
        Seconds after which a task counts as stuck: whoever waits for it gets an error that shows where it is, and
        the process is replaced.
    memory : int or str, default '1GiB'
        How many bytes of batches may lie in shared memory, made ahead or still held; beyond that they are copied.
        It is taken as it is needed.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind, or `start_method` is ``'fork'`` and there are other threads.
    WorkerError
        When work is given to it, if the processes cannot be started.

    Examples
    --------
    >>> import numpy as np
    >>> from batchup import ArrayDataSource
    >>> ds = ArrayDataSource([np.arange(5)]).map(lambda x: (x * 10,))
    >>> with WorkerProcessPool(processes=2) as pool:
    ...     for (batch,) in pool.parallel_data_source(ds, batch_buffer_size=32).batch_iterator(2, shuffle=7):
    ...         print(batch)
    [10 20]
    [30 40]
    [0]
    """

    def __init__(
        self,
        processes: int | None = 1,
        *,
        start_method: str = "forkserver",
        max_restarts: int = 3,
        timeout: float | None = None,
        memory: int | str = "1GiB",
    ) -> None:
        super().__init__(processes)
        self.start_method = start_method
        self.max_restarts = whole_number(max_restarts, "max_restarts")
        self.timeout = checked_seconds(timeout)
        self.memory = memory
        if os.name != "posix":
            raise UnsupportedError("WorkerProcessPool needs a POSIX system (Linux, macOS); use WorkerThreadPool here")
        budget = as_bytes(memory, "memory")
        check_start_method(start_method)
        self._crew = Crew(self.processes, start_method, self.max_restarts, self.timeout, budget)
        self._end = weakref.finalize(self, self._crew.close)
        self._end.atexit = False  # the program's end has its own way

    @property
    def closed(self) -> bool:
        return self._crew.closed

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the workers, once all are up."""
        return self._crew.pids()

    def close(self) -> None:
        self._end()

    def _call(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> Ticket:
        return self._crew.submit(Call(("call", sendable((fn, args), Pickler, "task"))))

    def _check_open(self) -> None:
        self._crew.check_open()

    def _reader(self, source: WalkedDataSource) -> Reader:
        return _ProcessReader(self._crew, source)


class _ProcessReader(Reader):
    """Reads the chunks of a source in processes."""

    goal = 2e-3

    def __init__(self, crew: Crew, source: WalkedDataSource) -> None:
        crew.tidy()  # what is not needed any more makes room
        self._lengths = source._column_lengths()
        self._crew = crew
        self._number = crew.tell(*pickled_source(source))
        self._headers = Headers(self._number)
        weakref.finalize(self, crew.drop, self._number).atexit = False

    def begin(self, chunk: Any, walk: Pass, expected_bytes: int) -> Ticket:
        header = self._headers.of(walk)
        return self._crew.submit(Chunk(("read", header, pickle.dumps(chunk, 5)), self._number, expected_bytes))

    def column_lengths(self) -> tuple[int, ...]:
        return self._lengths
