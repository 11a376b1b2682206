"""What no contender can be expected to beat."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from declared import Work
from slices import Epoch
from sources import Array

from contenders import Ways


def memcpy(work: Work, rows: Array) -> Epoch:
    """One-thread copy of the same bytes, `np.copyto(out, X[i:i+B])` into one buffer, all data through."""
    out = np.zeros_like(rows[: work.batch])

    def epoch() -> Iterator[Array]:
        for start in range(0, work.rows, work.batch):
            part = rows[start : start + work.batch]
            into = out[: len(part)]
            np.copyto(into, part)
            yield into

    return epoch


def take(work: Work, rows: Array) -> Epoch:
    """Bare gather, `X.take(indices, 0, out, "clip")` into one buffer, over a permutation made beforehand."""
    permutation = np.random.RandomState(1).permutation(work.rows).astype(np.intp)
    out = np.zeros_like(rows[: work.batch])

    def epoch() -> Iterator[Array]:
        for start in range(0, work.rows, work.batch):
            indices = permutation[start : start + work.batch]
            yield rows.take(indices, 0, out[: len(indices)], "clip")

    return epoch


def copy(work: Work, results: Array) -> Epoch:
    """One-thread copy of the same bytes, `np.copyto(out, results)` into the same array each time."""
    out = np.zeros_like(results)

    def epoch() -> Iterator[Array]:
        while True:
            np.copyto(out, results)
            yield out

    return epoch


def copy_by_batches(work: Work, results: Array) -> Epoch:
    """The same copy in pieces of a batch: in one piece, memory may be written past the caches."""
    out = np.zeros_like(results)

    def epoch() -> Iterator[Array]:
        while True:
            for start in range(0, work.rows, work.batch):
                out[start : start + work.batch] = results[start : start + work.batch]
            yield out

    return epoch


WAYS: Ways = {
    "shuffled": {"memcpy": memcpy, "take": take},
    "in_order": {"memcpy": memcpy},
    "transport": {"memcpy": memcpy, "take": take},
    "join": {"copy": copy, "copy by batches": copy_by_batches},
}
