"""Index streams: an order cut into batches, several at a time where that draws nothing early."""

from __future__ import annotations

import copy
import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from batchup.sampling.chunks import IndexChunk, batch_count, chunk_length, cut
from batchup.sampling.order import Generator, generator_state, raw_state, set_generator_state

_TOGETHER = 64  # index batches that are taken at once, where that draws nothing early


class PassOrder(Protocol):
    """The order of one pass: sliced for positions, or for a range of them."""

    def __len__(self) -> int: ...

    def __getitem__(self, places: slice, /) -> Any: ...


class Frozen:
    """What moves on as it is used, and can be kept as it is."""

    def frozen(self) -> Any:
        """Return a twin that stays where this is, sharing what never changes; not to be taken from."""
        twin = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, Frozen):
                setattr(twin, name, value.frozen())
            elif isinstance(value, list) and value and isinstance(value[0], Frozen):
                setattr(twin, name, [part.frozen() for part in value])
        return twin


class IndexStream(Frozen, ABC):
    """The index batches of one pass, in order.

    Nothing is drawn from a generator before the batch that needs it is taken.

    Attributes
    ----------
    entered : bool
        Whether any batch is reached at once by `seek`.
    """

    entered = True

    @abstractmethod
    def ready(self) -> int:
        """Return how many whole batches can be taken now without drawing from a generator."""

    @abstractmethod
    def take(self, count: int) -> Any:
        """Return a chunk of the next batches, None at the end.

        The chunk holds `count` batches if so many are ready; fewer if not, but at least one.
        """

    @abstractmethod
    def seek(self, number: int) -> None:
        """Go to a batch by its number in the pass, where the order does not come from a generator."""

    @abstractmethod
    def state(self, back: int) -> Any:
        """Return what `restore` needs to go to `back` batches before here, as JSON; with a generator's order."""

    @abstractmethod
    def restore(self, state: Any) -> None:
        """Go to where a state was taken, drawing again what had been drawn; leaves the generator anywhere."""

    @abstractmethod
    def at(self, place: int, like: Any) -> Any:
        """Return the sample at a place of the epoch, as a chunk like `like`, without drawing from a generator.

        Where the place is not known without drawing, it is another sample that was drawn already; a LookupError
        if there is none.
        """


def index_batches(stream: IndexStream) -> Iterator[Any]:
    """Yield the chunks of a stream batch by batch."""
    while (chunk := stream.take(_TOGETHER)) is not None:
        count = batch_count(chunk)
        if count == 1:
            yield chunk
            continue
        size = chunk_length(chunk) // count
        for start in range(0, count * size, size):
            yield cut(chunk, start, start + size)


class PassStream(IndexStream):
    """One or more passes over the same samples, with batches running over the seams between them.

    Parameters
    ----------
    draw : callable
        ``draw(number)`` returns the order of a pass.
    length, repeats, batch_size : int
        Samples in a pass; passes, -1 for ever; samples in a batch.
    positions : ndarray of intp, optional
        The sample index at each position; without it, positions are the indices.
    generator : RandomState or Generator, optional
        What `draw` draws from, if it does.
    """

    def __init__(
        self,
        draw: Callable[[int], PassOrder],
        length: int,
        repeats: int,
        batch_size: int,
        positions: NDArray[np.intp] | None = None,
        generator: Generator | None = None,
    ) -> None:
        self._draw = draw
        self._length = length
        self._repeats = math.inf if repeats < 0 else repeats
        self._batch_size = batch_size
        self._positions = positions
        self._generator = generator
        self._before: Any = None
        self._number = 0
        self._order: PassOrder | None = None
        self._order_number = -1
        self._at = 0

    def ready(self) -> int:
        if self._number >= self._repeats or (self._order is None and self._generator is not None):
            return 0
        return (self._length - self._at) // self._batch_size

    def take(self, count: int) -> IndexChunk | None:
        if self._length == 0 or self._number >= self._repeats:
            return None
        if self._order is None or (self._order_number != self._number and self._generator is None):
            self._begin_pass()
        whole = (self._length - self._at) // self._batch_size
        if whole == 0:
            return self._over_the_seam()
        if whole < count:
            count = whole
        at = self._at
        self._at = at + count * self._batch_size
        assert self._order is not None
        return self._chunk(self._order[at : self._at], count, self._number * self._length + at)

    def seek(self, number: int) -> None:
        place = number * self._batch_size
        self._number, self._at = divmod(place, self._length) if self._length else (0, 0)
        if self._number != self._order_number:
            self._order = None

    def state(self, back: int) -> Any:
        before = None if self._order is None else self._before
        return [self._number, self._at - back * self._batch_size, generator_state(before)]

    def restore(self, state: Any) -> None:
        self._number, self._at, before = state
        self._order = None
        if before is not None and self._generator is not None:
            set_generator_state(self._generator, before)
            self._begin_pass()

    def at(self, place: int, like: Any) -> IndexChunk:
        total = self._repeats * self._length
        number, at = divmod(int(place % total) if total < math.inf else place, self._length)
        if self._order is None and self._generator is not None:
            raise LookupError("nothing has been drawn yet")
        if self._order is None or (number != self._order_number and self._generator is None):
            self._order, self._order_number = self._draw(number), number
        return self._chunk(self._order[at : at + 1], 1, place)

    def _begin_pass(self) -> None:
        if self._generator is not None:
            self._before = raw_state(self._generator)
        self._order = self._draw(self._number)
        self._order_number = self._number

    def _advance(self, wanted: int) -> Any:
        assert self._order is not None
        piece = self._order[self._at : self._at + wanted]
        self._at += len(piece)
        return piece

    def _over_the_seam(self) -> IndexChunk | None:
        place = self._number * self._length + self._at
        pieces: list[Any] = []
        missing = self._batch_size
        while missing and self._number < self._repeats:
            if self._order is None or (self._order_number != self._number and self._generator is None):
                self._begin_pass()
            piece = self._advance(missing)
            if len(piece):
                pieces.append(piece)
                missing -= len(piece)
            if self._at == self._length:
                self._end_pass()
        if len(pieces) > 1:
            return self._chunk(np.concatenate([np.asarray(piece) for piece in pieces]), 1, place)
        return self._chunk(pieces[0], 1, place) if pieces else None

    def _end_pass(self) -> None:
        self._number += 1
        self._at = 0
        if self._generator is not None and self._repeats > 1:
            # batchup 0.2 draws once more behind the last repetition; whoever goes on with the generator relies on it
            self._begin_pass()

    def _chunk(self, piece: Any, count: int, place: int) -> IndexChunk:
        if self._positions is not None:
            places = slice(piece.start, piece.stop) if isinstance(piece, range) else piece
            return IndexChunk(self._positions[places], count, place)
        if isinstance(piece, range):
            return IndexChunk(slice(piece.start, piece.stop), count, place)
        return IndexChunk(piece if piece.dtype == np.intp else piece.astype(np.intp), count, place)


