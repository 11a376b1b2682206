"""Sources whose samples can be read by index, in the order of a sampler."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from batchup._indices import checked_indices
from batchup.data_source.batch_iterator import Count
from batchup.data_source.passes import Pass
from batchup.data_source.walk import WalkedDataSource
from batchup.errors import InvalidTypeError, InvalidValueError, UnsupportedError
from batchup.sampling import AbstractSampler, StandardSampler, SubsetSampler, num_batches
from batchup.sampling.order import whole_number
from batchup.sampling.streams import IndexChunk, IndexStream


class RandomAccessDataSource(WalkedDataSource):
    """A source of samples that can be read by index.

    To make one of your own, provide `samples_by_indices_nomapping`.

    Parameters
    ----------
    length : int
        Number of samples.
    indices : array-like of int, optional
        Draw from these samples only.
    repeats : int, default 1
        Number of repetitions in an epoch, -1 for endless ones.
    sampler : AbstractSampler, optional
        Decides what is drawn, in place of `indices` and `repeats`.
    include_indices : bool, default False
        Whether the sample indices come first in every batch (in a dict: under ``'index'``).

    Raises
    ------
    ValueError
        If a sampler is given together with `indices` or `repeats`, `repeats` is 0 or less than -1, or an index
        or a number of weights does not fit `length`.
    """

    def __init__(
        self,
        length: int,
        indices: Any = None,
        repeats: int = 1,
        sampler: AbstractSampler | None = None,
        include_indices: bool = False,
    ) -> None:
        self.length = whole_number(length, "length")
        self.include_indices = bool(include_indices)
        self.sampler = _chosen_sampler(self.length, indices, repeats, sampler)
        self._checked = self.sampler.check_length(self.length)

    @property
    def is_random_access(self) -> bool:
        return True

    def num_samples(self, **kwargs: Any) -> Count:
        return self.sampler.num_indices_generated()

    def samples_by_indices_nomapping(self, indices: Any) -> Any:
        raise UnsupportedError(f"{type(self).__name__} does not define samples_by_indices_nomapping")

    def samples_by_indices(self, indices: Any) -> Any:
        return self.samples_by_indices_nomapping(self.sampler.map_indices(indices))

    def outsider(self) -> None:
        """Return None: batchup makes the batches itself."""
        return

    def num_batches(self, batch_size: int, keywords: Mapping[str, Any]) -> Count:
        samples = self.sampler.num_indices_generated()
        return samples if math.isinf(samples) else num_batches(int(samples), batch_size)

    def index_batches(self, walk: Pass) -> IndexStream:
        return self.sampler.index_stream(walk.batch_size, walk.order)

    def read(self, chunk: IndexChunk, walk: Pass) -> Iterator[Any]:
        walk.clock.samples += len(chunk)
        return iter((self.samples_by_indices_nomapping(self.public_indices(chunk)),))

    def public_indices(self, chunk: IndexChunk) -> Any:
        return chunk.array() if self._checked else checked_indices(chunk.indices, self.length)

    def lengths(self) -> tuple[int, ...]:
        return (self.length,)

    def sample_bytes(self, walk: Pass) -> int | None:
        return None


def _chosen_sampler(length: int, indices: Any, repeats: int, sampler: Any) -> AbstractSampler:
    if sampler is None:
        if indices is None:
            return StandardSampler(length, repeats)
        return SubsetSampler(checked_indices(indices, length), repeats)
    if indices is not None or repeats != 1:
        given = "indices" if indices is not None else "repeats"
        raise InvalidValueError(f"a sampler decides what is drawn: give either sampler or {given}, not both")
    if not isinstance(sampler, AbstractSampler):
        raise InvalidTypeError(f"sampler must be an AbstractSampler, got {type(sampler).__name__}")
    return sampler
