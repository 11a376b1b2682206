"""CSV files: what is written is read back, and of what does not fit the file, line, row and column are told."""

from __future__ import annotations

import csv
import gzip
import os
import pickle
import string
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from batchup.errors import FileFormatError, InvalidTypeError, InvalidValueError
from batchup.formats.csv.rows import last_end, quote_turns, row_places
from batchup.formats.csv.table import CsvTable, csv_sink, read_csv, write_csv
from batchup.formats.table import TEXT, Block, Field, fields_of, objects

from . import tables
from .tables import UNFINISHED, check_closes, check_old_stays

TEXTS = st.text(st.sampled_from("ab ,;\"'\n\r\0\t\ufeffé漢\U0001f600\u2028-1.n"), max_size=6)
NUMBERS = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="?"),
    hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?"),
    hnp.datetime64_dtypes(max_period="Y", min_period="ns"),
)


def column(draw: Any, rows: int) -> Any:
    """Return a column of a block."""
    if draw(st.booleans()):
        return objects(draw(st.lists(TEXTS, min_size=rows, max_size=rows)))
    dtype = draw(NUMBERS)
    elements = None
    if dtype.kind == "M":  # beyond some years NumPy does not read what it writes
        elements = st.integers(-(10**4), 10**4).map(lambda number: np.datetime64(number, np.datetime_data(dtype)))
    return draw(hnp.arrays(dtype, (rows,), elements=elements))


@st.composite
def blocks(draw: Any) -> Block:
    """Draw rows that a CSV file can hold."""
    rows = draw(st.integers(0, 5))
    names = draw(st.lists(TEXTS.filter(bool), min_size=1, max_size=3, unique=True))
    return {name: column(draw, rows) for name in names}


def written(path: Path, block: Block, step: int = 2, **options: Any) -> Path:
    """Write rows, some at a time."""
    return tables.written(csv_sink, path, block, step, **options)


def read(path: Path, **options: Any) -> Block:
    """Return all rows of a file as one block."""
    with CsvTable(str(path), **options) as table:
        parts = list(table.blocks())
        assert table.bytes_done == table.bytes_total == path.stat().st_size or not parts
        return {name: joined([part[name] for part in parts], field) for name, field in table.fields.items()}


def joined(parts: list[Any], field: Field) -> Any:
    """Return parts of a column as one array."""
    dtype = np.dtype(object) if field.dtype == TEXT else field.dtype
    assert all(part.dtype == dtype for part in parts)
    return np.concatenate([np.empty(0, dtype), *parts]).astype(dtype)


def texts_of(path: Path, data: str | bytes) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


@given(block=blocks(), delimiter=st.sampled_from([c for c in string.punctuation + " \t" if c not in '"+-._:']))
@example(block={"x": np.array([-0.0, np.nan, np.inf, -np.inf, 5e-324, 1e22, 1.0])}, delimiter=",")
@example(block={"x": np.array([65504, 6e-8, 0.1, -0.0], np.float16), "y": np.full(4, 0.1, ">f4")}, delimiter=",")
@example(block={"\ufeff": objects(["", "\ufeff"])}, delimiter=",")
@example(block={"x": objects(["\n", "", '"', 'a"b', "\r"])}, delimiter="^")
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, block: Block, delimiter: str) -> None:
    """With the dtypes told, all is read as it was written, whatever the delimiter; the same rows are the same bytes."""
    folder = tmp_path_factory.mktemp("csv")
    path = written(folder / "a.csv", block, delimiter=delimiter)
    again = written(folder / "b.csv", block, 9, delimiter=delimiter)
    assert path.read_bytes() == again.read_bytes()
    dtypes = {name: field.dtype for name, field in fields_of(block).items()}
    found = read(path, dtypes=dtypes, delimiter=delimiter)
    assert list(found) == list(block)
    for name, values in block.items():
        assert found[name].dtype == values.dtype
        np.testing.assert_array_equal(found[name], values)
        if values.dtype.kind == "f":
            np.testing.assert_array_equal(np.signbit(found[name]), np.signbit(values) & ~np.isnan(values))
    if b"\0" not in path.read_bytes():
        with open(path, newline="", encoding="utf-8") as file:
            header, *rows = [row for row in csv.reader(file, delimiter=delimiter) if row]
        assert header == list(block)
        for number, values in enumerate(block.values()):
            if values.dtype == object:
                assert [row[number] for row in rows] == values.tolist()


