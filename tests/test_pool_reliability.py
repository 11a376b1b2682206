"""What goes wrong in worker pools goes right: deaths, stuck tasks, greedy consumers, odd results, too little room."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import itertools
import multiprocessing
import os
import pickle
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchup.data_source import AbstractDataSource, ArrayDataSource, CompositeDataSource
from batchup.errors import BatchUpError, WorkerError, WorkerTimeoutError
from batchup.work_pool import WorkerProcessPool, WorkerThreadPool, arena
from batchup.work_pool import shared as shared_memory
from batchup.work_pool.tickets import Ticket

from .helpers import leaves
from .soak import HOUSE, MIB, alive, mappings, open_files, private_bytes, wait_for

pytestmark = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="looks at processes through /proc")

N = 120
SECONDS = 30  # far more than is needed: an end for what hangs
every_method = pytest.mark.parametrize("method", ["forkserver", "spawn"])


@pytest.fixture(autouse=True)
def _processes_find_this_file(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the workers, which take over the path, import what runs there."""
    monkeypatch.syspath_prepend(request.config.rootpath)


@pytest.fixture(autouse=True)
def _nothing_hangs() -> Iterator[None]:
    """Fail what hangs."""

    def ring(*_: Any) -> None:
        raise AssertionError("the test hangs")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 3 * SECONDS, SECONDS)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def processes(count: int = 2, **keywords: Any) -> WorkerProcessPool:
    return WorkerProcessPool(count, **keywords)


def threads(count: int = 2, **keywords: Any) -> WorkerThreadPool:
    return WorkerThreadPool(count, **keywords)


both_pools = pytest.mark.parametrize("make", [threads, processes])


def copies(batches: Any) -> list[list[np.ndarray[Any, Any]]]:
    """Return copies of the columns of batches."""
    return [[array.copy() for array in leaves(batch)] for batch in batches]


