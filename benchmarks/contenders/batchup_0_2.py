"""The published batchup 0.2, in an environment of its own."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from declared import Work
from jpegs import Jpegs
from slices import Epoch
from sources import Array, stand_in_model

from contenders import Closing, Ways

data_source: Any = importlib.import_module("batchup.data_source")
sampling: Any = importlib.import_module("batchup.sampling")

WORKERS = 2


def shuffled(work: Work, rows: Array) -> Epoch:
    """`ArrayDataSource([X]).batch_iterator(B, shuffle=rng)` of the release."""
    source = data_source.ArrayDataSource([rows])
    rng = np.random.RandomState(1)
    return lambda: iter(source.batch_iterator(batch_size=work.batch, shuffle=rng))


def in_order(work: Work, rows: Array) -> Epoch:
    """`ArrayDataSource([X]).batch_iterator(B)` of the release."""
    source = data_source.ArrayDataSource([rows])
    return lambda: iter(source.batch_iterator(batch_size=work.batch))


def weighted(work: Work, weights: Array) -> Epoch:
    """`WeightedSampler(w).shuffled_indices_batch_iterator(B, RandomState(1))` of the release."""
    sampler = sampling.WeightedSampler(weights)
    rng = np.random.RandomState(1)
    return lambda: iter(sampler.shuffled_indices_batch_iterator(work.batch, rng))


def joined(work: Work, results: Array) -> Epoch:
    """`ds.batch_map_concat(model, B)` of the release."""
    source = data_source.ArrayDataSource([np.arange(work.rows)])
    model = stand_in_model(results)

    def epoch() -> Iterator[object]:
        while True:
            yield source.batch_map_concat(model, work.batch)

    return epoch


def decoded_by_threads(work: Work, jpegs: Jpegs) -> Closing:
    """`WorkerThreadPool(2).parallel_data_source(ds).batch_iterator(B, shuffle=rng)` of the release."""
    pool = work_pool().WorkerThreadPool(WORKERS)
    return _pooled(pool, work, jpegs)


def decoded_by_processes(work: Work, jpegs: Jpegs) -> Closing:
    """`WorkerProcessPool(2).parallel_data_source(ds).batch_iterator(B, shuffle=rng)` of the release."""
    pool = work_pool().WorkerProcessPool(WORKERS)
    return _pooled(pool, work, jpegs)


def work_pool() -> Any:
    """Import what needs joblib."""
    return importlib.import_module("batchup.work_pool")


def _pooled(pool: Any, work: Work, jpegs: Jpegs) -> Closing:
    source = pool.parallel_data_source(data_source.ArrayDataSource([jpegs]))
    rng = np.random.RandomState(1)
    return Closing(lambda: iter(source.batch_iterator(batch_size=work.batch, shuffle=rng)), lambda: _end(pool))


def _end(pool: Any) -> None:
    # the release has no way to close a pool
    for name in ("_WorkerThreadPool__pool", "_WorkerProcessPool__pool"):
        if hasattr(pool, name):
            getattr(pool, name).terminate()
    if hasattr(pool, "_WorkerProcessPool__manager"):
        pool._WorkerProcessPool__manager.shutdown()


WAYS: Ways = {
    "shuffled": {"batchup 0.2": shuffled},
    "in_order": {"batchup 0.2": in_order},
    "weighted": {"batchup 0.2": weighted},
    "join": {"batchup 0.2": joined},
    "decode": {"batchup 0.2, threads": decoded_by_threads, "batchup 0.2, processes": decoded_by_processes},
}
