"""Several sources in turn: each batch comes from one of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from batchup.data_source.abstract import AbstractDataSource
from batchup.data_source.batch_iterator import Count
from batchup.data_source.members import MemberSource
from batchup.data_source.passes import Pass
from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.sampling.order import Key
from batchup.sampling.streams import IndexStream


class ChoiceBatch(NamedTuple):
    """The indices of a batch of a `ChoiceDataSource`: samples, and the number of the member they belong to."""

    sample_indices: Any
    ds_index: int


class ChoiceDataSource(MemberSource):
    """Draw each batch from one of several sources.

    Parameters
    ----------
    datasets : list of AbstractDataSource
        The members.
    stratified : bool, default False
        If False, the members take turns (shuffled: in a new random order each round), and the epoch ends when
        one runs out. If True, and all are finite, every member gives all its batches, spread evenly over the
        epoch (shuffled: at random).

    Raises
    ------
    TypeError, ValueError
        If `datasets` is empty or holds something else.

    Examples
    --------
    >>> from batchup.data_source import ArrayDataSource
    >>> a, b = ArrayDataSource([np.arange(4)]), ArrayDataSource([np.arange(10, 12)])
    >>> [batch.tolist() for (batch,) in ChoiceDataSource([a, b], stratified=True).batch_iterator(1)]
    [[0], [10], [1], [2], [11], [3]]
    """

    def __init__(self, datasets: Sequence[AbstractDataSource], stratified: bool = False) -> None:
        super().__init__(datasets)
        self.stratified = bool(stratified)

    def num_samples(self, **kwargs: Any) -> Count:
        counts = [member.num_samples(**kwargs) for member in self.datasets]
        return sum(count for count in counts if count is not None)

    def num_batches(self, batch_size: int, keywords: Mapping[str, Any]) -> Count:
        spread = self._spread(batch_size, keywords)
        if spread is not None:
            return sum(spread)
        shares = self._shares(batch_size, keywords)
        if None in shares:
            return None
        rounds = min(shares)
        if keywords.get("shuffle") not in (None, False):
            return math.inf if rounds == math.inf else None  # who runs out first is not known before the last round
        return math.inf if rounds == math.inf else int(rounds) * len(shares) + shares.index(rounds)

    def samples_by_indices_nomapping(self, indices: Any) -> Any:
        return self._chosen(indices).samples_by_indices_nomapping(indices.sample_indices)

    def samples_by_indices(self, indices: Any) -> Any:
        return self._chosen(indices).samples_by_indices(indices.sample_indices)

    def index_batches(self, walk: Pass) -> IndexStream:
        streams = [m.index_batches(walk.member(i)) for i, m in enumerate(self._random_access_members())]
        return _InTurn(streams, self._turns(walk, {}), self._spread(walk.batch_size, {}) is not None)

    def read(self, chunk: ChoiceBatch, walk: Pass) -> Iterator[Any]:
        return self._random_access_members()[chunk.ds_index].read(chunk.sample_indices, walk)

    def public_indices(self, chunk: ChoiceBatch) -> ChoiceBatch:
        member = self._random_access_members()[chunk.ds_index]
        return ChoiceBatch(member.public_indices(chunk.sample_indices), chunk.ds_index)

    def stream_batches(self, walk: Pass, keywords: Mapping[str, Any]) -> Iterator[Any]:
        members = [m.batches(walk.member(i), keywords) for i, m in enumerate(self.datasets)]
        exhaustive = self._spread(walk.batch_size, keywords) is not None
        for turn in self._turns(walk, keywords):
            batch = next(members[turn], None)
            if batch is not None:
                yield batch
            elif not exhaustive:
                return

    def _turns(self, walk: Pass, keywords: Mapping[str, Any]) -> Iterator[int]:
        """Yield the numbers of the members whose turn it is; draws when the first one is asked for."""
        generator = walk.order.generator() if isinstance(walk.order, Key) else walk.order
        spread = self._spread(walk.batch_size, keywords)
        if spread is not None:
            yield from _stratified_turns(spread, generator)
            return
        members = range(len(self.datasets))
        while True:
            yield from members if generator is None else generator.permutation(len(members)).tolist()

    def _spread(self, batch_size: int, keywords: Mapping[str, Any]) -> list[int] | None:
        """Return how many batches each member gives, if they are to be spread over the epoch."""
        shares: list[Any] = self._shares(batch_size, keywords) if self.stratified else [None]
        return None if None in shares or math.inf in shares else [int(share) for share in shares]

    def _shares(self, batch_size: int, keywords: Mapping[str, Any]) -> list[Any]:
        return [member.num_batches(batch_size, keywords) for member in self.datasets]

    def _chosen(self, indices: Any) -> Any:
        members = self._random_access_members()
        if not isinstance(indices, ChoiceBatch):
            raise InvalidTypeError(f"the indices of a choice are a ChoiceBatch, got {type(indices).__name__}")
        if not 0 <= indices.ds_index < len(members):
            raise InvalidValueError(f"there are {len(members)} members, got ds_index {indices.ds_index}")
        return members[indices.ds_index]


class _InTurn(IndexStream):
    """The index batches of several streams, one at a time."""

    def __init__(self, streams: list[IndexStream], turns: Iterator[int], exhaustive: bool) -> None:
        self._streams = streams
        self._turns = turns
        self._exhaustive = exhaustive

    def ready(self) -> int:
        return 0

    def take(self, count: int) -> ChoiceBatch | None:
        for turn in self._turns:
            chunk = self._streams[turn].take(1)
            if chunk is not None:
                return ChoiceBatch(chunk, turn)
            if not self._exhaustive:
                break
        return None


def _stratified_turns(shares: list[int], generator: Any) -> Iterator[int]:
    """Yield each member's number as often as it has batches: spread evenly, or shuffled."""
    if generator is not None:
        turns = np.repeat(np.arange(len(shares)), shares)
        generator.shuffle(turns)
        yield from turns.tolist()
        return
    most = max(shares, default=0)
    for step in range(most):
        for member, share in enumerate(shares):
            # floor((t share + 1/4) / most) in whole numbers; at step 0 all begin
            given = (4 * step * share + 1) // (4 * most)
            if share and (step == 0 or given > (4 * (step - 1) * share + 1) // (4 * most)):
                yield member
