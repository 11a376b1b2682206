"""Readers whose records are numbered without gaps and lie in columns: in memory, or in one or more files."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchup._indices import integer_array
from batchup.columns import SequenceColumn
from batchup.errors import ChecksumError, FileFormatError, InvalidValueError
from batchup.sequences.joined import joined
from batchup.sequences.reader import RecordReader, check_index

RUN = "_run"  # the key of metadata that tells what a ShardedWriter had written before a shard, and had with it
TO = ":"  # between both


class Damage(NamedTuple):
    """Records that are not what was written.

    Attributes
    ----------
    file : str
        Name of the file.
    field : str or None
        The field.
    first, last : int
        The indexes of the first and the last record of those that were written together.
    reason : str
        What is wrong.
    """

    file: str
    field: str | None
    first: int
    last: int
    reason: str

    def __str__(self) -> str:
        of_field = "" if self.field is None else f", field {self.field!r}"
        return f"{self.file}: records {self.first} to {self.last}{of_field}: {self.reason}"


class Identity(NamedTuple):
    """By what a file is known that was pickled as its name.

    Attributes
    ----------
    records : int
        Number of records that it had.
    digest : int
        A checksum of them.
    """

    records: int
    digest: int

    def check(self, digest: int | None, name: str) -> None:
        """Raise if the first so many records of the file that has the name now are others."""
        if digest != self.digest:
            raise FileFormatError(f"{name} holds other records now than when it was sent or saved: open it anew")


@dataclass
class Shard:
    """What a file of records holds.

    Attributes
    ----------
    name : str
        Of the file.
    initial_index : int
        The index of its first record.
    fields, sequence_field
        As of a reader.
    columns : dict of SequenceColumn
        By field.
    lengths : ndarray of int
        Of the records.
    metadata : dict of str
        What was stored with them.
    verify : callable
        Yields what is damaged.
    close : callable
        Lets go of the file.
    identity : Identity, optional
        By what the file is known.
    """

    name: str
    initial_index: int
    fields: list[str] | None
    sequence_field: str | None
    columns: dict[str | None, SequenceColumn]
    lengths: NDArray[Any]
    metadata: Mapping[str, str] = field(default_factory=dict)
    verify: Callable[[], Iterable[Damage]] = tuple
    close: Callable[[], object] = tuple
    identity: Identity | None = None


class StoredReader(RecordReader):
    """Records of one or more shards, whose indexes run on from one to the next.

    Parameters
    ----------
    shards : sequence of Shard
        In any order.

    Raises
    ------
    FileFormatError
        If indexes are missing between shards, or are there twice, or the fields of shards differ.
    """

    _count = 0  # until it is known

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._shards = ordered(shards)
        first = self._shards[0]
        super().__init__(first.fields, first.sequence_field)
        self._first = first.initial_index
        self._ends = list(accumulate(len(shard.lengths) for shard in self._shards))
        self._count = self._ends[-1]
        self._closed = False

    def close(self) -> None:
        """Let go of what is open; arrays that were handed out, and data sources, stay valid where they are mapped."""
        self._closed = True
        self._columns = None
        for shard in self._shards:
            shard.close()
            shard.columns, shard.verify = {}, tuple  # they hold the file

    def indexes(self) -> Iterable[int]:
        return range(self._first, self._first + self._count)

    def num_records(self) -> int:
        return self._count

    def length(self, index: int) -> int:
        place = check_index(index, self._first, self._count) - self._first
        number = bisect_right(self._ends, place)
        return int(self._shards[number].lengths[place - self._ends[number]])  # counted from the end of the shard

    def indexes_and_lengths(self) -> Iterator[tuple[int, int]]:
        index = self._first
        for shard in self._shards:
            for length in shard.lengths.tolist():
                yield index, length
                index += 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.concatenate([shard.lengths for shard in self._shards], dtype=np.int64)

    def retrieve(self, index: int) -> Any:
        place = check_index(index, self._first, self._count) - self._first
        columns = self.columns
        return columns[None][place] if self.fields is None else {name: columns[name][place] for name in self.fields}

    def metadata(self, metadata_key: str) -> str | None:
        return self._shards[-1].metadata.get(metadata_key)

    def metadata_keys(self) -> list[str]:
        return [key for key in self._shards[-1].metadata if key != RUN]

    def _make_columns(self) -> dict[str | None, SequenceColumn]:
        if self._closed:
            raise InvalidValueError(f"{self!r} has been closed: read from it before, or open it again")
        filled = [shard for shard in self._shards if len(shard.lengths)] or self._shards[:1]
        names: list[str | None] = [None] if self.fields is None else list(self.fields)
        return {name: joined([(shard.name, shard.columns[name]) for shard in filled]) for name in names}

    def _places(self, indexes: Any) -> NDArray[np.intp]:
        wanted = integer_array(np.atleast_1d(indexes), "indexes")
        for index in (wanted.min(), wanted.max()) if wanted.size else ():
            check_index(index, self._first, self._count)
        return wanted - self._first


class FileReader(StoredReader):
    """Records in files; it is pickled as their names. See `FileRecordReader`."""

    _known: Sequence[Identity | None] | None = None  # of files that are opened again

    def __init__(self, file_names: Any, verify: bool = False) -> None:
        names = [file_names] if isinstance(file_names, (str, bytes, os.PathLike)) else list(file_names)
        if not names:
            raise InvalidValueError("there must be at least one file to read, got none")
        self.file_names = [os.fsdecode(name) for name in names]
        self._paths = [os.path.abspath(name) for name in self.file_names]  # another process may be in another folder
        known = [None] * len(self.file_names) if self._known is None else self._known
        shards = [self._open(name, as_known) for name, as_known in zip(self.file_names, known, strict=True)]
        self._identities = [shard.identity for shard in shards]
        super().__init__(shards)
        damage = self.verify() if verify else []
        if damage:
            raise ChecksumError(f"{len(damage)} parts are damaged: {damage[0]}")

    def verify(self) -> list[Damage]:
        """Compare all that is in the files with its checksums.

        Returns
        -------
        list of Damage
            What is not as it was written; empty if all is well.
        """
        self._make_columns()
        return [damage for shard in self._shards for damage in shard.verify()]

    def _open(self, name: str, known: Identity | None) -> Shard:
        raise NotImplementedError

    def __reduce__(self) -> Any:
        return _reopened, (type(self), self._paths, self._identities)

    def __repr__(self) -> str:
        shown = self.file_names[0] if len(self.file_names) == 1 else f"{len(self.file_names)} files"
        return f"<{type(self).__name__} of {shown!r}: {self._count} records>"


def ordered(shards: Sequence[Shard]) -> list[Shard]:
    """Return shards in the order of their indexes, without gaps.

    Raises
    ------
    FileFormatError
        If there are gaps, or shards overlap, are of different runs, or have different fields.
    """
    shards = sorted(shards, key=lambda shard: (shard.initial_index, len(shard.lengths)))
    shards = [shard for shard in shards if len(shard.lengths)] or shards[:1]
    for before, after in pairwise(shards):
        due = before.initial_index + len(before.lengths)
        if after.initial_index > due:
            raise FileFormatError(
                f"the records {due} to {after.initial_index - 1} are missing: {before.name} ends before them, and "
                f"{after.name} begins behind them; is a shard missing from the list?"
            )
        if after.initial_index < due:
            raise FileFormatError(
                f"{before.name} and {after.name} both hold record {after.initial_index}: they are no shards of one "
                "whole; read them one by one"
            )
        if not _follows(before.metadata.get(RUN), after.metadata.get(RUN)):
            raise FileFormatError(
                f"{before.name} and {after.name} were written by different runs: remove what an earlier one has left"
            )
        if (before.fields, before.sequence_field) != (after.fields, after.sequence_field):
            raise FileFormatError(
                f"{before.name} has the fields {before.fields} (the sequence is {before.sequence_field!r}), "
                f"{after.name} has {after.fields} ({after.sequence_field!r})"
            )
    return shards


def _follows(before: str | None, after: str | None) -> bool:
    """Return whether a shard may be the one that was written behind another, as far as they tell."""
    return before is None or after is None or before.split(TO)[-1] == after.split(TO)[0]


def _reopened(reader_class: type[FileReader], paths: list[str], known: Sequence[Identity | None]) -> FileReader:
    """Return a reader of the records that were in some files."""
    reader = reader_class.__new__(reader_class)
    reader._known = known
    reader.__init__(paths)  # type: ignore[misc]
    return reader


def column_of(reader_class: type[FileReader], path: str, known: Identity, field: str | None) -> SequenceColumn:
    """Return the sequences of a field of a file: what they are pickled as."""
    return _reopened(reader_class, [path], [known]).columns[field]
