"""Laws of typed files: whatever is done in whatever order, they hold what a dict would, in the layout of the format."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from batchup import typed_files as h5m

from .hsq import UNATTENDED
from .pools import importable_tests
from .typed import as_plain, create, region

DTYPES = ["?", "i1", "<i2", ">i4", "<i8", "u1", "<u4", "f2", "<f4", ">f8", "c8"]
IDS = ["a", "b/1.png", "ü", " ", "C:\\d", "x" * 99, "__src__", "\udc80"]
NAMES = st.lists(st.sampled_from(["x", "y1", "ünï", "a b", "name", "_z"]), min_size=1, max_size=3, unique=True)
MANY = 400 if UNATTENDED else 80
few = settings(
    max_examples=MANY,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Kind:
    """A kind of arrays that a feature holds."""

    def __init__(self, dtype: str, inner: tuple[int, ...], form: str, options: dict[str, Any]) -> None:
        self.dtype, self.inner, self.form, self.options = dtype, inner, form, options

    def __repr__(self) -> str:
        return f"Kind({self.dtype!r}, {self.inner}, {self.form!r}, {self.options})"

    def feature(self) -> h5m.Feature:
        """Return a feature for it."""
        if self.form == "texts":
            return h5m.String()
        array = h5m.Array(**self.options)
        return h5m.VShape(array) if self.form == "any shape" else array

    def array(self, seed: int, length: int) -> Any:
        """Return an array whose values tell the seed."""
        if self.form == "texts":
            return np.array([f"text ü {seed} {i}" for i in range(length)], object)
        inner = (seed % 3, *self.inner) if self.form == "any shape" else self.inner
        shape = () if self.form == "scalars" else (length, *inner)
        values = (np.arange(int(np.prod(shape, dtype=int))) + seed) % 100
        return values.reshape(shape).astype(self.dtype)


KINDS = st.builds(
    Kind,
    st.sampled_from(DTYPES),
    st.sampled_from([(), (1,), (3,), (2, 2)]),
    st.sampled_from(["rows", "rows", "scalars", "any shape", "texts"]),
    st.sampled_from([{}, {}, {"compression": "gzip"}, {"compression": "lzf", "shuffle": True}]),
)
TREES = st.recursive(
    KINDS, lambda parts: NAMES.flatmap(lambda names: st.fixed_dictionaries(dict.fromkeys(names, parts))), max_leaves=4
).flatmap(lambda tree: st.just(tree) if isinstance(tree, dict) else st.just({"only": tree}))


def schema_of(tree: dict[str, Any]) -> dict[str, h5m.Feature]:
    """Return the features of a tree of kinds."""
    return {
        name: h5m.Group(**schema_of(part)) if isinstance(part, dict) else part.feature() for name, part in tree.items()
    }


def leaves(tree: dict[str, Any], prefix: str = "") -> dict[str, Kind]:
    """Return kinds by path."""
    found: dict[str, Kind] = {}
    for name, part in tree.items():
        found.update(leaves(part, f"{prefix}{name}/") if isinstance(part, dict) else {prefix + name: part})
    return found


def nested(arrays: dict[str, Any]) -> dict[str, Any]:
    """Return arrays by path as a dict of dicts."""
    found: dict[str, Any] = {}
    for path, array in arrays.items():
        *groups, last = path.split("/")
        place = found
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = array
    return found


def same(got: Any, expected: Any) -> None:
    """Check that two arrays or numbers agree in values, shape and dtype, but for the order of bytes."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape
    assert got.tolist() == expected.tolist()
    assert (
        got.dtype.newbyteorder("=") == expected.dtype.newbyteorder("=") or got.ndim == 0 or expected.dtype.kind in "OU"
    )


