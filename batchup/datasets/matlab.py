"""MAT files of version 5, as far as arrays of numbers go, read piece by piece: SciPy would read all of one at once.

A file is a header of 128 bytes and elements, each a tag (type and number of bytes) and data, filled up to 8 bytes. An
array is an element of elements: flags, dimensions, name, and its numbers in Fortran order, in any type that holds them.
It may lie there compressed with zlib. Source: MathWorks, MAT-File Format.
"""

from __future__ import annotations

import math
import os
import struct
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchup._compression import DENSEST
from batchup.errors import FileFormatError

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_INT8, _INT32, _UINT32 = 1, 5, 6
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_COMPLEX = 0x800
_MOST_NAMED = 64  # letters of a name, as MATLAB has it
_PIECE = 2**18  # bytes that are read at a time


class Matrix(NamedTuple):
    """An array of a MAT file, whose numbers have not been read yet."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    numbers: Numbers


class Numbers:
    """The numbers of an array, read as they lie there: the first index runs fastest."""

    def __init__(self, elements: _Elements, stored: np.dtype[Any], dtype: np.dtype[Any], count: int) -> None:
        self._elements = elements
        self._stored = stored
        self._dtype = dtype
        self.left = count

    def read(self, count: int) -> NDArray[Any]:
        """Return the next `count` numbers, or as many as there are."""
        count = min(count, self.left)
        self.left -= count
        data = self._elements.exactly(count * self._stored.itemsize)
        numbers: NDArray[Any] = np.frombuffer(data, self._stored)
        return numbers.astype(self._dtype, copy=False)


def matrices(path: str) -> Iterator[Matrix]:
    """Yield the arrays of numbers in a MAT file; the numbers of each are to be read before the next.

    Raises
    ------
    FileFormatError
        If it is damaged, or of another version.
    """
    with open(path, "rb") as file:
        order = _byte_order(file.read(_HEADER), path)
        size = os.path.getsize(path)
        while file.tell() < size:
            start = file.tell()
            tag = file.read(8)
            if len(tag) < 8:
                raise FileFormatError(f"{path} is cut short: it ends within a tag at byte {start}")
            kind, length = struct.unpack(order + "II", tag)
            if length > size - file.tell():
                raise FileFormatError(f"{path} is cut short: an element of {length:,} bytes begins at byte {start}")
            after = file.tell() + length
            if kind == _COMPRESSED:
                elements = _Elements(_Inflated(file, length, path), order, path, DENSEST * (length + 1))
                kind, length = elements.tag()
            else:
                elements = _Elements(file, order, path, length)
            if kind == _MATRIX:
                yield from _matrix(elements)
            file.seek(after)


def _byte_order(header: bytes, path: str) -> str:
    """Return how to unpack the numbers of a file."""
    order = {b"IM": "<", b"MI": ">"}.get(header[126:128])
    if len(header) < _HEADER or order is None or struct.unpack(order + "H", header[124:126]) != (0x100,):
        newer = " (its data lie in HDF5: version 7.3)" if b"MATLAB 7.3" in header else ""
        raise FileFormatError(f"{path} is no MAT file of version 5{newer}: it begins with {header[:20]!r}")
    return order


def _matrix(elements: _Elements) -> Iterator[Matrix]:
    """Yield the array that the next elements are of, if it is one of plain numbers."""
    flags = int(next(iter(elements.small(_UINT32, 8).tolist()), 0))
    shape = tuple(elements.small(_INT32, 4 * 32).tolist())
    name = elements.small(_INT8, _MOST_NAMED).tobytes().decode("latin-1")
    if flags & 0xFF not in _CLASSES or flags & _COMPLEX:
        return
    kind, length = elements.tag()
    stored = np.dtype(elements.order + _STORED.get(kind, "V0"))
    count = math.prod(shape)
    if min(shape, default=0) < 0 or not stored.itemsize or count * stored.itemsize != length or length > elements.most:
        raise FileFormatError(f"{elements.path} is damaged: its array {name} of the shape {shape} has {length:,} bytes")
    dtype = np.dtype(_CLASSES[flags & 0xFF])
    yield Matrix(name, shape, dtype, Numbers(elements, stored, dtype, count))


class _Elements:
    """Reads elements one behind the other."""

    def __init__(self, file: Any, order: str, path: str, most: int) -> None:
        self._file = file
        self.order = order
        self.path = path
        self.most = most  # bytes that there can be
        self._kept = b""  # the data of an element so small that they lie in its tag

    def exactly(self, size: int) -> bytes:
        """Return so many bytes."""
        if self._kept:
            data, self._kept = self._kept[:size], self._kept[size:]
        else:
            data = self._file.read(size)
        if len(data) < size:
            raise FileFormatError(f"{self.path} is cut short: {size - len(data):,} more bytes are wanted")
        return data

    def tag(self) -> tuple[int, int]:
        """Return the type of the next element, and the number of its bytes."""
        tag = self.exactly(8)
        kind, length = struct.unpack(self.order + "II", tag)
        if kind >> 16:
            kind, length, self._kept = kind & 0xFFFF, kind >> 16, tag[4:]
        return kind, length

    def small(self, wanted: int, most: int) -> NDArray[Any]:
        """Return the data of the next element, which must be of a type, and short."""
        kind, length = self.tag()
        if kind != wanted or length > most:
            raise FileFormatError(f"{self.path} is damaged: an element of type {kind} has {length:,} bytes")
        if self._kept:
            data, self._kept = self._kept[:length], b""
        else:
            data = self.exactly(length + -length % 8)[:length]
        dtype = np.dtype(self.order + _STORED[kind])
        numbers: NDArray[Any] = np.ndarray(length // dtype.itemsize, dtype, data)
        return numbers


class _Inflated:
    """Reads the bytes that a part of a file stands for, which is compressed with zlib."""

    def __init__(self, file: Any, length: int, path: str) -> None:
        self._file = file
        self._left = length
        self._path = path
        self._stream = zlib.decompressobj()

    def read(self, size: int) -> bytes:
        """Return `size` bytes, fewer at the end only."""
        parts = []
        while size:
            source = self._stream.unconsumed_tail
            if not source:
                source = self._file.read(min(_PIECE, self._left))
                self._left -= len(source)
            try:
                part = self._stream.decompress(source, size)
            except zlib.error as error:
                raise FileFormatError(f"{self._path} is damaged: {error}") from None
            if not part and not source:
                break
            parts.append(part)
            size -= len(part)
        return b"".join(parts)
