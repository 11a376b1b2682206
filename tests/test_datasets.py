"""Datasets of h5py as columns: whatever their layout, batches are what NumPy would give, in any process."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from batchup import ArrayDataSource, WorkerProcessPool, WorkerThreadPool, loader
from batchup.columns import RecordColumn, as_column
from batchup.columns.arrays import ArrayColumn
from batchup.columns.chunked import ChunkedColumn
from batchup.columns.datasets import reduced
from batchup.errors import FileFormatError

from .hsq import child

ROWS, SHAPE = 103, (6, 5)


def rows(dtype: Any = np.int32) -> NDArray[Any]:
    """Return samples that all differ."""
    return np.arange(ROWS * 30).reshape(ROWS, *SHAPE).astype(dtype)


# how a dataset is made, and by what kind of column it is read from a file that is open read-only
LAYOUTS: dict[str, tuple[dict[str, Any], type]] = {
    "contiguous": ({}, ArrayColumn),
    "chunks of whole rows": ({"chunks": (8, *SHAPE)}, RecordColumn),
    "chunks of one row": ({"chunks": (1, *SHAPE)}, RecordColumn),
    "a chunk that is larger": ({"chunks": (200, *SHAPE), "maxshape": (None, *SHAPE)}, RecordColumn),
    "chunks of parts of rows": ({"chunks": (8, 3, 2)}, ChunkedColumn),
    "gzip": ({"chunks": (8, *SHAPE), "compression": "gzip"}, ChunkedColumn),
    "lzf": ({"chunks": (8, *SHAPE), "compression": "lzf"}, ChunkedColumn),
    "shuffled and checked": ({"chunks": (8, *SHAPE), "shuffle": True, "fletcher32": True}, ChunkedColumn),
    "all filters": (
        {"chunks": (8, *SHAPE), "compression": 1, "shuffle": True, "fletcher32": True},
        ChunkedColumn,
    ),
    "gzip, parts of rows": ({"chunks": (7, 4, 2), "compression": "gzip", "shuffle": True}, ChunkedColumn),
    "lzf, parts of rows": ({"chunks": (7, 4, 2), "compression": "lzf"}, ChunkedColumn),
    "gzip, one row": ({"chunks": (1, *SHAPE), "compression": "gzip"}, ChunkedColumn),
}
RAW = [name for name in LAYOUTS if "lzf" not in name and name not in ("contiguous", *list(LAYOUTS)[1:4])]
every_layout = pytest.mark.parametrize("layout", LAYOUTS)


def made(path: Path, layout: str, values: NDArray[Any] | None = None, **file_options: Any) -> Path:
    """Make a file with a dataset of a layout."""
    with h5py.File(path, "w", **file_options) as file:
        file.create_dataset("group/x", data=rows() if values is None else values, **LAYOUTS[layout][0])
    return path


@every_layout
@pytest.mark.parametrize("options", [{}, {"libver": "latest"}, {"userblock_size": 1024}], ids=repr)
def test_batches(layout: str, options: dict[str, Any], tmp_path: Path) -> None:
    """Batches in order, shuffled, with repeats and by index are those of the array."""
    with h5py.File(made(tmp_path / "a.h5", layout, **options), "r") as file:
        dataset, x = file["group/x"], rows()
        assert isinstance(as_column(dataset), LAYOUTS[layout][1])
        ds = ArrayDataSource([dataset, np.arange(ROWS)])
        for keywords in ({}, {"shuffle": 3}, {"shuffle": np.random.RandomState(1)}, {"copy": False}):
            seen = []
            for batch, index in ds.batch_iterator(16, **keywords):
                np.testing.assert_array_equal(batch, x[index])
                assert batch.dtype == x.dtype
                seen += index.tolist()
            assert sorted(seen) == [*range(ROWS)]
        for wanted in ([5, 5, 102, 0, 5], [], [-1], np.arange(ROWS)[::-1]):
            batch, _ = ds.samples_by_indices_nomapping(wanted)
            np.testing.assert_array_equal(batch, x[np.asarray(wanted, int)])


@every_layout
def test_batches_belong_to_their_holder(layout: str, tmp_path: Path) -> None:
    """A holder may write into a batch; later batches are what they were."""
    with h5py.File(made(tmp_path / "a.h5", layout), "r") as file:
        ds = ArrayDataSource([file["group/x"]])
        for _ in range(2):
            for number, (batch,) in enumerate(ds.batch_iterator(50)):
                np.testing.assert_array_equal(batch, rows()[number * 50 : number * 50 + 50])
                batch[...] = -1
            for (batch,) in ds.batch_iterator(50, shuffle=1):
                assert (batch >= 0).all()
                batch[...] = -1


@every_layout
def test_in_pools(layout: str, tmp_path: Path) -> None:
    """Threads share the dataset; processes open the file for themselves."""
    with h5py.File(made(tmp_path / "a.h5", layout), "r") as file:
        ds = ArrayDataSource([file["group/x"], np.arange(ROWS)])
        expected = [(x.tolist(), y.tolist()) for x, y in ds.batch_iterator(16, shuffle=5)]
        with WorkerThreadPool(3) as pool:
            assert [(x.tolist(), y.tolist()) for x, y in loader(ds, 16, shuffle=5, pool=pool)] == expected
        for method in ("forkserver", "spawn"):
            with WorkerProcessPool(2, start_method=method) as pool:
                assert [(x.tolist(), y.tolist()) for x, y in loader(ds, 16, shuffle=5, pool=pool)] == expected


@every_layout
def test_after_a_fork(layout: str, tmp_path: Path) -> None:
    """A process that was forked off reads for itself, and leaves the file of its parent alone."""
    code = """
