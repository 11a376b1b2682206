"""What the tests of worker pools share: pools, trees and tasks, exact comparison, a look at what is left."""

from __future__ import annotations

import gc
import importlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest

from batchup import work_pool
from batchup.data_source import (
    AbstractDataSource,
    ArrayDataSource,
    ChoiceDataSource,
    CompositeDataSource,
    MixDataSource,
    RandomAccessDataSource,
)
from batchup.sampling import (
    BalancedBatchSampler,
    BlockShuffleSampler,
    BucketSampler,
    GroupSampler,
    StratifiedSampler,
    WeightedSampler,
)

from . import users
from .cases import columns, named, numbers
from .helpers import fingerprint

ROOT = Path(__file__).parent.parent
POOLS: dict[str, Callable[..., Any]] = {
    "threads": work_pool.WorkerThreadPool,
    "processes": work_pool.WorkerProcessPool,
}
EAGER = "threads, always"
KINDS = [*POOLS, EAGER]
if os.environ.get("BATCHUP_TEST_ALL") == "1":  # the others have been tested before
    POOLS, KINDS = {"ray": work_pool.WorkerRayPool}, ["ray"]
ORDERS: dict[str, Callable[[], Any]] = {
    "in order": lambda: None,
    "seed": lambda: 11,
    "RandomState": lambda: np.random.RandomState(11),
    "Generator": lambda: np.random.default_rng(11),
}
MOST = 30
PATIENCE = 30  # seconds, far more than any test needs


@pytest.fixture(name="pool", scope="module", params=KINDS)
def shared_pool(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Yield a pool of two workers, one of each kind in turn, for all tests of a module; it must leave nothing."""
    with importable_tests() as patch, leaving_nothing():
        if request.param == EAGER:  # the small batches of the tests would be made by the consumer
            patch.setattr("batchup.work_pool.threads.WORTH", 0.0)
            patch.setattr("batchup.work_pool.threads.COPIED_HERE", -1)
        with POOLS["threads" if request.param == EAGER else request.param](2) as shared:
            yield shared


@pytest.fixture(autouse=True)
def end_of_patience(request: pytest.FixtureRequest) -> Iterator[None]:
    """Make a test that hangs an error instead."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def give_up(*_: Any) -> None:
        raise TimeoutError("the test hangs")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, getattr(request.module, "PATIENCE", PATIENCE))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def importable_tests() -> Iterator[pytest.MonkeyPatch]:
    """Let worker processes, which take over the path, import what the tests define."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        importlib.invalidate_caches()
        yield patch


def is_processes(pool: Any) -> bool:
    return not isinstance(pool, work_pool.WorkerThreadPool)


# what is left behind


def eventually(condition: Callable[[], Any], seconds: float = 10) -> bool:
    """Return whether a condition comes true within some seconds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def mapped_files() -> set[str]:
    """Return the shared memory and temporary files that this process maps, of whatever name."""
    maps = Path("/proc/self/maps")
    lines = maps.read_text().splitlines() if maps.exists() else []
    places = {line.split(maxsplit=5)[5] for line in lines if len(line.split(maxsplit=5)) == 6}
    return {place for place in places if place.startswith(("/dev/shm", "/memfd:", "/tmp"))}


def children() -> set[str]:
    """Return the child processes of this one, but for those that `multiprocessing` keeps for the next pool."""
    found = set()
    for path in Path("/proc/self/task").glob("*/children"):
        try:
            pids = path.read_text().split()
        except OSError:  # of a thread that has just ended
            continue
        for pid in pids:
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if "multiprocessing.forkserver" not in command and "resource_tracker" not in command:
                found.add(f"process {pid}: {command}")
    return found


def left() -> set[str]:
    """Return what this process holds: its threads, processes, and shared memory."""
    threads = {f"thread {thread.ident}: {thread.name}" for thread in threading.enumerate()}
    shared = Path("/dev/shm")
    names = {f"/dev/shm/{path.name}" for path in shared.iterdir()} if shared.is_dir() else set()
    return threads | children() | mapped_files() | {name for name in names if str(os.getpid()) in name}


@contextmanager
def leaving_nothing() -> Iterator[None]:
    """Check that threads, processes and shared memory are those of before, at the end of a block."""
    before = left()
    yield
    gc.collect()
    assert eventually(lambda: not left() - before), f"left behind: {sorted(left() - before)}"


def alive(pid: int) -> bool:
    """Return whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def of_session(session: int) -> list[str]:
    """Return the processes of a session that still run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append((stat.parent / "cmdline").read_text().replace("\0", " ") or stat.parent.name)
        except OSError:
            continue
    return found


