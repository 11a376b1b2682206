"""Index streams: an order cut into batches, several at a time where that draws nothing early."""

from __future__ import annotations

import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from batchup._indices import Indices
from batchup.sampling.order import Generator

Pass: TypeAlias = "NDArray[np.intp] | range"


@dataclass(slots=True)
class IndexChunk:
    """The sample indices of `count` batches of equal size, one behind the other.

    Attributes
    ----------
    indices : ndarray of intp, shape (count * size,), or slice
        Read-only to whoever receives it: it may be a part of the epoch's permutation.
    count : int
        Number of batches.
    """

    indices: Indices
    count: int = 1

    def __len__(self) -> int:
        if isinstance(self.indices, slice):
            return int(self.indices.stop - self.indices.start)
        return len(self.indices)

    def array(self) -> NDArray[np.intp]:
        """Return a copy of the indices that its holder may change."""
        if isinstance(self.indices, slice):
            return np.arange(self.indices.start, self.indices.stop, dtype=np.intp)
        return np.array(self.indices)

    def trimmed(self, length: int) -> IndexChunk:
        """Return the first `length` indices of a chunk that holds one batch."""
        if isinstance(self.indices, slice):
            return IndexChunk(slice(self.indices.start, self.indices.start + length))
        return IndexChunk(self.indices[:length])


class IndexStream(ABC):
    """The index batches of one pass, in order.

    Nothing is drawn from a generator before the batch that needs it is taken.
    """

    @abstractmethod
    def ready(self) -> int:
        """Return how many whole batches can be taken now without drawing from a generator."""

    @abstractmethod
    def take(self, count: int) -> Any:
        """Return a chunk of the next batches, None at the end.

        The chunk holds `count` batches if so many are ready; fewer if not, but at least one.
        """


def index_batches(stream: IndexStream) -> Iterator[Any]:
    """Yield the chunks of a stream batch by batch."""
    while (chunk := stream.take(1)) is not None:
        yield chunk


class PassStream(IndexStream):
    """One or more passes over the same samples, with batches running over the seams between them.

    Parameters
    ----------
    draw : callable
        ``draw(number)`` returns the order of a pass: positions, or a range.
    length, repeats, batch_size : int
        Samples in a pass; passes, -1 for ever; samples in a batch.
    positions : ndarray of intp, optional
        The sample index at each position; without it, positions are the indices.
    """

    def __init__(
        self,
        draw: Callable[[int], Pass],
        length: int,
        repeats: int,
        batch_size: int,
        positions: NDArray[np.intp] | None = None,
    ) -> None:
        self._draw = draw
        self._length = length
        self._repeats = math.inf if repeats < 0 else repeats
        self._batch_size = batch_size
        self._positions = positions
        self._number = 0
        self._order: Pass | None = None
        self._at = 0

    def ready(self) -> int:
        if self._order is None or self._number >= self._repeats:
            return 0
        return (self._length - self._at) // self._batch_size

    def take(self, count: int) -> IndexChunk | None:
        if self._length == 0 or self._number >= self._repeats:
            return None
        if self._order is None:
            self._order = self._draw(self._number)
        whole = (self._length - self._at) // self._batch_size
        if whole == 0:
            return self._over_the_seam()
        if whole < count:
            count = whole
        return self._chunk(self._advance(count * self._batch_size), count)

    def _advance(self, wanted: int) -> Pass:
        assert self._order is not None
        piece = self._order[self._at : self._at + wanted]
        self._at += len(piece)
        return piece

    def _over_the_seam(self) -> IndexChunk | None:
        pieces: list[Pass] = []
        missing = self._batch_size
        while missing and self._number < self._repeats:
            piece = self._advance(missing)
            if len(piece):
                pieces.append(piece)
                missing -= len(piece)
            if self._at == self._length:
                self._next_pass()
        if len(pieces) > 1:
            return self._chunk(np.concatenate([np.asarray(piece) for piece in pieces]), 1)
        return self._chunk(pieces[0], 1) if pieces else None

    def _next_pass(self) -> None:
        self._number += 1
        self._at = 0
        # batchup 0.2 draws once more behind the last repetition; whoever uses the generator again relies on it
        self._order = self._draw(self._number) if self._repeats > 1 else None

    def _chunk(self, piece: Pass, count: int) -> IndexChunk:
        if self._positions is not None:
            places = slice(piece.start, piece.stop) if isinstance(piece, range) else piece
            return IndexChunk(self._positions[places], count)
        if isinstance(piece, range):
            return IndexChunk(slice(piece.start, piece.stop), count)
        return IndexChunk(np.asarray(piece, dtype=np.intp), count)


class DrawStream(IndexStream):
    """Endless batches of independent draws.

    Parameters
    ----------
    pick : callable
        ``pick(u)`` returns the index that each uniform number in [0, 1) selects.
    generator : RandomState or Generator
        Where the uniform numbers come from.
    batch_size : int
        Draws in a batch.
    own : bool
        Whether nobody else uses the generator, so that it may be drawn from ahead of need.
    """

    def __init__(
        self,
        pick: Callable[[NDArray[np.float64]], NDArray[np.intp]],
        generator: Generator,
        batch_size: int,
        own: bool,
    ) -> None:
        self._pick = pick
        self._generator = generator
        self._batch_size = batch_size
        self._own = own

    def ready(self) -> int:
        return sys.maxsize if self._own else 0

    def take(self, count: int) -> IndexChunk:
        count = count if self._own else 1
        return IndexChunk(self._pick(self._generator.random(count * self._batch_size)), count)


class ForeignStream(IndexStream):
    """The batches of an iterator that batchup did not make."""

    def __init__(self, batches: Iterator[Any], as_chunk: Callable[[Any], Any]) -> None:
        self._batches = batches
        self._as_chunk = as_chunk

    def ready(self) -> int:
        return 0

    def take(self, count: int) -> Any:
        for batch in self._batches:
            return self._as_chunk(batch)
        return None
