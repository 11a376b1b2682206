"""What each of .npy, .npz, HDF5, .hsq, record files and zarr has of its own: foreign files, damage that is left out."""

from __future__ import annotations

import gzip
import lzma
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr

from batchup import typed_files
from batchup.columns import Ragged
from batchup.errors import ChecksumError, FileBusyError, FileFormatError, InvalidTypeError, InvalidValueError
from batchup.formats.hdf5.sink import hdf5_sink, write_hdf5
from batchup.formats.hdf5.table import Hdf5Table, read_hdf5
from batchup.formats.hsq import HsqTable, hsq_sink, read_hsq
from batchup.formats.numpy_files import npz_table
from batchup.formats.numpy_files.npy import NpyTable, npy_sink
from batchup.formats.numpy_files.npz_table import NpzTable
from batchup.formats.records import RecordsTable, read_records, write_records
from batchup.formats.rows import Rows
from batchup.formats.table import BYTES, TEXT, Field, Table, objects
from batchup.formats.zarr.sink import zarr_sink
from batchup.formats.zarr.table import ZarrTable, read_zarr, write_zarr
from batchup.hypersequence import HyperSequenceFile, HyperSequenceWriter
from batchup.sequences import FileRecordReader, FileRecordWriter, Hdf5RecordWriter
from tests.format_laws import read, written

Y = {"y": Field(np.dtype("i8"))}
FIXED = np.array([b"a", "é".encode(), b""], h5py.string_dtype("utf-8", 4))


def flipped(path: Path, place: int) -> None:
    """Change a byte of a file."""
    data = bytearray(path.read_bytes())
    data[place] ^= 255
    path.write_bytes(data)


# .npy


def test_npy_fields_are_columns(tmp_path: Path) -> None:
    """The fields of a structured dtype are columns, mapped or from a stream; the sink takes one plain column."""
    array = np.array([(1, [2.5, 3], "é"), (4, [5, 6], "")], [("a", "<i4"), ("b", ">f8", 2), ("c", "U3")])
    np.save(tmp_path / "a.npy", array)
    (tmp_path / "a.npy.gz").write_bytes(gzip.compress((tmp_path / "a.npy").read_bytes()))
    for name in ("a.npy", "a.npy.gz"):
        with NpyTable(str(tmp_path / name)) as table:
            assert [str(field) for field in table.fields.values()] == ["int32", ">f8 (2,)", "<U3"]
            found = read(table, ["c", "b"])
            assert found["c"].tolist() == ["é", ""]
            assert found["b"].tolist() == [[2.5, 3], [5, 6]]
            assert (table.columns() is None) == (name == "a.npy.gz")
    with pytest.raises(InvalidValueError, match=r"one column, got \['x', 'y'\]: write an \.npz"):
        written(npy_sink, tmp_path / "b.npy", {"x": Y["y"], **Y}, [])
    with pytest.raises(InvalidTypeError, match=r"column 'y' is \[.*write \.npz"):
        written(npy_sink, tmp_path / "b.npy", {"y": Field(array.dtype)}, [])


@pytest.mark.parametrize(("suffix", "compress"), [(".gz", gzip.compress), (".xz", lzma.compress), ("", bytes)])
def test_npy_cut_short(tmp_path: Path, suffix: str, compress: Any) -> None:
    """A file that is cut short is refused with the row, or its whole rows are read if that is asked for."""
    np.save(tmp_path / "a.npy", np.arange(160_000).reshape(-1, 2))
    data = (tmp_path / "a.npy").read_bytes()
    path = tmp_path / f"b.npy{suffix}"
    path.write_bytes(compress(data[: 128 + 1000 * 16 + 5]))
    with pytest.raises(FileFormatError, match="cut short"):
        read(NpyTable(str(path)))
    with NpyTable(str(path), on_error="skip") as table:
        assert read(table)["x"].tolist() == np.arange(2000).reshape(-1, 2).tolist()
        (problem,) = table.problems
        assert "b.npy" in str(problem)
    if suffix:
        path.write_bytes(compress(data)[:-1000])
        with pytest.raises(FileFormatError, match=r"b\.npy\.[gx]z, row \d+ of 80000: "):
            read(NpyTable(str(path)))
        with NpyTable(str(path), on_error="skip") as table:
            rows = read(table)["x"]
            assert 40_000 < len(rows) < 80_000
            assert (rows == np.arange(160_000).reshape(-1, 2)[: len(rows)]).all()


