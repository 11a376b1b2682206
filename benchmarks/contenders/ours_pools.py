"""The pools of this tree, with two workers."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from cold import in_fresh_process
from declared import Work
from metadata import Metadata
from processes import added, held_by, held_by_family
from records import Shot
from slices import Epoch
from sources import Array, RowsFile

from batchup import data_source, sampling, work_pool
from contenders import Closing, Trial, Ways

SEED = 7
WORKERS = 2


def plain(work: Work, rows: Any) -> Epoch:
    """`ArrayDataSource([X]).batch_iterator(B, shuffle=7, epoch=e)`, without a pool."""
    return _epochs(data_source.ArrayDataSource([rows]), work)


def threads(work: Work, rows: Any) -> Closing:
    """`WorkerThreadPool(2).parallel_data_source(ds).batch_iterator(B, shuffle=7, epoch=e)`."""
    return _pooled(work_pool.WorkerThreadPool(WORKERS), work, rows)


def processes(work: Work, rows: Any) -> Closing:
    """`WorkerProcessPool(2).parallel_data_source(ds).batch_iterator(B, shuffle=7, epoch=e)`."""
    return _pooled(work_pool.WorkerProcessPool(WORKERS), work, rows)


def _pooled(pool: Any, work: Work, rows: Any) -> Closing:
    source = pool.parallel_data_source(data_source.ArrayDataSource([rows]))
    return Closing(_epochs(source, work), pool.close)


def _epochs(source: Any, work: Work) -> Epoch:
    numbers = itertools.count()
    return lambda: iter(source.batch_iterator(batch_size=work.batch, shuffle=SEED, epoch=next(numbers)))


def stream(work: Work, rows: Array) -> Epoch:
    """`batch_iterator(B, shuffle=rng)`, without a pool, one RandomState going on through all epochs."""
    return _streamed(data_source.ArrayDataSource([rows]), work)


def stream_by_threads(work: Work, rows: Array) -> Closing:
    """`WorkerThreadPool(2).parallel_data_source(ds).batch_iterator(B, shuffle=rng)`, the same."""
    pool = work_pool.WorkerThreadPool(WORKERS)
    return Closing(_streamed(pool.parallel_data_source(data_source.ArrayDataSource([rows])), work), pool.close)


def _streamed(source: Any, work: Work) -> Epoch:
    rng = np.random.RandomState(1)
    return lambda: iter(source.batch_iterator(batch_size=work.batch, shuffle=rng))


def in_order(work: Work, rows: Array) -> Epoch:
    """`batch_iterator(B)`, without a pool: copies in order."""
    return _ordered(data_source.ArrayDataSource([rows]), work, copy=True)


def in_order_by_threads(work: Work, rows: Array) -> Closing:
    """`WorkerThreadPool(2).parallel_data_source(ds).batch_iterator(B)`: copies in order."""
    return _ordered_by_threads(work, rows, copy=True)


def views(work: Work, rows: Array) -> Epoch:
    """`batch_iterator(B, copy=False)`, without a pool: views in order."""
    return _ordered(data_source.ArrayDataSource([rows]), work, copy=False)


def views_by_threads(work: Work, rows: Array) -> Closing:
    """`WorkerThreadPool(2).parallel_data_source(ds).batch_iterator(B, copy=False)`: views in order."""
    return _ordered_by_threads(work, rows, copy=False)


def _ordered_by_threads(work: Work, rows: Array, *, copy: bool) -> Closing:
    pool = work_pool.WorkerThreadPool(WORKERS)
    source = pool.parallel_data_source(data_source.ArrayDataSource([rows]))
    return Closing(_ordered(source, work, copy=copy), pool.close)


def _ordered(source: Any, work: Work, *, copy: bool) -> Epoch:
    return lambda: iter(source.batch_iterator(batch_size=work.batch, copy=copy))


Started = tuple[Iterator[Any], Callable[[], object]]


def start_threads(work: Work, rows: Array) -> Started:
    """Start threads, and an epoch."""
    return _start(work_pool.WorkerThreadPool(WORKERS), work, rows)


def start_processes(work: Work, rows: Array) -> Started:
    """Start processes, and an epoch."""
    return _start(work_pool.WorkerProcessPool(WORKERS), work, rows)


def start_spawned(work: Work, rows: Array) -> Started:
    """Start processes by spawn, and an epoch."""
    return _start(work_pool.WorkerProcessPool(WORKERS, start_method="spawn"), work, rows)


def start_forked(work: Work, rows: Array) -> Started:
    """Start processes by fork, and an epoch."""
    return _start(work_pool.WorkerProcessPool(WORKERS, start_method="fork"), work, rows)


def _start(pool: Any, work: Work, rows: Array) -> Started:
    source = pool.parallel_data_source(data_source.ArrayDataSource([rows]))
    return iter(source.batch_iterator(batch_size=work.batch, shuffle=SEED)), pool.close


def cold_threads(work: Work, file: RowsFile) -> Trial:
    """`WorkerThreadPool(2)`, the source over `np.load(file, mmap_mode="r")`, a first batch, in a fresh process."""
    return in_fresh_process(work, file, start_threads)


def cold_processes(work: Work, file: RowsFile) -> Trial:
    """`WorkerProcessPool(2)`, the source over `np.load(file, mmap_mode="r")`, a first batch, in a fresh process."""
    return in_fresh_process(work, file, start_processes)


def cold_spawned(work: Work, file: RowsFile) -> Trial:
    """The same with `start_method="spawn"`."""
    return in_fresh_process(work, file, start_spawned)


def cold_forked(work: Work, file: RowsFile) -> Trial:
    """The same with `start_method="fork"`."""
    return in_fresh_process(work, file, start_forked)


def metadata(work: Work, _: Array) -> Trial:
    """`ArrayDataSource([memmap, y], sampler=WeightedSubsetSampler(w, indices))` by a `WorkerProcessPool(2)`."""

    def trial() -> Shot:
        return added(*(_held(Metadata(rows), work) for rows in (work.rows, work.batch)))

    return trial


def _held(given: Metadata, work: Work) -> Shot:
    with given:
        sampler = sampling.WeightedSubsetSampler(given.weights, given.indices)
        source = data_source.ArrayDataSource([given.samples, given.labels], sampler=sampler)
        next(source.batch_iterator(work.batch, shuffle=SEED))  # what the sampler makes once is no worker's
        gc.collect()
        before = held_by_family()
        with work_pool.WorkerProcessPool(WORKERS) as pool:
            batches = pool.parallel_data_source(source).batch_iterator(work.batch, shuffle=SEED)
            for batch in itertools.islice(batches, work.taken):
                del batch
            held = held_by(pool.pids, before)
            batches.close()
        return held


PLAIN = {"serial": plain}
POOLS = {"batchup, threads": threads, "batchup, processes": processes}
WAYS: Ways = {
    "decode": {**PLAIN, **POOLS},
    "transport": {**PLAIN, **POOLS},
    "again": {**PLAIN, **POOLS},
    "ahead": {
        "stream": stream,
        "stream, threads": stream_by_threads,
        "plan": plain,
        "plan, threads": threads,
    },
    "ahead_in_order": {
        "copies": in_order,
        "copies, threads": in_order_by_threads,
        "views": views,
        "views, threads": views_by_threads,
    },
    "cold": {
        "batchup, threads": cold_threads,
        "batchup, processes": cold_processes,
        "batchup, processes by spawn": cold_spawned,
        "batchup, processes by fork": cold_forked,
    },
    "metadata": {"batchup, processes": metadata},
}
