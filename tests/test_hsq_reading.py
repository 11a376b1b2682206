"""Reading .hsq files: views that outlive the file, threads, pickles, pools, columns in sources, bounded memory."""

from __future__ import annotations

import copy
import gc
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchup import hypersequence as hs
from batchup.data_source import ArrayDataSource, ChoiceDataSource, CompositeDataSource, MixDataSource
from batchup.errors import FileFormatError, UnsupportedError

from . import pools
from .hsq import ROOT, Arrays, child, ended, holds, meta_of, numbered, same, values, write
from .pools import assert_same_pass

shared_pool = pools.shared_pool  # the fixture `pool`
end_of_patience = pools.end_of_patience

WAYS = {
    "mapped": {},
    "read": {"use_mmap": False},
    "copied": {"copy_buffer": True},
    "read, copied": {"use_mmap": False, "copy_buffer": True},
    "said to be thread-safe": {"thread_safe": True},
}
every_way = pytest.mark.parametrize("way", WAYS)


def several(rows: int = 43) -> Arrays:
    """Return fields of all kinds of sizes; only some of them are aligned in a record."""
    return Arrays(
        (values("|u1", (rows, 3)), values("<f8", (rows, 2, 5)), values("|S7", (rows,))),
        (values(">i4", (rows,)), values("<f4", (rows, 1))),
    )


@pytest.fixture(name="path")
def several_in_a_file(tmp_path: Path) -> Path:
    return write(tmp_path / "a.hsq", several(), 8, {"a": 1})


@every_way
def test_every_way_reads_the_same(way: str, path: Path) -> None:
    """Mapped or read, copied or not: batches, rows, slices and rebatched batches are the same."""
    arrays = several()
    with hs.HyperSequenceFile(path, **WAYS[way]) as hsq:
        holds(hsq, arrays, 8)
        for size in (1, 3, 8, 20, 43, 50):
            holds(hsq.rebatch(size), arrays, size)
        for column, array in zip(hsq.columns.values(), arrays.all, strict=True):
            for rows in ([0], [42, 41, 0], [7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18], list(range(43)) * 2):
                same(column[rows], array[rows])
            for part in (slice(0, 8), slice(3, 5), slice(5, 11), slice(39, 43), slice(40, 42), slice(0, 43)):
                same(column[part], array[part])
                same(column.view(part), array[part])
            assert column[7].tobytes() == array[7].tobytes()
            assert column.ndim == array.ndim


def leaves(batch: Any) -> list[Any]:
    return [leaf for part in batch for leaf in leaves(part)] if isinstance(batch, tuple) else [batch]


@every_way
def test_whose_memory(way: str, path: Path) -> None:
    """Views are read-only; copy_buffer gives aligned, contiguous, writable arrays, each the holder's own."""
    with hs.HyperSequenceFile(path, **WAYS[way]) as hsq:
        for sequence in (hsq, hsq.split(0.5)[0], hsq.rebatch(4)):
            for batch in sequence:
                for array in leaves(batch):
                    if "copy_buffer" in WAYS[way]:
                        assert array.flags.aligned
                        assert array.flags.writeable
                        assert array.flags.c_contiguous or sequence.batch_size() == 4
                        array[...] = np.zeros((), array.dtype)
                    elif way == "mapped" or sequence.batch_size() == 8:  # divisors of it are not copied
                        assert not array.flags.writeable
                        with pytest.raises(ValueError, match="read-only"):
                            array[...] = 0
                        with pytest.raises(ValueError, match="WRITEABLE"):
                            array.flags.writeable = True
        holds(hsq, several(), 8)
        assert hsq.verify() == []
        for column in hsq.columns.values():
            assert not column.view(slice(0, 4)).flags.writeable
            gathered = column[[3, 1]]
            assert gathered.flags.writeable
            assert gathered.flags.aligned
            gathered[...] = np.zeros((), gathered.dtype)
        holds(hsq, several(), 8)


