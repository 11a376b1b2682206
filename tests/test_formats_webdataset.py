"""WebDataset's tar shards: what is written is read back as it was; tarfile agrees; damage is named, or left out."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import re
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from batchup.columns import Ragged
from batchup.errors import FileFormatError, InvalidTypeError, InvalidValueError
from batchup.formats.checked import is_of
from batchup.formats.table import BYTES, Field, fields_of, length_of, objects, part_of
from batchup.formats.webdataset.headers import header_of
from batchup.formats.webdataset.members import LARGEST, Members
from batchup.formats.webdataset.sink import _each as each
from batchup.formats.webdataset.table import WebdatasetTable, read_webdataset, webdataset_sink, write_webdataset

from .kills import room_for

DTYPES = st.one_of(hnp.scalar_dtypes(), hnp.unicode_string_dtypes(), hnp.byte_string_dtypes(), hnp.array_dtypes())
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=120)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def holds(block: dict[str, Any]) -> bool:
    """Return whether .npy files hold the dtypes: not where fields have names that Latin-1 has no letters for."""
    return not any(ord(letter) > 255 for field in fields_of(block).values() for letter in str(field.dtype))


def bytes_of(values: Iterable[Any]) -> list[Any]:
    """Return each value of a column with all that makes it what it is."""
    return [
        (value.dtype, value.shape, value.tobytes()) if isinstance(value, np.ndarray) else (type(value), value)
        for block in values
        for value in each(block)
    ]


@st.composite
def columns(draw: st.DrawFn, rows: int) -> Any:
    """Return a column of a block, of any kind."""
    kind = draw(st.sampled_from(["fixed", "text", "bytes", "ragged", "loose"]))
    if kind == "text":
        return objects(draw(st.lists(TEXTS, min_size=rows, max_size=rows)))
    if kind == "bytes":
        return objects(draw(st.lists(st.binary(max_size=20), min_size=rows, max_size=rows)))
    dtype = draw(DTYPES)
    if kind == "fixed":
        shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
        return draw(hnp.arrays(dtype, (rows, *shape)))
    if kind == "ragged":
        offsets = np.cumsum([0, *draw(st.lists(st.integers(0, 4), min_size=rows, max_size=rows))])
        return Ragged(draw(hnp.arrays(dtype, (int(offsets[-1]), *draw(hnp.array_shapes(max_dims=1))))), offsets)
    shapes = draw(st.lists(hnp.array_shapes(min_dims=2, max_dims=2, min_side=0), min_size=rows, max_size=rows))
    return objects([draw(hnp.arrays(dtype, shape)) for shape in shapes])


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    """Return a block of some rows and columns."""
    rows = draw(st.integers(0, 5))
    names = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    block = {name: draw(columns(rows)) for name in names}
    assume(holds(block))
    return block


@given(block=tables(), cut=st.integers(0, 5), suffix=st.sampled_from([".tar", ".tar.gz"]))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, block: dict[str, Any], cut: int, suffix: str) -> None:
    """Columns of any names, dtypes and shapes are read as they were written, in however many blocks."""
    path = str(tmp_path_factory.mktemp("tar") / f"a{suffix}")
    fields, rows = fields_of(block), length_of(block)
    with webdataset_sink(path, fields, rows=rows, meta={"a": [1, None]}) as write:
        write(part_of(block, 0, cut))
        write(part_of(block, min(cut, rows), rows))
    table = WebdatasetTable(path)
    assert (table.fields, table.meta, table.rows) == (fields, {"a": [1, None]}, None)
    for size in (1, 2**20):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("batchup.formats.webdataset.table.BLOCK", size)
            blocks = list(table.blocks())
        assert sum(map(length_of, blocks)) == rows
        for name, values in block.items():
            assert bytes_of(found[name] for found in blocks) == bytes_of([values])
            assert all(is_of(found[name], fields[name]) for found in blocks)


@given(tables())
def test_names_of_members(tmp_path_factory: pytest.TempPathFactory, block: dict[str, Any]) -> None:
    """Without our comment, the names of members tell the same columns, and tarfile reads the members."""
    path = str(tmp_path_factory.mktemp("tar") / "a.tar")
    fields = fields_of(block)
    with webdataset_sink(path, fields) as write:
        write(block)
    with tarfile.open(path) as archive:
        members = {info.name: archive.extractfile(info).read() for info in archive}  # type: ignore[union-attr]
        assert all((info.mtime, info.uid, info.mode, info.isreg()) == (0, 0, 0o644, True) for info in archive)
    assert members.pop("__empty__", b"") == b""
    assert len(members) == length_of(block) * len(fields)
    with open(path, "rb") as file:
        read = {member.name: member.data for member in Members(file, path, refuse) if member.name != "__empty__"}
    assert read == members
    table = WebdatasetTable(path, decode=False)
    assert list(table.fields.values()) == [Field(BYTES)] * len(table.fields)
    assert sum(len(found[name]) for found in table.blocks() for name in found) == len(members)


def refuse(error: FileFormatError) -> None:
    raise error


def test_the_same_rows_are_the_same_bytes(tmp_path: Path) -> None:
    """What is written twice is the same, and what it stands for too, compressed or not."""
    rows = [{"x": np.full(n % 3, n, ">f4"), "y": n, "text": "ä" * n} for n in range(30)]
    for name in ("a.tar", "b.tar", "c.tar.gz", "d.tar.zst"):
        write_webdataset(iter(rows), tmp_path / name)
    plain = (tmp_path / "a.tar").read_bytes()
    assert plain == (tmp_path / "b.tar").read_bytes()
    assert gzip.decompress((tmp_path / "c.tar.gz").read_bytes()) == plain
    for name in ("a.tar", "c.tar.gz", "d.tar.zst"):
        read = list(read_webdataset(tmp_path / name))
        assert [(row["x"].tolist(), int(row["y"]), row["text"]) for row in read] == [
            ([n] * (n % 3), n, "ä" * n) for n in range(30)
        ]


def test_rows_of_several_files(tmp_path: Path) -> None:
    """Shards follow one another, each time anew, and can be pickled; their number is not known."""
    for part in range(3):
        write_webdataset(({"x": part * 10 + n, "t": "a"} for n in range(4)), tmp_path / f"a-{part}.tar")
    rows = read_webdataset(tmp_path / "a-*.tar", columns=["x"], keys=True)
    for again in (rows, rows, pickle.loads(pickle.dumps(rows))):
        assert [int(row["x"]) for row in again] == [0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23]
    with pytest.raises(TypeError, match="known only when all have been read"):
        len(rows)
    table = WebdatasetTable(str(tmp_path / "a-1.tar"), keys=True)
    one, two = table.blocks(["__key__"]), table.blocks(["t", "x"])
    assert next(one)["__key__"].tolist() == [f"{n:09d}" for n in range(4)]
    assert list(next(two)) == ["t", "x"]
    assert list(one) == list(two) == []
    assert table.bytes_done == table.bytes_total == os.path.getsize(tmp_path / "a-1.tar")
    assert table.columns() is None
    with pytest.raises(NotImplementedError, match="front to back only"):
        table.data_source()


def archive(path: Path, members: Iterable[tuple[str, bytes]], format: int = tarfile.PAX_FORMAT) -> Path:  # noqa: A002
    """Write an archive by tarfile."""
    with tarfile.open(path, "w", format=format) as file:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.mtime = 1234567890.5 if format == tarfile.PAX_FORMAT else 1234567890  # type: ignore[assignment]
            file.addfile(info, io.BytesIO(data))
    return path


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def picture(array: Any, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.asarray(array, np.uint8)).save(file, kind)
    return file.getvalue()


def wav(frames: Any, rate: int) -> bytes:
    from scipy.io import wavfile

    file = io.BytesIO()
    wavfile.write(file, rate, frames)
    return file.getvalue()


@pytest.mark.parametrize("format_", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_members_by_extension(tmp_path: Path, format_: int) -> None:
    """Members become what their extensions say; their names may have spaces, umlauts, folders, and be long."""
    grey = np.arange(12).reshape(3, 4)
    members = [
        (f"{'folder ä/' * 12}{key} 1.{name}", data)
        for key in ("a", "b")
        for name, data in {
            "x.npy": npy(np.asfortranarray(np.eye(3, 2, dtype=np.float32))),
            "npy": npy(np.arange(3)),
            "cls": b"7\n",
            "txt": "naïve".encode(),
            "JPG": picture(np.zeros((8, 8, 3)), "JPEG"),
            "seg.png": picture(grey),
            "meta.json": b"[1, 2.5]",
            "ok.json": b"true",
            "wav": wav(np.arange(5, dtype=np.int16), 8000),
            "raw": b"bytes",
        }.items()
    ]
    (table,) = [WebdatasetTable(str(archive(tmp_path / "a.tar", members, format_)), keys=True)]
    assert {name: str(field) for name, field in table.fields.items()} == {
        "x": "float32 (3, 2)",
        "npy": "int64 (3,)",
        "cls": "int64",
        "txt": "str",
        "JPG": "uint8 (8, 8, 3)",
        "seg": "uint8 (3, 4)",
        "meta.json": "float64 (2,)",
        "ok.json": "bool",
        "wav": "int16 (5,)",
        "wav.rate": "int64",
        "raw": "bytes",
        "__key__": "str",
    }
    (block,) = table.blocks()
    assert block["x"][1].tolist() == np.eye(3, 2).tolist()
    assert block["seg"][0].tolist() == grey.tolist()
    assert [block[name][0] for name in ("cls", "txt", "ok.json")] == [7, "naïve", True]
    assert [block[name][0] for name in ("wav.rate", "raw")] == [8000, b"bytes"]
    assert block["__key__"].tolist() == ["folder ä/" * 12 + key + " 1" for key in ("a", "b")]
    assert all(is_of(values, table.fields[name]) for name, values in block.items())


def test_what_is_no_sample(tmp_path: Path) -> None:
    """Folders, hidden files, and files without an extension are passed over, as by WebDataset; a dot before is not."""
    path = archive(tmp_path / "a.tar", [("__meta__/a.txt", b"1"), ("./a.txt", b"2"), ("README", b""), (".b.txt", b"3")])
    with tarfile.open(path, "a") as file:
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        file.addfile(folder)
    assert [(row["__key__"], row["txt"]) for row in read_webdataset(path, keys=True)] == [("a", "2")]
    archive(path, [("README", b"1")])
    with pytest.raises(FileFormatError, match=r"a\.tar has no samples: none of its members"):
        read_webdataset(path)


def test_shapes_that_differ(tmp_path: Path) -> None:
    """What the first samples show is what all must be, unless one tells that it differs."""

    def members(*shapes: Any) -> Any:
        return [(f"{n}.x.npy", npy(np.zeros(shape))) for n, shape in enumerate(shapes)]

    path = archive(tmp_path / "a.tar", members((2, 3), (5, 3)))
    assert str(WebdatasetTable(str(path)).fields["x"]) == "float64 (*, 3)"
    archive(path, members((2, 3), (2, 4)))
    assert str(WebdatasetTable(str(path)).fields["x"]) == "float64 (2, *)"
    archive(path, members((2, 0), (3, 0)))
    assert [row["x"].shape for row in read_webdataset(path)] == [(2, 0), (3, 0)]
    archive(path, members(*[(300, 300)] * 20, (2, 3)))
    with pytest.raises(FileFormatError, match=r"member '20.x.npy' at byte \d+: is float64 \(2, 3\), and float64 \(3"):
        list(read_webdataset(path))
    assert len(list(read_webdataset(path, on_error="skip"))) == 20
    assert [row["x"].shape for row in read_webdataset(path, shapes={"x": (None, None)})][-1] == (2, 3)
    assert [row["x"].shape for row in read_webdataset(path, shapes={"x": (None, None)})][-1] == (2, 3)
    with pytest.raises(InvalidValueError, match=r"no columns \['y'\] to have shapes: it has \['x'\]"):
        read_webdataset(path, shapes={"y": (None,)})
    with pytest.raises(InvalidValueError, match=r"shapes: column 'x' is float64 \(300, 300\), got \(None,\)"):
        read_webdataset(path, shapes={"x": (None,)})
    archive(path, [("0.png", picture(np.zeros((2, 2)))), ("1.png", picture(np.zeros((2, 2, 3))))])
    with pytest.raises(FileFormatError, match=r"column 'png' is uint8 \(2, 2\) here and uint8 \(2, 2, 3\) there"):
        read_webdataset(path)
    assert [row["png"].shape for row in read_webdataset(path, mode="RGB")] == [(2, 2, 3)] * 2


def test_numbers_of_json(tmp_path: Path) -> None:
    """Whole numbers among others are floats, as JSON does not tell them apart; objects and nulls are refused."""
    path = archive(tmp_path / "a.tar", [("0.json", b"1"), ("1.json", b"2.5"), ("2.json", b"-3")])
    assert [row["json"].tolist() for row in read_webdataset(path)] == [1.0, 2.5, -3.0]
    for value in ('{"a": 1}', "null", "[1, null]", "[[1], [2, 3]]", '["a"]', "1e400x", str(2**70)):
        archive(path, [("0.json", value.encode())])
        with pytest.raises(FileFormatError, match=r"a\.tar, member '0.json' at byte \d+: "):
            read_webdataset(path)
    assert next(iter(read_webdataset(path, decode=False)))["json"] == str(2**70).encode()


def test_integers_of_numpy_stay(tmp_path: Path) -> None:
    """An .npy file of another dtype is an error, not converted."""
    path = archive(tmp_path / "a.tar", [("0.x.npy", npy(1.5)), *[(f"{n}.x.npy", npy(2)) for n in range(1, 20)]])
    with pytest.raises(FileFormatError, match=r"column 'x' is float64 here and int64 there"):
        read_webdataset(path)


@pytest.mark.parametrize("extension", ["pyd", "pickle", "pkl", "pth", "a.pt"])
def test_pickles_are_refused(tmp_path: Path, extension: str) -> None:
    """Nothing is unpickled; the bytes can be had."""
    path = archive(tmp_path / "a.tar", [(f"0.{extension}", pickle.dumps(1))])
    with pytest.raises(FileFormatError, match=rf"member '0.{extension}' at byte \d+: would have to be unpickled"):
        read_webdataset(path)
    assert next(iter(read_webdataset(path, decode=False)))[extension] == pickle.dumps(1)
    archive(path, [("0.x.npy", b"")])
    file = io.BytesIO()
    np.save(file, np.array([{}], object), allow_pickle=True)
    archive(path, [("0.x.npy", file.getvalue())])
    with pytest.raises(FileFormatError, match=r"member '0.x.npy'.* has Python objects"):
        read_webdataset(path)


def test_members_that_are_refused(tmp_path: Path) -> None:
    """Links, devices and names that lead elsewhere are errors; what is fine is given if that is asked for."""
    fine = [("a.txt", b"1")]
    for name in ("../b.txt", "/b.txt", "c/../../b.txt"):
        path = archive(tmp_path / "a.tar", [*fine, (name, b"2")])
        with pytest.raises(FileFormatError, match=rf"member '{name}' at byte \d+ has a name that leads out"):
            read_webdataset(path)
        assert [row["txt"] for row in read_webdataset(path, on_error="skip")] == ["1"]
        table = WebdatasetTable(str(path), on_error="skip", keys=True)
        assert [block["__key__"].tolist() for block in table.blocks(["__key__"])] == [["a"]]
    kinds = {b"1": "a link", b"2": "a symbolic link", b"3": "a device", b"6": "a pipe", b"V": "of the kind"}
    for kind, shown in kinds.items():
        archive(path, [*fine])
        with tarfile.open(path, "a") as file:
            odd = tarfile.TarInfo("b.txt")
            odd.type, odd.linkname = kind, "/etc/passwd"
            file.addfile(odd)
        with pytest.raises(FileFormatError, match=f"member 'b.txt' at byte \\d+ is {shown}"):
            read_webdataset(path)
        assert [row["txt"] for row in read_webdataset(path, on_error="skip")] == ["1"]
    assert os.listdir(tmp_path) == ["a.tar"]


def test_huge_sizes(tmp_path: Path) -> None:
    """A size beyond the file is noticed when the file ends; one beyond all bounds at once. No room is made for them."""
    path = tmp_path / "a.tar"
    for size in (10**10, LARGEST + 1, LARGEST, 10_000):
        path.write_bytes(header_of("a.txt", size) + b"1" * 5000)
        shown = "has" if size > LARGEST else f"is cut short: 5000 of {size} bytes are there"
        with pytest.raises(FileFormatError, match=rf"member 'a.txt' at byte \d+ {shown}"):
            read_webdataset(path)
        assert list(read_webdataset(path, on_error="skip")) == []
    wrong = bytearray(header_of("a.txt", 0))
    wrong[124:136] = b"\xff" * 12  # -1, as GNU writes it
    wrong[148:156] = b"%06o\x00 " % (sum(wrong[:148]) + sum(wrong[156:]) + 256)
    path.write_bytes(bytes(wrong) + bytes(1024))
    with pytest.raises(FileFormatError, match="has a size that none can have"):
        read_webdataset(path)
    assert list(read_webdataset(path, on_error="skip")) == []


def some(path: Path, rows: int = 6) -> bytes:
    write_webdataset(({"x": np.full(2, n), "t": f"text {n}"} for n in range(rows)), path)
    return path.read_bytes()


def test_cut_short_anywhere(tmp_path: Path) -> None:
    """An archive that ends before its end mark is noticed; what is whole before is given if that is asked for."""
    path = tmp_path / "a.tar"
    data = some(path)
    sample = 2 * 1024
    begin = len(data) - 1024 - 6 * sample
    for size in [*range(0, len(data) - 1024, 640), *range(len(data) - 1024, len(data) - 512, 64)]:
        path.write_bytes(data[:size])
        with pytest.raises(FileFormatError, match=r"a\.tar"):
            list(read_webdataset(path))
        read = [row["t"] for row in read_webdataset(path, on_error="skip")]
        # the padding of the last member may be missing
        whole = max(0, (size - begin + 512 - len("text 0")) // sample)
        assert read == [f"text {n}" for n in range(min(6, whole))]
    for size in range(len(data) - 512, len(data)):
        path.write_bytes(data[:size])  # one record of zeros is an end mark
        assert len(list(read_webdataset(path))) == 6
    path.write_bytes(data + bytes(9999))
    assert len(list(read_webdataset(path))) == 6


@given(st.data())
def test_damaged_anywhere(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Damage raises a FileFormatError, or is in a value, or in what no reader looks at; skipping never raises."""
    path = tmp_path_factory.mktemp("tar") / "a.tar"
    whole = bytearray(some(path))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(whole)
    try:
        assert len(list(read_webdataset(path))) <= 6
    except FileFormatError as error:
        assert "a.tar" in str(error)  # noqa: PT017
    try:
        rows = read_webdataset(path, on_error="skip")
    except FileFormatError as error:
        assert re.search("comment|can be read|there", str(error))  # noqa: PT017
    else:
        assert len(list(rows)) <= 6


