"""Array-likes that make their samples when they are read: scaled ones, and a choice of the rows of another."""

from __future__ import annotations

import math
import numbers
from abc import ABC, abstractmethod
from copyreg import __newobj__  # type: ignore[attr-defined]
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray

from batchup._indices import Indices, checked_indices
from batchup._repr import Represented
from batchup.columns.abstract import Column, OwnColumn
from batchup.columns.array_likes import as_column
from batchup.columns.files import Region, array_in, region_of
from batchup.errors import InvalidTypeError, InvalidValueError

BLOCK = 2**17  # bytes that are scaled at a time, so that they stay in the cache nearest to the processor


class LazyArray(NDArrayOperatorsMixin, Represented, OwnColumn, ABC):
    """What is indexed like an array of NumPy, and gathered from like a column; read-only.

    Operators, functions of NumPy, and the methods of arrays (``mean``, ``astype``, ...) make all of it first. Over an
    array in a mapped file, it is pickled (on Linux) as where that lies.

    Attributes
    ----------
    shape : tuple of int
        Number of samples, and the shape of one.
    dtype : numpy.dtype
        Type of the elements.
    takes_out : bool
        Whether `gather` takes a buffer to write into.
    views : bool
        False: samples have to be made.
    window : int
        0: it is as good to gather batch by batch.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    takes_out: bool
    views = False
    window = 0

    def __init__(self, array: Any) -> None:
        if len(getattr(array, "shape", ())) == 0 or not hasattr(array, "dtype"):
            raise InvalidTypeError(
                f"array must be an array (with dtype, shape and samples), got {type(array).__name__}"
            )
        self.array = array
        self._column: Column = as_column(array)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that all elements would take in memory."""
        return self.size * self.dtype.itemsize

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self.shape[1:]

    @property
    def cheap(self) -> bool:
        """Whether samples may be read ahead of need."""
        return self._column.cheap

    @property
    def resident(self) -> bool:
        """Whether a read waits for nobody, nor for a disk."""
        return self._column.resident

    @abstractmethod
    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> Any:
        """Return the samples at `indices`, stacked; see `batchup.columns.Column`."""

    def view(self, indices: slice) -> Any:
        """Return the samples of a slice."""
        return self.gather(indices)

    @abstractmethod
    def expect(self, indices: Indices) -> bool:
        """Take note that the samples at `indices` will soon be read."""

    @abstractmethod
    def __getitem__(self, index: Any) -> Any: ...

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise InvalidValueError(
                f"the elements of a {type(self).__name__} have to be made: copy=False cannot be met"
            )
        array: NDArray[Any] = self[:]
        return array if dtype is None else array.astype(dtype, copy=False)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
        arrays = [np.asarray(each) if isinstance(each, LazyArray) else each for each in inputs]
        return getattr(ufunc, method)(*arrays, **keywords)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(np.ndarray, name):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        array = np.asarray(self)
        array.flags.writeable = False  # it is not this one that would be written to
        return getattr(array, name)

    def reduced(self) -> Any:
        """Return how to pickle this for one that sees to the array in it."""
        return __newobj__, (type(self),), {name: value for name, value in self.__dict__.items() if name != "_column"}

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in self.__dict__.items() if name != "_column"}
        region = region_of(self.array) if isinstance(self.array, np.ndarray) and self.array.size else None
        if region is not None:
            state["array"] = _Mapped(region, self.array.shape, self.array.strides, self.array.dtype)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if isinstance(self.array, _Mapped):
            self.array = array_in(*self.array)
        self._column = as_column(self.array)


class _Mapped(NamedTuple):
    """What an array in a mapped file is pickled as: where it lies."""

    region: Region
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]


