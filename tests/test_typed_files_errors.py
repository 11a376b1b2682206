"""Typed files misused, damaged, shared or without room: an error at once that says so, and the file as it was."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from batchup import typed_files as h5m
from batchup.errors import BatchUpError, FileBusyError, FileFormatError

from .hsq import child
from .kills import in_a_fork, room_for
from .typed import SAMPLES, Noting, Sample, as_plain, beside, calls, content, made, sample

Use = Callable[[Any], Any]
Refused = dict[str, tuple[Use, type[Exception] | tuple[type[Exception], ...], str | None]]
FULL = ("one", "two", "three", "void")


class Odd:
    """Nothing that HDF5 could hold."""


ADDED: Refused = {
    "what is there": (lambda f: f.add("one", {"x": [1]}), ValueError, "has x already"),
    "what is there, and more": (lambda f: f.add("one", {"new": [1], "x": [1]}), ValueError, "has x already"),
    "what is there, of a group": (lambda f: f.deep.add("one", {"a": 3}), ValueError, "deep/a already"),
    "what is there, of a feature": (lambda f: f.x.add("one", [1]), ValueError, "has x already"),
    "what is there, of any shape": (lambda f: f.shaped.add("one", [1]), ValueError, "already"),
    "another inner shape": (lambda f: f.add("new", {"pair": np.zeros((2, 3), "f4")}), ValueError, "VShape"),
    "a rank too few": (lambda f: f.add("new", {"pair": np.zeros(2, "f4")}), ValueError, "VShape"),
    "a rank too many": (lambda f: f.add("new", {"x": np.zeros((2, 2), "i4")}), ValueError, "VShape"),
    "one that fits, one that does not": (
        lambda f: f.add("new", {"x": [1], "other": [1], "pair": np.zeros((2, 3), "f4")}),
        ValueError,
        "VShape",
    ),
    "fractions among integers": (lambda f: f.add("new", {"x": [1.5]}), TypeError, "float64"),
    "integers that are too large": (lambda f: f.add("new", {"x": [2**40]}), ValueError, "do not fit"),
    "texts among numbers": (lambda f: f.add("new", {"x": ["a"]}), TypeError, "does not fit"),
    "numbers among texts": (lambda f: f.add("new", {"text": [1]}), TypeError, None),
    "complex among floats": (lambda f: f.add("new", {"pair": np.ones((1, 2)) * 1j}), TypeError, "complex"),
    "None in an array": (lambda f: f.add("new", {"x": [None]}), TypeError, "cannot hold"),
    "objects": (lambda f: f.add("new", {"other": Odd()}), TypeError, "cannot hold"),
    "dates": (lambda f: f.add("new", {"other": np.zeros(2, "M8[s]")}), TypeError, "cannot hold"),
    "ragged lists": (lambda f: f.add("new", {"other": [[1], [1, 2]]}), (TypeError, ValueError), None),
    "an array for a group": (lambda f: f.add("new", {"deep": [1]}), (TypeError, ValueError), "group"),
    "a dict for an array": (lambda f: f.add("new", {"x": {"y": [1]}}), (TypeError, ValueError), "x"),
    "no dict": (lambda f: f.add("new", [1]), TypeError, "data must be a dict"),
    "None": (lambda f: f.add("new", None), TypeError, "data must be a dict"),
    "a number as an id": (lambda f: f.add(3, sample(3)), TypeError, "is a str, got int"),
    "bytes as an id": (lambda f: f.add(b"new", sample(3)), TypeError, "is a str, got bytes"),
    "None as an id": (lambda f: f.add(None, sample(3)), TypeError, "is a str"),
    "NUL in an id": (lambda f: f.add("a\0b", sample(3)), ValueError, "cannot have the id"),
    "half a character in an id": (lambda f: f.add("\ud800", sample(3)), ValueError, None),
    "no name": (lambda f: f.add("new", {"": [1]}), TypeError, "cannot have"),
    "NUL in a name": (lambda f: f.add("new", {"a\0b": [1]}), TypeError, "cannot have"),
    "half a character in a name": (lambda f: f.add("new", {"\ud800": [1]}), (TypeError, ValueError), None),
    "a number as a name": (lambda f: f.add("new", {3: [1]}), TypeError, "cannot have"),
    "the name of arrays": (lambda f: f.add("new", {"__arr__": [1]}), TypeError, "cannot have"),
    "the name of references": (lambda f: f.add("new", {"other": {"__ref__": [1]}}), TypeError, "cannot have"),
    "the name of ids": (lambda f: f.add("new", {"__src__": [1]}), TypeError, "cannot have"),
    "the name of arrays, in a path": (lambda f: f.add("new", {"x/__arr__": [1]}), (TypeError, ValueError), None),
    "a dot": (lambda f: f.add("new", {".": {"other": [1]}}), (TypeError, ValueError), None),
    "a dot in a path": (lambda f: f.add("new", {"./x": [1]}), (TypeError, ValueError), None),
    "a slash alone": (lambda f: f.add("new", {"/": [1]}), (TypeError, ValueError), None),
    "two slashes": (lambda f: f.add("new", {"deep//a": 1}), (TypeError, ValueError), None),
}
WRITTEN: Refused = {
    "set, another length": (lambda f: f.set("one", {"x": [1, 2]}), ValueError, r"has the shape \(1,\), got \(2,\)"),
    "set, another rank": (lambda f: f.x.set("two", [[1, 2]]), ValueError, "has the shape"),
    "set, the second does not fit": (lambda f: f.set("one", {"x": [7], "pair": [[1, 2]]}), ValueError, "the shape"),
    "set, of a group": (lambda f: f.deep.set("one", {"a": 7, "more": {"b": [1, 2]}}), ValueError, "the shape"),
    "set, a new one does not fit": (
        lambda f: f.set("one", {"x": [7], "new": np.zeros(2, "M8[s]")}),
        (TypeError, ValueError, AttributeError),
        None,
    ),
    "set, an unknown id that does not fit": (lambda f: f.set("new", {"pair": [1]}), (TypeError, ValueError), None),
    "set, no dict": (lambda f: f.set("one", 3), (TypeError, AttributeError), None),
    "set, fractions": (lambda f: f.x.set("one", [1.5]), (TypeError, ValueError), None),
    "set, texts": (lambda f: f.x.set("one", ["a"]), (TypeError, ValueError), None),
    "set, too large": (lambda f: f.x.set("one", [2**40]), (ValueError, OverflowError), None),
    "iset behind the end": (lambda f: f.x.iset("one", 1, 3), IndexError, "row"),
    "iset before the beginning": (lambda f: f.x.iset("one", -2, 3), IndexError, "row"),
    "iset, one row of many": (lambda f: f.x.iset("three", [0, 3], 3), IndexError, None),
    "iset twice the same": (lambda f: f.x.iset("three", [1, 1], 3), ValueError, "increasing"),
    "iset backwards": (lambda f: f.x.iset("three", slice(None, None, -1), 3), ValueError, "backwards"),
    "iset, a fraction as a row": (lambda f: f.x.iset("one", 0.0, 3), (TypeError, ValueError), None),
    "iset, a bool as a row": (lambda f: f.x.iset("one", True, 3), (TypeError, ValueError), None),
    "iset, too many values": (lambda f: f.x.iset("one", 0, [1, 2]), (TypeError, ValueError), None),
    "iset, fractions": (lambda f: f.x.iset("one", 0, 1.5), (TypeError, ValueError), None),
    "iset, texts": (lambda f: f.x.iset("one", 0, "a"), (TypeError, ValueError), None),
    "iset, too large": (lambda f: f.x.iset("one", 0, 2**40), (ValueError, OverflowError), None),
    "iset, unknown id": (lambda f: f.x.iset("four", 0, 1), KeyError, "has no source 'four'"),
    "iset where nothing is": (lambda f: f.x.iset("void", 0, 1), ValueError, r"add\(source, data\) comes first"),
    "iset of a group": (lambda f: f.deep.iset("one", 0, 1), (TypeError, ValueError), None),
    "a null reference": (lambda f: f.x.__setitem__(f.x.refs[3], 1), ValueError, "null"),
    "a row of a group": (lambda f: f.deep.__setitem__(0, 1), TypeError, "takes the id of a source"),
    "more rows than there are": (lambda f: f.x.__setitem__(slice(0, 2), [1, 2, 3]), (TypeError, ValueError), None),
    "a feature": (lambda f: setattr(f, "x", [1]), TypeError, "is a feature"),
    "an attribute that is an object": (lambda f: f.attrs.__setitem__("a", Odd()), TypeError, "cannot hold"),
    "an attribute that is not there": (lambda f: f.x.attrs.__delitem__("nothing"), KeyError, None),
}
ASKED: Refused = {
    "an unknown id": (lambda f: f.get("four"), KeyError, "has no source 'four'"),
    "an unknown id, nearly": (lambda f: f.x.get("onee"), KeyError, "did you mean 'one'"),
    "an unknown id of a group": (lambda f: f.deep["four"], KeyError, "has no source"),
    "a row of a group": (lambda f: f.deep[0], TypeError, "takes the id of a source"),
    "a row that is not there": (lambda f: f.x[100], IndexError, None),
    "an unknown feature": (lambda f: f.nothing, AttributeError, "has no 'nothing', but x, pair"),
    "an unknown path": (lambda f: f.get_proxy("deep/nothing"), AttributeError, "has no 'deep/nothing'"),
    "an unknown feature of a group": (lambda f: f.deep.nothing, AttributeError, "no feature 'nothing', but a, more"),
    "the shape of a group": (lambda f: f.deep.shape, (TypeError, AttributeError), "group"),
    "references of a group": (lambda f: f.deep.refs[0], TypeError, "only its features have refs"),
    "sources of an unknown feature": (lambda f: f.sources("nothing"), AttributeError, "has no 'nothing'"),
    "batches of an unknown feature": (lambda f: f.data_source(["nothing"]), AttributeError, "has no 'nothing'"),
    "batches of a group": (lambda f: f.data_source(["deep"]), TypeError, "deep is a group: name its features"),
    "batches of nothing": (lambda f: f.data_source([]), ValueError, None),
    "batches of one text": (lambda f: f.data_source("x"), TypeError, "list or a dict of paths"),
    "batches by what": (lambda f: f.data_source(["x"], by="column"), ValueError, "by must be 'id' or 'row'"),
    "functions of nothing": (lambda f: f.x.compute(3), TypeError, "dict of functions"),
    "functions that are none": (lambda f: f.x.compute({"a": 3}), TypeError, "dict of functions"),
    "functions by whom": (lambda f: f.x.compute({"a": len}, parallelism="cores"), ValueError, "parallelism must be"),
    "a form of nothing": (lambda f: f.serve({"a": 3}), TypeError, "must hold Input"),
    "another framework": (lambda f: f.serve(h5m.Input("x"), framework="jax"), ValueError, "framework must be"),
    "an unknown loader argument": (
        lambda f: f.serve(h5m.Input("x"), framework="numpy", sise=3),
        TypeError,
        "takes no sise",
    ),
    "a form of an unknown feature": (lambda f: f.serve(h5m.Input("no"), framework="numpy"), AttributeError, "no 'no'"),
    "swmr of such a file": (lambda f: f.start_swmr(), ValueError, "libver='latest'"),
}


@pytest.mark.parametrize("keep_open", [False, True], ids=["opened for each", "kept open"])
@pytest.mark.parametrize(
    ("use", "kind", "said"),
    [
        pytest.param(*row, id=f"{kind}: {name}")
        for kind, table in (("add", ADDED), ("write", WRITTEN), ("ask", ASKED))
        for name, row in table.items()
    ],
)
def test_refused(use: Use, kind: Any, said: str, keep_open: bool, tmp_path: Path) -> None:
    """What cannot be is refused; the file holds what it held, in other hands too, and is written to afterwards."""
    path = made(tmp_path / "a.h5")
    with Sample(path, "r+") as file:
        file.add("void", {"pair": np.zeros((1, 2), np.float32)})
    before = content(path)
    file = Sample(path, "r+", keep_open)
    with pytest.raises(kind, match=said):
        use(file)
    assert list(file.index) == [*FULL]
    file.close()
    assert content(path) == before
    assert beside(path) == []
    file.add("four", sample(4))
    assert as_plain(file.get("four")) == as_plain(sample(4))
    assert as_plain(file.get("one")) == as_plain(sample(0))
    file.close()


@pytest.mark.parametrize("name", [name for name, (use, *_) in ADDED.items() if use.__code__.co_names[0] == "add"])
def test_refused_safely(name: str, tmp_path: Path) -> None:
    """The same with `safe=True`: nothing lies beside the file afterwards."""
    use, kind, _ = ADDED[name]
    path = made(tmp_path / "a.h5")
    before = content(path)
    file = Sample(path, "r+")

    class Safe:
        add = staticmethod(lambda source, data: file.add(source, data, safe=True))

    with pytest.raises(kind):
        use(Safe)
    assert content(path) == before
    assert beside(path) == [] or list(Sample(path).index) == [*SAMPLES]
    assert beside(path) == []
    assert content(path) == before


@pytest.mark.parametrize(
    "use",
    [
        lambda f: f.add("new", sample(4)),
        lambda f: f.add("new", sample(4), safe=True),
        lambda f: f.x.add("new", [1]),
        lambda f: f.set("one", {"x": [1]}),
        lambda f: f.x.iset("one", 0, 1),
        lambda f: f.x.__setitem__(0, 1),
        lambda f: f.attrs.__setitem__("a", 1),
        lambda f: f.x.attrs.__setitem__("a", 1),
        lambda f: f.handle("r+"),
        lambda f: f.start_swmr(),
    ],
)
def test_open_for_reading(use: Use, tmp_path: Path) -> None:
    """A file that is open for reading is not written to, and says how it can be."""
    path = made(tmp_path / "a.h5")
    before = path.read_bytes()
    file = Sample(path)
    with pytest.raises(ValueError, match=r"mode='r\+'"):
        use(file)
    assert path.read_bytes() == before
    assert beside(path) == []


# opening


def test_files_that_may_not_be_written_to(tmp_path: Path) -> None:
    """The permissions of a file count; to read is enough to read."""
    code = """if True:
        import os, sys
        os.chdir(sys.argv[1])
        if os.geteuid() == 0:
            import h5py, batchup.typed_files.create
            os.setuid(65534)
        from tests.typed import Sample, content, sample
        from pathlib import Path
        before = Path("a.h5").read_bytes()
        for mode in ("r+", "a", "w"):
            try:
                Sample("a.h5", mode).add("four", sample(4))
            except PermissionError:
                continue
            raise AssertionError(mode)
        file = Sample("a.h5")
        assert file.x.get("one").tolist() == [0]
        assert Path("a.h5").read_bytes() == before
    """
    made(tmp_path / "a.h5").chmod(0o444)
    tmp_path.chmod(0o755)
    child(code, tmp_path)


NO_HDF5: dict[str, Callable[[bytes], bytes]] = {
    "text": lambda whole: b"hello" * 300,
    "nothing": lambda whole: b"",
    "zeros": lambda whole: bytes(5000),
    "the signature alone": lambda whole: whole[:8],
    "half of the superblock": lambda whole: whole[:50],
    "half": lambda whole: whole[: len(whole) // 2],
    "all but a byte": lambda whole: whole[:-1],
    "without the beginning": lambda whole: whole[1:],
}


@pytest.mark.parametrize(
    ("name", "mode"),
    [(name, mode) for name in NO_HDF5 for mode in ("r", "r+", "a") if (name, mode) != ("nothing", "a")],
)
def test_no_hdf5(name: str, mode: str, tmp_path: Path) -> None:
    """What is no HDF5 file, or was cut off, is refused and left as it is."""
    path = made(tmp_path / "a.h5")
    path.write_bytes(NO_HDF5[name](path.read_bytes()))
    before = path.read_bytes()
    for cls in (Sample, h5m.TypedFile):
        with pytest.raises(FileFormatError, match=r"no HDF5 file, or damaged"):
            cls(path, mode)
    assert path.read_bytes() == before
    assert beside(path) == []


@pytest.mark.parametrize("name", [name for name in NO_HDF5 if name != "nothing"])
def test_no_hdf5_to_create_in(name: str, tmp_path: Path) -> None:
    """Nothing is added to what is no HDF5 file; nothing is loaded for it either."""
    path = made(tmp_path / "a.h5")
    path.write_bytes(NO_HDF5[name](path.read_bytes()))
    before, log = path.read_bytes(), tmp_path.parent / f"{tmp_path.name}.log"
    cls = h5m.typedfile("Noted", {"x": Noting(log)})
    for mode in ("r+", "a"):
        with pytest.raises(FileFormatError):
            cls.create(path, ["1", "2"], mode, parallelism="none", progress=False)
    assert path.read_bytes() == before
    assert beside(path) == []
    assert calls(log) == []


def test_names_and_modes(tmp_path: Path) -> None:
    """A name without a file, a folder, a mode or an argument that there is not: the fitting error."""
    path = made(tmp_path / "a.h5")
    before = path.read_bytes()
    for arguments, options, kind in (
        ((tmp_path / "b.h5",), {}, FileNotFoundError),
        ((tmp_path / "b.h5", "r+"), {}, FileNotFoundError),
        ((tmp_path / "no" / "b.h5", "w"), {}, FileNotFoundError),
        ((tmp_path,), {}, IsADirectoryError),
        ((tmp_path, "r+"), {}, IsADirectoryError),
        ((path, "q"), {}, ValueError),
        ((path, "rb"), {}, ValueError),
        ((path, None), {}, ValueError),
        ((path, "x"), {}, FileExistsError),
        ((path, "w-"), {}, FileExistsError),
        ((3,), {}, TypeError),
        ((None,), {}, TypeError),
        ((path, "w"), {"nonsense": 3}, TypeError),
        ((path, "w"), {"libver": "never"}, (ValueError, KeyError)),
        ((path,), {"driver": "magic"}, ValueError),
    ):
        with pytest.raises(kind):
            Sample(*arguments, **options)
    assert path.read_bytes() == before
    assert beside(path) == []


# schemas


@pytest.mark.parametrize(
    ("named", "schema"),
    [
        ("g", {"g": h5m.Group(x=h5m.Array())}),
        ("g", {"g": h5m.Group(h=h5m.Group(x=h5m.Array()))}),
        ("g/h", {"g": h5m.Group(h=h5m.Group(x=h5m.Array()))}),
        ("g", {"g": h5m.String()}),
        ("g/h", {"g": h5m.Group(h=h5m.String())}),
        ("a/b/g", {"a": h5m.Group(b=h5m.Group(g=h5m.Group(x=h5m.Array(), y=h5m.Array())))}),
    ],
)
def test_schemas_that_do_not_fit(named: str, schema: Any, tmp_path: Path) -> None:
    """A dataset where a class has a group, or a feature that loads: refused in each mode, with nothing written."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file[named] = np.arange(3)
    before = path.read_bytes()
    cls = h5m.typedfile("Grouped", schema)
    for mode in ("r", "r+", "a"):
        with pytest.raises(FileFormatError, match=f"{named} "):
            cls(path, mode)
        assert path.read_bytes() == before
    with pytest.raises(FileFormatError):
        cls.create(path, [], "a", parallelism="none", progress=False)
    assert path.read_bytes() == before
    assert beside(path) == []


