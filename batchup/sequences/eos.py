"""A reader that adds an end to each sequence of another one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._indices import Indices
from batchup.columns import Ragged, SequenceColumn
from batchup.columns.padding import Padding
from batchup.sequences.reader import RecordReader


class EosAppender(RecordReader):
    """Read the records of another reader with one more element, the end, at each sequence.

    Parameters
    ----------
    reader : RecordReader
        The other one. Closing this one closes it.
    eos : scalar or array-like
        The element; it must be one that the sequences can hold, and of the shape of theirs.

    Raises
    ------
    ValueError
        If the sequences cannot hold it; when they are first read.

    Examples
    --------
    >>> from batchup.sequences import EosAppender, InMemoryReader
    >>> reader = EosAppender(InMemoryReader([[5, 6], [7]]), eos=1)
    >>> reader.retrieve(0), reader.length(1)
    (array([5, 6, 1]), 2)
    """

    def __init__(self, reader: RecordReader, eos: Any) -> None:
        super().__init__(reader.fields, reader.sequence_field)
        self.wrapped = reader
        self.eos = eos

    def indexes(self) -> Iterable[int]:
        return self.wrapped.indexes()

    def length(self, index: int) -> int:
        return self.wrapped.length(index) + 1

    def indexes_and_lengths(self) -> Iterator[tuple[int, int]]:
        return ((index, length + 1) for index, length in self.wrapped.indexes_and_lengths())

    @property
    def lengths(self) -> NDArray[np.int64]:
        return self.wrapped.lengths + 1

    def retrieve(self, index: int) -> Any:
        record, dtype = self.wrapped.retrieve(index), self.columns[self.sequence_field].dtype
        if self.fields is None:
            return _with_end(record, self.eos, dtype)
        ended = _with_end(record[self.sequence_field], self.eos, dtype)
        return {**record, self.sequence_field: ended}

    def num_records(self) -> int:
        return self.wrapped.num_records()

    def metadata(self, metadata_key: str) -> str | None:
        return self.wrapped.metadata(metadata_key)

    def metadata_keys(self) -> list[str]:
        return self.wrapped.metadata_keys()

    def close(self) -> None:
        """Close the other reader."""
        self.wrapped.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.wrapped!r}, {self.eos!r})"

    def _make_columns(self) -> dict[str | None, SequenceColumn]:
        columns = dict(self.wrapped.columns)
        columns[self.sequence_field] = EndedColumn(columns[self.sequence_field], self.eos)
        return columns

    def _places(self, indexes: Any) -> NDArray[np.intp]:
        return self.wrapped._places(indexes)


class EndedColumn(SequenceColumn):
    """The sequences of another column with one more element at each."""

    def __init__(self, column: SequenceColumn, end: Any) -> None:
        Padding(end).check(column.dtype, column.inner_shape)
        self._dtype, self._inner_shape = column.dtype, column.inner_shape
        self._column = column
        self._end = end

    @property
    def resident(self) -> bool:
        return self._column.resident

    def __len__(self) -> int:
        return len(self._column)

    def lent(self, indices: Indices) -> Ragged:
        ragged = self._column.lent(indices)
        elements, offsets = ragged.values, ragged.offsets
        values = np.empty((len(elements) + len(ragged), *self.inner_shape), self.dtype)
        ends = offsets[1:] + np.arange(len(ragged))
        kept = np.ones(len(values), bool)
        kept[ends] = False
        values[kept] = elements
        values[ends] = self._end
        return Ragged(values, offsets + np.arange(len(offsets)))

    def lengths_at(self, indices: Indices) -> NDArray[Any]:
        return self._column.lengths_at(indices) + 1

    def expect(self, indices: Indices) -> bool:
        return self._column.expect(indices)


def _with_end(sequence: Any, end: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    sequence = np.asarray(sequence)
    ended = np.empty((len(sequence) + 1, *sequence.shape[1:]), dtype)
    ended[:-1], ended[-1] = sequence, end
    return ended
