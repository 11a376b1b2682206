"""What every pool must do: batches made elsewhere are the serial ones, bit for bit, and nothing is left behind."""

from __future__ import annotations

import gc
import json
import math
import os
import random
import threading
import time
import traceback
import weakref
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchup import loader, work_pool
from batchup.data_source import (
    AbstractDataSource,
    ArrayDataSource,
    BatchIterator,
    ChoiceDataSource,
    CompositeDataSource,
    IteratorDataSource,
    MixDataSource,
    batch_map_concat,
    batch_map_mean,
)
from batchup.errors import TooManyErrorsError
from batchup.sampling.chunks import batch_count

from . import users
from .cases import COLUMNS, SOURCES, ColumnCase, SourceCase, columns, named, numbers
from .helpers import as_lists, fingerprint, first, leaves
from .pools import (
    CHANCE,
    ORDERS,
    POOLS,
    SIZED,
    TREES,
    Homeless,
    HomelessError,
    LockedError,
    Noting,
    OddError,
    PlainError,
    add,
    alive,
    assert_same,
    assert_same_pass,
    chance,
    children,
    echo,
    end_of_patience,  # noqa: F401
    eventually,
    fail_with,
    importable_tests,
    is_processes,
    late,
    leaving_nothing,
    mapped_files,
    run_program,
    shared_pool,  # noqa: F401
    slow,
)
from .test_plan_on_error import TREES as FRAGILE
from .test_plan_on_error import Fragile

INDEXED = {name: case for name, case in SOURCES.items() if case.indexed}
SIZES = (1, 7, 64)

every_kind = pytest.mark.parametrize("kind", POOLS)


def shuffled(ds: Any, size: int = 4, **keywords: Any) -> list[Any]:
    """Return the batches of an epoch in a seeded order."""
    return list(ds.batch_iterator(size, shuffle=11, **keywords))


# the same batches


@pytest.mark.parametrize("name", INDEXED)
def test_every_source_in_every_order(pool: Any, name: str) -> None:
    """Any source gives the batches of its serial iterator, in every order, at every size."""
    case: SourceCase = INDEXED[name]
    ds: Any = case.make()
    par = pool.parallel_data_source(ds, batch_buffer_size=5)
    assert par.source is ds
    assert par.pool is pool
    assert par.batch_buffer_size == 5
    assert par.is_random_access
    assert par.num_samples() == case.samples
    for order in ORDERS:
        for size in SIZES:
            if order == "in order" and not case.in_order:
                with pytest.raises(NotImplementedError):
                    next(par.batch_iterator(size))
            else:
                assert_same_pass(par, ds, size, order)


@pytest.mark.parametrize("name", TREES)
def test_every_tree_in_every_order(pool: Any, name: str) -> None:
    """So do samplers that shape batches, mixes, and maps of every kind."""
    ds = TREES[name]()
    par = pool.parallel_data_source(ds, batch_buffer_size=3)
    for order in ORDERS:
        for size in SIZES:
            assert_same_pass(par, ds, size, order)


@pytest.mark.parametrize("name", COLUMNS)
def test_every_column(pool: Any, name: str, tmp_path: Path) -> None:
    """Array-likes of any kind and type come as they come from the serial iterator."""
    case: ColumnCase = COLUMNS[name]
    ds = ArrayDataSource([np.arange(12), case.make(case.array, tmp_path)], include_indices=True)
    par = pool.parallel_data_source(ds)
    assert_same_pass(par, ds, 5)
    assert_same_pass(par, ds, 5, copy=False)
    assert_same_pass(par, ds, 5, "seed", epoch=2)


@pytest.mark.parametrize("name", SIZED)
def test_samplers_that_want_a_size(pool: Any, name: str) -> None:
    """A sampler that wants batches of some size gets it; another size is the error of the serial iterator."""
    make, size, wrong = SIZED[name]
    ds = make()
    par = pool.parallel_data_source(ds)
    for order in ("seed", "RandomState", "Generator"):
        assert_same_pass(par, ds, size, order)
        errors = []
        for source in (ds, par):
            with pytest.raises(ValueError, match=str(wrong)) as caught:
                next(source.batch_iterator(wrong, shuffle=ORDERS[order]()))
            errors.append(str(caught.value))
        assert errors[0] == errors[1]


CUT = ["array", "array, 3 times", "composite, nested", "choice, stratified", "map of dicts", "composite of choices"]


@pytest.mark.parametrize("name", CUT)
@pytest.mark.parametrize("tail", ["short", "drop", "wrap", "pad"])
def test_tails_and_shards(pool: Any, name: str, tail: str) -> None:
    """What becomes of the last batch, and which rank gets what, is decided as in the serial iterator."""
    ds = INDEXED[name].make()
    par = pool.parallel_data_source(ds, batch_buffer_size=2)
    for shard in (None, (0, 2), (1, 2), (2, 3), (4, 5)):
        for order in ("seed", "RandomState"):
            assert_same_pass(par, ds, 4, order, tail=tail, shard=shard)
    assert_same_pass(par, ds, 64, tail=tail)


@pytest.mark.parametrize("name", CHANCE)
def test_chance_in_maps(pool: Any, name: str) -> None:
    """Generators handed to maps depend on the place in the epoch, not on the worker."""
    ds = CHANCE[name]()
    par = pool.parallel_data_source(ds, batch_buffer_size=3)
    for epoch in (0, 1, 7):
        assert_same_pass(par, ds, 4, "seed", epoch=epoch)
    assert_same_pass(par, ds, 4, "seed", shard=(1, 3))


@pytest.mark.parametrize("size", SIZES)
def test_epochs_of_a_seed_differ(pool: Any, size: int) -> None:
    """Epochs of a parallel source have orders of their own."""
    ds = columns(23)
    par = pool.parallel_data_source(ds)
    epochs = {str(first(assert_same_pass(par, ds, size, "seed", epoch=epoch))) for epoch in range(5)}
    assert len(epochs) == 5


@pytest.mark.parametrize("buffer", [1, 2, 1000, "1MiB", "64KiB", "1GiB"])
def test_any_buffer(pool: Any, buffer: Any) -> None:
    """However many batches are made ahead, they are the same."""
    ds = columns(300)
    par = pool.parallel_data_source(ds, batch_buffer_size=buffer)
    for size in (1, 16, 299, 1000):
        assert_same_pass(par, ds, size, "RandomState")