def assert_same(found: list[Any], expected: list[Any]) -> None:
    """Check that lists of batches have the same columns, bit for bit."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        for a, b in zip(leaves(one), leaves(other), strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


# Ways to die. Nobody dies in the process of the tests.


def die_by_signal(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(SECONDS)


WAYS: dict[str, tuple[Callable[..., Any], tuple[int, ...], str]] = {
    "killed": (die_by_signal, (signal.SIGKILL,), "SIGKILL"),
    "segfault": (ctypes.string_at, (0,), "SIGSEGV"),
    "os._exit": (os._exit, (3,), r"\b3\b"),
    "abort": (os.abort, (), "SIGABRT"),
}
every_way = pytest.mark.parametrize("how", WAYS)


def deaths(log: Path) -> int:
    """Return how many died, according to their file."""
    return log.stat().st_size if log.exists() else 0


def fall(how: str, log: Path, times: float) -> None:
    """Die, unless so many have died here before."""
    with log.open("ab", buffering=0) as file:
        if os.fstat(file.fileno()).st_size >= times:
            return
        file.write(b"x")
    function, arguments, _ = WAYS[how]
    function(*arguments)


class Slow:
    """Halve the second column, so slowly that it is work for a worker."""

    def __init__(self, seconds: float = 0.002) -> None:
        self.seconds = seconds
        self.home = os.getpid()

    def __call__(self, x: Any, y: Any) -> Any:
        if os.getpid() != self.home:
            time.sleep(self.seconds)
            self.work(x)
        return x, y / 2

    def work(self, x: Any) -> None:
        """Do more, in a worker."""


class Deadly(Slow):
    """Die at the sample `where`, a number of times; each place has a file that counts."""

    def __init__(self, folder: Path, how: str, *where: int, times: float = 1) -> None:
        super().__init__()
        self.folder, self.how, self.where, self.times = folder, how, where, times

    def work(self, x: Any) -> None:
        for where in self.where:
            if where in x:
                fall(self.how, self.folder / f"deaths{where}", self.times)


def numbers(fn: Callable[..., Any] | None = None, **keywords: Any) -> AbstractDataSource:
    """Return a source that counts, under a function that is worth a worker."""
    columns: list[Any] = [np.arange(N), np.arange(N * 3.0).reshape(N, 3)]
    return ArrayDataSource(columns, **keywords).map(fn or Slow())


def epoch(ds: Any, batch_size: int = 4, **keywords: Any) -> list[Any]:
    return copies(ds.batch_iterator(batch_size, **keywords))


# Deaths.


@pytest.mark.parametrize(("how", "method"), [*((how, "forkserver") for how in WAYS), ("killed", "spawn")])
def test_death_in_a_task(how: str, method: str, tmp_path: Path) -> None:
    """A worker that dies in the middle of a task is replaced, and the epoch is the serial one."""
    ds = numbers(Deadly(tmp_path, how, 55))
    with processes(start_method=method) as pool:
        before = pool.pids
        batches = epoch(pool.parallel_data_source(ds), shuffle=3)
        assert deaths(tmp_path / "deaths55") == 1
        assert_same(batches, epoch(ds, shuffle=3))
        assert sorted(np.concatenate([x for x, _ in batches])) == [*range(N)]
        assert len(pool.pids) == 2
        assert len({*pool.pids} & {*before}) == 1


@every_method
def test_death_between_tasks(method: str) -> None:
    """Workers that are killed at any time of an epoch are replaced, and the epoch is the serial one."""
    ds = numbers(Slow(0.005))
    seen = set()
    with processes(start_method=method) as pool:
        found = []
        for number, batch in enumerate(pool.parallel_data_source(ds, 4).batch_iterator(4, shuffle=3)):
            found.append([array.copy() for array in leaves(batch)])
            if number in (0, 7, 8, 20):
                victim = pool.pids[number % 2]
                os.kill(victim, signal.SIGKILL)
                seen.add(victim)
        assert_same(found, epoch(ds, shuffle=3))
        assert len(seen) >= 3
        assert wait_for(lambda: not seen & {*pool.pids}, SECONDS)
        assert len(pool.pids) == 2


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_death_while_idle(number: int) -> None:
    """Workers that are killed when there is nothing to do are replaced, even where no death is forgiven."""
    ds = numbers()
    with processes(max_restarts=0) as pool:
        parallel = pool.parallel_data_source(ds)
        for times in range(3):
            before = pool.pids
            for pid in before:
                os.kill(pid, number)
            if times:
                assert wait_for(lambda: not any(map(alive, before)), SECONDS)  # noqa: B023
            assert_same(epoch(parallel), epoch(ds))
            assert not {*before} & {*pool.pids}
            assert len(pool.pids) == 2


def test_death_of_all_while_the_buffer_is_full() -> None:
    """Batches that were made before the workers died are handed out; the others are made again."""
    ds = numbers()
    with processes() as pool:
        batches = pool.parallel_data_source(ds, 10).batch_iterator(4, shuffle=3)
        found = copies([next(batches)])
        time.sleep(0.3)
        for pid in pool.pids:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
        assert_same(found + copies(batches), epoch(ds, shuffle=3))


@pytest.mark.parametrize("max_restarts", [0, 1, 3])
@every_way
def test_a_deadly_batch(how: str, max_restarts: int, tmp_path: Path) -> None:
    """A batch that always kills is an error with its number, its samples and the signal; the pool works on."""
    good, bad = numbers(), numbers(Deadly(tmp_path, how, 22, times=np.inf))
    with processes(max_restarts=max_restarts) as pool:
        other = pool.parallel_data_source(good).batch_iterator(4)
        found = copies([next(other)])
        batches = pool.parallel_data_source(bad).batch_iterator(4)
        with pytest.raises(WorkerError) as caught:
            copies(batches)
        text = str(caught.value)
        assert deaths(tmp_path / "deaths22") == max_restarts + 1
        assert re.search(r"\bbatch 5\b", text), text
        assert all(re.search(rf"\b{index}\b", text) for index in (20, 21, 22, 23)), text
        assert re.search(WAYS[how][2], text), text
        assert list(batches) == []
        assert_same(found + copies(other), epoch(good))
        assert_same(epoch(pool.parallel_data_source(good)), epoch(good))
        assert isinstance(caught.value, RuntimeError)


def test_a_deadly_batch_hands_out_those_before_it(tmp_path: Path) -> None:
    """The batches before the one that kills are handed out first; indices are those of the data."""
    ds = numbers(Deadly(tmp_path, "killed", 22, times=np.inf), indices=np.arange(N)[::-1].copy())
    with processes(max_restarts=1) as pool:
        batches = pool.parallel_data_source(ds).batch_iterator(4)
        found = copies(next(batches) for _ in range(24))
        with pytest.raises(WorkerError, match=r"\bbatch 24\b.*\b23\b.*\b22\b.*\b21\b.*\b20\b"):
            next(batches)
        assert_same(found, epoch(ds)[:24])


def fall_or_tell(how: str, log: Path, times: float, value: Any) -> Any:
    """Die so many times, then tell a value; a task."""
    fall(how, log, times)
    return value


def test_a_deadly_task(tmp_path: Path) -> None:
    """A task of a stream that always kills is an error; other streams of the pool go on."""
    with processes(max_restarts=2) as pool:
        other = pool.work_stream((divmod, (n, 7)) for n in range(100))
        tasks = [(fall_or_tell, ("killed", tmp_path / "log", np.inf if n == 3 else 0, n)) for n in range(6)]
        stream = pool.work_stream(tasks)
        assert [stream.retrieve() for _ in range(3)] == [0, 1, 2]
        with pytest.raises(WorkerError, match="SIGKILL"):
            stream.retrieve()
        assert deaths(tmp_path / "log") == 3
        assert [*other.retrieve_iter()] == [divmod(n, 7) for n in range(100)]


def test_deaths_of_different_tasks_do_not_add_up(tmp_path: Path) -> None:
    """Every task may kill its worker `max_restarts` times, however many there are."""
    places = [*range(2, N, 8)]
    ds = numbers(Deadly(tmp_path, "killed", *places))
    with processes(max_restarts=1) as pool:
        assert_same(epoch(pool.parallel_data_source(ds)), epoch(ds))
        assert sum(deaths(tmp_path / f"deaths{place}") for place in places) == len(places)
        tasks = [(fall_or_tell, ("killed", tmp_path / f"log{n}", n % 2, n)) for n in range(12)]
        assert [*pool.work_stream(tasks).retrieve_iter()] == [*range(12)]


class DiesOnArrival:
    """A function that kills whoever unpickles it."""

    def __init__(self, how: str) -> None:
        self.how = how

    def __call__(self, *batch: Any) -> Any:
        return batch

    def __reduce__(self) -> Any:
        function, arguments, _ = WAYS[self.how]
        return function, arguments


@pytest.mark.parametrize("how", ["killed", "os._exit"])
def test_a_source_that_kills_who_receives_it(how: str) -> None:
    """A source that no worker survives to read is an error soon, and the pool works on."""
    good = numbers()
    with processes(max_restarts=1) as pool:
        with pytest.raises(WorkerError, match=WAYS[how][2]):
            epoch(pool.parallel_data_source(numbers().map(DiesOnArrival(how))))
        with pytest.raises(WorkerError, match=WAYS[how][2]):
            pool.work_stream([(DiesOnArrival(how), ())]).retrieve()
        assert_same(epoch(pool.parallel_data_source(good)), epoch(good))


def refuse(text: str) -> None:
    raise LookupError(text)


class FailsOnArrival(DiesOnArrival):
    """A function that cannot be unpickled."""

    def __reduce__(self) -> Any:
        return refuse, ("nothing like it here",)


def test_a_source_that_cannot_be_unpickled() -> None:
    """What fails when a worker receives a source or a task is raised in the consumer; the pool works on."""
    good = numbers()
    with processes() as pool:
        with pytest.raises(Exception, match="nothing like it here"):
            epoch(pool.parallel_data_source(numbers().map(FailsOnArrival(""))))
        with pytest.raises(Exception, match="nothing like it here"):
            pool.work_stream([(FailsOnArrival(""), ())]).retrieve()
        assert_same(epoch(pool.parallel_data_source(good)), epoch(good))


def fork_and_die(log: Path) -> int:
    """Leave a child behind that has all that the worker had open, and die; the second time, tell its pid."""
    if not log.exists():
        child = os.fork()
        if not child:
            time.sleep(SECONDS)
            os._exit(0)
        log.write_text(str(child))
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(SECONDS)
    return int(log.read_text())


def test_death_with_children(tmp_path: Path) -> None:
    """A death is noticed though children of the worker keep its connections open."""
    with processes() as pool:
        begin = time.monotonic()
        child = pool.work_stream([(fork_and_die, (tmp_path / "child",))]).retrieve()
        assert time.monotonic() - begin < SECONDS / 2
        os.kill(child, signal.SIGKILL)
        assert pool.work_stream([(abs, (-1,))]).retrieve() == 1


# Tasks that do not end.


def stuck_in_a_sleep() -> None:
    time.sleep(1000)


def stuck_for_a_while() -> None:
    time.sleep(4)


def stuck_in_a_power() -> int:
    return 3 ** int("9" * 9)


def stuck_in_a_pattern() -> Any:
    return re.match(r"(a+)+$", "a" * 60 + "b")


def stuck_in_a_sum() -> int:
    return sum(itertools.repeat(1, 10**13))  # holds the lock, and looks at no signal


STUCK = [stuck_in_a_sleep, stuck_in_a_power, stuck_in_a_pattern, stuck_in_a_sum]


class Stuck(Slow):
    """Call a function that does not end, at sample 22."""

    def __init__(self, fn: Callable[[], Any]) -> None:
        super().__init__()
        self.fn = fn

    def work(self, x: Any) -> None:
        if 22 in x:
            self.fn()


def shown(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


@pytest.mark.parametrize("fn", STUCK)
def test_a_stuck_process(fn: Callable[[], Any]) -> None:
    """A task that takes too long is an error with its batch and its stack, be it in C; its worker is replaced."""
    good = numbers()
    with processes(timeout=1) as pool:
        before = pool.pids
        begin = time.monotonic()
        with pytest.raises(WorkerTimeoutError) as caught:
            epoch(pool.parallel_data_source(numbers(Stuck(fn))))
        assert time.monotonic() - begin < SECONDS
        assert isinstance(caught.value, TimeoutError)
        assert isinstance(caught.value, WorkerError)
        assert re.search(r"\bbatch 5\b", str(caught.value)), str(caught.value)
        assert fn.__name__ in shown(caught.value)
        assert_same(epoch(pool.parallel_data_source(good)), epoch(good))
        assert len(pool.pids) == 2
        gone = {*before} - {*pool.pids}
        assert gone
        assert wait_for(lambda: not any(map(alive, gone)), SECONDS)


TELL_PROGRAM = """
import time
import numpy as np
from batchup.data_source import ArrayDataSource
from batchup.errors import WorkerTimeoutError
from batchup.work_pool import WorkerProcessPool
from tests.test_pool_reliability import stuck_in_a_sum

