"""What Parquet and Arrow files share: one law, what is refused, what others write, values that are not there."""

from __future__ import annotations

import decimal
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchup import ArrayDataSource
from batchup.columns import Ragged, RecordColumn
from batchup.errors import FileFormatError, InvalidTypeError, InvalidValueError
from batchup.formats.arrow.columns import DecodedArray
from batchup.formats.arrow.ipc import ArrowTable, arrow_sink, read_arrow, write_arrow
from batchup.formats.arrow.parquet import ParquetTable, parquet_sink, read_parquet, write_parquet
from batchup.formats.table import BYTES, TEXT, Field, objects

from . import tables as blocks_of_kinds
from .format_laws import check_law, check_pickles, read, tables, written
from .kills import room_for


class Kind(NamedTuple):
    """A format."""

    suffix: str
    table: Any
    sink: Any
    options: dict[str, Any]


KINDS = {
    "parquet": Kind(".parquet", ParquetTable, parquet_sink, {}),
    "parquet, small groups": Kind(".parquet", ParquetTable, parquet_sink, {"row_group_rows": 2, "compression": None}),
    "arrow": Kind(".arrow", ArrowTable, arrow_sink, {}),
    "arrow, small batches": Kind(".arrow", ArrowTable, arrow_sink, {"batch_rows": 2}),
    "arrow, lz4": Kind(".arrow", ArrowTable, arrow_sink, {"compression": "lz4", "batch_rows": 3}),
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
one_each = pytest.mark.parametrize("kind", [KINDS["parquet"], KINDS["arrow"]], ids=["parquet", "arrow"])


def put(kind: Kind, path: Path, table: Any, **options: Any) -> Any:
    """Write a table as pyarrow does, and return it as it is read."""
    if kind.suffix == ".parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
    return kind.table(str(path), **options)


def failing(block: Any, problem: Any) -> Any:
    """Yield a block, and fail."""
    yield block
    raise problem


@every_kind
@settings(max_examples=60, deadline=None)
@given(drawn=tables(), sizes=st.lists(st.integers(0, 4), max_size=3), memory=st.sampled_from([1, "1GiB"]))
def test_law(tmp_path_factory: pytest.TempPathFactory, kind: Kind, drawn: Any, sizes: list[int], memory: Any) -> None:
    """What is written is read back equal, whatever the blocks, in any order, decoded whole or not; or is refused."""
    folder = tmp_path_factory.mktemp("law")

    def opened(path: str) -> Any:
        return kind.table(path, memory=memory)

    check_law(folder, kind.suffix, opened, kind.sink, drawn, sizes, **kind.options)


@every_kind
@pytest.mark.parametrize("name", blocks_of_kinds.KINDS)
def test_kinds(kind: Kind, name: str, tmp_path: Path) -> None:
    """Each kind of rows is kept as it is, and what is handed out can be sent to other processes."""
    block = blocks_of_kinds.KINDS[name]()
    path = tmp_path / f"a{kind.suffix}"
    fields = blocks_of_kinds.fields_of(block)
    written(kind.sink, path, fields, [block], meta={"labels": ["a", "é"]}, **kind.options)
    for memory in (1, "1GiB"):
        with kind.table(str(path), memory=memory) as table:
            assert table.meta == {"labels": ["a", "é"]}
            assert table.fields == fields
            assert table.rows == blocks_of_kinds.ROWS
            blocks_of_kinds.check_same(blocks_of_kinds.whole(table), block)
            check_pickles(table.columns())


@one_each
def test_other_dtypes(kind: Kind, tmp_path: Path) -> None:
    """Big-endian numbers, complex ones, half floats, times of odd units, and texts in arrays come back as they were."""
    dtypes = ["f2", ">f4", ">i2", "c8", ">c16", "M8[D]", "M8[s]", ">M8[ns]", "M8[25s]", "M8[h]", "m8[ms]", "m8[Y]"]
    block: Any = {}
    for dtype in [*dtypes, "U3", ">U2", "S4"]:
        for shape in ((), (3,), (2, 2), (0, 2)):
            size = int(np.prod((5, *shape)))
            numbers = np.arange(size).reshape(5, *shape)
            block[f"{dtype} {shape}"] = (numbers.astype("i8") if dtype[-1] == "]" else numbers).astype(dtype)
    block["U3 (3,)"][0] = ["a\0b", "\0", "\0\0c"]
    block["S4 (3,)"][0] = [b"a\0b", b"\0", b"\0\0c"]
    block["M8[s] ()"][1] = block["M8[D] ()"][2] = block["m8[Y] (3,)"][0, 1] = "NaT"
    block["inner"] = Ragged(np.arange(12, dtype=">c8").reshape(6, 2), [0, 1, 1, 1, 3, 6])
    block["texts"] = Ragged(np.array(["a", "bcd", "é"]), [0, 1, 1, 1, 3, 3])
    shapes = [(1, 2), (0, 3), (2, 0), (2, 2), (1, 1)]
    block["loose"] = objects([np.ones(shape, ">c8") * number for number, shape in enumerate(shapes)])
    path = tmp_path / f"a{kind.suffix}"
    written(kind.sink, path, blocks_of_kinds.fields_of(block), [block])
    blocks_of_kinds.check_same(read(kind.table(str(path))), block)


@one_each
def test_others_understand_what_is_written(kind: Kind, tmp_path: Path) -> None:
    """The types are those that everybody knows."""
    block = {
        "x": np.zeros((3, 4), np.uint8),
        "image": np.zeros((3, 2, 2), np.float32),
        "seen": np.array(["2026-01-01", "NaT", "1970-01-01"], "M8[D]"),
        "words": Ragged.of([[1, 2], [], [3]]),
        "text": objects(["a", "", "é"]),
        "flags": np.zeros((3, 2, 2), bool),
    }
    path = tmp_path / f"a{kind.suffix}"
    written(kind.sink, path, blocks_of_kinds.fields_of(block), [block])
    table = pq.read_table(path) if kind.suffix == ".parquet" else pa.ipc.open_file(path).read_all()
    assert [str(column.type).replace(" not null", "") for column in table.schema] == [
        "fixed_size_list<element: uint8>[4]",
        "extension<arrow.fixed_shape_tensor[value_type=float, shape=[2,2]]>",
        "date32[day]",
        "list<element: int64>",
        "string",
        "fixed_size_list<element: bool>[4]",
    ]
    assert table["words"].to_pylist() == [[1, 2], [], [3]]


@one_each
def test_what_others_write(kind: Kind, tmp_path: Path) -> None:
    """Dictionaries, large texts and lists, times, nested lists and fixed bytes are read."""
    table = pa.table(
        {
            "kind": pa.array(["a", "b", "a"]).dictionary_encode(),
            "code": pa.array([300, 5, 300], pa.int64()).dictionary_encode(),
            "long": pa.array(["x", "", "z"], pa.large_string()),
            "bytes": pa.array([b"ab", b"cd", b"\0\0"], pa.binary(2)),
            "list": pa.array([[1.5], [], [2.5, None]], pa.large_list(pa.float32())),
            "image": pa.array([[[1, 2]], [[3], [4]], []], pa.list_(pa.list_(pa.uint8()))),
            "pairs": pa.array([[[1, 2], [3, 4]]] * 3, pa.list_(pa.list_(pa.int16(), 2), 2)),
            "time": pa.array([1, 2, 3], pa.time64("us")),
            "zone": pa.array([1, None, 3], pa.timestamp("us", "Europe/Berlin")),
            "day": pa.array([0, None, 86_400_000], pa.date64()),
        },
        metadata={"about": "é"},
    )
    with put(kind, tmp_path / "a", table) as opened:
        assert opened.meta == {"about": "é"}
        rows = read(opened)
        columns = opened.columns()
    assert {name: str(field) for name, field in opened.fields.items()} == {
        "kind": "str",
        "code": "int64",
        "long": "str",
        "bytes": "bytes",
        "list": "float32 (*,)",
        "image": "uint8 (*, *)",
        "pairs": "int16 (2, 2)",
        "time": "timedelta64[us]",
        "zone": "datetime64[us]",
        "day": "datetime64[ms]" if kind.suffix == ".arrow" else str(opened.fields["day"]),
    }
    assert rows["kind"].tolist() == ["a", "b", "a"]
    assert rows["code"].tolist() == [300, 5, 300]
    assert rows["bytes"].tolist() == [b"ab", b"cd", b"\0\0"]
    assert str(rows["list"].tolist()) == "[[1.5], [], [2.5, nan]]"
    assert [(value.shape, value.tolist()) for value in rows["image"]] == [
        ((1, 2), [[1, 2]]),
        ((2, 1), [[3], [4]]),
        ((0, 0), []),
    ]
    assert rows["pairs"][2].tolist() == [[1, 2], [3, 4]]
    assert np.isnat(rows["zone"]).tolist() == [False, True, False]
    for name, column in columns.items():
        assert str(column[np.array([2, 0])]) == str(rows[name][np.array([2, 0])])


@one_each
def test_values_that_are_not_there(kind: Kind, tmp_path: Path) -> None:
    """Floats become nan, also in lists; all else is an error with row and column, or the row is left out."""
    none = None if kind.suffix == ".arrow" else [None, None]  # some pyarrow cannot write the first to Parquet
    there = pa.table(
        {
            "x": pa.array([1.5, None, 3.5], pa.float32()),
            "half": pa.array([np.float16(1.5), None, np.float16(3.5)], pa.float16()),
            "pair": pa.array([[1, 2], none, [None, 4]], pa.list_(pa.float64(), 2)),
        }
    )
    with put(kind, tmp_path / "a", there) as table:
        rows = read(table)
        assert str(rows["pair"].tolist()) == "[[1.0, 2.0], [nan, nan], [nan, 4.0]]"
        for name in ("x", "half"):
            assert np.isnan(rows[name]).tolist() == [False, True, False]
            assert np.isnan(table.columns()[name][:]).tolist() == [False, True, False]
    cases = {
        "whole": pa.array([1, 2, None, 4], pa.int8()),
        "flag": pa.array([True, False, None, True]),
        "text": pa.array(["a", "b", None, "d"]),
        "pair": pa.array([[1, 2], [3, 4], [None, 6], [7, 8]], pa.list_(pa.int32(), 2)),
        "list": pa.array([[1], [], None, [4]], pa.list_(pa.float32())),
        "inner": pa.array([[1], [], [3, None], [4]], pa.list_(pa.int64())),
        "kinds": pa.array(["a", "b", None, "a"]).dictionary_encode(),
    }
    for name, array in cases.items():
        both = pa.table({"y": pa.array(range(4)), name: array})
        message = f"a: row 2, column '{name}': there is no value"
        with put(kind, tmp_path / "a", both) as table:
            with pytest.raises(FileFormatError, match=message):
                read(table)
            with pytest.raises(FileFormatError, match=message):
                table.columns()[name][[3]]
            assert read(table, ["y"])["y"].tolist() == [0, 1, 2, 3]
        with put(kind, tmp_path / "a", both, on_error="skip") as table:
            assert table.rows is None
            assert table.columns() is None
            rows = read(table)
            assert rows["y"].tolist() == [0, 1, 3]
            assert len(rows[name]) == 3
            assert [message in str(problem) for problem in table.problems] == [True]


@one_each
def test_columns_that_are_no_arrays(kind: Kind, tmp_path: Path) -> None:
    """They are named when the file is opened, with what to do; others can be chosen."""
    cases = {
        "struct": (pa.array([{"a": 1}]), "make a column of each of its parts"),
        "map": (pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())), "make a column of each of its parts"),
        "decimal": (pa.array([decimal.Decimal("1.5")]), "cast it to float64"),
        "null": (pa.nulls(1), "has nothing in it"),
        "words": (pa.array([["a", "b"]]), "lists of texts are no arrays"),
        "mixed": (pa.array([[[1, 2]]], pa.list_(pa.list_(pa.int64()), 1)), "cast all of them to list"),
    }
    for name, (array, remedy) in cases.items():
        table = pa.table({"y": [1], name: array})
        with pytest.raises(FileFormatError, match=rf"a: column '{name}' is .*{remedy}.*; or choose others"):
            put(kind, tmp_path / "a", table)
        with put(kind, tmp_path / "a", table, columns=["y"]) as opened:
            assert read(opened)["y"].tolist() == [1]
        reader = read_parquet if kind.suffix == ".parquet" else read_arrow
        assert list(reader(tmp_path / "a", columns=["y"])) == ["y"]
        with pytest.raises(InvalidValueError, match=rf"a has no columns \['z'\]: it has \['y', '{name}'\]"):
            reader(tmp_path / "a", columns=["z"])
    with pytest.raises(InvalidTypeError, match="columns must be a sequence of str, got 'y'"):
        reader(tmp_path / "a", columns="y")
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["y", "y"])
    if kind.suffix == ".arrow":
        with pytest.raises(FileFormatError, match="a has several columns of the name 'y'"):
            put(kind, tmp_path / "a", twice)


