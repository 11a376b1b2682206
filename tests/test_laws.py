"""Laws of the orders, for any sizes: what an epoch holds, where batches end, what a tree of sources hands out."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from batchup.data_source import AbstractDataSource, ArrayDataSource, ChoiceDataSource, CompositeDataSource
from batchup.sampling import StandardSampler, SubsetSampler, WeightedSampler, num_batches

from .helpers import as_lists, first, joined

sizes = st.integers(1, 40)
lengths = st.integers(1, 60)
repetitions = st.integers(1, 5)
seeds = st.integers(0, 2**32 - 1)


def generators(seed: int) -> list[Any]:
    """Return one of each thing that `shuffle` may be, but for None and the global generator."""
    return [seed, np.random.RandomState(seed), np.random.default_rng(seed)]


def numbers(n: int, **kwargs: Any) -> ArrayDataSource:
    return ArrayDataSource([np.arange(n), np.arange(n) * 2.5], **kwargs)


@given(lengths, sizes, repetitions, seeds)
def test_an_epoch_visits_each_index_once_per_repetition(n: int, size: int, repeats: int, seed: int) -> None:
    """Each repetition is a permutation; batches run over the seams; only the last is short; columns stay together."""
    ds = numbers(n, repeats=repeats)
    for shuffle in [None, *generators(seed)]:
        batches = list(ds.batch_iterator(size, shuffle))
        order = joined(batch for batch, _ in batches)
        assert len(batches) == num_batches(n * repeats, size) == len(ds.batch_iterator(size, shuffle))
        assert all(len(batch) == size for batch, _ in batches[:-1])
        assert all((other == batch * 2.5).all() for batch, other in batches)
        for begin in range(0, n * repeats, n):
            part = order[begin : begin + n]
            assert sorted(part) == list(range(n))
            assert shuffle is not None or part == list(range(n))


@given(st.lists(st.integers(-30, 29), max_size=50), sizes, repetitions, seeds)
def test_subsets(indices: list[int], size: int, repeats: int, seed: int) -> None:
    """A subset is visited as it is, repeated indices and those that count from the end included."""
    ds = numbers(30, indices=indices, repeats=repeats)
    wanted = [i % 30 for i in indices]
    assert ds.num_samples() == len(indices) * repeats
    assert joined(batch for batch, _ in ds.batch_iterator(size)) == wanted * repeats
    for shuffle in generators(seed):
        order = joined(batch for batch, _ in ds.batch_iterator(size, shuffle))
        for begin in range(0, len(order), max(1, len(wanted))):
            assert sorted(order[begin : begin + len(wanted)]) == sorted(wanted)


@given(lengths, sizes, st.integers(0, 30), seeds)
def test_endless_repetition(n: int, size: int, count: int, seed: int) -> None:
    """repeats=-1 fills every batch, however small the data, one permutation after the other."""
    ds = numbers(n, repeats=-1)
    for shuffle in [None, *generators(seed)]:
        batches = first(ds.batch_iterator(size, shuffle), count)
        assert len(batches) == count
        order = joined(batch for batch, _ in batches)
        assert len(order) == count * size
        for begin in range(0, len(order) - n + 1, n):
            assert sorted(order[begin : begin + n]) == list(range(n))


@given(lengths, sizes, repetitions, seeds)
def test_one_permutation_per_repetition_is_drawn(n: int, size: int, repeats: int, seed: int) -> None:
    """By generator, the orders are `permutation(n)`, one after the other."""
    for make in (np.random.RandomState, np.random.default_rng):
        rng = make(seed)
        expected = [int(i) for _ in range(repeats) for i in rng.permutation(n)]
        ds = numbers(n, repeats=repeats)
        assert joined(batch for batch, _ in ds.batch_iterator(size, make(seed))) == expected


@given(lengths, sizes, sizes, repetitions, seeds)
def test_a_seeded_order_does_not_depend_on_the_batch_size(n: int, a: int, b: int, repeats: int, seed: int) -> None:
    """The samples of a seed and an epoch come in the same order at any batch size."""
    weights = np.arange(1, n + 1)
    for sampler in (StandardSampler(n, repeats), SubsetSampler(np.arange(n), repeats), WeightedSampler(weights)):
        ds = numbers(n, sampler=sampler)
        orders = [
            joined(batch for batch, _ in first(ds.batch_iterator(size, seed, epoch=3), 200 // size)) for size in (a, b)
        ]
        common = min(map(len, orders))
        assert orders[0][:common] == orders[1][:common]


@given(st.data(), sizes, seeds)
def test_random_permutations_are_uniform_enough(data: st.DataObject, size: int, seed: int) -> None:
    """Over many epochs of a seed, every sample comes first at some time."""
    n = data.draw(st.integers(1, 5))
    firsts = {int(next(numbers(n).batch_iterator(size, seed, epoch=epoch))[0][0]) for epoch in range(100)}
    assert firsts == set(range(n))


@st.composite
def trees(draw: st.DrawFn, depth: int = 3) -> AbstractDataSource:
    """Return any tree of finite sources that is random access."""
    kind = draw(st.sampled_from(["array", "subset", "composite", "map"] if depth else ["array", "subset"]))
    if kind == "array":
        repeats = draw(st.sampled_from([1, 1, 2, 3]))
        return ArrayDataSource([np.arange(draw(st.integers(1, 25)))], repeats=repeats)
    if kind == "subset":
        indices = draw(st.lists(st.integers(0, 19), min_size=1, max_size=30))
        return ArrayDataSource([np.arange(20), np.arange(20) % 3], indices=indices, include_indices=draw(st.booleans()))
    if kind == "map":
        return draw(trees(depth - 1)).map(lambda *batch: batch)
    members = draw(st.lists(trees(depth - 1), min_size=1, max_size=3))
    return CompositeDataSource(members, flatten=draw(st.booleans()))


def first_leaf(batch: Any) -> list[int]:
    while isinstance(batch[0], list):
        batch = batch[0]
    return batch


@given(trees(), sizes, seeds)
def test_any_tree(tree: Any, size: int, seed: int) -> None:
    """A tree gives `num_samples` samples, in as many batches as it says, the same when read by index."""
    for shuffle in [None, *generators(seed)]:
        batches = first(tree.batch_iterator(size, shuffle))
        assert len(batches) == len(tree.batch_iterator(size, shuffle)) == num_batches(tree.num_samples(), size)
        assert sum(len(first_leaf(batch)) for batch in batches) == tree.num_samples()
    indices = list(tree.batch_indices_iterator(size, np.random.RandomState(seed)))
    by_index = [as_lists(tree.samples_by_indices_nomapping(i)) for i in indices]
    assert by_index == first(tree.batch_iterator(size, np.random.RandomState(seed)))


@given(st.lists(trees(2), min_size=1, max_size=4), sizes, seeds)
def test_a_composite_joins_what_its_members_give(members: list[Any], size: int, seed: int) -> None:
    """In order, a composite is its members side by side, cut to the shortest."""
    composite = CompositeDataSource(members, flatten=False)
    passes = [first(member.batch_iterator(size)) for member in members]
    whole = first(composite.batch_iterator(size))
    assert len(whole) == min(map(len, passes))
    for step, batch in enumerate(whole):
        shortest = min(len(first_leaf(part[step])) for part in passes)
        assert batch == [cut(part[step], shortest) for part in passes]


def test_a_composite_cuts_before_it_reads() -> None:
    """What is cut off is not read: indices are cut, and mapped members are handed the cut batch."""
    seen: list[int] = []

    def note(*batch: Any) -> Any:
        seen.append(len(batch[0]))
        return batch

    ds = CompositeDataSource([numbers(4), CompositeDataSource([numbers(9).map(note), numbers(8)])])
    assert as_lists(list(ds.batch_indices_iterator(3))) == [[[0, 1, 2], [[0, 1, 2], [0, 1, 2]]], [[3], [[3], [3]]]]
    assert len(list(ds.batch_iterator(3))) == 2
    assert seen == [3, 1]


def cut(batch: Any, length: int) -> Any:
    return [cut(part, length) for part in batch] if isinstance(batch[0], list) else batch[:length]


@given(st.lists(trees(1), min_size=1, max_size=4), sizes, seeds)
def test_a_stratified_choice_gives_everything(members: list[Any], size: int, seed: int) -> None:
    """A stratified choice gives every batch of every member, in the member's own order."""
    choice = ChoiceDataSource(members, stratified=True)
    passes = [first(member.batch_iterator(size)) for member in members]
    turns: list[int] = []
    for shuffle in [None, seed, np.random.RandomState(seed)]:
        chosen = list(choice.batch_indices_iterator(size, shuffle))
        assert [sum(c.ds_index == i for c in chosen) for i in range(len(members))] == [len(p) for p in passes]
        turns = turns or [c.ds_index for c in chosen]
    left = [iter(part) for part in passes]
    assert first(choice.batch_iterator(size)) == [next(left[turn]) for turn in turns]


