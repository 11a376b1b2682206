"""Typed files whose writers are killed, interrupted or fail: the old content or the new one, and nothing in the way."""

from __future__ import annotations

import builtins
import contextlib
import gc
import json
import os
import random
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tqdm.auto import tqdm

from batchup import typed_files as h5m
from batchup.errors import WorkerError

from .hsq import UNATTENDED, child
from .kills import Killer, OutOfTheBlueError, in_a_fork, last_event, raising
from .pools import importable_tests, leaving_nothing
from .records import left_alone
from .typed import Noting, as_plain, beside, calls, create, expected, stored

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")

PACKAGE = str(Path(h5m.__file__).parent)
CALLS = ("pwrite", "fsync", "replace", "ftruncate", "open", "remove", "close")
TIMES = 3 if UNATTENDED else 1  # how often at each line
SOURCES = ["1", "2", "3", "5", "6", "7"]
OLD = {f"old {number}": {"x": [number, number]} for number in range(3)}
NEW = {source: {"x": expected(source)} for source in SOURCES}
ADDED = {"x": np.arange(3), "more": {"y": np.full(20_000, 7)}}
WAYS = ["create", "create, resumed", "create more", "add safely", "add safely, kept open", "add safely, latest"]


def noted(log: Any, fails: Any = None) -> Any:
    """Return a class of files whose loader notes its calls."""
    return h5m.typedfile("Noted", {"x": Noting(log, fails)})


def old_file(path: Path, way: str) -> bytes:
    """Write the old file."""
    with noted("log")(path, "w", **options_of(way)) as file:
        for source, data in OLD.items():
            file.add(source, data)
    return path.read_bytes()


def options_of(way: str) -> dict[str, Any]:
    """Return how a file is opened."""
    return {"keep_open": way.endswith("kept open"), "libver": "latest" if way.endswith("latest") else "earliest"}


def work(path: Path, way: str, log: Any, cls: Any = None) -> None:
    """Write the new content."""
    cls = cls or noted(log)
    if way.startswith("add"):
        file = cls(path, "r+", **options_of(way))
        file.add("new", ADDED, safe=True)
        file.close()
    else:
        create(cls, path, SOURCES, "a" if way == "create more" else "w", resume=way == "create, resumed")


def new_content(way: str) -> dict[str, Any]:
    """Return what is in the new file."""
    if not way.startswith("add"):
        return {**OLD, **NEW} if way == "create more" else NEW
    old = {source: {**data, "more/y": None} for source, data in OLD.items()}
    return {**old, "new": {"x": [0, 1, 2], "more/y": [7] * 20_000}}


def left(path: Path, way: str, old: bytes) -> str:
    """Check what is in a file, by the class and by plain h5py; return whether that is the old or the new content."""
    if way.startswith("create") and path.read_bytes() == old:
        return "old"
    with noted("log")(path, "r", **options_of(way)) as file:
        found = {source: as_plain(file.get(source)) for source in file.index}
    assert {source: data["x"] for source, data in found.items()} in (
        {source: data["x"] for source, data in OLD.items()},
        {source: data["x"] for source, data in new_content(way).items()},
    ), list(found)
    if list(found) == list(OLD):
        assert not way.startswith("create"), "the same, of other bytes"
        assert stored(path) == OLD
        return "old"
    assert stored(path) == new_content(way)
    return "new"


# kill -9, in a process of its own, which forks a writer for each point


def main(folder: str, kind: str, points: str, seed: str) -> None:
    """Kill writers at points of a kind; print how often what was left."""
    here, rng = Path(folder), random.Random(int(seed))
    told: dict[str, int] = {}
    killer = Killer(kind, PACKAGE, CALLS)

    def run(way: str, old: bytes, point: int | None, delay: float | None = None) -> bool:
        place = here / "w"
        place.mkdir()
        path, log = place / "a.h5", here / "log"
        path.write_bytes(old)
        log.unlink(missing_ok=True)

        def job() -> None:
            if point is not None:
                killer.begin(point)
            work(path, way, log)
            sys.settrace(None)

        status = in_a_fork(job, delay)
        assert status in (0, signal.SIGKILL), f"{way}, {kind}, {point}: ended with {status}"
        loaded = calls(log)
        try:
            if status == 0:
                assert left(path, way, old) == "new"
                assert beside(path) == []
            else:
                was = left(path, way, old)
                told[f"{way}: {was}"] = told.get(f"{way}: {was}", 0) + 1
                again(way, path, log, was, loaded)
        except Exception as error:
            raise AssertionError(f"{way}, {kind} {point}, {delay}: {error!r:.500}, {beside(path)}") from error
        shutil.rmtree(place)
        return status == 0

    for way in WAYS:
        old = old_file(here / "old", way)
        (here / "old").unlink()
        if kind == "delays":
            begin = time.perf_counter()
            run(way, old, None)
            seconds = time.perf_counter() - begin
            for _ in range(int(points)):
                run(way, old, None, rng.uniform(0, seconds))
            continue
        last = last_event(partial(run, way, old))
        for point in sorted({1, last, *rng.sample(range(1, last + 1), min(last, int(points)))}):
            run(way, old, point)
    sys.stdout.write(json.dumps(told))


