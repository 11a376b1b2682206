"""Tables row by row: what readers hand to a `Dataset`, and what writers make of its items."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

import numpy as np

from batchup._repr import Represented
from batchup.columns import Ragged
from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.formats.many import Opener, Tables
from batchup.formats.paths import found
from batchup.formats.table import (
    BLOCK,
    BYTES,
    GUESSED,
    MOST_ROWS,
    TEXT,
    Block,
    Field,
    Table,
    Write,
    fields_of,
    objects,
)

# Opens a file to write; `with` it comes what writes a block. It is called with
#   path       str or path-like, the name of the file
#   fields     a mapping of str to Field, the columns
#   rows=      an int, how many rows there will be; None if that is not known
#   meta=      a mapping, or None, what else the file is to keep; left out where a format has no room for it
# and with options of the format by name. It raises an InvalidTypeError if the format cannot hold a column.
Sink: TypeAlias = Callable[..., AbstractContextManager[Write]]


def read(
    opener: Opener, paths: tuple[Any, ...], names: Sequence[str] | None = None, folders: bool = False, **options: Any
) -> Any:
    """Return what a reader returns: the columns of files as a dict, if rows can be read in any order, else `Rows`.

    Parameters
    ----------
    opener : callable
        Returns the `Table` of a path; takes the options. A class, or a function of a module, so that it can be pickled.
    paths : tuple
        What the user named: files, or patterns.
    names : sequence of str, optional
        The columns that are wanted; all by default.
    folders : bool, default False
        Whether a path may be a folder.
    **options
        For `opener`.
    """
    table = Tables(opener, found(paths, folders), options)
    chosen = table.chosen(names)
    columns = table.columns()
    return Rows(table, chosen) if columns is None else {name: columns[name] for name in chosen}


class Rows(Represented):
    """The rows of a table, as dicts, each time anew.

    Parameters
    ----------
    table : Table
        What they are read from; one that can be pickled, such as `Tables`.
    names : sequence of str, optional
        The columns that are wanted; all by default.
    """

    def __init__(self, table: Table, names: Sequence[str] | None = None) -> None:
        self.table = table
        self.names = table.chosen(names)

    def __len__(self) -> int:
        if self.table.rows is None:
            raise InvalidTypeError("how many rows there are is known only when all have been read")
        return self.table.rows

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for block in self.table.blocks(self.names):
            yield from rows_of(block)


def rows_of(block: Block) -> Iterator[dict[str, Any]]:
    """Yield the rows of a block as dicts."""
    names = list(block)
    for row in zip(*block.values(), strict=True):
        yield dict(zip(names, row, strict=True))


def write(items: Iterable[Any], sink: Sink, path: Any, **options: Any) -> None:
    """Write items to a file, whose columns are those of the first ones.

    Parameters
    ----------
    items : iterable of dict or tuple
        All with the same keys; the parts of tuples are called ``arr_0``, ``arr_1``, ...
    sink : callable
        What opens the file.
    path : str or path-like
        Its name.
    **options
        For `sink`.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If an item is no row, or differs from the first ones, or is what the format cannot hold.
    """
    blocks = blocks_of(items)
    first = next(blocks, {})
    with sink(path, fields_of(first), **options) as put:
        if first:
            put(first)
        for block in blocks:
            put(block)


def blocks_of(items: Iterable[Any]) -> Iterator[Block]:
    """Yield blocks of the rows that items are; all of them are made of the same as the first one."""
    fields: dict[str, Field] | None = None
    first = size = 0
    rows: list[Mapping[str, Any]] = []
    for number, item in enumerate(items):
        row = as_row(number, item)
        if rows and row.keys() != rows[0].keys():
            raise InvalidValueError(f"item {number} must have the keys {list(rows[0])} as others do, got {list(row)}")
        rows.append(row)
        size += sum(getattr(value, "nbytes", GUESSED) for value in row.values())
        if size > BLOCK or len(rows) == MOST_ROWS:
            block = _block(rows, first, fields)
            fields = fields or fields_of(block)
            yield block
            first, size, rows = number + 1, 0, []
    if rows:
        yield _block(rows, first, fields)


def as_row(number: int, item: Any) -> Mapping[str, Any]:
    """Return an item as a dict whose keys are the names of columns.

    Raises
    ------
    InvalidTypeError
        If it is neither a dict with such keys nor a tuple.
    """
    if isinstance(item, Mapping):
        if wrong := [key for key in item if not isinstance(key, str)]:
            raise InvalidTypeError(f"item {number}: the names of columns are str, got {wrong[0]!r}")
        if item:
            return item
    elif isinstance(item, tuple) and item:
        return {f"arr_{index}": part for index, part in enumerate(item)}
    raise InvalidTypeError(
        f"item {number}: rows are dicts or tuples, and not empty, got {type(item).__name__}; a single value becomes "
        'one by .map(lambda x: {"x": x})'
    )


def _block(rows: list[Mapping[str, Any]], first: int, fields: Mapping[str, Field] | None) -> Block:
    if fields is not None and rows[0].keys() != fields.keys():
        raise InvalidValueError(f"item {first} must have the keys {list(fields)} as others do, got {list(rows[0])}")
    return {
        name: _column([row[name] for row in rows], name, first, None if fields is None else fields[name])
        for name in rows[0]
    }


def _column(values: list[Any], name: str, first: int, field: Field | None) -> Any:
    """Return values as a column of a block; like those before, if a field is given."""
    column = _texts(values, field)
    if column is None:
        column = _arrays(values, name, first, field)
    if field is not None and fields_of({name: column})[name] != field:
        found = fields_of({name: column})[name]
        raise InvalidValueError(f"items {first} to {first + len(values) - 1}: {name!r} is {found}, but {field} before")
    return column


def _texts(values: list[Any], field: Field | None) -> Any:
    for kind, dtype in ((str, TEXT), (bytes, BYTES)):
        if field in (None, Field(dtype)) and all(isinstance(value, kind) for value in values):
            return objects(values)
    return None


def _arrays(values: list[Any], name: str, first: int, field: Field | None) -> Any:
    if all(type(value) in (int, float, bool) for value in values):
        return np.array(values)
    try:
        arrays = [np.asarray(value) for value in values]
    except ValueError as error:
        raise InvalidValueError(f"items from {first} on: {name!r} holds what is no array: {error}") from None
    for number, array in enumerate(arrays, first):
        if array.dtype.hasobject:
            raise InvalidTypeError(
                f"item {number}: {name!r} must be of numbers or texts, got {values[number - first]!r:.60}"
            )
        if array.dtype != arrays[0].dtype or array.ndim != arrays[0].ndim:
            raise InvalidValueError(
                f"item {number}: {name!r} is {Field(array.dtype, array.shape)}, but {arrays[0].dtype} with "
                f"{arrays[0].ndim} sides in item {first}"
            )
    return _joined(arrays, field)


def _joined(arrays: list[Any], field: Field | None) -> Any:
    """Return arrays of one dtype, and with equally many sides, as a column."""
    shapes = {array.shape for array in arrays}
    inner = {shape[1:] for shape in shapes}
    if len(shapes) == 1 and (field is None or None not in field.shape):
        return np.stack(arrays, dtype=arrays[0].dtype)  # whose byte order would be lost else
    if len(inner) == 1 and (field is None or None not in field.shape[1:]):
        return Ragged.of(arrays, dtype=arrays[0].dtype)
    return objects(arrays)
