"""What one asks about addresses: how large a file is, which files there are, and to have one as a file object."""

from __future__ import annotations

import glob
import os
from typing import Any, BinaryIO

from batchup.errors import InvalidValueError
from batchup.remote.addresses import WEB, checked_address, filesystem_of, is_remote, local_path, scheme_of, shown
from batchup.remote.file import RemoteFile
from batchup.remote.reader import reader_of


def opened(address: str, **options: Any) -> BinaryIO:
    """Open a file at an address as a file object, to be read from and sought in, for libraries that take one.

    It is fetched in blocks, more at a time where one reads on and on, and the last ones are kept in memory.

    Parameters
    ----------
    address : str
        Where it is.
    **options
        As for `RemoteFile`.

    Returns
    -------
    io.BufferedReader

    Examples
    --------
    >>> import zipfile
    >>> import fsspec
    >>> from batchup import remote
    >>> with fsspec.open("memory://texts.zip", "wb") as file, zipfile.ZipFile(file, "w") as archive:
    ...     archive.writestr("a.txt", "Hello!")
    >>> with remote.opened("memory://texts.zip") as file, zipfile.ZipFile(file) as archive:
    ...     archive.read("a.txt")
    b'Hello!'
    """
    file = RemoteFile(address, **options)
    return reader_of(file, cached=True, owned=True)


def size_of(address: str, **options: Any) -> int:
    """Return how many bytes a file has; a path of this machine will do, too.

    Parameters
    ----------
    address : str
        Where it is.
    **options
        As for `RemoteFile`.
    """
    if not is_remote(address):
        return os.path.getsize(local_path(address))
    with RemoteFile(address, **options) as file:
        return file.size


def listed(pattern: str, **storage_options: Any) -> list[str]:
    """Return the addresses of the files that a pattern fits, sorted.

    Parameters
    ----------
    pattern : str
        An address, or a path, with ``*``, ``?``, ``[a-z]`` or ``**`` as the shell has them. An address of the web is
        returned as it is: the web has no lists of files.
    **storage_options
        What fsspec needs to get there.

    Examples
    --------
    >>> import fsspec
    >>> from batchup import remote
    >>> for name in "ab":
    ...     fsspec.filesystem("memory").pipe_file(f"/shards/{name}.hsq", b"")
    >>> remote.listed("memory://shards/*.hsq")
    ['memory://shards/a.hsq', 'memory://shards/b.hsq']
    """
    if not is_remote(pattern):
        return sorted(glob.glob(local_path(pattern), recursive=True))
    checked_address(pattern)
    if scheme_of(pattern) in WEB:
        if "*" in pattern.partition("?")[0]:
            raise InvalidValueError(f"{shown(pattern)}: the web has no lists of files: give the addresses one by one")
        return [pattern]
    filesystem, path = filesystem_of(pattern, storage_options)
    filesystem.invalidate_cache()
    found = filesystem.glob(path, detail=True)
    names = [name for name, info in found.items() if info.get("type") != "directory"]
    prefix = f"{pattern.partition('://')[0]}://"
    return sorted(f"{prefix}{filesystem._strip_protocol(name).lstrip('/')}" for name in names)
