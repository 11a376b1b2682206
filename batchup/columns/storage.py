"""A file from which rows are read by their place in it: mapped into memory, or read by system calls."""

from __future__ import annotations

import mmap
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup.columns.files import OpenFile
from batchup.columns.readahead import Place, Readahead
from batchup.errors import InvalidValueError, UnsupportedError

RESIDENT = 2 * 2**30  # bytes of a mapping that may count as memory of this process, before its pages are let go of
LOOK = 32 * 2**20  # bytes to be touched until it is looked how many they have become
AROUND = 64 * 1024  # bytes that the kernel maps around a page that is touched, and often more


class Storage(ABC):
    """The first bytes of a file, to be read by any number of threads.

    Parameters
    ----------
    file : OpenFile or None
        The file; None if it is none of this machine.
    path : str
        Its name, for messages.
    size : int
        How many bytes of it are read from.
    """

    window = 0  # bytes of scattered rows that are best read at once; 0: as many as a batch has

    def __init__(self, file: OpenFile | None, path: str, size: int) -> None:
        self.path = path
        self.size = size
        self.closed = False
        self.readahead = Readahead(file)

    def check_open(self) -> None:
        """Raise if nothing can be read any more."""
        if self.closed:
            raise InvalidValueError(f"{self.path} is closed: read from it before, or open it again")

    def close(self) -> None:
        """Let go of the file; arrays that were handed out stay valid, and whoever reads just now reads to the end."""
        self.closed = True
        self.readahead = Readahead(None)

    def touch(self, size: int) -> None:
        """Take note that so many bytes of an array that was handed out will be looked at."""
        self.check_open()

    @abstractmethod
    def array(self, start: int, size: int) -> NDArray[np.uint8]:
        """Return the bytes of one place, read-only."""

    @abstractmethod
    def copy(self, places: Iterable[Place], out: NDArray[np.uint8]) -> None:
        """Copy bytes from some places into `out`, one behind the other."""

    def copy_rows(self, starts: NDArray[np.int64], size: int, out: NDArray[np.uint8]) -> None:
        """Copy `size` bytes from each of many places, around which nothing is wanted, as `copy` does."""
        self.copy(_rows(starts, size), out)

    def cells(self, starts: NDArray[np.int64], size: int) -> NDArray[Any] | None:
        """Return `size` bytes from each of many places, as elements of a void type; None if `copy` does better."""
        return None


class ReadStorage(Storage):
    """Reads whenever something is asked for."""

    def __init__(self, file: OpenFile, path: str, size: int) -> None:
        if not hasattr(os, "preadv"):
            raise UnsupportedError("use_mmap=False needs a POSIX system (Linux, macOS)")
        super().__init__(file, path, size)

    def array(self, start: int, size: int) -> NDArray[np.uint8]:
        read = np.empty(size, np.uint8)
        self.copy([(start, size)], read)
        read.flags.writeable = False
        return read

    def copy(self, places: Iterable[Place], out: NDArray[np.uint8]) -> None:
        readahead = self.readahead
        self.check_open()
        readahead.fetch(places, out)


class MappedStorage(Storage):
    """Copies from a mapping. How much of it counts as memory of this process is bounded, however large the file.

    The file is mapped a second time for what is scattered over it. Where a page is missing, the kernel would read
    those around it, too, and that may be megabytes for each row.
    """

    def __init__(self, file: OpenFile, path: str, size: int) -> None:
        super().__init__(file, path, size)
        self._touched = 0
        self._others = mapped_bytes()
        self._mappings: list[mmap.mmap] = []
        self._file: OpenFile | None = file
        self._bytes = self._mapped(file)
        self._scattered: NDArray[np.uint8] | None = None

    def close(self) -> None:
        super().close()
        self._file, self._mappings = None, []  # they go with the last arrays that lie in them
        self._bytes, self._scattered = np.empty(0, np.uint8), None

    def array(self, start: int, size: int) -> NDArray[np.uint8]:
        everything = self._bytes
        self.touch(min(size, LOOK))  # which looks whether it is still open
        return everything[start : start + size]

    def copy(self, places: Iterable[Place], out: NDArray[np.uint8]) -> None:
        self._copy(self._bytes, places, out)

    def copy_rows(self, starts: NDArray[np.int64], size: int, out: NDArray[np.uint8]) -> None:
        self._copy(self._by_row(), _rows(starts, size), out)

    def _copy(self, source: NDArray[np.uint8], places: Iterable[Place], out: NDArray[np.uint8]) -> None:
        readahead = self.readahead
        self.check_open()
        if readahead.cold:
            readahead.fetch(places, out)
            return
        begin = touched = 0
        for start, size in places:
            out[begin : begin + size] = source[start : start + size]  # NumPy lets others work while the disk does
            begin += size
            touched += size + AROUND
        self.touch(touched)

    def cells(self, starts: NDArray[np.int64], size: int) -> NDArray[Any] | None:
        if self.readahead.cold:
            return None
        source = self._by_row()
        self.touch(len(starts) * (size + AROUND))
        rows: NDArray[Any] = np.ndarray((self.size - size + 1,), f"V{size}", source.data, 0, (1,))
        return rows[starts]

    def touch(self, size: int) -> None:
        self.check_open()
        self._touched += size
        if self._touched > LOOK:
            self._touched = 0
            if self.size > RESIDENT:
                self._let_go()

    def _by_row(self) -> NDArray[np.uint8]:
        """Return the mapping for what is scattered."""
        scattered, file = self._scattered, self._file
        if scattered is None:
            if file is None:
                return np.empty(0, np.uint8)
            scattered = self._scattered = self._mapped(file)
            if hasattr(mmap, "MADV_RANDOM"):
                self._mappings[-1].madvise(mmap.MADV_RANDOM)
        return scattered

    def _mapped(self, file: OpenFile) -> NDArray[np.uint8]:
        if not self.size:
            return np.empty(0, np.uint8)
        mapping = mmap.mmap(file.fileno(), self.size, access=mmap.ACCESS_READ)
        self._mappings.append(mapping)
        return np.frombuffer(mapping, np.uint8)

    def _let_go(self) -> None:
        """Give pages back that count as memory of this process, if they are many; the kernel keeps them."""
        if mapped_bytes() - self._others < RESIDENT or not hasattr(mmap, "MADV_DONTNEED"):
            return
        for mapping in self._mappings:
            mapping.madvise(mmap.MADV_DONTNEED)
        self._others = mapped_bytes()


def _rows(starts: NDArray[np.int64], size: int) -> Iterator[Place]:
    return ((start, size) for start in starts.tolist())


def mapped_bytes() -> int:
    """Return how many bytes of mapped files count as memory of this process; 0 where that is not known."""
    try:
        with open("/proc/self/statm", "rb", buffering=0) as file:
            return int(file.read().split()[2]) * mmap.PAGESIZE
    except OSError:
        return 0
