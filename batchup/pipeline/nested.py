"""Items that are numbers, arrays, or tuples and dicts of them: stacked into batches, taken apart, described."""

from __future__ import annotations

import contextlib
import numbers
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from batchup.errors import InvalidTypeError, InvalidValueError, LengthError

Stack = Callable[["list[Any]"], Any]


class Shape(NamedTuple):
    """What a leaf of an item looks like; items that are tuples or dicts have tuples or dicts of these."""

    shape: tuple[int | None, ...]
    dtype: np.dtype[Any] | None


def stacked(items: Sequence[Any], default_dtype: DTypeLike | None = None, stack: Stack | None = None) -> Any:
    """Stack items into a batch: arrays along a new first axis, tuples and dicts part by part.

    Parameters
    ----------
    items : sequence
        At least one.
    default_dtype : dtype-like, optional
        Of numbers of Python; None: what NumPy makes of them.
    stack : callable, optional
        Makes an array of a list of leaves, in place of stacking.

    Raises
    ------
    LengthError
        If arrays have different shapes.
    TypeError, ValueError
        If items are of different kinds, or have other keys.
    """
    return _stacked(items, "", default_dtype, stack)


def _stacked(items: Sequence[Any], name: str, default_dtype: DTypeLike | None, stack: Stack | None) -> Any:
    kinds = set(map(type, items))
    if stack is None and kinds <= _NUMBERS:
        return _numbers(items, kinds, name, default_dtype)
    if not any(issubclass(kind, (Mapping, tuple)) for kind in kinds):
        return _leaves(items, kinds, name) if stack is None else stack(list(items))
    first = items[0]
    if isinstance(first, tuple):
        if not all(issubclass(kind, tuple) for kind in kinds) or len(set(map(len, items))) > 1:
            raise _mixed(items, name)
        columns = zip(*items, strict=True)
        parts = [_stacked(part, f"{name}[{place}]", default_dtype, stack) for place, part in enumerate(columns)]
        return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)
    if not all(issubclass(kind, Mapping) for kind in kinds) or any(item.keys() != first.keys() for item in items):
        raise _mixed(items, name)
    return {key: _stacked([item[key] for item in items], f"{name}[{key!r}]", default_dtype, stack) for key in first}


def _numbers(items: Sequence[Any], kinds: set[type], name: str, default_dtype: DTypeLike | None) -> NDArray[Any]:
    if bool in kinds and len(kinds) > 1:
        raise _mixed(items, name)
    dtype = None if default_dtype is None or bool in kinds or complex in kinds else np.dtype(default_dtype)
    try:
        array = np.array(items, None if dtype is None or dtype.kind in "iub" else dtype)
    except (OverflowError, TypeError, ValueError) as error:
        raise InvalidValueError(f"items{name} hold numbers that do not fit {dtype}: {error}") from error
    if array.dtype == object:
        raise InvalidValueError(f"items{name} hold numbers that fit no dtype: {max(items, key=abs)!r:.60}")
    if dtype is None or array.dtype == dtype:
        return array
    narrow = array.astype(dtype)
    if (narrow != array).any():
        raise InvalidValueError(f"items{name} hold numbers that do not fit {dtype}: they are too large, or not whole")
    return narrow


def _leaves(items: Sequence[Any], kinds: set[type], name: str) -> NDArray[Any]:
    if kinds <= _TEXTS:
        if len(kinds) > 1:
            raise _mixed(items, name)
        return _texts(items)
    if kinds & (_NUMBERS | _TEXTS):
        raise _mixed(items, name)
    if np.ma.MaskedArray in kinds:
        masked: NDArray[Any] = np.ma.stack(items)
        return masked
    if kinds != {np.ndarray}:
        arrays = [np.asarray(item) for item in items]
        if any(array.dtype == object for array in arrays) and np.ndarray not in kinds:
            return _objects(items)  # None, say, or objects of the user's
        items = arrays
    shapes = {array.shape for array in items}
    if len(shapes) > 1:
        raise LengthError(
            f"items{name} have different shapes, {' and '.join(map(str, sorted(shapes)[:3]))}: padded_batch() pads "
            "them, a map() before can make them equal"
        )
    return np.stack(items)


_NUMBERS = {bool, int, float, complex}
_TEXTS = {str, bytes}


def _texts(items: Sequence[Any]) -> NDArray[Any]:
    if isinstance(items[0], str) and not any(item.endswith("\0") for item in items):
        return np.array(items)
    return _objects(items)  # NumPy's own bytes and texts lose what is null at their end


def _objects(items: Sequence[Any]) -> NDArray[Any]:
    array = np.empty(len(items), object)
    array[:] = items
    return array


