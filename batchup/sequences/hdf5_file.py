"""What readers of HDF5 files share: files opened once per process, datasets that are what they seem to be."""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._extras import required
from batchup._indices import Indices
from batchup.columns import Ragged, SequenceColumn
from batchup.columns.datasets import stored_as_they_are
from batchup.columns.files import check_file_status, file_status
from batchup.errors import FileFormatError, InvalidTypeError, InvalidValueError


def opened(name: str) -> Any:
    """Return an HDF5 file that is open for reading.

    Raises
    ------
    FileNotFoundError
        If it is not there.
    FileFormatError
        If it is no HDF5 file, or cut short.
    """
    h5py = required("h5py", "hdf5", "reading HDF5 files")
    with open(name, "rb"):
        pass  # raises what h5py would tell in many words
    try:
        return h5py.File(name, "r")
    except (OSError, RuntimeError) as error:
        raise FileFormatError(f"{name} is no HDF5 file, or damaged: {error}") from error


@contextlib.contextmanager
def understood(name: str) -> Iterator[None]:
    """Raise a FileFormatError for whatever comes from a file that is damaged."""
    try:
        yield
    except FileFormatError:
        raise
    except (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise FileFormatError(f"{name} is damaged: {error}") from error


def check_hdf5_elements(dtype: np.dtype[Any]) -> None:
    """Raise if elements of a dtype do not come back from an HDF5 file as they are."""
    h5py = required("h5py", "hdf5", "writing HDF5 files")
    try:
        same = h5py.h5t.py_create(dtype, logical=True).dtype == dtype
    except (TypeError, ValueError):
        same = False
    if not same:
        raise InvalidTypeError(f"HDF5 cannot hold elements of {dtype}: write others, or to a FileRecordWriter")


def attribute(file: Any, key: str, name: str) -> Any:
    """Return a text of a fixed length or a number that a file tells of itself; None if it does not.

    Raises
    ------
    FileFormatError
        If it is something else, which in a damaged file may end the program.
    """
    if key not in file.attrs:
        return None
    if file.attrs.get_id(key).dtype.kind not in "Siu":
        raise FileFormatError(f"{name} is damaged: {key!r} should be a text or a number")
    return file.attrs[key]


def numbers(dataset: Any, name: str) -> Any:
    """Return a dataset with at least one dimension, whose elements are plain; an error if it is none."""
    if dataset.dtype.hasobject or not dataset.dtype.itemsize or not dataset.shape or 0 in dataset.shape[1:]:
        raise FileFormatError(f"{name}: {dataset.name} holds no sequence: {dataset.dtype}, shape {dataset.shape}")
    return dataset


def mapped_values(dataset: Any, name: str) -> NDArray[np.uint8] | None:
    """Return the bytes of a dataset as mapped memory; None if they do not lie in the file as they are."""
    offset = dataset.id.get_offset()
    if offset is None or not dataset.dtype.isnative or not dataset.size or not stored_as_they_are(dataset):
        return None
    with open(name, "rb") as file:
        if offset + dataset.nbytes > os.fstat(file.fileno()).st_size:
            raise FileFormatError(f"{name} is cut short: {dataset.name} would end at byte {offset + dataset.nbytes}")
        skipped = offset % mmap.ALLOCATIONGRANULARITY
        mapped = mmap.mmap(file.fileno(), skipped + dataset.nbytes, access=mmap.ACCESS_READ, offset=offset - skipped)
    return np.frombuffer(mapped, np.uint8)[skipped:]


class Hdf5Handle:
    """An HDF5 file that each process opens for itself, when it first reads from it; pickled as its name.

    Parameters
    ----------
    name : str
        Of the file.
    status : tuple of int, optional
        Its size and when it was written to, as it must be found again; as it is now by default.
    """

    def __init__(self, name: str, status: tuple[int, int] | None = None) -> None:
        self.name = os.path.abspath(name)
        self._status = status or file_status(self.name)
        self._file: Any = None
        self._process = 0
        self._closed = False

    @property
    def file(self) -> Any:
        """The open file."""
        if self._closed:
            raise InvalidValueError(f"{self.name} has been closed: read from it before, or open it again")
        if self._file is None or self._process != os.getpid():
            file = opened(self.name)
            try:
                check_file_status(self.name, self._status, "it was opened")
            except FileFormatError:
                file.close()
                raise
            self._file, self._process = file, os.getpid()
        return self._file

    def hold(self) -> None:
        """Open the file now, so that what is read is what was opened, whatever becomes of its name."""
        self.file  # noqa: B018

    def close(self) -> None:
        """Let go of the file."""
        self._closed = True
        if self._file is not None and self._process == os.getpid():
            self._file.close()
        self._file = None

    def __reduce__(self) -> Any:
        return type(self), (self.name, self._status)


class Hdf5Column(SequenceColumn):
    """Sequences of an HDF5 file that are read one by one.

    Parameters
    ----------
    handle : Hdf5Handle
        The file.
    read : callable
        ``read(handle, place)`` returns the sequence at a place, and can be pickled.
    count : int
        Number of sequences.
    dtype, inner_shape
        Of an element.
    lengths : ndarray of int, optional
        The length of each; if it is not given, they are asked of each sequence when they are needed.
    """

    def __init__(
        self,
        handle: Hdf5Handle,
        read: Callable[[Hdf5Handle, int], NDArray[Any]],
        count: int,
        dtype: np.dtype[Any],
        inner_shape: tuple[int, ...],
        lengths: NDArray[Any] | None = None,
    ) -> None:
        self._handle = handle
        self._read = read
        self._count = count
        self._lengths = lengths
        self._dtype = dtype
        self._inner_shape = inner_shape

    @property
    def resident(self) -> bool:
        return False

    def __len__(self) -> int:
        return self._count

    def _one(self, index: int) -> NDArray[Any]:
        """Return a sequence as it is stored: in the files of seqp each may have a dtype of its own."""
        sequence = self._checked(index, any_dtype=True)
        if not len(sequence):
            return np.empty((0, *self._inner_shape), self._dtype)
        return sequence.astype(sequence.dtype.newbyteorder("="), copy=False)

    def lent(self, indices: Indices) -> Ragged:
        places = np.arange(len(self))[indices] if isinstance(indices, slice) else indices
        sequences: list[NDArray[Any]] = [np.empty(0)] * len(places)
        for row in np.argsort(places, kind="stable").tolist():  # as they lie in the file
            sequences[row] = self._checked(int(places[row]))
        empty = np.empty((0, *self._inner_shape), self._dtype)
        offsets = np.concatenate([[0], np.cumsum([len(sequence) for sequence in sequences])]).astype(np.int64)
        return Ragged(np.concatenate([empty, *(part for part in sequences if len(part))], dtype=self._dtype), offsets)

    def lengths_at(self, indices: Indices) -> NDArray[Any]:
        if self._lengths is not None:
            return self._lengths[indices].astype(np.int64)
        places = np.arange(len(self))[indices].tolist()
        return np.array([len(self._checked(place)) for place in places], np.int64)

    def _checked(self, place: int, any_dtype: bool = False) -> NDArray[Any]:
        """Return a sequence; an error if it is not what it should be."""
        self._handle.file  # noqa: B018  that it has been closed is no damage
        with understood(self._handle.name):
            sequence = self._read(self._handle, place)
        alike = any_dtype or not len(sequence) or sequence.dtype.newbyteorder("=") == self._dtype
        length = len(sequence) if self._lengths is None else int(self._lengths[place])
        if sequence.shape != ((length, *self._inner_shape) if length else (0, *sequence.shape[1:])) or not alike:
            raise FileFormatError(
                f"{self._handle.name}: the record at place {place} should be {length} elements of {self._dtype} "
                f"{self._inner_shape}, and is {sequence.dtype} {sequence.shape}"
            )
        return sequence
