"""Files read block by block and written, plain or compressed with gzip, zlib, Zstandard or xz."""

from __future__ import annotations

import importlib
import io
import os
import stat
import zlib
from typing import Any, BinaryIO, Protocol

from batchup._extras import required
from batchup.errors import FileFormatError, InvalidValueError

BLOCK = 2**18  # bytes that are read at a time
DENSEST = 1100  # bytes that a compressed byte may stand for; deflate reaches 1032
WINDOW_BITS = {"gzip": 31, "zlib": 15}  # as zlib wants to be told
COMPRESSIONS = ("gzip", "zlib", "zst", "xz")
_STARTS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zst", b"\xfd7zXZ\0": "xz"}
_FILLED = ("gzip", "xz")  # whose streams may have zeros behind them
_PIECE = 2**16  # compressed bytes that are read at a time
_SLICE = 2**9  # bytes that zstandard is given at a time: it returns all that they stand for, up to 2**15 times as much
_MEMORY = 2**29  # bytes that xz may take; `xz -9` wants 2**26


class Output(Protocol):
    """What bytes are written to."""

    def write(self, data: Any, /) -> Any: ...


def check_compression(compression: Any) -> None:
    """Raise an error unless it is a compression that there is, and that can be used."""
    if compression is not None and compression not in COMPRESSIONS:
        raise InvalidValueError(f"compression must be None or one of {list(COMPRESSIONS)}, got {compression!r}")
    if compression == "zst":
        _zstandard()


def seems(start: bytes | bytearray) -> str | None:
    """Return the compression that the first bytes of a file are typical of."""
    for magic, compression in _STARTS.items():
        if start[: len(magic)] == magic:
            return compression
    return "zlib" if len(start) > 1 and start[0] == 0x78 and int.from_bytes(start[:2], "big") % 31 == 0 else None


class Plain(io.RawIOBase):
    """The bytes of a file.

    Parameters
    ----------
    name : str
        Name of the file.
    file : file object, optional
        Where to read it, and what is closed with this; by default the file of that name.

    Attributes
    ----------
    size : int or None
        How many bytes the file has; None if that cannot be told.
    """

    unit = "byte"  # what its bytes are called in errors

    def __init__(self, name: str, file: BinaryIO | None = None) -> None:
        self.name = name
        self._file = open(name, "rb", buffering=0) if file is None else file  # noqa: SIM115  `close` closes it
        self.size = _size_of(self._file)

    @property
    def place(self) -> int:
        """How many bytes of the file have been read."""
        return self._file.tell()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes; none at the end only."""
        return self._file.read(size) or b""

    def readinto(self, room: Any) -> int:
        """Put bytes into `room`, and return how many; none at the end only."""
        return self._file.readinto(room) or 0  # type: ignore[attr-defined]

    def left(self) -> int | None:
        """Return how many bytes are left to read, None if that cannot be told."""
        size = _size_of(self._file)  # anew: somebody may be writing it
        return None if size is None else size - self._file.tell()

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            super().close()
            self._file.close()

    def __enter__(self) -> Plain:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _size_of(file: Any) -> int | None:
    try:
        status = os.fstat(file.fileno())
    except OSError:  # it lies elsewhere
        place = file.tell()
        size: int = file.seek(0, os.SEEK_END)
        file.seek(place)
        return size
    return status.st_size if stat.S_ISREG(status.st_mode) else None


class Inflated(Plain):
    """The bytes that a compressed file stands for, of one stream or several behind one another.

    Parameters
    ----------
    name : str
        Name of the file.
    compression : str
        How it is compressed.
    file : file object, optional
        Where to read it.
    """

    unit = "decompressed byte"

    def __init__(self, name: str, compression: str, file: BinaryIO | None = None) -> None:
        check_compression(compression)
        super().__init__(name, file)
        self._compression = compression
        self._start = b""  # of the file
        self._input = b""  # read, not decompressed yet
        self._read = 0  # bytes of the file
        self._given = 0  # the byte with which the last input began
        self._error = _error(compression)
        self._stream: Decoder | None = None  # None between streams

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes; none at the end only."""
        if size < 0:
            return self.readall()
        while size and (stream := self._stream or self._begin()) is not None:
            if data := self._decompressed(stream, size):
                return data
        return b""

    def readinto(self, room: Any) -> int:
        """Put bytes into `room`, and return how many; none at the end only."""
        data = self.read(len(room))
        room[: len(data)] = data
        return len(data)

    def left(self) -> int | None:
        """Return None: that cannot be told."""
        return None

    def _refill(self) -> bool:
        self._input = super().read(_PIECE)
        self._start = self._start or self._input
        self._read += len(self._input)
        return bool(self._input)

    def _begin(self) -> Decoder | None:
        """Begin with the next stream, and return what decompresses it; None if there is none."""
        first = not self._read
        while self._input or self._refill():
            if not first and self._compression in _FILLED:
                self._input = self._input.lstrip(b"\0")
            if self._input:
                self._stream = _decoder(self._compression)
                return self._stream
        return None

    def _decompressed(self, stream: Decoder, size: int) -> bytes:
        ended = False
        if not self._input and stream.needs_input:
            ended = not self._refill()
        if self._input:
            self._given = self._read - len(self._input)
        try:
            data = stream.decompress(self._input, size)
        except self._error as error:
            raise self._damaged(error) from None
        self._input = b""
        if stream.eof:
            self._input, self._stream = stream.unused_data, None
        elif ended and not data:
            raise self._cut_short()
        return data

    def _cut_short(self) -> FileFormatError:
        return FileFormatError(
            f"{self.name} is cut short: its {self._compression} data go on behind its end, byte {self._read}; get or "
            "make it again"
        )

    def _damaged(self, error: Exception) -> FileFormatError:
        other = seems(self._start)
        if self._given == 0 and other != self._compression:
            hint = f'pass compression="{other}"' if other else "pass compression=None if it is not compressed"
            return FileFormatError(f"{self.name} is not compressed with {self._compression}: {hint}")
        return FileFormatError(
            f"{self.name} is damaged: its {self._compression} data from byte {self._given} on cannot be decompressed "
            f"({error}); get or make it again"
        )


