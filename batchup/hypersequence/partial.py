"""A file that is being written: beside its name, with a journal of what is whole, until it takes its name."""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import BinaryIO

import numpy as np

from batchup._files import (
    PARTIAL,
    check_named,
    is_named,
    keep_permissions,
    leave,
    opened_alone,
    rename,
    sync_folder,
    write_all,
)
from batchup.errors import FileFormatError, InvalidValueError, UnsupportedError
from batchup.hypersequence.checksums import findings, stored_checksums
from batchup.hypersequence.format import CHECKSUM, FaultyMetaError, Format, as_format, encoded, read_format

JOURNAL = ".journal"  # of the partial file
COPIED = 64 * 2**20  # bytes that are copied at a time


class Partial:
    """The file `<name>.partial`, which nobody else writes, and its journal.

    The journal says in its first line what a record is made of, and then holds the checksums of the records that
    have been written. So what is whole is known after a kill.

    Parameters
    ----------
    path : str
        The name that the file will have.
    keep : bool
        Whether it is to be there already.

    Raises
    ------
    FileBusyError
        If another writer is at it.
    """

    def __init__(self, path: str, keep: bool = False) -> None:
        if not hasattr(os, "pwrite"):
            raise UnsupportedError("writing batch files needs a POSIX system (Linux, macOS)")
        self.path = os.path.realpath(path)
        if os.path.exists(self.path) and not os.path.isfile(self.path):
            raise InvalidValueError(f"{path} is a folder or a device: name a file")
        self.name = self.path + PARTIAL
        self.journal = self.name + JOURNAL
        self._file = opened_alone(self.name, anew=not keep)
        self._fresh = not os.fstat(self._file.fileno()).st_size and not os.path.exists(self.journal)
        self._journal: BinaryIO | None = None
        self._head = b""
        self._lost = False

    @property
    def closed(self) -> bool:
        """Whether it has its name, or has been left."""
        return self._file.closed

    def begin(self) -> None:
        """Begin anew, whatever is there."""
        self._remove_journal()
        self._file.truncate(0)

    def write(self, data: memoryview, start: int) -> None:
        """Write bytes from a place on."""
        write_all(self._file.fileno(), data, start, self.path)

    def note(self, layout: Format, sums: Sequence[int], first: int, base_rows: int) -> None:
        """Write into the journal the checksums of records that have been written, from the `first` one on."""
        meta = replace(layout, records=0, tail_rows=0, has_checksums=False).meta()
        head = encoded({**meta, "base_rows": base_rows}) + b"\n"
        if self._journal is None or head != self._head:
            self._rewrite_journal(head)
        assert self._journal is not None
        self._journal.seek(len(head) + first * CHECKSUM.itemsize)
        self._journal.write(np.array(sums, CHECKSUM).tobytes())
        self._journal.flush()

    def sync(self) -> None:
        """See to it that what has been written and noted is on the disk."""
        os.fsync(self._file.fileno())
        if self._journal is not None:
            os.fsync(self._journal.fileno())
        sync_folder(self.path)

    def copy_from(self, source: BinaryIO, size: int) -> None:
        """Copy the first bytes of another file; where the file system can, it shares them."""
        start = 0
        while start < size:
            count = min(size - start, COPIED)
            done = 0
            with contextlib.suppress(AttributeError, OSError):
                done = os.copy_file_range(source.fileno(), self._file.fileno(), count, start, start)
            if not done:
                source.seek(start)
                piece = source.read(count)
                self.write(memoryview(piece), start)
                done = len(piece)
            if not done:
                raise FileFormatError(f"{self.path} has become shorter meanwhile")
            start += done

    def finish(self, layout: Format, sums: Sequence[int]) -> None:
        """Write what stands at the end, see to it that all is on the disk, and give the file its name."""
        if self._lost:
            raise FileFormatError(f"{self.name}: the disk has lost what was written; see HyperSequenceWriter.recover")
        end = np.array(sums, CHECKSUM).tobytes() + layout.end()
        self.write(memoryview(end), layout.data_bytes)
        self._file.truncate(layout.data_bytes + len(end))
        keep_permissions(self._file.fileno(), self.path)
        try:
            os.fsync(self._file.fileno())
        except OSError:
            self._lost = True  # to ask again would say that all is well
            raise
        check_named(self._file, self.name)
        self._remove_journal()
        rename(self.name, self.path)
        self.leave()

    def leave(self) -> None:
        """Leave it as it is, to others."""
        leave(self._file)
        self.forget()

    def forget(self) -> None:
        """Close what is open; a process that this one was forked from may go on."""
        if self._journal is not None:
            self._journal.close()
        self._file.close()

    def give_back(self) -> None:
        """Leave things as they were before."""
        if self._fresh:
            self.discard()
        self.leave()

    def discard(self) -> None:
        """Remove it."""
        if not self.closed and is_named(self._file.fileno(), self.name):
            self._remove_journal()
            os.remove(self.name)
        self.leave()

    def recovered(self) -> tuple[Format, Sequence[int]]:
        """Return what is whole in it, and the checksums."""
        if not os.path.exists(self.journal):
            return self._almost_finished()
        layout, base_rows, noted = self._read_journal()
        self._file.seek(0)
        sums: list[int] = []
        for expected in noted:
            record = self._file.read(layout.record_bytes)
            if len(record) < layout.record_bytes or zlib.crc32(record) != expected:
                break
            sums.append(expected)
        rows = len(sums) * layout.batch_size
        if not sums or rows < base_rows:
            kept = f"; {self.path} still has its {base_rows} rows" if base_rows else ""
            raise FileFormatError(f"{self.name} has {rows} whole rows: there is nothing to recover{kept}")
        return replace(layout, records=len(sums)), sums

    def _almost_finished(self) -> tuple[Format, Sequence[int]]:
        """Return what is in a file that lacks but its name."""
        try:
            layout, _ = read_format(self._file, self.name)
            if layout.has_checksums and not any(findings(self._file, layout)):
                return layout, stored_checksums(self._file, layout).tolist()
        except FileFormatError:
            pass
        raise FileFormatError(f"{self.name} has no whole record: there is nothing to recover")

    def _read_journal(self) -> tuple[Format, int, list[int]]:
        """Return what a record is made of, the rows that the file had before, and the checksums noted."""
        try:
            with open(self.journal, "rb") as file:
                meta, noted = json.loads(file.readline()), file.read()
            layout = replace(as_format(meta), has_checksums=True)
            whole = len(noted) // CHECKSUM.itemsize * CHECKSUM.itemsize
            return layout, int(meta["base_rows"]), np.frombuffer(noted[:whole], CHECKSUM).tolist()
        except (FaultyMetaError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise FileFormatError(f"{self.journal} is damaged: {error}") from error

    def _rewrite_journal(self, head: bytes) -> None:
        """Write the journal anew, with another first line."""
        sums = b""
        if self._journal is not None:
            self._journal.close()
            with open(self.journal, "rb") as file:
                file.readline()
                sums = file.read()
        fresh = self.journal + ".new"
        with open(fresh, "wb") as file:
            file.write(head + sums)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, self.journal)
        self._journal = open(self.journal, "r+b")  # noqa: SIM115
        self._head = head

    @property
    def journaled(self) -> bool:
        """Whether there is a journal."""
        return self._journal is not None

    def _remove_journal(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        for name in (self.journal, self.journal + ".new"):
            with contextlib.suppress(FileNotFoundError):
                os.remove(name)
