"""Data sets of one's own: sources, conversions, and what goes wrong with them."""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from batchup.datasets import fetching, mnist
from batchup.datasets.dataset import (
    AbstractSourceFile,
    CopySourceFile,
    DownloadSourceFile,
    ExistingSourceFile,
    delete_dataset_cache,
    fetch_and_convert_dataset,
    path_string,
)
from batchup.datasets.manifest import manifest_path, verify
from batchup.errors import ChecksumError, FetchError, FileFormatError

from .web import Server

DATA = b"one of my own files" * 1000
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have a place for data, and no mirror."""
    monkeypatch.setenv("BATCHUP_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("BATCHUP_MIRROR", raising=False)
    monkeypatch.setattr(fetching, "WAIT", 0.01)
    return tmp_path / "home" / "data"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server({"a.bin": DATA, "sub/a.bin": DATA}).running() as server:
        yield server


def left_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_file(home: Path, server: Server) -> None:
    """A converted file is made once; what it was made of is removed."""
    calls = []

    @fetch_and_convert_dataset([DownloadSourceFile("a.bin", url=server.url + "a.bin", sha256=DIGEST)], "mine.txt")
    def fetch_mine(source_paths: list[str], target_path: str) -> str:
        """Fetch mine."""
        calls.append(target_path)
        assert target_path.endswith("mine.txt")
        shutil.move(source_paths[0], target_path)
        return target_path

    assert fetch_mine.__name__ == "fetch_mine"
    assert fetch_mine.__doc__ == "Fetch mine."
    assert not fetch_mine.is_there()
    for _ in range(2):
        path = fetch_mine()
        assert path == str(home / "mine.txt")
        assert Path(path).read_bytes() == DATA
    assert len(calls) == len(server.requests) == 1
    assert left_in(home) == ["mine.txt", "mine.txt.manifest.json"]
    assert verify(path) == len(DATA)
    Path(path).write_bytes(DATA[::-1])
    with pytest.raises(ChecksumError, match=r"mine\.txt is not what was written: remove"):
        verify(path)
    Path(path).write_bytes(DATA[:-1])
    with pytest.raises(FileFormatError, match="has 18,999 bytes, 19,000 were written"):
        verify(path)
    fetch_mine.delete_cache()
    assert left_in(home) == []


def test_a_folder(home: Path, tmp_path: Path) -> None:
    """A conversion may make a folder, with folders in it."""
    (tmp_path / "a.bin").write_bytes(DATA)

    @fetch_and_convert_dataset([CopySourceFile("a.bin", arg_name="mine", sha256=DIGEST)], lambda: "mine")
    def fetch_mine(source_paths: list[str], target_path: str) -> str:
        os.makedirs(os.path.join(target_path, "inner"))
        for name in ("a", "inner/b"):
            shutil.copy(source_paths[0], os.path.join(target_path, name))
        return target_path

    path = fetch_mine(mine=tmp_path / "a.bin")
    assert left_in(home) == ["mine", "mine/a", "mine/inner", "mine/inner/b", "mine/manifest.json"]
    assert verify(path) == 2 * len(DATA)
    assert (tmp_path / "a.bin").exists()
    assert fetch_mine() == path
    os.remove(home / "mine" / "inner" / "b")
    with pytest.raises(FileFormatError, match="inner/b is missing"):
        verify(path)
    Path(manifest_path(path)).write_text("{")
    with pytest.raises(FileFormatError, match=r"manifest\.json is damaged"):
        verify(path)
    Path(manifest_path(path)).write_text('{"version": 7, "files": {"a": {"bytes": 1, "sha256": ""}}}')
    with pytest.raises(FileFormatError, match="is of version 7, and 1 is wanted"):
        verify(path)
    delete_dataset_cache("mine", "not there")
    assert left_in(home) == []


def test_where_it_lies(tmp_path: Path) -> None:
    """A file that lies where it is to lie is used as it is, and stays."""
    (tmp_path / "a.bin").write_bytes(DATA)
    source = ExistingSourceFile(lambda: tmp_path / "a.bin", sha256=DIGEST)
    assert source.acquire() == str(tmp_path / "a.bin")
    source.clean_up()
    assert (tmp_path / "a.bin").exists()
    with pytest.raises(ChecksumError, match="what came is not what is wanted"):
        ExistingSourceFile(tmp_path / "a.bin", sha256="0" * 64).acquire()
    assert (tmp_path / "a.bin").exists()
    with pytest.raises(FetchError, match=r"b\.bin is not there"):
        ExistingSourceFile(str(tmp_path / "b.bin")).acquire()


def test_addresses(server: Server, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mirror is asked first, then the addresses in order."""
    source = DownloadSourceFile("a.bin", base_url=[server.url + "nothing", server.url], sha256=DIGEST, folder="sub")
    assert source.addresses() == [server.url + "nothing/a.bin", server.url + "a.bin"]
    assert source.path == str(home / "temp" / "sub" / "a.bin")
    assert source.acquire() == source.path
    assert source.is_there()
    source.clean_up()
    assert left_in(home) == []
    monkeypatch.setenv("BATCHUP_MIRROR", server.url)
    assert source.addresses()[0] == server.url + "sub/a.bin"
    source.acquire()
    source.clean_up()
    assert [request.path for request in server.requests] == ["nothing/a.bin", "a.bin", "sub/a.bin"]
    (tmp_path / "mirror" / "sub").mkdir(parents=True)
    (tmp_path / "mirror" / "sub" / "a.bin").write_bytes(DATA)
    monkeypatch.setenv("BATCHUP_MIRROR", str(tmp_path / "mirror"))
    source.acquire()
    assert len(server.requests) == 3


