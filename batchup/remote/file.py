"""A file elsewhere, of which parts are read: of one version, tried again, kept on the disk of this machine."""

from __future__ import annotations

import math
import os
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from batchup._numbers import whole_number
from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.remote.addresses import WEB, checked_address, scheme_of, shown
from batchup.remote.cache import Kept
from batchup.remote.filling import Filling
from batchup.remote.identity import Identity, changed_error
from batchup.remote.problems import TransientError, Tries, closed_error

RETRIES = 8
TIMEOUT = 10.0  # seconds


class Access(Protocol):
    """A way to a file, asked once for each call; what it raises as TransientError is asked for again."""

    def open(self) -> Identity:
        """Return what is there now."""

    def receive(self, start: int, filling: Filling, expected: Identity) -> Iterator[None]:
        """Get the bytes of a part, or of its beginning, piece by piece, if they are of the version that is expected."""

    def forget(self) -> None:
        """Begin anew, in a process that was forked."""

    def close(self) -> None:
        """Let go of all connections."""


class RemoteFile:
    """A file at an address: on the web, in an object store, wherever fsspec knows a way to.

    All bytes are of the version that was there when it was opened: what is read after the file has changed is an error,
    and never of another version. A connection that is refused, cut or stalls, and a server that is busy, are tried
    again, from the byte on that has come last. What was read is kept on the disk of this machine, and read there the
    next time, if the server says by what a version is known (an ETag, or when it was modified).

    It may be used by any number of threads, and in processes that were forked. It is pickled as its address, with what
    is needed to read from there; unpickled, it must be the same version still.

    Parameters
    ----------
    address : str
        As ``https://...``, ``s3://...``, ``memory://...``. A name and a password may be in it; nobody is shown them.
    headers : mapping, optional
        What to send along to a web server, as ``{"Authorization": "Bearer ..."}``; other servers to which it leads do
        not get it.
    storage_options : mapping, optional
        What fsspec needs to get at files that are not on the web: `key`, `token`, `anon` ...
    retries : int, default 8
        How often to ask again, in vain, until it is given up.
    timeout : float, default 10.0
        Seconds in which some byte must come.
    cache : bool, default True
        Whether what was read is kept on the disk of this machine; see `set_cache_limit`.

    Attributes
    ----------
    address, name : str
        Where it is, and what is shown of that.
    identity : tuple
        Its size, ETag, and when it was modified.

    Raises
    ------
    FetchError
        If it cannot be got, now or later; the message says what to do.
    FileFormatError
        From reads: if the file has changed since it was opened.
    MissingExtraError
        If urllib3, fsspec, or what that needs for the scheme is not installed.

    Examples
    --------
    >>> import fsspec
    >>> from batchup import remote
    >>> fsspec.filesystem("memory").pipe_file("/greeting", b"Hello, world!")
    >>> with remote.RemoteFile("memory://greeting") as file:
    ...     file.size, file.read(7, 5)
    (13, b'world')
    """

    def __init__(
        self,
        address: str,
        *,
        headers: Mapping[str, str] | None = None,
        storage_options: Mapping[str, Any] | None = None,
        retries: int = RETRIES,
        timeout: float = TIMEOUT,
        cache: bool = True,
    ) -> None:
        self.address = checked_address(address)
        self.name = shown(self.address)
        self._headers, self._storage_options = dict(headers or {}), dict(storage_options or {})
        self._retries = whole_number(retries, "retries")
        self._timeout = _seconds(timeout)
        self._cache = bool(cache)
        self._closed = threading.Event()
        self._access = self._way()
        self.identity = self._asked()
        self._kept = Kept.of(self.address, self.identity) if self._cache else None
        _open_files.add(self)

    @property
    def size(self) -> int:
        """Number of bytes."""
        return self.identity.size

    @property
    def etag(self) -> str | None:
        """What the server calls this version; None if it has no word for it."""
        return self.identity.etag

    @property
    def closed(self) -> bool:
        """Whether nothing can be read any more."""
        return self._closed.is_set()

    def read(self, start: int, size: int) -> bytes:
        """Return the bytes from `start` on, so many, or as many as there are."""
        start = whole_number(start, "start")
        size = max(0, min(whole_number(size, "size"), self.size - start))
        room = np.empty(size, np.uint8)
        self.read_into(start, room)
        return room.tobytes()

    def read_into(self, start: int, out: NDArray[np.uint8]) -> None:
        """Fill an array with the bytes from `start` on, which must be there.

        Parameters
        ----------
        start : int
            The first byte.
        out : ndarray of uint8
            One-dimensional and contiguous.
        """
        if out.dtype != np.uint8 or out.ndim != 1 or not out.flags.c_contiguous or not out.flags.writeable:
            raise InvalidTypeError(f"out must be a writable row of uint8, got {out.dtype} of shape {out.shape}")
        self._check_open()
        if self.recall(start, out):
            return
        for _ in self.fill(start, [out]):
            self.keep(start, out)

    def fill(self, start: int, rooms: Sequence[NDArray[np.uint8]]) -> Iterator[int]:
        """Fill arrays with what lies from `start` on, one behind the other; yield the number of each when it is full.

        What is kept on the disk is not looked at.
        """
        filling, told = Filling(rooms), 0
        if not 0 <= start <= start + filling.size <= self.size:
            raise InvalidValueError(f"{self.name} has {self.size} bytes: {filling.size} from {start} on are too many")
        tries = Tries(self.name, self._retries, self._closed)
        while told < len(rooms):
            self._check_open()
            try:
                for _ in self._more(start, filling):
                    while told < filling.full:
                        yield told
                        told += 1
                    self._check_open()
            except TransientError as problem:
                tries.failed(problem, filling.done)

    def _more(self, start: int, filling: Filling) -> Iterator[None]:
        if filling.done == filling.size:
            return iter([None])
        return self._access.receive(start + filling.done, filling, self.identity)

    def recall(self, start: int, out: NDArray[np.uint8]) -> bool:
        """Fill an array with bytes that are kept on the disk of this machine; return whether they are."""
        return self._kept is not None and self._kept.get(start, out)

    def keep(self, start: int, data: NDArray[np.uint8]) -> None:
        """Keep bytes on the disk of this machine, as well as that goes."""
        if self._kept is not None:
            self._kept.put(start, data)

    def reader(self, cached: bool = False) -> BinaryIO:
        """Return a file object with a place of its own, for libraries that want one; it ends with this file."""
        from batchup.remote.reader import reader_of

        return reader_of(self, cached)

    def close(self) -> None:
        """Let go of all connections; whoever is reading gets an error."""
        self._closed.set()
        self._access.close()

    def __enter__(self) -> RemoteFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}: {self.size} bytes>"

    def __reduce__(self) -> Any:
        options = {
            "headers": self._headers,
            "storage_options": self._storage_options,
            "retries": self._retries,
            "timeout": self._timeout,
            "cache": self._cache,
        }
        return _reopened, (self.address, options, self.identity)

    def forget(self) -> None:
        """Begin anew, in a process that was forked."""
        closed = self._closed.is_set()
        self._closed = threading.Event()
        if closed:
            self._closed.set()
        self._access.forget()

    def _way(self) -> Access:
        if scheme_of(self.address) in WEB:
            from batchup.remote.web import WebAccess

            return WebAccess(self.address, self._headers, self._timeout)
        from batchup.remote.stores import StoreAccess

        return StoreAccess(self.address, self._storage_options, self._timeout)

    def _asked(self) -> Identity:
        tries = Tries(self.name, self._retries, self._closed)
        while True:
            try:
                return self._access.open()
            except TransientError as problem:
                tries.failed(problem, 0)

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise closed_error(self.name)


def _seconds(timeout: Any) -> float:
    if not isinstance(timeout, (int, float, np.number)) or not 0 < timeout < math.inf:
        raise InvalidValueError(f"timeout must be seconds, more than 0, got {timeout!r}")
    return float(timeout)


def _reopened(address: str, options: dict[str, Any], identity: Identity) -> RemoteFile:
    file = RemoteFile(address, **options)
    if not file.identity.is_of(Identity(*identity)):
        file.close()
        raise changed_error(file.name)
    return file


_open_files: weakref.WeakSet[RemoteFile] = weakref.WeakSet()


def _forked() -> None:
    for file in list(_open_files):
        file.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
