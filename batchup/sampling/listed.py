"""Streams whose batches are listed when the pass begins, for orders that decide where batches end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup.sampling.chunks import IndexChunk
from batchup.sampling.order import Generator, generator_state, raw_state, set_generator_state
from batchup.sampling.streams import IndexStream


class ListedStream(IndexStream):
    """The batches of one pass, cut from its order at given places.

    Parameters
    ----------
    draw : callable
        Returns the order, an array of indices, and the places where batches begin and end, one more than batches.
    generator : RandomState or Generator, optional
        What `draw` draws from, if it does.
    """

    def __init__(
        self,
        draw: Callable[[], tuple[NDArray[np.intp], NDArray[np.intp]]],
        generator: Generator | None = None,
    ) -> None:
        self._draw = draw
        self._generator = generator
        self._before: Any = None
        self._listed: tuple[NDArray[np.intp], NDArray[np.intp]] | None = None
        self._number = 0

    def ready(self) -> int:
        return 0

    def take(self, count: int) -> IndexChunk | None:
        order, bounds = self._listed or self._pass()
        number = self._number
        if number >= len(bounds) - 1:
            return None
        start = bounds.item(number)
        self._number = number + 1
        return IndexChunk(order[start : bounds.item(number + 1)], 1, start)

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
        order, _ = self._pass()
        return IndexChunk(order[[place % len(order)]], 1, place)

    def _pass(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        if self._listed is None:
            if self._generator is not None:
                self._before = raw_state(self._generator)
            self._listed = self._draw()
        return self._listed
