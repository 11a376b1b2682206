"""Chunks of index batches: cut, joined and filled up without looking at the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._indices import Indices

_BRANCHES = 1 << 20


@dataclass(slots=True)
class IndexChunk:
    """The sample indices of `count` batches of equal size, one behind the other.

    Attributes
    ----------
    indices : ndarray of intp, shape (count * size,), or slice
        Read-only to whoever receives it: it may be a part of the epoch's permutation.
    count : int
        Number of batches.
    place : int or ndarray of int
        The places of the samples in the epoch: of the first one, if they follow one another, or of each.
    real : int or None
        How many samples are no padding; None if all are.
    """

    indices: Indices
    count: int = 1
    place: Any = 0
    real: int | None = None

    def __len__(self) -> int:
        if isinstance(self.indices, slice):
            return int(self.indices.stop - self.indices.start)
        return len(self.indices)

    def array(self) -> NDArray[np.intp]:
        """Return a copy of the indices that its holder may change."""
        if isinstance(self.indices, slice):
            return np.arange(self.indices.start, self.indices.stop, dtype=np.intp)
        return np.array(self.indices)

    def places(self) -> NDArray[np.int64]:
        """Return the place of each sample in the epoch."""
        if isinstance(self.place, np.ndarray):
            return self.place
        return np.arange(self.place, self.place + len(self), dtype=np.int64)

    def cut(self, start: int, stop: int) -> IndexChunk:
        """Return samples `start` to `stop` as one batch."""
        stop = min(stop, len(self))
        place = self.place[start:stop] if isinstance(self.place, np.ndarray) else self.place + start
        if isinstance(self.indices, slice):
            first = self.indices.start
            return IndexChunk(slice(first + min(start, stop), first + stop), 1, place)
        return IndexChunk(self.indices[start:stop], 1, place)

    def rows(self, numbers: NDArray[np.intp]) -> IndexChunk:
        """Return the samples with these numbers, in any order, as one batch."""
        return IndexChunk(self.array()[numbers], 1, self.places()[numbers], self.real)


def join(chunks: Sequence[Any]) -> Any:
    """Join chunks, of one shape, into one batch."""
    if len(chunks) == 1:
        return chunks[0]
    if isinstance(chunks[0], list):
        return [join(parts) for parts in zip(*chunks, strict=True)]
    indices = np.concatenate([chunk.array() for chunk in chunks])
    return IndexChunk(indices, 1, np.concatenate([chunk.places() for chunk in chunks]))


def stacked(chunks: Sequence[Any]) -> Any:
    """Put chunks of one batch each, of one shape, into one chunk of as many batches."""
    return each_part(join(chunks), lambda part: replace(part, count=len(chunks)))


def chunk_length(chunk: Any) -> int:
    """Return the number of samples that a chunk stands for: that of the shortest part."""
    if isinstance(chunk, IndexChunk):
        return len(chunk)
    return min(map(chunk_length, chunk)) if isinstance(chunk, list) else chunk_length(chunk.sample_indices)


def chunk_extent(chunk: Any) -> int:
    """Return the number of samples in the longest part of a chunk of one batch."""
    if isinstance(chunk, IndexChunk):
        return len(chunk)
    return max(map(chunk_extent, chunk)) if isinstance(chunk, list) else chunk_extent(chunk.sample_indices)


def batch_count(chunk: Any) -> int:
    """Return the number of batches in a chunk."""
    return chunk.count if isinstance(chunk, IndexChunk) else batch_count(chunk[0])


def first_leaf(chunk: Any) -> IndexChunk:
    """Return the leaf of a chunk that tells the places of its samples in the epoch."""
    return chunk if isinstance(chunk, IndexChunk) else first_leaf(chunk[0])


def branch(chunk: Any) -> int:
    """Return a number for the choices that were made on the way to the leaf that tells the places."""
    if isinstance(chunk, IndexChunk):
        return 0
    if isinstance(chunk, list):
        return branch(chunk[0])
    return int(branch(chunk.sample_indices) * _BRANCHES + chunk.ds_index + 1) % 2**64


def real_samples(chunk: Any) -> int:
    """Return how many samples of a chunk of one batch are no padding."""
    if isinstance(chunk, IndexChunk):
        return len(chunk) if chunk.real is None else chunk.real
    return min(map(real_samples, chunk)) if isinstance(chunk, list) else real_samples(chunk.sample_indices)


def each_part(chunk: Any, change: Any) -> Any:
    """Return a chunk with every leaf changed."""
    if isinstance(chunk, IndexChunk):
        return change(chunk)
    if isinstance(chunk, list):
        return [each_part(part, change) for part in chunk]
    return chunk._replace(sample_indices=each_part(chunk.sample_indices, change))


def cut(chunk: Any, start: int, stop: int) -> Any:
    """Return samples `start` to `stop` of every part, as one batch."""
    return each_part(chunk, lambda part: part.cut(start, stop))


def trim(chunk: Any, length: int) -> Any:
    """Cut every part that is longer to its first `length` samples."""
    return each_part(chunk, lambda part: part if len(part) <= length else replace(part.cut(0, length), real=part.real))


def last_sample(chunk: Any) -> Any:
    """Return the last sample of every part."""
    return each_part(chunk, lambda part: part.cut(len(part) - 1, len(part)))


def pad(chunk: Any, last: Any, length: int) -> Any:
    """Fill every part up to `length` samples with the last sample of the epoch."""
    if isinstance(chunk, list):
        return [pad(part, sample, length) for part, sample in zip(chunk, last, strict=True)]
    if not isinstance(chunk, IndexChunk):
        return chunk._replace(sample_indices=pad(chunk.sample_indices, last.sample_indices, length))
    padding = last.rows(np.zeros(max(0, length - len(chunk)), np.intp))
    return replace(join([chunk, padding]), real=len(chunk))


def wrap(chunk: Any, beginning: Any, length: int) -> Any:
    """Fill every part up to `length` samples from the beginning of the epoch, again and again if need be."""
    if isinstance(chunk, list):
        return [wrap(part, first, length) for part, first in zip(chunk, beginning, strict=True)]
    missing = length - len(chunk)
    if missing <= 0:
        return chunk
    again = beginning.rows(np.arange(missing) % len(beginning))
    return join([chunk, again])
