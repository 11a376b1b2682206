"""Where the items of a pipeline come from: iterables, columns side by side, functions that begin anew."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from batchup._indices import Indices
from batchup._repr import Represented
from batchup.columns import as_column
from batchup.errors import InvalidTypeError, LengthError, StateError
from batchup.pipeline.nested import Shape
from batchup.pipeline.stage import Passing, Run, Stage, from_place, known

_END = object()


def source_of(data: tuple[Any, ...], named: Mapping[str, Any]) -> Stage:
    """Return the stage for what a `Dataset` was given.

    Raises
    ------
    TypeError, ValueError
        If that cannot be iterated over, or the lengths differ.
    """
    if data and named:
        raise InvalidTypeError("a Dataset takes either data, for items that are tuples, or keywords, for dicts")
    if not data and not named:
        raise InvalidTypeError("a Dataset needs data: Dataset(iterable), Dataset(X, y), Dataset(x=X, y=y)")
    if named:
        return Columns(named)
    if len(data) > 1:
        return Columns(data)
    (only,) = data
    if isinstance(only, Mapping):
        return Columns(only)
    if hasattr(only, "iloc") and hasattr(only, "columns"):  # a DataFrame
        return Columns({name: only[name] for name in only.columns})
    return one_source(only)


def one_source(data: Any) -> Stage:
    """Return the stage of one sequence, iterable or function."""
    stage = getattr(data, "_stage", None)
    if isinstance(stage, Stage) and hasattr(data, "_epoch"):
        return InEpoch(stage, data._epoch) if data._epoch else stage
    if isinstance(data, type):
        return Called(data)
    if hasattr(data, "__next__"):
        return Iterated(data)
    if is_sequence(data):
        return Indexed(data)
    if hasattr(data, "__iter__"):
        return Streamed(data)
    if callable(data):
        return Called(data)
    raise InvalidTypeError(
        f"a Dataset takes something to iterate over, or a function that returns it, got {type(data).__name__}"
    )


def is_sequence(data: Any) -> bool:
    """Return whether items can be asked for by number."""
    if isinstance(data, (Mapping, set, frozenset)):
        return False
    if getattr(data, "shape", None) == ():
        raise InvalidTypeError("an array without axes has no items")
    return hasattr(data, "__len__") and hasattr(data, "__getitem__")


class Indexed(Stage):
    """The items of a sequence or an array-like."""

    verb = "Dataset"

    def __init__(self, data: Any) -> None:
        self.data = data
        self._rows = getattr(data, "iloc", data)  # pandas: by place, not by label
        self._iterable = hasattr(data, "__iter__")
        self._column: Any = None  # that is made when it is first needed; False if there can be none
        self.given = (self._described(),)

    def items(self, run: Run, start: int = 0) -> Iterator[Any]:
        if not start and self._iterable:
            return iter(self.data)
        if isinstance(self.data, (list, tuple, range, np.ndarray)):
            return iter(self.data[start:])
        return self.at(iter(range(start, len(self.data))), run)

    def length(self) -> int:
        return len(self.data)

    @property
    def random_access(self) -> bool:
        return True

    def item(self, index: int, run: Run) -> Any:
        return self._rows[index]

    def at(self, indices: Iterator[int], run: Run) -> Iterator[Any]:
        if isinstance(self.data, (list, tuple, range, np.ndarray)):
            return map(self.data.__getitem__, indices)
        return (self._rows[index] for index in indices)  # map() would end where one raises StopIteration

    def gather(self, indices: Indices, run: Run) -> Any:
        if self._column is None:
            dtype, shape = getattr(self.data, "dtype", None), getattr(self.data, "shape", None)
            gathers = isinstance(dtype, np.dtype) and not dtype.hasobject and shape is not None
            gathers = gathers and not isinstance(self.data, np.ma.MaskedArray)
            self._column = as_column(self.data) if gathers else False
        return self._column.gather(indices) if self._column else None

    def shape(self) -> Shape | None:
        data = self.data
        if isinstance(data, range):
            return Shape((), np.dtype(int))
        if getattr(data, "shape", None) is None or getattr(data, "dtype", None) is None:
            return None
        try:
            return Shape(tuple(data.shape[1:]), np.dtype(data.dtype))
        except TypeError:  # dtypes that NumPy has not
            return None

    def _described(self) -> str:
        shape = getattr(self.data, "shape", None)
        if shape is not None and hasattr(self.data, "dtype"):
            return f"{self.data.dtype} {tuple(shape)}"
        return repr(self.data) if isinstance(self.data, range) else f"{type(self.data).__name__} of {len(self.data)}"

    @property
    def label(self) -> str:
        return f"Dataset({self.given[0]})"


class Streamed(Stage):
    """The items of something that can be iterated over again and again."""

    verb = "Dataset"

    def __init__(self, data: Iterable[Any]) -> None:
        self.data = data
        self.given = (repr(data) if isinstance(data, Represented) else type(data).__name__,)

    def items(self, run: Run, start: int = 0) -> Iterator[Any]:
        return from_place(iter(self.data), start)

    def length(self) -> int | None:
        try:
            return len(self.data)  # type: ignore[arg-type]
        except TypeError:
            return None

    @property
    def label(self) -> str:
        return f"Dataset({self.given[0]})"


class Called(Streamed):
    """The items of what a function returns, which is called for each pass."""

    def __init__(self, fn: Callable[[], Any]) -> None:
        self.data: Any = fn
        self.given = (getattr(fn, "__qualname__", type(fn).__name__),)

    def items(self, run: Run, start: int = 0) -> Iterator[Any]:
        items = self.data()
        if not hasattr(items, "__iter__"):
            raise InvalidTypeError(
                f"the function given to Dataset is called for each pass, and returned no iterable but "
                f"{type(items).__name__}"
            )
        return from_place(iter(items), start)

    def length(self) -> None:
        return None


class Iterated(Streamed):
    """The items of an iterator, which can be iterated over once."""

    def __init__(self, data: Iterator[Any]) -> None:
        super().__init__(data)
        self._begun = False

    def items(self, run: Run, start: int = 0) -> Iterator[Any]:
        if self._begun:
            raise StateError(
                f"this dataset is over a {self.given[0]}, which gives its items once: give Dataset a function that "
                "returns a new one (Dataset(lambda: ...)), or keep the items by cache()"
            )
        self._begun = True
        return from_place(iter(self.data), start)

    def length(self) -> float | None:  # type: ignore[override]
        return math.inf if isinstance(self.data, (itertools.count, itertools.cycle)) else None


class Columns(Stage):
    """Columns side by side: items are tuples of what each has, or dicts."""

    verb = "Dataset"

    def __init__(self, columns: Mapping[Any, Any] | Sequence[Any]) -> None:
        self.names = list(columns) if isinstance(columns, Mapping) else None
        self.columns = [
            one_source(column) for column in (columns.values() if isinstance(columns, Mapping) else columns)
        ]
        if not self.columns:
            raise InvalidTypeError("a Dataset needs at least one column")
        self.parents = [column for column in self.columns if not isinstance(column, Indexed)]
        lengths = {length for column in self.columns if known(length := column.length())}
        if len(lengths) > 1:
            names = self.names or range(len(self.columns))
            told = ", ".join(f"{name}: {column.length()}" for name, column in zip(names, self.columns, strict=True))
            raise LengthError(f"the columns of a Dataset have equally many items, got {told}")

    @property
    def arrays(self) -> Any:
        """The columns as a list or a dict; None if they are not all sequences."""
        if not all(isinstance(column, Indexed) for column in self.columns):
            return None
        data = [column.data for column in self.columns]  # type: ignore[attr-defined]
        return self._joined(data, list)

    def items(self, run: Run, start: int = 0) -> Iterator[Any]:
        columns = [column.items(run, start) for column in self.columns]
        lengths = [column.length() for column in self.columns]
        rows = zip(*columns, strict=True) if all(map(known, lengths)) else self._together(columns, lengths)
        return rows if self.names is None else named_rows(self.names, rows)

    def _together(self, columns: list[Iterator[Any]], lengths: list[Any]) -> Iterator[tuple[Any, ...]]:
        """Yield rows until all columns end that do; an error if some end earlier."""
        for number in itertools.count():
            row = tuple([next(column, _END) for column in columns])
            ended = [part is _END for part in row]
            if not any(ended):
                yield row
            elif all(end or length == math.inf for end, length in zip(ended, lengths, strict=True)):
                return
            else:
                names = self.names or range(len(columns))
                short = [name for name, end in zip(names, ended, strict=True) if end]
                raise LengthError(
                    f"the columns of a Dataset have equally many items: {short} ended after {number}, others did not; "
                    "one.zip(other) ends with the shortest"
                )

    def length(self) -> int | float | None:
        lengths = [column.length() for column in self.columns]
        numbers = [length for length in lengths if known(length)]
        if numbers:
            return numbers[0]
        return math.inf if all(length == math.inf for length in lengths) else None

    @property
    def endless(self) -> bool:
        return all(column.endless for column in self.columns)

    @property
    def random_access(self) -> bool:
        return all(column.random_access for column in self.columns)

    def item(self, index: int, run: Run) -> Any:
        return self._joined([column.item(index, run) for column in self.columns], tuple)

    def at(self, indices: Iterator[int], run: Run) -> Iterator[Any]:
        several = itertools.tee(indices, len(self.columns))
        rows = zip(*(column.at(wanted, run) for column, wanted in zip(self.columns, several, strict=True)), strict=True)
        return rows if self.names is None else named_rows(self.names, rows)

    def gather(self, indices: Indices, run: Run) -> Any:
        parts = []
        for column in self.columns:
            part = column.gather(indices, run)
            if part is None:
                return None
            parts.append(part)
        return self._joined(parts, tuple)

    def shape(self) -> Any:
        shapes = [column.shape() for column in self.columns]
        return None if None in shapes else self._joined(shapes, tuple)

    def _joined(self, parts: list[Any], kind: Callable[[list[Any]], Any]) -> Any:
        return kind(parts) if self.names is None else dict(zip(self.names, parts, strict=True))

    @property
    def label(self) -> str:
        labels = [
            label[len("Dataset(") : -1] if label.startswith("Dataset(") else label
            for label in (column.label for column in self.columns)
        ]
        if self.names is not None:
            labels = [f"{name}={label}" for name, label in zip(self.names, labels, strict=True)]
        return f"Dataset({', '.join(labels)})"


def named_rows(names: Sequence[Any], rows: Iterator[tuple[Any, ...]]) -> Iterator[dict[Any, Any]]:
    """Yield rows as dicts."""
    for row in rows:
        yield dict(zip(names, row, strict=True))


class InEpoch(Passing):
    """The items of a dataset as it is in an epoch, as a part of another one."""

    verb = "epoch"

    def __init__(self, parent: Stage, number: int) -> None:
        super().__init__(parent)
        self.number = number
        self.given = (number,)

    def items(self, run: Run, start: int = 0) -> Iterator[Any]:
        return self.parent.items(run.in_epoch(self.number), start)

    def item(self, index: int, run: Run) -> Any:
        return self.parent.item(index, run.in_epoch(self.number))

    def at(self, indices: Iterator[int], run: Run) -> Iterator[Any]:
        return self.parent.at(indices, run.in_epoch(self.number))

    def gather(self, indices: Indices, run: Run) -> Any:
        return self.parent.gather(indices, run.in_epoch(self.number))
