"""Columns of Arrow's files: decoded whole when they are first needed, or by chunks where they are too large."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._indices import Indices
from batchup.columns import Ragged, SequenceColumn
from batchup.columns.abstract import Column, samples_at
from batchup.columns.arrays import ArrayColumn, array_column
from batchup.columns.chunked import KEPT, ChunkedColumn, Kept
from batchup.columns.lazy import LazyArray
from batchup.formats.table import Field

OBJECT, OFFSET = 96, 24  # bytes that a text takes beside its letters, or an array; or a sequence


class Part(ABC):
    """A column of a file, to be read by chunks of rows: by any number of threads and, once pickled, processes.

    Parameters
    ----------
    path, name : str
        Of the file and the column.
    field : Field
        What it is.
    bounds : ndarray of intp, shape (chunks + 1,)
        The first row of each chunk, and behind them the number of rows.
    """

    def __init__(self, path: str, name: str, field: Field, bounds: NDArray[np.intp]) -> None:
        self.path = path
        self.name = name
        self.field = field
        self.bounds = bounds

    @abstractmethod
    def chunk(self, number: int) -> Any:
        """Return the rows of a chunk, as they stand in a block."""


def column_of(part: Part, whole: bool) -> Any:
    """Return the array-like of a column, to be decoded whole or chunk by chunk."""
    if part.field.ragged:
        if not whole:
            return ChunkedSequences(part)
        decoder = Decoder(part)
        return DecodedSequences(DecodedArray(decoder, "values"), DecodedArray(decoder, "offsets"), part.field)
    return DecodedArray(Decoder(part)) if whole else ChunkedArray(part)


def columns_within(memory: int, sizes: Mapping[str, int], part: Callable[[str], Part]) -> dict[str, Any]:
    """Return array-likes by name: as many as fit into memory decoded whole, the smallest first, others by chunks."""
    found = {}
    for name in sorted(sizes, key=lambda name: sizes[name]):
        found[name] = column_of(part(name), whole=sizes[name] <= memory)
        memory -= sizes[name]
    return found


class Decoder:
    """Decodes a column once, in each process that needs it."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self._whole: Any = None
        self._process = os.getpid()
        self._lock = threading.Lock()

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.part.bounds[-1])

    def array(self, what: str) -> NDArray[Any]:
        """Return all rows, or of sequences their ``'values'`` or ``'offsets'``."""
        if self._process != os.getpid():
            self._process, self._lock = os.getpid(), threading.Lock()  # which a thread held that was not forked
        with self._lock:
            if self._whole is None:
                self._whole = _decoded(self.part)
        array: NDArray[Any] = getattr(self._whole, what) if what else self._whole
        return array

    def __reduce__(self) -> Any:
        return Decoder, (self.part,)

    def __repr__(self) -> str:
        return f"column {self.part.name!r} of {self.part.path!r}"


