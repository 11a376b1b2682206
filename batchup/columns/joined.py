"""Columns one behind the other, as if they were one: the rows of many files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._indices import Indices
from batchup.columns.abstract import Column, OwnColumn, samples_at
from batchup.columns.array_likes import as_column
from batchup.columns.ragged import Ragged
from batchup.errors import InvalidTypeError


def joined(columns: Sequence[Any]) -> Any:
    """Return the samples of several array-likes, one behind the other; the only one as it is.

    Raises
    ------
    InvalidTypeError
        If they differ in dtype or in the shape of a sample.

    Examples
    --------
    >>> joined([np.arange(3), np.arange(10, 12)])[[4, 0]]
    array([11,  0])
    """
    return columns[0] if len(columns) == 1 else JoinedColumn(columns)


class JoinedColumn(OwnColumn):
    """The samples of several columns, one behind the other.

    Parameters
    ----------
    columns : sequence of array-like
        At least one; all of one dtype, and of samples of one shape.
    """

    views = False

    def __init__(self, columns: Sequence[Any]) -> None:
        self._parts: list[Column] = [as_column(column) for column in columns]
        kinds = {(part.dtype, part.sample_shape) for part in self._parts}
        if len(kinds) > 1:
            shown = [f"{dtype} {shape}" for dtype, shape in sorted(kinds, key=str)]
            raise InvalidTypeError(f"columns that are to be joined must be of one dtype and shape, got {shown}")
        ((self.dtype, self.sample_shape),) = kinds
        self._ends = np.cumsum([len(part) for part in self._parts])
        self.takes_out = self.dtype is not None and all(part.takes_out for part in self._parts)
        self.cheap = all(part.cheap for part in self._parts)
        self.resident = all(part.resident for part in self._parts)
        self.window = max(part.window for part in self._parts)

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Number of samples, and shape of one; None if that is not known."""
        return None if self.sample_shape is None else (len(self), *self.sample_shape)

    def __getitem__(self, index: Any) -> Any:
        return samples_at(self, index)

    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> Any:
        places = np.arange(indices.start, indices.stop) if isinstance(indices, slice) else indices
        owners = np.searchsorted(self._ends, places, "right")
        needed = np.unique(owners)
        if len(needed) <= 1:
            owner = int(needed[0]) if len(needed) else 0
            return self._of(owner, places, out)
        belongs = [np.flatnonzero(owners == owner) for owner in needed]
        parts = (self._of(owner, places[there], None) for owner, there in zip(needed.tolist(), belongs, strict=True))
        if self.dtype is None or self.sample_shape is None:
            return _in_order(list(parts), np.concatenate(belongs))
        if out is None:
            out = np.empty((len(places), *self.sample_shape), self.dtype)
        for there, part in zip(belongs, parts, strict=True):
            out[there] = part
        return out

    def view(self, indices: slice) -> Any:
        return self.gather(indices)

    def expect(self, indices: Indices) -> bool:
        places = np.arange(indices.start, indices.stop) if isinstance(indices, slice) else indices
        owners = np.searchsorted(self._ends, places, "right")
        told = [
            part.expect(np.ascontiguousarray(places[owners == owner] - self._start(owner)))
            for owner, part in enumerate(self._parts)
            if (owners == owner).any()
        ]
        return any(told)

    def __repr__(self) -> str:
        return f"<{len(self)} samples of {len(self._parts)} columns>"

    def _start(self, owner: int) -> int:
        return int(self._ends[owner - 1]) if owner else 0

    def _of(self, owner: int, places: NDArray[np.intp], out: NDArray[Any] | None) -> Any:
        within = np.ascontiguousarray(places - self._start(owner), dtype=np.intp)
        part = self._parts[owner]
        return part.gather(within) if out is None else part.gather(within, out=out)


def _in_order(parts: list[Any], order: NDArray[np.intp]) -> Any:
    """Return the samples of parts, of which the i-th, all in a row, belongs at `order[i]`."""
    back = np.empty(len(order), np.intp)
    back[order] = np.arange(len(order))
    return Ragged.joined(parts).gather(back) if isinstance(parts[0], Ragged) else np.concatenate(parts)[back]
