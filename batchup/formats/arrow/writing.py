"""Rows on their way into Arrow's files: put together to groups that do not depend on the blocks that they came in."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from batchup._numbers import whole_number
from batchup.formats.arrow.types import is_list, part_of_pyarrow, plain_type, pyarrow
from batchup.formats.arrow.values import list_parts, plain, table_of
from batchup.formats.checked import Checked
from batchup.formats.table import Block, Field

MOST_ROWS = 2**20  # in a group
OFFSET = 4  # bytes that Arrow keeps of a text or a list beside what is in it


class Groups:
    """Cuts rows into groups, each of so many rows, or else of so many bytes.

    Parameters
    ----------
    fields : mapping of str to Field
        The columns.
    schema : pyarrow.Schema
        Of the file.
    put : callable
        Takes a group, a `pyarrow.Table` in one piece.
    group_bytes : int
        After how many bytes a group ends.
    group_rows : int, optional
        How many rows to put into each instead.
    rows : int, optional
        How many rows there will be, if that is known.
    """

    def __init__(
        self,
        fields: Mapping[str, Field],
        schema: Any,
        put: Callable[[Any], object],
        group_bytes: int,
        group_rows: int | None = None,
        rows: int | None = None,
    ) -> None:
        self._checked = Checked(fields, rows)
        self._schema = schema
        self._put = put
        self._rows = MOST_ROWS if group_rows is None else group_rows
        self._bytes = group_bytes if group_rows is None else 2**62
        self._begun: list[Any] = []
        self._begun_rows = self._begun_bytes = 0

    def write(self, block: Block) -> None:
        """Take a block; write what has become full."""
        self._checked.take(block)
        table = table_of(block, self._checked.fields, self._schema)
        ends = np.cumsum(row_bytes(table))
        start = 0
        while start < len(table):
            before = int(ends[start - 1]) if start else 0
            full = int(np.searchsorted(ends, before + self._bytes - self._begun_bytes)) + 1
            stop = min(full, start + self._rows - self._begun_rows, len(table))
            self._begun.append(table.slice(start, stop - start))
            self._begun_rows += stop - start
            self._begun_bytes += int(ends[stop - 1]) - before
            if stop == full or self._begun_rows == self._rows:
                self._flush()
            start = stop

    def finish(self) -> None:
        """Write what is left."""
        self._checked.finish()
        if self._begun:
            self._flush()

    def _flush(self) -> None:
        nothing = self._begun[0].slice(0, 0)  # behind which even one table is copied, to memory of its very size
        group, self._begun = pyarrow().concat_tables([*self._begun, nothing]).combine_chunks(), []
        self._begun_rows = self._begun_bytes = 0
        self._put(group)


def row_bytes(table: Any) -> NDArray[np.int64]:
    """Return how many bytes each row of a table takes, about.

    >>> import pyarrow as pa
    >>> row_bytes(pa.table({"x": pa.array([1.5, 2.5]), "y": pa.array(["", "four"])})).tolist()
    [12, 16]
    """
    sizes = np.zeros(len(table), np.int64)
    for column in table.columns:
        start = 0
        for chunk in column.chunks:
            sizes[start : start + len(chunk)] += _sizes(chunk)
            start += len(chunk)
    return sizes


def _sizes(array: Any) -> Any:
    pa = pyarrow()
    array = plain(array)
    kind = array.type
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return part_of_pyarrow("pyarrow.compute").binary_length(array).to_numpy(zero_copy_only=False) + OFFSET
    if pa.types.is_struct(kind):
        return sum(_sizes(part) for part in array.flatten())
    if not is_list(kind):
        return _width(kind)
    offsets, child = list_parts(array)
    ends = np.concatenate([[0], np.cumsum(np.broadcast_to(_sizes(child), len(child)), dtype=np.int64)])
    return np.diff(ends[offsets]) + OFFSET


def _width(kind: Any) -> int:
    types = pyarrow().types
    kind = plain_type(kind)
    if types.is_fixed_size_list(kind):
        return int(kind.list_size) * _width(kind.value_type)
    if types.is_null(kind) or types.is_string(kind) or types.is_binary(kind):
        return OFFSET  # texts in lists of one length are short
    return max(1, int(kind.bit_width) // 8)


def checked_rows(rows: Any, what: str) -> int | None:
    """Return a number of rows that a user may give."""
    return None if rows is None else whole_number(rows, what, 1)


class Output(io.RawIOBase):
    """What Arrow writes to; after an error it takes whatever comes, so that its writer can be closed."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._place = 0
        self.failed = False

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        size = len(memoryview(data).cast("B"))
        if not self.failed:
            self._file.write(data)
        self._place += size
        return size

    def tell(self) -> int:
        return self._place


@contextlib.contextmanager
def closed_whole(writer: Any, output: Output) -> Iterator[None]:
    """Close one of Arrow's writers at the end of a block, after an error without a word."""
    try:
        yield
        writer.close()
    except BaseException:
        output.failed = True
        with contextlib.suppress(Exception):
            writer.close()
        raise
