"""Files of any format that are written beside their names, and are whole or absent."""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Iterator
from typing import Any, BinaryIO

from batchup._files import PARTIAL, check_named, keep_permissions, leave, opened_alone, remove, rename
from batchup.pipeline.formats.compression import Deflated, Output, check_compression
from batchup.pipeline.formats.paths import named

_BUFFER = 2**20


@contextlib.contextmanager
def whole_file(path: Any) -> Iterator[BinaryIO]:
    """Open a file that takes its name when the block ends well, and is removed when it does not.

    Raises
    ------
    FileBusyError
        If somebody else is writing it.
    IsADirectoryError
        If a folder has the name.
    """
    name = os.path.realpath(named(path))
    if os.path.isdir(name):
        raise IsADirectoryError(errno.EISDIR, "a folder has the name of the file to write", name)
    partial = name + PARTIAL
    raw = opened_alone(partial, anew=True)
    try:
        raw.truncate(0)  # of a program that was killed
        with _buffered(raw) as file:
            yield file
        os.fsync(raw.fileno())
        check_named(raw, partial)
        keep_permissions(raw.fileno(), name)
        rename(partial, name)
    except BaseException:
        remove(raw, partial)
        raise
    finally:
        leave(raw)


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


@contextlib.contextmanager
def _buffered(raw: Any) -> Iterator[BinaryIO]:
    """Put a buffer before a file until the block ends, and leave the file open."""
    buffered = io.BufferedRandom(raw, _BUFFER)
    try:
        yield buffered
        buffered.flush()
    finally:
        with contextlib.suppress(OSError):  # which `flush` has raised, or something came before it
            buffered.detach()
