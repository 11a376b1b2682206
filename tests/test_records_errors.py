"""Record files misused: an error of the library's at once, which tells what came and what to do; nothing is lost."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from batchup.errors import (
    BatchUpError,
    FileBusyError,
    FileFormatError,
    IndexRangeError,
    InvalidTypeError,
    InvalidValueError,
    LengthError,
)
from batchup.sequences import (
    EosAppender,
    FileRecordReader,
    FileRecordWriter,
    Hdf5RecordWriter,
    InMemoryReader,
    Ragged,
    ShardedWriter,
    unpad,
)

from .hsq import child
from .records import (
    FORMATS,
    Format,
    Made,
    alone,
    equal,
    every_format,
    fielded,
    flushed_at,
    opens_with,
    plain,
    write,
    write_shards,
)

GOOD = {"a": np.arange(3, dtype=np.int16), "b": np.zeros((2, 2), np.float32)}
BAD_WITH_FIELDS: dict[str, tuple[Any, type[Exception], str]] = {
    "a field is missing": ({"a": GOOD["a"]}, InvalidValueError, r"record 1.*missing \['b'\]"),
    "a field too many": ({**GOOD, "c": [1]}, InvalidValueError, r"record 1.*too many \['c'\]"),
    "another field": ({"a": GOOD["a"], "B": GOOD["b"]}, InvalidValueError, r"missing \['b'\], too many \['B'\]"),
    "no dict": (GOOD["a"], InvalidTypeError, r"record 1: a writer with fields takes a dict.*got ndarray"),
    "another dtype": ({**GOOD, "a": np.arange(3)}, InvalidValueError, "record 1, field 'a'.*int16.*got int64"),
    "the other field's dtype": ({**GOOD, "b": np.zeros((2, 2))}, InvalidValueError, "field 'b'.*float32.*float64"),
    "another inner shape": ({**GOOD, "b": np.zeros((2, 3), "f4")}, InvalidValueError, r"field 'b'.*\(2,\).*\(3,\)"),
    "no inner shape": ({**GOOD, "b": np.zeros(2, "f4")}, InvalidValueError, r"field 'b'.*\(2,\).*\(\)"),
    "a scalar": ({**GOOD, "a": np.int16(3)}, InvalidTypeError, "field 'a' must be an array.*dimension"),
    "None": ({**GOOD, "a": None}, InvalidTypeError, "field 'a' must be an array"),
    "ragged lists": ({**GOOD, "a": [[1], [1, 2]]}, InvalidValueError, "field 'a'.*inhomogeneous"),
    "objects": ({**GOOD, "a": np.array([{}, 1])}, InvalidValueError, "field 'a'.*got object"),
}
BAD: dict[str, tuple[Any, type[Exception], str]] = {
    "a dict": ({"a": [1]}, InvalidTypeError, "record 1: a writer without fields takes arrays, got a dict: pass fields"),
    "a scalar": (3, InvalidTypeError, "record 1 must be an array with at least 1 dimension, got 3"),
    "text": ("abc", InvalidTypeError, "record 1 must be an array"),
    "None": (None, InvalidTypeError, "record 1 must be an array"),
    "another dtype": ([1.5], InvalidValueError, "record 1: expected elements of int16.*got float64"),
    "a wider dtype": (np.arange(3), InvalidValueError, "expected elements of int16"),
    "another inner shape": (np.zeros((2, 1), np.int16), InvalidValueError, r"shape \(\).*got int16 and \(1,\)"),
    "objects": (np.array([None]), InvalidValueError, "got object"),
    "elements of no bytes": (np.zeros((2, 0), np.int16), InvalidValueError, r"and \(0,\)"),
}
FIRST_BAD: dict[str, tuple[Any, str]] = {
    "objects": (np.array([None, 1]), "Python objects"),
    "elements of no bytes": (np.zeros((2, 0)), "no bytes"),
    "text of no bytes": (np.zeros(2, "V0"), "no bytes"),
    "several in one": (np.zeros(2, [("x", "i4"), ("y", "f8")]), "made of several"),
}


@every_format
@pytest.mark.parametrize("fields", [False, True], ids=["plain", "fields"])
@pytest.mark.parametrize("flush", [0, 2**20])
def test_bad_records(form: Format, fields: bool, flush: int, tmp_path: Path) -> None:
    """A record that does not fit is refused, by its index; nothing of it is written, and the writer goes on."""
    good: Any = GOOD if fields else GOOD["a"]
    kinds: Any = {name: (part.dtype, part.shape[1:]) for name, part in GOOD.items()} if fields else None
    what = Made([good] * 3, *(["a", "b"], "a") if fields else (), kinds=kinds or {None: (np.dtype("i2"), ())})
    with flushed_at(flush), form.writer(tmp_path / "a", what.fields, what.sequence_field) as writer:
        writer.write(good)
        for record, kind, said in (BAD_WITH_FIELDS if fields else BAD).values():
            for write_it in (writer.write, lambda record: writer.extend([record])):
                with pytest.raises(kind, match=said) as caught:
                    write_it(record)
                assert isinstance(caught.value, BatchUpError)
        assert writer.next_index == 1
        assert writer.write(good) == 1
        with pytest.raises((TypeError, ValueError)):
            writer.extend([good, 3, good])
        assert writer.next_index == 3
    opens_with(form, tmp_path / "a", what)


@every_format
@pytest.mark.parametrize("name", FIRST_BAD)
def test_bad_first_records(form: Format, name: str, tmp_path: Path) -> None:
    """What no file could hold is refused as the first record too, which leaves the choice to the next one."""
    record, said = FIRST_BAD[name]
    with form.writer(tmp_path / "a") as writer:
        for other in ([], record[:0], []):
            writer.write(other)
        with pytest.raises(InvalidTypeError, match=f"{said}"):
            writer.write(record)
        writer.write(np.array([1], np.int8))
    what = Made([[], [], [], np.array([1], np.int8)], kinds={None: (np.dtype(np.int8), ())})
    opens_with(form, tmp_path / "a", what)


@pytest.mark.parametrize("dtype", ["U3", "M8[s]", "m8[D]"])
def test_what_hdf5_cannot_hold(dtype: str, tmp_path: Path) -> None:
    """Elements that HDF5 does not know are refused when they come, not when the file is closed."""
    with Hdf5RecordWriter(tmp_path / "a") as writer:
        writer.write(np.zeros(0, dtype))
        with pytest.raises(InvalidTypeError, match="HDF5 cannot hold elements"):
            writer.write(np.zeros(2, dtype))
        writer.write(np.ones(2, np.int8))
    opens_with(FORMATS["hdf5"], tmp_path / "a", Made([[], np.ones(2, "i1")], kinds={None: (np.dtype("i1"), ())}))


@every_format
def test_extend_by_columns_that_do_not_fit(form: Format, tmp_path: Path) -> None:
    """Columns of different numbers of records, of other fields or of other elements, are refused as a whole."""
    three, two = Ragged.of([[1], [2], [3]]), Ragged.of([[1], [2]])
    with form.writer(tmp_path / "a", ["a", "b"], "a") as writer:
        for bad, kind in (
            ({"a": three, "b": two}, LengthError),
            ({"a": [[1], [2]], "b": [[1]]}, LengthError),
            ({"a": three}, InvalidValueError),
            (three, InvalidTypeError),
        ):
            with pytest.raises(kind):
                writer.extend(bad)
        assert writer.next_index == 0
        writer.write({"a": [1.0], "b": [1]})
        with pytest.raises(InvalidValueError, match=r"field .a.*float64.*int64"):
            writer.extend({"a": three, "b": three})
        assert writer.next_index == 1
    with form.writer(tmp_path / "b") as writer, pytest.raises(InvalidTypeError, match="without fields"):
        writer.extend({"a": three})


OPTIONS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "fields as one string": ({"fields": "ab", "sequence_field": "a"}, InvalidTypeError, "one string 'ab'"),
    "sequence_field is no field": ({"fields": ["a"], "sequence_field": "b"}, InvalidValueError, r"\['a'\], got 'b'"),
    "fields alone": ({"fields": ["a"]}, InvalidValueError, "sequence_field must be one of"),
    "sequence_field alone": ({"sequence_field": "a"}, InvalidValueError, "without fields"),
    "sequence_field without a field": ({"fields": [], "sequence_field": "a"}, InvalidValueError, "without fields"),
    "a field twice": ({"fields": ["a", "a"], "sequence_field": "a"}, InvalidValueError, "different names"),
    "a field without a name": ({"fields": ["a", ""], "sequence_field": "a"}, InvalidValueError, "different names"),
    "a field of a number": ({"fields": ["a", 3], "sequence_field": "a"}, InvalidValueError, "different names"),
    "half a character": ({"fields": ["\ud800"], "sequence_field": "\ud800"}, InvalidValueError, "UTF-8"),
    "a negative index": ({"initial_index": -1}, InvalidValueError, "initial_index.*-1"),
    "a fractional index": ({"initial_index": 1.5}, InvalidValueError, "initial_index"),
    "a bool as an index": ({"initial_index": True}, InvalidTypeError, "initial_index"),
    "text as an index": ({"initial_index": "3"}, InvalidTypeError, "initial_index"),
    "a huge index": ({"initial_index": 2**63}, InvalidValueError, "initial_index"),
}


@every_format
@pytest.mark.parametrize("name", OPTIONS)
def test_options_of_writers(form: Format, name: str, tmp_path: Path) -> None:
    """Options that cannot be are refused when a writer is made, which leaves no trace."""
    options, kind, said = OPTIONS[name]
    with pytest.raises(kind, match=said):
        form.writer(tmp_path / "a", **options)
    with pytest.raises(kind, match=said):
        ShardedWriter(form.writer, f"{tmp_path}/{{}}", 3, **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a/b", "/", ".", "_metadata", "a\0b"])
def test_fields_that_hdf5_cannot_have(name: str, tmp_path: Path) -> None:
    """Names that mean something else in HDF5 are refused at once; record files have them."""
    with pytest.raises(InvalidValueError, match="cannot have a field called"):
        Hdf5RecordWriter(tmp_path / "a", [name], name)
    assert list(tmp_path.iterdir()) == []
    with FileRecordWriter(tmp_path / "a", [name], name) as writer:
        writer.write({name: [1]})
    assert FileRecordReader(tmp_path / "a").retrieve(0)[name].tolist() == [1]


def test_options_of_sharded_writers(tmp_path: Path) -> None:
    """A template without a place, a bound that is none, and `append` are refused."""
    for template, most, more, kind in (
        (f"{tmp_path}/a", 3, {}, InvalidValueError),
        (f"{tmp_path}/{{}}", 0, {}, InvalidValueError),
        (f"{tmp_path}/{{}}", 2.5, {}, InvalidValueError),
        (f"{tmp_path}/{{}}", "3", {}, InvalidTypeError),
        (f"{tmp_path}/{{}}", 3, {"append": False}, InvalidTypeError),
    ):
        with pytest.raises(kind):
            ShardedWriter(FileRecordWriter, template, most, **more)
    assert list(tmp_path.iterdir()) == []


METADATA: dict[str, tuple[Any, type[Exception]]] = {
    "a number": ({"a": 3}, InvalidTypeError),
    "None": ({"a": None}, InvalidTypeError),
    "bytes": ({"a": b"x"}, InvalidTypeError),
    "a key of a number": ({3: "x"}, InvalidTypeError),
    "half a character": ({"a": "\ud800"}, InvalidValueError),
    "a key of half a character": ({"\udfff": "x"}, InvalidValueError),
}


@every_format
@pytest.mark.parametrize("name", METADATA)
def test_metadata_that_is_no_text(form: Format, name: str, tmp_path: Path) -> None:
    """Metadata must be text that can be stored; nothing of the rest is taken either."""
    metadata, kind = METADATA[name]
    with form.writer(tmp_path / "a") as writer:
        writer.add_metadata({"z": "before"})
        with pytest.raises(kind, match="metadata"):
            writer.add_metadata({"z": "after", **metadata})
    with form.reader(tmp_path / "a") as reader:
        assert reader.metadata("z") == "before"


INDEXES: dict[str, tuple[Any, type[Exception], str]] = {
    "negative": (-1, IndexRangeError, "no record -1: they run from 3 to 7"),
    "before the first": (2, IndexRangeError, "no record 2: they run from 3 to 7"),
    "too large": (8, IndexRangeError, "no record 8: they run from 3 to 7"),
    "huge": (2**64, IndexRangeError, "no record 18446744073709551616"),
    "a bool": (True, InvalidTypeError, "one int, got True; gather reads many"),
    "a fraction": (3.0, InvalidTypeError, "one int, got 3.0"),
    "a list": ([3], InvalidTypeError, r"one int, got \[3\]"),
    "text": ("3", InvalidTypeError, "one int, got '3'"),
    "None": (None, InvalidTypeError, "one int, got None"),
    "a slice": (slice(3, 4), InvalidTypeError, "one int"),
}
GATHERED: dict[str, tuple[Any, type[Exception]]] = {
    "negative": ([3, -1], IndexRangeError),
    "before the first": ([2, 3], IndexRangeError),
    "too large": ([7, 8], IndexRangeError),
    "huge": (np.array([2**63], np.uint64), IndexRangeError),
    "a mask": ([True] * 5, InvalidTypeError),
    "fractions": ([3.0], InvalidTypeError),
    "text": (["3"], InvalidTypeError),
    "None": (None, InvalidTypeError),
    "two dimensions": ([[3, 4]], InvalidValueError),
}


@every_format
def test_indexes(form: Format, tmp_path: Path) -> None:
    """A record is read by an int, of any kind, among the indexes; many by a list of them."""
    what = plain(5, 3)
    with (
        form.reader(write(form, tmp_path / "a", what)) as one,
        form.reader(write_shards(form, tmp_path, what, 2)) as several,
    ):
        for reader in (one, several):
            for index, kind, said in INDEXES.values():
                for read in (reader.retrieve, reader.length):
                    with pytest.raises(kind, match=said):
                        read(index)
            for name, (indexes, kind) in GATHERED.items():
                with pytest.raises(kind) as caught:
                    reader.gather(indexes)
                assert isinstance(caught.value, BatchUpError), name
            for index in (np.int8(4), np.uint64(4)):
                equal(reader.retrieve(index), what.expected(1))
            assert reader.gather(np.array([7, 3], np.uint8)).tolist() == reader.gather((7, 3)).tolist()
            assert reader.gather(4).tolist() == [what.expected(1).tolist()]


@every_format
def test_appending_what_does_not_fit(form: Format, tmp_path: Path) -> None:
    """A file to append to tells fields and elements: others are refused, and it stays as it was."""
    what = fielded(5)
    path = write(form, tmp_path / "a", what)
    before = path.read_bytes()
    for fields, main in ((["a"], "a"), (["a", "b", "c"], "a"), (["a", "b"], "b"), (["a", "x"], "a")):
        with pytest.raises(InvalidValueError, match=r"has the fields \['a', 'b'\].*'a'"):
            form.writer(path, fields, main, append=True)
        assert path.read_bytes() == before
    with form.writer(path, ["b", "a"], "a", append=True, initial_index=77) as writer:
        assert (writer.fields, writer.sequence_field, writer.next_index) == (["a", "b"], "a", 5)
        with pytest.raises(InvalidValueError, match=r"record 5, field .a.*int16"):
            writer.write({"a": np.arange(3), "b": []})
    opens_with(form, path, what)
    alone(path)
    path = write(form, tmp_path / "b", plain(2))
    with pytest.raises(InvalidValueError, match="has the fields None"):
        form.writer(path, ["a"], "a", append=True)
    (tmp_path / "a").unlink()
    alone(path)


@every_format
def test_closed_writers(form: Format, tmp_path: Path) -> None:
    """A writer that is closed, or given up, takes nothing more, and says how to go on."""
    for end in ("close", "discard"):
        writer = form.writer(tmp_path / end)
        writer.write([1])
        getattr(writer, end)()
        assert writer.closed
        for use in (lambda w: w.write([2]), lambda w: w.extend([[2]]), lambda w: w.add_metadata({"a": "b"})):
            with pytest.raises(InvalidValueError, match=f"{end} has been closed: open it with append=True"):
                use(writer)
        writer.close()
        writer.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["close"]


@every_format
def test_writers_that_are_not_closed(form: Format, tmp_path: Path) -> None:
    """A writer that is forgotten warns, and leaves nothing."""
    path = write(form, tmp_path / "a", plain(3))
    before = path.read_bytes()
    for append in (False, True):
        with pytest.warns(ResourceWarning, match="was not closed: nothing is kept"):
            form.writer(path, append=append).write(np.array([1], np.int32))
        assert path.read_bytes() == before
        alone(path)


class MineError(Exception):
    """Leaves a block."""


@every_format
@pytest.mark.parametrize("flush", [0, 2**20])
def test_an_exception_in_the_block(form: Format, flush: int, tmp_path: Path) -> None:
    """An exception inside the block comes through and leaves no file, or the one that was there, byte by byte."""
    path, what = tmp_path / "a", plain(6)

    def fail(append: bool) -> None:
        with flushed_at(flush), form.writer(path, append=append) as writer:
            writer.extend(what.records)
            writer.add_metadata({"a": "b"})
            raise MineError

    for append in (False, True):
        with pytest.raises(MineError):
            fail(append)
    assert list(tmp_path.iterdir()) == []
    before = write(form, path, what).read_bytes()
    for append in (False, True):
        with pytest.raises(MineError):
            fail(append)
    assert path.read_bytes() == before
    alone(path)
    opens_with(form, path, what)


@every_format
def test_an_exception_in_the_block_of_a_sharded_writer(form: Format, tmp_path: Path) -> None:
    """The shards that are whole stay; the one that is not goes."""
    with contextlib.suppress(MineError), ShardedWriter(form.writer, f"{tmp_path}/{{}}", 2) as writer:
        writer.extend(plain(5).records)
        raise MineError
    assert {path.name for path in tmp_path.iterdir()} == {"1", "2"}
    opens_with(form, [tmp_path / "1", tmp_path / "2"], plain(4))


@every_format
def test_folders_and_other_things_as_names(form: Format, tmp_path: Path) -> None:
    """A folder, a device or nothing is no file to write or to read, and stays what it is."""
    (tmp_path / "folder").mkdir()
    for append in (False, True):
        for name in (tmp_path / "folder", "/dev/null", str(tmp_path)):
            with pytest.raises(InvalidValueError, match="is a folder or a device: name a file"):
                form.writer(name, append=append)
        with pytest.raises(FileNotFoundError):
            form.writer(tmp_path / "no folder" / "a", append=append)
    for name, kind in ((tmp_path / "folder", IsADirectoryError), (tmp_path / "nothing", FileNotFoundError)):
        with pytest.raises(kind):
            form.reader(name)
    with pytest.raises(FileFormatError):
        form.reader("/dev/null")
    with pytest.raises(InvalidValueError, match="at least one file"):
        form.reader([])
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    (tmp_path / "a.partial").mkdir()
    with pytest.raises((InvalidValueError, IsADirectoryError)):
        form.writer(tmp_path / "a")


@every_format
def test_two_writers_at_once(form: Format, tmp_path: Path) -> None:
    """While one writes, another is told so, by any name, in this process and others; afterwards it may."""
    path = write(form, tmp_path / "a", plain(3))
    (tmp_path / "link").symlink_to("a")
    code = """if True:
        import sys
        from batchup.errors import FileBusyError
        from tests.records import FORMATS
        try:
            FORMATS[sys.argv[1]].writer(sys.argv[2], append=sys.argv[3] == "True").close()
        except FileBusyError as error:
            assert "wait until it has closed" in str(error), error
            print("busy")
    """
    name = next(name for name in FORMATS if FORMATS[name] is form)
    for append in (False, True):
        with form.writer(path, append=append) as writer:
            writer.write(np.array([5], np.int32))
            for other in (path, tmp_path / "link"):
                with pytest.raises(FileBusyError, match="another writer is at"):
                    form.writer(other, append=append)
            assert child(code, name, path, append) == "busy\n"
            writer.write(np.array([6, 7], np.int32))
        with form.reader(path) as reader:
            assert reader.gather(list(reader.indexes())[-2:]).tolist() == [[5], [6, 7]]
            assert reader.num_records() == 2 + 2 * append
        assert child(code, name, path, True) == ""


@every_format
def test_forked_processes(form: Format, tmp_path: Path) -> None:
    """A fork's copy of a writer takes nothing, finishes nothing, and gives up nothing that is its parent's."""
    code = """if True:
        import gc, os, sys
        from batchup.errors import InvalidValueError
        from tests.records import FORMATS, opens_with, plain
        form, path = FORMATS[sys.argv[1]], sys.argv[2]

        def refused(use):
            try:
                use()
            except InvalidValueError as error:
                assert "by the process that opened it" in str(error)
            else:
                os._exit(3)

        def in_child(writer, how):
            if how == "use":
                for use in (lambda: writer.write([1]), lambda: writer.add_metadata({}), writer.close, writer.close):
                    refused(use)
            elif how == "discard":
                writer.discard()
            elif how == "leave":
                writer.__exit__(KeyError, KeyError(), None)
            del writer
            gc.collect()
            os._exit(0)

        with form.writer(path) as writer:
            for part, how in enumerate(["use", "discard", "leave", "forget"]):
                if os.fork() == 0:
                    try:
                        in_child(writer, how)
                    finally:
                        os._exit(4)
                assert os.wait()[1] == 0, how
                writer.extend(plain(2, first=2 * part).records)
        opens_with(form, path, plain(8))
        assert os.listdir(os.path.dirname(path)) == ["a"]
    """
    child(code, next(name for name in FORMATS if FORMATS[name] is form), tmp_path / "a")


@every_format
def test_somebody_removes_what_is_being_written(form: Format, tmp_path: Path) -> None:
    """A file that was removed or replaced while it was written is not said to be whole; no other is touched."""
    path = tmp_path / "a"
    writer = form.writer(path)
    writer.write([1])
    (tmp_path / "a.partial").unlink()
    (tmp_path / "a.partial").write_bytes(b"mine")
    with pytest.raises(FileFormatError, match="removed or replaced"):
        writer.close()
    writer.discard()
    assert (tmp_path / "a.partial").read_bytes() == b"mine"
    assert not path.exists()


# shards


def shards_of(form: Format, folder: Path, spans: list[tuple[int, int]]) -> list[Path]:
    """Write a file for each first index and number of records; of which each tells its index."""
    return [write(form, folder / f"{n}", plain(count, first, first)) for n, (first, count) in enumerate(spans)]


@every_format
def test_shards_with_gaps(form: Format, tmp_path: Path) -> None:
    """Missing records are named, with the files before and behind them."""
    paths = shards_of(form, tmp_path, [(0, 4), (9, 2), (4, 3)])
    with pytest.raises(FileFormatError, match=r"records 7 to 8 are missing: .*/2 ends.*/1 begins.*missing from"):
        form.reader(paths)
    with pytest.raises(FileFormatError, match=r"records 4 to 8 are missing: .*/0 ends.*/1 begins"):
        form.reader(paths[:2])
    opens_with(form, [paths[2], paths[0]], plain(7))
    opens_with(form, [paths[2]], plain(3, 4, 4))


@every_format
@pytest.mark.parametrize("spans", [[(0, 4), (3, 2)], [(0, 4), (0, 4)], [(0, 9), (2, 1)], [(0, 1), (0, 5)]], ids=str)
def test_shards_that_overlap(form: Format, spans: list[tuple[int, int]], tmp_path: Path) -> None:
    """Records that are in two files are named, with both files."""
    paths = shards_of(form, tmp_path, spans)
    for order in (paths, paths[::-1]):
        with pytest.raises(FileFormatError, match=rf"both hold record {spans[1][0]}: .*one by one") as caught:
            form.reader(order)
        assert all(str(path) in str(caught.value) for path in paths)


@every_format
@pytest.mark.parametrize(
    "spans", [[(0, 3), (3, 0)], [(0, 0), (0, 3)], [(0, 2), (2, 0), (2, 1), (3, 0)], [(3, 0), (3, 0)]], ids=str
)
def test_empty_shards(form: Format, spans: list[tuple[int, int]], tmp_path: Path) -> None:
    """Shards without records do no harm, wherever they are, and whatever they would hold."""
    paths = shards_of(form, tmp_path, spans)
    for order in (paths, paths[::-1]):
        with form.reader(order) as reader:
            count = sum(count for _, count in spans)
            assert list(reader.indexes()) == list(range(spans[0][0], spans[0][0] + count))
            expected = [record.tolist() for record in plain(count).records]
            assert reader.gather(list(reader.indexes())).tolist() == expected
            assert [reader.length(index) for index in reader.indexes()] == [len(record) for record in expected]
            assert reader.verify() == []


@every_format
def test_shards_of_different_kinds(form: Format, tmp_path: Path) -> None:
    """Shards of other fields, dtypes or shapes are refused, with both files; those of no elements fit all."""
    base = write(form, tmp_path / "base", Made([np.arange(3)]))
    others = {
        "dtype": Made([np.arange(3, dtype=np.int32)], initial_index=1),
        "shape": Made([np.zeros((3, 2), int)], initial_index=1),
        "fields": Made([{"a": [1]}], ["a"], "a", 1),
    }
    for name, what in others.items():
        path = write(form, tmp_path / name, what)
        with pytest.raises(FileFormatError) as caught, form.reader([base, path]) as reader:
            reader.retrieve(0)
        assert str(base) in str(caught.value)
        assert str(path) in str(caught.value)
    one = write(form, tmp_path / "one", Made([{"a": [1], "b": [2]}], ["a", "b"], "a"))
    two = write(form, tmp_path / "two", Made([{"a": [1], "b": [2]}], ["a", "b"], "b", 1))
    with pytest.raises(FileFormatError, match=r"'a'.*'b'"):
        form.reader([one, two])
    nothing = write(form, tmp_path / "nothing", Made([np.zeros((0, 5), np.int8), []], initial_index=1))
    opens_with(form, [nothing, base], Made([np.arange(3), [], []], kinds={None: (np.dtype(int), ())}))


def test_shards_of_both_formats(tmp_path: Path) -> None:
    """A reader tells which of its files is of another kind."""
    paths = [write(form, tmp_path / name, plain(2)) for name, form in FORMATS.items()]
    for form in FORMATS.values():
        with pytest.raises(FileFormatError, match=r"is no record file|is no HDF5 file"):
            form.reader(paths)


# files of something else

NO_FILES = {
    "empty": b"",
    "a byte": b"\x8f",
    "text": b"hello, world\n" * 100,
    "zeros": bytes(9000),
    "the first signature": b"\x8fBURECS\n",
    "the HDF5 signature": b"\x89HDF\r\n\x1a\n",
    "signatures, then zeros": b"\x8fBURECS\n" + bytes(9000),
    "HDF5, then zeros": b"\x89HDF\r\n\x1a\n" + bytes(9000),
    "another version": b"\x8fBURECS\n" + b"\2\0\0\0\0\x10\0\0" + bytes(9000),
}


@every_format
@pytest.mark.parametrize("name", NO_FILES)
def test_files_of_something_else(form: Format, name: str, tmp_path: Path) -> None:
    """What is no such file is neither read nor appended to, and stays as it is; a new file may take its place."""
    path = tmp_path / "a"
    path.write_bytes(NO_FILES[name])
    for use in (form.reader, lambda path: form.writer(path, append=True)):
        with pytest.raises(FileFormatError, match=str(path)):
            use(path)
        assert path.read_bytes() == NO_FILES[name]
        alone(path)
    opens_with(form, write(form, path, plain(2)), plain(2))


@pytest.mark.parametrize("how", ["nothing", "arrays", "groups", "one record"])
def test_hdf5_files_of_something_else(how: str, tmp_path: Path) -> None:
    """HDF5 files that hold other things are refused, by name."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        if how == "arrays":
            file["values"], file["offsets"] = np.arange(5), np.array([0, 2, 5])
        elif how == "groups":
            file.create_group("values/offsets")
        elif how == "one record":
            file["0"], file["lengths"] = np.arange(5), np.array([5])
    for use in (FORMATS["hdf5"].reader, lambda path: Hdf5RecordWriter(path, append=True)):
        with pytest.raises(FileFormatError, match="is no file of records"):
            use(path)
    alone(path)


