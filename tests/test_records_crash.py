"""Writers of records that are killed, interrupted, or run out of room: the old records or the new ones, never less."""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import os
import random
import shutil
import signal
import sys
import traceback
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from batchup import sequences
from batchup.errors import FileFormatError
from batchup.sequences import Hdf5RecordReader, ShardedWriter

from .hsq import UNATTENDED, child
from .kills import Killer, OutOfTheBlueError, in_a_fork, last_event, raising, room_for
from .records import FORMATS, Made, alone, every_format, flushed_at, holds, left_alone, opens_with, plain, write

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")

OLD, NEW = 7, 25  # records
FLUSH = 60  # bytes: many segments
PACKAGE = str(Path(sequences.__file__).parent)
CALLS = ("pwrite", "fsync", "replace", "ftruncate", "fchmod", "open")
TIMES = 3 if UNATTENDED else 1  # how often at each line
MODES = ["records, new", "records, append", "hdf5, new", "hdf5, append", "seqp, append"]
every_mode = pytest.mark.parametrize("mode", MODES)
METADATA = {"latest": "new"}


def form_of(mode: str) -> Any:
    """Return the format of a way to write."""
    return FORMATS[mode.split(",")[0].replace("seqp", "hdf5")]


def old_file(mode: str, path: Path) -> bytes:
    """Write the old file; return what is in it."""
    if mode.startswith("seqp"):
        import seqp.hdf5

        with seqp.hdf5.Hdf5RecordWriter(str(path)) as writer:
            for record in plain(OLD).records:
                writer.write(record)
            writer.add_metadata({"who": "seqp"})
    else:
        write(form_of(mode), path, plain(OLD))
    return path.read_bytes()


def appends(mode: str) -> bool:
    """Return whether a way to write adds to the old records."""
    return mode.endswith("append")


def new_records(mode: str) -> Made:
    """Return what the new file holds."""
    made = plain(NEW) if appends(mode) else plain(NEW, first=100)
    return Made(made.records, metadata=METADATA, kinds=made.kinds)


def begun(mode: str, path: Path) -> Any:
    """Return a writer of the new file."""
    return form_of(mode).writer(path, append=appends(mode))


def fill(mode: str, writer: Any) -> None:
    """Write what is missing in the new file."""
    records = new_records(mode).records
    for record in records[writer.next_index :]:
        writer.write(record)
    writer.add_metadata(METADATA)


def work(mode: str, path: Path) -> None:
    """Write the new file, in many pieces."""
    with flushed_at(FLUSH), begun(mode, path) as writer:
        fill(mode, writer)


def is_old(mode: str, path: Path, torn: bool = False) -> bool:
    """Check that a file holds all old records, or all new ones; return which."""
    with form_of(mode).reader(path) as reader:
        old = reader.metadata("latest") is None
        holds(reader, plain(OLD) if old else new_records(mode), sound=not torn)
        if torn:
            assert all("newer records" in damage.reason for damage in reader.verify())
    return old


@contextlib.contextmanager
def failing(name: str, count: int, error: BaseException, from_then_on: bool = False) -> Iterator[list[int]]:
    """Have the `count`-th of the calls of a function of `os` fail; yield how many more there would have to be."""
    function, left = getattr(os, name), [count]

    def called(*args: Any, **kwargs: Any) -> Any:
        left[0] -= 1
        if left[0] == 0 or (from_then_on and left[0] < 0):
            raise error
        return function(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, name, called)
        yield left


