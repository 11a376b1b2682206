"""Data sets in many files: their order, formats, what is missing or changed, thousands of them, and where they lie."""

from __future__ import annotations

import json
import os
import pickle
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchup import hypersequence as hs
from batchup import sequences, work_pool
from batchup.data_source import (
    ArrayDataSource,
    ChoiceDataSource,
    CompositeDataSource,
    MixDataSource,
    RandomAccessDataSource,
    ShardDataSource,
)
from batchup.data_source.abstract import UNKNOWN
from batchup.data_source.passes import as_pass
from batchup.data_source.shard import MOST_OPEN
from batchup.data_source.shards import shard_length
from batchup.errors import FileFormatError, InvalidTypeError, InvalidValueError, LengthError, TooManyErrorsError
from batchup.sampling.streams import index_batches

from . import soak, users
from .cases import shards
from .helpers import as_lists, first, joined
from .pools import ORDERS, POOLS, assert_same, assert_same_pass, importable_tests

LENGTHS = (7, 0, 12, 3)


def saved(folder: Path, lengths: Any = LENGTHS) -> list[str]:
    """Return the names of files of so many samples each, numbered through."""
    folder.mkdir(exist_ok=True)
    paths, ends = [], np.cumsum(lengths)
    for number, (end, length) in enumerate(zip(ends, lengths, strict=True)):
        paths.append(str(folder / f"{number:05d}.npy"))
        np.save(paths[-1], np.arange(end - length, end))
    return paths


def linked(folder: Path, count: int) -> list[str]:
    """Return many names of one file of 200 samples."""
    np.save(folder / "file", np.arange(200))
    paths = [str(folder / f"{number:05d}.npy") for number in range(count)]
    for path in paths:
        os.link(folder / "file.npy", path)
    return paths


# the order