def again(way: str, path: Path, log: Path, was: str, loaded: list[str]) -> None:
    """Check that the next writer works, and that nothing that was loaded is loaded twice."""
    if was == "old" or way in ("create", "create, resumed"):
        kept = os.path.exists(f"{path}.loaded")
        work(path, way, log)
        if way == "create, resumed" and (was == "old" or kept):
            more = calls(log)[len(loaded) :]
            assert not set(loaded[:-1]) & set(more), f"loaded {loaded}, and then {more}"
            assert was == "old" or more == []
    elif way.startswith("add"):
        noted(log)(path, "r+", **options_of(way)).add("newer", ADDED, safe=True).close()
        assert beside(path) == []
        return
    assert left(path, way, b"") == "new"
    assert beside(path) == [] or (way == "create more" and was == "new")


@pytest.mark.parametrize(("kind", "points"), [("lines", 12), ("calls", 6), ("delays", 6)])
def test_killed_anywhere(kind: str, points: int, tmp_path: Path) -> None:
    """After kill -9 at any time, line or system call, all old content is there or all new, and the next writer works.

    With ``resume=True`` nothing that was loaded is loaded twice, but what was at it when it was killed.
    """
    code = "import sys; from tests.test_typed_files_crash import main; main(*sys.argv[1:])"
    told = json.loads(child(code, tmp_path, kind, points * TIMES, random.randrange(2**30), timeout=250))
    assert told
    if kind != "delays":  # which hit what they hit
        assert {f"{way}: {what}" for way in WAYS for what in ("old", "new")} <= set(told)


# exceptions at any line, in this process


def gives_up(frame: Any) -> bool:
    """Return whether something is finished or given up, which is not asked twice."""
    while frame is not None:
        if frame.f_code.co_name in ("__del__", "discard", "remove", "leave"):
            return True
        frame = frame.f_back if frame.f_code.co_filename.startswith(PACKAGE) else None
    return False


@pytest.mark.parametrize("way", WAYS)
def test_interrupts_at_any_line(way: str, tmp_path: Path) -> None:
    """An interrupt at any line leaves all old content or all new, and nothing in the way of the next writer."""
    code = "import sys; from tests.test_typed_files_crash import interrupted as check; check(*sys.argv[1:])"
    child(code, way, tmp_path, timeout=240)  # where no large library slows it down


def interrupted(way: str, folder: str) -> None:
    """Raise an error at many lines, one after the other, and look at what is left each time."""
    tmp_path = Path(folder)
    path, log = tmp_path / "files" / "a.h5", tmp_path / "log"
    path.parent.mkdir()
    old = old_file(path, way)
    cls = noted(log)
    with raising(10**9, PACKAGE, gives_up) as ran:
        work(path, way, log, cls)
    points = ran.points(TIMES)
    assert len(points) > 60
    bad: list[str] = []
    for point in random.Random(WAYS.index(way)).sample(points, min(len(points), 150 if UNATTENDED else 30)):
        for other in path.parent.iterdir():
            other.unlink()
        path.write_bytes(old)
        with raising(point, PACKAGE, gives_up) as ran, left_alone(), contextlib.suppress(OutOfTheBlueError):
            try:
                work(path, way, log, cls)
            except Exception as error:  # noqa: BLE001  all of them are wanted
                bad.append(f"{ran.place}: {traceback.format_exception(error)[-3:]}")
        with left_alone():
            gc.collect(1)  # what is young: a whole collection takes seconds beside large libraries
        try:
            if left(path, way, old) == "new":
                path.write_bytes(old)
            work(path, way, log)
            assert left(path, way, b"") == "new"
            assert beside(path) == []
        except Exception as error:  # noqa: BLE001
            bad.append(f"then, after {ran.place}: {traceback.format_exception(error)[-1:]} {beside(path)}")
    assert bad == [], "\n".join(bad[:20])


