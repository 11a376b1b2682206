"""What a rank gets of the batches of a pass, and what becomes of the last ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from batchup.data_source.passes import Pass
from batchup.data_source.states import chunk_from_state, chunk_state
from batchup.sampling.chunks import (
    batch_count,
    chunk_extent,
    chunk_length,
    cut,
    first_leaf,
    join,
    last_sample,
    pad,
    stacked,
    wrap,
)
from batchup.sampling.streams import IndexStream


class TailStream(IndexStream):
    """A stream whose last batch is dropped, or filled up.

    Parameters
    ----------
    begin : callable
        Returns the stream, at its beginning.
    walk : Pass
        Tells the batch size and the tail.
    """

    def __init__(self, begin: Callable[[], IndexStream], walk: Pass) -> None:
        self._begin = begin
        self._walk = walk
        self._stream = begin()
        self.entered = self._stream.entered
        self._first: Any = None
        self._at_start = True

    def ready(self) -> int:
        return self._stream.ready()

    def take(self, count: int) -> Any:
        chunk = self._stream.take(count)
        if chunk is None:
            return None
        if self._at_start:
            self._first = cut(chunk, 0, self._walk.batch_size) if self._walk.tail == "wrap" else None
            self._at_start = False
        if chunk_length(chunk) == batch_count(chunk) * self._walk.batch_size:
            return chunk
        return finish(chunk, self._walk, self._beginning)

    def _beginning(self) -> Any:
        if self._first is None:
            self._first = self._begin().take(1)
        return self._first

    def seek(self, number: int) -> None:
        self._stream.seek(number)
        self._at_start = number == 0

    def state(self, back: int) -> Any:
        return [self._stream.state(back), None if self._first is None else chunk_state(self._first)]

    def restore(self, state: Any) -> None:
        inner, first = state
        self._stream.restore(inner)
        self._at_start = first is None and self._walk.tail == "wrap"
        self._first = None if first is None else chunk_from_state(first)

    def at(self, place: int, like: Any) -> Any:
        return self._stream.at(place, like)


class ShardStream(IndexStream):
    """The batches of one rank: in every step of the world each rank gets one.

    Parameters
    ----------
    begin : callable
        Returns the one-rank stream, at its beginning.
    walk : Pass
        Tells the batch size, the tail, the rank and the world size.
    whole_batches : int, float or None
        How many whole batches the stream is known to begin with, if it can be entered anywhere.
    cuttable : bool
        Whether what is left for the last step may be joined and dealt out evenly.
    """

    def __init__(
        self, begin: Callable[[], IndexStream], walk: Pass, whole_batches: float | None, cuttable: bool
    ) -> None:
        self._begin = begin
        self._walk = walk
        self._stream = begin()
        self.entered = self._stream.entered
        self._steps_known = whole_batches if self._stream.entered else None
        if self._steps_known is not None and self._steps_known != math.inf:
            self._steps_known //= walk.world_size
        self._cuttable = cuttable
        self._step = 0
        self._over = False
        self._first: list[Any] | None = None

    def ready(self) -> int:
        return 0

    def take(self, count: int) -> Any:
        walk = self._walk
        if self._over:
            return None
        step = self._step
        if self._steps_known is not None and step < self._steps_known:
            return self._take_own(min(count, self._steps_known - step) if self._cuttable else 1)
        self._step += 1
        if self._steps_known is not None:
            self._stream.seek(step * walk.world_size)
        batches = self._take_step(self._stream)
        if self._first is None and walk.tail == "wrap" and step == 0:
            self._first = batches
        whole = not self._cuttable or all(chunk_length(batch) == walk.batch_size for batch in batches)
        if len(batches) == walk.world_size and whole:
            return batches[walk.rank]
        self._over = True
        if not batches or walk.tail == "drop":
            return None
        return self._deal(batches) if self._cuttable else self._hand_round(batches)

    def _take_own(self, count: float) -> Any:
        """Return this rank's batches of steps that are known to be whole; slices, which have gaps, one by one."""
        taken: list[Any] = []
        while len(taken) < count and not (taken and isinstance(first_leaf(taken[0]).indices, slice)):
            self._stream.seek(self._step * self._walk.world_size + self._walk.rank)
            taken.append(self._stream.take(1))
            self._step += 1
        return stacked(taken)

    def _take_step(self, stream: IndexStream) -> list[Any]:
        taken: list[Any] = []
        while len(taken) < self._walk.world_size and (chunk := stream.take(1)) is not None:
            taken.append(chunk)
        return taken

    def _deal(self, batches: list[Any]) -> Any:
        """Join what is left, and return this rank's share of it."""
        walk, left = self._walk, join(batches)
        if walk.tail == "wrap":
            full = wrap(left, join(self._beginning()), walk.world_size * walk.batch_size)
            return cut(full, walk.rank * walk.batch_size, (walk.rank + 1) * walk.batch_size)
        size, more = divmod(chunk_extent(left), walk.world_size)
        start = walk.rank * size + min(walk.rank, more)
        share = cut(left, start, start + size + (walk.rank < more))
        return share if walk.tail == "short" else pad(share, last_sample(left), walk.batch_size)

    def _hand_round(self, batches: list[Any]) -> Any:
        """Return this rank's whole batch of what is left, or one that stands in for it."""
        walk = self._walk
        if walk.rank < len(batches):
            return batches[walk.rank]
        if walk.tail == "wrap":
            beginning = self._beginning()
            return beginning[(walk.rank - len(batches)) % len(beginning)]
        nothing = cut(batches[-1], 0, 0)
        if walk.tail != "pad":
            return nothing
        # as many as there are beside it: the batch size may be but a limit, which long sequences must not reach
        return pad(nothing, last_sample(batches[-1]), chunk_extent(batches[-1]))

    def _beginning(self) -> list[Any]:
        if self._first is None:
            self._first = self._take_step(self._begin())
        return self._first

    def seek(self, number: int) -> None:
        self._step = number
        self._over = False
        if self._steps_known is None:
            self._stream.seek(number * self._walk.world_size)

    def state(self, back: int) -> Any:
        first = None if self._first is None else [chunk_state(batch) for batch in self._first]
        return [self._stream.state(back * self._walk.world_size), first, self._over]

    def restore(self, state: Any) -> None:
        inner, first, self._over = state
        self._stream.restore(inner)
        self._first = None if first is None else [chunk_from_state(batch) for batch in first]

    def at(self, place: int, like: Any) -> Any:
        return self._stream.at(place, like)


