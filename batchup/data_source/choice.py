"""Several sources in turn: each batch comes from one of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup.data_source.abstract import UNKNOWN, AbstractDataSource
from batchup.data_source.ahead import Reading
from batchup.data_source.batch_iterator import Count
from batchup.data_source.choice_batch import ChoiceBatch
from batchup.data_source.members import MemberSource
from batchup.data_source.passes import Pass
from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.sampling import num_batches
from batchup.sampling.order import Key, generator_state, raw_state, set_generator_state
from batchup.sampling.streams import Frozen, IndexStream


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
        streams = [m._one_rank(walk.member(i)) for i, m in enumerate(self._random_access_members())]
        return _InTurn(streams, self._turns(walk, {}))

    def _begin_chunk(self, chunk: ChoiceBatch, walk: Pass, urgent: bool = False) -> Reading:
        return self._random_access_members()[chunk.ds_index]._begin_chunk(
            chunk.sample_indices, walk.member(chunk.ds_index), urgent
        )

    def _expect(self, chunk: ChoiceBatch) -> bool:
        return self._random_access_members()[chunk.ds_index]._expect(chunk.sample_indices)

    def _public_indices(self, chunk: ChoiceBatch) -> ChoiceBatch:
        member = self._random_access_members()[chunk.ds_index]
        return ChoiceBatch(member._public_indices(chunk.sample_indices), chunk.ds_index)

    def _stream_batches(self, walk: Pass, keywords: Mapping[str, Any]) -> Iterator[Any]:
        members = [m._batches_of_pass(walk.member(i), keywords) for i, m in enumerate(self.datasets)]
        return _in_turn(members, self._turns(walk, keywords))

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


class Turns(Frozen):
    """Whose turn it is: round after round of all members, or one round in which each has as many turns as batches.

    Parameters
    ----------
    members : int
        Number of members.
    shares : list of int or None
        How many batches each member gives, if they are to be spread over one round.
    walk : Pass
        Tells the order.
    """

    def __init__(self, members: int, shares: list[int] | None, walk: Pass) -> None:
        self._members = members
        self._shares = shares
        self._order = walk.order
        self._before: Any = None
        self._number = -1
        self._round: NDArray[Any] = np.empty(0, np.intp)
        self._at = 0
        self._counted = 0
        self._turns_had = np.zeros(members, np.int64)

    @property
    def exhaustive(self) -> bool:
        """Whether every member gives all that it has."""
        return self._shares is not None

    def next(self) -> int | None:
        """Return the number of the next member, None at the end; draws when a round begins."""
        if self._at == len(self._round):
            if not self.exhaustive or self._number < 0:
                self._begin_round(self._number + 1)
            if self._at == len(self._round):
                return None
        turn = int(self._round[self._at])
        self._at += 1
        return turn

    def of_round(self, number: int) -> NDArray[Any]:
        """Return the members in the order of a round."""
        generator = self._order.generator(number) if isinstance(self._order, Key) else self._order
        if self._shares is None:
            turns = np.arange(self._members) if generator is None else generator.permutation(self._members)
            return np.asarray(turns)
        if generator is None:
            return _spread(self._shares).astype(np.min_scalar_type(self._members))
        turns = np.repeat(np.arange(self._members, dtype=np.min_scalar_type(self._members)), self._shares)
        generator.shuffle(turns)
        return turns

    def seek(self, number: int) -> list[int]:
        """Go behind so many turns; return how many of them each member had."""
        size = self._members if self._shares is None else max(1, sum(self._shares))
        rounds, at = (number // size, number % size) if self._shares is None else (0, min(number, size))
        if rounds != self._number:
            self._begin_round(rounds)
        if at < self._counted:
            self._counted, self._turns_had = 0, np.zeros(self._members, np.int64)
        at = min(at, len(self._round))
        self._turns_had += np.bincount(self._round[self._counted : at], minlength=self._members)
        self._at = self._counted = at
        return [rounds + int(n) for n in self._turns_had]

    def state(self, back: int) -> Any:
        """Return what `restore` needs, as JSON."""
        return [self._number, self._at - back, generator_state(self._before)]

    def restore(self, state: Any) -> None:
        """Go to where a state was taken, drawing the round again."""
        number, at, before = state
        if number < 0:
            return
        if before is not None:
            set_generator_state(self._order, before)  # type: ignore[arg-type]
        self._begin_round(number)
        self._at = at

    def _begin_round(self, number: int) -> None:
        if self._order is not None and not isinstance(self._order, Key):
            self._before = raw_state(self._order)
        self._number, self._round, self._at = number, self.of_round(number), 0
        self._counted, self._turns_had = 0, np.zeros(self._members, np.int64)


class _InTurn(IndexStream):
    """The index batches of several streams, one at a time."""

    def __init__(self, streams: list[IndexStream], turns: Turns) -> None:
        self._streams = streams
        self._turns = turns
        self._ended = False
        self.entered = all(stream.entered for stream in streams)

    def ready(self) -> int:
        return 0

    def take(self, count: int) -> ChoiceBatch | None:
        while not self._ended and (turn := self._turns.next()) is not None:
            chunk = self._streams[turn].take(1)
            if chunk is not None:
                return ChoiceBatch(chunk, turn)
            self._ended = not self._turns.exhaustive
        return None

    def seek(self, number: int) -> None:
        self._ended = False
        for stream, turns in zip(self._streams, self._turns.seek(number), strict=True):
            stream.seek(turns)

    def state(self, back: int) -> Any:
        return [self._ended, self._turns.state(back), *(stream.state(0) for stream in self._streams)]

    def restore(self, state: Any) -> None:
        self._ended, turns, *parts = state
        self._turns.restore(turns)
        for stream, part in zip(self._streams, parts, strict=True):
            stream.restore(part)

    def at(self, place: int, like: ChoiceBatch) -> ChoiceBatch:
        return ChoiceBatch(self._streams[like.ds_index].at(place, like.sample_indices), like.ds_index)


def _in_turn(members: list[Iterator[Any]], turns: Turns) -> Iterator[Any]:
    while (turn := turns.next()) is not None:
        batch = next(members[turn], None)
        if batch is not None:
            yield batch
        elif not turns.exhaustive:
            return


def _spread(shares: list[int]) -> NDArray[np.intp]:
    """Return each member's number as often as it has batches, spread evenly over the epoch."""
    most = max(shares)
    steps, members = [], []
    for member, share in enumerate(shares):
        # floor((t share + 1/4) / most) in whole numbers; at step 0 all begin
        given = (4 * np.arange(most, dtype=np.int64) * share + 1) // (4 * max(most, 1))
        grown = np.flatnonzero(np.diff(given, prepend=-1) > 0) if share else np.empty(0, np.intp)
        steps.append(grown)
        members.append(np.full(len(grown), member))
    order = np.lexsort((np.concatenate(members), np.concatenate(steps)))
    return np.concatenate(members)[order]
