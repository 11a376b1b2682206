"""Files of seqp 0.1 are read and appended to, and seqp reads what was appended; HDF5 files of others are read, too."""

from __future__ import annotations

import json
import pickle
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import seqp.hdf5
import seqp.record
import seqp.util
from hypothesis import given, settings
from hypothesis import strategies as st

from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.sequences import EosAppender, FileRecordReader, FileRecordWriter, Hdf5RecordReader, Hdf5RecordWriter
from batchup.work_pool import WorkerProcessPool

from .records import (
    FORMATS,
    Made,
    alone,
    equal,
    every_format,
    fielded,
    flushed_at,
    holds,
    made,
    plain,
    write,
)
from .test_records_round_trip import batch_lists

# what seqp can have: its keys are names of HDF5, and its metadata share a folder with its records
LAYOUT = ("lengths", "initial_index", "final_index", "fields", "sequence_field")
KEYS = st.sampled_from(["who", "Ünï \U0001f600", "a.b", "k"])
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


def by_seqp(path: Path, what: Made) -> Path:
    """Write records with seqp."""
    with seqp.hdf5.Hdf5RecordWriter(str(path), what.fields, what.sequence_field, False, what.initial_index) as writer:
        for number in range(len(what.records)):
            writer.write(what.records[number])
        writer.add_metadata(what.metadata)
    return path


def shards_by_seqp(folder: Path, what: Made, most: int) -> list[str]:
    """Write records to shards with seqp, which cannot add metadata to shards with fields, as h5py is nowadays."""
    options = {} if what.fields is None else {"fields": what.fields, "sequence_field": what.sequence_field}
    template = f"{folder}/shard_{{:02d}}.h5"
    with seqp.record.ShardedWriter(seqp.hdf5.Hdf5RecordWriter, template, most, **options) as writer:
        if what.fields is not None:
            writer.add_metadata(what.metadata)
        for record in what.records:
            writer.write(record)
        if what.fields is None:
            writer.add_metadata(what.metadata)
    return sorted(str(path) for path in folder.glob("shard_*.h5"))


def read_by_seqp(names: Any, what: Made) -> None:
    """Check that seqp reads records; h5py gives it bytes for text, nowadays."""
    with seqp.hdf5.Hdf5RecordReader(names if isinstance(names, list) else str(names)) as reader:
        assert reader.fields == what.fields
        assert reader.num_records() == len(what.records)
        indexes = [what.initial_index + number for number in range(len(what.records))]
        assert list(reader.indexes_and_lengths()) == list(zip(indexes, what.lengths, strict=True))
        for number, index in enumerate(indexes):
            record, expected = reader.retrieve(index), what.records[number]
            for name in what.names:
                got, wanted = (record, expected) if name is None else (record[name], expected[name])
                assert got.tolist() == np.asarray(wanted).tolist()
        for key, text in what.metadata.items():
            assert reader.metadata(key) in (text, str(text.encode()))


@st.composite
def made_for_seqp(draw: st.DrawFn) -> Made:
    """Draw records that seqp can write, and of which each field has an element somewhere."""
    what = draw(made())
    records = what.records or [{name: np.arange(2) for name in what.fields} if what.fields else np.arange(2)]
    kinds = what.kinds
    for name in what.names:
        column = [np.asarray(record if name is None else record[name]) for record in records]
        column = [np.zeros(0) if array.dtype.hasobject else array for array in column]
        records = [
            array if name is None else {**record, name: array} for record, array in zip(records, column, strict=True)
        ]
        first = ([array for array in column if len(array)] or column)[0]
        kinds = {**kinds, name: (first.dtype.newbyteorder("="), first.shape[1:])}
    metadata = draw(st.dictionaries(KEYS, TEXTS, max_size=3))
    return Made(records, what.fields, what.sequence_field, what.initial_index, metadata, kinds)


@given(what=made_for_seqp(), data=st.data())
@settings(max_examples=40)
def test_random_files_of_seqp(what: Made, data: st.DataObject) -> None:
    """Whatever seqp has written is read by it and by `Hdf5RecordReader` alike, one by one and many at once."""
    count = len(what.records)
    order = data.draw(st.lists(st.integers(0, count - 1), max_size=20))
    with tempfile.TemporaryDirectory() as folder:
        path = by_seqp(Path(folder) / "a", what)
        with Hdf5RecordReader(path) as reader:
            holds(reader, what, order)
            holds(pickle.loads(pickle.dumps(reader)), what, order)
        read_by_seqp(path, what)


