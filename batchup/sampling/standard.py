"""Every sample once per repetition: all of the data, or a subset of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._indices import integer_array
from batchup._numbers import whole_number
from batchup.sampling.classes import frozen
from batchup.sampling.order import Key, Order
from batchup.sampling.passes import PassSampler
from batchup.sampling.permutation import seeded_permutation
from batchup.sampling.streams import PassOrder


class _UniformSampler(PassSampler):
    """A sampler that draws every order equally often."""

    def _positions(self, order: Order, number: int) -> PassOrder:
        if order is None:
            return range(self._num_positions)
        if isinstance(order, Key):
            return seeded_permutation(self._num_positions, order, number)
        permutation: NDArray[np.intp] = order.permutation(self._num_positions)
        return permutation


class StandardSampler(_UniformSampler):
    """Draw each of `length` samples once in every repetition.

    Batches run over the seam between repetitions; the last batch of all is short if need be.

    Parameters
    ----------
    length : int
        Number of samples.
    repeats : int, default 1
        Number of repetitions in an epoch, -1 for endless ones.

    Raises
    ------
    ValueError
        If `repeats` is 0 or less than -1, or -1 over no samples.

    Examples
    --------
    >>> sampler = StandardSampler(5, repeats=2)
    >>> list(sampler.in_order_indices_batch_iterator(4))
    [array([0, 1, 2, 3]), array([4, 0, 1, 2]), array([3, 4])]
    """

    def __init__(self, length: int, repeats: int = 1) -> None:
        self.length = whole_number(length, "length")
        super().__init__(self.length, repeats)


class SubsetSampler(_UniformSampler):
    """Draw each sample of a subset once in every repetition.

    Parameters
    ----------
    indices : array-like of int, shape (n,)
        The indices of the samples; copied.
    repeats : int, default 1
        Number of repetitions in an epoch, -1 for endless ones.

    Raises
    ------
    TypeError, ValueError
        If `indices` are not 1-dimensional integers, `repeats` is 0 or less than -1, or -1 over no samples.

    Examples
    --------
    >>> sampler = SubsetSampler([7, 5, 3])
    >>> list(sampler.in_order_indices_batch_iterator(2))
    [array([7, 5]), array([3])]
    """

    def __init__(self, indices: Any, repeats: int = 1) -> None:
        self.indices = frozen(integer_array(indices))
        super().__init__(self.indices, repeats, self.indices)

    @property
    def length(self) -> int:
        """Number of samples in the subset."""
        return len(self.indices)
