"""What the tests of formats share: columns of any kind, and the law that what is written is read back equal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from batchup.columns import Ragged, as_column
from batchup.data_source import ArrayDataSource
from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.formats.table import BYTES, TEXT, Block, Field, Table, objects
from batchup.work_pool.pickling import pickled_source, rebuilt_source

NUMBERS = st.one_of(hnp.boolean_dtypes(), hnp.integer_dtypes(), hnp.unsigned_integer_dtypes(), hnp.floating_dtypes())
DTYPES = st.one_of(
    NUMBERS,
    hnp.complex_number_dtypes(),
    hnp.datetime64_dtypes(),
    hnp.timedelta64_dtypes(),
    hnp.unicode_string_dtypes(max_len=5),
    hnp.byte_string_dtypes(max_len=5),
)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3)
NAMES = st.text("abcxyzé_ 1", min_size=1, max_size=5)


@st.composite
def columns(draw: Any, rows: int) -> tuple[Field, Any]:
    """Draw a column: what it is, and its values."""
    kind = draw(st.sampled_from(["fixed", "fixed", "text", "bytes", "ragged"]))
    if kind == "text":
        return Field(TEXT), objects(draw(st.lists(st.text(max_size=5), min_size=rows, max_size=rows)))
    if kind == "bytes":
        return Field(BYTES), objects(draw(st.lists(st.binary(max_size=5), min_size=rows, max_size=rows)))
    if kind == "fixed":
        dtype, shape = draw(DTYPES), draw(SHAPES)
        return Field(dtype, shape), draw(hnp.arrays(dtype, (rows, *shape)))
    dtype, inner = draw(DTYPES), draw(hnp.array_shapes(min_dims=0, max_dims=1, max_side=3))
    lengths = draw(st.lists(st.integers(0, 3), min_size=rows, max_size=rows))
    values = draw(hnp.arrays(dtype, (sum(lengths), *inner)))
    return Field(dtype, (None, *inner)), Ragged(values, np.cumsum([0, *lengths]))


@st.composite
def tables(draw: Any, most: int = 3) -> tuple[dict[str, Field], Block]:
    """Draw columns of equally many rows."""
    rows = draw(st.integers(0, 7))
    names = draw(st.lists(NAMES, min_size=1, max_size=most, unique=True))
    drawn = {name: draw(columns(rows)) for name in names}
    return {name: field for name, (field, _) in drawn.items()}, {name: values for name, (_, values) in drawn.items()}


def parts(block: Block, sizes: Sequence[int]) -> list[Block]:
    """Return a block as several of some sizes."""
    ends = np.cumsum([0, *sizes]).tolist()
    count = len(next(iter(block.values())))
    bounds = [*[end for end in ends if end < count], count]
    return [{name: values[start:stop] for name, values in block.items()} for start, stop in pairwise(bounds)]


def written(sink: Any, path: Any, fields: Mapping[str, Field], blocks: Iterable[Block], **options: Any) -> None:
    """Write blocks."""
    with sink(path, fields, **options) as put:
        for block in blocks:
            put(block)


def interrupted(block: Block) -> Iterator[Block]:
    """Yield a block; then somebody presses Ctrl-C."""
    yield block
    raise KeyboardInterrupt


def read(table: Table, names: Sequence[str] | None = None) -> Block:
    """Return all rows of a table."""
    found = list(table.blocks(names))
    wanted = table.chosen(names)
    return {name: joined([block[name] for block in found], table.fields[name]) for name in wanted}


def joined(values: list[Any], field: Field) -> Any:
    """Return the values of blocks as one."""
    if field.ragged:
        inner = tuple(side or 0 for side in field.shape[1:])
        elements = [np.empty((0, *inner), field.dtype), *(part.values for part in values)]
        lengths = [length for part in values for length in part.lengths.tolist()]
        return Ragged(np.concatenate(elements, dtype=field.dtype), np.cumsum([0, *lengths]))
    if field.dtype in (TEXT, BYTES) or not field.fixed:
        return np.concatenate([np.empty(0, object), *values])
    assert all(part.dtype == field.dtype for part in values)
    return np.concatenate([np.empty((0, *field.shape), field.dtype), *values], dtype=field.dtype)


def check_equal(found: Any, expected: Any, field: Field) -> None:
    """Assert that values are the same, to the bit, and of the same dtype and shape."""
    assert len(found) == len(expected)
    if field.ragged:
        assert isinstance(found, Ragged)
        assert found.lengths.tolist() == expected.lengths.tolist()
        found, expected = found.values, expected.values
    if not field.dtype.itemsize:
        assert found.dtype == object
        assert [type(value) for value in found] == [type(value) for value in expected]
        assert found.tolist() == expected.tolist()
        return
    assert found.dtype == expected.dtype == field.dtype
    assert found.shape == expected.shape
    if field.dtype.kind in "fc":
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(np.signbit(found.real), np.signbit(expected.real))
    else:
        assert np.ascontiguousarray(found).tobytes() == np.ascontiguousarray(expected).tobytes()


def check_law(
    folder: Path,
    suffix: str,
    opener: Callable[..., Table],
    sink: Any,
    drawn: tuple[dict[str, Field], Block],
    sizes: Sequence[int] = (),
    **options: Any,
) -> bool:
    """Assert that what is written is read back equal, in order and in any order; or refused before there is a file.

    Returns whether it was written.
    """
    fields, block = drawn
    path = folder / f"a{suffix}"
    try:
        written(sink, path, fields, parts(block, sizes), **options)
    except (InvalidTypeError, InvalidValueError):
        assert list(folder.iterdir()) == []
        return False
    with opener(str(path)) as table:
        assert table.fields.keys() == fields.keys()
        found = table.fields if isinstance(table.fields, dict) else {}
        assert {name: found[name] for name in fields} == fields
        assert table.rows in (None, len(next(iter(block.values()))))
        for _ in range(2):
            everything = read(table)
            for name, field in fields.items():
                check_equal(everything[name], block[name], field)
        only = read(table, [next(iter(fields))])
        assert list(only) == [next(iter(fields))]
        columns = table.columns()
    if columns is not None:
        check_columns(columns, fields, block)
    return True


def check_columns(columns: Mapping[str, Any], fields: Mapping[str, Field], block: Block) -> None:
    """Assert that columns of a table that has been closed give any rows, also when they have been pickled."""
    count = len(next(iter(block.values())))
    chosen = np.array([count - 1, 0, count // 2, 0]) if count else np.empty(0, np.intp)
    for name, field in fields.items():
        column = as_column(columns[name])
        assert len(column) == count
        values = block[name]
        check_equal(column.gather(np.ascontiguousarray(chosen, np.intp)), values[chosen], field)
        check_equal(column.gather(slice(0, count)), values, field)


def check_pickles(columns: Mapping[str, Any]) -> None:
    """Assert that a data source over columns can be sent to other processes, where it gives the same."""
    source = ArrayDataSource(dict(columns))
    again = rebuilt_source(*pickled_source(source))
    assert str(again.samples_by_indices([2, 0])) == str(source.samples_by_indices([2, 0]))
