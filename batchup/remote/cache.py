"""Parts of files elsewhere that are kept on the disk of this machine: private, bounded, checked when they are read."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import logging
import os
import shutil
import stat
import struct
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._crc import crc32
from batchup._numbers import whole_number
from batchup.config import get_batchup_path
from batchup.errors import InvalidValueError
from batchup.remote.identity import Identity
from batchup.remote.room import PART, Room, sweep

LIMIT = 8 * 2**30  # bytes
VARIABLE = "BATCHUP_CACHE_BYTES"
LARGEST_SHARE = 4  # no part may take more of the limit than one of so many
_HEAD = struct.Struct("<16sQI4x")  # which part of which file it is, its size, its CRC-32

logger = logging.getLogger("batchup")


def cache_folder() -> str:
    """Return the folder where parts of files elsewhere are kept: ``cache/remote`` in `config.get_batchup_path`.

    Examples
    --------
    >>> import os
    >>> from batchup import remote
    >>> os.environ["BATCHUP_HOME"] = "/some/path"
    >>> remote.cache_folder()
    '/some/path/cache/remote'
    >>> del os.environ["BATCHUP_HOME"]
    """
    return os.path.join(get_batchup_path(), "cache", "remote")


def set_cache_limit(size: int) -> None:
    """Say how many bytes may be kept on the disk of this machine; what was used least recently goes first.

    That holds for this program, and for the processes that it starts from now on. The variable ``BATCHUP_CACHE_BYTES``
    says the same. Without either it is 8 GiB.

    Parameters
    ----------
    size : int
        Bytes; 0 to keep nothing.
    """
    os.environ[VARIABLE] = str(whole_number(size, "size"))


def cache_limit() -> int:
    """Return how many bytes may be kept."""
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return LIMIT
    if not (text.isascii() and text.isdecimal()):
        raise InvalidValueError(f"{VARIABLE} must be a number of bytes, got {text!r}")
    return int(text)


def clear_cache() -> None:
    """Remove all that is kept of files elsewhere."""
    folder = cache_folder()
    if is_private(folder):
        shutil.rmtree(folder, ignore_errors=True)


def is_private(folder: str) -> bool:
    """Return whether a folder is one that only this user can write to and read."""
    try:
        status = os.lstat(folder)
    except OSError:
        return False
    mine = not hasattr(os, "geteuid") or status.st_uid == os.geteuid()
    return stat.S_ISDIR(status.st_mode) and mine and not status.st_mode & 0o077


class Kept:
    """What is kept of one version of a file.

    Each part is a file of its own, named by its place: a head, then the bytes. The head tells which part of which file
    it is, and has a CRC-32, which is against damage: only this user can write there. All goes on without, if nothing
    can be kept.

    Parameters
    ----------
    folder : str
        Where the parts are.
    room : Room
        The room that all parts of all files share.
    """

    def __init__(self, folder: str, room: Room) -> None:
        self._folder = folder
        self._room = room
        self._secret = os.path.basename(folder).encode()
        self._writes = True
        self._numbers = itertools.count()

    @classmethod
    def of(cls, address: str, identity: Identity) -> Kept | None:
        """Return what is kept of a version of a file; None if nothing can be, or no version is known from others."""
        limit = cache_limit()
        if not identity.known or not limit or not hasattr(os, "geteuid"):
            return None
        top = cache_folder()
        try:
            os.makedirs(os.path.dirname(top), exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.mkdir(top, 0o700)
            if not is_private(top):
                logger.warning("%s is not used: it is not this user's alone; remove it, or chmod it to 700", top)
                return None
            key = hashlib.sha256(repr((address, *identity)).encode()).hexdigest()[:40]
            folder = os.path.join(top, key)
            sweep(folder)
            return cls(folder, Room(top, limit))
        except OSError as error:
            logger.warning("nothing is kept of files elsewhere: %s", error)
            return None

    def get(self, start: int, out: NDArray[np.uint8]) -> bool:
        """Fill an array with a part, if it is there, and sound."""
        path = self._path(start, len(out))
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            head = bytearray(_HEAD.size)
            sound = _filled(descriptor, [head, out.data], _HEAD.size + len(out))
            if sound and bytes(head) == self._head(start, out):
                os.utime(descriptor)  # it has been used
                return True
        except OSError:
            pass
        finally:
            os.close(descriptor)
        with contextlib.suppress(OSError):
            os.remove(path)
        return False

    def put(self, start: int, data: NDArray[np.uint8]) -> None:
        """Keep a part, if there is room, or others can go for it."""
        size = len(data) + _HEAD.size
        if not self._writes or not len(data) or size * LARGEST_SHARE > self._room.limit:
            return
        path = self._path(start, len(data))
        partial = f"{path}.{os.getpid()}.{threading.get_native_id()}.{next(self._numbers)}{PART}"
        try:
            self._room.take(size)
            with contextlib.suppress(FileExistsError):
                os.mkdir(self._folder, 0o700)
            self._write(partial, [self._head(start, data), data.data], size)
            os.rename(partial, path)
        except OSError as error:
            self._writes = isinstance(error, FileNotFoundError)  # somebody has cleared all away just now
            if not self._writes:
                logger.warning("nothing more is kept of files elsewhere: %s", error)
            with contextlib.suppress(OSError):
                os.remove(partial)
        except BaseException:
            with contextlib.suppress(OSError):
                os.remove(partial)
            raise

    def _write(self, path: str, rooms: list[Any], size: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            done = os.writev(descriptor, rooms)
            while done < size:
                done += os.pwrite(descriptor, rooms[1][done - _HEAD.size :], done)
        finally:
            os.close(descriptor)

    def _path(self, start: int, size: int) -> str:
        return os.path.join(self._folder, f"{start}-{size}")

    def _head(self, start: int, data: NDArray[np.uint8]) -> bytes:
        which = hashlib.blake2b(b"%s %d" % (self._secret, start), digest_size=16).digest()
        return _HEAD.pack(which, len(data), crc32(data.data))


def _filled(descriptor: int, rooms: list[Any], size: int) -> bool:
    """Fill two rooms with a file; return whether it has just that size."""
    if os.fstat(descriptor).st_size != size:
        return False
    done, begin = os.readv(descriptor, rooms), len(rooms[0])
    while begin <= done < size:
        more = os.preadv(descriptor, [rooms[1][done - begin :]], done)
        if not more:
            return False
        done += more
    return done == size
