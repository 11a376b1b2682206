"""The HDF5 files of seqp 0.1: one dataset per record, or per field of a record, and JSON that tells of them."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from batchup._extras import required
from batchup._hdf5 import checked_dataset
from batchup._unfinished import Unfinished
from batchup.columns import Ragged
from batchup.errors import FileFormatError, InvalidValueError
from batchup.sequences.collecting import Kind
from batchup.sequences.hdf5_file import (
    Hdf5Column,
    Hdf5Handle,
    check_hdf5_elements,
    numbers,
    opened,
    understood,
)
from batchup.sequences.reader import checked_fields
from batchup.sequences.spool import Spool
from batchup.sequences.stored import Identity, Shard

if TYPE_CHECKING:
    from batchup.sequences.collecting import CollectingWriter

LENGTHS, FIRST, LAST = "lengths", "initial_index", "final_index"
FIELDS, SEQUENCE_FIELD = "fields", "sequence_field"
OWN = (LENGTHS, FIRST, LAST, FIELDS, SEQUENCE_FIELD)


def is_seqp(file: Any) -> bool:
    """Return whether an HDF5 file is one of seqp."""
    return LENGTHS in file and FIRST in file and LAST in file


def shard(file: Any, name: str) -> Shard:
    """Return what a file of seqp holds.

    Raises
    ------
    FileFormatError
        If what it tells of itself cannot be so.
    """
    lengths = np.array(json.loads(_text(file, LENGTHS, name)), np.int64)
    first, last = int(_text(file, FIRST, name)), int(_text(file, LAST, name))
    listed = json.loads(_text(file, FIELDS, name)) if FIELDS in file else None
    main = _text(file, SEQUENCE_FIELD, name) if SEQUENCE_FIELD in file else None
    fields, main = checked_fields(listed, main)
    if lengths.ndim != 1 or len(lengths) != last - first + 1 or (lengths < 0).any() or first < 0:
        raise FileFormatError(
            f"{name} is damaged: its records run from {first} to {last}, and there are {lengths.size} lengths"
        )
    handle = Hdf5Handle(name)
    handle.hold()
    names: list[str | None] = [None] if fields is None else list(fields)
    columns = {field: _column(file, handle, lengths, first, field, main) for field in names}
    identity = Identity(len(lengths), zlib.crc32(repr((fields, main, first)).encode(), zlib.crc32(lengths.data)))
    return Shard(
        name, first, fields, main, dict(columns), lengths, Texts(handle), close=handle.close, identity=identity
    )


class Texts(Mapping[str, str]):
    """What was stored with the records of a file of seqp, read when it is asked for."""

    def __init__(self, handle: Hdf5Handle) -> None:
        self._handle = handle

    def __getitem__(self, key: str) -> str:
        file = self._handle.file
        with understood(self._handle.name):
            text = (
                _text(file, key, self._handle.name) if key not in OWN and key in file and _is_text(file[key]) else None
            )
        if text is None:
            raise KeyError(key)
        return text

    def __iter__(self) -> Iterator[str]:
        file = self._handle.file
        with understood(self._handle.name):
            keys = [key for key in file if not key[:1].isdigit() and key not in OWN and _is_text(file[key])]
        return iter(keys)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class SeqpFile:
    """A file of seqp that is appended to: a copy of it, which takes its name.

    Parameters
    ----------
    path : str
        Name of the file.
    """

    def __init__(self, path: str) -> None:
        self._unfinished = Unfinished(path)
        self._waiting = Spool(os.path.dirname(self._unfinished.path))
        try:
            with opened(path) as file, understood(path):
                before = shard(file, path)
            self.metadata = dict(before.metadata)
            self.kinds = {
                name: Kind(column.dtype, column.inner_shape, bool(column.lengths.any()))
                for name, column in before.columns.items()
            }
            before.close()
        except BaseException:
            self._unfinished.discard()
            raise
        self.fields, self.sequence_field = before.fields, before.sequence_field
        self.initial_index = before.initial_index
        self.next_index = before.initial_index + len(before.lengths)
        self._lengths = before.lengths.tolist()

    def check_elements(self, dtype: np.dtype[Any]) -> None:
        """Raise if HDF5 cannot hold them."""
        check_hdf5_elements(dtype)

    def check_metadata(self, key: str, text: str) -> None:
        """Raise if the key is that of something else in such a file, or HDF5 cannot hold the text."""
        if "\0" in text:
            raise InvalidValueError(f"a file of seqp cannot have metadata with a zero byte: {key!r}: {text!r:.80}")
        if key in OWN or key[:1].isdigit() or not key.strip("./") or "\0" in key:
            raise InvalidValueError(f"a file of seqp cannot have metadata called {key!r}")

    def put(self, columns: Mapping[str | None, Ragged]) -> int:
        """Lay records aside."""
        return self._waiting.put(columns)

    def finish(self, writer: CollectingWriter) -> None:
        """Write each record as a dataset, or one for each field; tell of them, and give the file its name."""
        h5py = required("h5py", "hdf5", "writing HDF5 files")
        lengths = self._lengths + self._waiting.lengths(self.sequence_field).tolist()
        last = self.initial_index + len(lengths) - 1
        texts = {**writer.metadata, LENGTHS: json.dumps(lengths), LAST: str(last)}
        with self._unfinished.hdf5(copied=True) as file, understood(self._unfinished.path):
            for name, kind in self.kinds.items():
                for index, sequence in enumerate(self._waiting.sequences(name, kind), self.next_index):
                    file.create_dataset(_key(index, name), data=sequence, track_times=False)
            for key, text in texts.items():
                if key in file:
                    del file[key]
                file.create_dataset(key, (1,), h5py.string_dtype(), track_times=False)[0] = text
        self._unfinished.take()
        self._waiting.close()

    def discard(self) -> None:
        """Leave the file as it was."""
        self._waiting.close()
        self._unfinished.discard()


class _Dataset:
    """Reads sequences that are datasets of their own."""

    def __init__(self, first: int, field: str | None) -> None:
        self._first = first
        self._field = field

    def __call__(self, handle: Hdf5Handle, place: int) -> NDArray[Any]:
        key = _key(self._first + place, self._field)
        values: NDArray[Any] = numbers(checked_dataset(handle.file, key, handle.name), handle.name)[()]
        return values


def _column(
    file: Any, handle: Hdf5Handle, lengths: NDArray[np.int64], first: int, field: str | None, main: str | None
) -> Hdf5Column:
    """Return the sequences of a field."""
    dtype: np.dtype[Any] = np.dtype(float)
    inner_shape: tuple[int, ...] = ()
    places = range(len(lengths)) if field != main else np.flatnonzero(lengths)[:1].tolist() or range(len(lengths))[:1]
    for place in places:
        example = numbers(checked_dataset(file, _key(first + place, field), handle.name), handle.name)
        if len(example) or place == 0:
            dtype, inner_shape = example.dtype.newbyteorder("="), example.shape[1:]
        if len(example):
            break
    known = lengths if field == main else None
    return Hdf5Column(handle, _Dataset(first, field), len(lengths), dtype, inner_shape, known)


def _key(index: int, field: str | None) -> str:
    return str(index) if field is None else f"{index}:{field}"


def _is_text(dataset: Any) -> bool:
    h5py = required("h5py", "hdf5", "reading HDF5 files")
    return getattr(dataset, "shape", None) == (1,) and h5py.check_string_dtype(dataset.dtype) is not None


def _text(file: Any, key: str, name: str) -> str:
    """Return a text that is stored as an array of one string."""
    dataset = checked_dataset(file, key, name)
    if not _is_text(dataset):
        raise FileFormatError(f"{name} is damaged: {key!r} should be a text")
    return str(dataset.asstr()[0])
