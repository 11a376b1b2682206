"""JSONL files: what is written is read back, and of what does not fit the file, line, row and column are told."""

from __future__ import annotations

import json
import os
import pickle
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from batchup.columns import Ragged
from batchup.errors import FileFormatError, InvalidTypeError, InvalidValueError
from batchup.formats.jsonl import plain
from batchup.formats.jsonl.table import JsonlTable, jsonl_sink, read_jsonl, write_jsonl
from batchup.formats.table import TEXT, Block, Field, fields_of, objects

from . import tables
from .tables import UNFINISHED, check_closes, check_old_stays


@pytest.fixture(autouse=True, scope="module", params=[0, 2**60], ids=["by pyarrow", "by Python"])
def _parser(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain, "LEAST", request.param)
        yield


TEXTS = st.text(st.sampled_from("ab%s\\\"'\n\r\0\t/{}é漢\U0001f600\u2028-1.n"), max_size=6)
FLOATS = {"allow_infinity": False}
DTYPES = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="?"),
    hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?"),
    hnp.datetime64_dtypes(max_period="Y", min_period="ns"),
    hnp.unicode_string_dtypes(endianness="=", max_len=3),
)


def array(draw: Any, dtype: Any, shape: tuple[int, ...]) -> Any:
    """Return an array of values that JSON has."""
    elements: Any = FLOATS if dtype.kind == "f" else None
    if dtype.kind == "M":  # beyond some years NumPy does not read what it writes
        elements = st.integers(-(10**4), 10**4).map(lambda number: np.datetime64(number, np.datetime_data(dtype)))
    if dtype.kind == "U":
        elements = st.text(st.sampled_from("a漢%\n\\"), max_size=dtype.itemsize // 4)
    return draw(hnp.arrays(dtype, shape, elements=elements))


def column(draw: Any, rows: int) -> Any:
    """Return a column of a block."""
    kind, dtype = draw(st.sampled_from(["text", "fixed", "ragged", "loose"])), draw(DTYPES)
    sides = draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3))
    if kind == "text":
        return objects(draw(st.lists(TEXTS, min_size=rows, max_size=rows)))
    if kind == "fixed":
        return array(draw, dtype, (rows, *sides))
    if kind == "ragged" and 0 not in sides:
        ends = np.append(0, np.cumsum(draw(st.lists(st.integers(0, 3), min_size=rows, max_size=rows)), dtype=int))
        return Ragged(array(draw, dtype, (int(ends[-1]), *sides)), ends)
    return objects([array(draw, dtype, draw(st.tuples(st.integers(1, 3), st.integers(0, 3)))) for _ in range(rows)])


@st.composite
def blocks(draw: Any) -> Block:
    """Draw rows that a JSONL file can hold."""
    rows = draw(st.integers(0, 5))
    names = draw(st.lists(TEXTS, min_size=1, max_size=3, unique=True))
    return {name: column(draw, rows) for name in names}


def written(path: Path, block: Block, step: int = 2, **options: Any) -> Path:
    """Write rows, some at a time."""
    return tables.written(jsonl_sink, path, block, step, **options)


def read(path: Path, **options: Any) -> list[Block]:
    """Return all rows of a file."""
    with JsonlTable(str(path), **options) as table:
        found = list(table.blocks())
        assert table.bytes_done == table.bytes_total == path.stat().st_size or not found
    for block in found:
        assert {name: str(field) for name, field in fields_of(block).items()} == {
            name: str(table.fields[name]) for name in block
        }
    return found


def values_of(parts: list[Block], name: str) -> list[Any]:
    return [value for part in parts for value in part[name]]


def lines_of(path: Path, *lines: str | bytes) -> Path:
    path.write_bytes(b"\n".join(line.encode() if isinstance(line, str) else line for line in lines))
    return path


