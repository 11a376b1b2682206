"""Samplers, array-likes and sources of the user's own, anywhere in a tree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from batchup.data_source import (
    AbstractDataSource,
    ArrayDataSource,
    CallableDataSource,
    ChoiceDataSource,
    CompositeDataSource,
    IteratorDataSource,
    MapDataSource,
    RandomAccessDataSource,
    coerce_data_source,
)
from batchup.sampling import AbstractSampler, StandardSampler, SubsetSampler

from . import users
from .cases import numbers
from .helpers import first, joined


def test_a_sampler_of_the_users() -> None:
    """Its index batches are used as they are, in order and shuffled, lists and negative indices included."""
    ds = numbers(7, sampler=users.Backwards(7), include_indices=True)
    assert ds.num_samples() == 7
    assert first(ds.batch_iterator(3)) == [[[6, 5, 4]] * 2, [[3, 2, 1]] * 2, [[0]] * 2]
    order = joined(batch for _, batch in ds.batch_iterator(3, np.random.RandomState(2)))
    assert order == np.random.RandomState(2).permutation(7).tolist()
    assert sorted(joined(batch for _, batch in ds.batch_iterator(3, 5))) == list(range(7))


def test_a_sampler_that_defines_only_what_it_can() -> None:
    """What a sampler does not define raises NotImplementedError at the call, and names it."""

    class Random(AbstractSampler):
        def num_indices_generated(self) -> int:
            return 4

        def shuffled_indices_batch_iterator(self, batch_size: int, shuffle_rng: Any) -> Iterator[Any]:
            return iter([shuffle_rng.permutation(4)])

    ds = numbers(4, sampler=Random())
    assert sorted(next(ds.batch_iterator(9, np.random.RandomState(0)))[0]) == [0, 1, 2, 3]
    with pytest.raises(NotImplementedError, match="Random"):
        ds.batch_iterator(9)
    with pytest.raises(NotImplementedError, match="AbstractSampler"):
        numbers(4, sampler=AbstractSampler()).num_samples()
    assert Random().map_indices([1]) == [1]


@pytest.mark.parametrize(("batch", "error"), [([0.5], TypeError), ([[0, 1]], ValueError), ([4], IndexError)])
def test_a_sampler_that_gives_bad_indices(batch: Any, error: type[Exception]) -> None:
    """Every index batch of a user's sampler is checked, also behind maps and in composites."""

    class Bad(users.Backwards):
        def in_order_indices_batch_iterator(self, batch_size: int) -> Iterator[Any]:
            yield [0, 1]
            yield batch

    for wrap in (lambda ds: ds, lambda ds: ds.map(lambda x: (x,)), lambda ds: CompositeDataSource([ds, numbers(9)])):
        batches = wrap(numbers(4, sampler=Bad(4))).batch_iterator(2)
        next(batches)
        with pytest.raises(error):
            next(batches)


def test_overridden_iterators_of_samplers_are_heeded() -> None:
    """Who derives a sampler from one of batchup's and overrides its public iterators gets those."""

    class Last(StandardSampler):
        def in_order_indices_batch_iterator(self, batch_size: int) -> Iterator[Any]:
            yield np.array([self.length - 1])

        def shuffled_indices_batch_iterator(self, batch_size: int, shuffle_rng: Any) -> Iterator[Any]:
            yield np.array([0])

    ds = numbers(5, sampler=Last(5))
    assert first(ds.batch_iterator(2)) == [[[4]]]
    assert first(ds.batch_iterator(2, np.random.RandomState(0))) == [[[0]]]


def test_overridden_index_iterators_of_sources_are_heeded() -> None:
    """Who derives a source and overrides `batch_indices_iterator` gets its batches."""

    class Twice(ArrayDataSource):
        def batch_indices_iterator(self, batch_size: int, shuffle: Any = None, **kwargs: Any) -> Iterator[Any]:
            yield np.array([1, 1])

    assert first(Twice([np.arange(5)]).batch_iterator(2)) == [[[1, 1]]]