@pytest.mark.parametrize("mode", ["r+", "a"])
def test_features_that_a_file_has_not_yet(mode: str, tmp_path: Path) -> None:
    """A class with further features, or a file of somebody else's, is opened for writing, and then they are added."""
    path = made(tmp_path / "a.h5")
    more = type("More", (Sample,), {"other": h5m.Array()})
    file = more(path, mode).add("four", {"other": [1, 2]})
    assert file.other.get("four").tolist() == [1, 2]
    assert as_plain(more(path).get("one")) == {**as_plain(sample(0)), "other": None}
    with h5py.File(tmp_path / "b.h5", "w") as plain:
        plain["theirs"] = np.arange(3)
    file = more(tmp_path / "b.h5", mode).add("one", {"x": [1]})
    assert (file.theirs[:].tolist(), file.x.get("one").tolist()) == ([0, 1, 2], [1])
    assert h5m.TypedFile(tmp_path / "b.h5", mode).theirs[:].tolist() == [0, 1, 2]


@pytest.mark.parametrize("name", ["add", "get", "index", "attrs", "close", "sources", "skipped", "filename", "serve"])
def test_features_called_like_methods(name: str, tmp_path: Path) -> None:
    """A class cannot declare a feature under a name that means something of every file."""
    with pytest.raises(TypeError, match=f"cannot be called '{name}'"):
        h5m.typedfile("Clashing", {name: h5m.Array()})
    with pytest.raises(TypeError, match=f"cannot be called '{name}'"):
        type("Clashing", (h5m.TypedFile,), {name: h5m.Array()})