@given(block=blocks())
@example(block={"%s": np.array([-0.0, np.nan, 5e-324, 1e22, 1.0, 0.1]), "y": np.full((6, 1), 0.1, ">f4")})
@example(block={"x": np.zeros((2, 0, 3)), "y": np.zeros((2, 2, 0), np.uint8), "": objects(["", "\n"])})
@example(block={"x": np.array([2**64 - 1, 0], np.uint64), "y": np.array([-(2**63), 2**63 - 1])})
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, block: Block) -> None:
    """With dtypes and shapes told, all is read as it was written; the same rows are the same bytes, and JSON."""
    folder = tmp_path_factory.mktemp("jsonl")
    path = written(folder / "a.jsonl", block)
    assert path.read_bytes() == written(folder / "b.jsonl", block, 9).read_bytes()
    fields = fields_of(block)
    with JsonlTable(
        str(path),
        dtypes={name: field.dtype for name, field in fields.items()},
        shapes={name: field.shape for name, field in fields.items()},
    ) as table:
        parts = list(table.blocks())
        assert list(table.fields) == list(block)
    for name, values in block.items():
        found = values_of(parts, name)
        assert len(found) == len(values)
        for value, expected in zip(found, values, strict=True):
            np.testing.assert_array_equal(value, expected)
            if not isinstance(expected, str):
                assert value.dtype == expected.dtype
                assert value.shape == expected.shape
            if expected.dtype.kind == "f" if not isinstance(expected, str) else False:
                np.testing.assert_array_equal(
                    np.signbit(value) & ~np.isnan(value), np.signbit(expected) & ~np.isnan(value)
                )
        assert all(fields_of(part)[name] == fields[name] for part in parts) or fields[name].shape == (None, None)
    for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
        assert list(json.loads(line, parse_constant=pytest.fail)) == list(block)


PIECES = [
    *(
        "0",
        "-0",
        "-0.0",
        "1",
        "2.5",
        "1e5",
        "1E400",
        "01",
        "NaN",
        "-Infinity",
        "9223372036854775808",
        "-7",
        "true",
        "1" + 400 * "0",
    ),
    *("null", "[]", "[1]", "[[1]]", "{}", '"a"', '"\\ud800"', '"\\u0000"', '"b', ",", ":", "[", "]", "{", "}", '"'),
    *(" ", "\t", "\r", "\n", "}\n{", "}{", '"x":1,', '"z":1,', "\\", "\x7f", "\xff", "\0", "/*c*/"),
]