def test_by_hand(server: Server, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was put there by hand is used if it is the right one, and kept aside if not."""
    source = DownloadSourceFile("a.bin", url=server.url + "a.bin", sha256=DIGEST)
    path = home / "temp" / "a.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"<html>sign in</html>")
    with pytest.raises(ChecksumError, match=r"20 bytes that begin with b'<html>sign in</html>', which is a web page"):
        source.acquire()
    assert left_in(home) == ["temp", "temp/a.bin.rejected"]
    path.write_bytes(DATA)
    monkeypatch.setenv("BATCHUP_OFFLINE", "1")
    assert source.acquire() == str(path)
    assert server.requests == []


def test_messages(server: Server) -> None:
    """Where a file cannot be fetched, the message says all that is missing, and where to put it."""
    sources = [
        DownloadSourceFile("a.bin", url=server.url + "a.bin", sha256=DIGEST),
        DownloadSourceFile("b.bin", base_url=server.url + "x", sha256="1" * 64, folder="sub"),
        DownloadSourceFile("c.bin", base_url=server.url + "x"),
    ]

    @fetch_and_convert_dataset(sources, "mine")
    def fetch_mine(source_paths: list[str], target_path: str) -> None:
        raise AssertionError

    with pytest.raises(FetchError) as caught:
        fetch_mine()
    told = str(caught.value)
    assert told.startswith(f"mine could not be fetched:\n  {server.url}x/b.bin: answered 404 Not Found\n")
    assert f"  {sources[1].path}\n    from {server.url}x/b.bin\n    sha256 {'1' * 64}\n" in told
    assert f"  {sources[2].path}\n    from {server.url}x/c.bin\n" in told
    assert told.endswith("set BATCHUP_MIRROR to a folder, or an address, that has sub/b.bin, c.bin")
    assert sources[0].path not in told
    assert sources[0].is_there()


def test_conversions_that_fail(home: Path, tmp_path: Path) -> None:
    """A conversion that fails leaves nothing of what it made, and its files for the next time."""
    (tmp_path / "a.bin").write_bytes(DATA)
    fail = [True]

    @fetch_and_convert_dataset([CopySourceFile("a.bin", tmp_path / "a.bin", sha256=DIGEST)], "mine")
    def fetch_mine(source_paths: list[str], target_path: str) -> Any:
        Path(target_path).write_bytes(b"half")
        if fail[0]:
            raise ZeroDivisionError
        return target_path

    @fetch_and_convert_dataset([CopySourceFile("b.bin", tmp_path / "a.bin")], "nothing")
    def fetch_nothing(source_paths: list[str], target_path: str) -> Any:
        return target_path

    @fetch_and_convert_dataset([CopySourceFile("b.bin", tmp_path / "a.bin")], "none")
    def fetch_none(source_paths: list[str], target_path: str) -> Any:
        Path(target_path).write_bytes(b"all")

    with pytest.raises(ZeroDivisionError):
        fetch_mine()
    assert left_in(home) == ["temp", "temp/a.bin"]
    for fetch in (fetch_nothing, fetch_none):
        with pytest.raises(FileFormatError, match=f"{fetch.__name__} did not make the file or folder target_path"):
            fetch()
    assert left_in(home) == ["temp", "temp/a.bin"]  # what is not known to be right is not kept
    os.remove(tmp_path / "a.bin")
    fail[0] = False
    fetch_mine()
    assert left_in(home) == ["mine", "mine.manifest.json"]


def test_something_in_the_way(home: Path, tmp_path: Path) -> None:
    """A folder that is no data set is not touched; a file is taken as one that was put there."""
    (tmp_path / "a.bin").write_bytes(DATA)

    @fetch_and_convert_dataset([CopySourceFile("a.bin", tmp_path / "a.bin")], "mine")
    def fetch_mine(source_paths: list[str], target_path: str) -> Any:
        raise AssertionError

    (home / "mine").mkdir(parents=True)
    (home / "mine" / "photo").write_text("")
    with pytest.raises(FileFormatError, match="mine is in the way: it is no data set"):
        fetch_mine()
    assert (home / "mine" / "photo").exists()
    shutil.rmtree(home / "mine")
    (home / "mine").write_text("by hand")
    assert fetch_mine() == str(home / "mine")


def test_twice_the_same_file(tmp_path: Path) -> None:
    """A file that is named twice is a slip."""
    (tmp_path / "a.bin").write_bytes(DATA)
    source = ExistingSourceFile(tmp_path / "a.bin")
    fetch = fetch_and_convert_dataset([source, source], "mine")(lambda source_paths, target_path: target_path)
    with pytest.raises(ValueError, match=r"has the file .*a\.bin among its sources twice"):
        fetch()


def test_path_string() -> None:
    """A path may be told by a function."""
    assert path_string("foo") == path_string(lambda: "foo") == path_string(Path("foo")) == "foo"
    for wrong in (1, None, lambda: 1, b"foo"):
        with pytest.raises(TypeError, match="a path must be a str or path-like"):
            path_string(wrong)


def test_what_sources_show() -> None:
    """Sources tell what they are, and can be rebuilt from it."""
    source = DownloadSourceFile("a.bin", base_url="http://one.org", sha256=DIGEST)
    assert repr(source) == f"DownloadSourceFile(filename='a.bin', url='http://one.org/a.bin', sha256='{DIGEST}')"
    assert eval(repr(source)).addresses() == source.addresses() == ["http://one.org/a.bin"]


@pytest.mark.parametrize(
    ("make", "error", "told"),
    [
        (lambda: DownloadSourceFile("a.bin"), TypeError, "a.bin needs either url or base_url"),
        (
            lambda: DownloadSourceFile("a.bin", url=7),
            TypeError,
            "url and base_url must be a str or some of them, got 7",
        ),
        (lambda: DownloadSourceFile("a.bin", url=[]), TypeError, "url and base_url must be a str"),
        (lambda: DownloadSourceFile("a.bin", url="ftp://x/a"), ValueError, "must begin with http:// or https://"),
        (lambda: DownloadSourceFile("a.bin", url="a.bin"), ValueError, "must begin with http:// or https://"),
        (lambda: DownloadSourceFile(7, url="http://x/a"), TypeError, "filename must be a str, got 7"),
        (
            lambda: DownloadSourceFile("../a.bin", url="http://x/a"),
            ValueError,
            "must name a file in a folder of batchup",
        ),
        (lambda: DownloadSourceFile("/a.bin", url="http://x/a"), ValueError, "must name a file in a folder of batchup"),
        (lambda: DownloadSourceFile("", url="http://x/a"), ValueError, "must name a file in a folder of batchup"),
        (lambda: DownloadSourceFile("a", url="http://x/a", sha256="abc"), ValueError, "sha256 must be 64 hex digits"),
        (
            lambda: DownloadSourceFile("a", url="http://x/a", sha256="g" * 64),
            ValueError,
            "sha256 must be 64 hex digits",
        ),
        (lambda: CopySourceFile("a.bin"), TypeError, "a.bin needs either source_path or arg_name"),
        (lambda: CopySourceFile("a.bin", arg_name="x").acquire(), TypeError, "the argument x is wanted"),
        (lambda: ExistingSourceFile(7), TypeError, "a path must be a str"),
        (lambda: fetch_and_convert_dataset(["a.bin"], "b"), TypeError, "source_files must be source files such as"),
        (lambda: fetch_and_convert_dataset([], 7), TypeError, "a path must be a str"),
    ],
)
def test_wrong_arguments(make: Any, error: type[Exception], told: str) -> None:
    """What cannot be used is an error when it is given."""
    with pytest.raises(error, match=told):
        make()


def test_unknown_arguments(tmp_path: Path) -> None:
    """An argument that no file wants is a slip; sources of one's own may want any."""
    (tmp_path / "a.bin").write_bytes(DATA)

    class Own(AbstractSourceFile):
        def acquire(self, **arguments: Any) -> Any:
            return arguments["where"]

    @fetch_and_convert_dataset([CopySourceFile("a.bin", arg_name="mine")], "mine")
    def fetch_mine(source_paths: list[str], target_path: str) -> str:
        return shutil.copy(source_paths[0], target_path)

    @fetch_and_convert_dataset([Own()], "own")
    def fetch_own(source_paths: list[str], target_path: str) -> str:
        return shutil.copy(source_paths[0], target_path)

    with pytest.raises(TypeError, match=r"fetch_mine takes no nonsense: its arguments are \['mine'\]"):
        fetch_mine(nonsense=3)
    with pytest.raises(FetchError, match=r"Own\(\) told no path of its file"):
        fetch_own(where=None)
    assert Path(fetch_own(where=str(tmp_path / "a.bin"))).read_bytes() == DATA


def test_a_source_that_many_want(server: Server) -> None:
    """Several who want the same file at once have it fetched once."""
    server.behave(lambda handler, data: not time.sleep(0.2))
    source = DownloadSourceFile("a.bin", url=server.url + "a.bin", sha256=DIGEST)
    with ThreadPoolExecutor(4) as threads:
        paths = list(threads.map(lambda _: source.acquire(), range(4)))
    assert paths == [source.path] * 4
    assert len(server.requests) == 1


def test_what_is_no_data_set_is_not_removed(home: Path, tmp_path: Path) -> None:
    """A folder without a manifest is somebody's own."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("")
    with pytest.raises(FileFormatError, match="photos is no data set of batchup's: it is left as it is"):
        delete_dataset_cache(str(tmp_path / "photos"))
    assert (tmp_path / "photos" / "a.jpg").exists()


def test_of_a_later_version(home: Path, tmp_path: Path) -> None:
    """A folder that a later batchup made is not opened as one of ours."""
    (tmp_path / "a.bin").write_bytes(DATA)

    @fetch_and_convert_dataset([CopySourceFile("a.bin", tmp_path / "a.bin")], "mine")
    def fetch_mine(source_paths: list[str], target_path: str) -> str:
        os.mkdir(target_path)
        shutil.copy(source_paths[0], target_path)
        return target_path

    fetch_mine()
    path = home / "mine" / "manifest.json"
    path.write_text(path.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(FileFormatError, match="is of version 2, and 1 is wanted: remove"):
        fetch_mine()


def test_errors_of_the_conversion_are_its_own(tmp_path: Path) -> None:
    """What the user's function may not do is told as it is; where the disk is full, the remedy is told."""
    (tmp_path / "a.bin").write_bytes(DATA)
    number = [errno.EACCES]

    @fetch_and_convert_dataset([CopySourceFile("a.bin", tmp_path / "a.bin")], "mine")
    def fetch_mine(source_paths: list[str], target_path: str) -> str:
        raise OSError(number[0], os.strerror(number[0]), "/its/own")

    with pytest.raises(PermissionError, match="/its/own"):
        fetch_mine()
    number[0] = errno.ENOSPC
    with pytest.raises(
        OSError, match=r"no room to convert mine: [\d,]+ bytes are free; make room, or set BATCHUP_HOME"
    ):
        fetch_mine()


def test_pickled(home: Path) -> None:
    """What a module has under its name goes through pickle as that."""
    assert pickle.loads(pickle.dumps(mnist.fetch_mnist)) is mnist.fetch_mnist


def test_copies_are_made_anew(tmp_path: Path) -> None:
    """A file is copied as it is now: a copy of an earlier call, or of another data set, is not taken for it."""
    for name in "ab":
        (tmp_path / name).write_text(name)
    fail = [True]

    @fetch_and_convert_dataset([CopySourceFile("data.csv", arg_name="csv")], "one")
    def fetch_one(source_paths: list[str], target_path: str) -> str:
        if fail[0]:
            raise KeyboardInterrupt
        return shutil.copy(source_paths[0], target_path)

    with pytest.raises(KeyboardInterrupt):
        fetch_one(csv=tmp_path / "a")
    fail[0] = False
    left = Path(CopySourceFile("data.csv", "/").path)  # of a program that was killed
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_text("a")
    assert Path(fetch_one(csv=tmp_path / "b")).read_text() == "b"


def test_a_manifest_of_ones_own(tmp_path: Path) -> None:
    """A conversion that makes a file of the name of ours is refused: it would be lost."""
    (tmp_path / "a.bin").write_bytes(DATA)

    @fetch_and_convert_dataset([CopySourceFile("a.bin", tmp_path / "a.bin")], "mine")
    def fetch_mine(source_paths: list[str], target_path: str) -> str:
        os.mkdir(target_path)
        Path(target_path, "manifest.json").write_text("[]")
        return target_path

    with pytest.raises(FileFormatError, match=r"manifest\.json, which is ours: call it otherwise"):
        fetch_mine()


def test_sources_from_a_generator(tmp_path: Path) -> None:
    """Sources may come from anything that can be iterated; one by itself is a slip."""
    (tmp_path / "a.bin").write_bytes(DATA)
    source = CopySourceFile("a.bin", tmp_path / "a.bin")
    fetch = fetch_and_convert_dataset((one for one in [source]), "mine")(
        lambda paths, path: shutil.copy(paths[0], path)
    )
    assert Path(fetch()).read_bytes() == DATA
    with pytest.raises(TypeError, match="source_files must be source files, in a list, got CopySourceFile"):
        fetch_and_convert_dataset(source, "mine")


@pytest.mark.parametrize("there", [True, False], ids=["moved", "to be made"])
def test_on_another_disk(there: bool, home: Path, tmp_path: Path) -> None:
    """A data set may be a link to another disk, from the beginning or later; removing it removes both."""
    (tmp_path / "a.bin").write_bytes(DATA)

    @fetch_and_convert_dataset([CopySourceFile("a.bin", tmp_path / "a.bin")], "mine")
    def fetch_mine(source_paths: list[str], target_path: str) -> str:
        os.mkdir(target_path)
        shutil.copy(source_paths[0], target_path)
        return target_path

    home.mkdir(parents=True)
    (tmp_path / "disk").mkdir()
    if there:
        fetch_mine()
        (home / "mine").rename(tmp_path / "disk" / "mine")
    (home / "mine").symlink_to(tmp_path / "disk" / "mine")
    assert Path(fetch_mine(), "a.bin").read_bytes() == DATA
    assert left_in(tmp_path / "disk") == ["mine", "mine/a.bin", "mine/manifest.json"]
    fetch_mine.delete_cache()
    assert left_in(tmp_path / "disk") == left_in(home) == []
    assert not (home / "mine").is_symlink()


def test_a_lock_that_another_user_left(home: Path, tmp_path: Path) -> None:
    """A file that says that somebody makes the data set need not be written to: whoever may read it can go on."""
    (tmp_path / "a.bin").write_bytes(DATA)

    @fetch_and_convert_dataset([CopySourceFile("a.bin", tmp_path / "a.bin")], "mine")
    def fetch_mine(source_paths: list[str], target_path: str) -> str:
        return shutil.copy(source_paths[0], target_path)

    home.mkdir(parents=True)
    (home / "mine.lock").touch(0o444)
    assert Path(fetch_mine()).read_bytes() == DATA
    assert left_in(home) == ["mine", "mine.manifest.json"]
