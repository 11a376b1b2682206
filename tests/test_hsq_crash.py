"""Writers that are killed, interrupted, or run out of room at any point: the old file or the new one, never less."""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import mmap
import os
import random
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchup import hypersequence as hs
from batchup.errors import FileFormatError
from batchup.hypersequence import block as block_module

from .hsq import UNATTENDED, Arrays, child, given_up, holds, numbered, of, opens_with, write
from .kills import Killer, OutOfTheBlueError, Ran, in_a_fork, last_event, raising, room_for

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")

SIZE = 4  # rows in a batch
OLD, NEW = 22, 70  # rows of the old file (a tail of 2), and of the new one (of 'a': old ones included)
BLOCK = 64 * 3  # bytes: three batches of 16-byte rows, so that blocks are written again and again
MODES = ("w", "a")
PACKAGE = str(Path(block_module.__file__).parent)
TIMES = 3 if UNATTENDED else 1  # how often at each line
CALLS = ("pwrite", "fsync", "replace", "copy_file_range", "open", "remove", "close", "stat")


def rows_of(mode: str) -> Arrays:
    """Return what the new file will hold: the old rows and more, or other ones."""
    return numbered(NEW) if mode == "a" else numbered(NEW, 1000)


def work(path: Path, mode: str, note: Callable[[int], None] = lambda rows: None) -> None:
    """Write the new file by all calls there are, and note how many rows are on the disk for sure."""
    arrays = rows_of(mode)
    block_module.BLOCK = BLOCK
    with hs.HyperSequenceWriter(path, SIZE, mode=mode) as writer:
        writer.user_meta()["new"] = True
        done = writer.rows
        while done < NEW:
            for i in range(done, min(NEW, done + 7)):
                writer.append(*map(of, arrays.rows(i)))
            done = min(NEW, done + 7)
            writer.extend(*map(of, arrays.rows(slice(done, min(NEW, done + 18)))))
            done = min(NEW, done + 18)
            writer.flush()
            note(writer.rows // SIZE * SIZE)


def check(path: Path, mode: str, old: bytes, whole: int, may_be_finished: bool = True) -> str:
    """Check what a writer left that did not finish; return what it was."""
    now = path.read_bytes()
    if now != old:
        assert may_be_finished
        opens_with(path, rows_of(mode), SIZE)
        with contextlib.suppress(FileFormatError, FileNotFoundError):
            hs.HyperSequenceWriter.recover(path)
            raise AssertionError("there is something to recover beside a finished file")
        assert path.read_bytes() == now
        return "new"
    opens_with(path, numbered(OLD), SIZE)
    try:
        rows = hs.HyperSequenceWriter.recover(path)
    except (FileFormatError, FileNotFoundError):
        assert path.read_bytes() == old
        assert whole < (OLD if mode == "a" else SIZE), f"{whole} rows had been flushed"
        return "old"
    assert rows >= whole
    assert rows % SIZE == 0 or rows == NEW  # only its name was missing
    assert rows >= (OLD // SIZE * SIZE if mode == "a" else SIZE)
    if mode == "a":
        assert rows >= OLD
    opens_with(path, rows_of(mode).rows(slice(rows)), SIZE)
    assert {other.name for other in path.parent.iterdir()} == {path.name}
    return "recovered"


# in a process of its own, which forks a writer for each point


def main(folder: str, kind: str, points: str, seed: str) -> None:
    """Kill writers at points of a kind; print how often what was left."""
    here, rng, left = Path(folder), random.Random(int(seed)), {}
    killer = Killer(kind, PACKAGE, CALLS)
    old = write(here / "old", numbered(OLD), SIZE, {"old": True}).read_bytes()
    (here / "old").unlink()
    shared = mmap.mmap(-1, 4096)

    def note(rows: int) -> None:
        shared[:8] = rows.to_bytes(8, "little")

    def run(mode: str, count: int | None = None, delay: float | None = None) -> bool:
        place = here / "w"
        place.mkdir()
        path = place / "a.hsq"
        path.write_bytes(old)
        note(0)

        def job() -> None:
            if count is not None:
                killer.begin(count)
            work(path, mode, note)

        status = in_a_fork(job, delay)
        assert status in (0, signal.SIGKILL), f"{mode}, {kind}: ended with {status}"
        if status == 0:
            opens_with(path, rows_of(mode), SIZE)
            assert [other.name for other in place.iterdir()] == ["a.hsq"]
        else:
            found = check(path, mode, old, int.from_bytes(shared[:8], "little"))
            left[mode, found] = left.get((mode, found), 0) + 1
            work(path, "w")  # nothing is in the way of the next writer
            opens_with(path, rows_of("w"), SIZE)
        shutil.rmtree(place)
        return status == 0

    for mode in MODES:
        if kind == "delays":
            begin = time.perf_counter()
            for _ in range(3):
                run(mode)
            seconds = (time.perf_counter() - begin) / 3
            for _ in range(3 * int(points)):
                if sum(left.values()) < int(points) * (1 + (mode == "a")):
                    run(mode, delay=rng.uniform(0, seconds))
            continue
        last = last_event(partial(run, mode))
        for count in sorted(rng.sample(range(1, last + 1), min(last, int(points)))):
            run(mode, count)
    sys.stdout.write(json.dumps({f"{mode} {found}": count for (mode, found), count in left.items()}))


@pytest.mark.parametrize(("kind", "points"), [("delays", 40), ("lines", 60), ("calls", 45)])
def test_killed_anywhere(kind: str, points: int, tmp_path: Path) -> None:
    """After kill -9 at any time, line or system call, the name holds the old file or the new one, all of either."""
    code = "import sys; from tests.test_hsq_crash import main; main(*sys.argv[1:])"
    left = json.loads(child(code, tmp_path, kind, points, random.randrange(2**30), timeout=250))
    assert sum(left.values()) >= 2 * points
    if kind != "delays":
        assert {*left} >= {f"{mode} {found}" for mode in MODES for found in ("old", "recovered", "new")}


# exceptions at any line, in this process


def deleting(frame: Any) -> bool:
    """Return whether a finaliser runs, from which no exception comes through."""
    while frame is not None and frame.f_code.co_name != "__del__":
        frame = frame.f_back
    return frame is not None


def interrupted(path: Path, mode: str, count: int, go_on: bool) -> tuple[Ran, bool]:
    """Write, and raise at a line; return the lines that ran, and whether the file is unfinished."""
    came = False
    with raising(count, PACKAGE, deleting) as ran:
        try:
            if not go_on:
                work(path, mode)
            else:
                write_on(path, mode, OutOfTheBlueError)
        except (OutOfTheBlueError, FileFormatError):  # or it says that it cannot be finished any more
            came = True
        except Exception as error:
            raise AssertionError(f"{ran.place}, and then: {error!r}") from error
    return ran, came


def write_on(path: Path, mode: str, error: type[BaseException]) -> None:
    """Write the new file; after an interruption, go on behind the rows that the writer counts, and close."""
    arrays = rows_of(mode)
    with hs.HyperSequenceWriter(path, SIZE, mode=mode) as writer:
        while writer.rows < NEW:
            rows = arrays.rows(slice(writer.rows, writer.rows + 9))
            with contextlib.suppress(error):
                writer.extend(*map(of, rows))
                if writer.rows < NEW:
                    writer.append(*map(of, arrays.rows(writer.rows)))
                writer.flush()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("go_on", [False, True], ids=["leaves", "goes on"])
def test_exceptions_at_any_line(mode: str, go_on: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt at any line leaves whole, right rows, each once; the old file stands until the new one is whole."""
    monkeypatch.setattr(block_module, "BLOCK", BLOCK)
    old = write(tmp_path / "old", numbered(OLD), SIZE).read_bytes()
    (tmp_path / "old").unlink()
    path = tmp_path / "a.hsq"
    path.write_bytes(old)
    whole, _ = interrupted(path, mode, 10**9, go_on)
    bad: list[str] = []
    for point in whole.points(TIMES):
        for other in tmp_path.iterdir():
            other.unlink()
        path.write_bytes(old)
        place = "nowhere"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            try:
                ran, came = interrupted(path, mode, point, go_on)
                place = ran.place
                gc.collect(0)
                if came:
                    check(path, mode, old, 0)
                else:
                    opens_with(path, rows_of(mode), SIZE)
            except Exception as error:  # noqa: BLE001  all of them are wanted
                bad.append(
                    f"{place} (line event {point} of {len(whole.lines)}): {traceback.format_exception(error)[-2:]}"
                )
            finally:
                gc.collect(0)
    assert bad == [], "\n".join(bad[:20])


def test_a_real_interrupt(tmp_path: Path) -> None:
    """Ctrl-C while rows are written: the program ends by it, and what was whole can be recovered."""
    code = """if True:
        import os, signal, sys, threading, time
        from pathlib import Path
        from tests.hsq import numbered, of, opens_with
        from batchup import hypersequence as hs
        from batchup.hypersequence import writer as module
        module.BLOCK = 1000
        path, found = Path(sys.argv[1]) / "a.hsq", 0
        for trial in range(30):
            timer = threading.Timer(0.002 + trial * 0.0007, os.kill, (os.getpid(), signal.SIGINT))
            try:
                with hs.HyperSequenceWriter(path, 4) as writer:
                    arrays = numbered(200_000)
                    timer.start()
                    for start in range(0, 200_000, 100):
                        writer.extend(*map(of, arrays.rows(slice(start, start + 100))))
                        time.sleep(0)
            except KeyboardInterrupt:
                pass
            else:
                raise AssertionError("no interrupt")
            timer.join()
            try:
                rows = hs.HyperSequenceWriter.recover(path)
            except FileNotFoundError:
                continue
            found += 1
            opens_with(path, arrays.rows(slice(rows)), 4)
            path.unlink()
        print(found)
    """
    assert int(child(code, tmp_path, warn="ignore")) > 10


def test_no_room(tmp_path: Path) -> None:
    """When the disk is full at any point, an OSError says so; old file, recovery and the next writer are as ever."""
    code = "import sys; from tests.test_hsq_crash import full; full(sys.argv[1])"
    assert int(child(code, tmp_path)) >= 40


def full(folder: str) -> None:
    """Write under limits of the size of a file; print how often that failed."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    here, failed = Path(folder), 0
    old = write(here / "old", numbered(OLD), SIZE).read_bytes()
    (here / "old").unlink()
    path = here / "a.hsq"
    path.write_bytes(old)
    for mode in MODES:
        work(path, mode)
        size = path.stat().st_size
        path.write_bytes(old)
        for limit in sorted({*np.linspace(0, size, 25).astype(int).tolist(), size - 1}):
            for other in here.iterdir():
                other.unlink()
            path.write_bytes(old)
            noted: list[int] = [0]
            try:
                with room_for(limit):
                    work(path, mode, noted.append)
            except OSError as error:
                refused = error
                assert refused.errno == errno.EFBIG or "File too large" in str(refused), refused
                failed += 1
            else:
                assert limit >= size
            if path.read_bytes() == old:
                check(path, mode, old, noted[-1], may_be_finished=False)
            else:
                opens_with(path, rows_of(mode), SIZE)
            work(path, "w")
    sys.stdout.write(str(failed))


def test_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All is on the disk before the file takes its name, and so is the name before close returns: power may fail."""
    calls: list[tuple[str, Any]] = []

    def noted(name: str) -> Any:
        function = getattr(os, name)

        def call(*args: Any) -> Any:
            where = os.readlink(f"/proc/self/fd/{args[0]}") if name == "fsync" else tuple(map(os.fspath, args))
            calls.append((name, where))
            return function(*args)

        return call

    if not Path("/proc/self/fd").exists():
        return
    for mode in MODES:
        path = write(tmp_path / "a.hsq", numbered(OLD), SIZE)
        del calls[:]
        with monkeypatch.context() as patch:
            for name in ("fsync", "replace"):
                patch.setattr(os, name, noted(name))
            with hs.HyperSequenceWriter(path, SIZE, mode=mode) as writer:
                writer.extend(*map(of, numbered(NEW)))
        last = [call for call in calls if ".journal" not in str(call)][-3:]
        partial = f"{path}.partial"
        assert last == [("fsync", partial), ("replace", (partial, str(path))), ("fsync", str(tmp_path))]


def test_nothing_of_an_earlier_writer_is_left(tmp_path: Path) -> None:
    """A writer that begins puts an end to what an earlier one left: killed at once, it leaves nothing to recover."""
    path = tmp_path / "a.hsq"
    for mode in MODES:
        given_up(path, numbered(NEW), SIZE)
        writer = hs.HyperSequenceWriter(path, SIZE, mode=mode)
        assert [(other.name, other.stat().st_size) for other in tmp_path.iterdir()] == [("a.hsq.partial", 0)]
        writer.close()
        opens_with(path, Arrays((np.empty(0),)), SIZE)
        path.unlink()


def test_a_forked_child_leaves_its_parents_writer_alone(tmp_path: Path) -> None:
    """What a fork inherits is not its to finish, discard or warn about."""
    code = """if True:
        import gc, os, sys
        from pathlib import Path
        from tests.hsq import numbered, of, opens_with
        from batchup import hypersequence as hs
        path = Path(sys.argv[1]) / "a.hsq"
        writer = hs.HyperSequenceWriter(path, 4)
        writer.extend(*map(of, numbered(9)))
        pid = os.fork()
        if pid == 0:
            del writer
            gc.collect()
            os._exit(0)
        os.waitpid(pid, 0)
        assert (Path(sys.argv[1]) / "a.hsq.partial").exists()
        writer.extend(*map(of, numbered(21).rows(slice(9, 21))))
        writer.close()
        opens_with(path, numbered(21), 4)
    """
    child(code, tmp_path)


def test_checks_find_what_is_wrong(tmp_path: Path) -> None:
    """The checks of this file fail on a file that is neither, and on one with a row too many or too few."""
    path = write(tmp_path / "a.hsq", numbered(OLD), SIZE)
    old = path.read_bytes()
    assert check(path, "w", old, 0) == "old"
    with pytest.raises(AssertionError, match="flushed"):
        check(path, "w", old, 2 * SIZE)
    write(path, rows_of("w").rows(slice(NEW - 1)), SIZE)
    with pytest.raises(AssertionError):
        check(path, "w", old, 0)
    write(path, numbered(NEW, 1001), SIZE)
    with pytest.raises(AssertionError):
        check(path, "w", old, 0)
    write(path, rows_of("w"), SIZE)
    assert check(path, "w", old, 0) == "new"
    with hs.HyperSequenceFile(path) as hsq:
        holds(hsq, rows_of("w"), SIZE)
