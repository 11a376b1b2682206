"""Every sample once per repetition: all of the data, or a subset of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._indices import check_range, integer_array
from batchup.errors import IndexRangeError, InvalidValueError
from batchup.sampling.abstract import StreamSampler, map_positions, passes
from batchup.sampling.order import Order, whole_number
from batchup.sampling.streams import Pass, PassStream


class StandardSampler(StreamSampler):
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
        self.repeats = _checked_repeats(repeats, self.length)

    def num_indices_generated(self) -> int | float:
        return math.inf if self.repeats == -1 else self.length * self.repeats

    def check_length(self, length: int) -> bool:
        if self.length > length:
            raise IndexRangeError(f"a sampler over {self.length} samples needs as many, got {length}")
        return True

    def index_stream(self, batch_size: int, order: Order) -> PassStream:
        return _pass_stream(self.length, self.repeats, batch_size, order)


class SubsetSampler(StreamSampler):
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
        self.indices = integer_array(indices).copy()
        self.repeats = _checked_repeats(repeats, self.length)

    @property
    def length(self) -> int:
        """Number of samples in the subset."""
        return len(self.indices)

    def num_indices_generated(self) -> int | float:
        return math.inf if self.repeats == -1 else self.length * self.repeats

    def map_indices(self, indices: Any) -> Any:
        return map_positions(self.indices, indices)

    def check_length(self, length: int) -> bool:
        return check_subset(self.indices, length)

    def index_stream(self, batch_size: int, order: Order) -> PassStream:
        return _pass_stream(self.length, self.repeats, batch_size, order, self.indices)


def check_subset(indices: NDArray[np.intp], length: int) -> bool:
    """Raise unless all indices lie within `length` samples; return whether none counts from the end."""
    if len(indices) == 0:
        return True
    lowest = int(indices.min())
    check_range(lowest, int(indices.max()), length)
    return lowest >= 0


def _checked_repeats(repeats: Any, length: int) -> int:
    number = whole_number(repeats, "repeats", -1)
    if number == 0:
        raise InvalidValueError("repeats must be at least 1, or -1 for endless repetition, got 0")
    if number == -1 and length == 0:
        raise InvalidValueError("no samples cannot be repeated for ever: the length is 0")
    return number


def _pass_stream(
    length: int, repeats: int, batch_size: int, order: Order, positions: NDArray[np.intp] | None = None
) -> PassStream:
    def draw(number: int) -> Pass:
        return range(length) if order is None else passes(order, number, length)

    return PassStream(draw, length, repeats, batch_size, positions)
