"""The room on the disk that many processes share: counted, and made by removing what was used least recently."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

from batchup._files import leave, opened_alone

PART = ".part"  # behind the name of what is being written
COUNT = "bytes"  # the name of the file that says how many are taken
OLD = 3600.0  # seconds after which nobody is writing any more, whoever it was
KEPT = 7 / 8  # how much of the limit is kept when others have to go


class Room:
    """So many bytes for files in the folders of a folder.

    Parameters
    ----------
    folder : str
        The folder.
    limit : int
        The bytes.
    """

    def __init__(self, folder: str, limit: int) -> None:
        self.folder = folder
        self.limit = limit

    def take(self, size: int) -> None:
        """Count a file that will be written; where there would be too many bytes, remove others."""
        name = os.path.join(self.folder, COUNT)
        file = opened_alone(name, anew=True, waiting=lambda: None)
        try:
            os.fchmod(file.fileno(), 0o600)
            text = os.pread(file.fileno(), 32, 0)
            taken = int(text) if text.isdigit() else self._trimmed(size)
            if taken + size > self.limit:
                taken = self._trimmed(size)
            os.pwrite(file.fileno(), b"%020d" % (taken + size), 0)
        finally:
            leave(file)

    def _trimmed(self, size: int) -> int:
        """Remove what was used least recently, and what was never finished; return how many bytes are left."""
        found = sorted(self._files())
        left = sum(bytes_ for _, bytes_, _ in found)
        aim = min(self.limit - size, int(self.limit * KEPT)) if left + size > self.limit else left
        for _, bytes_, path in found:
            if left <= aim:
                break
            with contextlib.suppress(OSError):
                os.remove(path)
            left -= bytes_
        for folder in self._folders():
            with contextlib.suppress(OSError):  # there is something in it
                os.rmdir(folder)
        return left

    def _folders(self) -> list[str]:
        with os.scandir(self.folder) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]

    def _files(self) -> Iterator[tuple[float, int, str]]:
        """Yield when each file was used last, its size and its path; those that nobody is writing any more go."""
        for folder in self._folders():
            with contextlib.suppress(OSError), os.scandir(folder) as entries:
                for entry in entries:
                    with contextlib.suppress(OSError):
                        status = entry.stat(follow_symlinks=False)
                        if _left_behind(entry.name, status.st_mtime):
                            os.remove(entry.path)
                        else:
                            yield status.st_mtime, status.st_size, entry.path


def sweep(folder: str) -> None:
    """Remove what processes that have died were writing in a folder."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(PART):
                with contextlib.suppress(OSError):
                    if _left_behind(entry.name, entry.stat(follow_symlinks=False).st_mtime):
                        os.remove(entry.path)


def _left_behind(name: str, modified: float) -> bool:
    """Return whether a file was being written by a process that has died, or long ago."""
    if not name.endswith(PART):
        return False
    if time.time() - modified > OLD:
        return True
    try:
        os.kill(int(name.split(".")[1]), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError, IndexError):
        return False
    return False
