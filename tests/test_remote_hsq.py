"""Batch files elsewhere do all that those here do; each batch is fetched once, ahead of need, and checked."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest

from batchup import errors, remote, sampling, work_pool
from batchup import hypersequence as hs
from batchup.hypersequence import remote_storage, shelf, units
from batchup.remote import problems

from . import remote as faulty
from .helpers import as_lists
from .hsq import Arrays, holds, numbered, same, values, write
from .kills import in_a_fork
from .pools import eventually
from .remote import Server

ROWS, SIZE = 333, 8
ARRAYS = Arrays((values("<f4", (ROWS, 3, 5)), values("|u1", (ROWS,))), (np.arange(ROWS),))
LAYOUTS = {
    "several fields": ARRAYS,
    "one field": Arrays((values("<i2", (ROWS, 6)),)),
    "few rows": ARRAYS.rows(slice(5)),
}


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BATCHUP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(problems, "WAIT", 0.001)
    monkeypatch.setattr(shelf, "IDLE", 0.05)


@pytest.fixture(params=[1, 3000])
def _unit(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "UNIT", request.param)  # a batch, and some


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(a=write(tmp_path / "a.hsq", ARRAYS, SIZE, meta={"what": "test"}).read_bytes()).running() as running:
        yield running


def fetched(server: Server) -> list[tuple[int, int]]:
    """Return which bytes were asked for, but for those at the end that tell what is in the file."""
    spans = [str(asked.range).removeprefix("bytes=").split("-") for asked in server.asked]
    return [(int(first), int(last) + 1) for first, last in spans if int(last) < ROWS * ARRAYS_BYTES and int(last)]


ARRAYS_BYTES = 60 + 1 + 8


@pytest.mark.usefixtures("_unit")
@pytest.mark.parametrize("budget", [1, 128 * 2**20])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("where", ["web", "memory"])
def test_as_here(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, where: str, budget: int
) -> None:
    """Batches, columns, sources, parts and other sizes are those of the same file on this machine."""
    monkeypatch.setattr(shelf, "BUDGET", budget)
    path = write(tmp_path / "here.hsq", LAYOUTS[layout], SIZE, names=None)
    server.files["here"] = path.read_bytes()
    fsspec.filesystem("memory").pipe_file("/here.hsq", path.read_bytes())
    address = server.url + "here" if where == "web" else "memory://here.hsq"
    with hs.HyperSequenceFile(path) as here, hs.HyperSequenceFile(address) as there:
        holds(there, LAYOUTS[layout], SIZE)
        assert there.verify() == []
        assert there.user_meta() == here.user_meta()
        same(there[len(there) - 1], here[len(here) - 1])
        for name in here.columns:
            column, expected = there.columns[name], here.columns[name]
            same(np.asarray(column), np.asarray(expected))
            rows = np.random.default_rng(1).integers(0, len(column), 50)
            same(column[rows], expected[rows])
            same(column[2:5], expected[2:5])
            same(column.view(slice(0, 3)), expected.view(slice(0, 3)))
        for by in ("sample", "batch"):
            for shuffle in (None, 7):
                ours, theirs = (list(hsq.data_source(by).batch_iterator(11, shuffle=shuffle)) for hsq in (there, here))
                assert as_lists(ours) == as_lists(theirs)
        same(list(there.rebatch(5)), list(here.rebatch(5)))
        for hsq in (here, there):
            hsq.shuffle(3)
        same(list(there), list(here))
        if len(here) > 2:
            same([list(part) for part in there.split(0.5)], [list(part) for part in here.split(0.5)])


@pytest.mark.parametrize("by", ["sample", "batch"])
def test_each_batch_is_fetched_once(server: Server, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    """All columns together fetch each byte once, though nothing is kept on the disk."""
    monkeypatch.setattr(units, "UNIT", 1)
    with hs.HyperSequenceFile(remote.RemoteFile(server.url + "a", cache=False)) as hsq:
        for epoch in range(2):
            assert len(list(hsq.data_source(by).batch_iterator(16, shuffle=1, epoch=epoch))) == 21
    times = Counter(byte for first, last in fetched(server) for byte in range(first, last))
    assert set(times.values()) == {1}
    assert len(times) == ROWS * ARRAYS_BYTES


def test_neighbours_are_fetched_together(server: Server) -> None:
    """In the order of the file few requests do."""
    with hs.HyperSequenceFile(remote.RemoteFile(server.url + "a", cache=False)) as hsq:
        list(hsq)
    assert len(fetched(server)) <= 3


@pytest.mark.usefixtures("_unit")
@pytest.mark.parametrize("window", [1, 500, 2**24])
def test_rows_that_are_gathered_for_some_batches(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    """Batches of scattered rows are those of the file here, however many are gathered at once, and stay as they are."""
    monkeypatch.setattr(remote_storage, "WINDOW", window)
    monkeypatch.setattr(shelf, "BUDGET", 2000)
    order = sampling.BlockShuffleSampler(ROWS, 3 * SIZE, window=2)
    with hs.HyperSequenceFile(tmp_path / "a.hsq") as here, hs.HyperSequenceFile(server.url + "a") as there:
        expected = as_lists(list(here.data_source(sampler=order).batch_iterator(7, shuffle=5)))
        kept = list(there.data_source(sampler=order).batch_iterator(7, shuffle=5))
        assert as_lists(kept) == expected


def test_rows_in_more_than_one_unit(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples that are some rows each may begin in one unit and end in the next."""
    monkeypatch.setattr(units, "UNIT", 1)
    arrays = Arrays((np.arange(ROWS * 3, dtype="<i4").reshape(ROWS, 3),))
    server.files["rows"] = write(tmp_path / "rows.hsq", arrays, SIZE, names=None).read_bytes()
    firsts = np.random.default_rng(2).permutation(ROWS - 5)
    with hs.HyperSequenceFile(server.url + "rows") as there:
        grouped = there.columns["i0"].grouped(firsts, 5)
        assert grouped is not None
        same(grouped[:], np.stack([arrays.inputs[0][first : first + 5] for first in firsts]))


