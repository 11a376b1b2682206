"""What is read from files of records, in whatever way, is what was written, in whatever way."""

from __future__ import annotations

import copy
import pickle
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from batchup import StandardSampler
from batchup.columns import SequenceColumn
from batchup.errors import ChecksumError, IndexRangeError
from batchup.sequences import (
    EosAppender,
    FileRecordReader,
    Hdf5RecordReader,
    InMemoryReader,
    Ragged,
    RecordReader,
    RecordWriter,
    ShardedWriter,
    unpad,
)
from batchup.work_pool import WorkerProcessPool

from .helpers import as_lists
from .hsq import DATA, same, values
from .records import (
    DTYPES,
    EMPTY,
    FORMATS,
    Format,
    Made,
    alone,
    descriptors,
    equal,
    every_format,
    fielded,
    flushed_at,
    holds,
    kind_of_nothing,
    made,
    opens_with,
    plain,
    write,
    write_shards,
)

few = settings(max_examples=30)


@every_format
@few
@given(what=made(), data=st.data(), flush=st.sampled_from([0, 20, 100, 4 * 2**20]))
def test_random_records(form: Format, what: Made, data: st.DataObject, flush: int) -> None:
    """Any records, written in any number of sessions and of segments, are what every way of reading gives."""
    count = len(what.records)
    cuts = data.draw(st.lists(st.integers(0, count), max_size=3))
    order = data.draw(st.lists(st.integers(0, count - 1), max_size=20)) if count else []
    with tempfile.TemporaryDirectory() as folder:
        path = write(form, Path(folder) / f"a{form.suffix}", what, cuts, flush)
        alone(path)
        with form.reader(path, verify=True) as reader:
            holds(reader, what, order)
            holds(pickle.loads(pickle.dumps(reader)), what, order)


