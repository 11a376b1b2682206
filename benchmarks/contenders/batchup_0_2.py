"""The published batchup 0.2, in an environment of its own."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from declared import Work
from slices import Epoch
from sources import Array, stand_in_model

from contenders import Ways

data_source: Any = importlib.import_module("batchup.data_source")
sampling: Any = importlib.import_module("batchup.sampling")


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


WAYS: Ways = {
    "shuffled": {"batchup 0.2": shuffled},
    "in_order": {"batchup 0.2": in_order},
    "weighted": {"batchup 0.2": weighted},
    "join": {"batchup 0.2": joined},
}