def test_plain_lines_are_parsed_by_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is plain is not left to the slower parser, and comes out as it should; what is not plain is left."""
    monkeypatch.setattr(plain, "LEAST", 0)
    fields = {
        "x": Field(np.dtype("f4")),
        "n": Field(np.dtype("u1")),
        "t": Field(TEXT),
        "b": Field(np.dtype("?")),
        "v": Field(np.dtype("i8"), (2,)),
        "r": Field(np.dtype("f8"), (None, 2)),
    }
    line = b'{"x": 0.5, "n": 255, "t": "a\\u00e9", "b": true, "v": [1, 2], "r": [[1, 2.5]]}\n'
    found = plain.PlainLines(fields, strict=True).block(line + line)
    assert found is not None
    assert {name: str(field) for name, field in fields_of(found).items()} == {n: str(f) for n, f in fields.items()}
    values = {name: [np.asarray(value).tolist() for value in column] for name, column in found.items()}
    assert values == {
        name: [value] * 2
        for name, value in {"x": 0.5, "n": 255, "t": "aé", "b": True, "v": [1, 2], "r": [[1.0, 2.5]]}.items()
    }
    for wrong in (b"", b"\n", line + b"\n", line.replace(b"0.5", b"null"), line.replace(b"255", b"256"), line[:-3]):
        assert plain.PlainLines(fields, strict=True).block(wrong) is None
    assert plain.PlainLines({"x": fields["x"]}, strict=False).block(line) is not None
    assert plain.PlainLines({"x": fields["x"]}, strict=True).block(line) is None


@pytest.mark.parametrize("columns", [None, ["f", "r"]])
@pytest.mark.parametrize("seed", range(4))
def test_parsers_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, columns: list[str] | None) -> None:
    """Of lines in which something was changed at random both parsers read the same rows, and tell the same."""
    rng = random.Random(seed)
    rows = [
        {"i": n, "u": n, "f": n / 7, "b": n % 2 > 0, "t": f"é{n}", "v": [n / 3, 1.0], "r": [[n, 2]] * (n % 3)}
        for n in range(6)
    ]
    lines = [json.dumps(row, ensure_ascii=n % 2 > 0).encode() for n, row in enumerate(rows)]
    options: dict[str, Any] = {"dtypes": {"u": "u1", "b": "?"}, "shapes": {"r": (None, 2)}, "on_error": "skip"}
    differ = 0
    for _ in range(300):
        data = b"\n".join(lines)
        for _ in range(rng.randrange(1, 3)):
            start = rng.randrange(len(lines[0]) + 1, len(data))  # the first row tells what is expected
            piece = rng.choice(PIECES).encode("latin-1")
            data = data[:start] + piece + data[start + rng.choice([0, 0, 1, 1, 2, 3]) :]
        path = lines_of(tmp_path / "a.jsonl", data)
        found = []
        for least in (0, 2**60):
            monkeypatch.setattr(plain, "LEAST", least)
            with JsonlTable(str(path), **options) as table:
                parts = list(table.blocks(columns))
                told = [str(problem) for problem in table.problems]
            names = columns or list(rows[0])
            values = {name: [np.asarray(value).tolist() for value in values_of(parts, name)] for name in names}
            found.append((repr(values), told))
        assert found[0] == found[1]
        differ += bool(found[0][1])
    assert 0 < differ < 300


@given(
    floats=hnp.arrays(st.sampled_from(["f2", "f4", "f8"]), hnp.array_shapes(max_dims=3), elements=FLOATS),
    integers=hnp.arrays(hnp.integer_dtypes(), hnp.array_shapes(max_dims=3)),
    words=hnp.arrays("U3", hnp.array_shapes(max_dims=2), elements=st.text("ab漢", max_size=3)),
)
def test_what_is_told_by_the_rows(
    tmp_path_factory: pytest.TempPathFactory, floats: Any, integers: Any, words: Any
) -> None:
    """Without dtypes and shapes, values are equal nevertheless, as the widest of their kind."""
    folder = tmp_path_factory.mktemp("jsonl")
    for values, kind in ((floats, "f8"), (integers, "i8"), (words, words.dtype)):
        (part,) = read(written(folder / "a.jsonl", {"x": values}, 9))
        np.testing.assert_array_equal(part["x"], values)
        assert part["x"].shape == values.shape
        assert part["x"].dtype.kind in (np.dtype(kind).kind, "O")


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ("1 2", "int64"),
        ("1 2.5 3", "float64"),
        ("1e3", "float64"),
        ("1.5 null", "float64"),
        ("null null", "float64"),
        ("null 1.5", "float64"),
        ("1 18446744073709551615", "uint64"),
        ("NaN Infinity -Infinity", "float64"),
        ("true false", "bool"),
        ('"a" ""', "str"),
        ("[1,2] [3,4]", "int64 (2,)"),
        ("[1,2] [3.5,4]", "float64 (2,)"),
        ("[1,null] [3.5,4]", "float64 (2,)"),
        ("[] [1]", "int64 (*,)"),
        ("[[1,2]] [[3,4],[5,6]]", "int64 (*, 2)"),
        ("[[1],[2]] [[3,4],[5,6]]", "int64 (*, *)"),
        ("[] [[true]]", "bool (*, 1)"),
        ('["a","bcd"]', "<U3 (2,)"),
        ('["a"] ["b","cd"]', "<U2 (*,)"),
        ("[[]] [[]]", "float64 (1, 0)"),
        ("[[[0.5]]]", "float64 (1, 1, 1)"),
    ],
)
def test_what_values_are_taken_for(tmp_path: Path, values: str, field: str) -> None:
    """Columns are what the first rows show, and hold it."""
    parts = values.split(" ")
    path = lines_of(tmp_path / "a.jsonl", *(f'{{"x": {value}}}' for value in parts))
    with JsonlTable(str(path)) as table:
        assert str(table.fields["x"]) == field
    (block,) = read(path)
    assert len(block["x"]) == len(parts)
    for found, value in zip(block["x"], parts, strict=True):
        expected = json.loads(value.replace("null", "NaN"))
        assert np.asarray(found).tolist() == pytest.approx(expected, nan_ok=True) if "[" not in value else True
        if "[" in value:
            np.testing.assert_array_equal(np.asarray(found).ravel(), np.asarray(expected, found.dtype).ravel())


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst", ".xz"])
@pytest.mark.parametrize("size", [5, 64, 4096])
def test_many_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, size: int) -> None:
    """However small the pieces, rows are whole; two iterators do not disturb each other."""
    block = {
        "x": np.arange(200),
        "y": objects([f"{n}\n" * (n % 3) for n in range(200)]),
        "z": Ragged.of([np.arange(n % 4) / 7 for n in range(200)]),
    }
    path = written(tmp_path / f"a.jsonl{suffix}", block, 31)
    monkeypatch.setattr("batchup.formats.jsonl.table._BLOCK", size)
    monkeypatch.setattr("batchup.formats.lines._PIECE", 7)
    options: dict[str, Any] = {"dtypes": {"z": "f8"}, "shapes": {"z": (None,)}}
    parts = read(path, **options)
    assert len(parts) > 1
    for name, values in block.items():
        for found, expected in zip(values_of(parts, name), values, strict=True):
            np.testing.assert_array_equal(found, expected)
    with JsonlTable(str(path), **options) as table:
        for first, second in zip(table.blocks(["z", "x"]), table.blocks(["x"]), strict=True):
            assert list(first) == ["z", "x"]
            np.testing.assert_array_equal(first["x"], second["x"])
    assert [row["x"] for row in read_jsonl(path, columns=["x"], **options)] == list(range(200))


def test_what_is_left_out(tmp_path: Path) -> None:
    """A mark at the beginning, lines without anything, and spaces around objects are no rows."""
    path = lines_of(tmp_path / "a.jsonl", "\ufeff", '{"x": 1}\r', "", "  \t", ' {"x":\t2} ', "\r", '{"x": 3}')
    assert [values_of(read(path), "x")] == [[1, 2, 3]]
    path = lines_of(tmp_path / "b.jsonl", '\ufeff{"x": 1}', '{"x": 2}')
    assert [values_of(read(path), "x")] == [[1, 2]]


def test_keys_in_any_order(tmp_path: Path) -> None:
    """Keys may come in another order; those that nobody wants may be missing."""
    path = lines_of(tmp_path / "a.jsonl", '{"x": 1, "y": 2}', '{"y": 3, "x": 4}')
    assert [list(row.items()) for row in read_jsonl(path)] == [[("x", 1), ("y", 2)], [("x", 4), ("y", 3)]]
    path = lines_of(tmp_path / "a.jsonl", '{"x": 1, "y": 2}', '{"x": 4}', '{"x": 5, "z": {}}')
    assert list(read_jsonl(path, columns=["x"])) == [{"x": 1}, {"x": 4}, {"x": 5}]


def test_no_rows(tmp_path: Path) -> None:
    """A file without rows has the columns that are told, or none."""
    write_jsonl([], tmp_path / "a.jsonl")
    assert (tmp_path / "a.jsonl").read_bytes() == b""
    assert list(read_jsonl(tmp_path / "a.jsonl")) == []
    with JsonlTable(str(tmp_path / "a.jsonl"), dtypes={"x": "f4"}, shapes={"x": (3,), "y": (None,)}) as table:
        assert {name: str(field) for name, field in table.fields.items()} == {"x": "float32 (3,)", "y": "float64 (*,)"}
        assert list(table.blocks()) == []


BAD: list[tuple[str | bytes, str]] = [
    ('{"x": 2, "y": "b"', r"line 3 \(row 1\), place 17: expected an object in JSON, got b'.*': Expecting ','"),
    ("nothing", "line 3 .* place 0: expected an object in JSON, got b'nothing': Expecting value"),
    ("[1, 2]", r'line 3 \(row 1\): expected an object such as {"x": 1}, got .\[1, 2\]'),
    ('{"x": 2, "y": "b"} {"x": 3, "y": "c"}', "line 3 .*, place 18: expected one object in a line, and there is more"),
    ('{"x": 2, "x": 3, "y": "b"}', r"line 3 \(row 1\): the key 'x' is there more than once"),
    ('{"x": 2}', r"line 3 .*: expected the keys \['x', 'y'\], as the first row has, got \['x'\]: .*columns="),
    ('{"x": 2, "y": "b", "z": 3}', r"expected the keys \['x', 'y'\], .* got \['x', 'y', 'z'\]"),
    ('{"x": 2, "z": "b"}', r"expected the keys \['x', 'y'\], .* got \['x', 'z'\]"),
    ('{"x": null, "y": "b"}', r"row 1\), column 'x': expected int64, got null: pass dtypes={'x': 'float64'}"),
    ('{"x": 2.0, "y": "b"}', r"column 'x': expected int64, got 2.0: pass dtypes={'x': 'float64'}"),
    ('{"x": 9223372036854775808, "y": "b"}', "column 'x': expected int64, got 9223372036854775808: .*'uint64'"),
    ('{"x": 18446744073709551616, "y": "b"}', "column 'x': expected int64, got 18446744073709551616: mend it"),
    ('{"x": true, "y": "b"}', "column 'x': expected int64, got true: mend it"),
    ('{"x": "2", "y": "b"}', "column 'x': expected int64, got \"2\": mend it"),
    ('{"x": [2], "y": "b"}', r"column 'x': expected int64, got \[2\]: mend it"),
    ('{"x": {"a": 1}, "y": "b"}', "column 'x': expected int64, got .*: an object in an object is no column"),
    ('{"x": 2, "y": null}', "column 'y': expected str, got null: mend it"),
    ('{"x": 2, "y": 5}', "column 'y': expected str, got 5: mend it"),
    (b'{"x": 2, "y": "\xff"}', r"line 3 \(row 1\), byte 15 of it: that is no UTF-8 \(invalid start byte\)"),
    ('{"x": 2, "y": ' + "[" * 100_000, r"line 3 \(row 1\): it is nested too deep"),
    ('{"x": ' + "1" * 10_000 + ', "y": "b"}', r"line 3 \(row 1\)"),
]


@pytest.mark.parametrize(("line", "message"), BAD, ids=range(len(BAD)))
@pytest.mark.parametrize("size", [8, 2**20])
def test_bad_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str | bytes, message: str, size: int) -> None:
    """A line that does not fit is told with all that is needed to find it, or left out, if that is wanted."""
    path = lines_of(tmp_path / "a.jsonl", '{"x": 1, "y": "a"}', "", line, '{"x": 3, "y": "c"}')
    monkeypatch.setattr("batchup.formats.jsonl.table._BLOCK", size)
    monkeypatch.setattr("batchup.formats.lines._PIECE", 7)
    options: dict[str, Any] = {"dtypes": {"x": "i8", "y": "U"}}
    with pytest.raises(FileFormatError, match=rf"a\.jsonl, .*{message}"):
        list(JsonlTable(str(path), **options).blocks())
    with JsonlTable(str(path), on_error="skip", **options) as table:
        for _ in range(2):  # what is left out is noted once
            assert [value for block in table.blocks() for value in block["x"]] == [1, 3]
            assert len(table.problems) == 1


@pytest.mark.parametrize(
    ("first", "other", "message"),
    [
        ("[1, 2]", "[3]", r"expected int64 \(2,\), got \[3\]: pass shapes={'x': \(None,\)}"),
        ("[[1], [2]]", "[[1, 2], [3, 4]]", r"expected int64 \(2, 1\), got .*: pass shapes={'x': \(None, None\)}"),
        ("[1, 2]", "[1.5, 2]", r"expected int64 \(2,\), got \[1.5, 2\]: pass dtypes={'x': 'float64'}"),
        ("[1, 2]", "[1, [2]]", r"expected int64 \(2,\), got \[1, \[2\]\]: mend it"),
        ('["a"]', '["bcd"]', r"expected <U1 \(1,\), got \[\"bcd\"\]: pass dtypes={'x': 'U3'}"),
        ('["a"]', '["\\u0000"]', r"expected <U1 \(1,\), got .*: mend it"),
    ],
)
def test_arrays_that_do_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str, other: str, message: str
) -> None:
    """What the first rows do not show has to be told; the message says how, and that helps."""
    path = lines_of(tmp_path / "a.jsonl", f'{{"x": {first}}}', f'{{"x": {other}}}')
    monkeypatch.setattr("batchup.formats.jsonl.table._BLOCK", 8)
    monkeypatch.setattr("batchup.formats.lines._PIECE", 7)
    with pytest.raises(FileFormatError, match=rf"line 2 \(row 1\), column 'x': {message}") as caught:
        read(path)
    remedy = str(caught.value).partition(": pass ")[2]
    if remedy:
        parts = read(path, **eval(f"dict({remedy})"))
        assert [value.tolist() for value in values_of(parts, "x")] == [json.loads(first), json.loads(other)]


def test_many_bad_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of many lines that do not fit is left out, and told with its number; those around them are kept."""
    monkeypatch.setattr("batchup.formats.jsonl.table._BLOCK", 100)
    monkeypatch.setattr("batchup.formats.lines._PIECE", 7)
    lines = [f'{{"x": {n if n % 5 else "null"}}}' for n in range(1, 400)]
    table = JsonlTable(str(lines_of(tmp_path / "a.jsonl", "", *lines)), on_error="skip")
    assert values_of(list(table.blocks()), "x") == [n for n in range(1, 400) if n % 5]
    told = [str(error).split(", ")[1] for error in table.problems]
    assert told == [f"line {n + 1} (row {n - 1})" for n in range(5, 400, 5)]


