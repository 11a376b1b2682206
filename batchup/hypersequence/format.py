"""The format of .hsq files: what the end of a file says, checked before any of it is believed."""

from __future__ import annotations

import gzip
import json
import math
import os
import re
import struct
import zlib
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

import numpy as np

from batchup.columns.records import Records
from batchup.errors import FileFormatError, InvalidTypeError, InvalidValueError

VERSION = "batchup 1"
SIGNATURE = b"HSQ2"
TRAILER = struct.Struct(">I4s")  # length of the compressed meta block, signature
OLD_SIGNATURE = b"@@FSEQ@@"
OLD_REACH = 1024  # bytes from the end within which the old meta block begins
LARGEST_META = 16 * 2**20  # bytes; more cannot be meant
MOST_DIMENSIONS = 31  # of a row: one more, for the batch, is what all versions of NumPy have
_DTYPE = re.compile(r"[<>|=][biufcSUVmM]\d{1,9}(\[\w{1,20}\])?")
LARGEST_RECORD = 2**31 - 1  # bytes, as NumPy's dtypes have it, in which the original reads records
CHECKSUM = np.dtype("<u4")


@dataclass(frozen=True)
class Field:
    """One array of a record.

    Attributes
    ----------
    name : str
        ``i0``, ``i1`` ... for inputs, ``o0`` ... for outputs.
    dtype : numpy.dtype
        Type of the elements.
    shape : tuple of int
        Shape of a row.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def row_bytes(self) -> int:
        """Size of a row."""
        return self.dtype.itemsize * math.prod(self.shape)

    @property
    def strides(self) -> tuple[int, ...]:
        """Bytes from one element to the next in each dimension of several rows."""
        found = [self.dtype.itemsize]
        for n in reversed(self.shape):
            found.append(found[-1] * max(n, 1))
        return tuple(reversed(found))

    def __str__(self) -> str:
        return f"{self.dtype} of shape {self.shape}"


@dataclass(frozen=True)
class Format:
    """What is in a file, and where.

    The records come first, `batch_size` rows in each, then the rows that fill no record, then the checksums of all.

    Attributes
    ----------
    fields : tuple of Field
        The arrays of a record: inputs, then outputs.
    no_inputs : int
        How many of them are inputs.
    batch_size, records, tail_rows : int
        Rows in a record, records, and rows that fill no record.
    names : tuple of str or None
        What the user calls the fields.
    user_meta : dict
        What the user wants to be kept.
    has_checksums : bool
        Whether there is a table of checksums.
    """

    fields: tuple[Field, ...]
    no_inputs: int
    batch_size: int
    records: int = 0
    tail_rows: int = 0
    names: tuple[str, ...] | None = None
    user_meta: dict[str, Any] = field(default_factory=dict)
    has_checksums: bool = True

    @property
    def row_bytes(self) -> int:
        """Size of a row of all fields."""
        return sum(part.row_bytes for part in self.fields)

    @property
    def record_bytes(self) -> int:
        """Size of a record."""
        return self.batch_size * self.row_bytes

    @property
    def rows(self) -> int:
        """Number of rows in all."""
        return self.records * self.batch_size + self.tail_rows

    @property
    def batches(self) -> int:
        """Number of batches, the short one included."""
        return self.records + (self.tail_rows > 0)

    @property
    def data_bytes(self) -> int:
        """Size of all rows; the checksums begin there."""
        return self.rows * self.row_bytes

    @property
    def checksum_bytes(self) -> int:
        """Size of the table of checksums."""
        return self.batches * CHECKSUM.itemsize if self.has_checksums else 0

    @property
    def dtype(self) -> list[tuple[str, str, tuple[int, ...]]]:
        """The description of a record, as NumPy has it."""
        return [(part.name, part.dtype.str, (self.batch_size, *part.shape)) for part in self.fields]

    def layout(self, number: int) -> Records:
        """Return where the rows of a field are."""
        before = sum(part.row_bytes for part in self.fields[:number])
        return Records(
            rows=self.batch_size,
            row_bytes=self.fields[number].row_bytes,
            offset=self.batch_size * before,
            record_bytes=self.record_bytes,
            length=self.rows,
            tail_offset=self.records * self.record_bytes + self.tail_rows * before,
        )

    def place(self, batch: int) -> tuple[int, int]:
        """Return the first byte of a batch, and its size."""
        rows = self.batch_size if batch < self.records else self.tail_rows
        return batch * self.record_bytes, rows * self.row_bytes

    def meta(self) -> dict[str, Any]:
        """Return the meta block."""
        meta: dict[str, Any] = {
            "version": VERSION,
            "records": self.records,
            "batch_size": self.batch_size,
            "no_inputs": self.no_inputs,
            "no_outputs": len(self.fields) - self.no_inputs,
            "usermeta": self.user_meta,
            "dtype": self.dtype,
            "tail_rows": self.tail_rows,
        }
        if self.names is not None:
            meta["names"] = self.names
        if self.has_checksums:
            meta["checksums"] = {"algorithm": "crc32", "offset": self.data_bytes, "count": self.batches}
        return meta

    def end(self) -> bytes:
        """Return the meta block and the trailer, as they stand at the end of a file."""
        block = encoded(self.meta())
        if len(block) > LARGEST_META:
            raise InvalidValueError(
                f"user_meta() and names take {len(block)} bytes, at most {LARGEST_META} can be read"
            )
        as_format(json.loads(block))  # what is written can be read
        packed = gzip.compress(block, mtime=0)
        return packed + TRAILER.pack(len(packed), SIGNATURE)


def encoded(meta: dict[str, Any]) -> bytes:
    """Return a meta block as JSON; an error if there is something in it that JSON has not."""
    try:
        return json.dumps(meta, allow_nan=True).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidTypeError(f"user_meta() can hold what JSON can (numbers, text, lists, dicts): {error}") from None


def read_format(file: BinaryIO, path: str) -> tuple[Format, int]:
    """Return what is in a file, and a checksum of the meta block that says so.

    Raises
    ------
    FileFormatError
        If it is no .hsq file, or what it says of itself cannot be true.
    """
    size = file.seek(0, os.SEEK_END)
    end, block = _meta_block(file, path, size)
    try:
        meta = json.loads(block)
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{path}: the meta block is no JSON: {_short(str(error))}") from None
    try:
        layout = as_format(meta)
    except (FaultyMetaError, InvalidValueError) as error:
        raise FileFormatError(f"{path}: {error}") from None
    behind = layout.data_bytes + layout.checksum_bytes
    if behind != end:
        raise FileFormatError(
            f"{path}: {layout.records} records of {layout.record_bytes} bytes, {layout.tail_rows} more rows and "
            f"{layout.checksum_bytes} bytes of checksums would end at byte {behind}, but the meta block begins at {end}"
        )
    return layout, zlib.crc32(block)


class FaultyMetaError(Exception):
    """What is wrong with a meta block."""


def as_format(meta: Any) -> Format:
    """Return what a meta block says; a FaultyMetaError if that cannot be."""
    if not isinstance(meta, dict):
        raise FaultyMetaError(f"the meta block must be an object, got {type(meta).__name__}")
    batch_size = _whole(meta, "batch_size", 1)
    no_inputs, no_outputs = _whole(meta, "no_inputs"), _whole(meta, "no_outputs")
    entries = meta.get("dtype")
    if not isinstance(entries, list) or len(entries) != no_inputs + no_outputs:
        raise FaultyMetaError(f"dtype must list {no_inputs} inputs and {no_outputs} outputs, got {_short(entries)}")
    found = Format(
        fields=checked_fields(tuple(_field(entry, batch_size) for entry in entries), batch_size),
        no_inputs=no_inputs,
        batch_size=batch_size,
        records=_whole(meta, "records"),
        tail_rows=_whole(meta, "tail_rows") if "tail_rows" in meta else 0,
        user_meta=meta.get("usermeta", {}),
        has_checksums="checksums" in meta,
    )
    if not isinstance(found.user_meta, dict):
        raise FaultyMetaError(f"usermeta must be an object, got {_short(found.user_meta)}")
    if len({part.name for part in found.fields}) < len(found.fields):
        raise FaultyMetaError("two fields have the same name")
    if found.tail_rows >= batch_size:
        raise FaultyMetaError(f"{found.tail_rows} rows more than whole records, with {batch_size} rows in a record")
    if found.rows and not found.row_bytes:
        raise FaultyMetaError(f"{found.rows} rows of no bytes")
    if found.has_checksums:
        table = {"algorithm": "crc32", "offset": found.data_bytes, "count": found.batches}
        if meta["checksums"] != table:
            raise FaultyMetaError(f"the checksums must be {table}, got {_short(meta['checksums'])}")
    if meta.get("names") is not None:
        found = replace(found, names=checked_names(meta["names"], found.fields))
    return found


def checked_names(names: Any, fields: tuple[Field, ...]) -> tuple[str, ...]:
    """Return the user's names of the fields; an error unless there is one for each."""
    listed = tuple(names) if isinstance(names, (list, tuple)) else ()
    if len(listed) != len(fields) or not all(isinstance(name, str) for name in listed):
        raise InvalidValueError(
            f"names must be {len(fields)} strings, one for each input and output, got {_short(names)}"
        )
    if len(set(listed)) < len(listed):
        raise InvalidValueError(f"names must differ, got {_short(names)}")
    taken = {part.name: i for i, part in enumerate(fields)}
    for i, name in enumerate(listed):
        if taken.get(name, i) != i:
            raise InvalidValueError(
                f"the name {_short(name)} is that of field {taken[name]}, it cannot be that of field {i}"
            )
    return listed


