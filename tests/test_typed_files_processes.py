"""Typed files in many threads and processes: each gets what is there, and nothing of what others write is lost."""

from __future__ import annotations

import multiprocessing
import pickle
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchup import WorkerProcessPool, WorkerThreadPool, loader
from batchup import typed_files as h5m
from batchup.errors import FileBusyError, InvalidValueError

from .helpers import as_lists
from .hsq import child
from .pools import end_of_patience, importable_tests, leaving_nothing
from .typed import SAMPLES, Sample, as_plain, beside, made, sample, stored

__all__ = ["end_of_patience"]  # which makes a test that hangs an error


class Plain(h5m.TypedFile):
    """Two features."""

    x = h5m.Array()
    y = h5m.Array()


Made = h5m.typedfile("Made", {"x": h5m.Array()})


def value(thread: int, number: int) -> list[int]:
    """Return the array of a source, which tells whose it is."""
    return [1000 * thread + number] * (number % 3 + 1)


def in_threads(*jobs: Callable[[], Any]) -> None:
    """Run jobs in threads; raise the first error of theirs."""
    errors: list[BaseException] = []
    start = threading.Barrier(len(jobs))

    def run(job: Callable[[], Any]) -> None:
        start.wait()
        try:
            job()
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=run, args=(job,), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


# threads


@pytest.mark.parametrize("keep_open", [False, True], ids=["opened for each", "kept open"])
def test_threads_that_add(keep_open: bool, tmp_path: Path) -> None:
    """What threads add to one file at the same time is all there, each array under its id."""
    file = Plain(tmp_path / "a.h5", "w", keep_open)

    def adds(thread: int) -> None:
        for number in range(25):
            name = f"{thread}/{number}"
            if number % 2:
                file.add(name, {"x": value(thread, number)})
            else:
                file.x.add(name, value(thread, number))
                file.y.add(name, [number])
            assert file.x.get(name).tolist() == value(thread, number)

    in_threads(*[lambda thread=thread: adds(thread) for thread in range(4)])
    file.close()
    expected = {f"{t}/{n}": value(t, n) for t in range(4) for n in range(25)}
    assert {name: data["x"] for name, data in stored(tmp_path / "a.h5").items()} == expected
    again = Plain(tmp_path / "a.h5")
    assert {name: file.x.get(name).tolist() for name in file.index} == expected
    assert {name: again.x.get(name).tolist() for name in again.index} == expected


@pytest.mark.parametrize("keep_open", [False, True], ids=["opened for each", "kept open"])
def test_threads_that_read_while_one_writes(keep_open: bool, tmp_path: Path) -> None:
    """Reading goes on while another thread adds and overwrites, in all ways to read; none waits for ever."""
    made(tmp_path / "a.h5")
    file = Sample(tmp_path / "a.h5", "r+", keep_open)
    done = threading.Event()

    def reads(way: Callable[[], Any], expected: Any) -> None:
        count = 0
        while not done.is_set() or count < 5:
            assert as_plain(way()) == expected
            count += 1

    def writes() -> None:
        try:
            for number in range(20):
                file.add(f"new {number}", sample(number))
                file.x.set(f"new {number}", sample(number)["x"] + 1)
                file.pair.iset(f"new {number}", 0, [5, 5])
                file.attrs["number"] = number
        finally:
            done.set()

    one = as_plain(sample(0))
    in_threads(
        writes,
        lambda: reads(lambda: file.get("one"), one),
        lambda: reads(lambda: file.x[file.x.refs[0]], one["x"]),
        lambda: reads(lambda: file.x[:1], one["x"]),
        lambda: reads(lambda: file.sources("x")[:3], [*SAMPLES]),
        lambda: reads(lambda: next(file.data_source(["pair"]).batch_iterator(1))[0], [one["pair"]]),
    )
    for number in range(20):
        assert file.x.get(f"new {number}").tolist() == [x + 1 for x in as_plain(sample(number))["x"]]
    file.close()


@pytest.mark.parametrize("keep_open", [False, True], ids=["opened for each", "kept open"])
def test_threads_that_write_to_rows(keep_open: bool, tmp_path: Path) -> None:
    """Threads that write to rows of their own do not lose one another's."""
    file = Plain(tmp_path / "a.h5", "w", keep_open).add("log", {"x": np.zeros(400, np.int64)})

    def writes(thread: int) -> None:
        for number in range(thread, 200, 4):
            file.x.iset("log", number, number)
            file.x[200 + number] = number

    in_threads(*[lambda thread=thread: writes(thread) for thread in range(4)])
    file.close()
    assert Plain(tmp_path / "a.h5").x[:].tolist() == [*range(200)] * 2


