"""Batch maps whose function the workers of a pool call: what comes of them is what comes of the serial ones."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchup.columns import Ragged
from batchup.data_source import AbstractDataSource, ArrayDataSource, ChoiceDataSource, CompositeDataSource
from batchup.data_source.applied import AppliedDataSource
from batchup.data_source.batch_map import Applied, as_arrays
from batchup.errors import InvalidTypeError, StateError
from batchup.work_pool import WorkerThreadPool

from . import users
from .cases import SOURCES, handed, named, numbers
from .helpers import leaves
from .pools import (
    CHANCE,
    ORDERS,
    POOLS,
    TREES,
    LockedError,
    OddError,
    PlainError,
    assert_same,
    end_of_patience,  # noqa: F401
    fail_with,
    is_processes,
    shared_pool,  # noqa: F401
)
from .test_batch_map import Bar
from .test_plan_on_error import TREES as FRAGILE

INDEXED = {name: case for name, case in SOURCES.items() if case.indexed}
FEW = 3  # batches of a source that never ends
_RNG = np.random.default_rng(5)
WIDE = _RNG.normal(size=(23, 7, 5)).astype(np.float32)
METHODS = ("batch_map_concat", "batch_map_mean")


def source(**keywords: Any) -> ArrayDataSource:
    """Return a source of numbers whose sums depend on the order of adding."""
    return ArrayDataSource([WIDE, np.arange(23)], **keywords)


def plain(result: Any) -> Any:
    """Return a result in parts that can be compared bit for bit."""
    if isinstance(result, Ragged):
        return result.values, result.offsets
    if isinstance(result, np.ndarray) and result.dtype == np.longdouble:
        return result.shape, result.tolist()  # some of its bits mean nothing
    if isinstance(result, dict):
        return {name: plain(part) for name, part in result.items()}
    return tuple(map(plain, result)) if isinstance(result, tuple) else result


def assert_serial(
    pool: Any, method: str, ds: AbstractDataSource, fn: Any, size: int = 4, order: str = "", **keywords: Any
) -> Any:
    """Check that a batch map with a pool gives what it gives without; return that."""
    results = []
    for who in (None, pool):
        shuffle = {"shuffle": ORDERS[order]()} if order else {}
        results.append(plain(getattr(ds, method)(fn, size, pool=who, **shuffle, **keywords)))
    assert_same(results[1], results[0], f"{method}, {order}, {keywords}")
    return results[0]


def arrays(*batch: Any, **named: Any) -> Any:
    """Return the arrays of a batch of any shape."""
    return tuple(part for part in leaves((*batch, *named.values())) if isinstance(part, np.ndarray))


def sums(*batch: Any, **named: Any) -> Any:
    """Return a number for each of them."""
    return [float(len(part)) / 3 + part.size for part in arrays(*batch, **named)]


@pytest.mark.parametrize("name", [*INDEXED, *TREES, *CHANCE])
def test_every_source(pool: Any, name: str) -> None:
    """Any source that is random access, in its own order and in a seeded one, of dicts or tuples, nested or mapped."""
    ds = (TREES | CHANCE)[name]() if name in TREES | CHANCE else INDEXED[name].make()
    endless = {"n_batches": FEW} if ds.num_samples() == math.inf else {}
    own_order = name not in CHANCE and (name in TREES or INDEXED[name].in_order)
    for order in ("in order", "seed") if own_order else ("seed",):
        assert_serial(pool, "batch_map_concat", ds, arrays, 5, order, **endless)
        assert_serial(pool, "batch_map_mean", ds, sums, 5, order, **endless)


KEYWORDS: dict[str, dict[str, Any]] = {
    "drop": {"tail": "drop"},
    "wrap": {"tail": "wrap"},
    "pad": {"tail": "pad"},
    "shard": {"shard": (1, 3)},
    "shard, short": {"shard": (2, 4), "tail": "short"},
    "shard, pad": {"shard": (3, 4), "tail": "pad"},
    "shard of nothing, pad": {"shard": (29, 30), "tail": "pad"},
    "epoch": {"epoch": 3},
    "no batches": {"n_batches": 0},
    "one batch": {"n_batches": 1},
    "some batches": {"n_batches": 3},
    "numpy batches": {"n_batches": np.int32(3)},
    "more batches than there are": {"n_batches": 1000},
    "some batches, shard, pad": {"n_batches": 2, "shard": (1, 2), "tail": "pad"},
    "views": {"copy": False},
    "trace": {"trace": True},
    "tolerant": {"on_error": "skip", "max_errors": 0.5},
}


@pytest.mark.parametrize("keywords", KEYWORDS)
@pytest.mark.parametrize("order", ["in order", "seed", "Generator"])
def test_keywords(pool: Any, keywords: str, order: str) -> None:
    """Tails, shards, epochs and all else have the same meaning; the function is given the mask, and no padding."""
    if order == "Generator" and "shard" in KEYWORDS[keywords]:
        return
    for ds in (source(), CompositeDataSource([numbers(23), numbers(30, 100)])):
        assert_serial(pool, "batch_map_concat", ds, arrays, 4, order, **KEYWORDS[keywords])
        assert_serial(pool, "batch_map_mean", ds, sums, 4, order, **KEYWORDS[keywords])
    by_name = named(23, "a", "b")
    assert_serial(pool, "batch_map_concat", by_name, lambda **batch: batch, 4, order, **KEYWORDS[keywords])


BUFFER = np.empty((4, 7, 5), np.float32)


def reusing(x: Any, y: Any) -> Any:
    """Return the same memory for every batch."""
    return np.multiply(x, 2, out=BUFFER[: len(x)])


class Likened:
    """An array-like that is no array."""

    def __init__(self, values: Any) -> None:
        self.values = values
        self.shape = values.shape

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.asarray(self.values, dtype)


CONCAT: dict[str, Callable[..., Any]] = {
    "an array": lambda x, y: x * 2.5,
    "the batch": lambda x, y: (x, y),
    "views": lambda x, y: (x[::-1, ::2, 1], y[:, None], x.T.T),
    "Fortran order": lambda x, y: np.asfortranarray(x),
    "a dict": lambda x, y: {"sum": x.sum(axis=(1, 2)), "y": y},
    "numbered dict": lambda x, y: {1: x, 0: y},
    "nothing in a tuple": lambda x, y: (),
    "nothing in a dict": lambda x, y: {},
    "one row per batch": lambda x, y: x.sum(axis=0, keepdims=True),
    "many rows": lambda x, y: np.repeat(y, 3),
    "some rows": lambda x, y: y[y % 3 == 0],
    "no rows": lambda x, y: x[:0],
    "None at times": lambda x, y: None if y[0] % 8 else x,
    "None at first": lambda x, y: None if y[0] < 8 else x,
    "None": lambda x, y: None,
    "other dtypes later": lambda x, y: x if y[0] else np.ones(x.shape, np.int8),
    "text": lambda x, y: np.array(["a" * i for i in y]),
    "objects": lambda x, y: np.array([[str(i), None] for i in y], dtype=object),
    "records": lambda x, y: np.rec.fromarrays([y, y * 2.5], names="a,b"),
    "dates": lambda x, y: y.astype("M8[D]"),
    "no bytes": lambda x, y: np.ones((len(x), 0)),
    "array-likes": lambda x, y: (Likened(x), np.ma.masked_array(y)),
    "large": lambda x, y: np.ones((len(x), 70_000)) * y[:, None],
    "sequences": lambda x, y: Ragged.of([np.arange(i) for i in y]),
    "sequences beside arrays": lambda x, y: {"s": Ragged.of([x[0, 0, : i % 5] for i in y]), "y": y},
    "the same memory": reusing,
}


@pytest.mark.parametrize("name", CONCAT)
def test_concat(pool: Any, name: str) -> None:
    """Whatever can be joined is joined as without a pool: all kinds of arrays, rows and names, None and sequences."""
    if name == "the same memory" and isinstance(pool, WorkerThreadPool):
        return  # threads would write to it at the same time
    assert_serial(pool, "batch_map_concat", source(), CONCAT[name])
    assert_serial(pool, "batch_map_concat", source(), CONCAT[name], 4, "seed", n_batches=2)


@pytest.mark.parametrize("kind", POOLS)
def test_the_same_memory_for_every_batch(kind: str) -> None:
    """A function may return the same memory again and again, as one that keeps a buffer does, to one worker each."""
    buffer = np.empty(5)  # of the dtype of the totals
    with POOLS[kind](1) as pool:
        assert_serial(pool, "batch_map_concat", source(), reusing)
        means = assert_serial(pool, "batch_map_mean", source(), lambda x, y: np.sum(x, axis=(0, 1), out=buffer))
        assert_same(means, source().batch_map_mean(lambda x, y: np.sum(x, axis=(0, 1), dtype=float), 4))


MEAN: dict[str, tuple[Callable[..., Any], Any]] = {
    "a scalar": (lambda x, y: x.sum(), None),
    "a float": (lambda x, y: float(x.sum()), None),
    "an int": (lambda x, y: int(y.sum()), None),
    "complex": (lambda x, y: complex(x.sum(), len(y)), None),
    "half": (lambda x, y: x.astype(np.float16).sum(), None),
    "0-d": (lambda x, y: np.asarray(x.sum()), None),
    "an array": (lambda x, y: x.sum(axis=0), None),
    "a list": (lambda x, y: [x.sum(axis=0), y.sum(), 0.1], None),
    "a tuple": (lambda x, y: (x.sum(axis=0), y.sum()), None),
    "a dict": (lambda x, y: {"x": x.sum(), "n": len(y)}, None),
    "nothing": (lambda x, y: [], None),
    "array-like": (lambda x, y: Likened(x.sum(axis=0)), None),
    "samples": (lambda x, y: x, 0),
    "samples of two kinds": (lambda x, y: (x, y), 0),
    "samples, by name": (lambda x, y: {"x": x, "wrong": y % 3 == 0}, 0),
    "all": (lambda x, y: x, (0, 1, 2)),
    "the last axis": (lambda x, y: x.T, -1),
    "Fortran order": (lambda x, y: np.asfortranarray(x), (0, 2)),
    "strided": (lambda x, y: x[:, ::2, 1::2], (0, 1, 2)),
    "backwards": (lambda x, y: x[::-1, ::-1], (0, 1)),
    "long double": (lambda x, y: x.astype(np.longdouble) / 3, 0),
    "float32 of many": (lambda x, y: np.resize(x, (len(x), 5000)), (0, 1)),
    "None at times": (lambda x, y: None if y[0] % 8 else x.sum(), None),
    "None": (lambda x, y: None, None),
}


@pytest.mark.parametrize("name", MEAN)
def test_mean(pool: Any, name: str) -> None:
    """Means are the serial ones to the last bit: each sum is made of the same numbers in the same order."""
    fn, axis = MEAN[name]
    for keywords in ({}, {"tail": "pad"}, {"n_batches": 3}, {"order": "seed"}):
        counted = (lambda x, y, mask, fn=fn: fn(x, y)) if "tail" in keywords else fn
        assert_serial(pool, "batch_map_mean", source(), counted, sum_axis=axis, **keywords)


def test_prepended_arguments(pool: Any) -> None:
    """`prepend_args` go to the workers too, be they large, and come before tuples and dicts."""
    weights = _RNG.normal(size=(5, 4000))
    assert_serial(
        pool, "batch_map_concat", source(), lambda w, k, x, y: x[:, 0] @ w[:, :3] * k, prepend_args=[weights, 3]
    )
    assert_serial(pool, "batch_map_mean", source(), lambda w, x, y: (x[:, 0] @ w).sum(), prepend_args=(weights,))
    assert_serial(pool, "batch_map_concat", named(9, "a"), lambda k, a: {"a": a * k}, prepend_args=(3,))


def test_concat_into_out(pool: Any) -> None:
    """With `out`, the results are written there by whoever asks."""
    out = np.full((30, 7, 5), -1.0)
    (joined,) = source().batch_map_concat(lambda x, y: x, 4, out=out, pool=pool)
    assert np.shares_memory(joined, out)
    assert_same(joined, WIDE.astype(float))
    assert (out[23:] == -1).all()
    by_name = {"y": np.empty(23)}
    source().batch_map_concat(lambda x, y: {"y": y}, 4, out=by_name, pool=pool)
    assert by_name["y"].tolist() == list(range(23))


@pytest.mark.parametrize("name", ["array", "array, read one by one", "composite", "mapped by sample", "mix of maps"])
@pytest.mark.parametrize("policy", ["skip", "replace"])
@pytest.mark.parametrize("tail", ["short", "pad"])
def test_bad_samples(pool: Any, name: str, policy: str, tail: str) -> None:
    """Samples that cannot be read are skipped or replaced before the function is called."""
    ds = FRAGILE[name]({1, 4, 5, 6, 107})
    for order in ("in order", "seed"):
        keywords = {"on_error": policy, "tail": tail}
        assert_serial(pool, "batch_map_concat", ds, arrays, 3, order, **keywords)
        assert_serial(pool, "batch_map_mean", ds, sums, 3, order, **keywords)


@pytest.mark.parametrize("method", METHODS)
def test_the_function_is_called_by_the_workers(pool: Any, method: str) -> None:
    """It is not called by whoever asks for the result, who is free to wait."""
    here = threading.get_ident()

    def where(x: Any) -> Any:
        time.sleep(0.001)
        return np.array([[os.getpid(), threading.get_ident()]])

    places = [(os.getpid(), here)]
    if method == "batch_map_concat":
        (found,) = numbers(24).batch_map_concat(where, 4, pool=pool)
        places = [tuple(place) for place in found.tolist()]
    else:
        numbers(24).batch_map_mean(lambda x: places.append((os.getpid(), threading.get_ident())), 4, pool=pool)
        places = places[1:]
    assert (os.getpid(), here) not in places
    if is_processes(pool):
        assert {pid for pid, _ in places} <= set(pool.pids)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_behind_n_batches_is_done(pool: Any, method: str, tmp_path: Path) -> None:
    """The function is not called for batches behind `n_batches`, nor are these made; endless sources end there."""

    def noted(x: Any) -> Any:
        (tmp_path / str(x[0])).touch()
        return x.sum(keepdims=True)

    assert_serial(pool, method, numbers(400), noted, n_batches=2)
    getattr(numbers(400, 1000), method)(noted, 4, pool=pool, n_batches=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1000", "1004", "1008", "4"]
    assert_serial(pool, method, numbers(3, repeats=-1), noted, n_batches=40)
    with pytest.raises(ValueError, match="pass n_batches="):
        getattr(numbers(3, repeats=-1), method)(noted, 2, pool=pool)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shard", [None, (1, 2)])
def test_the_first_batches_can_be_entered_anywhere(order: str, shard: Any) -> None:
    """An iterator over the results for so many batches goes on from any state, and ends where it ended."""
    ds = AppliedDataSource(numbers(23), Applied(arrays, None, as_arrays), 3)
    whole = list(ds.batch_iterator(3, shuffle=ORDERS[order](), shard=shard))
    assert len(whole) == 3
    for taken in range(4):
        batches = ds.batch_iterator(3, shuffle=ORDERS[order](), shard=shard)
        assert_same(list(islice(batches, taken)), whole[:taken])
        again = ds.batch_iterator(3, shuffle=ORDERS[order](), shard=shard)
        again.load_state_dict(batches.state_dict())
        assert_same(list(again), whole[taken:])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("ds", "n_batches"),
    [
        (numbers(23), None),
        (numbers(23), 2),
        (numbers(3, repeats=-1), 5),
        (CompositeDataSource([numbers(23), numbers(9)]), None),
        (ChoiceDataSource([numbers(8), numbers(9)], stratified=True), None),
    ],
)
def test_progress(pool: Any, method: str, ds: Any, n_batches: int | None) -> None:
    """The bar is told what it is told without a pool, and sees every batch."""
    bars = Bar(), Bar()
    for bar, who in zip(bars, (None, pool), strict=True):
        getattr(ds, method)(lambda *x: x[0].sum(keepdims=True), 4, bar, n_batches=n_batches, pool=who)
    assert bars[0].told == bars[1].told
    assert bars[0].steps == bars[1].steps > 0


def test_the_bar_moves_as_results_arrive(pool: Any) -> None:
    """Results are taken one after the other, in the order of the batches, while the workers are at later ones."""
    out = np.full(40, -1)
    seen = []

    def bar(batches: Any, total: int, leave: bool) -> Any:
        for batch in batches:
            seen.append(int((out >= 0).sum()))
            yield batch

    def slow(x: Any) -> Any:
        time.sleep(0.001)
        return x

    numbers(40).batch_map_concat(slow, 4, bar, out=out, pool=pool)
    assert seen == list(range(0, 40, 4))
    assert out.tolist() == list(range(40))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["plain", "zero", "key", "odd", "chained", "locked", "stop"])
def test_errors_of_the_function(pool: Any, method: str, kind: str) -> None:
    """What the function raises is raised in its place, of its type and with its text; the pool lives on."""

    def fail(x: Any) -> Any:
        return fail_with(kind) if x[0] == 8 else x.sum(keepdims=True)

    kinds = {"plain": PlainError, "zero": ZeroDivisionError, "key": KeyError, "odd": OddError, "chained": PlainError}
    kinds |= {"locked": LockedError if isinstance(pool, WorkerThreadPool) else Exception, "stop": RuntimeError}
    expected = _raised(lambda: getattr(numbers(23), method)(fail, 4))
    for keywords in ({}, {"on_error": "skip"}):
        error = _raised(lambda keywords=keywords: getattr(numbers(23), method)(fail, 4, pool=pool, **keywords))
        assert isinstance(error, kinds.get(kind, Exception))
        assert str(expected) in str(error)
    assert_serial(pool, method, numbers(8), fail)


WRONG: dict[str, tuple[str, Callable[..., Any], dict[str, Any]]] = {
    "a list": ("batch_map_concat", lambda x: [x], {}),
    "a number": ("batch_map_concat", lambda x: 3, {}),
    "0-d": ("batch_map_concat", lambda x: x.sum(), {}),
    "a list in a tuple": ("batch_map_concat", lambda x: (x, [1, 2]), {}),
    "other names": ("batch_map_concat", lambda x: {"a" if x[0] < 8 else "b": x}, {}),
    "more arrays": ("batch_map_concat", lambda x: (x,) * (1 + (x[0] > 7)), {}),
    "another shape": ("batch_map_concat", lambda x: x if x[0] < 8 else x[:, None], {}),
    "an array behind sequences": ("batch_map_concat", lambda x: Ragged.of([x]) if x[0] < 8 else x, {}),
    "sequences behind an array": ("batch_map_concat", lambda x: x if x[0] < 8 else Ragged.of([x]), {}),
    "out, too small": ("batch_map_concat", lambda x: x, {"out": np.empty(9, int)}),
    "out, another dtype": ("batch_map_concat", lambda x: x + 0.5, {"out": np.empty(23, int)}),
    "out, other names": ("batch_map_concat", lambda x: x, {"out": {"a": np.empty(23, int)}}),
    "out, no array": ("batch_map_concat", lambda x: x, {"out": [1, 2]}),
    "text": ("batch_map_mean", lambda x: "text", {}),
    "an array of text": ("batch_map_mean", lambda x: np.array("text"), {}),
    "a dict in a tuple": ("batch_map_mean", lambda x: (x.sum(), {}), {}),
    "other sums": ("batch_map_mean", lambda x: (0.5,) * (1 + (x[0] > 7)), {}),
    "sums of another shape": ("batch_map_mean", lambda x: x, {}),
    "an axis that is not there": ("batch_map_mean", lambda x: x, {"sum_axis": 1}),
    "not a whole number": ("batch_map_mean", lambda x: x.sum(), {"n_batches": 2.5}),
    "less than no batches": ("batch_map_concat", lambda x: x, {"n_batches": -1}),
    "no batch size": ("batch_map_concat", lambda x: x, {"tail": "long"}),
    "a mask": ("batch_map_concat", lambda x: x, {"tail": "pad"}),
    "no function": ("batch_map_mean", 3, {}),  # type: ignore[dict-item]
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_results_and_arguments(pool: Any, name: str) -> None:
    """What is an error without a pool is the same one with it, in the same words."""
    method, fn, keywords = WRONG[name]
    serial, with_pool = (
        _raised(lambda who=who: getattr(numbers(23), method)(fn, 4, pool=who, **keywords)) for who in (None, pool)
    )
    assert type(with_pool) is type(serial)
    assert str(with_pool) == str(serial)


def _raised(call: Callable[[], Any]) -> Exception:
    """Return what is raised."""
    with pytest.raises(Exception) as caught:  # noqa: PT011  whatever it is, it is compared
        call()
    return caught.value


class OddOne(AbstractDataSource):
    """A source that says it is random access, and is not one of batchup's."""

    @property
    def is_random_access(self) -> bool:
        return True

    def num_samples(self, **kwargs: Any) -> int:
        return 9


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("ds", "name"),
    [
        (handed(), "CallableDataSource"),
        (users.Countdown(9), "Countdown"),
        (users.Countdown(9).map(users.halves), "Countdown"),
        (CompositeDataSource([numbers(9), handed()]), "CallableDataSource"),
        (OddOne(), "OddOne"),
    ],
)
def test_sources_that_are_not_random_access(pool: Any, method: str, ds: Any, name: str) -> None:
    """A pool reads by index: the error tells which source cannot be read so."""
    with pytest.raises(InvalidTypeError, match=f"{name} is not random access"):
        getattr(ds, method)(lambda x: x.sum(keepdims=True), 4, pool=pool)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("wrong", [3, "threads", WorkerThreadPool, handed])
