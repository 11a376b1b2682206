"""Text files: lines as `open` reads them, in any encoding; what is no text is told with its line."""

from __future__ import annotations

import gzip
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchup.errors import FileFormatError, InvalidTypeError, InvalidValueError
from batchup.formats import read_text, write_text
from batchup.formats.table import TEXT as TEXT_DTYPE
from batchup.formats.table import Field, objects
from batchup.formats.text import TextTable, text_sink

from .kills import room_for

ENCODINGS = ["utf-8", "utf-16", "utf-8-sig", "utf-32-le", "shift_jis"]
TEXT = st.text(st.sampled_from("ab \n\r\x0b\x1c\u2028ß漢\U0001f600"), max_size=30)


@given(text=TEXT, size=st.integers(1, 9), encoding=st.sampled_from(ENCODINGS[:4]))
def test_lines_are_those_of_open(tmp_path_factory: pytest.TempPathFactory, text: str, size: int, encoding: str) -> None:
    """Lines end where `open` ends them, wherever blocks end."""
    path = tmp_path_factory.mktemp("text") / "a.txt"
    path.write_bytes(text.encode(encoding))
    with open(path, encoding=encoding) as file:
        expected = [line.removesuffix("\n") for line in file]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("batchup.formats.text.BLOCK", size)
        source = read_text(path, encoding=encoding)
        assert list(source) == list(source) == expected


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("compression", [None, "gzip", "zlib", "zst", "xz"])
def test_round_trip(tmp_path: Path, encoding: str, compression: str | None) -> None:
    """Lines are read as they were written, by Python too."""
    lines = ["to be", "", "or not", "漢字", ""]
    write_text(iter(lines), tmp_path / "a", encoding, compression)
    assert list(read_text(tmp_path / "a", encoding=encoding, compression=compression)) == lines
    if compression == "gzip":
        with gzip.open(tmp_path / "a", "rt", encoding=encoding) as file:
            assert [line[:-1] for line in file] == lines


def test_several_files(tmp_path: Path) -> None:
    """Files follow one another, those of a pattern sorted; the last line of one needs no end."""
    for name, text in (("a-2", "three"), ("a-1", "one\ntwo"), ("b", "four\r\nfive\r")):
        (tmp_path / name).write_bytes(text.encode())
    source = read_text(tmp_path / "a-*", tmp_path / "b")
    assert list(source) == ["one", "two", "three", "four", "five"]
    assert list(pickle.loads(pickle.dumps(source))) == list(source)
    assert repr(source).startswith("TextSource(paths=(")


