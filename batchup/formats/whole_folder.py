"""Folders that are written beside their names, and are whole or absent."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator
from time import monotonic, sleep
from typing import Any, BinaryIO

from batchup._files import PARTIAL, leave, opened_alone, rename
from batchup.errors import InvalidValueError
from batchup.formats.paths import named

PATIENCE = 5.0  # seconds in which others must have ended
MOMENT = 0.01
SEEN = 3  # moments without a folder, until it is not made anew
_REPLACED = ".replaced"  # behind the name of a folder that another one takes the place of


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

    def ours(folder: str) -> bool:
        return _is_ours(folder, manifest, re.compile(member))

    _check_free(name, ours)
    _check_free(partial, ours)
    with contextlib.suppress(FileExistsError):
        os.mkdir(partial)
    file = opened_alone(os.path.join(partial, manifest), anew=True)
    try:
        _clear(partial, keep=manifest)  # what somebody left who was stopped
        file.truncate()
        yield partial, file
        _check_free(name, ours)
        if hasattr(os, "sync"):
            os.sync()  # for one file after the other it takes minutes
        _take(partial, name)
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


def _check_free(name: str, ours: Callable[[str], bool]) -> None:
    if os.path.isdir(name):
        if os.listdir(name) and not ours(name):
            raise InvalidValueError(
                f"{name} has files in it that were not written so: name another folder, or empty it"
            )
    elif os.path.lexists(name):
        raise NotADirectoryError(errno.ENOTDIR, "a file has the name of the folder to write", name)


def _is_ours(folder: str, manifest: str, member: re.Pattern[str]) -> bool:
    if not os.path.isfile(os.path.join(folder, manifest)):
        return False
    for place, folders, files in os.walk(folder):
        inside = os.path.relpath(place, folder)
        for file in files:
            shown = os.path.normpath(os.path.join(inside, file))
            if shown != manifest and member.fullmatch(shown) is None:
                return False
        if any(os.path.islink(os.path.join(place, each)) for each in folders):
            return False
    return True


def _clear(folder: str, keep: str) -> None:
    for name in os.listdir(folder):
        inside = os.path.join(folder, name)
        if os.path.isdir(inside):
            shutil.rmtree(inside)
        elif name != keep:
            os.remove(inside)


def _take(partial: str, name: str) -> None:
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
    shutil.rmtree(replaced, ignore_errors=True)