class Interrupting(Noting):
    """Sends Ctrl-C to the program at a source."""

    main = 0

    def load(self, source: str) -> Any:
        if source == "5":
            os.kill(self.main, signal.SIGINT)
            threading.Event().wait(1)
        return super().load(source)


@pytest.mark.parametrize("parallelism", ["none", "threads", "mp"])
def test_a_real_interrupt(parallelism: str, tmp_path: Path) -> None:
    """Ctrl-C while sources are loaded: the program ends by it, the old file stays, no file and no process is left."""
    code = """if True:
        import os, sys
        from pathlib import Path
        from tests.pools import leaving_nothing
        from tests.test_typed_files_crash import SOURCES, Interrupting, bar, left, old_file
        from tests.typed import beside, create
        from batchup import typed_files as h5m
        place, parallelism = Path(sys.argv[1]), sys.argv[2]
        feature = Interrupting(place / "log")
        feature.main = os.getpid()
        path = place / "files" / "a.h5"
        path.parent.mkdir()
        old = old_file(path, "create")
        cls = h5m.typedfile("Interrupted", {"x": feature})
        bar()
        for resume in (False, True):
            with leaving_nothing():
                try:
                    create(cls, path, SOURCES, parallelism=parallelism, n_workers=2, resume=resume)
                except KeyboardInterrupt:
                    pass
                else:
                    raise AssertionError("no interrupt")
            assert left(path, "create", old) == "old"
            assert beside(path) == ["a.h5.loaded"] * resume, beside(path)
    """
    child(code, tmp_path, parallelism, warn="ignore")


# loaders that fail


def bar() -> None:
    """Make a bar, which leaves a thread behind; see `test_no_bar`."""
    tqdm(disable=True)


def test_no_bar(tmp_path: Path) -> None:
    """Without a bar nothing of its thread is there either, so that processes can be forked afterwards."""
    code = """if True:
        import sys, threading
        from pathlib import Path
        from tests.test_typed_files_crash import SOURCES, noted
        from tests.typed import create
        create(noted(sys.argv[1] + "/log"), sys.argv[1] + "/a.h5", SOURCES)
        assert threading.enumerate() == [threading.main_thread()], threading.enumerate()
    """
    child(code, tmp_path)


