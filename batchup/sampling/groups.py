"""Batches of whole groups, and batches of sequences of like length."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._indices import integer_array
from batchup._numbers import whole_number
from batchup.errors import InvalidValueError
from batchup.sampling.abstract import StreamSampler, check_subset, map_positions
from batchup.sampling.buckets import least_padding
from batchup.sampling.classes import checked_classes, checked_subset
from batchup.sampling.listed import Listed, ListedStream
from batchup.sampling.order import Key, Order


class _ListingSampler(StreamSampler):
    """What both share: each sample once, in batches whose ends the sampler decides."""

    indices: NDArray[np.intp] | None

    def __init__(self, of_samples: NDArray[Any], indices: Any) -> None:
        self.indices = checked_subset(indices, len(of_samples))
        self._length = len(of_samples)
        self._of = of_samples if self.indices is None else of_samples[self.indices]

    @property
    def _cuttable(self) -> bool:
        return False

    def num_indices_generated(self) -> int:
        return len(self._of)

    def map_indices(self, indices: Any) -> Any:
        return indices if self.indices is None else map_positions(self.indices, indices)

    def _check_length(self, length: int) -> bool:
        if self._length != length:
            raise InvalidValueError(f"expected one entry per sample, got {self._length} for {length} samples")
        return check_subset(np.arange(0) if self.indices is None else self.indices, length)

    def _index_stream(self, batch_size: int, order: Order) -> ListedStream:
        self._check_batch_size(batch_size)

        def draw() -> Listed:
            generator = order.generator() if isinstance(order, Key) else order
            listed = self._listed(batch_size, generator)
            return listed if self.indices is None else listed._replace(indices=self.indices[listed.indices])

        return ListedStream(draw, None if isinstance(order, Key) else order)

    def _check_batch_size(self, batch_size: int) -> None:
        """Raise if there can be no such batches."""

    def _listed(self, batch_size: int, generator: Any) -> Listed:
        raise NotImplementedError


class GroupSampler(_ListingSampler):
    """Draw each sample once, groups kept whole: a batch takes groups until the next would make it too large.

    Parameters
    ----------
    groups : array-like of int, shape (n,)
        The group of each sample.
    indices : array-like of int, optional
        Draw from these samples only.

    Raises
    ------
    TypeError, ValueError
        If `groups` is not a 1-dimensional array of integers, or an index cannot be used; when batches are asked
        for, if a group is larger than a batch.

    Examples
    --------
    >>> groups = np.array([5, 5, 7, 7, 7, 9])
    >>> [groups[batch].tolist() for batch in GroupSampler(groups).in_order_indices_batch_iterator(4)]
    [[5, 5], [7, 7, 7, 9]]
    """

    def __init__(self, groups: Any, indices: Any = None) -> None:
        self.groups = checked_classes(groups, "groups")
        super().__init__(self.groups, indices)
        names, inverse, sizes = np.unique(self._of, return_inverse=True, return_counts=True)
        self._names, self._sizes = names, sizes
        self._members = np.argsort(inverse, kind="stable")

    def _check_batch_size(self, batch_size: int) -> None:
        if len(self._sizes) and self._sizes.max() > batch_size:
            largest = int(self._sizes.argmax())
            raise InvalidValueError(
                f"group {self._names[largest]} has {self._sizes[largest]} samples, more than batch_size={batch_size}"
            )

    def _num_batches_generated(self, batch_size: int, order: Order = None, whole_only: bool = False) -> int | None:
        if order is not None and not isinstance(order, Key):
            return None
        return len(self._listed(batch_size, None if order is None else order.generator()).begins)

    def _listed(self, batch_size: int, generator: Any) -> Listed:
        groups = np.arange(len(self._sizes)) if generator is None else generator.permutation(len(self._sizes))
        sizes = self._sizes[groups]
        ends = np.cumsum(sizes)
        starts = (np.cumsum(self._sizes) - self._sizes)[groups]
        rows = np.repeat(starts - (ends - sizes), sizes) + np.arange(len(self._of))
        bounds = [0]
        while bounds[-1] < len(self._of):
            fits = int(ends.searchsorted(bounds[-1] + batch_size, "right"))
            bounds.append(int(ends[fits - 1]))
        ends = np.array(bounds, np.intp)
        return Listed(self._members[rows], ends, ends[:-1])


class BucketSampler(_ListingSampler):
    """Draw each sequence once, in batches of sequences of like length.

    Sequences are sorted into buckets by length. The batches of a bucket hold as many of them as `max_tokens` allows
    for its longest one, and no more than the batch size that an iterator is asked for. What is left of a bucket, and
    makes no whole batch, goes with the next one; with `bucket_edges` it makes a short batch.

    Parameters
    ----------
    lengths : array-like of int, shape (n,)
        The length of each sequence.
    max_tokens : int, optional
        What the longest sequence of a batch, times their number, may come to.
    num_buckets : int, default 50
        Number of buckets; their edges are those with which the least is to be padded.
    bucket_edges : array-like of int, optional
        The longest length of each bucket but the last, ascending; instead of `num_buckets`.
    indices : array-like of int, optional
        Draw from these sequences only.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind, or `max_tokens` is less than the longest sequence.

    Examples
    --------
    >>> lengths = np.array([3, 9, 2, 8, 3, 9])
    >>> sampler = BucketSampler(lengths, max_tokens=18, bucket_edges=[4])
    >>> [lengths[batch].tolist() for batch in sampler.in_order_indices_batch_iterator(10)]
    [[3, 2, 3], [9, 8], [9]]
    """

    def __init__(
        self,
        lengths: Any,
        max_tokens: int | None = None,
        num_buckets: int = 50,
        bucket_edges: Any = None,
        indices: Any = None,
    ) -> None:
        self.lengths = integer_array(lengths, "lengths")
        if len(self.lengths) and self.lengths.min() < 0:
            worst = int(self.lengths.argmin())
            raise InvalidValueError(f"lengths must not be negative, got {self.lengths[worst]} for sequence {worst}")
        super().__init__(self.lengths, indices)
        self.max_tokens = None if max_tokens is None else whole_number(max_tokens, "max_tokens", 1)
        self._check_budget()
        self.num_buckets = whole_number(num_buckets, "num_buckets", 1)
        self.bucket_edges = None if bucket_edges is None else integer_array(bucket_edges, "bucket_edges")
        self._sort_into_buckets()

    def _num_batches_generated(self, batch_size: int, order: Order = None, whole_only: bool = False) -> int:
        return len(self._starts(batch_size))

    def _check_budget(self) -> None:
        if self.max_tokens is not None and len(self._of) and self._of.max() > self.max_tokens:
            longest = int(self._of.argmax())
            index = longest if self.indices is None else int(self.indices[longest])
            raise InvalidValueError(
                f"max_tokens={self.max_tokens} is less than the longest sequence: "
                f"number {index} has {self._of[longest]}; indices= may leave it out"
            )

    def _sort_into_buckets(self) -> None:
        edges = self.bucket_edges
        if edges is None:
            edges = least_padding(self._of, self.num_buckets)
        elif (np.diff(edges) <= 0).any():
            raise InvalidValueError(f"bucket_edges must ascend, got {edges.tolist()}")
        bucket = np.searchsorted(edges, self._of, "left")
        if len(edges) < 2**16:
            bucket = bucket.astype(np.uint16)  # which NumPy sorts in linear time
        self._members = np.argsort(bucket, kind="stable")
        sizes = np.bincount(bucket)
        self._sizes = sizes[sizes > 0]
        starts = np.cumsum(self._sizes) - self._sizes
        self._longest = np.maximum.reduceat(self._of[self._members], starts) if len(starts) else self._sizes

    def _rows_per_batch(self, batch_size: int) -> NDArray[np.intp]:
        rows = np.full(len(self._sizes), batch_size, np.intp)
        if self.max_tokens is not None:
            rows = np.minimum(rows, self.max_tokens // np.maximum(self._longest, 1))
        return np.maximum(rows, 1)

    def _starts(self, batch_size: int) -> NDArray[np.intp]:
        """Return where in the buckets, which lie one behind the other, batches begin."""
        starts, begin, end = [np.empty(0, np.intp)], 0, 0
        for size, rows in zip(self._sizes.tolist(), self._rows_per_batch(batch_size).tolist(), strict=True):
            end += size
            whole = np.arange(begin, end if self.bucket_edges is not None else end - rows + 1, rows)
            starts.append(whole)
            begin = end if self.bucket_edges is not None else begin + len(whole) * rows
        if begin < end:
            starts.append(np.array([begin]))
        return np.concatenate(starts)

    def _listed(self, batch_size: int, generator: Any) -> Listed:
        members, starts = self._members, self._starts(batch_size)
        if generator is not None:
            members, ends = members.copy(), np.cumsum(self._sizes)
            for start, end in zip(ends - self._sizes, ends, strict=True):
                generator.shuffle(members[start:end])
        stops = np.append(starts[1:], len(members))
        if generator is not None:
            shuffled = generator.permutation(len(starts))
            starts, stops = starts[shuffled], stops[shuffled]
        sizes = stops - starts
        return Listed(members, np.concatenate([[0], np.cumsum(sizes)]).astype(np.intp), starts)
