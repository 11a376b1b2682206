"""However a program with worker pools ends, it ends soon, and leaves no process, shared memory or file behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .soak import HOUSE, MARK, SHM, command, kill_all, marked, orphans, wait_for

pytestmark = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="looks for processes in /proc")

PROMISED = 2.0  # seconds until everything is gone, on a machine that has nothing else to do
SECONDS = 10.0  # what is waited for here, where it has
START = 60.0  # for what is no promise: until a program has begun to work

# Programs as users write them: nothing is guarded by `if __name__ == "__main__"`, functions are defined anywhere.
BEGINNING = """
import gc, os, sys, threading, time, warnings
import numpy as np
from batchup import loader, work_pool
from batchup.data_source import ArrayDataSource

HERE = os.path.dirname(os.path.abspath(__file__))

def say(word):
    with open(os.path.join(HERE, "said"), "a") as file:
        file.write(word + "\\n")

def slow(x, y):
    time.sleep(0.005)
    return x, y * 2

def forever(x, y):
    say("ready")
    time.sleep(1000)

def forever_in_c(x, y):  # holds the interpreter's lock, and handles no signal
    say("ready")
    return sum(__import__("itertools").repeat(1, 10**12))

class Source:
    rows = 1600
    def make(self, fn=slow):
        return ArrayDataSource([np.arange(self.rows), np.ones((self.rows, 512))]).map(fn)

source = Source().make()
doubled = ArrayDataSource([np.arange(1600), np.full((1600, 512), 2.0)])
serial = [(x.tolist(), float(y.sum())) for x, y in doubled.batch_iterator(64)]

def check(batches, begin=0):
    assert [(x.tolist(), float(y.sum())) for x, y in batches] == serial[begin:]
"""


class Program:
    """A program in a process of its own, in a session of its own, whose helpers can be told by a mark."""

    def __init__(self, folder: Path, text: str) -> None:
        self.mark = f"leftovers-{os.getpid()}-{time.time_ns()}"
        self.folder = folder
        self.temp = Path(tempfile.mkdtemp(prefix="left-"))  # its name is short: sockets may lie in it
        self.before = os.listdir(SHM) if SHM.is_dir() else []
        self.out, self.err = folder / "out", folder / "err"
        (folder / "program.py").write_text(BEGINNING + textwrap.dedent(text))
        with self.out.open("w") as out, self.err.open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", str(folder / "program.py")],
                cwd=folder,
                env={**os.environ, MARK: self.mark, "TMPDIR": str(self.temp), "PYTHONPATH": str(HOUSE)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self.ended = 0.0

    def said(self, word: str = "ready", times: int = 1) -> Program:
        """Wait until the program has said a word."""

        def heard() -> bool:
            file = self.folder / "said"
            return file.exists() and file.read_text().split().count(word) >= times

        wait_for(lambda: heard() or self.process.poll() is not None, START)
        assert heard(), f"exit status {self.process.poll()}: {self.err.read_text()}"
        return self

    def status(self, seconds: float = START) -> int:
        """Return the exit status, after waiting for it."""
        begin = time.monotonic()
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running after {seconds} s; {self.err.read_text()}")
        self.ended = time.monotonic()
        self.took = self.ended - begin
        return status

    def nothing_left(self, since: float | None = None, seconds: float = SECONDS) -> None:
        """Wait until everything is gone, and check that it is."""
        since = self.ended if since is None else since
        gone = wait_for(lambda: not marked(self.mark), seconds)
        took = time.monotonic() - since
        sys.stdout.write(f"all gone {took:.2f} s after the end{'' if took < PROMISED else ' (LATE)'}\n")
        assert gone, [command(pid) for pid in marked(self.mark)]
        wait_for(lambda: not orphans(self.before) and not [*self.temp.iterdir()], SECONDS)
        assert orphans(self.before) == []
        assert [*self.temp.iterdir()] == []

    def quiet(self) -> None:
        """Check that nothing was written to the streams."""
        assert self.err.read_text() == ""
        assert self.out.read_text() == ""

    def end(self) -> None:
        """Kill whatever there still is."""
        self.process.kill()
        self.process.wait()
        kill_all(self.mark)
        shutil.rmtree(self.temp, ignore_errors=True)


Begin = Callable[[str], Program]


@pytest.fixture(name="begin")
def beginner(tmp_path: Path) -> Iterator[Begin]:
    """Yield what begins a program; all its processes end with the test."""
    programs: list[Program] = []

    def start(text: str) -> Program:
        programs.append(Program(tmp_path, text))
        return programs[-1]

    yield start
    for program in programs:
        program.end()


METHODS = ["forkserver", "spawn", "fork"]
every_method = pytest.mark.parametrize("method", METHODS)
POOLS = {
    "threads": "work_pool.WorkerThreadPool(2)",
    "forkserver": "work_pool.WorkerProcessPool(2)",
    "spawn": "work_pool.WorkerProcessPool(2, start_method='spawn')",
    "fork": "work_pool.WorkerProcessPool(2, start_method='fork')",
}
every_pool = pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
two_pools = pytest.mark.parametrize("pool", [POOLS["threads"], POOLS["forkserver"]], ids=["threads", "processes"])

LOOP = """
    pool = POOL
    parallel = pool.parallel_data_source(source)
    while True:
        for number, batch in enumerate(parallel.batch_iterator(64)):
            if number == 3:
                say("ready")
