"""What an .npy file says of its array, checked before anything is done with it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

import numpy as np

from batchup.errors import BatchUpError, FileFormatError

_READ_HEADER: Any = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class Header(NamedTuple):
    """What an .npy file says of its array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    size: int  # bytes of the file
    start: int  # the first byte of the array
    fortran_order: bool = False


class _Counted:
    """Counts the bytes that are read: not all files can tell."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.place = 0

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self.place += len(data)
        return data


def read_header(beginning: IO[bytes], name: str) -> Header:
    """Read the header of an .npy file, from its beginning."""
    file: Any = _Counted(beginning)
    with told(name):
        version = np.lib.format.read_magic(file)
        if version not in _READ_HEADER:
            raise FileFormatError(f"{name} is of version {version} of the .npy format: only 1.0 and 2.0 can be read")
        shape, fortran_order, dtype = _READ_HEADER[version](file)
    if dtype.hasobject:
        raise FileFormatError(
            f"{name} has Python objects in it ({dtype}), which might run programs when they are read: store numbers or "
            "fixed-size strings"
        )
    if min(shape, default=0) < 0:
        raise FileFormatError(f"{name} is damaged: its array would be of the shape {shape}")
    size = file.place + math.prod(shape) * dtype.itemsize
    return Header(shape, dtype, size, file.place, fortran_order)


def check_size(wanted: int, there: int, name: str) -> None:
    """Raise unless there are as many bytes as a header wants."""
    if there < wanted:
        raise FileFormatError(f"{name} is cut short: {there} of {wanted} bytes are there")
    if there > wanted:
        raise FileFormatError(f"{name} is damaged: {there - wanted} bytes lie behind its array, from byte {wanted} on")


@contextlib.contextmanager
def told(name: str) -> Iterator[None]:
    """Name the file in what NumPy and the zip library raise over a damaged one."""
    try:
        yield
    except BatchUpError:
        raise
    except Exception as error:
        raise FileFormatError(f"{name} is damaged, or something else: {error}") from error
