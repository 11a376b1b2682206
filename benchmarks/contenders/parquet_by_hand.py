"""What is written by hand over a Parquet file: pyarrow's `take`, and arrays that have been read before."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from declared import Work
from files import RowFiles
from parquets import array_of, columns_between, parquet_of
from slices import Epoch
from sources import Array

from contenders import Ways

parquet: Any = importlib.import_module("pyarrow.parquet")


def taken(work: Work, files: RowFiles) -> Epoch:
    """`pq.read_table(path).combine_chunks()` once; then `table.take(perm[i:i+B])`, and each column `to_numpy`."""
    table = parquet.read_table(parquet_of(files)).combine_chunks()

    def batch(indices: Array) -> dict[str, Array]:
        rows = table.take(indices)
        return {name: array_of(rows.column(name), work) for name in rows.column_names}

    return _shuffled(work, batch)


def arrays(work: Work, files: RowFiles) -> Epoch:
    """`{name: array[perm[i:i+B]]}` of arrays in memory: the limit."""
    columns = columns_between(work, np.array(files.rows()), files.labels)
    return _shuffled(work, lambda indices: {name: array[indices] for name, array in columns.items()})


def _shuffled(work: Work, batch: Callable[[Array], dict[str, Array]]) -> Epoch:
    rng = np.random.RandomState(1)

    def epoch() -> Iterator[dict[str, Array]]:
        permutation = rng.permutation(work.rows)
        for start in range(0, work.rows, work.batch):
            yield batch(permutation[start : start + work.batch])

    return epoch


WAYS: Ways = {kind: {"pyarrow take": taken, "arrays": arrays} for kind in ("parquet", "parquet_table")}
