"""Files of any format that are written beside their names, and are whole or absent."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import Any, BinaryIO

from batchup._compression import Deflated, Output, check_compression
from batchup._files import check_replaceable
from batchup._unfinished import Unfinished
from batchup.formats.paths import named


@contextlib.contextmanager
def unfinished_file(path: Any) -> Iterator[Unfinished]:
    """Have a file that takes its name when the block ends well, and is removed when it does not.

    Raises
    ------
    FileBusyError
        If somebody else is writing it.
    IsADirectoryError
        If a folder has the name.
    InvalidValueError
        If a device, a pipe or the like has the name.
    """
    check_replaceable(named(path))
    name = os.path.realpath(named(path))
    if os.path.isdir(name):
        raise IsADirectoryError(errno.EISDIR, "a folder has the name of the file to write", name)
    unfinished = Unfinished(name)
    try:
        yield unfinished
        unfinished.take()
    finally:
        unfinished.discard()


@contextlib.contextmanager
def whole_file(path: Any) -> Iterator[BinaryIO]:
    """Open such a file for bytes."""
    with unfinished_file(path) as unfinished, unfinished.plain() as file:
        yield file


@contextlib.contextmanager
def compressed_file(path: Any, compression: str | None) -> Iterator[Output]:
    """Open such a file for bytes that are compressed, or not."""
    check_compression(compression)
    with whole_file(path) as file:
        if compression is None:
            yield file
        else:
            deflated = Deflated(file, compression)
            yield deflated
            deflated.finish()