def slow(x):
    time.sleep(0.002)
    return x,

words = ArrayDataSource([np.array([f"sample {i} of many" for i in range(200_000)], object)]).map(slow)
with WorkerProcessPool(1, timeout=2) as pool:
    parallel = pool.parallel_data_source(words)
    stream = pool.work_stream([(stuck_in_a_sum, ())])
    time.sleep(0.5)
    batches = parallel.batch_iterator(64)
    try:
        stream.retrieve()
    except WorkerTimeoutError as error:
        assert "stuck_in_a_sum" in str(error), str(error)
    assert next(batches)[0][1] == "sample 1 of many"
"""


def test_much_to_tell_a_stuck_process() -> None:
    """A worker that cannot listen, and has much to be told, does not make the pool wait for it."""
    run_program(TELL_PROGRAM)


class StuckThread:
    """Wait for an event, at sample 22."""

    def __init__(self) -> None:
        self.event = threading.Event()

    def __call__(self, x: Any, y: Any) -> Any:
        if 22 in x:
            self.stuck_until_told()
        time.sleep(0.002)
        return x, y

    def stuck_until_told(self) -> None:
        self.event.wait(SECONDS)


def test_a_stuck_thread() -> None:
    """So it is in a thread, though that cannot be ended: the pool has as many others as before."""
    ds, fn = numbers(), StuckThread()
    try:
        with threads(timeout=1) as pool:
            for _ in range(3):
                with pytest.raises(WorkerTimeoutError) as caught:
                    epoch(pool.parallel_data_source(ds.map(fn)))
                assert re.search(r"\bbatch 5\b", str(caught.value)), str(caught.value)
                assert "stuck_until_told" in shown(caught.value)
                assert isinstance(caught.value, TimeoutError)
                assert_same(epoch(pool.parallel_data_source(ds)), epoch(ds))
    finally:
        fn.event.set()
    assert wait_for(lambda: "stuck_until_told" not in functions_at_work(), SECONDS)


def functions_at_work() -> list[str]:
    """Return the names of the functions that any thread is in."""
    stacks = map(traceback.extract_stack, sys._current_frames().values())
    return [frame.name for stack in stacks for frame in stack]


@both_pools
def test_a_stuck_task_of_a_stream(make: Any) -> None:
    """A plain task that takes too long is an error too."""
    with make(timeout=1) as pool:
        stream = pool.work_stream([(stuck_for_a_while, ()), (abs, (-1,))])
        with pytest.raises(WorkerTimeoutError, match="stuck_for_a_while"):
            stream.retrieve()
        assert pool.work_stream([(abs, (-2,))]).retrieve() == 2


@both_pools
def test_slow_consumers_are_no_timeout(make: Any) -> None:
    """The time counts that a worker works, not that it or its batches wait for the consumer."""
    big = ArrayDataSource([np.arange(64), np.ones((64, 32 * 1024))]).map(Slow())
    with make(timeout=1) if make is threads else make(timeout=1, memory="4MiB") as pool:
        kept = []
        for number, batch in enumerate(pool.parallel_data_source(big, 3).batch_iterator(4)):
            kept.append(batch)
            if number == 5:
                time.sleep(1.5)
        assert_same(kept, epoch(big))
        time.sleep(1.2)
        assert_same(epoch(pool.parallel_data_source(big)), epoch(big))


# Shared memory: what the consumer holds, and what it does not.

ROW = 4096  # numbers: 32 KiB
BATCH = 32  # rows: 1 MiB


class Marked(Slow):
    """Write a batch of its own; the first column says what is in it."""

    def __call__(self, x: Any, y: Any) -> Any:
        super().__call__(x, y)
        return x, np.multiply.outer(x, np.ones(y.shape[1]))


def big(rows: int = 512) -> AbstractDataSource:
    """Return a source of batches of 1 MiB."""
    return ArrayDataSource([np.arange(rows), np.zeros((rows, ROW), np.int8)]).map(Marked())


def check_big(batches: list[Any], rows: int = 512, size: int = BATCH) -> None:
    """Check batches of `big`, in order."""
    assert len(batches) == -(-rows // size)
    for number, (x, y) in enumerate(batches):
        assert x.tolist() == [*range(number * size, min(rows, (number + 1) * size))]
        assert y.shape == (len(x), ROW)
        assert (np.asarray(y) == x[:, None]).all()


def address(array: np.ndarray[Any, Any]) -> int:
    begin: int = array.__array_interface__["data"][0]
    return begin


def shared(array: np.ndarray[Any, Any]) -> bool:
    """Return whether an array lies wholly in memory that is mapped to be shared."""
    begin, end = address(array), address(array) + array.nbytes
    return any(low <= begin and end <= high and "s" in how for low, high, how, _ in mappings())


def owner(array: Any) -> Any:
    """Return what is at the end of the chain of bases."""
    while True:
        if isinstance(array, memoryview):
            array = array.obj
        elif isinstance(array, np.ndarray) and array.base is not None:
            array = array.base
        else:
            return array


def test_batches_lie_in_shared_memory() -> None:
    """What a worker wrote is what the consumer reads: no copy, and writable."""
    with processes() as pool:
        for x, y in pool.parallel_data_source(big()).batch_iterator(BATCH):
            assert shared(y)
            assert x.flags.writeable
            assert y.flags.writeable
            assert not y.flags.owndata
            if isinstance(owner(y), np.ndarray):
                assert not owner(y).flags.owndata
            y[...] = 0
        check_big(list(pool.parallel_data_source(big()).batch_iterator(BATCH)))


@pytest.mark.parametrize("memory", ["8MiB", 8 * MIB])
def test_a_consumer_that_keeps_everything(memory: Any) -> None:
    """More is kept than the budget allows: nothing stops, all is right; dropped, it is shared memory again."""
    with processes(memory=memory) as pool:
        parallel = pool.parallel_data_source(big(), 2)
        kept = [[*parallel.batch_iterator(BATCH)] for _ in range(3)]
        for each in kept:
            check_big(each)
        places = {address(y) for each in kept for _, y in each if shared(y)}
        assert places
        assert not all(shared(y) for each in kept for _, y in each)
        del each, kept
        gc.collect()
        again = [(shared(y), address(y)) for _, y in parallel.batch_iterator(BATCH)]
        assert [is_shared for is_shared, _ in again] == [True] * 16
        assert {place for _, place in again} & places


def test_the_budget_holds() -> None:
    """What is mapped to be shared does not exceed the budget, whatever the consumer keeps."""
    with processes(memory="8MiB") as pool:
        parallel = pool.parallel_data_source(big())
        kept = [*parallel.batch_iterator(BATCH), *parallel.batch_iterator(BATCH)]
        held = {address(y) for _, y in kept if shared(y)}
        assert 1 <= len(held) <= 8


def test_batches_larger_than_the_budget() -> None:
    """They come all the same."""
    with processes(memory="512KiB") as pool:
        parallel = pool.parallel_data_source(big())
        check_big([*parallel.batch_iterator(BATCH)])
        check_big([*parallel.batch_iterator(200)], size=200)


def test_two_iterators_under_a_tiny_budget() -> None:
    """Iterators that wait for each other's batches do not wait for ever."""
    with processes(memory="2MiB") as pool:
        parallel = pool.parallel_data_source(big())
        pairs = [*zip(parallel.batch_iterator(BATCH), parallel.batch_iterator(BATCH), strict=True)]
        for side in zip(*pairs, strict=True):
            check_big([*side])
        joined = CompositeDataSource([parallel, pool.parallel_data_source(big())], flatten=False)
        both = [*joined.batch_iterator(BATCH)]
        for side in zip(*both, strict=True):
            check_big([*side])
        first = parallel.batch_iterator(BATCH)
        begun = [next(first)]
        check_big([*parallel.batch_iterator(BATCH)])
        check_big([*begun, *first])