@pytest.mark.parametrize("name", ["", "a/b", "/", ".", "a\0b", "__src__", "__arr__", "__ref__", "\ud800", 3])
def test_features_that_hdf5_cannot_have(name: Any, tmp_path: Path) -> None:
    """Names that mean something else in HDF5 are refused when they are declared."""
    for declare in (
        lambda: h5m.Group(**{name: h5m.Array()}),
        lambda: h5m.typedfile("Named", {name: h5m.Array()}),
        lambda: Sample.create(tmp_path / "a.h5", ["1"], schema={name: h5m.String()}, progress=False),
    ):
        with pytest.raises((TypeError, ValueError)):
            declare()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("schema", [3, ["x"], {"x": 3}, {"x": h5m.Array}, {"x": None}], ids=repr)
def test_schemas_that_are_none(schema: Any, tmp_path: Path) -> None:
    """A schema is a dict of features."""
    for use in (
        lambda: h5m.typedfile("None", schema),
        lambda: Sample.create(tmp_path / "a.h5", ["1"], schema=schema, progress=False),
        lambda: Sample.load("1", schema),
    ):
        with pytest.raises(TypeError):
            use()
    assert list(tmp_path.iterdir()) == []


# what is damaged


def _texts(*texts: Any) -> Any:
    return np.array(texts, h5py.string_dtype())


