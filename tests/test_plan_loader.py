"""The loader: epoch after epoch, stopped and gone on with; plans stay small however long the data."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchup import Loader, loader, replay
from batchup.data_source import (
    AbstractDataSource,
    ArrayDataSource,
    CallableDataSource,
    ChoiceDataSource,
    CompositeDataSource,
    IteratorDataSource,
    MixDataSource,
    RandomAccessDataSource,
    batch_map_concat,
    batch_map_mean,
)
from batchup.sampling import StandardSampler, SubsetSampler, WeightedSampler

from .helpers import as_lists, first, joined


def numbers(n: int, begin: int = 0, **keywords: Any) -> ArrayDataSource:
    """Return a source of one column that counts from `begin`."""
    return ArrayDataSource([np.arange(begin, begin + n)], **keywords)


DATA: dict[str, Callable[[], Any]] = {
    "list": lambda: [np.arange(11), np.arange(11) * 2],
    "tuple": lambda: (np.arange(11), np.eye(11)),
    "dict": lambda: {"x": np.arange(11), "y": [str(i) for i in range(11)]},
    "source": lambda: numbers(11, include_indices=True),
    "subset": lambda: numbers(11, indices=[3, 1, 4, 5, 9, 2, 6]),
    "twice": lambda: numbers(11, repeats=2),
    "composite": lambda: CompositeDataSource([numbers(11), numbers(4, 100, repeats=-1)]),
    "choice": lambda: ChoiceDataSource([numbers(11), numbers(8, 100)]),
    "mix": lambda: MixDataSource([numbers(11), numbers(8, 100)], [1, 1]),
    "map": lambda: numbers(11).map(lambda x, rng: (x, rng.integers(2**40, size=len(x)))),
}
every_data = pytest.mark.parametrize("name", DATA)


@every_data
def test_epochs_differ_and_come_again(name: str) -> None:
    """Every iter() is the next epoch, in an order of its own; another loader gives the same epochs."""
    batches = loader(DATA[name](), 3, shuffle=7)
    epochs = [first(batches) for _ in range(4)]
    assert all(a != b for i, a in enumerate(epochs) for b in epochs[:i])
    assert [first(again) for again in [loader(DATA[name](), 3, shuffle=7)] * 4] == epochs
    data = DATA[name]()
    if isinstance(data, AbstractDataSource):
        direct = [first(data.batch_iterator(3, shuffle=7, epoch=epoch)) for epoch in range(4)]  # type: ignore[call-arg]
        assert direct == epochs
    assert first(loader(DATA[name](), 3, shuffle=7, epoch=2)) == epochs[2]
    assert first(loader(DATA[name](), 3, shuffle=8)) != epochs[0]


@every_data
def test_length(name: str) -> None:
    """len() is the number of batches of the epoch under way, before, during and after it."""
    batches = loader(DATA[name](), 3, shuffle=7)
    for _ in range(5):
        epoch = iter(batches)
        length = len(batches)
        assert len(epoch) == length
        assert len(list(epoch)) == length == len(batches)
    assert len(loader([np.arange(11)], 3, tail="drop")) == 3
    assert len(loader([np.arange(11)], 3, shard=(1, 2))) == 2


def test_no_length() -> None:
    """An endless loader has no len(): a TypeError; it iterates all the same."""
    for ds in (numbers(4, repeats=-1), numbers(3, sampler=WeightedSampler([1, 2, 3]))):
        batches = loader(ds, 3, shuffle=1)
        with pytest.raises(TypeError, match="infinite"):
            len(batches)
        assert len(first(batches, 5)) == 5


@every_data
@pytest.mark.parametrize("epoch", [0, 2])
def test_resuming_in_mid_epoch(name: str, epoch: int) -> None:
    """From every batch of an epoch: the rest of it, and then the epochs that would have followed."""
    through = [first(each) for each in [loader(DATA[name](), 3, shuffle=7)] * 5]
    for k in range(len(through[epoch]) + 1):
        begun = loader(DATA[name](), 3, shuffle=7)
        for done in range(epoch):
            assert first(begun) == through[done]
        assert first(begun, k) == through[epoch][:k]
        state = json.loads(json.dumps(begun.state_dict()))
        assert len(json.dumps(state)) < 1024
        elsewhere = loader(DATA[name](), 3, shuffle=7)
        elsewhere.load_state_dict(state)
        assert elsewhere.epoch == epoch
        assert elsewhere.state_dict() == state
        assert first(elsewhere) == through[epoch][k:]
        assert first(elsewhere) == through[epoch + 1]
        assert first(elsewhere) == through[epoch + 2]
        assert first(begun) == through[epoch + 1]


def test_resuming_one_loader_again_and_again() -> None:
    """The same loader can be taken back to a state as often as one likes."""
    batches = loader([np.arange(11)], 3, shuffle=7)
    epoch = first(batches, 2)
    state = batches.state_dict()
    rest = [first(batches)]  # the next epoch
    for _ in range(3):
        batches.load_state_dict(state)
        assert [first(batches), first(batches)] == [first(loader([np.arange(11)], 3, shuffle=7))[2:], rest[0]]
    assert len(epoch) == 2


def test_the_state_before_and_between_epochs() -> None:
    """A state from before the first epoch begins with it; one from the end of an epoch has nothing left of it."""
    batches = loader([np.arange(5)], 2, shuffle=7)
    fresh = batches.state_dict()
    epochs = [first(batches) for _ in range(3)]
    elsewhere = loader([np.arange(5)], 2, shuffle=7)
    elsewhere.load_state_dict(fresh)
    assert [first(elsewhere) for _ in range(3)] == epochs
    elsewhere.load_state_dict(batches.state_dict())
    assert first(elsewhere) == []
    assert first(elsewhere) == first(batches)


@pytest.mark.parametrize("make", [np.random.RandomState, np.random.default_rng])
def test_resuming_with_a_generator(make: Any) -> None:
    """With a generator, epochs go on drawing from it, here as well as after a resumption elsewhere."""
    straight = loader([np.arange(11)], 3, shuffle=make(7))
    through = [first(straight) for _ in range(4)]
    begun = loader([np.arange(11)], 3, shuffle=make(7))
    assert first(begun) == through[0]
    assert first(begun, 2) == through[1][:2]
    state = json.loads(json.dumps(begun.state_dict()))
    elsewhere = loader([np.arange(11)], 3, shuffle=make(99))
    elsewhere.load_state_dict(state)
    assert [first(elsewhere), first(elsewhere), first(elsewhere)] == [through[1][2:], *through[2:]]


@every_data
def test_replay_of_a_loaders_state(name: str) -> None:
    """A loader's state, replayed, is the batch that came next."""
    ds: Any = loader(DATA[name](), 3, shuffle=7).data
    batches = loader(ds, 3, shuffle=7)
    for _ in range(3):
        epoch = iter(batches)
        for _ in range(len(epoch)):
            state = json.loads(json.dumps(batches.state_dict()))
            assert as_lists(replay(ds, state)) == as_lists(next(epoch))


