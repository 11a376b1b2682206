"""A pool of workers on the nodes of a Ray cluster, for work that is more than one machine's."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from batchup._numbers import whole_number
from batchup.data_source.passes import Pass
from batchup.data_source.shard_files import Opener
from batchup.data_source.shards import ShardDataSource
from batchup.data_source.walk import WalkedDataSource
from batchup.errors import InvalidTypeError, InvalidValueError, SharedMemoryError
from batchup.work_pool.abstract import AbstractWorkerPool, Reader
from batchup.work_pool.cluster.dispatcher import Dispatcher
from batchup.work_pool.cluster.joining import join
from batchup.work_pool.cluster.shipping import Cargo, Shipped
from batchup.work_pool.cluster.tasks import Call, Chunk
from batchup.work_pool.pace import as_bytes, checked_seconds
from batchup.work_pool.passes import Headers
from batchup.work_pool.pickling import Pickler, sendable
from batchup.work_pool.tickets import Ticket, check_process

SHARE = 2  # of the object store, what results may take: one in so many bytes


class WorkerRayPool(AbstractWorkerPool):
    """A pool of processes on all nodes of a Ray cluster.

    It does what a `WorkerProcessPool` does, with the processors of many machines. Arrays in memory are sent to each
    node once; arrays in files that all nodes see are read there. Batches come back through Ray's object store, and
    are handed out as they lie there. When a worker or a node is lost, what it was at is done again elsewhere, and
    batches that lay there are made again: the order and the bytes stay the same.

    Several pools of a program share its connection to the cluster. The last one ends the connection that the first
    one made; a connection that was there before (``ray.init()``) stays.

    Parameters
    ----------
    processes : int or None, default None
        The number of workers, of which each takes one processor of the cluster; None is as many as it has.
    address : str or None, default None
        The cluster to join: ``'auto'`` is the one that this machine belongs to, ``'host:port'`` any other. None is
        the one that this program is in already, or that the variable RAY_ADDRESS names; or else a cluster is
        started on this machine, for this program alone, which no other can reach.
    max_restarts : int, default 3
        How often a task may kill the process that is at it, and be done again: batches that were read together once
        more, to know which of them does it. Losses of nodes do not count.
    timeout : float, optional
        Seconds after which a task counts as stuck: whoever waits for it gets an error that shows where it is, and
        the process is replaced.
    memory : int or str, default '1GiB'
        How many bytes of batches may lie in the object store of this node, made ahead or still held; at most half
        of it. Batches that are held beyond that are copied.

    Raises
    ------
    MissingExtraError
        If Ray is not installed (``pip install "batchup[ray]"``).
    TypeError, ValueError
        If an argument is of another kind, or the program is in another cluster already.
    WorkerError
        If no cluster answers within 30 s, or none can be started; when work is given to the pool, if no worker
        comes up, or the versions of Python or batchup on the nodes are others than here.

    Notes
    -----
    Arrays of a source in memory are read-only for the workers, who share them. Functions and classes of the main
    program are sent by value; modules must be installed on the nodes, or lie where this program finds them.

    Examples
    --------
    ::

        ds = ArrayDataSource([train_X, train_y]).map(augment)
        with WorkerRayPool(address="auto") as pool:
            par_ds = pool.parallel_data_source(ds, batch_buffer_size="512MiB")
            for epoch in range(10):
                for batch_X, batch_y in par_ds.batch_iterator(64, shuffle=1234, epoch=epoch):
                    ...
    """

    def __init__(
        self,
        processes: int | None = None,
        address: str | None = None,
        *,
        max_restarts: int = 3,
        timeout: float | None = None,
        memory: int | str = "1GiB",
    ) -> None:
        super().__init__(processes)
        self.address = address
        self.max_restarts = whole_number(max_restarts, "max_restarts")
        self.timeout = checked_seconds(timeout)
        self.memory = memory
        budget = as_bytes(memory, "memory")
        cluster = join(address, self.processes)
        try:
            if processes is None:
                self.processes = cluster.cpus()
            budget = min(budget, cluster.store_bytes() // SHARE)
            self._dispatcher = Dispatcher(cluster, self.processes, self.max_restarts, self.timeout, budget)
        except BaseException:
            cluster.leave()
            raise
        self._end = weakref.finalize(self, self._dispatcher.dismiss)
        self._end.atexit = False  # the program's end has its own way

    @property
    def closed(self) -> bool:
        return self._dispatcher.closed

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the workers, each on its node, once all are up."""
        return tuple(about["pid"] for about in self._dispatcher.people())

    @property
    def nodes(self) -> tuple[str, ...]:
        """Ray's ids of the nodes that the workers are on, worker by worker, once all are up."""
        return tuple(about["node"] for about in self._dispatcher.people())

    def shards(self, pattern: str, *, open: Opener | None = None) -> ShardDataSource:  # noqa: A002
        """Return the data source of all files on any node that fit a pattern; each is read where it lies.

        Parameters
        ----------
        pattern : str
            As for `glob.glob`; ``~`` and variables such as ``$SCRATCH`` are those of each node.
        open : callable, optional
            As for `ShardDataSource`.

        Returns
        -------
        ShardDataSource
            Of the files sorted as texts are. A file that several nodes have is one, and any of them reads it.

        Raises
        ------
        TypeError, ValueError
            If no file fits, two nodes have files of one name but other lengths, or an argument is of another kind.
        FileFormatError
            If a file cannot be read.
        """
        if not isinstance(pattern, str):
            raise InvalidTypeError(f"pattern must be a str, got {type(pattern).__name__}")
        answers = self._dispatcher.ask("find", pattern, sendable(open, Pickler, "open"))
        lengths: dict[str, int] = {}
        for found in answers.values():
            for path, length in found.items():
                if lengths.setdefault(path, length) != length:
                    raise InvalidValueError(
                        f"{path} is a file of {length} samples on one node, and of {lengths[path]} on another"
                    )
        if not lengths:
            raise InvalidValueError(f"no file fits {pattern!r} on any of the {len(answers)} nodes that have workers")
        paths = sorted(lengths)
        return ShardDataSource(paths, lengths=[lengths[path] for path in paths], open=open)

    def close(self) -> None:
        self._end.detach()
        self._dispatcher.close()

    def _call(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> Ticket:
        check_process(self._dispatcher.program)
        pickled = sendable((fn, args), Pickler, "task")
        return self._dispatcher.submit(Call(pickled, self._dispatcher.ledger, self._dispatcher.hurry))

    def _check_open(self) -> None:
        self._dispatcher.check_open()

    def _reader(self, source: WalkedDataSource) -> Reader:
        return _RayReader(self._dispatcher, source)


class _RayReader(Reader):
    """Reads the chunks of a source on the nodes of a cluster."""

    goal = 50e-3

    def __init__(self, dispatcher: Dispatcher, source: WalkedDataSource) -> None:
        self._lengths = source._column_lengths()
        self._dispatcher = dispatcher
        self._source = source
        shipped, self._mapped = _shipped(source, dispatcher)
        self._number = dispatcher.tell(shipped, (*self._mapped, *source._all_files()))
        self._headers = Headers(self._number)
        weakref.finalize(self, dispatcher.drop, self._number).atexit = False

    def begin(self, chunk: Any, walk: Pass, expected_bytes: int) -> Ticket:
        self._dispatcher.check_open()
        task = Chunk(self._headers.of(walk), chunk, self._dispatcher.ledger, self._dispatcher.hurry)
        task.source, task.expected = self._number, expected_bytes
        task.files = (*self._mapped, *self._source._files(chunk))
        return self._dispatcher.submit(task)

    def column_lengths(self) -> tuple[int, ...]:
        return self._lengths


def _shipped(source: WalkedDataSource, dispatcher: Dispatcher) -> tuple[Any, tuple[str, ...]]:
    """Put a source into the object store; return a reference, and the files that workers must see."""
    import ray

    cargo = Cargo(source, dispatcher.unseen)
    if cargo.bytes > dispatcher.room:
        raise SharedMemoryError(
            f"the arrays of the source take {cargo.bytes:,} bytes, and the object store of a node has "
            f"{dispatcher.room:,}: start the nodes with a larger object_store_memory, or put the arrays into files "
            "that all nodes see"
        )
    try:
        arrays = [ray.put(np.ascontiguousarray(array).reshape(-1).view(np.uint8)) for array in cargo.arrays]
        return ray.put(Shipped(cargo.pickled, arrays)), cargo.files
    except (ray.exceptions.ObjectStoreFullError, ray.exceptions.OutOfDiskError) as error:
        raise SharedMemoryError(
            f"there is no room for the {cargo.bytes:,} bytes of the source in the object store, which has "
            f"{dispatcher.room:,}: {error}"
        ) from error
