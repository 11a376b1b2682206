"""Verbs that draw the order of the items: shuffle, sample."""

from __future__ import annotations

import heapq
import sys
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from batchup._indices import Indices
from batchup.errors import InvalidValueError
from batchup.pipeline.stage import Passing, Run, Stage, from_place, known
from batchup.sampling.permutation import seeded_permutation

BUFFER = 10_000  # items from which a shuffled stream draws


class Shuffled(Passing):
    """The items of random access, each once, in an order that is drawn."""

    verb = "shuffle"

    def __init__(self, parent: Stage, seed: int | None) -> None:
        super().__init__(parent)
        self.seed = seed
        self.given = (seed,)

    def items(self, run: Run, start: int = 0) -> Iterator[Any]:
        return self.parent.at(entries(self._order(run), start), run)

    @property
    def random_access(self) -> bool:
        return self.seed is not None and self.parent.random_access

    def item(self, index: int, run: Run) -> Any:
        return self.parent.item(int(self._order(run)[slice(index, index + 1)][0]), run)

    def at(self, indices: Iterator[int], run: Run) -> Iterator[Any]:
        order = self._order(run)
        return self.parent.at((int(order[slice(index, index + 1)][0]) for index in indices), run)

    def gather(self, indices: Indices, run: Run) -> Any:
        order = self._order(run)
        if not isinstance(indices, slice):
            return self.parent.gather(order.at(indices) if hasattr(order, "at") else order[indices], run)
        return self.parent.gather(order[indices], run)

    def _order(self, run: Run) -> Any:
        key = run.key(self, self.seed)
        return run.order(self, lambda: seeded_permutation(int(self.parent.length() or 0), key))


def entries(order: Any, start: int) -> Iterator[int]:
    """Yield the indices of a permutation from a place on, some at a time."""
    for begin in range(start, len(order), 4096):
        yield from order[slice(begin, begin + 4096)].tolist()


class Reservoir(Passing):
    """The items of a stream, each drawn from a buffer of those that come next."""

    verb = "shuffle"

    def __init__(self, parent: Stage, buffer_size: int, seed: int | None) -> None:
        super().__init__(parent)
        self.buffer_size, self.seed = min(buffer_size, sys.maxsize), seed
        self.given = (buffer_size, seed)

    def items(self, run: Run, start: int = 0) -> Iterator[Any]:
        rng = run.key(self, self.seed).generator()
        return from_place(drawn_from(self.parent.items(run), self.buffer_size, rng), start)

    @property
    def random_access(self) -> bool:
        return False


def drawn_from(items: Iterator[Any], size: int, rng: np.random.RandomState) -> Iterator[Any]:
    """Yield items from a buffer, each replaced by the next one that comes in, once it is needed."""
    buffer = list(islice(items, size))
    places: Iterator[int] = iter(())
    while len(buffer) == size:
        place = next(places, None)
        if place is None:
            places = iter(rng.randint(size, size=256).tolist())
            place = next(places)
        chosen, buffer[place] = buffer[place], None
        yield chosen
        del chosen
        try:
            buffer[place] = next(items)
        except StopIteration:
            del buffer[place]
    for place in rng.permutation(len(buffer)).tolist():
        yield buffer[place]
        buffer[place] = None


class Sampled(Passing):
    """So many items, drawn at random; each once, in the order in which they come."""

    verb = "sample"

    def __init__(self, parent: Stage, count: int, seed: int | None) -> None:
        super().__init__(parent)
        self.count, self.seed = count, seed
        self.given = (count, seed)
        self._by_number = parent.random_access

    def items(self, run: Run, start: int = 0) -> Iterator[Any]:
        parent = self.parent
        if not self._by_number:
            rng = run.key(self, self.seed).generator()
            return from_place(chosen_of(parent.items(run), self.count, rng), start)
        return parent.at(iter(self._chosen(run)[start:]), run)

    def length(self) -> int | float | None:
        length = self.parent.length()
        return min(self.count, int(length)) if known(length) else None  # type: ignore[arg-type]

    @property
    def random_access(self) -> bool:
        return self.seed is not None and self._by_number

    @property
    def endless(self) -> bool:
        return False

    def item(self, index: int, run: Run) -> Any:
        return self.parent.item(self._chosen(run)[index], run)

    def checked_pass(self, run: Run) -> None:
        super().checked_pass(run)
        if self.parent.endless:
            raise InvalidValueError(
                "sample() of a dataset that never ends would read for ever: take(...) from it before"
            )

    def _chosen(self, run: Run) -> list[int]:
        length = int(self.parent.length() or 0)
        key = run.key(self, self.seed)

        def draw() -> list[int]:
            return sorted(seeded_permutation(length, key)[slice(0, min(self.count, length))].tolist())

        chosen: list[int] = run.order(self, draw)
        return chosen


def chosen_of(items: Iterator[Any], count: int, rng: np.random.RandomState) -> Iterator[Any]:
    """Yield so many items of a stream, each as likely as any other, in their order.

    Each item is given a random key, and those with the largest keys are kept.
    """
    kept: list[tuple[float, int, Any]] = []
    for place, item in enumerate(items if count else ()):
        entry = (float(rng.random_sample()), -place, item)
        if len(kept) < count:
            heapq.heappush(kept, entry)
        elif entry[:2] > kept[0][:2]:
            heapq.heapreplace(kept, entry)
    for _, _, item in sorted(kept, key=lambda entry: -entry[1]):
        yield item
