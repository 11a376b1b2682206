"""The contract of a column of sequences of different lengths."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from batchup._indices import Indices, places
from batchup.columns.padding import Padding

if TYPE_CHECKING:
    from batchup.columns.ragged import Ragged
    from batchup.columns.rectangles import MaskColumn, PaddedColumn


class SequenceColumn(ABC):
    """Sequences, wherever they are. In an `ArrayDataSource` its batches are `Ragged`, those of `padded` rectangles."""

    __slots__ = ("_dtype", "_inner_shape")

    _dtype: np.dtype[Any]
    _inner_shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""
        return self._dtype

    @property
    def inner_shape(self) -> tuple[int, ...]:
        """Shape of an element; empty for numbers."""
        return self._inner_shape

    @property
    @abstractmethod
    def resident(self) -> bool:
        """Whether all elements are in memory."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of sequences."""

    @abstractmethod
    def lent(self, indices: Indices) -> Ragged:
        """Return the sequences at `indices`, which are in range; nobody is to write to them."""

    def gather(self, indices: Indices) -> Ragged:
        """Return the same in memory of their own."""
        return self.lent(indices).compact()

    @abstractmethod
    def lengths_at(self, indices: Indices) -> NDArray[Any]:
        """Return the lengths of the sequences at `indices`, which are in range, as integers."""

    def laid_out(self, indices: Indices, padding: Padding) -> NDArray[Any]:
        """Return the sequences at `indices`, which are in range, as the rows of a rectangle."""
        ragged = self.lent(indices)
        return ragged.laid_out(slice(0, len(ragged)), padding)

    def expect(self, indices: Indices) -> bool:
        """Have sequences fetched that will soon be read; return whether they were not in memory."""
        return False

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of elements of each sequence."""
        return self.lengths_at(slice(0, len(self))).astype(np.int64)

    def __getitem__(self, index: Any) -> Any:
        """Return one sequence, a copy, for an int; for a slice or an array of indices, `Ragged`."""
        place = places(index, len(self))
        return self._one(place) if isinstance(place, int) else self.gather(place)

    def padded(self, value: Any = 0, side: str = "right", pad_to: int = 1, to: int | None = None) -> PaddedColumn:
        """Return a column whose batches are rectangles; takes what `Ragged.pad` takes, but for `beside`.

        Examples
        --------
        >>> from batchup import ArrayDataSource, BucketSampler
        >>> from batchup.sequences import Ragged
        >>> words = Ragged(np.arange(1, 9), [0, 3, 3, 5, 8])
        >>> ds = ArrayDataSource([words.padded(), words.lengths], sampler=BucketSampler(words.lengths, max_tokens=6))
        >>> for tokens, lengths in ds.batch_iterator(batch_size=2):
        ...     print(tokens.tolist(), lengths.tolist())
        [[0, 0], [4, 5]] [0, 2]
        [[1, 2, 3], [6, 7, 8]] [3, 3]
        """
        from batchup.columns.rectangles import PaddedColumn

        return PaddedColumn(self, Padding(value, side, pad_to, to))

    def masks(self, side: str = "right", pad_to: int = 1, to: int | None = None) -> MaskColumn:
        """Return a column whose batches tell which places of the rectangles of `padded` hold an element."""
        from batchup.columns.rectangles import MaskColumn

        return MaskColumn(self, Padding(0, side, pad_to, to))

    def _one(self, index: int) -> NDArray[Any]:
        return self.gather(np.array([index])).values
