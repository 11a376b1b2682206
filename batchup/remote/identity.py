"""By what a file elsewhere is known again: bytes of two versions of it must never be mixed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from batchup.errors import FileFormatError


class Identity(NamedTuple):
    """What tells a version of a file from others.

    Attributes
    ----------
    size : int
        Bytes of it.
    etag : str or None
        What the server calls this version.
    modified : str or None
        When it was written, in whatever form the server says so.
    """

    size: int
    etag: str | None = None
    modified: str | None = None

    @property
    def strong(self) -> bool:
        """Whether the server gives another name to each version, of however similar content."""
        return self.etag is not None and not self.etag.startswith("W/")

    @property
    def known(self) -> bool:
        """Whether a version can be told from others at all, of the same size."""
        return self.etag is not None or self.modified is not None

    def is_of(self, other: Identity) -> bool:
        """Return whether both may be of one version."""
        if self.size != other.size or (self.strong and other.strong):
            return self[:2] == other[:2]
        return self == other


class Part(NamedTuple):
    """What an answer says of the bytes that it brings."""

    start: int
    stop: int
    identity: Identity | None  # None if it does not tell how large the file is


def changed_error(name: str) -> FileFormatError:
    """Return what to raise when a file is not the one any more that was opened."""
    return FileFormatError(f"{name} has changed since it was opened: open it anew")


def identity_in(headers: Mapping[str, str], size: int) -> Identity:
    """Return what the headers of an answer say of a file of this size."""
    return Identity(size, headers.get("ETag") or None, headers.get("Last-Modified") or None)


def part_in(headers: Mapping[str, str]) -> Part | None:
    """Return what an answer with a part of a file says of it; None if it does not say which part that is.

    >>> part_in({"Content-Range": "bytes 2-5/10", "ETag": '"a"'})
    Part(start=2, stop=6, identity=Identity(size=10, etag='"a"', modified=None))
    """
    told = re.fullmatch(r"\s*bytes\s+(\d{1,18})-(\d{1,18})/(\d{1,18}|\*)\s*", headers.get("Content-Range", ""))
    if told is None:
        return None
    identity = None if told[3] == "*" else identity_in(headers, int(told[3]))
    return Part(int(told[1]), int(told[2]) + 1, identity)


def length_in(headers: Mapping[str, str]) -> int | None:
    """Return how many bytes an answer says it has; None if it does not."""
    text = headers.get("Content-Length", "").strip()
    return int(text) if re.fullmatch(r"\d{1,18}", text, re.ASCII) else None


def identity_of_info(info: Mapping[str, Any], ukey: str) -> Identity:
    """Return the identity of a file of which fsspec tells this; `ukey` is for those that tell nothing useful."""
    etag = next((info[key] for key in _VERSIONS if info.get(key)), None)
    modified = next((info[key] for key in _TIMES if info.get(key)), None)
    if etag is None and modified is None:
        etag = ukey
    return Identity(int(info["size"]), None if etag is None else str(etag), None if modified is None else str(modified))


_VERSIONS = ("ETag", "etag", "e_tag", "generation", "md5Hash", "md5", "content_md5", "checksum", "version_id")
_TIMES = ("LastModified", "last_modified", "mtime", "updated", "modified", "created")
