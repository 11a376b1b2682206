"""Datasets of HDF5 files as columns: mapped where they lie in the file as they are, read by chunk where they do not."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from batchup._extras import required
from batchup.columns.abstract import Column
from batchup.columns.arrays import array_column
from batchup.columns.chunked import ChunkedColumn
from batchup.columns.files import OpenFile, check_file_status, file_status
from batchup.columns.hdf5_chunks import ChunkLayout, ChunkTable, RawChunks
from batchup.columns.hdf5_filters import Filters
from batchup.columns.records import RecordColumn
from batchup.columns.sliced import SlicedChunks
from batchup.columns.storage import MappedStorage
from batchup.errors import InvalidTypeError


def is_dataset(data: Any) -> bool:
    """Return whether something is a dataset of h5py."""
    return type(data).__module__.partition(".")[0] == "h5py" and hasattr(data, "chunks") and hasattr(data, "id")


def dataset_column(dataset: Any) -> Column:
    """Return the column of a dataset, by the fastest way that its layout allows.

    Raises
    ------
    InvalidTypeError
        If it has no dimension.
    """
    if not dataset.shape:
        raise InvalidTypeError(f"a dataset of samples must have at least 1 dimension, {dataset.name} has none")
    path = _path(dataset)
    if path is not None:
        offset = dataset.id.get_offset()
        if offset is not None and offset + dataset.nbytes <= os.path.getsize(path):
            return array_column(np.memmap(path, dataset.dtype, "r", offset, dataset.shape))
        table = ChunkTable.of(dataset)
        if table is not None and _is_right(table, dataset, path):
            return _chunked_column(dataset, table, path)
    return ChunkedColumn(_read_by_h5py(dataset))


def _chunked_column(dataset: Any, table: ChunkTable, path: str) -> Column:
    """Return the column of a dataset in chunks, which can be read from the file itself."""
    filters, row_bytes = Filters.of(dataset), dataset.nbytes // len(dataset)
    if table.plain(filters, table.rows * row_bytes):
        layout = ChunkLayout(table.starts[:, 0], table.rows, row_bytes, len(dataset))
        if layout.end <= os.path.getsize(path):
            storage = MappedStorage(OpenFile(path), path, layout.end)
            return RecordColumn(storage, layout, dataset.dtype, dataset.shape[1:], (_column_again, reduced(dataset)[1]))
    if not hasattr(os, "pread"):
        return ChunkedColumn(_read_by_h5py(dataset))
    name = f"dataset {dataset.name} of {path}"
    chunks = RawChunks(_read_by_h5py(dataset), dataset.fillvalue, table, filters, OpenFile(path), name)
    return ChunkedColumn(chunks)


def _path(dataset: Any) -> str | None:
    """Return the name of the file in which the values of a dataset lie, if they do, and nobody may write to it."""
    file = dataset.file
    if file.mode != "r" or file.swmr_mode or file.driver != "sec2" or dataset.dtype.hasobject or not dataset.size:
        return None
    if dataset.is_virtual or dataset.external or not stored_as_they_are(dataset):
        return None
    try:
        status, opened = os.stat(file.filename), os.fstat(file.id.get_vfd_handle())
    except OSError:
        return None
    return os.path.abspath(file.filename) if os.path.samestat(status, opened) else None


def stored_as_they_are(dataset: Any) -> bool:
    """Return whether the bytes of elements in the file are those of the dtype: HDF5 has types that NumPy has not."""
    types = required("h5py", "hdf5", "reading HDF5 files").h5t
    return bool(dataset.id.get_type() == types.py_create(dataset.dtype, logical=True))


def _is_right(table: ChunkTable, dataset: Any, path: str) -> bool:
    """Return whether the first chunk lies where it is said to: versions of HDF5 differ in where files begin."""
    written = np.argwhere(table.starts >= 0)
    if not len(written):
        return True
    band, part = written[0].tolist()
    start, size = int(table.starts[band, part]), int(table.sizes[band, part])
    if start + size > os.path.getsize(path):
        return True  # which is told when it is read
    with open(path, "rb") as file:
        file.seek(start)
        return bool(file.read(size) == dataset.id.read_direct_chunk(table.offset(band, part))[1])


def _read_by_h5py(dataset: Any) -> SlicedChunks:
    """Return the chunks of a dataset as h5py reads them."""
    rows = 1 if dataset.chunks is None else dataset.chunks[0]
    constant = dataset.file.mode == "r" and not dataset.file.swmr_mode
    return SlicedChunks(dataset, rows, constant, reduced)


def reduced(dataset: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return what a dataset is pickled as: where it lies.

    Raises
    ------
    InvalidTypeError
        If somebody may be writing to it, or it lies in no file.
    """
    file = dataset.file
    if not _can_be_reopened(dataset):
        raise InvalidTypeError(
            f"{dataset.name} of {file.filename} is open in mode {file.mode!r} (driver {file.driver!r}): other "
            "processes can read it if it is opened read-only, from a file that is still there"
        )
    path = os.path.abspath(file.filename)
    return reopened, (path, dataset.name, file_status(path))


def _can_be_reopened(dataset: Any) -> bool:
    """Return whether nobody may be writing to the file of a dataset, and its name stands for one."""
    file = dataset.file
    return file.mode == "r" and file.driver == "sec2" and os.path.isfile(file.filename)


def _column_again(path: str, name: str, status: tuple[int, int]) -> Column:
    """Return the column of a dataset that was sent."""
    return dataset_column(reopened(path, name, status))


def reopened(path: str, name: str, status: tuple[int, int]) -> Any:
    """Return a dataset of a file, which stays open as long as the dataset is there.

    Raises
    ------
    FileFormatError
        If the file has been replaced or written to since it was sent.
    """
    check_file_status(path, status, f"its dataset {name} was sent")
    return required("h5py", "hdf5", "reading HDF5 files").File(path, "r")[name]
