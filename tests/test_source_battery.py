"""What every data source must do; the sources are those of `cases.SOURCES`."""

from __future__ import annotations

import math
import pickle
from contextlib import suppress
from itertools import islice
from typing import Any

import numpy as np
import pytest

from batchup import data_source
from batchup.data_source import AbstractDataSource, BatchIterator

from . import users
from .cases import NAMES, SCALARS, SOURCES, SourceCase
from .helpers import as_lists, fingerprint, first, joined, leaves

MOST = 30
SIZES = (1, 3, 4, 64)


def sources(**wanted: bool) -> Any:
    """Parametrise over the sources whose attributes are as wanted."""
    chosen = {name: c for name, c in SOURCES.items() if all(getattr(c, k) == v for k, v in wanted.items())}
    return pytest.mark.parametrize("case", chosen.values(), ids=chosen.keys())


def shuffled(ds: AbstractDataSource, size: int, shuffle: Any = 5, **kwargs: Any) -> list[Any]:
    rng = np.random.RandomState(shuffle) if isinstance(shuffle, int) else shuffle
    return first(ds.batch_iterator(size, shuffle=rng, **kwargs), MOST)


def by_generator(seed: int | None) -> dict[str, Any]:
    """Return the keywords for the order of the data, or for one drawn from a generator."""
    return {} if seed is None else {"shuffle": np.random.RandomState(seed)}


def seeded(ds: AbstractDataSource, size: int, seed: int, epoch: int = 0) -> list[Any]:
    return first(ds.batch_iterator(size, seed, epoch=epoch), 8)  # type: ignore[call-arg]


@sources()
@pytest.mark.parametrize("size", SIZES)
def test_equal_generators_give_equal_batches(case: SourceCase, size: int) -> None:
    """The batches follow from the generator; iterating leaves nothing behind."""
    ds = case.make()
    expected = shuffled(ds, size)
    assert shuffled(ds if case.again else case.make(), size) == expected
    if case.again and case.in_order:
        assert first(ds.batch_iterator(size), MOST) == first(ds.batch_iterator(size), MOST)


@sources(again=True)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seed", [None, 3])
def test_a_batch_belongs_to_its_holder(case: SourceCase, size: int, seed: int | None) -> None:
    """Batches are writable; writing into one changes neither the data nor a batch handed out before or after."""
    if seed is None and not case.in_order:
        return
    ds = case.make()
    expected = first(ds.batch_iterator(size, **by_generator(seed)), MOST)
    held: list[Any] = []
    for batch, lists in zip(ds.batch_iterator(size, **by_generator(seed)), expected, strict=False):
        assert as_lists(batch) == lists
        held.append(batch)
        for array in leaves(held[-2] if len(held) % 2 == 0 else ()):
            assert array.flags.writeable
            array[...] = np.zeros((), array.dtype)
    assert [as_lists(batch) for batch in held[1::2]] == expected[1::2]
    assert first(ds.batch_iterator(size, **by_generator(seed)), MOST) == expected


@sources()
def test_pickling_keeps_the_batches(case: SourceCase) -> None:
    """A source that went through pickle gives the same batches, and shows itself the same."""
    ds = case.make()
    if isinstance(ds, data_source.IteratorDataSource):
        return  # generators cannot be pickled
    again = pickle.loads(pickle.dumps(ds))
    assert shuffled(again, 4) == shuffled(ds, 4)
    assert type(again) is type(ds)


@sources()
def test_repr_is_a_line_without_samples(case: SourceCase) -> None:
    """The repr begins with the class, and stays on a line."""
    shown = repr(case.make())
    assert shown.startswith(type(case.make()).__name__ + "(")
    assert "\n" not in shown
    assert "array(" not in shown


@pytest.mark.parametrize("ds", [s for s in SCALARS if isinstance(s, AbstractDataSource)], ids=repr)
def test_repr_rebuilds(ds: AbstractDataSource) -> None:
    """The repr of what holds numbers is the call that makes it."""
    again = eval(repr(ds), NAMES)
    assert repr(again) == repr(ds)
    assert again.num_samples() == ds.num_samples()