def test_chunks_grow_when_batches_turn_out_to_be_quick(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A buffer that was filled batch by batch is filled by several at a time, once that is worth while."""
    ds = columns(300).map(slow)
    par = pool.parallel_data_source(ds, batch_buffer_size=16)
    together, begun = [1] * 20, []
    begin = par._begin
    monkeypatch.setattr(par, "_together", lambda walk: together.pop() if together else 4)
    monkeypatch.setattr(par, "_begin", lambda chunk, walk: begun.append(batch_count(chunk)) or begin(chunk, walk))
    assert_same(list(par.batch_iterator(3)), list(ds.batch_iterator(3)))
    assert set(begun[-10:-1]) == {4}


def test_large_batches(pool: Any) -> None:
    """Batches of some megabytes, of which a worker does one after the other, are the same too."""
    ds = ArrayDataSource([np.arange(400 * 50_000, dtype=np.float32).reshape(400, -1), np.arange(400)])
    par = pool.parallel_data_source(ds, batch_buffer_size="8MiB")
    assert_same_pass(par, ds, 16, "seed")
    assert_same_pass(par, ds, 3, "RandomState", tail="pad")


SMALL = ("list", "int", "increasing", "gather", "range", "objects", "array, no")
LARGE = [name for name in COLUMNS if not name.startswith(SMALL)]


@pytest.mark.parametrize("name", LARGE)
def test_large_columns(pool: Any, name: str, tmp_path: Path) -> None:
    """So do columns and batches that are too large to be sent along, and so lie in shared memory or in a file."""
    case: ColumnCase = COLUMNS[name]
    rows = 200_000 // (case.array.nbytes // 12)
    column = case.make(np.resize(case.array, (rows, *case.array.shape[1:])), tmp_path)
    ds = ArrayDataSource({"column": column, "again": column, "rest": np.arange(rows)})
    par = pool.parallel_data_source(ds, batch_buffer_size=2)
    assert_same_pass(par, ds, rows // 3, "seed")
    assert_same_pass(par, ds, rows // 2)
    assert_same_pass(par, ds, rows // 2, copy=False)


def test_columns_in_files(pool: Any, tmp_path: Path) -> None:
    """Maps of files, and parts and views of them, are read as they are, also when the file's name is gone."""
    array = np.arange(40_000, dtype=np.int32).reshape(2000, 20)
    names = [tmp_path / f"{i}.npy" for i in range(3)]
    for name in names:
        np.save(name, array)
    array.tofile(tmp_path / "raw")
    writable, gone = np.load(names[0], mmap_mode="r+"), np.load(names[1], mmap_mode="r")
    names[1].unlink()
    replaced = np.load(names[2], mmap_mode="r")
    names[2].unlink()
    np.save(names[2], array[::-1])
    raw = np.memmap(tmp_path / "raw", np.int32, "r", offset=80, shape=(1999, 20))
    parts = [writable[1:], gone[1:], replaced[1:], raw, raw[:, 3:17], raw[:, ::3], raw.view(np.uint8), raw[::-1]]
    ds = ArrayDataSource(parts)
    par = pool.parallel_data_source(ds)
    for order in ("in order", "seed"):
        assert_same_pass(par, ds, 500, order)
    for batch in par.batch_iterator(700, shuffle=1):
        for column in batch:
            column[...] = 0
    assert_same_pass(par, ds, 500)
    assert_same(np.asarray(writable), array)


def test_processes_have_a_copy(pool: Any) -> None:
    """Arrays in memory, small or large, are for processes what they were when the parallel source was made."""
    small, large = np.arange(40), np.arange(40 * 5000).reshape(40, -1)
    par = pool.parallel_data_source(ArrayDataSource([small, large]))
    before = ArrayDataSource([small.copy(), large.copy()])
    small[...] = large[...] = -1
    assert_same_pass(par, before if is_processes(pool) else ArrayDataSource([small, large]), 7, "seed")


def test_numpys_global_generator(pool: Any) -> None:
    """shuffle=True draws from it as the serial iterator does."""
    state = np.random.get_state()
    passes = []
    try:
        for source in (columns(23), pool.parallel_data_source(columns(23))):
            np.random.seed(77)
            passes.append((list(source.batch_iterator(4, shuffle=True)), np.random.random()))
    finally:
        np.random.set_state(state)
    assert_same(*passes)


@every_kind
def test_a_large_budget_for_small_batches(kind: str) -> None:
    """A budget that holds very many batches does not keep the first ones waiting."""
    ds = numbers(1000, repeats=-1).map(lambda x: (x + 1,))
    with POOLS[kind](2) as pool:
        list(pool.work_stream([(echo, (1,))]).retrieve_iter())
        begin = time.perf_counter()
        with pool.parallel_data_source(ds, batch_buffer_size="8MiB").batch_iterator(8, shuffle=1) as batches:
            assert_same(list(islice(batches, 100)), list(islice(ds.batch_iterator(8, shuffle=1), 100)))
        assert time.perf_counter() - begin < 1.5


def test_by_index(pool: Any) -> None:
    """Indices of batches, and batches by their indices, are those of the source."""
    ds = columns(23, indices=[5, 1, 3, 3, 8, 20], include_indices=True)
    par = pool.parallel_data_source(ds)
    assert_same(par.samples_by_indices(np.array([0, 2])), ds.samples_by_indices(np.array([0, 2])))
    assert_same(par.samples_by_indices_nomapping(np.array([22])), ds.samples_by_indices_nomapping(np.array([22])))
    assert_same(list(par.batch_indices_iterator(4, shuffle=3)), list(ds.batch_indices_iterator(4, shuffle=3)))
    with pytest.raises(IndexError):
        par.samples_by_indices_nomapping(np.array([23]))


def test_length_position_and_end(pool: Any) -> None:
    """The iterator of a pool is a BatchIterator: length, position, number of samples, an end that stays."""
    for ds in (columns(23), TREES["mix"](), INDEXED["choice of composites"].make(), INDEXED["map"].make()):
        for shuffle in (None, 1):
            serial: Any = ds.batch_iterator(4, shuffle)
            batches = pool.parallel_data_source(ds).batch_iterator(4, shuffle)
            assert isinstance(batches, BatchIterator)
            assert iter(batches) is batches
            assert batches.num_samples == serial.num_samples
            try:
                expected = len(serial)
            except TypeError:
                with pytest.raises(TypeError):
                    len(batches)
                expected = len(list(serial))
            else:
                assert len(batches) == expected
            for i in range(expected):
                assert batches.position == i
                next(batches)
            assert [next(batches, "end") for _ in range(3)] == ["end"] * 3
            assert batches.position == expected
    endless = pool.parallel_data_source(numbers(5, repeats=-1))
    with endless.batch_iterator(2) as batches, pytest.raises(TypeError, match="infinite"):
        len(batches)


def test_close_ends_the_pass(pool: Any) -> None:
    """A closed iterator is exhausted; closing again, or leaving the context, is fine."""
    par = pool.parallel_data_source(numbers(50, repeats=-1))
    with par.batch_iterator(3, shuffle=1) as batches:
        next(batches)
    assert next(batches, None) is None
    batches.close()
    assert next(batches, None) is None
    untouched = par.batch_iterator(3, shuffle=1)
    untouched.close()
    assert list(untouched) == []


@pytest.mark.parametrize(
    "wrong", [{"batch_size": 0}, {"batch_size": 4, "shuffle": "yes"}, {"batch_size": 4, "tail": 1}]
)
def test_wrong_keywords(pool: Any, wrong: dict[str, Any]) -> None:
    """Wrong arguments are the errors that the serial iterator raises, at the call."""
    ds = columns(23)
    with pytest.raises((TypeError, ValueError)) as serial:
        ds.batch_iterator(**wrong)
    with pytest.raises(type(serial.value)) as parallel:
        pool.parallel_data_source(ds).batch_iterator(**wrong)
    assert str(parallel.value) == str(serial.value)
    with pytest.raises(TypeError, match="no_such"):
        pool.parallel_data_source(ds).batch_iterator(4, no_such=1)


def test_stats(pool: Any) -> None:
    """The figures are those of the serial iterator: what was read, and seconds of the same kinds."""
    ds = columns(23).map(lambda *batch: batch)
    serial, batches = ds.batch_iterator(4), pool.parallel_data_source(ds).batch_iterator(4)
    for _ in range(6):
        next(serial)
        next(batches)
        assert batches.stats()["batches"] == batches.position
    assert list(batches) == list(serial) == []
    expected, stats = serial.stats(), batches.stats()
    assert list(stats) == list(expected)
    assert [stats[key] for key in ("batches", "samples", "bytes")] == [
        expected[key] for key in ("batches", "samples", "bytes")
    ]
    assert all(math.isfinite(value) and value >= 0 for value in stats.values())
    assert stats["mapping"] > 0
    assert stats["gathering"] > 0


def test_repr(pool: Any) -> None:
    """Pools and their sources show themselves in a line."""
    shown = repr(pool.parallel_data_source(columns(23), batch_buffer_size=7))
    for text in (repr(pool), shown):
        assert "\n" not in text
        assert "array(" not in text
    assert repr(pool).startswith(f"{type(pool).__name__}(")
    assert shown.startswith("ParallelDataSource(")
    assert "7" in shown


# samples that fail


@pytest.mark.parametrize("name", FRAGILE)
@pytest.mark.parametrize("policy", ["skip", "replace"])
def test_error_policies(pool: Any, name: str, policy: str) -> None:
    """What fails is left out or replaced as in the serial iterator, and noted when its batch is handed out."""
    ds = FRAGILE[name]({2, 3, 9, 102, 103, 110})
    par = pool.parallel_data_source(ds, batch_buffer_size=4)

    def notes(batches: Any) -> list[Any]:
        return [(*error[:2], str(error[2]), error[3], repr(error[4])) for error in batches.errors]

    for order in ORDERS:
        if name == "weighted" and (order == "in order" or (policy == "replace" and order != "seed")):
            continue
        for tail in ("short", "pad"):
            keywords: dict[str, Any] = {"on_error": policy, "max_errors": 1000, "tail": tail, "epoch": 1}
            shuffles = [ORDERS[order]() for _ in range(2)]
            serial: Any = ds.batch_iterator(3, shuffle=shuffles[0], **keywords)
            batches = par.batch_iterator(3, shuffle=shuffles[1], **keywords)
            for expected in islice(serial, 12):
                assert_same(next(batches), expected, f"{order}, {tail}")
                assert notes(batches) == notes(serial)
            batches.close()


@pytest.mark.parametrize("max_errors", [0, 2, 0.3])
@pytest.mark.parametrize("policy", ["skip", "replace"])
def test_too_many_errors(pool: Any, policy: str, max_errors: Any) -> None:
    """Too many errors end the pass where they end the serial one, with the same words."""
    ds = FRAGILE["composite"]({4, 5, 6, 7, 9, 10})

    def until_too_many(source: Any) -> tuple[list[Any], str, Any]:
        batches = source.batch_iterator(2, on_error=policy, max_errors=max_errors)
        got: list[Any] = []
        with pytest.raises(TooManyErrorsError) as caught:
            got.extend(map(as_lists, batches))
        assert list(batches) == []
        return got, str(caught.value), repr(caught.value.__cause__)

    assert until_too_many(pool.parallel_data_source(ds)) == until_too_many(ds)


@pytest.mark.parametrize("trace", [False, True])
@pytest.mark.parametrize("ints", [False, True])
def test_errors_come_where_they_belong(pool: Any, trace: bool, ints: bool) -> None:
    """Batches in front of the one that fails are handed out; then its error, of the same type and text, with notes."""
    # a column that refuses arrays may refuse them with these, too: which one tells the reason is a guess
    for error in (OSError, ZeroDivisionError) if ints else (OSError, PlainError, KeyError, ZeroDivisionError):
        ds: Any = ArrayDataSource([np.arange(40), Fragile(np.arange(40), {17}, error, ints)])

        def until_it_fails(source: Any) -> tuple[Any, ...]:
            batches = source.batch_iterator(3, shuffle=np.random.RandomState(1), trace=trace)
            got: list[Any] = []
            with pytest.raises(Exception, match="cannot read 17") as caught:
                got.extend(map(as_lists, batches))
            assert list(batches) == []
            notes = getattr(caught.value, "__notes__", [])
            return got, batches.position, type(caught.value), str(caught.value), [n for n in notes if "epoch" in n]

        expected = until_it_fails(ds)
        assert until_it_fails(pool.parallel_data_source(ds, batch_buffer_size=6)) == expected
        assert len(expected[0]) > 0
        assert len(expected[-1]) == trace


def test_maps_that_fail(pool: Any) -> None:
    """The error of a map comes in its place, shows where it was raised, and leaves the pool fit for work."""

    def refuse(x: Any) -> Any:
        if 17 in x:
            fail_with("odd")
        return (x * 2,)

    ds = numbers(40).map(refuse)
    batches = pool.parallel_data_source(ds).batch_iterator(4, trace=True)
    assert first(batches, 4) == first(ds.batch_iterator(4), 4)
    with pytest.raises(OddError, match=r"odd \(7\)") as caught:
        next(batches)
    assert caught.value.code == 7
    shown = "".join(traceback.format_exception(caught.value))
    assert "in refuse" in shown
    assert "in fail_with" in shown
    assert next(batches, None) is None
    assert_same_pass(pool.parallel_data_source(columns(23)), columns(23), 4, "seed")


def test_an_error_in_one_iterator_is_its_own(pool: Any) -> None:
    """Another iterator of the pool goes on, whatever happens to the first."""
    good, bad = columns(40), numbers(40).map(lambda x: fail_with("plain") if 9 in x else (x,))
    fine, broken = (pool.parallel_data_source(ds).batch_iterator(2) for ds in (good, bad))
    got = first(fine, 3)
    with pytest.raises(PlainError):
        list(broken)
    assert got + first(fine) == first(good.batch_iterator(2))


# parallel sources in trees, loops and loaders


def test_in_trees(pool: Any) -> None:
    """A parallel source stands in a tree as its source does: composites, choices, mixes, maps, with all keywords."""
    one, two = columns(23), numbers(31, 100)
    par = pool.parallel_data_source(one, batch_buffer_size=3)
    other = pool.parallel_data_source(two)
    pairs: list[tuple[AbstractDataSource, AbstractDataSource]] = [
        (CompositeDataSource([par, two]), CompositeDataSource([one, two])),
        (CompositeDataSource([two, par], flatten=False), CompositeDataSource([two, one], flatten=False)),
        (CompositeDataSource([par, other, par]), CompositeDataSource([one, two, one])),
        (ChoiceDataSource([other, numbers(9)]), ChoiceDataSource([two, numbers(9)])),
        (ChoiceDataSource([other, numbers(9)], stratified=True), ChoiceDataSource([two, numbers(9)], stratified=True)),
        (MixDataSource([other, numbers(9)], [1, 1]), MixDataSource([two, numbers(9)], [1, 1])),
        (par.map(lambda x, y, z: (x * 2, z)), one.map(lambda x, y, z: (x * 2, z))),
        (
            CompositeDataSource([CompositeDataSource([par, two]), numbers(12)]).map(lambda *batch: batch[::-1]),
            CompositeDataSource([CompositeDataSource([one, two]), numbers(12)]).map(lambda *batch: batch[::-1]),
        ),
    ]
    for tree, serial in pairs:
        for order in ORDERS:
            assert_same_pass(tree, serial, 5, order)
        assert_same_pass(tree, serial, 4, "seed", tail="pad", shard=(1, 3), epoch=2)
        batches: Any = tree.batch_iterator(4, shuffle=11)  # type: ignore[call-arg]
        head = first(batches, 2)
        state = json.loads(json.dumps(batches.state_dict()))
        again: Any = serial.batch_iterator(4, shuffle=11)  # type: ignore[call-arg]
        again.load_state_dict(state)
        assert head + first(again) == first(serial.batch_iterator(4, shuffle=11))  # type: ignore[call-arg]
        assert first(batches) == first(serial.batch_iterator(4, shuffle=11))[2:]  # type: ignore[call-arg]


@every_kind
def test_parallel_sources_of_parallel_sources(kind: str) -> None:
    """A tree with a parallel source in it can be made parallel once more, by the same pool."""
    with importable_tests(), POOLS[kind](1) as pool:
        check_nested(pool)


def check_nested(pool: Any) -> None:
    one, two = numbers(31, 100).map(slow), numbers(40)
    par = pool.parallel_data_source(one, batch_buffer_size=3)
    for tree, serial in (
        (par, one),
        (CompositeDataSource([par, two, par]), CompositeDataSource([one, two, one])),
        (CompositeDataSource([par, two]).map(slow), CompositeDataSource([one, two])),
        (ChoiceDataSource([par, two.map(slow)]).map(slow), ChoiceDataSource([one, two])),
    ):
        assert_same_pass(pool.parallel_data_source(tree), serial, 4, "seed")
        assert_same_pass(pool.parallel_data_source(tree), serial, 4, "RandomState")
    assert_same(list(loader(par, 4, shuffle=3, pool=pool)), list(loader(one, 4, shuffle=3)))
    assert_same(list(loader(par, 4, shuffle=3)), list(loader(one, 4, shuffle=3)))


def test_a_map_behind_the_pool_runs_here(pool: Any) -> None:
    """`par.map(fn)` calls fn in the consumer: it may hold what cannot be pickled, and need not be thread-safe."""
    lock, seen = threading.Lock(), []

    def note(x: Any) -> Any:
        with lock:
            seen.append((os.getpid(), threading.get_ident(), x.tolist()))
        return (x + 1,)

    mapped = pool.parallel_data_source(numbers(23)).map(note)
    assert first(mapped.batch_iterator(4)) == first(numbers(23, 1).batch_iterator(4))
    assert [row for _, _, row in seen] == [row for (row,) in first(numbers(23).batch_iterator(4))]
    assert {place[:2] for place in seen} == {(os.getpid(), threading.get_ident())}


def test_a_map_in_front_of_the_pool_runs_there(pool: Any) -> None:
    """The maps of the source are called by the workers."""
    ds = numbers(64).map(slow).map(lambda x: (x, np.full(len(x), os.getpid()), np.full(len(x), threading.get_ident())))
    for _, pids, threads in pool.parallel_data_source(ds).batch_iterator(4):
        assert (pids[0] == os.getpid()) != is_processes(pool)
        assert is_processes(pool) or threads[0] != threading.get_ident()


@pytest.mark.parametrize("name", ["array", "composite, nested", "map", "choice, stratified"])
def test_batch_maps(pool: Any, name: str) -> None:
    """Functions over batches give what they give over the serial iterator, as methods and as functions."""
    ds = INDEXED[name].make()
    par = pool.parallel_data_source(ds)

    def sums(*batch: Any) -> Any:
        return [float(len(part)) for part in leaves(batch)]

    def same(*batch: Any) -> Any:
        return tuple(part for part in leaves(batch) if isinstance(part, np.ndarray))

    for shuffle in (None, 4):
        assert_same(par.batch_map_concat(same, 5, shuffle=shuffle), ds.batch_map_concat(same, 5, shuffle=shuffle))
        assert_same(par.batch_map_mean(sums, 5, shuffle=shuffle), ds.batch_map_mean(sums, 5, shuffle=shuffle))
    assert_same(batch_map_concat(same, par.batch_iterator(5, tail="pad")), ds.batch_map_concat(same, 5, tail="pad"))
    assert_same(batch_map_mean(sums, par.batch_iterator(5)), ds.batch_map_mean(sums, 5))
    assert_same(par.batch_map_concat(same, 3, n_batches=2), ds.batch_map_concat(same, 3, n_batches=2))
    with pytest.raises(ValueError, match="n_batches"):
        pool.parallel_data_source(numbers(3, repeats=-1)).batch_map_concat(same, 2)


LOADED: dict[str, Any] = {
    "list": lambda: [np.arange(23), np.eye(23)],
    "dict": lambda: {"x": np.arange(23), "y": [str(i) for i in range(23)]},
    "composite": lambda: CompositeDataSource([numbers(23), numbers(4, 100, repeats=-1)]),
    "map": CHANCE["by sample"],
}


@pytest.mark.parametrize("name", LOADED)
@pytest.mark.parametrize("prefetch", [None, 1, 20, "512MiB"])
def test_loaders_with_a_pool(pool: Any, name: str, prefetch: Any) -> None:
    """A loader with a pool gives epoch after epoch what one without gives, and so do states taken in mid-epoch."""
    keywords = {} if prefetch is None else {"prefetch": prefetch}
    serial = loader(LOADED[name](), 4, shuffle=7)
    with loader(LOADED[name](), 4, shuffle=7, pool=pool, **keywords) as batches:
        assert len(batches) == len(serial)
        for _ in range(3):
            assert_same(list(batches), list(serial))
        head = list(islice(batches, 2))
        state = json.loads(json.dumps(batches.state_dict()))
    assert state == _after(serial, 2)
    for again in (loader(LOADED[name](), 4, shuffle=7, pool=pool, **keywords), loader(LOADED[name](), 4, shuffle=7)):
        again.load_state_dict(state)
        assert_same(head + list(again), shuffled_epoch(name, 3))
        assert_same(list(again), shuffled_epoch(name, 4))
        again.close()


def _after(batches: Any, count: int) -> Any:
    """Return the state of a loader after the next epoch's first batches."""
    list(islice(batches, count))
    return json.loads(json.dumps(batches.state_dict()))


def shuffled_epoch(name: str, epoch: int) -> list[Any]:
    """Return the batches of an epoch of a loader without a pool."""
    return list(loader(LOADED[name](), 4, shuffle=7, epoch=epoch))


@pytest.mark.parametrize("workers", [1, 3])
def test_loaders_with_threads_of_their_own(workers: int) -> None:
    """workers= makes threads, which go when the loader is closed."""
    with leaving_nothing():
        data = [np.arange(40), np.eye(40)]
        batches = loader(data, 4, shuffle=np.random.RandomState(3), workers=workers, prefetch=6)
        serial = loader(data, 4, shuffle=np.random.RandomState(3))
        for _ in range(3):
            assert_same(list(batches), list(serial))
        assert len(batches) == 10
        next(iter(batches))
        assert threading.active_count() > workers
        batches.close()


def test_loaders_that_nobody_closes() -> None:
    """The threads of a loader go with it."""
    with leaving_nothing():
        batches = loader([np.arange(40)], 4, shuffle=3, workers=2)
        next(iter(batches))
        del batches


def test_loaders_with_wrong_arguments(pool: Any) -> None:
    """Workers and a pool exclude one another; numbers and budgets are checked when the loader is made."""
    with pytest.raises(ValueError, match=r"workers.*pool|pool.*workers"):
        loader([np.arange(9)], 4, workers=2, pool=pool)
    for wrong in (-1, 1.5, "two"):
        with pytest.raises((TypeError, ValueError), match="workers"):
            loader([np.arange(9)], 4, workers=wrong)
    for wrong in (0, -1, 1.5, "two", "-5MiB"):
        with pytest.raises((TypeError, ValueError), match=r"prefetch|budget|bytes"):
            loader([np.arange(9)], 4, pool=pool, prefetch=wrong)
    with pytest.raises(TypeError, match="pool"):
        loader([np.arange(9)], 4, pool="threads")
    for keywords in ({"pool": pool}, {"workers": 2}):
        with pytest.raises(TypeError, match="random access"):
            loader(users.Countdown(9), 4, **keywords)


# holders of batches


def test_several_iterators_at_once(pool: Any) -> None:
    """Passes that share a pool, over one source or over several, do not meet."""
    sources = [columns(40), named(25, "a", "b"), columns(40), numbers(33).map(lambda x: (x, -x))]
    parallel = [pool.parallel_data_source(ds, batch_buffer_size=4) for ds in sources[:2]] * 2
    parallel[3] = pool.parallel_data_source(sources[3])
    parallel[2], sources[2] = parallel[0], sources[0]
    iterators = [(i, par.batch_iterator(3, shuffle=seed)) for seed in (1, 2, 3) for i, par in enumerate(parallel)]
    expected = [list(sources[i].batch_iterator(3, shuffle=seed)) for seed in (1, 2, 3) for i in range(4)]
    got: list[list[Any]] = [[] for _ in iterators]
    turns = random.Random(5)
    while any(len(mine) < len(whole) for mine, whole in zip(got, expected, strict=True)):
        turn = turns.randrange(len(iterators))
        got[turn] += islice(iterators[turn][1], turns.randrange(1, 4))
    assert_same(got, expected)


def test_consumers_in_threads(pool: Any) -> None:
    """Threads may share a pool, each with an iterator of its own."""
    ds = columns(200)
    par = pool.parallel_data_source(ds)
    found: dict[int, list[Any]] = {}

    def consume(seed: int) -> None:
        found[seed] = list(par.batch_iterator(3, shuffle=seed))

    threads = [threading.Thread(target=consume, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_same([found[seed] for seed in range(4)], [list(ds.batch_iterator(3, shuffle=seed)) for seed in range(4)])


def test_iterators_dropped_half_way(pool: Any) -> None:
    """Whoever stops listening, with batches in hand or without, disturbs nobody; what it held is let go."""
    ds = ArrayDataSource([np.arange(64 * 1000.0).reshape(64, -1), np.arange(64)])
    par = pool.parallel_data_source(ds, batch_buffer_size=8)
    kept = []
    for i in range(20):
        batches = par.batch_iterator(4, shuffle=np.random.RandomState(i))
        kept += [(i, k, batch) for k, batch in enumerate(islice(batches, i % 5))]
        if i % 3 == 0:
            batches.close()
        del batches
    with suppress(ZeroDivisionError):
        for batch in par.batch_iterator(4):
            raise ZeroDivisionError(len(batch))
    assert_same_pass(par, ds, 4, "RandomState")
    for i, k, batch in kept:
        serial = islice(ds.batch_iterator(4, shuffle=np.random.RandomState(i)), k, None)
        assert_same(batch, next(serial))


@every_kind
def test_who_keeps_every_batch(kind: str) -> None:
    """A consumer that keeps more than the budget of memory gets every batch all the same, and may write into them."""
    ds = ArrayDataSource([np.arange(120 * 10_000.0).reshape(120, -1), np.arange(120)])
    keywords = {"memory": "1MiB"} if kind != "threads" else {}
    with leaving_nothing():
        with POOLS[kind](2, **keywords) as pool:
            expected = shuffled(ds)
            par = pool.parallel_data_source(ds, batch_buffer_size=6)
            for _ in range(2):
                kept = shuffled(par)
                assert_same(kept, expected)
            for batch in kept[::2]:
                for column in batch:
                    column[...] = -1
            assert_same(kept[1::2], expected[1::2])
            assert_same(shuffled(par), expected)
        assert_same(kept[1::2], expected[1::2])  # also when the pool is gone
        del batch, column, kept


def test_a_batch_belongs_to_its_holder(pool: Any) -> None:
    """Batches are writable, own up to nobody else's memory, and writing into them changes nothing that comes later."""
    for name in ("array", "array, wide", "dict", "composite, nested", "choice, stratified", "map of dicts"):
        ds = INDEXED[name].make()
        par = pool.parallel_data_source(ds, batch_buffer_size=4)
        expected = shuffled(ds, 3)
        held = []
        for batch in par.batch_iterator(3, shuffle=11):
            held.append(batch)
            for array in leaves(held[-2] if len(held) % 2 == 0 else ()):
                assert array.flags.writeable
                array[...] = np.zeros((), array.dtype)
        assert_same(held[1::2], expected[1::2])
        assert_same(shuffled(par, 3), expected)
        assert_same(shuffled(ds, 3), expected)


def test_views_outlive_their_batches(pool: Any) -> None:
    """As long as anything looks at a part of a batch, that memory is not used again."""
    ds = ArrayDataSource([np.arange(80 * 3000, dtype=np.int64).reshape(80, -1), np.arange(80.0)])
    par = pool.parallel_data_source(ds, batch_buffer_size=3)
    kinds = [
        lambda x: x[1:3],
        lambda x: x[:, ::7],
        lambda x: x.T,
        lambda x: x.view(np.uint8),
        lambda x: x[0],
        lambda x: memoryview(x),
        lambda x: memoryview(x)[1:],
        lambda x: np.asarray(memoryview(x.ravel()).cast("B")),
        lambda x: x.reshape(2, -1)[1:].ravel()[3:].view(),
        lambda x: iter(x),
        lambda x: np.frombuffer(x, np.int64),
        lambda x: x.flat,
    ]

    def looks(source: Any) -> list[Any]:
        found = []
        for i, (x, y) in enumerate(source.batch_iterator(4, shuffle=11)):
            found.append(kinds[i % len(kinds)](x))
            found.append(y[:1])
            del x, y
        return found

    def values(found: list[Any]) -> list[Any]:
        return [np.array(list(part) if isinstance(part, Iterator) else part).tolist() for part in found]

    expected, mine = looks(ds), looks(par)
    for _ in range(2):
        shuffled(par)
    assert values(mine) == values(expected)


def test_a_view_in_a_cycle_or_another_thread(pool: Any) -> None:
    """A batch is let go of wherever its last reference goes: in the garbage collector, or in another thread."""
    ds = ArrayDataSource([np.arange(200 * 500.0).reshape(200, -1)])
    par = pool.parallel_data_source(ds, batch_buffer_size=3)
    expected = [batch[0].sum() for batch in ds.batch_iterator(5, shuffle=3)]
    sums: list[float] = []

    def add_up(cycle: list[Any]) -> None:
        sums.append(cycle[0].sum())

    for (batch,) in par.batch_iterator(5, shuffle=3):
        cycle: list[Any] = [batch]
        cycle.append(cycle)
        thread = threading.Thread(target=add_up, args=(cycle,))
        del batch, cycle
        thread.start()
        thread.join()
        del thread
    gc.collect()
    assert sums == expected


def test_writing_into_the_data_of_a_batch_in_the_consumer(pool: Any) -> None:
    """Augmentation in place, behind the pool and in front of it, leaves the data alone."""

    def brighten(x: Any) -> Any:
        x += 1000
        return (x,)

    data = np.arange(60).reshape(30, 2)
    ds = ArrayDataSource([data])
    par = pool.parallel_data_source(ds.map(brighten))
    for _ in range(2):
        assert_same(shuffled(par), shuffled(ArrayDataSource([data + 1000])))
        assert_same(shuffled(pool.parallel_data_source(ds).map(brighten)), shuffled(ArrayDataSource([data + 1000])))
    assert data.tolist() == np.arange(60).reshape(30, 2).tolist()


# streams of tasks


def tasks(count: int, fn: Any = late) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    return ((fn, (i,)) for i in range(count))


@pytest.mark.parametrize("buffer", [1, 2, 20, 1000])
def test_results_come_in_order(pool: Any, buffer: int) -> None:
    """Results come in the order of the tasks, however long each takes and however many there are."""
    stream = pool.work_stream(tasks(150), task_buffer_size=buffer)
    assert isinstance(stream, work_pool.WorkStream)
    assert [stream.retrieve() for _ in range(5)] == [*range(5)]
    assert list(stream.retrieve_iter()) == [*range(5, 150)]
    assert [stream.retrieve() for _ in range(3)] == [None] * 3
    assert list(stream.retrieve_iter()) == []


def test_tasks_of_any_kind(pool: Any) -> None:
    """Tasks come from any iterable; functions are builtins, methods, lambdas, closures; results are what they are."""
    offset = 3
    work: list[Any] = [
        (add, (1, 2)),
        (len, ([1, 2],)),
        ("{}-{}".format, (1, 2)),
        (np.arange, (3,)),
        (lambda: None, ()),
        (lambda x: x + offset, (1,)),
        (np.random.RandomState(3).permutation, (5,)),
        (echo, ({"a": (np.arange(3), None), 2: [b"x", 1j]},)),
        (np.full, ((300, 1000), 2.5)),
        (echo, (OddError,)),
        (echo, (...,)),
    ]
    expected = [fn(*args) if fn != work[6][0] else np.random.RandomState(3).permutation(5) for fn, args in work]
    for given in (work, iter(work), tuple(work)):
        assert_same(list(pool.work_stream(given).retrieve_iter())[:6], expected[:6])
    assert_same(list(pool.work_stream(work[7:]).retrieve_iter()), expected[7:])


def test_none_is_a_result(pool: Any) -> None:
    """`retrieve_iter` hands out None where a task returned it, and ends behind the last task only."""
    stream = pool.work_stream((echo, (None if i % 2 else i,)) for i in range(7))
    assert list(stream.retrieve_iter()) == [0, None, 2, None, 4, None, 6]
    stream = pool.work_stream((echo, (None,)) for _ in range(3))
    assert [stream.retrieve() for _ in range(4)] == [None] * 4


def test_no_tasks(pool: Any) -> None:
    """A stream of nothing is at its end."""
    for nothing in ([], iter(()), (task for task in ())):
        stream = pool.work_stream(nothing)
        assert stream.retrieve() is None
        assert list(stream.retrieve_iter()) == []
        assert list(pool.work_stream(nothing).retrieve_iter()) == []


@pytest.mark.parametrize(("kind", "error"), [("plain", PlainError), ("odd", OddError), ("zero", ZeroDivisionError)])
def test_errors_of_tasks(pool: Any, kind: str, error: type[Exception]) -> None:
    """The error of a task is raised in its place, with its type, its attributes and its traceback."""
    stream = pool.work_stream([(echo, (0,)), (echo, (1,)), (fail_with, (kind,)), (echo, (3,))])
    assert [stream.retrieve(), stream.retrieve()] == [0, 1]
    with pytest.raises(error) as caught:
        stream.retrieve()
    assert type(caught.value) is error
    assert str(caught.value) == ("odd (7)" if kind == "odd" else "text")
    assert getattr(caught.value, "code", 7) == 7
    shown = "".join(traceback.format_exception(caught.value))
    assert "in fail_with" in shown
    assert "pools.py" in shown
    assert list(stream.retrieve_iter()) in ([], [3])


def test_errors_with_causes(pool: Any) -> None:
    """What led to an error is told too."""
    with pytest.raises(PlainError, match="the outer one") as caught:
        pool.work_stream([(fail_with, ("chained",))]).retrieve()
    shown = "".join(traceback.format_exception(caught.value))
    assert "the inner one" in shown
    assert shown.index("the inner one") < shown.rindex("the outer one")


def test_errors_that_cannot_be_pickled(pool: Any) -> None:
    """An error that holds what cannot be pickled is told in words, and is no end of the pool."""
    with pytest.raises(RuntimeError, match="locked") as caught:
        pool.work_stream([(fail_with, ("locked",))]).retrieve()
    shown = "".join(traceback.format_exception(caught.value))
    assert LockedError.__name__ in shown
    assert "in fail_with" in shown
    assert pool.work_stream([(add, (1, 2))]).retrieve() == 3


@every_kind
@pytest.mark.parametrize("task", [(fail_with, ("homeless",)), (Homeless, ())], ids=["error", "result"])
def test_what_cannot_be_rebuilt_here(kind: str, task: Any) -> None:
    """What falls apart on its way from a process is an error, which says what it was; the pool goes on."""
    with importable_tests(), POOLS[kind](1) as pool:
        for _ in range(2):
            stream = pool.work_stream([task])
            if kind != "threads":
                with pytest.raises(Exception, match=r"(?i)homeless|far from home"):
                    stream.retrieve()
            elif task[0] is fail_with:
                with pytest.raises(HomelessError, match="homeless"):
                    stream.retrieve()
            else:
                assert isinstance(stream.retrieve(), Homeless)
            assert pool.work_stream([(add, (1, 2))]).retrieve() == 3


def test_large_arguments_and_results(pool: Any) -> None:
    """Arrays of megabytes go to tasks and come from them; results are their holder's, as long as it likes."""
    data = [np.full(200_000, float(i)) for i in range(12)]
    kept = list(pool.work_stream(((add, (x, 1)) for x in data), task_buffer_size=3).retrieve_iter())
    kept[0][...] = -1
    again = list(pool.work_stream((np.negative, (x,)) for x in kept).retrieve_iter())
    assert_same(kept[1:], [x + 1 for x in data[1:]])
    assert_same(again, [-x for x in kept])


def test_a_task_that_raises_stop_iteration(pool: Any) -> None:
    """It is an error like any other: it does not pass for the end of the stream."""
    stream = pool.work_stream([(echo, (0,)), (fail_with, ("stop",)), (echo, (2,))])
    with pytest.raises((RuntimeError, StopIteration)):
        list(stream.retrieve_iter())


def test_a_task_that_wants_to_exit(pool: Any) -> None:
    """`sys.exit` in a task raises SystemExit where its result would be; the pool goes on."""
    with pytest.raises(SystemExit) as caught:
        pool.work_stream([(fail_with, ("system exit",))]).retrieve()
    assert caught.value.code == 3
    assert pool.work_stream([(add, (1, 2))]).retrieve() == 3


def test_a_generator_that_raises(pool: Any) -> None:
    """Results of the tasks before are handed out, then comes the generator's error, then nothing."""

    def broken() -> Iterator[Any]:
        yield from tasks(7)
        raise OddError(1, reason="no more")

    for buffer in (2, 20):
        stream = pool.work_stream(broken(), task_buffer_size=buffer)
        got: list[int] = []
        with pytest.raises(OddError, match="no more") as caught:
            got.extend(stream.retrieve_iter())
        assert got == [*range(7)]
        assert "in broken" in "".join(traceback.format_exception(caught.value))
        assert stream.retrieve() is None


@pytest.mark.parametrize("buffer", [1, 3, 20])
def test_tasks_are_drawn_as_needed(pool: Any, buffer: int) -> None:
    """A stream begins at once, and never draws more than its buffer ahead of the consumer."""
    drawn: list[int] = []

    def noted() -> Iterator[Any]:
        for i in range(60):
            drawn.append(i)
            yield echo, (i,)

    stream = pool.work_stream(noted(), task_buffer_size=buffer)
    assert eventually(lambda: len(drawn) == buffer)
    for taken in range(1, 61):
        assert stream.retrieve() == taken - 1
        if taken < 40:
            time.sleep(0.001)
            assert len(drawn) <= taken + buffer
    assert len(drawn) == 60


def test_index_batches_are_drawn_as_needed(pool: Any) -> None:
    """So does a parallel source: it fills its buffer at once, reads no more than that ahead, and ends when dropped."""
    seen = Noting.seen = []
    Noting.ended.clear()
    par = pool.parallel_data_source(numbers(400, sampler=Noting(400)).map(slow), batch_buffer_size=5)
    batches = par.batch_iterator(4)
    assert eventually(lambda: len(seen) == 5)
    for taken in range(1, 60):
        next(batches)
        assert len(seen) <= taken + 5
    del batches
    assert eventually(lambda: gc.collect() is not None and Noting.ended.is_set())


def test_streams_dropped_half_way(pool: Any) -> None:
    """A stream that nobody holds ends, and lets go of its tasks and results."""
    ended = threading.Event()

    class Kept(list[int]):
        """A list that can be referred to weakly."""

    def endless() -> Iterator[Any]:
        try:
            while True:
                yield late, (1,)
        finally:
            ended.set()

    stream = pool.work_stream(endless(), task_buffer_size=4)
    stream.retrieve()
    del stream
    assert eventually(lambda: gc.collect() is not None and ended.is_set())
    task = Kept([1, 2])
    goes = weakref.ref(task)
    stream = pool.work_stream([(len, (task,)), (len, ([],))])
    assert stream.retrieve() == 2
    del task, stream
    assert eventually(lambda: gc.collect() is not None and goes() is None)


@pytest.mark.parametrize("wrong", [None, 3, "ab", echo, (echo,), (echo, 1), (3, ()), (echo, (1,), {}), ["ab"]])
def test_wrong_tasks(pool: Any, wrong: Any) -> None:
    """What is no (function, arguments) is a TypeError that says what a task is, where its result would be."""
    stream = pool.work_stream([(echo, (1,)), wrong])
    assert stream.retrieve() == 1
    with pytest.raises(TypeError, match="task"):
        stream.retrieve()
    assert pool.work_stream([(add, (1, 2))]).retrieve() == 3


def test_wrong_arguments_of_streams(pool: Any) -> None:
    """What cannot be iterated, and sizes of a buffer that are no such thing, are errors at the call."""
    for wrong in (None, 3, echo):
        with pytest.raises(TypeError, match="task"):
            pool.work_stream(wrong)
    for size in (0, -1, 1.5, "two", True, None):
        with pytest.raises((TypeError, ValueError), match="task_buffer_size"):
            pool.work_stream([], task_buffer_size=size)


def test_streams_side_by_side(pool: Any) -> None:
    """Streams and parallel sources share a pool."""
    streams = [pool.work_stream(tasks(40), task_buffer_size=i + 1) for i in range(5)]
    batches = pool.parallel_data_source(numbers(40)).batch_iterator(1)
    for i in range(40):
        assert [stream.retrieve() for stream in streams] == [i] * 5
        assert first(batches, 1) == [[[i]]]


# what a pool takes


@pytest.mark.parametrize("name", [name for name, case in SOURCES.items() if not case.indexed])
def test_sources_that_cannot_be_read_by_index(pool: Any, name: str) -> None:
    """They are a TypeError, which names what is in the way."""
    with pytest.raises(TypeError, match="random access"):
        pool.parallel_data_source(SOURCES[name].make())


def test_what_is_no_source(pool: Any) -> None:
    """Neither arrays nor functions nor classes are data sources."""
    for wrong in (None, 3, [np.arange(3)], np.arange(3), iter([]), echo, ArrayDataSource):
        with pytest.raises(TypeError, match=r"data source|AbstractDataSource"):
            pool.parallel_data_source(wrong)
    with pytest.raises(TypeError, match="random access"):
        pool.parallel_data_source(IteratorDataSource(iter([])))


def test_wrong_buffers(pool: Any) -> None:
    """A buffer is a number of batches or of bytes, of which there is at least one."""
    for wrong in (0, -1, 1.5, True, None, "two", "", "-5MiB", "0MiB", "12 parsecs", [3]):
        with pytest.raises((TypeError, ValueError), match="batch_buffer_size"):
            pool.parallel_data_source(numbers(9), batch_buffer_size=wrong)


@every_kind
def test_wrong_numbers_of_workers(kind: str) -> None:
    """There is at least one worker, a whole number of them."""
    for wrong in (0, -1, 1.5, "two", True, [2]):
        with pytest.raises((TypeError, ValueError), match="processes"):
            POOLS[kind](wrong)
    for wrong in (0, -1, "soon", float("nan")):
        with pytest.raises((TypeError, ValueError), match="timeout"):
            POOLS[kind](1, timeout=wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"start_method": "thread"},
        {"start_method": None},
        {"max_restarts": -1},
        {"max_restarts": 1.5},
        {"max_restarts": "many"},
        {"memory": 0},
        {"memory": -1},
        {"memory": "lots"},
        {"memory": None},
    ],
    ids=repr,
)
def test_wrong_settings_of_processes(wrong: dict[str, Any]) -> None:
    """Every setting is checked when the pool is made, and named."""
    with leaving_nothing(), pytest.raises((TypeError, ValueError), match=next(iter(wrong))):
        work_pool.WorkerProcessPool(1, **wrong)


def test_numbers_of_workers(pool: Any) -> None:
    """`processes` is what was asked for; None is what this process may use; process pools tell their workers."""
    assert pool.processes == 2
    with work_pool.WorkerThreadPool() as one, work_pool.WorkerThreadPool(processes=None) as some:
        assert one.processes == 1
        assert 1 <= some.processes <= len(os.sched_getaffinity(0))
        assert one.work_stream([(add, (1, 2))]).retrieve() == 3
    if is_processes(pool):
        assert len(set(pool.pids)) == 2
        assert all(alive(pid) for pid in pool.pids)
        assert os.getpid() not in pool.pids
        assert {pid for pid, _, _ in pool.work_stream([(chance, ())] * 8).retrieve_iter()} == set(pool.pids)


def test_chance_of_the_workers_is_their_own(pool: Any) -> None:
    """Processes do not share the state of the global generators, nor touch that of the consumer."""
    before = fingerprint(np.random.mtrand._rand)
    drawn = list(pool.work_stream([(chance, ())] * 8).retrieve_iter())
    assert len({a for _, a, _ in drawn}) == len({b for _, _, b in drawn}) == 8
    if is_processes(pool):
        assert fingerprint(np.random.mtrand._rand) == before


class Locked:
    """An array-like with what cannot be pickled."""

    def __init__(self, length: int) -> None:
        self._lock = threading.Lock()
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: Any) -> Any:
        with self._lock:
            return np.arange(self.length)[index]


