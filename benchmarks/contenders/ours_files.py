"""The data source of this tree over a flat file that is mapped into memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from declared import Work
from files import RowFiles
from slices import Epoch

from batchup import data_source, sampling
from contenders import Way, Ways

SEED = 7
WINDOW = 16


def planned(work: Work, files: RowFiles) -> Epoch:
    """`ArrayDataSource([np.load(path, mmap_mode="r"), y]).batch_iterator(B, shuffle=7, epoch=e)`."""
    numbers = itertools.count()
    return _epochs(work, files, lambda source: source.batch_iterator(work.batch, shuffle=SEED, epoch=next(numbers)))


def streamed(work: Work, files: RowFiles) -> Epoch:
    """`batch_iterator(B, shuffle=rng)` of the same, one RandomState going on through all epochs."""
    rng = np.random.RandomState(1)
    return _epochs(work, files, lambda source: source.batch_iterator(work.batch, shuffle=rng))


def by_block(work: Work, files: RowFiles) -> Epoch:
    """The first with `sampler=BlockShuffleSampler(n, block_size=B, window=16)`."""
    numbers = itertools.count()
    sampler = sampling.BlockShuffleSampler(work.rows, work.batch, WINDOW)
    return _epochs(
        work, files, lambda source: source.batch_iterator(work.batch, shuffle=SEED, epoch=next(numbers)), sampler
    )


def _epochs(work: Work, files: RowFiles, begin: Callable[[Any], Any], sampler: Any = None) -> Epoch:
    def make() -> Any:
        return data_source.ArrayDataSource([files.rows(), files.labels], sampler=sampler)

    kept = None if work.cold else make()  # cold, nothing may be mapped between the turns

    def epoch() -> Iterator[Any]:
        yield from begin(make() if kept is None else kept)

    return epoch


FLAT: dict[str, Way] = {
    "batchup, flat map": planned,
    "batchup, flat map, RandomState": streamed,
    "batchup, flat map by block": by_block,
}
WAYS: Ways = {"file": FLAT, "file_cold": FLAT}