@every_mode
@pytest.mark.parametrize("end", ["close again", "discard", "leave"])
@pytest.mark.parametrize("name", ["pwrite", "fsync", "replace", "ftruncate"])
def test_a_call_that_fails(name: str, end: str, mode: str, tmp_path: Path) -> None:
    """An error of the disk comes through at any call; the old records stay; to go on, or to give up, works."""
    path, count = tmp_path / "a", 0
    old = old_file(mode, path)
    while True:
        count += 1
        path.write_bytes(old)
        wanted = OSError(errno.ENOSPC, "No space left on device")
        with failing(name, count, wanted) as left, flushed_at(FLUSH), left_alone():
            writer, error = None, None
            try:
                writer = begun(mode, path)
                fill(mode, writer)
                writer.close()
            except OSError as caught:
                error = caught
            if left[0] > 0:
                assert error is None  # no such call failed: this was the last one
                break
            if error is None:  # of the name of a file alone, which cannot be helped
                assert not is_old(mode, path)
                alone(path)
                continue
            assert error is wanted
            told = (name, mode, count) == ("fsync", "records, append", 2)  # only that all is on the disk is not known
            assert is_old(mode, path) != told
            if writer is None:
                alone(path)
            elif end == "close again":
                try:
                    fill(mode, writer)
                    writer.close()
                    assert not is_old(mode, path)
                except FileFormatError as lost:
                    assert name == "fsync"
                    assert "discard it, and write it again" in str(lost)  # noqa: PT017
                    writer.discard()
                    assert is_old(mode, path) != told
            elif end == "discard":
                writer.discard()
                assert is_old(mode, path) != told
                assert path.read_bytes()[4096 : len(old)] == old[4096:]
            else:
                del writer
                error.__traceback__ = None
                wanted.__traceback__ = None
                gc.collect()
                assert is_old(mode, path) != told
            del error, wanted
        alone(path)
        work(mode, path) if is_old(mode, path) else None
        opens_with(form_of(mode), path, new_records(mode))
        alone(path)
    never = {("replace", "records, append"), ("ftruncate", "records, new"), ("ftruncate", "records, append")}
    assert (count == 1) == ((name, mode) in never)


@every_format
def test_a_full_disk_takes_no_record_twice(form: Any, tmp_path: Path) -> None:
    """A record whose writing failed is not taken: it may be written again, once there is room."""
    what = plain(12)
    with flushed_at(0), form.writer(tmp_path / "a") as writer:
        failed = 0
        for number, record in enumerate(what.records):
            full_disk = OSError(errno.ENOSPC, "No space left on device")
            with failing("pwrite", 1, full_disk), contextlib.suppress(OSError):
                writer.write(record)
            failed += writer.next_index == number
            if writer.next_index == number:
                assert writer.write(record) == number
        assert failed == (0 if form is FORMATS["hdf5"] else 11)  # which waits in files that Python writes
    opens_with(form, tmp_path / "a", what)


def test_full_disks(tmp_path: Path) -> None:
    """Where files cannot grow, an OSError says so; the old records stay, and the writer goes on when there is room."""
    failed = json.loads(child("import sys; from tests.test_records_crash import full; full(sys.argv[1])", tmp_path))
    assert set(failed) == set(MODES)
    assert min(failed.values()) >= 5


