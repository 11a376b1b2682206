"""Several files that take their names when all of them are whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from batchup._files import check_replaceable, leave, opened_alone
from batchup.errors import FileBusyError, InvalidValueError
from batchup.formats.rows import Sink
from batchup.formats.table import Write
from batchup.formats.whole_folder import LATER, Later, clear

PREFIX = ".batchup-unfinished-"
LOCK = ".batchup-lock"  # a file in such a folder, which is locked while somebody writes there


class Together:
    """Files that are written beside their names, in folders of their own, until all are whole."""

    def __init__(self) -> None:
        self._folders: dict[str, tuple[str, BinaryIO]] = {}
        self._files: dict[str, Later] = {}

    @contextmanager
    def opened(self, sink: Sink, name: str, *arguments: Any, **options: Any) -> Iterator[Write]:
        """Open a file for blocks of rows; an error if what has its name is not to be replaced."""
        place, later = self._place_of(name)
        with sink(place, *arguments, **options) as write:
            later.check()
            yield write

    def take(self) -> None:
        """Give all files their names, unless one is not to be replaced."""
        for later in self._files.values():
            later.check()
        for place, later in self._files.items():
            later.take(place)

    def leave(self) -> None:
        """Remove what has not got its name."""
        for place in self._files:
            LATER.pop(place, None)
        for folder, lock in self._folders.values():
            with contextlib.suppress(OSError):
                _remove(folder)
            leave(lock)

    def _place_of(self, name: str) -> tuple[str, Later]:
        check_replaceable(name)
        path = os.path.realpath(name)
        home = os.path.dirname(path)
        if home not in self._folders:
            _sweep(home)
            self._folders[home] = _folder(home)
        place = os.path.join(self._folders[home][0], os.path.basename(path))
        if place in self._files:
            raise InvalidValueError(f"{name} is {path}, which is written already: each file needs a name of its own")
        LATER[place] = self._files[place] = Later(path)
        return place, LATER[place]


@contextmanager
def together() -> Iterator[Together]:
    """Yield places for files, which take their names when the block ends well, and are removed when it does not."""
    files = Together()
    try:
        yield files
        files.take()
    finally:
        files.leave()


def _folder(home: str) -> tuple[str, BinaryIO]:
    """Make a folder, and lock it; if somebody sweeps it away in between, another one."""
    while True:
        folder = tempfile.mkdtemp(prefix=PREFIX, dir=home)
        with contextlib.suppress(FileNotFoundError, FileBusyError):
            return folder, opened_alone(os.path.join(folder, LOCK), anew=True)


def _sweep(home: str) -> None:
    """Remove such folders of those who were killed."""
    for name in os.listdir(home):
        folder = os.path.join(home, name)
        if name.startswith(PREFIX) and not os.path.islink(folder):
            with contextlib.suppress(OSError, InvalidValueError):
                _remove_left(folder)


def _remove_left(folder: str) -> None:
    """Remove a folder if its lock is there, and nobody has it."""
    if not os.listdir(folder):
        os.rmdir(folder)
        return
    name = os.path.join(folder, LOCK)
    lock = opened_alone(name, anew=False)
    try:
        if _locks(name):
            _remove(folder)
    finally:
        leave(lock)


def _locks(name: str) -> bool:
    """Return whether a file that is open alone cannot be opened so again: some file systems have no locks."""
    try:
        leave(opened_alone(name, anew=False))
    except FileBusyError:
        return True
    return False


def _remove(folder: str) -> None:
    """Remove a folder, its lock last: what is left if that is cut short can be removed later."""
    clear(folder, keep=LOCK)
    os.remove(os.path.join(folder, LOCK))
    os.rmdir(folder)
