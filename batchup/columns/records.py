"""Rows that lie in a file inside records, many rows of one kind in each, as an array-like and a column."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from batchup._indices import Indices
from batchup.columns.abstract import OwnColumn, samples_at
from batchup.columns.readahead import Place
from batchup.columns.storage import Storage
from batchup.errors import InvalidValueError

LOOPED = 4096  # bytes of a row from which on a loop over rows costs less than a second copy
WIDE = 2**14  # bytes of a row from which on it costs more to copy it twice than to look where it is
LONG = 64  # rows of a sample from which on it is looked at piece by piece
RUN = 8  # rows that must follow one another, on average, for it to pay to copy them together


class Layout(Protocol):
    """Where the rows are in a file."""

    @property
    def length(self) -> int:
        """Number of rows."""

    @property
    def row_bytes(self) -> int:
        """Size of a row."""

    @property
    def gapless(self) -> bool:
        """Whether all rows lie one behind the other."""

    def starts(self, indices: Any) -> Any:
        """Return the first byte of each row."""

    def pieces(self, start: int, stop: int) -> Iterator[Place]:
        """Yield the places of the rows from `start` to `stop`."""


class Records(NamedTuple):
    """A layout in records: `rows` of `row_bytes` one behind the other from `offset` on, again in each record.

    Attributes
    ----------
    rows, row_bytes, offset, record_bytes : int
        Of a record.
    length : int
        Number of rows in all.
    tail_offset : int
        Where in the file the rows that fill no record begin.
    """

    rows: int
    row_bytes: int
    offset: int
    record_bytes: int
    length: int
    tail_offset: int

    @property
    def gapless(self) -> bool:
        """Whether all rows lie one behind the other, since a record holds nothing else."""
        return self.record_bytes == self.rows * self.row_bytes

    def starts(self, indices: Any) -> Any:
        """Return the first byte of each row."""
        record = indices // self.rows
        starts = indices * self.row_bytes + record * (self.record_bytes - self.rows * self.row_bytes) + self.offset
        whole = self.length // self.rows
        if self.length % self.rows:
            behind = self.tail_offset - self.offset - whole * self.record_bytes
            starts = starts + behind * (record == whole)
        return starts

    def pieces(self, start: int, stop: int) -> Iterator[Place]:
        """Yield the places of the rows from `start` to `stop`."""
        if self.gapless:
            yield start * self.row_bytes, (stop - start) * self.row_bytes
            return
        whole = self.length - self.length % self.rows
        while start < stop:
            record, place = divmod(start, self.rows)
            end = min(stop, start - place + self.rows)
            base = record * self.record_bytes + self.offset if start < whole else self.tail_offset
            yield base + place * self.row_bytes, (end - start) * self.row_bytes
            start = end


class Groups:
    """A layout of samples that are some rows of another layout, which lie one behind the other there.

    Parameters
    ----------
    starts : ndarray of int64
        The first byte of each sample.
    row_bytes : int
        Size of a sample.
    """

    gapless = False

    def __init__(self, starts: NDArray[np.int64], row_bytes: int) -> None:
        self._starts = starts
        self.row_bytes = row_bytes
        self.length = len(starts)

    def starts(self, indices: Any) -> Any:
        """Return the first byte of each sample."""
        return self._starts[indices]

    def pieces(self, start: int, stop: int) -> Iterator[Place]:
        """Yield the places of the samples from `start` to `stop`, those one behind the other together."""
        starts = self._starts[start:stop]
        bounds = [0, *(np.flatnonzero(np.diff(starts) != self.row_bytes) + 1).tolist(), len(starts)]
        for first, last in pairwise(bounds):
            if last > first:
                yield int(starts[first]), (last - first) * self.row_bytes


class RecordColumn(OwnColumn):
    """The rows of one field of the records of a file, numbered through all records.

    It stands where an array could: in an `ArrayDataSource`, before square brackets, in `numpy.asarray`. It is pickled
    as the name of its file, and can be read from any number of threads and processes.

    Attributes
    ----------
    shape : tuple of int
        Number of rows, and shape of one.
    dtype : numpy.dtype
        Type of the elements.
    sample_shape : tuple of int
        Shape of a row.
    cheap, resident, views, takes_out : bool
        What readers want to know: whether rows are read by copying memory; whether a read never waits for a disk;
        whether any slice can be viewed; whether rows are best read into a buffer.
    window : int
        How many bytes of rows are best read at once; 0 for batch by batch.

    Examples
    --------
    >>> import numpy as np
    >>> from batchup import hypersequence as hs
    >>> with hs.HyperSequenceWriter("squares.hsq", batch_size=4) as writer:
    ...     writer.extend(inputs=np.arange(10), outputs=np.arange(10) ** 2)
    >>> squares = hs.HyperSequenceFile("squares.hsq").columns["o0"]
    >>> squares.shape, squares[[9, 0]], squares[2:5]
    ((10,), array([81,  0]), array([ 4,  9, 16]))
    """

    def __init__(
        self, storage: Storage, layout: Layout, dtype: np.dtype[Any], shape: tuple[int, ...], rebuilt: tuple[Any, ...]
    ) -> None:
        self.dtype = dtype
        self.shape = (layout.length, *shape)
        self.sample_shape = shape
        self.cheap, self.resident = True, False
        self.views = layout.gapless
        self.window = storage.window if layout.row_bytes < WIDE else 0
        self.takes_out = layout.row_bytes >= LOOPED or self.window > 0
        self._storage = storage
        self._layout = layout
        self._rebuilt = rebuilt

    def __len__(self) -> int:
        return self._layout.length

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice) and index.step in (None, 1):
            start, stop, _ = index.indices(len(self))
            return self.gather(slice(start, max(start, stop)))
        return samples_at(self, index)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise InvalidValueError("the rows lie in records: an array of them is a copy")
        return np.asarray(self.gather(slice(0, len(self))), dtype)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._storage.path!r}: shape {self.shape}, dtype {self.dtype}>"

    def __reduce__(self) -> Any:
        return self._rebuilt

    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the rows at `indices`, which are in range: a C-contiguous array of intp, or a slice of step 1."""
        length = indices.stop - indices.start if isinstance(indices, slice) else len(indices)
        if out is not None and not (
            out.dtype == self.dtype and out.shape == (length, *self.sample_shape) and out.flags.c_contiguous
        ):
            raise InvalidValueError(
                f"out must be {self.dtype} of shape {(length, *self.sample_shape)}, C-contiguous, got {out.dtype} of "
                f"shape {out.shape}"
            )
        pieces = self._stretches(indices) if length and self._layout.row_bytes else []
        if pieces is None and (out is None or not self.takes_out):
            found = self._cells(indices)
            if found is not None:
                return found if out is None else _put(found, out)
        if out is None:
            out = np.empty((length, *self.sample_shape), self.dtype)
        room = out.reshape(-1).view(np.uint8)
        if pieces is None:
            self._storage.copy_rows(self._layout.starts(indices), self._layout.row_bytes, room)
        elif pieces:
            self._storage.copy(pieces, room)
        return out

    def grouped(self, firsts: NDArray[np.int64], length: int | None) -> RecordColumn | None:
        """Return a column whose samples are some rows each; None if those of a sample do not lie in one piece.

        Parameters
        ----------
        firsts : ndarray of int
            The first row of each sample.
        length : int or None
            The number of rows of a sample; None for samples that are a row, without an axis for it.
        """
        layout, rows = self._layout, length or 1
        starts = np.asarray(layout.starts(firsts), np.int64)
        if not all(_in_one_piece(layout, starts, firsts, rows)):
            return None
        shape = self.sample_shape if length is None else (length, *self.sample_shape)
        groups = Groups(starts, rows * layout.row_bytes)
        return RecordColumn(self._storage, groups, self.dtype, shape, (_grouped_again, (self, firsts, length)))

    def fresh(self, indices: Indices) -> NDArray[Any]:
        """Return the samples at `indices` in fresh memory, by fancy indexing."""
        if isinstance(indices, slice) or not len(indices) or not self._layout.row_bytes:
            return self.gather(indices)
        found = self._cells(indices)
        return self.gather(indices) if found is None else found

    def view(self, indices: slice) -> NDArray[Any]:
        """Return the rows of a slice, read-only, without a copy if they lie in one record."""
        pieces = list(self._layout.pieces(indices.start, indices.stop))
        if len(pieces) == 1:
            flat = self._storage.array(*pieces[0]).view(self.dtype)
            return np.reshape(flat, (indices.stop - indices.start, *self.sample_shape))
        rows = self.gather(indices)
        rows.flags.writeable = False
        return rows

    def expect(self, indices: Indices) -> bool:
        """Have the rows at `indices` fetched, which will soon be read; return whether they were not in memory."""
        readahead = self._storage.readahead
        if not isinstance(indices, slice):
            return readahead.expect(self._layout.starts(indices), self._layout.row_bytes)
        pieces = list(self._layout.pieces(indices.start, indices.stop))
        return readahead.expect(
            np.array([start for start, _ in pieces], np.int64), max([size for _, size in pieces], default=0)
        )

    def _cells(self, indices: Any) -> NDArray[Any] | None:
        found = self._storage.cells(self._layout.starts(indices), self._layout.row_bytes)
        return None if found is None else found.view(self.dtype).reshape(len(indices), *self.sample_shape)

    def _stretches(self, indices: Indices) -> list[Place] | None:
        """Return the places of rows that follow one another in long runs; None if they do not."""
        if isinstance(indices, slice):
            return list(self._layout.pieces(indices.start, indices.stop))
        runs = _runs(indices)
        return None if runs is None else [piece for start, stop in runs for piece in self._layout.pieces(start, stop)]


