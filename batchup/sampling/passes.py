"""What samplers share that draw every sample once in a pass, in an order of their own."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup.errors import InvalidValueError
from batchup.sampling.abstract import StreamSampler, check_subset, map_positions
from batchup.sampling.order import Key, Order, whole_number
from batchup.sampling.streams import Pass, PassStream


class PassSampler(StreamSampler):
    """A sampler with a number of repetitions, each a pass over all samples or over a subset of them.

    A subclass tells the order of the positions.
    """

    def __init__(self, samples: Any, repeats: int, subset: NDArray[np.intp] | None = None) -> None:
        self._subset = subset
        self._length = samples if isinstance(samples, int) else len(samples)
        self.repeats = checked_repeats(repeats, self._length)
        self._prepare(samples)

    def _prepare(self, samples: Any) -> None:
        """Make ready what does not change from pass to pass."""

    @abstractmethod
    def _positions(self, order: Order, number: int) -> Pass:
        """Return the order of a pass."""

    def num_indices_generated(self) -> int | float:
        return math.inf if self.repeats == -1 else self._length * self.repeats

    def map_indices(self, indices: Any) -> Any:
        return indices if self._subset is None else map_positions(self._subset, indices)

    def _check_length(self, length: int) -> bool:
        return check_subset(np.arange(self._length)[-1:] if self._subset is None else self._subset, length)

    def _index_stream(self, batch_size: int, order: Order) -> PassStream:
        generator = None if isinstance(order, Key) else order
        return PassStream(
            lambda number: self._positions(order, number),
            self._length,
            self.repeats,
            batch_size,
            self._subset,
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
