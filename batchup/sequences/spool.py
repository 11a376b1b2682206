"""Sequences that wait in files without a name, until all of them are known."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Iterator, Mapping
from io import FileIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._files import full_disk_named
from batchup._unfinished import PIECE, Whole
from batchup.columns import Ragged
from batchup.errors import FileFormatError
from batchup.sequences.collecting import Kind


class Spool:
    """Sequences laid aside, in files without a name, until all of them are known.

    Parameters
    ----------
    folder : str
        On whose disk they wait.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._files: dict[str | None, FileIO] = {}
        self._ends: dict[str | None, int] = {}
        self._lengths: dict[str | None, list[NDArray[np.int64]]] = {}

    def put(self, columns: Mapping[str | None, Ragged]) -> int:
        """Lay sequences of each field aside, and return a checksum of them; if that fails, it may be done again."""
        ends, checksum = {}, 0
        for name, ragged in columns.items():
            if name not in self._files:
                self._files[name] = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115
            file, start = self._files[name], self._ends.get(name, 0)
            data = ragged.values.reshape(-1).view(np.uint8).data
            ends[name] = start + len(data)
            file.seek(start)
            with full_disk_named(self._folder):
                Whole(file).write(data)
            checksum = zlib.crc32(ragged.lengths.tobytes(), zlib.crc32(data, checksum))
        self._ends.update(ends)
        for name, ragged in columns.items():
            self._lengths.setdefault(name, []).append(ragged.lengths)
        return checksum

    def lengths(self, name: str | None) -> NDArray[np.int64]:
        """Return the lengths of those of a field."""
        return np.concatenate([np.empty(0, np.int64), *self._lengths.get(name, [])])

    def pieces(self, name: str | None, kind: Kind) -> Iterator[NDArray[Any]]:
        """Yield all elements of a field, many at a time."""
        rows, total = max(1, PIECE // kind.row), self._ends.get(name, 0) // kind.row
        for start in range(0, total, rows):
            yield self._elements(name, kind, start, min(rows, total - start))

    def sequences(self, name: str | None, kind: Kind) -> Iterator[NDArray[Any]]:
        """Yield the sequences of a field."""
        start = 0
        for length in self.lengths(name).tolist():
            yield self._elements(name, kind, start, length)
            start += length

    def close(self) -> None:
        """Forget all."""
        for file in self._files.values():
            file.close()

    def _elements(self, name: str | None, kind: Kind, start: int, count: int) -> NDArray[Any]:
        elements = np.empty((count, *kind.inner_shape), kind.dtype)
        file = self._files[name]
        file.seek(start * kind.row)
        _fill(elements.reshape(-1).view(np.uint8).data, file)
        return elements


def _fill(room: memoryview, file: FileIO) -> None:
    """Read as many bytes as there is room for, which may take several calls: Linux gives 2 GiB at most."""
    while room:
        done = file.readinto(room)
        if not done:
            raise FileFormatError(
                f"what waits to be written ends early: {len(room)} bytes are missing; discard all, and write it again"
            )
        room = room[done:]
