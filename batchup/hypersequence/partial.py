"""A file that is being written: beside its name, with a journal of what is whole, until it takes its name."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np

from batchup.errors import FileBusyError, FileFormatError, InvalidValueError
from batchup.hypersequence.format import CHECKSUM, FaultyMetaError, Format, as_format, encoded

SUFFIX = ".partial"
JOURNAL = ".journal"  # of the partial file
COPIED = 64 * 2**20  # bytes that are copied at a time


class Partial:
    """The file `<name>.partial`, which nobody else writes, and its journal.

    The journal says in its first line what a record is made of, and then holds the checksums of the records that
    have been written. So what is whole is known after a kill, and after a loss of power.

    Parameters
    ----------
    path : str
        The name that the file will have.
    keep : bool
        Whether to go on with what is there; else it is begun anew.

    Raises
    ------
    FileBusyError
        If another writer is at it.
    """

    def __init__(self, path: str, keep: bool = False) -> None:
        self.path = os.path.realpath(path)
        if os.path.isdir(self.path):
            raise InvalidValueError(f"{path} is a folder: name a file")
        self.name = self.path + SUFFIX
        self.journal = self.name + JOURNAL
        self._file = _opened(self.name, anew=not keep)
        self._journal: BinaryIO | None = None
        self._head: dict[str, Any] = {}
        with contextlib.suppress(OSError):  # the permissions of the file that it will replace
            os.fchmod(self._file.fileno(), os.stat(self.path).st_mode & 0o777)
        if not keep:
            self._file.truncate(0)
            _remove(self.journal)

    @property
    def closed(self) -> bool:
        """Whether it has its name, or has been given up."""
        return self._file.closed

    def write(self, data: memoryview, start: int) -> None:
        """Write bytes from a place on."""
        descriptor, begin = self._file.fileno(), start
        while data:
            written = os.pwrite(descriptor, data, start)
            data, start = data[written:], start + written
        if hasattr(os, "posix_fadvise"):
            # has the kernel begin now to bring them to the disk, which else it does at the end, when it is waited for
            os.posix_fadvise(descriptor, begin, start - begin, os.POSIX_FADV_DONTNEED)

    def note(self, layout: Format, sums: Sequence[int], first: int, base_rows: int) -> None:
        """Write into the journal the checksums of records that have been written, from the `first` one on."""
        head = {**replace(layout, records=0, tail_rows=0, has_checksums=False).meta(), "base_rows": base_rows}
        if self._journal is None or head != self._head:
            self._rewrite_journal(copy.deepcopy(head))
        assert self._journal is not None
        self._journal.seek(len(encoded(self._head)) + 1 + first * CHECKSUM.itemsize)
        self._journal.write(np.array(sums, CHECKSUM).tobytes())
        self._journal.flush()

    def copy_from(self, source: BinaryIO, size: int) -> None:
        """Copy the first bytes of another file; where the file system can, it shares them."""
        start = 0
        while start < size:
            count = min(size - start, COPIED)
            try:
                done = os.copy_file_range(source.fileno(), self._file.fileno(), count, start, start)
            except (AttributeError, OSError):
                source.seek(start)
                piece = source.read(count)
                self.write(memoryview(piece), start)
                done = len(piece)
            if not done:
                raise FileFormatError(f"{self.path} has become shorter meanwhile")
            start += done

    def finish(self, layout: Format, sums: Sequence[int]) -> None:
        """Write what stands at the end, see to it that all is on the disk, and give the file its name."""
        end = np.array(sums, CHECKSUM).tobytes() + layout.end()
        self.write(memoryview(end), layout.data_bytes)
        self._file.truncate(layout.data_bytes + len(end))
        os.fsync(self._file.fileno())
        os.replace(self.name, self.path)
        _sync_folder(self.path)
        _remove(self.journal)
        self.leave()

    def leave(self) -> None:
        """Leave it as it is."""
        if self._journal is not None:
            self._journal.close()
        self._file.close()

    def discard(self) -> None:
        """Remove it."""
        _remove(self.journal)
        _remove(self.name)
        self.leave()

    def recovered(self) -> tuple[Format, list[int]]:
        """Return what is whole in it, and the checksums of the records."""
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

    def _read_journal(self) -> tuple[Format, int, list[int]]:
        """Return what a record is made of, the rows that the file had before, and the checksums noted."""
        try:
            with open(self.journal, "rb") as file:
                meta, noted = json.loads(file.readline()), file.read()
            layout = replace(as_format(meta), has_checksums=True)
            whole = len(noted) // CHECKSUM.itemsize * CHECKSUM.itemsize
            return layout, int(meta["base_rows"]), np.frombuffer(noted[:whole], CHECKSUM).tolist()
        except FileNotFoundError:
            raise FileFormatError(f"{self.name} has no whole record: there is nothing to recover") from None
        except (FaultyMetaError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise FileFormatError(f"{self.journal} is damaged: {error}") from error

    def _rewrite_journal(self, head: dict[str, Any]) -> None:
        """Write the journal anew, with another first line."""
        sums = b""
        if self._journal is not None:
            self._journal.close()
            with open(self.journal, "rb") as file:
                file.readline()
                sums = file.read()
        with open(self.journal + ".new", "wb") as file:
            file.write(encoded(head) + b"\n" + sums)
        os.replace(self.journal + ".new", self.journal)
        self._journal = open(self.journal, "r+b")  # noqa: SIM115
        self._head = head


def _opened(name: str, anew: bool) -> BinaryIO:
    """Open a file that nobody else writes, as long as it is open."""
    while True:
        descriptor = os.open(name, os.O_RDWR | (os.O_CREAT if anew else 0) | getattr(os, "O_BINARY", 0), 0o666)
        file = os.fdopen(descriptor, "r+b", buffering=0)
        try:
            _lock(descriptor)
            same = os.path.exists(name) and os.path.samestat(os.stat(name), os.fstat(descriptor))
        except BlockingIOError:
            file.close()
            raise FileBusyError(f"another writer is at {name}: wait until it has closed its file") from None
        if same:  # and has not got its name meanwhile
            return file
        file.close()


def _lock(descriptor: int) -> None:
    try:
        import fcntl
    except ImportError:  # Windows does not let two open it
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _sync_folder(path: str) -> None:
    """See to it that the name of a file is on the disk."""
    with contextlib.suppress(OSError):
        descriptor = os.open(os.path.dirname(path), os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove(name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.remove(name)
