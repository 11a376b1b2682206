"""The rows of an .npy file that is read from front to back: a file of its own, or part of a .npz."""

from __future__ import annotations

import math
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from batchup._npy_header import Header, read_header, told
from batchup.errors import FileFormatError

PIECE = 16 * 2**20  # bytes for which there is room before it is known that they are there


class NpyStream:
    """The rows of an .npy file, some at a time.

    Parameters
    ----------
    file
        To read it from; at its beginning.
    name : str
        For messages.

    Raises
    ------
    FileFormatError
        If it is none, or holds Python objects, or no rows.
    """

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        self._name = name
        self.header = header = checked_rows(read_header(file, name), name)
        if header.fortran_order and len(header.shape) > 1:
            raise FileFormatError(
                f"{name} lies column by column in the file (Fortran's order), and cannot be read row by row: "
                "numpy.save(path, numpy.ascontiguousarray(array)) writes it so that it can, without compression"
            )
        self._row_bytes = math.prod(header.shape[1:]) * header.dtype.itemsize
        self._row = 0

    def read(self, count: int) -> tuple[NDArray[Any], FileFormatError | None]:
        """Return the next rows, fewer at the end; and what is wrong with those that are missing."""
        header = self.header
        count = min(count, header.shape[0] - self._row)
        data, error = self._bytes(count * self._row_bytes)
        there = len(data) // self._row_bytes if self._row_bytes else count
        if there < count:
            where = f"{self._name}, row {self._row + there} of {header.shape[0]}"
            reason = "the file is cut short" if error is None else str(error)
            error = FileFormatError(f"{where}: {reason}")
        self._row += there
        flat = data[: there * self._row_bytes].view(header.dtype)
        return flat.reshape(there, *header.shape[1:]), error

    def _bytes(self, size: int) -> tuple[NDArray[np.uint8], FileFormatError | None]:
        """Return as many bytes as there are up to a size, and the error if some cannot be read."""
        parts: list[NDArray[np.uint8]] = []
        error = None
        while size and error is None:
            part = np.empty(min(PIECE, size), np.uint8)
            done, error = _filled(self._file, part, self._name)
            parts.append(part[:done])
            if done < len(part):
                break
            size -= done
        return (parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, np.uint8), *parts])), error


def _filled(file: IO[bytes], part: NDArray[np.uint8], name: str) -> tuple[int, FileFormatError | None]:
    """Read into an array; return how many bytes there were, and why there are no more, if that is an error."""
    room, done = part.data, 0
    try:
        with told(name):
            while done < len(room):
                count = file.readinto(room[done:])  # type: ignore[attr-defined]
                if not count:
                    break
                done += count
    except FileFormatError as error:
        return done, error
    return done, None


def checked_rows(header: Header, name: str) -> Header:
    """Return a header; an error unless its array has rows, of values that have a size."""
    if not header.shape:
        raise FileFormatError(f"{name} holds a single value: rows need an array of at least 1 dimension")
    if not header.dtype.itemsize:
        raise FileFormatError(f"{name} holds values of no size ({header.dtype})")
    return header