class Model:
    """A file, and what it must hold: for each id, the arrays by path.

    Parameters
    ----------
    folder : str
        Where the file is.
    tree : dict
        Its features.
    """

    def __init__(self, folder: str, tree: dict[str, Any], keep_open: bool) -> None:
        self.path = Path(folder) / "a.h5"
        self.kinds = leaves(tree)
        self.cls = h5m.typedfile("Modelled", schema_of(tree))
        self.keep_open = keep_open
        self.file = self.cls(self.path, "w", keep_open)
        self.held: dict[str, dict[str, Any]] = {}

    def apply(self, operation: str, source: str, paths: list[str], seed: int, length: int) -> None:
        """Do something to the file and to the model."""
        here = self.held.get(source, {})
        fresh = {path: self.kinds[path].array(seed, length) for path in paths if path not in here}
        if operation == "add" and fresh:
            self.file.add(source, nested(fresh), safe=seed % 5 == 0 and not self.keep_open)
            self.held.setdefault(source, {}).update(fresh)
        elif operation == "add one" and fresh:
            path = next(iter(fresh))
            self.file.get_proxy(path).add(source, fresh[path])
            self.held.setdefault(source, {})[path] = fresh[path]
        elif operation == "set" and here:
            new = {path: self.like(path, array, seed) for path, array in here.items() if path in paths}
            self.file.set(source, nested(new))
            here.update(new)
        elif operation in ("iset", "rows"):
            for path in paths:
                if path in here and self.kinds[path].form == "rows" and len(here[path]):
                    self.write_row(operation, source, path, seed)
        elif operation == "reopen":
            self.file.close()
            self.file = self.cls(self.path, "r+", self.keep_open)
        elif operation == "read":
            self.check()

    def like(self, path: str, array: Any, seed: int) -> Any:
        """Return another array of the same shape."""
        kind = self.kinds[path]
        if kind.form != "any shape":
            return kind.array(seed, len(array) if np.ndim(array) else 0)
        return ((np.arange(array.size) + seed) % 100).reshape(array.shape).astype(kind.dtype)

    def write_row(self, operation: str, source: str, path: str, seed: int) -> None:
        """Write to a row of an array."""
        array, proxy = self.held[source][path].copy(), self.file.get_proxy(path)
        row, value = seed % len(array), self.kinds[path].array(seed, 1)[0]
        array[row] = value
        if operation == "iset":
            proxy.iset(source, row - len(array) * (seed % 2), value)
        else:
            whole = proxy[proxy.refs[self.file.index[source]]]
            whole[row] = value
            proxy[proxy.refs[self.file.index[source]]] = whole
        self.held[source][path] = array

    def check(self) -> None:
        """Compare the file with the model in all ways to read."""
        assert list(self.file.index) == list(self.held)
        for path, kind in self.kinds.items():
            proxy = self.file.get_proxy(path)
            assert proxy.sources.tolist() == [source for source in self.held if path in self.held[source]]
            assert kind.form == "any shape" or len(proxy.refs) == len(self.held)
            for place, (source, arrays) in enumerate(self.held.items()):
                if path not in arrays:
                    assert proxy.get(source) is None
                    assert kind.form == "any shape" or not proxy.refs[place]
                    continue
                same(proxy.get(source), arrays[path])
                if kind.form != "any shape":
                    same(proxy[proxy.refs[place]], np.atleast_1d(arrays[path]))
        for source, arrays in self.held.items():
            got = self.file.get(source)
            for path, array in arrays.items():
                part = got
                for name in path.split("/"):
                    part = part[name]
                same(part, array)

    def check_layout(self) -> None:
        """Compare the file with the model, and with the layout of h5mapper, by plain h5py."""
        self.file.close()
        with h5py.File(self.path, "r") as file:
            ids = file["__src__/id"]
            assert (ids.shape, ids.maxshape) == ((len(self.held),), (None,))
            assert h5py.check_string_dtype(ids.dtype) == ("utf-8", None)
            assert [text.decode("utf-8", "surrogateescape") for text in ids[:]] == list(self.held)
            keys = [text.decode() for text in file["__src__/ds_keys"][:]]
            assert len(keys) == len(set(keys))
            expected: dict[str, dict[str, Any]] = {}
            for source, arrays in self.held.items():
                for path, array in arrays.items():
                    if self.kinds[path].form == "any shape":
                        expected.setdefault(f"{path}/arr", {})[source] = array.reshape(-1)
                        expected.setdefault(f"{path}/shape_", {})[source] = np.array(array.shape)
                    else:
                        expected.setdefault(path, {})[source] = np.atleast_1d(array)
            assert set(keys) == set(expected)
            for key, arrays in expected.items():
                self.check_dataset(file, key, arrays)

    def check_dataset(self, file: Any, key: str, arrays: dict[str, Any]) -> None:
        """Check the arrays and the references of a feature."""
        dataset, refs = file[f"{key}/__arr__"], file[f"{key}/__ref__"]
        assert dataset.maxshape == (None, *dataset.shape[1:])
        assert dataset.chunks is not None
        assert len(dataset) == sum(map(len, arrays.values()))
        assert h5py.check_ref_dtype(refs.dtype) is h5py.RegionReference
        assert (refs.shape, refs.maxshape) == ((len(self.held),), (None,)), key
        for source, reference in zip(self.held, refs[:], strict=True):
            rows = region(dataset, reference)
            assert (rows is None) == (source not in arrays)
            if rows is not None:
                there = dataset[slice(*rows)]
                texts = h5py.check_string_dtype(dataset.dtype)
                same([text.decode() for text in there] if texts else there, arrays[source])