def test_a_source_by_index() -> None:
    """It needs one method; order, subsets, repeats, maps, composites and choices follow."""
    assert first(users.Squares(5).batch_iterator(3)) == [[[0, 1, 2], [0, 1, 4]], [[3, 4], [9, 16]]]
    assert first(users.Squares(5, indices=[4, 2], repeats=2).batch_iterator(3)) == [
        [[4, 2, 4], [16, 4, 16]],
        [[2], [4]],
    ]
    doubled = users.Squares(5).map(lambda i, square: (i * 2, square))
    assert first(CompositeDataSource([doubled, numbers(9)]).batch_iterator(4))[1] == [[8], [16], [4]]
    chosen = ChoiceDataSource([users.Squares(2), users.Squares(4)], stratified=True)
    assert len(list(chosen.batch_iterator(1, 3))) == 6
    assert users.Squares(5, indices=[4, 2]).samples_by_indices(np.array([1]))[1].tolist() == [4]
    order = np.random.RandomState(1).permutation(5).tolist()
    assert joined(i for i, _ in users.Squares(5).batch_iterator(2, np.random.RandomState(1))) == order


def test_a_source_by_index_is_given_arrays_it_may_change() -> None:
    """The indices that a user's source is handed are its own: intp, checked, no part of the order."""

    class Greedy(RandomAccessDataSource):
        def samples_by_indices_nomapping(self, indices: Any) -> Any:
            assert indices.dtype == np.intp
            assert (indices >= 0).all()
            result = indices.copy()
            indices[...] = -99
            return (result,)

    for ds in (Greedy(9), Greedy(9, indices=[-1, 3, 3, 0], repeats=3), Greedy(9, sampler=users.Backwards(9))):
        plain = numbers(9, sampler=ds.sampler)
        for shuffle in (None, 7):
            assert first(ds.batch_iterator(2, shuffle)) == first(plain.batch_iterator(2, shuffle))


def test_a_source_without_random_access() -> None:
    """It is handed the keywords that the caller wrote, and is joined, mapped and evaluated like any other."""
    told: list[Any] = []

    class Noting(users.Countdown):
        def batch_iterator(self, batch_size: int, shuffle: Any = None, **kwargs: Any) -> Iterator[Any]:
            told.append((batch_size, shuffle, kwargs))
            return super().batch_iterator(batch_size, None)

    ds = Noting(5)
    assert first(CompositeDataSource([numbers(9), ds]).batch_iterator(3)) == [[[0, 1, 2], [4, 3, 2]], [[3, 4], [1, 0]]]
    assert first(ds.map(users.halves).batch_iterator(5, colour="red")) == [[[2.0, 1.5, 1.0, 0.5, 0.0]]]
    rng = np.random.RandomState(0)
    next(ChoiceDataSource([numbers(9), ds]).batch_iterator(2, shuffle=rng))
    assert told == [(3, None, {}), (5, None, {"colour": "red"}), (2, rng, {})]
    assert ds.batch_map_concat(lambda x: x, 2)[0].tolist() == [4, 3, 2, 1, 0]
    assert ds.batch_map_mean(lambda x: x.sum(), 2) == (2.0,)


def test_callables_are_handed_just_what_was_written() -> None:
    """`batch_iterator_fn` gets the batch size and the caller's keywords: none that batchup made up."""
    told: list[Any] = []

    def batches(*args: Any, **kwargs: Any) -> Any:
        told.append((args, kwargs))
        return iter([(np.arange(3),)])

    ds = CallableDataSource(batches, 3)
    rng = np.random.RandomState(0)
    for call in (
        lambda: ds.batch_iterator(3),
        lambda: ds.batch_iterator(3, shuffle=rng),
        lambda: ds.batch_iterator(3, rng),
        lambda: ds.batch_iterator(3, shuffle=None),
        lambda: ds.batch_iterator(3, shuffle=False, colour="red"),
        lambda: ds.map(users.halves).batch_iterator(3, size=5),
        lambda: CompositeDataSource([numbers(3), ds]).batch_iterator(3, shuffle=7, colour="blue"),
    ):
        assert len(list(call())) == 1
    assert told == [
        ((3,), {}),
        ((3,), {"shuffle": rng}),
        ((3,), {"shuffle": rng}),
        ((3,), {"shuffle": None}),
        ((3,), {"shuffle": False, "colour": "red"}),
        ((3,), {"size": 5}),
        ((3,), {"shuffle": 7, "colour": "blue"}),
    ]


