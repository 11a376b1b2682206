"""Record files as tables: sequences of different lengths, and what can be kept as such."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from batchup.columns import Ragged, SequenceColumn
from batchup.errors import ChecksumError, FileFormatError, InvalidValueError, UnsupportedError
from batchup.formats.checked import Checked, as_json, sides
from batchup.formats.columnar import ColumnarTable
from batchup.formats.packed import BytesColumn, FixedColumn, packed, utf8
from batchup.formats.paths import named
from batchup.formats.rows import read, write
from batchup.formats.table import BYTES, TEXT, Block, Field, Write, refuse
from batchup.remote import is_remote
from batchup.sequences import FileRecordReader, FileRecordWriter
from batchup.sequences.record_format import DTYPE
from batchup.sequences.stored import RUN

TABLE = "_table"  # the key of metadata that tells what the sequences stand for
_MOST = 64  # sides of a value, as NumPy has them


def read_records(
    *paths: Any, columns: Sequence[str] | None = None, on_error: str = "raise", verify: bool = False
) -> Any:
    """Read the fields of record files as columns.

    Parameters
    ----------
    *paths : str or path-like
        Names of files, or patterns such as ``"part-*.records"``, whose files are sorted by name.
    columns : sequence of str, optional
        The fields to read; by default all. Records without fields are a column ``"x"``.
    on_error : {'raise', 'skip'}, default 'raise'
        Whether records that are not what was written are an error, or left out; to skip includes to verify.
    verify : bool, default False
        Whether to compare all data with their checksums at once.

    Returns
    -------
    dict of array-like; or, if something is left out, iterable of dict
        By name. Sequences are `SequenceColumn`, which stay in the file until they are asked for.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If a file is damaged (`ChecksumError`, if that tells), or something else.

    Examples
    --------
    >>> from batchup.formats import read_records, write_records
    >>> write_records([{"tokens": [5, 6, 7], "word": "one"}, {"tokens": [8], "word": "two"}], "two.records")
    >>> columns = read_records("two.records")
    >>> columns["tokens"][1], columns["word"][0]
    (array([8]), 'one')
    """
    return read(RecordsTable, paths, columns, on_error=on_error, verify=verify)


def write_records(
    items: Iterable[Any], path: Any, sequence_field: str | None = None, meta: dict[str, Any] | None = None
) -> None:
    """Write a record file, which needs NumPy alone.

    Each key is a field. Arrays of one shape are kept as sequences of equal length, numbers as sequences of one
    element, texts and bytes as sequences of their bytes (UTF-8); the file tells that they are, and they are read as
    what they were.

    Parameters
    ----------
    items : iterable of dict or tuple
        The rows, all with the same keys (the parts of tuples are called ``arr_0``, ``arr_1``, ...).
    path : str or path-like
        Name of the file, commonly ending in ``.records``. If it is there it is replaced, once the new one is whole.
    sequence_field : str, optional
        The key whose length is that of the record; by default the first one with sequences of different lengths.
    meta : dict, optional
        What else is to be kept: what JSON can hold.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If an item is no row, or differs from the first ones, or holds what a record file cannot.

    Examples
    --------
    >>> from batchup.formats import write_records
    >>> from batchup.sequences import FileRecordReader
    >>> write_records([{"tokens": [5, 6, 7], "label": 1}, {"tokens": [8], "label": 0}], "labelled.records")
    >>> FileRecordReader("labelled.records").retrieve(0)
    {'tokens': array([5, 6, 7]), 'label': array([1])}
    """
    write(items, records_sink, path, sequence_field=sequence_field, meta=meta)


class RecordsTable(ColumnarTable):
    """The rows of a record file.

    Parameters
    ----------
    path : str
        Its name.
    on_error, verify
        As for `read_records`.

    Raises
    ------
    FileFormatError
        If it is damaged (`ChecksumError`, if that tells), or something else.
    """

    checksums = True

    def __init__(self, path: str, *, on_error: str = "raise", verify: bool = False) -> None:
        if is_remote(path):
            raise UnsupportedError(f"{path}: record files are read on this machine: copy it here first")
        reader = FileRecordReader(path)
        damaged: list[tuple[int, int, str]] = []
        if verify or on_error == "skip":
            first = next(iter(reader.indexes()), 0)
            damaged = [(bad.first - first, bad.last - first, bad.reason) for bad in reader.verify()]
        stored = {"x" if name is None else name: column for name, column in reader.columns.items()}
        kept = {key: reader.metadata(key) for key in reader.metadata_keys()}
        told, meta = _told(kept.pop(TABLE, None), stored, path)
        meta = {**kept, **meta}
        columns = {name: _column(stored[name], field, f"{path}, field {name!r}") for name, field in told.items()}
        super().__init__(path, columns, told, reader.num_records() if columns else 0, meta, on_error, 1, damaged)
        if damaged and on_error == "raise":
            first_row, last_row, reason = damaged[0]
            raise ChecksumError(
                f"{path}: {len(damaged)} parts are damaged, first rows {first_row} to {last_row}: {reason}"
            )

    def check(self) -> Iterator[FileFormatError]:
        with FileRecordReader(self.path) as reader:
            for finding in reader.verify():
                yield ChecksumError(f"{self.path}: records {finding.first} to {finding.last}: {finding.reason}")


def _told(text: str | None, stored: Mapping[str, SequenceColumn], path: str) -> tuple[dict[str, Field], dict[str, Any]]:
    """Return what the sequences of a file stand for, and what else was kept with them."""
    if text is None:
        return {name: Field(column.dtype, (None, *column.inner_shape)) for name, column in stored.items()}, {}
    try:
        table = json.loads(text)
        fields = {str(name): _field(*described) for name, described in table["columns"]}
        if not set(fields) <= set(stored) or not isinstance(table["meta"], dict):
            raise ValueError(f"columns {list(fields)}, but fields {list(stored)}")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise FileFormatError(f"{path} is damaged: its metadata {TABLE!r} cannot be understood: {error}") from None
    return fields, table["meta"]


def _field(dtype: str, shape: list[int | None]) -> Field:
    if dtype in ("str", "bytes"):
        return Field(TEXT if dtype == "str" else BYTES)
    known = shape[1:] if shape[:1] == [None] else shape
    sound = all(type(side) is int and 0 <= side < 2**31 for side in known)
    if not DTYPE.fullmatch(dtype) or len(shape) > _MOST or not sound:
        raise ValueError(f"a field of {dtype!r:.60} {shape!r:.60}")
    native: np.dtype[Any] = np.dtype(dtype).newbyteorder("=")
    return Field(native, tuple(shape))


def _column(stored: SequenceColumn, field: Field, what: str) -> Any:
    """Return what sequences stand for, if that can be so."""
    if field.dtype in (TEXT, BYTES):
        expected: tuple[Any, tuple[int, ...]] = (np.dtype(np.uint8), ())
    elif field.ragged:
        expected = (field.dtype, field.shape[1:])  # type: ignore[assignment]
    else:
        expected = (field.dtype, _elements(field)[1])
    if (stored.dtype, stored.inner_shape) != expected:
        if stored.lengths.any():
            raise FileFormatError(f"{what} is damaged: {stored.dtype} {stored.inner_shape} elements cannot be {field}")
        dtype, inner = expected
        stored = Ragged(np.empty((0, *inner), dtype), np.zeros(len(stored) + 1, np.int64))
    if field.dtype in (TEXT, BYTES):
        return BytesColumn(stored, field.dtype == TEXT)
    if field.ragged:
        return stored
    length = _elements(field)[0]
    if (stored.lengths != length).any():
        raise FileFormatError(f"{what} is damaged: all sequences should have {length} elements")
    return FixedColumn(stored, field.dtype, sides(field))


def _elements(field: Field) -> tuple[int, tuple[int, ...]]:
    """Return how many elements a value has as a sequence, and their shape."""
    shape = sides(field)
    if shape and 0 not in shape[1:]:
        return shape[0], shape[1:]
    return math.prod(shape), ()


@contextlib.contextmanager
def records_sink(
    path: Any,
    fields: Mapping[str, Field],
    *,
    rows: int | None = None,
    meta: dict[str, Any] | None = None,
    sequence_field: str | None = None,
) -> Iterator[Write]:
    """Open a record file for rows.

    Parameters
    ----------
    path, fields, rows, meta
        As for any `Sink`.
    sequence_field
        As for `write_records`.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If a record file cannot hold a column.
    """
    for name, field in fields.items():
        _check(name, field)
    plain, told = _metadata(fields, meta or {})
    ragged = [name for name, field in fields.items() if field.ragged]
    main = sequence_field or next(iter(ragged or fields), None)
    checked = Checked(fields, rows)
    writer = FileRecordWriter(named(path), fields=list(fields) or None, sequence_field=main)
    try:
        writer.add_metadata({**plain, TABLE: told})

        def put(block: Block) -> None:
            first = checked.take(block)
            if fields:
                writer.extend({name: _sequences(values, fields[name], name, first) for name, values in block.items()})

        yield put
        checked.finish()
        writer.close()
    finally:
        writer.discard()


def _check(name: str, field: Field) -> None:
    what = "record files hold sequences of numbers or strings, whose first side may differ, texts and bytes"
    if field.dtype in (TEXT, BYTES) and not field.shape:
        return
    if not (field.fixed or field.ragged) or not field.dtype.itemsize:
        refuse(what, name, field, "flatten it, and write the shapes as a column, or write Parquet")
    if not field.dtype.isnative:
        refuse(
            what, name, field, "their numbers are little-endian: cast it with dtypes={name: dtype.newbyteorder('=')}"
        )
    if field.dtype.names is not None or not DTYPE.fullmatch(field.dtype.newbyteorder("<").str):
        refuse(what, name, field, "write each of its parts as a column, or write .npz")


def _metadata(fields: Mapping[str, Field], meta: Mapping[str, Any]) -> tuple[dict[str, str], str]:
    """Return which texts are kept by their keys, and the text that tells of the columns, and of what is no text."""
    if taken := [key for key in meta if key in (TABLE, RUN)]:
        raise InvalidValueError(f"a record file keeps something of its own under {taken}: rename what is in meta")
    plain = {key: value for key, value in meta.items() if isinstance(value, str)}
    others = {key: value for key, value in meta.items() if key not in plain}
    words = {TEXT: "str", BYTES: "bytes"}
    columns = [
        (name, (words.get(field.dtype, field.dtype.newbyteorder("<").str), list(field.shape)))
        for name, field in fields.items()
    ]
    return plain, as_json({"columns": columns, "meta": others})


def _sequences(values: Any, field: Field, name: str, first: int) -> Ragged:
    """Return the values of a column as sequences."""
    if field.dtype in (TEXT, BYTES):
        return packed(utf8(values.tolist(), name, first) if field.dtype == TEXT else values.tolist())
    if field.ragged:
        return values  # type: ignore[no-any-return]
    length, inner = _elements(field)
    return Ragged(values.reshape(len(values) * length, *inner), np.arange(len(values) + 1) * length)
