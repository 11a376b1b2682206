"""Tables and sinks of .npy, .npz, HDF5, .hsq, record files and zarr: one law, and one way of failing."""

from __future__ import annotations

import errno
import gc
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchup.columns import Ragged
from batchup.errors import FileFormatError, InvalidTypeError, InvalidValueError
from batchup.formats.hdf5.sink import hdf5_sink
from batchup.formats.hdf5.table import Hdf5Table
from batchup.formats.hsq import HsqTable, hsq_sink
from batchup.formats.many import Tables
from batchup.formats.numpy_files.npy import NpyTable, npy_sink
from batchup.formats.numpy_files.npz_table import NpzTable, npz_sink
from batchup.formats.records import RecordsTable, records_sink
from batchup.formats.registry import Writers
from batchup.formats.table import BYTES, TEXT, Block, Field, fields_of, objects
from batchup.formats.zarr.sink import zarr_sink
from batchup.formats.zarr.table import ZarrTable
from tests import soak
from tests.format_laws import check_columns, check_equal, check_law, check_pickles, parts, read, tables, written
from tests.kills import room_for
from tests.pools import eventually


class Kind(NamedTuple):
    """A format."""

    suffix: str
    table: Any
    sink: Any
    options: dict[str, Any]
    meta: bool = True  # whether it is kept