def test_a_damaged_header_in_the_middle(tmp_path: Path) -> None:
    """Reading goes on at the next header that is whole; what was lost is noted, with its byte."""
    path = tmp_path / "a.tar"
    data = bytearray(some(path))
    begin = len(data) - 1024 - 6 * 2048
    data[begin + 2 * 2048 + 20] ^= 1  # of the third sample, first member
    data[begin + 4 * 2048 + 1024 + 130] ^= 1  # of the fifth, second member
    path.write_bytes(data)
    with pytest.raises(FileFormatError, match=rf"a\.tar: the header at byte {begin + 4096} is damaged: its checksum"):
        list(read_webdataset(path))
    table = WebdatasetTable(str(path), on_error="skip")
    (block,) = table.blocks()
    assert block["t"].tolist() == ["text 0", "text 1", "text 3", "text 5"]
    assert len(table.problems) == 4
    for found, expected in zip(
        map(str, table.problems),
        [
            "header at byte",
            r"'000000002' at byte \d+ lacks \['x.npy'\]",
            "header at byte",
            r"'000000004' .*lacks \['t.txt'\]",
        ],
        strict=True,
    ):
        assert re.search(expected, found)


def test_joined_archives(tmp_path: Path) -> None:
    """What lies behind the end mark is not passed over in silence; all of it is read if that is asked for."""
    path = tmp_path / "a.tar"
    data = some(path, 2)
    path.write_bytes(data + data)
    with pytest.raises(FileFormatError, match=rf"more behind the end of the archive, from byte {len(data)} on"):
        list(read_webdataset(path))
    assert [row["t"] for row in read_webdataset(path, on_error="skip")] == ["text 0", "text 1"] * 2