@given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=5),
    size=st.integers(1, 5),
    shuffle=st.sampled_from(list(ORDERS.values())),
    tail=st.sampled_from(["short", "drop", "wrap", "pad"]),
    epoch=st.integers(0, 2),
)
def test_it_is_a_stratified_choice_of_the_files(
    lengths: list[int], size: int, shuffle: Any, tail: str, epoch: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The batches are those of a stratified choice of arrays, whatever is asked for."""
    paths = saved(tmp_path_factory.mktemp("shards"), lengths)
    arrays = ChoiceDataSource([ArrayDataSource([np.load(path)]) for path in paths], stratified=True)
    expected = arrays.batch_iterator(size, shuffle(), tail=tail, epoch=epoch)
    batches = ShardDataSource(paths).batch_iterator(size, shuffle(), tail=tail, epoch=epoch)
    assert len(batches) == len(expected)
    assert batches.num_samples == expected.num_samples == sum(lengths)
    assert_same(list(batches), list(expected))


def test_a_batch_comes_from_one_file(tmp_path: Path) -> None:
    """No batch has samples of two files; each sample comes once; epochs differ."""
    ds = ShardDataSource(saved(tmp_path))
    epochs = [[batch.tolist() for (batch,) in ds.batch_iterator(4, 1, epoch=epoch)] for epoch in range(2)]
    ends = np.cumsum(LENGTHS)
    for batches in epochs:
        assert sorted(joined(batches)) == [*range(sum(LENGTHS))]
        assert all(len(set(np.searchsorted(ends, batch, "right"))) == 1 for batch in batches)
    assert epochs[0] != epochs[1]


def test_patterns_are_sorted_and_lists_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of a pattern come in the order of texts, those of a list as they stand there; all by absolute path."""
    for name, value in (("a-9", 9), ("a-10", 10), ("b", 0), ("[x]", 5)):
        np.save(tmp_path / f"{name}.npy", np.array([value]))
    (tmp_path / "a-folder.npy").mkdir()
    monkeypatch.chdir(tmp_path)
    ds = ShardDataSource("a-*.npy")
    assert ds.files == (str(tmp_path / "a-10.npy"), str(tmp_path / "a-9.npy"))
    assert first(ds.batch_iterator(1)) == [[[10]], [[9]]]
    assert first(ShardDataSource([Path("a-9.npy"), "b.npy", "a-10.npy"]).batch_iterator(1)) == [[[9]], [[0]], [[10]]]
    assert first(ShardDataSource(tmp_path / "[x].npy").batch_iterator(1)) == [[[5]]]
    assert ds.paths == "a-*.npy"
    assert repr(ds) == "ShardDataSource(paths='a-*.npy')"


@pytest.mark.parametrize("shuffle", [None, 5])
@pytest.mark.parametrize("tail", ["short", "drop", "wrap", "pad"])
def test_ranks_share_the_epoch(shuffle: Any, tail: str) -> None:
    """In each step the ranks get the next batches of the epoch; what is over is as in a choice."""
    ds: Any = shards()
    serial = first(ds.batch_iterator(4, shuffle, tail=tail))
    for world in (2, 3):
        ranks = [first(ds.batch_iterator(4, shuffle, tail=tail, shard=(rank, world))) for rank in range(world)]
        assert len({len(part) for part in ranks}) == 1
        together = [batch for step in zip(*ranks, strict=True) for batch in step]
        whole = len(serial) // world * world
        assert together[:whole] == serial[:whole]
        if tail == "short":
            assert [batch for batch in together if batch[0]] == serial


def test_resume_at_any_batch_and_with_other_ranks() -> None:
    """A state goes on anywhere, in another source over the same files, and with another number of ranks."""
    serial = first(shards().batch_iterator(4, 7, epoch=2))
    for k in range(len(serial) + 1):
        batches = shards().batch_iterator(4, 7, epoch=2)
        first(batches, k)
        state = json.loads(json.dumps(batches.state_dict()))
        again = shards(lengths=[10, 0, 25]).batch_iterator(4, 7, epoch=2)
        again.load_state_dict(state)
        assert first(again) == serial[k:]
        if k % 2 == 0 and k < len(serial):
            half = shards().batch_iterator(4, 7, epoch=2, shard=(0, 2))
            half.load_state_dict(state)
            assert next(half)[0].tolist() == serial[k][0]
    with pytest.raises(InvalidValueError, match="taken from something else"):
        shards(open=users.opened, lengths=[9, 1, 25]).batch_iterator(4, 7, epoch=2).load_state_dict(state)


# formats


def in_npy(folder: Path, number: int, x: Any, y: Any) -> tuple[Path, Any]:
    np.save(folder / f"{number}.npy", x)
    return folder / f"{number}.npy", ArrayDataSource([x])


def in_fortran_order(folder: Path, number: int, x: Any, y: Any) -> tuple[Path, Any]:
    return in_npy(folder, number, np.asfortranarray(x), y)


def in_hsq(folder: Path, number: int, x: Any, y: Any) -> tuple[Path, Any]:
    with hs.HyperSequenceWriter(folder / f"{number}.hsq", batch_size=4) as writer:
        writer.extend(inputs=x, outputs=y)
    return folder / f"{number}.hsq", ArrayDataSource([x, y])


def in_hdf5(folder: Path, number: int, x: Any, y: Any, suffix: str = "h5", **options: Any) -> tuple[Path, Any]:
    with h5py.File(folder / f"{number}.{suffix}", "w") as file:
        for name, array in (("y", y), ("x", x)):
            file.create_dataset(name, data=array, **options)
        file.create_dataset("group/other", data=np.arange(3))
        file["version"] = 1
    return folder / f"{number}.{suffix}", ArrayDataSource({"x": x, "y": y})


def in_gzipped_hdf5(folder: Path, number: int, x: Any, y: Any) -> tuple[Path, Any]:
    return in_hdf5(folder, number, x, y, "HDF5", chunks=True, compression="gzip")


def in_records(folder: Path, number: int, x: Any, y: Any, writer: Any = sequences.FileRecordWriter) -> tuple[Path, Any]:
    suffix = "hdf5" if writer is sequences.Hdf5RecordWriter else "whatever"
    with writer(folder / f"{number}.{suffix}") as records:
        records.extend([row[: 1 + i % 3] for i, row in enumerate(x)])
    lengths = 1 + np.arange(len(x)) % 3
    return folder / f"{number}.{suffix}", (x, lengths)


def in_hdf5_records(folder: Path, number: int, x: Any, y: Any) -> tuple[Path, Any]:
    return in_records(folder, number, x, y, sequences.Hdf5RecordWriter)


Written = Callable[[Path, int, Any, Any], tuple[Path, Any]]
FORMATS: dict[str, Written] = {
    function.__name__: function for function in (in_npy, in_fortran_order, in_hsq, in_hdf5, in_gzipped_hdf5)
}
RECORDS: dict[str, Written] = {function.__name__: function for function in (in_records, in_hdf5_records)}


def written(write: Written, folder: Path) -> tuple[list[Path], list[Any]]:
    made = []
    for number, length in enumerate((9, 20)):
        x = np.arange(length * 3, dtype=np.float32).reshape(length, 3) + 100 * number
        made.append(write(folder, number, x, np.arange(length) + 1000 * number))
    return [path for path, _ in made], [known for _, known in made]


@pytest.mark.parametrize("name", FORMATS)
def test_formats(name: str, tmp_path: Path) -> None:
    """Files of every format, known by their suffix, give what was written to them, here and in worker processes."""
    paths, members = written(FORMATS[name], tmp_path)
    expected = ChoiceDataSource(members, stratified=True)
    ds = ShardDataSource(paths)
    assert [shard_length(path) for path in paths] == [9, 20]
    for source in (ds, pickle.loads(pickle.dumps(ds)), ShardDataSource(paths, lengths=[9, 20])):
        assert_same(list(source.batch_iterator(4, 3)), list(expected.batch_iterator(4, 3)))
    assert ds._batch_keys() == members[0]._batch_keys()


@pytest.mark.parametrize("name", RECORDS)
def test_records(name: str, tmp_path: Path) -> None:
    """Record files give padded batches, and the lengths; each record once, in the order of all files together."""
    paths, members = written(RECORDS[name], tmp_path)
    assert [shard_length(path) for path in paths] == [9, 20]
    ds, seen = ShardDataSource(paths), []
    order = list(ShardDataSource(paths, lengths=[9, 20]).batch_indices_iterator(4, 3))
    for (tokens, lengths), (indices, number) in zip(ds.batch_iterator(4, 3), order, strict=True):
        x, known = members[number]
        assert lengths.tolist() == known[indices].tolist()
        for row, index, length in zip(tokens, indices, lengths, strict=True):
            assert row[:length].tolist() == x[index, :length].tolist()
            assert not row[length:].any()
        seen += [(number, index) for index in indices.tolist()]
    assert sorted(seen) == [(0, i) for i in range(9)] + [(1, i) for i in range(20)]


@pytest.mark.parametrize("kind", POOLS)
def test_pools_read_every_format(kind: str, tmp_path: Path) -> None:
    """Threads and processes give the batches of the serial iterator, from files that only they open."""
    with importable_tests(), POOLS[kind](2) as pool:
        for name, write in {**FORMATS, **RECORDS}.items():
            (tmp_path / name).mkdir()
            paths, _ = written(write, tmp_path / name)
            for ds in (ShardDataSource(paths), ShardDataSource(paths, lengths=[9, 20])):
                assert_same_pass(pool.parallel_data_source(ds), ds, 4, "seed", epoch=1, tail="pad")


class Halved(RandomAccessDataSource):
    """The numbers of a file, divided by 2."""

    def __init__(self, path: str) -> None:
        super().__init__(len(np.load(path)))
        self.path = path

    def samples_by_indices_nomapping(self, indices: Any) -> Any:
        return (np.load(self.path)[indices] / 2,)


OPENERS: dict[str, Callable[[str], Any]] = {
    "arrays": lambda path: [np.load(path) / 2],
    "a source": lambda path: ArrayDataSource([np.load(path) / 2]),
    "a source of one's own": Halved,
    "a map": lambda path: ArrayDataSource([np.load(path)]).map(users.halves),
    "a map by sample": lambda path: ArrayDataSource([np.load(path)]).map(users.halves, per_sample=True),
}


@pytest.mark.parametrize("name", OPENERS)
def test_open(name: str) -> None:
    """`open` may return all that can be read by one index, and that `coerce_data_source` makes so."""
    for keywords in ({}, {"lengths": [10, 0, 25]}):
        ds = shards(open=OPENERS[name], **keywords)  # type: ignore[arg-type]
        assert first(ds.batch_iterator(4, 1)) == first(shards().map(users.halves).batch_iterator(4, 1))
    assert shard_length(shards().files[2], OPENERS[name]) == 25


def test_chance_within_files() -> None:
    """A map within `open` takes part in the chance of the epoch; one that lacks a seed says so."""
    ds = shards(open=lambda path: ArrayDataSource([np.load(path)]).map(_noisy))
    runs = [first(ds.batch_iterator(4, 1, epoch=epoch)) for epoch in (0, 0, 1)]
    assert runs[0] == runs[1] != runs[2]
    with pytest.raises(InvalidTypeError, match="needs an rng"):
        next(ds.batch_iterator(4))


def _noisy(x: Any, rng: np.random.Generator) -> Any:
    return (x + rng.random(len(x)),)


ORDERED: dict[str, Callable[[str], Any]] = {
    "a sampler": lambda path: ArrayDataSource([np.load(path)], indices=[0]),
    "repeats": lambda path: ArrayDataSource([np.load(path)], repeats=2),
    "a composite": lambda path: CompositeDataSource([ArrayDataSource([np.load(path)])]),
    "a user's": lambda path: users.Countdown(3),
    "a map of a user's": lambda path: users.Countdown(3).map(users.halves),
    "an array": lambda path: np.load(path),
}


@pytest.mark.parametrize("name", ORDERED)
def test_open_must_not_bring_an_order(name: str, tmp_path: Path) -> None:
    """What has an order of its own, or no indices, is refused."""
    with pytest.raises(InvalidTypeError):
        ShardDataSource(saved(tmp_path, [3]), open=ORDERED[name])
    with pytest.raises(InvalidTypeError):
        next(ShardDataSource(saved(tmp_path, [3]), open=ORDERED[name], lengths=[3]).batch_iterator(2))


# arguments


WRONG: dict[str, tuple[Callable[[str, str], Any], type[Exception], str]] = {
    "no file fits": (lambda a, b: ShardDataSource(a + "*.txt"), InvalidValueError, "no file fits"),
    "none": (lambda a, b: ShardDataSource([]), InvalidValueError, "at least one file, got none"),
    "a name twice": (lambda a, b: ShardDataSource([a, b, os.path.relpath(a)]), InvalidValueError, "is there twice"),
    "a number": (lambda a, b: ShardDataSource(3), InvalidTypeError, "got int"),
    "bytes": (lambda a, b: ShardDataSource(os.fsencode(a)), InvalidTypeError, "got bytes"),
    "a set": (lambda a, b: ShardDataSource({a, b}), InvalidTypeError, "got set"),
    "a number in a list": (lambda a, b: ShardDataSource([a, 3]), InvalidTypeError, r"paths\[1\] must be a str"),
    "too few lengths": (lambda a, b: ShardDataSource([a, b], lengths=[1]), LengthError, "2 files, and 1 lengths"),
    "negative": (lambda a, b: ShardDataSource([a, b], lengths=[1, -1]), InvalidValueError, r"lengths\[1\]"),
    "no whole number": (lambda a, b: ShardDataSource([a, b], lengths=[1, 1.5]), InvalidValueError, r"lengths\[1\]"),
    "texts": (lambda a, b: ShardDataSource([a, b], lengths=["1", "2"]), InvalidTypeError, r"lengths\[0\]"),
    "lengths is a number": (lambda a, b: ShardDataSource([a], lengths=3), InvalidTypeError, "got int"),  # type: ignore[arg-type]
    "open is no function": (lambda a, b: ShardDataSource([a], open="r"), InvalidTypeError, "got str"),  # type: ignore[arg-type]
    "a keyword": (lambda a, b: ShardDataSource([a]).batch_iterator(2, colour=1), InvalidTypeError, "colour"),
    "not there": (lambda a, b: ShardDataSource([a, b + "x"]), FileNotFoundError, socket.gethostname()),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments(name: str, tmp_path: Path) -> None:
    """What cannot be is said at the call."""
    call, kind, message = WRONG[name]
    a, b = saved(tmp_path, [3, 4])
    with pytest.raises(kind, match=message):
        call(a, b)


def test_an_unknown_suffix(tmp_path: Path) -> None:
    """The suffixes that are known are named, and what to do about others."""
    (tmp_path / "a.csv").write_text("1,2")
    with pytest.raises(InvalidValueError, match=r"\.npy, \.hsq, \.h5, \.hdf5, .* pass open="):
        ShardDataSource([tmp_path / "a.csv"])
    with pytest.raises(InvalidValueError, match="pass open="):
        next(ShardDataSource([tmp_path / "a.csv"], lengths=[1]).batch_iterator(1))


def objects(path: Path) -> None:
    np.save(path, np.array([{}, 1]), allow_pickle=True)


def cut_short(path: Path) -> None:
    np.save(path, np.arange(100))
    os.truncate(path, 500)


def unequal(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["x"], file["y"] = np.arange(3), np.arange(4)


def linking(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["x"] = h5py.ExternalLink("elsewhere.h5", "x")


DAMAGED: dict[str, tuple[str, Callable[[Path], Any], type[Exception]]] = {
    "no .npy": ("a.npy", lambda path: path.write_bytes(b"something else"), FileFormatError),
    "nothing": ("a.npy", lambda path: path.write_bytes(b""), FileFormatError),
    "objects": ("a.npy", objects, FileFormatError),
    "cut short": ("a.npy", cut_short, FileFormatError),
    "a single value": ("a.npy", lambda path: np.save(path, np.array(3)), FileFormatError),
    "no .hsq": ("a.hsq", lambda path: path.write_bytes(b"something else"), FileFormatError),
    "no HDF5": ("a.h5", lambda path: path.write_bytes(b"something else"), FileFormatError),
    "unequal datasets": ("a.h5", unequal, LengthError),
    "no datasets": ("a.h5", lambda path: h5py.File(path, "w").close(), LengthError),
    "a link": ("a.h5", linking, FileFormatError),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files(name: str, tmp_path: Path) -> None:
    """A file that is not what its suffix says is named: at the call, or when it is read."""
    file, make, kind = DAMAGED[name]
    make(tmp_path / file)
    with pytest.raises(kind, match=str(tmp_path / file)):
        ShardDataSource([tmp_path / file])
    with pytest.raises(kind, match=str(tmp_path / file)):
        next(ShardDataSource([tmp_path / file], lengths=[2]).batch_iterator(2))


# files that are missing, or others


def test_files_that_this_machine_need_not_see(tmp_path: Path) -> None:
    """With lengths, a missing file is an error when it is read, which says where; others are read all the same."""
    here, gone = saved(tmp_path, [6, 4])
    os.remove(gone)
    ds = ShardDataSource([here, gone], lengths=[6, 4])
    assert ds.num_samples() == 10
    assert len(ds.batch_iterator(2)) == 5
    assert ds._batch_keys() is UNKNOWN
    batches = ds.batch_iterator(2)
    assert first(batches, 1) == [[[0, 1]]]
    with pytest.raises(FileNotFoundError, match=f"no such file on {socket.gethostname()}") as caught:
        next(batches)
    assert caught.value.filename == gone
    with pytest.raises(FileNotFoundError):
        shard_length(gone)


def test_on_error(tmp_path: Path) -> None:
    """The samples of a missing file can be skipped; not be replaced, for others of it are missing too."""
    here, gone = saved(tmp_path, [6, 4])
    os.remove(gone)
    ds = ShardDataSource([here, gone], lengths=[6, 4])
    batches = ds.batch_iterator(2, on_error="skip")
    assert [as_lists(batch) for batch in batches] == [[[0, 1]], [[]], [[2, 3]], [[4, 5]], [[]]]
    assert [(error.position, error.sample_index.ds_index, error.stage) for error in batches.errors] == [
        (position, 1, "open") for position in (1, 1, 4, 4)
    ]
    with pytest.raises(TooManyErrorsError):
        list(ds.batch_iterator(2, on_error="skip", max_errors=3))
    for keywords in ({"on_error": "replace"}, {"trace": True}):
        with pytest.raises(FileNotFoundError):
            list(ds.batch_iterator(2, **keywords))  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):  # nobody knows what an empty batch looks like
        list(ShardDataSource([gone], lengths=[4]).batch_iterator(2, on_error="skip"))


def test_a_file_that_has_been_replaced(tmp_path: Path) -> None:
    """A file that is another one than when its length was read is an error, also where the source was sent to."""
    paths = saved(tmp_path, [6, 4])
    ds = ShardDataSource(paths)
    sent = pickle.dumps(ds)
    np.save(tmp_path / "new.npy", np.arange(4))
    os.utime(tmp_path / "new.npy", ns=(1, 1))
    os.replace(tmp_path / "new.npy", paths[1])
    for source in (ds, pickle.loads(sent)):
        with pytest.raises(FileFormatError, match=f"{paths[1]} has been replaced or written to since its length"):
            list(source.batch_iterator(2))
    assert sorted(joined(batch for (batch,) in ShardDataSource(paths).batch_iterator(4))) == sorted(
        [*range(6), *range(4)]
    )


def test_a_file_that_is_replaced_while_it_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was closed meanwhile, to make room for others, must be the same when it is opened again."""
    monkeypatch.setattr("batchup.data_source.shard._open_shards._most", 1)
    paths = saved(tmp_path, [6, 6])
    batches = ShardDataSource(paths, lengths=[6, 6]).batch_iterator(2)
    first(batches, 2)
    np.save(paths[0], np.arange(6) + 50)
    os.utime(paths[0], ns=(1, 1))
    with pytest.raises(FileFormatError, match="has been replaced"):
        next(batches)


def test_a_length_that_is_wrong(tmp_path: Path) -> None:
    """A file that has another length than was given is named, with both."""
    paths = saved(tmp_path, [6, 4])
    for wrong in (3, 5):
        with pytest.raises(LengthError, match=f"{paths[1]} should have {wrong} samples, and has 4"):
            list(ShardDataSource(paths, lengths=[6, wrong]).batch_iterator(2))


OTHERS: dict[str, Any] = {
    "dtype": np.zeros((4, 2), np.float32),
    "shape": np.zeros((4, 3)),
    "dimensions": np.zeros(4),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_columns(name: str, tmp_path: Path) -> None:
    """Files with other columns are an error: at the call if their headers tell, else when they are read."""
    paths = [str(tmp_path / "a.npy"), str(tmp_path / "b.npy")]
    np.save(paths[0], np.zeros((5, 2)))
    np.save(paths[1], OTHERS[name])
    message = rf"{paths[1]} holds float.*, and {paths[0]} float64 \(2,\): all files must have the same columns"
    with pytest.raises(FileFormatError, match=message):
        ShardDataSource(paths)
    with pytest.raises(FileFormatError, match=message):
        list(ShardDataSource(paths, lengths=[5, 4]).batch_iterator(2))


def test_other_keys(tmp_path: Path) -> None:
    """So are files with other names for them."""
    for number, name in enumerate("xy"):
        with h5py.File(tmp_path / f"{number}.h5", "w") as file:
            file[name] = np.arange(3)
    ds = ShardDataSource(str(tmp_path / "*.h5"))
    batches = ds.batch_iterator(2)
    assert list(next(batches)) == ["x"]
    assert ds._batch_keys() == ("x",)
    with pytest.raises(FileFormatError, match=r"\['y'\].*\['x'\]"):
        next(batches)


def test_files_without_samples_may_hold_anything(tmp_path: Path) -> None:
    """A file without samples is never opened: nobody minds what its columns would be."""
    paths = saved(tmp_path, [3])
    np.save(tmp_path / "none.npy", np.zeros((0, 5)))
    ds = ShardDataSource([tmp_path / "none.npy", *paths])
    assert first(ds.batch_iterator(5)) == [[[0, 1, 2]]]
    assert first(ShardDataSource([tmp_path / "none.npy"]).batch_iterator(5)) == []


# many files


def open_files(folder: Path) -> int:
    """Return how many files of a folder are open; others may be let go of at any time."""
    return sum(target.startswith(str(folder)) for target in soak.open_files().values())


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
@pytest.mark.parametrize("suffix", ["npy", "h5"])
def test_few_files_are_open(suffix: str, tmp_path: Path) -> None:
    """However many files there are, few are open at a time, and none when the source is gone."""
    if suffix == "npy":
        paths = linked(tmp_path, 300)
    else:
        paths = [str(in_hdf5(tmp_path, number, np.zeros((9, 2)), np.zeros(9))[0]) for number in range(150)]
    ds: Any = ShardDataSource(paths)
    assert open_files(tmp_path) == 0
    most = 0
    for _ in ds.batch_iterator(64, 1):
        most = max(most, open_files(tmp_path))
    assert 0 < most <= 5 * MOST_OPEN
    last = ds.batch_iterator(64, 1)
    next(last)
    del ds, last
    assert open_files(tmp_path) == 0


def test_the_last_files_stay_open(tmp_path: Path) -> None:
    """A file that has just been read is not opened again for its next batch."""
    opened: list[str] = []
    ds = ShardDataSource(
        saved(tmp_path, [9, 9]), open=lambda path: opened.append(path) or [np.load(path)], lengths=[9, 9]
    )
    assert opened == []
    list(ds.batch_iterator(2, 1))
    list(ds.batch_iterator(2, 1, epoch=1))
    assert sorted(opened) == list(ds.files)


def calls(batches: Iterator[Any], count: int) -> int:
    """Return how many functions are called for some batches."""
    made = 0

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal made
        made += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        for _ in range(count):
            next(batches)
    finally:
        sys.setprofile(None)
    return made


ITERATED: dict[str, dict[str, Any]] = {
    "in order": {},
    "seed": {"shuffle": 1},
    "RandomState": {"shuffle": np.random.RandomState(1)},
    "a rank": {"shuffle": 1, "shard": (1, 4)},
    "tolerant": {"shuffle": 1, "on_error": "skip"},
}


@pytest.mark.parametrize("name", ITERATED)
def test_a_batch_costs_the_same_among_thousands(name: str, tmp_path: Path) -> None:
    """What is done for an iterator and for a batch does not grow with the number of files."""
    paths = linked(tmp_path, 10_000)
    few, many = (ShardDataSource(part, lengths=[200] * len(part)) for part in (paths[:100], paths))
    made = []
    for ds in (few, many):
        batches: Any = ds.batch_iterator(64, **ITERATED[name])
        begun = calls(batches, 1)
        made.append((begun, calls(batches, 50)))
    assert made[1][0] < 1.5 * made[0][0]
    assert made[1][1] < 1.5 * made[0][1]


def test_ten_thousand_files(tmp_path: Path) -> None:
    """Their headers are read, any batch is entered at once, a state is small, and so is what is sent of each."""
    ds = ShardDataSource(str(tmp_path / "*.npy")) if linked(tmp_path, 9_999) else None
    assert ds is not None
    assert ds.num_samples() == 200 * 10_000  # with the file itself
    batches: Any = ds.batch_iterator(64, 1)
    assert len(batches) == 40_000
    state = batches.state_dict()
    assert len(json.dumps(state)) < 1024
    batches.load_state_dict({**state, "position": 39_999})
    last = next(batches)
    assert next(batches, None) is None
    walk = as_pass(64, 1)
    stream = ds._steps_of_pass(walk)
    stream.seek(39_999)
    assert last[0].tolist() == stream.take(1).sample_indices.array().tolist()
    assert len(pickle.dumps(ds)) < 10_000 * (len(str(tmp_path)) + 40)


def test_threads_share_what_is_open(tmp_path: Path) -> None:
    """Many threads read from many files at once, and get the batches of the serial iterator."""
    ds = ShardDataSource(saved(tmp_path, [5] * 100))
    with work_pool.WorkerThreadPool(8) as pool:
        for order in ("seed", "RandomState"):
            assert_same_pass(pool.parallel_data_source(ds.map(users.halves)), ds.map(users.halves), 2, order)


# where it lies


def test_where_a_chunk_lies(tmp_path: Path) -> None:
    """Trees tell which files a batch is read from, and which there are in all, and open none."""
    a, b, c = saved(tmp_path, [4, 6, 5])
    for path in (a, b, c):
        os.remove(path)
    two, other = ShardDataSource([a, b], lengths=[4, 6]), ShardDataSource([c], lengths=[5])
    arrays = ArrayDataSource([np.arange(20)])
    mix = MixDataSource([two.datasets[0], other.datasets[0].map(users.halves), arrays], [1, 1, 1])
    composite = CompositeDataSource([two.map(users.halves), other, two, arrays])
    with work_pool.WorkerThreadPool(1) as pool:
        trees: dict[Any, list[tuple[str, ...]]] = {
            two: [(a,), (b,), (b,), (a,), (b,)],
            two.map(users.halves): [(a,), (b,), (b,), (a,), (b,)],
            pool.parallel_data_source(two): [(a,), (b,), (b,), (a,), (b,)],
            composite: [(a, c), (b, c), (b, c)],
            ChoiceDataSource([other, two, arrays]): [(c,), (a,), (), (c,), (b,), (), (c,), (b,), ()],
            mix: [(a, c), (a,), (c,), (a, c), (a,), (c,)],
            arrays: [()] * 10,
        }
        for tree, expected in trees.items():
            found = [tree._files(chunk) for chunk in index_batches(tree._steps_of_pass(as_pass(2)))]
            assert [set(files) for files in found][: len(expected)] == [set(files) for files in expected], tree
            assert all(len(set(files)) == len(files) for files in found)
        assert [tree._all_files() for tree in trees] == [(a, b), (a, b), (a, b), (a, b, c), (c, a, b), (a, c), ()]


def test_names_with_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` and variables in names are those of whoever reads the file."""
    np.save(tmp_path / "a.npy", np.arange(4))
    ds = ShardDataSource(["$SHARDS/a.npy"], lengths=[4])
    monkeypatch.setenv("SHARDS", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    for same in (ds, ShardDataSource("$SHARDS/*.npy"), ShardDataSource("~/a.npy"), pickle.loads(pickle.dumps(ds))):
        assert [batch.tolist() for (batch,) in same.batch_iterator(3)] == [[0, 1, 2], [3]]
    assert ds.files == ("$SHARDS/a.npy",)