def test_a_file_that_is_closed_meanwhile(tmp_path: Path) -> None:
    """Closing a file in one thread does not take it away from another one."""
    path = made(tmp_path / "a.h5")
    file = Sample(path, keep_open=True)
    done = threading.Event()

    def closes() -> None:
        try:
            for _ in range(200):
                file.close()
        finally:
            done.set()

    def reads() -> None:
        while not done.is_set():
            assert as_plain(file.get("two")) == as_plain(sample(1))

    in_threads(closes, reads, reads)
    file.close()


# what is sent to other processes


@pytest.mark.parametrize("mode", ["r", "r+"])
@pytest.mark.parametrize("keep_open", [False, True], ids=["opened for each", "kept open"])
def test_pickled(mode: str, keep_open: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file, a feature and a data source can be pickled, before and after they are used, and used elsewhere."""
    made(tmp_path / "a.h5")
    monkeypatch.chdir(tmp_path)
    file = Sample("a.h5", mode, keep_open)
    for _ in range(2):
        copies = pickle.loads(pickle.dumps((file, file.x, file.deep, file.data_source(["x", "pair"]))))
        monkeypatch.chdir("/")
        assert as_plain(copies[0].get("two")) == as_plain(sample(1))
        assert (copies[0].mode, copies[0].keep_open, list(copies[0].index)) == (mode, keep_open, [*SAMPLES])
        assert copies[1].get("two").tolist() == [10, 11]
        assert as_plain(copies[2]["two"]) == as_plain(sample(1)["deep"])
        assert len(list(copies[3].batch_iterator(2))) == 2
        monkeypatch.chdir(tmp_path)
        assert file.x.get("three").tolist() == [20, 21, 22]
        for copy in copies[:1]:
            copy.close()
    file.close()


def test_classes_that_are_made_by_a_call(tmp_path: Path) -> None:
    """A file of a class made by `typedfile` can be pickled if the class is found under its name, as a namedtuple."""
    file = Made(tmp_path / "a.h5", "w").add("a", {"x": [1]})
    assert pickle.loads(pickle.dumps(file)).x.get("a").tolist() == [1]


def test_what_cannot_be_pickled() -> None:
    """A file in memory says that other processes cannot have it."""
    file = h5m.in_mem(Plain).add("a", {"x": [1]})
    with pytest.raises(InvalidValueError, match="memory of this process"):
        pickle.dumps(file)
    assert file.x.get("a").tolist() == [1]
    file.close()


def test_written_before_it_is_sent(tmp_path: Path) -> None:
    """What has been added is in the file when another process gets it."""
    code = """if True:
        import pickle, sys
        file = pickle.loads(bytes.fromhex(sys.argv[1]))
        print(file.x.get("new").tolist())
    """
    for keep_open in (False, True):
        file = Plain(tmp_path / f"{keep_open}.h5", "w", keep_open).add("new", {"x": [4, 5]})
        sent = pickle.dumps(file).hex()
        assert child("import tests.test_typed_files_processes\n" + code, sent) == "[4, 5]\n"
        file.add("newer", {"x": [6]})
        file.close()


def test_forked(tmp_path: Path) -> None:
    """A forked process opens the file for itself, whatever its parent does with it; both go on."""
    code = """if True:
        import os, sys
        from tests.typed import Sample, as_plain, made, sample, stored
        from tests.kills import in_a_fork
        kept, latest = {"keep_open": True}, {"libver": "latest"}
        for number, (mode, options) in enumerate([("r", {}), ("r", kept), ("r+", {}), ("r+", kept), ("r+", latest)]):
            path = made(f"{sys.argv[1]}/{number}.h5", **(latest if options is latest else {}))
            file = Sample(path, mode, **options)
            batches = file.data_source(["x", "pair"]).batch_iterator(1)
            file.get("one")
            next(batches)
            if mode == "r+":
                file.add("parent", sample(5))

            def in_child():
                assert as_plain(file.get("two")) == as_plain(sample(1))
                assert file.x.refs[0] and file.x[1:3].tolist() == [10, 11]
                assert len(list(file.data_source(["x"]).batch_iterator(1))) == 3 + (mode == "r+")
                if mode == "r+":
                    file.add("child", sample(6))
                file.close()

            assert in_a_fork(in_child) == 0, (mode, options)
            assert as_plain(file.get("two")) == as_plain(sample(1))
            assert as_plain(next(batches)[0][0]) == [10, 11]
            if mode == "r+":
                assert as_plain(file.get("child")) == as_plain(sample(6))
                file.add("last", sample(7))
                file.close()
                assert list(stored(path)) == ["one", "two", "three", "parent", "child", "last"]
    """
    child(code, tmp_path)


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
@pytest.mark.parametrize("mode", ["r", "r+"])
def test_other_processes(method: str, mode: str, tmp_path: Path) -> None:
    """A process that is started with a file as an argument reads it, and writes to it in its turn."""
    file = Sample(made(tmp_path / "a.h5"), mode, keep_open=mode == "r")
    assert file.x.get("one").tolist() == [0]
    with importable_tests():
        process = multiprocessing.get_context(method).Process(target=reads_and_writes, args=(file, file.deep))
        process.start()
        process.join()
    assert process.exitcode == 0
    process.close()
    assert list(file.index) == [*SAMPLES, *(["theirs"] if mode == "r+" else [])]
    file.close()


def reads_and_writes(file: Any, group: Any) -> None:
    """Use a file in another process."""
    assert as_plain(file.get("two")) == as_plain(sample(1))
    assert as_plain(group["three"]) == as_plain(sample(2)["deep"])
    if file.mode == "r+":
        file.add("theirs", sample(8))
    file.close()


def pool_of(kind: str) -> Any:
    """Return a pool of workers."""
    return WorkerThreadPool(3) if kind == "threads" else WorkerProcessPool(2, start_method=kind)


FEATURES = [["x", "pair"], ["text"], ["shaped"], ["deep/a", "deep/more/b"]]


@pytest.mark.parametrize("mode", ["r", "r+"])
@pytest.mark.parametrize("kind", ["threads", "forkserver", "spawn"])
def test_pools(kind: str, mode: str, tmp_path: Path) -> None:
    """Batches of a pool are those of this thread, in order or not, by id and by row, also of what is added later."""
    made(tmp_path / "a.h5")
    with Sample(tmp_path / "a.h5", "r+") as file:
        for number in range(3, 17):
            file.add(f"more {number}", sample(number))
    file = Sample(tmp_path / "a.h5", mode)
    with importable_tests(), leaving_nothing(), pool_of(kind) as pool:
        compare(file, pool)
        if mode == "r+":
            file.add("late", sample(20))
            compare(file, pool)
    file.close()


def compare(file: Any, pool: Any) -> None:
    """Check that a pool gives the batches that this thread gives."""
    for paths in FEATURES:
        for by in ("id", "row") if paths != ["shaped"] and len(paths) == 1 else ("id",):
            ds = file.data_source(paths, by)
            for shuffle in (None, 5):
                expected = [as_nested(batch) for batch in ds.batch_iterator(4, shuffle=shuffle)]
                got = [as_nested(batch) for batch in loader(ds, 4, shuffle=shuffle, pool=pool)]
                assert got == expected, (paths, by, shuffle)
                assert sum(len(batch[0]) for batch in got) == ds.num_samples()


def as_nested(batch: Any) -> Any:
    """Return a batch as lists of lists of samples."""
    return [[as_lists(row) for row in column] for column in batch]


# others write


@pytest.mark.parametrize("safe", [False, True], ids=["plain", "safe"])
def test_two_processes_write(safe: bool, tmp_path: Path) -> None:
    """Processes that write in turn, and wait while the other one is at it, lose nothing of one another's."""
    path = tmp_path / "a.h5"
    Plain(path, "w").close()
    context = multiprocessing.get_context("forkserver")
    with importable_tests():
        processes = [context.Process(target=adds_patiently, args=(path, number, safe)) for number in range(2)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    for process in processes:
        process.close()
    assert {name: data["x"] for name, data in stored(path).items()} == {
        f"{thread}/{number}": value(thread, number) for thread in range(2) for number in range(20)
    }
    assert beside(path) == []


def adds_patiently(path: Path, thread: int, safe: bool) -> None:
    """Add to a file that others write to, too."""
    file: Any = None
    for number in range(20):
        while True:
            try:
                file = file or Plain(path, "r+")
                file.add(f"{thread}/{number}", {"x": value(thread, number)}, safe=safe)
                break
            except FileBusyError:
                threading.Event().wait(0.001)
        assert file.mode == "r+"


def test_a_reader_while_a_writer_has_the_file(tmp_path: Path) -> None:
    """A reader sees what another process has added between two reads; while that one writes, it is told so."""
    path = made(tmp_path / "a.h5")
    reader = Sample(path)
    assert list(reader.index) == [*SAMPLES]
    code = """if True:
        import sys
        from tests.typed import Sample, sample
        file = Sample(sys.argv[1], "r+", keep_open=sys.argv[2] == "keep")
        file.add(sys.argv[2], sample(4))
        print("added", flush=True)
        sys.stdin.read()
    """
    for name in ("once", "twice"):
        child(code, path, name)
        assert reader.x.get(name).tolist() == sample(4)["x"].tolist()
        assert reader.index[name] == len(reader.index) - 1
    import subprocess

    from .hsq import ROOT

    command = [sys.executable, "-c", code, str(path), "keep"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(ROOT)}
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "added\n"
        with pytest.raises(FileBusyError, match="open elsewhere"):
            reader.get("one")
        with pytest.raises(FileBusyError, match="open elsewhere"):
            Sample(path)
        writer.communicate("")
    assert writer.returncode == 0
    assert as_plain(reader.get("keep")) == as_plain(sample(4))
    reader.close()


def test_a_log_is_read_while_it_is_written(tmp_path: Path) -> None:
    """With swmr=True, a reader in another process sees what is written into a preallocated log, as it comes."""
    path = tmp_path / "a.h5"
    with h5m.TypedFile(path, "w", libver="latest") as file:
        file.add("train", {"loss": np.full(50, -1.0), "grid": np.zeros((50, 3), np.int32)})
    log = h5m.TypedFile(path, "r+", keep_open=True, libver="latest").start_swmr()
    code = """if True:
        import sys
        from batchup import typed_files as h5m
        with h5m.TypedFile(sys.argv[1], swmr=True, keep_open=True) as file:
            source = file.data_source(["loss"], by="row")
            print("ready", flush=True)
            for line in sys.stdin:
                step = int(line)
                print(
                    file.loss.get("train")[step], file.loss[step], int(file.grid.get("train")[step].sum()),
                    file.loss[file.loss.refs[0]][step], source.samples_by_indices([step])[0][0], flush=True,
                )
    """
    import subprocess

    from .hsq import ROOT

    command = [sys.executable, "-W", "error", "-c", code, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(ROOT)}
    ) as reader:
        assert reader.stdout is not None
        assert reader.stdin is not None
        assert reader.stdout.readline() == "ready\n"
        for step in range(50):
            if step % 2:
                log.loss.iset("train", step, step / 2)
                log.grid.iset("train", slice(step, step + 1), [[step] * 3])
            else:
                log.loss[step] = step / 2
                log.grid[step] = step
            reader.stdin.write(f"{step}\n")
            reader.stdin.flush()
            loss = str(np.float64(step / 2))
            assert reader.stdout.readline().split() == [loss, loss, str(3 * step), loss, loss]
        reader.communicate()
    assert reader.returncode == 0
    log.close()
    assert h5m.TypedFile(path).loss[:].tolist() == [step / 2 for step in range(50)]


def test_what_swmr_does_not_allow(tmp_path: Path) -> None:
    """While others read, new ids are refused, and the log goes on."""
    path = tmp_path / "a.h5"
    with h5m.TypedFile(path, "w", libver="latest") as file:
        file.add("train", {"loss": np.zeros(5)})
    log = h5m.TypedFile(path, "r+", keep_open=True, libver="latest").start_swmr()
    for use in (
        lambda: log.add("more", {"loss": np.zeros(5)}),
        lambda: log.add("train", {"other": np.zeros(5)}),
        lambda: log.add("more", {"loss": np.zeros(5)}, safe=True),
        lambda: log.attrs.__setitem__("a", 1),
    ):
        with pytest.raises((ValueError, OSError, NotImplementedError), match=r"(?i)swmr"):
            use()
    log.loss.iset("train", 2, 7)
    log.close()
    assert beside(path) == []
    assert list(stored(path)) == ["train"]
    assert h5m.TypedFile(path).loss[:].tolist() == [0, 0, 7, 0, 0]
