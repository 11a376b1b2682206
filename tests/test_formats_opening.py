"""Files opened whatever they are compressed with: what is read, where it stops, and what is said of damage."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import random
import tracemalloc
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from batchup.errors import FileFormatError, InvalidTypeError, InvalidValueError, UnsupportedError
from batchup.formats.opening import BY_SUFFIX, bare_suffix, compression_of, is_plain, opened, seekable, writing

from .kills import room_for

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "zst": zstandard.ZstdCompressor(write_checksum=True).compress,
    "xz": lzma.compress,
}
DECOMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "zlib": zlib.decompress,
    "zst": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
    "xz": lzma.decompress,
}
SUFFIXES = {"gzip": ".gz", "zst": ".zst", "xz": ".xz"}
KINDS = [*COMPRESS]
NOISE = random.Random(5).randbytes(2**16)
LINES = b"".join(b"line %d, %d\n" % (n, n * n % 1009) for n in range(80))


def pieces(path: Path, kind: str) -> Iterator[bytes]:
    """Yield what a file stands for, as it comes."""
    with opened(path, kind) as file:
        yield from iter(lambda: file.read1(64), b"")


@pytest.mark.parametrize("kind", KINDS)
def test_what_others_write(tmp_path: Path, kind: str) -> None:
    """Streams of other programs are read, several behind one another too; those that may be filled up are."""
    path = tmp_path / "a"
    parts = [LINES, b"", NOISE, LINES, NOISE, b"more"]
    data = b"".join(COMPRESS[kind](part) for part in parts) + bytes(70_000 if kind in ("gzip", "xz") else 0)
    path.write_bytes(data)
    with opened(path, kind) as file:
        assert file.read() == b"".join(parts)
        assert file.read() == file.read1(9) == file.readline() == b""
    with opened(path, kind) as file:
        assert list(file) == list(io.BytesIO(b"".join(parts)))


@pytest.mark.parametrize("kind", [None, *KINDS])
@given(data=st.binary(max_size=99), times=st.sampled_from([1, 9_000]), size=st.integers(1, 300_000))
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory, kind: str | None, data: bytes, times: int, size: int
) -> None:
    """What is written is read, in whatever pieces, and others can read it; the same data are the same bytes."""
    folder = tmp_path_factory.mktemp("opening")
    whole = data * times
    for name in "ab":
        with writing(folder / name, kind) as output:
            for place in range(0, len(whole), 300_000):
                output.write(whole[place : place + 300_000])
    stored = (folder / "a").read_bytes()
    assert stored == (folder / "b").read_bytes()
    assert (DECOMPRESS[kind](stored) if kind else stored) == whole
    with opened(folder / "a", kind) as file:
        assert file.size == len(stored)
        assert file.name == str(folder / "a")
        parts = [*iter(lambda: file.read(size), b"")]
        assert file.place == len(stored)
        assert {*map(len, parts[:-1])} <= {size}
    assert b"".join(parts) == whole
    with opened(folder / "a", kind) as file:
        room = bytearray(size)
        done = file.readinto(room)
        assert room[:done] == whole[:size]
        assert list(file) == whole[done:].splitlines(keepends=True) or b"\r" in data or b"\x0b" in data


@pytest.mark.parametrize("kind", KINDS)
def test_cut_short_anywhere(tmp_path: Path, kind: str) -> None:
    """A compressed file that is cut short at whatever byte raises, and `read1` returns what comes before."""
    path = tmp_path / "a"
    data = COMPRESS[kind](LINES)
    for size in range(len(data)):
        path.write_bytes(data[:size])
        came: list[bytes] = []
        with pytest.raises(FileFormatError, match=r"a is cut short: .*get or make it again"):
            came.extend(pieces(path, kind))
        assert LINES.startswith(b"".join(came))
        second = data + data[:size]
        path.write_bytes(second)
        if size:
            with pytest.raises(FileFormatError, match=rf"cut short: .* behind its end, byte {len(second)}"):  # noqa: SIM117
                with opened(path, kind) as file:
                    file.read()


@pytest.mark.parametrize("kind", KINDS)
def test_damage_anywhere(tmp_path: Path, kind: str) -> None:
    """A byte that changed raises an error that names the file, or does not matter."""
    path = tmp_path / "a"
    data = COMPRESS[kind](LINES)
    said = 0
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x14]) + data[place + 1 :])
        try:
            with opened(path, kind) as file:
                assert file.read() == LINES
        except FileFormatError as error:
            assert str(path) in str(error)  # noqa: PT017
            said += 1
    assert said > 0.9 * len(data)
    path.write_bytes(data + b"something else")
    with pytest.raises(FileFormatError, match=rf"a is damaged: its {kind} data from byte {len(data)} on"):  # noqa: SIM117
        with opened(path, kind) as file:
            file.read()


@pytest.mark.parametrize("kind", KINDS)
def test_compressed_otherwise(tmp_path: Path, kind: str) -> None:
    """A file that is not what was said is told with what it seems to be."""
    for other in KINDS:
        path = tmp_path / other
        path.write_bytes(COMPRESS[other](LINES))
        if other != kind:
            with pytest.raises(FileFormatError, match=f'not compressed with {kind}: pass compression="{other}"'):  # noqa: SIM117
                with opened(path, kind) as file:
                    file.read()
    (tmp_path / "a").write_bytes(LINES)
    with pytest.raises(FileFormatError, match=f"not compressed with {kind}: pass compression=None"):  # noqa: SIM117
        with opened(tmp_path / "a", kind) as file:
            file.read()


@pytest.mark.parametrize("kind", KINDS)
def test_memory_is_bounded(tmp_path: Path, kind: str) -> None:
    """What a few bytes stand for does not have to fit into memory."""
    path = tmp_path / "a"
    with writing(path, kind) as output:
        for _ in range(96):
            output.write(bytes(2**20))
    assert path.stat().st_size < 2**18
    tracemalloc.start()
    try:
        with opened(path, kind) as file:
            total = sum(map(len, iter(lambda: file.read(2**18), b"")))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == 96 * 2**20
    assert peak < 64 * 2**20


@pytest.mark.parametrize("kind", [*SUFFIXES])
def test_suffixes(tmp_path: Path, kind: str) -> None:
    """By default, the suffix says how a file is compressed."""
    path = tmp_path / f"a.TXT{SUFFIXES[kind].upper()}"
    with writing(path) as output:
        output.write(LINES)
    assert DECOMPRESS[kind](path.read_bytes()) == LINES
    with opened(path) as file:
        assert file.read() == LINES
    with opened(path, None) as file:
        assert file.read() == path.read_bytes()
    assert compression_of(path) == kind
    assert bare_suffix(path) == ".txt"
    assert not is_plain(path)
    with pytest.raises(UnsupportedError, match=r"(?i)a\.TXT.* decompress it first \((gun|un)"):
        seekable(path)


def test_seekable(tmp_path: Path) -> None:
    """A file that is not compressed can be read from anywhere; one that is not there is an error."""
    (tmp_path / "a").write_bytes(b"abc")
    with seekable(tmp_path / "a") as file:
        file.seek(1)
        assert file.read() == b"bc"
    for function in (seekable, opened):
        with pytest.raises(FileNotFoundError, match="none"):
            function(tmp_path / "none")
        with pytest.raises(IsADirectoryError):
            function(tmp_path)


def test_addresses() -> None:
    """Files elsewhere are read as those of this machine; they are not written."""
    fsspec = pytest.importorskip("fsspec")
    fsspec.filesystem("memory").pipe_file("/opening/a.txt.gz", gzip.compress(LINES))
    fsspec.filesystem("memory").pipe_file("/opening/a.txt", LINES)
    try:
        for name in ("a.txt", "a.txt.gz"):
            with opened(f"memory://opening/{name}") as file:
                assert file.read() == LINES
                assert file.place == file.size
                assert name in file.name
        with seekable("memory://opening/a.txt") as raw:
            raw.seek(-3, os.SEEK_END)
            assert raw.read() == LINES[-3:]
        with pytest.raises(UnsupportedError, match="written on this machine only"), writing("memory://a"):
            pass
    finally:
        fsspec.filesystem("memory").rm("/opening", recursive=True)


def test_left(tmp_path: Path) -> None:
    """How much is left is known of plain files."""
    (tmp_path / "a").write_bytes(LINES)
    with opened(tmp_path / "a") as file:
        assert file.left() == file.size == len(LINES)
        file.read(5)
        assert file.left() == len(LINES) - 5
        assert file.unit == "byte"
    (tmp_path / "a.gz").write_bytes(gzip.compress(LINES))
    with opened(tmp_path / "a.gz") as file:
        assert file.left() is None
        assert file.unit == "decompressed byte"


def test_arguments(tmp_path: Path) -> None:
    """What is no compression, and no path, is refused before a file is made."""
    cases: list[tuple[type[Exception], str, Any, Any]] = [
        (InvalidValueError, "compression must be 'suffix', None, or one of .*'zst'.* got 'bz2'", "a", "bz2"),
        (InvalidValueError, "compression must be", "a", 5),
        (InvalidTypeError, "a file is named by a str or a path", 5, BY_SUFFIX),
    ]
    for kind, message, path, compression in cases:
        with pytest.raises(kind, match=message):
            opened(path, compression)
        with pytest.raises(kind, match=message), writing(tmp_path / path if path == "a" else path, compression):
            pass
    assert os.listdir(tmp_path) == []


def interrupted() -> Iterator[bytes]:
    yield NOISE
    raise KeyboardInterrupt


@pytest.mark.parametrize("kind", [None, *KINDS])
def test_whole_or_absent(tmp_path: Path, kind: str | None) -> None:
    """After an error, or on a disk without room, nothing half done is left, and the old file stays."""
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def write(parts: Iterable[bytes]) -> None:
        with writing(path, kind) as output:
            for part in parts:
                output.write(part)

    with pytest.raises(KeyboardInterrupt):
        write(interrupted())
    with pytest.raises(OSError, match=r"File too large"), room_for(2**15):
        write([NOISE] * 4)
    assert os.listdir(tmp_path) == ["a"]
    assert path.read_bytes() == b"old"


def test_files_are_closed(tmp_path: Path) -> None:
    """Closing closes, once or twice, also where the file turns out to be empty."""
    (tmp_path / "a.gz").write_bytes(gzip.compress(LINES))
    (tmp_path / "b.gz").write_bytes(b"")
    before = len(os.listdir("/dev/fd"))
    file = opened(tmp_path / "a.gz")
    file.read(1)
    assert len(os.listdir("/dev/fd")) == before + 1
    file.close()
    file.close()
    with pytest.raises(FileFormatError, match="cut short"):
        opened(tmp_path / "b.gz")
    assert len(os.listdir("/dev/fd")) == before