@one_each
def test_hints_are_not_believed(kind: Kind, tmp_path: Path) -> None:
    """What the metadata of a column say counts only if its type is the one that goes with it."""
    hints = [
        "garbage",
        "[]",
        '{"dtype": "O", "shape": []}',
        '{"dtype": ">f8", "shape": []}',
        '{"dtype": ">i2", "shape": [2]}',
        '{"dtype": ">i2", "shape": [-1]}',
        '{"dtype": "V100000000000", "shape": []}',
        '{"dtype": "i2, i2", "shape": []}',
        '{"dtype": 5, "shape": null}',
        '{"dtype": "i2", "shape": [null, null]}',
        '{"dtype": "i2", "shape": [true]}',
        "[" * 10_000,
    ]
    for hint in hints:
        schema = pa.schema([pa.field("x", pa.int16(), metadata={"batchup": hint})], metadata={"batchup": hint})
        with put(kind, tmp_path / "a", pa.table({"x": pa.array([1, 2], pa.int16())}, schema)) as table:
            assert str(table.fields["x"]) == "int16"
            assert read(table)["x"].tolist() == [1, 2]
    hint = '{"dtype": "<U2", "shape": []}'
    schema = pa.schema([pa.field("x", pa.string(), metadata={"batchup": hint})])
    table = put(kind, tmp_path / "a", pa.table({"x": ["a", "bcd"]}, schema))
    with pytest.raises(FileFormatError, match=r"row 1, column 'x': a text of 3 letters, where <U2 was promised"):
        read(table)
    with put(kind, tmp_path / "a", pa.table({"x": ["a", "bcd", "e"]}, schema), on_error="skip") as table:
        assert read(table)["x"].tolist() == ["a", "e"]
        assert len(table.problems) == 1