@given(
    floats=hnp.arrays(st.sampled_from(["f2", "f4", "f8"]), st.integers(1, 5)),
    integers=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=5),
    large=st.lists(st.integers(2**63, 2**64 - 1), min_size=1, max_size=5),
    words=st.lists(TEXTS.map(lambda text: text + "z"), min_size=1, max_size=5),
    truths=st.lists(st.booleans(), min_size=1, max_size=5),
)
def test_what_is_told_by_the_rows(
    tmp_path_factory: pytest.TempPathFactory,
    floats: Any,
    integers: list[int],
    large: list[int],
    words: list[str],
    truths: list[bool],
) -> None:
    """Without dtypes, values are equal nevertheless, as the widest of their kind."""
    folder = tmp_path_factory.mktemp("csv")
    cases: list[tuple[Any, Any]] = [
        (floats, "f8"),
        (np.array(integers), "i8"),
        (np.array(large, np.uint64), "u8"),
        (objects(words), "O"),
        (np.array(truths), "?"),
    ]
    for values, dtype in cases:
        found = read(written(folder / "a.csv", {"x": values}))["x"]
        assert found.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize(
    ("cells", "dtype", "values"),
    [
        ("1 -2 0003", "int64", [1, -2, 3]),
        ("1 0x1F", "str", ["1", "0x1F"]),
        ("1 2.5 1e3 nan -inf", "float64", [1, 2.5, 1000, np.nan, -np.inf]),
        ("true False TRUE", "bool", [True, False, True]),
        ("true 1 0", "str", ["true", "1", "0"]),
        ("2024-02-29", "str", ["2024-02-29"]),
        ("12:30:00", "str", ["12:30:00"]),
        ("2024-02-29T12:00:00", "str", ["2024-02-29T12:00:00"]),
        ("1 a", "str", ["1", "a"]),
        ("18446744073709551615 1", "uint64", [2**64 - 1, 1]),
        ("18446744073709551616 1", "str", ["18446744073709551616", "1"]),
        ("18446744073709551615 -1", "str", ["18446744073709551615", "-1"]),
        ("NA null", "str", ["NA", "null"]),
    ],
)
def test_what_cells_are_taken_for(tmp_path: Path, cells: str, dtype: str, values: list[Any]) -> None:
    """Columns are integers, floats, bools or texts, and nothing else."""
    path = texts_of(tmp_path / "a.csv", "x\n" + cells.replace(" ", "\n"))
    with CsvTable(str(path)) as table:
        assert str(table.fields["x"]) == dtype
    assert read(path)["x"].tolist() == (pytest.approx(values, nan_ok=True) if dtype[0] in "fiu" else values)


def test_empty_cells(tmp_path: Path) -> None:
    """Among floats they are nan, among texts empty, among others an error with the remedy."""
    path = texts_of(tmp_path / "a.csv", 'x,y,z,t\n1.5,a,1,2024-01-01\n,,,\n"","",2,""\n')
    found = read(path, dtypes={"z": "f4", "t": "datetime64[D]"})
    np.testing.assert_array_equal(found["x"], [1.5, np.nan, np.nan])
    assert found["y"].tolist() == ["a", "", ""]
    np.testing.assert_array_equal(found["z"], np.array([1, np.nan, 2], np.float32))
    assert np.isnat(found["t"]).tolist() == [False, True, True]
    message = r"a.csv, line 3 \(row 1\), column 'z': expected int64, got '': .*dtypes={'z': 'float64'}"
    with pytest.raises(FileFormatError, match=message):
        read(path)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("bom", [True, False])
