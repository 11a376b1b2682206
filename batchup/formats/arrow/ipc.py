"""Arrow's own files, also called Feather or IPC, and streams in files: mapped into memory, read, and written."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup.errors import FileFormatError, InvalidValueError
from batchup.formats.arrow.columns import columns_within, dtype_of, estimated, shape_of
from batchup.formats.arrow.ipc_parts import (
    ArrowPart,
    Batches,
    address_of,
    batch_name,
    is_file,
    lies_as_it_is,
    mapped_column,
)
from batchup.formats.arrow.reading import blocks_of, damage_told, read_columns
from batchup.formats.arrow.types import fields_from, meta_from, pyarrow, schema_of
from batchup.formats.arrow.writing import Groups, Output, checked_rows, closed_whole
from batchup.formats.rows import write
from batchup.formats.table import BLOCK, Block, Field, Table, Write, block_rows
from batchup.formats.whole import whole_file
from batchup.work_pool.pace import as_bytes

BATCH = 16 * 2**20  # bytes of rows in a batch
COMPRESSIONS = (None, "lz4", "zstd")


def read_arrow(
    *paths: Any, columns: Sequence[str] | None = None, memory: int | str = "1GiB", on_error: str = "raise"
) -> Any:
    """Read Arrow files (.arrow, .feather, .ipc), or streams in files, such as those of Hugging Face's data sets.

    The columns are array-likes, read in any order. Numbers and times, and arrays of one shape of them, lie in the
    mapped file, which must not be cut short by others: that ends the program. Other columns, and those of compressed
    files, are decoded when they are first needed, whole or batch by batch. Times of a time zone are read as UTC,
    without it.

    Parameters
    ----------
    *paths : str or path-like
        Names of files, or patterns such as ``"data-*.arrow"``, whose files are sorted by name.
    columns : sequence of str, optional
        The columns to read, in this order; all by default. Others are not looked at.
    memory : int or str, default '1GiB'
        How many bytes of decoded columns may lie in memory, of each file. The smallest are decoded first.
    on_error : {'raise', 'skip'}, default 'raise'
        With ``'skip'``, batches that cannot be read are left out, and rows that lack a value where there is no nan.
        Rows can then be read one after the other only.

    Returns
    -------
    dict of array-like, or Rows
        The columns by name; with ``on_error='skip'``, and of compressed streams, the rows, as dicts, each time anew.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If a file is damaged, or something else, or has other columns than the first one, or columns that are no
        arrays; when it is opened, or the rows concerned are read.

    Examples
    --------
    >>> from batchup.formats import read_arrow, write_arrow
    >>> write_arrow([{"x": [n, n * n], "name": f"no. {n}"} for n in range(5)], "squares.arrow")
    >>> squares = read_arrow("squares.arrow")
    >>> squares["x"][[3, 2]], squares["name"][4]
    (array([[3, 9],
           [2, 4]]), 'no. 4')
    """
    return read_columns(ArrowTable, paths, columns, memory=memory, on_error=on_error)


def write_arrow(
    items: Iterable[Any], path: Any, *, compression: str | None = None, batch_rows: int | None = None
) -> None:
    """Write items to an Arrow file, also known as Feather, version 2.

    Parameters
    ----------
    items : iterable of dict or tuple
        The rows, all with the same keys (the parts of tuples are called ``arr_0``, ``arr_1``, ...).
    path : str or path-like
        Name of the file. If it is there it is replaced, once the new one is whole.
    compression : {None, 'lz4', 'zstd'}, default None
        How columns are compressed. Only what is not compressed can be mapped into memory.
    batch_rows : int, optional
        Rows in a batch; by default what makes 16 MiB, 2**20 at most.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If an item is no row, or differs from the first ones, or is what Arrow cannot hold.

    Examples
    --------
    >>> from batchup.formats import read_arrow, write_arrow
    >>> write_arrow(({"x": n / 2, "words": np.arange(n)} for n in range(4)), "words.arrow")
    >>> read_arrow("words.arrow", columns=["x"])["x"][:]
    array([0. , 0.5, 1. , 1.5])
    """
    write(items, arrow_sink, path, compression=compression, batch_rows=batch_rows)


class ArrowTable(Table):
    """The rows of an Arrow file, or of a stream in a file.

    Parameters
    ----------
    path : str
        Its name.
    columns, memory, on_error
        As for `read_arrow`.
    """

    def __init__(
        self,
        path: str,
        *,
        columns: Sequence[str] | None = None,
        memory: int | str = "1GiB",
        on_error: str = "raise",
    ) -> None:
        self._memory = as_bytes(memory, "memory")
        self._batches = Batches(path)
        self._broken: FileFormatError | None = None
        schema = self._schema(path, on_error)
        self._width = len(schema)
        super().__init__(path, fields_from(schema, path, columns), None, meta_from(schema), on_error)
        self._scan = None if on_error == "skip" else Scan(self._batches, self.fields)
        self.rows = None if self._scan is None else int(self._scan.bounds[-1])
        self.bytes_total = os.path.getsize(path) if self._batches.mapped else None

    def blocks(self, names: Sequence[str] | None = None) -> Iterator[Block]:
        fields = {name: self.fields[name] for name in self.chosen(names)}
        if self._broken is not None:
            self.problem(self._broken)
        first = 0
        for batch in self._read(fields) if fields else ():
            yield from self._parts(batch, fields, first)
            first += batch.num_rows

    def columns(self) -> dict[str, Any] | None:
        scan = self._scan
        if scan is None or not scan.random:
            return None
        found: dict[str, Any] = {}
        decoded = {}
        for name, field in self.fields.items():
            if not scan.bounds[-1] and not field.ragged:
                found[name] = np.empty((0, *shape_of(field)), dtype_of(field))
            elif name in scan.places:
                found[name] = mapped_column(self._batches, name, field, *scan.places[name])
            else:
                decoded[name] = estimated(field, int(scan.bounds[-1]), scan.sizes[name])
        found |= columns_within(
            self._memory, decoded, lambda name: ArrowPart(self._batches, name, self.fields[name], scan.bounds)
        )
        return {name: found[name] for name in self.fields}

    def _schema(self, path: str, on_error: str) -> Any:
        """Return the schema; of a file whose end is missing, that at its beginning, if damage is to be left out."""
        try:
            with damage_told(path):
                return self._batches.opened()[1].schema
        except FileFormatError as error:
            if on_error != "skip" or isinstance(error, FileNotFoundError):
                raise
            self._broken = error
        with damage_told(path):
            return self._batches.opened(broken=True)[1].schema

    def _read(self, fields: Mapping[str, Field]) -> Iterator[Any]:
        """Yield the batches, but for those that cannot be read."""
        with damage_told(self.path):
            some = list(fields) if len(fields) < self._width else None
            source, reader = self._batches.opened(some, self._broken is not None)
        with source:
            for number in range(reader.num_record_batches) if is_file(reader) else itertools.count():
                try:
                    with damage_told(batch_name(self.path, number)):
                        batch = reader.get_batch(number) if is_file(reader) else reader.read_next_batch()
                        for name in fields:
                            batch.column(name).validate(full=True)
                except StopIteration:
                    return
                except FileFormatError as error:
                    self.problem(error)
                    if is_file(reader):
                        continue
                    return  # where the next one begins is not known
                yield batch
                share = (number + 1) / reader.num_record_batches if is_file(reader) else 0
                self.bytes_done = round(share * (self.bytes_total or 0)) or source.tell()

    def _parts(self, batch: Any, fields: Mapping[str, Field], first: int) -> Iterator[Block]:
        """Yield the rows of a batch, as many at a time as make a block."""
        rows = max(1, min(block_rows(fields), BLOCK * batch.num_rows // max(1, batch.nbytes)))
        for start in range(0, batch.num_rows, rows):
            part = batch.slice(start, rows)
            yield from blocks_of(self, part, fields, first + start)


class Scan:
    """What lies where in a file, as its batches say.

    Parameters
    ----------
    batches : Batches
        The file.
    fields : mapping of str to Field
        The columns that are looked at.

    Attributes
    ----------
    bounds : ndarray of intp
        The first row of each batch, and behind them the number of rows.
    random : bool
        Whether rows can be read in any order.
    sizes : dict of str to int
        How many bytes the values of each column take.
    places : dict of str to (ndarray of int64, ndarray of intp)
        The first bytes of the batches in the mapped file, and the bounds of the batches, of columns that lie there.
    """

    def __init__(self, batches: Batches, fields: Mapping[str, Field]) -> None:
        self._path = batches.path
        self._fields = fields
        self._counts: list[int] = []
        self.sizes = dict.fromkeys(fields, 0)
        with damage_told(self._path):
            source, reader = batches.opened(None if batches.mapped else list(fields))
            self._begin, self._end = _span(source) if batches.mapped else (0, 0)
            kinds = {name: reader.schema.field(name).type for name in fields}
        self._firsts: dict[str, list[int]] = {name: [] for name in fields if lies_as_it_is(kinds[name], fields[name])}
        found = _all(reader, self._path)
        inside = all(self._lies_inside(batch) for batch in found)
        if not inside:  # they have to be decompressed, or fetched: only of one column are the others counted
            self._firsts = {}
            smallest = min(fields, key=lambda name: fields[name].row_bytes)
            self._count(_all(batches.opened([smallest])[1], self._path))
        self.bounds: NDArray[np.intp] = np.array([0, *accumulate(self._counts)], np.intp)
        filled = np.array([0, *accumulate(count for count in self._counts if count)], np.intp)
        self.places = {name: (np.array(places, np.int64), filled) for name, places in self._firsts.items()}
        self.random = is_file(reader) or (batches.mapped and inside)

    def _lies_inside(self, batch: Any) -> bool:
        """Take note of a batch; return whether it lies in the mapped file as it is."""
        with damage_told(batch_name(self._path, len(self._counts))):
            self._counts.append(batch.num_rows)
            for name, field in self._fields.items():
                array = batch.column(name)
                array.validate()
                self.sizes[name] += array.nbytes
                if not _lies_in(array, self._begin, self._end):
                    return False
                if batch.num_rows and name in self._firsts:
                    place = address_of(array, field)
                    if place is None or not self._begin <= place <= self._end - len(array) * field.row_bytes:
                        del self._firsts[name]  # some are missing, or stand for others, which were looked up
                    else:
                        self._firsts[name].append(place - self._begin)
        return True

    def _count(self, batches: Iterator[Any]) -> None:
        """Count the rows of all batches, of some of which the sizes are known."""
        known = max(1, sum(self._counts))
        self._counts = [batch.num_rows for batch in batches]
        self.sizes = {name: size * sum(self._counts) // known for name, size in self.sizes.items()}


def _all(reader: Any, path: str) -> Iterator[Any]:
    if not is_file(reader):
        with damage_told(path):
            yield from reader
        return
    for number in range(reader.num_record_batches):
        with damage_told(batch_name(path, number)):
            batch = reader.get_batch(number)
        yield batch


def _span(source: Any) -> tuple[int, int]:
    """Return where in memory a mapped file begins and ends."""
    place = source.tell()
    source.seek(0)
    begin = int(source.read_buffer(1).address)
    source.seek(place)
    return begin, begin + source.size()


def _lies_in(array: Any, begin: int, end: int) -> bool:
    """Return whether what an array is made of lies in a mapped file: it was not decompressed."""
    filled = [buffer for buffer in array.buffers() if buffer is not None and buffer.size]
    return all(begin <= buffer.address < end for buffer in filled)


@contextlib.contextmanager
def arrow_sink(
    path: Any,
    fields: Mapping[str, Field],
    *,
    rows: int | None = None,
    meta: Mapping[str, Any] | None = None,
    compression: str | None = None,
    batch_rows: int | None = None,
) -> Iterator[Write]:
    """Open an Arrow file to which blocks are written; see `write_arrow`.

    Parameters
    ----------
    path, fields, rows, meta
        As for any `Sink`.
    compression, batch_rows
        As for `write_arrow`.
    """
    if compression not in COMPRESSIONS:
        raise InvalidValueError(f"compression must be one of {list(COMPRESSIONS)}, got {compression!r}")
    in_a_batch = checked_rows(batch_rows, "batch_rows")
    schema = schema_of(fields, meta, "Arrow files")
    pa = pyarrow()
    with whole_file(path) as file:
        output = Output(file)
        writer = pa.ipc.new_file(output, schema, options=pa.ipc.IpcWriteOptions(compression=compression))
        with closed_whole(writer, output):
            groups = Groups(fields, schema, writer.write_table, BATCH, in_a_batch, rows)
            yield groups.write
            groups.finish()