@few
@given(data=st.data(), tree=TREES, keep_open=st.booleans())
def test_any_operations(data: st.DataObject, tree: dict[str, Any], keep_open: bool) -> None:
    """Adding, writing over and opening anew, in any order, leave what a dict holds, in the layout of h5mapper."""
    with tempfile.TemporaryDirectory() as folder:
        model = Model(folder, tree, keep_open)
        paths = list(model.kinds)
        operations = data.draw(
            st.lists(
                st.tuples(
                    st.sampled_from(["add", "add", "add", "add one", "set", "iset", "rows", "reopen", "read"]),
                    st.sampled_from(IDS),
                    st.lists(st.sampled_from(paths), min_size=1, unique=True),
                    st.integers(0, 99),
                    st.integers(0, 5),
                ),
                min_size=3,
                max_size=14,
            )
        )
        for operation in operations:
            model.apply(*operation)
        event(f"{len(model.held)} ids, {len(paths)} features")
        model.check()
        model.file.close()
        model.file = model.cls(model.path)
        model.check()
        model.check_layout()


class Parts(h5m.Feature):
    """Loads of a source the parts of an array that its name names; nothing of some."""

    __re__ = r"^[0-9]+$"

    def __init__(self, what: str) -> None:
        self.what = what

    def load(self, source: str) -> Any:
        number = int(source)
        if number % 5 == 4:
            return None
        rows = np.arange(number % 3 * 2).reshape(number % 3, 2) + number
        if self.what == "dict":
            return {"rows": rows, "text": f"{number} ü"}
        return number if self.what == "scalar" else rows


PARTS = h5m.typedfile(
    "Parted",
    {
        "rows": Parts("rows"),
        "group": h5m.Group(scalar=Parts("scalar"), shaped=h5m.VShape(Parts("rows"))),
        "dict": Parts("dict"),
        "source": h5m.String(),
    },
)


