"""What each verb of a lazy dataset reads, gives and lets go of; joins, batches, sources of all kinds."""

from __future__ import annotations

import gc
import pickle
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import accumulate, islice
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pytest

from batchup import Dataset, work_pool
from batchup.data_source import ArrayDataSource, RandomAccessDataSource
from batchup.sampling import WeightedSampler

from .helpers import as_lists
from .pipelines import Counted, Rows, Sized, drawn, listed, some, weighed
from .pools import end_of_patience, eventually, leaving_nothing, left  # noqa: F401


class Point(NamedTuple):
    x: Any
    y: Any


def one(item: Any) -> Any:
    return item


def pair(item: Any) -> Any:
    return item, item


def always(item: Any) -> bool:
    return True


def twice(item: Any) -> list[Any]:
    return [item, item]


# verb, and what is read of a stream for the first item
FIRST: dict[str, tuple[Callable[[Dataset], Dataset], int]] = {
    "map": (lambda ds: ds.map(one), 1),
    "starmap": (lambda ds: ds.map(pair).starmap(lambda x, y: x + y), 1),
    "filter": (lambda ds: ds.filter(always), 1),
    "filter, later": (lambda ds: ds.filter(lambda x: x >= 3), 4),
    "flatmap": (lambda ds: ds.flatmap(twice), 1),
    "transform": (lambda ds: ds.transform(accumulate), 1),
    "take": (lambda ds: ds.take(3), 1),
    "skip": (lambda ds: ds.skip(2), 3),
    "slice": (lambda ds: ds[2:20:5], 3),
    "batch": (lambda ds: ds.batch(4), 4),
    "batch, drop_last": (lambda ds: ds.batch(4, drop_last=True), 4),
    "padded_batch": (lambda ds: ds.padded_batch(4), 4),
    "unbatch": (lambda ds: ds.batch(4).unbatch(), 4),
    "window": (lambda ds: ds.window(3), 3),
    "window, far": (lambda ds: ds.window(2, 5), 2),
    "enumerate": (lambda ds: ds.enumerate(), 1),
    "zip": (lambda ds: ds.zip(range(3)), 1),
    "concat": (lambda ds: ds + ds, 1),
    "roundrobin": (lambda ds: Dataset.roundrobin([ds, ds]), 1),
    "mux": (lambda ds: Dataset.mux([ds, ds], seed=1), 1),
    "mux, active": (lambda ds: Dataset.mux([ds, ds], n_active=1, rate=3, seed=1), 1),
    "repeat": (lambda ds: ds.repeat(), 1),
    "cache": (lambda ds: ds.cache(), 1),
    "select": (lambda ds: ds.map(pair).select(1), 1),
    "select_tuple": (lambda ds: ds.map(pair).select_tuple(1), 1),
    "shuffle": (lambda ds: ds.shuffle(4, seed=1), 4),
    "sample": (lambda ds: ds.sample(3, seed=1), 100),
    "epoch": (lambda ds: ds.epoch(3), 1),
    "columns": (lambda ds: Dataset(x=ds, y=ds.map(one)), 2),
    "many": (lambda ds: ds.map(pair).filter(always).skip(2).batch(3).window(2).take(2), 8),
}
AHEAD: dict[str, Callable[[Dataset], Dataset]] = {
    "prefetch": lambda ds: ds.prefetch(3),
    "background": lambda ds: ds.map(one, background=True),
    "threads": lambda ds: ds.map(one, num_threads=2),
    "threads, any order": lambda ds: ds.map(one, num_threads=2, ordered=False),
    "prefetched threads": lambda ds: ds.map(one, num_threads=2).prefetch(2),
    "threads over prefetch": lambda ds: ds.prefetch(2).map(one, num_threads=2),
    "cached threads": lambda ds: ds.map(one, num_threads=2).cache(),
    "cached prefetch": lambda ds: ds.prefetch(2).cache(),
    "zipped": lambda ds: ds.prefetch(2).zip(ds.map(one, num_threads=1)),
    "muxed": lambda ds: Dataset.mux([ds.prefetch(2), ds.map(one, num_threads=1)], seed=1),
    "batches": lambda ds: ds.map(one, num_threads=2).filter(always).batch(3),
}
ALL: dict[str, Callable[[Dataset], Dataset]] = {**{name: verb for name, (verb, _) in FIRST.items()}, **AHEAD}


# laziness


