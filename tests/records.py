"""What the tests of record files share: formats, random records, and checks that a reader gives them back."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import strategies as st

from batchup.sequences import FileRecordReader, FileRecordWriter, Hdf5RecordReader, Hdf5RecordWriter, ShardedWriter

from .hsq import same, values

Array: TypeAlias = "np.ndarray[Any, Any]"
Record: TypeAlias = "Array | dict[str, Array]"

FLUSHED = "batchup.sequences.collecting.COLLECTED"  # bytes; how much is written together
DTYPES = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"]


@dataclass(frozen=True)
class Format:
    """A kind of record file.

    Attributes
    ----------
    writer, reader : type
        Its classes.
    suffix : str
        How its names end.
    """

    writer: Callable[..., Any]
    reader: Callable[..., Any]
    suffix: str


FORMATS = {
    "records": Format(FileRecordWriter, FileRecordReader, ".records"),
    "hdf5": Format(Hdf5RecordWriter, Hdf5RecordReader, ".hdf5"),
}
every_format = pytest.mark.parametrize("form", FORMATS.values(), ids=[*FORMATS])


@dataclass(frozen=True)
class Made:
    """Records, and what else there is to a file of them.

    Attributes
    ----------
    records : list
        Arrays, or dicts of them.
    fields, sequence_field, initial_index, metadata
        As of a writer.
    kinds : dict of dtype and shape
        Of the elements, by field.
    """

    records: list[Any]
    fields: list[str] | None = None
    sequence_field: str | None = None
    initial_index: int = 0
    metadata: dict[str, str] = field(default_factory=dict)
    kinds: dict[str | None, tuple[np.dtype[Any], tuple[int, ...]]] = field(default_factory=dict)

    @property
    def options(self) -> dict[str, Any]:
        """What a writer is to be told."""
        return {
            "fields": self.fields,
            "sequence_field": self.sequence_field,
            "initial_index": self.initial_index,
        }

    @property
    def names(self) -> list[str | None]:
        """The fields; None if there are none."""
        return [None] if self.fields is None else list(self.fields)

    def part(self, number: int, name: str | None) -> Array:
        """Return what a field of a record must be when it is read."""
        record = self.records[number]
        array = np.asarray(record if name is None else record[name])
        dtype, inner = self.kinds[name]
        return np.empty((0, *inner), dtype) if not len(array) else array.astype(dtype)

    def expected(self, number: int) -> Any:
        """Return what a record must be when it is read."""
        if self.fields is None:
            return self.part(number, None)
        return {name: self.part(number, name) for name in self.fields}

    @property
    def lengths(self) -> list[int]:
        """The lengths of the records."""
        return [len(self.part(number, self.sequence_field)) for number in range(len(self.records))]


def plain(count: int, initial_index: int = 0, first: int = 0) -> Made:
    """Return records of which each tells its number: lengths 0 to 4, the values and the lengths differ."""
    records = [np.arange(n % 5, dtype=np.int32) + 10 * n for n in range(first, first + count)]
    return Made(records, initial_index=initial_index, kinds={None: (np.dtype(np.int32), ())})


def fielded(count: int) -> Made:
    """Return records with two fields of different lengths."""
    records = [
        {"a": np.arange(n % 4 + 1, dtype=np.int16) + n, "b": np.full((n % 3, 2), n, np.float32)} for n in range(count)
    ]
    kinds = {"a": (np.dtype(np.int16), ()), "b": (np.dtype(np.float32), (2,))}
    return Made(records, ["a", "b"], "a", 0, {"who": "fields"}, kinds)  # type: ignore[arg-type]


@st.composite
def made(draw: st.DrawFn, fields: bool | None = None) -> Made:
    """Draw records: with or without fields, of any dtypes and shapes, some of them empty and then of any dtype."""
    with_fields = draw(st.booleans()) if fields is None else fields
    names: list[Any] = [None]
    if with_fields:
        names = draw(st.lists(FIELD_NAMES, min_size=1, max_size=3, unique=True))
    kinds = {name: (np.dtype(draw(st.sampled_from(DTYPES))), draw(SHAPES)) for name in names}
    count = draw(st.integers(0, 9))
    parts = {name: [draw(arrays(*kinds[name])) for _ in range(count)] for name in names}
    for name, column in parts.items():
        if not any(map(len, column)):
            kinds[name] = kind_of_nothing(column)
    records: list[Any] = (
        parts[None]
        if not with_fields
        else [dict(zip(names, record, strict=True)) for record in zip(*parts.values(), strict=True)]
    )
    main = draw(st.sampled_from(names))
    initial_index = draw(st.sampled_from([0, 0, 1, 7, 2**40]))
    metadata = draw(st.dictionaries(st.text(UNICODE, max_size=8), st.text(UNICODE, max_size=20), max_size=3))
    return Made(records, names if with_fields else None, main, initial_index, metadata, kinds)


def kind_of_nothing(column: list[Array]) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return what elements are taken to be of which there is none: what the latest empty array of numbers has."""
    told = [array for array in column if array.dtype.kind in "biufc"]
    return (told[-1].dtype.newbyteorder("="), told[-1].shape[1:]) if told else (np.dtype(np.float64), ())