def full(folder: str) -> None:
    """Write under limits of the size of a file; print how often that failed."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    path, failed = Path(folder) / "a", {}
    for mode in MODES:
        old = old_file(mode, path)
        work(mode, path)
        size = path.stat().st_size
        for number, limit in enumerate(sorted({*np.linspace(0, size, 12).astype(int).tolist(), size - 1})):
            path.write_bytes(old)
            writer = None
            try:
                with room_for(limit), flushed_at(FLUSH):
                    writer = begun(mode, path)
                    fill(mode, writer)
                    writer.close()
            except OSError as error:
                refused = error
                assert refused.errno == errno.EFBIG, refused
                failed[mode] = failed.get(mode, 0) + 1
            else:
                assert limit >= size
                continue
            assert is_old(mode, path)
            if writer is not None and number % 2:
                fill(mode, writer)
                writer.close()
                opens_with(form_of(mode), path, new_records(mode))
            elif writer is not None:
                writer.discard()
                assert is_old(mode, path)
            alone(path)
        path.unlink()
    sys.stdout.write(json.dumps(failed))


# kill -9, in a process of its own, which forks a writer for each point


def main(folder: str, kind: str, points: str, seed: str) -> None:
    """Kill writers at points of a kind; print how often what was left."""
    here, rng, left = Path(folder), random.Random(int(seed)), dict.fromkeys(MODES, 0)
    killer = Killer(kind, PACKAGE, CALLS)

    def run(mode: str, old: bytes, point: int) -> bool:
        place = here / "w"
        place.mkdir()
        path = place / "a"
        path.write_bytes(old)

        def job() -> None:
            killer.begin(point)
            work(mode, path)

        status = in_a_fork(job)
        assert status in (0, signal.SIGKILL), f"{mode}, {kind}: ended with {status}"
        was_old = is_old(mode, path, torn=kind == "calls" and status != 0)
        if status == 0:
            assert not was_old
            alone(path)
        else:
            left[mode] += was_old
            if was_old and mode != "records, append":
                assert path.read_bytes() == old
            if appends(mode) and was_old:  # nothing is in the way of the next writer
                work(mode, path)
                opens_with(form_of(mode), path, new_records(mode))
            else:
                write(form_of(mode), path, plain(3))
                opens_with(form_of(mode), path, plain(3))
            alone(path)
        shutil.rmtree(place)
        return status == 0

    for mode in MODES:
        old = old_file(mode, here / "old")
        (here / "old").unlink()
        last = last_event(partial(run, mode, old))
        for point in sorted(rng.sample(range(1, last + 1), min(last, int(points)))):
            run(mode, old, point)
    sys.stdout.write(json.dumps(left))


@pytest.mark.parametrize(("kind", "points"), [("lines", 25), ("calls", 40)])
def test_killed_anywhere(kind: str, points: int, tmp_path: Path) -> None:
    """After kill -9 at any line or system call, all old records are there or all new ones; the next writer works."""
    code = "import sys; from tests.test_records_crash import main; main(*sys.argv[1:])"
    left = json.loads(child(code, tmp_path, kind, points * TIMES, random.randrange(2**30), timeout=250))
    assert set(left) == set(MODES)
    assert min(left.values()) >= 3


# exceptions at any line, in this process


def gives_up(frame: Any) -> bool:
    """Return whether a finaliser runs, from which no exception comes through, or what is not asked twice."""
    name = frame.f_code.co_qualname if sys.version_info >= (3, 11) else frame.f_code.co_name
    spared = ("__del__", "discard", "readinto", "truncate", "seek", "tell", "flush", "_forgiven")
    return "_Forgiving" in name or frame.f_code.co_name in spared


@every_mode
def test_interrupts_at_any_line(mode: str, tmp_path: Path) -> None:
    """An interrupt at any line leaves all old records or all new ones, and nothing in the way of the next writer."""
    path = tmp_path / "a"
    old = old_file(mode, path)
    with raising(10**9, PACKAGE, gives_up) as ran:
        work(mode, path)
    points = ran.points(TIMES)
    assert len(points) > 60
    bad: list[str] = []
    for point in points:
        path.write_bytes(old)
        with raising(point, PACKAGE, gives_up) as ran, left_alone():
            try:
                with contextlib.suppress(OutOfTheBlueError):
                    work(mode, path)
            except Exception as error:  # noqa: BLE001  all of them are wanted
                bad.append(f"{ran.place}: {traceback.format_exception(error)[-3:]}")
            gc.collect(0)
        try:
            was_old = is_old(mode, path)
            if not was_old:
                path.write_bytes(old)
            work(mode, path)
            assert not is_old(mode, path)
            alone(path)
        except Exception as error:  # noqa: BLE001
            bad.append(f"then, after {ran.place}: {traceback.format_exception(error)[-3:]}")
    assert bad == [], "\n".join(bad[:20])


# readers meanwhile


@every_mode
def test_readers_meanwhile(mode: str, tmp_path: Path) -> None:
    """A reader that is open while somebody writes goes on reading what it has opened, whatever becomes of that."""
    path = tmp_path / "a"
    form, old = form_of(mode), old_file(mode, path)
    for end in ("discard", "close"):
        reader = form.reader(path)
        reader.gather([0])
        with flushed_at(FLUSH):
            writer = begun(mode, path)
            for number, record in enumerate(new_records(mode).records[writer.next_index :]):
                writer.write(record)
                assert reader.retrieve(number % OLD).tolist() == plain(OLD).records[number % OLD].tolist()
                if number == 5:
                    opens_with(form, path, plain(OLD))
            getattr(writer, end)()
        holds(reader, plain(OLD))
        reader.close()
        if end == "discard":
            assert path.read_bytes() == old
    with form.reader(path) as reader:
        assert reader.num_records() == NEW
    alone(path)


@every_mode
def test_many_sessions(mode: str, tmp_path: Path) -> None:
    """Sessions that end well and sessions that do not, in any order: what is kept is kept, and nothing else."""
    path, rng, kept = tmp_path / "a", random.Random(3), OLD
    form, old = form_of(mode), old_file(mode, path)
    del old
    for _ in range(20):
        more = rng.randrange(4)
        with flushed_at(rng.choice([0, FLUSH, 2**20])):
            writer = form.writer(path, append=True)
            assert writer.next_index == kept
            writer.extend(plain(more, first=kept).records)
            if rng.random() < 0.5:
                writer.discard()
            else:
                writer.close()
                kept += more
        opens_with(form, path, plain(kept))
        alone(path)


@every_format
def test_a_sharded_writer_that_is_killed(form: Any, tmp_path: Path) -> None:
    """The shards that were whole can be read."""
    code = f"""
