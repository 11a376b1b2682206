"""Records spread over several files, each of a bounded number."""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from batchup._numbers import whole_number
from batchup.columns import Ragged
from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.sequences.stored import RUN, TO
from batchup.sequences.writer import RecordWriter

START, END = "start", "end"  # of a run, where there is no checksum of what lies before, or behind


class ShardedWriter(RecordWriter):
    """Write records to one file after the other.

    Shards are numbered from 1; the indexes of records run on through them. The readers take the names of all shards.

    Parameters
    ----------
    writer_class : callable
        Makes the writer of a shard: `FileRecordWriter`, `Hdf5RecordWriter`, or another class whose constructor takes
        the name of a file, `initial_index` and `append`.
    output_file_template : str or path-like
        What `str.format` makes the name of a shard from: ``'words_{:04d}.records'``.
    max_records_per_shard : int
        Records in a shard.
    *args, **kwargs
        What else `writer_class` takes. An extra keyword `output_file_param` tells where it takes the name of the file:
        as which positional argument (0 by default), or under which keyword.

    Raises
    ------
    ValueError
        If `append` is among the keywords, or the template gives all shards one name.

    Examples
    --------
    >>> from glob import glob
    >>> from batchup.sequences import FileRecordReader, FileRecordWriter, ShardedWriter
    >>> with ShardedWriter(FileRecordWriter, "part_{:02d}.records", max_records_per_shard=2) as writer:
    ...     indexes = writer.extend([[1], [2, 2], [3, 3, 3]])
    >>> files = sorted(glob("part_*.records"))
    >>> files, FileRecordReader(files).retrieve(2)
    (['part_01.records', 'part_02.records'], array([3, 3, 3]))
    """

    def __init__(
        self,
        writer_class: Callable[..., RecordWriter],
        output_file_template: str | os.PathLike[str],
        max_records_per_shard: int,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        if "append" in kwargs:
            raise InvalidTypeError("shards are written anew: append= cannot be given")
        self._name_param = kwargs.pop("output_file_param", 0)
        self._writer_class = writer_class
        self._template = os.fsdecode(output_file_template)
        self._folder = os.getcwd()  # whatever it is later
        self._check_template()
        self.max_records_per_shard = whole_number(max_records_per_shard, "max_records_per_shard", 1)
        self._args, self._kwargs = args, kwargs
        self._finished: list[str] = []
        self._records = 0
        self._before = START
        self._closed = False
        self._writer = self._open(self._name(1), initial_index=kwargs.pop("initial_index", 0))
        super().__init__(self._writer.fields, self._writer.sequence_field, initial_index=self._writer.next_index)

    @property
    def output_files(self) -> list[str]:
        """The names of the shards so far, with that which is being written."""
        return [*self._finished, self._name(len(self._finished) + 1)]

    def write(self, record: Any) -> int:
        if self._records >= self.max_records_per_shard:
            self._next_shard()
        index = self._writer.write(record)
        self._records += 1
        self.next_index = self._writer.next_index
        return index

    def extend(self, records: Any) -> range:
        columns = list(records.values()) if isinstance(records, Mapping) else [records]
        if not all(isinstance(column, Ragged) for column in columns) or len({len(column) for column in columns}) != 1:
            return super().extend(records)
        first, start, count = self.next_index, 0, len(columns[0])
        while start < count:
            if self._records >= self.max_records_per_shard:
                self._next_shard()
            part = slice(start, min(count, start + self.max_records_per_shard - self._records))
            chosen = {n: c[part] for n, c in records.items()} if isinstance(records, Mapping) else records[part]
            self.next_index = self._writer.extend(chosen).stop
            self._records += part.stop - part.start
            start = part.stop
        return range(first, self.next_index)

    def add_metadata(self, metadata: Mapping[str, str]) -> None:
        if RUN in metadata:
            raise InvalidValueError(f"{RUN!r} is the key by which shards know each other: choose another")
        super().add_metadata(metadata)
        self._writer.add_metadata(metadata)
        for name in self._finished:
            if not os.path.exists(os.path.join(self._folder, name)):
                raise FileNotFoundError(errno.ENOENT, "a shard that was written is gone", name)
            with self._open(name, append=True) as writer:
                writer.add_metadata(metadata)

    def close(self) -> None:
        if not self._closed:
            self._finish(END)
            self._closed = True

    def discard(self) -> None:
        """Give up the shard that is being written; those before it stay."""
        self._writer.discard()
        self._closed = True

    def _next_shard(self) -> None:
        index, after = self._writer.next_index, self._after()
        self._finish(after)
        self._finished.append(self._name(len(self._finished) + 1))
        self._records, self._before = 0, after
        self._writer = self._open(self._name(len(self._finished) + 1), initial_index=index)
        self._writer.add_metadata(self.metadata)

    def _after(self) -> str:
        """Return a checksum of all records so far, as a text."""
        return str(zlib.crc32(f"{self._before} {self._writer._checksum()}".encode()))

    def _finish(self, after: str) -> None:
        """Close a shard, with what tells readers which ones belong before and behind it."""
        self._writer.add_metadata({RUN: f"{self._before}{TO}{after}"})
        self._writer.close()

    def _open(self, name: str, **more: Any) -> RecordWriter:
        args, kwargs = list(self._args), {**self._kwargs, **more}
        name = os.path.join(self._folder, name)
        if isinstance(self._name_param, int):
            args.insert(self._name_param, name)
        else:
            kwargs[self._name_param] = name
        return self._writer_class(*args, **kwargs)

    def _check_template(self) -> None:
        try:
            good = self._name(1) != self._name(2)
        except (LookupError, ValueError):
            good = False
        if not good:
            raise InvalidValueError(
                "output_file_template must hold a place for the number, as in 'words_{:04d}.records', and braces that "
                f"belong to a name doubled, got {self._template!r}"
            )

    def _name(self, number: int) -> str:
        return self._template.format(number)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._template!r}: next record {self.next_index}>"


def braced(path: str) -> str:
    """Return what `str.format` makes a path of."""
    return path.replace("{", "{{").replace("}", "}}")
