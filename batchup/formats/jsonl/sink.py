"""Blocks of rows written as lines of JSON, column by column."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup.columns import Ragged
from batchup.errors import InvalidValueError
from batchup.formats.asked import is_plain_number, is_time, time_texts
from batchup.formats.checked import Checked
from batchup.formats.opening import BY_SUFFIX, writing
from batchup.formats.table import BYTES, Block, Field, Write, refuse

_WHAT = "JSONL files hold bools, integers, floats up to float64, texts, times, and arrays of them"
_ELSEWHERE = "write .npz, .h5 or .parquet"
_BREAK = "\n"  # which JSON writes otherwise in texts, so that it can be found again
_row = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_rows = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(_BREAK, ":")).encode


@contextlib.contextmanager
def jsonl_sink(
    path: Any,
    fields: Mapping[str, Field],
    *,
    rows: int | None = None,
    meta: Mapping[str, Any] | None = None,
    compression: str | None = BY_SUFFIX,
) -> Iterator[Write]:
    """Open a JSONL file to write blocks to.

    Parameters
    ----------
    path, fields, rows, meta
        As for any `Sink`.
    compression
        As for `write_jsonl`.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If the file cannot hold the columns, or a block is not made of them, or has a value that JSON has not.
    """
    _check(fields)
    keys = ",".join(f"{_row(name).replace('%', '%%')}:%s" for name in fields)
    line = f"{{{keys}}}\n"
    checked = Checked(fields, rows)
    with writing(path, compression) as file:

        def put(block: Block) -> None:
            first = checked.take(block)
            texts = [_texts(values, name, first) for name, values in block.items()]
            lines = [line % row for row in zip(*texts, strict=True)]
            file.write(_encoded(lines, first))

        yield put
        checked.finish()


def _check(fields: Mapping[str, Field]) -> None:
    for name, field in fields.items():
        if field.dtype == BYTES or field.dtype.kind == "S":
            refuse(_WHAT, name, field, f"{_ELSEWHERE}, or texts, as value.decode() makes them")
        if field.dtype.kind != "U" and not is_plain_number(field.dtype) and not is_time(field.dtype):
            refuse(_WHAT, name, field, "write .npz or .h5, or convert it first")
        try:
            name.encode()
        except UnicodeEncodeError:
            raise InvalidValueError(f"the name of column {name!r} is no UTF-8: rename it") from None


def _texts(values: Any, name: str, first: int) -> list[str]:
    """Return the values of a column as JSON."""
    if isinstance(values, Ragged):
        flat, ends = values.values, values.offsets
        if (place := _infinite(flat)) is not None:
            raise _infinity(first + int(np.searchsorted(ends, place, "right")) - 1, name)
        nested, places = _nested(flat), ends.tolist()
        return [_row(nested[start:stop]) for start, stop in pairwise(places)]
    if values.dtype != object:
        if (row := _infinite(values)) is not None:
            raise _infinity(first + row, name)
        nested = _nested(values)
        return _lines(nested) if values.ndim == 1 else list(map(_row, nested))
    if len(values) and isinstance(values[0], np.ndarray):
        return [_array(array, name, row) for row, array in enumerate(values, first)]
    return _lines(values.tolist())


def _lines(values: list[Any]) -> list[str]:
    """Return numbers and texts as JSON, all at once."""
    return _rows(values)[1:-1].split(_BREAK) if values else []


def _array(array: NDArray[Any], name: str, row: int) -> str:
    if 0 in array.shape[:-1]:
        raise InvalidValueError(f"row {row}, column {name!r}: JSON has no array of shape {array.shape}: {_ELSEWHERE}")
    if _infinite(array) is not None:
        raise _infinity(row, name)
    return _row(_nested(array))


def _infinite(values: NDArray[Any]) -> int | None:
    """Return the first place along the first axis where infinity is."""
    if values.dtype.kind != "f" or not np.isinf(values).any():
        return None
    return int(np.argwhere(np.isinf(values))[0][0])


def _infinity(row: int, name: str) -> InvalidValueError:
    return InvalidValueError(f"row {row}, column {name!r}: JSON has no infinity: {_ELSEWHERE}, .csv, or replace it")


def _nested(values: NDArray[Any]) -> Any:
    """Return an array as lists in lists of what JSON has."""
    if values.dtype.kind == "M":
        return time_texts(values)
    if values.dtype.kind != "f":
        return values.tolist()
    wide = values.astype(np.float64)
    missing = np.isnan(wide)
    if not missing.any():
        return wide.tolist()
    found = wide.astype(object)
    found[missing] = None
    return found.tolist()


def _encoded(lines: Sequence[str], first: int) -> bytes:
    try:
        return "".join(lines).encode()
    except UnicodeEncodeError:
        for row, line in enumerate(lines, first):
            with contextlib.suppress(UnicodeEncodeError):
                line.encode()
                continue
            raise InvalidValueError(
                f"row {row} has a text that UTF-8 has not, {line!r:.60}: replace it, as .encode(errors='replace') does"
            ) from None
        raise
