"""Folders that are written beside their names, and are whole or absent."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator
from time import monotonic, sleep
from typing import Any, BinaryIO, NamedTuple

from batchup._files import PARTIAL, check_replaceable, leave, opened_alone, rename
from batchup.errors import InvalidValueError
from batchup.formats.paths import named

PATIENCE = 5.0  # seconds in which others must have ended
MOMENT = 0.01
SEEN = 3  # moments without a folder, until it is not made anew
_REPLACED = ".replaced"  # behind the name of a folder that another one takes the place of


class Kind(NamedTuple):
    """Folders of one kind, which are known by what is in them.

    Attributes
    ----------
    manifest : str
        Name of a file that says what such a folder is.
    member : str
        A regular expression for the names of all other files, seen from the folder.
    """

    manifest: str
    member: str

    def check_free(self, name: str) -> None:
        """Raise an error unless nothing has a name, or an empty folder, or one of this kind."""
        if os.path.isdir(name):
            if os.listdir(name) and not self.has(name):
                raise InvalidValueError(
                    f"{name} has files in it that were not written so: name another folder, or empty it"
                )
        elif os.path.lexists(name):
            raise NotADirectoryError(errno.ENOTDIR, "a file has the name of the folder to write", name)

    def has(self, folder: str) -> bool:
        """Return whether a folder is of this kind, with nothing else in it."""
        if not os.path.isfile(os.path.join(folder, self.manifest)):
            return False
        for place, folders, files in os.walk(folder):
            inside = os.path.relpath(place, folder)
            for file in files:
                shown = os.path.normpath(os.path.join(inside, file))
                if shown != self.manifest and re.fullmatch(self.member, shown) is None:
                    return False
            if any(os.path.islink(os.path.join(place, each)) for each in folders):
                return False
        return True

    def recover(self, name: str) -> None:
        """Put back, or remove, what somebody has left who was stopped while a folder was replaced."""
        replaced = name + _REPLACED
        if os.path.isdir(replaced) and not os.path.islink(replaced):
            if not os.listdir(replaced):
                os.rmdir(replaced)
            elif self.has(replaced) and os.path.lexists(name):
                self._discard(replaced)
            elif self.has(replaced):
                rename(replaced, name)
        if os.path.isdir(name) and os.listdir(name) and os.path.lexists(replaced):
            raise InvalidValueError(f"{replaced} is in the way: rename it, or name another folder than {name}")

    def take(self, partial: str, name: str) -> None:
        """Give a folder its name, and remove the one that had it."""
        if not os.path.isdir(name) or not os.listdir(name):
            rename(partial, name)
            return
        replaced = name + _REPLACED
        os.rename(name, replaced)
        try:
            rename(partial, name)
        except BaseException:
            os.rename(replaced, name)
            raise
        with contextlib.suppress(OSError):
            self._discard(replaced)

    def _discard(self, folder: str) -> None:
        """Remove a folder so that what is left is known, if that is cut short."""
        clear(folder, keep=self.manifest)
        shutil.rmtree(folder)


class Later:
    """Where a folder or a file is to lie in the end that is written elsewhere, and by others put there.

    Parameters
    ----------
    path : str
        The name, without links in it.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.kind: Kind | None = None  # of the folder that is being written

    def begin(self, kind: Kind) -> None:
        """Note that a folder is being written, which may take the name."""
        kind.check_free(self.path)
        kind.recover(self.path)
        self.kind = kind

    def check(self) -> None:
        """Raise an error if what has the name is not to be replaced."""
        check_replaceable(self.path)
        if self.kind is not None:
            self.kind.check_free(self.path)
        elif os.path.isdir(self.path):
            raise IsADirectoryError(errno.EISDIR, "a folder has the name of the file to write", self.path)

    def take(self, place: str) -> None:
        """Give what was written the name."""
        if self.kind is not None:
            self.kind.take(place, self.path)
        else:
            os.replace(place, self.path)


LATER: dict[str, Later] = {}  # by the name under which it is written


@contextlib.contextmanager
def whole_folder(path: Any, manifest: str, member: str) -> Iterator[tuple[str, BinaryIO]]:
    """Make a folder that takes its name when the block ends well, and is removed when it does not.

    Only what is empty, or was written so before, is ever removed or replaced.

    Parameters
    ----------
    path : str or path-like
        Its name.
    manifest : str
        Name of a file in it that says what it is, by which it is known to be ours.
    member : str
        A regular expression for the names of all other files, seen from the folder.

    Yields
    ------
    str, file
        The folder to write into, and its manifest, open.

    Raises
    ------
    FileBusyError
        If somebody else is writing it.
    InvalidValueError
        If something else has its name.
    """
    name = os.path.realpath(named(path))
    partial = name + PARTIAL

    kind = Kind(manifest, member)
    kind.check_free(name)
    kind.check_free(partial)
    if name in LATER:
        LATER[name].begin(kind)
    with contextlib.suppress(FileExistsError):
        os.mkdir(partial)
    file = opened_alone(os.path.join(partial, manifest), anew=True)
    try:
        kind.recover(name)
        clear(partial, keep=manifest)  # what somebody left who was stopped
        file.truncate()
        yield partial, file
        kind.check_free(name)
        if hasattr(os, "sync"):
            os.sync()  # for one file after the other it takes minutes
        kind.take(partial, name)
    except BaseException:
        remove(partial)
        raise
    finally:
        leave(file)


def remove(folder: str) -> None:
    """Remove a folder where something has failed: threads of a library may go on writing there for a moment."""
    end = monotonic() + PATIENCE
    gone = 0
    while gone < SEEN and monotonic() < end:
        shutil.rmtree(folder, ignore_errors=True)
        gone = 0 if os.path.lexists(folder) else gone + 1
        sleep(MOMENT)


def clear(folder: str, keep: str) -> None:
    """Remove all that is in a folder but one file."""
    for name in os.listdir(folder):
        inside = os.path.join(folder, name)
        if os.path.isdir(inside):
            shutil.rmtree(inside)
        elif name != keep:
            os.remove(inside)
