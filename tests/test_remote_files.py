"""Files elsewhere: what is read is of the version that was opened, or it is an error that says what to do."""

from __future__ import annotations

import io
import pickle
import socket
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchup import errors, remote
from batchup.remote import addresses, problems, reader, web

from . import remote as faulty
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


def in_memory(name: str, data: bytes) -> str:
    fsspec.filesystem("memory").pipe_file(f"/{name}", data)
    return f"memory://{name}"


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("where", ["web", "memory"])
def test_parts(server: Server, where: str, cache: bool) -> None:
    """Any part of a file is what lies there, once fetched and once more; what reaches beyond its end is left out."""
    address = server.url + "a" if where == "web" else in_memory("parts", DATA)
    with remote.RemoteFile(address, cache=cache) as file:
        assert file.size == remote.size_of(address) == len(DATA)
        for start, size in [(0, 10), (299_990, 10), (299_990, 50), (300_000, 5), (7, 0), (0, 300_000), (0, 10)]:
            assert file.read(start, size) == DATA[start : start + size]
        out = np.empty(1000, np.uint8)
        file.read_into(500, out)
        assert out.tobytes() == DATA[500:1500]
        with pytest.raises(errors.InvalidValueError, match="300000 bytes"):
            file.read_into(299_500, out)
        with pytest.raises(errors.InvalidTypeError, match="uint8"):
            file.read_into(0, np.empty(4, np.int8))  # type: ignore[arg-type]
    with pytest.raises(errors.InvalidValueError, match="is closed"):
        file.read(0, 1)


def test_an_empty_file(server: Server) -> None:
    """A file without bytes can be opened, too."""
    server.files["none"] = b""
    for address in (server.url + "none", in_memory("none", b"")):
        with remote.opened(address) as file:
            assert file.read() == b""


