"""A soak of the worker pools: kills, careless consumers, every batch checked; `python -m tests.soak --seconds 60`."""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import gc
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from batchup import work_pool
from batchup.data_source import AbstractDataSource, ArrayDataSource, ChoiceDataSource, CompositeDataSource

from .helpers import leaves

HOUSE = Path(__file__).parent.parent
MARK = "BATCHUP_TEST_MARK"  # the processes of a program are those that have its mark in their environment
SHM = Path("/dev/shm")
MIB = 2**20

CONSUMERS = 3
WARM_UP = 0.25  # the share of the time after which everything has to be level
SIGNALS = [signal.SIGKILL] * 6 + [signal.SIGSEGV, signal.SIGBUS, signal.SIGTERM, signal.SIGABRT]
KEPT_BYTES = 24 * MIB  # what a consumer keeps at most
BUDGET_BYTES = 24 * MIB  # of a process pool: less than the consumers want to keep
SLACK_BYTES = 64 * MIB  # by which private memory may be above what it was after the warm-up
STUCK = 120.0  # seconds without an end after which a round hangs


# What there is of a program: processes, files, descriptors, memory.


def marked(mark: str) -> list[int]:
    """Return the pids of the processes alive that carry a mark in their environment."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
    return found


def kill_all(mark: str) -> None:
    """Kill the processes that carry a mark."""
    for pid in marked(mark):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def command(pid: int) -> str:
    """Return the command line of a process."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return "gone"


def open_files(pid: int | str = "self") -> dict[int, str]:
    """Return the file descriptors of a process, with what they lead to."""
    found = {}
    with suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                found[int(name)] = os.readlink(f"/proc/{pid}/fd/{name}")
    if pid in ("self", os.getpid()):  # one of them was that of the listing itself
        found = {fd: target for fd, target in found.items() if not target.endswith(f"/proc/{os.getpid()}/fd")}
    return found


def private_bytes(pid: int | str = "self") -> int:
    """Return how much memory a process has that no file and no other process stands behind."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon"):
                return int(line.split()[1]) * 1024
    return 0


def mappings(pid: int | str = "self") -> Iterator[tuple[int, int, str, str]]:
    """Yield (begin, end, permissions, path) of the memory mappings of a process."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, permissions, _, _, _, *path = line.split(maxsplit=5)
            begin, _, end = span.partition("-")
            yield int(begin, 16), int(end, 16), permissions, path[0] if path else ""


def shared_bytes() -> int:
    """Return how much memory of this process is mapped to be shared and written."""
    return sum(end - begin for begin, end, permissions, _ in mappings() if permissions.startswith("rw-s"))


def orphans(before: Iterable[str]) -> list[str]:
    """Return what lies in /dev/shm, was not there before, no process uses, and a pool may have made.

    Nothing tells who made a file; so those are left out whose names show that others did.
    """
    names = sorted({*os.listdir(SHM)} - {*before}) if SHM.is_dir() else []
    names = [name for name in names if name.startswith(("batchup", "pymp-", "tmp"))]
    if not names:
        return []
    used: set[str] = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            used.update(open_files(folder.name).values())
            used.update(path for *_, path in mappings(folder.name))
    return [name for name in names if (SHM / name).exists() and str(SHM / name) not in used]


def wait_for(what: Callable[[], Any], seconds: float) -> bool:
    """Wait until something is true; return whether it came true in time."""
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


# Sources and checksums.


def noisy(x: Any, y: Any, rng: np.random.Generator) -> Any:
    """Put noise on a batch."""
    return x + rng.standard_normal(x.shape[1:]), y, rng.integers(2**60, size=len(x))


