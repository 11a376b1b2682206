"""The contract of a column, and of the array-likes that users bring."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from batchup._indices import Indices, places


@runtime_checkable
class ArrayLike(Protocol):
    """What may stand in a data source: it has a length and gives samples by index.

    `__getitem__` takes a 1-D integer array and returns the samples, stacked; or, if that is all it can do, one
    int and returns one sample. An optional method ``gather(indices, out=None)`` takes precedence; it is given
    `out` only if the object also has a `dtype` and a `shape`. An optional method ``expect(indices)`` is told what
    will soon be read, and returns at once: True if that has to be fetched first.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Any: ...


def samples_at(column: Any, index: Any) -> Any:
    """Return what a column that gathers has in square brackets: one sample for an int, or several, stacked."""
    place = places(index, len(column))
    return column.gather(np.array([place]))[0] if isinstance(place, int) else column.gather(place)


class OwnColumn:
    """What is an array-like and a column at once, and stands for itself in a data source."""

    __slots__ = ()


class Column(Protocol):
    """Samples of one kind, numbered from 0, read in whole batches.

    Attributes
    ----------
    sample_shape : tuple of int or None
        Shape of one sample; None if it is not known before it is read.
    dtype : numpy.dtype or None
        Type of the elements; None if it is not known before it is read.
    takes_out : bool
        Whether `gather` is faster into a buffer that it is given.
    cheap : bool
        Whether samples may be read ahead of need, since a read is a mere copy of memory.
    resident : bool
        Whether all samples are in memory and stay as they are, so that a read waits for nobody, nor for a disk.
    views : bool
        Whether any slice can be viewed without a copy.
    window : int
        For how many bytes of samples `gather` is best called at once, because samples lie among others that have to
        be read with them; 0 if it is as good to read batch by batch.
    """

    @property
    def sample_shape(self) -> tuple[int, ...] | None: ...
    @property
    def dtype(self) -> np.dtype[Any] | None: ...
    @property
    def takes_out(self) -> bool: ...
    @property
    def cheap(self) -> bool: ...
    @property
    def resident(self) -> bool: ...
    @property
    def views(self) -> bool: ...
    @property
    def window(self) -> int: ...

    def __len__(self) -> int:
        """Return the number of samples, as it is now."""

    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> Any:
        """Return the samples at `indices`, stacked, in memory that the column does not refer to.

        Parameters
        ----------
        indices : ndarray of intp, shape (n,), or slice
            Checked: C-contiguous and within 0 .. len - 1, in any order, repeated at will. A slice has step 1.
        out : ndarray, shape (n, *sample_shape), optional
            Where to write; of exactly this shape and `dtype`, C-contiguous. Only if `takes_out`.
        """

    def view(self, indices: slice) -> Any:
        """Return the samples of a slice without a copy, read-only, where that is possible."""

    def expect(self, indices: Indices) -> bool:
        """Take note that the samples at `indices` will soon be read; never wait.

        Returns
        -------
        bool
            Whether they have to be fetched first, so that what comes behind them should be told in good time, too.
        """
