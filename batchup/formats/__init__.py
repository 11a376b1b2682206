"""Files of many formats: opened as tables of rows, read and written item by item, converted, divided, summed up.

>>> import batchup
>>> from batchup import formats
>>> batchup.Dataset(x=[1.5, 2.5], y=[0, 1]).write("two.npz")
>>> formats.convert("two.npz", "two.hsq").rows
2
>>> formats.open_table("two.hsq").data_source().samples_by_indices([1])
{'x': array([2.5]), 'y': array([1])}
"""

from typing import Any

from batchup.formats.access import open_table
from batchup.formats.convert import Converted, convert
from batchup.formats.dividing import split_rows, split_shares
from batchup.formats.known import register_known
from batchup.formats.opening import compression_of
from batchup.formats.paths import found
from batchup.formats.registry import Readers, Writers, format_of, function, register, suffixes, unregister
from batchup.formats.rows import Rows
from batchup.formats.stats import stats
from batchup.formats.table import Block, Field, Table
from batchup.formats.verifying import verify

__all__ = [
    "Block",
    "Converted",
    "Field",
    "Readers",
    "Rows",
    "Table",
    "Writers",
    "compression_of",
    "convert",
    "format_of",
    "found",
    "open_table",
    "read_arrow",
    "read_csv",
    "read_hdf5",
    "read_hsq",
    "read_images",
    "read_jsonl",
    "read_npy",
    "read_npz",
    "read_parquet",
    "read_records",
    "read_text",
    "read_tfrecord",
    "read_wav",
    "read_webdataset",
    "read_zarr",
    "register",
    "split_rows",
    "split_shares",
    "stats",
    "suffixes",
    "unregister",
    "verify",
    "write_arrow",
    "write_csv",
    "write_hdf5",
    "write_hsq",
    "write_images",
    "write_jsonl",
    "write_npy",
    "write_npz",
    "write_parquet",
    "write_records",
    "write_text",
    "write_tfrecord",
    "write_wav",
    "write_webdataset",
    "write_zarr",
]

register_known()


def __getattr__(name: str) -> Any:
    """Load the reader or the writer of a format, such as ``read_csv``, when it is first used."""
    found = function(name)
    if found is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return found