@every_way
@pytest.mark.parametrize("how", ["close", "forget", "close and forget"])
def test_batches_outlive_the_file(way: str, how: str, path: Path) -> None:
    """Arrays that were handed out stay right when the file is closed, gone, and even removed and replaced."""
    arrays = several()
    hsq: Any = hs.HyperSequenceFile(path, **WAYS[way])
    batches = [*hsq]
    views = [column.view(slice(2, 6)) for column in hsq.columns.values()]
    rebatched = list(hsq.rebatch(2))
    if how != "forget":
        hsq.close()
    if how != "close":
        del hsq
        gc.collect()
    write(path, numbered(5), 4)
    path.unlink()
    same(views, [x[2:6] for x in arrays.all])
    for batch, rows in zip(batches, arrays.batches(8), strict=True):
        same([*leaves(batch)], rows.all)
    for batch, rows in zip(rebatched, arrays.batches(2), strict=True):
        same([*leaves(batch)], rows.all)


def test_nothing_stays_open(path: Path) -> None:
    """Closing a file, or forgetting it, gives its descriptors and its mapping back."""
    folder = Path("/proc/self/fd")
    if not folder.exists():
        return

    def held() -> int:
        here = os.fspath(path)
        links = sum(os.readlink(link) == here for link in folder.iterdir() if os.path.islink(link))
        return links + Path("/proc/self/maps").read_text().count(here)

    hsq = hs.HyperSequenceFile(path)
    batch = hsq[0]
    assert held() >= 2
    hsq.close()
    assert held() >= 1  # the mapping of the batch
    del batch
    gc.collect()
    assert held() == 0
    hsq = hs.HyperSequenceFile(path)
    column = hsq.columns["i0"]
    del hsq
    gc.collect()
    assert column[3].tobytes() == several().inputs[0][3].tobytes()
    del column
    gc.collect()
    assert held() == 0
    path.write_bytes(b"rubbish")
    with pytest.raises(FileFormatError):
        hs.HyperSequenceFile(path)
    assert held() == 0


