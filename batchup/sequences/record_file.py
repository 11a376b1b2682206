"""Record files: written block by block beside their name, appended to in place, read as mapped memory."""

from __future__ import annotations

import contextlib
import mmap
import os
import zlib
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._files import PARTIAL, check_named, keep_permissions, leave, opened_alone, remove, rename, write_all
from batchup.columns import Ragged, SequenceColumn
from batchup.errors import FileFormatError, LengthError, UnsupportedError
from batchup.sequences.collecting import CollectingWriter, Kind, Sink
from batchup.sequences.record_format import (
    HEAD,
    LENGTH,
    SLOTS,
    Block,
    Committed,
    Index,
    aligned,
    head,
    lengths_of,
    read_index,
    slot,
)
from batchup.sequences.stored import Damage, FileReader, Identity, Shard, column_of

CHECKED = 4 * 2**20  # bytes whose checksum is made at a time


class FileRecordWriter(CollectingWriter):
    """Write records to a record file, which needs NumPy alone.

    A new file is written beside its name, and takes it at `close`: when the ``with`` block ends well. Records that are
    appended count from then on, too. If the block ends with an exception, or the program is killed, all is as it was
    before.

    Parameters
    ----------
    output_file : str or path-like
        Name of the file, commonly ending in ``.records``.
    fields, sequence_field, append, initial_index
        As for `RecordWriter`. A file to append to tells them itself.

    Raises
    ------
    FileBusyError
        If another writer is at the same file.
    FileFormatError
        If the file to append to is damaged, or something else.
    ValueError
        If it has other fields.

    Examples
    --------
    >>> from batchup.sequences import FileRecordReader, FileRecordWriter
    >>> with FileRecordWriter("words.records") as writer:
    ...     for word in ("to", "be", "or not"):
    ...         index = writer.write(np.frombuffer(word.encode(), np.uint8))
    ...     writer.add_metadata({"language": "English"})
    >>> with FileRecordReader("words.records") as reader:
    ...     print(reader.num_records(), reader.length(2), bytes(reader.retrieve(1)), reader.metadata("language"))
    3 6 b'be' English
    """

    def _open(self, there: bool) -> Sink:
        return RecordFile(self.output_file, there)


class FileRecordReader(FileReader):
    """Read records from record files, which are mapped into memory.

    A reader is pickled as the names of its files; any number of threads may read from it. The files must not be cut
    short by others while they are open: that ends the program.

    Parameters
    ----------
    file_names : str, path-like, or sequence of those
        The files; if there are several, shards, in any order.
    verify : bool, default False
        Whether to compare all that is in them with its checksums now. The lengths always are.

    Raises
    ------
    FileNotFoundError
        If one is not there.
    FileFormatError
        If one is damaged (`ChecksumError`, if that tells), or something else; if indexes are missing between shards,
        or are there twice.

    Examples
    --------
    >>> from batchup.sequences import FileRecordReader, FileRecordWriter
    >>> with FileRecordWriter("numbers.records") as writer:
    ...     indexes = writer.extend([[1, 2, 3], [4], [5, 6]])
    >>> reader = FileRecordReader("numbers.records")
    >>> reader.gather([2, 0]).tolist()
    [[5, 6], [1, 2, 3]]
    """

    def _open(self, name: str, known: Identity | None) -> Shard:
        with open(name, "rb") as file:
            committed = read_index(file, name)
            mapped = mmap.mmap(file.fileno(), committed.end, access=mmap.ACCESS_READ)
        index, memory = committed.content, np.frombuffer(mapped, np.uint8)
        if known is not None:
            known.check(index.digest(known.records), name)
            index.cut(known.records)
        columns = {field: _column(index, memory, field, name) for field in index.names}
        return Shard(
            name,
            index.initial_index,
            index.fields,
            index.sequence_field,
            {field: column for field, (column, _) in columns.items()},
            columns[index.sequence_field][1],
            index.metadata,
            partial(_damages, committed, memory, name),
            identity=_identity(index),
        )