"""


@every_method
def test_the_parent_is_killed(begin: Begin, method: str) -> None:
    """`kill -9` of the parent in mid-epoch: the workers and their helpers end soon, and nothing is left."""
    program = begin(LOOP.replace("POOL", POOLS[method])).said()
    assert len(marked(program.mark)) >= 3
    program.process.kill()
    assert program.status() == -signal.SIGKILL
    program.nothing_left()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP, signal.SIGSEGV])
def test_the_parent_dies_otherwise(begin: Begin, how: signal.Signals) -> None:
    """So it is with whatever else ends a parent without a word."""
    heeded = f"import signal\nsignal.signal({int(how)}, signal.SIG_DFL)\n"  # whoever runs the tests may have it ignored
    program = begin(heeded + textwrap.dedent(LOOP.replace("POOL", POOLS["forkserver"]))).said()
    program.process.send_signal(how)
    assert program.status() == -how
    program.nothing_left()


@pytest.mark.parametrize("stuck", ["forever", "forever_in_c"])
@pytest.mark.parametrize("method", ["forkserver", "fork"])
def test_the_parent_is_killed_while_workers_are_stuck(begin: Begin, method: str, stuck: str) -> None:
    """Workers that are deep in a user's function end with their parent as well."""
    program = begin(f"""
        pool = {POOLS[method]}
        for batch in pool.parallel_data_source(Source().make({stuck})).batch_iterator(64):
            pass
    """).said(times=2)
    program.process.kill()
    program.status()
    program.nothing_left()


def test_the_parent_is_killed_at_the_start(begin: Begin) -> None:
    """`kill -9` while the pool is being made."""
    program = begin("""
        say("ready")
        while True:
            pool = work_pool.WorkerProcessPool(2)
            parallel = pool.parallel_data_source(source)
            pool.close()
    """).said()
    time.sleep(0.3)
    program.process.kill()
    program.status()
    program.nothing_left()


def test_the_parent_is_killed_while_it_keeps_batches(begin: Begin) -> None:
    """`kill -9` when the shared memory is full, and files are in use."""
    program = begin("""
        pool = work_pool.WorkerProcessPool(2, memory="1MiB")
        kept = [*pool.parallel_data_source(source).batch_iterator(64)]
        rest = pool.parallel_data_source(source).batch_iterator(64)
        kept.append(next(rest))
        say("ready")
        time.sleep(1000)
    """).said()
    program.process.kill()
    program.status()
    program.nothing_left()


def interrupted(program: Program) -> None:
    """Press Ctrl-C, and check that the program ends by it, at once and with one traceback."""
    os.killpg(program.process.pid, signal.SIGINT)
    assert program.status(SECONDS) in (-signal.SIGINT, 130)
    program.nothing_left()
    error = program.err.read_text()
    assert error.rstrip().endswith("KeyboardInterrupt"), error
    assert error.count("Traceback") == 1, error
    assert "Exception ignored" not in error, error