def sub(array: Any) -> Any:
    class Mine(np.ndarray):  # type: ignore[type-arg]
        pass

    return array.view(Mine)


HOLDERS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "array": (lambda y: y, np.array),
    "slice": (lambda y: y[3:9, ::2], np.array),
    "view of views": (lambda y: y.reshape(-1)[5:].view(np.int64).T[::-1][1:], np.array),
    "subclass": (sub, np.array),
    "memoryview": (memoryview, np.array),
    "slice of a memoryview": (lambda y: memoryview(y.reshape(-1))[100:200], np.array),
    "array over a memoryview": (lambda y: np.frombuffer(memoryview(y)), np.array),
    "flat": (lambda y: y.flat, lambda flat: np.array(flat[:])),
    "pickle buffer": (pickle.PickleBuffer, np.frombuffer),
    "ctypes": (lambda y: (ctypes.c_double * y.size).from_buffer(y), np.array),
    "method": (lambda y: y.copy, lambda copy: copy()),
}


@pytest.mark.parametrize("name", HOLDERS)
def test_what_is_held_is_not_overwritten(name: str) -> None:
    """As long as anything refers to a batch, be it a view of a view, its memory is not used again."""
    hold, read = HOLDERS[name]
    with processes(memory="10MiB") as pool:
        parallel = pool.parallel_data_source(big(), 2)
        held = [y for _, y in itertools.islice(parallel.batch_iterator(BATCH), 4)]
        assert all(map(shared, held))
        places = {address(y) for y in held}
        holders = [hold(y) for y in held]
        del held
        expected = [read(holder).copy() for holder in holders]
        for _ in range(2):
            for x, y in parallel.batch_iterator(BATCH):
                assert address(y) not in places
                assert (y == x[:, None]).all()
            del y
        for holder, content in zip(holders, expected, strict=True):
            np.testing.assert_array_equal(read(holder), content)
        del holder, holders
        check_big([*parallel.batch_iterator(BATCH)])


