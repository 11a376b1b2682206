"""Sequences of different lengths: a batch of them, or all of a corpus as a column."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._indices import Indices, integer_array
from batchup.columns.files import OpenFile, is_mapped, region_of
from batchup.columns.padding import Padding, Windows
from batchup.columns.readahead import Readahead
from batchup.columns.sequence_column import SequenceColumn
from batchup.errors import InvalidTypeError, InvalidValueError, LengthError

KEPT_WINDOWS = 1024
LONG = 1024  # bytes of a sequence, on average, from which on they are copied one by one


class Ragged(SequenceColumn):
    """Sequences of different lengths, whose elements share one dtype and shape.

    Put into an `ArrayDataSource`, they make a column; see `SequenceColumn`.

    Parameters
    ----------
    values : ndarray, shape (total, ...)
        The elements of all sequences, one behind the other.
    offsets : array-like of int, shape (n + 1,)
        Sequence i is ``values[offsets[i]:offsets[i + 1]]``.

    Raises
    ------
    TypeError, ValueError
        If `offsets` are no ascending integers, or do not lie within `values`; if `values` has elements of no size, or
        is an array of Python objects.

    Examples
    --------
    >>> words = Ragged(np.array([5, 6, 7, 8, 9]), [0, 3, 3, 5])
    >>> len(words), words[0], words.lengths
    (3, array([5, 6, 7]), array([3, 0, 2]))
    >>> words.pad()
    array([[5, 6, 7],
           [0, 0, 0],
           [8, 9, 0]])
    """

    __slots__ = ("_base", "_known_windows", "_lengths", "_readahead", "_rebuilt", "_row", "_starts", "_values")

    _base: NDArray[np.uint8]
    _starts: NDArray[np.int64]  # the first byte of each sequence
    _lengths: NDArray[Any]  # of an integer dtype
    _row: int  # bytes of an element
    _values: NDArray[Any] | None
    _rebuilt: Any
    _readahead: tuple[Readahead | None, int] | None
    _known_windows: dict[int, Windows]

    def __init__(self, values: Any, offsets: Any) -> None:
        array = values if isinstance(values, np.ndarray) else _as_array(values)
        ends = integer_array(offsets, "offsets").astype(np.int64, copy=False)
        if array.ndim == 0:
            raise InvalidValueError("values must have at least 1 dimension, got a scalar")
        if not len(ends) or ends[0] < 0 or (ends[1:] < ends[:-1]).any() or ends[-1] > len(array):
            raise InvalidValueError(
                f"offsets must ascend from 0 or more to at most the number of values, {len(array)}; one more than "
                f"there are sequences: got {shown(ends)}"
            )
        row = element_bytes(array.dtype, array.shape[1:])
        flat = np.ascontiguousarray(array).view(np.ndarray)
        self._set(_bytes(flat), ends[:-1] * row, ends[1:] - ends[:-1], array.dtype, array.shape[1:])
        if ends[0] == 0 and ends[-1] == len(array):
            self._values = array if array.flags.c_contiguous else flat

    @classmethod
    def over(
        cls,
        base: NDArray[np.uint8],
        starts: NDArray[np.int64],
        lengths: NDArray[Any],
        dtype: np.dtype[Any],
        inner_shape: tuple[int, ...] = (),
        rebuilt: Any = None,
    ) -> Ragged:
        """Return sequences that lie anywhere in some memory, a mapped file's say, where they stay.

        Parameters
        ----------
        base : ndarray of uint8, shape (bytes,)
            The memory; it must not change any more.
        starts, lengths : ndarray of int, shape (n,)
            The first byte of each sequence, and the number of its elements.
        dtype, inner_shape : dtype, tuple of int
            Of an element.
        rebuilt : tuple, optional
            What `__reduce__` returns, if not the sequences are to be pickled but where they come from.
        """
        ragged = cls.__new__(cls)
        ragged._set(base, starts, lengths, dtype, inner_shape)
        ragged._rebuilt = rebuilt
        return ragged

    @classmethod
    def of(cls, sequences: Iterable[Any], dtype: Any = None) -> Ragged:
        """Return sequences that are arrays by themselves, joined; empty ones may have any dtype.

        Raises
        ------
        ValueError
            If the shapes or dtypes of elements differ; if the `dtype`, where that is given, cannot hold some of them.
        InvalidTypeError
            If one is a scalar.

        Examples
        --------
        >>> Ragged.of([[1, 2], [], [3]]).values
        array([1, 2, 3])
        """
        arrays = [np.asarray(sequence) for sequence in sequences]
        for number, array in enumerate(arrays):
            if array.ndim == 0:
                raise InvalidTypeError(f"sequence {number} must be an array with at least 1 dimension, got {array!r}")
        offsets = np.concatenate([[0], np.cumsum([len(array) for array in arrays], dtype=np.int64)])
        filled = [array for array in arrays if len(array)] or arrays[:1] or [np.empty(0, dtype)]
        shapes = {array.shape[1:] for array in filled}
        if len(shapes) > 1:
            raise LengthError(f"the elements of sequences must have one shape, got {sorted(shapes)}")
        wanted = filled[0].dtype if dtype is None else np.dtype(dtype)
        converted = [_converted(array, wanted, dtype is not None) for array in filled]
        return cls(np.concatenate(converted, dtype=wanted), offsets)  # of its byte order, too

    @classmethod
    def joined(cls, parts: Sequence[Ragged]) -> Ragged:
        """Return the sequences of several, one behind the other; of the dtype that all of theirs can be held by.

        Raises
        ------
        LengthError
            If the shapes of elements differ.
        """
        filled = [part.values for part in parts if part.lengths.any()] or [part.values for part in parts[:1]]
        shapes = {values.shape[1:] for values in filled}
        if len(shapes) != 1:
            raise LengthError(f"the elements of sequences must have one shape, got {sorted(shapes)}")
        lengths = np.concatenate([part.lengths for part in parts])
        same = {values.dtype for values in filled} == {filled[0].dtype}
        values = np.concatenate(filled, dtype=filled[0].dtype if same else None)  # of its byte order, too
        return cls(values, np.concatenate([[0], np.cumsum(lengths)]))

    @property
    def values(self) -> NDArray[Any]:
        """The elements of all sequences, one behind the other; of a column in a file, a copy made anew each time."""
        if self._values is not None:
            return self._values
        values = compacted(self._base, self._starts, self.lengths, self._row)
        return values.view(self.dtype).reshape(-1, *self.inner_shape)

    def compact(self) -> Ragged:
        """Return the same with nothing between the sequences: itself, if they lie so, else a copy."""
        return self if self._values is not None else Ragged(self.values, self.offsets)

    @property
    def offsets(self) -> NDArray[np.int64]:
        """Where in `values` each sequence begins, and at last where the last one ends."""
        offsets = np.zeros(len(self._lengths) + 1, np.int64)
        np.cumsum(self._lengths, out=offsets[1:])
        return offsets

    @property
    def resident(self) -> bool:
        return not is_mapped(self._base)

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        lengths, inner = self._lengths, f" {self.inner_shape}" if self.inner_shape else ""
        span = f", lengths {lengths.min()} to {lengths.max()}" if len(lengths) else ""
        return f"<{type(self).__name__}: {len(self)} sequences of {self.dtype}{inner}{span}>"

    def __reduce__(self) -> Any:
        return self._rebuilt or (type(self), (self.values, self.offsets))

    def tolist(self) -> list[Any]:
        """Return the sequences as nested lists."""
        return [sequence.tolist() for sequence in self]

    def pad(
        self, value: Any = 0, side: str = "right", pad_to: int = 1, to: int | None = None, beside: str | None = None
    ) -> Any:
        """Return the sequences as the rows of a rectangle.

        Parameters
        ----------
        value : scalar or array-like, default 0
            What fills the places behind (or before) the elements of a sequence.
        side : {'right', 'left'}, default 'right'
            Where those places are.
        pad_to : int, default 1
            The width is a multiple of this.
        to : int, optional
            The width; that of the longest sequence by default.
        beside : {'lengths', 'mask'}, optional
            What to return with it: the lengths, or which places hold an element.

        Returns
        -------
        ndarray, shape (n, width, ...); or tuple of it and of ndarray of int64 (n,), or of bool (n, width)

        Raises
        ------
        ValueError
            If a sequence is longer than `to`, or elements cannot hold `value`.

        Examples
        --------
        >>> Ragged(np.array([5, 6, 7]), [0, 1, 3]).pad(value=-1, side="left", beside="mask")
        (array([[-1,  5],
               [ 6,  7]]), array([[False,  True],
               [ True,  True]]))
        """
        padding = Padding(value, side, pad_to, to)
        padding.check(self.dtype, self.inner_shape)
        if beside not in (None, "lengths", "mask"):
            raise InvalidValueError(f"beside must be 'lengths', 'mask' or None, got {beside!r}")
        rows = self.laid_out(slice(0, len(self)), padding)
        if beside is None:
            return rows
        return rows, self.lengths if beside == "lengths" else padding.mask(self._lengths, rows.shape[1])

    def lent(self, indices: Indices) -> Ragged:
        return Ragged.over(self._base, self._starts[indices], self.lengths_at(indices), self._dtype, self._inner_shape)

    def expect(self, indices: Indices) -> bool:
        if self._readahead is None:
            self._readahead = _file_of(self._base)
        readahead, offset = self._readahead
        if readahead is None or readahead.idle():
            return False
        lengths = self._lengths[indices]
        if not len(lengths):
            return False
        return readahead.expect(self._starts[indices] + offset, int(lengths.max()) * self._row)

    def laid_out(self, indices: Indices, padding: Padding) -> NDArray[Any]:
        lengths, starts = self.lengths_at(indices), self._starts[indices]
        width = padding.width(lengths)
        if not width or not len(lengths):
            return np.empty((len(lengths), width, *self._inner_shape), self._dtype)
        windows = self._windows(width * self._row)
        if padding.side == "right":
            cells = windows.at(starts)
        else:
            starts = starts + (lengths - width) * self._row
            cells = windows.at(starts) if starts.min() >= 0 else windows.at_the_edge(starts)
        rows: NDArray[Any] = cells.view(self._dtype).reshape(len(lengths), width, *self._inner_shape)
        padding.fill(rows, lengths, width)
        return rows

    def lengths_at(self, indices: Indices) -> NDArray[Any]:
        lengths: NDArray[Any] = self._lengths[indices]
        return lengths if lengths.dtype == np.int64 else lengths.astype(np.int64)

    def _one(self, index: int) -> NDArray[Any]:
        start = int(self._starts[index])
        stop = start + int(self._lengths[index]) * self._row
        sequence: NDArray[Any] = self._base[start:stop].view(self.dtype).reshape(-1, *self.inner_shape).copy()
        return sequence

    def _windows(self, size: int) -> Windows:
        """Return the windows of a size; a corpus is asked for some sizes again and again."""
        found = self._known_windows.get(size)
        if found is None:
            if len(self._known_windows) >= KEPT_WINDOWS:
                self._known_windows.clear()
            found = self._known_windows[size] = Windows(self._base, size)
        return found

    def _set(
        self,
        base: NDArray[np.uint8],
        starts: NDArray[np.int64],
        lengths: NDArray[Any],
        dtype: np.dtype[Any],
        inner_shape: tuple[int, ...],
    ) -> None:
        self._base = base
        self._starts = starts
        self._lengths = lengths
        self._dtype = dtype
        self._inner_shape = inner_shape
        self._row = element_bytes(dtype, inner_shape)
        self._values = None
        self._rebuilt = None
        self._readahead = None
        self._known_windows = {}


def element_bytes(dtype: np.dtype[Any], inner_shape: tuple[int, ...]) -> int:
    """Return the bytes of an element; an error if there are none, or Python objects."""
    size = dtype.itemsize
    for extent in inner_shape:
        size *= extent
    if dtype.hasobject or not size:
        what = "Python objects" if dtype.hasobject else "no bytes"
        raise InvalidTypeError(f"the elements of sequences must be plain numbers, got {dtype} {inner_shape}: {what}")
    return size


def compacted(base: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[Any], row: int) -> NDArray[np.uint8]:
    """Return the bytes of sequences from anywhere, one behind the other.

    >>> compacted(np.arange(9, dtype=np.uint8), np.array([6, 0]), np.array([2, 1]), 1)
    array([6, 7, 0], dtype=uint8)
    """
    ends = np.cumsum(lengths, dtype=np.int64)
    total = int(ends[-1]) if len(ends) else 0
    if total and total * row < len(lengths) * LONG:
        places = np.arange(total)
        if row > 1:
            places *= row
        places += np.repeat(starts - (ends - lengths) * row, lengths)
        return Windows(base, row).at(places).view(np.uint8)
    copied = np.empty(total * row, np.uint8)
    begin = 0
    for start, size in zip(starts.tolist(), (lengths * row).tolist(), strict=True):
        copied[begin : begin + size] = base[start : start + size]
        begin += size
    return copied


def _bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    return array.reshape(-1).view(np.uint8)


def _file_of(base: NDArray[np.uint8]) -> tuple[Readahead | None, int]:
    """Return who fetches parts of the file in which some memory lies, if it does, and where in it that begins."""
    region = region_of(base) if len(base) else None
    if region is not None:
        with suppress(OSError):
            return Readahead(OpenFile(region.path)), region.offset
    return None, 0


def _converted(array: NDArray[Any], dtype: np.dtype[Any], asked: bool) -> NDArray[Any]:
    """Return elements as a dtype that holds them; fractions may be rounded, where another dtype was asked for."""
    if array.dtype == dtype or not len(array):
        return array.astype(dtype)
    if asked and np.can_cast(array.dtype, dtype, "same_kind" if array.dtype.kind in "fc" else "unsafe"):
        with np.errstate(all="ignore"):
            converted = array.astype(dtype)
            if array.dtype.kind in "fc" or np.array_equal(converted.astype(array.dtype), array):
                return converted
    hint = "" if asked else "; dtype= converts them, if it can hold them"
    raise InvalidValueError(f"sequences must have elements of one dtype, got {dtype} and {array.dtype}{hint}")


def _as_array(values: Any) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except ValueError:
        raise InvalidValueError("values must be one array; Ragged.of takes sequences one by one") from None


def shown(numbers: NDArray[Any]) -> str:
    """Return some numbers as text, for errors."""
    return str(numbers.tolist()) if len(numbers) <= 8 else f"{numbers[:4].tolist()} ... {numbers[-2:].tolist()}"