@sources()
def test_num_samples(case: SourceCase) -> None:
    """`num_samples` is as the table says, on the source and on its iterators."""
    ds = case.make()
    assert ds.num_samples() == case.samples
    batches = ds.batch_iterator(4, shuffle=np.random.RandomState(0))
    assert getattr(batches, "num_samples", case.samples) == case.samples


@sources()
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seed", [None, 1])
def test_len_of_the_iterator(case: SourceCase, size: int, seed: int | None) -> None:
    """The length of an iterator is its number of batches, all along; a TypeError where it is endless or unknown."""
    if seed is None and not case.in_order:
        return
    ds = case.make()
    passes = [ds.batch_iterator(size, **by_generator(seed)) for _ in range(2)]
    if case.counted[seed is not None]:
        expected = len(list(passes[0]))
        assert len(passes[1]) == expected
        next(passes[1], None)
        assert len(passes[1]) == expected
    else:
        with pytest.raises(TypeError):
            len(passes[0])


@sources()
def test_the_iterator(case: SourceCase) -> None:
    """Position counts the batches handed out; closing ends the pass; so does leaving the context."""
    rng = np.random.RandomState(1)
    batches = case.make().batch_iterator(3, shuffle=rng)
    if not isinstance(batches, BatchIterator):
        assert isinstance(case.make(), users.Countdown)
        return
    assert iter(batches) is batches
    for i, _ in enumerate(islice(batches, 4)):
        assert batches.position == i + 1
    at = batches.position
    batches.close()
    batches.close()
    assert next(batches, None) is None
    assert batches.position == at
    with case.make().batch_iterator(3, shuffle=rng) as batches:
        next(batches, None)
    assert next(batches, None) is None


@sources()
def test_an_exhausted_iterator_stays_so(case: SourceCase) -> None:
    """Behind the last batch there is nothing, however often one asks."""
    if case.samples == math.inf:
        return
    batches = case.make().batch_iterator(4, shuffle=np.random.RandomState(0))
    count = len(list(batches))
    assert next(batches, None) is None
    assert next(batches, None) is None
    assert getattr(batches, "position", count) == count


@sources(indexed=True)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shuffle", [None, 11, "generator"])
def test_batches_by_their_indices(case: SourceCase, size: int, shuffle: Any) -> None:
    """The indices of `batch_indices_iterator`, read by index, are the batches of `batch_iterator`."""
    if shuffle is None and not case.in_order:
        return
    ds: Any = case.make()
    rngs = [np.random.RandomState(4) if shuffle == "generator" else shuffle for _ in range(2)]
    indices = list(islice(ds.batch_indices_iterator(size, rngs[0]), MOST))
    batches = first(ds.batch_iterator(size, rngs[1]), MOST)
    assert [as_lists(ds.samples_by_indices_nomapping(i)) for i in indices] == batches


@sources(indexed=True)
def test_indices_of_batches_are_the_holders(case: SourceCase) -> None:
    """Whoever overwrites the indices of a batch changes nothing that comes later."""
    ds: Any = case.make()

    def run(spoil: bool) -> list[Any]:
        got = []
        for indices in islice(ds.batch_indices_iterator(3, np.random.RandomState(6)), MOST):
            got.append(as_lists(indices))
            for array in leaves(tuple(indices) if isinstance(indices, data_source.ChoiceBatch) else indices):
                if spoil and isinstance(array, np.ndarray):
                    array[...] = 0
        return got

    assert run(spoil=True) == run(spoil=False)


@sources(indexed=False)
def test_without_random_access(case: SourceCase) -> None:
    """What cannot be read by index says so, and raises a TypeError."""
    ds: Any = case.make()
    assert not ds.is_random_access
    for method, argument in (("batch_indices_iterator", 4), ("samples_by_indices", [0])):
        if hasattr(ds, method):
            with pytest.raises(TypeError, match="not random access"):
                getattr(ds, method)(argument)


@sources(indexed=True)
def test_with_random_access(case: SourceCase) -> None:
    """What can be read by index says so."""
    assert case.make().is_random_access


