"""Caches, draws and workers of a pipeline, where passes, pipelines and processes share them."""

from __future__ import annotations

import copy
import json
import pickle
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from batchup import Dataset
from batchup.errors import InvalidValueError, StateError

from .pools import leaving_nothing


class Counting:
    """Notes what it was called with, and in which thread."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.threads: set[str] = set()

    def __call__(self, item: Any) -> Any:
        self.items.append(item)
        self.threads.add(threading.current_thread().name)
        return item


def noise(x: int, rng: np.random.Generator) -> tuple[int, int]:
    """Return an item with what was drawn for it."""
    return x, int(rng.integers(10**9))


@pytest.mark.parametrize("workers", [{}, {"num_threads": 2}])
def test_a_cache_keeps_what_is_asked_for_by_number(workers: dict[str, int]) -> None:
    """Over random access, an item is made once, whatever order it is asked for in, and by the workers given."""
    counting = Counting()
    kept = Dataset(range(50)).map(counting, **workers).cache()
    shuffled = kept.shuffle(seed=1)
    assert sorted(shuffled.list()) == list(range(50))
    assert shuffled.list() == shuffled.list()
    assert (kept[7], kept[-1], kept[::-1].list(), kept.list()) == (7, 49, list(range(50))[::-1], list(range(50)))
    assert len(kept.repeat(2).sample(60, seed=2).list()) == 60
    assert sorted(counting.items) == list(range(50))
    if workers:
        assert "MainThread" not in counting.threads


@pytest.mark.parametrize("ahead", [{}, {"num_threads": 2}, {"num_threads": 2, "buffer_size": 50}])
def test_draws_belong_to_items_whoever_is_ahead(ahead: dict[str, int]) -> None:
    """What an item draws depends on its place, also where workers upstream have begun the next ones."""
    data = Dataset(range(200)).map(int, **ahead).map(noise, seed=3, num_threads=0)
    assert sorted(data.shuffle(seed=1).list()) == data.list() == Dataset(range(200)).map(noise, seed=3).list()


def test_a_cache_stays_the_same_in_other_pipelines() -> None:
    """A cache that was filled in part gives each item once, wherever the rest is made."""
    kept = Dataset(lambda_range).shuffle().map(str, num_threads=2).cache()
    first = kept.take(3).list()
    joined = Dataset.concat([Dataset([-1]), kept]).list()[1:]
    assert joined[:3] == first
    assert sorted(joined, key=int) == [str(x) for x in range(20)]
    assert pickle.loads(pickle.dumps(kept)).list() == kept.list() == joined


def test_a_pickled_cache_goes_on_as_the_first() -> None:
    """A copy of a cache that was filled in part makes the same items."""
    kept = Dataset(lambda_range).shuffle().cache()
    first = kept.take(3).list()
    again = pickle.loads(pickle.dumps(kept))
    assert again.list()[:3] == first
    assert again.list() == kept.list()


def lambda_range() -> Iterator[int]:
    """Return numbers as a stream."""
    return iter(range(20))


@pytest.mark.parametrize("source", [range(20), lambda_range])
def test_states_know_what_caches_hold(source: Any) -> None:
    """A pass through a cache of an order without a seed is gone on with elsewhere, or refused."""
    one = Dataset(source).shuffle().cache()
    assert one.list() == one.list()
    items = iter(one)
    head = [next(items) for _ in range(5)]
    state = json.loads(json.dumps(items.state_dict()))
    other = iter(Dataset(source).shuffle().cache())
    other.load_state_dict(state)
    assert head + list(other) == one.list()
    filled = Dataset(source).shuffle().cache()
    filled.list()
    with pytest.raises(StateError, match="holds items of another run"):
        iter(filled).load_state_dict(state)


def test_a_pass_that_takes_a_cache_twice() -> None:
    """What a cache is at goes on in the same pass, after a part of it has ended."""
    with leaving_nothing():
        kept = Dataset(lambda_range()).map(int, num_threads=2).cache()
        assert (kept.take(2) + kept).list() == [0, 1, *range(20)]


def test_a_stopped_thread_does_not_end_a_cache() -> None:
    """A pass that is closed does not cut short what another one keeps."""
    with leaving_nothing():
        kept = Dataset(lambda_range).prefetch(2).cache()
        one, other = iter(kept), iter(kept)
        assert (next(one), next(other), next(other)) == (0, 0, 1)
        one.close()
        assert list(other) == list(range(2, 20))
        assert kept.list() == list(range(20))


@pytest.mark.parametrize(
    "joined",
    [
        lambda data: data.prefetch(2),
        lambda data: data.enumerate(),
        lambda data: data.zip(data),
        lambda data: Dataset(a=data, b=range(30)),
        lambda data: data.batch(4),
        lambda data: data.cache(),
    ],
)
def test_workers_are_asked_by_number_too(joined: Any) -> None:
    """A shuffled dataset has its functions called by the workers that it was given."""
    counting = Counting()
    with leaving_nothing():
        data = joined(Dataset(range(30)).map(counting, num_threads=2))
        assert len(data.shuffle(seed=1).list()) == len(data)
    assert "MainThread" not in counting.threads


def test_a_data_source_starts_no_workers() -> None:
    """Who reads the source calls the functions; nothing is left behind."""
    counting = Counting()
    with leaving_nothing():
        source = Dataset(range(30)).map(counting, num_threads=2).prefetch(2).data_source(int)
        assert sum(len(batch) for (batch,) in source.batch_iterator(8, shuffle=1)) == 30
    assert counting.threads == {"MainThread"}


def test_a_sent_data_source_draws_the_same() -> None:
    """Copies of a data source make the same items, also where nobody gave a seed."""
    source = Dataset(range(20)).map(noise).data_source(int)
    copied = pickle.loads(pickle.dumps(source))
    indices = np.arange(20)[::-1]
    for one, other in zip(source.samples_by_indices(indices), copied.samples_by_indices(indices), strict=True):
        assert (one == other).all()


def test_repetitions_in_any_order() -> None:
    """The orders of several repetitions are known at a time."""
    repeated = Dataset(range(30)).shuffle(seed=1).repeat(4)
    assert repeated[::-1].list() == repeated.list()[::-1]


def test_odd_sources() -> None:
    """An iterator over a dataset is an iterator, a reader can be copied, numbers are never cut."""
    assert Dataset(iter(Dataset([1, 2]))).list() == [1, 2]
    assert "npz" in dir(copy.copy(Dataset.read))
    assert Dataset([1.0, 2.0]).batch(2, default_dtype=int).first().tolist() == [1, 2]
    with pytest.raises(InvalidValueError, match="not whole"):
        Dataset([1.5]).batch(1, default_dtype=int).first()
    assert Dataset(range(9)).shuffle(10**30, seed=1).take(2).list() != []
    grown = [1, 2]
    data = Dataset(grown, [3, 4])
    grown.append(5)
    with pytest.raises(ValueError, match="shorter"):
        data.list()


def test_states_tell_files_apart(tmp_path: Any) -> None:
    """The state of a pass over one file is not that of another; how many are prefetched makes no difference."""
    for name in ("a", "b"):
        Dataset(["one", "two"]).write.text(tmp_path / name)
    items = iter(Dataset.read.text(tmp_path / "a").prefetch(1))
    next(items)
    state = items.state_dict()
    with pytest.raises(StateError, match="another dataset"):
        iter(Dataset.read.text(tmp_path / "b").prefetch(1)).load_state_dict(state)
    again = iter(Dataset.read.text(tmp_path / "a").prefetch(5))
    again.load_state_dict(state)
    assert list(again) == ["two"]
