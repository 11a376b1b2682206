"""Laws of seekable passes: resume anywhere, any number of ranks, any tail, over random trees of sources."""

from __future__ import annotations

import json
from itertools import chain, islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchup.data_source import (
    AbstractDataSource,
    ArrayDataSource,
    BatchIterator,
    ChoiceDataSource,
    CompositeDataSource,
)
from batchup.data_source.batches import arrays
from batchup.errors import StateError
from batchup.sampling import SubsetSampler, WeightedSampler

MOST = 40


def leaf(draw: Any, number: int, finite: bool) -> ArrayDataSource:
    """Return a small array source whose values tell which leaf and sample they are."""
    n = draw(st.integers(1, 12))
    values = np.arange(n) + 1000 * number
    kinds = ["plain", "subset", "repeats", "endless", "weighted"]
    kind = draw(st.sampled_from(kinds[:3] if finite else kinds))
    if kind == "subset":
        indices = draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=8))
        return ArrayDataSource([values], sampler=SubsetSampler(indices, draw(st.integers(1, 3))))
    if kind == "weighted":
        return ArrayDataSource([values], sampler=WeightedSampler(np.arange(n) + 1.0))
    repeats = {"repeats": draw(st.integers(2, 3)), "endless": -1}.get(kind, 1)
    return ArrayDataSource([values], repeats=repeats, include_indices=draw(st.booleans()))


@st.composite
def trees(draw: Any, kinds: tuple[str, ...] = ("leaf", "composite", "choice"), finite: bool = False) -> Any:
    """Return a random tree of random access sources."""
    counter = iter(range(100))

    def grow(depth: int) -> AbstractDataSource:
        kind = draw(st.sampled_from(kinds if depth else ("leaf",)))
        if kind == "leaf":
            return leaf(draw, next(counter), finite)
        members = [grow(depth - 1) for _ in range(draw(st.integers(1, 3)))]
        if kind == "composite":
            return CompositeDataSource(
                members, flatten=draw(st.booleans()), trim=draw(st.sampled_from([True, True, False]))
            )
        return ChoiceDataSource(members, stratified=draw(st.booleans()))

    return grow(2)


def plain(batch: Any) -> Any:
    """Return a batch as lists."""
    if isinstance(batch, (tuple, list)):
        return [plain(part) for part in batch]
    if isinstance(batch, dict):
        return {name: plain(part) for name, part in batch.items()}
    return np.asarray(batch).tolist()


def drawn(batches: BatchIterator, most: int = MOST) -> list[Any]:
    """Return the next batches as lists."""
    return [plain(batch) for batch in islice(batches, most)]


def kept(batches: BatchIterator, most: int = 10**6) -> list[Any]:
    """Return the next batches."""
    return list(islice(batches, most))


orders = st.sampled_from(["seed", "state", "generator", "in order"])
tails = st.sampled_from(["short", "drop", "wrap", "pad"])


def shuffle_of(order: str) -> Any:
    """Return what to pass as shuffle, freshly seeded."""
    return {
        "seed": 5,
        "state": np.random.RandomState(5),
        "generator": np.random.default_rng(5),
        "in order": None,
    }[order]


def iterated(ds: AbstractDataSource, shuffle: Any, **keywords: Any) -> BatchIterator:
    """Return the iterator, a weighted leaf read in order passed over."""
    batches = ds.batch_iterator(keywords.pop("batch_size"), shuffle=shuffle, **keywords)
    assert isinstance(batches, BatchIterator)
    return batches


@settings(deadline=None, max_examples=200)
@given(
    ds=trees(), order=orders, batch_size=st.integers(1, 7), tail=tails, k=st.integers(0, 12), epoch=st.integers(0, 2)
)
def test_a_pass_goes_on_where_its_state_was_taken(
    ds: AbstractDataSource, order: str, batch_size: int, tail: str, k: int, epoch: int
) -> None:
    """(iterate k, save, load elsewhere, continue) equals (iterate through), and so do states taken again."""
    try:
        through = iterated(ds, shuffle_of(order), batch_size=batch_size, tail=tail, epoch=epoch)
    except NotImplementedError:
        return  # a weighted sampler has no order of the data
    expected = drawn(through)
    begun = iterated(ds, shuffle_of(order), batch_size=batch_size, tail=tail, epoch=epoch)
    head = drawn(begun, k)
    state = json.loads(json.dumps(begun.state_dict()))
    if order in ("seed", "in order"):
        assert len(json.dumps(state)) < 1024
    elsewhere = iterated(ds, shuffle_of(order), batch_size=batch_size, tail=tail, epoch=epoch)
    elsewhere.load_state_dict(state)
    assert elsewhere.position == len(head)
    assert elsewhere.state_dict() == state
    assert head + drawn(elsewhere, MOST - len(head)) == expected
    assert head + drawn(begun, MOST - len(head)) == expected