def crop(x: Any, y: Any, rng: np.random.Generator) -> Any:
    """Cut a window out of a sample, as an augmentation does."""
    begin = int(rng.integers(0, x.shape[0] // 2))
    return x[begin : begin + x.shape[0] // 2], y


def cut(x: Any, y: Any, rng: np.random.Generator) -> Any:
    """Cut samples to a length that differs from batch to batch."""
    return x[:, : int(rng.integers(1, x.shape[1]))], y


def slowly(x: Any, y: Any) -> Any:
    """Take a while over a batch."""
    time.sleep(0.004)
    return x, y


def sources(folder: Path) -> dict[str, Callable[[], AbstractDataSource]]:
    """Return what makes the sources; those of memory maps lie in the folder."""
    n = 1500
    x = np.random.default_rng(1).standard_normal((n, 250)).astype(np.float32)
    y = np.arange(n)
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)

    def memory(**keywords: Any) -> ArrayDataSource:
        return ArrayDataSource([x, y], **keywords)

    def mapped(**keywords: Any) -> ArrayDataSource:
        columns: list[Any] = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in "xy"]
        return ArrayDataSource(columns, **keywords)

    return {
        "memory": lambda: memory(include_indices=True),
        "file": mapped,
        "dict": lambda: ArrayDataSource({"x": x, "name": np.array([f"sample {i}" for i in range(n)])}),
        "subset": lambda: memory(indices=np.arange(0, n, 3)[::-1].copy(), repeats=2),
        "noisy": lambda: mapped().map(noisy, seed=1),
        "cut": lambda: memory().map(cut, seed=2),
        "crop": lambda: memory(indices=np.arange(400)).map(crop, seed=3, per_sample=True),
        "slow": lambda: mapped().map(slowly),
        "composite": lambda: CompositeDataSource(
            [memory().map(noisy, seed=4), mapped(indices=np.arange(700), repeats=-1)]
        ),
        "choice": lambda: ChoiceDataSource([memory(), mapped(indices=np.arange(500))], stratified=True),
    }


def checksum(batch: Any) -> int:
    """Return a checksum over shapes, types and bytes of a batch."""
    total = 0
    for array in leaves(batch):
        total = zlib.crc32(repr((array.shape, array.dtype.str)).encode(), total)
        total = zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8), total)
    return total


def size(batch: Any) -> int:
    """Return the bytes of a batch."""
    return sum(array.nbytes for array in leaves(batch))


