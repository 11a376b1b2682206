"""Arrays of zarr and of PyTables as columns: the chunks that a batch needs are read in order, each once."""

from __future__ import annotations

import importlib
import os
import threading
from typing import Any

import numpy as np

from batchup.columns.abstract import Column
from batchup.columns.chunked import ChunkedColumn
from batchup.columns.files import check_file_status, file_status
from batchup.columns.sliced import SlicedChunks
from batchup.errors import InvalidTypeError

TOGETHER = 16 * 2**20  # bytes of chunks that are read at once
CHUNK = 64 * 1024  # bytes of an array in one piece that are read as a chunk

_tables_lock = threading.RLock()  # PyTables is for one thread at a time

if hasattr(os, "register_at_fork"):  # no thread that is not there any more may hold it in a forked process
    os.register_at_fork(
        before=_tables_lock.acquire, after_in_parent=_tables_lock.release, after_in_child=_tables_lock.release
    )


def is_zarr(data: Any) -> bool:
    """Return whether something is an array of zarr."""
    return type(data).__module__.partition(".")[0] == "zarr" and all(
        hasattr(data, name) for name in ("shape", "dtype", "read_only", "__getitem__")
    )


def is_tables(data: Any) -> bool:
    """Return whether something is an array of PyTables, all of whose rows have one shape."""
    return type(data).__module__ in ("tables.array", "tables.carray", "tables.earray") and hasattr(data, "chunkshape")


def zarr_column(array: Any) -> Column:
    """Return the column of an array of zarr.

    Raises
    ------
    InvalidTypeError
        If it has no dimension.
    """
    _check_dimensions(array, f"array {array.name or array.store}")
    try:
        rows = int(array.chunks[0])
    except NotImplementedError:  # chunks of different sizes
        rows = 1
    return ChunkedColumn(SlicedChunks(array, rows, bool(array.read_only), together=TOGETHER))


def tables_column(array: Any) -> Column:
    """Return the column of an array of PyTables.

    Raises
    ------
    InvalidTypeError
        If it has no dimension.
    """
    _check_dimensions(array, f"array {array._v_pathname}")
    row_bytes = int(np.prod(array.shape[1:], dtype=np.int64)) * np.dtype(array.dtype).itemsize
    rows = array.chunkshape[0] if array.chunkshape else max(1, CHUNK // max(1, row_bytes))
    return ChunkedColumn(
        SlicedChunks(array, int(rows), array._v_file.mode == "r", tables_reduced, TOGETHER, _tables_lock)
    )


def tables_reduced(array: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return what an array of PyTables is pickled as: where it lies.

    Raises
    ------
    InvalidTypeError
        If somebody may be writing to it, or it lies in no file.
    """
    file = array._v_file
    if file.mode != "r" or not os.path.isfile(file.filename):
        raise InvalidTypeError(
            f"{array._v_pathname} of {file.filename} is open in mode {file.mode!r}: other processes can read it if it "
            "is opened read-only, from a file that is still there"
        )
    path = os.path.abspath(file.filename)
    return tables_reopened, (path, array._v_pathname, file_status(path))


def tables_reopened(path: str, name: str, status: tuple[int, int]) -> Any:
    """Return an array of a file that is opened by PyTables.

    Raises
    ------
    FileFormatError
        If the file has been replaced or written to since it was sent.
    """
    check_file_status(path, status, f"its array {name} was sent")
    return importlib.import_module("tables").open_file(path, "r").get_node(name)


def _check_dimensions(array: Any, name: str) -> None:
    if not array.shape:
        raise InvalidTypeError(f"an array of samples must have at least 1 dimension, {name} has none")
