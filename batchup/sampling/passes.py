"""What samplers share that draw every sample once in a pass, in an order of their own."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._numbers import whole_number
from batchup.errors import IndexRangeError, InvalidValueError
from batchup.sampling.abstract import StreamSampler, check_subset, map_positions
from batchup.sampling.order import Key, Order
from batchup.sampling.streams import PassOrder, PassStream


class PassSampler(StreamSampler):
    """A sampler with a number of repetitions, each a pass over all samples or over a subset of them.

    A subclass tells the order of the positions.
    """

    def __init__(self, samples: Any, repeats: int, subset: NDArray[np.intp] | None = None) -> None:
        self._subset_indices = subset
        self._num_positions = samples if isinstance(samples, int) else len(samples)
        self.repeats = checked_repeats(repeats, self._num_positions)
        self._prepare(samples)

    def _prepare(self, samples: Any) -> None:
        """Make ready what does not change from pass to pass."""

    @abstractmethod
    def _positions(self, order: Order, number: int) -> PassOrder:
        """Return the order of a pass."""

    def num_indices_generated(self) -> int | float:
        return math.inf if self.repeats == -1 else self._num_positions * self.repeats

    def map_indices(self, indices: Any) -> Any:
        return indices if self._subset_indices is None else map_positions(self._subset_indices, indices)

    def _check_length(self, length: int) -> bool:
        if self._subset_indices is not None:
            return check_subset(self._subset_indices, length)
        if self._num_positions > length:
            raise IndexRangeError(f"a sampler over {self._num_positions} samples needs as many, got {length}")
        return True

    def _index_stream(self, batch_size: int, order: Order) -> PassStream:
        generator = None if isinstance(order, Key) else order
        return PassStream(
            lambda number: self._positions(order, number),
            self._num_positions,
            self.repeats,
            batch_size,
            self._subset_indices,
            generator,
        )


def checked_repeats(repeats: Any, length: int) -> int:
    """Return a number of repetitions: at least 1, or -1 for endless ones over at least one sample."""
    number = whole_number(repeats, "repeats", -1)
    if number == 0:
        raise InvalidValueError("repeats must be at least 1, or -1 for endless repetition, got 0")
    if number == -1 and length == 0:
        raise InvalidValueError("no samples cannot be repeated for ever: the length is 0")
    return number