LOCKED: dict[str, tuple[Any, str]] = {
    "column": (lambda: ArrayDataSource([Locked(9)]), r"source\.data\[0\]\._lock"),
    "column of a dict": (lambda: ArrayDataSource({"a": np.arange(9), "b": Locked(9)}), r"source\.data\['b'\]\._lock"),
    "member": (
        lambda: CompositeDataSource([numbers(9), ArrayDataSource([np.arange(9), Locked(9)])]),
        r"source\.datasets\[1\]\.data\[1\]\._lock",
    ),
    "mapped": (lambda: ArrayDataSource([Locked(9)]).map(echo), r"source\.source\.data\[0\]\._lock"),
    "function": (lambda: numbers(9).map(Locked(9).__getitem__), r"source\.fn.*\._lock"),
    "closure": (lambda: numbers(9).map((lambda lock: lambda x: lock and (x,))(threading.Lock())), r"source\.fn.*lock"),
}


@pytest.mark.parametrize("name", LOCKED)
def test_what_cannot_be_pickled_is_named(pool: Any, name: str) -> None:
    """A process pool names the attribute that it cannot take with it; threads share it."""
    make, path = LOCKED[name]
    ds = make()
    if is_processes(pool):
        with pytest.raises(TypeError, match=path):
            next(pool.parallel_data_source(ds).batch_iterator(4))
    elif name not in ("mapped", "function"):
        assert_same_pass(pool.parallel_data_source(ds), ds, 4, "seed")


