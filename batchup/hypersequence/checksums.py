"""Checksums of the batches of a .hsq file: made, read, and compared with what is there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchup._crc import crc32
from batchup.errors import FileFormatError
from batchup.hypersequence.format import CHECKSUM, Format

PIECE = 4 * 2**20  # bytes that are read at a time


class Finding(NamedTuple):
    """A batch that is not what was written.

    Attributes
    ----------
    batch : int
        Its number in the file.
    start, stop : int
        The bytes of the file that it takes.
    reason : str
        What is wrong.
    """

    batch: int
    start: int
    stop: int
    reason: str

    def __str__(self) -> str:
        return f"batch {self.batch} (bytes {self.start} to {self.stop}): {self.reason}"


def checksums_of(data: memoryview, record_bytes: int) -> list[int]:
    """Return the checksums of records that lie one behind the other."""
    return [crc32(data[i : i + record_bytes]) for i in range(0, len(data), record_bytes)]


def stored_checksums(file: BinaryIO, layout: Format) -> NDArray[np.uint32]:
    """Return the table of checksums of a file."""
    file.seek(layout.data_bytes)
    table = file.read(layout.checksum_bytes)
    if len(table) < layout.checksum_bytes:
        raise FileFormatError("the file has become shorter since it was opened")
    return np.frombuffer(table, CHECKSUM).astype(np.uint32)


def computed_checksums(file: BinaryIO, layout: Format) -> Iterator[int]:
    """Yield the checksum of each batch as it lies in a file."""
    file.seek(0)
    for batch in range(layout.batches):
        left, value = layout.place(batch)[1], 0
        while left:
            piece = file.read(min(left, PIECE))
            if not piece:
                break  # it has become shorter meanwhile; the checksum tells
            value, left = crc32(piece, value), left - len(piece)
        yield value


def findings(file: BinaryIO, layout: Format) -> Iterator[Finding]:
    """Yield the batches of a file that are not what was written."""
    stored = stored_checksums(file, layout).tolist()
    for batch, (expected, value) in enumerate(zip(stored, computed_checksums(file, layout), strict=True)):
        if value != expected:
            start, size = layout.place(batch)
            yield Finding(batch, start, start + size, f"its CRC-32 is {value:08x}, {expected:08x} was written")
