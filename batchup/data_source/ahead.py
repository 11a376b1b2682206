"""Chunks whose reading has begun before they are needed, so that others can do it meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from batchup.data_source.clock import Clock
from batchup.data_source.passes import GROWTH, Pass
from batchup.errors import LengthError
from batchup.sampling.chunks import batch_count
from batchup.sampling.order import raw_state
from batchup.sampling.streams import IndexStream

if TYPE_CHECKING:
    from batchup.data_source.walk import WalkedDataSource


class Reading:
    """A chunk that is being read. This kind has begun nothing yet: it reads when the batches are asked for.

    Parameters
    ----------
    finish : callable
        Returns an iterator over the batches of the chunk.
    parts : sequence of Reading
        What `finish` waits for.
    """

    __slots__ = ("_finish", "_parts")

    def __init__(self, finish: Callable[[], Iterator[Any]], parts: Sequence[Reading] = ()) -> None:
        self._finish = finish
        self._parts = parts

    def result(self) -> Iterator[Any]:
        """Return the batches, or raise what went wrong; to be called once."""
        return self._finish()

    def only(self) -> Any:
        """Return the one batch of a chunk that holds one."""
        return next(self.result())

    def cancel(self) -> None:
        """Say that nobody will ask for the batches."""
        for part in self._parts:
            part.cancel()


class Mark(NamedTuple):
    """Where a pass stood when a chunk had been taken: its stream, the batches taken, the generator drawn from."""

    stream: IndexStream
    taken: int
    generator: Any


class Begun(NamedTuple):
    """A chunk in work."""

    chunk: Any
    reading: Reading
    mark: Mark


class Ahead:
    """The chunks of a pass in order, each begun when the source's look-ahead reaches it.

    Parameters
    ----------
    source : WalkedDataSource
        Says how far ahead of the consumer chunks are begun, and begins them.
    walk : Pass
        The pass.
    stream : IndexStream
        Where the chunks come from; taken from here alone.
    taken : int
        How many batches have been taken from it before.
    most : int
        The most batches that a chunk may hold.
    """

    def __init__(self, source: WalkedDataSource, walk: Pass, stream: IndexStream, taken: int, most: int) -> None:
        self._source = source
        self._walk = walk
        self._stream = stream
        self._taken = taken
        self._most = most
        self._grows = source._window(walk) > 0
        self._grown = 1  # the first batch is not to wait for many
        self._begun: deque[Begun] = deque()
        self._in_work = 0
        self._waited_for: Begun | None = None
        self._end: Exception | None = None
        self._over = False
        # a NumPy array to which somebody refers cannot change its length
        self._lengths = source._column_lengths() if source._sample_bytes(walk) is None else None
        self._resident = source._resident()
        self.mark = self._marked()
        self.fill()

    def __iter__(self) -> Iterator[Begun]:
        return self

    def __next__(self) -> Begun:
        self.fill()
        if not self._begun:
            self._over = True
            self.mark = self._marked()
            if self._end is not None:
                raise self._end
            raise StopIteration
        begun = self._waited_for = self._begun.popleft()
        self._in_work -= batch_count(begun.chunk)
        self.mark = begun.mark
        self.fill()  # before anybody waits for this one
        return begun

    def __del__(self) -> None:
        self.close()

    def fill(self) -> None:
        """Begin chunks until enough are in work."""
        while not self._over and (room := max(1, self._source._look_ahead(self._walk)) - self._in_work) > 0:
            try:
                if self._lengths is not None and self._lengths != self._source._column_lengths():
                    raise changed_length(self._lengths, self._source._column_lengths())
                count = self._next_count(room)
                if count is None:
                    return
                chunk = self._stream.take(count)
                if chunk is None:
                    self._over = True
                    return
                self._taken += batch_count(chunk)
                if not self._resident:
                    self._source._expect(chunk)
                begun = Begun(chunk, self._source._begin_chunk(chunk, self._walk, not self._in_work), self._marked())
            except Exception as error:  # noqa: BLE001  it is raised when its turn comes
                self._over, self._end = True, error
                return
            self._begun.append(begun)
            self._in_work += batch_count(chunk)

    def _next_count(self, room: int) -> int | None:
        """Return how many batches to take as one chunk; None if there is no room for it yet.

        It is waited for: a smaller chunk would leave room for another small one, and so on for the rest of the pass.
        """
        count = max(1, min(self._most, self._source._together(self._walk)))
        if self._grows:
            count = min(count, self._grown)
        if self._in_work and count > room:
            return None
        self._grown = min(self._grown * GROWTH, self._most)
        return count if self._grows else min(count, room)

    def close(self) -> None:
        """Give up what is in work."""
        self._over = True
        if self._waited_for is not None:
            self._waited_for.reading.cancel()
            self._waited_for = None
        while self._begun:
            self._begun.pop().reading.cancel()

    def _marked(self) -> Mark:
        if not self._walk.drawn:
            stream = self._stream if self._stream.entered else self._stream.frozen()
            return Mark(stream, self._taken, None)
        return Mark(self._stream.frozen(), self._taken, raw_state(self._walk.order))  # type: ignore[arg-type]


def waited_for(batches: Iterator[Any], clock: Clock) -> Iterator[Any]:
    """Hand on batches that are made elsewhere, and count how long they are waited for."""
    begin = perf_counter()
    for batch in batches:
        clock.wait(perf_counter() - begin)
        yield batch
        del batch  # nothing here may hold the last batch while the next one is made
        begin = perf_counter()


def changed_length(before: tuple[int, ...], now: tuple[int, ...]) -> LengthError:
    """Return the error for data whose length is another one now."""
    return LengthError(f"the data changed its length during an epoch: from {before} to {now} samples")
