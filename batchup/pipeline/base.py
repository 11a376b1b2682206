"""What all parts of a Dataset share: the stage that it stands for, and the epoch that it is seen in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from batchup.errors import InvalidTypeError
from batchup.pipeline.iterator import DatasetIterator
from batchup.pipeline.stage import Stage

if TYPE_CHECKING:
    from batchup.pipeline.dataset import Dataset


class Base:
    """A stage of a pipeline, and an epoch."""

    _stage: Stage
    _epoch: int

    def _become(self, stage: Stage, epoch: int) -> None:
        self._stage = stage
        self._epoch = epoch
        self._run: Any = None  # of items by number

    @classmethod
    def _over(cls, stage: Stage, epoch: int = 0) -> Dataset:
        dataset: Any = cls.__new__(cls)
        dataset._become(stage, epoch)
        return dataset  # type: ignore[no-any-return]

    def _then(self, stage: Stage) -> Dataset:
        return self._over(stage, self._epoch)

    def __iter__(self) -> DatasetIterator:
        return DatasetIterator(self._stage, self._epoch)


def checked_dtype(dtype: Any) -> np.dtype[Any] | None:
    """Return the dtype that Python's numbers are to have; None is what NumPy makes of them."""
    try:
        return None if dtype is None else np.dtype(dtype)
    except TypeError as error:
        raise InvalidTypeError(f"default_dtype must be a dtype, got {dtype!r}") from error
