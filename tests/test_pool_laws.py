"""Laws of worker pools over random trees: their batches are the serial ones, and so is what comes after any state."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchup import loader
from batchup.data_source import AbstractDataSource, ArrayDataSource, CompositeDataSource

from .helpers import fingerprint, first
from .pools import (
    CHANCE,
    MOST,
    ORDERS,
    TREES,
    assert_same,
    assert_same_pass,
    echo,
    end_of_patience,  # noqa: F401
    shared_pool,  # noqa: F401
)
from .test_laws import trees as mapped_trees
from .test_resume_and_ranks import trees as endless_trees

few = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors])
fewer = settings(few, max_examples=20)

any_tree = st.one_of(
    endless_trees(),
    mapped_trees(depth=2),
    st.sampled_from([*TREES.values(), *CHANCE.values()]).map(lambda make: make()),
)
order_names = st.sampled_from([*ORDERS])
tails = st.sampled_from(["short", "drop", "wrap", "pad"])
buffers = st.sampled_from([1, 2, 3, 20, "1MiB"])
shards = st.sampled_from([None, None, (0, 2), (2, 3), (3, 7)])


def passes(*sources: AbstractDataSource, order: str, size: int, **keywords: Any) -> list[tuple[Any, Any]] | None:
    """Return an iterator over each source with its own generator beside it; None where there is no such order."""
    shuffles = [ORDERS[order]() for _ in sources]
    try:
        return [
            (ds.batch_iterator(size, shuffle=shuffle, **keywords), shuffle)
            for ds, shuffle in zip(sources, shuffles, strict=True)
        ]
    except (NotImplementedError, TypeError):  # weights have no order of the data, maps with rng need a seed
        assert order != "seed"
        return None


def state_of(shuffle: Any) -> str:
    """Return where a generator stands."""
    return "" if shuffle is None or isinstance(shuffle, int) else fingerprint(shuffle)


@few
@given(ds=any_tree, order=order_names, size=st.integers(1, 30), tail=tails, shard=shards, buffer=buffers)
def test_a_pool_changes_nothing(pool: Any, ds: Any, order: str, size: int, tail: str, shard: Any, buffer: Any) -> None:
    """Any tree through any pool gives the batches of the serial iterator, and leaves a generator where that does."""
    par = pool.parallel_data_source(ds, batch_buffer_size=buffer)
    if passes(ds, par, order=order, size=size, tail=tail, shard=shard) is not None:
        assert_same_pass(par, ds, size, order, tail=tail, shard=shard)


@few
@given(
    ds=any_tree,
    order=order_names,
    size=st.integers(1, 7),
    tail=tails,
    k=st.integers(0, 12),
    epoch=st.integers(0, 2),
    buffer=buffers,
)
def test_states_go_from_anywhere_to_anywhere(
    pool: Any, ds: Any, order: str, size: int, tail: str, k: int, epoch: int, buffer: Any
) -> None:
    """A state counts what the consumer took, not what was made ahead; serial and parallel states are one."""
    par = pool.parallel_data_source(ds, batch_buffer_size=buffer)
    found = passes(ds, ds, par, order=order, size=size, tail=tail, epoch=epoch)
    if found is None:
        return
    (through, end), *begun = found
    expected = list(islice(through, MOST))
    for batches, _ in begun:
        head = list(islice(batches, k))
        state = json.loads(json.dumps(batches.state_dict()))
        again = passes(ds, par, par, order=order, size=size, tail=tail, epoch=epoch)
        assert again is not None
        next(again[2][0], None)  # a state is loaded into an iterator under way as well
        for resumed, shuffle in (*again, (batches, None)):
            if resumed is not batches:
                resumed.load_state_dict(state)
            assert resumed.position == len(head)
            assert_same(head + list(islice(resumed, MOST - len(head))), expected)
            if len(expected) < MOST and resumed is not batches:
                assert next(resumed, None) is None
                # behind the last batch there may be another draw, which a state taken between the two leaves out
                assert state_of(shuffle) == state_of(end) or k == len(expected)
    if order in ("seed", "in order"):
        states = [batches.state_dict() for batches, _ in begun]
        assert states[0] == states[1]


@fewer
@given(
    order=order_names,
    n=st.integers(1, 40),
    size=st.integers(1, 6),
    steps=st.lists(st.integers(0, 5), max_size=6),
    parallel=st.lists(st.booleans(), min_size=7, max_size=7),
)
def test_a_relay(pool: Any, order: str, n: int, size: int, steps: list[int], parallel: list[bool]) -> None:
    """A pass handed on from one iterator to the next, serial or parallel, is the undisturbed pass."""
    ds = CompositeDataSource([numbers_of(n), numbers_of(n + 2, repeats=2)])
    sources = [ds, pool.parallel_data_source(ds, batch_buffer_size=4)]
    expected = first(ds.batch_iterator(size, shuffle=ORDERS[order]()))
    got, state, shuffle = [], None, None
    for steps_here, kind in zip([*steps, 10**6], parallel, strict=False):
        shuffle = ORDERS[order]()
        batches: Any = sources[kind].batch_iterator(size, shuffle=shuffle)
        if state is not None:
            batches.load_state_dict(json.loads(state))
        got += first(batches, steps_here)
        state = json.dumps(batches.state_dict())
        batches.close()
    assert got == expected
    undisturbed = ORDERS[order]()
    list(ds.batch_iterator(size, shuffle=undisturbed))
    assert state_of(shuffle) == state_of(undisturbed)


def numbers_of(n: int, **keywords: Any) -> ArrayDataSource:
    """Return a source of one column."""
    return ArrayDataSource([[*range(n)]], **keywords)


@fewer
@given(
    ds=endless_trees(finite=True),
    order=order_names,
    size=st.integers(1, 5),
    k=st.integers(0, 25),
    epochs=st.integers(1, 3),
)
def test_loaders(pool: Any, ds: Any, order: str, size: int, k: int, epochs: int) -> None:
    """A loader over a pool, stopped anywhere and gone on with elsewhere, gives the epochs of one without a pool."""
    serial = loader(ds, size, shuffle=ORDERS[order]())
    expected = [first(serial) for _ in range(epochs + 1)]
    begun = loader(ds, size, shuffle=ORDERS[order](), pool=pool, prefetch=4)
    assert [first(begun) for _ in range(epochs)] == expected[:epochs]
    head = first(iter(begun), k)
    state = json.dumps(begun.state_dict())
    for keywords in ({}, {"pool": pool, "prefetch": "1MiB"}):
        resumed = loader(ds, size, shuffle=ORDERS[order](), **keywords)
        resumed.load_state_dict(state)
        assert head + first(resumed) == expected[epochs]


@fewer
@given(st.lists(st.none() | st.integers(), max_size=60), st.integers(1, 30))
def test_streams(pool: Any, values: list[Any], buffer: int) -> None:
    """A stream hands out the results of its tasks in their order, all of them and nothing else."""
    stream = pool.work_stream([(echo, (value,)) for value in values], task_buffer_size=buffer)
    assert list(stream.retrieve_iter()) == values
    assert stream.retrieve() is None


@fewer
@given(
    one=endless_trees(finite=True),
    two=mapped_trees(depth=1),
    order=order_names,
    size=st.integers(1, 9),
    flatten=st.booleans(),
)
def test_parallel_sources_as_members(pool: Any, one: Any, two: Any, order: str, size: int, flatten: bool) -> None:
    """In a tree, it makes no difference which members are parallel."""
    parallel = [pool.parallel_data_source(ds, batch_buffer_size=3) for ds in (one, two)]
    expected = CompositeDataSource([one, two], flatten=flatten)
    for members in ([parallel[0], two], [one, parallel[1]], parallel):
        assert_same_pass(CompositeDataSource(members, flatten=flatten), expected, size, order)