class RecordFile:
    """A record file that is being written.

    What is appended lies behind the index that counts, until there is a new one that does.

    Parameters
    ----------
    path : str
        Name of the file.
    there : bool
        Whether it is to be appended to.
    """

    def __init__(self, path: str, there: bool) -> None:
        if not hasattr(os, "pwrite"):
            raise UnsupportedError("writing record files needs a POSIX system (Linux, macOS)")
        self._path = os.path.realpath(path)
        self._new = not there
        self._name = self._path + PARTIAL if self._new else self._path
        self._file = opened_alone(self._name, anew=self._new)
        self._lost = False
        self._counts = False  # whether the index that was written may count already
        try:
            committed = self._begin() if self._new else read_index(self._file, path)
        except BaseException:
            self._remove()
            leave(self._file)
            raise
        self._index = committed.content
        self._generation = committed.generation
        self._before = committed.end
        self._end = committed.end
        self.kinds = self._index.kinds
        self.fields = self._index.fields
        self.sequence_field = self._index.sequence_field
        self.metadata = self._index.metadata
        self.initial_index = self._index.initial_index
        self.next_index = self.initial_index + self._index.records

    def check_elements(self, dtype: np.dtype[Any]) -> None:
        """Do nothing: all plain elements can be written."""

    def check_metadata(self, key: str, text: str) -> None:
        """Do nothing: any text will do."""

    def put(self, columns: Mapping[str | None, Ragged]) -> int:
        """Write a segment."""
        self._check_disk()
        end, blocks = self._end, {}
        for name, ragged in columns.items():
            lengths = ragged.lengths
            little_endian = ragged.values.astype(ragged.dtype.newbyteorder("<"), copy=False)
            values = little_endian.reshape(-1).view(np.uint8)
            if lengths.max() > np.iinfo(LENGTH).max:
                raise LengthError(f"a record file takes sequences of up to 2**32 - 1 elements, got {lengths.max()}")
            stored = lengths.astype(LENGTH)
            start = aligned(end)
            lengths_start = aligned(start + values.nbytes)
            self._write(values.data, start)
            self._write(stored.data.cast("B"), lengths_start)
            blocks[name] = Block(start, values.nbytes, zlib.crc32(values.data), zlib.crc32(stored.data), lengths_start)
            end = lengths_start + stored.nbytes
            count = len(lengths)
        self._end = end
        self._index.counts.append(count)
        for name, block in blocks.items():
            self._index.blocks.setdefault(name, []).append(block)
        return zlib.crc32(repr([(block.crc, block.lengths_crc) for block in blocks.values()]).encode())

    def finish(self, writer: CollectingWriter) -> None:
        """Write the index, have it count, and give the file its name."""
        self._check_disk()
        index = self._index
        index.fields, index.sequence_field = writer.fields, writer.sequence_field
        index.initial_index, index.metadata = self.initial_index, dict(writer.metadata)
        text, start = index.encoded(), aligned(self._end)
        self._write(memoryview(text), start)
        self._file.truncate(start + len(text))
        self._sync()
        check_named(self._file, self._name)
        generation = self._generation + 1
        self._counts = True
        self._write(memoryview(slot(generation, start, text)), SLOTS[generation % len(SLOTS)])
        if self._new:
            keep_permissions(self._file.fileno(), self._path)
        self._sync()
        if self._new:
            rename(self._name, self._path)
        leave(self._file)

    def discard(self) -> None:
        """Leave all as it was before, unless it is finished."""
        if self._file.closed:
            return
        self._remove()
        if not self._new and not self._counts:
            with contextlib.suppress(OSError):
                self._file.truncate(self._before)
        leave(self._file)

    def _begin(self) -> Committed:
        self._file.truncate(0)
        self._write(memoryview(head()), 0)
        return Committed(Index(), 0, HEAD)

    def _write(self, data: memoryview, start: int) -> None:
        write_all(self._file.fileno(), data, start, self._path)

    def _sync(self) -> None:
        try:
            os.fsync(self._file.fileno())
        except OSError:
            self._lost = True  # to ask again would say that all is well
            raise

    def _check_disk(self) -> None:
        if self._lost:
            raise FileFormatError(f"{self._name}: the disk has lost what was written: discard it, and write it again")

    def _remove(self) -> None:
        """Remove the file if it is a new one."""
        if self._new:
            remove(self._file, self._name)


def _column(
    index: Index, memory: NDArray[np.uint8], field: str | None, name: str
) -> tuple[SequenceColumn, NDArray[Any]]:
    """Return the sequences of a field, and their lengths."""
    kind = index.kinds.get(field, Kind())
    row = kind.row
    lengths: NDArray[Any] = np.empty(index.records, LENGTH)
    starts = np.empty(index.records, np.int64)
    first = 0
    for count, block in zip(index.counts, index.blocks.get(field, []), strict=True):
        part = slice(first, first + count)
        lengths[part] = of_segment = lengths_of(memory, block, count, name)
        sizes = of_segment.astype(np.int64) * row
        ends = np.cumsum(sizes, out=starts[part])
        if count and ends[-1] != block.bytes:
            raise FileFormatError(
                f"{name} is damaged: {count} records from byte {block.start} on have {block.bytes} bytes in all, but "
                f"lengths of {ends[-1]}"
            )
        ends += block.start - sizes
        first += count
    rebuilt = (column_of, (FileRecordReader, os.path.abspath(name), _identity(index), field))
    return Ragged.over(memory, starts, lengths, kind.dtype, kind.inner_shape, rebuilt), lengths


def _identity(index: Index) -> Identity:
    digest = index.digest(index.records)
    assert digest is not None
    return Identity(index.records, digest)


def _damages(committed: Committed, memory: NDArray[np.uint8], name: str) -> Iterator[Damage]:
    index = committed.content
    first = index.initial_index
    if committed.torn is not None:
        reason = f"byte {committed.torn} on, which may tell of newer records, is not what was written"
        yield Damage(name, None, first, first + index.records - 1, reason)
    for number, count in enumerate(index.counts):
        for field in index.names:
            block = index.blocks[field][number]
            checksum = 0
            for start in range(block.start, block.start + block.bytes, CHECKED):
                stop = min(start + CHECKED, block.start + block.bytes)
                checksum = zlib.crc32(memory[start:stop].data, checksum)
            if checksum != block.crc:
                reason = f"their values (bytes {block.start} to {block.start + block.bytes}) are not what was written"
                yield Damage(name, field, first, first + count - 1, reason)
        first += count
