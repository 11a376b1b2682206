"""Sources whose samples can be read by index, in the order of a sampler."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from batchup._indices import checked_indices
from batchup._numbers import whole_number
from batchup.data_source.batch_iterator import Count
from batchup.data_source.batches import merged
from batchup.data_source.passes import Pass
from batchup.data_source.tolerance import retried
from batchup.data_source.walk import WalkedDataSource
from batchup.errors import InvalidTypeError, InvalidValueError, UnsupportedError
from batchup.sampling import AbstractSampler, StandardSampler, SubsetSampler
from batchup.sampling.chunks import IndexChunk
from batchup.sampling.order import Key
from batchup.sampling.streams import ForeignStream, IndexStream


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

    _kept_as: ClassVar[dict[str, str]] = {"length": "_source_length"}

    def __init__(
        self,
        length: int,
        indices: Any = None,
        repeats: int = 1,
        sampler: AbstractSampler | None = None,
        include_indices: bool = False,
    ) -> None:
        self._source_length = whole_number(length, "length")
        self.include_indices = bool(include_indices)
        self.sampler = _chosen_sampler(self._source_length, indices, repeats, sampler)

    @property
    def sampler(self) -> AbstractSampler:
        """Decides which samples are drawn, in what order."""
        return self._sampler

    @sampler.setter
    def sampler(self, sampler: AbstractSampler) -> None:
        self._indices_checked = sampler._check_length(self._source_length)
        self._sampler = sampler

    @property
    def is_random_access(self) -> bool:
        return True

    def num_samples(self, **kwargs: Any) -> Count:
        return self.sampler.num_indices_generated()

    def samples_by_indices_nomapping(self, indices: Any) -> Any:
        raise UnsupportedError(f"{type(self).__name__} does not define samples_by_indices_nomapping")

    def samples_by_indices(self, indices: Any) -> Any:
        return self.samples_by_indices_nomapping(self.sampler.map_indices(indices))

    def _flat_length(self) -> int:
        """Return the number of samples that there are indices for."""
        return self._source_length

    def _outsider(self) -> None:
        """Return None: batchup makes the batches itself."""
        return

    def _num_batches(self, walk: Pass, keywords: Mapping[str, Any]) -> Count:
        return self.sampler._num_batches_generated(
            walk.batch_size, walk.order, whole_only=walk.tail == "drop" and self._cuttable
        )

    @property
    def _cuttable(self) -> bool:
        return self.sampler._cuttable

    def _plan_structure(self) -> str:
        return f"{type(self).__name__}({self._source_length}, {self.sampler._plan_structure()})"

    def _index_batches(self, walk: Pass) -> IndexStream:
        if walk.indices_only or type(self).batch_indices_iterator is WalkedDataSource.batch_indices_iterator:
            return self.sampler._stream_of_pass(walk.batch_size, walk.order)

        def begin() -> Iterator[Any]:
            shuffle = walk.order.generator() if isinstance(walk.order, Key) else walk.order
            return iter(self.batch_indices_iterator(walk.batch_size, shuffle=shuffle))

        return ForeignStream(
            begin,
            lambda indices: IndexChunk(checked_indices(indices, self._source_length)),
            walk.order if walk.drawn else None,  # type: ignore[arg-type]
        )

    def _read_chunk(self, chunk: IndexChunk, walk: Pass) -> Iterator[Any]:
        walk.clock.samples += len(chunk)
        indices = self._public_indices(chunk)
        try:
            batch = self.samples_by_indices_nomapping(indices)
        except Exception as error:
            if not walk.policy.tolerant:
                raise
            parts = retried(self.samples_by_indices_nomapping, indices, error)
            batch = merged(parts, np.arange(len(indices)))
        return iter((batch,))

    def _public_indices(self, chunk: IndexChunk) -> Any:
        return chunk.array() if self._indices_checked else checked_indices(chunk.indices, self._source_length)

    def _column_lengths(self) -> tuple[int, ...]:
        return (self._source_length,)

    def _sample_bytes(self, walk: Pass) -> int | None:
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
