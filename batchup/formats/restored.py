"""Columns that stand for what another column keeps as something else."""

from __future__ import annotations

from typing import Any

import numpy as np

from batchup._indices import Indices
from batchup.columns import OwnColumn
from batchup.columns.abstract import samples_at


class RestoredColumn(OwnColumn):
    """The samples of another column as what they stand for, which a subclass says.

    Parameters
    ----------
    stored : Column
        Where they are kept.
    dtype : numpy.dtype
        Of what they stand for; object for texts and bytes.
    shape : tuple of int
        Of a sample.
    """

    takes_out = cheap = resident = views = False
    window = 0

    def __init__(self, stored: Any, dtype: np.dtype[Any], shape: tuple[int, ...] = ()) -> None:
        self._stored = stored
        self.dtype = dtype
        self.sample_shape = shape

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows, and shape of one."""
        return (len(self), *self.sample_shape)

    def __len__(self) -> int:
        return len(self._stored)

    def __getitem__(self, index: Any) -> Any:
        return samples_at(self, index)

    def gather(self, indices: Indices, out: Any = None) -> Any:
        rows = self._restored(self._stored.gather(indices))
        if out is None:
            return rows
        out[...] = rows
        return out

    def view(self, indices: slice) -> Any:
        return self.gather(indices)

    def expect(self, indices: Indices) -> bool:
        return bool(self._stored.expect(indices))

    def _restored(self, stored: Any) -> Any:
        """Return what samples stand for, which have been gathered."""
        return stored
