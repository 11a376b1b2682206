"""The verb that draws from several datasets which one gives the next item."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._numbers import whole_number
from batchup.errors import InvalidValueError
from batchup.pipeline.joining import total_length
from batchup.pipeline.stage import Run, Stage, checked_seed, from_place, shared_where

STOPS = ("first", "all", "never")
IN_VAIN = 100  # times that each dataset may be opened without an item, before there is no hope
_END = object()


class Mux(Stage):
    """Items of several datasets, each from one that is drawn.

    Source: the StochasticMux of pescador 2 (B. McFee, C. Jacoby, E. Humphrey). So many datasets are open at a time;
    each gives a number of items that is drawn from a Poisson distribution, and is replaced by another one.
    """

    verb = "mux"

    def __init__(
        self,
        parents: Sequence[Stage],
        weights: Any,
        n_active: int | None,
        rate: float | None,
        stop: str,
        seed: int | None,
    ) -> None:
        self.parents = parents
        self.where = shared_where(parents)
        self.weights = _checked_weights(weights, len(parents))
        self.n_active = None if n_active is None else whole_number(n_active, "n_active", 1)
        if rate is not None and (isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 < rate < 2**31):
            raise InvalidValueError(f"rate must be a number greater than 0 and less than 2**31, got {rate!r}")
        if rate is not None and n_active is None:
            raise InvalidValueError("rate says how long datasets stay open: give n_active, too")
        if stop not in STOPS:
            raise InvalidValueError(f"stop must be one of {', '.join(STOPS)}, got {stop!r}")
        self.rate, self.stop = rate, stop
        self.seed = checked_seed(seed, "mux")
        self.given = (self.n_active, self.rate, self.stop, self.seed, tuple(self.weights.tolist()))

    def items(self, run: Run, start: int = 0) -> Iterator[Any]:
        return from_place(_Drawing(self, run).items(), start)

    def length(self) -> int | float | None:
        if self.stop == "never":
            return math.inf
        if self.stop == "all" and self.rate is None and (self.weights > 0).all():
            return total_length(self.parents)
        endless = all(parent.length() == math.inf for parent in self.parents)
        return math.inf if self.stop == "first" and endless and self.rate is None else None


class _Open:
    """A dataset that items are taken from just now, and how many it may give still."""

    def __init__(self, number: int, items: Iterator[Any], left: float) -> None:
        self.number, self._items, self.left = number, items, left

    def next(self) -> Any:
        """Return the next item, or `_END`."""
        self.left -= 1
        return next(self._items, _END) if self.left >= 0 else _END


class _Drawing:
    """What is drawn in a pass: the datasets that are open, and which of them gives the next item."""

    def __init__(self, mux: Mux, run: Run) -> None:
        self._mux, self._run = mux, run
        self._rng = run.key(mux, mux.seed).generator()
        self._weights = mux.weights.copy()  # of those that may be opened
        self._begun = 0

    def items(self) -> Iterator[Any]:
        """Yield the items."""
        mux = self._mux
        if mux.n_active is None:
            opened = [self._open(number) for number in np.flatnonzero(self._weights).tolist()]
        else:
            opened = [self._another() for _ in range(min(mux.n_active, self._most))]
        in_vain = 0
        while opened:
            place = self._place(opened)
            item = opened[place].next()
            if item is not _END:
                in_vain = 0
                yield item
            elif mux.stop == "first" and opened[place].left >= 0:
                return
            else:
                in_vain += 1
                if in_vain > IN_VAIN * len(mux.parents):
                    raise InvalidValueError("mux(stop='never') got datasets without items: it would open them for ever")
                self._replace(opened, place)

    @property
    def _most(self) -> int:
        """How many datasets can be open at a time."""
        mux = self._mux
        return mux.n_active or 0 if mux.stop == "never" else int(np.count_nonzero(self._weights))

    def _place(self, opened: list[_Open]) -> int:
        """Draw one of the open datasets: evenly where the weights tell which ones are opened."""
        if len(opened) == 1:
            return 0
        if self._mux.n_active is not None:
            return int(self._rng.randint(len(opened)))
        return _drawn(self._rng, self._mux.weights[[one.number for one in opened]])

    def _replace(self, opened: list[_Open], place: int) -> None:
        """Put another dataset in the place of one that has ended, if there is one."""
        if self._mux.n_active is None:
            again = self._mux.stop == "never"
            opened[place : place + 1] = [self._open(opened[place].number)] if again else []
        else:
            opened[place : place + 1] = [self._another()] if self._weights.any() else []

    def _another(self) -> _Open:
        number = _drawn(self._rng, self._weights)
        if self._mux.stop != "never":
            self._weights[number] = 0
        return self._open(number)

    def _open(self, number: int) -> _Open:
        """Begin a dataset, in an order of its own each time."""
        left = math.inf if self._mux.rate is None else 1 + self._rng.poisson(self._mux.rate)
        items = self._mux.parents[number].items(self._run.repetition(self._begun))
        self._begun += 1
        return _Open(number, items, left)


def _drawn(rng: np.random.RandomState, weights: NDArray[np.float64]) -> int:
    """Draw a place by weights."""
    sums = np.cumsum(weights)
    return int(np.searchsorted(sums, rng.random_sample() * sums[-1], side="right"))


def _checked_weights(weights: Any, count: int) -> NDArray[np.float64]:
    try:
        found = np.ones(count) if weights is None else np.asarray(weights, np.float64)
    except (TypeError, ValueError):
        found = np.empty(0)
    if found.shape != (count,):
        raise InvalidValueError(f"mux() takes a weight for each of its {count} datasets, got {weights!r:.80}")
    if not np.isfinite(found).all() or (found < 0).any() or found.sum() <= 0:
        raise InvalidValueError(f"weights must not be negative, and some greater than 0, got {weights!r:.80}")
    return found
