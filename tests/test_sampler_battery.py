"""What every sampler must do; the samplers are those of `cases.SAMPLERS`."""

from __future__ import annotations

import math
import pickle
from itertools import islice
from typing import Any

import numpy as np
import pytest

from batchup import sampling
from batchup.errors import BatchUpError
from batchup.sampling import AbstractSampler

from .cases import NAMES, SAMPLERS, SCALARS, SamplerCase
from .helpers import fingerprint, first, joined

SIZES = (1, 3, 4, 100)


def samplers(endless: bool | None = None) -> Any:
    """Parametrise over all samplers, or over those that never end, or over the others."""
    chosen = {name: c for name, c in SAMPLERS.items() if endless is None or (c.epoch is None) == endless}
    return pytest.mark.parametrize("case", chosen.values(), ids=chosen.keys())


def shuffled(sampler: AbstractSampler, size: int, seed: Any = 5, most: int = 12) -> list[Any]:
    rng = np.random.RandomState(seed) if isinstance(seed, int) else seed
    return first(sampler.shuffled_indices_batch_iterator(size, rng), most)


@samplers()
@pytest.mark.parametrize("size", SIZES)
def test_equal_generators_give_equal_orders(case: SamplerCase, size: int) -> None:
    """The order is that of the generator; iterating leaves nothing behind in the sampler."""
    sampler = case.make()
    assert shuffled(sampler, size) == shuffled(sampler, size) == shuffled(case.make(), size)
    streams = [shuffled(sampler, size, np.random.default_rng(3)) for _ in range(2)]
    assert streams[0] == streams[1]


@samplers()
@pytest.mark.parametrize("size", SIZES)
def test_batches_are_integer_arrays_of_the_batch_size(case: SamplerCase, size: int) -> None:
    """Index batches are full but for the last one, 1-dimensional, and their holder's to change."""
    batches = list(islice(case.make().shuffled_indices_batch_iterator(size, np.random.RandomState(1)), 12))
    assert all(np.asarray(batch).dtype.kind == "i" and np.ndim(batch) == 1 for batch in batches)
    assert all(len(batch) == size for batch in batches[:-1])
    assert all(1 <= len(batch) <= size for batch in batches[-1:])


@samplers(endless=False)
@pytest.mark.parametrize("size", SIZES)
def test_an_epoch_visits_what_it_should(case: SamplerCase, size: int) -> None:
    """In order and shuffled, an epoch holds each index as often as it should."""
    sampler = case.make()
    shuffled_epoch = joined(sampler.shuffled_indices_batch_iterator(size, np.random.RandomState(2)))
    in_order = joined(sampler.in_order_indices_batch_iterator(size))
    length = len(case.epoch or [])
    assert sorted(shuffled_epoch) == case.epoch
    assert sorted(i + length if i < 0 else i for i in in_order) == case.epoch
    assert sampler.num_indices_generated() == length


@samplers(endless=True)
def test_draws_never_end_and_have_no_order(case: SamplerCase) -> None:
    """Weighted draws are endless; asked for the order of the data they raise at the call."""
    sampler = case.make()
    assert sampler.num_indices_generated() == math.inf
    assert len(shuffled(sampler, 2, most=1000)) == 1000
    with pytest.raises(NotImplementedError, match="shuffle") as raised:
        sampler.in_order_indices_batch_iterator(4)
    assert isinstance(raised.value, BatchUpError)


@samplers()
def test_pickling_keeps_the_order(case: SamplerCase) -> None:
    """A sampler that went through pickle gives the same batches, and shows itself the same."""
    sampler = case.make()
    again = pickle.loads(pickle.dumps(sampler))
    assert shuffled(again, 3) == shuffled(sampler, 3)
    assert repr(again) == repr(sampler)


@samplers()
def test_repr_names_the_class_and_hides_arrays(case: SamplerCase) -> None:
    """The repr begins with the class and is short, however long its arrays are."""
    sampler = case.make()
    assert repr(sampler).startswith(type(sampler).__name__ + "(")
    assert len(repr(sampler)) < 100
    assert "\n" not in repr(sampler)


