"""CSV text made to columns by pyarrow, and what is wrong with it told row by row."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from batchup._extras import required
from batchup.errors import FileFormatError
from batchup.formats.asked import times_of
from batchup.formats.casting import cast
from batchup.formats.csv.rows import last_end, quote_turns, row_places
from batchup.formats.lines import sound_parts
from batchup.formats.table import TEXT, Block, Table, length_of

USER = "reading and writing CSV files"
_PART = 2**20  # bytes that a thread parses at a time
_HEX = re.compile(rb"0[xX]")
_TRUE, _FALSE = ["true", "True", "TRUE"], ["false", "False", "FALSE"]  # 1 and 0, too, only where bools are asked for


class Parser:
    """Makes blocks of the rows of a table that come one after the other, and counts them.

    Parameters
    ----------
    table : Table
        Whose rows they are, and what is told of those that are damaged.
    delimiter : str
        What is between cells.
    words : bool
        Whether bools are words only, and not 1 and 0, too.
    place, lines : int
        How many bytes and lines are before the first row.
    """

    def __init__(self, table: Table, delimiter: str, words: bool, place: int, lines: int) -> None:
        self._table = table
        self._delimiter = delimiter
        self._words = words
        self._place = place
        self._lines = lines
        self._rows = 0

    def blocks(self, data: bytes, names: Sequence[str], whole: bool = True) -> Iterator[Block]:
        """Yield the blocks that some bytes stand for; `whole` tells whether a line end follows the last row."""
        error = None
        if not whole and len(turns := quote_turns(data, self._delimiter)) % 2:
            error = self._unended(data, int(turns[-1]))
            data = data[: last_end(data, self._delimiter)]
        if data:
            try:
                block = self._block(data, names, _PART)
            except ValueError:
                yield from self._sound_blocks(data, names)
            else:
                self._rows += length_of(block)
                if length_of(block):
                    yield block
        if error is not None:
            self._table.problem(error)
        self._place += len(data)
        self._lines += data.count(b"\n")

    def _unended(self, data: bytes, begin: int) -> FileFormatError:
        line = self._lines + data.count(b"\n", 0, begin) + 1
        return FileFormatError(
            f"{self._table.path}, line {line} (byte {self._place + begin}): a quoted cell begins and does not end: "
            "the file is cut short, or a quote is missing"
        )

    def _block(self, data: bytes, names: Sequence[str], part: int) -> Block:
        arrow = required("pyarrow", "parquet", USER)
        fields = self._table.fields
        types = {name: _arrow_type(arrow, fields[name].dtype) for name in names}
        table = parsed(data, list(fields), self._delimiter, types, self._words, part)
        return {name: _values(table.column(name), fields[name].dtype, name) for name in names}

    def _sound_blocks(self, data: bytes, names: Sequence[str]) -> Iterator[Block]:
        """Yield what can be parsed; the rows that cannot are told to the table."""
        starts, stops = row_places(data, self._delimiter)

        def block(start: int, stop: int) -> Block:
            part = data[starts[start] : stops[stop - 1]]
            try:
                return self._block(part, names, len(part) + 1)
            except ValueError as error:
                if stop - start > 1:
                    raise FileFormatError("some row is damaged") from None
                line = self._lines + data.count(b"\n", 0, int(starts[start])) + 1
                raise FileFormatError(
                    f"{self._table.path}, line {line} (row {self._rows + start}){self._reason(part, names, error)}"
                ) from None

        yield from sound_parts(block, 0, len(starts), self._table)
        self._rows += len(starts)

    def _reason(self, row: bytes, names: Sequence[str], error: ValueError) -> str:
        """Return what is wrong with a row that cannot be parsed."""
        fields = self._table.fields
        try:
            cells = cells_of(row, self._delimiter)
        except ValueError as reason:
            return f": {reason}"
        if len(cells) != len(fields):
            return f": expected {len(fields)} cells, as the first row has, got {len(cells)}: {row[:60]!r}"
        for name, cell in zip(fields, cells, strict=True):
            try:
                self._block(row, [name], len(row) + 1)
            except ValueError:
                if name in names:
                    dtype = fields[name].dtype
                    return (
                        f", column {name!r}: expected {fields[name]}, got {cell!r:.60}: mend it, or pass "
                        f"dtypes={{{name!r}: {_remedy(cell, dtype, self._words)!r}}}"
                    )
        return f": {error}"


def parsed(
    data: bytes,
    names: Sequence[str],
    delimiter: str,
    types: Mapping[str, Any],
    words: bool,
    part: int,
    forgiving: bool = False,
) -> Any:
    """Return a table of pyarrow, of the columns that types are given for; None has it find the type.

    Parameters
    ----------
    data : bytes
        Whole rows.
    names : sequence of str
        Of all columns.
    delimiter : str
        What is between cells.
    types : mapping of str to pyarrow.DataType or None
        Of the columns that are wanted.
    words : bool
        Whether bools are words only, and not 1 and 0, too.
    part : int
        How many bytes are parsed at a time; no row may have more.
    forgiving : bool, default False
        Whether to leave out rows with too many cells or too few.
    """
    arrow = required("pyarrow", "parquet", USER)
    reader = required("pyarrow.csv", "parquet", USER)
    bools = {"true_values": _TRUE, "false_values": _FALSE} if words else {}
    return reader.read_csv(
        arrow.py_buffer(data),
        reader.ReadOptions(column_names=list(names), block_size=part, use_threads=len(data) > _PART),
        reader.ParseOptions(
            delimiter=delimiter,
            newlines_in_values=b'"' in data,
            invalid_row_handler=_left_out if forgiving else None,
        ),
        reader.ConvertOptions(
            column_types={name: kind for name, kind in types.items() if kind is not None},
            include_columns=list(types),
            null_values=[""],
            strings_can_be_null=False,
            **bools,
        ),
    )


def _left_out(row: Any) -> str:
    return "skip"


def guessed(data: bytes, names: Sequence[str], unknown: Sequence[str], delimiter: str) -> dict[str, np.dtype[Any]]:
    """Return the dtypes that the first rows show for columns that are unknown."""
    found: dict[str, np.dtype[Any]] = dict.fromkeys(unknown, TEXT)
    if not data or not unknown:
        return found
    arrow = required("pyarrow", "parquet", USER)
    compute = required("pyarrow.compute", "parquet", USER)
    kinds = {arrow.int64(): np.dtype("i8"), arrow.float64(): np.dtype("f8"), arrow.bool_(): np.dtype("?")}
    table = parsed(data, names, delimiter, dict.fromkeys(unknown), True, len(data) + 1, forgiving=True)
    for name in unknown:
        found[name] = kinds.get(table.column(name).type, TEXT)
    hexadecimal = _HEX.search(data) is not None
    doubtful = [
        name
        for name in unknown
        if (found[name].kind == "i" and hexadecimal)
        or (found[name].kind == "f" and (compute.max(table.column(name)).as_py() or 0) >= 2**63)
    ]
    if doubtful:
        as_texts = dict.fromkeys(doubtful, arrow.string())
        texts = parsed(data, names, delimiter, as_texts, True, len(data) + 1, forgiving=True)
        for name in doubtful:
            found[name] = _guessed_again(found[name], texts.column(name))
    return found


def _guessed_again(dtype: np.dtype[Any], texts: Any) -> np.dtype[Any]:
    """Return what integers are that pyarrow takes for such though they are hexadecimal, or for floats."""
    compute = required("pyarrow.compute", "parquet", USER)
    digits = compute.match_substring_regex(texts, r"^[ \t]*-?[0-9]+[ \t]*$")
    if dtype.kind == "i":
        blank = compute.match_substring_regex(texts, r"^[ \t]*$")
        return dtype if compute.all(compute.or_(digits, blank)).as_py() else TEXT
    if compute.all(digits).as_py():
        try:
            compute.cast(compute.utf8_trim_whitespace(texts), required("pyarrow", "parquet", USER).uint64())
        except ValueError:
            return TEXT  # which keeps all digits
        return np.dtype("u8")
    return dtype


def cells_of(row: bytes, delimiter: str) -> list[str]:
    """Return the cells of a row.

    Raises
    ------
    ValueError
        If it is not UTF-8, or has a cell that is too long to be shown.

    Examples
    --------
    >>> cells_of(b'a,"b,c"', ",")
    ['a', 'b,c']
    """
    try:
        text = row.decode()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"byte {error.start} of it is no UTF-8 ({error.reason}): ...{row[max(0, error.start - 20) :][:40]!r}"
        ) from None
    try:
        return next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
    except csv.Error as error:
        raise ValueError(str(error)) from None


def _arrow_type(arrow: Any, dtype: np.dtype[Any]) -> Any:
    if dtype.kind in "UM":
        return arrow.string()
    return arrow.float64() if dtype.kind == "f" else arrow.from_numpy_dtype(dtype.newbyteorder("="))


def _values(column: Any, dtype: np.dtype[Any], name: str) -> Any:
    """Return a column of pyarrow as one of a block; a ValueError if something does not fit."""
    if dtype.kind == "M":
        return times_of(column.to_pylist(), dtype)
    if column.null_count and dtype.kind != "f":
        raise ValueError(f"column {name!r} has an empty cell")
    values = column.to_numpy()
    if values.dtype != dtype and dtype != TEXT:
        values = cast(values, dtype, name)
    return values if values.flags.writeable else values.copy()


def _remedy(cell: str, dtype: np.dtype[Any], words: bool) -> str:
    """Return the dtype to ask for, so that a cell fits."""
    if dtype.kind == "b" and words:
        return "bool" if cell in ("0", "1") else "U"
    if dtype.kind not in "biuf":
        return "U"
    try:
        float(cell or "nan")
    except ValueError:
        return "U"
    if not re.fullmatch(r" *-?[0-9]+ *", cell):
        return "float64"
    number = int(cell)
    return "int64" if -(2**63) <= number < 2**63 else "uint64" if 0 < number < 2**64 else "float64"
