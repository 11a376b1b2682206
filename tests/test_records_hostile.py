"""Damaged and hostile files of records: a FileFormatError, quickly, in little memory; flipped bits are found."""

from __future__ import annotations

import faulthandler
import json
import os
import random
import struct
import sys
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from batchup.errors import BatchUpError, FileFormatError
from batchup.sequences import FileRecordReader, FileRecordWriter, Hdf5RecordReader, Hdf5RecordWriter
from batchup.sequences.record_format import SLOT, SLOTS, slot, table_type

from .hsq import UNATTENDED, child
from .records import FORMATS, Format, Made, alone, every_format, fielded, holds, plain, write

LITTLE = 64 * 2**20  # bytes
QUICK = 5.0  # seconds
SECONDS = float(os.environ.get("BATCHUP_FUZZ_SECONDS", "30" if UNATTENDED else "4"))


def read_all(reader: Any, most: int = 2**20) -> None:
    """Read all that a reader has, in all ways; what is read lies in the file, of so many bytes."""
    count = reader.num_records()
    assert count <= most
    assert len(reader.lengths) == count
    indexes = list(reader.indexes())
    for index, length in reader.indexes_and_lengths():
        record = reader.retrieve(index)
        assert len(record if reader.fields is None else record[reader.sequence_field]) == length
    together = reader.gather(indexes[::-1])
    for part in [together] if reader.fields is None else together.values():
        assert part.values.nbytes <= most
    for column in reader.columns.values():
        if column.gather(slice(0, count)).lengths.max(initial=0) * count <= most:
            assert len(column.padded(side="left")[:]) == count
    reader.metadata("k")
    reader.verify()


def refused(form: Format, path: Path) -> str:
    """Check that a file is refused by whatever opens it, in time and memory, and stays; return what is said."""
    before, begin = path.read_bytes(), time.perf_counter()
    said = ""
    tracemalloc.start()
    try:
        for use in (form.reader, lambda path: form.reader([path], verify=True), lambda p: form.writer(p, append=True)):
            with pytest.raises(FileFormatError) as caught:
                use(path)
            said = str(caught.value)
            assert str(path) in said
            assert len(said) < 2000
        assert tracemalloc.get_traced_memory()[1] < LITTLE
    finally:
        tracemalloc.stop()
    assert time.perf_counter() - begin < QUICK
    assert path.read_bytes() == before
    alone(path)
    return said


def small(form: Format, path: Path) -> tuple[Path, Made]:
    """Write a small file in two sessions, with fields and metadata; return it, and what is in it."""
    what = Made(fielded(5).records, ["a", "b"], "a", 3, {"k": "Ünï"}, fielded(5).kinds)
    return write(form, path, what, [3], 20), what


@every_format
def test_truncated_anywhere(form: Format, tmp_path: Path) -> None:
    """A file that is cut short, at whatever byte, is refused."""
    path, _ = small(form, tmp_path / "a")
    file = path.read_bytes()
    for length in range(len(file)):
        path.write_bytes(file[:length])
        with pytest.raises(FileFormatError, match="/a "):
            form.reader(path)
    for length in range(0, len(file), 97):
        path.write_bytes(file[:length])
        refused(form, path)


def test_truncated_files_of_seqp(tmp_path: Path) -> None:
    """Those of seqp too."""
    import seqp.hdf5

    path = tmp_path / "a"
    with seqp.hdf5.Hdf5RecordWriter(str(path)) as writer:
        for record in plain(3).records:
            writer.write(record)
    file = path.read_bytes()
    for length in range(0, len(file), 3):
        path.write_bytes(file[:length])
        with pytest.raises(FileFormatError, match="/a "):
            Hdf5RecordReader(path)


@every_format
def test_grown(form: Format, tmp_path: Path) -> None:
    """Bytes behind the end, as a writer leaves them that is killed, change nothing."""
    path, what = small(form, tmp_path / "a")
    for more in (b"\0", b"x" * 5000):
        with open(path, "ab") as file:
            file.write(more)
        with form.reader(path, verify=True) as reader:
            holds(reader, what)