@every_way
def test_threads_read_at_once(way: str, path: Path) -> None:
    """Many threads may read batches, columns and views of one file at once."""
    arrays, wrong = several(), []
    with hs.HyperSequenceFile(path, **WAYS[way]) as hsq:
        start = threading.Barrier(6)

        def read(seed: int) -> None:
            rng = np.random.default_rng(seed)
            start.wait()
            try:
                for _ in range(150):
                    number = int(rng.integers(6))
                    same(leaves(hsq[number]), arrays.rows(slice(number * 8, number * 8 + 8)).all)
                    rows = rng.integers(43, size=9)
                    for column, array in zip(hsq.columns.values(), arrays.all, strict=True):
                        same(column[rows], array[rows])
            except BaseException as error:  # noqa: BLE001
                wrong.append(error)

        threads = [threading.Thread(target=read, args=(seed,)) for seed in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_closed_while_threads_read(tmp_path: Path) -> None:
    """Closing a file under threads that read ends them with the error for a closed file, never the program."""
    code = """if True:
        import sys, threading
        import numpy as np
        from batchup import hypersequence as hs
        from tests.hsq import numbered, write
        path, bad = write(sys.argv[1] + "/a.hsq", numbered(4000), 16), []
        for trial in range(40):
            hsq = hs.HyperSequenceFile(path, use_mmap=trial % 4 != 0)
            column = hsq.columns["o0"]
            begun = threading.Barrier(4)

            def read(seed):
                rng = np.random.default_rng(seed)
                begun.wait()
                try:
                    while True:
                        number = int(rng.integers(250))
                        assert hsq[number][1][3] == number * 16 + 3
                        rows = rng.integers(4000, size=30)
                        assert (column[rows] == rows).all()
                        assert (column[number:number + 40] == np.arange(number, number + 40)).all()
                except ValueError as error:
                    if "closed" not in str(error):
                        bad.append(repr(error))
                except BaseException as error:
                    bad.append(repr(error))

            threads = [threading.Thread(target=read, args=(seed,)) for seed in range(3)]
            for thread in threads:
                thread.start()
            begun.wait()
            threading.Event().wait(0.003)
            hsq.close()
            for thread in threads:
                thread.join()
        print(len(bad), sorted({text[:200] for text in bad}))
    """
    assert child(code, tmp_path).startswith("0 ")


PICKLED: dict[str, Callable[[hs.HyperSequenceFile], Any]] = {
    "file": lambda hsq: hsq,
    "part": lambda hsq: hsq.split(0.4)[1],
    "rebatched": lambda hsq: hsq.rebatch(3),
    "rebatched part": lambda hsq: hsq.split(0.6)[0].rebatch(5),
}


@every_way
@pytest.mark.parametrize("what", PICKLED)
def test_pickled(what: str, way: str, tmp_path: Path) -> None:
    """Files, parts and rebatched ones go through pickle and copy as their path and their order."""
    path = write(tmp_path / "a.hsq", numbered(45), 4)
    with hs.HyperSequenceFile(path, **WAYS[way]) as hsq:
        hsq.shuffle(3)
        sequence = PICKLED[what](hsq)
        sequence.shuffle(4)
        expected = [[x.tolist() for x in batch] for batch in sequence]
        pickled = pickle.dumps(sequence)
        assert len(pickled) < 5000
        for again in (pickle.loads(pickled), copy.copy(sequence), copy.deepcopy(sequence)):
            assert [[x.tolist() for x in batch] for batch in again] == expected
            assert all(x.flags.writeable == ("copy_buffer" in WAYS[way]) for x in again[0]) or "rebatched" in what
    again = pickle.loads(pickled)  # the first one need not be open
    assert [[x.tolist() for x in batch] for batch in again] == expected


@every_way
def test_pickled_columns_and_sources(way: str, path: Path) -> None:
    """Columns, and sources over them, are pickled small, and give the same rows."""
    arrays = several()
    with hs.HyperSequenceFile(path, **WAYS[way]) as hsq:
        column, source = hsq.columns["i1"], hsq.data_source()
        pair = pickle.loads(pickle.dumps((column, source)))
        assert len(pickle.dumps(source)) < 5000
        same(pair[0][[40, 3]], arrays.inputs[1][[40, 3]])
        same(list(pair[1].batch_iterator(9, 1)), list(source.batch_iterator(9, 1)))


def test_a_pickle_of_another_file(path: Path) -> None:
    """A pickle tells when its file has become another one; that of a closed file cannot be made."""
    hsq = hs.HyperSequenceFile(path)
    pickles = [pickle.dumps(part) for part in (hsq, hsq.columns["i0"], hsq.data_source(), hsq.rebatch(2))]
    hsq.close()
    for part in (hsq, hs.HyperSequenceView(hsq)):
        with pytest.raises(ValueError, match="closed"):
            pickle.dumps(part)
    content = path.read_bytes()
    for other in (several(44), Arrays(several().inputs), numbered(43)):
        write(path, other, 8)
        for pickled in pickles:
            with pytest.raises(FileFormatError, match="another file now"):
                pickle.loads(pickled)
    path.unlink()
    for pickled in pickles:
        with pytest.raises(FileNotFoundError):
            pickle.loads(pickled)
    path.write_bytes(content)
    for pickled in pickles:
        pickle.loads(pickled)


def test_as_an_array_stands(path: Path) -> None:
    """A column may stand beside arrays in sources of all kinds."""
    arrays = several()
    with hs.HyperSequenceFile(path) as hsq:
        columns, plain = hsq.columns, dict(zip(("i0", "i1", "i2", "o0", "o1"), arrays.all, strict=True))
        assert {*columns} == {*plain}
        assert "i0" in columns
        assert "i9" not in columns
        trees: list[Callable[[Any], Any]] = [
            lambda c: ArrayDataSource([c["i0"], np.arange(43), c["o0"]]),
            lambda c: ArrayDataSource({"x": c["i1"], "y": c["i2"]}, indices=[3, -1, 8], repeats=3),
            lambda c: CompositeDataSource([ArrayDataSource([c["i0"]]), ArrayDataSource([c["o1"]], repeats=-1)]),
            lambda c: ChoiceDataSource([ArrayDataSource([c["i0"]]), ArrayDataSource([c["i0"]])], stratified=True),
            lambda c: MixDataSource([ArrayDataSource([c["o1"]]), ArrayDataSource([c["o1"]])], [2, 1]),
            lambda c: ArrayDataSource([c["o1"], c["i0"]]).map(lambda x, y: (x * 2, y)),
        ]
        for tree in trees:
            for order in pools.ORDERS:
                for size in (1, 6, 50):
                    assert_same_pass(tree(columns), tree(plain), size, order)
        assert_same_pass(trees[0](columns), trees[0](plain), 7, "seed", tail="pad")
        assert_same_pass(trees[0](columns), trees[0](plain), 7, "seed", shard=(1, 3), epoch=4)
        for batch, want in zip(
            trees[0](columns).batch_iterator(8, copy=False), trees[0](plain).batch_iterator(8), strict=True
        ):
            same(batch, want)
            assert not batch[0].flags.writeable


@pytest.mark.parametrize("way", ["mapped", "read"])
@pytest.mark.parametrize("by", ["sample", "batch"])
@pytest.mark.parametrize("order", pools.ORDERS)
def test_pools(by: str, way: str, order: str, pool: Any, path: Path) -> None:
    """Pools of threads and of processes give the batches of the serial iterator, by sample and by batch."""
    with hs.HyperSequenceFile(path, **WAYS[way]) as hsq:
        for options in ({}, {"as_dict": True, "include_indices": True}, {"repeats": 2}):
            ds = hsq.data_source(by=by, **options)
            assert_same_pass(pool.parallel_data_source(ds), ds, 5, order)


def doubled(*batch: Any) -> Any:
    """Return a batch of numbers, doubled; for a map in workers."""
    return tuple(x * 2 if x.dtype.kind in "iuf" else x for x in batch)


def test_pools_over_parts_and_maps(pool: Any, path: Path) -> None:
    """Parts, rebatched parts and maps over them are read by pools as serially."""
    with hs.HyperSequenceFile(path) as hsq:
        hsq.shuffle(1)
        train, rest = hsq.split(0.6)
        for ds in (train.data_source(), rest.rebatch(3).data_source(), train.data_source().map(doubled)):
            assert_same_pass(pool.parallel_data_source(ds), ds, 4, "seed")
            assert_same_pass(pool.parallel_data_source(ds), ds, 4, "in order")


def test_workers_of_another_start_method(tmp_path: Path) -> None:
    """A fresh interpreter reads a pickled source, and a file that this process has open."""
    path = write(tmp_path / "a.hsq", numbered(45), 4)
    with hs.HyperSequenceFile(path) as hsq:
        pickled = pickle.dumps((hsq.data_source("batch"), hsq.split(0.5)[1]))
        code = (
            "import pickle, sys; ds, part = pickle.loads(sys.stdin.buffer.read()); "
            "print([y.tolist() for _, y in ds.batch_iterator(6, 3)] + [y.tolist() for _, y in part])"
        )
        expected = [y.tolist() for _, y in hsq.data_source("batch").batch_iterator(6, 3)]
        expected += [y.tolist() for _, y in hsq.split(0.5)[1]]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], input=pickled, capture_output=True, check=True, env=environment)
    assert done.stdout.decode().strip() == str(expected)