@every_format
@few
@given(what=made(), most=st.integers(1, 10), data=st.data())
def test_random_shards(form: Format, what: Made, most: int, data: st.DataObject) -> None:
    """Shards of any size, named in any order, are read as one; each is a file by itself, with all the metadata."""
    with tempfile.TemporaryDirectory() as folder:
        paths = write_shards(form, Path(folder), what, most)
        for name in what.names:
            column = [record if name is None else record[name] for record in what.records]
            if not any(map(len, column)):  # the first shard tells
                what = replace(what, kinds={**what.kinds, name: kind_of_nothing(column[:most])})
        assert sorted(Path(folder).iterdir()) == paths
        assert len(paths) == max(1, -(-len(what.records) // most))
        with form.reader(data.draw(st.permutations(paths))) as reader:
            holds(reader, what)
            holds(pickle.loads(pickle.dumps(reader)), what)
        for number, path in enumerate(paths):
            with form.reader(path) as reader:
                assert reader.num_records() == len(what.records[number * most : (number + 1) * most])
                assert {key: reader.metadata(key) for key in what.metadata} == what.metadata
                for index in reader.indexes():
                    got = reader.retrieve(index)
                    expected = what.expected(index - what.initial_index)
                    for name in what.names:  # of a shard without elements, their dtype is not known
                        assert as_lists(got if name is None else got[name]) == as_lists(
                            expected if name is None else expected[name]
                        )


@every_format
@pytest.mark.parametrize("dtype", [*DTYPES, "S3", "V5", np.dtype("g").str])
@pytest.mark.parametrize("inner", [(), (3,), (2, 1, 2)], ids=str)
def test_every_dtype_and_shape(form: Format, dtype: str, inner: tuple[int, ...], tmp_path: Path) -> None:
    """Elements of all plain dtypes and shapes go through, bit for bit."""
    kind = np.dtype(dtype)
    records = [values(kind, (length, *inner), length) for length in (3, 0, 1, 5)]
    what = Made(records, kinds={None: (kind, inner)})
    opens_with(form, write(form, tmp_path / "a", what), what)


@pytest.mark.parametrize("dtype", ["U3", "M8[ns]", "m8[25s]", "M8[D]"])
def test_dtypes_of_record_files_alone(dtype: str, tmp_path: Path) -> None:
    """Text and times go through record files."""
    what = Made([values(dtype, (3,)), values(dtype, (2,), 5)], kinds={None: (np.dtype(dtype), ())})
    opens_with(FORMATS["records"], write(FORMATS["records"], tmp_path / "a", what), what)


@every_format
@pytest.mark.parametrize("empty", EMPTY, ids=lambda array: f"{array.dtype} {array.shape}")
@pytest.mark.parametrize("place", [0, 1, 3])
@pytest.mark.parametrize("cuts", [(), (1,), (1, 2, 3)], ids=str)
def test_empty_records(
    form: Format, empty: np.ndarray[Any, Any], place: int, cuts: tuple[int, ...], tmp_path: Path
) -> None:
    """A record without elements may be of any dtype and shape, even where nobody knows yet what elements are."""
    full = np.arange(6, dtype=np.int16).reshape(2, 3)
    records = [full, full + 1, full + 2]
    records[place:place] = [empty, []]  # type: ignore[list-item]
    what = Made(records, kinds={None: (np.dtype(np.int16), (3,))})
    opens_with(form, write(form, tmp_path / "a", what, cuts, 0), what)


@every_format
@pytest.mark.parametrize("initial_index", [0, 5])
def test_no_records(form: Format, initial_index: int, tmp_path: Path) -> None:
    """A file of no records is one, with fields and metadata; it takes records later."""
    what = Made([], ["a", "b"], "b", initial_index, {"k": "v"}, {n: (np.dtype(float), ()) for n in "ab"})
    path = write(form, tmp_path / "a", what)
    opens_with(form, path, what)
    with form.reader(path) as reader:
        assert reader.lengths.shape == (0,)
        assert {name: part.tolist() for name, part in reader.gather([]).items()} == {"a": [], "b": []}
        for index in (-1, 0, initial_index):
            with pytest.raises(IndexRangeError, match="there is none"):
                reader.retrieve(index)
        assert list(reader.data_source().batch_iterator(3)) == []
    with form.writer(path, append=True) as writer:
        assert writer.write({"a": [1], "b": []}) == initial_index
    with form.reader(path) as reader:
        assert as_lists(reader.retrieve(initial_index)) == {"a": [1], "b": []}
        assert reader.metadata("k") == "v"


@every_format
def test_metadata_through_sessions(form: Format, tmp_path: Path) -> None:
    """Metadata is added to and replaced, by sessions without records too; any text will do."""
    text = "Ünï \U0001f600 \x00 \\u0041 \n \x7f"
    path = write(form, tmp_path / "a", plain(3))
    for number, metadata in enumerate([{"a": "1", text: "2"}, {"a": text}, {}, {"": ""}]):
        with form.writer(path, append=True) as writer:
            assert writer.next_index == 3
            assert len(writer.metadata) == min(number, 1) * 2
            writer.add_metadata(metadata)
    with form.reader(path) as reader:
        assert [reader.metadata(key) for key in ("a", text, "", "b")] == [text, "2", "", None]
        holds(reader, plain(3))


@every_format
def test_metadata_reaches_all_shards(form: Format, tmp_path: Path) -> None:
    """Metadata added at any time is in the shards before and in those to come; the latest counts."""
    what = plain(7)
    template = str(tmp_path) + "/{:02d}"
    with ShardedWriter(form.writer, template, 2) as writer:
        for number, record in enumerate(what.records):
            assert writer.write(record) == number
            writer.add_metadata({"latest": str(number), f"at {number}": "x"})
    with form.reader(writer.output_files) as reader:
        holds(reader, what)
    for name in writer.output_files:
        with form.reader(name) as reader:
            assert reader.metadata("latest") == "6"
            assert all(reader.metadata(f"at {number}") == "x" for number in range(7))


@pytest.mark.parametrize("keyword", [0, 1, "output_file"])
def test_where_a_sharded_writer_puts_the_name(keyword: Any, tmp_path: Path) -> None:
    """The name of a shard goes to the place that is named, among other arguments."""

    def by_second(fields: Any, name: str, sequence_field: Any = None, **more: Any) -> RecordWriter:
        return FORMATS["records"].writer(name, fields, sequence_field, **more)  # type: ignore[no-any-return]

    maker = by_second if keyword == 1 else FORMATS["records"].writer
    args: tuple[Any, ...] = {0: (["a"], "a"), 1: (["a"], "a")}.get(keyword, ())
    options = {} if args else {"fields": ["a"], "sequence_field": "a"}
    template = f"{tmp_path}/{{}}"
    with ShardedWriter(maker, template, 1, *args, output_file_param=keyword, initial_index=4, **options) as writer:
        writer.write({"a": [1]})
        writer.write({"a": [2]})
    assert (writer.fields, writer.sequence_field) == (["a"], "a")
    assert writer.next_index == 6
    with FileRecordReader([tmp_path / "2", tmp_path / "1"]) as reader:
        assert list(reader.indexes()) == [4, 5]
        assert reader.gather([5, 4])["a"].tolist() == [[2], [1]]


@every_format
def test_extend(form: Format, tmp_path: Path) -> None:
    """`extend` takes lists, generators, dicts, Ragged and dicts of Ragged: all make the same records."""
    what, tall = plain(9), fielded(9)
    column = Ragged.of(what.records)
    kinds: list[Any] = [what.records, iter(what.records), column, column[::-1][::-1]]
    for number, records in enumerate(kinds):
        with flushed_at(30), form.writer(tmp_path / str(number)) as writer:
            assert writer.extend(records) == range(9)
        opens_with(form, tmp_path / str(number), what)
    columns = {name: Ragged.of([record[name] for record in tall.records]) for name in "ab"}
    for number, records in enumerate([tall.records, columns, {"b": columns["b"], "a": list(columns["a"])}]):
        with flushed_at(30), form.writer(tmp_path / f"f{number}", ["a", "b"], "a") as writer:
            assert writer.extend(records) == range(9)
            writer.add_metadata(tall.metadata)
        opens_with(form, tmp_path / f"f{number}", tall)


@every_format
def test_what_is_written_is_copied(form: Format, tmp_path: Path) -> None:
    """A writer keeps what an array was, not what becomes of it; nor can a reader's holder change what it reads."""
    buffer = np.zeros(4, np.int64)
    with form.writer(tmp_path / "a") as writer:
        for number in range(5):
            buffer[:] = number
            writer.write(buffer[: number + 1 if number < 4 else 4])
        writer.extend(Ragged(buffer, [0, 2]))
        buffer[:] = -1
    expected = [[0], [1, 1], [2, 2, 2], [3, 3, 3, 3], [4, 4, 4, 4], [4, 4]]
    with form.reader(tmp_path / "a") as reader:
        for _ in range(2):
            got = reader.gather(np.arange(6))
            assert got.tolist() == [reader.retrieve(index).tolist() for index in range(6)] == expected
            lengths = reader.lengths
            for array in (got.values, got[1], reader.retrieve(2), reader.columns[None].values, lengths, got.lengths):
                assert array.flags.writeable
                array[:] = -7


@every_format
def test_several_threads(form: Format, tmp_path: Path) -> None:
    """Any number of threads read from one reader at once."""
    what = fielded(60)
    path = write(form, tmp_path / "a", what, [20], 200)

    def read(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(20):
            order = rng.integers(0, 60, 9)
            together = reader.gather(order)
            for row, number in enumerate(order.tolist()):
                equal({name: together[name][row] for name in "ab"}, what.expected(number))
                equal(reader.retrieve(number), what.expected(number))

    with form.reader(path) as reader, ThreadPoolExecutor(6) as pool:
        list(pool.map(read, range(6)))


@every_format
def test_worker_processes(form: Format, tmp_path: Path) -> None:
    """Worker processes give the very batches that are made without them, of fields, padded or not, and of shards."""
    one, many = fielded(40), plain(40, 3)
    reader = form.reader(write(form, tmp_path / "a", one, [13], 100))
    shards = form.reader(write_shards(form, tmp_path, many, 11))
    options: list[Any] = [
        (reader, {"padded": False}),
        (reader, {"max_tokens": 12, "value": {"a": -1, "b": 0.5}}),
        (shards, {"beside": "mask", "side": "left", "sampler": StandardSampler(40)}),
    ]
    with reader, shards, WorkerProcessPool(2) as pool:
        for source_of, more in options:
            source = source_of.data_source(include_indices=True, **more)
            serial = [batch_lists(batch) for batch in source.batch_iterator(7, shuffle=3, epoch=0)]
            batches = pool.parallel_data_source(source).batch_iterator(7, shuffle=3, epoch=0)
            assert [batch_lists(batch) for batch in batches] == serial
            assert len(serial) >= 6


def batch_lists(batch: Any) -> Any:
    """Return a batch as lists."""
    if isinstance(batch, dict):
        return {key: batch_lists(part) for key, part in batch.items()}
    return [batch_lists(part) for part in batch] if isinstance(batch, (tuple, list)) else batch.tolist()


@every_format
def test_columns_are_pickled_as_their_file(form: Format, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader and its columns are pickled in a few bytes, whatever is in them, and read in any folder."""
    what = Made([np.arange(50_000)] * 2, kinds={None: (np.dtype(np.int64), ())})
    write(form, tmp_path / "a", what)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    with form.reader("a") as reader:
        pickles = [pickle.dumps(thing) for thing in (reader, reader.columns[None], reader.columns[None].padded())]
        assert copy.deepcopy(reader).retrieve(0).tolist() == what.records[0].tolist()
    assert max(map(len, pickles)) < 1000
    monkeypatch.chdir(tmp_path / "other")
    again, column, padded = map(pickle.loads, pickles)
    holds(again, what)
    assert column[1].tolist() == padded[0].tolist() == what.records[0].tolist()


@every_format
def test_batches_are_pickled_as_what_they_hold(form: Format, tmp_path: Path) -> None:
    """A batch is pickled with its elements, and no others."""
    what = Made([np.arange(50_000), np.arange(3), np.arange(4)], kinds={None: (np.dtype(np.int64), ())})
    with form.reader(write(form, tmp_path / "a", what)) as reader:
        pickled = pickle.dumps(reader.gather([2, 1]))
    assert len(pickled) < 1000
    assert pickle.loads(pickled).tolist() == [[0, 1, 2, 3], [0, 1, 2]]


@every_format
def test_data_source(form: Format, tmp_path: Path) -> None:
    """Each record comes once per epoch, whole, with its length or its mask, from any bucket, on any side."""
    what = fielded(50)
    options = {"max_tokens": 9, "pad_to": {"a": 1, "b": 2}, "value": {"a": -5, "b": 0}, "include_indices": True}
    with form.reader(write_shards(form, tmp_path, what, 13)) as reader:
        for side in ("right", "left"):
            lengths = reader.data_source(side=side, **options)
            masks = reader.data_source(side=side, beside="mask", **options)
            seen: list[int] = []
            batches = (source.batch_iterator(4, shuffle=2, epoch=1) for source in (lengths, masks))
            for batch, masked in zip(*batches, strict=True):
                places = batch["index"]
                same(places, masked["index"])
                seen += places.tolist()
                assert len(places) * batch["a"].shape[1] <= 9
                assert batch["b"].shape[1] % 2 == 0
                for row, number in enumerate(places.tolist()):
                    expected = what.expected(number)
                    same(unpad(batch["a"], batch["lengths"], side)[row], expected["a"])
                    same(masked["a"][row][masked["mask"][row]], expected["a"])
                    same(batch["a"], masked["a"])
                    counts = [len(expected["b"])] * len(places)
                    same(unpad(batch["b"], counts, side)[row], expected["b"])
            assert sorted(seen) == list(range(50))


@every_format
@few
@given(what=made(), eos=st.integers(0, 1))
def test_ends_of_sequences(form: Format, what: Made, eos: int) -> None:
    """An `EosAppender` over a file gives each main sequence with one element more, in all ways of reading."""
    main = what.sequence_field
    dtype, inner = what.kinds[main]
    end = np.full((1, *inner), eos).astype(dtype)
    with tempfile.TemporaryDirectory() as folder, form.reader(write(form, Path(folder) / "a", what)) as reader:
        ended = EosAppender(reader, eos)
        got = ended.gather(list(ended.indexes()))
        assert ended.lengths.tolist() == [length + 1 for length in what.lengths]
        for number, index in enumerate(ended.indexes()):
            expected = what.expected(number)
            if main is None:
                expected = np.concatenate([expected, end])
                same(got[number], expected)
            else:
                expected = {**expected, main: np.concatenate([expected[main], end])}
                equal({name: got[name][number] for name in what.names}, expected)
            equal(ended.retrieve(index), expected)
            assert ended.length(index) == what.lengths[number] + 1


@given(what=made())
@few
def test_memory_is_like_files(what: Made) -> None:
    """An `InMemoryReader` of the same records gives the same, but for numbering from 0."""
    records = [what.expected(number) for number in range(len(what.records))]
    reader = InMemoryReader(records, what.metadata, what.fields, what.sequence_field)
    if records:
        moved = Made(records, what.fields, what.sequence_field, 0, what.metadata, what.kinds)
        reader.verify = list  # type: ignore[attr-defined]
        holds(reader, moved)


class Listed(RecordReader):
    """A user's reader: the three methods that it needs, over indexes with gaps, up or down."""

    def __init__(self, what: Made, step: int) -> None:
        super().__init__(what.fields, what.sequence_field)
        self._what, self._step = what, step

    def indexes(self) -> Iterator[int]:
        return iter(range(5, 5 + self._step * len(self._what.records), self._step))

    def length(self, index: int) -> int:
        return self._what.lengths[(index - 5) // self._step]

    def retrieve(self, index: int) -> Any:
        return self._what.expected((index - 5) // self._step)


@given(what=made(), step=st.sampled_from([1, 2, 3, -1, -2]))
@few
def test_a_readers_own_three_methods_are_enough(what: Made, step: int) -> None:
    """Columns, batches and lengths follow from `indexes`, `length` and `retrieve`."""
    assume(what.records)
    reader = Listed(what, step)
    indexes = list(reader.indexes())
    assert (len(reader), reader.lengths.tolist()) == (len(indexes), what.lengths)
    got = reader.gather(indexes[::-1])
    for row, number in enumerate(range(len(indexes))[::-1]):
        equal(got[row] if what.fields is None else {name: got[name][row] for name in got}, what.expected(number))
    with pytest.raises(IndexRangeError):
        reader.gather([indexes[-1] + step])


# sequences in memory: padding and indexing


@st.composite
def ragged(draw: st.DrawFn) -> tuple[Ragged, list[np.ndarray[Any, Any]]]:
    """Draw sequences, and the same as a list: whole, or a part of others, in any order."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    inner = draw(st.sampled_from([(), (), (3,), (2, 2)]))
    lengths = draw(st.lists(st.integers(0, 7), max_size=8))
    spare = draw(st.integers(0, 2))
    offsets = spare + np.concatenate([[0], np.cumsum(lengths)]).astype(int)
    elements = values(dtype, (int(offsets[-1]) + draw(st.integers(0, 2)), *inner), 3)
    whole = Ragged(elements, offsets)
    rows = [elements[start:stop] for start, stop in pairwise(offsets)]
    if draw(st.booleans()) and rows:
        chosen = draw(st.lists(st.integers(0, len(rows) - 1), max_size=12))
        return whole[chosen], [rows[place] for place in chosen]
    return whole, rows


@given(both=ragged(), side=st.sampled_from(["right", "left"]), pad_to=st.integers(1, 4), more=st.integers(-1, 3))
@settings(max_examples=150)
def test_unpad_is_the_way_back(both: tuple[Ragged, list[Any]], side: str, pad_to: int, more: int) -> None:
    """`unpad` of what `pad` makes is what it was made of; masks and lengths agree; the rest is the value."""
    column, rows = both
    longest = max(map(len, rows), default=0)
    to = None if more < 0 else -(-(longest + more) // pad_to) * pad_to
    width = -(-longest // pad_to) * pad_to if to is None else to
    padded, lengths = column.pad(1, side, pad_to, to, beside="lengths")
    again, mask = column.pad(1, side, pad_to, to, beside="mask")
    same(padded, again)
    assert padded.shape == (len(rows), width, *column.inner_shape)
    assert padded.dtype == column.dtype
    assert lengths.tolist() == mask.sum(1).tolist() == [len(row) for row in rows]
    for row, expected, real in zip(padded, rows, mask, strict=True):
        place = slice(0, len(expected)) if side == "right" else slice(width - len(expected), width)
        same(row[place], expected)
        assert real[place].all()
        assert (row[~real] == 1).all()
    back = unpad(padded, lengths, side)
    for got, expected in zip(back, rows, strict=True):
        same(got, expected)
    same(column.padded(1, side, pad_to, to)[:], padded)
    same(column.masks(side, pad_to, to)[:], mask)


@given(both=ragged(), data=st.data())
@settings(max_examples=150)
def test_indexing(both: tuple[Ragged, list[Any]], data: st.DataObject) -> None:
    """Ints, slices, masks and arrays of indices choose as they do from a list; `values` and `offsets` fit together."""
    column, rows = both
    count = len(rows)
    ends = st.none() | st.integers(-count - 2, count + 2)
    steps = st.sampled_from([None, 1, 2, -1, -2])
    part = slice(data.draw(ends), data.draw(ends), data.draw(steps))
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)), bool)
    chosen = data.draw(st.lists(st.integers(-count, count - 1), max_size=9)) if count else []
    cases = [(part, rows[part]), (mask, [row for row, kept in zip(rows, mask, strict=True) if kept])]
    cases += [(np.array(chosen, int), [rows[place] for place in chosen])]
    for index, expected in cases:
        got = column[index]
        assert len(got) == len(expected)
        for one, row in zip(got, expected, strict=True):
            same(one, row)
        assert got.lengths.tolist() == [len(row) for row in expected]
        whole = [got.values[start:stop] for start, stop in pairwise(got.offsets)]
        for one, row in zip(whole, expected, strict=True):
            same(one, row)
        assert len(got.values) == got.offsets[-1]
        for one, row in zip(pickle.loads(pickle.dumps(got)), expected, strict=True):
            same(one, row)
    for place in range(-count, count):
        same(column[place], rows[place])


@given(parts=st.lists(st.lists(st.integers(0, 5), max_size=4), min_size=1, max_size=4), data=st.data())
def test_joined(parts: list[list[int]], data: st.DataObject) -> None:
    """Columns one behind the other are read as one, whichever sequences are asked for; `of` takes lists of arrays."""
    columns, rows = [], []
    for number, lengths in enumerate(parts):
        own = [np.arange(length, dtype=np.int32) + 100 * number + 10 * place for place, length in enumerate(lengths)]
        columns.append(Ragged.of(own, np.int32))
        rows += [row.tolist() for row in own]
    one = Ragged.joined(columns)
    assert one.tolist() == rows
    assert one.dtype == np.int32
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=9)) if rows else []
    assert one[np.array(chosen, int)].tolist() == [rows[place] for place in chosen]


EDGES = {
    "one": [3],
    "one, empty": [0],
    "two": [1, 4],
    "the last one is empty": [4, 0],
    "the first one is empty": [0, 4],
    "all are empty": [0, 0, 0],
    "none": [],
    "ten": [5, 0, 1, 7, 2, 2, 0, 9, 1, 3],
}


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("width", [0, 1, 8, 100], ids="plus {}".format)
@pytest.mark.parametrize("name", EDGES)
def test_at_the_edges_of_memory(name: str, width: int, side: str) -> None:
    """Rows that reach over either end of the memory, or are wider than all of it, are right for every choice."""
    lengths = EDGES[name]
    elements = np.arange(1, 1 + sum(lengths), dtype=np.int16)
    column = Ragged(elements, np.concatenate([[0], np.cumsum(lengths)]).astype(int))
    to = max(lengths, default=0) + width
    for chosen in [[place] for place in range(len(lengths))] + [[*range(len(lengths))], [*range(len(lengths))][::-1]]:
        got = column[np.array(chosen, int)].pad(-9, side, to=to)
        rows = []
        for place in chosen:
            row = column[place].tolist()
            rest = [-9] * (to - len(row))
            rows.append(row + rest if side == "right" else rest + row)
        assert got.tolist() == rows
        assert column.padded(-9, side, to=to)[np.array(chosen, int)].tolist() == rows


@pytest.mark.parametrize("how", ["memory", "records", "hdf5"])
def test_no_write_reaches_the_data(how: str, tmp_path: Path) -> None:
    """Whatever a holder writes to what came out of a column, the column stays as it was."""
    what = plain(30)
    if how == "memory":
        column: SequenceColumn = Ragged.of(what.records)
    else:
        form = FORMATS[how]
        column = form.reader(write(form, tmp_path / "a", what)).columns[None]
    expected = [record.tolist() for record in what.records]
    indices = np.arange(30)
    for _ in range(2):
        taken = [column[3], column[1:4].values, column[indices].values, column[::7].values, column[4:5].values]
        taken += [column.padded()[2:9], column.padded(side="left")[:], column.padded()[7], column[0:30].values]
        taken += [column.padded(to=4)[indices[4:5]], column.padded(to=4)[np.array([4, 4])], column.lengths]
        taken += [column.gather(slice(0, 30)).values, column[4:5][0], next(iter(column[4:5])), column[4:5].pad()]
        for array in taken:
            array[...] = -1
        assert column[:].tolist() == expected
        assert column.lengths.tolist() == what.lengths
    batch = column[indices]
    batch.values[:] = 0  # the holder's own: what it holds from now on
    assert not any(map(np.any, batch))
    assert column[:].tolist() == expected


READING: dict[str, Callable[[Any], Any]] = {
    "retrieve": lambda reader: reader.retrieve(4),
    "gather": lambda reader: reader.gather([4]),
    "columns": lambda reader: reader.columns,
    "verify": lambda reader: reader.verify(),
    "data_source": lambda reader: reader.data_source(),
}


@every_format
def test_closed_readers(form: Format, tmp_path: Path) -> None:
    """A reader that is closed says so, and keeps nothing open; to close it again does no harm."""
    path = write(form, tmp_path / "a", plain(5))
    reader = form.reader([path])
    reader.data_source(padded=False)
    reader.retrieve(4)
    for _ in range(2):
        reader.close()
        for read in READING.values():
            with pytest.raises(ValueError, match="has been closed"):
                read(reader)
    assert "5 records" in repr(reader)
    assert str(path) not in descriptors()


@every_format
def test_verify_when_opened(form: Format, tmp_path: Path) -> None:
    """`verify=True` refuses a file with a changed element, which is found only then, and tells which records."""
    path = write(form, tmp_path / "a", Made([np.full(50, 77, np.uint8)] * 3), [2])
    data = path.read_bytes()
    place = data.index(bytes([77]) * 50)
    path.write_bytes(data[:place] + b"x" + data[place + 1 :])
    with form.reader(path) as reader:
        (damage,) = reader.verify()
        assert (damage.file, damage.field, damage.first) == (str(path), None, 0)
        assert "records 0 to " in str(damage)
    with pytest.raises(ChecksumError, match="records 0 to"):
        form.reader(path, verify=True)


# files that never change

FROZEN = {
    "records": (FileRecordReader, DATA / "frozen.records"),
    "hdf5": (Hdf5RecordReader, DATA / "frozen.hdf5"),
}


def frozen_content() -> Made:
    """Return what is in the frozen files, which were written in two sessions, of several segments."""
    records = [
        {
            "tokens": values("<i4", (n * 3 % 5,), n),
            "vectors": values("<f2", (n % 3, 2, 2), n),
            "flags": values("?", (n % 4,), n),
        }
        for n in range(12)
    ]
    kinds: Any = {
        "tokens": (np.dtype(np.int32), ()),
        "vectors": (np.dtype(np.float16), (2, 2)),
        "flags": (np.dtype(bool), ()),
    }
    return Made(records, ["tokens", "vectors", "flags"], "tokens", 5, {"Ünï": "\U0001f600", "b": "c"}, kinds)


@pytest.mark.parametrize("name", FROZEN)
def test_frozen_files(name: str, tmp_path: Path) -> None:
    """Files that an earlier release has written are read, and appended to, for ever."""
    reader_class, path = FROZEN[name]
    with reader_class(path, verify=True) as reader:
        holds(reader, frozen_content())
    copied = tmp_path / path.name
    copied.write_bytes(path.read_bytes())
    with FORMATS[name].writer(copied, append=True) as writer:
        assert writer.write(frozen_content().records[0]) == 17
    with reader_class(copied, verify=True) as reader:
        equal(reader.retrieve(17), frozen_content().expected(0))
        equal(reader.retrieve(16), frozen_content().expected(11))


@every_format
def test_names_of_files(form: Format, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names may be text or paths, relative, with odd signs, or links to a file, which stay links."""
    monkeypatch.chdir(tmp_path)
    what = plain(4)
    for name in ("a", Path("b"), "Ünï \U0001f600 {}%s", "-"):
        opens_with(form, write(form, name, what), what)  # type: ignore[arg-type]
    Path("link").symlink_to("a")
    write(form, Path("link"), plain(6))
    assert Path("link").is_symlink()
    opens_with(form, "a", plain(6))
    with form.writer("link", append=True) as writer:
        writer.write(plain(7).records[6])
    opens_with(form, "a", plain(7))


@every_format
def test_permissions_stay(form: Format, tmp_path: Path) -> None:
    """A file that is replaced or appended to keeps its permissions."""
    path = write(form, tmp_path / "a", plain(2))
    path.chmod(0o640)
    write(form, path, plain(3))
    assert path.stat().st_mode & 0o777 == 0o640
    with form.writer(path, append=True) as writer:
        writer.write(np.array([1], np.int32))
    assert path.stat().st_mode & 0o777 == 0o640


@example(size=0)
@given(size=st.integers(0, 300))
@few
def test_the_same_records_make_the_same_file(size: int) -> None:
    """What is written to record files depends on the records, not on when or where."""
    files = []
    for _ in range(2):
        with tempfile.TemporaryDirectory() as folder:
            path = write(FORMATS["records"], Path(folder) / "a", plain(size % 40), [size % 40 // 2], size)
            files.append(path.read_bytes())
    assert files[0] == files[1]