def test_memory_is_used_again() -> None:
    """Batches that nobody keeps lie in the same few places."""
    with processes() as pool:
        parallel = pool.parallel_data_source(big(), 4)
        places = {address(y) for _ in range(10) for _, y in parallel.batch_iterator(BATCH)}
        assert len(places) < 40


def test_a_batch_outlives_its_pool() -> None:
    """Batches stay what they are when iterator, source and pool are closed and gone."""
    pool = processes()
    batches = [*pool.parallel_data_source(big()).batch_iterator(BATCH)]
    pool.close()
    del pool
    gc.collect()
    check_big(batches)
    batches[0][1][...] = 7


def test_threads_share_what_a_consumer_holds() -> None:
    """Several consumers, who keep and drop as they like, disturb each other nowhere."""
    failed = []

    def consume(pool: Any, seed: int) -> None:
        chance = random.Random(seed)
        parallel = pool.parallel_data_source(big(256))
        for _ in range(4):
            kept = []
            for number, (x, y) in enumerate(parallel.batch_iterator(BATCH)):
                if (y != x[:, None]).any() or x[0] != number * BATCH:
                    failed.append(number)
                if chance.random() < 0.5:
                    kept.append((x, y[1:]))
            failed.extend(1 for x, y in kept if (y != x[1:, None]).any())

    with processes(memory="6MiB") as pool:
        consumers = [threading.Thread(target=consume, args=(pool, seed)) for seed in range(4)]
        for consumer in consumers:
            consumer.start()
        for consumer in consumers:
            consumer.join(SECONDS * 2)
        assert not any(consumer.is_alive() for consumer in consumers)
    assert failed == []


def test_everything_stays_level() -> None:
    """Over thousands of batches, memory and file descriptors stay what they were, here and in the workers."""
    rows = 1000
    ds = ArrayDataSource([np.arange(rows), np.ones((rows, 2048))]).map(Slow(0.0005))
    with processes(memory="64MiB") as pool:
        parallel = pool.parallel_data_source(ds)

        def consume(epochs: int) -> None:
            for number in range(epochs):
                for batch in parallel.batch_iterator(8, shuffle=number):
                    del batch

        def levels() -> tuple[Any, ...]:
            gc.collect()
            workers = pool.pids
            files = (len(open_files()), *(len(open_files(pid)) for pid in workers))
            return files, private_bytes(), *(private_bytes(pid) for pid in workers)

        consume(8)
        before, *memory_before = levels()
        consume(24)
        after, *memory = levels()
        assert after == before
        assert max(b - a for a, b in zip(memory_before, memory, strict=True)) < 32 * MIB


def test_sources_come_and_go() -> None:
    """Sources that nobody needs any more leave no descriptor and no memory, here or in the workers."""
    with processes() as pool:

        def use(number: int) -> None:
            data = np.full((256, 512), number)
            parallel = pool.parallel_data_source(ArrayDataSource([np.arange(256), data]).map(Slow(0)))
            for _, y in parallel.batch_iterator(64):
                assert (y == number / 2).all()

        def levels() -> tuple[Any, ...]:
            list(pool.work_stream([(abs, (-1,))] * 8).retrieve_iter())
            gc.collect()
            return tuple((len(open_files(pid)), sum("s" in how for *_, how, _ in mappings(pid))) for pid in pids)

        pids = (os.getpid(), *pool.pids)
        for number in range(4):
            use(number)
        before = levels()
        for number in range(40):
            use(number)
        wait_for(lambda: levels() <= before, 5)
        for (files, mapped), (files_before, mapped_before) in zip(levels(), before, strict=True):
            assert files <= files_before + 2
            assert mapped <= mapped_before + 2


@both_pools
def test_pools_one_after_another_leave_nothing(make: Any) -> None:
    """Pools that were closed, or dropped, leave no descriptor, thread, mapping or child."""
    ds = big(64)

    def use(close: bool) -> None:
        pool = make()
        check_big([*pool.parallel_data_source(ds).batch_iterator(BATCH)], 64)
        if close:
            pool.close()

    def levels() -> tuple[int, ...]:
        gc.collect()
        of_mapped = sum("s" in how for _, _, how, _ in mappings())
        return len(open_files()), threading.active_count(), of_mapped, len(multiprocessing.active_children())

    use(True)
    use(False)
    before = levels()
    for number in range(6):
        use(number % 2 == 0)
    # what others left may end meanwhile
    assert wait_for(lambda: all(now <= was for now, was in zip(levels(), before, strict=True)), SECONDS), (
        levels(),
        before,
    )