def test_num_samples_of_a_callable_follows_the_keywords() -> None:
    """`num_samples_fn` may depend on the caller's keywords."""
    ds = CallableDataSource(users.batches_of_nine, lambda half=False, **kwargs: 4 if half else 9)
    assert ds.num_samples() == 9
    assert ds.num_samples(half=True) == 4
    assert len(ds.batch_iterator(2)) == 5
    assert len(ds.batch_iterator(2, half=True)) == 2
    assert ds.batch_iterator(2, half=True).num_samples == 4


def test_an_iterator_source_hands_its_batches_on() -> None:
    """Batches are the very objects that the iterator gives, whatever the batch size; it is used up once."""
    batches = [(np.arange(3), "anything"), {"a": np.arange(2)}, (np.arange(9),)]
    ds = IteratorDataSource(iter(batches), n_samples=14)
    got = list(ds.batch_iterator(5))
    assert all(ours is theirs for ours, theirs in zip(got, batches, strict=True))
    assert list(ds.batch_iterator(5)) == []
    assert ds.num_samples() == 14


def test_an_iterator_is_read_no_further_than_needed() -> None:
    """A batch is taken from the iterator when it is asked for; closing ours leaves the user's alone."""
    theirs = iter([(np.arange(3),), (np.arange(4),), (np.arange(5),)])
    ours = IteratorDataSource(theirs).batch_iterator(3)
    next(ours)
    ours.close()
    assert len(next(theirs)[0]) == 4


def test_a_map_may_return_what_an_untrimmed_composite_gave_it() -> None:
    """Arrays of different lengths are an error of a mapped function only if it was given arrays of one length."""
    members = [numbers(10, repeats=2), numbers(17)]
    ds = CompositeDataSource(members, trim=False).map(lambda a, b: (a * 2, b))
    assert [[len(part) for part in batch] for batch in ds.batch_iterator(8)] == [[8, 8], [8, 8], [4, 1]]


def test_closing_ends_a_users_generator() -> None:
    """Closing an iterator runs the `finally` of the generator behind it."""
    ended: list[bool] = []

    def batches(size: int) -> Iterator[Any]:
        try:
            while True:
                yield (np.arange(size),)
        finally:
            ended.append(True)

    for wrap in (lambda ds: ds, lambda ds: ds.map(users.halves), lambda ds: CompositeDataSource([ds, numbers(50)])):
        ended.clear()
        with wrap(CallableDataSource(batches)).batch_iterator(2) as iterator:
            next(iterator)
            assert ended == []
        assert ended == [True]


def test_coercion() -> None:
    """Sources stay what they are; array-likes, iterators and callables become sources."""
    ds = numbers(3)
    assert coerce_data_source(ds) is ds
    own = users.Countdown(3)
    assert coerce_data_source(own) is own
    x = np.arange(4)
    for arrays in ([x], (x,), [x, users.IntsOnly(x)], {"x": x}):
        source = coerce_data_source(arrays)
        assert isinstance(source, ArrayDataSource)
        assert source.num_samples() == 4
    assert isinstance(coerce_data_source(iter([(x,)])), IteratorDataSource)
    assert isinstance(coerce_data_source(ds.batch_iterator(2)), IteratorDataSource)
    assert isinstance(coerce_data_source(users.batches_of_nine), CallableDataSource)
    assert isinstance(coerce_data_source(users.Countdown(3).batch_iterator), CallableDataSource)


def test_isinstance() -> None:
    """The abstract classes are bases of what meets their contracts."""
    assert isinstance(numbers(3), RandomAccessDataSource)
    trees = [numbers(3).map(users.halves), CompositeDataSource([numbers(3)]), ChoiceDataSource([numbers(3)])]
    assert isinstance(trees[0], MapDataSource)
    assert all(isinstance(tree, AbstractDataSource) and tree.is_random_access for tree in trees)
    assert isinstance(StandardSampler(3), AbstractSampler)
    assert isinstance(SubsetSampler([3]), AbstractSampler)