@pytest.fixture(name="workers", params=["none", "threads", "mp"])
def workers_that_leave_nothing(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """Yield how sources are loaded, in turn by each kind of worker."""
    bar()
    with importable_tests(), leaving_nothing():
        yield {"parallelism": request.param, "n_workers": 2}


@pytest.mark.parametrize("how", ["LookupError", "FileNotFoundError", "RuntimeError", "MemoryError"])
@pytest.mark.parametrize("resume", [False, True], ids=["once", "resumable"])
def test_a_loader_that_raises(workers: dict[str, Any], how: str, resume: bool, tmp_path: Path) -> None:
    """What a loader raises comes through as it is; a note names the source; the old file stays, and no other."""
    path, log = tmp_path / "files" / "a.h5", tmp_path / "log"
    path.parent.mkdir()
    cls, kind = noted(log, {"5": how}), getattr(builtins, how)
    for old in (None, old_file(path, "create")):
        if old is None:
            path.unlink()
        else:
            path.write_bytes(old)
        with pytest.raises(kind, match="nothing under this number") as caught:
            create(cls, path, SOURCES, resume=resume, **workers)
        assert (type(caught.value), str(caught.value)) == (kind, "nothing under this number")
        notes = " ".join(caught.value.__notes__)
        assert "'5'" in notes
        assert "'x'" in notes
        assert old is None or path.read_bytes() == old
        assert sorted(os.listdir(path.parent)) == ["a.h5"] * (old is not None) + ["a.h5.loaded"] * resume
        if resume:
            os.remove(f"{path}.loaded")


def test_loaders_that_are_skipped(workers: dict[str, Any], tmp_path: Path) -> None:
    """Sources that cannot be loaded are left out and listed, whoever loads; a later call may load them."""
    path, log = tmp_path / "files" / "a.h5", tmp_path / "log"
    path.parent.mkdir()
    cls = noted(log, {"1": "raise", "5": "raise once", "7": "raise"})
    made = create(cls, path, SOURCES, on_error="skip", **workers)
    failed = [source for source in SOURCES if source in made.skipped]
    assert set(failed) in ({"1", "7"}, {"1", "5", "7"})
    assert list(made.skipped) == failed
    assert all(text == "LookupError: nothing under this number" for text in made.skipped.values())
    assert stored(path) == {source: data for source, data in NEW.items() if source not in failed}
    assert beside(path) == []
    more = create(noted(log), path, failed, "a", **workers)
    assert more.skipped == {}
    assert {source: data["x"] for source, data in stored(path).items()} == {s: d["x"] for s, d in NEW.items()}


def test_a_worker_that_dies(tmp_path: Path) -> None:
    """A worker process that dies at a source is replaced; if it dies at it again and again, that is the error."""
    path, log = tmp_path / "files" / "a.h5", tmp_path / "log"
    path.parent.mkdir()
    bar()
    with importable_tests(), leaving_nothing():
        create(noted(log, {"5": "exit once"}), path, SOURCES, parallelism="mp", n_workers=2)
        assert stored(path) == NEW
        assert beside(path) == []
        whole = path.read_bytes()
        for options in ({}, {"on_error": "skip"}):
            with pytest.raises(WorkerError):
                create(noted(log, {"5": "exit"}), path, SOURCES, parallelism="mp", n_workers=2, **options)
            assert path.read_bytes() == whole
            assert beside(path) == []


# resuming


@pytest.fixture(name="place")
def place_of_files(tmp_path: Path) -> Path:
    """Return a folder with sources that are files."""
    for number in SOURCES:
        (tmp_path / f"{number}.txt").write_text("source")
    (tmp_path / "files").mkdir()
    return tmp_path


def files_of(place: Path) -> list[str]:
    """Return the sources that are files."""
    return [str(place / f"{number}.txt") for number in SOURCES]


def cut_off(place: Path, cls: Any, sources: list[str], **options: Any) -> list[str]:
    """Create in vain; return what was loaded, but for the source that failed."""
    with pytest.raises(LookupError):
        create(cls, place / "files" / "a.h5", sources, resume=True, **options)
    assert beside(place / "files" / "a.h5") == ["a.h5.loaded"]
    return calls(place / "log")[:-1]


def whole(place: Path, sources: list[str]) -> None:
    """Check that a file has what the sources have."""
    assert stored(place / "files" / "a.h5") == {source: {"x": expected(source)} for source in sources}
    assert beside(place / "files" / "a.h5") == []


CHANGES: dict[str, tuple[Callable[[list[str]], list[str]], Callable[[list[str]], list[str]]]] = {
    # the sources of the second call; those of the first four that are loaded once more
    "nothing": (lambda s: s, lambda s: []),
    "more sources": (lambda s: [*s, s[0].replace("1.txt", "9.txt")], lambda s: []),
    "fewer sources": (lambda s: s[2:], lambda s: []),
    "another order": (lambda s: s[::-1], lambda s: []),
    "a source that was written anew": (lambda s: Path(s[1]).write_text("another source") and s, lambda s: [s[1]]),
    "a source that is gone": (lambda s: os.remove(s[2]) or s, lambda s: [s[2]]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_resumed(name: str, place: Path) -> None:
    """A later call loads what is missing, and what has changed; the rest comes from what was kept."""
    change, anew = CHANGES[name]
    sources, cls = files_of(place), noted(place / "log", {str(place / "6.txt"): "raise once"})
    assert cut_off(place, cls, sources) == sources[:4]
    wanted = change(sources)
    create(cls, place / "files" / "a.h5", wanted, resume=True)
    kept = set(sources[:4]) - set(anew(sources))
    assert calls(place / "log")[5:] == [source for source in wanted if source not in kept]
    whole(place, wanted)


def test_resumed_in_parallel(workers: dict[str, Any], place: Path) -> None:
    """What workers had loaded in time is not loaded again."""
    sources, cls = files_of(place), noted(place / "log", {str(place / "6.txt"): "raise once"})
    cut_off(place, cls, sources, **workers)
    before = len(calls(place / "log"))
    create(cls, place / "files" / "a.h5", sources, resume=True, **workers)
    assert not set(calls(place / "log")[before:]) & set(sources[:4])
    whole(place, sources)


def test_cut_off_again_and_again(place: Path) -> None:
    """Each call goes on where the last one was cut off."""
    sources, log, path = files_of(place), place / "log", place / "files" / "a.h5"
    cls = noted(log, dict.fromkeys(sources, "raise once"))
    for number in range(len(sources)):
        Path(f"{log}.done").unlink(missing_ok=True)
        with pytest.raises(LookupError):
            create(cls, path, sources, resume=True)
        assert calls(log)[-1] == sources[number]
        Path(f"{log}.done").touch()
        with pytest.raises(ValueError, match="none"):
            create(cls, path, [*sources[: number + 1], "none"], resume=True)
        assert calls(log)[-2:] == [sources[number], "none"]
    create(cls, path, sources, resume=True)
    assert calls(log).count(sources[0]) == 2
    whole(place, sources)


class Times(Noting):
    """Loads what depends on an argument."""

    def __init__(self, log: Any, factor: int, fails: Any = None) -> None:
        super().__init__(log, fails)
        self.factor = factor

    def load(self, source: str) -> Any:
        return super().load(source) * self.factor


FEATURES: dict[str, Callable[[Any], Any]] = {
    "alone": lambda feature: {"x": feature},
    "in a group": lambda feature: {"g": h5m.Group(x=feature)},
    "of any shape": lambda feature: {"x": h5m.VShape(feature)},
    "of any shape, in a group": lambda feature: {"g": h5m.Group(x=h5m.VShape(feature))},
}


@pytest.mark.parametrize("name", FEATURES)
def test_features_that_have_changed(name: str, place: Path) -> None:
    """What other features have loaded is not taken for what these would load."""
    fails, log = {"6": "raise once"}, place / "log"
    path = place / "files" / "a.h5"
    with pytest.raises(LookupError):
        create(h5m.typedfile("Before", FEATURES[name](Times(log, 1, fails))), path, SOURCES, resume=True)
    assert len(calls(log)) == 5
    cls = h5m.typedfile("After", FEATURES[name](Times(log, 2, fails)))
    create(cls, path, SOURCES, resume=True)
    file = cls(path)
    proxy = file.get_proxy("g/x" if "group" in name else "x")
    for source in SOURCES:
        assert proxy.get(source).tolist() == [2 * number for number in expected(source)], source


def test_what_was_kept_is_damaged(place: Path) -> None:
    """Whatever becomes of what was kept, the file is right in the end; at most a source is loaded once more."""
    fails, log, path = {"6": "raise once"}, place / "log", place / "files" / "a.h5"
    cls = noted(log, fails)
    cut_off(place, cls, SOURCES)
    kept = Path(f"{path}.loaded").read_bytes()
    rng = random.Random(5)
    torn = [kept[:size] for size in sorted(rng.sample(range(len(kept)), 12))]
    flipped = [kept[:at] + bytes([kept[at] ^ 8]) + kept[at + 1 :] for at in rng.sample(range(len(kept)), 12)]
    for damaged in [*torn, *flipped, b"", b"\xff" * 100, kept + b"\0" * 50]:
        Path(f"{path}.loaded").write_bytes(damaged)
        log.unlink()
        create(cls, path, SOURCES, resume=True)
        assert set(calls(log)) >= {"6", "7"}
        whole(place, SOURCES)


class Kinds(Noting):
    """Loads arrays of many kinds."""

    def load(self, source: str) -> Any:
        number = len(super().load(source))
        return {
            "texts": np.array(["ä", "", "b" * number], object),
            "text": f"{source} ü",
            "scalar": number,
            "flag": np.array([True, False]),
            "big endian": np.arange(number, dtype=">i4"),
            "complex": np.full((number, 2), 1 + 2j),
            "nothing": np.zeros((0, 3), np.float32),
            "half": np.full(number, 0.5, np.float16),
            "record": np.zeros(number, [("a", "i4"), ("b", "f8", (2,))]),
            "bytes": np.array([b"abc", b"d"]),
        }


def test_all_kinds_of_arrays_are_kept(place: Path) -> None:
    """A file from a creation that was cut off is that of one that was not."""
    path = place / "files" / "a.h5"
    cut = h5m.typedfile("Kinds", {"x": Kinds(place / "log", {"7": "raise once"})})
    cut_off(place, cut, SOURCES)
    create(cut, path, SOURCES, resume=True)
    assert len(calls(place / "log")) == len(SOURCES) + 1
    create(h5m.typedfile("Kinds", {"x": Kinds(place / "log")}), place / "files" / "b.h5", SOURCES)
    assert repr(stored(path)) == repr(stored(place / "files" / "b.h5"))
    ours, theirs = cut(path), cut(place / "files" / "b.h5")
    for name in theirs.x.children:
        assert ours.get_proxy(f"x/{name}").dtype == theirs.get_proxy(f"x/{name}").dtype


def test_what_is_left_by_others(place: Path) -> None:
    """Leftovers of killed writers do not hinder the next one."""
    path, log = place / "files" / "a.h5", place / "log"
    for suffix in ("partial", "loaded", "backup.partial"):
        Path(f"{path}.{suffix}").write_bytes(b"left")
    create(noted(log), path, SOURCES)
    assert stored(path) == NEW
    assert beside(path) in ([], ["a.h5.backup.partial"])
    noted(log)(path, "r+").add("new", {"x": [1]}, safe=True).close()
    assert beside(path) == []
