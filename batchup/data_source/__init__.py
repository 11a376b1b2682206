"""What to read: columns and a sampler make a data source, which hands out batches."""

from batchup.data_source.abstract import AbstractDataSource
from batchup.data_source.array import ArrayDataSource
from batchup.data_source.batch_iterator import BatchIterator
from batchup.data_source.batch_map import batch_map_concat, batch_map_mean
from batchup.data_source.choice import ChoiceDataSource
from batchup.data_source.choice_batch import ChoiceBatch
from batchup.data_source.coerce import coerce_data_source
from batchup.data_source.composite import CompositeDataSource
from batchup.data_source.mapped import MapDataSource
from batchup.data_source.mix import MixDataSource
from batchup.data_source.random_access import RandomAccessDataSource
from batchup.data_source.shards import ShardDataSource
from batchup.data_source.stream import CallableDataSource, IteratorDataSource

__all__ = [
    "AbstractDataSource",
    "ArrayDataSource",
    "BatchIterator",
    "CallableDataSource",
    "ChoiceBatch",
    "ChoiceDataSource",
    "CompositeDataSource",
    "IteratorDataSource",
    "MapDataSource",
    "MixDataSource",
    "RandomAccessDataSource",
    "ShardDataSource",
    "batch_map_concat",
    "batch_map_mean",
    "coerce_data_source",
]