def test_repr_of_an_array_like_that_shows_its_samples() -> None:
    """However an array-like shows itself (a table, say), the repr of a source over it stays short and on a line."""

    class Table(users.Everything):
        def __repr__(self) -> str:
            return "\n".join(f"row {i}: {row}" for i, row in enumerate(self.array))

    shown = repr(ArrayDataSource([Table(np.zeros((500, 3)))]))
    assert "\n" not in shown
    assert len(shown) < 200


def test_gather_with_out() -> None:
    """A user's `gather` with `out` is given exact, contiguous buffers, which go round; what it returns is heeded."""
    for returns in (True, False):
        column = users.GathersInto(np.arange(40.0).reshape(20, 2), returns)
        ds = ArrayDataSource([column])
        assert joined(batch[:, 0] for (batch,) in ds.batch_iterator(3)) == list(range(0, 40, 2))
        assert column.given == 7


def test_one_by_one_is_remembered() -> None:
    """An array-like that takes ints only is asked for an array once, and is then read by ints."""

    class Counting(users.IntsOnly):
        refusals = 0

        def __getitem__(self, index: Any) -> Any:
            self.refusals += type(index) is not int
            return super().__getitem__(index)

    data = Counting(np.arange(30))
    ds = ArrayDataSource([data])
    for _ in range(3):
        assert sorted(joined(batch for (batch,) in ds.batch_iterator(4, 1))) == list(range(30))
    assert data.refusals == 1


def test_stats_count_what_was_read() -> None:
    """`stats()` counts batches, samples and bytes, and the seconds are sums of what they should be."""
    ds = ArrayDataSource([np.zeros((20, 4)), np.zeros(20, np.int8)]).map(lambda x, y: (x, y))
    batches = ds.batch_iterator(6, shuffle=1)
    assert batches.stats()["batches"] == batches.stats()["samples"] == 0
    assert len(list(batches)) == 4
    stats = batches.stats()
    assert (stats["batches"], stats["samples"], stats["bytes"]) == (4, 20, 20 * 33)
    assert stats["waiting"] >= stats["gathering"] >= 0
    assert stats["waiting"] >= stats["mapping"] >= 0
    assert 0 <= stats["p50"] <= stats["p95"] <= stats["p99"]
    assert stats["transporting"] == 0


def test_one_index_is_not_taken_for_an_int() -> None:
    """A column that calls `int` on its index gives whole batches, also when the first batch holds one sample."""

    class ByInt:
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: Any) -> Any:
            return np.full(3, int(index))

    ds = ArrayDataSource([ByInt()])
    assert [batch.tolist() for (batch,) in ds.batch_iterator(1)] == [[[i, i, i]] for i in range(4)]
    assert ds.samples_by_indices([2])[0].shape == (1, 3)


@pytest.mark.parametrize("use", ["batch_iterator", "samples_by_indices"])
def test_shorter_data_put_into_a_source_disturb_no_pass_under_way(use: str) -> None:
    """Columns that are too short are refused before they are read from, so that no index is clipped to them."""
    data = np.arange(300_000.0).reshape(10, 30_000)
    ds = ArrayDataSource([data])
    under_way = ds.batch_iterator(1, shuffle=3)
    begun = [next(under_way)[0][0, 0], next(under_way)[0][0, 0]]
    ds.data[0] = data[:4] + 0.5
    with pytest.raises(ValueError, match="shrank from 10 to 4"):
        ds.batch_iterator(1) if use == "batch_iterator" else ds.samples_by_indices([1])
    rest = [batch[0, 0] for (batch,) in under_way]
    assert sorted(begun + rest) == data[:, 0].tolist()


def test_large_composites_read_no_member_far_ahead() -> None:
    """Where batches are large together, each member is read batch by batch too, not dozens of batches at once."""
    members = [ArrayDataSource([np.zeros((640, 1200))]) for _ in range(2)]
    for batch in CompositeDataSource(members).batch_iterator(10, shuffle=1):
        assert all(part.base is None or part.base.nbytes <= 256 * 1024 for part in batch)