@one_each
def test_refused_before_a_file_is_made(kind: Kind, tmp_path: Path) -> None:
    """Columns that cannot be held are named at once, with what to do instead."""
    cases = [
        (Field(np.dtype("O")), "make columns of its parts"),
        (Field(np.dtype("i4,f4")), "make columns of its parts"),
        (Field(np.dtype("g")), "cast it to float64"),
        (Field(TEXT, (2,)), "in arrays, texts are of a fixed length"),
        (Field(BYTES, (None,)), "in arrays, texts are of a fixed length"),
        (Field(np.dtype("i4"), (None, 0)), "leave it out"),
        (Field(np.dtype("i1"), (2**16, 2**15)), "cut it into several rows"),
        (Field(np.dtype(f"S{2**25}")), "make texts of any length"),
    ]
    for field, remedy in cases:
        with pytest.raises(InvalidTypeError, match=f"column 'x' is .*{remedy}"):
            written(kind.sink, tmp_path / "a", {"x": field}, [])
        assert os.listdir(tmp_path) == []
    with pytest.raises(InvalidValueError, match="names of columns must be Unicode"):
        written(kind.sink, tmp_path / "a", {"\ud800": Field(TEXT)}, [])
    with pytest.raises(InvalidValueError, match="compression must be one of"):
        written(kind.sink, tmp_path / "a", {"x": Field(TEXT)}, [], compression="best")
    assert os.listdir(tmp_path) == []


