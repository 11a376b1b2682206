"""A data source over the items of a lazy dataset, so that all that takes sources takes it."""

from __future__ import annotations

from typing import Any

import numpy as np

from batchup._indices import checked_indices
from batchup.data_source import ArrayDataSource, RandomAccessDataSource
from batchup.data_source.batches import take_sample, trim
from batchup.errors import InvalidTypeError
from batchup.pipeline.iterator import new_run
from batchup.pipeline.nested import stacked
from batchup.pipeline.sources import Columns, Indexed
from batchup.pipeline.stage import Stage


class DatasetSource(RandomAccessDataSource):
    """Batches of the items of a `Dataset` with random access.

    Parameters
    ----------
    dataset : Dataset
        The dataset.
    default_dtype : dtype, optional
        Of Python's numbers.
    entropy : int, optional
        What functions without a seed draw from, in all processes and passes.
    """

    def __init__(self, dataset: Any, default_dtype: np.dtype[Any] | None = None, entropy: int | None = None) -> None:
        super().__init__(len(dataset))
        self.dataset = dataset
        self.default_dtype = default_dtype
        self._run = new_run(dataset._stage, dataset._epoch)
        self._run.alone = True
        if entropy is not None:
            self._run.entropy = entropy

    def samples_by_indices_nomapping(self, indices: Any) -> Any:
        length = len(self.dataset)
        if isinstance(indices, (int, np.integer)):
            return take_sample(self.samples_by_indices_nomapping([indices]), 0)
        places = np.arange(length)[indices] if isinstance(indices, slice) else checked_indices(indices, length)
        if not len(places) and length:
            return trim(self.samples_by_indices_nomapping([0]), 0)
        stage: Stage = self.dataset._stage
        batch = stage.gather(places, self._run)
        if batch is None:
            batch = stacked(list(stage.at(iter(places.tolist()), self._run)), self.default_dtype)
        return batch if isinstance(batch, (tuple, dict)) else (batch,)

    def __reduce__(self) -> Any:
        return DatasetSource, (self.dataset, self.default_dtype, self._run.entropy)


def data_source_of(dataset: Any, stage: Stage, default_dtype: np.dtype[Any] | None) -> RandomAccessDataSource:
    """Return the source of a dataset: over its arrays themselves, if it is no more than they.

    Raises
    ------
    InvalidTypeError
        If it has no random access.
    """
    if not stage.random_access:
        raise InvalidTypeError(
            "data_source() needs random access, and this dataset is a stream: cache() its list, or keep to map, take, "
            "skip, slices, batch and shuffle(seed=...) over arrays"
        )
    columns = stage.columns if isinstance(stage, Columns) else [stage]
    if all(isinstance(column, Indexed) and isinstance(column.data, np.ndarray) for column in columns):
        arrays = stage.arrays if isinstance(stage, Columns) else [stage.data]  # type: ignore[attr-defined]
        return ArrayDataSource(arrays)
    return DatasetSource(dataset, default_dtype)
