"""What the tests of lazy datasets share: sources that count, verbs with their models on lists, random chains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, pairwise
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from batchup import Dataset

from .helpers import as_lists


class Counted:
    """A stream that notes what is read of it, how often it is begun, and how often it ends or is closed."""

    def __init__(self, length: int = 100) -> None:
        self.length = length
        self.read: list[int] = []
        self.begun = 0
        self.ended = 0

    def __call__(self) -> Iterator[int]:
        self.begun += 1
        try:
            for number in range(self.length):
                self.read.append(number)
                yield number
        finally:
            self.ended += 1


class Rows:
    """A sequence that notes what is read of it."""

    def __init__(self, length: int = 100) -> None:
        self.length = length
        self.read: list[int] = []

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> int:
        if not 0 <= index < self.length:
            raise IndexError(index)
        self.read.append(index)
        return index


class Sized:
    """Something to iterate over that knows its length, and has no items by number."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.length))


def weight(item: Any) -> int:
    """Return the sum of all numbers in an item, however it is nested."""
    if isinstance(item, dict):
        item = list(item.values())
    if isinstance(item, (tuple, list, np.ndarray)):
        return sum(weight(part) for part in item)
    return int(item)


def some(item: Any) -> bool:
    return weight(item) % 3 != 1


def weighed(item: Any) -> Any:
    return item, weight(item) % 7


def copies(item: Any) -> list[Any]:
    return [item] * (weight(item) % 3)


def drawn(item: Any, rng: np.random.Generator) -> Any:
    return item, int(rng.integers(1000))


def lucky(item: Any, rng: np.random.Generator) -> bool:
    return bool(rng.integers(3))


def every_other(items: Iterator[Any]) -> Iterator[Any]:
    for number, item in enumerate(items):
        if number % 2 == 0:
            yield item


def joined(items: list[Any]) -> Any:
    """Return a batch as lists, where tuples and dicts stay such."""
    if isinstance(items[0], tuple):
        return tuple(joined(list(part)) for part in zip(*items, strict=True))
    if isinstance(items[0], dict):
        return {key: joined([item[key] for item in items]) for key in items[0]}
    return list(items)


def batches(items: list[Any], size: int) -> list[Any]:
    """Return full batches of items."""
    return [joined(items[begin : begin + size]) for begin in range(0, len(items) - size + 1, size)]


def windows(items: list[Any], size: int, step: int) -> list[Any]:
    return [tuple(items[begin : begin + size]) for begin in range(0, len(items) - size + 1, step)]


class Op(NamedTuple):
    """A verb with its arguments, and what it does to a list; None where chance has a part in it."""

    name: str
    apply: Callable[[Dataset], Dataset]
    model: Callable[[list[Any]], list[Any]] | None

    def __repr__(self) -> str:
        return self.name


numbers = st.integers(0, 9)
sizes = st.integers(1, 4)
PLAIN: list[Any] = [
    st.just(Op("map", lambda ds: ds.map(weighed), lambda xs: [weighed(x) for x in xs])),
    st.just(Op("filter", lambda ds: ds.filter(some), lambda xs: [x for x in xs if some(x)])),
    st.just(Op("flatmap", lambda ds: ds.flatmap(copies), lambda xs: [y for x in xs for y in copies(x)])),
    st.just(Op("transform", lambda ds: ds.transform(every_other), lambda xs: xs[::2])),
    st.just(Op("cache", lambda ds: ds.cache(), list)),
    st.just(Op("prefetch", lambda ds: ds.prefetch(2), list)),
    st.just(Op("+ skip(1)", lambda ds: ds + ds.skip(1), lambda xs: xs + xs[1:])),
    st.just(Op("zip", lambda ds: ds.zip(ds.skip(1)), lambda xs: list(pairwise(xs)))),
    numbers.map(lambda n: Op(f"take({n})", lambda ds: ds.take(n), lambda xs: xs[:n])),
    numbers.map(lambda n: Op(f"skip({n})", lambda ds: ds.skip(n), lambda xs: xs[n:])),
    st.builds(
        lambda a, b, s: Op(f"[{a}:{b}:{s}]", lambda ds: ds[a:b:s], lambda xs: xs[a:b:s]),
        st.none() | numbers,
        st.none() | numbers,
        st.none() | sizes,
    ),
    sizes.map(
        lambda n: Op(f"batch({n})", lambda ds: ds.batch(n, drop_last=True), lambda xs: batches(xs, n)),
    ),
    sizes.map(
        lambda n: Op(
            f"batch({n}).unbatch",
            lambda ds: ds.batch(n).unbatch(),
            list,
        )
    ),
    st.builds(
        lambda n, s: Op(f"window({n}, {s})", lambda ds: ds.window(n, s), lambda xs: windows(xs, n, s)),
        st.integers(1, 3),
        sizes,
    ),
    numbers.map(
        lambda n: Op(f"enumerate({n})", lambda ds: ds.enumerate(n), lambda xs: [(n + i, x) for i, x in enumerate(xs)])
    ),
    st.integers(0, 2).map(lambda n: Op(f"repeat({n})", lambda ds: ds.repeat(n), lambda xs: xs * n)),
    st.just(
        Op(
            "roundrobin",
            lambda ds: Dataset.roundrobin([ds, ds.take(1)]),
            lambda xs: list(chain(xs[:1], xs[:1], xs[1:])),
        )
    ),
]