@one_each
def test_nothing_half_done_stays(kind: Kind, tmp_path: Path) -> None:
    """After wrong blocks, values that cannot be kept, errors and a full disk the old file is there, and no other."""
    path = tmp_path / "a"
    path.write_bytes(b"old")
    field = {"x": Field(np.dtype("f8"), (1000,))}
    good = {"x": np.random.default_rng(0).random((500, 1000))}
    cases: list[tuple[Any, Any, Any]] = [
        (InvalidValueError, field, {"x": np.zeros((2, 3))}),
        (InvalidValueError, field, {"y": np.zeros((2, 1000))}),
        (InvalidValueError, {"x": Field(TEXT)}, {"x": objects(["a", "\ud800"])}),
        (InvalidValueError, {"x": Field(np.dtype("M8[D]"))}, {"x": np.array([2**40], "M8[D]")}),
        (InvalidValueError, {"x": Field(TEXT)}, {"x": objects(["a", None])}),
    ]
    for error, fields, block in cases:
        with pytest.raises(error):
            written(kind.sink, path, fields, [good, block] if fields is field else [block])
    for problem in (KeyboardInterrupt, RuntimeError):
        with pytest.raises(problem):
            written(kind.sink, path, field, failing(good, problem))
    with room_for(2**20), pytest.raises(OSError, match="File too large"):
        written(kind.sink, path, field, [good] * 10)
    with pytest.raises(InvalidValueError, match="there were to be 3 rows, and there are 0"):
        written(kind.sink, path, field, [], rows=3)
    assert os.listdir(tmp_path) == ["a"]
    assert path.read_bytes() == b"old"