def test_without_h5py(tmp_path: Path) -> None:
    """Where h5py is not installed, record files work, and HDF5 names the command that installs it."""
    code = """if True:
        import sys
        sys.modules["h5py"] = None
        from batchup.errors import MissingExtraError
        from batchup.sequences import *
        for use in (Hdf5RecordReader, Hdf5RecordWriter):
            try:
                use("a.h5")
            except MissingExtraError as error:
                assert f'{use.__name__} needs h5py: pip install "batchup[hdf5]"' in str(error), error
            else:
                raise SystemExit("no error")
        import numpy as np
        with FileRecordWriter(sys.argv[1]) as writer:
            writer.write([1, 2])
        print(FileRecordReader(sys.argv[1]).retrieve(0).tolist())
    """
    assert child(code, tmp_path / "a") == "[1, 2]\n"


# sequences in memory

CALLS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "offsets that descend": (lambda: Ragged(np.arange(5), [0, 3, 2]), InvalidValueError, "ascend"),
    "offsets beyond the values": (lambda: Ragged(np.arange(5), [0, 6]), InvalidValueError, "ascend"),
    "negative offsets": (lambda: Ragged(np.arange(5), [-1, 2]), InvalidValueError, "ascend"),
    "no offsets": (lambda: Ragged(np.arange(5), []), InvalidValueError, "ascend"),
    "fractional offsets": (lambda: Ragged(np.arange(5), [0.0, 2.0]), InvalidTypeError, "offsets"),
    "a scalar as values": (lambda: Ragged(3, [0]), InvalidValueError, "1 dimension"),
    "objects": (lambda: Ragged(np.array([None]), [0, 1]), InvalidTypeError, "Python objects"),
    "elements of no bytes": (lambda: Ragged(np.zeros((3, 0)), [0, 3]), InvalidTypeError, "no bytes"),
    "scalars as sequences": (lambda: Ragged.of([1, 2]), InvalidTypeError, "sequence 0"),
    "different shapes": (lambda: Ragged.of([[1], [[1, 2]]]), LengthError, "one shape"),
    "another dtype": (lambda: Ragged.of([[1], [1.5]], np.int64), InvalidValueError, "one dtype, got int64 and float64"),
    "an index too large": (lambda: Ragged.of([[1]])[1], IndexError, "index 1"),
    "an index list too large": (lambda: Ragged.of([[1]])[[0, 1]], IndexError, "index 1"),
    "an index of text": (lambda: Ragged.of([[1]])["0"], InvalidValueError, "1-dimensional"),
    "a mask too long": (lambda: Ragged.of([[1]])[np.ones(2, bool)], InvalidTypeError, "flatnonzero"),
    "a width too small": (lambda: Ragged.of([[1, 2]]).pad(to=1), LengthError, "number 0 has 2"),
    "a column's width too small": (lambda: Ragged.of([[1], [1, 2]]).padded(to=1), LengthError, "number 1 has 2"),
    "no multiple": (lambda: Ragged.of([[1]]).pad(to=3, pad_to=2), InvalidValueError, "no multiple"),
    "another side": (lambda: Ragged.of([[1]]).pad(side="up"), InvalidValueError, "'right' or 'left'"),
    "a value that does not fit": (lambda: Ragged.of([[1]]).pad(0.5), InvalidValueError, "cannot hold the value 0.5"),
    "a value too large": (lambda: Ragged.of([np.int8([1])]).pad(300), InvalidValueError, "cannot hold the value 300"),
    "a value of another shape": (lambda: Ragged.of([[[1, 2]]]).pad([1, 2, 3]), InvalidValueError, "cannot hold"),
    "text as a value": (lambda: Ragged.of([[1]]).pad("x"), InvalidValueError, "cannot hold"),
    "beside something else": (lambda: Ragged.of([[1]]).pad(beside="x"), InvalidValueError, "beside"),
    "too few lengths": (lambda: unpad(np.zeros((2, 2)), [1]), LengthError, "one length per row"),
    "lengths too large": (lambda: unpad(np.zeros((1, 2)), [3]), InvalidValueError, "between 0 and the width 2"),
    "negative lengths": (lambda: unpad(np.zeros((1, 2)), [-1]), InvalidValueError, "between 0 and"),
    "no rectangle": (lambda: unpad(np.zeros(2), [1, 1]), LengthError, "rectangle"),
    "an end that does not fit": (lambda: EosAppender(InMemoryReader([[1]]), 0.5).columns, InvalidValueError, "0.5"),
    "dicts without fields": (lambda: InMemoryReader([{"a": [1]}]), InvalidTypeError, "record 0 must be an array"),
    "arrays with fields": (lambda: InMemoryReader([[1]], None, ["a"], "a"), InvalidTypeError, "record 0 must be a"),
    "a missing field": (lambda: InMemoryReader([{"a": [1]}], None, ["a", "b"], "a"), InvalidValueError, "record 0"),
    "text as data": (lambda: InMemoryReader(3), InvalidTypeError, "a list of records"),
    "two numbers of records": (
        lambda: InMemoryReader({"a": [[1]], "b": [[1], [2]]}, None, ["a", "b"], "a"),
        InvalidValueError,
        "one number of records",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_sequences_in_memory(name: str) -> None:
    """What makes no sequences, indices or rectangles is refused in the library's words."""
    call, kind, said = CALLS[name]
    with pytest.raises(kind, match=said) as caught:
        call()
    assert isinstance(caught.value, BatchUpError)


SOURCES: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "beside": ({"beside": "x"}, InvalidValueError, "beside must be"),
    "a record longer than the tokens": ({"max_tokens": 3}, ValueError, "4|max_tokens"),
    "a dict for no fields": ({"value": {"a": 1}}, InvalidValueError, "since there are no fields"),
    "a width too small": ({"to": 2}, LengthError, "longest"),
    "a side": ({"side": "up"}, InvalidValueError, "'right' or 'left'"),
    "a value": ({"value": 0.5}, InvalidValueError, "cannot hold"),
}


@every_format
@pytest.mark.parametrize("name", SOURCES)
def test_data_sources(form: Format, name: str, tmp_path: Path) -> None:
    """A data source that could not give its batches is refused when it is made."""
    options, kind, said = SOURCES[name]
    with form.reader(write(form, tmp_path / "a", plain(9))) as reader, pytest.raises(kind, match=said) as caught:
        reader.data_source(**options)
    assert isinstance(caught.value, BatchUpError)
