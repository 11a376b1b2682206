"""What the values of columns are like: counts, extremes, means; in one pass, in little memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup.columns import Ragged
from batchup.formats.progress import progress
from batchup.formats.table import Field, Table, length_of

MOST_VALUES = 20  # different ones of a column whose counts are told


class Moments:
    """The number of some values, their extremes, mean and standard deviation, told piece by piece.

    The deviations of pieces are put together as Chan, Golub and LeVeque do it ("Updating formulae and a pairwise
    algorithm for computing sample variances", 1979), so that nothing is lost however far the mean is from 0.

    Examples
    --------
    >>> moments = Moments()
    >>> moments.add(np.array([1.0, 2.0]))
    >>> moments.add(np.array([6.0]))
    >>> moments.told()
    {'min': 1.0, 'max': 6.0, 'mean': 3.0, 'std': 2.160246899469287}
    """

    def __init__(self) -> None:
        self.count = self.missing = 0
        self._least: Any = None
        self._most: Any = None
        self._mean = self._squares = 0.0

    def add(self, values: NDArray[Any]) -> None:
        """Take more values into account."""
        flat = values.ravel()
        if flat.dtype.kind == "f":
            known = flat[~np.isnan(flat)]
            self.missing += flat.size - known.size
            flat = known
        if not flat.size:
            return
        least, most = flat.min(), flat.max()
        self._least = least if self._least is None else min(self._least, least)
        self._most = most if self._most is None else max(self._most, most)
        with np.errstate(all="ignore"):  # of infinite values: their mean is what it is
            exact = np.longdouble if flat.dtype.kind in "iu" and flat.dtype.itemsize == 8 else np.float64
            middle = flat.mean(dtype=exact)
            mean, squares = float(middle), float(np.square(flat - middle, dtype=exact).sum())
            delta, total = mean - self._mean, self.count + flat.size
            self._mean += delta * flat.size / total
            self._squares += squares + delta * delta * self.count * flat.size / total
        self.count = total

    def told(self) -> dict[str, Any]:
        """Return what is known, as JSON can hold it; of no values, nothing."""
        if not self.count:
            return {}
        return {
            "min": self._least.item(),
            "max": self._most.item(),
            "mean": self._mean,
            "std": math.sqrt(self._squares / self.count) if self._squares >= 0 else math.nan,
        }


class Counts:
    """How often each value occurs, as long as there are few different ones."""

    def __init__(self) -> None:
        self._counts: dict[Any, int] | None = {}

    def add(self, values: NDArray[Any]) -> None:
        """Take more values into account."""
        if self._counts is None:
            return
        for value, count in zip(*np.unique(values, return_counts=True), strict=True):
            plain = value.item() if isinstance(value, np.generic) else value
            self._counts[plain] = self._counts.get(plain, 0) + int(count)
        if len(self._counts) > MOST_VALUES:
            self._counts = None

    def told(self) -> dict[str, Any]:
        """Return the counts by value, the most frequent first; nothing if there are too many."""
        if not self._counts:
            return {}
        ranked = sorted(self._counts.items(), key=lambda pair: (-pair[1], str(pair[0])))
        return {"values": {str(value): count for value, count in ranked}}


class Summary:
    """What one column is like.

    Parameters
    ----------
    field : Field
        What its values are.
    """

    def __init__(self, field: Field) -> None:
        self.field = field
        self.rows = 0
        self._moments, self._lengths, self._counts = Moments(), Moments(), Counts()
        self._counted = field.shape == () and field.dtype.kind in "biuUS"

    def add(self, values: Any) -> None:
        """Take more rows into account."""
        self.rows += len(values)
        if not len(values):
            return
        kind = self.field.dtype.kind
        if kind in "US":
            self._lengths.add(np.char.str_len(values) if values.dtype != object else _lengths(values))
        elif isinstance(values, Ragged):
            self._lengths.add(values.lengths)
        if self._counted:
            self._counts.add(values)
        if kind in "biuf":
            for part in _parts(values):
                self._moments.add(part)

    def told(self) -> dict[str, Any]:
        """Return what is known, as JSON can hold it."""
        told: dict[str, Any] = {"dtype": str(self.field), "rows": self.rows}
        if self._moments.missing:
            told["nan"] = self._moments.missing
        told |= self._moments.told()
        if lengths := self._lengths.told():
            told["length"] = {name: lengths[name] for name in ("min", "max", "mean")}
        return told | self._counts.told()


def stats(table: Table, names: Sequence[str] | None = None, bar: Any = None) -> dict[str, dict[str, Any]]:
    """Return what the columns of a table are like; reads it once, block by block.

    Parameters
    ----------
    table : Table
        What is read.
    names : sequence of str, optional
        The columns that are wanted; all by default.
    bar : callable, optional
        Makes a bar, as `tqdm.tqdm` does.

    Returns
    -------
    dict of dict
        For each column its ``dtype`` and ``rows``; of numbers ``min``, ``max``, ``mean`` and ``std`` (of all elements,
        divided by their number), and how many are ``nan``; of what differs in length, ``length``; if there are at most
        20 different values, how often each occurs: ``values``.

    Examples
    --------
    >>> import batchup
    >>> batchup.Dataset(x=[1.0, 2.0, 6.0], y=[0, 1, 1]).write.npz("three.npz")
    >>> found = batchup.formats.stats(batchup.open_table("three.npz"))
    >>> found["x"]["mean"], found["y"]["values"]
    (3.0, {'1': 2, '0': 1})
    """
    summaries = {name: Summary(table.fields[name]) for name in table.chosen(names)}
    with progress(table, bar) as tick:
        for block in table.blocks(list(summaries)):
            for name, summary in summaries.items():
                summary.add(block[name])
            tick(length_of(block))
    return {name: summary.told() for name, summary in summaries.items()}


def _parts(values: Any) -> list[NDArray[Any]]:
    if isinstance(values, Ragged):
        return [values.values]
    return list(values) if values.dtype == object else [values]


def _lengths(values: NDArray[Any]) -> NDArray[np.int64]:
    return np.array([len(value) for value in values], np.int64)