@pytest.mark.parametrize("cuts", [(), (3,)], ids=["one session", "two sessions"])
def test_every_flipped_byte(cuts: tuple[int, ...], tmp_path: Path) -> None:
    """A changed byte is noticed at opening, or by `verify`, or nothing that can be read differs."""
    what = Made(fielded(5).records, ["a", "b"], "a", 3, {"k": "Ünï"}, fielded(5).kinds)
    path = write(FORMATS["records"], tmp_path / "a", what, cuts, 20)
    file, unnoticed, damaged = path.read_bytes(), set(), 0
    for place in (place for place in range(len(file)) if not 1100 < place < 4096 or place % 16 == 0):
        bad = bytearray(file)
        bad[place] ^= 1 << place % 8
        path.write_bytes(bad)
        try:
            with FileRecordReader(path) as reader:
                if not reader.verify():
                    unnoticed.add(place)
                    holds(reader, what)
                else:
                    damaged += 1
        except FileFormatError as error:
            assert str(path) in str(error)  # noqa: PT017
    data, _, table = told(file)
    newest = max(SLOTS, key=lambda place: SLOT.unpack_from(file, place)[0])
    used = {*range(12), *range(newest, newest + SLOT.size + 4), *range(len(data), len(file))}
    for count, row in zip(table["records"].tolist(), table["fields"].tolist(), strict=True):
        for start, size, _, _, lengths_start in row:
            used |= {*range(start, start + size), *range(lengths_start, lengths_start + 4 * count)}
    assert unnoticed & used == set()
    assert damaged > 80


def test_a_damaged_value_says_where(tmp_path: Path) -> None:
    """`verify` names the file, the field, and the records that were written together."""
    path, what = small(FORMATS["records"], tmp_path / "a")
    file = path.read_bytes()
    place = file.index(what.part(4, "b").tobytes())
    path.write_bytes(file[:place] + b"x" + file[place + 1 :])
    (damage,) = FileRecordReader(path).verify()
    assert (damage.file, damage.field) == (str(path), "b")
    assert damage.first <= 7 <= damage.last
    assert "field 'b'" in str(damage)
    assert FileRecordReader(path).retrieve(3)["a"].tolist() == what.part(0, "a").tolist()


def test_an_older_state_is_no_secret(tmp_path: Path) -> None:
    """If what tells of the newest records is damaged, the older ones are read, and `verify` says so."""
    path, what = small(FORMATS["records"], tmp_path / "a")
    file = bytearray(path.read_bytes())
    newest = max(SLOTS, key=lambda place: SLOT.unpack_from(file, place)[0])
    file[newest + 9] ^= 4
    path.write_bytes(file)
    with FileRecordReader(path) as reader:
        assert reader.num_records() == 3
        assert "newer records" in str(reader.verify()[0])
    with FileRecordWriter(path, append=True) as writer:
        writer.extend(what.records[3:])
        writer.add_metadata(what.metadata)
    with FileRecordReader(path, verify=True) as reader:
        holds(reader, what)


# record files whose index lies


def told(file: bytes) -> tuple[bytes, dict[str, Any], Any]:
    """Return what lies before the index of a record file, what that says, and its table."""
    _, start, length, _ = max(SLOT.unpack_from(file, place) for place in SLOTS)
    text = file[start : start + length]
    (size,) = struct.unpack_from("<Q", text)
    meta = json.loads(text[8 : 8 + size])
    return file[:start], meta, np.frombuffer(text[8 + size :], table_type(len(meta["fields"] or [0]))).copy()


def telling(data: bytes, meta: Any, table: Any) -> bytes:
    """Return a record file with an index that says this, and has the right checksum."""
    text = meta if isinstance(meta, bytes) else json.dumps(meta).encode()
    index = struct.pack("<Q", len(text)) + text + (table if isinstance(table, bytes) else table.tobytes())
    head = bytearray(data)
    head[SLOTS[0] : SLOTS[0] + SLOT.size + 4] = slot(99, len(data), index)
    return bytes(head) + index


