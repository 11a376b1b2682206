"""The contract of a sampler."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._indices import checked_indices, integer_array
from batchup._repr import Represented
from batchup.errors import UnsupportedError
from batchup.sampling.order import Generator, Key, Order, as_order, whole_number
from batchup.sampling.streams import ForeignStream, IndexChunk, IndexStream, index_batches


def num_batches(n: int, batch_size: int) -> int:
    """Return how many batches `n` samples make, the last one short if need be.

    >>> num_batches(10, 4)
    3
    """
    return -(-n // batch_size)


class AbstractSampler(Represented):
    """Decides which samples are drawn, and in what order.

    A sampler of your own provides the four methods `num_indices_generated`, `map_indices` (if it samples from a
    subset), `in_order_indices_batch_iterator` and `shuffled_indices_batch_iterator`. Its index batches are
    checked when they are used.
    """

    def num_indices_generated(self) -> int | float:
        """Return the number of indices in one epoch, `numpy.inf` if it never ends."""
        raise UnsupportedError(f"{type(self).__name__} does not tell how many indices it generates")

    def map_indices(self, indices: Any) -> Any:
        """Return the sample indices at positions in what this sampler samples from."""
        return indices

    def in_order_indices_batch_iterator(self, batch_size: int) -> Iterator[NDArray[np.intp]]:
        """Return an iterator over the index batches of one epoch, in the order of the data.

        Parameters
        ----------
        batch_size : int
            Indices in a batch; the last one may be short.

        Returns
        -------
        iterator of ndarray of intp, shape (<= batch_size,)
        """
        raise UnsupportedError(f"In-order sampling is not supported by {type(self).__name__}; pass shuffle=")

    def shuffled_indices_batch_iterator(self, batch_size: int, shuffle_rng: Any) -> Iterator[NDArray[np.intp]]:
        """Return an iterator over the index batches of one epoch, in random order.

        Parameters
        ----------
        batch_size : int
            Indices in a batch; the last one may be short.
        shuffle_rng : RandomState, Generator, int or True
            Where the order comes from; an int is a seed, True is NumPy's global generator.

        Returns
        -------
        iterator of ndarray of intp, shape (<= batch_size,)
        """
        raise UnsupportedError(f"Shuffled sampling is not supported by {type(self).__name__}")

    def check_length(self, length: int) -> bool:
        """Raise if this sampler cannot serve `length` samples; return whether its indices are known to be good."""
        return False

    def index_stream(self, batch_size: int, order: Order) -> IndexStream:
        """Return the stream of index batches that the walk over a data source takes."""
        if order is None:
            batches = self.in_order_indices_batch_iterator(batch_size)
        else:
            generator = order.generator() if isinstance(order, Key) else order
            batches = self.shuffled_indices_batch_iterator(batch_size, generator)
        return ForeignStream(iter(batches), lambda batch: IndexChunk(integer_array(batch)))


class StreamSampler(AbstractSampler):
    """What batchup's own samplers share: both iterators follow from `index_stream`."""

    def in_order_indices_batch_iterator(self, batch_size: int) -> Iterator[NDArray[np.intp]]:
        return self._index_arrays(batch_size, None)

    def shuffled_indices_batch_iterator(self, batch_size: int, shuffle_rng: Any) -> Iterator[NDArray[np.intp]]:
        return self._index_arrays(batch_size, as_order(shuffle_rng))

    def _index_arrays(self, batch_size: int, order: Order) -> Iterator[NDArray[np.intp]]:
        stream = self.index_stream(whole_number(batch_size, "batch_size", 1), order)
        return (chunk.array() for chunk in index_batches(stream))


def map_positions(indices: NDArray[np.intp], positions: Any) -> Any:
    """Return the indices at positions, which may be an int, a slice or integers."""
    if isinstance(positions, (int, np.integer, slice)):
        return indices[positions]
    return indices[checked_indices(positions, len(indices))]


def passes(order: Generator | Key, number: int, length: int) -> NDArray[np.intp]:
    """Return the permutation of a pass."""
    generator = order.generator(number) if isinstance(order, Key) else order
    permutation: NDArray[np.intp] = generator.permutation(length)
    return permutation
