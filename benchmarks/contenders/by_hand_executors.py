"""Items made by two processes of `concurrent.futures`."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from declared import Work
from items import WORKERS, busy
from slices import Epoch

from contenders import Closing, Ways

CHUNK = 10  # items


def kept(work: Work, numbers: list[int]) -> Closing:
    """`ProcessPoolExecutor(2).map(busy, numbers, chunksize=10)`, by fork; the executor is kept."""
    pool = _executor()
    return Closing(lambda: pool.map(busy, numbers, chunksize=CHUNK), pool.shutdown)


def new(work: Work, numbers: list[int]) -> Epoch:
    """The same with an executor made in each pass."""

    def epoch() -> Iterator[int]:
        with _executor() as pool:
            yield from pool.map(busy, numbers, chunksize=CHUNK)

    return epoch


def _executor() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(WORKERS, multiprocessing.get_context("fork"))


WAYS: Ways = {"busy": {"ProcessPoolExecutor, kept": kept, "ProcessPoolExecutor, new": new}}
