"""Writing WebDataset's tar shards: a member for each value, the same bytes for the same rows."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from batchup._compression import Output
from batchup.columns import Ragged
from batchup.errors import InvalidValueError
from batchup.formats.checked import Checked
from batchup.formats.folders.images import check_png, encoded_png
from batchup.formats.opening import BY_SUFFIX, writing
from batchup.formats.table import BYTES, TEXT, Block, Field, Write, length_of, refuse
from batchup.formats.values import told
from batchup.formats.webdataset.headers import RECORD, ZEROS, comment_of, header_of
from batchup.formats.webdataset.members import LARGEST

MARK = "batchup 1 "  # what our comment begins with
_PIECE = 2**20  # bytes that are written at a time
_KNOWN = 1024  # headers of arrays that are kept

Encode: TypeAlias = Callable[[Any], bytes]


@contextlib.contextmanager
def webdataset_sink(
    path: Any,
    fields: Mapping[str, Field],
    *,
    rows: int | None = None,
    meta: dict[str, Any] | None = None,
    encode: Mapping[str, str] | None = None,
    compression: str | None = BY_SUFFIX,
) -> Iterator[Write]:
    """Open a tar file for blocks of samples; see `write_webdataset`.

    Parameters
    ----------
    path, fields, rows, meta
        As for any `Sink`.
    encode : mapping of str to str, optional
        Columns that are written as ``'png'``.
    compression : str, optional
        How to compress it; by default its suffix tells.
    """
    kinds = _kinds(fields, encode or {})
    checked = Checked(fields, rows)
    encoders = {name: _encoder(field.dtype, kinds[name]) for name, field in fields.items()}
    with writing(path, compression) as file:
        file.write(comment_of(_comment(fields, kinds, meta)))

        def write(block: Block) -> None:
            first = checked.take(block)
            columns = [(f".{name}.{kinds[name]}", encoders[name], _each(block[name])) for name in fields]
            _write_rows(file, first, length_of(block), columns)

        yield write
        checked.finish()
        if not checked.rows:
            file.write(header_of("__empty__", 0))  # for Python's tarfile, which wants something behind a comment
        file.write(ZEROS * 2)


def _write_rows(file: Output, first: int, count: int, columns: list[tuple[str, Encode, Iterator[Any]]]) -> None:
    parts: list[bytes] = []
    size = 0
    for row in range(first, first + count):
        key = f"{row:09d}"
        for extension, encode, values in columns:
            try:
                data = encode(next(values))
                if len(data) > LARGEST:
                    raise ValueError(f"it has {len(data)} bytes, and {LARGEST} are the most")
            except (ValueError, TypeError) as error:
                raise InvalidValueError(f"row {row}, member {key + extension!r}: {error}") from error
            parts += (header_of(key + extension, len(data)), data, ZEROS[: -len(data) % RECORD])
            size += RECORD + len(data)
        if size > _PIECE:
            file.write(b"".join(parts))
            parts.clear()
            size = 0
    file.write(b"".join(parts))


def _each(values: Any) -> Iterator[Any]:
    """Return the values of a column one by one; numbers as arrays, which keep the order of their bytes."""
    if isinstance(values, Ragged) or values.dtype == object:
        return iter(values)
    return (values[row, ...] for row in range(len(values)))


def _kinds(fields: Mapping[str, Field], encode: Mapping[str, str]) -> dict[str, str]:
    """Return how each column is written; an error for what cannot be."""
    if unknown := [name for name in encode if name not in fields]:
        raise InvalidValueError(f"encode: there are no columns {unknown}, but {list(fields)}")
    kinds: dict[str, str] = {}
    for name, field in fields.items():
        if not name or "/" in name or "\0" in name or not _is_text(name):
            raise InvalidValueError(f"column {name!r}: part of the name of a file cannot be so called: rename it")
        if encode.get(name, "png") != "png":
            raise InvalidValueError(f"encode: columns can be written as 'png', got {encode[name]!r} for {name!r}")
        if name in encode:
            check_png(name, field)
        elif field.dtype not in (TEXT, BYTES):
            _check_npy(name, field)
        plain = {TEXT: "txt", BYTES: "bin"}.get(field.dtype, "npy")
        kinds[name] = "png" if name in encode else plain
    return kinds


def _is_text(name: str) -> bool:
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def _check_npy(name: str, field: Field) -> None:
    what = "tar files hold what .npy files do"
    if field.dtype.hasobject:
        refuse(what, name, field, "store numbers or texts")
    try:
        _npy_head(field.dtype, ())
        known = np.lib.format.descr_to_dtype(np.lib.format.dtype_to_descr(field.dtype)) == field.dtype
    except ValueError:  # the names of its fields are not in Latin-1
        known = False
    if not known:
        refuse(what, name, field, "convert it to a dtype of NumPy's own, with plain names")


def _encoder(dtype: np.dtype[Any], kind: str) -> Encode:
    """Return what makes the bytes of a member of a value."""
    if kind == "txt":
        return str.encode
    if kind == "bin":
        return bytes
    if kind == "png":
        return encoded_png
    heads: dict[tuple[int, ...], bytes] = {}

    def encoded(value: NDArray[Any]) -> bytes:
        if value.shape not in heads:
            if len(heads) == _KNOWN:
                heads.clear()
            heads[value.shape] = _npy_head(dtype, value.shape)
        return heads[value.shape] + value.tobytes()

    return encoded


def _npy_head(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    file = io.BytesIO()
    try:
        np.lib.format.write_array_header_1_0(file, header)
    except ValueError:  # it is longer than 1.0 can tell
        np.lib.format.write_array_header_2_0(file, header)
    return file.getvalue()


def _comment(fields: Mapping[str, Field], kinds: Mapping[str, str], meta: dict[str, Any] | None) -> str:
    columns = {name: [kinds[name], *told(field)] for name, field in fields.items()}
    return MARK + json.dumps({"columns": columns, "meta": meta or {}}, separators=(",", ":"))