def test_tasks_that_cannot_be_pickled(pool: Any) -> None:
    """So are arguments and results of tasks; the pool goes on."""
    lock = threading.Lock()
    if is_processes(pool):
        for task in ((len, ([lock],)), (echo, (lock,)), (threading.Lock, ())):
            with pytest.raises(TypeError, match="lock"):
                list(pool.work_stream([(echo, (1,)), task]).retrieve_iter())
    else:
        assert list(pool.work_stream([(len, ([lock],)), (echo, (lock,))]).retrieve_iter()) == [1, lock]
    assert pool.work_stream([(add, (1, 2))]).retrieve() == 3


@every_kind
def test_a_closed_pool(kind: str) -> None:
    """A closed pool takes no work; closing again is fine; what it handed out stays, what is under way is an error."""
    with leaving_nothing():
        pool = POOLS[kind](2)
        with pool as same:
            assert same is pool
            ds = numbers(40).map(slow)
            par = pool.parallel_data_source(ds, batch_buffer_size=4)
            under_way, stream = par.batch_iterator(2), pool.work_stream(tasks(50), task_buffer_size=3)
            kept = list(islice(under_way, 3))
            pids = pool.pids if kind != "threads" else ()
            assert stream.retrieve() == 0
        assert_same(kept, list(islice(ds.batch_iterator(2), 3)))
        for unfinished in (under_way, stream.retrieve_iter()):
            with pytest.raises(ValueError, match="closed"):
                list(unfinished)
        pool.close()
        for work in (
            lambda: pool.work_stream([(echo, (1,))]).retrieve(),
            lambda: next(pool.parallel_data_source(ds).batch_iterator(4)),
            lambda: next(par.batch_iterator(4)),
            lambda: list(loader(ds, 4, pool=pool)),
        ):
            with pytest.raises(ValueError, match="closed"):
                work()
        assert eventually(lambda: not any(map(alive, pids)))


