"""Files read block by block and written, plain or compressed with gzip or zlib."""

from __future__ import annotations

import os
import stat
import zlib
from typing import Any, Protocol

from batchup.errors import FileFormatError, InvalidValueError

BLOCK = 2**18  # bytes that are read at a time
DENSEST = 1100  # bytes that a compressed byte may stand for; deflate reaches 1032
WINDOW_BITS = {"gzip": 31, "zlib": 15}  # as zlib wants to be told
_PIECE = 2**16  # compressed bytes that are read at a time


class Output(Protocol):
    """What bytes are written to."""

    def write(self, data: Any, /) -> Any: ...


def check_compression(compression: Any) -> None:
    """Raise an error unless it is a compression that there is."""
    if compression is not None and compression not in list(WINDOW_BITS):
        raise InvalidValueError(f"compression must be None or one of {list(WINDOW_BITS)}, got {compression!r}")


def seems(start: bytes | bytearray) -> str | None:
    """Return the compression that the first bytes of a file are typical of."""
    if start[:2] == b"\x1f\x8b":
        return "gzip"
    return "zlib" if len(start) > 1 and start[0] == 0x78 and int.from_bytes(start[:2], "big") % 31 == 0 else None


class Plain:
    """The bytes of a file.

    Parameters
    ----------
    name : str
        Name of the file.
    """

    unit = "byte"  # what its bytes are called in errors

    def __init__(self, name: str) -> None:
        self.name = name
        self._file = open(name, "rb", buffering=0)  # noqa: SIM115  it is closed by `close`

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes; none at the end only."""
        return self._file.read(size) or b""

    def readinto(self, room: memoryview) -> int:
        """Put bytes into `room`, and return how many; none at the end only."""
        return self._file.readinto(room) or 0

    def left(self) -> int | None:
        """Return how many bytes are left to read, None if that cannot be told."""
        status = os.fstat(self._file.fileno())
        return status.st_size - self._file.tell() if stat.S_ISREG(status.st_mode) else None

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Plain:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Inflated(Plain):
    """The bytes that a compressed file stands for, of one stream or several behind one another.

    Parameters
    ----------
    name : str
        Name of the file.
    compression : str
        How it is compressed.
    """

    unit = "decompressed byte"

    def __init__(self, name: str, compression: str) -> None:
        super().__init__(name)
        self._compression = compression
        self._input = b""  # read, not decompressed yet
        self._place = 0  # of the input in the file
        self._stream: Any = None  # None between streams

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes; none at the end only."""
        while True:
            ended = not self._input and not self._refill()
            if self._stream is None:
                if self._compression == "gzip" and self._place:
                    self._advance(self._input.lstrip(b"\0"))  # what tapes are filled up with
                if not self._input and ended:
                    return b""
                if not self._input:
                    continue
                self._stream = zlib.decompressobj(WINDOW_BITS[self._compression])
            if data := self._decompressed(size):
                return data
            if ended and self._stream is not None:
                raise FileFormatError(f"{self.name} is cut short: its {self._compression} data go on behind its end")

    def readinto(self, room: memoryview) -> int:
        """Put bytes into `room`, and return how many; none at the end only."""
        data = self.read(len(room))
        room[: len(data)] = data
        return len(data)

    def left(self) -> int | None:
        """Return None: that cannot be told."""
        return None

    def _refill(self) -> bool:
        self._input = super().read(_PIECE)
        return bool(self._input)

    def _advance(self, rest: bytes) -> None:
        self._place += len(self._input) - len(rest)
        self._input = rest

    def _decompressed(self, size: int) -> bytes:
        stream = self._stream
        try:
            data: bytes = stream.decompress(self._input, size)
        except zlib.error as error:
            raise self._damaged(error) from None
        self._advance(stream.unused_data if stream.eof else stream.unconsumed_tail)
        if stream.eof:
            self._stream = None
        return data

    def _damaged(self, error: zlib.error) -> FileFormatError:
        if self._place == 0 and seems(self._input) != self._compression:
            other = seems(self._input)
            hint = f'pass compression="{other}"' if other else "pass compression=None if it is not compressed"
            return FileFormatError(f"{self.name} is not compressed with {self._compression}: {hint}")
        return FileFormatError(
            f"{self.name} is damaged: its {self._compression} data from byte {self._place} on cannot be decompressed "
            f"({error})"
        )


class Deflated:
    """Compresses what it is given, the same bytes for the same data whenever it is done.

    Parameters
    ----------
    output
        Where it goes.
    compression : str
        How it is compressed.
    """

    def __init__(self, output: Output, compression: str) -> None:
        self._output = output
        self._stream = zlib.compressobj(wbits=WINDOW_BITS[compression])

    def write(self, data: bytes) -> None:
        """Compress some bytes."""
        self._output.write(self._stream.compress(data))

    def finish(self) -> None:
        """Write what is left."""
        self._output.write(self._stream.flush())


def opened(name: str, compression: str | None) -> Plain:
    """Open a file to read what it stands for."""
    return Plain(name) if compression is None else Inflated(name, compression)
