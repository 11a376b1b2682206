"""Where the data lies: array-likes that gather whole batches of samples at once."""

from batchup.columns.abstract import Column
from batchup.columns.array_likes import as_column
from batchup.columns.arrays import is_mapped

__all__ = ["Column", "as_column", "is_mapped"]
