"""Grain: batches asked for by number, and its prefetching iterator."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from declared import Work
from slices import Epoch
from sources import Array

from contenders import Ways

grain: Any = importlib.import_module("grain")


def by_number(work: Work, rows: Array) -> Epoch:
    """`d = MapDataset.source(X).shuffle(seed=1).batch(B)`, then `d[i]`, without threads."""
    dataset = _dataset(work, rows)
    return lambda: (dataset[i] for i in range(len(dataset)))


def iterator(work: Work, rows: Array) -> Epoch:
    """`iter(d)` of the same: it prefetches in threads, its options left as they are."""
    dataset = _dataset(work, rows)
    return lambda: iter(dataset)


def order(work: Work, _: Array) -> Epoch:
    """`d = MapDataset.range(n).shuffle(seed=1)`, then `[d[i] for i in range(start, start + B)]`."""
    dataset = grain.MapDataset.range(work.rows).shuffle(seed=1)
    starts = range(0, work.rows, work.batch)
    return lambda: (
        np.array([dataset[i] for i in range(start, min(start + work.batch, work.rows))]) for start in starts
    )


def _dataset(work: Work, rows: Array) -> Any:
    return grain.MapDataset.source(rows).shuffle(seed=1).batch(work.batch)


WAYS: Ways = {"shuffled": {"Grain": by_number, "Grain iterator": iterator}, "order": {"Grain": order}}