def test_an_array_that_is_none(tmp_path: Path) -> None:
    """Lists that are not equally long within a value make no array."""
    path = lines_of(tmp_path / "a.jsonl", '{"x": [[1], [2]]}', '{"x": [[1, 2], [3]]}', '{"x": [[1, 2], [3, 4]]}')
    with pytest.raises(FileFormatError, match=r"row 1\), column 'x': expected int64 \(\*, \*\), got .*: mend it"):
        read(path)
    assert len(values_of(read(path, on_error="skip"), "x")) == 2


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['{"x": {"a": 1}}'], "a.jsonl, column 'x': it is an object in an object.*make it flat"),
        (['{"x": [{"a": 1}]}'], "a.jsonl, column 'x': it is an object in an object"),
        (["["], r"a.jsonl, line 1, place 1: expected an object in JSON"),
        (["x,y", "1,2"], "a.jsonl, line 1, place 0: expected an object in JSON, got b'x,y'"),
        ([b"\x1f\x8b\x08\x00"], r"a.jsonl, line 1, byte 1 of it: that is no UTF-8"),
    ],
)
def test_what_is_no_jsonl(tmp_path: Path, lines: list[str | bytes], message: str) -> None:
    """A file that is something else is told when it is opened."""
    with pytest.raises(FileFormatError, match=message):
        JsonlTable(str(lines_of(tmp_path / "a.jsonl", *lines)), on_error="skip")


