"""TFRecord files as tables: what an Example keeps comes back, what it would lose is refused, damage is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchup.columns import Ragged
from batchup.errors import ChecksumError, FileFormatError, InvalidTypeError, InvalidValueError
from batchup.formats import read_tfrecord, write_tfrecord
from batchup.formats.table import TEXT, Block, Field, fields_of, objects
from batchup.formats.tfrecord.table import TfrecordTable, tfrecord_sink
from tests.format_laws import check_equal, parts, read, tables, written

ROWS: Block = {
    "x": np.arange(12, dtype="f4").reshape(6, 2),
    "y": np.array([0, 1, -1, 300, 2**62, -(2**63)]),
    "b": objects([b"", b"\0a", b"b", b"c", b"d", b"\xff"]),
    "r": Ragged.of([[1, 2], [3], [], [4], [5], [6]]),
}


@settings(max_examples=60, deadline=None)
@given(drawn=tables(), sizes=st.lists(st.integers(0, 4), max_size=3))
def test_law(tmp_path_factory: pytest.TempPathFactory, drawn: Any, sizes: list[int]) -> None:
    """What is written is read back equal, if the reader is told which features are ragged; or it is refused."""
    folder = tmp_path_factory.mktemp("law")
    fields, block = drawn
    path = folder / "a.tfrecord"
    try:
        written(tfrecord_sink, path, fields, parts(block, sizes))
    except (InvalidTypeError, InvalidValueError):
        assert list(folder.iterdir()) == []
        return
    count = len(next(iter(block.values())))
    with TfrecordTable(str(path), ragged=[name for name, field in fields.items() if field.ragged]) as table:
        assert table.fields == (fields if count else {})
        for _ in range(2):
            found = read(table)
            for name in table.fields:
                check_equal(found[name], block[name], fields[name])


def test_features(tmp_path: Path) -> None:
    """Single values are numbers, lists of one length arrays, others sequences; options tell what cannot be seen."""
    path = str(tmp_path / "a.tfrecord")
    written(tfrecord_sink, path, fields_of(ROWS), [ROWS])
    with TfrecordTable(path) as table:
        assert [str(field) for field in table.fields.values()] == ["float32 (2,)", "int64", "bytes", "int64 (*,)"]
        assert (table.rows, table.columns()) == (None, None)
        assert [len(block["y"]) for block in table.blocks(["y"])] == [6]
        assert table.bytes_done == table.bytes_total == (tmp_path / "a.tfrecord").stat().st_size
    assert next(iter(read_tfrecord(path)))["x"].tolist() == [0, 1]
    with TfrecordTable(path, shapes={"x": (1, 2)}, ragged=["y"], keys=["y", "x"]) as table:
        assert [str(field) for field in table.fields.values()] == ["int64 (*,)", "float32 (1, 2)"]
        assert read(table)["x"].shape == (6, 1, 2)
    for options, message in [({"texts": ["x"]}, "no text"), ({"ragged": ["q"]}, r"no features \['q'\]")]:
        with pytest.raises(InvalidValueError, match=message):
            TfrecordTable(path, **options)
    with pytest.raises(FileFormatError, match=r"record 0.*\['q'\].*keys="):
        TfrecordTable(path, keys=["q"])
    with pytest.raises(FileFormatError, match=r"record 5.*feature 'b' that is no UTF-8"):
        read(TfrecordTable(path, texts=["b"]))
    with TfrecordTable(path, texts=["b"], on_error="skip") as table:
        assert read(table)["b"].tolist() == ["", "\0a", "b", "c", "d"]


def test_cast(tmp_path: Path) -> None:
    """What does not come back is refused, or written as the nearest, if that is asked for."""
    path = str(tmp_path / "a.tfrecord.gz")
    rows = {
        "d": np.array([0.5, 1]),
        "u": np.array([1, 2], "u1"),
        "m": np.zeros((2, 2, 2), "f4"),
        "o": np.zeros((2, 1), "i8"),
        "t": objects(["é", ""]),
        "s": np.array(["a", "b"]),
    }
    for name, values in rows.items():
        with pytest.raises(InvalidTypeError, match=f"column '{name}' is .*cast=True"):
            written(tfrecord_sink, path, fields_of({name: values}), [])
    with pytest.raises(InvalidTypeError, match="column 'c' is complex128: leave it out"):
        written(tfrecord_sink, path, {"c": Field(np.dtype("c16"))}, [], cast=True)
    assert list(tmp_path.iterdir()) == []
    written(tfrecord_sink, path, fields_of(rows), [rows], cast=True)
    with TfrecordTable(path, texts=["t"]) as table:
        assert table.fields["t"] == Field(TEXT)
        found = {name: values.tolist() for name, values in read(table).items()}
    assert found == {
        "d": [0.5, 1],
        "u": [1, 2],
        "m": [[0] * 4] * 2,
        "o": [0, 0],
        "t": ["é", ""],
        "s": [b"a", b"b"],
    }
    with pytest.raises(InvalidValueError, match=r"record 1: .*beyond float32"):
        written(tfrecord_sink, path, fields_of({"d": rows["d"]}), [{"d": np.array([1, 1e300])}], cast=True)


def test_damage(tmp_path: Path) -> None:
    """Damaged records are named, or left out if that is asked for; behind a damaged length there is nothing."""
    path = tmp_path / "a.tfrecord"
    write_tfrecord([{"y": n, "x": [0.5] * 10} for n in range(10)], path)
    data = path.read_bytes()
    size = len(data) // 10
    cases: list[tuple[bytes, list[int], str]] = [
        (data[: 3 * size + 20] + b"\xff" + data[3 * size + 21 :], [0, 1, 2, *range(4, 10)], "record 3,.*checksum"),
        (data[: 3 * size + 2] + b"\xff" + data[3 * size + 3 :], [0, 1, 2], "record 3,.*length.*checksum"),
        (data[:-5], [*range(9)], "record 9, .* cut short"),
    ]
    for bad, left, message in cases:
        path.write_bytes(bad)
        with pytest.raises(FileFormatError, match=rf"a\.tfrecord: {message}"):
            read(TfrecordTable(str(path)))
        with TfrecordTable(str(path), on_error="skip") as table:
            for _ in range(2):  # what is left out is noted once
                assert read(table)["y"].tolist() == left
                assert len(table.problems) == 1


def test_records_that_differ(tmp_path: Path) -> None:
    """A record that is not like the first ones is named with its feature, or left out."""
    path = tmp_path / "a.tfrecord"
    cases: list[tuple[dict[str, Any], str]] = [
        ({"y": [1, 2]}, "record 1200, .* has 2 values of feature 'y', where 1 were expected: .*ragged="),
        ({"y": 0.5}, "record 1200, .* has float32 as feature 'y', where int64 was expected"),
        ({"y": b"a"}, "record 1200, .* has byte strings as feature 'y'"),
        ({"z": 1}, r"record 1200, .* has no \['y'\].*keys="),
    ]
    for last, message in cases:
        write_tfrecord([*({"y": n} for n in range(1200)), last, {"y": -1}], path)
        with pytest.raises(FileFormatError, match=message):
            read(TfrecordTable(str(path)))
        with TfrecordTable(str(path), on_error="skip") as table:
            assert read(table)["y"].tolist() == [*range(1200), -1]
    write_tfrecord([{"y": [b"a", b"b"]}], path)
    with pytest.raises(FileFormatError, match=r"feature 'y' has lists of .* byte strings.*keys="):
        TfrecordTable(str(path))
    write_tfrecord([b"\xff\xff"], path, raw=True)
    with pytest.raises(FileFormatError, match=r"record 0.* is no tf\.train\.Example"):
        TfrecordTable(str(path))
    path.write_bytes(b"x,y\n1,2\n" * 10)
    with pytest.raises(ChecksumError, match=r"a\.tfrecord: record 0"):
        TfrecordTable(str(path))
    with pytest.raises(InvalidTypeError, match="keys, ragged and texts"):
        TfrecordTable(str(path), keys="y")


def test_a_writer_that_fails(tmp_path: Path) -> None:
    """After an error there is what was there before."""
    path = tmp_path / "a.tfrecord"
    path.write_bytes(b"before")
    with pytest.raises(InvalidValueError, match="rows 6 to 11: expected x: float32"):
        written(tfrecord_sink, path, fields_of(ROWS), [ROWS, {**ROWS, "x": np.zeros((6, 2))}])
    with pytest.raises(InvalidValueError, match="there were to be 7 rows"):
        written(tfrecord_sink, path, fields_of(ROWS), [ROWS], rows=7)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("a.tfrecord", b"before")]
