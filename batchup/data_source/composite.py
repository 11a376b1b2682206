"""Several sources side by side: a batch of each, joined into one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from batchup.data_source.abstract import UNKNOWN, AbstractDataSource
from batchup.data_source.ahead import Reading
from batchup.data_source.batch_iterator import Count
from batchup.data_source.batches import flatten as flatten_batches
from batchup.data_source.batches import length, trim
from batchup.data_source.members import MemberSource, least
from batchup.data_source.passes import Pass
from batchup.data_source.tolerance import read_all
from batchup.data_source.walk import each_once
from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.sampling.chunks import chunk_length
from batchup.sampling.chunks import trim as cut_to
from batchup.sampling.streams import IndexStream


class CompositeDataSource(MemberSource):
    """Draw a batch from each of several sources and join them.

    The sources are shuffled independently of each other. An epoch ends when one of them ends. The composite is
    random access if all its members are; its indices are then a list with one entry per member.

    Parameters
    ----------
    datasets : list of AbstractDataSource
        The members.
    flatten : bool, default True
        Whether the members' batches are joined into one tuple (dicts: into one dict) rather than nested.
    trim : bool, default True
        Whether all are cut to the shortest.

    Raises
    ------
    TypeError, ValueError
        If `datasets` is empty or holds something else.

    Examples
    --------
    A small labelled set goes round and round beside a large unlabelled one:

    >>> import numpy as np
    >>> from batchup.data_source import ArrayDataSource
    >>> labelled = ArrayDataSource([np.arange(3), np.array([0, 1, 0])], repeats=-1)
    >>> unlabelled = ArrayDataSource([np.arange(100, 105)])
    >>> for batch in CompositeDataSource([labelled, unlabelled]).batch_iterator(2):
    ...     print(batch)
    (array([0, 1]), array([0, 1]), array([100, 101]))
    (array([2, 0]), array([0, 0]), array([102, 103]))
    (array([1]), array([1]), array([104]))
    """

    def __init__(self, datasets: Sequence[AbstractDataSource], flatten: bool = True, trim: bool = True) -> None:
        super().__init__(datasets)
        self.flatten = bool(flatten)
        self.trim = bool(trim)
        if self.flatten:
            keys = [member._batch_keys() for member in self.datasets]
            flatten_batches([dict.fromkeys(k) if k is not None else () for k in keys if k is not UNKNOWN])

    def num_samples(self, **kwargs: Any) -> Count:
        return least([member.num_samples(**kwargs) for member in self.datasets])

    def _num_batches(self, walk: Pass, keywords: Mapping[str, Any]) -> Count:
        counts = [member._num_batches(walk.member(i), keywords) for i, member in enumerate(self.datasets)]
        return None if None in counts else least(counts)

    def samples_by_indices_nomapping(self, indices: Any) -> Any:
        members = self._random_access_members()
        entries = self._entries(indices)
        return self._join([m.samples_by_indices_nomapping(i) for m, i in zip(members, entries, strict=True)])

    def samples_by_indices(self, indices: Any) -> Any:
        members = self._random_access_members()
        entries = self._entries(indices)
        return self._join([m.samples_by_indices(i) for m, i in zip(members, entries, strict=True)])

    @property
    def _cuttable(self) -> bool:
        return all(member._cuttable for member in self._random_access_members())

    def _index_batches(self, walk: Pass) -> IndexStream:
        members = self._random_access_members()
        if self._cuttable:
            return _SideBySide([m._index_batches(walk.member(i)) for i, m in enumerate(members)], self.trim)
        return _SideBySide([m._one_rank(walk.member(i)) for i, m in enumerate(members)], self.trim)

    def _begin_chunk(self, chunk: list[Any], walk: Pass, urgent: bool = False) -> Reading:
        members = enumerate(self._random_access_members())
        parts = [m._begin_chunk(part, walk.member(i), urgent) for (i, m), part in zip(members, chunk, strict=True)]
        return Reading(partial(self._joined, parts, walk.policy.tolerant), parts)

    def _joined(self, parts: list[Reading], tolerant: bool) -> Iterator[Any]:
        if tolerant:
            return iter((self._join(read_all([(part.only, None) for part in parts])),))
        return map(self._join, zip(*[part.result() for part in parts], strict=True))

    def _window(self, walk: Pass) -> int:
        members = [(m, walk.member(i)) for i, m in enumerate(self._random_access_members())]
        windows = [member._window(part) for member, part in members]
        several = [
            n or member._sample_bytes(part) is not None for n, (member, part) in zip(windows, members, strict=True)
        ]
        found = [window for window in windows if window]
        return min(found) // len(found) if found and all(several) else 0

    def _expect(self, chunk: list[Any]) -> bool:
        return True in [m._expect(part) for m, part in zip(self._random_access_members(), chunk, strict=True)]

    def _files(self, chunk: list[Any]) -> tuple[str, ...]:
        return each_once(m._files(part) for m, part in zip(self._random_access_members(), chunk, strict=True))

    def _public_indices(self, chunk: list[Any]) -> list[Any]:
        return [m._public_indices(part) for m, part in zip(self._random_access_members(), chunk, strict=True)]

    def _stream_batches(self, walk: Pass, keywords: Mapping[str, Any]) -> Iterator[Any]:
        members = [m._batches_of_pass(walk.member(i), keywords) for i, m in enumerate(self.datasets)]
        return map(self._join, zip(*members, strict=False))

    def _batch_keys(self) -> Any:
        if not self.flatten:
            return None
        keys = [member._batch_keys() for member in self.datasets]
        if UNKNOWN in keys:
            return UNKNOWN
        return None if None in keys else tuple(key for part in keys for key in part)

    def _options(self) -> str:
        return f"flatten={self.flatten}, trim={self.trim}"

    def _join(self, parts: Sequence[Any]) -> Any:
        if self.trim:
            lengths = [length(part) for part in parts]
            shortest = min(lengths)
            if max(lengths) > shortest:
                parts = [trim(part, shortest) for part in parts]
        return flatten_batches(parts) if self.flatten else tuple(parts)

    def _entries(self, indices: Any) -> Any:
        if not isinstance(indices, (list, tuple)):
            raise InvalidTypeError(
                f"the indices of a composite are a list with one entry per member, got {type(indices).__name__}"
            )
        if len(indices) != len(self.datasets):
            raise InvalidValueError(f"expected {len(self.datasets)} entries, one per member, got {len(indices)}")
        return indices


class _SideBySide(IndexStream):
    """The index batches of several streams, asked in order; ends with the first that ends."""

    def __init__(self, streams: list[IndexStream], trim: bool) -> None:
        self._streams = streams
        self._trim = trim
        self._ended = False
        self.entered = all(stream.entered for stream in streams)

    def ready(self) -> int:
        return min(stream.ready() for stream in self._streams)

    def take(self, count: int) -> list[Any] | None:
        if self._ended:
            return None
        count = max(1, min(count, self.ready()))
        chunks = []
        for stream in self._streams:
            chunk = stream.take(count)
            if chunk is None:
                self._ended = True
                return None
            chunks.append(chunk)
        if self._trim and count == 1:
            chunks = cut_to(chunks, chunk_length(chunks))
        return chunks

    def seek(self, number: int) -> None:
        self._ended = False
        for stream in self._streams:
            stream.seek(number)

    def state(self, back: int) -> Any:
        return [self._ended, *(stream.state(back) for stream in self._streams)]

    def restore(self, state: Any) -> None:
        self._ended, *parts = state
        for stream, part in zip(self._streams, parts, strict=True):
            stream.restore(part)

    def at(self, place: int, like: Any) -> list[Any]:
        return [stream.at(place, part) for stream, part in zip(self._streams, like, strict=True)]