@every_kind
def test_closing_while_somebody_waits(kind: str) -> None:
    """Whoever waits for a closed pool, in another thread, need not wait for ever."""
    with leaving_nothing():
        pool = POOLS[kind](1)
        ended: list[Any] = []

        def consume(wait: Any) -> None:
            try:
                for _ in wait:
                    pass
            except ValueError as error:
                ended.append(error)

        waits = [
            pool.work_stream([(time.sleep, (0.5,))] * 20).retrieve_iter(),
            pool.parallel_data_source(numbers(20).map(lambda x: time.sleep(0.5) or (x,))).batch_iterator(1),
        ]
        threads = [threading.Thread(target=consume, args=(wait,)) for wait in waits]
        for thread in threads:
            thread.start()
        time.sleep(0.05)
        pool.close()
        for thread in threads:
            thread.join(5)
        assert [str(error)[:3] for error in ended] == ["the", "the"]
        assert all("closed" in str(error) for error in ended)
        del waits, threads, thread


@every_kind
def test_pools_that_nobody_closes(kind: str) -> None:
    """The workers of a pool go with the last that refers to it: the pool, a source, an iterator or a stream."""
    with leaving_nothing():
        pool = POOLS[kind](1)
        batches = pool.parallel_data_source(numbers(9)).batch_iterator(2)
        del pool
        assert first(batches) == first(numbers(9).batch_iterator(2))
        del batches


