"""Samples that are regions of features: equally long, of different lengths, of any shape; and their rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from batchup._indices import Indices
from batchup.columns import Ragged, SequenceColumn, as_column
from batchup.columns.datasets import reopened
from batchup.columns.files import file_status

if TYPE_CHECKING:
    from batchup.typed_files.proxy import Proxy

Transform = Callable[[Any], Any]


class Stored:
    """The rows of a dataset of a file that nobody writes to, pickled as where it lies.

    Parameters
    ----------
    path, name : str
        The file, and the dataset in it.
    status : tuple of int
        How the file must be found; see `batchup.columns.files.file_status`.
    """

    def __init__(self, path: str, name: str, status: tuple[int, int]) -> None:
        self._place = (os.path.abspath(path), name, status)
        self.rows = as_column(reopened(*self._place))
        self.dtype, self.sample_shape = self.rows.dtype, self.rows.sample_shape
        self.shape = None if self.sample_shape is None else (len(self.rows), *self.sample_shape)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        return self.gather(np.asarray(index, np.intp))

    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> Any:
        """Return rows."""
        return self.rows.gather(indices, out)

    def expect(self, indices: Indices) -> bool:
        """Tell what will soon be read."""
        return self.rows.expect(indices)

    def __reduce__(self) -> Any:
        return Stored, self._place


class Live:
    """The rows of a feature of a file that may be written to: each batch is read as they are then.

    Parameters
    ----------
    proxy : Proxy
        The feature.
    dtype, shape
        Of its dataset.
    """

    def __init__(self, proxy: Proxy, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        self._proxy = proxy
        plain = not dtype.hasobject and not (proxy.feature is not None and proxy.feature.__t__)
        self.dtype = dtype if plain else None
        self.shape = shape if plain else None
        self.sample_shape = shape[1:]

    def __len__(self) -> int:
        return len(self._proxy)

    def __getitem__(self, index: Any) -> Any:
        return self.gather(np.asarray(index, np.intp))

    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> Any:
        """Return rows, each read once, those that follow one another together."""
        wanted = np.arange(indices.start, indices.stop) if isinstance(indices, slice) else indices
        distinct, where = np.unique(wanted, return_inverse=True)
        runs = np.split(distinct, np.flatnonzero(np.diff(distinct) != 1) + 1)
        with self._proxy.owner._contents.use():
            parts = [self._proxy[int(run[0]) : int(run[-1]) + 1] for run in runs if len(run)]
            rows = np.concatenate(parts) if parts else self._proxy[:0]
        if out is None:
            return rows[where]
        out[...] = rows[where]
        return out


class UntilWritten:
    """Samples that lie in a file as they are, as long as nobody has written to it; then they are read in another way.

    Parameters
    ----------
    stored : RecordColumn or Regions
        The samples as they lie in the file.
    live
        The same, as they are read when others may write to it.
    proxy : Proxy
        The feature.
    status : tuple of int
        Of the file when `stored` was made.
    """

    def __init__(self, stored: Any, live: Any, proxy: Proxy, status: tuple[int, int]) -> None:
        self._stored = stored
        self._live = live
        self._proxy = proxy
        self._status = status
        self.dtype, self.shape = stored.dtype, stored.shape
        self.sample_shape = None if self.shape is None else self.shape[1:]

    def __len__(self) -> int:
        return len(self._live)

    def __getitem__(self, index: Any) -> Any:
        return self._live[index]

    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> Any:
        """Return samples."""
        return (self._stored if self._unwritten() else self._live).gather(indices, out)

    def expect(self, indices: Indices) -> bool:
        """Tell what will soon be read."""
        return bool(self._stored.expect(indices)) if self._unwritten() else False

    def _unwritten(self) -> bool:
        handle = self._proxy.owner._contents.handle
        return not handle.being_written and file_status(handle.path) == self._status


class Changed:
    """Rows that go through functions when they are read.

    Parameters
    ----------
    rows : Column
        The rows.
    functions : sequence of callable
        They are given many rows at a time.
    """

    dtype = shape = None

    def __init__(self, rows: Any, functions: Sequence[Transform]) -> None:
        self._rows = rows
        self._functions = list(functions)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        return self.gather(np.asarray(index, np.intp))

    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> Any:
        """Return rows, changed."""
        return reduce(lambda done, function: function(done), self._functions, self._rows.gather(indices))

    def expect(self, indices: Indices) -> bool:
        """Tell the rows what will soon be read."""
        return bool(self._rows.expect(indices))


def _expanded(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return the rows from each start on, one sample behind the other.

    >>> _expanded(np.array([7, 0]), np.array([2, 3]))
    array([7, 8, 0, 1, 2])
    """
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    rows: NDArray[np.intp] = np.arange(total, dtype=np.intp) + np.repeat(starts - (ends - lengths), lengths)
    return rows