@given(st.lists(st.tuples(st.integers(0, 320_000), st.integers(0, 50_000)), max_size=12), st.booleans())
def test_a_file_object_reads_as_any_other(moves: list[tuple[int, int]], cached: bool) -> None:
    """Whatever is sought and read, a file object gives what one over the same bytes gives."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "BLOCK", 1000)
        patch.setattr(reader, "MOST", 5)
        patch.setenv("BATCHUP_CACHE_BYTES", "0")
        file, plain = remote.opened(in_memory("any", DATA), cache=cached), io.BytesIO(DATA)
        with file:
            for place, size in moves:
                assert file.seek(place) == plain.seek(place)
                assert file.read(size) == plain.read(size)
            assert file.seek(-10, io.SEEK_END) == len(DATA) - 10
            assert file.read() == DATA[-10:]


def test_libraries_read_it(server: Server) -> None:
    """Zipfile and tarfile read a file elsewhere, and so does a text reader."""
    packed, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive, tarfile.open(fileobj=tarred, mode="w") as tar:
        for name in ("b", "c"):
            archive.writestr(name, DATA)
            info = tarfile.TarInfo(name)
            info.size = len(DATA)
            tar.addfile(info, io.BytesIO(DATA))
    server.files |= {"zip": packed.getvalue(), "tar": tarred.getvalue()}
    with remote.opened(server.url + "zip") as file, zipfile.ZipFile(file) as archive:
        assert archive.read("c") == DATA
    with remote.opened(server.url + "tar") as file, tarfile.open(fileobj=file) as tar:
        assert tar.extractfile("c").read() == DATA  # type: ignore[union-attr]


def test_many_at_once(server: Server) -> None:
    """Threads read different parts of one file at the same time."""
    wrong: list[int] = []
    with remote.RemoteFile(server.url + "a", cache=False) as file:

        def read(first: int) -> None:
            starts = range(first, 300_000, 50_000)
            wrong.extend(start for start in starts if file.read(start, 7000) != DATA[start : start + 7000])

        threads = [threading.Thread(target=read, args=(first,)) for first in range(0, 50_000, 5000)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


PASSING: dict[str, list[Any]] = {
    "cut": [faulty.cut(100), faulty.cut(0)],
    "reset": [faulty.reset(100), faulty.reset(0)],
    "hung up": [faulty.hang_up, faulty.hang_up],
    "busy": [faulty.say(503, Retry_After="0"), faulty.say(429), faulty.say(500), faulty.say(408)],
    "all of it": [faulty.without_parts],
}


@pytest.mark.parametrize("fault", PASSING)
@pytest.mark.parametrize("when", ["opened", "read"])
def test_what_passes_is_tried_again(server: Server, fault: str, when: str) -> None:
    """What may be over the next time is tried again, when a file is opened and when it is read."""
    faults = [] if (fault, when) == ("all of it", "opened") else list(PASSING[fault])
    server.faults = faults if when == "opened" else [None, *faults]
    with remote.RemoteFile(server.url + "a", cache=False) as file:
        assert file.read(0, 100_000) == DATA[:100_000]
    assert server.faults == []


def test_it_goes_on_where_it_was_cut(server: Server) -> None:
    """After a cut only the rest is asked for; as long as it gets on, any number of times."""
    with remote.RemoteFile(server.url + "a", cache=False, retries=1) as file:
        server.faults = [faulty.cut(70_000), faulty.cut(70_000), faulty.cut(70_000)]
        assert file.read(1000, 290_000) == DATA[1000:291_000]
    with remote.RemoteFile(server.url + "a", cache=False) as file:
        server.asked.clear()
        server.faults = [faulty.cut(70_000), faulty.reset(0)]
        assert file.read(1000, 200_000) == DATA[1000:201_000]
    starts = [int(str(asked.range).removeprefix("bytes=").partition("-")[0]) for asked in server.asked]
    assert starts[0] == 1000
    assert 1000 < starts[-1] <= 71_000


@pytest.mark.parametrize("fault", [faulty.stall(100), faulty.mute])
def test_what_stalls_is_left(server: Server, fault: Any) -> None:
    """A connection over which nothing comes is given up after the timeout."""
    with remote.RemoteFile(server.url + "a", cache=False, timeout=0.2) as file:
        server.faults = [fault]
        assert file.read(0, 1000) == DATA[:1000]


def test_a_trickle_is_a_stall(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that come one by one for ever are a stall, too."""
    monkeypatch.setattr(web, "SLOW", 0.3)

    def trickle(handler: Any, data: bytes) -> bool:
        handler.answer(data, most=0)
        try:
            while not handler.ended.wait(0.05):
                handler.wfile.write(b"x")
        except OSError:
            pass
        handler.close_connection = True
        return False

    with remote.RemoteFile(server.url + "a", cache=False, retries=0) as file:
        server.faults = [trickle]
        with pytest.raises(errors.FetchError, match="next to nothing came"):
            file.read(0, 100_000)


def test_it_is_given_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many tries in vain are an error that tells of them; so is a wait longer than anybody has patience for."""
    with remote.RemoteFile(server.url + "a", cache=False, retries=2) as file:
        server.faults = [faulty.say(503)] * 3
        with pytest.raises(errors.FetchError, match=r"answered 503 .*, 3 times"):
            file.read(0, 100)
        server.faults = [faulty.say(503, Retry_After="500")]
        with pytest.raises(errors.FetchError, match="come again after 500 s"):
            file.read(0, 100)
        assert file.read(0, 100) == DATA[:100]


def test_nobody_there() -> None:
    """A refused connection is tried again, and then an error."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        with pytest.raises(errors.FetchError, match="connection was refused, 3 times"):
            remote.RemoteFile(f"http://127.0.0.1:{port}/a", retries=2)


@pytest.mark.parametrize(
    ("status", "told"), [(404, "is still there"), (403, "credentials allow"), (401, "give credentials"), (501, "501")]
)
def test_what_stays_is_an_error_at_once(server: Server, status: int, told: str) -> None:
    """A file that is not there, or not for us, is not asked for again."""
    server.faults = [faulty.say(status)]
    with pytest.raises(errors.FetchError, match=told):
        remote.RemoteFile(server.url + "a")
    assert len(server.asked) == 1


