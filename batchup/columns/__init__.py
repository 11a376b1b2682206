"""Where the data lies: array-likes that gather whole batches of samples at once."""

from batchup.columns.abstract import Column
from batchup.columns.array_likes import as_column
from batchup.columns.files import is_mapped
from batchup.columns.records import RecordColumn

__all__ = ["Column", "RecordColumn", "as_column", "is_mapped"]