def test_npy_of_fortran(tmp_path: Path) -> None:
    """Arrays that lie column by column are mapped; in a compressed file they cannot be read row by row."""
    np.save(tmp_path / "a.npy", np.asfortranarray(np.arange(6).reshape(3, 2)))
    assert read(NpyTable(str(tmp_path / "a.npy")))["x"].tolist() == [[0, 1], [2, 3], [4, 5]]
    (tmp_path / "a.npy.gz").write_bytes(gzip.compress((tmp_path / "a.npy").read_bytes()))
    with pytest.raises(FileFormatError, match=r"Fortran's order.*ascontiguousarray"):
        read(NpyTable(str(tmp_path / "a.npy.gz")))
    np.save(tmp_path / "b.npy", np.float64(5))
    with pytest.raises(FileFormatError, match="single value"):
        NpyTable(str(tmp_path / "b.npy"))


# .npz


def test_npz_compressed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compressed arrays are columns if they are small; blocks of them are the same, also of mixed files."""
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        for name, method in (("x", zipfile.ZIP_STORED), ("y", zipfile.ZIP_DEFLATED), ("f", zipfile.ZIP_DEFLATED)):
            array = np.arange(20).reshape(10, 2)
            np.save(tmp_path / "x.npy", np.asfortranarray(array) if name == "f" else array)
            file.write(tmp_path / "x.npy", f"{name}.npy", method)
    with NpzTable(str(tmp_path / "a.npz")) as table:
        columns = table.columns()
        assert columns is not None
        assert [isinstance(column, np.memmap) for column in columns.values()] == [True, False, False]
        assert all((values == array).all() for values in [*columns.values(), *read(table).values()])
        monkeypatch.setattr(npz_table, "SMALL", 100)
        assert table.columns() is None
        assert (read(table, ["y", "x"])["y"] == array).all()
        with pytest.raises(FileFormatError, match=r"array 'f' lies column by column"):
            read(table)


@pytest.mark.parametrize("compressed", [True, False])
def test_npz_damage_is_left_out(tmp_path: Path, compressed: bool) -> None:
    """Rows before the damage are read if that is asked for, of all arrays equally many."""
    rng = np.random.default_rng(0)
    arrays = {"x": rng.random((4000, 500)), "y": np.arange(4000)}
    (np.savez_compressed if compressed else np.savez)(tmp_path / "a.npz", **arrays)
    flipped(tmp_path / "a.npz", 14_000_000)
    with pytest.raises(FileFormatError, match=r"a\.npz, array 'x', row \d+ of 4000: "):
        read(NpzTable(str(tmp_path / "a.npz")))
    with NpzTable(str(tmp_path / "a.npz"), on_error="skip") as table:
        found = read(table)
        assert 1000 < len(found["x"]) == len(found["y"]) < 4000
        if compressed:
            assert (found["x"] == arrays["x"][: len(found["x"])]).all()
        assert len(table.problems) == 1


def test_npz_that_are_no_tables(tmp_path: Path) -> None:
    """Arrays of other lengths, single values and names that are there twice are told."""
    np.savez(tmp_path / "a.npz", x=np.zeros(2), y=np.zeros(3))
    np.savez(tmp_path / "b.npz", x=np.zeros(()))
    np.savez(tmp_path / "d.npz", x=np.array([{}], object))
    with zipfile.ZipFile(tmp_path / "c.npz", "w") as file:
        np.save(tmp_path / "x.npy", np.zeros(2))
        file.write(tmp_path / "x.npy", "x.npy")
        file.write(tmp_path / "x.npy", "x")
    for name, message in [
        ("a", "equally long"),
        ("b", "'x' holds a single value"),
        ("c", "one name"),
        ("d", "objects"),
    ]:
        with pytest.raises(FileFormatError, match=rf"{name}\.npz.*{message}"):
            NpzTable(str(tmp_path / f"{name}.npz"))


# HDF5


def test_hdf5_of_others(tmp_path: Path) -> None:
    """Datasets of any layout, in groups too, are columns: texts, lists, enumerations, and what HDF5 has of its own."""
    lists = h5py.vlen_dtype(np.dtype("i4"))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["f"] = np.arange(6, dtype=">f4").reshape(3, 2)
        file.create_dataset("g/h/chunks", data=np.arange(3), chunks=(2,), compression="gzip")
        file.create_dataset("lists", 3, lists)[...] = [np.array([1, 2]), np.array([], int), np.array([3])]
        file.create_dataset("names", data=["é", "", "abc"])
        file.create_dataset("kinds", data=[0, 1, 0], dtype=h5py.enum_dtype({"no": 0, "yes": 1}, "i1"))
        file.create_dataset("fixed", data=FIXED)
        file["flags"] = np.array([True, False, True])
        file["scalar"] = 5
    with Hdf5Table(str(tmp_path / "a.h5")) as table:
        assert {name: str(field) for name, field in table.fields.items()} == {
            "f": ">f4 (2,)",
            "fixed": "|S4",
            "flags": "bool",
            "g/h/chunks": "int64",
            "kinds": "int8",
            "lists": "int32 (*,)",
            "names": "str",
        }
        found = read(table)
    assert found["lists"].tolist() == [[1, 2], [], [3]]
    assert found["names"].tolist() == ["é", "", "abc"]
    assert found["fixed"].tolist() == [b"a", "é".encode(), b""]
    assert found["kinds"].tolist() == [0, 1, 0]
    assert found["kinds"].dtype.metadata is None
    columns = read_hdf5(tmp_path / "a.h5", columns=["names", "lists"])
    assert columns["names"][[2, 0]].tolist() == ["abc", "é"]
    assert columns["lists"].gather(np.array([2, 0])).tolist() == [[3], [1, 2]]
    assert list(Hdf5Table(str(tmp_path / "a.h5"), group="g/h").fields) == ["chunks"]
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["out"] = h5py.ExternalLink(str(tmp_path / "a.h5"), "g")
    for name, group in [("a", "none"), ("a", "f"), ("b", "out"), ("b", "out/h")]:
        with pytest.raises(FileFormatError, match=rf"{name}\.h5 has no group '{group[:3]}"):
            Hdf5Table(str(tmp_path / f"{name}.h5"), group=group)


def test_hdf5_that_is_refused(tmp_path: Path) -> None:
    """Links, virtual datasets, external storage, references, and datasets of different lengths are refused by name."""
    layout = h5py.VirtualLayout((3,), "i8")
    layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "x", (3,))

    def looped(file: Any) -> None:
        file["a/b"] = np.zeros(3)
        file["a/c"] = file["a"]

    makers: dict[str, Any] = {
        "'x' lies in another file": lambda file: file.__setitem__("x", h5py.ExternalLink("/etc/passwd", "x")),
        "'x' lies in another file, or is a link": lambda file: file.__setitem__("x", h5py.SoftLink("/y")),
        "'x' is no dataset of this file": lambda file: file.create_virtual_dataset("x", layout),
        "'e' is no dataset": lambda file: file.create_dataset("e", 3, "i8", external=[(str(tmp_path / "raw"), 0, 24)]),
        "'r' holds object": lambda file: file.create_dataset("r", 3, h5py.ref_dtype),
        r"equally long.*\{'x': 3, 'y': 4\}.*group=": lambda file: file.update(x=np.zeros(3), y=np.zeros(4)),
        "within itself": looped,
    }
    for message, make in makers.items():
        with h5py.File(tmp_path / "a.h5", "w") as file:
            make(file)
        with pytest.raises(FileFormatError, match=rf"a\.h5.*{message}"):
            Hdf5Table(str(tmp_path / "a.h5"))


def test_hdf5_of_records_and_features(tmp_path: Path) -> None:
    """Files of records and typed files are tables, too."""
    with Hdf5RecordWriter(tmp_path / "r.h5") as writer:
        writer.extend([[1, 2, 3], [4]])
        writer.add_metadata({"language": "none"})
    with Hdf5Table(str(tmp_path / "r.h5")) as table:
        assert (str(table.fields["x"]), table.meta) == ("int64 (*,)", {"language": "none"})
        assert read(table)["x"].tolist() == [[1, 2, 3], [4]]

    class Images(typed_files.TypedFile):
        image = typed_files.Array()

    with Images(tmp_path / "t.h5", "w") as made:
        made.add("one", {"image": np.zeros((2, 3))})
        made.add("two", {"image": np.ones((2, 3))})
    with Hdf5Table(str(tmp_path / "t.h5")) as table:
        assert [str(field) for field in table.fields.values()] == ["str", "float64 (2, 3)"]
        found = read(table)
    assert (found["id"].tolist(), found["image"].sum()) == (["one", "two"], 6)


def test_hdf5_damage_is_left_out(tmp_path: Path) -> None:
    """Rows of a chunk that cannot be read are left out if that is asked for, and those around it are read."""
    values = np.random.default_rng(0).integers(0, 2**62, 1000)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("x", data=values, chunks=(100,), compression="gzip")
        place = dataset.id.get_chunk_info(4).byte_offset
        file["y"] = np.arange(1000)
    flipped(tmp_path / "a.h5", place + 200)
    with pytest.raises(FileFormatError, match=r"a\.h5"):
        read(Hdf5Table(str(tmp_path / "a.h5")))
    with Hdf5Table(str(tmp_path / "a.h5"), on_error="skip") as table:
        found = read(table)
        assert found["y"].tolist() == [*range(400), *range(500, 1000)]
        assert (found["x"] == values[found["y"]]).all()
        assert len(table.problems) == 1


def test_hdf5_is_read_by_others(tmp_path: Path) -> None:
    """What is written is what h5py users expect: texts, offsets of sequences, one piece if rows are known."""
    write_hdf5([{"t": "é", "r": [1, 2], "b": b"\0a"}, {"t": "", "r": [3], "b": b""}], tmp_path / "a.h5", meta={"k": 1})
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["t"].asstr()[:].tolist() == ["é", ""]
        values, offsets = file["r/values"][:], file["r/offsets"][:]
        assert [values[a:b].tolist() for a, b in pairwise(offsets)] == [[1, 2], [3]]
    dates = np.array(["2020-01-01", "NaT"], "M8[D]")
    written(hdf5_sink, tmp_path / "b.h5", {"d": Field(dates.dtype)}, [{"d": dates}], rows=2)
    with h5py.File(tmp_path / "b.h5") as file:
        assert file["d"].chunks is None
        assert file["d"].dtype == np.int64
        assert file["d"].attrs["batchup_dtype"] == b"<M8[D]"


def test_errors_of_the_reader_are_its_own(tmp_path: Path) -> None:
    """What a reader raises while HDF5 is written is not taken for an error of HDF5."""
    wanted = ConnectionError("gone")
    with pytest.raises(ConnectionError, match="gone") as caught:
        fail(tmp_path / "a.h5", wanted)
    assert caught.value is wanted
    assert list(tmp_path.iterdir()) == []


def fail(path: Path, error: Exception) -> None:
    """Raise an error when something has been written."""
    with hdf5_sink(path, Y) as put:
        put({"y": np.arange(3)})
        raise error


# .hsq


def test_hsq_inputs_and_outputs(tmp_path: Path) -> None:
    """The last column is the output, or those that are named; files without names are read, too."""
    fields = {name: Field(np.dtype("f4")) for name in "abc"}
    rows = {name: np.arange(5, dtype="f4") for name in "abc"}
    written(hsq_sink, tmp_path / "a.hsq", fields, [rows], batch_size=2)
    with HyperSequenceFile(tmp_path / "a.hsq") as file:
        assert (file.no_inputs(), file.no_outputs(), file.batch_size(), file.names) == (2, 1, 2, ("a", "b", "c"))
    written(hsq_sink, tmp_path / "a.hsq", fields, [rows], outputs=["b", "a"])
    with HyperSequenceFile(tmp_path / "a.hsq") as file:
        assert (file.no_inputs(), file.names) == (1, ("c", "b", "a"))
    written(hsq_sink, tmp_path / "b.hsq", {"a": fields["a"]}, [{"a": rows["a"]}])
    with HyperSequenceFile(tmp_path / "b.hsq") as file:
        assert (file.no_inputs(), file.no_outputs()) == (1, 0)
    with pytest.raises(InvalidValueError, match=r"no columns \['q'\] to be outputs"):
        written(hsq_sink, tmp_path / "c.hsq", fields, [], outputs=["q"])
    with pytest.raises(InvalidTypeError, match="outputs must be a sequence"):
        written(hsq_sink, tmp_path / "c.hsq", fields, [], outputs="a")
    with pytest.raises(InvalidValueError, match="2 GiB"):
        written(hsq_sink, tmp_path / "c.hsq", {"x": Field(np.dtype("f8"), (2**27,))}, [])
    with HyperSequenceWriter(tmp_path / "d.hsq") as writer:
        writer.extend(np.zeros((3, 2)), np.arange(3))
    assert list(read_hsq(tmp_path / "d.hsq")) == ["i0", "o0"]


def test_hsq_damage_is_left_out(tmp_path: Path) -> None:
    """Native batches that are not what was written are found, or left out, if that is asked for."""
    rows = {"x": np.arange(40).reshape(20, 2), "y": np.arange(20)}
    written(hsq_sink, tmp_path / "a.hsq", {"x": Field(np.dtype("i8"), (2,)), **Y}, [rows], batch_size=4)
    flipped(tmp_path / "a.hsq", 4 * 24 * 2 + 5)
    with pytest.raises(ChecksumError, match=r"a\.hsq: 1 batches .* batch 2"):
        HsqTable(str(tmp_path / "a.hsq"), verify=True)
    with HsqTable(str(tmp_path / "a.hsq"), on_error="skip") as table:
        assert table.rows is None
        assert read(table)["y"].tolist() == [*range(8), *range(12, 20)]
        (problem,) = table.problems
        assert "rows 8 to 11: batch 2 (bytes 192 to 288)" in str(problem)
    assert isinstance(read_hsq(tmp_path / "a.hsq", on_error="skip"), Rows)
    assert isinstance(read_hsq(tmp_path / "a.hsq"), dict)


def test_hsq_leaves_nothing_to_recover(tmp_path: Path) -> None:
    """After an error, nothing is left of whole records, which somebody might recover; another writer is left alone."""
    with pytest.raises(InvalidValueError):
        written(hsq_sink, tmp_path / "a.hsq", Y, [{"y": np.arange(10**6)}, {"y": np.arange(3.0)}])
    assert list(tmp_path.iterdir()) == []
    with HyperSequenceWriter(tmp_path / "a.hsq") as writer:
        writer.extend(np.arange(3))
        with pytest.raises(FileBusyError):
            written(hsq_sink, tmp_path / "a.hsq", Y, [])


# record files


def test_records_of_others(tmp_path: Path) -> None:
    """Files without fields are a column, and what is written is read as records."""
    with FileRecordWriter(tmp_path / "a.records") as writer:
        writer.extend([[1, 2], [3]])
        writer.add_metadata({"k": "v"})
    with RecordsTable(str(tmp_path / "a.records")) as table:
        assert (str(table.fields["x"]), table.meta, table.rows) == ("int64 (*,)", {"k": "v"}, 2)
        assert read(table)["x"].tolist() == [[1, 2], [3]]
    rows = [{"n": 1, "m": np.eye(2), "t": "é", "r": [1, 2]}, {"n": 2, "m": np.ones((2, 2)), "t": "", "r": [3]}]
    write_records(rows, tmp_path / "b.records", meta={"k": "v", "n": 5})
    with FileRecordReader(tmp_path / "b.records") as reader:
        assert (reader.fields, reader.sequence_field, reader.metadata("k")) == (["n", "m", "t", "r"], "r", "v")
        assert bytes(reader.retrieve(0)["t"]).decode() == "é"
        assert reader.retrieve(0)["m"].shape == (2, 2)
    assert read_records(tmp_path / "b.records")["m"].shape == (2, 2, 2)
    with pytest.raises(InvalidValueError, match=r"\['_run'\]"):
        write_records(rows, tmp_path / "c.records", meta={"_run": "x"})
    with pytest.raises(InvalidValueError, match="sequence_field must be one of"):
        write_records(rows, tmp_path / "c.records", sequence_field="q")


def test_records_that_tell_lies(tmp_path: Path) -> None:
    """What a file says of its columns is compared with what is in it."""
    for table in (
        "no JSON",
        '{"columns": [["q", ["<i8", []]]], "meta": {}}',
        '{"columns": [["x", ["<i8", []]]], "meta": {}}',
        '{"columns": [["x", ["<f4", [null]]]], "meta": {}}',
        '{"columns": [["x", ["str", []]]], "meta": {}}',
        '{"columns": [["x", ["|O", [null]]]], "meta": {}}',
        '{"columns": [["x", ["<i8", [-1]]]], "meta": {}}',
        '{"columns": 5, "meta": {}}',
        '{"columns": [], "meta": []}',
    ):
        with FileRecordWriter(tmp_path / "a.records", fields=["x"], sequence_field="x") as writer:
            writer.extend({"x": Ragged.of([[1, 2], [3, 4]])})
            writer.add_metadata({"_table": table})
        with pytest.raises(FileFormatError, match=r"a\.records.* damaged"):
            RecordsTable(str(tmp_path / "a.records"))


def test_records_damage_is_left_out(tmp_path: Path) -> None:
    """Records that are not what was written are found, or left out, if that is asked for."""
    with FileRecordWriter(tmp_path / "a.records") as writer:
        for start in range(0, 3_000_000, 1_000_000):
            writer.write(np.arange(start, start + 1_000_000))
    flipped(tmp_path / "a.records", 9_000_000)
    with pytest.raises(ChecksumError, match=r"a\.records: 1 parts"):
        RecordsTable(str(tmp_path / "a.records"), verify=True)
    with RecordsTable(str(tmp_path / "a.records"), on_error="skip") as table:
        assert [sequence[0] for sequence in read(table)["x"]] == [0, 2_000_000]
        assert "rows 1 to 1" in str(table.problems)


# zarr


def test_zarr_of_others(tmp_path: Path) -> None:
    """Single arrays, and arrays in groups, are columns; others are told."""
    zarr.save_array(str(tmp_path / "a.zarr"), np.arange(5))
    assert read(ZarrTable(str(tmp_path / "a.zarr")))["x"].tolist() == [0, 1, 2, 3, 4]
    group = zarr.open_group(str(tmp_path / "b.zarr"), mode="w")
    for name in ("z", "a", "g/h"):
        group.require_group("g")
        parent, _, last = name.rpartition("/")
        where = group[parent] if parent else group
        make = where.create_array if hasattr(where, "create_array") else where.create_dataset
        make(last, shape=(4, 2), dtype="f4", chunks=(3, 1))[...] = np.arange(8).reshape(4, 2)
    group.attrs["k"] = [1]
    with ZarrTable(str(tmp_path / "b.zarr")) as table:
        assert ({name: str(field) for name, field in table.fields.items()}, table.meta) == (
            {"a": "float32 (2,)", "z": "float32 (2,)", "g/h": "float32 (2,)"},
            {"k": [1]},
        )
        assert (read(table)["g/h"] == np.arange(8).reshape(4, 2)).all()
    assert read_zarr(tmp_path / "b.zarr", columns=["z"])["z"][3].tolist() == [6, 7]
    zarr.save_array(str(tmp_path / "b.zarr" / "short"), np.arange(3))
    with pytest.raises(FileFormatError, match=r"b\.zarr: arrays must be equally long.*'short': 3"):
        ZarrTable(str(tmp_path / "b.zarr"))


def test_zarr_damage_is_left_out(tmp_path: Path) -> None:
    """Rows of a chunk that cannot be read are left out if that is asked for."""
    rows = {"x": np.random.default_rng(0).random((3000, 500)), "y": np.arange(3000)}
    written(zarr_sink, tmp_path / "a.zarr", {"x": Field(np.dtype("f8"), (500,)), **Y}, [rows])
    (tmp_path / "a.zarr" / "x" / "1.0").write_bytes(b"no chunk")
    with pytest.raises(FileFormatError, match=r"a\.zarr, rows \d+ to \d+, column 'x' cannot be read"):
        read(ZarrTable(str(tmp_path / "a.zarr")))
    with ZarrTable(str(tmp_path / "a.zarr"), on_error="skip") as table:
        found = read(table)
        assert 0 < len(found["y"]) < 3000
        assert (found["x"] == rows["x"][found["y"]]).all()
        assert len(table.problems) == 1


def test_zarr_replaces_only_its_own(tmp_path: Path) -> None:
    """A folder with something else in it stays; an empty one is taken, and one of zarr replaced."""
    folder = tmp_path / "a.zarr"
    folder.mkdir()
    for n in range(2):
        write_zarr([{"y": n}], folder)
        assert read(ZarrTable(str(folder)))["y"].tolist() == [n]
    (folder / "mine.txt").write_text("dear to me")
    with pytest.raises(InvalidValueError, match=r"a\.zarr has files in it"):
        write_zarr([{"y": 2}], folder)
    assert (folder / "mine.txt").read_text() == "dear to me"
    assert read_zarr(folder)["y"][0] == 1


def test_readers_want_rows_that_go_together(tmp_path: Path) -> None:
    """Readers return columns, and name what is missing."""
    write_hdf5([{"t": "a", "b": b"\0", "y": 1}], tmp_path / "a.h5")
    write_zarr([{"t": "a", "y": 1}], tmp_path / "a.zarr")
    for reader, name in ((read_hdf5, "a.h5"), (read_zarr, "a.zarr")):
        assert reader(tmp_path / name, columns=["t"])["t"][0] == "a"
        with pytest.raises(InvalidValueError, match=r"no columns \['q'\]"):
            reader(tmp_path / name, columns=["q"])
    table: Table = Hdf5Table(str(tmp_path / "a.h5"))
    source = table.data_source()
    assert source.samples_by_indices([0])["b"].tolist() == [b"\0"]
    assert {name: field.dtype for name, field in table.fields.items()} == {"t": TEXT, "b": BYTES, "y": np.dtype("i8")}
    assert objects(["a"]).tolist() == source.samples_by_indices([0])["t"].tolist()
