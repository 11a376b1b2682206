"""Columns over whatever else users bring: lists, objects with `gather`, `iloc` or just `__getitem__`."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._indices import Indices
from batchup.columns.abstract import ArrayLike, Column, OwnColumn
from batchup.columns.arrays import array_column
from batchup.columns.datasets import dataset_column, is_dataset
from batchup.columns.rectangles import RectangleColumn
from batchup.columns.sequence_column import SequenceColumn
from batchup.columns.stores import is_tables, is_zarr, tables_column, zarr_column
from batchup.errors import InvalidTypeError, InvalidValueError, LengthError


class GatherColumn:
    """An array-like that has a `gather` method of its own."""

    cheap = resident = views = False
    window = 0

    def __init__(self, data: Any) -> None:
        self._data = data
        self.dtype: np.dtype[Any] | None = None
        self.sample_shape: tuple[int, ...] | None = None
        if getattr(data, "dtype", None) is not None and getattr(data, "shape", None) is not None:
            self.dtype, self.sample_shape = np.dtype(data.dtype), tuple(data.shape[1:])
        self.takes_out = self.dtype is not None

    def __len__(self) -> int:
        return len(self._data)

    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> Any:
        indices = as_integers(indices)
        batch = self._data.gather(indices) if out is None else self._data.gather(indices, out=out)
        return check_length(out if batch is None and out is not None else batch, indices, self._data)

    def view(self, indices: slice) -> Any:
        return self.gather(indices)

    def expect(self, indices: Indices) -> bool:
        return expected(self._data, indices)


class LaidOutColumn:
    """Sequences of different lengths, or rectangles made of them: samples that are not stacked."""

    sample_shape = None
    takes_out = cheap = views = False
    window = 0

    def __init__(self, data: SequenceColumn | RectangleColumn) -> None:
        self._data = data
        self.dtype = data.dtype
        self.resident = data.resident

    def __len__(self) -> int:
        return len(self._data)

    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> Any:
        return self._data.gather(indices)

    def view(self, indices: slice) -> Any:
        return self._data.gather(indices)

    def expect(self, indices: Indices) -> bool:
        return self._data.expect(indices)


class IndexedColumn:
    """An array-like of which no more is known than `__len__` and `__getitem__`."""

    dtype = sample_shape = None
    takes_out = cheap = resident = views = False
    window = 0

    def __init__(self, data: ArrayLike) -> None:
        self._data = data
        self._rows = getattr(data, "iloc", data)  # pandas: by place, not by label
        self._one_by_one = self._by_arrays = False
        self._nothing: NDArray[Any] = np.empty(0)

    def __len__(self) -> int:
        return len(self._data)

    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> Any:
        indices = as_integers(indices)
        if self._one_by_one:
            return self._stack(indices)
        try:
            batch = self._by_array(indices)
        except (TypeError, ValueError, LookupError, NotImplementedError) as error:
            batch = self._try_one_by_one(indices, error)
        if self._rows is not self._data:
            batch = np.array(batch)
        return check_length(batch, indices, self._data)

    def view(self, indices: slice) -> Any:
        return self.gather(indices)

    def expect(self, indices: Indices) -> bool:
        return expected(self._data, indices)

    def _by_array(self, indices: NDArray[np.intp]) -> Any:
        """Read by an index array; the first time never by one of length 1, which could be taken for an int."""
        if len(indices) == 1 and not self._by_arrays:
            return self._rows[np.repeat(indices, 2)][:1]
        batch = self._rows[indices]
        self._by_arrays = self._by_arrays or len(indices) > 1
        return batch

    def _try_one_by_one(self, indices: NDArray[np.intp], error: Exception) -> NDArray[Any]:
        """Read by single ints; if that fails too, let the error of the array index stand."""
        try:
            batch = self._stack(indices)
        except MemoryError:
            raise
        except Exception as other:
            refused = isinstance(other, (TypeError, ValueError, LookupError, NotImplementedError))
            if refused or not isinstance(error, TypeError):
                raise error from None  # it says more
            raise other from None  # arrays are not taken at all; this is about a sample
        self._one_by_one = isinstance(error, TypeError) and len(indices) > 0
        return batch

    def _stack(self, indices: NDArray[np.intp]) -> NDArray[Any]:
        if len(indices) == 0:
            return self._nothing
        batch = stack(self._rows[i] for i in indices.tolist())
        self._nothing = np.empty((0, *batch.shape[1:]), batch.dtype)
        return batch


class ListColumn:
    """A list of arrays of one shape and dtype."""

    takes_out = True
    cheap = resident = views = False
    window = 0

    def __init__(self, data: list[Any]) -> None:
        self._data = data
        self.dtype: np.dtype[Any] = data[0].dtype
        self.sample_shape: tuple[int, ...] = data[0].shape
        for i, sample in enumerate(data):
            if sample.shape != self.sample_shape or sample.dtype != self.dtype:
                raise InvalidValueError(
                    f"the arrays of a list must share one shape and dtype: number 0 is {self.dtype} "
                    f"{self.sample_shape}, number {i} is {sample.dtype} {sample.shape}; sequences of different lengths "
                    "make a column as batchup.Ragged.of(list)"
                )

    def __len__(self) -> int:
        return len(self._data)

    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> NDArray[Any]:
        places = as_integers(indices).tolist()
        if not places:
            return np.empty((0, *self.sample_shape), self.dtype)
        return np.stack([self._data[i] for i in places], out=out)

    def view(self, indices: slice) -> NDArray[Any]:
        return self.gather(indices)

    def expect(self, indices: Indices) -> bool:
        return False


def as_column(data: Any) -> Column:
    """Return a column over an array-like.

    Raises
    ------
    InvalidTypeError
        If `data` has no length, cannot be indexed, or is a 0-dimensional array.
    """
    if type(data) in (np.ndarray, np.memmap):
        if data.ndim == 0:
            raise InvalidTypeError("an array of samples must have at least 1 dimension, got a 0-dimensional one")
        return array_column(data)
    if isinstance(data, OwnColumn):
        return data  # type: ignore[return-value]
    if isinstance(data, (SequenceColumn, RectangleColumn)):
        return LaidOutColumn(data)
    if is_dataset(data):
        return dataset_column(data)
    if is_zarr(data):
        return zarr_column(data)
    if is_tables(data):
        return tables_column(data)
    if callable(getattr(data, "gather", None)) and not _gathers_otherwise(data):
        return GatherColumn(data)
    if isinstance(data, list):
        return _list_column(data)
    if isinstance(data, (str, bytes, dict, tuple)) or not isinstance(data, ArrayLike):
        raise InvalidTypeError(
            f"expected an array-like (with __len__ and __getitem__ for an integer array), got {type(data).__name__}"
        )
    return IndexedColumn(data)


def _gathers_otherwise(data: Any) -> bool:
    """Return whether `gather` means something else here: tensors have one, and so have the columns of polars."""
    return hasattr(data, "__dlpack__") or type(data).__module__.partition(".")[0] == "polars"


def expected(data: Any, indices: Indices) -> bool:
    """Tell an object of the user's what will soon be read, if it wants to know."""
    expect = getattr(data, "expect", None)
    if not callable(expect):
        return False
    try:
        return expect(as_integers(indices)) is not False
    except Exception as error:  # noqa: BLE001  a hint is never a reason to stop
        warnings.warn(f"{type(data).__name__}.expect failed: {error!r}", RuntimeWarning, stacklevel=2)
        return False


def as_integers(indices: Indices) -> NDArray[np.intp]:
    """Return indices as an array of its own: what users bring is never asked for a slice, and may sort in place."""
    return np.arange(indices.start, indices.stop, dtype=np.intp) if isinstance(indices, slice) else indices.copy()


def stack(samples: Iterable[Any]) -> NDArray[Any]:
    """Join single samples along a new first axis."""
    return np.stack([np.asarray(sample) for sample in samples])


def check_length(batch: Any, indices: NDArray[np.intp], data: Any) -> Any:
    """Return `batch`, unless it has another number of samples than was asked for."""
    if not hasattr(batch, "__len__") or len(batch) != len(indices):
        came = f"{len(batch)} samples" if hasattr(batch, "__len__") else type(batch).__name__
        raise LengthError(f"{type(data).__name__} was asked for {len(indices)} samples and gave {came}")
    return batch


def _list_column(data: list[Any]) -> Column:
    if data and all(isinstance(sample, np.ndarray) and sample.ndim for sample in data):
        return ListColumn(data)
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise InvalidValueError(f"a list must hold samples of one shape: {error}") from None
    return array_column(array)
