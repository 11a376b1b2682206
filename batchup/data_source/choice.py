"""Several sources in turn: each batch comes from one of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from batchup.data_source.abstract import UNKNOWN, AbstractDataSource
from batchup.data_source.ahead import Reading
from batchup.data_source.batch_iterator import Count
from batchup.data_source.choice_batch import ChoiceBatch
from batchup.data_source.members import MemberSource
from batchup.data_source.passes import Pass
from batchup.data_source.turns import InTurn, Turns, in_turn
from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.sampling import num_batches
from batchup.sampling.streams import IndexStream


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

    def _num_batches(self, walk: Pass, keywords: Mapping[str, Any]) -> Count:
        shares = self._shares(walk, keywords)
        if None in shares:
            return None
        if self.stratified and math.inf not in shares:
            return int(sum(shares))
        rounds = min(shares)
        if rounds == math.inf:
            return math.inf
        if walk.order is None:
            return int(rounds) * len(shares) + shares.index(rounds)
        if walk.drawn:
            return None  # who runs out first is known when the last round is drawn
        last = Turns(len(shares), None, walk).of_round(int(rounds))
        return int(rounds) * len(shares) + next(i for i, turn in enumerate(last) if shares[turn] == rounds)

    def samples_by_indices_nomapping(self, indices: Any) -> Any:
        return self._chosen(indices).samples_by_indices_nomapping(indices.sample_indices)

    def samples_by_indices(self, indices: Any) -> Any:
        return self._chosen(indices).samples_by_indices(indices.sample_indices)

    @property
    def _cuttable(self) -> bool:
        return False

    def _index_batches(self, walk: Pass) -> IndexStream:
        def begin(number: int) -> IndexStream:
            return self._member(number)._one_rank(walk.member(number))

        return InTurn(self._turns(walk, {}), begin, {number: begin(number) for number in self._kinds()})

    def _begin_chunk(self, chunk: ChoiceBatch, walk: Pass, urgent: bool = False) -> Reading:
        number = chunk.ds_index
        return self._member(number)._begin_chunk(chunk.sample_indices, walk.member(number), urgent)

    def _expect(self, chunk: ChoiceBatch) -> bool:
        return self._member(chunk.ds_index)._expect(chunk.sample_indices)

    def _files(self, chunk: ChoiceBatch) -> tuple[str, ...]:
        return self._member(chunk.ds_index)._files(chunk.sample_indices)

    def _public_indices(self, chunk: ChoiceBatch) -> ChoiceBatch:
        indices = self._member(chunk.ds_index)._public_indices(chunk.sample_indices)
        return ChoiceBatch(indices, chunk.ds_index)

    def _stream_batches(self, walk: Pass, keywords: Mapping[str, Any]) -> Iterator[Any]:
        members = [m._batches_of_pass(walk.member(i), keywords) for i, m in enumerate(self.datasets)]
        return in_turn(members, self._turns(walk, keywords))

    def _turns(self, walk: Pass, keywords: Mapping[str, Any]) -> Turns:
        shares = self._shares(walk, keywords) if self.stratified else [None]
        for i, member in enumerate(self.datasets):
            if self.stratified and shares[i] is None:
                samples = member.num_samples(**keywords)  # who knows better how many batches that makes?
                shares[i] = samples if samples in (None, math.inf) else num_batches(int(samples), walk.batch_size)
        finite = None not in shares and math.inf not in shares
        return Turns(len(self.datasets), [int(share or 0) for share in shares] if finite else None, walk)

    def _shares(self, walk: Pass, keywords: Mapping[str, Any]) -> list[Any]:
        return [member._num_batches(walk.member(i), keywords) for i, member in enumerate(self.datasets)]

    def _batch_keys(self) -> Any:
        keys = {member._batch_keys() for member in self.datasets}
        return keys.pop() if len(keys) == 1 else UNKNOWN

    def _options(self) -> str:
        return f"stratified={self.stratified}"

    def _chosen(self, indices: Any) -> Any:
        members = self._random_access_members()
        if not isinstance(indices, ChoiceBatch):
            raise InvalidTypeError(f"the indices of a choice are a ChoiceBatch, got {type(indices).__name__}")
        if not 0 <= indices.ds_index < len(members):
            raise InvalidValueError(f"there are {len(members)} members, got ds_index {indices.ds_index}")
        return members[indices.ds_index]