def test_ends_of_lines(tmp_path: Path, end: str, last: bool, bom: bool) -> None:
    """All ends of lines are read, with or without the last one, and a mark at the beginning; empty lines are none."""
    text = end.join(["", "x,y", "1,a", "", "2,b" + end * last])
    path = texts_of(tmp_path / "a.csv", "\ufeff" * bom + text)
    assert {name: values.tolist() for name, values in read(path).items()} == {"x": [1, 2], "y": ["a", "b"]}


@given(data=st.text(st.sampled_from('ab,"\n\r'), max_size=24).map(str.encode), size=st.integers(1, 8))
def test_rows_are_cut_where_they_end(data: bytes, size: int) -> None:
    """Where quoted text begins and ends is what Python's csv module finds, and pieces are cut there alone."""
    outside = True
    turns, start = [], True
    place = 0
    while place < len(data):
        byte = data[place : place + 1]
        if not outside and byte == b'"' and data[place + 1 : place + 2] == b'"':
            turns += [place, place + 1]
            place += 1
        elif byte == b'"' and (start or not outside):
            turns.append(place)
            outside = not outside
        start = outside and byte in (b",", b"\n", b"\r")
        place += 1
    assert quote_turns(data, ",").tolist() == turns
    end = b"\n" if b"\n" in data else b"\r"
    ends = [n + 1 for n in range(len(data)) if data[n : n + 1] == end and sum(turn < n for turn in turns) % 2 == 0]
    assert last_end(data, ",") == max(ends, default=0)
    starts, stops = row_places(data, ",")
    assert {*stops.tolist()} <= {*ends, len(data)}
    for begin, stop in zip([0, *stops], [*starts, len(data)], strict=True):
        assert not data[begin:stop].strip(b"\r\n")


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst", ".xz"])
@pytest.mark.parametrize("size", [5, 64, 4096])
def test_many_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, size: int) -> None:
    """However small the pieces, rows are whole; two iterators do not disturb each other."""
    block = {
        "x": np.arange(200),
        "y": objects([f'{n}\n"{n % 7}",\n' if n % 3 else "" for n in range(200)]),
        "z": np.arange(200) / 7,
    }
    path = written(tmp_path / f"a.csv{suffix}", block, 31)
    monkeypatch.setattr("batchup.formats.lines.BLOCK", size)
    monkeypatch.setattr("batchup.formats.lines._PIECE", 7)
    found = read(path, dtypes={"y": "U"})
    for name, values in block.items():
        np.testing.assert_array_equal(found[name], values)
    with CsvTable(str(path), dtypes={"y": "U"}) as table:
        assert len(list(table.blocks())) > (1 if size < 4096 else 0)
        for first, second in zip(table.blocks(["z", "x"]), table.blocks(["x", "z"]), strict=True):
            assert list(first) == ["z", "x"]
            np.testing.assert_array_equal(first["x"], second["x"])
    assert [row["x"] for row in read_csv(path, columns=["x"])] == list(range(200))


def test_a_long_row(tmp_path: Path) -> None:
    """A cell of more than a block is one cell; one that goes on beyond all bounds is an error."""
    texts = ["a" * 3_000_000, "b\n" * 5_000_000, "c"]
    path = written(tmp_path / "a.csv", {"x": objects(texts), "y": np.arange(3)})
    assert read(path)["x"].tolist() == texts