def test_replay_on_a_rank_with_a_tail() -> None:
    """The tail is in the state, the rank is told."""
    for rank in range(3):
        batches = numbers(20).batch_iterator(4, shuffle=7, shard=(rank, 3), tail="pad")
        for _ in range(len(batches)):
            state = batches.state_dict()
            assert as_lists(replay(numbers(20), state, shard=(rank, 3))) == as_lists(next(batches))


def test_closing() -> None:
    """close() ends the epoch under way; the next iter() is the next epoch; a loader is a context manager."""
    expected = [first(each) for each in [loader([np.arange(11)], 3, shuffle=7)] * 2]
    batches = loader([np.arange(11)], 3, shuffle=7)
    batches.close()
    epoch = iter(batches)
    assert first(epoch, 1) == expected[0][:1]
    batches.close()
    assert list(epoch) == []
    assert epoch.position == 1
    assert first(batches) == expected[1]
    with loader([np.arange(11)], 3, shuffle=7) as entered:
        assert isinstance(entered, Loader)
        epoch = iter(entered)
        next(epoch)
    assert list(epoch) == []


def handed(batch_size: int, **keywords: Any) -> Iterator[Any]:
    return ((np.arange(start, min(start + batch_size, 11)),) for start in range(0, 11, batch_size))