def samples(batches: list[Any], whole: int) -> list[Any]:
    """Return the samples of batches of one column, in order."""
    return [sample for batch in batches for sample in batch[0][:whole]]


@settings(deadline=None, max_examples=150)
@given(
    ds=trees(finite=True),
    order=orders,
    batch_size=st.integers(1, 5),
    world=st.integers(1, 17),
    tail=st.sampled_from(["short", "drop"]),
)
def test_the_ranks_together_give_the_one_rank_epoch(
    ds: Any, order: str, batch_size: int, world: int, tail: str
) -> None:
    """The ranks' batches, put together step by step, equal the one-rank epoch; all hand out equally many."""
    alone = kept(iterated(ds, shuffle_of(order), batch_size=batch_size, tail=tail))
    ranks = [
        kept(iterated(ds, shuffle_of(order), batch_size=batch_size, shard=(rank, world), tail=tail))
        for rank in range(world)
    ]
    steps = {len(batches) for batches in ranks}
    assert len(steps) == 1
    together = [ranks[rank][step] for step in range(steps.pop()) for rank in range(world)]
    if tail == "short":
        assert joined(together) == joined(alone)
    else:
        assert joined(together) == joined(alone[: len(together)])


def joined(batches: list[Any]) -> list[Any]:
    """Return the columns of batches, each joined over the batches; batches of a choice one after the other."""
    flat = [[array.tolist() for array in arrays(batch)] for batch in batches]
    flat = [columns for columns in flat if any(columns)]
    if len({len(columns) for columns in flat}) > 1:
        return flat
    return [list(chain.from_iterable(column)) for column in zip(*flat, strict=True)]


@settings(deadline=None, max_examples=100)
@given(
    n=st.integers(1, 60),
    repeats=st.integers(1, 3),
    batch_size=st.integers(1, 6),
    world=st.integers(1, 6),
    tail=tails,
    order=st.sampled_from(["seed", "state"]),
)
def test_tails_over_ranks(n: int, repeats: int, batch_size: int, world: int, tail: str, order: str) -> None:
    """Drop leaves whole steps, wrap and pad give whole batches, the mask marks every sample once."""
    ds = ArrayDataSource([np.arange(n)], repeats=repeats)
    total = n * repeats
    alone = samples(drawn(iterated(ds, shuffle_of(order), batch_size=batch_size), 10**6), 10**6)
    assert len(alone) == total
    ranks = []
    for rank in range(world):
        batches = iterated(ds, shuffle_of(order), batch_size=batch_size, shard=(rank, world), tail=tail)
        length = len(batches)
        ranks.append(list(batches))
        assert len(ranks[-1]) == length
    together = [ranks[rank][step] for step in range(len(ranks[0])) for rank in range(world)]
    if tail == "drop":
        assert all(len(batch[0]) == batch_size for batch in together)
        whole = total // (batch_size * world) * batch_size * world
        assert [int(x) for batch in together for x in batch[0]] == alone[:whole]
    elif tail == "wrap":
        assert all(len(batch[0]) == batch_size for batch in together)
        got = [int(x) for batch in together for x in batch[0]]
        assert got == (alone * (len(got) // total + 1))[: len(got)]
    elif tail == "pad":
        assert all(len(batch[0]) == len(batch[1]) == batch_size for batch in together)
        assert [int(x) for batch in together for x in batch[0][batch[1]]] == alone
    else:
        assert [int(x) for batch in together for x in batch[0]] == alone


@settings(deadline=None, max_examples=100)
@given(
    ds=trees(kinds=("leaf", "composite"), finite=True),
    batch_size=st.integers(1, 4),
    old=st.integers(1, 6),
    new=st.integers(1, 6),
    k=st.integers(0, 6),
)
def test_a_state_continues_at_another_world_size(ds: Any, batch_size: int, old: int, new: int, k: int) -> None:
    """A state taken at one world size goes on at any that divides it, else the nearest are named."""
    alone = kept(iterated(ds, 5, batch_size=batch_size))
    begun = [iterated(ds, 5, batch_size=batch_size, shard=(rank, old)) for rank in range(old)]
    head = [kept(batches, k) for batches in begun]
    done = len(head[0])
    together = [head[rank][step] for step in range(done) for rank in range(old)]
    state = begun[0].state_dict()
    resumed = [iterated(ds, 5, batch_size=batch_size, shard=(rank, new)) for rank in range(new)]
    if state["position"] % new and state["position"] < len(alone):
        with pytest.raises(StateError, match="the nearest are"):
            resumed[0].load_state_dict(state)
        return
    for batches in resumed:
        batches.load_state_dict(state)
    tail = [kept(batches) for batches in resumed]
    together += [tail[rank][step] for step in range(len(tail[0])) for rank in range(new)]
    assert joined(together) == joined(alone)