def test_closing_in_mid_epoch() -> None:
    """An iterator whose pool is closed says so: it does not hang, and does not look as if the epoch were over."""
    for make in (threads, processes):
        pool = make()
        batches = pool.parallel_data_source(numbers(Slow(0.05))).batch_iterator(4)
        next(batches)
        pool.close()
        with pytest.raises((ValueError, RuntimeError)):
            list(batches)


@both_pools
def test_closing_while_another_thread_waits(make: Any) -> None:
    """A consumer that waits for tasks when the pool is closed gets an error."""
    pool = make()
    caught: list[BaseException] = []

    def consume() -> None:
        try:
            list(pool.work_stream([(time.sleep, (1,))] * 6).retrieve_iter())
        except Exception as error:  # noqa: BLE001
            caught.append(error)

    consumer = threading.Thread(target=consume)
    consumer.start()
    time.sleep(0.5)
    pool.close()
    consumer.join(SECONDS)
    assert not consumer.is_alive()
    assert [isinstance(error, (ValueError, RuntimeError)) for error in caught] == [True]


# What workers are.


def draws() -> tuple[int, float, float, float]:
    """Return the pid of a worker, and what its generators draw."""
    time.sleep(0.05)
    return os.getpid(), random.random(), float(np.random.random()), float(np.random.standard_normal())


def test_workers_draw_different_numbers() -> None:
    """Global generators differ between workers, pools and successors, whatever was seeded here."""
    found = []
    for _ in range(2):
        random.seed(0)
        np.random.seed(0)
        with processes(3) as pool:
            found += [*pool.work_stream([(draws, ())] * 3).retrieve_iter()]
            for pid in pool.pids:
                os.kill(pid, signal.SIGKILL)
            found += [*pool.work_stream([(draws, ())] * 3).retrieve_iter()]
        assert (random.random(), np.random.random()) == (0.8444218515250481, 0.5488135039273248)
    for column in zip(*found, strict=True):
        assert len({*column[0:3]}) == 3
        assert len({*column[6:9]}) == 3
    for column in [*zip(*found, strict=True)][1:]:
        assert len({*column}) == 12


@every_method
def test_the_first_tasks_are_dealt_in_turn(method: str) -> None:
    """The first tasks of a fresh pool go to as many workers as there are."""
    with processes(4, start_method=method) as pool:
        pids = [*pool.work_stream([(os.getpid, ())] * 4).retrieve_iter()]
        assert sorted(pids) == sorted(pool.pids)
        assert os.getpid() not in pids


SIGINT_PROGRAM = """
import os, signal, time
import numpy as np
from batchup.data_source import ArrayDataSource
from batchup.work_pool import WorkerProcessPool

signal.signal(signal.SIGINT, lambda *_: None)
def slow(x):
    time.sleep(0.01)
    return x,
with WorkerProcessPool(2, start_method=METHOD) as pool:
    pids = pool.pids
    found = []
    for x, in pool.parallel_data_source(ArrayDataSource([np.arange(400)]).map(slow)).batch_iterator(4):
        found += x.tolist()
        if len(found) % 80 == 0:
            os.kill(0, signal.SIGINT)
    assert found == [*range(400)]
    assert pool.pids == pids, (pids, pool.pids)
"""


def run_program(code: str, *before: str, **environment: str) -> None:
    """Run a program in a process group of its own; it must succeed, quietly."""
    done = subprocess.run(
        [*before, sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "PYTHONPATH": str(HOUSE), **environment},
        capture_output=True,
        text=True,
        timeout=2 * SECONDS,
        start_new_session=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
def test_interrupts_do_not_reach_workers(method: str) -> None:
    """SIGINT to the whole group is for the main program alone."""
    run_program(SIGINT_PROGRAM.replace("METHOD", repr(method)))


FORK_PROGRAM = """
import os
from pathlib import Path
import numpy as np
from tests.test_pool_reliability import Deadly, assert_same, deaths, draws, epoch, numbers
from batchup.work_pool import WorkerProcessPool

folder = Path(os.environ["FOLDER"])
places = [*range(2, 120, 8)]
ds = numbers(Deadly(folder, "killed", *places))
with WorkerProcessPool(2, start_method="fork", max_restarts=1) as pool:
    before = pool.pids
    assert_same(epoch(pool.parallel_data_source(ds)), epoch(ds))
    assert sum(deaths(folder / f"deaths{place}") for place in places) == len(places)
    assert not {*before} & {*pool.pids}
np.random.seed(0)
with WorkerProcessPool(3, start_method="fork") as pool:
    for column in zip(*pool.work_stream([(draws, ())] * 3).retrieve_iter()):
        assert len({*column, np.random.RandomState(0).random()}) == 4
"""


def test_forked_workers(tmp_path: Path) -> None:
    """They are replaced too, though by then the pool may have threads of its own; they draw different numbers."""
    run_program(FORK_PROGRAM, FOLDER=str(tmp_path))


# What users' functions do.


class Raises(Slow):
    """Raise an exception in a worker, at sample 22."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def work(self, x: Any) -> None:
        if 22 in x:
            raise self.error


class InThread(Raises):
    """Raise it here."""

    def __call__(self, x: Any, y: Any) -> Any:
        self.work(x)
        return x, y


@pytest.mark.parametrize("error", [SystemExit(7), KeyboardInterrupt("mine"), GeneratorExit("mine"), SystemExit()])
@both_pools
def test_exceptions_that_are_no_errors(make: Any, error: BaseException) -> None:
    """What a user's function raises reaches the consumer, even if it ends programs; the pool works on."""
    good, fn = numbers(), Raises if make is processes else InThread
    with make() as pool:
        with pytest.raises(type(error)) as caught:
            epoch(pool.parallel_data_source(numbers(fn(error))))
        assert caught.value.args == error.args
        assert_same(epoch(pool.parallel_data_source(good)), epoch(good))


@both_pools
def test_stop_iteration(make: Any) -> None:
    """A StopIteration from a user's function does not end an epoch silently, here or there."""
    ds = numbers((Raises if make is processes else InThread)(StopIteration("mine")))
    with make() as pool:
        with pytest.raises(RuntimeError):
            epoch(pool.parallel_data_source(ds))
        stream = pool.work_stream([(next, (iter([1]),)), (next, (iter([]),)), (abs, (-1,))])
        assert stream.retrieve() == 1
        with pytest.raises(RuntimeError):
            stream.retrieve()


class HoldsALock(Exception):  # noqa: N818
    """An exception that cannot be pickled."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


class TakesTwo(Exception):  # noqa: N818
    """An exception that can be pickled, but not unpickled."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what} because of {why}")