UNICODE = st.characters(exclude_categories=["Cs"])
FIELD_NAMES = st.sampled_from(["a", "tokens", "values", "offsets", "lengths", "Ünï \U0001f600", "initial_index", "b:c"])
SHAPES = st.sampled_from([(), (), (), (1,), (3,), (2, 1, 2)])
EMPTY = [np.array([]), np.empty((0, 7), np.int8), np.array([], ">i4"), np.array([], bool), np.array([], object)]


def arrays(dtype: np.dtype[Any], inner: tuple[int, ...]) -> st.SearchStrategy[Array]:
    """Return a strategy for sequences: short ones, empty ones of any dtype, and some that lie oddly in memory."""
    numbers = st.tuples(st.integers(0, 6), st.integers(0, 1000), st.booleans())

    def laid(chosen: tuple[int, int, bool]) -> Array:
        length, seed, odd = chosen
        array = values(dtype, (length, *inner), seed)
        return array.astype(dtype.newbyteorder(">"))[::-1] if odd else array

    return st.one_of(numbers.map(laid), numbers.map(laid), st.sampled_from(EMPTY))


@contextlib.contextmanager
def flushed_at(count: int) -> Iterator[None]:
    """Have writers write as soon as they have more than so many bytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FLUSHED, count)
        yield


def write(form: Format, path: Path, what: Made, cuts: Sequence[int] = (), flush: int = 4 * 2**20) -> Path:
    """Write records in as many sessions as there are cuts, and one more."""
    with flushed_at(flush):
        bounds = [0, *sorted(cuts), len(what.records)]
        for number, (start, stop) in enumerate(pairwise(bounds)):
            options = {"append": True} if number else what.options
            with form.writer(path, **options) as writer:
                assert writer.next_index == what.initial_index + start
                for record in what.records[start:stop]:
                    writer.write(record)
                if stop == len(what.records):
                    writer.add_metadata(what.metadata)
    return path


def write_shards(form: Format, folder: Path, what: Made, most: int) -> list[Path]:
    """Write records to shards."""
    template = str(folder / f"shard-{{}}{form.suffix}").replace("{}", "{:03d}")
    with ShardedWriter(form.writer, template, most, **what.options) as writer:
        for record in what.records:
            writer.write(record)
        writer.add_metadata(what.metadata)
    return [Path(name) for name in writer.output_files]


def equal(got: Any, expected: Any) -> None:
    """Check that records agree bit for bit."""
    if isinstance(expected, Mapping):
        assert list(got) == list(expected)
        for name in expected:
            same(got[name], expected[name], str(name))
    else:
        same(got, expected)


def holds(reader: Any, what: Made, order: Sequence[int] | None = None, sound: bool = True) -> None:
    """Check that a reader gives records in all the ways there are, and calls them sound."""
    count, first = len(what.records), what.initial_index
    assert (reader.fields, reader.sequence_field) == (what.fields, what.sequence_field)
    assert (reader.num_records(), len(reader)) == (count, count)
    assert list(reader.indexes()) == list(range(first, first + count))
    assert reader.lengths.tolist() == what.lengths
    assert reader.lengths.dtype == np.int64
    assert list(reader.indexes_and_lengths()) == list(zip(range(first, first + count), what.lengths, strict=True))
    for key, text in what.metadata.items():
        assert reader.metadata(key) == text
    assert reader.metadata("there is nothing under this key") is None
    for number in range(count):
        assert reader.length(first + number) == what.lengths[number]
        equal(reader.retrieve(first + number), what.expected(number))
    order = [*range(count), *range(count)[::-1]] if order is None else order
    together = reader.gather(np.array(order, int) + first)
    assert list(reader.columns) == what.names
    for name in what.names:
        column, ragged = reader.columns[name], together if name is None else together[name]
        assert (column.dtype, column.inner_shape, len(column)) == (*what.kinds[name], count)
        same(column.lengths, np.array([len(what.part(number, name)) for number in range(count)], np.int64))
        for got, number in zip(ragged, order, strict=True):
            same(got, what.part(number, name))
    assert not sound or reader.verify() == []


def opens_with(form: Format, path: Any, what: Made) -> None:
    """Check that a file is sound and holds records."""
    with form.reader(path) as reader:
        holds(reader, what)


def alone(path: Path) -> None:
    """Check that nothing lies beside a file."""
    assert [other.name for other in path.parent.iterdir()] == [path.name]


def descriptors() -> set[str]:
    """Return what this process has open."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.add(os.readlink(f"/proc/self/fd/{number}"))
    return found


@contextlib.contextmanager
def left_alone() -> Iterator[None]:
    """Let writers that are not closed go without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
