"""CSV files: rows of numbers and texts, the names of the columns in the first line."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import numpy as np

from batchup._extras import required
from batchup.errors import FileFormatError
from batchup.formats.asked import asked_dtypes
from batchup.formats.csv.parser import USER, Parser, cells_of, guessed
from batchup.formats.csv.rows import last_end, row_places
from batchup.formats.csv.sink import checked_delimiter, csv_sink
from batchup.formats.lines import row_blocks
from batchup.formats.opening import BY_SUFFIX
from batchup.formats.rows import read, write
from batchup.formats.table import TEXT, Block, Field, Table

__all__ = ["CsvTable", "csv_sink", "read_csv", "write_csv"]

_BOM = b"\xef\xbb\xbf"
_HEAD = 2**16  # bytes in which the first row is looked for
_HINT = "name each by a name of its own, or pass header=False if that row holds values"


def read_csv(
    *paths: Any,
    columns: Sequence[str] | None = None,
    dtypes: Mapping[str, Any] | None = None,
    delimiter: str = ",",
    header: bool = True,
    compression: str | None = BY_SUFFIX,
    on_error: str = "raise",
) -> Any:
    """Read the rows of CSV files, as dicts.

    A column is of int64, float64, bool or texts, as the first 8 MiB of a file show it. Dates and times are texts. Bools
    are ``true`` and ``false``; where bools are asked for, ``1`` and ``0``, too. Integers from 2**63 on are uint64, or
    texts if they do not fit. Empty cells are ``nan`` among floats, and empty among texts; among integers and bools they
    are errors.

    Parameters
    ----------
    *paths : str or path-like
        Names of files, or patterns such as ``"part-*.csv"``, whose files are sorted by name.
    columns : sequence of str, optional
        Those that are wanted, in this order. By default all.
    dtypes : mapping of str to dtype, optional
        What columns are, where that is not what the first rows show: any dtype of bools, integers or floats, ``"U"``
        for texts, ``"datetime64[s]"`` or another unit for times.
    delimiter : str, default ','
        What is between cells.
    header : bool, default True
        Whether the first row holds the names of the columns. Otherwise they are ``c0``, ``c1``, ...
    compression : {'suffix', None, 'gzip', 'zlib', 'zst', 'xz'}, default 'suffix'
        How the files are compressed; by default as the suffix says, ``.gz``, ``.zst`` or ``.xz``.
    on_error : {'raise', 'skip'}, default 'raise'
        Whether a row that is damaged is an error, or left out.

    Returns
    -------
    iterable of dict
        The rows, one file after the other, each time anew.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If a row has too many cells or too few, or one that is not what its column holds; the message names the file,
        the line, counted from 1, the row, counted from 0, and the column.

    Examples
    --------
    >>> from batchup.formats import read_csv, write_csv
    >>> write_csv([{"name": "Ada", "born": 1815}, {"name": "Alan", "born": 1912}], "people.csv")
    >>> for row in read_csv("people.csv", dtypes={"born": "int16"}):
    ...     print(row["name"], repr(row["born"]))
    Ada np.int16(1815)
    Alan np.int16(1912)
    """
    options: dict[str, Any] = {"dtypes": dtypes, "delimiter": delimiter, "header": header, "compression": compression}
    return read(CsvTable, paths, columns, on_error=on_error, **options)


def write_csv(items: Iterable[Any], path: Any, delimiter: str = ",", compression: str | None = BY_SUFFIX) -> None:
    """Write a CSV file, whose first row holds the names of the columns.

    All values are kept, floats to the last bit, but not all dtypes: integers are read as int64, floats as float64,
    times as texts, and texts that all look like numbers or bools as those; ``dtypes=`` of `read_csv` has them as they
    were. If there are no rows, all columns are read as texts.

    Parameters
    ----------
    items : iterable of dict or tuple
        The rows, all with the same keys (the parts of tuples are called ``arr_0``, ``arr_1``, ...): bools, numbers,
        texts or times.
    path : str or path-like
        Name of the file. If it is there it is replaced, once the new one is whole.
    delimiter : str, default ','
        What to write between cells.
    compression : {'suffix', None, 'gzip', 'zlib', 'zst', 'xz'}, default 'suffix'
        How to compress it.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If an item is no row, or differs from the first ones, or has values that are arrays, bytes or complex.

    Examples
    --------
    >>> from pathlib import Path
    >>> from batchup.formats import write_csv
    >>> write_csv([{"x": 1.0, "y": "one, two"}, {"x": 0.1, "y": ""}], "rows.csv")
    >>> print(Path("rows.csv").read_text(), end="")
    x,y
    1.0,"one, two"
    0.1,""
    """
    write(items, csv_sink, path, delimiter=delimiter, compression=compression)


class CsvTable(Table):
    """The rows of one CSV file.

    Parameters
    ----------
    path : str
        Its name or address.
    on_error, dtypes, delimiter, header, compression
        As for `read_csv`.

    Raises
    ------
    FileFormatError
        If it is empty, or does not name its columns, each by a name of its own.
    """

    def __init__(
        self,
        path: str,
        *,
        on_error: str = "raise",
        dtypes: Mapping[str, Any] | None = None,
        delimiter: str = ",",
        header: bool = True,
        compression: str | None = BY_SUFFIX,
    ) -> None:
        required("pyarrow", "parquet", USER)
        super().__init__(path, {}, on_error=on_error)
        self._delimiter = checked_delimiter(delimiter)
        self._compression = compression
        asked = asked_dtypes(dtypes)
        self._words = all(dtype.kind != "b" for dtype in asked.values())
        data, begin, end = self._head()
        names = self._named(data[begin:end], header)
        self._begin = end if header else begin
        self._lines = data[: self._begin].count(b"\n")
        self.fields = {name: Field(TEXT) for name in names}
        self.chosen(list(asked))
        unknown = [name for name in names if name not in asked]
        found: dict[str, np.dtype[Any]] = guessed(data[self._begin :], names, unknown, self._delimiter)
        self.fields = {name: Field((asked | found)[name]) for name in names}

    def blocks(self, names: Sequence[str] | None = None) -> Iterator[Block]:
        wanted = self.chosen(names)
        if not wanted:
            return
        parser, begin = Parser(self, self._delimiter, self._words, self._begin, self._lines), self._begin
        with closing(self._pieces()) as pieces:
            for piece, whole in pieces:
                yield from parser.blocks(piece[begin:], wanted, whole)
                begin = 0

    def _pieces(self) -> Generator[tuple[bytes, bool]]:
        return row_blocks(self, self._compression, lambda data: last_end(data, self._delimiter))

    def _head(self) -> tuple[bytes, int, int]:
        """Return the beginning of the file, and where the first row lies in it."""
        with closing(self._pieces()) as pieces:
            data, _ = next(pieces, (b"", False))
            if not data and self.problems:
                raise self.problems[0]
            begin, end = self._first_row(data)
            if end == len(data):
                data += next(pieces, (b"", False))[0]
        return data, begin, end

    def _first_row(self, data: bytes) -> tuple[int, int]:
        begin, size = len(_BOM) if data.startswith(_BOM) else 0, _HEAD
        while True:
            starts, stops = row_places(data[begin : begin + size], self._delimiter)
            if len(starts) > 1 or begin + size >= len(data):
                break
            size *= 2
        if not len(starts):
            raise FileFormatError(f"{self.path} is empty: a CSV file begins with the names of its columns")
        return begin + int(starts[0]), begin + int(stops[0])

    def _named(self, row: bytes, header: bool) -> list[str]:
        """Return the names of the columns, by the first row."""
        try:
            cells = cells_of(row, self._delimiter)
        except ValueError as error:
            raise FileFormatError(f"{self.path}, line 1: expected a row of CSV in UTF-8: {error}") from None
        names = cells if header else [f"c{number}" for number in range(len(cells))]
        for number, name in enumerate(names):
            if not name:
                raise FileFormatError(f"{self.path}, line 1: column {number} of {len(names)} has no name: {_HINT}")
            if name in names[:number]:
                raise FileFormatError(f"{self.path}, line 1: two columns have the name {name!r}: {_HINT}")
        return names
