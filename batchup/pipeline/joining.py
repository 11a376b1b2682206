"""Verbs that make one dataset of several: concat, zip, roundrobin."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import chain, tee
from typing import Any

from batchup._indices import Indices
from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.pipeline.stage import Run, Stage, from_place, known, lengths_of, shared_where


class Concatenated(Stage):
    """The items of one dataset after those of the other."""

    verb = "concat"

    def __init__(self, parents: Sequence[Stage]) -> None:
        # those of sums of sums side by side, for there may be many
        self.parents = [part for one in parents for part in (one.parents if isinstance(one, Concatenated) else (one,))]
        self.where = shared_where(self.parents)

    def items(self, run: Run, start: int = 0) -> Iterator[Any]:
        for number, parent in enumerate(self.parents):
            length = parent.length()
            if not start or not known(length):
                rest = (other.items(run) for other in self.parents[number + 1 :])
                yield from from_place(chain(parent.items(run), chain.from_iterable(rest)), start)
                return
            if start < int(length):  # type: ignore[arg-type]
                yield from parent.items(run, start)
                start = 0
            else:
                start -= int(length)  # type: ignore[arg-type]

    def length(self) -> int | float | None:
        return total_length(self.parents)

    @property
    def random_access(self) -> bool:
        return all(parent.random_access for parent in dict.fromkeys(self.parents))

    def item(self, index: int, run: Run) -> Any:
        for parent in self.parents:
            length = int(parent.length() or 0)
            if index < length:
                return parent.item(index, run)
            index -= length
        raise IndexError(index)

    def shape(self) -> Any:
        shapes = [parent.shape() for parent in self.parents]
        return shapes[0] if all(shape == shapes[0] for shape in shapes) else None


def total_length(stages: Sequence[Stage]) -> int | float | None:
    """Return how many items some stages have together."""
    lengths = lengths_of(stages)
    if math.inf in lengths:
        return math.inf
    return None if None in lengths else sum(lengths)  # type: ignore[arg-type]


class Zipped(Stage):
    """Tuples of an item of each dataset; they end with the shortest."""

    verb = "zip"

    def __init__(self, parents: Sequence[Stage]) -> None:
        self.parents = parents
        self.where = shared_where(parents)

    def items(self, run: Run, start: int = 0) -> Iterator[Any]:
        return zip(*(parent.items(run, start) for parent in self.parents), strict=False)

    def length(self) -> int | float | None:
        lengths = lengths_of(self.parents)
        return None if None in lengths else min(lengths)  # type: ignore[type-var]

    @property
    def endless(self) -> bool:
        return all(parent.endless for parent in self.parents)

    @property
    def random_access(self) -> bool:
        return all(parent.random_access for parent in dict.fromkeys(self.parents))

    def item(self, index: int, run: Run) -> Any:
        return tuple(parent.item(index, run) for parent in self.parents)

    def at(self, indices: Iterator[int], run: Run) -> Iterator[Any]:
        several = tee(indices, len(self.parents))
        return zip(*(parent.at(wanted, run) for parent, wanted in zip(self.parents, several, strict=True)), strict=True)

    def gather(self, indices: Indices, run: Run) -> Any:
        parts = [parent.gather(indices, run) for parent in self.parents]
        return None if any(part is None for part in parts) else tuple(parts)

    def shape(self) -> Any:
        shapes = tuple(parent.shape() for parent in self.parents)
        return None if None in shapes else shapes


class RoundRobin(Stage):
    """An item of each dataset in turn; those that have ended are left out."""

    verb = "roundrobin"

    def __init__(self, parents: Sequence[Stage]) -> None:
        self.parents = parents
        self.where = shared_where(parents)

    def items(self, run: Run, start: int = 0) -> Iterator[Any]:
        return from_place(in_turn([parent.items(run) for parent in self.parents]), start)

    def length(self) -> int | float | None:
        return total_length(self.parents)


def in_turn(rows: list[Iterator[Any]]) -> Iterator[Any]:
    """Yield an item of each iterator in turn."""
    end = object()
    while rows:
        left = []
        for items in rows:
            item = next(items, end)
            if item is not end:
                yield item
                left.append(items)
        rows = left


def checked_datasets(datasets: Any, verb: str) -> list[Stage]:
    """Return the stages of several datasets.

    Raises
    ------
    TypeError, ValueError
        If it is no list of datasets, or there are none.
    """
    from batchup.pipeline.sources import one_source

    if hasattr(datasets, "_stage") or not hasattr(datasets, "__iter__"):
        raise InvalidTypeError(f"{verb}() takes a list of datasets, got {type(datasets).__name__}")
    stages = [one_source(dataset) for dataset in datasets]
    if not stages:
        raise InvalidValueError(f"{verb}() needs at least one dataset")
    return stages