@every_kind
def test_closing_again_and_again_leaves_nothing(kind: str) -> None:
    """Pools come and go: the numbers of descriptors, threads, processes and maps stay as they are."""

    def held() -> tuple[int, set[str], set[str]]:
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir())), mapped_files(), children()

    def use() -> None:
        with POOLS[kind](1) as pool:
            par = pool.parallel_data_source(ArrayDataSource([np.arange(40_000.0).reshape(40, -1)]))
            kept = list(islice(par.batch_iterator(4, shuffle=1), 3))
            pool.work_stream(tasks(50)).retrieve()
            assert len(kept) == 3

    with importable_tests():
        use()
        before = held()
        for _ in range(2):
            use()
        assert eventually(lambda: held() == before), (held(), before)


def test_descriptors_are_constant(pool: Any) -> None:
    """However many batches and tasks pass through a pool, it holds the same few descriptors and threads."""
    ds = ArrayDataSource([np.arange(200 * 1000.0).reshape(200, -1)])

    def held() -> list[int]:
        gc.collect()
        assert pool.work_stream([(echo, (1,))]).retrieve() == 1  # tells workers what to forget
        processes = ["self", *map(str, pool.pids if is_processes(pool) else ())]
        descriptors = [len(list(Path(f"/proc/{process}/fd").iterdir())) for process in processes]
        maps = [Path(f"/proc/{process}/maps").read_text().count("/memfd") for process in processes]
        return [threading.active_count(), *descriptors, *maps]

    shuffled(pool.parallel_data_source(ds, batch_buffer_size=4), 2)
    before = held()
    for _ in range(4):
        par = pool.parallel_data_source(ds, batch_buffer_size=4)
        kept = [*shuffled(par, 2), pool.work_stream(tasks(20)).retrieve()]
    del kept, par
    assert eventually(lambda: all(now <= then for now, then in zip(held(), before, strict=True))), (held(), before)


