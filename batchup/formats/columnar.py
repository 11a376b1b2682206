"""Tables of files whose rows can be read in any order: their blocks are cut from their columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from batchup.columns import Column, Ragged, SequenceColumn, as_column
from batchup.errors import ChecksumError, FileFormatError, UnsupportedError
from batchup.formats.table import Block, Field, Table, block_rows


class ColumnarTable(Table):
    """The rows of columns that gather.

    Where rows cannot be read, all those that lie together with them are left out, if that is asked for.

    Parameters
    ----------
    path : str
        Name of the file, for messages.
    columns : mapping of str to array-like
        By name, all of one length.
    fields : mapping of str to Field, optional
        What they are; by default what they say of themselves.
    rows : int, optional
        How many rows there are.
    meta, on_error
        As for `Table`.
    together : int, default 1
        How many rows lie together.
    damaged : sequence of (int, int, str)
        The first and the last rows of those that are known to be damaged, and why. They are left out,
        and rows can be read from front to back only.
    """

    def __init__(
        self,
        path: str,
        columns: Mapping[str, Any],
        fields: Mapping[str, Field] | None = None,
        rows: int | None = None,
        meta: dict[str, Any] | None = None,
        on_error: str = "raise",
        together: int = 1,
        damaged: Sequence[tuple[int, int, str]] = (),
    ) -> None:
        self._columns = dict(columns)
        self._damaged = damaged
        self._together = max(1, together)
        known = {name: field_of(column) for name, column in columns.items()} if fields is None else fields
        lengths = {len(column) for column in self._columns.values()} or {0}
        self._rows = lengths.pop() if rows is None else rows
        super().__init__(path, known, self._rows, meta, on_error)
        if damaged:
            self.rows = None

    def columns(self) -> dict[str, Any] | None:
        return None if self._damaged else dict(self._columns)

    def blocks(self, names: Sequence[str] | None = None) -> Iterator[Block]:
        wanted = {name: as_column(self._columns[name]) for name in self.chosen(names)}
        step = block_rows({name: self.fields[name] for name in wanted})
        if step > self._together:
            step -= step % self._together
        for first, last in self._sound():
            start = first
            while start < last:
                stop = min(start - start % step + step, last)
                yield from self._block(wanted, start, stop)
                start = stop

    def close(self) -> None:
        self._columns = {}

    def _sound(self) -> Iterator[tuple[int, int]]:
        """Yield between which rows none is known to be damaged, and note those that are."""
        start = 0
        for first, last, reason in sorted(self._damaged):
            self.problem(ChecksumError(f"{self.path}, rows {first} to {last}: {reason}"))
            yield start, first
            start = max(start, last + 1)
        yield start, self._rows

    def _block(self, wanted: Mapping[str, Column], start: int, stop: int) -> Iterator[Block]:
        """Yield rows, in parts if some cannot be read."""
        try:
            yield self._read(wanted, start, stop)
            return
        except FileFormatError as error:
            if self.on_error == "raise":
                raise
            damage = error
        if stop - start <= self._together:
            self.problem(damage)
            return
        first = start
        while first < stop:
            last = min(stop, first - first % self._together + self._together)
            yield from self._block(wanted, first, last)
            first = last

    def _read(self, wanted: Mapping[str, Column], start: int, stop: int) -> Block:
        block: Block = {}
        for name, column in wanted.items():
            try:
                values = column.gather(slice(start, stop))
            except (FileFormatError, MemoryError, UnsupportedError):
                raise
            except Exception as error:
                where = f"{self.path}, rows {start} to {stop - 1}, column {name!r}"
                raise FileFormatError(f"{where} cannot be read: {error}") from error
            block[name] = values if isinstance(values, Ragged) else np.asarray(values)
        return block


def field_of(column: Any) -> Field:
    """Return what a column says of itself.

    >>> str(field_of(np.zeros((5, 2), np.float32))), str(field_of(Ragged.of([[1, 2], [3]])))
    ('float32 (2,)', 'int64 (*,)')
    """
    if isinstance(column, SequenceColumn):
        return Field(column.dtype, (None, *column.inner_shape))
    return Field(np.dtype(column.dtype), tuple(int(side) for side in column.shape[1:]))
