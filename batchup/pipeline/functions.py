"""The stages of verbs that call functions: for each item, here or on workers, or for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count, tee
from typing import Any

from batchup.errors import InvalidTypeError
from batchup.pipeline.stage import (
    Following,
    Run,
    Stage,
    from_place,
    known,
    numbered,
)
from batchup.pipeline.steps import Followed, Places, Step, filtered, passed_through
from batchup.pipeline.workers import Where, worked

PLACES = ("num_threads", "num_processes", "executor", "ordered", "buffer_size", "background")
BACKGROUND = 16  # items that are made ahead in the background


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


class Transformed(Following):
    """The items that a function makes of an iterator over those before."""

    verb = "transform"

    def __init__(self, parent: Stage, fn: Callable[..., Any]) -> None:
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