NUMBERS: list[Any] = [-1, 1.5, None, "x", [], {}, True, 10**30, float("inf"), float("nan"), 2**63, 2**64]
DTYPES_OF_NOTHING = [None, 3, "", "O", "|O8", "object", "f4,f4", "(2,)f4", "V0", "S0", "U", "q9", "(1e9,)f4", "\ud800"]
LIES: dict[str, list[Any]] = {
    "fields": [None, [], ["a"], ["a", "b", "c"], "ab", 3, ["a", "a"], [1, 2], [None, "a"], {"a": 1}, ["a", ["b"]]],
    "sequence_field": [None, "c", 3, ["a"], {}, ""],
    "initial_index": [-1, None, "x", [], {}, 10**30, float("inf"), float("nan"), 2**63, 2**63 - 1],
    "records": [n for n in NUMBERS if n is not True] + [0, 4, 6],
    "segments": [n for n in NUMBERS if n is not True] + [0, 1, 100],
    "dtypes": [[], ["<i2"], ["<i2"] * 3, "<i2", None, 3, {}, *([dtype, "<f4"] for dtype in DTYPES_OF_NOTHING)],
    "shapes": [
        [],
        [[]],
        [[], [2], []],
        None,
        3,
        {},
        *([[n], [2]] for n in NUMBERS if n not in (True, 1.5)),
        [[0], [2]],
    ],
    "known": [[], [True], None, 3],
    "metadata": [None, [], "x", 3, [["a", "b"]]],
}


@pytest.mark.parametrize(("key", "lie"), [(key, lie) for key, lies in LIES.items() for lie in lies], ids=repr)
def test_lies(key: str, lie: Any, tmp_path: Path) -> None:
    """An index in which one thing is wrong, of whatever kind, is refused."""
    path, _ = small(FORMATS["records"], tmp_path / "a")
    data, meta, table = told(path.read_bytes())
    path.write_bytes(telling(data, meta, table))
    FileRecordReader(path, verify=True).close()
    path.write_bytes(telling(data, {**meta, key: lie}, table))
    refused(FORMATS["records"], path)
    del meta[key]
    path.write_bytes(telling(data, meta, table))
    refused(FORMATS["records"], path)


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"3", b"null", b"\xff", b"[" * 100_000, b'{"fields": null}'], ids=repr
)
def test_no_index_at_all(text: bytes, tmp_path: Path) -> None:
    """What is no JSON, or another one, is refused."""
    path, _ = small(FORMATS["records"], tmp_path / "a")
    data, _, table = told(path.read_bytes())
    path.write_bytes(telling(data, text, table))
    refused(FORMATS["records"], path)


@pytest.mark.parametrize("dtype", ["M8[s/0]", "<M8[s/0]", "<m8[3s/0]"])
def test_dtypes_that_end_the_program(dtype: str, tmp_path: Path) -> None:
    """NumPy divides by what such dtypes say, and ends the program: they must be refused before it sees them."""
    path, _ = small(FORMATS["records"], tmp_path / "a")
    data, meta, table = told(path.read_bytes())
    path.write_bytes(telling(data, {**meta, "dtypes": [dtype, "<f4"]}, table))
    code = """if True:
        import sys
        from pathlib import Path
        from tests.records import FORMATS
        from tests.test_records_hostile import refused
        refused(FORMATS["records"], Path(sys.argv[1]))
    """
    child(code, path)


TABLES: dict[str, Callable[[Any, int], None]] = {
    "values behind the end": lambda table, end: table["fields"]["start"].__setitem__((0, 0), end),
    "values far behind the end": lambda table, end: table["fields"]["start"].__setitem__((0, 0), 2**64 - 1),
    "many values": lambda table, end: table["fields"]["bytes"].__setitem__((0, 0), 2**62),
    "part of an element": lambda table, end: table["fields"]["bytes"].__setitem__((0, 0), 1),
    "fewer values": lambda table, end: table["fields"]["bytes"].__setitem__((0, 0), 0),
    "lengths behind the end": lambda table, end: table["fields"]["lengths_start"].__setitem__((0, 0), end - 3),
    "lengths of something else": lambda table, end: table["fields"]["lengths_start"].__setitem__((0, 0), 0),
    "many records": lambda table, end: table["records"].__setitem__(0, 2**62),
    "no records": lambda table, end: table["records"].__setitem__(0, 0),
}


@pytest.mark.parametrize("name", TABLES)
def test_lies_of_the_table(name: str, tmp_path: Path) -> None:
    """Blocks that do not lie in the file, or do not hold what they should, are refused."""
    path, _ = small(FORMATS["records"], tmp_path / "a")
    data, meta, table = told(path.read_bytes())
    TABLES[name](table, len(data))
    path.write_bytes(telling(data, {**meta, "records": int(table["records"].sum())}, table))
    if name in ("fewer values", "lengths of something else", "no records"):  # lengths are looked at only by readers
        with pytest.raises(FileFormatError):
            FileRecordReader(path)
    else:
        refused(FORMATS["records"], path)