@given(what=made_for_seqp(), more=st.integers(0, 4), flush=st.sampled_from([0, 2**20]))
@settings(max_examples=40)
def test_random_files_that_are_appended_to(what: Made, more: int, flush: int) -> None:
    """What is appended to a file of seqp keeps its layout, and both read all of it."""
    records = what.records[: more + 1]
    added = [what.expected(number) for number in range(len(records))]
    both = Made(what.records + added, what.fields, what.sequence_field, what.initial_index, what.metadata, what.kinds)
    with tempfile.TemporaryDirectory() as folder:
        path = by_seqp(Path(folder) / "a", what)
        with flushed_at(flush), Hdf5RecordWriter(path, append=True) as writer:
            assert writer.metadata == what.metadata
            assert (writer.fields, writer.sequence_field) == (what.fields, what.sequence_field)
            writer.extend(records)
        alone(path)
        read_by_seqp(path, both)
        with Hdf5RecordReader(path) as reader:
            holds(reader, both)
        with h5py.File(path) as file:
            keys = [str(i) if n is None else f"{i}:{n}" for i in reader.indexes() for n in what.names]
            layout = LAYOUT if what.fields else LAYOUT[:3]
            assert set(file) == {*keys, *layout, *what.metadata}


@pytest.mark.parametrize("fields", [False, True], ids=["plain", "fields"])
def test_shards_of_seqp(fields: bool, tmp_path: Path) -> None:
    """Shards of seqp are read as one, in any order, with the metadata that reached them all."""
    what = fielded(11) if fields else plain(11)
    what = Made(what.records, what.fields, what.sequence_field, 0, {"who": "Ünï"}, what.kinds)
    names = shards_by_seqp(tmp_path, what, 4)
    assert len(names) == 3
    read_by_seqp(names, what)
    for order in (names, names[::-1]):
        with Hdf5RecordReader(order) as reader:
            holds(reader, what)
    for name in names:
        with Hdf5RecordReader(name) as reader:
            assert reader.metadata("who") == "Ünï"
            assert type(reader.metadata("who")) is str
    with Hdf5RecordWriter(names[2], append=True) as writer:
        assert writer.write(what.records[0]) == 11
    longer = Made([*what.records, what.records[0]], what.fields, what.sequence_field, 0, what.metadata, what.kinds)
    read_by_seqp(names, longer)
    with Hdf5RecordReader(names) as reader:
        holds(reader, longer)


def test_shards_of_both_layouts(tmp_path: Path) -> None:
    """A shard of seqp and one of this library are read as one."""
    one = by_seqp(tmp_path / "one", plain(4))
    two = write(FORMATS["hdf5"], tmp_path / "two", plain(5, 4, 4))
    with Hdf5RecordReader([two, one]) as reader:
        holds(reader, plain(9))


def test_metadata_of_seqp(tmp_path: Path) -> None:
    """Metadata are text; what tells of the layout, and records, are none; new ones replace old ones."""
    what = Made(fielded(3).records, ["a", "b"], "a", 0, {"who": "Ünï", "empty": "", "number": "7"}, fielded(3).kinds)
    path = by_seqp(tmp_path / "a", what)
    for metadata in ({}, {"who": "new", "more": "x" * 70_000}):
        with Hdf5RecordWriter(path, append=True) as writer:
            writer.add_metadata(metadata)
        expected = {**what.metadata, **metadata}
        with Hdf5RecordReader(path) as reader:
            assert {key: reader.metadata(key) for key in expected} == expected
            for key in (*LAYOUT, "0:a", "0", "nothing", "/", ".", "..", "a/b"):
                assert reader.metadata(key) is None
    with Hdf5RecordWriter(path, append=True) as writer:
        assert writer.metadata == expected
        for key in (*LAYOUT, "0", "12:a", "3d", "/", "", ".", "a\0b"):
            with pytest.raises(InvalidValueError, match="cannot have metadata called"):
                writer.add_metadata({"good": "x", key: "y"})
        with pytest.raises(InvalidValueError):
            writer.add_metadata({"good": "a\0b"})
        assert writer.metadata == expected
    with Hdf5RecordReader(path) as reader:
        assert reader.metadata("good") is None
        holds(reader, Made(what.records, what.fields, "a", 0, expected, what.kinds))


