"""The contract of a record reader: sequences by index, their lengths at once, and batches of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._indices import Indices, checked_indices, integer_array
from batchup._numbers import whole_number
from batchup.columns import Ragged, SequenceColumn
from batchup.columns.padding import Padding
from batchup.columns.rectangles import MaskColumn
from batchup.data_source import ArrayDataSource
from batchup.errors import IndexRangeError, InvalidTypeError, InvalidValueError
from batchup.sampling import AbstractSampler, BucketSampler

BUCKETS = 50


class RecordReader(ABC):
    """Records by index: each a sequence, or, if there are fields, a dict with one array per field.

    A reader of your own provides `indexes`, `length` and `retrieve`; the rest follows, record by record. Use it as a
    context manager, or call `close`.

    Parameters
    ----------
    fields : iterable of str, optional
        The names of what a record is made of; None if it is one array.
    sequence_field : str, optional
        The field whose length is that of the record.

    Raises
    ------
    ValueError
        If one of both is given without the other, or `sequence_field` is none of the fields.

    Examples
    --------
    >>> from batchup.sequences import InMemoryReader
    >>> reader = InMemoryReader([np.array([5, 6, 7]), np.array([8])])
    >>> reader.num_records(), reader.length(0), reader.retrieve(1)
    (2, 3, array([8]))
    """

    def __init__(self, fields: Iterable[str] | None = None, sequence_field: str | None = None) -> None:
        self.fields, self.sequence_field = checked_fields(fields, sequence_field)
        self._columns: dict[str | None, SequenceColumn] | None = None
        self._sorted_indexes: tuple[NDArray[np.int64], NDArray[np.intp]] | None = None  # and their places

    @abstractmethod
    def indexes(self) -> Iterable[int]:
        """Return the indexes of the records, in order."""

    @abstractmethod
    def length(self, index: int) -> int:
        """Return the length of the record at an index."""

    @abstractmethod
    def retrieve(self, index: int) -> Any:
        """Return the record at an index: an array, or a dict of arrays if there are fields.

        Raises
        ------
        IndexRangeError
            If there is no such record.
        """

    def indexes_and_lengths(self) -> Iterable[tuple[int, int]]:
        """Return the index and the length of each record, in order."""
        return ((index, self.length(index)) for index in self.indexes())

    def num_records(self) -> int:
        """Return the number of records."""
        return sum(1 for _ in self.indexes())

    def metadata(self, metadata_key: str) -> str | None:
        """Return what was stored under a key with the records; None if there is nothing."""
        return None

    def metadata_keys(self) -> list[str]:
        """Return under which keys `metadata` has something."""
        return []

    def close(self) -> None:  # noqa: B027  most have nothing to do
        """Let go of what is open."""

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The lengths of all records, in the order of `indexes`."""
        return np.fromiter((length for _, length in self.indexes_and_lengths()), np.int64)

    @property
    def columns(self) -> dict[str | None, SequenceColumn]:
        """The sequences as columns: of each field by its name, or of the records, under None, if there are no fields.

        Their numbers begin with 0, in the order of `indexes`.
        """
        if self._columns is None:
            self._columns = self._make_columns()
        return self._columns

    def gather(self, indexes: Any) -> Any:
        """Return the records at some indexes, read together.

        Parameters
        ----------
        indexes : array-like of int, shape (n,)
            In any order, repeated at will.

        Returns
        -------
        Ragged, or dict of Ragged if there are fields
        """
        places = self._places(indexes)
        columns = {field: column.gather(places) for field, column in self.columns.items()}
        return columns[None] if self.fields is None else columns

    def data_source(
        self,
        max_tokens: int | None = None,
        num_buckets: int | None = None,
        bucket_edges: Any = None,
        *,
        max_length: int | None = None,
        padded: bool = True,
        value: Any = 0,
        side: str = "right",
        pad_to: int = 1,
        to: int | None = None,
        beside: str | None = "lengths",
        indices: Any = None,
        sampler: AbstractSampler | None = None,
        include_indices: bool = False,
    ) -> ArrayDataSource:
        """Return a data source over the records, in padded batches of records of like length.

        Each record comes once per epoch. The batch size that an iterator is asked for caps the records in a batch.

        Parameters
        ----------
        max_tokens : int, optional
            What the longest record of a batch, with its padding, times their number, may come to.
        num_buckets, bucket_edges
            As for `BucketSampler`: 50 by default.
        max_length : int, optional
            Leave longer records out.
        padded : bool, default True
            Whether batches are rectangles; otherwise they are `Ragged`.
        value, side, pad_to, to
            As for `Ragged.pad`; each may be a dict with something for each field.
        beside : {'lengths', 'mask', None}, default 'lengths'
            What comes with a padded batch: the lengths of the records; or which places of the rectangle (that of the
            `sequence_field`) hold an element.
        indices : array-like of int, optional
            Draw from these records only: their places in the order of `indexes`.
        sampler : AbstractSampler, optional
            Decides what is drawn, in place of the buckets.
        include_indices : bool, default False
            Whether the places of the records come first in every batch.

        Returns
        -------
        ArrayDataSource
            Whose batches are tuples (records, and what is `beside` them); or, if there are fields, dicts, with
            ``'lengths'`` or ``'mask'`` as a further key.

        Raises
        ------
        ValueError
            If `max_tokens` is less than the longest record, naming it, or an argument cannot be used.

        Examples
        --------
        >>> from batchup.sequences import InMemoryReader
        >>> reader = InMemoryReader([np.arange(1, 1 + n) for n in (3, 1, 2, 3)])
        >>> for tokens, lengths in reader.data_source(max_tokens=6).batch_iterator(batch_size=10, shuffle=1, epoch=0):
        ...     print(tokens.tolist(), lengths.tolist())
        [[1, 2, 3], [1, 2, 3]] [3, 3]
        [[1, 0], [1, 2]] [1, 2]
        """
        if beside not in (None, "lengths", "mask"):
            raise InvalidValueError(f"beside must be 'lengths', 'mask' or None, got {beside!r}")
        if not padded and (value, side, pad_to, to) != (0, "right", 1, None):
            raise InvalidTypeError("padded=False leaves nothing to pad: leave out value, side, pad_to and to")
        lengths = self.lengths
        if sampler is None:
            widths = self._widths(lengths, pad_to=pad_to, to=to) if padded else lengths
            drawn = _short_enough(lengths, max_length, indices)
            sampler = BucketSampler(
                widths, max_tokens, BUCKETS if num_buckets is None else num_buckets, bucket_edges, drawn
            )
        elif any(given is not None for given in (max_tokens, num_buckets, bucket_edges, max_length, indices)):
            raise InvalidTypeError("a sampler decides what is drawn: leave out what says which records, and how many")
        columns: dict[Any, Any] = dict(self.columns)
        if padded:
            columns = self._padded(value=value, side=side, pad_to=pad_to, to=to)
        if padded and beside is not None:
            if beside in columns:
                raise InvalidValueError(f"a field is called {beside!r} already: pass beside=None, or another")
            columns[beside] = lengths if beside == "lengths" else self._masks(side=side, pad_to=pad_to, to=to)
        data = list(columns.values()) if self.fields is None else columns
        return ArrayDataSource(data, sampler=sampler, include_indices=include_indices)

    def __len__(self) -> int:
        return self.num_records()

    def __iter__(self) -> Iterator[Any]:
        """Yield the records, in order."""
        return (self.retrieve(index) for index in self.indexes())

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _make_columns(self) -> dict[str | None, SequenceColumn]:
        names: list[str | None] = [None] if self.fields is None else list(self.fields)
        return {name: RetrievedColumn(self, name) for name in names}

    def _places(self, indexes: Any) -> NDArray[np.intp]:
        """Return the places of records in the order of `indexes`."""
        wanted = integer_array(np.atleast_1d(indexes), "indexes")
        if self._sorted_indexes is None:
            known = np.fromiter(self.indexes(), np.int64)
            order = np.argsort(known, kind="stable")
            self._sorted_indexes = known[order], order
        known, order = self._sorted_indexes
        found = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
        missing = wanted[known[found] != wanted] if len(known) else wanted
        if len(missing):
            raise IndexRangeError(f"there is no record {missing[0]}: there are {len(known)}")
        return order[found]

    def _widths(self, lengths: NDArray[np.int64], **options: Any) -> NDArray[Any]:
        """Return how many places each record takes in a padded batch."""
        return Padding(**self._of_field(self.sequence_field, options)).widths(lengths)

    def _padded(self, **options: Any) -> dict[Any, Any]:
        """Return the columns as rectangles."""
        return {field: column.padded(**self._of_field(field, options)) for field, column in self.columns.items()}

    def _masks(self, **options: Any) -> MaskColumn:
        """Return which places of the rectangles of the sequence hold an element."""
        return self.columns[self.sequence_field].masks(**self._of_field(self.sequence_field, options))

    def _of_field(self, field: str | None, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return what options say for a field."""
        chosen = {}
        for name, option in options.items():
            if isinstance(option, Mapping):
                if self.fields is None or set(option) != set(self.fields):
                    wanted = "one value, since there are no fields" if self.fields is None else f"fields {self.fields}"
                    raise InvalidValueError(f"{name}: expected {wanted}, got {sorted(option)}")
                option = option[field]
            chosen[name] = option
        return chosen


class RetrievedColumn(SequenceColumn):
    """The sequences of a reader that gives them one by one."""

    def __init__(self, reader: RecordReader, field: str | None) -> None:
        self._reader = reader
        self._field = field
        self._indexes = np.fromiter(reader.indexes(), np.int64)
        lengths = (length for _, length in reader.indexes_and_lengths())
        filled = next((place for place, length in enumerate(lengths) if length), 0)  # a blank one may be of any dtype
        first = self._read(filled) if len(self._indexes) else np.empty(0)
        self._dtype, self._inner_shape = first.dtype, first.shape[1:]

    @property
    def resident(self) -> bool:
        return False

    def __len__(self) -> int:
        return len(self._indexes)

    def lent(self, indices: Indices) -> Ragged:
        places = np.arange(len(self))[indices].tolist()
        sequences = [self._read(place) for place in places]
        empty = np.empty((0, *self._inner_shape), self._dtype)
        of_all = Ragged.of([sequence if len(sequence) else empty for sequence in [empty, *sequences]])
        return Ragged(of_all.values, of_all.offsets[1:])

    def lengths_at(self, indices: Indices) -> NDArray[Any]:
        if self._field == self._reader.sequence_field:
            return np.array([self._reader.length(index) for index in self._indexes[indices].tolist()], np.int64)
        return np.array([len(self._read(place)) for place in np.arange(len(self))[indices].tolist()], np.int64)

    def _read(self, place: int) -> NDArray[Any]:
        record = self._reader.retrieve(int(self._indexes[place]))
        return np.asarray(record if self._field is None else record[self._field])


def _short_enough(lengths: NDArray[np.int64], max_length: int | None, indices: Any) -> Any:
    """Return which records to draw from: those of some, if given, that are not too long; None for all."""
    if max_length is None:
        return indices
    whole_number(max_length, "max_length")
    chosen = np.arange(len(lengths)) if indices is None else checked_indices(indices, len(lengths))
    return chosen[lengths[chosen] <= max_length]


def checked_fields(fields: Iterable[str] | None, sequence_field: str | None) -> tuple[list[str] | None, str | None]:
    """Return the names of fields as a list, and that of the sequence among them; an error if they do not fit."""
    if isinstance(fields, str):
        raise InvalidTypeError(f"fields must be several names, got the one string {fields!r}")
    names = None if fields is None else list(fields)
    if not names:
        if sequence_field is not None:
            raise InvalidValueError(f"sequence_field={sequence_field!r} is given without fields")
        return None, None
    if not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
        raise InvalidValueError(f"fields must be different names, got {names}")
    if sequence_field not in names:
        raise InvalidValueError(
            f"sequence_field must be one of the fields {names}, got {sequence_field!r}: it tells which length counts"
        )
    return names, sequence_field


def check_index(index: Any, first: int, count: int) -> int:
    """Return an index as an int, unless there is no such record."""
    if not isinstance(index, (int, np.integer)) or isinstance(index, bool):
        raise InvalidTypeError(f"a record is read by one int, got {index!r}; gather reads many")
    if not first <= index < first + count:
        there = f"they run from {first} to {first + count - 1}" if count else "there is none"
        raise IndexRangeError(f"there is no record {index}: {there}")
    return int(index)
