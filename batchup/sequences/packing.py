"""Several sequences in each row of a fixed length, so that next to nothing is padding."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left, insort
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._indices import Indices
from batchup._numbers import whole_number
from batchup.columns import Ragged, SequenceColumn
from batchup.columns.abstract import samples_at
from batchup.columns.padding import Padding
from batchup.data_source import ArrayDataSource
from batchup.errors import InvalidTypeError, InvalidValueError, LengthError
from batchup.sampling.order import Key

PACKED = ("segment_ids", "positions")


class Packs:
    """Sequences put together into rows of one length; see `pack`.

    Attributes
    ----------
    max_length : int
        Elements in a row.
    members : Ragged of int
        The sequences of each row, by number, in the order in which they stand there.
    columns : dict of RowColumn
        The sequences by the name of their field, or under None; and ``'segment_ids'`` and ``'positions'``.
    """

    def __init__(
        self, sequences: Mapping[str | None, SequenceColumn], max_length: int, members: Ragged, value: Mapping[Any, Any]
    ) -> None:
        self.max_length = max_length
        self.members = members
        self.columns: dict[str | None, RowColumn] = {
            name: PackedColumn(column, members, max_length, value[name]) for name, column in sequences.items()
        }
        lengths = next(iter(sequences.values())).lengths
        self._elements = int(lengths.sum())
        for name in PACKED:
            self.columns[name] = NumberColumn(lengths, members, max_length, name)

    def __len__(self) -> int:
        return len(self.members)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self)} rows of {self.max_length}, {self.fill:.2%} full>"

    @property
    def fill(self) -> float:
        """Which share of the places in the rows hold an element; 1.0 if there are no rows."""
        return self._elements / (len(self) * self.max_length) if len(self) else 1.0

    def data_source(self, **kwargs: Any) -> ArrayDataSource:
        """Return a data source over the rows.

        Parameters
        ----------
        **kwargs
            As for `ArrayDataSource`.

        Returns
        -------
        ArrayDataSource
            Whose batches are tuples (elements, segment ids, positions), or, of sequences with names, dicts.
        """
        if None in self.columns:
            return ArrayDataSource(list(self.columns.values()), **kwargs)
        return ArrayDataSource(dict(self.columns), **kwargs)  # type: ignore[arg-type]


def pack(sequences: Any, max_length: int, value: Any = 0, seed: int | None = None) -> Packs:
    """Put sequences together into rows of `max_length`, each whole, and as many as fit.

    Each sequence goes, longest first, into the row with the least room that suffices (best-fit decreasing: D. S.
    Johnson, "Near-optimal bin packing algorithms", 1973). Sequences without elements are left out.

    Parameters
    ----------
    sequences : SequenceColumn, list of array-like, RecordReader, or dict of the first two
        Those of a dict belong together, and have the same lengths.
    max_length : int
        Elements in a row.
    value : scalar, default 0
        What fills the rest of a row; may be a dict.
    seed : int, optional
        Which sequences share a row, among those of the same lengths, depends on it; without it, on their numbers.

    Returns
    -------
    Packs
        Rows with segment ids (1 for the first sequence of a row, 0 for what is padding) and positions (of an element
        in its sequence, from 0).

    Raises
    ------
    ValueError
        If a sequence is longer than `max_length`, naming it; if the lengths in a dict differ.

    Examples
    --------
    >>> packs = pack([[1, 1, 1], [2, 2], [3, 3, 3, 3], [4]], max_length=5)
    >>> for tokens, segment_ids, positions in packs.data_source().batch_iterator(batch_size=1):
    ...     print(tokens.tolist(), segment_ids.tolist(), positions.tolist())
    [[3, 3, 3, 3, 4]] [[1, 1, 1, 1, 2]] [[0, 1, 2, 3, 0]]
    [[1, 1, 1, 2, 2]] [[1, 1, 1, 2, 2]] [[0, 1, 2, 0, 1]]
    """
    whole_number(max_length, "max_length", 1)
    columns = _columns(sequences)
    (name, first), *others = columns.items()
    lengths = first.lengths
    for other, column in others:
        differ = (
            np.flatnonzero(lengths != column.lengths) if len(column) == len(first) else [min(len(first), len(column))]
        )
        if len(differ):
            raise LengthError(
                f"fields must have the same lengths, {name!r} and {other!r} differ at sequence {differ[0]}"
            )
    members = best_fit(lengths, max_length, seed)
    value = value if isinstance(value, Mapping) else dict.fromkeys(columns, value)
    if value.keys() != columns.keys():
        raise InvalidValueError(f"value: expected the fields {list(columns)}, got {list(value)}")
    return Packs(columns, max_length, members, value)


def best_fit(lengths: NDArray[np.int64], max_length: int, seed: int | None = None) -> Ragged:
    """Return the sequences of each row, by number.

    >>> best_fit(np.array([3, 2, 4, 1]), 5).tolist()
    [[2, 3], [0, 1]]
    """
    if len(lengths) and lengths.max() > max_length:
        longest = int(lengths.argmax())
        raise InvalidValueError(
            f"max_length={max_length} is less than the longest sequence: number {longest} has {lengths[longest]}"
        )
    order = np.arange(len(lengths))
    if seed is not None:
        order = Key(whole_number(seed, "seed")).generator().permutation(len(lengths))
    order = order[np.argsort(-lengths[order], kind="stable")]
    order = order[: np.count_nonzero(lengths)]
    row_of, rows = _rows(lengths[order], max_length)
    by_row = np.argsort(row_of, kind="stable")
    return Ragged(order[by_row], np.concatenate([[0], np.cumsum(np.bincount(row_of, minlength=rows))]).astype(np.int64))


def _rows(descending: NDArray[np.int64], max_length: int) -> tuple[NDArray[np.int64], int]:
    """Return the row of each sequence, given their lengths in descending order, and the number of rows.

    Sequences of one length go together, since one fills up the row that the one before it has gone into, as long as
    they fit. So there are few steps, however many sequences there are.
    """
    row_of = np.empty(len(descending), np.int64)
    room: list[int] = []  # left in rows, ascending
    rows_with: dict[int, list[NDArray[np.int64]]] = {}
    ascending = -descending
    rows = at = 0

    def leave(left: int, numbers: NDArray[np.int64]) -> None:
        if left and len(numbers):
            if left not in rows_with:
                insort(room, left)
                rows_with[left] = []
            rows_with[left].append(numbers)

    while at < len(descending):
        length = int(descending[at])
        end = int(np.searchsorted(ascending, -length, "right"))
        while at < end:
            place = bisect_left(room, length)
            if place < len(room):
                left = room.pop(place)
                numbers = np.concatenate(rows_with.pop(left))
            else:
                left = max_length
                numbers = np.arange(rows, rows - (at - end) // (left // length))
                rows += len(numbers)
            each = left // length
            used = min(len(numbers), -(-(end - at) // each))
            taken = min(end - at, used * each)
            row_of[at : at + taken] = np.repeat(numbers[:used], each)[:taken]
            in_last = taken - (used - 1) * each
            leave(left - each * length, numbers[: used - 1])
            leave(left - in_last * length, numbers[used - 1 : used])
            leave(left, numbers[used:])
            at += taken
    return row_of, rows


class RowColumn(ABC):
    """A column whose samples are rows with several sequences each."""

    def __init__(self, members: Ragged, max_length: int) -> None:
        self._members = members
        self._max_length = max_length

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, index: Any) -> Any:
        return samples_at(self, index)

    @abstractmethod
    def gather(self, indices: Indices) -> NDArray[Any]:
        """Return the rows at `indices`, which are in range."""

    def _laid_out(self, values: NDArray[Any], lengths: NDArray[np.int64], counts: NDArray[np.int64], value: Any) -> Any:
        """Return rows, from the elements of so many sequences each."""
        ends = np.concatenate([[0], np.cumsum(lengths)])
        offsets = ends[np.concatenate([[0], np.cumsum(counts)])].astype(np.int64)
        rows = Ragged(values, offsets)
        return rows.laid_out(slice(0, len(rows)), Padding(value, to=self._max_length))


class PackedColumn(RowColumn):
    """The elements of sequences, several sequences in a row."""

    def __init__(self, sequences: SequenceColumn, members: Ragged, max_length: int, value: Any) -> None:
        super().__init__(members, max_length)
        Padding(value).check(sequences.dtype, sequences.inner_shape)
        self._sequences = sequences
        self._value = value

    def gather(self, indices: Indices) -> NDArray[Any]:
        members = self._members.gather(indices)
        sequences = self._sequences.gather(np.ascontiguousarray(members.values, np.intp))
        rows: NDArray[Any] = self._laid_out(sequences.values, sequences.lengths, members.lengths, self._value)
        return rows


class NumberColumn(RowColumn):
    """Which sequence of its row each element belongs to, or where in it it stands."""

    def __init__(self, lengths: NDArray[np.int64], members: Ragged, max_length: int, what: str) -> None:
        super().__init__(members, max_length)
        self._lengths = lengths
        self._what = what

    def gather(self, indices: Indices) -> NDArray[np.int32]:
        members = self._members.gather(indices)
        lengths, counts = self._lengths[members.values], members.lengths
        first = np.repeat(np.cumsum(counts) - counts, counts)
        if self._what == "segment_ids":
            numbers = np.repeat(np.arange(1, len(lengths) + 1) - first, lengths)
        else:
            numbers = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        rows: NDArray[np.int32] = self._laid_out(numbers.astype(np.int32), lengths, counts, 0)
        return rows


def _columns(sequences: Any) -> dict[str | None, SequenceColumn]:
    """Return sequences by name, or under None."""
    columns = getattr(sequences, "columns", sequences)  # a reader
    if not isinstance(columns, Mapping):
        columns = {None: columns}
    if not columns:
        raise InvalidValueError("there must be at least one field to pack, got none")
    if any(name in PACKED for name in columns):
        raise InvalidValueError(f"fields cannot be called {PACKED}: rows bring columns of these names")
    found: dict[str | None, SequenceColumn] = {}
    for name, column in columns.items():
        if isinstance(column, (str, bytes)) or not hasattr(column, "__len__"):
            raise InvalidTypeError(f"expected sequences to pack, got {type(column).__name__}")
        found[name] = column if isinstance(column, SequenceColumn) else Ragged.of(column)
    return found
