"""Addresses of files: which are remote, how they may be shown, and which package is needed to read them."""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import unquote, urlsplit

from batchup._extras import required
from batchup.config import is_offline
from batchup.errors import FetchError, InvalidTypeError, InvalidValueError, MissingExtraError

WEB = ("http", "https")
STORES = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oci", "oss", "memory")  # "#" may be in a name there
NEAR = ("memory",)  # schemes by which no network is reached
_LINKS = re.compile(r"::(?=[A-Za-z][\w+.-]*(?:://|::))")  # between addresses that lead through one another
_REMOTE = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)(::.+)?://", re.DOTALL)


def is_remote(path: Any) -> bool:
    """Return whether something is an address of a file elsewhere, as ``scheme://...``, and no path of this machine.

    Examples
    --------
    >>> from batchup import remote
    >>> remote.is_remote("s3://bucket/train.hsq"), remote.is_remote("train.hsq"), remote.is_remote("file:///train.hsq")
    (True, False, False)
    """
    return isinstance(path, str) and scheme_of(path) not in (None, "file")


def scheme_of(address: str) -> str | None:
    """Return by what protocol a file is to be read; None for a path.

    >>> scheme_of("https://mirror.org/a"), scheme_of("simplecache::s3://bucket/a"), scheme_of("C:/a")
    ('https', 'simplecache', None)
    """
    found = _REMOTE.match(address)
    return found and found[1].lower()


def local_path(path: str | os.PathLike[str]) -> str:
    """Return a path of this machine; ``file://`` may stand before it.

    >>> local_path("file:///data/a%20b.hsq"), local_path("a.hsq")
    ('/data/a b.hsq', 'a.hsq')
    """
    text = os.fspath(path)
    if not isinstance(text, str) or scheme_of(text) != "file":
        return text
    parts = urlsplit(text)
    if parts.netloc not in ("", "localhost"):
        raise InvalidValueError(f"{text} names a machine: a file:// address has three slashes, file:///path")
    return unquote(parts.path)


def shown(address: str) -> str:
    """Return an address as it may be shown: without a password, or a signature behind a question mark.

    >>> shown("https://me:secret@mirror.org:81/a?X-Amz-Signature=12#b"), shown("zip://b::s3://key:secret@bucket/a #1")
    ('https://mirror.org:81/a?...', 'zip://b::s3://bucket/a #1')
    """
    return "::".join(_link_shown(link) for link in _LINKS.split(address))


def _link_shown(link: str) -> str:
    scheme, slashes, rest = link.partition("://")
    if not slashes:
        return link
    store = scheme.lower() in STORES
    if not store:
        rest = rest.partition("#")[0]
    host, slash, path = rest.partition("/")
    if store and ":" in host and "@" in path:  # keys may have slashes
        host, slash, path = path.partition("@")[2].partition("/")
    if "?" in host:
        host, slash, path = host.partition("?")[0], "", "?"
    path, question, _ = path.partition("?")
    return f"{scheme}{slashes}{host.rpartition('@')[2]}{slash}{path}{'?...' if question else ''}"


def user_of(address: str) -> tuple[str, str] | None:
    """Return the name and password in an address of the web; None if there are none."""
    parts = urlsplit(address)
    if parts.username is None:
        return None
    return unquote(parts.username), unquote(parts.password or "")


def checked_address(address: Any) -> str:
    """Return an address of which a file may be read.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If it is none, or one of this machine.
    FetchError
        If nothing may be fetched over a network.
    """
    if not isinstance(address, str):
        raise InvalidTypeError(f"an address must be a str like 'https://...', got {type(address).__name__}")
    scheme = scheme_of(address)
    if scheme in (None, "file"):
        raise InvalidValueError(
            f"{shown(address)!r} is no address of a remote file: it must begin with a scheme, as https://"
        )
    if scheme not in NEAR and is_offline():
        raise FetchError(f"{shown(address)} is not asked for, since BATCHUP_OFFLINE=1: unset it to have it read")
    return address


def filesystem_of(address: str, options: dict[str, Any]) -> tuple[Any, str]:
    """Return the file system of fsspec that has an address, and the path there.

    Raises
    ------
    MissingExtraError
        If fsspec is not installed, or the package that it needs for the scheme is not.
    InvalidValueError
        If there is no such scheme.
    """
    scheme = scheme_of(address)
    fsspec = required("fsspec", "remote", f"{scheme}://")
    try:
        filesystem, path = fsspec.core.url_to_fs(address, **options)
    except ImportError as error:
        package = _package(str(scheme))
        raise MissingExtraError(f"{scheme}:// needs {package}: pip install {package} ({error})") from error
    except ValueError as error:
        if scheme in fsspec.available_protocols():
            raise
        raise InvalidValueError(
            f"{shown(address)}: nobody knows what {scheme}:// is; there are http, https and those of fsspec (s3, gs, "
            f"abfs, memory ...)"
        ) from error
    return filesystem, str(path)


def _package(scheme: str) -> str:
    """Return which package fsspec needs for a scheme."""
    registry = required("fsspec.registry", "remote", f"{scheme}://")
    known = registry.known_implementations.get(scheme, {})
    told = re.search(r"[Ii]nstall (?:the )?[\"'`]?([\w.-]+)", known.get("err", ""))
    if told and told[1].lower() != "required":
        return told[1]
    return str(known.get("class", scheme)).partition(".")[0]