class FirstSteps(IndexStream):
    """The first batches of a stream; nothing behind them is taken from it.

    Parameters
    ----------
    stream : IndexStream
        The stream, at its beginning.
    count : int
        How many.
    """

    def __init__(self, stream: IndexStream, count: int) -> None:
        self._stream = stream
        self._count = self._left = count
        self.entered = stream.entered

    def ready(self) -> int:
        return min(self._left, self._stream.ready())

    def take(self, count: int) -> Any:
        chunk = self._stream.take(min(count, self._left)) if self._left else None
        if chunk is not None:
            self._left -= batch_count(chunk)
        return chunk

    def seek(self, number: int) -> None:
        self._stream.seek(number)
        self._left = max(0, self._count - number)

    def state(self, back: int) -> Any:
        return [self._stream.state(back), self._left + back]

    def restore(self, state: Any) -> None:
        inner, self._left = state
        self._stream.restore(inner)

    def at(self, place: int, like: Any) -> Any:
        return self._stream.at(place, like)


def finish(chunk: Any, walk: Pass, beginning: Callable[[], Any]) -> Any:
    """Return what becomes of a short last batch."""
    if walk.tail == "drop":
        return None
    if walk.tail == "wrap":
        return wrap(chunk, beginning(), walk.batch_size)
    return pad(chunk, last_sample(chunk), walk.batch_size) if walk.tail == "pad" else chunk