class Regions:
    """Samples of equally many rows each, anywhere among them.

    Parameters
    ----------
    rows : Column
        The rows.
    starts : ndarray of int
        The first row of each sample.
    length : int
        The number of rows of a sample.
    scalar : bool
        Whether a sample is its only row.
    """

    def __init__(self, rows: Any, starts: NDArray[np.int64], length: int, scalar: bool) -> None:
        self._rows = rows
        self._starts = starts
        self._length = length
        scalar = scalar and length == 1
        self.dtype = getattr(rows, "dtype", None)
        self._inner = getattr(rows, "sample_shape", None)
        known = self.dtype is not None and self._inner is not None and not self.dtype.hasobject
        self.shape = (len(starts), *(() if scalar else (length,)), *(self._inner or ())) if known else None
        self._scalar = scalar

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: Any) -> Any:
        return self.gather(np.atleast_1d(np.asarray(index, np.intp)))

    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> Any:
        """Return samples, stacked; the rows of all of them are read in one go."""
        rows = self._rows_of(indices)
        if out is None or self._inner is None:
            found = self._rows.gather(rows)
            many = len(rows) // self._length if self._length else len(self._starts[indices])
            return found if self._scalar else found.reshape(many, self._length, *found.shape[1:])
        self._rows.gather(rows, out.reshape(-1, *self._inner))
        return out

    def expect(self, indices: Indices) -> bool:
        """Tell the rows what will soon be read."""
        expect = getattr(self._rows, "expect", None)
        return bool(expect(self._rows_of(indices))) if expect is not None else False

    def _rows_of(self, indices: Indices) -> NDArray[np.intp]:
        starts = self._starts[indices]
        return np.ascontiguousarray((starts[:, None] + np.arange(self._length)).reshape(-1), np.intp)


class RegionSequences(SequenceColumn):
    """Samples of different numbers of rows, anywhere among them.

    Parameters
    ----------
    rows : Column
        The rows.
    starts, stops : ndarray of int
        The first row of each sample, and the one behind its last.
    """

    def __init__(self, rows: Any, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> None:
        self._rows = rows
        self._starts = starts
        self._lengths = stops - starts
        first = rows.gather(np.zeros(0, np.intp))
        self._dtype, self._inner_shape = first.dtype, first.shape[1:]

    @property
    def resident(self) -> bool:
        return False

    def __len__(self) -> int:
        return len(self._starts)

    def lent(self, indices: Indices) -> Ragged:
        lengths = self._lengths[indices]
        values = self._rows.gather(_expanded(self._starts[indices], lengths))
        return Ragged(values, np.concatenate([[0], np.cumsum(lengths)]))

    def lengths_at(self, indices: Indices) -> NDArray[Any]:
        return self._lengths[indices]

    def expect(self, indices: Indices) -> bool:
        expect = getattr(self._rows, "expect", None)
        rows = _expanded(self._starts[indices], self._lengths[indices])
        return bool(expect(rows)) if expect is not None else False


class Arrays:
    """Samples of any shape, from their elements and their shapes; batches are arrays of objects.

    Parameters
    ----------
    elements, shapes
        Columns with the elements of each sample, and its shape.
    """

    dtype = shape = None

    def __init__(self, elements: Any, shapes: Any) -> None:
        self._elements = elements
        self._shapes = shapes

    def __len__(self) -> int:
        return len(self._elements)

    def __getitem__(self, index: Any) -> Any:
        return self.gather(np.atleast_1d(np.asarray(index, np.intp)))

    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return an array of arrays."""
        elements, shapes = list(self._elements.gather(indices)), list(self._shapes.gather(indices))
        samples = np.empty(len(elements), object)
        for place, (flat, shape) in enumerate(zip(elements, shapes, strict=True)):
            samples[place] = flat.reshape(shape)
        return samples


class Texts:
    """Samples of different numbers of texts; batches are arrays of arrays.

    Parameters
    ----------
    rows : Column
        The texts.
    starts, stops : ndarray of int
        The first text of each sample, and the one behind its last.
    """

    dtype = shape = None

    def __init__(self, rows: Any, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> None:
        self._rows = rows
        self._starts = starts
        self._lengths = stops - starts

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: Any) -> Any:
        return self.gather(np.atleast_1d(np.asarray(index, np.intp)))

    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return an array of arrays of texts."""
        lengths = self._lengths[indices]
        texts = self._rows.gather(_expanded(self._starts[indices], lengths))
        samples = np.empty(len(lengths), object)
        samples[:] = np.split(texts, np.cumsum(lengths)[:-1])
        return samples
