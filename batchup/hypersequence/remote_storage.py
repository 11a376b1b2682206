"""A .hsq file elsewhere, from which rows are read by their place in it: whole records are fetched, ahead of need."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup.columns.readahead import Place, Readahead
from batchup.columns.storage import Storage
from batchup.hypersequence.checksums import stored_checksums
from batchup.hypersequence.format import Format
from batchup.hypersequence.shelf import Shelf
from batchup.hypersequence.units import Units
from batchup.remote import RemoteFile

WINDOW = 2**24  # bytes of rows that are gathered at once: units are few, and rows of one are copied together
LONG = 2**16  # bytes of a row from which on it is copied by itself


class RemoteStorage(Storage):
    """Fetches whole records when rows of them are wanted, or told of, and checks them.

    Parameters
    ----------
    file : RemoteFile
        Where they are.
    layout : Format
        What is in it.
    """

    def __init__(self, file: RemoteFile, layout: Format) -> None:
        super().__init__(None, file.name, layout.data_bytes)
        self._units = Units(layout, stored_checksums(file.reader(), layout) if layout.has_checksums else None)
        self._shelf = Shelf(file, self._units)
        self.readahead = RemoteReadahead(self._shelf, self._units)
        self.window = WINDOW

    def close(self) -> None:
        super().close()
        self._shelf.close()

    def array(self, start: int, size: int) -> NDArray[np.uint8]:
        self.check_open()
        number, begin = divmod(start, self._units.unit_bytes)
        if size and begin + size <= self._units.unit_bytes:
            return self._shelf.get(number, size)[begin : begin + size]
        joined = np.empty(size, np.uint8)
        self.copy([(start, size)], joined)
        joined.flags.writeable = False
        return joined

    def copy(self, places: Iterable[Place], out: NDArray[np.uint8]) -> None:
        self.check_open()
        parts = self._parts(places)
        if len(parts) > 1:
            self._shelf.expect(parts, now=True)
        for number, wanted in parts.items():
            data = self._shelf.get(number, sum(size for _, size, _ in wanted))
            for begin, size, place in wanted:
                out[place : place + size] = data[begin : begin + size]

    def copy_rows(self, starts: NDArray[np.int64], size: int, out: NDArray[np.uint8]) -> None:
        numbers, begins = np.divmod(starts, self._units.unit_bytes)
        if not len(starts) or size > LONG or (begins + size > self._units.unit_bytes).any():
            super().copy_rows(starts, size, out)
            return
        self.check_open()
        order = np.argsort(numbers, kind="stable")
        bounds = [0, *(np.flatnonzero(np.diff(numbers[order])) + 1).tolist(), len(order)]
        wanted = numbers[order[bounds[:-1]]].tolist()
        if len(wanted) > 1:
            self._shelf.expect(wanted, now=True)
        room = out.view(f"V{size}")
        for number, (first, last) in zip(wanted, pairwise(bounds), strict=True):
            data = self._shelf.get(number, (last - first) * size)
            rows: NDArray[Any] = np.ndarray((len(data) - size + 1,), room.dtype, data.data, 0, (1,))
            room[order[first:last]] = rows[begins[order[first:last]]]

    def _parts(self, places: Iterable[Place]) -> dict[int, list[tuple[int, int, int]]]:
        """Return what is wanted of each unit: places in it, sizes, and where in the output they go."""
        unit_bytes, parts, done = self._units.unit_bytes, dict[int, list[tuple[int, int, int]]](), 0
        for start, size in places:
            end = done + size
            while done < end:
                number, begin = divmod(start, unit_bytes)
                part = min(end - done, unit_bytes - begin)
                parts.setdefault(number, []).append((begin, part, done))
                start, done = start + part, done + part
        return parts


class RemoteReadahead(Readahead):
    """Has units fetched ahead of need.

    Parameters
    ----------
    shelf : Shelf
        Where they come to lie.
    units : Units
        How the file is divided.
    """

    def __init__(self, shelf: Shelf, units: Units) -> None:
        super().__init__(None)
        self._shelf = shelf
        self._units = units

    def expect(self, starts: NDArray[np.int64], size: int) -> bool:
        return bool(len(starts) and size) and self._shelf.expect(self._units.holding(np.asarray(starts), size))

    def idle(self) -> bool:
        return False
