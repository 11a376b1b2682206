"""Item by item: the lazy Dataset, its readers and writers."""

from batchup.pipeline.dataset import Dataset
from batchup.pipeline.iterator import DatasetIterator

__all__ = ["Dataset", "DatasetIterator"]
