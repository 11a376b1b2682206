"""Files are fetched from servers that stall, cut, lie and refuse: whole and right, or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchup.datasets import fetching, partial, transfer
from batchup.datasets.fetching import fetch
from batchup.datasets.partial import digest_of
from batchup.errors import BatchUpError, FetchError, MissingExtraError

from . import web
from .web import Server

DATA = np.random.default_rng(1).bytes(300_000)
DIGEST = hashlib.sha256(DATA).hexdigest()


REAL = {"PATIENCE": fetching.PATIENCE, "CONNECT": transfer.CONNECT, "STALL": transfer.STALL}


@pytest.fixture
def server() -> Iterator[Server]:
    with Server({"a.bin": DATA, "b.bin": DATA}).running() as server:
        yield server
    until = time.monotonic() + 20  # threads that were let go end soon, and are not to disturb other tests
    while any(thread.name.startswith("batchup fetches") for thread in threading.enumerate()):
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have less patience than with real servers."""
    monkeypatch.setattr(fetching, "WAIT", 0.01)
    monkeypatch.setattr(fetching, "PATIENCE", 3.0)
    monkeypatch.setattr(fetching, "SHARE", 0.5)
    monkeypatch.setattr(transfer, "STALL", 0.4)
    monkeypatch.setattr(transfer, "SLOW", 0.4)
    monkeypatch.setattr(transfer, "_READ", 2**14)
    for module in (transfer, fetching):
        monkeypatch.setattr(module, "SLOW_BYTES", 2**14)
    monkeypatch.delenv("BATCHUP_OFFLINE", raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def closed_port() -> int:
    """Return a port at which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def fetched(path: Any, addresses: Any, sha256: str | None = None) -> str:
    """Fetch a file; return its digest."""
    assert fetch(str(path), addresses, sha256)
    return digest_of(str(path))


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_fetch(server: Server, tmp_path: Path) -> None:
    """A file comes whole, and nothing is left beside it."""
    assert fetched(str(tmp_path / "a.bin"), [server.url + "a.bin"], DIGEST.upper()) == DIGEST
    assert (tmp_path / "a.bin").read_bytes() == DATA
    assert left_in(tmp_path) == ["a.bin"]
    assert [request.range for request in server.requests] == [None]


def test_without_a_digest(server: Server, tmp_path: Path) -> None:
    """Without a digest whatever comes is taken, and its digest is told; only one version of it is taken."""
    server.behave(web.cut(100_000), "a.bin")
    server.files["b.bin"] = DATA[::-1]
    told = fetched(tmp_path / "a.bin", [server.url + "a.bin"])
    assert told == DIGEST
    first, *others = server.requests
    assert (first.range, first.if_range) == (None, None)
    assert {request.if_range for request in others} == {'"1"'}
    assert all(request.range for request in others)
    (tmp_path / "a.bin").unlink()
    told = fetched(tmp_path / "a.bin", [server.url + "a.bin", server.url + "b.bin"])
    assert told == hashlib.sha256(DATA[::-1]).hexdigest()


def test_versions_are_not_mixed(server: Server, tmp_path: Path) -> None:
    """Without a digest, a file that changes on the server in the middle is fetched anew."""

    def change(handler: Any, data: bytes) -> bool:
        handler.answer(data, most=100_000)
        handler.close_connection = True
        server.files["a.bin"] = b"another one"
        server.behave(new_version, "a.bin")
        return False

    def new_version(handler: Any, data: bytes) -> bool:
        handler.ranges = False  # the tag is another one: If-Range has the server give all of it
        return True

    server.behave(change, "a.bin", times=1)
    fetch(str(tmp_path / "a.bin"), [server.url + "a.bin"])
    assert (tmp_path / "a.bin").read_bytes() == b"another one"


@pytest.mark.parametrize(
    ("behaviour", "times"),
    [
        (web.cut(100_000), None),
        (web.cut(1), 2),
        (web.stall(100_000), 2),
        (web.stall(), 1),
        (web.mute, 1),
        (web.refuse(503), 2),
        (web.refuse(429, Retry_After="0"), 1),
        (web.refuse(500), 1),
        (web.whole, None),
        (web.lie(+1000), None),
        (web.encoded, None),
    ],
    ids=[
        "cut",
        "cut at once",
        "stall",
        "stall at once",
        "mute",
        "503",
        "429",
        "500",
        "no parts",
        "too long",
        "encoded",
    ],
)
def test_troubles_that_pass(server: Server, tmp_path: Path, behaviour: Any, times: int | None) -> None:
    """What a server does wrong at first, or with parts of a file, does not matter in the end."""
    server.behave(behaviour, "a.bin", times)
    fetch(str(tmp_path / "a.bin"), [server.url + "a.bin"], DIGEST)
    assert (tmp_path / "a.bin").read_bytes() == DATA
    assert left_in(tmp_path) == ["a.bin"]


@pytest.mark.parametrize(
    ("behaviour", "told"),
    [
        (web.page, "57 bytes of text/html that begin with b'<!DOCTYPE html>.*which is a web page"),
        (web.refuse(404), "answered 404"),
        (web.refuse(403), "answered 403"),
        (web.refuse(503), r"answered 503 Service Unavailable \(3 times\)"),
        (web.refuse(429, Retry_After="3600"), "answered 429 Too Many Requests, come again after 3600 s"),
        (web.refuse(204), "answered 204 No Content instead of the file"),
        (web.mute, r"no answer"),
        (web.stall(10), "stalled"),
        (web.cut(0), "the connection ended before the file did"),
        (
            web.lie(-1000),
            "what came is not what is wanted: sha256 [0-9a-f]{64} instead of " + DIGEST + ", 299,000 bytes",
        ),
        (web.redirect("http://127.0.0.1:1/"), "the connection was refused"),
        (web.redirect("file:///etc/passwd"), "cannot be fetched"),
        (web.another_part, "gave the bytes from 150000 on, and not those from 0 on"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_the_next_address(server: Server, tmp_path: Path, behaviour: Any, told: str) -> None:
    """Where one address does not give the file, the next one does; if none does, the error says how each went."""
    server.behave(behaviour, "a.bin")
    path = str(tmp_path / "a.bin")
    with pytest.raises(FetchError, match=told):
        fetch(path, [server.url + "a.bin"], DIGEST)
    assert not os.path.exists(path)
    assert fetched(path, [server.url + "a.bin", server.url + "b.bin"], DIGEST) == DIGEST
    assert Path(path).read_bytes() == DATA


def test_redirects_are_followed(server: Server, tmp_path: Path) -> None:
    """An address may send on to another."""
    server.behave(web.redirect(server.url + "b.bin"), "a.bin")
    assert fetched(str(tmp_path / "a.bin"), [server.url + "a.bin"], DIGEST) == DIGEST


def test_what_is_wrong_is_kept_aside(server: Server, tmp_path: Path) -> None:
    """A file with another digest is kept for whoever wants to look at it; it is not used."""
    server.files["a.bin"] = b"something else"
    with pytest.raises(FetchError, match=r"14 bytes that begin with b'something else'.*it is kept as .*a.bin.rejected"):
        fetch(str(tmp_path / "a.bin"), [server.url + "a.bin"], DIGEST)
    assert left_in(tmp_path) == ["a.bin.rejected"]
    assert (tmp_path / "a.bin.rejected").read_bytes() == b"something else"


def test_one_goes_on_where_another_stopped(server: Server, tmp_path: Path) -> None:
    """What came from one address is not asked of the next, nor of the same one by a later program."""
    server.behave(web.cut(100_000), "a.bin", times=1)
    fetch(str(tmp_path / "a.bin"), [server.url + "a.bin"], DIGEST)
    assert [request.range for request in server.requests] == [None, "bytes=100000-"]
    (tmp_path / "b.bin.partial").write_bytes(DATA[:250_000])
    fetch(str(tmp_path / "b.bin"), [server.url + "c.bin", server.url + "b.bin"], DIGEST)
    assert [request.range for request in server.requests[2:]] == ["bytes=250000-"] * 2


@pytest.mark.parametrize(
    "there", [b"x" * 1000, DATA, DATA + b"more", b"x" * 400_000], ids=["wrong", "all", "more", "too long"]
)
def test_what_is_there_may_be_anything(server: Server, tmp_path: Path, there: bytes) -> None:
    """Whatever a program left behind, the file is right in the end."""
    (tmp_path / "a.bin.partial").write_bytes(there)
    fetch(str(tmp_path / "a.bin"), [server.url + "a.bin"], DIGEST)
    assert (tmp_path / "a.bin").read_bytes() == DATA
    assert left_in(tmp_path) == ["a.bin"]


def test_no_network(tmp_path: Path) -> None:
    """Where nobody listens and names are not known, all addresses are told, soon."""
    begin = time.monotonic()
    urls = [f"http://127.0.0.1:{closed_port()}/a.bin", "http://no-such-host.invalid/a.bin"]
    with pytest.raises(FetchError) as caught:
        fetch(str(tmp_path / "a.bin"), urls, DIGEST)
    lines = str(caught.value).split("\n")
    assert lines[0] == f"{urls[0]}: the connection was refused (3 times)"
    assert lines[1].startswith(f"{urls[1]}: ")
    assert time.monotonic() - begin < 10
    assert left_in(tmp_path) == []


def test_nobody_answers(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With servers that take connections and say nothing, it is over when the patience is, however many there are."""
    monkeypatch.setattr(fetching, "PATIENCE", 1.0)
    server.behave(web.mute)
    begin = time.monotonic()
    with pytest.raises(FetchError) as caught:
        fetch(str(tmp_path / "a.bin"), [f"{server.url}{i}" for i in range(20)], DIGEST)
    assert time.monotonic() - begin < 5
    assert str(caught.value).count("no answer") >= 2
    assert str(caught.value).count("not asked any more") >= 10


def test_the_patience_is_what_is_promised() -> None:
    """Half a minute holds all that is waited for at the end: the patience, and a connection that nobody takes."""
    assert REAL["PATIENCE"] + REAL["CONNECT"] <= 30


@pytest.mark.parametrize("wrong", [False, True], ids=["right", "wrong"])
@pytest.mark.parametrize("digest", [True, False], ids=["with digest", "without"])
@pytest.mark.parametrize("whole", [False, True], ids=["by parts", "whole only"])
def test_an_end_is_made(server: Server, tmp_path: Path, wrong: bool, digest: bool, whole: bool) -> None:
    """A server that cuts every answer is not asked for ever, whatever it gives."""

    def cut(handler: Any, data: bytes) -> bool:
        handler.ranges = not whole
        handler.answer(data, most=100_000)
        handler.close_connection = True
        return False

    server.behave(cut, "a.bin")
    if wrong:
        server.files["a.bin"] = DATA[::-1]
    begin = time.monotonic()
    addresses, wanted = [server.url + "a.bin"], DIGEST if digest else None
    if not whole and not (wrong and digest):
        assert fetch(str(tmp_path / "a.bin"), addresses, wanted)
    else:
        with pytest.raises(FetchError):
            fetch(str(tmp_path / "a.bin"), addresses, wanted)
    assert time.monotonic() - begin < 5
    assert len(server.requests) < 20


def test_a_slow_one_leaves_time_for_the_next(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that gives next to nothing does not use up the time of the others."""
    monkeypatch.setattr(transfer, "SLOW", 3.0)
    monkeypatch.setattr(transfer, "STALL", 3.0)
    server.behave(web.stall(10), "a.bin")
    server.behave(web.mute, "c.bin")
    urls = [server.url + name for name in ("a.bin", "c.bin", "b.bin")]
    assert fetch(str(tmp_path / "a.bin"), urls, DIGEST)
    assert [request.path for request in server.requests] == ["a.bin", "c.bin", "b.bin"]


def test_passwords_are_not_shown(server: Server, tmp_path: Path) -> None:
    """An address is told without the password in it, which is used."""
    url = server.url.replace("http://", "http://me:secret@")
    with pytest.raises(FetchError) as caught:
        fetch(str(tmp_path / "a.bin"), [url + "c.bin"], DIGEST)
    assert "secret" not in str(caught.value)
    assert f"{server.url}c.bin: answered 404" in str(caught.value)
    assert fetch(str(tmp_path / "a.bin"), [url + "a.bin"], DIGEST)


def test_what_is_there_is_not_fetched(server: Server, tmp_path: Path) -> None:
    """A file that has come while one waited is left as it is."""
    (tmp_path / "a.bin").write_bytes(DATA)
    assert not fetch(str(tmp_path / "a.bin"), [server.url + "a.bin"], DIGEST)
    assert server.requests == []
    assert left_in(tmp_path) == ["a.bin"]


def test_a_slow_server_is_given_time(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is slow, and comes on, may take longer than the patience."""
    monkeypatch.setattr(fetching, "PATIENCE", 0.5)

    def slowly(handler: Any, data: bytes) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        for start in range(0, len(data), 30_000):
            handler.wfile.write(data[start : start + 30_000])
            time.sleep(0.1)
        return False

    server.behave(slowly, "a.bin")
    begin = time.monotonic()
    fetch(str(tmp_path / "a.bin"), [server.url + "a.bin"], DIGEST)
    assert time.monotonic() - begin > 0.9
    server.files["a.bin"] = DATA[::-1]  # however long a wrong file took, the next address is asked
    assert fetch(str(tmp_path / "b.bin"), [server.url + "a.bin", server.url + "b.bin"], DIGEST)


def test_a_server_that_drips(server: Server, tmp_path: Path) -> None:
    """Next to nothing, again and again, is no progress."""

    def drip(handler: Any, data: bytes) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        with contextlib.suppress(OSError):  # whoever asked has gone
            for byte in data:
                handler.wfile.write(bytes([byte]))
                handler.wfile.flush()
                if handler.ended.wait(0.02):
                    break
        handler.close_connection = True
        return False

    server.behave(drip, "a.bin")
    with pytest.raises(FetchError, match="stalled: next to nothing came"):
        fetch(str(tmp_path / "a.bin"), [server.url + "a.bin"], DIGEST)


def test_offline(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With BATCHUP_OFFLINE=1 nothing is asked over a network, not even a mirror; folders are fine."""
    monkeypatch.setenv("BATCHUP_OFFLINE", "1")
    with pytest.raises(FetchError, match="not asked, since BATCHUP_OFFLINE=1"):
        fetch(str(tmp_path / "a.bin"), [server.url + "a.bin"], DIGEST)
    assert server.requests == []
    (tmp_path / "mirror.bin").write_bytes(DATA)
    fetch(str(tmp_path / "a.bin"), [server.url + "a.bin", str(tmp_path / "mirror.bin")], DIGEST)
    assert (tmp_path / "a.bin").read_bytes() == DATA
    monkeypatch.setenv("BATCHUP_OFFLINE", "perhaps")
    with pytest.raises(ValueError, match="BATCHUP_OFFLINE must be 1 or 0, got 'perhaps'"):
        fetch(str(tmp_path / "b.bin"), [server.url + "a.bin"], DIGEST)


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_paths(tmp_path: Path, prefix: str) -> None:
    """A path of this machine is an address, too; one that is not there is told."""
    (tmp_path / "mirror.bin").write_bytes(DATA)
    addresses = [f"{prefix}{tmp_path}/missing.bin", f"{prefix}{tmp_path}/mirror.bin"]
    assert fetched(str(tmp_path / "a.bin"), addresses, DIGEST) == DIGEST
    with pytest.raises(FetchError, match=r"missing\.bin: No such file or directory"):
        fetch(str(tmp_path / "b.bin"), addresses[:1], DIGEST)


def test_proxies(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses are asked for by way of the proxy that the environment names."""
    server.files["http://far.away.invalid/a.bin"] = DATA
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert fetched(str(tmp_path / "a.bin"), ["http://far.away.invalid/a.bin"], DIGEST) == DIGEST


def test_no_room(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a file does not fit, the error says what it needs and what there is, before anything is written."""
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(
        OSError, match=r"no room for a.bin: 300,000 bytes are still to come, and there is room for 1,000; set"
    ):
        fetch(str(tmp_path / "a.bin"), [server.url + "a.bin"], DIGEST)
    assert left_in(tmp_path) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no disk that is always full")
@pytest.mark.parametrize("said", [True, False], ids=["of known size", "of unknown size"])
def test_the_disk_fills_up(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bool) -> None:
    """When the disk is full, what came is kept if there is an end to it, and removed if nobody knows."""

    def chunked(handler: Any, data: bytes) -> bool:
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(data)
        handler.close_connection = True
        return False

    if not said:
        server.behave(chunked, "a.bin")

    class Full(partial.Whole):
        def write(self, data: Any) -> int:
            if self._file.tell() + len(data) > 100_000:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data)

    real = partial.Whole
    monkeypatch.setattr(partial, "Whole", Full)
    monkeypatch.setattr(transfer, "_WAITING", 2**14)
    with pytest.raises(OSError, match=r"no room for a\.bin") as caught:
        fetch(str(tmp_path / "a.bin"), [server.url + "a.bin"], DIGEST)
    assert caught.value.errno == errno.ENOSPC
    assert left_in(tmp_path) == (["a.bin.partial"] if said else [])
    monkeypatch.setattr(partial, "Whole", real)
    fetch(str(tmp_path / "a.bin"), [server.url + "b.bin"], DIGEST)
    assert (tmp_path / "a.bin").read_bytes() == DATA


def test_two_at_once(server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of several who want a file at once one fetches, and each has it."""
    server.behave(web.stall(50_000), "a.bin", times=1)
    path, done = str(tmp_path / "a.bin"), []

    def one() -> None:
        if not os.path.exists(path):
            done.append(fetch(path, [server.url + "a.bin"], DIGEST))

    threads = [threading.Thread(target=one) for _ in range(4)]
    with caplog.at_level(logging.WARNING, "batchup"):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum(done) == 1
    assert [request.range for request in server.requests if request.range is None] == [None]
    assert Path(path).read_bytes() == DATA
    assert any("waiting for another program" in record.message for record in caplog.records)


def test_interrupted(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends it at once; what came is kept, and no thread goes on."""

    class Bar:
        def __init__(self, *_: Any, **__: Any) -> None:
            self.came = 0

        def update(self, count: int) -> None:
            self.came += count
            if self.came >= 100_000:
                raise KeyboardInterrupt

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(transfer, "_WAITING", 2**14)
    with monkeypatch.context() as patched:
        patched.setattr(partial.PartialFile, "_bar", lambda _: Bar())
        with pytest.raises(KeyboardInterrupt):
            fetch(str(tmp_path / "a.bin"), [server.url + "a.bin"], DIGEST)
    assert left_in(tmp_path) == ["a.bin.partial"]
    until = time.monotonic() + 10
    while any(thread.name.startswith("batchup fetches") for thread in threading.enumerate()):
        assert time.monotonic() < until
        time.sleep(0.01)
    fetch(str(tmp_path / "a.bin"), [server.url + "a.bin"], DIGEST)
    assert (tmp_path / "a.bin").read_bytes() == DATA


def test_without_pooch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pooch, the error names the command that installs it; files of this machine do not need it."""
    monkeypatch.setitem(__import__("sys").modules, "pooch", None)
    with pytest.raises(MissingExtraError, match=r'fetching data sets needs pooch: pip install "batchup\[datasets\]"'):
        fetch(str(tmp_path / "a.bin"), ["http://127.0.0.1:1/a.bin"], DIGEST)
    (tmp_path / "mirror.bin").write_bytes(DATA)
    assert fetched(str(tmp_path / "a.bin"), [str(tmp_path / "mirror.bin")], DIGEST) == DIGEST


def test_no_address(tmp_path: Path) -> None:
    """Without an address there is nothing to fetch from."""
    with pytest.raises(BatchUpError, match="there is no address to fetch it from"):
        fetch(str(tmp_path / "a.bin"), [], DIGEST)


@pytest.mark.parametrize(
    ("tag", "total"),
    [('"2"', "300000"), ('W/"1"', "300000"), ('"1"', "299000"), ('"1"', "*")],
    ids=["another tag", "a weak tag", "another length", "no length"],
)
def test_parts_of_another_version(server: Server, tmp_path: Path, tag: str, total: str) -> None:
    """Without a digest, a part is taken only of the version that the first part was of, whatever If-Range became of."""
    other = bytes(len(DATA))

    def behaviour(handler: Any, data: bytes) -> bool:
        if handler.headers["Range"] is None and len(server.requests) > 1:
            return web.plain(200, other, Content_Length="300000")(handler, data)
        if handler.headers["Range"] is None:
            return web.cut(100_000)(handler, data)
        part = {"Content_Range": f"bytes 100000-299999/{total}", "Content_Length": "200000", "ETag": tag}
        return web.plain(206, other[100_000:], **part)(handler, data)

    server.behave(behaviour, "a.bin")
    try:
        fetch(str(tmp_path / "a.bin"), [server.url + "a.bin"])
    except FetchError:
        assert total == "*"
    else:
        assert (tmp_path / "a.bin").read_bytes() == other


def test_parts_of_other_addresses(server: Server, tmp_path: Path) -> None:
    """Without a digest, parts of two addresses are not put together, even if both give them the same tag."""
    server.files["b.bin"] = bytes(len(DATA))
    server.behave(web.cut(100_000), "a.bin")
    assert fetch(str(tmp_path / "a.bin"), [server.url + "a.bin", server.url + "b.bin"])
    assert (tmp_path / "a.bin").read_bytes() in (DATA, bytes(len(DATA)))


def test_an_end_that_cannot_be_seen(server: Server, tmp_path: Path) -> None:
    """Where nobody says how much is to come, a digest tells whether all did; without one it is refused."""
    server.behave(web.plain(200, DATA), "a.bin")
    assert fetch(str(tmp_path / "a.bin"), [server.url + "a.bin"], DIGEST)
    with pytest.raises(FetchError, match="does not say how large the file is, and there is no digest"):
        fetch(str(tmp_path / "b.bin"), [server.url + "a.bin"])


def test_a_part_that_is_cut(server: Server, tmp_path: Path) -> None:
    """A part whose end is told, and the file's is not, is gone on with when it is cut."""
    (tmp_path / "a.bin.partial").write_bytes(DATA[:100_000])
    part = {"Content_Range": "bytes 100000-299999/*", "Content_Length": "200000"}
    server.behave(web.plain(206, DATA[100_000:], most=50_000, **part), "a.bin", times=1)
    assert fetch(str(tmp_path / "a.bin"), [server.url + "a.bin"], DIGEST)
    assert [request.range for request in server.requests] == ["bytes=100000-", "bytes=150000-"]


@pytest.mark.parametrize("answer", ["page", "shorter", "416"])
def test_what_came_is_not_given_up_for_a_bad_answer(server: Server, tmp_path: Path, answer: str) -> None:
    """A page that wants one to log in, or a mirror with a shorter file, does not cost what came from others."""
    (tmp_path / "a.bin.partial").write_bytes(DATA[:290_000])
    server.files["short.bin"] = b"x" * 1000
    if answer == "page":
        server.behave(web.page, "short.bin")
    elif answer == "shorter":
        server.behave(web.whole, "short.bin")
    assert fetch(str(tmp_path / "a.bin"), [server.url + "short.bin", server.url + "a.bin"], DIGEST)
    assert server.requests[-1] == ("a.bin", "bytes=290000-", None)
    if answer == "page":
        (tmp_path / "b.bin.partial").write_bytes(DATA[:290_000])
        with pytest.raises(FetchError, match="gave a web page, and not the rest of the file"):
            fetch(str(tmp_path / "b.bin"), [server.url + "short.bin"], DIGEST)
        assert (tmp_path / "b.bin.partial").stat().st_size == 290_000


def test_a_mirror_that_lies_about_its_size(server: Server, tmp_path: Path) -> None:
    """A file that is said to be larger than the disk is a problem of that address, and told if it is the only one."""
    server.behave(web.plain(200, DATA, Content_Length=str(10**17)), "lies.bin")
    server.behave(web.plain(200, DATA, Content_Length="9" * 5000), "nonsense.bin")
    urls = [server.url + name for name in ("lies.bin", "nonsense.bin", "a.bin")]
    assert fetch(str(tmp_path / "a.bin"), urls, DIGEST)
    with pytest.raises(OSError, match=r"no room for b\.bin: 100,000,000,000,000,000 bytes are still to come") as caught:
        fetch(str(tmp_path / "b.bin"), urls[:1], DIGEST)
    assert caught.value.errno == errno.ENOSPC


def test_addresses_that_are_none(server: Server, tmp_path: Path) -> None:
    """An address that cannot be one is told, and the next is asked."""
    urls = ["http://[::1", "http://", "http://a b/", server.url + "a.bin"]
    assert fetch(str(tmp_path / "a.bin"), urls, DIGEST)
    with pytest.raises(FetchError, match=r"http://\[::1: cannot be fetched"):
        fetch(str(tmp_path / "b.bin"), urls[:1], DIGEST)


def test_somebody_removes_what_came(server: Server, tmp_path: Path) -> None:
    """If the file is removed or replaced while it is fetched, nothing else gets its name."""

    def removed(handler: Any, data: bytes) -> bool:
        (tmp_path / "a.bin.partial").unlink()
        (tmp_path / "a.bin.partial").write_bytes(b"junk")
        return True

    server.behave(removed, "a.bin")
    with pytest.raises(BatchUpError, match="has been removed or replaced by somebody"):
        fetch(str(tmp_path / "a.bin"), [server.url + "a.bin"], DIGEST)
    assert not (tmp_path / "a.bin").exists()


def test_what_is_no_file(tmp_path: Path) -> None:
    """A folder or a pipe in the place of a file is told, and not waited for."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FetchError) as caught:
        fetch(str(tmp_path / "a.bin"), [str(tmp_path), str(tmp_path / "pipe")], DIGEST)
    assert str(caught.value).count("is no file") == 2