@every_pool
def test_ctrl_c(begin: Begin, pool: str) -> None:
    """Ctrl-C in mid-epoch, which reaches every process of the group: only the main program says so."""
    interrupted(begin(LOOP.replace("POOL", pool)).said())


@pytest.mark.parametrize("pool", [POOLS["forkserver"], POOLS["fork"]], ids=["forkserver", "fork"])
@pytest.mark.parametrize("stuck", ["forever", "forever_in_c"])
def test_ctrl_c_while_workers_are_stuck(begin: Begin, pool: str, stuck: str) -> None:
    """Ctrl-C while the consumer waits for a batch that does not come."""
    program = begin(f"""
        pool = {pool}
        next(pool.parallel_data_source(Source().make({stuck})).batch_iterator(64))
    """)
    interrupted(program.said())


def test_ctrl_c_while_threads_are_stuck(begin: Begin) -> None:
    """Ctrl-C while a thread is in a user's function for ever."""
    program = begin("""
        pool = work_pool.WorkerThreadPool(2)
        next(pool.parallel_data_source(Source().make(forever)).batch_iterator(64))
    """)
    interrupted(program.said())


def test_ctrl_c_within_a_with_block(begin: Begin) -> None:
    """Ctrl-C where the pool and the iterator are context managers, and where the user goes on after it."""
    program = begin("""
        with work_pool.WorkerProcessPool(2) as pool:
            parallel = pool.parallel_data_source(source)
            try:
                while True:
                    with parallel.batch_iterator(64) as batches:
                        next(batches)
                        say("ready")
                        for batch in batches:
                            pass
            except KeyboardInterrupt:
                check(parallel.batch_iterator(64))
                say("again")
    """).said()
    os.killpg(program.process.pid, signal.SIGINT)
    program.said("again")
    assert program.status() == 0
    program.nothing_left()
    program.quiet()


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.3])
def test_ctrl_c_at_the_start(begin: Begin, delay: float) -> None:
    """Ctrl-C while pools are being made and closed."""
    program = begin("""
        say("ready")
        while True:
            pool = work_pool.WorkerProcessPool(2)
            parallel = pool.parallel_data_source(source)
            next(parallel.batch_iterator(64))
            pool.close()
    """).said()
    time.sleep(delay)
    os.killpg(program.process.pid, signal.SIGINT)
    assert program.status(SECONDS) in (-signal.SIGINT, 130)
    program.nothing_left()
    error = program.err.read_text()
    assert "KeyboardInterrupt" in error
    assert "Exception ignored" not in error, error


ENDS = {
    "at the end": ("check(parallel.batch_iterator(64)); it = None", 0, ""),
    "in mid-epoch": ("it = parallel.batch_iterator(64); next(it)", 0, ""),
    "before the first batch": ("it = parallel.batch_iterator(64)", 0, ""),
    "a pool that nobody used": ("it = None", 0, ""),
    "holding batches": ("it = parallel.batch_iterator(64); kept = [next(it), next(it)]", 0, ""),
    "with an unread stream": ("it = pool.work_stream(((slow, (1, 2)) for _ in range(10**9)))", 0, ""),
    "an exception": (
        "for batch in parallel.batch_iterator(64): raise RuntimeError('my own')",
        1,
        "RuntimeError: my own",
    ),
    "sys.exit": ("for batch in parallel.batch_iterator(64): sys.exit(5)", 5, ""),
    "os._exit": ("for batch in parallel.batch_iterator(64): os._exit(6)", 6, ""),
    "iterator collected": ("it = parallel.batch_iterator(64); next(it); del it; gc.collect()", 0, ""),
    "source collected": ("it = parallel.batch_iterator(64); next(it); del parallel; gc.collect(); next(it)", 0, ""),
    "pool collected": ("it = parallel.batch_iterator(64); next(it); del pool; gc.collect(); check(it, 1)", 0, ""),
    "all collected": ("it = parallel.batch_iterator(64); next(it); del it, parallel, pool; gc.collect()", 0, ""),
    "a circle": ("it = parallel.batch_iterator(64); next(it); c = [it, pool]; c.append(c); del c, it, pool", 0, ""),
    "closed": ("it = parallel.batch_iterator(64); next(it); pool.close(); pool.close()", 0, ""),
    "held by a module": ("sys.mine = parallel.batch_iterator(64); next(sys.mine)", 0, ""),
}


