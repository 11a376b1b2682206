"""The batchup of this tree."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from declared import Work
from slices import Epoch
from sources import Array, stand_in_model

from batchup import data_source, sampling
from contenders import Ways

SEED = 7


def shuffled(work: Work, rows: Array) -> Epoch:
    """`ArrayDataSource([X]).batch_iterator(B, shuffle=rng)`, one RandomState going on through all epochs."""
    source = data_source.ArrayDataSource([rows])
    rng = np.random.RandomState(1)
    return lambda: iter(source.batch_iterator(batch_size=work.batch, shuffle=rng))


def planned(work: Work, rows: Array) -> Epoch:
    """`batch_iterator(B, shuffle=7)`: the order is a plan made from a seed."""
    source = data_source.ArrayDataSource([rows])
    return lambda: iter(source.batch_iterator(batch_size=work.batch, shuffle=SEED))


def in_order(work: Work, rows: Array) -> Epoch:
    """`batch_iterator(B, shuffle=None)`: batches are copies that may be written into."""
    source = data_source.ArrayDataSource([rows])
    return lambda: iter(source.batch_iterator(batch_size=work.batch, shuffle=None))


def views(work: Work, rows: Array) -> Epoch:
    """`batch_iterator(B, shuffle=None, copy=False)`: batches are views of the data."""
    source = data_source.ArrayDataSource([rows])
    return lambda: iter(source.batch_iterator(batch_size=work.batch, shuffle=None, copy=False))


def weighted(work: Work, weights: Array) -> Epoch:
    """`WeightedSampler(w).shuffled_indices_batch_iterator(B, RandomState(1))`: the historic stream."""
    sampler = sampling.WeightedSampler(weights)
    rng = np.random.RandomState(1)
    return lambda: iter(sampler.shuffled_indices_batch_iterator(work.batch, rng))


def weighted_plan(work: Work, weights: Array) -> Epoch:
    """`RandomAccessDataSource(n, sampler=...).batch_indices_iterator(B, shuffle=7)`: a plan from a seed."""
    sampler = sampling.WeightedSampler(weights)
    source = data_source.RandomAccessDataSource(work.rows, sampler=sampler)
    return lambda: iter(source.batch_indices_iterator(work.batch, shuffle=SEED))


class Numbers(data_source.RandomAccessDataSource):
    """Any number of samples that are their own indices, so that nothing but the order costs time."""

    def samples_by_indices_nomapping(self, indices: Array) -> tuple[Array]:
        """Return the indices."""
        return (indices,)


def order(work: Work, _: Array) -> Epoch:
    """`source.batch_indices_iterator(B, shuffle=7)`: a plan from a seed."""
    source = Numbers(work.rows)
    return lambda: iter(source.batch_indices_iterator(work.batch, shuffle=SEED))


def entered(work: Work, _: Array) -> Epoch:
    """`source.batch_iterator(B, shuffle=7)`, then `load_state_dict(state)` and `next`."""
    source = Numbers(work.rows)
    state = source.batch_iterator(work.batch, shuffle=SEED).state_dict()
    positions = np.random.default_rng(0).integers(0, work.rows // work.batch, 4096).tolist()

    def epoch() -> Iterator[object]:
        for position in itertools.cycle(positions):
            batches = source.batch_iterator(work.batch, shuffle=SEED)
            batches.load_state_dict({**state, "position": position})
            yield next(batches)

    return epoch


def joined(work: Work, results: Array) -> Epoch:
    """`ds.batch_map_concat(model, B)`: the joined array is made anew each time."""
    source = data_source.ArrayDataSource([np.arange(work.rows)])
    model = stand_in_model(results)

    def epoch() -> Iterator[object]:
        while True:
            yield source.batch_map_concat(model, work.batch)

    return epoch


def joined_into(work: Work, results: Array) -> Epoch:
    """`ds.batch_map_concat(model, B, out=array)`: the same array each time."""
    source = data_source.ArrayDataSource([np.arange(work.rows)])
    model = stand_in_model(results)
    out = np.zeros_like(results)

    def epoch() -> Iterator[object]:
        while True:
            yield source.batch_map_concat(model, work.batch, out=out)

    return epoch


WAYS: Ways = {
    "shuffled": {"batchup": shuffled, "batchup, plan": planned},
    "in_order": {"batchup": in_order, "batchup, views": views},
    "weighted": {"batchup": weighted, "batchup, plan": weighted_plan},
    "order": {"batchup": order},
    "enter": {"batchup": entered},
    "join": {"batchup": joined, "batchup, out=": joined_into},
}
