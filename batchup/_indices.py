"""Sample indices: normalised and range-checked once, where they enter."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from batchup.errors import IndexRangeError, InvalidTypeError, InvalidValueError

# contiguous intp, or a slice of step 1 where they follow one another
Indices: TypeAlias = "NDArray[np.intp] | slice"


def integer_array(indices: Any, what: str = "indices") -> NDArray[np.intp]:
    """Return 1-D integer array-likes as contiguous intp; whatever else comes is an error.

    >>> integer_array([3, 1])
    array([3, 1])
    """
    try:
        array = np.asarray(indices)
    except ValueError:
        raise InvalidValueError(f"{what} must be integers, got a list of {type(indices[0]).__name__}") from None
    if array.ndim != 1:
        raise InvalidValueError(f"{what} must be 1-dimensional, got shape {array.shape}")
    if array.size and array.dtype.kind not in "iu":
        hint = "; np.flatnonzero turns a mask into indices" if array.dtype.kind == "b" else ""
        raise InvalidTypeError(f"{what} must be integers, got dtype {array.dtype}{hint}")
    if array.dtype.kind == "u" and array.size and array.max() > np.iinfo(np.intp).max:
        raise IndexRangeError(f"{what} must fit into {np.dtype(np.intp)}, got {array.max()}")
    return np.ascontiguousarray(array, dtype=np.intp)


def check_range(lowest: int, highest: int, length: int, what: str = "index") -> None:
    """Raise an `IndexRangeError` unless -length <= lowest and highest < length."""
    for index in (lowest, highest):
        if not -length <= index < length:
            raise IndexRangeError(f"{what} {index} is out of range for {length} samples")


def checked_indices(indices: Any, length: int) -> NDArray[np.intp]:
    """Return indices as non-negative, contiguous intp, counting negative ones from the end as NumPy does.

    >>> checked_indices([0, -1], 10)
    array([0, 9])
    """
    array = integer_array(indices)
    if array.size == 0:
        return array
    lowest = int(array.min())
    check_range(lowest, int(array.max()), length)
    return np.where(array < 0, array + length, array) if lowest < 0 else array


def places(index: Any, length: int) -> int | NDArray[np.intp]:
    """Return what stands in square brackets as one place, or as the places of several samples, all in range.

    >>> places(-1, 3), places(slice(None, None, 2), 3), places([True, False, True], 3)
    (2, array([0, 2]), array([0, 2]))
    """
    if isinstance(index, (int, np.integer)) and not isinstance(index, bool):
        check_range(int(index), int(index), length)
        return int(index) % length
    if isinstance(index, slice):
        return np.arange(length)[index]
    if isinstance(index, tuple):
        raise InvalidTypeError("samples are read by one index, a slice, or a 1-D array of indices, got a tuple")
    index = np.asarray(index)
    if index.dtype == bool and index.shape == (length,):
        return np.flatnonzero(index)
    return checked_indices(index, length)