@sources(seeded=True)
@pytest.mark.parametrize("size", SIZES)
def test_orders_of_seeds(case: SourceCase, size: int) -> None:
    """Seed and epoch decide the order: the same give the same, others give others."""
    ds = case.make()
    assert seeded(ds, size, 1, 2) == seeded(ds, size, 1, 2) == seeded(case.make(), size, 1, 2)
    distinct = {repr(seeded(ds, size, seed, epoch)) for seed in range(6) for epoch in range(6)}
    samples = {str(row) for batch in islice(ds.batch_iterator(4, shuffle=1), MOST) for row in next(leaves(batch))}  # type: ignore[call-arg]
    assert len(distinct) >= (30 if len(samples) > 8 and size < 64 else 3 if len(samples) > 2 else 1)


@sources(again=True)
def test_nothing_is_drawn_before_the_first_batch(case: SourceCase) -> None:
    """Making an iterator, asking its length and closing it leave the generator alone."""
    rng = np.random.RandomState(8)
    untouched = fingerprint(rng)
    batches = case.make().batch_iterator(3, shuffle=rng)
    if isinstance(batches, BatchIterator):
        with suppress(TypeError):
            len(batches)
        batches.close()
        assert next(batches, None) is None
    assert fingerprint(rng) == untouched


@sources(again=True)
def test_two_iterators_of_a_source_do_not_meet(case: SourceCase) -> None:
    """Two passes over the same source, in turn, give what each would give alone."""
    ds = case.make()
    expected = [shuffled(ds, 3, seed) for seed in (1, 2)]
    pair = [ds.batch_iterator(3, shuffle=np.random.RandomState(seed)) for seed in (1, 2)]
    got: list[list[Any]] = [[], []]
    for _ in range(MOST):
        for batches, mine in zip(pair, got, strict=True):
            mine += first(batches, 1)
    assert got == expected


@sources(again=True, in_order=True)
def test_views_hold_the_same(case: SourceCase) -> None:
    """copy=False changes who owns the memory, not what is in it."""
    ds: Any = case.make()
    if getattr(ds, "fn", None) is not users.add_ten:  # which writes into the batch
        assert first(ds.batch_iterator(3, copy=False), MOST) == first(ds.batch_iterator(3), MOST)


@sources(seeded=True, indexed=True)
def test_positions_and_indices(case: SourceCase) -> None:
    """`samples_by_indices` counts within what is sampled from, `samples_by_indices_nomapping` within the data."""
    ds: Any = case.make()
    if not hasattr(ds, "sampler") or ds.sampler.num_indices_generated() == 0:
        return
    for positions in (np.array([0]), np.array([0, 0])):
        by_position = as_lists(ds.samples_by_indices(positions))
        assert by_position == as_lists(ds.samples_by_indices_nomapping(ds.sampler.map_indices(positions)))


def test_members_are_shuffled_independently() -> None:
    """With a seed, the members of a composite have orders of their own, even if they are one and the same."""
    one = data_source.ArrayDataSource([np.arange(50)])
    for ds in (
        data_source.CompositeDataSource([one, one]),
        data_source.CompositeDataSource([one, data_source.CompositeDataSource([one])]),
        data_source.CompositeDataSource([one, one.map(lambda x: (x,))]),
    ):
        orders = [joined(part) for part in zip(*ds.batch_iterator(8, shuffle=1), strict=True)]
        assert orders[0] != orders[1]
        assert sorted(orders[0]) == sorted(orders[1]) == list(range(50))
    choice = data_source.ChoiceDataSource([one, one.map(lambda x: (x + 100,))], stratified=True)
    order = joined(batch for (batch,) in choice.batch_iterator(8, shuffle=1))
    assert [i for i in order if i < 100] != [i - 100 for i in order if i >= 100]