IDS: dict[str, Callable[[Any], None]] = {
    "two dimensions": lambda f: f.create_dataset("__src__/id", data=_texts(["one", "two"], ["three", "four"])),
    "no dimension": lambda f: f.create_dataset("__src__/id", data="one"),
    "no texts": lambda f: f.create_dataset("__src__/id", data=np.arange(3)),
    "a group": lambda f: f.create_group("__src__/id"),
    "one twice": lambda f: f.create_dataset("__src__/id", data=_texts("one", "two", "one")),
    "no group of ids": lambda f: f.pop("__src__", None) or f.create_dataset("__src__", data=np.arange(3)),
}


@pytest.mark.parametrize("mode", ["r", "r+", "a"])
@pytest.mark.parametrize("name", IDS)
def test_ids_that_are_damaged(name: str, mode: str, tmp_path: Path) -> None:
    """Ids that are no row of different texts, one for each reference, are told when a file is opened."""
    path = made(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        del file["__src__/id"]
        IDS[name](file)
    before = path.read_bytes()
    with pytest.raises(FileFormatError, match=r"a\.h5"):
        Sample(path, mode)
    assert path.read_bytes() == before


def test_references_that_no_id_has(tmp_path: Path) -> None:
    """What a writer left that was cut off before it wrote the id belongs to nobody, least of all to the next source."""
    path = made(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file["__src__/id"].resize(2, axis=0)
    file = Sample(path, "r+").add("four", {"x": [77]})
    for opened in (file, Sample(path)):
        assert list(opened.index) == ["one", "two", "four"]
        assert opened.x.get("four").tolist() == [77]
        assert opened.pair.get("four") is None
        assert opened.deep.get("four") == {}
        assert opened.sources("pair").tolist() == ["one", "two"]
        assert as_plain(opened.get("two")) == as_plain(sample(1))


@pytest.mark.parametrize("mode", ["r", "r+"])
def test_names_of_features_that_are_damaged(mode: str, tmp_path: Path) -> None:
    """A list of features that is none is told, at the latest when it is asked for."""
    path = made(tmp_path / "a.h5")
    for keys in (_texts(["x", "pair"]), np.str_("x").item(), np.arange(2)):
        with h5py.File(path, "r+") as file:
            del file["__src__/ds_keys"]
            file["__src__/ds_keys"] = keys
        with pytest.raises(FileFormatError, match=r"a\.h5"):
            Sample(path, mode).data_source()


def _address_of_references(path: Path) -> int:
    with h5py.File(path, "r") as file:
        return int(file["x/__ref__"].id.get_chunk_info(0).byte_offset)


def _overwritten(path: Path, garbage: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(_address_of_references(path))
        file.write(garbage)


def _referring(path: Path, make: Callable[[Any], Any]) -> None:
    with h5py.File(path, "r+") as file:
        file["x/__ref__"][0] = make(file)


def _cut(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["x/__ref__"][0] = file["x/__ref__"][2]
        file["x/__arr__"].resize(4, axis=0)


DAMAGED: dict[str, Callable[[Path], None]] = {
    "garbage": lambda path: _overwritten(path, bytes(range(200, 212))),
    "ones": lambda path: _overwritten(path, b"\xff" * 12),
    "into another dataset": lambda path: _referring(path, lambda f: f["deep/more/b/__arr__"].regionref[0:1]),
    "into another dataset, of another rank": lambda path: _referring(path, lambda f: f["pair/__arr__"].regionref[0:1]),
    "to some of the rows": lambda path: _referring(path, lambda f: f["x/__arr__"].regionref[0:5:2]),
    "behind the end": _cut,
}


@pytest.mark.parametrize("name", DAMAGED)
def test_references_that_are_damaged(name: str, tmp_path: Path) -> None:
    """A reference to anything but rows of its feature is told, and the other sources are read."""
    path = made(tmp_path / "a.h5")
    DAMAGED[name](path)
    before = path.read_bytes()
    for mode in ("r", "r+"):
        file = Sample(path, mode)
        reads: list[Callable[[], Any]] = [
            lambda file=file: file.get("one"),
            lambda file=file: file.x.get("one"),
            lambda file=file: file.x[file.x.refs[0]],
            lambda file=file: list(file.data_source(["x"]).batch_iterator(2)),
        ]
        if mode == "r+":
            reads += [
                lambda file=file: file.x.iset("one", 0, 5),
                lambda file=file: file.x.set("one", [5]),
                lambda file=file: file.x.__setitem__(file.x.refs[0], 5),
            ]
        for read in reads:
            with pytest.raises(FileFormatError, match=r"a\.h5"):
                read()
        assert file.x.get("two").tolist() == [10, 11]
    assert path.read_bytes() == before


# what lies elsewhere


def _with_other(path: Path, make: Callable[[Any], None]) -> None:
    made(path.parent / "other.h5")
    made(path)
    with h5py.File(path, "r+") as file:
        make(file)


def _linked(name: str, target: str) -> Callable[[Any], None]:
    def make(file: Any) -> None:
        file.pop(name, None)
        file[name] = h5py.ExternalLink("other.h5", target)

    return make


def _soft(file: Any) -> None:
    _linked("away", "/")(file)
    del file["x"]
    file["x"] = h5py.SoftLink("/away/x")


def _virtual(name: str) -> Callable[[Any], None]:
    def make(file: Any) -> None:
        with h5py.File(f"{Path(file.filename).parent}/other.h5", "r") as other:
            source = h5py.VirtualSource(other[name])
            space = h5py.VirtualLayout(source.shape, source.dtype)
        space[...] = source
        del file[name]
        file.create_virtual_dataset(name, space)

    return make


def _stored_elsewhere(file: Any) -> None:
    values = file["x/__arr__"][:]
    del file["x/__arr__"]
    raw = Path(file.filename).parent / "raw.bin"
    raw.write_bytes(values.tobytes())
    kind = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    kind.set_external(str(raw).encode(), 0, values.nbytes)
    space = h5py.h5s.create_simple(values.shape)
    h5py.h5d.create(file["x"].id, b"__arr__", h5py.h5t.py_create(values.dtype), space, kind)


ELSEWHERE: dict[str, Callable[[Any], None]] = {
    "a feature": _linked("x", "/x"),
    "its arrays": _linked("x/__arr__", "/x/__arr__"),
    "its references": _linked("x/__ref__", "/x/__ref__"),
    "the ids": _linked("__src__/id", "/__src__/id"),
    "the group of the ids": _linked("__src__", "/__src__"),
    "a link by way of another": _soft,
    "virtual arrays": _virtual("x/__arr__"),
    "arrays in another file": _stored_elsewhere,
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_lies_in_other_files(name: str, tmp_path: Path) -> None:
    """Links to other files, and datasets that lie in them, are read if that is allowed only."""
    path = tmp_path / "a.h5"
    _with_other(path, ELSEWHERE[name])
    before, other = path.read_bytes(), (tmp_path / "other.h5").read_bytes()
    uses: list[Use] = [
        lambda f: f.x.get("two"),
        lambda f: f.x.refs[0] and f.x[:],
        lambda f: list(f.data_source(["x"]).batch_iterator(2)),
        lambda f: list(f.data_source(["x"], by="row").batch_iterator(2)),
        lambda f: f.sources("x"),
        lambda f: f.info(),
    ]
    for mode in ("r", "r+"):
        for use in uses if name != "its references" else uses[:3]:
            with pytest.raises(FileFormatError, match="allow_external=True"):
                use(Sample(path, mode))
    with pytest.raises(FileFormatError, match="allow_external=True"):
        Sample(path, "r+").add("four", sample(4))
    assert path.read_bytes() == before
    assert (tmp_path / "other.h5").read_bytes() == other
    file = Sample(path, allow_external=True)
    if name != "its references":  # which point into the other file
        assert file.x.get("two").tolist() == [10, 11]
        assert file.x[1:3].tolist() == [10, 11]


def test_links_within_a_file(tmp_path: Path) -> None:
    """Soft links within the file are followed; those to nowhere are nothing."""
    path = made(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file["soft"] = h5py.SoftLink("/x")
        file["nowhere"] = h5py.SoftLink("/nothing")
        file["gone"] = h5py.ExternalLink("missing.h5", "/x")
    file = h5m.TypedFile(path)
    assert file.soft.get("two").tolist() == [10, 11]
    with pytest.raises(AttributeError, match="nowhere"):
        file.nowhere  # noqa: B018
    with pytest.raises(FileFormatError, match="allow_external=True"):
        file.gone  # noqa: B018
    assert file.x.get("two").tolist() == [10, 11]


# create


CREATED: Refused = {
    "sources as one text": (lambda c: c(sources="abc"), TypeError, "sources must be a list"),
    "sources as a path": (lambda c: c(sources=Path("abc")), TypeError, "sources must be a list"),
    "sources as bytes": (lambda c: c(sources=b"abc"), TypeError, "sources must be a list"),
    "sources as None": (lambda c: c(sources=None), TypeError, None),
    "a source twice": (lambda c: c(sources=["1", "2", "1"]), ValueError, "'1' is there twice"),
    "a source and its path": (lambda c: c(sources=["1", Path("1")]), ValueError, "twice"),
    "a number as a source": (lambda c: c(sources=["1", 2]), TypeError, "is a str, got int"),
    "NUL in a source": (lambda c: c(sources=["1\0"]), ValueError, "cannot have the id"),
    "half a character in a source": (lambda c: c(sources=["1", "\ud800"]), ValueError, None),
    "mode r": (lambda c: c(mode="r"), ValueError, "mode must be"),
    "another mode": (lambda c: c(mode="rw"), ValueError, "mode must be"),
    "a file that is there": (lambda c: c(mode="x"), FileExistsError, "exists"),
    "a file that is there, w-": (lambda c: c(mode="w-"), FileExistsError, "exists"),
    "other parallelism": (lambda c: c(parallelism="process"), ValueError, "parallelism must be"),
    "other parallelism, no sources": (lambda c: c(parallelism="process", sources=[]), ValueError, "parallelism must"),
    "no workers": (lambda c: c(parallelism="threads", n_workers=0), ValueError, None),
    "a fraction of a worker": (lambda c: c(parallelism="threads", n_workers=1.5), (TypeError, ValueError), None),
    "other on_error": (lambda c: c(on_error="ignore"), ValueError, "on_error must be"),
    "no features": (lambda c: c(cls=h5m.TypedFile), ValueError, "no features"),
    "a driver": (lambda c: c(driver="core"), ValueError, "in_mem"),
    "an unknown option": (lambda c: c(nonsense=3), TypeError, "nonsense"),
    "what is there already": (lambda c: c(mode="a", sources=["1", "old"]), ValueError, "'old' already"),
    "what is there already, r+": (lambda c: c(mode="r+", sources=["old"]), ValueError, "'old' already"),
    "chunks that cannot be": (
        lambda c: c(schema={"x": h5m.String(), "y": type("Bad", (h5m.String,), {"__ds_kwargs__": {"chunks": 3.5}})()}),
        (TypeError, ValueError),
        None,
    ),
}


@pytest.mark.parametrize("resume", [False, True], ids=["once", "resumable"])
@pytest.mark.parametrize("name", CREATED)
def test_create_refused(name: str, resume: bool, tmp_path: Path) -> None:
    """Arguments of create that cannot be are refused; the file stays, nothing lies beside it, nothing is loaded."""
    use, kind, said = CREATED[name]
    path, log = tmp_path / "files" / "a.h5", tmp_path / "log"
    path.parent.mkdir()
    cls = h5m.typedfile("Noted", {"x": Noting(log)})
    cls(path, "w").add("old", {"x": [1, 2]}).close()
    before = path.read_bytes()

    def create(cls: Any = cls, sources: Any = ("1", "2"), **options: Any) -> Any:
        keywords = {"parallelism": "none", "progress": False, "resume": resume, **options}
        return cls.create(path, sources, **keywords)

    with pytest.raises(kind, match=said):
        use(create)
    assert path.read_bytes() == before
    assert [other for other in beside(path) if not resume or other != "a.h5.loaded"] == []
    assert calls(log) == []
    assert create(mode="a").x.get("1").tolist() == [100, 101]
    assert beside(path) == []


def test_create_in_odd_places(tmp_path: Path) -> None:
    """A folder that is missing, or that has the name; a folder in the way: told before anything is loaded."""
    log = tmp_path / "log"
    cls = h5m.typedfile("Noted", {"x": Noting(log)})
    (tmp_path / "here" / "folder.h5").mkdir(parents=True)
    for place in ("folder.h5", "missing/a.h5"):
        with pytest.raises((OSError, ValueError)):
            cls.create(tmp_path / "here" / place, ["1"], parallelism="none", progress=False)
        assert calls(log) == []
        assert os.listdir(tmp_path / "here") == ["folder.h5"]
    for suffix in ("partial", "loaded"):
        (tmp_path / "here" / f"b.h5.{suffix}").mkdir()
        with pytest.raises((OSError, ValueError)):
            cls.create(tmp_path / "here" / "b.h5", ["1"], parallelism="none", progress=False, resume=True)
        assert calls(log) == []
        assert sorted(os.listdir(tmp_path / "here")) == [f"b.h5.{suffix}", "folder.h5"]
        (tmp_path / "here" / f"b.h5.{suffix}").rmdir()
    (tmp_path / "here" / "b.h5.loaded").mkdir()
    with pytest.raises((OSError, ValueError)):
        cls.create(tmp_path / "here" / "b.h5", ["1"], parallelism="none", progress=False)
    assert sorted(os.listdir(tmp_path / "here")) == ["b.h5.loaded", "folder.h5"]


LOADED: dict[str, tuple[Any, type[Exception]]] = {
    "an object": (Odd(), TypeError),
    "a set": ({1, 2}, TypeError),
    "an object in a dict": ({"a": Odd()}, TypeError),
    "objects": (np.array([{}, None]), TypeError),
    "ragged lists": ([[1], [1, 2]], ValueError),
    "another shape": (np.zeros((2, 2)), ValueError),
    "another dtype": (np.array(["a"]), TypeError),
    "a dict": ({"a": np.zeros(2)}, ValueError),
    "a name that cannot be": ({"__arr__": np.zeros(2)}, TypeError),
}


class Loads(h5m.Feature):
    """Loads the same for each source but one."""

    def __init__(self, what: Any) -> None:
        self.what = what

    def load(self, source: str) -> Any:
        return self.what if source == "odd" else np.arange(3.0)


@pytest.mark.parametrize("parallelism", ["threads", "none"])
@pytest.mark.parametrize("name", LOADED)
def test_what_is_loaded_does_not_fit(name: str, parallelism: str, tmp_path: Path) -> None:
    """What a feature loads and HDF5 cannot have, or does not fit the rest, ends it all; the error names the source."""
    what, kind = LOADED[name]
    path = made(tmp_path / "a.h5")
    before = path.read_bytes()
    cls = h5m.typedfile("Loading", {"x": Loads(what)})
    with pytest.raises(kind) as caught:
        cls.create(path, ["1", "odd", "2"], parallelism=parallelism, n_workers=2, progress=False)
    assert "odd" in " ".join([str(caught.value), *getattr(caught.value, "__notes__", ())])
    assert path.read_bytes() == before
    assert beside(path) == []


def test_what_was_skipped(tmp_path: Path) -> None:
    """With on_error='skip' the file has the sources that could be loaded, and tells the errors of the others."""
    cls = h5m.typedfile("Noted", {"x": Noting(tmp_path.parent / f"{tmp_path.name}.log", {"2": "raise"})})
    for parallelism in ("none", "threads"):
        made_file = cls.create(
            tmp_path / "a.h5", ["1", "2", "3", "x"], parallelism=parallelism, on_error="skip", progress=False
        )
        assert list(made_file.index) == ["1", "3"]
        assert list(made_file.skipped) == ["2", "x"]
        assert "nothing under this number" in made_file.skipped["2"]
        assert made_file.skipped["x"].startswith("ValueError")
        assert beside(tmp_path / "a.h5") == []
    none = cls.create(tmp_path / "b.h5", ["2"], parallelism="none", on_error="skip", progress=False)
    assert (list(none.index), list(none.skipped)) == ([], ["2"])


# two writers


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_two_writers(libver: str, tmp_path: Path) -> None:
    """While one writes a file, another process is told so, in all modes; nothing of either is lost."""
    code = """if True:
        import sys
        from batchup.errors import FileBusyError
        from tests.typed import Sample, sample
        for mode in ("r+", "a", "w", "r"):
            try:
                file = Sample(sys.argv[1], mode, libver=sys.argv[2])
                if mode == "r":
                    continue
                file.add("new", sample(5))
            except FileBusyError as error:
                assert "open elsewhere" in str(error), error
                print(mode, end=" ")
    """
    path = made(tmp_path / "a.h5", libver=libver)
    with Sample(path, "r+", libver=libver) as file:
        file.add("four", sample(4))
        assert child(code, path, libver) == "r+ a w r "
        file.add("five", sample(5))
    assert list(Sample(path).index) == [*SAMPLES, "four", "five"]
    with Sample(path) as file:
        assert file.x.get("one").tolist() == [0]
        assert child(code, path, libver) == "r+ a w "
    assert list(Sample(path).index) == [*SAMPLES, "four", "five"]


def test_create_while_another_writes(tmp_path: Path) -> None:
    """What somebody is writing is not added to behind his back; create and create wait for one another."""
    log = tmp_path.parent / f"{tmp_path.name}.log"
    cls = h5m.typedfile("Noted", {"x": Noting(log)})
    path = tmp_path / "a.h5"
    with cls(path, "w") as file:
        file.add("old", {"x": [1]})
        for mode in ("a", "r+"):
            with pytest.raises(FileBusyError):
                cls.create(path, ["1"], mode, parallelism="none", progress=False)
        file.add("new", {"x": [2]})
    assert list(cls(path).index) == ["old", "new"]
    assert beside(path) == []
    assert calls(log) == []

    class Meanwhile(h5m.Feature):
        def load(self, source: str) -> Any:
            with pytest.raises(FileBusyError):
                cls.create(path, ["1"], parallelism="none", progress=False, resume=source == "resume")
            return np.arange(2)

    h5m.typedfile("Both", {"x": Meanwhile()}).create(path, ["once", "resume"], parallelism="none", progress=False)
    assert list(cls(path).index) == ["once", "resume"]
    assert beside(path) == []
    assert calls(log) == []


@pytest.mark.parametrize("anew", [True, False], ids=["create", "w"])
def test_an_old_copy_does_not_come_back(anew: bool, tmp_path: Path) -> None:
    """A file that is made anew is not replaced by the copy that a killed `add(safe=True)` left of the old one."""
    path = made(tmp_path / "a.h5")
    shutil.copy(path, f"{path}.backup")
    schema = {"x": Noting(tmp_path.parent / f"{tmp_path.name}.log")}
    if anew:
        made_file = h5m.typedfile("New", schema).create(path, ["7"], parallelism="none", progress=False)
    else:
        made_file = h5m.typedfile("New", schema)(path, "w").add("7", {"x": [700]})
    assert list(made_file.index) == ["7"]
    made_file.close()
    assert list(h5m.TypedFile(path).index) == ["7"]
    assert beside(path) == []


# full disks


def test_full_disks(tmp_path: Path) -> None:
    """Where files cannot grow, an OSError says so; what was in the file is there, and it goes on when there is room."""
    told = json.loads(child("import sys; from tests.test_typed_files_errors import full; full(sys.argv[1])", tmp_path))
    assert set(told) == {"add", "add safely", "create", "create more"}
    for way, (failed, wrong) in told.items():
        assert failed >= 3, way
        assert wrong == [], way


def big(number: int) -> dict[str, Any]:
    """Return a sample that makes a file grow."""
    return {"x": np.arange(5000, dtype=np.int32) + number, "more": {"y": np.full(3000, number)}}


def full(folder: str) -> None:
    """Write under limits of the size of a file; print how often that failed, and what was wrong afterwards."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    path, told = Path(folder) / "a.h5", {}
    for way in ("add", "add safely", "create", "create more"):
        failed, wrong = 0, []
        for limit in (0, 3_000, 150_000, 163_000, 175_000, 187_000):
            for other in Path(folder).iterdir():
                other.unlink()
            with h5m.TypedFile(path, "w") as file:
                for number in range(3):
                    file.add(f"old {number}", big(number))
            before = path.read_bytes()
            error = in_another(partial(run_out, path, way, limit), folder)
            failed += error is not None
            found = in_another(partial(left_by, path, way, error, before), folder)
            wrong += [f"{limit}, {error}: {reason}" for reason in found]
        told[way] = (failed, wrong)
    sys.stdout.write(json.dumps(told))


def in_another(function: Callable[[], Any], folder: str) -> Any:
    """Return what a function returns in a process of its own: HDF5 does not recover from a file it cannot close."""
    told = Path(f"{folder}.json")
    told.unlink(missing_ok=True)
    assert in_a_fork(lambda: told.write_text(json.dumps(function())) and None) == 0
    return json.loads(told.read_text())


def run_out(path: Path, way: str, limit: int) -> str | None:
    """Write more than there is room for; return the error."""
    try:
        with room_for(limit):
            if way.startswith("create"):
                cls = h5m.typedfile("Big", {"x": Big()})
                mode = "a" if way == "create more" else "w"
                cls.create(path, ["7", "8"], mode, parallelism="none", progress=False).close()
            else:
                h5m.TypedFile(path, "r+").add("new", big(9), safe=way == "add safely").close()
    except OSError as error:
        return f"{error!r:.60}"
    except Exception as error:  # noqa: BLE001  all of them are wanted
        return f"{error!r:.60}, which is no OSError"
    return None


class Big(h5m.Feature):
    """Loads what makes a file grow."""

    def load(self, source: str) -> Any:
        return np.arange(20_000) * int(source)


def left_by(path: Path, way: str, error: str | None, before: bytes) -> list[str]:
    """Return what is wrong with a file after somebody ran out of room."""
    wrong = ["the error"] if "no OSError" in str(error) else []
    if error is not None and way.startswith("create") and path.read_bytes() != before:
        wrong.append("the file has changed")
    try:
        with h5m.TypedFile(path, "r+") as file:
            old = [f"old {number}" for number in range(3)]
            if error is not None or way != "create":
                for number, source in enumerate(old):
                    if as_plain(file.get(source)) != as_plain(big(number)):
                        wrong.append(f"{source} is lost")
            if error is not None and list(file.index) != old:
                wrong.append(f"has {list(file.index)}")
            file.add("later", big(11))
        if as_plain(h5m.TypedFile(path).get("later")) != as_plain(big(11)):
            wrong.append("what was added later is lost")
    except BatchUpError as other:
        wrong.append(f"{other!r:.200}")
    except Exception as other:  # noqa: BLE001  all of them are wanted
        wrong.append(f"raw {other!r:.200}")
    return wrong + beside(path)
