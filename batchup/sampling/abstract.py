"""The contract of a sampler."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._indices import check_range, checked_indices, integer_array
from batchup._numbers import whole_number
from batchup._repr import Represented
from batchup.errors import UnsupportedError
from batchup.sampling.chunks import IndexChunk
from batchup.sampling.order import Key, Order, as_order
from batchup.sampling.streams import ForeignStream, IndexStream, index_batches


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

    def _check_length(self, length: int) -> bool:
        """Raise if this sampler cannot serve `length` samples; return whether its indices are known to be good."""
        return False

    @property
    def _cuttable(self) -> bool:
        """Whether the epoch is a row of indices that may be cut into batches anywhere."""
        return False

    def _num_batches_generated(
        self, batch_size: int, order: Order = None, whole_only: bool = False
    ) -> int | float | None:
        """Return the number of batches in an epoch: `numpy.inf` if it never ends, None if it is not known."""
        try:
            generated = self.num_indices_generated()
        except UnsupportedError:
            return None
        if generated == math.inf:
            return generated
        return int(generated) // batch_size if whole_only else num_batches(int(generated), batch_size)

    def _plan_structure(self) -> str:
        """Return what the order depends on in a line: the `repr`, and a checksum of the arrays."""
        if not hasattr(self, "_plan_line"):
            checksum = 0
            for array in self._plan_arrays():
                same_everywhere = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
                checksum = zlib.crc32(same_everywhere.view(np.uint8).data, checksum)
            self._plan_line = f"{self!r}#{checksum:08x}" if checksum else repr(self)
        return self._plan_line

    def _plan_arrays(self) -> list[NDArray[Any]]:
        """Return the arrays that the order depends on, as far as batchup can know them."""
        return []

    def _stream_of_pass(self, batch_size: int, order: Order) -> IndexStream:
        """Return the stream of index batches that the walk over a data source takes."""
        return self._index_stream(batch_size, order)

    def _index_stream(self, batch_size: int, order: Order) -> IndexStream:
        """Return the stream that follows from what this sampler provides."""
        defined = (
            type(self).in_order_indices_batch_iterator if order is None else type(self).shuffled_indices_batch_iterator
        )
        if defined in (
            AbstractSampler.in_order_indices_batch_iterator,
            AbstractSampler.shuffled_indices_batch_iterator,
        ):
            defined(self, batch_size, *(() if order is None else (order,)))  # raises, and says what is not defined
        if order is None:
            return ForeignStream(lambda: iter(self.in_order_indices_batch_iterator(batch_size)), _as_chunk)

        def begin() -> Iterator[Any]:
            generator = order.generator() if isinstance(order, Key) else order
            return iter(self.shuffled_indices_batch_iterator(batch_size, generator))

        return ForeignStream(begin, _as_chunk, None if isinstance(order, Key) else order)


class StreamSampler(AbstractSampler):
    """What batchup's own samplers share: both iterators follow from the stream."""

    def in_order_indices_batch_iterator(self, batch_size: int) -> Iterator[NDArray[np.intp]]:
        return self._index_arrays(batch_size, None)

    def shuffled_indices_batch_iterator(self, batch_size: int, shuffle_rng: Any) -> Iterator[NDArray[np.intp]]:
        return self._index_arrays(batch_size, as_order(shuffle_rng))

    @property
    def _cuttable(self) -> bool:
        return True

    def _stream_of_pass(self, batch_size: int, order: Order) -> IndexStream:
        iterator = "in_order_indices_batch_iterator" if order is None else "shuffled_indices_batch_iterator"
        if getattr(type(self), iterator) is not getattr(StreamSampler, iterator):
            return AbstractSampler._index_stream(self, batch_size, order)
        return self._index_stream(batch_size, order)

    def _plan_arrays(self) -> list[NDArray[Any]]:
        return [array for name, array in vars(self).items() if isinstance(array, np.ndarray) and name[0] != "_"]

    def _index_arrays(self, batch_size: int, order: Order) -> Iterator[NDArray[np.intp]]:
        stream = self._index_stream(whole_number(batch_size, "batch_size", 1), order)
        return (chunk.array() for chunk in index_batches(stream))


def _as_chunk(batch: Any) -> IndexChunk:
    return IndexChunk(integer_array(batch))


def map_positions(indices: NDArray[np.intp], positions: Any) -> Any:
    """Return the indices at positions, which may be an int, a slice or integers."""
    if isinstance(positions, slice):
        return indices[positions]
    if isinstance(positions, (int, np.integer)):
        return indices[checked_indices([positions], len(indices))[0]]
    return indices[checked_indices(positions, len(indices))]


def check_subset(indices: NDArray[np.intp], length: int) -> bool:
    """Raise unless all indices lie within `length` samples; return whether none counts from the end."""
    if len(indices) == 0:
        return True
    lowest = int(indices.min())
    check_range(lowest, int(indices.max()), length)
    return lowest >= 0
