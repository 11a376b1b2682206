"""Datasets of HDF5 files as columns: mapped where they lie in the file as they are, read in order where they do not."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._extras import required
from batchup._indices import Indices
from batchup.columns.abstract import Column
from batchup.columns.arrays import array_column
from batchup.columns.files import OpenFile
from batchup.columns.readahead import Place
from batchup.columns.records import RecordColumn
from batchup.columns.storage import MappedStorage
from batchup.errors import FileFormatError, InvalidTypeError

DECODED = 64 * 2**20  # bytes of chunks that are kept when they have been read


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
        layout = ChunkLayout.of(dataset)
        if layout is not None and layout.end <= os.path.getsize(path):
            storage = MappedStorage(OpenFile(path), path, layout.end)
            again = (_column_again, reduced(dataset)[1])
            return RecordColumn(storage, layout, dataset.dtype, dataset.shape[1:], again)
    return OrderedColumn(dataset)


def _path(dataset: Any) -> str | None:
    """Return the name of the file in which the values of a dataset lie as they are, if they do."""
    file = dataset.file
    if file.mode != "r" or file.swmr_mode or file.driver != "sec2" or dataset.dtype.hasobject or not dataset.size:
        return None  # somebody may write to it, or it is in no file
    if dataset.is_virtual or dataset.external or dataset.id.get_create_plist().get_nfilters():
        return None
    if not stored_as_they_are(dataset):
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


class ChunkLayout:
    """Where the rows lie of a dataset in chunks of whole rows, neither compressed nor otherwise changed."""

    gapless = False

    def __init__(self, starts: NDArray[np.int64], rows: int, row_bytes: int, length: int) -> None:
        self._starts = starts
        self._rows = rows
        self.row_bytes = row_bytes
        self.length = length
        self.end = int(starts.max()) + rows * row_bytes

    @classmethod
    def of(cls, dataset: Any) -> ChunkLayout | None:
        """Return the layout of a dataset; None if it has another, or some of its chunks were never written.

        Older HDF5 cannot list chunks.
        """
        if dataset.chunks is None or dataset.chunks[1:] != dataset.shape[1:] or not hasattr(dataset.id, "chunk_iter"):
            return None
        rows = dataset.chunks[0]
        starts = np.full(-(-len(dataset) // rows), -1, np.int64)

        def note(chunk: Any) -> None:
            if chunk.chunk_offset[0] // rows < len(starts):
                starts[chunk.chunk_offset[0] // rows] = chunk.byte_offset

        dataset.id.chunk_iter(note)
        if (starts < 0).any():
            return None
        return cls(starts, rows, dataset.nbytes // len(dataset), len(dataset))

    def starts(self, indices: Any) -> Any:
        """Return the first byte of each row."""
        chunk, within = np.divmod(indices, self._rows)
        return self._starts[chunk] + within * self.row_bytes

    def pieces(self, start: int, stop: int) -> Iterator[Place]:
        """Yield the places of the rows from `start` to `stop`."""
        while start < stop:
            chunk, within = divmod(start, self._rows)
            end = min(stop, start - within + self._rows)
            yield int(self._starts[chunk]) + within * self.row_bytes, (end - start) * self.row_bytes
            start = end


class OrderedColumn:
    """The rows of any dataset: those of a batch are read in order, each chunk once; the last chunks are kept.

    A process that was forked off opens the file for itself.

    Parameters
    ----------
    dataset : h5py.Dataset
        The dataset.
    """

    cheap = resident = views = False

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self._process = os.getpid()
        self._reduced = reduced(dataset) if _can_be_reopened(dataset) else None
        self.dtype: np.dtype[Any] = dataset.dtype
        self.sample_shape: tuple[int, ...] = dataset.shape[1:]
        self.takes_out = not self.dtype.hasobject
        self._rows = 1 if dataset.chunks is None else dataset.chunks[0]
        self._keeps = self._rows > 1 and dataset.file.mode == "r" and not dataset.file.swmr_mode  # else they may change
        self._kept: OrderedDict[int, NDArray[Any]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return int(self._opened().shape[0])

    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> NDArray[Any]:
        if isinstance(indices, slice):
            rows: NDArray[Any] = self._opened()[indices]
            return rows if out is None else _copied(rows, out)
        if out is None:
            out = np.empty((len(indices), *self.sample_shape), self.dtype)
        order = np.argsort(indices, kind="stable")
        chunks = indices[order] // self._rows
        bounds = [*np.flatnonzero(np.diff(chunks, prepend=-1)).tolist(), len(order)]
        for first, last in pairwise(bounds):
            number, places = int(chunks[first]), order[first:last]
            out[places] = self._chunk(number)[indices[places] - number * self._rows]
        return out

    def view(self, indices: slice) -> NDArray[Any]:
        return self.gather(indices)

    def expect(self, indices: Indices) -> bool:
        return False

    def _chunk(self, number: int) -> NDArray[Any]:
        """Return the rows of a chunk, which may be kept."""
        with self._lock:
            if number in self._kept:
                self._kept.move_to_end(number)
                return self._kept[number]
        rows: NDArray[Any] = self._opened()[number * self._rows : (number + 1) * self._rows]
        if self._keeps:
            with self._lock:
                if number not in self._kept:
                    self._kept[number] = rows
                    self._bytes += rows.nbytes
                while self._bytes > DECODED and len(self._kept) > 1:
                    self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return rows

    def _opened(self) -> Any:
        if self._process != os.getpid():
            function, arguments = self._reduced or reduced(self._dataset)
            self._dataset, self._process = function(*arguments), os.getpid()
        return self._dataset


def _copied(rows: NDArray[Any], out: NDArray[Any]) -> NDArray[Any]:
    out[...] = rows
    return out


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
    status = os.stat(path)
    return reopened, (path, dataset.name, (status.st_size, status.st_mtime_ns))


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
    found = os.stat(path)
    if (found.st_size, found.st_mtime_ns) != tuple(status):
        raise FileFormatError(f"{path} has been replaced or written to since its dataset {name} was sent: open it anew")
    return required("h5py", "hdf5", "reading HDF5 files").File(path, "r")[name]
