"""Columns of other dtypes than they are read with, as the user asks, without loss."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup.columns import Ragged
from batchup.errors import FileFormatError, InvalidTypeError, InvalidValueError
from batchup.formats.asked import dtype_of
from batchup.formats.table import BYTES, TEXT, Block, Field, Table, length_of, objects


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
        before, first = self._table.fields, 0
        for block in self._table.blocks(names):
            yield {
                name: values if self.fields[name] == before[name] else self._cast(values, name, first)
                for name, values in block.items()
            }
            first += length_of(block)
            self.bytes_done, self.bytes_total = self._table.bytes_done, self._table.bytes_total

    def check(self) -> Iterator[FileFormatError]:
        yield from self._table.check()

    def close(self) -> None:
        self._table.close()

    def _cast(self, values: Any, name: str, first: int) -> Any:
        """Return values in the dtype that is asked for; an error names the rows among which one cannot be."""
        try:
            return self._converted(values, name)
        except InvalidValueError as error:
            raise InvalidValueError(f"{self.path}, rows {first} to {first + len(values) - 1}, {error}") from None

    def _converted(self, values: Any, name: str) -> Any:
        field = self.fields[name]
        if isinstance(values, Ragged):
            return Ragged(cast(values.values, field.dtype, name), values.offsets)
        if field.fixed or field.dtype in (TEXT, BYTES):
            return cast(values, field.dtype, name)
        return objects([cast(value, field.dtype, name) for value in values])


def cast(values: NDArray[Any], dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    """Return the same values in another dtype; floats may be rounded to floats.

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
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an imaginary part that goes, which is looked at below
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
    if values.dtype.kind == "c":
        imaginary = _differ(values.imag, found.imag) if found.dtype.kind == "c" else values.imag != 0
        return np.asarray(_differ(values.real, found.real) | imaginary, bool)
    if found.dtype.kind == "c":
        return _differ(values, found.real)
    if found.dtype.kind == values.dtype.kind == "f":
        return np.asarray((np.isfinite(values) & ~np.isfinite(found)) | ((values != 0) & (found == 0)), bool)
    with np.errstate(all="ignore"):
        back = found.astype(values.dtype)
    same = (back == values) | ((back != back) & (values != values))
    for whole, other in ((values, found), (found, values)):
        if whole.dtype.kind in "iu" and other.dtype.kind == "f":  # beyond its limits, what comes back means nothing
            same &= _within(other, whole.dtype)
    if values.dtype.kind in "iu" and found.dtype.kind in "iu":  # a sign that is lost comes back
        same &= (found < 0) == (values < 0)
    return np.asarray(~same, bool)


def _within(floats: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[np.bool_]:
    """Return which floats lie within the limits of integers of a dtype."""
    above = 2.0 ** (8 * dtype.itemsize - (dtype.kind == "i"))
    wide = floats.astype(np.float64)
    return np.asarray((wide < above) & (wide >= (-above if dtype.kind == "i" else 0)), bool)


def _checked(dtype: Any, field: Field, name: str) -> np.dtype[Any]:
    """Return the dtype; an error if what is there cannot be cast to it."""
    wanted = dtype_of(dtype, name)
    words = {"U": "texts", "S": "bytes", "M": "times", "m": "spans of time"}
    had, has = words.get(field.dtype.kind, "numbers"), words.get(wanted.kind, "numbers")
    if wanted.hasobject or wanted.kind == "V" or had != has:
        raise InvalidTypeError(f"column {name!r} is {field}: {had} cannot be cast to {wanted}")
    return wanted
