"""What writers of files share: records are checked, collected, and handed on many at a time."""

from __future__ import annotations

import os
import warnings
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from batchup.columns import Ragged, SequenceColumn
from batchup.columns.ragged import element_bytes
from batchup.errors import InvalidTypeError, InvalidValueError, LengthError
from batchup.sequences.writer import RecordWriter, checked_metadata

COLLECTED = 4 * 2**20  # bytes of records that are written together


@dataclass
class Kind:
    """What the sequences of a field are made of, as far as that is known.

    Attributes
    ----------
    dtype, inner_shape
        Of an element.
    known : bool
        Whether there was an element yet.
    """

    dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype(np.float64))
    inner_shape: tuple[int, ...] = ()
    known: bool = False

    @property
    def row(self) -> int:
        """Bytes of an element."""
        return element_bytes(self.dtype, self.inner_shape)

    def checked(self, values: Any, what: str) -> NDArray[Any]:
        """Return a copy of a sequence as an array of this kind; an error if it is of another."""
        if isinstance(values, np.ma.MaskedArray):
            raise InvalidTypeError(f"{what}: a masked array would lose its mask: write the mask as a field, or fill it")
        try:
            array = np.array(values)
        except ValueError as error:
            raise InvalidValueError(f"{what}: {error}") from None
        if not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("="))
        if array.ndim == 0:
            raise InvalidTypeError(f"{what} must be an array with at least 1 dimension, got {values!r:.80}")
        if self.known and array.dtype == self.dtype and array.shape[1:] == self.inner_shape:
            return array
        if not len(array):
            return array
        if self.known:
            raise InvalidValueError(
                f"{what}: expected elements of {self.dtype} and shape {self.inner_shape}, as the records before have, "
                f"got {array.dtype} and {array.shape[1:]}"
            )
        element_bytes(array.dtype, array.shape[1:])
        if array.dtype.names is not None:
            raise InvalidTypeError(f"{what}: elements of {array.dtype} are made of several: write each as a field")
        if array.dtype.kind == "V" and array.dtype.type is not np.void:
            raise InvalidTypeError(f"{what}: NumPy itself knows no elements of {array.dtype}: view them as integers")
        return array

    def of(self, array: NDArray[Any]) -> Kind:
        """Return the kind that is known when an array has been seen; one without elements tells but what it may be."""
        if self.known or (not len(array) and (array.dtype.kind not in "biufc" or 0 in array.shape[1:])):
            return self
        return Kind(array.dtype, array.shape[1:], len(array) > 0)


@dataclass
class Waiting:
    """Sequences of a field that wait to be written: their elements in some arrays, and the length of each."""

    values: list[NDArray[Any]] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)

    def ragged(self, kind: Kind) -> Ragged:
        """Return them."""
        filled = [array for array in self.values if len(array)]
        offsets = np.concatenate([[0], np.cumsum(self.lengths)]).astype(np.int64)
        return Ragged(np.concatenate(filled) if filled else np.empty((0, *kind.inner_shape), kind.dtype), offsets)


class Sink(Protocol):
    """Where a writer leaves records: a file that is being written.

    Attributes
    ----------
    kinds : dict of Kind
        Of the records that are there already.
    fields, sequence_field, initial_index, next_index, metadata
        Of those, too; fields of None and no record if there are none.
    """

    kinds: dict[str | None, Kind]
    fields: list[str] | None
    sequence_field: str | None
    initial_index: int
    next_index: int
    metadata: dict[str, str]

    def check_elements(self, dtype: np.dtype[Any]) -> None:
        """Raise if elements of a dtype cannot be written."""

    def check_metadata(self, key: str, text: str) -> None:
        """Raise if a text cannot be stored under a key."""

    def put(self, columns: Mapping[str | None, Ragged]) -> int:
        """Write records, and return a checksum of them; if that fails, it may be done again."""

    def finish(self, writer: CollectingWriter) -> None:
        """Have the file whole, and with its name."""

    def discard(self) -> None:
        """Leave all as it was before."""