def test_ahead_of_need(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one batch is looked at, the next ones come."""
    monkeypatch.setattr(units, "UNIT", 1)
    with hs.HyperSequenceFile(remote.RemoteFile(server.url + "a", cache=False)) as hsq:
        batches = hsq.data_source("batch").batch_iterator(SIZE, shuffle=1)
        next(batches)
        assert eventually(lambda: sum(last - first for first, last in fetched(server)) >= 8 * SIZE * ARRAYS_BYTES)


def test_memory_is_bounded(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much is expected, no more is in memory than allowed, and half of that ahead of need."""
    monkeypatch.setattr(units, "UNIT", 1)
    monkeypatch.setattr(shelf, "BUDGET", 10 * SIZE * ARRAYS_BYTES)
    with hs.HyperSequenceFile(remote.RemoteFile(server.url + "a", cache=False)) as hsq:
        books = hsq._storage._shelf  # type: ignore[attr-defined]
        books.expect(range(40))
        assert eventually(lambda: len(books._fresh) == 5)
        for _ in hsq.data_source("sample").batch_iterator(16, shuffle=1):
            with books._lock:
                assert len(books._fresh) + len(books._read) + len(books._coming) <= 10


def test_the_second_time_from_the_disk(server: Server) -> None:
    """What was fetched once comes from the disk of this machine afterwards."""
    for _ in range(2):
        with hs.HyperSequenceFile(server.url + "a") as hsq:
            list(hsq.data_source("batch").batch_iterator(16, shuffle=1))
    times = Counter(byte for first, last in fetched(server) for byte in range(first, last))
    assert set(times.values()) == {1}


def test_damage_on_the_way(server: Server) -> None:
    """A batch that is not what was written is fetched once more; if it comes so again, that is an error, each time."""
    with hs.HyperSequenceFile(server.url + "a") as hsq:
        server.faults = [faulty.damaged]
        same(hsq[0], (tuple(x[:SIZE] for x in ARRAYS.inputs), ARRAYS.outputs[0][:SIZE]))
    remote.clear_cache()
    with hs.HyperSequenceFile(server.url + "a") as hsq:
        for _ in range(2):
            server.faults = [faulty.damaged, faulty.damaged]
            with pytest.raises(errors.ChecksumError, match=r"batch 0: its CRC-32 is .* it came so twice"):
                hsq[0]
        same(hsq[0], (tuple(x[:SIZE] for x in ARRAYS.inputs), ARRAYS.outputs[0][:SIZE]))


def test_verify_finds_what_is_damaged_there(server: Server) -> None:
    """`verify` tells which batches are not what was written, and does not look at what is kept here."""
    data = bytearray(server.files["a"])
    data[SIZE * ARRAYS_BYTES + 5] ^= 1
    with hs.HyperSequenceFile(server.url + "a") as hsq:
        list(hsq)
        assert hsq.verify() == []
    server.files["a"] = bytes(data)
    with hs.HyperSequenceFile(server.url + "a") as hsq:
        assert [finding.batch for finding in hsq.verify()] == [1]
    with pytest.raises(errors.ChecksumError, match="1 batches are not what was written"):
        hs.HyperSequenceFile(server.url + "a", verify=True)


def test_a_change_is_seen(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the file is replaced, what has not been read of it is an error."""
    monkeypatch.setattr(units, "UNIT", 1)
    hsq = hs.HyperSequenceFile(remote.RemoteFile(server.url + "a", cache=False))
    with hsq:
        hsq[0]
        pickled = pickle.dumps(hsq)
        server.files["a"] = write(tmp_path / "b.hsq", numbered(ROWS), SIZE).read_bytes()
        with pytest.raises(errors.FileFormatError, match="has changed since it was opened"):
            for _ in hsq.data_source().batch_iterator(16, shuffle=1):
                pass
        with pytest.raises(errors.FileFormatError, match="has changed since it was opened"):
            pickle.loads(pickled)


def test_pickled(server: Server) -> None:
    """A file, a part of it and a column are pickled as the address, in their order."""
    with hs.HyperSequenceFile(server.url + "a") as hsq:
        hsq.shuffle(5)
        part = hsq.split(0.5)[1]
        for thing in (hsq, part, hsq.rebatch(5)):
            again = pickle.loads(pickle.dumps(thing))
            same(list(again), list(thing))
            getattr(again, "_parent", again).close()
        column = pickle.loads(pickle.dumps(hsq.columns["i0"]))
        same(column[:50], hsq.columns["i0"][:50])
        column._storage.close()


def test_workers_open_it_themselves(server: Server) -> None:
    """Batches that other processes make are the same."""
    with hs.HyperSequenceFile(server.url + "a") as hsq, work_pool.WorkerProcessPool(2) as pool:
        source = hsq.data_source("batch")
        parallel = pool.parallel_data_source(source)
        for epoch in range(2):
            ours = list(parallel.batch_iterator(16, shuffle=1, epoch=epoch))
            assert as_lists(ours) == as_lists(list(source.batch_iterator(16, shuffle=1, epoch=epoch)))


@pytest.mark.parametrize("cache", [True, False])
def test_forked(server: Server, cache: bool) -> None:
    """A forked process reads by connections and threads of its own, while this one goes on."""
    with hs.HyperSequenceFile(remote.RemoteFile(server.url + "a", cache=cache)) as hsq:
        batches = hsq.data_source("batch").batch_iterator(16, shuffle=1)
        got = [next(batches) for _ in range(3)]

        def child() -> None:
            assert len(list(hsq.data_source("batch").batch_iterator(16, shuffle=1))) == 21
            holds(hsq, ARRAYS, SIZE)
            hsq.close()

        for _ in range(5):
            assert in_a_fork(child) == 0
            got.append(next(batches))
        got += batches
        assert as_lists(got) == as_lists(list(hsq.data_source("batch").batch_iterator(16, shuffle=1)))


def test_forked_while_something_comes(server: Server) -> None:
    """A forked process does not wait for what only threads of the other one would get."""
    with hs.HyperSequenceFile(remote.RemoteFile(server.url + "a", cache=False, timeout=60)) as hsq:
        server.faults = [faulty.stall(10)]
        hsq._storage._shelf.expect([0])  # type: ignore[attr-defined]
        assert eventually(lambda: not server.faults)

        def child() -> None:
            signal.alarm(30)
            holds(hsq, ARRAYS, SIZE)
            hsq.close()

        assert in_a_fork(child) == 0


def fetching() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "batchup fetches batches"]


def test_closed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is closed has no threads; what was handed out stays, and reading is an error."""
    work = shelf.Shelf._work
    monkeypatch.setattr(shelf.Shelf, "_work", lambda books: (work(books), time.sleep(0.3)))  # they take their time
    hsq = hs.HyperSequenceFile(remote.RemoteFile(server.url + "a", cache=False))
    batch = hsq[3]
    batches = hsq.data_source("batch").batch_iterator(SIZE, shuffle=1)
    next(batches)
    hsq.close()
    hsq.close()
    assert fetching() == []
    same(batch, (tuple(x[24:32] for x in ARRAYS.inputs), ARRAYS.outputs[0][24:32]))
    with pytest.raises(errors.InvalidValueError, match="is closed"):
        hsq[0]
    with pytest.raises(errors.InvalidValueError, match="is closed"):
        list(batches)
    with pytest.raises(errors.InvalidValueError, match="is closed"):
        pickle.dumps(hsq)


def test_threads_end(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads end when there is nothing to do, and when the file is closed while the server stalls."""
    monkeypatch.setattr(units, "UNIT", 1)
    hsq = hs.HyperSequenceFile(remote.RemoteFile(server.url + "a", cache=False, timeout=60))
    list(hsq.data_source("batch").batch_iterator(16, shuffle=1))
    assert eventually(lambda: not fetching())
    hsq.close()
    hsq = hs.HyperSequenceFile(remote.RemoteFile(server.url + "a", cache=False, timeout=60))
    server.faults = [faulty.stall(10)] * 3
    hsq._storage._shelf.expect(range(0, 40, 3))  # type: ignore[attr-defined]
    assert eventually(lambda: len(server.faults) == 1)  # there are two threads
    time.sleep(0.1)  # in which some have got the beginning of an answer
    hsq.close()
    assert fetching() == []


def test_as_many_threads_as_help(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where answers take their time there are more threads, which leave when it is work that does."""
    monkeypatch.setattr(units, "UNIT", 1)
    with hs.HyperSequenceFile(remote.RemoteFile(server.url + "a", cache=False)) as hsq:
        books = hsq._storage._shelf  # type: ignore[attr-defined]
        server.faults = [faulty.late(0.05)] * 100
        books.expect(range(0, 40, 2))
        assert eventually(lambda: len(fetching()) == shelf.THREADS)
        monkeypatch.setattr(shelf, "WAITING", 1.0)
        monkeypatch.setattr(shelf, "IDLE", 10.0)
        books.expect(range(1, 40, 2))
        assert eventually(lambda: 0 < len(fetching()) <= shelf.FEW_THREADS)
        assert eventually(lambda: len(books._fresh) == 40)
        holds(hsq, ARRAYS, SIZE)


def test_an_error_ahead_is_told_when_it_matters(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be fetched ahead is asked for again when it is wanted; then it is an error, or it is there."""
    monkeypatch.setattr(units, "UNIT", 1)
    with hs.HyperSequenceFile(remote.RemoteFile(server.url + "a", cache=False, retries=0)) as hsq:
        server.faults = [faulty.say(404)] * 12
        hsq._storage._shelf.expect(range(0, 24, 2))  # type: ignore[attr-defined]
        assert eventually(lambda: not server.faults)
        holds(hsq, ARRAYS, SIZE)


def test_what_is_no_hsq_file(server: Server) -> None:
    """A file that is something else is an error that names the address, and nothing is left open."""
    server.files["b"] = b"x" * 5000
    with pytest.raises(errors.FileFormatError, match=r"127.0.0.1:\d+/b is no .hsq file"):
        hs.HyperSequenceFile(server.url + "b")


def test_shown(server: Server) -> None:
    """Its `repr` has the address, and nobody's password."""
    with hs.HyperSequenceFile(f"http://me:secret@127.0.0.1:{server.port}/a") as hsq:
        assert repr(hsq) == f"<HyperSequenceFile 'http://127.0.0.1:{server.port}/a': 333 rows in batches of 8>"
        assert "secret" not in repr(hsq.columns["i0"])


def test_here_with_an_address(tmp_path: Path) -> None:
    """A file of this machine may be named by file://."""
    path = write(tmp_path / "a b.hsq", ARRAYS, SIZE)
    with hs.HyperSequenceFile(path.as_uri()) as hsq:
        assert repr(str(path)) in repr(hsq)
        holds(hsq, ARRAYS, SIZE)


def test_no_time_in_reading_here_goes_to_it() -> None:
    """Who reads files of this machine loads nothing that reads others."""
    import subprocess
    import sys

    code = (
        "import sys; from batchup import HyperSequenceFile; "
        "print({'urllib3', 'fsspec', 'http.client', 'requests'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ})
    assert done.stdout.strip() == "set()"