@pytest.mark.parametrize("marks", ["etag and date", "etag", "weak etag", "date", "size"])
@pytest.mark.parametrize("after", [None, 1000])
def test_a_change_is_seen(server: Server, monkeypatch: pytest.MonkeyPatch, marks: str, after: int | None) -> None:
    """When there is another file, reading is an error: before it, and in the middle; bytes are never mixed."""
    server.etags, server.dates = "etag" in marks, "date" in marks
    if marks == "weak etag":
        monkeypatch.setattr(server, "etag_of", lambda data: f'W/"{len(data)}-{data[:2].hex()}"')
    other = numbers(len(DATA) - (marks == "size"), 1)
    with remote.RemoteFile(server.url + "a", cache=False) as file:
        assert file.read(0, 10) == DATA[:10]
        server.faults = [faulty.changed("a", other, after)]
        with pytest.raises(errors.FileFormatError, match="has changed since it was opened"):
            file.read(0, 100_000)
        with pytest.raises(errors.FileFormatError, match="has changed since it was opened"):
            file.read(200_000, 10)
    with remote.RemoteFile(server.url + "a") as file:
        assert file.read(0, 100_000) == other[:100_000]


def test_a_change_in_a_store_is_seen() -> None:
    """What fsspec reads of another version is not handed out."""
    with remote.RemoteFile(in_memory("changing", DATA), cache=False) as file:
        assert file.read(0, 10) == DATA[:10]
        in_memory("changing", numbers(len(DATA), 1))
        with pytest.raises(errors.FileFormatError, match="has changed"):
            file.read(0, 10)
        fsspec.filesystem("memory").rm_file("/changing")
        with pytest.raises(errors.FetchError, match="is not there"):
            file.read(0, 10)


def test_pickled(server: Server) -> None:
    """A file is pickled as what is needed to open it; it must be the same version still."""
    with remote.RemoteFile(server.url + "a", headers={"X-Key": "7"}, cache=False) as file:
        pickled = pickle.dumps(file)
        with pickle.loads(pickled) as again:
            assert again.read(5, 5) == DATA[5:10]
        assert server.asked[-1].headers["X-Key"] == "7"
    server.files["a"] = numbers(len(DATA), 1)
    with pytest.raises(errors.FileFormatError, match="has changed"):
        pickle.loads(pickled)