class CollectingWriter(RecordWriter):
    """A writer of files, which have their names when they are whole: at `close`. See `FileRecordWriter`."""

    def __init__(
        self,
        output_file: str | os.PathLike[str],
        fields: Iterable[str] | None = None,
        sequence_field: str | None = None,
        append: bool = False,
        initial_index: int | None = 0,
    ) -> None:
        super().__init__(fields, sequence_field, append, initial_index)
        self.output_file = os.fsdecode(output_file)
        if os.path.exists(self.output_file) and not os.path.isfile(self.output_file):
            raise InvalidValueError(f"{self.output_file} is a folder or a device: name a file")
        self._process = os.getpid()
        self._written = 0  # a checksum
        there = self.append and os.path.exists(self.output_file)
        self._sink: Sink | None = self._open(there)
        try:
            self._take_over(there)
        except BaseException:
            self.discard()
            raise
        self._forget()

    def _open(self, there: bool) -> Sink:
        """Return where records go: into a new file, or into the one that is there."""
        raise NotImplementedError

    @property
    def closed(self) -> bool:
        """Whether nothing more can be written."""
        return self._sink is None

    def write(self, record: Any) -> int:
        self._make_room()
        what = f"record {self.next_index}"
        arrays = self._checked(self._by_field(record, what), what)
        for name, array in arrays.items():
            self._collect(name, array, [len(array)])
        self.next_index += 1
        return self.next_index - 1

    def extend(self, records: Any) -> range:
        columns = records if isinstance(records, Mapping) else {None: records}
        if not columns or not all(isinstance(column, Ragged) for column in columns.values()):
            return super().extend(records)
        first = self.next_index
        columns = self._by_field(records, f"record {first}")
        if len({len(column) for column in columns.values()}) > 1:
            raise LengthError(f"fields must have one number of records, got {[len(c) for c in columns.values()]}")
        for run in runs(list(columns.values())):
            self._make_room()
            parts = {name: column[run] for name, column in columns.items()}
            arrays = self._checked({name: part.values for name, part in parts.items()}, f"record {self.next_index}")
            for name, array in arrays.items():
                self._collect(name, array, parts[name].lengths.tolist())
            self.next_index += run.stop - run.start
        return range(first, self.next_index)

    def add_metadata(self, metadata: Mapping[str, str]) -> None:
        sink = self._opened()
        checked = checked_metadata(metadata)
        for key, text in checked.items():
            sink.check_metadata(key, text)
        self.metadata.update(checked)

    def close(self) -> None:
        """Write what is left, and give the file its name; if that is done, do nothing.

        If it fails, because the disk is full, say, it may be tried again, or given up by `discard`.
        """
        if self._sink is not None:
            self._flush()
            self._opened().finish(self)
            self._sink = None

    def discard(self) -> None:
        """Leave all as it was before: no file, or, after appending, the one that was there."""
        if self._sink is not None:
            sink, self._sink = self._sink, None
            if self._process == os.getpid():
                sink.discard()  # else it is another process's

    def __del__(self) -> None:
        if getattr(self, "_sink", None) is not None and self._process == os.getpid():
            try:
                warnings.warn(f"{self!r} was not closed: nothing is kept", ResourceWarning, stacklevel=2, source=self)
            finally:
                self.discard()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.output_file!r}: next record {self.next_index}>"

    def _checksum(self) -> int:
        self._flush()
        return self._written

    def _take_over(self, there: bool) -> None:
        """Go on with what is in the file."""
        sink = self._opened()
        if there:
            wanted, found = (self.fields, self.sequence_field), (sink.fields, sink.sequence_field)
            if self.fields is not None and (set(self.fields), wanted[1]) != (set(sink.fields or ()), found[1]):
                raise InvalidValueError(
                    f"{self.output_file} has the fields {found[0]} (the sequence is {found[1]!r}), got {wanted[0]} "
                    f"({wanted[1]!r})"
                )
            self.fields, self.sequence_field = found
            self.next_index = sink.next_index
            self.metadata = dict(sink.metadata)
        else:
            sink.initial_index = self.next_index
        for name in self._names():
            sink.kinds.setdefault(name, Kind())

    def _names(self) -> list[str | None]:
        return [None] if self.fields is None else list(self.fields)

    def _by_field(self, record: Any, what: str) -> dict[str | None, Any]:
        """Return a record by field; an error unless it has just those that it should have."""
        if self.fields is None:
            if isinstance(record, Mapping):
                raise InvalidTypeError(f"{what}: a writer without fields takes arrays, got a dict: pass fields=")
            return {None: record}
        if not isinstance(record, Mapping):
            raise InvalidTypeError(
                f"{what}: a writer with fields takes a dict with {self.fields}, got {type(record).__name__}"
            )
        if record.keys() != set(self.fields):
            missing = [name for name in self.fields if name not in record]
            extra = [name for name in record if name not in self.fields]
            raise InvalidValueError(f"{what}: expected the fields {self.fields}: missing {missing}, too many {extra}")
        return {name: record[name] for name in self.fields}

    def _checked(self, parts: Mapping[str | None, Any], what: str) -> dict[str | None, NDArray[Any]]:
        """Return copies of the elements of each field; an error, before any is taken, if some are of another kind."""
        sink, arrays = self._opened(), {}
        for name, values in parts.items():
            of_field = what if name is None else f"{what}, field {name!r}"
            arrays[name] = array = sink.kinds[name].checked(values, of_field)
            if len(array) and not sink.kinds[name].known:
                sink.check_elements(array.dtype)
        return arrays

    def _collect(self, name: str | None, values: NDArray[Any], lengths: list[int]) -> None:
        kinds, waiting = self._opened().kinds, self._waiting[name]
        kinds[name] = kinds[name].of(values)
        waiting.values.append(values)
        waiting.lengths += lengths
        self._bytes += values.nbytes + 8 * len(lengths)

    def _make_room(self) -> None:
        """Write what has been collected, if that is much; before more is taken, so that it may be tried again."""
        self._opened()
        if self._bytes > COLLECTED:
            self._flush()

    def _flush(self) -> None:
        """Write what has been collected; if that fails, it may be done again."""
        if self._bytes:
            sink = self._opened()
            checksum = sink.put({name: waiting.ragged(sink.kinds[name]) for name, waiting in self._waiting.items()})
            self._written = zlib.crc32(b"%d" % checksum, self._written)
        self._forget()

    def _forget(self) -> None:
        self._waiting = {name: Waiting() for name in self._names()}
        self._bytes = 0

    def _opened(self) -> Sink:
        if self._sink is None:
            raise InvalidValueError(f"{self.output_file} has been closed: open it with append=True to write more")
        if self._process != os.getpid():
            raise InvalidValueError(f"{self.output_file} is being written by the process that opened it, not by this")
        return self._sink


def runs(columns: Sequence[SequenceColumn]) -> Iterator[slice]:
    """Yield slices of records that are worth writing together, and not much more.

    >>> list(runs([Ragged(np.zeros(3, np.uint8), [0, 1, 3])]))
    [slice(0, 2, None)]
    """
    size = sum(column.lengths * element_bytes(column.dtype, column.inner_shape) + 8 for column in columns)
    ends = np.cumsum(size)
    start = 0
    while start < len(ends):
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + COLLECTED, "right")))
        yield slice(start, stop)
        start = stop
