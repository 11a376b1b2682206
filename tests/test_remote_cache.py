"""What is kept of files elsewhere: private, bounded, checked; and all goes on without it."""

from __future__ import annotations

import os
import random
import resource
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from batchup import remote
from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.remote import cache, problems
from batchup.remote.room import OLD

from .kills import in_a_fork
from .remote import Server, numbers

DATA = numbers(300_000)


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BATCHUP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(problems, "WAIT", 0.001)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(a=DATA).running() as running:
        yield running


def parts() -> list[Path]:
    """Return the files with what is kept, the one that was used longest ago first."""
    found = [path for path in Path(remote.cache_folder()).glob("*/*") if path.is_file()]
    return sorted(found, key=lambda path: path.stat().st_mtime_ns)


def taken() -> int:
    return sum(path.stat().st_size for path in parts())


def read_all(server: Server, size: int = 10_000) -> None:
    with remote.RemoteFile(server.url + "a") as file:
        for start in range(0, len(DATA), size):
            assert file.read(start, size) == DATA[start : start + size]


def test_kept(server: Server) -> None:
    """What has been read is not asked for again, by this file object or another one."""
    for _ in range(3):
        read_all(server)
    assert len(server.asked) == 30 + 3
    remote.clear_cache()
    read_all(server)
    assert len(server.asked) == 30 + 3 + 31


def test_private(server: Server) -> None:
    """Folders are for this user alone, and so are files."""
    read_all(server)
    top = Path(remote.cache_folder())
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [top, *top.rglob("*")]}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}


def test_another_version_is_another_file(server: Server) -> None:
    """What is kept of one version is not handed out for another one, nor is that of another address."""
    read_all(server)
    server.files["b"] = server.files["a"]
    server.files["a"] = other = numbers(len(DATA), 1)
    with remote.RemoteFile(server.url + "a") as file:
        assert file.read(0, 10_000) == other[:10_000]
    asked = len(server.asked)
    with remote.RemoteFile(server.url + "b") as file:
        assert file.read(0, 10_000) == DATA[:10_000]
    assert len(server.asked) == asked + 2


def test_without_a_version_nothing_is_kept(server: Server) -> None:
    """Where versions cannot be told from one another nothing is kept."""
    server.etags = server.dates = False
    read_all(server)
    assert parts() == []


@pytest.mark.parametrize(
    "how", ["bit in the bytes", "bit in the head", "cut", "longer", "empty", "another's", "folder"]
)
def test_damage_is_seen(server: Server, how: str) -> None:
    """What is damaged is fetched again, and kept again."""
    read_all(server)
    kept = {path: path.read_bytes() for path in parts()}
    for path, other in zip(kept, reversed(kept.values()), strict=True):
        data = bytearray(kept[path])
        if how.startswith("bit"):
            data[2 if "head" in how else -7] ^= 4
        data = {"cut": data[:-1], "longer": data + b"x", "empty": bytearray()}.get(how, data)
        if how == "another's":
            data = bytearray(other)
        path.unlink()
        if how == "folder":
            path.mkdir()
        else:
            path.write_bytes(data)
    for _ in range(2):
        read_all(server)
    if how != "folder":
        assert len(server.asked) == 31 + 31 + 1


def test_bounded(server: Server) -> None:
    """There are never more bytes than allowed; what was used least recently goes first."""
    remote.set_cache_limit(100_000)
    with remote.RemoteFile(server.url + "a") as file:
        for start in range(0, len(DATA), 10_000):
            file.read(start, 10_000)
            file.read(0, 10_000)
            assert taken() <= 100_000
        asked = len(server.asked)
        assert file.read(290_000, 10_000) == DATA[290_000:]
        assert file.read(0, 10_000) == DATA[:10_000]
        assert len(server.asked) == asked
        file.read(0, 60_000)  # too much to be kept
    assert 60_000 < taken() <= 100_000