def test_callables_and_iterators() -> None:
    """What makes its own batches is iterated again, as far as it can be; it is given the keywords that were written."""
    batches = loader(handed, 3)
    assert first(batches) == first(batches) == [[[0, 1, 2]], [[3, 4, 5]], [[6, 7, 8]], [[9, 10]]]
    with pytest.raises(TypeError):
        len(batches)
    seen: list[Any] = []

    def noting(batch_size: int, **keywords: Any) -> Any:
        seen.append(keywords)
        return handed(batch_size)

    assert len(loader(CallableDataSource(noting, 11), 3, shuffle=5)) == 4
    first(loader(noting, 3, shuffle=5))
    assert seen
    assert all(keywords == {"shuffle": 5} for keywords in seen)
    once = loader(IteratorDataSource(handed(3)), 3)
    assert len(first(once)) == 4
    with pytest.raises(TypeError, match="gone through once"):
        iter(once)
    assert len(first(loader(handed(3), 3))) == 4


def test_keywords_of_a_loader() -> None:
    """Shards, tails, policies and copies are those of batch_iterator, in every epoch."""
    ranks = [loader([np.arange(11)], 3, 7, shard=(rank, 2), tail="pad") for rank in range(2)]
    for _ in range(3):
        both = [list(batches) for batches in ranks]
        seen = [x for batches in both for x, mask in batches for x in x[mask].tolist()]
        assert sorted(seen) == [*range(11)]
    views = loader([np.arange(12)], 3, copy=False)
    assert not next(iter(views))[0].flags.writeable
    in_order = loader([np.arange(5)], 2)
    assert first(in_order) == first(in_order) == [[[0, 1]], [[2, 3]], [[4]]]


def test_repr_of_a_loader() -> None:
    """The repr is the call that rebuilds it."""
    names = {"Loader": Loader, "RandomAccessDataSource": RandomAccessDataSource, "StandardSampler": StandardSampler}
    for batches in (
        loader(RandomAccessDataSource(5), 2, shuffle=7),
        loader(RandomAccessDataSource(5), 2, shuffle=7, tail="drop", epoch=3, shard=(0, 2)),
    ):
        shown = repr(batches)
        assert shown.startswith("Loader(data=RandomAccessDataSource(length=5")
        assert "keywords=" not in shown
        assert eval(shown, names).state_dict() == batches.state_dict()


class Numbers(RandomAccessDataSource):
    """A source of any length whose samples are their own indices."""

    def samples_by_indices_nomapping(self, indices: Any) -> Any:
        return (np.asarray(indices),)


HUGE: dict[str, Callable[[], Any]] = {
    "uniform": lambda: Numbers(10**9),
    "repeated": lambda: Numbers(10**9, repeats=100),
    "for ever": lambda: Numbers(10**9, repeats=-1),
    "composite": lambda: CompositeDataSource([Numbers(10**9), Numbers(10**9 + 7)]),
    "many members": lambda: CompositeDataSource([Numbers(10**9 + i) for i in range(40)]),
    "choice": lambda: ChoiceDataSource([Numbers(10**9), Numbers(3 * 10**9)]),
    "mix": lambda: MixDataSource([Numbers(10**9), Numbers(2 * 10**9)], [1, 2]),
    "map": lambda: Numbers(10**9).map(lambda x, rng: (x, rng.random(len(x)))),
    "deep": lambda: CompositeDataSource(
        [CompositeDataSource([Numbers(10**9), CompositeDataSource([Numbers(10**9)] * 3)] * 3)]
    ),
}


