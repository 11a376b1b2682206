"""Index streams: taking many batches at once is taking them one by one, and draws nothing before it is due."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchup.data_source import ArrayDataSource, ChoiceDataSource, CompositeDataSource
from batchup.data_source.passes import as_pass
from batchup.sampling import AbstractSampler, StandardSampler, SubsetSampler, WeightedSampler, WeightedSubsetSampler

from . import users
from .cases import SOURCES
from .helpers import as_lists, fingerprint

MAKERS: dict[str, Callable[[int, int], AbstractSampler]] = {
    "standard": lambda n, repeats: StandardSampler(n, repeats),
    "subset": lambda n, repeats: SubsetSampler(np.arange(n)[::-1] * 3, repeats),
    "weighted": lambda n, repeats: WeightedSampler(np.arange(1, n + 1)),
    "weighted subset": lambda n, repeats: WeightedSubsetSampler(np.arange(1, n + 1), np.arange(n) * 2),
    "a user's": lambda n, repeats: users.Backwards(n),
}
ORDERS: dict[str, Callable[[int], Any]] = {
    "in order": lambda seed: None,
    "seed": lambda seed: seed,
    "RandomState": np.random.RandomState,
    "Generator": np.random.default_rng,
}


def batches_of(chunk: Any) -> list[list[int]]:
    """Return the index batches in a chunk of a sampler's stream."""
    return chunk.array().reshape(chunk.count, -1).tolist()


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("order", ORDERS)
@given(
    n=st.integers(1, 40),
    size=st.integers(1, 45),
    repeats=st.sampled_from([1, 2, 3, -1]),
    seed=st.integers(0, 99),
    counts=st.lists(st.integers(1, 7), min_size=1, max_size=6),
)
def test_chunks_of_any_count(
    kind: str, order: str, n: int, size: int, repeats: int, seed: int, counts: list[int]
) -> None:
    """Chunks hold the batches that would come one by one; by a generator, none that is not yet drawn."""
    sampler = MAKERS[kind](n, repeats)
    if order == "in order" and "weighted" in kind:
        return
    shuffles = [ORDERS[order](seed) for _ in range(2)]
    whole, single = (sampler._index_stream(size, as_pass(size, shuffle).order) for shuffle in shuffles)
    for count in (count for count, _ in zip(cycle(counts), range(25), strict=False)):
        ready = whole.ready()
        chunk = whole.take(count)
        if chunk is None:
            assert single.take(1) is None
            assert whole.take(count) is None
            return
        assert (
            1 <= chunk.count <= max(1, min(count, ready) if order in ("RandomState", "Generator") and ready else count)
        )
        for batch in batches_of(chunk):
            alone = single.take(1)
            assert alone.count == 1
            assert batch == alone.array().tolist()
        if not isinstance(shuffles[0], int) and shuffles[0] is not None:
            assert fingerprint(shuffles[0]) == fingerprint(shuffles[1])


@pytest.mark.parametrize("order", ["RandomState", "Generator"])
@given(n=st.integers(1, 40), size=st.integers(1, 45), repeats=st.sampled_from([1, 2, -1]), seed=st.integers(0, 99))
def test_what_is_ready_draws_nothing(order: str, n: int, size: int, repeats: int, seed: int) -> None:
    """As many batches as a stream calls ready can be taken at once while the generator stands still."""
    for kind in MAKERS:
        rng = ORDERS[order](seed)
        stream = MAKERS[kind](n, repeats)._index_stream(size, rng)
        for _ in range(6):
            ready = stream.ready()
            before = fingerprint(rng)
            if ready:
                chunk = stream.take(ready)
                assert chunk.count == ready
                assert fingerprint(rng) == before
            if stream.take(1) is None:
                break


def drawing_steps(ds: Any, size: int, most: int) -> list[str]:
    """Return the states of the generator after each batch that a source hands out."""
    rng = np.random.RandomState(1)
    batches, states = ds.batch_iterator(size, shuffle=rng), []
    for _ in range(most):
        if next(batches, None) is None:
            break
        states.append(fingerprint(rng))
    return [*states, fingerprint(rng)]


@pytest.mark.parametrize("name", [name for name, case in SOURCES.items() if case.indexed])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 64])
def test_reading_ahead_draws_nothing_early(name: str, size: int) -> None:
    """After each batch, the generator stands where the indices of that batch left it."""
    ds: Any = SOURCES[name].make()
    rng = np.random.RandomState(1)
    indices, states = ds.batch_indices_iterator(size, rng), []
    for _ in range(40):
        if next(indices, None) is None:
            break
        states.append(fingerprint(rng))
    assert drawing_steps(ds, size, 40) == [*states, fingerprint(rng)]


@given(st.integers(1, 300), st.integers(1, 9), st.integers(1, 4), st.integers(0, 9))
def test_reading_ahead_changes_no_batch(n: int, size: int, repeats: int, seed: int) -> None:
    """Small batches, which are read many at a time, are those that are read one by one."""
    ahead = ArrayDataSource([np.arange(n), np.arange(2 * n).reshape(n, 2)], repeats=repeats)
    slow = ArrayDataSource([users.ArraysOnly(np.arange(n)), np.arange(2 * n).reshape(n, 2)], repeats=repeats)
    for shuffle in (None, seed):
        assert [as_lists(b) for b in ahead.batch_iterator(size, shuffle)] == [
            as_lists(b) for b in slow.batch_iterator(size, shuffle)
        ]


@given(st.lists(st.integers(1, 60), min_size=1, max_size=4), st.integers(1, 9), st.integers(0, 9))
def test_reading_ahead_in_composites(ns: list[int], size: int, seed: int) -> None:
    """The same for sources side by side, whose batches end at different places, and in turn."""

    def tree(kind: Any) -> list[CompositeDataSource | ChoiceDataSource]:
        members = [ArrayDataSource([kind(np.arange(n))], repeats=1 + n % 3) for n in ns]
        choice = ChoiceDataSource(members, stratified=True)
        return [
            CompositeDataSource(members),
            CompositeDataSource(members, trim=False),
            CompositeDataSource([choice, members[0]]),
        ]

    for ahead, slow in zip(tree(np.asarray), tree(users.ArraysOnly), strict=True):
        for shuffle in (lambda: None, lambda: seed, lambda: np.random.RandomState(seed)):
            batches = [as_lists(b) for b in ahead.batch_iterator(size, shuffle())]
            assert batches == [as_lists(b) for b in slow.batch_iterator(size, shuffle())]
