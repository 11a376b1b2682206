"""Arrays of zarr and of PyTables as columns: batches are what NumPy would give, in any process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tables
import zarr
from numpy.typing import NDArray

from batchup import ArrayDataSource, WorkerProcessPool, loader
from batchup.columns import as_column
from batchup.columns.chunked import ChunkedColumn
from batchup.errors import FileFormatError

ROWS = 103
Make = Callable[[Path, NDArray[Any]], Any]


def rows(dtype: Any = np.int32) -> NDArray[Any]:
    """Return samples that all differ."""
    return np.arange(ROWS * 30).reshape(ROWS, 6, 5).astype(dtype)


def zarr_array(folder: Path, values: NDArray[Any], mode: str = "r", **options: Any) -> Any:
    """Make an array of zarr, and open it."""
    path = str(folder / "a.zarr")
    if zarr.__version__ < "3":
        options.pop("zarr_format", None)  # it has no other
    zarr.open_array(path, mode="w", shape=values.shape, dtype=values.dtype, **options)[...] = values
    return zarr.open_array(path, mode=mode)


def sharded(folder: Path, values: NDArray[Any]) -> Any:
    """Make an array of zarr whose chunks lie together in larger files, and open it."""
    if zarr.__version__ < "3":
        pytest.skip("zarr 2 has no shards")
    path = str(folder / "a.zarr")
    zarr.create_array(path, shape=values.shape, dtype=values.dtype, chunks=(4, 3, 5), shards=(20, 6, 5))[...] = values
    return zarr.open_array(path, mode="r")


def tables_array(folder: Path, values: NDArray[Any], mode: str = "r", **options: Any) -> Any:
    """Make an array of PyTables, and open it."""
    with tables.open_file(folder / "a.h5", "w") as file:
        if options.pop("extendable", False):
            file.create_earray("/group", "x", obj=values, createparents=True, **options)
        elif options:
            file.create_carray("/group", "x", obj=values, createparents=True, **options)
        else:
            file.create_array("/group", "x", obj=values, createparents=True)
    return tables.open_file(folder / "a.h5", mode).get_node("/group/x")


def packed(folder: Path, values: NDArray[Any], **options: Any) -> Any:
    """Make a compressed array of PyTables, and open it."""
    return tables_array(folder, values, chunkshape=(8, 6, 5), filters=tables.Filters(5, "blosc"), **options)


STORES: dict[str, Make] = {
    "zarr": lambda p, x: zarr_array(p, x, chunks=(8, 6, 5)),
    "zarr, format 2": lambda p, x: zarr_array(p, x, chunks=(8, 6, 5), zarr_format=2),
    "zarr, parts of rows": lambda p, x: zarr_array(p, x, chunks=(8, 4, 2)),
    "zarr, one row": lambda p, x: zarr_array(p, x, chunks=(1, 6, 5)),
    "zarr, one chunk": lambda p, x: zarr_array(p, x, chunks=x.shape),
    "zarr, shards": sharded,
    "PyTables, in one piece": tables_array,
    "PyTables, chunks": lambda p, x: tables_array(p, x, chunkshape=(8, 6, 5)),
    "PyTables, parts of rows": lambda p, x: tables_array(p, x, chunkshape=(8, 4, 2)),
    "PyTables, compressed": packed,
    "PyTables, extendable": lambda p, x: packed(p, x, extendable=True),
}
every_store = pytest.mark.parametrize("make", STORES.values(), ids=STORES)


@pytest.fixture(autouse=True)
def closed_files() -> Iterator[None]:
    """Close the files of PyTables behind a test, which would warn of those that are open at the end."""
    yield
    if "tables" in sys.modules:
        for file in list(sys.modules["tables"].file._open_files.handlers):
            file.close()


@every_store
def test_batches(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches in order, shuffled, with repeats and by index are those of the array."""
    monkeypatch.setattr("batchup.columns.stores.TOGETHER", 3000)
    array, x = make(tmp_path, rows()), rows()
    assert isinstance(as_column(array), ChunkedColumn)
    ds = ArrayDataSource([array, np.arange(ROWS)])
    for keywords in ({}, {"shuffle": 3}, {"shuffle": np.random.RandomState(1)}, {"copy": False}):
        for batch, index in ds.batch_iterator(16, **keywords):
            np.testing.assert_array_equal(batch, x[index])
            assert batch.dtype == x.dtype
            batch[...] = 0
    for wanted in ([5, 5, 102, 0, 5], [], [-1], np.arange(ROWS)[::-1]):
        batch, _ = ds.samples_by_indices_nomapping(wanted)
        np.testing.assert_array_equal(batch, x[np.asarray(wanted, int)])


@every_store
def test_in_pools(make: Make, tmp_path: Path) -> None:
    """Threads share the array; processes open it for themselves."""
    ds = ArrayDataSource([make(tmp_path, rows()), np.arange(ROWS)])
    expected = [(x.tolist(), y.tolist()) for x, y in ds.batch_iterator(16, shuffle=5)]
    assert [(x.tolist(), y.tolist()) for x, y in loader(ds, 16, shuffle=5, workers=3)] == expected
    with WorkerProcessPool(2) as pool:
        assert [(x.tolist(), y.tolist()) for x, y in loader(ds, 16, shuffle=5, pool=pool)] == expected


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "?", "c8", "u8", "S7"])
@pytest.mark.parametrize("store", ["zarr", "PyTables, in one piece", "PyTables, compressed"])
@pytest.mark.filterwarnings("ignore:The data type")
def test_dtypes(store: str, dtype: str, tmp_path: Path) -> None:
    """Elements are what the library makes of them."""
    array = STORES[store](tmp_path, rows(dtype))
    (batch,) = ArrayDataSource([array]).samples_by_indices([7, 3, 7])
    assert batch.dtype == array.dtype
    np.testing.assert_array_equal(batch, rows(dtype)[[7, 3, 7]])


@pytest.mark.parametrize("open_array", [zarr_array, tables_array])
def test_while_it_is_written(open_array: Any, tmp_path: Path) -> None:
    """Batches of an array that is open for writing are what it holds at the time."""
    array = open_array(tmp_path, rows(), "r+")
    ds = ArrayDataSource([array])
    for number in range(3):
        array[...] = number
        assert all((batch == number).all() for (batch,) in ds.batch_iterator(20, shuffle=1))


def test_what_cannot_be_sent(tmp_path: Path) -> None:
    """An array of PyTables that somebody may write to, or has written to, is refused by other processes."""
    from batchup.columns.stores import tables_reduced

    ds = ArrayDataSource([tables_array(tmp_path, rows(), "r+")])
    with WorkerProcessPool(1) as pool, pytest.raises(TypeError, match="opened read-only"):
        pool.parallel_data_source(ds)
    ds.data[0]._v_file.close()
    function, arguments = tables_reduced(tables_array(tmp_path, rows()))
    np.testing.assert_array_equal(function(*arguments)[5], rows()[5])
    with pytest.raises(FileFormatError, match="has been replaced"):
        function(*arguments[:2], (0, 0))


def test_without_dimensions(tmp_path: Path) -> None:
    """A scalar is no column."""
    for array in (zarr_array(tmp_path, np.array(3)), tables_array(tmp_path, np.array(3))):
        with pytest.raises(TypeError, match="at least 1 dimension"):
            ArrayDataSource([array])
