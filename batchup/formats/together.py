"""Several files that take their names when all of them are whole, or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

PREFIX = ".batchup-unfinished-"


class Together:
    """Where files are to be written until all are whole: beside their names, in folders of their own."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}
        self._names: dict[str, str] = {}

    def place_of(self, name: str) -> str:
        """Return under which name a file is to be written for now."""
        path = os.path.realpath(name)
        home = os.path.dirname(path)
        if home not in self._folders:
            self._folders[home] = tempfile.mkdtemp(prefix=PREFIX, dir=home)
        self._names[path] = os.path.join(self._folders[home], os.path.basename(path))
        return self._names[path]

    def take(self) -> None:
        """Give all files their names; a folder of a name makes way."""
        for path, place in self._names.items():
            if os.path.isdir(path) and not os.path.islink(path):
                os.rename(path, place + ".before")
            os.replace(place, path)

    def leave(self) -> None:
        """Remove what has not got its name."""
        for folder in self._folders.values():
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def together() -> Iterator[Together]:
    """Yield places for files, which take their names when the block ends well, and are removed when it does not."""
    files = Together()
    try:
        yield files
        files.take()
    finally:
        files.leave()
