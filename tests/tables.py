"""What the tests of formats share: blocks of all kinds, and whether two are the same."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchup.columns import Ragged
from batchup.errors import InvalidValueError
from batchup.formats import Field, Table
from batchup.formats.table import TEXT, Block, fields_of, objects, part_of

from .kills import room_for

ROWS = 7


def numbers() -> Block:
    """Return columns of numbers, each of another dtype."""
    dtypes = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8"]
    block = {np.dtype(dtype).name: (np.arange(ROWS) * 5 % 3).astype(dtype) for dtype in dtypes}
    block["float64"] = np.array([0.1, -0.0, 1e300, 5e-324, 1 / 3, 2.0**53 + 2, -7])
    block["float32"] = np.array([0.1, -0.0, 3e38, 1e-45, 1 / 3, 2**24 + 2, -7], np.float32)
    block["int64"] = np.array([0, -(2**63), 2**63 - 1, 1, 2, 3, 4])
    block["uint64"] = np.array([0, 2**64 - 1, 2**63, 1, 2, 3, 4], np.uint64)
    return block


def column() -> Block:
    """Return a column by itself."""
    return {"x": np.array([0.1, -0.0, 1e300, 5e-324, 1 / 3, 2.0**53 + 2, -7])}


def images() -> Block:
    """Return pictures of one size, with labels in order."""
    rng = np.random.default_rng(0)
    return {
        "image": rng.integers(256, size=(ROWS, 5, 4), dtype=np.uint8),
        "label": np.array([0, 0, 1, 1, 1, 2, 2]),
    }


def arrays() -> Block:
    """Return arrays of several sides."""
    rng = np.random.default_rng(1)
    return {
        "x": rng.normal(size=(ROWS, 3, 2)).astype(np.float32),
        "y": rng.integers(-9, 9, size=(ROWS, 4), dtype=np.int16),
        "one": np.ones((ROWS, 1)),
    }


def examples() -> Block:
    """Return what an Example holds."""
    return {
        "x": np.arange(ROWS * 3, dtype=np.float32).reshape(ROWS, 3),
        "n": np.arange(ROWS),
        "data": objects([b"\xff" * number for number in range(ROWS)]),
        "tokens": Ragged.of([np.arange(length) for length in (3, 0, 1, 5, 2, 2, 4)]),
    }


def texts() -> Block:
    """Return texts of any length, that look like something else, too."""
    return {
        "text": objects(["one", "", "a,b", 'say "so"', "two\nlines", "Grüße 日本 🦇", "x" * 300]),
        "number": np.arange(ROWS),
    }


def words() -> Block:
    """Return texts and bytes of dtypes with a length."""
    return {"word": np.array(["a", "bc", "def", "é", "xyz", "q", "w"]), "code": np.array([b"ab"] * ROWS)}


def byte_strings() -> Block:
    """Return bytes of any length."""
    return {"data": objects([b"one", b"", b"\0\0", b"end\0", b"\xff\xfe", bytes(range(256)), b"\n"])}


def ragged() -> Block:
    """Return sequences."""
    return {
        "tokens": Ragged.of([np.arange(length, dtype=np.int32) for length in (3, 0, 1, 5, 2, 2, 4)]),
        "scores": Ragged.of([np.ones(length, np.float32) * length for length in (1, 2, 3, 1, 2, 3, 1)]),
    }


def sounds() -> Block:
    """Return sounds of one rate."""
    return {
        "sound": Ragged.of([np.arange(length, dtype=np.int16) - 3 for length in (3, 9, 1, 5, 2, 2, 4)]),
        "rate": np.full(ROWS, 16_000),
    }


def loose() -> Block:
    """Return arrays whose sides all differ."""
    shapes = [(2, 3), (1, 1), (4, 2), (3, 3), (2, 2), (1, 5), (5, 1)]
    return {"map": objects([np.full(shape, number, np.float64) for number, shape in enumerate(shapes)])}


_MAKERS = (column, numbers, images, arrays, examples, texts, words, byte_strings, ragged, sounds, loose)
KINDS = {make.__name__: make for make in _MAKERS}


def whole(table: Table, names: Iterable[str] | None = None) -> Block:
    """Return all rows of a table as one block."""
    blocks = list(table.blocks(None if names is None else list(names)))
    for block in blocks:
        check_like(block, table.fields)
    return joined(blocks, table.fields)


def joined(blocks: list[Block], fields: Mapping[str, Field]) -> Block:
    """Return the rows of blocks as one block."""
    if not blocks:
        return {}
    return {name: _joined([block[name] for block in blocks]) for name in blocks[0]}


def _joined(parts: list[Any]) -> Any:
    return Ragged.joined(parts) if isinstance(parts[0], Ragged) else np.concatenate(parts)


def check_like(block: Block, fields: Mapping[str, Field]) -> None:
    """Check that a block is what the fields say."""
    found = fields_of(block)
    assert len({len(values) for values in block.values()}) == 1
    for name, field in found.items():
        if len(block[name]):
            assert field == fields[name], f"{name} is {field}, said to be {fields[name]}"


def check_same(found: Block, expected: Block) -> None:
    """Check that two blocks are equal, in values, dtypes and shapes."""
    assert list(found) == list(expected)
    for name, values in expected.items():
        same(found[name], values, name)


def same(found: Any, expected: Any, name: str) -> None:
    """Check that two columns are equal."""
    assert type(found) is type(expected), f"{name}: {type(found)} and {type(expected)}"
    assert found.dtype == expected.dtype, f"{name}: {found.dtype} and {expected.dtype}"
    assert len(found) == len(expected), name
    if isinstance(expected, Ragged) or expected.dtype == object:
        for one, other in zip(found, expected, strict=True):
            if isinstance(other, np.ndarray):
                same(one, other, name)
            else:
                assert type(one) is type(other), name
                assert one == other, name
    else:
        assert found.shape == expected.shape, name
        np.testing.assert_array_equal(found, expected, name)
        if expected.dtype.kind == "f":
            np.testing.assert_array_equal(np.signbit(found), np.signbit(expected), name)


def written(sink: Any, path: Path, block: Block, step: int, **options: Any) -> Path:
    """Write a block, some rows at a time."""
    with sink(path, fields_of(block), **options) as put:
        for start in range(0, max(1, len(next(iter(block.values())))), step):
            put(part_of(block, start, start + step))
    return path


def unfinished(sink: Any, path: Path, case: str) -> None:
    """Write a file of texts that cannot be finished."""
    with sink(path, {"x": Field(TEXT)}, rows=5 if case == "rows" else None) as put:
        put({"x": objects(["fine"] * 3)})
        if case == "interrupt":
            raise KeyboardInterrupt
        if case == "full":
            put({"x": objects([os.urandom(2**15).decode("latin1") for _ in range(30)])})
        if case == "surrogate":
            put({"x": objects(["fine", "a\ud800"])})
        if case == "other":
            put({"x": np.arange(3)})


UNFINISHED: list[tuple[str, type[BaseException], str | None]] = [
    ("interrupt", KeyboardInterrupt, None),
    ("full", OSError, "File too large"),
    ("other", InvalidValueError, "x: str, got x: int64"),
    ("rows", InvalidValueError, "5 rows"),
]


def check_old_stays(sink: Any, path: Path, case: str, kind: type[BaseException], message: str | None) -> None:
    """Check that a file that cannot be finished leaves the old one, and nothing else."""
    path.write_bytes(b"old")
    with pytest.raises(kind, match=message), room_for(2**18):
        unfinished(sink, path, case)
    assert os.listdir(path.parent) == [path.name]
    assert path.read_bytes() == b"old"


def check_closes(opened: Callable[[], Table]) -> None:
    """Check that an iterator that is closed closes its file, and a table has none open."""
    before = len(os.listdir("/dev/fd"))
    table = opened()
    assert table.columns() is None
    assert len(os.listdir("/dev/fd")) == before
    iterator: Any = table.blocks()
    next(iterator)
    iterator.close()
    assert len(os.listdir("/dev/fd")) == before