def test_what_does_not_fit_a_file_of_seqp(tmp_path: Path) -> None:
    """Records of other fields, dtypes or shapes are refused; the file stays as it was."""
    path = by_seqp(tmp_path / "a", fielded(3))
    before = path.read_bytes()
    with pytest.raises(InvalidValueError, match=r"has the fields \['a', 'b'\]"):
        Hdf5RecordWriter(path, ["a"], "a", append=True)
    writer = Hdf5RecordWriter(path, append=True)
    good = fielded(3).records[2]
    for bad in ({"a": good["a"]}, good["a"], {**good, "a": [1.5]}, {**good, "b": np.zeros(3, np.float32)}, 3):
        with pytest.raises((InvalidValueError, InvalidTypeError)):
            writer.write(bad)
    writer.discard()
    assert path.read_bytes() == before
    alone(path)


def test_fields_of_other_lengths_and_kinds(tmp_path: Path) -> None:
    """Where a field of the first records is empty, and of float64 as empty lists are, the others tell its dtype."""
    records: list[Any] = [
        {"a": np.array([1, 2]), "b": np.array([])},
        {"a": np.array([]), "b": np.array([2**53 + 1])},
        {"a": np.array([3]), "b": np.array([7, 8, 9])},
    ]
    kinds: Any = {"a": (np.dtype(np.int64), ()), "b": (np.dtype(np.int64), ())}
    what = Made(records, ["a", "b"], "a", 0, {}, kinds)
    with Hdf5RecordReader(by_seqp(tmp_path / "a", what)) as reader:
        holds(reader, what)


def test_blank_lines(tmp_path: Path) -> None:
    """Records of which all or the first ones are `np.array([])` are read, and appended to."""
    for count, blank in ((3, 3), (5, 2)):
        path = tmp_path / f"{count}"
        with seqp.hdf5.Hdf5RecordWriter(str(path)) as writer:
            for number in range(count):
                writer.write(np.array([]) if number < blank else np.arange(number, dtype=np.int32))
        with Hdf5RecordWriter(path, append=True) as writer:
            writer.extend([[], np.array([5, 6], np.int32), np.array([])])
        with Hdf5RecordReader(path) as reader:
            assert reader.columns[None].dtype == np.int32
            filled = [list(range(number)) for number in range(blank, count)]
            expected = [[]] * blank + filled + [[], [5, 6], []]
            assert reader.gather(np.arange(count + 3)).tolist() == expected
            assert reader.lengths.tolist() == [len(record) for record in expected]
        with seqp.hdf5.Hdf5RecordReader(str(path)) as theirs:
            assert [theirs.retrieve(index).tolist() for index in theirs.indexes()] == expected


def test_data_sources_over_files_of_seqp(tmp_path: Path) -> None:
    """Padded batches of files of seqp are those of the same records in a new file, in worker processes too."""
    what = fielded(40)
    theirs = Hdf5RecordReader(shards_by_seqp(tmp_path, what, 15))
    ours = Hdf5RecordReader(write(FORMATS["hdf5"], tmp_path / "ours", what))
    options: dict[str, Any] = {"max_tokens": 12, "value": {"a": -1, "b": 0.5}, "include_indices": True}
    with theirs, ours, WorkerProcessPool(2) as pool:
        expected = [batch_lists(b) for b in ours.data_source(**options).batch_iterator(7, shuffle=3, epoch=0)]
        source = theirs.data_source(**options)
        assert [batch_lists(batch) for batch in source.batch_iterator(7, shuffle=3, epoch=0)] == expected
        parallel = pool.parallel_data_source(source)
        assert [batch_lists(batch) for batch in parallel.batch_iterator(7, shuffle=3, epoch=0)] == expected
        assert len(expected) >= 8


def test_ends_of_sequences_of_seqp(tmp_path: Path) -> None:
    """An `EosAppender` gives what that of seqp gives, whose own metadata never end."""
    path = by_seqp(tmp_path / "a", Made(plain(6).records, metadata={"who": "x"}))
    with seqp.hdf5.Hdf5RecordReader(str(path)) as inner:
        theirs = seqp.util.EosAppender(inner, 3)
        expected = [[*record.tolist(), 3] for record in plain(6).records]
        assert [theirs.retrieve(index).tolist() for index in range(6)] == expected
    with Hdf5RecordReader(path) as reader:
        ours = EosAppender(reader, 3)
        assert ours.gather(range(6)).tolist() == expected
        assert ours.metadata("who") == "x"