def test_a_file_that_is_cut_short(tmp_path: Path) -> None:
    """Of a compressed file, the rows that are whole are read; then it is told that it is cut short."""
    block = {"x": np.arange(5000), "y": np.random.default_rng(1).normal(size=5000)}
    path = written(tmp_path / "a.jsonl.gz", block, 500)
    data = path.read_bytes()
    for size in (len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(FileFormatError, match=rf"a.jsonl.gz is cut short: .* byte {size}"):
            list(JsonlTable(str(path)).blocks())
        table = JsonlTable(str(path), on_error="skip")
        rows = [value for part in table.blocks() for value in part["x"]]
        assert 1000 < len(rows) <= 5000
        assert rows == list(range(len(rows)))
        assert len(table.problems) == 1
    path.write_bytes(data[:30])
    with pytest.raises(FileFormatError, match="cut short"):
        JsonlTable(str(path), on_error="skip")


def test_several_files(tmp_path: Path) -> None:
    """Rows of several files follow one another, again and again, and where they are read from can be pickled."""
    write_jsonl([{"x": 1, "y": "a"}], tmp_path / "a-1.jsonl")
    write_jsonl([{"x": 2, "y": "b"}], tmp_path / "a-2.jsonl.gz")
    rows = read_jsonl(tmp_path / "a-*", columns=["y", "x"])
    expected = [{"y": "a", "x": 1}, {"y": "b", "x": 2}]
    assert list(rows) == list(rows) == list(pickle.loads(pickle.dumps(rows))) == expected
    with pytest.raises(FileNotFoundError):
        read_jsonl(tmp_path / "none.jsonl")
    with pytest.raises(InvalidValueError, match="has no columns"):
        read_jsonl(tmp_path / "a-*", columns=["z"])


def test_arguments(tmp_path: Path) -> None:
    """What cannot be meant is refused at the call."""
    path = lines_of(tmp_path / "a.jsonl", '{"x": 1}')
    cases: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (InvalidValueError, "compression must be", {"compression": "zip"}),
        (InvalidValueError, "on_error must be", {"on_error": "ignore"}),
        (InvalidTypeError, "shapes must be a dict", {"shapes": (3,)}),
        (InvalidTypeError, "shapes: column 'x': a shape is a tuple", {"shapes": {"x": 3}}),
        (InvalidTypeError, "a shape is a tuple", {"shapes": {"x": (2.5,)}}),
        (InvalidValueError, "sides are not negative", {"shapes": {"x": (-1,)}}),
        (InvalidValueError, "wanted a dtype of bools", {"dtypes": {"x": "S3"}}),
        (InvalidValueError, r"has no columns \['y'\]: it has \['x'\]", {"shapes": {"y": (3,)}}),
    ]
    for kind, message, options in cases:
        with pytest.raises(kind, match=message):
            read_jsonl(path, **options)


