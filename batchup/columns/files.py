"""Where in a file the memory of an array lies, so that others can map it too, or ask for it ahead of need."""

from __future__ import annotations

import io
import mmap
import os
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchup.errors import FileFormatError, InvalidValueError


class OpenFile:
    """A file that is open for reading for as long as somebody has it: closed earlier, its number would be another's."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self._descriptor)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def reader(self) -> io.BufferedReader:
        """Return a file object with a place of its own."""
        return io.BufferedReader(_Reader(self))


class _Reader(io.RawIOBase):
    """Reads a file that others read, too."""

    def __init__(self, file: OpenFile) -> None:
        self._file = file
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: os.fstat(self._file.fileno()).st_size}[whence]
        self._place = base + place
        return self._place

    def readinto(self, room: Any) -> int:
        if hasattr(os, "preadv"):
            done = os.preadv(self._file.fileno(), [room], self._place)
        else:
            os.lseek(self._file.fileno(), self._place, os.SEEK_SET)
            read = os.read(self._file.fileno(), len(room))
            done = len(read)
            room[:done] = read
        self._place += done
        return done


def file_status(name: str) -> tuple[int, int]:
    """Return by what it is seen that a file is another one, or was written to."""
    status = os.stat(name)
    return status.st_size, status.st_mtime_ns


def check_file_status(name: str, status: tuple[int, int], what: str) -> None:
    """Raise FileFormatError if a file is not as it was when something of it, called `what`, was opened or sent."""
    if file_status(name) != tuple(status):
        raise FileFormatError(f"{name} has been replaced or written to since {what}: open it anew")


class Region(NamedTuple):
    """A place in a file."""

    path: str
    inode: int  # that of the file, on any machine; the device's number is the machine's own
    offset: int
    writable: bool


def is_mapped(array: Any) -> bool:
    """Return whether the memory of an array belongs to a mapped file."""
    while array is not None and not isinstance(array, (np.memmap, mmap.mmap)):
        array = array.obj if isinstance(array, memoryview) else getattr(array, "base", None)
    return array is not None


def region_of(array: NDArray[Any]) -> Region | None:
    """Return where in a file the memory of an array lies; None unless others see the same by mapping the file."""
    if not is_mapped(array) or any(stride < 0 for stride in array.strides):
        return None
    start = array.__array_interface__["data"][0]
    end = start + extent(array.shape, array.strides, array.itemsize)
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/self/maps").read_text(errors="surrogateescape").split("\n"):
            fields = line.split(maxsplit=5)
            first, behind = (int(address, 16) for address in fields[0].split("-"))
            if not first <= start < behind:
                continue
            if end > behind or fields[1][3] != "s":
                return None  # a private mapping: what was written to it is nobody else's
            status = os.stat(fields[5])
            if status.st_ino != int(fields[4]):
                return None  # another file has this name now
            offset = int(fields[2], 16) + start - first
            return Region(fields[5], status.st_ino, offset, bool(array.flags.writeable))
    return None


def array_in(region: Region, shape: tuple[int, ...], strides: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an array over a region of a file, which is mapped anew."""
    with open(region.path, "r+b" if region.writable else "rb") as file:
        status = os.fstat(file.fileno())
        if status.st_ino != region.inode:
            raise InvalidValueError(f"{region.path} is another file now than when the source was sent")
        skipped = region.offset % mmap.ALLOCATIONGRANULARITY
        mapped = mmap.mmap(
            file.fileno(),
            skipped + extent(shape, strides, dtype.itemsize),
            access=mmap.ACCESS_WRITE if region.writable else mmap.ACCESS_READ,
            offset=region.offset - skipped,
        )
    array: NDArray[Any] = np.ndarray(shape, dtype, mapped, skipped, strides)
    return array


def extent(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> int:
    """Return the number of bytes from the first element of an array to the end of its last one."""
    return sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True)) + itemsize