# scripts and start methods

MAIN = """
import sys

import numpy as np

from batchup import loader, work_pool
from batchup.data_source import ArrayDataSource, RandomAccessDataSource

with open("ran.txt", "a") as runs:
    runs.write("once\\n")

OFFSET = 3


class MineError(Exception):
    def __init__(self, code, *, reason):
        super().__init__(reason)
        self.code = code


class Column:
    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return np.asarray(i) * OFFSET


class Squares(RandomAccessDataSource):
    def samples_by_indices_nomapping(self, indices):
        return indices.copy(), indices ** 2 + OFFSET


class Point:
    def __init__(self, x):
        self.x = x

    def __eq__(self, other):
        return type(other) is Point and other.x == self.x


def shift(x, y):
    return x + OFFSET, y


def point(x):
    return Point(x + OFFSET)


def fail(code):
    raise MineError(code, reason="mine")


def same(par, ds):
    got, expected = (
        [[(column.dtype, column.tolist()) for column in batch] for batch in source.batch_iterator(4, shuffle=5)]
        for source in (par, ds)
    )
    assert len(got) == 6 and got == expected


pool = work_pool.WorkerProcessPool(2, start_method=sys.argv[1])
for ds in (
    ArrayDataSource([Column(23), np.arange(23.0)]).map(shift),
    Squares(23).map(lambda x, y: (y, x - OFFSET)),
):
    same(pool.parallel_data_source(ds), ds)
    for _ in range(2):
        assert len(list(loader(ds, 4, shuffle=1, pool=pool))) == 6
assert list(pool.work_stream((point, (i,)) for i in range(30)).retrieve_iter()) == [Point(i + 3) for i in range(30)]
try:
    pool.work_stream([(fail, (7,))]).retrieve()
except MineError as error:
    assert (type(error), error.code, str(error)) == (MineError, 7, "mine")
else:
    raise AssertionError("no error")
under_way = pool.parallel_data_source(Squares(500, repeats=-1)).batch_iterator(4)
kept = [next(under_way) for _ in range(3)]
if len(sys.argv) > 2:
    pool.close()
print("fine")
"""


