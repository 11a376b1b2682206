"""Verbs that call a function for each item, here or on workers: map, starmap, filter, flatmap."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress, count, tee
from typing import Any

from batchup.data_source.mapped import Chance, rng_parameter
from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.pipeline.nested import selected
from batchup.pipeline.stage import (
    Following,
    Run,
    Stage,
    checked_function,
    checked_seed,
    from_place,
    known,
    noted,
    numbered,
    shown,
)
from batchup.pipeline.workers import Where, worked

Function = Callable[..., Any]

PLACES = ("num_threads", "num_processes", "executor", "ordered", "buffer_size", "background")
BACKGROUND = 16  # items that are made ahead in the background


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


class Applied(Following):
    """A stage whose items become what functions make of them.

    Parameters
    ----------
    parent : Stage
        Where the items come from.
    steps : tuple of Step
        The functions, one after the other.
    where : Where or None
        The workers.
    """

    def __init__(self, parent: Stage, steps: tuple[Step, ...], where: Where | None) -> None:
        super().__init__(parent)
        self.steps = steps
        self.where = where
        self._draws = any(step.draws for step in steps)
        self.one_to_one = all(step.one_to_one for step in steps)

    def items(self, run: Run, start: int = 0) -> Iterator[Any]:
        parent = self.parent
        begin = start if self.one_to_one else 0
        items = parent.items(run, begin)
        where = self._by_workers(run)
        if where is not None:
            left = int(length) - begin if known(length := parent.length()) else None  # type: ignore[arg-type]
            made = worked(items, self._in(run), count(begin), where, run, left)
        else:
            places = Places(begin)
            made = passed_through(places.counted(items), self._in(run), places)
        return from_place(made, start - begin)

    def _by_workers(self, run: Run) -> Where | None:
        return self.where if self.where is not None and self.where.anywhere and not run.alone else None

    def _in(self, run: Run) -> tuple[Step, ...]:
        """Return the steps in a pass."""
        if not self._draws:
            return self.steps
        return tuple(step.within(run, self, place) for place, step in enumerate(self.steps))

    def length(self) -> int | float | None:
        return self.parent.length() if self.one_to_one else None

    @property
    def random_access(self) -> bool:
        return self.one_to_one and self.parent.random_access

    def item(self, index: int, run: Run) -> Any:
        places = Places(index)
        return next(passed_through(places.counted((self.parent.item(index, run),)), self._in(run), places))

    def at(self, indices: Iterator[int], run: Run) -> Iterator[Any]:
        places, wanted = tee(indices)
        items, where = self.parent.at(wanted, run), self._by_workers(run)
        if where is not None:
            return worked(items, self._in(run), places, where, run)
        followed = Followed(places)
        return passed_through(followed.counted(items), self._in(run), followed)

    def shape(self) -> Any:
        return self.parent.shape() if all(step.over is filtered for step in self.steps) else None

    @property
    def label(self) -> str:
        return ".".join(step.label for step in self.steps)

    @property
    def fingerprints(self) -> Sequence[str]:
        return [step.label if step.seed is None else f"{step.label} with {step.seed}" for step in self.steps]


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


def applied(parent: Stage, step: Step, where: Where | None) -> Stage:
    """Return a stage that calls a function, together with those before it where the same workers call them.

    `where` is where it is called; None is where those before are.
    """
    if step.draws:
        before = [other for stage in numbered(parent) if isinstance(stage, Applied) for other in stage.steps]
        step = replace(step, number=sum(other.draws for other in before))
    if where is None:
        where = parent.where
        if isinstance(parent, Applied) and (parent.one_to_one or not step.draws):
            # what is drawn depends on the place of an item, which workers do not know behind a filter
            return Applied(parent.parents[0], (*parent.steps, step), where)
    return Applied(parent, (step,), where)


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


class Transformed(Following):
    """The items that a function makes of an iterator over those before."""

    verb = "transform"

    def __init__(self, parent: Stage, fn: Function) -> None:
        super().__init__(parent)
        self.fn = fn
        self.given = (fn,)

    def items(self, run: Run, start: int = 0) -> Iterator[Any]:
        items = self.fn(self.parent.items(run))
        if not hasattr(items, "__iter__"):
            raise InvalidTypeError(f"transform() takes a function that returns an iterator, got {type(items).__name__}")
        return from_place(iter(items), start)

    @property
    def endless(self) -> bool:
        return False
