"""Sequences of different lengths as columns of rectangles, and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._indices import Indices, integer_array
from batchup.columns.abstract import samples_at
from batchup.columns.padding import Padding
from batchup.columns.ragged import Ragged, shown
from batchup.columns.sequence_column import SequenceColumn
from batchup.errors import InvalidValueError, LengthError


class RectangleColumn(ABC):
    """A column whose batches are rectangles made of sequences."""

    @property
    @abstractmethod
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""

    def __init__(self, sequences: SequenceColumn, padding: Padding) -> None:
        padding.check(sequences.dtype, sequences.inner_shape)
        if padding.to is not None:
            padding.width(sequences.lengths_at(slice(0, len(sequences))))  # raises if one is longer
        self._sequences = sequences
        self._padding = padding

    @property
    def resident(self) -> bool:
        """Whether all elements are in memory."""
        return self._sequences.resident

    def __len__(self) -> int:
        return len(self._sequences)

    def __getitem__(self, index: Any) -> Any:
        return samples_at(self, index)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._sequences!r}, {self._padding!r})"

    @abstractmethod
    def gather(self, indices: Indices) -> NDArray[Any]:
        """Return the rectangle of the sequences at `indices`, which are in range."""

    def expect(self, indices: Indices) -> bool:
        """Have sequences fetched that will soon be read; return whether they were not in memory."""
        return self._sequences.expect(indices)


class PaddedColumn(RectangleColumn):
    """Sequences as rectangles, as wide as the longest of a batch; see `SequenceColumn.padded`."""

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._sequences.dtype

    def gather(self, indices: Indices) -> NDArray[Any]:
        return self._sequences.laid_out(indices, self._padding)


class MaskColumn(RectangleColumn):
    """Which places of the rectangles of a `PaddedColumn` hold an element; see `SequenceColumn.masks`."""

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(bool)

    def gather(self, indices: Indices) -> NDArray[Any]:
        lengths = self._sequences.lengths_at(indices)
        return self._padding.mask(lengths, self._padding.width(lengths))

    def expect(self, indices: Indices) -> bool:
        return False


def unpad(rows: Any, lengths: Any, side: str = "right") -> Ragged:
    """Return the sequences of a rectangle.

    Parameters
    ----------
    rows : ndarray, shape (n, width, ...)
        The rectangle.
    lengths : array-like of int, shape (n,)
        How many elements of each row belong to its sequence.
    side : {'right', 'left'}, default 'right'
        Where the others are.

    Examples
    --------
    >>> unpad(np.array([[5, 0], [6, 7]]), [1, 2]).tolist()
    [[5], [6, 7]]
    """
    rows, counts = np.asarray(rows), integer_array(lengths, "lengths")
    padding = Padding(side=side)
    if rows.ndim < 2 or len(rows) != len(counts):
        raise LengthError(f"expected one length per row of a rectangle, got {len(counts)} for shape {rows.shape}")
    if len(counts) and not 0 <= counts.min() <= counts.max() <= rows.shape[1]:
        raise InvalidValueError(f"lengths must lie between 0 and the width {rows.shape[1]}, got {shown(counts)}")
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Ragged(rows[padding.mask(counts, rows.shape[1])], offsets)