def views(batch: Any) -> list[Any]:
    """Return views of the columns of a batch, of several kinds, that leave nothing else to hold the batch by."""
    kinds: list[Callable[[Any], Any]] = [
        lambda array: array[::-1],
        lambda array: array[len(array) // 2 :].T,
        lambda array: memoryview(array.reshape(-1).view(np.uint8)),
        lambda array: np.frombuffer(memoryview(array.reshape(-1).view(np.uint8)), np.uint8)[1:],
    ]
    return [kinds[i % len(kinds)](array) for i, array in enumerate(leaves(batch))]


# The soak itself.


class BreachError(Exception):
    """Something that must never happen."""


class Soak:
    """Pools, consumers that check every batch, and one who kills; `run` gives the breaches."""

    def __init__(self, seconds: float, seed: int, folder: Path, say: Callable[[str], None]) -> None:
        self.seconds = seconds
        self.seed = seed
        self.say = say
        self.make = sources(folder)
        self.breaches: list[str] = []
        self.epochs = self.batches = self.kills = self.pools = 0
        self.lock = threading.Lock()
        self.stop = threading.Event()
        self.killable: list[Any] = []
        self.begin = time.monotonic()

    def run(self) -> list[str]:
        """Run rounds until the time is up, and compare what there is after each with what there was early on."""
        rounds = max(5, min(60, round(self.seconds / 5)))
        before: dict[str, int] | None = None
        with process_pool(2) as processes, work_pool.WorkerThreadPool(2) as threads:
            self.killable.append(processes)
            consumers = [Consumer(self, number, [processes, threads]) for number in range(CONSUMERS)]
            for consumer in consumers:
                consumer.warm_up()
            for number in range(rounds):
                share = (self.seconds - self.elapsed) / (rounds - number)
                self.round(consumers, max(share, 0.2), kills=number % 4 != 3)
                levels = self.levels(processes)
                self.say(self.line(levels))
                if before is None:
                    before = levels if number + 1 >= WARM_UP * rounds else None
                else:
                    self.compare(levels, before)
                if self.breaches:
                    break
            self.killable.clear()
        return self.breaches

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.begin

    def round(self, consumers: list[Consumer], seconds: float, kills: bool) -> None:
        """Let all work and kill for a while, then let them finish what they began and drop what they keep."""
        self.stop.clear()
        jobs = [consumer.work for consumer in consumers] + [self.kill] * kills + [self.pool_after_pool, self.stand_by]
        threads = [threading.Thread(target=self.guarded, args=(job,), name=job.__qualname__) for job in jobs]
        for thread in threads:
            thread.start()
        self.stop.wait(seconds)
        self.stop.set()
        end = time.monotonic() + STUCK
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        stuck = [thread.name for thread in threads if thread.is_alive()]
        if stuck:
            faulthandler.dump_traceback()
            self.say(
                "\n".join([*self.breaches, f"BREACH still at work {STUCK:.0f} s after the end of a round: {stuck}"])
            )
            os._exit(1)  # whatever there is to clean up may hang as well

    def guarded(self, job: Callable[[], None]) -> None:
        """Do a job; whatever it raises is a breach, and ends the round."""
        try:
            job()
        except BaseException:  # noqa: BLE001
            self.breaches.append(f"{job.__qualname__} raised\n{traceback.format_exc()}")
            self.stop.set()

    def note(self, failure: Any) -> None:
        """Take note of an exception that nobody could catch: in a thread of the package, or while something ends."""
        where = getattr(failure, "thread", None) or getattr(failure, "object", None)
        told = traceback.format_exception(failure.exc_type, failure.exc_value, failure.exc_traceback)
        self.breaches.append(f"{where!r} raised\n{''.join(told)}")
        self.stop.set()

    def kill(self) -> None:
        """Kill a worker every 50 to 500 ms."""
        rng = random.Random(self.seed * 1000 + self.kills)
        while not self.stop.wait(rng.uniform(0.05, 0.5)):
            with self.lock:
                pool = rng.choice(self.killable)
            with suppress(ValueError, ProcessLookupError):  # it was closed, or the worker is gone already
                os.kill(rng.choice(pool.pids), rng.choice(SIGNALS))
                self.kills += 1

    def pool_after_pool(self) -> None:
        """Make pools, use them for an epoch or a stream of tasks, and close them or leave that to others."""
        consumer = Consumer(self, 1000 + self.pools, [])
        while not self.stop.is_set():
            pool = process_pool(1 + self.pools % 2) if self.pools % 3 else work_pool.WorkerThreadPool(2)
            self.pools += 1
            if isinstance(pool, work_pool.WorkerProcessPool):
                with self.lock:
                    self.killable.append(pool)
            consumer.pools = [pool]
            consumer.step()
            with self.lock:
                if pool in self.killable:
                    self.killable.remove(pool)
            consumer.forget()
            if self.pools % 4:
                pool.close()
            del pool
            self.stop.wait(0.3)

    def stand_by(self) -> None:
        """Use files and sockets that are no pool's business, whatever descriptors are free again."""
        said = os.urandom(16)
        while not self.stop.wait(0.0005):
            ours, theirs = socket.socketpair()
            with ours, theirs, tempfile.TemporaryFile(buffering=0) as file:
                file.write(said)
                ours.sendall(said)
                self.stop.wait(0.001)
                theirs.sendall(theirs.recv(len(said) + 1))
                file.seek(0)
                heard, read = ours.recv(len(said) + 1), file.read()
                if heard != said or read != said:
                    raise BreachError(f"a socket and a file were told {said!r}, and say {heard!r} and {read!r}")

    def levels(self, processes: Any) -> dict[str, int]:
        """Return what there is of everything that must stay level, when nobody works."""
        gc.collect()
        for _ in range(4):  # what was dropped is forgotten with the next task
            list(processes.work_stream([(abs, (0,))] * 4).retrieve_iter())
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
        pids = processes.pids
        others = [pid for pid in marked(os.environ.get(MARK, "")) if pid != os.getpid()]
        return {
            "descriptors": len(open_files()),
            "worker descriptors": max(len(open_files(pid)) for pid in pids),
            "private bytes": private_bytes(),
            "worker private bytes": max(private_bytes(pid) for pid in pids),
            "shared bytes": shared_bytes(),
            "processes": len(others),
            "threads": threading.active_count(),
        }

    def compare(self, levels: dict[str, int], before: dict[str, int]) -> None:
        """Note what has grown."""
        slack = {
            "private bytes": SLACK_BYTES,
            "worker private bytes": SLACK_BYTES,
            "shared bytes": BUDGET_BYTES,
            "worker descriptors": 2 * CONSUMERS * len(self.make),  # a worker that has just begun knows few sources
        }
        for name, level in levels.items():
            if level > before[name] + slack.get(name, 0):
                self.breaches.append(f"{name}: {before[name]} after the warm-up, now {level}")
                if name == "descriptors":
                    self.breaches.append(f"open: {open_files()}")

    def line(self, levels: dict[str, int]) -> str:
        """Return how far the soak has come."""
        return (
            f"{self.elapsed:7.1f} s  {self.epochs} epochs  {self.batches} batches  {self.kills} kills  "
            f"{self.pools} pools  private {levels['private bytes'] / MIB:.0f} MiB "
            f"(workers {levels['worker private bytes'] / MIB:.0f})  shared {levels['shared bytes'] / MIB:.0f} MiB  "
            f"fds {levels['descriptors']} (workers {levels['worker descriptors']})  "
            f"processes {levels['processes']}  threads {levels['threads']}"
        )


def process_pool(processes: int) -> Any:
    """Return a pool whose tasks may be killed often: chance alone must not end the soak."""
    return work_pool.WorkerProcessPool(processes, max_restarts=50, memory=BUDGET_BYTES)


class Consumer:
    """One who takes batches from pools, checks them, and keeps, views, writes into or drops them."""

    def __init__(self, soak: Soak, number: int, pools: list[Any]) -> None:
        self.soak = soak
        self.pools = pools
        self.rng = random.Random(soak.seed * 1000 + number)
        self.serial = {name: make() for name, make in soak.make.items()}
        self.parallel: dict[tuple[int, str], Any] = {}
        self.kept: deque[tuple[Any, int, int]] = deque()

    def work(self) -> None:
        """Take steps until the round ends."""
        while not self.soak.stop.is_set():
            self.step()
        self.drop()

    def warm_up(self) -> None:
        """Have every source in every pool once."""
        for pool in self.pools:
            for name in self.serial:
                self.epoch(pool, name, 1, 64, new=0)
        self.drop()

    def step(self) -> None:
        """Do one thing with one pool."""
        pool = self.rng.choice(self.pools)
        if self.rng.random() < 0.1:
            self.stream(pool)
        else:
            name = self.rng.choice([*self.serial])
            size = self.rng.choice([16, 64, 150, 400]) if name != "slow" else 64
            if name == "subset":
                size = self.rng.choice([1, size])
            self.epoch(pool, name, self.rng.choice([None, 7, 8, "generator"]), size)

    def forget(self) -> None:
        """Let go of everything that belongs to pools."""
        self.drop()
        self.parallel.clear()

    def source(self, pool: Any, name: str, new: float) -> Any:
        """Return the parallel source: mostly the same again, now and then a new one that nobody keeps."""
        prefetch = self.rng.choice([1, 3, 20, "1MiB"])
        if self.rng.random() < new:
            return pool.parallel_data_source(self.soak.make[name](), prefetch)
        where = (self.pools.index(pool), name)
        if where not in self.parallel:
            self.parallel[where] = pool.parallel_data_source(self.soak.make[name](), prefetch)
        return self.parallel[where]

    def epoch(self, pool: Any, name: str, shuffle: Any, batch_size: int, new: float = 0.1) -> None:
        """Go through an epoch, or a part of one, and check every batch."""
        rng = self.rng
        seed = rng.randrange(2**32)
        epoch = rng.randrange(3) if shuffle in (7, 8) else 0

        def passed(ds: Any) -> Any:
            order = np.random.RandomState(seed) if shuffle == "generator" else shuffle
            return ds.batch_iterator(batch_size, shuffle=order, epoch=epoch)

        expected = [checksum(batch) for batch in passed(self.serial[name])]
        last = rng.choice([None, None, None, rng.randrange(len(expected))])
        batches = passed(self.source(pool, name, new))
        taken = 0
        for batch in batches:
            if taken == len(expected) or checksum(batch) != expected[taken]:
                raise BreachError(
                    f"batch {taken} of {len(expected)} of {name}, {batch_size=}, {shuffle=}, {epoch=} is wrong"
                )
            self.use(batch)
            del batch
            taken += 1
            if taken - 1 == last:
                break
        if last is None and taken != len(expected):
            raise BreachError(f"{taken} batches of {name}, not {len(expected)}")
        if rng.random() < 0.5:
            batches.close()
        with self.soak.lock:
            self.soak.epochs += 1
            self.soak.batches += taken

    def use(self, batch: Any) -> None:
        """Drop a batch; or write into it; or keep it, or views of it, and look later whether it is the same still."""
        what = self.rng.random()
        if what < 0.2:
            for array in leaves(batch):
                if array.dtype.kind in "fi":
                    array[...] = self.rng.randrange(100)
        if 0.1 < what < 0.3:
            self.keep(batch, checksum(batch), size(batch))
        elif 0.3 < what < 0.45:
            held = views(batch)
            self.keep(held, checksum([np.asarray(view) for view in held]), size(batch))
        if self.rng.random() < 0.02:
            time.sleep(self.rng.uniform(0, 0.1))

    def keep(self, held: Any, crc: int, nbytes: int) -> None:
        self.kept.append((held, crc, nbytes))
        while sum(nbytes for *_, nbytes in self.kept) > KEPT_BYTES:
            self.check_oldest()

    def check_oldest(self) -> None:
        held, crc, _ = self.kept.popleft()
        arrays = [np.asarray(view) for view in held] if isinstance(held, list) else held
        if checksum(arrays) != crc:
            raise BreachError("what was kept of a batch has changed")

    def drop(self) -> None:
        """Check and let go of all that was kept."""
        while self.kept:
            self.check_oldest()

    def stream(self, pool: Any) -> None:
        """Let a pool work on plain tasks."""
        numbers = [self.rng.randrange(10**6) for _ in range(self.rng.randrange(1, 200))]
        stream = pool.work_stream(((ones, (number % 1000, number)) for number in numbers), self.rng.choice([1, 5, 20]))
        for number, result in zip(numbers, stream.retrieve_iter(), strict=True):
            if result.shape != (number % 1000,) or (result != number).any():
                raise BreachError("the result of a task is wrong")


def ones(length: int, value: int) -> Any:
    """Return an array of one value; a task."""
    return np.full(length, value)


def inside(seconds: float, seed: int) -> None:
    """Soak, in a process that nothing else runs in."""

    def say(text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(seconds, seed, Path(folder), say)
        threading.excepthook = soak.note
        sys.unraisablehook = soak.note
        soak.run()
    for breach in soak.breaches:
        say(f"BREACH {breach}")
    say(f"seed {seed}: {soak.epochs} epochs, {soak.batches} batches, {soak.kills} kills, {soak.pools} further pools")
    sys.exit(1 if soak.breaches else 0)


@contextmanager
def fresh_folder() -> Iterator[Path]:
    """Make a folder with a short name: sockets lie in it."""
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def supervise(seconds: float, seed: int, outs: list[IO[str]]) -> int:
    """Soak in a process of its own, look what it leaves behind, and return the exit status."""

    def say(text: str) -> None:
        for out in outs:
            out.write(text)
            out.flush()

    mark = f"soak-{os.getpid()}-{time.time_ns()}"
    before = os.listdir(SHM) if SHM.is_dir() else []
    failed: list[str] = []
    with fresh_folder() as folder:
        code = f"from tests.soak import inside; inside({seconds}, {seed})"
        program = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code],
            cwd=HOUSE,
            env={**os.environ, MARK: mark, "TMPDIR": str(folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        watch = threading.Timer(seconds * 1.5 + 2 * STUCK, kill_all, [mark])
        watch.start()
        assert program.stdout is not None
        try:
            for line in program.stdout:
                say(line)
            status = program.wait()
            begin = time.monotonic()
            wait_for(lambda: not marked(mark), 10)
            failed += [f"process {pid} is left: {command(pid)}" for pid in marked(mark)]
            say(f"exit status {status}; all processes gone {time.monotonic() - begin:.2f} s later\n")
        finally:
            watch.cancel()
            kill_all(mark)
            program.wait()
            program.stdout.close()
        wait_for(lambda: not orphans(before), 5)
        failed += [f"/dev/shm/{name} is left" for name in orphans(before)]
        failed += [f"{path} is left" for path in folder.iterdir()]
    if status:
        failed.append(f"exit status {status}")
    say("".join(f"BREACH {text}\n" for text in failed) + ("FAILED\n" if failed else "passed\n"))
    return 1 if failed else 0


def main(arguments: list[str] | None = None) -> int:
    """Soak as the command line says; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log", type=Path, help="a file to write the lines into as well")
    options = parser.parse_args(arguments)
    if options.log is None:
        return supervise(options.seconds, options.seed, [sys.stdout])
    with options.log.open("w", encoding="utf-8") as log:
        log.write(time.strftime(f"%Y-%m-%d %H:%M:%S, {options.seconds:.0f} s, seed {options.seed}\n"))
        return supervise(options.seconds, options.seed, [sys.stdout, log])


if __name__ == "__main__":
    sys.exit(main())