def test_the_limit(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    """The variable says how much may be kept; with 0 it is nothing."""
    assert cache.cache_limit() == 8 * 2**30
    remote.set_cache_limit(0)
    assert os.environ["BATCHUP_CACHE_BYTES"] == "0"
    read_all(server)
    assert not os.path.exists(remote.cache_folder())
    with pytest.raises(InvalidValueError, match="at least 0"):
        remote.set_cache_limit(-1)
    with pytest.raises(InvalidTypeError, match="integer"):
        remote.set_cache_limit("8 GiB")  # type: ignore[arg-type]
    monkeypatch.setenv("BATCHUP_CACHE_BYTES", "8G")
    with pytest.raises(InvalidValueError, match="BATCHUP_CACHE_BYTES must be a number of bytes"):
        remote.RemoteFile(server.url + "a")


@pytest.fixture(autouse=True)
def _no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHUP_CACHE_BYTES", "")  # so that it is taken back


@pytest.mark.parametrize("fault", ["others may write", "another user's", "a link", "a file", "cannot be written"])
def test_a_folder_that_is_not_ours(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder that others could have written to is not used, and neither is one that we cannot write to."""
    read_all(server)
    top = Path(remote.cache_folder())
    if fault == "others may write":
        top.chmod(0o770)
    elif fault == "another user's":
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    elif fault == "cannot be written":
        monkeypatch.setattr(cache, "cache_folder", lambda: "/proc/no/such")
    else:
        top.rename(tmp_path / "elsewhere")
        top.symlink_to(tmp_path / "elsewhere") if fault == "a link" else top.write_bytes(b"")
    asked = len(server.asked)
    read_all(server)
    assert len(server.asked) == asked + 31
    assert "is not used" in caplog.text or "nothing is kept" in caplog.text


def test_a_full_disk(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Where nothing can be written any more, reading goes on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, hard))
    try:
        read_all(server)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caplog.text.count("nothing more is kept") == 1
    assert parts() == []


def test_cleared_meanwhile(server: Server) -> None:
    """Who has a file open when all is cleared away goes on, and what it reads is kept again."""
    with remote.RemoteFile(server.url + "a") as file:
        for start in range(0, 100_000, 10_000):
            remote.clear_cache()
            assert file.read(start, 10_000) == DATA[start : start + 10_000]
    read_all(server)
    assert len(parts()) == 30


def test_killed(server: Server) -> None:
    """What a process was writing when it was killed is swept away; what it had written is sound."""
    rng = random.Random(4)
    for _ in range(6):
        assert in_a_fork(lambda: _write_for_ever(server), delay=rng.uniform(0.05, 0.2)) == 9
        read_all(server)
        assert not [path for path in parts() if path.name.endswith(".part")]
    with remote.RemoteFile(server.url + "a"):
        pass


def _write_for_ever(server: Server) -> None:
    data = np.frombuffer(DATA, np.uint8)
    with remote.RemoteFile(server.url + "a") as file:
        while True:
            for start in range(0, len(DATA), 10_000):
                file.keep(start, data[start : start + 10_000])


def test_what_nobody_finishes_is_swept(server: Server) -> None:
    """What was begun long ago, or by a process that is no more, goes; what is being written stays."""
    read_all(server)
    folder = parts()[0].parent
    names = {
        "old": f"0-5.{os.getpid()}.1.0.part",
        "dead": "0-5.999999999.1.0.part",
        "mine": f"0-6.{os.getpid()}.1.0.part",
    }
    for name in names.values():
        (folder / name).write_bytes(b"")
    os.utime(folder / names["old"], (1, time.time() - OLD - 60))
    read_all(server)
    assert {path.name for path in parts() if path.name.endswith(".part")} == {names["mine"]}


def test_many_writers(server: Server) -> None:
    """Processes and threads that share the room keep to the limit, and read what is right."""
    remote.set_cache_limit(120_000)

    def read(seed: int) -> None:
        rng = random.Random(seed)
        with remote.RemoteFile(server.url + "a") as file:
            for _ in range(60):
                start = rng.randrange(30) * 10_000
                assert file.read(start, 10_000) == DATA[start : start + 10_000]

    def threads(first: int) -> None:
        crew = [threading.Thread(target=read, args=(first + seed,)) for seed in range(3)]
        for thread in crew:
            thread.start()
        for thread in crew:
            thread.join()

    ended: list[int] = []
    watched = [threading.Thread(target=lambda n=n: ended.append(in_a_fork(lambda: read(n)))) for n in range(2)]
    for thread in watched:
        thread.start()
    threads(10)
    for thread in watched:
        thread.join()
    assert ended == [0, 0]
    assert taken() <= 120_000