def test_few_bytes_that_would_be_many_records(tmp_path: Path) -> None:
    """Segments that share their bytes, a thousand times over, are refused before memory is taken for them."""
    path = write(FORMATS["records"], tmp_path / "a", Made([np.arange(2, dtype=np.int8)] * 20_000))
    data, meta, table = told(path.read_bytes())
    many = np.repeat(table[:1], 5000)
    meta.update(segments=len(many), records=int(many["records"].sum()))
    path.write_bytes(telling(data, meta, many))
    assert "lie on others" in refused(FORMATS["records"], path)


def test_slots_that_lie(tmp_path: Path) -> None:
    """An index that would be nowhere, huge, or something else is refused."""
    path, _ = small(FORMATS["records"], tmp_path / "a")
    file = path.read_bytes()
    for start, length in ((0, 10), (2**64 - 1, 1), (len(file), 1), (4096, 2**63), (4096, 0), (len(file) - 5, 5)):
        text = SLOT.pack(99, start, length, zlib.crc32(file[start : start + length]))
        bad = bytearray(file)
        bad[SLOTS[0] : SLOTS[0] + SLOT.size + 4] = text + struct.pack("<I", zlib.crc32(text))
        path.write_bytes(bad)
        refused(FORMATS["records"], path)


# HDF5 files that lie


def replaced(file: Any, key: str, value: Any) -> None:
    """Put something else in the place of a part of a file."""
    del file[key]
    file[key] = value


def external(file: Any, key: str, folder: Path) -> None:
    replaced(file, key, h5py.ExternalLink(str(folder / "other.h5"), "/" + key))


def stored_elsewhere(file: Any, key: str, folder: Path) -> None:
    shape, dtype = file[key].shape, file[key].dtype
    (folder / "raw").write_bytes(file[key][()].tobytes())
    del file[key]
    file.create_dataset(key, shape, dtype, external=[(str(folder / "raw"), 0, h5py.h5f.UNLIMITED)])


def virtual(file: Any, key: str, folder: Path) -> None:
    layout = h5py.VirtualLayout(file[key].shape, file[key].dtype)
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), key, file[key].shape)
    del file[key]
    file.create_virtual_dataset(key, layout)


def soft(file: Any, key: str, folder: Path) -> None:
    file.move(key, "elsewhere")
    file[key] = h5py.SoftLink("/elsewhere")


def of_objects(file: Any, key: str, folder: Path) -> None:
    shape = file[key].shape
    del file[key]
    file.create_dataset(key, shape, h5py.vlen_dtype(np.int32))


def of_references(file: Any, key: str, folder: Path) -> None:
    shape = file[key].shape
    del file[key]
    file.create_dataset(key, shape, h5py.ref_dtype)


def of_text(file: Any, key: str, folder: Path) -> None:
    shape = file[key].shape
    del file[key]
    file.create_dataset(key, shape, h5py.string_dtype())


def a_group(file: Any, key: str, folder: Path) -> None:
    del file[key]
    file.create_group(key)


def gone(file: Any, key: str, folder: Path) -> None:
    del file[key]


def a_scalar(file: Any, key: str, folder: Path) -> None:
    replaced(file, key, np.int32(3))


TRICKS = [external, stored_elsewhere, virtual, soft, of_objects, of_references, of_text, a_group, gone, a_scalar]
every_trick = pytest.mark.parametrize("trick", TRICKS, ids=lambda trick: trick.__name__)


@pytest.fixture(name="fielded_file")
def make_fielded_file(tmp_path: Path) -> Path:
    """Return an HDF5 file with fields, in a folder with its twin, which a link might mean."""
    (tmp_path / "there").mkdir()
    write(FORMATS["hdf5"], tmp_path / "other.h5", fielded(5))
    return write(FORMATS["hdf5"], tmp_path / "there" / "a", fielded(5))


@every_trick
@pytest.mark.parametrize("key", ["a/values", "b/offsets", "_metadata", "a"])
def test_tricks_of_hdf5(trick: Callable[..., None], key: str, fielded_file: Path) -> None:
    """What lies in another file, or behind a link, or is made of objects, is refused, though it would fit."""
    if key == "a" and trick not in (external, soft, gone, a_scalar):
        return  # it is a group
    with h5py.File(fielded_file, "r+") as file:
        trick(file, key, fielded_file.parent.parent)
    refused(FORMATS["hdf5"], fielded_file)


