"""Columns made of the values that JSON has: what they are, as the first rows show, and arrays of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup.columns import Ragged
from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.formats.asked import times_of
from batchup.formats.casting import cast
from batchup.formats.table import TEXT, Field, objects

_KINDS: dict[str, set[type]] = {
    "b": {bool},
    "i": {int},
    "u": {int},
    "f": {float, int, type(None)},
    "U": {str},
    "M": {str},
}


def column_of(values: Sequence[Any], field: Field, name: str) -> Any:
    """Return the values of some rows as a column of a block.

    Raises
    ------
    ValueError
        If one of them is not what the field says.

    Examples
    --------
    >>> column_of([[1, 2], [3, 4]], Field(np.dtype("u1"), (2,)), "x")
    array([[1, 2],
           [3, 4]], dtype=uint8)
    >>> column_of([0.5, None, 2], Field(np.dtype("f4")), "y")
    array([0.5, nan, 2. ], dtype=float32)
    """
    if field.shape and not field.fixed and not field.ragged:
        return objects([_array(value, field, name) for value in values])
    flat, sizes = _flat(values, len(field.shape))
    for found, side in zip(sizes, field.shape, strict=True):
        if side is not None and not {*found} <= {side}:
            raise ValueError(f"expected {side} values")
    elements = _elements(flat, field.dtype, name)
    if field.ragged:
        rows = elements.reshape(sum(sizes[0]), *field.shape[1:])
        return Ragged(rows, np.append(0, np.cumsum(np.array(sizes[0], np.int64))))
    return elements.reshape(len(values), *field.shape)


def _array(value: Any, field: Field, name: str) -> NDArray[Any]:
    """Return one value as an array, whose shape is its own."""
    flat, sizes = _flat([value], len(field.shape))
    shape = []
    for found, side in zip(sizes, field.shape, strict=True):
        if len({*found, *([] if side is None else [side])}) > 1:
            raise ValueError("expected lists of one length")
        shape.append(found[0] if found else side or 0)
    return _elements(flat, field.dtype, name).reshape(shape)


def _flat(values: Sequence[Any], depth: int) -> tuple[Sequence[Any], list[list[int]]]:
    """Return what is in lists in lists, and how long those are on each level."""
    sizes = []
    for _ in range(depth):
        if not set(map(type, values)) <= {list}:
            raise ValueError("expected a list")
        sizes.append(list(map(len, values)))
        values = list(chain.from_iterable(values))
    return values, sizes


def _elements(values: Sequence[Any], dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    """Return numbers, bools or texts as an array with one axis."""
    kinds = set(map(type, values))
    if not kinds <= _KINDS[dtype.kind]:
        raise ValueError(f"expected {dtype}")
    if dtype == TEXT:
        return np.asarray(objects(values))
    if dtype.kind == "M":
        return times_of(values, dtype)
    if dtype.kind == "U":
        return _texts(values, dtype)
    if dtype.kind == "b":
        return np.array(values, np.bool_)
    if dtype.kind == "f":
        known = [np.nan if value is None else value for value in values] if type(None) in kinds else values
        wide = _floats(known)
    else:
        wide = np.array(values, _integer_dtype(values))
    return wide if wide.dtype == dtype else cast(wide, dtype, name)


def _floats(values: Sequence[Any]) -> NDArray[Any]:
    try:
        return np.array(values, np.float64)
    except OverflowError as error:
        raise ValueError(str(error)) from None


def _integer_dtype(values: Sequence[int]) -> np.dtype[Any]:
    """Return the wide dtype that holds some integers."""
    low, high = min(values, default=0), max(values, default=0)
    if low < -(2**63) or high >= 2**64 or (low < 0 and high >= 2**63):
        raise ValueError("expected integers of 64 bits")
    return np.dtype("i8" if high < 2**63 else "u8")


def _texts(values: Sequence[str], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return texts as an array of such of one length, which must not end with what NumPy fills them up with."""
    if max(map(len, values), default=0) * 4 > dtype.itemsize or any(text.endswith("\0") for text in values):
        raise ValueError(f"expected {dtype}")
    return np.array(values, dtype)


