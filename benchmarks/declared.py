"""What is measured: benches, their cases and their targets, as plain data that also travels as JSON."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Work:
    """One piece of work as every contender is told it: `rows` of `shape` and `dtype`, `batch` at a time."""

    kind: str
    rows: int
    batch: int
    shape: tuple[int, ...] = ()
    dtype: str = "float64"

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def batches(self) -> int | None:
        """Batches in an epoch, None where the stream has no end."""
        if self.kind in ("weighted", "join", "enter"):
            return None
        return math.ceil(self.rows / self.batch)

    @property
    def longest_epoch(self) -> int:
        """How many slices an epoch may last that is run to its end: a permutation is to be charged to all of it."""
        return 200 if self.kind == "order" else 16

    def full_batches(self, taken: int) -> float:
        """`taken` batches in units of full ones: the last batch of an epoch is short."""
        if self.batches is None:
            return float(taken)
        epochs, rest = divmod(taken, self.batches)
        return (epochs * self.rows + min(rest * self.batch, self.rows)) / self.batch

    def shrunk(self, factor: int) -> Work:
        """The same work over fewer rows, for a quick try of the harness."""
        return replace(self, rows=max(self.rows // factor, 4 * self.batch))


@dataclass(frozen=True)
class Target:
    """What `contender` has to reach: `bound` times the rate of `against`, or at most `bound` us a batch."""

    contender: str
    bound: float
    against: str | None = None


@dataclass(frozen=True)
class Case:
    """One table of a bench."""

    label: str
    work: Work
    targets: tuple[Target, ...]


@dataclass(frozen=True)
class Bench:
    """A bench: its tables, the limits that each contender is compared with, and what one unit is called."""

    name: str
    title: str
    limits: tuple[str, ...]
    cases: tuple[Case, ...]
    note: str
    unit: str = "batch"
    shows_memory: bool = False
