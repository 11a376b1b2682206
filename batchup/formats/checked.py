"""What a sink is given, checked: blocks that are made of what was said when the file was begun."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from batchup.columns import Ragged
from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.formats.table import BYTES, TEXT, Block, Field, fields_of, length_of, refuse, shown


class Checked:
    """Counts the rows of blocks, and sees to it that each of them is made of the same.

    Parameters
    ----------
    fields : mapping of str to Field
        Of what.
    rows : int, optional
        How many rows there will be, if that is known.

    Examples
    --------
    >>> checked = Checked({"x": Field(np.dtype("i8"))})
    >>> checked.take({"x": np.arange(3)}), checked.take({"x": np.arange(4)}), checked.rows
    (0, 3, 7)
    """

    def __init__(self, fields: Mapping[str, Field], rows: int | None = None) -> None:
        self.fields = dict(fields)
        self.rows = 0
        self._expected = rows

    def take(self, block: Block) -> int:
        """Return the number of the first row of the next block.

        Raises
        ------
        InvalidValueError
            If it is not made of the fields, or of more rows than there should be.
        """
        first, count = self.rows, length_of(block)
        where = f"rows {first} to {first + count - 1}"
        if list(block) != list(self.fields):
            raise InvalidValueError(f"{where}: expected the columns {list(self.fields)}, got {list(block)}")
        for name, values in block.items():
            if len(values) != count:
                raise InvalidValueError(
                    f"{where}: {name!r} has {len(values)} values, {next(iter(block))!r} has {count}"
                )
            if not is_of(values, self.fields[name]):
                found = shown(fields_of({name: values}))
                raise InvalidValueError(f"{where}: expected {name}: {self.fields[name]}, got {found}")
        self.rows += count
        if self._expected is not None and self.rows > self._expected:
            raise InvalidValueError(f"{where}: there were to be {self._expected} rows, and there are more")
        return first

    def finish(self) -> None:
        """Raise an InvalidValueError if rows are missing."""
        if self._expected is not None and self.rows != self._expected:
            raise InvalidValueError(f"there were to be {self._expected} rows, and there are {self.rows}")


def is_of(values: Any, field: Field) -> bool:
    """Return whether values of a block are what a field says.

    >>> is_of(np.zeros((2, 3)), Field(np.dtype("f8"), (3,))), is_of(np.zeros((2, 3)), Field(np.dtype("f8"), (None,)))
    (True, False)
    """
    if field.dtype in (TEXT, BYTES):
        kind = str if field.dtype == TEXT else bytes
        texts = isinstance(values, np.ndarray) and values.dtype == object and values.ndim == 1
        return texts and all(issubclass(found, kind) for found in set(map(type, values)))
    if field.ragged:
        return isinstance(values, Ragged) and (values.dtype, (None, *values.inner_shape)) == (field.dtype, field.shape)
    if not isinstance(values, np.ndarray):
        return False
    if field.fixed:
        return bool(values.dtype == field.dtype and values.shape[1:] == field.shape)
    return values.dtype == object and all(_fits(value, field) for value in values)


def _fits(value: Any, field: Field) -> bool:
    return (
        isinstance(value, np.ndarray)
        and value.dtype == field.dtype
        and value.ndim == len(field.shape)
        and all(wanted in (None, side) for wanted, side in zip(field.shape, value.shape, strict=True))
    )


def sides(field: Field) -> tuple[int, ...]:
    """Return the shape of a value; 0 stands for sides that differ.

    >>> sides(Field(np.dtype("f4"), (None, 3)))
    (0, 3)
    """
    return tuple(int(side or 0) for side in field.shape)


def as_json(meta: Any) -> str:
    """Return what is to be kept beside the rows as JSON; an InvalidTypeError if JSON cannot hold it."""
    try:
        return json.dumps(meta)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidTypeError(f"meta can hold what JSON can (numbers, texts, lists, dicts): {error}") from None


def check_fixed(fields: Mapping[str, Field], what: str, texts: str, ragged: str) -> None:
    """Refuse all columns whose values do not take one number of bytes each.

    Parameters
    ----------
    fields : mapping of str to Field
        The columns.
    what : str
        What the format holds.
    texts, ragged : str
        What to do instead with texts and bytes of any length, and with arrays of different shapes.
    """
    for name, field in fields.items():
        if not field.dtype.itemsize:
            refuse(what, name, field, texts)
        if not field.fixed:
            refuse(what, name, field, ragged)