REFUSED: list[tuple[type[Exception], str, dict[str, Field]]] = [
    (InvalidTypeError, "column 'x' is bytes: write .*decode", {"x": Field(np.dtype("S"))}),
    (InvalidTypeError, r"column 'x' is \|S3 \(2,\)", {"x": Field(np.dtype("S3"), (2,))}),
    (InvalidTypeError, "column 'x' is complex128", {"x": Field(np.dtype("c16"))}),
    (InvalidTypeError, "column 'x' is timedelta64", {"x": Field(np.dtype("m8[s]"))}),
    (InvalidTypeError, "column 'x' is datetime64", {"x": Field(np.dtype("M8"))}),
    (InvalidValueError, "the name of column .* is no UTF-8", {"\ud800": Field(np.dtype("f8"))}),
]


@pytest.mark.parametrize(("kind", "message", "fields"), REFUSED)
def test_refused(tmp_path: Path, kind: type[Exception], message: str, fields: dict[str, Field]) -> None:
    """What a JSONL file cannot hold is refused before there is one, with what to do instead."""
    with pytest.raises(kind, match=message), jsonl_sink(tmp_path / "a.jsonl", fields):
        raise AssertionError("it was begun")
    assert os.listdir(tmp_path) == []


UNHELD: list[tuple[str, Any]] = [
    (r"row 2, column 'x': JSON has no infinity: write .npz", np.array([1, np.nan, np.inf])),
    (r"row 1, column 'x': JSON has no infinity", np.array([[1, 2], [-np.inf, 3]], np.float32)),
    (r"row 3, column 'x': JSON has no infinity", Ragged.of([[1.0], [2.0], [], [np.inf]])),
    (r"row 1, column 'x': JSON has no infinity", objects([np.zeros((1, 2)), np.full((2, 1), np.inf)])),
    (r"row 1, column 'x': JSON has no array of shape \(0, 3\)", objects([np.zeros((1, 2)), np.zeros((0, 3))])),
    (r"row 1 has a text that UTF-8 has not", objects(["a", "b\ud800"])),
]


@pytest.mark.parametrize(("message", "values"), UNHELD)
def test_values_that_cannot_be_written(tmp_path: Path, message: str, values: Any) -> None:
    """A value that JSON has not is told with its row, and the old file stays."""
    path = lines_of(tmp_path / "a.jsonl", "old")
    with pytest.raises(InvalidValueError, match=message):
        written(path, {"x": values}, 9)
    assert os.listdir(tmp_path) == ["a.jsonl"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("case", "kind", "message"),
    UNFINISHED,
)
@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.zst"])
def test_whole_or_absent(tmp_path: Path, case: str, kind: type[BaseException], message: str | None, name: str) -> None:
    """A file that cannot be finished leaves the old one, and nothing else."""
    check_old_stays(jsonl_sink, tmp_path / name, case, kind, message)


def test_files_are_closed(tmp_path: Path) -> None:
    """An iterator that is closed closes its file, and a table has none open."""
    path = written(tmp_path / "a.jsonl", {"x": np.arange(3)})
    check_closes(lambda: JsonlTable(str(path)))
