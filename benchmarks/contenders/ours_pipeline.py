"""The lazy Dataset of this tree, item by item."""

from __future__ import annotations

import itertools
from typing import Any

from declared import Work
from files import RowFiles
from items import WORKERS, busy, path_of, plus_one, wanted
from slices import Epoch

from batchup import Dataset
from batchup.work_pool import WorkerProcessPool, WorkerThreadPool
from contenders import Closing, Ways

SEED = 7


def chained(work: Work, numbers: list[int]) -> Epoch:
    """`Dataset(numbers).map(plus_one).filter(wanted).batch(256)`."""
    return Dataset(numbers).map(plus_one).filter(wanted).batch(work.batch).__iter__


def shuffled(work: Work, numbers: list[int]) -> Epoch:
    """`Dataset(numbers).shuffle(seed=7).map(plus_one).filter(wanted).batch(256).epoch(e)`."""
    dataset = Dataset(numbers).shuffle(seed=SEED).map(plus_one).filter(wanted).batch(work.batch)
    epochs = itertools.count()
    return lambda: iter(dataset.epoch(next(epochs)))


def read(work: Work, files: RowFiles) -> Epoch:
    """`Dataset.read.tfrecord(path)`, the checksums checked."""
    return Dataset.read.tfrecord(path_of(files)).__iter__


def read_unchecked(work: Work, files: RowFiles) -> Epoch:
    """`Dataset.read.tfrecord(path, verify=False)`: only the checksums of the lengths are checked."""
    return Dataset.read.tfrecord(path_of(files), verify=False).__iter__


def by_new_processes(work: Work, numbers: list[int]) -> Epoch:
    """`Dataset(numbers).map(busy, num_processes=2)`: workers are started in each pass."""
    return Dataset(numbers).map(busy, num_processes=WORKERS).__iter__


def by_kept_processes(work: Work, numbers: list[int]) -> Closing:
    """`Dataset(numbers).map(busy, executor=WorkerProcessPool(2))`, the pool kept."""
    return _kept(WorkerProcessPool(WORKERS), numbers)


def by_new_threads(work: Work, numbers: list[int]) -> Epoch:
    """`Dataset(numbers).map(busy, num_threads=2)`: threads, which Python alone gains nothing from."""
    return Dataset(numbers).map(busy, num_threads=WORKERS).__iter__


def by_kept_threads(work: Work, numbers: list[int]) -> Closing:
    """`Dataset(numbers).map(busy, executor=WorkerThreadPool(2))`, the pool kept."""
    return _kept(WorkerThreadPool(WORKERS), numbers)


def _kept(pool: Any, numbers: list[int]) -> Closing:
    return Closing(Dataset(numbers).map(busy, executor=pool).__iter__, pool.close)


WAYS: Ways = {
    "per_item": {"batchup": chained, "batchup, shuffled": shuffled},
    "records_in_order": {"batchup": read, "batchup, no checksums": read_unchecked},
    "busy": {
        "batchup, kept processes": by_kept_processes,
        "batchup, new processes": by_new_processes,
        "batchup, kept threads": by_kept_threads,
        "batchup, new threads": by_new_threads,
    },
}