import os, sys
import h5py
import numpy as np
from batchup.columns import as_column
from tests.test_datasets import ROWS, rows
with h5py.File(sys.argv[1], "r") as file:
    column = as_column(file["group/x"])
    indices = np.arange(ROWS - 1, -1, -1)
    pid = os.fork()
    if not pid:
        right = False
        try:
            right = bool((column.gather(indices) == rows()[::-1]).all())
        finally:
            os._exit(0 if right else 1)
    np.testing.assert_array_equal(column.gather(indices), rows()[::-1])
    assert os.waitpid(pid, 0)[1] == 0
"""
    child(code, made(tmp_path / "a.h5", layout))


@pytest.mark.parametrize(
    "dtype", ["<f4", ">f8", ">i2", "?", "c8", "f2", "u8", "S7", [("a", "<i4"), ("b", ">f8", 2)]], ids=str
)
@pytest.mark.parametrize(
    "layout", ["contiguous", "chunks of whole rows", "chunks of parts of rows", "gzip", "all filters", "lzf"]
)
def test_dtypes(layout: str, dtype: Any, tmp_path: Path) -> None:
    """Elements are what h5py makes of them."""
    values = rows().astype(np.dtype(dtype) if isinstance(dtype, str) else np.int32)
    if not isinstance(dtype, str):
        values = np.zeros(values.shape, dtype)
        values["a"], values["b"] = rows(), rows()[..., None]
    with h5py.File(made(tmp_path / "a.h5", layout, values), "r") as file:
        (batch,) = ArrayDataSource([file["group/x"]]).samples_by_indices([7, 3, 7])
        assert batch.dtype == file["group/x"].dtype
        np.testing.assert_array_equal(batch, file["group/x"][:][[7, 3, 7]])


def test_numbers_that_numpy_has_not(tmp_path: Path) -> None:
    """Integers of 12 bits, which lie otherwise in a file than in memory, are read by HDF5."""
    kind = h5py.h5t.STD_I16LE.copy()
    kind.set_precision(12)
    kind.set_offset(2)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        space = h5py.h5s.create_simple((4,))
        h5py.Dataset(h5py.h5d.create(file.id, b"x", kind, space))[...] = [1, -2, 3, -4]
    with h5py.File(tmp_path / "a.h5", "r") as file:
        (batch,) = ArrayDataSource([file["x"]]).samples_by_indices([3, 0, 1])
        assert batch.tolist() == [-4, 1, -2]


@pytest.mark.parametrize(
    "options",
    [{}, {"chunks": (2,)}, {"chunks": (2,), "compression": "gzip"}, {"chunks": (2,), "compression": "lzf"}],
    ids=repr,
)
def test_what_was_never_written(options: dict[str, Any], tmp_path: Path) -> None:
    """Chunks that are not there are full of the fill value."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("x", (7,), "i4", fillvalue=9, **options)
        file.create_dataset("nothing", (7,), "i4", fillvalue=9, **options)
        dataset[4:6] = [1, 2]
    with h5py.File(tmp_path / "a.h5", "r") as file:
        ds = ArrayDataSource([file["x"], file["nothing"]])
        x, nothing = ds.samples_by_indices([6, 5, 4, 0])
        assert (x.tolist(), nothing.tolist()) == ([9, 2, 1, 9], [9] * 4)