@given(st.lists(st.integers(0, 12), min_size=1, max_size=4))
def test_stratified_in_order_is_spread_as_specified(shares: list[int]) -> None:
    """At step t each member for which floor((t b + 1/4) / m) has grown gives a batch; at t = 0 all that have one."""
    members = [ArrayDataSource([np.full(share, i)]) for i, share in enumerate(shares)]
    order = joined(batch for (batch,) in ChoiceDataSource(members, stratified=True).batch_iterator(1))
    most = max(shares)
    expected: list[int] = []
    for t in range(most):
        for i, share in enumerate(shares):
            grown = int((t * share + 0.25) // most) > int(((t - 1) * share + 0.25) // most)
            if share and (t == 0 or grown):
                expected.append(i)
    assert order == expected


@given(st.lists(st.integers(1, 12), min_size=1, max_size=4), seeds)
def test_a_choice_takes_turns(shares: list[int], seed: int) -> None:
    """A plain choice goes round (shuffled: by `permutation` each round) until a member has nothing left."""
    members = [ArrayDataSource([np.full(share, i)]) for i, share in enumerate(shares)]
    choice = ChoiceDataSource(members)
    order = joined(batch for (batch,) in choice.batch_iterator(1))
    assert order == ([*range(len(shares))] * max(shares))[: len(order)]
    assert len(order) == min(shares) * len(shares) + shares.index(min(shares))
    left = list(shares)
    for turn in (int(batch[0]) for (batch,) in choice.batch_iterator(1, np.random.RandomState(seed))):
        left[turn] -= 1
    assert min(left) == 0
    assert max(s - rest for s, rest in zip(shares, left, strict=True)) <= min(shares) + 1


@given(lengths, sizes, seeds)
def test_a_shared_generator_is_drawn_from_in_order(n: int, size: int, seed: int) -> None:
    """Members of a composite that share a RandomState draw in their order, when a batch is due, and not before."""
    composite = CompositeDataSource([numbers(n, repeats=-1), numbers(n + 3, repeats=2)])
    rng, again = np.random.RandomState(seed), np.random.RandomState(seed)
    alone = [
        StandardSampler(n, -1).shuffled_indices_batch_iterator(size, again),
        StandardSampler(n + 3, 2).shuffled_indices_batch_iterator(size, again),
    ]
    for batch in composite.batch_iterator(size, rng):
        mine, other = next(alone[0]), next(alone[1])
        assert batch[0].tolist() == mine[: len(batch[0])].tolist()
        assert batch[2].tolist() == other.tolist()
        assert (rng.get_state()[1] == again.get_state()[1]).all()
        assert rng.get_state()[2] == again.get_state()[2]