class DrawStream(IndexStream):
    """Endless batches of independent draws.

    Parameters
    ----------
    pick : callable
        ``pick(u)`` returns the index that each uniform number in [0, 1) selects.
    batch_size : int
        Draws in a batch.
    generator : RandomState or Generator
        Where the uniform numbers come from; or
    enter : callable
        ``enter(place)`` returns a generator of its own that begins with the number at a place.
    """

    def __init__(
        self,
        pick: Callable[[NDArray[np.float64]], NDArray[np.intp]],
        batch_size: int,
        generator: Generator | None = None,
        enter: Callable[[int], Generator] | None = None,
    ) -> None:
        self._pick = pick
        self._batch_size = batch_size
        self._enter = enter
        self._generator = generator
        self._number = 0
        self._latest: IndexChunk

    def ready(self) -> int:
        return 0 if self._enter is None else sys.maxsize

    def take(self, count: int) -> IndexChunk:
        if self._generator is None:
            assert self._enter is not None
            self._generator = self._enter(self._number * self._batch_size)
        count = 1 if self._enter is None else count
        place = self._number * self._batch_size
        self._number += count
        self._latest = IndexChunk(self._pick(self._generator.random(count * self._batch_size)), count, place)
        return self._latest

    def seek(self, number: int) -> None:
        if number != self._number:
            self._generator = None
            self._number = number

    def state(self, back: int) -> Any:
        return self._number - back

    def restore(self, state: Any) -> None:
        self._number = state

    def at(self, place: int, like: Any) -> IndexChunk:
        if self._enter is None:
            row = place % len(self._latest)
            return self._latest.cut(row, row + 1)
        return IndexChunk(self._pick(self._enter(place).random(1)), 1, place)


class ForeignStream(IndexStream):
    """The batches of an iterator that batchup did not make; it is gone through again to get anywhere.

    Parameters
    ----------
    begin : callable
        Returns the iterator.
    as_chunk : callable
        Turns what it gives into a chunk.
    generator : RandomState or Generator, optional
        What the iterator draws from.
    """

    entered = False

    def __init__(
        self, begin: Callable[[], Iterator[Any]], as_chunk: Callable[[Any], Any], generator: Generator | None = None
    ) -> None:
        self._begin = begin
        self._batches: Iterator[Any] | None = None
        self._as_chunk = as_chunk
        self._generator = generator
        self._before: Any = None
        self._latest: IndexChunk
        self._number = 0
        self._place = 0

    def ready(self) -> int:
        return 0

    def take(self, count: int) -> Any:
        if self._batches is None:
            if self._generator is not None:
                self._before = raw_state(self._generator)
            self._batches = self._begin()
        for batch in self._batches:
            chunk = self._as_chunk(batch)
            chunk.place = self._place
            self._number += 1
            self._place += len(chunk)
            self._latest = chunk
            return chunk
        return None

    def seek(self, number: int) -> None:
        self._batches = None
        self._number = self._place = 0
        while self._number < number and self.take(1) is not None:
            pass

    def state(self, back: int) -> Any:
        return [self._number - back, generator_state(self._before)]

    def restore(self, state: Any) -> None:
        number, before = state
        if before is not None and self._generator is not None:
            set_generator_state(self._generator, before)
        self.seek(number)

    def at(self, place: int, like: Any) -> IndexChunk:
        row = place % len(self._latest)
        return self._latest.cut(row, row + 1)
