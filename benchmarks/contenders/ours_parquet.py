"""The columns of a Parquet file in this tree's data source."""

from __future__ import annotations

import itertools

from declared import Work
from files import RowFiles
from parquets import parquet_of
from slices import Epoch

from batchup.data_source import ArrayDataSource
from batchup.formats import read_parquet
from contenders import Ways

SEED = 7
SMALL = "1MiB"  # so that nothing is decoded whole


def decoded(work: Work, files: RowFiles) -> Epoch:
    """`ArrayDataSource(read_parquet(path)).batch_iterator(B, shuffle=7, epoch=e)`."""
    source = ArrayDataSource(read_parquet(parquet_of(files)))
    numbers = itertools.count()
    return lambda: iter(source.batch_iterator(work.batch, shuffle=SEED, epoch=next(numbers)))


def by_row_groups(work: Work, files: RowFiles) -> Epoch:
    """The same with `read_parquet(path, memory="1MiB")`: as of a file that is larger than memory."""
    source = ArrayDataSource(read_parquet(parquet_of(files), memory=SMALL))
    numbers = itertools.count()
    return lambda: iter(source.batch_iterator(work.batch, shuffle=SEED, epoch=next(numbers)))


WAYS: Ways = {
    kind: {"batchup": decoded, "batchup, by row groups": by_row_groups} for kind in ("parquet", "parquet_table")
}
