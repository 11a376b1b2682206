""".npy and .npz files: rows that are written are read, by NumPy too; damage and objects are refused with the name."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from batchup.errors import FileFormatError, InvalidTypeError, InvalidValueError, LengthError
from batchup.formats import read_npy, read_npz, write_npy, write_npz

DTYPES = st.one_of(hnp.scalar_dtypes(), hnp.unicode_string_dtypes(), hnp.byte_string_dtypes())
ARRAYS = DTYPES.flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(max_dims=3, max_side=4)))
ROWS: list[dict[str, Any]] = [{"x": np.full((2, 2), n, np.float32), "y": n} for n in range(5)]


@given(ARRAYS)
def test_npy_round_trip(tmp_path_factory: pytest.TempPathFactory, array: np.ndarray[Any, Any]) -> None:
    """Rows of any dtype and shape are read as they were written, mapped or not, and by NumPy."""
    path = tmp_path_factory.mktemp("npy") / "a.npy"
    write_npy((array[n, ...] for n in range(len(array))), path)
    for read in (read_npy(path), read_npy(path, mmap=False), np.load(path)):
        assert read.dtype == array.dtype
        np.testing.assert_array_equal(read, array)


def test_npy_of_numpy(tmp_path: Path) -> None:
    """What NumPy writes is read: in Fortran's order, without rows, without axes, with fields."""
    fields = np.array([(1, 2.5)], [("a", "i4"), ("b", "f8")])
    for array in (np.asfortranarray(np.eye(3)[:2]), np.zeros((0, 3)), np.array(5), fields):
        np.save(tmp_path / "a.npy", array)
        for mmap in (True, False):
            read = read_npy(tmp_path / "a.npy", mmap)
            assert read.dtype == array.dtype
            np.testing.assert_array_equal(read, array)


def test_npy_maps(tmp_path: Path) -> None:
    """By default the array is mapped, read-only."""
    write_npy(range(3), tmp_path / "a.npy")
    array = read_npy(tmp_path / "a.npy")
    assert isinstance(array, np.memmap)
    assert not array.flags.writeable
    assert read_npy(tmp_path / "a.npy", mmap=False).flags.writeable


def test_nothing(tmp_path: Path) -> None:
    """Without items, files have no rows."""
    write_npy([], tmp_path / "a.npy")
    write_npz([], tmp_path / "a.npz")
    assert np.load(tmp_path / "a.npy").shape == (0,)
    assert read_npz(tmp_path / "a.npz") == {}
    assert list(read_npz(tmp_path / "a.npz", tmp_path / "a.npz")) == []


@pytest.mark.parametrize("compressed", [True, False])
def test_npz_round_trip(tmp_path: Path, compressed: bool) -> None:
    """Dicts and tuples are read as columns, by NumPy too; the same items make the same bytes."""
    for name in ("a.npz", "b.npz"):
        write_npz(iter(ROWS), tmp_path / name, compressed)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    write_npz(((n, [n, 0.5]) for n in range(3)), tmp_path / "c.npz", compressed)
    with np.load(tmp_path / "a.npz") as file:
        assert file["y"].tolist() == [0, 1, 2, 3, 4]
    read = read_npz(tmp_path / "a.npz")
    assert isinstance(read, dict)
    assert {key: (values.dtype.name, values.shape) for key, values in read.items()} == {
        "x": ("float32", (5, 2, 2)),
        "y": ("int64", (5,)),
    }
    assert list(read_npz(tmp_path / "a.npz", keys=["y"])) == ["y"]
    pairs = read_npz(tmp_path / "c.npz")
    assert isinstance(pairs, dict)
    assert {key: values.tolist() for key, values in pairs.items()} == {
        "arr_0": [0, 1, 2],
        "arr_1": [[0, 0.5], [1, 0.5], [2, 0.5]],
    }


