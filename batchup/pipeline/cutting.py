"""Verbs that cut the row of items: take, skip, slices, batches, windows."""

from __future__ import annotations

import math
import operator
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, tee
from typing import Any

import numpy as np

from batchup._indices import Indices
from batchup.errors import IndexRangeError, InvalidTypeError, InvalidValueError
from batchup.pipeline.nested import Shape, each_leaf, padded, stacked, unstacked
from batchup.pipeline.stage import Following, Passing, Run, Stage, from_place, known, noted


class Sliced(Passing):
    """Each `step`-th item from `start` up to `stop`; neither is negative, and `step` is positive."""

    verb = "slice"

    def __init__(self, parent: Stage, start: int, stop: int | None, step: int, label: str) -> None:
        super().__init__(parent)
        self.start, self.stop, self.step = (
            min(start, sys.maxsize),
            None if stop is None else min(stop, sys.maxsize),
            min(step, sys.maxsize),
        )
        self._label = label

    def items(self, run: Run, start: int = 0) -> Iterator[Any]:
        begin = self.start + start * self.step
        if begin >= (sys.maxsize if self.stop is None else self.stop):
            return iter(())  # and nothing is read
        count = None if self.stop is None else (self.stop - begin - 1) // self.step * self.step + 1  # and no item more
        return islice(self.parent.items(run, begin), 0, count, self.step)

    def length(self) -> int | float | None:
        length = self.parent.length()
        if self.stop is not None and (length == math.inf or self.stop <= self.start):
            length = self.stop
        if not known(length):
            return length
        stop = int(length) if self.stop is None else min(self.stop, int(length))  # type: ignore[arg-type]
        return len(range(self.start, stop, self.step))

    @property
    def endless(self) -> bool:
        return self.stop is None and self.parent.endless

    def item(self, index: int, run: Run) -> Any:
        return self.parent.item(self.start + index * self.step, run)

    def at(self, indices: Iterator[int], run: Run) -> Iterator[Any]:
        return self.parent.at((self.start + index * self.step for index in indices), run)

    def gather(self, indices: Indices, run: Run) -> Any:
        if isinstance(indices, slice):
            if self.step == 1:
                return self.parent.gather(slice(indices.start + self.start, indices.stop + self.start), run)
            indices = np.arange(indices.start, indices.stop)
        return self.parent.gather(indices * self.step + self.start, run)

    @property
    def label(self) -> str:
        return self._label


class Reversed(Passing):
    """The items of a slice whose step is negative, over random access."""

    def __init__(self, parent: Stage, indices: range) -> None:
        super().__init__(parent)
        self.indices = indices
        self.given = (indices.start, indices.stop, indices.step)
        self.verb = "slice"

    def items(self, run: Run, start: int = 0) -> Iterator[Any]:
        return self.parent.at(iter(self.indices[start:]), run)

    def length(self) -> int:
        return len(self.indices)

    def item(self, index: int, run: Run) -> Any:
        return self.parent.item(self.indices[index], run)


def sliced(parent: Stage, places: slice) -> Stage:
    """Return the stage of ``dataset[start:stop:step]``.

    Raises
    ------
    IndexRangeError
        If it counts from the end of a stream.
    """
    try:
        start, stop, step = (
            None if value is None else operator.index(value) for value in (places.start, places.stop, places.step)
        )
    except TypeError as error:
        raise InvalidTypeError(f"a slice takes integers, got {places!r}") from error
    length = parent.length()
    label = f"[{':'.join('' if value is None else str(value) for value in (start, stop, step))}]"
    if step == 0:
        raise InvalidValueError("the step of a slice cannot be 0")
    if any(value is not None and value < 0 for value in (start, stop, step)):
        if not known(length):
            raise IndexRangeError("a dataset whose length is not known cannot be sliced from its end")
        indices = range(*slice(start, stop, step).indices(int(length)))  # type: ignore[arg-type]
        if indices.step > 0:
            return Sliced(parent, indices.start, indices.stop, indices.step, label)
        if parent.random_access:
            return Reversed(parent, indices)
        raise IndexRangeError("only a dataset over random access can be read backwards: cache() it into a list before")
    return Sliced(parent, start or 0, stop, step or 1, label)