@every_format
def test_from_seqp_to_new_files(form: Any, tmp_path: Path) -> None:
    """The records of a file of seqp are written to new files as they are, all at once."""
    what = fielded(9)
    path = by_seqp(tmp_path / "a", what)
    with Hdf5RecordReader(path) as reader, form.writer(tmp_path / "b", reader.fields, reader.sequence_field) as writer:
        writer.extend(reader.gather(range(9)))
        writer.add_metadata(what.metadata)
    with form.reader(tmp_path / "b", verify=True) as reader:
        holds(reader, what)


def test_the_words_of_seqp(tmp_path: Path) -> None:
    """The very calls that users of seqp know do the same with these classes, by place and by name."""
    from batchup import sequences

    def used(library: Any, writer_class: Any, reader_class: Any, folder: Path) -> list[Any]:
        folder.mkdir()
        found: list[Any] = []
        output = str(folder / "a.hdf5")
        with writer_class(output) as writer:
            for number in range(5):
                assert writer.write(np.arange(number + 1, dtype=np.int32)) == number
            writer.add_metadata({"vocab": json.dumps({"symbols": ["a"]})})
        with reader_class(output) as reader:
            found += [
                (index, length, reader.retrieve(index).tolist()) for index, length in reader.indexes_and_lengths()
            ]
            found += [list(reader.indexes()), reader.num_records(), reader.length(3), reader.fields]
        with writer_class(output, append=True) as writer:
            found.append(writer.write(np.arange(3, dtype=np.int32)))
        output = str(folder / "{:02d}.hdf5")
        options = {"fields": ["s", "d"], "sequence_field": "s"}
        with library.ShardedWriter(writer_class, output, max_records_per_shard=2, **options) as writer:
            writer.add_metadata({"who": "all"})
            for number in range(5):
                writer.write({"s": np.arange(number + 1), "d": np.arange(2)})
        names = sorted(str(name) for name in folder.glob("0*.hdf5"))
        found.append([Path(name).name for name in names])
        reader = reader_class(names)
        found += [reader.retrieve(index)["s"].tolist() for index in reader.indexes()]
        found += [reader.num_records(), reader.fields, reader.length(4)]
        reader.close()
        return found

    theirs = used(seqp.record, seqp.hdf5.Hdf5RecordWriter, seqp.hdf5.Hdf5RecordReader, tmp_path / "theirs")
    assert used(sequences, Hdf5RecordWriter, Hdf5RecordReader, tmp_path / "ours") == theirs
    assert used(sequences, FileRecordWriter, FileRecordReader, tmp_path / "files") == theirs


# HDF5 files of others

LAYOUTS: dict[str, dict[str, Any]] = {
    "as they lie": {},
    "in chunks": {"chunks": (4, 2)},
    "compressed": {"compression": "gzip", "shuffle": True},
    "growing": {"maxshape": (None, 2)},
    "of the other byte order": {"dtype": ">f4"},
    "compressed, of the other byte order": {"dtype": ">f4", "compression": "gzip"},
    "checked by HDF5": {"fletcher32": True},
}


@pytest.mark.parametrize("userblock", [0, 1024])
@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_files_of_others(name: str, userblock: int, libver: str, tmp_path: Path) -> None:
    """Files in this layout that others have written, in whatever way HDF5 allows, are read and appended to."""
    kind = np.dtype(np.float32)
    records = [np.arange(2 * n, dtype=kind).reshape(n, 2) + n for n in (3, 0, 4, 1)]
    what = Made(records, initial_index=2, kinds={None: (kind, (2,))})
    with h5py.File(tmp_path / "a", "w", userblock_size=userblock, libver=libver) as file:
        file.attrs["batchup_records"] = 1
        file.attrs["initial_index"] = 2
        file["_metadata"] = np.frombuffer(b"{}", np.uint8)
        file.create_dataset("values", data=np.concatenate(records), **LAYOUTS[name])
        file["offsets"] = np.array([0, 3, 3, 7, 8], np.uint16)
    with Hdf5RecordReader(tmp_path / "a") as reader:
        holds(reader, what)
        assert reader.columns[None].dtype.isnative
        holds(pickle.loads(pickle.dumps(reader)), what)
    with Hdf5RecordWriter(tmp_path / "a", append=True) as writer:
        writer.write(records[0])
    with Hdf5RecordReader(tmp_path / "a", verify=True) as reader:
        holds(reader, Made([*records, records[0]], initial_index=2, kinds=what.kinds))
        equal(reader.retrieve(6), records[0])