def field_of(
    values: Sequence[Any], dtype: np.dtype[Any] | None = None, shape: tuple[int | None, ...] | None = None
) -> Field:
    """Return what a column is, as its first values show it, where that is not told.

    The first of them that is no null, and no empty list, tells the kind, and how deep lists are nested. Values that are
    something else are left to `column_of`.

    Examples
    --------
    >>> str(field_of([1, 2.5])), str(field_of([[1, 2], [3]])), str(field_of(["a"])), str(field_of([None]))
    ('float64', 'int64 (*,)', 'str', 'float64')

    Raises
    ------
    ValueError
        If that is an object.
    """
    found = next((leaf for value in values if (leaf := _leaf(value)) is not None), None)
    if found is None:
        found = (max((_depth(value) for value in values), default=0), None)
    depth = found[0] if shape is None else len(shape)
    flat, sizes = _fitting(values, depth)
    if shape is None:
        shape = _shape([{*size} for size in sizes])
    if dtype is None or (dtype == TEXT and depth):
        dtype = _dtype(found[1], flat, depth)
    return Field(dtype, shape)


def _leaf(value: Any, depth: int = 0) -> tuple[int, Any] | None:
    """Return how deep the first element lies that is no null, and what it is."""
    if isinstance(value, list):
        return next((leaf for part in value if (leaf := _leaf(part, depth + 1)) is not None), None)
    return None if value is None else (depth, value)


def _depth(value: Any) -> int:
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


def _fitting(values: Sequence[Any], depth: int) -> tuple[Sequence[Any], list[list[int]]]:
    """Return the same as `_flat`, of the values that are nested so deep."""
    try:
        return _flat(values, depth)
    except ValueError:
        return _flat([value for value in values if _is_nested(value, depth)], depth)


def _is_nested(value: Any, depth: int) -> bool:
    try:
        _flat([value], depth)
    except ValueError:
        return False
    return True


def _shape(sizes: Sequence[set[int]]) -> tuple[int | None, ...]:
    """Return the shape of values whose sides have these sizes."""
    shape = tuple(size.copy().pop() if len(size) == 1 else None if size else 0 for size in sizes)
    if shape[:1] == (None,) and None not in shape[1:] and 0 not in shape[1:]:
        return shape
    return (None,) * len(shape) if None in shape else shape


def _dtype(first: Any, flat: Sequence[Any], depth: int) -> np.dtype[Any]:
    """Return the dtype of elements of which the first one tells the kind."""
    if isinstance(first, tuple):
        raise ValueError("it is an object")
    if isinstance(first, bool):
        return np.dtype("?")
    if isinstance(first, str):
        longest = max((len(text) for text in flat if isinstance(text, str)), default=0)
        return np.dtype(("U", max(1, longest))) if depth else TEXT
    if first is None or float in set(map(type, flat)):
        return np.dtype("f8")
    try:
        return _integer_dtype([number for number in flat if type(number) is int])
    except ValueError:
        return np.dtype("i8")


def remedy(value: Any, field: Field, name: str) -> str:
    """Return what to pass so that a value fits that does not, or that it is to be mended."""
    free = Field(field.dtype, (None,) * len(field.shape))
    if field.shape and _is_held(value, free, name):
        return f"pass shapes={{{name!r}: {free.shape}}}"
    try:
        found = field_of([value], shape=free.shape)
    except ValueError:
        return "an object in an object is no column: make it flat"
    wide = "float64" if field.dtype.kind == "f" else found.dtype.str[1:] if found.dtype.kind == "U" else found.dtype
    kin = {field.dtype.kind, found.dtype.kind}
    if (kin <= {*"iuf"} or (kin == {"U"} and field.dtype.itemsize)) and _is_held(value, found, name):
        return f"pass dtypes={{{name!r}: '{wide}'}}"
    return "mend it"


def _is_held(value: Any, field: Field, name: str) -> bool:
    try:
        column_of([value], field, name)
    except ValueError:
        return False
    return True


def asked_shapes(shapes: Any) -> dict[str, tuple[int | None, ...]]:
    """Return the shapes that a user tells, checked.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If one is none.

    Examples
    --------
    >>> asked_shapes({"x": (None, 3)})
    {'x': (None, 3)}
    """
    if shapes is None:
        return {}
    if not isinstance(shapes, Mapping):
        raise InvalidTypeError(f'shapes must be a dict such as {{"x": (None, 3)}}, got {shapes!r:.60}')
    for name, shape in shapes.items():
        if not isinstance(shape, tuple) or not all(side is None or type(side) is int for side in shape):
            raise InvalidTypeError(f"shapes: column {name!r}: a shape is a tuple of int and None, got {shape!r:.60}")
        if any(side is not None and side < 0 for side in shape):
            raise InvalidValueError(f"shapes: column {name!r}: sides are not negative, got {shape!r:.60}")
    return dict(shapes)