VLEN = h5py.vlen_dtype(np.uint8)
HDF5_LIES: dict[str, Callable[[Any], None]] = {
    "another version": lambda file: file.attrs.modify("batchup_records", 2),
    "a version of text": lambda file: file.attrs.__setitem__("batchup_records", "one"),
    "a negative index": lambda file: file.attrs.modify("initial_index", -1),
    "a huge index": lambda file: file.attrs.__setitem__("initial_index", np.uint64(2**63)),
    "an index of text": lambda file: file.attrs.__setitem__("initial_index", "x"),
    "no index": lambda file: file.attrs.__delitem__("initial_index"),
    "an index of NaN": lambda file: file.attrs.__setitem__("initial_index", np.nan),
    "an infinite index": lambda file: file.attrs.__setitem__("initial_index", np.inf),
    "an index of several": lambda file: file.attrs.__setitem__("initial_index", [1, 2]),
    "fields that are no JSON": lambda file: file.attrs.__setitem__("fields", np.bytes_(b"a, b")),
    "fields of numbers": lambda file: file.attrs.__setitem__("fields", np.bytes_(b"[1, 2]")),
    "a number of fields": lambda file: file.attrs.__setitem__("fields", 3),
    "a field that is not there": lambda file: file.attrs.__setitem__("fields", np.bytes_(b'["a", "c"]')),
    "a field elsewhere": lambda file: file.attrs.__setitem__("fields", np.bytes_(b'["a", "../b"]')),
    "no sequence field": lambda file: file.attrs.__delitem__("sequence_field"),
    "another sequence field": lambda file: file.attrs.__setitem__("sequence_field", np.bytes_(b'"c"')),
    "no fields": lambda file: file.attrs.__delitem__("fields"),
    "a sequence field that is no JSON": lambda file: file.attrs.__setitem__("sequence_field", np.bytes_(b"a")),
    "fields of text of any length": lambda file: file.attrs.__setitem__("fields", '["a", "b"]'),
    "metadata that is no JSON": lambda file: replaced(file, "_metadata", np.frombuffer(b"{", np.uint8)),
    "metadata that is a list": lambda file: replaced(file, "_metadata", np.frombuffer(b"[]", np.uint8)),
    "metadata that is no text": lambda file: replaced(file, "_metadata", np.frombuffer(b"\xff", np.uint8)),
    "metadata of bytes": lambda file: (file.__delitem__("_metadata"), file.create_dataset("_metadata", (), VLEN)),
    "fields of bytes": lambda file: file.attrs.create("fields", h5py.Empty(VLEN)),
    "metadata that is a number": lambda file: replaced(file, "_metadata", 3),
    "offsets that descend": lambda file: file["a/offsets"].__setitem__(2, 1000),
    "offsets that begin late": lambda file: file["a/offsets"].__setitem__(0, 1),
    "offsets that begin early": lambda file: file["a/offsets"].__setitem__(0, -1),
    "offsets that end early": lambda file: file["a/offsets"].__setitem__(5, file["a/offsets"][4]),
    "unsigned offsets that descend": lambda file: replaced(
        file, "a/offsets", np.array([0, 9, 1, 2, 3, len(file["a/values"])], np.uint64)
    ),
    "offsets beyond all integers": lambda file: replaced(
        file, "a/offsets", np.array([0, 2**63, 2**63, 2**63, 2**63, len(file["a/values"])], np.uint64)
    ),
    "fractional offsets": lambda file: replaced(file, "a/offsets", file["a/offsets"][()].astype(float)),
    "no offsets": lambda file: replaced(file, "a/offsets", np.zeros(0, int)),
    "offsets in a rectangle": lambda file: replaced(file, "a/offsets", file["a/offsets"][()].reshape(2, 3)),
    "fewer offsets": lambda file: replaced(file, "a/offsets", file["a/offsets"][()][[0, 5]]),
    "fewer values": lambda file: replaced(file, "a/values", file["a/values"][()][:-1]),
    "values of no bytes": lambda file: replaced(file, "b/values", np.zeros((len(file["b/values"]), 0))),
}


@pytest.mark.parametrize("name", HDF5_LIES)
def test_lies_of_hdf5(name: str, fielded_file: Path) -> None:
    """An HDF5 file in which one thing is wrong is refused."""
    with h5py.File(fielded_file, "r+") as file:
        HDF5_LIES[name](file)
    refused(FORMATS["hdf5"], fielded_file)