def test_long_lines(tmp_path: Path) -> None:
    """A line of many blocks is one line."""
    write_text(["a" * 5_000_000, "b"], tmp_path / "a")
    assert [len(line) for line in read_text(tmp_path / "a")] == [5_000_000, 1]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_bad_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Bytes that are no text name the file, the line and the byte; the lines before are read."""
    monkeypatch.setattr("batchup.formats.text.BLOCK", size)
    path = tmp_path / "a.txt"
    for data, line, place in (
        (b"a\nb\nc\xffd\ne", 3, 5),
        (b"\xe6\xbc\nb", 1, 0),
        (b"a\r\n\xe6\xbc", 2, 3),
        (b"\xff", 1, 0),
    ):
        path.write_bytes(data)
        lines = iter(read_text(path))
        before = [next(lines) for _ in range(line - 1)]
        assert before == data.decode(errors="replace").splitlines()[: line - 1]
        with pytest.raises(FileFormatError, match=rf"a\.txt, line {line}: byte {place} is no utf-8"):
            next(lines)
        assert list(lines) == []


def test_files_are_closed(tmp_path: Path) -> None:
    """An iterator that is closed closes its file."""
    write_text("abc", tmp_path / "a")
    before = len(os.listdir("/dev/fd"))
    lines = iter(read_text(tmp_path / "a"))
    assert len(os.listdir("/dev/fd")) == before
    next(lines)
    assert len(os.listdir("/dev/fd")) == before + 1
    lines.close()  # type: ignore[attr-defined]
    assert len(os.listdir("/dev/fd")) == before


def test_what_cannot_be_written(tmp_path: Path) -> None:
    """An item that is no line is named by its number, and the old file stays."""
    cases: list[tuple[type[Exception], str, Any, dict[str, Any]]] = [
        (InvalidValueError, r"item 1 would be read as several lines: it has '\\n' at place 2", ["a", "bc\nd\r"], {}),
        (InvalidValueError, r"item 0 .* it has '\\r' at place 0", ["\ra\n"], {}),
        (InvalidTypeError, "item 1: a text file takes str, got bytes", ["a", b"b"], {}),
        (InvalidValueError, "item 2: ascii has no 'ß'", ["a", "b", "süß".replace("ü", "u")], {"encoding": "ascii"}),
        (InvalidValueError, "encoding must be", [], {"encoding": "no such"}),
        (InvalidValueError, "encoding must be", [], {"encoding": "hex"}),
        (InvalidValueError, "encoding must be", [], {"encoding": None}),
        (InvalidValueError, "compression", [], {"compression": "bz2"}),
    ]
    (tmp_path / "a").write_bytes(b"old")
    for kind, message, items, options in cases:
        with pytest.raises(kind, match=message):
            write_text(items, tmp_path / "a", **options)
        assert os.listdir(tmp_path) == ["a"]
        assert (tmp_path / "a").read_bytes() == b"old"


def test_arguments_are_checked_at_the_call(tmp_path: Path) -> None:
    """What cannot be read is refused when it is asked for."""
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "none")
    write_text([], tmp_path / "a")
    assert list(read_text(tmp_path / "a")) == []
    with pytest.raises(InvalidValueError, match="encoding"):
        read_text(tmp_path / "a", encoding="no such")
    with pytest.raises(InvalidValueError, match="compression"):
        read_text(tmp_path / "a", compression="bz2")


@pytest.mark.parametrize("suffix", [".gz", ".zst", ".xz"])
def test_compressed_by_suffix(tmp_path: Path, suffix: str) -> None:
    """By default the suffix says how a file is compressed; that can be told otherwise."""
    lines = ["to be", "or not"]
    write_text(lines, tmp_path / f"a.txt{suffix}")
    assert list(read_text(tmp_path / f"a.txt{suffix}")) == lines
    with pytest.raises(FileFormatError, match="is no utf-8"):
        list(read_text(tmp_path / f"a.txt{suffix}", compression=None))
    write_text(lines, tmp_path / f"b.txt{suffix}", compression=None)
    assert (tmp_path / f"b.txt{suffix}").read_bytes() == b"to be\nor not\n"
    with pytest.raises(FileFormatError, match=r"b\.txt.* is not compressed with .*pass compression=None"):
        list(read_text(tmp_path / f"b.txt{suffix}"))


def table_lines(path: Path, **options: Any) -> list[str]:
    """Return the lines that a table has."""
    with TextTable(str(path), **options) as table:
        lines = [line for block in table.blocks() for line in block["text"]]
        assert table.bytes_done == table.bytes_total == path.stat().st_size
        assert table.columns() is None
    return lines


LINES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=9)


@given(lines=st.lists(LINES, max_size=9), size=st.integers(1, 9), encoding=st.sampled_from(["utf-8", "utf-16"]))
def test_tables(tmp_path_factory: pytest.TempPathFactory, lines: list[str], size: int, encoding: str) -> None:
    """A column of texts is read as it was written, wherever blocks end; the same rows are the same bytes."""
    folder = tmp_path_factory.mktemp("text")
    for name in ("a.txt", "b.txt"):
        with text_sink(folder / name, {"words": Field(TEXT_DTYPE)}, encoding=encoding) as put:
            for start in range(0, len(lines), size if name == "a.txt" else 9):
                put({"words": objects(lines[start : start + (size if name == "a.txt" else 9)])})
    assert (folder / "a.txt").read_bytes() == (folder / "b.txt").read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("batchup.formats.text.BLOCK", size)
        assert table_lines(folder / "a.txt", encoding=encoding) == lines
        assert list(read_text(folder / "a.txt", encoding=encoding)) == lines


@pytest.mark.parametrize("size", [1, 3, 100])
def test_tables_of_damaged_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Lines in which something is no text are left out, and told, if that is wanted."""
    monkeypatch.setattr("batchup.formats.text.BLOCK", size)
    path = tmp_path / "a.txt"
    path.write_bytes(b"a\nb\xffc\xfe\n\xe6\xbc\xa2\n\nd\xe6\xbc\ne")
    with pytest.raises(FileFormatError, match=r"a.txt, line 2: byte 3 is no utf-8"):
        table_lines(path)
    with TextTable(str(path), on_error="skip") as table:
        assert [line for block in table.blocks() for line in block["text"]] == ["a", "漢", "", "e"]
        assert [str(error).split(": ", 1)[0][-6:] for error in table.problems] == ["line 2", "line 5"]
        assert r"b'\xff' is no utf-8" in str(table.problems[0])
        assert table.blocks([]) is not None
        assert list(table.blocks([])) == []
    data = gzip.compress(b"line\n" * 1000)
    (tmp_path / "a.txt.gz").write_bytes(data[:-4])
    with pytest.raises(FileFormatError, match=r"a.txt.gz is cut short"):
        list(TextTable(str(tmp_path / "a.txt.gz")).blocks())
    with TextTable(str(tmp_path / "a.txt.gz"), on_error="skip") as table:
        assert sum(len(block["text"]) for block in table.blocks()) == 1000
        assert len(table.problems) == 1


def test_what_tables_cannot_hold(tmp_path: Path) -> None:
    """What is not one column of texts is refused before a file is made; a text of several lines, when it comes."""
    text, number = Field(TEXT_DTYPE), Field(np.dtype("i8"))
    cases: list[tuple[type[Exception], str, dict[str, Field], Any]] = [
        (InvalidTypeError, "text files hold one column, of texts; column 'y' is int64", {"y": number}, None),
        (InvalidTypeError, "column 'y' is str: leave it out, or write .csv", {"x": text, "y": text}, None),
        (InvalidTypeError, r"column 'x' is <U3 \(2,\)", {"x": Field(np.dtype("U3"), (2,))}, None),
        (InvalidValueError, "one column, of texts, got none", {}, None),
        (InvalidValueError, r"item 2 would be read as several lines: it has '\\r'", {"x": text}, ["a", "b", "c\r"]),
        (InvalidValueError, r"item 1: utf-8 has no '\\ud800'", {"x": text}, ["a", "\ud800"]),
        (InvalidValueError, "x: str, got x: int64", {"x": text}, [1, 2]),
    ]
    for kind, message, fields, values in cases:
        with pytest.raises(kind, match=message), text_sink(tmp_path / "a.txt", fields) as put:
            put({"x": np.array(values) if values[0] == 1 else objects(values)})
        assert os.listdir(tmp_path) == []
    (tmp_path / "a.txt").write_bytes(b"old")
    with (
        pytest.raises(OSError, match="File too large"),
        room_for(2**12),
        text_sink(tmp_path / "a.txt", {"x": text}) as put,
    ):
        put({"x": objects(["abc"] * 2**20)})
    assert os.listdir(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_bytes() == b"old"
