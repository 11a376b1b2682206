"""Several objects, names, blocks and processes about one typed file: each sees what is there, none undoes another."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from batchup import typed_files as h5m
from batchup.errors import FileBusyError

from .hsq import child
from .kills import in_a_fork


class Pair(h5m.TypedFile):
    """Two features."""

    a = h5m.Array()
    b = h5m.Array()


def pair(path: Path, *sources: str, **options: Any) -> Pair:
    """Write a file whose arrays tell their sources."""
    file = Pair(path, "w", **options)
    for source in sources:
        file.add(source, {"a": np.full(3, ord(source))})
    return file


def test_two_objects_write_in_turns(tmp_path: Path) -> None:
    """What one has added, the other one reads, and goes on behind it; both at once are refused."""
    first = pair(tmp_path / "x.h5", "0")
    second = Pair(tmp_path / "x.h5", "r+")
    for number, file in enumerate([first, second, first, second], start=1):
        file.add(str(number), {"a": np.full(3, ord(str(number)))})
    for file in (first, second, Pair(tmp_path / "x.h5")):
        assert [file.a.get(source)[0] for source in file.index] == [ord(source) for source in "01234"]
    with first:
        first.add("5", {"a": [1]})
        with pytest.raises(FileBusyError, match="in this program"):
            second.add("6", {"a": [1]})
    assert second.add("6", {"a": [1]}).index.names == [*"0123456"]


def test_a_file_that_is_replaced_while_it_is_open(tmp_path: Path) -> None:
    """A file that has taken the name meanwhile is read as it is, once the old one has been closed."""
    pair(tmp_path / "x.h5", "0", "1").close()
    pair(tmp_path / "new.h5", "1", "0").close()
    file = Pair(tmp_path / "x.h5")
    with file:
        assert file.a.get("0")[0] == ord("0")
        os.replace(tmp_path / "new.h5", tmp_path / "x.h5")
    assert [file.a.get(source)[0] for source in "01"] == [ord("0"), ord("1")]


def test_a_file_made_anew_under_a_data_source(tmp_path: Path) -> None:
    """A data source keeps the file that it was made of, when another one takes its name."""
    pair(tmp_path / "x.h5", "0", "1").close()
    source = Pair(tmp_path / "x.h5").data_source(["a"])
    pair(tmp_path / "x.h5", "9").close()
    assert [batch.tolist() for (batch,) in source.batch_iterator(2)] == [[[ord("0")] * 3, [ord("1")] * 3]]
    assert Pair(tmp_path / "x.h5").index.names == ["9"]


def test_a_data_source_of_a_file_that_is_written_to(tmp_path: Path) -> None:
    """Samples are those of the file as it is when they are read, however it is written to."""
    file = pair(tmp_path / "x.h5", "0", "1")
    file.close()
    file = Pair(tmp_path / "x.h5", "r+")
    source = file.data_source(["a"])
    assert [batch[:, 0].tolist() for (batch,) in source.batch_iterator(2)] == [[ord("0"), ord("1")]]
    file.a.iset("1", 0, 7)
    assert [batch[:, 0].tolist() for (batch,) in source.batch_iterator(2)] == [[ord("0"), 7]]
    with h5py.File(tmp_path / "x.h5", "r+") as other:
        other["a/__arr__"][0] = 8
    assert [batch[:, 0].tolist() for (batch,) in source.batch_iterator(2)] == [[8, 7]]


def test_blocks_within_blocks(tmp_path: Path) -> None:
    """The file stays open until the outermost block ends, and not beyond."""
    file = pair(tmp_path / "x.h5", "0")
    with file:
        with file:
            file.a.get("0")
        assert file._contents.handle._file
        file.add("1", {"a": [1]})
    assert not file._contents.handle._file
    assert h5py.File(tmp_path / "x.h5", "r+").close() is None


def test_a_feature_under_two_names(tmp_path: Path) -> None:
    """One object declared twice, and in two classes, is two features."""
    same = h5m.Array()
    first, second = h5m.typedfile("First", {"u": same, "v": same}), h5m.typedfile("Second", {"w": same})
    file = first(tmp_path / "x.h5", "w").add("0", {"u": [1], "v": [2]})
    other = second(tmp_path / "y.h5", "w").add("0", {"w": [3]})
    assert (file.u[:].tolist(), file.v[:].tolist(), other.w[:].tolist()) == ([1], [2], [3])


def test_attributes_stay_as_they_were_written(tmp_path: Path) -> None:
    """A class whose feature has another parameter now does not say so of data that are there."""
    h5m.typedfile("Old", {"wave": h5m.Sound(sr=22050)})(tmp_path / "x.h5", "w").add("a", {"wave": [0.0]}).close()
    new = h5m.typedfile("New", {"wave": h5m.Sound(sr=44100), "more": h5m.Array()})
    assert new(tmp_path / "x.h5", "r+").wave.attrs["sr"] == 22050


def test_transforms_of_what_has_any_shape(tmp_path: Path) -> None:
    """What a feature does to arrays that are read is done within `VShape`, too."""

    class Scaled(h5m.Array):
        __t__ = (lambda array: array * 10,)

    file = h5m.typedfile("Shaped", {"x": h5m.VShape(Scaled())})(tmp_path / "x.h5", "w")
    assert file.add("a", {"x": np.ones((2, 3))}).x.get("a").tolist() == [[10] * 3] * 2


def test_a_reference_of_another_feature(tmp_path: Path) -> None:
    """A reference selects rows of the feature that it is of, and of no other one."""
    file = pair(tmp_path / "x.h5", "0").add("1", {"b": [5, 6]})
    assert file.b[file.b.refs[1]].tolist() == [5, 6]
    for use in (lambda: file.a[file.b.refs[1]], lambda: file.a.__setitem__(file.b.refs[1], 0)):
        with pytest.raises(OSError, match="leads elsewhere"):
            use()


def test_what_fails_midway_leaves_nothing(tmp_path: Path) -> None:
    """If one of several arrays cannot be stored, none is, and the next source gets none of them."""
    cls = h5m.typedfile("Odd", {"a": h5m.Array(), "b": h5m.Array(chunks=(10, 10))})
    file = cls(tmp_path / "x.h5", "w")
    with pytest.raises(ValueError, match="cannot make a dataset"):
        file.add("x", {"a": [1, 2, 3], "b": np.zeros(5)})
    file.add("y", {"b": np.zeros((10, 10))})
    assert (file.index.names, file.a.get("y"), file.b.get("y").shape) == (["y"], None, (10, 10))


def test_a_parent_writes_while_its_child_lives(tmp_path: Path) -> None:
    """A process that was forked off while the file was open for reading does not keep its parent from writing."""
    child("import sys; from tests.test_typed_files_sharing import writes_beside as check; check(sys.argv[1])", tmp_path)


def writes_beside(folder: str) -> None:
    """Write while a child lives; where nothing else runs, since it is forked off."""
    path = Path(folder) / "x.h5"
    pair(path, "0").close()
    file = Pair(path, "r+", keep_open=True)
    assert file.a[:].tolist() == [ord("0")] * 3
    reading, writing = os.pipe()

    pid = os.fork()
    if pid == 0:
        os.close(writing)
        os.read(reading, 1)  # until the parent is done
        os._exit(0)
    try:
        file.add("1", {"a": [1]})
    finally:
        os.close(writing)
        os.close(reading)
        os.waitpid(pid, 0)
    assert file.index.names == ["0", "1"]
    assert in_a_fork(lambda: None if file.a.get("1").tolist() == [1] else 1 / 0) == 0