class Batched(Passing):
    """Some items together, made one by a function."""

    def __init__(self, parent: Stage, size: int, drop_last: bool, join: Stacking, verb: str, gathers: bool) -> None:
        super().__init__(parent)
        self.size, self.drop_last, self.verb = min(size, sys.maxsize), drop_last, verb
        self.given = (size, "drop_last") if drop_last else (size,)
        self._join = join
        self._gathers = gathers

    def items(self, run: Run, start: int = 0) -> Iterator[Any]:
        parent = self.parent
        if self._gathers and known(length := self.length()) and parent.gather(slice(0, 0), run) is not None:
            return (self.item(number, run) for number in range(start, int(length or 0)))
        return batches(parent.items(run, start * self.size), self.size, self.drop_last, self._join, start, self.label)

    def length(self) -> int | float | None:
        length = self.parent.length()
        if not known(length):
            return length
        return int(length) // self.size if self.drop_last else -(-int(length) // self.size)  # type: ignore[arg-type]

    def item(self, index: int, run: Run) -> Any:
        parent = self.parent
        places = self._places(index)
        if self._gathers:
            batch = parent.gather(slice(places.start, places.stop), run)
            if batch is not None:
                return batch
        return next(
            batches(
                iter([parent.item(place, run) for place in places]), self.size, False, self._join, index, self.label
            )
        )

    def at(self, indices: Iterator[int], run: Run) -> Iterator[Any]:
        if self._gathers and self.parent.gather(slice(0, 0), run) is not None:
            return super().at(indices, run)
        wanted, again = tee(indices)
        items = self.parent.at((place for index in wanted for place in self._places(index)), run)
        return (
            next(batches(islice(items, len(self._places(index))), self.size, False, self._join, index, self.label))
            for index in again
        )

    def _places(self, index: int) -> range:
        return range(index * self.size, min((index + 1) * self.size, int(self.parent.length() or 0)))

    def shape(self) -> Any:
        shape = self.parent.shape()
        if shape is None or not self._gathers:
            return None
        length = self.parent.length()
        even = self.drop_last or (known(length) and int(length or 0) % self.size == 0)
        return each_leaf(lambda leaf: Shape((self.size if even else None, *leaf.shape), leaf.dtype), shape)

    @property
    def fingerprints(self) -> Sequence[str]:
        return (self.label + self._join.fingerprint,)


def batches(
    items: Iterator[Any], size: int, drop_last: bool, join: Callable[[list[Any]], Any], start: int, name: str
) -> Iterator[Any]:
    """Yield so many items together, and what is left at the end unless it is to be dropped."""
    number = start
    while taken := list(islice(items, size)):
        if drop_last and len(taken) < size:
            return
        try:
            batch = join(taken)
        except Exception as error:
            noted(error, f"items {number * size} to {number * size + len(taken) - 1}, {name}")
            raise
        del taken
        yield batch
        del batch
        number += 1


class Unbatched(Following):
    """The items of batches."""

    verb = "unbatch"

    def __init__(self, parent: Stage) -> None:
        super().__init__(parent)

    def items(self, run: Run, start: int = 0) -> Iterator[Any]:
        return from_place((item for batch in self.parent.items(run) for item in unstacked(batch)), start)


class Windows(Passing):
    """Tuples of items that follow one another."""

    verb = "window"

    def __init__(self, parent: Stage, size: int, step: int) -> None:
        super().__init__(parent)
        self.size, self.step = min(size, sys.maxsize), min(step, sys.maxsize)
        self.given = (size, step)

    def items(self, run: Run, start: int = 0) -> Iterator[Any]:
        return windows(self.parent.items(run, start * self.step), self.size, self.step)

    def length(self) -> int | float | None:
        length = self.parent.length()
        return len(range(0, int(length) - self.size + 1, self.step)) if known(length) else length  # type: ignore[arg-type]

    def item(self, index: int, run: Run) -> Any:
        return tuple(self.parent.item(index * self.step + place, run) for place in range(self.size))

    def shape(self) -> None:
        return None


def windows(items: Iterator[Any], size: int, step: int) -> Iterator[tuple[Any, ...]]:
    """Yield tuples of `size` items that follow one another, each `step` items after the one before."""
    held: deque[Any] = deque(islice(items, size), size)
    while len(held) == size:
        yield tuple(held)
        more = list(islice(items, step))  # some of them are skipped, if there are more than in a window
        if len(more) < step:
            return
        held.extend(more)


class Enumerated(Passing):
    """Tuples of a number and an item."""

    verb = "enumerate"

    def __init__(self, parent: Stage, first: int) -> None:
        super().__init__(parent)
        self.first = first
        self.given = (first,)

    def items(self, run: Run, start: int = 0) -> Iterator[Any]:
        return enumerate(self.parent.items(run, start), self.first + start)

    def item(self, index: int, run: Run) -> Any:
        return self.first + index, self.parent.item(index, run)

    def at(self, indices: Iterator[int], run: Run) -> Iterator[Any]:
        places, wanted = tee(indices)
        return zip((self.first + index for index in places), self.parent.at(wanted, run), strict=True)

    def shape(self) -> Any:
        shape = self.parent.shape()
        return None if shape is None else (Shape((), np.dtype(int)), shape)


class Stacking:
    """Makes a batch of items; see `nested.stacked`."""

    def __init__(self, default_dtype: Any) -> None:
        self.default_dtype = default_dtype

    @property
    def fingerprint(self) -> str:
        """What batches depend on beside the items."""
        return f" as {self.default_dtype}"

    def __call__(self, items: list[Any]) -> Any:
        return stacked(items, self.default_dtype)


class Padding(Stacking):
    """Makes a batch of items whose arrays have any lengths."""

    def __init__(self, default_dtype: Any, value: Any) -> None:
        super().__init__(default_dtype)
        self.value = value

    @property
    def fingerprint(self) -> str:
        return f"{super().fingerprint} with {self.value!r}"

    def __call__(self, items: list[Any]) -> Any:
        return stacked(items, self.default_dtype, self._leaves)

    def _leaves(self, leaves: list[Any]) -> Any:
        if all(np.ndim(leaf) == 0 for leaf in leaves):
            return stacked(leaves, self.default_dtype)
        return padded(leaves, self.value)
