"""Batches that are read as one window, since they share what has to be read: the batches are what they would be."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from batchup import (
    ArrayDataSource,
    CompositeDataSource,
    SubsetSampler,
    WeightedSampler,
    WorkerProcessPool,
    WorkerThreadPool,
    loader,
)
from batchup.columns.chunked import ChunkedColumn
from batchup.errors import FileFormatError

N, ROWS = 2000, 25
X = np.arange(N * 3).reshape(N, 3)
KEYWORDS: list[dict[str, Any]] = [
    {"shuffle": 3},
    {"shuffle": 3, "epoch": 2},
    {"shuffle": 3, "tail": "pad"},
    {"shuffle": 3, "tail": "wrap"},
    {"shuffle": 3, "tail": "drop"},
    {"shuffle": 3, "shard": (1, 3)},
    {"shuffle": 3, "shard": (2, 3), "tail": "pad"},
    {"shard": (1, 2), "copy": False},
    {"shuffle": 3, "trace": True},
    {"shuffle": 3, "on_error": "skip"},
    {"copy": False},
    {},
]
every_pass = pytest.mark.parametrize("keywords", KEYWORDS, ids=repr)


class Counting:
    """Chunks of an array in memory, which counts how often each is read."""

    constant = True
    rows = ROWS
    dtype = X.dtype
    shape = X.shape
    bad = -1

    def __init__(self) -> None:
        self.read_so_far: Counter[int] = Counter()

    def between(self, start: int, stop: int) -> NDArray[Any]:
        return X[start:stop]

    def read(self, numbers: list[int]) -> Iterator[NDArray[Any]]:
        for number in numbers:
            if number == self.bad:
                raise FileFormatError("damaged")
            self.read_so_far[number] += 1
            yield X[number * ROWS : (number + 1) * ROWS]


@pytest.fixture
def chunks(monkeypatch: pytest.MonkeyPatch) -> Counting:
    """Return chunks, none of which is kept, that stand in data sources as themselves."""
    counting = Counting()
    monkeypatch.setattr("batchup.columns.chunked.KEPT", 0)
    return counting


class Uneven(Counting):
    """Chunks of different lengths, one of them without rows."""

    bounds = np.array([0, 7, 7, 500, 501, 1300, N])
    rows = 799

    def read(self, numbers: list[int]) -> Iterator[NDArray[Any]]:
        for number in numbers:
            self.read_so_far[number] += 1
            yield X[self.bounds[number] : self.bounds[number + 1]]


def source(chunks: Counting, **keywords: Any) -> ArrayDataSource:
    """Return a source over chunks and the numbers of the samples."""
    ds = ArrayDataSource([X, np.arange(N)], **keywords)
    ds._take_columns([ChunkedColumn(chunks), ds._gathered_columns[1]])
    return ds


def plain(**keywords: Any) -> ArrayDataSource:
    """Return the source over the array itself."""
    return ArrayDataSource([X, np.arange(N)], **keywords)


def listed(batches: Any) -> list[Any]:
    """Return batches as lists."""
    return [[column.tolist() for column in batch] for batch in batches]


@every_pass
@pytest.mark.parametrize("size", [1, 7, 64, 2000])
def test_batches_are_the_same(keywords: dict[str, Any], size: int, chunks: Counting) -> None:
    """Order and contents are those of an array, whatever the pass."""
    assert listed(source(chunks).batch_iterator(size, **keywords)) == listed(plain().batch_iterator(size, **keywords))


@pytest.mark.parametrize("make", [lambda: SubsetSampler(np.arange(0, N, 3), 2), lambda: WeightedSampler(np.ones(N))])
def test_samplers(make: Any, chunks: Counting) -> None:
    """Subsets, repeats and independent draws too."""
    for shuffle in (3, np.random.RandomState(3)):
        other = np.random.RandomState(3) if shuffle != 3 else 3
        batches = source(chunks, sampler=make()).batch_iterator(16, shuffle=shuffle)
        expected = plain(sampler=make()).batch_iterator(16, shuffle=other)
        for _ in range(40):
            assert listed([next(batches)]) == listed([next(expected)])


def test_each_chunk_is_read_once_in_a_window(chunks: Counting) -> None:
    """The first batch reads what it needs; windows grow, and end with reading every chunk once."""
    batches = source(chunks).batch_iterator(10, shuffle=3)
    next(batches)
    assert chunks.read_so_far.total() <= 10
    next(batches)
    assert chunks.read_so_far.total() <= 10 + 40
    list(batches)
    assert max(chunks.read_so_far.values()) <= 5  # windows of 1, 4, 16, 64 and 115 batches


def test_windows_have_an_end(chunks: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    """They take no more memory than they may; where chunks would not be shared in one, there is none."""
    ds = source(chunks)
    walk: Any = ds.batch_iterator(10, shuffle=3)._walk
    assert ds._window(walk) == 64 * 2**20 // (10 * (24 + 8 + 32))
    monkeypatch.setattr("batchup.columns.chunked.WINDOW", N // ROWS * 24)
    assert ChunkedColumn(chunks).window == N // ROWS * 24
    monkeypatch.setattr("batchup.columns.chunked.WINDOW", N // ROWS * 24 - 1)
    assert ChunkedColumn(chunks).window == 0
    chunks.constant = False
    assert ChunkedColumn(chunks).window == 0


def test_a_held_batch_holds_no_window(chunks: Counting) -> None:
    """What a holder of a batch keeps in memory is that batch."""
    batches = source(chunks).batch_iterator(10, shuffle=3)
    held = [next(batches)[0] for _ in range(30)]
    for batch in held:
        whole = batch
        while isinstance(whole.base, np.ndarray):
            whole = whole.base
        assert whole.nbytes == batch.nbytes
    batches.close()
    del batches
    gc.collect()
    assert all(sys.getrefcount(batch) < 5 for batch in held)


@pytest.mark.parametrize("shuffle", [3, None])
@pytest.mark.parametrize("stop", [1, 2, 3, 21, 22, 99, 199])
def test_resume(stop: int, shuffle: Any, chunks: Counting) -> None:
    """A state taken anywhere in a window is that of the batches handed out."""
    order = shuffle if shuffle is not None else np.random.RandomState(5)
    whole = listed(plain().batch_iterator(10, shuffle=shuffle if shuffle is not None else np.random.RandomState(5)))
    batches = source(chunks).batch_iterator(10, shuffle=order)
    assert listed(next(batches) for _ in range(stop)) == whole[:stop]
    state = batches.state_dict()
    again = source(chunks).batch_iterator(10, shuffle=shuffle if shuffle is not None else np.random.RandomState(9))
    again.load_state_dict(state)
    assert listed(again) == whole[stop:]


@pytest.mark.parametrize("keywords", [{}, {"tail": "pad"}, {"shard": (0, 2)}, {"on_error": "skip"}], ids=repr)
def test_maps_composites_and_threads(keywords: dict[str, Any], chunks: Counting) -> None:
    """Trees of sources, in threads or not, hand out what they would over arrays."""

    def scaled(x: Any, i: Any, rng: Any) -> Any:
        return x + rng.integers(9), i

    def tree(make: Any) -> Any:
        return CompositeDataSource([make().map(scaled), make(repeats=2), plain()])

    chunked = tree(lambda **options: source(chunks, **options))
    expected = listed(tree(plain).batch_iterator(32, shuffle=3, **keywords))
    assert listed(chunked.batch_iterator(32, shuffle=3, **keywords)) == expected
    for prefetch in (1, 3, 20, "64KiB"):
        with loader(chunked, 32, 3, workers=2, prefetch=prefetch, **keywords) as batches:
            for epoch in range(3):
                now = listed(tree(plain).batch_iterator(32, shuffle=3, epoch=epoch, **keywords))
                assert listed(batches) == now


def test_windows_in_threads_grow(chunks: Counting) -> None:
    """The first batches of each epoch wait for few chunks; later ones are read in large windows."""
    with WorkerThreadPool(1) as pool:
        batches = iter(pool.parallel_data_source(source(chunks)).batch_iterator(10, shuffle=3))
        list(batches)
    assert max(chunks.read_so_far.values()) <= 12


def test_processes(tmp_path: Path) -> None:
    """Worker processes read windows, too."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=X, chunks=(ROWS, 3), compression="gzip")
    with h5py.File(tmp_path / "a.h5", "r") as file, WorkerProcessPool(2) as pool:
        ds = pool.parallel_data_source(ArrayDataSource([file["x"], np.arange(N)]))
        for epoch in range(3):
            expected = listed(plain().batch_iterator(10, shuffle=3, epoch=epoch))
            assert listed(ds.batch_iterator(10, shuffle=3, epoch=epoch)) == expected


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_comes_with_its_batch(workers: int, chunks: Counting) -> None:
    """Batches of a window before the damaged one are handed out."""
    chunks.bad = 60
    order = np.concatenate([batch for (batch,) in ArrayDataSource([np.arange(N)]).batch_iterator(10, shuffle=3)])
    bad = int(np.flatnonzero(order // ROWS == 60)[0]) // 10
    batches = iter(loader(source(chunks), 10, 3, workers=workers))
    for _ in range(bad if not workers else 0):
        next(batches)
    with pytest.raises(FileFormatError, match="damaged"):
        list(batches)


class Users:
    """An array-like of the user's, which notes what it is asked for, and what it is told."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.told: list[int] = []

    def __len__(self) -> int:
        return N

    def __getitem__(self, indices: Any) -> Any:
        self.asked.append(len(indices))
        return X[indices]

    def expect(self, indices: Any) -> bool:
        self.told.append(len(indices))
        return False


def test_beside_others(chunks: Counting) -> None:
    """An array-like of the user's is asked batch by batch, and told of no more than 64 batches at once."""
    users = Users()
    ds = ArrayDataSource([users, X])
    ds._take_columns([ds._gathered_columns[0], ChunkedColumn(chunks)])
    for one, other in ds.batch_iterator(10, shuffle=3):
        np.testing.assert_array_equal(one, other)
    assert set(users.asked) == {10}
    assert max(users.told) <= 640


@every_pass
@pytest.mark.parametrize("size", [1, 64])
def test_uneven_chunks(keywords: dict[str, Any], size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of different lengths give the same batches, each being read once for those of a window."""
    monkeypatch.setattr("batchup.columns.chunked.KEPT", 0)
    chunks = Uneven()
    ds = ArrayDataSource([X, np.arange(N)])
    ds._take_columns([ChunkedColumn(chunks, chunks.bounds), ds._gathered_columns[1]])
    assert listed(ds.batch_iterator(size, **keywords)) == listed(plain().batch_iterator(size, **keywords))
    assert 1 not in chunks.read_so_far  # which has no rows
    if set(keywords) == {"shuffle"}:
        assert chunks.read_so_far.total() <= 40


def test_uneven_chunks_by_slice_and_index() -> None:
    """Rows are found by slices and indices at the bounds of chunks."""
    column = ChunkedColumn(Uneven(), Uneven.bounds)
    assert column.chunk_rows == N // 6
    assert column.window > 0
    for places in ([0, 6, 7, 499, 500, 501, 1299, 1300, N - 1], [N - 1, 7, 7], []):
        assert column.gather(np.array(places, np.intp)).tolist() == X[places].tolist()
    for start, stop in ((0, N), (5, 9), (499, 502), (3, 3)):
        assert column.gather(slice(start, stop)).tolist() == X[start:stop].tolist()
