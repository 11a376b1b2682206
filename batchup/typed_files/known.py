"""What has been read of a file about its sources: the place of each id, the rows of each array."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup.errors import FileFormatError, UnknownIdError
from batchup.typed_files.layout import Rows, checked_id, rows_of

UNKNOWN, NONE = -2, -1  # in place of a first row


class Index(Mapping[str, int]):
    """The ids of a file, and the place of each; read once, then only what was added."""

    def __init__(self, filename: str) -> None:
        self._filename = filename
        self.names: list[str] = []
        self._places: dict[str, int] = {}

    def extend(self, names: Iterable[str]) -> None:
        """Take note of new ids.

        Raises
        ------
        FileFormatError
            If one is there twice.
        """
        for name in names:
            if name in self._places:
                raise FileFormatError(f"{self._filename} has the id {name!r} twice: it cannot tell which is meant")
            self._places[name] = len(self.names)
            self.names.append(name)

    def __getitem__(self, source: Any) -> int:
        try:
            return self._places[checked_id(source)]
        except KeyError:
            raise UnknownIdError(f"{self._filename} has no source {source!r}{_hint(source, self.names)}") from None

    def find(self, source: str) -> int | None:
        """Return the place of a source; None if it is not there."""
        return self._places.get(source)

    def __contains__(self, source: object) -> bool:
        return source in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __repr__(self) -> str:
        return f"<index of {len(self)} sources of {self._filename}>"

    def __len__(self) -> int:
        return len(self._places)


def _hint(source: Any, names: list[str]) -> str:
    import difflib

    close = difflib.get_close_matches(str(source), names[:10_000], 1)
    return f"; did you mean {close[0]!r}?" if close else f" among its {len(names)}"


class Regions:
    """The rows that the arrays of a feature take, by the place of their source; each reference is resolved once."""

    def __init__(self) -> None:
        self._starts = np.empty(0, np.int64)
        self._stops = np.empty(0, np.int64)
        self._lock = threading.Lock()

    def one(self, dataset: Any, refs: Any, place: int) -> Rows | None:
        """Return the first row of the array of a source and the one behind its last; None if it has none."""
        self._grow(place + 1)
        if self._starts[place] == UNKNOWN:
            there = refs is not None and place < len(refs)
            self.put(place, next(rows_of(dataset, [refs[place]])) if there else None)
        start = int(self._starts[place])
        return None if start == NONE else (start, int(self._stops[place]))

    def all(self, dataset: Any, refs: Any, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the same for the first `count` sources, in two arrays; -1 where a source has none."""
        self._grow(count)
        unknown = np.flatnonzero(self._starts[:count] == UNKNOWN)
        if len(unknown):
            there = [] if refs is None else refs[: int(unknown[-1]) + 1].tolist()
            rows = rows_of(dataset, (there[place] if place < len(there) else None for place in unknown.tolist()))
            bounds = np.array([(NONE, NONE) if found is None else found for found in rows], np.int64)
            with self._lock:
                self._starts[unknown], self._stops[unknown] = bounds.T
        return self._starts[:count].copy(), self._stops[:count].copy()

    def put(self, place: int, rows: Rows | None) -> None:
        """Take note of the rows of a source."""
        self._grow(place + 1)
        with self._lock:
            self._stops[place], self._starts[place] = (NONE, NONE) if rows is None else rows[::-1]

    def _grow(self, count: int) -> None:
        with self._lock:
            more = count - len(self._starts)
            if more > 0:
                room = np.full(max(more, len(self._starts)), UNKNOWN, np.int64)
                self._stops = np.concatenate([self._stops, room])
                self._starts = np.concatenate([self._starts, room])
