"""Samples drawn by weight, with replacement, for ever; weights that balance classes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._indices import integer_array
from batchup.errors import LengthError, UnsupportedError
from batchup.sampling.abstract import StreamSampler, check_subset, map_positions
from batchup.sampling.classes import counted_classes, frozen
from batchup.sampling.order import Key, Order
from batchup.sampling.streams import DrawStream, IndexStream
from batchup.sampling.weight_table import WeightTable, checked_weights


class _TableSampler(StreamSampler):
    """What both weighted samplers share: endless draws from a table that is built once."""

    def __init__(self, weights: Any) -> None:
        given = checked_weights(weights)
        self._table = WeightTable(given / given.sum())

    @property
    def length(self) -> int:
        """Number of samples that are drawn from."""
        return len(self._table)

    def num_indices_generated(self) -> float:
        """Return `numpy.inf`: draws never end."""
        return math.inf

    def _plan_arrays(self) -> list[NDArray[Any]]:
        return [*super()._plan_arrays(), self._table.cumulative]

    def _index_stream(self, batch_size: int, order: Order) -> IndexStream:
        if order is None:
            raise UnsupportedError(f"In-order sampling is not supported by {type(self).__name__}; pass shuffle=")
        if isinstance(order, Key):
            return DrawStream(self._pick, batch_size, enter=order.draws)
        return DrawStream(self._pick, batch_size, order)

    def _pick(self, uniform: NDArray[np.float64]) -> NDArray[np.intp]:
        return self._table.pick(uniform)


class WeightedSampler(_TableSampler):
    """Draw samples with replacement, each as often as its weight says.

    The draws are those of ``rng.choice(n, size=batch_size, p=weights / weights.sum())``, batch after batch.
    They never end, and there is no order but a shuffled one.

    Parameters
    ----------
    weights : array-like of float, shape (n,)
        One per sample, not negative, of any sum but 0.

    Raises
    ------
    ValueError
        If a weight is negative, NaN or infinite, or all are 0.

    Examples
    --------
    >>> sampler = WeightedSampler([0.0, 1.0, 3.0])
    >>> next(sampler.shuffled_indices_batch_iterator(6, np.random.RandomState(1)))
    array([2, 2, 1, 2, 1, 1])
    """

    def __init__(self, weights: Any) -> None:
        super().__init__(weights)

    @property
    def weights(self) -> NDArray[Any]:
        """The weights, scaled to a sum of 1."""
        return self._table.probabilities

    def _check_length(self, length: int) -> bool:
        if self.length != length:
            raise LengthError(f"expected one weight per sample, got {self.length} for {length} samples")
        return True

    @staticmethod
    def class_balancing_sample_weights(y: Any, n_classes: int | None = None) -> NDArray[np.float64]:
        """Return a weight per sample such that all classes are drawn equally often.

        Parameters
        ----------
        y : array-like of int, shape (n,)
            The class of each sample, from 0.
        n_classes : int, optional
            Number of classes; not needed, but a class beyond it is an error.

        Returns
        -------
        ndarray of float64, shape (n,)
            1 / (samples of the class x classes that occur), which sums to 1.

        Examples
        --------
        >>> WeightedSampler.class_balancing_sample_weights([0, 0, 2]).tolist()
        [0.25, 0.25, 0.5]
        """
        classes = counted_classes(y, n_classes)
        counts = np.bincount(classes)
        per_class = 1.0 / (np.maximum(counts, 1) * np.count_nonzero(counts))
        return per_class[classes]

    @classmethod
    def class_balancing_sampler(cls, y: Any, n_classes: int | None = None) -> WeightedSampler:
        """Return a sampler that draws all classes equally often; see `class_balancing_sample_weights`."""
        return cls(cls.class_balancing_sample_weights(y, n_classes))


class WeightedSubsetSampler(_TableSampler):
    """Draw samples of a subset with replacement, each as often as its weight says.

    Parameters
    ----------
    sub_weights : array-like of float, shape (n,)
        One per sample of the subset.
    indices : array-like of int, shape (n,)
        The indices of the samples in the subset; copied.

    Raises
    ------
    ValueError
        If the lengths differ, a weight is negative, NaN or infinite, or all are 0.

    Examples
    --------
    >>> sampler = WeightedSubsetSampler(sub_weights=[1.0, 3.0], indices=[10, 20])
    >>> next(sampler.shuffled_indices_batch_iterator(6, np.random.RandomState(1)))
    array([20, 20, 10, 20, 10, 10])
    """

    def __init__(self, sub_weights: Any, indices: Any) -> None:
        self.indices = frozen(integer_array(indices))
        super().__init__(sub_weights)
        if self.length != len(self.indices):
            raise LengthError(
                f"sub_weights and indices must be equally long, got {self.length} and {len(self.indices)}"
            )

    @property
    def sub_weights(self) -> NDArray[Any]:
        """The weights, scaled to a sum of 1."""
        return self._table.probabilities

    def map_indices(self, indices: Any) -> Any:
        return map_positions(self.indices, indices)

    def _check_length(self, length: int) -> bool:
        return check_subset(self.indices, length)

    def _pick(self, uniform: NDArray[np.float64]) -> NDArray[np.intp]:
        picked: NDArray[np.intp] = self.indices[self._table.pick(uniform)]
        return picked

    @classmethod
    def class_balancing_sampler(cls, y: Any, indices: Any, n_classes: int | None = None) -> WeightedSubsetSampler:
        """Return a sampler that draws all classes of the subset equally often.

        Parameters
        ----------
        y : array-like of int
            The class of each sample of the whole data.
        indices : array-like of int
            The samples of the subset.
        n_classes : int, optional
            Number of classes; not needed, but a class beyond it is an error.
        """
        sub_y = map_positions(np.asarray(y), indices)
        return cls(WeightedSampler.class_balancing_sample_weights(sub_y, n_classes), indices)