@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
@pytest.mark.parametrize("closing", [[], ["close"]], ids=["left open", "closed"])
def test_what_a_script_defines(method: str, closing: list[str], tmp_path: Path) -> None:
    """Classes, functions and errors of a script reach the workers without a guard; it is not run again."""
    (tmp_path / "script.py").write_text(MAIN)
    assert run_program(["script.py", method, *closing], tmp_path) == "fine\n"
    assert (tmp_path / "ran.txt").read_text() == "once\n"


def test_what_a_module_that_is_run_defines(tmp_path: Path) -> None:
    """The same with `python -m`, `python -c` and a program that comes on standard input."""
    (tmp_path / "module.py").write_text(MAIN)
    assert run_program(["-m", "module", "forkserver"], tmp_path) == "fine\n"
    assert run_program(["-c", MAIN, "forkserver"], tmp_path) == "fine\n"
    assert run_program(["-", "forkserver"], tmp_path, stdin=MAIN) == "fine\n"


BATTERY = """
import sys

import numpy as np

from batchup import work_pool
from batchup.work_pool import packing, pickling
from tests.pools import CHANCE, ORDERS, TREES, add, assert_same_pass, chance, fail_with, PlainError
from tests.cases import SOURCES

if sys.argv[2:]:
    packing.INLINE, pickling.LARGE = 0, 1  # which forked workers inherit
with work_pool.WorkerProcessPool(2, start_method=sys.argv[1]) as pool:
    for name, case in SOURCES.items():
        if case.indexed:
            ds = case.make()
            par = pool.parallel_data_source(ds, batch_buffer_size=3)
            for order in ORDERS:
                if order != "in order" or case.in_order:
                    assert_same_pass(par, ds, 4, order)
    for make in (*TREES.values(), *CHANCE.values()):
        ds = make()
        assert_same_pass(pool.parallel_data_source(ds), ds, 4, "seed", tail="pad", shard=(1, 2))
    assert list(pool.work_stream((add, (i, 1)) for i in range(50)).retrieve_iter()) == [*range(1, 51)]
    drawn = list(pool.work_stream([(chance, ())] * 8).retrieve_iter())
    assert {pid for pid, _, _ in drawn} == set(pool.pids)
    assert len({a for _, a, _ in drawn}) == len({b for _, _, b in drawn}) == 8
    try:
        pool.work_stream([(fail_with, ("plain",))]).retrieve()
    except PlainError:
        print("fine")
"""


@pytest.mark.parametrize("method", ["spawn", "fork", "fork, by shared memory"])
def test_other_start_methods(method: str, tmp_path: Path) -> None:
    """Workers that are spawned or forked give the same batches; so they do when all go through shared memory."""
    method, *memory = method.split(", ")
    assert run_program(["-c", BATTERY, method, *memory], tmp_path) == "fine\n"


def test_fork_beside_threads_is_refused() -> None:
    """Forking while other threads run is refused, and they are named."""
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name="the one that waits")
    thread.start()
    try:
        with leaving_nothing(), pytest.raises(ValueError, match="the one that waits"):
            work_pool.WorkerProcessPool(1, start_method="fork")
    finally:
        stop.set()
        thread.join()