KINDS = {
    "npz": Kind(".npz", NpzTable, npz_sink, {}, meta=False),
    "npz, compressed": Kind(".npz", NpzTable, npz_sink, {"compressed": True}, meta=False),
    "hdf5": Kind(".h5", Hdf5Table, hdf5_sink, {}),
    "hdf5, gzip": Kind(".h5", Hdf5Table, hdf5_sink, {"compression": "gzip"}),
    "hsq": Kind(".hsq", HsqTable, hsq_sink, {"batch_size": 2}),
    "records": Kind(".records", RecordsTable, records_sink, {}),
    "zarr": Kind(".zarr", ZarrTable, zarr_sink, {}),
    "zarr, zipped": Kind(".zarr.zip", ZarrTable, zarr_sink, {"compressed": False}),
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
FILES = {name: kind for name, kind in KINDS.items() if name != "zarr"}
every_file = pytest.mark.parametrize("kind", FILES.values(), ids=FILES)
X, Y = Field(np.dtype("f4"), (50, 50)), Field(np.dtype("i2"))
FIELDS = {"x": X, "y": Y}


def block(count: int = 9) -> Block:
    """Return some rows of 10 kB, which cannot be compressed."""
    x = np.random.default_rng(0).random((count, 50, 50), np.float32)
    return {"x": x, "y": np.arange(count, dtype="i2")}


def write(kind: Kind, path: Path, rows: Block | None = None, **options: Any) -> Path:
    """Write a file."""
    rows = block() if rows is None else rows
    written(kind.sink, path, fields_of(rows), [rows], **kind.options, **options)
    return path


def fail(kind: Kind, path: Path, error: type[BaseException]) -> None:
    """Raise an error when many rows have been written."""
    with kind.sink(path, FIELDS, **kind.options) as put:
        put(block(900))
        raise error


@every_kind
@settings(max_examples=25, deadline=None)
@given(drawn=tables(), sizes=st.lists(st.integers(0, 4), max_size=3), known=st.booleans())
def test_law(tmp_path_factory: pytest.TempPathFactory, kind: Kind, drawn: Any, sizes: list[int], known: bool) -> None:
    """What is written is read back equal, whatever the blocks; or it is refused before there is a file."""
    folder = tmp_path_factory.mktemp("law")
    rows = len(next(iter(drawn[1].values()))) if known else None
    check_law(folder, kind.suffix, kind.table, kind.sink, drawn, sizes, rows=rows, **kind.options)


@settings(max_examples=40, deadline=None)
@given(drawn=tables(most=1), sizes=st.lists(st.integers(0, 4), max_size=3))
def test_law_of_npy(tmp_path_factory: pytest.TempPathFactory, drawn: Any, sizes: list[int]) -> None:
    """The same holds for files of one column, but for its name."""
    (name,) = drawn[0]
    check_law(tmp_path_factory.mktemp("law"), ".npy", lambda path: NpyTable(path, name=name), npy_sink, drawn, sizes)


@every_kind
def test_many_blocks(tmp_path: Path, kind: Kind) -> None:
    """Rows of many blocks are read in order, and in any order; the blocks are bounded."""
    rows = block(1200)
    written(kind.sink, tmp_path / f"a{kind.suffix}", FIELDS, parts(rows, [1, 500, 13]), **kind.options)
    with kind.table(str(tmp_path / f"a{kind.suffix}")) as table:
        sizes = [len(part["y"]) for part in table.blocks()]
        assert sum(sizes) == 1200
        assert max(sizes) < 900
        found, columns = read(table), table.columns()
        both = zip(table.blocks(["y"]), table.blocks(["y"]), strict=True)
        assert all((one["y"] == other["y"]).all() for one, other in both)
    for name, field in FIELDS.items():
        check_equal(found[name], rows[name], field)
    check_columns(columns, FIELDS, rows)
    check_pickles(columns)


@every_kind
def test_same_bytes(tmp_path: Path, kind: Kind) -> None:
    """The same rows make the same bytes, also where there was a file before, which goes."""
    meta = {"a": 1}
    paths = [write(kind, tmp_path / f"{name}{kind.suffix}", meta=meta) for name in "ab"]
    write(kind, paths[1], block(3))
    write(kind, paths[1], meta=meta)
    one, other = ({file.relative_to(path): file for file in [path, *path.rglob("*")]} for path in paths)
    assert one.keys() == other.keys()
    assert all(one[name].is_dir() or one[name].read_bytes() == other[name].read_bytes() for name in one)
    assert len(list(tmp_path.iterdir())) == 2


@every_kind
def test_meta(tmp_path: Path, kind: Kind) -> None:
    """What else is to be kept comes back, where the format can keep it."""
    meta = {"text": "é", "deep": {"list": [1, None, 2.5]}, "n": 3}
    with kind.table(str(write(kind, tmp_path / f"a{kind.suffix}", meta=meta))) as table:
        assert table.meta == (meta if kind.meta else {})
    if kind.meta:
        with pytest.raises((InvalidTypeError, InvalidValueError)):
            write(kind, tmp_path / f"b{kind.suffix}", meta={"a": {1, 2}})
        assert not (tmp_path / f"b{kind.suffix}").exists()


@every_kind
def test_several_files(tmp_path: Path, kind: Kind) -> None:
    """Files are read as one table, in order and in any order; unlike ones are named."""
    rows = block(9)
    for number, part in enumerate(parts(rows, [4])):
        write(kind, tmp_path / f"{number}{kind.suffix}", part)
    paths = [str(tmp_path / f"{number}{kind.suffix}") for number in range(2)]
    table = Tables(kind.table, paths)
    assert table.rows == 9
    check_equal(read(table)["y"], rows["y"], Y)
    check_columns(table.columns() or {}, FIELDS, rows)
    write(kind, tmp_path / f"2{kind.suffix}", {"x": rows["y"], "y": rows["y"]})
    with pytest.raises(FileFormatError, match=r"2\.\w+.* has x: int16, y: int16, but .*0\.\w+"):
        Tables(kind.table, [*paths, str(tmp_path / f"2{kind.suffix}")])


@every_kind
def test_order_of_columns(tmp_path: Path, kind: Kind) -> None:
    """Columns keep their order."""
    names = ["z", "b", "y", "a"]
    write(kind, tmp_path / f"a{kind.suffix}", {name: np.arange(3) for name in names})
    with kind.table(str(tmp_path / f"a{kind.suffix}")) as table:
        assert list(table.fields) == names
        assert [list(part) for part in table.blocks(["y", "z"])] == [["y", "z"]]
        with pytest.raises(InvalidValueError, match=r"no columns \['q'\]"):
            list(table.blocks(["q"]))


@every_kind
def test_zeros(tmp_path: Path, kind: Kind) -> None:
    """Rows of zeros of both signs come back, though zarr would leave such chunks out."""
    rows = {"x": np.array([-0.0] * 9), "n": np.full((9, 2), np.nan), "z": np.zeros(9)}
    with kind.table(str(write(kind, tmp_path / f"a{kind.suffix}", rows))) as table:
        for name, values in read(table).items():
            check_equal(values, rows[name], table.fields[name])


@every_kind
def test_nothing(tmp_path: Path, kind: Kind) -> None:
    """Neither columns nor rows are needed."""
    written(kind.sink, tmp_path / f"a{kind.suffix}", {}, [], **kind.options)
    with kind.table(str(tmp_path / f"a{kind.suffix}")) as table:
        assert (table.fields, table.rows, list(table.blocks())) == ({}, 0, [])


@every_kind
def test_a_writer_that_fails(tmp_path: Path, kind: Kind) -> None:
    """After an exception, an interrupt or wrong rows there is what was there before, and nothing else."""
    path = write(kind, tmp_path / f"a{kind.suffix}")
    before = {file: file.is_file() and file.read_bytes() for file in tmp_path.rglob("*")}
    wrong: list[tuple[Block, str]] = [
        ({"x": block()["x"]}, r"rows 9 to 17: expected the columns \['x', 'y'\], got \['x'\]"),
        ({**block(), "y": np.arange(8, dtype="i2")}, "'y' has 8 values, 'x' has 9"),
        ({**block(), "y": np.arange(9, dtype="i4")}, "expected y: int16, got y: int32"),
        ({**block(), "x": Ragged.of([[1]] * 9)}, r"expected x: float32 \(50, 50\), got x: int64 \(\*,\)"),
    ]
    for rows, message in wrong:
        with pytest.raises(InvalidValueError, match=message):
            written(kind.sink, path, FIELDS, [block(), rows], **kind.options)
    for count in (8, 10):
        with pytest.raises(InvalidValueError, match=f"there were to be {count} rows, and there are"):
            written(kind.sink, path, FIELDS, [block()], rows=count, **kind.options)
    for error in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(error):
            fail(kind, path, error)
    assert {file: file.is_file() and file.read_bytes() for file in tmp_path.rglob("*")} == before


@every_kind
def test_a_full_disk(tmp_path: Path, kind: Kind) -> None:
    """Where there is no room, there is an error that names the file, and nothing half done."""
    for size, count in ((0, 1), (100, 1), (3000, 1), (20_000, 200), (300_000, 400), (9_000_000, 1200)):
        if size > 10**6 and ("gzip" in str(kind.options) or "zarr" in kind.suffix):
            continue  # files of zarr are small, and gzip is slow
        with pytest.raises(OSError, match=r"(?i)file too large|write") as caught, room_for(size):
            write(kind, tmp_path / f"a{kind.suffix}", block(count))
        assert f"a{kind.suffix}" in str(caught.value)
        assert list(tmp_path.iterdir()) == []


@every_file
def test_files_that_are_cut_short(tmp_path: Path, kind: Kind) -> None:
    """A file that ends anywhere before its end is refused with its name, or else gives what was written."""
    path = write(kind, tmp_path / f"whole{kind.suffix}", block(3))
    data, short = path.read_bytes(), tmp_path / f"short{kind.suffix}"
    for size in [*range(0, len(data), 1999), *range(len(data) - 60, len(data), 7)]:
        short.write_bytes(data[:size])
        with pytest.raises(FileFormatError, match="short"), kind.table(str(short)) as table:
            read(table)


@every_file
def test_files_that_are_damaged(tmp_path: Path, kind: Kind) -> None:
    """Wherever bits are wrong, nothing but a FileFormatError comes of it, which names the file."""
    path = write(kind, tmp_path / f"whole{kind.suffix}", {"y": np.arange(50), "z": np.arange(50) % 3}, meta={"a": "b"})
    data, bad = path.read_bytes(), tmp_path / f"bad{kind.suffix}"
    rng = np.random.default_rng(1)
    for place in rng.integers(0, len(data), 200).tolist():
        bad.write_bytes(data[:place] + bytes([data[place] ^ int(rng.integers(1, 256))]) + data[place + 1 :])
        try:
            with kind.table(str(bad)) as table:
                read(table)
        except FileFormatError as error:
            assert "bad" in str(error)  # noqa: PT017


@every_kind
def test_files_of_another_kind(tmp_path: Path, kind: Kind) -> None:
    """What is something else, or is not there, is told so."""
    for number, data in enumerate([b"", b"x,y\n1,2\n", bytes(5000), b"PK\x03\x04" + bytes(99)]):
        path = tmp_path / f"{number}{kind.suffix}"
        path.write_bytes(data)
        with pytest.raises(FileFormatError, match=path.name):
            kind.table(str(path))
    with pytest.raises(FileNotFoundError, match="none"):
        kind.table(str(tmp_path / f"none{kind.suffix}"))
    with pytest.raises(InvalidValueError, match="on_error"):
        kind.table(str(write(kind, tmp_path / f"a{kind.suffix}")), on_error="hide")


FIXED = {"npz", "npz, compressed", "hsq"}
REFUSED: list[tuple[Field, set[str], str]] = [
    (Field(TEXT), FIXED, r"column 'c' is str: give it a length with dtypes="),
    (Field(BYTES), FIXED, r"column 'c' is bytes: give it a length"),
    (Field(BYTES), {"zarr", "zarr, zipped"}, r"zarr holds .*; column 'c' is bytes: "),
    (Field(np.dtype("i8"), (None,)), {*FIXED, "zarr"}, r"column 'c' is int64 \(\*,\): pad it .*Parquet"),
    (Field(np.dtype("i8"), (None, None)), set(KINDS), r"column 'c' is int64 \(\*, \*\): "),
    (Field(np.dtype([("a", "i4")])), set(KINDS) - {"npz", "npz, compressed", "hdf5", "hdf5, gzip"}, "column 'c'"),
    (Field(np.dtype(">i4")), {"records"}, "little-endian: cast it"),
    (Field(np.dtype("M8")), {"zarr"}, "column 'c' is datetime64"),
    (Field(np.dtype("M8[s]"), (None,)), {"hdf5"}, r"column 'c' is datetime64\[s\] \(\*,\): view it as integers"),
]


@pytest.mark.parametrize(("field", "names", "message"), REFUSED, ids=[f"{row[0]}" for row in REFUSED])
def test_what_cannot_be_held(tmp_path: Path, field: Field, names: set[str], message: str) -> None:
    """What a format cannot hold is refused at once, with what to do."""
    for name in sorted(names):
        kind = KINDS[name]
        with pytest.raises(InvalidTypeError, match=message):
            written(kind.sink, tmp_path / f"a{kind.suffix}", {"a": Y, "c": field}, [], **kind.options)
        assert list(tmp_path.iterdir()) == []


NAMES = {
    "npz": ["a\0b", "\udcff"],
    "hdf5": ["", "a\0b", "/a", "a/", "a//b", ".", "a/../b", "\udcff"],
    "hsq": ["o0"],
    "records": ["", "\udcff"],
    "zarr": ["", "a\0b", "/a", "..", "a/.zgroup", ".zarray", "__x", "x" * 300, "\udcff"],
}


@pytest.mark.parametrize("name", NAMES)
def test_names_that_cannot_be(tmp_path: Path, name: str) -> None:
    """Names of columns that a format cannot have are refused at once; so is a column that lies in another."""
    kind = KINDS[name]
    for column in NAMES[name]:
        with pytest.raises(InvalidValueError):
            written(kind.sink, tmp_path / f"a{kind.suffix}", {column: Y, "second": Y, "third": Y}, [])
    if name in ("hdf5", "zarr"):
        with pytest.raises(InvalidValueError, match=r"\['a'\] as columns and as groups"):
            written(kind.sink, tmp_path / f"a{kind.suffix}", {"a": Y, "a/b": Y}, [])
    assert list(tmp_path.iterdir()) == []


def test_texts_that_cannot_be(tmp_path: Path) -> None:
    """A text that cannot be stored is named by its row, and leaves nothing."""
    half, zero = objects(["fine", "\ud800"]), objects(["fine", "a\0b"])
    cases: list[tuple[str, Any, str]] = [
        ("hdf5", half, "row 1: 't' cannot be written as UTF-8"),
        ("hdf5", zero, "row 1: 't' has a zero character.*bytes"),
        ("records", half, "row 1: 't' cannot be written as UTF-8"),
        ("zarr", half, "row 1: 't' cannot be written as UTF-8"),
        ("hdf5", np.array(["a", "\ud800"]), "rows from 0 on: 't'"),
    ]
    for name, texts, message in cases:
        with pytest.raises(InvalidValueError, match=message):
            write(KINDS[name], tmp_path / f"a{KINDS[name].suffix}", {"t": texts})
        assert list(tmp_path.iterdir()) == []
    for name in ("records", "zarr"):
        with KINDS[name].table(str(write(KINDS[name], tmp_path / f"a{KINDS[name].suffix}", {"t": zero}))) as table:
            assert read(table)["t"].tolist() == ["fine", "a\0b"]


@pytest.fixture(autouse=True)
def no_open_files(tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """See to it that tables that are closed, and let go of, leave no file open."""
    folder = str(tmp_path_factory.getbasetemp())
    before = _open_in(folder)
    yield
    caplog.get_records("call").clear()  # errors that zarr's tasks logged hold the files they came from
    # tasks of zarr may hold one for a moment yet; garbage is collected only then, which takes seconds late in a run
    assert _open_in(folder) <= before or eventually(lambda: gc.collect() >= 0 and _open_in(folder) <= before)


def _open_in(folder: str) -> set[str]:
    return {target for target in soak.open_files().values() if target.startswith(folder)}


@pytest.mark.parametrize("name", ["hdf5", "hdf5, gzip"])
@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0)])
def test_texts_without_elements(tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
    """Arrays of strings that have no elements keep their shape, block by block, too."""
    kind, values = KINDS[name], np.empty((3, *shape), "U2")
    path = tmp_path / "a.h5"
    written(kind.sink, path, fields_of({"t": values}), [{"t": values[:1]}, {"t": values[1:]}], **kind.options)
    with kind.table(str(path)) as table:
        assert read(table)["t"].shape == values.shape


def test_another_disk_that_is_full(tmp_path: Path) -> None:
    """What is not for want of room for the file is not said of the file."""

    def items() -> Iterator[dict[str, int]]:
        yield {"x": 1}
        raise OSError(errno.ENOSPC, "No space left on device")

    for name in ("a.npz", "a.npy", "a.hsq", "a.records", "a.h5", "a.zarr", "a.parquet", "a.csv", "a.jsonl", "a.tar"):
        with pytest.raises(OSError, match=r"device$"):
            Writers(items() if name != "a.npy" else (item["x"] for item in items()))(tmp_path / name)
        assert list(tmp_path.iterdir()) == []


def test_zip_files_of_zarr_that_are_no_table(tmp_path: Path) -> None:
    """They are closed, though the error is kept."""
    path = tmp_path / "a.zarr.zip"
    with KINDS["zarr, zipped"].sink(str(path), {"x": Field(np.dtype("i8"))}) as put:
        put({"x": np.arange(3)})
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
            if name == "x/.zarray":
                archive.writestr("y/.zarray", data.replace(b"3", b"4", 1))
    with pytest.raises(FileFormatError, match="equally long") as caught:
        ZarrTable(str(path))
    assert _open_in(str(tmp_path)) == set()
    assert caught.value.__traceback__ is not None
