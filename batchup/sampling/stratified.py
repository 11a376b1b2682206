"""Every sample once, in batches that mirror the shares of the classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup.errors import LengthError
from batchup.sampling.classes import checked_classes, checked_subset, spread_offsets
from batchup.sampling.order import Key, Order
from batchup.sampling.passes import PassSampler


class StratifiedSampler(PassSampler):
    """Draw each sample once in every repetition, such that every batch mirrors the shares of the classes.

    Each class is spread evenly over the epoch: in any stretch of it, its number of samples is within 1 or 2 of its
    share. Which of its samples come when is random.

    Parameters
    ----------
    y : array-like of int, shape (n,)
        The class of each sample.
    indices : array-like of int, optional
        Draw from these samples only.
    repeats : int, default 1
        Number of repetitions in an epoch, -1 for endless ones.

    Raises
    ------
    TypeError, ValueError
        If `y` is not a 1-dimensional array of integers, or an index or `repeats` cannot be used.

    Examples
    --------
    >>> y = np.array([0, 0, 0, 0, 1, 1])
    >>> sampler = StratifiedSampler(y)
    >>> [y[batch].tolist() for batch in sampler.shuffled_indices_batch_iterator(3, 1)]
    [[0, 1, 0], [0, 1, 0]]
    """

    def __init__(self, y: Any, indices: Any = None, repeats: int = 1) -> None:
        self.y = checked_classes(y)
        self.indices = checked_subset(indices, len(self.y))
        super().__init__(self.y if self.indices is None else self.y[self.indices], repeats, self.indices)

    def _check_length(self, length: int) -> bool:
        if len(self.y) != length:
            raise LengthError(f"expected one class per sample, got {len(self.y)} for {length} samples")
        return True

    def _prepare(self, classes: NDArray[np.intp]) -> None:
        _, inverse, counts = np.unique(classes, return_inverse=True, return_counts=True)
        self._members = np.argsort(inverse, kind="stable")
        self._counts = counts
        ranks = np.arange(len(classes)) - np.repeat(np.cumsum(counts) - counts, counts)
        first = np.repeat(spread_offsets(len(counts)), counts)
        self._slots = np.argsort((ranks + first) / np.repeat(counts, counts), kind="stable")

    def _positions(self, order: Order, number: int) -> NDArray[np.intp]:
        if order is None:
            return self._members[self._slots]
        generator = order.generator(number) if isinstance(order, Key) else order
        starts = np.cumsum(self._counts) - self._counts
        shuffled = [start + generator.permutation(n) for start, n in zip(starts, self._counts, strict=True)]
        members: NDArray[np.intp] = self._members[np.concatenate(shuffled)] if shuffled else self._members
        return members[self._slots]
