"""A file elsewhere as a file object, for libraries that read from one: zipfile, tarfile, h5py, pyarrow."""

from __future__ import annotations

import io
import os
from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from batchup.errors import InvalidValueError
from batchup.remote.problems import closed_error

if TYPE_CHECKING:
    from batchup.remote.file import RemoteFile

BLOCK = 2**20  # bytes that are fetched at once where one reads here and there
AHEAD = 8  # blocks that are fetched at once where one reads on and on
MOST = 32  # blocks that are kept in memory
_BUFFER = 2**16


class RemoteReader(io.RawIOBase):
    """Reads from a file elsewhere, which is fetched in blocks.

    Parameters
    ----------
    file : RemoteFile
        The file.
    cached : bool
        Whether blocks are kept on the disk of this machine.
    owned : bool
        Whether the file is closed with this.
    """

    def __init__(self, file: RemoteFile, cached: bool, owned: bool) -> None:
        self._file = file
        self._cached = cached
        self._owned = owned
        self._place = 0
        self._next = 0  # the block that will be read if one reads on and on
        self._run = 1
        self._blocks: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        self._lock = Lock()

    @property
    def name(self) -> str:
        """What is shown of the address."""
        return self._file.name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._file.size}[whence]
        if base + place < 0:
            raise InvalidValueError(f"byte {base + place} of a file")
        self._place = base + place
        return self._place

    def readinto(self, room: Any) -> int:
        with self._lock:
            if self._file.closed:
                raise closed_error(self._file.name)
            out = memoryview(room).cast("B")
            size = max(0, min(len(out), self._file.size - self._place))
            done = 0
            while done < size:
                number, begin = divmod(self._place + done, BLOCK)
                part = self._block(number, self._place + size)[begin : begin + size - done]
                out[done : done + len(part)] = part.data
                done += len(part)
            self._place += done
            return done

    def close(self) -> None:
        if self._owned and not self.closed:
            self._file.close()
        self._blocks.clear()
        super().close()

    def _block(self, number: int, stop: int) -> NDArray[np.uint8]:
        """Return a block; with it, those are fetched that are wanted up to a byte, or that will likely be."""
        found = self._blocks.get(number)
        if found is not None:
            self._blocks.move_to_end(number)
            return found
        self._run = min(AHEAD, self._run * 2) if number == self._next else 1
        wanted = -(-stop // BLOCK) - number
        count = min(max(self._run, wanted), AHEAD, -(-self._file.size // BLOCK) - number)
        for other in range(number, number + count):
            if other in self._blocks:
                count = other - number
                break
        self._next = number + count
        start = number * BLOCK
        data = np.empty(min(count * BLOCK, self._file.size - start), np.uint8)
        self._fetch(start, data)
        for other in range(count):
            self._blocks[number + other] = data[other * BLOCK : (other + 1) * BLOCK]
        while len(self._blocks) > MOST:
            self._blocks.popitem(last=False)
        return data[:BLOCK]

    def _fetch(self, start: int, out: NDArray[np.uint8]) -> None:
        """Fill an array of whole blocks, as far as can be with what is kept of them."""
        place = 0
        while self._cached and place < len(out) and self._file.recall(start + place, out[place : place + BLOCK]):
            place += BLOCK
        rooms = [out[at : at + BLOCK] for at in range(place, len(out), BLOCK)]
        for number in self._file.fill(start + min(place, len(out)), rooms):
            if self._cached:
                self._file.keep(start + place + number * BLOCK, rooms[number])


def reader_of(file: RemoteFile, cached: bool, owned: bool = False) -> BinaryIO:
    """Return a file object over a file elsewhere; with `owned`, to close it is to close the file."""
    return cast(BinaryIO, io.BufferedReader(RemoteReader(file, cached, owned), _BUFFER))