def test_what_is_no_pool(method: str, wrong: Any) -> None:
    """An error says what came instead of a pool."""
    with pytest.raises(InvalidTypeError, match=f"pool must be a worker pool, got {type(wrong).__name__}"):
        getattr(numbers(9), method)(lambda x: x, 4, pool=wrong)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", POOLS)
def test_a_closed_pool(method: str, kind: str) -> None:
    """A pool that was closed says so, at once."""
    with POOLS[kind](1) as pool:
        pass
    with pytest.raises(StateError, match="was closed"):
        getattr(numbers(9), method)(lambda x: x, 4, pool=pool)


def test_what_cannot_be_sent(pool: Any) -> None:
    """What processes cannot be sent is named; threads need not send it."""
    lock = threading.Lock()

    def locked(x: Any) -> Any:
        with lock:
            return x

    if isinstance(pool, WorkerThreadPool):
        assert_serial(pool, "batch_map_concat", numbers(9), locked)
        return
    with pytest.raises(InvalidTypeError, match=r"func\.<lock>, of type lock, cannot be sent"):
        numbers(9).batch_map_concat(locked, 4, pool=pool)


def test_a_source_of_another_pool(pool: Any) -> None:
    """A parallel source may be mapped over by a pool, its own or another."""
    par = pool.parallel_data_source(source())
    assert_serial(pool, "batch_map_concat", par, arrays)
    with WorkerThreadPool(1) as other:
        assert_same(par.batch_map_mean(sums, 4, pool=other), source().batch_map_mean(sums, 4))
        assert_same(
            par.map(users.halves).batch_map_mean(sums, 4, pool=other), par.map(users.halves).batch_map_mean(sums, 4)
        )


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, 40),
    st.integers(1, 12),
    st.sampled_from(["short", "drop", "wrap", "pad"]),
    st.integers(1, 3),
    st.sampled_from([None, 0, 1, 3, 50]),
    st.sampled_from([None, 7]),
)
def test_the_law(pool: Any, n: int, size: int, tail: str, ranks: int, n_batches: int | None, seed: int | None) -> None:
    """However an epoch is cut, dealt out and ordered, a pool changes nothing."""
    ds = ArrayDataSource([np.arange(n) / 7, np.arange(n)])
    keywords = {"tail": tail, "shard": (ranks - 1, ranks), "n_batches": n_batches, "shuffle": seed}
    assert_serial(pool, "batch_map_concat", ds, lambda x, *others: {"x": x, "first": others[0][:1]}, size, **keywords)
    assert_serial(pool, "batch_map_mean", ds, lambda x, *others: x, size, sum_axis=0, **keywords)
