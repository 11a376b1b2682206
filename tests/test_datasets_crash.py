"""Programs that fetch and convert data sets, killed or interrupted anywhere, or without room: the next one succeeds."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchup import datasets
from batchup.datasets import manifest
from batchup.datasets.catalog import STANDARD

from . import archives
from .hsq import UNATTENDED
from .kills import Killer, OutOfTheBlueError, in_a_fork, last_event, raising, room_for

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")

PACKAGE = str(Path(datasets.__file__).parent)
CALLS = ("pwrite", "fsync", "replace", "rename", "ftruncate", "open", "mkdir", "rmdir", "unlink", "remove")
NAMES = ["mnist", "cifar100"] if UNATTENDED else ["mnist"]
POINTS = 75 if UNATTENDED else 25


@pytest.fixture
def opened(request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Have a home that is new for each trial; what it returns opens a data set there, and checks it."""
    case = archives.CASES[request.param]
    files, expected = case.files()
    archives.believed(case, files, monkeypatch)
    monkeypatch.setenv("BATCHUP_MIRROR", str(archives.laid_out(case, files, tmp_path / "mirror")))

    def open_and_check() -> None:
        ds = case.opened(n_val=7)
        np.testing.assert_array_equal(ds.test_y, expected["test_y"])
        np.testing.assert_array_equal(ds.train_X_u8, expected["train_X_u8"][:-7])

    return open_and_check


def in_a_new_home(tmp_path: Path, number: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / f"home {number}"
    monkeypatch.setenv("BATCHUP_HOME", str(home))
    return home / "data"


def check_the_next(name: str, home: Path, opened: Callable[[], None], place: Any) -> None:
    """Check that what is there is whole, that the next program succeeds, and that nothing else is left then."""
    fetch = STANDARD[name].fetch
    if fetch.is_there():
        manifest.verify(fetch.target_path)
    opened()
    left = sorted(path.name for path in home.iterdir())
    assert left == [name], f"{place}: {left}"


def killed(kind: str, count: int, job: Callable[[], None]) -> int:
    """Return how a process ended that was killed at an event."""

    def run() -> None:
        Killer(kind, PACKAGE, CALLS).begin(count)
        job()

    return in_a_fork(run)


@pytest.mark.parametrize("kind", ["lines", "calls"])
@pytest.mark.parametrize("opened", NAMES, indirect=True)
def test_killed_anywhere(
    kind: str, opened: Callable[[], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: Any
) -> None:
    """Whenever a program is killed, whatever is there then is whole, and the next one has the data set."""
    name = request.node.callspec.params["opened"]

    def ended(count: int) -> bool:
        in_a_new_home(tmp_path, f"{kind} {count}", monkeypatch)
        return killed(kind, count, opened) == 0

    last = last_event(ended)
    for count in sorted({*np.linspace(1, last, POINTS).astype(int).tolist(), *range(max(1, last - 10), last + 1)}):
        home = in_a_new_home(tmp_path, f"again {kind} {count}", monkeypatch)
        assert os.WTERMSIG(killed(kind, count, opened)) == signal.SIGKILL
        home.mkdir(parents=True, exist_ok=True)
        check_the_next(name, home, opened, count)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("opened", NAMES, indirect=True)
def test_interrupted_anywhere(
    opened: Callable[[], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: Any
) -> None:
    """Whenever Ctrl-C comes, the same program can go on, and has the data set."""
    name = request.node.callspec.params["opened"]
    in_a_new_home(tmp_path, "whole", monkeypatch)
    with raising(0, PACKAGE, lambda frame: False) as ran:
        opened()
    points = ran.points(3 if UNATTENDED else 1)
    for count in points if UNATTENDED else points[:: max(1, len(points) // POINTS)]:
        home = in_a_new_home(tmp_path, count, monkeypatch)
        with raising(count, PACKAGE, lambda frame: False) as ran, pytest.raises(OutOfTheBlueError):
            opened()
        home.mkdir(parents=True, exist_ok=True)
        check_the_next(name, home, opened, ran.place)


@pytest.mark.parametrize("opened", ["mnist"], indirect=True)
@pytest.mark.parametrize("room", [100, 20_000, 46_000])
def test_no_room(opened: Callable[[], None], room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without room, nothing half made is left; what came whole is used when there is room."""
    home = in_a_new_home(tmp_path, room, monkeypatch)

    def job() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        with room_for(room):
            try:
                opened()
            except OSError as error:
                os._exit(7 if error.errno in (errno.EFBIG, errno.ENOSPC) else 8)

    assert os.WEXITSTATUS(in_a_fork(job)) == 7
    assert not (home / "mnist").exists()
    assert not (home / "mnist.partial").exists()
    check_the_next("mnist", home, opened, room)