@pytest.mark.parametrize("sampler", [s for s in SCALARS if isinstance(s, AbstractSampler)], ids=repr)
def test_repr_rebuilds(sampler: AbstractSampler) -> None:
    """The repr of what holds numbers is the call that makes it."""
    again = eval(repr(sampler), NAMES)
    assert repr(again) == repr(sampler)
    assert shuffled(again, 4) == shuffled(sampler, 4)


def test_repr_shows_arrays_by_dtype_and_shape() -> None:
    """Arrays are shown by dtype and shape."""
    assert repr(sampling.SubsetSampler(np.arange(500))) == "SubsetSampler(indices=<int64 (500,)>)"
    assert repr(sampling.WeightedSampler(np.ones(7))) == "WeightedSampler(weights=<float64 (7,)>)"


@samplers()
def test_nothing_is_drawn_before_the_first_batch(case: SamplerCase) -> None:
    """Making an iterator leaves the generator alone; the first batch draws."""
    rng = np.random.RandomState(8)
    untouched = fingerprint(rng)
    batches = iter(case.make().shuffled_indices_batch_iterator(3, rng))
    assert fingerprint(rng) == untouched
    if next(batches, None) is not None:
        assert fingerprint(rng) != untouched or case.make().num_indices_generated() == 1


@samplers()
def test_batches_do_not_share_memory_with_the_sampler(case: SamplerCase) -> None:
    """Whoever overwrites an index batch changes nothing that comes later."""
    sampler = case.make()
    expected = shuffled(sampler, 3)
    batches = sampler.shuffled_indices_batch_iterator(3, np.random.RandomState(5))
    got = []
    for batch in islice(batches, 12):
        got.append(np.asarray(batch).tolist())
        batch[...] = -99
    assert got == expected
    assert shuffled(sampler, 3) == expected


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "a user's"])
def test_order_of_a_seed(name: str) -> None:
    """An int is a seed: it gives the same order always, whatever the batch size; other seeds give others."""
    sampler = SAMPLERS[name].make()

    def order(seed: int, size: int) -> list[int]:
        return joined(islice(sampler.shuffled_indices_batch_iterator(size, seed), 60 // size))

    assert order(7, 1) == order(7, 1) == order(7, 2) == order(7, 4)
    if len(set(order(7, 1))) > 1:
        assert len({repr(order(seed, 1)) for seed in range(10)}) > 1


def test_map_indices_gives_the_indices_of_a_subset() -> None:
    """`map_indices` maps positions (an int, a slice, integers) to sample indices; others leave them alone."""
    subset = sampling.SubsetSampler([7, 5, 3])
    weighted = sampling.WeightedSubsetSampler([1, 1, 1], [7, 5, 3])
    for sampler in (subset, weighted):
        assert sampler.map_indices(np.array([2, 0, 2])).tolist() == [3, 7, 3]
        assert sampler.map_indices([-1]).tolist() == [3]
        assert sampler.map_indices(1) == 5
        assert sampler.map_indices(slice(1, None)).tolist() == [5, 3]
    assert sampling.StandardSampler(5).map_indices([2, 1]) == [2, 1]
    assert sampling.WeightedSampler([1, 2]).map_indices([1]) == [1]


def test_num_batches_rounds_up() -> None:
    """`num_batches` counts a short last batch."""
    assert [sampling.num_batches(n, 4) for n in (0, 1, 4, 5, 8)] == [0, 1, 1, 2, 2]


def test_subset_is_copied() -> None:
    """Changing the array of indices afterwards changes no sampler."""
    indices = np.array([1, 2, 3])
    samplers = [sampling.SubsetSampler(indices), sampling.WeightedSubsetSampler([1, 1, 1], indices)]
    indices[:] = 99
    for sampler in samplers:
        assert set(joined(shuffled(sampler, 3))) == {1, 2, 3}


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_weights_and_pickle_follow_the_draws(dtype: Any) -> None:
    """Changing the given weights afterwards changes neither the draws, nor what is shown, nor what is pickled."""
    weights = np.array([1, 2, 5], dtype)
    sampler = sampling.WeightedSampler(weights)
    expected, shown = shuffled(sampler, 4), sampler.weights.tolist()
    weights[:] = [5, 0, 0]
    assert shuffled(sampler, 4) == expected
    assert sampler.weights.tolist() == shown
    assert shuffled(pickle.loads(pickle.dumps(sampler)), 4) == expected
