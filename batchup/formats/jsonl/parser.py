"""Lines of JSON made to columns, and what is wrong with them told line by line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from batchup.errors import FileFormatError
from batchup.formats.jsonl.columns import column_of, field_of, remedy
from batchup.formats.jsonl.plain import PlainLines
from batchup.formats.lines import sound_parts
from batchup.formats.table import Block, Field, Table, length_of

Pairs: TypeAlias = "tuple[tuple[str, Any], ...]"  # what an object is read as: lists are lists
_BLANK = " \t\r"
_decoded = json.JSONDecoder(object_pairs_hook=tuple).raw_decode
_NESTED = (
    "it is an object in an object, which is no column: make it flat, or read the lines as they are: "
    "batchup.Dataset.read.text(...).map(json.loads)"
)


class Parser:
    """Makes blocks of the lines of a table that come one after the other, and counts them.

    Parameters
    ----------
    table : Table
        Whose rows they are, and what is told of those that are damaged.
    names : sequence of str
        The columns that are wanted.
    """

    def __init__(self, table: Table, names: Sequence[str]) -> None:
        self._table = table
        self._fields = {name: table.fields[name] for name in names}
        self._strict = self._fields.keys() == table.fields.keys()
        self._plain = PlainLines(self._fields, self._strict)
        self._lines = 0
        self._rows = 0

    def blocks(self, data: bytes) -> Iterator[Block]:
        """Yield the blocks that whole lines stand for."""
        try:
            block = self._plain.block(data) or self._block([line for line in data.decode().split("\n") if line])
        except (ValueError, RecursionError):
            yield from self._sound_blocks(data)
        else:
            self._rows += length_of(block)
            if length_of(block):
                yield block
        self._lines += data.count(b"\n")

    def _block(self, lines: Sequence[str]) -> Block:
        """Return the block of lines of which none is empty."""
        if not lines:
            return {}
        found = list(map(_decoded, lines))
        rows, ends = zip(*found, strict=True)
        if list(ends) != list(map(len, lines)):
            raise ValueError("there is more than an object in a line")
        values = self._in_order(rows) or self._by_name(rows)
        return {name: column_of(values[name], field, name) for name, field in self._fields.items()}

    def _in_order(self, rows: Sequence[Pairs]) -> Mapping[str, Sequence[Any]] | None:
        """Return the values by name, if all rows have the same keys in the same order; None if they have not."""
        if set(map(type, rows)) != {tuple}:
            raise ValueError("expected objects")
        if set(map(len, rows)) != {len(self._table.fields)}:
            return None
        values = {}
        for name, pairs in zip(self._table.fields, zip(*rows, strict=True), strict=True):
            names, values[name] = zip(*pairs, strict=True)
            if {*names} != {name}:
                return None
        return values

    def _by_name(self, rows: Sequence[Pairs]) -> Mapping[str, Sequence[Any]]:
        values: dict[str, list[Any]] = {name: [] for name in self._fields}
        for pairs in rows:
            row = dict(pairs)
            named = pairs if self._strict else [name for name, _ in pairs if name in values]
            if len(named) != len(values):
                raise ValueError("expected other keys")
            for name, those in values.items():
                if name not in row:
                    raise ValueError("expected other keys")
                those.append(row[name])
        return values

    def _sound_blocks(self, data: bytes) -> Iterator[Block]:
        """Yield what can be read; the lines that cannot are told to the table."""
        lines = [(number, line) for number, line in enumerate(data.split(b"\n"), self._lines + 1) if line.strip()]

        def block(start: int, stop: int) -> Block:
            try:
                return self._block([line.decode().strip(_BLANK) for _, line in lines[start:stop]])
            except (ValueError, RecursionError) as error:
                number, line = lines[start]
                where = f"{self._table.path}, line {number} (row {self._rows + start})"
                raise FileFormatError(f"{where}{self._reason(line, error)}") from None

        yield from sound_parts(block, 0, len(lines), self._table)
        self._rows += len(lines)

    def _reason(self, line: bytes, error: Exception) -> str:
        """Return what is wrong with a line that cannot be read."""
        try:
            row = row_of(line)
        except ValueError as reason:
            return str(reason)
        wanted, names = list(self._fields), list(row)
        if {*names} != {*self._table.fields} if self._strict else not {*wanted} <= {*names}:
            return (
                f": expected the keys {wanted}, as the first row has, got {names}: mend it, or read what all rows have "
                "with columns=[...]"
            )
        for name, field in self._fields.items():
            try:
                column_of([row[name]], field, name)
            except ValueError:
                shown = json.dumps(row[name], ensure_ascii=False)
                return f", column {name!r}: expected {field}, got {shown:.60}: {remedy(row[name], field, name)}"
        return f": {error}"


def row_of(line: bytes) -> dict[str, Any]:
    """Return the object in a line.

    Raises
    ------
    ValueError
        If there is none; the message tells where in the line.

    Examples
    --------
    >>> row_of(b'{"x": 1, "y": [2, 3]}')
    {'x': 1, 'y': [2, 3]}
    """
    try:
        text = line.decode().strip(_BLANK)
        pairs, end = _decoded(text)
    except UnicodeDecodeError as error:
        raise ValueError(f", byte {error.start} of it: that is no UTF-8 ({error.reason})") from None
    except json.JSONDecodeError as error:
        raise ValueError(f", place {error.pos}: expected an object in JSON, got {line[:60]!r}: {error.msg}") from None
    except RecursionError:
        raise ValueError(": it is nested too deep") from None
    except ValueError as error:  # of integers that have thousands of digits
        raise ValueError(f": {error}") from None
    if not isinstance(pairs, tuple):
        raise ValueError(f': expected an object such as {{"x": 1}}, got {text!r:.60}')
    if end != len(text):
        raise ValueError(f", place {end}: expected one object in a line, and there is more: {text[end:]!r:.60}")
    row = dict(pairs)
    if len(row) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f": the key {twice!r} is there more than once")
    return row


def first_rows(
    path: str,
    data: bytes,
    dtypes: Mapping[str, np.dtype[Any]],
    shapes: Mapping[str, tuple[int | None, ...]],
) -> dict[str, Field]:
    """Return what the first rows of a file show of its columns, where the user does not tell.

    Raises
    ------
    FileFormatError
        If they are no rows.
    """
    rows: list[dict[str, Any]] = []
    reason = ""
    for number, line in enumerate(data.split(b"\n"), 1):
        if line.strip():
            try:
                rows.append(row_of(line))
            except ValueError as error:
                reason = reason or f"{path}, line {number}{error}"
    if not rows:
        if reason:
            raise FileFormatError(reason)
        names = dict.fromkeys([*dtypes, *shapes])
        return {name: field_of([], dtypes.get(name), shapes.get(name)) for name in names}
    fields = {}
    for name in rows[0]:
        try:
            values = [row[name] for row in rows if name in row]
            fields[name] = field_of(values, dtypes.get(name), shapes.get(name))
        except ValueError:
            raise FileFormatError(f"{path}, column {name!r}: {_NESTED}") from None
    return fields