def test_several_npz(tmp_path: Path) -> None:
    """Several files are read row by row, as often as one likes, and have a length that needs no data."""
    write_npz(ROWS[:2], tmp_path / "a-1.npz")
    write_npz(ROWS[2:], tmp_path / "a-2.npz", compressed=True)
    source = read_npz(tmp_path / "a-*.npz")
    assert len(source) == 5
    for _ in range(2):
        rows = list(source)
        assert [row["y"] for row in rows] == [0, 1, 2, 3, 4]  # type: ignore[index]
        rows[0]["x"] += 1  # type: ignore[index]
    assert len(pickle.loads(pickle.dumps(source))) == 5
    assert repr(source).startswith("NpzSource(paths=(")
    assert [list(row) for row in read_npz(tmp_path / "a-*.npz", keys=["y", "x"])] == [["y", "x"]] * 5


def test_files_that_do_not_go_together(tmp_path: Path) -> None:
    """Arrays that are missing, too many, or not equally long are named, with the file."""
    np.savez(tmp_path / "a", x=np.zeros(2), y=np.zeros(2))
    np.savez(tmp_path / "b", x=np.zeros(2))
    np.savez(tmp_path / "c", x=np.zeros(2), y=np.zeros(3))
    np.savez(tmp_path / "d", x=np.zeros(2), y=np.zeros(()))
    a, b, c, d = (tmp_path / f"{name}.npz" for name in "abcd")
    with pytest.raises(FileFormatError, match=r"b.npz has no arrays \['y'\]: it has \['x'\]"):
        list(read_npz(a, b))
    with pytest.raises(FileFormatError, match=r"a.npz has arrays \['y'\] that .*b.npz lacks"):
        list(read_npz(b, a))
    assert len(list(read_npz(b, a, keys=["x"]))) == 4
    for uneven in (c, d):
        with pytest.raises(LengthError, match=f"{uneven.name}.*equally long"):
            len(read_npz(a, uneven))
    with pytest.raises(FileFormatError, match=r"a.npz has no arrays \['z'\]: it has \['x', 'y'\]"):
        read_npz(a, keys=["z"])


def test_damaged_npy(tmp_path: Path) -> None:
    """A file that is cut short anywhere, or goes on, or is something else, is refused with its name."""
    path = tmp_path / "a.npy"
    write_npy(range(4), path)
    data = path.read_bytes()
    for mmap in (True, False):
        for size in [*range(0, 128, 9), *range(128, len(data))]:
            path.write_bytes(data[:size])
            with pytest.raises(FileFormatError, match=r"a\.npy"):
                read_npy(path, mmap)
        path.write_bytes(data + b"more")
        with pytest.raises(
            FileFormatError, match=f"a.npy is damaged: 4 bytes lie behind its array, from byte {len(data)}"
        ):
            read_npy(path, mmap)
        path.write_bytes(data.replace(b"(4,)", b"(9**9,)"[:4]))
        with pytest.raises(FileFormatError, match=r"a\.npy"):
            read_npy(path, mmap)


def test_a_huge_shape_allocates_nothing(tmp_path: Path) -> None:
    """A shape beyond the file is refused before there is room for it."""
    with open(tmp_path / "a.npy", "wb") as file:
        header = {"descr": "<f8", "fortran_order": False, "shape": (2**40, 2**40)}
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(FileFormatError, match="cut short: 128 of 9671406556917033397649536 bytes"):
        read_npy(tmp_path / "a.npy")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.write(tmp_path / "a.npy", "x.npy")
    with pytest.raises(FileFormatError, match=r"a\.npz, array 'x' is cut short"):
        read_npz(tmp_path / "a.npz")