def _mixed(items: Sequence[Any], name: str) -> InvalidTypeError | InvalidValueError:
    """Return the error for items that cannot be stacked, with the first that differs."""
    first = items[0]
    number, other = next((place, item) for place, item in enumerate(items) if _form(item) != _form(first))
    if isinstance(first, Mapping) and isinstance(other, Mapping):
        return InvalidValueError(
            f"items{name} have different keys: {list(first)}, and {list(other)} {number} items later; "
            "select(...) keeps those that all have"
        )
    return InvalidTypeError(
        f"items{name} are of different kinds: {_kind(first)}, and {_kind(other)} {number} items later"
    )


def _form(item: Any) -> Any:
    if isinstance(item, Mapping):
        return item.keys()
    return len(item) if isinstance(item, tuple) else type(item)


def _kind(item: Any) -> str:
    return f"a tuple of {len(item)}" if isinstance(item, tuple) else type(item).__name__


def unstacked(batch: Any) -> Iterator[Any]:
    """Yield the items of a batch: what `stacked` has stacked."""
    if isinstance(batch, Mapping):
        if not batch:
            raise InvalidValueError("unbatch() got a dict without keys")
        parts = _equally_long(list(batch.values()))
        yield from (dict(zip(batch, item, strict=True)) for item in parts)
    elif isinstance(batch, tuple):
        rows = _equally_long(batch)
        make: Any = getattr(type(batch), "_make", tuple)
        yield from map(make, rows)
    else:
        yield from _rows(batch)


def _equally_long(parts: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    end = object()
    columns = [chain(unstacked(part), repeat(end)) for part in parts]
    for item in zip(*columns, strict=False):
        ended = sum(part is end for part in item)
        if ended == len(parts):
            return
        if ended:
            raise LengthError("the arrays of a batch to be taken apart have different lengths")
        yield item


def _rows(batch: Any) -> Iterator[Any]:
    if isinstance(batch, (str, bytes)) or not hasattr(batch, "__len__") or getattr(batch, "shape", None) == ():
        raise InvalidTypeError(f"unbatch() takes batches apart (arrays, lists), got {type(batch).__name__}")
    return iter(batch)


def padded(arrays: Sequence[Any], value: Any) -> NDArray[Any]:
    """Stack arrays of any lengths, padded at the end of each axis to the longest.

    Raises
    ------
    LengthError
        If they have different numbers of axes.
    """
    found = [np.asarray(array) for array in arrays]
    if len({array.ndim for array in found}) > 1:
        raise LengthError("padded_batch() takes items whose arrays have equally many axes")
    sizes = tuple(max(sizes) for sizes in zip(*(array.shape for array in found), strict=True))
    dtype = np.result_type(*{array.dtype for array in found})
    if not np.can_cast(np.min_scalar_type(value), dtype, "same_kind"):
        raise InvalidValueError(f"arrays of {dtype} cannot hold the value {value!r}")
    batch = np.full((len(found), *sizes), value, dtype)
    for row, array in zip(batch, found, strict=True):
        row[tuple(map(slice, array.shape))] = array
    return batch


def described(item: Any) -> Any:
    """Return the `Shape` of an item, or a tuple or dict of them."""
    if isinstance(item, Mapping):
        return {key: described(part) for key, part in item.items()}
    if isinstance(item, tuple):
        return tuple(described(part) for part in item)
    if isinstance(item, (str, bytes)) or item is None:
        return Shape((), np.dtype(object))
    if isinstance(item, (numbers.Number, list)) or (hasattr(item, "dtype") and hasattr(item, "shape")):
        with contextlib.suppress(TypeError, ValueError):  # dtypes that NumPy has not, lists of lists of any lengths
            array = item if hasattr(item, "dtype") else np.asarray(item)
            return Shape(tuple(array.shape), np.dtype(array.dtype))
    return Shape(tuple(getattr(item, "shape", ())), None)


def each_leaf(function: Callable[[Any], Any], item: Any) -> Any:
    """Return an item with a function applied to its leaves."""
    if isinstance(item, Mapping):
        return {key: each_leaf(function, part) for key, part in item.items()}
    if isinstance(item, tuple) and not isinstance(item, Shape):
        parts = [each_leaf(function, part) for part in item]
        return type(item)(*parts) if hasattr(item, "_fields") else tuple(parts)
    return function(item)


def selected(item: Any, keys: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return some parts of a dict or tuple.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If it does not have them, or has no parts.
    """
    if not isinstance(item, (Mapping, tuple, list, np.ndarray)):
        raise InvalidTypeError(f"select() takes items that are dicts or tuples, got {type(item).__name__}")
    try:
        return tuple([item[key] for key in keys])
    except (LookupError, TypeError, IndexError):
        there = list(item) if isinstance(item, Mapping) else f"0 to {len(item) - 1}"
        raise InvalidValueError(f"select{keys!r}: an item has {there}") from None