@one_each
def test_the_same_rows_are_the_same_bytes(kind: Kind, tmp_path: Path) -> None:
    """However the rows come in blocks."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 9, 3000)
    block = {
        "x": rng.random((3000, 700)),
        "words": Ragged(np.arange(lengths.sum()), np.concatenate([[0], np.cumsum(lengths)])),
        "text": objects([chr(97 + n % 26) * (n % 1000) for n in range(3000)]),
    }
    fields = blocks_of_kinds.fields_of(block)
    for name, step in (("a", 3000), ("b", 7), ("c", 999)):
        parts = [{key: values[start : start + step] for key, values in block.items()} for start in range(0, 3000, step)]
        written(kind.sink, tmp_path / name, fields, parts)
    first = (tmp_path / "a").read_bytes()
    assert first == (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes()
    if kind.suffix == ".parquet":
        assert pq.ParquetFile(tmp_path / "a").num_row_groups == 2


@one_each
def test_damage(kind: Kind, tmp_path: Path) -> None:
    """A file that is cut short anywhere, is empty, goes on, or is something else is refused with its name."""
    path = tmp_path / "a"
    block = {"x": np.arange(300), "text": objects([str(n) for n in range(300)])}
    written(kind.sink, path, blocks_of_kinds.fields_of(block), [block])
    data = path.read_bytes()
    for size in [*range(0, len(data), 37), len(data) - 1]:
        path.write_bytes(data[:size])
        with pytest.raises(FileFormatError, match=r"/a\b"):
            read(kind.table(str(path)))
    for other in (b"PAR1", b"ARROW1\0\0", b"text\n" * 100, os.urandom(5000), bytes(1000)):
        path.write_bytes(other)
        with pytest.raises(FileFormatError, match=r"/a\b"):
            read(kind.table(str(path)))
    with pytest.raises(FileNotFoundError):
        kind.table(str(tmp_path / "none"))
    with pytest.raises(IsADirectoryError):
        kind.table(str(tmp_path))
    path.write_bytes(data)
    with pytest.raises(InvalidValueError, match="on_error"):
        kind.table(str(path), on_error="ignore")


@one_each
def test_flipped_bits(kind: Kind, tmp_path: Path) -> None:
    """A damaged file is told of, or read as something; nothing else is raised, and nothing crashes."""
    path = tmp_path / "a"
    block = {
        "x": np.arange(50),
        "text": objects([str(n) for n in range(50)]),
        "words": Ragged.of([[n] for n in range(50)]),
    }
    written(kind.sink, path, blocks_of_kinds.fields_of(block), [block])
    data = path.read_bytes()
    for place in range(0, len(data), 11):
        for bit in (1, 128):
            path.write_bytes(data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :])
            for on_error in ("raise", "skip"):
                try:
                    with kind.table(str(path), on_error=on_error) as table:
                        read(table)
                        for column in (table.columns() or {}).values():
                            len(column[:1])
                except FileFormatError as error:
                    assert "/a" in str(error)  # noqa: PT017


def test_arrow_maps(tmp_path: Path) -> None:
    """Numbers in a file that is not compressed stay where they are; all others are decoded when they are needed."""
    block = {
        "x": np.arange(1000, dtype=np.uint8).reshape(100, 10),
        "seen": np.arange(100).astype("M8[ns]"),
        "z": np.arange(100).astype("c8"),
        "flag": np.arange(100) % 2 == 0,
        "text": objects(["a"] * 100),
        "big": np.arange(100, dtype=">f4"),
    }
    fields = blocks_of_kinds.fields_of(block)
    written(arrow_sink, tmp_path / "a", fields, [block], batch_rows=30)
    written(arrow_sink, tmp_path / "b", fields, [block], compression="zstd")
    mapped, decoded = (ArrowTable(str(tmp_path / name)).columns() for name in "ab")
    assert [name for name in fields if isinstance(mapped[name], RecordColumn)] == ["x", "seen", "z"]
    assert all(isinstance(column, DecodedArray) for column in decoded.values())
    order = np.random.default_rng(0).permutation(100)
    for columns in (mapped, decoded):
        for name, column in columns.items():
            np.testing.assert_array_equal(column[order], block[name][order])
            np.testing.assert_array_equal(np.asarray(column), block[name])
    written(arrow_sink, tmp_path / "c", fields, [block])
    assert np.shares_memory(*(ArrowTable(str(tmp_path / "c")).columns()["x"].view(slice(3, 9)),) * 2)


def test_arrow_streams(tmp_path: Path) -> None:
    """Streams in files, as Hugging Face's data sets have them, are mapped; compressed ones are read in order."""
    table = pa.table({"x": np.arange(100), "text": [str(n) for n in range(100)]})
    for number in range(2):
        with pa.ipc.new_stream(tmp_path / f"data-{number}.arrow", table.schema) as writer:
            writer.write_table(table, max_chunksize=33)
    columns = read_arrow(tmp_path / "data-*.arrow")
    assert columns["x"][[150, 99, 100]].tolist() == [50, 99, 0]
    assert columns["text"][[150, 99, 100]].tolist() == ["50", "99", "0"]
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_stream(tmp_path / "packed.arrow", table.schema, options=options) as writer:
        writer.write_table(table)
    rows = read_arrow(tmp_path / "packed.arrow")
    assert len(rows) == 100
    assert [row["x"] for row in rows] == list(range(100))
    empty = tmp_path / "empty.arrow"
    with pa.ipc.new_stream(empty, table.schema):
        pass
    assert {name: len(column) for name, column in read_arrow(empty).items()} == {"x": 0, "text": 0}