def test_forked(path: Path) -> None:
    """A forked child reads the file that its parent opened, and closing it there does not close it here."""
    code = """if True:
        import os, sys
        from batchup import hypersequence as hs
        hsq = hs.HyperSequenceFile(sys.argv[1])
        pid = os.fork()
        if pid == 0:
            ok = len(list(hsq)) == 6
            hsq.close()
            os._exit(0 if ok else 1)
        assert os.waitpid(pid, 0)[1] == 0
        assert len(list(hsq)) == 6
    """
    child(code, path)


def test_use_mmap_needs_posix(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system cannot read at a place, use_mmap=False says so, and mapping goes on working."""
    monkeypatch.setattr("batchup.columns.readahead._AVAILABLE", False)
    monkeypatch.delattr(os, "preadv", raising=False)
    with pytest.raises(UnsupportedError, match="use_mmap=False needs"):
        hs.HyperSequenceFile(path, use_mmap=False)
    with hs.HyperSequenceFile(path) as hsq:
        holds(hsq, several(), 8)


def test_shown(path: Path) -> None:
    """Files, columns and findings show themselves on a line."""
    with hs.HyperSequenceFile(path) as hsq:
        assert repr(hsq) == f"<HyperSequenceFile {str(path)!r}: 43 rows in batches of 8>"
        assert repr(hsq.columns) == "<columns i0, i1, i2, o0, o1>"
        assert "shape (43, 2, 5)" in repr(hsq.columns["i1"])
        assert "\n" not in repr(hsq.data_source())
    assert "5 rows" in repr(hs.HyperSequenceFile(write(path, numbered(5), 4)))


RESIDENCE = """if True:
    import gc, sys, threading
    from pathlib import Path
    import numpy as np
    from batchup import hypersequence as hs
    from batchup.columns import storage

    storage.RESIDENT = int(sys.argv[2])
    record = 128 * 8200

    def rss():
        line = next(l for l in Path("/proc/self/status").read_text().splitlines() if l.startswith("VmRSS"))
        return int(line.split()[1]) * 1024

    way, most = sys.argv[3], 0
    with hs.HyperSequenceFile(sys.argv[1]) as hsq:
        def batches():
            if way == "loop":
                for i, (x, y) in enumerate(hsq):
                    yield int(x[:, ::512].sum()), y
            elif way == "columns":
                for start in range(0, len(hsq.columns["o0"]), 100):
                    yield hsq.columns["i0"][start : start + 100].sum(), None
            elif way == "rebatch":
                for x, y in hsq.rebatch(50):
                    yield x.sum(), y
            else:
                by, shuffle = way.split()
                source = hsq.data_source(by)
                order = None if shuffle == "None" else int(shuffle)
                for x, y in source.batch_iterator(64, order, copy=order is not None):
                    yield x[:, ::512].sum(), y
        begin = None
        total = 0
        for count, (number, _) in enumerate(batches()):
            total += int(number)
            if count == 5:
                gc.collect()
                begin = rss()
            elif count > 5:
                most = max(most, rss() - begin)
    print(most)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks at memory through /proc")
@pytest.mark.parametrize("way", ["loop", "columns", "rebatch", "sample 3", "sample None", "batch 3"])
def test_memory_stays_bounded(way: str, tmp_path: Path) -> None:
    """However much of a file is read, only so much of it counts as memory of the process at a time."""
    records, bound = 280, 24 * 2**20
    path = sparse(tmp_path / "large.hsq", records)
    most = int(child(RESIDENCE, path, bound, way))
    assert most < bound + 24 * 2**20
    if way == "loop":  # without a bound it would be much more: the test sees something
        assert int(child(RESIDENCE, path, 2**40, way)) > 2 * (bound + 24 * 2**20)


def sparse(path: Path, records: int) -> Path:
    """Write a file of records of a megabyte each, which are holes."""
    meta = meta_of(Arrays((np.empty((0, 8192), np.uint8),), (np.empty(0, np.int64),)), 128, records=records)
    end = ended(b"", json.dumps(meta).encode())
    with open(path, "wb") as file:
        file.truncate(records * 128 * 8200)
        file.seek(0, os.SEEK_END)
        file.write(end)
    return path


def test_far_more_than_memory(tmp_path: Path) -> None:
    """A file of 3 TB opens at once, and rows anywhere in it are read: places do not overflow."""
    records = 3_000_000
    path = sparse(tmp_path / "huge.hsq", records)
    last = records * 128 - 1
    for use_mmap in (True, False):
        with hs.HyperSequenceFile(path, use_mmap) as hsq:
            assert len(hsq) == records
            assert hsq[-1][0].sum() == 0
            assert hsq.columns["i0"][[0, last, last // 2, 5]].shape == (4, 8192)
            assert hsq.columns["o0"][last - 5 :].tolist() == [0] * 6
            x, _ = next(hsq.data_source(by="batch").batch_iterator(4, shuffle=3))
            assert x.shape == (4, 8192)