def checked_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return a dtype whose values can be stored as they lie in memory; a FaultyMetaError for others."""
    if dtype.hasobject:
        raise FaultyMetaError(f"dtype {dtype} holds Python objects, which cannot be stored")
    if dtype.names is not None or dtype.subdtype is not None:
        raise FaultyMetaError(f"dtype {dtype} is made of several: store each as an input or output of its own")
    if not dtype.itemsize:
        raise FaultyMetaError(f"dtype {dtype} has no size")
    if np.dtype(dtype.str) != dtype:
        raise FaultyMetaError(f"dtype {dtype} is not one of NumPy's own")
    return dtype


def _field(entry: Any, batch_size: int) -> Field:
    if not isinstance(entry, list) or len(entry) not in (2, 3) or not all(isinstance(part, str) for part in entry[:2]):
        raise FaultyMetaError(f"a field must be [name, dtype, shape], got {_short(entry)}")
    shape = entry[2] if len(entry) == 3 else []
    if not isinstance(shape, list) or not all(_is_whole(n) for n in shape) or shape[:1] != [batch_size]:
        raise FaultyMetaError(f"a field's shape must begin with the batch size {batch_size}, got {_short(shape)}")
    if not _DTYPE.fullmatch(entry[1]):
        raise FaultyMetaError(f"{_short(entry[1])} is no dtype that can be stored")
    try:
        dtype = checked_dtype(np.dtype(entry[1]))
    except (TypeError, ValueError) as error:
        raise FaultyMetaError(f"{_short(entry[1])} is no dtype: {error}") from None
    return Field(entry[0], dtype, tuple(shape[1:]))


def checked_fields(fields: tuple[Field, ...], batch_size: int) -> tuple[Field, ...]:
    """Return fields, of which a record can be made; a FaultyMetaError if NumPy could not do with it."""
    most = max((len(part.shape) for part in fields), default=0)
    if most > MOST_DIMENSIONS:
        raise FaultyMetaError(f"a row of {most} dimensions: {MOST_DIMENSIONS} is the most")
    size = batch_size * sum(part.strides[0] for part in fields)
    if size > LARGEST_RECORD:
        raise FaultyMetaError(
            f"{batch_size} rows have {size} bytes, and a native batch must have less than 2 GiB: take a smaller "
            "batch_size"
        )
    return fields


def _whole(meta: dict[str, Any], key: str, least: int = 0) -> int:
    value = meta.get(key)
    if not _is_whole(value) or value < least:  # type: ignore[operator]
        raise FaultyMetaError(f"{key} must be a whole number of at least {least}, got {_short(value)}")
    return int(value)  # type: ignore[arg-type]


def _is_whole(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 80 else f"{text[:80]}..."


def _meta_block(file: BinaryIO, path: str, size: int) -> tuple[int, bytes]:
    """Return where the meta block of a file of this size begins, and the JSON in it."""
    last = _read(file, max(0, size - TRAILER.size), size)
    if len(last) == TRAILER.size and last.endswith(SIGNATURE):
        packed_bytes = TRAILER.unpack(last)[0]
        begin = size - TRAILER.size - packed_bytes
        if begin < 0 or packed_bytes > LARGEST_META:
            raise FileFormatError(f"{path}: the meta block cannot have {packed_bytes} bytes: the file is damaged")
        return begin, _unpacked(_read(file, begin, size - TRAILER.size), path)
    start = max(0, size - OLD_REACH)
    end = _read(file, start, size)
    found = end.rfind(OLD_SIGNATURE)
    if found < 0:
        raise FileFormatError(f"{path} is no .hsq file, or its end is missing: it does not end with {SIGNATURE!r}")
    return start + found, end[found + len(OLD_SIGNATURE) :]


def _unpacked(packed: bytes, path: str) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        block = unpacker.decompress(packed, LARGEST_META)
    except zlib.error as error:
        raise FileFormatError(f"{path}: the meta block is damaged: {error}") from None
    if not unpacker.eof or unpacker.unused_data:
        what = "is cut short, or larger than can be meant" if not unpacker.eof else "has something behind it"
        raise FileFormatError(f"{path}: the meta block is damaged: it {what}")
    return block


def _read(file: BinaryIO, start: int, stop: int) -> bytes:
    file.seek(start)
    return file.read(stop - start)