@pytest.mark.parametrize("end", ENDS)
@two_pools
def test_the_end_of_a_program(begin: Begin, pool: str, end: str) -> None:
    """A program may end anywhere, with or without close(): it ends at once, quietly, and nothing is left."""
    code, status, message = ENDS[end]
    program = begin(f"pool = {pool}\nparallel = pool.parallel_data_source(source)\nsay('ready')\n{code}\n").said()
    assert program.status() == status, program.err.read_text()
    program.nothing_left()
    error = program.err.read_text()
    if message:
        assert error.count("Traceback") == 1, error
        assert error.rstrip().endswith(message)
    else:
        program.quiet()


@pytest.mark.parametrize("method", ["spawn", "fork"])
@pytest.mark.parametrize("end", ["in mid-epoch", "an exception", "os._exit"])
def test_the_end_of_a_program_otherwise_started(begin: Begin, method: str, end: str) -> None:
    """So it is with workers that are started in other ways."""
    test_the_end_of_a_program(begin, POOLS[method], end)


def test_the_end_with_a_loader(begin: Begin) -> None:
    """A loader with threads of its own is left in mid-epoch."""
    program = begin("""
        batches = loader(source, 64, workers=2)
        next(iter(batches))
        say("ready")
    """).said()
    assert program.status() == 0
    program.nothing_left()
    program.quiet()


@two_pools
def test_a_collected_iterator_leaves_the_pool_to_others(begin: Begin, pool: str) -> None:
    """Iterators that are dropped half way, again and again, cost nobody else anything."""
    program = begin(f"""
        pool = {pool}
        parallel = pool.parallel_data_source(source)
        for _ in range(20):
            it = parallel.batch_iterator(64)
            next(it)
            del it
        check(parallel.batch_iterator(64))
        held = [parallel.batch_iterator(64) for _ in range(10)]
        for it in held:
            next(it)
        del it, held
        check(parallel.batch_iterator(64))
    """)
    assert program.status() == 0, program.err.read_text()
    program.nothing_left()
    program.quiet()


@two_pools
def test_threads_stuck_in_user_code(begin: Begin, pool: str) -> None:
    """A function that never returns does not keep the interpreter from its end, closed pool or not."""
    for close in ("", "pool.close()"):
        program = begin(f"""
            pool = {pool}
            it = pool.parallel_data_source(Source().make(forever)).batch_iterator(64)
            while not os.path.exists(os.path.join(HERE, "said")):
                time.sleep(0.01)
            {close}
        """).said()
        assert program.status(SECONDS) == 0, program.err.read_text()
        sys.stdout.write(f"ended {program.took:.2f} s after it could\n")
        program.nothing_left()
        program.quiet()
        (program.folder / "said").unlink()


@two_pools
def test_consumers_in_daemon_threads(begin: Begin, pool: str) -> None:
    """The main thread ends while daemon threads take batches."""
    program = begin(f"""
        pool = {pool}
        parallel = pool.parallel_data_source(source)
        def consume():
            while True:
                for number, batch in enumerate(parallel.batch_iterator(64)):
                    if number == 3:
                        say("ready")
        for _ in range(3):
            threading.Thread(target=consume, daemon=True).start()
        while not os.path.exists(os.path.join(HERE, "said")):
            time.sleep(0.01)
    """).said()
    assert program.status(SECONDS) == 0, program.err.read_text()
    program.nothing_left()
    error = program.err.read_text()  # such threads may still be told that the pool was closed
    assert error.count("Traceback") == error.count("StateError: "), error
    assert "Exception ignored" not in error, error


@two_pools
def test_consumers_in_threads(begin: Begin, pool: str) -> None:
    """The main thread ends while other threads take batches to the end of their epochs."""
    program = begin(f"""
        pool = {pool}
        parallel = pool.parallel_data_source(source)
        def consume():
            for _ in range(3):
                check(parallel.batch_iterator(64))
            say("done")
        for _ in range(3):
            threading.Thread(target=consume).start()
    """)
    assert program.status() == 0, program.err.read_text()
    assert (program.folder / "said").read_text().split() == ["done"] * 3
    program.nothing_left()
    program.quiet()