class ScaledArray(LazyArray):
    """Pixels as float32 from `lower` to `upper`, made from uint8 when they are read.

    An element is ``float32(pixel) * float32((upper - lower) / 255) + float32(lower)``, as in batchup 0.2.

    Parameters
    ----------
    array : array-like of uint8, shape (n, ...)
        The pixels, a memory map for instance.
    lower, upper : float, default 0 and 1
        What 0 and 255 become.

    Raises
    ------
    TypeError, ValueError
        If `array` is no array of uint8, or the limits are not finite.

    Examples
    --------
    >>> from batchup.columns import ScaledArray
    >>> scaled = ScaledArray(np.array([[0, 51], [102, 255]], np.uint8))
    >>> scaled
    ScaledArray(array=<uint8 (2, 2)>)
    >>> scaled[1, 1], scaled.shape, scaled.dtype
    (np.float32(1.0), (2, 2), dtype('float32'))
    """

    dtype = np.dtype(np.float32)
    takes_out = True

    def __init__(self, array: Any, lower: float = 0.0, upper: float = 1.0) -> None:
        super().__init__(array)
        if array.dtype != np.uint8:
            raise InvalidTypeError(f"array must be of uint8, whose values go from 0 to 255, got {array.dtype}")
        check_limits(lower, upper)
        self.shape = tuple(array.shape)
        self.lower = float(lower)
        self.upper = float(upper)
        self._scale = np.float32((self.upper - self.lower) / 255.0)
        self._offset = np.float32(self.lower)

    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> NDArray[Any]:
        samples = indices.stop - indices.start if isinstance(indices, slice) else len(indices)
        if out is None:
            out = np.empty((samples, *self.sample_shape), self.dtype)
        rows = max(1, BLOCK // max(1, math.prod(self.sample_shape)))
        room = np.empty((min(rows, samples), *self.sample_shape), np.uint8) if self._column.takes_out else None
        for start in range(0, samples, rows):
            part = out[start : start + rows]
            part[...] = self._pixels(indices, start, len(part), room)
            self._scale_in_place(part)
        return out

    def expect(self, indices: Indices) -> bool:
        return self._column.expect(indices)

    def __getitem__(self, index: Any) -> Any:
        pixels = np.asarray(self.array[index]).astype(np.float32)
        self._scale_in_place(pixels)
        return pixels[()]

    def _pixels(self, indices: Indices, start: int, count: int, room: NDArray[Any] | None) -> Any:
        if isinstance(indices, slice):
            begin = indices.start + start
            return self._column.view(slice(begin, begin + count))
        part = indices[start : start + count]
        return self._column.gather(part) if room is None else self._column.gather(part, room[:count])

    def _scale_in_place(self, pixels: NDArray[Any]) -> None:
        np.multiply(pixels, self._scale, out=pixels)
        if self._offset or self._scale < 0:  # which would leave a negative zero
            np.add(pixels, self._offset, out=pixels)


def check_limits(lower: Any, upper: Any) -> None:
    """Raise an error unless pixels can be scaled to these limits, as float32."""
    for limit in (lower, upper):
        if not isinstance(limit, numbers.Real):
            raise InvalidTypeError(f"the limits of pixels must be numbers, got {limit!r}")
    most = float(np.finfo(np.float32).max)
    if not all(abs(value) <= most for value in (float(lower), float(upper), float(upper) - float(lower))):
        raise InvalidValueError(f"the limits of pixels must be finite as float32, got {lower} and {upper}")


class ChosenRows(LazyArray):
    """Some rows of an array, in an order of one's own, read when they are asked for.

    Parameters
    ----------
    array : array-like, shape (n, ...)
        The rows to choose from, a memory map for instance.
    rows : array-like of int, shape (m,)
        Which; a row may come more than once.

    Raises
    ------
    TypeError, ValueError
        If `array` is no array, or `rows` do not lie in it.

    Examples
    --------
    >>> from batchup.columns import ChosenRows
    >>> chosen = ChosenRows(np.array([[0, 1], [2, 3], [4, 5]]), [2, 0])
    >>> chosen[0], chosen.shape
    (array([4, 5]), (2, 2))
    """

    def __init__(self, array: Any, rows: Any) -> None:
        super().__init__(array)
        self.rows = np.array(checked_indices(rows, len(array)))
        self.rows.flags.writeable = False  # they are known to be in range
        self.shape = (len(self.rows), *array.shape[1:])
        self.dtype = np.dtype(array.dtype)
        self.takes_out = self._column.takes_out

    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> Any:
        return (
            self._column.gather(self.rows[indices], out) if self.takes_out else self._column.gather(self.rows[indices])
        )

    def expect(self, indices: Indices) -> bool:
        return self._column.expect(self.rows[indices])

    def __getitem__(self, index: Any) -> Any:
        parts = index if isinstance(index, tuple) and index else (index,)
        first, *rest = parts
        if first is None or first is Ellipsis or np.ndim(first) > 1 or any(map(_is_odd, parts)):
            return np.asarray(self)[index]
        rows = self.rows[first]
        if not isinstance(first, slice) and any(np.ndim(part) for part in rest if part is not None):
            together = (rows, *rest)  # indices of several axes
            return np.asarray(self.array[together])
        chosen = self._column.gather(np.ascontiguousarray(rows)) if np.ndim(rows) else self.array[rows]
        inner = (*[slice(None)] * np.ndim(rows), *rest)
        return chosen[inner] if rest else chosen


def _is_odd(index: Any) -> bool:
    """Return whether an index means what no plain index does: a truth value, or a tuple for a list."""
    return isinstance(index, (bool, np.bool_, tuple))
