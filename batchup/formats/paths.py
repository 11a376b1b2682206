"""The files that a reader is given: names and patterns, looked up at the call."""

from __future__ import annotations

import errno
import glob
import os
from typing import Any

from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.remote.addresses import is_remote, local_path
from batchup.remote.places import listed


def found(paths: tuple[Any, ...], folders: bool = False) -> tuple[str, ...]:
    """Return the names of the files that are meant, those of a pattern sorted.

    Parameters
    ----------
    paths : tuple
        Names, patterns, and addresses of files elsewhere.
    folders : bool, default False
        Whether what is read may be a folder.

    Raises
    ------
    FileNotFoundError
        If there is no such file, or none that fits the pattern.
    IsADirectoryError
        If it is a folder, and may not be.
    """
    if not paths:
        raise InvalidValueError("a reader takes the name of at least one file, got none")
    return tuple(name for path in paths for name in _named(named(path), folders))


def named(path: Any) -> str:
    """Return the name that a path stands for; an error unless it is a str or path-like."""
    name = os.fspath(path) if isinstance(path, os.PathLike) else path
    if isinstance(name, str):
        return name
    hint = "; give several one by one, as in (*names)" if isinstance(path, (list, tuple)) else ""
    raise InvalidTypeError(f"a file is named by a str or a path, got {type(path).__name__}{hint}")


def _named(name: str, folders: bool) -> list[str]:
    if is_remote(name):
        return _elsewhere(name)
    name = local_path(name)
    if os.path.isdir(name) and not folders:
        raise IsADirectoryError(errno.EISDIR, "it is a folder: name files, or a pattern such as folder/*", name)
    if os.path.exists(name):
        return [name]
    names = sorted(file for file in glob.glob(name, recursive=True) if folders or not os.path.isdir(file))
    if not names:
        raise FileNotFoundError(errno.ENOENT, "there is no such file", name)
    return names


def _elsewhere(name: str) -> list[str]:
    names = listed(name)
    if not names:
        raise FileNotFoundError(errno.ENOENT, "there is no such file", name)
    return names