def test_a_row_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quote that is missing does not have the whole file read into memory."""
    monkeypatch.setattr("batchup.formats.lines.BLOCK", 16)
    monkeypatch.setattr("batchup.formats.lines._PIECE", 7)
    monkeypatch.setattr("batchup.formats.lines.MOST", 300)
    path = texts_of(tmp_path / "a.csv", "x\n1\n2\n" + '3"\n' * 9 + '"' + "4\n" * 1000)
    with pytest.raises(FileFormatError, match=r"a.csv: a row that begins with byte 33 goes on for more than 300 bytes"):
        read(path)
    table = CsvTable(str(path), on_error="skip")
    assert sum(len(block["x"]) for block in table.blocks()) == 11
    assert len(table.problems) == 1


BAD = [
    ("1,a\n2\n3,c\n", r"line 3 \(row 1\): expected 2 cells, as the first row has, got 1: b'2\\n'", [1, 3]),
    ("1,a\n2,b,\n3,c\n", r"line 3 \(row 1\): expected 2 cells, .* got 3", [1, 3]),
    ("1,a\n\n2,b\n\nx,c\n", r"line 6 \(row 2\), column 'x': expected int64, got 'x': .*{'x': 'U'}", [1, 2]),
    ("1,a\n2.5,b\n", r"line 3 \(row 1\), column 'x': expected int64, got '2.5': .*{'x': 'float64'}", [1]),
    ("1,a\n9223372036854775808,b\n", r"line 3 .* expected int64, got '9223372036854775808': .*'uint64'", [1]),
    ('1,"a\n\n"\n,b\n', r"line 5 \(row 1\), column 'x': expected int64, got '': .*'float64'", [1]),
    (b"1,a\n2,\xff\xfe\n3,c\n", r"line 3 \(row 1\): byte 2 of it is no UTF-8 \(invalid start byte\)", [1, 3]),
    ('1,a\n2,b\n3,"c\n4,d\n', r"line 4 \(byte 14\): a quoted cell begins and does not end", [1, 2]),
    ("1,a\r2\r3,c\r", r"\(row 1\): expected 2 cells", [1, 3]),
]


@pytest.mark.parametrize(("data", "message", "kept"), BAD)
@pytest.mark.parametrize("size", [8, 2**20])
def test_bad_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: str | bytes, message: str, kept: list[int], size: int
) -> None:
    """A row that does not fit is told with all that is needed to find it, or left out, if that is wanted."""
    data = data.encode() if isinstance(data, str) else data
    path = texts_of(tmp_path / "a.csv", b"x,y" + (b"\r" if b"\n" not in data else b"\n") + data)
    monkeypatch.setattr("batchup.formats.lines.BLOCK", size)
    monkeypatch.setattr("batchup.formats.lines._PIECE", 7)
    with pytest.raises(FileFormatError, match=rf"a\.csv, {message}" if message[0] == "l" else message):
        list(CsvTable(str(path), dtypes={"x": "i8"}).blocks())
    with CsvTable(str(path), dtypes={"x": "i8"}, on_error="skip") as table:
        for _ in range(2):  # what is left out is noted once
            assert np.concatenate([block["x"] for block in table.blocks()]).tolist() == kept
            assert len(table.problems) == 1
        assert "a.csv" in str(table.problems[0])


@pytest.mark.parametrize("size", [100, 2**20])
def test_many_bad_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Each of many rows that do not fit is left out, and told; those around them are kept."""
    monkeypatch.setattr("batchup.formats.lines.BLOCK", size)
    monkeypatch.setattr("batchup.formats.lines._PIECE", 7)
    lines = ["x,y"] + [f"{n},{n / 3 if n % 5 else 'none'}" for n in range(1000)]
    path = texts_of(tmp_path / "a.csv", "\n".join(lines))
    table = CsvTable(str(path), dtypes={"y": "f8"}, on_error="skip")
    assert np.concatenate([block["x"] for block in table.blocks()]).tolist() == [n for n in range(1000) if n % 5]
    assert [str(error).split(", ")[1] for error in table.problems] == [
        f"line {n + 2} (row {n})" for n in range(0, 1000, 5)
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "a.csv is empty: a CSV file begins with the names of its columns"),
        ("\ufeff\n\n", "a.csv is empty"),
        ("x,x\n1,2\n", "two columns have the name 'x': name each .* header=False"),
        ("x,,y\n1,2,3\n", "column 1 of 3 has no name"),
        (b"\xff\xfex\0\n\0", "expected a row of CSV in UTF-8: byte 0 of it is no UTF-8"),
    ],
)
def test_bad_headers(tmp_path: Path, data: str | bytes, message: str) -> None:
    """Columns without names, or with the same, are told when the file is opened."""
    with pytest.raises(FileFormatError, match=message):
        CsvTable(str(texts_of(tmp_path / "a.csv", data)), on_error="skip")


def test_without_header(tmp_path: Path) -> None:
    """If the first row holds values, columns are numbered."""
    found = read(texts_of(tmp_path / "a.csv", "1;a,b\n2;c\n"), header=False, delimiter=";")
    assert {name: values.tolist() for name, values in found.items()} == {"c0": [1, 2], "c1": ["a,b", "c"]}


