"""Compressed files and archives, read piece by piece: neither their names nor their sizes are trusted."""

from __future__ import annotations

import contextlib
import os
import tarfile
from collections.abc import Iterator, Mapping
from typing import Any

from batchup._compression import Inflated
from batchup.errors import FileFormatError

_BLOCK = 512  # bytes of a tar file that go together
_RECORD = 10_240  # to which it is filled up
_OTHERS = 2**24  # bytes that members which nobody wants may have, in all


class Bounded:
    """Reads no more of a compressed file than it may have.

    Parameters
    ----------
    path : str
        Name of the file.
    most : int
        How many decompressed bytes it may have.
    """

    def __init__(self, path: str, most: int) -> None:
        self.path = path
        self._file = Inflated(path, "gzip")
        self._most = most
        self._came = 0

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes; none at the end only.

        Raises
        ------
        FileFormatError
            If it has more bytes than it may, is cut short, or damaged.
        """
        data = self._file.read(size)
        self._came += len(data)
        if self._came > self._most:
            raise FileFormatError(f"{self.path} has more than the {self._most:,} bytes that it may have, decompressed")
        return data

    def exactly(self, size: int) -> bytes:
        """Return `size` bytes.

        Raises
        ------
        FileFormatError
            If there are fewer.
        """
        parts = []
        while size:
            part = self.read(min(size, 2**20))
            if not part:
                raise FileFormatError(f"{self.path} is cut short: {size:,} more bytes are wanted")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def end(self) -> None:
        """Raise a FileFormatError unless all has been read."""
        if self.read(1):
            raise FileFormatError(f"{self.path} goes on behind what its header says")

    def __enter__(self) -> Bounded:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


class Member:
    """The contents of a member of an archive.

    Parameters
    ----------
    path : str
        Name of the archive, for errors.
    file : file
        Where the member is read.
    """

    def __init__(self, path: str, file: Any) -> None:
        self._path = path
        self._file = file

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, by default all; none at the end only."""
        with _told(self._path):
            return bytes(self._file.read(size))

    def readline(self) -> bytes:
        """Return the next line."""
        with _told(self._path):
            return bytes(self._file.readline())


def members(path: str, wanted: Mapping[str, int]) -> Iterator[tuple[str, Member, int]]:
    """Yield some members of a .tar.gz file, in the order in which they lie there, to be read before the next.

    Nothing is extracted. Members that nobody wants are passed over.

    Parameters
    ----------
    path : str
        Name of the file.
    wanted : mapping of str to int
        The names of the members, and how many bytes each may have.

    Yields
    ------
    (str, file, int)
        Name, contents and size of a member.

    Raises
    ------
    FileFormatError
        If the file is damaged; if a member lacks, is there twice, is no plain file or larger than it may be; or if
        any name in it leads out of where it would be extracted.
    """
    most = sum(wanted.values()) + _OTHERS + _RECORD + _BLOCK * 4 * len(wanted)
    left = dict(wanted)
    with Bounded(path, most) as stream, _told(path), tarfile.open(fileobj=stream, mode="r|") as archive:  # type: ignore[call-overload]
        for member in archive:
            name = os.path.normpath(member.name)
            if os.path.isabs(name) or name.split(os.sep)[0] == os.pardir:
                raise FileFormatError(f"{path} has a member {member.name!r}, which leads out of its folder")
            if name not in wanted:
                continue
            if name not in left:
                raise FileFormatError(f"{path} has the member {name} twice")
            if not member.isreg():
                raise FileFormatError(f"{path}: its member {name} is no plain file")
            if member.size > left.pop(name):
                raise FileFormatError(f"{path}: its member {name} has {member.size:,} bytes, more than it may have")
            yield name, Member(path, archive.extractfile(member)), member.size
        while stream.read(_OTHERS):
            pass  # up to its checksum
    if left:
        raise FileFormatError(f"{path} has no member {next(iter(left))}")


@contextlib.contextmanager
def _told(path: str) -> Iterator[None]:
    """Name the file in what the tar library raises over a damaged one."""
    try:
        yield
    except (tarfile.TarError, EOFError) as error:
        raise FileFormatError(f"{path} is damaged, or no tar file: {error}") from error
