"""A file from which rows are read by their place in it: mapped into memory, or read by system calls."""

from __future__ import annotations

import mmap
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup.columns.files import OpenFile
from batchup.columns.readahead import Readahead
from batchup.errors import FileFormatError, InvalidValueError, UnsupportedError

RESIDENT = 2**30  # bytes of a mapping that may count as memory of this process, before its pages are let go of
LOOK = 32 * 2**20  # bytes to be touched until it is looked how many they have become
AROUND = 64 * 1024  # bytes that the kernel maps around a page that is touched, and often more

Place = tuple[int, int]  # first byte, number of bytes


class Storage(ABC):
    """The first bytes of a file, to be read by any number of threads.

    Parameters
    ----------
    path : str
        Of the file.
    size : int
        How many bytes of it are read from.
    """

    def __init__(self, path: str, size: int) -> None:
        self.path = path
        self.size = size
        self.closed = False
        self._file = OpenFile(path)
        self.readahead = Readahead(self._file)
        self.runs: tuple[Any, Any] = None, None  # the rows that were asked for last, as its columns see them

    def check_open(self) -> None:
        """Raise if nothing can be read any more."""
        if self.closed:
            raise InvalidValueError(f"{self.path} is closed: read from it before, or open it again")

    def close(self) -> None:
        """Let go of the file; arrays that were handed out stay valid."""
        self.closed = True
        self._file.close()

    def touch(self, size: int) -> None:
        """Take note that so many bytes of an array that was handed out will be looked at."""
        self.check_open()

    @abstractmethod
    def array(self, start: int, size: int) -> NDArray[np.uint8]:
        """Return the bytes of one place, read-only."""

    @abstractmethod
    def copy(self, places: Iterable[Place], out: NDArray[np.uint8]) -> None:
        """Copy bytes from some places into `out`, one behind the other."""

    def cells(self, starts: NDArray[np.int64], size: int) -> NDArray[Any] | None:
        """Return `size` bytes from each of many places, as elements of a void type; None if `copy` does better."""
        return None


class ReadStorage(Storage):
    """Reads whenever something is asked for."""

    def __init__(self, path: str, size: int) -> None:
        if not hasattr(os, "preadv"):
            raise UnsupportedError("use_mmap=False needs a POSIX system (Linux, macOS)")
        super().__init__(path, size)

    def array(self, start: int, size: int) -> NDArray[np.uint8]:
        read = np.empty(size, np.uint8)
        self.copy([(start, size)], read)
        read.flags.writeable = False
        return read

    def copy(self, places: Iterable[Place], out: NDArray[np.uint8]) -> None:
        self.check_open()
        descriptor, begin, room = self._file.fileno(), 0, out.data
        for start, size in places:
            end, done = begin + size, 0
            while begin < end:
                done = os.preadv(descriptor, [room[begin:end]], start)
                if not done:
                    raise FileFormatError(f"{self.path} has become shorter than when it was opened")
                begin, start = begin + done, start + done


class MappedStorage(Storage):
    """Copies from a mapping. How much of it counts as memory of this process is bounded, however large the file."""

    def __init__(self, path: str, size: int) -> None:
        super().__init__(path, size)
        self._touched = 0
        self._others = mapped_bytes()
        self._bytes = np.empty(0, np.uint8)
        self._mapping: mmap.mmap | None = None
        if size:
            self._mapping = mmap.mmap(self._file.fileno(), size, access=mmap.ACCESS_READ)
            self._bytes = np.frombuffer(self._mapping, np.uint8)

    def close(self) -> None:
        super().close()
        self._bytes = np.empty(0, np.uint8)
        self._mapping = None  # it goes with the last array that lies in it

    def array(self, start: int, size: int) -> NDArray[np.uint8]:
        self.touch(min(size, LOOK))
        return self._bytes[start : start + size]

    def copy(self, places: Iterable[Place], out: NDArray[np.uint8]) -> None:
        self.check_open()
        source, begin, touched = self._bytes, 0, 0  # NumPy lets other threads work while the disk is waited for
        for start, size in places:
            out[begin : begin + size] = source[start : start + size]
            begin += size
            touched += size + AROUND
        self.touch(touched)

    def cells(self, starts: NDArray[np.int64], size: int) -> NDArray[Any]:
        self.touch(len(starts) * (size + AROUND))
        everywhere: NDArray[Any] = np.ndarray((self.size - size + 1,), f"V{size}", self._bytes.data, 0, (1,))
        return everywhere[starts]

    def touch(self, size: int) -> None:
        self.check_open()
        self._touched += size
        if self._touched > LOOK:
            self._touched = 0
            if self.size > RESIDENT:
                self._let_go()

    def _let_go(self) -> None:
        """Give pages back that count as memory of this process, if they are many; the kernel keeps them."""
        mapping = self._mapping  # another thread may close the file
        if mapping is None or mapped_bytes() - self._others < RESIDENT or not hasattr(mmap, "MADV_DONTNEED"):
            return
        mapping.madvise(mmap.MADV_DONTNEED)
        self._others = mapped_bytes()


def mapped_bytes() -> int:
    """Return how many bytes of mapped files count as memory of this process; 0 where that is not known."""
    try:
        with open("/proc/self/statm", "rb", buffering=0) as file:
            return int(file.read().split()[2]) * mmap.PAGESIZE
    except OSError:
        return 0