def test_arrow_skips(tmp_path: Path) -> None:
    """Of a file without its end, and of a stream that is cut short, the whole batches are read if that is asked for."""
    path = tmp_path / "a.arrow"
    write_arrow(({"x": n} for n in range(100)), path, batch_rows=10)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(FileFormatError, match=r"a\.arrow is damaged"):
        read_arrow(path)
    with ArrowTable(str(path), on_error="skip") as table:
        rows = read(table)["x"].tolist()
        assert rows == list(range(len(rows)))
        assert 10 <= len(rows) < 100
        assert len(table.problems) == 2
    assert [row["x"] for row in read_arrow(path, on_error="skip")] == rows


def test_readers_and_writers(tmp_path: Path) -> None:
    """Items become columns, which make data sources; nothing is one too."""
    items = [{"x": [n, n + 0.5], "text": str(n)} for n in range(10)]
    for write, reader in ((write_parquet, read_parquet), (write_arrow, read_arrow)):
        write(items, tmp_path / "a")
        columns = reader(tmp_path / "a")
        assert columns["x"].shape == (10, 2)
        for batch in ArrayDataSource(columns).batch_iterator(4, shuffle=3):
            assert batch["text"].tolist() == [str(int(x)) for x in batch["x"][:, 0]]
        write([], tmp_path / "a")
        assert reader(tmp_path / "a") == {}
        write([(1, "a"), (2, "b")], tmp_path / "a")
        assert reader(tmp_path / "a", columns=["arr_1"])["arr_1"][:].tolist() == ["a", "b"]
        with pytest.raises(FileNotFoundError):
            reader(tmp_path / "none-*")
        with pytest.raises(InvalidValueError, match="memory"):
            reader(tmp_path / "a", memory="much")


def test_a_damaged_name(tmp_path: Path) -> None:
    """A column whose name is no text any more is a damaged file, for all that reads it."""
    path = tmp_path / "a.arrow"
    write_arrow([{"quite a name": 1}], path)
    path.write_bytes(path.read_bytes().replace(b"quite a name", b"quite \xff name"))
    with pytest.raises(FileFormatError, match="no UTF-8"):
        ArrowTable(str(path))
