"""What is written by hand where there is no library."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from declared import Work
from slices import Epoch
from sources import Array, stand_in_model

from contenders import Ways

PERMUTED = 2 * 10**8


def shuffled(work: Work, rows: Array) -> Epoch:
    """`perm = rng.permutation(n)`, then `X[perm[i:i+B]]`, one RandomState going on through all epochs."""
    rng = np.random.RandomState(1)

    def epoch() -> Iterator[Array]:
        permutation = rng.permutation(work.rows)
        for start in range(0, work.rows, work.batch):
            yield rows[permutation[start : start + work.batch]]

    return epoch


def order(work: Work, _: Array) -> Epoch:
    """`perm = rng.permutation(n)`, then `perm[i:i+B]`, one Generator (PCG64) going on through all epochs."""
    if work.rows > PERMUTED:
        raise MemoryError(f"a permutation of {work.rows:,} takes {8 * work.rows / 1e9:g} GB")
    rng = np.random.default_rng(1)

    def epoch() -> Iterator[Array]:
        permutation = rng.permutation(work.rows)
        for start in range(0, work.rows, work.batch):
            yield permutation[start : start + work.batch]

    return epoch


def slices(work: Work, rows: Array) -> Epoch:
    """`X[i:i+B]`: views."""
    starts = range(0, work.rows, work.batch)
    return lambda: (rows[start : start + work.batch] for start in starts)


def slice_copies(work: Work, rows: Array) -> Epoch:
    """`X[i:i+B].copy()`."""
    starts = range(0, work.rows, work.batch)
    return lambda: (rows[start : start + work.batch].copy() for start in starts)


def table_search(work: Work, weights: Array) -> Epoch:
    """A float64 cumulative table made once, then `table.searchsorted(rng.random_sample(B), "right")`."""
    table = np.cumsum(weights / weights.sum())
    table /= table[-1]
    rng = np.random.RandomState(1)

    def epoch() -> Iterator[Array]:
        while True:
            yield table.searchsorted(rng.random_sample(work.batch), side="right")

    return epoch


def list_concatenate(work: Work, results: Array) -> Epoch:
    """`np.concatenate([model(batch) for ...])`."""
    numbers = np.arange(work.rows)
    model = stand_in_model(results)
    starts = range(0, work.rows, work.batch)

    def epoch() -> Iterator[Array]:
        while True:
            yield np.concatenate([model(numbers[start : start + work.batch]) for start in starts])

    return epoch


def preallocated(work: Work, results: Array) -> Epoch:
    """`out = np.empty(...)` anew each time, then `out[i:i+B] = model(batch)`."""
    fill = _filling(work, results)

    def epoch() -> Iterator[Array]:
        while True:
            yield fill(np.empty_like(results))

    return epoch


def reused(work: Work, results: Array) -> Epoch:
    """`out[i:i+B] = model(batch)` into the same array each time."""
    fill = _filling(work, results)
    out = np.zeros_like(results)

    def epoch() -> Iterator[Array]:
        while True:
            yield fill(out)

    return epoch


def _filling(work: Work, results: Array) -> Callable[[Array], Array]:
    numbers = np.arange(work.rows)
    model = stand_in_model(results)

    def fill(out: Array) -> Array:
        for start in range(0, work.rows, work.batch):
            out[start : start + work.batch] = model(numbers[start : start + work.batch])
        return out

    return fill


WAYS: Ways = {
    "shuffled": {"by hand": shuffled},
    "in_order": {"slices": slices, "slice copies": slice_copies},
    "weighted": {"table + search": table_search},
    "order": {"permutation": order},
    "join": {"list + concatenate": list_concatenate, "preallocated": preallocated, "reused by hand": reused},
}
