"""A pool of threads, for work that releases Python's lock: decoding, reading, NumPy."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import traceback
import weakref
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from time import monotonic
from typing import Any

from batchup.data_source.batches import arrays
from batchup.data_source.passes import Pass
from batchup.data_source.walk import WalkedDataSource
from batchup.errors import WorkerTimeoutError
from batchup.work_pool.abstract import AbstractWorkerPool, Reader, closed_error
from batchup.work_pool.chunks import read
from batchup.work_pool.pace import TRIALS, Pace, checked_seconds
from batchup.work_pool.tickets import Ticket, check_process

WORTH = 75e-6  # seconds that a batch takes at least, to be worth handing to another thread and back
SURELY_WORTH = 4 * WORTH  # what takes so long is, however much of that other threads are to blame for
COPIED_HERE = 2 * 2**20  # bytes of a batch that is copied in less than that, or not much more
COPIED_AHEAD = 2  # batches that are mere copies of memory, read ahead: few, for they share the memory's speed
FAREWELL = 1.0  # seconds that threads have to end their work when the program ends


class WorkerThreadPool(AbstractWorkerPool):
    """A pool of threads.

    Threads share the program's memory: nothing is copied or pickled, and any function will do. They work at the
    same time only while Python's lock is released, which NumPy, decoders of images and readers of files do.
    Batches that are too quick to be worth the hand-over are made by whoever asks for them.

    Parameters
    ----------
    processes : int or None, default 1
        The number of threads; None is the number of cores that this process may use.
    timeout : float, optional
        Seconds after which a task counts as stuck: whoever waits for it gets an error that shows where it is, and
        another thread takes over. The stuck one cannot be ended.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind.

    Examples
    --------
    >>> import numpy as np
    >>> from batchup import ArrayDataSource
    >>> ds = ArrayDataSource([np.arange(5)])
    >>> with WorkerThreadPool(processes=2) as pool:
    ...     for (batch,) in pool.parallel_data_source(ds, batch_buffer_size=32).batch_iterator(2, shuffle=7):
    ...         print(batch)
    [1 2]
    [3 4]
    [0]
    """

    def __init__(self, processes: int | None = 1, *, timeout: float | None = None) -> None:
        super().__init__(processes)
        self.timeout = checked_seconds(timeout)
        self._threads = _Threads(self.processes, self.timeout)
        self._end = weakref.finalize(self, self._threads.close)
        self._end.atexit = False  # those of the program's last moments are ended by `_end_all`

    @property
    def closed(self) -> bool:
        return self._threads.closed

    def close(self) -> None:
        self._end()

    def _call(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> Ticket:
        return self._threads.submit(partial(fn, *args))

    def _reader(self, source: WalkedDataSource) -> Reader:
        return _ThreadReader(self._threads, source)


class _ThreadReader(Reader):
    """Reads the chunks of a source in threads."""

    goal = 500e-6

    def __init__(self, threads: _Threads, source: WalkedDataSource) -> None:
        self._threads = threads
        self._source = source

    def begin(self, chunk: Any, walk: Pass, expected_bytes: int) -> Ticket:
        return self._threads.submit(partial(_read, self._source, chunk, walk))

    def column_lengths(self) -> tuple[int, ...]:
        return self._source._column_lengths()

    def worth(self, there: Pace, here: Pace) -> bool:
        if self._threads.includes_this():
            return False  # it would wait for itself
        if not there.known or there.computing >= SURELY_WORTH:
            return True
        # in a thread it may wait for the lock of Python, or of memory, and be quick here: that is tried
        return here.seconds >= (WORTH if TRIALS <= here.batches < 2 * TRIALS else SURELY_WORTH)

    def look_ahead(self, batches: int, bytes_to_copy: int | None) -> int:
        if bytes_to_copy is None:
            return batches
        return 0 if bytes_to_copy <= COPIED_HERE else min(batches, COPIED_AHEAD)


def _read(source: WalkedDataSource, chunk: Any, walk: Pass) -> Any:
    batches, figures = read(source, chunk, walk)
    return batches, figures, sum(getattr(array, "nbytes", 0) for batch in batches for array in arrays(batch))


class _Task(Ticket):
    """A function to be called by a thread."""

    __slots__ = ("_threads", "_work", "began")

    def __init__(self, threads: _Threads, work: Callable[[], Any]) -> None:
        super().__init__()
        self._threads = threads
        self._work: Callable[[], Any] | None = work
        self.began: float | None = None

    def run(self) -> None:
        """Call the function."""
        work, self._work = self._work, None
        if work is None or self.cancelled:
            return
        self.began = monotonic()
        try:
            self.succeed(work())
        except BaseException as error:  # noqa: BLE001  it is raised where the result is asked for
            self.fail(error)
        finally:
            self.began = None

    def wait(self, seconds: float = -1) -> bool:
        timeout = self._threads.timeout
        if timeout is None:
            return super().wait(seconds)
        if seconds >= 0:
            self._threads.give_up_stuck()
            return super().wait(seconds)
        while not super().wait(timeout / 4):
            self._threads.give_up_stuck()
        return True


class _Threads:
    """The threads of a pool, and the tasks that wait for them."""

    def __init__(self, count: int, timeout: float | None) -> None:
        self.timeout = timeout
        self.closed = False
        self._process = os.getpid()
        self._exiting = False
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._at_work: dict[threading.Thread, _Task | None] = {}
        self._lock = threading.Lock()
        for _ in range(count):
            self._start()
        _ALL.add(self)

    def submit(self, work: Callable[[], Any]) -> Ticket:
        """Have a function called by the next thread that is free."""
        check_process(self._process)
        task = _Task(self, work)
        with self._lock:
            if self.closed:
                raise closed_error("WorkerThreadPool")
            self._tasks.put(task)
        return task

    def includes_this(self) -> bool:
        """Return whether this thread is one of them."""
        return threading.current_thread() in self._at_work

    def close(self) -> None:
        """End the threads as soon as they have ended what they are at."""
        if self.closed or os.getpid() != self._process:
            return
        with self._lock:
            self.closed = True
            for _ in range(len(self._at_work)):
                self._tasks.put(None)

    def end(self, deadline: float) -> None:
        """End with the program; wait until the threads have ended, up to a moment."""
        if os.getpid() != self._process:
            return
        self._exiting = True
        self.close()
        for thread in list(self._at_work):
            thread.join(max(0.0, deadline - monotonic()))

    def give_up_stuck(self) -> None:
        """Fail the tasks that took too long, and put other threads in the place of theirs."""
        assert self.timeout is not None
        with self._lock:
            for thread, task in list(self._at_work.items()):
                began = None if task is None else task.began
                if task is None or began is None or monotonic() - began < self.timeout:
                    continue
                del self._at_work[thread]  # it ends when it comes back, if ever
                stack = "".join(traceback.format_stack(sys._current_frames().get(thread.ident or 0)))
                task.fail(
                    WorkerTimeoutError(f"a task took longer than timeout={self.timeout:g} s; its thread is at\n{stack}")
                )
                self._start()

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name="batchup worker", daemon=True)
        self._at_work[thread] = None
        thread.start()

    def _work(self) -> None:
        me = threading.current_thread()
        while (task := self._tasks.get()) is not None:
            if self.closed:
                if not self._exiting:  # then those who wait end with the program
                    task.fail(closed_error("WorkerThreadPool"))
                continue
            self._at_work[me] = task
            task.run()
            del task
            with self._lock:
                if me not in self._at_work:
                    return  # given up as stuck; another thread has taken over
                self._at_work[me] = None
        self._at_work.pop(me, None)


_ALL: weakref.WeakSet[_Threads] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    """End all threads with the program, whatever they are at."""
    deadline = monotonic() + FAREWELL
    for threads in list(_ALL):
        threads.end(deadline)
