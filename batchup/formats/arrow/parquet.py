"""Parquet files: read block by block or in any order, and written in row groups with checksums."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup.errors import FileFormatError, InvalidValueError
from batchup.formats.arrow.columns import columns_within, estimated
from batchup.formats.arrow.parquet_parts import Handles, ParquetPart, group_name
from batchup.formats.arrow.reading import blocks_of, damage_told, is_local, read_columns
from batchup.formats.arrow.types import fields_from, is_list, meta_from, part_of_pyarrow, plain_type, pyarrow, schema_of
from batchup.formats.arrow.writing import Groups, Output, checked_rows, closed_whole
from batchup.formats.rows import write
from batchup.formats.table import BLOCK, Block, Field, Table, Write, block_rows
from batchup.formats.whole import whole_file
from batchup.work_pool.pace import as_bytes

GROUP = 16 * 2**20  # bytes of rows in a row group
AHEAD = 2**20  # bytes of a column that are read at a time
COMPRESSIONS = (None, "zstd", "snappy", "gzip", "brotli", "lz4")


def read_parquet(
    *paths: Any, columns: Sequence[str] | None = None, memory: int | str = "1GiB", on_error: str = "raise"
) -> Any:
    """Read Parquet files: their columns, as array-likes that are read when they are needed, in any order.

    Columns that fit into memory are decoded when they are first needed, and are then as fast as arrays. Larger ones
    are read by row groups, of which the last used are kept: then draw blocks of neighbours, with
    `BlockShuffleSampler`, or write files with small row groups. Times of a time zone are read as UTC, without it.

    Parameters
    ----------
    *paths : str or path-like
        Names of files, or patterns such as ``"part-*.parquet"``, whose files are sorted by name.
    columns : sequence of str, optional
        The columns to read, in this order; all by default. Others are not looked at.
    memory : int or str, default '1GiB'
        How many bytes of decoded columns may lie in memory, of each file. The smallest are decoded first.
    on_error : {'raise', 'skip'}, default 'raise'
        With ``'skip'``, row groups that cannot be read are left out from the damage on, and rows that lack a value
        where there is no nan. Rows can then be read one after the other only.

    Returns
    -------
    dict of array-like, or Rows
        The columns by name; with ``on_error='skip'`` the rows, as dicts, each time anew.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If a file is damaged, or something else, or has other columns than the first one, or columns that are no
        arrays; when it is opened, or the rows concerned are read.

    Examples
    --------
    >>> from batchup.formats import read_parquet, write_parquet
    >>> write_parquet([{"x": [n, n * n], "name": f"no. {n}"} for n in range(5)], "squares.parquet")
    >>> squares = read_parquet("squares.parquet")
    >>> squares["x"][[3, 2]], squares["name"][4]
    (array([[3, 9],
           [2, 4]]), 'no. 4')
    """
    return read_columns(ParquetTable, paths, columns, memory=memory, on_error=on_error)


def write_parquet(
    items: Iterable[Any], path: Any, *, compression: str | None = "zstd", row_group_rows: int | None = None
) -> None:
    """Write items to a Parquet file, with a checksum for each page.

    Parameters
    ----------
    items : iterable of dict or tuple
        The rows, all with the same keys (the parts of tuples are called ``arr_0``, ``arr_1``, ...).
    path : str or path-like
        Name of the file. If it is there it is replaced, once the new one is whole.
    compression : {'zstd', 'snappy', 'gzip', 'brotli', 'lz4', None}, default 'zstd'
        How pages are compressed.
    row_group_rows : int, optional
        Rows in a row group, which is decoded as a whole when rows are read in any order from a file that is larger
        than memory; by default what makes 16 MiB, 2**20 at most.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If an item is no row, or differs from the first ones, or is what Parquet cannot hold.

    Examples
    --------
    >>> from batchup.formats import read_parquet, write_parquet
    >>> write_parquet(({"x": n / 2, "words": np.arange(n)} for n in range(4)), "words.parquet")
    >>> read_parquet("words.parquet", columns=["words"])["words"][1:].tolist()
    [[0], [0, 1], [0, 1, 2]]
    """
    write(items, parquet_sink, path, compression=compression, row_group_rows=row_group_rows)


class ParquetTable(Table):
    """The rows of a Parquet file.

    Parameters
    ----------
    path : str
        Its name.
    columns, memory, on_error
        As for `read_parquet`.
    """

    checksums = True

    def __init__(
        self,
        path: str,
        *,
        columns: Sequence[str] | None = None,
        memory: int | str = "1GiB",
        on_error: str = "raise",
    ) -> None:
        self._memory = as_bytes(memory, "memory")
        self._handles = Handles(path)
        with damage_told(path):
            file = self._handles.opened()
            schema, self._footer = file.schema_arrow, file.metadata
        self._bounds = self._row_groups(path)
        rows = int(self._bounds[-1]) if on_error == "raise" else None
        super().__init__(path, fields_from(schema, path, columns), rows, meta_from(schema), on_error)
        self._leaves = _leaves_of(schema, self._footer.num_columns)
        self.bytes_total = os.path.getsize(path) if is_local(path) else None

    def blocks(self, names: Sequence[str] | None = None) -> Iterator[Block]:
        fields = {name: self.fields[name] for name in self.chosen(names)}
        if not fields:
            return
        with damage_told(self.path), self._handles.fresh(AHEAD) as file:
            for number, (first, last) in enumerate(pairwise(self._bounds.tolist())):
                rows = max(1, min(block_rows(fields), BLOCK * (last - first) // max(1, self._stored(number, fields))))
                yield from self._group(file, number, fields, rows)
                self.bytes_done = (self.bytes_total or 0) * last // max(1, int(self._bounds[-1]))

    def columns(self) -> dict[str, Any] | None:
        if self.on_error == "skip":
            return None
        groups, rows = range(len(self._bounds) - 1), int(self._bounds[-1])
        stored = {name: sum(self._stored(number, [name]) for number in groups) for name in self.fields}
        sizes = {name: estimated(field, rows, stored[name]) for name, field in self.fields.items()}
        found = columns_within(
            self._memory,
            sizes,
            lambda name: ParquetPart(self._handles, name, self.fields[name], self._bounds, self._memory),
        )
        return {name: found[name] for name in self.fields}

    def _row_groups(self, path: str) -> NDArray[np.intp]:
        """Return the first row of each row group, and behind them the number of rows."""
        counts = [self._footer.row_group(number).num_rows for number in range(self._footer.num_row_groups)]
        if min(counts, default=0) < 0 or sum(counts) != self._footer.num_rows or sum(counts) >= 2**62:
            raise FileFormatError(
                f"{path} is damaged: it says that it has {self._footer.num_rows:,} rows, and its row groups {counts}"
            )
        return np.array([0, *accumulate(counts)], np.intp)

    def _stored(self, number: int, names: Iterable[str]) -> int:
        """Return how many bytes columns take in a row group, before they are compressed."""
        group = self._footer.row_group(number)
        return sum(group.column(leaf).total_uncompressed_size for name in names for leaf in self._leaves[name])

    def _group(self, file: Any, number: int, fields: Mapping[str, Field], rows: int) -> Iterator[Block]:
        """Yield the rows of a row group, up to where it is damaged."""
        done, last = self._bounds[number : number + 2].tolist()
        batches = self._batches(file, number, list(fields), rows)
        while True:
            try:
                batch = next(batches, None)
                if batch is None and done < last:
                    raise FileFormatError(f"{self._where(number)} has only {done - int(self._bounds[number]):,} rows")
            except FileFormatError as error:
                left_out = f"; rows {done:,} to {last - 1:,} are left out" if self.on_error == "skip" else ""
                self.problem(FileFormatError(f"{self._named(file, number, fields, error)}{left_out}"))
                return
            if batch is None:
                return
            yield from blocks_of(self, batch, fields, done)
            done += batch.num_rows

    def _batches(self, file: Any, number: int, names: list[str], rows: int) -> Iterator[Any]:
        with damage_told(self._where(number)):
            yield from file.iter_batches(rows, row_groups=[number], columns=names)

    def _named(self, file: Any, number: int, fields: Mapping[str, Field], error: FileFormatError) -> str:
        """Return what is wrong with a row group, after it was found out with which column."""
        where = self._where(number)
        for name in fields:
            try:
                for _ in self._batches(file, number, [name], block_rows({name: fields[name]})):
                    pass
            except FileFormatError as same:
                return str(same).replace(where, f"{where}, column {name!r},", 1)
        return str(error)

    def _where(self, number: int) -> str:
        return group_name(self.path, number, self._bounds)


@contextlib.contextmanager
def parquet_sink(
    path: Any,
    fields: Mapping[str, Field],
    *,
    rows: int | None = None,
    meta: Mapping[str, Any] | None = None,
    compression: str | None = "zstd",
    row_group_rows: int | None = None,
) -> Iterator[Write]:
    """Open a Parquet file to which blocks are written; see `write_parquet`.

    Parameters
    ----------
    path, fields, rows, meta
        As for any `Sink`.
    compression, row_group_rows
        As for `write_parquet`.
    """
    if compression not in COMPRESSIONS:
        raise InvalidValueError(f"compression must be one of {list(COMPRESSIONS)}, got {compression!r}")
    group_rows = checked_rows(row_group_rows, "row_group_rows")
    schema = schema_of(fields, meta, "Parquet files")
    with whole_file(path) as file:
        output = Output(file)
        writer = part_of_pyarrow("pyarrow.parquet").ParquetWriter(
            output,
            schema,
            version="2.6",
            compression=compression or "none",
            use_dictionary=_with_dictionaries(schema),
            write_page_checksum=True,
        )
        with closed_whole(writer, output):
            groups = Groups(fields, schema, _put(writer), GROUP, group_rows, rows)
            yield groups.write
            groups.finish()


def _put(writer: Any) -> Any:
    def put(group: Any) -> None:
        try:
            writer.write_table(group, row_group_size=max(1, len(group)))
        except pyarrow().ArrowInvalid as error:
            raise InvalidValueError(f"Parquet cannot hold a value: {error}") from error

    return put


def _with_dictionaries(schema: Any) -> list[str]:
    """Return the columns whose values are best written as numbers in a list of them: texts, and single bytes."""
    types, found = pyarrow().types, []
    for column in schema:
        kind, path = plain_type(column.type), column.name
        while is_list(kind) or types.is_fixed_size_list(kind):
            kind = kind.value_type
            path += ".list.element"
        if types.is_string(kind) or types.is_binary(kind) or types.is_uint8(kind) or types.is_int8(kind):
            found.append(path)
    return found


def _leaves_of(schema: Any, count: int) -> dict[str, range]:
    """Return the numbers of the columns in which Parquet keeps the values of each one; of all, if that is not clear."""
    ends = list(accumulate((_leaves(column.type) for column in schema), initial=0))
    if ends[-1] != count:
        return dict.fromkeys(schema.names, range(count))
    return {column.name: range(*span) for column, span in zip(schema, pairwise(ends), strict=True)}


def _leaves(kind: Any) -> int:
    kind = plain_type(kind)
    if not kind.num_fields:
        return 1
    return sum(_leaves(kind.field(number).type) for number in range(kind.num_fields))
