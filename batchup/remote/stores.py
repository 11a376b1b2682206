"""Files that fsspec reads: in object stores, in memory, wherever it knows a way to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from batchup.errors import FetchError, InvalidTypeError, MissingExtraError
from batchup.remote.addresses import filesystem_of, shown
from batchup.remote.filling import Filling
from batchup.remote.identity import Identity, changed_error, identity_of_info
from batchup.remote.problems import TransientError, meaning_of

PIECE = 8 * 2**20  # bytes that are asked for at once


class StoreAccess:
    """A file that fsspec reads.

    Parameters
    ----------
    address : str
        Where it is.
    options : mapping
        What fsspec needs to get there: `key`, `token`, `anon` ...
    timeout : float
        Not used: fsspec has its own, as options.
    """

    def __init__(self, address: str, options: Mapping[str, Any], timeout: float) -> None:
        self._address = address
        self._options = dict(options)
        self._name = shown(address)
        self._seconds = timeout
        self.forget()
        self._there()

    def forget(self) -> None:
        """Begin anew, as in a process that was forked: connections belong to the process that made them."""
        self._found: tuple[Any, str] | None = None

    def close(self) -> None:
        """Do nothing: fsspec keeps connections for all files."""

    def open(self) -> Identity:
        """Return what is there now; errors as those of `WebAccess.open`."""
        filesystem, path = self._there()
        try:
            filesystem.invalidate_cache(filesystem._parent(path))  # of what it has seen there before
            info = filesystem.info(path)
            if info.get("type", "file") != "file" or info.get("size") is None:
                raise FetchError(f"{self._name} is no file of which the size is known: give the address of one")
            return identity_of_info(info, "" if "ukey" in info else filesystem.ukey(path))
        except Exception as error:  # whatever the libraries of stores raise
            raise self._explained(error) from error

    def receive(self, start: int, filling: Filling, expected: Identity) -> Iterator[None]:
        """Get the bytes from `start` on, as many as are still wanted; errors as those of `WebAccess.receive`.

        It is looked afterwards whether the file is the same still: what came of another one is not handed out.
        """
        filesystem, path = self._there()
        end = start + filling.size - filling.done
        while start < end:
            stop = min(end, start + PIECE)
            try:
                piece = filesystem.cat_file(path, start=start, end=stop)
            except Exception as error:
                raise self._explained(error) from error
            if not self.open().is_of(expected):
                raise changed_error(self._name)
            if len(piece) != stop - start:
                raise TransientError(f"{len(piece)} bytes came instead of {stop - start}")
            filling.put(piece)
            yield
            start = stop

    def _there(self) -> tuple[Any, str]:
        if self._found is None:
            self._found = filesystem_of(self._address, self._options)
        return self._found

    def _explained(self, error: Exception) -> Exception:
        """Return what an error of a store means to whoever asks."""
        if isinstance(error, (FetchError, TransientError, MissingExtraError)):
            return error
        if isinstance(error, FileNotFoundError):
            return FetchError(f"{self._name} is not there: look whether the address is right")
        if isinstance(error, (PermissionError, IsADirectoryError)):
            return FetchError(f"{self._name} cannot be read: look whether the credentials allow it, and it is a file")
        if isinstance(error, TypeError):
            return InvalidTypeError(f"{self._name}: fsspec cannot do with these storage_options: {error}")
        if type(error).__name__ == "NoCredentialsError":
            return FetchError(
                f"{self._name} needs credentials: give them as storage_options={{...}}, or as its SDK says"
            )
        return TransientError(meaning_of(error, self._seconds))