def test_texts(tmp_path: Path) -> None:
    """Strings of any length, shuffled."""
    texts = np.array([f"text {i}" for i in range(20)], object)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("t", data=texts, dtype=h5py.string_dtype())
    with h5py.File(tmp_path / "a.h5", "r") as file:
        for batch, index in ArrayDataSource([file["t"], np.arange(20)]).batch_iterator(6, shuffle=2):
            assert [text.decode() for text in batch] == [f"text {i}" for i in index]


@pytest.mark.parametrize("layout", ["contiguous", "chunks of whole rows", "gzip"])
def test_while_it_is_written(layout: str, tmp_path: Path) -> None:
    """Batches of a dataset that is open for writing are what it holds at the time."""
    with h5py.File(made(tmp_path / "a.h5", layout), "r+") as file:
        ds = ArrayDataSource([file["group/x"]])
        for number in range(3):
            file["group/x"][...] = number
            assert all((batch == number).all() for (batch,) in ds.batch_iterator(20, shuffle=1))
        with WorkerProcessPool(1) as pool, pytest.raises(TypeError, match="opened read-only"):
            pool.parallel_data_source(ds)


def test_a_file_that_was_replaced(tmp_path: Path) -> None:
    """What is open stays what it was; a worker refuses another file of that name."""
    path = made(tmp_path / "a.h5", "gzip")
    with h5py.File(path, "r") as file:
        ds = ArrayDataSource([file["group/x"]])
        os.replace(made(tmp_path / "b.h5", "gzip", rows() + 1), path)
        np.testing.assert_array_equal(ds.samples_by_indices([3, 1])[0], rows()[[3, 1]])
        np.testing.assert_array_equal(as_column(file["group/x"]).gather(np.array([5])), rows()[[5]])

    function: Callable[..., Any]
    with h5py.File(path, "r") as file:
        function, arguments = reduced(file["group/x"])
        np.testing.assert_array_equal(function(*arguments)[5], rows()[5] + 1)
        os.replace(made(tmp_path / "b.h5", "gzip"), path)
        with pytest.raises(FileFormatError, match="has been replaced"):
            function(*arguments)


def test_in_memory_and_without_dimensions(tmp_path: Path) -> None:
    """A file in memory is read by h5py; a scalar is no column; no rows are legal."""
    with h5py.File("nowhere", "w", driver="core", backing_store=False) as file:
        file["x"], file["scalar"] = np.arange(5), 3
        file.create_dataset("none", (0, 3), "f4")
        assert ArrayDataSource([file["x"]]).samples_by_indices([4, 0])[0].tolist() == [4, 0]
        assert list(ArrayDataSource([file["none"]]).batch_iterator(2)) == []
        with pytest.raises(TypeError, match="at least 1 dimension"):
            ArrayDataSource([file["scalar"]])


def test_a_file_read_into_memory(tmp_path: Path) -> None:
    """It is read by h5py; other processes cannot have it."""
    path = made(tmp_path / "a.h5", "gzip")
    with h5py.File(path, "r", driver="core") as file:
        os.remove(path)
        ds = ArrayDataSource([file["group/x"]])
        np.testing.assert_array_equal(ds.samples_by_indices([3, 1])[0], rows()[[3, 1]])
        with WorkerProcessPool(1) as pool, pytest.raises(TypeError, match="opened read-only"):
            pool.parallel_data_source(ds)


def test_a_file_is_closed_with_its_last_dataset(tmp_path: Path) -> None:
    """What a worker has opened anew does not stay open for ever."""
    path = made(tmp_path / "a.h5", "gzip")
    with h5py.File(path, "r") as file:
        function, arguments = reduced(file["group/x"])
    dataset = function(*arguments)
    np.testing.assert_array_equal(dataset[5], rows()[5])
    with pytest.raises(OSError, match="already open"):
        h5py.File(path, "r+")
    del dataset
    h5py.File(path, "r+").close()
