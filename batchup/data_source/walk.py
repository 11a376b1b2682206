"""One walk for all sources: index batches are taken, read a few at a time where that is free, and handed out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from itertools import chain
from time import perf_counter
from typing import Any

from batchup.data_source.door import OwnDataSource, check_keywords
from batchup.data_source.passes import Pass, as_pass
from batchup.errors import InvalidTypeError, LengthError, UnsupportedError
from batchup.sampling.order import Shuffle
from batchup.sampling.streams import IndexStream, index_batches

# Batches of less than SMALL bytes are read several at a time: AHEAD bytes (which stay in a core's own cache), but
# at most MOST batches, beginning with one and growing by GROWTH
SMALL = 100 * 1024
AHEAD = 256 * 1024
MOST = 256
GROWTH = 4


class WalkedDataSource(OwnDataSource):
    """A source that can be read by index, if all the sources that it is made of can."""

    def batch_indices_iterator(
        self, batch_size: int, shuffle: Shuffle = None, *, epoch: int = 0, **kwargs: Any
    ) -> Iterator[Any]:
        """Return an iterator over the sample indices of the batches that `batch_iterator` would hand out.

        Parameters
        ----------
        batch_size, shuffle, epoch
            As in `batch_iterator`.

        Returns
        -------
        iterator
            Of ndarray of intp, shape (<= batch_size,), or whatever indices this kind of source takes.

        Raises
        ------
        TypeError
            If the source is not random access, or an argument is of the wrong kind.
        """
        self._require_random_access()
        check_keywords(type(self).__name__, None, epoch, kwargs)
        stream = self.index_batches(as_pass(batch_size, shuffle, epoch))
        return map(self.public_indices, index_batches(stream))

    @abstractmethod
    def samples_by_indices_nomapping(self, indices: Any) -> Any:
        """Return the batch of samples at `indices` of the data."""

    @abstractmethod
    def samples_by_indices(self, indices: Any) -> Any:
        """Return the batch of samples at `indices` of what is sampled from: positions in the subset, if any."""

    def batches(self, walk: Pass, keywords: Mapping[str, Any]) -> Iterator[Any]:
        if self.is_random_access:
            return chain.from_iterable(self._read_chunks(self.index_batches(walk), walk))
        return self.stream_batches(walk, keywords)

    def stream_batches(self, walk: Pass, keywords: Mapping[str, Any]) -> Iterator[Any]:
        """Return the batches of a pass over a tree that is not random access."""
        raise UnsupportedError(f"{type(self).__name__} has no batches but those read by index")

    @abstractmethod
    def index_batches(self, walk: Pass) -> IndexStream:
        """Return the index batches of a pass, in chunks that `read` takes. Draws nothing."""

    @abstractmethod
    def read(self, chunk: Any, walk: Pass) -> Iterator[Any]:
        """Return the batches of a chunk; what lies in arrays is read before this returns."""

    @abstractmethod
    def public_indices(self, chunk: Any) -> Any:
        """Return the indices of a chunk that holds one batch, as users see them."""

    @abstractmethod
    def lengths(self) -> tuple[int, ...]:
        """Return the number of samples in each column of the tree, as it is now."""

    @abstractmethod
    def sample_bytes(self, walk: Pass) -> int | None:
        """Return the bytes to copy for one sample, None if samples are not to be read ahead of need."""

    def _read_chunks(self, stream: IndexStream, walk: Pass) -> Iterator[Iterator[Any]]:
        lengths = self.lengths()
        most = _batches_ahead(self.sample_bytes(walk), walk.batch_size)
        count = 1
        while (chunk := stream.take(count)) is not None:
            if self.lengths() != lengths:
                raise LengthError(
                    f"the data changed its length during an epoch: from {lengths} to {self.lengths()} samples"
                )
            begin = perf_counter()
            batches = self.read(chunk, walk)
            walk.clock.gathering += perf_counter() - begin
            yield batches
            count = min(count * GROWTH, most)

    def _require_random_access(self) -> None:
        if not self.is_random_access:
            raise InvalidTypeError(
                f"{type(self).__name__} cannot be read by index: {type(self.outsider()).__name__} is not random access"
            )


def _batches_ahead(sample_bytes: int | None, batch_size: int) -> int:
    """Return how many batches to read at once, at most."""
    if sample_bytes is None or sample_bytes * batch_size > SMALL:
        return 1
    return min(MOST, AHEAD // max(1, sample_bytes * batch_size))
