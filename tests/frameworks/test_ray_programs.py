"""However a program with a Ray pool ends, nothing of it is left: no process, no file, no shared memory, no secret."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from ..pools import eventually, run_program
from ..test_pool_leftovers import Begin, beginner  # noqa: F401

START = """
import os
os.environ["HOME"] = HERE
os.environ.pop("RAY_AUTH_MODE", None), os.environ.pop("RAY_AUTH_TOKEN", None)
pool = work_pool.WorkerRayPool(2)
par = pool.parallel_data_source(source)
"""
ENDS = {
    "closed": "check(par.batch_iterator(64)); pool.close()",
    "left open": "check(par.batch_iterator(64))",
    "in mid-epoch": "batches = par.batch_iterator(64); next(batches)",
    "an exception": "next(par.batch_iterator(64)); raise ZeroDivisionError",
    "sys.exit": "next(par.batch_iterator(64)); sys.exit(3)",
    "batches outlive the pool": """
kept = list(par.batch_iterator(64))
pool.close()
check(kept)
for x, y in kept:
    y += 1
""",
    "one after another": """
pool.close()
for _ in range(2):
    with work_pool.WorkerRayPool(1) as pool, work_pool.WorkerRayPool(2) as other:
        check(pool.parallel_data_source(source).batch_iterator(64))
""",
}
OF_RAY = "\x1b[36m(pid="  # what its processes say, such as that they are ended before they have begun
WITHOUT = """
import sys
sys.modules["ray"] = None
from batchup.work_pool import WorkerRayPool
try:
    WorkerRayPool()
except ImportError as error:
    print(error)
"""


@pytest.mark.parametrize("end", ENDS)
def test_the_end_of_a_program(begin: Begin, end: str) -> None:
    """Whatever way a program ends, its cluster ends with it; the home is as it was."""
    program = begin(START + ENDS[end])
    status = program.status()
    assert status == {"an exception": 1, "sys.exit": 3}.get(end, 0), program.err.read_text()
    said = [line for line in program.err.read_text().splitlines() if not line.startswith(OF_RAY)]
    assert said == [] or said[-1] == "ZeroDivisionError"
    program.nothing_left()
    assert {path.name for path in program.folder.iterdir()} <= {"program.py", "out", "err", "said", "__pycache__"}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_program_that_is_killed(begin: Begin, number: int) -> None:
    """Nothing outlives a program that is killed in the middle of an epoch."""
    program = begin(START + "for x, y in par.batch_iterator(64):\n    say('ready')\n    time.sleep(0.2)").said()
    program.process.send_signal(number)
    program.status()
    program.nothing_left(seconds=40)  # Ray's own processes take some seconds to see it
    assert eventually(lambda: not users_of(program.temp)), users_of(program.temp)


def users_of(folder: Path) -> list[str]:
    """Return the processes that have something open in a folder; Ray's hide their environment."""
    found = []
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(link).startswith(f"{folder}/"):
                found.append((link.parent.parent / "cmdline").read_text())
        except OSError:
            continue
    return found


def test_ctrl_c(begin: Begin) -> None:
    """Ctrl-C is one KeyboardInterrupt, and leaves nothing."""
    program = begin(START + "for x, y in par.batch_iterator(64):\n    say('ready')\n    time.sleep(0.2)").said()
    os.killpg(program.process.pid, signal.SIGINT)
    assert program.status() != 0
    assert program.err.read_text().count("KeyboardInterrupt") == 1
    program.nothing_left()


def test_ctrl_c_at_the_start(begin: Begin) -> None:
    """So it is while the cluster starts."""
    program = begin(START)
    time.sleep(2.5)
    os.killpg(program.process.pid, signal.SIGINT)
    program.status()
    program.nothing_left()


def test_without_ray(tmp_path: Path) -> None:
    """Without Ray the error is the command that installs it."""
    said = run_program(["-c", WITHOUT], tmp_path)
    assert said == 'WorkerRayPool needs ray: pip install "batchup[ray]"\n'


def test_nothing_of_ray_is_loaded_before(tmp_path: Path) -> None:
    """Ray is imported when the first pool is made."""
    text = "import sys; from batchup.work_pool import WorkerRayPool; print('ray' in sys.modules)"
    assert run_program(["-c", text], tmp_path) == "False\n"


LISTENERS = """
import pathlib, json
def descends(pid):
    while pid > 1:
        if pid == os.getpid():
            return True
        try:
            pid = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return False
    return False
def sockets(pid):
    for link in pathlib.Path(f"/proc/{pid}/fd").glob("*"):
        try:
            yield os.readlink(link).removeprefix("socket:[").rstrip("]")
        except OSError:
            continue
next(par.batch_iterator(64))
pids = [int(path.name) for path in pathlib.Path("/proc").glob("[0-9]*")]
ours = {inode for pid in pids if descends(pid) for inode in sockets(pid)}
found = set()
for name in ("tcp", "tcp6"):
    for line in pathlib.Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and fields[9] in ours:
            found.add(fields[1].split(":")[0])
say(json.dumps(sorted(found)).replace(" ", ""))
"""
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


def test_a_cluster_of_ones_own_is_on_the_loopback(begin: Begin) -> None:
    """Nothing that a local cluster listens on can be reached from elsewhere."""
    program = begin(START + LISTENERS)
    assert program.status() == 0, program.err.read_text()
    found = set(json.loads((program.folder / "said").read_text()))
    assert found
    assert found <= LOOPBACK
    program.nothing_left()


FORKED = """
pool.work_stream([(pow, (2, 3))]).retrieve()
child = os.fork()
if child == 0:
    try:
        work_pool.WorkerRayPool(1)
    except ValueError as error:
        say("refused" if "forked" in str(error) else "otherwise")
    os._exit(0)
os.waitpid(child, 0)
pool.close()
"""


def test_a_forked_program(begin: Begin) -> None:
    """A copy that was forked off is told that it is in no cluster."""
    program = begin(START + FORKED)
    assert program.status() == 0, program.err.read_text()
    assert (program.folder / "said").read_text() == "refused\n"
    program.nothing_left()


SHUT_DOWN = """
import ray
batches = par.batch_iterator(64)
next(batches)
ray.shutdown()
for attempt in (lambda: list(batches), lambda: pool.parallel_data_source(source), lambda: undefined):
    try:
        attempt()
    except RuntimeError as error:
        say("told" if "has ended" in str(error) else str(error))
    except NameError:
        say("anew")
with work_pool.WorkerRayPool(1) as other:
    pool.close()
    check(other.parallel_data_source(source).batch_iterator(64))
"""


def test_a_connection_that_the_user_ends(begin: Begin) -> None:
    """After ray.shutdown() the pool is an error and starts nothing; another one can be made, which is its own."""
    program = begin(START + SHUT_DOWN)
    assert program.status() == 0, program.err.read_text()
    assert (program.folder / "said").read_text().split() == ["told", "told", "anew"]
    program.nothing_left()


JOINS = """
pool.close()
try:
    work_pool.WorkerRayPool(1, "127.0.0.1:6379")
except ValueError as error:
    say("secret" if "secret" in str(error) else str(error))
"""


def test_another_cluster_after_ones_own(begin: Begin) -> None:
    """A program that has had a cluster of its own is told at once that it cannot join another one."""
    program = begin(START + JOINS)
    assert program.status() == 0, program.err.read_text()
    assert (program.folder / "said").read_text() == "secret\n"
    program.nothing_left()