def raise_one(name: str) -> None:
    if name == "local":

        class Local(Exception):  # noqa: N818
            pass

        raise Local("what I wanted to say")
    raise HoldsALock("what I wanted to say") if name == "lock" else TakesTwo("what I wanted to say", "you")


@pytest.mark.parametrize("name", ["lock", "two", "local"])
def test_exceptions_that_do_not_travel(name: str) -> None:
    """An exception that cannot be pickled is told all the same, with its type and its text."""
    with processes() as pool:
        with pytest.raises(Exception, match="what I wanted to say") as caught:
            pool.work_stream([(raise_one, (name,))]).retrieve()
        text = shown(caught.value)
        assert {"lock": "HoldsALock", "two": "TakesTwo", "local": "Local"}[name] in text
        assert "raise_one" in text
        assert pool.work_stream([(abs, (-1,))]).retrieve() == 1


def a_lock() -> Any:
    return [1, {"the_lock": threading.Lock()}]


def test_results_that_do_not_travel() -> None:
    """A result that cannot be pickled is an error that says so, and the pool works on."""
    with processes() as pool:
        stream = pool.work_stream([(a_lock, ()), (abs, (-1,))])
        with pytest.raises((TypeError, BatchUpError), match="lock"):
            stream.retrieve()
        assert pool.work_stream([(abs, (-1,))]).retrieve() == 1


def test_arguments_that_do_not_travel() -> None:
    """An argument that cannot be pickled is an error that names it, and the pool works on."""
    with processes() as pool:
        with pytest.raises(TypeError, match="lock"):
            pool.work_stream([(abs, (threading.Lock(),))]).retrieve()
        assert pool.work_stream([(abs, (-1,))]).retrieve() == 1


def much(kind: str, megabytes: int) -> Any:
    """Return many bytes."""
    if kind == "array":
        return np.full((megabytes, 1_000_000), 3, np.uint8)
    return b"3" * (megabytes * 1_000_000)


@pytest.mark.parametrize("kind", ["array", "bytes"])
def test_huge_results_and_arguments(kind: str) -> None:
    """Tasks may return 200 MB, and be given 50 MB."""
    with processes(memory="64MiB") as pool:
        result = pool.work_stream([(much, (kind, 200))]).retrieve()
        assert len(memoryview(result).cast("B")) == 200_000_000
        assert result == much(kind, 200) if kind == "bytes" else (result == 3).all()
        del result
        argument = much(kind, 50)
        assert pool.work_stream([(len, (argument,)), (len, (argument,))]).retrieve() == len(argument)


def test_many_small_tasks() -> None:
    """Thousands of tasks, more than any buffer holds, keep their order."""
    with processes() as pool:
        stream = pool.work_stream(((divmod, (n, 7)) for n in range(5000)), 500)
        assert [*stream.retrieve_iter()] == [divmod(n, 7) for n in range(5000)]


# Refusals.


def test_fork_is_refused_with_threads() -> None:
    """Forking a process that has threads is refused, and they are named."""
    event = threading.Event()
    other = threading.Thread(target=event.wait, args=(SECONDS,), name="the-one-that-lives")
    other.start()
    try:
        with pytest.raises(ValueError, match="the-one-that-lives"):
            WorkerProcessPool(2, start_method="fork")
    finally:
        event.set()
        other.join()


@pytest.mark.parametrize(
    ("keywords", "error"),
    [
        ({"start_method": "clone"}, ValueError),
        ({"start_method": 3}, (TypeError, ValueError)),
        ({"processes": 0}, ValueError),
        ({"processes": -1}, ValueError),
        ({"processes": "2"}, TypeError),
        ({"processes": 1.5}, (TypeError, ValueError)),
        ({"max_restarts": -1}, ValueError),
        ({"max_restarts": "3"}, TypeError),
        ({"timeout": 0}, ValueError),
        ({"timeout": -1}, ValueError),
        ({"timeout": float("nan")}, ValueError),
        ({"timeout": "1"}, TypeError),
        ({"memory": "lots"}, ValueError),
        ({"memory": 0}, ValueError),
        ({"memory": -1}, ValueError),
        ({"memory": 1.5}, (TypeError, ValueError)),
        ({"memory": None}, TypeError),
    ],
    ids=str,
)
def test_wrong_arguments(keywords: dict[str, Any], error: Any) -> None:
    """Wrong arguments are refused when the pool is made, by name, and nothing is started."""
    name, value = next(iter(keywords.items()))
    with pytest.raises(error, match=name) as caught:
        WorkerProcessPool(**keywords)
    assert str(value) in str(caught.value) or type(value).__name__ in str(caught.value)


@both_pools
def test_a_closed_pool(make: Any) -> None:
    """Work given to a closed pool is refused; closing it again is nothing."""
    pool = make()
    parallel = pool.parallel_data_source(numbers())
    pool.close()
    pool.close()
    for work in (
        lambda: pool.work_stream([(abs, (-1,))]),
        lambda: pool.parallel_data_source(numbers()),
        lambda: parallel.batch_iterator(4),
    ):
        with pytest.raises(ValueError, match="closed"):
            work()


