"""A copy of a file that is written in place, kept until what was written is on the disk."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator

from batchup._files import PARTIAL, leave, opened_alone, remove, rename
from batchup.errors import FileBusyError

BACKUP = ".backup"  # behind the name of the file


@contextlib.contextmanager
def backed_up(path: str, flush: Callable[[], None]) -> Iterator[None]:
    """Keep a copy of a file beside it until the block has ended well and `flush` has been called.

    After a kill in between, `restore` brings the copy back. After an exception, the copy stays, too: the file may have
    been written to in part; it is brought back when the file is opened next.
    """
    with _copying(path) as file:
        shutil.copyfile(path, path + BACKUP + PARTIAL)
        os.fsync(file)
        rename(os.path.abspath(path + BACKUP + PARTIAL), os.path.abspath(path + BACKUP))
        yield
        flush()
        with open(path, "rb") as written:
            os.fsync(written.fileno())
        os.remove(path + BACKUP)


@contextlib.contextmanager
def _copying(path: str) -> Iterator[int]:
    """Hold the copy for oneself, as long as it is needed."""
    file = opened_alone(path + BACKUP + PARTIAL, anew=True)
    try:
        yield file.fileno()
    finally:
        remove(file, path + BACKUP + PARTIAL)
        leave(file)


def restore(path: str) -> None:
    """Bring a copy back whose maker was killed, if there is one."""
    if not os.path.exists(path + BACKUP):
        return
    try:
        file = opened_alone(path + BACKUP, anew=False)
    except (FileNotFoundError, FileBusyError):
        return  # it is no longer needed; or its maker is at work
    try:
        rename(os.path.abspath(path + BACKUP), os.path.abspath(path))
    finally:
        leave(file)
