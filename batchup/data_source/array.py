"""Batches from arrays: one array-like per column, gathered whole batches at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from batchup._indices import Indices, checked_indices
from batchup.columns import Column, as_column
from batchup.columns.array_likes import LaidOutColumn
from batchup.data_source.batches import merged, take_sample
from batchup.data_source.buffers import Memory
from batchup.data_source.passes import AHEAD, Pass
from batchup.data_source.random_access import RandomAccessDataSource
from batchup.data_source.reader import ColumnReader
from batchup.data_source.tolerance import retried
from batchup.errors import InvalidTypeError, InvalidValueError, LengthError
from batchup.sampling import AbstractSampler, StandardSampler
from batchup.sampling.chunks import IndexChunk
from batchup.sampling.streams import IndexStream

INDEX_BYTES = 32  # that a sample of a window takes beside its own, while the window is read
FOREIGN = 64  # batches in a window, where it is told to array-likes of the user's what will soon be read


class ArrayDataSource(RandomAccessDataSource):
    """A source over arrays of equal length: NumPy arrays, memory maps, lists of arrays, anything array-like.

    Parameters
    ----------
    data : list or dict of array-like
        The columns. From a list, batches are tuples of arrays; from a dict, dicts of arrays. An array-like has
        `__len__`, and `__getitem__` for a 1-D integer array or at least for an int; it may have
        ``gather(indices, out=None)``.
    indices : array-like of int, optional
        Draw from these samples only; negative ones count from the end.
    repeats : int, default 1
        Number of repetitions in an epoch, -1 for endless ones.
    sampler : AbstractSampler, optional
        Decides what is drawn, in place of `indices` and `repeats`.
    include_indices : bool, default False
        Whether the sample indices come first in every batch (in a dict: under ``'index'``).

    Raises
    ------
    TypeError
        If `data` is not a list or a dict, or holds something that is not array-like.
    ValueError
        If there are no columns, their lengths differ, or the sampler does not fit them.

    Examples
    --------
    >>> X, y = np.arange(10).reshape(5, 2), np.array([0, 1, 0, 1, 1])
    >>> for batch_X, batch_y in ArrayDataSource([X, y]).batch_iterator(batch_size=3):
    ...     print(batch_X.tolist(), batch_y.tolist())
    [[0, 1], [2, 3], [4, 5]] [0, 1, 0]
    [[6, 7], [8, 9]] [1, 1]

    >>> next(ArrayDataSource({'label': y}).batch_iterator(3, shuffle=1))
    {'label': array([1, 1, 0])}
    """

    def __init__(
        self,
        data: list[Any] | dict[str, Any],
        indices: Any = None,
        repeats: int = 1,
        sampler: AbstractSampler | None = None,
        include_indices: bool = False,
    ) -> None:
        self.data = data
        self._column_names = _checked_names(data, include_indices)
        self._take_columns([as_column(column) for column in _members(data)])
        super().__init__(
            _common_length(self._labels(), self._gathered_columns), indices, repeats, sampler, include_indices
        )

    def samples_by_indices_nomapping(self, indices: Any) -> Any:
        self._refresh()
        length = min(self._column_lengths())
        if isinstance(indices, (int, np.integer)):
            return take_sample(self.samples_by_indices_nomapping([indices]), 0)
        if isinstance(indices, slice):
            indices = np.arange(*indices.indices(length))
        return next(self._cut(self._gather(checked_indices(indices, length), copy=True), 1))

    def _index_batches(self, walk: Pass) -> IndexStream:
        self._refresh()
        self._check_columns(self._gathered_columns)
        return super()._index_batches(walk)

    def _read_chunk(self, chunk: IndexChunk, walk: Pass) -> Iterator[Any]:
        if type(self).samples_by_indices_nomapping is not ArrayDataSource.samples_by_indices_nomapping:
            return super()._read_chunk(chunk, walk)
        length = self._source_length if self._indices_checked else min(self._column_lengths())
        indices = chunk.indices if self._indices_checked else checked_indices(chunk.indices, length)
        viewed = isinstance(indices, slice) and not walk.copy
        if chunk.count > 1 and not viewed and (self._wants_window or self._row_bytes * len(chunk) > AHEAD):
            return self._one_by_one(indices, len(chunk) // chunk.count, walk)
        if isinstance(indices, slice) and viewed and chunk.count > 1 and not self._any_slice_viewed:
            return self._viewed(indices, len(chunk) // chunk.count, walk)
        try:
            columns = self._gather(indices, walk.copy, walk.memory)
        except Exception as error:
            if not walk.policy.tolerant:
                raise
            parts = retried(lambda rows: self._gather(rows, True), checked_indices(chunk.array(), length), error)
            columns = self._joined(parts, checked_indices(chunk.array(), length))
        clock = walk.clock
        clock.samples += len(columns[0])
        for column in columns:
            clock.bytes += getattr(column, "nbytes", 0)
        return self._cut(columns, chunk.count)

    def _column_lengths(self) -> tuple[int, ...]:
        return tuple([len(column) for column in self._gathered_columns])

    def _batch_keys(self) -> Any:
        return None if self._column_names is None else tuple(self._column_names)

    def _expect(self, chunk: IndexChunk) -> bool:
        if not self._indices_checked:
            return False
        return True in [column.expect(chunk.indices) for column in self._by_row_size]

    def _resident(self) -> bool:
        return all(column.resident for column in self._gathered_columns)

    def _by_row(self) -> bool:
        own = type(self).samples_by_indices_nomapping is ArrayDataSource.samples_by_indices_nomapping
        return own and not any(isinstance(column, LaidOutColumn) for column in self._gathered_columns)

    def _sample_bytes(self, walk: Pass) -> int | None:
        if not all(column.cheap for column in self._gathered_columns):
            return None
        if walk.order is None and not walk.copy and isinstance(self.sampler, StandardSampler):
            return 0  # views
        return self._row_bytes

    def _window(self, walk: Pass) -> int:
        if not self._wants_window or (walk.order is None and isinstance(self.sampler, StandardSampler)):
            return 0
        own = type(self).samples_by_indices_nomapping is ArrayDataSource.samples_by_indices_nomapping
        columns = self._gathered_columns
        size = max(column.window for column in columns) // ((self._row_bytes + INDEX_BYTES) * walk.batch_size)
        most = size if all(column.cheap or column.window for column in columns) else min(size, FOREIGN)
        return most if own and most > 1 else 0

    def _gather(self, indices: Indices, copy: bool, memory: Memory | None = None) -> list[Any]:
        """Return the samples of every column at `indices`, which are known to be good."""
        if isinstance(indices, slice) and not copy:
            columns = [column.view(indices) for column in self._gathered_columns]
        else:
            samples = indices.stop - indices.start if isinstance(indices, slice) else len(indices)
            columns = [reader.read(indices, samples, memory) for reader in self._column_readers]
        if self.include_indices:
            columns.insert(0, IndexChunk(indices).array())
        return columns

    def _joined(self, parts: list[list[Any]], indices: Indices) -> list[Any]:
        """Return the columns of samples that have been read one by one; rectangles are as wide as all of them need."""
        rows, columns = np.arange(len(parts)), []
        readers = [None, *self._column_readers] if self.include_indices else self._column_readers
        for reader, column in zip(readers, zip(*parts, strict=True), strict=True):
            laid_out = reader is not None and isinstance(reader.column, LaidOutColumn)
            columns.append(reader.read(indices, len(parts)) if reader and laid_out else merged(column, rows))
        return columns

    def _one_by_one(self, indices: Indices, size: int, walk: Pass) -> Iterator[Any]:
        """Yield the batches at `indices`, each gathered when it is asked for."""
        clock, memory = walk.clock, walk.memory
        length = indices.stop - indices.start if isinstance(indices, slice) else len(indices)
        clock.samples += length
        clock.bytes += length * self._row_bytes
        columns = [reader.batches(indices, size, memory) for reader in self._column_readers]
        for start in range(0, length, size):
            batch = [next(column) for column in columns]
            if self.include_indices:
                batch.insert(0, IndexChunk(indices).cut(start, start + size).array())
            made = tuple(batch) if self._column_names is None else self._as_dict(tuple(batch))
            del batch
            yield made
            del made

    def _viewed(self, indices: slice, size: int, walk: Pass) -> Iterator[Any]:
        """Yield the batches of a slice that can be viewed batch by batch only."""
        for start in range(indices.start, indices.stop, size):
            columns = self._gather(slice(start, start + size), copy=False)
            walk.clock.samples += size
            walk.clock.bytes += sum(column.nbytes for column in columns)
            yield from self._cut(columns, 1)

    def _cut(self, columns: list[Any], count: int) -> Iterator[Any]:
        """Return the `count` batches that lie one behind the other in `columns`."""
        batches: Iterator[Any]
        if count == 1:
            batches = iter((tuple(columns),))
        else:
            batches = zip(*[c.reshape(count, len(c) // count, *c.shape[1:]) for c in columns], strict=True)
        return batches if self._column_names is None else map(self._as_dict, batches)

    def _as_dict(self, batch: tuple[Any, ...]) -> dict[str, Any]:
        assert self._column_names is not None
        return dict(zip(self._column_names, batch, strict=True))

    def _take_columns(self, columns: list[Column]) -> None:
        self._taken_from = _members(self.data)
        self._gathered_columns = columns
        self._column_readers = [ColumnReader(column) for column in columns]
        self._by_row_size = sorted(columns, key=_row_bytes)  # large rows, asked for first, would hold up the small ones
        self._any_slice_viewed = all(column.views for column in columns)
        self._row_bytes = sum(map(_row_bytes, columns))
        self._wants_window = any(column.window for column in columns)

    def _refresh(self) -> None:
        """Take the columns anew if the user put others into `data`."""
        members = _members(self.data)
        same = len(members) == len(self._taken_from)
        if not same or any(a is not b for a, b in zip(members, self._taken_from, strict=True)):
            columns = [as_column(column) for column in members]
            self._check_columns(columns)  # before they are read from: other passes may be under way
            self._take_columns(columns)

    def _check_columns(self, columns: list[Column]) -> None:
        length = _common_length(self._labels(), columns)
        if length < self._source_length:
            raise LengthError(f"the data shrank from {self._source_length} to {length} samples")

    def _labels(self) -> list[str]:
        keys = self.data if isinstance(self.data, dict) else range(len(self.data))
        return [f"data[{key!r}]" for key in keys]

    def __getstate__(self) -> dict[str, Any]:
        return {
            name: value
            for name, value in self.__dict__.items()
            if name not in ("_gathered_columns", "_by_row_size", "_column_readers", "_taken_from")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._take_columns([as_column(column) for column in _members(self.data)])


def _checked_names(data: Any, include_indices: bool) -> list[str] | None:
    """Return the keys of the batches, None if batches are tuples."""
    if not isinstance(data, (list, dict)):
        raise InvalidTypeError(
            f"data must be a list (or a dict) of array-likes, got {type(data).__name__}; for one array: [array]"
        )
    if not data:
        raise InvalidValueError("data must hold at least one array-like, got none")
    if isinstance(data, list):
        return None
    if not all(isinstance(name, str) for name in data):
        raise InvalidTypeError(f"the keys of data must be strings, got {list(data)}")
    if include_indices and "index" in data:
        raise InvalidValueError("with include_indices the key 'index' is taken: rename that column")
    return ["index", *data] if include_indices else list(data)


def _row_bytes(column: Column) -> int:
    return math.prod(column.sample_shape or ()) * (column.dtype or np.dtype(float)).itemsize


def _members(data: list[Any] | dict[str, Any]) -> list[Any]:
    return list(data.values() if isinstance(data, dict) else data)


def _common_length(labels: list[str], columns: list[Column]) -> int:
    length = len(columns[0])
    for label, column in zip(labels, columns, strict=True):
        if len(column) != length:
            raise LengthError(
                f"all columns must have the same number of samples: {labels[0]} has {length}, {label} has {len(column)}"
            )
    return length