def test_numbers_that_do_not_fit(tmp_path: Path) -> None:
    """What is asked for must hold what is there."""
    path = texts_of(tmp_path / "a.csv", "x\n1\n300\n")
    for dtype, remedy in (("u1", "int64"), ("i1", "int64"), ("?", "int64")):
        with pytest.raises(FileFormatError, match=rf"row 1\), column 'x': expected .*, got '300': .*'{remedy}'"):
            read(path, dtypes={"x": dtype})
    path = texts_of(tmp_path / "a.csv", "x\n1\n7e4\n")
    with pytest.raises(FileFormatError, match=r"row 1\), column 'x': expected float16, got '7e4': .*'float64'"):
        read(path, dtypes={"x": "f2"})
    path = texts_of(tmp_path / "a.csv", "x\n2024-01-01\n2024-01-01T12:00:00.5\nnow\n2024-01-01T12:00Z\n2024-13-01\n")
    table = CsvTable(str(path), dtypes={"x": "datetime64[s]"}, on_error="skip")
    assert [len(block["x"]) for block in table.blocks()] == [1]
    assert len(table.problems) == 4


def test_a_file_that_is_cut_short(tmp_path: Path) -> None:
    """Of a compressed file, the rows that are whole are read; then it is told that it is cut short."""
    block = {"x": np.arange(20_000), "y": np.random.default_rng(1).normal(size=20_000)}
    path = written(tmp_path / "a.csv.gz", block, 5000)
    data = path.read_bytes()
    for size in (40, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(FileFormatError, match=rf"a.csv.gz is cut short: .* byte {size}"):
            list(CsvTable(str(path)).blocks())
        if size == 40:
            with pytest.raises(FileFormatError, match="cut short"):
                CsvTable(str(path), on_error="skip")
            continue
        table = CsvTable(str(path), on_error="skip")
        parts = list(table.blocks())
        rows = sum(len(part["x"]) for part in parts)
        assert 1000 < rows <= 20_000
        for name, values in block.items():
            np.testing.assert_array_equal(np.concatenate([part[name] for part in parts] or [values[:0]]), values[:rows])
        assert len(table.problems) == 1
    texts_of(tmp_path / "b.csv.gz", "x\n1\n")
    with pytest.raises(FileFormatError, match=r"b.csv.gz is not compressed with gzip: pass compression=None"):
        list(read_csv(tmp_path / "b.csv.gz"))
    assert list(read_csv(tmp_path / "b.csv.gz", compression=None)) == [{"x": 1}]


def test_several_files(tmp_path: Path) -> None:
    """Rows of several files follow one another, again and again, and where they are read from can be pickled."""
    write_csv([{"x": 1, "y": "a"}], tmp_path / "a-1.csv")
    write_csv([{"x": 2, "y": "b"}], tmp_path / "a-2.csv.gz")
    rows = read_csv(tmp_path / "a-*", columns=["y", "x"])
    expected = [{"y": "a", "x": 1}, {"y": "b", "x": 2}]
    assert list(rows) == list(rows) == list(pickle.loads(pickle.dumps(rows))) == expected
    assert gzip.decompress((tmp_path / "a-2.csv.gz").read_bytes()) == b"x,y\n2,b\n"
    with pytest.raises(FileNotFoundError):
        read_csv(tmp_path / "none.csv")
    with pytest.raises(InvalidValueError, match="has no columns"):
        read_csv(tmp_path / "a-*", columns=["z"])


def test_arguments(tmp_path: Path) -> None:
    """What cannot be meant is refused at the call."""
    path = texts_of(tmp_path / "a.csv", "x\n1\n")
    cases: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (InvalidValueError, "delimiter must be", {"delimiter": ",,"}),
        (InvalidValueError, "delimiter must be", {"delimiter": '"'}),
        (InvalidValueError, "delimiter must be", {"delimiter": None}),
        (InvalidValueError, "compression must be", {"compression": "zip"}),
        (InvalidValueError, "on_error must be", {"on_error": "ignore"}),
        (InvalidTypeError, "dtypes must be a dict", {"dtypes": "f4"}),
        (InvalidTypeError, "'x': 'float' .*no dtype|'nothing' is no dtype", {"dtypes": {"x": "nothing"}}),
        (InvalidValueError, "column 'x': wanted a dtype of bools.* got 'c8'", {"dtypes": {"x": "c8"}}),
        (InvalidValueError, "got 'datetime64'", {"dtypes": {"x": "datetime64"}}),
        (InvalidValueError, "got 'U5'", {"dtypes": {"x": "U5"}}),
        (InvalidValueError, r"has no columns \['y'\]: it has \['x'\]", {"dtypes": {"y": "f4"}}),
    ]
    for kind, message, options in cases:
        with pytest.raises(kind, match=message):
            read_csv(path, **options)


