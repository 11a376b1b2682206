"""Blocks of rows written as CSV text, column by column."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from batchup._extras import required
from batchup.errors import InvalidValueError
from batchup.formats.asked import is_plain_number, is_time, time_texts
from batchup.formats.checked import Checked
from batchup.formats.opening import BY_SUFFIX, writing
from batchup.formats.table import BYTES, Block, Field, Write, length_of, refuse

_USER = "writing CSV files"
_MARKS = '"\n\r\ufeff'  # that are quoted, besides delimiters; a file may begin with the last one
_WHAT = "CSV files hold bools, integers, floats up to float64, texts and times"


@contextlib.contextmanager
def csv_sink(
    path: Any,
    fields: Mapping[str, Field],
    *,
    rows: int | None = None,
    meta: Mapping[str, Any] | None = None,
    delimiter: str = ",",
    compression: str | None = BY_SUFFIX,
) -> Iterator[Write]:
    """Open a CSV file to write blocks to.

    Parameters
    ----------
    path, fields, rows, meta
        As for any `Sink`.
    delimiter, compression
        As for `write_csv`.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If the file cannot hold the columns, or a block is not made of them.
    """
    required("pyarrow", "parquet", _USER)
    marks = _MARKS + checked_delimiter(delimiter)
    _check(fields)
    header = delimiter.join(_quoted(name, marks) for name in fields)
    checked = Checked(fields, rows)
    with writing(path, compression) as file:
        file.write(f"{header}\n".encode())

        def put(block: Block) -> None:
            first = checked.take(block)
            if not length_of(block):
                return
            cells = [_cells(values, name, first, marks) for name, values in block.items()]
            file.write(_contents(_joined([_joined(cells, delimiter), "\n"], "")))

        yield put
        checked.finish()


def checked_delimiter(delimiter: Any) -> str:
    """Return a delimiter; an error unless it is a character that is no part of numbers and texts.

    Raises
    ------
    InvalidValueError
        If it is something else.
    """
    one = isinstance(delimiter, str) and len(delimiter) == 1 and delimiter.isascii()
    if not one or delimiter.isalnum() or delimiter in '"\r\n\0+-._:':
        raise InvalidValueError(f"delimiter must be a character such as ',', ';', '|' or a tab, got {delimiter!r}")
    return str(delimiter)


def _pattern(marks: str) -> str:
    """Return a pattern that finds what must be quoted: what has one of the marks, or nothing."""
    return "^$|" + "|".join(f"[{mark}]" if mark not in r"^\\" else f"\\{mark}" for mark in marks)


def _quoted(text: str, marks: str) -> str:
    return '"' + text.replace('"', '""') + '"' if not text or set(marks) & set(text) else text


def _check(fields: Mapping[str, Field]) -> None:
    if not fields:
        raise InvalidValueError("a CSV file has at least one column, got none: there are no rows to tell them by")
    for name, field in fields.items():
        if not name:
            raise InvalidValueError("the columns of a CSV file have names, got one without: rename it")
        _encoded(name, f"the name of column {name!r}")
        arrays = "write .npz, .h5 or .parquet, or .jsonl for arrays of numbers"
        if field.shape:
            refuse(_WHAT + ", one in each cell", name, field, arrays)
        if field.dtype == BYTES or field.dtype.kind == "S":
            refuse(_WHAT, name, field, "write .npz, .h5 or .parquet, or texts, as value.decode() makes them")
        if field.dtype.kind != "U" and not is_plain_number(field.dtype) and not is_time(field.dtype):
            refuse(_WHAT, name, field, "write .npz or .h5, or convert it first")


def _cells(values: Any, name: str, first: int, marks: str) -> Any:
    """Return a column as an array of Arrow's texts."""
    arrow = required("pyarrow", "parquet", _USER)
    compute = required("pyarrow.compute", "parquet", _USER)
    texts = arrow.large_string()
    if values.dtype.kind == "M":
        return arrow.array(time_texts(values), texts)
    if values.dtype.kind in "OU":
        return _text_cells(values.astype(object), name, first, marks)
    if values.dtype.kind == "f":
        cells = compute.cast(arrow.array(values.astype(np.float64)), texts)
        if (values == np.trunc(values)).any():  # "1" would be read as an integer
            cells = compute.replace_substring_regex(cells, r"^(-?[0-9]+)$", r"\1.0")
        return cells
    return compute.cast(arrow.array(values.astype(values.dtype.newbyteorder("="))), texts)


def _text_cells(values: Any, name: str, first: int, marks: str) -> Any:
    arrow = required("pyarrow", "parquet", _USER)
    compute = required("pyarrow.compute", "parquet", _USER)
    try:
        cells = arrow.array(values, arrow.large_string())
    except UnicodeEncodeError:
        for row, text in enumerate(values, first):
            _encoded(text, f"row {row}, column {name!r}")
        raise
    contents = bytes(_contents(cells))  # far faster than to look into each
    marked = any(mark.encode() in contents for mark in marks)
    if not marked and compute.min(compute.binary_length(cells)).as_py() > 0:
        return cells
    quoted = compute.match_substring_regex(cells, _pattern(marks))
    return compute.if_else(quoted, _joined(['"', compute.replace_substring(cells, '"', '""'), '"'], ""), cells)


def _joined(parts: Sequence[Any], between: str) -> Any:
    """Return texts, or arrays of them, put together row by row."""
    arrow = required("pyarrow", "parquet", _USER)
    compute = required("pyarrow.compute", "parquet", _USER)
    large = [arrow.scalar(part, arrow.large_string()) if isinstance(part, str) else part for part in [*parts, between]]
    return compute.binary_join_element_wise(*large)


def _encoded(text: str, where: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidValueError(
            f"{where}: UTF-8 has no {text[error.start : error.end]!r}: replace it, as .encode(errors='replace') does"
        ) from None


def _contents(texts: Any) -> memoryview:
    """Return all that is in an array of Arrow's texts, which lies in one place."""
    _, offsets, data = texts.buffers()
    begin, end = np.frombuffer(offsets, np.int64)[[texts.offset, texts.offset + len(texts)]].tolist()
    return memoryview(data or b"")[begin:end]
