"""The Parquet files of W13, written by pyarrow, and what a batch of a table of numbers is made of."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from declared import Work
from files import RowFiles
from sources import Array

FILE = "rows.parquet"
ROW, LABEL = "row", "label"
GROUP = 16 << 20


def columns_of(work: Work) -> list[str]:
    """Name the columns: one of whole rows, or one for each number in a row."""
    return [f"c{number:02}" for number in range(work.shape[0])] if work.kind == "parquet_table" else [ROW]


def parquet_of(files: RowFiles) -> str:
    """Give the path of the file with the rows and their labels, in row groups of 16 MB, compressed with zstd."""
    return files.made(FILE, lambda path: _write(path, files))


def columns_between(work: Work, rows: Array, labels: Array) -> dict[str, Array]:
    """Give rows and labels as columns."""
    names = columns_of(work)
    parts = [rows] if names == [ROW] else [np.ascontiguousarray(rows[:, number]) for number in range(len(names))]
    return {**dict(zip(names, parts, strict=True)), LABEL: labels}


def pair_of(work: Work, batch: dict[str, Array]) -> tuple[Array, Array]:
    """Give the rows and labels of a batch of columns."""
    names = columns_of(work)
    return batch[ROW] if names == [ROW] else np.stack([batch[name] for name in names], 1), batch[LABEL]


def array_of(column: Any, work: Work) -> Array:
    """Make an array of a column of pyarrow; a copy, if its rows have come together from several places."""
    whole = column.combine_chunks()
    if not whole.type.num_fields:
        plain: Array = whole.to_numpy(zero_copy_only=False)
        return plain
    flat: Array = whole.flatten().to_numpy()
    return flat.reshape(-1, *work.shape)


def _write(path: str, files: RowFiles) -> None:
    pa: Any = importlib.import_module("pyarrow")
    parquet: Any = importlib.import_module("pyarrow.parquet")
    tables = []
    for rows, labels in files.pieces():
        arrays = {}
        for name, values in columns_between(files.work, rows, labels).items():
            flat = pa.array(values.reshape(-1))
            arrays[name] = flat if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
        tables.append(pa.table(arrays))
    parquet.write_table(
        pa.concat_tables(tables), path, compression="zstd", row_group_size=max(1, GROUP // files.work.row_bytes)
    )