def test_seed_and_epoch_do_not_mix() -> None:
    """Seed 1 at epoch 1 is not seed 2 at epoch 0, nor is any pair of small numbers another."""
    ds = data_source.ArrayDataSource([np.arange(40)])
    orders = {repr(seeded(ds, 40, seed, epoch)) for seed in range(12) for epoch in range(12)}
    assert len(orders) == 144
    for seed, epoch in ((0, 0), (2**32 - 1, 0), (2**32, 1), (2**63, 5), (2**100, 2**20)):
        order = first(ds.batch_iterator(40, seed, epoch=epoch))
        assert order == first(ds.batch_iterator(40, seed, epoch=epoch))
        assert sorted(order[0][0]) == list(range(40))


def test_repetitions_are_shuffled_anew() -> None:
    """Each repetition has an order of its own, seeded or drawn."""
    for shuffle in (5, np.random.RandomState(5), np.random.default_rng(5)):
        ds = data_source.ArrayDataSource([np.arange(40)], repeats=3)
        order = joined(batch for (batch,) in ds.batch_iterator(7, shuffle))
        passes = [order[:40], order[40:80], order[80:]]
        assert all(sorted(part) == list(range(40)) for part in passes)
        assert passes[0] != passes[1] != passes[2] != passes[0]


@pytest.mark.parametrize("shuffle", [True, np.True_, np.random])
def test_shuffle_true_is_the_global_generator(shuffle: Any) -> None:
    """shuffle=True draws from NumPy's global generator, as np.random.permutation does."""
    state = np.random.get_state()
    try:
        np.random.seed(77)
        expected = np.random.permutation(20).tolist()
        np.random.seed(77)
        ((order,),) = data_source.ArrayDataSource([np.arange(20)]).batch_iterator(20, shuffle=shuffle)
    finally:
        np.random.set_state(state)
    assert order.tolist() == expected


@pytest.mark.parametrize("shuffle", [None, False, np.False_])
def test_shuffle_false_is_the_order_of_the_data(shuffle: Any) -> None:
    """None and False are the order of the data."""
    ds = data_source.ArrayDataSource([np.arange(20)])
    assert joined(batch for (batch,) in ds.batch_iterator(6, shuffle)) == list(range(20))


def test_positional_arguments() -> None:
    """`batch_iterator(batch_size, shuffle)` may be called without names."""
    ds = data_source.ArrayDataSource([np.arange(20)])
    assert first(ds.batch_iterator(6, 3)) == first(ds.batch_iterator(batch_size=6, shuffle=3))
    assert first(ds.batch_iterator(np.int64(6), np.int32(3))) == first(ds.batch_iterator(6, 3))


def test_what_constructors_were_given_stays_readable() -> None:
    """The arguments of the constructors are attributes, the very objects."""
    data, batches, fn = [np.arange(3)], iter([(np.arange(2),)]), users.halves
    ds = data_source.ArrayDataSource(data, include_indices=True)
    assert ds.data is data
    assert ds.include_indices is True
    assert repr(ds.sampler) == "StandardSampler(length=3)"
    assert data_source.IteratorDataSource(batches).batch_iter is batches
    handed = data_source.CallableDataSource(users.batches_of_nine, users.nine)
    assert (handed.batch_iterator_fn, handed.num_samples_fn) == (users.batches_of_nine, users.nine)
    mapped = ds.map(fn)
    assert mapped.source is ds
    assert mapped.fn is fn
    assert isinstance(mapped, data_source.MapDataSource)
    members = [ds, mapped]
    for joined_source in (data_source.CompositeDataSource(members), data_source.ChoiceDataSource(members)):
        assert joined_source.datasets is members or joined_source.datasets == members


def test_abstract_methods_raise() -> None:
    """What a class of the user's does not define raises NotImplementedError when it is called."""
    bare: Any = AbstractDataSource()
    assert not bare.is_random_access
    for call in (bare.num_samples, lambda: bare.batch_iterator(3)):
        with pytest.raises(NotImplementedError):
            call()
    with pytest.raises(NotImplementedError):
        data_source.RandomAccessDataSource(3).samples_by_indices_nomapping(np.array([0]))
    with pytest.raises(NotImplementedError):
        next(data_source.RandomAccessDataSource(3).batch_iterator(2))
