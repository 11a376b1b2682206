"""The samplers that shape batches, mixes and splits: what each promises, in order, seeded and from generators."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from collections.abc import Callable
from itertools import islice, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchup.data_source import AbstractDataSource, ArrayDataSource, MixDataSource
from batchup.errors import StateError
from batchup.sampling import (
    AbstractSampler,
    BalancedBatchSampler,
    BlockShuffleSampler,
    BucketSampler,
    GroupSampler,
    StratifiedSampler,
    k_fold,
    split,
)

from .helpers import first, joined

ORDERS = ["seed", "state", "generator", "in order"]
orders = st.sampled_from(ORDERS)
classes = st.lists(st.integers(-2, 4), min_size=1, max_size=60)


def shuffle_of(order: str) -> Any:
    """Return what to pass as shuffle, freshly seeded."""
    return {
        "seed": 5,
        "state": np.random.RandomState(5),
        "generator": np.random.default_rng(5),
        "in order": None,
    }[order]


def numbers(n: int, begin: int = 0, **keywords: Any) -> ArrayDataSource:
    """Return a source of one column that counts from `begin`."""
    return ArrayDataSource([np.arange(begin, begin + n)], **keywords)


def index_batches(sampler: AbstractSampler, batch_size: int, order: str, most: int | None = None) -> list[Any]:
    if order == "in order":
        return list(islice(sampler.in_order_indices_batch_iterator(batch_size), most))
    return list(islice(sampler.shuffled_indices_batch_iterator(batch_size, shuffle_of(order)), most))


@given(y=classes, order=orders, batch_size=st.integers(1, 20), repeats=st.integers(1, 3))
def test_stratified(y: list[int], order: str, batch_size: int, repeats: int) -> None:
    """Every sample comes once in each repetition, and every batch is within 2 of the share of each class."""
    sampler = StratifiedSampler(y, repeats=repeats)
    batches = index_batches(sampler, batch_size, order)
    row = joined(batches)
    n = len(y)
    for repetition in range(repeats):
        assert sorted(row[repetition * n : (repetition + 1) * n]) == [*range(n)]
    for batch in batches if repeats == 1 else []:
        counts = Counter(y[i] for i in batch)
        for c in set(y):
            assert abs(counts[c] - y.count(c) / n * len(batch)) <= 2


@given(y=classes, seed=st.integers(0, 50))
def test_stratified_stretches(y: list[int], seed: int) -> None:
    """So is every stretch of the epoch, not only the batches; the classes follow one another in one pattern."""
    sampler = StratifiedSampler(y)
    row = joined(sampler.shuffled_indices_batch_iterator(7, seed))
    pattern = [y[i] for i in row]
    assert pattern == [y[i] for i in joined(sampler.in_order_indices_batch_iterator(7))]
    for c in set(y):
        counts = np.concatenate([[0], np.cumsum(np.array(pattern) == c)])
        off = counts - np.arange(len(y) + 1) * (y.count(c) / len(y))
        assert np.abs(off).max() < 1.5 + 1e-9 * len(y)


def test_stratified_shuffles_within_classes() -> None:
    """Which samples of a class come when differs from seed to seed, and from epoch to epoch."""
    ds = numbers(60, sampler=StratifiedSampler(np.arange(60) % 3))
    found = {tuple(joined(b for (b,) in ds.batch_iterator(7, seed, epoch=e))) for seed in range(4) for e in range(4)}
    assert len(found) == 16


@given(
    y=classes,
    order=st.sampled_from(ORDERS[:3]),
    data=st.data(),
    samples_per_class=st.integers(1, 5),
)
def test_balanced(y: list[int], order: str, data: Any, samples_per_class: int) -> None:
    """Each batch has so many classes and so many samples of each, no sample twice where there are enough."""
    classes_per_batch = data.draw(st.integers(1, len(set(y))))
    sampler = BalancedBatchSampler(y, classes_per_batch, samples_per_class)
    size = classes_per_batch * samples_per_class
    batches = index_batches(sampler, size, order)
    assert len(batches) == len(y) // size
    for batch in batches:
        counts = Counter(y[i] for i in batch)
        assert list(counts.values()) == [samples_per_class] * classes_per_batch
        for c in counts:
            chosen = [i for i in batch if y[i] == c]
            most = max(Counter(chosen).values())
            assert most <= -(-samples_per_class // y.count(c))


def test_balanced_draws_all_classes_alike() -> None:
    """Over many batches rare classes come as often as frequent ones, and all samples of a class alike."""
    y = np.repeat([0, 1, 2, 3], [5, 10, 200, 385])
    counts = np.zeros(600)
    for epoch in range(12):
        ds = numbers(600, sampler=BalancedBatchSampler(y, 2, 2))
        for (batch,) in ds.batch_iterator(4, shuffle=1, epoch=epoch):
            counts[batch] += 1
    per_class = np.bincount(y, counts) / counts.sum()
    assert np.abs(per_class - 0.25).max() < 0.03
    assert counts[:5].min() > 0.75 * counts[:5].mean()


@given(
    n=st.integers(1, 80),
    block_size=st.integers(1, 9),
    window=st.integers(1, 5),
    order=orders,
    batch_size=st.integers(1, 20),
    repeats=st.integers(1, 2),
)
def test_blocks(n: int, block_size: int, window: int, order: str, batch_size: int, repeats: int) -> None:
    """Every sample comes once in each repetition; what a window holds lies in `window` blocks."""
    sampler = BlockShuffleSampler(n, block_size, window, repeats)
    row = joined(index_batches(sampler, batch_size, order))
    stretch = block_size * window
    most = window if n % block_size == 0 else 2 * window  # a window with the short block moves those behind it
    for repetition in range(repeats):
        epoch = row[repetition * n : (repetition + 1) * n]
        assert sorted(epoch) == [*range(n)]
        for start in range(0, n, stretch):
            assert len({i // block_size for i in epoch[start : start + stretch]}) <= most


@given(groups=classes, order=orders, extra=st.integers(0, 10))
def test_groups(groups: list[int], order: str, extra: int) -> None:
    """Every sample comes once, every group whole in one batch, and no batch could have taken the next group too."""
    sampler = GroupSampler(groups)
    sizes = Counter(groups)
    batch_size = max(sizes.values()) + extra
    batches = index_batches(sampler, batch_size, order)
    assert sorted(joined(batches)) == [*range(len(groups))]
    of_batches = [[groups[i] for i in batch] for batch in batches]
    assert all(len(batch) <= batch_size for batch in of_batches)
    assert sum(len(set(batch)) for batch in of_batches) == len(sizes)
    for batch, following in pairwise(of_batches):
        assert len(batch) + sizes[following[0]] > batch_size
    assert len(numbers(len(groups), sampler=sampler).batch_iterator(batch_size, shuffle=5)) == len(
        index_batches(sampler, batch_size, "seed")
    )


@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=60),
    spare=st.integers(0, 60),
    budgeted=st.booleans(),
    num_buckets=st.integers(1, 12),
    edges=st.none() | st.sets(st.integers(1, 40), max_size=4),
    order=orders,
    batch_size=st.integers(1, 12),
)
def test_buckets(
    lengths: list[int],
    spare: int,
    budgeted: bool,
    num_buckets: int,
    edges: set[int] | None,
    order: str,
    batch_size: int,
) -> None:
    """Every sequence comes once; no batch goes beyond the budget or the batch size, or over the edge of a bucket."""
    budget = max(1, *lengths) + spare if budgeted else None
    bounds = None if edges is None else sorted(edges)
    sampler = BucketSampler(lengths, max_tokens=budget, num_buckets=num_buckets, bucket_edges=bounds)
    batches = index_batches(sampler, batch_size, order)
    assert sorted(joined(batches)) == [*range(len(lengths))]
    for batch in batches:
        assert 1 <= len(batch) <= batch_size
        longest = max(lengths[i] for i in batch)
        assert budget is None or longest * len(batch) <= budget
        if bounds is not None:
            assert len({int(np.searchsorted(bounds, lengths[i], "left")) for i in batch}) == 1
    assert len(numbers(len(lengths), sampler=sampler).batch_iterator(batch_size, shuffle=5)) == len(batches)


@pytest.mark.parametrize("num_buckets", [1, 7, 50])
def test_buckets_leave_one_short_batch(num_buckets: int) -> None:
    """Without a budget all batches but one are full, however many buckets there are; with edges, each bucket ends."""
    lengths = np.random.RandomState(1).lognormal(4, 0.8, 500).astype(int) + 1
    for order in ("in order", "seed"):
        sizes = [len(batch) for batch in index_batches(BucketSampler(lengths, num_buckets=num_buckets), 64, order)]
        assert sorted(sizes) == [500 % 64] + [64] * 7
    edges = [20, 50, 90]
    sizes = [len(batch) for batch in index_batches(BucketSampler(lengths, bucket_edges=edges), 64, "seed")]
    counts = np.bincount(np.searchsorted(edges, lengths, "left"))
    assert len(sizes) == sum(-(-counts // 64))


def test_buckets_save_padding() -> None:
    """The default buckets leave far less padding than batches at random would."""
    lengths = np.random.RandomState(1).lognormal(4, 0.8, 3000).astype(int) + 1
    sampler = BucketSampler(lengths, max_tokens=20_000)
    batches = list(sampler.shuffled_indices_batch_iterator(64, 1))
    padded = sum(len(batch) * lengths[batch].max() for batch in batches)
    assert lengths.sum() / padded > 0.85
    assert lengths.sum() / sum(64 * lengths[i : i + 64].max() for i in range(0, 3000, 64)) < 0.5


SAMPLERS: dict[str, tuple[Callable[[], AbstractSampler], int]] = {
    "stratified": (lambda: StratifiedSampler(np.arange(30) % 4), 7),
    "stratified subset, twice": (lambda: StratifiedSampler(np.arange(30) % 4, np.arange(3, 20), 2), 6),
    "stratified for ever": (lambda: StratifiedSampler(np.arange(30) % 4, repeats=-1), 7),
    "balanced": (lambda: BalancedBatchSampler(np.arange(30) % 4, 3, 2), 6),
    "balanced subset": (lambda: BalancedBatchSampler(np.arange(30) % 4, 3, 2, indices=np.arange(3, 20)), 6),
    "blocks": (lambda: BlockShuffleSampler(30, 4, 2), 7),
    "blocks, twice": (lambda: BlockShuffleSampler(30, 4, 2, repeats=2), 7),
    "groups": (lambda: GroupSampler(np.arange(30) // 4), 9),
    "groups of a subset": (lambda: GroupSampler(np.arange(30) // 4, indices=np.arange(3, 20)), 9),
    "buckets": (lambda: BucketSampler(np.arange(30) * 7 % 23 + 1, max_tokens=60, num_buckets=4), 5),
    "buckets of a subset": (
        lambda: BucketSampler(np.arange(30) * 7 % 23 + 1, bucket_edges=[4, 9, 15], indices=np.arange(3, 20)),
        5,
    ),
}
SOURCES: dict[str, tuple[Callable[[], AbstractDataSource], int]] = {
    **{name: (lambda make=make: numbers(30, sampler=make()), size) for name, (make, size) in SAMPLERS.items()},
    "mix": (lambda: MixDataSource([numbers(11), numbers(20, 100)], [1, 2]), 4),
    "mix of all": (lambda: MixDataSource([numbers(3), numbers(11, 100)], [1, 1], stop="all"), 4),
    "mix for ever": (lambda: MixDataSource([numbers(3, repeats=-1), numbers(5, 100, repeats=-1)], [1, 1]), 4),
    "mix with repeats": (lambda: MixDataSource([numbers(3, repeats=4), numbers(11, 100)], [2, 1]), 4),
    "mix of mixes": (
        lambda: MixDataSource(
            [MixDataSource([numbers(9), numbers(9, 100)], [2, 1], stop="all"), numbers(9, 200)], [3, 1]
        ),
        5,
    ),
    "mix of maps": (lambda: MixDataSource([numbers(9).map(lambda x: (x + 1,)), numbers(9, 100)], [1, 1]), 4),
}
UNORDERED = {"balanced", "balanced subset"}
MOST = 14


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", SOURCES)
def test_resuming_at_every_batch(name: str, order: str) -> None:
    """From any batch on, a state goes on elsewhere as the undisturbed pass does; states of seeds are small."""
    make, batch_size = SOURCES[name]
    if name in UNORDERED and order == "in order":
        return
    through = first(make().batch_iterator(batch_size, shuffle=shuffle_of(order)), MOST)
    begun: Any = make().batch_iterator(batch_size, shuffle=shuffle_of(order))
    for k in range(len(through) + 1):
        state = json.loads(json.dumps(begun.state_dict()))
        assert order in ("state", "generator") or len(json.dumps(state)) < 1024
        elsewhere: Any = make().batch_iterator(batch_size, shuffle=shuffle_of(order))
        elsewhere.load_state_dict(state)
        assert elsewhere.position == k
        assert elsewhere.state_dict() == state
        assert first(elsewhere, MOST - k) == through[k:]
        assert first(begun, min(1, MOST - k)) == through[k : k + 1]


@pytest.mark.parametrize("order", ["seed", "state", "in order"])
@pytest.mark.parametrize("world", [1, 2, 3, 5])
@pytest.mark.parametrize("name", [name for name in SOURCES if "for ever" not in name])
def test_ranks_in_step(name: str, world: int, order: str) -> None:
    """All ranks hand out as many batches; step by step they give the epoch of one rank, whole batches first."""
    make, batch_size = SOURCES[name]
    if name in UNORDERED and order == "in order":
        return
    alone = first(make().batch_iterator(batch_size, shuffle=shuffle_of(order)))
    ranks = []
    for rank in range(world):
        batches: Any = make().batch_iterator(batch_size, shuffle=shuffle_of(order), shard=(rank, world))
        ranks.append(first(batches))
    assert len({len(batches) for batches in ranks}) == 1
    together = [ranks[rank][step] for step in range(len(ranks[0])) for rank in range(world)]
    assert joined(batch[0] for batch in together) == joined(batch[0] for batch in alone)
    assert together[: len(alone) // world * world - world] == alone[: len(alone) // world * world - world]


@pytest.mark.parametrize("tail", ["drop", "wrap", "pad"])
@pytest.mark.parametrize("world", [1, 3])
@pytest.mark.parametrize("name", ["buckets", "groups", "balanced"])
def test_tails_of_whole_batches(name: str, world: int, tail: str) -> None:
    """Where batches end is the sampler's choice: tails fill or drop steps, and ranks stay in step."""
    make, batch_size = SOURCES[name]
    alone = first(make().batch_iterator(batch_size, shuffle=5))
    ranks = [
        [
            [part.tolist() for part in batch]
            for batch in make().batch_iterator(batch_size, 5, tail=tail, shard=(r, world))
        ]
        for r in range(world)
    ]
    assert len({len(batches) for batches in ranks}) == 1
    together = [ranks[rank][step] for step in range(len(ranks[0])) for rank in range(world)]
    whole = len(alone) // world * world
    if tail == "pad":
        marked = [[x for x, real in zip(*batch, strict=True) if real] for batch in together]
        assert marked[: len(alone)] == [batch[0] for batch in alone]
        assert not any(marked[len(alone) :])
    elif tail == "wrap":
        assert len(together) == -(-len(alone) // world) * world
        for k, batch in enumerate(together):
            assert batch[0][: len(alone[k % len(alone)][0])] == alone[k % len(alone)][0]
    else:
        full = [batch for batch in together if batch in alone]
        assert len(full) == len(together) <= whole or world == 1


@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers_through_pickle(name: str) -> None:
    """A sampler that went through pickle draws the same order, and has the same line to its name."""
    make, batch_size = SAMPLERS[name]
    sampler = make()
    copied = pickle.loads(pickle.dumps(sampler))
    assert repr(copied) == repr(sampler)
    one, two = (first(s.shuffled_indices_batch_iterator(batch_size, 3), MOST) for s in (sampler, copied))
    assert one == two
    assert (
        numbers(30, sampler=copied).batch_iterator(batch_size, 3).state_dict()
        == numbers(30, sampler=sampler).batch_iterator(batch_size, 3).state_dict()
    )


@pytest.mark.parametrize("name", SOURCES)
def test_repr_and_pickle_of_sources(name: str) -> None:
    """The repr is one short line that begins with the class."""
    ds = SOURCES[name][0]()
    shown = repr(ds)
    assert shown.startswith(type(ds).__name__ + "(")
    assert "\n" not in shown
    assert "object at 0x" not in shown


def test_repr_of_scalars() -> None:
    """A sampler that holds nothing but numbers is rebuilt by its repr."""
    sampler = BlockShuffleSampler(12, block_size=2, window=3, repeats=2)
    assert repr(sampler) == "BlockShuffleSampler(length=12, block_size=2, window=3, repeats=2)"
    rebuilt = eval(repr(sampler))
    assert first(rebuilt.shuffled_indices_batch_iterator(5, 1)) == first(sampler.shuffled_indices_batch_iterator(5, 1))


@given(
    n=st.integers(0, 60),
    cuts=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    seed=st.none() | st.integers(0, 9),
    kind=st.sampled_from(["plain", "stratify", "groups"]),
    counted=st.booleans(),
)
def test_split(n: int, cuts: list[int], seed: int | None, kind: str, counted: bool) -> None:
    """The parts are disjoint and complete, of the sizes asked for, with the shares of classes, or groups whole."""
    total = sum(cuts)
    if counted:
        n = total
    shares: list[Any] = cuts if counted else [c / total for c in cuts]
    of = np.arange(n) * 7 % 11 // 3
    keywords = {} if kind == "plain" else {kind: of}
    parts = split(n, shares, seed=seed, **keywords)
    assert len(parts) == len(cuts)
    assert sorted(np.concatenate(parts).tolist()) == [*range(n)]
    if kind == "groups":
        names = [set(of[part].tolist()) for part in parts]
        assert sum(map(len, names)) == len(set(of.tolist()))
        return
    for part, c in zip(parts, cuts, strict=True):
        assert abs(len(part) - c / total * n) <= 1
    if kind == "stratify":
        for part in parts:
            for c in set(of.tolist()):
                assert abs((of[part] == c).sum() - (of == c).mean() * len(part)) <= 2


@given(
    n=st.integers(2, 60),
    k=st.integers(2, 8),
    seed=st.none() | st.integers(0, 9),
    kind=st.sampled_from(["plain", "stratify", "groups"]),
)
def test_k_fold(n: int, k: int, seed: int | None, kind: str) -> None:
    """Each sample is in one test part and in all other training parts."""
    k = min(k, n)
    of = np.arange(n) * 7 % 11 // 3
    folds = list(k_fold(n, k, seed=seed, **({} if kind == "plain" else {kind: of})))
    assert len(folds) == k
    for train, test in folds:
        assert sorted([*train.tolist(), *test.tolist()]) == [*range(n)]
        if kind == "groups":
            assert not set(of[train].tolist()) & set(of[test].tolist())
        else:
            assert len(test) in (n // k, n // k + 1)
        if kind == "stratify":
            for c in set(of.tolist()):
                assert abs((of[test] == c).sum() - (of == c).mean() * len(test)) <= 2
    assert sorted(np.concatenate([test for _, test in folds]).tolist()) == [*range(n)]


def test_split_by_seed() -> None:
    """The same seed splits the same way, another one otherwise; without one, samples stay in order."""
    for keywords in ({}, {"stratify": np.arange(40) % 3}, {"groups": np.arange(40) // 2}):
        one, same, other = (split(40, [0.5, 0.5], seed=s, **keywords)[0].tolist() for s in (1, 1, 2))
        assert one == same
        assert sorted(one) != sorted(other)
    assert [part.tolist() for part in split(5, [0.4, 0.6])] == [[0, 1], [2, 3, 4]]


@given(
    weights=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    batch_size=st.integers(1, 9),
    order=orders,
    scale=st.sampled_from([1, 0.25, 1 / 3, 0.1]),
)
def test_proportions_of_a_mix(weights: list[int], batch_size: int, order: str, scale: float) -> None:
    """Every beginning of the epoch holds each source in proportion to within a sample or two."""
    ds = MixDataSource(
        [numbers(60, 1000 * i) for i in range(len(weights))], [weight * scale for weight in weights], stop="all"
    )
    row = [x for batch in ds.batch_iterator(batch_size, shuffle=shuffle_of(order)) for x in batch[0].tolist()]
    assert len(row) == ds.num_samples()
    for i, weight in enumerate(weights):
        held = np.concatenate([[0], np.cumsum(np.array(row) // 1000 == i)])
        off = held - np.arange(len(row) + 1) * (weight / sum(weights))
        assert np.abs(off).max() <= 2


@pytest.mark.parametrize("many", [5, 20])
def test_many_small_shares_beside_a_large_one(many: int) -> None:
    """Small classes, and rare sources, are spread among the samples of a large one rather than following each other."""
    y = np.array([0] * many + [*range(1, many + 1)])
    row = joined(StratifiedSampler(y).shuffled_indices_batch_iterator(10, 1))
    mix = MixDataSource([numbers(many), *(numbers(1, 100 + i) for i in range(many))], [many, *[1] * many])
    mixed = [x for (batch,) in mix.batch_iterator(10, shuffle=1) for x in batch.tolist()]
    for name, large in [("stratified", y[row] == 0), ("mix", np.array(mixed) < 100)]:
        off = np.cumsum(large) - np.arange(1, len(large) + 1) / 2
        assert np.abs(off).max() <= 2, name


@given(
    sizes=st.lists(st.integers(1, 15), min_size=1, max_size=3),
    data=st.data(),
    stop=st.sampled_from(["first", "all"]),
    order=orders,
    batch_size=st.integers(1, 7),
)
def test_where_a_mix_stops(sizes: list[int], data: Any, stop: str, order: str, batch_size: int) -> None:
    """At the first source that is used up, or when all have been; none gives a sample twice before all its others."""
    weights = data.draw(st.lists(st.integers(1, 5), min_size=len(sizes), max_size=len(sizes)))
    ds = MixDataSource([numbers(n, 1000 * i) for i, n in enumerate(sizes)], weights, stop=stop)
    batches = ds.batch_iterator(batch_size, shuffle=shuffle_of(order))
    length = len(batches)
    drawn = first(batches)
    assert len(drawn) == length
    row = [x for (batch,) in drawn for x in batch]
    assert len(row) == ds.num_samples()
    counts = []
    for i, n in enumerate(sizes):
        own = [x - 1000 * i for x in row if x // 1000 == i]
        counts.append(len(own) / n)
        for start in range(0, len(own), n):
            cycle = own[start : start + n]
            assert len(set(cycle)) == len(cycle)
            assert order != "in order" or cycle == [*range(len(cycle))]
    if stop == "first":
        assert max(counts) <= 1
        assert max(counts) == 1 or len(row) == 0 or any(abs(c * n - n) < 1 for c, n in zip(counts, sizes, strict=True))
    else:
        assert min(counts) >= 1


def test_the_rounds_of_a_short_source_differ() -> None:
    """With stop='all', a short seeded source is shuffled anew each time it begins again."""
    ds = MixDataSource([numbers(8), numbers(80, 100)], [1, 1], stop="all")
    own = [int(x) for (batch,) in ds.batch_iterator(16, shuffle=1) for x in batch if x < 100]
    rounds = {tuple(own[start : start + 8]) for start in range(0, 80, 8)}
    assert len(rounds) == 10
    assert all(sorted(order) == [*range(8)] for order in rounds)


def test_mixes_of_dicts_and_maps() -> None:
    """A mix hands out what its sources do: dicts, mapped arrays of any shape, the index numbered through."""
    a = ArrayDataSource({"x": np.arange(6.0), "y": np.eye(6)})
    b = ArrayDataSource({"x": np.arange(100.0, 109), "y": np.ones((9, 6))})
    ds = MixDataSource([a, b.map(lambda x, y: {"x": x, "y": -y})], [1, 2])
    batch = next(ds.batch_iterator(6))
    assert list(batch) == ["x", "y"]
    assert sorted(batch["x"].tolist()) == [0, 1, 100, 101, 102, 103]
    assert batch["y"].shape == (6, 6)
    assert (batch["y"][batch["x"] >= 100] == -1).all()
    masked = list(ds.batch_iterator(4, tail="pad"))[-1]
    assert list(masked) == ["x", "y", "mask"]
    indices = np.concatenate(list(ds.batch_indices_iterator(4)))
    assert sorted(indices[indices >= 6].tolist()) == [*range(6, 6 + (indices >= 6).sum())]
    assert ds.samples_by_indices([7, 0])["x"].tolist() == [101, 0]
    with pytest.raises(ValueError, match="same keys"):
        next(MixDataSource([a, ArrayDataSource({"x": np.arange(3.0)})], [1, 1]).batch_iterator(4))
    with pytest.raises(ValueError, match="one shape"):
        next(MixDataSource([numbers(5), ArrayDataSource([np.eye(5)])], [1, 1]).batch_iterator(4))
    with pytest.raises(ValueError, match="equally many"):
        next(MixDataSource([numbers(5), ArrayDataSource([np.arange(5)] * 2)], [1, 1]).batch_iterator(4))


@settings(max_examples=40)
@given(
    tail=st.sampled_from(["short", "drop", "wrap", "pad"]),
    world=st.integers(1, 4),
    batch_size=st.integers(1, 6),
    order=orders,
    name=st.sampled_from(["mix", "mix of all", "mix with repeats", "mix of mixes", "mix of maps"]),
)
def test_tails_of_mixes(tail: str, world: int, batch_size: int, order: str, name: str) -> None:
    """A mix is cut anywhere: drop, wrap and pad over any number of ranks are those of its one row of samples."""
    make, _ = SOURCES[name]
    alone = [x for (b,) in make().batch_iterator(batch_size, shuffle=shuffle_of(order)) for x in b.tolist()]
    ranks = [
        list(make().batch_iterator(batch_size, shuffle=shuffle_of(order), tail=tail, shard=(rank, world)))
        for rank in range(world)
    ]
    assert len({len(batches) for batches in ranks}) == 1
    together = [ranks[rank][step] for step in range(len(ranks[0])) for rank in range(world)]
    got = [x for batch in together for x in (batch[0][batch[1]] if tail == "pad" else batch[0]).tolist()]
    size = batch_size * world
    if tail == "drop":
        assert got == alone[: len(alone) // size * size]
    elif tail == "wrap":
        assert got == (alone * size)[: -(-len(alone) // size) * size]
    else:
        assert got == alone


def test_a_mix_with_a_generator_keeps_its_world() -> None:
    """A mix that is drawn from a generator refuses a state at another world size."""
    ds = SOURCES["mix"][0]()
    batches: Any = ds.batch_iterator(4, shuffle=np.random.RandomState(1), shard=(0, 2))
    next(batches)
    with pytest.raises(StateError, match="world size stays"):
        ds.batch_iterator(4, shuffle=np.random.RandomState(1)).load_state_dict(batches.state_dict())  # type: ignore[attr-defined]
