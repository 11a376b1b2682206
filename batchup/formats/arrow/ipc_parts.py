"""Where the columns of Arrow's own files are read: in the mapped file, where they lie as arrays, or by batches."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup.columns import RecordColumn
from batchup.columns.files import OpenFile
from batchup.columns.readahead import Place as Stretch
from batchup.columns.storage import MappedStorage
from batchup.formats.arrow.columns import Part
from batchup.formats.arrow.reading import Status, check_status, damage_told, is_local, source_of, status_of
from batchup.formats.arrow.types import element_of, plain_type, pyarrow
from batchup.formats.arrow.values import Place, fixed_values, plain, values_of
from batchup.formats.table import Field

MAGIC = b"ARROW1"  # with which a file begins, but not a stream
HEAD = 8  # bytes of it, with what makes them even
_AS_THEY_ARE = "iufcmM"  # kinds of dtypes that Arrow may keep as NumPy does


class Batches:
    """The batches of rows of a file of Arrow, or of a stream in a file; each process opens it by itself.

    Parameters
    ----------
    path : str
        Its name.
    status : tuple of int, optional
        By what it is seen whether it was written to since it was first opened.
    """

    def __init__(self, path: str, status: Status | None = None) -> None:
        self.path = path
        self.mapped = is_local(path)
        self.source = os.path.abspath(path) if self.mapped else path
        self.status = status
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._readers: dict[str, Any] = {}

    def opened(self, names: Sequence[str] | None = None, broken: bool = False) -> tuple[Any, Any]:
        """Open the file, and return it, and what reads its batches.

        Parameters
        ----------
        names : sequence of str, optional
            The columns that are looked at, which are copied; by default all, as they lie in a mapped file.
        broken : bool, default False
            Whether to read what is there of a file without its end.
        """
        pa = pyarrow()
        source = source_of(self.source, mapped=True)
        if self.status is None:
            self.status = status_of(self.source)
        check_status(self.source, self.status)
        whole = source.read(len(MAGIC)) == MAGIC and not broken
        start = HEAD if broken else 0
        source.seek(start)
        reader = pa.ipc.open_file(source) if whole else pa.ipc.open_stream(source)
        if not names:
            return source, reader
        chosen = pa.ipc.IpcReadOptions(included_fields=sorted(reader.schema.names.index(name) for name in names))
        source.seek(start)
        return source, (pa.ipc.open_file if whole else pa.ipc.open_stream)(source, options=chosen)

    def batch(self, number: int, name: str) -> Any:
        """Return what a batch has of a column; of a stream, all batches stay."""
        if self._process != os.getpid():
            self._process, self._lock, self._readers = os.getpid(), threading.Lock(), {}
        with self._lock, damage_told(batch_name(self.path, number)):
            if name not in self._readers:
                reader = self.opened([name])[1]
                self._readers[name] = reader if is_file(reader) else list(reader)
            found = self._readers[name]
            return (found[number] if isinstance(found, list) else found.get_batch(number)).column(name)

    def __reduce__(self) -> Any:
        return Batches, (self.source, self.status)


class ArrowPart(Part):
    """A column of a file of Arrow, to be read by batches.

    Parameters
    ----------
    batches : Batches
        The file.
    name, field, bounds
        As for `Part`.
    """

    def __init__(self, batches: Batches, name: str, field: Field, bounds: NDArray[np.intp]) -> None:
        super().__init__(batches.path, name, field, bounds)
        self._batches = batches

    def chunk(self, number: int) -> Any:
        """Return the rows of a batch."""
        values = self._batches.batch(number, self.name)
        with damage_told(f"{batch_name(self.path, number)}, column {self.name!r},"):
            values.validate(full=True)
        return values_of(values, self.field, Place(self.path, self.name, int(self.bounds[number])))

    def __reduce__(self) -> Any:
        return ArrowPart, (self._batches, self.name, self.field, self.bounds)


class BatchLayout:
    """Where the rows of a column lie in a file: those of a batch one behind the other.

    Parameters
    ----------
    firsts : ndarray of int64, shape (batches,)
        The first byte of each batch.
    bounds : ndarray of intp, shape (batches + 1,)
        The first row of each batch, and behind them the number of rows.
    row_bytes : int
        Size of a row.
    """

    def __init__(self, firsts: NDArray[np.int64], bounds: NDArray[np.intp], row_bytes: int) -> None:
        self.gapless = len(firsts) == 1
        self.length = int(bounds[-1])
        self.row_bytes = row_bytes
        self._bounds = bounds
        self._shifts = firsts - bounds[:-1] * row_bytes  # the place of a row is that of its number, and this
        self._even = int(bounds[1]) if (np.diff(bounds[:-1]) == bounds[1]).all() else 0

    def starts(self, indices: Any) -> Any:
        """Return the first byte of each row."""
        batches = self._batches_of(indices)
        return np.multiply(indices, self.row_bytes, dtype=np.int64) + self._shifts[batches]

    def pieces(self, start: int, stop: int) -> Iterator[Stretch]:
        """Yield the places of the rows from `start` to `stop`."""
        while start < stop:
            batch = int(self._batches_of(start))
            end = min(stop, int(self._bounds[batch + 1]))
            yield start * self.row_bytes + int(self._shifts[batch]), (end - start) * self.row_bytes
            start = end

    def _batches_of(self, indices: Any) -> Any:
        return indices // self._even if self._even else np.searchsorted(self._bounds, indices, "right") - 1


def lies_as_it_is(kind: Any, field: Field) -> bool:
    """Return whether Arrow keeps values of a type as NumPy does, if none is missing."""
    element = element_of(field.dtype)
    if not field.fixed or not field.row_bytes or field.dtype.kind not in _AS_THEY_ARE or element is None:
        return False
    kind = leaf_type(kind)
    fixed = pyarrow().types.is_primitive(kind) and not pyarrow().types.is_boolean(kind)
    return fixed and field.dtype.isnative and kind.bit_width * element[1] == 8 * field.dtype.itemsize


def leaf_type(kind: Any) -> Any:
    """Return the type of the elements of lists of one length."""
    kind = plain_type(kind)
    while pyarrow().types.is_fixed_size_list(kind):
        kind = plain_type(kind.value_type)
    return kind


def address_of(array: Any, field: Field) -> int | None:
    """Return where in memory the values of an array begin; None if some are missing."""
    array.validate()
    array = plain(array)
    if array.null_count:
        return None
    while pyarrow().types.is_fixed_size_list(array.type):
        array = plain(fixed_values(array))
        if array.null_count:
            return None
    buffer = array.buffers()[1]
    return None if buffer is None else int(buffer.address) + array.offset * (array.type.bit_width // 8)


def mapped_column(
    batches: Batches, name: str, field: Field, firsts: NDArray[np.int64], bounds: NDArray[np.intp]
) -> Any:
    """Return the column of values that lie in a file as they are, from places on that are given."""
    check_status(batches.source, batches.status)
    layout = BatchLayout(firsts, bounds, field.row_bytes)
    storage = MappedStorage(OpenFile(batches.source), batches.path, os.path.getsize(batches.source))
    shape = tuple(side or 0 for side in field.shape)
    return RecordColumn(storage, layout, field.dtype, shape, (mapped_column, (batches, name, field, firsts, bounds)))


def is_file(reader: Any) -> bool:
    """Return whether batches can be read in any order."""
    return hasattr(reader, "get_batch")


def batch_name(path: str, number: int) -> str:
    """Return what a batch is called in errors."""
    return f"{path}: batch {number}"
