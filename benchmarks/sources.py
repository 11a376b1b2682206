"""The data that contenders read, made anew in every worker process from the declared work."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
from declared import Work
from numpy.typing import NDArray

Array = NDArray[Any]
STAMP = 4
NOISES = 64


class RowsFile:
    """Rows in a `.npy` file that is there until it is closed."""

    def __init__(self, rows: Array) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.path = f"{self._folder.name}/rows.npy"
        np.save(self.path, rows)

    def close(self) -> None:
        """Remove the file."""
        self._folder.cleanup()


def make_rows(work: Work) -> Array:
    """Make rows of noise whose first four bytes hold the row's number, so that a batch can be checked."""
    return rows_between(work, 0, work.rows)


def rows_between(work: Work, start: int, stop: int) -> Array:
    """Make some of these rows; `start` is a multiple of 64. If they will be compressed, half of each is zeros."""
    rows = np.empty((stop - start, *work.shape), work.dtype)
    noise = noise_like(np.empty((NOISES, *work.shape), work.dtype))
    for begin in range(0, len(rows), NOISES):
        rows[begin : begin + NOISES] = noise[: len(rows) - begin]
    if work.compressed:
        rows.reshape(len(rows), -1)[:, rows[0].size // 2 :] = 0
    stamps(rows)[:] = np.arange(start, stop, dtype="<u4").view(np.uint8).reshape(-1, STAMP)
    return rows


def noise_like(rows: Array) -> Array:
    """Make random values of the shape and type of `rows`."""
    rng = np.random.default_rng(0)
    if rows.dtype.kind == "f":
        return rng.random(rows.shape).astype(rows.dtype)
    return rng.integers(0, 256, rows.shape, dtype=rows.dtype)


def stamps(rows: Array) -> NDArray[np.uint8]:
    """View the first four bytes of every row."""
    return rows.reshape(len(rows), -1).view(np.uint8)[:, :STAMP]


def row_numbers(rows: Array) -> NDArray[np.intp]:
    """Read the row numbers out of the rows of a batch."""
    return np.ascontiguousarray(stamps(rows)).view("<u4").ravel().astype(np.intp)


def stand_in_model(results: Array) -> Callable[[Array], Array]:
    """Make a function that stands for a model: it makes the results of a batch of row numbers anew."""

    def model(numbers: Array) -> Array:
        start = numbers[0]
        return np.array(results[start : start + len(numbers)])

    return model