def run_program(arguments: list[str], folder: Path, stdin: str | None = None) -> str:
    """Return what a program prints; warnings are errors, and it must leave no process or shared memory behind."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    command = [sys.executable, "-X", "dev", "-W", "error", *arguments]
    done = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, error = done.communicate(stdin, timeout=60)
    except BaseException:
        os.killpg(done.pid, signal.SIGKILL)
        done.communicate()
        raise
    assert done.returncode == 0, error
    assert error == ""
    assert eventually(lambda: not of_session(done.pid), 5), of_session(done.pid)
    return out


# comparing


def assert_same(got: Any, expected: Any, where: str = "batch") -> None:
    """Check that two batches agree bit for bit: in structure, names, types, shapes and values."""
    assert type(got) is type(expected), where
    if isinstance(expected, dict):
        assert list(got) == list(expected), where
        for key in expected:
            assert_same(got[key], expected[key], f"{where}[{key!r}]")
    elif isinstance(expected, (tuple, list)):
        assert len(got) == len(expected), where
        for i, part in enumerate(expected):
            assert_same(got[i], part, f"{where}[{i}]")
    elif isinstance(expected, np.ndarray):
        assert got.dtype == expected.dtype, where
        assert got.shape == expected.shape, where
        bits = np.ndarray.tolist if expected.dtype.hasobject else np.ndarray.tobytes
        assert bits(got) == bits(expected), where
    else:
        assert got == expected, where


def assert_same_pass(
    par: AbstractDataSource, ds: AbstractDataSource, size: int, order: str = "in order", **keywords: Any
) -> list[Any]:
    """Check that two sources give the same batches (of endless ones the first), and leave a generator alike."""
    shuffles = [ORDERS[order]() for _ in range(2)]
    expected = list(islice(ds.batch_iterator(size, shuffle=shuffles[0], **keywords), MOST))
    batches: Any = par.batch_iterator(size, shuffle=shuffles[1], **keywords)
    got = list(islice(batches, MOST))
    assert_same(got, expected, f"{order}, batch_size={size}, {keywords}: batches")
    assert batches.position == len(expected)
    if len(expected) < MOST:
        assert next(batches, None) is None
        assert batches.position == len(expected)
        if order in ("RandomState", "Generator"):
            assert fingerprint(shuffles[0]) == fingerprint(shuffles[1])
    batches.close()
    return expected


# trees of sources


class OddsFirst(RandomAccessDataSource):
    """Samples i -> (i,) in an order of the class's own."""

    def samples_by_indices_nomapping(self, indices: Any) -> Any:
        return (indices * 1,)

    def batch_indices_iterator(self, batch_size: int, shuffle: Any = None, **keywords: Any) -> Iterator[Any]:
        order = np.r_[1 : self.num_samples() : 2, 0 : self.num_samples() : 2]
        if shuffle is not None:
            shuffle.shuffle(order)
        for begin in range(0, len(order), batch_size):
            yield order[begin : begin + batch_size]


class Fractions(RandomAccessDataSource):
    """Samples i -> i divided by the number of samples, which the sampler knows."""

    def samples_by_indices_nomapping(self, indices: Any) -> Any:
        return indices / self.num_samples(), indices % self.sampler.length


class Pair(NamedTuple):
    """A batch of two columns with names."""

    x: Any
    y: Any


class Noting(users.Backwards):
    """Notes the batches that are drawn, in the class, and the end."""

    seen: ClassVar[list[int]] = []
    ended: ClassVar[threading.Event] = threading.Event()

    def in_order_indices_batch_iterator(self, batch_size: int) -> Iterator[Any]:
        try:
            for i, batch in enumerate(super().in_order_indices_batch_iterator(batch_size)):
                self.seen.append(i)
                yield batch
        finally:
            self.ended.set()


def noise(x: Any, rng: np.random.Generator) -> Any:
    """Put random numbers beside each sample of a batch."""
    return x, rng.integers(2**60, size=len(x))


def noise_of_sample(x: Any, rng: np.random.Generator) -> Any:
    """Put a random number beside a sample."""
    return x, rng.integers(2**60)


def nested(x: Any, y: Any) -> Any:
    """Return a batch of tuples in a tuple, of other types than the columns."""
    return (x.astype(np.float16), (y, x > 3)), y[:, None] * 1j


def flipped(a: Any, **others: Any) -> dict[str, Any]:
    """Return a dict of other names, some of them views of others."""
    return {"flipped": a[::-1], "a": a, **others}


def _with_a_closure() -> AbstractDataSource:
    offset = np.arange(3)
    return numbers(13).map(lambda x: (x[:, None] + offset,))


def _beside_another() -> AbstractDataSource:
    ds, other = numbers(13), columns(9, indices=[4, 0, 7])
    return ds.map(lambda x: (x / ds.num_samples(), *other.samples_by_indices(x % 3)))


