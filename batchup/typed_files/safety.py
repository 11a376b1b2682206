"""Files that are written in place: a copy to go back to, and a look at who else has them open."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from typing import Any

from batchup._files import PARTIAL, leave, opened_alone, remove, rename
from batchup.errors import FileBusyError

BACKUP = ".backup"  # behind the name of the file
_UNKNOWN = (errno.EINVAL, errno.ENODEV, errno.ENOSYS, errno.EOPNOTSUPP)  # to file systems that cannot set room aside
SPARE = 2**20  # bytes that HDF5 may need beside the data, for chunks that are not full, and to find them


@contextlib.contextmanager
def backed_up(path: str) -> Iterator[None]:
    """Keep a copy of a file beside it while the block lasts; what goes wrong in it brings the copy back.

    After a kill, `restore` does. The file must be on the disk as it is to be kept, and be closed when an exception
    leaves the block.
    """
    path = os.path.realpath(path)
    file = opened_alone(path + BACKUP + PARTIAL, anew=True)
    name = path + BACKUP + PARTIAL
    try:
        shutil.copyfile(path, name)
        os.fsync(file.fileno())
        rename(name, path + BACKUP)
        name = path + BACKUP
        yield
        with open(path, "rb") as written:
            os.fsync(written.fileno())
    except BaseException:
        if name == path + BACKUP:
            rename(name, path)
        raise
    finally:
        remove(file, name)
        leave(file)


def restore(path: str) -> None:
    """Bring a copy back whose maker was killed, if there is one."""
    path = os.path.realpath(path)
    if not os.path.exists(path + BACKUP):
        return
    try:
        file = opened_alone(path + BACKUP, anew=False)
    except (FileNotFoundError, FileBusyError):
        return  # it is no longer needed; or its maker is at work
    try:
        rename(path + BACKUP, path)
    finally:
        leave(file)


def forget_backup(path: str) -> None:
    """Remove a copy that a killed program has left, since the file has been made anew."""
    with contextlib.suppress(FileNotFoundError):
        os.remove(os.path.realpath(path) + BACKUP)


@contextlib.contextmanager
def claimed(path: str, alone: bool) -> Iterator[None]:
    """Keep writers of HDF5 away from a file while the block lasts, if it is there; readers too, if `alone`.

    Raises
    ------
    FileBusyError
        If one of them has it open: HDF5 locks what it opens by ``flock``.
    """
    import fcntl

    with contextlib.ExitStack() as stack:
        if os.path.isfile(path):
            file = stack.enter_context(open(path, "r+b" if alone else "rb"))
            try:
                fcntl.flock(file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FileBusyError(f"{path} is open elsewhere: close it there before it is replaced") from None
            except OSError:
                pass  # a file system without locks
        yield


@contextlib.contextmanager
def reserved(file: Any, size: int) -> Iterator[None]:
    """Set room on the disk aside for what will be added to an HDF5 file while the block lasts.

    HDF5 cannot go back when the disk is full; without room, nothing is written at all.

    Parameters
    ----------
    file : h5py.File
        Open for writing.
    size : int
        Bytes of what will be added.

    Raises
    ------
    OSError
        If there is no room.
    """
    if file.driver != "sec2" or not hasattr(os, "posix_fallocate"):
        yield
        return
    descriptor = file.id.get_vfd_handle()
    end = os.fstat(descriptor).st_size
    try:
        os.posix_fallocate(descriptor, end, size + size // 8 + SPARE)
    except OSError as error:
        if error.errno not in _UNKNOWN:
            raise
    try:
        yield
    finally:
        file.flush()
        os.ftruncate(descriptor, max(file.id.get_filesize(), end))
