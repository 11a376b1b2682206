"""Values that come one by one: what they are, whether they are what was said, and columns made of them."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from batchup.columns import Ragged
from batchup.errors import InvalidValueError
from batchup.formats.table import BYTES, TEXT, Field, objects


def field_of_value(value: Any) -> Field:
    """Return what a value is.

    >>> str(field_of_value(np.zeros((2, 3)))), str(field_of_value("a"))
    ('float64 (2, 3)', 'str')
    """
    if isinstance(value, np.ndarray):
        return Field(value.dtype, value.shape)
    return Field(TEXT if isinstance(value, str) else BYTES)


def field_of_values(values: Iterable[Any], numbers: bool = False) -> Field:
    """Return what all values are.

    Parameters
    ----------
    values : iterable
        At least one.
    numbers : bool, default False
        Whether they are numbers as JSON has them, which writes whole floats without a point.

    Raises
    ------
    InvalidValueError
        If they are of several dtypes, or have more sides or fewer.

    Examples
    --------
    >>> str(field_of_values([np.zeros((2, 3)), np.zeros((4, 3))]))
    'float64 (*, 3)'
    """
    return merged(map(field_of_value, values), numbers)


def merged(fields: Iterable[Field], numbers: bool = False) -> Field:
    """Return what is true of all fields; see `field_of_values`."""
    known = list(dict.fromkeys(fields))
    dtypes = {field.dtype for field in known}
    dtype, sides = known[0].dtype, len(known[0].shape)
    if numbers and dtypes == {np.dtype(np.int64), np.dtype(np.float64)}:
        dtype = np.dtype(np.float64)
    elif odd := [field for field in known if field.dtype != dtype or len(field.shape) != sides]:
        raise InvalidValueError(f"is {known[0]} here and {odd[0]} there")
    together = zip(*(field.shape for field in known), strict=True)
    shape = tuple(found[0] if len(set(found)) == 1 else None for found in together)
    if None in shape and 0 in shape:
        shape = (None,) * sides  # what takes no bytes cannot be ragged
    return Field(dtype, shape)


def fitted(value: Any, field: Field, numbers: bool = False) -> Any:
    """Return a value as a field says.

    Raises
    ------
    InvalidValueError
        If it is something else.
    """
    if not isinstance(value, np.ndarray):
        if field_of_value(value) == field:
            return value
    elif value.dtype == field.dtype and value.shape == field.shape:
        return value
    elif value.ndim == len(field.shape) and all(
        wanted in (None, side) for wanted, side in zip(field.shape, value.shape, strict=True)
    ):
        if value.dtype == field.dtype:
            return value
        if numbers and (value.size == 0 or (value.dtype == np.int64 and field.dtype == np.float64)):
            return value.astype(field.dtype)
    raise InvalidValueError(f"is {field_of_value(value)}, and {field} was expected")


def column_of(values: list[Any], field: Field) -> Any:
    """Return values that fit as a column of a block."""
    if field.fixed:
        column: Any = np.empty((len(values), *_sides(field)), field.dtype)
        for place, value in enumerate(values):
            column[place] = value
        return column
    if field.ragged:
        offsets = np.cumsum([0, *map(len, values)])
        together = np.empty((int(offsets[-1]), *_sides(field)[1:]), field.dtype)  # np.concatenate changes byte orders
        for value, start in zip(values, offsets.tolist(), strict=False):
            together[start : start + len(value)] = value
        return Ragged(together, offsets)
    return objects(values)


def _sides(field: Field) -> tuple[int, ...]:
    return tuple(side or 0 for side in field.shape)


def adapted(value: Any, field: Field) -> Any:
    """Return an array that was written without its last side, of 1, or in another order of bytes, as it was."""
    if value.ndim + 1 == len(field.shape):
        value = value[..., None]
    same = value.dtype.newbyteorder("=") == field.dtype.newbyteorder("=")
    return value.astype(field.dtype, copy=False) if same else value


def told(field: Field) -> list[Any]:
    """Return a field as JSON can hold it.

    >>> told(Field(np.dtype("f4"), (None, 2))), field_told(told(Field(TEXT))) == Field(TEXT)
    (["'<f4'", [None, 2]], True)
    """
    return [repr(np.lib.format.dtype_to_descr(field.dtype)), list(field.shape)]


def field_told(told: Sequence[Any]) -> Field:
    """Return the field that is told so.

    Raises
    ------
    ValueError, TypeError, SyntaxError
        If none is.
    """
    descr, shape = told
    field = Field(np.lib.format.descr_to_dtype(ast.literal_eval(descr)), tuple(shape))
    if field.dtype.hasobject or not all(side is None or (type(side) is int and 0 <= side < 2**40) for side in shape):
        raise ValueError(f"a column of {field}")
    return field
