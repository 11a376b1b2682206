"""Mini-batches for training and evaluation loops, at memory speed.

>>> import numpy as np
>>> from batchup import ArrayDataSource
>>> ds = ArrayDataSource([np.arange(10.0), np.arange(10)])
>>> for batch_X, batch_y in ds.batch_iterator(batch_size=4, shuffle=1234, epoch=0):
...     assert (batch_X == batch_y).all()
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchup.data_source import (
        AbstractDataSource,
        ArrayDataSource,
        BatchIterator,
        CallableDataSource,
        ChoiceBatch,
        ChoiceDataSource,
        CompositeDataSource,
        IteratorDataSource,
        MapDataSource,
        MixDataSource,
        RandomAccessDataSource,
        ShardDataSource,
        batch_map_concat,
        batch_map_mean,
        coerce_data_source,
    )
    from batchup.errors import BatchUpError
    from batchup.formats import open_table
    from batchup.hypersequence import (
        HyperSequenceFile,
        HyperSequenceWriter,
    )
    from batchup.loaders import (
        Loader,
        loader,
        replay,
    )
    from batchup.pipeline import (
        Dataset,
    )
    from batchup.sampling import (
        AbstractSampler,
        BalancedBatchSampler,
        BlockShuffleSampler,
        BucketSampler,
        GroupSampler,
        StandardSampler,
        StratifiedSampler,
        SubsetSampler,
        WeightedSampler,
        WeightedSubsetSampler,
        k_fold,
        num_batches,
        split,
    )
    from batchup.sequences import (
        FileRecordReader,
        FileRecordWriter,
        Ragged,
    )
    from batchup.work_pool import (
        AbstractWorkerPool,
        ParallelDataSource,
        WorkerProcessPool,
        WorkerRayPool,
        WorkerThreadPool,
        WorkStream,
    )

_HOME: dict[str, list[str]] = {
    "config": [],
    "data_source": [
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
    ],
    "datasets": [],
    "errors": [
        "BatchUpError",
    ],
    "hypersequence": [
        "HyperSequenceFile",
        "HyperSequenceWriter",
    ],
    "loaders": [
        "Loader",
        "loader",
        "replay",
    ],
    "formats": [
        "open_table",
    ],
    "pipeline": [
        "Dataset",
    ],
    "remote": [],
    "sampling": [
        "AbstractSampler",
        "BalancedBatchSampler",
        "BlockShuffleSampler",
        "BucketSampler",
        "GroupSampler",
        "StandardSampler",
        "StratifiedSampler",
        "SubsetSampler",
        "WeightedSampler",
        "WeightedSubsetSampler",
        "k_fold",
        "num_batches",
        "split",
    ],
    "sequences": [
        "FileRecordReader",
        "FileRecordWriter",
        "Ragged",
    ],
    "typed_files": [],
    "work_pool": [
        "AbstractWorkerPool",
        "ParallelDataSource",
        "WorkStream",
        "WorkerProcessPool",
        "WorkerRayPool",
        "WorkerThreadPool",
    ],
}
_ROOM_OF = {name: room for room, names in _HOME.items() for name in names}

__version__ = "1.0.0.dev0"

__all__ = [
    "AbstractDataSource",
    "AbstractSampler",
    "AbstractWorkerPool",
    "ArrayDataSource",
    "BalancedBatchSampler",
    "BatchIterator",
    "BatchUpError",
    "BlockShuffleSampler",
    "BucketSampler",
    "CallableDataSource",
    "ChoiceBatch",
    "ChoiceDataSource",
    "CompositeDataSource",
    "Dataset",
    "FileRecordReader",
    "FileRecordWriter",
    "GroupSampler",
    "HyperSequenceFile",
    "HyperSequenceWriter",
    "IteratorDataSource",
    "Loader",
    "MapDataSource",
    "MixDataSource",
    "ParallelDataSource",
    "Ragged",
    "RandomAccessDataSource",
    "ShardDataSource",
    "StandardSampler",
    "StratifiedSampler",
    "SubsetSampler",
    "WeightedSampler",
    "WeightedSubsetSampler",
    "WorkStream",
    "WorkerProcessPool",
    "WorkerRayPool",
    "WorkerThreadPool",
    "batch_map_concat",
    "batch_map_mean",
    "coerce_data_source",
    "k_fold",
    "loader",
    "num_batches",
    "open_table",
    "replay",
    "split",
]


def __getattr__(name: str) -> Any:
    """Load a public name, or a room of the package, when it is first used."""
    if name in _ROOM_OF:
        value = getattr(importlib.import_module(f"batchup.{_ROOM_OF[name]}"), name)
    elif name in _HOME:
        value = importlib.import_module(f"batchup.{name}")
    else:
        raise AttributeError(f"module 'batchup' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_HOME})
