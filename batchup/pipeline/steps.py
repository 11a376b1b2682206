"""What is done with an item on its way: functions that are called for it, one after the other."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import compress, count
from typing import Any

from batchup.data_source.mapped import Chance, rng_parameter
from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.pipeline.nested import selected
from batchup.pipeline.stage import Run, Stage, checked_function, checked_seed, noted, shown

Function = Callable[..., Any]


class Places:
    """Which item goes into a chain of functions just now: for errors, and for what is drawn there.

    Parameters
    ----------
    start : int
        The place of the first item; the others follow.
    """

    def __init__(self, start: int) -> None:
        self._start = start
        self._count = count(1)  # never 0, so that nothing is left out

    def counted(self, items: Iterable[Any]) -> Iterator[Any]:
        """Return the items, each counted when it is taken, at no cost to speak of."""
        return compress(items, self._count)

    def note(self, error: Exception, step: Step) -> None:
        """Note in an error at which item it happened; nobody counts after that."""
        noted(error, f"{step.label}, item {self._now()}")

    def drawing(self, fn: Function, chance: Chance) -> Function:
        """Return a function that is given the generator of each place in turn."""
        places = count(self._start)
        return lambda item: fn(item, rng=chance.at(next(places)))

    def _now(self) -> int:
        return self._start + next(self._count) - 2


class Followed(Places):
    """The same for items in any order.

    Parameters
    ----------
    indices : iterator of int
        Their places.
    """

    def __init__(self, indices: Iterator[int]) -> None:
        self._indices = indices
        self._last = -1

    def counted(self, items: Iterable[Any]) -> Iterator[Any]:
        for index, item in zip(self._indices, items, strict=True):
            self._last = index
            yield item

    def drawing(self, fn: Function, chance: Chance) -> Function:
        return lambda item: fn(item, rng=chance.at(self._last))

    def _now(self) -> int:
        return self._last


def mapped(items: Iterable[Any], fn: Function, step: Step, places: Places) -> Iterator[Any]:
    """Yield what a function returns for each item."""
    for item in items:
        try:
            item = fn(item)
        except Exception as error:
            places.note(error, step)
            raise
        yield item


def filtered(items: Iterable[Any], fn: Function, step: Step, places: Places) -> Iterator[Any]:
    """Yield the items for which a function is true."""
    for item in items:
        try:
            wanted = fn(item)
        except Exception as error:
            places.note(error, step)
            raise
        if wanted:
            yield item


def mapped_and_filtered(
    items: Iterable[Any], fn: Function, wanted: Function, step: Step, other: Step, places: Places
) -> Iterator[Any]:
    """Yield what `filtered` yields of what `mapped` yields: one generator is quicker than two."""
    for item in items:
        at = step
        try:
            item = fn(item)
            at = other
            if not wanted(item):
                continue
        except Exception as error:
            places.note(error, at)
            raise
        yield item


def flattened(items: Iterable[Any], fn: Function, step: Step, places: Places) -> Iterator[Any]:
    """Yield all that a function returns for each item."""
    for item in items:
        try:
            parts = fn(item)
            if not hasattr(parts, "__iter__"):
                raise InvalidTypeError(
                    f"flatmap() takes a function that returns an iterable, got {type(parts).__name__}"
                )
            yield from parts
        except Exception as error:
            places.note(error, step)
            raise


class Spread:
    """Calls a function with the parts of an item: a dict as keywords, a tuple as arguments."""

    def __init__(self, fn: Function) -> None:
        self.fn = fn
        self.__qualname__ = getattr(fn, "__qualname__", type(fn).__name__)
        self.__signature__ = inspect.Signature([found] if (found := rng_parameter(fn)) is not None else [])

    def __call__(self, item: Any, **more: Any) -> Any:
        if isinstance(item, Mapping):
            return self.fn(**item, **more)
        if isinstance(item, tuple):
            return self.fn(*item, **more)
        raise InvalidTypeError(f"starmap() takes items that are tuples or dicts, got {type(item).__name__}: use map()")


class Selecting:
    """Takes some parts of an item: a dict of them from a dict, a tuple from a tuple."""

    def __init__(self, keys: tuple[Any, ...], as_tuple: bool) -> None:
        self.keys = keys
        self.as_tuple = as_tuple
        self.__qualname__ = ", ".join(map(repr, keys))

    def __call__(self, item: Any) -> Any:
        parts = selected(item, self.keys)
        if self.as_tuple or not isinstance(item, Mapping):
            return parts
        return dict(zip(self.keys, parts, strict=True))


@dataclass(frozen=True)
class Step:
    """A function that is called for each item.

    Attributes
    ----------
    over : callable
        `mapped`, `filtered` or `flattened`.
    fn : callable
        The function.
    verb : str
        How that is called.
    seed : int or None
        What a function with a parameter `rng` draws from.
    draws : bool
        Whether the function is given an `rng`.
    number : int
        How many functions that draw come before, so that none draws what another one does.
    chance : Chance or None
        What is drawn in a pass.
    """

    over: Callable[..., Iterator[Any]]
    fn: Function
    verb: str
    seed: int | None = None
    draws: bool = False
    number: int = 0
    chance: Chance | None = None

    @property
    def one_to_one(self) -> bool:
        """Whether as many items come out as go in."""
        return self.over is mapped

    @property
    def label(self) -> str:
        """The call."""
        return f"{self.verb}({shown(self.fn)})"

    def called(self, places: Places) -> Function:
        """Return the function, given what it draws from, if it does."""
        return self.fn if self.chance is None else places.drawing(self.fn, self.chance)

    def within(self, run: Run, stage: Stage, place: int) -> Step:
        """Return the step in a pass; `place` is that among the steps of the stage."""
        return replace(self, chance=Chance(run.key(stage, self.seed, place), self.number, 0)) if self.draws else self


def checked_step(over: Any, fn: Any, verb: str, seed: Any) -> Step:
    """Return the step of a verb.

    Raises
    ------
    TypeError, ValueError
        If `fn` cannot be called, or a seed is given for one that takes no `rng`.
    """
    seed = checked_seed(seed, verb)
    fn = checked_function(fn, verb)
    parameter = rng_parameter(fn)
    if seed is not None and parameter is None:
        raise InvalidValueError(f"{verb}() got a seed for {shown(fn)}, which has no parameter rng to draw with")
    needed = parameter is not None and parameter.default is inspect.Parameter.empty
    return Step(over, fn, verb, seed, draws=needed or seed is not None)


def passed_through(items: Iterator[Any], steps: tuple[Step, ...], places: Places) -> Iterator[Any]:
    """Return the items that some steps make, one after the other."""
    left = deque(steps)
    while left:
        step = left.popleft()
        if step.over is mapped and left and left[0].over is filtered:
            other = left.popleft()
            items = mapped_and_filtered(items, step.called(places), other.called(places), step, other, places)
        else:
            items = step.over(items, step.called(places), step, places)
    return items