FORKED = {
    "os._exit": "os._exit(0)",
    "sys.exit": "sys.exit(0)",
    "collects": "del it, parallel, pool; gc.collect(); os._exit(0)",
    "closes": "pool.close(); sys.exit(0)",
    "closes the iterator": "it.close(); sys.exit(0)",
}


@pytest.mark.parametrize("child", FORKED)
@pytest.mark.parametrize("pool", [POOLS[name] for name in ("threads", "forkserver", "fork")], ids=str)
def test_the_parent_forks(begin: Begin, pool: str, child: str) -> None:
    """A forked child that ends, in whatever way, while the pool is in use does not harm the pool."""
    program = begin(f"""
        pool = {pool}
        parallel = pool.parallel_data_source(source)
        it = parallel.batch_iterator(64)
        next(it)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # there are threads
            child = os.fork()
        if not child:
            {FORKED[child]}
        for _ in range(500):
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                break
            time.sleep(0.02)
        assert (pid, status) == (child, 0), (pid, status)
        check(it, 1)
        check(parallel.batch_iterator(64))
        if hasattr(pool, "pids"):
            assert len(pool.pids) == 2
    """)
    assert program.status() == 0, program.err.read_text()
    program.nothing_left()
    program.quiet()


@two_pools
def test_a_forked_child_cannot_use_the_pool(begin: Begin, pool: str) -> None:
    """In a forked child the pool is refused or works, but does not hang, nor does it disturb the parent."""
    program = begin(f"""
        pool = {pool}
        parallel = pool.parallel_data_source(source)
        it = parallel.batch_iterator(64)
        next(it)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if not child:
            try:
                check(parallel.batch_iterator(64))
            except (ValueError, RuntimeError) as error:
                say(type(error).__name__)
            os._exit(0)
        for _ in range(500):
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                break
            time.sleep(0.02)
        assert (pid, status) == (child, 0), (pid, status)
        check(it, 1)
    """)
    assert program.status() == 0, program.err.read_text()
    program.nothing_left()
    program.quiet()


def test_programs_without_a_file(begin: Begin) -> None:
    """Code that comes in by -c is not run again in the workers, and needs no guard."""
    code = BEGINNING.replace("__file__", repr("program.py")) + (
        "\npool = work_pool.WorkerProcessPool(2)"
        "\ncheck(pool.parallel_data_source(source).batch_iterator(64))\nsay('once')\n"
    )
    program = begin(f"""
        import subprocess
        done = subprocess.run([sys.executable, "-W", "error", "-c", {code!r}], cwd=HERE, capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done
    """)
    assert program.status() == 0, program.err.read_text()
    assert (program.folder / "said").read_text().split() == ["once"]
    program.nothing_left()


def test_the_helper_is_killed(begin: Begin) -> None:
    """`kill -9` of every helper that is no worker: the pool goes on or says so, and nothing is left."""
    program = begin("""
        import signal
        from batchup.errors import WorkerError
        pool = work_pool.WorkerProcessPool(2)
        parallel = pool.parallel_data_source(source)
        workers = pool.pids
        say("ready")
        while not os.path.exists(os.path.join(HERE, "killed")):
            time.sleep(0.01)
        try:
            check(parallel.batch_iterator(64))
            for pid in workers:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            check(parallel.batch_iterator(64))
        except WorkerError:
            say("error")
    """).said()
    workers = _descendants_deepest(program)
    for pid in set(marked(program.mark)) - workers - {program.process.pid}:
        os.kill(pid, signal.SIGKILL)
    (program.folder / "killed").touch()
    assert program.status() == 0, program.err.read_text()
    program.nothing_left()


def _descendants_deepest(program: Program) -> set[int]:
    """Return the processes of a program that have no children: its workers, and helpers that start none."""
    parents: dict[int, Any] = {}
    for pid in marked(program.mark):
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        parents[pid] = int(stat[1])
    return set(parents) - set(parents.values())
