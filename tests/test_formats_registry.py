"""The table of formats: attributes are readers and writers, new ones are added in a line, missing libraries named."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batchup import Dataset, open_table
from batchup.errors import BatchUpError, InvalidTypeError, InvalidValueError, MissingExtraError
from batchup.formats import Readers, Writers, read_tfrecord, register, unregister, write_npz

NAMES = "arrow, csv, hdf5, hsq, images, jsonl, npy, npz, parquet, records, text, tfrecord, wav, webdataset, zarr"


def read_numbers(*numbers: int, twice: bool = False) -> list[int]:
    """Return numbers."""
    return list(numbers) * (1 + twice)


def write_numbers(items: Any, into: list[int]) -> None:
    """Put numbers into a list."""
    into.extend(items)


@pytest.fixture
def numbers() -> Iterator[None]:
    """Add formats for the time of a test."""
    register("numbers", read_numbers, write_numbers)
    register("odd", read_numbers, write_numbers, needs=("no_such_module", "odd_extra"))
    register("read_only", reader=read_numbers)
    yield
    for name in ("numbers", "odd", "read_only"):
        unregister(name)


def test_what_there_is() -> None:
    """`dir` and `repr` list the formats."""
    for table in (Readers(list), Writers([])):
        assert dir(table) == NAMES.split(", ")
    assert repr(Readers(list)) == f"<readers: {NAMES}>"
    assert repr(Writers([])) == f"<writers: {NAMES}>"


@pytest.mark.usefixtures("numbers")
def test_a_new_format() -> None:
    """What a reader returns is wrapped; a writer is given the items."""
    assert Readers(tuple).numbers(1, 2, twice=True) == (1, 2, 1, 2)
    into: list[int] = []
    Writers([3, 4]).numbers(into)
    assert into == [3, 4]
    assert "read_only" in dir(Readers(list))
    assert "read_only" not in dir(Writers([]))
    with pytest.raises(AttributeError, match=r"no writer 'read_only': there are arrow, .*numbers, odd, .*, zarr"):
        _ = Writers([]).read_only


@pytest.mark.usefixtures("numbers")
def test_a_missing_library() -> None:
    """A format whose library is missing is listed with the command that installs it, which the error names too."""
    assert 'odd (pip install "batchup[odd_extra]")' in repr(Readers(list))
    with pytest.raises(
        MissingExtraError, match=r'reading odd files needs no_such_module: pip install "batchup\[odd_extra\]"'
    ):
        Readers(list).odd(1)
    with pytest.raises(MissingExtraError, match="writing odd files needs no_such_module"):
        Writers([]).odd([])


def test_signatures() -> None:
    """Readers and writers show their own signatures and docstrings; a writer's lacks the items."""
    read, write = Readers(list).tfrecord, Writers([]).npz
    assert inspect.getdoc(read) == inspect.getdoc(read_tfrecord)
    assert inspect.signature(read) == inspect.signature(read_tfrecord)
    assert inspect.getdoc(write) == inspect.getdoc(write_npz)
    assert list(inspect.signature(write).parameters) == ["path", "compressed"]


def test_unknown_formats() -> None:
    """An unknown format is an AttributeError that lists what there is."""
    for table in (Readers(list), Writers([])):
        with pytest.raises(AttributeError, match=f"'nothing': there are {NAMES}"):
            _ = table.nothing
        assert not hasattr(table, "__array__")


def test_files(tmp_path: Path) -> None:
    """The formats that there are write files, and read them."""
    rows = [{"x": n} for n in range(3)]
    Writers(rows).npz(tmp_path / "a.npz")
    Writers(rows).tfrecord(tmp_path / "a.tfrecord", compression="gzip")
    Writers(range(3)).npy(tmp_path / "a.npy")
    Writers("abc").text(tmp_path / "a.txt")
    read = Readers(list)
    assert read.npz(tmp_path / "a.npz") == ["x"]
    assert [row["x"].tolist() for row in read.tfrecord(tmp_path / "a.tfrecord", compression="gzip")] == [[0], [1], [2]]
    assert read.npy(tmp_path / "a.npy") == [0, 1, 2]
    assert read.text(tmp_path / "a.txt") == ["a", "b", "c"]


def test_bad_registrations() -> None:
    """A format needs a name that is one, and something that reads or writes."""
    cases: list[tuple[type[BatchUpError], Any, Any]] = [
        (InvalidTypeError, 3, print),
        (InvalidValueError, "two words", print),
        (InvalidValueError, "_hidden", print),
        (InvalidValueError, "neither", None),
    ]
    for kind, name, reader in cases:
        with pytest.raises(kind):
            register(name, reader)
    with pytest.raises(InvalidValueError, match="no format 'nothing'"):
        unregister("nothing")


def test_files_of_several_formats(tmp_path: Path) -> None:
    """Files that are read together are of one format; an error tells which they are of, before anything is read."""
    names = [str(tmp_path / name) for name in ("a.npz", "b.jsonl")]
    for name in names:
        Dataset(x=[1, 2]).write(name)
    for read in (open_table, Dataset.read):
        with pytest.raises(InvalidValueError, match=r"one format, got \['jsonl', 'npz'\]"):
            read(*names)