def test_a_changed_element_of_hdf5(fielded_file: Path) -> None:
    """`verify` finds changed values and offsets by their field; nothing is appended to such a file."""
    with h5py.File(fielded_file, "r+") as file:
        file["b/values"][1, 1] = 7
    with Hdf5RecordReader(fielded_file) as reader:
        (damage,) = reader.verify()
    assert (damage.file, damage.field, damage.first, damage.last) == (str(fielded_file), "b", 0, 4)
    for use in (
        lambda: Hdf5RecordReader(fielded_file, verify=True),
        lambda: Hdf5RecordWriter(fielded_file, append=True),
    ):
        with pytest.raises(FileFormatError, match="field 'b': the values are not"):
            use()
    alone(fielded_file)


# files of seqp that lie


@pytest.fixture(name="seqp_file")
def make_seqp_file(tmp_path: Path) -> Path:
    """Return a file of seqp with fields, in a folder with its twin."""
    import seqp.hdf5

    (tmp_path / "there").mkdir()
    for path in (tmp_path / "other.h5", tmp_path / "there" / "a"):
        with seqp.hdf5.Hdf5RecordWriter(str(path), ["a", "b"], "a") as writer:
            for record in fielded(5).records:
                writer.write(record)
    return tmp_path / "there" / "a"


@every_trick
@pytest.mark.parametrize("key", ["0:a", "1:b", "lengths", "fields"])
def test_tricks_of_seqp(trick: Callable[..., None], key: str, seqp_file: Path) -> None:
    """In files of seqp, what lies elsewhere or is made of objects is refused too."""
    if key in ("lengths", "fields") and trick in (of_text, stored_elsewhere, virtual):
        return  # it is text
    with h5py.File(seqp_file, "r+") as file:
        trick(file, key, seqp_file.parent.parent)
    refused(FORMATS["hdf5"], seqp_file)


def text(key: str, value: str) -> Callable[[Any], None]:
    """Return what has a file of seqp tell something else."""
    return lambda file: file[key].__setitem__(0, value)


SEQP_LIES: dict[str, Callable[[Any], None]] = {
    "lengths that are no JSON": text("lengths", "[1, 2"),
    "lengths that are no list": text("lengths", '{"a": 1}'),
    "lengths of a number": text("lengths", "5"),
    "lengths of text": text("lengths", '["x", 1, 2, 3, 4]'),
    "lengths in lists": text("lengths", "[[1], [2], [3], [4], [5]]"),
    "ragged lengths": text("lengths", "[[1], 2, 3, 4, 5]"),
    "huge lengths": text("lengths", f"[{10**30}, 2, 3, 4, 5]"),
    "negative lengths": text("lengths", "[-1, 2, 3, 4, 5]"),
    "too many lengths": text("lengths", "[1, 2, 3, 4, 1, 1]"),
    "too few lengths": text("lengths", "[1, 2]"),
    "deep lengths": text("lengths", "[" * 100_000),
    "indexes of text": text("initial_index", "x"),
    "negative indexes": lambda file: (text("initial_index", "-1")(file), text("final_index", "3")(file)),  # type: ignore[func-returns-value]
    "other indexes": lambda file: (text("initial_index", "5")(file), text("final_index", "9")(file)),  # type: ignore[func-returns-value]
    "another last index": text("final_index", "7"),
    "fields that are no JSON": text("fields", "a"),
    "fields of numbers": text("fields", "[1]"),
    "other fields": text("fields", '["a", "c"]'),
    "another sequence field": text("sequence_field", "c"),
    "numbers for text": lambda file: replaced(file, "lengths", np.arange(1)),
    "no fields": lambda file: file.__delitem__("fields"),
    "no sequence field": lambda file: file.__delitem__("sequence_field"),
}


@pytest.mark.parametrize("name", SEQP_LIES)
def test_lies_of_seqp(name: str, seqp_file: Path) -> None:
    """A file of seqp in which one thing is wrong is refused."""
    with h5py.File(seqp_file, "r+") as file:
        SEQP_LIES[name](file)
    refused(FORMATS["hdf5"], seqp_file)