def test_a_long_temporary_folder(tmp_path: Path) -> None:
    """A folder for temporary files whose name is longer than that of a socket may be is no trouble."""
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    run_program(SIGINT_PROGRAM.replace("METHOD", "'forkserver'"), TMPDIR=str(folder))
    assert [*folder.iterdir()] == []


# Room. The package asks for memory through `shared.places`; here it finds less of it.


def test_without_memory_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no files that lie in memory, /dev/shm takes their place."""
    monkeypatch.delattr(os, "memfd_create")
    with processes(memory="8MiB") as pool:
        batches = [*pool.parallel_data_source(big(), 2).batch_iterator(BATCH)]
        check_big(batches)
        assert shared(batches[0][1])


def refused(*_: Any) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


REFUSALS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "none is free": lambda patch: patch.setattr(shared_memory, "free_memory", lambda: 0),
    "none is given": lambda patch: (
        patch.setattr(os, "memfd_create", refused),
        patch.setattr(shared_memory, "_free_on", lambda name: 0 if name == "/dev/shm" else 2**40),
    )[0],
}


@pytest.mark.parametrize("name", REFUSALS)
def test_files_take_the_place_of_memory(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no shared memory, files on disk are used, for batches and for copies of the data."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    REFUSALS[name](monkeypatch)
    ds = ArrayDataSource([np.arange(512), np.arange(512 * 512.0).reshape(512, 512)]).map(Slow())
    with processes(memory="8MiB") as pool:
        parallel = pool.parallel_data_source(ds, 2)
        found = [*parallel.batch_iterator(BATCH)]
        begin = address(found[0][1])
        assert any(low <= begin < high and path.startswith(str(tmp_path)) for low, high, _, path in mappings())
        assert_same(found, epoch(ds, BATCH))
        del found
        assert_same(epoch(parallel, BATCH, shuffle=1), epoch(ds, BATCH, shuffle=1))
    assert [*tmp_path.iterdir()] == []


def test_somebody_else_takes_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the room promised is gone when it is wanted, batches come all the same, as copies."""
    with processes() as pool:
        parallel = pool.parallel_data_source(big())
        first = [*itertools.islice(parallel.batch_iterator(BATCH), 2)]
        monkeypatch.setattr(arena, "take_room", refused)
        check_big([*parallel.batch_iterator(BATCH)])
        monkeypatch.undo()
        check_big([*parallel.batch_iterator(BATCH)])
        check_big(first, rows=64)


def test_no_room_for_a_copy_of_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data that fit nowhere are an error with the bytes wanted and free; the pool works on."""
    ds = numbers()
    with processes() as pool:
        monkeypatch.setattr(shared_memory, "free_memory", lambda: 1_234_567)
        monkeypatch.setattr(shared_memory, "_free_on", lambda name: 2_345_678)
        with pytest.raises(MemoryError, match=r"8,000,000.*1,234,567.*2,345,678") as caught:
            pool.parallel_data_source(ArrayDataSource([np.ones(1_000_000)]))
        assert isinstance(caught.value, BatchUpError)
        assert_same(epoch(pool.parallel_data_source(ds)), epoch(ds))
        monkeypatch.undo()
        assert_same(epoch(pool.parallel_data_source(ds)), epoch(ds))


def test_elements_that_share_memory_are_copied_once() -> None:
    """Windows and repeated values take the room of the memory that they lie in, not of their elements."""
    windows = np.lib.stride_tricks.sliding_window_view(np.arange(200_000.0), 50_000)
    ds = ArrayDataSource([windows[:64], np.broadcast_to(np.arange(20_000), (64, 20_000))])
    with processes() as pool:
        assert_same(epoch(pool.parallel_data_source(ds)), epoch(ds))


def test_no_room_for_a_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool that has no room at all for batches is an error, or does without."""
    monkeypatch.setattr(shared_memory, "free_memory", lambda: 100)
    monkeypatch.setattr(shared_memory, "_free_on", lambda name: 100)
    ds = numbers()
    try:
        pool = processes()
    except MemoryError as error:
        assert "bytes" in str(error)  # noqa: PT017
    else:
        with pool:
            assert_same(epoch(pool.parallel_data_source(ds)), epoch(ds))


SMALL_PROGRAM = """
import os
del os.memfd_create  # it is not bounded by /dev/shm
import numpy as np
from batchup.data_source import ArrayDataSource
from batchup.work_pool import WorkerProcessPool
from tests.test_pool_reliability import BATCH, Slow, address, assert_same, big, check_big, epoch, mappings

ds = ArrayDataSource([np.arange(512), np.arange(512 * 512.0).reshape(512, 512)]).map(Slow())
with WorkerProcessPool(2) as pool:
    batches = [*pool.parallel_data_source(big()).batch_iterator(BATCH)]
    check_big(batches)
    assert_same(epoch(pool.parallel_data_source(ds), BATCH), epoch(ds, BATCH))
"""


def test_a_small_shared_memory() -> None:
    """Where /dev/shm is a megabyte, as it may be in a container, everything comes, and nobody dies of it."""
    mount = "mount -t tmpfs -o size=1m tmpfs /dev/shm"
    with contextlib.suppress(FileNotFoundError):
        if subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True).returncode == 0:
            run_program(SMALL_PROGRAM, "unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh")
            return
    pytest.skip("a small /dev/shm cannot be had here")


def test_ctrl_c_that_does_not_wake_whoever_waits() -> None:
    """Ctrl-C that is received by another thread, or just before the main one begins to wait, interrupts it as well."""
    ticket, over = Ticket(), threading.Event()

    def press() -> None:
        time.sleep(0.1)
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        if not over.wait(SECONDS):
            ticket.succeed(None)

    thread = threading.Thread(target=press)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            ticket.result()
        assert not ticket.wait(0), "only the result ended the wait"
    finally:
        over.set()
        thread.join()
