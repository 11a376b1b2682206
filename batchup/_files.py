"""Files that one writes alone, and that are on the disk when that is said."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from typing import BinaryIO

from batchup.errors import FileBusyError, FileFormatError, InvalidValueError

PARTIAL = ".partial"  # behind the name that a file will have
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)  # of a file system


def opened_alone(name: str, anew: bool, waiting: Callable[[], object] | None = None, writes: bool = True) -> BinaryIO:
    """Open a file that nobody else writes, as long as it is open; `anew` makes it if it is not there.

    If somebody else has it open so, wait for them after a call of `waiting`, if that is given. If it is a mere sign for
    others, and is not written to (`writes`), it may be one that only others may write to.

    Raises
    ------
    FileBusyError
        If somebody else has it open so, and is not waited for.
    InvalidValueError
        If it is no file.
    """
    flags = (os.O_RDWR if writes else os.O_RDONLY) | os.O_NOFOLLOW | (os.O_CREAT if anew else 0)
    while True:
        file = os.fdopen(os.open(name, flags, 0o666), "r+b" if writes else "rb", buffering=0)
        try:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InvalidValueError(f"{name} is in the way: it is no file")
            _lock(file.fileno(), name, waiting)
            if is_named(file.fileno(), name):  # and has not got another one meanwhile
                return file
        except BaseException:
            file.close()
            raise
        file.close()


def _lock(descriptor: int, name: str, waiting: Callable[[], object] | None) -> None:
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if waiting is None:
            raise FileBusyError(f"another writer is at {name}: wait until it has closed its file") from None
        waiting()
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


def leave(file: BinaryIO) -> None:
    """Close a file that was opened alone, and let others open it; if it is closed, do nothing."""
    if not file.closed:
        _unlock(file.fileno())
    file.close()


def _unlock(descriptor: int) -> None:
    """Let others lock it: forked processes may have it open, too."""
    import fcntl

    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def sync_folder(path: str) -> None:
    """See to it that the name of a file is on the disk, as far as that can be."""
    with contextlib.suppress(OSError):
        descriptor = os.open(os.path.dirname(path), os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def is_named(descriptor: int, name: str) -> bool:
    """Return whether a name stands for an open file."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.stat(name), os.fstat(descriptor))
    return False


def check_named(file: BinaryIO, name: str) -> None:
    """Raise a FileFormatError unless a name stands for an open file still."""
    if not is_named(file.fileno(), name):
        raise FileFormatError(f"{name} has been removed or replaced by somebody: it cannot be finished")


def check_replaceable(path: str) -> None:
    """Raise an InvalidValueError if a name is that of a device, a pipe or the like, which is not to be replaced."""
    with contextlib.suppress(OSError):
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise InvalidValueError(f"{path} is no regular file: name another")


def rename(name: str, path: str) -> None:
    """Give a file another name in its folder, for good."""
    check_replaceable(path)
    os.replace(name, path)
    sync_folder(path)


def remove(file: BinaryIO, name: str) -> None:
    """Remove an open file, unless the name stands for another one now."""
    if is_named(file.fileno(), name):
        os.remove(name)


def write_all(descriptor: int, data: memoryview, start: int, name: str) -> None:
    """Write bytes to a file from a place on; its name is for messages."""
    begin = start
    with full_disk_named(name):
        while data:
            written = os.pwrite(descriptor, data, start)
            data, start = data[written:], start + written
    if hasattr(os, "posix_fadvise"):
        # has the kernel begin now to bring them to the disk, which else it does at the end, when it is waited for
        os.posix_fadvise(descriptor, begin, start - begin, os.POSIX_FADV_DONTNEED)


@contextlib.contextmanager
def full_disk_named(name: str) -> Iterator[None]:
    """Have errors over a full disk, or a file that grows too large, name the file that is being written."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL and error.filename is None:
            error.filename = name
        raise


def keep_permissions(descriptor: int, path: str) -> None:
    """Give an open file the permissions of the one that it will replace, if there is one."""
    with contextlib.suppress(OSError):
        os.fchmod(descriptor, os.stat(path).st_mode & 0o777)
