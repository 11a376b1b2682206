"""Sequences of several files as one column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._indices import Indices
from batchup.columns import Ragged, SequenceColumn
from batchup.errors import FileFormatError


class JoinedColumn(SequenceColumn):
    """The sequences of several columns, one behind the other."""

    def __init__(self, parts: Sequence[SequenceColumn]) -> None:
        self._dtype, self._inner_shape = parts[0].dtype, parts[0].inner_shape
        self._parts = list(parts)
        self._ends = np.cumsum([len(part) for part in parts])

    @property
    def resident(self) -> bool:
        return all(part.resident for part in self._parts)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def lent(self, indices: Indices) -> Ragged:
        places, number, present = self._where(indices)
        pieces = [self._parts[part].lent(places[number == part]) for part in present]
        return pieces[0] if len(pieces) == 1 else Ragged.joined(pieces).lent(_back(number))

    def lengths_at(self, indices: Indices) -> NDArray[Any]:
        places, number, present = self._where(indices)
        pieces = [self._parts[part].lengths_at(places[number == part]) for part in present]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)[_back(number)]

    def expect(self, indices: Indices) -> bool:
        places, number, present = self._where(indices)
        return True in [self._parts[part].expect(places[number == part]) for part in present]

    def _where(self, indices: Indices) -> tuple[NDArray[np.intp], NDArray[np.intp], list[int]]:
        """Return the place of each index in its part, the number of that part, and which parts there are."""
        places = np.arange(indices.start, indices.stop) if isinstance(indices, slice) else indices
        number = np.searchsorted(self._ends, places, "right")
        begins = np.concatenate([[0], self._ends[:-1]])
        return places - begins[number], number, np.unique(number).tolist() or [0]


def joined(parts: Sequence[tuple[str, SequenceColumn]]) -> SequenceColumn:
    """Return the columns of files as one; those without elements may be of any kind.

    Raises
    ------
    FileFormatError
        If their elements differ.
    """
    if len(parts) == 1:
        return parts[0][1]
    first_name, first = next((part for part in parts if part[1].lengths.any()), parts[0])
    columns = []
    for name, column in parts:
        if (column.dtype, column.inner_shape) != (first.dtype, first.inner_shape):
            if column.lengths.any():
                raise FileFormatError(
                    f"{name} holds elements of {column.dtype} {column.inner_shape}, {first_name} of {first.dtype} "
                    f"{first.inner_shape}: they cannot be read together"
                )
            column = Ragged(np.empty((0, *first.inner_shape), first.dtype), np.zeros(len(column) + 1, np.int64))
        columns.append(column)
    return JoinedColumn(columns)


def _back(number: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return where, in what was sorted by part, each sample of a batch is."""
    order = np.argsort(number, kind="stable")
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    return places
