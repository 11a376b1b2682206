"""Whose turn it is among several streams, and the index batches of those whose turn it is."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup.data_source.choice_batch import ChoiceBatch
from batchup.data_source.passes import Pass
from batchup.sampling.order import Key, generator_state, raw_state, set_generator_state
from batchup.sampling.streams import Frozen, IndexStream


class Turns(Frozen):
    """Whose turn it is: round after round of all members, or one round in which each has as many turns as batches.

    Parameters
    ----------
    members : int
        Number of members.
    shares : sequence of int or None
        How many batches each member gives, if they are to be spread over one round.
    walk : Pass
        Tells the order.
    """

    def __init__(self, members: int, shares: Sequence[int] | NDArray[np.int64] | None, walk: Pass) -> None:
        self._members = members
        self._shares = None if shares is None else np.asarray(shares, np.int64)
        self._size = members if self._shares is None else max(1, int(self._shares.sum()))
        self._order = walk.order
        self._before: Any = None
        self._number = -1
        self._round: NDArray[Any] = np.empty(0, np.intp)
        self._at = 0
        self._had = np.zeros(members, np.int64)

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
        self._had[turn] += 1
        return turn

    def had(self, member: int) -> int:
        """Return how many turns a member has had."""
        return int(self._had[member])

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

    def seek(self, number: int) -> None:
        """Go behind so many turns."""
        rounds, at = divmod(number, self._size) if self._shares is None else (0, number)
        if rounds != self._number:
            self._begin_round(rounds)
        self._go(min(at, len(self._round)))

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
        self._go(at)

    def frozen(self) -> Turns:
        twin = copy.copy(self)
        twin._had = self._had.copy()
        return twin

    def _begin_round(self, number: int) -> None:
        if self._order is not None and not isinstance(self._order, Key):
            self._before = raw_state(self._order)
        self._number, self._round, self._at = number, self.of_round(number), 0
        self._had = np.full(self._members, number, np.int64)

    def _go(self, at: int) -> None:
        """Go to a place of the round; what lies between is counted, and nothing else."""
        if at < self._at:
            self._at, self._had = 0, np.full(self._members, self._number, np.int64)
        np.add.at(self._had, self._round[self._at : at], 1)
        self._at = at


class InTurn(IndexStream):
    """The index batches of several streams, one at a time.

    A stream goes to its place when its turn comes, so that no step is the more work the more streams there are.

    Parameters
    ----------
    turns : Turns
        Whose turn it is.
    begin : callable
        ``begin(number)`` returns the stream of a member, at its beginning.
    streams : mapping of int to IndexStream
        Those that have been begun: one of each kind.
    """

    def __init__(self, turns: Turns, begin: Callable[[int], IndexStream], streams: Mapping[int, IndexStream]) -> None:
        self._turns = turns
        self._begin = begin
        self._streams = dict(streams)
        self._places: dict[int, int] = {}  # where they stand
        self._shared = False
        self._ended = False
        self.entered = all(stream.entered for stream in self._streams.values())

    def ready(self) -> int:
        return 0

    def take(self, count: int) -> ChoiceBatch | None:
        while not self._ended and (turn := self._turns.next()) is not None:
            chunk = self._to_take_from(turn).take(1)
            if chunk is not None:
                return ChoiceBatch(chunk, turn)
            self._ended = not self._turns.exhaustive
        return None

    def seek(self, number: int) -> None:
        self._ended = False
        self._turns.seek(number)

    def state(self, back: int) -> Any:
        streams = (self._stream(number).state(0) for number in range(self._turns._members))
        return [self._ended, self._turns.state(back), *streams]

    def restore(self, state: Any) -> None:
        self._ended, turns, *parts = state
        self._turns.restore(turns)
        for number, part in enumerate(parts):
            self._stream(number).restore(part)
            self._places[number] = self._turns.had(number)

    def at(self, place: int, like: ChoiceBatch) -> ChoiceBatch:
        return ChoiceBatch(self._stream(like.ds_index).at(place, like.sample_indices), like.ds_index)

    def frozen(self) -> InTurn:
        self._shared = True
        twin = copy.copy(self)
        twin._turns = self._turns.frozen()
        twin._streams, twin._places = dict(self._streams), dict(self._places)
        return twin

    def _stream(self, number: int) -> IndexStream:
        if number not in self._streams:
            self._streams[number] = self._begin(number)
        return self._streams[number]

    def _to_take_from(self, number: int) -> IndexStream:
        """Return the stream whose turn it is, at its place; not one that a twin has, which stays where it is."""
        stream = self._stream(number)
        if self._shared:
            stream = self._streams[number] = stream.frozen()
        place = self._turns.had(number) - 1
        if self._places.get(number, 0) != place:
            stream.seek(place)
        self._places[number] = place + 1
        return stream


def in_turn(members: list[Iterator[Any]], turns: Turns) -> Iterator[Any]:
    """Yield the batches of those whose turn it is."""
    while (turn := turns.next()) is not None:
        batch = next(members[turn], None)
        if batch is not None:
            yield batch
        elif not turns.exhaustive:
            return


def _spread(shares: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return each member's number as often as it has batches, spread evenly over the epoch."""
    members = np.repeat(np.arange(len(shares)), shares)
    share, most = shares[members], shares.max()
    number = np.arange(len(members)) - (np.cumsum(shares) - shares)[members]
    # the first step t at which floor((t share + 1/4) / most) is the number of the batch, in whole numbers
    steps = -((1 - 4 * most * number) // (4 * share))
    order: NDArray[np.intp] = members[np.argsort(steps, kind="stable")]
    return order
