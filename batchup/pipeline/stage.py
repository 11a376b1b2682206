"""The contract of the stages that a pipeline is made of, and what a pass over them knows."""

from __future__ import annotations

import math
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from batchup._indices import Indices
from batchup._numbers import whole_number
from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.pipeline.nested import Shape
from batchup.sampling.order import Key

if TYPE_CHECKING:
    from batchup.pipeline.workers import Where
    from batchup.work_pool import AbstractWorkerPool


ORDERS = 8  # of a stage, in as many repetitions, that are kept


class Run:
    """One pass over a pipeline: its epoch, what it draws for stages without a seed, the workers that it has.

    Parameters
    ----------
    epoch : int
        Which order seeded stages take.
    entropy : int
        What stages without a seed draw from.
    numbers : dict
        The number of each stage, which is the same in any program.
    """

    def __init__(self, epoch: int, entropy: int, numbers: dict[Stage, int]) -> None:
        self.epoch = epoch
        self.entropy = entropy
        self.path: tuple[int, ...] = ()  # which repetition this is, of each `repeat` that it is in
        self.numbers = numbers
        self.alone = False  # whether nobody helps: somebody else's workers make this pass
        self._pools: dict[Any, Any] = {}
        self._orders: dict[Stage, dict[Any, Any]] = {}
        self._users: weakref.WeakSet[Any] = weakref.WeakSet()
        self._helpers: weakref.WeakSet[Any] = weakref.WeakSet()
        self._lock = threading.Lock()

    def repetition(self, number: int) -> Run:
        """Return the same pass, in a repetition of a stage."""
        return self._varied(self.epoch, self.entropy, (*self.path, number))

    def in_epoch(self, epoch: int) -> Run:
        """Return the same pass, in another epoch."""
        return self._varied(epoch, self.entropy, self.path)

    def within(self, entropy: int, numbers: dict[Stage, int]) -> Run:
        """Return a pass over a part of the pipeline that draws for itself, with the same helpers."""
        run = self._varied(0, entropy, ())
        run.numbers = numbers
        return run

    def _varied(self, epoch: int, entropy: int, path: tuple[int, ...]) -> Run:
        run = copy(self)
        run.epoch, run.entropy, run.path = epoch, entropy, path
        return run

    def key(self, stage: Stage, seed: int | None, step: int = 0) -> Key:
        """Return what a stage draws from in this pass, or a step of it."""
        if seed is None:
            seeds = np.random.SeedSequence([self.entropy, self.numbers[stage] + step])
            seed = int(seeds.generate_state(1, np.uint64)[0])
        return Key(seed, self.epoch, self.path)

    def order(self, stage: Stage, make: Callable[[], Any]) -> Any:
        """Return the order of a stage in this repetition, which is made once."""
        now = (self.epoch, self.entropy, self.path)
        orders = self._orders.setdefault(stage, {})
        order = orders.get(now)
        if order is None:
            if len(orders) >= ORDERS:
                orders.pop(next(iter(orders)), None)
            order = orders[now] = make()
        return order

    def pool(self, where: Where) -> AbstractWorkerPool:
        """Return the workers of a place, which are there until `close`."""
        with self._lock:
            if where not in self._pools:
                self._pools[where] = where.pool()
            pool: AbstractWorkerPool = self._pools[where]
            return pool

    def helped_by(self, helper: Any) -> None:
        """Take note of something that must `end` with the pass."""
        self._helpers.add(helper)

    def used_by(self, user: Any) -> None:
        """Take note of something that must `end` with the pass, before what helps it."""
        self._users.add(user)

    def close(self) -> None:
        """End the workers, and whatever else helps."""
        for helper in [*self._users, *self._helpers]:
            helper.end()
        while self._pools:
            where, pool = self._pools.popitem()
            where.leave(pool)