class Decoder(Protocol):
    """Decompresses one stream; `lzma.LZMADecompressor` is one."""

    @property
    def needs_input(self) -> bool:
        """Whether there is no more to come of what was given."""

    @property
    def eof(self) -> bool:
        """Whether the stream has come to its end, and all of it was returned."""

    @property
    def unused_data(self) -> bytes:
        """What was given behind that end."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Return so many bytes at most of what is in there, and in more data."""


def _decoder(compression: str) -> Decoder:
    if compression == "xz":
        lzma = _lzma()
        xz: Decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, _MEMORY)
        return xz
    return _Zstd() if compression == "zst" else _Zlib(WINDOW_BITS[compression])


def _error(compression: str) -> type[Exception]:
    error: type[Exception] = zlib.error
    if compression == "zst":
        error = _zstandard().ZstdError
    elif compression == "xz":
        error = _lzma().LZMAError
    return error


def _lzma() -> Any:
    return importlib.import_module("lzma")  # which not every Python has


def _zstandard() -> Any:
    return required("zstandard", "zst", "reading and writing files compressed with Zstandard")


class _Zlib:
    def __init__(self, window_bits: int) -> None:
        self._stream = zlib.decompressobj(window_bits)

    @property
    def needs_input(self) -> bool:
        return not self._stream.unconsumed_tail

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._stream.decompress(self._stream.unconsumed_tail + data, max_length)


class _Zstd:
    # not zstandard's own readers: where a file is cut short, they end as if all were well
    def __init__(self) -> None:
        self._stream = _zstandard().ZstdDecompressor().decompressobj()
        self._given = b""
        self._place = 0  # in that
        self._made = b""  # and not returned yet

    @property
    def needs_input(self) -> bool:
        return not self._made and self._place == len(self._given)

    @property
    def eof(self) -> bool:
        return bool(self._stream.eof) and not self._made

    @property
    def unused_data(self) -> bytes:
        return bytes(self._stream.unused_data) + self._given[self._place :]

    def decompress(self, data: bytes, max_length: int) -> bytes:
        self._given, self._place = self._given[self._place :] + data, 0
        parts, size = [self._made], len(self._made)
        while size < max_length and self._place < len(self._given) and not self._stream.eof:
            parts.append(self._stream.decompress(self._given[self._place : self._place + _SLICE]))
            self._place = min(self._place + _SLICE, len(self._given))
            size += len(parts[-1])
        made = b"".join(parts)
        self._made = made[max_length:]
        return made[:max_length]


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
        self._stream = _encoder(compression)

    def write(self, data: Any) -> None:
        """Compress some bytes."""
        self._output.write(self._stream.compress(data))

    def finish(self) -> None:
        """Write what is left."""
        self._output.write(self._stream.flush())


def _encoder(compression: str) -> Any:
    if compression == "xz":
        return _lzma().LZMACompressor()
    if compression == "zst":
        return _zstandard().ZstdCompressor(write_checksum=True).compressobj()
    return zlib.compressobj(wbits=WINDOW_BITS[compression])


def opened(name: str, compression: str | None, file: BinaryIO | None = None) -> Plain:
    """Open a file to read what it stands for, wherever it lies."""
    return Plain(name, file) if compression is None else Inflated(name, compression, file)