def _grouped_again(rows: RecordColumn, firsts: NDArray[np.int64], length: int | None) -> RecordColumn:
    grouped = rows.grouped(firsts, length)
    assert grouped is not None
    return grouped


def _in_one_piece(
    layout: Layout, starts: NDArray[np.int64], firsts: NDArray[np.int64], length: int
) -> Iterator[bool | np.bool_]:
    """Yield for some samples, or for a row of all, whether they lie where they should."""
    if length <= LONG:
        for row in range(1, length):
            yield (layout.starts(firsts + row) == starts + row * layout.row_bytes).all()
        return
    for first in firsts.tolist():
        places = list(layout.pieces(first, first + length))
        yield all(one[0] + one[1] == other[0] for one, other in pairwise(places))


def _runs(indices: NDArray[np.intp]) -> list[tuple[int, int]] | None:
    """Return the first row of each run of rows that follow one another, and the one behind it; None if runs are short.

    >>> _runs(np.array([8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7, 8]))
    [(8, 16), (0, 9)]
    """
    n = len(indices)
    if n < RUN or (indices[1] - indices[0] != 1 and indices[n // 2] - indices[n // 2 - 1] != 1):
        return None
    ends = (indices[1:] - indices[:-1] != 1).nonzero()[0]
    if len(ends) * RUN >= n:
        return None
    first, last = [0, *(ends + 1).tolist()], [*ends.tolist(), n - 1]
    return [(int(indices[i]), int(indices[j]) + 1) for i, j in zip(first, last, strict=True)]


def _put(rows: NDArray[Any], out: NDArray[Any]) -> NDArray[Any]:
    out[...] = rows
    return out
