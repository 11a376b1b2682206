"""What is measured: benches, their cases and their targets, as plain data that also travels as JSON."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

IN_ONE_PROCESS = ("ours", "batchup_0_2", "torch", "tf_data", "grain")
WITHOUT_END = ("weighted", "join", "enter", "ragged")
BY_ID = ("ids", "ids_gzip")
WHOLE_FILES = ("write", "create", "fetch")
BY_WORKERS = (
    "decode",
    "transport",
    "again",
    "ahead",
    "ahead_in_order",
    "cold",
    "metadata",
    "busy",
    "mapped",
    "started",
    *WHOLE_FILES,
    *BY_ID,
)
OF_IMAGES = ("scaled", "open_images")
PARQUET = ("parquet", "parquet_table")
FROM_FILES = ("file", "file_cold", "file_hdf5", *BY_ID, "open_ids", "records_in_order", *OF_IMAGES, *PARQUET)
OF_NUMBERS = ("per_item", "busy")
OF_SEQUENCES = ("ragged", "open", "shares")
ONE_SHOT = ("cold", "metadata", "open", "shares", "open_ids", "open_images", "started")
BEYOND = "us beyond"


@dataclass(frozen=True)
class Work:
    """One piece of work as every contender is told it: `rows` of `shape` and `dtype`, `batch` at a time.

    A trial that looks at workers does so after `taken` batches.
    """

    kind: str
    rows: int
    batch: int
    shape: tuple[int, ...] = ()
    dtype: str = "float64"
    taken: int = 0

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def unit_rows(self) -> int:
        """Rows of what is timed: of a batch, or of a whole file that is written."""
        return self.rows if self.kind in WHOLE_FILES else self.batch

    @property
    def batches(self) -> int | None:
        """Batches in an epoch, None where the stream has no end."""
        if self.kind in WITHOUT_END:
            return None
        return math.ceil(self.rows / self.unit_rows)

    @property
    def by_workers(self) -> bool:
        """Whether workers do it ahead: epochs are run to their end then, and each turn begins when all is quiet."""
        return self.kind in BY_WORKERS

    @property
    def from_files(self) -> bool:
        """Whether rows are read from files, which a turn finds warm or cold."""
        return self.kind in FROM_FILES

    @property
    def compressed(self) -> bool:
        """Whether some read what is compressed, in windows of many batches: epochs are run to their end then."""
        return self.kind in ("file_hdf5", "ids_gzip", "open_images")

    @property
    def cold(self) -> bool:
        """Whether the files are put out of the page cache before each turn, so that it cannot last beyond an epoch."""
        return self.kind == "file_cold"

    @property
    def warmed_up(self) -> bool:
        """Whether building a contender has warmed it up, because that ran a whole epoch; it may take half a minute."""
        return self.kind == "create"

    @property
    def one_shot(self) -> bool:
        """Whether a turn is one trial that tells its figures itself, instead of a slice that is timed."""
        return self.kind in ONE_SHOT

    @property
    def longest_epoch(self) -> int:
        """How many slices an epoch may last that is run to its end: a permutation is to be charged to all of it."""
        return {"order": 200, "file_hdf5": 40}.get(self.kind, 16)

    def full_batches(self, taken: int) -> float:
        """`taken` batches in units of full ones: the last batch of an epoch is short."""
        if self.batches is None:
            return float(taken)
        epochs, rest = divmod(taken, self.batches)
        return (epochs * self.rows + min(rest * self.unit_rows, self.rows)) / self.unit_rows

    def shrunk(self, factor: int) -> Work:
        """The same work over fewer rows, for a quick try of the harness."""
        rows = max(self.rows // factor, 4 * self.batch)
        return replace(self, rows=rows - rows % self.batch if self.kind in (*FROM_FILES, *WHOLE_FILES) else rows)


def work_from(told: dict[str, Any]) -> Work:
    """Make a piece of work from what JSON told of it."""
    return Work(**{**told, "shape": tuple(told["shape"])})


@dataclass(frozen=True)
class Target:
    """What `contender` has to reach: `bound` times the rate of `against`, or `bound` of a figure that has a name.

    With `or_against` it is the rate of the slower of the two, in each round.
    With the figure "us beyond" it takes at most `bound` microseconds a batch more than `against` does.
    The figure is else "us" a batch, "ms" until the first batch, "GB/s", or what a trial calls it. Only of GB/s it
    has to be at least `bound`, of all others at most.
    """

    contender: str
    bound: float
    against: str | None = None
    figure: str = "us"
    or_against: str | None = None


@dataclass(frozen=True)
class Case:
    """One table of a bench."""

    label: str
    work: Work
    targets: tuple[Target, ...]


@dataclass(frozen=True)
class Bench:
    """A bench: its tables, the limits that each contender is compared with, and what one unit is called.

    `main` is the contender that the others are set against, if any; the first of `environments` is never left out.
    """

    name: str
    title: str
    limits: tuple[str, ...]
    cases: tuple[Case, ...]
    note: str
    unit: str = "batch"
    shows_memory: bool = False
    shows_rate: bool = False
    main: str = "batchup"
    environments: tuple[str, ...] = IN_ONE_PROCESS