@pytest.mark.parametrize("name", HUGE)
@pytest.mark.parametrize("shard", [None, (3, 1000)])
def test_plans_over_a_billion_samples(name: str, shard: Any) -> None:
    """A state is under 1 KB, and any batch is entered with little memory, whatever the length of the data."""
    ds = HUGE[name]()
    world = shard[1] if shard else 1
    for position in (0, 1000, 3_000_000):
        tracemalloc.start()
        try:
            batches: Any = ds.batch_iterator(256, shuffle=7, epoch=3, shard=shard)
            state = {**batches.state_dict(), "position": position // world * world}
            batches.load_state_dict(state)
            batch = next(batches)
            after = batches.state_dict()
            used = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert used < 4 * 2**20
        assert len(json.dumps(after)) < 1024
        assert after["position"] == state["position"] + world
        assert batches.position == position // world + 1
        again: Any = ds.batch_iterator(256, shuffle=7, epoch=3, shard=shard)
        again.load_state_dict(json.loads(json.dumps(state)))
        assert as_lists(next(again)) == as_lists(batch)


def test_a_long_shuffle_takes_little_memory() -> None:
    """Going on through a plan does not add up: a thousand batches take no more than one."""
    batches = Numbers(10**9).batch_iterator(256, shuffle=7)
    tracemalloc.start()
    try:
        for _ in range(1000):
            next(batches)
        used = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert used < 4 * 2**20


def test_the_state_of_a_subset_is_small() -> None:
    """The indices of a subset, and weights, are in a state by a checksum only."""
    for sampler in (SubsetSampler(np.arange(100_000)[::-1]), WeightedSampler(np.arange(100_000) + 1.0)):
        batches: Any = numbers(100_000, sampler=sampler).batch_iterator(256, shuffle=7)
        next(batches)
        assert len(json.dumps(batches.state_dict())) < 1024


@given(
    n=st.integers(0, 40),
    batch_size=st.integers(1, 9),
    world=st.integers(1, 4),
    named=st.booleans(),
    n_batches=st.none() | st.integers(0, 6),
)
def test_padding_counts_nowhere(n: int, batch_size: int, world: int, named: bool, n_batches: int | None) -> None:
    """Concatenated or averaged over padded batches, functions are given real samples only."""
    data: Any = {"x": np.arange(n) + 1.0} if named else [np.arange(n) + 1.0]
    seen: list[Any] = []
    sizes: list[int] = []
    for rank in range(world):
        keywords: dict[str, Any] = {"tail": "pad", "shard": (rank, world), "shuffle": 3}

        def note(x: Any, mask: Any) -> Any:
            assert mask.all()
            sizes.append(len(x))
            return x * 2

        batches = ArrayDataSource(data).batch_iterator(batch_size, **keywords)
        (found,) = batch_map_concat(note, batches, n_batches=n_batches) or (np.empty(0),)
        seen += found.tolist()
        of_rank = ArrayDataSource(data).batch_map_concat(note, batch_size, n_batches=n_batches, **keywords)
        assert (of_rank or (np.empty(0),))[0].tolist() == found.tolist()
        mean = batch_map_mean(
            lambda x, mask: x.sum(),
            ArrayDataSource(data).batch_iterator(batch_size, **keywords),
            n_batches=n_batches,
        )
        assert mean is None if len(found) == 0 else mean[0] == pytest.approx(found.mean() / 2)
    if n_batches is None:
        assert sorted(seen) == [2.0 * (i + 1) for i in range(n)]
    assert max(sizes, default=0) <= batch_size


def test_every_sample_once_in_any_loop() -> None:
    """The usual loop, over epochs and batches, sees each sample once an epoch, also when it was stopped within one."""
    batches = loader([np.arange(23)], 4, shuffle=1, shard=(0, 1))
    for _ in range(3):
        assert sorted(joined(x for (x,) in batches)) == [*range(23)]
    head = joined(x for (x,), _ in zip(batches, range(2), strict=False))
    state = batches.state_dict()
    elsewhere = loader([np.arange(23)], 4, shuffle=1)
    elsewhere.load_state_dict(state)
    taken = joined(x for (x,) in elsewhere)
    assert len(taken) == 23 - 4 * state["iterator"]["position"]
    assert not set(head[: 4 * state["iterator"]["position"]]) & set(taken)
