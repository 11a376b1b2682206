"""Parquet files: any order by row groups, threads and processes, damaged pages, and what the options do."""

from __future__ import annotations

import os
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchup import ArrayDataSource, WorkerProcessPool, WorkerThreadPool
from batchup.columns import Ragged, as_column
from batchup.errors import FileFormatError, InvalidTypeError, InvalidValueError
from batchup.formats.arrow.columns import ChunkedArray, ChunkedSequences, DecodedArray, DecodedSequences
from batchup.formats.arrow.ipc_parts import BatchLayout
from batchup.formats.arrow.parquet import ParquetTable, parquet_sink, read_parquet, write_parquet
from batchup.formats.arrow.parquet_parts import Handles
from batchup.formats.table import objects

from .format_laws import read, written
from .kills import in_a_fork
from .tables import fields_of

N = 1000
LENGTHS = np.arange(N) % 5
BLOCK: dict[str, Any] = {
    "x": np.arange(N * 6, dtype=np.float32).reshape(N, 2, 3),
    "y": np.arange(N),
    "text": objects([f"no. {n}" for n in range(N)]),
    "words": Ragged(np.arange(LENGTHS.sum()), np.concatenate([[0], np.cumsum(LENGTHS)])),
}
ORDER = np.random.default_rng(0).permutation(N)
both_ways = pytest.mark.parametrize("memory", [1, "1GiB"], ids=["by row groups", "decoded whole"])


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Write a file of row groups of several lengths, one of them without rows."""
    schema = pq.ParquetFile(_written(tmp_path / "plain")).schema_arrow
    table = pq.read_table(tmp_path / "plain")
    os.remove(tmp_path / "plain")
    name = str(tmp_path / "a.parquet")
    with pq.ParquetWriter(name, schema, write_page_checksum=True) as writer:
        start = 0
        for rows in (300, 1, 0, 400, 299):
            writer.write_table(table.slice(start, rows))
            start += rows
    return name


def _written(path: Path) -> Path:
    written(parquet_sink, path, fields_of(BLOCK), [BLOCK])
    return path


def damaged(path: str, column: str, group: int) -> None:
    """Flip a bit in the pages of a column in a row group."""
    footer = pq.ParquetFile(path).metadata
    leaves = [footer.schema.column(number).path.split(".")[0] for number in range(footer.num_columns)]
    chunk = footer.row_group(group).column(leaves.index(column))
    begin = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
    place = begin + chunk.total_compressed_size // 2
    data = bytearray(Path(path).read_bytes())
    data[place] ^= 16
    Path(path).write_bytes(data)


@both_ways
def test_any_order(path: str, memory: Any) -> None:
    """Rows are gathered in any order, by array, slice, mask and number."""
    columns = read_parquet(path, memory=memory)
    kinds = [type(column) for column in columns.values()]
    array, sequences = (ChunkedArray, ChunkedSequences) if memory == 1 else (DecodedArray, DecodedSequences)
    assert kinds == [array, array, array, sequences]
    for name, column in columns.items():
        expected = BLOCK[name]
        assert len(column) == N
        assert column.dtype == expected.dtype
        for indices in (ORDER, np.array([5, 5, 999, 0]), slice(250, 720), np.array([], np.intp), ORDER % 2 == 0):
            assert str(column[indices].tolist()) == str(expected[indices].tolist())
        assert str(column[-1]) == str(expected[-1])
        assert str(as_column(column).gather(slice(299, 302)).tolist()) == str(expected[299:302].tolist())
        assert path in repr(column)
        assert "\n" not in repr(column)
    np.testing.assert_array_equal(np.asarray(columns["x"]), BLOCK["x"])
    assert columns["x"].shape == (N, 2, 3)
    assert columns["x"].mean() == BLOCK["x"].mean()
    assert columns["y"][:, None].shape == (N, 1)
    out = np.empty((3, 2, 3), np.float32)
    assert columns["x"].gather(np.array([700, 3, 300]), out) is out
    assert out[:, 0, 0].tolist() == [4200, 18, 1800]


@both_ways
def test_sources(path: str, memory: Any) -> None:
    """Batches are those of arrays in memory, whoever makes them, and however often."""
    plain = ArrayDataSource(BLOCK)
    ds = ParquetTable(path, memory=memory).data_source()
    for size in (7, 64, 2000):
        for ours, theirs in zip(ds.batch_iterator(size, shuffle=3), plain.batch_iterator(size, shuffle=3), strict=True):
            assert {k: v.tolist() for k, v in ours.items()} == {k: v.tolist() for k, v in theirs.items()}
    expected = [batch["y"].tolist() for batch in plain.batch_iterator(64, shuffle=5)]
    with WorkerThreadPool(3) as threads:
        for batch, y in zip(threads.parallel_data_source(ds).batch_iterator(64, shuffle=5), expected, strict=True):
            assert batch["y"].tolist() == y
            assert batch["text"].tolist() == [f"no. {n}" for n in y]


@both_ways
@pytest.mark.parametrize("used", [False, True])
def test_processes(path: str, memory: Any, used: bool) -> None:
    """Worker processes read for themselves, or share what has been decoded; also after the parent has read."""
    ds = ParquetTable(path, memory=memory).data_source()
    if used:
        ds.samples_by_indices([0, 999])
    expected = [batch["y"].tolist() for batch in ArrayDataSource(BLOCK).batch_iterator(64, shuffle=5)]
    with WorkerProcessPool(2) as pool:
        for batch, y in zip(pool.parallel_data_source(ds).batch_iterator(64, shuffle=5), expected, strict=True):
            assert batch["y"].tolist() == y
            assert batch["words"].tolist() == [BLOCK["words"][n].tolist() for n in y]
            np.testing.assert_array_equal(batch["x"], BLOCK["x"][y])


@both_ways
def test_forks(path: str, memory: Any) -> None:
    """A forked process opens the file by itself, whatever a thread of its parent was doing."""
    columns = read_parquet(path, memory=memory)
    assert columns["y"][5] == 5
    handles = Handles(path)
    ours = handles.opened()
    threads = [threading.Thread(target=lambda: [columns[name][ORDER] for name in columns]) for _ in range(3)]
    for thread in threads:
        thread.start()

    def job() -> None:
        assert handles.opened() is not ours
        for name, column in columns.items():
            assert column[ORDER[:9]].tolist() == BLOCK[name][ORDER[:9]].tolist()

    assert in_a_fork(job) == 0
    for thread in threads:
        thread.join()


@both_ways
def test_pickles_as_a_path(path: str, memory: Any) -> None:
    """A column is pickled as where it lies, with what tells whether the file is still the same."""
    columns = read_parquet(path, memory=memory)
    columns["x"][0]
    sent = pickle.dumps(columns)
    assert len(sent) < 3000
    for name, column in pickle.loads(sent).items():
        assert column[ORDER].tolist() == BLOCK[name][ORDER].tolist()
    again = pickle.loads(sent)
    os.utime(path, (1, 1))
    with pytest.raises(FileFormatError, match=r"a\.parquet has been replaced or written to since"):
        again["x"][0]


def test_what_fits_is_decoded(path: str) -> None:
    """The smallest columns are decoded whole, as far as there is room for them."""
    columns = read_parquet(path, memory=20_000)
    assert [name for name, column in columns.items() if isinstance(column, (DecodedArray, DecodedSequences))] == ["y"]
    with pytest.raises(ValueError, match="read-only"):
        columns["y"][:][0] = 1
    y = columns["y"]
    y[0]
    assert y.array is y.array


def test_many_files(path: str, tmp_path: Path) -> None:
    """The rows of several files are those of one, and must be of the same columns."""
    written(parquet_sink, tmp_path / "b.parquet", fields_of(BLOCK), [BLOCK])
    columns = read_parquet(tmp_path / "*.parquet", columns=["words", "y"])
    assert list(columns) == ["words", "y"]
    places = np.array([1999, 0, 1000, 999])
    assert columns["y"][places].tolist() == (places % N).tolist()
    assert as_column(columns["words"]).gather(places).tolist() == BLOCK["words"][places % N].tolist()
    write_parquet([{"words": [1.5], "y": 0}], tmp_path / "c.parquet")
    with pytest.raises(FileFormatError, match=r"c\.parquet has words: .*, but .*a\.parquet has words"):
        read_parquet(tmp_path / "*.parquet", columns=["words", "y"])


def test_damaged_pages(path: str) -> None:
    """The row group with its rows, and the column, are named; what was whole is read if that is asked for."""
    damaged(path, "y", 3)
    message = r"a\.parquet: row group 3 \(rows 301 to 700\), column 'y', is damaged"
    with pytest.raises(FileFormatError, match=message):
        read(ParquetTable(path))
    for memory in (1, "1GiB"):
        columns = read_parquet(path, memory=memory)
        with pytest.raises(FileFormatError, match=message):
            columns["y"][[500]]
        assert columns["x"][500, 0, 0] == 3000
    assert len(read(ParquetTable(path), ["x", "words"])["x"]) == N
    with ParquetTable(path, on_error="skip") as table:
        for _ in range(2):
            assert read(table)["y"].tolist() == [*range(301), *range(701, N)]
        assert [str(problem).endswith("; rows 301 to 700 are left out") for problem in table.problems] == [True]
        assert table.bytes_done == table.bytes_total == os.path.getsize(path)
    rows = read_parquet(path, on_error="skip", columns=["y"])
    assert [int(row["y"]) for row in rows] == [*range(301), *range(701, N)]
    with pytest.raises(TypeError):
        len(rows)


def test_checksums_are_what_finds_it(tmp_path: Path) -> None:
    """A bit that is flipped in a page without compression is found too."""
    written(parquet_sink, tmp_path / "a", {"y": fields_of(BLOCK)["y"]}, [{"y": BLOCK["y"]}], compression=None)
    damaged(str(tmp_path / "a"), "y", 0)
    with pytest.raises(FileFormatError, match="CRC"):
        read(ParquetTable(str(tmp_path / "a")))


def test_blocks_are_bounded(tmp_path: Path) -> None:
    """However large row groups are, and texts, some rows at a time are read; twice at once, too."""
    block = {"text": objects(["x" * 100_000 + str(n) for n in range(400)]), "n": np.arange(400)}
    written(parquet_sink, tmp_path / "a", fields_of(block), [block], row_group_rows=400)
    with ParquetTable(str(tmp_path / "a")) as table:
        sizes = [len(one["n"]) for one, _ in zip(table.blocks(), table.blocks(["n"]), strict=False)]
        assert list(table.blocks([])) == []
    assert max(sizes) < 100


def test_row_groups(tmp_path: Path) -> None:
    """They have as many rows as is said, or else what makes some megabytes."""
    write_parquet(({"x": n} for n in range(25)), tmp_path / "a", row_group_rows=10, compression="snappy")
    footer = pq.ParquetFile(tmp_path / "a").metadata
    assert [footer.row_group(number).num_rows for number in range(3)] == [10, 10, 5]
    assert footer.row_group(0).column(0).compression == "SNAPPY"
    for rows, error in ((0, InvalidValueError), ("many", InvalidTypeError)):
        with pytest.raises(error, match="row_group_rows"):
            write_parquet([{"x": 1}], tmp_path / "a", row_group_rows=rows)


def test_a_huge_row_group_is_not_decoded(tmp_path: Path) -> None:
    """A hint that makes texts huge is refused before there is room for them."""
    schema = pa.schema([pa.field("x", pa.string(), metadata={"batchup": '{"dtype": "<U1000000", "shape": []}'})])
    pq.write_table(pa.table({"x": ["a"] * 10_000}, schema), tmp_path / "a")
    column = read_parquet(tmp_path / "a")["x"]
    with pytest.raises(FileFormatError, match=r"row group 0 .* takes 40,000,000,000 bytes when it is decoded"):
        column[0]
    blocks = ParquetTable(str(tmp_path / "a")).blocks()
    assert next(blocks)["x"].shape == (2,)


def test_layout_of_batches() -> None:
    """Rows are found in batches of equal and of different lengths, that lie in any order."""
    for counts in ([4, 4, 4], [4, 4, 2], [3, 5, 4], [7]):
        bounds = np.array([0, *np.cumsum(counts)])
        firsts = np.array([500, 100, 300][: len(counts)])
        layout = BatchLayout(firsts, bounds, 8)
        expected = [first + 8 * row for first, count in zip(firsts, counts, strict=True) for row in range(count)]
        assert layout.starts(np.arange(layout.length)).tolist() == expected
        places = [place for start, size in layout.pieces(1, layout.length) for place in range(start, start + size, 8)]
        assert places == expected[1:]
        assert layout.gapless == (len(counts) == 1)