TREES: dict[str, Callable[[], AbstractDataSource]] = {
    "stratified": lambda: numbers(29, sampler=StratifiedSampler(np.arange(29) % 3)),
    "block shuffle": lambda: numbers(29, sampler=BlockShuffleSampler(29, block_size=4, window=3)),
    "buckets": lambda: numbers(29, sampler=BucketSampler(np.arange(29) * 37 % 41 + 1, max_tokens=160)),
    "dict, with indices": lambda: named(12, "b", "a", include_indices=True),
    "own order": lambda: OddsFirst(9),
    "own, of its length": lambda: Fractions(13),
    "mix": lambda: MixDataSource([numbers(20), numbers(13, 100)], [2, 1]),
    "mix, all": lambda: MixDataSource([numbers(9), numbers(13, 100)], [1, 3], stop="all"),
    "mapped, nested": lambda: ArrayDataSource([np.arange(17), np.arange(17.0)]).map(nested),
    "mapped, dicts": lambda: named(17, "a", "b").map(flipped),
    "mapped, lambda": lambda: numbers(13).map(lambda x: (x * 2, [*x])),
    "mapped, closure": _with_a_closure,
    "mapped, beside another": _beside_another,
    "mapped, pairs": lambda: numbers(13).map(lambda x: Pair(x, x * 2)),
    "mapped, by sample": lambda: columns(13).map(lambda x, y, z: (x.sum(), str(y) + z), per_sample=True),
    "mapped, views": lambda: columns(13).map(lambda x, y, z: (x[:, 1:3, ::2], x, y[::-1])),
    "mapped, one array": lambda: numbers(13).map(lambda x: x + 0.5),
}
# a map with `rng` needs a seed to go by: shuffle's, or its own
CHANCE: dict[str, Callable[[], AbstractDataSource]] = {
    "by batch": lambda: numbers(23).map(noise),
    "by sample": lambda: numbers(23).map(noise_of_sample, per_sample=True),
    "own seed": lambda: numbers(23).map(noise, seed=3),
    "two": lambda: numbers(23).map(noise).map(lambda x, y, rng: (x, y, rng.random(len(x)))),
    "composite": lambda: CompositeDataSource([numbers(23).map(noise), numbers(20).map(noise)], flatten=False),
    "choice": lambda: ChoiceDataSource([numbers(23).map(noise), numbers(9).map(noise)], stratified=True),
    "mix": lambda: MixDataSource([numbers(9).map(noise), numbers(9).map(noise_of_sample, per_sample=True)], [2, 1]),
    "twice, weighted": lambda: CompositeDataSource(
        [numbers(9, repeats=2).map(noise), numbers(9, sampler=WeightedSampler(np.arange(9.0))).map(noise)]
    ),
}
# samplers that want batches of some size, it, and one that will not do
SIZED: dict[str, tuple[Callable[[], AbstractDataSource], int, int]] = {
    "balanced": (lambda: numbers(30, sampler=BalancedBatchSampler(np.arange(30) % 5, 3, 2)), 6, 5),
    "groups": (lambda: numbers(29, sampler=GroupSampler(np.arange(29) // 5)), 7, 4),
}


# tasks


class PlainError(ValueError):
    """An error of the user's, like any other."""


class OddError(Exception):
    """An error of the user's that the default way of pickling errors cannot rebuild."""

    def __init__(self, code: int, *, reason: str) -> None:
        super().__init__(f"{reason} ({code})")
        self.code = code


class LockedError(RuntimeError):
    """An error of the user's that cannot be pickled."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


class HomelessError(Exception):
    """An error of the user's that can be rebuilt in the process that raised it only."""

    def __reduce__(self) -> Any:
        return type(self), self.args, {"home": os.getpid()}

    def __setstate__(self, state: Any) -> None:
        if os.getpid() != state["home"]:
            raise RuntimeError("far from home")


class Homeless:
    """A result of the user's of the same kind."""

    def __init__(self) -> None:
        self.home = os.getpid()

    __setstate__ = HomelessError.__setstate__


def echo(x: Any) -> Any:
    return x


def add(x: Any, y: Any) -> Any:
    return x + y


def slow(*batch: Any) -> Any:
    """Return a batch as it is, after a time that is worth the hand-over to another thread."""
    time.sleep(0.001)
    return batch


def late(x: int) -> int:
    """Return a number; small ones take longer."""
    time.sleep(0.002 * (x % 5 == 0) + 0.0003 * (7 - x % 7))
    return x


def fail_with(kind: str) -> Any:
    """Raise an error of some kind."""
    if kind == "odd":
        raise OddError(7, reason="odd")
    if kind == "chained":
        try:
            raise KeyError("the inner one")
        except KeyError as error:
            raise PlainError("the outer one") from error
    if kind == "locked":
        raise LockedError("locked")
    if kind == "system exit":
        sys.exit(3)
    if kind == "homeless":
        raise HomelessError("homeless")
    raise {"plain": PlainError, "zero": ZeroDivisionError, "stop": StopIteration, "key": KeyError}[kind]("text")


def chance() -> tuple[int, float, float]:
    """Return the worker's number, and draws from its global generators."""
    time.sleep(0.01)
    return os.getpid(), random.random(), float(np.random.random_sample())
