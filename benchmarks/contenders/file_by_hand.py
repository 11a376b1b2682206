"""Batches from a flat file as they are written by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from declared import Work
from files import RowFiles
from slices import Epoch
from sources import Array

from contenders import Way, Ways

Batches = Iterator[tuple[Array, Array]]


def fancy(work: Work, files: RowFiles) -> Epoch:
    """`X = np.load(path, mmap_mode="r")`, then `X[perm[i:i+B]], y[perm[i:i+B]]`."""
    return _epochs(work, files, lambda rows, indices: rows[indices])


def taken(work: Work, files: RowFiles) -> Epoch:
    """`X.view(np.ndarray).take(perm[i:i+B], 0, out, "clip")` over the same map, into one buffer."""
    out = np.zeros((work.batch, *work.shape), work.dtype)
    return _epochs(work, files, lambda rows, indices: rows.view(np.ndarray).take(indices, 0, out, "clip"))


def _epochs(work: Work, files: RowFiles, read: Callable[[Array, Array], Array]) -> Epoch:
    rng = np.random.RandomState(1)
    kept = None if work.cold else files.rows()  # cold, nothing may be mapped between the turns

    def epoch() -> Batches:
        rows = files.rows() if kept is None else kept
        permutation = rng.permutation(work.rows)
        for start in range(0, work.rows, work.batch):
            indices = permutation[start : start + work.batch]
            yield read(rows, indices), files.labels[indices]

    return epoch


MAPPED: dict[str, Way] = {"np.memmap": fancy, "memory map + take": taken}
WAYS: Ways = {
    "file": MAPPED,
    "ids": MAPPED,
    "ids_gzip": MAPPED,
    "file_cold": {"np.memmap": fancy},
    "file_hdf5": {"np.memmap": fancy},
}
