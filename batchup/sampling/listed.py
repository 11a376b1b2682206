"""Streams whose batches are listed when the pass begins, for orders that decide where batches end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchup.sampling.chunks import IndexChunk
from batchup.sampling.order import Generator, generator_state, raw_state, set_generator_state
from batchup.sampling.streams import IndexStream


class Listed(NamedTuple):
    """The batches of one pass.

    Attributes
    ----------
    indices : ndarray of intp
        Those of all batches, each of which has its own one behind the other.
    bounds : ndarray of intp
        The place in the pass at which each batch begins, and at last where the last one ends.
    begins : ndarray of intp
        Where in `indices` each batch begins.
    """

    indices: NDArray[np.intp]
    bounds: NDArray[np.intp]
    begins: NDArray[np.intp]


class ListedStream(IndexStream):
    """The batches of one pass, which are all known when it begins.

    Parameters
    ----------
    draw : callable
        Returns the batches.
    generator : RandomState or Generator, optional
        What `draw` draws from, if it does.
    """

    def __init__(
        self,
        draw: Callable[[], Listed],
        generator: Generator | None = None,
    ) -> None:
        self._draw = draw
        self._generator = generator
        self._before: Any = None
        self._listed: Listed | None = None
        self._number = 0

    def ready(self) -> int:
        return 0

    def take(self, count: int) -> IndexChunk | None:
        indices, bounds, begins = self._listed or self._pass()
        number = self._number
        if number >= len(begins):
            return None
        place, begin = bounds.item(number), begins.item(number)
        self._number = number + 1
        return IndexChunk(indices[begin : begin + bounds.item(number + 1) - place], 1, place)

    def seek(self, number: int) -> None:
        self._number = number

    def state(self, back: int) -> Any:
        return [self._number - back, generator_state(self._before)]

    def restore(self, state: Any) -> None:
        self._number, before = state
        self._listed = None
        if before is not None and self._generator is not None:
            set_generator_state(self._generator, before)
            self._pass()

    def at(self, place: int, like: Any) -> IndexChunk:
        indices, bounds, begins = self._pass()
        within = place % int(bounds[-1])
        number = int(np.searchsorted(bounds, within, "right")) - 1
        begin = int(begins[number]) + within - int(bounds[number])
        return IndexChunk(indices[begin : begin + 1], 1, place)

    def _pass(self) -> Listed:
        if self._listed is None:
            if self._generator is not None:
                self._before = raw_state(self._generator)
            self._listed = self._draw()
        return self._listed
