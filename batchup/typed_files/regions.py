"""Samples that are regions of features: equally long, of different lengths, of any shape; and their rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from batchup._indices import Indices, places
from batchup.columns import OwnColumn, Ragged, SequenceColumn, as_column
from batchup.columns.datasets import reopened
from batchup.columns.files import file_status

if TYPE_CHECKING:
    from batchup.typed_files.proxy import Proxy

Transform = Callable[[Any], Any]


class Samples(OwnColumn):
    """What the samples of features have in common, as columns and as array-likes.

    Attributes
    ----------
    dtype, sample_shape
        Of a sample; None where it is not known before one is read.
    window : int
        For how many bytes of samples to read at once; see `batchup.columns.Column`.
    """

    cheap = resident = views = False
    dtype: np.dtype[Any] | None = None
    sample_shape: tuple[int, ...] | None = None
    window = 0

    @property
    def takes_out(self) -> bool:
        """Whether `gather` can be given a buffer."""
        return self.sample_shape is not None

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Number of samples, and shape of one."""
        return None if self.sample_shape is None else (len(self), *self.sample_shape)

    def __len__(self) -> int:
        raise NotImplementedError

    def __getitem__(self, index: Any) -> Any:
        place = places(index, len(self))
        return self.gather(np.array([place]))[0] if isinstance(place, int) else self.gather(place)

    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> Any:
        """Return samples, stacked."""
        raise NotImplementedError

    def view(self, indices: slice) -> Any:
        """Return the samples of a slice."""
        return self.gather(indices)

    def expect(self, indices: Indices) -> bool:
        """Tell what will soon be read; return whether it has to be fetched."""
        return False


class Stored(Samples):
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
        self.dtype, self.window = self.rows.dtype, self.rows.window
        if self.rows.takes_out:
            self.sample_shape = self.rows.sample_shape

    def __len__(self) -> int:
        return len(self.rows)

    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> Any:
        return self.rows.gather(indices) if out is None else self.rows.gather(indices, out)

    def expect(self, indices: Indices) -> bool:
        return self.rows.expect(indices)

    def __reduce__(self) -> Any:
        return Stored, self._place


class Live(Samples):
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
        if not dtype.hasobject and not (proxy.feature is not None and proxy.feature.__t__):
            self.dtype, self.sample_shape = dtype, shape[1:]

    def __len__(self) -> int:
        return len(self._proxy)

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


class UntilWritten(Samples):
    """Samples that lie in a file as they are, as long as nobody has written to it; then they are read in another way.

    Parameters
    ----------
    stored : RecordColumn or Regions
        The samples as they lie in the file.
    live : Samples
        The same, as they are read when others may write to it.
    proxy : Proxy
        The feature.
    status : tuple of int
        Of the file when `stored` was made.
    """

    def __init__(self, stored: Any, live: Samples, proxy: Proxy, status: tuple[int, int]) -> None:
        self._stored = stored
        self._live = live
        self._proxy = proxy
        self._status = status
        self.dtype, self.sample_shape = live.dtype, live.sample_shape

    def __len__(self) -> int:
        return len(self._live)

    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> Any:
        return (self._stored if self._unwritten() else self._live).gather(indices, out)

    def expect(self, indices: Indices) -> bool:
        return bool(self._stored.expect(indices)) if self._unwritten() else False

    def _unwritten(self) -> bool:
        handle = self._proxy.owner._contents.handle
        return not handle.being_written and file_status(handle.path) == self._status


class Changed(Samples):
    """Rows that go through functions when they are read.

    Parameters
    ----------
    rows : Column
        The rows.
    functions : sequence of callable
        They are given many rows at a time.
    """

    def __init__(self, rows: Any, functions: Sequence[Transform]) -> None:
        self._rows = rows
        self._functions = list(functions)

    def __len__(self) -> int:
        return len(self._rows)

    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> Any:
        return reduce(lambda done, function: function(done), self._functions, self._rows.gather(indices))

    def expect(self, indices: Indices) -> bool:
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


class Regions(Samples):
    """Samples of equally many rows each, anywhere among them.

    Parameters
    ----------
    rows : Column
        The rows.
    starts : ndarray of int
        The first row of each sample.
    length : int or None
        The number of rows of a sample; None for samples that are a row, without an axis for it.
    """

    def __init__(self, rows: Any, starts: NDArray[np.int64], length: int | None) -> None:
        self._rows = rows
        self._starts = starts
        self._length = length
        self._steps = np.arange(1 if length is None else length)
        self.dtype, self.window = rows.dtype, rows.window
        if rows.sample_shape is not None and not rows.dtype.hasobject:
            self.sample_shape = rows.sample_shape if length is None else (length, *rows.sample_shape)

    def __len__(self) -> int:
        return len(self._starts)

    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> Any:
        """Return samples, stacked; the rows of all of them are read in one go."""
        rows = self._rows_of(indices)
        if out is not None:
            self._rows.gather(rows, out.reshape(-1, *self._rows.sample_shape))
            return out
        found = self._rows.gather(rows)
        many = len(self._starts[indices])
        return found if self._length is None else found.reshape(many, self._length, *found.shape[1:])

    def expect(self, indices: Indices) -> bool:
        return bool(self._rows.expect(self._rows_of(indices)))

    def _rows_of(self, indices: Indices) -> NDArray[np.intp]:
        return np.ascontiguousarray((self._starts[indices][:, None] + self._steps).reshape(-1), np.intp)


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
        return bool(self._rows.expect(_expanded(self._starts[indices], self._lengths[indices])))


class Arrays(Samples):
    """Samples of any shape, from their elements and their shapes; batches are arrays of arrays.

    Parameters
    ----------
    elements, shapes
        Columns with the elements of each sample, and its shape.
    """

    def __init__(self, elements: Any, shapes: Any) -> None:
        self._elements = elements
        self._shapes = shapes

    def __len__(self) -> int:
        return len(self._elements)

    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> NDArray[Any]:
        pairs = zip(self._elements.gather(indices), self._shapes.gather(indices), strict=True)
        return _apart([flat.reshape(shape) for flat, shape in pairs])


class Texts(Samples):
    """Samples of different numbers of texts; batches are arrays of arrays.

    Parameters
    ----------
    rows : Column
        The texts.
    starts, stops : ndarray of int
        The first text of each sample, and the one behind its last.
    """

    def __init__(self, rows: Any, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> None:
        self._rows = rows
        self._starts = starts
        self._lengths = stops - starts

    def __len__(self) -> int:
        return len(self._starts)

    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> NDArray[Any]:
        lengths = self._lengths[indices]
        texts = self._rows.gather(_expanded(self._starts[indices], lengths))
        return _apart(np.split(texts, np.cumsum(lengths)[:-1]) if len(lengths) else [])


def _apart(arrays: Sequence[Any]) -> NDArray[Any]:
    """Return an array of arrays, of equal shapes or not."""
    samples = np.empty(len(arrays), object)
    for place, array in enumerate(arrays):
        samples[place] = array
    return samples