REFUSED: list[tuple[type[Exception], str, dict[str, Field]]] = [
    (InvalidTypeError, r"column 'x' is float64 \(3,\): write .npz", {"x": Field(np.dtype("f8"), (3,))}),
    (InvalidTypeError, r"column 'x' is int64 \(\*,\): write", {"x": Field(np.dtype("i8"), (None,))}),
    (InvalidTypeError, "column 'x' is bytes: write .*decode", {"x": Field(np.dtype("S"))}),
    (InvalidTypeError, r"column 'x' is \|S3", {"x": Field(np.dtype("S3"))}),
    (InvalidTypeError, "column 'x' is complex128", {"x": Field(np.dtype("c16"))}),
    (InvalidTypeError, "column 'x' is timedelta64", {"x": Field(np.dtype("m8[s]"))}),
    (InvalidTypeError, "column 'x' is datetime64", {"x": Field(np.dtype("M8"))}),
    (InvalidValueError, "at least one column", {}),
    (InvalidValueError, "have names", {"": Field(np.dtype("f8"))}),
    (InvalidValueError, r"the name of column .*UTF-8 has no", {"\ud800": Field(np.dtype("f8"))}),
]


@pytest.mark.parametrize(("kind", "message", "fields"), REFUSED)
def test_refused(tmp_path: Path, kind: type[Exception], message: str, fields: dict[str, Field]) -> None:
    """What a CSV file cannot hold is refused before there is one, with what to do instead."""
    with pytest.raises(kind, match=message), csv_sink(tmp_path / "a.csv", fields):
        raise AssertionError("it was begun")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("case", "kind", "message"),
    [*UNFINISHED, ("surrogate", InvalidValueError, r"row 4, column 'x': UTF-8 has no '\\ud800'")],
)
@pytest.mark.parametrize("name", ["a.csv", "a.csv.xz"])
def test_whole_or_absent(tmp_path: Path, case: str, kind: type[BaseException], message: str | None, name: str) -> None:
    """A file that cannot be finished leaves the old one, and nothing else."""
    check_old_stays(csv_sink, tmp_path / name, case, kind, message)


def test_files_are_closed(tmp_path: Path) -> None:
    """An iterator that is closed closes its file, and a table has none open."""
    path = written(tmp_path / "a.csv", {"x": np.arange(3)})
    check_closes(lambda: CsvTable(str(path)))


def test_bools_that_come_late(tmp_path: Path) -> None:
    """Far behind the first rows, too, bools are words, unless bools are asked for; the error says what to ask for."""
    path = texts_of(tmp_path / "a.csv", "x,y\n" + "1,true\n" * 1_500_000 + "2,0\n")
    with pytest.raises(FileFormatError, match=r"'y': expected bool, got '0': .*dtypes={'y': 'bool'}"):
        read(path)
    assert read(path, dtypes={"y": "?"})["y"].sum() == 1_500_000
    path = texts_of(tmp_path / "b.csv", "x,y\n1,true\n2,\n")
    with pytest.raises(FileFormatError, match=r"'y': expected bool, got '': .*dtypes={'y': 'U'}"):
        read(path)
    assert read(path, dtypes={"y": "U"})["y"].tolist() == ["true", ""]