@pytest.mark.parametrize("how", ["shorter", "another shape", "another dtype", "external", "objects", "gone"])
def test_a_single_record_of_seqp_that_lies(how: str, seqp_file: Path) -> None:
    """A record that is not what the file tells of it is noticed when it is read; the others are not touched."""
    with h5py.File(seqp_file, "r+") as file:
        new: dict[str, Any] = {
            "shorter": np.arange(1, dtype=np.int16),
            "another shape": np.zeros((3, 2), np.int16),
            "another dtype": np.array([1.5, 2.5, 3.5]),
            "external": h5py.ExternalLink("../other.h5", "2:a"),
        }
        del file["2:a"]
        if how == "objects":
            file.create_dataset("2:a", (3,), h5py.vlen_dtype(np.int16))
        elif how != "gone":
            file["2:a"] = new[how]
    with Hdf5RecordReader(seqp_file) as reader:
        reads = [lambda: reader.retrieve(2), lambda: reader.gather([0, 2])]
        if how == "another dtype":  # by itself it is what it is
            assert reader.retrieve(2)["a"].tolist() == [1.5, 2.5, 3.5]
            del reads[0]
        for read in reads:
            with pytest.raises(FileFormatError, match=str(seqp_file)):
                read()
        assert reader.retrieve(1)["a"].tolist() == fielded(5).records[1]["a"].tolist()


# random damage


def tried(form: Format, path: Path) -> bool:
    """Use a file in all ways, and add to it; nothing may happen but that it is refused; return whether it opens."""
    opened = False
    try:
        with form.reader(path) as reader:
            opened = True
            read_all(reader)
    except BatchUpError:
        pass
    writer = None
    try:
        writer = form.writer(path, append=True)
        writer.add_metadata({"k": "v"})
        writer.close()
    except BatchUpError:
        if writer is not None:
            writer.discard()
    return opened


def heaps(file: bytes) -> set[int]:
    """Return the places where HDF5 keeps texts: damaged there, it may look for them for ever, in C."""
    found: set[int] = set()
    place = file.find(b"GCOL")
    while place >= 0:
        (size,) = struct.unpack_from("<Q", file, place + 8)
        found.update(range(place, place + size + 3))
        place = file.find(b"GCOL", place + 1)
    return found


def fuzz(folder: str, name: str, seconds: str, seed: str, most: str) -> None:
    """Mutate files for some seconds; print how many there were, and how many of them opened."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))
    form, path, rng, count, opened = FORMATS[name], Path(folder) / "m", random.Random(int(seed)), 0, 0
    files = [small(form, path)[0].read_bytes(), write(form, path, plain(6)).read_bytes()]
    if name == "hdf5":
        import seqp.hdf5

        for fields in (None, ["a", "b"]):
            with seqp.hdf5.Hdf5RecordWriter(str(path), fields, fields and "a") as writer:
                for record in plain(3).records if fields is None else fielded(3).records:
                    writer.write(record)
            files.append(path.read_bytes())
    mutable = [(file, sorted({*range(len(file))} - heaps(file))) for file in files]
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end and count < int(most):
        file, places = rng.choice(mutable)
        bad = bytearray(file)
        for _ in range(rng.choice([1, 1, 2, 5])):
            place = rng.choice(places)
            how = rng.randrange(5)
            if how < 2:
                bad[place] ^= 1 << rng.randrange(8)
            elif how == 2:
                bad[place] = rng.choice([0, 1, 255, rng.randrange(256)])
            elif how == 3:
                other = rng.choice(places)
                bad[place : place + 1] = bad[other : other + 1]
            else:
                bad[place - 3 : place + 1] = rng.randbytes(len(bad[place - 3 : place + 1]))
        path.write_bytes(bad)
        (Path(folder) / "latest").write_bytes(bad)
        faulthandler.dump_traceback_later(20, exit=True)
        opened += tried(form, path)
        count += 1
    faulthandler.cancel_dump_traceback_later()
    sys.stdout.write(f"{count} {opened}")


@pytest.mark.parametrize("name", FORMATS)
def test_random_damage(name: str, tmp_path: Path) -> None:
    """Files with random damage are refused, or can be read; nothing else happens, in a process of its own."""
    # HDF5's own library ends the program, or never ends, for one in some thousand damaged files: these are none of them
    seed, most, seconds = (4, 300, 60) if name == "hdf5" else (random.randrange(2**30), 10**9, SECONDS / 2)
    code = "import sys; from tests.test_records_hostile import fuzz; fuzz(*sys.argv[1:])"
    try:
        count, opened = map(int, child(code, tmp_path, name, seconds, seed, most, timeout=SECONDS + 120).split())
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}; the file is {tmp_path / 'latest'}") from None
    assert count > 50
    assert 0.02 < opened / count < 0.98
