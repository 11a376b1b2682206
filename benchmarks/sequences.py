"""Sequences of different lengths: what contenders of the ragged work read, and how batches are cut by hand."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from declared import Work
from numpy.typing import NDArray

Array = NDArray[Any]
MEAN, SIGMA, LONGEST = 3.2, 0.5, 512  # of the logarithms of the lengths: 28 tokens on average
TOKENS = 30_000


class Sequences:
    """Token ids from 1 on, whose first one in each sequence is its number and so can be checked; and their files.

    Attributes
    ----------
    values, offsets : ndarray
        Of all sequences, one behind the other.
    lengths : ndarray
        Of each.
    """

    def __init__(self, work: Work, folder: str) -> None:
        rng = np.random.default_rng(0)
        self.lengths = np.clip(rng.lognormal(MEAN, SIGMA, work.rows), 1, LONGEST).astype(np.int64)
        self.offsets = np.concatenate([[0], np.cumsum(self.lengths)])
        self.values = rng.integers(1, TOKENS, self.offsets[-1]).astype(work.dtype)
        self.values[self.offsets[:-1]] = np.arange(1, work.rows + 1)
        self._folder = folder

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, number: int) -> Array:
        return self.values[self.offsets[number] : self.offsets[number + 1]]

    def file(self, name: str, write: Callable[[str], object]) -> str:
        """Return the name of a file of these sequences, which `write` makes if it is not there."""
        path = os.path.join(self._folder, name)
        if not os.path.exists(path):
            write(path)
        return path


def batches_by_hand(lengths: Array, budget: int, rng: np.random.Generator) -> list[Array]:
    """Sort sequences by length, cut them where the budget would be exceeded, and shuffle the batches."""
    order = np.argsort(lengths + rng.random(len(lengths)))
    batches, start = [], 0
    while start < len(order):
        stop = start + 1
        longest = lengths[order[start]]
        while stop < len(order) and max(longest, lengths[order[stop]]) * (stop + 1 - start) <= budget:
            longest = max(longest, lengths[order[stop]])
            stop += 1
        batches.append(order[start:stop])
        start = stop
    rng.shuffle(batches)  # type: ignore[arg-type]
    return batches


def wrong_batches(sequences: Sequences, work: Work, batches: list[Array]) -> Iterator[str]:
    """Tell what is wrong with padded batches."""
    numbers = []
    for rows in batches:
        if rows.ndim != 2 or rows.size > work.batch or rows.dtype.kind not in "iu":
            yield f"{rows.shape} is no batch of {work.batch} tokens at most"
            return
        for row in rows:
            number = int(row[0]) - 1
            sequence = sequences[number]
            if not np.array_equal(row[: len(sequence)], sequence) or row[len(sequence) :].any():
                yield f"sequence {number} came otherwise"
            numbers.append(number)
    if len(set(numbers)) < len(numbers):
        yield "a sequence came twice"
    if np.all(np.diff(numbers) == 1):
        yield "in order"
