"""Files of this machine and elsewhere, plain or compressed, opened to be read, and to be written."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from typing import Any, BinaryIO

from batchup._compression import BLOCK, COMPRESSIONS, Output, Plain, check_compression
from batchup._compression import opened as source
from batchup.errors import FileFormatError, InvalidValueError, UnsupportedError
from batchup.formats.paths import named
from batchup.formats.whole import compressed_file
from batchup.remote.addresses import is_remote, local_path, shown
from batchup.remote.places import opened as remote_opened

BY_SUFFIX = "suffix"  # for `compression=`: what the name of the file says
_SUFFIXES = {".gz": "gzip", ".zst": "zst", ".xz": "xz"}
_TOOLS = {"gzip": "gunzip", "zst": "unzstd", "xz": "unxz"}


class Opened(io.BufferedReader):
    """The bytes that a file stands for, as a file object that is read from front to back.

    Parameters
    ----------
    plain : Plain
        What is read; it is closed with this.
    """

    def __init__(self, plain: Plain) -> None:
        super().__init__(plain, BLOCK)
        self._plain = plain
        self.size = plain.size  # bytes of the file itself; None if that cannot be told
        self.unit = plain.unit  # what the bytes that are read are called in errors

    @property
    def place(self) -> int:
        """How many bytes of the file itself have been read, those ahead in the buffer too."""
        return self._plain.place

    def left(self) -> int | None:
        """Return how many bytes are left to read; None if that cannot be told."""
        ahead = len(self.peek())
        left = self._plain.left()
        return None if left is None else left + ahead


def opened(path: Any, compression: str | None = BY_SUFFIX) -> Opened:
    """Open a file to read what it stands for, from front to back.

    Where it is compressed, of one stream or several behind one another, memory is bounded whatever it stands for.

    Parameters
    ----------
    path : str or path-like
        Its name, or its address.
    compression : {'suffix', None, 'gzip', 'zlib', 'zst', 'xz'}, default 'suffix'
        How it is compressed; by default as its suffix says, ``.gz``, ``.zst`` or ``.xz``.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        From reads: if it is not compressed so, damaged, or cut short. `read1` returns all that comes before.

    Examples
    --------
    >>> with writing("words.txt.gz") as file:
    ...     file.write(b"to be")
    >>> with opened("words.txt.gz") as file:
    ...     file.read(), file.place, file.size
    (b'to be', 25, 25)
    """
    compression = compression_of(path, compression)
    name = named(path)
    file: Any = remote_opened(name) if is_remote(name) else None
    plain = source(local_path(name) if file is None else file.name, compression, file)
    if plain.size == 0 and compression is not None:
        plain.close()
        raise FileFormatError(
            f"{plain.name} is cut short: it has no bytes, and {compression} data have some; get or make it again"
        )
    return Opened(plain)


def seekable(path: Any) -> BinaryIO:
    """Open a file to read from anywhere in it, for libraries that want to; the caller closes it.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    UnsupportedError
        If its suffix says that it is compressed.
    """
    name = named(path)
    if compression := compression_of(name):
        raise UnsupportedError(
            f"{name} is to be read from anywhere in it, which cannot be done where it is compressed as a whole: "
            f"decompress it first ({_TOOLS[compression]})"
        )
    return remote_opened(name) if is_remote(name) else open(local_path(name), "rb")


@contextlib.contextmanager
def writing(path: Any, compression: str | None = BY_SUFFIX) -> Iterator[Output]:
    """Open a file that takes its name when the block ends well, to write bytes that are compressed, or not.

    The same bytes make the same file. It is removed when the block does not end well; see `whole_file`.

    Parameters
    ----------
    path : str or path-like
        Its name.
    compression : {'suffix', None, 'gzip', 'zlib', 'zst', 'xz'}, default 'suffix'
        How to compress it; by default as its suffix says.
    """
    compression = compression_of(path, compression)
    name = named(path)
    if is_remote(name):
        raise UnsupportedError(f"files are written on this machine only, got {name}: write it here, and copy it there")
    with compressed_file(local_path(name), compression) as file:
        yield file


def compression_of(path: Any, compression: str | None = BY_SUFFIX) -> str | None:
    """Return how a file is compressed, by its suffix unless that is told otherwise.

    Raises
    ------
    InvalidValueError
        If there is no such compression.

    Examples
    --------
    >>> compression_of("a.csv.gz"), compression_of("https://host/a.CSV.XZ?key=b"), compression_of("a.csv", "zst")
    ('gzip', 'xz', 'zst')
    """
    if compression != BY_SUFFIX:
        if compression is not None and compression not in COMPRESSIONS:
            raise InvalidValueError(
                f"compression must be {BY_SUFFIX!r}, None, or one of {list(COMPRESSIONS)}, got {compression!r}"
            )
        check_compression(compression)
        return compression
    return _SUFFIXES.get(_suffixes(path)[1])


def bare_suffix(path: Any) -> str:
    """Return the suffix of a file's name without that of its compression, in lower case.

    >>> bare_suffix("a.CSV.gz"), bare_suffix("a.tar"), bare_suffix("s3://bucket/b #1.jsonl.zst"), bare_suffix("README")
    ('.csv', '.tar', '.jsonl', '')
    """
    stem, suffix = _suffixes(path)
    return os.path.splitext(stem)[1].lower() if suffix in _SUFFIXES else suffix


def is_plain(path: Any) -> bool:
    """Return whether a file lies on this machine, and is not compressed as its suffix says.

    >>> is_plain("a.npy"), is_plain("a.npy.gz"), is_plain("https://host/a.npy")
    (True, False, False)
    """
    return not is_remote(named(path)) and compression_of(path) is None


def _suffixes(path: Any) -> tuple[str, str]:
    name = named(path)
    if is_remote(name):
        name = shown(name).removesuffix("?...")
    stem, suffix = os.path.splitext(name)
    return stem, suffix.lower()
