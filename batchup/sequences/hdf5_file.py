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


def checked_dataset(file: Any, key: str, name: str) -> Any:
    """Return a dataset of a file, which lies in it, and holds numbers.

    Raises
    ------
    FileFormatError
        If it is not there, or lies in another file, or holds Python objects.
    """
    h5py = required("h5py", "hdf5", "reading HDF5 files")
    parts = key.split("/")
    for end in range(1, len(parts) + 1):
        link = file.get("/".join(parts[:end]), getlink=True)
        if link is None:
            raise FileFormatError(f"{name} has no dataset {key!r}: it is damaged, or no file of records")
        if not isinstance(link, h5py.HardLink):
            raise FileFormatError(f"{name}: {key!r} lies in another file, or is a link; neither is followed")
    dataset = file[key]
    if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
        raise FileFormatError(f"{name}: {key!r} is no dataset of this file")
    return dataset


def attribute(file: Any, key: str, name: str) -> Any:
    """Return a text or a number that a file tells of itself; None if it does not.

    Raises
    ------
    FileFormatError
        If it is made of Python objects, which a damaged file may end the program by.
    """
    if key not in file.attrs:
        return None
    check_text(file.attrs.get_id(key), key, name)
    return file.attrs[key]


def check_text(stored: Any, key: str, name: str) -> None:
    """Raise if something that is stored is made of Python objects other than texts."""
    h5py = required("h5py", "hdf5", "reading HDF5 files")
    if stored.dtype.hasobject and h5py.check_string_dtype(stored.dtype) is None:
        raise FileFormatError(f"{name} is damaged: {key!r} should be a text or a number, and is of {stored.dtype}")


def numbers(dataset: Any, name: str) -> Any:
    """Return a dataset with at least one dimension, whose elements are plain; an error if it is none."""
    if dataset.dtype.hasobject or not dataset.dtype.itemsize or not dataset.shape or 0 in dataset.shape[1:]:
        raise FileFormatError(f"{name}: {dataset.name} holds no sequence: {dataset.dtype}, shape {dataset.shape}")
    return dataset


def mapped_values(dataset: Any, name: str) -> NDArray[np.uint8] | None:
    """Return the bytes of a dataset as mapped memory; None if they do not lie in the file as they are."""
    offset = dataset.id.get_offset()
    if offset is None or not dataset.dtype.isnative or not dataset.size:
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
    """

    def __init__(self, name: str) -> None:
        self.name = os.path.abspath(name)
        self._file: Any = None
        self._process = 0
        self._closed = False

    @property
    def file(self) -> Any:
        """The open file."""
        if self._closed:
            raise InvalidValueError(f"{self.name} has been closed: read from it before, or open it again")
        if self._file is None or self._process != os.getpid():
            self._file, self._process = opened(self.name), os.getpid()
        return self._file

    def close(self) -> None:
        """Let go of the file."""
        self._closed = True
        if self._file is not None and self._process == os.getpid():
            self._file.close()
        self._file = None

    def __reduce__(self) -> Any:
        return type(self), (self.name,)


class Hdf5Column(SequenceColumn):
    """Sequences of an HDF5 file that are read one by one.

    Parameters
    ----------
    handle : Hdf5Handle
        The file.
    read : callable
        ``read(handle, place)`` returns the sequence at a place, and can be pickled.
    lengths : ndarray of int
        The length of each.
    dtype, inner_shape
        Of an element.
    """

    def __init__(
        self,
        handle: Hdf5Handle,
        read: Callable[[Hdf5Handle, int], NDArray[Any]],
        lengths: NDArray[Any],
        dtype: np.dtype[Any],
        inner_shape: tuple[int, ...],
    ) -> None:
        self._handle = handle
        self._read = read
        self._lengths = lengths
        self._dtype = dtype
        self._inner_shape = inner_shape

    @property
    def resident(self) -> bool:
        return False

    def __len__(self) -> int:
        return len(self._lengths)

    def gather(self, indices: Indices) -> Ragged:
        places = np.arange(len(self))[indices] if isinstance(indices, slice) else indices
        lengths = self.lengths_at(places)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        values = np.empty((int(offsets[-1]), *self._inner_shape), self._dtype)
        for row in np.argsort(places, kind="stable").tolist():  # as they lie in the file
            if lengths[row]:
                values[offsets[row] : offsets[row + 1]] = self._checked(int(places[row]), int(lengths[row]))
        return Ragged(values, offsets)

    def lengths_at(self, indices: Indices) -> NDArray[Any]:
        return self._lengths[indices].astype(np.int64)

    def _checked(self, place: int, length: int) -> NDArray[Any]:
        self._handle.file  # noqa: B018  that it has been closed is no damage
        with understood(self._handle.name):
            sequence = self._read(self._handle, place)
        if sequence.shape != (length, *self._inner_shape) or not np.can_cast(sequence.dtype, self._dtype):
            raise FileFormatError(
                f"{self._handle.name}: the record at place {place} should be {length} elements of {self._dtype} "
                f"{self._inner_shape}, and is {sequence.dtype} {sequence.shape}"
            )
        return sequence
