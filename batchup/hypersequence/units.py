"""Units in which a .hsq file is fetched from elsewhere: some whole records each, compared with their checksums."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from batchup._crc import crc32
from batchup.hypersequence.format import Format

UNIT = 2**18  # bytes of records that are fetched together at least


class Units:
    """How the records of a file are divided into units.

    Parameters
    ----------
    layout : Format
        What is in the file, and where.
    checksums : ndarray of uint32 or None
        Those of all batches, as the file has them; None if it has none.

    Attributes
    ----------
    count : int
        How many units there are.
    """

    def __init__(self, layout: Format, checksums: NDArray[np.uint32] | None) -> None:
        self._checksums = None if checksums is None else checksums.tolist()
        self._record = max(1, layout.record_bytes)
        self._together = max(1, UNIT // self._record)
        self._end = layout.data_bytes
        self.unit_bytes = self._record * self._together
        self.count = -(-self._end // self.unit_bytes)

    def place(self, number: int) -> tuple[int, int]:
        """Return the first byte of a unit, and its size."""
        start = number * self.unit_bytes
        return start, min(self.unit_bytes, self._end - start)

    def holding(self, starts: NDArray[np.int64], size: int) -> list[int]:
        """Return which units hold `size` bytes from each of these places on, each once, in the order of the places."""
        first = starts // self.unit_bytes
        last = np.minimum(starts + max(0, size - 1), max(0, self._end - 1)) // self.unit_bytes
        if (first == last).all():
            return list(dict.fromkeys(first.tolist()))
        spans = zip(first.tolist(), last.tolist(), strict=True)
        return list(dict.fromkeys(number for one, other in spans for number in range(one, other + 1)))

    def fault(self, number: int, data: NDArray[np.uint8]) -> str | None:
        """Return what is wrong with a unit that has come; None if it is what was written."""
        if self._checksums is None:
            return None
        first, view = number * self._together, data.data
        for batch, begin in enumerate(range(0, len(data), self._record), first):
            value = crc32(view[begin : begin + self._record])
            if value != self._checksums[batch]:
                return f"batch {batch}: its CRC-32 is {value:08x}, {self._checksums[batch]:08x} was written"
        return None
