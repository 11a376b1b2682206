"""The filters that HDF5 puts chunks through, undone without HDF5, and so outside of its lock."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup.errors import ChecksumError, FileFormatError

DEFLATE, SHUFFLE, FLETCHER32 = (
    1,
    2,
    3,
)  # numbers of the HDF5 format, https://docs.hdfgroup.org/hdf5/v1_14/group___h5_z.html
CHECKSUM_BYTES = 4
DEFLATE_RATIO = 1032  # https://zlib.net/zlib_tech.html
WORDS = 2**16  # 16-bit words that are summed up at once, such that float64 holds the sum exactly


class Filters:
    """The filters of a dataset, in the order in which they were applied.

    Parameters
    ----------
    codes : list of int
        What each is.
    itemsize : int
        Bytes of an element, whose bytes the shuffle filter sorts by their place.
    """

    def __init__(self, codes: list[int], itemsize: int) -> None:
        self._codes = codes
        self._itemsize = itemsize

    @classmethod
    def of(cls, dataset: Any) -> Filters:
        """Return the filters of a dataset of h5py."""
        properties = dataset.id.get_create_plist()
        codes = [int(properties.get_filter(i)[0]) for i in range(properties.get_nfilters())]
        return cls(codes, dataset.id.get_type().get_size())

    def applied(self, skipped: int) -> list[int]:
        """Return the filters that a chunk went through, the last one first; bit i of its mask says that i did not."""
        return [code for i, code in reversed(list(enumerate(self._codes))) if not skipped >> i & 1]

    def can_undo(self, skipped: int) -> bool:
        """Return whether all filters that a chunk went through are known here."""
        return {*self.applied(skipped)} <= {DEFLATE, SHUFFLE, FLETCHER32}

    def undo(self, stored: bytes, skipped: int, size: int) -> NDArray[np.uint8]:
        """Return the bytes of a chunk as they were before they were filtered.

        Parameters
        ----------
        stored : bytes
            What lies in the file.
        skipped : int
            The chunk's mask of filters that were not applied.
        size : int
            How many bytes it has to become.

        Raises
        ------
        FileFormatError
            If it becomes something else.
        """
        chunk = np.frombuffer(stored, np.uint8)
        for code in self.applied(skipped):
            if code == DEFLATE:
                chunk = inflated(chunk, size + CHECKSUM_BYTES * self._codes.count(FLETCHER32))
            elif code == SHUFFLE:
                chunk = unshuffled(chunk, self._itemsize)
            else:
                chunk = checked(chunk)
        if len(chunk) != size:
            raise FileFormatError(f"it has {len(chunk):,} bytes, expected {size:,}")
        return chunk


def inflated(packed: NDArray[np.uint8], most: int) -> NDArray[np.uint8]:
    """Return what zlib has compressed, which are `most` bytes at the most."""
    if most > (len(packed) + 1) * DEFLATE_RATIO:  # before anything is allocated
        raise FileFormatError(f"{len(packed):,} bytes cannot have been {most:,} before they were compressed")
    inflating = zlib.decompressobj()
    try:
        plain = inflating.decompress(packed.data, most)
        if not inflating.eof:  # a stream may need to be asked once more to see that nothing follows
            plain += inflating.decompress(inflating.unconsumed_tail, 1)
    except zlib.error as error:
        raise FileFormatError(str(error)) from None
    if not inflating.eof:
        raise FileFormatError("the compressed data do not end where they should")
    return np.frombuffer(plain, np.uint8)


def unshuffled(shuffled: NDArray[np.uint8], itemsize: int) -> NDArray[np.uint8]:
    """Return elements of which first all first bytes lay together, then all second ones, and so on.

    >>> unshuffled(np.array([1, 3, 5, 2, 4, 6, 7], np.uint8), 2)
    array([1, 2, 3, 4, 5, 6, 7], dtype=uint8)
    """
    count = len(shuffled) // itemsize
    plain = np.empty_like(shuffled)
    for place in range(itemsize):
        plain[place : count * itemsize : itemsize] = shuffled[place * count : (place + 1) * count]
    plain[count * itemsize :] = shuffled[count * itemsize :]
    return plain


def checked(summed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return bytes without the checksum behind them, which must be theirs."""
    if len(summed) < CHECKSUM_BYTES:
        raise FileFormatError(f"it has {len(summed)} bytes, and its checksum alone has {CHECKSUM_BYTES}")
    plain = summed[:-CHECKSUM_BYTES]
    low, high = (int(half) % 65535 for half in summed[-CHECKSUM_BYTES:].copy().view("<u2"))
    expected = fletcher32(plain)
    swapped = tuple((half >> 8 | (half & 255) << 8) % 65535 for half in expected)
    if (low, high) not in (expected, swapped):  # early HDF5 wrote the bytes in the order of the machine
        raise ChecksumError("its checksum is not that of its data")
    return plain


def fletcher32(data: NDArray[np.uint8]) -> tuple[int, int]:
    """Return the two sums of Fletcher's checksum over big-endian 16-bit words, modulo 65535.

    J. G. Fletcher, An Arithmetic Checksum for Serial Transmissions, IEEE Transactions on Communications 30, 1982.

    >>> fletcher32(np.array([1, 2, 3], np.uint8))
    (1026, 1284)
    """
    words = np.append(data, np.uint8(0)).view(">u2") if len(data) % 2 else data.view(">u2")
    first = second = 0
    for start in range(0, len(words), WORDS):
        some = words[start : start + WORDS].astype(np.float64)
        second += len(some) * first + int(some @ np.arange(len(some), 0, -1.0))
        first += int(some.sum())
    return first % 65535, second % 65535