class Decoded:
    """What has been decoded, in the process that it was sent to."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array

    def array(self, what: str) -> NDArray[Any]:
        """Return it."""
        return self._array

    def __repr__(self) -> str:
        return "a column that was sent"


class DecodedArray(LazyArray):
    """A column that is decoded when it is first needed, and then an array in memory, read-only.

    It is pickled as where it lies; workers of a pool share the array.

    Parameters
    ----------
    source : Decoder or Decoded
        Where it comes from.
    what : str, optional
        What of it.
    """

    cheap = resident = views = True

    def __init__(self, source: Decoder | Decoded, what: str = "") -> None:
        self._source = source
        self._what = what
        self._made: ArrayColumn | None = None

    @property
    def array(self) -> NDArray[Any]:
        """The array."""
        return self._source.array(self._what)

    @property
    def _column(self) -> ArrayColumn:  # type: ignore[override]
        if self._made is None:
            self._made = array_column(self.array)
        return self._made

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """Number of rows, and shape of one."""
        if isinstance(self._source, Decoded) or self._what:
            return self.array.shape
        return (self._source.rows, *shape_of(self._source.part.field))

    @property
    def dtype(self) -> np.dtype[Any]:  # type: ignore[override]
        """Type of the elements."""
        if isinstance(self._source, Decoded) or self._what:
            return self.array.dtype
        return dtype_of(self._source.part.field)

    @property
    def takes_out(self) -> bool:  # type: ignore[override]
        """Whether `gather` takes a buffer to write into."""
        return not self.dtype.hasobject

    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> Any:
        return self._column.gather(indices, out)

    def fresh(self, indices: Indices) -> Any:
        """Return the rows at `indices` in fresh memory."""
        return self._column.fresh(indices)

    def view(self, indices: slice) -> Any:
        return self._column.view(indices)

    def expect(self, indices: Indices) -> bool:
        return False

    def reduced(self) -> Any:
        return _sent, (self.array,)

    def __getitem__(self, index: Any) -> Any:
        return self.array[index]

    def __reduce__(self) -> Any:
        return DecodedArray, (self._source, self._what)

    def __repr__(self) -> str:
        return f"<{self.dtype} {self.shape}: {self._source}>"


class ChunkedArray(LazyArray):
    """A column whose chunks are decoded as they are needed, those last used being kept.

    Parameters
    ----------
    part : Part
        Where they are read.
    """

    cheap = resident = False

    def __init__(self, part: Part) -> None:
        self._part = part
        self._column: Column = ChunkedColumn(PartChunks(part), part.bounds)
        self.shape = (int(part.bounds[-1]), *shape_of(part.field))
        self.dtype = dtype_of(part.field)
        self.takes_out = self._column.takes_out
        self.window = self._column.window

    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> Any:
        return self._column.gather(indices) if out is None else self._column.gather(indices, out)

    def expect(self, indices: Indices) -> bool:
        return False

    def reduced(self) -> Any:
        return self.__reduce__()

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, tuple) or index is Ellipsis or index is None:
            return np.asarray(self)[index]
        return samples_at(self, index)

    def __reduce__(self) -> Any:
        return ChunkedArray, (self._part,)

    def __repr__(self) -> str:
        return f"<{self.dtype} {self.shape}: column {self._part.name!r} of {self._part.path!r}>"


class DecodedSequences(SequenceColumn):
    """Sequences that are decoded when they are first needed, and then lie in memory.

    Parameters
    ----------
    values, offsets : array-like
        Those of a `Ragged`.
    field : Field
        What they are.
    """

    resident = True

    def __init__(self, values: DecodedArray, offsets: DecodedArray, field: Field) -> None:
        self._dtype, self._inner_shape = field.dtype, shape_of(field)[1:]
        self._values = values
        self._offsets = offsets
        self._field = field
        self._ragged: Ragged | None = None

    @property
    def whole(self) -> Ragged:
        """All of them."""
        if self._ragged is None:
            self._ragged = Ragged(self._values.array, self._offsets.array)
        return self._ragged

    def __len__(self) -> int:
        source = self._offsets._source
        return source.rows if isinstance(source, Decoder) else len(self.whole)

    def lent(self, indices: Indices) -> Ragged:
        return self.whole.lent(indices)

    def lengths_at(self, indices: Indices) -> NDArray[Any]:
        return self.whole.lengths_at(indices)

    def __reduce__(self) -> Any:
        return DecodedSequences, (self._values, self._offsets, self._field)

    def __repr__(self) -> str:
        return f"<{len(self)} sequences of {Field(self.dtype, self.inner_shape)}: {self._values._source}>"


class ChunkedSequences(SequenceColumn):
    """Sequences whose chunks are decoded as they are needed, those last used being kept.

    Parameters
    ----------
    part : Part
        Where they are read.
    """

    resident = False

    def __init__(self, part: Part) -> None:
        self._dtype, self._inner_shape = part.field.dtype, shape_of(part.field)[1:]
        self._part = part
        self._kept = Kept(KEPT)

    def __len__(self) -> int:
        return int(self._part.bounds[-1])

    def lent(self, indices: Indices) -> Ragged:
        rows = np.arange(indices.start, indices.stop) if isinstance(indices, slice) else indices
        owners = np.searchsorted(self._part.bounds, rows, "right") - 1
        found, places = [], [np.empty(0, np.intp)]
        for owner in np.unique(owners).tolist():
            there = np.flatnonzero(owners == owner)
            found.append(self._chunk(owner).gather(rows[there] - self._part.bounds[owner]))
            places.append(there)
        back = np.empty(len(rows), np.intp)
        back[np.concatenate(places)] = np.arange(len(rows))
        ragged: Ragged = joined_chunks(found, self._part.field)
        return ragged.lent(back)

    def lengths_at(self, indices: Indices) -> NDArray[Any]:
        return self.lent(indices).lengths

    def __reduce__(self) -> Any:
        return ChunkedSequences, (self._part,)

    def __repr__(self) -> str:
        field = Field(self.dtype, self.inner_shape)
        return f"<{len(self)} sequences of {field}: column {self._part.name!r} of {self._part.path!r}>"

    def _chunk(self, number: int) -> Ragged:
        kept = self._kept.get(number)
        if kept is None:
            kept = self._part.chunk(number)
            self._kept.put(number, kept)
        ragged: Ragged = kept
        return ragged


class PartChunks:
    """The chunks of a column, as `ChunkedColumn` reads them."""

    constant = True

    def __init__(self, part: Part) -> None:
        self._part = part
        self.rows = int(np.diff(part.bounds).max(initial=0))
        self.dtype = dtype_of(part.field)
        self.shape = (int(part.bounds[-1]), *shape_of(part.field))

    def between(self, start: int, stop: int) -> NDArray[Any]:
        """Return the rows from `start` to `stop`."""
        first, last = (int(np.searchsorted(self._part.bounds, row, "right")) - 1 for row in (start, stop - 1))
        if start >= stop:
            return np.empty((0, *self.shape[1:]), self.dtype)
        rows = np.concatenate(list(self.read(list(range(first, last + 1)))), dtype=self.dtype)
        begin = int(self._part.bounds[first])
        return rows[start - begin : stop - begin]

    def read(self, numbers: list[int]) -> Iterator[NDArray[Any]]:
        """Yield the rows of chunks."""
        return map(self._part.chunk, numbers)


def dtype_of(field: Field) -> np.dtype[Any]:
    """Return the dtype of an array of values."""
    return field.dtype if field.fixed else np.dtype(object)


def shape_of(field: Field) -> tuple[int, ...]:
    """Return the shape of a value in such an array; None of it, if it is an object. Of sequences, with a 0 first."""
    if field.ragged:
        return tuple(side or 0 for side in field.shape)
    return tuple(side or 0 for side in field.shape) if field.fixed else ()


def nothing(field: Field) -> Any:
    """Return a column without rows."""
    if field.ragged:
        return Ragged(np.empty(shape_of(field), field.dtype), [0])
    return np.empty((0, *shape_of(field)), dtype_of(field))


def estimated(field: Field, rows: int, stored: int) -> int:
    """Return how many bytes a column takes in memory that takes so many bytes in a file, before it is compressed.

    >>> estimated(Field(np.dtype("f4"), (3,)), 100, 1), estimated(Field(np.dtype("U")), 100, 700)
    (1200, 10300)
    """
    if field.fixed:
        return rows * field.row_bytes
    return stored + rows * (OFFSET if field.ragged else OBJECT)


def joined_chunks(chunks: list[Any], field: Field) -> Any:
    """Return chunks of rows, one behind the other."""
    if len(chunks) == 1:
        return chunks[0]
    if not field.ragged:  # with a dtype, since else bytes would be put into the order of this machine
        return np.concatenate([nothing(field), *chunks], dtype=dtype_of(field))
    values = [np.empty(shape_of(field), field.dtype), *(chunk.values for chunk in chunks)]
    lengths = [0, *(length for chunk in chunks for length in chunk.lengths.tolist())]
    return Ragged(np.concatenate(values, dtype=field.dtype), np.cumsum(lengths))


def _decoded(part: Part) -> Any:
    """Return all rows of a column."""
    numbers = range(len(part.bounds) - 1)
    if part.field.ragged:
        return joined_chunks(list(map(part.chunk, numbers)), part.field)
    whole = np.empty((int(part.bounds[-1]), *shape_of(part.field)), dtype_of(part.field))
    for number in numbers:
        whole[part.bounds[number] : part.bounds[number + 1]] = part.chunk(number)
    whole.flags.writeable = False
    return whole


def _sent(array: NDArray[Any]) -> DecodedArray:
    return DecodedArray(Decoded(array))