def test_damaged_compression(tmp_path: Path) -> None:
    """A compressed archive that is damaged or cut short says so; what came before is given if that is asked for."""
    path = tmp_path / "a.tar.gz"
    rng = np.random.default_rng(0)
    write_webdataset(({"x": rng.random(5000), "n": n} for n in range(40)), path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(FileFormatError, match=r"a\.tar\.gz"):
        list(read_webdataset(path))
    read = [int(row["n"]) for row in read_webdataset(path, on_error="skip")]
    assert 10 < len(read) < 40
    assert read == list(range(len(read)))


def test_other_files(tmp_path: Path) -> None:
    """What is no archive is told so, and what is missing too."""
    path = tmp_path / "a.tar"
    for data, message in (
        (b"", "is empty"),
        (b"PK" * 1000, "is no tar archive"),
        (b"x", "is cut short: 1 of 512 bytes of the header"),
    ):
        path.write_bytes(data)
        with pytest.raises(FileFormatError, match=rf"a\.tar {message}"):
            read_webdataset(path)
    with pytest.raises(FileNotFoundError, match="none"):
        read_webdataset(tmp_path / "none.tar")
    path.write_bytes(bytes(1024))
    assert WebdatasetTable(str(path)).fields == {}
    with pytest.raises(InvalidValueError, match="on_error"):
        WebdatasetTable(str(path), on_error="ignore")


def test_samples_that_are_not_alike(tmp_path: Path) -> None:
    """A sample that lacks a member, has more, or has one twice is named; chosen columns are those that matter."""
    path = tmp_path / "a.tar"
    members = [(f"{n}.{kind}", b"1") for n in range(3) for kind in ("cls", "txt")]
    for odd, message in (
        ([m for m in members if m[0] != "1.txt"], r"sample '1' at byte \d+ lacks \['txt'\]: columns="),
        ([*members[:3], ("1.txt", b"1"), ("1.cls", b"2"), *members[4:]], "member '1.cls' at byte .* comes twice"),
    ):
        archive(path, odd)
        with pytest.raises(FileFormatError, match=message):
            list(read_webdataset(path))
        assert [int(row["cls"]) for row in read_webdataset(path, on_error="skip")] == [1, 1]
    archive(path, [(f"0.{n}", b"") for n in range(1001)])
    with pytest.raises(FileFormatError, match=r"member '0\.1000' at byte \d+ is one of more than 1000 in a sample"):
        read_webdataset(path)
    archive(path, [m for m in members if m[0] != "1.txt"])
    assert len(list(read_webdataset(path, columns=["cls"]))) == 3
    more = [(f"{n}.x.npy", npy(np.zeros(10_000))) for n in range(20)]
    archive(path, [*more, ("20.x.npy", npy(np.zeros(10_000))), ("20.note", b"")])
    with pytest.raises(FileFormatError, match=r"sample '20' at byte \d+ has \['note'\], which the first samples lack"):
        list(read_webdataset(path))


def test_values_that_are_damaged(tmp_path: Path) -> None:
    """A member that is not what its extension says is named; its sample is left out if that is asked for."""
    path = tmp_path / "a.tar"
    for extension, good, bad in (
        ("x.npy", npy(np.arange(3)), npy(np.arange(3))[:-1]),
        ("x.npy", npy(np.arange(3)), npy(np.arange(3)) + b"1"),
        ("cls", b"1", b"one"),
        ("txt", b"1", b"\xff"),
        ("json", b"1", b"{"),
        ("png", picture(np.zeros((9, 9))), picture(np.zeros((9, 9)))[:-30]),
        ("png", picture(np.zeros((9, 9))), b"%!PS"),
        ("wav", wav(np.zeros(9, np.int16), 8000), wav(np.zeros(9, np.int16), 8000)[:-2]),
    ):
        archive(path, [(f"0.{extension}", good), (f"1.{extension}", bad), (f"2.{extension}", good)])
        with pytest.raises(FileFormatError, match=rf"a\.tar, member '1.{extension}' at byte \d+: "):
            read_webdataset(path)
        table = WebdatasetTable(str(path), on_error="skip", keys=True)
        (block,) = table.blocks()
        assert block["__key__"].tolist() == ["0", "2"]
        assert len(table.problems) == 1


def test_damaged_comment(tmp_path: Path) -> None:
    """What our comment says is checked before it is believed."""
    path = tmp_path / "a.tar"
    data = some(path)
    for had, has in (
        (b'["npy"', b'["pkl"'),
        (b"'<i8'", b"'|O8'"),
        (b"'<i8'", b"1+1+1"),
        (b"[2]", b"{2}"),
        (b"[2]", b"-12"),
    ):
        path.write_bytes(data.replace(had, has, 1))
        with pytest.raises(FileFormatError, match=r"a\.tar: what its comment says of the columns is damaged"):
            read_webdataset(path)
    path.write_bytes(data.replace(b"[2]", b"[3]", 1))
    with pytest.raises(FileFormatError, match=r"member '000000000.x.npy' .* is int64 \(2,\), and int64 \(3,\) was"):
        list(read_webdataset(path))
    assert len(list(read_webdataset(path, shapes={"x": (None,)}))) == 6


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3), (4, 5, 4)])
def test_images(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """Images may be written as PNG files, and are read as they were."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, *shape), np.uint8)
    write_webdataset(({"a.b": image} for image in images), tmp_path / "a.tar", encode={"a.b": "png"})
    read = [row["a.b"] for row in read_webdataset(tmp_path / "a.tar")]
    np.testing.assert_array_equal(read, images)
    wide = rng.integers(0, 2**16, (3, 4, 5)).astype(">u2")
    write_webdataset(({"w": image} for image in wide), tmp_path / "a.tar", encode={"w": "png"})
    (block,) = WebdatasetTable(str(tmp_path / "a.tar")).blocks()
    assert block["w"].dtype == np.dtype(">u2")
    np.testing.assert_array_equal(block["w"], wide)


def written(path: Path, fields: dict[str, Field], blocks: Iterable[Any]) -> None:
    with webdataset_sink(path, fields, rows=3) as write:
        for block in blocks:
            write(block)


def interrupted() -> Iterator[Any]:
    yield {"x": np.arange(2)}
    raise KeyboardInterrupt


def test_what_cannot_be_written(tmp_path: Path) -> None:
    """What cannot be held is refused before a file is made; what fails on the way leaves the old one."""
    path = tmp_path / "a.tar"
    path.write_bytes(b"old")
    number, image = Field(np.dtype("i8")), Field(np.dtype("u1"), (2, 2))
    begun: list[tuple[type[Exception], str, Any, Any]] = [
        (InvalidTypeError, "column 'x' is object: store numbers", {"x": Field(np.dtype(object))}, {}),
        (InvalidValueError, "column 'a/b'", {"a/b": number}, {}),
        (InvalidValueError, "column ''", {"": number}, {}),
        (InvalidValueError, r"column '\\ud800'", {"\ud800": number}, {}),
        (InvalidTypeError, r"PNG files hold .* column 'x' is int64: write", {"x": number}, {"x": "png"}),
        (InvalidValueError, "can be written as 'png', got 'jpg' for 'x'", {"x": image}, {"x": "jpg"}),
        (InvalidValueError, r"encode: there are no columns \['y'\], but \['x'\]", {"x": image}, {"y": "png"}),
    ]
    for kind, message, fields, encode in begun:
        with pytest.raises(kind, match=message), webdataset_sink(path, fields, encode=encode):
            raise AssertionError  # pragma: no cover
    cases: list[tuple[type[Exception], str, Any]] = [
        (InvalidValueError, "expected x: int64, got x: float64", [{"x": np.zeros(1)}]),
        (InvalidValueError, r"there were to be 3 rows, and there are 1", [{"x": np.zeros(1, int)}]),
        (InvalidValueError, "expected the columns", [{"y": np.zeros(1, int)}]),
    ]
    for kind, message, blocks in cases:
        with pytest.raises(kind, match=message):
            written(path, {"x": number}, blocks)
    with pytest.raises(InvalidValueError, match=r"row 1, member '000000001.t.txt': 'utf-8' codec can't encode"):
        write_webdataset([{"t": "a"}, {"t": "\ud800"}], path)
    with pytest.raises(KeyboardInterrupt):
        written(path, {"x": number}, interrupted())
    with room_for(100_000), pytest.raises(OSError, match=r"large|space"):
        write_webdataset(({"x": n} for n in range(5000)), path)
    assert os.listdir(tmp_path) == ["a.tar"]
    assert path.read_bytes() == b"old"
