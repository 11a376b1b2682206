"""Batches with equally many samples of each of a few classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._numbers import whole_number
from batchup.errors import InvalidValueError, LengthError, UnsupportedError
from batchup.sampling.abstract import StreamSampler, map_positions
from batchup.sampling.chunks import IndexChunk
from batchup.sampling.classes import checked_classes, checked_subset
from batchup.sampling.order import Generator, Key, Order
from batchup.sampling.streams import IndexStream


class BalancedBatchSampler(StreamSampler):
    """Draw for every batch some classes, and from each of them equally many samples.

    Within a batch a class comes once, and a sample too if its class has enough of them. An epoch has as many whole
    batches as the samples would fill.

    Parameters
    ----------
    y : array-like of int, shape (n,)
        The class of each sample.
    classes_per_batch, samples_per_class : int
        Their product is the batch size.
    indices : array-like of int, optional
        Draw from these samples only.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind, or there are fewer classes than a batch needs; when batches are asked
        for, if the batch size is not the product.

    Examples
    --------
    >>> y = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
    >>> sampler = BalancedBatchSampler(y, classes_per_batch=2, samples_per_class=2)
    >>> [y[batch].tolist() for batch in sampler.shuffled_indices_batch_iterator(4, 1)]
    [[1, 1, 2, 2], [2, 2, 0, 0]]
    """

    def __init__(self, y: Any, classes_per_batch: int, samples_per_class: int, indices: Any = None) -> None:
        self.y = checked_classes(y)
        self.classes_per_batch = whole_number(classes_per_batch, "classes_per_batch", 1)
        self.samples_per_class = whole_number(samples_per_class, "samples_per_class", 1)
        self.indices = checked_subset(indices, len(self.y))
        names, inverse, self._sizes = np.unique(
            self.y if self.indices is None else self.y[self.indices], return_inverse=True, return_counts=True
        )
        if len(names) < self.classes_per_batch:
            raise InvalidValueError(f"a batch needs {self.classes_per_batch} classes, y has {len(names)}")
        self._members = np.argsort(inverse, kind="stable")
        self._starts = np.cumsum(self._sizes) - self._sizes

    @property
    def _cuttable(self) -> bool:
        return False

    @property
    def batch_size(self) -> int:
        """Samples in a batch."""
        return self.classes_per_batch * self.samples_per_class

    def num_indices_generated(self) -> int:
        return len(self._members) // self.batch_size * self.batch_size

    def map_indices(self, indices: Any) -> Any:
        return indices if self.indices is None else map_positions(self.indices, indices)

    def _check_length(self, length: int) -> bool:
        if len(self.y) != length:
            raise LengthError(f"expected one class per sample, got {len(self.y)} for {length} samples")
        return True

    def _index_stream(self, batch_size: int, order: Order) -> IndexStream:
        if batch_size != self.batch_size:
            raise InvalidValueError(
                f"batch_size must be classes_per_batch x samples_per_class = {self.batch_size}, got {batch_size}"
            )
        if order is None:
            raise UnsupportedError(f"In-order sampling is not supported by {type(self).__name__}; pass shuffle=")
        return _BalancedStream(self, order)

    def draw(self, generator: Generator) -> NDArray[np.intp]:
        """Return the indices of one batch."""
        classes = _some(generator, len(self._sizes), self.classes_per_batch)
        rows = [self._starts[c] + _some(generator, int(self._sizes[c]), self.samples_per_class) for c in classes]
        positions = self._members[np.concatenate(rows)]
        drawn: NDArray[np.intp] = positions if self.indices is None else self.indices[positions]
        return drawn


class _BalancedStream(IndexStream):
    """Batch after batch, each drawn by itself."""

    def __init__(self, sampler: BalancedBatchSampler, order: Order) -> None:
        self._sampler = sampler
        self._order = order
        self._count = sampler.num_indices_generated() // sampler.batch_size
        self._number = 0
        self._latest = IndexChunk(np.empty(0, np.intp))

    def ready(self) -> int:
        return 0

    def take(self, count: int) -> IndexChunk | None:
        if self._number >= self._count:
            return None
        number, self._number = self._number, self._number + 1
        self._latest = self._batch(number)
        return self._latest

    def seek(self, number: int) -> None:
        self._number = number

    def state(self, back: int) -> Any:
        return self._number - back

    def restore(self, state: Any) -> None:
        self._number = state

    def at(self, place: int, like: Any) -> IndexChunk:
        number, row = divmod(place, self._sampler.batch_size)
        chunk = self._batch(number % self._count) if isinstance(self._order, Key) else self._latest
        return chunk.cut(row, row + 1)

    def _batch(self, number: int) -> IndexChunk:
        generator: Any = self._order.generator(number) if isinstance(self._order, Key) else self._order
        return IndexChunk(self._sampler.draw(generator), 1, number * self._sampler.batch_size)


def _some(generator: Any, n: int, k: int) -> NDArray[np.intp]:
    """Return k of n numbers: different ones, as far as there are enough."""
    if n < 4 * k:
        drawn: NDArray[np.intp] = np.concatenate([generator.permutation(n) for _ in range(-(-k // n))])[:k]
        return drawn
    kept = np.empty(0, np.intp)
    while len(kept) < k:  # few of many: draw, and leave out what came before
        kept = np.concatenate([kept, (generator.random(k) * n).astype(np.intp)])
        kept = kept[np.sort(np.unique(kept, return_index=True)[1])]
    return kept[:k]