def test_a_server_without_parts(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file is fetched whole from a server that gives no parts; a large one is an error that says so."""
    server.faults = [faulty.without_parts]
    with remote.RemoteFile(server.url + "a") as file:
        assert file.read(5, 50) == DATA[5:55]
    assert len(server.asked) == 1
    monkeypatch.setattr(web, "WHOLE", 1000)
    server.faults = [faulty.without_parts]
    with pytest.raises(errors.FetchError, match=r"ignores Range.*copy it here"):
        remote.RemoteFile(server.url + "a")


@pytest.mark.parametrize("part", [(0, 150_000), (0, 500), (900, 910), (1000, 2000), (1001, 1010)])
def test_another_part_is_refused(server: Server, part: tuple[int, int]) -> None:
    """An answer with another part than was asked for is not believed."""
    with remote.RemoteFile(server.url + "a", cache=False) as file:
        server.faults = [faulty.another_part(*part)]
        with pytest.raises(errors.FetchError, match="another part"):
            file.read(1000, 10)


def test_connections_are_used_again(server: Server) -> None:
    """One connection does for all requests of a thread, whether the length of an answer is known or not."""
    server.faults = [None, faulty.in_chunks] * 5
    with remote.RemoteFile(server.url + "a", cache=False) as file:
        for start in range(0, 200_000, 20_000):
            assert file.read(start, 55_555) == DATA[start : start + 55_555]
    assert server.connections == 1


def test_more_than_was_said(server: Server) -> None:
    """What comes behind the part that was asked for is not read; nor is the connection used again."""

    def endless(handler: Any, data: bytes) -> bool:
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes 0-0/{len(data)}")
        handler.send_header("ETag", handler.of.etag_of(data))
        handler.send_header("Content-Length", str(10**12))
        handler.end_headers()
        handler.wfile.write(data[:10])
        handler.ended.wait(60)
        handler.close_connection = True
        return False

    server.faults = [endless]
    with remote.RemoteFile(server.url + "a", cache=False, retries=0) as file:
        assert file.read(5, 5) == DATA[5:10]
        server.faults = [endless]
        assert file.read(0, 1) == DATA[:1]


def test_less_than_was_asked_for(server: Server) -> None:
    """The rest of an answer that has less than was asked for is asked for anew."""
    with remote.RemoteFile(server.url + "a", cache=False) as file:
        server.faults = [faulty.another_part(1000, 1500)]
        assert file.read(1000, 1000) == DATA[1000:2000]


def to(where: str) -> Any:
    return faulty.say(302, Location=where)


def test_redirects(server: Server) -> None:
    """A file is followed to where it is, and asked for there; when it is there no more, where it was said to be."""
    with Server(b=DATA).running() as other:
        server.faults = [to("/moved"), to(other.url + "b")]
        with remote.RemoteFile(server.url + "a", headers={"Authorization": "Bearer 1"}, cache=False) as file:
            assert file.read(5, 5) == DATA[5:10]
            assert [asked.path for asked in server.asked] == ["a", "moved"]
            assert [asked.path for asked in other.asked] == ["b", "b"]
            other.files["c"] = other.files.pop("b")
            server.faults = [to(other.url + "c")]
            assert file.read(10, 5) == DATA[10:15]
        assert all(asked.headers["Authorization"] == "Bearer 1" for asked in server.asked)
        assert not any("Authorization" in asked.headers for asked in other.asked)


@pytest.mark.parametrize("target", ["ftp://127.0.0.1/a", "file:///etc/passwd", ""])
def test_redirects_elsewhere_are_refused(server: Server, target: str) -> None:
    """Nothing but the web is followed."""
    server.faults = [to(target)]
    with pytest.raises(errors.FetchError, match="no address of the web"):
        remote.RemoteFile(server.url + "a")


def test_redirects_in_the_open_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """From https nobody is led to http."""
    access = web.WebAccess("https://127.0.0.1/a", {}, 1.0)
    assert access._next("https://127.0.0.1/a", "b") == "https://127.0.0.1/b"
    with pytest.raises(errors.FetchError, match="from https to http"):
        access._next("https://127.0.0.1/a", "http://127.0.0.1/b")


def test_round_and_round(server: Server) -> None:
    """Redirects in a circle are an error."""
    server.faults = [to(server.url + "a")] * 20
    with pytest.raises(errors.FetchError, match="more than 10 times"):
        remote.RemoteFile(server.url + "a")


def test_passwords(server: Server) -> None:
    """A name and a password in an address are sent, and shown to nobody."""
    address = f"http://me:s%40cret@127.0.0.1:{server.port}/a?X-Signature=s%40cret"
    server.faults = [None, faulty.say(403)]
    with remote.RemoteFile(address, cache=False) as file:
        assert server.asked[0].headers["Authorization"] == "Basic bWU6c0BjcmV0"
        assert server.asked[0].path == "a?X-Signature=s%40cret"
        with pytest.raises(errors.FetchError) as caught:
            file.read(0, 5)
        for text in (repr(file), str(caught.value), file.name):
            assert "cret" not in text
            assert "127.0.0.1" in text


@pytest.mark.parametrize(
    ("address", "kind", "told"),
    [
        ("train.hsq", errors.InvalidValueError, "must begin with a scheme"),
        ("file:///a", errors.InvalidValueError, "must begin with a scheme"),
        (b"http://a", errors.InvalidTypeError, "must be a str"),
        ("nosuch://a/b", errors.InvalidValueError, "nobody knows what nosuch:// is"),
        ("http://", errors.InvalidValueError, "no address of the web"),
        ("memory://not/there", errors.FetchError, "is not there"),
    ],
)
def test_addresses_that_are_none(address: Any, kind: type[Exception], told: str) -> None:
    """What is no address of a file elsewhere is an error that says so."""
    with pytest.raises(kind, match=told):
        remote.RemoteFile(address)


@pytest.mark.parametrize(("scheme", "package"), [("s3", "s3fs"), ("gs", "gcsfs"), ("abfs", "adlfs")])
def test_packages_that_are_missing(monkeypatch: pytest.MonkeyPatch, scheme: str, package: str) -> None:
    """Where fsspec needs a package that is not installed, its name is told."""
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, scheme, raising=False)
    with pytest.raises(errors.MissingExtraError, match=f"pip install {package}"):
        remote.RemoteFile(f"{scheme}://bucket/a")


def test_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is asked for over a network where that is not wanted."""
    monkeypatch.setenv("BATCHUP_OFFLINE", "1")
    with pytest.raises(errors.FetchError, match="BATCHUP_OFFLINE"):
        remote.RemoteFile("http://127.0.0.1:9/a")
    assert remote.size_of(in_memory("near", b"123")) == 3


def test_listed(tmp_path: Path) -> None:
    """Patterns are looked up where there are lists of files; addresses of the web are what they are."""
    for name in ("x/b.hsq", "x/a.hsq", "x/c.txt", "x/y/d.hsq"):
        in_memory(name, b"1")
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert remote.listed("memory://x/*.hsq") == ["memory://x/a.hsq", "memory://x/b.hsq"]
    assert remote.listed(f"{tmp_path}/x/*.hsq") == [f"{tmp_path}/x/a.hsq", f"{tmp_path}/x/b.hsq"]
    assert remote.listed("https://host/a.hsq?x=*") == ["https://host/a.hsq?x=*"]
    with pytest.raises(errors.InvalidValueError, match="no lists of files"):
        remote.listed("https://host/*.hsq")


def test_local_paths(tmp_path: Path) -> None:
    """An address with file:// is a path of this machine."""
    (tmp_path / "a b").write_bytes(b"12")
    address = (tmp_path / "a b").as_uri()
    assert not remote.is_remote(address)
    assert addresses.local_path(address) == str(tmp_path / "a b")
    assert remote.size_of(address) == 2
    with pytest.raises(errors.InvalidValueError, match="three slashes"):
        addresses.local_path("file://host/a")


def closes(file: remote.RemoteFile, read: Callable[[], Any]) -> BaseException | None:
    """Close a file while another thread reads from it, and return what that gets."""
    caught: list[BaseException] = []

    def run() -> None:
        try:
            read()
        except BaseException as error:  # noqa: BLE001  that is the question
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(0.2)
    file.close()
    thread.join()
    return caught[0] if caught else None


@pytest.mark.parametrize("fault", [faulty.stall(10), faulty.say(503, Retry_After="60")])
def test_closed_while_somebody_waits(server: Server, fault: Any) -> None:
    """Who waits for bytes, or to ask again, does so no longer when the file is closed."""
    file = remote.RemoteFile(server.url + "a", cache=False, timeout=60)
    server.faults = [fault]
    error = closes(file, lambda: file.read(0, 1000))
    assert isinstance(error, errors.InvalidValueError)
    assert "is closed" in str(error)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://me:secret@host:81/a?X-Amz-Signature=secret#b", "https://host:81/a?..."),
        ("https://host#token=secret", "https://host"),
        ("https://host?sig=secret", "https://host?..."),
        ("http://[::1]:80/a?sig=secret", "http://[::1]:80/a?..."),
        ("webdav+https://me:secret@host/a#token=secret", "webdav+https://host/a"),
        ("s3://key:se/secret@bucket/a #1@b", "s3://bucket/a #1@b"),
        ("s3://bucket/a@b/c", "s3://bucket/a@b/c"),
        ("zip://x::s3://key:secret@b/a.zip::https://h/y?s=secret", "zip://x::s3://b/a.zip::https://h/y?..."),
        ("simplecache::s3://key:secret@b/c", "simplecache::s3://b/c"),
    ],
)
def test_what_is_shown_of_addresses(address: str, shown: str) -> None:
    """No link of an address shows a password, a key or a signature; names in stores are shown whole."""
    assert addresses.shown(address) == shown
