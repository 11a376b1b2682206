"""What sources made of other sources share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from batchup.data_source.abstract import AbstractDataSource
from batchup.data_source.batch_iterator import Count
from batchup.data_source.passes import Pass
from batchup.data_source.walk import WalkedDataSource
from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.sampling.streams import IndexChunk


class MemberSource(WalkedDataSource):
    """A source made of several others; random access if they all are."""

    def __init__(self, datasets: Sequence[AbstractDataSource]) -> None:
        for i, member in enumerate(datasets):
            if not isinstance(member, AbstractDataSource):
                raise InvalidTypeError(
                    f"the members must be data sources, number {i} is {type(member).__name__}; "
                    "coerce_data_source makes one of it"
                )
        if not datasets:
            raise InvalidValueError(f"{type(self).__name__} needs at least one member, got none")
        self.datasets = datasets

    @property
    def is_random_access(self) -> bool:
        return all(isinstance(m, WalkedDataSource) and m.is_random_access for m in self.datasets)

    def outsider(self) -> AbstractDataSource | None:
        return next((found for member in self.datasets if (found := member.outsider()) is not None), None)

    def lengths(self) -> tuple[int, ...]:
        return tuple([length for member in self._random_access_members() for length in member.lengths()])

    def sample_bytes(self, walk: Pass) -> int | None:
        sizes = [member.sample_bytes(walk) for member in self._random_access_members()]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    def _random_access_members(self) -> Sequence[WalkedDataSource]:
        self._require_random_access()
        return self.datasets  # type: ignore[return-value]


def least(counts: Sequence[Count]) -> Count:
    """Return the smallest of the counts that are known.

    >>> least([None, 7, 9])
    7
    """
    return min((count for count in counts if count is not None), default=None)


def chunk_length(chunk: Any) -> int:
    """Return the number of samples that a chunk of one batch stands for: that of the shortest part."""
    if isinstance(chunk, IndexChunk):
        return len(chunk)
    return min(map(chunk_length, chunk)) if isinstance(chunk, list) else chunk_length(chunk.sample_indices)


def trim_chunk(chunk: Any, length: int) -> Any:
    """Cut every part of a chunk of one batch to its first `length` samples."""
    if isinstance(chunk, IndexChunk):
        return chunk if len(chunk) <= length else chunk.trimmed(length)
    if isinstance(chunk, list):
        return [trim_chunk(part, length) for part in chunk]
    return chunk._replace(sample_indices=trim_chunk(chunk.sample_indices, length))
