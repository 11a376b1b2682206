"""The files that a data set is made of: fetched, copied, or there already, and verified."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from batchup import config
from batchup._files import PARTIAL, leave, opened_alone, remove
from batchup._repr import Represented
from batchup.datasets.fetching import fetch, without_password
from batchup.datasets.partial import REJECTED, check_digest
from batchup.errors import FetchError, FileBusyError, InvalidTypeError, InvalidValueError

TEMP = "temp"  # the folder, among the data sets, of files that have not been converted yet


def path_string(path: str | os.PathLike[str] | Callable[[], Any]) -> str:
    """Return a path, or what a function returns as one.

    Raises
    ------
    InvalidTypeError
        If it is neither.

    Examples
    --------
    >>> from batchup.datasets.dataset import path_string
    >>> path_string("usps.h5"), path_string(lambda: "usps.h5")
    ('usps.h5', 'usps.h5')
    """
    value = path() if callable(path) else path
    if not isinstance(value, (str, os.PathLike)):
        raise InvalidTypeError(f"a path must be a str or path-like, or a function that returns one, got {value!r}")
    return os.fspath(value)


class AbstractSourceFile(Represented, ABC):
    """A file that a data set is made of.

    Parameters
    ----------
    sha256 : str, optional
        What it must be, as a hex digest of SHA-256. None takes whatever comes.

    Raises
    ------
    TypeError, ValueError
        If `sha256` is no such digest.
    """

    def __init__(self, sha256: str | None = None) -> None:
        if sha256 is not None and not (isinstance(sha256, str) and re.fullmatch("[0-9a-fA-F]{64}", sha256)):
            raise InvalidValueError(f"sha256 must be 64 hex digits, got {sha256!r}")
        self.sha256 = sha256

    @abstractmethod
    def acquire(self, **arguments: Any) -> str:
        """Get the file, unless it is there, and verify it.

        Parameters
        ----------
        **arguments
            What the function that `fetch_and_convert_dataset` made was called with.

        Returns
        -------
        str
            Its path.

        Raises
        ------
        FetchError
            If it cannot be got.
        ChecksumError
            If it was put there by hand, and is another one.
        """

    def clean_up(self) -> None:
        """Remove what was only kept to be converted."""


class KeptSourceFile(AbstractSourceFile):
    """A file that is kept among batchup's own until it has been converted.

    Parameters
    ----------
    filename : str
        Its name.
    sha256 : str, optional
        What it must be.
    folder : str, optional
        In which folder it is kept, and lies at a mirror: that of the data set.
    """

    def __init__(self, filename: str, sha256: str | None = None, folder: str = "") -> None:
        super().__init__(sha256)
        if not isinstance(filename, str):
            raise InvalidTypeError(f"filename must be a str, got {filename!r}")
        if not isinstance(folder, str):
            raise InvalidTypeError(f"folder must be a str, got {folder!r}")
        name = os.path.join(folder, filename)
        if not filename or os.path.isabs(name) or "\0" in name or os.path.normpath(name) != name or name[:2] == "..":
            raise InvalidValueError(f"filename must name a file in a folder of batchup's, got {filename!r}")
        self.filename = filename
        self.folder = folder

    @property
    def path(self) -> str:
        """Where it is kept, and where it may be put by hand."""
        return os.path.join(config.get_data_dir(), TEMP, self.folder, self.filename)

    def is_there(self) -> bool:
        """Return whether it need not be got any more."""
        return os.path.exists(self.path)

    def clean_up(self) -> None:
        for path in (self.path, self.path + REJECTED):
            with suppress(FileNotFoundError):
                os.remove(path)
        with suppress(FileNotFoundError, FileBusyError):  # unless another program is at it
            partial = opened_alone(self.path + PARTIAL, anew=False)
            remove(partial, self.path + PARTIAL)
            leave(partial)
        top, folder = config.get_data_dir(), os.path.dirname(self.path)
        while folder.startswith(top + os.sep):
            with suppress(OSError):  # others may have something there
                os.rmdir(folder)
            folder = os.path.dirname(folder)

    def _acquired(self, addresses: Sequence[str]) -> str:
        folder = os.path.dirname(self.path)
        while True:
            if os.path.exists(self.path):
                check_digest(self.path, self.sha256)
                return self.path
            try:
                os.makedirs(folder, exist_ok=True)
                if fetch(self.path, addresses, self.sha256):
                    return self.path
            except FileNotFoundError:  # another program has removed the folder, which was empty
                if os.path.isdir(folder):
                    raise


class DownloadSourceFile(KeptSourceFile):
    """A file that is fetched over a network, from the first of several addresses that gives it.

    What came of it is kept when a connection ends, and only the rest is asked for, here or elsewhere. A mirror
    (``BATCHUP_MIRROR``) is asked first, for ``{mirror}/{folder}/{filename}``.

    Parameters
    ----------
    filename : str
        The name under which it is kept until it has been converted.
    url : str or sequence of str, optional
        Its addresses, in the order in which they are tried.
    base_url : str or sequence of str, optional
        In place of `url`: what stands before `filename` in its addresses.
    sha256 : str, optional
        What it must be. Another one is kept aside, and the next address is tried.
    folder : str, optional
        In which folder it is kept, and lies at a mirror: the name of the data set, if files of several could have
        the same name.

    Raises
    ------
    TypeError, ValueError
        If there is not one of `url` and `base_url`, or something else cannot be used.

    Examples
    --------
    >>> from batchup.datasets.dataset import DownloadSourceFile
    >>> source = DownloadSourceFile("usps.h5", base_url=["https://one.org/usps/", "https://two.org/"], folder="usps")
    >>> source.addresses()
    ['https://one.org/usps/usps.h5', 'https://two.org/usps.h5']
    """

    def __init__(
        self,
        filename: str,
        url: str | Sequence[str] | None = None,
        base_url: str | Sequence[str] | None = None,
        sha256: str | None = None,
        folder: str = "",
    ) -> None:
        super().__init__(filename, sha256, folder)
        if (url is None) == (base_url is None):
            raise InvalidTypeError(f"{filename} needs either url or base_url: where it is fetched from")
        self.url: str | list[str] = _each(base_url, f"/{filename}") if url is None else _each(url)
        for address in self._own_addresses():
            if urlsplit(address).scheme not in ("http", "https"):
                raise InvalidValueError(f"an address must begin with http:// or https://, got {address!r}")

    @property
    def at_mirror(self) -> str:
        """How a mirror calls it."""
        return f"{self.folder}/{self.filename}" if self.folder else self.filename

    def addresses(self) -> list[str]:
        """Return where it will be looked for, in this order."""
        mirror = config.get_mirror()
        first = [] if mirror is None else [f"{mirror.rstrip('/')}/{self.at_mirror}"]
        return first + self._own_addresses()

    def acquire(self, **arguments: Any) -> str:
        return self._acquired(self.addresses())

    def by_hand(self) -> str:
        """Return where to put it without batchup, and where it can be had."""
        digest = "" if self.sha256 is None else f"\n    sha256 {self.sha256}"
        return f"{self.path}\n    from {without_password(self._own_addresses()[-1])}{digest}"

    def _own_addresses(self) -> list[str]:
        return [self.url] if isinstance(self.url, str) else self.url


class CopySourceFile(KeptSourceFile):
    """A file that is copied from elsewhere on this machine.

    Parameters
    ----------
    filename : str
        The name under which it is kept until it has been converted.
    source_path : str or path-like, optional
        Where it lies.
    arg_name : str, optional
        In place of `source_path`: the argument that tells it, of the function that `fetch_and_convert_dataset` makes.
    sha256 : str, optional
        What it must be.
    folder : str, optional
        In which folder it is kept.

    Raises
    ------
    TypeError, ValueError
        If there is neither `source_path` nor `arg_name`, or something else cannot be used.
    """

    def __init__(
        self,
        filename: str,
        source_path: str | os.PathLike[str] | None = None,
        arg_name: str | None = None,
        sha256: str | None = None,
        folder: str = "",
    ) -> None:
        super().__init__(filename, sha256, folder)
        if source_path is None and arg_name is None:
            raise InvalidTypeError(f"{filename} needs either source_path or arg_name: where it is copied from")
        self.source_path = source_path
        self.arg_name = arg_name

    def acquire(self, **arguments: Any) -> str:
        if self.source_path is not None:
            path = self.source_path
        elif self.arg_name in arguments:
            path = arguments[self.arg_name]
        else:
            raise InvalidTypeError(f"the argument {self.arg_name} is wanted: where {self.filename} lies")
        if self.sha256 is None:
            with suppress(FileNotFoundError):
                os.remove(self.path)  # a copy of something else, or of what it was before
        return self._acquired([os.path.abspath(path_string(path))])


class ExistingSourceFile(AbstractSourceFile):
    """A file that is used where it lies on this machine.

    Parameters
    ----------
    path : str, path-like or callable
        Where it lies, or a function that returns that.
    sha256 : str, optional
        What it must be.

    Raises
    ------
    TypeError, ValueError
        If an argument cannot be used.
    """

    def __init__(
        self, path: str | os.PathLike[str] | Callable[[], str | os.PathLike[str]], sha256: str | None = None
    ) -> None:
        super().__init__(sha256)
        if not callable(path):
            path_string(path)
        self.path = path

    def acquire(self, **arguments: Any) -> str:
        path = path_string(self.path)
        if not os.path.isfile(path):
            raise FetchError(f"{path} is not there")
        check_digest(path, self.sha256, aside=False)
        return path


def _each(addresses: Any, name: str = "") -> str | list[str]:
    """Return an address, or several, with the name of a file behind them."""
    if isinstance(addresses, str):
        return addresses.rstrip("/") + name if name else addresses
    if not isinstance(addresses, Sequence) or not addresses or not all(isinstance(one, str) for one in addresses):
        raise InvalidTypeError(f"url and base_url must be a str or some of them, got {addresses!r}")
    return [str(_each(one, name)) for one in addresses]
