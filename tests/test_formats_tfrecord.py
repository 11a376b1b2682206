"""TFRecord files: what is written is read; damage anywhere is told with its place; files are whole or absent."""

from __future__ import annotations

import gc
import gzip
import os
import pickle
import sys
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchup.errors import (
    ChecksumError,
    FileBusyError,
    FileFormatError,
    InvalidTypeError,
    InvalidValueError,
    MissingExtraError,
)
from batchup.formats import read_tfrecord, write_tfrecord

ITEMS: list[dict[str, Any]] = [{"x": [0.5, n], "y": n - 1, "name": f"item {n}"} for n in range(5)]


def lists(source: Any) -> list[dict[str, list[Any]]]:
    return [{key: values.tolist() for key, values in item.items()} for item in source]


def expected() -> list[dict[str, list[Any]]]:
    return [{"x": list(i["x"]), "y": [i["y"]], "name": [i["name"].encode()]} for i in ITEMS]


def boundaries(data: bytes) -> list[int]:
    """Return the places where records begin, and the end."""
    places = [0]
    while places[-1] < len(data):
        places.append(places[-1] + 16 + int.from_bytes(data[places[-1] : places[-1] + 8], "little"))
    return places


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a small file."""
    write_tfrecord(ITEMS, tmp_path / "a.tfrecord")
    return tmp_path / "a.tfrecord"


@pytest.mark.parametrize("compression", [None, "gzip", "zlib"])
def test_round_trip(tmp_path: Path, compression: str | None) -> None:
    """What is written is read, as often as one likes; the same items make the same bytes."""
    paths = [tmp_path / "a", str(tmp_path / "b")]
    for path in paths:
        write_tfrecord(iter(ITEMS), path, compression)
    source = read_tfrecord(*paths, compression=compression)
    assert lists(source) == lists(source) == expected() * 2
    assert Path(paths[0]).read_bytes() == Path(paths[1]).read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


@given(
    records=st.lists(st.binary(max_size=300)),
    compression=st.sampled_from([None, "gzip", "zlib"]),
    blocks=st.integers(1, 99),
)
def test_raw_round_trip(
    tmp_path_factory: pytest.TempPathFactory, records: list[bytes], compression: str | None, blocks: int
) -> None:
    """Any bytes are records, wherever blocks end."""
    path = tmp_path_factory.mktemp("raw") / "a"
    write_tfrecord(records, path, compression, raw=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("batchup.formats.tfrecord.records.BLOCK", blocks)
        assert list(read_tfrecord(path, compression=compression, raw=True)) == records


def test_large_records(tmp_path: Path) -> None:
    """Records of more than a block are read, with small ones between them."""
    sizes = [700_000, 3, 2_500_000, 0, 1, 1_048_576]
    write_tfrecord(({"x": np.arange(size, dtype=np.float32), "y": np.arange(size)} for size in sizes), tmp_path / "a")
    for size, item in zip(sizes, read_tfrecord(tmp_path / "a"), strict=True):
        np.testing.assert_array_equal(item["x"], np.arange(size, dtype=np.float32))
        np.testing.assert_array_equal(item["y"], np.arange(size))


def test_items_are_the_holders(file: Path) -> None:
    """An array that was handed out may be written to, and is not overwritten."""
    held = []
    for item in read_tfrecord(file):
        item["x"] += 1
        held.append(item)
    assert [item["x"].tolist() for item in held] == [[1.5, n + 1] for n in range(5)]
    assert lists(read_tfrecord(file)) == expected()


@pytest.mark.parametrize("verify", [True, False])
def test_cut_short_anywhere(file: Path, verify: bool) -> None:
    """A file that is cut short raises, with the record and its byte, unless it is cut between records."""
    data = file.read_bytes()
    places = boundaries(data)
    for size in range(len(data)):
        file.write_bytes(data[:size])
        number = sum(place <= size for place in places) - 1
        items = iter(read_tfrecord(file, verify=verify))
        for _ in range(number):
            next(items)
        if size in places:
            assert list(items) == []
            continue
        with pytest.raises(
            FileFormatError, match=rf"a\.tfrecord: record {number}, .* byte {places[number]}, is cut short"
        ):
            next(items)
        assert list(items) == []


@pytest.mark.parametrize("raw", [True, False])
def test_damage_anywhere(file: Path, raw: bool) -> None:
    """Any byte that differs raises, with the record and its byte; the records before it are read."""
    data = file.read_bytes()
    places = boundaries(data)
    for place in range(len(data)):
        for flipped in (1, 128):
            damaged = bytearray(data)
            damaged[place] ^= flipped
            file.write_bytes(damaged)
            number = sum(begin <= place for begin in places) - 1
            items = iter(read_tfrecord(file, raw=raw))
            for _ in range(number):
                next(items)
            with pytest.raises(ChecksumError, match=f"record {number}, which begins at byte {places[number]}, "):
                next(items)


def test_without_verifying(file: Path) -> None:
    """With verify=False, damaged data are returned, or are no Example; a damaged length is found nevertheless."""
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(data)
    assert len(list(read_tfrecord(file, verify=False, raw=True))) == 5
    data[0] ^= 1
    file.write_bytes(data)
    with pytest.raises(ChecksumError, match="byte 0, has a length"):
        next(iter(read_tfrecord(file, verify=False)))


def test_a_huge_length_allocates_nothing(tmp_path: Path) -> None:
    """A length beyond the file is refused, even with the right checksum."""
    import crc32c

    length = (2**62).to_bytes(8, "little")
    crc = crc32c.crc32c(length)
    head = length + (((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF).to_bytes(4, "little")
    (tmp_path / "a").write_bytes(head + b"some")
    with pytest.raises(FileFormatError, match=f"cut short: 16 of {2**62 + 16} bytes"):
        next(iter(read_tfrecord(tmp_path / "a")))
    (tmp_path / "b").write_bytes(gzip.compress(head + b"some"))
    with pytest.raises(FileFormatError, match=f"decompressed byte 0, is cut short: 16 of {2**62 + 16} bytes"):
        next(iter(read_tfrecord(tmp_path / "b", compression="gzip")))


@pytest.mark.parametrize("compression", ["gzip", "zlib"])
def test_damage_in_compressed_files(tmp_path: Path, compression: str) -> None:
    """A compressed file that is cut short raises; one with other bytes raises, or says the same."""
    path = tmp_path / "a"
    write_tfrecord(ITEMS, path, compression)
    data = path.read_bytes()
    for size in range(1, len(data)):
        path.write_bytes(data[:size])
        with pytest.raises(FileFormatError, match="a is cut short"):
            list(read_tfrecord(path, compression=compression))
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        try:
            assert lists(read_tfrecord(path, compression=compression)) == expected()
        except FileFormatError as error:
            assert str(path) in str(error)  # noqa: PT017
    path.write_bytes(data + b"more")
    with pytest.raises(FileFormatError, match=f"from byte {len(data)} on"):
        list(read_tfrecord(path, compression=compression))


def test_compression_is_told_apart(tmp_path: Path) -> None:
    """A file that is compressed otherwise than was said raises an error that says how."""
    for compression in ("gzip", "zlib"):
        write_tfrecord(ITEMS, tmp_path / compression, compression)
    write_tfrecord(ITEMS, tmp_path / "None")
    for compression in ("gzip", "zlib"):
        with pytest.raises(FileFormatError, match=f'pass compression="{compression}"'):
            list(read_tfrecord(tmp_path / compression))
        other = "zlib" if compression == "gzip" else "gzip"
        with pytest.raises(FileFormatError, match=f'pass compression="{compression}"'):
            list(read_tfrecord(tmp_path / compression, compression=other))
        with pytest.raises(FileFormatError, match="compression=None"):
            list(read_tfrecord(tmp_path / "None", compression=compression))


def test_streams_behind_one_another(tmp_path: Path) -> None:
    """Compressed files may be put together, as gzip allows, and be filled up with zeros."""
    write_tfrecord(ITEMS[:2], tmp_path / "a")
    write_tfrecord(ITEMS[2:], tmp_path / "b")
    parts = [(tmp_path / name).read_bytes() for name in "ab"]
    (tmp_path / "gzip").write_bytes(b"".join(map(gzip.compress, parts)) + gzip.compress(b"") + bytes(70_000))
    (tmp_path / "zlib").write_bytes(b"".join(map(zlib.compress, parts)))
    for compression in ("gzip", "zlib"):
        assert lists(read_tfrecord(tmp_path / compression, compression=compression)) == expected()


@pytest.mark.parametrize("compression", [None, "gzip", "zlib"])
def test_empty_files(tmp_path: Path, compression: str | None) -> None:
    """A file without records has none, and so has one without bytes."""
    write_tfrecord([], tmp_path / "a", compression)
    (tmp_path / "b").write_bytes(b"")
    assert list(read_tfrecord(tmp_path / "a", tmp_path / "b", compression=compression)) == []


def test_keys(file: Path) -> None:
    """`keys` choose the features; an error names the file, the record, what is missing and what is there."""
    assert [list(item) for item in read_tfrecord(file, keys=["y", "x"])] == [["y", "x"]] * 5
    with pytest.raises(
        FileFormatError, match=r"a.tfrecord: record 0, .* byte 0, has no \['z'\]: it has \['x', 'y', 'name'\]"
    ):
        next(iter(read_tfrecord(file, keys=["y", "z"])))


def test_no_examples(tmp_path: Path) -> None:
    """A record that is no Example names its place, and raw=True."""
    write_tfrecord([b"", b"text"], tmp_path / "a", raw=True)
    with pytest.raises(FileFormatError, match=r"record 1, which begins at byte 16, is no tf.train.Example .*raw=True"):
        list(read_tfrecord(tmp_path / "a"))


def test_arguments_are_checked_at_the_call(file: Path, tmp_path: Path) -> None:
    """What cannot be read is refused when it is asked for, not at the first record."""
    cases: list[tuple[type[Exception], str, tuple[Any, ...], dict[str, Any]]] = [
        (FileNotFoundError, "none", (tmp_path / "none",), {}),
        (FileNotFoundError, r"none-\*", (tmp_path / "none-*",), {}),
        (IsADirectoryError, "folder", (tmp_path,), {}),
        (InvalidValueError, "at least one", (), {}),
        (InvalidTypeError, "one by one", ([file, file],), {}),
        (InvalidTypeError, "got bytes", (b"a",), {}),
        (InvalidTypeError, "got int", (3,), {}),
        (InvalidValueError, "'GZIP'", (file,), {"compression": "GZIP"}),
        (InvalidValueError, "unhashable|got", (file,), {"compression": []}),
        (InvalidTypeError, "keys", (file,), {"keys": "x"}),
        (InvalidTypeError, "keys", (file,), {"keys": [1]}),
        (InvalidValueError, "keys", (file,), {"keys": ["x"], "raw": True}),
    ]
    for kind, message, arguments, options in cases:
        with pytest.raises(kind, match=message):
            read_tfrecord(*arguments, **options)


def test_patterns(tmp_path: Path) -> None:
    """A pattern stands for its files, sorted; a file that is named like a pattern is itself."""
    for name in ("b-2", "b-10", "b-1", "a[1]"):
        write_tfrecord([{"name": name}], tmp_path / name)
    (tmp_path / "b-folder").mkdir()
    names = [item["name"][0].decode() for item in read_tfrecord(tmp_path / "b-*", tmp_path / "a[1]")]
    assert names == ["b-1", "b-10", "b-2", "a[1]"]


def open_in(folder: Path) -> int:
    """Return how many files of a folder are open: what other tests have left to be closed does not count."""
    found = 0
    for descriptor in os.listdir("/dev/fd"):
        with suppress(OSError):  # that of the listing itself
            found += os.readlink(f"/dev/fd/{descriptor}").startswith(str(folder))
    return found


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_files_are_open_while_they_are_read(tmp_path: Path, compression: str | None) -> None:
    """A file is opened at the first record, and closed at its end, after an error, or with the iterator."""
    paths = [tmp_path / name for name in "ab"]
    for path in paths:
        write_tfrecord(ITEMS, path, compression)
    items = iter(read_tfrecord(*paths, compression=compression))
    assert open_in(tmp_path) == 0
    for _ in range(7):
        next(items)
        assert open_in(tmp_path) == 1
    items.close()  # type: ignore[attr-defined]
    assert open_in(tmp_path) == 0
    list(read_tfrecord(*paths, compression=compression))
    paths[1].write_bytes(paths[1].read_bytes()[:-1])
    with pytest.raises(FileFormatError):
        list(read_tfrecord(*paths, compression=compression))
    gc.collect()
    assert open_in(tmp_path) == 0


def test_sources_travel(file: Path) -> None:
    """A source is pickled as its arguments, and shows them."""
    source = read_tfrecord(file, keys=["y"])
    assert repr(source) == f"TFRecordSource(paths=({str(file)!r},), keys=('y',))"
    assert lists(pickle.loads(pickle.dumps(source))) == lists(source)


def failing(error: BaseException) -> Iterator[dict[str, Any]]:
    yield from ITEMS
    raise error


@pytest.mark.parametrize("error", [ValueError("stop"), KeyboardInterrupt()])
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_whole_or_absent(file: Path, error: BaseException, compression: str | None) -> None:
    """If the items end with an exception, the old file stays, and nothing beside it."""
    before = file.read_bytes()
    for path in (file, file.with_name("new")):
        with pytest.raises(type(error)):
            write_tfrecord(failing(error), path, compression)
    assert file.read_bytes() == before
    assert os.listdir(file.parent) == [file.name]


def test_written_from_itself(file: Path) -> None:
    """A file may be replaced by what is made of it, and keeps its permissions."""
    file.chmod(0o640)
    write_tfrecord(({"y": item["y"] + 1} for item in read_tfrecord(file)), file)
    assert lists(read_tfrecord(file)) == [{"y": [n]} for n in range(5)]
    assert file.stat().st_mode & 0o777 == 0o640


def test_one_writer(tmp_path: Path) -> None:
    """A second writer of a file is refused; the first goes on."""

    def items() -> Iterator[dict[str, Any]]:
        yield {"a": 1}
        with pytest.raises(FileBusyError):
            write_tfrecord([], tmp_path / "a")

    write_tfrecord(items(), tmp_path / "a")
    assert lists(read_tfrecord(tmp_path / "a")) == [{"a": [1]}]


def test_what_cannot_be_written(tmp_path: Path) -> None:
    """An item that is no record is named by its number; arguments are checked first."""
    cases: list[tuple[type[Exception], str, Any, dict[str, Any]]] = [
        (InvalidTypeError, "record 1: .*takes dicts, got tuple", [{}, (1,)], {}),
        (InvalidTypeError, "record 0: .*raw=True", [b"a"], {}),
        (InvalidTypeError, "record 2: feature 'a'", [{}, {}, {"a": None}], {}),
        (InvalidValueError, "record 0: feature 'a'", [{"a": 2**64}], {}),
        (InvalidTypeError, "record 0: with raw=True", [{"a": 1}], {"raw": True}),
        (InvalidValueError, "compression", [], {"compression": "bz2"}),
    ]
    for kind, message, items, options in cases:
        with pytest.raises(kind, match=message):
            write_tfrecord(items, tmp_path / "a", **options)
    with pytest.raises(IsADirectoryError):
        write_tfrecord([], tmp_path)
    with pytest.raises(FileNotFoundError):
        write_tfrecord([], tmp_path / "none" / "a")
    with pytest.raises(InvalidTypeError):
        write_tfrecord([], 3)
    assert os.listdir(tmp_path) == []


def test_the_extra(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    """Without the library of checksums, the error names the extra, at the call."""
    monkeypatch.setitem(sys.modules, "crc32c", None)
    for call in (lambda: read_tfrecord(file), lambda: write_tfrecord([], file)):
        with pytest.raises(MissingExtraError, match=r'crc32c: pip install "batchup\[tfrecord\]"'):
            call()