def test_objects_are_refused(tmp_path: Path) -> None:
    """Python objects are not read, as that might run programs, nor written."""
    np.save(tmp_path / "a.npy", np.array([{}, 1], object), allow_pickle=True)
    np.savez(tmp_path / "a.npz", fine=np.zeros(2), x=np.array([{}, 1], object))
    with pytest.raises(FileFormatError, match=r"a\.npy has Python objects"):
        read_npy(tmp_path / "a.npy")
    with pytest.raises(FileFormatError, match=r"a\.npz, array 'x' has Python objects"):
        read_npz(tmp_path / "a.npz")
    assert list(read_npz(tmp_path / "a.npz", keys=["fine"])) == ["fine"]
    with pytest.raises(InvalidTypeError, match=r"item 1, array 'x'.*NoneType"):
        write_npz([{"x": 1}, {"x": None}], tmp_path / "b.npz")


@pytest.mark.parametrize("compressed", [True, False])
def test_damaged_npz(tmp_path: Path, compressed: bool) -> None:
    """A damaged archive raises with its name, or says the same."""
    path = tmp_path / "a.npz"
    write_npz(ROWS, path, compressed)
    data = path.read_bytes()
    expected = read_npz(path)
    assert isinstance(expected, dict)
    for size in range(0, len(data), 7):
        path.write_bytes(data[:size])
        with pytest.raises(FileFormatError, match=r"a\.npz"):
            read_npz(path)
    for place in range(0, len(data), 3):
        path.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        try:
            read = read_npz(path)
        except FileFormatError as error:
            assert "a.npz" in str(error)  # noqa: PT017
            continue
        assert isinstance(read, dict)
        for key in read.keys() & expected.keys():
            np.testing.assert_array_equal(read[key], expected[key])


def test_what_cannot_be_written(tmp_path: Path) -> None:
    """Rows that differ are named by their number; the file is whole or absent."""
    cases: list[tuple[Any, type[Exception], str, Any]] = [
        (write_npy, InvalidValueError, r"item 1: all items must be int64 \(\) .* got float64 \(\)", [1, 2.5]),
        (write_npy, InvalidValueError, r"item 2: .*\(2,\) as item 0 is, got int64 \(3,\)", [[1, 2], [3, 4], [5, 6, 7]]),
        (write_npy, InvalidValueError, "item 0 is no array", [[[1], [2, 3]]]),
        (write_npy, InvalidTypeError, "item 0: .*Python objects", [{"a": 1}]),
        (write_npz, InvalidTypeError, "item 1: an .npz file takes dicts or tuples, got int", [(1,), 2]),
        (write_npz, InvalidTypeError, "item 0: .*str, got 1", [{1: 2}]),
        (
            write_npz,
            InvalidValueError,
            r"item 1 must have the keys \['a'\] of item 0, got \['b'\]",
            [{"a": 1}, {"b": 2}],
        ),
        (write_npz, InvalidValueError, "item 1, array 'a': all items", [{"a": 1}, {"a": 2.5}]),
        (write_npz, InvalidValueError, r"item 1 must have the keys \['arr_0'\]", [(1,), (1, 2)]),
    ]
    (tmp_path / "a").write_bytes(b"old")
    for write, kind, message, items in cases:
        with pytest.raises(kind, match=message):
            write(items, tmp_path / "a")
        assert os.listdir(tmp_path) == ["a"]
        assert (tmp_path / "a").read_bytes() == b"old"


def test_arguments_are_checked_at_the_call(tmp_path: Path) -> None:
    """A file that is not there is missed at the call."""
    for read in (read_npy, read_npz):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "none")
    with pytest.raises(InvalidTypeError, match="keys"):
        read_npz(tmp_path / "none", keys="x")


def test_items_are_written_as_they_come(tmp_path: Path) -> None:
    """A generator may read the file that is going to be replaced."""
    write_npy(range(3), tmp_path / "a.npy")

    def doubled() -> Iterator[Any]:
        yield from read_npy(tmp_path / "a.npy") * 2

    write_npy(doubled(), tmp_path / "a.npy")
    assert read_npy(tmp_path / "a.npy").tolist() == [0, 2, 4]
