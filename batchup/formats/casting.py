"""Columns of other dtypes than they are read with, as the user asks, without loss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup.columns import Ragged
from batchup.errors import FileFormatError, InvalidTypeError, InvalidValueError
from batchup.formats.table import BYTES, TEXT, Block, Field, Table, objects


class Cast(Table):
    """A table some of whose columns are of other dtypes.

    Parameters
    ----------
    table : Table
        What it is read from.
    dtypes : mapping of str to dtype
        By the names of columns. Texts may be cast to ``U`` of a length, and back.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If there is no such column, or a text is to be a number.
    """

    def __init__(self, table: Table, dtypes: Mapping[str, Any]) -> None:
        table.chosen(list(dtypes))
        fields = dict(table.fields)
        for name, dtype in dtypes.items():
            fields[name] = Field(_checked(dtype, fields[name], name), fields[name].shape)
        super().__init__(table.path, fields, table.rows, table.meta, table.on_error)
        self.problems = table.problems
        self._table = table

    def blocks(self, names: Sequence[str] | None = None) -> Iterator[Block]:
        before = self._table.fields
        for block in self._table.blocks(names):
            yield {
                name: values if self.fields[name] == before[name] else self._cast(values, name)
                for name, values in block.items()
            }
            self.bytes_done, self.bytes_total = self._table.bytes_done, self._table.bytes_total

    def check(self) -> Iterator[FileFormatError]:
        yield from self._table.check()

    def close(self) -> None:
        self._table.close()

    def _cast(self, values: Any, name: str) -> Any:
        field = self.fields[name]
        if isinstance(values, Ragged):
            return Ragged(cast(values.values, field.dtype, name), values.offsets)
        if field.fixed or field.dtype in (TEXT, BYTES):
            return cast(values, field.dtype, name)
        return objects([cast(value, field.dtype, name) for value in values])


def cast(values: NDArray[Any], dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    """Return the same values in another dtype; floats may be rounded.

    Raises
    ------
    InvalidValueError
        If one of them cannot be held by it.

    Examples
    --------
    >>> cast(np.array([1.0, 2.0]), np.dtype("i2"), "x")
    array([1, 2], dtype=int16)
    """
    if dtype in (TEXT, BYTES):
        return np.asarray(objects(values.tolist()))
    with np.errstate(all="ignore"):
        found: NDArray[Any] = values.astype(dtype)
    wrong = _differ(values, found)
    if wrong.any():
        value = values[wrong][:1].tolist()[0]
        raise InvalidValueError(f"column {name!r}: {value!r:.60} cannot be {dtype}")
    return found


def _differ(values: NDArray[Any], found: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which values are others now, but for the rounding of floats."""
    if values.dtype == object:
        return np.array([had != has for had, has in zip(values.tolist(), found.tolist(), strict=True)], bool)
    if found.dtype.kind in "fc" and values.dtype.kind in "fcbiu":
        return np.asarray(np.isfinite(values) & ~np.isfinite(found), bool)
    back = found.astype(values.dtype)
    same = back == values
    if values.dtype.kind in "iu" and found.dtype.kind in "iu":  # a sign that is lost comes back
        same &= (found < 0) == (values < 0)
    return np.asarray(~same, bool)


def _checked(dtype: Any, field: Field, name: str) -> np.dtype[Any]:
    """Return the dtype; an error if what is there cannot be cast to it."""
    try:
        wanted: np.dtype[Any] = np.dtype(dtype)
    except TypeError:
        raise InvalidValueError(
            f"column {name!r}: {dtype!r} is no dtype of NumPy, such as 'float32' or 'U16'"
        ) from None
    words = {"U": "texts", "S": "bytes"}
    had, has = words.get(field.dtype.kind, "numbers"), words.get(wanted.kind, "numbers")
    if wanted.hasobject or wanted.kind == "V" or had != has:
        raise InvalidTypeError(f"column {name!r} is {field}: {had} cannot be cast to {wanted}")
    return wanted