class Stage(ABC):
    """One step of a pipeline: it gives items, any number of times, from any place on.

    A stage over random access may have `item`, and tells its `length`; one over a stream has what the stream has.

    Attributes
    ----------
    verb : str
        How it is called.
    given : tuple
        The arguments that tell it from others with the same verb.
    parents : tuple of Stage
        Where its items come from.
    where : Where or None
        Which workers call functions here and downstream; None: nobody but the consumer.
    """

    verb = "items"
    given: tuple[Any, ...] = ()
    parents: Sequence[Stage] = ()
    where: Where | None = None

    @abstractmethod
    def items(self, run: Run, start: int = 0) -> Iterator[Any]:
        """Return the items of a pass from a place on."""

    def length(self) -> int | float | None:
        """Return how many items there are: `math.inf` if they never end, None if only the items tell."""
        return None

    @property
    def endless(self) -> bool:
        """Whether it is known that the items never end, though they may not be counted."""
        return self.length() == math.inf or any(parent.endless for parent in self.parents)

    @property
    def random_access(self) -> bool:
        """Whether `item` works, and the length is a number."""
        return False

    def item(self, index: int, run: Run) -> Any:
        """Return one item; `index` is not negative, and less than the length."""
        raise NotImplementedError

    def at(self, indices: Iterator[int], run: Run) -> Iterator[Any]:
        """Yield the items at some indices."""
        return (self.item(index, run) for index in indices)

    def gather(self, indices: Indices, run: Run) -> Any:
        """Return the items at some indices, or of a slice, stacked; None if they can only be taken one by one."""
        return None

    def shape(self) -> Shape | None:
        """Return what an item looks like, if that is known without making one."""
        return None

    def checked_pass(self, run: Run) -> None:
        """Raise if a pass cannot be made."""
        for parent in self.parents:
            parent.checked_pass(run)

    @property
    def label(self) -> str:
        """The verb and its arguments, to be shown."""
        return f"{self.verb}({', '.join(shown(value) for value in self.given)})"

    @property
    def fingerprints(self) -> Sequence[str]:
        """The same with all that items depend on, by which it is seen that a state belongs to another pipeline.

        There are several, where a stage does what several could do.
        """
        return (self.label,)


class Following(Stage):
    """A stage over one other, with the same workers.

    Parameters
    ----------
    parent : Stage
        Where the items come from.
    """

    def __init__(self, parent: Stage) -> None:
        self.parents: Sequence[Stage] = (parent,)
        self.parent = parent
        self.where = parent.where


class Passing(Following):
    """One that has as many items, which look the same and can be had in the same way, unless it says otherwise."""

    def length(self) -> int | float | None:
        return self.parent.length()

    @property
    def random_access(self) -> bool:
        return self.parent.random_access

    def shape(self) -> Any:
        return self.parent.shape()


def numbered(stage: Stage) -> dict[Stage, int]:
    """Return a stage and all that its items come from, each with a number, which what follows does not change."""
    numbers: dict[Stage, int] = {}
    _number(stage, numbers)
    return numbers


def _number(stage: Stage, numbers: dict[Stage, int]) -> None:
    for parent in stage.parents:
        if parent not in numbers:
            _number(parent, numbers)
    last = next(reversed(numbers), None)
    numbers[stage] = 0 if last is None else numbers[last] + len(last.fingerprints)


def structure(stage: Stage) -> str:
    """Return a pipeline as text, without what differs from one program to the next."""
    numbers = numbered(stage)
    told = []
    for one, number in numbers.items():
        before = [numbers[parent] + len(parent.fingerprints) - 1 for parent in one.parents]
        for place, step in enumerate(one.fingerprints, number):
            follows = before == [place - 1] or not (before or place)
            told.append(step if follows else f"{place}: {step} of {before}")
            before = [place]
    return " > ".join(told)


def shared_where(parents: Sequence[Stage]) -> Where | None:
    """Return the workers of several stages, if they have the same."""
    return parents[0].where if all(parent.where == parents[0].where for parent in parents) else None


def lengths_of(stages: Sequence[Stage]) -> list[int | float | None]:
    """Return the length of each stage, asking none twice."""
    lengths = {stage: stage.length() for stage in dict.fromkeys(stages)}
    return [lengths[stage] for stage in stages]


def from_place(items: Iterator[Any], start: int) -> Iterator[Any]:
    """Return the items from a place on, of a stage that cannot enter anywhere."""
    return islice(items, start, None) if start else items


def shown(value: Any) -> str:
    """Show an argument briefly, the same in each program."""
    if callable(value):
        return str(getattr(value, "__qualname__", type(value).__name__))
    return repr(value) if isinstance(value, (int, float, str, bool, tuple, type(None))) else type(value).__name__


def known(length: Any) -> bool:
    """Return whether a length is a number."""
    return length is not None and length != math.inf


def noted(error: BaseException, where: str) -> BaseException:
    """Return an error with a note that tells where it happened; the first note counts."""
    notes = error.__dict__.setdefault("__notes__", [])  # what add_note does, also before Python 3.11
    if not any(str(note).startswith("in the dataset") for note in notes):
        notes.append(f"in the dataset: {where}")
    return error


def checked_function(fn: Any, verb: str) -> Callable[..., Any]:
    """Return what a verb calls; an error unless it can be called."""
    if not callable(fn):
        raise InvalidTypeError(f"{verb}() takes a function, got {type(fn).__name__}")
    function: Callable[..., Any] = fn
    return function


def checked_seed(seed: Any, verb: str) -> int | None:
    """Return a seed; None draws another one for each pass."""
    if seed is None:
        return None
    if isinstance(seed, (np.random.Generator, np.random.RandomState)):
        raise InvalidValueError(f"{verb}() takes an int as seed, so that a pass can be made again, got a generator")
    return whole_number(seed, f"the seed of {verb}()")