@pytest.mark.parametrize("parallelism", ["none", "threads", "mp"])
def test_created_as_added(parallelism: str, tmp_path: Path) -> None:
    """A file that is created at once, by whatever workers, holds what one does to which the sources were added."""
    sources = ["7", "3", "4", "none", "12", *map(str, range(20, 60))]
    with importable_tests():
        create(PARTS, tmp_path / "a.h5", sources[:30], parallelism=parallelism, n_workers=2)
        create(PARTS, tmp_path / "a.h5", sources[30:], "a", parallelism=parallelism, n_workers=2)
    added = PARTS(tmp_path / "b.h5", "w", keep_open=True)
    for source in sources:
        added.add(source, PARTS.load(source))
    made_file = PARTS(tmp_path / "a.h5")
    assert list(made_file.index) == list(added.index) == sources
    for source in sources:
        assert as_plain(made_file.get(source)) == as_plain(added.get(source)), source
    added.close()
    for path in ("rows", "group/scalar", "dict/text"):
        assert as_plain(made_file.get_proxy(path)[:]) == as_plain(added.get_proxy(path)[:])
        assert made_file.sources(path).tolist() == added.sources(path).tolist()


@few
@given(
    kind=KINDS,
    lengths=st.lists(st.integers(0, 4), min_size=1, max_size=9),
    holes=st.sets(st.integers(0, 8)),
    size=st.integers(1, 5),
    seed=st.integers(0, 99),
    mode=st.sampled_from(["r", "r+"]),
    same_length=st.booleans(),
)
def test_batches_are_what_is_there(
    kind: Kind, lengths: list[int], holes: set[int], size: int, seed: int, mode: str, same_length: bool
) -> None:
    """Batches by id and by row, in order or not, are what `get` and slices give; an epoch has each sample once."""
    with tempfile.TemporaryDirectory() as folder:
        cls = h5m.typedfile("Batched", {"x": kind.feature(), "number": h5m.Array()})
        with cls(f"{folder}/a.h5", "w") as file:
            for number, length in enumerate(lengths):
                arrays = {} if number in holes else {"x": kind.array(number, lengths[0] if same_length else length)}
                file.add(f"id {number}", {**arrays, "number": number})
        file = cls(f"{folder}/a.h5", mode)
        there = [number for number in range(len(lengths)) if number not in holes]
        assert file.sources("x").tolist() == [f"id {number}" for number in there]
        if there:
            ds = file.data_source(["x", "number"])
            assert ds.num_samples() == len(there)
            for shuffle in (None, seed):
                seen = [pair for batch in ds.batch_iterator(size, shuffle=shuffle) for pair in zip(*batch, strict=True)]
                assert sorted(int(number) for _, number in seen) == there
                assert shuffle is not None or [int(number) for _, number in seen] == there
                for array, number in seen:
                    same(array, file.x.get(f"id {number}"))
        if there and kind.form != "any shape":
            rows = file.x[:]
            by_row = file.data_source({"x": "x"}, by="row")
            assert by_row.num_samples() == len(rows)
            for shuffle in (None, seed):
                pairs = zip(by_row.batch_iterator(size, shuffle=shuffle), itertools.count(), strict=False)
                got = [as_plain(row) for batch, _ in pairs for row in batch["x"]]
                assert sorted(map(repr, got)) == sorted(repr(as_plain(row)) for row in rows)
                assert shuffle is not None or repr(got) == repr([as_plain(row) for row in rows])
            if len(rows):
                order = np.random.default_rng(seed).integers(0, len(rows), 7)
                same(by_row.samples_by_indices(order)["x"], rows[order])
        file.close()


@few
@given(values=st.lists(st.integers(-(2**62), 2**62), min_size=1), dtype=st.sampled_from(["i1", "u2", "i4", "u8", "f4"]))
def test_no_value_is_changed_silently(values: list[int], dtype: str) -> None:
    """What is added to integers comes back as it was, or is refused, and then the file is as before."""
    file = h5m.in_mem(h5m.typedfile("Numbers", {"x": h5m.Array(dtype=dtype)})).add("first", {"x": [1]})
    try:
        file.add("second", {"x": values})
    except (TypeError, ValueError):
        assert (list(file.index), file.x[:].tolist()) == (["first"], [1])
    else:
        assert file.x.get("second").tolist() == (values if dtype != "f4" else np.float32(values).tolist())
    file.close()
