"""Record files on HDF5: all values of a field in one dataset, their offsets in another; and the files of seqp."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchup._extras import required
from batchup._hdf5 import checked_dataset
from batchup._unfinished import PIECE, Unfinished
from batchup.columns import Ragged, SequenceColumn
from batchup.columns.files import file_status
from batchup.errors import ChecksumError, FileFormatError, InvalidValueError
from batchup.sequences import hdf5_seqp as seqp
from batchup.sequences.collecting import CollectingWriter, Kind, Sink, runs
from batchup.sequences.hdf5_file import (
    Hdf5Column,
    Hdf5Handle,
    attribute,
    check_hdf5_elements,
    mapped_values,
    numbers,
    opened,
    understood,
)
from batchup.sequences.reader import checked_fields
from batchup.sequences.spool import Spool
from batchup.sequences.stored import Damage, FileReader, Identity, Shard, column_of
from batchup.sequences.writer import MOST_RECORDS

MARK = "batchup_records"  # the root attribute that tells the version
VERSION = 1
VALUES, OFFSETS, METADATA = "values", "offsets", "_metadata"


class Hdf5RecordWriter(CollectingWriter):
    """Write records to an HDF5 file.

    Each field is a dataset `values` with all its elements, one behind the other, and a dataset `offsets`; see the
    explanation "Records in HDF5" in the documentation. The file is written beside its name, and takes it at `close`:
    when the ``with`` block ends well. A file that is appended to is copied; a file of seqp keeps its layout.

    Parameters
    ----------
    output_file, fields, sequence_field, append, initial_index
        As for `FileRecordWriter`, which raises the same errors.

    Raises
    ------
    MissingExtraError
        If h5py is not installed.

    Examples
    --------
    >>> from batchup.sequences import Hdf5RecordReader, Hdf5RecordWriter
    >>> with Hdf5RecordWriter("words.hdf5", fields=["tokens", "heads"], sequence_field="tokens") as writer:
    ...     index = writer.write({"tokens": np.array([5, 6, 7]), "heads": np.array([2, 0, 2])})
    >>> with Hdf5RecordReader("words.hdf5") as reader:
    ...     print(reader.fields, reader.retrieve(0)["heads"])
    ['tokens', 'heads'] [2 0 2]
    """

    def _open(self, there: bool) -> Sink:
        required("h5py", "hdf5", type(self).__name__)
        if there:
            with opened(self.output_file) as file, understood(self.output_file):
                by_seqp = _is_seqp(file)
            if by_seqp:
                return seqp.SeqpFile(self.output_file)
        for name in self.fields or ():
            if "/" in name or "\0" in name or name in (".", METADATA):
                raise InvalidValueError(f"HDF5 cannot have a field called {name!r}")
        return Hdf5File(self.output_file, there)


class Hdf5RecordReader(FileReader):
    """Read records from HDF5 files that an `Hdf5RecordWriter` has written, or seqp.

    Values that lie in a file as they are, neither in chunks nor compressed, are mapped into memory. A reader is
    pickled as the names of its files; every process opens them for itself.

    Parameters
    ----------
    file_names, verify
        As for `FileRecordReader`, which raises the same errors; but the files of seqp have no checksums.

    Raises
    ------
    MissingExtraError
        If h5py is not installed.

    Examples
    --------
    >>> from batchup.sequences import Hdf5RecordReader, Hdf5RecordWriter
    >>> with Hdf5RecordWriter("numbers.hdf5") as writer:
    ...     indexes = writer.extend([[1, 2, 3], [4], [5, 6]])
    >>> reader = Hdf5RecordReader("numbers.hdf5")
    >>> reader.gather([2, 0]).tolist()
    [[5, 6], [1, 2, 3]]
    """

    def _open(self, name: str, known: Identity | None) -> Shard:
        required("h5py", "hdf5", type(self).__name__)
        with opened(name) as file, understood(name):
            shard = seqp.shard(file, name) if _is_seqp(file) else _shard(file, name)
        if known is not None and shard.identity is not None:
            known.check(shard.identity.digest, name)
        return shard


class Hdf5File:
    """An HDF5 file of records that is being written: its values wait in unnamed files until their number is known.

    Parameters
    ----------
    path : str
        Name of the file.
    there : bool
        Whether it is to be appended to.
    """

    def __init__(self, path: str, there: bool) -> None:
        self._name = Unfinished(path)
        self._before: Shard | None = None
        self._waiting = Spool(os.path.dirname(self._name.path))
        self.kinds: dict[str | None, Kind] = {}
        self.fields: list[str] | None = None
        self.sequence_field: str | None = None
        self.metadata: dict[str, str] = {}
        self.initial_index = self.next_index = 0
        try:
            if there:
                self._take(path)
        except BaseException:
            self.discard()
            raise

    def check_elements(self, dtype: np.dtype[Any]) -> None:
        """Raise if HDF5 cannot hold them."""
        check_hdf5_elements(dtype)

    def check_metadata(self, key: str, text: str) -> None:
        """Do nothing: any text will do."""

    def put(self, columns: Mapping[str | None, Ragged]) -> int:
        """Lay records aside."""
        return self._waiting.put(columns)

    def finish(self, writer: CollectingWriter) -> None:
        """Write the file, and give it its name."""
        names: list[str | None] = [None] if writer.fields is None else list(writer.fields)
        with self._name.hdf5() as file:
            file.attrs[MARK] = VERSION
            file.attrs["initial_index"] = self.initial_index
            if writer.fields is not None:
                # texts of a fixed length: for others HDF5 has heaps, in which, if they are damaged, it loses its way
                file.attrs["fields"] = np.bytes_(json.dumps(writer.fields).encode())
                file.attrs["sequence_field"] = np.bytes_(json.dumps(writer.sequence_field).encode())
            text = json.dumps(writer.metadata, ensure_ascii=False).encode()
            file.create_dataset(METADATA, data=np.frombuffer(text, np.uint8))
            for name in names:
                self._write(file if name is None else file.create_group(name, track_order=True), name)
        self._name.take()
        self._forget()

    def discard(self) -> None:
        """Leave all as it was before."""
        self._forget()
        self._name.discard()

    def _forget(self) -> None:
        """Let go of what waits, and of the file that was there."""
        self._waiting.close()
        if self._before is not None:
            self._before.close()
            self._before = None

    def _take(self, path: str) -> None:
        """Go on with the records of the file that is there."""
        with opened(path) as file, understood(path):
            self._before = shard = _shard(file, path)
        damage = next(iter(shard.verify()), None)
        if damage is not None:
            raise FileFormatError(f"{damage}: nothing can be appended to it")
        self.fields, self.sequence_field = shard.fields, shard.sequence_field
        self.metadata = dict(shard.metadata)
        self.initial_index = shard.initial_index
        self.next_index = shard.initial_index + len(shard.lengths)
        for name, column in shard.columns.items():
            self.kinds[name] = Kind(column.dtype, column.inner_shape, bool(column.lengths.any()))

    def _write(self, group: Any, name: str | None) -> None:
        """Write a field: what was there before, and what waits."""
        kind = self.kinds[name]
        before = [self._before.columns[name].lengths] if self._before is not None else []
        lengths = np.concatenate([*before, self._waiting.lengths(name)])
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        values = group.create_dataset(VALUES, (int(offsets[-1]), *kind.inner_shape), kind.dtype)
        at = checksum = 0
        for piece in self._pieces(name, kind):
            values[at : at + len(piece)] = piece
            checksum = zlib.crc32(piece.reshape(-1).view(np.uint8).data, checksum)
            at += len(piece)
        values.attrs["crc32"] = checksum
        group.create_dataset(OFFSETS, data=offsets).attrs["crc32"] = zlib.crc32(offsets.data)

    def _pieces(self, name: str | None, kind: Kind) -> Iterator[NDArray[Any]]:
        if self._before is not None and self._before.columns[name].lengths.any():  # else they may be of another kind
            column = self._before.columns[name]
            for part in runs([column]):
                yield column.gather(part).values
        yield from self._waiting.pieces(name, kind)


def _is_seqp(file: Any) -> bool:
    return MARK not in file.attrs and seqp.is_seqp(file)


def _shard(file: Any, name: str) -> Shard:
    """Return what a file holds that an `Hdf5RecordWriter` has written."""
    if MARK not in file.attrs:
        raise FileFormatError(
            f"{name} is no file of records: it has neither the attribute {MARK!r} nor what seqp writes"
        )
    version = int(attribute(file, MARK, name))
    if version != VERSION:
        raise FileFormatError(f"{name} has version {version} of the layout; this release reads {VERSION}")
    listed, main = (attribute(file, key, name) for key in ("fields", "sequence_field"))
    fields, main = checked_fields(*(None if text is None else json.loads(text) for text in (listed, main)))
    stored = numbers(checked_dataset(file, METADATA, name), name)
    metadata = {str(key): str(text) for key, text in json.loads(bytes(stored[()])).items()}
    initial_index = int(attribute(file, "initial_index", name))
    if not 0 <= initial_index <= MOST_RECORDS:
        raise FileFormatError(f"{name} is damaged: its records would begin with {initial_index}")
    names: list[str | None] = [None] if fields is None else list(fields)
    for field in names:  # before anything of them is read
        for part in (OFFSETS, VALUES):
            checked_dataset(file, part if field is None else f"{field}/{part}", name)
    identity, handle = _identity(file, fields, name), Hdf5Handle(name)
    stored_fields = {field: _field(file, field, handle, identity) for field in names}
    if len({len(field.column) for field in stored_fields.values()}) > 1:
        raise FileFormatError(f"{name} is damaged: its fields have different numbers of records")
    return Shard(
        name,
        initial_index,
        fields,
        main,
        {field: stored.column for field, stored in stored_fields.items()},
        stored_fields[main].lengths,
        metadata,
        partial(_damages, handle, stored_fields, initial_index),
        handle.close,
        identity,
    )


class _Field(NamedTuple):
    """A field of a file: its sequences, their lengths, the CRC-32 of the values, and these, if they are mapped."""

    column: SequenceColumn
    lengths: NDArray[Any]
    crc: int | None
    memory: NDArray[np.uint8] | None


def _field(file: Any, field: str | None, handle: Hdf5Handle, identity: Identity) -> _Field:
    """Return a field of a file."""
    name = handle.name
    prefix = "" if field is None else f"{field}/"
    values = numbers(checked_dataset(file, prefix + VALUES, name), name)
    stored = numbers(checked_dataset(file, prefix + OFFSETS, name), name)
    offsets = stored[()]
    if offsets.dtype.kind not in "iu" or offsets.ndim != 1 or not len(offsets) or offsets[0] != 0:
        raise FileFormatError(f"{name} is damaged: {prefix}{OFFSETS} are no offsets")
    offsets = offsets.astype(np.int64, copy=False)
    if (offsets[1:] < offsets[:-1]).any() or offsets[-1] != len(values):
        raise FileFormatError(
            f"{name} is damaged: {prefix}{OFFSETS} must ascend to {len(values)}, the number of values; they end at "
            f"{offsets[-1]}"
        )
    expected, crc = (None if crc is None else int(crc) for crc in (d.attrs.get("crc32") for d in (stored, values)))
    if expected is not None and zlib.crc32(offsets.data) != expected:
        raise ChecksumError(f"{name} is damaged: {prefix}{OFFSETS} are not what was written")
    lengths = np.empty(len(offsets) - 1, np.uint32 if offsets[-1] < 2**32 else np.int64)
    np.subtract(offsets[1:], offsets[:-1], out=lengths, casting="unsafe")
    inner_shape = values.shape[1:]
    memory = mapped_values(values, name)
    if memory is None:
        dtype = values.dtype.newbyteorder("=")
        handle.hold()
        read = _Slices(prefix + VALUES, offsets)
        return _Field(Hdf5Column(handle, read, len(lengths), dtype, inner_shape, lengths), lengths, crc, None)
    starts = offsets[:-1]
    starts *= memory.nbytes // max(1, len(values))
    rebuilt = (column_of, (Hdf5RecordReader, name, identity, field))
    return _Field(Ragged.over(memory, starts, lengths, values.dtype, inner_shape, rebuilt), lengths, crc, memory)


def _identity(file: Any, fields: list[str] | None, name: str) -> Identity:
    """Return by what a file is known: the checksums that it has, or else when it was written to."""
    checksum = records = 0
    for prefix in [""] if fields is None else [f"{field}/" for field in fields]:
        offsets = file[prefix + OFFSETS]
        sums = [file[prefix + part].attrs.get("crc32") for part in (OFFSETS, VALUES)]
        written = file_status(name) if None in sums else None
        known = repr([offsets.shape, file[prefix + VALUES].shape, written, *map(str, sums)])
        checksum, records = zlib.crc32(known.encode(), checksum), len(offsets) - 1
    return Identity(records, checksum)


class _Slices:
    """Reads sequences as slices of one dataset."""

    def __init__(self, key: str, offsets: NDArray[np.int64]) -> None:
        self._key = key
        self._offsets = offsets

    def __call__(self, handle: Hdf5Handle, place: int) -> NDArray[Any]:
        start, stop = self._offsets[place : place + 2].tolist()
        values: NDArray[Any] = handle.file[self._key][start:stop]
        return values


def _damages(handle: Hdf5Handle, fields: Mapping[str | None, _Field], initial_index: int) -> Iterator[Damage]:
    for name, field in fields.items():
        with understood(handle.name):
            sound = _is_sound(handle, VALUES if name is None else f"{name}/{VALUES}", field)
        if not sound:
            last = initial_index + len(field.lengths) - 1
            yield Damage(handle.name, name, initial_index, last, "the values are not what was written")


def _is_sound(handle: Hdf5Handle, key: str, field: _Field) -> bool:
    """Return whether values are what their checksum tells, if there is one: somebody else may have written them."""
    if field.crc is None:
        return True
    values = checked_dataset(handle.file, key, handle.name) if field.memory is None else field.memory
    rows = max(1, PIECE * len(values) // max(1, values.nbytes))
    checksum = 0
    for start in range(0, len(values), rows):
        part = np.ascontiguousarray(values[start : start + rows])
        checksum = zlib.crc32(part.reshape(-1).view(np.uint8).data, checksum)
    return checksum == field.crc