import os, signal, sys
from batchup import sequences
from tests.records import plain
pid = os.fork()
if not pid:
    writer = sequences.ShardedWriter(sequences.{form.writer.__name__}, sys.argv[1] + "/{{}}", 3)
    writer.extend(plain(8).records)
    os.kill(os.getpid(), signal.SIGKILL)
assert os.waitpid(pid, 0)[1] == signal.SIGKILL
"""
    child(code, tmp_path)
    opens_with(form, [tmp_path / "2", tmp_path / "1"], plain(6))
    with ShardedWriter(form.writer, f"{tmp_path}/{{}}", 3) as writer:
        writer.extend(plain(8).records)
    opens_with(form, writer.output_files, plain(8))
    assert sorted(os.listdir(tmp_path)) == ["1", "2", "3"]


def test_on_the_disk_before_it_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All is on the disk before it counts, and that it does before close returns: power may fail."""
    if not Path("/proc/self/fd").exists():
        return
    calls: list[tuple[str, Any]] = []

    def noted(name: str) -> Any:
        function = getattr(os, name)

        def call(*args: Any) -> Any:
            where = os.path.basename(args[0] if name == "replace" else os.readlink(f"/proc/self/fd/{args[0]}"))
            if name != "pwrite":
                calls.append((name, where))
            elif args[2] in (512, 1024):
                calls.append(("slot", where))
            return function(*args)

        return call

    for name in ("fsync", "replace", "pwrite"):
        monkeypatch.setattr(os, name, noted(name))
    folder = tmp_path.name
    ends = [("fsync", "a.partial"), ("replace", "a.partial"), ("fsync", folder)]
    for mode, expected in {
        "records, new": [("fsync", "a.partial"), ("slot", "a.partial"), *ends],
        "records, append": [("fsync", "a"), ("slot", "a"), ("fsync", "a")],
        "hdf5, new": ends,
        "hdf5, append": ends,
        "seqp, append": ends,
    }.items():
        old_file(mode, tmp_path / "a")
        del calls[:]
        work(mode, tmp_path / "a")
        seen = [call for call in calls if call[0] != "slot" or mode.startswith("records")]
        assert seen == expected, mode


def test_the_checks_find_what_is_wrong(tmp_path: Path) -> None:
    """The checks of this file fail on a record too few, too many, or another one."""
    for mode in MODES:
        form, path = form_of(mode), tmp_path / "a"
        for wrong in (plain(OLD - 1), plain(OLD + 1), plain(OLD, first=1), plain(0)):
            with pytest.raises(AssertionError):
                is_old(mode, write(form, path, wrong))
        assert is_old(mode, write(form, path, plain(OLD)))
        assert not is_old(mode, write(form, path, new_records(mode)))
    with h5py.File(tmp_path / "a", "r+") as file:
        file["values"][3] += 1
    with Hdf5RecordReader(tmp_path / "a") as reader:
        assert len(reader.verify()) == 1