def chances(seeds: Any) -> list[Any]:
    """Return verbs that draw from seeds."""
    return [
        seeds.map(lambda s: Op(f"shuffle(seed={s})", lambda ds: ds.shuffle(seed=s), None)),
        seeds.map(lambda s: Op(f"shuffle(3, {s})", lambda ds: ds.shuffle(3, seed=s), None)),
        st.builds(lambda n, s: Op(f"sample({n}, {s})", lambda ds: ds.sample(n, seed=s), None), numbers, seeds),
        seeds.map(lambda s: Op(f"map(drawn, {s})", lambda ds: ds.map(drawn, seed=s), None)),
        seeds.map(lambda s: Op(f"filter(lucky, {s})", lambda ds: ds.filter(lucky, seed=s), None)),
        seeds.map(lambda s: Op(f"mux({s})", lambda ds: Dataset.mux([ds, ds.skip(2)], [2, 1], seed=s), None)),
        seeds.map(lambda s: Op(f"+ shuffle({s})", lambda ds: ds + ds.shuffle(seed=s), None)),
        seeds.map(lambda s: Op(f"shuffle({s}).repeat", lambda ds: ds.shuffle(seed=s).repeat(2), None)),
    ]


def bases(length: int) -> dict[str, Callable[[], Dataset]]:
    """Return datasets of some items, of all kinds of sources."""
    return {
        "range": lambda: Dataset(range(length)),
        "list": lambda: Dataset(list(range(length))),
        "array": lambda: Dataset(np.arange(length)),
        "rows": lambda: Dataset(np.arange(2 * length).reshape(length, 2)),
        "sequence": lambda: Dataset(Rows(length)),
        "sized": lambda: Dataset(Sized(length)),
        "stream": lambda: Dataset(lambda: iter(range(length))),
        "tuples": lambda: Dataset(np.arange(length), range(length)),
        "dicts": lambda: Dataset(a=np.arange(length), b=range(length)),
        "beside a stream": lambda: Dataset(Sized(length), range(length)),
    }


def items_of(base: str, length: int) -> list[Any]:
    """Return the items of such a dataset."""
    if base == "rows":
        return [[2 * i, 2 * i + 1] for i in range(length)]
    if base in ("tuples", "beside a stream"):
        return [(i, i) for i in range(length)]
    if base == "dicts":
        return [{"a": i, "b": i} for i in range(length)]
    return list(range(length))


class Chain(NamedTuple):
    """A dataset: a source, and verbs one after the other."""

    base: str
    length: int
    ops: tuple[Op, ...]

    def make(self) -> Dataset:
        dataset = bases(self.length)[self.base]()
        for op in self.ops:
            dataset = op.apply(dataset)
        return dataset

    def model(self) -> list[Any]:
        """Return the items, if chance has no part in it."""
        items = items_of(self.base, self.length)
        for op in self.ops:
            assert op.model is not None
            items = op.model(items)
        return items


def chains(ops: list[Any], most: int = 4) -> Any:
    """Return a strategy of datasets."""
    return st.builds(
        Chain,
        st.sampled_from([*bases(0)]),
        st.integers(0, 11),
        st.lists(st.one_of(ops), max_size=most).map(tuple),
    )


plain_chains = chains(PLAIN)
seeded_chains = chains([*PLAIN, *chances(st.integers(0, 5))])
unseeded_chains = chains([*PLAIN, *chances(st.none())], 3)


def listed(dataset: Any) -> list[Any]:
    """Return the items of a dataset or iterator, with lists for arrays and tuples, so that `==` compares them."""
    return [as_lists(item) for item in dataset]