@pytest.mark.parametrize("verb", ALL)
def test_nothing_is_read_before_it_is_asked_for(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Making, showing and explaining a dataset reads nothing, nor does making an iterator, or taking no item."""
    source = Counted()
    threads = threading.active_count()
    dataset = ALL[verb](Dataset(source))
    repr(dataset)
    str(dataset)
    dataset.explain()
    assert capsys.readouterr().out
    items = iter(dataset)
    items.close()
    assert dataset.take(0).list() == []
    assert dataset[5:5].list() == []
    assert dataset
    assert source.begun == 0
    assert source.read == []
    assert threading.active_count() == threads


@pytest.mark.parametrize("verb", ALL)
def test_nothing_is_read_of_rows_for_a_length(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The length of a dataset over random access is known without reading."""
    rows = Rows()
    dataset = ALL[verb](Dataset(rows))
    repr(dataset)
    dataset.explain()
    assert "100" in capsys.readouterr().out
    with suppress(TypeError):
        assert len(dataset) > 0
    assert rows.read == []


@pytest.mark.parametrize("verb", FIRST)
def test_the_first_item_reads_what_it_needs(verb: str) -> None:
    """As much is read as the first item needs, and no more."""
    make, count = FIRST[verb]
    source = Counted()
    items = iter(make(Dataset(source)))
    next(items)
    assert len(source.read) == count
    items.close()


@pytest.mark.parametrize("verb", FIRST)
def test_first_reads_what_it_needs(verb: str) -> None:
    """`first` reads as much as the first item needs, and closes the source."""
    make, count = FIRST[verb]
    source = Counted()
    dataset = make(Dataset(source))
    dataset.first()
    assert len(source.read) == count
    del dataset
    gc.collect()
    assert source.ended == source.begun > 0


@pytest.mark.parametrize("count", [0, 1, 7, 100, 200])
def test_take_reads_what_it_takes(count: int) -> None:
    """Taking n items reads n items, and begins nothing for none."""
    source = Counted()
    assert Dataset(source).take(count).list() == list(range(min(count, 100)))
    assert len(source.read) == min(count, 100)
    assert source.begun == (count > 0)
    source = Counted()
    assert len(Dataset(source).map(one).filter(always).take(count).map(one).list()) == min(count, 100)
    assert len(source.read) == min(count, 100)


def test_batches_read_their_items() -> None:
    """Each batch reads its own items."""
    source = Counted(10)
    for number, _ in enumerate(Dataset(source).batch(4), 1):
        assert len(source.read) == min(10, 4 * number)


def test_windows_read_their_items() -> None:
    """Each window reads up to its last item."""
    source = Counted(20)
    for number, found in enumerate(Dataset(source).window(3, 2)):
        assert found == (2 * number, 2 * number + 1, 2 * number + 2)
        assert len(source.read) == 2 * number + 3


def test_slices_read_up_to_their_last_item() -> None:
    """Slices of a stream read up to the last item that they have."""
    source = Counted()
    assert Dataset(source)[1:9:4].list() == [1, 5]
    assert len(source.read) == 6
    source = Counted()
    assert Dataset(source)[7] == 7
    assert len(source.read) == 8
    assert source.ended == 1


def test_slices_read_their_rows() -> None:
    """Slices of rows read their own rows, and skip() none that it skips."""
    rows = Rows()
    assert Dataset(rows)[90:10:-20].list() == [90, 70, 50, 30]
    assert rows.read == [90, 70, 50, 30]
    rows.read.clear()
    assert Dataset(rows).skip(95).batch(2)[1].tolist() == [97, 98]
    assert rows.read == [97, 98]
    rows.read.clear()
    assert Dataset(rows).map(pair).skip(98).list() == [(98, 98), (99, 99)]
    assert rows.read == [98, 99]


def test_items_by_number_read_one_row() -> None:
    """An item by its number reads the rows that it needs."""
    rows = Rows()
    dataset = Dataset(rows).map(one).shuffle(seed=1).take(50).enumerate()
    number, item = dataset[17]
    assert (number, rows.read) == (17, [item])


def test_prefetch_reads_no_further_than_asked() -> None:
    """A thread has at most `count` items ready, beside those that were handed out."""
    for count in (1, 2, 5):
        source = Counted()
        with iter(Dataset(source).prefetch(count)) as items:
            for taken in range(1, 4):
                next(items)
                assert eventually(lambda s=source, n=taken + count: len(s.read) >= n)
                assert not eventually(lambda s=source, n=taken + count: len(s.read) > n, 0.02)


def test_a_buffer_bounds_what_workers_begin() -> None:
    """With `buffer_size`, workers begin no more items ahead."""
    source = Counted()
    with iter(Dataset(source).map(one, num_threads=2, buffer_size=3)) as items:
        for taken in range(1, 10):
            assert next(items) == taken - 1
            assert len(source.read) <= taken + 3


def test_zipped_streams_are_read_in_step() -> None:
    """Columns that are streams are read together."""
    one_source, other = Counted(), Counted()
    items = iter(Dataset(one_source, other))
    next(items)
    assert (len(one_source.read), len(other.read)) == (1, 1)


def test_concat_begins_the_next_when_it_is_needed() -> None:
    """The second dataset is begun when the first has ended."""
    one_source, other = Counted(2), Counted(2)
    items = iter(Dataset(one_source) + Dataset(other))
    assert [next(items), next(items)] == [0, 1]
    assert other.begun == 0
    assert [*items] == [0, 1]


# letting go


@pytest.mark.parametrize("verb", ALL)
def test_leaving_closes_the_source(verb: str) -> None:
    """A source is closed, and threads end, when a pass is closed, left by break, dropped, or fails downstream."""
    source = Counted()

    def check() -> None:
        assert source.begun == source.ended > 0
        assert eventually(lambda: not left() - before, 1)

    before = left()
    dataset = ALL[verb](Dataset(source))
    if "cache" in verb:  # which goes on where it was, by whoever asks
        dataset = dataset.skip(0)
    items = iter(dataset)
    next(items)
    items.close()
    if "cache" not in verb:
        check()
        for _ in dataset:
            break
        check()
        items = iter(dataset)
        next(items)
        del items
        check()
        with iter(dataset) as items:
            next(items)
        check()
    assert eventually(lambda: not left() - before, 1)
    del dataset, items
    gc.collect()
    assert source.begun == source.ended


@pytest.mark.parametrize("verb", ["zip", "concat", "roundrobin", "mux", "columns", "zipped", "muxed", "batches"])
def test_an_error_closes_the_source(verb: str) -> None:
    """After an error, threads have ended, also while the error is held."""

    def fail(item: Any) -> Any:
        raise ValueError("here")

    before = left()
    dataset = ALL[verb](Dataset(Counted())).map(fail)
    with pytest.raises(ValueError, match="here") as caught:
        dataset.list()
    assert eventually(lambda: not left() - before, 1)
    assert caught.value is not None


def test_an_error_ends_the_threads_of_the_others() -> None:
    """An error in one member of a join ends the threads of the others, also while the error is held."""

    def fail(item: Any) -> Any:
        raise ValueError("here")

    ahead, failing = Dataset(Counted()).prefetch(2), Dataset(Counted()).map(fail)
    joins = {
        "roundrobin": Dataset.roundrobin([ahead, failing]),
        "zip": ahead.zip(failing),
        "mux": Dataset.mux([ahead, failing], seed=1),
        "columns": Dataset(ahead, failing),
    }
    for name, joined in joins.items():
        before = left()
        with pytest.raises(ValueError, match="here") as caught:
            joined.list()
        assert eventually(lambda b=before: not left() - b, 1), name
        assert caught.value is not None


@pytest.mark.parametrize("verb", AHEAD)
def test_threads_end_with_the_pass(verb: str) -> None:
    """A pass that goes to its end leaves no thread."""
    with leaving_nothing():
        dataset = AHEAD[verb](Dataset(Counted(10)))
        assert len(dataset.list()) > 0
        assert len(dataset.list()) > 0


def test_a_closed_iterator_has_no_more() -> None:
    """A closed iterator has ended; closing twice is nothing."""
    items = iter(Dataset(range(5)))
    assert next(items) == 0
    items.close()
    items.close()
    assert next(items, None) is None
    assert items.position == 1


def test_a_dropped_dataset_lets_go_of_its_items() -> None:
    """Kept items are freed with the dataset, without the garbage collector."""

    class Item:
        alive = 0

        def __init__(self, number: int) -> None:
            Item.alive += 1

        def __del__(self) -> None:
            Item.alive -= 1

    gc.collect()
    gc.disable()
    try:
        dataset = Dataset(range(5)).map(Item).cache()
        dataset.list()
        assert Item.alive == 5
        del dataset
        assert Item.alive == 0
    finally:
        gc.enable()


def test_streams_keep_no_items() -> None:
    """A pass holds one item at a time."""

    class Item:
        alive = 0

        def __init__(self, number: int) -> None:
            Item.alive += 1

        def __del__(self) -> None:
            Item.alive -= 1

    for item in Dataset(range(20)).map(Item).filter(always).map(one).take(15):
        assert Item.alive <= 2
        del item


# verbs


def test_windows_of_all_sizes() -> None:
    """Windows are full, each `step` after the last; steps may be larger than windows."""
    for length in range(9):
        for size in range(1, 4):
            for step in range(1, 6):
                expected = [tuple(range(b, b + size)) for b in range(0, length - size + 1, step)]
                for dataset in (Dataset(range(length)), Dataset(Counted(length))):
                    assert dataset.window(size, step).list() == expected, (length, size, step)


def test_enumerate_counts() -> None:
    """Numbers count from where they are told to, below 0 too, and by NumPy's integers."""
    assert Dataset("ab").enumerate().list() == [(0, "a"), (1, "b")]
    assert Dataset("ab").enumerate(-1).list() == [(-1, "a"), (0, "b")]
    assert Dataset("ab").enumerate(np.int64(5)).list() == [(5, "a"), (6, "b")]


def test_zip_ends_with_the_shortest() -> None:
    """Zipped datasets end with the shortest; lengths and items by number know it."""
    dataset = Dataset(range(5)).zip(range(3), Dataset(range(9)).map(some))
    assert dataset.list() == [(0, 0, True), (1, 1, False), (2, 2, True)]
    assert (len(dataset), dataset[-1]) == (3, (2, 2, True))
    assert Dataset(range(3)).zip(Dataset([7]).repeat()).list() == [(0, 7), (1, 7), (2, 7)]


def test_roundrobin_leaves_out_what_has_ended() -> None:
    """An item of each in turn, until all have ended."""
    datasets = [Dataset(range(3)), Dataset([]), Dataset("ab"), Dataset(lambda: iter([9]))]
    assert Dataset.roundrobin(datasets).list() == [0, "a", 9, 1, "b", 2]


def test_repeat_without_end() -> None:
    """A dataset repeats without end, an empty one ends; 0 times is nothing."""
    assert Dataset(range(3)).repeat().take(7).list() == [0, 1, 2, 0, 1, 2, 0]
    assert Dataset([]).repeat().list() == []
    assert Dataset(Counted(0)).repeat().take(3).list() == []
    source = Counted()
    assert Dataset(source).repeat(0).list() == []
    assert source.begun == 0


@pytest.mark.parametrize("n_active", [None, 1, 2, 3])
def test_mux_respects_weights(n_active: int | None) -> None:
    """Items come as often as the weights of their datasets say."""
    members = [Dataset([name]).repeat() for name in "abc"]
    dataset = Dataset.mux(members, [6, 3, 1], n_active=n_active, rate=n_active and 4.0, stop="never", seed=1)
    seen = Counter(dataset.take(6000))
    spread = 1 if n_active is None else 5  # items of an active dataset come together
    for name, share in zip("abc", (0.6, 0.3, 0.1), strict=True):
        assert abs(seen[name] / 6000 - share) < 0.03 * spread


def test_mux_stops() -> None:
    """It stops with the first that ends, when all have, or never."""
    few, many = Dataset("ab"), Dataset(range(50))
    by_first = Dataset.mux([few, many], stop="first", seed=3).list()
    assert [x for x in by_first if isinstance(x, str)] == ["a", "b"]
    assert len(by_first) < 30
    by_all = Dataset.mux([few, many], stop="all", seed=3)
    assert Counter(by_all.list()) == Counter([*"ab", *range(50)])
    assert len(by_all) == 52
    never = Dataset.mux([few, many], stop="never", seed=3).take(500).list()
    assert Counter(never)["a"] > 50
    with pytest.raises(TypeError):
        len(Dataset.mux([few, many], stop="never"))


def test_mux_leaves_out_what_weighs_nothing() -> None:
    """A dataset of weight 0 is not read."""
    source = Counted()
    for n_active in (None, 1, 2):
        dataset = Dataset.mux([Dataset(source), Dataset(range(5))], [0, 1], n_active=n_active, seed=1)
        assert dataset.list() == [0, 1, 2, 3, 4]
    assert source.begun == 0


def test_mux_keeps_so_many_active() -> None:
    """No more datasets than `n_active` are open at a time; the rate bounds how long they stay."""
    sources = [Counted(1000) for _ in range(6)]
    dataset = Dataset.mux([Dataset(source) for source in sources], n_active=2, rate=5, seed=4)
    for _ in dataset:
        assert sum(source.begun - source.ended for source in sources) <= 2
    assert all(source.begun == source.ended == 1 for source in sources)
    read = [len(source.read) for source in sources]
    assert all(1 <= count < 25 for count in read)
    assert 3 < np.mean(read) < 10


def test_cache_keeps_the_first_pass() -> None:
    """A source is read once, also by passes side by side, and by those that were left."""
    source = Counted(6)
    dataset = Dataset(source).map(pair).cache()
    one_pass, other = iter(dataset), iter(dataset)
    assert next(one_pass) == next(other) == (0, 0)
    assert [*islice(other, 3)] == [(1, 1), (2, 2), (3, 3)]
    other.close()
    assert [*one_pass] == dataset.list()[1:]
    assert (source.begun, len(source.read)) == (1, 6)
    assert len(dataset) == 6
    assert Dataset(iter("abc")).cache().repeat(2).list() == [*"abcabc"]


def test_cache_after_an_error_goes_on() -> None:
    """A pass that failed keeps what it had; the next one tries again from there."""
    calls: list[int] = []

    def fail_once(item: int) -> int:
        calls.append(item)
        if calls.count(3) == 1 and item == 3:
            raise ValueError("once")
        return item

    dataset = Dataset(range(5)).map(fail_once).cache()
    with pytest.raises(ValueError, match="once"):
        dataset.list()
    assert dataset.list() == dataset.list() == [0, 1, 2, 3, 4]
    assert calls == [0, 1, 2, 3, 3, 4]


def test_unbatch_takes_nested_batches_apart() -> None:
    """Tuples, named tuples and dicts of arrays become such of items."""
    batch = {"a": np.arange(2), "b": (np.zeros((2, 3)), ["x", "y"])}
    assert as_lists(Dataset([batch]).unbatch().list()) == [
        {"a": 0, "b": [[0, 0, 0], "x"]},
        {"a": 1, "b": [[0, 0, 0], "y"]},
    ]
    points = Dataset([Point(1.0, "a"), Point(2.0, "b")])
    assert all(type(item) is Point for item in points.batch(2).unbatch())
    assert Dataset([[1, 2], (), [], np.arange(2)]).unbatch().list() == [1, 2, 0, 1]


def test_padded_batches_of_nested_items() -> None:
    """Arrays of any lengths are padded part by part; numbers and texts beside them are stacked."""
    items = [{"x": np.ones((n, 2)), "y": (n, [1] * n), "z": "abc"[:n]} for n in (1, 3, 2)]
    batch = Dataset(items).padded_batch(3, value=-1).first()
    assert batch["x"].shape == (3, 3, 2)
    assert batch["x"][:, :, 0].tolist() == [[1, -1, -1], [1, 1, 1], [1, 1, -1]]
    assert batch["y"][0].tolist() == [1, 3, 2]
    assert batch["y"][1].tolist() == [[1, -1, -1], [1, 1, 1], [1, 1, -1]]
    assert batch["z"].tolist() == ["a", "abc", "ab"]
    assert Dataset([np.zeros(0), np.zeros(2)]).padded_batch(2).first().tolist() == [[0, 0], [0, 0]]


def test_batches_keep_what_items_are() -> None:
    """Tuples, named tuples and dicts stay; numbers take the default dtype, and arrays keep theirs."""
    batch = Dataset([Point(1, {"a": np.int16(2)}), Point(3, {"a": np.int16(4)})]).batch(2).first()
    assert type(batch) is Point
    assert (batch.x.dtype, batch.y["a"].dtype) == (np.float32, np.int16)
    assert Dataset([OrderedDict(a=1), {"a": 2}]).batch(2).first()["a"].tolist() == [1, 2]
    assert Dataset([1, 2.5]).batch(2, None).first().dtype == np.float64
    assert Dataset([1, 2]).batch(2, "int8").first().dtype == np.int8
    assert Dataset([True, False]).batch(2).first().dtype == bool
    assert Dataset(["é", "日本語"]).batch(2).first().tolist() == ["é", "日本語"]
    assert Dataset([b"a\0", b"b"]).batch(2).first().tolist() == [b"a\0", b"b"]
    assert Dataset(["a\0", "b"]).batch(2).first().tolist() == ["a\0", "b"]
    assert Dataset([None, None]).batch(2).first().tolist() == [None, None]
    assert np.isnan(Dataset([1.0, float("nan")]).batch(2).first()).tolist() == [False, True]
    things = [object(), object()]
    assert Dataset(things).batch(2).first().tolist() == things
    assert Dataset([[1, 2], [3, 4]]).batch(2).first().tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    "array",
    [
        np.array(["2020-01-01", "NaT", "2021-05-05"], "datetime64[D]"),
        np.array([(1, 2.5), (3, 4.5), (5, 6.5)], [("a", int), ("b", float)]),
        np.array([None, OrderedDict, len], object),
        np.array(["a", "bcd", ""]),
        np.array([b"a", b"bc", b""]),
        np.zeros((3, 0)),
        np.zeros((3, 2, 0, 4), np.float16),
        np.arange(6, dtype=">i4").reshape(3, 2)[::-1],
        np.array([1j, 2, 3]),
        np.array([True, False, True]),
        np.float32([1, np.nan, np.inf]),
        np.zeros((0, 3)),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_arrays_of_all_kinds(array: Any) -> None:
    """Batches of arrays are slices of them, gathered or item by item."""
    dataset = Dataset(array)
    assert len(dataset) == len(dataset.list()) == len(array)
    for batches in (dataset.batch(2), dataset[:].batch(2), Dataset(lambda: iter(array)).batch(2)):
        found = batches.list()
        assert len(found) == -(-len(array) // 2)
        for number, batch in enumerate(found):
            expected = array[2 * number : 2 * number + 2]
            if array.dtype != object:
                assert batch.dtype.kind == expected.dtype.kind
                assert batch.dtype.itemsize == expected.dtype.itemsize or array.dtype.kind in "SU"
                assert np.array_equal(batch, expected, equal_nan=array.dtype.kind in "fcmM")
    reversed_rows = [repr(as_lists(item)) for item in array[::-1]]
    assert [repr(as_lists(item)) for item in dataset[::-1]] == reversed_rows
    assert not any(np.shares_memory(batch, array) for batch in dataset.batch(2))


def test_object_arrays_batch_alike_by_any_way() -> None:
    """A batch of an object array is the same, whether it is gathered or made item by item."""
    array = np.array([1, 2, 3], object)
    gathered, made = Dataset(array).batch(3).first(), Dataset(array).filter(always).batch(3).first()
    assert gathered.dtype == made.dtype


def test_masks_stay() -> None:
    """Masked arrays keep their masks in batches, or are refused; never are masked values shown."""
    array = np.ma.array([[1, 2], [3, 4]], mask=[[True, False], [False, True]])
    for dataset in (Dataset(array).batch(2), Dataset(array).filter(always).batch(2)):
        try:
            batch = dataset.first()
        except TypeError:
            continue
        assert np.ma.getmaskarray(batch).tolist() == array.mask.tolist()


def test_files_that_are_mapped(tmp_path: Path) -> None:
    """Memory maps and HDF5 datasets are read item by item, and give arrays."""
    array = np.arange(24, dtype=np.int32).reshape(8, 3)
    np.save(tmp_path / "a.npy", array)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = array
        file["scalar"] = 3
        for data in (mapped, file["x"]):
            dataset = Dataset(data)
            assert as_lists(dataset.list()) == array.tolist()
            assert as_lists(dataset[3]) == array[3].tolist()
            assert as_lists(dataset.shuffle(seed=1).list()) == array[[*Dataset(range(8)).shuffle(seed=1)]].tolist()
            assert dataset.skip(5).batch(2).list()[1].tolist() == array[7:].tolist()
            assert (dataset.shape(), dataset.types()) == ((3,), np.dtype(np.int32))
            assert "8 items" in repr(dataset)
            assert "int32(3)" in repr(dataset)
        with pytest.raises(TypeError, match="axes"):
            Dataset(file["scalar"])
    del mapped, data, dataset


@pytest.mark.parametrize(
    ("make", "items"),
    [
        (lambda: Dataset("abc"), ["a", "b", "c"]),
        (lambda: Dataset(b"ab"), [97, 98]),
        (lambda: Dataset(deque([1, 2, 3])), [1, 2, 3]),
        (lambda: Dataset({"a": [1, 2], "b": "xy"}), [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]),
        (lambda: Dataset(frozenset([4])), [4]),
        (lambda: Dataset({"a": 1}.keys()), ["a"]),
        (lambda: Dataset(range(2), "xy"), [(0, "x"), (1, "y")]),
        (lambda: Dataset(x=Sized(2), y=Dataset("xyz").take(2)), [{"x": 0, "y": "x"}, {"x": 1, "y": "y"}]),
        (lambda: Dataset(Dataset([1]).map(pair)), [(1, 1)]),
        (lambda: Dataset(lambda: [1, 2]), [1, 2]),
        (lambda: Dataset(lambda: Dataset([1, 2]).map(one)), [1, 2]),
        (lambda: Dataset(map(str, [1, 2])), ["1", "2"]),
        (lambda: Dataset([]), []),
        (lambda: Dataset([None, None]), [None, None]),
        (lambda: Dataset(memoryview(b"ab")), [97, 98]),
        (lambda: Dataset(x=range(3), n=Dataset([7]).repeat()), [{"x": i, "n": 7} for i in range(3)]),
    ],
)
def test_sources_of_all_kinds(make: Callable[[], Dataset], items: list[Any]) -> None:
    """Whatever can be iterated over is a source."""
    assert make().list() == items


def test_a_class_is_called_for_each_pass() -> None:
    """A class is a function that returns something to iterate over, like any other."""

    class Lines:
        def __iter__(self) -> Iterator[str]:
            return iter(["a", "b"])

    dataset = Dataset(Lines)
    assert dataset.list() == dataset.list() == ["a", "b"]
    assert Dataset(dict).list() == []


def test_a_list_that_grows_is_read_to_its_end() -> None:
    """A list is looked at when its items are asked for."""
    data = [1, 2]
    dataset = Dataset(data).map(pair)
    items = iter(dataset)
    next(items)
    data.append(3)
    assert [*items] == [(2, 2), (3, 3)]
    assert len(dataset) == 3
    assert dataset[2] == (3, 3)
    assert [int(x) for batch in Dataset(data).batch(2) for x in batch] == [1, 2, 3]


def test_select_keeps_parts() -> None:
    """Dicts stay dicts, in the order asked for; tuples stay tuples."""
    dicts = Dataset(x=[1], y=[2], z=[3])
    assert dicts.select("z", "x").list() == [{"z": 3, "x": 1}]
    assert dicts.select_tuple("z", "x", "z").list() == [(3, 1, 3)]
    assert Dataset([1], [2], [3]).select(2, 0).list() == [(3, 1)]
    assert Dataset([1], [2]).select(-1).list() == [(2,)]


def test_actions() -> None:
    """Items are collected, looked at, counted with a bar or without."""
    dataset = Dataset(a=range(3), b=np.zeros((3, 2), np.float16))
    assert as_lists(dataset.collect()) == {"a": [0, 1, 2], "b": [[0, 0]] * 3}
    assert dataset.collect("float64")["a"].dtype == np.float64
    assert dataset.collect()["a"].dtype == np.array([0]).dtype
    assert dataset.shape() == {"a": (), "b": (2,)}
    assert dataset.types() == {"a": int, "b": np.dtype(np.float16)}
    assert Dataset(["a"]).shape() == ()
    seen: list[Any] = []
    assert dataset.foreach(lambda item: seen.append(item["a"])) is None
    assert seen == [0, 1, 2]
    assert 1 in Dataset(range(3))
    assert [*reversed(Dataset(range(3)))] == [2, 1, 0]


def test_bars_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """With `verbose`, a bar counts the items, whether their number is known or not; without it, nothing is shown."""
    for dataset in (Dataset(range(3)), Dataset(Counted(3)), Dataset(range(9)).filter(some)):
        items = dataset.list()
        assert capsys.readouterr().err == ""
        assert dataset.list(verbose=True) == items
        assert f"{len(items)}" in capsys.readouterr().err
        dataset.foreach(one, verbose=True)
        assert dataset.collect(verbose=True).tolist() == items
        assert capsys.readouterr().err


def test_the_length_of_large_things() -> None:
    """Counts that fit no machine word are counts."""
    large = 2**70
    for dataset in (Dataset(range(3)), Dataset(Counted(3))):
        assert dataset.take(large).list() == dataset[:large].list() == [0, 1, 2]
        assert dataset[::large].list() == [0]
        assert dataset.skip(large).list() == dataset[large:].list() == []
        assert dataset.window(2, large).list() == [(0, 1)]
        assert dataset.batch(large).first().tolist() == [0, 1, 2]


def test_slices_take_whatever_is_an_index() -> None:
    """Slices and numbers take all that lists take."""

    class One:
        def __index__(self) -> int:
            return 1

    dataset = Dataset([5, 6, 7])
    assert dataset[One() :].list() == [6, 7]
    assert dataset[np.int64(0) : np.int32(2)].list() == [5, 6]
    assert dataset[One()] == dataset[np.uint8(1)] == dataset[np.array(1)] == 6


def test_many_datasets_can_be_added() -> None:
    """A long sum of datasets, or a long row of verbs, is no problem."""
    dataset = Dataset([0])
    for number in range(1, 2000):
        dataset = dataset + Dataset([number])
    assert len(dataset) == 2000
    assert dataset.list() == list(range(2000))
    assert dataset[1500] == 1500
    assert "2000" in repr(dataset)


def test_sharing_stages_costs_nothing() -> None:
    """A dataset that is joined to itself again and again is looked at once, not as often as it occurs."""
    dataset = Dataset([1]).map(one)
    for _ in range(12):
        dataset = (dataset + dataset).take(1)
    assert dataset.list() == [1]
    assert len(iter(dataset).state_dict()["structure"]) < 10_000


# data sources


def test_data_sources_are_sources() -> None:
    """Datasets are sources for orders, maps, samplers and pools; arrays are taken as they are."""
    x, y = np.arange(30), np.arange(30) * 2.0
    assert type(Dataset(x, y).data_source()) is ArrayDataSource
    assert type(Dataset(a=x).data_source()) is ArrayDataSource
    source = Dataset(x, y).map(lambda pair: (pair[0], pair[1] + 1)).data_source()
    assert isinstance(source, RandomAccessDataSource)
    expected = [as_lists(batch) for batch in ArrayDataSource([x, y + 1]).batch_iterator(7, shuffle=3)]
    assert [as_lists(batch) for batch in source.batch_iterator(7, shuffle=3)] == expected
    mapped = source.map(lambda a, b: (a + 1, b))
    assert [as_lists(batch[1]) for batch in mapped.batch_iterator(7, shuffle=3)] == [part[1] for part in expected]
    assert as_lists(source.samples_by_indices([3, 0, 29])) == [[3, 0, 29], [7, 1, 59]]


def test_data_sources_take_any_indices() -> None:
    """Batches hold the items asked for, in any order, of shuffled, sliced, joined and sampled datasets."""
    x = np.arange(40)
    datasets = {
        "shuffled": Dataset(x).shuffle(seed=1),
        "sliced": Dataset(x)[3:30:2],
        "backwards": Dataset(x)[::-3],
        "columns": Dataset(x, x + 1).shuffle(seed=2).skip(3),
        "zipped": Dataset(x).shuffle(seed=1).zip(Dataset(x).take(9)),
        "sampled": Dataset(x).sample(9, seed=4),
        "batches": Dataset(x).batch(4),
        "repeated": Dataset(x).take(4).shuffle(seed=1).repeat(3),
        "mapped": Dataset(x).map(drawn, seed=3).shuffle(seed=1),
        "joined": Dataset(x) + Dataset(x).shuffle(seed=1),
        "cached": Dataset(x).shuffle(seed=1).cache(),
    }
    for name, dataset in datasets.items():
        items, source = listed(dataset), dataset.data_source(None)
        for places in ([0, 5, 2], [1, 1, 1], [7, 0], [-1, 0], [2, 1, 0], [], [4], [0, 1, 2, 3]):
            found = source.samples_by_indices(np.array(places, int))
            parts = found if len(found) > 1 else found[0]
            rows = [list(row) for row in zip(*as_lists(parts), strict=True)] if len(found) > 1 else as_lists(parts)
            assert rows == [items[place] for place in places], (name, places)


def test_data_sources_with_threads_leave_nothing() -> None:
    """A data source over a dataset with workers ends them when it is dropped, and not later."""
    with leaving_nothing():
        source = Dataset(range(20)).map(pair, num_threads=2).data_source(int)
        assert as_lists(next(source.batch_iterator(3))) == [[0, 1, 2], [0, 1, 2]]
        del source


def test_data_sources_on_pools() -> None:
    """Worker threads make the batches of a dataset."""
    source = Dataset(range(40)).map(weighed).shuffle(seed=1).data_source(int)
    expected = [as_lists(batch) for batch in source.batch_iterator(6, shuffle=5)]
    with leaving_nothing(), work_pool.WorkerThreadPool(2) as pool:
        parallel = pool.parallel_data_source(source)
        for _ in range(2):
            assert [as_lists(batch) for batch in parallel.batch_iterator(6, shuffle=5)] == expected


def test_streams_are_no_data_sources() -> None:
    """What has no random access is refused, with what to do."""
    for dataset in (Dataset(Counted()), Dataset(range(3)).filter(some), Dataset(range(3)).shuffle()):
        with pytest.raises(TypeError, match="random access"):
            dataset.data_source()


# copies


@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_datasets_can_be_pickled(protocol: int) -> None:
    """A dataset with functions of a module travels, and gives the same items there."""
    base = Dataset(x=np.arange(20), y=range(20)).select_tuple("x", "y").map(weighed).filter(some)
    dataset = (base.shuffle(5, seed=1) + base).enumerate().cache().map(drawn, seed=2).window(2).epoch(2)
    copy = pickle.loads(pickle.dumps(dataset, protocol))
    assert listed(copy) == listed(dataset)
    assert listed(pickle.loads(pickle.dumps(dataset, protocol))) == listed(dataset)
    assert repr(copy) == repr(dataset)
    items = iter(dataset)
    next(items)
    again = iter(copy)
    again.load_state_dict(items.state_dict())
    assert listed(again) == listed(items)


# what it looks like


def test_repr_tells() -> None:
    """A dataset shows its verbs, how many items there are, what they look like, and how they can be had."""
    dataset = Dataset(image=np.zeros((5, 28, 28)), label=np.zeros(5, int)).shuffle(seed=7).batch(2)
    for word in ("shuffle", "batch(2)", "3 items", "28, 28", "random access"):
        assert word in repr(dataset)
    assert "stream" in repr(Dataset(Counted()))
    assert "endless" in repr(Dataset(range(3)).repeat())


def test_explain_tells(capsys: pytest.CaptureFixture[str]) -> None:
    """Each stage has a line, the first one first, with its workers."""
    Dataset(range(10)).map(pair, num_threads=2).batch(3).epoch(4).explain()
    out = capsys.readouterr().out
    assert out.index("range(0, 10)") < out.index("map(pair)") < out.index("batch(3)")
    assert "2 threads" in out
    assert "epoch 4" in out


def test_weights_sample_a_dataset() -> None:
    """A sampler with weights draws from the data source of a dataset."""
    arrays = Dataset(range(4)).map(pair).collect()
    source = ArrayDataSource([*arrays], sampler=WeightedSampler([0, 0, 1, 1.0]))
    assert set(next(source.batch_iterator(50, shuffle=1))[0].tolist()) == {2, 3}
